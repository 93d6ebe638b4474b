#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# A name server nobody should believe, UDP and TCP: dns_evil.py ADDRESS:PORT… The first label says what it does to a TXT or
# SRV query; each name has a TXT "secret" that must not get through unless said otherwise.
#
#   good        an honest answer                          wrongid      another id
#   forge       another id first, then an honest one      wrongname    another question
#   stranger    from another port                         query        not marked as an answer
#   loop        an owner that points at itself            forward      an owner that points ahead
#   short       the last record cut off                   trailing     bytes behind the last record
#   garbage     noise                                     huge         64 KB, by UDP without the TC flag
#   silent      nothing                                   slow         an honest answer after 2.5 s
#   slower      the same after 4.5 s                      late         the same after 9 s
#   hangup      TCP: closed; UDP: nothing
#   servfail, refused                                     glue         honest, with addresses in the additional section
#   gluetunnel  the same, of the tunnel's ranges          rebind       an A record of the tunnel's ranges for an answer
#   rebind6     the same with an IPv6 one                 half         TCP: half a frame and silence
import os
import select
import socket
import struct
import sys
import threading
import time

TXT, SRV, A, AAAA = 16, 33, 1, 28
NAME = b"\xc0\x0c"


def rr(owner, kind, data):
    return owner + struct.pack(">HHIH", kind, 1, 60, len(data)) + data


def text(s):
    return b"".join(bytes([len(s[i:i + 250])]) + s[i:i + 250].encode() for i in range(0, len(s), 250))


def message(ident, question, answers=(), additional=(), code=0, flags=0x8580):
    return (ident + struct.pack(">HHHHH", flags | code, 1, len(answers), 0, len(additional)) + question +
            b"".join(answers) + b"".join(additional))


def answer(query, tcp):
    """What to send, in order: bytes, seconds to wait, or None (hang up)."""
    pos, labels = 12, []
    while query[pos]:
        labels.append(query[pos + 1:pos + 1 + query[pos]].decode("ascii", "replace").lower())
        pos += 1 + query[pos]
    what, ident, q = labels[0].split("-")[0], query[:2], query[12:pos + 5]
    qtype = struct.unpack(">H", query[pos + 1:pos + 3])[0]
    other = bytes([ident[0] ^ 0x55, ident[1]])
    data = text("secret") if qtype == TXT else struct.pack(">HHH", 1, 2, 443) + b"\4host\7example\0"
    honest = message(ident, q, [rr(NAME, qtype, data)])
    glue = [rr(b"\4host\7example\0", A, bytes([10, 20, 0, 10]))]
    tunnel = [rr(NAME, A, bytes([100, 96, 0, 1])), rr(NAME, AAAA, bytes.fromhex("fd002021111180000000000000000001"))]
    return {
        "wrongid": [message(other, q, [rr(NAME, qtype, data)])],
        "forge": [message(other, q, [rr(NAME, qtype, text("forged"))]), honest],
        "wrongname": [message(ident, b"\4evil\7example\0" + q[-4:], [rr(NAME, qtype, data)])],
        "query": [message(ident, q, [rr(NAME, qtype, data)], flags=0x0100)],
        "loop": [message(ident, q, [rr(struct.pack(">H", 0xc000 | (12 + len(q))), qtype, data)])],
        "forward": [message(ident, q, [rr(struct.pack(">H", 0xc000 | (12 + len(q) + 30)), qtype, data)]) + b"\0" * 30],
        "short": [honest[:-3]],
        "trailing": [honest + b"secret"],
        "garbage": [os.urandom(300)],
        "huge": [message(ident, q, [rr(NAME, qtype, text("x" * (60000 if tcp else 8000)))])],
        "silent": [],
        "half": [],
        "slow": [2.5, honest],
        "slower": [4.5, honest],
        "late": [9.0, honest],
        "hangup": [None] if tcp else [],
        "servfail": [message(ident, q, code=2)],
        "refused": [message(ident, q, code=5)],
        "glue": [message(ident, q, [rr(NAME, qtype, data)], glue)],
        "gluetunnel": [message(ident, q, [rr(NAME, qtype, data)], tunnel)],
        "rebind": [message(ident, q, [rr(NAME, qtype, data), tunnel[0]])],
        "rebind6": [message(ident, q, [rr(NAME, qtype, data), tunnel[1]])],
        "stranger": [honest],
    }.get(what, [honest]), what


def udp(sock, query, peer):
    try:
        todo, what = answer(query, False)
        if what == "stranger":
            sock = socket.socket(sock.family, socket.SOCK_DGRAM)
        for m in todo:
            if isinstance(m, float):
                time.sleep(m)
            else:
                sock.sendto(m, peer)
    except (OSError, IndexError, struct.error):
        pass


def tcp(conn):
    try:
        f = conn.makefile("rwb")
        while len(head := f.read(2)) == 2:
            todo, what = answer(f.read(struct.unpack(">H", head)[0]), True)
            if what == "half":
                f.write(b"\1\0half")
            for m in todo:
                if m is None:
                    f.flush()
                    conn.shutdown(socket.SHUT_RDWR)
                    break
                if isinstance(m, float):
                    f.flush()
                    time.sleep(m)
                else:
                    f.write(struct.pack(">H", len(m)) + m)
            f.flush()
    except (OSError, IndexError, struct.error):
        pass
    conn.close()


def main():
    socks = []
    for at in sys.argv[1:]:
        host, port = at.rsplit(":", 1)
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((host.strip("[]"), int(port)))
            if kind == socket.SOCK_STREAM:
                s.listen(64)
            socks.append(s)
    print("ready", flush=True)
    while True:
        for s in select.select(socks, [], [])[0]:
            if s.type == socket.SOCK_DGRAM:
                threading.Thread(target=udp, args=(s, *s.recvfrom(4096)), daemon=True).start()
            else:
                threading.Thread(target=tcp, args=(s.accept()[0],), daemon=True).start()


main()
