#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 180
#
# A resource by its name: the client asks the sentinel resolver, gets proxy addresses, and reaches the web server
# behind them, although it never learns where that is. The gateway resolves the name, translates, and in kernel
# mode both ends carry the translated flow in the kernel. A name that no resource covers goes to the portal's
# resolver; a name taken out of policy is unreachable at once.
. "$(dirname "$0")/lib.sh"
need_lab
for t in dig curl python3; do
	command -v $t >/dev/null || skip "'$t' is not installed"
done
SENTINEL=100.100.111.1
web=

ask() { on client dig +short +time=2 +tries=1 @$SENTINEL "$@"; }
resolves() { [ "$(ask app.example A | head -n 1)" = 100.96.0.1 ]; }
fetches() { [ "$(on client curl -s -m 5 --resolve "app.example:8080:$1" "http://app.example:8080/")" = "hello, app.example:8080" ]; }
# In kernel mode: most packets of the translated flow were the kernel's, in both directions.
translated()
{
	lab ctl gateway flows --json | jq -e '[.flows[] | select(.resource_name == "app" and .proto == "icmp" and .nat != null and .kernel_packets >= 30)] |
		(map(.direction) | unique) == ["in", "out"]' >/dev/null
}

for mode in $(modes); do
	lab_up MODE=$mode
	portal_edit '.resources += [{"name":"app","type":"dns","address":"*.example","site":"lab"}] |
		.policies += [{"group":"staff","resource":"app"}] | .dns = {"upstream":["192.0.2.10"],"search_domain":null}'
	on gateway sh -c "echo '$SERVER_V4 app.example' >>/etc/hosts"
	"$root/tools/lab/lab" exec server timeout 120 python3 -c "
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'hello, ' + self.headers['Host'].encode())
    def log_message(self, *a): pass
http.server.HTTPServer(('$SERVER_V4', 8080), H).serve_forever()" &
	web=$!
	check "$mode: the name resolves to proxy addresses" wait_for 10 resolves
	check "$mode: AAAA gives the other family's" [ "$(ask app.example AAAA | head -n 1)" = fd00:2021:1111:8000:: ]
	check "$mode: HTTPS is empty" [ -z "$(ask app.example HTTPS)" ]
	check "$mode: the web server answers by that name" wait_for 10 fetches 100.96.0.1
	check "$mode: over TCP as well" [ "$(ask +tcp app.example A | head -n 1)" = 100.96.0.1 ]
	check "$mode: the pointer leads back" [ "$(ask -x 100.96.0.1)" = app.example. ]
	check "$mode: echoes through the translation, none lost" on client ping -q -c 40 -i 0.02 -W 2 100.96.0.1
	[ $mode != kernel ] || check "kernel: both directions of the flow were translated in the kernel" wait_for 3 translated
	check "$mode: a proxy address nobody was given is unreachable" fails on client ping -q -c 1 -W 1 100.96.9.9
	portal_edit '.policies |= map(select(.resource != "app"))'
	gone() { ! fetches 100.96.0.1; }
	check "$mode: taken out of policy, it is not reached any more" wait_for 5 gone
	kill $web 2>/dev/null
	wait $web 2>/dev/null
	lab down
	lab_is_up=
done
finish
