/* SPDX-License-Identifier: Apache-2.0
 *
 * Portal tokens: format, hash, comparison; expiry times; component versions; admission. */
#include "apps/portal/expiry.h"
#include "apps/portal/gate.h"
#include "apps/portal/token.h"
#include "apps/portal/version.h"
#include "base/time.h"
#include "tests/t.h"

static void test_token_text_is_base64url_of_entropy(void)
{
	uint8_t raw[32];
	char text[TOKEN_TEXT_CAP];

	memset(raw, 0, sizeof(raw));
	token_from_entropy(raw, text);
	T_STR(text, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
	memset(raw, 0xff, sizeof(raw));
	token_from_entropy(raw, text);
	T_STR(text, "__________________________________________8");
	for (size_t i = 0; i < 32; i++)
		raw[i] = (uint8_t)i;
	token_from_entropy(raw, text);
	T_STR(text, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
	T(strlen(text) >= TOKEN_MIN_LEN);
}

static void test_token_hash_is_sha256(void)
{
	/* SHA-256 of forty 'a' (openssl dgst). */
	uint8_t want[32], got[32];
	char hex[TOKEN_HASH_STRLEN], text[41];

	memset(text, 'a', 40);
	text[40] = '\0';
	T(token_hash(text, 40, got));
	t_unhex("e33cdf9c7f7120b98e8c78408953e07f2ecd183006b5606df349b4c212acf43e", want,
		sizeof(want));
	T_MEM(got, want, 32);
	token_hash_fmt(got, hex);
	T_STR(hex, "e33cdf9c7f7120b98e8c78408953e07f2ecd183006b5606df349b4c212acf43e");
}

static void test_token_length_limits(void)
{
	static char text[TOKEN_MAX_LEN + 1];
	uint8_t hash[32];

	memset(text, 'x', sizeof(text));
	T(!token_hash(text, 0, hash));
	T(!token_hash(text, TOKEN_MIN_LEN - 1, hash));
	T(token_hash(text, TOKEN_MIN_LEN, hash));
	T(token_hash(text, TOKEN_MAX_LEN, hash));
	T(!token_hash(text, TOKEN_MAX_LEN + 1, hash));
}

static void test_token_hash_parse(void)
{
	uint8_t a[32], b[32];
	char hex[TOKEN_HASH_STRLEN];

	memset(hex, 'A', 64);
	hex[64] = '\0';
	T(token_hash_parse(hex, a));
	memset(hex, 'a', 64);
	T(token_hash_parse(hex, b));
	T(token_hash_eq(a, b));
	for (size_t i = 0; i < 32; i++) {
		b[i] ^= 1;
		T(!token_hash_eq(a, b));
		b[i] ^= 1;
	}
	hex[63] = 'g';
	T(!token_hash_parse(hex, a));
	hex[63] = '\0';
	T(!token_hash_parse(hex, a));
	T(!token_hash_parse("", a));
}

static void test_expiry_parse(void)
{
	static const struct {
		const char *text;
		uint64_t want;
	} good[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"2030-03-17T17:46:40Z", 1900000000},
		{"2030-03-17T19:46:40+02:00", 1900000000},
		{"2030-03-17t12:16:40.123456-05:30", 1900000000},
		{"2024-02-29T00:00:00z", 1709164800},
	};
	static const char *const bad[] = {
		"",
		"2030",
		"2030-03-17",
		"2030-03-17T17:46:40",
		"2030-03-17 17:46:40Z",
		"2030-13-01T00:00:00Z",
		"2030-00-01T00:00:00Z",
		"2023-02-29T00:00:00Z",
		"2030-04-31T00:00:00Z",
		"2030-01-01T24:00:00Z",
		"2030-01-01T00:60:00Z",
		"2030-01-01T00:00:61Z",
		"2030-01-01T00:00:00.Z",
		"2030-01-01T00:00:00+2:00",
		"2030-01-01T00:00:00+24:00",
		"2030-01-01T00:00:00Zx",
		"1969-12-31T23:59:59Z",
		"1970-01-01T00:00:00+01:00",
		"-030-01-01T00:00:00Z",
		"never",
	};
	uint64_t got;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		T(expiry_parse(good[i].text, &got));
		T_EQ(got, good[i].want);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!T(!expiry_parse(bad[i], &got)))
			t_note("accepted \"%s\"", bad[i]);
}

static void test_expiry_passed(void)
{
	T(!expiry_passed(EXPIRY_NEVER, UINT64_MAX));
	T(!expiry_passed(10, 9));
	T(expiry_passed(10, 10));
}

static void test_version_parse(void)
{
	static const char *const good[] = {"0.1.0",	 "1.4.14",	  "10.20.30",
					   "1.5.0-rc.1", "1.0.0+build.7", "1.0.0-a-b.c+d"};
	static const char *const bad[] = {"",	    "1",       "1.4",	  "1.4.",   "v1.4.0",
					  "1.4.0 ", "01.4.0",  "1.4.0-",  "1.4.0+", "1.4.0-a..b",
					  "1.4.0x", "1.4.0-@", "1.4.0.1", "-1.4.0", "99999999.0.0"};
	struct version v;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		T(version_parse(good[i], &v));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!T(!version_parse(bad[i], &v)))
			t_note("accepted \"%s\"", bad[i]);
}

static void test_version_compatible(void)
{
	static const struct {
		const char *client, *gateway;
		bool ok;
	} rows[] = {
		{"1.4.0", "1.4.0", true}, {"1.5.2", "1.4.14", true}, {"1.4.0", "1.3.9", false},
		{"2.0.0", "1.4.0", true}, {"1.1.0", "1.1.0", true},  {"1.3.9", "1.0.9", false},
		{"1.3.9", "1.1.0", true}, {"1.0.0", "0.1.0", true},  {"0.1.0", "0.1.0", true},
		{"1.4.0", "junk", false}, {"junk", "1.4.0", false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		T_EQ(version_compatible(rows[i].client, rows[i].gateway), rows[i].ok);
}

static unsigned admitted(struct gate *g, const struct ipaddr *ip, unsigned tries, uint64_t now)
{
	unsigned n = 0;

	while (tries--)
		n += gate_admit(g, ip, now);
	return n;
}

static void test_gate_burst_then_rate(void)
{
	static struct gate g;
	struct ipaddr ip = ipaddr_v4(192, 0, 2, 1);
	uint64_t now = 1000 * NS_PER_SEC;

	gate_init(&g, 42);
	T_EQ(admitted(&g, &ip, 1000, now), GATE_BURST);
	T_EQ(admitted(&g, &ip, 1000, now + NS_PER_SEC), GATE_PER_SEC);
	/* Asking often must not slow the refill down. */
	unsigned n = 0;
	for (uint64_t t = 0; t < 2000; t++)
		n += gate_admit(&g, &ip, now + NS_PER_SEC + t * NS_PER_MS);
	T(n >= 2 * GATE_PER_SEC - 2 && n <= 2 * GATE_PER_SEC);
	T_EQ(admitted(&g, &ip, 1000, now + 3600 * NS_PER_SEC), GATE_BURST);
}

static void test_gate_parties(void)
{
	static struct gate g;
	struct ipaddr a, b, c;
	uint64_t now = 1000 * NS_PER_SEC;

	T(!ipaddr_parse("2001:db8:1:2::1", &a) && !ipaddr_parse("2001:db8:1:2:ffff::9", &b) &&
	  !ipaddr_parse("2001:db8:1:3::1", &c));
	gate_init(&g, 7);
	T_EQ(admitted(&g, &a, 1000, now), GATE_BURST);
	T_EQ(admitted(&g, &b, 10, now), 0);
	T_EQ(admitted(&g, &c, 10, now), 10);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_token_text_is_base64url_of_entropy);
	T_RUN(test_token_hash_is_sha256);
	T_RUN(test_token_length_limits);
	T_RUN(test_token_hash_parse);
	T_RUN(test_expiry_parse);
	T_RUN(test_expiry_passed);
	T_RUN(test_version_parse);
	T_RUN(test_version_compatible);
	T_RUN(test_gate_burst_then_rate);
	T_RUN(test_gate_parties);
	return t_done();
}
