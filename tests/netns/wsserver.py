#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A WebSocket server for tests, standard library only. The URL's first path component picks what it does.

wsserver.py BIND PORT [CERT KEY]      prints "ready" once it listens; one request header dump per line to stderr.
"""
import base64
import hashlib
import socket
import ssl
import struct
import sys
import threading
import time
from email.utils import formatdate


def frame(opcode, data, fin=True):
    head = bytes([(0x80 if fin else 0) | opcode])
    n = len(data)
    if n < 126:
        head += bytes([n])
    elif n < 65536:
        head += struct.pack(">BH", 126, n)
    else:
        head += struct.pack(">BQ", 127, n)
    return head + data


def read_exactly(conn, n):
    data = b""
    while len(data) < n:
        part = conn.recv(n - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def read_frame(conn):
    head = read_exactly(conn, 2)
    n = head[1] & 127
    if n == 126:
        n = struct.unpack(">H", read_exactly(conn, 2))[0]
    elif n == 127:
        n = struct.unpack(">Q", read_exactly(conn, 8))[0]
    mask = read_exactly(conn, 4)
    data = bytes(b ^ mask[i % 4] for i, b in enumerate(read_exactly(conn, n)))
    return head[0] & 15, data


REFUSALS = {
    "401": ("401 Unauthorized", ""),
    "429": ("429 Too Many Requests", "Retry-After: 7\r\n"),
    "503": ("503 Service Unavailable", "Retry-After: " + formatdate(time.time() + 120, usegmt=True) + "\r\n"),
    "503plain": ("503 Service Unavailable", ""),
    "302": ("302 Found", "Location: /ok/client/websocket\r\n"),
}


def serve(conn):
    request = b""
    while b"\r\n\r\n" not in request:
        part = conn.recv(4096)
        if not part:
            return
        request += part
    lines = request.decode().split("\r\n")
    print(" | ".join(lines), file=sys.stderr, flush=True)
    what = lines[0].split(" ")[1].split("/")[1]
    if what in REFUSALS:
        status, extra = REFUSALS[what]
        conn.sendall(f"HTTP/1.1 {status}\r\n{extra}Content-Length: 2\r\n\r\nno".encode())
        return
    if what == "hang":
        time.sleep(30)
        return
    key = next(l.split(": ", 1)[1] for l in lines if l.lower().startswith("sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
    conn.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
    if what == "frag":
        for part in (b"abc" * 30000, b"def", b"ghi" * 7):
            conn.sendall(frame(1 if part[:1] == b"a" else 0, part, fin=part[:1] == b"g"))
            conn.sendall(frame(9, b"ping between"))
    elif what == "big":
        conn.sendall(frame(1, b"x" * (1 << 20) + b"y"))
    elif what == "max":
        conn.sendall(frame(1, b"x" * (1 << 20)))
    elif what == "bin":
        conn.sendall(frame(2, b"\x00\x01") + frame(1, b"after"))
    elif what == "close":
        conn.sendall(frame(8, struct.pack(">H", 1001)))
    elif what == "cut":
        conn.shutdown(socket.SHUT_RDWR)
        return
    while True:
        opcode, data = read_frame(conn)
        if opcode == 8:
            print("close frame " + str(struct.unpack(">H", data[:2])[0] if len(data) >= 2 else 0),
                  file=sys.stderr, flush=True)
            conn.sendall(frame(8, data))
            return
        if opcode == 1:
            conn.sendall(frame(1, data))


def handle(raw, context):
    try:
        conn = context.wrap_socket(raw, server_side=True) if context else raw
        serve(conn)
        conn.close()
    except (OSError, EOFError, StopIteration) as e:
        print("gone", e, file=sys.stderr, flush=True)


def main():
    bind, port = sys.argv[1], int(sys.argv[2])
    context = None
    if len(sys.argv) > 4:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[3], sys.argv[4])
    s = socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((bind, port))
    s.listen(16)
    print("ready", flush=True)
    while True:
        raw, _ = s.accept()
        threading.Thread(target=handle, args=(raw, context), daemon=True).start()


main()
