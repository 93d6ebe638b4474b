#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 1800
#
# TCP through the tunnel by way of a relay, beside the direct way, in turn: the lab's worlds (tools/lab) side by side, alike
# but for the way, and for the relay's XDP mode. One figure a line; "ratio" is the median of the rounds' ratios to the
# direct way of the same round, above 1 where the relayed one is the better.
#
#   relayed_tcp_up_1 relayed_tcp_down_1     received, Gbit/s: iperf3, one stream; "box_s_per_gb": the machine's processor time
#
# Native XDP on a veth takes the segmentation offload off its other end, and needs a program and whole checksums there, which
# costs more: the direct path knows nothing of that. HANDICAP=1 has client and gateway of every world run their own programs
# natively as well, so that all of them receive single datagrams, as from a NIC without receive offload.
# The first argument is a name of these or a part of it. RELAY_XDP="native generic auto off" (auto is what an operator has),
# HANDICAP=0|1|both, REPS=5, SECONDS_PER_RUN=4, OMIT_SECONDS=1.
exec 3>&1 1>&2
. "$(dirname "$0")/../netns/lib.sh"
. "$root/tests/bench/tunnel_runs.sh"
filter=${1:-}
reps=${REPS:-5} secs=${SECONDS_PER_RUN:-4} omit=${OMIT_SECONDS:-1} no_sockperf=1
modes=${RELAY_XDP:-native generic auto off}
LAB=$root/tools/lab/lab
rc=0

wanted()
{
	local n

	for n in relayed_tcp_up_1 relayed_tcp_down_1; do
		case $n in *"$filter"*) echo $n ;; esac
	done
}

need()
{
	local t

	[ "$(id -u)" = 0 ] || skip "needs root (network namespaces)"
	for t in ip nft jq iperf3 ethtool nsenter openssl curl python3; do
		command -v $t >/dev/null || skip "'$t' is not installed"
	done
	ip netns add "rb$$-probe" 2>/dev/null || skip "network namespaces are not available here"
	ip netns del "rb$$-probe"
	need_bpf
}

# ---- worlds; N: index in `worlds` ----------------------------------------------------------------------
world() { echo "rb$$-$1"; }
tn_on()
{
	local n=$1 host=$2

	shift 2
	nsenter --net="/run/netns/$(world "$n")-$host" "$@"
}
tn_pid() { cut -d' ' -f1 "/run/penstock-lab/$(world "$1")/pids/$2" 2>/dev/null; }
world_ctl() { "$root/$PENSTOCK_BUILD/penstock" --instance "$(world "$1")-$2" "${@:3}"; }

is_ready()
{
	local h want="direct"

	[ "${worlds[$1]}" = direct ] || want=relayed
	for h in client gateway; do
		[ "$(world_ctl "$1" $h peers --json | jq -r '.peers[0] | "\(.path) \(.mtu.state)"')" = "$want complete" ] || return 1
	done
}

world_up()
{
	local n=$1 xdp=${worlds[$1]} direct=0 ends=auto

	[ "$2" = 0 ] || ends=native
	[ "$xdp" != direct ] || { xdp=off direct=1; }
	PENSTOCK_LAB=$(world "$n") MODE=auto XDP_MODE=$ends LAB_RELAYS=1 LAB_DIRECT=$direct LAB_RELAY_XDP=$xdp \
		"$LAB" up 3>&- && PENSTOCK_LAB=$(world "$n") "$LAB" wait 30 || return 1
	wait_for 30 is_ready "$n" || { echo "$xdp: not on its path, or not at full length"; return 1; }
	run_servers "$n" && run_content "$n"
}

worlds_down()
{
	local n

	for n in "${!worlds[@]}"; do
		PENSTOCK_LAB=$(world "$n") "$LAB" down
	done
}

offloads()
{
	ip netns exec "$(world "$1")-$2" ethtool -k "$3" | awk '
		/^tcp-segmentation-offload:/ { if ($2 == "off") s = s " tso" } /tx-udp-segmentation:/ { if ($2 == "off") s = s " uso" }
		/^tx-checksumming:/ { if ($2 == "off") s = s " tx-csum" } /^generic-receive-offload:/ { if ($2 == "off") s = s " gro" }
		END { print s == "" ? "all on" : "without" s }'
}

xdp_on() { ip -n "$(world "$1")-$2" -d -j link show dev eth0 | jq -r '.[0].xdp.mode // 0 | ["off", "native", "generic"][.]'; }

world_env()
{
	jq -nc --arg version "$("$root/$PENSTOCK_BUILD/penstock" --version | head -n 1)" --arg c "$(xdp_on "$1" client)" \
		--arg g "$(xdp_on "$1" gateway)" --arg r "$(xdp_on "$1" relay1)" --arg cl "$(offloads "$1" rc lan0)" \
		--arg gl "$(offloads "$1" rg lan0)" --arg rl "$(offloads "$1" core r1)" --arg ro "$(offloads "$1" relay1 eth0)" \
		--argjson status "$(world_ctl "$1" relay1 status --json)" --argjson mtu "$(world_ctl "$1" client peers --json | jq '.peers[0].mtu.size')" '
		{$version, mode: "auto", xdp: "client \($c), gateway \($g)", mtu_inside: $mtu, relay_xdp: $r,
		relay_note: ($status.kernel.attach_note // ""), offloads_to: {client: $cl, gateway: $gl, relay: $rl}, offloads_of_relay: $ro}'
}

# ---- runs ------------------------------------------------------------------------------------------------
# Datagrams the relay has carried: "kernel user"
carried() { world_ctl "$1" relay1 status --json | jq -r '.counters | "\(.kernel_rx_packets + .kernel_tx_packets) \(.user_rx_packets + .user_tx_packets)"'; }

rounds()
{
	local i k n a b

	: >"$tmp/runs"
	for ((i = 0; i < reps; i++)); do
		for k in "${!worlds[@]}"; do
			n=$(((k + i) % ${#worlds[@]}))
			a=$(carried $n)
			run_one $n "$1" >"$tmp/one" || { rc=1; continue; }
			b=$(carried $n)
			jq -c --arg who "${worlds[n]}" --argjson round $i --arg a "$a" --arg b "$b" '
				($a | split(" ") | map(tonumber)) as $a | ($b | split(" ") | map(tonumber)) as $b |
				{$who, $round, v: (. + {relay_kernel: ($b[0] - $a[0]), relay_user: ($b[1] - $a[1])})}' "$tmp/one" >>"$tmp/runs"
		done
	done
}

report()
{
	jq -nc --slurpfile runs "$tmp/runs" --slurpfile envs "$tmp/envs" --arg bench "$1" --argjson handicap "$2" --argjson machine "$3" '
		def median: sort | .[length / 2 | floor];
		def r: . * 1000 | round / 1000;
		def of($who): [$runs[] | select(.who == $who)];
		of("direct") as $d | [$runs[].who] | unique[] | select(. != "direct") as $who | of($who) as $o |
		[$o[] as $x | $d[] | select(.round == $x.round) | $x.v.gbps / .v.gbps] as $ratios | select($ratios | length > 0) |
		{$bench, metric: "goodput", unit: "Gbit/s", median: ($o | map(.v.gbps) | median | r), min: ($o | map(.v.gbps) | min | r),
		max: ($o | map(.v.gbps) | max | r), n: ($o | length), who: "relayed, relay XDP \($who)", peer: "direct",
		peer_median: ($d | map(.v.gbps) | median | r), ratio: ($ratios | median | r), ratios: ($ratios | map(r)), $handicap,
		box_s_per_gb: ($o | map(.v.box_s_per_gb) | median | r), peer_box_s_per_gb: ($d | map(.v.box_s_per_gb) | median | r),
		retransmits: ($o | map(.v.retransmits) | median), peer_retransmits: ($d | map(.v.retransmits) | median),
		by_relay_kernel: ($o | map(.v.relay_kernel) | add), by_relay_user: ($o | map(.v.relay_user) | add),
		env: ($machine + ($envs[] | select(.who == $who) | .env))}' >&3
}

machine()
{
	local a b

	a=$(run_stat) && sleep 1 && b=$(run_stat)
	jq -nc --arg kernel "$(uname -r)" --arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" \
		--argjson cpus "$(nproc)" --argjson a "$a" --argjson b "$b" --argjson s "$secs" '
		{$kernel, $cpu, $cpus, links: "veth, one host", seconds: $s, pinning: "none",
		busy_before_pct: (100 * ($b.busy - $a.busy) / ($b.all - $a.all) | round)}'
}

measure()
{
	local n name

	for n in "${!worlds[@]}"; do
		world_up "$n" "$1" || fatal "${worlds[n]} (handicap $1) does not work"
		world_env "$n" | jq -c --arg who "${worlds[n]}" '{$who, env: .}'
	done >"$tmp/envs.out"
	grep '^{' "$tmp/envs.out" >"$tmp/envs"
	for name in $(wanted); do
		rounds "${name#relayed_}"
		report "$name" "$1" "$(machine)"
	done
	worlds_down
}

ended()
{
	local rc=$?

	trap - EXIT
	trap '' INT TERM
	worlds_down
	rm -rf "$tmp"
	exit $rc
}

[ -n "$(wanted)" ] || { rm -rf "$tmp"; exit 0; }
worlds=()
trap ended EXIT
need
worlds=(direct $modes)
case ${HANDICAP:-both} in 0 | 1) handicaps=$HANDICAP ;; both) handicaps="0 1" ;; *) fatal "HANDICAP must be 0, 1 or both" ;; esac
for h in $handicaps; do
	measure "$h"
done
exit $rc
