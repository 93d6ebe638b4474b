/* SPDX-License-Identifier: Apache-2.0
 *
 * The channel machine against a hand-driven portal, in virtual time. */
#include "tests/t.h"
#include <errno.h>
#include "core/phx/phx_chan.h"

#define MS(n) ((n) * NS_PER_MS)
#define S(n)  ((n) * NS_PER_SEC)

static struct phx p;
static uint64_t now;
static const uint8_t seed[32] = {1, 2, 3};

static void begin(uint64_t budget)
{
	struct phx_cfg cfg = {.topic = "client", .max_elapsed_ns = budget};

	now = S(1000);
	T_EQ(phx_init(&p, &cfg, seed, now), 0);
	phx_start(&p, now);
}

/* The next event must be of this kind. */
static struct phx_event expect(enum phx_event_kind kind)
{
	struct phx_event ev = {0};
	bool got = phx_poll_event(&p, &ev);

	if (!T(got) || !T_EQ(ev.kind, kind))
		t_note("event %d (%s)", got ? (int)ev.kind : -1, ev.why);
	return ev;
}

static void expect_none(void)
{
	struct phx_event ev = {0};

	if (!T(!phx_poll_event(&p, &ev)))
		t_note("event %d (%s)", (int)ev.kind, ev.why);
	phx_event_fini(&ev);
}

static void expect_tx(const char *want)
{
	char buf[PHX_SEND_MAX + 256];
	size_t len;

	if (!want) {
		T(!phx_poll_tx(&p, buf, sizeof(buf), &len, now));
		return;
	}
	T(phx_poll_tx(&p, buf, sizeof(buf), &len, now));
	T_STR(buf, want);
	T_EQ(len, strlen(want));
}

static void input(const char *text)
{
	phx_input(&p, text, strlen(text), now);
}

#define JOIN_OK                                                                                   \
	"{\"topic\":\"client\",\"event\":\"phx_reply\",\"ref\":0,\"payload\":{\"status\":\"ok\"," \
	"\"response\":{}}}"

static void join(void)
{
	phx_opened(&p, now);
	expect_tx("{\"topic\":\"client\",\"event\":\"phx_join\",\"payload\":null,\"ref\":0}");
	input(JOIN_OK);
	expect(PHX_EV_JOINED);
	T(phx_is_joined(&p));
}

static void joined(void)
{
	begin(TIME_NEVER);
	expect(PHX_EV_CONNECT);
	join();
}

static void lose(const struct phx_close *c)
{
	phx_closed(&p, c, now);
}

static const struct phx_close lost = {.kind = PHX_CLOSE_TRANSPORT, .detail = "gone"};

static void test_join_send_push(void)
{
	struct phx_event ev;

	joined();
	expect_none();
	expect_tx(NULL);
	T_EQ(phx_send(&p, "create_flow", "{\"resource_id\":\"r\"}", now), 0);
	T_EQ(phx_send(&p, "create_flow", "{\"resource_id\":\"r\"}", now), 0); /* duplicate */
	T_EQ(phx_send(&p, "create_flow", "{\"resource_id\":\"s\"}", now), 0);
	T_EQ(p.stats.send_duplicate, 1);
	expect_tx("{\"topic\":\"client\",\"event\":\"create_flow\",\"payload\":{\"resource_id\":"
		  "\"r\"},\"ref\":1}");
	T_EQ(phx_send(&p, "create_flow", "{\"resource_id\":\"r\"}", now),
	     0); /* not queued any more */
	expect_tx("{\"topic\":\"client\",\"event\":\"create_flow\",\"payload\":{\"resource_id\":"
		  "\"s\"},\"ref\":2}");
	expect_tx("{\"topic\":\"client\",\"event\":\"create_flow\",\"payload\":{\"resource_id\":"
		  "\"r\"},\"ref\":3}");
	expect_tx(NULL);
	input("{\"topic\":\"client\",\"event\":\"resource_deleted\",\"ref\":null,\"payload\":"
	      "\"abc\"}");
	ev = expect(PHX_EV_PUSH);
	T_STR(ev.event, "resource_deleted");
	T_STR(json_string_value(ev.payload), "abc");
	phx_event_fini(&ev);
	phx_fini(&p);
}

static void test_nothing_overtakes_the_join(void)
{
	begin(TIME_NEVER);
	T_EQ(phx_send(&p, "e", "{}", now), -ENOTCONN);
	expect(PHX_EV_CONNECT);
	phx_opened(&p, now);
	T_EQ(phx_send(&p, "e", "{}", now), -ENOTCONN);
	expect_tx("{\"topic\":\"client\",\"event\":\"phx_join\",\"payload\":null,\"ref\":0}");
	T_EQ(phx_send(&p, "e", "{}", now), -ENOTCONN);
	expect_tx(NULL);
	/* Pushes before the reply, foreign topics, other refs and null responses do not join. */
	input("{\"topic\":\"client\",\"event\":\"init\",\"ref\":null,\"payload\":{}}");
	input("{\"topic\":\"gateway\",\"event\":\"phx_reply\",\"ref\":0,\"payload\":{\"status\":"
	      "\"ok\",\"response\":{}}}");
	input("{\"topic\":\"client\",\"event\":\"phx_reply\",\"ref\":1,\"payload\":{\"status\":"
	      "\"ok\",\"response\":{}}}");
	input("{\"topic\":\"client\",\"event\":\"phx_reply\",\"ref\":null,\"payload\":{\"status\":"
	      "\"ok\",\"response\":{}}}");
	input("{\"topic\":\"client\",\"event\":\"phx_reply\",\"ref\":0,\"payload\":{\"status\":"
	      "\"ok\",\"response\":null}}");
	input("{\"topic\":\"client\",\"event\":\"phx_reply\",\"ref\":0,\"payload\":{\"status\":"
	      "\"ok\",\"response\":{\"a\":1}}}");
	T(!phx_is_joined(&p));
	expect_none();
	input(JOIN_OK);
	expect(PHX_EV_JOINED);
	phx_fini(&p);
}

static void test_join_timeout(void)
{
	struct phx_event ev;

	begin(TIME_NEVER);
	expect(PHX_EV_CONNECT);
	phx_opened(&p, now);
	T_EQ(phx_deadline(&p).at, now + S(5));
	now += S(5) - 1;
	phx_timeout(&p, now);
	expect_none();
	now += 1;
	phx_timeout(&p, now);
	expect(PHX_EV_CLOSE);
	ev = expect(PHX_EV_HICCUP);
	T_STR(ev.why, "join timed out");
	T_EQ(ev.retry_in_ns, 0); /* the first retry is immediate */
	T_EQ(p.state, PHX_WAITING);
	phx_timeout(&p, now);
	expect(PHX_EV_CONNECT);
	join(); /* refs start at 0 again */
	phx_fini(&p);
}

static void test_heartbeats(void)
{
	struct phx_event ev;

	joined();
	now += S(9);
	phx_send(&p, "e", "{}", now); /* other traffic does not postpone it */
	expect_tx("{\"topic\":\"client\",\"event\":\"e\",\"payload\":{},\"ref\":1}");
	T_EQ(phx_deadline(&p).at, now + S(1));
	now += S(1);
	phx_send(&p, "f", "{}", now);
	phx_timeout(&p, now);
	expect_tx(
		"{\"topic\":\"phoenix\",\"event\":\"heartbeat\",\"payload\":{},\"ref\":2}"); /* ahead
											      */
	expect_tx("{\"topic\":\"client\",\"event\":\"f\",\"payload\":{},\"ref\":3}");
	for (int i = 0; i < 10; i++) { /* answered ones go on for ever */
		char reply[128];

		snprintf(reply, sizeof(reply),
			 "{\"topic\":\"phoenix\",\"event\":\"phx_reply\",\"ref\":%d,"
			 "\"payload\":{\"status\":\"ok\",\"response\":{}}}",
			 i ? i + 3 : 2);
		input(reply);
		T_EQ(p.n_heartbeats, 0);
		now += S(10);
		phx_timeout(&p, now);
		T(phx_poll_tx(&p, reply, sizeof(reply), &(size_t){0}, now));
	}
	expect_none();
	for (int i = 0; i < 2; i++) {
		char buf[128];

		now += S(10);
		phx_timeout(&p, now);
		T(phx_poll_tx(&p, buf, sizeof(buf), &(size_t){0}, now));
	}
	T_EQ(p.n_heartbeats, 3);
	expect_none();
	now += S(10);
	phx_timeout(&p, now);
	expect(PHX_EV_CLOSE);
	ev = expect(PHX_EV_HICCUP);
	T_STR(ev.why, "heartbeats unanswered");
	T_EQ(p.stats.heartbeats_lost, 1);
	T_EQ(phx_send(&p, "e", "{}", now), -ENOTCONN);
	phx_fini(&p);
}

static void test_queue_is_dropped_on_disconnect(void)
{
	joined();
	phx_send(&p, "old", "{}", now);
	lose(&lost);
	expect(PHX_EV_HICCUP);
	phx_timeout(&p, now);
	expect(PHX_EV_CONNECT);
	join();
	expect_tx(NULL);
	phx_fini(&p);
}

static void test_queue_bounds(void)
{
	static char big[PHX_SEND_MAX + 1];
	char payload[32];
	int rc = 0, n = 0;

	joined();
	memset(big, 'x', PHX_SEND_MAX);
	T_EQ(phx_send(&p, "e", big, now), -EMSGSIZE);
	for (n = 0; n < 1000 && !rc; n++) {
		snprintf(payload, sizeof(payload), "%d", n);
		rc = phx_send(&p, "e", payload, now);
	}
	T_EQ(rc, -ENOSPC);
	T_EQ(n - 1, PHX_QUEUE_MAX);
	T_EQ(p.stats.send_full, 1);
	expect_tx("{\"topic\":\"client\",\"event\":\"e\",\"payload\":0,\"ref\":1}");
	T_EQ(phx_send(&p, "e", "1000", now), 0);
	phx_fini(&p);
	joined();
	for (n = 0, rc = 0; !rc; n++) {
		memset(big, 'a' + n, PHX_SEND_MAX - 1);
		big[PHX_SEND_MAX - 1] = '\0';
		rc = phx_send(&p, "e", big, now);
	}
	T_EQ(rc, -ENOSPC);
	T(n > 2 && p.queue_len <= PHX_QUEUE_CAP);
	phx_fini(&p);
}

static void test_http_verdicts(void)
{
	static const struct {
		int status;
		enum phx_fatal fatal;
	} table[] = {
		{401, PHX_FATAL_AUTH}, {403, PHX_FATAL_AUTH}, {400, PHX_FATAL_HTTP},
		{402, PHX_FATAL_HTTP}, {404, PHX_FATAL_HTTP}, {409, PHX_FATAL_HTTP},
		{422, PHX_FATAL_HTTP}, {451, PHX_FATAL_HTTP}, {408, PHX_FATAL_NONE},
		{425, PHX_FATAL_NONE}, {426, PHX_FATAL_NONE}, {429, PHX_FATAL_NONE},
		{301, PHX_FATAL_NONE}, {302, PHX_FATAL_NONE}, {500, PHX_FATAL_NONE},
		{502, PHX_FATAL_NONE}, {503, PHX_FATAL_NONE}, {504, PHX_FATAL_NONE},
		{200, PHX_FATAL_NONE}, {0, PHX_FATAL_NONE},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct phx_close c = {.kind = PHX_CLOSE_HTTP, .http_status = table[i].status};
		struct phx_event ev;

		T_EQ(phx_http_verdict(table[i].status), table[i].fatal);
		begin(TIME_NEVER);
		expect(PHX_EV_CONNECT);
		lose(&c);
		ev = expect(table[i].fatal ? PHX_EV_FATAL : PHX_EV_HICCUP);
		T_EQ(ev.fatal, table[i].fatal);
		T_EQ(ev.http_status, table[i].status);
		expect_none();
		phx_fini(&p);
	}
}

static void test_other_fatal_ends(void)
{
	static const struct {
		const char *reason;
		enum phx_fatal fatal;
	} joins[] = {{"token_expired", PHX_FATAL_TOKEN_EXPIRED},
		     {"invalid_version", PHX_FATAL_JOIN},
		     {"disabled", PHX_FATAL_JOIN},
		     {"unmatched topic", PHX_FATAL_JOIN},
		     {"whatever", PHX_FATAL_JOIN},
		     {"join crashed", PHX_FATAL_NONE}};
	struct phx_event ev;
	char text[256];

	begin(TIME_NEVER);
	expect(PHX_EV_CONNECT);
	lose(&(struct phx_close){.kind = PHX_CLOSE_CERT, .detail = "expired"});
	ev = expect(PHX_EV_FATAL);
	T_EQ(ev.fatal, PHX_FATAL_CERT);
	T_STR(ev.why, "certificate not accepted: expired");
	T_EQ(phx_deadline(&p).at, TIME_NEVER);
	phx_reconnect(&p, now); /* the shell may insist */
	expect(PHX_EV_CONNECT);
	phx_fini(&p);
	for (size_t i = 0; i < sizeof(joins) / sizeof(joins[0]); i++) {
		begin(TIME_NEVER);
		expect(PHX_EV_CONNECT);
		phx_opened(&p, now);
		T(phx_poll_tx(&p, text, sizeof(text), &(size_t){0}, now));
		snprintf(text, sizeof(text),
			 "{\"topic\":\"client\",\"event\":\"phx_reply\",\"ref\":0,\"payload\":"
			 "{\"status\":\"error\",\"response\":{\"reason\":\"%s\"}}}",
			 joins[i].reason);
		input(text);
		expect(PHX_EV_CLOSE);
		ev = expect(joins[i].fatal ? PHX_EV_FATAL : PHX_EV_HICCUP);
		T_EQ(ev.fatal, joins[i].fatal);
		phx_fini(&p);
	}
	joined();
	input("{\"topic\":\"client\",\"event\":\"disconnect\",\"ref\":null,\"payload\":{\"reason\":"
	      "\"other\"}}");
	T(phx_is_joined(&p));
	input("{\"topic\":\"client\",\"event\":\"disconnect\",\"ref\":null,\"payload\":{\"reason\":"
	      "\"token_expired\"}}");
	expect(PHX_EV_CLOSE);
	ev = expect(PHX_EV_FATAL);
	T_EQ(ev.fatal, PHX_FATAL_TOKEN_EXPIRED);
	lose(&lost); /* the close that follows says nothing new */
	expect_none();
	phx_fini(&p);
}

static void test_what_breaks_a_connection(void)
{
	static const char *const breaks[] = {
		"", "{\"topic\":\"cl",
		"{\"topic\":\"client\",\"event\":\"phx_close\",\"ref\":null,\"payload\":{}}",
		"{\"topic\":\"client\",\"event\":\"phx_error\",\"ref\":null,\"payload\":{}}"};
	static const char *const keeps[] = {
		"x",
		"[]",
		"{\"topic\":\"client\",\"event\":\"phx_close\",\"ref\":null,\"payload\":{\"a\":1}}",
		"{\"topic\":\"other\",\"event\":\"phx_close\",\"ref\":null,\"payload\":{}}",
		"{\"topic\":\"phoenix\",\"event\":\"phx_reply\",\"ref\":99,\"payload\":{}}",
		"{\"topic\":\"client\",\"event\":\"phx_reply\",\"ref\":1,\"payload\":{\"status\":"
		"\"error\","
		"\"response\":{\"reason\":\"unknown_message\"}}}",
		"{\"topic\":\"client\",\"event\":\"phx_reply\",\"ref\":1,\"payload\":null}"};

	for (size_t i = 0; i < sizeof(breaks) / sizeof(breaks[0]); i++) {
		joined();
		input(breaks[i]);
		expect(PHX_EV_CLOSE);
		expect(PHX_EV_HICCUP);
		phx_fini(&p);
	}
	joined();
	for (size_t i = 0; i < sizeof(keeps) / sizeof(keeps[0]); i++)
		input(keeps[i]);
	expect_none();
	T(phx_is_joined(&p));
	T_EQ(p.stats.frames_bad, 2);
	T_EQ(p.stats.reply_errors, 1);
	phx_fini(&p);
}

static void test_unmatched_topic_rejoins(void)
{
	joined();
	phx_send(&p, "a", "{}", now);
	expect_tx("{\"topic\":\"client\",\"event\":\"a\",\"payload\":{},\"ref\":1}");
	input("{\"topic\":\"client\",\"event\":\"phx_reply\",\"ref\":1,\"payload\":{\"status\":"
	      "\"error\","
	      "\"response\":{\"reason\":\"unmatched topic\"}}}");
	T(!phx_is_joined(&p));
	expect_tx("{\"topic\":\"client\",\"event\":\"phx_join\",\"payload\":null,\"ref\":2}");
	input("{\"topic\":\"client\",\"event\":\"phx_reply\",\"ref\":2,\"payload\":{\"status\":"
	      "\"ok\",\"response\":{}}}");
	expect(PHX_EV_JOINED);
	phx_fini(&p);
}

static void test_reconnect_now(void)
{
	joined();
	phx_reconnect(&p, now);
	expect(PHX_EV_CLOSE);
	expect(PHX_EV_CONNECT);
	expect_none();
	lose(&lost);
	expect(PHX_EV_HICCUP);
	phx_reconnect(&p, now); /* waiting: no socket to close */
	expect(PHX_EV_CONNECT);
	expect_none();
	phx_fini(&p);
}

static void test_pushes_cannot_crowd_out_control(void)
{
	struct phx_event ev;
	int pushes = 0;

	joined();
	for (int i = 0; i < 100; i++)
		input("{\"topic\":\"client\",\"event\":\"x\",\"ref\":null,\"payload\":{}}");
	T(p.stats.events_lost > 0);
	lose(&lost);
	while (phx_poll_event(&p, &ev) && ev.kind == PHX_EV_PUSH) {
		pushes++;
		phx_event_fini(&ev);
	}
	T_EQ(ev.kind, PHX_EV_HICCUP);
	T_EQ((uint64_t)pushes + p.stats.events_lost, 100);
	phx_reconnect(&p, now);
	expect(PHX_EV_CONNECT);
	for (int i = 0; i < 3; i++) {
		join();
		input("{\"topic\":\"client\",\"event\":\"x\",\"ref\":null,\"payload\":{}}");
		phx_reconnect(&p, now);
		ev = expect(PHX_EV_PUSH);
		phx_event_fini(&ev);
		expect(PHX_EV_CLOSE);
		expect(PHX_EV_CONNECT);
	}
	phx_fini(&p);
}

static void test_init_rejects(void)
{
	static char big[300];

	memset(big, 'x', sizeof(big) - 1);
	T_EQ(phx_init(&p, &(struct phx_cfg){.topic = ""}, seed, 0), -EINVAL);
	T_EQ(phx_init(&p, &(struct phx_cfg){.topic = big}, seed, 0), -EINVAL);
	T_EQ(phx_init(&p, &(struct phx_cfg){.topic = "t", .join_payload = big}, seed, 0), -EINVAL);
}

/* Every prefix and many mutations of valid frames, in every state. */
static void test_hostile_text(void)
{
	static const char *const frames[] = {
		JOIN_OK,
		"{\"topic\":\"client\",\"event\":\"disconnect\",\"ref\":null,\"payload\":{"
		"\"reason\":\"token_expired\"}}",
		"{\"topic\":\"phoenix\",\"event\":\"phx_reply\",\"ref\":1,\"payload\":{\"status\":"
		"\"ok\",\"response\":{}}}"};
	uint64_t rng = t_seed();
	char copy[256];
	struct phx_event ev;

	begin(TIME_NEVER);
	for (int i = 0; i < 20000; i++) {
		const char *text = frames[t_rand(&rng) % 3];
		size_t len = strlen(text), n = t_rand(&rng) % (len + 1);

		memcpy(copy, text, len);
		if (t_rand(&rng) & 1)
			copy[t_rand(&rng) % len] = (char)t_rand(&rng);
		phx_input(&p, copy, t_rand(&rng) & 1 ? len : n, now);
		while (phx_poll_event(&p, &ev)) {
			phx_event_fini(&ev);
			if (ev.kind == PHX_EV_CONNECT)
				phx_opened(&p, now);
		}
		(void)phx_poll_tx(&p, copy, sizeof(copy), &(size_t){0}, now);
		if (p.state == PHX_DEAD)
			phx_reconnect(&p, now);
		now = p.state == PHX_WAITING ? p.retry_at : now + MS(100);
		phx_timeout(&p, now);
	}
	T(p.stats.joins > 10);
	phx_fini(&p);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_join_send_push);
	T_RUN(test_nothing_overtakes_the_join);
	T_RUN(test_join_timeout);
	T_RUN(test_heartbeats);
	T_RUN(test_queue_is_dropped_on_disconnect);
	T_RUN(test_queue_bounds);
	T_RUN(test_http_verdicts);
	T_RUN(test_other_fatal_ends);
	T_RUN(test_what_breaks_a_connection);
	T_RUN(test_unmatched_topic_rejoins);
	T_RUN(test_reconnect_now);
	T_RUN(test_pushes_cannot_crowd_out_control);
	T_RUN(test_init_rejects);
	T_RUN(test_hostile_text);
	return t_done();
}
