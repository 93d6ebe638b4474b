#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 240
#
# Penstock's key exchange and data packets against wireguard-go, each case in two namespaces of its own:
#
#     ours: i_wgpeer, 192.0.2.1:51820, 10.99.0.1 --- veth --- theirs: wireguard-go, 192.0.2.2:51821, 10.99.0.2
#
# Who initiates × with and without PSK; renewals driven by us (shortened to 2 s) and by them (their real
# 120 s, in parallel with all else); their restart with the same keys, found out by silence.
set -u
umask 077
cd "$(dirname "$0")/../.." || exit 2
BUILD=${PENSTOCK_BUILD:-build${SAN:+/san}}
PEER=$PWD/$BUILD/tests/interop/i_wgpeer
tmp=$(mktemp -d /tmp/penstock-wg.XXXXXX) || exit 2
id=$$

skip()
{
	echo "SKIP $*"
	rm -rf "$tmp"
	exit 77
}

[ "$(id -u)" = 0 ] || skip "needs root (network namespaces)"
for t in ip wg wireguard-go ping; do
	command -v $t >/dev/null || skip "'$t' is not installed"
done
[ -c /dev/net/tun ] || skip "no /dev/net/tun"
ip netns add "wg-$id-probe" 2>/dev/null || skip "network namespaces are not available here"
ip netns del "wg-$id-probe"
[ -x "$PEER" ] || { echo "$PEER is not built"; exit 1; }

cleanup()
{
	local f ns

	for f in "$tmp"/*.pid; do
		[ -e "$f" ] && kill "$(cat "$f")" 2>/dev/null
	done
	sleep 0.3
	for ns in $(ip netns list | awk -v p="wg-$id-" 'index($1, p) == 1 { print $1 }'); do
		ip netns del "$ns"
	done
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# wait_for SECONDS CMD…: until CMD succeeds
wait_for()
{
	local n=$(($1 * 10))

	shift
	while ! "$@" >/dev/null 2>&1; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		sleep 0.1
	done
}

theirs_start()
{
	local c=$1

	ip netns exec "wg-$id-$c-b" env LOG_LEVEL=error wireguard-go -f "w$id$c" >"$tmp/$c.go" 2>&1 &
	echo $! >"$tmp/$c-go.pid"
	wait_for 10 ip netns exec "wg-$id-$c-b" wg show "w$id$c" || return 1
	ip netns exec "wg-$id-$c-b" wg setconf "w$id$c" "$tmp/$c.conf" || return 1
	ip -n "wg-$id-$c-b" addr add 10.99.0.2/24 dev "w$id$c"
	ip -n "wg-$id-$c-b" link set "w$id$c" mtu 1280 up
}

# case_up NAME PSK(yes|no|differs) THEIR-CONFIG-HAS-OUR-ADDRESS(yes|no) OUR-OPTIONS…
case_up()
{
	local c=$1 psk=$2 known=$3 side psk_file=-
	shift 3

	for side in a b; do
		ip netns add "wg-$id-$c-$side" || return 1
		ip -n "wg-$id-$c-$side" link set lo up
		wg genkey >"$tmp/$c-$side.key"
	done
	ip link add "v$id$c" netns "wg-$id-$c-a" type veth peer name "v$id$c" netns "wg-$id-$c-b" || return 1
	ip -n "wg-$id-$c-a" addr add 192.0.2.1/24 dev "v$id$c"
	ip -n "wg-$id-$c-b" addr add 192.0.2.2/24 dev "v$id$c"
	ip -n "wg-$id-$c-a" link set "v$id$c" up
	ip -n "wg-$id-$c-b" link set "v$id$c" up
	{
		echo "[Interface]"
		echo "PrivateKey = $(cat "$tmp/$c-b.key")"
		echo "ListenPort = 51821"
		echo "[Peer]"
		echo "PublicKey = $(wg pubkey <"$tmp/$c-a.key")"
		echo "AllowedIPs = 10.99.0.1/32"
		[ "$known" = yes ] && echo "Endpoint = 192.0.2.1:51820"
		if [ "$psk" != no ]; then
			wg genpsk >"$tmp/$c.psk"
			echo "PresharedKey = $(cat "$tmp/$c.psk")"
		fi
	} >"$tmp/$c.conf"
	[ "$psk" = differs ] && wg genpsk >"$tmp/$c.psk"
	[ "$psk" != no ] && psk_file=$tmp/$c.psk
	theirs_start "$c" || return 1
	ip netns exec "wg-$id-$c-a" "$PEER" "t$id$c" 51820 192.0.2.2 51821 "$tmp/$c-a.key" \
		"$(wg pubkey <"$tmp/$c-b.key")" "$psk_file" "$@" >"$tmp/$c.log" 2>&1 &
	echo $! >"$tmp/$c-ours.pid"
	wait_for 10 ip -n "wg-$id-$c-a" link show "t$id$c" || return 1
	ip -n "wg-$id-$c-a" addr add 10.99.0.1/24 dev "t$id$c"
	ip -n "wg-$id-$c-a" link set "t$id$c" mtu 1280 up
}

# ping SIDE CASE COUNT INTERVAL SIZE: all must come back
ping_all()
{
	local side=$1 c=$2 to=10.99.0.2

	[ "$side" = b ] && to=10.99.0.1
	ip netns exec "wg-$id-$c-$side" ping -q -c "$3" -i "$4" -s "$5" -W 5 "$to" >"$tmp/$c-$side.ping" 2>&1
	grep -q " $3 received" "$tmp/$c-$side.ping"
}

count() { grep -c "$2" "$tmp/$1.log"; }
have() { grep -q "$2" "$tmp/$1.log"; }

both_ways()
{
	ping_all "$2" "$1" 3 0.2 56 || return 1
	ping_all a "$1" 3 0.2 1200 || return 1
	ping_all b "$1" 3 0.2 1200 || return 1
	ping_all a "$1" 3 0.2 1 && ping_all b "$1" 3 0.2 1
}

case_we()
{
	case_up "$1" "$2" no initiate || return 1
	wait_for 5 have "$1" current || return 1
	both_ways "$1" a || return 1
	have "$1" 'session initiator=1' && [ "$(count "$1" 'session')" = 1 ] && have "$1" 'done first=1'
}

case_they()
{
	case_up "$1" "$2" yes passive || return 1
	both_ways "$1" b || return 1
	have "$1" 'session initiator=0' && [ "$(count "$1" 'session')" = 1 ] && ! have "$1" 'sent initiation'
}

# wireguard-go keeps two handshakes of one peer at least 20 ms apart, as we do.
case_our_rekey()
{
	case_up "$1" yes no initiate rekey=2000 || return 1
	wait_for 5 have "$1" current || return 1
	ping_all a "$1" 75 0.2 400 || return 1
	ping_all b "$1" 10 0.2 400 || return 1
	[ "$(count "$1" 'session initiator=1')" -ge 6 ] && ! have "$1" 'initiator=0'
}

# They initiate, and renew after their own 120 s, with traffic both ways all the while.
case_their_rekey()
{
	case_up "$1" yes yes passive || return 1
	ping_all b "$1" 128 1 100 || return 1
	ping_all a "$1" 3 0.2 100 || return 1
	[ "$(count "$1" 'session initiator=0')" -ge 2 ] && ! have "$1" 'sent initiation'
}

# The same, in the other direction: our initiator with all periods as they are.
case_our_120()
{
	case_up "$1" no no initiate || return 1
	wait_for 5 have "$1" current || return 1
	ping_all a "$1" 126 1 100 || return 1
	[ "$(count "$1" 'session initiator=1')" -ge 2 ] && ! have "$1" 'initiator=0'
}

# They lose their state. Our packets go unanswered for 15 s, then a new handshake repairs it.
case_restart()
{
	case_up "$1" yes no initiate || return 1
	wait_for 5 have "$1" current || return 1
	ping_all a "$1" 2 0.2 56 || return 1
	kill "$(cat "$tmp/$1-go.pid")"
	wait_for 5 sh -c "! kill -0 $(cat "$tmp/$1-go.pid")"
	theirs_start "$1" || return 1
	ip netns exec "wg-$id-$1-a" ping -q -i 0.5 -w 18 10.99.0.2 >"$tmp/$1-a.ping" 2>&1
	ping_all a "$1" 2 0.2 56 && ping_all b "$1" 2 0.2 56 && [ "$(count "$1" 'session initiator=1')" = 2 ]
}

# The PSKs differ: no session, and after 20 s the connection is given up.
case_psk_differs()
{
	case_up "$1" differs no initiate || return 1
	wait_for 25 have "$1" expired && ! have "$1" session && have "$1" 'verdict=bad_auth'
}

run()
{
	local c=$1 what=$2 fn=$3
	shift 3

	if "$fn" "$c" "$@" >"$tmp/$c.out" 2>&1; then
		echo "ok - $what" >"$tmp/$c.result"
	else
		{
			echo "not ok - $what"
			sed 's/^/# /' "$tmp/$c.out" "$tmp/$c.go" "$tmp/$c"-*.ping 2>/dev/null
			tail -n 40 "$tmp/$c.log" | sed 's/^/#   /'
		} >"$tmp/$c.result"
	fi
}

run 1 "we initiate, no PSK" case_we no &
jobs=$!
run 2 "we initiate, PSK" case_we yes &
jobs="$jobs $!"
run 3 "they initiate, no PSK" case_they no &
jobs="$jobs $!"
run 4 "they initiate, PSK" case_they yes &
jobs="$jobs $!"
run 5 "we renew every 2 s, no packet lost" case_our_rekey &
jobs="$jobs $!"
run 6 "they renew after 120 s, no packet lost" case_their_rekey &
jobs="$jobs $!"
run 7 "we renew after 120 s, no packet lost" case_our_120 &
jobs="$jobs $!"
run 8 "they restart with the same keys" case_restart &
jobs="$jobs $!"
run 9 "PSKs differ: expired after 20 s" case_psk_differs &
jobs="$jobs $!"
# shellcheck disable=SC2086 # a list of process ids
wait $jobs
cat "$tmp"/*.result
if [ "$(cat "$tmp"/*.result | grep -c '^ok')" = 9 ]; then
	exit 0
fi
exit 1
