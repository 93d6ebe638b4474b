#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The stub resolver with real sockets: every row of the decision table by dig over UDP and TCP, real servers
# behind it (marked around the tunnel, unmarked through it), truncation, failures, and hostile TCP clients.
# timeout: 240
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root (network namespaces)"
for t in ip dig python3; do command -v $t >/dev/null || skip "'$t' is not installed"; done
h_dns="$PENSTOCK_BUILD/tests/netns/h_dns-stub"
[ -x "$h_dns" ] || fatal "$h_dns is not built"
host=$PENSTOCK_LAB-h srv=$PENSTOCK_LAB-s pids=()
ip netns add "$host" 2>/dev/null || skip "network namespaces are not available here"
cleanup()
{
	local rc=$?

	trap - EXIT
	[ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null
	[ $rc = 0 ] || sed 's/^/dns: /' "$tmp/dns.log"
	ip netns del "$host" 2>/dev/null
	ip netns del "$srv" 2>/dev/null
	rm -rf "$tmp"
	exit $rc
}
trap cleanup EXIT
in_host() { nsenter --net="/run/netns/$host" "$@"; }
in_srv() { nsenter --net="/run/netns/$srv" "$@"; }

# ---- two hosts and a wire; around the tunnel there is only what the mark's table knows ----
ip netns add "$srv" || fatal "no namespace"
ip link add wire netns "$host" type veth peer name wire netns "$srv" || fatal "no veth"
for n in host srv; do
	in_$n ip link set lo up
	in_$n ip link set wire addrgenmode none
	in_$n ip link set wire up
done
in_host ip tuntap add tunnel mode tun
in_host ip link set tunnel addrgenmode none up
in_host ip addr add 10.9.0.1/24 dev wire
in_host ip addr add fd09::1/64 dev wire nodad
in_srv ip addr add 10.9.0.2/24 dev wire
in_srv ip addr add fd09::2/64 dev wire nodad
for a in 192.0.2.53/32 192.0.2.55/32 198.51.100.53/32; do in_srv ip addr add $a dev lo; done
in_srv ip addr add 2001:db8::53/128 dev lo nodad
in_host ip rule add fwmark 0xfd002021 lookup 100
in_host ip -6 rule add fwmark 0xfd002021 lookup 100
in_host ip route add 192.0.2.0/24 via 10.9.0.2 table 100
in_host ip route add unreachable 198.51.100.53 table 100
in_host ip -6 route add 2001:db8::/64 via fd09::2 table 100
in_host ip route add unreachable 192.0.2.0/24
in_host ip route add 198.51.100.53 via 10.9.0.2
in_srv ip route add 100.100.111.0/24 via 10.9.0.1

nsenter --net="/run/netns/$srv" python3 tests/netns/dns_zone.py 192.0.2.53:53 '[2001:db8::53]:53' 198.51.100.53:53 10.9.0.2:53535 '[fd09::2]:53535' \
	>"$tmp/zone.log" 2>&1 &
pids+=($!)
wait_for 10 grep -q ready "$tmp/zone.log" || fatal "no DNS server"
nsenter --net="/run/netns/$host" "$h_dns" tunnel 10.9.0.1 fd09::1 10.9.0.2 fd09::2 192.0.2.53:53 '[2001:db8::53]:53' 192.0.2.55:53 +198.51.100.53:53 \
	>"$tmp/dns.log" 2>&1 &
dns=$!
pids+=($dns)
wait_for 10 grep -q ready "$tmp/dns.log" || fatal "the resolver does not start"
sentinel_of() { awk -v u="$1" '$1 == "sentinel" && $3 == u { s = $2 } END { print s }' "$tmp/dns.log"; }
S4=$(sentinel_of 192.0.2.53:53) S6=$(sentinel_of '[2001:db8::53]:53') REFUSED=$(sentinel_of 192.0.2.55:53)
TUNNELLED=$(sentinel_of 198.51.100.53:53)

# ---- asking ----
ask() { in_host timeout 15 dig +tries=1 +time=8 "$@" 2>&1; }
short() { ask +short "$@" | tr '\n' ' ' | sed 's/ $//'; }
status() { ask "$@" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p'; }
is() { [ "$1" = "$2" ] || { echo "# got '$1', want '$2'"; false; }; }
empty() { ask "$@" | grep -q 'status: NOERROR.*' && [ -z "$(short "$@")" ]; }
says() { local want=$1; shift; is "$(short "$@")" "$want"; }
code() { local want=$1; shift; is "$(status "$@")" "$want"; }
ttl_one() { ask "$@" | awk '$3 == "IN" && $2 != 1 && !/^;/ { bad = 1 } END { exit bad }'; }
counter() { kill -USR1 $dns; sleep 0.3; grep '^counters' "$tmp/dns.log" | tail -n 1 | sed -n "s/.* $1=\([0-9]*\).*/\1/p"; }

V4="100.96.0.1 100.96.0.2 100.96.0.3 100.96.0.4"
for how in "UDP +notcp" "TCP +tcp"; do
	p=${how% *} t=${how#* }
	for at in "$S4" "$S6"; do
		w="$p $at:"
		check "$w A of a resource" says "$V4" $t @"$at" a.corp.test A
		check "$w its TTL is 1" ttl_one $t @"$at" a.corp.test A
		check "$w AAAA of it" is "$(short $t @"$at" a.corp.test AAAA | wc -w)" 4
		check "$w A of what has IPv6 only is empty" empty $t @"$at" v6.only A
		check "$w AAAA of what has IPv4 only is empty" empty $t @"$at" v4.only AAAA
		check "$w HTTPS of it is empty" empty $t @"$at" a.corp.test TYPE65
		check "$w PTR of its address" says a.corp.test. $t @"$at" -x 100.96.0.1
		check "$w TXT of it from the gateway" says '"in-site"' $t @"$at" a.corp.test TXT
		check "$w SRV of it from the gateway" says "1 2 443 host.corp.test." $t @"$at" a.corp.test SRV
		check "$w the canary is NXDOMAIN" code NXDOMAIN $t @"$at" use-application-dns.net A
		check "$w AXFR is NOTIMP" code NOTIMP $t @"$at" +opcode=NOTIFY a.corp.test SOA
		check "$w A from upstream" says 203.0.113.5 $t @"$at" www.test A
		check "$w AAAA from upstream" says 2001:db8:5::5 $t @"$at" www.test AAAA
		check "$w NXDOMAIN from upstream" code NXDOMAIN $t @"$at" nothing.test A
		check "$w PTR of no address of ours from upstream" code NXDOMAIN $t @"$at" -x 8.8.8.8
		check "$w an upstream's address of the tunnel is refused" code SERVFAIL $t @"$at" evil.test A
	done
	check "$p: through the tunnel from its address" says '"10.9.0.1"' $t @"$TUNNELLED" whoami.test TXT
	check "$p: the upstream is closed: SERVFAIL" code SERVFAIL $t @"$REFUSED" "x$p.test" A
	check "$p: the upstream is silent: SERVFAIL" code SERVFAIL $t @"$S4" "silent.$p.test" A
done
n=$(short @"$S4" n.test TXT)
check "what is cached is not asked again" says "$n" @"$S4" n.test TXT
check "another id first: the right answer is waited for" says 203.0.113.6 +notcp @"$S4" forge.test A
check "the upstream hangs up: SERVFAIL" code SERVFAIL +tcp @"$S4" hangup.test A
check "cut by the upstream: asked again by TCP" is "$(short @"$S4" big.test TXT | tr -cd x | wc -c)" 30000
check "too long for the tunnel: cut" grep -q 'flags:[^;]* tc' <(ask +notcp +ignore @"$S4" wide.test TXT)
check "and whole by TCP" is "$(short @"$S4" wide.test TXT | tr -cd x | wc -c)" 1400
check "queries share a connection" is "$(short +tcp +keepopen @"$S4" www.test A www.test AAAA)" "203.0.113.5 2001:db8:5::5"
check "from the network nobody is served" fails in_srv timeout 5 dig +tries=1 +time=2 @"$S4" a.corp.test A

# ---- hostile clients ----
hostile() { in_host timeout 60 python3 tests/netns/dns_hostile.py "$@"; }
for mode in pipeline halfclose drip badlen longlen halfframe flood deaf; do
	check "TCP: $mode" hostile "$S4" $mode
done
check "TCP over IPv6: pipeline" hostile "$S6" pipeline
check "garbage by UDP is no answer" in_host python3 -c '
import socket, sys
s = socket.socket(); u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(1); u.connect((sys.argv[1], 53))
u.send(b"\xff" * 7)
try: u.recv(999); sys.exit(1)
except TimeoutError: pass' "$S4"
check "still there" says "$V4" +tcp @"$S4" a.corp.test A
check "the idle gave way to new ones" at_least "$(counter evicted)" 137
check "no connection is left" wait_for 15 is 0 "$(sleep 11; counter conns)"
check "no socket is left" is "$(counter sockets)" 0
check "nothing waits" is "$(counter pending)" 0

# ---- another mapping ----
kill -HUP $dns
wait_for 5 is 2 "$(sleep 0.5; grep -c ready "$tmp/dns.log")" || fatal "no new mapping"
new=$(sentinel_of 192.0.2.53:53)
check "a new set, new sentinels" fails is "$new" "$S4"
check "they answer" says 203.0.113.5 @"$new" www.test A
check "the old ones are gone" fails in_host timeout 5 dig +tries=1 +time=2 @"$S4" a.corp.test A
check "and so are their addresses" is "$(in_host ip -o addr show dev tunnel | wc -l)" 3
grep '^counters' "$tmp/dns.log" | tail -n 1 | sed 's/^/# /'
kill -TERM $dns
wait $dns
check "it ends with status 0" is $? 0
check "no errors were said" fails grep -qE 'error|Sanitizer|runtime' "$tmp/dns.log"
pids=("${pids[0]}")
finish
