#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Taking a resource's policy out of the portal's file stops an established iperf3 stream within 2 s, counted under
# its reason; other resources are untouched; putting it back lets a new stream through. In both modes.
# timeout: 300
. "$(dirname "$0")/lib.sh"
need_lab

# Bytes the server's iperf3 has received on all its connections.
received()
{
	nsenter --net="/run/netns/$PENSTOCK_LAB-server" ss -Htin 'sport = :5201' |
		grep -o 'bytes_received:[0-9]*' | cut -d: -f2 | awk '{ n += $1 } END { print n + 0 }'
}

revocation_drops()
{
	lab ctl gateway drops --json | jq '[.reasons[] | select(.reason | test("^u[rt]x_(revoked|policy)$")) | .packets] | add // 0'
}

# Milliseconds from now until the server has received nothing new for a second; at most $1 ms.
ms_until_quiet()
{
	local t0 last_change n prev

	t0=$(now_ms) last_change=$t0 prev=-1
	while :; do
		n=$(received)
		[ "$n" != "$prev" ] && last_change=$(now_ms) && prev=$n
		[ $(($(now_ms) - last_change)) -ge 1000 ] && break
		[ $(($(now_ms) - t0)) -ge "$1" ] && break
		sleep 0.05
	done
	echo $((last_change - t0))
}

revoke_in()
{
	local mode=$1 before drops quiet pid

	lab_up MODE="$mode"
	iperf_server 5201 5202
	check "$mode: the other resource works" ping_ok $SERVER_V6
	bg client iperf3 -c $SERVER_V4 -t 60 -b 50M --connect-timeout 5000 >"$tmp/stream" 2>&1
	pid=$!
	sleep 3
	before=$(received)
	sleep 0.5
	check "$mode: the stream is established and flows" at_least "$(received)" $((before + 500000))
	drops=$(revocation_drops)
	portal_edit '.policies |= map(select(.resource != "server-v4"))'
	quiet=$(ms_until_quiet 8000)
	check "$mode: quiet after $quiet ms, at most 2000" at_most "$quiet" 2000
	check "$mode: counted under its reason" wait_for 5 eval "[ \$(revocation_drops) -gt $drops ]"
	check "$mode: no new flow either" fails ping_once $SERVER_V4
	check "$mode: the other resource still works" ping_ok $SERVER_V6
	check "$mode: nobody restarted" [ "$(status gateway .uptime_s)" -ge 4 ]
	before=$(received)
	sleep 2
	check "$mode: still quiet" [ "$(received)" -le "$before" ]
	portal_edit '.policies += [{group: "staff", resource: "server-v4"}]'
	check "$mode: granted again, ping returns" wait_for 10 ping_once $SERVER_V4
	kill $pid 2>/dev/null
	wait $pid 2>/dev/null
	check "$mode: granted again, a new stream runs" iperf again -c $SERVER_V4 -p 5202 -t 1
	check "$mode: granted again, it carries" at_least "$(iperf_bps again)" 1000000
}

for mode in $(modes); do
	revoke_in $mode
done
finish
