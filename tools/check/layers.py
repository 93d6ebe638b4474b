# SPDX-License-Identifier: Apache-2.0
"""Include direction: include -> base -> crypto -> codec -> core/* -> core/node -> core/tunnel -> fwd -> io ->
apps. Core machines do not see each other (ice sees stun); bpf/ sees only include/; the layers up to fwd see
no header of a system call, an event loop or BPF."""
import os
import re

from lintlib import Report, files, read

RANK = {"include": 0, "base": 1, "crypto": 2, "codec": 3, "core": 4, "core/node": 5, "core/tunnel": 6,
        "fwd": 7, "io": 8, "apps": 9}
MAY_ALSO = {("core/ice", "core/stun"), ("core/turn", "core/stun"), ("core/relay", "core/stun")}
PURE_DENY = re.compile(r"^(unistd|fcntl|poll|signal|pthread|threads|time|malloc|spawn|dirent|syslog|netdb|uv|"
                       r"libwebsockets|sys/(?!types|cdefs).*|arpa/(?!inet\.h).*|netinet/.*|net/.*|bpf/.*|xdp/.*|libmnl/.*|"
                       r"nftables/.*|systemd/.*|openssl/rand|linux/if.*|linux/netlink)(\.h|$)")
INCLUDE_OK = re.compile(r"^(stdint|stddef|stdbool|string|limits|assert|linux/(types|bpf|stddef|in6?|ip|ipv6|udp|"
                        r"tcp|icmp|icmpv6|if_ether))\.h$")
BPF_OK = re.compile(r"^(linux/.*|bpf/.*|stdint\.h|stddef\.h|stdbool\.h|asm/.*|xdp/.*)$")


def area(path):
    """The unit a file belongs to: include, bpf, tests, or a layer below userspace/ (core/x for machines)."""
    parts = path.split("/")
    if parts[0] != "userspace":
        return parts[0]
    return "/".join(parts[1:3]) if parts[1] == "core" else parts[1]


def rank(a):
    return RANK.get(a, RANK["core"] if a.startswith("core/") else None)


def resolve(path, name):
    for base in (os.path.dirname(path), "include", "userspace", "bpf", "."):
        p = os.path.normpath(os.path.join(base, name))
        if os.path.isfile(p):
            return p
    return None


def app(path):
    """apps/portal, apps/ctl and apps/daemon (with the mains beside it) do not see each other."""
    parts = path.split("/")
    return parts[2] if len(parts) > 3 else "daemon"


def judge(path, name, quoted):
    """Why `path` may not include `name`, or None."""
    me = area(path)
    target = resolve(path, name) if quoted else None
    if name.endswith(".skel.h"):
        return None if me in ("io", "apps", "tests") else "a BPF skeleton is for io, apps and tests"
    if target is None:
        if me == "include":
            return None if INCLUDE_OK.match(name) else "include/ sees no libc beyond mem* and fixed-width types"
        if me == "bpf":
            return None if BPF_OK.match(name) else "bpf/ sees only include/ and kernel headers"
        if rank(me) is not None and rank(me) <= RANK["fwd"] and PURE_DENY.match(name):
            return "a sans-IO layer has no use for this header"
        return None
    you = area(target)
    if me == "tests":
        return None
    if me == "bpf":
        return None if you in ("bpf", "include") else f"bpf/ may not see {you}"
    if rank(me) is None or rank(you) is None:
        return f"{me} may not see {you}"
    if me == "apps" and you == "apps":
        return None if app(path) == app(target) else f"apps/{app(path)} may not see apps/{app(target)}"
    if me == you or (me, you) in MAY_ALSO:
        return None
    if rank(you) < rank(me):
        return None
    return f"{me} may not see {you}"


def main():
    rep = Report("layers")
    for path in files(".c", ".h"):
        if path.split("/")[0] not in ("userspace", "include", "bpf"):
            continue
        for no, line in enumerate(read(path).splitlines(), 1):
            m = re.match(r'\s*#\s*include\s+(["<])([^">]+)', line)
            why = m and judge(path, m.group(2), m.group(1) == '"')
            if why:
                rep.finding(path, no, m.group(2), f"includes {m.group(2)}: {why}")
    rep.done()


main()
