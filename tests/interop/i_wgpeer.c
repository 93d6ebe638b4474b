/* SPDX-License-Identifier: Apache-2.0
 *
 * The smallest real WireGuard peer made of Penstock's parts: one UDP socket, one TUN device,
 * core/wg for the key exchange and fwd/ for the packets, one remote peer with a fixed address. For
 * interop tests only:
 *
 *     i_wgpeer TUN LISTEN-PORT PEER-IPv4 PEER-PORT PRIVATE-KEY-FILE PEER-PUBLIC-KEY PSK-FILE|-
 * [option…] initiate      handshake at start passive       the side that does not start connections
 *         rekey=MS      shorten REKEY_AFTER_TIME (and what hangs on it)
 *
 * One line per event on stdout, counters at SIGTERM. It creates TUN and leaves addresses to the
 * caller. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/b64.h"
#include "base/bytes.h"
#include "core/wg/wg_peer.h"
#include "crypto/crypto.h"
#include "fwd/fwd_table.h"

#define SLOTS	8
#define PKT_MAX 2048

struct app {
	int udp, tun;
	struct sockaddr_in remote;
	struct wg_local local;
	struct wg_peer peer;
	struct fwd_table fwd;
	struct wg_times times;
	uint64_t rx, tx, dropped, refused;
	/* the table's memory */
	struct ps_session session[SLOTS];
	struct ps_replay replay[SLOTS];
	struct ps_peer peers[1];
	struct fwd_keys keys[SLOTS];
	uint32_t session_free[SLOTS];
};

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

static void udp_send(struct app *a, const void *p, size_t len)
{
	if (sendto(a->udp, p, len, 0, (const struct sockaddr *)&a->remote, sizeof(a->remote)) < 0)
		printf("send errno=%d\n", errno);
}

/* One inner packet (or a keepalive, len 0) to the peer. */
static void data_send(struct app *a, const uint8_t *inner, size_t len, uint64_t now)
{
	uint8_t out[PKT_MAX + FWD_DATA_OVERHEAD];
	size_t out_len;
	uint32_t idx;

	if (!wg_peer_current(&a->peer, &idx) ||
	    fwd_seal(&a->fwd, 0, inner, len, out, &out_len, now) != PS_R_UTX_SENT) {
		a->dropped++;
		wg_peer_wants_send(&a->peer, now);
		return;
	}
	udp_send(a, out, out_len);
	a->tx++;
	wg_peer_on_data_sent(&a->peer, idx, len == 0, now, now);
}

static void session_install(struct app *a, const struct wg_event *e, uint64_t now)
{
	struct fwd_keys keys;
	const struct fwd_session_new n = {
		.local_idx = e->local_idx,
		.remote_idx = e->remote_idx,
		.initiator = e->initiator,
		.rx_until_ns = e->birth_ns + a->times.reject_after_ns,
		.tx_until_ns = e->birth_ns + (e->initiator ? a->times.initiator_stop_ns
							   : a->times.reject_after_ns),
		.keys = &keys,
	};

	memcpy(keys.send, e->keys.send, 32);
	memcpy(keys.recv, e->keys.recv, 32);
	fwd_session_install(&a->fwd, &n, now);
	crypto_wipe(&keys, sizeof(keys));
	printf("session initiator=%d\n", e->initiator);
}

static void event_apply(struct app *a, const struct wg_event *e, uint64_t now)
{
	switch (e->type) {
	case WG_EV_NONE:
		break;
	case WG_EV_SESSION:
		session_install(a, e, now);
		break;
	case WG_EV_SESSION_CURRENT:
		fwd_peer_set_tx(&a->fwd, 0, e->local_idx);
		printf("current\n");
		break;
	case WG_EV_SESSION_IDLE:
		fwd_peer_set_tx(&a->fwd, 0, 0);
		printf("idle\n");
		break;
	case WG_EV_SESSION_DEAD:
	case WG_EV_INDEX_RELEASED:
		fwd_index_free(&a->fwd, e->local_idx);
		break;
	case WG_EV_KEEPALIVE:
		data_send(a, NULL, 0, now);
		break;
	case WG_EV_HANDSHAKE_DONE:
		printf("done first=%d rtt_us=%llu\n", e->first,
		       (unsigned long long)e->rtt_ns / 1000);
		break;
	case WG_EV_EXPIRED:
		printf("expired\n");
		break;
	}
}

static void drain(struct app *a, uint64_t now)
{
	struct wg_event e;
	struct wg_tx tx;
	uint32_t idx;

	for (;;) {
		bool quiet = true;

		while (wg_peer_poll_event(&a->peer, &e)) {
			event_apply(a, &e, now);
			crypto_wipe(&e, sizeof(e));
			quiet = false;
		}
		if (wg_peer_wants_index(&a->peer)) {
			idx = fwd_index_alloc(&a->fwd);
			if (idx && wg_peer_give_index(&a->peer, idx) != 0)
				die("give_index");
		}
		if (wg_peer_poll_tx(&a->peer, &a->local, &tx, now)) {
			/* a response makes a session: install it before the response is out */
			while (wg_peer_poll_event(&a->peer, &e))
				event_apply(a, &e, now);
			udp_send(a, tx.buf, tx.len);
			printf("sent %s\n",
			       tx.len == WG_INITIATION_LEN ? "initiation" : "response");
			quiet = false;
		}
		if (quiet)
			break;
	}
	fflush(stdout);
}

/* Length in the IP header, at most len; 0 when this is no IP packet. Stock peers pad to 16 bytes.
 */
static size_t ip_len(const uint8_t *p, size_t len)
{
	size_t n = 0;

	if (len >= 20 && p[0] >> 4 == 4)
		n = be16_get(p + 2);
	else if (len >= 40 && p[0] >> 4 == 6)
		n = 40 + (size_t)be16_get(p + 4);
	return n >= 20 && n <= len ? n : 0;
}

static void data_receive(struct app *a, uint8_t *msg, size_t len, uint64_t now)
{
	struct fwd_opened o;
	const uint32_t idx = wg_msg_receiver(WG_MSG_DATA, msg);
	size_t n;

	if (fwd_open(&a->fwd, msg, len, &o, now) != PS_R_URX_DELIVERED) {
		a->refused++;
		return;
	}
	a->rx++;
	if (o.confirms)
		fwd_session_confirm(&a->fwd, idx);
	wg_peer_on_data_received(&a->peer, idx, o.inner_len == 0, now, now);
	n = ip_len(o.inner, o.inner_len);
	if (n && write(a->tun, o.inner, n) < 0)
		printf("tun errno=%d\n", errno);
}

static void udp_receive(struct app *a, uint64_t now)
{
	uint8_t msg[PKT_MAX];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	struct noise_opened o;
	struct ipaddr src;
	struct wg_tx reply;
	enum wg_msg_type type;
	enum wg_rx rx;
	ssize_t n = recvfrom(a->udp, msg, sizeof(msg), 0, (struct sockaddr *)&from, &from_len);

	if (n < 0)
		return;
	type = wg_msg_classify(msg, (uint32_t)n);
	if (type == WG_MSG_DATA) {
		data_receive(a, msg, (size_t)n, now);
		return;
	}
	src = ipaddr_from(4, &from.sin_addr);
	rx = wg_local_admit(&a->local, msg, (size_t)n, &src, &reply, now);
	if (rx == WG_RX_COOKIE)
		udp_send(a, reply.buf, reply.len);
	if (rx == WG_RX_OK && type == WG_MSG_INITIATION) {
		rx = wg_initiation_open(&a->local, msg, (size_t)n, &o);
		if (rx == WG_RX_OK)
			rx = wg_peer_rx_initiation(&a->peer, &o, now);
		noise_opened_wipe(&o);
	} else if (rx == WG_RX_OK && type == WG_MSG_RESPONSE) {
		rx = wg_peer_rx_response(&a->peer, &a->local, msg, (size_t)n, now);
	} else if (rx == WG_RX_OK && type == WG_MSG_COOKIE) {
		rx = wg_peer_rx_cookie(&a->peer, msg, (size_t)n, now);
	}
	printf("received type=%d verdict=%s\n", type, wg_rx_name(rx));
}

static void key_read(const char *path, uint8_t key[32])
{
	char text[64] = "";
	FILE *f = fopen(path, "r");

	if (!f || !fgets(text, sizeof(text), f))
		die(path);
	fclose(f);
	text[strcspn(text, "\n")] = 0;
	if (b64_key_decode(text, key) != 0) {
		fprintf(stderr, "%s: not a key\n", path);
		exit(1);
	}
	crypto_wipe(text, sizeof(text));
}

static int tun_open(const char *name)
{
	struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r) < 0)
		die("tun");
	return fd;
}

static int udp_open(const char *port)
{
	const struct sockaddr_in me = {.sin_family = AF_INET,
				       .sin_port = htons((uint16_t)atoi(port))};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&me, sizeof(me)) < 0)
		die("udp");
	return fd;
}

static void options(char **argv, struct wg_peer_cfg *cfg, bool *initiate)
{
	for (; *argv; argv++) {
		if (strcmp(*argv, "initiate") == 0) {
			*initiate = true;
		} else if (strcmp(*argv, "passive") == 0) {
			cfg->may_initiate = false;
			cfg->rekey_idle = false;
		} else if (strncmp(*argv, "rekey=", 6) == 0) {
			cfg->times.rekey_after_ns = strtoull(*argv + 6, NULL, 10) * NS_PER_MS;
		} else {
			fprintf(stderr, "unknown option %s\n", *argv);
			exit(2);
		}
	}
}

static void setup(struct app *a, char **argv)
{
	struct wg_peer_cfg cfg = {
		.may_initiate = true, .rekey_idle = true, .times = wg_times_default()};
	const struct fwd_mem mem = {a->session,	     a->replay, a->peers, a->keys,
				    a->session_free, SLOTS,	1};
	uint8_t priv[32], seed[3][32];
	struct timespec t;
	bool initiate = false;

	options(argv + 8, &cfg, &initiate);
	a->times = cfg.times;
	a->remote = (struct sockaddr_in){.sin_family = AF_INET,
					 .sin_port = htons((uint16_t)atoi(argv[4]))};
	if (inet_pton(AF_INET, argv[3], &a->remote.sin_addr) != 1)
		die("peer address");
	key_read(argv[5], priv);
	if (b64_key_decode(argv[6], cfg.remote_pub) != 0)
		die("peer key");
	if (strcmp(argv[7], "-") != 0)
		key_read(argv[7], cfg.psk);
	if (crypto_init() != 0 || getrandom(seed, sizeof(seed), 0) != sizeof(seed))
		die("crypto");
	clock_gettime(CLOCK_REALTIME, &t);
	wg_local_init(&a->local, priv, seed[0],
		      (struct wall){.sec = (uint64_t)t.tv_sec, .nsec = (uint32_t)t.tv_nsec},
		      now_ns());
	if (wg_peer_init(&a->peer, &a->local, &cfg, seed[1], now_ns()) != 0)
		die("peer");
	if (fwd_init(&a->fwd, &mem, seed[2]) != 0 || fwd_peer_use(&a->fwd, 0) != 0)
		die("fwd");
	a->udp = udp_open(argv[2]);
	a->tun = tun_open(argv[1]);
	if (initiate)
		wg_peer_initiate(&a->peer, now_ns());
}

static int wait_ms(const struct wg_peer *p, uint64_t now)
{
	const uint64_t left = time_since(now, wg_peer_deadline(p).at);

	return left > 1000 * NS_PER_MS ? 1000 : (int)((left + NS_PER_MS - 1) / NS_PER_MS);
}

int main(int argc, char **argv)
{
	static struct app a;
	uint8_t pkt[PKT_MAX];

	if (argc < 8) {
		fprintf(stderr, "usage: see the head of i_wgpeer.c\n");
		return 2;
	}
	setup(&a, argv);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	while (!stop) {
		struct pollfd fds[2] = {{.fd = a.udp, .events = POLLIN},
					{.fd = a.tun, .events = POLLIN}};
		ssize_t n;
		uint64_t now;

		drain(&a, now_ns());
		if (poll(fds, 2, wait_ms(&a.peer, now_ns())) < 0 && errno != EINTR)
			die("poll");
		now = now_ns();
		if (fds[0].revents & POLLIN)
			udp_receive(&a, now);
		drain(&a, now);
		if (fds[1].revents & POLLIN) {
			n = read(a.tun, pkt, sizeof(pkt));
			if (n > 0)
				data_send(&a, pkt, (size_t)n, now);
		}
		wg_peer_timeout(&a.peer, now_ns());
	}
	printf("total rx=%llu tx=%llu dropped=%llu refused=%llu\n", (unsigned long long)a.rx,
	       (unsigned long long)a.tx, (unsigned long long)a.dropped,
	       (unsigned long long)a.refused);
	wg_peer_fini(&a.peer);
	wg_local_fini(&a.local);
	fwd_fini(&a.fwd);
	return 0;
}
