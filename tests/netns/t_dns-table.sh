#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The client's decision table for DNS queries, end to end with real name servers: nsd in the site, which only the gateway
# can ask, and nsd outside, which the portal names; a name has other contents at each, so an answer says who was asked. Every
# row by UDP and TCP, at an IPv4 and an IPv6 sentinel, for an upstream around the tunnel and one through it; SRV and
# TXT also before there is a connection to the gateway, for a resource of which the filter lets TCP port 80 pass
# only, and after the policy is gone. t_dns-site.sh is about who may ask the gateway, and hostile servers behind it.
# timeout: 400
. "$(dirname "$0")/lib.sh"
. "$tests_dir/nsd.sh"
need_lab
need_nsd
command -v dig >/dev/null || skip "'dig' is not installed"

OUT_V4=192.0.2.10 OUT_V6=2001:db8:9::10
in_client() { nsenter --net="/run/netns/$PENSTOCK_LAB-client" "$@"; }
ask() { in_client timeout 20 dig +tries=1 +time=12 "$@" 2>&1; }
short() { ask +short "$@" | tr '\n' ' ' | sed 's/ $//'; }
is() { [ "$1" = "$2" ] || { echo "# got '$1', want '$2'"; false; }; }
says() { local want=$1; shift; is "$(short "$@")" "$want"; }
code() { local want=$1; shift; is "$(ask "$@" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p')" "$want"; }
empty() { ask "$@" | grep 'status: NOERROR' >/dev/null && is "$(short "$@")" ""; }
cut() { is "$(ask +ignore "$@" | sed -n 's/.*flags:[^;]*\( tc\).*ANSWER: \([0-9]*\),.*/\1 \2/p')" " tc 0"; }
x_count() { short "$@" | tr -cd x | wc -c; }
gw() { status gateway ".dns.site.$1"; }
# sentinel_of UPSTREAM
sentinel_of() { status client ".dns.resolvers[] | select(.upstream == \"$1\") | .address"; }
n_sentinels() { [ "$(status client '.dns.resolvers | length')" = "$1" ]; }
takes_server() { [ "$(status gateway '.dns.servers | join(" ")')" = "$SERVER_V4:53" ]; }
connections() { lab ctl client peers --json | jq '[.peers[] | select(.state != "disconnected")] | length'; }
# raw CODE SENTINEL udp|tcp TYPE: of the resource's name
raw() { is "$(in_client python3 tests/netns/dns_raw.py "$2" 53 "$3" www.corp.test "$4")" "$1"; }

servers_start()
{
	local big

	big=$(for _ in $(seq 40); do printf '"%s" ' "$(printf 'x%.0s' $(seq 250))"; done)
	rm -rf "$tmp"/nsd-*
	nsd_zone site corp.test <<-END
		www A $SERVER_V4
		www AAAA $SERVER_V6
		www TXT "in the site"
		www MX 10 inside
		_sip._tcp SRV 1 2 5060 www
		big TXT $big
		alias CNAME www
	END
	nsd_zone site filtered.test <<<'@ TXT "in the site, too"'
	nsd_zone site inner.test <<<"www A 203.0.113.70
www TXT \"by the tunnel\"
big TXT $big"
	nsd_start site server $SERVER_V4 $SERVER_V6
	nsd_zone out corp.test <<-END
		www A 203.0.113.9
		www TXT "outside"
		www MX 10 outside
		www SVCB 1 outside
		alias CNAME outside
		_sip._tcp SRV 9 9 9 outside
		sub NS outside
	END
	nsd_zone out filtered.test <<<'@ TXT "outside"'
	nsd_zone out other.test <<-END
		www A 203.0.113.77
		www AAAA 2001:db8:77::77
		www TXT "another's"
		big TXT $big
		evil A 100.96.0.1
		evil6 AAAA fd00:2021:1111:8000::1
	END
	nsd_zone out 96.100.in-addr.arpa <<<'9.9 PTR unassigned.outside.'
	nsd_zone out 0.0.0.8.1.1.1.1.1.2.0.2.0.0.d.f.ip6.arpa <<<'9.0.0.9.0.0.0.0.0.0.0.0.0.0.0.0 PTR unassigned6.outside.'
	nsd_start out portal $OUT_V4 $OUT_V6
}

# table NAME SENTINEL DIG-OPTION: rows that do not depend on the upstream's way.
table()
{
	local w="$mode, $1:" at=$2 t=$3

	check "$w the canary is NXDOMAIN" code NXDOMAIN $t @"$at" use-application-dns.net A
	check "$w A of a resource" says "$V4" $t @"$at" www.corp.test A
	check "$w AAAA of it" says "$V6" $t @"$at" www.corp.test AAAA
	check "$w SRV of it from the site" says "1 2 5060 www.corp.test." $t @"$at" _sip._tcp.corp.test SRV
	check "$w TXT of it from the site" says '"in the site"' $t @"$at" www.corp.test TXT
	check "$w a name the site does not know" code NXDOMAIN $t @"$at" nobody.corp.test TXT
	check "$w HTTPS of it is empty" empty $t @"$at" www.corp.test HTTPS
	check "$w PTR of its IPv4 proxy address" says www.corp.test. $t @"$at" -x "${V4%% *}"
	check "$w PTR of its IPv6 proxy address" says www.corp.test. $t @"$at" -x "${V6%% *}"
	check "$w NOTIFY is NOTIMP" code NOTIMP $t @"$at" +opcode=NOTIFY www.corp.test SOA
	check "$w UPDATE is NOTIMP" code NOTIMP $t @"$at" +opcode=UPDATE corp.test SOA
	check "$w TXT of a resource that passes TCP port 80 only" says '"in the site, too"' $t @"$at" filtered.test TXT
}

# outside NAME SENTINEL DIG-OPTION: what goes to the upstream around the tunnel.
outside()
{
	local w="$mode, $1:" at=$2 t=$3

	check "$w PTR of an IPv4 proxy address nobody has" says unassigned.outside. $t @"$at" -x 100.96.9.9
	check "$w PTR of such an IPv6 one" says unassigned6.outside. $t @"$at" -x fd00:2021:1111:8000::9009
	check "$w MX of a resource from outside" says "10 outside.corp.test." $t @"$at" www.corp.test MX
	check "$w CNAME" says outside.corp.test. $t @"$at" alias.corp.test CNAME
	check "$w SVCB" says "1 outside.corp.test." $t @"$at" www.corp.test SVCB
	check "$w NS" says ns.corp.test. $t @"$at" corp.test NS
	check "$w A of no resource" says 203.0.113.77 $t @"$at" www.other.test A
	check "$w AAAA of it" says 2001:db8:77::77 $t @"$at" www.other.test AAAA
	check "$w TXT of it" says '"another'"'"'s"' $t @"$at" www.other.test TXT
	check "$w NXDOMAIN" code NXDOMAIN $t @"$at" nobody.other.test A
	check "$w an address of the tunnel from there is refused" code SERVFAIL $t @"$at" evil.other.test A
	check "$w and so is an IPv6 one" code SERVFAIL $t @"$at" evil6.other.test AAAA
}

# through NAME SENTINEL DIG-OPTION: the upstream lies in a resource, so the query goes through the tunnel.
through()
{
	local w="$mode, $1:" at=$2 t=$3

	check "$w A of no resource, asked in the site" says 203.0.113.70 $t @"$at" www.inner.test A
	check "$w TXT of no resource, asked there" says '"by the tunnel"' $t @"$at" www.inner.test TXT
	check "$w MX of a resource, asked there" says "10 inside.corp.test." $t @"$at" www.corp.test MX
	check "$w CNAME of one, asked there" says www.corp.test. $t @"$at" alias.corp.test CNAME
}

in_mode()
{
	local before
	mode=$1

	lab_up MODE="$mode"
	servers_start
	echo "nameserver $SERVER_V4" >"$state/hosts/gateway/resolv.conf"
	portal_edit '.dns = {upstream: ["'$OUT_V4'", "'$OUT_V6'", "'$SERVER_V4'", "'$SERVER_V6'"]}
		| .resources += [{name: "corp", type: "dns", address: "**.corp.test", site: "lab"},
			{name: "filtered", type: "dns", address: "filtered.test", site: "lab",
			filters: [{protocol: "tcp", port_range_start: 80, port_range_end: 80}]}]
		| .policies += [{group: "staff", resource: "corp"}, {group: "staff", resource: "filtered"}]'
	wait_for 20 n_sentinels 4 || fatal "the client does not take the resolvers"
	wait_for 10 takes_server || fatal "the gateway does not take its name server"
	check "$mode: the gateway serves both families" is "$(status gateway '.dns.listen | length')" 2

	# a client that just started: nothing goes to the gateway but these
	lab restart client
	wait_for 20 n_sentinels 4 || fatal "the client does not take the resolvers"
	S4=$(sentinel_of $OUT_V4:53) S6=$(sentinel_of "[$OUT_V6]:53")
	T4=$(sentinel_of $SERVER_V4:53) T6=$(sentinel_of "[$SERVER_V6]:53")
	echo "# sentinels $S4 $S6 around, $T4 $T6 through the tunnel"
	check "$mode: no connection yet" is "$(connections)" 0
	check "$mode: TXT without a connection is held, then answered" says '"in the site"' +notcp @"$S4" www.corp.test TXT
	check "$mode: now there is one" is "$(connections)" 1
	lab restart client
	wait_for 20 n_sentinels 4 || fatal "the client does not take the resolvers"
	check "$mode: SRV by TCP likewise" says "1 2 5060 www.corp.test." +tcp @"$S6" _sip._tcp.corp.test SRV

	V4=$(short @"$S4" www.corp.test A) V6=$(short @"$S4" www.corp.test AAAA)
	check "$mode: four proxy addresses of each family" is "$(wc -w <<<"$V4") $(wc -w <<<"$V6")" "4 4"
	before=$(gw answered)
	for at in "$S4" "$S6"; do
		for t in +notcp +tcp; do
			table "$at $t" "$at" $t
			outside "$at $t" "$at" $t
		done
		for t in udp tcp; do
			check "$mode, $at $t: AXFR is NOTIMP" raw NOTIMP "$at" $t 252
			check "$mode, $at $t: IXFR is NOTIMP" raw NOTIMP "$at" $t 251
		done
		check "$mode, $at: a long TXT of a resource is cut for UDP" cut +notcp @"$at" big.corp.test TXT
		check "$mode, $at: and whole by TCP" is "$(x_count @"$at" big.corp.test TXT)" 10000
		check "$mode, $at: a long TXT of no resource is cut for UDP" cut +notcp @"$at" big.other.test TXT
		check "$mode, $at: and whole by TCP" is "$(x_count @"$at" big.other.test TXT)" 10000
	done
	for at in "$T4" "$T6"; do
		for t in +notcp +tcp; do
			through "$at $t" "$at" $t
		done
		check "$mode, $at: a long TXT through the tunnel" is "$(x_count @"$at" big.inner.test TXT)" 10000
	done
	check "$mode: several queries on a connection" is "$(short +tcp +keepopen @"$S4" www.corp.test TXT _sip._tcp.corp.test SRV)" \
		'"in the site" 1 2 5060 www.corp.test.'
	check "$mode: the gateway answered all SRV and TXT" at_least "$(gw answered)" $((before + 24))
	check "$mode: and refused none" is "$(gw wrong_type) $(gw not_granted) $(gw foreign)" "0 0 0"
	check "$mode: it cut what was too long" is "$(gw truncated)" 0
	check "$mode: nothing is left waiting" is "$(status gateway '[.dns.pending, .dns.sockets] | @text')" "[0,0]"

	portal_edit 'del(.policies[] | select(.resource == "corp"))'
	check "$mode: after the policy its TXT is asked outside" wait_for 10 says '"outside"' @"$S4" www.corp.test TXT
	check "$mode: and its SRV" says "9 9 9 outside.corp.test." +tcp @"$S6" _sip._tcp.corp.test SRV
	check "$mode: and its A" says 203.0.113.9 @"$S4" www.corp.test A
	check "$mode: the other resource's TXT is still asked in the site" says '"in the site, too"' @"$S4" filtered.test TXT
}

for m in $(modes); do
	in_mode "$m"
done
finish
