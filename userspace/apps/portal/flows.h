/* SPDX-License-Identifier: Apache-2.0
 *
 * Authorisations given out: which client may use which resource through which gateway, under which
 * token, until when. One per triple, the newest wins. A revoked one stays for a day as a tombstone,
 * so that a gateway that was away when it happened is told when it comes back. */
#ifndef PENSTOCK_PORTAL_FLOWS_H
#define PENSTOCK_PORTAL_FLOWS_H
#include <jansson.h>

#include "apps/portal/registry.h"

#define FLOWS_MAX	   16384
#define FLOW_TOMBSTONE_SEC (24u * 3600)
#define FLOW_FORGET_SEC	   (14u * 24 * 3600) /* without a sign of the client */

struct flow {
	struct device *client, *gateway; /* devices are never freed while flows exist */
	char resource_id[UUID_STRLEN];
	char site_id[UUID_STRLEN];
	char target[CONFIG_TARGET_CAP]; /* of the resource when it was authorised */
	uint64_t filters_mark;		/* of the filters its gateway was told */
	uint8_t token[TOKEN_HASH_LEN];
	uint64_t expires_at, created_at;
	uint64_t revoked_at; /* 0: in force */
};

struct flows {
	struct flow *f;
	size_t n, cap;
};

void flows_fini(struct flows *t);
struct flow *flows_find(const struct flows *t, const struct device *client,
			const struct device *gateway, const char *resource_id);
/* The flow of the triple, a zeroed one with the ids set if it is new; NULL when the table is full.
 */
struct flow *flows_upsert(struct flows *t, struct device *client, struct device *gateway,
			  const char *resource_id);
/* Removes entry i; the last one takes its place. */
void flows_remove(struct flows *t, size_t i);
/* Is there any flow in force between the two? */
bool flows_connected(const struct flows *t, const struct device *client,
		     const struct device *gateway);

json_t *flows_save(const struct flows *t);
/* Into an empty table, after the devices. NULL, or what is wrong and *index with which entry. */
const char *flows_load(struct flows *t, const struct registry *reg, const json_t *list,
		       size_t *index);
#endif
