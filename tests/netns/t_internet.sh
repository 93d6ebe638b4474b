#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The Internet resource: off until switched on; then the client's default route is the gateway, in both families,
# while what Penstock sends itself stays outside, the LAN stays reachable, private ranges stay closed but for
# explicit resources, and the portal's resolvers are asked through the tunnel. It outlives the portal and the direct
# path. Switched off, or taken out of policy, nothing goes by it from then on, and nothing leaks out beside it.
# timeout: 600
. "$(dirname "$0")/lib.sh"
. "$tests_dir/inet_lib.sh"
need_lab
for t in dig python3; do
	command -v $t >/dev/null || skip "'$t' is not installed"
done
[ -x "$PENSTOCK_BUILD/penstock-relay" ] || fatal "$PENSTOCK_BUILD/penstock-relay is not built"
RELAY=203.0.113.130 PORTAL=192.0.2.10

# ---- what leaves the client's network, counted by its router ----
watch_up()
{
	in_ns rc nft -f - <<-END
		table inet watch {
			counter far { }
			counter portal { }
			counter relay { }
			counter outer { }
			counter inside { }
			chain forward {
				type filter hook forward priority filter; # sees what is forwarded, drops nothing
				iifname "lan0" ip daddr $FAR_V4 counter name far
				iifname "lan0" ip6 daddr $FAR_V6 counter name far
				iifname "lan0" ip daddr $PORTAL tcp dport 8443 counter name portal
				iifname "lan0" ip6 daddr 2001:db8:9::10 tcp dport 8443 counter name portal
				iifname "lan0" ip daddr $RELAY udp dport 3478 counter name relay
				iifname "lan0" ip6 daddr 2001:db8:a1::130 udp dport 3478 counter name relay
				iifname "lan0" ip daddr $GATEWAY_V4 meta l4proto udp counter name outer
				iifname "lan0" ip6 daddr $GATEWAY_V6 meta l4proto udp counter name outer
				iifname "lan0" ip saddr 100.64.0.0/10 counter name inside
				iifname "lan0" ip6 saddr fd00:2021:1111::/48 counter name inside
			}
		}
	END
}
watch_zero() { in_ns rc nft reset counters table inet watch >/dev/null; }
watched() { in_ns rc nft -j list counter inet watch "$1" | jq '.nftables[] | .counter? // empty | .packets'; }
nothing() { [ "$(watched "$1")" = 0 ]; }
something() { [ "$(watched "$1")" -gt 0 ]; }

dev_to() { on client ip route get "$1" 2>/dev/null | grep -o 'dev [^ ]*' | cut -d' ' -f2; }
leads_to() { [ "$(dev_to "$1")" = "$2" ]; }
default_routes() { for f in -4 -6; do in_ns client ip $f route show table 0x2021fd02 2>/dev/null; done; }
no_default_routes() { [ -z "$(default_routes)" ]; }
path_is() { lab ctl client peers --json | jq -e --arg p "$1" '.peers[0].path == $p' >/dev/null; }
switch() { lab ctl client resources "$1" internet; }
enabled() { lab ctl client resources --json | jq -e '.resources[] | select(.type == "internet") | .enabled == '"$1" >/dev/null; }

# Refused at once, by an error and not by silence.
unreachable() { on client ping -n -c 1 -W 3 "$1" | grep -qi unreachable; }

# ---- the stream ----
received()
{
	in_ns core ss -Htin "sport = :$FAR_PORT" | grep -o 'bytes_received:[0-9]*' | cut -d: -f2 | awk '{ n += $1 } END { print n + 0 }'
}
stream_start()
{
	local before

	bg client timeout 60 python3 -c "
import socket, time
s = socket.create_connection(('$FAR_V4', $FAR_PORT))
while True:
    s.sendall(bytes(20000)); time.sleep(0.01)" 2>/dev/null
	stream_pid=$!
	disown
	before=$(received)
	check "$mode: a stream flows" wait_for 10 eval '[ $(received) -gt $((before + 500000)) ]'
}
# ms_until_quiet: milliseconds from now until the far host has received nothing new for a second.
ms_until_quiet()
{
	local t0 last n prev=-1

	t0=$(now_ms) last=$t0
	while [ $(($(now_ms) - last)) -lt 1000 ] && [ $(($(now_ms) - t0)) -lt 8000 ]; do
		n=$(received)
		[ "$n" = "$prev" ] || last=$(now_ms)
		prev=$n
		sleep 0.03
	done
	echo $((last - t0))
}
stream_end() { kill $stream_pid 2>/dev/null; }

whoami_n=0
# dns_seen_as ADDRESS: who the upstream sees asking, as the sentinel's client learns. A new name each time: no cache.
dns_seen_as()
{
	local sentinel

	whoami_n=$((whoami_n + 1))
	sentinel=$(status client '.dns.resolvers[0].address')
	[ "$(on client dig +short +time=3 +tries=1 @"$sentinel" whoami.n$whoami_n.test TXT)" = "\"$1\"" ]
}

switched_on_in()
{
	watch_zero
	check "$mode: on, the way to the far host is the tunnel's" leads_to $FAR_V4 tun-penstock
	check "$mode: in IPv6 as well" leads_to $FAR_V6 tun-penstock
	check "$mode: the far host sees the gateway, in both families" wait_for 15 through gateway
	on client ping -n -q -c 30 -i 0.02 $FAR_V4 >/dev/null
	on client ping -n -q -c 30 -i 0.02 $FAR_V6 >/dev/null
	check "$mode: nothing of it left beside the tunnel" nothing far
	check "$mode: but the tunnel's packets did" something outer
	[ $mode != kernel ] || check "kernel: most of it was the kernel's" eval \
		"lab ctl gateway flows --json | jq -e '[.flows[] | select(.proto == \"icmp\" or .proto == \"icmpv6\") | .kernel_packets] | max >= 20' >/dev/null"
	check "$mode: the relay is still held, from outside" eval \
		'wait_for 20 something relay && lab ctl client relays --json | jq -e ".relays[0].state == \"allocated\"" >/dev/null'
}

lan_in()
{
	check "$mode: the LAN's router is reachable" ping_ok 192.168.77.1
	check "$mode: and in IPv6" ping_ok 2001:db8:c::1
	in_ns rc ip addr add 10.55.0.1/24 dev lan0
	in_ns rc ip addr add 10.66.0.1/32 dev lo
	in_ns client ip addr add 10.55.0.2/24 dev eth0
	check "$mode: a network that comes later is, too" wait_for 10 ping_once 10.55.0.1
	check "$mode: a private network behind the router is not, and that is said" unreachable 10.66.0.1
	in_ns client ip addr del 10.55.0.2/24 dev eth0
	check "$mode: without the address it is no attached network" wait_for 10 leads_to 10.55.0.1 tun-penstock
	portal_edit '.resources += [{name: "box", type: "cidr", address: "192.168.77.200/32", site: "lab"}] |
		.policies += [{group: "staff", resource: "box"}]'
	check "$mode: a resource within the LAN goes through the tunnel" wait_for 10 leads_to 192.168.77.200 tun-penstock
	check "$mode: its neighbours do not" leads_to 192.168.77.201 eth0
}

# deaf_client on|off: what the portal says does not arrive at the client.
deaf_client()
{
	if [ "$1" = on ]; then
		in_ns core nft 'add table inet deaf; add chain inet deaf f { type filter hook forward priority 0; iifname "p0" oifname "c0" drop; }'
	else
		in_ns core nft delete table inet deaf
	fi
}

private_in()
{
	check "$mode: the gateway's LAN is closed, and that is said" unreachable $DENIED_V4
	check "$mode: in IPv6 as well" unreachable $DENIED_V6
	check "$mode: an explicit resource there works" ping_ok $SERVER_V4
	check "$mode: in IPv6 as well" ping_ok $SERVER_V6
	portal_edit '.resources += [{name: "denied", type: "cidr", address: "'$DENIED_V4'/32", site: "lab"}] |
		.policies += [{group: "staff", resource: "denied"}]'
	check "$mode: it opens with a resource" wait_for 10 ping_once $DENIED_V4
	deaf_client on
	portal_edit '.policies |= map(select(.resource != "denied"))'
	check "$mode: without, a client that still sends is refused by the gateway" wait_for 5 fails ping_once $DENIED_V4
	check "$mode: and goes on to reach the Internet" through gateway
	deaf_client off
}

dns_in()
{
	portal_edit '.dns = {upstream: ["'$FAR_V4'"], search_domain: null}'
	check "$mode: the portal's resolver is asked through the tunnel" wait_for 15 dns_seen_as $GATEWAY_V4
	switch disable >/dev/null
	check "$mode: switched off, directly" wait_for 10 dns_seen_as $DIRECT_V4
	check "$mode: and the far host is reached directly, at once" through direct
	switch enable >/dev/null
	check "$mode: switched on again, through the tunnel" wait_for 10 dns_seen_as $GATEWAY_V4
}

outages_in()
{
	lab partition portal on
	check "$mode: without the portal the Internet stays, old flows and new ones" through gateway
	sleep 3
	check "$mode: it still does" through gateway
	lab partition portal off
	check "$mode: the portal's connection is outside and comes back" wait_for 90 eval '[ "$(status client .portal.state)" = connected ]'
	lab block direct
	check "$mode: the path moves to the relay" wait_for 60 path_is relayed
	check "$mode: the Internet by the relay, and the gateway" wait_for 15 through gateway
	lab unblock direct
	check "$mode: and back to the direct path" wait_for 60 path_is direct
	check "$mode: with the Internet" wait_for 15 through gateway
}

# The host's resolver lies behind the tunnel. After a reset there is no tunnel without the portal, and the portal's
# name cannot be looked up without the tunnel: it is where it was.
portal_name_in()
{
	local etc=$state/hosts/client

	cp "$etc/hosts" "$tmp/hosts"
	grep -v portal "$tmp/hosts" >"$tmp/hosts.less"
	cat "$tmp/hosts.less" >"$etc/hosts"
	echo "nameserver $FAR_V4" >"$etc/resolv.conf"
	lab kill client HUP
	check "$mode: reset, with the host's resolver behind the tunnel: the portal is found" wait_for 40 eval \
		'[ "$(status client .portal.state)" = connected ] && through gateway'
	cat "$tmp/hosts" >"$etc/hosts"
	echo "nameserver 127.0.0.1" >"$etc/resolv.conf"
}

switched_off_in()
{
	local quiet

	stream_start
	watch_zero
	check "$mode: the operator's word is done when it is said" [ "$(switch disable)" = "Internet Resource is off" ]
	quiet=$(ms_until_quiet)
	check "$mode: no default route is left" no_default_routes
	check "$mode: the stream is quiet after $quiet ms, at most 1000" at_most "$quiet" 1000
	check "$mode: new connections go directly" through direct
	check "$mode: nothing left the host with the tunnel's address" nothing inside
	stream_end
	check "$mode: said again" [ "$(switch disable)" = "Internet Resource is off, as before" ]
	switch enable >/dev/null
	check "$mode: and on again" wait_for 10 through gateway

	stream_start
	watch_zero
	revoke_internet
	quiet=$(ms_until_quiet)
	check "$mode: out of policy, the stream is quiet after $quiet ms, at most 2000" at_most "$quiet" 2000
	check "$mode: no default route is left" no_default_routes
	check "$mode: new connections go directly" through direct
	check "$mode: nothing left the host with the tunnel's address" nothing inside
	stream_end
	grant_internet
	check "$mode: back in policy it is on as it was" wait_for 10 through gateway
	check "$mode: the other resource was never touched" ping_ok $SERVER_V4
}

hidden_from_others()
{
	setpriv --reuid 65534 --regid 65534 --clear-groups "$PENSTOCK_BUILD/penstock" --instance "$PENSTOCK_LAB-client" \
		resources disable internet >/dev/null 2>&1
	[ $? = 4 ] && enabled true
}

left_behind()
{
	{
		in_ns client ip rule
		in_ns client ip -6 rule
	} | grep -E '^3200[0-9]:'
	for t in 0x2021fd00 0x2021fd01 0x2021fd02; do
		in_ns client ip route show table $t 2>/dev/null
		in_ns client ip -6 route show table $t 2>/dev/null
	done
}

internet_in()
{
	mode=$1
	lab_up MODE=$mode LAB_RELAYS=1
	watch_up
	[ $mode != kernel ] || in_ns client sysctl -qw net.ipv4.conf.eth0.rp_filter=1
	far_up
	in_ns core timeout 900 python3 "$tests_dir/dns_zone.py" $FAR_V4:53 >/dev/null 2>&1 &
	disown
	check "$mode: policy has it, the user has not switched it on" enabled false
	check "$mode: so the far host is reached directly" wait_for 10 through direct
	check "$mode: the operator switches it on" [ "$(switch enable)" = "Internet Resource is on" ]
	check "$mode: which another user cannot undo" hidden_from_others
	switched_on_in
	lan_in
	private_in
	dns_in
	outages_in
	portal_name_in
	switched_off_in
	FIREZONE_ACTIVATE_INTERNET_RESOURCE=true lab restart client
	check "$mode: a client started with it on" wait_for 30 through gateway
	lab restart client
	check "$mode: a switch is not remembered" eval 'wait_for 20 listed internet && enabled false'
	check "$mode: and the way is direct" wait_for 10 through direct
	switch enable >/dev/null
	check "$mode: on" wait_for 20 through gateway
	lab kill client KILL
	rm -f "$state/pids/client"
	# A connection begun before the kernel has taken the device from the dead process would wait for its answer in vain.
	check "$mode: killed, its device goes" wait_for 5 fails in_ns client ip link show tun-penstock
	check "$mode: killed, it forwards nothing and blocks nothing" wait_for 5 through direct
	lab start client
	check "$mode: and comes up anew" lab wait 30
	switch enable >/dev/null
	check "$mode: on" wait_for 20 through gateway
	lab stop client
	check "$mode: stopped, nothing is left behind" [ -z "$(left_behind)" ]
	[ $mode != kernel ] || check "kernel: the reverse-path filter is strict again" \
		[ "$(in_ns client sysctl -n net.ipv4.conf.eth0.rp_filter)" = 1 ]
}

for mode in $(modes); do
	internet_in "$mode"
done
finish
