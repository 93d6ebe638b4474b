/* SPDX-License-Identifier: Apache-2.0
 *
 * Every device (client or gateway) that ever connected: its identifier, tunnel addresses and
 * secret. A device is (role, owner, external id); owner is the actor's name or the site's
 * identifier. What it was given once it keeps: nothing is ever handed out twice or taken back.
 *
 * Not here: who is connected now (state.h), nor storage (store.h). */
#ifndef PENSTOCK_PORTAL_REGISTRY_H
#define PENSTOCK_PORTAL_REGISTRY_H
#include <jansson.h>

#include "apps/portal/config.h"

#define REGISTRY_MAX	   16384
#define REGISTRY_OWNER_MAX 1024 /* one token must not use up the address space */
#define EXTERNAL_ID_MAX	   1024

struct device {
	char id[UUID_STRLEN];
	enum portal_role role;
	char *owner, *external_id, *name;
	uint32_t slot;			/* offset of both tunnel addresses in their ranges */
	uint8_t psk_base[PSK_BASE_LEN]; /* secret: goes into preshared keys, never out */
	uint64_t last_seen;		/* unix seconds */
	struct session *session;	/* joined now, or NULL; kept by the state machine */
};

struct registry {
	struct device **dev;
	size_t n, cap;
};

void registry_fini(struct registry *r);
/* The device, made if it is new (then *made). NULL when the table or the owner's share is full. */
struct device *registry_upsert(struct registry *r, enum portal_role role, const char *owner,
			       const char *external_id, void (*entropy)(void *buf, size_t len),
			       bool *made);
struct device *registry_find(const struct registry *r, const char *id);
/* False when out of memory; the old name stays. */
bool device_rename(struct device *d, const char *name);
/* 100.64.0.0/11 and fd00:2021:1111::/107 plus the slot. */
struct ipaddr device_ipv4(const struct device *d);
struct ipaddr device_ipv6(const struct device *d);

/* A new JSON array, secrets included; NULL when out of memory. */
json_t *registry_save(const struct registry *r);
/* Into an empty registry. NULL, or what is wrong and *index with which entry. */
const char *registry_load(struct registry *r, const json_t *list, size_t *index);
#endif
