#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 90
#
# Penstock's TURN client against coturn, each case in a namespace of its own with 192.0.2.1 and
# 2001:db8::1: two clients allocate, bind channels and talk to each other through the relay
# (i_turnpair). Reached over both IP versions and one (coturn 4.6 does not know RFC 8656's way to ask
# for relayed addresses of both, so they are IPv4), a realm given and one learned, short-lived nonces and
# allocations, fingerprints, a wrong password, the server killed and started again.
set -u
umask 077
cd "$(dirname "$0")/../.." || exit 2
BUILD=${PENSTOCK_BUILD:-build${SAN:+/san}}
PAIR=$PWD/$BUILD/tests/interop/i_turnpair
id=$$
tmp=$(mktemp -d /tmp/penstock-coturn.XXXXXX) || exit 2

skip()
{
	echo "SKIP $*"
	rm -rf "$tmp"
	exit 77
}

[ "$(id -u)" = 0 ] || skip "needs root (network namespaces)"
for t in ip turnserver; do
	command -v $t >/dev/null || skip "'$t' is not installed"
done
ip netns add "coturn-$id-probe" 2>/dev/null || skip "network namespaces are not available here"
ip netns del "coturn-$id-probe"
[ -x "$PAIR" ] || { echo "$PAIR is not built"; exit 1; }

cleanup()
{
	local f ns

	for f in "$tmp"/*.pid; do
		[ -e "$f" ] && kill -9 "$(cat "$f")" 2>/dev/null
	done
	for ns in $(ip netns list | awk -v p="coturn-$id-" 'index($1, p) == 1 { print $1 }'); do
		ip netns del "$ns"
	done
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# server CASE OPTION…: start it and wait until it listens
server()
{
	local c=$1 n=100
	shift

	ip netns exec "coturn-$id-$c" turnserver -n --no-cli --no-tls --no-dtls -m 1 -a -u user:pass \
		--min-port 50000 --max-port 50200 --userdb "$tmp/$c.db" --pidfile "$tmp/$c.pidfile" \
		-l stdout --simple-log "$@" >>"$tmp/$c.server" 2>&1 &
	echo $! >"$tmp/$c.pid"
	while ! ip netns exec "coturn-$id-$c" ss -lnuH 2>/dev/null | grep -q ':3478 '; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		sleep 0.1
	done
}

net()
{
	ip netns add "coturn-$id-$1" &&
		ip -n "coturn-$id-$1" link set lo up &&
		ip -n "coturn-$id-$1" addr add 192.0.2.1/24 dev lo &&
		ip -n "coturn-$id-$1" addr add 2001:db8::1/64 dev lo nodad
}

pair()
{
	local c=$1
	shift

	ip netns exec "coturn-$id-$c" "$PAIR" "$@" >"$tmp/$c.log" 2>&1
}

# value CASE SIDE KEY of the summary
value() { sed -n "s/^end $2 .*\b$3=\([^ ]*\).*/\1/p" "$tmp/$1.log"; }

# talked CASE SECONDS: nearly all that was said was heard, no allocation was lost
talked()
{
	local s want=$((($2 - 2) * 20 * 9 / 10))

	for s in 0 1; do
		[ "$(value "$1" $s state)" = ready ] || return 1
		[ "$(value "$1" $s heard)" -ge $want ] || return 1
		[ "$(value "$1" $s lost)" = 0 ] || return 1
	done
}

BOTH="-L 192.0.2.1 -L 2001:db8::1 -E 192.0.2.1 -E 2001:db8::1"
ONLY4="-L 192.0.2.1 -E 192.0.2.1"

# shellcheck disable=SC2086 # options are lists
case_both()
{
	net "$1" && server "$1" $BOTH -r example.org || return 1
	pair "$1" 192.0.2.1:3478 '[2001:db8::1]:3478' user pass - 6 || return 1
	talked "$1" 6 && [ "$(grep -c 'candidate srflx' "$tmp/$1.log")" = 4 ]
}

# shellcheck disable=SC2086
case_over_ipv4()
{
	net "$1" && server "$1" $ONLY4 -r firezone -f || return 1
	pair "$1" 192.0.2.1:3478 - user pass firezone 6 || return 1
	talked "$1" 6 && [ "$(grep -c 'candidate relay' "$tmp/$1.log")" = 2 ]
}

# shellcheck disable=SC2086
case_over_ipv6()
{
	net "$1" && server "$1" $BOTH -r firezone || return 1
	pair "$1" - '[2001:db8::1]:3478' user pass firezone 6 || return 1
	talked "$1" 6
}

# Nonces of 4 s, an allocation of 20: refreshed after 10, challenged again then, no packet lost.
# shellcheck disable=SC2086
case_short_lives()
{
	net "$1" && server "$1" $BOTH -r firezone --stale-nonce=4 --max-allocate-lifetime=20 || return 1
	pair "$1" 192.0.2.1:3478 - user pass firezone 16 || return 1
	talked "$1" 16 || return 1
	[ "$(value "$1" 0 challenges)" -ge 2 ] && [ "$(value "$1" 0 allocations)" = 1 ]
}

# coturn does not prove that it refuses: like a silent relay it is given up after 8 s.
# shellcheck disable=SC2086
case_wrong_password()
{
	net "$1" && server "$1" $BOTH -r firezone || return 1
	pair "$1" 192.0.2.1:3478 - user wrong firezone 11 && return 1
	grep -q 'state unreachable: the relay does not accept the credentials' "$tmp/$1.log" &&
		[ "$(value "$1" 0 sent)" -le 8 ]
}

# Killed and started again: it knows nothing of us; the next refresh finds out and all is made anew.
# shellcheck disable=SC2086
case_restart()
{
	net "$1" && server "$1" $BOTH -r firezone --max-allocate-lifetime=20 || return 1
	local pid

	pair "$1" 192.0.2.1:3478 - user pass firezone 25 &
	pid=$!
	sleep 4
	kill -9 "$(cat "$tmp/$1.pid")"
	server "$1" $BOTH -r firezone --max-allocate-lifetime=20 || return 1
	wait $pid || return 1
	[ "$(value "$1" 0 state)" = ready ] && [ "$(value "$1" 0 allocations)" = 2 ] &&
		[ "$(value "$1" 1 allocations)" = 2 ] && [ "$(value "$1" 0 heard)" -ge 300 ]
}

run()
{
	local c=$1 what=$2

	if "$3" "$c" >"$tmp/$c.out" 2>&1; then
		echo "ok - $what: $(grep '^end 0' "$tmp/$c.log")" >"$tmp/$c.result"
	else
		{
			echo "not ok - $what"
			sed 's/^/# /' "$tmp/$c.out"
			tail -n 30 "$tmp/$c.log" 2>/dev/null | sed 's/^/#   /'
			tail -n 30 "$tmp/$c.server" 2>/dev/null | sed 's/^/#     /'
		} >"$tmp/$c.result"
	fi
}

run 1 "reached over both" case_both &
jobs=$!
run 2 "over IPv4, fingerprints, a given realm" case_over_ipv4 &
jobs="$jobs $!"
run 3 "over IPv6" case_over_ipv6 &
jobs="$jobs $!"
run 4 "short-lived nonces and allocations" case_short_lives &
jobs="$jobs $!"
run 5 "wrong password" case_wrong_password &
jobs="$jobs $!"
run 6 "server restarted" case_restart &
jobs="$jobs $!"
# shellcheck disable=SC2086
wait $jobs
cat "$tmp"/*.result
[ "$(cat "$tmp"/*.result | grep -c '^ok')" = 6 ]
