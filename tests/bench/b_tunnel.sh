#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 10800
#
# The tunnel against others, in turn, in equal worlds (tunnel_lib.sh): plain forwarding, the distribution's
# wireguard-go, called wireguard-go-YEAR, and any other by WIREGUARD_GO=PATH, called wireguard-go. A gateway alone is
# measured by b_capacity.
#
#   tcp_up_1 tcp_down_1 tcp_up_8 tcp_down_8 tcp_bidir_1    received, Gbit/s: iperf3, streams, both directions at once
#   cpu_s_per_gb_{client,gateway,box,softirq}_{up,down}    processor seconds per 10^9 bytes of tcp_up_1 and tcp_down_1:
#                                          a process with its threads, the whole machine, of that in softirq
#   rtt_{p50,p99,p999}_idle                sockperf ping-pong, 64 bytes of UDP, µs
#   rtt_{p50,p99,p999}_500m                likewise beside 500 Mbit/s of TCP, as far as they are reached
#   pps_64 pps_1280                        packets a second with no more than 0.1 % lost, client to server, through both ends: a
#                                          UDP socket on the client, sendmmsg without GSO, paced, one flow (wgload_plain.c); a packet
#                                          has so many bytes inside with IPv4 and UDP headers (36 and 1252 of payload). The server
#                                          counts them at its interface. "limits", "their_limits": what ended the searches, loss or
#                                          the sender, which sent no faster: what carries it may do so in the sender's system calls.
#   setups_per_s                           TCP connections until the first byte, 16 at a time
#   rss_client rss_gateway                 resident memory before any load, MB
#
# The first argument is one of these names, or a part of it. A line is one figure of ours beside one peer's: "who"
# and "peer", each with median, min and max; "ratio" is the median of the rounds' ratios, above 1 where ours is the better.
# "ours" and "theirs" hold the medians of everything else that was seen in these runs (retransmits, steal, softirq …).
#
#   MODES="auto"          ours, --mode: of auto user kernel        XDP_MODE=auto
#   PEERS="plain wireguard-go-distro wireguard-go"    the last if WIREGUARD_GO names one
#   HANDICAP=both         1: every WAN link's end has a native XDP program, as ours in kernel mode has; 0: none for the peers
#   REPS=5 SECONDS_PER_RUN=5 OMIT_SECONDS=1 BENCH_MTU=1420 (inside)
#   PPS_SECONDS=0.5 PPS_SEARCH=8   a run of the search for pps_*, and the most the search takes
#   PIN=1                 the gateway's program and what is received for it on CPU 1, all else on CPU 0
#
# In each world a file's checksum and a byte-exact echo pass before anything is measured. A run that had more than 5 %
# stolen from it is repeated twice at most; what stays is told by "steal_pct".
exec 3>&1 1>&2
. "$(dirname "$0")/../netns/lib.sh"
filter=${1:-}
tn_pin=${PIN:-}
[ "$tn_pin" != 0 ] || tn_pin=
. "$root/tests/bench/tunnel_lib.sh"
. "$root/tests/bench/tunnel_runs.sh"
reps=${REPS:-5} secs=${SECONDS_PER_RUN:-5} omit=${OMIT_SECONDS:-1} pps_secs=${PPS_SECONDS:-0.5} pps_search=${PPS_SEARCH:-8}
rc=0

# name, run, metric, unit, better, where in a run's figures
figures()
{
	local dir p load

	echo "rss_client memory resident_memory MB less client_mb"
	echo "rss_gateway memory resident_memory MB less gateway_mb"
	for load in idle 500m; do
		for p in p50 p99 p999; do
			echo "rtt_${p}_$load rtt_$load round_trip us less $p"
		done
	done
	for p in 64 1280; do
		echo "pps_$p pps_$p packets_per_second_at_0.1_percent_loss pps more pps"
	done
	echo "setups_per_s setups connection_setups 1/s more per_s"
	for dir in up down; do
		echo "tcp_${dir}_1 tcp_${dir}_1 goodput Gbit/s more gbps"
		echo "tcp_${dir}_8 tcp_${dir}_8 goodput Gbit/s more gbps"
		for p in client gateway box softirq; do
			echo "cpu_s_per_gb_${p}_$dir tcp_${dir}_1 cpu_time s/GB less ${p}_s_per_gb"
		done
	done
	echo "tcp_bidir_1 tcp_bidir_1 goodput Gbit/s more gbps"
}

wanted() { figures | if figures | grep -q "^$filter "; then grep "^$filter "; else grep -e "^[^ ]*$filter[^ ]* "; fi; }

# In the order in which they are made: what leaves a peer busy for a while comes last.
runs()
{
	local r

	for r in memory rtt_idle setups tcp_up_1 tcp_down_1 tcp_up_8 tcp_down_8 tcp_bidir_1 pps_64 pps_1280 rtt_500m; do
		wanted | awk -v r=$r '$2 == r { f = 1 } END { exit !f }' || continue
		case $r in rtt_*) [ -z "$no_sockperf" ] || continue ;; esac
		echo $r
	done
}

need()
{
	local t

	[ "$(id -u)" = 0 ] || skip "needs root (network namespaces)"
	for t in ip nft jq iperf3 ethtool nsenter openssl curl python3 wg; do
		command -v $t >/dev/null || skip "'$t' is not installed"
	done
	ip netns add "tb$$-probe" 2>/dev/null || skip "network namespaces are not available here"
	ip netns del "tb$$-probe"
	for t in "$PENSTOCK_BUILD"/{penstock-portal,penstock-gateway,penstock-client,penstock,tests/netns/h_connload,tests/bench/h_wgload}; do
		[ -x "$t" ] || fatal "$t is not built"
	done
	[ -z "$tn_pin" ] || [ "$(nproc)" -ge 2 ] || fatal "PIN=1 needs two processors"
	mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf 2>/dev/null
	no_sockperf=
	command -v sockperf >/dev/null || no_sockperf=1
	[ -z "$no_sockperf" ] || ! wanted | grep -q '^rtt_' ||
		echo "bench: rtt_* skipped: 'sockperf' is not installed (tools/install-deps.sh --bench)"
	[ -n "$(runs)" ] || skip "'sockperf' is not installed (tools/install-deps.sh --bench)"
}

# The worlds' labels; says what is left out.
contenders()
{
	local p m year why

	for p in ${PEERS-plain wireguard-go-distro wireguard-go}; do
		case $p in
		plain) echo plain ;;
		wireguard-go-distro)
			year=$(wireguard-go --version 2>/dev/null | sed -n '1s/.*v0\.0\.\(20[0-9][0-9]\).*/\1/p')
			[ -n "$year" ] && echo "wireguard-go-$year" || echo "bench: no wireguard-go of the distribution here" >&2
			;;
		wireguard-go)
			if [ -z "${WIREGUARD_GO:-}" ]; then
				echo "bench: WIREGUARD_GO names no other wireguard-go" >&2
			else
				[ -x "$WIREGUARD_GO" ] && echo wireguard-go || fatal "WIREGUARD_GO=$WIREGUARD_GO is no program" >&2
			fi
			;;
		*) fatal "PEERS: no '$p'" >&2 ;;
		esac
	done
	for m in ${MODES:-auto}; do
		case $m in
		auto | user) echo "penstock-$m" ;;
		kernel) why=$( (need_bpf) ) && echo penstock-kernel || echo "bench: no kernel mode: $why" >&2 ;;
		*) fatal "MODES: no '$m'" >&2 ;;
		esac
	done
}

# HANDICAP: worlds up, content checked; those that fail are left out, which is a failure.
worlds_up()
{
	local n

	alive=()
	tn_worlds "${labels[@]}"
	for n in "${!labels[@]}"; do
		if ! tn_up "$n" "$1" 3>&- || ! run_servers "$n" || ! run_content "$n"; then
			echo "bench: ${labels[n]} (handicap $1) does not work and is left out"
			tn_logs "$n"
			rc=1
			continue
		fi
		alive+=("$n")
	done
}

# RUN: all worlds in turn, every round begins with another.
rounds()
{
	local run=$1 n i k reps=$reps

	[ "$run" != memory ] || reps=1
	: >"$tmp/runs"
	for ((i = 0; i < reps; i++)); do
		for k in "${!alive[@]}"; do
			n=${alive[(k + i) % ${#alive[@]}]}
			if run_one "$n" "$run" >"$tmp/one" && jq -e . <"$tmp/one" >/dev/null; then
				jq -c --arg who "${labels[n]}" --argjson round "$i" '{$who, $round, v: .}' "$tmp/one" >>"$tmp/runs"
			else
				echo "bench: $run with ${labels[n]} failed in round $i"
				rc=1
			fi
		done
	done
}

# What a line tells of the machine: how busy it was before the run, with all worlds idle, as well.
machine()
{
	local a b

	a=$(run_stat) && sleep 1 && b=$(run_stat)
	jq -nc --arg kernel "$(uname -r)" --arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" \
		--argjson cpus "$(nproc)" --argjson a "$a" --argjson b "$b" --argjson s "$secs" --argjson omit "$omit" \
		--argjson mtu "$tn_mtu" --arg pin "${tn_pin:+gateway and its receiving on CPU 1, all else on CPU 0}" '
		{$kernel, $cpu, $cpus, links: "veth, one host", mtu_inside: $mtu, seconds: $s, omitted_s: $omit,
		pinning: (if $pin == "" then "none" else $pin end),
		busy_before_pct: (100 * ($b.busy - $a.busy) / ($b.all - $a.all) | round)}'
}

# RUN HANDICAP MACHINE
report()
{
	local name metric unit better field

	while read -r name _ metric unit better field; do
		jq -c --slurpfile runs "$tmp/runs" --slurpfile envs "$tmp/envs" --argjson machine "$3" --arg bench "$name" \
			--arg metric "$metric" --arg unit "$unit" --arg better "$better" --arg f "$field" \
			--argjson handicap "$2" -n -f "$root/tests/bench/tunnel_report.jq" >&3
	done < <(wanted | awk -v r="$1" '$2 == r')
}

# HANDICAP
measure()
{
	local run machine n

	worlds_up "$1"
	for n in "${alive[@]}"; do
		tn_env "$n" | jq -c --arg who "${labels[n]}" '{$who, env: .}'
	done >"$tmp/envs"
	for run in $(runs); do
		machine=$(machine)
		rounds "$run"
		report "$run" "$1" "$machine"
	done
	tn_down
}

ended()
{
	local rc=$?

	trap - EXIT
	trap '' INT TERM
	tn_down
	rm -rf "$tmp"
	exit $rc
}

[ -n "$(wanted)" ] || { rm -rf "$tmp"; exit 0; }
trap ended EXIT
need
tn_down
contenders >"$tmp/labels"
mapfile -t labels <"$tmp/labels"
case ${HANDICAP:-both} in 0 | 1) handicaps=$HANDICAP ;; both) handicaps="0 1" ;; *) fatal "HANDICAP must be 0, 1 or both" ;; esac
[[ " ${labels[*]} " == *" penstock-"* ]] || fatal "nothing of ours to measure"
for h in $handicaps; do
	if [ "$h" = 1 ] && ! why=$( (need_bpf) ); then
		echo "bench: no runs with the handicap: $why"
		continue
	fi
	measure "$h"
done
exit $rc
