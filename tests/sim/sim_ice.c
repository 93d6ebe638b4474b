/* SPDX-License-Identifier: Apache-2.0
 * The ICE endpoint of the simulated network; see sim_ice.h. Portal messages are 'o' (open), 'c' +
 * candidate (signalled), 'r' + candidate (invalidated); data is 'D' and a number. */
#include "tests/sim/sim_ice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "crypto/crypto.h"

#define DATA_LEN 64

static void signal_cand(struct sim_ice *e, char what, const struct ice_cand *c)
{
	char msg[SDP_CAND_STRLEN + 1] = {what};

	if (ice_cand_fmt(c, e->ice.local_creds.ufrag, msg + 1, sizeof(msg) - 1))
		abort();
	sim_portal_send(e->sim, e->host, e->peer, msg, strlen(msg));
}

static bool takes_candidates(const struct sim_ice *e)
{
	return e->cfg.policy == SIM_ICE_USE_ALL || !e->connected;
}

static void local_add(struct sim_ice *e, const struct ice_cand *c, uint64_t now)
{
	struct ice_cand out;
	enum ice_add rc;

	if (!takes_candidates(e)) {
		e->n_ignored++;
		return;
	}
	rc = ice_add_local(&e->ice, c, &out, now);
	if (rc == ICE_ADD_REJECTED)
		sim_fail(e->sim, "own candidate rejected");
	if (rc == ICE_ADD_REDUNDANT)
		return;
	if (e->n_signalled < SIM_ICE_LOCALS)
		e->signalled[e->n_signalled++] = out.addr;
	signal_cand(e, 'c', &out);
}

static void locals_due(struct sim_ice *e, uint64_t now)
{
	for (unsigned i = 0; i < e->n_locals; i++)
		if (!e->locals[i].done && now >= e->open_at + e->locals[i].after_ns) {
			e->locals[i].done = true;
			local_add(e, &e->locals[i].cand, now);
		}
}

static void open_now(struct sim_ice *e, uint64_t now)
{
	struct ice_cfg cfg = {.controlling = e->cfg.controlling,
			      .local = {"aaaa", "password-of-a-22-chars"},
			      .remote = {"bbbb", "password-of-b-22-chars"},
			      .timing = e->cfg.timing,
			      .tag = (uint32_t)sim_rand(e->sim, UINT32_MAX)};
	uint8_t seed[32] = {0};

	if (!e->cfg.controlling) {
		struct ice_creds c = cfg.local;

		cfg.local = cfg.remote;
		cfg.remote = c;
	}
	for (size_t i = 0; i < sizeof(seed); i++)
		seed[i] = (uint8_t)sim_rand(e->sim, 256);
	if (ice_init(&e->ice, &cfg, seed, now))
		abort();
	ice_grace_init(&e->grace);
	e->open = true;
	e->open_at = now;
}

/* ---- events ---- */

static void on_state(struct sim_ice *e, const struct ice_event *ev, uint64_t now)
{
	ice_grace_state(&e->grace, ev->new_state, now);
	if (ev->new_state == ICE_DISCONNECTED) {
		e->n_disconnected++;
		e->disconnected_at = now;
	}
	e->n_checking_again += ev->old_state == ICE_DISCONNECTED && ev->new_state == ICE_CHECKING;
}

static void on_nominated(struct sim_ice *e, const struct ice_event *ev, uint64_t now)
{
	e->n_nominated++;
	if (!e->has_path || !endpoint_eq(&e->path.local, &ev->path.local) ||
	    !endpoint_eq(&e->path.remote, &ev->path.remote))
		e->n_paths++;
	e->path = ev->path;
	e->has_path = true;
	if (!e->connected)
		e->connected_at = e->next_data_at = now;
	e->connected = true;
}

static void drain(struct sim_ice *e, uint64_t now)
{
	struct ice_event ev;

	while (ice_poll_event(&e->ice, &ev))
		switch (ev.kind) {
		case ICE_EV_STATE:
			on_state(e, &ev, now);
			break;
		case ICE_EV_NOMINATED:
			on_nominated(e, &ev, now);
			break;
		}
}

/* ---- the endpoint ---- */

static void on_timeout(void *self, uint64_t now)
{
	struct sim_ice *e = self;

	if (!e->open || e->failed)
		return;
	locals_due(e, now);
	ice_timeout(&e->ice, now);
	drain(e, now);
	if (ice_grace_timeout(&e->grace, now)) {
		e->failed = true;
		e->has_path = false;
		e->failed_at = now;
	}
}

static void on_data(struct sim_ice *e, uint64_t now)
{
	uint64_t gap = now - e->last_data_at;

	if (e->data_received++ && gap > e->max_data_gap_ns)
		e->max_data_gap_ns = gap;
	e->last_data_at = now;
}

static void on_input(void *self, const struct sim_dgram *in, uint64_t now)
{
	struct ice_dgram d = {
		.local = in->local, .remote = in->remote, .data = in->data, .len = in->len};
	struct sim_ice *e = self;

	if (!e->open || e->failed)
		return;
	if (in->len == DATA_LEN && in->data[0] == 'D') {
		on_data(e, now);
		return;
	}
	e->rx[ice_input(&e->ice, &d, now)]++;
}

static void on_portal(void *self, unsigned from, const void *msg, size_t len, uint64_t now)
{
	struct sim_ice *e = self;
	const char *m = msg;

	(void)from;
	if (e->failed)
		return;
	if (m[0] == 'o') {
		open_now(e, now);
		if (!e->cfg.controlling)
			sim_portal_send(e->sim, e->host, e->peer, "o", 1);
		return;
	}
	if (!e->open)
		return sim_fail(e->sim, "a candidate overtook the connection");
	if (m[0] == 'r') {
		ice_remove_remote_text(&e->ice, m + 1, len - 1, now);
		return;
	}
	e->n_received++;
	if (!takes_candidates(e)) {
		e->n_ignored++;
		return;
	}
	if (ice_add_remote_text(&e->ice, m + 1, len - 1, now) == ICE_ADD_REJECTED)
		sim_fail(e->sim, "candidate rejected");
	ice_add_optimistic(&e->ice, now);
}

static bool data_due(const struct sim_ice *e, uint64_t now)
{
	return e->cfg.data_every_ns && e->has_path && now >= e->next_data_at;
}

static bool on_poll_tx(void *self, struct sim_out *out, uint64_t now)
{
	struct sim_ice *e = self;
	struct ice_tx tx;

	if (!e->open || e->failed)
		return false;
	if (ice_poll_tx(&e->ice, &tx, now)) {
		out->local = tx.local;
		out->remote = tx.remote;
		out->len = tx.len;
		memcpy(out->buf, tx.buf, tx.len);
		return true;
	}
	if (!data_due(e, now))
		return false;
	e->next_data_at = now + e->cfg.data_every_ns;
	out->local = e->path.local;
	out->remote = e->path.remote;
	out->len = DATA_LEN;
	memset(out->buf, 0, DATA_LEN);
	out->buf[0] = 'D';
	be64_put(out->buf + 8, e->data_sent++);
	return true;
}

static struct deadline on_deadline(const void *self)
{
	const struct sim_ice *e = self;
	struct deadline d;

	if (!e->open || e->failed)
		return deadline_never();
	d = deadline_min(ice_deadline(&e->ice), ice_grace_deadline(&e->grace));
	if (e->cfg.data_every_ns && e->has_path)
		d = deadline_min(d, (struct deadline){e->next_data_at, "data"});
	for (unsigned i = 0; i < e->n_locals; i++)
		if (!e->locals[i].done)
			d = deadline_min(d, (struct deadline){e->open_at + e->locals[i].after_ns,
							      "candidate gathered"});
	return d;
}

const struct sim_ops sim_ice_ops = {.input = on_input,
				    .portal = on_portal,
				    .poll_tx = on_poll_tx,
				    .deadline = on_deadline,
				    .timeout = on_timeout};

/* ---- setting up ---- */

void sim_ice_add(struct sim_ice *e, struct sim *sim, const struct sim_ice_cfg *cfg,
		 const struct sim_link *link)
{
	if (crypto_init())
		abort();
	memset(e, 0, sizeof(*e));
	e->sim = sim;
	e->cfg = *cfg;
	e->host = sim_host_add(sim, &sim_ice_ops, e, link);
}

void sim_ice_local(struct sim_ice *e, const struct ice_cand *c, uint64_t after_ns)
{
	if (e->n_locals == SIM_ICE_LOCALS)
		abort();
	e->locals[e->n_locals++] = (struct sim_ice_local){.cand = *c, .after_ns = after_ns};
}

void sim_ice_host(struct sim_ice *e, const char *at, unsigned nat, uint64_t after_ns)
{
	struct endpoint ep;
	struct ice_cand c;

	if (endpoint_parse(at, &ep))
		abort();
	sim_addr_add(e->sim, e->host, &ep.ip, nat);
	c = ice_cand_host(&ep);
	sim_ice_local(e, &c, after_ns);
}

void sim_ice_connect(struct sim_ice *controlling, struct sim_ice *controlled)
{
	controlling->peer = controlled->host;
	controlled->peer = controlling->host;
	sim_portal_send(controlling->sim, controlling->host, controlled->host, "o", 1);
}

void sim_ice_drop_local(struct sim_ice *e, const struct ice_cand *c)
{
	if (!ice_remove_local(&e->ice, c, sim_now(e->sim)))
		sim_fail(e->sim, "no such candidate to drop");
	signal_cand(e, 'r', c);
	sim_kick(e->sim, e->host);
}

void sim_ice_add_local_now(struct sim_ice *e, const struct ice_cand *c)
{
	local_add(e, c, sim_now(e->sim));
	sim_kick(e->sim, e->host);
}

bool sim_ice_knows_all(const struct sim_ice *e, const struct sim_ice *peer)
{
	for (unsigned i = 0; i < peer->n_signalled; i++) {
		bool known = false;

		for (unsigned k = 0; k < ice_n_remotes(&e->ice); k++) {
			const struct ice_cand *c = ice_remote(&e->ice, k);

			known |= !c->discarded && c->kind != CAND_PRFLX &&
				 endpoint_eq(&c->addr, &peer->signalled[i]);
		}
		if (!known)
			return false;
	}
	return true;
}
