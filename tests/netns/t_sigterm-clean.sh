#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# SIGTERM undoes everything: after it the two hosts look as before the start. The peer is told, so the client
# notices at once, and a new start works. In both modes.
# timeout: 240
. "$(dirname "$0")/lib.sh"
need_lab

# Whatever a daemon could have left in a host's network namespace or on the machine.
snapshot()
{
	local host=$1

	nsenter --net="/run/netns/$PENSTOCK_LAB-$host" sh -c '
		ip -br link show | grep -v "^lo" | sed "s/@.*//" | cut -d" " -f1
		ip rule show; ip -6 rule show
		ip route show table all | sort; ip -6 route show table all | sed "s/ expires [0-9]*sec//" | sort
		nft list ruleset
		sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.ipv4.conf.all.src_valid_mark
		bpftool net show 2>/dev/null | grep -c ps_'
	find "/sys/fs/bpf/penstock/$PENSTOCK_LAB-$host" "/run/penstock/$PENSTOCK_LAB-$host.sock" 2>/dev/null
}

clean_in()
{
	local mode=$1 h t0

	lab down
	lab_is_up=1
	LAB_PROGRAMS=portal MODE=$mode lab up || fatal "lab up failed"
	for h in gateway client; do snapshot $h >"$tmp/$h.before"; done
	MODE=$mode lab start gateway client || fatal "the daemons do not start"
	lab wait 40 || fatal "no tunnel"
	for h in gateway client; do
		snapshot $h >"$tmp/$h.running"
		check "$mode: $h leaves traces while it runs (or this test sees nothing)" fails cmp -s "$tmp/$h.before" "$tmp/$h.running"
	done
	t0=$(now_ms)
	check "$mode: gateway stops on SIGTERM" lab stop gateway
	check "$mode: within 5 s" at_most $(($(now_ms) - t0)) 5000
	check "$mode: the client was told" wait_for 3 eval '[ "$(lab ctl client peers --json | jq "[.peers[] | select(.state == \"connected\")] | length")" = 0 ]'
	check "$mode: client stops on SIGTERM" lab stop client
	for h in gateway client; do
		snapshot $h >"$tmp/$h.after"
		check "$mode: $h left nothing" diff "$tmp/$h.before" "$tmp/$h.after"
	done
	MODE=$mode lab start gateway client
	check "$mode: a new start works" lab wait 40
}

for mode in $(modes); do
	clean_in $mode
done
finish
