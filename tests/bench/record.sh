#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The whole record on an idle machine: tests/bench/record.sh FILE [PART…]. Lines of JSON, of all parts or of those named,
# replace those that FILE has of these parts; tables and plots are made of it by plot.py. WIREGUARD_GO=PATH as in
# b_tunnel.sh; without it the record has nothing of today's wireguard-go in it.
#
#   tunnel       b_tunnel, RECORD_MODES (auto user), five rounds    handicap    the same of auto with native XDP on the links
#   capacity_…   b_capacity, a part a case                         peers       10,000 peers in turn, beside one
#   handshakes   b_peers'                                          relayed     TCP through our relay, beside the direct path
#   kernel aead  the programs and the ciphers alone            scale scale_user    the same for many peers, many flows
#   memory       of a peer, of a flow
#
# Before a part the machine's load is measured for two seconds: above BUSY_MAX (5 %) no part is begun, unless FORCE=1;
# then its lines have "idle": false in their env. Every line's env has "part", "busy_before_pct" (b_tunnel's own: before each
# run) and, null where there is none, mode, xdp_mode, offloads, pinning and workers. A part that is not done in its time is
# ended, and what it has printed by then is left out. SHORT=1: all parts as quickly as they go, whatever the figures; for trying.
set -u
cd "$(dirname "$0")/../.." || exit 2
parts="tunnel handicap capacity_64 capacity_512 capacity_1280 capacity_1420 capacity_64_single capacity_1280_single
peers handshakes relayed kernel aead scale scale_user memory"
out=${1:-} busy_max=${BUSY_MAX:-5} short=${SHORT:-}
build=${PENSTOCK_BUILD:-build}
[ -n "$out" ] || { sed -n '4,/^set/s/^#\( \|$\)//p' "$0" >&2; exit 2; }
shift
work=$(mktemp -d /tmp/penstock-record.XXXXXX) || exit 2
pid=
trap 'rm -rf "$work"' EXIT
# What runs is a process group of its own: ended by its first process.
trap '[ -z "$pid" ] || { kill $pid; wait $pid; } 2>/dev/null; exit 130' INT TERM

ticks() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8, $2 + $3 + $4 + $5 + $6 + $7 + $8 + $9 }' /proc/stat; }

# Percent of all processors' time.
busy()
{
	local a b

	a=$(ticks) && sleep 2 && b=$(ticks)
	echo "$a $b" | awk '{ printf "%d\n", 100 * ($3 - $1) / ($4 - $2) + 0.5 }'
}

# PART: the most it may take, in seconds, and what it runs
part()
{
	local few=${short:+1} bench=tests/bench
	local capacity="CAPACITY_ROUNDS=${few:-5} CAPACITY_SECONDS=0.5 CAPACITY_SEARCH=${few:-8}"

	case $1 in
	tunnel) echo 2400 MODES="'${RECORD_MODES:-auto user}'" HANDICAP=0 REPS="${few:-5}" SECONDS_PER_RUN="${few:-3}" OMIT_SECONDS="$((!${few:-0}))" \
		PPS_SEARCH="${few:-6}" $bench/b_tunnel.sh ;;
	handicap) echo 900 MODES=auto HANDICAP=1 REPS="${few:-3}" SECONDS_PER_RUN="${few:-3}" OMIT_SECONDS="$((!${few:-0}))" \
		$bench/b_tunnel.sh "'\\(tcp\\|cpu\\|rtt\\|setups\\)_'" ;;
	capacity_*_single) echo 300 CAPACITY_PEERS=wireguard-go "$capacity" $bench/b_capacity.sh "$1" ;;
	capacity_*) echo 300 "$capacity" $bench/b_capacity.sh "$1" ;;
	peers) echo 1200 PEERS="$([ -n "$short" ] && echo 50 || echo 10000)" PEERS_ROUNDS="${few:-5}" $bench/b_peers.sh peers_ ;;
	handshakes) echo 120 $bench/b_peers.sh handshakes ;;
	relayed) [ ! -x $bench/b_relayed.sh ] || echo 900 REPS="${few:-5}" SECONDS_PER_RUN="${few:-3}" RELAY_XDP="'native auto off'" $bench/b_relayed.sh ;;
	memory) echo 300 $bench/b_memory.sh ;;
	kernel | aead | scale | scale_user) echo 300 "$build/tests/bench/b_$1" ;;
	*) return 1 ;;
	esac
}

# PART BUSY: its lines with what all have
lines()
{
	jq -c --arg part "$1" --argjson busy "$2" --argjson max "$busy_max" --arg short "$short" '
		.env = {mode: null, xdp_mode: null, offloads: null, pinning: null, workers: null, busy_before_pct: $busy} + .env +
		{part: $part} | .env.idle = ($busy <= $max and .env.busy_before_pct <= $max) |
		if $short != "" then .env.short = true else . end'
}

one()
{
	local what limit busy rc began=$SECONDS

	what=$(part "$1") || { echo "record: no part is called '$1'" >&2; return 1; }
	[ -n "$what" ] || { echo "record: $1: there is no such bench" >&2; return 0; }
	limit=${what%% *}
	busy=$(busy)
	if [ "$busy" -gt "$busy_max" ] && [ "${FORCE:-}" != 1 ]; then
		echo "record: $1 not begun: the machine is $busy % busy (FORCE=1 measures all the same, and says so)" >&2
		return 1
	fi
	timeout -k 30 "$limit" bash -c "exec env ${what#* }" >"$work/raw" &
	pid=$!
	wait $pid
	rc=$?
	pid=
	echo "record: $1: $((SECONDS - began)) s, exit $rc, $(grep -c '^{' "$work/raw") lines" >&2
	[ $rc = 77 ] && return 0
	case $rc in 124 | 137) return 1 ;; esac
	grep '^{' "$work/raw" | lines "$1" "$busy" >"$work/lines" && [ -s "$work/lines" ] || return 1
	touch "$out"
	jq -c --arg part "$1" 'select(.env.part != $part)' "$out" >"$work/all" && cat "$work/lines" >>"$work/all" &&
		cat "$work/all" >"$out" || return 1
	[ $rc = 0 ]
}

rc=0
for name in ${*:-$parts}; do
	one "$name" || rc=1
done
exit $rc
