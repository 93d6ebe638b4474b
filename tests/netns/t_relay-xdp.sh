#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# alone
# timeout: 180
#
# The relay with its XDP switch: bound channels go through the kernel, nothing is changed and no more lost than a busy
# machine's queues may (one in a thousand), a killed
# daemon relays nothing for longer than its word lasts, and where the kernel cannot user space goes on.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/relay_lib.sh"
relay_need
need_bpf
relay_net_up
ip netns exec "$ns-r" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
# as a network would: whole checksums, and somebody to receive what XDP sends
for n in c p; do
	ip netns exec "$ns-$n" ethtool -K "${n}0" tx off gro on >/dev/null 2>&1 || skip "ethtool cannot set up veth"
done

kernel_share()
{
	local k u

	k=$(relay_ctl status '.counters | .kernel_rx_packets + .kernel_tx_packets')
	u=$(relay_ctl status '.counters | .user_rx_packets + .user_tx_packets')
	echo "# kernel $k, user space $u"
	[ "$k" -gt 1000 ] && [ $((u * 20)) -le "$k" ]
}

whole()
{
	RELAY_AT=$1 PEER_AT=$2 load --seconds 1 --direction both --no-gso --window 64 --allocs 3 "${@:3}" >"$tmp/load.json" 2>"$tmp/load.err" ||
		{ cat "$tmp/load.err"; return 1; }
	jq -e '[.up, .down] | all(.received > 100 and .lost * 1000 <= .sent and .bad == 0 and .late == 0 and .unmarked == 0)' "$tmp/load.json" >/dev/null ||
		{ cat "$tmp/load.json"; return 1; }
}

round()
{
	check "$1: IPv4 to IPv4" whole 10.91.1.1:3478 10.91.2.2
	check "$1: IPv4 to IPv6" whole 10.91.1.1:3478 fd91:2::2
	check "$1: IPv6 to IPv4" whole "[fd91:1::1]:3478" 10.91.2.2
	check "$1: IPv6 to IPv6" whole "[fd91:1::1]:3478" fd91:2::2
	check "$1: odd lengths" whole 10.91.1.1:3478 10.91.2.2 --size 133
	check "$1: the kernel did it" kernel_share
}

for mode in native generic; do
	relay_start --xdp-iface rc,rp --xdp-required --xdp-mode $mode
	# neighbours are user space's to find
	load --seconds 1 --window 32 >/dev/null 2>&1
	PEER_AT=fd91:2::2 RELAY_AT="[fd91:1::1]:3478" load --seconds 1 --window 32 >/dev/null 2>&1
	round $mode
	relay_stop
	check "$mode: it ended well" test "$relay_rc" = 0
	check "$mode: no program is left" fails sh -c "ip -n $ns-r link show rc | grep -q xdp"
	check "$mode: no pin is left" test ! -e "/sys/fs/bpf/penstock/$ns"
done

relay_start --xdp-iface rc,rp --xdp-required
load --seconds 6 --no-gso --direction both --window 32 >"$tmp/killed.json" 2>&1 &
loader=$!
moving() { [ "$(relay_ctl status .counters.kernel_rx_packets)" -gt 1000 ]; }
check "traffic runs in the kernel" wait_for 5 moving
relay_stop KILL
check "its maps can still be read" test -e "/sys/fs/bpf/penstock/$ns/ps_turn_stat"
sleep 4
before=$(bpftool map dump pinned "/sys/fs/bpf/penstock/$ns/ps_turn_stat" 2>/dev/null | md5sum)
sleep 1
after=$(bpftool map dump pinned "/sys/fs/bpf/penstock/$ns/ps_turn_stat" 2>/dev/null | md5sum)
check "four seconds after it was killed nothing is relayed" test "$before" = "$after"
wait $loader
relay_start --xdp-iface rc,rp --xdp-required
check "its successor serves" whole 10.91.1.1:3478 10.91.2.2
relay_stop

relay_start --xdp-iface nosuchdevice
check "without the kernel user space goes on" whole 10.91.1.1:3478 10.91.2.2
why() { relay_ctl status .kernel.why | grep -q nosuchdevice; }
check "and says why" why
relay_stop
ip netns exec "$ns-r" env PENSTOCK_USER=a:b "$PENSTOCK_BUILD/penstock-relay" --public-ip4-addr 10.91.1.1 --instance "$ns" \
	--xdp-iface nosuchdevice --xdp-required >"$tmp/relay-req.log" 2>&1
check "unless it must" test $? = 1
finish
