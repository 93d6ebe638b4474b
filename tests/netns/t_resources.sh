#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Resources and flows as the operator sees and switches them. A resource's status follows its gateway: stopped,
# killed, back. A switch works on addresses and names, at once, and outlives policy's changes and a reset. Each flow
# says its resource, site, gateway, verdict, translation, executor and expiry, whoever carries it.
# timeout: 420
. "$(dirname "$0")/lib.sh"
need_lab
command -v dig >/dev/null || skip "'dig' is not installed"
SENTINEL=100.100.111.1

resource() { lab ctl client resources --json | jq -r --arg n "$1" ".resources[] | select(.name == \$n) | $2"; }
is() { [ "$(resource "$1" "$2")" = "$3" ]; }
# While somebody asks for it: a status changes by what happens, not by time.
asked_is() { ping_once "$SERVER_V4"; is server-v4 .status "$1"; }
switch() { lab ctl client resources "$@"; }
refused() { lab ctl "$1" resources "${@:3}" --json 2>/dev/null | jq -e --arg c "$2" '.error.code == $c' >/dev/null; }
leads_to() { [ "$(on client ip route get "$1" 2>/dev/null | grep -o 'dev [^ ]*')" = "dev $2" ]; }
proxied() { [ "$(on client dig +short +time=2 +tries=1 @$SENTINEL app.example A | head -n 1)" = 100.96.0.1 ]; }
# flow PROGRAM JQ-CONDITION: at least one flow is like that.
flow() { lab ctl "$1" flows --json >"$tmp/flows.json" && jq -e "[.flows[] | select($2)] | length > 0" "$tmp/flows.json" >/dev/null; }
# the same with what went wrong
shows_flow() { flow "$@" || { jq -c '.flows[]' "$tmp/flows.json" | head -5; return 1; }; }

statuses_in()
{
	ping_ok $SERVER_V4
	check "$mode: a resource in use is online, by a gateway" eval \
		'is server-v4 .status online && [ "$(resource server-v4 .gateway)" = "$(lab ctl client peers --json | jq -r ".peers[0].id")" ]'
	lab stop gateway
	check "$mode: its gateway stopped, it is not online" wait_for 10 eval '! is server-v4 .status online'
	check "$mode: asked for, it is offline" wait_for 40 asked_is offline
	check "$mode: so is its neighbour in the same site" is server-v6 .status offline
	check "$mode: nobody serves it" is server-v4 .gateway null
	lab start gateway
	check "$mode: the gateway is back, and it is online" wait_for 40 asked_is online
	lab kill gateway KILL
	rm -f "$state/pids/gateway"
	check "$mode: the gateway killed, it is unknown or offline" wait_for 60 eval '! asked_is online'
	lab start gateway
	check "$mode: and online again" wait_for 60 asked_is online
}

switches_in()
{
	local id

	id=$(resource server-v4 .id)
	check "$mode: a resource is switched off by its name" [ "$(switch disable server-v4)" = "server-v4 is off" ]
	check "$mode: its route is gone" leads_to $SERVER_V4 eth0
	check "$mode: it is not reached" fails ping_once $SERVER_V4
	check "$mode: its flows are not what they were" fails flow client '.resource_name == "server-v4" and .verdict == "allow"'
	check "$mode: its neighbour is" ping_ok $SERVER_V6
	check "$mode: the list says so" is server-v4 .enabled false
	check "$mode: said again" [ "$(switch disable "$id")" = "server-v4 is off, as before" ]
	portal_edit '.resources |= map(if .name == "server-v4" then .address_description = "changed" else . end)'
	portal_edit '.policies |= map(select(.resource != "server-v4"))'
	check "$mode: taken out of policy it is off the list" wait_for 10 eval '[ -z "$(resource server-v4 .id)" ]'
	portal_edit '.policies += [{group: "staff", resource: "server-v4"}]'
	check "$mode: back in policy it is still off" wait_for 10 is server-v4 .enabled false
	lab kill client HUP
	check "$mode: after a reset, too" wait_for 30 eval 'ping_once $SERVER_V6 && is server-v4 .enabled false'
	check "$mode: switched on by its id" [ "$(switch enable "$id")" = "server-v4 is on" ]
	check "$mode: it is reached again" wait_for 10 ping_once $SERVER_V4
	check "$mode: a name's resource works" wait_for 10 proxied
	switch disable app >/dev/null
	check "$mode: switched off, its names are not its any more" fails proxied
	check "$mode: nor do its addresses lead anywhere" fails ping_once 100.96.0.1
	switch enable app >/dev/null
	check "$mode: switched on, they are and do" eval 'proxied && wait_for 10 ping_once 100.96.0.1'
	check "$mode: no such resource" refused client not_found enable nothing
	check "$mode: no such id" refused client not_found disable 01234567-89ab-cdef-0123-456789abcdef
	check "$mode: no Internet resource" refused client not_found enable internet
	check "$mode: a gateway has no switches" refused gateway not_here disable server-v4
}

flows_in()
{
	local exec=$mode gw

	ping_ok $SERVER_V4
	on client ping -n -q -c 20 -i 0.02 -W 2 $SERVER_V4 >/dev/null
	on client ping -n -q -c 20 -i 0.02 -W 2 $SERVER_V6 >/dev/null
	on client ping -n -q -c 20 -i 0.02 -W 2 100.96.0.1 >/dev/null
	iperf_server 5201
	iperf tcp -c $SERVER_V4 -n 200K
	gw=$(lab ctl client peers --json | jq -r '.peers[0].id')
	check "$mode: client, to an address: resource, site, gateway, verdict, executor, counters" shows_flow client '
		.direction == "out" and .proto == "icmp" and (.dst | startswith("'$SERVER_V4'")) and
		.resource == "'"$(resource server-v4 .id)"'" and .resource_name == "server-v4" and
		.site.name == "lab" and .gateway == "'"$gw"'" and .peer == .gateway and .verdict == "allow" and
		.nat == null and .expires_in_s == null and .executor == "'$exec'" and
		.packets == .kernel_packets + .user_packets and .packets >= 20 and .'$exec'_packets > 10'
	check "$mode: client, and back" shows_flow client '.direction == "in" and .proto == "icmp" and
		(.src | startswith("'$SERVER_V4'")) and .resource_name == "server-v4" and .packets >= 20'
	check "$mode: client, to a name: which" shows_flow client '.direction == "out" and (.dst | startswith("100.96.0.1:")) and
		.resource_name == "app" and .name == "app.example" and .nat == null'
	check "$mode: client, TCP" shows_flow client '.proto == "tcp" and (.dst == "'$SERVER_V4':5201") and .bytes > '"$(jq .end.sum_received.bytes "$tmp/tcp.json")"
	check "$mode: gateway, from the client: with the policy's expiry" shows_flow gateway '
		.direction == "in" and .proto == "icmpv6" and .resource_name == "server-v6" and
		.expires_in_s > 3000 and .expires_in_s <= 3600 and .verdict == "allow" and .gateway_name == "lab-gateway" and
		.peer == "'"$(lab ctl gateway peers --json | jq -r '.peers[0].id')"'" and .executor == "'$exec'" and .packets >= 20'
	check "$mode: gateway, without an expiry" shows_flow gateway '.resource_name == "server-v4" and .expires_in_s == null'
	check "$mode: gateway, to a name: both addresses and ports" shows_flow gateway '
		.direction == "in" and .name == "app.example" and .nat.proxy == "100.96.0.1" and .nat.real == "'$SERVER_V4'" and
		.nat.client_port > 0 and .nat.outside_port > 0 and (":\(.nat.client_port)" as $p | .src | endswith($p))'
	check "$mode: gateway, and back" shows_flow gateway '
		.direction == "out" and .name == "app.example" and .nat.proxy == "100.96.0.1" and .nat.real == "'$SERVER_V4'" and
		(":\(.nat.outside_port)" as $p | .src | endswith($p))'
	check "$mode: text for people" eval "lab ctl gateway flows | grep -q 'app: app.example'"
	check "$mode: and of the client" eval "lab ctl client flows | grep -q 'server-v6 *lab ${gw:0:8} '"
	check "$mode: the limit limits" [ "$(lab ctl client flows --limit 2 --json | jq '.flows | length')" = 2 ]
	check "$mode: the table is bounded, and counted" eval \
		'status gateway ".tables[] | select(.name == \"user_flows\") | .used > 4 and .cap == 131072" | grep -q true'
	portal_edit '.policies |= map(select(.resource != "server-v4"))'
	check "$mode: gateway, out of policy: no flow of it is allowed" wait_for 5 fails flow gateway \
		'.resource_name == "server-v4" and .verdict == "allow"'
	check "$mode: but what it was is still told" shows_flow gateway '(.dst | startswith("'$SERVER_V4'")) and .verdict == "stale" and .resource != null'
}

resources_in()
{
	mode=$1
	lab_up MODE=$mode
	portal_edit '.resources += [{name: "app", type: "dns", address: "*.example", site: "lab"}] |
		.policies = [{group: "staff", resource: "server-v4"}, {group: "staff", resource: "app"},
			{group: "staff", resource: "server-v6", expires_at: '$(($(date +%s) + 3600))'}] |
		.dns = {upstream: ["192.0.2.10"], search_domain: null}'
	on gateway sh -c "grep -q app.example /etc/hosts || echo '$SERVER_V4 app.example' >>/etc/hosts"
	wait_for 10 eval '[ "$(resource app .type)" = dns ]' || fatal "the client has no such resource"
	statuses_in
	switches_in
	flows_in
}

for mode in $(modes); do
	resources_in "$mode"
done
finish
