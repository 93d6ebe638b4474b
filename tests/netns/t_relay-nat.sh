#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Symmetric NATs on both sides, IPv4 and IPv6: no hole can be punched, so the relay carries everything, and each side
# reaches it from a port of its own.
# timeout: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/relayed.sh"
relayed_need

behind()
{
	local name=$1 mode=$2
	shift 2
	lab_up MODE="$mode" LAB_NAT=symmetric LAB_RELAYS=1 "$@"
	check "$name: the path is relayed" path_is relayed
	check "$name: ping" ping_ok $SERVER_V4 5
	check "$name: ping IPv6" ping_ok $SERVER_V6 5
	iperf_server 5201
	for dir in "" -R; do
		check "$name: TCP ${dir:-up} runs" iperf tcp -c $SERVER_V4 -t 2 $dir && check "$name: TCP ${dir:-up} carries" at_least "$(iperf_bps tcp)" 5000000
	done
	check "$name: it stays relayed" path_is relayed
}

for mode in $(modes); do
	behind "$mode, both families" "$mode"
	behind "$mode, IPv4" "$mode" LAB_IPV4_ONLY=1
done
finish
