# SPDX-License-Identifier: Apache-2.0
"""What the sans-IO layers import: `nm -u` over the objects of libpenstock-pure.a. Whatever neither the archive
defines nor the list below names is a finding: no clock, no randomness, no socket, no allocation, no file, no stdio output."""
import os
import re
import subprocess
import sys

from lintlib import Report, files, read

LIBC_OK = re.compile(r"^(mem(cpy|move|set|cmp|chr|mem)|str(len|nlen|cmp|ncmp|chr|rchr|str|spn|cspn|casecmp|ncasecmp|"
                     r"pbrk|tol|toll|toul|toull)|(__isoc23_)?strto(l|ll|ul|ull)|v?snprintf|bsearch|qsort|abort|inet_(ntop|pton)|"
                     r"__errno_location|__ctype_(b|tolower|toupper)_loc|tolower|toupper|__stack_chk_fail|"
                     r"__assert_fail|__(mem|str|v?sn)\w*_chk|explicit_bzero|ffs(l|ll)?|"
                     r"__(popcount|clz|ctz)[sdt]i2|__(u?div|u?mod|mul)ti[34]|"
                     r"__cpu_model|__(asan|ubsan|sanitizer)_\w+|_GLOBAL_OFFSET_TABLE_|crc32)$")
# Libraries of pure computation, each for the layers that own its seam.
LIBS_OK = [("userspace/crypto/", re.compile(r"^(crypto_(?!.*keypair$)|sodium_(memcmp|memzero|is_zero|increment|bin2hex|hex2bin|"
                                            r"base642bin|bin2base64|init)|EVP_|HMAC|OSSL_PARAM|ERR_clear_error|CRYPTO_memcmp|OPENSSL_cleanse)")),
           ("userspace/codec/", re.compile(r"^json_")),
           ("userspace/core/phx/", re.compile(r"^json_"))]


PURE_DIRS = tuple(f"userspace/{d}/" for d in ("base", "crypto", "codec", "core", "fwd"))


def line_using(path, sym):
    """The first line that calls the symbol; 1 when a macro or the compiler brought it in."""
    for no, line in enumerate(read(path).splitlines(), 1):
        if re.search(rf"\b{re.escape(sym)}\s*\(", line):
            return no
    return 1


def run(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def main():
    lib = sys.argv[1]
    objdir = os.path.join(os.path.dirname(lib), "obj")
    rep = Report("pure")
    defined = {f[-1] for f in map(str.split, run("nm", "--defined-only", "-g", lib).splitlines()) if len(f) == 3}
    for path in files(".c"):
        obj = os.path.join(objdir, path[:-2] + ".o")
        if not path.startswith(PURE_DIRS):
            continue
        if not os.path.exists(obj):
            rep.finding(path, 1, "object", f"is not built ({obj})")
            continue
        for line in run("nm", "-u", obj).splitlines():
            sym = line.split()[-1].split("@")[0]
            if sym in defined or LIBC_OK.match(sym):
                continue
            if not any(path.startswith(d) and rx.match(sym) for d, rx in LIBS_OK):
                rep.finding(path, line_using(path, sym), sym, f"imports {sym}")
    rep.done()


main()
