/* SPDX-License-Identifier: Apache-2.0
 *
 * Handshakes a second. Initiations of many peers are written before the clock starts, and of the
 * answers only the index is looked at: the far end does nearly all the work. A closed loop: a few
 * are under way at a time, so that the far end is busy but not "under load", when it would ask for
 * cookies instead. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "tests/bench/wgload.h"
#include "base/bytes.h"
#include "core/wg/cookie.h"
#include "core/wg/wg_local.h"
#include "crypto/crypto.h"
#include "io/gso.h"
#include "io/loop.h"

#define EACH_NS	 (30 * NS_PER_MS) /* between two initiations of a peer; WireGuard's limit is 20 */
#define LOST_NS	 (500 * NS_PER_MS)
#define X25519_N 200

struct hs {
	struct wg_msg_initiation *msg;
	uint64_t *sent_ns; /* by message */
	bool *answered;
	uint64_t n;
	struct gso_sock sock;
	union sockaddr_any to;
	socklen_t to_len;
	uint64_t done, lost, cookies, ahead; /* ahead: sent and neither answered nor lost */
	uint64_t rtt_ns;
};

/* Initiation k is of peer k % peers, with a stamp that rises. */
static void write_all(struct hs *h, const struct wgl_wg_cfg *cfg)
{
	struct cookie_jar jar;
	uint8_t priv[32], seed[64];

	for (uint32_t i = 0; i < cfg->peers; i++) {
		struct noise_waiting st;
		struct noise_remote r;
		struct wg_local l;

		if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
			wgl_die("random", errno);
		wgl_wg_priv(cfg, i, priv);
		wg_local_init(&l, priv, seed, loop_wall(), 0);
		cookie_jar_init(&jar, cfg->remote_pub);
		if (noise_remote_init(&r, &l.key, cfg->remote_pub, cfg->psk))
			wgl_die("the peer's public key", EINVAL);
		for (uint64_t k = i; k < h->n; k += cfg->peers) {
			uint8_t stamp[WG_STAMP_LEN];

			wg_local_stamp(&l, stamp, k / cfg->peers * EACH_NS);
			if (noise_initiation_write(&h->msg[k], &st, &l.key, &r, (uint32_t)k + 1,
						   stamp, &l.rng))
				wgl_die("initiation", EINVAL);
			cookie_stamp(&jar, &h->msg[k], WG_INITIATION_LEN, 0, 0);
		}
		wg_local_fini(&l);
	}
	crypto_wipe(priv, sizeof(priv));
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
	struct pollfd p = {.fd = h->sock.fd, .events = POLLIN};
	uint8_t msg[2048];
	ssize_t n;

	if (wait_ms && poll(&p, 1, wait_ms) <= 0)
		return;
	while ((n = recv(h->sock.fd, msg, sizeof(msg), MSG_DONTWAIT)) > 0)
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

/* X25519 operations a second on this core: what handshakes are made of. */
static double x25519_rate(void)
{
	uint8_t k[32] = {1}, p[32] = {9};
	const uint64_t start = loop_now();

	for (int i = 0; i < X25519_N; i++)
		if (x25519(p, k, p))
			wgl_die("X25519", EINVAL);
	return X25519_N * 1e9 / (double)(loop_now() - start);
}

static void pump(struct hs *h, uint32_t peers, uint32_t window, uint64_t end)
{
	uint64_t next = 0, oldest = 0, now = loop_now();

	while (now < end && (next < h->n || h->ahead)) {
		bool held = false;

		while (h->ahead < window && next < h->n && !held) {
			held = next >= peers && now < h->sent_ns[next - peers] + EACH_NS;
			if (held)
				break;
			h->sent_ns[next] = now;
			if (sendto(h->sock.fd, &h->msg[next], WG_INITIATION_LEN, 0, &h->to.sa,
				   h->to_len) < 0)
				wgl_die("send", errno);
			next++;
			h->ahead++;
		}
		receive(h, held ? 1 : 5);
		now = loop_now();
		forget(h, &oldest, next, now);
	}
}

void wgl_handshakes(const struct wgl_wg_cfg *cfg, uint32_t window, double seconds, int pid)
{
	const struct gso_sock_cfg sock = {
		.bind.ip.family = cfg->endpoint.ip.family, .rcvbuf = 8u << 20, .sndbuf = 8u << 20};
	struct hs h = {.n = (uint64_t)(seconds * 1e9 / EACH_NS) * cfg->peers};
	struct io_err err = {""};
	struct wgl_cpu before, cpu;
	uint64_t start;
	double took;

	h.msg = calloc(h.n, sizeof(*h.msg));
	h.sent_ns = calloc(h.n, sizeof(*h.sent_ns));
	h.answered = calloc(h.n, sizeof(*h.answered));
	if (!h.n || !h.msg || !h.sent_ns || !h.answered)
		wgl_die("memory", ENOMEM);
	h.to_len = sockaddr_from_endpoint(&cfg->endpoint, &h.to);
	if (gso_sock_open(&h.sock, &sock, &err)) {
		fprintf(stderr, "h_wgload: %s\n", err.msg);
		exit(1);
	}
	write_all(&h, cfg);
	wgl_cpu_now(pid, &before);
	start = loop_now();
	pump(&h, cfg->peers, window, start + (uint64_t)(seconds * 1e9));
	took = (double)(loop_now() - start) / 1e9;
	wgl_cpu_since(&before, pid, &cpu);
	printf("{\"what\":\"handshakes\",\"peers\":%u,\"window\":%u,\"seconds\":%.2f,"
	       "\"completed\":%llu,\"per_s\":%.0f,\"lost\":%llu,\"cookies\":%llu,"
	       "\"rtt_us\":%.0f,\"gateway_us\":%.1f,\"x25519_per_s\":%.0f}\n",
	       cfg->peers, window, took, (unsigned long long)h.done, (double)h.done / took,
	       (unsigned long long)h.lost, (unsigned long long)h.cookies,
	       h.done ? (double)h.rtt_ns / (double)h.done / 1e3 : 0,
	       h.done ? cpu.process_ns / (double)h.done / 1e3 : 0, x25519_rate());
	gso_sock_close(&h.sock);
	free(h.msg);
	free(h.sent_ns);
	free(h.answered);
}
