/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes as a portal configuration: whatever they are, the answer is a usable configuration or an
 * error that names a line. */
#include <stdlib.h>
#include <string.h>

#include "apps/portal/config.h"
#include "apps/portal/config_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* Every reference in an accepted configuration leads somewhere. */
static void walk(const struct config *cfg)
{
	uint64_t until;

	for (size_t i = 0; i < cfg->n_resources; i++) {
		check(cfg->resources[i].n_sites > 0);
		for (size_t k = 0; k < cfg->resources[i].n_sites; k++)
			check(cfg->resources[i].sites[k] < cfg->n_sites);
		check(config_find_resource(cfg, cfg->resources[i].id) == &cfg->resources[i]);
	}
	for (size_t i = 0; i < cfg->n_policies; i++)
		check(cfg->policies[i].resource < cfg->n_resources);
	for (size_t i = 0; i < cfg->n_tokens; i++) {
		const struct config_token *t = &cfg->tokens[i];

		check(config_find_token(cfg, t->role, t->hash) == t);
		check(config_known_token(cfg, t->role, t->hash) == t);
		check(t->role != ROLE_GATEWAY || t->site < cfg->n_sites);
		for (size_t r = 0; t->role == ROLE_CLIENT && r < cfg->n_resources; r++)
			if (config_grant(cfg, t, &cfg->resources[r], 1800000000, &until))
				check(until > 1800000000);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config_path path = {.step = {{.key = "a"}, {.index = 1}, {.key = "b"}}, .n = 3};
	struct config_error err;
	char *text = malloc(size + 1);
	struct config *cfg;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	check(config_line(text, size, &path) >= 1);
	cfg = config_parse(text, size, &err);
	if (cfg)
		walk(cfg);
	else
		check(err.line >= 1 && *err.msg);
	config_free(cfg);
	free(text);
	return 0;
}
