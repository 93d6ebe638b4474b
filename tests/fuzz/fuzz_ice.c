/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes as a schedule: two agents, a few addresses each, and a network that delivers, loses,
 * doubles and delays as the input says, while candidates come and go, timings change and time
 * jumps. After every step the lists are sound and nobody wants to be woken in the past. */
#include <stdlib.h>

#include "core/ice/ice.h"
#include "crypto/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WIRE_MAX  64
#define STEPS_MAX 600

struct wire_pkt {
	bool to_b;
	struct ice_tx tx;
};

static struct world {
	struct ice agent[2];
	uint64_t now;
	struct wire_pkt wire[WIRE_MAX];
	unsigned n_wire;
} w;

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void lists_sound(const struct ice *ice)
{
	check(ice->n_pairs <= ICE_PAIRS_MAX && ice->nominated < (int)ice->n_pairs &&
	      ice->nominated >= -1);
	check(ice->n_locals <= ICE_LOCALS_MAX && ice->n_remotes <= ICE_REMOTES_MAX);
	for (unsigned i = 0; i < ice->n_pairs; i++) {
		const struct ice_pair *p = &ice->pairs[i];
		const struct ice_cand *l, *r;

		check(p->local < ice->n_locals && p->remote < ice->n_remotes);
		l = &ice->locals[p->local];
		r = &ice->remotes[p->remote];
		check(!l->discarded && !r->discarded && l->base.ip.family == r->addr.ip.family);
		for (unsigned k = 0; k < i; k++)
			check(!endpoint_eq(&ice->locals[ice->pairs[k].local].base, &l->base) ||
			      !endpoint_eq(&ice->remotes[ice->pairs[k].remote].addr, &r->addr));
	}
}

static void drive(unsigned who)
{
	struct ice *ice = &w.agent[who];
	struct ice_event ev;
	struct ice_tx tx;
	unsigned n = 0;

	for (unsigned round = 0; ice_deadline(ice).at <= w.now; round++) {
		check(round < 16);
		ice_timeout(ice, w.now);
		while (ice_poll_event(ice, &ev))
			check(ev.kind == ICE_EV_NOMINATED || ev.old_state != ev.new_state);
		while (ice_poll_tx(ice, &tx, w.now)) {
			check(++n < 1000 && tx.len > 0 && tx.len <= ICE_TX_MAX);
			if (w.n_wire < WIRE_MAX)
				w.wire[w.n_wire++] = (struct wire_pkt){.to_b = !who, .tx = tx};
		}
	}
	lists_sound(ice);
	check((ice_state(ice) == ICE_CONNECTED || ice_state(ice) == ICE_COMPLETED) ==
	      (ice->nominated >= 0));
}

/* Eight addresses a side, both families, hosts and what a NAT would make of them. */
static struct ice_cand cand_of(unsigned who, unsigned n)
{
	struct endpoint at = {.ip = ipaddr_v4(192, 0, (uint8_t)who, (uint8_t)(1 + n % 3)),
			      .port = 1000},
			other;

	if (n & 4)
		at.ip = ipaddr_from(6, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0");
	at.ip.b[at.ip.family == 6 ? 15 : 3] = (uint8_t)(1 + n % 3 + 16 * who);
	other = at;
	other.port = 2000;
	if (n & 8)
		return ice_cand_srflx(&other, &at);
	if (n & 16)
		return ice_cand_relay(&other, &at);
	return ice_cand_host(&at);
}

static void deliver(unsigned i, bool keep, bool nat)
{
	struct wire_pkt *p = &w.wire[i % w.n_wire];
	struct ice_dgram in = {
		.local = p->tx.remote, .remote = p->tx.local, .data = p->tx.buf, .len = p->tx.len};

	if (nat)
		in.remote.port = (uint16_t)(in.remote.port + 7);
	ice_input(&w.agent[p->to_b], &in, w.now);
	if (!keep)
		*p = w.wire[--w.n_wire];
}

static void candidate(unsigned who, unsigned n, unsigned how)
{
	struct ice_cand c = cand_of(who, n), out = c;

	if (how & 1) {
		ice_remove_local(&w.agent[who], &c, w.now);
	} else {
		ice_add_local(&w.agent[who], &c, &out, w.now);
	}
	if (how & 2)
		return;
	if (how & 1) {
		ice_remove_remote(&w.agent[!who], &out, w.now);
	} else if (out.prio) {
		ice_add_remote(&w.agent[!who], &out, w.now);
		ice_add_optimistic(&w.agent[!who], w.now);
	}
}

static void step(uint8_t op, uint8_t arg)
{
	static const struct ice_timing *const timings[] = {&ICE_TIMING_ACTIVE, &ICE_TIMING_IDLE,
							   &ICE_TIMING_GATEWAY_ACTIVE,
							   &ICE_TIMING_GATEWAY_IDLE};
	unsigned who = op & 1;

	switch (op >> 1 & 7) {
	case 0:
		candidate(who, arg & 31, arg >> 5);
		break;
	case 1:
	case 2:
		if (w.n_wire)
			deliver(arg & 63, arg & 64, arg & 128);
		break;
	case 3:
		if (w.n_wire)
			w.wire[arg % w.n_wire] = w.wire[w.n_wire - 1], w.n_wire--;
		break;
	case 4:
		w.now += arg * NS_PER_MS;
		break;
	case 5:
		w.now += arg * 200 * NS_PER_MS;
		break;
	case 6:
		ice_set_timing(&w.agent[who], timings[arg & 3], w.now);
		break;
	default:
		w.n_wire = arg & 1 ? 0 : w.n_wire;
		break;
	}
	drive(0);
	drive(1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ice_cfg cfg = {.controlling = true,
			      .local = {"aaaa", "password-of-a-22-chars"},
			      .remote = {"bbbb", "password-of-b-22-chars"},
			      .timing = ICE_TIMING_ACTIVE,
			      .tag = 1};
	struct ice_creds a = cfg.local;
	uint8_t seed[32] = {1};

	if (size < 1)
		return 0;
	memset(&w, 0, sizeof(w));
	check(!crypto_init());
	check(!ice_init(&w.agent[0], &cfg, seed, 0));
	cfg.local = cfg.remote;
	cfg.remote = a;
	cfg.controlling = data[0] & 1;
	cfg.tag = 2;
	seed[0] = 2;
	check(!ice_init(&w.agent[1], &cfg, seed, 0));
	for (size_t i = 1; i + 1 < size && i < 2 * STEPS_MAX; i += 2)
		step(data[i], data[i + 1]);
	return 0;
}
