/* SPDX-License-Identifier: Apache-2.0
 *
 * Framing of DNS over a stream, fed one byte at a time. */
#include "codec/dns_frame.h"
#include "codec/dns_msg.h"
#include "tests/t.h"

static uint8_t buf[DNS_FRAME_LEN + DNS_MSG_CAP];

static enum dns_frame judge(size_t said, size_t have, size_t max, size_t *len)
{
	dns_frame_put(buf, said);
	*len = 4711;
	return dns_frame_next(buf, have, max, len);
}

static void test_every_prefix_waits(void)
{
	size_t len;

	for (size_t have = 0; have < 32; have++) {
		T_EQ(judge(30, have, 4096, &len), DNS_FRAME_MORE);
		T_EQ(len, 4711);
	}
	T_EQ(judge(30, 32, 4096, &len), DNS_FRAME_OK);
	T_EQ(len, 30);
}

static void test_what_follows_is_not_touched(void)
{
	size_t len;

	T_EQ(judge(12, 500, 4096, &len), DNS_FRAME_OK);
	T_EQ(len, 12);
}

static void test_bounds(void)
{
	size_t len;

	T_EQ(judge(0, 2, 4096, &len), DNS_FRAME_BAD);
	T_EQ(judge(DNS_HEADER_LEN - 1, 2, 4096, &len), DNS_FRAME_BAD);
	T_EQ(judge(DNS_HEADER_LEN, 2, 4096, &len), DNS_FRAME_MORE);
	T_EQ(judge(4096, 2, 4096, &len), DNS_FRAME_MORE);
	T_EQ(judge(4097, 2, 4096, &len), DNS_FRAME_BAD); /* at once, before any of it is there */
	T_EQ(judge(DNS_MSG_CAP, sizeof(buf) - 1, DNS_MSG_CAP, &len), DNS_FRAME_MORE);
	T_EQ(judge(DNS_MSG_CAP, sizeof(buf), DNS_MSG_CAP, &len), DNS_FRAME_OK);
	T_EQ(len, DNS_MSG_CAP);
}

static void test_every_length_reads_as_written(void)
{
	size_t len;

	for (size_t n = DNS_HEADER_LEN; n <= DNS_MSG_CAP; n++)
		if (judge(n, n + DNS_FRAME_LEN, DNS_MSG_CAP, &len) != DNS_FRAME_OK || len != n) {
			T_EQ(len, n);
			return;
		}
	T(len == DNS_MSG_CAP);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_every_prefix_waits);
	T_RUN(test_what_follows_is_not_touched);
	T_RUN(test_bounds);
	T_RUN(test_every_length_reads_as_written);
	return t_done();
}
