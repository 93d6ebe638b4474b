#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# One UDP flow keeps its order (t_order.sh) by way of a relay as well: what one end sends as a train reaches the other in a channel
# as one, and what follows it must not overtake it, at the ends or in the relay's switch.
# alone
# timeout: 300
. "$(dirname "$0")/lib.sh"
need_lab
need_bpf
. "$tests_dir/order_lib.sh"

for xdp in off generic; do
	lab_up MODE=auto XDP_MODE=generic LAB_RELAYS=1 LAB_DIRECT=0 LAB_RELAY_XDP=$xdp
	check "path is relayed" [ "$(lab ctl client peers --json | jq -r '.peers[0].path')" = relayed ]
	order_flow "relay's XDP $xdp" send 5401
	order_flow "relay's XDP $xdp" back 5402
done
finish
