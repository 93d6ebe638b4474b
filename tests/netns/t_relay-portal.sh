#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 120
#
# The relay at the portal: joins, serves on while the portal is away, comes back by itself, leaves first when it
# drains; a refused token ends it.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/relay_lib.sh"
relay_need
[ -x "$PENSTOCK_BUILD/penstock-portal" ] || fatal "penstock-portal is not built"
relay_net_up

token=$(openssl rand -hex 32 2>/dev/null || head -c 32 /dev/urandom | od -An -tx1 | tr -d " \n")
jq -n --arg t "$(printf %s $token | sha256sum | cut -d' ' -f1)" --arg s "$tmp/state.json" '{
	account_slug: "t", state_file: $s, listen: [{address: "127.0.0.1:8081"}], sites: [{name: "s"}],
	gateways: [], clients: [], relays: [{name: "r", token_sha256: $t}], resources: [], policies: []}' >"$tmp/portal.json"

portal_pid=
portal_up()
{
	ip netns exec "$ns-r" "$PENSTOCK_BUILD/penstock-portal" --config "$tmp/portal.json" >>"$tmp/relay-portal.log" 2>&1 &
	portal_pid=$!
}
portal_down() { kill "$portal_pid" && wait "$portal_pid" 2>/dev/null; }
portal_is() { [ "$(relay_ctl status .portal.state)" = "$1" ]; }
get() { ip netns exec "$ns-r" curl -s -o /dev/null -m 5 -w '%{http_code}' "http://127.0.0.1:8088$1"; }
health() { [ "$(get /healthz) $(get /readyz)" = "$1 $2" ]; }
relays() { load --direction both --seconds 1 --window 64 | jq -e '.up.received > 100 and .up.lost == 0' >/dev/null; }

portal_up
export PENSTOCK_TOKEN=$token
relay_start --api-url ws://127.0.0.1:8081/ --health-check-addr 127.0.0.1:8088 --log-level debug
check "it joins" wait_for 10 portal_is connected
check "healthy and ready" health 200 200
check "no secret is in the log" fails grep -q "$token" "$tmp/relay.log"
not_in_proc() { ! tr '\0' '\n' <"/proc/$relay_pid/environ" | grep -q "^PENSTOCK_TOKEN=$token"; }
check "the token is gone from the environment" not_in_proc

portal_down
check "the portal's absence is noticed" wait_for 10 portal_is backoff
check "it relays without" relays
check "healthy, but not for new clients" health 200 503
portal_up
check "it comes back" wait_for 30 portal_is connected

load --direction both --seconds 3 --window 64 >"$tmp/drain.json" 2>&1 &
loader=$!
one_there() { [ "$(relay_ctl status .relay.allocations)" = 1 ]; }
wait_for 5 one_there || fatal "no allocation"
kill -TERM "$relay_pid"
check "draining it has left the portal" wait_for 3 portal_is none
check "and is there" kill -0 "$relay_pid"
kill -TERM "$relay_pid"
gone() { ! kill -0 "$relay_pid" 2>/dev/null; }
check "the second signal ends it" wait_for 3 gone
wait "$relay_pid"
check "with success" test $? = 0
relay_pid=
wait $loader

PENSTOCK_TOKEN=wrong ip netns exec "$ns-r" timeout 20 "$PENSTOCK_BUILD/penstock-relay" --public-ip4-addr 10.91.1.1 \
	--instance "$ns" --api-url ws://127.0.0.1:8081/ >"$tmp/relay-wrong.log" 2>&1
check "a refused token: status 3" test $? = 3
PENSTOCK_TOKEN=wrong PENSTOCK_USER=a:b ip netns exec "$ns-r" timeout 4 "$PENSTOCK_BUILD/penstock-relay" \
	--public-ip4-addr 10.91.1.1 --instance "$ns" --api-url ws://127.0.0.1:8081/ >"$tmp/relay-wrong2.log" 2>&1
check "unless somebody else is served" grep -q 'giving up.*relaying_on=true' "$tmp/relay-wrong2.log"
ip netns exec "$ns-r" "$PENSTOCK_BUILD/penstock-relay" --public-ip4-addr 10.91.1.1 >"$tmp/relay-none.log" 2>&1
check "nobody to serve: status 2" test $? = 2
portal_down
finish
