/* SPDX-License-Identifier: Apache-2.0
 *
 * Handshakes a second. Initiations of many peers are written before the clock starts, and of the
 * answers only the index is looked at: the far end does nearly all the work. A closed loop: a few
 * are under way at a time, so that the far end is busy but not "under load", when it would ask for
 * cookies instead.
 *
 * penstock-gateway calls it load when 100 came in a second. A crowd's peers therefore have an
 * address each, and a cookie before the clock starts; answers come by the path ICE found. It lets
 * 20 a second of one address in, or rather of those that share a bucket, which a cookie's first
 * bytes name: peers for whom there is no room there stay out.
 *
 * The model: X25519 alone, four operations a handshake at the answering end (es, its ephemeral key,
 * ee, se), measured on the generator's core just before and just after. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "tests/bench/wgload.h"
#include "base/bytes.h"
#include "core/wg/cookie.h"
#include "core/wg/wg_local.h"
#include "crypto/crypto.h"
#include "io/gso.h"
#include "io/loop.h"

#define EACH_NS (30 * NS_PER_MS) /* between two initiations of a peer; WireGuard's limit is 20 */
#define CROWD_NS                                                                         \
	(250 * NS_PER_MS) /* likewise: 20 a second for the addresses that share a bucket \
			   */
#define MOST	    10000 /* initiations written for a second */
#define TRIES	    8	  /* for a cookie */
#define LOST_NS	    (500 * NS_PER_MS)
#define X25519_N    400
#define X25519_EACH 4 /* of a handshake, for the end that answers */
#define SHARE	    5 /* peers of a bucket: 20 initiations a second */

struct hs {
	struct wg_msg_initiation *msg;
	uint64_t *sent_ns; /* by message */
	bool *answered;
	uint64_t n, next;
	uint64_t each_ns;
	struct cookie_jar *jar;	 /* by peer */
	struct gso_sock *source; /* likewise, in a crowd */
	bool *out;		 /* likewise: it sends nothing more */
	const struct wgl_wg_cfg *cfg;
	struct gso_sock sock;
	int fd; /* where answers come */
	union sockaddr_any to;
	socklen_t to_len;
	uint64_t done, lost, cookies, ahead; /* ahead: sent and neither answered nor lost */
	uint64_t rtt_ns;
	uint32_t n_in; /* peers that send */
};

/* Initiation k is of peer k % peers, with a stamp that rises. Its macs are put when it is sent. */
static void write_peer(struct hs *h, uint32_t i)
{
	const struct wgl_member *m = h->cfg->crowd ? wgl_crowd_member(h->cfg->crowd, i) : NULL;
	const uint8_t *pub = m ? m->remote_pub : h->cfg->remote_pub;
	uint8_t priv[32], seed[32], stamp[WG_STAMP_LEN];
	struct noise_waiting st;
	struct noise_remote r;
	struct wg_local l;

	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
		wgl_die("random", errno);
	wgl_wg_priv(h->cfg, i, priv);
	wg_local_init(&l, priv, seed, loop_wall(), 0);
	cookie_jar_init(&h->jar[i], pub);
	if (noise_remote_init(&r, &l.key, pub, m ? m->psk : h->cfg->psk))
		wgl_die("the peer's public key", EINVAL);
	for (uint64_t k = i; k < h->n; k += h->cfg->peers) {
		wg_local_stamp(&l, stamp, k / h->cfg->peers * EACH_NS);
		if (noise_initiation_write(&h->msg[k], &st, &l.key, &r, (uint32_t)k + 1, stamp,
					   &l.rng))
			wgl_die("initiation", EINVAL);
	}
	wg_local_fini(&l);
	crypto_wipe(priv, sizeof(priv));
}

static void put(struct hs *h, uint64_t k, uint64_t now)
{
	const uint64_t i = k % h->cfg->peers;
	struct wg_msg_initiation *m = &h->msg[k];

	cookie_stamp(&h->jar[i], m, WG_INITIATION_LEN, 100 * NS_PER_SEC, now);
	h->sent_ns[k] = now;
	h->ahead++;
	if (sendto(h->source ? h->source[i].fd : h->fd, m, WG_INITIATION_LEN, 0, &h->to.sa,
		   h->to_len) < 0)
		wgl_die("send", errno);
}

static void take(struct hs *h, const uint8_t *msg, size_t len, uint64_t now)
{
	const enum wg_msg_type type = wg_msg_classify(msg, (uint32_t)len);
	const uint64_t k = (uint64_t)wg_msg_receiver(type, msg) - 1;

	if (type == WG_MSG_COOKIE)
		h->cookies++;
	if (type != WG_MSG_RESPONSE || k >= h->n || h->answered[k] || !h->sent_ns[k])
		return;
	h->answered[k] = true;
	h->rtt_ns += now - h->sent_ns[k];
	h->done++;
	h->ahead--;
}

static void receive(struct hs *h, int wait_ms)
{
	struct pollfd p = {.fd = h->fd, .events = POLLIN};
	uint8_t msg[2048];
	ssize_t n;

	if (wait_ms && poll(&p, 1, wait_ms) <= 0)
		return;
	while ((n = recv(h->fd, msg, sizeof(msg), MSG_DONTWAIT)) > 0)
		take(h, msg, (size_t)n, loop_now());
}

/* The oldest of those under way, when it is too old, is lost. */
static void forget(struct hs *h, uint64_t *oldest, uint64_t next, uint64_t now)
{
	for (; *oldest < next; ++*oldest) {
		if (h->answered[*oldest])
			continue;
		if (now - h->sent_ns[*oldest] < LOST_NS)
			return;
		h->answered[*oldest] = true;
		h->lost++;
		h->ahead--;
	}
}

/* X25519 operations a second of this core's time: what handshakes are made of. */
static double x25519_rate(void)
{
	uint8_t k[32] = {1}, p[32] = {9};
	struct timespec from, to;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
	for (int i = 0; i < X25519_N; i++)
		if (x25519(p, k, p))
			wgl_die("X25519", EINVAL);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
	return X25519_N * 1e9 /
	       ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec));
}

static void pump(struct hs *h, uint32_t peers, uint32_t window, uint64_t end)
{
	uint64_t next = h->next, oldest = h->next, now = loop_now();

	while (now < end && (next < h->n || h->ahead)) {
		bool held = false;

		while (h->ahead < window && next < h->n && !held) {
			if (h->out[next % peers]) {
				h->answered[next++] = true;
				continue;
			}
			held = next >= peers && now < h->sent_ns[next - peers] + h->each_ns;
			if (held)
				break;
			put(h, next++, now);
		}
		receive(h, held ? 1 : 5);
		now = loop_now();
		forget(h, &oldest, next, now);
	}
}

/* ---- a crowd's cookies ---- */

static uint32_t cookies_take(struct hs *h)
{
	uint32_t without = 0;
	uint8_t msg[2048];
	ssize_t n;

	for (uint32_t i = 0; i < h->cfg->peers; i++) {
		while ((n = recv(h->source[i].fd, msg, sizeof(msg), MSG_DONTWAIT)) > 0)
			if (wg_msg_classify(msg, (uint32_t)n) == WG_MSG_COOKIE &&
			    cookie_reply_read(&h->jar[i], (const void *)msg, loop_now()))
				h->cookies++;
		without += !h->jar[i].has_cookie;
	}
	return without;
}

/* Everybody asks until nearly all have one: those answered at once do not. */
static void cookies_get(struct hs *h)
{
	const struct timespec pause = {.tv_nsec = 300000000};
	const uint32_t peers = h->cfg->peers;
	uint32_t without = peers;

	for (int try = 0; try < TRIES && without > peers / 50; try++, h->next += peers) {
		for (uint32_t i = 0; i < peers; i++) {
			if (!h->jar[i].has_cookie)
				put(h, h->next + i, loop_now());
			if (i % 8 == 7) /* the gateway owes 16 replies at a time */
				nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		}
		nanosleep(&pause, NULL);
		without = cookies_take(h);
	}
	receive(h, 0);
	h->done = h->ahead = h->rtt_ns = 0;
	if (without > peers / 2)
		wgl_die("cookies", ETIMEDOUT);
}

/* Who there is no room for, and who has no cookie, sends nothing. */
static uint32_t choose(struct hs *h)
{
	unsigned share[WG_LIMIT_BUCKETS] = {0};
	uint32_t in = 0;

	for (uint32_t i = 0; i < h->cfg->peers; i++) {
		const struct cookie_jar *jar = &h->jar[i];

		h->out[i] = !jar->has_cookie ||
			    share[le32_get(jar->cookie) % WG_LIMIT_BUCKETS]++ >= SHARE;
		in += !h->out[i];
	}
	return in;
}

/* Peer i's own address: 10.10.0.0/16, which the caller has made local. */
static void sources_open(struct hs *h)
{
	struct io_err err = {""};

	h->source = calloc(h->cfg->peers, sizeof(*h->source));
	if (!h->source)
		wgl_die("memory", ENOMEM);
	for (uint32_t i = 0; i < h->cfg->peers; i++) {
		const struct gso_sock_cfg sock = {
			.bind.ip = ipaddr_v4(10, 10, (uint8_t)(i >> 8), (uint8_t)i),
			.no_gro = true};

		if (gso_sock_open(&h->source[i], &sock, &err)) {
			fprintf(stderr, "h_wgload: %s\n", err.msg);
			exit(1);
		}
	}
}

static void hs_open(struct hs *h, const struct wgl_wg_cfg *cfg, const struct wgl_link *l,
		    double seconds)
{
	const struct gso_sock_cfg sock = {.bind.ip.family = cfg->endpoint.ip.family,
					  .no_gro = true,
					  .rcvbuf = 8u << 20,
					  .sndbuf = 8u << 20};
	const uint64_t most = (uint64_t)(seconds * MOST);
	struct io_err err = {""};

	h->each_ns = l ? CROWD_NS : EACH_NS;
	h->n = (uint64_t)(seconds * 1e9 / (double)h->each_ns + 1) * cfg->peers;
	if (h->n > most)
		h->n = most;
	if (l)
		h->n += (uint64_t)TRIES * cfg->peers;
	h->cfg = cfg;
	h->msg = calloc(h->n, sizeof(*h->msg));
	h->sent_ns = calloc(h->n, sizeof(*h->sent_ns));
	h->answered = calloc(h->n, sizeof(*h->answered));
	h->jar = calloc(cfg->peers, sizeof(*h->jar));
	h->out = calloc(cfg->peers, sizeof(*h->out));
	if (!h->msg || !h->sent_ns || !h->answered || !h->jar || !h->out)
		wgl_die("memory", ENOMEM);
	h->to_len = sockaddr_from_endpoint(&cfg->endpoint, &h->to);
	if (gso_sock_open(&h->sock, &sock, &err)) {
		fprintf(stderr, "h_wgload: %s\n", err.msg);
		exit(1);
	}
	h->fd = l ? l->fd : h->sock.fd;
	for (uint32_t i = 0; i < cfg->peers; i++)
		write_peer(h, i);
	h->n_in = cfg->peers;
	if (l) {
		sources_open(h);
		cookies_get(h);
		h->n_in = choose(h);
	}
}

static void hs_close(struct hs *h)
{
	for (uint32_t i = 0; h->source && i < h->cfg->peers; i++)
		gso_sock_close(&h->source[i]);
	gso_sock_close(&h->sock);
	free(h->source);
	free(h->jar);
	free(h->out);
	free(h->msg);
	free(h->sent_ns);
	free(h->answered);
}

void wgl_handshakes(const struct wgl_wg_cfg *cfg, const struct wgl_link *l, uint32_t window,
		    double seconds, int pid)
{
	struct hs h = {.n = 0};
	struct wgl_cpu before, cpu;
	double took, us, x25519_s;
	uint64_t start;

	hs_open(&h, cfg, l, seconds);
	x25519_s = x25519_rate();
	wgl_cpu_now(pid, &before);
	start = loop_now();
	pump(&h, cfg->peers, window, start + (uint64_t)(seconds * 1e9));
	took = (double)(loop_now() - start) / 1e9;
	wgl_cpu_since(&before, pid, &cpu);
	x25519_s = (x25519_s + x25519_rate()) / 2;
	us = h.done ? cpu.process_ns / (double)h.done / 1e3 : 0;
	printf("{\"what\":\"handshakes\",\"peers\":%u,\"window\":%u,\"seconds\":%.2f,"
	       "\"completed\":%llu,\"per_s\":%.0f,\"lost\":%llu,\"cookies\":%llu,"
	       "\"rtt_us\":%.0f,\"gateway_us\":%.1f,\"x25519_per_s\":%.0f,"
	       "\"x25519_each\":%d,\"model_per_s\":%.0f,\"model_us\":%.1f}\n",
	       h.n_in, window, took, (unsigned long long)h.done, (double)h.done / took,
	       (unsigned long long)h.lost, (unsigned long long)h.cookies,
	       h.done ? (double)h.rtt_ns / (double)h.done / 1e3 : 0, us, x25519_s, X25519_EACH,
	       x25519_s / X25519_EACH, X25519_EACH * 1e6 / x25519_s);
	hs_close(&h);
}
