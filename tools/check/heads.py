# SPDX-License-Identifier: Apache-2.0
"""Every source file starts with its SPDX line (dual licence in bpf/ and include/) and a comment that says what
the file is; x.c may leave that to x.h beside it."""
import os
import re

from lintlib import Report, files, read

DUAL = "(GPL-2.0-only OR BSD-2-Clause)"
MIN_HEAD = 12  # letters of prose after the SPDX line


def main():
    rep = Report("heads")
    for path in files(".c", ".h", ".sh", ".py") + [f for f in files("") if f in (".ci/run", "Makefile",
                                                                                  "tools/lab/lab")]:
        text = read(path)
        head = "\n".join(text.splitlines()[:30])
        want = DUAL if path.split("/")[0] in ("bpf", "include") else "Apache-2.0"
        m = re.search(r"SPDX-License-Identifier:\s*(.+?)\s*(?:\*/)?$", "\n".join(text.splitlines()[:3]), re.M)
        if not m or m.group(1) != want:
            rep.finding(path, 1, "spdx", f"the first lines need SPDX-License-Identifier: {want}")
            continue
        if path.endswith(".c") and os.path.exists(path[:-2] + ".h"):
            continue
        prose = ""
        for line in head.split("SPDX-License-Identifier:", 1)[1].splitlines()[1:]:
            if not re.match(r'\s*(\*|/\*|//|#(?!\s*(include|define|if|pragma))|""")', line) and '"""' not in prose:
                if prose:
                    break
                continue
            prose += line
            if "*/" in line:
                break
        if len(re.sub(r"[^A-Za-z]", "", prose)) < MIN_HEAD:
            rep.finding(path, 2, "head", "no head comment that says what this file is")
    rep.done()


main()
