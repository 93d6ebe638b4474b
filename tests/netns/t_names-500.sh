#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# 500 names of one wildcard resource: each is resolved and reached, all within a minute, and answered by the server that
# name stands for; then again, when everything is known already, 64 at a time and all at once. Prints what it took: time,
# names a second, memory of both daemons. NAMES changes the number (up to 1000). In both modes.
# timeout: 420
. "$(dirname "$0")/lib.sh"
. "$tests_dir/names_lib.sh"
need_lab
need_names

NAMES=${NAMES:-500}

rss_kib() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(cat "$state/pids/$1" | cut -d' ' -f1)/status"; }
memory() { echo "client $(rss_kib client) KiB, gateway $(rss_kib gateway) KiB"; }
held() { lab ctl gateway resources --json | jq '[.resources[].names // [] | .[] | select(.addresses | length > 0)] | length'; }

# all_names NAME AT-ONCE: their JSON in $tmp/NAME.json
all_names()
{
	on client timeout 120 python3 -B "$tests_dir/names_traffic.py" names $SENTINEL 7000 "$tmp/zone" "$2" >"$tmp/$1.json"
}

all_in()
{
	local mode=$1 run at_once

	lab_up MODE="$mode"
	names_up
	mapfile -t lines < <(seq 0 $((NAMES - 1)) | awk '{ n = $1 + 1; printf "10.20.%d.%d n%d.many.test\n", 8 + int(n / 256), n % 256, $1 }')
	zone "${lines[@]}"
	wait_for 10 zone_says "n$((NAMES - 1)).many.test" "${lines[-1]%% *}" || fatal "the zone is not served"
	portal_edit '.resources += [{name: "many", type: "dns", address: "*.many.test", site: "lab"}]
		| .policies += [{group: "staff", resource: "many"}] | .dns = {upstream: ["'$SERVER_V4'"], search_domain: null}'
	wait_for 10 has_address client many.test || fatal "no resource"
	echo "# $mode: before: $(memory)"
	for run in first:64 second:64 third:$NAMES; do
		at_once=${run#*:} run=${run%:*}
		check "$mode: $run time: $NAMES names, $at_once at once, resolved and reached" all_names $run "$at_once"
		echo "# $mode: $run time: $(cat "$tmp/$run.json")"
		check "$mode: $run time: within a minute" at_most "$(jq .seconds "$tmp/$run.json")" 60
		check "$mode: $run time: every name had an address of its own" [ "$(jq .different "$tmp/$run.json")" = "$NAMES" ]
	done
	echo "# $mode: after: $(memory)"
	check "$mode: the gateway holds all of them" at_least "$(held)" "$NAMES"
	check "$mode: nothing was refused for want of room" [ "$(lab ctl gateway drops --json | jq '[.reasons[] | select(.reason | test("full|exhausted")) | .packets] | add // 0')" = 0 ]
	lab down
	lab_is_up=
}

for mode in $(modes); do
	all_in "$mode"
done
finish
