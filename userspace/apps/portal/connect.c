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

static void check_relay(const struct connect_req *req, struct faults *f)
{
	bool v4 = req->ipv4 && *req->ipv4, v6 = req->ipv6 && *req->ipv6;
	struct ipaddr a;

	if (!v4 && !v6)
		fault(f, "ipv4", "can't be blank");
	if (v4 && (ipaddr_parse(req->ipv4, &a) || a.family != 4))
		fault(f, "ipv4", "is invalid");
	if (v6 && (ipaddr_parse(req->ipv6, &a) || a.family != 6))
		fault(f, "ipv6", "is invalid");
	if (req->port && *req->port) {
		size_t n = strspn(req->port, "0123456789");
		long port = strtol(req->port, NULL, 10);

		if (req->port[n] || n > 5 || port < 1 || port > 65535)
			fault(f, "port", "is invalid");
	}
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

static bool check_params(const struct connect_req *req, struct connect_res *res,
			 char name[CONFIG_NAME_MAX + 1], char *version, size_t version_cap)
{
	struct faults f = {.len = 0};

	name[0] = '\0';
	if (req->vsn && strncmp(req->vsn, "1.0.", 4)) {
		answer(res, 403, "%s", "");
		return false;
	}
	if (req->role == ROLE_RELAY)
		check_relay(req, &f);
	else
		check_device(req, &f, name);
	if (!agent_version(req->user_agent, version, version_cap))
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
	char name[CONFIG_NAME_MAX + 1], version[32];
	struct device *dev = NULL;
	struct session *s;

	*res = (struct connect_res){.status = 403};
	tok = authenticate(p, req, res, wall);
	if (!tok || !check_params(req, res, name, version, sizeof(version)))
		goto refused;
	if (req->role != ROLE_RELAY) {
		dev = enrol(p, req, tok, name, wall);
		if (!dev) {
			p->count.table_full++;
			answer(res, 503, "Too many devices");
			goto refused;
		}
	}
	s = session_new(p);
	if (!s) {
		p->count.table_full++;
		answer(res, 503, "Too many connections");
		goto refused;
	}
	s->role = req->role;
	s->token = tok;
	s->dev = dev;
	s->last_rx = now;
	snprintf(s->version, sizeof(s->version), "%s", version);
	if (dev)
		memcpy(s->public_key, req->public_key, KEY_B64_STRLEN);
	res->status = 101;
	res->session = s->id;
	p->count.connects++;
	LOG_INFO("portal", "connected", LOG_STR("role", portal_role_name(s->role)),
		 LOG_STR("token", tok->name), LOG_STR("id", dev ? dev->id : ""),
		 LOG_STR("name", name), LOG_STR("version", version), LOG_U64("session", s->id));
	return;
refused:
	p->count.refused++;
}
