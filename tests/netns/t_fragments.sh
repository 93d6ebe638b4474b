#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 200
#
# Datagrams longer than the tunnel's MTU, in fragments, both ways and families: to a network without filters they pass; where
# only whole packets can be judged, behind filters and behind a name, they end under their reason, and the sender hears it.
. "$(dirname "$0")/lib.sh"
. "$tests_dir/far.sh"
need_lab
for t in dig python3; do
	command -v $t >/dev/null || skip "'$t' is not installed"
done

# Sends 2000 bytes to ADDR PORT; prints how many come back, or the error's name.
datagram()
{
	on client timeout 10 python3 -c '
import errno, socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
if s.family == socket.AF_INET:
    s.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER, IP_PMTUDISC_DONT
s.settimeout(3)
s.connect((sys.argv[1], int(sys.argv[2])))
try:
    s.send(bytes(int(sys.argv[3])))
    print(len(s.recv(4000)))
except TimeoutError:
    print("silence")
except OSError as e:
    print(errno.errorcode[e.errno])' "$@"
}
is()
{
	[ "$1" = "$2" ] || { echo "# got '$1', want '$2'"; false; }
}
more() { [ "$(drops_of "$1" "$2")" -gt "$3" ]; }
big_ping() { on client ping -n -q -c 2 -i 0.2 -W 2 -M dont -s 2000 "$1" >/dev/null; }

# Port 9000 gives back what it got; 9001 answers with 2000 bytes to whatever it got.
echo_udp()
{
	nsenter --net="/run/netns/$PENSTOCK_LAB-far" python3 -c '
import selectors, socket, sys
sel = selectors.DefaultSelector()
for at in sys.argv[1:]:
    for port in (9000, 9001):
        s = socket.socket(socket.AF_INET6 if ":" in at else socket.AF_INET, socket.SOCK_DGRAM)
        if s.family == socket.AF_INET:
            s.setsockopt(socket.IPPROTO_IP, 10, 0)
        s.bind((at, port))
        sel.register(s, selectors.EVENT_READ, port)
while True:
    for key, _ in sel.select():
        data, at = key.fileobj.recvfrom(4000)
        key.fileobj.sendto(data if key.data == 9000 else bytes(2000), at)' $FAR_V4 $FAR_V6 10.22.0.11 fd00:22::11 &
}

for mode in $(modes); do
	lab_up MODE=$mode
	far_up
	# Another address than the network's: what comes from there in fragments is of the name, or of nothing.
	far_addr far eth0 10.22.0.11/24 fd00:22::11/64
	echo_udp
	name_up far.example 10.22.0.11 fd00:22::11
	portal_edit ".dns = {upstream: [\"192.0.2.10\"], search_domain: null}
		| .resources += [{name: \"net4\", type: \"cidr\", address: \"$FAR_V4\", site: \"lab\"},
			{name: \"net6\", type: \"cidr\", address: \"$FAR_V6\", site: \"lab\"},
			{name: \"names\", type: \"dns\", address: \"*.example\", site: \"lab\"}]
		| .policies += [.resources[-3:][] | {group: \"staff\", resource: .name}]"
	wait_for 10 has_proxy far.example || fatal "no names"
	p4=$(proxy_of far.example A) p6=$(proxy_of far.example AAAA)
	wait_for 5 ping_once $FAR_V4 && wait_for 5 ping_once "$p4" || fatal "the far server is not reached"
	for a in $FAR_V4 $FAR_V6; do
		# The first one may teach the server that its fragments are too long for the tunnel.
		check "$mode: echoes of 2000 bytes with $a, there and back" big_ping $a
		check "$mode: UDP of that size" is "$(datagram $a 9000 2000)" 2000
	done
	for a in $p4 $p6; do
		n=$(drops_of gateway urx_fragment)
		check "$mode: to a name, $a: prohibited at once" eval "is '$(datagram "$a" 9000 2000)' '$([ "$a" = "$p4" ] && echo EHOSTUNREACH || echo EACCES)'"
		check "$mode: counted" more gateway urx_fragment "$n"
		check "$mode: what fits passes" is "$(datagram "$a" 9000 1000)" 1000
		n=$(drops_of gateway utx_fragment)
		check "$mode: from a name: nothing of it arrives" is "$(datagram "$a" 9001 10)" silence
		check "$mode: counted" more gateway utx_fragment "$n"
	done
	portal_edit '.resources |= map(if .name == "net4" or .name == "net6" then .filters = [{protocol: "udp", port_range_start: 9000, port_range_end: 9001}] else . end)'
	sleep 1
	for a in $FAR_V4 $FAR_V6; do
		n=$(drops_of client utx_fragment)
		check "$mode: behind filters: what fits passes" is "$(datagram $a 9000 1000)" 1000
		check "$mode: fragments are prohibited" eval "is '$(datagram $a 9000 2000)' '$([ $a = $FAR_V4 ] && echo EHOSTUNREACH || echo EACCES)'"
		check "$mode: counted by the client, which knows the filters" more client utx_fragment "$n"
		n=$(drops_of gateway utx_fragment)
		check "$mode: and back" is "$(datagram $a 9001 10)" silence
		check "$mode: counted" more gateway utx_fragment "$n"
	done
	far_down
	lab down
	lab_is_up=
done
finish
