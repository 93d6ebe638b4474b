/* SPDX-License-Identifier: Apache-2.0
 * The TURN client against Penstock's own TURN server, both machines driven by hand: two clients,
 * one relay, a wire of fixed latency that may lose packets, hours of virtual time. */
#include <stdlib.h>

#include "core/relay/relay.h"
#include "core/turn/turn.h"
#include "tests/t.h"

#define SEC	 NS_PER_SEC
#define LATENCY	 (7 * NS_PER_MS)
#define WIRE_MAX 256

struct pkt {
	uint64_t at;
	bool to_relay;
	struct endpoint from, to;
	size_t len;
	uint8_t data[TURN_TX_MAX];
};

static struct {
	struct turn t[2];
	struct endpoint local[2];
	unsigned heard[2]; /* data that came in */
	struct turn_data last[2];
	unsigned ups[2], downs[2], gone[2];
	struct relay r;
	void *mem;
	struct endpoint relay4, relay6;
	struct pkt wire[WIRE_MAX];
	unsigned n_wire, lose; /* percent */
	uint64_t now, seed;
	unsigned n_peer; /* datagrams that left for a peer outside */
	struct endpoint last_peer;
} w;

static struct endpoint ep(const char *text)
{
	struct endpoint e = {0};

	if (endpoint_parse(text, &e))
		abort();
	return e;
}

static void send(bool to_relay, const struct endpoint *from, const struct endpoint *to,
		 const void *data, size_t len)
{
	struct pkt *p = &w.wire[w.n_wire];

	if (t_rand(&w.seed) % 100 < w.lose)
		return;
	if (w.n_wire == WIRE_MAX || len > sizeof(p->data))
		abort();
	*p = (struct pkt){
		.at = w.now + LATENCY, .to_relay = to_relay, .from = *from, .to = *to, .len = len};
	memcpy(p->data, data, len);
	w.n_wire++;
}

static void drain_relay(void)
{
	struct relay_event ev;
	struct relay_tx tx;

	while (relay_poll_event(&w.r, &ev))
		;
	while (relay_poll_tx(&w.r, &tx)) {
		if (tx.to == RELAY_TO_CLIENT) {
			send(false, &tx.local, &tx.dst, tx.buf, tx.len);
		} else {
			w.n_peer++;
			w.last_peer = tx.dst;
		}
	}
}

static void see_events(unsigned i)
{
	struct turn_event ev;

	while (turn_poll_event(&w.t[i], &ev, w.now)) {
		w.ups[i] += ev.kind == TURN_EV_CHANNEL_UP;
		w.downs[i] += ev.kind == TURN_EV_CHANNEL_DOWN;
		w.gone[i] += ev.kind == TURN_EV_CAND_GONE;
	}
}

static void drive(unsigned i)
{
	struct turn_tx tx;

	turn_timeout(&w.t[i], w.now);
	while (turn_poll_tx(&w.t[i], &tx, w.now))
		send(true, &w.local[i], &tx.remote, tx.buf, tx.len);
	see_events(i);
}

static void arrive(const struct pkt *p)
{
	struct relay_dgram d = {.local = p->to, .client = p->from, .data = p->data, .len = p->len};

	if (p->to_relay) {
		relay_input(&w.r, &d, 1700000000 + w.now / SEC, w.now);
		drain_relay();
		return;
	}
	for (unsigned i = 0; i < 2; i++)
		if (endpoint_eq(&p->to, &w.local[i])) {
			struct turn_data td;

			if (turn_input(&w.t[i], &w.local[i], &p->from, p->data, p->len, &td,
				       w.now) == TURN_RX_DATA) {
				w.heard[i]++;
				w.last[i] = td;
			}
			drive(i);
		}
}

static void run(uint64_t span)
{
	uint64_t end = w.now + span;

	for (;;) {
		uint64_t at = relay_deadline(&w.r).at;

		for (unsigned i = 0; i < 2; i++) {
			drive(i);
			at = turn_deadline(&w.t[i]).at < at ? turn_deadline(&w.t[i]).at : at;
		}
		at = w.n_wire && w.wire[0].at < at ? w.wire[0].at : at;
		if (at > end)
			break;
		w.now = at > w.now ? at : w.now;
		relay_timeout(&w.r, w.now);
		drain_relay();
		while (w.n_wire && w.wire[0].at <= w.now) {
			struct pkt p = w.wire[0];

			memmove(&w.wire[0], &w.wire[1], --w.n_wire * sizeof(p));
			arrive(&p);
		}
	}
	w.now = end;
}

static void relay_up(const char *public4, const char *public6, const char *stamp, uint8_t seed_byte)
{
	static struct relay_auth auth;
	struct relay_cfg cfg = {.size = {.n_allocs = 64, .n_binds = 64, .n_perms = 64},
				.software = "test"};
	uint8_t seed[32] = {seed_byte};
	size_t len = relay_mem_size(&cfg.size);

	if (public4)
		cfg.public4 = ep(public4).ip;
	if (public6)
		cfg.public6 = ep(public6).ip;
	T_EQ(relay_auth_init(&auth, NULL), 0);
	T_EQ(relay_auth_set_stamp(&auth, stamp), 0);
	free(w.mem);
	w.mem = malloc(len);
	T_EQ(relay_init(&w.r, &cfg, &auth, w.mem, len, seed, w.now), 0);
}

static struct turn_cfg cfg_of(unsigned i, const char *stamp)
{
	struct turn_cfg c = {.addr4 = w.relay4, .realm = "firezone"};
	char pass[RELAY_PASSWORD_CAP];

	snprintf(c.username, sizeof(c.username), "1892160000:salt%u", i);
	T_EQ(relay_stamp_password(stamp, c.username, strlen(c.username), pass), 0);
	snprintf(c.password, sizeof(c.password), "%s", pass);
	return c;
}

static void start(const char *public4, const char *public6)
{
	void *mem = w.mem;

	memset(&w, 0, sizeof(w));
	w.mem = mem;
	if (crypto_init())
		abort();
	w.now = 1000 * SEC;
	w.seed = t_seed();
	w.relay4 = ep("198.51.100.1:3478");
	relay_up(public4, public6, "stamp", 1);
	for (unsigned i = 0; i < 2; i++) {
		uint8_t seed[32] = {9, (uint8_t)i};
		struct turn_cfg c = cfg_of(i, "stamp");

		w.local[i] = ep(i ? "192.0.2.2:52625" : "192.0.2.1:52625");
		T_EQ(turn_init(&w.t[i], &c, seed, w.now), 0);
	}
}

static void finish(void)
{
	for (unsigned i = 0; i < 2; i++)
		turn_fini(&w.t[i]);
	relay_fini(&w.r);
	free(w.mem);
	w.mem = NULL;
}

static struct endpoint relayed(unsigned i, uint8_t family)
{
	struct endpoint e = {0};

	T(turn_relayed(&w.t[i], family, &e));
	return e;
}

/* Data through the channel to the other client's relayed address. */
static bool say(unsigned i, uint8_t family, const char *text)
{
	struct endpoint to = relayed(!i, family), local, server;
	uint8_t buf[64];
	uint16_t n;

	if (!turn_channel(&w.t[i], &to, w.now, &n)) {
		turn_bind(&w.t[i], &to, w.now);
		return false;
	}
	turn_chan_put(buf, n, (uint16_t)strlen(text));
	memcpy(buf + TURN_CHAN_HDR_LEN, text, strlen(text));
	T(turn_route(&w.t[i], &local, &server));
	send(true, &w.local[i], &server, buf, TURN_CHAN_HDR_LEN + strlen(text));
	turn_sent(&w.t[i], w.now);
	return true;
}

static bool ready(unsigned i)
{
	return turn_state(&w.t[i]) == TURN_READY;
}

static void test_two_clients_talk_through_it(void)
{
	start("198.51.100.1:1", "[2001:db8::1]:1");
	run(SEC);
	T(ready(0) && ready(1));
	/* BINDING, 401, ALLOCATE: three round trips. */
	T_EQ(w.t[0].acct.tx, 3);
	T_EQ(turn_rtt_ns(&w.t[0]), 2 * LATENCY);
	for (uint8_t family = 4; family <= 6; family = (uint8_t)(family + 2)) {
		struct endpoint a = relayed(0, family), b = relayed(1, family);

		T_EQ(turn_bind(&w.t[0], &b, w.now), TURN_BIND_SENT);
		T_EQ(turn_bind(&w.t[1], &a, w.now), TURN_BIND_SENT);
		run(SEC);
		T(say(0, family, "hello"));
		run(SEC);
		T_EQ(w.heard[1], family / 2 - 1);
		T(endpoint_eq(&w.last[1].peer, &a));
		T(endpoint_eq(&w.last[1].local, &b));
		T_EQ(w.last[1].len, 5);
		T(say(1, family, "back"));
		run(SEC);
		T_EQ(w.heard[0], family / 2 - 1);
	}
	finish();
}

/* Data right behind the bind, without waiting for its answer. */
static void test_data_may_follow_the_bind_at_once(void)
{
	struct endpoint a, b;

	start("198.51.100.1:1", NULL);
	run(SEC);
	a = relayed(0, 4);
	b = relayed(1, 4);
	turn_bind(&w.t[1], &a, w.now);
	run(SEC);
	turn_bind(&w.t[0], &b, w.now);
	drive(0);
	T(say(0, 4, "early"));
	run(SEC);
	T_EQ(w.heard[1], 1);
	finish();
}

static void hours(unsigned lose, unsigned *lost)
{
	struct endpoint a, b;
	unsigned said = 0;

	start("198.51.100.1:1", "[2001:db8::1]:1");
	w.lose = lose;
	run(20 * SEC);
	T(ready(0) && ready(1));
	a = relayed(0, 4);
	b = relayed(1, 4);
	turn_bind(&w.t[0], &b, w.now);
	turn_bind(&w.t[1], &a, w.now);
	run(5 * SEC);
	for (unsigned i = 0; i < 3 * 360; i++) { /* three hours */
		said += say(0, 4, "x");
		say(1, 4, "y");
		run(10 * SEC);
	}
	T(ready(0) && ready(1));
	T_EQ(said, 3 * 360);
	T_EQ(w.gone[0] + w.gone[1], 0);
	T_EQ(w.downs[0] + w.downs[1], 0);
	T_EQ(w.t[0].acct.allocations, 1);
	T_EQ(relay_n_allocs(&w.r), 2);
	T_EQ(relay_n_binds(&w.r), 2);
	*lost = said - w.heard[1];
	finish();
}

static void test_three_hours_of_traffic(void)
{
	unsigned lost;

	hours(0, &lost);
	T_EQ(lost, 0);
	hours(3, &lost);
	T(lost < 150); /* the wire's, twice 3 % */
}

/* Nothing said for an hour: the allocation stays, channels lapse and come back. */
static void test_idle_hour(void)
{
	struct endpoint a, b;

	start("198.51.100.1:1", NULL);
	run(SEC);
	a = relayed(0, 4);
	b = relayed(1, 4);
	turn_bind(&w.t[0], &b, w.now);
	turn_bind(&w.t[1], &a, w.now);
	run(3600 * SEC);
	T(ready(0) && ready(1));
	T_EQ(w.downs[0], 1);
	T_EQ(w.downs[1], 1);
	T(w.t[0].acct.tx < 200);
	say(0, 4, "x"); /* binds */
	say(1, 4, "x");
	run(SEC);
	T(say(0, 4, "x"));
	run(SEC);
	T_EQ(w.heard[1], 1);
	finish();
}

/* The relay starts anew with the same secret: the next request tells, and all is made again. */
static void test_relay_restarts(void)
{
	start("198.51.100.1:1", NULL);
	run(SEC);
	relay_fini(&w.r);
	relay_up("198.51.100.1:1", NULL, "stamp", 2);
	turn_refresh(&w.t[0], w.now);
	run(SEC);
	T(ready(0));
	T_EQ(w.gone[0], 1);
	T_EQ(w.t[0].acct.allocations, 2);
	run(400 * SEC); /* the other one finds out by its own refresh */
	T(ready(1));
	T_EQ(w.t[1].acct.allocations, 2);
	finish();
}

/* With a new secret it is no longer ours. */
static void test_relay_restarts_with_another_secret(void)
{
	struct turn_cfg c;
	uint8_t seed[32] = {5};
	const char *why = "";

	start("198.51.100.1:1", NULL);
	run(SEC);
	relay_fini(&w.r);
	relay_up("198.51.100.1:1", NULL, "other", 2);
	turn_refresh(&w.t[0], w.now);
	run(10 * SEC);
	T(!ready(0));
	T(turn_freeable(&w.t[0], &why));
	T_EQ(w.gone[0], 1);
	t_note("why: %s", why);
	c = cfg_of(0, "other");
	T_EQ(turn_init(&w.t[0], &c, seed, w.now), 0);
	run(SEC);
	T(ready(0));
	finish();
}

/* The client's process starts anew on the same port: its old allocation is in the way. */
static void test_client_restarts(void)
{
	struct turn_cfg c;
	uint8_t seed[32] = {5};

	start("198.51.100.1:1", NULL);
	run(SEC);
	c = cfg_of(0, "stamp");
	T_EQ(turn_init(&w.t[0], &c, seed, w.now), 0);
	run(SEC);
	T(ready(0));
	T_EQ(relay_n_allocs(&w.r), 2);
	turn_restart(&w.t[0], w.now);
	run(SEC);
	T(ready(0));
	T_EQ(relay_n_allocs(&w.r), 2);
	finish();
}

static void test_relays_of_one_family(void)
{
	struct endpoint e;

	start("198.51.100.1:1", NULL);
	run(SEC);
	T(ready(0));
	T(turn_relayed(&w.t[0], 4, &e));
	T(!turn_relayed(&w.t[0], 6, &e));
	finish();
	start(NULL, "[2001:db8::1]:1");
	run(SEC);
	T(ready(0));
	T(!turn_relayed(&w.t[0], 4, &e));
	T(turn_relayed(&w.t[0], 6, &e));
	finish();
}

static void test_peer_outside_and_back(void)
{
	struct endpoint peer = ep("203.0.113.77:7777"), r, local, server;
	uint8_t buf[16];
	uint16_t n;

	start("198.51.100.1:1", NULL);
	run(SEC);
	T_EQ(turn_bind(&w.t[0], &peer, w.now), TURN_BIND_SENT);
	run(SEC);
	T(turn_channel(&w.t[0], &peer, w.now, &n));
	turn_chan_put(buf, n, 2);
	T(turn_route(&w.t[0], &local, &server));
	send(true, &w.local[0], &server, buf, 6);
	run(SEC);
	T_EQ(w.n_peer, 1);
	T(endpoint_eq(&w.last_peer, &peer));
	r = relayed(0, 4);
	T_EQ(relay_peer_input(&w.r, r.port, &peer, (const uint8_t *)"abc", 3, w.now),
	     RELAY_RX_DONE);
	drain_relay();
	run(SEC);
	T_EQ(w.heard[0], 1);
	T(endpoint_eq(&w.last[0].peer, &peer));
	T(endpoint_eq(&w.last[0].local, &r));
	T_EQ(w.last[0].len, 3);
	finish();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_two_clients_talk_through_it);
	T_RUN(test_data_may_follow_the_bind_at_once);
	T_RUN(test_three_hours_of_traffic);
	T_RUN(test_idle_hour);
	T_RUN(test_relay_restarts);
	T_RUN(test_relay_restarts_with_another_secret);
	T_RUN(test_client_restarts);
	T_RUN(test_relays_of_one_family);
	T_RUN(test_peer_outside_and_back);
	return t_done();
}
