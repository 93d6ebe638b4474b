#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The view in: tcpdump on the tunnel device sees inner packets in both modes, bpftool prints the table's fields and
# names the programs, xdp-loader lists ours, and `penstock` answers in words and in JSON.
# timeout: 240
. "$(dirname "$0")/lib.sh"
need_lab
need_bpf
command -v xdp-loader >/dev/null || skip "no xdp-loader"
PIN=/sys/fs/bpf/penstock/$PENSTOCK_LAB-gateway

# sees_inner HOST ADDR: ten echoes, requests and replies, on the tunnel device.
sees_inner()
{
	local pid req rep

	bg "$1" timeout 10 tcpdump -lnni tun-penstock -c 20 "icmp or icmp6" >"$tmp/dump" 2>"$tmp/dump.err"
	pid=$!
	wait_for 5 grep -q listening "$tmp/dump.err" || return 1
	sleep 1.5 # the daemon notices a capture within a second and lets it see what is sent, too
	on client ping -n -q -c 10 -i 0.05 "$2" >/dev/null
	wait $pid
	req=$(grep -c 'echo request' "$tmp/dump") rep=$(grep -c 'echo reply' "$tmp/dump")
	echo "# tun-penstock on $1: $req requests, $rep replies to $2"
	[ "$req" -ge 9 ] && [ "$rep" -ge 9 ]
}

dump_has()
{
	local f

	for f in "${@:2}"; do
		jq -e --arg f "$f" '[.. | objects | has($f)] | any' "$1" >/dev/null || { echo "# no field $f"; return 1; }
	done
}

lab_up MODE=kernel
ping_ok $SERVER_V4 5
for h in gateway client; do
	check "kernel: tcpdump on the $h's tunnel device, IPv4" sees_inner $h $SERVER_V4
	check "kernel: tcpdump on the $h's tunnel device, IPv6" sees_inner $h $SERVER_V6
done
check "maps are pinned" [ -e "$PIN/ps_session" ]
bpftool -j map dump pinned "$PIN/ps_session" >"$tmp/session.json"
check "bpftool dumps ps_session" [ $? = 0 ]
check "ps_session has named fields" dump_has "$tmp/session.json" local_idx peer
bpftool -j map dump pinned "$PIN/ps_peer" >"$tmp/peer.json"
check "bpftool dumps ps_peer" [ $? = 0 ]
check "ps_peer has named fields" dump_has "$tmp/peer.json" generation
bpftool prog show >"$tmp/progs"
for p in 'ps_wan_\(rx\|busy\|steer\)' ps_wan_in ps_tun_out; do
	check "bpftool names $p" grep -q "name $p" "$tmp/progs"
done
on gateway xdp-loader status >"$tmp/xdp" 2>&1
check "xdp-loader lists ours" grep -q 'ps_wan_\(rx\|busy\|steer\)' "$tmp/xdp" || cat "$tmp/xdp"
for c in status peers flows drops resources; do
	check "penstock $c --json" eval "lab ctl gateway $c --json | jq -e '.cmd == \"$c\" and .schema == 1' >/dev/null"
	check "penstock $c" eval "[ -n \"\$(lab ctl gateway $c)\" ]"
done
check "a peer is listed with path, pair and handshake" eval \
	"lab ctl gateway peers --json | jq -e '.peers[0] | .path == \"direct\" and .remote.addr and .last_handshake_s != null' >/dev/null"
check "drops sum up in the kernel" eval "lab ctl gateway drops --json | jq -e '.reasons | length > 0' >/dev/null"

MODE=user lab restart gateway client
lab wait 40 || fatal "no tunnel in user mode"
check "user: tcpdump on the gateway's tunnel device, IPv4" sees_inner gateway $SERVER_V4
check "user: tcpdump on the gateway's tunnel device, IPv6" sees_inner gateway $SERVER_V6
finish
