#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Patterns of names that overlap, each with filters of its own, so that what passes says which resource decided: one label,
# any number of labels, the name itself, its case, character classes, two resources with one pattern. The most specific one
# decides alone; when its policy goes, the next one does, under other addresses, and the old ones mean nothing. Filters
# that change count from the next packet on. In both modes.
# timeout: 900
. "$(dirname "$0")/lib.sh"
. "$tests_dir/names_lib.sh"
need_lab
need_names

TRAFFIC_LIMIT_S=5 # for what is asked while it changes

# passes ADDR: which of "icmp tcp udp" do.
passes()
{
	{
		ping_once "$1" && echo icmp
		server_is client "$1" 10.20.8.1 && echo tcp
		udp_server_is client "$1" 10.20.8.1 && echo udp
	} | paste -sd' '
}

passes_is() { [ "$(passes "$(first_of client "$1")")" = "$2" ]; }
# The portal's resolver knows it, by its real address: it is no resource's.
foreign() { [ "$(first_of client "$1")" = 10.20.8.1 ]; }
# The client knows the filters, so that nothing of this reaches the gateway.
filters_refused() { lab ctl client drops --json | jq '[.reasons[] | select(.reason == "utx_filtered") | .packets] | add // 0'; }

patterns_in()
{
	local mode=$1 old new a n

	lab_up MODE="$mode"
	names_up
	zone "10.20.8.1 x.test a.x.test b.a.x.test exact.x.test n7.x.test n77.x.test other.y.test app.y.test s.same.test only.z.test"
	wait_for 5 zone_says s.same.test 10.20.8.1 || fatal "the zone is not served"
	portal_edit 'def dns($name; $address; $filters): {name: $name, type: "dns", address: $address, site: "lab", filters: $filters};
		def one($p): [{protocol: $p} + if $p == "icmp" then {} else {port_range_start: 7000, port_range_end: 7000} end];
		.resources += [dns("star"; "*.x.test"; one("tcp")), dns("deep"; "**.x.test"; one("udp")),
				dns("exact"; "exact.x.test"; one("icmp")), dns("digit"; "n[0-9].x.test"; one("icmp") + one("udp")),
				dns("mixed"; "a?p.y.test"; one("tcp")), dns("z"; "only.z.test"; []),
				dns("low"; "*.same.test"; one("tcp")) + {id: "11111111-1111-4111-8111-111111111111"},
				dns("high"; "*.same.test"; one("udp")) + {id: "eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee"}]
		| .policies += [("star", "deep", "exact", "digit", "mixed", "z", "low", "high") | {group: "staff", resource: .}]
		| .dns = {upstream: ["'$SERVER_V4'"], search_domain: null}'
	check "$mode: the names resolve" wait_for 10 has_address client only.z.test
	check "$mode: a resource without filters lets everything pass" wait_for 30 passes_is only.z.test "icmp tcp udp"
	check "$mode: a.x.test is *.x.test" passes_is a.x.test tcp
	check "$mode: and so is x.test" passes_is x.test tcp
	check "$mode: b.a.x.test is **.x.test" passes_is b.a.x.test udp
	check "$mode: exact.x.test is itself" passes_is exact.x.test icmp
	check "$mode: n7.x.test is n[0-9].x.test" passes_is n7.x.test "icmp udp"
	check "$mode: n77.x.test is *.x.test" passes_is n77.x.test tcp
	check "$mode: app.y.test is a?p.y.test" passes_is app.y.test tcp
	check "$mode: other.y.test is nobody's" foreign other.y.test
	check "$mode: case does not count" [ "$(first_of client A.X.Test)" = "$(first_of client a.x.test)" ]
	check "$mode: of two resources with one pattern the larger id decides" passes_is s.same.test udp
	check "$mode: the client counts what filters refuse" at_least "$(filters_refused)" 5

	old=$(first_of client exact.x.test)
	portal_edit '.policies |= map(select(.resource != "exact" and .resource != "high"))'
	check "$mode: without its own policy exact.x.test is *.x.test" wait_for 30 passes_is exact.x.test tcp
	new=$(first_of client exact.x.test)
	check "$mode: at another address" [ "$new" != "$old" ]
	check "$mode: the old one means nothing" [ -z "$(passes "$old")" ]
	check "$mode: the other resource of that pattern decides" wait_for 30 passes_is s.same.test tcp
	portal_edit '.policies += [{group: "staff", resource: "exact"}] | .policies |= map(select(.resource != "star"))'
	check "$mode: with its policy it is itself again" wait_for 30 passes_is exact.x.test icmp
	check "$mode: at the old address" [ "$(first_of client exact.x.test)" = "$old" ]
	check "$mode: which is all that passes" [ -z "$(passes "$new")" ]
	check "$mode: a.x.test is **.x.test now" wait_for 30 passes_is a.x.test udp

	a=$(first_of client only.z.test)
	stream_start filtered client "$a" 60
	portal_edit '(.resources[] | select(.name == "z") | .filters) = [{protocol: "icmp"}]'
	check "$mode: filters that change count for what resolved before" wait_for 10 eval "[ \"\$(passes $a)\" = icmp ]"
	sleep 1
	n=$(received_at 10.20.8.1)
	sleep 2
	check "$mode: and stop a stream that runs" [ "$(received_at 10.20.8.1)" = "$n" ]
	portal_edit '(.resources[] | select(.name == "z") | .filters) = []'
	check "$mode: changed back, the stream goes on to its end" wait_for 10 eval "[ \"\$(passes $a)\" = 'icmp tcp udp' ]"
	sleep 3
	check "$mode: byte-exact" stream_end filtered
	lab down
	lab_is_up=
}

for mode in $(modes); do
	patterns_in "$mode"
done
finish
