# SPDX-License-Identifier: Apache-2.0
"""A function has at most 80 lines, a file at most 600 (C sources and headers, tests included)."""
import re

from lintlib import Report, files, read

FUNC_MAX, FILE_MAX = 80, 600


def function_name(lines, brace):
    """The name in the signature that ends above the line with the opening brace."""
    sig = ""
    for i in range(brace - 1, max(-1, brace - 12), -1):
        sig = lines[i] + " " + sig
        if re.match(r"\S", lines[i]) and "(" in sig:
            break
    m = re.search(r"(\w+)\s*\(", sig)
    return m.group(1) if m else "?"


def main():
    rep = Report("sizes")
    for path in files(".c", ".h"):
        lines = read(path).splitlines()
        if len(lines) > FILE_MAX:
            rep.finding(path, FILE_MAX, "file", f"{len(lines)} lines, at most {FILE_MAX}")
        start = None
        for i, line in enumerate(lines):
            if line == "{":
                start = i
            elif line.startswith("}") and start is not None:
                if i - start - 1 > FUNC_MAX:
                    name = function_name(lines, start)
                    rep.finding(path, start, name, f"{name}() has {i - start - 1} lines, at most {FUNC_MAX}")
                start = None
    rep.done()


main()
