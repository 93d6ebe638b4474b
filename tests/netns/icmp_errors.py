# SPDX-License-Identifier: Apache-2.0
"""The ICMP errors in a capture of a tunnel device, one line each: `icmp_errors.py PCAP`.

    FROM TO TYPE CODE MTU PROTO QUOTED-TO exact|differs

exact: the capture holds a packet of which the quotation is the beginning, but for what routers change on the way (hop
limit and IPv4 header checksum), and outer and ICMP checksums are right. A packet of this host leaves its TCP or UDP
checksum to the device, and is captured before that: it counts as completed."""
import ipaddress
import struct
import sys

ERRORS = {4: (3, 4, 5, 11, 12), 6: (1, 2, 3, 4)}


def packets(path):
    with open(path, "rb") as f:
        order = {0xA1B2C3D4: ">", 0xD4C3B2A1: "<"}[struct.unpack(">I", f.read(4))[0]]
        link = struct.unpack(order + "I", f.read(20)[16:])[0]
        skip = {1: 14, 12: 0, 101: 0, 113: 16}[link]
        while len(head := f.read(16)) == 16:
            whole = struct.unpack(order + "I", head[8:12])[0]
            if len(packet := f.read(whole)) < whole:
                return
            yield packet[skip:]


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


class Packet:
    def __init__(self, b):
        self.version = b[0] >> 4
        if self.version == 4:
            self.head = (b[0] & 15) * 4
            self.proto, self.src, self.dst = b[9], b[12:16], b[16:20]
            self.b = b[: max(self.head, struct.unpack(">H", b[2:4])[0])]
            self.fixed = b[:8] + b[9:10] + b[12 : self.head]
        else:
            self.head = 40
            self.proto, self.src, self.dst = b[6], b[8:24], b[24:40]
            self.b = b[: 40 + struct.unpack(">H", b[4:6])[0]]
            self.fixed = b[:7] + b[8:40]
        self.payload = self.b[self.head :]
        self.complete()

    def pseudo(self):
        return self.src + self.dst + struct.pack(">II", len(self.payload), self.proto)

    def complete(self):
        """Where the field holds the pseudo-header's sum alone (CHECKSUM_PARTIAL), what the device puts there."""
        at = {6: 16, 17: 6}.get(self.proto)
        if at is None or len(self.payload) < at + 2:
            return
        if struct.unpack(">H", self.payload[at : at + 2])[0] == checksum(self.pseudo()) ^ 0xFFFF:
            zeroed = self.payload[:at] + b"\0\0" + self.payload[at + 2 :]
            total = checksum(self.pseudo() + zeroed) or (0xFFFF if self.proto == 17 else 0)
            self.payload = zeroed[:at] + struct.pack(">H", total) + zeroed[at + 2 :]

    def is_error(self):
        return self.proto == {4: 1, 6: 58}[self.version] and self.payload[0] in ERRORS[self.version]

    def sums_right(self):
        if self.version == 4:
            return not checksum(self.b[: self.head]) and not checksum(self.payload)
        return not checksum(self.pseudo() + self.payload)

    def begins_with(self, quote):
        return self.fixed == quote.fixed and self.payload.startswith(quote.payload)


seen = []
for raw in packets(sys.argv[1]):
    p = Packet(raw)
    if not p.is_error():
        seen.append(p)
        continue
    q = Packet(p.payload[8:])
    exact = p.sums_right() and len(q.payload) >= 8 and any(s.begins_with(q) for s in seen)
    print(*(ipaddress.ip_address(a) for a in (p.src, p.dst)), p.payload[0], p.payload[1],
          struct.unpack(">I", p.payload[4:8])[0], q.proto, ipaddress.ip_address(q.dst), "exact" if exact else "differs")
