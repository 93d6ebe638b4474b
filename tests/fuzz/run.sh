#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Coverage-guided fuzzing: tests/fuzz/run.sh [TARGET [SECONDS]]. Builds build/fuzz/fuzz_<target> with
# libFuzzer, ASan and UBSan and runs it from the checked-in corpus for SECONDS (default 30). New inputs
# go to build/fuzz/corpus/<target>, a crashing one to build/fuzz/crash/<target>-*; a crash exits non-zero.
set -u
cd "$(dirname "$0")/../.." || exit 2
want=${1:-}
want=${want#fuzz_}
seconds=${2:-}
seconds=${seconds:-30}
case $seconds in *[!0-9]*) echo "fuzz: SECONDS must be a number, not '$seconds'" >&2; exit 2 ;; esac

targets=()
for src in tests/fuzz/fuzz_*.c; do
	[ -e "$src" ] || continue
	n=$(basename "$src" .c)
	n=${n#fuzz_}
	[ -z "$want" ] || [ "$want" = "$n" ] && targets+=("$n")
done
if [ ${#targets[@]} -eq 0 ]; then
	echo "fuzz: no target '$want'; known: $(ls tests/fuzz/fuzz_*.c 2>/dev/null | sed 's|.*/fuzz_||; s|\.c$||' | tr '\n' ' ')" >&2
	exit 2
fi

rc=0
for n in "${targets[@]}"; do
	make --no-print-directory "build/fuzz/fuzz_$n" || { rc=1; continue; }
	mkdir -p "build/fuzz/corpus/$n" build/fuzz/crash
	log=build/fuzz/$n.log
	if "build/fuzz/fuzz_$n" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="build/fuzz/crash/$n-" "build/fuzz/corpus/$n" "tests/fuzz/corpus/$n" >"$log" 2>&1; then
		printf 'ok    fuzz %-20s %s runs, %s new inputs\n' "$n" \
			"$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
			"$(sed -n 's/^stat::new_units_added: *//p' "$log")"
	else
		printf 'FAIL  fuzz %-20s\n' "$n"
		tail -n 60 "$log" | sed 's/^/      | /'
		rc=1
	fi
done
exit $rc
