#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 3600
#
# How a gateway's throughput grows with its workers. N workers are two threads each and get 2N processors, the load the
# machine's last quarter (TCP's clients and server the upper half), whatever N is; on two processors the gateway has one.
# wireguard-go (WIREGUARD_GO=PATH) gets the same processors. "to_w1": by how much the figure is that of one worker, "ratio" by
# how much that of wireguard-go on as many processors.
#
#   workers_capacity_{64,1280}_wN         packets a second at no more than 0.1 % loss (wgload.h), in trains, from 12 sessions (4 on
#                                         fewer than eight processors; a multiple of N), each with a socket and process of its own, whose
#                                         ports are chosen so that every worker has as many of them; by chance it is less even
#   workers_capacity_1280_single_wN       datagrams one by one
#   workers_tcp_{up,down}_pP_cC_wN        Gbit/s received, P streams of iperf3 in all through C clients. "threads": processors
#                                         each of the gateway's threads took: one stream's are an elephant's
#   workers_order_wN                      packets out of order, doubled or changed, of those checked
#   workers_kernel_{64,1280}_WAY_wN       the kernel executor, native XDP, on 2N processors. WAY: queue, one receive queue with
#                                         NAPI in a thread; rss, 2N of them; cpumap, one queue and --steer=cpumap
#
# The first argument is one of these names or a part of it. WORKERS ("1 2 4 6", those for which there are processors; what is
# left out is said), WORKERS_CROWDED=1 (all of them whatever the processors: for trying), WORKERS_ROUNDS (1), WORKERS_SECONDS
# (0.4 a run of a search; WORKERS_TCP_SECONDS, 2, whole ones, of iperf3), WORKERS_STREAMS ("1_1 4_4 16_4 16_1 8_4 4_1", P_C), WORKERS_SEARCH (8 s, at most), WORKERS_BUDGET (seconds: when
# they are nearly over no case is begun), CAPACITY_PIN=none, WORKERS_PERF=DIR (profiles of the gateway at nine tenths of its capacity).
exec 3>&1 1>&2
. "$(dirname "$0")/../netns/lib.sh"
. "$(dirname "$0")/capacity_lib.sh"
. "$(dirname "$0")/workers_lib.sh"
filter=${1:-}
cpus=$(nproc)
rounds=${WORKERS_ROUNDS:-1} secs=${WORKERS_SECONDS:-0.4} tcp_secs=${WORKERS_TCP_SECONDS:-2} search_max=${WORKERS_SEARCH:-8}
budget=${WORKERS_BUDGET:-3500} kept=$tmp.kept
[ "$cpus" -ge 8 ] && sessions_min=12 || sessions_min=4
sessions=$sessions_min way=none

# ---- which ----
# Processors for the load (capacity) and for all but the gateway (TCP).
if [ "$cpus" -ge 4 ]; then
	cap_load_cpus=$((cpus - (cpus + 3) / 4))-$((cpus - 1)) wk_rest_cpus=$((cpus / 2))-$((cpus - 1))
fi

# N LIMIT: may so many workers be measured on LIMIT processors?
fits()
{
	[ -n "${WORKERS_CROWDED:-}" ] || [ $((2 * $1)) -le "$2" ] || { [ "$1" = 1 ] && [ "$cpus" = 2 ]; }
}

gateway_cpus()
{
	if [ "$cpus" = 2 ]; then
		echo 1
	else
		echo "0-$((2 * $1 <= $2 ? 2 * $1 - 1 : $2 - 1))"
	fi
}

# name, kind, N, and what the kind takes; in the order of their worth
cases()
{
	local n p c dir size w free=$((cpus - (cpus + 3) / 4)) half=$((cpus / 2))

	for n in ${WORKERS:-1 2 4 6}; do
		fits "$n" $free && echo "workers_capacity_1280_w$n capacity $n 1280 on"
	done
	for n in ${WORKERS:-1 2 4 6}; do
		fits "$n" $half || continue
		for p in ${WORKERS_STREAMS:-1_1 4_4 16_4 16_1 8_4 4_1}; do
			c=${p#*_} p=${p%_*}
			for dir in up down; do
				echo "workers_tcp_${dir}_p${p}_c${c}_w$n tcp $n $dir $p $c"
			done
		done
	done
	for n in ${WORKERS:-1 2 4 6}; do
		fits "$n" $free && echo "workers_order_w$n order $n 1280 on"
	done
	for n in ${WORKERS:-1 2 4 6}; do
		fits "$n" $free && echo "workers_capacity_64_w$n capacity $n 64 on"
	done
	for n in ${WORKERS:-1 2 4 6}; do
		fits "$n" $free && echo "workers_capacity_1280_single_w$n capacity $n 1280 off"
	done
	for n in ${WORKERS:-1 2 4 6}; do
		fits "$n" $half || continue
		for size in 64 1280; do
			for w in queue rss cpumap; do
				echo "workers_kernel_${size}_${w}_w$n kernel $n $size $w"
			done
		done
	done
}

wanted() { cases | if cases | grep -q "^$filter "; then grep "^$filter "; else grep -e "^[^ ]*$filter[^ ]* "; fi; }

left_out()
{
	local n

	for n in ${WORKERS:-1 2 4 6}; do
		cases | grep -q "^workers_capacity_1280_w$n " || echo "bench: $n workers are left out: $cpus processors"
		cases | grep -q "^workers_tcp_.*_w$n " || echo "bench: TCP with $n workers is left out: $cpus processors"
	done
}

# SECONDS: is there as much time left?
time_for()
{
	[ $((SECONDS + $1)) -le "$budget" ] && return
	echo "bench: no time left for ${2:-the rest}"
	return 1
}

# ---- reports ----
env_json()
{
	cap_env "$1" "$2" | jq -c --arg steer "$way" --argjson q "$cap_queues" --argjson n "$3" --arg rest "$4" \
		--arg smt "$(cat /sys/devices/system/cpu/cpu0/topology/thread_siblings_list 2>/dev/null)" \
		--arg version "$([ -z "${WIREGUARD_GO:-}" ] || "$WIREGUARD_GO" --version | sed -n '1s/.* //p')" --argjson sessions "$sessions" '
		. + {gateway_workers: $n, steer: $steer, wan_queues: (if $q == 0 then 1 else $q end), siblings_of_cpu0: $smt, masquerade: true,
		receiving: (if .pinning == "none" then "as the kernel has it" else "RPS to the same CPUs as the program" end),
		peer_version: $version} + (if $rest == "" then {sessions: $sessions, sessions_spread: "evenly over the workers"}
			else {pinning: "gateway and its receiving on CPUs \($rest)"} end)'
}

# NAME METRIC UNIT FIELD MODE ENV: of $tmp/ours.json and, where there is one, $tmp/theirs.json, a line a round each.
report()
{
	local stem=${1%_w*} n=${1##*_w}

	touch "$tmp/theirs.json"
	[ "$n" != 1 ] || jq -s --arg f "$4" 'map(.[$f]) | sort | .[length / 2 | floor]' "$tmp/ours.json" >"$kept/$stem"
	jq -nc --arg bench "$1" --arg metric "$2" --arg unit "$3" --arg f "$4" --arg who "penstock-$5" --argjson env "$6" \
		--argjson w1 "$(cat "$kept/$stem" 2>/dev/null || echo null)" --slurpfile o "$tmp/ours.json" --slurpfile t "$tmp/theirs.json" '
		def median: sort | .[length / 2 | floor];
		def r: . * 1000 | round / 1000;
		def of: map(.[$f]);
		{$bench, $metric, $unit, median: ($o | of | median), min: ($o | of | min), max: ($o | of | max), n: ($o | length), $who,
		better: (if $unit == "packets" then "less" else "more" end)} + (if ($w1 // 0) > 0 then {to_w1: (($o | of | median) / $w1 | r)} else {} end) +
		(if $t == [] then {} else {peer: "wireguard-go", peer_median: ($t | of | median), peer_min: ($t | of | min),
			peer_max: ($t | of | max), ratio: (($o | of | median) / ($t | of | median) | r), theirs: $t[0]} end) +
		{ours: $o[0], $env}' >&3
	rm -f "$tmp/ours.json" "$tmp/theirs.json"
}

# ---- capacity ----
# N: so many ports from which data goes to each of N workers in turn; the hash is io/udp_steer's.
locals()
{
	python3 - "$1" "$sessions" <<-'END'
		import sys
		n, want = map(int, sys.argv[1:])

		def mix(h, w):
		    h = (h ^ w) * 0x9e3779b1 & 0xffffffff
		    return h ^ h >> 16

		out, port = [], 52700
		for i in range(want):
		    while (mix(mix(0, 0x0a090001), port) >> 16) * n >> 16 != i % n:
		        port += 1
		    out.append(f"10.9.0.1:{port}")
		    port += 1
		print(",".join(out))
	END
}

# WHO N, then MODE XDP-MODE of ours
start()
{
	cap_gateway_cpus=$(gateway_cpus "$2" $((cpus - (cpus + 3) / 4)))
	sessions=$(((sessions_min + $2 - 1) / $2 * $2))
	if [ "$1" = wireguard ]; then
		cap_start wireguard "$WIREGUARD_GO" "$sessions"
	else
		cap_args=(--workers "$2" ${5:+--steer "$5"})
		cap_local=$(locals "$2")
		cap_start penstock "$3" "$4"
		cap_crowd "$sessions"
	fi
}

# WHO N SIZE GSO: one line
search()
{
	local hint=$kept/hint-$1-$3-$4-$way rate=0

	[ ! -s "$hint" ] || rate=$(awk -v n="$2" '{ printf "%d", $1 / $2 * n * 0.8 }' "$hint")
	cap_load search --senders "$sessions" --size "$3" --gso "$4" --seconds "$secs" --warm 0.1 --max-seconds "$search_max" --rate "$rate" \
		--threads 2 --pool-mb "$([ "$cpus" -ge 8 ] && echo 1024 || echo 256)" >"$tmp/search.json" || { tail -n 3 "$tmp/load.log"; return 1; }
	jq -r --argjson n "$2" '"\(.pps) \($n)"' "$tmp/search.json" >"$hint"
	jq -c . "$tmp/search.json"
}

# NAME N SIZE GSO: a profile at nine tenths of what was found, of the fewest and the most workers. Idle threads give no samples, so
# the time that packets are made in does no harm.
profile()
{
	[[ -n "${WORKERS_PERF:-}" && " $(wanted | awk '{ print $3 }' | sed -n '1p;$p' | tr '\n' ' ') " == *" $2 "* ]] || return 0
	command -v perf >/dev/null || return 0
	mkdir -p "$WORKERS_PERF"
	perf record -q -F 999 -g -e cpu-clock -p "$cap_pid" -o "$tmp/perf.data" -- sleep 4 >/dev/null 2>&1 &
	cap_load run --senders "$sessions" --size "$3" --gso "$4" --seconds 1 --rate "$(jq '.pps * 0.9 | round' "$tmp/search.json")" --threads 2 \
		--pool-mb "$([ "$cpus" -ge 8 ] && echo 2048 || echo 256)" >/dev/null
	wait $!
	perf report -i "$tmp/perf.data" --no-children --sort symbol -g none --stdio 2>/dev/null | grep -v '^#' | grep . | head -n 60 >"$WORKERS_PERF/$1.txt"
	perf report -i "$tmp/perf.data" --no-children --sort comm,symbol -g none --stdio 2>/dev/null | grep -v '^#' | grep . | head -n 60 >"$WORKERS_PERF/$1-threads.txt"
}

# NAME N SIZE GSO MODE XDP-MODE [STEER]
capacity()
{
	local i

	for ((i = 0; i < rounds; i++)); do
		start penstock "$2" "$5" "$6" "${7:-}"
		search "penstock" "$2" "$3" "$4" >>"$tmp/ours.json" && profile "$1" "$2" "$3" "$4" || { cap_stop; return 1; }
		cap_stop
		[ "$5" = user ] && [ -n "${WIREGUARD_GO:-}" ] || continue
		start wireguard "$2"
		search wireguard "$2" "$3" "$4" >>"$tmp/theirs.json"
		cap_stop
	done
	report "$1" packets_per_second_at_0.1_percent_loss pps pps "$5" "$(env_json "$5" "$6" "$2" "")"
}

order()
{
	start penstock "$2" user off
	cap_load run --senders "$sessions" --size 1280 --seconds 1 --rate $((cpus >= 8 ? 400000 : 40000)) --threads 2 --pool-mb 256 --flows 4 --train 8 \
		--verify | jq -c '. + {wrong: (.reordered + .duplicated + .corrupted)}' >"$tmp/ours.json"
	cap_stop
	jq -e '.checked > 0 and .wrong == 0' "$tmp/ours.json" >/dev/null || echo "bench: $1: packets out of order, doubled or changed"
	report "$1" wrong_packets packets wrong user "$(env_json user off "$2" "")"
}

kernel_case()
{
	local steer=rss

	way=$4
	[ "$4" != cpumap ] || steer=cpumap
	capacity "$1" "$2" "$3" on kernel native "$steer"
}

# KIND QUEUES: all of one kind on a network of their own
group()
{
	local name n a b c

	cap_queues=$2
	cap_net_up
	while read -r name _ n a b c; do
		time_for $((search_max + 8)) "$name" || break
		echo "bench: $name, $SECONDS s"
		case $1 in
		capacity) (trap - EXIT; capacity "$name" "$n" "$a" "$b" user off) </dev/null || echo "bench: $name failed" ;;
		order) (trap - EXIT; order "$name" "$n") </dev/null || echo "bench: $name failed" ;;
		kernel) (trap - EXIT; kernel_case "$name" "$n" "$a" "$b") </dev/null || echo "bench: $name failed" ;;
		esac
		cap_stop
	done
}

# ---- TCP ----
tcp_env()
{
	env_json user off "$1" "$cap_gateway_cpus, clients and server on $wk_rest_cpus" |
		jq -c --arg pin "$cap_pin" --argjson t "$tcp_secs" 'if $pin == "core" then . else .pinning = "none" end | . + {seconds: $t, omitted_s: 1, mtu_inside: 1420}'
}

# WHO N: all runs of that gateway, into $kept/tcp-WHO-NAME
tcp_runs()
{
	local name dir p c i

	cap_gateway_cpus=$(gateway_cpus "$2" $((cpus / 2)))
	if [ "$1" = penstock ]; then wk_start penstock "$2"; else wk_start wireguard "$WIREGUARD_GO"; fi ||
		{ echo "bench: $1 with $2 workers does not carry"; tail -n 4 "$tmp"/*.log; return 1; }
	[ "$1" != penstock ] || tcp_env "$2" >"$kept/tcp-env-$2"
	wanted | awk -v n="$2" '$2 == "tcp" && $3 == n { print $1, $4, $5, $6 }' | while read -r name dir p c; do
		rm -f "$kept/tcp-$1-$name"
		for ((i = 0; i < rounds; i++)); do
			time_for 10 "$name" || break
			# a server that is closing the last run is busy for a moment
			{ wk_tcp "$dir" "$p" "$c" "$tcp_secs" >"$tmp/one" || { sleep 0.5 && wk_tcp "$dir" "$p" "$c" "$tcp_secs" >"$tmp/one"; }; } </dev/null &&
				cat "$tmp/one" >>"$kept/tcp-$1-$name" || echo "bench: $name with $1 failed"
		done
	done
	wk_stop
}

tcp_group()
{
	local n name

	trap 'wk_net_down; rm -rf "$tmp"' EXIT
	wk_net_up "$1" || { echo "bench: no network for TCP"; return 1; }
	for n in ${WORKERS:-1 2 4 6}; do
		wanted | grep -q "_w$n tcp " && time_for 25 "TCP with $n workers" || continue
		echo "bench: TCP with $n workers, $SECONDS s"
		tcp_runs penstock "$n" || continue
		[ -z "${WIREGUARD_GO:-}" ] || tcp_runs wireguard "$n"
		for name in $(wanted | awk -v n="$n" '$2 == "tcp" && $3 == n { print $1 }'); do
			[ -s "$kept/tcp-penstock-$name" ] || continue
			cp "$kept/tcp-penstock-$name" "$tmp/ours.json"
			cp "$kept/tcp-wireguard-$name" "$tmp/theirs.json" 2>/dev/null
			report "$name" goodput Gbit/s gbps user "$(cat "$kept/tcp-env-$n")"
		done
	done
}

# KIND QUEUES FILTER: a shell of its own; what is left of one must not be in the other.
all_of()
{
	wanted | awk -v k="$1" '$2 == k' | grep -e "$3" >"$kept/list"
	[ -s "$kept/list" ] || return 0
	(group "$1" "$2" <"$kept/list")
	mkdir -p "$tmp"
}

[ -n "$(wanted)" ] || { rm -rf "$tmp"; exit 0; }
cap_need
command -v python3 >/dev/null || skip "'python3' is not installed"
[ -z "${WIREGUARD_GO:-}" ] || [ -x "$WIREGUARD_GO" ] || fatal "WIREGUARD_GO=$WIREGUARD_GO is no program"
trap 'rm -rf "$tmp" "$kept"' EXIT
mkdir -p "$kept"
left_out
all_of capacity 0 '_1280_w'
if [ -n "$(wanted | awk '$2 == "tcp"')" ]; then
	if command -v iperf3 >/dev/null && command -v ping >/dev/null; then
		(tcp_group 4)
		mkdir -p "$tmp"
	else
		echo "bench: workers_tcp_* left out: no iperf3 or no ping"
	fi
fi
all_of order 0 .
all_of capacity 0 '_64_w'
all_of capacity 0 '_single_w'
if why=$( (need_bpf) ); then
	all_of kernel 0 _cpumap_
	all_of kernel 0 _queue_
	for n in ${WORKERS:-1 2 4 6}; do
		all_of kernel $((2 * n < cpus ? 2 * n : cpus)) "_rss_w$n "
	done
else
	echo "bench: workers_kernel_* left out: $why"
fi
exit 0
