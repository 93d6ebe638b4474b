/* SPDX-License-Identifier: Apache-2.0
 *
 * Proxy addresses of names; contracts in dns_names.h. One index serves names and addresses: what is
 * hashed starts with a byte that says which. */
#include "core/tunnel/dns_names.h"

#include <string.h>
#include "base/bytes.h"

#define V4_BASE	   0x64600000u /* 100.96.0.0 */
#define V4_FIRST   1u	       /* behind the network address */
#define V4_END	   0x1fffffu   /* the broadcast address */
#define V4_SKIP	   0x046f00u   /* 100.100.111.0/24: sentinels */
#define V4_SKIP_TO 0x047000u
#define V6_END	   0x200000u

static const struct ipnet proxy_v4 = {.ip = {.family = 4, .b = {100, 96}}, .len = 11};
static const struct ipnet proxy_v6 = {
	.ip = {.family = 6, .b = {0xfd, 0, 0x20, 0x21, 0x11, 0x11, 0x80}}, .len = 107};

enum key_kind { KEY_NAME, KEY_V4, KEY_V6 };

static struct ipaddr v4_at(uint32_t offset)
{
	uint8_t b[4];

	be32_put(b, V4_BASE + offset);
	return ipaddr_from(4, b);
}

static struct ipaddr v6_at(uint32_t offset)
{
	struct ipaddr a = proxy_v6.ip;

	be32_put(a.b + 12, offset); /* the base is zero there */
	return a;
}

bool dns_in_proxy_range(const struct ipaddr *a)
{
	return ipnet_contains(&proxy_v6, a) ||
	       (ipnet_contains(&proxy_v4, a) &&
		(be32_get(a->b) - V4_BASE < V4_SKIP || be32_get(a->b) - V4_BASE >= V4_SKIP_TO));
}

void dns_names_init(struct dns_names *n, struct dns_assigned *list, uint32_t cap,
		    struct idx_cell *cells, uint32_t cell_cap, uint64_t seed)
{
	*n = (struct dns_names){.list = list, .cap = cap, .seed = seed, .next_v4 = V4_FIRST};
	idx_init(&n->idx, cells, cell_cap);
}

static uint32_t hash_name(const struct dns_names *n, const char *domain,
			  const struct uuid *resource)
{
	uint8_t key[1 + sizeof(resource->b) + DNS_TEXT_CAP] = {KEY_NAME};
	size_t len = strlen(domain);

	memcpy(key + 1, resource->b, sizeof(resource->b));
	memcpy(key + 1 + sizeof(resource->b), domain, len);
	return idx_hash(n->seed, key, 1 + sizeof(resource->b) + len);
}

static uint32_t hash_offset(const struct dns_names *n, enum key_kind kind, uint32_t offset)
{
	uint8_t key[5] = {(uint8_t)kind};

	be32_put(key + 1, offset);
	return idx_hash(n->seed, key, sizeof(key));
}

/* Lower case into out; false: empty or too long. */
static bool domain_fold(const char *domain, char out[DNS_TEXT_CAP])
{
	size_t len = strnlen(domain, DNS_TEXT_CAP);

	if (!len || len == DNS_TEXT_CAP)
		return false;
	for (size_t i = 0; i <= len; i++)
		out[i] = domain[i] >= 'A' && domain[i] <= 'Z' ? (char)(domain[i] + 32) : domain[i];
	return true;
}

static uint32_t find_folded(const struct dns_names *n, const char *domain,
			    const struct uuid *resource)
{
	uint32_t pos = 0, slot, hash = hash_name(n, domain, resource);

	while ((slot = idx_next(&n->idx, hash, &pos)) != IDX_NONE)
		if (uuid_eq(&n->list[slot].resource, resource) &&
		    !strcmp(n->list[slot].domain, domain))
			return slot;
	return DNS_NAMES_NONE;
}

uint32_t dns_names_find(const struct dns_names *n, const char *domain, const struct uuid *resource)
{
	char folded[DNS_TEXT_CAP];

	return domain_fold(domain, folded) ? find_folded(n, folded, resource) : DNS_NAMES_NONE;
}

/* Four offsets from *next on; false when the range has no four left (then *next is unchanged). */
static bool take_v4(uint32_t *next, uint32_t out[DNS_NAME_ADDRS])
{
	uint32_t at = *next;

	for (unsigned i = 0; i < DNS_NAME_ADDRS; i++, at++) {
		if (at >= V4_SKIP && at < V4_SKIP_TO)
			at = V4_SKIP_TO;
		if (at >= V4_END)
			return false;
		out[i] = at;
	}
	*next = at;
	return true;
}

static bool take_v6(uint32_t *next, uint32_t out[DNS_NAME_ADDRS])
{
	if (V6_END - *next < DNS_NAME_ADDRS)
		return false;
	for (unsigned i = 0; i < DNS_NAME_ADDRS; i++)
		out[i] = (*next)++;
	return true;
}

/* Gives the entry the families it lacks; all of them or none. */
static bool take(struct dns_names *n, struct dns_assigned *e, bool want_v4, bool want_v6)
{
	uint32_t next_v4 = n->next_v4, next_v6 = n->next_v6;

	if ((want_v4 && !take_v4(&next_v4, e->v4)) || (want_v6 && !take_v6(&next_v6, e->v6))) {
		n->full++;
		return false;
	}
	n->next_v4 = next_v4;
	n->next_v6 = next_v6;
	e->has_v4 = e->has_v4 || want_v4;
	e->has_v6 = e->has_v6 || want_v6;
	return true;
}

/* The index has a cell for everything the table can hold: insertion cannot fail. */
static void index_offsets(struct dns_names *n, uint32_t slot, enum key_kind kind,
			  const uint32_t offsets[DNS_NAME_ADDRS])
{
	for (unsigned i = 0; i < DNS_NAME_ADDRS; i++)
		(void)idx_insert(&n->idx, hash_offset(n, kind, offsets[i]), slot);
}

uint32_t dns_names_assign(struct dns_names *n, const char *domain, const struct uuid *resource,
			  enum dns_stack stack)
{
	struct dns_assigned fresh = {.resource = *resource}, *e = &fresh;
	bool v4 = stack != DNS_STACK_V6, v6 = stack != DNS_STACK_V4;
	uint32_t slot;

	if (!domain_fold(domain, fresh.domain))
		return DNS_NAMES_NONE;
	slot = find_folded(n, fresh.domain, resource);
	if (slot != DNS_NAMES_NONE)
		e = &n->list[slot];
	else if (n->count == n->cap) {
		n->full++;
		return DNS_NAMES_NONE;
	}
	v4 = v4 && !e->has_v4;
	v6 = v6 && !e->has_v6;
	if (!take(n, e, v4, v6))
		return DNS_NAMES_NONE;
	if (slot == DNS_NAMES_NONE) {
		slot = n->count++;
		n->list[slot] = fresh;
		(void)idx_insert(&n->idx, hash_name(n, fresh.domain, resource), slot);
	}
	if (v4)
		index_offsets(n, slot, KEY_V4, n->list[slot].v4);
	if (v6)
		index_offsets(n, slot, KEY_V6, n->list[slot].v6);
	return slot;
}

static bool has_offset(const uint32_t offsets[DNS_NAME_ADDRS], uint32_t offset)
{
	for (unsigned i = 0; i < DNS_NAME_ADDRS; i++)
		if (offsets[i] == offset)
			return true;
	return false;
}

uint32_t dns_names_by_address(const struct dns_names *n, const struct ipaddr *a)
{
	uint32_t pos = 0, slot, offset, hash;
	bool v4 = a->family == 4;

	if (!dns_in_proxy_range(a))
		return DNS_NAMES_NONE;
	offset = v4 ? be32_get(a->b) - V4_BASE : be32_get(a->b + 12);
	hash = hash_offset(n, v4 ? KEY_V4 : KEY_V6, offset);
	while ((slot = idx_next(&n->idx, hash, &pos)) != IDX_NONE) {
		const struct dns_assigned *e = &n->list[slot];

		if (v4 ? e->has_v4 && has_offset(e->v4, offset)
		       : e->has_v6 && has_offset(e->v6, offset))
			return slot;
	}
	return DNS_NAMES_NONE;
}

const struct dns_assigned *dns_names_at(const struct dns_names *n, uint32_t slot)
{
	return slot < n->count ? &n->list[slot] : NULL;
}

uint32_t dns_names_addresses(const struct dns_names *n, uint32_t slot, uint8_t family,
			     struct ipaddr out[DNS_NAME_PROXIES])
{
	const struct dns_assigned *e = dns_names_at(n, slot);
	uint32_t count = 0;

	for (unsigned i = 0; e && e->has_v4 && family != 6 && i < DNS_NAME_ADDRS; i++)
		out[count++] = v4_at(e->v4[i]);
	for (unsigned i = 0; e && e->has_v6 && family != 4 && i < DNS_NAME_ADDRS; i++)
		out[count++] = v6_at(e->v6[i]);
	return count;
}
