/* SPDX-License-Identifier: Apache-2.0
 *
 * Receiving trains of datagrams; the contract is in gso.h. */
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include "io/gso.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

union gro_ctrl {
	struct cmsghdr align;
	uint8_t b[CMSG_SPACE(sizeof(struct in6_pktinfo)) + 2 * CMSG_SPACE(sizeof(int))];
};

struct gro_rx {
	struct mmsghdr hdr[GRO_BATCH];
	struct iovec iov[GRO_BATCH];
	union sockaddr_any name[GRO_BATCH];
	union gro_ctrl ctrl[GRO_BATCH];
	struct gro_msg msg[GRO_BATCH];
	size_t dirty; /* headers the last call may have changed */
	uint8_t *buf;
};

struct gro_rx *gro_rx_new(void)
{
	struct gro_rx *rx = calloc(1, sizeof(*rx));

	if (!rx)
		return NULL;
	rx->buf = malloc((size_t)GRO_BATCH * GRO_BUF_LEN);
	if (!rx->buf) {
		free(rx);
		return NULL;
	}
	for (size_t i = 0; i < GRO_BATCH; i++) {
		rx->iov[i] = (struct iovec){rx->buf + i * GRO_BUF_LEN, GRO_BUF_LEN};
		rx->hdr[i].msg_hdr = (struct msghdr){.msg_name = &rx->name[i],
						     .msg_iov = &rx->iov[i],
						     .msg_iovlen = 1,
						     .msg_control = &rx->ctrl[i]};
	}
	rx->dirty = GRO_BATCH;
	return rx;
}

void gro_rx_free(struct gro_rx *rx)
{
	if (rx)
		free(rx->buf);
	free(rx);
}

static void ctrl_read(struct msghdr *h, struct gro_msg *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		const void *p = CMSG_DATA(c);
		int v;

		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			memcpy(&v, p, sizeof(v));
			m->seg = v > 0 ? (uint32_t)v : m->len;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, p, sizeof(info));
			m->local = ipaddr_from(4, &info.ipi_addr);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, p, sizeof(info));
			m->local = ipaddr_from(6, &info.ipi6_addr);
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			m->ecn = *(const uint8_t *)p & 3;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			memcpy(&v, p, sizeof(v));
			m->ecn = (uint8_t)(v & 3);
		}
	}
}

size_t gro_recv(struct gro_rx *rx, int fd, size_t max, struct gro_msg **out)
{
	size_t n = 0;
	int got;

	*out = rx->msg;
	for (size_t i = 0; i < rx->dirty; i++) {
		rx->hdr[i].msg_hdr.msg_namelen = sizeof(rx->name[i]);
		rx->hdr[i].msg_hdr.msg_controllen = sizeof(rx->ctrl[i]);
		rx->hdr[i].msg_hdr.msg_flags = 0;
	}
	got = recvmmsg(fd, rx->hdr, (unsigned)(max < GRO_BATCH ? max : GRO_BATCH), MSG_DONTWAIT,
		       NULL);
	rx->dirty = got < 0 ? GRO_BATCH : (size_t)got + 1 < GRO_BATCH ? (size_t)got + 1 : GRO_BATCH;
	for (int i = 0; i < got; i++) {
		struct gro_msg *m = &rx->msg[n];

		*m = (struct gro_msg){.data = rx->iov[i].iov_base, .len = rx->hdr[i].msg_len};
		m->seg = m->len;
		m->truncated = rx->hdr[i].msg_hdr.msg_flags & MSG_TRUNC;
		if (sockaddr_to_endpoint(&rx->name[i], &m->remote) < 0)
			continue;
		ctrl_read(&rx->hdr[i].msg_hdr, m);
		n++;
	}
	return n;
}
