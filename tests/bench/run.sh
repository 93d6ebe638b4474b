#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the benchmarks: tests/bench/run.sh [BENCH]. Every build/tests/bench/b_* and tests/bench/b_*.sh prints JSON lines
# {"bench":…,"metric":…,"unit":…,"median":…,"min":…,"max":…,"n":…,"env":{…}}; BENCH names a program (with
# or without b_) or is handed to all of them as the filter of their cases. stdout is JSON lines only. A script that needs
# more than 900 s for all it has says so in its head: "# timeout: SECONDS".
set -u
cd "$(dirname "$0")/../.." || exit 2
BUILD=build${SAN:+/san}
want=${1:-}
ran=0 lines=0 rc=0 skipped=
work=$(mktemp -d /tmp/penstock-bench.XXXXXX) || exit 2
tmp=$work/out pid=
trap 'rm -rf "$work"' EXIT
# timeout(1) leads a process group of its own: what runs is ended through it.
trap '[ -z "$pid" ] || { kill $pid; wait $pid; } 2>/dev/null; exit 130' INT TERM
mkfifo "$work/pipe" || exit 2

# LIMIT CMD…: its lines of JSON go on, and are kept as well; what a test harness says besides goes to stderr.
run()
{
	local one

	awk '/^\{/ { print; fflush(); next } { print >"/dev/stderr" }' <"$work/pipe" | tee "$tmp" &
	timeout -k 20 "$@" >"$work/pipe" &
	pid=$!
	wait $pid
	one=$?
	pid=
	wait
	return $one
}

filter=$want
for src in tests/bench/b_*.c tests/bench/b_*.sh; do
	[ -e "$src" ] && n=$(basename "${src%.*}") && case $want in "$n" | "${n#b_}") filter= ;; esac
done
for src in tests/bench/b_*.c tests/bench/b_*.sh; do
	[ -e "$src" ] || continue
	n=$(basename "${src%.*}")
	[ -n "$want" ] && [ -z "$filter" ] && [ "$want" != "$n" ] && [ "$want" != "${n#b_}" ] && continue
	bin=$BUILD/tests/bench/$n
	[ "$src" = "${src%.sh}" ] || bin=$src
	if [ ! -x "$bin" ]; then
		echo "bench: not built: $bin" >&2
		rc=1
		continue
	fi
	ran=$((ran + 1))
	limit=$(sed -n '1,20s/^# timeout: *\([0-9][0-9]*\).*/\1/p' "$src" | head -n 1)
	run "${limit:-900}" "$bin" ${filter:+"$filter"}
	one=$?
	lines=$((lines + $(grep -c '^{' "$tmp")))
	if [ "$one" = 77 ]; then
		echo "bench: $n skipped" >&2
		skipped=1
	elif [ "$one" != 0 ]; then
		echo "bench: $n failed (exit $one)" >&2
		rc=1
	fi
done
if [ -n "$want" ] && [ "$lines" = 0 ] && [ $rc = 0 ] && [ -z "$skipped" ]; then
	echo "bench: nothing is called '$want'" >&2
	rc=2
fi
[ "$ran" -gt 0 ] || echo "bench: no benchmark is built" >&2
exit $rc
