#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 420
#
# Packets inside grow as far as the path carries them, and no further: a direct path of 1500 bytes, one that is narrower,
# one that gets narrower under a transfer, IPv6 outside, a relay. A peer that answers no probe keeps 1280. What
# comes to the tunnel device longer than the connection carries is answered, on either side and in both executors. The
# MSS that the gateway's firewall writes follows.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/relayed.sh"
relayed_need
command -v dig >/dev/null || skip "'dig' is not installed"

size() { lab ctl "$1" peers --json | jq -r '.peers[0].mtu.size'; }
state() { lab ctl "$1" peers --json | jq -r '.peers[0].mtu.state'; }
sizes_are() { [ "$(size client)" = "$1" ] && [ "$(size gateway)" = "$1" ]; }
both_complete() { [ "$(state client)" = complete ] && [ "$(state gateway)" = complete ]; }
between() { [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]; }
sizes_between() { both_complete && between "$(size client)" "$1" "$2" && between "$(size gateway)" "$1" "$2"; }
# An IPv4 packet of so many bytes gets there and back, in one piece.
fits() { on client ping -n -q -c 2 -i 0.2 -W 2 -M "do" -s $(($1 - 28)) ${2:-$SERVER_V4} >/dev/null 2>&1; }
fits6() { on client ping -n -q -c 2 -i 0.2 -W 2 -M "do" -s $(($1 - 48)) $SERVER_V6 >/dev/null 2>&1; }
drops() { lab ctl "$1" drops --all --json | jq "[.reasons[] | select(.reason == \"$2\") | .packets] | add // 0"; }
tun_route() { on "$1" ip route show table 0x2021fd00 | grep "^$2 "; }
# What the operator might do: a route that promises more than there is. $3…: more of it.
force_route()
{
	local host=$1 net=$2
	shift 2
	on "$host" ip route replace "$net" dev tun-penstock table 0x2021fd00 proto static "$@"
}
client_address() { lab ctl gateway peers --json | jq -r '.peers[0].ipv4'; }
narrow() { ip -n "$PENSTOCK_LAB-core" link set c0 mtu "$1" && ip -n "$PENSTOCK_LAB-rc" link set wan0 mtu "$1"; }
# The MSS that the server sends with on its connection of that port.
server_mss() { nsenter --net="/run/netns/$PENSTOCK_LAB-server" ss -Htin "sport = :$1" | grep -o ' mss:[0-9]*' | head -n 1 | cut -d: -f2; }

# All names share one route; their gateway is the same, and has nothing to be asked again.
names()
{
	local mode=$1

	portal_edit '.resources += [{"name":"app","type":"dns","address":"*.example","site":"lab"}] |
		.policies += [{"group":"staff","resource":"app"}] | .dns = {"upstream":["192.0.2.10"],"search_domain":null}'
	on gateway sh -c "echo '$SERVER_V4 app.example' >>/etc/hosts"
	resolves() { [ "$(on client dig +short +time=2 +tries=1 @100.100.111.1 app.example A | head -n 1)" = 100.96.0.1 ]; }
	check "$mode: a name resolves" wait_for 10 resolves
	check "$mode: it is reached" wait_for 10 ping_once 100.96.0.1
	check "$mode: its route has the gateway's size" wait_for 5 eval "tun_route client 100.96.0.0/11 | grep -q 'mtu 1440'"
	check "$mode: 1440 bytes pass to a proxy address" fits 1440 100.96.0.1
	check "$mode: 1441 do not" fails fits 1441 100.96.0.1
}

# Links of 1600 bytes, then the client's own one of 1400: noticed without a new path, and without a probe that is lost.
own_links()
{
	local at t0

	for at in client:eth0 rc:lan0 rc:wan0 core:c0 core:g0 rg:wan0 rg:lan0 gateway:eth0; do
		ip -n "$PENSTOCK_LAB-${at%:*}" link set "${at#*:}" mtu 1600
	done
	took "links get wider: 1500 inside" 20 sizes_are 1500
	check "1500 bytes pass" fits 1500
	ip -n "$PENSTOCK_LAB-client" link set eth0 mtu 1400
	took "the client's own link gets narrower: the client knows at once" 10 eval '[ $(size client) = 1340 ]'
	check "1340 bytes pass" fits 1340
	ip -n "$PENSTOCK_LAB-client" link set eth0 mtu 1600
}

# Probes are switched off on the gateway: it is like any other peer.
silent_peer()
{
	PENSTOCK_TUNNEL_MTU=1280 lab restart gateway
	check "a peer that does not answer: the tunnel stands" lab wait 40
	sleep 5
	check "a peer that does not answer: 1280 it stays" sizes_are 1280
	check "1280 bytes pass" fits 1280
	check "1281 do not" fails fits 1281
	check "the client asks no more" [ "$(state client)" = base ]
}

too_long()
{
	local mode=$1 before addr

	before=$(drops client utx_too_big)
	force_route client $SERVER_V4 mtu 1500
	on client ping -n -c 3 -i 0.2 -W 1 -M "do" -s 1472 $SERVER_V4 >"$tmp/ping" 2>&1
	check "$mode: too long, and the sender hears how long it may be" grep -q "mtu = 1440\|mtu=1440" "$tmp/ping"
	check "$mode: and it is counted" [ "$(drops client utx_too_big)" -gt "$before" ]
	on client ip route flush cache
	force_route client $SERVER_V4 mtu 1440

	# From behind the gateway: the error finds its way through the masquerade.
	addr=$(client_address)
	before=$(drops gateway utx_too_big)
	force_route gateway "$addr" mtu 1500
	iperf mss_flood -c $SERVER_V4 -u -R -l 1472 -b 2M -t 2
	check "$mode: the server hears of it, too" wait_for 5 eval \
		"nsenter --net=/run/netns/$PENSTOCK_LAB-server ip route get 10.20.0.1 | grep -q 'mtu 1440'"
	check "$mode: counted at the gateway" [ "$(drops gateway utx_too_big)" -gt "$before" ]
	nsenter --net="/run/netns/$PENSTOCK_LAB-server" ip route flush cache
	force_route gateway "$addr" mtu 1440
}

mss_follows()
{
	local mode=$1 pid

	force_route client $SERVER_V4 mtu 1440 advmss 1460
	bg client iperf3 -c $SERVER_V4 -t 60 -b 1M >"$tmp/mss" 2>&1
	pid=$!
	check "$mode: the firewall bounds the MSS by the client's route (1440 - 40 - 12)" wait_for 5 eval '[ "$(server_mss 5201)" = 1388 ]'
	kill $pid
	wait $pid 2>/dev/null
	force_route client $SERVER_V4 mtu 1440
}

direct()
{
	local mode=$1 t0 down before

	lab_up MODE="$mode" LAB_IPV4_ONLY=1
	took "$mode: 1440 bytes on a path of 1500" 20 sizes_are 1440
	check "$mode: the client's route says so" eval "tun_route client $SERVER_V4 | grep -q 'mtu 1440'"
	check "$mode: so does the gateway's to the client" eval 'tun_route gateway "$(client_address)" | grep -q "mtu 1440"'
	check "$mode: 1440 bytes pass" fits 1440
	check "$mode: 1441 do not" fails fits 1441
	if [ "$mode" = kernel ]; then
		before=$(status client .counters.kernel_tx_bytes)
		on client ping -n -q -c 20 -i 0.05 -M "do" -s 1412 $SERVER_V4 >/dev/null
		check "kernel: long packets are the kernel's" [ $(($(status client .counters.kernel_tx_bytes) - before)) -ge 20000 ]
		before=$(status client .counters.kernel_rx_bytes)
		on client ping -n -q -c 20 -i 0.05 -M "do" -s 1412 $SERVER_V4 >/dev/null
		check "kernel: in both directions" [ $(($(status client .counters.kernel_rx_bytes) - before)) -ge 20000 ]
	fi
	names "$mode"
	iperf_server 5201
	mss_follows "$mode"
	too_long "$mode"

	stream_start
	bg client iperf3 -c $SERVER_V4 -R -t 25 -b 5M -J --connect-timeout 5000 >"$tmp/down.json" 2>&1
	down=$!
	sleep 2
	narrow 1400
	t0=$(now_ms)
	check "$mode: a transfer survives a path that gets narrower" stream_moves 60
	echo "# $mode: it moves again after $(($(now_ms) - t0)) ms"
	took "$mode: and the size that passes is found (up to 1340)" 60 sizes_between 1332 1340
	echo "# $mode: client $(size client), gateway $(size gateway)"
	check "$mode: packets of that size pass" fits "$(size client)"
	check "$mode: it is one transfer all along" stream_held
	stream_stop
	check "$mode: a transfer the other way survives, too" wait $down
	check "$mode: and carries at its end" [ "$(jq ".intervals[-10:] | map(.sum.bytes) | add" "$tmp/down.json")" -gt 500000 ]
	echo "# $mode: seconds in which nothing came: $(jq '[.intervals[] | select(.sum.bytes == 0)] | length' "$tmp/down.json")"
	lab restart client
	check "$mode: narrow from the start" lab wait 40
	took "$mode: found from the start" 40 sizes_between 1332 1340
	narrow 1500
	if [ "$mode" = user ]; then
		own_links
		silent_peer
	fi
	lab down
	lab_is_up=
}

for mode in $(modes); do
	direct "$mode"
done

lab_up MODE=user LAB_IPV6_ONLY=1
took "IPv6 outside: 1420" 20 sizes_are 1420
check "IPv6 outside: they pass" fits 1420
check "an IPv6 resource is reached" wait_for 10 ping_once $SERVER_V6
check "and has the same size" wait_for 5 fits6 1420
check "no more" fails fits6 1421
lab down

lab_up MODE=auto LAB_IPV4_ONLY=1 LAB_RELAYS=1 LAB_DIRECT=0
check "through a relay" path_is relayed
took "through a relay: 1416, whatever the other side of the relay is like" 30 sizes_are 1416
check "through a relay: they pass" fits 1416
check "through a relay: no more" fails fits 1417
check "through a relay: the relay cut nothing in two" [ "$(on relay1 nstat -asz IpFragCreates | awk '/IpFragCreates/ { print $2 }')" = 0 ]
finish
