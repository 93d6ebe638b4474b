/* SPDX-License-Identifier: Apache-2.0
 *
 * Contracts in dns_site.h. */
#include "core/tunnel/dns_site.h"

#include "core/tunnel/dns_rebind.h"

#define NONE DNS_PENDING_NONE

void dns_site_init(struct dns_site *s, const struct dns_site_mem *mem, const uint8_t seed[32])
{
	rng_init(&s->rng, seed);
	dns_pendings_init(&s->pending, mem->pending, mem->pending_cap);
	s->pending.life_ns = DNS_SITE_TRY_NS;
	s->tries = mem->tries;
	s->server_count = s->first = 0;
	s->counters = (struct dns_site_counters){0};
}

void dns_site_set_servers(struct dns_site *s, const struct endpoint *list, uint32_t count)
{
	s->server_count = count < DNS_SITE_SERVERS ? count : DNS_SITE_SERVERS;
	for (uint32_t i = 0; i < s->server_count; i++)
		s->servers[i] = list[i];
	s->first = 0;
}

/* ---- what is said ---- */
static void action_init(struct dns_site_action *out)
{
	*out = (struct dns_site_action){.kind = DNS_SITE_NONE};
}

static void say_code(struct dns_site *s, const struct dns_asker *who, const struct dns_query *q,
		     enum dns_rcode code, struct dns_site_action *out)
{
	const struct dns_reply a = {.rcode = code};

	/* The buffer holds any header and question: encoding cannot fail. */
	(void)dns_reply_encode(q, &a, s->buf, sizeof(s->buf), &out->len);
	out->kind = DNS_SITE_ANSWER;
	out->msg = s->buf;
	out->asker = *who;
}

/* The entry ends; the action names its socket. */
static void end(struct dns_site *s, uint32_t slot, struct dns_site_action *out)
{
	out->ended = true;
	out->token = dns_pendings_token(&s->pending, slot);
	dns_pendings_remove(&s->pending, slot);
}

static void end_code(struct dns_site *s, uint32_t slot, enum dns_rcode code,
		     struct dns_site_action *out)
{
	const struct dns_pending *e = &s->pending.list[slot];

	say_code(s, &e->asker, &e->query, code, out);
	end(s, slot, out);
}

/* ---- who may ask ---- */
static uint32_t may_ask(const struct tgw *g, const struct ipaddr *src, const struct dns_query *q,
			uint64_t now_unix)
{
	char text[DNS_TEXT_CAP];

	return dns_name_text(&q->q.name, text) ? TUNNEL_NO_SLOT
					       : tgw_may_ask(g, src, text, now_unix);
}

static bool is_client(const struct tgw *g, uint32_t slot, const struct uuid *id)
{
	const struct tgw_client *c = tgw_client_at(g, slot);

	return c && uuid_eq(&c->id, id);
}

/* True: what it asked for is not the client's any more, and the query is over. */
static bool withdrawn(struct dns_site *s, const struct tgw *g, uint32_t slot, uint64_t now_unix,
		      struct dns_site_action *out)
{
	const struct dns_pending *e = &s->pending.list[slot];
	const struct uuid *client = &s->tries[slot].client;
	const struct ipaddr *src = &e->asker.src.ip;

	if (is_client(g, may_ask(g, src, &e->query, now_unix), client))
		return false;
	s->counters.withdrawn++;
	if (is_client(g, tgw_find_address(g, src), client))
		say_code(s, &e->asker, &e->query, DNS_REFUSED, out);
	end(s, slot, out);
	return true;
}

/* ---- asking ---- */
static void ask(struct dns_site *s, uint32_t slot, struct dns_site_action *out)
{
	const struct dns_pending *e = &s->pending.list[slot];

	(void)dns_query_encode(&e->query, e->id, s->buf, sizeof(s->buf), &out->len);
	out->kind = DNS_SITE_ASK;
	out->msg = s->buf;
	out->token = dns_pendings_token(&s->pending, slot);
	out->server = e->upstream;
	out->tcp = e->asker.tcp;
}

static void ask_server(struct dns_site *s, uint32_t slot, uint32_t server,
		       struct dns_site_action *out)
{
	s->tries[slot].server = server;
	s->tries[slot].tries++;
	s->pending.list[slot].id = (uint16_t)rng_u32(&s->rng);
	dns_pendings_sent(&s->pending, slot, &s->servers[server]);
	ask(s, slot, out);
}

/* Another try, with the next server there is. False: it had enough. */
static bool retry(struct dns_site *s, uint32_t slot, struct dns_site_action *out, uint64_t now)
{
	struct dns_site_try *t = &s->tries[slot];
	uint32_t next;

	if (t->tries >= DNS_SITE_TRIES || !s->server_count)
		return false;
	next = (t->server + 1) % s->server_count;
	s->counters.retried++;
	dns_pendings_renew(&s->pending, slot, now);
	if (endpoint_eq(&s->servers[next], &s->pending.list[slot].upstream)) {
		t->tries++;
		ask(s, slot, out);
		out->again = true; /* an answer to an earlier try is as good */
	} else {
		ask_server(s, slot, next, out);
	}
	return true;
}

/* The server of the entry is silent or away: new queries need not wait for it. */
static void turn_from(struct dns_site *s, uint32_t slot)
{
	if (s->server_count && s->first == s->tries[slot].server)
		s->first = (s->first + 1) % s->server_count;
}

/* Is there a server that was not asked for this yet? */
static bool untried(const struct dns_site *s, uint32_t slot)
{
	return s->tries[slot].tries < s->server_count;
}

/* ---- queries ---- */
static uint32_t waiting_of(const struct dns_site *s, const struct uuid *client)
{
	uint32_t n = 0;

	for (uint32_t i = s->pending.oldest; i != NONE; i = s->pending.list[i].next)
		n += uuid_eq(&s->tries[i].client, client);
	return n;
}

static void pass_on(struct dns_site *s, const struct dns_asker *who, const struct dns_query *q,
		    const struct uuid *client, struct dns_site_action *out, uint64_t now)
{
	uint32_t slot = dns_pendings_same(&s->pending, who, q);

	if (slot != NONE) {
		s->counters.duplicates++;
		if (!who->tcp) {
			ask(s, slot, out);
			out->again = true;
		}
		return;
	}
	if (waiting_of(s, client) >= DNS_SITE_CLIENT_MAX) {
		s->counters.share_full++;
		say_code(s, who, q, DNS_SERVFAIL, out);
		return;
	}
	slot = dns_pendings_add(&s->pending, who, q, 0, now);
	if (slot == NONE) {
		s->counters.overflow++;
		say_code(s, who, q, DNS_SERVFAIL, out);
		return;
	}
	s->counters.asked++;
	s->tries[slot] = (struct dns_site_try){.client = *client};
	ask_server(s, slot, s->first, out);
}

void dns_site_query(struct dns_site *s, const struct tgw *g, const struct dns_asker *who,
		    const uint8_t *msg, size_t len, uint64_t now_unix, struct dns_site_action *out,
		    uint64_t now)
{
	struct dns_query q;
	enum dns_verdict v = dns_query_parse(msg, len, &q);
	uint32_t client;

	action_init(out);
	s->counters.queries++;
	if (v != DNS_OK) {
		s->counters.malformed[v]++;
		return;
	}
	if (tgw_find_address(g, &who->src.ip) == TUNNEL_NO_SLOT) {
		s->counters.foreign++;
		say_code(s, who, &q, DNS_REFUSED, out);
		return;
	}
	if (q.opcode != DNS_OPCODE_QUERY) {
		s->counters.not_implemented++;
		say_code(s, who, &q, DNS_NOTIMP, out);
		return;
	}
	if ((q.q.type != DNS_TYPE_SRV && q.q.type != DNS_TYPE_TXT) || q.q.klass != DNS_CLASS_IN) {
		s->counters.wrong_type++;
		say_code(s, who, &q, DNS_REFUSED, out);
		return;
	}
	client = may_ask(g, &who->src.ip, &q, now_unix);
	if (client == TUNNEL_NO_SLOT) {
		s->counters.not_granted++;
		say_code(s, who, &q, DNS_REFUSED, out);
	} else if (!s->server_count) {
		s->counters.no_server++;
		say_code(s, who, &q, DNS_SERVFAIL, out);
	} else {
		pass_on(s, who, &q, &tgw_client_at(g, client)->id, out, now);
	}
}

/* ---- what comes of them ---- */
/* The server's message under the client's id and spelling, without what it is not to learn. */
static void relay(struct dns_site *s, uint32_t slot, struct dns_msg *m, struct dns_site_action *out)
{
	const struct dns_pending *e = &s->pending.list[slot];

	s->counters.stripped += dns_msg_drop_additional(m);
	if (dns_rebind_found(m)) {
		s->counters.rebinding++;
		end_code(s, slot, DNS_SERVFAIL, out);
		return;
	}
	s->counters.truncated += dns_msg_relay(
		m, &e->query, e->asker.tcp ? DNS_MSG_CAP : DNS_UDP_CAP, s->buf, &out->len);
	s->counters.answered++;
	out->kind = DNS_SITE_ANSWER;
	out->msg = s->buf;
	out->asker = e->asker;
	end(s, slot, out);
}

/* The server cannot or will not: another one may. REFUSED is ours to say, not its. */
static bool is_failure(uint8_t rcode)
{
	return rcode == DNS_SERVFAIL || rcode == DNS_NOTIMP || rcode == DNS_REFUSED;
}

void dns_site_answer(struct dns_site *s, const struct tgw *g, uint64_t token,
		     const struct endpoint *src, const uint8_t *msg, size_t len, uint64_t now_unix,
		     struct dns_site_action *out, uint64_t now)
{
	enum dns_verdict why = DNS_TRAILING;
	struct dns_msg m;
	enum dns_belief b = len > DNS_MSG_CAP ? DNS_BAD_MESSAGE
					      : dns_pendings_judge(&s->pending, token, src, msg,
								   len, &m, &why);
	uint32_t slot;

	action_init(out);
	if (b != DNS_BELIEVED) {
		s->counters.disbelieved[b]++;
		s->counters.bad_answer[why] += b == DNS_BAD_MESSAGE;
		return;
	}
	slot = dns_pendings_by_token(&s->pending, token);
	if (withdrawn(s, g, slot, now_unix, out))
		return;
	if (!is_failure(m.rcode)) {
		relay(s, slot, &m, out);
	} else if (!untried(s, slot) || !retry(s, slot, out, now)) {
		s->counters.failed++;
		end_code(s, slot, DNS_SERVFAIL, out);
	}
}

void dns_site_failed(struct dns_site *s, const struct tgw *g, uint64_t token, uint64_t now_unix,
		     struct dns_site_action *out, uint64_t now)
{
	uint32_t slot = dns_pendings_by_token(&s->pending, token);

	action_init(out);
	if (slot == NONE || withdrawn(s, g, slot, now_unix, out))
		return;
	turn_from(s, slot);
	if (!untried(s, slot) || !retry(s, slot, out, now)) {
		s->counters.failed++;
		end_code(s, slot, DNS_SERVFAIL, out);
	}
}

bool dns_site_conn_gone(struct dns_site *s, uint64_t conn, struct dns_site_action *out)
{
	uint32_t slot = dns_pendings_of_conn(&s->pending, conn);

	action_init(out);
	if (slot == NONE)
		return false;
	s->counters.orphaned++;
	end(s, slot, out);
	return true;
}

struct deadline dns_site_deadline(const struct dns_site *s)
{
	return (struct deadline){.at = dns_pendings_deadline(&s->pending),
				 .why = "name server without an answer"};
}

bool dns_site_timeout(struct dns_site *s, const struct tgw *g, uint64_t now_unix,
		      struct dns_site_action *out, uint64_t now)
{
	uint32_t slot = s->pending.oldest;

	action_init(out);
	if (!time_reached(dns_pendings_deadline(&s->pending), now))
		return false;
	if (withdrawn(s, g, slot, now_unix, out))
		return true;
	turn_from(s, slot);
	if (retry(s, slot, out, now))
		return true;
	s->counters.timeouts++;
	end_code(s, slot, DNS_SERVFAIL, out);
	return true;
}
