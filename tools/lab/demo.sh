#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# `make demo`: the lab with our portal, gateway and client, real traffic through the tunnel, once with the kernel
# executor and once with the user-space one. Prints a report; the last line is one JSON object:
#
#   {"demo":"ok","path":"direct","tcp_up_gbps":…,"tcp_down_gbps":…,"udp_small_kpps":…,"ping_p50_us":…,
#    "kernel_rx_packets":…,"kernel_tx_packets":…,"user_rx_packets":…,"user_tx_packets":…}
#
# Figures and counters are the kernel mode's (user mode's where the kernel cannot run our programs; the report
# says so); counters are the gateway's over the small-packet run. Exit 0 only if everything worked, else the
# object is {"demo":"failed","why":…}. Nothing is left behind. Environment: DEMO_SECONDS=2 per run,
# DEMO_KPPS=30 offered in the small-packet runs, and what tools/lab/lab understands.
#
# DEMO_PATH=relayed: client and gateway cannot reach each other, two relays stand by. "path" is "relayed", and the object
# has the packets that the relays' kernel and user space carried meanwhile ("relay_xdp_packets","relay_user_packets").
# With the kernel executor at least 95 % of them are XDP's; in user mode the relays have no XDP either. At the end of each mode the direct path is opened and
# blocked again under a running TCP stream, which must not break; "to_direct_ms" and "to_relayed_ms" say how
# long each move took.
set -u
cd "$(dirname "$(readlink -f "$0")")/../.." || exit 2
export PENSTOCK_LAB=${PENSTOCK_LAB:-psdemo}
# as an operator has it: on a veth the programs run generic, which leaves it its offloads
export XDP_MODE=${XDP_MODE:-auto}
LAB=tools/lab/lab
SECS=${DEMO_SECONDS:-2}
KPPS=${DEMO_KPPS:-30}
V4=10.20.0.10 V6=fd00:20::10
SMALL=64 # bytes of UDP payload
state=/run/penstock-lab/$PENSTOCK_LAB
tmp=$(mktemp -d /tmp/penstock-demo.XXXXXX) || exit 2
declare -A R # results: R[mode.what]
why=

say() { echo "$*"; }
step() { printf '  %-52s' "$*"; }

give_up()
{
	[ -n "$why" ] || why="$*"
	echo
	echo "demo: $*" >&2
	for p in portal relay1 relay2 gateway client; do
		[ -s "$state/logs/$p.log" ] || continue
		echo "--- the end of $p's log" >&2
		tail -n 25 "$state/logs/$p.log" >&2
	done
	exit 1
}

# The teardown belongs to what has to work: leftovers are a failure.
on_exit()
{
	local rc=$? left

	trap - EXIT
	trap '' INT TERM
	$LAB down || rc=1
	rm -rf "$tmp"
	left=$(leftovers)
	if [ -n "$left" ]; then
		echo "demo: left behind: $left" >&2
		why=${why:-left behind: $left}
		rc=1
	fi
	if [ $rc = 0 ]; then
		final_json
	else
		jq -cn --arg why "${why:-interrupted}" '{demo: "failed", why: $why}' || echo '{"demo":"failed"}'
	fi
	exit $rc
}

leftovers()
{
	ip netns list | grep -oE "^$PENSTOCK_LAB-[a-z]+"
	ls -d "$state" "/sys/fs/bpf/penstock/$PENSTOCK_LAB-"* "/run/penstock/$PENSTOCK_LAB-"* 2>/dev/null
	pgrep -f -- "--instance $PENSTOCK_LAB-"
}

on() { $LAB exec "$@"; }

# status PROGRAM FILTER
status()
{
	$LAB ctl "$1" status --json | jq -r "$2"
}

counters()
{
	status "$1" '.counters | "\(.kernel_rx_packets) \(.kernel_tx_packets) \(.user_rx_packets) \(.user_tx_packets)"'
}

# "kernel user": what both relays have carried so far.
relay_counters()
{
	local n

	for n in $(seq "$LAB_RELAYS"); do
		status relay$n '.counters | "\(.kernel_rx_packets + .kernel_tx_packets) \(.user_rx_packets + .user_tx_packets)"'
	done | awk '{ k += $1; u += $2 } END { print k + 0, u + 0 }'
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }
path_of() { $LAB ctl "$1" peers --json | jq -r '[.peers[] | select(.state == "connected")][0].path // "none"'; }

# moved PATH SECONDS: until both ends say so; prints how long that took, in milliseconds.
moved()
{
	local t0 end

	t0=$(now_ms) end=$((SECONDS + $2))
	until [ "$(path_of client)" = "$1" ] && [ "$(path_of gateway)" = "$1" ]; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
	echo $(($(now_ms) - t0))
}

# What the kernel lacks for the fast path; empty when nothing.
kernel_lacks()
{
	[ -r /sys/kernel/btf/vmlinux ] || { echo "the kernel has no BTF"; return; }
	mountpoint -q /sys/fs/bpf || { echo "no bpffs on /sys/fs/bpf"; return; }
	bpftool prog show >/dev/null 2>&1 || echo "bpf(2) is refused"
}

run_ping()
{
	local mode=$1 fam=$2 addr=$3

	step "ping IPv$fam, 400 echoes"
	on client ping -n -i 0.004 -c 400 -W 2 "$addr" >"$tmp/ping" 2>&1
	sed -n 's/.*time=\([0-9.]*\) ms$/\1/p' "$tmp/ping" | sort -n >"$tmp/rtt"
	[ "$(wc -l <"$tmp/rtt")" -ge 396 ] || give_up "$mode: only $(wc -l <"$tmp/rtt") of 400 echoes to $addr came back"
	R[$mode.ping$fam]=$(awk '{ a[NR] = $1 } END { printf "%.0f", 1000 * a[int((NR + 1) / 2)] }' "$tmp/rtt")
	echo "p50 ${R[$mode.ping$fam]} µs"
}

iperf()
{
	local try rc

	# Two things are worth another try: a server still closing the previous run ("busy"), and iperf3's own
	# handshake of a UDP run, one datagram that it never repeats.
	for try in 1 2 3; do
		timeout $((SECS + 6)) $LAB exec client iperf3 --connect-timeout 5000 -J -t "$SECS" "$@" >"$tmp/iperf" 2>"$tmp/err"
		rc=$?
		[ $rc = 0 ] && return 0
		[ $rc = 124 ] || grep -q 'busy' "$tmp/iperf" || break
		printf '(try %d: %s) ' $try "$([ $rc = 124 ] && echo "no answer" || echo busy)"
		sleep 0.5
	done
	give_up "iperf3 $*: $(jq -r '.error // empty' "$tmp/iperf" 2>/dev/null) $(tail -n 1 "$tmp/err")"
}

run_tcp()
{
	local mode=$1 dir=$2 fam=$3 addr=$4

	step "TCP $dir, IPv$fam, ${SECS} s"
	iperf -c "$addr" $([ "$dir" = down ] && echo -R)
	R[$mode.tcp_$dir$fam]=$(jq -r '.end.sum_received.bits_per_second / 1e9 * 1000 | floor / 1000' "$tmp/iperf")
	echo "${R[$mode.tcp_$dir$fam]} Gbit/s"
	awk -v v="${R[$mode.tcp_$dir$fam]}" 'BEGIN { exit !(v > 0.001) }' || give_up "$mode: TCP $dir carried nothing"
}

run_udp()
{
	local mode=$1 dir=$2 fam=$3 addr=$4 loss

	step "UDP $dir, IPv$fam, $SMALL bytes, $KPPS k packets/s"
	iperf -c "$addr" -u -l $SMALL -b "$((KPPS * 1000 * SMALL * 8))" $([ "$dir" = down ] && echo -R)
	R[$mode.udp_$dir$fam]=$(jq -r '.end.sum | (.packets - .lost_packets) / .seconds / 1000 * 10 | floor / 10' "$tmp/iperf")
	loss=$(jq -r '.end.sum.lost_percent * 100 | floor / 100' "$tmp/iperf")
	echo "${R[$mode.udp_$dir$fam]} k delivered/s (loss $loss %)"
	awk -v v="${R[$mode.udp_$dir$fam]}" -v k="$KPPS" 'BEGIN { exit !(v > k / 10) }' ||
		give_up "$mode: UDP $dir delivered ${R[$mode.udp_$dir$fam]} of $KPPS k packets/s"
}

# share SIDE-BEFORE SIDE-AFTER: "kernel% krx ktx urx utx" of the difference.
share()
{
	awk -v b="$1" -v a="$2" 'BEGIN {
		split(b, x); split(a, y)
		for (i = 1; i <= 4; i++) d[i] = y[i] - x[i]
		n = d[1] + d[2] + d[3] + d[4]
		printf "%.2f %d %d %d %d", n ? 100 * (d[1] + d[2]) / n : -1, d[1], d[2], d[3], d[4]
	}'
}

# The small-packet run, counted on both sides: who carried the packets?
run_small()
{
	local mode=$1 cb gb rb pct krx ktx urx utx side

	cb=$(counters client) && gb=$(counters gateway) || give_up "no counters from penstock status"
	[ "$path" = direct ] || rb=$(relay_counters)
	run_udp "$mode" up 4 $V4
	run_udp "$mode" down 4 $V4
	run_udp "$mode" up 6 $V6
	run_udp "$mode" down 6 $V6
	# Kernel counters are per CPU and exact; the daemon adds up the others at least once a second.
	sleep 1.2
	R[$mode.client]=$(share "$cb" "$(counters client)")
	R[$mode.gateway]=$(share "$gb" "$(counters gateway)")
	for side in client gateway; do
		read -r pct krx ktx urx utx <<<"${R[$mode.$side]}"
		step "small packets on the $side"
		echo "kernel $krx in, $ktx out; user space $urx in, $utx out; kernel share $pct %"
		case $mode in
		kernel) awk -v p="$pct" 'BEGIN { exit !(p >= 95) }' ||
			give_up "kernel mode: $pct % of the $side's small packets went through the kernel, wanted >= 95 %" ;;
		user) [ $((krx + ktx)) = 0 ] && [ $((urx + utx)) -gt 0 ] ||
			give_up "user mode: the $side counted $((krx + ktx)) packets in the kernel, wanted 0" ;;
		esac
	done
	[ "$path" = direct ] || relay_share "$mode" "$rb" "$(relay_counters)"
}

# relay_share MODE BEFORE AFTER
relay_share()
{
	local mode=$1 k u

	read -r k u < <(awk -v b="$2" -v a="$3" 'BEGIN { split(b, x, " "); split(a, y, " "); print y[1] - x[1], y[2] - x[2] }')
	R[$mode.relay]="$k $u"
	step "small packets on the relays"
	echo "XDP $k, user space $u"
	[ $((k + u)) -gt 1000 ] || give_up "$mode: the relays carried only $((k + u)) packets"
	[ "$(status relay1 .kernel.active)" != true ] || [ $((100 * k)) -ge $((95 * (k + u))) ] ||
		give_up "$mode: XDP carried $k of the relays' $((k + u)) packets, wanted >= 95 %"
}

# The direct path opens and closes under one TCP stream.
run_move()
{
	local mode=$1 stream before

	step "relayed to direct, a TCP stream running"
	# not through on(): the process to end is iperf3, not a shell around it
	$LAB exec client iperf3 -c $V4 -p 5202 -t 300 -b 5M --connect-timeout 5000 >"$tmp/stream" 2>&1 &
	stream=$!
	sleep 1
	$LAB unblock direct
	R[$mode.to_direct]=$(moved direct 30) || give_up "$mode: no move to the direct path within 30 s"
	echo "after ${R[$mode.to_direct]} ms"
	sleep 1
	step "direct to relayed"
	$LAB block direct
	R[$mode.to_relayed]=$(moved relayed 45) || give_up "$mode: no move to a relay within 45 s"
	echo "after ${R[$mode.to_relayed]} ms"
	step "the stream goes on"
	before=$(stream_bytes)
	for _ in $(seq 300); do
		[ "$(stream_bytes)" -gt $((before + 200000)) ] && break
		sleep 0.2
	done
	[ "$(stream_bytes)" -gt $((before + 200000)) ] && kill -0 $stream 2>/dev/null || give_up "$mode: the TCP stream broke: $(tail -n 2 "$tmp/stream")"
	echo "yes"
	kill $stream 2>/dev/null
	wait $stream 2>/dev/null
}

# Received by the server in the stream under way.
stream_bytes()
{
	nsenter --net="/run/netns/$PENSTOCK_LAB-server" ss -Htin 'sport = :5202' |
		grep -o 'bytes_received:[0-9]*' | cut -d: -f2 | awk '{ n += $1 } END { print n + 0 }'
}

run_mode()
{
	local mode=$1 active

	say
	say "--mode=$mode"
	step "tunnel"
	$LAB wait 30 2>"$tmp/err" || give_up "no tunnel in $mode mode: $(cat "$tmp/err")"
	R[path]=$($LAB ctl gateway peers --json | jq -r '[.peers[] | select(.state == "connected")][0].path // "none"')
	echo "up, path ${R[path]}"
	[ "${R[path]}" = "$path" ] || give_up "the path is ${R[path]}, wanted $path"
	for side in gateway client; do
		active=$(status "$side" .kernel.active)
		if [ "$mode" = kernel ] && [ "$active" != true ]; then
			give_up "the $side's kernel executor is off: $(status "$side" .kernel.why)"
		fi
	done
	[ "$mode" = user ] || R[xdp]=$(status gateway '.kernel | "XDP \(.xdp_mode), \(if .dispatcher then "dispatcher" else "single program" end)"')
	# The first packets of every flow are user space's to judge; they are not part of the latency.
	on client ping -q -n -c 3 -i 0.1 $V4 >/dev/null
	on client ping -q -n -c 3 -i 0.1 $V6 >/dev/null || give_up "$mode: no IPv6 through the tunnel"
	run_ping "$mode" 4 $V4
	run_ping "$mode" 6 $V6
	run_tcp "$mode" up 4 $V4
	run_tcp "$mode" down 4 $V4
	run_tcp "$mode" up 6 $V6
	run_tcp "$mode" down 6 $V6
	run_small "$mode"
	[ "$path" = direct ] || run_move "$mode"
}

row()
{
	local what=$1 key=$2 unit=$3 m

	printf '  %-28s' "$what"
	for m in $modes; do printf '%12s' "${R[$m.$key]}"; done
	printf '  %s\n' "$unit"
}

report()
{
	local m

	say
	say "Result: path ${R[path]}; ${R[xdp]:-no XDP}; veth links with GRO on, other offloads as they come; $(nproc) CPUs, kernel $(uname -r)"
	printf '  %-28s' "--mode="
	for m in $modes; do printf '%12s' "$m"; done
	echo
	row "ping p50 IPv4" ping4 "µs"
	row "ping p50 IPv6" ping6 "µs"
	row "TCP up IPv4" tcp_up4 "Gbit/s"
	row "TCP down IPv4" tcp_down4 "Gbit/s"
	row "TCP up IPv6" tcp_up6 "Gbit/s"
	row "TCP down IPv6" tcp_down6 "Gbit/s"
	row "UDP $SMALL B up IPv4" udp_up4 "k packets/s of $KPPS offered"
	row "UDP $SMALL B down IPv4" udp_down4 "k packets/s"
	row "UDP $SMALL B up IPv6" udp_up6 "k packets/s"
	row "UDP $SMALL B down IPv6" udp_down6 "k packets/s"
	if [ "$path" = relayed ]; then
		row "relayed to direct" to_direct "ms"
		row "direct to relayed" to_relayed "ms"
	fi
	if [ "$modes" = "kernel user" ]; then
		if [ "${R[kernel.ping4]}" -lt "${R[user.ping4]}" ]; then
			say "  Round trip: the kernel executor beats user space, ${R[kernel.ping4]} against ${R[user.ping4]} µs."
		else
			say "  Round trip: the kernel executor did NOT beat user space here, ${R[kernel.ping4]} against ${R[user.ping4]} µs."
		fi
	else
		say "  This kernel cannot run our programs ($lacks): user-space figures only."
	fi
}

final_json()
{
	local m=${modes%% *} pct krx ktx urx utx rk=null ru=null

	read -r rk ru <<<"${R[$m.relay]:-null null}"
	read -r pct krx ktx urx utx <<<"${R[$m.gateway]}"
	jq -cn --arg path "${R[path]}" --argjson up "${R[$m.tcp_up4]}" --argjson down "${R[$m.tcp_down4]}" \
		--argjson kpps "${R[$m.udp_up4]}" --argjson p50 "${R[$m.ping4]}" --argjson krx "$krx" --argjson ktx "$ktx" \
		--argjson urx "$urx" --argjson utx "$utx" \
		--argjson rk "$rk" --argjson ru "$ru" --argjson td "${R[$m.to_direct]:-null}" --argjson tr "${R[$m.to_relayed]:-null}" '
		{demo: "ok", path: $path, tcp_up_gbps: $up, tcp_down_gbps: $down, udp_small_kpps: $kpps, ping_p50_us: $p50,
		 kernel_rx_packets: $krx, kernel_tx_packets: $ktx, user_rx_packets: $urx, user_tx_packets: $utx}
		+ (if $rk == null then {} else {relay_xdp_packets: $rk, relay_user_packets: $ru, to_direct_ms: $td, to_relayed_ms: $tr} end)'
}

path=${DEMO_PATH:-direct}
case $path in
direct) relays= ;;
relayed) export LAB_DIRECT=0 LAB_RELAYS=2 && relays="relay1 relay2" ;;
*) echo "demo: DEMO_PATH='$path' must be direct or relayed" >&2; rm -rf "$tmp"; exit 2 ;;
esac
[ "$(id -u)" = 0 ] || { echo "demo: needs root (network namespaces): sudo make demo" >&2; rm -rf "$tmp"; exit 2; }

trap on_exit EXIT
trap 'why=interrupted; exit 130' INT TERM
mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf 2>/dev/null
lacks=$(kernel_lacks)
modes="kernel user"
[ -z "$lacks" ] || modes=user

say "Penstock demo: client --(NAT)-- internet -- gateway -- server, in network namespaces; $path"
$LAB down
MODE=${modes%% *} $LAB up || give_up "the lab does not come up"
on server iperf3 -s >"$tmp/iperf-server.log" 2>&1 &
disown
on server iperf3 -s -p 5202 >"$tmp/stream-server.log" 2>&1 &
disown
for m in $modes; do
	[ "$m" = "${modes%% *}" ] || MODE=$m LAB_RELAY_XDP=off $LAB restart $relays gateway client || give_up "restart in $m mode failed"
	run_mode "$m"
done
report
