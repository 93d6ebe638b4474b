#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Taking a resource's policy out of the portal's file stops an established iperf3 stream within 2 s; other resources
# are untouched; putting it back lets a new stream through. Then the same with a client that does not hear of it
# and goes on sending: the gateway alone stops it and counts what it drops under its reason. In both modes.
# timeout: 300
. "$(dirname "$0")/lib.sh"
need_lab

# Bytes the server's iperf3 has received on all connections of PORT.
received()
{
	nsenter --net="/run/netns/$PENSTOCK_LAB-server" ss -Htin "sport = :$1" |
		grep -o 'bytes_received:[0-9]*' | cut -d: -f2 | awk '{ n += $1 } END { print n + 0 }'
}

revocation_drops()
{
	lab ctl gateway drops --json | jq '[.reasons[] | select(.reason | test("^u[rt]x_(revoked|policy)$")) | .packets] | add // 0'
}

# ms_until_quiet PORT MAX: milliseconds from now until the server has received nothing new for a second.
ms_until_quiet()
{
	local t0 last_change n prev

	t0=$(now_ms) last_change=$t0 prev=-1
	while :; do
		n=$(received "$1")
		[ "$n" != "$prev" ] && last_change=$(now_ms) && prev=$n
		[ $(($(now_ms) - last_change)) -ge 1000 ] && break
		[ $(($(now_ms) - t0)) -ge "$2" ] && break
		sleep 0.05
	done
	echo $((last_change - t0))
}

# deaf_client on|off: what the portal says does not arrive at the client.
deaf_client()
{
	if [ "$1" = on ]; then
		nsenter --net="/run/netns/$PENSTOCK_LAB-core" nft -f - <<-END
			table inet deaf {
				chain forward {
					type filter hook forward priority filter;
					iifname "p0" oifname "c0" drop
				}
			}
		END
	else
		nsenter --net="/run/netns/$PENSTOCK_LAB-core" nft delete table inet deaf
	fi
}

stream_start()
{
	bg client iperf3 -c $SERVER_V4 -p "$1" -t 60 -b 50M --connect-timeout 5000 >"$tmp/stream" 2>&1
	stream_pid=$!
	sleep 2
	before=$(received "$1")
	sleep 0.5
	check "$mode: the stream is established and flows" at_least "$(received "$1")" $((before + 500000))
}

stream_end()
{
	kill $stream_pid 2>/dev/null
	wait $stream_pid 2>/dev/null
}

revoke() { portal_edit '.policies |= map(select(.resource != "server-v4"))'; }
grant() { portal_edit '.policies += [{group: "staff", resource: "server-v4"}]'; }

revoke_in()
{
	local mode=$1 before drops quiet stream_pid

	lab_up MODE="$mode"
	iperf_server 5201 5202 5203
	check "$mode: the other resource works" ping_ok $SERVER_V6
	stream_start 5201
	revoke
	quiet=$(ms_until_quiet 5201 8000)
	check "$mode: quiet after $quiet ms, at most 2000" at_most "$quiet" 2000
	check "$mode: no new flow either" fails ping_once $SERVER_V4
	check "$mode: the other resource still works" ping_ok $SERVER_V6
	before=$(received 5201)
	sleep 2
	check "$mode: still quiet" [ "$(received 5201)" -le "$before" ]
	grant
	check "$mode: granted again, ping returns" wait_for 10 ping_once $SERVER_V4
	stream_end
	check "$mode: granted again, a new stream runs" iperf again -c $SERVER_V4 -p 5202 -t 1
	check "$mode: granted again, it carries" at_least "$(iperf_bps again)" 1000000

	stream_start 5203
	deaf_client on
	drops=$(revocation_drops)
	revoke
	quiet=$(ms_until_quiet 5203 8000)
	check "$mode: deaf client: quiet after $quiet ms, at most 2000" at_most "$quiet" 2000
	check "$mode: deaf client: it still sends, and the gateway counts it under its reason" \
		wait_for 5 eval "[ \$(revocation_drops) -gt $drops ]"
	check "$mode: deaf client: no new flow either" fails ping_once $SERVER_V4
	check "$mode: deaf client: the other resource still works" ping_ok $SERVER_V6
	deaf_client off
	stream_end
	check "$mode: nobody restarted" [ "$(status gateway .uptime_s)" -ge 10 ]
}

for mode in $(modes); do
	revoke_in $mode
done
finish
