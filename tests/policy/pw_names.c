/* SPDX-License-Identifier: Apache-2.0
 *
 * Names in the policy world: the site's zone, what applications ask a client's stub, what gateways
 * ask the site. */
#include "tests/policy/pw.h"

const struct pw_name *pw_zone_find(const struct pw_world *w, const char *name)
{
	for (uint32_t i = 0; i < w->zone_count; i++)
		if (!strcasecmp(w->zone[i].name, name))
			return &w->zone[i];
	return NULL;
}

void pw_zone_set(struct pw_world *w, const char *name, const struct ipaddr *addrs, uint8_t n)
{
	struct pw_name *z = (struct pw_name *)(uintptr_t)pw_zone_find(w, name);

	if (!z) {
		if (!T(w->zone_count < PW_ZONE))
			return;
		z = &w->zone[w->zone_count++];
	}
	tunnel_text_copy(z->name, sizeof(z->name), name);
	z->count = n < PW_ADDRS ? n : PW_ADDRS;
	for (uint8_t i = 0; i < z->count; i++)
		z->addrs[i] = addrs[i];
}

uint32_t pw_query(struct pw_world *w, uint8_t c, const char *name, uint16_t type,
		  struct ipaddr out[8])
{
	struct pw_node *n = &w->node[c];
	struct dns_asker who = {.src = {.ip = n->tun4, .port = 40000},
				.sentinel = n->d->stub->sentinels.list[0].sentinel};
	struct dns_query q = {.q = {.type = type, .klass = DNS_CLASS_IN}, .id = 7, .rd = true};
	uint8_t msg[DNS_QUERY_CAP];
	struct dns_record r;
	uint32_t count = 0;
	struct dns_msg m;
	size_t len;

	n->answer_len = 0;
	if (dns_name_parse(name, &q.q.name) || dns_query_encode(&q, q.id, msg, sizeof(msg), &len))
		return 0;
	n->dns.query(n->dns.ctx, &who, msg, len, w->now);
	if (n->answer_len && dns_msg_open(n->answer, n->answer_len, &m) == DNS_OK)
		while (count < 8 && dns_msg_next(&m, &r))
			count += dns_record_address(&r, 0, &out[count]);
	pw_rest(n);
	pw_settle(w);
	return count;
}

void pw_upstream_answer(struct pw_world *w, uint8_t c, uint32_t i, const uint8_t *msg, size_t len)
{
	struct pw_node *n = &w->node[c];
	struct pw_upstream u = n->upstreams[i];

	n->up.answer(n->up.ctx, u.token, &u.to, msg, len, w->now);
	pw_rest(n);
	pw_settle(w);
}

void pw_question_drop(struct pw_world *w, uint8_t g, uint32_t i)
{
	struct pw_node *n = &w->node[pw_gw(w, g)];

	n->question_count--;
	memmove(&n->questions[i], &n->questions[i + 1],
		(n->question_count - i) * sizeof(*n->questions));
}

void pw_question_answer(struct pw_world *w, uint8_t g, uint32_t i)
{
	struct pw_node *n = &w->node[pw_gw(w, g)];
	struct pw_question q = n->questions[i];
	static const struct ipaddr none;
	const struct pw_name *z = pw_zone_find(w, q.name);
	const struct ipaddr *addrs = z ? z->addrs : &none;
	uint8_t count = z ? z->count : 0;

	pw_question_drop(w, g, i);
	if (w->cfg.hooks.resolved)
		w->cfg.hooks.resolved(w->cfg.hooks.ctx, g, &q, addrs, count);
	n->resolver.done(n->resolver.ctx, q.cookie, addrs, count, w->now);
	pw_rest(n);
	pw_settle(w);
}
