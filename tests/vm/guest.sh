#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What runs inside the test machine: tests/vm/guest.sh PART, TAP on stdout. Needs root, and a machine to itself.
#
#   load     both objects through io/bpf_load, and what it says about the kernel
#   bpf      tests/bpf: every packet's fate, the cipher, key dumps, devices
#   xsk      tests/bpf/test_xsk: frames by AF_XDP
#   diff     tests/bpf/test_diff: random packets against the reference
#   relay    tests/bpf/test_relay*: the relay's switch
#   attach   tests/netns/t_bpf-attach.sh: attaching in every mode, and what kill -9 leaves
#   e2e      tests/vm/e2e.sh: portal, gateway and client in namespaces, --mode=kernel
set -u
cd "$(dirname "$0")/../.." || exit 2
export PENSTOCK_BUILD=${PENSTOCK_BUILD:-build}
n=0 failed=0
out=/tmp/guest.out

uptime_s() { cut -d' ' -f1 /proc/uptime; }

result()
{
	n=$((n + 1))
	[ "$1" = ok ] || failed=$((failed + 1))
	echo "$1 $n - $2"
}

# run NAME CMD…: one line of TAP after the command's own output, which is shown as it comes: a part may be cut off.
run()
{
	local name=$1 start rc took
	shift

	start=$(uptime_s)
	"$@" 2>&1 | tee $out | stdbuf -oL sed 's/^/# | /'
	rc=${PIPESTATUS[0]}
	took=$(awk -v a="$start" -v b="$(uptime_s)" 'BEGIN { printf "%.1f s", b - a }')
	case $rc in
	0) result ok "$name ($took)" ;;
	77) result ok "$name # SKIP $(tail -n 1 $out)" ;;
	*) result "not ok" "$name (exit $rc, $took)" ;;
	esac
}

# has_typed_pointers: from 6.4 on the object with hidden keys must load, before it must be refused.
has_typed_pointers()
{
	[ "$(printf '6.4\n%s\n' "$(uname -r)" | sort -V | head -n 1)" = 6.4 ]
}

# hold NAME [VAR=value…]: load and attach in a namespace, keep the report in $out, undo.
hold()
{
	local pid i

	env "$@" nsenter --net=/run/netns/vm-load "$PENSTOCK_BUILD/tests/netns/h_bpf" hold vm auto >$out 2>&1 &
	pid=$!
	for i in $(seq 300); do
		grep -q '^holding\|^failed' $out && break
		sleep 0.1
	done
	kill $pid 2>/dev/null
	wait $pid
}

said() { grep -q "$1" $out; }

check()
{
	local what=$1
	shift
	if "$@"; then
		result ok "$what"
	else
		sed 's/^/# | /' $out
		result "not ok" "$what"
	fi
}

part_load()
{
	ip netns add vm-load && ip -n vm-load link add w0 type veth peer name w1 &&
		ip -n vm-load link set w0 up && ip -n vm-load link set w1 up || exit 1
	check "the object with plain keys loads and attaches" hold PENSTOCK_BPF_PLAIN=1
	check "it says that keys are not hidden" said 'keys_hidden=0 keys_why="a plain key map was asked for"'
	sed -n 's/^prog=/# plain /p; s/^wan=/# wan=/p' $out
	check "whatever this kernel takes loads and attaches" hold PENSTOCK_BPF_PLAIN=0
	if has_typed_pointers; then
		check "keys are hidden" said 'keys_hidden=1 keys_why=""'
	else
		check "the loader falls back and says why" said 'keys_hidden=0 keys_why="kernel refuses typed pointers'
	fi
	sed -n 's/^load_ms/# load_ms/p; s/^prog=/# chosen /p; s/^wan=/# wan=/p' $out
}

echo "# kernel $(uname -r), part $1"
case $1 in
load) part_load ;;
bpf)
	for t in tests/bpf/test_*.c; do
		t=$(basename "$t" .c)
		case $t in
		test_diff | test_relay* | test_xsk) ;;
		*) run "$t" "$PENSTOCK_BUILD/tests/bpf/$t" ;;
		esac
	done
	;;
xsk) run test_xsk "$PENSTOCK_BUILD/tests/bpf/test_xsk" ;;
diff) run test_diff "$PENSTOCK_BUILD/tests/bpf/test_diff" ;;
relay)
	run test_relay_live "$PENSTOCK_BUILD/tests/bpf/test_relay_live"
	run test_relay_fates "$PENSTOCK_BUILD/tests/bpf/test_relay_fates"
	run test_relay "$PENSTOCK_BUILD/tests/bpf/test_relay"
	run test_relay_hop "$PENSTOCK_BUILD/tests/bpf/test_relay_hop"
	;;
attach) run t_bpf-attach bash tests/netns/t_bpf-attach.sh ;;
e2e) run e2e bash tests/vm/e2e.sh ;;
*) echo "Bail out! no part '$1'"; exit 2 ;;
esac
echo "1..$n"
[ $n -gt 0 ] && [ $failed = 0 ]
