/* SPDX-License-Identifier: Apache-2.0
 *
 * The address plan and what may be asked of a resource; contracts in tunnel.h. */
#include "core/tunnel/tunnel.h"

#include <string.h>

#define NET4(n, ...) {.ip = {.family = 4, .b = {__VA_ARGS__}}, .len = (n)}
#define NET6(n, ...) {.ip = {.family = 6, .b = {__VA_ARGS__}}, .len = (n)}

static const struct ipnet peer_ranges[] = {
	NET4(11, 100, 64, 0, 0),
	NET6(107, 0xfd, 0x00, 0x20, 0x21, 0x11, 0x11),
};

static const struct ipnet reserved_ranges[] = {
	NET4(10, 100, 64, 0, 0),
	NET6(48, 0xfd, 0x00, 0x20, 0x21, 0x11, 0x11),
};

static const struct ipnet proxy_ranges[] = {
	NET4(11, 100, 96, 0, 0),
	NET6(107, 0xfd, 0x00, 0x20, 0x21, 0x11, 0x11, 0x80),
};

static const struct ipnet sentinel_ranges[] = {
	NET4(24, 100, 100, 111, 0),
	NET6(120, 0xfd, 0x00, 0x20, 0x21, 0x11, 0x11, 0x80, 0, 0x01, 0, 0x01, 0, 0x01, 0x11),
};

static const struct ipnet not_internet[] = {
	NET4(8, 0, 0, 0, 0),
	NET4(8, 10, 0, 0, 0),
	NET4(10, 100, 64, 0, 0),
	NET4(8, 127, 0, 0, 0),
	NET4(16, 169, 254, 0, 0),
	NET4(12, 172, 16, 0, 0),
	NET4(16, 192, 168, 0, 0),
	NET4(4, 224, 0, 0, 0),
	NET4(4, 240, 0, 0, 0),
	NET6(128),
	NET6(128, [15] = 1),
	NET6(96, [10] = 0xff, [11] = 0xff),
	NET6(7, 0xfc),
	NET6(10, 0xfe, 0x80),
	NET6(8, 0xff),
};

static bool in_any(const struct ipnet *nets, size_t count, const struct ipaddr *a)
{
	for (size_t i = 0; i < count; i++)
		if (ipnet_contains(&nets[i], a))
			return true;
	return false;
}
#define IN_ANY(nets, a) in_any(nets, sizeof(nets) / sizeof(*(nets)), a)

bool tunnel_in_peer_range(const struct ipaddr *a)
{
	return IN_ANY(peer_ranges, a);
}

bool tunnel_in_reserved_range(const struct ipaddr *a)
{
	return IN_ANY(reserved_ranges, a);
}

bool tunnel_in_proxy_range(const struct ipaddr *a)
{
	return IN_ANY(proxy_ranges, a) && !IN_ANY(sentinel_ranges, a);
}

bool tunnel_is_internet(const struct ipaddr *a)
{
	return a->family && !IN_ANY(not_internet, a);
}

bool tunnel_resource_covers(const struct tunnel_resource *r, const struct ipaddr *a)
{
	switch (r->type) {
	case TUNNEL_RESOURCE_CIDR:
		return ipnet_contains(&r->net, a);
	case TUNNEL_RESOURCE_INTERNET:
		return tunnel_is_internet(a);
	case TUNNEL_RESOURCE_DNS:
		break;
	}
	return false;
}

uint8_t tunnel_resource_prefix_len(const struct tunnel_resource *r)
{
	return r->type == TUNNEL_RESOURCE_CIDR ? r->net.len : 0;
}

uint64_t tunnel_expiry_ns(uint64_t expires_at, const struct wall *wall, uint64_t now)
{
	uint64_t left;

	if (expires_at == TUNNEL_NEVER_EXPIRES)
		return TIME_NEVER;
	if (expires_at <= wall->sec)
		return 1;
	left = expires_at - wall->sec;
	if (left > TIME_NEVER / NS_PER_SEC)
		return TIME_NEVER;
	return time_add(now, left * NS_PER_SEC - wall->nsec);
}

void tunnel_text_copy(char *dst, size_t cap, const char *src)
{
	size_t len = strnlen(src, cap);

	if (len == cap) /* too long: cut where a UTF-8 character starts */
		for (len--; len && ((uint8_t)src[len] & 0xc0) == 0x80;)
			len--;
	memcpy(dst, src, len);
	memset(dst + len, 0, cap - len);
}
