#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# A DNS server for tests, UDP and TCP: dns_zone.py ADDRESS:PORT… What it does depends on the first label.
#
#   www A 203.0.113.5, AAAA 2001:db8:5::5    big TXT: too long for UDP (TC there)    wide TXT: 1400 bytes, also by UDP
#   whoami TXT: the asker's address          n TXT: how often it was asked            silent: no answer
#   evil A: an address of the tunnel         forge A: a wrong id first, then right    hangup: TCP closed, UDP answered
#   slow A: after 1 s                        anything else: NXDOMAIN; at port 53535 every TXT is "in-site", SRV 443 there
import ipaddress
import select
import socket
import struct
import sys
import threading
import time

TXT, SRV, A, AAAA = 16, 33, 1, 28
asked = 0
lock = threading.Lock()


def text(s):
    return b"".join(bytes([len(s[i:i + 200])]) + s[i:i + 200].encode() for i in range(0, len(s), 200))


def answer(query, peer, port, tcp):
    """The messages to send, in order; None: hang up."""
    global asked
    pos, labels = 12, []
    while query[pos]:
        labels.append(query[pos + 1:pos + 1 + query[pos]].decode("ascii", "replace").lower())
        pos += 1 + query[pos]
    qtype = struct.unpack(">H", query[pos + 1:pos + 3])[0]
    question = query[12:pos + 5]
    records, code, tc, first = [], 0, 0, labels[0] if labels else ""
    if port == 53535:
        if qtype == TXT:
            records = [(TXT, text("in-site"))]
        elif qtype == SRV:
            records = [(SRV, struct.pack(">HHH", 1, 2, 443) + b"\x04host\x04corp\x04test\x00")]
    elif first == "silent":
        return []
    elif first == "hangup" and tcp:
        return None
    elif first in ("www", "slow", "hangup"):
        if first == "slow":
            time.sleep(1)
        if qtype == A:
            records = [(A, bytes([203, 0, 113, 5]))]
        elif qtype == AAAA:
            records = [(AAAA, ipaddress.ip_address("2001:db8:5::5").packed)]
    elif first == "forge":
        records = [(A, bytes([203, 0, 113, 6]))]
    elif first == "evil":
        records = [(A, bytes([100, 96, 0, 1]))]
    elif first == "whoami":
        records = [(TXT, text(peer))]
    elif first == "n":
        with lock:
            asked += 1
            records = [(TXT, text(str(asked)))]
    elif first in ("big", "wide"):
        if first == "big" and not tcp:
            tc = 0x0200
        else:
            records = [(TXT, text("x" * (30000 if first == "big" else 1400)))]
    else:
        code = 3

    def message(ident):
        out = ident + struct.pack(">HHHHH", 0x8180 | tc | code, 1, len(records), 0, 0) + question
        for kind, data in records:
            out += struct.pack(">HHHIH", 0xc00c, kind, 1, 60, len(data)) + data
        return out

    right = message(query[:2])
    return [message(bytes([query[0] ^ 0x55, query[1]])), right] if first == "forge" else [right]


def udp(sock, query, peer, port):
    try:
        for m in answer(query, peer[0], port, False) or []:
            sock.sendto(m, peer)
    except (OSError, IndexError):
        pass


def tcp(conn, peer, port):
    try:
        f = conn.makefile("rwb")
        while head := f.read(2):
            got = answer(f.read(struct.unpack(">H", head)[0]), peer[0], port, True)
            if got is None:
                break
            for m in got:
                f.write(struct.pack(">H", len(m)) + m)
            f.flush()
    except (OSError, IndexError, struct.error):
        pass
    conn.close()


def main():
    socks = {}
    for at in sys.argv[1:]:
        host, port = at.rsplit(":", 1)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            s = socket.socket(family, kind)
            if kind == socket.SOCK_STREAM:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((host.strip("[]"), int(port)))
            if kind == socket.SOCK_STREAM:
                s.listen(64)
            socks[s] = int(port)
    print("ready", flush=True)
    while True:
        for s in select.select(list(socks), [], [])[0]:
            if s.type == socket.SOCK_DGRAM:
                data, peer = s.recvfrom(4096)
                threading.Thread(target=udp, args=(s, data, peer, socks[s]), daemon=True).start()
            else:
                conn, peer = s.accept()
                threading.Thread(target=tcp, args=(conn, peer, socks[s]), daemon=True).start()


main()
