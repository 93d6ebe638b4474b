#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
#
# ICMP errors through the gateway, to networks and to names, both families, both modes: hops of a traceroute, the path's
# MTU, closed ports, unreachable hosts and networks, what policy forbids. What the applications are told, and what the
# errors hold: from whom, quoting what the client has sent.
. "$(dirname "$0")/lib.sh"
. "$tests_dir/far.sh"
need_lab
for t in dig python3 traceroute; do
	command -v $t >/dev/null || skip "'$t' is not installed"
done

own() { status gateway ".tunnel.$1"; }
hops() { on client traceroute -n -q 1 -w 3 -m 6 "$@" | awk 'NR > 1 { printf "%s%s", sep, $2; sep = " " }'; }

# is WANT CMD…: what it prints.
is()
{
	local want=$1 got
	shift
	got=$("$@")
	[ "$got" = "$want" ] || { echo "# got '$got', want '$want'"; return 1; }
}

# told WANT MS KIND ADDR PORT: the application hears it within that time.
told()
{
	local want=$1 limit=$2 said ms
	shift 2
	read -r said ms < <(on client timeout 20 python3 -B "$tests_dir/knock.py" "$@")
	echo "# $*: $said after $ms ms"
	[ "$said" = "$want" ] && at_most "$ms" "$limit"
}

# error_seen "FROM TO TYPE CODE MTU PROTO QUOTED-TO exact": one like that is in the last capture.
error_seen()
{
	python3 -B "$tests_dir/icmp_errors.py" "$tmp/errors.pcap" | sort | uniq -c | sed 's/^ *[0-9]* //' >"$tmp/errors"
	grep -qxE -- "$1" "$tmp/errors" || { sed 's/^/# seen: /' "$tmp/errors"; return 1; }
}

# listen_errors FILTER: and what they may be about.
listen_errors() { listen_to errors client tun-penstock "icmp or icmp6 or ($1)"; }

far_setup()
{
	far_up
	name_up far.example $FAR_V4 $FAR_V6
	name_up gone.example 10.22.0.77 fd00:22::77
	name_up nowhere.example 10.23.0.1 fd00:23::1
	name_up four.example $FAR_V4
	name_up six.example $FAR_V6
	ip -n "$PENSTOCK_LAB-gateway" route add 10.23.0.0/24 via $HOP_V4
	ip -n "$PENSTOCK_LAB-gateway" -6 route add fd00:23::/64 via $HOP_V6
	inside far nft -f - <<-END
		table inet refuses {
			chain in {
				type filter hook input priority filter;
				tcp dport 81 reject with icmpx type port-unreachable
				tcp dport 82 reject with icmpx type admin-prohibited
			}
		}
	END
	inside far python3 -B "$tests_dir/echo.py" serve 7000 >"$tmp/echo.log" 2>&1 &
	portal_edit '.dns = {upstream: ["192.0.2.10"], search_domain: null}
		| .resources += [{name: "net4", type: "cidr", address: "10.22.0.0/24", site: "lab"},
			{name: "net6", type: "cidr", address: "fd00:22::/64", site: "lab"},
			{name: "names", type: "dns", address: "*.example", site: "lab"}]
		| .policies += [.resources[-3:][] | {group: "staff", resource: .name}]'
	wait_for 10 has_proxy far.example || fatal "no names"
	wait_for 5 listening far 7000 || fatal "no echo server"
}

check_hops()
{
	local how

	for how in -U -I "-T -p 7000"; do
		# shellcheck disable=SC2086
		check "$mode: traceroute $how to a network" is "$(own ipv4) $HOP_V4 $FAR_V4" hops $how $FAR_V4
		check "$mode: the same, IPv6" is "$(own ipv6) $HOP_V6 $FAR_V6" hops $how $FAR_V6
		check "$mode: to a name: the gateway, a router that is not told, the proxy address" is "$(own ipv4) $p4 $p4" hops $how $p4
		check "$mode: the same, IPv6" is "$(own ipv6) $p6 $p6" hops $how $p6
	done
}

# What cannot be reached, and why, at the application and on the wire.
check_refusals()
{
	local c4 c6

	c4=$(status client .tunnel.ipv4) c6=$(status client .tunnel.ipv6)
	listen_errors 'less 128'
	for a in $FAR_V4 $FAR_V6 $p4 $p6; do
		check "$mode: closed UDP port of $a: refused at once" told ECONNREFUSED 4000 udp $a 9
		check "$mode: closed TCP port" told ECONNREFUSED 4000 tcp $a 9
		check "$mode: refused by the server's firewall, by ICMP" told ECONNREFUSED 4000 tcp $a 81
	done
	check "$mode: prohibited there" told EHOSTUNREACH 4000 tcp $p4 82
	check "$mode: prohibited there, IPv6" told EACCES 4000 tcp $p6 82
	check "$mode: nobody at that address" told EHOSTUNREACH 8000 tcp $gone4 80
	check "$mode: the same, IPv6" told EHOSTUNREACH 8000 tcp $gone6 80
	check "$mode: no such network" told ENETUNREACH 4000 tcp $nowhere4 80
	check "$mode: the same, IPv6" told ENETUNREACH 4000 tcp $nowhere6 80
	check "$mode: a name without IPv6" told EHOSTUNREACH 4000 tcp "$(proxy_of four.example AAAA)" 7000
	check "$mode: a name without IPv4" told ENETUNREACH 4000 tcp "$(proxy_of six.example A)" 7000
	check "$mode: its other family" told open 4000 tcp "$(proxy_of six.example AAAA)" 7000
	listened
	check "$mode: port unreachable (v4) is the server's, and quotes the client's packet" error_seen "$FAR_V4 $c4 3 3 0 17 $FAR_V4 exact"
	check "$mode: the same of a name" error_seen "$p4 $c4 3 3 0 17 $p4 exact"
	check "$mode: and for TCP" error_seen "$p4 $c4 3 3 0 6 $p4 exact"
	check "$mode: port unreachable (v6) of a name" error_seen "$p6 $c6 1 4 0 17 $p6 exact"
	check "$mode: and for TCP" error_seen "$p6 $c6 1 4 0 6 $p6 exact"
	check "$mode: host unreachable" error_seen "$gone4 $c4 3 1 0 6 $gone4 exact"
	check "$mode: address unreachable" error_seen "$gone6 $c6 1 3 0 6 $gone6 exact"
	check "$mode: network unreachable" error_seen "$nowhere4 $c4 3 0 0 6 $nowhere4 exact"
	check "$mode: no route" error_seen "$nowhere6 $c6 1 0 0 6 $nowhere6 exact"
	check "$mode: nothing was quoted wrongly" fails grep -q differs "$tmp/errors"
	check "$mode: and no real address of a name told" fails grep -qE "10\.23\.|fd00:23:" "$tmp/errors"
}

# A transfer to ADDR adapts to MTU, and the client's kernel knows why.
adapts()
{
	local addr=$1 mtu=$2

	check "$mode: bytes to $addr arrive as they were" on client timeout 60 python3 -B "$tests_dir/echo.py" check "$addr" 7000
	check "$mode: and the client knows of $mtu" eval "inside client ip route get $addr | grep -q 'mtu $mtu'"
}

# The same to the gateway's own link, for echoes: TCP does not meet it, for the gateway clamps what is offered.
adapts_echo()
{
	local addr=$1 mtu=$2

	on client ping -n -q -c 2 -i 0.3 -W 1 -M do -s 1300 "$addr" >/dev/null
	check "$mode: of $mtu on the gateway's own way to $addr, too" eval "inside client ip route get $addr | grep -q 'mtu $mtu'"
	check "$mode: and it is enough" eval "on client ping -n -q -c 2 -i 0.3 -W 2 -M do -s $((mtu - 48)) $addr >/dev/null"
}

# far_mtu DEVICE MTU: the link's, on the router's or the gateway's side. The server's offer (MSS) tells nothing of it, but
# its answers fit: what counts are the client's packets.
far_mtu()
{
	local host=hop

	[ "$1" = n1 ] || host=gateway
	inside $host ip link set "$1" mtu "$2"
	inside far ip route change default via 10.22.0.1 mtu lock "$2" advmss 1460
	inside far ip -6 route change default via fd00:22::1 mtu lock 1280 advmss 1440
}

# IPv6 first: there is none over a link of less than 1280, which is why the tunnel must take more for its turn.
check_mtu()
{
	local c4 c6 h

	c4=$(status client .tunnel.ipv4) c6=$(status client .tunnel.ipv6)
	for h in client gateway; do
		[ "$(inside $h ip -j link show tun-penstock | jq .[0].mtu)" -ge 1400 ] || inside $h ip link set tun-penstock mtu 1400
	done
	far_mtu n1 1280
	adapts "$(ask far.example AAAA | sed -n 1p)" 1280
	listen_errors 'ip6 and greater 1281'
	adapts "$(ask far.example AAAA | sed -n 2p)" 1280
	adapts $FAR_V6 1280
	far_mtu eth2 1280
	adapts_echo "$(ask far.example AAAA | sed -n 3p)" 1280
	listened
	# Quoted may be what the gateway's receive offload has made of several packets, so not exactly one of them.
	check "$mode: packet too big, of the network" error_seen "$HOP_V6 $c6 2 0 1280 6 $FAR_V6 (exact|differs)"
	check "$mode: of the name" error_seen "(fd00:2021:1111:8000::[^ ]*) $c6 2 0 1280 6 \\1 (exact|differs)"
	check "$mode: by the gateway itself" error_seen "$(own ipv6) $c6 2 0 1280 58 fd00:2021:1111:8000::[^ ]* exact"
	far_mtu eth2 1500
	far_mtu n1 1200
	adapts "$(ask far.example A | sed -n 1p)" 1200
	listen_errors 'ip and greater 1201'
	adapts "$(ask far.example A | sed -n 2p)" 1200
	adapts $FAR_V4 1200
	far_mtu eth2 1200
	adapts_echo "$(ask far.example A | sed -n 3p)" 1200
	listened
	check "$mode: fragmentation needed, of the network" error_seen "$HOP_V4 $c4 3 4 1200 6 $FAR_V4 (exact|differs)"
	check "$mode: of the name" error_seen "(100\.96\.[^ ]*) $c4 3 4 1200 6 \\1 (exact|differs)"
	check "$mode: by the gateway itself" error_seen "$(own ipv4) $c4 3 4 1200 1 100\.96\.[^ ]* exact"
}

for mode in $(modes); do
	lab_up MODE=$mode
	far_setup
	p4=$(proxy_of far.example A) p6=$(proxy_of far.example AAAA)
	gone4=$(proxy_of gone.example A) gone6=$(proxy_of gone.example AAAA)
	nowhere4=$(proxy_of nowhere.example A) nowhere6=$(proxy_of nowhere.example AAAA)
	check "$mode: both families answer by name" eval 'ping_ok $p4 && ping_ok $p6'
	check_hops
	check_refusals
	check_mtu
	far_down
	lab down
	lab_is_up=
done
finish
