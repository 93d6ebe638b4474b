#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# alone
# timeout: 180
#
# The BPF programs' life on a veth: how they attach in every mode, what bpftool and xdp-loader see, and
# that nothing is left after a clean exit, nor after kill -9 and a restart.
set -u
cd "$(dirname "$0")/../.." || exit 2
h=$PWD/${PENSTOCK_BUILD:-build}/tests/netns/h_bpf
a=io-bpf-a-$$
b=io-bpf-b-$$
name=t$$
out=$(mktemp /tmp/penstock-bpf.XXXXXX)
pid=
n=0
export PATH=$PATH:/usr/sbin:/sbin

skip() { echo "SKIP: $*"; rm -f "$out"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"
command -v bpftool >/dev/null || skip "needs bpftool"
ip netns add "$a" 2>/dev/null || skip "cannot create a network namespace"
cleanup()
{
	[ -n "$pid" ] && kill -9 "$pid" 2>/dev/null
	ip netns del "$a" 2>/dev/null
	ip netns del "$b" 2>/dev/null
	rm -f "$out"
	rm -rf "/sys/fs/bpf/penstock/$name" "/sys/fs/bpf/penstock/h-bpf"
	rmdir /sys/fs/bpf/penstock 2>/dev/null
}
trap cleanup EXIT
trap 'exit 1' INT TERM
ip netns add "$b" || exit 1

# Not "ip netns exec": that has a bpffs of its own, and the pins would not be seen from here.
in_a() { nsenter --net="/run/netns/$a" "$@"; }
ok() { n=$((n + 1)); echo "ok $n - $*"; }
fail() { echo "not ok - $*"; cat "$out"; exit 1; }

ip -n "$a" link set lo up
ip -n "$a" link add w0 type veth peer name w1 netns "$b"
ip -n "$a" addr add 10.76.0.1/24 dev w0
ip -n "$b" addr add 10.76.0.2/24 dev w1
ip -n "$a" link set w0 up
ip -n "$b" link set w1 up

# start MODE [VAR=value…]: a holder in the background; its report is in $out.
start()
{
	local mode=$1

	shift
	nsenter --net="/run/netns/$a" env "$@" "$h" hold "$name" "$mode" >"$out" 2>&1 &
	pid=$!
	for _ in $(seq 300); do
		grep -q '^holding' "$out" && return 0
		grep -q '^failed' "$out" && return 1
		kill -0 "$pid" 2>/dev/null || return 1
		sleep 0.1
	done
	return 1
}
stop()
{
	kill "$pid"
	wait "$pid" || fail "holder exited with $?"
	pid=
}
pings() { in_a ping -c 2 -i 0.2 -W 2 -q 10.76.0.2 >/dev/null || fail "traffic does not pass ($1)"; }
nothing_left()
{
	[ ! -e "/sys/fs/bpf/penstock/$name" ] || fail "$1: pins left: $(ls "/sys/fs/bpf/penstock/$name")"
	ip -n "$a" -d link show w0 | grep -q 'prog/xdp' && fail "$1: an XDP program is still attached"
	in_a bpftool net show dev w0 | grep -q ps_ && fail "$1: $(in_a bpftool net show dev w0)"
	in_a tc filter show dev w0 ingress 2>/dev/null | grep -q ps_ && fail "$1: a filter is left"
	return 0
}

start auto || { grep -qi 'not permitted\|not supported' "$out" && skip "$(tail -n 1 "$out")"; fail "auto"; }
sed 's/^/# /' "$out"
grep -q 'xdp=generic' "$out" || fail "auto leaves a veth its offloads"
grep -Eq 'attach=(dispatcher|single) ' "$out" || fail "attach kind"
pings auto
if command -v xdp-loader >/dev/null; then
	in_a xdp-loader status >"$out.s" 2>/dev/null
	grep -q 'ps_wan_rx' "$out.s" || { cat "$out.s"; rm -f "$out.s"; fail "xdp-loader does not list ps_wan_rx"; }
	rm -f "$out.s"
	ok "xdp-loader status lists ps_wan_rx"
fi
for p in ps_wan_rx ps_wan_in ps_tun_out; do
	id=$(sed -n "s/^prog=$p id=\([0-9]*\).*/\1/p" "$out")
	bpftool prog show id "$id" | grep -q "name $p " || fail "bpftool prog show: $p"
	bpftool prog show pinned "/sys/fs/bpf/penstock/$name/$p" | grep -q "^$id:" || fail "pin of $p"
done
ok "bpftool names the programs, and finds them pinned"
for m in "/sys/fs/bpf/penstock/$name"/ps_*; do
	[ "$(basename "$m" | wc -c)" -le 16 ] || fail "$(basename "$m") is longer than 15"
done
[ ! -e "/sys/fs/bpf/penstock/$name/ps_key" ] || fail "keys are pinned"
[ ! -e "/sys/fs/bpf/penstock/$name/ps_scratch" ] || fail "packet scratch is pinned"
bpftool map dump pinned "/sys/fs/bpf/penstock/$name/ps_session" | grep -q '"local_idx"' || fail "fields of ps_session"
bpftool map dump pinned "/sys/fs/bpf/penstock/$name/ps_config" | grep -q '"slot_mask": 63' || fail "fields of ps_config"
bpftool map dump pinned "/sys/fs/bpf/penstock/$name/ps_reason" | grep -q '"packets"' || fail "fields of ps_reason"
ok "maps are pinned, typed and named; keys and packets are not"
stop
nothing_left "clean exit"
ok "nothing is left after a clean exit"

for mode in native generic off; do
	start $mode || fail "--xdp-mode=$mode"
	grep -q " xdp=$mode " "$out" || fail "$mode was not what was attached"
	case $mode in
	native) ip -n "$a" link show w0 | grep -q ' xdp ' || fail "link does not say xdp" ;;
	generic) ip -n "$a" link show w0 | grep -q ' xdpgeneric ' || fail "link does not say xdpgeneric" ;;
	off) ip -n "$a" link show w0 | grep -q 'xdp' && fail "XDP although off" ;;
	esac
	pings $mode
	stop
	nothing_left "$mode"
	ok "mode $mode: $(sed -n 's/^wan=//p' "$out" | cut -c 1-60)"
done

start auto PENSTOCK_XDP_SINGLE=1 PENSTOCK_TC_CLSACT=1 PENSTOCK_BPF_PLAIN=1 || fail "forced fallbacks"
grep -q 'attach=single tc=clsact tun_tc=clsact' "$out" || fail "fallbacks were not taken"
grep -q 'keys_hidden=0 keys_why="[^"]' "$out" || fail "no reason for keys in the open"
in_a tc filter show dev w0 ingress | grep -q ps_wan_in || fail "no clsact filter"
pings fallbacks
kill -9 "$pid"
wait "$pid" 2>/dev/null
in_a tc filter show dev w0 ingress | grep -q ps_wan_in || fail "a filter was expected to outlive its process"
pings "killed, filter left"
start auto || fail "restart after kill -9 with filters"
want=0 # filters now: the new run's own, where the kernel has no TCX links
grep -q ' tc=clsact ' "$out" && want=1
[ "$(in_a tc filter show dev w0 ingress | grep -c ps_wan_in)" = $want ] || fail "the dead run's filter is still there"
stop
nothing_left "clsact"
ok "fallbacks: single program, clsact filters, plain keys; leftovers of kill -9 cleaned at restart"

start auto || fail "start before kill -9"
kill -9 "$pid"
wait "$pid" 2>/dev/null
pings "killed"
[ -e "/sys/fs/bpf/penstock/$name/ps_session" ] || fail "pins were expected to outlive their process"
bpftool map dump pinned "/sys/fs/bpf/penstock/$name/ps_alive" 2>/dev/null | grep -q '"value": [1-9]' && fail "ps_alive still names a device"
old=$(sed -n 's/^prog=ps_wan_rx id=\([0-9]*\).*/\1/p' "$out")
start auto || fail "restart after kill -9"
gone=
for _ in $(seq 50); do # the kernel frees programs after a grace period
	bpftool prog show id "$old" >/dev/null 2>&1 || { gone=1; break; }
	sleep 0.1
done
[ -n "$gone" ] || fail "the dead run's ps_wan_rx ($old) is still loaded"
pings "restarted"
stop
nothing_left "restart"
ok "kill -9: traffic passes, ps_alive is empty; restart replaces pins and programs, exit leaves nothing"

# Somebody else's XDP program is not pushed aside.
if ip -n "$a" link set w0 xdpgeneric obj /usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_all.o sec xdp 2>/dev/null; then
	if start auto; then
		grep -q 'attach=dispatcher' "$out" || fail "a foreign XDP program was replaced"
		stop
	else
		grep -qi 'XDP on w0' "$out" || fail "a foreign XDP program: no clear message"
		wait "$pid" 2>/dev/null
		pid=
		[ ! -e "/sys/fs/bpf/penstock/$name" ] || fail "a failed start left pins"
		ok "a foreign XDP program stays; the start fails saying so: $(tail -n 1 "$out" | cut -c 1-100)"
	fi
	ip -n "$a" link set w0 xdpgeneric off
fi

in_a "$h" || exit 1
nothing_left "tests"
