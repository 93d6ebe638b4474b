/* SPDX-License-Identifier: Apache-2.0
 *
 * Two tunnel UDP sockets of one machine for test_udp.c: the two system calls (sendmmsg and recvmmsg
 * of this program) are seen and bent, for kernels and devices that are not at hand; what was
 * committed is kept and compared with what comes. Not for two source files of one program. */
#ifndef PENSTOCK_TESTS_UNIT_UDP_RIG_H
#define PENSTOCK_TESTS_UNIT_UDP_RIG_H
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "io/udp.h"
#include "tests/t.h"
#include "tests/unit/udp_settle.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* ---- the system calls ---------------------------------------------------------------------------
 */

static struct {
	int refuse;	   /* errno for a message with UDP_SEGMENT, as first of a call */
	int block_after;   /* that many messages, then EAGAIN; < 0: never */
	unsigned merged;   /* such messages tried */
	unsigned longest;  /* datagrams of one message tried */
	size_t most_bytes; /* and bytes */
	unsigned calls;
	/* receiving: the first message's control data and flags as they come from the kernel */
	bool seg_change;
	int seg;
	int flags;
	int rx_errno;
	unsigned asked; /* messages of the last call */
} os;

static struct cmsghdr *cmsg_find(struct msghdr *h, int type)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c))
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == type)
			return c;
	return NULL;
}

int sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags)
{
	unsigned upto = 0;

	os.calls++;
	for (; upto < n; upto++) {
		struct msghdr *h = &m[upto].msg_hdr;
		size_t bytes = 0;

		if (os.block_after >= 0 && (unsigned)os.block_after <= upto)
			break;
		if (!cmsg_find(h, UDP_SEGMENT))
			continue;
		if (os.refuse)
			break;
		for (size_t i = 0; i < h->msg_iovlen; i++)
			bytes += h->msg_iov[i].iov_len;
		os.merged++;
		os.longest = h->msg_iovlen > os.longest ? (unsigned)h->msg_iovlen : os.longest;
		os.most_bytes = bytes > os.most_bytes ? bytes : os.most_bytes;
	}
	if (upto == 0) {
		errno = os.block_after == 0 ? EAGAIN : os.refuse;
		return -1;
	}
	if (os.block_after > 0)
		os.block_after -= (int)upto;
	return (int)syscall(SYS_sendmmsg, fd, m, upto, flags);
}

int recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *t)
{
	int got = os.rx_errno ? -1 : (int)syscall(SYS_recvmmsg, fd, m, n, flags, t);

	os.asked = n;
	if (os.rx_errno) {
		errno = os.rx_errno;
		os.rx_errno = 0;
	}
	for (int i = 0; i < got; i++) {
		struct cmsghdr *c = cmsg_find(&m[i].msg_hdr, UDP_GRO);

		if (os.seg_change && c)
			memcpy(CMSG_DATA(c), &os.seg, sizeof(os.seg));
		m[i].msg_hdr.msg_flags |= os.flags;
	}
	return got;
}

/* ---- two ends -----------------------------------------------------------------------------------
 */

#define SENT_MAX 4096

struct sent {
	struct ipaddr src;
	struct endpoint to;
	uint8_t ecn;
	size_t len;
	uint64_t seed; /* of its content */
};

static struct udp *a, *b;
static struct sent sent[SENT_MAX];
static size_t n_sent, n_heard;
static struct io_err err;

static struct endpoint end_of(const char *ip, uint16_t port)
{
	struct endpoint e = {.port = port};

	T_EQ(ipaddr_parse(ip, &e.ip), 0);
	return e;
}

static void ends_open(const struct udp_cfg *from, const struct udp_cfg *to)
{
	memset(&os, 0, sizeof(os));
	os.block_after = -1;
	n_sent = n_heard = 0;
	stay_here();
	T_EQ(udp_open(&a, from, &err), 0);
	T_EQ(udp_open(&b, to, &err), 0);
}

static void ends_close(void)
{
	udp_close(a);
	udp_close(b);
}

static void flush(void)
{
	udp_flush(a);
	settle();
}

static void content(uint8_t *p, size_t len, uint64_t seed)
{
	seed |= 1;
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)t_rand(&seed);
}

/* Queue a datagram where `room` says, by the three ways there are. */
static void put(const char *src, const struct endpoint *to, uint8_t ecn, size_t len)
{
	struct sent *s = &sent[n_sent];
	static uint8_t buf[UDP_BUF_LEN];
	uint8_t *p = buf;

	*s = (struct sent){.to = *to, .ecn = ecn, .len = len, .seed = n_sent * 77 + 5};
	if (src)
		T_EQ(ipaddr_parse(src, &s->src), 0);
	if (n_sent % 3 == 0)
		p = udp_reserve(a, to->ip.family);
	else if (n_sent % 3 == 1 && T(udp_room(a, to->ip.family, 1) == 1))
		p = udp_room_at(a, to->ip.family, 0);
	if (!T(p != NULL))
		return;
	content(p, len, s->seed);
	if (n_sent % 3 == 2)
		T_EQ(udp_send(a, src ? &s->src : NULL, to, ecn, buf, len), 0);
	else
		udp_commit(a, src ? &s->src : NULL, to, ecn, len);
	n_sent++;
}

static void check_one(const struct udp_dgram *d, int family)
{
	static uint8_t want[UDP_BUF_LEN];
	const struct sent *s = &sent[n_heard];

	if (!T(n_heard < n_sent))
		return;
	T_EQ(d->len, s->len);
	T_EQ(d->ecn, s->ecn);
	T_EQ(d->remote.port, udp_port(a, family));
	T(endpoint_eq(&d->local, &s->to));
	T(!s->src.family || ipaddr_eq(&d->remote.ip, &s->src));
	T(!d->truncated && d->ifindex != 0);
	content(want, s->len, s->seed);
	if (d->len == s->len)
		T_MEM(d->data, want, s->len);
	n_heard++;
}

/* All that is there; each datagram is overwritten, which must not harm the others. */
static void hear(int family)
{
	struct udp_dgram *d;
	bool more = true;

	settle();
	while (more) {
		size_t n = udp_recv(b, family, &d, &more);

		T(n <= UDP_RX_MAX);
		for (size_t i = 0; i < n; i++) {
			check_one(&d[i], family);
			memset(d[i].data, 0xee, d[i].len);
		}
		T(!udp_rx_held(b, family) || more);
	}
}

static void put_n(const struct endpoint *to, size_t n, size_t len)
{
	for (size_t i = 0; i < n; i++)
		put(NULL, to, 0, len);
}
#endif
