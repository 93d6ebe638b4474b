#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The portal is stopped for 60 s: an established TCP stream and a ping through the tunnel do not notice; when it
# returns, both sides join again. OUTAGE_S changes the length.
# timeout: 300
. "$(dirname "$0")/lib.sh"
need_lab
OUTAGE_S=${OUTAGE_S:-60}
IPERF_LIMIT_S=$((OUTAGE_S + 30))

lab_up
iperf_server 5201
bg client ping -n -i 0.2 -w $((OUTAGE_S + 4)) $SERVER_V6 >"$tmp/ping" 2>&1
ping_pid=$!
iperf stream -c $SERVER_V4 -t $((OUTAGE_S + 4)) -b 20M -i 1 &
stream_pid=$!
sleep 2
lab stop portal
check "the portal is stopped" fails program_runs portal
sleep "$OUTAGE_S"
check "gateway: portal connection is reported lost" [ "$(status gateway .portal.state)" != connected ]
check "client: portal connection is reported lost" [ "$(status client .portal.state)" != connected ]
lab start portal
wait $stream_pid
check "the stream ran to its end" [ $? = 0 ]
slow=$(jq '[.intervals[].sum.bits_per_second | select(. < 10000000)] | length' "$tmp/stream.json")
check "no second of the stream fell below half its rate ($slow did)" [ "$slow" = 0 ]
wait $ping_pid
lost=$(sed -n 's/.* \([0-9.]*\)% packet loss.*/\1/p' "$tmp/ping")
check "ping lost $lost %, at most 0.5" at_most "$lost" 0.5
check "gateway joins again" wait_for 60 eval '[ "$(status gateway .portal.state)" = connected ]'
check "client joins again" wait_for 60 eval '[ "$(status client .portal.state)" = connected ]'
check "traffic still flows" ping_ok $SERVER_V4
finish
