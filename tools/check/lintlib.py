# SPDX-License-Identifier: Apache-2.0
"""What the lint checks share: the file list, findings, and the list of accepted exceptions.

A check reports findings as (path, line, key, text). An entry "check path:key reason" in allow.txt accepts
a finding; every entry needs a reason, and one that accepts nothing any more is itself a finding.
"""
import os
import re
import subprocess
import sys

ALLOW = "tools/check/allow.txt"


def files(*suffixes):
    """Tracked and new files that git does not ignore, relative to the root, with one of the suffixes."""
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], check=True,
                         capture_output=True, text=True).stdout.splitlines()
    return sorted(f for f in set(out) if f.endswith(suffixes) and os.path.isfile(f))


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def strip_comments(text):
    """C text with comments blanked (line structure kept); string literals stay."""
    def blank(m):
        s = m.group(0)
        return s if s[0] in "\"'" else re.sub(r"[^\n]", " ", s)
    return re.sub(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', blank, text,
                  flags=re.S)


class Report:
    def __init__(self, check):
        self.check, self.bad, self.used, self.allow = check, 0, set(), {}
        if os.path.exists(ALLOW):
            for no, line in enumerate(read(ALLOW).splitlines(), 1):
                if not line.strip() or line.startswith("#"):
                    continue
                parts = line.split(None, 2)
                if len(parts) < 3:
                    self.emit(ALLOW, no, "an entry is: check path:key reason")
                elif parts[0] == check:
                    self.allow[parts[1]] = no

    def emit(self, path, line, text):
        self.bad += 1
        print(f"{path}:{line}: {self.check}: {text}")

    def finding(self, path, line, key, text):
        name = f"{path}:{key}"
        if name in self.allow:
            self.used.add(name)
        else:
            self.emit(path, line, text)

    def done(self):
        for name, no in self.allow.items():
            if name not in self.used:
                self.emit(ALLOW, no, f"accepts nothing any more: {name}")
        sys.exit(1 if self.bad else 0)
