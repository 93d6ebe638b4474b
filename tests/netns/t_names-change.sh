#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A name whose addresses change while it is in use: what runs goes on to where it began, byte-exact, and what is new after
# the application's next query goes to the new address; a family the name loses is "unreachable" at once, so is all of it
# when the name vanishes, and it is back when the name is. The proxy addresses stay the same. In both modes.
# timeout: 900
. "$(dirname "$0")/lib.sh"
. "$tests_dir/names_lib.sh"
need_lab
need_names

NAME=svc.change.test OTHER=other.change.test

# As an application that resolves before it connects: arrives ADDR-OF-PROXY SERVER-ADDRESS
arrives() { ask_name client $NAME >/dev/null && server_is client "$1" "$2"; }
# A refusal that comes at once says so; one that must be waited for does not count.
unreachable() { ask_name client $NAME >/dev/null && traffic client ask "$1" 7000 | grep -qE 'unreachable|No route to host'; }
translated_to()
{
	lab ctl gateway flows --json | jq -e --arg a "$1" '[.flows[] | select(.nat and .kernel_packets > 100 and .nat.real == $a)] | length > 0' >/dev/null
}
grows()
{
	local before

	before=$(received_at "$1")
	sleep 1
	at_least "$(received_at "$1")" $((${before:-0} + 10000))
}

change_in()
{
	local mode=$1 a4 a6

	lab_up MODE="$mode"
	names_up
	zone "10.20.8.1 $NAME" "fd00:20::10 $NAME" "10.20.8.9 $OTHER"
	wait_for 5 zone_says $NAME 10.20.8.1 || fatal "the zone is not served"
	portal_edit '.resources += [{name: "change", type: "dns", address: "*.change.test", site: "lab"}]
		| .policies += [{group: "staff", resource: "change"}] | .dns = {upstream: ["'$SERVER_V4'"], search_domain: null}'
	check "$mode: the name resolves" wait_for 10 has_address client $NAME
	a4=$(first_of client $NAME) a6=$(first_of client $NAME AAAA)
	check "$mode: $a4 is 10.20.8.1" wait_for 10 arrives "$a4" 10.20.8.1
	check "$mode: $a6 is fd00:20::10" wait_for 10 arrives "$a6" fd00:20::10
	check "$mode: a stream runs" stream_start old client "$a4" 200
	check "$mode: to 10.20.8.1" grows 10.20.8.1
	[ "$mode" = user ] || check "kernel: translated there" wait_for 5 translated_to 10.20.8.1

	zone "10.20.8.2 $NAME" "fd00:20::99 $NAME" "10.20.8.9 $OTHER"
	check "$mode: without a query nothing changes" server_is client "$a4" 10.20.8.1
	check "$mode: after a query new connections go to 10.20.8.2" wait_for 15 arrives "$a4" 10.20.8.2
	check "$mode: and datagrams" udp_server_is client "$a4" 10.20.8.2
	check "$mode: and IPv6 to fd00:20::99" wait_for 10 arrives "$a6" fd00:20::99
	check "$mode: the proxy addresses are what they were" [ "$(first_of client $NAME) $(first_of client $NAME AAAA)" = "$a4 $a6" ]
	check "$mode: the old stream goes on to the old address" grows 10.20.8.1
	check "$mode: a second stream runs" stream_start new client "$a4" 200
	check "$mode: to the new address" grows 10.20.8.2
	[ "$mode" = user ] || check "kernel: both are translated there" wait_for 5 eval 'translated_to 10.20.8.1 && translated_to 10.20.8.2'

	zone "fd00:20::99 $NAME" "10.20.8.9 $OTHER"
	check "$mode: without IPv4 address it is unreachable by IPv4" wait_for 15 unreachable "$a4"
	check "$mode: and reached by IPv6" arrives "$a6" fd00:20::99
	zone "10.20.8.9 $OTHER"
	check "$mode: a name that is gone is unreachable" wait_for 15 unreachable "$a6"
	check "$mode: by either family" unreachable "$a4"
	check "$mode: streams go on meanwhile" eval 'grows 10.20.8.1 && grows 10.20.8.2'
	check "$mode: another name is reached" server_is client "$(first_of client $OTHER)" 10.20.8.9
	zone "10.20.8.3 $NAME" "10.20.8.9 $OTHER"
	check "$mode: it comes back, at a third address" wait_for 15 arrives "$a4" 10.20.8.3
	check "$mode: the first stream was byte-exact to its end" stream_end old
	check "$mode: the second, too" stream_end new
	lab down
	lab_is_up=
}

for mode in $(modes); do
	change_in "$mode"
done
finish
