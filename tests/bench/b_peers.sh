#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a packet costs a gateway's process when many peers send in turn, beside what it costs when one of them does: run
# after run at the same rate, with the same sessions there (wgload_peers.c). And handshakes a second.
#
#   peers_N_{64,1280}    ns of processor time a packet, N peers in turn; "to_one": how many times that of one. Packets go to 64
#                        ports in turn, in both: one flow's neighbours are joined, and would be one packet to what follows.
#                        "ratio": wireguard-go's by ours, above 1 where ours is the cheaper. N: PEERS (100 1000; 10000 takes
#                        three minutes of an idle machine, and is none on a busy one)
#   renew                with RENEW=N alone: sessions of N peers, renewed by WireGuard's timers for RENEW_SECONDS (200) while each
#                        sends a packet every other second: how old the oldest became ("oldest_s"; WireGuard's limit is 180),
#                        those that ended before there was another ("lapsed"), packets lost; the gateway's control lag
#   handshakes           initiations answered a second: of up to HANDSHAKE_PEERS (2400) peers at ours, each from an address of
#                        its own and with a cookie; of 200 at wireguard-go. The model is what X25519 alone would allow,
#                        four operations a handshake, on the generator's core just before and after. "of_model": the share
#                        of that rate; "cpu_of_model": the model's processor time by the gateway's (its process alone), which
#                        does not depend on who else has the cores
# The first argument is a name of these or a part of it. PEERS_RATE (10000 packets a second), PEERS_ROUNDS (5),
# WIREGUARD_GO, CAPACITY_PIN as in b_capacity.sh. Our gateway takes 20 handshakes a second of one address once 100 came in a
# second; 2400 peers ask for four each here.
exec 3>&1 1>&2
. "$(dirname "$0")/../netns/lib.sh"
. "$(dirname "$0")/capacity_lib.sh"
filter=${1:-}
rate=${PEERS_RATE:-10000} rounds=${PEERS_ROUNDS:-5}
peer_wg=${WIREGUARD_GO:-$(command -v wireguard-go)}

cases()
{
	local n size

	for n in ${PEERS:-100 1000}; do
		for size in 64 1280; do
			echo "peers_${n}_$size $n $size"
		done
	done
	echo handshakes
	[ -z "${RENEW:-}" ] || echo renew
}

wanted() { cases | if cases | grep -q "^$filter\( \|\$\)"; then grep "^$filter\( \|\$\)"; else grep -e "^[^ ]*$filter"; fi; }

wg_name() { [ -z "$peer_wg" ] || cap_wg_label "$peer_wg"; }

# The env of a line, with the peer's version.
env_json() { cap_env user none | jq -c --arg v "$([ -z "$peer_wg" ] || "$peer_wg" --version | sed -n '1s/.* v//p')" '. + {peer_version: $v}'; }

# N WHO SIZE…: its peers are made known once.
cost()
{
	local n=$1 who=$2 size

	shift 2
	cap_limit=$((100 + n / 40))
	if [ "$who" = ours ]; then
		cap_start penstock user off
		cap_crowd "$n"
	else
		cap_start wireguard "$peer_wg" "$n"
	fi
	for size in "$@"; do
		cap_load peers --peers "$n" --size "$size" --flows 64 --rate "$rate" --rounds "$rounds" --seconds 0.5 >"$tmp/$who-$size.json" ||
			fatal "$who: no load"
	done
	cap_stop
}

# NAME SIZE
report()
{
	jq -nc --arg bench "$1" --argjson env "$(env_json)" --arg peer "$(wg_name)" \
		--slurpfile o "$tmp/ours-$2.json" --slurpfile t <(cat "$tmp/theirs-$2.json" 2>/dev/null) '$o[0] as $o | $t[0] as $t |
		{$bench, metric: "gateway_cpu_per_packet", unit: "ns", median: $o.all_ns, min: $o.all_min_ns, n: $o.rounds,
		who: "penstock-user", better: "less", to_one: $o.ratio, ours: $o} +
		(if $t then {ratio: ($t.all_ns / $o.all_ns * 1000 | round / 1000), $peer, peer_median: $t.all_ns, peer_min: $t.all_min_ns,
		their_to_one: $t.ratio, theirs: $t} else {} end) + {env: $env}' >&3
}

# WHO: several runs, the file has a line each
storm()
{
	local i

	if [ "$1" = ours ]; then
		cap_start penstock user off
		cap_crowd "${HANDSHAKE_PEERS:-2400}"
	else
		cap_start wireguard "$peer_wg" 200
	fi
	for ((i = 0; i < 3; i++)); do
		cap_load handshakes --peers 200 --seconds 2 --window 32 || fatal "$1: no handshakes"
	done >"$tmp/storm-$1.json"
	cap_stop
}

handshakes()
{
	storm ours
	[ -z "$peer_wg" ] || storm theirs
	jq -nc --arg peer "$(wg_name)" --argjson env "$(env_json)" --slurpfile o "$tmp/storm-ours.json" \
		--slurpfile t <(cat "$tmp/storm-theirs.json" 2>/dev/null) '
		def median: sort | .[length / 2 | floor];
		def r: . * 1000 | round / 1000;
		def rate: map(.per_s) | median;
		def model: map(.per_s / .model_per_s) | median | r;
		def cpu: map(.model_us / .gateway_us) | median | r;
		{bench: "handshakes", metric: "handshakes", unit: "per_s", median: ($o | rate), min: ($o | map(.per_s) | min),
		max: ($o | map(.per_s) | max), n: ($o | length), who: "penstock-user", better: "more",
		model: {x25519_per_handshake: 4, per_s: ($o | map(.model_per_s) | median)}, of_model: ($o | model), cpu_of_model: ($o | cpu), ours: ($o | last)} +
		(if $t == [] then {} else {ratio: (($o | rate) / ($t | rate) | r), $peer, peer_median: ($t | rate),
			peer_min: ($t | map(.per_s) | min), peer_max: ($t | map(.per_s) | max), their_of_model: ($t | model),
			their_cpu_of_model: ($t | cpu), theirs: ($t | last)} end) +
		{env: $env}' >&3
}

renew()
{
	local seconds=${RENEW_SECONDS:-200}

	cap_limit=$((seconds + 100 + RENEW / 40))
	cap_start penstock user off
	cap_crowd "$RENEW"
	cap_load renew --peers "$RENEW" --size 64 --rate 20000 --seconds "$seconds" >"$tmp/renew.json" || fatal "nothing is renewed"
	jq -nc --argjson env "$(env_json)" --argjson lag "$(cap_status | jq .control.lag_max_us)" --slurpfile r "$tmp/renew.json" '$r[0] as $r |
		{bench: "renew", metric: "oldest_session", unit: "s", median: $r.oldest_s, min: $r.mean_s, max: $r.oldest_s, n: $r.renewed,
		better: "less", lag_max_us: $lag, ours: $r, env: $env}' >&3
	cap_stop
}

[ -n "$(wanted)" ] || exit 0
cap_need
command -v python3 >/dev/null || skip "'python3' is not installed"
cap_net_up
for n in $(wanted | awk 'NF == 3 { print $2 }' | uniq); do
	sizes=$(wanted | awk -v n="$n" '$2 == n { print $3 }')
	# shellcheck disable=SC2086
	cost "$n" ours $sizes
	# shellcheck disable=SC2086
	[ -z "$peer_wg" ] || cost "$n" theirs $sizes
	for size in $sizes; do
		report "peers_${n}_$size" "$size"
	done
done
if wanted | grep -qx handshakes; then
	handshakes
fi
if wanted | grep -qx renew; then
	renew
fi
