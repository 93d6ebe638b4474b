/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes of queries that were passed on: answers, failures, time; contracts in dns_stub.h. */
#include "core/tunnel/dns_rebind.h"
#include "core/tunnel/dns_stub.h"
#include "core/tunnel/dns_stub_int.h"
#include "core/tunnel/tunnel.h"

/* The entry ends; the action names its socket and who asked. */
static void end(struct dns_stub *s, uint32_t slot, struct dns_action *out)
{
	out->ended = true;
	out->token = dns_pendings_token(&s->pending, slot);
	out->asker = s->pending.list[slot].asker;
	dns_pendings_remove(&s->pending, slot);
}

static void end_servfail(struct dns_stub *s, uint32_t slot, struct dns_action *out)
{
	const struct dns_pending *e = &s->pending.list[slot];

	dns_stub_say_code(s, &e->asker, &e->query, DNS_SERVFAIL, out);
	end(s, slot, out);
}

/* ---- in site ---- */
void dns_stub_in_site(struct dns_stub *s, uint64_t token, const struct ipaddr *gateway,
		      struct dns_action *out)
{
	uint32_t slot = dns_pendings_by_token(&s->pending, token);
	struct endpoint at = {.ip = *gateway, .port = TUNNEL_DNS_PORT};

	dns_action_init(out);
	if (slot == DNS_PENDING_NONE || s->pending.list[slot].state != DNS_PENDING_HELD)
		return;
	dns_pendings_sent(&s->pending, slot, &at);
	dns_stub_send(s, slot, out);
}

uint64_t dns_stub_held_next(const struct dns_stub *s, const struct uuid *resource, uint64_t token)
{
	uint32_t i = s->pending.oldest;

	if (token) {
		i = dns_pendings_by_token(&s->pending, token);
		i = i == DNS_PENDING_NONE ? i : s->pending.list[i].next;
	}
	for (; i != DNS_PENDING_NONE; i = s->pending.list[i].next) {
		const struct dns_pending *e = &s->pending.list[i];

		if (e->state == DNS_PENDING_HELD && uuid_eq(&e->resource, resource))
			return dns_pendings_token(&s->pending, i);
	}
	return 0;
}

/* ---- answers ---- */
/* The upstream's message under the application's id and spelling, cut if it has to be. */
static void relay(struct dns_stub *s, const struct dns_pending *e, const struct dns_msg *m,
		  struct dns_action *out)
{
	s->counters.truncated += dns_msg_relay(
		m, &e->query, e->asker.tcp ? DNS_MSG_CAP : DNS_UDP_CAP, s->buf, &out->len);
	out->kind = DNS_ACT_ANSWER;
	out->msg = s->buf;
	s->counters.answered++;
}

/* Would the query go the same way today? Else its answer is not to be repeated. */
static bool is_current(const struct dns_stub *s, const struct dns_pending *e)
{
	const struct dns_upstream *up = dns_sentinels_find(&s->sentinels, &e->asker.sentinel);

	return up && up->via_tunnel == e->via_tunnel;
}

static void count_disbelief(struct dns_stub_counters *c, enum dns_belief b, enum dns_verdict why)
{
	switch (b) {
	case DNS_NOT_PENDING:
		c->late++;
		break;
	case DNS_BAD_SOURCE:
		c->bad_source++;
		break;
	case DNS_BAD_MESSAGE:
		c->bad_answer[why]++;
		break;
	case DNS_BAD_ID:
		c->bad_id++;
		break;
	case DNS_BAD_QUESTION:
		c->bad_question++;
		break;
	case DNS_BELIEVED:
		break;
	}
}

void dns_stub_answer(struct dns_stub *s, uint64_t token, const struct endpoint *src,
		     const uint8_t *msg, size_t len, struct dns_action *out, uint64_t now)
{
	enum dns_verdict why;
	struct dns_msg m;
	enum dns_belief b = len > DNS_MSG_CAP ? DNS_BAD_MESSAGE
					      : dns_pendings_judge(&s->pending, token, src, msg,
								   len, &m, &why);
	struct dns_pending *e;
	uint32_t slot;

	dns_action_init(out);
	if (b != DNS_BELIEVED) {
		count_disbelief(&s->counters, b, len > DNS_MSG_CAP ? DNS_TRAILING : why);
		return;
	}
	slot = dns_pendings_by_token(&s->pending, token);
	e = &s->pending.list[slot];
	if (e->orphan) {
		s->counters.orphaned++;
		end(s, slot, out);
		return;
	}
	if (dns_rebind_found(&m)) {
		s->counters.rebinding++;
		end_servfail(s, slot, out);
		return;
	}
	if (!e->in_site && is_current(s, e))
		dns_cache_put(&s->cache, &e->upstream, &e->query, &m, now);
	relay(s, e, &m, out);
	end(s, slot, out);
}

/* ---- other ends ---- */
void dns_stub_failed(struct dns_stub *s, uint64_t token, struct dns_action *out)
{
	uint32_t slot = dns_pendings_by_token(&s->pending, token);

	dns_action_init(out);
	if (slot == DNS_PENDING_NONE)
		return;
	s->counters.failed++;
	end_servfail(s, slot, out);
}

bool dns_stub_conn_gone(struct dns_stub *s, uint64_t conn, struct dns_action *out)
{
	uint32_t slot = dns_pendings_of_conn(&s->pending, conn);

	dns_action_init(out);
	if (slot == DNS_PENDING_NONE)
		return false;
	s->counters.orphaned++;
	end(s, slot, out);
	return true;
}

void dns_stub_reset(struct dns_stub *s, uint64_t now)
{
	for (uint32_t i = s->pending.oldest; i != DNS_PENDING_NONE; i = s->pending.list[i].next)
		if (s->pending.list[i].until_ns > now)
			s->pending.list[i].until_ns = now;
}

struct deadline dns_stub_deadline(const struct dns_stub *s)
{
	return (struct deadline){.at = dns_pendings_deadline(&s->pending),
				 .why = "DNS query without an answer"};
}

bool dns_stub_timeout(struct dns_stub *s, struct dns_action *out, uint64_t now)
{
	uint32_t slot = s->pending.oldest;

	dns_action_init(out);
	if (!time_reached(dns_pendings_deadline(&s->pending), now))
		return false;
	if (s->pending.list[slot].orphan) {
		s->counters.orphaned++;
		end(s, slot, out);
		return true;
	}
	s->counters.timeouts++;
	end_servfail(s, slot, out);
	return true;
}
