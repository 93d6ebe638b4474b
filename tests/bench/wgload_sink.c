/* SPDX-License-Identifier: Apache-2.0
 *
 * The far end of the load generator, in the server's namespace: a counter in an ingress hook of
 * nftables, which ends the packets as well, so that next to nothing is spent on them. What is
 * counted there are socket buffers and their bytes; one that is a train of datagrams carries one
 * pair of headers, so bytes and buffers together say exactly how many datagrams there were.
 *
 * To be checked, packets are let through to sockets, and a thread reads them. */
#include <errno.h>
#include <nftables/libnftables.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/wgload.h"
#include "base/bytes.h"
#include "io/gso.h"

#define SEEN_BITS (UINT64_C(1) << 22) /* sequence numbers remembered */

struct wgl_sink {
	struct wgl_sink_cfg cfg;
	struct nft_ctx *nft;
	struct gso_sock sock[WGL_FLOWS_MAX];
	struct pollfd fds[WGL_FLOWS_MAX];
	pthread_t thread;
	bool running;
	_Atomic bool stop;
	_Atomic uint64_t packets, reordered, duplicated, corrupted;
	uint64_t *top; /* highest sequence number of a flow of a peer, and one */
	uint64_t lap[SEEN_BITS / 64];
	uint64_t seen[SEEN_BITS / 64];
};

/* ---- checking ---- */

/* Was this number here before? Those too old to know count as new. */
static bool seen_before(struct wgl_sink *s, uint64_t seq)
{
	const uint64_t word = seq / 64 % (SEEN_BITS / 64), lap = seq / SEEN_BITS;
	const uint64_t bit = UINT64_C(1) << (seq % 64);
	bool was;

	if (s->lap[word] < lap) {
		s->lap[word] = lap;
		s->seen[word] = 0;
	}
	was = s->lap[word] == lap && (s->seen[word] & bit);
	s->seen[word] |= bit;
	return was;
}

static bool is_whole(const struct wgl_sink *s, uint32_t flow, const uint8_t *p, size_t len)
{
	if (len != s->cfg.load->size - WGL_HDRS || be16_get(p + 8) != flow ||
	    be16_get(p + 10) != WGL_MAGIC || be16_get(p + 14) != len)
		return false;
	for (uint32_t i = WGL_MARK_LEN; i < len; i++)
		if (p[i] != wgl_pattern(i))
			return false;
	return true;
}

static void check(struct wgl_sink *s, uint32_t flow, const uint8_t *p, size_t len)
{
	uint64_t seq, *top;

	s->packets++;
	if (!is_whole(s, flow, p, len)) {
		s->corrupted++;
		return;
	}
	seq = be64_get(p);
	top = &s->top[flow * WGL_PEERS_MAX + be16_get(p + 12)];
	if (seen_before(s, seq))
		s->duplicated++;
	else if (seq < *top)
		s->reordered++;
	if (seq >= *top)
		*top = seq + 1;
}

static void *read_all(void *arg)
{
	struct wgl_sink *s = arg;
	struct gro_rx *rx = gro_rx_new();
	struct gro_msg *m;
	size_t n;

	while (rx && !s->stop) {
		if (poll(s->fds, s->cfg.load->flows, 50) <= 0)
			continue;
		for (uint32_t f = 0; f < s->cfg.load->flows; f++) {
			n = s->fds[f].revents ? gro_recv(rx, s->sock[f].fd, GRO_BATCH, &m) : 0;
			for (size_t i = 0; i < n; i++)
				for (uint32_t off = 0; off < m[i].len; off += m[i].seg)
					check(s, f, m[i].data + off,
					      m[i].len - off < m[i].seg ? m[i].len - off
									: m[i].seg);
		}
	}
	gro_rx_free(rx);
	return NULL;
}

static void verify_start(struct wgl_sink *s)
{
	struct io_err err = {""};

	for (uint32_t f = 0; f < s->cfg.load->flows; f++) {
		struct gso_sock_cfg c = {.bind = s->cfg.load->sink, .rcvbuf = 64u << 20};

		c.bind.port = (uint16_t)(c.bind.port + f);
		if (gso_sock_open(&s->sock[f], &c, &err)) {
			fprintf(stderr, "h_wgload: %s\n", err.msg);
			exit(1);
		}
		s->fds[f] = (struct pollfd){.fd = s->sock[f].fd, .events = POLLIN};
	}
	s->running = !pthread_create(&s->thread, NULL, read_all, s);
}

/* ---- counting ---- */

static const char *nft(struct wgl_sink *s, const char *script)
{
	if (nft_run_cmd_from_buffer(s->nft, script)) {
		fprintf(stderr, "h_wgload: nft: %s: %s\n", script,
			nft_ctx_get_error_buffer(s->nft));
		exit(1);
	}
	return nft_ctx_get_output_buffer(s->nft);
}

struct wgl_sink *wgl_sink_open(const struct wgl_sink_cfg *cfg)
{
	struct wgl_sink *s = calloc(1, sizeof(*s));
	char script[512];

	if (!s || cfg->load->flows > WGL_FLOWS_MAX || strlen(cfg->dev) > 15)
		wgl_die("sink", EINVAL);
	s->cfg = *cfg;
	s->top = calloc((size_t)WGL_FLOWS_MAX * WGL_PEERS_MAX,
			sizeof(*s->top)); /* mostly untouched */
	if (!s->top)
		wgl_die("memory", ENOMEM);
	wgl_enter(cfg->ns);
	s->nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!s->nft)
		wgl_die("nftables", ENOMEM);
	nft_ctx_buffer_output(s->nft);
	nft_ctx_buffer_error(s->nft);
	nft_ctx_output_set_flags(s->nft, NFT_CTX_OUTPUT_JSON);
	snprintf(
		script, sizeof(script),
		"add table netdev wgload; delete table netdev wgload; add table netdev wgload;"
		"add counter netdev wgload arrived;"
		"add chain netdev wgload in { type filter hook ingress device \"%s\" priority 0; };"
		"add rule netdev wgload in udp dport %u-%u counter name \"arrived\" %s",
		cfg->dev, cfg->load->sink.port, cfg->load->sink.port + cfg->load->flows - 1,
		cfg->verify ? "accept" : "drop");
	nft(s, script);
	if (cfg->verify)
		verify_start(s);
	return s;
}

uint64_t wgl_sink_count(struct wgl_sink *s)
{
	const char *out = nft(s, "list counter netdev wgload arrived");
	const char *p = strstr(out, "\"packets\":"), *b = strstr(out, "\"bytes\":");
	uint64_t buffers, bytes;

	if (!p || !b)
		wgl_die("the counter's value", EPROTO);
	buffers = strtoull(p + strlen("\"packets\":"), NULL, 10);
	bytes = strtoull(b + strlen("\"bytes\":"), NULL, 10);
	return (bytes - buffers * WGL_HDRS) / (s->cfg.load->size - WGL_HDRS);
}

void wgl_sink_checked(struct wgl_sink *s, struct wgl_checked *out)
{
	const uint64_t all = wgl_sink_count(s);

	*out = (struct wgl_checked){.packets = s->packets,
				    .reordered = s->reordered,
				    .duplicated = s->duplicated,
				    .corrupted = s->corrupted};
	out->missed = all > out->packets ? all - out->packets : 0;
}

void wgl_sink_close(struct wgl_sink *s)
{
	s->stop = true;
	if (s->running)
		pthread_join(s->thread, NULL);
	for (uint32_t f = 0; s->cfg.verify && f < s->cfg.load->flows; f++)
		gso_sock_close(&s->sock[f]);
	nft(s, "delete table netdev wgload");
	nft_ctx_free(s->nft);
	free(s->top);
	free(s);
}
