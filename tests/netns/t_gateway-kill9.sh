#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kill -9 of the gateway: nothing is forwarded after it; the restart cleans what was left (nftables table, rules,
# pins, tunnel device) and the client comes back by itself within 20 s.
# timeout: 300
. "$(dirname "$0")/lib.sh"
need_lab

in_gateway() { nsenter --net="/run/netns/$PENSTOCK_LAB-gateway" "$@"; }
tables() { in_gateway nft list tables | grep -c penstock; }
rules() { in_gateway ip rule show | grep -cvE 'lookup (local|main|default)'; }
tc_filters() { in_gateway bpftool net show 2>/dev/null | grep -c 'ps_'; }
pin_dirs() { find /sys/fs/bpf/penstock -maxdepth 1 -name "$PENSTOCK_LAB-gateway*" 2>/dev/null | wc -l; }
server_seen() { nsenter --net="/run/netns/$PENSTOCK_LAB-server" ip -s -j link show dev eth0 | jq '.[0].stats64.rx.packets'; }

kill9_in()
{
	local mode=$1 tables_before rules_before pid t0 n

	lab_up MODE="$mode"
	ping_ok $SERVER_V4
	tables_before=$(tables) rules_before=$(rules) tc_before=$(tc_filters) pins_before=$(pin_dirs)
	check "$mode: the gateway has one nftables table of its own" [ "$tables_before" -ge 1 ]
	bg client ping -n -i 0.02 -w 60 $SERVER_V4 >"$tmp/ping" 2>&1
	pid=$!
	sleep 1
	lab kill gateway KILL
	sleep 0.1
	nsenter --net="/run/netns/$PENSTOCK_LAB-server" timeout 5 tcpdump -lnni eth0 'icmp or icmp6' >"$tmp/dump" 2>/dev/null
	n=$(grep -c 'echo request' "$tmp/dump")
	check "$mode: after kill -9 the server sees $n echo requests, wanted 0" [ "$n" = 0 ]
	check "$mode: the client still sends" kill -0 $pid
	lab start gateway
	t0=$(now_ms)
	check "$mode: reconnects within 20 s" wait_for 20 ping_once $SERVER_V4
	echo "# $mode: back after $(($(now_ms) - t0)) ms"
	check "$mode: as many nftables tables as before" [ "$(tables)" = "$tables_before" ]
	check "$mode: as many rules as before" [ "$(rules)" = "$rules_before" ]
	check "$mode: as many attached programs as before" [ "$(tc_filters)" = "$tc_before" ]
	check "$mode: as many pin directories as before" [ "$(pin_dirs)" = "$pins_before" ]
	kill $pid 2>/dev/null
	wait $pid 2>/dev/null
	check "$mode: IPv6 is back too" ping_ok $SERVER_V6
}

for mode in $(modes); do
	kill9_in $mode
done
finish
