# SPDX-License-Identifier: Apache-2.0
#
# A relay between two networks for tests and benches: namespaces c (clients, 10.91.1.2, fd91:1::2),
# r (the relay, .1 in both) and p (peers, 10.91.2.2, fd91:2::2). Sourced after lib.sh.
#
#   relay_need               root, namespaces, programs; or exit 77
#   relay_net_up             the three namespaces; gone at exit
#   relay_start [ARG…]       penstock-relay in r, serving user alice:wonder; $relay_pid, $tmp/relay.log
#   relay_stop [SIGNAL]      and wait; its status in $relay_rc
#   load [ARG…]              h_turnload through it; its JSON on stdout
#   relay_ctl COMMAND JQ     one value of `penstock COMMAND --json`
ns=relay-$$
relay_nets="c r p" # what is deleted at exit
relay_pid=
relay_rc=
h_turnload=$PENSTOCK_BUILD/tests/netns/h_turnload

relay_need()
{
	[ "$(id -u)" = 0 ] || skip "needs root (network namespaces)"
	command -v jq >/dev/null || skip "'jq' is not installed"
	ip netns add "$ns-r" 2>/dev/null || skip "network namespaces are not available here"
	ip netns del "$ns-r"
	for f in "$PENSTOCK_BUILD/penstock-relay" "$PENSTOCK_BUILD/penstock" "$h_turnload"; do
		[ -x "$f" ] || fatal "$f is not built"
	done
}

relay_cleanup()
{
	local n

	relay_stop KILL
	for n in $relay_nets; do
		for pid in $(ip netns pids "$ns-$n" 2>/dev/null); do
			kill -9 "$pid" 2>/dev/null
		done
		ip netns del "$ns-$n" 2>/dev/null
	done
	rm -rf "/sys/fs/bpf/penstock/$ns" "/run/penstock/$ns.sock"
}

relay_exit()
{
	local rc=$?

	trap - EXIT
	trap '' INT TERM
	if grep -qE 'ERROR: (Address|Leak)Sanitizer|runtime error:' "$tmp"/relay*.log 2>/dev/null; then
		echo "the sanitizer has something to say"
		rc=1
	fi
	if [ $rc != 0 ] && [ $rc != 77 ]; then
		tail -n 60 "$tmp"/relay*.log 2>/dev/null
	fi
	relay_cleanup 2>/dev/null
	rm -rf "$tmp"
	exit $rc
}

relay_link()
{
	local here=$1 net=$2

	ip -n "$ns-r" link add "r$here" type veth peer name "${here}0" netns "$ns-$here"
	ip -n "$ns-r" addr add "10.91.$net.1/24" dev "r$here"
	ip -n "$ns-r" addr add "fd91:$net::1/64" dev "r$here"
	ip -n "$ns-$here" addr add "10.91.$net.2/24" dev "${here}0"
	ip -n "$ns-$here" addr add "fd91:$net::2/64" dev "${here}0"
	ip -n "$ns-r" link set "r$here" up
	ip -n "$ns-$here" link set "${here}0" up
	ip -n "$ns-$here" route add default via "10.91.$net.1"
	ip -n "$ns-$here" -6 route add default via "fd91:$net::1"
}

relay_net_up()
{
	local n

	trap relay_exit EXIT
	for n in c r p; do
		ip netns add "$ns-$n" || fatal "no namespace"
		ip netns exec "$ns-$n" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
		ip -n "$ns-$n" link set lo up
	done
	relay_link c 1
	relay_link p 2
	ip netns exec "$ns-r" sysctl -qw net.ipv4.ip_local_port_range="20000 40000"
}

relay_serves() { grep -q 'relay: serving' "$tmp/relay.log" && kill -0 "$relay_pid" 2>/dev/null; }

relay_start()
{
	# not `ip netns exec`: that has a /sys of its own, and pins would be nobody's
	PENSTOCK_USER=${RELAY_USER-alice:wonder} PENSTOCK_SHARED_SECRET=${RELAY_SECRET-} nsenter --net="/run/netns/$ns-r" \
		"$PENSTOCK_BUILD/penstock-relay" --public-ip4-addr 10.91.1.1 --public-ip6-addr fd91:1::1 \
		--instance "$ns" --max-per-user 0 "$@" >>"$tmp/relay.log" 2>&1 &
	relay_pid=$!
	wait_for 10 relay_serves || fatal "the relay does not serve"
}

relay_stop()
{
	[ -n "$relay_pid" ] || return 0
	kill "-${1:-TERM}" "$relay_pid" 2>/dev/null
	wait "$relay_pid" 2>/dev/null
	relay_rc=$?
	relay_pid=
	mv "$tmp/relay.log" "$tmp/relay-$(now_ms).log" 2>/dev/null
}

load()
{
	timeout 100 "$h_turnload" --relay "${RELAY_AT:-10.91.1.1:3478}" --user alice --password "${PASSWORD:-wonder}" \
		--client-ns "$ns-c" --peer-ns "$ns-p" --peer "${PEER_AT:-10.91.2.2}" ${relay_pid:+--pid $relay_pid} "$@"
}

relay_ctl() { "$PENSTOCK_BUILD/penstock" --instance "$ns" "$1" --json | jq -r "$2"; }
