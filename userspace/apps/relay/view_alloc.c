/* SPDX-License-Identifier: Apache-2.0
 *
 * The operator's view of a relay's allocations and their traffic, of both executors. */
#include <jansson.h>
#include <stdlib.h>

#include "apps/relay/app.h"

#define LIMIT_DEFAULT 1000
#define LIMIT_MAX     10000

static json_t *num(uint64_t v)
{
	return json_integer((json_int_t)v);
}

static json_t *endpoint_or_null(const struct ipaddr *ip, uint16_t port)
{
	const struct endpoint e = {.ip = *ip, .port = port};
	char buf[ENDPOINT_STRLEN];

	return ip->family ? json_string(endpoint_fmt(&e, buf)) : json_null();
}

/* What a relay says of itself in the terms in which its clients see it. */
json_t *view_relays(const struct app *a)
{
	uint16_t port = (uint16_t)a->opt.listen_port;
	uint64_t n = relay_n_allocs(&a->relay);
	json_t *one = json_pack("{s:n,s:s,s:n,s:o,s:o,s:n,s:n,s:n,s:n,s:n,s:n,s:I,s:I,s:I}", "id",
				"state", a->draining ? "draining" : "serving", "why", "addr4",
				endpoint_or_null(&a->opt.public4, port), "addr6",
				endpoint_or_null(&a->opt.public6, port), "relayed4", "relayed6",
				"mapped4", "mapped6", "rtt_us", "expires_in_s", "channels",
				(json_int_t)relay_n_binds(&a->relay), "connections", (json_int_t)n,
				"relayed_connections", (json_int_t)n);

	return json_pack("{s:i,s:s,s:[o]}", "schema", 1, "cmd", "relays", "relays", one);
}

/* Traffic of one binding: all workers', and the kernel's. */
static struct bind_count traffic(const struct app *a, uint32_t bind, struct bind_count *kernel)
{
	struct ps_turn_stat up = {0}, down = {0};
	struct bind_count sum = {0};

	for (uint32_t i = 0; i < a->n_workers; i++) {
		const struct bind_count *c = &a->workers[i].binds[bind];

		sum.to_peer_packets += __atomic_load_n(&c->to_peer_packets, __ATOMIC_RELAXED);
		sum.to_peer_bytes += __atomic_load_n(&c->to_peer_bytes, __ATOMIC_RELAXED);
		sum.to_client_packets += __atomic_load_n(&c->to_client_packets, __ATOMIC_RELAXED);
		sum.to_client_bytes += __atomic_load_n(&c->to_client_bytes, __ATOMIC_RELAXED);
	}
	if (a->bpf)
		bpf_relay_stat(a->bpf, bind, &up, &down);
	*kernel = (struct bind_count){up.packets, up.bytes, down.packets, down.bytes};
	return sum;
}

static json_t *channel(const struct app *a, uint32_t bind, const struct relay_bind_view *b,
		       uint64_t now)
{
	struct bind_count kernel, user = traffic(a, bind, &kernel);
	char buf[ENDPOINT_STRLEN];

	return json_pack("{s:I,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "number",
			 (json_int_t)b->channel, "peer", endpoint_fmt(&b->peer, buf),
			 "expires_in_s", (json_int_t)(time_since(now, b->expires_ns) / NS_PER_SEC),
			 "user_to_peer_packets", (json_int_t)user.to_peer_packets,
			 "user_to_peer_bytes", (json_int_t)user.to_peer_bytes,
			 "user_to_client_packets", (json_int_t)user.to_client_packets,
			 "user_to_client_bytes", (json_int_t)user.to_client_bytes,
			 "kernel_to_peer_packets", (json_int_t)kernel.to_peer_packets,
			 "kernel_to_peer_bytes", (json_int_t)kernel.to_peer_bytes,
			 "kernel_to_client_packets", (json_int_t)kernel.to_client_packets,
			 "kernel_to_client_bytes", (json_int_t)kernel.to_client_bytes);
}

static json_t *allocation(const struct relay_alloc_view *v, uint64_t now)
{
	char client[ENDPOINT_STRLEN], local[ENDPOINT_STRLEN];

	return json_pack("{s:s,s:s,s:I,s:b,s:b,s:I,s:I,s:[]}", "client",
			 endpoint_fmt(&v->client, client), "local", endpoint_fmt(&v->local, local),
			 "port", (json_int_t)v->port, "ipv4", v->families & RELAY_F4 ? 1 : 0,
			 "ipv6", v->families & RELAY_F6 ? 1 : 0, "expires_in_s",
			 (json_int_t)(time_since(now, v->expires_ns) / NS_PER_SEC), "permissions",
			 (json_int_t)v->n_perms, "channels");
}

json_t *view_allocations(const struct app *a, json_int_t limit, uint64_t now)
{
	json_int_t max = limit > 0 && limit <= LIMIT_MAX ? limit : LIMIT_DEFAULT;
	json_t **at = calloc(a->n_alloc_cap, sizeof(*at)), *list = json_array();
	struct relay_alloc_view v;
	struct relay_bind_view b;

	for (uint32_t i = 0; at && i < a->n_alloc_cap && max; i++)
		if (relay_alloc_at(&a->relay, i, &v)) {
			at[i] = allocation(&v, now);
			json_array_append_new(list, at[i]);
			max--;
		}
	for (uint32_t i = 0; at && i < a->n_bind_cap; i++)
		if (relay_bind_at(&a->relay, i, &b) && b.alloc < a->n_alloc_cap && at[b.alloc])
			json_array_append_new(json_object_get(at[b.alloc], "channels"),
					      channel(a, i, &b, now));
	free(at);
	return json_pack("{s:i,s:s,s:o,s:o}", "schema", 1, "cmd", "allocations", "total",
			 num(relay_n_allocs(&a->relay)), "allocations", list);
}
