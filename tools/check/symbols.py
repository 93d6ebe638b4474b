# SPDX-License-Identifier: Apache-2.0
"""Every non-static symbol carries its module's prefix. A file's prefixes are its directory's name, its stem and the
words of it, and the nouns its module's headers declare (`struct ipaddr` in addr.h makes `ipaddr_` one)."""
import glob
import os
import re
import subprocess
import sys

from lintlib import Report, files, read, strip_comments

# Directories whose symbols may carry the directory's name in a shorter form.
ALIAS = {"daemon": ["d", "ps"], "portal": ["portal"], "apps": ["main"], "io": ["io"], "ctl": ["ctl"]}


def words(stem):
    """config_sections: config_sections, config, sections, section."""
    parts = stem.split("_")
    return {stem, *parts, *(p[:-1] for p in parts if p.endswith("s"))}


def nouns(header):
    out = set()
    for m in re.finditer(r"\b(?:struct|enum|union)\s+(\w+)\s*\{", strip_comments(read(header))):
        out |= {m.group(1), m.group(1).split("_")[0]}
    return out


def prefixes(path):
    d, stem = os.path.basename(os.path.dirname(path)), os.path.basename(path)[:-2]
    out = words(stem) | {d, *ALIAS.get(d, [])}
    # A module of several files keeps its types in one header: conn_free() of server_ws.c, struct conn of server_priv.h.
    first = stem.split("_")[0]
    for header in glob.glob(os.path.join(os.path.dirname(path), "*.h")):
        if os.path.basename(header)[:-2] == stem or re.match(rf"{first}(_\w+)?\.h$", os.path.basename(header)):
            out |= nouns(header)
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
