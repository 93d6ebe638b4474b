/* SPDX-License-Identifier: Apache-2.0
 *
 * Receiving datagrams; the contract is in udp.h. A message from the kernel is one datagram, or with
 * UDP_GRO several of one sender back to back, which are handed out as views into its buffer. What a
 * message says of itself may come from another machine's kernel (a guest's super-packet): it is
 * checked before it is believed. */
#include <errno.h>
#include <string.h>
#include "io/udp_internal.h"

/* What is read in one go stays in the cache until it has been worked on. */
#define RX_BYTES_AIM (256u << 10)
#define RX_ASK_MIN   4

void udp_rx_init(struct udp_sock *s)
{
	for (size_t i = 0; i < UDP_BATCH; i++) {
		s->rx_iov[i] = (struct iovec){s->rx_buf + i * UDP_MSG_STRIDE, UDP_MSG_LEN};
		s->rx_hdr[i].msg_hdr = (struct msghdr){
			.msg_name = &s->rx_name[i],
			.msg_iov = &s->rx_iov[i],
			.msg_iovlen = 1,
			.msg_control = &s->rx_ctrl[i],
		};
	}
	s->rx_ask = UDP_BATCH;
	udp_rx_reset(s);
}

void udp_rx_reset(struct udp_sock *s)
{
	s->rx_got = s->rx_next = 0;
	s->rx_off = 0;
	s->rx_bytes = s->rx_cut = 0;
	s->rx_full = false;
}

bool udp_rx_held(const struct udp *u, int family)
{
	const struct udp_sock *s = udp_sock_of_const(u, family);

	return s->rx_next < s->rx_got;
}

/* How many messages to ask for, by what those of the last call held: UDP_BATCH of single datagrams,
 * few of 64 KiB. */
static unsigned rx_ask(const struct udp_sock *s)
{
	size_t by_count = (size_t)UDP_RX_MAX * s->rx_got / s->rx_cut;
	size_t by_bytes = (size_t)RX_BYTES_AIM * s->rx_got / (s->rx_bytes + 1);
	size_t ask = by_count < by_bytes ? by_count : by_bytes;

	return ask < RX_ASK_MIN ? RX_ASK_MIN : ask > UDP_BATCH ? UDP_BATCH : (unsigned)ask;
}

/* The next messages, when all of the last have been handed out. */
static void rx_fetch(struct udp *u, struct udp_sock *s)
{
	int got;

	if (s->rx_cut)
		s->rx_ask = rx_ask(s);
	for (unsigned i = 0; i < s->rx_ask; i++) {
		s->rx_hdr[i].msg_hdr.msg_namelen = sizeof(s->rx_name[i]);
		s->rx_hdr[i].msg_hdr.msg_controllen = sizeof(s->rx_ctrl[i]);
	}
	got = recvmmsg(s->fd, s->rx_hdr, s->rx_ask, MSG_DONTWAIT, NULL);
	udp_rx_reset(s);
	if (got < 0) {
		if (errno != EAGAIN && errno != EINTR)
			u->stats.rx_errors++;
		return;
	}
	u->stats.rx_calls++;
	s->rx_got = (unsigned)got;
	s->rx_full = s->rx_got == s->rx_ask;
	for (unsigned i = 0; i < s->rx_got; i++)
		s->rx_bytes += s->rx_hdr[i].msg_len;
}

/* What the kernel says beside the payload; segment size 0: nothing of one. */
static void ctrl_read(struct msghdr *h, struct udp_dgram *d, int *seg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		const void *p = CMSG_DATA(c);

		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, p, sizeof(info));
			d->local.ip = ipaddr_from(4, &info.ipi_addr);
			d->ifindex = (uint32_t)info.ipi_ifindex;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, p, sizeof(info));
			d->local.ip = ipaddr_from(6, &info.ipi6_addr);
			d->ifindex = info.ipi6_ifindex;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			d->ecn = *(const uint8_t *)p & 3; /* IPv4 hands over one byte */
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			int tclass;

			memcpy(&tclass, p, sizeof(tclass));
			d->ecn = (uint8_t)(tclass & 3);
		} else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			memcpy(seg, p, sizeof(*seg));
			*seg = *seg > 0 ? *seg : -1;
		}
	}
}

/* Bytes of each datagram of a message of len: seg when that is sensible, else the whole is one. */
static size_t seg_len(struct udp *u, size_t len, int seg, int flags)
{
	size_t whole = len ? len : 1;

	if (!seg && !(flags & (MSG_TRUNC | MSG_CTRUNC)))
		return whole;
	if (seg <= 0 || (size_t)seg > whole || len > (size_t)seg * UDP_RX_MAX ||
	    flags & (MSG_TRUNC | MSG_CTRUNC)) {
		u->stats.rx_bad_merge++;
		return whole;
	}
	return (size_t)seg;
}

/* Read what message rx_next says. False: it says too little to be used. */
static bool message_open(struct udp *u, struct udp_sock *s)
{
	struct mmsghdr *m = &s->rx_hdr[s->rx_next];
	struct udp_dgram *d = &s->rx_of;
	int seg = 0;

	*d = (struct udp_dgram){.data = s->rx_iov[s->rx_next].iov_base, .len = m->msg_len};
	d->truncated = m->msg_hdr.msg_flags & MSG_TRUNC;
	ctrl_read(&m->msg_hdr, d, &seg);
	d->local.port = s->port;
	if (sockaddr_to_endpoint(&s->rx_name[s->rx_next], &d->remote) < 0 || !d->local.ip.family) {
		u->stats.rx_errors++; /* never seen: the kernel always says both */
		return false;
	}
	s->rx_seg = seg_len(u, d->len, seg, m->msg_hdr.msg_flags);
	if (s->rx_seg < d->len)
		u->stats.rx_merged++;
	return true;
}

/* Datagrams of message rx_next into out, cap at most. */
static size_t message_cut(struct udp *u, struct udp_sock *s, struct udp_dgram *out, size_t cap)
{
	const struct udp_dgram *of = &s->rx_of;
	size_t n = 0;

	if (!s->rx_off && !message_open(u, s)) {
		s->rx_next++;
		return 0;
	}
	do {
		struct udp_dgram *d = &out[n++];
		size_t left = of->len - s->rx_off;

		*d = *of;
		d->follows = n > 1;
		d->data += s->rx_off;
		d->len = left < s->rx_seg ? left : s->rx_seg;
		if (d->len > UDP_BUF_LEN) {
			d->len = UDP_BUF_LEN;
			d->truncated = true;
		}
		u->stats.rx_bytes += d->len;
		s->rx_off += s->rx_seg;
	} while (s->rx_off < of->len && n < cap);
	u->stats.rx_packets += n;
	if (s->rx_seg < of->len)
		u->stats.rx_segments += n;
	if (s->rx_off >= of->len) {
		s->rx_off = 0;
		s->rx_next++;
	}
	return n;
}

size_t udp_recv(struct udp *u, int family, struct udp_dgram **out, bool *more)
{
	struct udp_sock *s = udp_sock_of(u, family);
	size_t n = 0;

	*out = s->rx_dgram;
	*more = false;
	if (s->fd < 0)
		return 0;
	if (s->rx_next == s->rx_got)
		rx_fetch(u, s);
	while (s->rx_next < s->rx_got && n < UDP_RX_MAX)
		n += message_cut(u, s, &s->rx_dgram[n], UDP_RX_MAX - n);
	s->rx_cut += n;
	*more = s->rx_full || s->rx_next < s->rx_got;
	return n;
}
