/* SPDX-License-Identifier: Apache-2.0
 *
 * A set-associative table; contract in fwd_seen.h. */
#include "fwd/fwd_seen.h"

#include <string.h>
#include "core/tunnel/nat.h"

uint32_t fwd_seen_cap_for(uint32_t n)
{
	uint32_t cap = FWD_SEEN_WAYS;

	while (cap < n && cap < 1u << 30)
		cap <<= 1;
	return cap;
}

void fwd_seen_init(struct fwd_seen *s, struct fwd_seen_flow *list, uint32_t cap)
{
	*s = (struct fwd_seen){.list = list, .cap = cap};
	memset(list, 0, cap * sizeof(*list));
}

_Static_assert(sizeof(struct ps_flow_key) % sizeof(uint64_t) == sizeof(uint32_t),
	       "hashed by words");

/* The first entry of the key's set. It is hashed for every packet: short, and no more than spread,
 * as nothing but the view depends on it. */
static uint32_t set_of(const struct fwd_seen *s, enum fwd_seen_dir dir,
		       const struct ps_flow_key *key)
{
	const uint8_t *p = (const uint8_t *)key, *end = p + sizeof(*key);
	uint64_t h = (uint64_t)dir, word;
	uint32_t last;

	for (; p + sizeof(word) <= end; p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		h = (h ^ word) * 0x9e3779b97f4a7c15u;
		h ^= h >> 32;
	}
	memcpy(&last, p, sizeof(last));
	h = (h ^ last) * 0x9e3779b97f4a7c15u;
	return (uint32_t)(h >> 32) & (s->cap - 1) & ~(FWD_SEEN_WAYS - 1u);
}

static bool is_flow(const struct fwd_seen_flow *f, enum fwd_seen_dir dir,
		    const struct ps_flow_key *key)
{
	return f->dir == dir && !memcmp(&f->key, key, sizeof(*key));
}

struct fwd_seen_flow *fwd_seen_take(struct fwd_seen *s, enum fwd_seen_dir dir,
				    const struct ps_flow_key *key)
{
	struct fwd_seen_flow *set = &s->list[set_of(s, dir, key)], *give = set;

	for (uint32_t i = 0; i < FWD_SEEN_WAYS; i++) {
		if (is_flow(&set[i], dir, key))
			return &set[i];
		/* a free one is the oldest of all: last_ns is 0 */
		if (set[i].last_ns < give->last_ns)
			give = &set[i];
	}
	if (give->dir == FWD_SEEN_FREE)
		s->used++;
	else
		s->displaced++;
	*give = (struct fwd_seen_flow){.key = *key, .dir = (uint8_t)dir};
	return give;
}

const struct fwd_seen_flow *fwd_seen_find(const struct fwd_seen *s, enum fwd_seen_dir dir,
					  const struct ps_flow_key *key)
{
	const struct fwd_seen_flow *set;

	if (!s->cap)
		return NULL;
	set = &s->list[set_of(s, dir, key)];
	for (uint32_t i = 0; i < FWD_SEEN_WAYS; i++)
		if (is_flow(&set[i], dir, key))
			return &set[i];
	return NULL;
}

bool fwd_seen_is_over(const struct fwd_seen_flow *f, uint64_t now)
{
	return time_since(f->last_ns, now) >
	       (f->key.proto == IP_PROTO_TCP ? NAT_TCP_NS : NAT_UDP_NS);
}
