#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The lab's network: namespaces, links, addresses, routes, NAT. Sourced by `lab`; uses P (prefix), S (state), HOSTS.
# Documentation prefixes outside, one private network behind each end. Only the gateway knows the server's
# network, and the server has no default route: what reaches it came through the gateway.

CLIENT_V4=192.168.77.10 CLIENT_V6=2001:db8:c::10
CLIENT2_V4=192.168.78.10 CLIENT2_V6=2001:db8:d::10
GATEWAY_V4=203.0.113.66 GATEWAY_V6=2001:db8:6::66
GATEWAY2_V4=203.0.113.98 GATEWAY2_V6=2001:db8:7::98
PORTAL_V4=192.0.2.10 PORTAL_V6=2001:db8:9::10
SERVER_V4=10.20.0.10 SERVER_V6=fd00:20::10   # what the policies allow
DENIED_V4=10.20.0.99 DENIED_V6=fd00:20::99   # the same machine under addresses that no resource covers
PORTAL_NAME=portal.lab
RELAY_V4=(- 203.0.113.130 203.0.113.146) RELAY_V6=(- 2001:db8:a1::130 2001:db8:a2::146)

in_host()
{
	local host=$1
	shift
	nsenter --net="/run/netns/$P-$host" "$@"
}

# Interface indices are unique on the whole machine, not only in a namespace: the XDP loader's pins are named
# after them in the one bpffs.
index_base()
{
	echo $((100000 + $(cksum <<<"$P" | cut -d' ' -f1) % 9000 * 100))
}

# link N HOST-A IF-A HOST-B IF-B
link()
{
	local base

	base=$(index_base)
	ip link add name "$3" index $((base + 2 * $1)) netns "$P-$2" type veth \
		peer name "$5" index $((base + 2 * $1 + 1)) netns "$P-$4" || return 1
	# Without it a veth whose peer runs XDP loses redirected frames, and bulk TCP is measured without GRO.
	in_host "$2" ethtool -K "$3" gro on >/dev/null || return 1
	in_host "$4" ethtool -K "$5" gro on >/dev/null || return 1
	ip -n "$P-$2" link set "$3" up && ip -n "$P-$4" link set "$5" up
}

# addr HOST IF V4/LEN V6/LEN; "outside" families can be switched off, "-" is none.
addr()
{
	if [ "$3" != - ] && { [ -z "$LAB_IPV6_ONLY" ] || [ "${5:-}" = inside ]; }; then
		ip -n "$P-$1" addr add "$3" dev "$2" || return 1
	fi
	if [ "$4" != - ] && { [ -z "$LAB_IPV4_ONLY" ] || [ "${5:-}" = inside ]; }; then
		ip -n "$P-$1" addr add "$4" dev "$2" nodad || return 1
	fi
}

# route HOST PREFIX-V4 VIA-V4 PREFIX-V6 VIA-V6
route()
{
	[ -n "$LAB_IPV6_ONLY" ] || ip -n "$P-$1" route add "$2" via "$3" || return 1
	[ -n "$LAB_IPV4_ONLY" ] || ip -n "$P-$1" -6 route add "$4" via "$5"
}

# host_etc DIR: what inside.sh lays over /etc. Empty, resolv.conf means that the host has no resolver.
host_etc()
{
	mkdir -p "$1/etc/.machine" && (
		cd "$1/etc" || exit 1
		find /etc -mindepth 1 -maxdepth 1 ! -type l ! -name hosts ! -name resolv.conf -printf '.machine/%f\0' |
			xargs -0r ln -s -t . &&
			find /etc -mindepth 1 -maxdepth 1 -type l ! -name hosts ! -name resolv.conf -exec cp -P -t . {} + &&
			: >hosts && : >resolv.conf
	) && ln -s etc/resolv.conf "$1/resolv.conf"
}

# net_host HOST: its namespace and the files that are its own.
net_host()
{
	local d=$S/hosts/$1

	ip netns add "$P-$1" && mkdir -p "$d/bpf" && host_etc "$d" || return 1
	{
		echo "127.0.0.1 localhost $1"
		echo "::1 localhost"
		[ -n "$LAB_IPV6_ONLY" ] || echo "$PORTAL_V4 $PORTAL_NAME"
		[ -n "$LAB_IPV4_ONLY" ] || echo "$PORTAL_V6 $PORTAL_NAME"
	} >"$d/hosts"
	in_host "$1" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
		net.ipv6.conf.all.accept_ra=0 net.ipv6.conf.default.accept_ra=0 && ip -n "$P-$1" link set lo up
}

net_hosts()
{
	local h

	for h in $HOSTS; do
		net_host "$h" || return 1
	done
	# The gateway's forwarding is its program's business; relays do not forward.
	for h in rc core rg; do
		in_host "$h" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 || return 1
	done
}

# What a relay returns by native XDP: its checksum must be whole, as on a wire (a veth hands it on unfinished), and the
# router's end needs a program of its own, else it stays in its ring. It comes back datagram by datagram, and the router joins
# those of a flow again before it forwards them (Linux 5.12). In the other modes the link has its offloads.
relay_peer()
{
	[ "$LAB_RELAY" = penstock ] && [ "$LAB_RELAY_XDP" = native ] || return 0
	in_host core ethtool -K "$1" tx off >/dev/null || return 1
	in_host core ethtool -K "$1" rx-udp-gro-forwarding on >/dev/null 2>&1
	in_host core ip link set dev "$1" xdpdrv obj "$root/build/bpf/pass.bpf.o" sec xdp ||
		echo "lab: no XDP program on $1: the relay must not use native XDP" >&2
}

# relay N: the router's and the relay's ends.
relay_addresses()
{
	local v4=${RELAY_V4[$1]} v6=${RELAY_V6[$1]}

	addr core "r$1" "${v4%.*}.$((${v4##*.} - 1))/28" "${v6%::*}::1/64" && addr "relay$1" eth0 "$v4/28" "$v6/64"
}

net_relays()
{
	local n

	for n in ${RELAYS//relay/}; do
		link $((5 + n)) core "r$n" "relay$n" eth0 && relay_peer "r$n" && relay_addresses "$n" &&
			route "relay$n" default "${RELAY_V4[$n]%.*}.$((${RELAY_V4[$n]##*.} - 1))" default "${RELAY_V6[$n]%::*}::1" || return 1
	done
}

# Behind the same router as the first client, in a network of its own.
net_client2()
{
	[ "$LAB_CLIENTS" = 2 ] || return 0
	link 8 client2 eth0 rc lan1 &&
		addr client2 eth0 $CLIENT2_V4/24 $CLIENT2_V6/64 &&
		addr rc lan1 192.168.78.1/24 2001:db8:d::1/64 &&
		route client2 default 192.168.78.1 default 2001:db8:d::1 || return 1
	[ -n "$LAB_IPV4_ONLY" ] || ip -n "$P-core" -6 route add 2001:db8:d::/64 via 2001:db8:1::2 || return 1
	[ -n "$LAB_IPV6_ONLY" ] || [ "$LAB_CLIENT_NAT" = 1 ] ||
		ip -n "$P-core" route add 192.168.78.0/24 via 198.51.100.2
}

# Without a router of its own; it reaches the server's addresses by the server's second leg.
net_gateway2()
{
	[ "$LAB_GATEWAYS" = 2 ] || return 0
	link 9 core g2 gateway2 eth0 && link 10 gateway2 eth1 server eth1 &&
		addr core g2 203.0.113.97/28 2001:db8:7::1/64 &&
		addr gateway2 eth0 $GATEWAY2_V4/28 $GATEWAY2_V6/64 &&
		route gateway2 default 203.0.113.97 default 2001:db8:7::1 &&
		addr gateway2 eth1 10.20.1.1/24 fd00:20:1::1/64 inside &&
		addr server eth1 10.20.1.10/24 fd00:20:1::10/64 inside &&
		ip -n "$P-gateway2" route add 10.20.0.0/24 via 10.20.1.10 &&
		ip -n "$P-gateway2" -6 route add fd00:20::/64 via fd00:20:1::10
}

net_addresses()
{
	addr client eth0 $CLIENT_V4/24 $CLIENT_V6/64 &&
		addr rc lan0 192.168.77.1/24 2001:db8:c::1/64 &&
		addr rc wan0 198.51.100.2/24 2001:db8:1::2/64 &&
		addr core c0 198.51.100.1/24 2001:db8:1::1/64 &&
		addr core g0 203.0.113.1/29 2001:db8:2::1/64 &&
		addr rg wan0 203.0.113.2/29 2001:db8:2::2/64 &&
		addr rg lan0 203.0.113.65/28 2001:db8:6::1/64 &&
		addr gateway eth0 $GATEWAY_V4/28 $GATEWAY_V6/64 &&
		addr core p0 192.0.2.1/24 2001:db8:9::1/64 &&
		addr portal eth0 $PORTAL_V4/24 $PORTAL_V6/64 &&
		addr gateway eth1 10.20.0.1/24 fd00:20::1/64 inside &&
		addr server eth0 $SERVER_V4/24 $SERVER_V6/64 inside &&
		addr server eth0 $DENIED_V4/24 - inside &&
		ip -n "$P-server" addr add $DENIED_V6/64 dev eth0 nodad preferred_lft 0 # never a source by choice
}

net_routes()
{
	route client default 192.168.77.1 default 2001:db8:c::1 &&
		route rc default 198.51.100.1 default 2001:db8:1::1 &&
		route core 203.0.113.64/28 203.0.113.2 2001:db8:6::/64 2001:db8:2::2 &&
		route rg default 203.0.113.1 default 2001:db8:2::1 &&
		route gateway default 203.0.113.65 default 2001:db8:6::1 &&
		route portal default 192.0.2.1 default 2001:db8:9::1 || return 1
	[ -n "$LAB_IPV4_ONLY" ] || ip -n "$P-core" -6 route add 2001:db8:c::/64 via 2001:db8:1::2 || return 1
	[ -n "$LAB_IPV6_ONLY" ] || [ "$LAB_CLIENT_NAT" = 1 ] ||
		ip -n "$P-core" route add 192.168.77.0/24 via 198.51.100.2
}

# Linux's masquerade keeps the source port where it can: the mapping is the same for every destination. As home
# routers do, it drops what nobody inside asked for (an accepted stray packet would occupy the mapping's port).
net_nat()
{
	[ "$LAB_NAT" = cone ] || { nat_symmetric rc && nat_symmetric rg; return; }
	[ "$LAB_CLIENT_NAT" = 1 ] || return 0
	in_host rc nft -f - <<-END
		table ip lab_nat {
			chain post {
				type nat hook postrouting priority srcnat;
				ip saddr { 192.168.77.0/24, 192.168.78.0/24 } oifname "wan0" masquerade
			}
			chain through {
				type filter hook forward priority filter;
				iifname "wan0" ct state new drop
			}
			chain to_router {
				type filter hook input priority filter;
				iifname "wan0" ip protocol != icmp ct state new drop
			}
		}
	END
}

# Another port for every destination, and nothing comes in but from where something went out to (RFC 4787:
# address- and port-dependent mapping and filtering); IPv6 as well, or it would be a way around.
nat_symmetric()
{
	in_host "$1" nft -f - <<-END
		table inet lab_nat {
			chain post {
				type nat hook postrouting priority srcnat;
				oifname "wan0" meta l4proto { tcp, udp } masquerade fully-random
				oifname "wan0" masquerade
			}
			chain through {
				type filter hook forward priority filter;
				iifname "wan0" ct state new drop
			}
			chain to_router {
				type filter hook input priority filter;
				iifname "wan0" meta l4proto { tcp, udp } ct state new drop
			}
		}
	END
}

# net_block direct|client|gateway|gateway2|portal on|off: what the internet's router does not let through.
net_block()
{
	local rule

	in_host core nft delete table inet "lab_block_$1" 2>/dev/null
	[ "$2" = on ] || return 0
	case $1 in
	direct) rule='iifname { "c0", "g0", "g2" } oifname { "c0", "g0", "g2" } drop' ;;
	client) rule='iifname { "c0", "p0" } oifname { "c0", "p0" } drop' ;;
	gateway) rule='iifname { "g0", "p0" } oifname { "g0", "p0" } drop' ;;
	gateway2) rule='iifname { "g2", "p0" } oifname { "g2", "p0" } drop' ;;
	portal) rule='iifname "p0" drop; oifname "p0" drop' ;;
	esac
	in_host core nft "add table inet lab_block_$1; add chain inet lab_block_$1 f { type filter hook forward priority filter; $rule; }"
}

# What is blocked now, one line each.
net_blocks()
{
	in_host core nft list tables 2>/dev/null | sed -n 's/^table inet lab_block_/  blocked: /p'
}

net_up()
{
	net_hosts &&
		link 0 client eth0 rc lan0 &&
		link 1 rc wan0 core c0 &&
		link 2 core g0 rg wan0 &&
		link 3 rg lan0 gateway eth0 &&
		link 4 gateway eth1 server eth0 &&
		link 5 core p0 portal eth0 &&
		net_relays && net_addresses && net_routes && net_client2 && net_gateway2 && net_nat || return 1
	[ "$LAB_DIRECT" = 1 ] || net_block direct on
}

# Ends whatever still runs in our namespaces, then removes them. A namespace goes for good when its last process has.
net_down()
{
	local h pids i

	for i in TERM KILL KILL KILL KILL; do
		pids=
		for h in $ALL_HOSTS; do
			[ -e "/run/netns/$P-$h" ] && pids+=" $(ip netns pids "$P-$h" 2>/dev/null | tr '\n' ' ')"
		done
		[ -n "${pids// /}" ] || break
		# shellcheck disable=SC2086
		kill -$i $pids 2>/dev/null
		sleep 0.2
	done
	for h in $ALL_HOSTS; do
		[ -e "/run/netns/$P-$h" ] && ip netns del "$P-$h"
	done
	return 0
}
