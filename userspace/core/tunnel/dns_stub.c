/* SPDX-License-Identifier: Apache-2.0
 *
 * The stub resolver's decision about a query, and its configuration; contracts in dns_stub.h. */
#include "core/tunnel/dns_stub.h"

#include "core/tunnel/dns_stub_int.h"

/* Firefox asks for it to learn whether the network resolves by itself. */
static const struct dns_name canary = {.len = 25, .b = "\x13use-application-dns\3net"};

void dns_stub_init(struct dns_stub *s, const struct dns_stub_mem *mem, const uint8_t seed[32])
{
	rng_init(&s->rng, seed);
	s->counters = (struct dns_stub_counters){0};
	dns_patterns_init(&s->patterns, mem->patterns, mem->pattern_cap);
	dns_names_init(&s->names, mem->names, mem->name_cap, mem->cells, mem->cell_cap,
		       rng_u64(&s->rng));
	dns_sentinels_init(&s->sentinels);
	dns_pendings_init(&s->pending, mem->pending, mem->pending_cap);
	dns_cache_init(&s->cache, mem->cached, mem->cached_cap, rng_u64(&s->rng));
}

/* ---- configuration ---- */
int dns_stub_add_resource(struct dns_stub *s, const struct uuid *id, const char *pattern,
			  enum dns_stack stack)
{
	dns_cache_flush(&s->cache);
	return dns_patterns_add(&s->patterns, id, pattern, stack);
}

void dns_stub_remove_resource(struct dns_stub *s, const struct uuid *id)
{
	dns_cache_flush(&s->cache);
	dns_patterns_remove(&s->patterns, id);
}

/* By another way its address may be another host's: what was answered so far says nothing. */
static void upstream_set_way(struct dns_stub *s, struct dns_upstream *up, bool via_tunnel)
{
	if (up->via_tunnel == via_tunnel)
		return;
	up->via_tunnel = via_tunnel;
	dns_cache_flush(&s->cache);
}

/* A mapping that changes replaces every sentinel: nothing that waits can be answered any more. */
bool dns_stub_set_upstreams(struct dns_stub *s, const struct endpoint *portal,
			    uint32_t portal_count, const struct endpoint *system,
			    uint32_t system_count)
{
	bool changed = dns_sentinels_update(&s->sentinels, portal, portal_count, system,
					    system_count);

	for (uint32_t i = 0; !s->sentinels.from_portal && i < s->sentinels.count; i++)
		upstream_set_way(s, &s->sentinels.list[i], false);
	if (!changed)
		return false;
	dns_cache_flush(&s->cache);
	for (uint32_t i = s->pending.oldest; i != DNS_PENDING_NONE; i = s->pending.list[i].next) {
		s->pending.list[i].orphan = true;
		s->pending.list[i].until_ns = 0;
	}
	return true;
}

void dns_stub_set_covered(struct dns_stub *s, uint32_t i, bool internet_active, bool cidr_covers)
{
	if (i < s->sentinels.count)
		upstream_set_way(s, &s->sentinels.list[i],
				 dns_upstream_via_tunnel(s->sentinels.from_portal, internet_active,
							 cidr_covers));
}

const struct dns_assigned *dns_stub_route(const struct dns_stub *s, const struct ipaddr *dst)
{
	const struct dns_assigned *e = dns_names_at(&s->names,
						    dns_names_by_address(&s->names, dst));
	const struct dns_pattern *p = e ? dns_patterns_of(&s->patterns, &e->resource) : NULL;

	return p && dns_pattern_match(p->text, e->domain) ? e : NULL;
}

/* ---- what is said ---- */
void dns_action_init(struct dns_action *out)
{
	*out = (struct dns_action){.kind = DNS_ACT_NONE, .name = DNS_NAMES_NONE};
}

void dns_stub_say(struct dns_stub *s, const struct dns_asker *who, const struct dns_query *q,
		  const struct dns_reply *a, struct dns_action *out)
{
	/* The buffer holds any header and question: encoding cannot fail. */
	(void)dns_reply_encode(q, a, s->buf, who->tcp ? sizeof(s->buf) : DNS_UDP_CAP, &out->len);
	out->kind = DNS_ACT_ANSWER;
	out->msg = s->buf;
	out->asker = *who;
}

void dns_stub_say_code(struct dns_stub *s, const struct dns_asker *who, const struct dns_query *q,
		       enum dns_rcode code, struct dns_action *out)
{
	dns_stub_say(s, who, q, &(struct dns_reply){.rcode = code}, out);
}

void dns_stub_send(struct dns_stub *s, uint32_t slot, struct dns_action *out)
{
	const struct dns_pending *e = &s->pending.list[slot];

	(void)dns_query_encode(&e->query, e->id, s->buf, sizeof(s->buf), &out->len);
	out->kind = DNS_ACT_UPSTREAM;
	out->msg = s->buf;
	out->token = dns_pendings_token(&s->pending, slot);
	out->upstream = e->upstream;
	out->asker = e->asker;
	out->resource = e->resource;
	out->tcp = e->asker.tcp;
	out->via_tunnel = e->via_tunnel;
}

/* ---- the rows of the table ---- */
static void answer_addresses(struct dns_stub *s, const struct dns_asker *who,
			     const struct dns_query *q, const struct dns_pattern *p,
			     const char *name, struct dns_action *out)
{
	uint8_t family = q->q.type == DNS_TYPE_A ? 4 : 6;
	bool has = p->stack == DNS_STACK_DUAL || (p->stack == DNS_STACK_V4) == (family == 4);
	struct ipaddr ips[DNS_NAME_PROXIES];
	struct dns_reply a = {.ttl = DNS_STUB_TTL, .ips = ips};
	uint32_t slot = dns_names_assign(&s->names, name, &p->resource, p->stack);

	if (slot == DNS_NAMES_NONE) {
		s->counters.names_full++;
		dns_stub_say_code(s, who, q, DNS_SERVFAIL, out);
		return;
	}
	if (has)
		a.ip_count = dns_names_addresses(&s->names, slot, family, ips);
	s->counters.proxied += has;
	s->counters.empty += !has;
	out->name = slot;
	out->resource = p->resource;
	dns_stub_say(s, who, q, &a, out);
}

/* true if the reverse name is of a proxy address in use. */
static bool answer_ptr(struct dns_stub *s, const struct dns_asker *who, const struct dns_query *q,
		       struct dns_action *out)
{
	struct dns_reply a = {.ttl = DNS_STUB_TTL};
	const struct dns_assigned *e;
	struct dns_name name;
	struct ipaddr ip;

	if (dns_name_reverse(&q->q.name, &ip))
		return false;
	e = dns_stub_route(s, &ip);
	if (!e || dns_name_parse(e->domain, &name))
		return false;
	a.ptr = &name;
	s->counters.ptr++;
	dns_stub_say(s, who, q, &a, out);
	return true;
}

/* A place for a query that is passed on; DNS_PENDING_NONE: it waits already, or there is no room.
 * Either way *out says what is to be done. */
static uint32_t enqueue(struct dns_stub *s, const struct dns_asker *who, const struct dns_query *q,
			struct dns_action *out, uint64_t now)
{
	uint32_t slot = dns_pendings_same(&s->pending, who, q);

	if (slot != DNS_PENDING_NONE) {
		s->counters.duplicates++;
		if (s->pending.list[slot].state == DNS_PENDING_SENT && !who->tcp) {
			dns_stub_send(s, slot, out);
			out->again = true;
		}
		return DNS_PENDING_NONE;
	}
	slot = dns_pendings_add(&s->pending, who, q, (uint16_t)rng_u32(&s->rng), now);
	if (slot == DNS_PENDING_NONE) {
		s->counters.overflow++;
		dns_stub_say_code(s, who, q, DNS_SERVFAIL, out);
	}
	return slot;
}

static void pass_in_site(struct dns_stub *s, const struct dns_asker *who, const struct dns_query *q,
			 const struct dns_pattern *p, struct dns_action *out, uint64_t now)
{
	uint32_t slot = enqueue(s, who, q, out, now);
	struct dns_pending *e;

	if (slot == DNS_PENDING_NONE)
		return;
	e = &s->pending.list[slot];
	e->in_site = e->via_tunnel = true;
	e->resource = p->resource;
	s->counters.in_site++;
	out->kind = DNS_ACT_IN_SITE;
	out->token = dns_pendings_token(&s->pending, slot);
	out->asker = *who;
	out->resource = p->resource;
}

static void pass_upstream(struct dns_stub *s, const struct dns_asker *who,
			  const struct dns_query *q, struct dns_action *out, uint64_t now)
{
	const struct dns_upstream *up = dns_sentinels_find(&s->sentinels, &who->sentinel);
	uint32_t slot;

	if (!up) {
		s->counters.no_upstream++;
		dns_stub_say_code(s, who, q, DNS_SERVFAIL, out);
		return;
	}
	out->len = dns_cache_get(&s->cache, &up->at, q, s->buf, now);
	if (out->len) {
		s->counters.cached++;
		out->kind = DNS_ACT_ANSWER;
		out->msg = s->buf;
		out->asker = *who;
		return;
	}
	slot = enqueue(s, who, q, out, now);
	if (slot == DNS_PENDING_NONE)
		return;
	s->counters.forwarded++;
	s->pending.list[slot].via_tunnel = up->via_tunnel;
	dns_pendings_sent(&s->pending, slot, &up->at);
	dns_stub_send(s, slot, out);
}

/* The resource the query is for; *text is its name. NULL: none. */
static const struct dns_pattern *resource_of(const struct dns_stub *s, const struct dns_query *q,
					     char text[DNS_TEXT_CAP])
{
	if (q->q.klass != DNS_CLASS_IN || dns_name_text(&q->q.name, text))
		return NULL;
	return dns_patterns_match(&s->patterns, text);
}

/* What is answered without anybody's help; true if it was. */
static bool answer_here(struct dns_stub *s, const struct dns_asker *who, const struct dns_query *q,
			const struct dns_pattern *p, const char *text, struct dns_action *out)
{
	switch (q->q.type) {
	case DNS_TYPE_A:
	case DNS_TYPE_AAAA:
		if (p)
			answer_addresses(s, who, q, p, text, out);
		return p;
	case DNS_TYPE_HTTPS:
		if (p) {
			s->counters.empty++;
			dns_stub_say_code(s, who, q, DNS_NOERROR, out);
		}
		return p;
	case DNS_TYPE_PTR:
		return q->q.klass == DNS_CLASS_IN && answer_ptr(s, who, q, out);
	default:
		return false;
	}
}

void dns_stub_query(struct dns_stub *s, const struct dns_asker *who, const uint8_t *msg, size_t len,
		    struct dns_action *out, uint64_t now)
{
	const struct dns_pattern *p;
	char text[DNS_TEXT_CAP];
	struct dns_query q;
	enum dns_verdict v = dns_query_parse(msg, len, &q);

	dns_action_init(out);
	s->counters.queries++;
	if (v != DNS_OK) {
		s->counters.malformed[v]++;
		return;
	}
	if (dns_name_eq(&q.q.name, &canary)) {
		s->counters.canary++;
		dns_stub_say_code(s, who, &q, DNS_NXDOMAIN, out);
		return;
	}
	p = resource_of(s, &q, text);
	if (q.opcode == DNS_OPCODE_QUERY && answer_here(s, who, &q, p, text, out))
		return;
	if (who->local_only) {
		s->counters.local_only++;
	} else if (q.opcode != DNS_OPCODE_QUERY || q.q.type == DNS_TYPE_AXFR ||
		   q.q.type == DNS_TYPE_IXFR) {
		s->counters.not_implemented++;
		dns_stub_say_code(s, who, &q, DNS_NOTIMP, out);
	} else if (p && (q.q.type == DNS_TYPE_SRV || q.q.type == DNS_TYPE_TXT)) {
		pass_in_site(s, who, &q, p, out, now);
	} else {
		pass_upstream(s, who, &q, out, now);
	}
}
