#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The client changes networks while traffic runs: its addresses are replaced, then SIGHUP resets its connections
# (new sockets, new keys), then its interface goes down and up. Each time a running iperf3 stream and ping go on in
# the same processes, and with the Internet through the tunnel, in a stream of its own. A client whose tunnel device
# was deleted ends and says so.
# timeout: 400
. "$(dirname "$0")/lib.sh"
. "$tests_dir/inet_lib.sh"
need_lab
command -v python3 >/dev/null || skip "'python3' is not installed"

in_client() { nsenter --net="/run/netns/$PENSTOCK_LAB-client" "$@"; }
direct() { [ "$(lab ctl client peers --json | jq -r '.peers[0].path')" = direct ]; }

# Bytes the server's iperf3 has received on all its connections.
received()
{
	nsenter --net="/run/netns/$PENSTOCK_LAB-server" ss -Htin 'sport = :5201' |
		grep -o 'bytes_received:[0-9]*' | cut -d: -f2 | awk '{ n += $1 } END { print n + 0 }'
}

# resumes WHAT SECONDS: ping passes and the stream's bytes grow.
resumes()
{
	local what=$1 t0 before

	t0=$(now_ms)
	check "$what: ping passes within $2 s" wait_for "$2" ping_once $SERVER_V4
	echo "# $what: after $(($(now_ms) - t0)) ms"
	before=$(received)
	check "$what: the stream goes on" wait_for 30 eval "[ \$(received) -gt $((before + 100000)) ]"
	check "$what: IPv6 inside, too" wait_for 5 ping_once $SERVER_V6
	check "$what: the path is direct" direct
	check "$what: the Internet is the gateway's, in both families" wait_for 10 through gateway
	check "$what: and its stream goes on" wait_for 30 eval '[ $(far_received) -gt '$(($(far_received) + 20000))' ]'
	check "$what: the attached network is not the tunnel's" ping_once 192.168.77.1
}

far_received()
{
	in_ns core ss -Htin "sport = :$FAR_PORT" | grep -o 'bytes_received:[0-9]*' | cut -d: -f2 | awk '{ n += $1 } END { print n + 0 }'
}

# move V4 V6: the client's host gets other addresses, as after a change of Wi-Fi.
move()
{
	in_client ip addr flush dev eth0 scope global
	in_client ip addr add "$1/24" dev eth0
	in_client ip -6 addr add "$2/64" dev eth0 nodad
	in_client ip route replace default via 192.168.77.1
	in_client ip -6 route replace default via 2001:db8:c::1
}

roam_in()
{
	local mode=$1 pid ping_pid far_pid client_pid

	lab_up MODE="$mode"
	client_pid=$(lab status | sed -n 's/^  client  *running, pid //p')
	iperf_server 5201
	bg client iperf3 -c $SERVER_V4 -t 200 -b 2M --connect-timeout 5000 >"$tmp/stream" 2>&1
	pid=$!
	bg client ping -n -i 0.2 $SERVER_V4 >"$tmp/ping" 2>&1
	ping_pid=$!
	check "$mode: the stream runs" wait_for 10 eval '[ $(received) -gt 200000 ]'
	far_up
	check "$mode: the Internet is switched on" eval '[ "$(lab ctl client resources enable internet)" = "Internet Resource is on" ] && wait_for 10 through gateway'
	bg client timeout 300 python3 -c "
import socket, time
s = socket.create_connection(('$FAR_V4', $FAR_PORT))
while True:
    s.sendall(bytes(2000)); time.sleep(0.05)"
	far_pid=$!
	check "$mode: its stream runs" wait_for 10 eval '[ $(far_received) -gt 50000 ]'

	move 192.168.77.20 2001:db8:c::20
	resumes "$mode: new addresses" 25
	check "$mode: from the new address" eval 'lab ctl client peers --json | grep -qE "192.168.77.20|2001:db8:c::20"'

	lab kill client HUP
	check "$mode: SIGHUP is logged" wait_for 5 grep -q 'resetting connections' "$state/logs/client.log"
	resumes "$mode: SIGHUP" 25
	lab kill client HUP
	lab kill client HUP
	resumes "$mode: SIGHUP twice" 25

	in_client ip link set eth0 down
	sleep 1
	in_client ip link set eth0 up
	move 192.168.77.10 2001:db8:c::10
	resumes "$mode: interface down and up" 30

	check "$mode: the stream was never broken" kill -0 $pid
	check "$mode: nor was the Internet's" kill -0 $far_pid
	check "$mode: the same client all along" [ "$(lab status | sed -n 's/^  client  *running, pid //p')" = "$client_pid" ]
	kill $pid $ping_pid $far_pid 2>/dev/null
	wait $pid $ping_pid $far_pid 2>/dev/null

	in_client ip link del tun-penstock
	check "$mode: without its tunnel device the client ends" wait_for 5 eval '! program_runs client'
	check "$mode: and says why" grep -q 'tunnel device is gone' "$state/logs/client.log"
	rm -f "$state/pids/client"
	lab start client
	check "$mode: a new start works" lab wait 30
}

for mode in $(modes); do
	roam_in "$mode"
done
finish
