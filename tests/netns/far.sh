#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A network further away than the lab's: behind the gateway's second leg a router, behind that a server. Sourced after
# lib.sh; far_up once the lab is up, the rest goes with the namespaces at exit.
#
#   gateway eth2 ---- n0 hop n1 ---- eth0 far
#
# The far server knows the router alone, and the router no tunnel address: what arrives came masqueraded.

HOP_V4=10.21.0.2 HOP_V6=fd00:21::2
FAR_V4=10.22.0.10 FAR_V6=fd00:22::10
SENTINEL=100.100.111.1

inside() { nsenter --net="/run/netns/$PENSTOCK_LAB-$1" "${@:2}"; }

far_wire()
{
	ip link add name "$2" netns "$PENSTOCK_LAB-$1" type veth peer name "$4" netns "$PENSTOCK_LAB-$3" &&
		ip -n "$PENSTOCK_LAB-$1" link set "$2" up && ip -n "$PENSTOCK_LAB-$3" link set "$4" up
}

far_addr()
{
	ip -n "$PENSTOCK_LAB-$1" addr add "$3" dev "$2" && ip -n "$PENSTOCK_LAB-$1" addr add "$4" dev "$2" nodad
}

far_up()
{
	local h

	for h in hop far; do
		ip netns add "$PENSTOCK_LAB-$h" && ip -n "$PENSTOCK_LAB-$h" link set lo up || fatal "no namespace '$h'"
		inside $h sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
	done
	far_is_up=1
	inside hop sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	far_wire gateway eth2 hop n0 && far_wire hop n1 far eth0 &&
		far_addr gateway eth2 10.21.0.1/24 fd00:21::1/64 && far_addr hop n0 $HOP_V4/24 $HOP_V6/64 &&
		far_addr hop n1 10.22.0.1/24 fd00:22::1/64 && far_addr far eth0 $FAR_V4/24 $FAR_V6/64 &&
		ip -n "$PENSTOCK_LAB-far" route add default via 10.22.0.1 &&
		ip -n "$PENSTOCK_LAB-far" -6 route add default via fd00:22::1 &&
		ip -n "$PENSTOCK_LAB-gateway" route add 10.22.0.0/24 via $HOP_V4 &&
		ip -n "$PENSTOCK_LAB-gateway" -6 route add fd00:22::/64 via $HOP_V6 || fatal "no far network"
	# ICMP errors are rationed to one a second and destination; a test provokes more than a user.
	for h in hop far gateway; do
		inside $h sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000
	done
	wait_for 5 inside gateway ping -n -q -c 1 -W 1 $FAR_V4 && wait_for 5 inside gateway ping -n -q -c 1 -W 1 $FAR_V6 ||
		fatal "the far server is not reached"
}

far_down()
{
	local rc=$? h

	for h in hop far; do
		[ -z "${far_is_up:-}" ] || ip netns pids "$PENSTOCK_LAB-$h" | xargs -r kill 2>/dev/null
		ip netns del "$PENSTOCK_LAB-$h" 2>/dev/null
	done
	far_is_up=
	return $rc
}
trap 'far_down; on_exit' EXIT

# name_up NAME ADDR…: the gateway's hosts file has it.
name_up()
{
	local name=$1 a
	shift
	for a in "$@"; do
		echo "$a $name" >>"$state/hosts/gateway/hosts"
	done
}

ask() { on client dig +short +time=2 +tries=1 @$SENTINEL "$@"; }
proxy_of() { ask "$1" "$2" | head -n 1; }
has_proxy() { [ -n "$(proxy_of "$1" A)" ]; }

drops_of() { lab ctl "$1" drops --json | jq "[.reasons[] | select(.reason == \"$2\") | .packets] | add // 0"; }

# listen_to NAME HOST DEVICE FILTER: a capture into $tmp/NAME.pcap until listened.
listen_to()
{
	# Not by a function: $! must be tcpdump itself.
	nsenter --net="/run/netns/$PENSTOCK_LAB-$2" tcpdump --immediate-mode -Unni "$3" -s 0 -w "$tmp/$1.pcap" "$4" 2>"$tmp/$1.listen" >/dev/null &
	listen_pid=$!
	wait_for 5 grep -q listening "$tmp/$1.listen" || fatal "no capture on $2 $3"
}

listened()
{
	sleep 0.3
	kill "$listen_pid" 2>/dev/null
	wait "$listen_pid" 2>/dev/null
}
