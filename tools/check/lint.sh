#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# All lint checks over the tree in the current directory: lint.sh LIBPURE [CHECK…]. LIBPURE is the built archive
# of the sans-IO layers; the objects beside it are what `symbols` looks at. Every check runs even if an
# earlier one failed; each prints file:line: check: what. Accepted exceptions, with reasons: allow.txt.
set -u
here=$(cd "$(dirname "$0")" && pwd)
lib=${1:?usage: lint.sh LIBPURE [CHECK…]}
shift
[ $# -gt 0 ] || set -- layers pure symbols secrets sizes heads words format
[ -s "$lib" ] || { echo "lint: $lib is not built" >&2; exit 2; }
rc=0
for check in "$@"; do
	case $check in
	layers | secrets | sizes | heads | words) cmd=(python3 -B "$here/$check.py") ;;
	pure) cmd=(python3 -B "$here/pure.py" "$lib") ;;
	symbols) cmd=(python3 -B "$here/symbols.py" "$(dirname "$lib")/obj") ;;
	format) cmd=(bash "$here/format.sh") ;;
	*) echo "lint: no check '$check'" >&2; exit 2 ;;
	esac
	if "${cmd[@]}"; then
		echo "ok    lint $check"
	else
		echo "FAIL  lint $check"
		rc=1
	fi
done
exit $rc
