#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Penstock's test runner: one line per test program, full output only for a failed one.
#
#   tests/run.sh                everything (what `make test` runs)
#   tests/run.sh unit sim       groups: unit sim policy fuzz-replay bpf interop netns vm
#   tests/run.sh revoke         one test by name: tests/netns/t_revoke.sh, test_addr or addr, …
#   tests/run.sh list           the names
#
# Environment: SAN=1 runs the sanitizer build (build/san). T_TIMEOUT=seconds overrides every limit. T_JOBS=N: how
# many tests run at a time, by default one a core. Those of bpf and vm, and scripts with a line "# alone" in their
# head, have the machine to themselves, after all others. T_AGAIN=N: when at most N tests failed, and all of them are of
# netns, whose programs meet real time on a machine that may stand still, each is run once more, alone. What passes then
# counts as passed, and is named as unsteady in the last lines with what had failed: a bug to be found, in it or in us.
#
# Tests are derived from their sources, so one that was not built is a failure, not an absence. A test
# passes with exit 0, is skipped with exit 77 (its last line says why) and fails otherwise; a script
# may carry a line "# timeout: SECONDS" in its head. The closing line is "N passed, N failed, N skipped";
# behind it, when one test alone was run and ended with a line of figures (steps=N …), that line.
set -u
cd "$(dirname "$0")/.." || exit 2

BUILD=build${SAN:+/san}
export PENSTOCK_BUILD=$BUILD
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0:exitcode=99}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}"

GROUPS_KNOWN="unit sim policy fuzz-replay bpf interop netns vm"
T_JOBS=${T_JOBS:-$(nproc)}
passed=0 failed=0 skipped=0
failed_names=() failed_tests=() unsteady=()
figures=
work=$(mktemp -d /tmp/penstock-test.XXXXXX) || exit 2
trap 'rm -rf "$work"' EXIT
# timeout(1) leads a process group of its own: what runs is ended through it.
trap 'jobs -p | xargs -r kill 2>/dev/null; wait; exit 130' INT TERM

# One line a test: "group name seconds command…" on stdout.
inventory()
{
	local f n

	for f in tests/unit/test_*.c; do
		[ -e "$f" ] && n=$(basename "$f" .c) && echo "unit $n 120 $BUILD/tests/unit/$n"
	done
	echo "unit lint-selftest 120 bash tools/check/selftest.sh"
	for f in tests/sim/scn_*.c; do
		[ -e "$f" ] && n=$(basename "$f" .c) && echo "sim $n 600 $BUILD/tests/sim/$n"
	done
	for f in tests/policy/test_*.c; do
		[ -e "$f" ] && n=$(basename "$f" .c) && echo "policy $n 600 $BUILD/tests/policy/$n"
	done
	for f in tests/fuzz/fuzz_*.c; do
		[ -e "$f" ] && n=$(basename "$f" .c) &&
			echo "fuzz-replay $n 300 $BUILD/tests/fuzz/$n tests/fuzz/corpus/${n#fuzz_}"
	done
	for f in tests/bpf/test_*.c; do
		[ -e "$f" ] && n=$(basename "$f" .c) && echo "bpf $n 600 $BUILD/tests/bpf/$n"
	done
	for f in tests/interop/t_*.sh; do
		[ -e "$f" ] && echo "interop $(basename "$f" .sh) $(script_limit "$f") bash $f"
	done
	for f in tests/netns/t_*.sh; do
		[ -e "$f" ] && echo "netns $(basename "$f" .sh) $(script_limit "$f") bash $f"
	done
	[ -e tests/vm/run.sh ] && echo "vm vm_kernels $(script_limit tests/vm/run.sh) bash tests/vm/run.sh"
}

script_limit()
{
	local s

	s=$(sed -n '1,20s/^# timeout: *\([0-9][0-9]*\).*/\1/p' "$1" | head -n 1)
	echo "${s:-300}"
}

# Does test NAME of GROUP answer to WANT? Names lose their file prefix: t_revoke is "revoke".
answers_to()
{
	local group=$1 name=$2 want=$3

	[ "$want" = "$group" ] || [ "$want" = "$name" ] || [ "$want" = "${name#*_}" ]
}

# execute N NAME LIMIT CMD…: leaves $work/N.out and, last, $work/N.rc with "status seconds".
execute()
{
	local n=$1 limit=${T_TIMEOUT:-$3} start rc

	shift 3
	start=$(date +%s%N)
	if [ "$1" != bash ] && [ ! -x "$1" ]; then
		echo "not built: $1" >"$work/$n.out"
		rc=1
	else
		timeout -k 20 "$limit" "$@" >"$work/$n.out" 2>&1 </dev/null &
		trap "kill $! 2>/dev/null; wait $!; exit 130" TERM
		wait $!
		rc=$?
	fi
	awk -v rc=$rc -v ns=$(($(date +%s%N) - start)) 'BEGIN { printf "%d %.2fs\n", rc, ns / 1e9 }' >"$work/$n.tmp"
	mv "$work/$n.tmp" "$work/$n.rc"
}

# report N GROUP NAME LIMIT: one line, and the output of a failure.
report()
{
	local out=$work/$1.out group=$2 name=$3 limit=${T_TIMEOUT:-$4} rc took why inner

	read -r rc took <"$work/$1.rc"
	figures=$(tail -n 1 "$out" | grep '^steps=[0-9]')
	case $rc in
	0)
		passed=$((passed + 1))
		inner=$(grep -c '^ok .*# SKIP' "$out")
		if [ "$inner" -gt 0 ]; then
			why=$(sed -n 's/^ok .*# SKIP *//p' "$out" | sort -u | head -n 1)
			inner=" ($inner inside skipped: $why)"
		else
			inner=
		fi
		printf 'ok    %-11s %-28s %s%s\n' "$group" "$name" "$took" "$inner"
		;;
	77)
		skipped=$((skipped + 1))
		why=$(grep -i 'skip' "$out" | grep -v '^# checks=' | tail -n 1)
		printf 'SKIP  %-11s %-28s %s\n' "$group" "$name" "${why:-(no reason given)}"
		;;
	*)
		failed=$((failed + 1))
		failed_tests+=("$group/$name")
		# what failed in it, once more in the last lines
		why=$(grep -E '^(not ok|fatal)' "$out" | head -n 5 | sed 's/^/    /')
		failed_names+=("$group/$name${why:+$'\n'}$why")
		[ "$rc" = 124 ] || [ "$rc" = 137 ] && why="timeout after ${limit}s" || why="exit $rc"
		printf 'FAIL  %-11s %-28s %s (%s)\n' "$group" "$name" "$took" "$why"
		sed 's/^/      | /' "$out"
		;;
	esac
	rm -f "$work/$1".*
}

# Reports, in order, of what has ended; with "all" it waits for the rest.
reported=0
started=()
catch_up()
{
	while [ $reported -lt ${#started[@]} ]; do
		if [ ! -e "$work/$reported.rc" ]; then
			[ "${1:-}" = all ] || return 0
			wait -n
			continue
		fi
		# shellcheck disable=SC2086 # group, name, limit
		report $reported ${started[reported]}
		reported=$((reported + 1))
	done
}

# is_alone GROUP CMD…: has it the machine to itself?
is_alone()
{
	case $1 in bpf | vm) return 0 ;; esac
	[ "$2" = bash ] && sed -n 1,20p "$3" | grep -q '^# alone'
}

run_one()
{
	local group=$1 name=$2 limit=$3 jobs=$T_JOBS

	shift 3
	[ "$turn" = together ] || jobs=1
	[ "$jobs" -gt 1 ] || catch_up all
	while [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do
		wait -n
		catch_up
	done
	execute ${#started[@]} "$name" "$limit" "$@" &
	started+=("$group $name $limit")
	[ "$jobs" -gt 1 ] || catch_up all
}

# What T_AGAIN says. A test that is skipped now has failed all the same.
again()
{
	local tests=("${failed_tests[@]}") names=("${failed_names[@]}") i before group name limit cmd

	[ "$failed" -gt 0 ] && [ "$failed" -le "${T_AGAIN:-0}" ] || return 0
	for i in "${tests[@]}"; do
		[ "${i%%/*}" = netns ] || return 0
	done
	echo "once more, each alone: ${tests[*]}"
	failed=0 failed_names=() failed_tests=() turn=alone
	for i in "${!tests[@]}"; do
		before="$passed $failed"
		while read -r -u 3 group name limit cmd; do
			# shellcheck disable=SC2086 # as below
			[ "$group/$name" != "${tests[i]}" ] || run_one "$group" "$name" "$limit" $cmd
		done 3<<<"$all"
		case "$passed $failed" in
		"$before") failed=$((failed + 1)) failed_names+=("${names[i]}") ;;
		"${before% *} "*) ;;
		*) unsteady+=("${names[i]}") ;;
		esac
	done
}

all=$(inventory)
[ $# -eq 0 ] && set -- $GROUPS_KNOWN
if [ "$1" = list ]; then
	echo "groups: $GROUPS_KNOWN"
	while read -r group name _; do
		[ -n "$group" ] && printf '%-12s %s\n' "$group" "${name#*_}"
	done <<<"$all"
	exit 0
fi

for want in "$@"; do
	known=
	for g in $GROUPS_KNOWN; do
		[ "$want" = "$g" ] && known=1
	done
	while [ -z "$known" ] && read -r group name _; do
		[ -n "$group" ] && answers_to "$group" "$name" "$want" && known=1
	done <<<"$all"
	if [ -z "$known" ]; then
		echo "run.sh: no suite '$want'; known: $GROUPS_KNOWN $(awk '{ sub(/^[^_]*_/, "", $2); print $2 }' \
			<<<"$all" | sort -u | tr '\n' ' ')" >&2
		exit 2
	fi
done

# shellcheck disable=SC2086 # cmd is "program argument…" without spaces inside
for turn in together alone; do
	while read -r -u 3 group name limit cmd; do
		is_alone "$group" $cmd && kind=alone || kind=together
		[ -n "$group" ] && [ "$kind" = "$turn" ] || continue
		for want in "$@"; do
			if answers_to "$group" "$name" "$want"; then
				run_one "$group" "$name" "$limit" $cmd
				break
			fi
		done
	done 3<<<"$all"
	catch_up all
done

again

for name in "${unsteady[@]}"; do
	echo "unsteady: $name"
done
for name in "${failed_names[@]}"; do
	echo "failed: $name"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ -n "$figures" ] && [ $((passed + failed)) -eq 1 ] && echo "$figures"
[ "$failed" -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
