#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Computes tests/vectors/wg.hex with nothing but the Python standard library: X25519 and
# ChaCha20-Poly1305 below are written from RFC 7748 and RFC 8439, BLAKE2s and HMAC are hashlib's, and the
# handshake follows the WireGuard whitepaper §5.4. It shares no code with what it tests.
#
#   python3 tests/vectors/wg_gen.py > tests/vectors/wg.hex
import hashlib
import hmac
import struct

P = 2**255 - 19


def clamp(k):
    b = bytearray(k)
    b[0] &= 248
    b[31] = (b[31] & 127) | 64
    return bytes(b)


def x25519(k, u):
    k = int.from_bytes(clamp(k), 'little')
    x1 = int.from_bytes(u, 'little') & ((1 << 255) - 1)
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, 'little')


BASE = bytes([9]) + bytes(31)


def rotl(v, n):
    return (v << n | v >> (32 - n)) & 0xffffffff


def rounds(s):
    s = list(s)
    for _ in range(10):
        for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                           (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            s[a] = (s[a] + s[b]) & 0xffffffff
            s[d] = rotl(s[d] ^ s[a], 16)
            s[c] = (s[c] + s[d]) & 0xffffffff
            s[b] = rotl(s[b] ^ s[c], 12)
            s[a] = (s[a] + s[b]) & 0xffffffff
            s[d] = rotl(s[d] ^ s[a], 8)
            s[c] = (s[c] + s[d]) & 0xffffffff
            s[b] = rotl(s[b] ^ s[c], 7)
    return s


CONST = struct.unpack('<4I', b'expand 32-byte k')


def chacha_block(key, counter, nonce):
    s = CONST + struct.unpack('<8I', key) + (counter,) + struct.unpack('<3I', nonce)
    return struct.pack('<16I', *((a + b) & 0xffffffff for a, b in zip(rounds(s), s)))


def chacha(key, counter, nonce, data):
    out = b''
    for i in range(0, len(data), 64):
        ks = chacha_block(key, counter + i // 64, nonce)
        out += bytes(a ^ b for a, b in zip(data[i:i + 64], ks))
    return out


def hchacha(key, nonce16):
    s = rounds(CONST + struct.unpack('<8I', key) + struct.unpack('<4I', nonce16))
    return struct.pack('<8I', *(s[0:4] + s[12:16]))


def poly1305(key, msg):
    r = int.from_bytes(key[:16], 'little') & 0x0ffffffc0ffffffc0ffffffc0fffffff
    acc = 0
    for i in range(0, len(msg), 16):
        acc = (acc + int.from_bytes(msg[i:i + 16] + b'\x01', 'little')) * r % (2**130 - 5)
    return ((acc + int.from_bytes(key[16:], 'little')) & (2**128 - 1)).to_bytes(16, 'little')


def pad16(b):
    return b + bytes(-len(b) % 16)


def seal(key, nonce, aad, plain):
    ct = chacha(key, 1, nonce, plain)
    mac = poly1305(chacha_block(key, 0, nonce)[:32],
                   pad16(aad) + pad16(ct) + struct.pack('<QQ', len(aad), len(ct)))
    return ct + mac


def aead(key, counter, aad, plain):
    return seal(key, bytes(4) + struct.pack('<Q', counter), aad, plain)


def xaead(key, nonce, aad, plain):
    return seal(hchacha(key, nonce[:16]), bytes(4) + nonce[16:], aad, plain)


def H(*parts):
    return hashlib.blake2s(b''.join(parts)).digest()


def mac(key, data):
    return hashlib.blake2s(data, key=key, digest_size=16).digest()


def hm(key, data):
    return hmac.new(key, data, hashlib.blake2s).digest()


def kdf(n, ck, data):
    prk, t, out = hm(ck, data), b'', []
    for i in range(n):
        t = hm(prk, t + bytes([i + 1]))
        out.append(t)
    return out


class Rng:
    """crypto/rng: one ChaCha20 run gives the next key and 224 bytes to hand out."""

    def __init__(self, seed):
        self.key, self.buf = seed, b''

    def bytes(self, n):
        while len(self.buf) < n:
            s = chacha(self.key, 0, bytes(12), bytes(256))
            self.key, self.buf = s[:32], self.buf + s[32:]
        out, self.buf = self.buf[:n], self.buf[n:]
        return out


def put(name, value):
    print(name, value.hex())


def derive(name):
    return hashlib.sha256(name.encode()).digest()


def handshake(prefix, psk):
    si, sr = clamp(derive(prefix + 'static i')), clamp(derive(prefix + 'static r'))
    pi, pr = x25519(si, BASE), x25519(sr, BASE)
    seed_i, seed_r = derive(prefix + 'seed i'), derive(prefix + 'seed r')
    ei, er = clamp(Rng(seed_i).bytes(32)), clamp(Rng(seed_r).bytes(32))
    stamp = struct.pack('>QI', 0x400000000000000a + 1700000000, 16777216 * 7)
    sender_i, sender_r = 0x01020304, 0xa1b2c3d4

    ck0 = H(b'Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s')
    h = H(H(ck0, b'WireGuard v1 zx2c4 Jason@zx2c4.com'), pr)
    epub = x25519(ei, BASE)
    h = H(h, epub)
    ck, = kdf(1, ck0, epub)
    ck, k = kdf(2, ck, x25519(ei, pr))
    box_s = aead(k, 0, h, pi)
    h = H(h, box_s)
    ck, k = kdf(2, ck, x25519(si, pr))
    box_t = aead(k, 0, h, stamp)
    h = H(h, box_t)
    m = struct.pack('<II', 1, sender_i) + epub + box_s + box_t
    mac1 = mac(H(b'mac1----', pr), m)
    initiation = m + mac1 + bytes(16)

    erpub = x25519(er, BASE)
    h = H(h, erpub)
    ck, = kdf(1, ck, erpub)
    ck, = kdf(1, ck, x25519(er, epub))
    ck, = kdf(1, ck, x25519(er, pi))
    ck, tau, k = kdf(3, ck, psk)
    h = H(h, tau)
    box_e = aead(k, 0, h, b'')
    m = struct.pack('<III', 2, sender_r, sender_i) + erpub + box_e
    response = m + mac(H(b'mac1----', pi), m) + bytes(16)
    send_i, recv_i = kdf(2, ck, b'')

    cookie = mac(derive(prefix + 'secret'), bytes([192, 0, 2, 7]))
    nonce = derive(prefix + 'nonce')[:24]
    reply = struct.pack('<II', 3, sender_i) + nonce + xaead(H(b'cookie--', pr), nonce, mac1, cookie)
    for n, v in (('static_i', si), ('static_r', sr), ('public_i', pi), ('public_r', pr), ('psk', psk),
                 ('seed_i', seed_i), ('seed_r', seed_r), ('stamp', stamp), ('initiation', initiation),
                 ('response', response), ('key_i_to_r', send_i), ('key_r_to_i', recv_i),
                 ('cookie', cookie), ('cookie_reply', reply),
                 ('mac2', mac(cookie, initiation[:132]))):
        put(prefix + n, v)


def main():
    print('# Made by tests/vectors/wg_gen.py; see wg.md.')
    handshake('psk.', derive('psk'))
    handshake('nopsk.', bytes(32))
    r = Rng(derive('rng'))
    put('rng.seed', derive('rng'))
    put('rng.out', r.bytes(500))
    k, n = derive('aead key'), derive('aead nonce')[:24]
    for length in (0, 1, 15, 16, 17, 63, 64, 65, 255, 300):
        msg, aad = bytes(i * 7 & 255 for i in range(length)), bytes(range(length % 23))
        put('aead.%d' % length, aead(k, 0x0102030405060708 + length, aad, msg))
        put('xaead.%d' % length, xaead(k, n, aad, msg))
    for length in (0, 1, 32, 63, 64, 65, 128, 129, 200):
        msg = bytes(i * 3 & 255 for i in range(length))
        put('hmac_blake2s.%d' % length, hm(msg[:length // 2], msg))
        put('blake2s_keyed16.%d' % length, mac(k, msg))
    for i, v in enumerate(kdf(3, k, b'input')):
        put('kdf.%d' % (i + 1), v)


main()
