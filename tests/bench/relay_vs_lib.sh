# SPDX-License-Identifier: Apache-2.0
#
# Networks and servers for relay benches against coturn: sourced after lib.sh and relay_lib.sh, whose namespaces,
# names and addresses these are.
#
#   vs_need                 root, namespaces, coturn, or exit 77
#   vs_net_up plain|wire    plain: two veths to the relay that do what a NIC with checksum and segmentation offload does.
#                           wire: the relay has one interface, behind it a router that moves frames from XDP to XDP, so
#                           that they arrive as a driver's do, outside any skb; no segmentation offload
#   vs_start user|xdp|generic|coturn   as $relay_pid
#   vs_stop
#   vs_cpu                  CPU time of the relay's side in ns: its threads, and what receives for it
#
# Every interface's receive processing is a thread (napi/IF-N). So what the relay's interfaces receive, XDP included,
# is counted as the relay's, and what the generator's do is not, whoever's time slice it would have been. The relay's
# interfaces bear the shell's pid, so that their threads are known by name.
vs_user=alice vs_password=wonder
vs_turnserver=${VS_COTURN:-turnserver}
vs_mac_router=02:00:00:00:00:01 vs_mac_relay=02:00:00:00:00:02

vs_need()
{
	relay_need
	for t in "$vs_turnserver" ethtool ss; do
		command -v $t >/dev/null || skip "'$t' is not installed"
	done
	[ -r /proc/self/schedstat ] || skip "no schedstat in this kernel"
}

# NS IF: what is received there, by a thread. Without TSO a veth takes its peer's packets by NAPI at all.
vs_thread()
{
	ip netns exec "$1" ethtool -K "$2" gro on tso off >/dev/null || fatal "ethtool $2"
	ip netns exec "$1" sh -c "echo 1 >/sys/class/net/$2/threaded" || fatal "no threaded NAPI on $2"
}

# The router's ends; indices as in bpf/wire.bpf.c.
vs_wire()
{
	local d

	ip -n "$ns-w" link add cx index 100 type veth peer name c0 netns "$ns-c"
	ip -n "$ns-w" link add cy index 101 type veth peer name "rc$$" netns "$ns-r"
	ip -n "$ns-w" link add px index 200 type veth peer name p0 netns "$ns-p"
	for d in cx cy px; do
		ip -n "$ns-w" link set "$d" xdpdrv obj "$PENSTOCK_BUILD/bpf/wire.bpf.o" sec xdp || fatal "no XDP on $d"
		ip -n "$ns-w" link set "$d" up
		ip netns exec "$ns-w" ethtool -K "$d" gro on >/dev/null
		ip netns exec "$ns-w" sh -c "echo 1 >/sys/class/net/$d/threaded"
	done
	vs_routed c 10.91.1.2
	vs_routed p 10.91.2.2
	ip -n "$ns-r" addr add 10.91.1.1/32 dev "rc$$"
	ip -n "$ns-r" addr add fd91:1::1/64 dev "rc$$" nodad
	ip -n "$ns-r" link set "rc$$" address $vs_mac_relay up
	ip -n "$ns-r" route add 10.91.9.1 dev "rc$$"
	ip -n "$ns-r" route add default via 10.91.9.1
	ip -n "$ns-r" neigh replace 10.91.9.1 lladdr $vs_mac_router dev "rc$$" nud permanent
	vs_thread "$ns-r" "rc$$"
}

# NAME IP: a station behind the router.
vs_routed()
{
	ip netns exec "$ns-$1" ethtool -K "${1}0" tx off >/dev/null
	ip -n "$ns-$1" addr add "$2/32" dev "${1}0"
	ip -n "$ns-$1" link set "${1}0" address $vs_mac_router up
	ip -n "$ns-$1" route add default via 10.91.1.1 dev "${1}0" onlink
	ip -n "$ns-$1" neigh replace 10.91.1.1 lladdr $vs_mac_relay dev "${1}0" nud permanent
	vs_thread "$ns-$1" "${1}0"
}

vs_plain()
{
	local n=$1 net=$2

	ip -n "$ns-r" link add "r$n$$" type veth peer name "${n}0" netns "$ns-$n"
	ip -n "$ns-r" addr add "10.91.$net.1/24" dev "r$n$$"
	ip -n "$ns-r" addr add "fd91:$net::1/64" dev "r$n$$" nodad
	ip -n "$ns-$n" addr add "10.91.$net.2/24" dev "${n}0"
	ip -n "$ns-r" link set "r$n$$" up
	ip -n "$ns-$n" link set "${n}0" up
	ip -n "$ns-$n" route add default via "10.91.$net.1"
	vs_thread "$ns-r" "r$n$$"
	vs_thread "$ns-$n" "${n}0"
}

vs_net_up()
{
	local n

	trap 'rc=$?; vs_net_down; (exit $rc); relay_exit' EXIT
	for n in c r p w; do
		ip netns add "$ns-$n" || fatal "no namespace"
		ip -n "$ns-$n" link set lo up
	done
	if [ "$1" = wire ]; then
		vs_wire
	else
		vs_plain c 1
		vs_plain p 2
	fi
	ip netns exec "$ns-r" sysctl -qw net.ipv4.ip_local_port_range="20000 40000" net.ipv4.ip_forward=1
	wait_for 5 vs_reaches 10.91.1.2 && wait_for 5 vs_reaches 10.91.2.2 || fatal "the network does not work"
	vs_ifs=$(ip -n "$ns-r" -j link show type veth | jq -r 'map(.ifname) | join(",")')
	vs_threads=$(pgrep "^napi/r[cp]$$-" | tr '\n' ' ')
	[ "$(wc -w <<<"$vs_threads")" = "$(ip -n "$ns-r" -o link show type veth | wc -l)" ] || fatal "receiving threads: $vs_threads"
}

vs_reaches() { ip netns exec "$ns-r" ping -c 1 -W 1 "$1" >/dev/null 2>&1; }

vs_net_down() { ip netns del "$ns-w" 2>/dev/null; }

# Versions differ: those of the options that this one's help names.
vs_known()
{
	local help o

	help=$("$vs_turnserver" --help 2>&1)
	for o in "$@"; do
		grep -q -e "$o\b" <<<"$help" && echo "$o"
	done
}

# Its version, as it says it itself.
vs_coturn_version() { "$vs_turnserver" --version 2>&1 | grep -oE '[0-9]+\.[0-9]+\.[0-9]+[^ ]*' | head -n 1; }

vs_coturn()
{
	ip netns exec "$ns-r" "$vs_turnserver" -n --listening-port=3478 --min-port=41000 --listening-ip=10.91.1.1 --relay-ip=10.91.1.1 \
		--lt-cred-mech --user=$vs_user:$vs_password --realm=bench --no-tls --no-dtls --no-tcp --no-tcp-relay \
		$(vs_known --no-cli --no-rfc5780 --no-stun-backward-compatibility --no-software-attribute --no-dynamic-ip-list \
			--no-dynamic-realms) --no-stdout-log --simple-log "--log-file=$tmp/coturn.log" "--pidfile=$tmp/coturn.pid" \
		"--userdb=$tmp/turndb" ${VS_COTURN_THREADS:+-m $VS_COTURN_THREADS} ${VS_COTURN_ARGS:-} >/dev/null 2>&1 &
	relay_pid=$!
	wait_for 10 vs_listens || fatal "coturn does not serve: $(tail -n 3 "$tmp/coturn.log" 2>&1)" >&2
}

vs_listens() { [ -n "$(ip netns exec "$ns-r" ss -Huln 'sport = :3478')" ]; }

vs_start()
{
	case $1 in
	user) relay_start ${VS_WORKERS:+--workers "$VS_WORKERS"} ;;
	xdp) relay_start --xdp-iface "$vs_ifs" --xdp-required --xdp-mode native ;;
	generic) relay_start --xdp-iface "$vs_ifs" --xdp-required --xdp-mode generic ;;
	coturn) vs_coturn ;;
	esac
}

vs_stop() { relay_stop KILL; }

vs_cpu()
{
	local t

	for t in /proc/"$relay_pid"/task/*/schedstat; do
		cat "$t" 2>/dev/null
	done | awk '{ s += $1 } END { printf "%.0f ", s }'
	for t in $vs_threads; do
		cat "/proc/$t/schedstat"
	done | awk '{ s += $1 } END { printf "%.0f\n", s }'
}
