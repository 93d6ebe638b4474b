#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A lab with real resolvers (dnsmasq), sourced by t_dns-host.sh and t_dns-resolved.sh:
#
#   the client's router   192.168.77.1   the system's resolver: portal.lab, home.example, public.test (as .66)
#   the portal's host     192.0.2.10     a resolver of the internet's: public.test (as .80), names that lie
#   the server            10.20.0.10     the site's: *.example, inner.test; inside the resource server-v4
#
# The web server is on the server's other addresses, which no other resource covers; gateway and client know it by name only.
# $tmp/<host>.dns is what each resolver was asked, by whom.
ROUTER=192.168.77.1 PUBLIC=192.0.2.10 CLIENT_OUTSIDE=198.51.100.2 GATEWAY_INSIDE=10.20.0.1
declare -A dns_pid
PATH=$PATH:/usr/sbin:/sbin

need_world()
{
	local t

	need_lab
	for t in dig curl python3 dnsmasq getent; do
		command -v $t >/dev/null || skip "'$t' is not installed"
	done
}

# dns HOST OPTION…
dns()
{
	local host=$1
	shift
	bg "$host" dnsmasq --no-daemon --conf-file=/dev/null --no-resolv --no-hosts --bind-interfaces \
		--log-queries=extra --log-facility=- "$@" >>"$tmp/$host.dns" 2>&1
	dns_pid[$host]=$!
	disown
	wait_for 10 grep -q started "$tmp/$host.dns" || fatal "no DNS server on $host"
}

long_text() { printf '%0240d' "$1"; }

world_dns()
{
	dns rc --interface=lan0 --local-ttl=300 --local=/lab/home.example/test/ --host-record="portal.lab,$PUBLIC,2001:db8:9::10" \
		--host-record=www.home.example,203.0.113.65 --host-record=nas.home.example,203.0.113.67 \
		--host-record=public.test,203.0.113.66
	dns portal --listen-address=$PUBLIC --local-ttl=300 --local=/test/ --host-record=public.test,203.0.113.80 --host-record=evil4.test,100.96.0.1 \
		--host-record=evil6.test,fd00:2021:1111:8000::1 --host-record=good.test,203.0.113.81
	dns server --listen-address=$SERVER_V4 --local=/example/test/ --host-record="app.example,$DENIED_V4,$DENIED_V6" \
		--host-record=four.example,$DENIED_V4 --host-record=six.example,$DENIED_V6 \
		--host-record="one.apps.example,$DENIED_V4,$DENIED_V6" --host-record=a.b.deep.example,$DENIED_V4 \
		--host-record=inner.test,10.20.0.77 \
		--txt-record="big.test,$(long_text 1),$(long_text 2),$(long_text 3),$(long_text 4),$(long_text 5),$(long_text 6)"
}

world_web()
{
	bg server python3 -c '
import http.server, socket
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(("hello, %s\n" % self.headers["Host"]).encode())
    def log_message(self, *a): pass
class S(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()
S(("::", 80), H).serve_forever()' >"$tmp/web" 2>&1
	disown
	wait_for 10 listening server 80 || fatal "no web server"
}

# The client's host uses its router's resolver, and finds the portal by DNS.
world_client()
{
	printf 'nameserver %s\nsearch home.example\n' $ROUTER >"$state/hosts/client/resolv.conf"
	sed -i /portal.lab/d "$state/hosts/client/hosts"
	cp "$state/hosts/client/resolv.conf" "$tmp/before"
}

# world_up [ENV=VALUE…]: everything but the client.
world_up()
{
	lab down
	lab_is_up=1
	: >"$tmp/rc.dns"
	: >"$tmp/portal.dns"
	: >"$tmp/server.dns"
	env LAB_PROGRAMS="portal gateway" "$@" "$root/tools/lab/lab" up || fatal "lab up failed"
	world_dns
	world_web
	world_client
	echo "nameserver $SERVER_V4" >"$state/hosts/gateway/resolv.conf"
	portal_edit '.resources += [{name: "names", type: "dns", address: "?*.example", site: "lab"},
			{name: "apps", type: "dns", address: "*.apps.example", site: "lab"},
			{name: "deep", type: "dns", address: "**.deep.example", site: "lab"}]
		| .policies += [{group: "staff", resource: "names"}, {group: "staff", resource: "apps"}, {group: "staff", resource: "deep"}]'
}

portal_dns() { portal_edit ".dns = {upstream: $1, search_domain: $2}"; }

dns_is() { [ "$(status client ".dns.$1")" = "$2" ]; }
upstreams() { dns_is 'resolvers | map(.upstream) | join(" ")' "$1"; }
# Nothing but the host's own way to resolve: no --resolve, no @server.
fetches() { [ "$(on client curl -s -m 10 "http://$1/")" = "hello, $1" ]; }
resolves() { [ "$(on client getent ahostsv4 "$1" | awk 'NR == 1 { print $1 }')" = "$2" ]; }
resolves6() { [ "$(on client getent ahostsv6 "$1" | awk 'NR == 1 { print $1 }')" = "$2" ]; }
# dig by resolv.conf, which waits longer than our five seconds.
code_is() { [ "$(on client dig +time=8 +tries=1 "$2" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p')" = "$1" ]; }
was_asked() { grep -q "query\[$2\] $3 from $4" "$tmp/$1.dns"; }
times_asked() { grep -c "query\[.*\] $2 from" "$tmp/$1.dns"; }
