#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# TCP clients a resolver must survive: dns_hostile.py ADDRESS MODE [PORT]; prints one line, exit 0 when it went as it should.
#
#   pipeline   40 queries in one write, a slow one first: all answered, the slow one not first
#   halfclose  a query, then FIN: still answered
#   drip       a query byte by byte: answered
#   badlen     a frame of 5 bytes: the connection ends at once
#   longlen    a frame that says 65535: the connection ends at once
#   halfframe  half a query and silence: the connection ends after the idle limit, not much later
#   flood      200 connections that say nothing; meanwhile a proper one is answered
#   deaf       many queries for big answers, nothing read: the connection ends
import socket
import struct
import sys
import time

host, mode = sys.argv[1:3]
port = int(sys.argv[3]) if len(sys.argv) > 3 else 53


def query(name, qtype=1, ident=1):
    out = struct.pack(">HHHHHH", ident, 0x0100, 1, 0, 0, 0)
    for label in name.split("."):
        out += bytes([len(label)]) + label.encode()
    out += struct.pack(">BHH", 0, qtype, 1)
    return struct.pack(">H", len(out)) + out


def connect():
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    s.settimeout(20)
    s.connect((host, port))
    return s


def read(f):
    head = f.read(2)
    return f.read(struct.unpack(">H", head)[0]) if len(head) == 2 else None


def ends(s, at_most, at_least=0.0):
    start = time.monotonic()
    try:
        while s.recv(65536):
            pass
    except ConnectionResetError:
        pass
    took = time.monotonic() - start
    print(f"{mode}: ended after {took:.1f} s")
    return at_least <= took <= at_most


def main():
    s = connect()
    f = s.makefile("rb")
    if mode == "pipeline":
        s.sendall(query("slow.test", ident=1) +
                  b"".join(query(f"h{i}.corp.test", ident=i) for i in range(2, 41)))
        ids = [struct.unpack(">H", read(f)[:2])[0] for _ in range(40)]
        print("pipeline: order", ids)
        return sorted(ids) == list(range(1, 41)) and ids[0] != 1
    if mode == "halfclose":
        s.sendall(query("slow.test"))
        s.shutdown(socket.SHUT_WR)
        m = read(f)
        print("halfclose:", m and len(m))
        return bool(m) and read(f) is None
    if mode == "drip":
        for b in query("h1.corp.test"):
            s.sendall(bytes([b]))
            time.sleep(0.01)
        return bool(read(f))
    if mode == "badlen":
        s.sendall(b"\x00\x05hello")
        return ends(s, 1)
    if mode == "longlen":
        s.sendall(b"\xff\xff")
        return ends(s, 1)
    if mode == "halfframe":
        s.sendall(query("www.test")[:20])
        return ends(s, 13, 9)
    if mode == "flood":
        crowd = [connect() for _ in range(200)]
        s = connect()
        s.sendall(query("h2.corp.test"))
        m = read(s.makefile("rb"))
        print("flood:", len(crowd), "silent ones; answered:", bool(m))
        return bool(m)
    if mode == "deaf":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.setblocking(False)
        sent, start = 0, time.monotonic()
        while time.monotonic() - start < 18:
            try:
                sent += s.send(query("big.test", 16, sent & 0x7fff))
            except BlockingIOError:
                time.sleep(0.05)
            except (ConnectionResetError, BrokenPipeError):
                print(f"deaf: ended after {time.monotonic() - start:.1f} s, {sent} bytes sent")
                return True
        return False
    return False


sys.exit(0 if main() else 1)
