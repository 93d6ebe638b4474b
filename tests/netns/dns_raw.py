#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# One query that dig does not send: dns_raw.py ADDRESS PORT udp|tcp NAME TYPE [CLASS [BYTES]], numbers; prints the code of
# the answer, or "silent". With BYTES the message ends after that many.
import socket
import struct
import sys

host, port, how, name, qtype = sys.argv[1:6]
klass = int(sys.argv[6]) if len(sys.argv) > 6 else 1
m = struct.pack(">HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0)
m += b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + struct.pack(">BHH", 0, int(qtype), klass)
m = m[:int(sys.argv[7])] if len(sys.argv) > 7 else m
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET,
                  socket.SOCK_STREAM if how == "tcp" else socket.SOCK_DGRAM)
s.settimeout(3)
try:
    s.connect((host, int(port)))
    s.sendall((struct.pack(">H", len(m)) if how == "tcp" else b"") + m)
    got = s.recv(65535)[2 if how == "tcp" else 0:]
    print({0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}[got[3] & 15]
          if got[:2] == m[:2] else "silent")
except (OSError, IndexError):
    print("silent")
