#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# alone
# timeout: 240
#
# What senders without credentials can do to a relay: Binding and Allocate floods, channel data of nobody, noise, and
# probes of its relayed ports. Beside each of them a paced stream of an authenticated client runs on: it keeps at
# least 90 % of what it carried alone. The relay's memory does not grow, no allocation appears, and what goes back to a
# source that could be forged is what STUN prescribes for a Binding or a challenge, and nothing else.
#
# FLOOD_PPS (20000) and STREAM_PPS (2000) set the rates; both are far from what two cores carry, so that the check is
# of fairness and not of the machine.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/relay_lib.sh"
relay_need
h_turnflood=$PENSTOCK_BUILD/tests/netns/h_turnflood
[ -x "$h_turnflood" ] || fatal "$h_turnflood is not built"
FLOOD_PPS=${FLOOD_PPS:-20000} STREAM_PPS=${STREAM_PPS:-2000} SECONDS_EACH=2

# A second client, the attacker's, in a namespace of its own behind the same relay interface would need a switch; its
# sockets stand beside the client's instead, which shares the queue and so is the harder case.
flood() { ip netns exec "$ns-c" "$h_turnflood" "$1" "${2:-10.91.1.1:3478}" "$FLOOD_PPS" "$SECONDS_EACH"; }
stream() { load --direction both --pps "$STREAM_PPS" --size 1200 --seconds $SECONDS_EACH --window 4096; }
got() { jq -r '.up.received + .down.received' "$1"; }
rss_kb() { awk '/^VmRSS/ { print $2 }' "/proc/$relay_pid/status"; }

# beside KIND [TO]: the stream alone, then with the flood; both in one run, so that the machine is the same.
beside()
{
	local kind=$1 before

	stream >"$tmp/alone.json" 2>"$tmp/alone.err" || { cat "$tmp/alone.err"; return 1; }
	before=$(rss_kb)
	flood "$@" >"$tmp/$kind.json" 2>&1 &
	stream >"$tmp/with.json" 2>"$tmp/with.err" || { cat "$tmp/with.err"; return 1; }
	wait $!
	grown=$(($(rss_kb) - before))
	echo "# $kind: $(jq -c '{sent,replies,largest_reply,amplification}' "$tmp/$kind.json"), stream alone $(got "$tmp/alone.json")" \
		"with it $(got "$tmp/with.json") packets, memory grew $grown KiB"
	[ "$(jq .sent "$tmp/$kind.json")" -gt $((FLOOD_PPS * SECONDS_EACH / 4)) ] &&
		[ $((10 * $(got "$tmp/with.json"))) -ge $((9 * $(got "$tmp/alone.json"))) ]
}

small() { [ "$grown" -lt 4096 ] && [ "$(relay_ctl status .relay.allocations)" = 0 ]; }
silent() { jq -e '.replies == 0' "$tmp/$1.json" >/dev/null || { cat "$tmp/$1.json"; return 1; }; }
# at_most BYTES KIND: no answer longer than that, and at most one for each request
at_most() { jq -e --argjson max "$1" '.replies > 0 and .replies <= .sent and .largest_reply <= $max' "$tmp/$2.json" >/dev/null || { cat "$tmp/$2.json"; return 1; }; }

floods()
{
	local how=$1

	check "$how: Binding flood, stream keeps 90 %" beside binding
	check "$how: no memory, no allocation by it" small
	check "$how: a Binding answer is its header and the mapped address, 32 bytes" at_most 32 binding
	check "$how: Allocate flood, stream keeps 90 %" beside allocate
	check "$how: no memory, no allocation by it" small
	# header 20, ERROR-CODE 8, REALM 4 + 8, NONCE 4 + 20
	check "$how: a challenge is what RFC 8489 prescribes, 64 bytes" at_most 64 allocate
	check "$how: channel data of nobody, stream keeps 90 %" beside channel
	check "$how: no memory by it" small
	check "$how: and no answer" silent channel
	check "$how: noise, stream keeps 90 %" beside garbage
	check "$how: no memory by it" small
	check "$how: and no answer" silent garbage
	check "$how: probes of relayed ports, stream keeps 90 %" beside probe
	check "$how: no memory by it" small
	check "$how: and no answer" silent probe
}

relay_net_up
# Probed ports without a socket are answered by the host with ICMP port unreachable, at its own limited rate; that is
# no UDP answer and not counted here.
relay_start --workers 2
floods "user space"
relay_stop TERM
if why=$( (need_bpf) ); then
	ip netns exec "$ns-r" sysctl -qw net.ipv4.conf.all.forwarding=1
	relay_start --workers 2 --xdp-iface rc,rp --xdp-required
	floods XDP
	probes() { [ "$(relay_ctl drops '[.reasons[] | select(.reason == "rxdp_probe" or .reason == "rxdp_other_port") | .packets] | add > 0')" = true ] || relay_ctl drops '.reasons[] | "\(.reason) \(.packets)"'; }
	check "XDP: the operator sees the probes" probes
	relay_stop TERM
else
	echo "# XDP is left out: $why"
fi
finish
