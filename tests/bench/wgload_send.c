/* SPDX-License-Identifier: Apache-2.0
 *
 * Packets of the load generator: IPv4 and UDP with valid checksums and a mark, sealed with rising
 * counters, and sent at a rate, by trains (UDP_SEGMENT) or one by one. A plain sender's are
 * payloads alone. */
#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "tests/bench/wgload.h"
#include "base/bytes.h"
#include "crypto/crypto.h"
#include "io/loop.h"
#include "wire/csum.h"
#include "wire/ip.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#define TRAIN_BYTES 64000 /* of one UDP_SEGMENT message */
#define TRAIN_MAX   64
#define TRAIN_NS    200000 /* a train is no longer than this at the rate wanted */
#define MSGS_MAX    64
#define SLEEP_NS    150000  /* shorter waits are spun through */
#define BURST_NS    1000000 /* a plain sender's burst is no longer than this at the rate wanted */
#define SOURCE_PORT 40000

static uint64_t seq_next; /* of all batches */

uint8_t wgl_pattern(uint32_t at)
{
	return (uint8_t)(at * 7 + (at >> 8));
}

static uint32_t datagram_len(const struct wgl_load *load)
{
	return load->plain ? load->size - WGL_HDRS : load->size + WG_DATA_OVERHEAD;
}

uint64_t wgl_batch_max(const struct wgl_load *load)
{
	return load->pool / datagram_len(load);
}

void wgl_batch_alloc(struct wgl_batch *b, const struct wgl_load *load)
{
	*b = (struct wgl_batch){.stride = datagram_len(load),
				.cap = (wgl_batch_max(load) + 1) * datagram_len(load)};
	b->buf = mmap(NULL, b->cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b->buf == MAP_FAILED)
		wgl_die("memory for packets", errno);
	madvise(b->buf, b->cap, MADV_HUGEPAGE);
}

/* ---- making ---- */

struct filler {
	pthread_t thread;
	struct wgl_batch *b;
	const struct wgl_link *l;
	const struct wgl_load *load;
	uint64_t from, to;
};

/* The sum of any number of bytes, as csum.h keeps it. */
static uint64_t sum_of(const uint8_t *p, size_t len)
{
	uint64_t sum = 0;

	for (; len >= 2; p += 2, len -= 2)
		sum += PS_LOAD(uint16_t, p);
	if (len) {
		const uint8_t last[2] = {*p, 0};

		sum += PS_LOAD(uint16_t, last);
	}
	return sum;
}

/* Everything that all packets of a load have in common. */
static void template_make(const struct wgl_load *load, uint8_t *p)
{
	memset(p, 0, WGL_HDRS);
	p[0] = 0x45;
	be16_put(p + PS_IP4_LEN, (uint16_t)load->size);
	be16_put(p + PS_IP4_FRAG, PS_IP4_DF);
	p[PS_IP4_TTL] = 64;
	p[PS_IP4_PROTO] = PS_IPPROTO_UDP;
	memcpy(p + PS_IP4_DADDR, load->sink.ip.b, 4);
	be16_put(p + 24, (uint16_t)(load->size - PS_IP4_HLEN));
	for (uint32_t i = 0; i < load->size - WGL_HDRS; i++)
		p[WGL_HDRS + i] = wgl_pattern(i);
}

static uint16_t flow_of(const struct wgl_load *load, uint64_t n)
{
	return (uint16_t)(n / load->train % load->flows);
}

static void mark_make(const struct wgl_load *load, uint16_t peer, uint64_t n, uint64_t seq,
		      uint8_t *mark)
{
	be64_put(mark, seq);
	be16_put(mark + 8, flow_of(load, n));
	be16_put(mark + 10, WGL_MAGIC);
	be16_put(mark + 12, peer);
	be16_put(mark + 14, (uint16_t)(load->size - WGL_HDRS));
}

/* body: the sum of the template's payload behind the mark. */
static void packet_make(const struct wgl_load *load, const uint8_t *template, uint64_t body,
			const struct wgl_session *s, uint16_t peer, uint64_t n, uint64_t seq,
			uint8_t *p)
{
	const uint16_t flow = flow_of(load, n);
	uint8_t pseudo[4] = {0, PS_IPPROTO_UDP};
	uint16_t check;

	memcpy(p, template, load->size);
	memcpy(p + PS_IP4_SADDR, s->src.b, 4);
	check = (uint16_t)~ps_csum_fold(sum_of(p, PS_IP4_HLEN));
	memcpy(p + PS_IP4_CSUM, &check, 2);
	be16_put(p + 20, (uint16_t)(SOURCE_PORT + flow));
	be16_put(p + 22, (uint16_t)(load->sink.port + flow));
	mark_make(load, peer, n, seq, p + WGL_HDRS);
	be16_put(pseudo + 2, (uint16_t)(load->size - PS_IP4_HLEN));
	check = (uint16_t)~ps_csum_fold(sum_of(pseudo, 4) + sum_of(p + PS_IP4_SADDR, 8) +
					sum_of(p + 20, 8 + WGL_MARK_LEN) + body);
	if (!check)
		check = 0xffff;
	memcpy(p + 26, &check, 2);
}

/* A team's fillers go wherever there is room: what is measured is idle while they work. */
static void go_anywhere(void)
{
	cpu_set_t all;

	CPU_ZERO(&all);
	for (size_t i = 0; i < CPU_SETSIZE; i++)
		CPU_SET(i, &all);
	pthread_setaffinity_np(pthread_self(), sizeof(all), &all);
}

/* Rises, and no other sender has it. */
static uint64_t seq_of(const struct wgl_load *load, uint64_t n)
{
	return (seq_next + n) * load->senders + load->sender;
}

static void *fill(void *arg)
{
	const struct filler *f = arg;
	const uint32_t first = f->load->sender * f->l->n;
	uint8_t template[WGL_INNER_MAX];
	const uint32_t size = f->load->size;
	uint64_t body;

	if (f->load->senders > 1)
		go_anywhere();
	template_make(f->load, template);
	body = sum_of(template + WGL_HDRS + WGL_MARK_LEN, size - WGL_HDRS - WGL_MARK_LEN);
	for (uint64_t n = f->from; n < f->to; n++) {
		const struct wgl_session *s = &f->l->sessions[n % f->l->n];
		const uint64_t counter = s->counter + n / f->l->n;
		uint8_t *out = f->b->buf + n * f->b->stride;

		if (f->load->plain) {
			memcpy(out, template + WGL_HDRS, f->b->stride);
			mark_make(f->load, 0, n, seq_of(f->load, n), out);
			continue;
		}
		le32_put(out, WG_MSG_DATA);
		le32_put(out + 4, s->remote_idx);
		le64_put(out + 8, counter);
		packet_make(f->load, template, body, s, (uint16_t)(first + n % f->l->n), n,
			    seq_of(f->load, n), out + WG_DATA_HDR_LEN);
		aead_seal(out + WG_DATA_HDR_LEN, s->key, counter, NULL, 0, out + WG_DATA_HDR_LEN,
			  size);
	}
	return NULL;
}

void wgl_batch_fill(struct wgl_batch *b, struct wgl_link *l, const struct wgl_load *load,
		    uint64_t n)
{
	struct filler f[16];
	uint32_t threads = load->threads < 16 ? load->threads : 16;

	if (n * b->stride > b->cap)
		wgl_die("more packets than memory", ENOMEM);
	b->n = n;
	for (uint32_t i = 0; i < threads; i++) {
		f[i] = (struct filler){.b = b,
				       .l = l,
				       .load = load,
				       .from = n * i / threads,
				       .to = n * (i + 1) / threads};
		if (pthread_create(&f[i].thread, NULL, fill, &f[i]))
			wgl_die("thread", EAGAIN);
	}
	for (uint32_t i = 0; i < threads; i++)
		pthread_join(f[i].thread, NULL);
	seq_next += n;
	for (uint32_t i = 0; i < l->n; i++)
		l->sessions[i].counter += (n + l->n - 1) / l->n;
}

/* ---- sending ---- */

struct sender {
	const struct wgl_batch *b;
	int fd;
	const struct wgl_load *load;
	uint32_t segs;	   /* datagrams of a message */
	uint32_t msgs;	   /* messages of a system call, at most */
	uint32_t whole;	   /* datagrams that are waited for, so that they go out together */
	uint64_t spins_ns; /* shorter waits are spun through */
	struct sockaddr_in to[WGL_FLOWS_MAX]; /* a plain sender's */
	struct mmsghdr mm[MSGS_MAX];
	struct iovec iov[MSGS_MAX];
	union {
		struct cmsghdr align;
		uint8_t b[CMSG_SPACE(sizeof(uint16_t))];
	} seg;
};

/* Its bursts are as long as the rate makes them, and it sleeps between them: the tunnel's ends have
 * to do with the processors that it leaves. */
static void sender_plain(struct sender *s, const struct wgl_link *l, double pps)
{
	const double timely = pps * BURST_NS / 1e9;

	s->whole = pps > 0 && timely < s->msgs ? (uint32_t)timely + 1 : s->msgs;
	s->spins_ns = 0;
	for (uint32_t i = 0; i < WGL_FLOWS_MAX; i++) {
		s->to[i] = l->to.v4;
		s->to[i].sin_port = htons((uint16_t)(ntohs(l->to.v4.sin_port) + i));
	}
}

static void sender_init(struct sender *s, const struct wgl_batch *b, const struct wgl_link *l,
			const struct wgl_load *load, double pps)
{
	uint32_t most = TRAIN_BYTES / b->stride < TRAIN_MAX ? TRAIN_BYTES / b->stride : TRAIN_MAX;
	double timely = pps * TRAIN_NS / 1e9;
	struct cmsghdr *c = &s->seg.align;

	memset(s, 0, sizeof(*s));
	s->b = b;
	s->fd = l->fd;
	s->load = load;
	s->segs = !load->gso ? 1 : pps > 0 && timely < most ? (uint32_t)timely + 1 : most;
	s->msgs = load->gso ? 2 : load->burst;
	s->whole = s->segs;
	s->spins_ns = load->senders > 1 ? 0 : SLEEP_NS; /* a team may share its processors */
	if (load->plain)
		sender_plain(s, l, pps);
	c->cmsg_level = IPPROTO_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
	memcpy(CMSG_DATA(c), &(uint16_t){(uint16_t)b->stride}, sizeof(uint16_t));
	for (uint32_t i = 0; i < MSGS_MAX; i++)
		s->mm[i].msg_hdr = (struct msghdr){.msg_name = (void *)&l->to,
						   .msg_namelen = l->to_len,
						   .msg_iov = &s->iov[i],
						   .msg_iovlen = 1};
}

/* Up to `due` datagrams from `at` on; how many went out. A last train may be short. */
static uint64_t send_some(struct sender *s, uint64_t at, uint64_t due, uint64_t *refused)
{
	uint32_t n = 0;
	uint64_t put = 0, went = 0;
	int sent;

	while (n < s->msgs && put < due) {
		uint64_t k = due - put < s->segs ? due - put : s->segs;
		struct msghdr *h = &s->mm[n].msg_hdr;

		s->iov[n++] = (struct iovec){.iov_base = s->b->buf + (at + put) * s->b->stride,
					     .iov_len = k * s->b->stride};
		if (s->load->plain)
			h->msg_name = &s->to[flow_of(s->load, at + put)];
		h->msg_control = k > 1 ? &s->seg : NULL;
		h->msg_controllen = k > 1 ? sizeof(s->seg.b) : 0;
		put += k;
	}
	sent = sendmmsg(s->fd, s->mm, n, MSG_DONTWAIT);
	if (sent < 0) {
		if (errno != EAGAIN && errno != ENOBUFS && errno != EINTR && errno != ECONNREFUSED)
			wgl_die("send", errno);
		++*refused;
		return 0;
	}
	for (int i = 0; i < sent; i++)
		went += s->iov[i].iov_len / s->b->stride;
	return went;
}

static void wait_until(uint64_t at, uint64_t now, uint64_t spins_ns)
{
	const uint64_t to = at - spins_ns / 2;
	struct timespec t;

	if (at < now + spins_ns)
		return;
	t.tv_sec = (time_t)(to / NS_PER_SEC);
	t.tv_nsec = (long)(to % NS_PER_SEC);
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

void wgl_blast(const struct wgl_batch *b, const struct wgl_link *l, const struct wgl_load *load,
	       uint64_t from, uint64_t to, double pps, struct wgl_sent *out)
{
	uint64_t at = from, now = loop_now(), whole;
	struct sender s;

	sender_init(&s, b, l, load, pps);
	prctl(PR_SET_TIMERSLACK, 1000);
	*out = (struct wgl_sent){.start_ns = now};
	while (at < to) {
		uint64_t due = to - at;

		if (pps > 0) {
			double should = (double)(now - out->start_ns) * pps / 1e9 + 1;

			due = (uint64_t)should > at - from ? (uint64_t)should - (at - from) : 0;
			if (due > to - at)
				due = to - at;
		}
		whole = to - at < s.whole ? to - at : s.whole;
		if (due >= whole)
			at += send_some(&s, at, due - due % whole, &out->refused);
		else
			wait_until(out->start_ns +
					   (uint64_t)((double)(at - from + whole) / pps * 1e9),
				   now, s.spins_ns);
		now = loop_now();
	}
	out->packets = to - from;
	out->end_ns = now;
}
