#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A relayed connection moves to the direct path as soon as there is one, without a lost packet, and back to the relay
# within the ICE timeout when there is none any more; one TCP transfer goes on throughout.
# timeout: 300
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/relayed.sh"
relayed_need

move_in()
{
	local mode=$1 pinger lost

	lab_up MODE="$mode" LAB_DIRECT=0 LAB_RELAYS=2
	check "$mode: it begins relayed" path_is relayed
	stream_start
	bg client ping -n -i 0.05 -c 400 $SERVER_V4 >"$tmp/ping" 2>&1
	pinger=$!
	sleep 2
	lab unblock direct
	took "$mode: relayed to direct" 30 path_is direct
	check "$mode: the transfer goes on" stream_moves 10
	wait $pinger
	lost=$(sed -n 's/^\([0-9]*\) packets transmitted, \([0-9]*\) .*/\1 \2/p' "$tmp/ping" | awk '{ print $1 - $2 }')
	check "$mode: no ping was lost on the way to direct ($lost)" [ "$lost" = 0 ]

	lab block direct
	took "$mode: direct to relayed" 40 path_is relayed
	took "$mode: the transfer goes on again" 60 stream_moves 60
	check "$mode: ping" ping_ok $SERVER_V6 3
	check "$mode: it was one transfer" stream_held
	stream_stop
}

for mode in $(modes); do
	move_in "$mode"
done
finish
