/* SPDX-License-Identifier: Apache-2.0
 * See turn_chan.h. */
#include "core/turn/turn_chan.h"

#include <string.h>

#include "base/idx.h"

/* ---- rules ---- */

static uint64_t age(const struct turn_chan *c, uint64_t now)
{
	return time_since(c->bound_at, now);
}

bool turn_chan_connected(const struct turn_chan *c, uint64_t now)
{
	return c->used && c->confirmed && age(c, now) < TURN_CHAN_LIFE;
}

/* One that was heard since is somebody's, whatever its age. */
bool turn_chan_rebindable(const struct turn_chan *c, uint64_t now)
{
	return c->used && !c->in_flight && age(c, now) >= TURN_CHAN_COOL &&
	       c->heard_at <= c->bound_at;
}

/* A channel nothing comes in on may lapse: it is bound again when it is needed. */
bool turn_chan_wants_refresh(const struct turn_chan *c, uint64_t now)
{
	return c->used && c->confirmed && !c->in_flight && age(c, now) >= TURN_CHAN_REFRESH &&
	       c->heard_at > c->bound_at;
}

/* When the entry next wants turn_chan_due. An overdue refresh that found no room tries again in a
 * second. */
static uint64_t attention_at(const struct turn_chan *c, uint64_t now)
{
	uint64_t at = TIME_NEVER;

	if (c->told)
		at = time_add(c->bound_at, TURN_CHAN_LIFE);
	if (c->used && c->confirmed && !c->in_flight && c->heard_at > c->bound_at) {
		uint64_t refresh = time_add(c->bound_at, TURN_CHAN_REFRESH);

		if (refresh <= now)
			refresh = now + NS_PER_SEC;
		at = refresh < at ? refresh : at;
	}
	return at;
}

/* ---- by peer ---- */

static uint32_t home_of(const struct turn_chans *c, const struct endpoint *peer)
{
	uint8_t key[19];

	key[0] = peer->ip.family;
	memcpy(key + 1, peer->ip.b, sizeof(peer->ip.b));
	key[17] = (uint8_t)(peer->port >> 8);
	key[18] = (uint8_t)peer->port;
	return idx_hash(c->hash_seed, key, sizeof(key)) % TURN_CHAN_HASH;
}

static uint32_t cell_next(uint32_t cell)
{
	return (cell + 1) % TURN_CHAN_HASH;
}

/* The cell of that peer, or the free one where its chain ends: half of the cells are always free.
 */
static uint32_t cell_of(const struct turn_chans *c, const struct endpoint *peer)
{
	uint32_t cell = home_of(c, peer);

	while (c->by_peer[cell] && !endpoint_eq(&c->at[c->by_peer[cell] - 1].peer, peer))
		cell = cell_next(cell);
	return cell;
}

/* Close the gap: whatever could not sit nearer to its home because of this cell moves up. */
static void cell_clear(struct turn_chans *c, uint32_t gap)
{
	c->by_peer[gap] = 0;
	for (uint32_t cell = cell_next(gap); c->by_peer[cell]; cell = cell_next(cell)) {
		uint32_t home = home_of(c, &c->at[c->by_peer[cell] - 1].peer);

		if ((cell - home) % TURN_CHAN_HASH < (cell - gap) % TURN_CHAN_HASH)
			continue;
		c->by_peer[gap] = c->by_peer[cell];
		c->by_peer[cell] = 0;
		gap = cell;
	}
}

unsigned turn_chan_find(const struct turn_chans *c, const struct endpoint *peer)
{
	uint16_t entry = c->by_peer[cell_of(c, peer)];

	return entry ? entry - 1U : TURN_CHAN_NONE;
}

unsigned turn_chan_of_number(const struct turn_chans *c, uint16_t number)
{
	if (number < TURN_CHAN_MIN || number > TURN_CHAN_ALLOC_MAX ||
	    !c->at[number - TURN_CHAN_MIN].used)
		return TURN_CHAN_NONE;
	return number - TURN_CHAN_MIN;
}

uint16_t turn_chan_number(unsigned i)
{
	return (uint16_t)(TURN_CHAN_MIN + i);
}

/* ---- the table ---- */

static void mark(struct turn_chans *c, unsigned i)
{
	uint64_t bit = UINT64_C(1) << (i % 64);

	if (c->dirty[i / 64] & bit)
		return;
	c->dirty[i / 64] |= bit;
	c->n_dirty++;
}

static void attend(struct turn_chans *c, uint64_t at)
{
	if (at < c->next_at)
		c->next_at = at;
}

void turn_chans_init(struct turn_chans *c, uint32_t hash_seed)
{
	memset(c, 0, sizeof(*c));
	c->hash_seed = hash_seed;
	c->next_at = TIME_NEVER;
}

void turn_chans_clear(struct turn_chans *c)
{
	for (unsigned i = 0; i < TURN_CHANS_MAX && c->n_used; i++)
		if (c->at[i].used)
			turn_chan_drop(c, i);
	c->next_at = TIME_NEVER;
}

static bool can_take(const struct turn_chan *c, uint64_t now)
{
	return c->used ? !c->told && turn_chan_rebindable(c, now) : !c->told;
}

static unsigned choose(struct turn_chans *c, uint64_t now)
{
	for (unsigned n = 0; n < TURN_CHANS_MAX; n++) {
		unsigned i = (c->cursor + n) % TURN_CHANS_MAX;

		if (!can_take(&c->at[i], now))
			continue;
		c->cursor = (uint16_t)((i + 1) % TURN_CHANS_MAX);
		return i;
	}
	return TURN_CHAN_NONE;
}

unsigned turn_chan_take(struct turn_chans *c, const struct endpoint *peer, uint64_t now)
{
	unsigned i = turn_chan_find(c, peer);

	if (i == TURN_CHAN_NONE) {
		i = choose(c, now);
		if (i == TURN_CHAN_NONE)
			return i;
		if (c->at[i].used)
			turn_chan_drop(c, i);
		c->at[i] = (struct turn_chan){
			.peer = *peer, .bound_at = now, .heard_at = now, .used = true};
		c->by_peer[cell_of(c, peer)] = (uint16_t)(i + 1);
		c->n_used++;
	}
	c->at[i].in_flight = true;
	return i;
}

void turn_chan_confirm(struct turn_chans *c, unsigned i, uint64_t now)
{
	c->at[i].bound_at = now;
	c->at[i].heard_at = now;
	c->at[i].confirmed = true;
	c->at[i].in_flight = false;
	mark(c, i);
	attend(c, time_add(now, TURN_CHAN_LIFE));
}

void turn_chan_drop(struct turn_chans *c, unsigned i)
{
	cell_clear(c, cell_of(c, &c->at[i].peer));
	c->at[i].used = false;
	c->at[i].confirmed = false;
	c->at[i].in_flight = false;
	c->n_used--;
	if (c->at[i].told)
		mark(c, i);
}

void turn_chan_heard(struct turn_chans *c, unsigned i, uint64_t now)
{
	bool first = c->at[i].heard_at <= c->at[i].bound_at;

	if (now <= c->at[i].heard_at)
		return;
	c->at[i].heard_at = now;
	if (first && !c->at[i].in_flight)
		attend(c, time_add(c->at[i].bound_at, TURN_CHAN_REFRESH));
}

/* After a pass over all: when is the next one needed? */
static void schedule(struct turn_chans *c, uint64_t now)
{
	c->next_at = TIME_NEVER;
	for (unsigned i = 0; i < TURN_CHANS_MAX; i++) {
		uint64_t at = attention_at(&c->at[i], now);

		if (at > now) /* what lapsed is marked */
			attend(c, at);
	}
}

unsigned turn_chan_due(struct turn_chans *c, unsigned *pos, uint64_t now)
{
	if (!time_reached(c->next_at, now))
		return TURN_CHAN_NONE;
	for (; *pos < TURN_CHANS_MAX; ++*pos) {
		const struct turn_chan *e = &c->at[*pos];

		if (e->told && !turn_chan_connected(e, now))
			mark(c, *pos);
		if (turn_chan_wants_refresh(e, now))
			return (*pos)++;
	}
	schedule(c, now);
	return TURN_CHAN_NONE;
}

void turn_chans_tell_again(struct turn_chans *c)
{
	for (unsigned i = 0; i < TURN_CHANS_MAX; i++)
		if (c->at[i].told)
			mark(c, i);
}

bool turn_chan_news(struct turn_chans *c, unsigned *i, bool *up, uint64_t now)
{
	for (unsigned w = 0; w < TURN_CHAN_WORDS && c->n_dirty; w++) {
		while (c->dirty[w]) {
			unsigned n = 64 * w + (unsigned)__builtin_ctzll(c->dirty[w]);
			bool was = c->at[n].told;

			c->dirty[w] &= c->dirty[w] - 1;
			c->n_dirty--;
			*i = n;
			*up = turn_chan_connected(&c->at[n], now);
			c->at[n].told = *up;
			if (*up || was)
				return true;
		}
	}
	return false;
}
