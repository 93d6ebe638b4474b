#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# clang-format agrees with every C file (`make format` applies it). clang-format 19 is the reference: other
# versions break lines differently, so without it the check fails rather than guesses.
set -u
fmt=$(command -v clang-format-19 || command -v clang-format) || { echo "format: no clang-format-19"; exit 1; }
"$fmt" --version | grep -q 'version 19\.' || { echo "format: needs clang-format 19, $fmt is $("$fmt" --version)"; exit 1; }
git ls-files -co --exclude-standard '*.c' '*.h' | while read -r f; do [ -f "$f" ] && printf '%s\0' "$f"; done |
	xargs -0 -r "$fmt" --dry-run -Werror --ferror-limit=1 2>&1 | grep -E 'error:' |
	sed 's/: error: .*/: format: not as clang-format-19 lays it out (run make format)/' | sort -u >"${TMPDIR:-/tmp}/penstock-format.$$"
cat "${TMPDIR:-/tmp}/penstock-format.$$"
[ ! -s "${TMPDIR:-/tmp}/penstock-format.$$" ]
rc=$?
rm -f "${TMPDIR:-/tmp}/penstock-format.$$"
exit $rc
