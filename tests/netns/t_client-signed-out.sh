#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A client without a token says so and waits, signed out; the operator's socket shows it. A token file others can
# read is refused with a clear error and the waiting goes on; the right one signs the client in. At the start a bad
# token file is final. A token the portal does not know ends it with status 3.
# timeout: 120
. "$(dirname "$0")/lib.sh"
need_lab

log=$state/logs/client.log
portal_state() { status client .portal.state; }
said() { grep -q "$1" "$log"; }
times_said() { grep -c "$1" "$log"; }

LAB_PROGRAMS="portal gateway" MODE=user lab up || fatal "lab up failed"
lab_is_up=1
mv "$state/client.token" "$tmp/token"
check "starts without a token" lab start client
check "says that it is signed out" wait_for 5 said 'signed out'
check "names the file it waits for" said "$state/client.token"
check "the operator sees it" [ "$(portal_state)" = signed_out ]
check "the tunnel device is there" on client ip link show tun-penstock
check "nothing is routed into it" fails ping_once $SERVER_V4

(umask 022 && echo half >"$state/client.token")
check "a token file others can read is refused" wait_for 12 said 'token file refused'
check "and the error names the mode" grep -q 'mode 0644; required: 0600' "$log"
sleep 6
check "said once, not at every look" [ "$(times_said 'token file refused')" = 1 ]
check "it waits on" program_runs client
check "still signed out" [ "$(portal_state)" = signed_out ]

rm "$state/client.token"
cp -p "$tmp/token" "$state/client.token"
lab kill client HUP
check "SIGHUP finds the token" wait_for 10 eval '[ "$(portal_state)" = connected ]'
check "and the server is reached" wait_for 20 ping_once $SERVER_V4
check "the token is in no log line" fails grep -qF "$(cat "$tmp/token")" "$log"
check "stops on SIGTERM while signed in" lab stop client

rm "$state/client.token"
lab start client
check "signed out again" wait_for 5 eval '[ "$(portal_state)" = signed_out ]'
cp -p "$tmp/token" "$state/client.token"
check "found without a signal, too" wait_for 12 eval '[ "$(portal_state)" = connected ]'
check "and the server is reached again" wait_for 20 ping_once $SERVER_V4
lab stop client

rm "$state/client.token"
lab start client
check "waits once more" wait_for 5 eval '[ "$(portal_state)" = signed_out ]'
check "stops on SIGTERM while signed out" lab stop client

# Started by hand: the exit status counts.
run_client()
{
	timeout "$1" "$root/tools/lab/lab" exec client "$PENSTOCK_BUILD/penstock-client" --api-url "wss://portal.lab:8443/" --ca-file "$state/tls/ca.pem" \
		--token-path "$tmp/bad" --instance "$PENSTOCK_LAB-client" --id-file "$tmp/id.json" --mode user >"$tmp/said" 2>&1
	echo $?
}
(umask 022 && echo half >"$tmp/bad")
check "at the start a file others can read is final: status 2" [ "$(run_client 10)" = 2 ]
check "with its mode" grep -q 'mode 0644; required: 0600' "$tmp/said"
(umask 077 && rm "$tmp/bad" && echo AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA >"$tmp/bad")
check "a token the portal does not know: status 3" [ "$(run_client 20)" = 3 ]
check "and it says why" grep -qi 'giving up' "$tmp/said"
check "and left no tunnel device" fails on client ip link show tun-penstock
finish
