#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 420
#
# The host resolves with the client: programs fetch a web page by its plain name through the tunnel, with nothing set up for
# them but /etc/resolv.conf, which the client takes over and gives back: at its end, after a kill, when somebody else
# rewrites it. Real resolvers: the system's, the portal's outside, and the portal's inside a network that only the tunnel
# reaches. What fails leaves the host its own names, and the portal is found with the tunnel and its resolvers gone.
. "$(dirname "$0")/lib.sh"
. "$tests_dir/dns_world.sh"
need_world
conf=$state/hosts/client/resolv.conf
restored() { cmp -s "$conf" "$tmp/before" && [ "$(cd "$state/hosts/client/etc" && echo resolv.conf*)" = resolv.conf ]; }
ours() { grep -q '^nameserver 100\.100\.111\.' "$conf"; }
said() { grep -q "$1" "$state/logs/client.log"; }
joined() { [ "$(status client .portal.state)" = connected ]; }

names_in()
{
	local mode=$1 n

	world_up MODE="$mode"
	lab start client || fatal "the client does not start"
	check "$mode: without the portal's resolvers the system's are asked, once the tunnel is up" wait_for 20 upstreams $ROUTER:53
	check "$mode: resolv.conf is ours" ours
	check "$mode: and said so" dns_is state active
	check "$mode: a name of the home network" resolves www.home.example 203.0.113.65
	check "$mode: and by the home network's search domain" resolves www 203.0.113.65
	check "$mode: a public name is the router's to say" resolves public.test 203.0.113.66

	portal_dns "[\"$PUBLIC\"]" '"example"'
	check "$mode: the portal's resolver takes its place" wait_for 10 upstreams $PUBLIC:53
	check "$mode: a page by its plain name" wait_for 20 fetches app.example
	check "$mode: by its first label, below the portal's search domain" fetches app
	check "$mode: getent sees the proxy address" eval 'on client getent hosts app.example | grep -q "^fd00:2021:1111:8000:.* app.example$"'
	check "$mode: over IPv4" [ "$(on client curl -4 -s -m 10 http://app.example/)" = "hello, app.example" ]
	check "$mode: over IPv6" [ "$(on client curl -6 -s -m 10 http://app.example/)" = "hello, app.example" ]
	check "$mode: a name with IPv4 only" wait_for 10 fetches four.example
	check "$mode: a name with IPv6 only" wait_for 10 fetches six.example
	check "$mode: a wildcard's name" wait_for 10 fetches one.apps.example
	check "$mode: a name deep below a double wildcard" wait_for 10 fetches a.b.deep.example
	check "$mode: their addresses are no resource by themselves" fails on client curl -s -m 3 http://$DENIED_V4/
	check "$mode: a public name is the portal's resolver's to say" resolves public.test 203.0.113.80
	check "$mode: which the client asked itself, around the tunnel" was_asked portal A public.test $CLIENT_OUTSIDE
	check "$mode: nobody but the gateway was asked for names of resources" eval '! grep -q "app.example" "$tmp/rc.dns" "$tmp/portal.dns"'
	[ "$mode" = user ] || check "kernel: translated flows are the kernel's" at_least \
		"$(lab ctl gateway flows --json | jq '[.flows[] | select(.nat and .executor == "kernel")] | length')" 1

	portal_dns "[\"$SERVER_V4\"]" null
	check "$mode: a resolver inside a resource takes its place" wait_for 10 upstreams $SERVER_V4:53
	check "$mode: it is asked through the tunnel" dns_is 'resolvers[0].via_tunnel' true
	check "$mode: and answers" wait_for 10 resolves inner.test 10.20.0.77
	check "$mode: it was asked by the gateway's address" was_asked server A inner.test $GATEWAY_INSIDE
	check "$mode: and by no other" eval '! grep -qE "(inner|big).test from" <(grep -v "from $GATEWAY_INSIDE" "$tmp/server.dns")'
	n=$(on client dig +time=8 big.test TXT | grep -c '^big\.test\..*0001')
	check "$mode: an answer too long for UDP comes by TCP, all of it" [ "$n" = 1 ]
	check "$mode: so it was asked twice there" at_least "$(times_asked server big.test)" 2
	check "$mode: and once by TCP here" at_least "$(status client .dns.server.tcp_queries)" 1
	check "$mode: a page by its name, still" wait_for 10 fetches app.example
	check "$mode: the gateway's own resolv.conf is as it was" [ "$(cat "$state/hosts/gateway/resolv.conf")" = "nameserver $SERVER_V4" ]
	check "$mode: the client stops" lab stop client
	check "$mode: and resolv.conf is as before, with nothing beside it" restored
}

for mode in $(modes); do
	names_in "$mode"
done

# ---- what is not believed, what does not answer ----
world_up MODE=user
lab start client
portal_dns "[\"$PUBLIC\"]" null
check "the portal's resolver" wait_for 20 upstreams $PUBLIC:53
check "the canary does not exist" code_is NXDOMAIN use-application-dns.net
check "an answer into the tunnel's IPv4 range" code_is SERVFAIL evil4.test
check "and its IPv6 range" eval '[ "$(on client dig +time=8 +tries=1 evil6.test AAAA | grep -c SERVFAIL)" = 1 ]'
check "getent has none of it" fails on client getent hosts evil4.test
kill -STOP "${dns_pid[portal]}"
t0=$(now_ms)
check "a resolver that hangs: SERVFAIL" code_is SERVFAIL good.test
check "within 8 s" at_most $(($(now_ms) - t0)) 8000
kill -CONT "${dns_pid[portal]}"
check "it goes on: answered" wait_for 10 resolves good.test 203.0.113.81
portal_dns '["192.0.2.99"]' null
check "a resolver that is not there" wait_for 10 upstreams 192.0.2.99:53
check "SERVFAIL" code_is SERVFAIL good.test

# ---- changes under way ----
portal_dns '[]' null
check "the system's resolver again" wait_for 10 upstreams $ROUTER:53
lab kill client HUP
check "after SIGHUP: still ours" wait_for 20 joined
check "and names resolve" wait_for 10 resolves www.home.example 203.0.113.65
printf 'nameserver %s\nnameserver 192.0.2.98\n' $ROUTER >"$tmp/dhcp"
cp "$tmp/dhcp" "$state/hosts/client/etc/resolv.conf.dhcp" && mv "$state/hosts/client/etc/resolv.conf.dhcp" "$state/hosts/client/etc/resolv.conf"
check "another's rewrite is said" wait_for 10 said 'settings were changed by others'
check "its resolvers are the system's now" wait_for 10 upstreams "$ROUTER:53 192.0.2.98:53"
check "and the file is ours again" wait_for 10 ours
check "state" wait_for 5 dns_is state active

n=$(grep -c 'the host resolves with us' "$state/logs/client.log")
for _ in $(seq 40); do
	cp "$tmp/dhcp" "$state/hosts/client/etc/resolv.conf.dhcp" && mv "$state/hosts/client/etc/resolv.conf.dhcp" "$state/hosts/client/etc/resolv.conf"
	sleep 0.25
done
n=$(($(grep -c 'the host resolves with us' "$state/logs/client.log") - n))
check "a program that insists is not fought ($n times in 10 s)" at_most $n 3
check "and ours in the end" wait_for 60 ours
link_local=$(on rc ip -6 -o addr show dev lan0 scope link | awk '{ sub("/.*", "", $4); print $4 }')
printf 'nameserver %s%%eth0\n' "$link_local" >"$state/hosts/client/etc/resolv.conf.dhcp"
cp "$state/hosts/client/etc/resolv.conf.dhcp" "$tmp/before"
mv "$state/hosts/client/etc/resolv.conf.dhcp" "$state/hosts/client/etc/resolv.conf"
check "a link-local resolver is the system's now" wait_for 10 upstreams "[$link_local]:53"
check "and is reached on its link" wait_for 10 resolves nas.home.example 203.0.113.67
n=$(status client .dns.stub.queries)
lab stop portal
check "the portal is lost" wait_for 30 fails joined
lab start portal
check "the portal's name, which cannot be asked there, is known still" wait_for 60 joined
check "and was not asked of a sentinel" dns_is stub.queries "$n"
nsenter --net="/run/netns/$PENSTOCK_LAB-client" ip link del tun-penstock
check "an end by an error" wait_for 10 fails program_runs client
check "gives the file back, too" restored
rm -f "$state/pids/client"
cp "$tmp/dhcp" "$tmp/before"
cp "$tmp/dhcp" "$conf"
lab start client
check "and a new start takes it" wait_for 20 ours

# ---- a kill, and a portal out of reach ----
lab kill client KILL
wait_for 5 fails program_runs client
check "a kill leaves it ours" ours
lab partition client on
lab start client
check "the next start gives it back before it has the portal" wait_for 10 restored
check "(which it does not have)" fails joined
check "so the host resolves as before" resolves www.home.example 203.0.113.65
lab partition client off
check "with the portal it is ours again" wait_for 60 ours

# ---- the portal by its name, with nothing but the system's resolver ----
portal_edit '.resources += [{name: "lab", type: "dns", address: "**.lab", site: "lab"}] | .policies += [{group: "staff", resource: "lab"}]
	| .dns = {upstream: ["'$SERVER_V4'"], search_domain: null}'
check "upstream through the tunnel" wait_for 10 upstreams $SERVER_V4:53
check "the portal's name is a resource's for programs" wait_for 10 eval 'on client getent hosts portal.lab | grep -q ^fd00:2021:1111:8000:'
lab stop portal gateway
check "the portal is lost" wait_for 30 fails joined
asked=$(status client .dns.stub.queries) times=$(times_asked rc portal.lab)
lab start portal
check "and found again" wait_for 90 joined
check "at the system's resolver" at_least "$(times_asked rc portal.lab)" $((times + 1))
check "not at a sentinel" dns_is stub.queries "$asked"
check "the system's resolver was asked around the tunnel" was_asked rc A portal.lab 192.168.77.10
kill -STOP "${dns_pid[rc]}"
lab restart portal
check "with that gone, too, at the addresses it had last" wait_for 90 eval 'joined && said "name is not resolved"'
kill -CONT "${dns_pid[rc]}"
lab start gateway
check "the tunnel comes back" lab wait 40
check "and names with it" wait_for 20 fetches app.example
lab stop client
check "given back" restored

# ---- what cannot be taken over ----
real=$state/hosts/client/etc/resolv.conf
mv "$real" "$real.kept"
ln -s resolv.conf.kept "$real"
lab start client
check "a link: it says so" wait_for 20 dns_is state failed
check "and why" eval 'status client .dns.problem | grep -q "is a link"'
check "in text, too" eval 'lab ctl client status | grep -q "etc-resolv-conf failed (.*is a link"'
check "the host resolves as before" resolves www.home.example 203.0.113.65
check "the portal is there" joined
rm "$real" && mv "$real.kept" "$real"
check "a file in its place is taken" wait_for 15 dns_is state active
lab stop client
check "and given back" restored
LAB_DNS_CONTROL=systemd-resolved lab start client
check "without systemd-resolved: it says so" wait_for 20 dns_is state failed
check "and why: no bus" eval 'status client .dns.problem | grep -q "no D-Bus system bus"'
check "the host resolves as before" resolves www.home.example 203.0.113.65
check "nothing was touched" restored
LAB_DNS_CONTROL=disabled lab restart client
check "disabled: there are sentinels for who asks" wait_for 20 upstreams $SERVER_V4:53
check "and nothing was touched" restored
finish
