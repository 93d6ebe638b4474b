/* SPDX-License-Identifier: Apache-2.0
 *
 * The ICE side of many peers of penstock-gateway: an agent each (core/ice) behind one socket, with
 * the credentials the portal gave (crowd.py). One host candidate on either side. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "tests/bench/wgload.h"
#include "base/b64.h"
#include "core/ice/ice.h"
#include "crypto/crypto.h"
#include "io/loop.h"

struct wgl_agent {
	struct ice ice;
	bool begun, path;
};

#define BY_UFRAG (2 * WGL_PEERS_MAX) /* power of two */

struct wgl_crowd {
	struct wgl_member *members;
	uint32_t *by_ufrag; /* members, one more than the index, at their name's hash or behind */
	struct wgl_agent *agents;
	uint32_t n;
	const struct wgl_link *link;
	struct endpoint local, remote;
};

static uint32_t hash(const char *ufrag)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	while (*ufrag)
		h = (h ^ (uint8_t)*ufrag++) * 16777619u;
	return h;
}

/* The place of the member with that name, or the free one where it would be. */
static uint32_t *by_ufrag(const struct wgl_crowd *c, const char *ufrag)
{
	uint32_t at = hash(ufrag) & (BY_UFRAG - 1);

	while (c->by_ufrag[at] && strcmp(c->members[c->by_ufrag[at] - 1].local.ufrag, ufrag))
		at = (at + 1) & (BY_UFRAG - 1);
	return &c->by_ufrag[at];
}

static bool member_parse(const char *line, struct wgl_member *m)
{
	char address[IPADDR_STRLEN], psk[64], key[64];

	_Static_assert(ICE_UFRAG_MAX == 32 && ICE_PWD_MAX == 64, "the widths below");
	return sscanf(line, "%47s %63s %63s %32s %64s %32s %64s", address, psk, key, m->local.ufrag,
		      m->local.pwd, m->remote.ufrag, m->remote.pwd) == 7 &&
	       !ipaddr_parse(address, &m->address) && m->address.family == 4 &&
	       !b64_key_decode(psk, m->psk) && !b64_key_decode(key, m->remote_pub);
}

struct wgl_crowd *wgl_crowd_load(const char *path, const struct endpoint *local,
				 const struct endpoint *remote, const struct wgl_load *load,
				 uint32_t *n)
{
	struct wgl_crowd *c = calloc(1, sizeof(*c));
	FILE *f = fopen(path, "r");
	char line[512];

	if (!f || !c)
		wgl_die(path, errno);
	c->members = calloc(WGL_PEERS_MAX, sizeof(*c->members));
	c->by_ufrag = calloc(BY_UFRAG, sizeof(*c->by_ufrag));
	if (!c->members || !c->by_ufrag)
		wgl_die("memory", ENOMEM);
	while (c->n < WGL_PEERS_MAX - 1 && fgets(line, sizeof(line), f)) {
		struct wgl_member *m = &c->members[c->n++];

		if (!member_parse(line, m))
			wgl_die(path, EINVAL);
		*by_ufrag(c, m->local.ufrag) = c->n;
	}
	fclose(f);
	c->n /= load->senders;
	memmove(c->members, c->members + load->sender * c->n, c->n * sizeof(*c->members));
	crypto_wipe(line, sizeof(line));
	/* Most of an agent's memory is never touched. */
	c->agents = calloc(c->n ? c->n : 1, sizeof(*c->agents));
	if (!c->agents)
		wgl_die("memory", ENOMEM);
	c->local = *local;
	c->remote = *remote;
	*n = c->n;
	return c;
}

const struct wgl_member *wgl_crowd_member(const struct wgl_crowd *c, uint32_t i)
{
	return &c->members[i];
}

void wgl_crowd_free(struct wgl_crowd *c)
{
	crypto_wipe(c->members, WGL_PEERS_MAX * sizeof(*c->members));
	free(c->members);
	free(c->by_ufrag);
	free(c->agents);
	free(c);
}

static void drain(struct wgl_crowd *c, uint32_t i, uint64_t now)
{
	struct wgl_agent *a = &c->agents[i];
	struct ice_event ev;
	struct ice_tx tx;

	ice_timeout(&a->ice, now);
	while (ice_poll_tx(&a->ice, &tx, now))
		if (sendto(c->link->fd, tx.buf, tx.len, 0, &c->link->to.sa, c->link->to_len) < 0)
			wgl_die("send", errno);
	while (ice_poll_event(&a->ice, &ev))
		if (ev.kind == ICE_EV_NOMINATED && !a->path) {
			a->path = true;
			ice_set_timing(&a->ice, &ICE_TIMING_IDLE, now);
		}
}

void wgl_crowd_begin(struct wgl_crowd *c, const struct wgl_link *l, uint32_t i, uint64_t now)
{
	const struct wgl_member *m = &c->members[i];
	const struct ice_cfg cfg = {.controlling = true,
				    .local = m->local,
				    .remote = m->remote,
				    .timing = ICE_TIMING_ACTIVE,
				    .tag = i};
	struct ice_cand ours = ice_cand_host(&c->local), theirs = ice_cand_host(&c->remote);
	struct wgl_agent *a = &c->agents[i];
	uint8_t seed[32];

	if (a->begun)
		return;
	c->link = l;
	a->begun = true;
	theirs.prio = ice_priority(CAND_HOST, ice_local_pref(CAND_HOST, 4, 0, 0));
	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed) || ice_init(&a->ice, &cfg, seed, now))
		wgl_die("ICE agent", EINVAL);
	ice_add_local(&a->ice, &ours, NULL, now);
	ice_add_remote(&a->ice, &theirs, now);
	drain(c, i, now);
}

bool wgl_crowd_has_path(const struct wgl_crowd *c, uint32_t i)
{
	return c->agents[i].path;
}

/* Whose it is: a response carries the agent's tag, a request names it. */
static uint32_t whose(const struct wgl_crowd *c, const struct ice_peek *p)
{
	if (p->response)
		return p->tag;
	return *by_ufrag(c, p->ufrag) - 1; /* nobody's: more than there are */
}

bool wgl_crowd_take(struct wgl_crowd *c, const uint8_t *msg, size_t len, uint64_t now)
{
	const struct ice_dgram in = {c->local, c->remote, msg, len};
	struct ice_peek p;
	uint32_t i;

	if (!ice_peek(msg, len, &p))
		return false;
	i = whose(c, &p);
	if (i < c->n && c->agents[i].begun) {
		ice_input(&c->agents[i].ice, &in, now);
		drain(c, i, now);
	}
	return true;
}

void wgl_crowd_timeout(struct wgl_crowd *c, uint64_t now)
{
	for (uint32_t i = 0; i < c->n; i++)
		if (c->agents[i].begun && ice_deadline(&c->agents[i].ice).at <= now)
			drain(c, i, now);
}
