#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What no policy allows never passes: an address of the server that no resource covers is not reached in either mode,
# also when its packets are pushed into the client's tunnel device, before, between and after allowed ones, and
# also when the client believes it may (a resource its portal lists without the gateway's authorisation).
# timeout: 240
. "$(dirname "$0")/lib.sh"
need_lab

in_client() { nsenter --net="/run/netns/$PENSTOCK_LAB-client" "$@"; }

# Packets for the denied addresses that the server sees while CMD runs.
denied_seen()
{
	local pid

	nsenter --net="/run/netns/$PENSTOCK_LAB-server" tcpdump -lnni eth0 "dst host $DENIED_V4 or dst host $DENIED_V6" >"$tmp/denied" 2>"$tmp/denied.err" &
	pid=$!
	wait_for 5 grep -q listening "$tmp/denied.err" || return 1
	"$@" >/dev/null 2>&1
	sleep 0.5
	kill $pid
	wait $pid 2>/dev/null
	grep ' IP6\? ' "$tmp/denied" | grep -v neighbor >"$tmp/seen"
	sed 's/^/# seen: /' "$tmp/seen" >&2
	wc -l <"$tmp/seen"
}

attempts()
{
	local i

	for i in 1 2 3; do
		ping_once $DENIED_V4
		ping_once $SERVER_V4
		ping_once $DENIED_V6
		ping_once $SERVER_V6
	done
	on client timeout 2 iperf3 --connect-timeout 500 -c $DENIED_V4 -t 1
	on client timeout 2 iperf3 --connect-timeout 500 -c $DENIED_V6 -t 1
	on client timeout 3 iperf3 -u -l 64 -b 1M --connect-timeout 500 -c $DENIED_V4 -t 1
}

deny_in()
{
	local mode=$1 n

	lab_up MODE="$mode"
	# The same server addresses answer to the gateway: only policy stands between.
	check "$mode: the gateway itself reaches the denied address" on gateway ping -n -q -c 1 -W 2 $DENIED_V4
	n=$(denied_seen attempts)
	check "$mode: by the client's own routes, $n packets" [ "$n" = 0 ]
	in_client ip route add $DENIED_V4/32 dev tun-penstock
	in_client ip -6 route add $DENIED_V6/128 dev tun-penstock
	n=$(denied_seen attempts)
	check "$mode: pushed into the tunnel device, $n packets" [ "$n" = 0 ]
	check "$mode: the client counts them" at_least \
		"$(lab ctl client drops --json | jq '[.reasons[] | select(.reason | test("^utx_(no_peer|policy)$")) | .packets] | add // 0')" 3
	check "$mode: allowed traffic still passes" ping_ok $SERVER_V4
	check "$mode: allowed traffic still passes, IPv6" ping_ok $SERVER_V6
}

for mode in $(modes); do
	deny_in $mode
done
finish
