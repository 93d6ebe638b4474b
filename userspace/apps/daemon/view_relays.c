/* SPDX-License-Identifier: Apache-2.0
 *
 * The operator's view of the relays: what we hold on each, and who uses it. */
#include "apps/daemon/daemon.h"
#include "apps/daemon/view_json.h"
#include "core/turn/turn.h"

static json_t *endpoint_or_null(const struct endpoint *e)
{
	return e->ip.family ? endpoint(e) : json_null();
}

static const char *state_name(enum turn_state s)
{
	switch (s) {
	case TURN_PROBING:
	case TURN_ALLOCATING:
		return "connecting";
	case TURN_READY:
		return "allocated";
	case TURN_SUSPENDED:
	case TURN_UNREACHABLE:
	case TURN_REFUSED:
	case TURN_BROKEN:
		break;
	}
	return "suspended";
}

static json_t *view_relay(const struct node_relay_view *v, uint64_t relayed, uint64_t now)
{
	json_t *o = json_object();

	put(o, "id", uuid(&v->id));
	put(o, "state", json_string(state_name(v->state)));
	put(o, "why", v->why ? json_string(v->why) : json_null());
	put(o, "addr4", endpoint_or_null(&v->addr4));
	put(o, "addr6", endpoint_or_null(&v->addr6));
	put(o, "relayed4", endpoint_or_null(&v->relayed4));
	put(o, "relayed6", endpoint_or_null(&v->relayed6));
	put(o, "mapped4", endpoint_or_null(&v->mapped4));
	put(o, "mapped6", endpoint_or_null(&v->mapped6));
	put(o, "rtt_us", v->rtt_ns ? num(v->rtt_ns / NS_PER_US) : json_null());
	put(o, "expires_in_s",
	    v->state == TURN_READY && v->expires_ns > now ? num((v->expires_ns - now) / NS_PER_SEC)
							  : json_null());
	put(o, "channels", num(v->n_channels));
	put(o, "connections", num(v->n_conns));
	put(o, "relayed_connections", num(relayed));
	return o;
}

/* Connections whose packets go through each relay now, by its listening address. */
static uint64_t count_relayed(const struct daemon *d, const struct endpoint *server, uint64_t now)
{
	uint64_t n = 0;

	for (uint32_t slot = 0; slot < d->max_peers; slot++) {
		struct node_path path;

		if (node_conn(&d->node, slot) && node_conn_path(&d->node, slot, &path, now))
			n += path.relayed && endpoint_eq(&path.relay, server);
	}
	return n;
}

json_t *view_relays(const struct daemon *d, uint64_t now)
{
	json_t *o = answer("relays"), *list = json_array();

	for (uint32_t i = 0; i < NODE_RELAYS_MAX; i++) {
		struct node_relay_view v;

		if (node_relay_view(&d->node, i, &v))
			json_array_append_new(
				list, view_relay(&v, count_relayed(d, &v.server, now), now));
	}
	put(o, "relays", list);
	return o;
}
