#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# AF_XDP beside the UDP sockets: what a gateway of --mode=user carries (as capacity_*, which see), received by AF_XDP (copied: a
# veth has no zero-copy mode), by the sockets with a native program that lets everything pass on the same interface, and by the
# sockets alone. In turn, in the same namespaces. "ratio" is xsk by the other, median of the rounds' ratios.
#
#   xsk_{64,1280}          the outer datagrams come in trains (UDP_SEGMENT), which a native program has the kernel cut
#   xsk_{64,1280}_single   one by one
# The first argument is a name of these or a part of it. XSK_ROUNDS (3), CAPACITY_SECONDS (0.7), CAPACITY_SEARCH (12).
exec 3>&1 1>&2
. "$(dirname "$0")/../netns/lib.sh"
. "$(dirname "$0")/capacity_lib.sh"
filter=${1:-} rounds=${XSK_ROUNDS:-3}

# WHO SIZE GSO: one search; it begins where the last one ended.
search()
{
	local steer=rss at=$tmp/$1-$2-$3.at

	[ "$1" != xsk ] || steer=xsk
	[ "$1" != native ] || ip -n "$ns-g" link set dev $cap_wan xdpdrv obj build/bpf/pass.bpf.o sec xdp || fatal "no program"
	PENSTOCK_STEER=$steer cap_start penstock user native
	[ "$(cap_status | jq -r '.wan[0].steer')" = $steer ] || fatal "$steer: $(cap_status | jq -r '.wan[0].steer_why')"
	cap_load search --size "$2" --gso "$3" --flows 1 --train 1 --seconds "${CAPACITY_SECONDS:-0.7}" --max-seconds "${CAPACITY_SEARCH:-12}" \
		--rate "$(cat "$at" 2>/dev/null || echo 0)" >"$tmp/search.json" || fatal "$1: nothing was carried"
	cap_status | jq -c '.wan[0].xsk' >&2
	cap_stop
	[ "$1" != native ] || ip -n "$ns-g" link set dev $cap_wan xdpdrv off
	jq .pps "$tmp/search.json" | tee "$at"
}

# NAME OTHER: the line; figures of a round in a row, xsk's first.
report()
{
	jq -c --arg bench "$1" --arg peer "sockets$([ "$2" = native ] && echo ", native program")" --argjson env "$(cap_env user native)" -s '
		def median: sort | .[length / 2 | floor];
		[range(0; length; 2) as $i | {xsk: .[$i], other: .[$i + 1]}] |
		{$bench, metric: "packets_per_second_at_0.1_percent_loss", unit: "pps", median: (map(.xsk) | median), min: (map(.xsk) | min),
			max: (map(.xsk) | max), n: length, who: "AF_XDP, copied", better: "more", $peer, peer_median: (map(.other) | median),
			ratio: (map(.xsk / .other) | median), ratio_min: (map(.xsk / .other) | min), ratio_max: (map(.xsk / .other) | max), $env}' >&3
}

compare()
{
	local name=$1 size=$2 gso=$3 i who

	rm -f "$tmp"/xsk "$tmp"/native "$tmp"/sockets
	for ((i = 0; i < rounds; i++)); do
		for who in $([ $((i % 2)) = 0 ] && echo xsk native sockets || echo sockets native xsk); do
			search $who "$size" "$gso" >>"$tmp/$who" || exit 1
		done
	done
	for who in native sockets; do
		paste -d' ' "$tmp/xsk" "$tmp/$who" | report "$name" $who
	done
}

cap_need
cap_net_up
for size in 64 1280; do
	for gso in on off; do
		name=xsk_$size$([ $gso = on ] || echo _single)
		case $name in *"$filter"*) compare "$name" $size $gso ;; esac
	done
done
