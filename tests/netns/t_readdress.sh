#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The portal hands the client other tunnel addresses: with the old ones the kernel drops the device's routes, and
# they come back; traffic passes from the new address.
# timeout: 120
. "$(dirname "$0")/lib.sh"
need_lab

routes() { nsenter --net="/run/netns/$PENSTOCK_LAB-client" ip route show table all dev tun-penstock | grep -c "$SERVER_V4"; }
address() { status client .tunnel.ipv4; }

lab_up MODE=user
old=$(address) old6=$(status client .tunnel.ipv6)
check "the server is routed into the tunnel" [ "$(routes)" = 1 ]
lab stop portal
sed "s/\"$old\"/\"100.64.7.77\"/; s/\"$old6\"/\"fd00:2021:1111::74d\"/" "$state/portal-state.json" >"$tmp/state" && cat "$tmp/state" >"$state/portal-state.json"
check "the portal's state had the old address" grep -q '100.64.7.77' "$state/portal-state.json"
lab start portal
check "the client takes the new address" wait_for 30 eval '[ "$(address)" = 100.64.7.77 ]'
check "the device has it" on client sh -c 'ip addr show dev tun-penstock | grep -q 100.64.7.77/32'
check "the server is still routed into the tunnel" wait_for 3 eval '[ "$(routes)" = 1 ]'
lab kill client HUP
check "and reached" wait_for 20 ping_once $SERVER_V4
finish
