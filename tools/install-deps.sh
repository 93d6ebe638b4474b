#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs everything Penstock needs to build, test and demo itself: Debian 12/13 and relatives with apt,
# Fedora and RHEL 9+ with dnf.
#
#   tools/install-deps.sh                install what is missing, say what is done
#   tools/install-deps.sh --if-missing   the same, but silent and quick when nothing is missing
#   tools/install-deps.sh --list         print the packages of this distribution and their state
#   tools/install-deps.sh --bench        what `make bench` uses besides: sockperf, for round trips (Debian only)
#   tools/install-deps.sh --vm           what `make test SUITE=vm` needs besides: qemu, and Debian's kernel in build/vm
#
# Exit: 0 all there (or now installed), 1 something could not be installed, 2 wrong usage.
set -u

TOOLS_DEB="gcc make pkg-config git binutils iproute2 iperf3 nftables tcpdump ethtool iputils-ping procps \
util-linux wireguard-go wireguard-tools bpftool xdp-tools jq curl python3 openssl ca-certificates coturn python3-aioice dbus-daemon \
bind9-dnsutils dnsmasq-base nsd traceroute"
LIBS_DEB="libbpf-dev libxdp-dev libelf-dev zlib1g-dev libsodium-dev libssl-dev libjansson-dev \
libwebsockets-dev libwebsockets-evlib-uv libuv1-dev libmnl-dev libnftables-dev libsystemd-dev libldns-dev libc-ares-dev linux-libc-dev libc6-dev"
TOOLS_RPM="gcc make pkgconf-pkg-config git-core binutils iproute iproute-tc iperf3 nftables tcpdump ethtool iputils \
procps-ng util-linux bind-utils traceroute wireguard-tools bpftool xdp-tools jq curl python3 openssl ca-certificates clang llvm \
clang-tools-extra dbus-daemon dnsmasq nsd compiler-rt libasan libubsan diffutils findutils gawk"
LIBS_RPM="libbpf-devel libxdp-devel elfutils-libelf-devel zlib-devel libsodium-devel openssl-devel jansson-devel \
libwebsockets-devel libuv-devel libmnl-devel nftables-devel systemd-devel ldns-devel c-ares-devel kernel-headers glibc-devel"
TOOLS_BENCH_DEB="sockperf"
TOOLS_VM_DEB="qemu-system-x86 cpio busybox-static"
CLANG_MIN=16

log=$(mktemp /tmp/penstock-deps.XXXXXX) || exit 1
trap 'rm -f "$log"; release_services' EXIT
mode=install

say() { echo "install-deps: $*"; }
die()
{
	say "$*" >&2
	if [ -s "$log" ]; then
		say "the end of the package manager's output:" >&2
		tail -n 40 "$log" | sed 's/^/  | /' >&2
	fi
	exit 1
}

usage() { sed -n '3,14s/^# \{0,1\}//p' "$0"; }

# Highest clang that is installed already or that apt offers, 19 first; below CLANG_MIN is no use.
clang_version_deb()
{
	local v

	for v in 19 18 17 16; do
		dpkg-query -W -f '${Status}' "clang-$v" 2>/dev/null | grep -q 'ok installed' && echo $v && return 0
	done
	for v in 19 18 17 16; do
		apt-cache policy "clang-$v" 2>/dev/null | grep -q 'Candidate: [0-9]' && echo $v && return 0
	done
	return 1
}

packages_deb()
{
	local v

	v=$(clang_version_deb) || v=19
	echo "$TOOLS_DEB $LIBS_DEB clang-$v llvm-$v clang-format-$v libclang-rt-$v-dev"
}

missing_deb()
{
	local p have

	# shellcheck disable=SC2046
	have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $(packages_deb) 2>/dev/null |
		sed -n 's/^installed //p')
	for p in $(packages_deb); do
		grep -qxF "$p" <<<"$have" || echo "$p"
	done
}

missing_rpm()
{
	local p

	for p in $TOOLS_RPM $LIBS_RPM; do
		rpm -q --quiet --whatprovides "$p" 2>/dev/null || echo "$p"
	done
}

# A package index may be unreachable for a moment; three attempts, five seconds apart.
retry()
{
	local i

	for i in 1 2 3; do
		"$@" >>"$log" 2>&1 && return 0
		[ $i = 3 ] || sleep 5
	done
	return 1
}

need_root()
{
	[ "$(id -u)" = 0 ] || die "missing: $1. Run as root: sudo tools/install-deps.sh"
}

# coturn and nsd are peers for tests: installing them must not put a TURN or name server on this machine. No service
# of anything installed here is started, and theirs stay off unless they were there before.
services_held=
hold_services()
{
	[ ! -e /usr/sbin/policy-rc.d ] || return 0
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d && services_held=1
}

release_services()
{
	[ -z "$services_held" ] || rm -f /usr/sbin/policy-rc.d
	services_held=
}

install_deb()
{
	local todo peer peers=

	export DEBIAN_FRONTEND=noninteractive
	todo=$(missing_deb | tr '\n' ' ')
	need_root "$todo"
	say "reading the package index (apt-get update)"
	retry apt-get update || die "apt-get update failed three times"
	# Only now is it known which clang this release offers.
	clang_version_deb >/dev/null || die "this release offers no clang >= $CLANG_MIN (clang-19 is in Debian 12 and 13)"
	todo=$(missing_deb | tr '\n' ' ')
	say "installing: $todo"
	for peer in coturn nsd; do
		case " $todo " in *" $peer "*) peers+=" $peer" ;; esac
	done
	hold_services
	# shellcheck disable=SC2086
	retry apt-get install -y --no-install-recommends $todo || die "apt-get install failed"
	release_services
	for peer in $peers; do
		systemctl disable "$peer" >/dev/null 2>&1
	done
	todo=$(missing_deb | tr '\n' ' ')
	[ -z "${todo// /}" ] || die "still missing after the installation: $todo"
}

install_rpm()
{
	local todo p left

	todo=$(missing_rpm | tr '\n' ' ')
	need_root "$todo"
	# RHEL and its rebuilds keep the development headers in CRB and a few libraries in EPEL.
	if grep -qE '^ID(_LIKE)?=.*(rhel|centos)' /etc/os-release; then
		say "enabling EPEL and CRB"
		retry dnf install -y epel-release dnf-plugins-core || say "EPEL could not be enabled; going on without"
		retry dnf config-manager --set-enabled crb || say "CRB could not be enabled; going on without"
	fi
	say "installing: $todo"
	# shellcheck disable=SC2086
	retry dnf install -y $todo || die "dnf install failed"
	left=$(missing_rpm | tr '\n' ' ')
	[ -z "${left// /}" ] || die "still missing after the installation: $left"
	p=$(clang -dumpversion | cut -d. -f1)
	[ "$p" -ge $CLANG_MIN ] || die "clang $p is too old for the BPF side, need >= $CLANG_MIN"
}

install_bench()
{
	export DEBIAN_FRONTEND=noninteractive
	if [ "$(dpkg-query -W -f '${db:Status-Status}' $TOOLS_BENCH_DEB 2>/dev/null)" != installed ]; then
		need_root "$TOOLS_BENCH_DEB"
		retry apt-get update || die "apt-get update failed three times"
		say "installing: $TOOLS_BENCH_DEB"
		retry apt-get install -y --no-install-recommends $TOOLS_BENCH_DEB || die "apt-get install failed"
	fi
	say "there: $TOOLS_BENCH_DEB"
}

# The emulator, and the kernel package that linux-image-amd64 stands for now: downloaded, not installed.
install_vm()
{
	local image store

	store=$(cd "$(dirname "$0")/.." && pwd)/build/vm
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086
	if [ "$(dpkg-query -W -f '${db:Status-Status}\n' $TOOLS_VM_DEB 2>/dev/null | grep -cx installed)" != 3 ]; then
		need_root "$TOOLS_VM_DEB"
		retry apt-get update || die "apt-get update failed three times"
		say "installing: $TOOLS_VM_DEB"
		retry apt-get install -y --no-install-recommends $TOOLS_VM_DEB || die "apt-get install failed"
	fi
	image=$(apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p')
	[ -n "$image" ] || die "apt offers no linux-image-amd64; put any Debian kernel package into build/vm"
	mkdir -p "$store" && cd "$store" || die "cannot write $store"
	ls "$image"_*.deb >/dev/null 2>&1 || { say "downloading $image"; retry apt-get download "$image"; } ||
		die "$image could not be downloaded"
	say "build/vm holds: $(ls linux-image-*.deb | tr '\n' ' ')"
}

case ${1:-} in
'') ;;
--if-missing) mode=if-missing ;;
--list) mode=list ;;
--bench) mode=bench ;;
--vm) mode=vm ;;
-h | --help) usage; exit 0 ;;
*) say "unknown argument '$1'" >&2; usage >&2; exit 2 ;;
esac

if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
	kind=deb
elif command -v rpm >/dev/null && command -v dnf >/dev/null; then
	kind=rpm
else
	die "neither apt nor dnf here. Install by hand what these Debian packages hold: $TOOLS_DEB $LIBS_DEB clang-19"
fi

if [ $mode = bench ]; then
	[ $kind = deb ] || die "--bench: no sockperf among the packages here; the benches of round trips will be skipped"
	install_bench
	exit
fi
if [ $mode = vm ]; then
	[ $kind = deb ] || die "--vm knows only Debian's kernels: put one's package into build/vm and install qemu, busybox, cpio, dpkg"
	install_vm
	exit
fi
missing=$(missing_$kind)
if [ $mode = list ]; then
	[ $kind = deb ] && all=$(packages_deb) || all="$TOOLS_RPM $LIBS_RPM"
	for p in $all; do
		grep -qxF "$p" <<<"$missing" && echo "missing   $p" || echo "installed $p"
	done
	exit 0
fi
if [ -z "$missing" ]; then
	[ $mode = if-missing ] || say "everything is installed"
	exit 0
fi
install_$kind
say "done"
