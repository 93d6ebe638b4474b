/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/sdp_cand.h"

#include <errno.h>

#include "core/ice/ice_cand.h"
#include "tests/t.h"

static int parse(const char *text, struct sdp_cand *c)
{
	return sdp_cand_parse(text, strlen(text), c);
}

/* Strings that come back byte for byte. */
static void test_round_trip(void)
{
	static const char *const rows[] = {
		"candidate:1 1 udp 2130706175 192.0.2.1 52625 typ host",
		"candidate:fffeff021adf1c31 1 udp 1694498559 198.51.100.7 1 typ srflx raddr "
		"0.0.0.0 rport 0",
		"candidate:x 1 udp 37748735 2001:db8::7 65535 typ relay raddr :: rport 0 ufrag "
		"abcd",
		"candidate:x/+ 1 udp 4294967295 ::1 9 typ prflx raddr 10.0.0.1 rport 77",
		"candidate:a 1 udp 0 127.0.0.1 0 typ host ufrag z",
	};
	char buf[SDP_CAND_STRLEN];
	struct sdp_cand c;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		T_EQ(parse(rows[i], &c), 0);
		T_EQ(sdp_cand_fmt(&c, buf, sizeof(buf)), 0);
		T_STR(buf, rows[i]);
		T_EQ(sdp_cand_fmt(&c, buf, strlen(rows[i]) + 1), 0);
		T_EQ(sdp_cand_fmt(&c, buf, strlen(rows[i])), -EMSGSIZE);
	}
}

#define HEAD "candidate:1 1 udp 2130706175 192.0.2.1 52625 typ "

/* Optional fields: present or not, but in one order. */
static void test_optional_fields(void)
{
	static const char *const good[] = {
		HEAD "host generation 0",
		HEAD "host network-id 1 network-cost 10",
		HEAD "host tcptype passive raddr 1.2.3.4 rport 5 generation 0 network-id 3 ufrag "
		     "abcd network-cost 50",
		HEAD "srflx raddr 0.0.0.0 rport 0 ufrag abcd",
	};
	static const char *const bad[] = {
		HEAD "host ufrag abcd generation 0",
		HEAD "host raddr 1.2.3.4",
		HEAD "host raddr 1.2.3.4 rport",
		HEAD "host rport 5 raddr 1.2.3.4",
		HEAD "host unknown 1",
		HEAD "host generation",
		HEAD "host ufrag",
		HEAD "host  ufrag abcd",
		HEAD "host network-cost 1 network-id 2",
		HEAD "host ufrag 123456789012345678901234567890123",
	};
	struct sdp_cand c;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		if (!T_EQ(parse(good[i], &c), 0))
			t_note("%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (!T_EQ(parse(bad[i], &c), -EBADMSG))
			t_note("%s", bad[i]);
	T_EQ(parse(HEAD "host ufrag abcd", &c), 0);
	T_STR(c.ufrag, "abcd");
}

static void test_bad(void)
{
	static const char *const rows[] = {
		"",
		"candidate",
		"candidate:",
		"candidate: 1 udp 1 192.0.2.1 1 typ host",
		"Candidate:1 1 udp 1 192.0.2.1 1 typ host",
		"candidate:1 1 udp 1 192.0.2.1 1 typ",
		"candidate:1 1 udp 1 192.0.2.1 1 typ hose",
		"candidate:1 1 udp 1 192.0.2.1 1 type host",
		"candidate:1 1 udp 4294967296 192.0.2.1 1 typ host",
		"candidate:1 1 udp -1 192.0.2.1 1 typ host",
		"candidate:1 1 udp 1x 192.0.2.1 1 typ host",
		"candidate:1 1 udp 99999999999999999999 192.0.2.1 1 typ host",
		"candidate:1 1 udp 1 192.0.2.1 65536 typ host",
		"candidate:1 1 udp 1 192.0.2 1 typ host",
		"candidate:1 1 udp 1 example.org 1 typ host",
		"candidate:1 1 udp 1 [::1] 1 typ host",
		"candidate:1 257 udp 1 192.0.2.1 1 typ host",
		"candidate:1 1 udp 1 192.0.2.1\t1 typ host",
		"candidate:123456789012345678901234567890123 1 udp 1 192.0.2.1 1 typ host",
	};
	struct sdp_cand c;

	memset(&c, 0x55, sizeof(c));
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (!T_EQ(parse(rows[i], &c), -EBADMSG))
			t_note("%s", rows[i]);
	T_EQ(c.prio, 0x55555555);
	T_EQ(parse("candidate:1 1 tcp 1 192.0.2.1 1 typ host", &c), -EPROTO);
	T_EQ(parse("candidate:1 1 UDP 1 192.0.2.1 1 typ host", &c), 0);
	T_EQ(parse("candidate:1 2 udp 1 192.0.2.1 1 typ host", &c), 0);
	T_EQ(c.component, 2);
}

/* Every prefix of a good string is either bad or good, never an overrun (the sanitizer build
 * watches). */
static void test_every_prefix(void)
{
	static const char text[] = HEAD "srflx raddr 0.0.0.0 rport 0 ufrag abcd network-cost 5";
	unsigned good = 0;

	for (size_t len = 0; len < sizeof(text); len++) {
		char exact[sizeof(text)];
		struct sdp_cand c;

		memcpy(exact, text, len);
		good += sdp_cand_parse(exact, len, &c) == 0;
	}
	T(good >= 4);
}

static int cand(const char *text, struct ice_cand *c)
{
	return ice_cand_parse(text, strlen(text), "abcd", c);
}

/* What the agent accepts of a well-formed candidate. */
static void test_acceptable(void)
{
	static const struct {
		const char *text;
		int rc;
	} rows[] = {
		{HEAD "host", 0},
		{HEAD "host ufrag abcd", 0},
		{HEAD "host ufrag abce", -EPROTO},
		{"candidate:1 2 udp 1 192.0.2.1 1 typ host", -EPROTO},
		{"candidate:1 1 udp 1 192.0.2.1 0 typ host", -EPROTO},
		{"candidate:1 1 udp 1 0.0.0.0 1 typ host", -EPROTO},
		{"candidate:1 1 udp 1 169.254.1.1 1 typ host", -EPROTO},
		{"candidate:1 1 udp 1 255.255.255.255 1 typ host", -EPROTO},
		{"candidate:1 1 udp 1 224.0.0.1 1 typ host", -EPROTO},
		{"candidate:1 1 udp 1 ff02::1 1 typ host", -EPROTO},
		{"candidate:1 1 udp 1 :: 1 typ host", -EPROTO},
		{"candidate:1 1 udp 1 127.0.0.1 1 typ host", 0},
		{"candidate:1 1 udp 1 ::1 1 typ host", 0},
		{"candidate:1 1 udp 1 fe80::1 1 typ host", 0},
	};
	struct ice_cand c;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (!T_EQ(cand(rows[i].text, &c), rows[i].rc))
			t_note("%s", rows[i].text);
}

/* Our own strings: nothing about the inside, and the unspecified raddr survives the trip. */
static void test_signalled_form(void)
{
	struct endpoint mapped, base;
	char buf[SDP_CAND_STRLEN];
	struct ice_cand c, back;

	T_EQ(endpoint_parse("198.51.100.7:4242", &mapped), 0);
	T_EQ(endpoint_parse("10.0.0.1:52625", &base), 0);
	c = ice_cand_srflx(&mapped, &base);
	c.prio = 1694498559;
	memcpy(c.foundation, "f1", 3);
	T_EQ(ice_cand_fmt(&c, "abcd", buf, sizeof(buf)), 0);
	T_STR(buf, "candidate:f1 1 udp 1694498559 198.51.100.7 4242 typ srflx raddr 0.0.0.0 rport "
		   "0 ufrag abcd");
	T_EQ(cand(buf, &back), 0);
	T(back.has_raddr && back.kind == CAND_SRFLX && endpoint_eq(&back.base, &back.addr));
	T_EQ(endpoint_parse("[2001:db8::9]:3", &mapped), 0);
	c = ice_cand_relay(&mapped, &base);
	memcpy(c.foundation, "f2", 3);
	T_EQ(ice_cand_fmt(&c, NULL, buf, sizeof(buf)), 0);
	T_STR(buf, "candidate:f2 1 udp 0 2001:db8::9 3 typ relay raddr :: rport 0");
	c = ice_cand_host(&base);
	T(c.foundation[0] && !c.has_raddr);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_round_trip);
	T_RUN(test_optional_fields);
	T_RUN(test_bad);
	T_RUN(test_every_prefix);
	T_RUN(test_acceptable);
	T_RUN(test_signalled_form);
	return t_done();
}
