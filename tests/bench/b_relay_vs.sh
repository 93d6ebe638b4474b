#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The relay against coturn, in turn, in the same namespaces, with the same load: CPU time a packet, packets a second,
# allocations a second, memory of 16,384 allocations. What is counted as whose: relay_vs_lib.sh. "ratio" is the median
# of the rounds' ratios, above 1 where ours is the better.
#
#   relay_user_vs_coturn_{120,1200}          user space; frames come one by one, as from a NIC's driver
#   relay_user_vs_coturn_{120,1200}_many     likewise, 200 allocations with a datagram each at a time
#   relay_user_vs_coturn_{120,1200}_plain    by plain veths: skbs of the senders' sockets
#   relay_user_vs_coturn_{120,1200}_gso      likewise, in trains that stay whole (segmentation offload everywhere)
#   relay_xdp_vs_coturn_{120,1200}           native XDP
#   relay_generic_vs_coturn_{120,1200}       generic XDP
#   relay_alloc_rate, relay_alloc_memory
# The first argument is a name of these or a part of it. VS_ROUNDS, VS_SECONDS, VS_COTURN_THREADS as wanted.
# VS_COTURN=PATH is another turnserver than the distribution's, VS_COTURN_ARGS what it is told besides ("--multiplex-peer
# --udp-gso" has it batch and segment); every line names its version and options.
exec 3>&1 1>&2
. "$(dirname "$0")/../netns/lib.sh"
. "$(dirname "$0")/../netns/relay_lib.sh"
. "$(dirname "$0")/relay_vs_lib.sh"
filter=${1:-}
rounds=${VS_ROUNDS:-5} seconds=${VS_SECONDS:-1}
few="--allocs 8 --window 16 --burst 16" many="--allocs 200 --window 1 --burst 1"
net_now=

# name, network, ours, bytes, load
cases()
{
	local size

	for size in 120 1200; do
		echo "relay_user_vs_coturn_$size wire user $size $few"
		echo "relay_user_vs_coturn_${size}_many wire user $size $many --no-gso"
		echo "relay_user_vs_coturn_${size}_plain plain user $size $few --no-gso"
		echo "relay_user_vs_coturn_${size}_gso plain user $size $few"
		echo "relay_xdp_vs_coturn_$size wire xdp $size $few"
		echo "relay_generic_vs_coturn_$size wire generic $size $few"
	done
	echo "relay_alloc_rate plain user 0"
	echo "relay_alloc_memory plain generic 0"
}

wanted() { cases | if cases | grep -q "^$filter "; then grep "^$filter "; else grep -e "^[^ ]*$filter[^ ]* "; fi; }

env_json()
{
	jq -nc --arg kernel "$(uname -r)" --arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" \
		--argjson cpus "$(nproc)" --arg net "$1" --arg mode "$2" --arg load "$3" --argjson seconds "$seconds" \
		--arg coturn "$(vs_coturn_version)" --arg args "${VS_COTURN_ARGS:-}" --arg threads "${VS_COTURN_THREADS:-default}" \
		'{$kernel, $cpu, $cpus, network: $net, xdp_mode: (if $mode == "xdp" then "native" elif $mode == "generic" then
		"generic" else "none" end), $load, $seconds, coturn: $coturn, coturn_options: $args, coturn_relay_threads: $threads, pinning: "none"}'
}

# SERVER SIZE LOAD…: one run, as JSON
run_load()
{
	local server=$1 size=$2 a b

	shift 2
	vs_start "$server"
	a=$(vs_cpu)
	load --seconds "$seconds" --direction both --size "$size" "$@" >"$tmp/load.json" || fatal "$server: no load" >&2
	b=$(vs_cpu)
	vs_stop
	jq -c --arg a "$a" --arg b "$b" '($a | split(" ") | map(tonumber)) as $a | ($b | split(" ") | map(tonumber)) as $b |
		{process_ns: (($b[0] - $a[0]) / .packets), receive_ns: (($b[1] - $a[1]) / .packets),
		cpu_ns: (($b[0] + $b[1] - $a[0] - $a[1]) / .packets), pps: (.up.pps + .down.pps),
		up_pps: .up.pps, down_pps: .down.pps, lost: (.up.lost + .down.lost), sent: (.up.sent + .down.sent)}' "$tmp/load.json"
}

# NAME METRIC UNIT FIELD RATIO ENV: rounds.json, [{ours, coturn}…], as one line. RATIO less: ours is better below.
report()
{
	jq -c --arg bench "$1" --arg metric "$2" --arg unit "$3" --arg f "$4" --arg better "$5" --argjson env "$6" -s '
		def median: sort | .[length / 2 | floor];
		def r: . * 1000 | round / 1000;
		def all(s): map(.[s] | .[$f]);
		def fields(s): . as $rounds | .[0][s] | keys | map({(.): (. as $k | $rounds | map(.[s][$k]) | median | r)}) | add;
		{$bench, $metric, $unit, median: (all("ours") | median | r), min: (all("ours") | min | r),
		max: (all("ours") | max | r), n: length,
		ratio: (map(if $better == "less" then .coturn[$f] / .ours[$f] else .ours[$f] / .coturn[$f] end) | median | r),
		ratios: map(if $better == "less" then .coturn[$f] / .ours[$f] else .ours[$f] / .coturn[$f] end | r),
		ours: fields("ours"), coturn: fields("coturn"), env: $env}' "$tmp/rounds.json" >&3
}

compare()
{
	local name=$1 net=$2 ours=$3 size=$4 i o c

	shift 4
	: >"$tmp/rounds.json"
	for ((i = 0; i < rounds; i++)); do
		if [ $((i % 2)) = 0 ]; then
			o=$(run_load "$ours" "$size" "$@") && c=$(run_load coturn "$size" "$@") || exit 1
		else
			c=$(run_load coturn "$size" "$@") && o=$(run_load "$ours" "$size" "$@") || exit 1
		fi
		echo "{\"ours\":$o,\"coturn\":$c}" >>"$tmp/rounds.json"
	done
	report "$name" cpu_per_packet ns cpu_ns less "$(env_json "$net" "$ours" "$*")"
}

# SERVER EACH: four clients that make EACH allocations and bind a channel on each
run_allocs()
{
	local server=$1 each=$2 i a b pids=()

	vs_start "$server"
	a=$(vs_cpu)
	for i in 0 1 2 3; do
		load --allocs "$each" --direction none --seconds 1 >"$tmp/allocs$i.json" &
		pids+=($!)
	done
	wait "${pids[@]}" || fatal "$server: allocations fail" >&2
	b=$(vs_cpu)
	vs_stop
	jq -sc --arg a "$a" --arg b "$b" '($a | split(" ") | map(tonumber)) as $a | ($b | split(" ") | map(tonumber)) as $b |
		{per_s: (map(.allocs_per_s) | add),
		cpu_us: (($b[0] + $b[1] - $a[0] - $a[1]) / 1000 / (map(.allocs) | add))}' "$tmp"/allocs?.json
}

alloc_rate()
{
	local i o c

	: >"$tmp/rounds.json"
	for ((i = 0; i < rounds; i++)); do
		o=$(run_allocs user 500) && c=$(run_allocs coturn 500) || exit 1
		echo "{\"ours\":$o,\"coturn\":$c}" >>"$tmp/rounds.json"
	done
	report relay_alloc_rate allocations per_s per_s more \
		"$(env_json plain user "4 clients, 500 allocations each: 401, Allocate, ChannelBind, Refresh 0 at the end")"
}

# What the kernel holds for one open UDP socket in an epoll: its slabs' object sizes.
socket_bytes()
{
	awk '$1 ~ /^(UDP|sock_inode_cache|dentry|filp|eventpoll_epi|eventpoll_pwq|ep_head)$/ { s += $4 } END { print s + 0 }' /proc/slabinfo
}

# What the switch's maps and programs take, in bytes.
map_bytes()
{
	find "/proc/$relay_pid/fdinfo" -type f -exec cat {} + 2>/dev/null | awk '/^memlock:/ { s += $2 } END { print s + 0 }'
}

rss_kb() { awk '/^VmRSS/ { print $2 }' "/proc/$relay_pid/status"; }

# SERVER: memory with nothing, and with 16384 allocations held
run_memory()
{
	local server=$1 i before after fds maps pids=()

	vs_start "$server"
	before=$(rss_kb)
	for i in 0 1 2 3; do
		load --allocs 4096 --direction none --seconds 30 >"$tmp/allocs$i.json" 2>"$tmp/allocs$i.err" &
		pids+=($!)
	done
	wait_for 90 vs_holds 16384
	after=$(rss_kb)
	fds=$(vs_sockets)
	cat "$tmp"/allocs?.err >&2
	maps=$(map_bytes)
	kill $(ip netns pids "$ns-c") 2>/dev/null
	wait "${pids[@]}" 2>/dev/null
	vs_stop
	jq -nc --argjson before "$before" --argjson after "$after" --argjson sockets "$fds" --argjson each "$(socket_bytes)" \
		--argjson maps "$maps" \
		'{rss_idle_mb: ($before / 1024), rss_mb: ($after / 1024), $sockets, sockets_mb: ($sockets * $each / 1048576),
		maps_mb: ($maps / 1048576), total_mb: ($after / 1024 + ($sockets * $each + $maps) / 1048576)}'
}

vs_sockets() { ip netns exec "$ns-r" ss -Huan src 10.91.1.1 | wc -l; }

# All of N are there, or as many as there will be.
vs_holds()
{
	local n

	n=$(vs_sockets)
	[ "$n" -ge "$1" ] || { [ "$n" -gt 1000 ] && [ "$n" = "$(sleep 8 && vs_sockets)" ]; }
}

alloc_memory()
{
	local o c

	o=$(run_memory generic) && c=$(run_memory coturn) || exit 1
	echo "{\"ours\":$o,\"coturn\":$c}" >"$tmp/rounds.json"
	report relay_alloc_memory memory_of_16384_allocations MB total_mb less "$(env_json plain generic "4 x 4096, a channel each")"
}

# A network each, in a shell of its own: what is left of one must not be in the other.
all_of()
{
	local net=$1 name rest

	ns=rbench$net-$$
	vs_net_up "$net"
	wanted | while read -r name rest; do
		set -- $rest
		[ "$1" = "$net" ] || continue
		case $name in
		relay_alloc_rate) alloc_rate ;;
		relay_alloc_memory) alloc_memory ;;
		*) compare "$name" "$@" ;;
		esac </dev/null || exit 1
	done
}

[ -n "$(wanted)" ] || exit 0
vs_need
rc=0
for net in plain wire; do
	wanted | awk '{ print $2 }' | grep -qx $net || continue
	(all_of $net) || rc=1
	mkdir -p "$tmp"
done
rm -rf "$tmp"
exit $rc
