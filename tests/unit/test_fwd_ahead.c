/* SPDX-License-Identifier: Apache-2.0
 *
 * Hints change nothing and look at nothing that is not there, whatever packets and entries say.
 * Buffers are as long as what they hold, so that the sanitizer sees a byte too many. */
#include "fwd/fwd_ahead.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/time.h"
#include "crypto/crypto.h"
#include "plan/inner.h"
#include "tests/pkt.h"
#include "tests/t.h"

enum { SESSIONS = 8, PEERS = 4, CACHE = 16, ROUNDS = 20000 };

static struct {
	struct fwd_table t;
	struct ps_session session[SESSIONS];
	struct ps_replay replay[SESSIONS];
	struct ps_peer peer[PEERS];
	struct fwd_keys keys[SESSIONS];
	uint32_t session_free[SESSIONS];
	struct fwd_flows flows;
	struct fwd_flow_entry list[CACHE];
} w, before;
static uint64_t seed;

static void make(void)
{
	const struct fwd_mem mem = {w.session,	    w.replay, w.peer, w.keys,
				    w.session_free, SESSIONS, PEERS};
	const uint8_t rand[32] = {3};

	T_EQ(fwd_init(&w.t, &mem, rand), 0);
	fwd_flows_init(&w.flows, w.list, CACHE, 5);
	w.flows.used = 100000; /* as of a list that is worth it */
}

static struct pkt packet(uint32_t n)
{
	char from[32];

	snprintf(from, sizeof(from), "100.64.0.%u", n % 8);
	return pkt_text(from, "10.0.0.1", IP_PROTO_UDP, 1000, 53);
}

/* Flows of peers that are there and of some that are not; sessions likewise. */
static void random_state(void)
{
	for (uint32_t p = 0; p < PEERS; p++)
		w.peer[p].tx_slot = (uint32_t)t_rand(&seed) % 2 ? (uint32_t)t_rand(&seed)
								: p % SESSIONS;
	for (uint32_t i = 0; i < 8; i++) {
		struct pkt p = packet(i);
		struct ps_inner in;

		if (!T_EQ(ps_inner_parse(p.b, p.b + p.len, &in), PS_INNER_FLOW))
			return;
		fwd_flow_publish(fwd_flows_take(&w.flows, FWD_FLOW_OUT, &in.key),
				 &(struct ps_flow){.peer = (uint32_t)t_rand(&seed) % (2 * PEERS)});
	}
}

/* A packet as it should be, one that lies, or one that is cut off; freed by the caller. */
static uint8_t *some_bytes(size_t *len)
{
	struct pkt p = packet((uint32_t)t_rand(&seed));
	uint8_t *copy;

	*len = p.len;
	if (t_rand(&seed) % 2)
		*len = t_rand(&seed) % (p.len + 1);
	else if (t_rand(&seed) % 2)
		p.b[t_rand(&seed) % p.len] = (uint8_t)t_rand(&seed);
	copy = malloc(*len ? *len : 1);
	if (copy)
		memcpy(copy, p.b, *len);
	return copy;
}

static void test_nothing_changes(void)
{
	struct fwd_ahead_pkt out[FWD_AHEAD];
	struct fwd_rx in[FWD_AHEAD];
	uint8_t *bytes[FWD_AHEAD];

	make();
	for (int r = 0; r < ROUNDS; r++) {
		const size_t n = 1 + t_rand(&seed) % FWD_AHEAD;

		random_state();
		for (size_t i = 0; i < n; i++) {
			bytes[i] = some_bytes(&out[i].len);
			out[i].pkt = bytes[i];
			in[i] = (struct fwd_rx){.msg = bytes[i],
						.len = out[i].len,
						.reason = t_rand(&seed) % 4 ? PS_R_URX_DELIVERED
									    : PS_R_URX_BAD_TAG,
						.o = {.peer = (uint32_t)t_rand(&seed) % (2 * PEERS),
						      .inner = bytes[i],
						      .inner_len = out[i].len}};
		}
		memcpy(&before, &w, sizeof(w));
		for (size_t i = 0; i < n; i++)
			fwd_ahead_open(&w.t, bytes[i], out[i].len);
		fwd_ahead_in(&w.t, &w.flows, in, n);
		fwd_ahead_out(&w.t, &w.flows, out, n);
		if (!T(!memcmp(&before, &w, sizeof(w))))
			return;
		for (size_t i = 0; i < n; i++)
			free(bytes[i]);
	}
}

static void test_no_list(void)
{
	struct fwd_flows none = {.cap = 0};
	struct pkt p = packet(1), q = packet(2);
	const struct fwd_ahead_pkt out[] = {{p.b, p.len}, {q.b, q.len}};
	const struct ps_flow_key key = {.family = 4};

	make();
	T(!fwd_flows_ahead(&none, FWD_FLOW_OUT, &key));
	fwd_ahead_out(&w.t, &none, out, 2);
}

/* An entry is found in its set, cached or not, and no other one is. */
static void test_in_set(void)
{
	struct ps_flow_key key = {.family = 4, .sport = 1}, other = {.family = 4, .sport = 2};
	const struct fwd_flow_entry *set, *e;

	make();
	e = fwd_flows_take(&w.flows, FWD_FLOW_OUT, &key);
	set = fwd_flows_ahead(&w.flows, FWD_FLOW_OUT, &key);
	T(fwd_flows_in_set(set, FWD_FLOW_OUT, &key) == e);
	T(!fwd_flows_in_set(set, FWD_FLOW_IN, &key));
	T(!fwd_flows_in_set(set, FWD_FLOW_OUT, &other));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	seed = t_seed();
	if (crypto_init())
		return 1;
	T_RUN(test_nothing_changes);
	T_RUN(test_no_list);
	T_RUN(test_in_set);
	return t_done();
}
