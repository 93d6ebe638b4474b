/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP upgrade: who is this, may it come in, and which device is it? Answers and their texts
 * follow what components of this protocol know: 401 for the token, 422 for parameters, 403 for the
 * rest. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/portal/expiry.h"
#include "apps/portal/relays.h"
#include "apps/portal/state_priv.h"
#include "base/log.h"

/* Collects "<field>: <msg>; …" for a 422. */
struct faults {
	char text[180];
	size_t len;
};

static void fault(struct faults *f, const char *field, const char *msg)
{
	int n = snprintf(f->text + f->len, sizeof(f->text) - f->len, "%s%s: %s", f->len ? "; " : "",
			 field, msg);

	if (n > 0)
		f->len += (size_t)n;
	if (f->len >= sizeof(f->text))
		f->len = sizeof(f->text) - 1;
}

static bool utf8(const char *s)
{
	json_t *v = json_string(s);
	bool ok = v != NULL;

	json_decref(v);
	return ok;
}

/* Trimmed copy into out. False when it is longer than a name may be or no text. */
static bool clean_name(const char *in, char out[CONFIG_NAME_MAX + 1])
{
	size_t len;

	while (isspace((unsigned char)*in))
		in++;
	len = strlen(in);
	while (len && isspace((unsigned char)in[len - 1]))
		len--;
	if (len > CONFIG_NAME_MAX || !utf8(in))
		return false;
	memcpy(out, in, len);
	out[len] = '\0';
	return true;
}

/* The version after the first word that starts with connlib/ or relay/. */
static bool agent_version(const char *agent, char *out, size_t cap)
{
	while (agent && *agent) {
		size_t word = strcspn(agent, " ");
		size_t skip = !strncmp(agent, "connlib/", 8) ? 8
			      : !strncmp(agent, "relay/", 6) ? 6
							     : 0;

		if (skip && word > skip && word - skip < cap) {
			memcpy(out, agent + skip, word - skip);
			out[word - skip] = '\0';
			return true;
		}
		agent += word;
		agent += strspn(agent, " ");
	}
	return false;
}

static void check_device(const struct connect_req *req, struct faults *f,
			 char name[CONFIG_NAME_MAX + 1])
{
	if (!req->external_id || !*req->external_id)
		fault(f, "external_id", "can't be blank");
	else if (strlen(req->external_id) > EXTERNAL_ID_MAX || !utf8(req->external_id))
		fault(f, "external_id", "is invalid");
	if (!req->public_key || !*req->public_key)
		fault(f, "public_key", "can't be blank");
	else if (!ident_key_valid(req->public_key))
		fault(f, "public_key", "is not a base64-encoded 32-byte key");
	if (!clean_name(req->name ? req->name : "", name))
		fault(f, "name", "should be at most 255 character(s)");
}

/* One address of a relay; family 0 when it gave none. */
static void check_address(const char *text, uint8_t family, struct faults *f, struct endpoint *out)
{
	*out = (struct endpoint){0};
	if (!text || !*text)
		return;
	if (ipaddr_parse(text, &out->ip) || out->ip.family != family ||
	    ipaddr_is_unspecified(&out->ip) || ipaddr_is_multicast(&out->ip))
		fault(f, family == 4 ? "ipv4" : "ipv6", "is invalid");
}

static void check_relay(const struct connect_req *req, struct faults *f, struct endpoint *addr4,
			struct endpoint *addr6)
{
	long port = RELAY_PORT;

	check_address(req->ipv4, 4, f, addr4);
	check_address(req->ipv6, 6, f, addr6);
	if (!f->len && !addr4->ip.family && !addr6->ip.family)
		fault(f, "ipv4", "can't be blank");
	if (req->port && *req->port) {
		size_t n = strspn(req->port, "0123456789");

		port = strtol(req->port, NULL, 10);
		if (req->port[n] || n > 5 || port < 1 || port > 65535)
			fault(f, "port", "is invalid");
	}
	addr4->port = addr4->ip.family ? (uint16_t)port : 0;
	addr6->port = addr6->ip.family ? (uint16_t)port : 0;
}

static void answer(struct connect_res *res, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void answer(struct connect_res *res, int status, const char *fmt, ...)
{
	va_list ap;

	res->status = status;
	va_start(ap, fmt);
	vsnprintf(res->body, sizeof(res->body), fmt, ap);
	va_end(ap);
}

static const struct config_token *authenticate(const struct portal *p,
					       const struct connect_req *req,
					       struct connect_res *res, uint64_t wall)
{
	uint8_t hash[TOKEN_HASH_LEN];
	const struct config_token *tok;

	if (!req->token || !*req->token) {
		answer(res, 401, "Missing token");
		return NULL;
	}
	tok = token_hash(req->token, strlen(req->token), hash)
		      ? config_find_token(p->cfg, req->role, hash)
		      : NULL;
	if (tok && !expiry_passed(tok->expires_at, wall))
		return tok;
	answer(res, 401, "Invalid token");
	return NULL;
}

static struct session *session_new(struct portal *p)
{
	struct session *s;

	if (p->n_sessions >= PORTAL_SESSIONS_MAX)
		return NULL;
	if (p->n_sessions == p->cap_sessions) {
		size_t cap = p->cap_sessions ? 2 * p->cap_sessions : 64;
		struct session **grown = realloc(p->sessions, cap * sizeof(struct session *));

		if (!grown)
			return NULL;
		p->sessions = grown;
		p->cap_sessions = cap;
	}
	s = calloc(1, sizeof(*s));
	if (s) {
		s->id = p->next_session++;
		p->sessions[p->n_sessions++] = s;
	}
	return s;
}

static struct device *enrol(struct portal *p, const struct connect_req *req,
			    const struct config_token *tok, const char *name, uint64_t wall)
{
	const char *owner = req->role == ROLE_CLIENT ? tok->actor : p->cfg->sites[tok->site].id;
	bool made;
	struct device *dev = registry_upsert(&p->reg, req->role, owner, req->external_id,
					     p->entropy, &made);
	char invented[16];

	if (!dev)
		return NULL;
	snprintf(invented, sizeof(invented), "%.8s", dev->id);
	if (*name ? strcmp(name, dev->name) : !*dev->name)
		device_rename(dev, *name ? name : invented);
	dev->last_seen = wall;
	p->dirty = true;
	return dev;
}

/* What the parameters say, checked. */
struct params {
	char name[CONFIG_NAME_MAX + 1], version[32];
	struct endpoint addr4, addr6; /* relays */
};

static bool check_params(const struct connect_req *req, struct connect_res *res, struct params *out)
{
	struct faults f = {.len = 0};

	*out = (struct params){.name = ""};
	if (req->vsn && strncmp(req->vsn, "1.0.", 4)) {
		answer(res, 403, "%s", "");
		return false;
	}
	if (req->role == ROLE_RELAY)
		check_relay(req, &f, &out->addr4, &out->addr6);
	else
		check_device(req, &f, out->name);
	if (!agent_version(req->user_agent, out->version, sizeof(out->version)))
		fault(&f, "user_agent", "is invalid");
	if (!f.len)
		return true;
	answer(res, 422, "Invalid or missing connection parameters: %s\n", f.text);
	return false;
}

void portal_connect(struct portal *p, const struct connect_req *req, struct connect_res *res,
		    uint64_t now, uint64_t wall)
{
	const struct config_token *tok;
	struct relay *relay = NULL;
	struct device *dev = NULL;
	struct params params;
	struct session *s;

	*res = (struct connect_res){.status = 403};
	tok = authenticate(p, req, res, wall);
	if (!tok || !check_params(req, res, &params))
		goto refused;
	if (req->role != ROLE_RELAY) {
		dev = enrol(p, req, tok, params.name, wall);
		if (!dev) {
			p->count.table_full++;
			answer(res, 503, "Too many devices");
			goto refused;
		}
	}
	if (req->role == ROLE_RELAY)
		relay = relay_new(&params.addr4, &params.addr6);
	s = dev || relay ? session_new(p) : NULL;
	if (!s) {
		relay_free(relay);
		p->count.table_full++;
		answer(res, 503, "Too many connections");
		goto refused;
	}
	s->role = req->role;
	s->token = tok;
	s->dev = dev;
	s->relay = relay;
	s->last_rx = now;
	snprintf(s->version, sizeof(s->version), "%s", params.version);
	if (dev)
		memcpy(s->public_key, req->public_key, KEY_B64_STRLEN);
	res->status = 101;
	res->session = s->id;
	p->count.connects++;
	LOG_INFO("portal", "connected", LOG_STR("role", portal_role_name(s->role)),
		 LOG_STR("token", tok->name), LOG_STR("id", dev ? dev->id : ""),
		 LOG_STR("name", params.name), LOG_STR("version", params.version),
		 LOG_U64("session", s->id));
	return;
refused:
	p->count.refused++;
}
