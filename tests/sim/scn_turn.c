/* SPDX-License-Identifier: Apache-2.0
 *
 * The TURN client against the relay, nothing else in between but a bad network: allocations come up
 * and last, channels carry data, a relay that restarts is noticed, a NAT that forgets is survived.
 */
#include <stdlib.h>

#include "core/relay/relay_auth.h"
#include "core/turn/turn.h"
#include "crypto/crypto.h"
#include "tests/sim/sim_priv.h"
#include "tests/sim/sim_relay.h"
#include "tests/sim/sim_seeds.h"

#define N_SEEDS	  200
#define DATA_PORT 7000

/* ---- a host with one TURN client ---- */

struct user {
	struct sim *sim;
	unsigned host;
	struct turn turn;
	struct endpoint peer; /* family 0: none */
	uint64_t every_ns, send_at;
	uint64_t sent, received, last_rx_at, max_gap_ns;
	unsigned n_cand, n_gone, n_up, n_down;
	bool has_out;
	struct sim_out out;
	struct turn_tx tx;
};

static void user_events(struct user *u, uint64_t now)
{
	struct turn_event ev;

	while (turn_poll_event(&u->turn, &ev, now)) {
		u->n_cand += ev.kind == TURN_EV_CAND;
		u->n_gone += ev.kind == TURN_EV_CAND_GONE;
		u->n_up += ev.kind == TURN_EV_CHANNEL_UP;
		u->n_down += ev.kind == TURN_EV_CHANNEL_DOWN;
	}
}

static void user_input(void *self, const struct sim_dgram *in, uint64_t now)
{
	struct user *u = self;
	struct turn_data d;

	if (!turn_is_server(&u->turn, &in->remote))
		return;
	if (turn_input(&u->turn, &in->local, &in->remote, in->data, in->len, &d, now) !=
	    TURN_RX_DATA)
		return;
	if (!endpoint_eq(&d.peer, &u->peer) || d.len != sizeof(uint64_t))
		sim_fail(u->sim, "data of somebody else");
	u->received++;
	if (u->last_rx_at && now - u->last_rx_at > u->max_gap_ns)
		u->max_gap_ns = now - u->last_rx_at;
	u->last_rx_at = now;
}

static void user_send(struct user *u, uint64_t now)
{
	uint16_t number;

	u->send_at = now + u->every_ns;
	if (!turn_channel(&u->turn, &u->peer, now, &number)) {
		turn_bind(&u->turn, &u->peer, now);
		return;
	}
	if (!turn_route(&u->turn, &u->out.local, &u->out.remote))
		return;
	turn_chan_put(u->out.buf, number, sizeof(uint64_t));
	memcpy(u->out.buf + TURN_CHAN_HDR_LEN, &u->sent, sizeof(uint64_t));
	u->out.len = TURN_CHAN_HDR_LEN + sizeof(uint64_t);
	u->has_out = true;
	u->sent++;
	turn_sent(&u->turn, now);
}

static bool user_poll_tx(void *self, struct sim_out *out, uint64_t now)
{
	struct user *u = self;
	bool control = turn_poll_tx(&u->turn, &u->tx, now);

	user_events(u, now);
	if (control) {
		out->local = u->tx.local;
		out->remote = u->tx.remote;
		out->len = u->tx.len;
		memcpy(out->buf, u->tx.buf, u->tx.len);
	} else if (u->has_out) {
		*out = u->out;
		u->has_out = false;
	} else {
		return false;
	}
	if (!out->local.ip.family)
		out->local.port = 1000;
	return true;
}

static struct deadline user_deadline(const void *self)
{
	const struct user *u = self;
	struct deadline d = turn_deadline(&u->turn);

	return u->every_ns ? deadline_min(d, (struct deadline){u->send_at, "data"}) : d;
}

static void user_timeout(void *self, uint64_t now)
{
	struct user *u = self;

	turn_timeout(&u->turn, now);
	user_events(u, now);
	if (u->every_ns && time_reached(u->send_at, now) && !u->has_out)
		user_send(u, now);
}

static const struct sim_ops user_ops = {user_input, NULL, user_poll_tx, user_deadline,
					user_timeout};

/* ---- a peer that sends back what it gets ---- */

struct echo {
	bool has_out;
	struct sim_out out;
	uint64_t received;
};

static void echo_input(void *self, const struct sim_dgram *in, uint64_t now)
{
	struct echo *e = self;

	(void)now;
	e->received++;
	e->has_out = true;
	e->out.local = in->local;
	e->out.remote = in->remote;
	e->out.len = in->len;
	memcpy(e->out.buf, in->data, in->len);
}

static bool echo_poll_tx(void *self, struct sim_out *out, uint64_t now)
{
	struct echo *e = self;

	(void)now;
	if (!e->has_out)
		return false;
	*out = e->out;
	e->has_out = false;
	return true;
}

static struct deadline echo_deadline(const void *self)
{
	(void)self;
	return (struct deadline){TIME_NEVER, "nothing"};
}

static void echo_timeout(void *self, uint64_t now)
{
	(void)self;
	(void)now;
}

static const struct sim_ops echo_ops = {echo_input, NULL, echo_poll_tx, echo_deadline,
					echo_timeout};

/* ---- the world ---- */

struct world {
	struct sim *sim;
	struct sim_portal portal;
	struct sim_relay relay;
	struct user user;
	struct echo echo;
};

struct setup {
	struct sim_link link;
	const struct sim_nat_cfg *nat;
	bool user4, user6, relay4, relay6, peer6;
};

static const struct ipaddr user_ip = {.family = 4, .b = {10, 0, 0, 1}};

static void user_open(struct world *w)
{
	const struct sim_portal_relay *pr = &w->portal.relays[w->relay.number];
	struct turn_cfg cfg = {
		.addr4 = pr->addr4, .addr6 = pr->addr6, .username = "1702592000:salt"};
	char password[RELAY_PASSWORD_CAP];
	uint8_t seed[32] = {0};

	memcpy(seed, &(uint64_t){sim_rand(w->sim, UINT64_MAX)}, 8);
	T_EQ(relay_stamp_password(w->relay.auth.stamp, cfg.username, strlen(cfg.username),
				  password),
	     0);
	memcpy(cfg.password, password, strlen(password));
	T_EQ(turn_init(&w->user.turn, &cfg, seed, sim_now(w->sim)), 0);
}

static struct world *world_new(const char *scn, uint64_t seed, const struct setup *s)
{
	static const struct ipaddr relay4 = {.family = 4, .b = {192, 0, 2, 1}},
				   relay6 = {.family = 6, .b = {0x20, 1, 0xd, 0xb8, 1}},
				   peer4 = {.family = 4, .b = {198, 51, 100, 1}},
				   peer6 = {.family = 6, .b = {0x20, 1, 0xd, 0xb8, 2}},
				   user6 = {.family = 6, .b = {0x20, 1, 0xd, 0xb8, 3}};
	const struct sim_link near = {.lat_min_ns = NS_PER_MS, .lat_max_ns = 2 * NS_PER_MS};
	struct world *w = sim_must(calloc(1, sizeof(*w)));
	unsigned echo, nat = SIM_NO_NAT;

	w->sim = sim_new(scn, seed);
	sim_portal_init(&w->portal, w->sim);
	sim_relay_add(&w->relay, &w->portal, s->relay4 ? &relay4 : NULL, s->relay6 ? &relay6 : NULL,
		      &near);
	sim_relay_start(&w->relay);
	user_open(w);
	w->user.sim = w->sim;
	w->user.host = sim_host_add(w->sim, &user_ops, &w->user, &s->link);
	if (s->nat)
		nat = sim_nat_add(w->sim, s->nat);
	if (s->user4)
		sim_addr_add(w->sim, w->user.host, &user_ip, nat);
	if (s->user6)
		sim_addr_add(w->sim, w->user.host, &user6, SIM_NO_NAT);
	echo = sim_host_add(w->sim, &echo_ops, &w->echo, &near);
	sim_addr_add(w->sim, echo, &peer4, SIM_NO_NAT);
	sim_addr_add(w->sim, echo, &peer6, SIM_NO_NAT);
	w->user.peer = (struct endpoint){.ip = s->peer6 ? peer6 : peer4, .port = DATA_PORT};
	return w;
}

static void world_free(struct world *w)
{
	T(!sim_failed(w->sim));
	turn_fini(&w->user.turn);
	sim_relay_free(&w->relay);
	sim_free(w->sim);
	free(w);
}

static void run(struct world *w, uint64_t for_ns)
{
	sim_run(w->sim, sim_now(w->sim) + for_ns, NULL, NULL);
}

static void send_data(struct world *w, uint64_t every_ns)
{
	w->user.every_ns = every_ns;
	w->user.send_at = sim_now(w->sim);
	sim_kick(w->sim, w->user.host);
}

static bool ready(void *ctx)
{
	return turn_state(&((struct world *)ctx)->user.turn) == TURN_READY;
}

static bool not_ready(void *ctx)
{
	return !ready(ctx);
}

#define LAT .lat_min_ns = 10 * NS_PER_MS, .lat_max_ns = 20 * NS_PER_MS
static const struct setup plain = {
	.link = {LAT}, .user4 = true, .user6 = true, .relay4 = true, .relay6 = true};

/* ---- scenarios ---- */

struct bound {
	const char *name;
	uint32_t loss_ppm;
	unsigned p50_ms, p99_ms;
};

/* From nothing to an allocation and data echoed through a channel. */
static void test_allocate(void)
{
	static const struct bound bounds[] = {
		{"allocate and echo, clean", 0, 260, 300},
		{"allocate and echo, 10 % loss each way", 100000, 1300, 12000},
		{"allocate and echo, 30 % loss each way", 300000, 5000, 60000},
	};

	for (size_t b = 0; b < sizeof(bounds) / sizeof(*bounds); b++) {
		static struct sim_times t;
		struct setup s = plain;

		t.n = 0;
		s.link.loss_ppm = bounds[b].loss_ppm;
		for (unsigned i = 0; i < sim_seeds(N_SEEDS); i++) {
			struct world *w = world_new("turn-allocate", t_seed() + i, &s);
			uint64_t start = sim_now(w->sim), up_by = start + 60 * NS_PER_SEC;

			send_data(w, 50 * NS_PER_MS);
			while (!w->user.received && sim_now(w->sim) < up_by &&
			       !sim_failed(w->sim)) {
				/* what a relay update does for one that gave up */
				if (turn_state(&w->user.turn) == TURN_UNREACHABLE)
					turn_refresh(&w->user.turn, sim_now(w->sim));
				run(w, 10 * NS_PER_MS);
			}
			SIM_T(w->sim, w->user.received > 0);
			sim_times_add(&t, sim_now(w->sim) - start);
			world_free(w);
		}
		sim_times_note(&t, bounds[b].name);
		T(sim_times_within(&t, 50, bounds[b].p50_ms * NS_PER_MS));
		T(sim_times_within(&t, 99, bounds[b].p99_ms * NS_PER_MS));
	}
}

/* Every combination of what user, relay and peer speak. */
static void test_families(void)
{
	for (unsigned m = 1; m < 32; m++) {
		struct setup s = plain;
		struct world *w;
		bool reach;

		s.user4 = m & 1;
		s.user6 = m & 2;
		s.relay4 = m & 4;
		s.relay6 = m & 8;
		s.peer6 = m & 16;
		if (!s.relay4 && !s.relay6)
			continue;
		reach = (s.user4 && s.relay4) || (s.user6 && s.relay6);
		w = world_new("turn-families", t_seed() + m, &s);
		send_data(w, 100 * NS_PER_MS);
		run(w, 5 * NS_PER_SEC);
		SIM_T_EQ(w->sim, ready(w), reach);
		SIM_T_EQ(w->sim, w->user.received > 0, reach && (s.peer6 ? s.relay6 : s.relay4));
		SIM_T_EQ(w->sim, sim_relay_n_allocs(&w->relay), reach);
		world_free(w);
	}
}

/* Forty minutes with loss: four refreshes of the allocation and more of the channel, and data
 * never stops for long. */
static void test_lasts(void)
{
	for (unsigned i = 0; i < sim_seeds(10); i++) {
		struct setup s = plain;
		struct world *w;

		s.link.loss_ppm = 50000;
		w = world_new("turn-lasts", t_seed() + i, &s);
		send_data(w, 500 * NS_PER_MS);
		run(w, 40 * 60 * NS_PER_SEC);
		SIM_T_EQ(w->sim, w->user.n_down, 0);
		SIM_T_EQ(w->sim, w->user.turn.acct.lost, 0);
		SIM_T(w->sim, w->user.max_gap_ns < 4 * NS_PER_SEC);
		SIM_T(w->sim, w->user.received > 4000);
		SIM_T_EQ(w->sim, w->relay.relay.acct.allocs_made, 1);
		world_free(w);
	}
}

/* Sends nothing: the allocation lives on keep-alives and refreshes alone. */
static void test_idle(void)
{
	struct world *w = world_new("turn-idle", t_seed(), &plain);

	run(w, 3600 * NS_PER_SEC);
	T(ready(w));
	T_EQ(w->user.turn.acct.lost, 0);
	T_EQ(sim_relay_n_allocs(&w->relay), 1);
	world_free(w);
}

/* The relay restarts with another secret: noticed by the keep-alive at the latest, and never taken
 * for anything else than gone. */
static void test_restart_noticed(void)
{
	static struct sim_times t;

	t.n = 0;
	for (unsigned i = 0; i < sim_seeds(N_SEEDS); i++) {
		struct world *w = world_new("turn-restart", t_seed() + i, &plain);
		uint64_t at;

		run(w, (2 + sim_rand(w->sim, 60)) * NS_PER_SEC);
		SIM_T(w->sim, ready(w));
		sim_relay_kill(&w->relay);
		run(w, 500 * NS_PER_MS);
		sim_relay_start(&w->relay);
		at = sim_now(w->sim);
		sim_run(w->sim, at + 700 * NS_PER_SEC, not_ready, w);
		SIM_T(w->sim, !ready(w));
		sim_times_add(&t, sim_now(w->sim) - at);
		world_free(w);
	}
	sim_times_note(&t, "restart of an unused relay noticed");
	T(sim_times_pct(&t, 100) <= 330 * NS_PER_SEC);
}

/* The relay is gone: noticed within the keep-alive interval and the time a request has. */
static void test_silence_noticed(void)
{
	static struct sim_times t;

	t.n = 0;
	for (unsigned i = 0; i < sim_seeds(N_SEEDS); i++) {
		struct world *w = world_new("turn-silence", t_seed() + i, &plain);
		uint64_t at;

		run(w, (2 + sim_rand(w->sim, 60)) * NS_PER_SEC);
		sim_relay_kill(&w->relay);
		at = sim_now(w->sim);
		sim_run(w->sim, at + 60 * NS_PER_SEC, not_ready, w);
		SIM_T(w->sim, !ready(w));
		sim_times_add(&t, sim_now(w->sim) - at);
		world_free(w);
	}
	sim_times_note(&t, "silence of an unused relay noticed");
	T(sim_times_pct(&t, 100) <= 34 * NS_PER_SEC);
}

/* A NAT that forgets after 60 s keeps us as long as we speak. One that was reset makes another
 * client of us: found out although we never stop sending, and another allocation made. */
static void test_nat_forgets(void)
{
	static const struct sim_nat_cfg nat = {.public_ip = {.family = 4, .b = {203, 0, 113, 1}},
					       .mapping = SIM_INDEPENDENT,
					       .filtering = SIM_ADDR_PORT_DEPENDENT,
					       .timeout_ns = 60 * NS_PER_SEC};

	for (unsigned i = 0; i < sim_seeds(20); i++) {
		struct setup s = plain;
		struct world *w;
		uint64_t before;

		s.nat = &nat;
		s.user6 = false;
		w = world_new("turn-nat", t_seed() + i, &s);
		run(w, 300 * NS_PER_SEC);
		SIM_T(w->sim, ready(w));
		SIM_T_EQ(w->sim, w->user.turn.acct.lost, 0);
		send_data(w, NS_PER_SEC);
		run(w, 5 * NS_PER_SEC);
		w->sim->nats[0]->n_mappings = 0;
		run(w, 60 * NS_PER_SEC);
		before = w->user.received;
		run(w, 10 * NS_PER_SEC);
		SIM_T(w->sim, ready(w));
		SIM_T(w->sim, w->user.received > before);
		world_free(w);
	}
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_allocate);
	T_RUN(test_families);
	T_RUN(test_lasts);
	T_RUN(test_idle);
	T_RUN(test_restart_noticed);
	T_RUN(test_silence_noticed);
	T_RUN(test_nat_forgets);
	return t_done();
}
