/* SPDX-License-Identifier: Apache-2.0
 *
 * Retry-After in both forms, and which hosts plaintext may go to. */
#include "tests/t.h"
#include "io/ws_util.h"

static void test_retry_after(void)
{
	static const struct {
		const char *text;
		uint32_t seconds;
	} table[] = {
		{"0", 0},
		{"7", 7},
		{"4294967295", UINT32_MAX},
		{"4294967296", 0},
		{"7s", 0},
		{"-1", 0},
		{"", 0},
		{"soon", 0},
		{" 7", 0},
		{"Sun, 06 Nov 1994 08:49:37 GMT", 60},
		{"Sun, 06 Nov 1994 08:48:37 GMT", 0},
		{"Sun, 06 Nov 1994 08:48:36 GMT", 0},
		{"Sun, 06 Nov 1994 08:49:37 GMTx", 0},
		{"Sun, 06 Nov 1994 08:49:37", 0},
	};
	struct wall wall = {.sec = 784111777 - 60};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (!T_EQ(ws_retry_after(table[i].text, wall), table[i].seconds))
			t_note("%s", table[i].text);
}

static void test_loopback_names(void)
{
	T(ws_host_is_loopback("localhost") && ws_host_is_loopback("127.1.2.3") &&
	  ws_host_is_loopback("::1"));
	T(!ws_host_is_loopback("localhost.example") && !ws_host_is_loopback("192.0.2.1"));
	T(!ws_host_is_loopback("") && !ws_host_is_loopback("::"));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_retry_after);
	T_RUN(test_loopback_names);
	return t_done();
}
