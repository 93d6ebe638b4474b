/* SPDX-License-Identifier: Apache-2.0
 *
 * A hostile component: the input is a script of actions for two clients, a gateway and a relay —
 * one line each, the first character says who or what, the rest is the frame it sends as it is. The
 * machine must survive, keep its tables bounded, and never let one client learn of what only the
 * other may use. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/portal/state.h"
#include "apps/portal/store.h"
#include "base/log.h"
#include "base/time.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CKEY		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define GKEY		"ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="
#define SECRET_RESOURCE "5f1c0000-0000-4000-8000-0000000000ff"

static const char *const tokens[] = {
	"alice-token-0123456789012345678901234", "bob-token-012345678901234567890123456",
	"gateway-token-01234567890123456789012", "relay-token-0123456789012345678901234"};
static const enum portal_role roles[] = {ROLE_CLIENT, ROLE_CLIENT, ROLE_GATEWAY, ROLE_RELAY};
static uint64_t now, wall, session[4];
static uint8_t counter;

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void entropy(void *buf, size_t len)
{
	memset(buf, ++counter, len);
}

/* variant 0: Alice may use "lan" and "own", Bob "lan"; 1: the address of "lan" differs; 2: no
 * policies. */
static struct config *make_config(int variant)
{
	static char text[4096];
	char hex[4][TOKEN_HASH_STRLEN];
	struct config_error err;

	for (size_t i = 0; i < 4; i++) {
		uint8_t hash[TOKEN_HASH_LEN];

		token_hash(tokens[i], strlen(tokens[i]), hash);
		token_hash_fmt(hash, hex[i]);
	}
	snprintf(text, sizeof(text),
		 "{\"account_slug\":\"acme\",\"listen\":[{\"address\":\"127.0.0.1:1\"}],"
		 "\"sites\":[{\"name\":\"a\"}],"
		 "\"clients\":[{\"name\":\"alice\",\"token_sha256\":\"%s\"},"
		 "{\"name\":\"bob\",\"token_sha256\":\"%s\",\"expires_at\":1800001000}],"
		 "\"gateways\":[{\"name\":\"g\",\"site\":\"a\",\"token_sha256\":\"%s\"}],"
		 "\"relays\":[{\"name\":\"r\",\"token_sha256\":\"%s\"}],"
		 "\"resources\":[{\"name\":\"lan\",\"id\":\"5f1c0000-0000-4000-8000-000000000001\","
		 "\"type\":\"cidr\",\"address\":\"10.%d.0.0/16\",\"site\":\"a\"},"
		 "{\"name\":\"own\",\"id\":\"" SECRET_RESOURCE "\",\"type\":\"cidr\","
		 "\"address\":\"10.30.0.0/16\",\"site\":\"a\"}],\"policies\":[%s]}",
		 hex[0], hex[1], hex[2], hex[3], 20 + (variant == 1),
		 variant == 2
			 ? ""
			 : "{\"actor\":\"alice\",\"resource\":\"lan\"},"
			   "{\"actor\":\"alice\",\"resource\":\"own\"},"
			   "{\"actor\":\"bob\",\"resource\":\"lan\",\"expires_at\":1800000500}");
	return config_parse(text, strlen(text), &err);
}

static void open_session(struct portal *p, size_t who)
{
	struct connect_req req = {.role = roles[who],
				  .token = tokens[who],
				  .external_id = who == 2 ? "gw" : "dev",
				  .public_key = who == 2 ? GKEY : CKEY,
				  .ipv4 = "192.0.2.1",
				  .user_agent = "connlib/1.4.0"};
	struct connect_res res;

	portal_disconnect(p, session[who]);
	portal_connect(p, &req, &res, now, wall);
	session[who] = res.status == 101 ? res.session : 0;
}

/* Bob's "flow_creation_failed" may repeat his own words; nothing else may name what is not his. */
static void drain(struct portal *p)
{
	struct out_msg *m;

	while ((m = portal_next(p))) {
		if (m->text) {
			json_t *v = json_loads(m->text, 0, NULL);

			check(v && json_object_size(v) == 4);
			check(m->session != session[1] || !strstr(m->text, SECRET_RESOURCE) ||
			      strstr(m->text, "flow_creation_failed") ||
			      strstr(m->text, "phx_reply") || strstr(m->text, "ice_candidates"));
			json_decref(v);
		}
		out_msg_free(m);
	}
}

/* Replace "@C" and "@D" (the clients' ids), "@G" (the gateway's) and "@R" (the newest correlation
 * reference) so that scripts reach the interesting states. */
static size_t expand(const struct portal *p, const char *in, size_t len, char *out, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n + 64 < cap; i++) {
		const char *with = NULL;
		char what = i + 1 < len && in[i] == '@' ? in[i + 1] : 0;

		for (size_t d = 0; d < p->reg.n; d++)
			if ((what == 'C' && !strcmp(p->reg.dev[d]->owner, "alice")) ||
			    (what == 'D' && !strcmp(p->reg.dev[d]->owner, "bob")) ||
			    (what == 'G' && p->reg.dev[d]->role == ROLE_GATEWAY))
				with = p->reg.dev[d]->id;
		if (what == 'R' && p->n_pending)
			with = p->pending[p->n_pending - 1].ref;
		if (!with) {
			out[n++] = in[i];
			continue;
		}
		n += (size_t)snprintf(out + n, cap - n, "%s", with);
		i++;
	}
	return n;
}

static void act(struct portal *p, const char *line, size_t len)
{
	static char frame[16384];
	const char *who = strchr("abgr", line[0]);

	if (!line[0])
		return;
	if (who) {
		size_t n = expand(p, line + 1, len - 1, frame, sizeof(frame));

		portal_message(p, session[who - "abgr"], frame, n, now, wall);
		return;
	}
	switch (line[0]) {
	case 'A':
	case 'B':
	case 'G':
	case 'R':
		open_session(p, (size_t)(strchr("ABGR", line[0]) - "ABGR"));
		break;
	case 'x':
		portal_disconnect(p, session[len > 1 ? (uint8_t)line[1] & 3 : 0]);
		break;
	case 't':
		now += 7 * NS_PER_SEC;
		wall += len > 1 ? (uint8_t)line[1] : 7;
		portal_tick(p, now, wall);
		break;
	case '0':
	case '1':
	case '2':
		portal_reload(p, make_config(line[0] - '0'), wall);
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool quiet;
	static struct portal p;
	const char *at = (const char *)data, *end = at + size;
	char *text;

	if (!quiet) {
		struct log_cfg off = {.filter = "off"};

		log_init(&off, NULL);
		quiet = true;
	}
	now = 1000 * NS_PER_SEC;
	wall = 1800000000;
	counter = 0;
	check(portal_init(&p, make_config(0), entropy, wall) == 0);
	memset(session, 0, sizeof(session));
	for (size_t i = 0; i < 4; i++)
		open_session(&p, i);
	while (at < end) {
		const char *nl = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((nl ? nl : end) - at);

		if (len)
			act(&p, at, len);
		drain(&p);
		at += len + 1;
	}
	check(p.n_sessions <= 4 && p.reg.n <= 3 && p.flows.n <= 4);
	check(p.n_pending <= PORTAL_PENDING_MAX);
	text = store_text(&p);
	check(text != NULL);
	store_text_free(text);
	portal_fini(&p);
	return 0;
}
