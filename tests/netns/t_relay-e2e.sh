#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Client and gateway cannot reach each other directly: everything of the direct end-to-end test goes through a
# relay, in --mode=kernel, in --mode=user and without XDP anywhere. With XDP the relay's program carries at least
# 95 % of the packets.
# timeout: 400
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/e2e.sh"
. "$(dirname "$0")/relayed.sh"
LOSS_BIG=25 LOSS_SMALL=40 # one more process, or two more trips through softirq, on the same processors
relayed_need

# one NAME EXECUTOR RELAY-EXECUTOR ENV…
one()
{
	local name=$1 want=$2 relay=$3 before k u
	shift 3
	echo "# $name"
	lab_up LAB_DIRECT=0 LAB_RELAYS=2 "$@"
	before=$(relay_counters)
	everything "$want" relayed
	sleep 1
	read -r k u < <(awk -v b="$before" -v a="$(relay_counters)" 'BEGIN { split(b, x, " "); split(a, y, " "); print y[1] - x[1], y[2] - x[2] }')
	echo "# $name: the relay's kernel carried $k, its user space $u"
	check "$name: it went through the relay" at_least $((k + u)) 40000
	case $relay in
	kernel) check "$name: >= 95 % by the relay's XDP" at_least $((100 * k)) $((95 * (k + u))) ;;
	user) check "$name: none by the relay's XDP" [ "$k" = 0 ] ;;
	esac
	check "$name: still relayed" path_is relayed
}

if (need_bpf) >/dev/null; then
	one "kernel mode" kernel kernel MODE=kernel XDP_MODE=native LAB_RELAY_XDP=native
	one "no XDP" either user MODE=kernel XDP_MODE=off LAB_RELAY_XDP=off
	check "no XDP: nothing is received by the gateway's kernel" [ "$(status gateway .counters.kernel_rx_packets)" = 0 ]
fi
one "user mode" user user MODE=user LAB_RELAY_XDP=off XDP_MODE=native
finish
