/* SPDX-License-Identifier: Apache-2.0
 *
 * The control packets' JSON: bytes of the specification, what is read leniently, what is refused.
 */
#include <errno.h>
#include <string.h>
#include "codec/p2p_ctl.h"
#include "codec/p2p_json.h"
#include "tests/t.h"

#define ID   "00000000-0000-0000-0000-000000000065"
#define HEAD "{\"resource\":\"" ID "\",\"domain\":\"example.com\","

static const char assigned[] = HEAD
	"\"proxy_ips\":[\"100.96.0.1\",\"100.96.0.2\",\"100.96.0.3\",\"100.96.0.4\","
	"\"fd00:2021:1111:8000::\",\"fd00:2021:1111:8000::1\",\"fd00:2021:1111:8000::2\","
	"\"fd00:2021:1111:8000::3\"]}";
static const char active[] = HEAD "\"status\":\"Active\"}";

static int read_assigned(const char *text, struct p2p_assigned_ips *out)
{
	return p2p_assigned_ips_decode(text, strlen(text), out);
}

static int read_status(const char *text, struct p2p_domain_status *out)
{
	return p2p_domain_status_decode(text, strlen(text), out);
}

static void test_assigned_ips_bytes(void)
{
	char buf[P2P_CTL_PAYLOAD_CAP];
	struct p2p_assigned_ips a;
	struct ipaddr want;
	size_t len;

	T_EQ(strlen(assigned), 239);
	T_EQ(read_assigned(assigned, &a), 0);
	T_EQ(a.resource.b[15], 0x65);
	T_STR(a.domain, "example.com");
	T_EQ(a.count, 8);
	T_EQ(ipaddr_parse("100.96.0.4", &want), 0);
	T(ipaddr_eq(&a.ips[3], &want));
	T_EQ(p2p_assigned_ips_encode(&a, buf, sizeof(buf), &len), 0);
	T_EQ(len, 239);
	T_MEM(buf, assigned, 239);
	T_EQ(p2p_assigned_ips_encode(&a, buf, 239, &len), 0);
	for (size_t cap = 0; cap < 239; cap++)
		if (!T_EQ(p2p_assigned_ips_encode(&a, buf, cap, &len), -EMSGSIZE) || !T_EQ(len, 0))
			break;
}

static void test_domain_status_bytes(void)
{
	char buf[P2P_CTL_PAYLOAD_CAP];
	struct p2p_domain_status s;
	size_t len;

	T_EQ(strlen(active), 92);
	T_EQ(read_status(active, &s), 0);
	T(s.active);
	T_EQ(p2p_domain_status_encode(&s, buf, sizeof(buf), &len), 0);
	T_EQ(len, 92);
	T_MEM(buf, active, 92);
	s.active = false;
	T_EQ(p2p_domain_status_encode(&s, buf, sizeof(buf), &len), 0);
	T_MEM(buf, HEAD "\"status\":\"Inactive\"}", len);
	for (size_t cap = 0; cap < len; cap++)
		if (!T_EQ(p2p_domain_status_encode(&s, buf, cap, &(size_t){0}), -EMSGSIZE))
			break;
}

static void test_read_leniently(void)
{
	struct p2p_assigned_ips a;
	struct p2p_domain_status s;

	T_EQ(read_assigned(" { \"x\" : [ { } ] ,\n\t\"proxy_ips\":[ \"100.96.0.1\" ],"
			   "\"domain\":\"A.b-_c\",\"resource\":\"" ID "\" } ",
			   &a),
	     0);
	T_EQ(a.count, 1);
	T_STR(a.domain, "A.b-_c");
	T_EQ(read_status("{\"status\":\"Later\",\"domain\":\"a\",\"resource\":\"" ID "\",\"n\":1}",
			 &s),
	     0);
	T(!s.active);
	T_EQ(read_status("{\"status\":\"active\",\"domain\":\"a\",\"resource\":\"" ID "\"}", &s),
	     0);
	T(!s.active);
}

static void test_refused(void)
{
	static const char *const assigned_bad[] = {
		"",
		"[]",
		"null",
		"{}",
		"{",
		HEAD "\"proxy_ips\":[]}",
		HEAD "\"proxy_ips\":\"100.96.0.1\"}",
		HEAD "\"proxy_ips\":{}}",
		HEAD "\"proxy_ips\":null}",
		HEAD "\"proxy_ips\":[1]}",
		HEAD "\"proxy_ips\":[\"100.96.0\"]}",
		HEAD "\"proxy_ips\":[\"100.96.0.1/32\"]}",
		HEAD "\"proxy_ips\":[\"fe80::1%eth0\"]}",
		HEAD "\"proxy_ips\":[\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"1.1.1.4\",\"1.1.1.5\","
		     "\"1.1.1.6\",\"1.1.1.7\",\"1.1.1.8\",\"1.1.1.9\"]}",
		HEAD "\"domain\":\"other\",\"proxy_ips\":[\"100.96.0.1\"]}",
		HEAD "\"proxy_ips\":[\"100.96.0.1\"]}x",
		HEAD "\"proxy_ips\":[\"100.96.0.1\"]",
		"{\"resource\":\"65\",\"domain\":\"a\",\"proxy_ips\":[\"100.96.0.1\"]}",
		"{\"resource\":101,\"domain\":\"a\",\"proxy_ips\":[\"100.96.0.1\"]}",
		"{\"resource\":\"" ID "\",\"proxy_ips\":[\"100.96.0.1\"]}",
		"{\"resource\":\"" ID "\",\"domain\":5,\"proxy_ips\":[\"100.96.0.1\"]}",
		"{\"resource\":\"" ID "\",\"domain\":\"a\\u0000\",\"proxy_ips\":[\"100.96.0.1\"]}",
	};
	static const char *const status_bad[] = {
		"", HEAD "\"status\":true}", HEAD "\"status\":null}", HEAD "\"x\":\"Active\"}",
		"{\"resource\":\"" ID "\",\"domain\":\"a.\",\"status\":\"Active\"}"};
	struct p2p_assigned_ips a;
	struct p2p_domain_status s;
	char big[P2P_CTL_PAYLOAD_CAP + 2];

	for (size_t i = 0; i < sizeof(assigned_bad) / sizeof(*assigned_bad); i++)
		if (!T_EQ(read_assigned(assigned_bad[i], &a), -EBADMSG))
			t_note("%s", assigned_bad[i]);
	for (size_t i = 0; i < sizeof(status_bad) / sizeof(*status_bad); i++)
		if (!T_EQ(read_status(status_bad[i], &s), -EBADMSG))
			t_note("%s", status_bad[i]);
	for (size_t len = 0; len < sizeof(assigned) - 1; len++)
		if (!T_EQ(p2p_assigned_ips_decode(assigned, len, &a), -EBADMSG))
			break;
	memset(big, ' ', sizeof(big));
	memcpy(big, active, sizeof(active) - 1);
	T_EQ(p2p_domain_status_decode(big, P2P_CTL_PAYLOAD_CAP, &s), 0);
	T_EQ(p2p_domain_status_decode(big, P2P_CTL_PAYLOAD_CAP + 1, &s), -EBADMSG);
	memset(big, '[', sizeof(big));
	T_EQ(p2p_domain_status_decode(big, P2P_CTL_PAYLOAD_CAP, &s), -EBADMSG);
}

static void test_names(void)
{
	static const char *const bad[] = {"",	 ".",	"a.",	".a",	"a..b",
					  "a b", "a/b", "a\\b", "a\"b", "\xc3\xa4.de"};
	char longest[P2P_DOMAIN_CAP + 1];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (!T(!p2p_domain_valid(bad[i])))
			t_note("%s", bad[i]);
	T(p2p_domain_valid("a"));
	T(p2p_domain_valid("_sip._tcp.xn--4ca.de"));
	memset(longest, 'a', sizeof(longest));
	for (size_t i = 63; i < sizeof(longest); i += 64)
		longest[i] = '.';
	longest[P2P_DOMAIN_CAP - 1] = '\0';
	T(p2p_domain_valid(longest));
	longest[63] = 'a';
	T(!p2p_domain_valid(longest)); /* a label of 127 */
	longest[63] = '.';
	longest[P2P_DOMAIN_CAP - 1] = 'a';
	longest[P2P_DOMAIN_CAP] = '\0';
	T(!p2p_domain_valid(longest));
}

/* The longest name and addresses fit a control packet. */
static void test_longest(void)
{
	struct p2p_assigned_ips a = {.count = P2P_PROXIES_MAX}, back;
	char buf[P2P_CTL_PAYLOAD_CAP];
	size_t len;

	memset(a.domain, 'x', P2P_DOMAIN_CAP - 1);
	for (size_t i = 63; i < P2P_DOMAIN_CAP - 1; i += 64)
		a.domain[i] = '.';
	for (size_t i = 0; i < a.count; i++) {
		a.ips[i].family = 6;
		memset(a.ips[i].b, 0xab, 16);
	}
	T_EQ(p2p_assigned_ips_encode(&a, buf, sizeof(buf), &len), 0);
	T_EQ(p2p_assigned_ips_decode(buf, len, &back), 0);
	T_MEM(&back, &a, sizeof(a));
	a.count = P2P_PROXIES_MAX + 1;
	T_EQ(p2p_assigned_ips_encode(&a, buf, sizeof(buf), &len), -EINVAL);
	a.count = 0;
	T_EQ(p2p_assigned_ips_encode(&a, buf, sizeof(buf), &len), -EINVAL);
	a.count = 1;
	a.ips[0].family = 0;
	T_EQ(p2p_assigned_ips_encode(&a, buf, sizeof(buf), &len), -EINVAL);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_assigned_ips_bytes);
	T_RUN(test_domain_status_bytes);
	T_RUN(test_read_leniently);
	T_RUN(test_refused);
	T_RUN(test_names);
	T_RUN(test_longest);
	return t_done();
}
