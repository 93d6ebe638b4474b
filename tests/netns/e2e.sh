#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The end-to-end checks that hold in every mode, and the counting of who carried the packets. Sourced by t_e2e-*.sh.

# What iperf3 may miss of big and of small datagrams. Its own socket is small and its process may have to wait for a busy
# machine; what the tunnel lost is told by the counters of its two ends.
LOSS_BIG=5 LOSS_SMALL=15

# counters PROGRAM: "kernel user", packets of both directions so far.
counters()
{
	status "$1" '.counters | "\(.kernel_rx_packets + .kernel_tx_packets) \(.user_rx_packets + .user_tx_packets)"'
}

check_ping()
{
	check "ping $1" ping_ok "$1" 5
}

# check_tcp NAME ADDR [IPERF-ARG…]: at least 5 Mbit/s arrive; that is no benchmark, only "it carries".
check_tcp()
{
	local name=$1 addr=$2
	shift 2
	check "TCP $name runs" iperf "$name" -c "$addr" -t 2 "$@" && check "TCP $name carries" at_least "$(iperf_bps "$name")" 5000000
}

# check_udp NAME ADDR PACKETS/S BYTES LOSS% [IPERF-ARG…]
check_udp()
{
	local name=$1 addr=$2 pps=$3 len=$4 max_loss=$5 lost
	shift 5
	check "UDP $name runs" iperf "$name" -c "$addr" -u -l "$len" -b $((pps * len * 8)) -t 2 "$@" || return
	lost=$(jq -r '.end.sum.lost_percent' "$tmp/$name.json")
	check "UDP $name: loss $lost % <= $max_loss %" at_most "$lost" "$max_loss"
	check "UDP $name: packets were sent" at_least "$(jq -r '.end.sum.packets' "$tmp/$name.json")" $((pps))
}

echo_server()
{
	bg server python3 -B "$tests_dir/echo.py" serve 7000 >"$tmp/echo.log" 2>&1
	disown
	wait_for 5 listening server 7000 || fatal "no echo server: $(cat "$tmp/echo.log")"
}

# Every byte that TCP carries there and back is the one that was sent.
check_echo()
{
	check "TCP echo with $1 is byte-exact" on client timeout 60 python3 -B "$tests_dir/echo.py" check "$1" 7000
}

# Percent by which the packets that both ends count may differ: what is lost on the way.
ends_differ=1

# small_packets MODE ADDR: 64-byte UDP both ways, and the executor that carried it on both sides.
small_packets()
{
	local mode=$1 addr=$2 side before after k u tag total=

	tag=$(tr -c 'a-z0-9\n' _ <<<"$addr")
	ping_ok "$addr" 3
	before=$(counters client)/$(counters gateway)
	check_udp "small_up_$tag" "$addr" 3000 64 $LOSS_SMALL
	check_udp "small_down_$tag" "$addr" 3000 64 $LOSS_SMALL -R
	sleep 1.2
	after=$(counters client)/$(counters gateway)
	for side in client gateway; do
		read -r k u < <(awk -v b="${before%/*}" -v a="${after%/*}" 'BEGIN { split(b, x, " "); split(a, y, " "); print y[1] - x[1], y[2] - x[2] }')
		[ $side = client ] && { before=${before#*/}/ after=${after#*/}/; }
		echo "# $addr $side: kernel $k, user space $u"
		check "$side carried the run" at_least $((k + u)) 10800
		[ -z "$total" ] || check "both ends counted the same, give or take $ends_differ %" \
			at_most $((100 * (total > k + u ? total - k - u : k + u - total))) $((ends_differ * total))
		total=$((k + u))
		case $mode in
		kernel) check "$side: >= 95 % by the kernel" at_least $((100 * k)) $((95 * (k + u))) ;;
		user) check "$side: none by the kernel" [ "$k" = 0 ] ;;
		esac
	done
}

# everything MODE [PATH]
everything()
{
	local mode=$1 path=${2:-direct}

	check "path is $path" [ "$(lab ctl gateway peers --json | jq -r '.peers[0].path')" = "$path" ]
	iperf_server 5201
	echo_server
	check_echo $SERVER_V4
	check_echo $SERVER_V6
	check_ping $SERVER_V4
	check_ping $SERVER_V6
	check_tcp up4 $SERVER_V4
	check_tcp down4 $SERVER_V4 -R
	check_tcp up6 $SERVER_V6
	check_tcp down6 $SERVER_V6 -R
	check_udp big_up4 $SERVER_V4 1000 1150 $LOSS_BIG
	check_udp big_down6 $SERVER_V6 1000 1150 $LOSS_BIG -R
	small_packets "$mode" $SERVER_V4
	small_packets "$mode" $SERVER_V6
}
