/* SPDX-License-Identifier: Apache-2.0
 *
 * Small values as the operator's documents write them (docs/control-socket.md, conventions). */
#ifndef PENSTOCK_DAEMON_VIEW_JSON_H
#define PENSTOCK_DAEMON_VIEW_JSON_H
#include <jansson.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/uuid.h"

static inline json_t *num(uint64_t v)
{
	return json_integer((json_int_t)v);
}

static inline void put(json_t *o, const char *key, json_t *v)
{
	json_object_set_new(o, key, v);
}

static inline json_t *ip(const struct ipaddr *a)
{
	char buf[IPADDR_STRLEN];

	return a->family ? json_string(ipaddr_fmt(a, buf)) : json_null();
}

static inline json_t *endpoint(const struct endpoint *e)
{
	char buf[ENDPOINT_STRLEN];

	return json_string(endpoint_fmt(e, buf));
}

static inline json_t *uuid(const struct uuid *id)
{
	char buf[UUID_STRLEN];

	return json_string(uuid_fmt(id, buf));
}

static inline json_t *answer(const char *cmd)
{
	return json_pack("{s:i,s:s}", "schema", 1, "cmd", cmd);
}
#endif
