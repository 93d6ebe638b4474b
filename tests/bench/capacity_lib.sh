# SPDX-License-Identifier: Apache-2.0
#
# Client, gateway and server for the open-loop load generator: sourced after tests/netns/lib.sh.
#
#   c, 10.9.0.1 (c0) --- ($cap_wan) 10.9.0.2, g, 10.9.1.1 ($cap_lan) --- (s0) 10.9.1.2, s
#
#   cap_need                  root, namespaces, programs, or exit 77
#   cap_net_up [gro]          the three namespaces, gone at exit; gro: GRO on at the gateway's interfaces (with NAPI, by a
#                             thread of its own) instead of what a veth comes with
#   cap_start wireguard PATH  the gateway g: a wireguard-go with one peer ([N] with so many), as $cap_pid
#   cap_start penstock MODE XDP-MODE   or penstock-gateway, with its portal beside it
#   cap_crowd N               makes N clients known to that; cap_load is then of all of them. $cap_local: the addresses they
#                             come from, IP:PORT,…
#   cap_stop                  ends that
#   cap_load WHAT OPTION…     h_wgload in c, with the options that lead to what was started; JSON on stdout; $cap_limit
#                             seconds at most
#   cap_wg_label PROGRAM      what lines call a wireguard-go: wireguard-go if WIREGUARD_GO names it, else wireguard-go-YEAR
#   cap_env MODE XDP-MODE     what a result's "env" says, as JSON; workers: as our gateway told when it last ran
#
# CAPACITY_PIN=core (default where there are two): the gateway and what receives for it on core 1, the generator on
# core 0; or on the lists of them that are in $cap_gateway_cpus and $cap_load_cpus. none: nobody is told where to run.
# $cap_queues: of the WAN link's ends, 0: as a veth comes, one. $cap_args: further ones for our gateway.
ns=wgl-$$
h_wgload=$PWD/$PENSTOCK_BUILD/tests/bench/h_wgload
cap_pin=${CAPACITY_PIN:-$([ "$(nproc)" -ge 2 ] && echo core || echo none)}
cap_gateway_cpus=1 cap_load_cpus=0 cap_queues=0 cap_args=()
cap_offloads=default cap_pid= cap_portal= cap_kind= cap_workers=null
# Ours alone on the machine: the threads that receive for them are known by these names.
cap_wan=wa$$ cap_lan=wb$$
cap_sink=10.9.1.2:9000 cap_local=10.9.0.1:52700
cap_index=$((2000000 + $$ % 100000 * 10)) # of the interface with XDP

cap_need()
{
	local t

	[ "$(id -u)" = 0 ] || skip "needs root (network namespaces)"
	for t in ip nft jq wg ethtool taskset nsenter basenc; do
		command -v $t >/dev/null || skip "'$t' is not installed"
	done
	[ -c /dev/net/tun ] || skip "no /dev/net/tun"
	ip netns add "$ns-c" 2>/dev/null || skip "network namespaces are not available here"
	ip netns del "$ns-c"
	for t in "$h_wgload" "$PENSTOCK_BUILD/penstock-gateway" "$PENSTOCK_BUILD/penstock-portal"; do
		[ -x "$t" ] || fatal "$t is not built"
	done
}

cap_exit()
{
	local rc=$?

	trap - EXIT
	trap '' INT TERM
	if grep -qE 'ERROR: (Address|Leak)Sanitizer|runtime error:' "$tmp"/*.log 2>/dev/null; then
		echo "the sanitizer has something to say"
		rc=1
	fi
	if [ $rc != 0 ] && [ $rc != 77 ]; then
		tail -n 30 "$tmp"/*.log 2>/dev/null
	fi
	cap_net_down 2>/dev/null
	rm -rf "$tmp"
	exit $rc
}

cap_net_down()
{
	local n pid

	cap_stop
	for n in c g s; do
		for pid in $(ip netns pids "$ns-$n"); do
			kill -9 "$pid"
		done
		ip netns del "$ns-$n"
	done
	rm -rf "/sys/fs/bpf/penstock/$ns" "/run/penstock/$ns".* "/run/penstock/$ns-c".* /sys/fs/bpf/xdp/dispatch-$cap_index-*
}

# N NS-A IF-A ADDRESS-A NS-B IF-B ADDRESS-B; indices are the machine's, for the XDP loader's pins are named after them.
cap_link()
{
	ip link add "$3" index $((cap_index + $1)) netns "$ns-$2" type veth \
		peer name "$6" index $((cap_index + ($1 ^ 1))) netns "$ns-$5" &&
		ip -n "$ns-$2" addr add "$4/24" dev "$3" && ip -n "$ns-$2" link set "$3" up &&
		ip -n "$ns-$5" addr add "$7/24" dev "$6" && ip -n "$ns-$5" link set "$6" up
}

# What the gateway's interfaces receive is the gateway's work: by RPS, and where there is NAPI (GRO, XDP) by a thread of
# its own. Again once the gateway runs, for its XDP makes NAPI.
cap_charge()
{
	local dev t

	for dev in $cap_wan $cap_lan; do
		ip netns exec "$ns-g" sh -c "echo 1 >/sys/class/net/$dev/threaded" 2>/dev/null
		[ "$cap_pin" != core ] || cap_rps g $dev "$cap_gateway_cpus"
	done
	[ "$cap_pin" = core ] || return 0
	for t in $(ps -eo pid=,comm= | awk -v a="napi/$cap_wan-" -v b="napi/$cap_lan-" 'index($2, a) == 1 || index($2, b) == 1 { print $1 }'); do
		taskset -pc "$cap_gateway_cpus" "$t" >/dev/null
	done
}

# The mask of a list of processors as taskset takes it, for sysfs; up to 32 of them.
cap_mask()
{
	local part i mask=0

	for part in ${1//,/ }; do
		for ((i = ${part%-*}; i <= ${part#*-}; i++)); do
			mask=$((mask | 1 << i))
		done
	done
	printf '%x\n' $mask
}

# NS DEV CPUS: what the device receives is taken in there.
cap_rps()
{
	ip netns exec "$ns-$1" sh -c "for q in /sys/class/net/$2/queues/rx-*; do echo $(cap_mask "$3") >\$q/rps_cpus; done"
}

cap_net_up()
{
	local n

	trap cap_exit EXIT
	for n in c g s; do
		ip netns add "$ns-$n" || fatal "no namespace"
		# no IPv6 address makes itself
		ip netns exec "$ns-$n" sysctl -qw net.ipv6.conf.default.addr_gen_mode=1
		ip -n "$ns-$n" link set lo up
	done
	cap_link 1 c c0 10.9.0.1 g $cap_wan 10.9.0.2 && cap_link 3 g $cap_lan 10.9.1.1 s s0 10.9.1.2 || fatal "no links"
	[ "$cap_queues" = 0 ] || { ip netns exec "$ns-c" ethtool -L c0 rx "$cap_queues" tx "$cap_queues" &&
		ip netns exec "$ns-g" ethtool -L $cap_wan rx "$cap_queues" tx "$cap_queues"; } || fatal "no queues"
	ip netns exec "$ns-g" sysctl -qw net.ipv4.ip_forward=1
	# addresses of a crowd's handshakes
	ip -n "$ns-c" route add local 10.10.0.0/16 dev lo && ip -n "$ns-g" route add 10.10.0.0/16 via 10.9.0.1 || fatal "no routes"
	cap_offloads=${1:-default}
	for n in $cap_wan $cap_lan; do
		[ "$cap_offloads" != gro ] || ip netns exec "$ns-g" ethtool -K $n gro on >/dev/null || fatal "ethtool $n"
	done
	cap_charge
	(umask 077 && wg genkey >"$tmp/client.key" && wg genkey >"$tmp/gateway.key" && wg genpsk >"$tmp/psk")
}

cap_inside() { nsenter --net="/run/netns/$ns-$1" "${@:2}"; }
cap_pinned() { [ "$cap_pin" = core ] && echo "taskset -c $1"; }

cap_wireguard()
{
	local n=${2:-1}

	cap_if=wl$$
	# shellcheck disable=SC2046
	nsenter --net="/run/netns/$ns-g" env LOG_LEVEL=error $(cap_pinned "$cap_gateway_cpus") "$1" -f "$cap_if" >>"$tmp/wireguard.log" 2>&1 &
	cap_pid=$!
	wait_for 10 cap_inside g wg show "$cap_if" || fatal "$1 does not start"
	{
		echo "[Interface]"
		echo "PrivateKey = $(cat "$tmp/gateway.key")"
		echo "ListenPort = 51820"
		"$h_wgload" keys --key "$tmp/client.key" --address 100.64.0.1 --peers "$n" | while read -r pub address; do
			printf '[Peer]\nPublicKey = %s\nPresharedKey = %s\nAllowedIPs = %s/32\n' "$pub" "$(cat "$tmp/psk")" "$address"
		done
	} >"$tmp/wg.conf"
	cap_inside g wg setconf "$cap_if" "$tmp/wg.conf" || fatal "wg setconf"
	ip -n "$ns-g" addr add 100.96.0.1/32 dev "$cap_if"
	ip -n "$ns-g" link set "$cap_if" mtu 1420 up
	ip -n "$ns-g" route add 100.64.0.0/11 dev "$cap_if"
	ip -n "$ns-s" route replace 100.64.0.0/11 via 10.9.1.1
	# as penstock-gateway does it
	cap_inside g nft "add table inet wgload; add chain inet wgload post { type nat hook postrouting priority srcnat; };
		add rule inet wgload post ip saddr 100.64.0.0/11 oifname != \"$cap_if\" masquerade"
}

cap_token() { (umask 077 && head -c 32 /dev/urandom | basenc --base64url | tr -d '=\n' >"$tmp/$1.token") && sha256sum <"$tmp/$1.token" | cut -d' ' -f1; }

# The portal grants one actor 1024 devices: a crowd is of several.
cap_portal_config()
{
	local i

	for i in client crowd{0..11}; do
		jq -nc --arg name "$i" --arg hash "$(cap_token "$i")" '{$name, actor: $name, groups: ["staff"], token_sha256: $hash}'
	done | jq -s --arg state "$tmp/portal-state.json" --arg gw "$(cap_token gateway)" '{
		account_slug: "bench", state_file: $state,
		listen: [{address: "10.9.0.2:8080"}, {address: "127.0.0.1:8080"}], sites: [{name: "bench"}],
		gateways: [{name: "gateway", site: "bench", token_sha256: $gw}], clients: .,
		resources: [{name: "server", type: "cidr", address: "10.9.1.2/32", site: "bench"}],
		policies: [{group: "staff", resource: "server"}]}' >"$tmp/portal.json"
}

cap_penstock()
{
	cap_portal_config
	env -u PENSTOCK_LAB -u PENSTOCK_BUILD nsenter --net="/run/netns/$ns-g" \
		"$PENSTOCK_BUILD/penstock-portal" --config "$tmp/portal.json" --log-format json >>"$tmp/portal.log" 2>&1 &
	cap_portal=$!
	wait_for 10 cap_serves || fatal "the portal does not serve"
	# shellcheck disable=SC2046
	env -u PENSTOCK_LAB -u PENSTOCK_BUILD nsenter --net="/run/netns/$ns-g" $(cap_pinned "$cap_gateway_cpus") "$PENSTOCK_BUILD/penstock-gateway" --api-url ws://10.9.0.2:8080/ --allow-plaintext \
		--token-path "$tmp/gateway.token" --mode "$1" --xdp-mode "$2" --wan-iface $cap_wan --instance "$ns" \
		--id-file "$tmp/gateway-id.json" --name gateway --tun "tg$$" --log-format json ${cap_args[@]+"${cap_args[@]}"} >>"$tmp/gateway.log" 2>&1 &
	cap_pid=$!
	wait_for 10 cap_joined || fatal "the gateway does not join the portal"
	cap_workers=$(cap_status | jq '.bulk.workers.count')
}

cap_serves() { [ -n "$(cap_inside g ss -Hltn 'sport = :8080')" ]; }
cap_status() { "$PENSTOCK_BUILD/penstock" --instance "$ns" status --json; }
cap_joined() { [ "$(cap_status | jq -r .portal.state)" = connected ]; }

cap_crowd()
{
	"$h_wgload" keys --key "$tmp/client.key" --address 100.64.0.1 --peers "$1" |
		(umask 077 && cap_inside g python3 -B tests/bench/crowd.py 8080 "$tmp"/crowd{}.token $cap_local \
			>"$tmp/crowd") 2>>"$tmp/load.log" || fatal "no crowd"
}

cap_start()
{
	cap_kind=$1
	shift
	case $cap_kind in
	wireguard) cap_wireguard "$@" ;;
	penstock) cap_penstock "$@" ;;
	esac
	cap_charge
}

cap_end() { kill "-$2" "$1" && wait "$1"; }

cap_stop()
{
	[ -z "$cap_pid" ] || cap_end "$cap_pid" TERM 2>/dev/null
	[ -z "$cap_portal" ] || cap_end "$cap_portal" TERM 2>/dev/null
	cap_pid= cap_portal=
	rm -f "$tmp/crowd"
	cap_inside g nft delete table inet wgload 2>/dev/null
	return 0
}

cap_load()
{
	local what=$1 link

	shift
	link=(--sink $cap_sink --sink-ns "$ns-s" --sink-dev s0 --gateway-pid "$cap_pid" "$@")
	if [ $cap_kind = wireguard ]; then
		link+=(--endpoint 10.9.0.2:51820 --key "$tmp/client.key" --psk "$tmp/psk" --address 100.64.0.1
			--public-key "$(wg pubkey <"$tmp/gateway.key")")
	elif [ -s "$tmp/crowd" ]; then
		link+=(--endpoint 10.9.0.2:52625 --key "$tmp/client.key" --crowd "$tmp/crowd" --local $cap_local)
	else
		link+=(-- --api-url ws://10.9.0.2:8080/ --allow-plaintext --token-path "$tmp/client.token" --mode user --xdp-mode off
			--wan-iface c0 --instance "$ns-c" --id-file "$tmp/client-id.json" --name client --dns-control disabled
			--tun "tc$$" --log-format json --log-level warn)
	fi
	# shellcheck disable=SC2046
	cap_inside c env -u PENSTOCK_LAB -u PENSTOCK_BUILD timeout "${cap_limit:-100}" $(cap_pinned "$cap_load_cpus") "$h_wgload" "$what" "${link[@]}" 2>>"$tmp/load.log"
}

cap_wg_label()
{
	local year

	[ "$1" != "${WIREGUARD_GO:-}" ] || { echo wireguard-go; return; }
	year=$("$1" --version 2>/dev/null | sed -n '1s/.*v0\.0\.\(20[0-9][0-9]\).*/\1/p')
	echo "wireguard-go-${year:-unknown}"
}

cap_env()
{
	jq -nc --arg kernel "$(uname -r)" --arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" \
		--argjson cpus "$(nproc)" --arg mode "$1" --arg xdp "$2" --arg offloads "$cap_offloads" --arg pin "$cap_pin" --arg g "$cap_gateway_cpus" --arg l "$cap_load_cpus" \
		--argjson workers "${cap_workers:-null}" '{$kernel, $cpu, $cpus, network: "veth, namespaces", $mode, xdp_mode: $xdp, $workers,
		offloads: (if $offloads == "gro" then "veth default, gro on, threaded napi" else "veth default" end),
		pinning: (if $pin == "core" then "gateway and its receiving on core \($g), generator on core \($l)" else "none" end)}'
}
