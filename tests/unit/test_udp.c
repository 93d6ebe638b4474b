/* SPDX-License-Identifier: Apache-2.0
 *
 * The tunnel's UDP sockets over loopback with merging: what is committed arrives as it is, in its
 * order, whatever of it crosses the kernel as one message (tests/netns/h_io-udp.c: over a link). */
#include <poll.h>
#include <unistd.h>
#include "tests/unit/udp_rig.h"

/* What shares a message, and what does not: by the messages tried. */
static void test_merges(void)
{
	struct endpoint to, other;

	ends_open(&(struct udp_cfg){0}, &(struct udp_cfg){0});
	if (!udp_gso(a, 4) || !udp_gro(b, 4)) {
		ends_close();
		t_skip("kernel without UDP_SEGMENT or UDP_GRO");
		return;
	}
	to = end_of("127.0.0.1", udp_port(b, 4));
	other = end_of("127.0.0.2", udp_port(b, 4));
	put_n(&to, 10, 1000); /* one, its last shorter */
	put_n(&to, 1, 999);
	put_n(&to, 2, 1000); /* a longer one begins another */
	put_n(&to, 1, 1001);
	put_n(&other, 2, 1001); /* another address */
	put(NULL, &other, 1, 1001);
	put(NULL, &other, 1, 1001); /* other marks */
	put("127.0.0.3", &other, 1, 1001);
	put("127.0.0.3", &other, 1, 1001); /* another source */
	put_n(&to, 1, 0);		   /* an empty one is alone */
	put_n(&to, 1, 5);
	put_n(&to, 1, 0);
	flush();
	T_EQ(os.merged, 5);
	T_EQ(os.calls, 1);
	T_EQ(udp_stats(a)->tx_merged, 5);
	T_EQ(udp_stats(a)->tx_segments, 11 + 2 + 2 + 2 + 2);
	T_EQ(udp_stats(a)->tx_packets, n_sent);
	hear(4);
	T_EQ(n_heard, n_sent);
	T_EQ(udp_stats(b)->rx_merged, 5);
	T_EQ(udp_stats(b)->rx_segments, 19);
	T_EQ(udp_stats(b)->rx_packets, n_sent);
	T_EQ(udp_stats(b)->rx_bytes, udp_stats(a)->tx_bytes);
	T_EQ(udp_stats(b)->rx_bad_merge, 0);
	ends_close();
}

static void test_limits_of_a_message(void)
{
	struct endpoint to;

	ends_open(&(struct udp_cfg){0}, &(struct udp_cfg){0});
	for (int family = 4; family <= 6; family += 2) {
		to = end_of(family == 4 ? "127.0.0.1" : "::1", udp_port(b, family));
		put_n(&to, 200, 96);
		put_n(&to, 200, UDP_BUF_LEN);
		flush();
		T(!udp_gso(a, family) || (os.longest == 64 && os.most_bytes == 31 * UDP_BUF_LEN));
		hear(family);
		T_EQ(n_heard, n_sent);
	}
	T_EQ(udp_stats(a)->tx_fallbacks, 0);
	ends_close();
}

/* Random lengths, marks, sources and destinations in both families; the ends merge or do not. */
static void test_any_sequence(void)
{
	static const char *const v4[] = {"127.0.0.1", "127.0.0.2", "127.1.1.1"};
	static const size_t lens[] = {0, 1, 32, 96, 1000, 1451, 1452, UDP_BUF_LEN};
	uint64_t rnd = t_seed();

	for (unsigned mode = 0; mode < 8; mode++) {
		int family = mode & 4 ? 6 : 4;
		struct endpoint to = {0};
		const char *src = NULL;
		size_t len = 0;
		uint8_t ecn = 0;

		ends_open(&(struct udp_cfg){.no_gso = mode & 1},
			  &(struct udp_cfg){.no_gro = mode & 2});
		T(!(mode & 1) || !udp_gso(a, family));
		T(!(mode & 2) || !udp_gro(b, family));
		for (size_t i = 0; i < 3000; i++) {
			uint64_t r = t_rand(&rnd);

			if (!i || r % 16 == 0)
				to = end_of(family == 4 ? v4[(r >> 8) % 3] : "::1",
					    udp_port(b, family));
			if (r % 16 == 1)
				src = family == 6 ? "::1" : v4[(r >> 8) % 3];
			if (r % 16 == 2)
				ecn = (r >> 8) & 3;
			if (!i || r % 8 == 3)
				len = lens[(r >> 8) % 8];
			put(src, &to, ecn, r % 32 == 4 ? len / 2 : len);
			if (i % 400 == 399) { /* the receiver's buffer is finite */
				flush();
				hear(family);
			}
		}
		flush();
		hear(family);
		T_EQ(n_heard, 3000);
		T_EQ(udp_stats(a)->tx_packets, 3000);
		T_EQ(udp_stats(b)->rx_packets, 3000);
		T_EQ(udp_stats(b)->rx_bytes, udp_stats(a)->tx_bytes);
		T(!(mode & 1) == (udp_stats(a)->tx_merged > 0));
		T((mode & 3) || udp_stats(b)->rx_merged > 0);
		T(!(mode & 2) || udp_stats(b)->rx_merged == 0);
		ends_close();
	}
}

/* One message holds 64 datagrams, a call UDP_BATCH messages: they come UDP_RX_MAX at a time, the
 * held ones without the descriptor being readable; and the next call asks for fewer. */
static void test_more_and_held(void)
{
	struct udp_dgram *d;
	struct pollfd p;
	struct endpoint to;
	size_t n = 0;
	bool more;

	ends_open(&(struct udp_cfg){0}, &(struct udp_cfg){0});
	to = end_of("127.0.0.1", udp_port(b, 4));
	T_EQ(udp_recv(b, 4, &d, &more), 0);
	T(!more && !udp_rx_held(b, 4));
	put_n(&to, UDP_QUEUE_CAP, 64);
	flush();
	T_EQ(udp_recv(b, 4, &d, &more), udp_gro(b, 4) ? UDP_RX_MAX : UDP_BATCH);
	T(more);
	if (udp_gro(b, 4) && udp_gso(a, 4)) {
		p = (struct pollfd){.fd = udp_fd(b, 4), .events = POLLIN};
		T(udp_rx_held(b, 4));
		T_EQ(poll(&p, 1, 0), 0);
		T_EQ(udp_recv(b, 4, &d, &more), UDP_QUEUE_CAP - UDP_RX_MAX);
		T(!more && !udp_rx_held(b, 4));
		T_EQ(udp_stats(b)->rx_calls, 1);
		put_n(&to, UDP_QUEUE_CAP, 64);
		flush();
		T_EQ(udp_recv(b, 4, &d, &more), UDP_RX_MAX);
		T_EQ(os.asked, 4);
		T(more && !udp_rx_held(b, 4));
		T_EQ(udp_recv(b, 4, &d, &more), UDP_RX_MAX);
		T(more); /* as many messages as were asked for */
		T_EQ(udp_recv(b, 4, &d, &more), 0);
		T(!more);
	}
	ends_close();
	/* held datagrams go with their socket */
	ends_open(&(struct udp_cfg){0}, &(struct udp_cfg){0});
	to = end_of("127.0.0.1", udp_port(b, 4));
	put_n(&to, UDP_QUEUE_CAP, 64);
	flush();
	n = udp_recv(b, 4, &d, &more);
	T(n > 0 && more);
	T(!udp_gro(b, 4) || !udp_gso(a, 4) || udp_rx_held(b, 4));
	T_EQ(udp_rebind(b, &err), 0);
	T(!udp_rx_held(b, 4));
	T_EQ(udp_recv(b, 4, &d, &more), 0);
	ends_close();
}

static void test_asks_for_a_batch_of_single_ones(void)
{
	struct udp_dgram *d;
	struct endpoint to;
	bool more;

	ends_open(&(struct udp_cfg){.no_gso = true}, &(struct udp_cfg){0});
	to = end_of("127.0.0.1", udp_port(b, 4));
	for (int i = 0; i < 3; i++) {
		put_n(&to, UDP_BATCH, 1452);
		flush();
		T_EQ(udp_recv(b, 4, &d, &more), UDP_BATCH);
		T_EQ(os.asked, UDP_BATCH);
	}
	ends_close();
}

/* The kernel or a device that refuses merged messages: nothing is lost, none is tried again. */
static void test_refused_for_good(void)
{
	static const int why[] = {EIO, EOPNOTSUPP};

	for (size_t i = 0; i < 2; i++) {
		struct endpoint to;

		ends_open(&(struct udp_cfg){0}, &(struct udp_cfg){0});
		to = end_of("127.0.0.1", udp_port(b, 4));
		if (!udp_gso(a, 4)) {
			ends_close();
			t_skip("kernel without UDP_SEGMENT");
			return;
		}
		os.refuse = why[i];
		put_n(&to, 5, 100);
		put_n(&to, 7, 200);
		flush();
		T(!udp_gso(a, 4) && udp_gso(a, 6));
		T_EQ(udp_stats(a)->tx_fallbacks, 1);
		T_EQ(udp_stats(a)->tx_packets, 12);
		put_n(&to, 7, 200);
		flush();
		T_EQ(udp_stats(a)->tx_fallbacks, 1);
		T_EQ(udp_stats(a)->tx_merged, 0);
		T_EQ(udp_stats(a)->tx_other, 0);
		hear(4);
		T_EQ(n_heard, 19);
		os.refuse = 0;
		T_EQ(udp_rebind(a, &err), 0); /* other networks, other devices */
		T(udp_gso(a, 4));
		ends_close();
	}
}

/* A refusal that may be about this message alone. */
static void test_refused_once(void)
{
	static const int why[] = {EINVAL, EMSGSIZE, EPERM, EACCES};

	for (size_t i = 0; i < 4; i++) {
		struct endpoint to;

		ends_open(&(struct udp_cfg){0}, &(struct udp_cfg){0});
		to = end_of("127.0.0.1", udp_port(b, 4));
		os.refuse = why[i];
		put_n(&to, 5, 100);
		put_n(&to, 7, 200);
		flush();
		os.refuse = 0;
		put_n(&to, 7, 200);
		flush();
		T_EQ(udp_stats(a)->tx_fallbacks, udp_gso(a, 4) ? 2 : 0);
		T_EQ(udp_stats(a)->tx_merged, udp_gso(a, 4) ? 1 : 0);
		T_EQ(udp_stats(a)->tx_packets, 19);
		T_EQ(udp_stats(a)->tx_too_big + udp_stats(a)->tx_source_gone, 0);
		hear(4);
		T_EQ(n_heard, 19);
		ends_close();
	}
}

/* A merged message that can go no way counts as many as it holds. */
static void test_refused_counts_datagrams(void)
{
	struct endpoint to;

	ends_open(&(struct udp_cfg){0}, &(struct udp_cfg){0});
	to = end_of("127.0.0.1", udp_port(b, 4));
	if (udp_gso(a, 4)) {
		os.refuse = ENETUNREACH;
		put_n(&to, 5, 100);
		flush();
		os.refuse = ENOBUFS;
		put_n(&to, 6, 100);
		flush();
		T_EQ(udp_stats(a)->tx_unreachable, 5);
		T_EQ(udp_stats(a)->tx_full, 6);
		T_EQ(udp_stats(a)->tx_packets + udp_stats(a)->tx_fallbacks, 0);
		T_EQ(udp_pending(a, 4), 0);
	}
	ends_close();
	T(true);
}

/* The socket blocks after each message in turn, also among those of a split one. */
static void test_blocked_anywhere(void)
{
	for (int at = 0; at < 24; at++) {
		struct endpoint to;

		ends_open(&(struct udp_cfg){0}, &(struct udp_cfg){0});
		to = end_of("127.0.0.1", udp_port(b, 4));
		os.refuse = at % 2 ? EMSGSIZE : 0;
		os.block_after = at;
		for (size_t len = 100; len < 104; len++)
			put_n(&to, 4, len);
		put_n(&to, 4, 10);
		flush();
		T_EQ(udp_stats(a)->tx_packets + udp_pending(a, 4), 20);
		os.block_after = -1;
		put_n(&to, 3, 10); /* behind those that wait */
		flush();
		T_EQ(udp_pending(a, 4), 0);
		hear(4);
		T_EQ(n_heard, 23);
		ends_close();
	}
}

/* udp_room: what fits, a flush when it does not, none when that does not help. */
static void test_room(void)
{
	struct endpoint to;
	uint8_t *first;

	ends_open(&(struct udp_cfg){0}, &(struct udp_cfg){.no_v6 = true});
	to = end_of("127.0.0.1", udp_port(b, 4));
	T_EQ(udp_room(a, 4, 10), 10);
	T_EQ(udp_room(a, 4, UDP_QUEUE_CAP + 1), UDP_QUEUE_CAP);
	first = udp_room_at(a, 4, 0);
	T(udp_room_at(a, 4, 1) == first + UDP_BUF_LEN);
	put_n(&to, UDP_QUEUE_CAP - 5, 50);
	T_EQ(udp_room(a, 4, 5), 5);
	T_EQ(udp_pending(a, 4), UDP_QUEUE_CAP - 5);
	T_EQ(udp_room(a, 4, 6), 6);
	T_EQ(udp_pending(a, 4), 0);
	T(udp_room_at(a, 4, 0) == first);
	hear(4);
	os.block_after = 0;
	put_n(&to, UDP_QUEUE_CAP - 5, 50);
	T_EQ(udp_room(a, 4, 6), 5);
	put_n(&to, 5, 50);
	T_EQ(udp_room(a, 4, 6), 0);
	T_EQ(udp_stats(a)->tx_full, 1); /* it has one in hand; the others it may never have */
	T_EQ(udp_send(a, NULL, &to, 0, "x", 1), -EAGAIN);
	T_EQ(udp_stats(a)->tx_full, 2);
	T(udp_reserve(a, 4) == NULL);
	T_EQ(udp_stats(a)->tx_full, 3);
	T_EQ(udp_room(b, 6, 3), 0);
	T_EQ(udp_stats(b)->tx_no_family, 1);
	os.block_after = -1;
	flush();
	hear(4);
	T_EQ(n_heard, n_sent);
	ends_close();
}

/* What a message's segment size says is not believed: nothing but whole, bounded datagrams. */
static void test_senseless_segments(void)
{
	static const struct {
		int seg, flags;
		size_t count;
		bool truncated, bad;
	} c[] = {
		{1000, 0, 3, false, false},
		{999, 0, 3, false, false},
		{2500, 0, 1, true, false},
		{2501, 0, 1, true, true},
		{0, 0, 1, true, true},
		{-5, 0, 1, true, true},
		{2500 / UDP_RX_MAX, 0, 1, true, true},
		{10, 0, 250, false, false},
		{1000, MSG_CTRUNC, 1, true, true},
		{1000, MSG_TRUNC, 1, true, true},
	};
	struct udp_dgram *d;
	struct endpoint to;
	bool more;

	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		size_t bytes = 0;

		ends_open(&(struct udp_cfg){0}, &(struct udp_cfg){0});
		to = end_of("127.0.0.1", udp_port(b, 4));
		if (!udp_gso(a, 4) || !udp_gro(b, 4)) {
			ends_close();
			t_skip("kernel without UDP_SEGMENT or UDP_GRO");
			return;
		}
		put_n(&to, 2, 1000);
		put_n(&to, 1, 500);
		flush();
		os.seg_change = true;
		os.seg = c[i].seg;
		os.flags = c[i].flags;
		if (!T_EQ(udp_recv(b, 4, &d, &more), c[i].count))
			t_note("case %zu", i);
		for (size_t k = 0; k < c[i].count; k++) {
			bytes += d[k].len;
			T(d[k].len <= UDP_BUF_LEN);
			T_EQ(d[k].truncated, c[i].truncated);
		}
		T_EQ(bytes, c[i].truncated ? UDP_BUF_LEN : 2500);
		T_EQ(udp_stats(b)->rx_bad_merge, c[i].bad);
		T_EQ(udp_stats(b)->rx_merged, c[i].count > 1);
		ends_close();
	}
}

/* Datagrams longer than UDP_BUF_LEN in one message: each is marked, none runs into its neighbour.
 */
static void test_long_segments(void)
{
	static uint8_t buf[3 * 3000];
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
	} sa = {.v4 = {.sin_family = AF_INET}};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), seg = 3000;
	struct udp_dgram *d;
	bool more;

	ends_open(&(struct udp_cfg){0}, &(struct udp_cfg){0});
	sa.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sa.v4.sin_port = htons(udp_port(b, 4));
	if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &seg, sizeof(seg)) < 0) {
		t_skip("kernel without UDP_SEGMENT");
	} else {
		T_EQ(sendto(fd, buf, 2 * 3000 + 100, 0, &sa.sa, sizeof(sa.v4)), 6100);
		settle();
		T_EQ(udp_recv(b, 4, &d, &more), 3);
		T(d[0].truncated && d[0].len == UDP_BUF_LEN);
		T(d[1].truncated && d[1].len == UDP_BUF_LEN);
		T(!d[2].truncated && d[2].len == 100);
	}
	close(fd);
	ends_close();
}

static void test_errors_of_receiving(void)
{
	struct udp_dgram *d;
	bool more = true;

	ends_open(&(struct udp_cfg){0}, &(struct udp_cfg){0});
	os.rx_errno = EINTR;
	T_EQ(udp_recv(b, 4, &d, &more), 0);
	T(!more);
	T_EQ(udp_stats(b)->rx_errors, 0);
	os.rx_errno = ECONNREFUSED;
	T_EQ(udp_recv(b, 4, &d, &more), 0);
	T_EQ(udp_stats(b)->rx_errors, 1);
	ends_close();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_merges);
	T_RUN(test_limits_of_a_message);
	T_RUN(test_any_sequence);
	T_RUN(test_more_and_held);
	T_RUN(test_asks_for_a_batch_of_single_ones);
	T_RUN(test_refused_for_good);
	T_RUN(test_refused_once);
	T_RUN(test_refused_counts_datagrams);
	T_RUN(test_blocked_anywhere);
	T_RUN(test_room);
	T_RUN(test_senseless_segments);
	T_RUN(test_long_segments);
	T_RUN(test_errors_of_receiving);
	return t_done();
}
