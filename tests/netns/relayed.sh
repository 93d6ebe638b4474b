# SPDX-License-Identifier: Apache-2.0
#
# What the tests of relayed connections in the lab share. Sourced after lib.sh.
#
#   relayed_need             the relay program is there too
#   path SIDE                "direct", "relayed" or "none"; path_is WANT: on both sides
#   carrier                  1 or 2: the relay both sides' packets go through now; empty: none. uses N: it is N
#   relay_counters           "kernel user", packets both relays have carried so far
#   stream_start [ARG…]      one TCP transfer from the client, 5 Mbit/s; its pid in $stream
#   stream_moves SECONDS     within that time more of it arrives
#   stream_held              it still runs, and never was another one
#   allocated SIDE N         SIDE holds allocations on N relays
#   took NAME SECONDS CMD…   check that CMD becomes true in time, and print when

relayed_need()
{
	need_lab
	[ -x "$PENSTOCK_BUILD/penstock-relay" ] || fatal "$PENSTOCK_BUILD/penstock-relay is not built"
}

path() { lab ctl "$1" peers --json | jq -r '[.peers[] | select(.state == "connected")][0].path // "none"'; }
path_is() { [ "$(path client)" = "$1" ] && [ "$(path gateway)" = "$1" ]; }
allocated() { [ "$(lab ctl "$1" relays --json | jq '[.relays[] | select(.state == "allocated")] | length')" = "$2" ]; }
both_allocated() { allocated client "$1" && allocated gateway "$1"; }

# Either side's relay will do: where the client sends to the gateway's relayed address, only that one is involved.
carrier()
{
	local at side

	for side in gateway client; do
		at=$(lab ctl $side relays --json | jq -r '[.relays[] | select(.relayed_connections > 0) | .addr4 // .addr6][0] // empty')
		case $at in
		*203.0.113.130:* | *2001:db8:a1::*) echo 1 && return ;;
		*203.0.113.146:* | *2001:db8:a2::*) echo 2 && return ;;
		esac
	done
}

uses() { [ "$(carrier)" = "$1" ]; }

relay_counters()
{
	local n k=0 u=0 a b

	for n in 1 2; do
		program_runs "relay$n" || continue
		read -r a b < <(counters "relay$n")
		k=$((k + a)) u=$((u + b))
	done
	echo "$k $u"
}

took()
{
	local name=$1 limit=$2 t0
	shift 2
	t0=$(now_ms)
	check "$name" wait_for "$limit" "$@"
	echo "# $name: after $(($(now_ms) - t0)) ms"
}

# Bytes of the transfer the server has received.
stream_bytes()
{
	nsenter --net="/run/netns/$PENSTOCK_LAB-server" ss -Htin 'sport = :5301' |
		grep -o 'bytes_received:[0-9]*' | cut -d: -f2 | awk '{ n += $1 } END { print n + 0 }'
}

stream_start()
{
	iperf_server 5301
	bg client iperf3 -c $SERVER_V4 -p 5301 -t 600 -b 5M --connect-timeout 5000 "$@" >"$tmp/stream" 2>&1
	stream=$!
	check "one TCP transfer runs" wait_for 15 eval '[ $(stream_bytes) -gt 300000 ]'
}

stream_moves()
{
	local before

	before=$(stream_bytes)
	wait_for "$1" eval "[ \$(stream_bytes) -gt $((before + 200000)) ]"
}

# A transfer that broke has ended.
stream_held() { kill -0 "$stream" && ! grep -q 'error' "$tmp/stream"; }

stream_stop()
{
	kill "$stream" 2>/dev/null
	wait "$stream" 2>/dev/null
	return 0
}
