# SPDX-License-Identifier: Apache-2.0
"""No secret reaches a formatter: an argument of a log or print call whose name says key, password, PSK, token or
secret is a finding (its length, path, id, hash or count is not)."""
import re

from lintlib import Report, files, read, strip_comments

CALL = re.compile(r"\b((?:\w*_)?(?:log|printf|snprintf|vprintf|fprintf|dprintf|asprintf|syslog|warnx?|errx?)(?:_\w+)?|"
                  r"\w*_log_\w+|log_\w+|LOG_[A-Z]+|fputs|puts|fwrite|sd_journal_\w+)\s*\(")
SECRET = re.compile(r"(?:^|_)(key|keys|privkey|pwd|passwd|password|psk|token|secret|private)(?:_|$)")
HARMLESS = re.compile(r"(_|^)(path|file|len|id|ids|name|hash|hashed|sha256|count|env|cap|idx|index|public|pub|n|num|kind|"
                      r"type|state|slot|fd|ok|err|size|field|digest|prefix|b64_len|max|min|given|present|reason|where|str_of)"
                      r"(_|$)")


def argument_text(text, start):
    """The text between a call's parentheses, string literals blanked."""
    depth, i, out = 1, start, []
    while i < len(text) and depth:
        c = text[i]
        if c == '"':
            j = i + 1
            while j < len(text) and text[j] != '"':
                j += 2 if text[j] == "\\" else 1
            i = j + 1
            continue
        depth += (c == "(") - (c == ")")
        if depth:
            out.append(c)
        i += 1
    return "".join(out)


def main():
    rep = Report("secrets")
    for path in files(".c", ".h"):
        if path.split("/")[0] not in ("userspace", "include", "bpf"):
            continue
        text = strip_comments(read(path))
        for m in CALL.finditer(text):
            args = argument_text(text, m.end())
            # Members count by their last name: cfg->token is a token, token.path is a path.
            for expr in re.findall(r"(?<![\w.])[A-Za-z_]\w*(?:\s*(?:->|\.)\s*[A-Za-z_]\w*)*(?!\s*\()", args):
                last = re.split(r"->|\.", expr.replace(" ", ""))[-1].lower()
                if last.isupper() or not SECRET.search(last) or HARMLESS.search(last):
                    continue
                if re.search(rf"sizeof\s*\(?\s*{re.escape(expr)}", args):
                    continue
                line = text.count("\n", 0, m.start()) + 1
                rep.finding(path, line, expr, f"{m.group(1)}() is given {expr}")
    rep.done()


main()
