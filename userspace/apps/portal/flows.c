/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/flows.h"

#include <stdlib.h>
#include <string.h>

#include "apps/portal/expiry.h"

void flows_fini(struct flows *t)
{
	free(t->f);
	*t = (struct flows){0};
}

struct flow *flows_find(const struct flows *t, const struct device *client,
			const struct device *gateway, const char *resource_id)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->f[i].client == client && t->f[i].gateway == gateway &&
		    !strcmp(t->f[i].resource_id, resource_id))
			return &t->f[i];
	return NULL;
}

static struct flow *flows_add(struct flows *t)
{
	if (t->n >= FLOWS_MAX)
		return NULL;
	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		struct flow *grown = realloc(t->f, cap * sizeof(*grown));

		if (!grown)
			return NULL;
		t->f = grown;
		t->cap = cap;
	}
	t->f[t->n] = (struct flow){0};
	return &t->f[t->n++];
}

struct flow *flows_upsert(struct flows *t, struct device *client, struct device *gateway,
			  const char *resource_id)
{
	struct flow *f = flows_find(t, client, gateway, resource_id);

	if (f)
		return f;
	f = flows_add(t);
	if (!f)
		return NULL;
	f->client = client;
	f->gateway = gateway;
	memcpy(f->resource_id, resource_id, UUID_STRLEN);
	return f;
}

void flows_remove(struct flows *t, size_t i)
{
	t->f[i] = t->f[--t->n];
}

bool flows_connected(const struct flows *t, const struct device *client,
		     const struct device *gateway)
{
	for (size_t i = 0; i < t->n; i++)
		if (!t->f[i].revoked_at && t->f[i].client == client && t->f[i].gateway == gateway)
			return true;
	return false;
}

json_t *flows_save(const struct flows *t)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < t->n; i++) {
		const struct flow *f = &t->f[i];
		char token[TOKEN_HASH_STRLEN];
		json_t *expires = f->expires_at == EXPIRY_NEVER
					  ? json_null()
					  : json_integer((json_int_t)f->expires_at);

		token_hash_fmt(f->token, token);
		if (json_array_append_new(
			    list,
			    json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:o,s:I,s:I}", "client_id",
				      f->client->id, "gateway_id", f->gateway->id, "resource_id",
				      f->resource_id, "site_id", f->site_id, "address", f->target,
				      "token_sha256", token, "filters_mark",
				      (json_int_t)f->filters_mark, "expires_at", expires,
				      "created_at", (json_int_t)f->created_at, "revoked_at",
				      (json_int_t)f->revoked_at))) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

static const char *load_one(struct flows *t, const struct registry *reg, const json_t *v)
{
	const char *client, *gateway, *resource, *site, *target, *token;
	json_int_t created, revoked, mark = 0; /* 0: not known, to be told again */
	json_t *expires;
	struct flow f = {0}, *slot;

	if (json_unpack((json_t *)(uintptr_t)v, "{s:s,s:s,s:s,s:s,s:s,s:s,s?I,s:o,s:I,s:I}",
			"client_id", &client, "gateway_id", &gateway, "resource_id", &resource,
			"site_id", &site, "address", &target, "token_sha256", &token,
			"filters_mark", &mark, "expires_at", &expires, "created_at", &created,
			"revoked_at", &revoked))
		return "is not a flow";
	if (!ident_uuid_normalise(resource, f.resource_id) ||
	    !ident_uuid_normalise(site, f.site_id))
		return "has an id that is not a UUID";
	f.client = registry_find(reg, client);
	f.gateway = registry_find(reg, gateway);
	if (!f.client || f.client->role != ROLE_CLIENT)
		return "client_id names no client in \"devices\"";
	if (!f.gateway || f.gateway->role != ROLE_GATEWAY)
		return "gateway_id names no gateway in \"devices\"";
	if (!*target || strlen(target) >= sizeof(f.target))
		return "address is empty or too long";
	memcpy(f.target, target, strlen(target) + 1);
	if (!token_hash_parse(token, f.token))
		return "token_sha256 is not 64 hexadecimal digits";
	if (!json_is_null(expires) && !json_is_integer(expires))
		return "expires_at is neither null nor an integer";
	if (created < 0 || revoked < 0 || json_integer_value(expires) < 0)
		return "has a negative time";
	f.expires_at = json_is_null(expires) ? EXPIRY_NEVER : (uint64_t)json_integer_value(expires);
	f.filters_mark = (uint64_t)mark;
	f.created_at = (uint64_t)created;
	f.revoked_at = (uint64_t)revoked;
	slot = flows_upsert(t, f.client, f.gateway, f.resource_id);
	if (!slot)
		return "is one flow too many";
	*slot = f;
	return NULL;
}

const char *flows_load(struct flows *t, const struct registry *reg, const json_t *list,
		       size_t *index)
{
	for (*index = 0; *index < json_array_size(list); (*index)++) {
		const char *wrong = load_one(t, reg, json_array_get(list, *index));

		if (wrong)
			return wrong;
	}
	return NULL;
}
