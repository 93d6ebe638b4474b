#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 400
#
# Filters, to networks and to names, in both modes: single ports, ranges, ICMP alone, the union where networks overlap, CIDR and
# DNS not mixed, the Internet resource that opens no proxy address, the gateway itself. What is not permitted is answered
# "prohibited", quoting what was sent. A change while a stream runs stops it, in the kernel as well.
. "$(dirname "$0")/lib.sh"
. "$tests_dir/far.sh"
need_lab
for t in dig python3; do
	command -v $t >/dev/null || skip "'$t' is not installed"
done

PORTS="7000 7001 7002 7003"

# told WANT KIND ADDR PORT
told()
{
	local want=$1 said ms
	shift
	read -r said ms < <(on client timeout 20 python3 -B "$tests_dir/knock.py" "$@")
	[ "$said" = "$want" ] || { echo "# $*: $said after $ms ms, want $want"; return 1; }
}

# reaches ADDR PORT…: exactly those of PORTS; the others are prohibited (at once: a filter that let them be lost would be silence).
reaches()
{
	local addr=$1 p refused
	shift
	[[ $addr = *:* ]] && refused=EACCES || refused=EHOSTUNREACH
	for p in $PORTS; do
		case " $* " in
		*" $p "*) told open tcp "$addr" "$p" || return 1 ;;
		*) told $refused tcp "$addr" "$p" || return 1 ;;
		esac
	done
}

servers()
{
	nsenter --net="/run/netns/$PENSTOCK_LAB-far" python3 -c '
import selectors, socket, sys
sel = selectors.DefaultSelector()
for port in sys.argv[1:]:
    s = socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
    sel.register(s, selectors.EVENT_READ)
held = []
while True:
    for key, _ in sel.select():
        held = held[-50:] + [key.fileobj.accept()[0]]' $PORTS &
}

# filters NAME JSON: in one reload.
filters() { portal_edit ".resources |= map(if .name == \"$1\" then .filters = $2 else . end)"; }
tcp() { echo "{protocol: \"tcp\", port_range_start: $1, port_range_end: $2}"; }

# Bytes the far server's iperf3 has received.
received()
{
	inside far ss -Htin "sport = :5201" | grep -o 'bytes_received:[0-9]*' | cut -d: -f2 | awk '{ n += $1 } END { print n + 0 }'
}

# ms_until_quiet MAX: milliseconds from now until nothing new has come for a second.
ms_until_quiet()
{
	local t0 last n prev=-1

	t0=$(now_ms) last=$t0
	while [ $(($(now_ms) - last)) -lt 1000 ] && [ $(($(now_ms) - t0)) -lt "$1" ]; do
		n=$(received)
		[ "$n" = "$prev" ] || { last=$(now_ms) prev=$n; }
		sleep 0.05
	done
	echo $((last - t0))
}

# deaf on|off: what the portal says does not arrive at the client.
deaf()
{
	inside core nft delete table inet deaf 2>/dev/null
	[ "$1" = off ] || inside core nft "add table inet deaf; add chain inet deaf f { type filter hook forward priority filter; iifname \"p0\" oifname \"c0\" drop; }"
}

# stops ADDR NAME JSON PROGRAM REASON: a stream to ADDR that the new filters of NAME do not permit, and who says so.
stops()
{
	local addr=$1 before quiet pid drops

	bg client iperf3 -c "$addr" -p 5201 -t 60 -b 20M --connect-timeout 5000 >"$tmp/stream" 2>&1
	pid=$!
	wait_for 10 eval '[ "$(received)" -gt 1000000 ]'
	before=$(received)
	check "$mode: a stream to $addr flows" wait_for 5 eval "[ \$(received) -gt $((before + 200000)) ]"
	[ "$mode" = user ] || check "kernel: it is carried there" wait_for 5 eval \
		'lab ctl gateway flows --json | jq -e "[.flows[] | select(.proto == \"tcp\" and .kernel_packets > 100)] | length > 0" >/dev/null'
	drops=$(drops_of "$4" "$5")
	filters "$2" "$3"
	quiet=$(ms_until_quiet 10000)
	check "$mode: not permitted any more, it stops after $quiet ms (at most 4000)" at_most "$quiet" 4000
	check "$mode: and was counted by the $4" wait_for 5 eval "[ \$(drops_of $4 $5) -gt $drops ]"
	kill $pid 2>/dev/null
	wait $pid 2>/dev/null
	inside far ss -K "sport = :5201" >/dev/null 2>&1
}

for mode in $(modes); do
	lab_up MODE=$mode
	far_up
	servers
	far_addr far eth0 10.22.0.11/24 fd00:22::11/64
	name_up far.example 10.22.0.11 fd00:22::11
	name_up web.example.net 10.22.0.11 fd00:22::11
	for p in $PORTS; do wait_for 5 listening far "$p" || fatal "no server on $p"; done
	nsenter --net="/run/netns/$PENSTOCK_LAB-far" iperf3 -s -p 5201 >"$tmp/iperf.log" 2>&1 &
	portal_edit ".dns = {upstream: [\"192.0.2.10\"], search_domain: null} | .resources += [
		{name: \"wide\", type: \"cidr\", address: \"10.22.0.0/24\", site: \"lab\", filters: [$(tcp 7000 7000)]},
		{name: \"host\", type: \"cidr\", address: \"$FAR_V4\", site: \"lab\", filters: [$(tcp 7001 7002), {protocol: \"icmp\"}]},
		{name: \"six\", type: \"cidr\", address: \"fd00:22::/64\", site: \"lab\", filters: [{protocol: \"icmp\"}]},
		{name: \"names\", type: \"dns\", address: \"*.example\", site: \"lab\", filters: [$(tcp 7003 7003)]}]
		| .policies += [.resources[-4:][] | {group: \"staff\", resource: .name}]"
	wait_for 10 has_proxy far.example || fatal "no names"
	p4=$(proxy_of far.example A) p6=$(proxy_of far.example AAAA)
	wait_for 10 told open tcp $FAR_V4 7000 >/dev/null
	wait_for 10 told open tcp "$p4" 7003 >/dev/null
	check "$mode: one port of the wider network, a range of the address's: the union" reaches $FAR_V4 7000 7001 7002
	check "$mode: ICMP, which the address's resource has" ping_ok $FAR_V4
	check "$mode: another address of the wide network: its one port" reaches 10.22.0.11 7000
	check "$mode: and no ICMP" fails ping_once 10.22.0.11
	check "$mode: ICMP alone: no port" reaches $FAR_V6
	check "$mode: but echoes" ping_ok $FAR_V6
	check "$mode: a name has its own filters, not its address's network's" reaches "$p4" 7003
	check "$mode: nor the other way round, IPv6" reaches "$p6" 7003
	check "$mode: and no ICMP" fails ping_once "$p4"
	listen_to errors client tun-penstock 'icmp or icmp6 or tcp[tcpflags] & tcp-syn != 0 or (ip6 and less 100)'
	for a in $FAR_V4 "$p4" $FAR_V6 "$p6"; do told silence tcp "$a" 7777 >/dev/null; done
	listened
	python3 -B "$tests_dir/icmp_errors.py" "$tmp/errors.pcap" | sort -u >"$tmp/errors"
	c4=$(status client .tunnel.ipv4) c6=$(status client .tunnel.ipv6)
	for a in $FAR_V4 "$p4"; do check "$mode: prohibited comes from $a, quoting what was sent there" grep -qx "$a $c4 3 13 0 6 $a exact" "$tmp/errors"; done
	for a in $FAR_V6 "$p6"; do check "$mode: prohibited comes from $a, quoting what was sent there" grep -qx "$a $c6 1 1 0 6 $a exact" "$tmp/errors"; done
	check "$mode: the gateway itself answers whatever the filters" ping_ok "$(status gateway .tunnel.ipv4)"
	portal_edit '.resources += [{name: "internet", type: "internet", site: "lab"}] | .policies += [{group: "staff", resource: "internet"}]'
	sleep 1
	check "$mode: the Internet resource opens no proxy address" reaches "$p4" 7003
	check "$mode: nor what is private and filtered" told EHOSTUNREACH tcp $FAR_V4 7003
	portal_edit 'del(.policies[] | select(.resource == "internet"))'
	filters wide "[$(tcp 5201 5201)]"
	wait_for 10 told open tcp $FAR_V4 5201 >/dev/null
	stops $FAR_V4 wide "[$(tcp 7000 7000)]" client utx_filtered
	filters names "[$(tcp 5201 5201)]"
	wait_for 10 told open tcp "$p6" 5201 >/dev/null
	deaf on
	stops "$p6" names "[$(tcp 7003 7003)]" gateway urx_filtered
	check "$mode: prohibited by the gateway, to a client that does not know" told EACCES tcp "$p6" 7000
	deaf off
	# The client is told again when the portal's TCP next tries.
	wait_for 15 told open tcp "$p4" 7003 >/dev/null
	check "$mode: what is permitted now is reached" reaches "$p4" 7003
	far_down
	lab down
	lab_is_up=
done
finish
