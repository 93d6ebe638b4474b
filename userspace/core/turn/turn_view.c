/* SPDX-License-Identifier: Apache-2.0
 * What others may know of a TURN client. See turn.h. */
#include <string.h>

#include "core/turn/turn_int.h"

bool turn_is_server(const struct turn *t, const struct endpoint *remote)
{
	return remote->ip.family &&
	       (endpoint_eq(remote, &t->cfg.addr4) || endpoint_eq(remote, &t->cfg.addr6));
}

bool turn_freeable(const struct turn *t, const char **why)
{
	bool over = t->state == TURN_BROKEN;

	if (t->state == TURN_UNREACHABLE || t->state == TURN_REFUSED)
		over = !t->n_reqs && !turn_has_news(t);
	if (over)
		*why = t->why;
	return over;
}

enum turn_state turn_state(const struct turn *t)
{
	return t->state;
}

const char *turn_state_name(enum turn_state s)
{
	static const char *const names[] = {
		[TURN_PROBING] = "probing",
		[TURN_ALLOCATING] = "allocating",
		[TURN_READY] = "ready",
		[TURN_SUSPENDED] = "suspended",
		[TURN_UNREACHABLE] = "unreachable",
		[TURN_REFUSED] = "refused",
		[TURN_BROKEN] = "broken",
	};

	return names[s];
}

const char *turn_rx_name(enum turn_rx rx)
{
	static const char *const names[TURN_RX_COUNT] = {
		[TURN_RX_CONTROL] = "control",	     [TURN_RX_DATA] = "data",
		[TURN_RX_FOREIGN] = "foreign",	     [TURN_RX_MALFORMED] = "malformed",
		[TURN_RX_UNKNOWN] = "unknown",	     [TURN_RX_BAD_AUTH] = "bad_auth",
		[TURN_RX_REALM] = "realm",	     [TURN_RX_IGNORED] = "ignored",
		[TURN_RX_NO_CHANNEL] = "no_channel",
	};

	return names[rx];
}

bool turn_relayed(const struct turn *t, uint8_t family, struct endpoint *out)
{
	const struct turn_cand *c = &t->relayed[family == 6].now;

	if (!family || c->addr.ip.family != family)
		return false;
	*out = c->addr;
	return true;
}

bool turn_route(const struct turn *t, struct endpoint *local, struct endpoint *server)
{
	if (t->active < 0)
		return false;
	*local = t->local;
	*server = *turn_server(t, (unsigned)t->active);
	return true;
}

uint64_t turn_rtt_ns(const struct turn *t)
{
	return t->rtt_ns;
}

unsigned turn_n_channels(const struct turn *t)
{
	return t->chans.n_used;
}
