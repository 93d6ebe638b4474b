#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Two clients of one gateway are given the same proxy addresses for different names, and each reaches its own; the same
# real address, port and client port at once, from two clients and by two names of one client, stay apart; TCP is
# byte-exact all the while. A proxy address means what the asking client was told and nothing else. Taking the
# policy of one of them stops that one alone. In both modes.
# timeout: 900
. "$(dirname "$0")/lib.sh"
. "$tests_dir/names_lib.sh"
need_lab
need_names

# What the gateway's own table says a name of client N stands for: "NAME ADDRESS…", for all clients.
names_at_gateway()
{
	lab ctl gateway resources --json | jq -r '[.resources[].names // [] | .[] | "\(.name) \(.proxies[0]) \(.addresses | join(" "))"] | sort | .[]'
}

# kernel: translated flows of both clients were carried there.
translated_peers()
{
	lab ctl gateway flows --json | jq '[.flows[] | select(.nat and .kernel_packets > 100) | .peer] | unique | length'
}

streams_end()
{
	local s

	for s in "$@"; do
		check "$mode: $s was byte-exact to its end" stream_end "$s"
	done
}

two_in()
{
	local mode=$1 a b other s only4

	[ "$mode" = user ] && only4=1 || only4= # and so once through the router's NAT
	lab_up MODE="$mode" LAB_CLIENTS=2 LAB_IPV4_ONLY=$only4
	names_up
	zone '10.20.8.1 a.one.test' '10.20.8.2 b.two.test' '10.20.8.3 same.one.test' '10.20.8.3 same.two.test' \
		'10.20.8.3 twin.one.test' '10.20.8.4 last.one.test' '10.20.8.5 last.two.test'
	wait_for 5 zone_says last.two.test 10.20.8.5 || fatal "the zone is not served"
	portal_edit '.resources += [{name: "one", type: "dns", address: "*.one.test", site: "lab"},
			{name: "two", type: "dns", address: "*.two.test", site: "lab"}]
		| .policies += [{actor: "alice", resource: "one"}, {actor: "bob", resource: "two"}]
		| .dns = {upstream: ["'$SERVER_V4'"], search_domain: null}'
	check "$mode: the first client resolves" wait_for 10 has_address client a.one.test
	check "$mode: the second client resolves" wait_for 10 has_address client2 b.two.test
	a=$(first_of client a.one.test) b=$(first_of client2 b.two.test)
	check "$mode: to the same proxy address, $a" [ "$a $b" = "100.96.0.1 100.96.0.1" ]
	check "$mode: which is a.one.test for the first" wait_for 10 server_is client 100.96.0.1 10.20.8.1
	check "$mode: and b.two.test for the second" wait_for 10 server_is client2 100.96.0.1 10.20.8.2
	check "$mode: the gateway has it twice" \
		[ "$(names_at_gateway | paste -sd,)" = "a.one.test 100.96.0.1 10.20.8.1,b.two.test 100.96.0.1 10.20.8.2" ]

	# the same real address, port and client's port
	a=$(first_of client same.one.test) b=$(first_of client2 same.two.test) other=$(first_of client twin.one.test)
	check "$mode: one real address has three names at two clients, $a $b $other" [ "$a $b $other" = "100.96.0.5 100.96.0.5 100.96.0.9" ]
	check "$mode: streams start" eval "stream_start one client 100.96.0.1 && stream_start two client2 100.96.0.1 &&
		stream_start same-one client $a 120 40000 && stream_start same-two client2 $b 120 40000 &&
		stream_start twin client $other 120 40000"
	for s in one two same-one same-two twin; do
		echo "# $s: $(stream_line $s)"
	done
	check "$mode: each at the right server" [ "$(for s in one two same-one same-two twin; do
		stream_line $s | cut -d' ' -f1; done | paste -sd' ')" = "10.20.8.1 10.20.8.2 10.20.8.3 10.20.8.3 10.20.8.3" ]
	check "$mode: which sees three different peers of the same address" [ "$(for s in same-one same-two twin; do
		stream_line $s | cut -d' ' -f2; done | sort -u | wc -l)" = 3 ]
	sleep 3
	[ "$mode" = user ] || check "kernel: both clients' flows are translated there" wait_for 5 eval '[ "$(translated_peers)" = 2 ]'

	# no address of one client's means anything for the other
	check "$mode: 100.96.0.9 is nothing for the second client" fails ping_from client2 100.96.0.9
	check "$mode: nor at the gateway" [ "$(names_at_gateway | grep -c ' 100.96.0.9 ')" = 1 ]
	check "$mode: the first resolves its last" [ "$(first_of client last.one.test)" = 100.96.0.13 ]
	check "$mode: the second gives 100.96.0.9 to a name of its own" [ "$(first_of client2 last.two.test)" = 100.96.0.9 ]
	check "$mode: and reaches that" wait_for 10 server_is client2 100.96.0.9 10.20.8.5
	check "$mode: the first still reaches its own there" server_is client 100.96.0.9 10.20.8.3
	check "$mode: all streams run" eval 'for s in one two same-one same-two twin; do stream_runs $s || exit 1; done'

	# one policy
	portal_edit '.policies |= map(select(.actor != "bob"))'
	check "$mode: without its policy the second client's name is not reached" wait_for 5 fails server_is client2 100.96.0.1 10.20.8.2
	check "$mode: and is a foreign one, which the portal's resolver knows" [ "$(first_of client2 b.two.test)" = 10.20.8.2 ]
	sleep 1
	for s in two same-two; do
		check "$mode: $s has stopped" fails stream_end_quick $s
	done
	check "$mode: the second client's other resources are not touched" ping_from client2 $SERVER_V4
	check "$mode: the gateway has the first client's names alone" [ -z "$(names_at_gateway | grep two.test)" ]
	sleep 2
	streams_end one same-one twin
	lab down
	lab_is_up=
}

ping_from() { on "$1" ping -n -q -c 2 -i 0.2 -W 1 "$2" >/dev/null; }

# A stream whose bytes do not come back has no good end: it is given a second to find one.
stream_end_quick()
{
	local pid

	pid=$(cat "$tmp/$1.pid")
	kill -TERM "$pid" 2>/dev/null
	sleep 1
	kill -KILL "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	grep -q '^ok' "$tmp/$1.stream"
}

for mode in $(modes); do
	two_in "$mode"
done
finish
