/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/stun.h"
#include "wire/turn.h"

#include <stdio.h>

#include "crypto/crypto.h"
#include "tests/t.h"

static const char vector_dir[] = "tests/vectors/";

/* A file of hex digits; '#' starts a comment. */
static size_t vector_load(const char *name, uint8_t *out, size_t cap)
{
	char path[256], line[512], text[8192] = "";
	size_t used = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s%s", vector_dir, name);
	f = fopen(path, "r");
	if (!T(f))
		return 0;
	while (fgets(line, sizeof(line), f)) {
		size_t n = strcspn(line, "#\n");

		if (used + n + 1 < sizeof(text)) {
			memcpy(text + used, line, n);
			used += n;
			text[used] = 0;
		}
	}
	fclose(f);
	return t_unhex(text, out, cap);
}

static const char ice_pwd[] = "VOkJxbRl1RmTxUk/WvJxBt";

static void test_rfc5769_request(void)
{
	uint8_t buf[512];
	size_t len = vector_load("rfc5769_request.hex", buf, sizeof(buf)), n;
	struct stun_msg m;
	const uint8_t *p;
	uint32_t prio = 0;
	uint64_t tie = 0;

	T_EQ(stun_decode(&m, buf, len), STUN_OK);
	T_EQ(m.method, STUN_BINDING);
	T_EQ(m.cls, STUN_REQUEST);
	T(stun_integrity_ok(&m, ice_pwd, strlen(ice_pwd)));
	T(!stun_integrity_ok(&m, "wrong", 5));
	T(stun_fingerprint_ok(&m));
	p = stun_bytes(&m, STUN_A_USERNAME, &n);
	T(p && n == 9 && !memcmp(p, "evtj:h6vY", 9));
	p = stun_bytes(&m, STUN_A_SOFTWARE, &n);
	T(p && n == 16 && !memcmp(p, "STUN test client", 16));
	T(stun_u32(&m, STUN_A_PRIORITY, &prio));
	T_EQ(prio, 0x6e0001ff);
	T(stun_u64(&m, STUN_A_ICE_CONTROLLED, &tie));
	T_EQ(tie, 0x932ff9b151263b36ULL);
	T(!stun_has(&m, STUN_A_USE_CANDIDATE));
	T_EQ(m.n_unknown, 0);
}

static void check_response(const char *file, const char *mapped)
{
	char text[ENDPOINT_STRLEN];
	uint8_t buf[512];
	size_t len = vector_load(file, buf, sizeof(buf));
	struct endpoint e = {0};
	struct stun_msg m;

	T_EQ(stun_decode(&m, buf, len), STUN_OK);
	T_EQ(m.cls, STUN_SUCCESS);
	T(stun_integrity_ok(&m, ice_pwd, strlen(ice_pwd)));
	T(stun_fingerprint_ok(&m));
	T(stun_xor_addr(&m, STUN_A_XOR_MAPPED_ADDRESS, &e));
	T_STR(endpoint_fmt(&e, text), mapped);
}

static void test_rfc5769_responses(void)
{
	check_response("rfc5769_response_v4.hex", "192.0.2.1:32853");
	check_response("rfc5769_response_v6.hex", "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
}

/* The sample with long-term credentials: key = MD5(username:realm:password), RFC 5769 §2.4. */
static void test_rfc5769_long_term(void)
{
	static const char secret[] = "\u30de\u30c8\u30ea\u30c3\u30af\u30b9:example.org:TheMatrIX";
	uint8_t buf[512], key[MD5_LEN];
	size_t len = vector_load("rfc5769_long_term.hex", buf, sizeof(buf)), n;
	struct stun_msg m;

	md5(secret, strlen(secret), key);
	T_EQ(stun_decode(&m, buf, len), STUN_OK);
	T(stun_integrity_ok(&m, key, sizeof(key)));
	T(!stun_fingerprint_ok(&m));
	T(stun_bytes(&m, STUN_A_NONCE, &n) && n == 28);
	T(stun_bytes(&m, STUN_A_REALM, &n) && n == 11);
}

static size_t sample(uint8_t *buf, size_t cap)
{
	struct stun_tid tid = {"abcdefghijkl"};
	struct endpoint e;
	struct stun_enc enc;
	size_t len;

	T_EQ(endpoint_parse("[2001:db8::1]:443", &e), 0);
	stun_enc_init(&enc, buf, cap, STUN_BINDING, STUN_REQUEST, &tid);
	stun_put_bytes(&enc, STUN_A_USERNAME, "ab:cde", 6);
	stun_put_u32(&enc, STUN_A_PRIORITY, 77);
	stun_put_u64(&enc, STUN_A_ICE_CONTROLLING, 0x1122334455667788ULL);
	stun_put_flag(&enc, STUN_A_USE_CANDIDATE);
	stun_put_xor_addr(&enc, STUN_A_XOR_MAPPED_ADDRESS, &e);
	stun_put_error(&enc, 487, "Role Conflict");
	stun_put_unknown(&enc, (const uint16_t[]){1, 2, 3}, 3);
	stun_put_integrity(&enc, "key", 3);
	stun_put_fingerprint(&enc);
	return stun_enc_done(&enc, &len) ? 0 : len;
}

static void test_round_trip(void)
{
	char text[ENDPOINT_STRLEN];
	uint8_t buf[512];
	size_t len = sample(buf, sizeof(buf)), n;
	struct endpoint e = {0};
	struct stun_msg m;
	unsigned code = 0;
	uint32_t v = 0;

	T(len > 0);
	T_EQ(stun_decode(&m, buf, len), STUN_OK);
	T(stun_integrity_ok(&m, "key", 3) && stun_fingerprint_ok(&m));
	T(stun_bytes(&m, STUN_A_USERNAME, &n) && n == 6);
	T(stun_u32(&m, STUN_A_PRIORITY, &v) && v == 77);
	T(stun_has(&m, STUN_A_USE_CANDIDATE));
	T(stun_xor_addr(&m, STUN_A_XOR_MAPPED_ADDRESS, &e));
	T_STR(endpoint_fmt(&e, text), "[2001:db8::1]:443");
	T(stun_error_code(&m, &code) && code == 487);
	T(stun_bytes(&m, STUN_A_UNKNOWN_ATTRIBUTES, &n) && n == 6);
	T(!memcmp(m.tid.b, "abcdefghijkl", 12));
	T_STR(stun_attr_name(STUN_A_USERNAME), "USERNAME");
	T(!stun_attr_name(0x7777));
}

/* Whatever is cut off or does not fit is noticed; nothing is read or written outside. */
static void test_every_length(void)
{
	uint8_t buf[512], small[512];
	size_t len = sample(buf, sizeof(buf)), n;
	struct stun_msg m;

	for (n = 0; n < len; n++)
		T_EQ(stun_decode(&m, buf, n), STUN_NOT_STUN);
	for (n = 0; n < len; n++) {
		memset(small, 0xee, sizeof(small));
		T_EQ(sample(small, n), 0);
		T_EQ(small[n], 0xee);
	}
	T_EQ(sample(small, len), len);
}

/* With the header's length patched, a message truncated inside an attribute is malformed. */
static void test_truncated_inside(void)
{
	uint8_t buf[512];
	size_t len = sample(buf, sizeof(buf));
	unsigned n_bad = 0;

	for (size_t n = STUN_HDR_LEN; n < len; n += 4) {
		struct stun_msg m;
		enum stun_verdict v;

		be16_put(buf + 2, (uint16_t)(n - STUN_HDR_LEN));
		v = stun_decode(&m, buf, n);
		n_bad += v == STUN_BAD_ATTR;
		/* Without the fingerprint alone it is whole again. */
		T_EQ(v == STUN_OK && stun_integrity_ok(&m, "key", 3), n == len - 8);
	}
	T(n_bad > 10);
}

/* Any single bit of the part under MESSAGE-INTEGRITY breaks it, any bit at all the fingerprint. */
static void test_bit_flips(void)
{
	uint8_t buf[512];
	size_t len = sample(buf, sizeof(buf));

	for (size_t bit = 0; bit < len * 8; bit++) {
		struct stun_msg m;
		bool mi, fp;

		buf[bit / 8] ^= (uint8_t)(1U << bit % 8);
		mi = stun_decode(&m, buf, len) == STUN_OK && stun_integrity_ok(&m, "key", 3);
		fp = m.len && stun_fingerprint_ok(&m);
		T(!mi || bit / 8 >= len - 8);
		T(!fp);
		buf[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
}

static void test_order(void)
{
	struct stun_tid tid = {{0}};
	struct stun_enc enc;
	struct stun_msg m;
	uint8_t buf[1600];
	size_t len;

	/* What follows MESSAGE-INTEGRITY does not count. */
	stun_enc_init(&enc, buf, sizeof(buf), STUN_BINDING, STUN_REQUEST, &tid);
	stun_put_u32(&enc, STUN_A_PRIORITY, 1);
	stun_put_integrity(&enc, "k", 1);
	stun_put_flag(&enc, STUN_A_USE_CANDIDATE);
	stun_put_bytes(&enc, (enum stun_attr_type)0x0fff, "x", 1);
	T_EQ(stun_enc_done(&enc, &len), 0);
	T_EQ(stun_decode(&m, buf, len), STUN_OK);
	T(!stun_has(&m, STUN_A_USE_CANDIDATE) && m.n_unknown == 0);
	T(stun_integrity_ok(&m, "k", 1));

	/* Nothing may follow FINGERPRINT. */
	stun_enc_init(&enc, buf, sizeof(buf), STUN_BINDING, STUN_REQUEST, &tid);
	stun_put_fingerprint(&enc);
	stun_put_u32(&enc, STUN_A_PRIORITY, 1);
	T_EQ(stun_enc_done(&enc, &len), 0);
	T_EQ(stun_decode(&m, buf, len), STUN_BAD_ATTR);

	/* The first of a kind counts. */
	stun_enc_init(&enc, buf, sizeof(buf), STUN_BINDING, STUN_INDICATION, &tid);
	stun_put_u32(&enc, STUN_A_PRIORITY, 1);
	stun_put_u32(&enc, STUN_A_PRIORITY, 2);
	T_EQ(stun_enc_done(&enc, &len), 0);
	T_EQ(stun_decode(&m, buf, len), STUN_OK);
	{
		uint32_t v = 0;

		T(stun_u32(&m, STUN_A_PRIORITY, &v) && v == 1);
	}
	T_EQ(m.cls, STUN_INDICATION);
}

static void test_unknown_and_limits(void)
{
	struct stun_tid tid = {{0}};
	struct stun_enc enc;
	struct stun_msg m;
	uint8_t buf[2000];
	size_t len;

	stun_enc_init(&enc, buf, sizeof(buf), STUN_BINDING, STUN_REQUEST, &tid);
	for (unsigned i = 0; i < 20; i++)
		stun_put_bytes(&enc, (enum stun_attr_type)(0x7000 + i), "", 0);
	stun_put_bytes(&enc, (enum stun_attr_type)0xfff0, "abc", 3);
	T_EQ(stun_enc_done(&enc, &len), 0);
	T_EQ(stun_decode(&m, buf, len), STUN_OK);
	T_EQ(m.n_unknown, STUN_UNKNOWN_MAX);
	T_EQ(m.unknown[0], 0x7000);
	T_EQ(m.unknown[7], 0x7007);

	/* Lengths a known attribute may not have. */
	stun_enc_init(&enc, buf, sizeof(buf), STUN_BINDING, STUN_REQUEST, &tid);
	stun_put_bytes(&enc, STUN_A_PRIORITY, "abc", 3);
	T_EQ(stun_enc_done(&enc, &len), 0);
	T_EQ(stun_decode(&m, buf, len), STUN_BAD_ATTR);
	stun_enc_init(&enc, buf, sizeof(buf), STUN_BINDING, STUN_REQUEST, &tid);
	stun_put_bytes(&enc, STUN_A_USE_CANDIDATE, "abcd", 4);
	T_EQ(stun_enc_done(&enc, &len), 0);
	T_EQ(stun_decode(&m, buf, len), STUN_BAD_ATTR);

	memset(buf, 0, sizeof(buf));
	T_EQ(stun_decode(&m, buf, STUN_MSG_MAX + 1), STUN_TOO_LARGE);
	T_EQ(stun_decode(&m, buf, 20), STUN_NOT_STUN);
}

/* XOR-MAPPED-ADDRESS whose length and family disagree is no address. */
static void test_xor_addr_shapes(void)
{
	static const struct {
		uint8_t family, len;
		bool ok;
	} rows[] = {{1, 8, true},  {1, 20, false}, {2, 8, false},
		    {2, 20, true}, {0, 8, false},  {3, 20, false}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct stun_tid tid = {{9}};
		uint8_t buf[128], v[20] = {0, rows[i].family, 1, 2, 3};
		struct stun_enc enc;
		struct stun_msg m;
		struct endpoint e;
		size_t len;

		stun_enc_init(&enc, buf, sizeof(buf), STUN_BINDING, STUN_SUCCESS, &tid);
		stun_put_bytes(&enc, STUN_A_XOR_MAPPED_ADDRESS, v, rows[i].len);
		T_EQ(stun_enc_done(&enc, &len), 0);
		T_EQ(stun_decode(&m, buf, len), STUN_OK);
		T_EQ(stun_xor_addr(&m, STUN_A_XOR_MAPPED_ADDRESS, &e), rows[i].ok);
	}
}

/* WireGuard and channel data are not STUN. */
static void test_classify(void)
{
	uint8_t p[64] = {0};

	for (unsigned first = 0; first < 256; first++) {
		p[0] = (uint8_t)first;
		T(!stun_is_message(p, sizeof(p)));
	}
	memcpy(p, "\x00\x01\x00\x2c\x21\x12\xa4\x42", 8);
	T(stun_is_message(p, 64));
	T(!stun_is_message(p, 63));
	p[3]--;
	T(!stun_is_message(p, 63));
	p[3]++;
	p[0] = 0x40;
	T(!stun_is_message(p, 64));
}

/* Method and class bits interleave; all 4096 methods survive. */
static void test_type_bits(void)
{
	for (unsigned method = 0; method < 0x1000; method++)
		for (unsigned cls = 0; cls < 4; cls++) {
			struct stun_tid tid = {{0}};
			uint8_t buf[20];
			struct stun_enc enc;
			struct stun_msg m;
			size_t len;

			stun_enc_init(&enc, buf, sizeof(buf), (enum stun_method)method,
				      (enum stun_class)cls, &tid);
			if (stun_enc_done(&enc, &len) || stun_decode(&m, buf, len) != STUN_OK ||
			    m.method != method || m.cls != (enum stun_class)cls) {
				T(!"type bits");
				return;
			}
		}
	T(true);
}

/* RFC 8656: an attribute of TURN may come twice; both are there, of any other the first. */
static void test_turn_attributes(void)
{
	struct stun_tid tid = {{7}};
	struct endpoint a = {.ip = {.family = 4, .b = {192, 0, 2, 1}}, .port = 50000};
	struct endpoint b = {.ip = {.family = 6, .b = {0x20, 1, 0xd, 0xb8}}, .port = 50000}, e;
	uint8_t buf[256];
	struct stun_enc enc;
	struct stun_msg m;
	uint32_t v;
	size_t len;

	stun_enc_init(&enc, buf, sizeof(buf), STUN_ALLOCATE, STUN_SUCCESS, &tid);
	stun_put_xor_addr(&enc, STUN_A_XOR_RELAYED_ADDRESS, &a);
	stun_put_xor_addr(&enc, STUN_A_XOR_RELAYED_ADDRESS, &b);
	stun_put_u32(&enc, STUN_A_LIFETIME, 600);
	stun_put_u32(&enc, STUN_A_LIFETIME, 601);
	stun_put_u32(&enc, STUN_A_REQUESTED_ADDRESS_FAMILY, (uint32_t)STUN_FAMILY_IPV6 << 24);
	T_EQ(stun_enc_done(&enc, &len), 0);
	T_EQ(stun_decode(&m, buf, len), STUN_OK);
	T_EQ(m.method, STUN_ALLOCATE);
	T_EQ(stun_count(&m, STUN_A_XOR_RELAYED_ADDRESS), 2);
	T_EQ(stun_count(&m, STUN_A_LIFETIME), 1);
	T(stun_xor_addr_nth(&m, STUN_A_XOR_RELAYED_ADDRESS, 0, &e) && endpoint_eq(&e, &a));
	T(stun_xor_addr_nth(&m, STUN_A_XOR_RELAYED_ADDRESS, 1, &e) && endpoint_eq(&e, &b));
	T(!stun_xor_addr_nth(&m, STUN_A_XOR_RELAYED_ADDRESS, 2, &e));
	T(stun_u32(&m, STUN_A_LIFETIME, &v) && v == 600);
	T(!stun_has(&m, STUN_A_ADDITIONAL_ADDRESS_FAMILY));
	/* the number it had before it had one */
	stun_enc_init(&enc, buf, sizeof(buf), STUN_ALLOCATE, STUN_REQUEST, &tid);
	stun_put_u32(&enc, (enum stun_attr_type)0x8032, (uint32_t)STUN_FAMILY_IPV6 << 24);
	T_EQ(stun_enc_done(&enc, &len), 0);
	T_EQ(stun_decode(&m, buf, len), STUN_OK);
	T(stun_u32(&m, STUN_A_ADDITIONAL_ADDRESS_FAMILY, &v) && v == 2U << 24);
}

/* Every length of header and datagram around a ChannelData message (RFC 8656 §12.4-12.5). */
static void test_channel_data(void)
{
	uint8_t p[16] = {0};
	struct turn_chan_hdr h;

	for (uint32_t len = 0; len <= sizeof(p); len++)
		for (uint16_t body = 0; body < 20; body++) {
			bool fits = len >= 4 && body + 4U <= len && len - 4 - body <= 3;

			turn_chan_put(p, 0x4001, body);
			T_EQ(turn_chan_parse(p, len, &h), fits);
			if (fits)
				T(h.number == 0x4001 && h.len == body && h.pad == len - 4 - body);
		}
	for (unsigned n = 0; n < 0x10000; n += 0x0fff) {
		turn_chan_put(p, (uint16_t)n, 12);
		T_EQ(turn_chan_parse(p, 16, &h), n >= TURN_CHAN_MIN && n <= TURN_CHAN_MAX);
	}
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_rfc5769_request);
	T_RUN(test_rfc5769_responses);
	T_RUN(test_rfc5769_long_term);
	T_RUN(test_round_trip);
	T_RUN(test_every_length);
	T_RUN(test_truncated_inside);
	T_RUN(test_bit_flips);
	T_RUN(test_order);
	T_RUN(test_unknown_and_limits);
	T_RUN(test_xor_addr_shapes);
	T_RUN(test_classify);
	T_RUN(test_type_bits);
	T_RUN(test_turn_attributes);
	T_RUN(test_channel_data);
	return t_done();
}
