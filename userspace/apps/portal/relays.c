/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/relays.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/portal/expiry.h"
#include "apps/portal/state_priv.h"
#include "base/log.h"
#include "base/time.h"

/* 2038-01-01T00:00:00Z: the end of credentials whose owner's token does not end. A constant, for
 * credentials that change make components give up working allocations. */
#define CREDENTIALS_END UINT64_C(2145916800)

/* ---- the relays that are online ----------------------------------------------------------------
 */

struct relay *relay_new(const struct endpoint *addr4, const struct endpoint *addr6)
{
	struct relay *r = calloc(1, sizeof(*r));

	if (r) {
		r->addr4 = *addr4;
		r->addr6 = *addr6;
	}
	return r;
}

void relay_free(struct relay *r)
{
	if (r)
		OPENSSL_cleanse(r, sizeof(*r));
	free(r);
}

bool relays_room(const struct portal *p)
{
	return p->n_relays < PORTAL_RELAYS_MAX;
}

static bool same_address(const struct endpoint *a, const struct endpoint *b)
{
	return a->ip.family && endpoint_eq(a, b);
}

static void replace_older(struct portal *p, const struct session *s)
{
	for (size_t i = 0; i < p->n_relays; i++) {
		struct session *old = p->relays[i];

		if (strcmp(old->relay->id, s->relay->id) &&
		    !same_address(&old->relay->addr4, &s->relay->addr4) &&
		    !same_address(&old->relay->addr6, &s->relay->addr6))
			continue;
		p->count.replaced++;
		LOG_INFO("portal", "replaced by a newer connection", LOG_STR("id", old->relay->id),
			 LOG_U64("session", old->id), LOG_U64("newer", s->id));
		session_close(p, old, CLOSE_NORMAL); /* takes it out of the list */
		i--;
	}
}

void relays_publish(struct portal *p, struct session *s, const char *stamp)
{
	struct relay *r = s->relay;
	char v4[ENDPOINT_STRLEN] = "", v6[ENDPOINT_STRLEN] = "";

	memccpy(r->stamp, stamp, '\0', sizeof(r->stamp));
	derive_relay_id(r->stamp, r->id);
	replace_older(p, s);
	if (!relays_room(p))
		return;
	p->relays[p->n_relays++] = s;
	p->relays_changed = true;
	if (r->addr4.ip.family)
		endpoint_fmt(&r->addr4, v4);
	if (r->addr6.ip.family)
		endpoint_fmt(&r->addr6, v6);
	LOG_INFO("portal", "relay online", LOG_STR("id", r->id), LOG_STR("addr4", v4),
		 LOG_STR("addr6", v6), LOG_U64("session", s->id));
}

void relays_withdraw(struct portal *p, struct session *s)
{
	for (size_t i = 0; i < p->n_relays; i++) {
		if (p->relays[i] != s)
			continue;
		p->relays[i] = p->relays[--p->n_relays];
		p->relays_changed = true;
		LOG_INFO("portal", "relay offline", LOG_STR("id", s->relay->id),
			 LOG_U64("session", s->id));
		return;
	}
}

/* ---- selection ---------------------------------------------------------------------------------
 */

/* A relay as one component sees it. */
struct offer {
	const char *id;
	const struct endpoint *addr4, *addr6;
	const struct relay *joined;	  /* or… */
	const struct config_relay *fixed; /* …this */
	double nearness;
	uint64_t lot; /* settles ties, the same way each time */
};

#define OFFERS_MAX (PORTAL_RELAYS_MAX + CONFIG_RELAYS_MAX)

static void offer_add(struct offer *list, size_t *n, struct offer o, const struct session *s,
		      const struct place *place)
{
	const char *parts[] = {"relay-choice", s->dev->id, o.id, NULL};

	for (size_t i = 0; i < *n; i++)
		if (!strcmp(list[i].id, o.id))
			return;
	o.nearness = place_nearness(place, &s->token->place);
	o.lot = derive_offset(parts);
	list[(*n)++] = o;
}

static int offer_cmp(const void *a, const void *b)
{
	const struct offer *x = a, *y = b;

	if (x->nearness > y->nearness || x->nearness < y->nearness)
		return x->nearness > y->nearness ? -1 : 1;
	return (x->lot > y->lot) - (x->lot < y->lot);
}

/* Everything this session could be given, best first. */
static size_t offers_for(const struct portal *p, const struct session *s,
			 struct offer list[OFFERS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_relays; i++) {
		const struct relay *r = p->relays[i]->relay;
		struct offer o = {.id = r->id, .addr4 = &r->addr4, .addr6 = &r->addr6, .joined = r};

		offer_add(list, &n, o, s, &p->relays[i]->token->place);
	}
	for (size_t i = 0; i < p->cfg->n_relays; i++) {
		const struct config_relay *r = &p->cfg->relays[i];
		struct offer o = {.id = r->id, .addr4 = &r->addr4, .addr6 = &r->addr6, .fixed = r};

		offer_add(list, &n, o, s, &r->place);
	}
	qsort(list, n, sizeof(*list), offer_cmp);
	return n;
}

static const struct offer *offer_find(const struct offer *list, size_t n, const char *id)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i].id, id))
			return &list[i];
	return NULL;
}

static bool knows(const struct session *s, const char *id)
{
	for (size_t i = 0; i < s->n_known; i++)
		if (!strcmp(s->known[i].id, id))
			return true;
	return false;
}

/* The relays it has and keeps, then the best of the others. */
static size_t select_for(const struct session *s, const struct offer *list, size_t n,
			 const struct offer *chosen[RELAYS_EACH])
{
	size_t k = 0;

	for (size_t i = 0; i < s->n_known; i++) {
		const struct offer *o = offer_find(list, n, s->known[i].id);

		if (o)
			chosen[k++] = o;
	}
	for (size_t i = 0; i < n && k < RELAYS_EACH; i++)
		if (!knows(s, list[i].id))
			chosen[k++] = &list[i];
	return k;
}

/* ---- what goes on the wire ---------------------------------------------------------------------
 */

static uint64_t credentials_end(const struct session *s)
{
	return s->role == ROLE_CLIENT && s->token->expires_at != EXPIRY_NEVER ? s->token->expires_at
									      : CREDENTIALS_END;
}

static void credentials_for(const struct session *s, const struct offer *o, struct turn_creds *c)
{
	uint64_t end = credentials_end(s);

	if (o->joined) {
		derive_turn_stamp(o->joined->stamp, s->public_key, end, c);
	} else if (o->fixed->shared_secret) {
		derive_turn_shared(o->fixed->shared_secret, s->dev->id, end, c);
	} else {
		/* Their lengths were checked with the configuration. */
		memccpy(c->username, o->fixed->username, '\0', sizeof(c->username));
		memccpy(c->password, o->fixed->password, '\0', sizeof(c->password));
	}
}

/* Tells apart everything a component could be told about the relay. */
static void offer_digest(const struct session *s, const struct offer *o,
			 uint8_t out[RELAY_DIGEST_LEN])
{
	struct {
		struct turn_creds creds;
		struct endpoint addr4, addr6;
		uint64_t end;
	} all;
	uint8_t digest[32];

	memset(&all, 0, sizeof(all));
	credentials_for(s, o, &all.creds);
	all.addr4 = *o->addr4;
	all.addr6 = *o->addr6;
	all.end = credentials_end(s);
	SHA256((const unsigned char *)&all, sizeof(all), digest);
	memcpy(out, digest, RELAY_DIGEST_LEN);
	OPENSSL_cleanse(&all, sizeof(all));
}

static void render_offer(json_t *list, const struct session *s, const struct offer *o)
{
	const struct endpoint *addr[] = {o->addr4, o->addr6};
	char text[ENDPOINT_STRLEN];
	struct turn_creds c = {0};

	credentials_for(s, o, &c);
	for (size_t i = 0; i < 2; i++)
		if (addr[i]->ip.family)
			json_array_append_new(
				list, json_pack("{s:s,s:s,s:s,s:s,s:s,s:I}", "id", o->id, "type",
						"turn", "addr", endpoint_fmt(addr[i], text),
						"username", c.username, "password", c.password,
						"expires_at", (json_int_t)credentials_end(s)));
	OPENSSL_cleanse(&c, sizeof(c));
}

/* The selection as an array; it becomes what the session knows. */
static json_t *tell(struct session *s, const struct offer *list, size_t n)
{
	const struct offer *chosen[RELAYS_EACH];
	size_t k = select_for(s, list, n, chosen);
	json_t *out = json_array();

	for (size_t i = 0; i < k; i++) {
		memcpy(s->known[i].id, chosen[i]->id, UUID_STRLEN);
		offer_digest(s, chosen[i], s->known[i].digest);
		render_offer(out, s, chosen[i]);
	}
	s->n_known = k;
	return out;
}

json_t *relays_for_init(struct portal *p, struct session *s)
{
	struct offer list[OFFERS_MAX];
	size_t n = offers_for(p, s, list);

	return tell(s, list, n);
}

/* Ids the session knows that are gone, or are not what it knows any more. */
static json_t *lost(const struct session *s, const struct offer *list, size_t n)
{
	json_t *out = json_array();

	for (size_t i = 0; i < s->n_known; i++) {
		const struct offer *o = offer_find(list, n, s->known[i].id);
		uint8_t digest[RELAY_DIGEST_LEN];

		if (o)
			offer_digest(s, o, digest);
		if (!o || memcmp(digest, s->known[i].digest, RELAY_DIGEST_LEN))
			json_array_append_new(out, json_string(s->known[i].id));
	}
	return out;
}

static void push(struct portal *p, struct session *s, json_t *gone, json_t *here)
{
	LOG_DEBUG("portal", "relays told", LOG_STR("id", s->dev->id),
		  LOG_U64("gone", json_array_size(gone)), LOG_U64("relays", s->n_known));
	session_push(p, s, "relays_presence",
		     json_pack("{s:o,s:o}", "disconnected_ids", gone, "connected", here));
}

static bool wants_relays(const struct session *s)
{
	return s->phase == SESSION_JOINED && s->role != ROLE_RELAY;
}

/* One that has too few relays is told about those it knows as well when relays came or went (at
 * least floor of them online): one may be back from an outage too short to count as one. */
static void sync_one(struct portal *p, struct session *s, size_t floor)
{
	struct offer list[OFFERS_MAX];
	size_t n = offers_for(p, s, list);
	json_t *gone = lost(s, list, n);

	if (json_array_size(gone) || (s->n_known < RELAYS_EACH && n >= floor))
		push(p, s, gone, tell(s, list, n));
	else
		json_decref(gone);
}

void relays_answer_none(struct portal *p, struct session *s)
{
	s->n_known = 0;
	push(p, s, json_array(), relays_for_init(p, s));
}

/* ---- time and reload ---------------------------------------------------------------------------
 */

void relays_tick(struct portal *p, uint64_t now)
{
	if (p->relays_changed) {
		p->relays_changed = false;
		if (!p->relays_due)
			p->relays_latest = now + RELAYS_PATIENT_MS * NS_PER_MS;
		p->relays_due = now + RELAYS_QUIET_MS * NS_PER_MS;
		if (p->relays_due > p->relays_latest)
			p->relays_due = p->relays_latest;
	}
	if (!p->relays_due || now < p->relays_due)
		return;
	p->relays_due = 0;
	for (size_t i = 0; i < p->n_sessions; i++)
		if (wants_relays(p->sessions[i]))
			sync_one(p, p->sessions[i], 1);
}

void relays_reloaded(struct portal *p)
{
	for (size_t i = 0; i < p->n_sessions; i++)
		if (wants_relays(p->sessions[i]))
			sync_one(p, p->sessions[i], p->sessions[i]->n_known + 1);
}
