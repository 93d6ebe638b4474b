# SPDX-License-Identifier: Apache-2.0
"""A bare WebSocket and channel client on the standard library, for tests that play client, gateway or
relay against the portal: it sends exactly what it is told, well-formed or not."""
import base64
import hashlib
import json
import os
import socket
import ssl
import struct
import urllib.parse

CLIENT_KEY = base64.b64encode(bytes(range(0, 32))).decode()
GATEWAY_KEY = base64.b64encode(bytes(range(32, 64))).decode()


class Refused(Exception):
    def __init__(self, status, body, headers):
        super().__init__(f"{status} {body!r}")
        self.status, self.body, self.headers = status, body, headers


class Closed(Exception):
    def __init__(self, code):
        super().__init__(f"closed {code}")
        self.code = code


def connect(host, port, cafile=None, timeout=5):
    sock = socket.create_connection((host, port), timeout=timeout)
    if cafile:
        ctx = ssl.create_default_context(cafile=cafile)
        sock = ctx.wrap_socket(sock, server_hostname=host)
    return sock


def read_response(sock):
    """Status, headers, body of one HTTP answer, and what follows it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(4096)
        if not more:
            raise ConnectionError(f"hung up after {data!r}")
        data += more
    head, rest = data.split(b"\r\n\r\n", 1)
    lines = head.decode().split("\r\n")
    headers = {k.lower(): v.strip() for k, v in (x.split(":", 1) for x in lines[1:])}
    length = int(headers.get("content-length", 0))
    while len(rest) < length:
        more = sock.recv(4096)
        if not more:
            break
        rest += more
    return int(lines[0].split()[1]), headers, rest[:length].decode(), rest[length:]


def http(host, port, request, cafile=None):
    sock = connect(host, port, cafile)
    sock.sendall(request.encode())
    status, _, body, _ = read_response(sock)
    sock.close()
    return status, body


class Socket:
    """One connection of a component."""

    def __init__(self, port, role, params=None, host="127.0.0.1", cafile=None, header_token=None,
                 agent="Debian/12 connlib/1.4.0 (x86_64)", path=None, extra=""):
        self.role, self.ref, self.buf = role, 0, b""
        self.sock = connect(host, port, cafile)
        query = urllib.parse.urlencode(params or {})
        key = base64.b64encode(os.urandom(16)).decode()
        req = (f"GET {path or f'/{role}/websocket'}?{query} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n"
               f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n")
        if agent:
            req += f"User-Agent: {agent}\r\n"
        if header_token:
            req += f"X-Authorization: Bearer {header_token}\r\n"
        self.sock.sendall((req + extra + "\r\n").encode())
        status, headers, body, self.buf = read_response(self.sock)
        if status != 101:
            self.sock.close()
            raise Refused(status, body, headers)
        want = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        assert headers["sec-websocket-accept"] == want.decode()
        assert "sec-websocket-extensions" not in headers, "compression was negotiated"

    def raw(self, opcode, payload, fin=True):
        mask = os.urandom(4)
        n = len(payload)
        head = bytes([(0x80 if fin else 0) | opcode])
        if n < 126:
            head += bytes([0x80 | n])
        elif n < 65536:
            head += b"\xfe" + struct.pack(">H", n)
        else:
            head += b"\xff" + struct.pack(">Q", n)
        self.sock.sendall(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def text(self, text):
        self.raw(1, text.encode())

    def send(self, event, payload, topic=None):
        """A frame of the channel protocol; its ref."""
        ref = self.ref
        self.ref += 1
        self.text(json.dumps({"topic": topic or self.role, "event": event, "payload": payload, "ref": ref}))
        return ref

    def _take(self, n):
        while len(self.buf) < n:
            more = self.sock.recv(65536)
            if not more:
                raise Closed(None)
            self.buf += more
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def frame(self, timeout=5):
        """The next text frame as JSON. Anything but text and close is an error: the portal never pings."""
        self.sock.settimeout(timeout)
        a, b = self._take(2)
        n = b & 0x7F
        assert not b & 0x80, "server frames are not masked"
        if n == 126:
            n = struct.unpack(">H", self._take(2))[0]
        elif n == 127:
            n = struct.unpack(">Q", self._take(8))[0]
        data = self._take(n)
        if a & 0x0F == 8:
            raise Closed(struct.unpack(">H", data[:2])[0] if n >= 2 else None)
        assert a == 0x81, f"unexpected opcode {a:#x}"
        return json.loads(data)

    def closed(self, timeout=5):
        """Reads on until the connection ends; the close code."""
        try:
            while True:
                self.frame(timeout)
        except Closed as c:
            return c.code
        except (ConnectionError, ssl.SSLError):
            return None

    def silent(self, timeout=0.3):
        try:
            return self.frame(timeout) is None
        except (TimeoutError, socket.timeout):
            return True

    def join(self, payload=None):
        """Joins the room; the payload of init."""
        ref = self.send("phx_join", payload)
        reply = self.frame()
        want = {"topic": self.role, "event": "phx_reply", "ref": ref, "payload": {"status": "ok", "response": {}}}
        assert reply == want, reply
        init = self.frame()
        assert init["event"] == "init" and init["ref"] is None and init["topic"] == self.role, init
        return init["payload"]

    def close(self):
        self.sock.close()
