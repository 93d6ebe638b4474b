/* SPDX-License-Identifier: Apache-2.0
 *
 * Two whole nodes (ICE and WireGuard) with their forwarding tables in the simulated network:
 * connections come up, carry data exactly once, renew keys, survive changes of address and loss,
 * and end when the peer is gone. */
#include <stdlib.h>

#include "core/node/node.h"
#include "crypto/crypto.h"
#include "fwd/fwd_table.h"
#include "tests/sim/sim.h"
#include "tests/t.h"

#define N_SLOTS 64
#define PEER	2 /* slot used on both sides */
#define PORT	52625

struct peer {
	struct sim *sim;
	unsigned host, other;
	struct node node;
	struct fwd_table fwd;
	struct node_conn conns[4];
	uint64_t due[4];
	uint32_t buckets[NODE_CHAINS * 4], conn_of_slot[N_SLOTS], free_stack[N_SLOTS];
	struct ps_session session[N_SLOTS];
	struct ps_replay replay[N_SLOTS];
	struct ps_peer peer[4];
	struct fwd_keys keys[N_SLOTS];
	/* data: one 8-byte number each send_every_ns */
	uint64_t send_every_ns, send_at, next_no, sent, received, last_no, out_of_session;
	uint8_t seen[4096];
	unsigned established, failed, closed, sessions, paths, handshakes, released;
	uint64_t established_at, failed_at;
	struct node_tx out;
	bool has_out;
	struct sim_out data_out;
	bool has_data;
	uint8_t priv[32];
};

static void apply(struct peer *p, struct node_event *ev, uint64_t now)
{
	struct fwd_keys keys;
	const struct wg_times t = p->node.cfg.wg_times;

	switch (ev->kind) {
	case NODE_EV_CANDIDATE:
	case NODE_EV_CANDIDATE_GONE: {
		char msg[SDP_CAND_STRLEN + 1];

		msg[0] = ev->kind == NODE_EV_CANDIDATE ? '+' : '-';
		memcpy(msg + 1, ev->text, strlen(ev->text) + 1);
		sim_portal_send(p->sim, p->host, p->other, msg, strlen(msg));
		break;
	}
	case NODE_EV_PATH:
		p->paths++;
		break;
	case NODE_EV_CHANNEL_UP:
	case NODE_EV_CHANNEL_DOWN:
	case NODE_EV_RELAY_GONE:
	case NODE_EV_NO_RELAYS:
		break;
	case NODE_EV_WANT_INDEX:
		node_give_index(&p->node, ev->conn, fwd_index_alloc(&p->fwd));
		break;
	case NODE_EV_ESTABLISHED:
		p->established++;
		p->established_at = now;
		break;
	case NODE_EV_FAILED:
		p->failed++;
		p->failed_at = now;
		node_close(&p->node, ev->conn, now);
		break;
	case NODE_EV_CLOSED:
		p->closed++;
		break;
	case NODE_EV_WG:
		if (ev->wg.type == WG_EV_SESSION) {
			struct fwd_session_new s = {ev->wg.local_idx,
						    ev->wg.remote_idx,
						    PEER,
						    ev->wg.initiator,
						    ev->wg.birth_ns + t.reject_after_ns,
						    ev->wg.birth_ns + (ev->wg.initiator
									       ? t.initiator_stop_ns
									       : t.reject_after_ns),
						    &keys};
			memcpy(keys.recv, ev->wg.keys.recv, 32);
			memcpy(keys.send, ev->wg.keys.send, 32);
			fwd_session_install(&p->fwd, &s, now);
			p->sessions++;
		} else if (ev->wg.type == WG_EV_SESSION_CURRENT) {
			fwd_peer_set_tx(&p->fwd, PEER, ev->wg.local_idx);
		} else if (ev->wg.type == WG_EV_SESSION_IDLE) {
			fwd_peer_set_tx(&p->fwd, PEER, 0);
		} else if (ev->wg.type == WG_EV_SESSION_DEAD ||
			   ev->wg.type == WG_EV_INDEX_RELEASED) {
			fwd_index_free(&p->fwd, ev->wg.local_idx);
			p->released++;
		} else if (ev->wg.type == WG_EV_HANDSHAKE_DONE) {
			p->handshakes++;
		} else if (ev->wg.type == WG_EV_KEEPALIVE && node_conn(&p->node, PEER)) {
			const struct node_conn *c = node_conn(&p->node, PEER);

			p->has_data = fwd_seal(&p->fwd, PEER, NULL, 0, p->data_out.buf,
					       &p->data_out.len, now) == PS_R_UTX_SENT;
			p->data_out.local = c->path.local;
			p->data_out.remote = c->path.remote;
			node_on_data(&p->node, PEER, ev->wg.local_idx, false, true, now, now);
		}
		break;
	}
}

static void drain_events(struct peer *p, uint64_t now)
{
	struct node_event ev;

	while (!p->has_data && node_poll_event(&p->node, &ev, now))
		apply(p, &ev, now);
}

static void on_data(struct peer *p, uint8_t *msg, size_t len, uint64_t now)
{
	struct fwd_opened o;
	uint64_t no;

	if (fwd_open(&p->fwd, msg, len, &o, now) != PS_R_URX_DELIVERED) {
		p->out_of_session++;
		return;
	}
	fwd_session_confirm(&p->fwd, p->session[o.slot].local_idx);
	node_on_data(&p->node, PEER, p->session[o.slot].local_idx, true, !o.inner_len, now, now);
	drain_events(p, now);
	if (o.inner_len != 8)
		return;
	memcpy(&no, o.inner, 8);
	if (no < sizeof(p->seen) * 8) {
		if (p->seen[no / 8] >> no % 8 & 1)
			sim_fail(p->sim, "number %llu delivered twice", (unsigned long long)no);
		p->seen[no / 8] |= (uint8_t)(1 << no % 8);
	}
	p->received++;
	p->last_no = no;
}

static void input(void *self, const struct sim_dgram *in, uint64_t now)
{
	struct peer *p = self;
	const struct ice_dgram g = {in->local, in->remote, in->data, in->len};
	uint8_t copy[SIM_PAYLOAD_MAX];
	struct node_rx_view view;

	if (node_input(&p->node, &g, &view, now) == NODE_RX_DATA) {
		memcpy(copy, in->data + view.off, view.len);
		on_data(p, copy, view.len, now);
	}
	drain_events(p, now);
}

static void portal(void *self, unsigned from, const void *msg, size_t len, uint64_t now)
{
	struct peer *p = self;
	const char *text = msg;

	(void)from;
	if (text[0] == '+')
		node_add_candidate(&p->node, PEER, text + 1, len - 1, now);
	else
		node_remove_candidate(&p->node, PEER, text + 1, len - 1, now);
	drain_events(p, now);
}

static void send_number(struct peer *p, uint64_t now)
{
	const struct node_conn *c = node_conn(&p->node, PEER);

	p->send_at = now + p->send_every_ns;
	if (!c || !c->has_path)
		return;
	if (fwd_seal(&p->fwd, PEER, (uint8_t *)&p->next_no, 8, p->data_out.buf, &p->data_out.len,
		     now) != PS_R_UTX_SENT) {
		node_wants_send(&p->node, PEER, now);
		return;
	}
	p->next_no++;
	p->sent++;
	p->data_out.local = c->path.local;
	p->data_out.remote = c->path.remote;
	p->has_data = true;
	node_on_data(&p->node, PEER, p->session[p->peer[PEER].tx_slot].local_idx, false, false, now,
		     now);
}

static bool poll_tx(void *self, struct sim_out *out, uint64_t now)
{
	struct peer *p = self;

	drain_events(p, now);
	if (p->has_data) {
		p->has_data = false;
		*out = p->data_out;
		return true;
	}
	if (!node_poll_tx(&p->node, &p->out, now))
		return false;
	drain_events(p, now);
	out->local = p->out.local;
	out->remote = p->out.remote;
	out->len = p->out.len;
	memcpy(out->buf, p->out.buf, p->out.len);
	return true;
}

static struct deadline deadline(const void *self)
{
	const struct peer *p = self;
	struct deadline d = node_deadline(&p->node);

	if (p->send_every_ns)
		d = deadline_min(d, (struct deadline){p->send_at, "data"});
	if (d.at < sim_now(p->sim))
		d.at = sim_now(p->sim);
	return d;
}

static void timeout(void *self, uint64_t now)
{
	struct peer *p = self;

	node_timeout(&p->node, now);
	drain_events(p, now);
	if (p->send_every_ns && time_reached(p->send_at, now) && !p->has_data)
		send_number(p, now);
}

static const struct sim_ops ops = {input, portal, poll_tx, deadline, timeout};

static void peer_init(struct peer *p, bool gateway, uint64_t seed, uint64_t now)
{
	const struct node_mem nm = {.conns = p->conns,
				    .due = p->due,
				    .buckets = p->buckets,
				    .conn_of_slot = p->conn_of_slot,
				    .n_conns = 4,
				    .n_buckets = 4,
				    .n_slots = N_SLOTS};
	const struct fwd_mem fm = {p->session,	  p->replay, p->peer, p->keys,
				   p->free_stack, N_SLOTS,   4};
	const struct node_cfg cfg = {.gateway = gateway, .wg_times = wg_times_default()};
	uint8_t s[32] = {gateway};

	memcpy(s + 1, &seed, sizeof(seed));
	memset(p->priv, gateway ? 0x61 : 0x21, sizeof(p->priv));
	memcpy(p->priv, &seed, sizeof(seed));
	T_EQ(node_init(&p->node, &cfg, &nm, p->priv, s, (struct wall){.sec = 1700000000}, now), 0);
	s[31] = 1;
	T_EQ(fwd_init(&p->fwd, &fm, s), 0);
	T_EQ(fwd_peer_use(&p->fwd, PEER), 0);
}

struct world {
	struct sim *sim;
	struct peer *client, *gateway;
	struct ipaddr client_ip, gateway_ip;
};

static void connect_to(struct peer *p, const struct peer *to, bool gateway, uint8_t salt,
		       uint64_t now)
{
	struct ice_creds c = {"clie", "clientpasswordclientpw"},
			 g = {"gate", "gatewaypasswordgateway"};
	struct node_peer np = {
		.cid = {{gateway ? 1 : 2}}, .local = gateway ? g : c, .remote = gateway ? c : g};

	np.local.pwd[0] = np.remote.pwd[0] = (char)('a' + salt);
	memcpy(np.remote_pub, node_public_key(&to->node), 32);
	memset(np.psk, 7, sizeof(np.psk));
	if (node_upsert(&p->node, PEER, &np, now) == NODE_UPSERT_BUSY) {
		node_close(&p->node, PEER, now);
		drain_events(p, now);
		T_EQ(node_upsert(&p->node, PEER, &np, now), NODE_UPSERT_CREATED);
	}
	drain_events(p, now);
	sim_kick(p->sim, p->host);
}

static void set_host(struct peer *p, const struct ipaddr *ip, uint64_t now)
{
	struct endpoint e = {.ip = *ip, .port = PORT};

	node_set_hosts(&p->node, &e, 1, now);
	drain_events(p, now);
	sim_kick(p->sim, p->host);
}

static struct world world_new(const char *name, uint64_t seed, const struct sim_link *link)
{
	struct world w = {sim_new(name, seed), calloc(1, sizeof(struct peer)),
			  calloc(1, sizeof(struct peer)), ipaddr_v4(192, 0, 2, 1),
			  ipaddr_v4(198, 51, 100, 1)};
	uint64_t now = sim_now(w.sim);

	w.client->sim = w.gateway->sim = w.sim;
	peer_init(w.client, false, seed, now);
	peer_init(w.gateway, true, seed, now);
	w.client->host = w.gateway->other = sim_host_add(w.sim, &ops, w.client, link);
	w.gateway->host = w.client->other = sim_host_add(w.sim, &ops, w.gateway, link);
	sim_addr_add(w.sim, w.client->host, &w.client_ip, SIM_NO_NAT);
	sim_addr_add(w.sim, w.gateway->host, &w.gateway_ip, SIM_NO_NAT);
	sim_portal_latency(w.sim, 15 * NS_PER_MS, 50 * NS_PER_MS);
	set_host(w.client, &w.client_ip, now);
	set_host(w.gateway, &w.gateway_ip, now);
	connect_to(w.gateway, w.client, true, 0, now);
	connect_to(w.client, w.gateway, false, 0, now);
	return w;
}

static void world_free(struct world *w)
{
	T(!sim_failed(w->sim));
	node_fini(&w->client->node);
	node_fini(&w->gateway->node);
	free(w->client);
	free(w->gateway);
	sim_free(w->sim);
}

static const struct sim_link good = {.lat_min_ns = 2 * NS_PER_MS, .lat_max_ns = 5 * NS_PER_MS};
static const struct sim_link bad = {.lat_min_ns = 5 * NS_PER_MS,
				    .lat_max_ns = 60 * NS_PER_MS,
				    .loss_ppm = 50000,
				    .dup_ppm = 50000,
				    .reorder_ppm = 100000,
				    .reorder_ns = 80 * NS_PER_MS};

static int cmp_u64(const void *x, const void *y)
{
	uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

	return a < b ? -1 : a > b;
}

/* Connect time over many seeds, on a good and on a bad network. */
static void connect_times(const struct sim_link *link, uint64_t p99_max_ms)
{
	static uint64_t took[200];

	for (unsigned i = 0; i < 200; i++) {
		struct world w = world_new("node-connect", 1000 + i, link);
		uint64_t start = sim_now(w.sim);

		/* a responder has a session once data came: keep some coming */
		w.client->send_every_ns = 200 * NS_PER_MS;
		w.client->send_at = start;
		sim_run(w.sim, start + 30 * NS_PER_SEC, NULL, NULL);
		T_EQ(w.client->established, 1);
		T_EQ(w.gateway->established, 1);
		T_EQ(w.client->failed + w.gateway->failed, 0);
		took[i] = (w.gateway->established_at - start) / NS_PER_MS;
		world_free(&w);
	}
	qsort(took, 200, sizeof(*took), cmp_u64);
	t_note("connect time ms: p50=%llu p90=%llu p99=%llu", (unsigned long long)took[100],
	       (unsigned long long)took[180], (unsigned long long)took[198]);
	T(took[198] <= p99_max_ms);
}

static void test_connect_good(void)
{
	connect_times(&good, 400);
}

static void test_connect_bad(void)
{
	/* a lost handshake costs five seconds; one in a hundred loses three */
	connect_times(&bad, 18000);
}

/* Ten minutes of traffic both ways: keys renewed by the client alone, no number lost or doubled. */
static void test_rekey_under_traffic(void)
{
	struct world w = world_new("node-rekey", t_seed(), &good);
	uint64_t start = sim_now(w.sim);

	sim_run(w.sim, start + 2 * NS_PER_SEC, NULL, NULL);
	w.client->send_every_ns = w.gateway->send_every_ns = 100 * NS_PER_MS;
	w.client->send_at = w.gateway->send_at = sim_now(w.sim);
	sim_kick(w.sim, w.client->host);
	sim_kick(w.sim, w.gateway->host);
	sim_run(w.sim, start + 600 * NS_PER_SEC, NULL, NULL);
	T(w.client->sessions >= 5 && w.client->sessions <= 6);
	T_EQ(w.client->sessions, w.gateway->sessions);
	T(w.client->sent > 5900);
	T(w.client->sent - w.gateway->received <= 1);
	T(w.gateway->sent - w.client->received <= 1);
	T_EQ(w.client->out_of_session + w.gateway->out_of_session, 0);
	T(N_SLOTS - w.client->fwd.n_session_free <= 4); /* no index leaks */
	world_free(&w);
}

/* Idle: slow checks, keys renewed all the same, still usable after ten minutes. */
static void test_idle(void)
{
	struct world w = world_new("node-idle", t_seed(), &good);
	uint64_t start = sim_now(w.sim);
	struct sim_stats before, after;

	sim_run(w.sim, start + 60 * NS_PER_SEC, NULL, NULL);
	T_EQ(w.client->conns[PEER].state, NODE_IDLE);
	before = sim_stats(w.sim);
	sim_run(w.sim, start + 660 * NS_PER_SEC, NULL, NULL);
	after = sim_stats(w.sim);
	t_note("datagrams in ten idle minutes: %llu",
	       (unsigned long long)(after.sent - before.sent));
	T(after.sent - before.sent < 150);
	w.client->send_every_ns = 100 * NS_PER_MS;
	w.client->send_at = sim_now(w.sim);
	sim_kick(w.sim, w.client->host);
	sim_run(w.sim, sim_now(w.sim) + 2 * NS_PER_SEC, NULL, NULL);
	T(w.gateway->received >= 18);
	T_EQ(w.client->conns[PEER].state, NODE_CONNECTED);
	world_free(&w);
}

/* The client's address changes: the interface listing tells, the same session goes on over the new
 * path. */
static void test_address_change(void)
{
	struct world w = world_new("node-address", t_seed(), &good);
	struct ipaddr other = ipaddr_v4(203, 0, 113, 77);
	uint64_t start = sim_now(w.sim), before;

	sim_run(w.sim, start + 2 * NS_PER_SEC, NULL, NULL);
	w.client->send_every_ns = w.gateway->send_every_ns = 100 * NS_PER_MS;
	w.client->send_at = w.gateway->send_at = sim_now(w.sim);
	sim_kick(w.sim, w.client->host);
	sim_kick(w.sim, w.gateway->host);
	sim_run(w.sim, start + 5 * NS_PER_SEC, NULL, NULL);
	sim_addr_del(w.sim, w.client->host, &w.client_ip);
	sim_addr_add(w.sim, w.client->host, &other, SIM_NO_NAT);
	set_host(w.client, &other, sim_now(w.sim));
	sim_run(w.sim, start + 8 * NS_PER_SEC, NULL, NULL);
	before = w.client->received;
	sim_run(w.sim, start + 10 * NS_PER_SEC, NULL, NULL);
	T(w.client->received - before >= 18);
	T_EQ(w.client->failed + w.gateway->failed, 0);
	T_EQ(w.client->conns[PEER].path.local.ip.b[3], 77);
	world_free(&w);
}

/* The gateway vanishes: the client notices within ICE's and the grace's time and gives every index
 * back. */
static void test_peer_gone(void)
{
	struct world w = world_new("node-gone", t_seed(), &good);
	uint64_t start = sim_now(w.sim), cut;

	sim_run(w.sim, start + 5 * NS_PER_SEC, NULL, NULL);
	w.client->send_every_ns = 100 * NS_PER_MS;
	w.client->send_at = cut = sim_now(w.sim);
	sim_host_up(w.sim, w.gateway->host, false);
	sim_kick(w.sim, w.client->host);
	sim_run(w.sim, cut + 40 * NS_PER_SEC, NULL, NULL);
	T_EQ(w.client->failed, 1);
	T_EQ(w.client->closed, 1);
	t_note("noticed after %llu ms",
	       (unsigned long long)((w.client->failed_at - cut) / NS_PER_MS));
	T(w.client->failed_at - cut <= 22 * NS_PER_SEC);
	T_EQ(w.client->fwd.n_session_free, N_SLOTS);
	world_free(&w);
}

/* Reused upsert keeps the session; other credentials replace the connection. */
static void test_upsert(void)
{
	struct world w = world_new("node-upsert", t_seed(), &good);
	uint64_t start = sim_now(w.sim);

	sim_run(w.sim, start + 2 * NS_PER_SEC, NULL, NULL);
	connect_to(w.client, w.gateway, false, 0, sim_now(w.sim));
	connect_to(w.gateway, w.client, true, 0, sim_now(w.sim));
	sim_run(w.sim, start + 4 * NS_PER_SEC, NULL, NULL);
	T_EQ(w.client->established, 1);
	T_EQ(w.client->closed, 0);
	connect_to(w.gateway, w.client, true, 1, sim_now(w.sim));
	connect_to(w.client, w.gateway, false, 1, sim_now(w.sim));
	sim_run(w.sim, start + 8 * NS_PER_SEC, NULL, NULL);
	T_EQ(w.client->established, 2);
	T_EQ(w.gateway->established, 2);
	T_EQ(w.client->closed, 1);
	T(N_SLOTS - w.client->fwd.n_session_free <= 3);
	world_free(&w);
}

/* The same seed gives the same run. */
static void test_repeatable(void)
{
	uint64_t hash[2];

	for (unsigned i = 0; i < 2; i++) {
		struct world w = world_new("node-repeat", 42, &bad);

		sim_run(w.sim, sim_now(w.sim) + 20 * NS_PER_SEC, NULL, NULL);
		hash[i] = sim_trace_hash(w.sim);
		world_free(&w);
	}
	T_EQ(hash[0], hash[1]);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_connect_good);
	T_RUN(test_connect_bad);
	T_RUN(test_rekey_under_traffic);
	T_RUN(test_idle);
	T_RUN(test_address_change);
	T_RUN(test_peer_gone);
	T_RUN(test_upsert);
	T_RUN(test_repeatable);
	return t_done();
}
