# SPDX-License-Identifier: Apache-2.0
"""Traffic that says where it arrived: the server names the address it was reached at and the one it sees.

  serve PORT                    TCP and UDP on all addresses. TCP: a line "LOCAL PEER:PORT", then an echo of everything.
                                UDP: the same line, then what was received. "ready" once it listens.
  ask ADDR PORT [SPORT]         prints that line of a TCP connection; exit 1: there was none
  ask-udp ADDR PORT [SPORT]     the same of a datagram, sent up to three times
  stream ADDR PORT SECONDS [SPORT]   the line, then random bytes for so long (SIGTERM ends it), each of which must come
                                back as it was; prints "ok BYTES". Exit 1: a wrong byte, an end, or silence of 20 s
  pulse ADDR PORT               a datagram every 20 ms; a line "SERVER SEEN-FROM" whenever the answers change, and at SIGTERM
                                "sent N answered N longest silence N ms"
  names SENTINEL PORT FILE [AT-ONCE]   each line of FILE is "ADDR NAME": every NAME is resolved at SENTINEL and reached
                                by UDP, and must be answered by ADDR; one JSON line. Exit 1: some were not
"""
import asyncio
import json
import os
import select
import selectors
import signal
import socket
import struct
import sys
import threading
import time

PKTINFO, SO_RCVBUFFORCE = 8, 33


# ---- server ----
def serve_tcp(c, peer):
    try:
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        c.sendall(f"{plain(c.getsockname()[0])} {plain(peer[0])}:{peer[1]}\n".encode())
        while data := c.recv(65536):
            c.sendall(data)
    except OSError:
        pass
    c.close()


def plain(addr):
    return addr.removeprefix("::ffff:")


def serve_udp(port):
    """IPv4 only: it answers from the address it was reached at."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, PKTINFO, 1)
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
    s.bind(("0.0.0.0", port))
    while True:
        data, anc, _, peer = s.recvmsg(2048, 256)
        for level, kind, info in anc:
            if (level, kind) == (socket.IPPROTO_IP, PKTINFO):
                dst = socket.inet_ntoa(info[8:12])
                line = f"{dst} {peer[0]}:{peer[1]}\n".encode()
                s.sendmsg([line, data], [(socket.IPPROTO_IP, PKTINFO, struct.pack("@i4s4s", 0, info[8:12], bytes(4)))], 0, peer)


def serve(port):
    s = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
    threading.Thread(target=serve_udp, args=(port,), daemon=True).start()
    print("ready", flush=True)
    while True:
        c, peer = s.accept()
        threading.Thread(target=serve_tcp, args=(c, peer), daemon=True).start()


# ---- clients ----
def connect(addr, port, sport):
    family = socket.AF_INET6 if ":" in addr else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM)
    if sport:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("", sport))
    s.settimeout(30)
    s.connect((addr, port))
    return s


def greeting(s):
    line = b""
    while not line.endswith(b"\n"):
        c = s.recv(1)
        if not c:
            sys.exit("closed at once")
        line += c
    return line.decode().strip()


def ask_udp(addr, port, sport):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("", sport))
    s.connect((addr, port))
    s.settimeout(2)
    for _ in range(3):
        try:
            s.send(b"?")
            return s.recv(2048).decode().split("\n")[0]
        except TimeoutError:
            pass
    sys.exit("no answer")


def stream(addr, port, seconds, sport):
    s = connect(addr, port, sport)
    print(greeting(s), flush=True)
    s.setblocking(False)
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    end, heard = time.monotonic() + seconds, time.monotonic()
    sent = b""  # and not yet back
    out = b""  # of it, not yet written
    back = 0
    sel = selectors.DefaultSelector()
    sel.register(s, selectors.EVENT_READ | selectors.EVENT_WRITE)
    while True:
        done = stop or time.monotonic() > end
        if done and not sent:
            print("ok", back, flush=True)
            return
        if not out and not done and len(sent) < 1 << 18:
            out = os.urandom(1 << 14)
            sent += out
        sel.modify(s, selectors.EVENT_READ | (selectors.EVENT_WRITE if out else 0))
        if time.monotonic() - heard > 20:
            sys.exit(f"silence after {back} bytes")
        for _, events in sel.select(0.5):
            if events & selectors.EVENT_WRITE and out:
                out = out[s.send(out):]
            if events & selectors.EVENT_READ:
                got = s.recv(1 << 16)
                if not got:
                    sys.exit(f"closed after {back} bytes")
                if not sent.startswith(got):
                    sys.exit(f"wrong byte after {back}")
                sent = sent[len(got):]
                back += len(got)
                heard = time.monotonic()


def pulse(addr, port):
    family = socket.AF_INET6 if ":" in addr else socket.AF_INET
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.setblocking(False)
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    sent = answered = 0
    silence, via, heard = 0.0, None, time.monotonic()
    while not stop:
        try:
            s.sendto(b"%d" % sent, (addr, port))
            sent += 1
        except OSError:
            pass  # said by ICMP, or no room: the next one may pass
        until = time.monotonic() + 0.02
        while (left := until - time.monotonic()) > 0:
            if not select.select([s], [], [], left)[0]:
                continue
            try:
                line = s.recv(2048).decode().split("\n")[0].rsplit(":", 1)[0]
            except OSError:
                continue
            now = time.monotonic()
            answered += 1
            silence, heard = max(silence, now - heard), now
            if line != via:
                via = line
                print(via, flush=True)
    print(f"sent {sent} answered {answered} longest silence {round(1000 * max(silence, time.monotonic() - heard))} ms")


# ---- many names ----
class Exchange(asyncio.DatagramProtocol):
    """One request, one answer: waiting for it is up to who asks."""

    def __init__(self):
        self.answer = asyncio.get_running_loop().create_future()

    def datagram_received(self, data, addr):
        if not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc):
        if not self.answer.done():
            self.answer.set_exception(exc)


async def exchange(addr, port, request, tries, wait):
    """The first answer; repeated as an application would."""
    why = TimeoutError("no answer")
    for _ in range(tries):
        t, p = await asyncio.get_running_loop().create_datagram_endpoint(Exchange, remote_addr=(addr, port))
        try:
            t.sendto(request)
            return await asyncio.wait_for(p.answer, wait)
        except (OSError, asyncio.TimeoutError) as e:
            why = e
            if isinstance(e, OSError):
                await asyncio.sleep(0.5)
        finally:
            t.close()
    raise why


def query(name):
    labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split("."))
    return os.urandom(2) + struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)


def first_a(msg, asked):
    """The first address of an answer whose names are all pointers to the question, as the stub's are."""
    count = struct.unpack(">H", msg[6:8])[0]
    if msg[:2] != asked[:2] or not count:
        raise ValueError(f"rcode {msg[3] & 15}, {count} records")
    at = len(asked)
    kind, length = struct.unpack(">H", msg[at + 2:at + 4])[0], struct.unpack(">H", msg[at + 10:at + 12])[0]
    if msg[at] & 0xC0 != 0xC0 or kind != 1 or length != 4:
        raise ValueError("no address first")
    return socket.inet_ntoa(msg[at + 12:at + 16])


async def one(sentinel, port, addr, name, gate, times):
    async with gate:
        began = time.monotonic()
        asked = query(name)
        proxy = first_a(await exchange(sentinel, 53, asked, 3, 3), asked)
        told = time.monotonic()
        line, what = (await exchange(proxy, port, name.encode(), 5, 3)).decode().split("\n")
        if what != name or line.split()[0] != addr:
            raise ValueError(f"{name} ({proxy}) is {addr}, answered by {line} for {what}")
        times.append((told - began, time.monotonic() - told))
        return proxy


async def names(sentinel, port, path, at_once):
    want = [line.split() for line in open(path)]
    gate, times = asyncio.Semaphore(at_once), []
    began = time.monotonic()
    got = await asyncio.gather(*(one(sentinel, port, a, n, gate, times) for a, n in want), return_exceptions=True)
    took = time.monotonic() - began
    bad = [repr(e) for e in got if isinstance(e, BaseException)]
    worst = [round(1000 * max(column), 1) if times else None for column in zip(*times)] or [None, None]
    print(json.dumps({"names": len(want), "reached": len(want) - len(bad), "different": len({g for g in got if isinstance(g, str)}),
                      "seconds": round(took, 3), "per_s": round((len(want) - len(bad)) / took, 1), "worst_query_ms": worst[0],
                      "worst_answer_ms": worst[1], "errors": bad[:5]}), flush=True)
    return not bad


def main():
    what, args = sys.argv[1], sys.argv[2:]
    if what == "serve":
        serve(int(args[0]))
    elif what == "ask":
        print(greeting(connect(args[0], int(args[1]), int(args[2]) if args[2:] else 0)))
    elif what == "ask-udp":
        print(ask_udp(args[0], int(args[1]), int(args[2]) if args[2:] else 0))
    elif what == "stream":
        stream(args[0], int(args[1]), float(args[2]), int(args[3]) if args[3:] else 0)
    elif what == "pulse":
        pulse(args[0], int(args[1]))
    elif what == "names":
        sys.exit(not asyncio.run(names(args[0], int(args[1]), args[2], int(args[3]) if args[3:] else 32)))
    else:
        sys.exit(__doc__)


main()
