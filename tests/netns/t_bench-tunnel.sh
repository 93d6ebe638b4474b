#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 300
#
# The bench of tunnels works at all: a run of one second through plain forwarding and through Penstock, connections and
# small packets as well; its lines are JSON with what is promised, plots are made of them, and nothing is left. No figure is judged.
. "$(dirname "$0")/lib.sh"
need_lab
bench=tests/bench/b_tunnel.sh
export SECONDS_PER_RUN=1 OMIT_SECONDS=0 REPS=1 MODES=user PEERS=plain HANDICAP=0

left() { ip netns list 2>/dev/null | grep -o "^tb$1-[^ ]*"; ls -d /run/penstock-lab/tb"$1"-* /run/penstock/tb"$1"-* 2>/dev/null; }
keys='["bench","metric","unit","median","min","max","n","who","peer","peer_median","ratio","better","handicap","ours","theirs","env"]'
env_keys='["kernel","cpu","cpus","mtu_inside","seconds","pinning","mode","xdp_mode","offloads","steal_pct","content","peer"]'
has() { jq -e "$1" "$tmp/lines" >/dev/null; }
has_all() { jq -es --argjson k "$keys" --argjson e "$env_keys" 'all(.[]; ($k - keys) == [] and ($e - (.env | keys)) == [])' "$tmp/lines" >/dev/null; }

# FILTER: its lines in $tmp/lines
bench()
{
	$bench "$1" >"$tmp/lines" 2>"$tmp/err" &
	pid=$!
	wait $pid || { cat "$tmp/err"; return 1; }
}

check "tcp_up_1 runs" bench tcp_up_1
check "it is one line" [ "$(wc -l <"$tmp/lines")" = 1 ]
check "with what lines have" has_all
check "ours against plain" has '.bench == "tcp_up_1" and .who == "penstock-user" and .peer == "plain" and .env.mode == "user"'
check "with figures" has '.median > 0 and .peer_median > 0 and .ratio > 0 and .n == 1 and .ours.gateway_s_per_gb > 0'
check "nothing is left" [ -z "$(left $pid)" ]
cp "$tmp/lines" "$tmp/record"
check "setups_per_s runs" bench setups_per_s
check "connections are made" has '.bench == "setups_per_s" and .median > 1 and .ours.failed == 0'
cat "$tmp/lines" >>"$tmp/record"
check "pps_64 runs" eval 'PPS_SECONDS=0.1 PPS_SEARCH=2 bench pps_64'
check "packets come through both ends" has '.bench == "pps_64" and .median > 0 and .peer_median > 0 and .ours.loss <= 0.001'
check "what ended the searches is told" has 'all(.limits[], .their_limits[]; . == "loss" or . == "sender") and (.limits | length) == 1'
cat "$tmp/lines" >>"$tmp/record"
if why=$( (need_bpf) ); then
	check "with the handicap" eval 'MODES=auto HANDICAP=1 bench tcp_up_1'
	check "ours is native, theirs as well" has '.handicap == 1 and .env.xdp == "native" and .env.peer.xdp == "native" and .median > 0'
fi
check "a name that is none makes no line" eval 'bench no_such_bench && [ ! -s "$tmp/lines" ]'

plot() { python3 -B tests/bench/plot.py "$tmp/record" "$tmp/$1" >/dev/null; }
well_formed() { python3 -c 'import sys, xml.dom.minidom as m; [m.parse(f) for f in sys.argv[1:]]' "$@"; }
check "plots are made" plot a
check "of what was measured" eval 'ls "$tmp"/a/*.svg >/dev/null && grep -q tcp_up_1 "$tmp"/a/*.svg'
check "they are XML" well_formed "$tmp"/a/*.svg
check "the same each time" eval 'plot b && diff -r "$tmp/a" "$tmp/b"'

# What perf script prints: two samples of one thread, one of another.
stacks()
{
	printf 'gateway 7/8 [000] 1.0: 1 cpu-clock: \n\t1f inner+0x1 (/bin/g)\n\t2f outer+0x2 (/bin/g)\n\n'
	printf 'gateway 7/8 [001] 1.1: 1 cpu-clock: \n\t2f outer+0x3 (/bin/g)\n\n'
	printf 'other 9 [001] 1.2: 1 cpu-clock: \n\t3f <T as U>::f+0x4 (/bin/o)\n\n'
}
flame() { stacks | python3 -B tests/bench/flame.py "$@" >"$tmp/flame.svg" && well_formed "$tmp/flame.svg"; }
check "a flame graph is made" flame
check "a function's share has what it called" grep -q '<title>outer: 66.7 %' "$tmp/flame.svg"
check "names are told as they are" grep -q '<title>&lt;T as U&gt;::f: 33.3 %' "$tmp/flame.svg"
check "one thread's alone" eval 'flame gate && grep -q "<title>inner: 50.0 %" "$tmp/flame.svg" && ! grep -q other "$tmp/flame.svg"'

# Ended in the middle: it takes its worlds with it.
$bench tcp_up_1 >/dev/null 2>"$tmp/err" &
pid=$!
check "worlds come up" wait_for 30 eval '[ -n "$(left $pid)" ]'
sleep 2
kill $pid
wait $pid
check "ended, nothing is left" [ -z "$(left $pid)" ]
finish
