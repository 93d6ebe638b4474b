/* SPDX-License-Identifier: Apache-2.0
 *
 * A set-associative table with a sequence lock in each entry; contract in fwd_flows.h. */
#include "fwd/fwd_flows.h"

#include <stddef.h>
#include <string.h>
#include "core/tunnel/nat.h"

_Static_assert(offsetof(struct fwd_flow_entry, again_ns) + sizeof(uint64_t) <= 64,
	       "finding takes one cache line");
_Static_assert(offsetof(struct fwd_flow_entry, flow) == 64 &&
		       offsetof(struct ps_flow, nat_addr) <= 64,
	       "judging takes the next, translating one more");

uint32_t fwd_flows_cap_for(uint32_t n)
{
	uint32_t cap = FWD_FLOW_WAYS;

	while (cap < n && cap < 1u << 30)
		cap <<= 1;
	return cap;
}

void fwd_flows_init(struct fwd_flows *t, struct fwd_flow_entry *list, uint32_t cap, uint64_t seed)
{
	*t = (struct fwd_flows){.list = list, .cap = cap, .seed = seed};
	/* Fresh memory stays untouched: a large table costs what is used of it. */
	for (uint32_t i = 0; i < cap; i++)
		if (list[i].seq || list[i].dir != FWD_FLOW_FREE)
			list[i] = (struct fwd_flow_entry){0};
}

_Static_assert(sizeof(struct ps_flow_key) % sizeof(uint64_t) == sizeof(uint32_t),
	       "hashed by words");

/* The first entry of the key's set. It is hashed for every packet: short, and no more than spread;
 * keys that share a set displace each other, nothing worse. */
static uint32_t set_of(const struct fwd_flows *t, enum fwd_flow_dir dir,
		       const struct ps_flow_key *key)
{
	const uint8_t *p = (const uint8_t *)key, *end = p + sizeof(*key);
	uint64_t h = t->seed + (uint64_t)dir, word;
	uint32_t last;

	for (; p + sizeof(word) <= end; p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		h = (h ^ word) * 0x9e3779b97f4a7c15u;
		h ^= h >> 32;
	}
	memcpy(&last, p, sizeof(last));
	h = (h ^ last) * 0x9e3779b97f4a7c15u;
	return (uint32_t)(h >> 32) & (t->cap - 1) & ~(FWD_FLOW_WAYS - 1u);
}

static bool is_flow(const struct fwd_flow_entry *e, enum fwd_flow_dir dir,
		    const struct ps_flow_key *key)
{
	return e->dir == dir && !memcmp(&e->key, key, sizeof(*key));
}

/* ---- writing ---- */

static void write_begin(struct fwd_flow_entry *e)
{
	__atomic_store_n(&e->seq, e->seq + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void write_end(struct fwd_flow_entry *e)
{
	__atomic_store_n(&e->seq, e->seq + 1, __ATOMIC_RELEASE);
}

static void renew(struct fwd_flow_entry *e, enum fwd_flow_dir dir, const struct ps_flow_key *key)
{
	write_begin(e);
	e->cached = false;
	e->dir = (uint8_t)dir;
	e->key = *key;
	e->flow = (struct ps_flow){0};
	write_end(e);
	PS_WRITE_ONCE(e->again_ns, 0);
	e->expires_at = 0;
	e->peer_id = e->resource_id = (struct uuid){0};
	e->has_resource = false;
}

struct fwd_flow_entry *fwd_flows_take(struct fwd_flows *t, enum fwd_flow_dir dir,
				      const struct ps_flow_key *key)
{
	struct fwd_flow_entry *set = &t->list[set_of(t, dir, key)], *give = set;
	uint64_t oldest = UINT64_MAX;

	for (uint32_t i = 0; i < FWD_FLOW_WAYS; i++) {
		/* a free one is the oldest of all: last_ns is 0 */
		uint64_t last = PS_READ_ONCE(set[i].flow.last_ns);

		if (is_flow(&set[i], dir, key))
			return &set[i];
		if (last < oldest) {
			oldest = last;
			give = &set[i];
		}
	}
	if (give->dir == FWD_FLOW_FREE)
		t->used++;
	else
		t->displaced++;
	renew(give, dir, key);
	return give;
}

struct fwd_flow_entry *fwd_flows_find(const struct fwd_flows *t, enum fwd_flow_dir dir,
				      const struct ps_flow_key *key)
{
	if (!t->cap)
		return NULL;
	return (struct fwd_flow_entry *)(uintptr_t)fwd_flows_in_set(&t->list[set_of(t, dir, key)],
								    dir, key);
}

/* Expiry is computed anew for every packet, from two clocks: less than a second is no change. */
static bool says(const struct fwd_flow_entry *e, const struct ps_flow *f)
{
	const struct ps_flow *have = &e->flow;

	return have->peer == f->peer && have->generation == f->generation &&
	       have->resource == f->resource && have->nat == f->nat &&
	       have->nat_port == f->nat_port &&
	       !memcmp(have->nat_addr, f->nat_addr, sizeof(f->nat_addr)) &&
	       have->expires_ns / NS_PER_SEC == f->expires_ns / NS_PER_SEC;
}

static void decide(struct fwd_flow_entry *e, const struct ps_flow *f, bool cached)
{
	write_begin(e);
	e->flow.peer = f->peer;
	e->flow.generation = f->generation;
	e->flow.expires_ns = f->expires_ns;
	e->flow.resource = f->resource;
	e->flow.nat = f->nat;
	e->flow.nat_port = f->nat_port;
	memcpy(e->flow.nat_addr, f->nat_addr, sizeof(f->nat_addr));
	e->cached = cached;
	write_end(e);
}

/* Most packets change nothing: then readers are not disturbed. */
void fwd_flow_note(struct fwd_flow_entry *e, const struct ps_flow *f)
{
	if (!says(e, f))
		decide(e, f, false);
}

void fwd_flow_publish(struct fwd_flow_entry *e, const struct ps_flow *f)
{
	if (!e->cached || !says(e, f))
		decide(e, f, true);
}

void fwd_flow_hide(struct fwd_flow_entry *e)
{
	if (!e->cached)
		return;
	write_begin(e);
	e->cached = false;
	write_end(e);
}

bool fwd_flow_is_over(const struct fwd_flow_entry *e, uint64_t now)
{
	return time_since(PS_READ_ONCE(e->flow.last_ns), now) >
	       (e->key.proto == IP_PROTO_TCP ? NAT_TCP_NS : NAT_UDP_NS);
}

/* ---- any thread ---- */

static bool still(const struct fwd_flow_entry *e, uint32_t seq)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&e->seq, __ATOMIC_RELAXED) == seq;
}

bool fwd_flows_get(const struct fwd_flows *t, enum fwd_flow_dir dir, const struct ps_flow_key *key,
		   struct ps_flow *copy, struct fwd_flow_entry **e)
{
	struct fwd_flow_entry *set;

	if (!t->cap)
		return false;
	set = &t->list[set_of(t, dir, key)];
	for (uint32_t i = 0; i < FWD_FLOW_WAYS; i++) {
		uint32_t seq = __atomic_load_n(&set[i].seq, __ATOMIC_ACQUIRE);
		bool cached;

		if (seq & 1 || !is_flow(&set[i], dir, key))
			continue;
		cached = PS_READ_ONCE(set[i].cached);
		*copy = set[i].flow;
		*e = &set[i];
		return still(&set[i], seq) && cached;
	}
	return false;
}

const struct fwd_flow_entry *fwd_flows_ahead(const struct fwd_flows *t, enum fwd_flow_dir dir,
					     const struct ps_flow_key *key)
{
	const struct fwd_flow_entry *set = t->cap ? &t->list[set_of(t, dir, key)] : NULL;

	if (!set)
		return NULL;
	__builtin_prefetch(&set->key);
	__builtin_prefetch(&set->flow, 1);
	return set;
}

const struct fwd_flow_entry *fwd_flows_in_set(const struct fwd_flow_entry *set,
					      enum fwd_flow_dir dir, const struct ps_flow_key *key)
{
	for (uint32_t i = 0; i < FWD_FLOW_WAYS; i++)
		if (is_flow(&set[i], dir, key))
			return &set[i];
	return NULL;
}

void fwd_flow_carried(struct fwd_flow_entry *e, const struct ps_flow_key *key, uint64_t packets,
		      uint64_t bytes, uint64_t now)
{
	uint32_t seq = __atomic_load_n(&e->seq, __ATOMIC_ACQUIRE);

	if (seq & 1 || memcmp(&e->key, key, sizeof(*key)) != 0 || !still(e, seq))
		return;
	__atomic_fetch_add(&e->flow.packets, packets, __ATOMIC_RELAXED);
	__atomic_fetch_add(&e->flow.bytes, bytes, __ATOMIC_RELAXED);
	if (PS_READ_ONCE(e->flow.last_ns) < now)
		PS_WRITE_ONCE(e->flow.last_ns, now);
}
