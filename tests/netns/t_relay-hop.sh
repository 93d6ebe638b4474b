#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# alone
# timeout: 240
#
# The relay's switch on an ordinary host, where forwarding is off: one interface, a default router g with clients c and
# peers p behind it, and a host l on the same link. Next hop `auto` gives the kernel what goes by the router; what is on
# the link user space relays; another address of the router is noticed, announced or not.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/relay_lib.sh"
relay_need
need_bpf
relay_nets="c r p g l"
trap relay_exit EXIT

plug() # FROM-NS NAME TO-NS NAME
{
	ip -n "$ns-$1" link add "$2" type veth peer name "$4" netns "$ns-$3"
	ip -n "$ns-$1" link set "$2" up
	ip -n "$ns-$3" link set "$4" up
	# as a network would: whole checksums, and somebody to receive what XDP sends
	ip netns exec "$ns-$1" ethtool -K "$2" tx off gro on >/dev/null 2>&1 || skip "ethtool cannot set up veth"
	ip netns exec "$ns-$3" ethtool -K "$4" tx off gro on >/dev/null 2>&1
}

address() # NS DEVICE IPv4 IPv6
{
	ip -n "$ns-$1" addr add "$3/24" dev "$2"
	ip -n "$ns-$1" addr add "$4/64" dev "$2"
}

default_via() # NS IPv4 IPv6
{
	ip -n "$ns-$1" route replace default via "$2"
	ip -n "$ns-$1" -6 route replace default via "$3"
}

for n in $relay_nets; do
	ip netns add "$ns-$n" || fatal "no namespace"
	ip netns exec "$ns-$n" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
	ip -n "$ns-$n" link set lo up
done
ip netns exec "$ns-g" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
ip netns exec "$ns-r" sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 net.ipv4.ip_local_port_range="20000 40000"
ip -n "$ns-g" link add br0 address 02:00:00:00:01:01 type bridge
ip -n "$ns-g" link set br0 up
plug g gr r re
plug g gl l l0
# a veth takes what a native program sends only by a program of its own
ip -n "$ns-g" link set dev gr xdpdrv obj "$root/build/bpf/pass.bpf.o" sec xdp || skip "no native XDP on veth"
ip -n "$ns-g" link set gr master br0
ip -n "$ns-g" link set gl master br0
address g br0 10.91.1.254 fd91:1::ff
address r re 10.91.1.1 fd91:1::1
address l l0 10.91.1.3 fd91:1::3
default_via r 10.91.1.254 fd91:1::ff
for n in c:1 p:2; do
	plug g "g${n%:*}" "${n%:*}" "${n%:*}0"
	address g "g${n%:*}" "10.92.${n#*:}.254" "fd92:${n#*:}::ff"
	address "${n%:*}" "${n%:*}0" "10.92.${n#*:}.2" "fd92:${n#*:}::2"
	default_via "${n%:*}" "10.92.${n#*:}.254" "fd92:${n#*:}::ff"
done

counted()
{
	relay_ctl status '.counters | "\(.kernel_rx_packets) \(.kernel_tx_packets) \(.user_rx_packets) \(.user_tx_packets)"'
}

# whole RELAY PEER ARG…: nothing changed; what saturates a queue may lose one in two hundred there, and one in a thousand
# may be overtaken, where the kernel takes over from user space. $up and $down are packets by the kernel, $user by user space.
whole()
{
	local a b

	a=($(counted))
	RELAY_AT=$1 PEER_AT=$2 load --seconds 1 --direction both --no-gso --window 64 --allocs 3 "${@:3}" >"$tmp/load.json" 2>"$tmp/load.err" ||
		{ cat "$tmp/load.err"; return 1; }
	b=($(counted))
	up=$((b[0] - a[0])) down=$((b[1] - a[1])) user=$((b[2] + b[3] - a[2] - a[3]))
	echo "# kernel $up + $down, user space $user"
	jq -e '[.up, .down] | all(.received > 100 and .lost * 200 <= .sent and .bad == 0 and .late * 1000 <= .sent and .unmarked == 0)' "$tmp/load.json" >/dev/null ||
		{ cat "$tmp/load.json"; return 1; }
}

# The kernel relays 95 of a hundred packets.
by_kernel() { whole "$@" && [ $((up + down)) -gt 1000 ] && [ $((user * 19)) -le $((up + down)) ]; }
by_user() { whole "$@" && [ "$user" -gt 100 ] && [ $((up + down)) = 0 ]; }
hop_is() { relay_ctl status '.kernel.hops[] | select(.family == '"$1"') | .why' | grep -q "$2"; }
hops_are() { hop_is 4 "$1" && hop_is 6 "$1"; }

for mode in native generic; do
	relay_start --xdp-iface re --xdp-required --xdp-mode $mode
	check "$mode: the router is found" wait_for 3 hops_are 02:00:00:00:01:01
	check "$mode: IPv4 to IPv4" by_kernel 10.91.1.1:3478 10.92.2.2
	check "$mode: IPv4 to IPv6" by_kernel 10.91.1.1:3478 fd92:2::2
	check "$mode: IPv6 to IPv4" by_kernel "[fd91:1::1]:3478" 10.92.2.2
	check "$mode: IPv6 to IPv6" by_kernel "[fd91:1::1]:3478" fd92:2::2
	# the client is behind the router, and so the way to it is the kernel's
	check "$mode: a peer on the link" whole 10.91.1.1:3478 10.91.1.3 --peer-ns "$ns-l"
	check "$mode: to it user space, from it the kernel" test "$up" = 0 -a "$down" -gt 100 -a "$user" -gt 100
	check "$mode: a client on the link too" by_user "[fd91:1::1]:3478" fd91:1::3 --peer-ns "$ns-l" --client-ns "$ns-l"
	seen() { [ "$(relay_ctl drops '[.reasons[] | select(.reason == "rxdp_near") | .packets] | add')" -gt 100 ]; }
	check "$mode: counted by a reason of its own" seen
	relay_stop
	check "$mode: it ended well" test "$relay_rc" = 0
done

relay_start --xdp-iface re --xdp-required
check "the table names the link" test "$(relay_ctl status '.kernel.hops[0].not_behind | join(" ")')" = 10.91.1.0/24
ip netns exec "$ns-g" sysctl -qw net.ipv4.conf.br0.arp_notify=1 net.ipv6.conf.br0.ndisc_notify=1
wait_for 3 hops_are 02:00:00:00:01:01
ip -n "$ns-g" link set br0 address 02:00:00:00:02:02
check "another address of the router is followed in 2 s" wait_for 2 hops_are 02:00:00:00:02:02
check "and used" by_kernel 10.91.1.1:3478 10.92.2.2
ip netns exec "$ns-g" sysctl -qw net.ipv4.conf.br0.arp_notify=0 net.ipv6.conf.br0.ndisc_notify=0
ip -n "$ns-g" link set br0 address 02:00:00:00:03:03
check "one it does not announce in 20 s" wait_for 20 hops_are 02:00:00:00:03:03
check "and used" by_kernel 10.91.1.1:3478 fd92:2::2

# More specific routes, to the router and to somebody else.
ip -n "$ns-r" route add 10.92.2.0/25 via 10.91.1.254
check "a route of its own to the router" by_kernel 10.91.1.1:3478 10.92.2.2
ip -n "$ns-g" addr add 10.91.1.253/24 dev br0
ip -n "$ns-r" route add 10.92.2.2/32 via 10.91.1.253
listed() { relay_ctl status '.kernel.hops[0].not_behind | join(" ")' | grep -q 10.92.2.2/32; }
check "a route to another gateway is noticed" wait_for 3 listed
check "and not the router's" whole 10.91.1.1:3478 10.92.2.2
check "but user space's" test "$up" = 0 -a "$down" -gt 100
ip -n "$ns-r" route del 10.92.2.2/32
wait_for 3 fails listed

ip -n "$ns-r" route replace default via 10.91.1.99
check "a router that does not answer" wait_for 5 hop_is 4 "10.91.1.99.*unresolved"
ip -n "$ns-r" route del default
check "none at all" wait_for 5 hop_is 4 "no default router"
check "the other family goes on" by_kernel "[fd91:1::1]:3478" fd92:2::2
default_via r 10.91.1.254 fd91:1::ff
check "and back" wait_for 5 hops_are 02:00:00:00:03:03
check "in the kernel" by_kernel 10.91.1.1:3478 10.92.2.2
relay_stop

# A second interface with clients: out of the right one.
ip -n "$ns-l" link set l0 down
plug r rl l l1
address r rl 10.93.1.1 fd93:1::1
address l l1 10.93.1.3 fd93:1::3
default_via l 10.93.1.1 fd93:1::1
for mode in native generic; do
	relay_start --xdp-iface re,rl --xdp-required --xdp-mode $mode
	wait_for 3 hops_are 02:00:00:00:03:03
	check "$mode: a client on another interface" whole 10.91.1.1:3478 10.92.2.2 --client-ns "$ns-l"
	check "$mode: from it by the kernel, to it by user space" test "$up" -gt 100 -a "$down" = 0 -a "$user" -gt 100
	relay_stop
done
relay_start --xdp-iface rl --xdp-required
check "where the way out has no switch" wait_for 3 hops_are "behind re"
check "user space relays" by_user 10.91.1.1:3478 10.92.2.2 --client-ns "$ns-l"
relay_stop
finish
