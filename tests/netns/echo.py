# SPDX-License-Identifier: Apache-2.0
"""Byte-exact TCP echo: `echo.py serve PORT` on one end, `echo.py check ADDR PORT` on the other. Each round is sent in
two writes, so that receivers also see segments they append to one another. Exit 1 on the first wrong byte."""
import os
import socket
import sys

SIZES = ((2, 1), (8, 4), (266, 4), (1000, 500), (1228, 1), (9000, 37), (60000, 20000))


def serve(port):
    s = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        c, _ = s.accept()
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := c.recv(65536):
            c.sendall(data)
        c.close()


def check(addr, port):
    c = socket.create_connection((addr, port), 5)
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for size, first in SIZES * 40:
        sent = os.urandom(size)
        c.sendall(sent[:first])
        c.sendall(sent[first:])
        back = b""
        while len(back) < size:
            part = c.recv(65536)
            if not part:
                sys.exit(f"closed after {len(back)} of {size} bytes")
            back += part
        if back != sent:
            at = next(i for i in range(size) if back[i] != sent[i])
            sys.exit(f"byte {at} of {size} is wrong")


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    check(sys.argv[2], int(sys.argv[3]))
