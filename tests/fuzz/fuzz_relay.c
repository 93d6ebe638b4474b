/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes as what happens to a relay: raw datagrams, requests whose attributes are arbitrary but
 * whose credentials are good, datagrams of peers, time. An input is a sequence of steps, each a
 * byte that says what, a byte that says who, a byte of length and that many bytes. */
#include <stdlib.h>

#include "core/relay/relay.h"
#include "core/relay/relay_nonce.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CLIENTS = 4, ALLOCS = 3, BINDS = 5, PERMS = 5, UNPROVEN_MAX = 160 };

static struct relay r;
static uint64_t now;
static unsigned live_binds, live_allocs;
static uint16_t last_port;

static void check(bool ok)
{
	if (!ok)
		abort();
}

static struct endpoint client_at(uint8_t who)
{
	return (struct endpoint){.ip = ipaddr_v4(192, 0, 2, (uint8_t)(1 + who % CLIENTS)),
				 .port = 1000};
}

static void setup(void)
{
	static struct relay_auth auth;
	static void *mem;
	struct relay_cfg c = {.public4 = ipaddr_v4(203, 0, 113, 1),
			      .user_quota = 2,
			      .software = "penstock",
			      .port_lo = 50000,
			      .port_hi = 50003,
			      .size = {.n_allocs = ALLOCS, .n_binds = BINDS, .n_perms = PERMS}};
	const uint8_t seed[32] = {7};
	size_t len = relay_mem_size(&c.size);

	if (!mem) {
		mem = malloc(len);
		check(mem && !crypto_init() && !relay_auth_init(&auth, NULL));
		check(!relay_auth_add_user(&auth, "u0", "p"));
		check(!relay_auth_add_user(&auth, "u1", "p"));
		check(!relay_auth_set_stamp(&auth, "stamp"));
	}
	c.public6.family = 6;
	c.public6.b[0] = 0x20;
	now = 1000 * NS_PER_SEC;
	live_binds = live_allocs = 0;
	last_port = 50000;
	check(!relay_init(&r, &c, &auth, mem, len, seed, now));
}

static void drain(void)
{
	static struct relay_tx tx;
	struct relay_event ev;

	while (relay_poll_event(&r, &ev)) {
		check(ev.alloc <= ALLOCS && ev.port >= 50000 && ev.port <= 50003);
		switch (ev.kind) {
		case RELAY_EV_ALLOC_ADD:
			last_port = ev.port;
			live_allocs++;
			break;
		case RELAY_EV_ALLOC_DEL:
			live_allocs--;
			break;
		case RELAY_EV_BIND_ADD:
			check(ev.bind < BINDS && turn_is_channel(ev.channel));
			live_binds |= 1U << ev.bind;
			break;
		case RELAY_EV_BIND_DEL:
			check(live_binds & 1U << ev.bind);
			live_binds &= ~(1U << ev.bind);
			break;
		}
	}
	check(live_allocs == relay_n_allocs(&r) && live_allocs <= ALLOCS);
	while (relay_poll_tx(&r, &tx))
		check(tx.len <= sizeof(tx.buf) && tx.dst.port &&
		      (tx.to == RELAY_TO_CLIENT || (tx.src_port >= 50000 && tx.src_port <= 50003)));
}

static void input(uint8_t who, const uint8_t *data, size_t len, bool proven)
{
	struct relay_dgram in = {.local = {.ip = r.cfg.public4, .port = 3478},
				 .client = client_at(who),
				 .data = data,
				 .len = len};
	static struct relay_tx tx;
	uint32_t allocs = relay_n_allocs(&r), binds = relay_n_binds(&r), perms = relay_n_perms(&r);
	enum relay_rx first = relay_answer(&r, &in, 5, now, &tx), rx;

	rx = relay_input(&r, &in, 5, now);
	check(first == rx || first == RELAY_RX_STATE);
	check(proven || first != RELAY_RX_STATE);
	if (rx == RELAY_RX_REFUSED && !proven)
		check(r.tx.len && r.tx.len <= UNPROVEN_MAX);
	if (rx != RELAY_RX_DONE)
		check(allocs == relay_n_allocs(&r) && binds == relay_n_binds(&r) &&
		      perms == relay_n_perms(&r));
	drain();
}

/* Method who / 16; the attributes as they are, credentials of user who % 3 behind them. */
static void request(uint8_t who, const uint8_t *attrs, size_t len)
{
	static uint8_t buf[STUN_MSG_MAX];
	static const char *const names[] = {"u0", "u1", "99:s"};
	const char *name = names[who % 3];
	char nonce[RELAY_NONCE_LEN + 1], password[RELAY_PASSWORD_CAP] = "p";
	struct endpoint client = client_at(who);
	struct stun_tid tid = {{who}};
	uint8_t key[RELAY_KEY_LEN];
	struct stun_enc e;

	if (name[0] == '9')
		relay_stamp_password("stamp", name, strlen(name), password);
	relay_long_term_key(name, strlen(name), RELAY_REALM, password, key);
	relay_nonce_make(r.nonce_key, &client, nonce, now);
	stun_enc_init(&e, buf, sizeof(buf), (enum stun_method)(who >> 4), STUN_REQUEST, &tid);
	wbuf_put(&e.w, attrs, len & ~(size_t)3);
	stun_put_bytes(&e, STUN_A_USERNAME, name, strlen(name));
	stun_put_bytes(&e, STUN_A_NONCE, nonce, RELAY_NONCE_LEN);
	stun_put_integrity(&e, key, sizeof(key));
	if (!stun_enc_done(&e, &len))
		input(who, buf, len, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rbuf in = rbuf_init(data, size);
	struct endpoint peer = {.ip = ipaddr_v4(198, 51, 100, 7), .port = 7000};

	setup();
	while (rbuf_left(&in)) {
		uint8_t what = rbuf_u8(&in), who = rbuf_u8(&in), len = rbuf_u8(&in);
		const uint8_t *p = rbuf_take(&in, len);

		if (!p)
			break;
		switch (what & 3) {
		case 0:
			input(who, p, len, false);
			break;
		case 1:
			request(who, p, len);
			break;
		case 2:
			peer.port = (uint16_t)(7000 + (who & 3));
			relay_peer_input(&r, last_port, &peer, p, len, now);
			drain();
			break;
		default:
			now += who * (UINT64_C(4) * NS_PER_SEC);
			relay_timeout(&r, now);
			drain();
			break;
		}
	}
	relay_fini(&r);
	return 0;
}
