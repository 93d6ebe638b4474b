#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# For tests of names: a zone served by dnsmasq on the server host, where gateways look names up, 1024 more addresses of
# the server (10.20.8.0/22), and traffic that says where it arrived. Sourced after lib.sh.
#
#   need_names            tools, or SKIP
#   names_up              after lab_up: addresses, routes, DNS server, traffic server on port 7000
#   zone LINE…            the whole zone, "ADDR NAME" each, from now on (TTL: ZONE_TTL, all names below .test)
#   ask_name HOST NAME [TYPE]   dig +short at the host's sentinel
#   server_of HOST ADDR [SPORT] which of the server's addresses answers there by TCP, and whom it sees
SENTINEL=100.100.111.1
ZONE_TTL=2

need_names()
{
	local t

	for t in dig dnsmasq python3; do
		command -v $t >/dev/null || skip "'$t' is not installed"
	done
}

names_up()
{
	local gw

	nsenter --net="/run/netns/$PENSTOCK_LAB-server" ip route add local 10.20.8.0/22 dev lo
	for gw in gateway:10.20.0.10 gateway2:10.20.1.10; do
		[ -e "/run/netns/$PENSTOCK_LAB-${gw%:*}" ] || continue
		ip -n "$PENSTOCK_LAB-${gw%:*}" route add 10.20.8.0/22 via "${gw#*:}"
		echo "nameserver $SERVER_V4" >"$state/hosts/${gw%:*}/resolv.conf"
	done
	: >"$tmp/zone"
	bg server dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --user=root --pid-file= \
		--listen-address=$SERVER_V4 --bind-interfaces --local=/test/ --local-ttl=$ZONE_TTL --neg-ttl=$ZONE_TTL \
		--addn-hosts="$tmp/zone" 2>"$tmp/dnsmasq.log"
	dnsmasq_pid=$!
	disown
	bg server python3 -B "$tests_dir/names_traffic.py" serve 7000 >"$tmp/traffic.log" 2>&1
	disown
	wait_for 10 listening server 7000 || fatal "no traffic server: $(cat "$tmp/traffic.log")"
	wait_for 10 listening server 53 || fatal "no DNS server: $(cat "$tmp/dnsmasq.log")"
}

# In place: the server has the file mounted by name only, but must never read half of it.
zone()
{
	printf '%s\n' "$@" >"$tmp/zone.new" && mv "$tmp/zone.new" "$tmp/zone" && kill -HUP $dnsmasq_pid
}

# What the server itself says: is the zone in force?
zone_says() { [ "$(on server dig +short +time=2 +tries=1 @$SERVER_V4 "$1" A | sort | paste -sd' ')" = "$2" ]; }

ask_name() { on "$1" dig +short +time=3 +tries=2 @$SENTINEL "$2" "${3:-A}"; }
first_of() { ask_name "$@" | head -n 1; }
has_address() { [ -n "$(first_of "$@")" ]; }

traffic()
{
	local host=$1
	shift
	on "$host" timeout "${TRAFFIC_LIMIT_S:-60}" python3 -B "$tests_dir/names_traffic.py" "$@" 2>&1
}

server_of() { traffic "$1" ask "$2" 7000 ${3:+"$3"}; }
server_is() { [ "$(server_of "$1" "$2" | cut -d' ' -f1)" = "$3" ]; }
udp_server_is() { [ "$(traffic "$1" ask-udp "$2" 7000 | cut -d' ' -f1)" = "$3" ]; }

# stream_start NAME HOST ADDR [SECONDS [SPORT]]: in the background; stream_end NAME [true|false] after it.
stream_start()
{
	bg "$2" timeout 200 python3 -B "$tests_dir/names_traffic.py" stream "$3" 7000 "${4:-120}" ${5:+"$5"} >"$tmp/$1.stream" 2>&1
	echo $! >"$tmp/$1.pid"
	wait_for 60 [ -s "$tmp/$1.stream" ]
}

stream_runs() { kill -0 "$(cat "$tmp/$1.pid")" 2>/dev/null; }
stream_line() { head -n 1 "$tmp/$1.stream"; }

# Ends it and says whether every byte came back as it was.
stream_end()
{
	local pid

	pid=$(cat "$tmp/$1.pid")

	kill -TERM "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	sed "s/^/# $1: /" "$tmp/$1.stream"
	grep -q '^ok [1-9]' "$tmp/$1.stream"
}

# Bytes that have come to the server on the stream to its address ADDR that has had most.
received_at()
{
	nsenter --net="/run/netns/$PENSTOCK_LAB-server" ss -Htin "src $1 sport = :7000" |
		grep -o 'bytes_received:[0-9]*' | cut -d: -f2 | sort -n | tail -n 1
}
