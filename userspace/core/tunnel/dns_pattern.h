/* SPDX-License-Identifier: Apache-2.0
 *
 * Which names a DNS resource means. A pattern is a name whose labels may hold wildcards:
 *
 *     *      any characters of one label, also none; mixes with others (f*o)
 *     ?      exactly one character of a label
 *     [a-z]  one character of a class, [!a-z] one outside it
 *     **     as a whole label: any number of labels, also none
 *
 * No wildcard but ** crosses a dot. A pattern whose first label is exactly * also means the name
 * behind it. Letters compare without case. Client and gateway must agree on all of it: the gateway
 * checks every name a client sets up against the pattern.
 *
 * Not usable: empty labels, ** beside other characters, ***, an unclosed class or one with a dot in
 * it, a class range that runs backwards, a slash, a quote, anything but printable ASCII.
 *
 * Matching is iterative: time is bounded by the product of the lengths, whatever the pattern.
 *
 * Source: spec tunnel §1.2. */
#ifndef PENSTOCK_CORE_TUNNEL_DNS_PATTERN_H
#define PENSTOCK_CORE_TUNNEL_DNS_PATTERN_H
#include <stdbool.h>
#include <stdint.h>
#include "base/uuid.h"
#include "core/tunnel/tunnel.h"

enum dns_stack { DNS_STACK_DUAL, DNS_STACK_V4, DNS_STACK_V6 };

bool dns_pattern_valid(const char *pattern);
/* pattern: a valid one. name: text without trailing dot. An empty name, or
 * one with a slash or a quote, matches nothing. */
bool dns_pattern_match(const char *pattern, const char *name);
/* Below 0: a is looked at before b. Compared from the end: the shorter of two with a common end
 * first, then ordinary characters (larger first), ?, *. Total; 0 only for equal strings. */
int dns_pattern_cmp(const char *a, const char *b);

/* ---- the patterns of all active DNS resources, most specific first ---- */
struct dns_pattern {
	struct uuid resource;
	enum dns_stack stack;
	char text[TUNNEL_ADDRESS_CAP];
};

struct dns_patterns {
	struct dns_pattern *list; /* the caller's memory; sorted */
	uint32_t count, cap;
};

void dns_patterns_init(struct dns_patterns *p, struct dns_pattern *list, uint32_t cap);
/* One pattern a resource: another one under the same id replaces it. Several resources may share a
 * pattern; the larger id is looked at first. 0; -EINVAL: not usable; -ENOSPC; on error an older
 * pattern of that resource stays. */
int dns_patterns_add(struct dns_patterns *p, const struct uuid *resource, const char *pattern,
		     enum dns_stack stack);
/* true if there was one. */
bool dns_patterns_remove(struct dns_patterns *p, const struct uuid *resource);
void dns_patterns_clear(struct dns_patterns *p);
/* First that matches, or NULL. */
const struct dns_pattern *dns_patterns_match(const struct dns_patterns *p, const char *name);
const struct dns_pattern *dns_patterns_of(const struct dns_patterns *p,
					  const struct uuid *resource);
#endif
