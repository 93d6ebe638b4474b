#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Two gateways of one site. The one in use is stopped (it says goodbye), killed, cut off from the portal: the client goes on by
# the other one by itself, a network and a name, which is set up there anew; TCP connections, which the server knows by the
# first one's address, are reset; the gap of each case is printed. When the first
# comes back, what goes by the other stays there, and what is new goes there, too. With nobody left the resources are offline
# until somebody is back. Then two sites: each resource is served by its own site's gateway and by no other.
# timeout: 900
. "$(dirname "$0")/lib.sh"
. "$tests_dir/names_lib.sh"
need_lab
need_names

NAME=svc.fo.test

# Which gateway serves it: the server sees that one's address.
via()
{
	case $(server_of client "$1" | cut -d' ' -f2) in
	10.20.0.1:* | fd00:20::1:*) echo gateway ;;
	10.20.1.1:* | fd00:20:1::1:*) echo gateway2 ;;
	*) echo nobody ;;
	esac
}
goes_via() { [ "$(via "$1")" = "$2" ]; }
other_than() { [ "$1" = gateway ] && echo gateway2 || echo gateway; }
resource_status() { lab ctl client resources --json | jq -r --arg n "$1" '.resources[] | select(.name == $n) | .status'; }
status_is() { [ "$(resource_status "$1")" = "$2" ]; }
joined() { [ "$(status "$1" .portal.state)" = connected ]; }
names_at() { lab ctl "$1" resources --json | jq -r '[.resources[].names // [] | .[] | .name] | sort | join(" ")'; }

pulse_start()
{
	bg client timeout 200 python3 -B "$tests_dir/names_traffic.py" pulse "$2" 7000 >"$tmp/$1.pulse" 2>&1
	echo $! >"$tmp/$1.pid"
	wait_for 60 [ -s "$tmp/$1.pulse" ]
}

pulse_moved() { [ "$(wc -l <"$tmp/$1.pulse")" -ge 2 ]; }

# Its last line; $gap is the longest silence in ms.
pulse_end()
{
	kill -TERM "$(cat "$tmp/$1.pid")"
	wait "$(cat "$tmp/$1.pid")" 2>/dev/null
	gap=$(sed -n 's/.*silence \([0-9]*\) ms/\1/p' "$tmp/$1.pulse")
	echo "# $mode: $2: $1: $(paste -sd' ' "$tmp/$1.pulse")"
}

# failover WHAT MAX-MS CMD…: CMD takes the gateway in use away, under traffic; the other one serves within MAX-MS. Sets $now_via.
failover()
{
	local what=$1 max=$2 p was next
	shift 2

	was=$(via "$SERVER_V4") next=$(other_than "$was")
	check "$mode: $what: $was serves the network" [ "$was" != nobody ]
	check "$mode: $what: and the name" wait_for 10 goes_via "$proxy" "$was"
	check "$mode: $what: traffic runs" eval "pulse_start network $SERVER_V4 && pulse_start name $proxy && stream_start conn client $proxy"
	sleep 1
	"$@" "$was"
	for p in network name; do
		check "$mode: $what: the $p moves by itself" wait_for $((max / 1000 + 10)) pulse_moved $p
	done
	sleep 1
	for p in network name; do
		pulse_end $p "$what"
		check "$mode: $what: $p: $gap ms of silence, at most $max" at_most "${gap:-999999}" "$max"
	done
	# (a stream gives up by itself after 20 s of silence)
	[ "$max" -gt 20000 ] || check "$mode: $what: a TCP connection is reset, not left to hang" eval 'wait_for 60 fails stream_runs conn && grep -q "reset by peer" "$tmp/conn.stream"'
	check "$mode: $what: to $next" eval "goes_via $SERVER_V4 $next && goes_via $proxy $next"
	check "$mode: $what: which has the name now" [ "$(names_at "$next")" = $NAME ]
	check "$mode: $what: online" eval 'status_is server-v4 online && status_is fo online'
	now_via=$next
}

stop() { lab stop "$1"; }
kill9() { lab kill "$1" KILL; }

# The other one is back: nothing moves, and new things go where the client is connected.
sticks()
{
	local gone

	gone=$(other_than "$now_via")
	lab start "$gone"
	check "$mode: $gone is back" wait_for 30 joined "$gone"
	sleep 1
	check "$mode: existing traffic stays at $now_via" eval "goes_via $SERVER_V4 $now_via && goes_via $proxy $now_via"
	[ -z "${1:-}" ] || check "$mode: and what was not in use yet goes there" goes_via "$1" "$now_via"
}

cut_off()
{
	local was t0

	was=$(via $SERVER_V4)
	check "$mode: cut off: traffic runs" eval "pulse_start network $SERVER_V4 && pulse_start name $proxy"
	lab partition "$was" on
	portal_edit '.resources += [{name: "late", type: "cidr", address: "'$DENIED_V4'/32", site: "lab"}] | .policies += [{group: "staff", resource: "late"}]'
	check "$mode: cut off: a new resource" wait_for 10 eval '[ -n "$(resource_status late)" ]'
	t0=$(now_ms)
	check "$mode: cut off: is served within 20 s" wait_for 20 ping_once $DENIED_V4
	echo "# $mode: cut off: the new resource took $(($(now_ms) - t0)) ms"
	check "$mode: cut off: by the gateway the portal reaches" goes_via $DENIED_V4 "$(other_than "$was")"
	for p in network name; do
		pulse_end $p "cut off"
		check "$mode: cut off: $p: $gap ms of silence, at most 2000: what stands needs no portal" at_most "${gap:-999999}" 2000
		check "$mode: cut off: $p stayed" fails pulse_moved_then $p
	done
	lab partition "$was" off
	check "$mode: cut off: it joins again" wait_for 90 joined "$was"
	check "$mode: cut off: and serves what it served" goes_via $SERVER_V4 "$was"
}

pulse_moved_then() { [ "$(grep -vc '^sent' "$tmp/$1.pulse")" -ge 2 ]; }

nobody_left()
{
	lab stop gateway gateway2
	check "$mode: with nobody left it is not reached" fails ping_once $SERVER_V4
	check "$mode: nor the name" fails ping_once "$proxy"
	check "$mode: and both are offline" wait_for 20 eval 'ping_once $SERVER_V4; status_is server-v4 offline && status_is fo offline'
	lab start gateway
	check "$mode: somebody is back" wait_for 30 joined gateway
	check "$mode: and serves within 20 s" wait_for 20 ping_once $SERVER_V4
	check "$mode: the name, too" wait_for 20 goes_via "$proxy" gateway
	check "$mode: both are online" eval 'status_is server-v4 online && status_is fo online'
	lab stop gateway
	check "$mode: without traffic nobody knows" wait_for 10 status_is fo unknown
	lab start gateway gateway2
	check "$mode: both are back" wait_for 30 eval 'joined gateway && joined gateway2'
}

two_sites()
{
	local away

	portal_edit '.sites += [{name: "away"}] | .gateways[1].site = "away"
		| .resources += [{name: "away", type: "dns", address: "*.away.test", site: "away"}] | .policies += [{group: "staff", resource: "away"}]'
	check "$mode: two sites: a name of the other site resolves" wait_for 10 eval '[ "$(first_of client x.away.test)" != 10.20.8.2 ] && has_address client x.away.test'
	away=$(first_of client x.away.test)
	check "$mode: two sites: its gateway serves it" wait_for 20 goes_via "$away" gateway2
	check "$mode: two sites: the first site's serves what is there" wait_for 20 eval "goes_via $SERVER_V4 gateway && goes_via $proxy gateway"
	check "$mode: two sites: neither has the other's names" [ "$(names_at gateway), $(names_at gateway2)" = "$NAME, x.away.test" ]
	lab stop gateway2
	check "$mode: two sites: without its gateway nobody serves it" wait_for 20 eval "! ping_once $away && status_is away offline"
	check "$mode: two sites: the other site is as it was" eval "goes_via $SERVER_V4 gateway && status_is server-v4 online && status_is fo online"
	check "$mode: two sites: and never heard of the name" [ "$(names_at gateway)" = $NAME ]
	lab start gateway2
	check "$mode: two sites: its gateway serves it again" wait_for 40 goes_via "$away" gateway2
	check "$mode: two sites: online" status_is away online
}

failover_in()
{
	local mode=$1 proxy now_via gap p

	lab_up MODE="$mode" LAB_GATEWAYS=2
	names_up
	zone "10.20.8.1 $NAME" '10.20.8.2 x.away.test'
	wait_for 5 zone_says $NAME 10.20.8.1 || fatal "the zone is not served"
	portal_edit '.resources += [{name: "fo", type: "dns", address: "*.fo.test", site: "lab"}]
		| .policies += [{group: "staff", resource: "fo"}] | .dns = {upstream: ["'$SERVER_V4'"], search_domain: null}'
	check "$mode: the name resolves" wait_for 10 has_address client $NAME
	proxy=$(first_of client $NAME)
	failover goodbye 5000 stop
	sticks $SERVER_V6
	failover killed 30000 kill9
	sticks
	if [ "$mode" = "$last_mode" ]; then
		cut_off
		nobody_left
		two_sites
	fi
	lab down
	lab_is_up=
}

all_modes=$(modes)
last_mode=${all_modes##* }
for mode in $all_modes; do
	failover_in "$mode"
done
finish
