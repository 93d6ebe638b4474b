# SPDX-License-Identifier: Apache-2.0
"""Words that mark unfinished work, and paths of one developer's machine, are in no file."""
import re

from lintlib import Report, files, read

WORDS = re.compile(r"\b(" + "|".join(a + b for a, b in (("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK"),
                                                        ("W", "IP"))) + r")\b")
PATHS = re.compile(r"(?<![\w.])/(?:" + "|".join(("wo" + "rk", "fa" + "rm", "ho" + "me")) + r")/\w")


def main():
    rep = Report("words")
    for path in files(".c", ".h", ".sh", ".py", ".md", "Makefile", "/run", "/lab", ".json", ".txt"):
        if path.startswith(("tests/fuzz/corpus/", "tests/vectors/")):
            continue
        for no, line in enumerate(read(path).splitlines(), 1):
            m = WORDS.search(line) or PATHS.search(line)
            if m:
                rep.finding(path, no, m.group(0), f"says {m.group(0)}")
    rep.done()


main()
