#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 120
#
# A relay that cannot have what it drew: ports that other processes hold are passed over at once, and who gets nothing
# hears so (508), because no port is left or no file. What is there goes on.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/relay_lib.sh"
relay_need
command -v python3 >/dev/null || skip "'python3' is not installed"
relay_net_up

# take ADDRESS FIRST LAST: hold these ports until killed
take()
{
	ip netns exec "$ns-r" python3 -c '
import signal, socket, sys
held = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(int(sys.argv[2]), int(sys.argv[3]) + 1)]
for s, port in zip(held, range(int(sys.argv[2]), int(sys.argv[3]) + 1)): s.bind((sys.argv[1], port))
print("held", flush=True)
signal.pause()' "$@" >"$tmp/held" &
	taker=$!
	wait_for 5 grep -q held "$tmp/held" || fatal "the ports cannot be taken"
}

some() { load --direction both --seconds 1 --pps 50 --window 64 "$@"; }
whole() { jq -e '.up.received > 0 and .up.lost == 0 and .up.bad == 0' "$1" >/dev/null || { cat "$1"; return 1; }; }

relay_start --workers 2 --lowest-port 50000 --highest-port 50009
take 10.91.1.1 50000 50003
passed_over() { some --allocs 4 >"$tmp/over.json" 2>&1 && jq -e '.allocs_per_s > 20' "$tmp/over.json" >/dev/null || { cat "$tmp/over.json"; return 1; }; }
check "ports of others are passed over at once" passed_over
# Ports are drawn: one time in 14 none of the four is somebody else's.
counted() { [ "$(relay_ctl status '.relay.ports_taken')" -gt 0 ] || { passed_over >/dev/null; return 1; }; }
check "and the relay counts them" wait_for 20 counted
no_port() { ! some --allocs 7 >"$tmp/none.json" 2>&1 && grep -q 'allocate 508' "$tmp/none.json" || { cat "$tmp/none.json"; return 1; }; }
check "who gets none is told" no_port
kill "$taker"
wait "$taker" 2>/dev/null
given_back() { [ "$(relay_ctl status .relay.allocations)" = 0 ]; }
relay_stop KILL
relay_start --workers 2 --lowest-port 50000 --highest-port 50009
all_ten() { some --allocs 10 >"$tmp/ten.json" 2>&1; }
check "when they are free they are used" all_ten
relay_stop TERM

# Files: as many as the relay has, and a few more.
relay_start --workers 2
files=$(ls "/proc/$relay_pid/fd" | wc -l)
prlimit --pid "$relay_pid" --nofile=$((files + 26)):$((files + 26))
some --allocs 8 --seconds 4 >"$tmp/there.json" 2>&1 &
there=$!
eight() { [ "$(relay_ctl status .relay.allocations)" = 8 ]; }
wait_for 5 eight || fatal "no eight allocations"
no_file() { ! some --allocs 12 >"$tmp/full.json" 2>&1 && grep -q 'allocate 508' "$tmp/full.json" || { cat "$tmp/full.json"; return 1; }; }
check "out of files: who comes late is told" no_file
check "its operator can still look" test "$(relay_ctl status '.relay.ports_taken')" -gt 0
wait $there
check "who was there goes on" whole "$tmp/there.json"
relay_stop KILL # those that were refused did not give back what they had
finish
