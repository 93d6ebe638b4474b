/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/registry.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "base/b64.h"
#include "base/bytes.h"

#define SLOT_BITS 21 /* 32 - 11 and 128 - 107 */
#define SLOT_MASK ((1u << SLOT_BITS) - 1)

static void device_free(struct device *d)
{
	if (!d)
		return;
	free(d->owner);
	free(d->external_id);
	free(d->name);
	OPENSSL_cleanse(d, sizeof(*d));
	free(d);
}

void registry_fini(struct registry *r)
{
	for (size_t i = 0; i < r->n; i++)
		device_free(r->dev[i]);
	free(r->dev);
	*r = (struct registry){0};
}

struct ipaddr device_ipv4(const struct device *d)
{
	uint8_t b[4];

	be32_put(b, (100u << 24 | 64u << 16) + d->slot);
	return ipaddr_from(4, b);
}

struct ipaddr device_ipv6(const struct device *d)
{
	uint8_t b[16] = {0xfd, 0x00, 0x20, 0x21, 0x11, 0x11};

	be32_put(b + 12, d->slot);
	return ipaddr_from(6, b);
}

static bool slot_taken(const struct registry *r, uint32_t slot)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->dev[i]->slot == slot)
			return true;
	return false;
}

/* First free slot from where the device's identity hashes to. The first and last addresses of the
 * range stay unused. REGISTRY_MAX is far below the range's size, so the search ends soon. */
static uint32_t slot_pick(const struct registry *r, const char *id)
{
	const char *parts[] = {"tunnel-address", id, NULL};
	uint32_t slot = (uint32_t)(derive_offset(parts) & SLOT_MASK);

	while (!slot || slot == SLOT_MASK || slot_taken(r, slot))
		slot = (slot + 1) & SLOT_MASK;
	return slot;
}

static struct device *device_new(enum portal_role role, const char *owner, const char *external_id)
{
	struct device *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->role = role;
	d->owner = strdup(owner);
	d->external_id = strdup(external_id);
	d->name = strdup("");
	if (d->owner && d->external_id && d->name)
		return d;
	device_free(d);
	return NULL;
}

static bool registry_add(struct registry *r, struct device *d)
{
	if (r->n == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 64;
		struct device **grown = realloc(r->dev, cap * sizeof(*grown));

		if (!grown)
			return false;
		r->dev = grown;
		r->cap = cap;
	}
	r->dev[r->n++] = d;
	return true;
}

struct device *registry_upsert(struct registry *r, enum portal_role role, const char *owner,
			       const char *external_id, void (*entropy)(void *buf, size_t len),
			       bool *made)
{
	const char *parts[] = {"penstock-device", portal_role_name(role), owner, external_id, NULL};
	struct device *d;
	size_t owned = 0;

	*made = false;
	for (size_t i = 0; i < r->n; i++) {
		d = r->dev[i];
		if (d->role != role || strcmp(d->owner, owner))
			continue;
		if (!strcmp(d->external_id, external_id))
			return d;
		owned++;
	}
	if (r->n >= REGISTRY_MAX || owned >= REGISTRY_OWNER_MAX)
		return NULL;
	d = device_new(role, owner, external_id);
	if (!d)
		return NULL;
	derive_uuid(parts, d->id);
	d->slot = slot_pick(r, d->id);
	entropy(d->psk_base, sizeof(d->psk_base));
	if (!registry_add(r, d)) {
		device_free(d);
		return NULL;
	}
	*made = true;
	return d;
}

struct device *registry_find(const struct registry *r, const char *id)
{
	for (size_t i = 0; i < r->n; i++)
		if (!strcmp(r->dev[i]->id, id))
			return r->dev[i];
	return NULL;
}

bool device_rename(struct device *d, const char *name)
{
	char *copy = strdup(name);

	if (!copy)
		return false;
	free(d->name);
	d->name = copy;
	return true;
}

json_t *registry_save(const struct registry *r)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < r->n; i++) {
		const struct device *d = r->dev[i];
		char v4[IPADDR_STRLEN], v6[IPADDR_STRLEN], psk[KEY_B64_STRLEN];
		struct ipaddr a4 = device_ipv4(d), a6 = device_ipv6(d);

		b64_encode(d->psk_base, sizeof(d->psk_base), psk);
		if (json_array_append_new(
			    list,
			    json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I}", "id", d->id, "role",
				      portal_role_name(d->role), "owner", d->owner, "external_id",
				      d->external_id, "name", d->name, "ipv4", ipaddr_fmt(&a4, v4),
				      "ipv6", ipaddr_fmt(&a6, v6), "psk_base", psk, "last_seen",
				      (json_int_t)d->last_seen))) {
			json_decref(list);
			list = NULL;
		}
		OPENSSL_cleanse(psk, sizeof(psk));
	}
	return list;
}

/* Both addresses must be the two faces of one free slot. */
static const char *load_slot(const struct registry *r, struct device *d, const char *v4,
			     const char *v6)
{
	struct ipaddr a4, a6, want;

	if (ipaddr_parse(v4, &a4) || a4.family != 4)
		return "ipv4 is not an address";
	if (ipaddr_parse(v6, &a6) || a6.family != 6)
		return "ipv6 is not an address";
	d->slot = be32_get(a4.b) & SLOT_MASK;
	want = device_ipv4(d);
	if (!ipaddr_eq(&a4, &want))
		return "ipv4 lies outside 100.64.0.0/11";
	want = device_ipv6(d);
	if (!ipaddr_eq(&a6, &want))
		return "ipv6 does not belong to ipv4";
	if (slot_taken(r, d->slot))
		return "ipv4 is already that of another device";
	return NULL;
}

static const char *load_one(struct registry *r, const json_t *v)
{
	const char *id, *role, *owner, *ext, *name, *v4, *v6, *psk, *wrong = "is not a device";
	struct device *d;
	json_int_t seen;

	if (json_unpack((json_t *)(uintptr_t)v, "{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I}", "id", &id,
			"role", &role, "owner", &owner, "external_id", &ext, "name", &name, "ipv4",
			&v4, "ipv6", &v6, "psk_base", &psk, "last_seen", &seen))
		return wrong;
	if (r->n >= REGISTRY_MAX)
		return "is one device too many";
	if (strcmp(role, "client") && strcmp(role, "gateway"))
		return "role is neither client nor gateway";
	d = device_new(!strcmp(role, "client") ? ROLE_CLIENT : ROLE_GATEWAY, owner, ext);
	if (!d)
		return "out of memory";
	d->last_seen = seen > 0 ? (uint64_t)seen : 0;
	if (!ident_uuid_normalise(id, d->id))
		wrong = "id is not a UUID";
	else if (registry_find(r, d->id))
		wrong = "id is already that of another device";
	else if (b64_key_decode(psk, d->psk_base))
		wrong = "psk_base is not 32 bytes of base64";
	else if (!device_rename(d, name))
		wrong = "out of memory";
	else
		wrong = load_slot(r, d, v4, v6);
	if (!wrong && !registry_add(r, d))
		wrong = "out of memory";
	if (wrong)
		device_free(d);
	return wrong;
}

const char *registry_load(struct registry *r, const json_t *list, size_t *index)
{
	for (*index = 0; *index < json_array_size(list); (*index)++) {
		const char *wrong = load_one(r, json_array_get(list, *index));

		if (wrong)
			return wrong;
	}
	return NULL;
}
