# SPDX-License-Identifier: Apache-2.0
#
# The runs of b_tunnel.sh: what is done in one world, and what is read beside it. Sourced after tunnel_lib.sh.
#
#   run_servers N           iperf3, sockperf, connections, echo and a file, on the server of world N
#   run_content N           what passes is what was sent
#   run_one N RUN           one run; its figures as one JSON object
#   run_stat                the machine's processor time so far, in clock ticks
run_hz=$(getconf CLK_TCK)
STEAL_MAX=5 # percent
IPERF_PORT=5201 LOAD_PORT=5202 SOCKPERF_PORT=11111 CONN_PORT=7001 ECHO_PORT=7000 FILE_PORT=8000 PPS_PORT=9000

run_server()
{
	local n=$1 port=$2 flag=$3

	shift 3
	tn_on "$n" server setsid "$@" >"$tmp/server-$n-$port.log" 2>&1 </dev/null 3>&- &
	disown
	wait_for 10 run_listening "$n" "$port" "$flag" || { echo "no server on port $port: $(cat "$tmp/server-$n-$port.log")"; return 1; }
}

run_listening() { [ -n "$(tn_on "$1" server ss -Hln"$3" "sport = :$2")" ]; }

run_servers()
{
	[ -e "$tmp/www/file" ] || { mkdir -p "$tmp/www" && head -c 16000000 /dev/urandom >"$tmp/www/file"; }
	run_server "$1" $IPERF_PORT t iperf3 -s -p $IPERF_PORT &&
		run_server "$1" $LOAD_PORT t iperf3 -s -p $LOAD_PORT &&
		run_server "$1" $CONN_PORT t "$root/$PENSTOCK_BUILD/tests/netns/h_connload" serve $CONN_PORT &&
		run_server "$1" $ECHO_PORT t python3 -B "$root/tests/netns/echo.py" serve $ECHO_PORT &&
		run_server "$1" $FILE_PORT t python3 -m http.server -d "$tmp/www" $FILE_PORT || return 1
	[ -n "$no_sockperf" ] || run_server "$1" $SOCKPERF_PORT u sockperf sr -i $SERVER_V4 -p $SOCKPERF_PORT
}

run_content()
{
	[ "$(tn_on "$1" client curl -fsS -m 60 http://$SERVER_V4:$FILE_PORT/file | sha256sum)" = "$(sha256sum <"$tmp/www/file")" ] ||
		{ echo "world $1: the file that arrives is another one"; return 1; }
	tn_on "$1" client timeout 60 python3 -B "$root/tests/netns/echo.py" check $SERVER_V4 $ECHO_PORT
}

# ---- what is read beside a run -----------------------------------------------------------------------
run_stat()
{
	awk '/^cpu / { printf "{\"busy\":%d,\"softirq\":%d,\"steal\":%d,\"all\":%d}\n", $2 + $3 + $4 + $7 + $8, $8, $9,
		$2 + $3 + $4 + $5 + $6 + $7 + $8 + $9 }' /proc/stat
}

# Clock ticks of a process and all its threads; 0 where there is none.
run_ticks()
{
	[ -z "$1" ] && echo 0 || sed 's/^.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}

run_marks()
{
	echo "{\"client\":$(run_ticks "$(tn_pid "$1" client)"),\"gateway\":$(run_ticks "$(tn_pid "$1" gateway)"),\"stat\":$(run_stat)}"
}

# ---- one run each: figures on stdout, as JSON ------------------------------------------------------------
run_iperf()
{
	local n=$1 t=$2

	shift 2
	tn_on "$n" client timeout -k 5 $((t + omit + 20)) iperf3 --connect-timeout 5000 -J -c $SERVER_V4 -t "$t" "$@"
}

# A server that is closing the last run is busy for a moment.
run_tcp()
{
	local n=$1 try

	shift
	for try in 1 2 3; do
		run_iperf "$n" "$secs" -p $IPERF_PORT $([ "$omit" = 0 ] || echo "-O $omit") "$@" >"$tmp/iperf" && break
		jq -r '.error // empty' "$tmp/iperf"
		[ $try != 3 ] || return 1
		sleep 1
	done >&2
	jq -c '{gbps: ((.end.sum_received.bits_per_second + (.end.sum_received_bidir_reverse.bits_per_second // 0)) / 1e9),
		retransmits: ((.end.sum_sent.retransmits // 0) + (.end.sum_sent_bidir_reverse.retransmits // 0)),
		bytes: ([.intervals[] | .sum.bytes + (.sum_bidir_reverse.bytes // 0)] | add)}' "$tmp/iperf"
}

run_rtt()
{
	tn_on "$1" client timeout -k 5 $((secs + 20)) sockperf pp -i $SERVER_V4 -p $SOCKPERF_PORT -t "$secs" -m 64 --full-rtt \
		>"$tmp/sockperf" 2>&1 || { tail -n 5 "$tmp/sockperf" >&2; return 1; }
	awk '/percentile 50\.000/ { a = $NF } /percentile 99\.000/ { b = $NF } /percentile 99\.900/ { c = $NF }
		/observations/ { n = $(NF - 1) }
		END { if (a == "" || c == "") exit 1; printf "{\"p50\":%s,\"p99\":%s,\"p999\":%s}\n", a, b, c }' "$tmp/sockperf"
}

# The load begins a second before and ends a second after.
run_rtt_500m()
{
	local pid

	run_iperf "$1" $((secs + 2)) -p $LOAD_PORT -b 500M >"$tmp/load" &
	pid=$!
	sleep 1
	run_rtt "$1" >"$tmp/rtt" || { wait $pid; return 1; }
	wait $pid || { jq -r '.error // empty' "$tmp/load" >&2; return 1; }
	jq -c --slurpfile load "$tmp/load" '. + {load_mbps: ($load[0].end.sum_received.bits_per_second / 1e6)}' "$tmp/rtt"
}

run_setups()
{
	tn_on "$1" client "$root/$PENSTOCK_BUILD/tests/netns/h_connload" run $SERVER_V4 $CONN_PORT "$secs" 16
}

# WORLD SIZE: the search begins where the last one in that world ended.
run_pps()
{
	local at=$tmp/pps-$1-$2.at

	tn_on "$1" client timeout -k 5 $((${pps_search%.*} + 60)) "$root/$PENSTOCK_BUILD/tests/bench/h_wgload" search --plain \
		--sink $SERVER_V4:$PPS_PORT --sink-ns "tb$$-$1-server" --sink-dev eth0 --size "$2" --seconds "$pps_secs" --warm 0.1 \
		--max-seconds "$pps_search" --pool-mb 512 --rate "$(cat "$at" 2>/dev/null || echo 0)" >"$tmp/search" || return 1
	jq .pps "$tmp/search" >"$at"
	jq -c '{pps, offered_pps, loss, late, peak_pps, probes, softirq_share, limit}' "$tmp/search"
}

run_rss_mb()
{
	[ -z "$1" ] && echo null || awk '/^VmRSS/ { printf "%.1f\n", $2 / 1024 }' "/proc/$1/status"
}

# Maps and programs, beside the process.
run_maps_mb()
{
	[ -z "$1" ] && echo null || find "/proc/$1/fdinfo" -type f -exec cat {} + 2>/dev/null |
		awk '/^memlock:/ { s += $2 } END { printf "%.1f\n", s / 1048576 }'
}

run_memory()
{
	local c g

	c=$(tn_pid "$1" client) g=$(tn_pid "$1" gateway)
	echo "{\"client_mb\":$(run_rss_mb "$c"),\"gateway_mb\":$(run_rss_mb "$g"),\"client_maps_mb\":$(run_maps_mb "$c"),\"gateway_maps_mb\":$(run_maps_mb "$g")}"
}

run_kind()
{
	case $2 in
	memory) run_memory "$1" ;;
	rtt_idle) run_rtt "$1" ;;
	rtt_500m) run_rtt_500m "$1" ;;
	setups) run_setups "$1" ;;
	pps_*) run_pps "$1" "${2#pps_}" ;;
	tcp_up_*) run_tcp "$1" -P "${2##*_}" ;;
	tcp_down_*) run_tcp "$1" -P "${2##*_}" -R ;;
	tcp_bidir_*) run_tcp "$1" -P "${2##*_}" --bidir ;;
	esac
}

# Clock ticks and bytes become seconds and seconds per GB. A world without a program has no figure for it.
run_one()
{
	local try a b

	for try in 1 2 3; do
		a=$(run_marks "$1")
		run_kind "$1" "$2" >"$tmp/figures" || return 1
		b=$(run_marks "$1")
		jq -c --argjson a "$a" --argjson b "$b" --argjson hz "$run_hz" --arg pid "$(tn_pid "$1" gateway)" '
			def s(f): (($b | f) - ($a | f)) / $hz;
			{client: s(.client), gateway: s(.gateway), box: s(.stat.busy), softirq: s(.stat.softirq)} as $s |
			. + (if .bytes == null then {} else $s | with_entries(.key += "_s_per_gb") |
				if $pid == "" then del(.client_s_per_gb, .gateway_s_per_gb) else . end end |
				map_values(. / ($bytes / 1e9))) + ($s | {box_s: .box, softirq_s: .softirq}) +
			{steal_pct: (100 * s(.stat.steal) / ([s(.stat.all), 0.01] | max))} | del(.bytes)' \
			--argjson bytes "$(jq '.bytes // 1' "$tmp/figures")" "$tmp/figures" >"$tmp/out" || return 1
		jq -e ".steal_pct <= $STEAL_MAX" "$tmp/out" >/dev/null && break
		[ $try = 3 ] || echo "bench: $2 again: $(jq '.steal_pct | floor' "$tmp/out") % of the time was stolen" >&2
	done
	cat "$tmp/out"
}
