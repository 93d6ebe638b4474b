# SPDX-License-Identifier: Apache-2.0
"""Every non-static symbol carries its module's prefix. A file's prefixes are its directory's name, its stem and
the stem's first word, and the nouns its own header declares (`struct ipaddr` in addr.h makes `ipaddr_` one)."""
import os
import re
import subprocess
import sys

from lintlib import Report, files, read, strip_comments

# Directories whose symbols may carry the directory's name in a shorter form.
ALIAS = {"daemon": ["d", "ps"], "portal": ["portal"], "apps": ["main"], "io": ["io"], "ctl": ["ctl"]}


def prefixes(path):
    d, stem = os.path.basename(os.path.dirname(path)), os.path.basename(path)[:-2]
    out = {d, stem, stem.split("_")[0], *ALIAS.get(d, [])}
    header = path[:-2] + ".h"
    if os.path.exists(header):
        for m in re.finditer(r"\b(?:struct|enum|union)\s+(\w+)\s*\{", strip_comments(read(header))):
            out |= {m.group(1), m.group(1).split("_")[0]}
    return out


def line_of(path, sym):
    for no, line in enumerate(read(path).splitlines(), 1):
        if re.search(rf"\b{sym}\b\s*[\(\[=;]", line):
            return no
    return 1


def main():
    rep = Report("symbols")
    objdir = sys.argv[1]
    for path in files(".c"):
        obj = os.path.join(objdir, path[:-2] + ".o")
        if not path.startswith("userspace/") or not os.path.exists(obj):
            continue
        ok = prefixes(path)
        out = subprocess.run(["nm", "-g", "--defined-only", obj], check=True, capture_output=True, text=True).stdout
        for line in out.splitlines():
            sym = line.split()[-1]
            if sym in ("main", "_init", "_fini") or sym.startswith(("__asan", "__odr_asan")):
                continue
            if not any(sym == p or sym.startswith(p + "_") for p in ok):
                rep.finding(path, line_of(path, sym), sym,
                            f"{sym} carries none of this module's prefixes ({', '.join(sorted(ok))})")
    rep.done()


main()
