/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz target: two WireGuard connections whose schedule and network are the input. A byte chooses a
 * step: deliver, drop, damage or forge a message (also one with a fitting mac1, so that what is
 * behind it is reached), let time pass, report data, ask for handshakes. Checked throughout:
 * indices come back exactly once, a refused message changes nothing, both ends of a session have
 * the same keys. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "core/wg/wg_peer.h"
#include "crypto/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define N_IDX 8

#define CHECK(cond)              \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

struct side {
	struct wg_local l;
	struct wg_peer p;
	struct {
		bool out, installed;
		uint32_t idx, remote;
		struct noise_keys keys;
	} t[N_IDX];
	uint32_t next_idx;
	struct wg_tx last; /* newest message sent to the other side */
};

static struct side side[2];
static uint64_t now;
static const uint8_t *in, *in_end;

static uint8_t take(void)
{
	return in < in_end ? *in++ : 0;
}

static int idx_slot(const struct side *s, uint32_t idx)
{
	for (int i = 0; i < N_IDX; i++)
		if (s->t[i].out && s->t[i].idx == idx)
			return i;
	return -1;
}

/* The other end of a session, if it exists, has the keys crosswise. */
static void check_keys(const struct side *a, int i, const struct side *b)
{
	int j = idx_slot(b, a->t[i].remote);

	if (j < 0 || !b->t[j].installed || b->t[j].remote != a->t[i].idx)
		return;
	CHECK(memcmp(a->t[i].keys.send, b->t[j].keys.recv, 32) == 0);
	CHECK(memcmp(a->t[i].keys.recv, b->t[j].keys.send, 32) == 0);
}

static void drain(int me)
{
	struct side *s = &side[me];
	struct wg_event e;
	bool more = true;

	for (int guard = 0; more; guard++) {
		CHECK(guard < 50);
		more = false;
		while (wg_peer_poll_event(&s->p, &e)) {
			int i = idx_slot(s, e.local_idx);

			more = true;
			if (e.type == WG_EV_EXPIRED)
				continue;
			CHECK(i >= 0);
			if (e.type == WG_EV_SESSION) {
				CHECK(!s->t[i].installed);
				s->t[i].installed = true;
				s->t[i].remote = e.remote_idx;
				s->t[i].keys = e.keys;
				check_keys(s, i, &side[!me]);
			} else if (e.type == WG_EV_SESSION_DEAD || e.type == WG_EV_INDEX_RELEASED) {
				CHECK(s->t[i].installed == (e.type == WG_EV_SESSION_DEAD));
				s->t[i].out = s->t[i].installed = false;
			}
		}
		for (int i = 0; i < N_IDX && wg_peer_wants_index(&s->p); i++) {
			if (s->t[i].out)
				continue;
			s->t[i].out = true;
			s->t[i].idx = s->next_idx++;
			CHECK(wg_peer_give_index(&s->p, s->t[i].idx) == 0);
		}
		CHECK(!wg_peer_wants_index(&s->p)); /* never more than five out */
		if (wg_peer_poll_tx(&s->p, &s->l, &s->last, now))
			more = true;
	}
}

static void deliver(int to, const uint8_t *msg, size_t len)
{
	static struct wg_peer before;
	struct side *s = &side[to];
	const struct ipaddr src = ipaddr_v4(192, 0, 2, take() & 3);
	struct noise_opened o;
	struct wg_tx reply;
	enum wg_rx rx = wg_local_admit(&s->l, msg, len, &src, &reply, now);

	if (rx == WG_RX_COOKIE)
		side[to].last = reply;
	if (rx != WG_RX_OK)
		return;
	before = s->p;
	switch (wg_msg_classify(msg, (uint32_t)len)) {
	case WG_MSG_INITIATION:
		rx = wg_initiation_open(&s->l, msg, len, &o);
		if (rx == WG_RX_OK)
			rx = wg_peer_rx_initiation(&s->p, &o, now);
		break;
	case WG_MSG_RESPONSE:
		rx = wg_peer_rx_response(&s->p, &s->l, msg, len, now);
		break;
	case WG_MSG_COOKIE:
		rx = wg_peer_rx_cookie(&s->p, msg, len, now);
		break;
	case WG_MSG_NONE:
	case WG_MSG_DATA:
		abort();
	}
	CHECK(rx == WG_RX_OK || memcmp(&before, &s->p, sizeof(before)) == 0);
	drain(to);
}

/* A message out of the input, with a type, a length and perhaps a mac1 that fit. */
static void forge(int to)
{
	static const uint8_t lens[] = {WG_INITIATION_LEN, WG_RESPONSE_LEN, WG_COOKIE_MSG_LEN};
	const uint8_t how = take();
	uint8_t msg[WG_HANDSHAKE_MAX] = {(uint8_t)(1 + how % 3)};
	size_t len = lens[how % 3];
	struct cookie_jar jar;

	for (size_t i = 4; i < len; i++)
		msg[i] = take();
	if (how & 0x10)
		len -= how >> 5;
	if (how & 0x08 && len > 32) {
		cookie_jar_init(&jar, side[to].l.key.pub);
		cookie_stamp(&jar, msg, len, 1, now);
	}
	deliver(to, msg, len);
}

static void damage(int to)
{
	struct wg_tx m = side[!to].last;
	const uint8_t at = take(), bits = take();
	struct cookie_jar jar;

	if (!m.len)
		return;
	m.buf[at % m.len] ^= bits;
	if (bits & 1 && m.len > WG_COOKIE_MSG_LEN) {
		cookie_jar_init(&jar, side[to].l.key.pub);
		cookie_stamp(&jar, m.buf, m.len, 1, now);
	}
	deliver(to, m.buf, m.len);
}

static void report(int me)
{
	struct side *s = &side[me];
	const uint8_t what = take(), i = take() % N_IDX;
	const uint64_t at = now - (what >> 4) * 100 * NS_PER_MS;

	if (!s->t[i].installed)
		return;
	switch (what & 3) {
	case 0:
		wg_peer_on_data_sent(&s->p, s->t[i].idx, what & 4, at, now);
		break;
	case 1:
	case 2:
		wg_peer_on_data_received(&s->p, s->t[i].idx, what & 4, at, now);
		break;
	case 3:
		wg_peer_on_counter(&s->p, s->t[i].idx, (uint64_t)what << (what & 8 ? 56 : 20), now);
		break;
	}
	drain(me);
}

static void pass_time(uint64_t span)
{
	const uint64_t until = now + span;

	for (int guard = 0; now < until; guard++) {
		uint64_t at = until;

		CHECK(guard < 1000);
		for (int i = 0; i < 2; i++) {
			const struct deadline d = wg_peer_deadline(&side[i].p);

			at = d.at < at ? d.at : at;
		}
		CHECK(at >= now);
		now = at;
		for (int i = 0; i < 2; i++) {
			wg_peer_timeout(&side[i].p, now);
			drain(i);
			CHECK(wg_peer_deadline(&side[i].p).at > now);
		}
	}
}

static void init(uint8_t flags)
{
	struct wg_peer_cfg cfg = {.times = wg_times_default(), .psk = {1}};
	uint8_t priv[2][32] = {{1, 2, 3}, {4, 5, 6}};
	struct noise_static other;

	now = 1000 * NS_PER_SEC;
	for (int i = 0; i < 2; i++) {
		struct side *s = &side[i];

		memset(s, 0, sizeof(*s));
		s->next_idx = 0x1000U << i;
		wg_local_init(&s->l, priv[i], priv[!i], (struct wall){.sec = 1700000000}, now);
		noise_static_init(&other, priv[!i]);
		memcpy(cfg.remote_pub, other.pub, 32);
		cfg.may_initiate = i == 0 || flags & 1;
		cfg.rekey_idle = flags & 2;
		CHECK(wg_peer_init(&s->p, &s->l, &cfg, priv[i], now) == 0);
		drain(i);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (crypto_init() != 0)
		return 0;
	in = data;
	in_end = data + size;
	init(take());
	for (int steps = 0; in < in_end && steps < 400; steps++) {
		const uint8_t op = take();
		const int me = op & 1;

		switch (op >> 1 & 7) {
		case 0:
			if (side[!me].last.len)
				deliver(me, side[!me].last.buf, side[!me].last.len);
			break;
		case 1:
			forge(me);
			break;
		case 2:
			damage(me);
			break;
		case 3:
			pass_time(take() * 100 * NS_PER_MS);
			break;
		case 4:
			pass_time(take() * NS_PER_SEC);
			break;
		case 5:
			wg_peer_initiate(&side[me].p, now);
			drain(me);
			break;
		case 6:
			wg_peer_wants_send(&side[me].p, now);
			drain(me);
			break;
		case 7:
			report(me);
			break;
		}
	}
	for (int i = 0; i < 2; i++) {
		wg_peer_reset(&side[i].p, now);
		drain(i);
		for (int j = 0; j < N_IDX; j++)
			CHECK(!side[i].t[j].installed);
		wg_peer_fini(&side[i].p);
		wg_local_fini(&side[i].l);
	}
	return 0;
}
