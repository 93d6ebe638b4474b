#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Names with one family and with both, end to end (t_names.sh has the rest): each family of the name is reached by its own
# proxy addresses, TCP byte-exact, in the kernel and in user space; the family a name does not have is "unreachable" at
# once. The real address by itself is reached by nobody, and with the policy gone the gateway forgets the names.
# timeout: 240
. "$(dirname "$0")/lib.sh"
. "$tests_dir/e2e.sh"
need_lab
command -v dig >/dev/null || skip "'dig' is not installed"

SENTINEL=100.100.111.1
NAME=app.example.test ONE=four.example.test

ask() { on client dig +short +time=2 +tries=1 @$SENTINEL "$@"; }
resolves() { [ -n "$(ask $NAME A)" ]; }

names_set_up() { lab ctl gateway resources --json | jq -r '[.resources[] | .names // [] | .[] | .name] | sort | join(" ")'; }
drops_of() { lab ctl gateway drops --json | jq "[.reasons[] | select(.reason == \"$1\") | .packets] | add // 0"; }
no_ping() { ! ping_once "$1"; }

names_in()
{
	local mode=$1 a4 a6 b4 b6 before i

	lab_up MODE="$mode"
	# DENIED_V4 is the server as well, and no other resource covers it.
	printf '%s %s\n' $DENIED_V4 $NAME $DENIED_V6 $NAME $DENIED_V4 $ONE >>"$state/hosts/gateway/hosts"
	portal_edit ".dns = {upstream: [\"$SERVER_V4\"]}
		| .resources += [{name: \"app\", type: \"dns\", address: \"*.example.test\", site: \"lab\"}]
		| .policies += [{group: \"staff\", resource: \"app\"}]"
	check "$mode: the sentinel answers" wait_for 10 resolves
	a4=$(ask $NAME A | head -n 1) a6=$(ask $NAME AAAA | head -n 1)
	b4=$(ask $ONE A | head -n 1) b6=$(ask $ONE AAAA | head -n 1)
	echo "# $NAME $a4 $a6, $ONE $b4 $b6"
	check "$mode: four addresses of each family" [ "$(ask $NAME A | wc -l) $(ask $NAME AAAA | wc -l)" = "4 4" ]
	for i in $a4 $a6 $b4; do
		check "$mode: $i answers" ping_ok "$i" 3
	done
	before=$(drops_of urx_nat_unreachable)
	check "$mode: $b6 is unreachable" no_ping "$b6"
	check "$mode: and the gateway said so" at_least "$(drops_of urx_nat_unreachable)" $((before + 1))
	check "$mode: the gateway holds both names" [ "$(names_set_up)" = "$NAME $ONE" ]
	echo_server
	check_echo "$a4"
	check_echo "$a6"
	iperf_server 5201
	check_tcp "${mode}_up" "$a4"
	check_tcp "${mode}_down" "$a6" -R
	[ "$mode" = user ] || check "kernel: flows are translated there" at_least \
		"$(lab ctl gateway flows --json | jq '[.flows[] | select(.nat and .kernel_packets > 1000)] | length')" 1
	nsenter --net="/run/netns/$PENSTOCK_LAB-client" ip route add $DENIED_V4/32 dev tun-penstock
	check "$mode: the real address is not reached by itself" no_ping $DENIED_V4
	portal_edit 'del(.policies[] | select(.resource == "app"))'
	check "$mode: without the policy the gateway forgets the names" wait_for 5 names_gone
	check "$mode: and nothing passes" no_ping "$a4"
	check "$mode: other resources still answer" ping_ok $SERVER_V4
}

names_gone() { [ -z "$(names_set_up)" ]; }

for mode in $(modes); do
	names_in "$mode"
done
finish
