#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 240
#
# Other people's TURN clients against penstock-relay, in namespaces on one switch:
#
#     cl 192.0.2.1, 2001:db8::1     rl 192.0.2.2, 2001:db8::2 (the relay)     pe 192.0.2.3, 2001:db8::3 (echoing peer)
#
# coturn's turnutils_stunclient and turnutils_uclient (channels, Send/Data indications, padding, EVEN-PORT with a
# reservation, both families, dual allocations, client to client, wrong password, shared secret) and the ICE stack
# aioice (two agents that may only use relayed candidates; a stale nonce; refresh; removal).
set -u
umask 077
cd "$(dirname "$0")/../.." || exit 2
BUILD=${PENSTOCK_BUILD:-build${SAN:+/san}}
tmp=$(mktemp -d /tmp/penstock-turn.XXXXXX) || exit 2
id=$$ n=0 failed=0

skip()
{
	echo "SKIP $*"
	rm -rf "$tmp"
	exit 77
}

[ "$(id -u)" = 0 ] || skip "needs root (network namespaces)"
for t in ip turnutils_uclient turnutils_stunclient turnutils_peer timeout; do
	command -v $t >/dev/null || skip "'$t' is not installed"
done
ip netns add "turn-$id-probe" 2>/dev/null || skip "network namespaces are not available here"
ip netns del "turn-$id-probe"
[ -x "$BUILD/penstock-relay" ] || { echo "$BUILD/penstock-relay is not built"; exit 1; }
python=/usr/bin/python3
$python -c 'import aioice' 2>/dev/null || python=

cleanup()
{
	local f ns

	for f in "$tmp"/*.pid; do
		[ -e "$f" ] && kill -KILL "$(cat "$f")" 2>/dev/null
	done
	sleep 0.3
	for ns in cl rl pe sw; do
		ip netns del "turn-$id-$ns" 2>/dev/null
	done
	[ $failed = 0 ] || { echo "--- relay.log (end)"; tail -n 40 "$tmp/relay.log"; }
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

ns() { ip -n "turn-$id-$1" "${@:2}"; }
in_ns() { ip netns exec "turn-$id-$1" "${@:2}"; }

setup()
{
	local h i=0

	ip netns add "turn-$id-sw"
	ns sw link add br0 type bridge
	ns sw link set br0 up
	for h in cl rl pe; do
		i=$((i + 1))
		ip netns add "turn-$id-$h"
		ns "$h" link set lo up
		ns sw link add "v-$h" type veth peer name eth0 netns "turn-$id-$h"
		ns sw link set "v-$h" master br0 up
		ns "$h" addr add 192.0.2.$i/24 dev eth0
		ns "$h" addr add 2001:db8::$i/64 dev eth0 nodad
		ns "$h" link set eth0 up
	done
}

# start NS NAME CMD…: in the background, its pid remembered
start()
{
	# not through in_ns(): the pid is to be the command's, not that of a shell around it
	ip netns exec "turn-$id-$1" "${@:3}" >"$tmp/$2.log" 2>&1 &
	echo $! >"$tmp/$2.pid"
}

check()
{
	local what=$1
	shift
	n=$((n + 1))
	if "$@" >"$tmp/out" 2>&1; then
		echo "ok $n - $what"
	else
		echo "not ok $n - $what"
		sed 's/^/  | /' "$tmp/out" | tail -n 30
		failed=$((failed + 1))
	fi
}

# Every message sent came back: what uclient says at its end. It exits with 0 whatever happened.
uclient()
{
	local out

	out=$(in_ns cl timeout 60 turnutils_uclient -z 5 -l 170 -n 20 -u alice -w "pass one" "$@" 2>&1)
	echo "$out" | tail -n 20
	echo "$out" | sed -n 's/.*: tot_send_msgs=\([0-9]*\), tot_recv_msgs=\([0-9]*\)$/\1 \2/p' |
		awk '{ sent = $1; got = $2 } END { exit !(sent >= 20 && sent == got) }'
}

refused()
{
	in_ns cl timeout 30 turnutils_uclient -z 5 -n 2 "$@" >"$tmp/refused" 2>&1
	cat "$tmp/refused"
	grep -q 'Cannot complete Allocation' "$tmp/refused" && ! grep -q 'tot_recv_msgs=[1-9]' "$tmp/refused"
}

stunclient() { in_ns cl timeout 10 turnutils_stunclient "$1" 2>&1 | tee /dev/stderr | grep -q "UDP reflexive addr: \[\?$2"; }

setup
printf 'alice:pass one\nbob:pass two\n' >"$tmp/users"
printf 'north star\n' >"$tmp/secret"
start rl relay "$PWD/$BUILD/penstock-relay" --public-ip4-addr 192.0.2.2 --public-ip6-addr 2001:db8::2 \
	--users-file "$tmp/users" --shared-secret-file "$tmp/secret" --instance "turn-$id" --log-level info
start pe peer turnutils_peer -L 192.0.2.3 -L 2001:db8::3
for _ in $(seq 50); do
	in_ns rl ss -Huln 2>/dev/null | grep -q ':3478 ' && break
	sleep 0.1
done

check "stunclient, IPv4" stunclient 192.0.2.2 192.0.2.1
check "stunclient, IPv6" stunclient 2001:db8::2 2001:db8::1
check "channels, with an RTCP port pair (EVEN-PORT, reservation)" uclient -e 192.0.2.3 192.0.2.2
check "channels, one port" uclient -c -e 192.0.2.3 192.0.2.2
check "padded channel data" uclient -c -D -e 192.0.2.3 192.0.2.2
check "Send and Data indications" uclient -c -s -e 192.0.2.3 192.0.2.2
check "ten clients at once" uclient -c -m 10 -e 192.0.2.3 192.0.2.2
check "client to client, through the relay itself" uclient -y -c -m 2 192.0.2.2
check "the same with indications" uclient -y -c -s -m 2 192.0.2.2
check "IPv4 client, IPv6 peer" uclient -c -x -e 2001:db8::3 192.0.2.2
check "IPv6 client, IPv6 peer" uclient -c -x -e 2001:db8::3 2001:db8::2
check "IPv6 client, IPv4 peer" uclient -c -X -e 192.0.2.3 2001:db8::2
check "dual allocation" uclient -Z -e 192.0.2.3 192.0.2.2
check "extra requests all along (-G)" uclient -c -G -e 192.0.2.3 192.0.2.2
check "DONT-FRAGMENT, which sockets shared by many cannot promise, is answered 420" \
	bash -c "ip netns exec turn-$id-cl timeout 20 turnutils_uclient -c -g -n 1 -u alice -w 'pass one' -e 192.0.2.3 192.0.2.2 |
		grep -q 'error 420'"
check "time-limited credentials of the shared secret" \
	uclient -c -W "north star" -e 192.0.2.3 192.0.2.2
check "wrong password" refused -c -u alice -w wrong -e 192.0.2.3 192.0.2.2
check "unknown user" refused -c -u mallory -w "pass one" -e 192.0.2.3 192.0.2.2
if [ -n "$python" ]; then
	in_ns cl timeout 120 $python tests/interop/relay_aioice.py 192.0.2.2 alice "pass one" 192.0.2.3 >"$tmp/aioice" 2>&1
	rc=$?
	while IFS= read -r line; do
		case $line in
		ok*) n=$((n + 1)) && echo "ok $n - aioice:${line#ok}" ;;
		not*) n=$((n + 1)) && failed=$((failed + 1)) && echo "not ok $n - aioice:${line#not ok}" ;;
		*) echo "# $line" ;;
		esac
	done <"$tmp/aioice"
	check "aioice ran to its end" [ $rc = 0 ]
else
	echo "# aioice is not installed: left out"
fi
# The first SIGTERM drains: uclient leaves allocations behind. The second one ends it.
kill "$(cat "$tmp/relay.pid")"
sleep 0.5
kill "$(cat "$tmp/relay.pid")" 2>/dev/null
wait "$(cat "$tmp/relay.pid")" 2>/dev/null
check "no sanitizer report" bash -c "! grep -E 'Sanitizer|runtime error' '$tmp/relay.log'"
echo "1..$n"
[ $failed = 0 ]
