#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A client on a machine without IPv6 sockets, and a gateway whose host has IPv6 switched off: IPv4 carries, SIGHUP
# on the client works, and both end cleanly.
# timeout: 120
. "$(dirname "$0")/lib.sh"
need_lab

without="$PENSTOCK_BUILD/tests/netns/h_no-ipv6"
[ -x "$without" ] || fatal "$without is not built"
"$without" true || skip "seccomp filters are not available here"

LAB_PROGRAMS="portal" MODE=user LAB_IPV4_ONLY=1 lab up || fatal "lab up failed"
lab_is_up=1
nsenter --net="/run/netns/$PENSTOCK_LAB-gateway" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
check "the gateway starts with IPv6 switched off" lab start gateway
bg client "$without" "$PENSTOCK_BUILD/penstock-client" --api-url wss://portal.lab:8443/ --ca-file "$state/tls/ca.pem" \
	--token-path "$state/client.token" --instance "$PENSTOCK_LAB-client" --id-file "$tmp/id.json" --mode user \
	--log-format json >"$state/logs/client.log" 2>&1
pid=$!
check "IPv4 carries" wait_for 20 ping_once $SERVER_V4
check "the gateway says what it lacks" grep -q 'one address family' "$state/logs/gateway.log"
check "the client has no IPv6 socket" grep -q '"udp6":0' "$state/logs/client.log"
kill -HUP $pid
check "SIGHUP resets" wait_for 5 grep -q 'resetting connections' "$state/logs/client.log"
check "IPv4 carries again" wait_for 20 ping_once $SERVER_V4
kill -TERM $pid
wait $pid
check "the client ends with status 0" [ $? = 0 ]
check "so does the gateway" lab stop gateway
finish
