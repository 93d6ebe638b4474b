#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a gateway carries: packets a second at no more than 0.1 % loss, from the open-loop generator (wgload.h), client to
# server. Ours against wireguard-go, in turn, in the same namespaces, with the same load: the distribution's, called
# wireguard-go-YEAR, and any binary that WIREGUARD_GO names, called wireguard-go. "ratio" is the median of the rounds' ratios, above 1 where ours carries more.
#
#   capacity_{64,512,1280,1420}          inner bytes; the outer datagrams come in trains (UDP_SEGMENT)
#   capacity_{64,512,1280,1420}_single   one by one
#   …_kernel                             ours with --mode=kernel and native XDP
#   …_gro                                all of them with GRO on at the gateway's interfaces
# The first argument is a name of these or a part of it. CAPACITY_ROUNDS (5; 2 of all), CAPACITY_SECONDS (0.7, a run), CAPACITY_SEARCH
# (12 s, at most), CAPACITY_PEERS (as PEERS in b_tunnel.sh), CAPACITY_FLOWS (1), CAPACITY_TRAIN (1), CAPACITY_PIN (capacity_lib.sh), CAPACITY_XDP (native) as wanted; CAPACITY_GRO=1 adds the last.
exec 3>&1 1>&2
. "$(dirname "$0")/../netns/lib.sh"
. "$(dirname "$0")/capacity_lib.sh"
filter=${1:-}
rounds=${CAPACITY_ROUNDS:-$([ -n "$filter" ] && echo 5 || echo 2)} seconds=${CAPACITY_SECONDS:-0.7} xdp=${CAPACITY_XDP:-native}
flows=${CAPACITY_FLOWS:-1} train=${CAPACITY_TRAIN:-1}

# name, offloads, bytes, GSO, mode of ours
cases()
{
	local offloads size gso mode

	for offloads in default ${CAPACITY_GRO:+gro}; do
		for size in 64 512 1280 1420; do
			for gso in on off; do
				for mode in $(modes 2>/dev/null | tr ' ' '\n' | sort -r); do
					name=capacity_$size
					[ $gso = on ] || name+=_single
					[ "$mode" = user ] || name+=_$mode
					[ $offloads = default ] || name+=_$offloads
					echo "$name $offloads $size $gso $mode"
				done
			done
		done
	done
}

wanted() { cases | if cases | grep -q "^$filter "; then grep "^$filter "; else grep -e "^[^ ]*$filter[^ ]* "; fi; }

# Who is compared with ours: label and program, one a line.
peers()
{
	local p distro

	distro=$(command -v wireguard-go)
	for p in ${CAPACITY_PEERS-wireguard-go-distro wireguard-go}; do
		case $p in
		wireguard-go-distro) [ -z "$distro" ] || [ "$distro" = "${WIREGUARD_GO:-}" ] || echo "$(cap_wg_label "$distro") $distro" ;;
		wireguard-go) [ -z "${WIREGUARD_GO:-}" ] || echo "wireguard-go $WIREGUARD_GO" ;;
		*) fatal "CAPACITY_PEERS: no '$p'" ;;
		esac
	done
}

version() { "$1" --version 2>/dev/null | sed -n '1s/.* //p'; }

# WHO SIZE GSO: one search; it begins where the last one ended.
search()
{
	local who=$1 size=$2 gso=$3 at=$tmp/$1-$2-$3.at
	local out=$tmp/search.json

	case $who in
	user) cap_start penstock user off ;;
	kernel) cap_start penstock kernel "$xdp" ;;
	*) cap_start wireguard "$(peers | sed -n "s/^$who //p")" ;;
	esac
	cap_load search --size "$size" --gso "$gso" --flows "$flows" --train "$train" --seconds "$seconds" --max-seconds "${CAPACITY_SEARCH:-12}" \
		${at:+--rate "$(cat "$at" 2>/dev/null || echo 0)"} >"$out" || fatal "$who: nothing was carried"
	cap_stop
	jq .pps "$out" >"$at"
	jq -c . "$out"
}

# NAME WHO ENV PEER: the rounds of that case, ours and the peer's, as one line; without a peer, ours alone.
report()
{
	jq -c --arg bench "$1" --arg who "$2" --argjson env "$3" --arg peer "$4" -s '
		def median: sort | .[length / 2 | floor];
		def r: . * 1000 | round / 1000;
		def fields: . as $all | .[0] | to_entries | map(select(.value | type == "number") | .key) |
			map({(.): (. as $k | $all | map(.[$k]) | median | r)}) | add;
		(map(.ours)) as $ours | map(.theirs.pps) as $their_pps | map(.ours.pps / .theirs.pps | r) as $ratios |
		{$bench, metric: "packets_per_second_at_0.1_percent_loss", unit: "pps", median: ($ours | map(.pps) | median),
			min: ($ours | map(.pps) | min), max: ($ours | map(.pps) | max), n: length, $who, better: "more"} +
		(if $peer == "" then {} else {$peer, peer_median: ($their_pps | median), peer_min: ($their_pps | min),
			peer_max: ($their_pps | max), ratio: ($ratios | median), ratio_min: ($ratios | min), ratio_max: ($ratios | max),
			theirs: (map(.theirs) | fields), their_limits: (map(.theirs.limit) | unique)} end) +
		{ours: ($ours | fields), limits: ($ours | map(.limit) | unique), env: $env}' "$tmp/rounds.json" >&3
}

# All that is asked for of one size, GSO and offloads: all gateways in turn, each round in another order.
compare()
{
	local offloads=$1 size=$2 gso=$3 who order i mode
	local ours theirs

	ours=$(wanted | awk -v o="$offloads" -v s="$size" -v g="$gso" '$2 == o && $3 == s && $4 == g { print $5 }' | tr '\n' ' ')
	theirs=$(peers | cut -d' ' -f1 | tr '\n' ' ')
	rm -f "$tmp"/result-*.json
	for ((i = 0; i < rounds; i++)); do
		order="$ours $theirs"
		[ $((i % 2)) = 0 ] || order=$(tr ' ' '\n' <<<"$order" | tac | tr '\n' ' ')
		for who in $order; do
			search "$who" "$size" "$gso" >>"$tmp/result-$who.json" || exit 1
		done
	done
	for mode in $ours; do
		name=$(wanted | awk -v o="$offloads" -v s="$size" -v g="$gso" -v m="$mode" '$2 == o && $3 == s && $4 == g && $5 == m { print $1 }')
		for who in ${theirs:-none}; do
			[ "$who" != none ] || cp "$tmp/result-$mode.json" "$tmp/result-none.json"
			paste -d' ' "$tmp/result-$mode.json" "$tmp/result-$who.json" | jq -c -n '[inputs] |
				range(0; length; 2) as $i | {ours: .[$i], theirs: .[$i + 1]}' >"$tmp/rounds.json"
			report "$name" "penstock-$mode" "$(env_json "$mode" "$who" "$gso")" "${who/none/}"
		done
	done
}

env_json()
{
	local x=none program

	[ "$1" != kernel ] || x=$xdp
	program=$(peers | sed -n "s/^$2 //p")
	cap_env "$1" "$x" | jq -c --arg gso "$3" --arg version "$([ -z "$program" ] || version "$program")" --argjson seconds "$seconds" \
		--argjson flows "$flows" --argjson train "$train" '. + {trains: ($gso == "on"), $seconds, $flows, $train, masquerade: true,
		peer_version: $version}'
}

# A network each, in a shell of its own: what is left of one must not be in the other.
all_of()
{
	cap_net_up "$1"
	wanted | awk -v o="$1" '$2 == o { print $2, $3, $4 }' | uniq | while read -r offloads size gso; do
		(trap - EXIT; compare "$offloads" "$size" "$gso") </dev/null || exit 1
	done
}

[ -n "$(wanted)" ] || exit 0
cap_need
rc=0
for offloads in default gro; do
	wanted | awk '{ print $2 }' | grep -qx $offloads || continue
	(all_of $offloads) || rc=1
	mkdir -p "$tmp"
done
rm -rf "$tmp"
exit $rc
