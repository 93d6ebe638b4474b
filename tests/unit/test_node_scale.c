/* SPDX-License-Identifier: Apache-2.0
 *
 * A gateway's node with ten thousand clients in virtual time, each with its key: they come, keep
 * their paths, send now and then, and renew their sessions after two minutes. Nobody is ever
 * without a session, no renewal is late, and what timers cost depends on how many go off, not on
 * how many there are. The clients' side of ICE is made by hand: an agent each would take 36 kB. */
#include <stdlib.h>
#include <string.h>

#include "base/due_heap.h"
#include "codec/stun.h"
#include "core/node/node.h"
#include "crypto/crypto.h"
#include "tests/t.h"

#define SEC	 NS_PER_SEC
#define T0	 (1000 * SEC)
#define UNIX	 1700000000u
#define N_SLOTS	 65536u
#define QUEUE	 65536u /* datagrams on their way, power of two */
#define LATENCY	 (5 * NS_PER_MS)
#define CHECK_NS (20 * SEC) /* a client keeps its path */
#define DATA_NS	 (30 * SEC) /* and sends */

#if defined(__SANITIZE_ADDRESS__)
#define MANY 1000u
#else
#define MANY 10000u
#endif

struct client {
	struct wg_local l;
	struct wg_peer wg;
	uint64_t start_ns, check_ns, data_ns;
	uint64_t session_ns;	     /* birth of the current one, 0: none yet */
	uint32_t local_idx, far_idx; /* of the current one */
	uint32_t next_idx;
	uint32_t renewed;
	bool path;
};

struct dgram {
	uint64_t at;
	uint32_t client;
	bool to_gateway;
	uint16_t len;
	uint8_t buf[400];
};

static struct {
	uint32_t n;
	uint64_t now;
	struct node node;
	struct node_mem mem;
	struct client *c;
	struct due_heap due; /* the clients' timers */
	struct dgram *q;
	uint32_t head, count;
	uint32_t *free_slot, n_free;
	uint64_t handshakes, idle, expired, failed, late_ns, young_ns, load;
} s;

/* What goes through the tunnel is one byte here. */
static const uint8_t data = 1, keepalive = 2;
static const struct endpoint gateway = {.ip = {.family = 4, .b = {192, 0, 2, 1}}, .port = 52625};

static struct endpoint address(uint32_t i)
{
	return (struct endpoint){.ip = ipaddr_v4(10, 0, (uint8_t)(i >> 8), (uint8_t)i),
				 .port = 5000};
}

static struct ice_creds creds(char side, uint32_t i)
{
	struct ice_creds c;

	snprintf(c.ufrag, sizeof(c.ufrag), "%c%07u", side, i);
	snprintf(c.pwd, sizeof(c.pwd), "%cpasswordpassword%07u", side, i);
	return c;
}

static void key_of(uint32_t i, uint8_t priv[32])
{
	memset(priv, 0, 32);
	priv[1] = (uint8_t)i;
	priv[2] = (uint8_t)(i >> 8);
	priv[3] = 77;
}

/* ---- the network ---- */

static void put(bool to_gateway, uint32_t client, const void *p, size_t len)
{
	struct dgram *d = &s.q[(s.head + s.count) % QUEUE];

	if (!T(s.count < QUEUE && len <= sizeof(d->buf)))
		return;
	s.count++;
	*d = (struct dgram){.at = s.now + LATENCY,
			    .client = client,
			    .to_gateway = to_gateway,
			    .len = (uint16_t)len};
	memcpy(d->buf, p, len);
}

/* ---- the gateway ---- */

static uint32_t index_take(void)
{
	if (!T(s.n_free))
		return 0;
	return 0xabc00000u | s.free_slot[--s.n_free];
}

static void index_back(uint32_t idx)
{
	s.free_slot[s.n_free++] = idx & (N_SLOTS - 1);
}

static void gateway_event(const struct node_event *ev)
{
	switch (ev->kind) {
	case NODE_EV_WANT_INDEX:
		node_give_index(&s.node, ev->conn, index_take());
		break;
	case NODE_EV_FAILED:
		s.failed++;
		break;
	case NODE_EV_WG:
		if (ev->wg.type == WG_EV_SESSION_DEAD || ev->wg.type == WG_EV_INDEX_RELEASED)
			index_back(ev->wg.local_idx);
		if (ev->wg.type == WG_EV_KEEPALIVE) {
			put(false, ev->conn, &keepalive, 1);
			node_on_data(&s.node, ev->conn, ev->wg.local_idx, false, true, s.now,
				     s.now);
		}
		s.idle += ev->wg.type == WG_EV_SESSION_IDLE;
		s.expired += ev->wg.type == WG_EV_EXPIRED;
		break;
	case NODE_EV_CANDIDATE:
	case NODE_EV_CANDIDATE_GONE:
	case NODE_EV_PATH:
	case NODE_EV_ESTABLISHED:
	case NODE_EV_CLOSED:
	case NODE_EV_CHANNEL_UP:
	case NODE_EV_CHANNEL_DOWN:
	case NODE_EV_RELAY_GONE:
	case NODE_EV_NO_RELAYS:
		break;
	}
}

static void gateway_drain(void)
{
	struct node_event ev;
	struct node_tx tx;

	do {
		while (node_poll_event(&s.node, &ev, s.now))
			gateway_event(&ev);
		if (!node_poll_tx(&s.node, &tx, s.now))
			break;
		while (node_poll_event(&s.node, &ev, s.now))
			gateway_event(&ev);
		put(false, (uint32_t)tx.remote.ip.b[2] << 8 | tx.remote.ip.b[3], tx.buf, tx.len);
	} while (true);
}

static void gateway_open(void)
{
	const struct node_cfg cfg = {.gateway = true, .wg_times = wg_times_default()};
	const uint8_t priv[32] = {9}, seed[32] = {8};
	uint32_t buckets = 16;

	while (buckets < s.n)
		buckets *= 2;
	s.mem = (struct node_mem){.n_conns = s.n, .n_buckets = buckets, .n_slots = N_SLOTS};
	s.mem.conns = calloc(s.n, sizeof(*s.mem.conns));
	s.mem.due = calloc(s.n, sizeof(*s.mem.due));
	s.mem.due_pos = calloc(s.n, sizeof(*s.mem.due_pos));
	s.mem.buckets = calloc((size_t)NODE_CHAINS * buckets, sizeof(*s.mem.buckets));
	s.mem.conn_of_slot = calloc(N_SLOTS, sizeof(*s.mem.conn_of_slot));
	T_EQ(node_init(&s.node, &cfg, &s.mem, priv, seed, (struct wall){.sec = UNIX}, s.now), 0);
	node_set_hosts(&s.node, &gateway, 1, s.now);
}

/* The portal has told the gateway of client i. */
static void introduce(uint32_t i)
{
	struct node_peer p = {.psk = {9}, .local = creds('g', i), .remote = creds('c', i)};

	p.cid.b[0] = 1;
	memcpy(p.cid.b + 4, &i, sizeof(i));
	memcpy(p.remote_pub, s.c[i].l.key.pub, sizeof(p.remote_pub));
	T_EQ(node_upsert(&s.node, i, &p, s.now), NODE_UPSERT_CREATED);
	gateway_drain();
}

/* ---- a client ---- */

static void check(uint32_t i)
{
	const struct ice_creds ours = creds('c', i), theirs = creds('g', i);
	struct stun_tid tid = {{(uint8_t)i, (uint8_t)(i >> 8), 3}};
	char user[2 * sizeof(ours.ufrag)];
	struct stun_enc e;
	uint8_t buf[400];
	size_t len;

	snprintf(user, sizeof(user), "%s:%s", theirs.ufrag, ours.ufrag);
	stun_enc_init(&e, buf, sizeof(buf), STUN_BINDING, STUN_REQUEST, &tid);
	stun_put_bytes(&e, STUN_A_USERNAME, user, strlen(user));
	stun_put_u32(&e, STUN_A_PRIORITY, 1853824767);
	stun_put_u64(&e, STUN_A_ICE_CONTROLLING, 5);
	stun_put_flag(&e, STUN_A_USE_CANDIDATE);
	stun_put_integrity(&e, theirs.pwd, strlen(theirs.pwd));
	stun_put_fingerprint(&e);
	if (T_EQ(stun_enc_done(&e, &len), 0))
		put(true, i, buf, len);
}

/* To a check of the gateway's. */
static void answer(uint32_t i, const uint8_t *msg)
{
	const struct ice_creds ours = creds('c', i);
	struct stun_enc e;
	struct stun_tid tid;
	uint8_t buf[400];
	size_t len;

	memcpy(&tid, msg + 8, sizeof(tid));
	stun_enc_init(&e, buf, sizeof(buf), STUN_BINDING, STUN_SUCCESS, &tid);
	stun_put_xor_addr(&e, STUN_A_XOR_MAPPED_ADDRESS, &gateway);
	stun_put_integrity(&e, ours.pwd, strlen(ours.pwd));
	stun_put_fingerprint(&e);
	if (T_EQ(stun_enc_done(&e, &len), 0))
		put(true, i, buf, len);
}

static void send_data(uint32_t i, uint8_t kind)
{
	struct client *c = &s.c[i];

	if (c->session_ns) {
		wg_peer_on_data_sent(&c->wg, c->local_idx, kind == keepalive, s.now, s.now);
		put(true, i, &kind, 1);
	}
}

static void client_session(struct client *c, uint32_t i, const struct wg_event *ev)
{
	const uint64_t age = c->session_ns ? time_since(c->session_ns, s.now) : 0;

	if (c->session_ns) {
		c->renewed++;
		s.late_ns = age > s.late_ns ? age : s.late_ns;
		s.young_ns = age < s.young_ns ? age : s.young_ns;
	}
	c->session_ns = s.now;
	c->local_idx = ev->local_idx;
	c->far_idx = ev->remote_idx;
	s.handshakes++;
	send_data(i, keepalive); /* which confirms it */
}

static void client_events(uint32_t i)
{
	struct client *c = &s.c[i];
	struct wg_event ev;

	while (wg_peer_poll_event(&c->wg, &ev)) {
		if (ev.type == WG_EV_SESSION)
			client_session(c, i, &ev);
		if (ev.type == WG_EV_KEEPALIVE)
			send_data(i, keepalive);
		s.idle += ev.type == WG_EV_SESSION_IDLE;
		s.expired += ev.type == WG_EV_EXPIRED;
	}
	if (wg_peer_wants_index(&c->wg))
		T_EQ(wg_peer_give_index(&c->wg, ++c->next_idx), 0);
}

static void client_drain(uint32_t i)
{
	struct client *c = &s.c[i];
	uint64_t at = c->path ? wg_peer_deadline(&c->wg).at : c->start_ns;
	struct wg_tx tx;

	if (c->path) {
		client_events(i);
		while (wg_peer_poll_tx(&c->wg, &c->l, &tx, s.now)) {
			put(true, i, tx.buf, tx.len);
			client_events(i);
		}
		at = wg_peer_deadline(&c->wg).at;
		at = c->data_ns < at ? c->data_ns : at;
		at = c->check_ns < at ? c->check_ns : at;
	}
	due_heap_set(&s.due, i, at);
}

static void client_timeout(uint32_t i)
{
	struct client *c = &s.c[i];

	if (!c->path) {
		introduce(i);
		c->path = true;
		c->check_ns = s.now;
		c->data_ns = s.now + DATA_NS;
		wg_peer_initiate(&c->wg, s.now + NS_PER_SEC / 2);
	}
	if (time_reached(c->check_ns, s.now)) {
		check(i);
		c->check_ns = s.now + CHECK_NS;
	}
	if (time_reached(c->data_ns, s.now)) {
		send_data(i, data);
		c->data_ns = s.now + DATA_NS;
	}
	wg_peer_timeout(&c->wg, s.now);
	client_drain(i);
}

static void client_input(uint32_t i, const struct dgram *d)
{
	struct client *c = &s.c[i];
	enum wg_msg_type type = wg_msg_classify(d->buf, d->len);

	if (d->len == 1)
		wg_peer_on_data_received(&c->wg, c->local_idx, d->buf[0] == keepalive, s.now,
					 s.now);
	else if (type == WG_MSG_RESPONSE)
		wg_peer_rx_response(&c->wg, &c->l, d->buf, d->len, s.now);
	else if (type == WG_MSG_COOKIE)
		wg_peer_rx_cookie(&c->wg, d->buf, d->len, s.now);
	else if (d->buf[0] == 0 && d->buf[1] == 1)
		answer(i, d->buf);
	client_drain(i);
}

/* ---- all of it ---- */

static void gateway_input(const struct dgram *d)
{
	const struct ice_dgram in = {
		.local = gateway, .remote = address(d->client), .data = d->buf, .len = d->len};
	const struct client *c = &s.c[d->client];
	struct node_rx_view view;

	if (d->len == 1)
		node_on_data(&s.node, d->client, c->far_idx, true, d->buf[0] == keepalive, s.now,
			     s.now);
	else
		s.load += node_input(&s.node, &in, &view, s.now) == NODE_RX_UNDER_LOAD;
	gateway_drain();
}

static void deliver(void)
{
	while (s.count && s.q[s.head].at <= s.now) {
		const struct dgram d = s.q[s.head];

		s.head = (s.head + 1) % QUEUE;
		s.count--;
		if (d.to_gateway)
			gateway_input(&d);
		else
			client_input(d.client, &d);
	}
}

static void run(uint64_t ns)
{
	const uint64_t end = s.now + ns;

	while (s.now < end) {
		uint64_t at = node_deadline(&s.node).at;
		const struct due *first;

		if (s.count && s.q[s.head].at < at)
			at = s.q[s.head].at;
		if (due_heap_first(&s.due)->at < at)
			at = due_heap_first(&s.due)->at;
		s.now = at > s.now ? at < end ? at : end : s.now;
		deliver();
		if (node_deadline(&s.node).at <= s.now) {
			node_timeout(&s.node, s.now);
			gateway_drain();
		}
		/* what was due is done: nothing waits in the past */
		if (!T(node_deadline(&s.node).at > s.now))
			return;
		while ((first = due_heap_first(&s.due)) && first->at <= s.now)
			client_timeout(first->id);
	}
}

/* n clients, the last of which comes after so long. */
static void open_all(uint32_t n, uint64_t within)
{
	memset(&s, 0, sizeof(s));
	s.n = n;
	s.now = T0;
	s.young_ns = TIME_NEVER;
	s.c = calloc(n, sizeof(*s.c));
	s.q = calloc(QUEUE, sizeof(*s.q));
	s.free_slot = calloc(N_SLOTS, sizeof(*s.free_slot));
	for (uint32_t i = 0; i < N_SLOTS; i++)
		s.free_slot[s.n_free++] = i;
	due_heap_init(&s.due, calloc(n, sizeof(struct due)), calloc(n, sizeof(uint32_t)), n);
	gateway_open();
	for (uint32_t i = 0; i < n; i++) {
		struct wg_peer_cfg cfg = {.psk = {9},
					  .may_initiate = true,
					  .rekey_idle = true,
					  .times = wg_times_default()};
		uint8_t priv[32], seed[32] = {(uint8_t)i, (uint8_t)(i >> 8), 5};
		struct client *c = &s.c[i];

		key_of(i, priv);
		wg_local_init(&c->l, priv, seed, (struct wall){.sec = UNIX}, s.now);
		memcpy(cfg.remote_pub, node_public_key(&s.node), sizeof(cfg.remote_pub));
		T_EQ(wg_peer_init(&c->wg, &c->l, &cfg, seed, s.now), 0);
		c->start_ns = s.now + within * i / n;
		client_drain(i);
	}
}

static void close_all(void)
{
	node_fini(&s.node);
	for (uint32_t i = 0; i < s.n; i++) {
		wg_peer_fini(&s.c[i].wg);
		wg_local_fini(&s.c[i].l);
	}
	free(s.due.due);
	free(s.due.pos);
	free(s.mem.conns);
	free(s.mem.due);
	free(s.mem.due_pos);
	free(s.mem.buckets);
	free(s.mem.conn_of_slot);
	free(s.free_slot);
	free(s.q);
	free(s.c);
}

/* Everybody has renewed once, in time, and nobody was ever without a session. */
static void all_renewed(uint64_t late_ns)
{
	uint32_t once = 0;

	for (uint32_t i = 0; i < s.n; i++)
		once += s.c[i].renewed > 0;
	T_EQ(once, s.n);
	T_EQ(s.failed, 0);
	T_EQ(s.idle, 0);
	T_EQ(s.expired, 0);
	T(s.young_ns >= 120 * SEC && s.late_ns <= late_ns);
	t_note("%u clients: %llu handshakes, renewed after %.3f to %.3f s, %llu asked for a cookie "
	       "or "
	       "over the limit",
	       s.n, (unsigned long long)s.handshakes, (double)s.young_ns / 1e9,
	       (double)s.late_ns / 1e9, (unsigned long long)s.load);
}

/* The sessions' births are spread over two minutes, and so are their ends. */
static void test_rekey_in_turn(void)
{
	uint64_t timers;

	open_all(MANY, 120 * SEC);
	run(122 * SEC);
	T_EQ(s.handshakes, s.n);
	timers = s.node.acct.timers;
	run(152 * SEC); /* sends every 30 s: the first past 120 s renews */
	all_renewed(150 * SEC + SEC);
	T_EQ(s.node.due.n, s.n);
	/* Each connection's own, some in 25 s: not all of them whenever one is due. */
	timers = s.node.acct.timers - timers;
	t_note("%.2f timers a connection and second", (double)timers / s.n / 152);
	T(timers < (uint64_t)s.n * 152);
	close_all();
}

/* All came within two seconds, as after a gateway's restart: far more handshakes than are answered
 * without a cookie, at the start and at each renewal. */
static void test_rekey_at_once(void)
{
	open_all(2000, 2 * SEC);
	run(60 * SEC);
	T(s.load > 0);
	run(120 * SEC);
	all_renewed(178 * SEC);
	close_all();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_rekey_in_turn);
	T_RUN(test_rekey_at_once);
	return t_done();
}
