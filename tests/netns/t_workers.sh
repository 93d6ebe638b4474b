#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Workers carry established flows, and the control thread what is not: who had which packets, that none is late when they
# change hands, that a path is one worker's and flows are all workers'. And the same without any.
# alone
# timeout: 420
. "$(dirname "$0")/lib.sh"
. "$tests_dir/e2e.sh"
need_lab
. "$tests_dir/order_lib.sh"
FLOWS=12

workers() { status "$1" ".bulk.workers.$2"; }
total() { workers "$1" "each | map(.$2) | add // 0"; }

# many send|back: FLOWS flows at a time, each with its order.
many()
{
	local port pid pids= rc=0

	for ((port = 5500; port < 5500 + FLOWS; port++)); do
		bg server "$order" recv "$SERVER_V4" $port >"$tmp/recv.$port"
		[ "$1" = back ] || pids+=" $!"
	done
	sleep 0.5
	for ((port = 5500; port < 5500 + FLOWS; port++)); do
		bg client "$order" "$1" "$SERVER_V4" $port 3000 $((ORDER_SEED + port)) >"$tmp/$1.$port"
		pids+=" $!"
	done
	for pid in $pids; do
		wait "$pid" || rc=1
	done
	grep -h -o 'late=[0-9]* twice=[0-9]*' "$tmp"/recv.* "$tmp"/back.* 2>/dev/null | sort | uniq -c | sed 's/^/# flows, with so many late: /'
	rm -f "$tmp"/recv.* "$tmp"/back.*
	return $rc
}

with_workers()
{
	local mode=$1 side before after

	lab_up MODE="$mode" PENSTOCK_WORKERS=2 XDP_MODE=auto
	for side in client gateway; do
		check "$mode: $side has two workers" [ "$(workers $side count)" = 2 ]
		check "$mode: $side says no reason against them" [ "$(workers $side why)" = null ]
	done
	echo_server
	iperf_server 5201
	check_echo "$SERVER_V4"
	check_echo "$SERVER_V6"
	check_tcp "up_$mode" "$SERVER_V4" -P 4
	check_tcp "down_$mode" "$SERVER_V4" -P 4 -R
	check "$mode: $FLOWS flows up keep their order" many send
	check "$mode: $FLOWS flows down keep their order" many back
	[ "$mode" = user ] || return
	for side in client gateway; do
		before=$(total $side rx_packets) after=$(total $side rx_handed_over)
		echo "# $side: $before received by workers, $after handed over"
		check "$side: workers received most" at_least "$before" $((20 * after))
		check "$side: they received something" at_least "$before" 10000
		before=$(total $side tx_packets) after=$(total $side tx_handed_over)
		echo "# $side: $before sent by workers, $after handed over"
		check "$side: workers sent most" at_least "$before" $((20 * after))
		check "$side: flows are spread over both" at_least "$(workers $side 'each | map(.tx_packets) | min')" 1000
		check "$side: nothing was lost on the way to the control thread" \
			[ "$(total $side rx_queue_full) $(total $side tx_queue_full)" = "0 0" ]
	done
}

# One packet after the other is a worker's, though none of them comes in a batch.
single()
{
	local before

	ping_ok "$SERVER_V4" 2
	before=$(total gateway rx_packets)
	check "pings pass" ping_ok "$SERVER_V4" 20
	check "and are a worker's" at_least $(($(total gateway rx_packets) - before)) 18
}

without()
{
	lab_up MODE=user PENSTOCK_WORKERS=0
	check "none: the gateway says so" [ "$(workers gateway count)" = 0 ]
	check "none: and why" grep -q 'workers=0' <<<"$(workers gateway why)"
	echo_server
	iperf_server 5201
	check_echo "$SERVER_V4"
	check_tcp up_none "$SERVER_V4"
	check_tcp down_none "$SERVER_V4" -R
	check "none: $FLOWS flows up keep their order" many send
}

with_workers user
single
if modes | grep -q kernel; then
	with_workers auto
fi
without
finish
