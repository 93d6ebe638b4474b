/* SPDX-License-Identifier: Apache-2.0
 *
 * The portal's one configuration file, checked and turned into plain tables. docs/portal-config.md
 * is its documentation for operators. A struct config is immutable once loaded; a reload makes a
 * new one and compares. Strings point into the JSON document the config owns.
 *
 * Every rejection names the line and the field. */
#ifndef PENSTOCK_PORTAL_CONFIG_H
#define PENSTOCK_PORTAL_CONFIG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "apps/portal/derive.h"
#include "apps/portal/ident.h"
#include "apps/portal/place.h"
#include "apps/portal/token.h"
#include "base/addr.h"

#define CONFIG_FILE_MAX	   (8u << 20) /* bytes; 10,000 clients take about 2 MB */
#define CONFIG_LIST_MAX	   65536      /* entries in any one list */
#define CONFIG_NAME_MAX	   255
#define CONFIG_DNS_MAX	   16
#define CONFIG_FILTER_MAX  256
#define CONFIG_RELAYS_MAX  64
#define CONFIG_SITES_EACH  16 /* of one resource */
#define CONFIG_PATTERN_MAX 253
#define CONFIG_TARGET_CAP  (CONFIG_PATTERN_MAX + 16)

enum portal_role { ROLE_CLIENT, ROLE_GATEWAY, ROLE_RELAY, ROLE_N };

struct config_error {
	unsigned line;	 /* 1-based; 0 when the file could not be read */
	char field[160]; /* e.g. "policies[2].resource"; empty for syntax errors */
	char msg[256];
};

struct config_listen {
	struct endpoint addr;
	const char *cert_file, *key_file; /* both NULL: plain ws */
};

struct config_site {
	char id[UUID_STRLEN];
	const char *name;
};

struct config_token {
	enum portal_role role;
	const char *name;
	const char *actor;   /* clients: who this is; policies and device identity hang on it */
	const char **groups; /* clients */
	size_t n_groups;
	size_t site; /* gateways: index into sites */
	uint8_t hash[TOKEN_HASH_LEN];
	uint64_t expires_at; /* EXPIRY_NEVER or unix seconds */
	struct place place;
};

/* A TURN server that does not join the portal. */
struct config_relay {
	char id[UUID_STRLEN];
	struct endpoint addr4, addr6;	 /* family 0: none; at least one is */
	const char *username, *password; /* secret; both, or NULL and… */
	const char *shared_secret;	 /* …this, which credentials are made of */
	struct place place;
};

enum filter_proto { FILTER_TCP, FILTER_UDP, FILTER_ICMP };

struct config_filter {
	enum filter_proto proto;
	bool has_ports;
	uint16_t start, end;
};

enum resource_type { RESOURCE_CIDR, RESOURCE_DNS, RESOURCE_INTERNET };
enum resource_stack { STACK_DUAL, STACK_V4, STACK_V6 };

struct config_resource {
	enum resource_type type;
	char id[UUID_STRLEN];
	const char *name, *description; /* description may be NULL */
	struct ipnet address;		/* cidr; else family 0 */
	const char *pattern;		/* dns; else NULL */
	enum resource_stack stack;	/* dns: families its names have */
	/* What it is for traffic: type, address and stack as one text. A flow of another target is
	 * a flow to something else. */
	char target[CONFIG_TARGET_CAP];
	size_t sites[CONFIG_SITES_EACH];
	size_t n_sites; /* at least 1 */
	struct config_filter *filters;
	size_t n_filters;
	uint64_t filters_mark;		 /* equal for equal filters */
	size_t first_policy, n_policies; /* its slice of the policies */
};

struct config_policy {
	const char *actor, *group; /* exactly one is set */
	size_t resource;
	uint64_t expires_at;
	bool enabled;
	bool orphan; /* names nobody in "clients": worth a warning */
};

struct config_limits {
	unsigned max_connections, max_connections_per_address;
};

struct config {
	const char *account_slug, *state_file, *search_domain; /* search_domain may be NULL */
	struct config_limits limits;
	struct endpoint dns[CONFIG_DNS_MAX];
	size_t n_dns;
	struct config_listen *listen;
	size_t n_listen;
	struct config_site *sites;
	size_t n_sites;
	struct config_token *tokens; /* of all three roles */
	size_t n_tokens;
	const struct config_token **by_hash; /* the same, sorted */
	struct config_relay *relays;
	size_t n_relays;
	struct config_resource *resources;
	size_t n_resources;
	struct config_policy *policies; /* grouped by resource */
	size_t n_policies;
	void *root; /* the JSON document */
};

/* NULL and *err when the text is not a valid configuration. */
struct config *config_parse(const char *text, size_t len, struct config_error *err);
/* The same from a file. */
struct config *config_load(const char *path, struct config_error *err);
void config_free(struct config *cfg);

/* The token with this hash and role, or NULL. Looks at every token, each in constant time, so that
 * the time taken says nothing about which ones exist. Expiry is the caller's business. */
const struct config_token *config_find_token(const struct config *cfg, enum portal_role role,
					     const uint8_t hash[TOKEN_HASH_LEN]);
/* The same, fast, for a hash we took from a token that was accepted before. */
const struct config_token *config_known_token(const struct config *cfg, enum portal_role role,
					      const uint8_t hash[TOKEN_HASH_LEN]);
const struct config_resource *config_find_resource(const struct config *cfg, const char *id);

/* Do gateways of the site with this id serve the resource? */
bool config_serves(const struct config *cfg, const struct config_resource *res,
		   const char *site_id);

/* Until when this client token may use the resource: the latest expiry among its enabled, unexpired
 * policies, but not beyond the token's own. False when there is none. */
bool config_grant(const struct config *cfg, const struct config_token *client,
		  const struct config_resource *res, uint64_t wall, uint64_t *expires_at);
/* The next time after wall at which some policy ends. */
uint64_t config_next_expiry(const struct config *cfg, uint64_t wall);

/* "cidr" and so on, "dual" and so on, as on the wire. */
const char *config_type_name(enum resource_type type);
const char *config_stack_name(enum resource_stack stack);
/* "gateway" and so on, as in URL paths and topics. */
const char *portal_role_name(enum portal_role role);
#endif
