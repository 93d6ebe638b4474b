/* SPDX-License-Identifier: Apache-2.0
 *
 * Queues of the tunnel device, inside the namespace t_tun-queues.sh made: what sockets here send to
 * addresses behind the device must be read from the queue that tun_steer_queue says, and of each
 * queue one thread can read while another writes. */
#include <netinet/in.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <time.h>
#include "fwd/off_join.h"
#include "fwd/off_split.h"
#include "tests/netns/tun_queues.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define WAIT_NS (20 * 1000000000ull)

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void send_syn(const char *here, const char *there, unsigned flows)
{
	for (unsigned f = 0; f < flows; f++) {
		int fd = sock(SOCK_STREAM, 0, here, PORT + f);

		T_EQ(to(fd, there, 7), 0);
		close(fd);
	}
}

static const char *host(const char *prefix, unsigned n)
{
	static char text[64];

	snprintf(text, sizeof(text), strchr(prefix, ':') ? "%s%x" : "%s%u", prefix, n);
	return text;
}

static void send_echo(const char *here, const char *prefix, unsigned hosts)
{
	bool v4 = !strchr(here, ':');
	int fd = sock(SOCK_RAW, v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, here, 0);

	for (unsigned i = 0; i < hosts; i++) {
		uint8_t echo[64] = {v4 ? 8 : 128, 0, 0, 0, (uint8_t)i};

		T_EQ(to(fd, host(prefix, 2 + i), 0), 0);
		T_EQ(send(fd, echo, sizeof(echo), 0), sizeof(echo));
	}
	close(fd);
}

/* ---- flows ---- */

static void test_udp(void)
{
	up(WORKERS);
	for (unsigned k = 0; k < 2; k++) {
		send_udp(net_of[k].here, net_of[k].there, 1000, 3, 100);
		look(WORKERS);
		check(net_of[k].here, 3000, true);
	}
	down();
}

static void test_tcp(void)
{
	up(WORKERS);
	for (unsigned k = 0; k < 2; k++) {
		send_syn(net_of[k].here, net_of[k].there, 1000);
		look(WORKERS);
		check(net_of[k].here, 1000, true);
	}
	down();
}

/* Neither ports nor, therefore, more than one queue a pair of addresses. */
static void test_icmp(void)
{
	up(WORKERS);
	for (unsigned k = 0; k < 2; k++) {
		send_echo(net_of[k].here, net_of[k].prefix, 200);
		look(WORKERS);
		check(net_of[k].here, 200, false);
		for (unsigned i = 1; i <= WORKERS; i++)
			T(seen.queue[i] > 20);
	}
	down();
}

/* All of one pair of addresses at one queue, the first of each datagram like the others. */
static void test_fragments(void)
{
	up(WORKERS);
	for (unsigned k = 0; k < 2; k++) {
		unsigned used = 0;

		send_udp(net_of[k].here, net_of[k].there, 20, 2, 4000);
		look(WORKERS);
		check(net_of[k].here, 20 * 2 * 3, false);
		T_EQ(seen.fragments, seen.packets);
		for (unsigned i = 0; i < n_q; i++)
			used += seen.queue[i] != 0;
		T_EQ(used, 1);
	}
	down();
}

static void test_options(void)
{
	static const uint8_t nop[4] = {1, 1, 1, 1};
	unsigned used = 0;

	up(WORKERS);
	for (unsigned f = 0; f < 50; f++) {
		int fd = sock(SOCK_DGRAM, 0, net_of[0].here, PORT + f);

		T_EQ(setsockopt(fd, IPPROTO_IP, IP_OPTIONS, nop, sizeof(nop)), 0);
		T_EQ(to(fd, net_of[0].there, 7), 0);
		T_EQ(send(fd, zeros, 50, 0), 50);
		close(fd);
	}
	look(WORKERS);
	check("options", 50, false);
	for (unsigned i = 0; i < n_q; i++)
		used += seen.queue[i] != 0;
	T_EQ(used, 1);
	down();
}

static void test_uso(void)
{
	up(WORKERS);
	if (!tun_offload(q[0])->uso)
		t_skip("no USO");
	for (unsigned k = 0; k < 2 && tun_offload(q[0])->uso; k++) {
		for (unsigned f = 0; f < 100; f++) {
			int fd = sock(SOCK_DGRAM, 0, net_of[k].here, PORT + f), size = 1200;

			T_EQ(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)), 0);
			T_EQ(to(fd, net_of[k].there, 7), 0);
			T_EQ(send(fd, zeros, 20 * 1200, 0), 20 * 1200);
			close(fd);
		}
		look(WORKERS);
		check(net_of[k].here, 100, false);
		T_EQ(seen.super, 100);
	}
	for (unsigned i = 0; i < n_q; i++)
		T_EQ(memcmp(tun_offload(q[i]), tun_offload(q[0]), sizeof(struct tun_offload)), 0);
	down();
}

/* ---- one stream a worker, a thread a queue ---- */

#define STREAMS	   8u
#define STREAM_LEN (4u << 20)
#define PKTS	   1024

/* What one thread does: as h_tun-offload's, cut, turn round, join, and write, to the next queue: so
 * of each queue one thread reads while another writes. */
struct mirror {
	pthread_t thread;
	struct tun *in, *out;
	struct off_join join;
	unsigned number, wrong, super, refused;
	uint8_t pkt[PKTS][1500];
};

static struct mirror mirrors[QUEUES];
static bool mirrors_end;

static void exchange(uint8_t *p)
{
	size_t n = p[0] >> 4 == 4 ? 4 : 16, from = n == 4 ? 12 : 8;
	uint8_t t[16];

	memcpy(t, p + from, n);
	memcpy(p + from, p + from + n, n);
	memcpy(p + from + n, t, n);
}

static void write_out(struct mirror *m)
{
	const struct off_super *s;

	while ((s = off_join_next(&m->join)))
		m->refused += tun_write_super(m->out, s) != 0;
}

static void turn_batch(struct mirror *m)
{
	struct tun_pkt *in;
	size_t n = tun_read(m->in, &in), used = 0, len;
	struct off_split s;

	off_join_init(&m->join, tun_joins_tcp(m->out), tun_joins_udp(m->out));
	for (size_t i = 0; i < n; i++) {
		m->wrong += tun_steer_queue(in[i].data, in[i].len, WORKERS) != m->number;
		m->super += in[i].gso.kind != OFF_NONE;
		if (off_split_begin(&s, in[i].data, in[i].len, &in[i].gso)) {
			m->wrong++;
			continue;
		}
		while (used < PKTS && (len = off_split_next(&s, m->pkt[used], sizeof(m->pkt[0])))) {
			exchange(m->pkt[used]);
			off_join_add(&m->join, m->pkt[used++], len);
			write_out(m);
		}
	}
	off_join_flush(&m->join);
	write_out(m);
}

static void *mirror_run(void *arg)
{
	struct mirror *m = arg;

	while (!__atomic_load_n(&mirrors_end, __ATOMIC_ACQUIRE)) {
		readable(tun_fd(m->in), 20);
		turn_batch(m);
	}
	return NULL;
}

struct stream {
	int listener, from, accepted;
	uint64_t sent, got;
};

static bool move(struct stream *s)
{
	static uint8_t b[1 << 16];
	size_t left = STREAM_LEN - s->sent;
	ssize_t rc;

	if (s->accepted < 0)
		s->accepted = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	rc = left ? send(s->from, zeros, left < sizeof(zeros) ? left : sizeof(zeros), MSG_NOSIGNAL)
		  : 0;
	s->sent += rc > 0 ? (uint64_t)rc : 0;
	rc = s->accepted < 0 ? 0 : recv(s->accepted, b, sizeof(b), 0);
	s->got += rc > 0 ? (uint64_t)rc : 0;
	return s->got == STREAM_LEN;
}

static void stream_open(struct stream *s, const char *here, const char *there, unsigned n)
{
	*s = (struct stream){.listener = sock(SOCK_STREAM, 0, here, 7000 + n),
			     .from = sock(SOCK_STREAM, 0, here, 8000 + n),
			     .accepted = -1};
	T_EQ(listen(s->listener, 1), 0);
	T_EQ(to(s->from, there, 7000 + n), 0);
}

static void stream_close(struct stream *s)
{
	struct linger now = {.l_onoff = 1};

	T_EQ(s->got, STREAM_LEN);
	close(s->listener);
	/* at once: no FIN is sent again to the next test's device */
	setsockopt(s->from, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	setsockopt(s->accepted, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(s->from);
	close(s->accepted);
}

static void mirrors_start(void)
{
	mirrors_end = false;
	for (unsigned i = 0; i < n_q; i++) {
		mirrors[i].in = q[i];
		mirrors[i].out = q[(i + 1) % n_q];
		mirrors[i].number = i;
		mirrors[i].wrong = mirrors[i].super = mirrors[i].refused = 0;
		T_EQ(pthread_create(&mirrors[i].thread, NULL, mirror_run, &mirrors[i]), 0);
	}
}

static void mirrors_stop(void)
{
	unsigned super = 0;

	__atomic_store_n(&mirrors_end, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < n_q; i++) {
		T_EQ(pthread_join(mirrors[i].thread, NULL), 0);
		T_EQ(mirrors[i].wrong, 0);
		T_EQ(mirrors[i].refused, 0);
		super += mirrors[i].super;
	}
	T(!tun_offload(q[0])->tso || super > 100);
}

static struct tun_stats total(void)
{
	struct tun_stats sum = {0};

	for (unsigned i = 0; i < n_q; i++)
		tun_stats_add(&sum, q[i]);
	return sum;
}

static void test_threads(void)
{
	struct tun_stats sum = {0}, last;
	struct stream s[STREAMS];

	up(WORKERS);
	mirrors_start();
	for (unsigned i = 0; i < STREAMS; i++)
		stream_open(&s[i], net_of[i & 1].here, net_of[i & 1].there, i);
	for (uint64_t until = now_ns() + WAIT_NS, done = 0; !done && now_ns() < until;) {
		done = 1;
		for (unsigned i = 0; i < STREAMS; i++)
			done &= move(&s[i]);
		last = sum;
		sum = total(); /* beside those who count */
		T(sum.rx_bytes >= last.rx_bytes && sum.tx_bytes >= last.tx_bytes);
	}
	for (unsigned i = 0; i < STREAMS; i++)
		stream_close(&s[i]);
	mirrors_stop();
	sum = total();
	for (unsigned i = 1; i < n_q; i++)
		T(tun_stats(q[i])->rx_packets > 10);
	T_EQ(tun_stats(q[0])->rx_packets, 0);
	T(sum.rx_bytes >= STREAMS * STREAM_LEN);
	T(sum.tx_bytes >= STREAMS * STREAM_LEN);
	T(!tun_offload(q[0])->tso || (sum.rx_super > 100 && sum.tx_super > 100));
	T_EQ(sum.tx_errors, 0);
	T_EQ(sum.tx_last_errno, 0);
	down();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_udp);
	T_RUN(test_tcp);
	T_RUN(test_icmp);
	T_RUN(test_fragments);
	T_RUN(test_options);
	T_RUN(test_uso);
	T_RUN(test_threads);
	return t_done();
}
