/* SPDX-License-Identifier: Apache-2.0
 *
 * io/sockaddr: there and back, and what has no family. Also io/entropy's UUIDs. */
#include "io/sockaddr.h"
#include <arpa/inet.h>
#include <errno.h>
#include "io/entropy.h"
#include "tests/t.h"

static void test_round_trip(void)
{
	static const char *const text[] = {"192.0.2.1:1", "255.255.255.255:65535",
					   "0.0.0.0:0",	  "[2001:db8::1]:52625",
					   "[::]:0",	  "[::ffff:192.0.2.1]:7"};

	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		struct endpoint e, back;
		union sockaddr_any sa;

		T_EQ(endpoint_parse(text[i], &e), 0);
		T_EQ(sockaddr_from_endpoint(&e, &sa),
		     e.ip.family == 4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
		T_EQ(sockaddr_to_endpoint(&sa, &back), 0);
		T(endpoint_eq(&e, &back));
	}
}

static void test_wire_form(void)
{
	union sockaddr_any sa;
	struct endpoint e;

	T_EQ(endpoint_parse("192.0.2.1:258", &e), 0);
	sockaddr_from_endpoint(&e, &sa);
	T_EQ(sa.v4.sin_family, AF_INET);
	T_EQ(sa.v4.sin_port, htons(258));
	T_EQ(sa.v4.sin_addr.s_addr, htonl(0xc0000201));
}

static void test_no_family(void)
{
	struct endpoint none = {0}, out;
	union sockaddr_any sa;

	T_EQ(sockaddr_from_endpoint(&none, &sa), 0);
	sa.sa.sa_family = AF_UNIX;
	memset(&out, 1, sizeof(out));
	T_EQ(sockaddr_to_endpoint(&sa, &out), -EAFNOSUPPORT);
	T(endpoint_eq(&out, &none));
}

static void test_uuid(void)
{
	char a[ENTROPY_UUID_LEN], b[ENTROPY_UUID_LEN];

	T_EQ(entropy_uuid4(a), 0);
	T_EQ(entropy_uuid4(b), 0);
	T_EQ(strlen(a), 36);
	T(strcmp(a, b) != 0);
	T(a[8] == '-' && a[13] == '-' && a[18] == '-' && a[23] == '-');
	T(a[14] == '4' && strchr("89ab", a[19]) != NULL);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_round_trip);
	T_RUN(test_wire_form);
	T_RUN(test_no_family);
	T_RUN(test_uuid);
	return t_done();
}
