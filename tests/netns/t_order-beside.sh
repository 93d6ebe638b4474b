#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Small packets beside their own peer's bulk (--mode=auto, generic XDP): a transfer in trains is user space's, and the kernel
# carries what else there is between the same two all the same. Neither loses its order by that (include/plan/train.h).
# alone
# timeout: 300
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/e2e.sh"
need_lab
need_bpf
ORDER_MS=${ORDER_MS:-5000}
. "$tests_dir/order_lib.sh"

PINGS=400

carried() { status "$1" .counters.kernel_rx_packets; }

# bulk [-R]: a transfer for a minute, behind everything that follows.
bulk()
{
	bg client iperf3 -c $SERVER_V4 -p 5201 -t 60 -b 300M "$@" >"$tmp/bulk.out" 2>&1
	bulk_pid=$!
	disown
	sleep 4 # --mode=auto looks once a second
}

# The run whose traffic went by "$1": the kernel took the pings at either end.
beside()
{
	local p before_client before_gateway lost

	bulk "${@:2}"
	before_client=$(carried client) before_gateway=$(carried gateway)
	lost=$(on client ping -q -c $PINGS -i 0.005 $SERVER_V4 | sed -n 's/.* \([0-9.]*\)% packet loss.*/\1/p')
	check "$1: pings pass ($lost % lost)" at_most "${lost:-100}" 2
	for p in client gateway; do
		local before=before_$p
		echo "# $1, $p: the kernel carried $(($(carried $p) - ${!before})) of $PINGS"
		check "$1, $p: the kernel carries the small packets" at_least $(($(carried $p) - ${!before})) $((PINGS * 9 / 10))
	done
	order_flow "$1" send 5401
	order_flow "$1" back 5402
	kill $bulk_pid 2>/dev/null
	check "$1: bulk went on meanwhile" grep -q 'sec.*bits/sec' "$tmp/bulk.out"
	sleep 1
}

lab_up MODE=auto XDP_MODE=generic
iperf_server 5201
beside up
beside down -R
finish
