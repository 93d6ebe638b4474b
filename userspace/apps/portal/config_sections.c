/* SPDX-License-Identifier: Apache-2.0
 *
 * General settings, sites and tokens. Resources and policies are in config_resources.c. */
#include "apps/portal/config_sections.h"

#include <stdlib.h>
#include <string.h>

#include "apps/portal/expiry.h"

#define DEFAULT_STATE_FILE "/var/lib/penstock-portal/state.json"

bool config_net_reserved(const struct ipnet *net)
{
	static const char *const reserved[] = {"100.64.0.0/10", "fd00:2021:1111::/48"};
	struct ipnet r;

	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
		if (!ipnet_parse(reserved[i], &r) && net->len >= r.len &&
		    ipnet_contains(&r, &net->ip))
			return true;
	return false;
}

static bool listen_one(struct dec *d, const json_t *v, struct config_listen *out)
{
	static const char *const keys[] = {"address", "tls", NULL};
	static const char *const tls_keys[] = {"cert_file", "key_file", NULL};
	const char *address;
	json_t *tls;
	bool ok;

	if (!dec_object(d, v, keys) ||
	    !dec_str(d, v, "address", DEC_REQUIRED, 1, ENDPOINT_STRLEN, &address))
		return false;
	if (endpoint_parse(address, &out->addr))
		return dec_fail_key(d, "address",
				    "must be IP:port, such as 0.0.0.0:8443 or [::]:8443");
	tls = json_object_get(v, "tls");
	if (!tls || json_is_null(tls))
		return true;
	dec_enter_key(d, "tls");
	ok = dec_object(d, tls, tls_keys) &&
	     dec_str(d, tls, "cert_file", DEC_REQUIRED, 1, 4096, &out->cert_file) &&
	     dec_str(d, tls, "key_file", DEC_REQUIRED, 1, 4096, &out->key_file);
	dec_leave(d);
	return ok;
}

static bool listeners(struct dec *d, const json_t *root, struct config *cfg)
{
	json_t *list;
	size_t n;
	bool ok = true;

	if (!dec_array(d, root, "listen", DEC_REQUIRED, 64, &list, &n))
		return false;
	if (!n)
		return dec_fail_key(d, "listen", "needs at least one address");
	cfg->listen = calloc(n, sizeof(*cfg->listen));
	if (!cfg->listen)
		return dec_fail(d, "out of memory");
	dec_enter_key(d, "listen");
	for (size_t i = 0; ok && i < n; i++) {
		struct config_listen *l = &cfg->listen[cfg->n_listen++];

		dec_enter_index(d, i);
		ok = listen_one(d, json_array_get(list, i), l);
		for (size_t j = 0; ok && j < i; j++)
			if (endpoint_eq(&cfg->listen[j].addr, &l->addr) && l->addr.port)
				ok = dec_fail_key(d, "address", "is already listed in listen[%zu]",
						  j);
		dec_leave(d);
	}
	dec_leave(d);
	return ok;
}

static bool dns_server(struct dec *d, const json_t *v, struct endpoint *out)
{
	const char *text = json_string_value(v);
	struct ipnet net;

	if (!text)
		return dec_fail(d, "must be a string");
	if (ipaddr_parse(text, &out->ip) == 0)
		out->port = 53;
	else if (endpoint_parse(text, out) || !out->port)
		return dec_fail(d, "must be an IP address or IP:port");
	net = (struct ipnet){.ip = out->ip, .len = out->ip.family == 4 ? 32 : 128};
	if (config_net_reserved(&net))
		return dec_fail(d, "lies in a range reserved for tunnels");
	return true;
}

/* RFC 1035 §2.3.1 names, with the underscore people use. */
static bool domain_valid(const char *s)
{
	size_t label = 0;

	for (; *s; s++) {
		bool alnum = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
			     (*s >= '0' && *s <= '9') || *s == '_';

		if (*s == '.' && label && s[-1] != '-')
			label = 0;
		else if ((alnum || (*s == '-' && label)) && label < 63)
			label++;
		else
			return false;
	}
	return label && s[-1] != '-';
}

static bool dns(struct dec *d, const json_t *root, struct config *cfg)
{
	static const char *const keys[] = {"upstream", "search_domain", NULL};
	json_t *v = json_object_get(root, "dns"), *list;
	size_t n;
	bool ok;

	if (!v || json_is_null(v))
		return true;
	dec_enter_key(d, "dns");
	ok = dec_object(d, v, keys) &&
	     dec_array(d, v, "upstream", DEC_OPTIONAL, CONFIG_DNS_MAX, &list, &n) &&
	     dec_str(d, v, "search_domain", DEC_OPTIONAL, 1, 253, &cfg->search_domain);
	if (ok && cfg->search_domain && !domain_valid(cfg->search_domain))
		ok = dec_fail_key(d, "search_domain", "is not a domain name");
	dec_enter_key(d, "upstream");
	for (size_t i = 0; ok && i < n; i++) {
		dec_enter_index(d, i);
		ok = dns_server(d, json_array_get(list, i), &cfg->dns[cfg->n_dns++]);
		dec_leave(d);
	}
	dec_leave(d);
	dec_leave(d);
	return ok;
}

static bool limits(struct dec *d, const json_t *root, struct config *cfg)
{
	static const char *const keys[] = {"max_connections", "max_connections_per_address", NULL};
	const json_t *v = json_object_get(root, "limits");
	uint64_t all = 4096, each = 256;
	bool ok = true;

	if (v && !json_is_null(v)) {
		dec_enter_key(d, "limits");
		ok = dec_object(d, v, keys) &&
		     dec_uint(d, v, "max_connections", all, 1, 65536, &all) &&
		     dec_uint(d, v, "max_connections_per_address", each, 1, 65536, &each);
		dec_leave(d);
	}
	cfg->limits.max_connections = (unsigned)all;
	cfg->limits.max_connections_per_address = (unsigned)each;
	return ok;
}

bool config_section_general(struct dec *d, const json_t *root, struct config *cfg)
{
	if (!dec_str(d, root, "account_slug", DEC_REQUIRED, 1, 100, &cfg->account_slug) ||
	    !dec_str(d, root, "state_file", DEC_OPTIONAL, 1, 4096, &cfg->state_file))
		return false;
	if (strspn(cfg->account_slug, "abcdefghijklmnopqrstuvwxyz0123456789_-") !=
	    strlen(cfg->account_slug))
		return dec_fail_key(d, "account_slug", "may only hold a-z, 0-9, _ and -");
	if (!cfg->state_file)
		cfg->state_file = DEFAULT_STATE_FILE;
	return listeners(d, root, cfg) && dns(d, root, cfg) && limits(d, root, cfg);
}

bool config_section_sites(struct dec *d, const json_t *root, struct config *cfg)
{
	static const char *const keys[] = {"name", "id", NULL};
	json_t *list;
	size_t n;
	bool ok = true;

	if (!dec_array(d, root, "sites", DEC_REQUIRED, CONFIG_LIST_MAX, &list, &n))
		return false;
	cfg->sites = calloc(n ? n : 1, sizeof(*cfg->sites));
	if (!cfg->sites)
		return dec_fail(d, "out of memory");
	dec_enter_key(d, "sites");
	for (size_t i = 0; ok && i < n; i++) {
		struct config_site *s = &cfg->sites[cfg->n_sites++];
		const json_t *v = json_array_get(list, i);

		dec_enter_index(d, i);
		ok = dec_object(d, v, keys) &&
		     dec_str(d, v, "name", DEC_REQUIRED, 1, CONFIG_NAME_MAX, &s->name) &&
		     dec_id(d, v, "site", s->name, s->id);
		for (size_t j = 0; ok && j < i; j++) {
			if (!strcmp(cfg->sites[j].name, s->name))
				ok = dec_fail_key(d, "name", "is already the name of sites[%zu]",
						  j);
			else if (!strcmp(cfg->sites[j].id, s->id))
				ok = dec_fail_key(d, "id", "is already the id of sites[%zu]", j);
		}
		dec_leave(d);
	}
	dec_leave(d);
	return ok;
}

static bool token_groups(struct dec *d, const json_t *v, struct config_token *t)
{
	json_t *list;
	size_t n;
	bool ok = true;

	if (!dec_array(d, v, "groups", DEC_OPTIONAL, 256, &list, &n))
		return false;
	if (!n)
		return true;
	t->groups = calloc(n, sizeof(*t->groups));
	if (!t->groups)
		return dec_fail(d, "out of memory");
	dec_enter_key(d, "groups");
	for (size_t i = 0; ok && i < n; i++) {
		t->groups[t->n_groups] = json_string_value(json_array_get(list, i));
		dec_enter_index(d, i);
		if (!t->groups[t->n_groups] || !*t->groups[t->n_groups])
			ok = dec_fail(d, "must be a group's name");
		t->n_groups++;
		dec_leave(d);
	}
	dec_leave(d);
	return ok;
}

static bool token_site(struct dec *d, const json_t *v, const struct config *cfg,
		       struct config_token *t)
{
	const char *site;

	if (!dec_str(d, v, "site", DEC_REQUIRED, 1, CONFIG_NAME_MAX, &site))
		return false;
	for (t->site = 0; t->site < cfg->n_sites; t->site++)
		if (!strcmp(cfg->sites[t->site].name, site))
			return true;
	return dec_fail_key(d, "site", "names no entry of \"sites\"");
}

static bool token_one(struct dec *d, const json_t *v, const struct config *cfg,
		      struct config_token *t)
{
	static const char *const client_keys[] = {
		"name", "actor", "groups", "token_sha256", "expires_at", "location", NULL};
	static const char *const gateway_keys[] = {"name",	 "site",     "token_sha256",
						   "expires_at", "location", NULL};
	static const char *const relay_keys[] = {"name", "token_sha256", "expires_at", "location",
						 NULL};
	static const char *const *const keys[ROLE_N] = {client_keys, gateway_keys, relay_keys};
	const char *hash;

	if (!dec_object(d, v, keys[t->role]) ||
	    !dec_str(d, v, "name", DEC_REQUIRED, 1, CONFIG_NAME_MAX, &t->name) ||
	    !dec_str(d, v, "token_sha256", DEC_REQUIRED, 64, 64, &hash) ||
	    !dec_expiry(d, v, "expires_at", &t->expires_at) || !config_location(d, v, &t->place))
		return false;
	if (!token_hash_parse(hash, t->hash))
		return dec_fail_key(d, "token_sha256", "must be 64 hexadecimal digits");
	if (t->role == ROLE_GATEWAY)
		return token_site(d, v, cfg, t);
	if (t->role == ROLE_RELAY)
		return true;
	if (!dec_str(d, v, "actor", DEC_OPTIONAL, 1, CONFIG_NAME_MAX, &t->actor))
		return false;
	if (!t->actor)
		t->actor = t->name;
	return token_groups(d, v, t);
}

static const char *const token_lists[ROLE_N] = {"clients", "gateways", "relays"};

static int token_cmp(const void *a, const void *b)
{
	return memcmp((*(const struct config_token *const *)a)->hash,
		      (*(const struct config_token *const *)b)->hash, TOKEN_HASH_LEN);
}

/* Blame t, which stands in the list of its role, for sharing other's token. */
static bool token_dup(struct dec *d, const struct config *cfg, const struct config_token *t,
		      const struct config_token *other)
{
	const struct config_token *first = cfg->tokens;

	while (first->role != t->role)
		first++;
	dec_enter_key(d, token_lists[t->role]);
	dec_enter_index(d, (size_t)(t - first));
	dec_fail_key(d, "token_sha256", "is already that of \"%s\"", other->name);
	dec_leave(d);
	dec_leave(d);
	return false;
}

/* Tokens must differ from one another; sorting them serves later look-ups as well. */
static bool tokens_index(struct dec *d, struct config *cfg)
{
	cfg->by_hash = calloc(cfg->n_tokens + 1, sizeof(*cfg->by_hash));
	if (!cfg->by_hash)
		return dec_fail(d, "out of memory");
	for (size_t i = 0; i < cfg->n_tokens; i++)
		cfg->by_hash[i] = &cfg->tokens[i];
	qsort(cfg->by_hash, cfg->n_tokens, sizeof(*cfg->by_hash), token_cmp);
	for (size_t i = 1; i < cfg->n_tokens; i++) {
		const struct config_token *a = cfg->by_hash[i - 1], *b = cfg->by_hash[i];

		if (!memcmp(a->hash, b->hash, TOKEN_HASH_LEN))
			return token_dup(d, cfg, a > b ? a : b, a > b ? b : a);
	}
	return true;
}

bool config_section_tokens(struct dec *d, const json_t *root, struct config *cfg)
{
	json_t *list[ROLE_N];
	size_t n[ROLE_N];
	bool ok = true;

	for (int r = 0; r < ROLE_N; r++)
		if (!dec_array(d, root, token_lists[r], DEC_OPTIONAL, CONFIG_LIST_MAX, &list[r],
			       &n[r]))
			return false;
	cfg->tokens = calloc(n[0] + n[1] + n[2] + 1, sizeof(*cfg->tokens));
	if (!cfg->tokens)
		return dec_fail(d, "out of memory");
	for (int r = 0; r < ROLE_N; r++) {
		dec_enter_key(d, token_lists[r]);
		for (size_t i = 0; ok && i < n[r]; i++) {
			struct config_token *t = &cfg->tokens[cfg->n_tokens++];

			t->role = (enum portal_role)r;
			dec_enter_index(d, i);
			ok = token_one(d, json_array_get(list[r], i), cfg, t);
			dec_leave(d);
		}
		dec_leave(d);
	}
	return ok && tokens_index(d, cfg);
}
