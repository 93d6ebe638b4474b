#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 180
#
# penstock-relay alone, without portal: allocations and channels in all family combinations, bytes and order
# kept in both directions, wrong password, drain, and what its operator sees.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/relay_lib.sh"
relay_need
relay_net_up
relay_start --workers 2 --health-check-addr 10.91.1.1:8080

V4=10.91.1.1:3478 V6="[fd91:1::1]:3478" P4=10.91.2.2 P6=fd91:2::2

# through CLIENT-SIDE PEER ARG…: all that was sent arrived, whole and in order.
through()
{
	local name=$1

	RELAY_AT=$2 PEER_AT=$3 load --seconds 1 "${@:4}" >"$tmp/$name.json" 2>"$tmp/$name.err" || { cat "$tmp/$name.err"; return 1; }
	jq -e '[.up, .down] | map(select(.)) | all(.received > 0 and .lost == 0 and .bad == 0 and .late == 0 and .unmarked == 0)' \
		"$tmp/$name.json" >/dev/null || { cat "$tmp/$name.json"; return 1; }
}

check "IPv4 client, IPv4 peer" through c44 $V4 $P4 --direction both --allocs 3 --window 64
check "IPv4 client, IPv6 peer" through c46 $V4 $P6 --direction both --allocs 3 --window 64
check "IPv6 client, IPv4 peer" through c64 "$V6" $P4 --direction both --allocs 3 --window 64
check "IPv6 client, IPv6 peer" through c66 "$V6" $P6 --direction both --allocs 3 --window 64
check "datagrams sent one by one" through single $V4 $P4 --direction both --allocs 2 --no-gso --size 200 --window 64
check "odd and small ones" through odd $V4 $P4 --direction both --allocs 2 --size 17 --window 64
check "the longest a tunnel sends" through long $V4 $P4 --direction both --size 1312 --window 64
check "longer than the MTU, in fragments" through frag $V4 $P4 --direction up --size 1600 --window 32 --no-gso
check "longer than the MTU, from a train" through train $V4 $P4 --direction up --size 1500 --window 32
check "two hundred allocations" through many $V4 $P4 --direction both --allocs 200 --window 8
fair() { jq -e '.up | .least * 20 > .most' "$tmp/many.json" >/dev/null || { cat "$tmp/many.json"; return 1; }; }
check "none of them starved" fair

# How often each worker has slept.
sleeps() { grep -l '^relay-worker' /proc/"$relay_pid"/task/*/comm | sed 's/comm$/status/' | xargs awk '/^voluntary/ { print $2 }'; }
one_worker()
{
	local before after i

	for i in 1 2 3 4 5 6; do # by chance: every other one
		before=$(sleeps) && load --direction both --seconds 1 --window 16 --no-gso >/dev/null 2>"$tmp/one.err" && after=$(sleeps) || return 1
		echo $before $after | awk '{ a = $3 - $1; b = $4 - $2; few = a < b ? a : b; if (10 * few < a + b) exit; print "# slept", a, b; exit 1 }' || return 1
	done
}
check "both directions of an allocation are one worker's" one_worker

refused() { ! PASSWORD=wonderland load --seconds 1 2>"$tmp/refused.err" && grep -q 'allocate 401' "$tmp/refused.err"; }
check "a wrong password is refused" refused

get() { ip netns exec "$ns-c" curl -s -o /dev/null -m 5 -w '%{http_code}' "http://10.91.1.1:8080$1"; }
healthy() { [ "$(get /healthz)" = 200 ] && [ "$(get /readyz)" = 200 ] && [ "$(get /nothing)" = 404 ]; }
check "health answers" healthy
websocket() { ip netns exec "$ns-c" curl -s -o /dev/null -m 3 -w '%{http_code}' --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' http://10.91.1.1:8080/healthz; }
no_websocket() { [ "$(websocket)" != 101 ]; }
check "and is no websocket" no_websocket

given_back() { [ "$(relay_ctl status .relay.allocations)" = 0 ]; }
check "every allocation was given back" wait_for 5 given_back
counted() { [ "$(relay_ctl drops '[.reasons[] | select(.reason == "rux_to_peer" or .reason == "rux_to_client") | .packets > 0] | all')" = true ]; }
check "the operator sees what was relayed" counted

# The next channel gets the place of the last one, not its figures.
load --seconds 3 --pps 50 --window 64 >/dev/null 2>"$tmp/few.err" &
few=$!
sent() { relay_ctl allocations '[.allocations[].channels[].user_to_peer_packets] | add // 0'; }
some_sent() { [ "$(sent)" -gt 0 ]; }
wait_for 5 some_sent || cat "$tmp/few.err"
few_sent() { [ "$(sent)" -lt 300 ] || { sent; return 1; }; }
check "a channel's figures are its own" few_sent
wait $few
wait_for 5 given_back

# Drain: who is here stays served, nobody new is let in, and the last one out ends it.
load --direction both --seconds 4 --window 64 >"$tmp/drain.json" 2>&1 &
loader=$!
one_there() { [ "$(relay_ctl status .relay.allocations)" = 1 ]; }
wait_for 5 one_there || fatal "no allocation to drain"
kill -TERM "$relay_pid"
sleep 0.5
check "a draining relay is not ready" test "$(get /readyz)" = 503
turned_away() { ! load --seconds 1 2>"$tmp/away.err" && grep -q 'allocate 508' "$tmp/away.err"; }
check "no new allocation while draining" turned_away
wait $loader
drained() { jq -e '.up.lost == 0 and .down.lost == 0 and .up.received > 1000' "$tmp/drain.json" >/dev/null || { cat "$tmp/drain.json"; return 1; }; }
check "nothing was lost by it" drained
gone() { ! kill -0 "$relay_pid" 2>/dev/null; }
check "it ends with the last allocation" wait_for 5 gone
wait "$relay_pid"
check "and says that all is well" test $? = 0
relay_pid=
check "no socket is left" test ! -e "/run/penstock/$ns.sock"
finish
