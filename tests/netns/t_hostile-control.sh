#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 300
#
# A client with a session sends control packets that are damaged, about what is not its own, of kinds unknown, and too
# many: each is refused and counted under its reason at the gateway, and another client does not notice. The client is the
# real one that puts into the tunnel what a script gives it (h_hostile.c).
. "$(dirname "$0")/lib.sh"
[ -x "$PENSTOCK_BUILD/tests/netns/h_hostile" ] || fatal "h_hostile is not built"
# The lab's programs, with the hostile client in the client's place.
mkdir "$tmp/build"
for p in penstock penstock-portal penstock-gateway; do
	ln -s "$root/$PENSTOCK_BUILD/$p" "$tmp/build/$p"
done
ln -s "$root/$PENSTOCK_BUILD/tests/netns/h_hostile" "$tmp/build/penstock-client"
honest_client=$root/$PENSTOCK_BUILD/penstock-client
PENSTOCK_BUILD=$(realpath --relative-to="$root" "$tmp/build")
export PENSTOCK_BUILD
need_lab
for t in dig python3; do
	command -v $t >/dev/null || skip "'$t' is not installed"
done

SENTINEL=100.100.111.1
KNOWN=other.example
honest=

honest_ask() { on rc dig +short +time=2 +tries=1 @$SENTINEL "$@"; }
honest_reaches()
{
	local a

	a=$(honest_ask "$1" A | head -n 1)
	[ -n "$a" ] && on rc ping -n -q -c 1 -W 2 "$a" >/dev/null
}

reloads() { grep -c '"configuration reloaded"' "$state/logs/portal.log"; }
reloaded_since() { [ "$(reloads)" -gt "$1" ]; }

# Another client, on the router's host, once the portal knows its token: who comes with an unknown one is sent away for good.
honest_up()
{
	local before

	before=$(reloads)
	(umask 077 && head -c 32 /dev/urandom | basenc --base64url | tr -d '=\n' >"$tmp/honest.token")
	portal_edit ".clients += [{name: \"honest\", actor: \"bob\", groups: [\"staff\"], token_sha256: \"$(sha256sum <"$tmp/honest.token" | cut -d' ' -f1)\"}]"
	wait_for 10 reloaded_since "$before" || fatal "the portal's file is not in force"
	"$root/tools/lab/lab" exec rc "$honest_client" --api-url wss://portal.lab:8443/ --ca-file "$state/tls/ca.pem" \
		--token-path "$tmp/honest.token" --mode user --wan-iface wan0 --instance "$PENSTOCK_LAB-rc" \
		--id-file "$tmp/honest.json" --name honest --log-format json >"$tmp/honest.log" 2>&1 &
	honest=$!
}

honest_down()
{
	local rc=$?

	[ -z "$honest" ] || { kill "$honest" 2>/dev/null && wait "$honest" 2>/dev/null; }
	[ $rc = 0 ] || tail -n 20 "$tmp/honest.log" 2>/dev/null
	return $rc
}
trap 'honest_down; on_exit' EXIT

drops_of() { lab ctl gateway drops --json | jq "[.reasons[] | select(.reason == \"$1\") | .packets] | add // 0"; }
hostile() { on client python3 -B "$tests_dir/hostile_ctl.py" "$gateway" "$mine" "$foreign" "$@"; }
counted() { [ "$(drops_of "$1")" = "$2" ]; }

# refused REASON KIND…: five of each, all counted there.
refused()
{
	local reason=$1 kind before
	shift
	for kind in "$@"; do
		before=$(drops_of "$reason")
		hostile "$kind" 5
		check "$kind: $reason" wait_for 5 counted "$reason" $((before + 5)) || echo "# $before, now $(drops_of "$reason")"
	done
}

lab_up MODE=user
# What the hosts file does not know is asked of somebody who never answers.
echo "nameserver $DENIED_V4" >"$state/hosts/gateway/resolv.conf"
nsenter --net="/run/netns/$PENSTOCK_LAB-server" nft "add table inet deaf; add chain inet deaf in { type filter hook input priority filter; udp dport 53 drop; }"
for n in $(seq 0 99); do echo "$SERVER_V4 n$n.example"; done >>"$state/hosts/gateway/hosts"
echo "$SERVER_V4 a.example $KNOWN second.example third.example" >>"$state/hosts/gateway/hosts"
portal_edit '.dns = {upstream: ["192.0.2.10"], search_domain: null}
	| .resources += [{name: "mine", type: "dns", address: "**.example", site: "lab"}, {name: "theirs", type: "dns", address: "*.example", site: "lab", id: "11111111-1111-4111-8111-111111111111"}]
	| .policies += [{group: "staff", resource: "mine"}, {group: "others", resource: "theirs"}]'
# the portal knows the second client by now
wait_for 10 eval '[ "$(lab ctl client resources --json | jq "[.resources[] | select(.name == \"mine\")] | length")" = 1 ]' || fatal "the portal's file is not in force"
honest_up
lab restart gateway || fatal "the gateway does not start again" # its resolver reads the file
wait_for 20 honest_reaches $KNOWN || fatal "the honest client has no tunnel"
wait_for 10 eval '[ -n "$(on client dig +short +time=2 +tries=1 @$SENTINEL a.example A)" ]' || fatal "no names"
on client ping -n -q -c 1 -W 5 "$(on client dig +short @$SENTINEL a.example A | head -n 1)" >/dev/null || fatal "the hostile client has no tunnel"
gateway=$(status gateway .tunnel.ipv4)
mine=$(lab ctl client resources --json | jq -r '.resources[] | select(.name == "mine") | .id')
foreign=11111111-1111-4111-8111-111111111111 # it is there, and would mean the same names, but for others
pid=$(lab status | sed -n 's/^  gateway *running, pid //p')
echo "# gateway $gateway, resource $mine, foreign $foreign"

refused urx_control_malformed short length no-event truncated oversized deep deeper not-json twice no-proxies nine-proxies \
	not-addresses no-name long-name odd-name
refused urx_control_refused foreign nobodys other-name address-name lan-proxy peer-proxy sentinel-proxy own-proxy
refused urx_control_unknown event status
check "status says why" [ "$(status gateway '.names | "\(.refused_resource) \(.refused_name) \(.refused_proxies)"')" = "10 10 20" ]
check "what is right is taken" eval 'hostile good 3; wait_for 5 eval "lab ctl gateway resources --json | grep -q 100.96.0.200"'
check "another client's name is what it was" honest_reaches $KNOWN

# Floods: of one client, while the other one sets up names.
hostile names 20000 &
flood=$!
sleep 0.3
check "flooded with names that resolve: another client's new name works" wait_for 10 honest_reaches second.example
wait $flood
check "over the rate: counted" at_least "$(drops_of urx_control_rate)" 1000
check "the client's share of names holds: $(status gateway .names.held)" at_most "$(status gateway .names.held)" 1100
hostile slow-names 400 &
flood=$!
sleep 0.5
check "with names that do not resolve: at most 64 are asked for at a time: $(status gateway .names.resolving)" \
	at_most "$(status gateway .names.resolving)" 66
check "another client's new name works" wait_for 5 honest_reaches third.example
wait $flood
check "the others are counted" at_least "$(status gateway .names.over_open)" 100
# Hostile DNS, at the honest client: what its host asks and what its upstream answers.
stub() { "$root/$PENSTOCK_BUILD/penstock" --instance "$PENSTOCK_LAB-rc" status --json | jq -r ".dns.stub$1"; }
stub_counted() { [ "$(stub "$1")" -ge "$2" ]; }
nsenter --net="/run/netns/$PENSTOCK_LAB-portal" python3 -B "$tests_dir/dns_zone.py" 192.0.2.10:53 >"$tmp/zone.log" 2>&1 &
zone=$!
wait_for 10 grep -q ready "$tmp/zone.log" || fatal "no upstream server"
on rc python3 -c '
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
head = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0)
tail = struct.pack(">2H", 1, 1)
name = b"\1a\7example\0"
for q in (b"\0" * 7, head + b"\xc0\x0c" + tail, head + b"\x3fa", head + b"\x80a\0" + tail, head + (b"\x3f" + b"a" * 63) * 5 + b"\0" + tail,
          struct.pack(">6H", 7, 0x8180, 1, 0, 0, 0) + name + tail, struct.pack(">6H", 7, 0x100, 2, 0, 0, 0) + (name + tail) * 2,
          head + name + tail + b"more"):
    s.sendto(q, (sys.argv[1], 53))' $SENTINEL
check "queries: truncated ones are counted" wait_for 5 stub_counted .malformed.short 1
check "queries: loops, reserved labels, names too long" wait_for 5 stub_counted .malformed.bad_name 2
check "queries: answers, two questions, bytes behind" eval "stub_counted .malformed.bad_qr 1 && stub_counted .malformed.bad_count 1 && stub_counted .malformed.trailing 1"
check "an answer into the tunnel's own ranges is none" [ -z "$(honest_ask evil.test A)" ]
check "and counted" wait_for 5 stub_counted .rebinding 1
check "an answer under another id is waited over" [ "$(honest_ask forge.test A)" = 203.0.113.6 ]
check "and counted" wait_for 5 stub_counted .bad_id 1
kill $zone
stub '' | tr -d '\n ' | sed 's/^/# /'
echo
status gateway '.names, .nat' | tr -d '\n ' | sed 's/^/# /'
echo
lab ctl gateway drops | sed 's/^/# /'
check "it is the same gateway still" [ "$(lab status | sed -n 's/^  gateway *running, pid //p')" = "$pid" ]
check "it still serves the other client" honest_reaches $KNOWN
check "and the hostile one, in what is its own" ping_once $SERVER_V4
finish
