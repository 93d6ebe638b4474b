#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Bulk keeps nothing else waiting: client and gateway share one processor with streams both ways that take all of it, and
# meanwhile ticks come, the operator is answered, the portal's heartbeats (30 s) are kept, no path is lost and the session is
# renewed (120 s).
# timeout: 420
. "$(dirname "$0")/lib.sh"
need_lab
LOAD=${LOAD_SECONDS:-140}

lag_ms() { status "$1" '.control.lag_max_us / 1000 | floor'; }
peer() { lab ctl "$1" peers --json | jq -r ".peers[0] | $2"; }

on_one_cpu()
{
	local prog pid

	for prog in client gateway; do
		pid=$(pgrep -f "penstock-$prog .*--instance $PENSTOCK_LAB-$prog( |\$)" | head -1)
		check "$prog on one processor" taskset -apc 0 "$pid" >/dev/null
	done
}

# Answers of both within so many seconds.
answered()
{
	timeout 3 "$root/tools/lab/lab" ctl client status --json >/dev/null &&
		timeout 3 "$root/tools/lab/lab" ctl gateway status --json >/dev/null
}

lab_up MODE=user
iperf_server 5201 5202
on_one_cpu
since_client=$(status client .portal.connected_s) since_gateway=$(status gateway .portal.connected_s)
path=$(peer gateway ".remote | tojson")
t0=$(now_ms)
for dir in up down; do
	bg client taskset -c 0 iperf3 -c "$SERVER_V4" -p $([ $dir = up ] && echo 5201 || echo 5202) -P 4 -t "$LOAD" -J \
		$([ $dir = up ] || echo -R) >"$tmp/load-$dir"
	pids="${pids:-} $!"
done
asked=0 answers=0
while [ $(($(now_ms) - t0)) -lt $(((LOAD - 5) * 1000)) ]; do
	asked=$((asked + 1))
	answered && answers=$((answers + 1))
	sleep 4
done
passed=$((($(now_ms) - t0) / 1000))
check "the operator was answered each time ($answers of $asked)" [ "$answers" = "$asked" ]
for side in client gateway; do
	since=since_$side
	echo "# $side: latest tick $(lag_ms $side) ms late"
	check "$side: no tick was a second late" at_most "$(lag_ms $side)" 1000
	check "$side: never without the portal" at_least "$(status $side .portal.connected_s)" $((${!since} + passed - 5))
done
check "the session was renewed meanwhile" at_most "$(peer gateway .last_handshake_s)" $((passed - 100))
check "on the path there was" [ "$(peer gateway ".remote | tojson")" = "$path" ]
for pid in $pids; do
	check "a stream went on to its end" wait "$pid"
done
for dir in up down; do
	echo "# $dir: $(jq -r '.end.sum_received.bits_per_second / 1e6 | floor' "$tmp/load-$dir") Mbit/s"
	check "$dir: and was bulk" at_least "$(jq -r '.end.sum_received.bits_per_second | floor' "$tmp/load-$dir")" 50000000
done
finish
