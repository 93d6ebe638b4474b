#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Shows that every lint check can fail: in a small tree of its own, clean at first, one violation after the
# other is seeded and the check must name it with file and line. Exit 0 when each was caught.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d /tmp/penstock-lint.XXXXXX) || exit 2
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 2
git init -q . && cp "$root/.clang-format" . && mkdir -p tools/check userspace/base userspace/core/ice userspace/core/wg \
	userspace/io include bpf build && cp "$root"/tools/check/*.py "$root"/tools/check/*.sh tools/check/
rm tools/check/selftest.sh
echo build/ >.gitignore
rc=0

source_file() # PATH BODY: a clean file with a head, then BODY
{
	local spdx=Apache-2.0

	case $1 in bpf/* | include/*) spdx='(GPL-2.0-only OR BSD-2-Clause)' ;; esac
	printf '/* SPDX-License-Identifier: %s\n *\n * A file that exists to show what the checks see and what they accept. */\n%b' \
		"$spdx" "$2" >"$1"
}

build()
{
	local f objs=()

	rm -rf build && mkdir build
	for f in $(find userspace -name '*.c'); do
		mkdir -p "build/obj/$(dirname "$f")"
		gcc -w -Iinclude -Iuserspace -c "$f" -o "build/obj/${f%.c}.o" || return 1
		case $f in userspace/io/*) ;; *) objs+=("build/obj/${f%.c}.o") ;; esac
	done
	ar rcs build/lib.a "${objs[@]}"
}

clean_tree()
{
	rm -rf userspace/*/* include/* bpf/* && mkdir -p userspace/core/ice userspace/core/wg
	: >tools/check/allow.txt
	source_file userspace/base/num.h 'int num_add(int a, int b);\n'
	source_file userspace/base/num.c '#include "base/num.h"\n\nint num_add(int a, int b)\n{\n\treturn a + b;\n}\n'
}

expect() # CHECK PATTERN: the check fails and says PATTERN
{
	local said

	build || { echo "FAIL  the seeded tree does not build"; rc=1; return; }
	if said=$(tools/check/lint.sh build/lib.a "$1" 2>&1); then
		echo "FAIL  $1 did not catch: $2"
		rc=1
	elif ! grep -qE "$2" <<<"$said"; then
		echo "FAIL  $1 failed, but not with: $2"
		sed 's/^/      | /' <<<"$said"
		rc=1
	else
		echo "ok    $1: $2"
	fi
	clean_tree
}

clean_tree
build
if ! said=$(tools/check/lint.sh build/lib.a 2>&1); then
	echo "FAIL  the clean tree is not clean"
	sed 's/^/      | /' <<<"$said"
	rc=1
fi

source_file userspace/io/udp.h 'int udp_x(void);\n'
source_file userspace/base/up.c '#include "io/udp.h"\n'
expect layers 'userspace/base/up.c:4: layers: .*base may not see io'
source_file userspace/core/wg/peer.h 'int peer_x(void);\n'
source_file userspace/core/ice/pair.c '#include "core/wg/peer.h"\n'
expect layers 'core/ice may not see core/wg'
source_file userspace/core/ice/pair.c '#include <sys/socket.h>\n'
expect layers 'sans-IO layer has no use'
source_file bpf/rx.bpf.h '#include "../userspace/base/num.h"\n'
expect layers 'bpf/ may not see base'
source_file include/wire.h '#include <stdio.h>\n'
expect layers 'include/ sees no libc'

source_file userspace/base/clk.c '#include <time.h>\n\nlong clk_now(void)\n{\n\treturn time(0);\n}\n'
expect pure 'userspace/base/clk.c:8: pure: imports time'
source_file userspace/core/ice/pair.c '#include <stdlib.h>\n\nvoid *pair_new(void)\n{\n\treturn malloc(8);\n}\n'
expect pure 'pair.c:8: pure: imports malloc'
source_file userspace/base/say.c '#include <stdio.h>\n\nvoid say_it(int x)\n{\n\tprintf("%d", x);\n}\n'
expect pure 'say.c:8: pure: imports printf'

source_file userspace/base/num2.c 'int helper(void);\n\nint helper(void)\n{\n\treturn 1;\n}\n'
expect symbols 'num2.c:[0-9]*: symbols: helper carries none'

source_file userspace/io/x.c '#include <stdio.h>\n\nstruct x {\n\tconst char *psk;\n};\nvoid x_say(struct x *x);\nvoid x_say(struct x *x)\n{\n\tprintf("%s",\n\t       x->psk);\n}\n'
expect secrets 'x.c:12: secrets: printf\(\) is given x->psk'

source_file userspace/io/x.c '#define LOG_INFO(...) (void)0\nstruct x {\n\tconst char *token;\n};\nvoid x_say(struct x *x);\nvoid x_say(struct x *x)\n{\n\tLOG_INFO("portal", "joined", x->token);\n}\n'
expect secrets 'x.c:11: secrets: LOG_INFO\(\) is given x->token'

long=$(for i in $(seq 90); do printf '\\tx += %d;\\n' "$i"; done)
source_file userspace/base/big.c "int big_sum(int x);\n\nint big_sum(int x)\n{\n$long\treturn x;\n}\n"
expect sizes 'big.c:6: sizes: big_sum\(\) has 91 lines'
source_file userspace/base/big.c "$(for i in $(seq 620); do printf 'extern int big_%d;\\n' "$i"; done)"
expect sizes 'big.c:600: sizes: 623 lines'

echo 'int num_x;' >userspace/base/num3.c
expect heads 'num3.c:1: heads: the first lines need SPDX'
printf '/* SPDX-License-Identifier: Apache-2.0 */\nint num_x;\n' >userspace/base/num3.c
expect heads 'num3.c:2: heads: no head comment'
source_file bpf/rx.bpf.h ''
sed -i 's/(GPL.*)/Apache-2.0/' bpf/rx.bpf.h
expect heads 'rx.bpf.h:1: heads: .*GPL-2.0-only'

source_file userspace/base/num3.c "/* TO""DO: more */\n"
expect words 'num3.c:4: words: says TO''DO'
source_file userspace/base/num3.c "/* see /ho""me/someone/notes */\n"
expect words 'num3.c:4: words: says /ho''me/s'

source_file userspace/base/num3.c 'int   num_x;\n'
expect format 'num3.c:4:.* format: not as'

echo 'sizes userspace/base/gone.c:gone_fn it was long once' >tools/check/allow.txt
expect sizes 'allow.txt:1: sizes: accepts nothing any more'
exit $rc
