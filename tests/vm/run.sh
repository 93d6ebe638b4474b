#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 1500
#
# The kernel path on kernels that this machine does not run: boots distribution kernels in qemu (emulated, no
# KVM needed) and runs tests/vm/guest.sh in each.
#
#   tests/vm/run.sh              all parts on every kernel package there is
#   tests/vm/run.sh load e2e     these parts only
#   VM_FETCH=1 tests/vm/run.sh   first download Debian's current kernel package into build/vm (apt)
#
# Kernel packages are build/vm/linux-image-*.deb (any Debian kernel that has been put there), or what VM_DEBS
# names. They are unpacked below build/vm, never installed. The guest sees the host's /usr and this repository,
# read-only over 9p, so what was built here is what runs there; the initial memory disk holds busybox and the
# modules for that.
#
# One boot a part, at most VM_TIMEOUT seconds (120) each. A part passes when it came to its end, "guest exit
# 0", with its TAP plan fulfilled and without "not ok". Exit: 0, 77 skipped with a reason, 1 failed.
# VM_ACCEL=kvm:tcg uses KVM where there is one.
set -u
cd "$(dirname "$0")/../.." || exit 2
root=$PWD
store=$root/build/vm
PARTS="load bpf xsk diff relay attach e2e"
limit_s=${VM_TIMEOUT:-120}
tmp=
trap '[ -z "$tmp" ] || rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

skip()
{
	echo "SKIP $*"
	exit 77
}

how_to="tools/install-deps.sh --vm gets what is missing"

fetch()
{
	tools/install-deps.sh --vm || exit 1
}

# unpack DEB: prints the directory with boot/ and lib/modules/, modules indexed.
unpack()
{
	local dir version

	dir=$store/$(basename "$1" .deb)
	if [ ! -e "$dir/ready" ]; then
		rm -rf "$dir"
		mkdir -p "$dir" && dpkg -x "$1" "$dir" || return 1
		[ -d "$dir/lib/modules" ] || mv "$dir/usr/lib/modules" "$dir/lib/modules" 2>/dev/null ||
			{ mkdir -p "$dir/lib" && mv "$dir/usr/lib/modules" "$dir/lib/"; } || return 1
		version=$(ls "$dir/lib/modules")
		busybox depmod -b "$dir" "$version" && touch "$dir/ready" || return 1
	fi
	echo "$dir"
}

# initrd DIR VERSION FILE
initrd()
{
	local top=$tmp/top modules=lib/modules/$2 arch_libs

	rm -rf "$top"
	mkdir -p "$top/etc" "$top/$modules"
	cp "$(command -v busybox)" "$top/busybox" && install -m 755 tests/vm/init "$top/init" || return 1
	cp "$1/$modules"/modules.* "$top/$modules/"
	(cd "$1/$modules" && find kernel/drivers/virtio kernel/net/9p kernel/fs/9p kernel/fs/netfs kernel/fs/fscache \
		-name '*.ko*' 2>/dev/null | cpio -pdm --quiet "$top/$modules") || return 1
	for f in alternatives ld.so.cache passwd group protocols services nsswitch.conf iproute2; do
		[ ! -e "/etc/$f" ] || cp -a "/etc/$f" "$top/etc/"
	done
	for f in bin sbin lib64; do
		ln -s "usr/$f" "$top/$f"
	done
	for arch_libs in /usr/lib/*-linux-gnu; do
		ln -s "$arch_libs" "$top/lib/"
	done
	(cd "$top" && find . | cpio -o -H newc --quiet | gzip -1) >"$3"
}

share() { echo "-virtfs local,path=$1,mount_tag=$2,security_model=none,readonly=on,multidevs=remap"; }

# boot DIR VERSION PART: the guest's console in $tmp/console.
boot()
{
	# shellcheck disable=SC2046 # several words
	timeout -k 5 "$limit_s" qemu-system-x86_64 -accel "${VM_ACCEL:-tcg}" -cpu max -smp 2 -m 1536 \
		-nodefaults -nographic -no-reboot -serial stdio \
		-kernel "$1/boot/vmlinuz-$2" -initrd "$tmp/initrd" \
		-append "console=ttyS0 quiet panic=-1 penstock.part=$3" \
		$(share /usr usr) $(share "$root" src) $(share "$1/lib/modules" modules) \
		</dev/null >"$tmp/raw" 2>&1
	boot_rc=$?
	# What the firmware prints before is no report; compressed modules are tried as they are first.
	tr -d '\r' <"$tmp/raw" | grep -av 'Invalid ELF header magic' | sed -n '/^# kernel \|^Bail out/,$p' >"$tmp/console"
}

# Is the console a whole TAP report without a failure?
verdict()
{
	local plan count

	plan=$(sed -n 's/^1\.\.\([0-9]*\)$/\1/p' "$tmp/console")
	count=$(grep -c '^ok ' "$tmp/console")
	[ "$boot_rc" = 0 ] && [ -n "$plan" ] && [ "$plan" -gt 0 ] && [ "$plan" = "$count" ] &&
		! grep -q '^not ok\|^Bail out\|Kernel panic\|BUG:\|Oops' "$tmp/console" &&
		grep -qx 'guest exit 0' "$tmp/console"
}

[ "$(uname -m)" = x86_64 ] || skip "only for x86_64 hosts"
[ -z "${VM_FETCH:-}" ] || fetch
for t in qemu-system-x86_64 busybox cpio dpkg; do
	command -v $t >/dev/null || skip "'$t' is not installed; $how_to"
done
debs=${VM_DEBS:-$(ls "$store"/linux-image-*.deb 2>/dev/null)}
[ -n "$debs" ] || skip "no kernel package in build/vm; $how_to"
tmp=$(mktemp -d /tmp/penstock-vm.XXXXXX) || exit 2
[ $# -gt 0 ] || set -- $PARTS
n=0 failed=0
for deb in $debs; do
	dir=$(unpack "$deb") || { echo "Bail out! cannot unpack $deb"; exit 1; }
	version=$(ls "$dir/lib/modules")
	initrd "$dir" "$version" "$tmp/initrd" || { echo "Bail out! no initrd for $version"; exit 1; }
	for part in "$@"; do
		n=$((n + 1))
		start=$(date +%s)
		boot "$dir" "$version" "$part"
		sed 's/^/    /' "$tmp/console"
		if verdict; then
			echo "ok $n - $version $part ($(($(date +%s) - start)) s)"
		else
			failed=$((failed + 1))
			[ -s "$tmp/console" ] || tail -n 20 "$tmp/raw" | sed 's/^/# | /'
			[ $boot_rc != 124 ] || echo "# timeout after $limit_s s"
			echo "not ok $n - $version $part"
		fi
	done
done
echo "1..$n"
[ $failed = 0 ]
