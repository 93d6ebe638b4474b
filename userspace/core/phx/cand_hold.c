/* SPDX-License-Identifier: Apache-2.0 */
#include "core/phx/cand_hold.h"
#include <errno.h>
#include <string.h>

void cand_hold_init(struct cand_hold *h)
{
	h->overflow = 0;
	h->count = 0;
}

static bool entry_is(const struct cand_hold_entry *e, const struct uuid *peer, const char *line)
{
	return uuid_eq(&e->peer, peer) && !strcmp(e->line, line);
}

static void entry_delete(struct cand_hold *h, size_t i)
{
	memmove(&h->entries[i], &h->entries[i + 1],
		(size_t)(h->count - i - 1) * sizeof(h->entries[0]));
	h->count--;
}

/* The held entry for this very candidate, or count. */
static size_t entry_find(const struct cand_hold *h, const struct uuid *peer, const char *line)
{
	size_t i = 0;

	while (i < h->count && !entry_is(&h->entries[i], peer, line))
		i++;
	return i;
}

static int entry_append(struct cand_hold *h, const struct uuid *peer, const char *line,
			bool removed)
{
	struct cand_hold_entry *e;
	size_t len = strlen(line);

	if (len >= CAND_HOLD_LINE_CAP) {
		h->overflow++;
		return -EMSGSIZE;
	}
	if (h->count == CAND_HOLD_MAX) {
		h->overflow++;
		return -ENOSPC;
	}
	e = &h->entries[h->count++];
	e->peer = *peer;
	e->removed = e->known = removed;
	memcpy(e->line, line, len + 1);
	return 0;
}

int cand_hold_add(struct cand_hold *h, const struct uuid *peer, const char *line)
{
	size_t i = entry_find(h, peer, line);

	if (i == h->count)
		return entry_append(h, peer, line, false);
	h->entries[i].removed = false;
	return 0;
}

int cand_hold_remove(struct cand_hold *h, const struct uuid *peer, const char *line)
{
	size_t i = entry_find(h, peer, line);

	if (i == h->count)
		return entry_append(h, peer, line, true);
	if (h->entries[i].known)
		h->entries[i].removed = true;
	else
		entry_delete(h, i);
	return 0;
}

void cand_hold_drop_peer(struct cand_hold *h, const struct uuid *peer)
{
	for (size_t i = h->count; i-- > 0;)
		if (uuid_eq(&h->entries[i].peer, peer))
			entry_delete(h, i);
}

void cand_hold_clear(struct cand_hold *h)
{
	h->count = 0;
}

static bool peer_has(const struct cand_hold *h, const struct uuid *peer, bool removed)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->entries[i].removed == removed && uuid_eq(&h->entries[i].peer, peer))
			return true;
	return false;
}

bool cand_hold_pop(struct cand_hold *h, struct cand_hold_batch *out)
{
	if (!h->count)
		return false;
	out->peer = h->entries[0].peer;
	out->removed = !peer_has(h, &out->peer, false);
	out->n = 0;
	for (size_t i = 0; i < h->count && out->n < CAND_HOLD_BATCH;) {
		struct cand_hold_entry *e = &h->entries[i];

		if (e->removed != out->removed || !uuid_eq(&e->peer, &out->peer)) {
			i++;
			continue;
		}
		memcpy(out->storage[out->n], e->line, sizeof(e->line));
		out->lines[out->n] = out->storage[out->n];
		out->n++;
		entry_delete(h, i);
	}
	return true;
}
