/* SPDX-License-Identifier: Apache-2.0
 *
 * A portal that sends anything: the frame decoder, the channel machine once joined, and every
 * payload decoder with all its list accessors, for both roles. */
#include <stdlib.h>
#include <string.h>
#include "codec/portal_msg.h"
#include "core/phx/phx_chan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_resource(const struct pmsg_resource *r)
{
	for (size_t i = 0; i < pmsg_count(r->sites); i++)
		if (!pmsg_site_at(r->sites, i).name)
			abort();
	for (size_t i = 0; i < pmsg_count(r->filters); i++) {
		struct pmsg_filter f = pmsg_filter_at(r->filters, i);

		if (!f.proto || f.port_first > f.port_last)
			abort();
	}
}

static void walk_relays(struct pmsg_list l)
{
	struct pmsg_relay r;
	size_t cursor = 0, n = 0;

	while (pmsg_relay_next(l, &cursor, &r)) {
		if (!r.username || !(r.v4.ip.family || r.v6.ip.family))
			abort();
		n++;
	}
	if (n > pmsg_count(l))
		abort();
}

static void walk_init(const struct pmsg *m)
{
	struct pmsg_resource r;
	struct pmsg_err err;

	if (m->kind == PMSG_GATEWAY_INIT) {
		walk_relays(m->gateway_init.relays);
		for (size_t i = 0; i < pmsg_count(m->gateway_init.authorizations); i++)
			(void)pmsg_authorization_at(m->gateway_init.authorizations, i);
		return;
	}
	walk_relays(m->client_init.relays);
	for (size_t i = 0; i < pmsg_count(m->client_init.interface.dns); i++)
		if (!pmsg_dns_at(m->client_init.interface.dns, i).port)
			abort();
	for (size_t i = 0; i < pmsg_count(m->client_init.resources); i++)
		if (!pmsg_client_resource_at(m->client_init.resources, i, &r, &err))
			walk_resource(&r);
}

static void walk(const struct pmsg *m)
{
	if (m->kind == PMSG_CLIENT_INIT || m->kind == PMSG_GATEWAY_INIT)
		walk_init(m);
	else if (m->kind == PMSG_RESOURCE_CHANGED || m->kind == PMSG_RESOURCE_UPDATED)
		walk_resource(&m->resource);
	else if (m->kind == PMSG_AUTHORIZE_FLOW)
		walk_resource(&m->authorize_flow.resource);
	else if (m->kind == PMSG_RELAYS_PRESENCE)
		walk_relays(m->relays_presence.connected);
}

static void decode_as_everything(const json_t *payload)
{
	static const char *const events[] = {
		"init",
		"config_changed",
		"resource_created_or_updated",
		"resource_deleted",
		"relays_presence",
		"flow_created",
		"flow_creation_failed",
		"authorize_flow",
		"reject_access",
		"resource_updated",
		"ice_candidates",
		"disconnect",
		"access_authorization_expiry_updated",
	};
	struct pmsg_err err;
	struct pmsg m;

	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		for (int role = 0; role < 2; role++)
			if (!pmsg_decode(&m, (enum pmsg_role)role, events[i], payload, &err))
				walk(&m);
}

static void channel(const char *text, size_t len)
{
	static const char join_ok[] = "{\"topic\":\"client\",\"event\":\"phx_reply\",\"ref\":0,"
				      "\"payload\":{\"status\":\"ok\",\"response\":{}}}";
	static const uint8_t seed[32];
	struct phx_cfg cfg = {.topic = "client", .max_elapsed_ns = TIME_NEVER};
	static char buf[PHX_SEND_MAX + 256];
	static struct phx p;
	size_t n;

	phx_init(&p, &cfg, seed, 1);
	phx_start(&p, 1);
	phx_opened(&p, 1);
	(void)phx_poll_tx(&p, buf, sizeof(buf), &n, 1);
	phx_input(&p, join_ok, sizeof(join_ok) - 1, 1);
	if (!phx_is_joined(&p))
		abort();
	phx_input(&p, text, len, 2);
	phx_input(&p, text, len, 3);
	phx_fini(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct phx_frame f;

	if (phx_frame_decode(&f, (const char *)data, size) == PHX_FRAME_OK) {
		decode_as_everything(f.payload);
		phx_frame_fini(&f);
	}
	channel((const char *)data, size);
	return 0;
}
