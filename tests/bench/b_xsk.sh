#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# AF_XDP beside the UDP sockets: what receiving a packet costs a gateway of --mode=user, its process and the kernel thread that receives
# for it (threaded NAPI; GRO is on), in ns. By AF_XDP (copied: a veth has no zero-copy mode), by the sockets with a native program that
# lets everything pass on the same interface, and by the sockets alone. In turn, in the same namespaces, at a rate all of
# them carry. "ratio" is what AF_XDP takes by what the other takes, median of the rounds' ratios: above 1 AF_XDP is the dearer.
#
#   xsk_{64,1280}          the outer datagrams come in trains (UDP_SEGMENT), which a native program has the kernel cut
#   xsk_{64,1280}_single   one by one
# The first argument is a name of these or a part of it. XSK_ROUNDS (4), XSK_SECONDS (2), XSK_RATE (15000 a second) as wanted.
exec 3>&1 1>&2
. "$(dirname "$0")/../netns/lib.sh"
. "$(dirname "$0")/capacity_lib.sh"
filter=${1:-} rounds=${XSK_ROUNDS:-4}

# The time on a processor of the thread that receives on the interface.
napi_ns()
{
	local t

	t=$(ps -eo pid=,comm= | awk -v a="napi/$cap_wan-" 'index($2, a) == 1 { print $1 }')
	cut -d' ' -f1 "/proc/$t/schedstat" || fatal "no thread receives on $cap_wan"
}

fatal()
{
	echo "fatal: $*" >&2
	exit 1
}

# WHO SIZE GSO: one run; {process, napi, loss}
one()
{
	local steer=rss before after

	[ "$1" != xsk ] || steer=xsk
	[ "$1" != native ] || ip -n "$ns-g" link set dev $cap_wan xdpdrv obj build/bpf/pass.bpf.o sec xdp || fatal "no program"
	PENSTOCK_STEER=$steer cap_start penstock user native
	[ "$(cap_status | jq -r '.wan[0].steer')" = $steer ] || fatal "$steer: $(cap_status | jq -r '.wan[0].steer_why')"
	before=$(napi_ns)
	cap_load run --size "$2" --gso "$3" --rate "${XSK_RATE:-15000}" --warm 0 --seconds "${XSK_SECONDS:-2}" >"$tmp/run.json" ||
		fatal "$1: nothing was carried"
	after=$(napi_ns)
	[ "$1" != xsk ] || [ "$(cap_status | jq '.wan[0].xsk.packets')" -ge "$(jq '.delivered / 2 | floor' "$tmp/run.json")" ] || fatal "AF_XDP has not carried it"
	cap_stop
	[ "$1" != native ] || ip -n "$ns-g" link set dev $cap_wan xdpdrv off
	jq -c --argjson napi $((after - before)) '{process: (.gateway_ns * .sent / .delivered), napi: ($napi / .delivered), loss}' "$tmp/run.json"
}

# NAME OTHER: the line; the figures of a round in a row, xsk's first.
report()
{
	jq -c --arg bench "$1" --arg peer "sockets$([ "$2" = native ] && echo ", native program")" --argjson env "$(cap_env user native)" -s '
		def median: sort | .[length / 2 | floor];
		def r: . * 1000 | round / 1000;
		def both: .process + .napi;
		[range(0; length; 2) as $i | {xsk: .[$i], other: .[$i + 1]}] | map((.xsk | both) / (.other | both) | r) as $ratios |
		{$bench, metric: "processor_time_a_packet", unit: "ns", median: (map(.xsk | both) | median | r), min: (map(.xsk | both) | min | r),
			max: (map(.xsk | both) | max | r), n: length, who: "AF_XDP, copied", better: "less", $peer,
			peer_median: (map(.other | both) | median | r), ratio: ($ratios | median), ratio_min: ($ratios | min), ratio_max: ($ratios | max),
			ours: {process: (map(.xsk.process) | median | r), napi: (map(.xsk.napi) | median | r), loss: (map(.xsk.loss) | median)},
			theirs: {process: (map(.other.process) | median | r), napi: (map(.other.napi) | median | r), loss: (map(.other.loss) | median)},
			$env}' >&3
}

compare()
{
	local name=$1 size=$2 gso=$3 i who

	rm -f "$tmp"/xsk "$tmp"/native "$tmp"/sockets
	for ((i = 0; i < rounds; i++)); do
		for who in $([ $((i % 2)) = 0 ] && echo xsk native sockets || echo sockets native xsk); do
			one $who "$size" "$gso" >>"$tmp/$who" || exit 1
		done
	done
	for who in native sockets; do
		paste -d' ' "$tmp/xsk" "$tmp/$who" | report "$name" $who
	done
}

cap_need
cap_net_up gro
# Or what comes from there would not be received by that thread.
cap_inside c ethtool -K c0 tso off >/dev/null || fatal "ethtool c0"
for size in 64 1280; do
	for gso in on off; do
		name=xsk_$size$([ $gso = on ] || echo _single)
		case $name in *"$filter"*) compare "$name" $size $gso ;; esac
	done
done
