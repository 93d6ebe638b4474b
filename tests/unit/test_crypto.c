/* SPDX-License-Identifier: Apache-2.0
 *
 * The crypto seam against published vectors, and against tests/vectors/wg.hex where the RFCs leave
 * a length or a shape out. */
#include <errno.h>
#include "base/bytes.h"
#include "crypto/blake2s_block.h"
#include "crypto/crypto.h"
#include "tests/t.h"
#include "tests/vec.h"

#define VEC "tests/vectors/wg.hex"

static void expect(const uint8_t *got, size_t len, const char *hex)
{
	uint8_t want[512];

	T_EQ(t_unhex(hex, want, sizeof(want)), len);
	T_MEM(got, want, len);
}

static void test_old_hashes(void)
{
	uint8_t out[32], key[80];

	/* RFC 1321 A.5 */
	md5("", 0, out);
	expect(out, 16, "d41d8cd98f00b204e9800998ecf8427e");
	md5("message digest", 14, out);
	expect(out, 16, "f96b697d7cb7938d525a2f31aaf161d0");
	sha1("abc", 3, out);
	expect(out, 20, "a9993e364706816aba3e25717850c26c9cd0d89d");
	/* RFC 2202 §3, cases 1, 2, 6 */
	memset(key, 0x0b, 20);
	hmac_sha1(key, 20, "Hi There", 8, out);
	expect(out, 20, "b617318655057264e28bc0b6fb378c8ef146be00");
	hmac_sha1("Jefe", 4, "what do ya want for nothing?", 28, out);
	expect(out, 20, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
	memset(key, 0xaa, 80);
	hmac_sha1(key, 80, "Test Using Larger Than Block-Size Key - Hash Key First", 54, out);
	expect(out, 20, "aa4ae5e15272d00e95705637ce8a3b55ed402112");
	hmac_sha1_spans(
		"Jefe", 4,
		(struct crypto_span[]){{"what do ya ", 11}, {"", 0}, {"want for nothing?", 17}}, 3,
		out);
	expect(out, 20, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
	hmac_sha1("", 0, "", 0, out);
	expect(out, 20, "fbdb1d1b18aa6c08324b7d64b71fb76370690e1d");
}

static void test_sha256(void)
{
	uint8_t out[32], key[131];

	sha256("abc", 3, out);
	expect(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	/* RFC 4231 §4.3 and §4.7 */
	hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out);
	expect(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof(key));
	hmac_sha256(key, sizeof(key), "Test Using Larger Than Block-Size Key - Hash Key First", 54,
		    out);
	expect(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

/* RFC 7693 Appendix E: deterministic inputs of many lengths, all digests hashed together. */
static void selftest_seq(uint8_t *out, size_t len, uint32_t seed)
{
	uint32_t a = 0xDEAD4BADU * seed, b = 1, t;

	for (size_t i = 0; i < len; i++) {
		t = a + b;
		a = b;
		b = t;
		out[i] = (uint8_t)(t >> 24);
	}
}

static void test_blake2s_rfc7693(void)
{
	static const size_t md_len[] = {16, 20, 28, 32}, in_len[] = {0, 3, 64, 65, 255, 1024};
	static uint8_t in[1024], all[2 * 4 * 6 * 32];
	uint8_t key[32], out[32];
	size_t n = 0;

	blake2s(NULL, 0, &(struct crypto_span){"abc", 3}, 1, out, 32);
	expect(out, 32, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
	for (size_t i = 0; i < 4; i++) {
		for (size_t j = 0; j < 6; j++) {
			selftest_seq(in, in_len[j], (uint32_t)in_len[j]);
			blake2s(NULL, 0, &(struct crypto_span){in, in_len[j]}, 1, all + n,
				md_len[i]);
			n += md_len[i];
			selftest_seq(key, md_len[i], (uint32_t)md_len[i]);
			blake2s(key, md_len[i], &(struct crypto_span){in, in_len[j]}, 1, all + n,
				md_len[i]);
			n += md_len[i];
		}
	}
	blake2s(NULL, 0, &(struct crypto_span){all, n}, 1, out, 32);
	expect(out, 32, "6a411f08ce25adcdfb02aba641451cec53c598b24f4fc787fbdc88797f4c1dfe");
}

/* Both ways to compress a block, bit for bit: every counter's half, both kinds of block. */
static void test_blake2s_blocks_agree(void)
{
	uint8_t block[BLAKE2S_BLOCK];
	uint32_t h[8], a[8], b[8];

	if (!blake2s_has_avx512())
		return;
	for (uint32_t i = 0; i < 4096; i++) {
		const uint64_t count = (uint64_t)i << (i % 53);

		selftest_seq(block, sizeof(block), 2 * i + 1);
		selftest_seq((uint8_t *)h, sizeof(h), 3 * i + 1);
		memcpy(a, h, sizeof(h));
		memcpy(b, h, sizeof(h));
		blake2s_block_plain(a, block, count, i & 1);
		blake2s_block_avx512(b, block, count, i & 1);
		T_MEM(a, b, sizeof(h));
	}
}

static void test_blake2s_spans_equal_one_shot(void)
{
	uint8_t in[300], a[32], b[32];

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 31);
	blake2s("k", 1, &(struct crypto_span){in, sizeof(in)}, 1, a, 32);
	for (size_t cut = 0; cut <= sizeof(in); cut++) {
		blake2s("k", 1,
			(struct crypto_span[]){{in, cut}, {NULL, 0}, {in + cut, sizeof(in) - cut}},
			3, b, 32);
		T_MEM(a, b, 32);
	}
}

static void test_blake2s_keyed_hmac_kdf(void)
{
	static const int lens[] = {0, 1, 32, 63, 64, 65, 128, 129, 200};
	uint8_t msg[200], key[32], out[32], want[32], o[3][32], ck[32];
	char name[32];

	sha256("aead key", 8, key);
	for (size_t i = 0; i < sizeof(msg); i++)
		msg[i] = (uint8_t)(i * 3);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		size_t len = (size_t)lens[i];

		snprintf(name, sizeof(name), "blake2s_keyed16.%zu", len);
		T_EQ(vec_get(VEC, name, want, sizeof(want)), 16);
		blake2s(key, 32, &(struct crypto_span){msg, len}, 1, out, 16);
		T_MEM(out, want, 16);
		snprintf(name, sizeof(name), "hmac_blake2s.%zu", len);
		T_EQ(vec_get(VEC, name, want, sizeof(want)), 32);
		hmac_blake2s(msg, len / 2, msg, len, out);
		T_MEM(out, want, 32);
	}
	memcpy(ck, key, 32);
	kdf_blake2s(ck, "input", 5, ck, o[1], o[2]); /* first output in place */
	memcpy(o[0], ck, 32);
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "kdf.%d", i + 1);
		T_EQ(vec_get(VEC, name, want, sizeof(want)), 32);
		T_MEM(o[i], want, 32);
	}
}

static void test_x25519_rfc7748(void)
{
	uint8_t k[32], u[32], out[32], want[32], pub[32];

	/* §5.2 */
	t_unhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4", k, 32);
	t_unhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c", u, 32);
	T_EQ(x25519(out, k, u), 0);
	expect(out, 32, "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
	/* §5.2, iterated */
	memset(k, 0, 32);
	k[0] = 9;
	memcpy(u, k, 32);
	for (int i = 1; i <= 1000; i++) {
		T_EQ(x25519(out, k, u), 0);
		memcpy(u, k, 32);
		memcpy(k, out, 32);
		if (i == 1)
			expect(k, 32,
			       "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
	}
	expect(k, 32, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
	/* §6.1 */
	t_unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb", k, 32);
	x25519_public(pub, k);
	expect(pub, 32, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
	t_unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a", u, 32);
	T_EQ(x25519(out, k, u), 0);
	t_unhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742", want, 32);
	T_MEM(out, want, 32);
	memcpy(u, k, 32);
	x25519_clamp(u);
	x25519_public(out, u);
	T_MEM(out, pub, 32);
}

static void test_x25519_refuses_low_order(void)
{
	static const char *points[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	};
	uint8_t k[32] = {9}, u[32], out[32];

	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		t_unhex(points[i], u, 32);
		memset(out, 0xff, 32);
		T_EQ(x25519(out, k, u), -EPROTO);
		T(crypto_is_zero(out, 32));
	}
}

static void test_aead_rfc8439(void)
{
	static const char text[] =
		"Internet-Drafts are draft documents valid for a maximum of six months and may be "
		"updated, replaced, or obsoleted by other documents at any time. It is "
		"inappropriate to use Internet-Drafts as reference material or to cite them other "
		"than as /\xe2\x80\x9cwork in progress./\xe2\x80\x9d";
	uint8_t key[32], aad[12], box[300], plain[300], cnt[8];
	const size_t len = sizeof(text) - 1;

	/* A.5: its nonce begins with four zero bytes, like ours */
	t_unhex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0", key, 32);
	t_unhex("0102030405060708", cnt, 8);
	t_unhex("f33388860000000000004e91", aad, 12);
	T_EQ(len, 265);
	aead_seal(box, key, le64_get(cnt), aad, 12, text, len);
	expect(box, 32, "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2");
	expect(box + len, 16, "eead9d67890cbb22392336fea1851f38");
	T_EQ(aead_open(plain, key, le64_get(cnt), aad, 12, box, len + 16), 0);
	T_MEM(plain, text, len);
	/* in place */
	T_EQ(aead_open(box, key, le64_get(cnt), aad, 12, box, len + 16), 0);
	T_MEM(box, text, len);
}

static void test_xaead_draft(void)
{
	static const char text[] =
		"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for "
		"the future, sunscreen would be it.";
	uint8_t key[32], nonce[24], aad[12], box[200], plain[200];
	const size_t len = sizeof(text) - 1;

	/* draft-irtf-cfrg-xchacha-03 A.3.1 */
	for (int i = 0; i < 32; i++)
		key[i] = (uint8_t)(0x80 + i);
	for (int i = 0; i < 24; i++)
		nonce[i] = (uint8_t)(0x40 + i);
	t_unhex("50515253c0c1c2c3c4c5c6c7", aad, 12);
	xaead_seal(box, key, nonce, aad, 12, text, len);
	expect(box, 32, "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb");
	expect(box + len, 16, "c0875924c1c7987947deafd8780acf49");
	T_EQ(xaead_open(plain, key, nonce, aad, 12, box, len + 16), 0);
	T_MEM(plain, text, len);
}

static void test_aead_lengths(void)
{
	static const size_t lens[] = {0, 1, 15, 16, 17, 63, 64, 65, 255, 300};
	uint8_t key[32], nonce[32], msg[300], aad[32], box[316], want[316], plain[316];
	char name[32];

	sha256("aead key", 8, key);
	sha256("aead nonce", 10, nonce);
	for (size_t i = 0; i < sizeof(msg); i++)
		msg[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < sizeof(aad); i++)
		aad[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		const size_t len = lens[i], aad_len = len % 23;
		const uint64_t counter = 0x0102030405060708 + len;

		snprintf(name, sizeof(name), "aead.%zu", len);
		T_EQ(vec_get(VEC, name, want, sizeof(want)), len + 16);
		aead_seal(box, key, counter, aad, aad_len, msg, len);
		T_MEM(box, want, len + 16);
		T_EQ(aead_open(plain, key, counter, aad, aad_len, box, len + 16), 0);
		T_EQ(aead_open(plain, key, counter + 1, aad, aad_len, box, len + 16), -EACCES);
		for (size_t bit = 0; bit < (len + 16) * 8; bit += 37) {
			box[bit / 8] ^= (uint8_t)(1 << bit % 8);
			T_EQ(aead_open(plain, key, counter, aad, aad_len, box, len + 16), -EACCES);
			box[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		T_EQ(aead_open(plain, key, counter, aad, aad_len, box, len + 15), -EACCES);
		snprintf(name, sizeof(name), "xaead.%zu", len);
		T_EQ(vec_get(VEC, name, want, sizeof(want)), len + 16);
		xaead_seal(box, key, nonce, aad, aad_len, msg, len);
		T_MEM(box, want, len + 16);
	}
	T_EQ(aead_open(plain, key, 0, NULL, 0, box, 15), -EACCES);
	T_EQ(aead_open(plain, key, 0, NULL, 0, box, 0), -EACCES);
}

static void test_helpers(void)
{
	uint8_t a[40] = {0}, b[40] = {0};

	T(crypto_equal(a, b, 40) && crypto_is_zero(a, 40));
	b[39] = 1;
	T(!crypto_equal(a, b, 40) && !crypto_is_zero(b, 40));
	T(crypto_equal(a, b, 39));
	crypto_wipe(b, 40);
	T(crypto_is_zero(b, 40));
	T_EQ(crypto_init(), 0);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init() != 0)
		return 1;
	T_RUN(test_old_hashes);
	T_RUN(test_sha256);
	T_RUN(test_blake2s_rfc7693);
	T_RUN(test_blake2s_blocks_agree);
	T_RUN(test_blake2s_spans_equal_one_shot);
	T_RUN(test_blake2s_keyed_hmac_kdf);
	T_RUN(test_x25519_rfc7748);
	T_RUN(test_x25519_refuses_low_order);
	T_RUN(test_aead_rfc8439);
	T_RUN(test_xaead_draft);
	T_RUN(test_aead_lengths);
	T_RUN(test_helpers);
	return t_done();
}
