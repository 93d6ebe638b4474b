#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Bad input to the programs: each malformed flag, environment variable, token file (permissions too) and portal
# configuration gets an error that names it and a non-zero exit, at once; a reload of a bad file keeps the old one.
# timeout: 120
. "$(dirname "$0")/lib.sh"
need_lab

token=$tmp/token
(umask 077 && echo "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG" >"$token")

# refuses PATTERN HOST CMD…: exits non-zero (not by a signal, not by time) within 5 s and says PATTERN.
refuses()
{
	local want=$1 host=$2 rc
	shift 2
	timeout 5 nsenter --net="/run/netns/$PENSTOCK_LAB-$host" env -u FIREZONE_TOKEN "$@" >"$tmp/said" 2>&1 </dev/null
	rc=$?
	if [ $rc = 0 ] || [ $rc -ge 124 ]; then
		echo "# exit $rc: $(tail -n 2 "$tmp/said")"
		return 1
	fi
	grep -qiE -- "$want" "$tmp/said" || { echo "# says: $(tail -n 2 "$tmp/said")"; return 1; }
	! grep -qF 0123456789abcdef "$tmp/said" || { echo "# the token is in the message"; return 1; }
}

# A client without a token is not broken: it is signed out until somebody signs in.
waits_signed_out()
{
	local host=$1
	shift
	timeout 2 nsenter --net="/run/netns/$PENSTOCK_LAB-$host" env -u FIREZONE_TOKEN "$@" >"$tmp/said" 2>&1 </dev/null
	[ $? = 124 ] && grep -qiE 'signed.out|no token|nope.token' "$tmp/said" || { echo "# says: $(head -n 5 "$tmp/said")"; return 1; }
}

# Programs run in a namespace of their own, so that a wrong acceptance touches nothing.
LAB_PROGRAMS= lab up || fatal "lab up failed"
lab_is_up=1
PORTAL_BIN=$PENSTOCK_BUILD/penstock-portal

for prog in gateway client; do
	bin=$PENSTOCK_BUILD/penstock-$prog
	run=($prog "$bin" --instance "$PENSTOCK_LAB-$prog" --id-file "$tmp/id-$prog.json")
	check "$prog: unknown flag" refuses 'no-such-flag' "${run[@]}" --no-such-flag
	check "$prog: flag without its value" refuses 'api-url' "${run[@]}" --api-url
	check "$prog: --mode" refuses 'mode' "${run[@]}" --token-path "$token" --api-url ws://127.0.0.1:1/ --mode turbo
	check "$prog: --xdp-mode" refuses 'xdp-mode' "${run[@]}" --token-path "$token" --api-url ws://127.0.0.1:1/ --xdp-mode fast
	check "$prog: --offload" refuses 'offload' "${run[@]}" --token-path "$token" --api-url ws://127.0.0.1:1/ --offload maybe
	for mtu in 1279 1501 1280x big -1300; do
		check "$prog: --tunnel-mtu $mtu" refuses 'tunnel-mtu' "${run[@]}" --token-path "$token" --api-url ws://127.0.0.1:1/ --tunnel-mtu=$mtu
	done
	check "$prog: --log-format" refuses 'log-format' "${run[@]}" --token-path "$token" --api-url ws://127.0.0.1:1/ --log-format xml
	check "$prog: --log-level" refuses 'log-level' "${run[@]}" --token-path "$token" --api-url ws://127.0.0.1:1/ --log-level loud
	check "$prog: --api-url scheme" refuses 'api-url|url' "${run[@]}" --token-path "$token" --api-url ftp://127.0.0.1/
	check "$prog: --api-url garbage" refuses 'api-url|url' "${run[@]}" --token-path "$token" --api-url 'wss://'
	check "$prog: plain ws to a remote host" refuses 'plain|tls|wss' "${run[@]}" --token-path "$token" --api-url ws://192.0.2.10:8080/
	check "$prog: --wan-iface that does not exist" refuses 'nope0' "${run[@]}" --token-path "$token" --api-url ws://127.0.0.1:1/ --wan-iface nope0
	check "$prog: --ca-file that does not exist" refuses 'nope.pem' "${run[@]}" --token-path "$token" --api-url wss://127.0.0.1:1/ --ca-file "$tmp/nope.pem"
	echo garbage >"$tmp/bad.pem"
	check "$prog: --ca-file that is no certificate" refuses 'bad.pem' "${run[@]}" --token-path "$token" --api-url wss://127.0.0.1:1/ --ca-file "$tmp/bad.pem"
	if [ $prog = gateway ]; then
		check "$prog: token file that does not exist" refuses 'nope.token' "${run[@]}" --token-path "$tmp/nope.token" --api-url ws://127.0.0.1:1/
	else
		check "$prog: no token file: says so and waits signed out" waits_signed_out "${run[@]}" --token-path "$tmp/nope.token" --api-url ws://127.0.0.1:1/
	fi
	cp "$token" "$tmp/open.token" && chmod 644 "$tmp/open.token"
	check "$prog: token file others can read" refuses 'open.token' "${run[@]}" --token-path "$tmp/open.token" --api-url ws://127.0.0.1:1/
	(umask 077 && : >"$tmp/empty.token")
	check "$prog: empty token file" refuses 'empty.token|token' "${run[@]}" --token-path "$tmp/empty.token" --api-url ws://127.0.0.1:1/
	(umask 077 && head -c 70000 /dev/zero | tr '\0' x >"$tmp/huge.token")
	check "$prog: huge token file" refuses 'huge.token|token' "${run[@]}" --token-path "$tmp/huge.token" --api-url ws://127.0.0.1:1/
	check "$prog: FIREZONE_API_URL" refuses 'API_URL|url' $prog FIREZONE_API_URL='not a url' "$bin" --instance "$PENSTOCK_LAB-$prog" --token-path "$token" --id-file "$tmp/id-$prog.json"
	check "$prog: PENSTOCK_MODE" refuses 'MODE' $prog PENSTOCK_MODE=turbo "$bin" --instance "$PENSTOCK_LAB-$prog" --token-path "$token" --id-file "$tmp/id-$prog.json" --api-url ws://127.0.0.1:1/
	check "$prog: --instance with a slash" refuses 'instance' $prog "$bin" --instance ../etc --token-path "$token" --api-url ws://127.0.0.1:1/
	echo '{"id":' >"$tmp/id-bad.json"
	check "$prog: broken identity file" refuses 'id-bad.json' $prog "$bin" --instance "$PENSTOCK_LAB-$prog" --token-path "$token" --id-file "$tmp/id-bad.json" --api-url ws://127.0.0.1:1/
	check "$prog: token as an argument" refuses '.' "${run[@]}" --token 0123456789abcdefghijklmnopqrstuvwxyzABCDEFG
done

bad_config()
{
	local name=$1 want=$2

	check "portal: $name" refuses "$want" portal "$PORTAL_BIN" --config "$tmp/bad.json"
}
jq -c . "$state/portal.json" | sed 's/,"policies"/ "policies"/' >"$tmp/bad.json"; bad_config "syntax error" 'bad.json:1|line 1'
jq '.policies[0].resource = "nothing"' "$state/portal.json" >"$tmp/bad.json"; bad_config "policy for an unknown resource" 'policies\[0\].resource'
jq '.resources[0].address = "10.20.0.10/24"' "$state/portal.json" >"$tmp/bad.json"; bad_config "host bits in a network" 'resources\[0\].address'
jq '.clients[0].token_sha256 = "abc"' "$state/portal.json" >"$tmp/bad.json"; bad_config "token hash" 'clients\[0\].token_sha256'
jq '.gateways[0].site = "mars"' "$state/portal.json" >"$tmp/bad.json"; bad_config "unknown site" 'gateways\[0\].site'
jq '.listne = []' "$state/portal.json" >"$tmp/bad.json"; bad_config "misspelt key" 'listne'
jq '.listen[0].address = "nowhere"' "$state/portal.json" >"$tmp/bad.json"; bad_config "listen address" 'listen\[0\].address'
: >"$tmp/bad.json"; bad_config "empty file" 'bad.json'
check "portal: no such file" refuses 'nope.json' portal "$PORTAL_BIN" --config "$tmp/nope.json"
check "portal: unknown flag" refuses 'no-such-flag' portal "$PORTAL_BIN" --no-such-flag

lab start portal || fatal "the portal does not start with a good file"
jq '.policies[0].resource = "nothing"' "$state/portal.json" >"$tmp/reload.json"
cp "$state/portal.json" "$tmp/good.json"
cp "$tmp/reload.json" "$state/portal.json"
check "portal: a bad reload is logged with its field" wait_for 5 grep -q 'policies\[0\].resource' "$state/logs/portal.log"
check "portal: and the old configuration goes on" on portal curl -fsS -o /dev/null http://127.0.0.1:8081/healthz

ctl=$PENSTOCK_BUILD/penstock
check "penstock: no daemon" refuses '.' client "$ctl" --instance "$PENSTOCK_LAB-nobody" status
check "penstock: unknown command" refuses 'frobnicate' client "$ctl" --instance "$PENSTOCK_LAB-nobody" frobnicate
check "penstock: unknown flag" refuses 'no-such-flag' client "$ctl" status --no-such-flag
check "penstock: bad instance name" refuses 'instance' client "$ctl" --instance '../x' status
finish
