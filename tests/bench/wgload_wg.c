/* SPDX-License-Identifier: Apache-2.0
 *
 * WireGuard peers of the load generator, one or many behind one socket: the key exchange is
 * core/wg's. They are the initiators; what the far end initiates or sends is not answered. Timers
 * run between the runs only, which are short. A session is good for some time and made anew before
 * a run that it would not last for; or else, where that is what is looked at (`renew`), WireGuard's
 * own timers renew it.
 *
 * A crowd's peers look for a path first. Their initiations come from an address each, 10.10.0.0/16,
 * which the caller has made local: over 100 initiations a second a gateway wants cookies, and then
 * lets 20 of one address in. The cookie comes back to that address, the answer by the path. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "tests/bench/wgload.h"
#include "base/bytes.h"
#include "core/wg/wg_peer.h"
#include "crypto/crypto.h"
#include "io/gso.h"
#include "io/loop.h"

#define AT_ONCE	  32 /* handshakes under way: fewer than make the far end ask for cookies */
#define WAIT_NS	  (20 * NS_PER_SEC)
#define RENEW_NS  (90 * NS_PER_SEC) /* a session older than this is renewed before a run */
#define IDX_PEERS WGL_PEERS_MAX	    /* the low bits of an index are its peer */
/* Between a crowd's initiations: a gateway owes 16 cookies at a time. */
#define PACE_NS (NS_PER_SEC / 800)
#define CROWD_NS \
	(165 *   \
	 NS_PER_SEC) /* a crowd's sessions are used while they can be: making them takes long */
#define DGRAM_MAX 2048

struct wg_one {
	struct wg_local local;
	struct wg_peer peer;
	uint32_t gen;		  /* of its indices */
	uint32_t current;	  /* index of the session to send on; 0: none */
	uint64_t birth_ns;	  /* of that */
	uint64_t told;		  /* its counter when the timers last heard of it */
	struct wgl_session fresh; /* announced, not current yet */
	uint64_t fresh_birth_ns;
	uint32_t fresh_idx;
	bool asked; /* in the present round of handshakes */
};

struct wg_all {
	struct wgl_link *l;
	struct wgl_wg_cfg cfg;
	struct gso_sock sock;
	struct wg_one *one;
	int many;	      /* a crowd's: sends from the address of each; -1: none */
	uint64_t initiate_ns; /* when the next of a crowd may */
	struct wgl_renewed renewed;
};

void wgl_wg_priv(const struct wgl_wg_cfg *cfg, uint32_t i, uint8_t priv[32])
{
	uint8_t no[4];
	const struct crypto_span span = {no, sizeof(no)};

	if (!i) {
		memcpy(priv, cfg->priv, 32);
		return;
	}
	be32_put(no, i);
	blake2s(cfg->priv, 32, &span, 1, priv, 32);
	x25519_clamp(priv);
}

struct ipaddr wgl_wg_address(const struct wgl_wg_cfg *cfg, uint32_t i)
{
	struct ipaddr a = cfg->address;

	be32_put(a.b, be32_get(a.b) + i);
	return a;
}

static void on_current(struct wg_all *a, struct wg_one *o, struct wgl_session *s)
{
	const uint64_t age = time_since(o->birth_ns, loop_now());

	if (o->current) {
		a->renewed.n++;
		a->renewed.sum_ns += age;
		if (a->renewed.oldest_ns < age)
			a->renewed.oldest_ns = age;
	}
	*s = o->fresh;
	o->told = 0;
	o->current = o->fresh_idx;
	o->birth_ns = o->fresh_birth_ns;
}

static void on_event(struct wg_all *a, uint32_t i, const struct wg_event *e)
{
	struct wg_one *o = &a->one[i];
	struct wgl_session *s = &a->l->sessions[i];

	switch (e->type) {
	case WG_EV_SESSION:
		o->fresh_idx = e->local_idx;
		o->fresh = (struct wgl_session){.remote_idx = e->remote_idx, .src = s->src};
		memcpy(o->fresh.key, e->keys.send, 32);
		o->fresh_birth_ns = e->birth_ns;
		break;
	case WG_EV_SESSION_CURRENT:
		if (e->local_idx == o->fresh_idx)
			on_current(a, o, s);
		break;
	case WG_EV_SESSION_IDLE:
	case WG_EV_SESSION_DEAD:
		a->renewed.lapsed += e->local_idx == o->current;
		if (e->local_idx == o->current)
			o->current = 0;
		break;
	case WG_EV_NONE:
	case WG_EV_INDEX_RELEASED:
	case WG_EV_KEEPALIVE:
	case WG_EV_HANDSHAKE_DONE:
	case WG_EV_EXPIRED:
		break;
	}
}

/* From 10.10.0.0/16. */
static void send_own(const struct wg_all *a, uint32_t i, const struct wg_tx *tx)
{
	const struct in_addr from = {htonl(0x0a0a0000u + i)};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(struct in_pktinfo))];
	} ctl = {.head = {.cmsg_level = IPPROTO_IP,
			  .cmsg_type = IP_PKTINFO,
			  .cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo))}};
	struct iovec iov = {(void *)(uintptr_t)tx->buf, tx->len};
	struct msghdr m = {.msg_name = &a->l->to,
			   .msg_namelen = a->l->to_len,
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &ctl,
			   .msg_controllen = sizeof(ctl)};

	memcpy(CMSG_DATA(&ctl.head), &(struct in_pktinfo){.ipi_spec_dst = from},
	       sizeof(struct in_pktinfo));
	if (sendmsg(a->many, &m, 0) < 0)
		wgl_die("send", errno);
}

static void send_one(const struct wg_all *a, uint32_t i, const struct wg_tx *tx)
{
	if (a->many >= 0 && wg_msg_classify(tx->buf, (uint32_t)tx->len) == WG_MSG_INITIATION)
		send_own(a, i, tx);
	else if (sendto(a->sock.fd, tx->buf, tx->len, 0, &a->l->to.sa, a->l->to_len) < 0)
		wgl_die("send", errno);
}

static void drain(struct wg_all *a, uint32_t i, uint64_t now)
{
	struct wg_one *o = &a->one[i];
	struct wg_event e;
	struct wg_tx tx;

	for (;;) {
		while (wg_peer_poll_event(&o->peer, &e)) {
			on_event(a, i, &e);
			crypto_wipe(&e, sizeof(e));
		}
		if (wg_peer_wants_index(&o->peer) &&
		    wg_peer_give_index(&o->peer, ++o->gen * IDX_PEERS + i))
			wgl_die("index", EEXIST);
		if (!wg_peer_poll_tx(&o->peer, &o->local, &tx, now))
			return;
		send_one(a, i, &tx);
	}
}

static void take(struct wg_all *a, const uint8_t *msg, size_t len, uint64_t now)
{
	const enum wg_msg_type type = wg_msg_classify(msg, (uint32_t)len);
	const uint32_t i = wg_msg_receiver(type, msg) % IDX_PEERS;
	struct wg_one *o = &a->one[i];
	struct wg_tx reply;

	if (type == WG_MSG_NONE || type == WG_MSG_INITIATION || i >= a->cfg.peers)
		return;
	if (type == WG_MSG_COOKIE)
		wg_peer_rx_cookie(&o->peer, msg, len, now);
	else if (type ==
		 WG_MSG_DATA) /* a keepalive: taken as heard, its tag does not matter here */
		wg_peer_on_data_received(&o->peer, le32_get(msg + 4), true, now, now);
	else if (wg_local_admit(&o->local, msg, len, &a->cfg.endpoint.ip, &reply, now) == WG_RX_OK)
		wg_peer_rx_response(&o->peer, &o->local, msg, len, now);
	drain(a, i, now);
}

static void receive_at(struct wg_all *a, int fd)
{
	union sockaddr_any sa;
	socklen_t sa_len = sizeof(sa);
	uint8_t msg[DGRAM_MAX];
	struct endpoint from;
	ssize_t n;

	while ((n = recvfrom(fd, msg, sizeof(msg), MSG_DONTWAIT, &sa.sa, &sa_len)) > 0) {
		if (!sockaddr_to_endpoint(&sa, &from) && endpoint_eq(&from, &a->cfg.endpoint) &&
		    !(a->cfg.crowd && wgl_crowd_take(a->cfg.crowd, msg, (size_t)n, loop_now())))
			take(a, msg, (size_t)n, loop_now());
		sa_len = sizeof(sa);
	}
}

static void receive(struct wg_all *a, int wait_ms)
{
	struct pollfd p[] = {{.fd = a->sock.fd, .events = POLLIN},
			     {.fd = a->many, .events = POLLIN}};

	if (poll(p, 2, wait_ms) <= 0)
		return;
	receive_at(a, a->sock.fd);
	if (a->many >= 0)
		receive_at(a, a->many);
}

static bool is_good(const struct wg_all *a, const struct wg_one *o, uint64_t now)
{
	return o->current && (a->cfg.renew ||
			      time_since(o->birth_ns, now) < (a->cfg.crowd ? CROWD_NS : RENEW_NS));
}

static bool all_good(const struct wg_all *a, uint32_t from, uint32_t to)
{
	while (from < to && is_good(a, &a->one[from], loop_now()))
		from++;
	return from == to;
}

/* May peer i begin a handshake now? A crowd's needs a path, and they take turns. */
static bool may_initiate(struct wg_all *a, uint32_t i, uint64_t now)
{
	if (!a->cfg.crowd)
		return true;
	wgl_crowd_begin(a->cfg.crowd, a->l, i, now);
	if (!wgl_crowd_has_path(a->cfg.crowd, i) || now < a->initiate_ns)
		return false;
	/* Behind by a little it catches up, so that the pace is kept. */
	if (a->initiate_ns + 10 * PACE_NS < now)
		a->initiate_ns = now;
	a->initiate_ns += PACE_NS;
	return true;
}

/* Handshakes of those in [from, to) that need one. */
static void connect_some(struct wg_all *a, uint32_t from, uint32_t to)
{
	const uint64_t end = loop_now() + WAIT_NS + 8 * PACE_NS * (to - from);

	for (uint32_t i = from; i < to; i++)
		a->one[i].asked = false;
	while (!all_good(a, from, to)) {
		for (uint32_t i = from; i < to; i++) {
			const uint64_t now = loop_now();

			if (!is_good(a, &a->one[i], now) && !a->one[i].asked &&
			    may_initiate(a, i, now)) {
				wg_peer_initiate(&a->one[i].peer, now);
				a->one[i].asked = true;
			}
			wg_peer_timeout(&a->one[i].peer, now);
			drain(a, i, now);
		}
		receive(a, a->cfg.crowd ? 2 : 20);
		if (a->cfg.crowd)
			wgl_crowd_timeout(a->cfg.crowd, loop_now());
		if (loop_now() > end)
			wgl_die("no handshake", ETIMEDOUT);
	}
}

static void ready(struct wgl_link *l)
{
	struct wg_all *a = l->ctx;
	const uint32_t group = a->cfg.crowd ? l->n : AT_ONCE;

	receive(a, 0);
	if (a->cfg.crowd)
		wgl_crowd_timeout(a->cfg.crowd, loop_now());
	for (uint32_t i = 0; i < l->n; i += group)
		connect_some(a, i, i + group < l->n ? i + group : l->n);
}

static void serve(struct wgl_link *l, uint64_t until, struct wgl_renewed *out)
{
	struct wg_all *a = l->ctx;

	do {
		receive(a, 10);
		if (a->cfg.crowd)
			wgl_crowd_timeout(a->cfg.crowd, loop_now());
		for (uint32_t i = 0; i < l->n; i++) {
			wg_peer_timeout(&a->one[i].peer, loop_now());
			drain(a, i, loop_now());
		}
	} while (loop_now() < until);
	*out = a->renewed;
}

/* What was sent: timers count from it. Not a crowd's between short runs, or all would renew at once
 * what was not answered. */
static void settle(struct wgl_link *l)
{
	struct wg_all *a = l->ctx;
	const uint64_t now = loop_now();

	for (uint32_t i = 0; i < l->n; i++) {
		struct wg_one *o = &a->one[i];

		if ((!a->cfg.crowd || a->cfg.renew) && o->current &&
		    l->sessions[i].counter > o->told)
			wg_peer_on_data_sent(&o->peer, o->current, false, now, now);
		o->told = l->sessions[i].counter;
		wg_peer_timeout(&o->peer, now);
		drain(a, i, now);
	}
	receive(a, 0);
}

static void close_all(struct wgl_link *l)
{
	struct wg_all *a = l->ctx;

	for (uint32_t i = 0; i < l->n; i++) {
		wg_peer_fini(&a->one[i].peer);
		wg_local_fini(&a->one[i].local);
	}
	gso_sock_close(&a->sock);
	if (a->many >= 0)
		close(a->many);
	if (a->cfg.crowd)
		wgl_crowd_free(a->cfg.crowd);
	free(a->one);
	free(l->sessions);
	free(a);
}

void wgl_wg_open(struct wgl_link *l, const struct wgl_wg_cfg *cfg)
{
	struct gso_sock_cfg sock = {
		.bind = cfg->local, .no_gro = true, .rcvbuf = 8u << 20, .sndbuf = 8u << 20};
	struct wg_peer_cfg peer = {.may_initiate = true, .times = wg_times_default()};
	struct wg_all *a = calloc(1, sizeof(*a));
	uint8_t seed[64], priv[32];
	struct io_err err = {""};

	*l = (struct wgl_link){.n = cfg->peers, .ready = ready, .settle = settle, .serve = serve};
	l->close = close_all;
	l->ctx = a;
	l->sessions = calloc(cfg->peers, sizeof(*l->sessions));
	if (!a || !l->sessions || !(a->one = calloc(cfg->peers, sizeof(*a->one))))
		wgl_die("memory", ENOMEM);
	a->l = l;
	a->cfg = *cfg;
	if (!sock.bind.ip.family)
		sock.bind.ip.family = cfg->endpoint.ip.family;
	l->to_len = sockaddr_from_endpoint(&cfg->endpoint, &l->to);
	if (gso_sock_open(&a->sock, &sock, &err)) {
		fprintf(stderr, "h_wgload: %s\n", err.msg);
		exit(1);
	}
	l->fd = a->sock.fd;
	a->many = cfg->crowd ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
	if (cfg->crowd && a->many < 0)
		wgl_die("socket", errno);
	memcpy(peer.remote_pub, cfg->remote_pub, 32);
	memcpy(peer.psk, cfg->psk, 32);
	for (uint32_t i = 0; i < cfg->peers; i++) {
		struct wg_one *o = &a->one[i];

		if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
			wgl_die("random", errno);
		wgl_wg_priv(cfg, cfg->first + i, priv);
		l->sessions[i].src = wgl_wg_address(cfg, cfg->first + i);
		if (cfg->crowd) {
			const struct wgl_member *m = wgl_crowd_member(cfg->crowd, i);

			memcpy(peer.remote_pub, m->remote_pub, 32);
			memcpy(peer.psk, m->psk, 32);
			l->sessions[i].src = m->address;
		}
		wg_local_init(&o->local, priv, seed, loop_wall(), loop_now());
		if (wg_peer_init(&o->peer, &o->local, &peer, seed + 32, loop_now()))
			wgl_die("the peer's public key", EINVAL);
	}
	crypto_wipe(priv, sizeof(priv));
}
