#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The gateway's resolver, asked by a client that does not keep to what clients ask: other names, other types, from other
# addresses, from the networks on either side, without and after authorisation. And behind it name servers that are away,
# refuse, are slow, lie, or send what nobody should read: counted, SERVFAIL in the end, never passed on.
# timeout: 400
. "$(dirname "$0")/lib.sh"
. "$tests_dir/nsd.sh"
need_lab
need_nsd
for t in dig python3 curl; do command -v $t >/dev/null || skip "'$t' is not installed"; done

EVIL=$DENIED_V4
in_host() { local h=$1; shift; nsenter --net="/run/netns/$PENSTOCK_LAB-$h" "$@"; }
in_client() { in_host client "$@"; }
# Straight to the gateway, as its clients do.
dig_at() { in_client timeout 20 dig -p 53535 +tries=1 +time=12 "$@" 2>&1; }
ask() { dig_at @"$GW4" "$@"; }
code_of() { sed -n 's/.*status: \([A-Z]*\),.*/\1/p'; }
is() { [ "$1" = "$2" ] || { echo "# got '$1', want '$2'"; false; }; }
says() { local want=$1; shift; is "$(ask +short "$@" | tr '\n' ' ' | sed 's/ $//')" "$want"; }
code() { local want=$1; shift; is "$(ask "$@" | code_of)" "$want"; }
raw() { local want=$1 at=$2; shift 2; is "$(in_client python3 tests/netns/dns_raw.py "$at" 53535 "$@")" "$want"; }
gw() { status gateway ".dns.site.$1"; }
counted() { at_least "$(gw "$1")" $(($2 + ${3:-1})); }
nobody_answers() { fails timeout 10 nsenter --net="/run/netns/$PENSTOCK_LAB-$1" dig -p 53535 +tries=1 +time=2 "${@:2}" >/dev/null; }
drops_of() { lab ctl gateway drops --json | jq "[.reasons[] | select(.reason == \"$1\") | .packets] | add // 0"; }
# name_servers ADDRESS…: the gateway's resolv.conf, written in place as the lab shows it to the program.
name_servers()
{
	printf 'nameserver %s\n' "$@" >"$state/hosts/gateway/resolv.conf"
	wait_for 15 takes "$@" || fatal "the gateway does not take its name servers"
}
takes() { [ "$(status gateway '.dns.servers | join(" ")')" = "$(printf '%s:53 ' "$@" | sed 's/ $//')" ]; }
pending_is() { [ "$(status gateway .dns.pending)" = "$1" ]; }
# Through the client's own resolver first: it makes the flow.
serves_anew()
{
	in_client timeout 20 dig +tries=1 +time=10 @100.100.111.1 www.corp.test TXT >/dev/null
	serves
}
serves() { [ "$(ask +short www.corp.test TXT)" = '"in the site"' ]; }

lab_up MODE="$(modes | cut -d' ' -f1)"
nsd_zone site corp.test <<-END
	www TXT "in the site"
	www A $SERVER_V4
	_sip._tcp SRV 1 2 5060 www
END
nsd_zone site foreign.test <<<'www TXT "not for clients"'
nsd_start site server $SERVER_V4 $SERVER_V6
on server python3 tests/netns/dns_evil.py $EVIL:53 >"$tmp/evil.log" 2>&1 &
disown
wait_for 10 grep -q ready "$tmp/evil.log" || fatal "no hostile name server"
GW4=$(status gateway .tunnel.ipv4) GW6=$(status gateway .tunnel.ipv6) CL4=$(status client .tunnel.ipv4)
name_servers $SERVER_V4
portal_edit '.dns = {upstream: ["192.0.2.10"]}
	| .resources += [{name: "corp", type: "dns", address: "**.corp.test", site: "lab"},
		{name: "evil", type: "dns", address: "*.evil.test", site: "lab"}]
	| .policies += [{group: "staff", resource: "corp"}, {group: "staff", resource: "evil"}]'

# ---- who may ask what ----
check "nothing of DNS was granted yet: REFUSED" code REFUSED www.corp.test TXT
check "counted" counted not_granted 0
for n in www.corp.test x.evil.test; do # the client asks the portal for both
	in_client timeout 20 dig +tries=1 +time=10 @100.100.111.1 $n TXT >/dev/null
done
check "TXT of the resource" wait_for 10 serves
check "by TCP" says '"in the site"' +tcp www.corp.test TXT
check "over IPv6" is "$(dig_at @"$GW6" +short www.corp.test TXT)" '"in the site"'
check "over IPv6 by TCP" is "$(dig_at @"$GW6" +short +tcp www.corp.test TXT)" '"in the site"'
check "SRV" says "1 2 5060 www.corp.test." _sip._tcp.corp.test SRV
check "its targets' addresses are not told" fails grep -q "$SERVER_V4" <(ask _sip._tcp.corp.test SRV)
check "letters as they were asked" grep -q '^WwW.CoRp.TeSt' <(ask WwW.CoRp.TeSt TXT)
before=$(gw wrong_type)
for t in A AAAA ANY MX NS SOA CNAME HTTPS PTR; do
	check "$t is REFUSED" code REFUSED +notcp $t www.corp.test
done
check "AXFR is REFUSED" raw REFUSED "$GW4" tcp corp.test 252
check "another class is REFUSED" raw REFUSED "$GW4" udp www.corp.test 16 3
check "all counted" counted wrong_type "$before" 11
before=$(gw not_granted)
check "a name of no resource is REFUSED" code REFUSED www.foreign.test TXT
check "by TCP, too" code REFUSED +tcp www.foreign.test TXT
check "the root is REFUSED" code REFUSED . TXT
check "counted, too" counted not_granted "$before" 3
check "NOTIFY is NOTIMP" code NOTIMP +opcode=NOTIFY www.corp.test SOA
before=$(gw malformed)
check "half a query gets no answer" raw silent "$GW4" udp www.corp.test 16 1 20
check "nor by TCP" raw silent "$GW4" tcp www.corp.test 16 1 20
check "counted as malformed" counted malformed "$before" 2
check "several queries on a connection" is "$(ask +short +tcp +keepopen www.corp.test TXT _sip._tcp.corp.test SRV | tr '\n' ' ')" \
	'"in the site" 1 2 5060 www.corp.test. '
for n in halfclose drip badlen longlen flood; do
	check "TCP client: $n" in_client timeout 60 python3 tests/netns/dns_hostile.py "$GW4" $n 53535
done

# ---- from where ----
before=$(gw foreign)
check "the gateway's own host is no client" is "$(in_host gateway dig -p 53535 +tries=1 +time=2 @"$GW4" www.corp.test TXT | code_of)" REFUSED
check "counted as foreign" counted foreign "$before"
in_host server ip route add "$GW4/32" via 10.20.0.1
in_host server ip -6 route add "$GW6/128" via fd00:20::1
in_host rg ip route add "$GW4/32" via 203.0.113.66
check "from the LAN nobody is heard" nobody_answers server @"$GW4" www.corp.test TXT
check "nor by TCP" nobody_answers server @"$GW4" +tcp www.corp.test TXT
check "nor over IPv6" nobody_answers server @"$GW6" www.corp.test TXT
check "nor at the LAN's address" nobody_answers server @10.20.0.1 www.corp.test TXT
check "nor from the WAN" nobody_answers rg @"$GW4" www.corp.test TXT
check "nor at the WAN's address" nobody_answers rg @203.0.113.66 www.corp.test TXT
check "none of them was even counted" is "$(gw foreign)" $((before + 1))
in_host gateway python3 -m http.server 8088 --bind 0.0.0.0 >/dev/null 2>&1 &
disown
wait_for 10 listening gateway 8088
check "the host itself reaches its own web server" in_host gateway curl -s -m 5 -o /dev/null "http://127.0.0.1:8088/"
before=$(drops_of urx_filtered)
check "a client does not, at the tunnel address" fails in_client curl -s -m 3 "http://$GW4:8088/"
check "filtered" at_least "$(drops_of urx_filtered)" $((before + 1))
check "echoes are answered" ping_ok "$GW4"

# ---- name servers that are away ----
name_servers 10.20.0.77 $SERVER_V4 # nobody there
before=$(gw retried)
check "the first server is away: the second is asked" says '"in the site"' www.corp.test TXT
check "by TCP likewise" says '"in the site"' +tcp www.corp.test TXT
check "counted as retried" counted retried "$before"
name_servers 127.0.0.1 $SERVER_V4 # nothing listens there
check "the first refuses: the second is asked" says '"in the site"' www.corp.test TXT
name_servers 10.20.0.1 127.0.0.1
before=$(gw failed)
check "all refuse: SERVFAIL" code SERVFAIL www.corp.test TXT
check "by TCP" code SERVFAIL +tcp www.corp.test TXT
check "counted as failed" counted failed "$before" 2
name_servers $EVIL $SERVER_V4
check "the first says SERVFAIL, the second NXDOMAIN" is "$(ask servfail.evil.test TXT | code_of)" SERVFAIL
name_servers $EVIL

# ---- name servers that lie: all at a time, each may take the whole 5 s ----
check "an honest one is believed" says '"secret"' good.evil.test TXT
check "a slow one is waited for" says '"secret"' slow.evil.test TXT
for how in +notcp +tcp; do
	pids=()
	for n in wrongid wrongname query loop forward short trailing garbage silent late hangup servfail refused rebind rebind6 \
		$([ $how = +tcp ] && echo half || echo stranger); do
		ask $how +ignore "$n-$how.evil.test" TXT >"$tmp/out-$n" &
		pids+=($!)
	done
	wait "${pids[@]}"
	for n in wrongid wrongname query loop forward short trailing garbage silent late hangup servfail refused rebind rebind6 \
		$([ $how = +tcp ] && echo half || echo stranger); do
		check "$how $n: SERVFAIL" is "$(code_of <"$tmp/out-$n")" SERVFAIL
		check "$how $n: nothing of it is passed on" fails grep -q 'secret\|ANSWER: [1-9]\|100\.96\|fd00:2021' "$tmp/out-$n"
	done
done
for c in bad_id:2 bad_question:4 bad_answer:10 rebinding:4 timeouts:20 failed:6; do
	check "counted: ${c%:*}" at_least "$(gw "${c%:*}")" "${c#*:}"
done
check "a forgery does not end it" says '"secret"' forge.evil.test TXT
check "nor by TCP" says '"secret"' +tcp forge.evil.test TXT
check "too long by UDP: cut" grep -q 'flags:[^;]* tc.*ANSWER: 0' <(ask +notcp +ignore huge.evil.test TXT)
check "and whole by TCP" is "$(ask +short +tcp huge.evil.test TXT | tr -cd x | wc -c)" 60000
before=$(gw stripped)
check "addresses beside an answer are left out" fails grep -q '10\.20\.' <(ask glue.evil.test SRV)
check "and the answer stays" says "1 2 443 host.example." gluetunnel.evil.test SRV
check "counted as stripped" counted stripped "$before" 2
check "nothing is left waiting" wait_for 15 pending_is 0
check "and no socket" is "$(status gateway .dns.sockets)" 0

# ---- one client's share ----
before=$(gw share_full)
in_client python3 - "$GW4" <<-'END'
	import socket, struct, sys
	s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	s.connect((sys.argv[1], 53535))
	for i in range(160):
	    s.send(struct.pack(">HHHHHH", i, 0x0100, 1, 0, 0, 0) + b"\x06silent\x04evil\x04test\x00" + struct.pack(">HH", 16, 1))
END
check "beyond its share a client gets SERVFAIL" counted share_full "$before" 60
check "then it is served again" wait_for 15 says '"secret"' good.evil.test TXT
# 30 connections, each with a query that waits: 16 stay.
before=$(status gateway .dns.server.tcp_refused)
in_client python3 - "$GW4" >"$tmp/conns" <<-'END' &
	import select, socket, struct, sys, time
	q = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\x06silent\x04evil\x04test\x00" + struct.pack(">HH", 16, 1)
	socks = []
	for i in range(30):
	    s = socket.create_connection((sys.argv[1], 53535), 5)
	    s.sendall(struct.pack(">H", len(q)) + q)
	    socks.append(s)
	    time.sleep(0.02)
	time.sleep(1)
	print(len(socks) - len(select.select(socks, [], [], 0)[0]), flush=True)
	time.sleep(2)
END
pid=$!
wait_for 10 test -s "$tmp/conns"
check "a client's address has 16 connections, not more" is "$(cat "$tmp/conns")" 16
check "the others were refused" at_least "$(status gateway .dns.server.tcp_refused)" $((before + 14))
check "its other address has its own share" is "$(dig_at @"$GW6" +short +tcp good.evil.test TXT)" '"secret"'
wait $pid

# ---- authorisation ends ----
before=$(gw withdrawn)
ask slower-revoked.evil.test TXT >"$tmp/revoked" &
pid=$!
wait_for 3 pending_is 1
portal_edit 'del(.policies[] | select(.resource == "evil"))'
wait $pid
check "revoked while it waits: not answered" fails grep -q secret "$tmp/revoked"
check "counted as withdrawn" counted withdrawn "$before"
check "and afterwards it is REFUSED" code REFUSED good.evil.test TXT
check "echoes go on, for another resource" ping_ok "$GW4"
portal_edit '.policies = []'
no_more() { ! ping_once "$GW4"; }
check "without any grant the gateway itself is out of reach" wait_for 10 no_more
check "so is its resolver" nobody_answers client @"$GW4" www.corp.test TXT
check "and by TCP" nobody_answers client @"$GW4" +tcp www.corp.test TXT

# ---- other tunnel addresses ----
lab stop portal
sed "s/\"$GW4\"/\"100.64.7.77\"/; s/\"$GW6\"/\"fd00:2021:1111::74d\"/" "$state/portal-state.json" >"$tmp/state" && cat "$tmp/state" >"$state/portal-state.json"
lab start portal
check "with new addresses it listens at those" wait_for 30 eval '[ "$(status gateway ".dns.listen | join(\" \")")" = "100.64.7.77:53535 [fd00:2021:1111::74d]:53535" ]'
portal_edit '.policies = [{group: "staff", resource: "corp"}]'
GW4=100.64.7.77
name_servers $SERVER_V4
check "and serves there" wait_for 30 serves_anew
# ---- one family only ----
in_host gateway sysctl -qw net.ipv6.conf.default.disable_ipv6=1
lab restart gateway
check "without IPv6 it listens at the other address" wait_for 30 eval '[ "$(status gateway ".dns.listen | join(\" \")")" = "$GW4:53535" ]'
check "and serves there" wait_for 30 serves_anew
check "the client lives on $CL4" is "$(status client .tunnel.ipv4)" "$CL4"
finish
