/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests over one blocking rtnetlink socket. */
#include "io/nl.h"
#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#define TX_BUF_LEN 1024 /* our requests are a header and a few attributes */

struct nl {
	struct mnl_socket *sock;
	uint32_t seq;
	uint32_t portid;
	union {
		struct nlmsghdr align;
		uint8_t b[TX_BUF_LEN];
	} tx;
	union {
		struct nlmsghdr align;
		uint8_t b[NL_BUF_LEN];
	} rx;
};

struct reply {
	nl_msg_fn fn;
	void *arg;
	int rc;
};

int nl_open(struct nl **out, struct io_err *err)
{
	struct nl *nl = calloc(1, sizeof(*nl));
	struct timeval wait = {.tv_sec = 5};
	int rc;

	*out = NULL;
	if (!nl)
		return io_fail(err, -ENOMEM, "no memory for rtnetlink");
	nl->sock = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!nl->sock || mnl_socket_bind(nl->sock, 0, MNL_SOCKET_AUTOPID) < 0) {
		rc = io_fail(err, -errno, "rtnetlink socket: %s", strerror(errno));
		nl_close(nl);
		return rc;
	}
	/* The kernel answers at once; should it ever not, a hung control thread is the worse
	 * failure. */
	setsockopt(mnl_socket_get_fd(nl->sock), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	nl->portid = mnl_socket_get_portid(nl->sock);
	nl->seq = (uint32_t)time(NULL);
	*out = nl;
	return 0;
}

void nl_close(struct nl *nl)
{
	if (!nl)
		return;
	if (nl->sock)
		mnl_socket_close(nl->sock);
	free(nl);
}

struct nlmsghdr *nl_begin(struct nl *nl, uint16_t type, uint16_t flags, size_t head_len, void *head)
{
	struct nlmsghdr *msg = mnl_nlmsg_put_header(nl->tx.b);
	void *extra;

	msg->nlmsg_type = type;
	msg->nlmsg_flags = NLM_F_REQUEST | flags;
	if ((flags & NLM_F_DUMP) != NLM_F_DUMP) /* two bits, which mean other things alone */
		msg->nlmsg_flags |= NLM_F_ACK;
	msg->nlmsg_seq = ++nl->seq;
	extra = mnl_nlmsg_put_extra_header(msg, head_len);
	memset(extra, 0, head_len);
	*(void **)head = extra;
	return msg;
}

static int reply_one(const struct nlmsghdr *msg, void *arg)
{
	struct reply *r = arg;

	if (r->fn && r->rc == 0) {
		int rc = r->fn(msg, r->arg);

		if (rc < 0)
			r->rc = rc; /* keep reading: the socket must be empty for the next request
				     */
	}
	return MNL_CB_OK;
}

int nl_run(struct nl *nl, struct nlmsghdr *msg, nl_msg_fn fn, void *arg)
{
	struct reply r = {.fn = fn, .arg = arg};
	int rc;

	if (mnl_socket_sendto(nl->sock, msg, msg->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t n = mnl_socket_recvfrom(nl->sock, nl->rx.b, sizeof(nl->rx));

		if (n < 0 && errno == EINTR) {
			rc = MNL_CB_OK;
			continue;
		}
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		/* A reply to an earlier, abandoned request has another number: passed over. */
		rc = mnl_cb_run(nl->rx.b, (size_t)n, nl->seq, nl->portid, reply_one, &r);
		if (rc < 0 && errno == EPROTO)
			rc = MNL_CB_OK;
		if (rc < 0)
			return errno == EINTR ? -EAGAIN
					      : -errno; /* EINTR: a dump that changed meanwhile */
	} while (rc > MNL_CB_STOP);
	return r.rc;
}
