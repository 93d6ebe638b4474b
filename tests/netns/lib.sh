#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Helpers for the namespace tests (t_*.sh): a lab of their own, polling, iperf3, counters, checks.
#
#   . "$(dirname "$0")/lib.sh"
#   need_lab                 root, tools and programs are there, or exit 77 with the reason
#   MODE=kernel lab_up       a lab named after the test; torn down at exit, logs checked for sanitizer reports
#   check "what" CMD…        one line "ok"/"not ok"; the script goes on, finish makes the verdict
#   finish
set -u
tests_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$tests_dir/../.." && pwd)
cd "$root" || exit 2

test_name=$(basename "$0" .sh)
test_name=${test_name#t_}
PENSTOCK_BUILD=${PENSTOCK_BUILD:-build${SAN:+/san}}
# Unique, so that two checkouts can test at the same time; at most 19 characters.
PENSTOCK_LAB=${PENSTOCK_LAB:-t-$(tr -cd 'a-z0-9-' <<<"$test_name" | cut -c1-9)-$$}
export PENSTOCK_BUILD PENSTOCK_LAB
state=/run/penstock-lab/$PENSTOCK_LAB
tmp=$(mktemp -d /tmp/penstock-netns.XXXXXX) || exit 2
n_checks=0 n_failed=0 lab_is_up=
# The addresses of net.sh.
SERVER_V4=10.20.0.10 SERVER_V6=fd00:20::10 DENIED_V4=10.20.0.99 DENIED_V6=fd00:20::99

skip()
{
	echo "SKIP $*"
	exit 77
}

fatal()
{
	echo "fatal: $*"
	exit 1
}

lab() { "$root/tools/lab/lab" "$@"; }
on() { "$root/tools/lab/lab" exec "$@"; }
# The same in the background; $! is the command itself, so that it can be killed.
bg() { "$root/tools/lab/lab" exec "$@" & }
program_runs() { lab status | grep -q "^  $1 *running"; }

need_lab()
{
	local t

	[ "$(id -u)" = 0 ] || skip "needs root (network namespaces)"
	for t in ip nft jq iperf3 tcpdump ping nsenter openssl; do
		command -v $t >/dev/null || skip "'$t' is not installed"
	done
	ip netns add "$PENSTOCK_LAB-probe" 2>/dev/null || skip "network namespaces are not available here"
	ip netns del "$PENSTOCK_LAB-probe"
	for t in penstock-portal penstock-gateway penstock-client penstock; do
		[ -x "$PENSTOCK_BUILD/$t" ] || fatal "$PENSTOCK_BUILD/$t is not built"
	done
}

# Can this kernel and bpffs carry the fast path at all?
need_bpf()
{
	[ -r /sys/kernel/btf/vmlinux ] || skip "the kernel has no BTF"
	mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf 2>/dev/null || skip "no bpffs"
	command -v bpftool >/dev/null || skip "no bpftool"
	bpftool prog show >/dev/null 2>&1 || skip "bpf(2) is refused here"
}

# The modes a test goes through here: both, or user space only, saying why.
modes()
{
	local why

	if why=$( (need_bpf) ); then
		echo kernel user
	else
		echo "# kernel mode is left out: $why" >&2
		echo user
	fi
}

on_exit()
{
	local rc=$?

	trap - EXIT
	trap '' INT TERM
	if [ -n "$lab_is_up" ]; then
		programs_end
		sanitizer_reports || rc=1
		if [ $rc != 0 ] && [ $rc != 77 ]; then
			for p in portal relay1 relay2 gateway gateway2 client client2; do
				[ -e "$state/logs/$p.log" ] || continue
				echo "--- $p.log (last 60 lines)"
				tail -n 60 "$state/logs/$p.log" 2>/dev/null
			done
		fi
		lab down || rc=1
	fi
	rm -rf "$tmp"
	exit $rc
}
trap on_exit EXIT
trap 'exit 130' INT TERM

# What a program leaks it says when it ends.
programs_end()
{
	local p

	for p in client client2 gateway gateway2 relay1 relay2 portal; do
		[ ! -e "$state/pids/$p" ] || lab stop "$p" >/dev/null 2>&1
	done
}

sanitizer_reports()
{
	! grep -nE 'ERROR: (Address|Leak)Sanitizer|runtime error:' "$state"/logs/*.log
}

# lab_up [ENV=VALUE…]: and the client reaches the server.
lab_up()
{
	lab down
	lab_is_up=1
	env "$@" "$root/tools/lab/lab" up || fatal "lab up failed"
	lab wait 40 || fatal "no tunnel"
}

check()
{
	local what=$1
	shift
	n_checks=$((n_checks + 1))
	if "$@"; then
		echo "ok $n_checks - $what"
	else
		n_failed=$((n_failed + 1))
		echo "not ok $n_checks - $what [$*]"
		return 1
	fi
}

finish()
{
	echo "1..$n_checks"
	[ $n_checks -gt 0 ] && [ $n_failed = 0 ]
	exit
}

fails() { ! "$@"; }

# wait_for SECONDS CMD…: polls every 0.1 s.
wait_for()
{
	local end

	end=$(($(date +%s%N) + $1 * 1000000000))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s%N)" -lt "$end" ] || return 1
		sleep 0.1
	done
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }

# status PROGRAM JQ-FILTER: one value out of `penstock status --json`.
status()
{
	lab ctl "$1" status --json | jq -r "$2"
}

# iperf_server PORT…: one server process a port, on the server host.
iperf_server()
{
	local p

	for p in "$@"; do
		bg server iperf3 -s -p "$p" >"$tmp/iperf-server-$p.log" 2>&1
		disown
	done
	for p in "$@"; do
		wait_for 5 listening server "$p" || fatal "no iperf3 server on port $p"
	done
}

listening()
{
	[ -n "$(nsenter --net="/run/netns/$PENSTOCK_LAB-$1" ss -Hltn "sport = :$2")" ]
}

# iperf NAME ARG…: a client run on the client host; its JSON in $tmp/NAME.json. False when iperf3 failed.
iperf()
{
	local name=$1
	shift
	timeout "${IPERF_LIMIT_S:-60}" "$root/tools/lab/lab" exec client iperf3 --connect-timeout 5000 -J "$@" >"$tmp/$name.json" 2>"$tmp/$name.err"
}

# Bits per second that arrived.
iperf_bps()
{
	jq -r '.end.sum_received.bits_per_second // .end.sum.bits_per_second // 0 | floor' "$tmp/$1.json"
}

ping_ok() { on client ping -n -q -c "${2:-2}" -i 0.2 -W 2 "$1" >/dev/null; }
ping_once() { on client ping -n -q -c 1 -W 1 "$1" >/dev/null; }
at_least() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a + 0 >= b + 0) }'; }
at_most() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a + 0 <= b + 0) }'; }

# portal_edit JQ-FILTER: replaces the portal's configuration in one rename, as an editor would.
portal_edit()
{
	jq "$1" "$state/portal.json" >"$tmp/portal.json" && cat "$tmp/portal.json" >"$state/portal.json.new" &&
		mv "$state/portal.json.new" "$state/portal.json"
}
