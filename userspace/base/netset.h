/* SPDX-License-Identifier: Apache-2.0
 *
 * A small set of prefixes of one family that may cover more than was put in, never less: what is
 * contained in another is not kept, and where there is no room the two nearest to each other become
 * one that contains both. */
#ifndef PENSTOCK_BASE_NETSET_H
#define PENSTOCK_BASE_NETSET_H
#include "base/addr.h"

#define NETSET_MAX 64

struct netset {
	struct ipnet net[NETSET_MAX];
	size_t len;
};

/* All of one set are of the same family. */
void netset_add(struct netset *s, const struct ipnet *net);
/* To at most cap prefixes, at least 1. */
void netset_reduce(struct netset *s, size_t cap);
bool netset_contains(const struct netset *s, const struct ipaddr *ip);
#endif
