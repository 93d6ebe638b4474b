#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The portal websocket against a real TLS server: who is accepted, who is refused and why, and how refusals of
# the HTTP kind, broken connections and plaintext are classified.
set -u
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
PROBE=$BUILD/tests/netns/h_wsprobe
command -v openssl >/dev/null && command -v python3 >/dev/null || { echo "SKIP: openssl or python3 missing"; exit 77; }
[ "$(id -u)" = 0 ] || { echo "SKIP: needs root"; exit 77; }
[ -x "$PROBE" ] || { echo "$PROBE is not built"; exit 1; }

NS=phx-tls-$$
DIR=$(mktemp -d)
PIDS=()
cleanup() {
	for p in "${PIDS[@]}"; do kill "$p" 2>/dev/null; done
	ip netns del "$NS" 2>/dev/null
	rm -rf "$DIR"
}
trap cleanup EXIT
ip netns add "$NS" 2>/dev/null || { echo "SKIP: no network namespaces"; exit 77; }
in_ns() { ip netns exec "$NS" "$@"; }
in_ns ip link set lo up
in_ns ip addr add 192.0.2.1/32 dev lo
mkdir -p "/etc/netns/$NS" && printf '127.0.0.1 localhost portal.test\n::1 localhost\n192.0.2.1 far.test\n' >"/etc/netns/$NS/hosts"
trap 'cleanup; rm -rf "/etc/netns/$NS"' EXIT

ca() { # name
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -days 2 \
		-keyout "$DIR/$1.key" -out "$DIR/$1.pem" 2>/dev/null
}
cert() { # name SAN ca [openssl x509 options]
	local name=$1 san=$2 ca=$3
	shift 3
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
		-keyout "$DIR/$name.key" -out "$DIR/$name.csr" 2>/dev/null
	openssl x509 -req -in "$DIR/$name.csr" -CA "$DIR/$ca.pem" -CAkey "$DIR/$ca.key" -CAcreateserial \
		-extfile <(echo "subjectAltName=$san") -out "$DIR/$name.pem" "$@" 2>/dev/null
}
ca good-ca
ca other-ca
cert good DNS:portal.test,IP:127.0.0.1 good-ca -days 2
cert wrong-name DNS:elsewhere.test good-ca -days 2
cert expired DNS:portal.test good-ca -days -1
openssl x509 -in "$DIR/expired.pem" -noout -checkend 0 >/dev/null && { echo "no expired certificate made"; exit 1; }

server() { # log args…
	local log=$1
	shift
	ip netns exec "$NS" python3 tests/netns/wsserver.py "$@" >"$DIR/$log.out" 2>"$DIR/$log.err" &
	PIDS+=($!)
	for _ in $(seq 100); do grep -q ready "$DIR/$log.out" && return; sleep 0.1; done
	echo "server $log did not start"
	exit 1
}
server good 127.0.0.1 4431 "$DIR/good.pem" "$DIR/good.key"
server wrong 127.0.0.1 4432 "$DIR/wrong-name.pem" "$DIR/wrong-name.key"
server expired 127.0.0.1 4433 "$DIR/expired.pem" "$DIR/expired.key"
server plain 127.0.0.1 8080
server far 192.0.2.1 8080

fails=0
n=0
expect() { # description, exit code, line pattern, probe args…
	local what=$1 code=$2 pattern=$3 out rc
	shift 3
	n=$((n + 1))
	out=$(ip netns exec "$NS" timeout 30 "$PROBE" "$@" 2>"$DIR/probe.err")
	rc=$?
	if [ $rc = "$code" ] && grep -qE -- "$pattern" <<<"$out"; then
		echo "ok $n - $what"
	else
		echo "not ok $n - $what (exit $rc, wanted $code and '$pattern')"
		sed 's/^/# /' <<<"$out"
		tail -20 "$DIR/probe.err" | sed 's/^/# /'
		fails=$((fails + 1))
	fi
}
check() { # description, command…
	local what=$1
	shift
	n=$((n + 1))
	if "$@"; then echo "ok $n - $what"; else echo "not ok $n - $what"; fails=$((fails + 1)); fi
}
CA="--ca $DIR/good-ca.pem"
G=https://portal.test:4431

expect "valid certificate" 0 '^opened' $G/echo $CA
expect "valid certificate for an address" 0 '^opened' wss://127.0.0.1:4431/echo $CA
expect "echo over TLS" 0 '^text 5 hello' $G/echo $CA --send hello
expect "wrong CA" 1 '^closed cert .*(unable to get|self.signed)' $G/echo --ca "$DIR/other-ca.pem"
expect "private CA with system roots only" 1 '^closed cert' $G/echo
expect "wrong host name" 1 '^closed cert .*[Hh]ost ?name mismatch' https://portal.test:4432/echo $CA
expect "expired" 1 '^closed cert .*expired' https://portal.test:4433/echo $CA
expect "TLS to a plain port" 1 '^closed transport' https://portal.test:8080/echo $CA
expect "CA file missing" 2 '^refused .*CA file' $G/echo --ca "$DIR/none.pem"
expect "CA file without certificates" 2 '^refused .*CA file' $G/echo --ca "$DIR/good.key"

expect "401" 1 '^closed http 401 0' $G/401 $CA
expect "429 with Retry-After" 1 '^closed http 429 7' $G/429 $CA
expect "503 with a date" 1 '^closed http 503 (1[01][0-9]|120|[5-9][0-9]) ' $G/503 $CA
expect "503 without" 1 '^closed http 503 0' $G/503plain $CA
expect "redirects are not followed" 1 '^closed http 302 0' $G/302 $CA

expect "fragments in one message" 0 '^text 90024 abcabc' $G/frag $CA --send x
expect "1 MiB is taken" 0 '^text 1048576 xxx' $G/max $CA --send x
expect "more is not" 0 '^closed transport .*too large' $G/big $CA --wait
expect "binary is passed over" 0 '^text 5 after' $G/bin $CA --send x
expect "close by the portal" 0 '^closed peer .*1001' $G/close $CA --wait
expect "cut by the portal" 0 '^closed transport .*lost' $G/cut $CA --wait
expect "hanging upgrade times out" 1 '^closed transport .*timed out' $G/hang $CA --timeout 2

expect "plaintext to loopback" 0 '^opened' http://127.0.0.1:8080/echo
expect "plaintext to localhost" 0 '^opened' ws://localhost:8080/echo
expect "plaintext elsewhere by address" 2 '^refused 1 EPERM' ws://192.0.2.1:8080/echo
expect "plaintext elsewhere by name" 2 '^refused 1 EPERM' ws://far.test:8080/echo
expect "plaintext elsewhere with the flag" 0 '^opened' ws://far.test:8080/echo --plaintext
expect "plain 401" 1 '^closed http 401 0' ws://127.0.0.1:8080/401
expect "nobody listens" 1 '^closed transport' https://portal.test:4499 $CA
expect "unknown name" 1 '^closed transport' https://nowhere.test:4431 $CA
expect "token in the header" 0 '^opened' http://127.0.0.1:8080/echo/hdr --header-token

check "request line carries token and external_id" grep -q 'GET /echo/client/websocket?token=n.secret&external_id=probe HTTP/1.1' "$DIR/plain.err"
check "header token is not in the query" grep -qE 'GET /echo/hdr/client/websocket\?external_id=probe .*[Xx]-[Aa]uthorization: Bearer n.secret' "$DIR/plain.err"
check "user agent is ours" grep -qiE 'user-agent: Debian/12 connlib/1.4.14' "$DIR/plain.err"
check "no Origin, protocol or extension headers" bash -c '! grep -qiE "origin:|sec-websocket-(protocol|extensions):" "$1"' _ "$DIR/plain.err"
check "host header has no port" grep -qiE 'host: 127.0.0.1 \|' "$DIR/plain.err"
check "we close politely" bash -c 'for i in $(seq 20); do grep -q "close frame 1000" "$1" && exit 0; sleep 0.1; done; exit 1' _ "$DIR/plain.err"

# The mark: a rule sends unmarked packets nowhere, so only a marked connection gets through.
in_ns nft add table inet phx
in_ns nft 'add chain inet phx out { type filter hook output priority 0; }'
in_ns nft 'add rule inet phx out ip daddr 192.0.2.1 tcp dport 8080 meta mark != 0x77 counter drop'
in_ns nft 'add rule inet phx out ip daddr 192.0.2.1 tcp dport 8080 meta mark 0x77 counter accept'
expect "with a mark" 0 '^opened' ws://far.test:8080/echo --plaintext --mark 0x77
expect "without it" 1 '^closed transport .*timed out' ws://far.test:8080/echo --plaintext --timeout 2

echo "1..$n"
[ $fails = 0 ]
