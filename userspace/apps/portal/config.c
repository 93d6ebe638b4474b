/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/config.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/portal/config_sections.h"
#include "apps/portal/expiry.h"

static const char *const root_keys[] = {
	"account_slug", "state_file", "listen",	       "dns",	    "limits",	"sites", "gateways",
	"clients",	"relays",     "static_relays", "resources", "policies", NULL};

const char *portal_role_name(enum portal_role role)
{
	static const char *const names[ROLE_N] = {"client", "gateway", "relay"};

	return role < ROLE_N ? names[role] : "?";
}

struct config *config_parse(const char *text, size_t len, struct config_error *err)
{
	struct dec d = {.text = text, .len = len, .err = err};
	struct config *cfg = calloc(1, sizeof(*cfg));
	json_error_t jerr;
	json_t *root;

	*err = (struct config_error){0};
	if (!cfg) {
		snprintf(err->msg, sizeof(err->msg), "out of memory");
		return NULL;
	}
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &jerr);
	cfg->root = root;
	if (!root) {
		err->line = jerr.line > 0 ? (unsigned)jerr.line : 1;
		snprintf(err->msg, sizeof(err->msg), "is not valid JSON: %s", jerr.text);
	} else if (dec_object(&d, root, root_keys) && config_section_general(&d, root, cfg) &&
		   config_section_sites(&d, root, cfg) && config_section_tokens(&d, root, cfg) &&
		   config_section_relays(&d, root, cfg) &&
		   config_section_resources(&d, root, cfg) &&
		   config_section_policies(&d, root, cfg)) {
		return cfg;
	}
	config_free(cfg);
	return NULL;
}

/* The whole file in memory, NUL-terminated; NULL and errno. */
static char *slurp(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char *buf = NULL;
	struct stat st;
	ssize_t n;

	*len = 0;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > CONFIG_FILE_MAX) {
		errno = S_ISREG(st.st_mode) ? EFBIG : EINVAL;
		goto out;
	}
	buf = malloc(CONFIG_FILE_MAX + 1);
	while (buf && *len < CONFIG_FILE_MAX &&
	       (n = read(fd, buf + *len, CONFIG_FILE_MAX - *len)) > 0)
		*len += (size_t)n;
	if (buf)
		buf[*len] = '\0';
out:
	close(fd);
	return buf;
}

struct config *config_load(const char *path, struct config_error *err)
{
	struct config *cfg;
	size_t len;
	char *text;

	*err = (struct config_error){0};
	errno = 0;
	text = slurp(path, &len);
	if (!text) {
		snprintf(err->msg, sizeof(err->msg), "cannot be read: %s",
			 strerror(errno ? errno : ENOMEM));
		return NULL;
	}
	cfg = config_parse(text, len, err);
	free(text);
	return cfg;
}

void config_free(struct config *cfg)
{
	if (!cfg)
		return;
	for (size_t i = 0; i < cfg->n_tokens; i++)
		free(cfg->tokens[i].groups);
	for (size_t i = 0; i < cfg->n_resources; i++)
		free(cfg->resources[i].filters);
	free(cfg->listen);
	free(cfg->sites);
	free(cfg->tokens);
	free(cfg->by_hash);
	free(cfg->relays);
	free(cfg->resources);
	free(cfg->policies);
	json_decref(cfg->root);
	free(cfg);
}

const struct config_token *config_find_token(const struct config *cfg, enum portal_role role,
					     const uint8_t hash[TOKEN_HASH_LEN])
{
	const struct config_token *found = NULL;

	for (size_t i = 0; i < cfg->n_tokens; i++)
		if (token_hash_eq(cfg->tokens[i].hash, hash) && cfg->tokens[i].role == role)
			found = &cfg->tokens[i];
	return found;
}

const struct config_token *config_known_token(const struct config *cfg, enum portal_role role,
					      const uint8_t hash[TOKEN_HASH_LEN])
{
	size_t lo = 0, hi = cfg->n_tokens;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = memcmp(hash, cfg->by_hash[mid]->hash, TOKEN_HASH_LEN);

		if (!c)
			return cfg->by_hash[mid]->role == role ? cfg->by_hash[mid] : NULL;
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct config_resource *config_find_resource(const struct config *cfg, const char *id)
{
	for (size_t i = 0; i < cfg->n_resources; i++)
		if (!strcmp(cfg->resources[i].id, id))
			return &cfg->resources[i];
	return NULL;
}

bool config_serves(const struct config *cfg, const struct config_resource *res, const char *site_id)
{
	for (size_t i = 0; i < res->n_sites; i++)
		if (!strcmp(cfg->sites[res->sites[i]].id, site_id))
			return true;
	return false;
}

const char *config_type_name(enum resource_type type)
{
	static const char *const names[] = {"cidr", "dns", "internet"};

	return names[type];
}

const char *config_stack_name(enum resource_stack stack)
{
	static const char *const names[] = {"dual", "ipv4_only", "ipv6_only"};

	return names[stack];
}

static bool policy_names(const struct config_policy *p, const struct config_token *client)
{
	if (p->actor)
		return !strcmp(p->actor, client->actor);
	for (size_t i = 0; i < client->n_groups; i++)
		if (!strcmp(p->group, client->groups[i]))
			return true;
	return false;
}

bool config_grant(const struct config *cfg, const struct config_token *client,
		  const struct config_resource *res, uint64_t wall, uint64_t *expires_at)
{
	uint64_t latest = 0;

	if (expiry_passed(client->expires_at, wall))
		return false;
	for (size_t i = 0; i < res->n_policies; i++) {
		const struct config_policy *p = &cfg->policies[res->first_policy + i];

		if (p->enabled && !expiry_passed(p->expires_at, wall) && policy_names(p, client) &&
		    p->expires_at > latest)
			latest = p->expires_at;
	}
	*expires_at = expiry_min(latest, client->expires_at);
	return latest != 0;
}

uint64_t config_next_expiry(const struct config *cfg, uint64_t wall)
{
	uint64_t next = EXPIRY_NEVER;

	for (size_t i = 0; i < cfg->n_policies; i++)
		if (cfg->policies[i].expires_at > wall)
			next = expiry_min(next, cfg->policies[i].expires_at);
	return next;
}
