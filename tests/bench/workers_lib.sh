# SPDX-License-Identifier: Apache-2.0
#
# Clients, one gateway and a server for TCP through a gateway with several workers: sourced after capacity_lib.sh, whose
# names and gateways it uses. One client is one session, and what it sends is one worker's; so there are several, each in a
# namespace with a link of its own to the gateway.
#
#   ci, 10.9.(10+i).1 (e0) --- (w0 w1 …) 10.9.(10+i).2, g, 10.9.1.1 ($cap_lan) --- (s0) 10.9.1.2, s
#
#   wk_net_up C               these namespaces, at most four clients; gone with wk_net_down
#   wk_start penstock N       gateway with N workers and its portal, clients with as many as they take by themselves
#   wk_start wireguard PATH   the same of a wireguard-go
#   wk_stop
#   wk_tcp up|down STREAMS CLIENTS SECONDS   iperf3 of so many streams in all, evenly from so many of the clients, by a process
#                             for each client and at least four where there are as many streams; figures as JSON
# The gateway and what its links receive are on $cap_gateway_cpus, everything else on $wk_rest_cpus, if pinned at all.
wk_n=0
wk_rest_cpus=0
wk_client_pid=()
WK_PORT=5201 WK_SERVERS=4

wk_pinned() { [ "$cap_pin" = core ] && echo "taskset -c $wk_rest_cpus"; }

wk_net_up()
{
	local i

	wk_n=$1
	for i in g s $(seq -f c%g 0 $((wk_n - 1))); do
		ip netns add "$ns-$i" || return 1
		ip netns exec "$ns-$i" sysctl -qw net.ipv6.conf.default.addr_gen_mode=1
		ip -n "$ns-$i" link set lo up
	done
	for ((i = 0; i < wk_n; i++)); do
		cap_link $((2 * i + 1)) c$i e0 10.9.$((10 + i)).1 g "$(wk_wan $i)" 10.9.$((10 + i)).2 &&
			ip -n "$ns-c$i" route add 10.9.0.2 via 10.9.$((10 + i)).2 || return 1
	done
	cap_link 9 g $cap_lan 10.9.1.1 s s0 10.9.1.2 && ip -n "$ns-g" addr add 10.9.0.2/32 dev lo || return 1
	ip netns exec "$ns-g" sysctl -qw net.ipv4.ip_forward=1
	wk_receiving
	(umask 077 && wg genkey >"$tmp/gateway.key" && wg genpsk >"$tmp/psk" &&
		for ((i = 0; i < wk_n; i++)); do wg genkey >"$tmp/client$i.key" || exit 1; done) || return 1
	for ((i = 0; i < WK_SERVERS; i++)); do
		# shellcheck disable=SC2046
		cap_inside s $(wk_pinned) iperf3 -s -p $((WK_PORT + i)) >/dev/null 2>&1 3>&- &
		disown
	done
}

# Interfaces of the gateway: the first is the one that the gateway's options name.
wk_wan() { [ "$1" = 0 ] && echo "$cap_wan" || echo "w$1"; }

wk_receiving()
{
	local i

	[ "$cap_pin" = core ] || return 0
	for ((i = 0; i < wk_n; i++)); do
		cap_rps g "$(wk_wan $i)" "$cap_gateway_cpus" && cap_rps c$i e0 "$wk_rest_cpus"
	done
	cap_rps g $cap_lan "$cap_gateway_cpus" && cap_rps s s0 "$wk_rest_cpus"
}

wk_net_down()
{
	local i pid

	wk_stop
	for i in g s c0 c1 c2 c3; do
		for pid in $(ip netns pids "$ns-$i" 2>/dev/null); do
			kill -9 "$pid"
		done
		ip netns del "$ns-$i" 2>/dev/null
	done
	rm -rf "/sys/fs/bpf/penstock/$ns"* "/run/penstock/$ns"* 2>/dev/null
	wk_n=0
}

wk_penstock_clients()
{
	local i

	for ((i = 0; i < wk_n; i++)); do
		# shellcheck disable=SC2046
		env -u PENSTOCK_LAB -u PENSTOCK_BUILD PENSTOCK_TUNNEL_MTU=1420 nsenter --net="/run/netns/$ns-c$i" $(wk_pinned) \
			"$PENSTOCK_BUILD/penstock-client" --api-url ws://10.9.0.2:8080/ --allow-plaintext --token-path "$tmp/crowd$i.token" \
			--mode user --xdp-mode off --wan-iface e0 --instance "$ns-c$i" --id-file "$tmp/client$i-id.json" --name "client$i" \
			--dns-control disabled --tun "tc$$" --log-format json --log-level warn >>"$tmp/client$i.log" 2>&1 3>&- &
		wk_client_pid[i]=$!
	done
}

# One of the gateway's own, and the clients.
wk_wireguard_clients()
{
	local i dev=wc$$

	for ((i = 0; i < wk_n; i++)); do
		# shellcheck disable=SC2046
		env LOG_LEVEL=error nsenter --net="/run/netns/$ns-c$i" $(wk_pinned) "$1" -f "$dev$i" >>"$tmp/client$i.log" 2>&1 3>&- &
		wk_client_pid[i]=$!
	done
	for ((i = 0; i < wk_n; i++)); do
		wait_for 10 cap_inside c$i wg show "$dev$i" >/dev/null || return 1
		cap_inside c$i wg set "$dev$i" private-key "$tmp/client$i.key" peer "$(wg pubkey <"$tmp/gateway.key")" \
			preshared-key "$tmp/psk" endpoint 10.9.$((10 + i)).2:51820 allowed-ips 10.9.1.0/24,100.96.0.0/16 || return 1
		ip -n "$ns-c$i" addr add 100.64.0.$((i + 1))/32 dev "$dev$i" && ip -n "$ns-c$i" link set "$dev$i" mtu 1420 up &&
			ip -n "$ns-c$i" route add 10.9.1.0/24 dev "$dev$i" src 100.64.0.$((i + 1)) || return 1
	done
}

wk_reaches() { cap_inside "c$1" ping -n -q -c 1 -W 1 10.9.1.2 >/dev/null 2>&1; }

# A connection begins with 1280 bytes and grows.
wk_has_grown()
{
	[ "$("$PENSTOCK_BUILD/penstock" --instance "$ns-c$1" peers --json | jq -r '.peers[0] | "\(.path) \(.mtu.size)"')" = "direct 1420" ]
}

wk_start()
{
	local i

	cap_kind=$1
	if [ "$1" = penstock ]; then
		cap_args=(--workers "$2") PENSTOCK_TUNNEL_MTU=1420
		export PENSTOCK_TUNNEL_MTU
		cap_penstock user off && wk_penstock_clients
		unset PENSTOCK_TUNNEL_MTU
	else
		wk_wireguard_gateway "$2" && wk_wireguard_clients "$2"
	fi || return 1
	for ((i = 0; i < wk_n; i++)); do
		wait_for 20 wk_reaches $i || { echo "client $i does not reach the server"; return 1; }
		[ "$1" != penstock ] || wait_for 10 wk_has_grown $i || { echo "client $i has no direct path of 1420 bytes"; return 1; }
	done
	wk_receiving
}

wk_wireguard_gateway()
{
	local i

	cp "$tmp/client0.key" "$tmp/client.key"
	cap_wireguard "$1" 1 || return 1
	for ((i = 0; i < wk_n; i++)); do
		cap_inside g wg set "$cap_if" peer "$(wg pubkey <"$tmp/client$i.key")" preshared-key "$tmp/psk" \
			allowed-ips 100.64.0.$((i + 1))/32 || return 1
	done
}

wk_stop()
{
	local pid

	for pid in ${wk_client_pid[@]+"${wk_client_pid[@]}"}; do
		kill -TERM "$pid" && wait "$pid"
	done 2>/dev/null
	wk_client_pid=()
	cap_stop
}

# Of the gateway's threads: name, number, and nanoseconds so far.
wk_threads()
{
	local t

	for t in "/proc/$cap_pid/task"/*; do
		echo "$(tr ' ' _ <"$t/comm") ${t##*/} $(cut -d' ' -f1 "$t/schedstat")"
	done 2>/dev/null
}

# Processors each thread took between two of these, the busiest first; under 2 % of one is left out, up to 16 are told.
wk_thread_use()
{
	awk -v ns="$3" 'NR == FNR { was[$2] = $3; next } { printf "%s %.2f\n", $1, ($3 - was[$2]) / ns }' "$1" "$2" |
		jq -Rnc '[inputs | split(" ") | {thread: .[0], cpus: (.[1] | tonumber)}] | sort_by(-.cpus) |
			{gateway_cpus: (map(.cpus) | add * 100 | round / 100), threads: [limit(16; .[] | select(.cpus >= 0.02) | "\(.thread) \(.cpus)")]}'
}

# DIR STREAMS CLIENTS SECONDS
wk_tcp()
{
	local dir=$1 streams=$2 clients=$3 secs=$4 n i a b pids=()

	n=$((streams < WK_SERVERS ? streams : WK_SERVERS))
	[ $n -ge "$clients" ] || n=$clients
	rm -f "$tmp"/iperf-*.json
	for ((i = 0; i < n; i++)); do
		# shellcheck disable=SC2046
		cap_inside c$((i % clients)) $(wk_pinned) timeout -k 2 $((secs + 12)) iperf3 -J -c 10.9.1.2 -p $((WK_PORT + i)) --connect-timeout 4000 \
			-t "$secs" -O 1 -P $((streams / n)) $([ "$dir" = up ] || echo -R) >"$tmp/iperf-$i.json" 2>/dev/null 3>&- &
		pids+=($!)
	done
	sleep 1.2
	wk_threads >"$tmp/threads-a" && a=$(date +%s%N)
	sleep "$(echo "$secs" | awk '{ print $1 * 0.7 }')"
	wk_threads >"$tmp/threads-b" && b=$(date +%s%N)
	for i in "${pids[@]}"; do
		wait "$i" || { jq -r '.error // empty' "$tmp"/iperf-*.json; return 1; }
	done >&2
	jq -s -c --argjson use "$(wk_thread_use "$tmp/threads-a" "$tmp/threads-b" $((b - a)))" '
		{gbps: (map(.end.sum_received.bits_per_second) | add / 1e6 | round / 1000),
		retransmits: (map(.end.sum_sent.retransmits // 0) | add)} + $use' "$tmp"/iperf-*.json
}
