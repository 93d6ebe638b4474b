/* SPDX-License-Identifier: Apache-2.0
 *
 * The timer schedule of a connection, in virtual time with the real periods. */
#include "tests/wg_pair.h"

#define S  NS_PER_SEC
#define MS NS_PER_MS

static void connect(struct wgp *w)
{
	wgp_init(w, 1);
	wgp_initiate(w, 0);
	wgp_run(w, S);
	T(w->s[0].has_cur && w->s[1].has_cur);
}

/* Data every second both ways: one renewal per 120 s, made by the initiator, without a gap. */
static void test_rekey_after_120_s_on_send(void)
{
	static struct wgp w;

	connect(&w);
	w.s[0].every_ns = S;
	w.s[1].every_ns = S;
	wgp_run(&w, 117 * S);
	T_EQ(w.s[0].n_initiations, 1);
	wgp_run(&w, 4 * S);
	T_EQ(w.s[0].n_initiations, 2);
	wgp_run(&w, 10 * 121 * S); /* each begins with the first packet after 120 s */
	T_EQ(w.s[0].n_initiations, 12);
	T_EQ(w.s[1].n_initiations, 0);
	T_EQ(w.s[0].n_held + w.s[1].n_held, 0);
	T_EQ(w.s[0].n_data_bad + w.s[1].n_data_bad, 0);
	T_EQ(w.s[0].n_ev[WG_EV_SESSION_IDLE], 0);
}

/* Only the responder sends; the initiator's keepalives are packets too, so the first one after 120
 * s renews. */
static void test_rekey_when_only_receiving(void)
{
	static struct wgp w;

	connect(&w);
	w.s[1].every_ns = S;
	wgp_run(&w, 118 * S);
	T_EQ(w.s[0].n_initiations, 1);
	wgp_run(&w, 14 * S);
	T_EQ(w.s[0].n_initiations, 2);
	T_EQ(w.s[1].n_initiations, 0);
}

/* At 165 s even a packet that is only received renews. */
static void test_rekey_on_receive_at_165_s(void)
{
	static struct wgp w;
	const uint32_t *idx = &w.s[0].cur;
	uint64_t birth;

	connect(&w);
	birth = w.s[0].p.slot[WG_SLOT_CURRENT].birth_ns;
	wg_peer_on_data_received(&w.s[0].p, *idx, true, birth + 165 * S - 1, birth + 165 * S - 1);
	T_EQ(w.s[0].p.attempt.state, WG_HS_NONE);
	wg_peer_on_data_received(&w.s[0].p, *idx, true, birth + 165 * S, birth + 165 * S);
	T_EQ(w.s[0].p.attempt.state, WG_HS_WANTED);
	/* the responder does not */
	wg_peer_on_data_received(&w.s[1].p, w.s[1].cur, true, birth + 170 * S, birth + 170 * S);
	wg_peer_on_data_sent(&w.s[1].p, w.s[1].cur, true, birth + 170 * S, birth + 170 * S);
	T_EQ(w.s[1].p.attempt.state, WG_HS_NONE);
}

/* Nobody sends: with rekey_idle one handshake per 170 s and never a moment without session. */
static void test_idle_renews(void)
{
	static struct wgp w;

	connect(&w);
	wgp_run(&w, 168 * S);
	T_EQ(w.s[0].n_initiations, 1);
	wgp_run(&w, 2 * S);
	T_EQ(w.s[0].n_initiations, 2);
	T_EQ(w.s[0].n_ev[WG_EV_SESSION_IDLE], 1);
	T(w.s[0].has_cur && w.s[1].has_cur);
	T_EQ(w.s[0].n_ev[WG_EV_HANDSHAKE_DONE], 2);
	wgp_run(&w, 3600 * S);
	T(w.s[0].n_initiations >= 22 && w.s[0].n_initiations <= 24);
	T_EQ(w.s[1].n_initiations, 0);
	T_EQ(w.s[0].n_ev[WG_EV_EXPIRED] + w.s[1].n_ev[WG_EV_EXPIRED], 0);
	T(wgp_works(&w));
}

/* Without rekey_idle the session ends, and the connection after 540 s. */
static void test_idle_ends(void)
{
	static struct wgp w;

	connect(&w);
	w.s[0].p.cfg.rekey_idle = false;
	wgp_run(&w, 168 * S);
	T(w.s[0].has_cur);
	wgp_run(&w, 2 * S);
	T(!w.s[0].has_cur); /* the initiator stops at 170 s */
	T(w.s[1].has_cur);  /* the responder may go on */
	T_EQ(w.s[0].n_ev[WG_EV_SESSION_DEAD], 0);
	wgp_run(&w, 10 * S);
	T(!w.s[1].has_cur);
	T_EQ(w.s[0].n_ev[WG_EV_SESSION_DEAD], 1);
	T_EQ(w.s[1].n_ev[WG_EV_SESSION_DEAD], 1);
	wgp_run(&w, 358 * S);
	T_EQ(w.s[0].n_ev[WG_EV_EXPIRED], 0);
	wgp_run(&w, 2 * S);
	T_EQ(w.s[0].n_ev[WG_EV_EXPIRED], 1);
	T_EQ(w.s[1].n_ev[WG_EV_EXPIRED], 1);
	wgp_run(&w, 3600 * S);
	T_EQ(w.s[0].n_ev[WG_EV_EXPIRED], 1); /* once */
	/* and it can come back */
	T(wg_peer_wants_send(&w.s[0].p, w.now));
	wgp_drain(&w, 0);
	wgp_run(&w, S);
	T(wgp_works(&w));
}

static void test_retry_schedule(void)
{
	static struct wgp w;
	uint64_t last, n = 1;

	wgp_init(&w, 3);
	w.cut[1] = true;
	wgp_initiate(&w, 0);
	last = w.now;
	while (w.now < WGP_T0 + 25 * S) {
		wgp_run(&w, MS);
		if (w.s[0].n_initiations > n) {
			n++;
			T(w.now - last >= 5 * S && w.now - last <= 5 * S + 334 * MS);
			last = w.now;
		}
	}
	T_EQ(n, 4); /* 0, 5, 10, 15 s and jitter */
	T_EQ(w.s[0].n_ev[WG_EV_EXPIRED], 1);
	T_EQ(w.s[0].last_ev_at[WG_EV_EXPIRED], WGP_T0 + 20 * S);
	T_EQ(w.s[0].n_ev[WG_EV_INDEX_RELEASED], 1);
	T_EQ(wg_peer_deadline(&w.s[0].p).at, TIME_NEVER);
}

/* Data comes and nothing goes back: an empty packet after 10 s, once. */
static void test_passive_keepalive(void)
{
	static struct wgp w;

	connect(&w);
	wgp_run(&w, 20 * S);
	T_EQ(w.s[1].n_ev[WG_EV_KEEPALIVE], 0); /* keepalives are not answered */
	wgp_send_data(&w, 0, false);
	wgp_run(&w, 9 * S);
	wgp_send_data(&w, 0, false);
	T_EQ(w.s[1].n_ev[WG_EV_KEEPALIVE], 0);
	wgp_run(&w, 2 * S);
	T_EQ(w.s[1].n_ev[WG_EV_KEEPALIVE], 1); /* 10 s after the first */
	wgp_run(&w, 60 * S);
	T_EQ(w.s[1].n_ev[WG_EV_KEEPALIVE], 1);
	T_EQ(w.s[0].n_initiations, 1); /* it was heard: no silence */
	/* an answer in time makes it unnecessary */
	wgp_send_data(&w, 0, false);
	wgp_run(&w, 5 * S);
	wgp_send_data(&w, 1, false);
	wgp_run(&w, 30 * S);
	T_EQ(w.s[1].n_ev[WG_EV_KEEPALIVE], 1);
}

/* Data goes out and nothing comes back for 15 s: handshake, by whichever side it is. */
static void test_silence(int side)
{
	static struct wgp w;

	connect(&w);
	w.cut[0] = w.cut[1] = true;
	wgp_send_data(&w, side, false);
	wgp_drain(&w, side);
	w.s[0].n_initiations = 0;
	wgp_run(&w, 15 * S - MS);
	T_EQ(w.s[side].n_initiations, 0);
	wgp_run(&w, 334 * MS + MS);
	T_EQ(w.s[side].n_initiations, 1);
	w.cut[0] = w.cut[1] = false;
	wgp_run(&w, 6 * S);
	T(wgp_works(&w));
	T_EQ(w.s[side].n_initiations, 2);
	T_EQ(w.s[!side].n_initiations, 0);
}

static void test_silence_initiator(void)
{
	test_silence(0);
}

static void test_silence_responder(void)
{
	test_silence(1);
}

/* The other side is gone for good: expired within silence + attempt, although a session was
 * current. */
static void test_peer_gone(void)
{
	static struct wgp w;

	connect(&w);
	w.cut[1] = true;
	w.s[0].every_ns = S;
	wgp_run(&w, 37 * S);
	T_EQ(w.s[0].n_ev[WG_EV_EXPIRED], 1);
	T_EQ(w.s[0].n_ev[WG_EV_SESSION_DEAD], 1);
	T(!w.s[0].has_cur);
}

/* The other side restarted with the same keys: found out by silence, repaired by the handshake. */
static void test_peer_restarted(void)
{
	static struct wgp w;
	struct wg_peer_cfg cfg = {.times = wg_times_default()};

	connect(&w);
	wgp_side_init(&w, 1, &cfg, 1);
	w.s[1].next_idx = 0xcc000000U;
	w.s[0].every_ns = S;
	wgp_run(&w, 17 * S);
	T(w.s[1].n_data_bad > 10);
	T(wgp_works(&w));
	T_EQ(w.s[0].n_initiations, 2);
}

/* Handshakes are lost but data still flows: the connection is kept and goes on trying. */
static void test_heard_while_trying(void)
{
	static struct wgp w;

	connect(&w);
	w.cut[1] = true;
	wgp_initiate(&w, 0);
	for (int i = 0; i < 60; i++) {
		wgp_run(&w, S);
		wg_peer_on_data_received(&w.s[0].p, w.s[0].cur, false, w.now, w.now);
		wgp_drain(&w, 0);
	}
	T_EQ(w.s[0].n_ev[WG_EV_EXPIRED], 0);
	T(w.s[0].has_cur);
	T_EQ(w.s[0].n_ev[WG_EV_SESSION], 1);
}

/* The passive side must send and its only session hit the limit: then it may start. */
static void test_responder_residual(void)
{
	static struct wgp w;

	connect(&w);
	w.s[0].p.cfg.rekey_idle = false;
	wgp_run(&w, 185 * S);
	T(!w.s[1].has_cur);
	T_EQ(w.s[1].n_initiations, 0);
	T(wg_peer_wants_send(&w.s[1].p, w.now));
	wgp_drain(&w, 1);
	wgp_run(&w, S);
	T_EQ(w.s[1].n_initiations, 1);
	T(wgp_works(&w));
}

static void test_counters_run_out(void)
{
	static struct wgp w;

	for (int side = 0; side < 2; side++) {
		struct wg_peer *p = &w.s[side].p;

		connect(&w);
		wg_peer_on_counter(p, w.s[side].cur, WG_REKEY_AFTER_MESSAGES - 1, w.now);
		T_EQ(p->attempt.state, WG_HS_NONE);
		wg_peer_on_counter(p, w.s[side].cur, WG_REKEY_AFTER_MESSAGES, w.now);
		T_EQ(p->attempt.state, WG_HS_WANTED);
		wg_peer_on_counter(p, w.s[side].cur, WG_REJECT_AFTER_MESSAGES, w.now);
		wgp_drain(&w, side);
		T(!w.s[side].has_cur);
		wgp_run(&w, S);
		T(w.s[side].has_cur);
		T(wgp_works(&w));
	}
}

/* Reports once a second, by the newest times and in either order, tell the same story. */
static void test_coarse_reports(void)
{
	static struct wgp w;
	struct wg_peer *p = &w.s[0].p;

	for (int order = 0; order < 2; order++) {
		uint64_t t;

		connect(&w);
		t = w.now;
		w.now += S;
		/* heard at +300 ms, answered at +500 ms */
		if (order) {
			wg_peer_on_data_received(p, w.s[0].cur, false, t + 300 * MS, w.now);
			wg_peer_on_data_sent(p, w.s[0].cur, false, t + 500 * MS, w.now);
		} else {
			wg_peer_on_data_sent(p, w.s[0].cur, false, t + 500 * MS, w.now);
			wg_peer_on_data_received(p, w.s[0].cur, false, t + 300 * MS, w.now);
		}
		T_EQ(p->unanswered_recv_ns, TIME_NEVER);
		T_EQ(p->unanswered_sent_ns, t + 500 * MS);
		w.now += S;
		if (order) {
			wg_peer_on_data_received(p, w.s[0].cur, false, t + 1500 * MS, w.now);
			wg_peer_on_data_sent(p, w.s[0].cur, false, t + 1200 * MS, w.now);
		} else {
			wg_peer_on_data_sent(p, w.s[0].cur, false, t + 1200 * MS, w.now);
			wg_peer_on_data_received(p, w.s[0].cur, false, t + 1500 * MS, w.now);
		}
		T_EQ(p->unanswered_recv_ns, t + 1500 * MS);
		T_EQ(p->unanswered_sent_ns, TIME_NEVER);
	}
	/* unknown indices are nobody's */
	wg_peer_on_data_received(p, 12345, false, w.now, w.now);
	wg_peer_on_data_sent(p, 12345, false, w.now, w.now);
	wg_peer_on_counter(p, 12345, 1, w.now);
}

/* timeout is idempotent for equal times, and a very late wake-up does everything at once. */
static void test_timeout_idempotent_and_late(void)
{
	static struct wgp w;
	static struct wg_peer once;

	connect(&w);
	wg_peer_timeout(&w.s[0].p, w.now + 171 * S);
	once = w.s[0].p;
	wg_peer_timeout(&w.s[0].p, w.now + 171 * S);
	T_MEM(&once, &w.s[0].p, sizeof(once));

	connect(&w);
	wgp_run(&w, 10 * S);
	w.now += 3600 * S; /* suspended */
	wgp_step(&w);
	T(!w.s[0].has_cur && !w.s[1].has_cur);
	T_EQ(w.s[0].n_ev[WG_EV_EXPIRED], 1);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init() != 0)
		return 1;
	T_RUN(test_rekey_after_120_s_on_send);
	T_RUN(test_rekey_when_only_receiving);
	T_RUN(test_rekey_on_receive_at_165_s);
	T_RUN(test_idle_renews);
	T_RUN(test_idle_ends);
	T_RUN(test_retry_schedule);
	T_RUN(test_passive_keepalive);
	T_RUN(test_silence_initiator);
	T_RUN(test_silence_responder);
	T_RUN(test_peer_gone);
	T_RUN(test_peer_restarted);
	T_RUN(test_heard_while_trying);
	T_RUN(test_responder_residual);
	T_RUN(test_counters_run_out);
	T_RUN(test_coarse_reports);
	T_RUN(test_timeout_idempotent_and_late);
	return t_done();
}
