#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 120
#
# io/ in a namespace of its own: h_io's tests, then what a killed process leaves and its successor cleans.
set -u
cd "$(dirname "$0")/../.." || exit 2
h=$PWD/${PENSTOCK_BUILD:-build}/tests/netns/h_io
ns=io-$$
far=io-$$-far
name=io$$
pid=
export PATH=$PATH:/usr/sbin:/sbin

skip() { echo "SKIP: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"
ip netns add "$ns" 2>/dev/null || skip "cannot create a network namespace"
cleanup()
{
	[ -n "$pid" ] && kill -9 "$pid" 2>/dev/null
	ip netns del "$ns" 2>/dev/null
	ip netns del "$far" 2>/dev/null
	rm -f "/run/penstock/$name".*
}
trap cleanup EXIT
trap 'exit 1' INT TERM

in_ns() { ip netns exec "$ns" "$@"; }
fail() { echo "not ok - $*"; exit 1; }

in_ns sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0
ip -n "$ns" link set lo up
ip -n "$ns" link add v0 type veth peer name v1
ip -n "$ns" link set v1 up
ip -n "$ns" link set v0 up
for a in 10.77.0.1/24 10.77.0.2/24 fd77::1/64 fd77::2/64; do
	ip -n "$ns" addr add "$a" dev v0
done
ip -n "$ns" route add default via 10.77.0.254
ip -n "$ns" -6 route add default via fd77::fe

in_ns "$h" || exit 1
in_ns "$h-dev" || exit 1
ip netns add "$far" || fail "no second namespace"
ip -n "$ns" link set v1 netns "$far"
ip -n "$ns" link add small0 mtu 1300 type veth peer name small1 netns "$far"
in_ns sysctl -qw net.ipv6.conf.small0.accept_dad=0
ip netns exec "$far" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.v1.accept_dad=0 net.ipv6.conf.small1.accept_dad=0
for d in lo v1 small1; do ip -n "$far" link set "$d" up; done
ip -n "$ns" link set small0 up
for a in v1:10.77.0.9/24 v1:fd77::9/64 small1:10.78.0.2/24 small1:fd78::2/64; do
	ip -n "$far" addr add "${a#*:}" dev "${a%%:*}"
done
for a in 10.78.0.1/24 fd78::1/64; do ip -n "$ns" addr add "$a" dev small0; done
in_ns "$h-udp" "$far" || exit 1

start()
{
	local out=/tmp/penstock-$name.out

	ip netns exec "$ns" "$h" hold "$name" >"$out" 2>&1 &
	pid=$!
	for _ in $(seq 100); do
		grep -q holding "$out" && rm -f "$out" && return 0
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	cat "$out"
	rm -f "$out"
	fail "holder did not start"
}
rules() { ip -n "$ns" "$1" rule show | grep -c '^32000:'; }
tables() { in_ns nft list tables | grep -c "penstock_$name"; }
forward() { in_ns sysctl -n net.ipv4.ip_forward; }

in_ns sysctl -qw net.ipv4.ip_forward=0
start
[ "$(rules -4) $(rules -6) $(tables) $(forward)" = "1 1 1 1" ] || fail "set up: $(rules -4) $(rules -6) $(tables) $(forward)"
in_ns "$h" hold "$name" 2>&1 | grep -q 'already running' || fail "a second instance was not refused"
[ "$(rules -4)" = 1 ] || fail "the refused instance touched the rules"
kill -9 "$pid"
wait "$pid" 2>/dev/null
ip -n "$ns" link show tun-io 2>/dev/null && fail "device outlived its process"
[ -z "$(ip -n "$ns" route show table 0x2021fd00 2>/dev/null)" ] || fail "routes outlived the device"
echo "ok - killed: device and routes are gone, rules $(rules -4)+$(rules -6) and table $(tables) are left"
start
[ "$(rules -4) $(rules -6) $(tables)" = "1 1 1" ] || fail "restart: $(rules -4) $(rules -6) $(tables)"
echo "ok - restart replaced what was left"
kill "$pid"
wait "$pid" || fail "holder exited with $?"
pid=
[ "$(rules -4) $(rules -6) $(tables) $(forward)" = "0 0 0 0" ] || fail "left behind: $(rules -4) $(rules -6) $(tables) $(forward)"
[ -z "$(ls "/run/penstock/$name".* 2>/dev/null)" ] || fail "files left in /run/penstock"
echo "ok - clean exit left nothing and put forwarding back"
