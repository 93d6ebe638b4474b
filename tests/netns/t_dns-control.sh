#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 120
#
# DNS control in namespaces of its own (network, mounts, processes): a private resolv.conf, a private system bus and
# the real systemd-resolved. RESOLVED names its binary; without one (it is not installed by install-deps, for the
# package takes over the host's resolv.conf) that half is skipped.
set -u
cd "$(dirname "$0")/../.." || exit 2
export PATH=$PATH:/usr/sbin:/sbin
skip() { echo "SKIP: $*"; exit 77; }
if [ "${1:-}" != inside ]; then
	[ "$(id -u)" = 0 ] || skip "needs root"
	command -v dbus-daemon busctl >/dev/null || skip "no dbus-daemon or busctl"
	unshare -m -n -p --fork --mount-proc true 2>/dev/null || skip "no namespaces"
	exec unshare -m -n -p --fork --mount-proc --kill-child bash "$0" inside
fi
h=$PWD/${PENSTOCK_BUILD:-build}/tests/netns/h_dns
fails=0
check()
{
	local what=$1
	shift
	if "$@"; then echo "ok - $what"; else echo "not ok - $what"; fails=$((fails + 1)); fi
}
mount --make-rprivate /
t=$(mktemp -d /tmp/penstock-dns.XXXXXX)
trap 'cd /; umount /etc; umount -l "$t"; rmdir "$t"' EXIT
mount -t tmpfs t "$t"
# Private: /run, accounts with resolved's user, resolv.conf
cp /etc/passwd /etc/group "$t/"
grep -q ^systemd-resolve: "$t/passwd" || {
	echo 'systemd-resolve:x:64996:64996::/:/usr/sbin/nologin' >>"$t/passwd"
	echo 'systemd-resolve:x:64996:' >>"$t/group"
}
mkdir "$t/etc" "$t/work"
mount -t overlay o -o "lowerdir=/etc,upperdir=$t/etc,workdir=$t/work" /etc 2>/dev/null || skip "no overlay mounts"
cp "$t/passwd" "$t/group" /etc/
rm -f /etc/resolv.conf
printf 'nameserver 192.0.2.53\nsearch lan.example\n' >/etc/resolv.conf
mount -t tmpfs t /run
mkdir -p /run/dbus /run/systemd/resolve
chown systemd-resolve: /run/systemd/resolve
ip link set lo up
ip link add tun0 type veth peer name lan0
ip addr add 100.64.0.1/32 dev tun0
ip addr add 192.0.2.1/24 dev lan0
ip link set tun0 up
ip link set lan0 up
tun=$(ip -o link show tun0 | cut -d: -f1)
lan=$(ip -o link show lan0 | cut -d: -f1)

out=$t/out
start()
{
	rm -f "$t/in"; mkfifo "$t/in"
	"$h" "$1" tun0 <"$t/in" >"$out" 2>&1 &
	pid=$!
	exec 9>"$t/in"
}
tell() { echo "$*" >&9; }
wait_for() { for _ in $(seq "${2:-100}"); do grep -q -- "$1" "$out" && return 0; sleep 0.1; done; cat "$out"; return 1; }
stop()
{
	tell exit
	exec 9>&-
	wait "$pid" || { cat "$out"; check "clean exit" false; }
}
short() { awk '/^closed/ { exit !($3 < 900 && $7 < 500) }' "$out"; }

# ---- etc-resolv-conf ----
start etc-resolv-conf
check "the system's resolver is read" wait_for '^system 192.0.2.53:53 search lan.example'
tell set
check "taken over" wait_for '^set 0'
check "ours, and their search domain" grep -q '^search corp.example lan.example' /etc/resolv.conf
kill -9 "$pid"; wait "$pid" 2>/dev/null; exec 9>&-
check "a kill leaves ours" grep -q 100.100.111.1 /etc/resolv.conf
start etc-resolv-conf
check "the next start reads the old ones" wait_for '^system 192.0.2.53:53 search lan.example'
check "and put them back" grep -q '^nameserver 192.0.2.53' /etc/resolv.conf
tell set
wait_for '^set 0'
printf 'nameserver 198.51.100.9\n' >/etc/resolv.conf.new && mv /etc/resolv.conf.new /etc/resolv.conf
check "another's rewrite is noticed" wait_for '^state taken'
check "and read" wait_for '^system 198.51.100.9:53 search$'
check "and left" grep -q '^nameserver 198.51.100.9' /etc/resolv.conf
tell set
wait_for '^set 0'
sleep 0.2
stop
check "the exit leaves the newer one" test "$(cat /etc/resolv.conf)" = "nameserver 198.51.100.9"
check "and nothing beside it" test "$(echo /etc/resolv.conf*)" = /etc/resolv.conf

# ---- systemd-resolved, no bus; a bus that never answers ----
start systemd-resolved
tell set
check "no bus: said so" wait_for '^state failed systemd-resolved: no D-Bus system bus'
check "no bus: the file's resolvers all the same" wait_for '^system 198.51.100.9:53'
stop
check "no bus: no waiting" short
cat >"$t/bus.conf" <<-X
	<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
	<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen>
	<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
	</policy></busconfig>
X
dbus-daemon --config-file="$t/bus.conf" --nofork 2>/dev/null &
bus=$!
for _ in $(seq 50); do [ -S /run/dbus/system_bus_socket ] && break; sleep 0.1; done
kill -STOP "$bus"
start systemd-resolved
tell set
check "a frozen bus: said so" wait_for '^state failed systemd-resolved: the D-Bus system bus does not answer'
kill -CONT "$bus"
check "no service on the bus: said so" wait_for '^state failed systemd-resolved: .*resolve1'
resolved=${RESOLVED:-$(ls /usr/lib/systemd/systemd-resolved /lib/systemd/systemd-resolved 2>/dev/null | head -n 1)}
if [ -z "$resolved" ]; then
	stop
	check "no waiting" short
	echo "ok - systemd-resolved # SKIP not installed"
	kill "$bus"
	exit $((fails > 0))
fi

# ---- systemd-resolved ----
service=org.freedesktop.resolve1
manager="$service /org/freedesktop/resolve1 $service.Manager"
property() { busctl get-property $manager "$1"; }
has() { property "$1" | grep -qF -- "$2"; }
until_has() { for _ in $(seq 80); do has "$@" && return 0; sleep 0.1; done; property "$1"; return 1; }
lacks() { ! has "$@"; }
serve() { "$resolved" >"$t/resolved.log" 2>&1 & server=$!; for _ in $(seq 50); do property DNS >/dev/null 2>&1 && break; sleep 0.1; done; }
serve
check "it appears: applied" wait_for '^state active'
check "servers of the link" has DNS "$tun 2 4 100 100 111 1"
check "IPv6, too" has DNS "$tun 10 16 253 0 32 33 17 17 128 0 1 0 1 0 1 17 0 1"
check "search domain" has Domains "$tun \"corp.example\" false"
check "all else goes to the tunnel" has Domains "$tun \".\" true"
check "default route" busctl get-property $service "$(busctl call $manager GetLink i "$tun" | cut -d'"' -f2)" $service.Link DefaultRoute
busctl call $manager SetLinkDNS 'ia(iay)' "$lan" 1 2 4 192 0 2 7
busctl call $manager SetLinkDomains 'ia(sb)' "$lan" 1 home.example false
check "another link's change is seen" wait_for '^system .*192.0.2.7:53.* search.* home.example'
tell other
for _ in $(seq 80); do lacks DNS "253 0 32 33" && break; sleep 0.1; done
check "new settings replace the old" lacks DNS "253 0 32 33"
check "the other link's domain stays" has Domains "$lan \"home.example\" false"
check "ours are never the system's" test "$(grep -c '^system.*100\.100\.111' "$out")" = 0
tell flush
kill "$server"; wait "$server" 2>/dev/null
check "it stops: said so" wait_for 'systemd-resolved: it stopped'
rm -rf /run/systemd/resolve/netif
serve
check "it returns: applied again" until_has DNS "$tun 2 4 100 100 111 1"
tell clear
for _ in $(seq 80); do lacks DNS "100 100 111 1" && break; sleep 0.1; done
check "taken back" lacks DNS "100 100 111 1"
tell set
check "set again" until_has DNS "$tun 2 4 100 100 111 1"
sleep 0.5
stop
check "exit reverts" lacks DNS "100 100 111 1"
check "exit and turns are short" short
start systemd-resolved
tell set
check "applied" wait_for '^state active'
kill -STOP "$server"
tell clear
sleep 0.3
stop
check "a frozen service does not hold the exit" short
kill -CONT "$server"
kill "$server" "$bus"
exit $((fails > 0))
