#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 200
#
# What a translated packet carries besides: congestion marks, of the inner packet and of the path, and a UDP packet that has no
# checksum. To a network and to a name, both families, both modes.
. "$(dirname "$0")/lib.sh"
. "$tests_dir/far.sh"
need_lab
for t in dig python3; do
	command -v $t >/dev/null || skip "'$t' is not installed"
done

# Every packet of the tunnel that takes part in ECN meets congestion on its way (RFC 3168).
congestion()
{
	inside core nft delete table inet congested 2>/dev/null
	[ "$1" = off ] || inside core nft -f - <<-END
		table inet congested {
			chain forward {
				type filter hook forward priority filter;
				meta l4proto udp ip ecn { ect0, ect1 } ip ecn set ce
				meta l4proto udp ip6 ecn { ect0, ect1 } ip6 ecn set ce
			}
		}
	END
}

# marked N: how many captured segments have that ECN field (1 and 2: takes part, 3: met congestion).
marked()
{
	tcpdump -nr "$tmp/ecn.pcap" "(ip and ip[1] & 3 = $1) or (ip6 and (ip6[1] & 0x30) >> 4 = $1)" 2>/dev/null | wc -l
}

# carries ADDR WANT OTHER: a transfer to ADDR; the far server then has seen that mark, and not the other one.
carries()
{
	local addr=$1

	listen_to ecn far eth0 'tcp dst port 7000 and greater 200'
	check "$mode: a transfer to $addr" on client timeout 60 python3 -B "$tests_dir/echo.py" check "$addr" 7000
	listened
	check "$mode: $(marked "$2") segments arrive marked $2" at_least "$(marked "$2")" 10
	check "$mode: and none marked $3" [ "$(marked "$3")" = 0 ]
}

# What a socket that sends no checksums sends: there, and still without.
unsummed()
{
	listen_to sums far eth0 'udp dst port 9000 and udp[6:2] = 0'
	on client python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
for n in range(5): s.sendto(b"%d" % n, (sys.argv[1], 9000))' "$1"
	sleep 0.5
	listened
	[ "$(tcpdump -nr "$tmp/sums.pcap" 2>/dev/null | wc -l)" = 5 ]
}

for mode in $(modes); do
	lab_up MODE=$mode
	far_up
	far_addr far eth0 10.22.0.11/24 fd00:22::11/64
	name_up far.example 10.22.0.11 fd00:22::11
	for h in client far; do inside $h sysctl -qw net.ipv4.tcp_ecn=1; done
	inside far python3 -B "$tests_dir/echo.py" serve 7000 >"$tmp/echo.log" 2>&1 &
	portal_edit ".dns = {upstream: [\"192.0.2.10\"], search_domain: null} | .resources += [
		{name: \"net4\", type: \"cidr\", address: \"$FAR_V4\", site: \"lab\"}, {name: \"net6\", type: \"cidr\", address: \"$FAR_V6\", site: \"lab\"},
		{name: \"names\", type: \"dns\", address: \"*.example\", site: \"lab\"}]
		| .policies += [.resources[-3:][] | {group: \"staff\", resource: .name}]"
	wait_for 10 has_proxy far.example || fatal "no names"
	p4=$(proxy_of far.example A) p6=$(proxy_of far.example AAAA)
	for a in $FAR_V4 $FAR_V6 "$p4" "$p6"; do wait_for 10 ping_once "$a" || fatal "$a is not reached"; done
	for a in $FAR_V4 "$p4" "$p6"; do carries "$a" 2 3; done # ECT(0), as sent
	congestion on
	for a in $FAR_V6 "$p4" "$p6"; do carries "$a" 3 2; done # CE
	congestion off
	for a in $FAR_V4 "$p4"; do check "$mode: UDP without a checksum arrives at $a without" unsummed "$a"; done
	far_down
	lab down
	lab_is_up=
done
finish
