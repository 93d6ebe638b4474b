# SPDX-License-Identifier: Apache-2.0
"""Control packets that a client should not send, through h_hostile: `hostile_ctl.py GATEWAY RESOURCE FOREIGN KIND [COUNT]`."""
import json
import socket
import struct
import sys
import time

gateway, resource, foreign, kind = sys.argv[1:5]
count = int(sys.argv[5]) if len(sys.argv) > 5 else 1
MINE = ["100.96.0.200", "fd00:2021:1111:8000::200"]


def control(event, payload, length=None, version=6):
    length = 8 + len(payload) if length is None else length
    head = struct.pack(">IHBB", version << 28, length, 255, 0) + bytes(32) + bytes([event]) + bytes(7)
    return head + payload


def assigned(resource=resource, domain="a.example", proxies=MINE):
    return json.dumps({"resource": resource, "domain": domain, "proxy_ips": proxies}).encode()


good = assigned()
KINDS = {
    # malformed
    "short": lambda n: control(0, good)[: 40 + n % 8],
    "length": lambda n: control(0, good, 8 + len(good) + 1),
    "no-event": lambda n: control(0, b"", 7),
    "truncated": lambda n: control(0, good[: 1 + n % (len(good) - 1)]),
    "oversized": lambda n: control(0, good + b" " * (1240 - len(good))),
    "deep": lambda n: control(0, b'{"a":' * 240),
    "deeper": lambda n: control(0, b"[" * 1230),
    "not-json": lambda n: control(0, bytes(range(256)) * 2),
    "twice": lambda n: control(0, b'{"resource":"%s",' % resource.encode() + good[1:]),
    "no-proxies": lambda n: control(0, assigned(proxies=[])),
    "nine-proxies": lambda n: control(0, assigned(proxies=[f"100.96.7.{i}" for i in range(9)])),
    "not-addresses": lambda n: control(0, assigned(proxies=["100.96.0.1/32"])),
    "no-name": lambda n: control(0, assigned(domain="")),
    "long-name": lambda n: control(0, assigned(domain="a" * 300 + ".example")),
    "odd-name": lambda n: control(0, assigned(domain="a\\.example")),
    # refused
    "foreign": lambda n: control(0, assigned(resource=foreign)),
    "nobodys": lambda n: control(0, assigned(resource="00000000-0000-0000-0000-000000000065")),
    "other-name": lambda n: control(0, assigned(domain="a.example.org")),
    "address-name": lambda n: control(0, assigned(domain="127.0.0.1")),
    "lan-proxy": lambda n: control(0, assigned(proxies=["10.20.0.10"])),
    "peer-proxy": lambda n: control(0, assigned(proxies=[MINE[0], "100.64.0.1"])),
    "sentinel-proxy": lambda n: control(0, assigned(proxies=["100.100.111.1"])),
    "own-proxy": lambda n: control(0, assigned(proxies=[gateway])),
    # unknown
    "event": lambda n: control(3 + n % 253, good),
    "status": lambda n: control(1, b'{"resource":"%s","domain":"a.example","status":"Active"}' % resource.encode()),
    # what is right, too often
    "good": lambda n: control(0, good),
    "names": lambda n: control(0, assigned(domain=f"n{n}.example", proxies=[f"100.97.{n >> 8 & 255}.{n & 255}"])),
    "slow-names": lambda n: control(0, assigned(domain=f"s{n}.slow.example", proxies=[f"100.98.{n >> 8 & 255}.{n & 255}"])),
}
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 10, 3)  # IP_MTU_DISCOVER, PROBE: not cut to the route's MTU
s.connect((gateway, 9999))
for n in range(count):
    s.send(KINDS[kind](n))
    if n % 20 == 19:
        time.sleep(0.002)
