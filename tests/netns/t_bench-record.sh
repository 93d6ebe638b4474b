#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 60
#
# The record of benches (tests/bench/record.sh, plot.py), with benches that are none: what a line is given, that a part is
# measured again in place of what was there, that a busy machine is refused or told, and what tables and plots show.
. "$(dirname "$0")/lib.sh"
command -v jq >/dev/null || skip "'jq' is not installed"
command -v python3 >/dev/null || skip "'python3' is not installed"
export PENSTOCK_BUILD=$tmp/build
file=$tmp/record.jsonl
trap 'rm -rf "$tmp"' EXIT

# NAME, its lines on stdin
bench_is()
{
	mkdir -p "$PENSTOCK_BUILD/tests/bench"
	{ echo '#!/bin/sh'; echo 'echo "# not a line"'; echo "cat <<'END'"; cat; echo END; } >"$PENSTOCK_BUILD/tests/bench/b_$1"
	chmod +x "$PENSTOCK_BUILD/tests/bench/b_$1"
}
record() { tests/bench/record.sh "$file" "$@" 2>"$tmp/err"; }
says() { jq -es "$1" "$file" >/dev/null || { cat "$file" "$tmp/err"; return 1; }; }

bench_is aead <<'E'
{"bench":"aead_seal_64","unit":"ns","median":50,"min":40,"max":60,"n":3,"env":{"kernel":"6","backend":"one","pinning":"all"}}
{"bench":"aead_open_64","unit":"ns","median":51,"min":41,"max":61,"n":3,"env":{"kernel":"6","backend":"one"}}
E
bench_is kernel <<'E'
{"bench":"kernel_ingress_64_v4","unit":"ns","median":500,"min":400,"max":600,"n":3,"env":{}}
E

check "a busy machine is refused" eval '! BUSY_MAX=-1 record aead'
check "and nothing is written" [ ! -e "$file" ]
check "a part that is none is refused" eval '! FORCE=1 record aed'
check "by force it is measured" env BUSY_MAX=-1 FORCE=1 tests/bench/record.sh "$file" aead kernel
check "lines only, with their part" says '(map(.env.part) == ["aead", "aead", "kernel"]) and .[0].median == 50'
check "and it is told" says 'all(.[]; .env.idle == false and .env.busy_before_pct >= 0)'
check "what they do not say is null" says 'all(.[].env; has("mode") and has("xdp_mode") and has("offloads") and has("workers"))'
check "what they say is theirs" says '.[0].env.pinning == "all" and .[1].env.pinning == null'
check "an idle machine" env BUSY_MAX=100 tests/bench/record.sh "$file" aead
check "that part again, in place of what was there" says 'map([.env.part, .env.idle]) == [["kernel", false], ["aead", true], ["aead", true]]'
printf '#!/bin/sh\nexit 3\n' >"$PENSTOCK_BUILD/tests/bench/b_aead"
check "a bench that fails is a failure" eval '! BUSY_MAX=100 record aead'
check "which takes nothing away" says 'length == 3'

cat >>"$file" <<'E'
{"bench":"capacity_64","unit":"pps","median":3e6,"min":2e6,"max":4e6,"who":"penstock-user","peer":"wireguard-go","peer_median":2e5,"peer_min":1e5,"peer_max":3e5,"ratio":15,"ratio_min":9,"ratio_max":20,"better":"more","env":{"workers":2}}
{"bench":"pps_64","unit":"pps","median":9e4,"min":8e4,"max":1e5,"who":"penstock-auto","peer":"wireguard-go","peer_median":3e4,"peer_min":3e4,"peer_max":3e4,"ratio":3,"ratio_min":2.7,"ratio_max":3.1,"better":"more","handicap":0,"env":{}}
{"bench":"peers_10000_64","unit":"ns","median":900,"min":800,"to_one":1.1,"who":"penstock-user","better":"less","env":{}}
{"bench":"relayed_tcp_up_1","unit":"Gbit/s","median":2,"min":1.9,"max":2.1,"who":"relayed","peer":"direct","peer_median":2.1,"ratio":0.95,"ratios":[0.95],"better":"more","handicap":0,"env":{}}
E
plot() { python3 -B tests/bench/plot.py "$file" "$tmp/plots" >"$tmp/tables" 2>"$tmp/err" || { cat "$tmp/err"; return 1; }; }
row() { grep -qF "$1" "$tmp/tables" || { cat "$tmp/tables"; return 1; }; }
check "plots and tables are made" plot
for plot in capacity peers relayed ratios; do
	check "$plot" python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' "$tmp/plots/$plot.svg"
done
check "packets a second are on a logarithmic scale" grep -q logarithmic "$tmp/plots/capacity.svg"
check "an aim that is met" row '| `capacity_64` | penstock-user / wireguard-go | 15.0 (9.00–20.0) | ≥ 10.0 | met |'
check "one that is missed" row '| `pps_64` | penstock-auto / wireguard-go | 3.00 (2.70–3.10) | ≥ 3.50 | missed |'
check "what a line tells of itself" row '| `peers_10000_64` | `to_one` | 1.10 | ≤ 1.15 | met |'
check "of the relay" row '| `relayed_tcp_up_1` | relayed / direct | 0.950 (0.950–0.950) | ≥ 0.900 | met |'
check "what was measured alone" row '| `aead_seal_64`, one | 50.0 | 40.0 | 60.0 | ns |'
check "what was not idle" row '**The machine was not idle**: kernel'
finish
