/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz target: a TURN client whose relay, peers and clock are the input. A step answers a request
 * that was sent (rightly, wrongly, with any code, twice, late), hands in bytes of the input, wishes
 * for channels, reports data, lets time pass or changes the network. Checked throughout: a rejected
 * datagram changes nothing, every counter of the machine is right, what is sent decodes and is
 * signed where it must be, candidates and channels are told in pairs, nobody is woken in the past.
 */
#include <stdlib.h>
#include <string.h>

#include "core/turn/turn_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define N_SENT	  8
#define STEPS_MAX 400

#define CHECK(cond)              \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

static struct turn t, before;
static struct turn_tx sent[N_SENT];
static unsigned n_sent;
static uint64_t now;
static const uint8_t *in, *in_end;
static uint8_t key[MD5_LEN];
static bool up[TURN_CHANS_MAX];
static struct endpoint relayed[2]; /* as told */
static struct endpoint local = {.ip = {.family = 4, .b = {192, 0, 2, 7}}, .port = 1};

static uint8_t take(void)
{
	return in < in_end ? *in++ : 0;
}

static struct endpoint peer_of(uint8_t n)
{
	struct endpoint e = {.port = 1000};

	e.ip.family = n & 1 ? 6 : 4;
	e.ip.b[3] = n & 15;
	return e;
}

static void see_event(const struct turn_event *ev)
{
	unsigned i = ev->number - TURN_CHAN_MIN, six = ev->cand.addr.ip.family == 6;

	switch (ev->kind) {
	case TURN_EV_CAND:
		CHECK(ev->cand.addr.ip.family && ev->cand.addr.port);
		if (ev->cand.kind != TURN_CAND_RELAY)
			return;
		CHECK(!relayed[six].ip.family);
		relayed[six] = ev->cand.addr;
		return;
	case TURN_EV_CAND_GONE:
		if (ev->cand.kind != TURN_CAND_RELAY)
			return;
		CHECK(endpoint_eq(&relayed[six], &ev->cand.addr));
		memset(&relayed[six], 0, sizeof(relayed[six]));
		return;
	case TURN_EV_CHANNEL_UP:
		CHECK(i < TURN_CHANS_MAX && ev->until > now && ev->server.ip.family);
		up[i] = true;
		return;
	case TURN_EV_CHANNEL_DOWN:
		CHECK(i < TURN_CHANS_MAX && up[i]);
		up[i] = false;
		return;
	}
	abort();
}

/* What must hold after every step. */
static void check_machine(void)
{
	unsigned reqs = 0, due = 0, used = 0, dirty = 0, ups = 0, bound = 0;

	for (unsigned i = 0; i < TURN_REQS_MAX; i++) {
		reqs += t.reqs[i].method != 0;
		due += t.reqs[i].due;
		CHECK(!t.reqs[i].due || t.reqs[i].method);
		if (t.reqs[i].method == STUN_CHANNEL_BIND) {
			CHECK(t.chans.at[t.reqs[i].chan].in_flight);
			bound++;
		}
	}
	CHECK(reqs == t.n_reqs && due == t.n_due && due == 0);
	for (unsigned i = 0; i < TURN_CHANS_MAX; i++) {
		const struct turn_chan *c = &t.chans.at[i];

		used += c->used;
		bound -= c->in_flight;
		ups += c->told;
		CHECK(c->told == up[i]);
		CHECK(c->used || (!c->confirmed && !c->in_flight));
		CHECK(!c->used || c->confirmed || c->in_flight);
		CHECK(!c->used || turn_chan_find(&t.chans, &c->peer) == i);
	}
	for (unsigned i = 0; i < TURN_CHAN_WORDS; i++)
		dirty += (unsigned)__builtin_popcountll(t.chans.dirty[i]);
	CHECK(used == t.chans.n_used && dirty == 0 && t.chans.n_dirty == 0 && bound == 0);
	CHECK(t.state == TURN_READY || (!used && !ups));
	CHECK((t.state == TURN_READY) == (t.expires_at != TIME_NEVER));
	CHECK((t.state == TURN_READY) == (relayed[0].ip.family || relayed[1].ip.family));
	CHECK(t.state != TURN_PROBING || (t.active == -1 && t.n_reqs));
	CHECK(t.state != TURN_ALLOCATING || (t.active >= 0 && t.n_reqs));
	CHECK(t.n_ring <= TURN_RING_MAX && t.ring_head < TURN_RING_MAX);
	CHECK(t.queued_at == TIME_NEVER);
}

static void drive(void)
{
	struct turn_event ev;
	struct turn_tx tx;
	struct stun_msg m;

	turn_timeout(&t, now);
	while (turn_poll_tx(&t, &tx, now)) {
		CHECK(stun_decode(&m, tx.buf, tx.len) == STUN_OK);
		CHECK(turn_is_server(&t, &tx.remote));
		CHECK(!m.mi_off || stun_integrity_ok(&m, t.key, sizeof(t.key)));
		sent[n_sent++ % N_SENT] = tx;
	}
	while (turn_poll_event(&t, &ev, now))
		see_event(&ev);
	check_machine();
	CHECK(turn_deadline(&t).at > now);
}

static void give(const struct endpoint *from, const void *p, size_t len)
{
	struct turn_data d = {0};
	enum turn_rx rx;

	memcpy(&before, &t, sizeof(t));
	rx = turn_input(&t, &local, from, p, len, &d, now);
	if (rx == TURN_RX_DATA)
		CHECK(d.off == 4 && d.off + d.len <= len && d.local.ip.family == d.peer.ip.family);
	if (rx == TURN_RX_CONTROL || rx == TURN_RX_DATA)
		return;
	before.acct = t.acct;
	CHECK(!memcmp(&before, &t, sizeof(t)));
}

static void answer(uint8_t how)
{
	static const uint16_t codes[] = {400, 401, 403, 420, 437, 438, 440, 486};
	const struct turn_tx *tx = &sent[take() % N_SENT];
	struct endpoint addr = peer_of(take());
	uint8_t what = take(), buf[512];
	struct stun_enc e;
	struct stun_msg m;
	size_t len;

	if (!n_sent || stun_decode(&m, tx->buf, tx->len) != STUN_OK)
		return;
	stun_enc_init(&e, buf, sizeof(buf), (enum stun_method)m.method,
		      what & 1 ? STUN_ERROR : STUN_SUCCESS, &m.tid);
	if (what & 1)
		stun_put_error(&e, codes[what >> 1 & 7], "");
	if (what & 16)
		stun_put_bytes(&e, STUN_A_NONCE, what & 32 ? "nonce-a" : "nonce-b", 7);
	if (what & 64)
		stun_put_bytes(&e, STUN_A_REALM, what & 128 ? "firezone" : "fire",
			       what & 128 ? 8 : 4);
	stun_put_xor_addr(&e, STUN_A_XOR_MAPPED_ADDRESS, &addr);
	stun_put_xor_addr(&e, STUN_A_XOR_RELAYED_ADDRESS, &addr);
	addr = peer_of(take());
	stun_put_xor_addr(&e, STUN_A_XOR_RELAYED_ADDRESS, &addr);
	stun_put_u32(&e, STUN_A_LIFETIME, how & 32 ? take() : 600);
	if (!(how & 8))
		stun_put_integrity(&e, how & 16 ? buf : key, MD5_LEN);
	CHECK(!stun_enc_done(&e, &len));
	give(&tx->remote, buf, len);
}

static void raw(void)
{
	uint8_t buf[64], len = take() & 63;
	struct endpoint from = t.cfg.addr4;

	for (unsigned i = 0; i < len; i++)
		buf[i] = take();
	give(&from, buf, len);
}

static void channel_data(void)
{
	uint8_t buf[16] = {0}, len = take() & 7;
	struct endpoint from = t.cfg.addr6;

	turn_chan_put(buf, (uint16_t)(TURN_CHAN_MIN + (take() & 15)), len);
	give(&from, buf, (size_t)TURN_CHAN_HDR_LEN + len);
}

static void step(uint8_t op)
{
	struct endpoint peer;

	switch (op & 7) {
	case 0:
	case 1:
	case 2:
		answer(op);
		break;
	case 3:
		raw();
		break;
	case 4:
		channel_data();
		break;
	case 5:
		peer = peer_of(op >> 3);
		turn_bind(&t, &peer, now);
		break;
	case 6:
		now += (op & 128 ? 37 : 1) * (uint64_t)take() * NS_PER_SEC / 4;
		break;
	default:
		if (op & 128)
			turn_refresh(&t, now);
		else if (op & 64)
			turn_restart(&t, now);
		else if (op & 32)
			turn_sent(&t, now);
		else
			turn_heard(&t, (uint16_t)(TURN_CHAN_MIN + (op >> 3)), now);
		break;
	}
	drive();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char long_term[] = "user:firezone:pass";
	struct turn_cfg cfg = {
		.addr4 = {.ip = {.family = 4, .b = {192, 0, 2, 1}}, .port = 3478},
		.addr6 = {.ip = {.family = 6, .b = {0x20, 1, 0xd, 0xb8}}, .port = 3478},
		.username = "user",
		.password = "pass",
		.realm = "firezone"};
	uint8_t seed[32] = {3};

	in = data;
	in_end = data + size;
	n_sent = 0;
	now = NS_PER_SEC;
	memset(sent, 0, sizeof(sent));
	memset(up, 0, sizeof(up));
	memset(relayed, 0, sizeof(relayed));
	if (take() & 1)
		cfg.realm[0] = 0;
	CHECK(!crypto_init());
	md5(long_term, sizeof(long_term) - 1, key);
	CHECK(!turn_init(&t, &cfg, seed, now));
	drive();
	for (unsigned i = 0; i < STEPS_MAX && in < in_end; i++)
		step(take());
	turn_fini(&t);
	return 0;
}
