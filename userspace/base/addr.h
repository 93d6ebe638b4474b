/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses as plain values: IP, IP:port (endpoint), network prefix. No libc sockaddr here; io/
 * converts. IPv4 lives in the first 4 bytes of b, the rest is zero, so that memcmp is equality. */
#ifndef PENSTOCK_BASE_ADDR_H
#define PENSTOCK_BASE_ADDR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct ipaddr {
	uint8_t family; /* 4, 6, or 0 for "none" */
	uint8_t pad[3];
	uint8_t b[16];
};

struct endpoint {
	struct ipaddr ip;
	uint16_t port; /* host order */
	uint16_t pad;
};

struct ipnet {
	struct ipaddr ip; /* host bits are zero */
	uint8_t len;	  /* 0..32 or 0..128 */
	uint8_t pad[3];
};

#define IPADDR_STRLEN	48 /* longest IPv6 text and a NUL, rounded up */
#define ENDPOINT_STRLEN 56 /* "[v6]:65535" and a NUL, rounded up */
#define IPNET_STRLEN	52

struct ipaddr ipaddr_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d);
bool ipaddr_eq(const struct ipaddr *a, const struct ipaddr *b);
/* 4, 16 or 0 */
static inline size_t ipaddr_size(const struct ipaddr *a)
{
	return a->family == 4 ? 4 : a->family == 6 ? 16 : 0;
}
/* From 4 or 16 raw bytes; family 4 or 6. */
static inline struct ipaddr ipaddr_from(uint8_t family, const void *bytes)
{
	struct ipaddr a = {.family = family};

	memcpy(a.b, bytes, ipaddr_size(&a));
	return a;
}
bool ipaddr_is_unspecified(const struct ipaddr *a);
bool ipaddr_is_loopback(const struct ipaddr *a);
bool ipaddr_is_multicast(const struct ipaddr *a);  /* or IPv4 broadcast */
bool ipaddr_is_link_local(const struct ipaddr *a); /* 169.254/16, fe80::/10 */
/* Plain text without zone or prefix. 0 or -EINVAL. */
int ipaddr_parse(const char *text, struct ipaddr *out);
/* Canonical text (RFC 5952) into buf of IPADDR_STRLEN; returns buf. */
const char *ipaddr_fmt(const struct ipaddr *a, char *buf);

bool endpoint_eq(const struct endpoint *a, const struct endpoint *b);
/* "a.b.c.d:port" or "[v6]:port", port 0..65535. 0 or -EINVAL. */
int endpoint_parse(const char *text, struct endpoint *out);
const char *endpoint_fmt(const struct endpoint *e, char *buf);

/* "10.0.0.0/8"; a bare address is /32 or /128. -EINVAL also when host bits are set. */
int ipnet_parse(const char *text, struct ipnet *out);
bool ipnet_contains(const struct ipnet *net, const struct ipaddr *a);
bool ipnet_eq(const struct ipnet *a, const struct ipnet *b);
const char *ipnet_fmt(const struct ipnet *n, char *buf);
#endif
