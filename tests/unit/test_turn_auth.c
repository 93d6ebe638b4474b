/* SPDX-License-Identifier: Apache-2.0
 * Who may tell the TURN client what: forged answers, challenges without integrity as other servers
 * send them, realms, and the ways to ask for an allocation. */
#include "tests/unit/turn_rig.h"

static struct turn before;

static void snap(void)
{
	memcpy(&before, &rig.t, sizeof(before));
}

/* Nothing but the counters changed. */
static bool same(void)
{
	before.acct = rig.t.acct;
	return !memcmp(&before, &rig.t, sizeof(before));
}

enum forgery {
	F_NONE,	     /* the real key */
	F_WRONG_KEY, /* integrity by somebody else */
	F_MISSING,   /* no integrity */
	F_FLIPPED,   /* right, then one bit changed */
};

/* An answer to tx, not delivered through the rig's run so that the machine can be compared. */
static enum turn_rx forge(const struct turn_tx *tx, unsigned code, enum forgery f)
{
	static const uint8_t wrong[MD5_LEN] = {1, 2, 3};
	struct endpoint e = ep(RELAYED4);
	struct turn_data d;
	struct ans a;

	ans_init(&a, tx, code ? STUN_ERROR : STUN_SUCCESS);
	if (code) {
		stun_put_error(&a.e, code, "no");
		stun_put_bytes(&a.e, STUN_A_REALM, "firezone", 8);
		stun_put_bytes(&a.e, STUN_A_NONCE, "forged", 6);
	} else {
		stun_put_xor_addr(&a.e, STUN_A_XOR_RELAYED_ADDRESS, &e);
		stun_put_u32(&a.e, STUN_A_LIFETIME, 600);
	}
	if (f != F_MISSING)
		stun_put_integrity(&a.e, f == F_WRONG_KEY ? wrong : rig.key, MD5_LEN);
	T_EQ(stun_enc_done(&a.e, &a.len), 0);
	if (f == F_FLIPPED)
		a.buf[a.len - 1] ^= 1;
	return rig_give(&tx->remote, a.buf, a.len, &d);
}

/* Every request of an allocation's life and every answer an attacker could like. */
static void test_forged_answers_change_nothing(void)
{
	static const unsigned codes[] = {0,   300, 400, 401, 403, 420, 437,
					 438, 440, 442, 443, 486, 508};
	static const unsigned methods[] = {STUN_ALLOCATE, STUN_REFRESH, STUN_CHANNEL_BIND};
	struct endpoint peer = ep("198.51.100.1:1000");
	unsigned tried = 0;

	for (unsigned m = 0; m < 3; m++) {
		struct turn_tx tx;

		if (m == 0) {
			rig_init("192.0.2.1:3478", NULL);
			rig_challenged();
		} else {
			rig_ready();
		}
		if (m == 1)
			turn_refresh(&rig.t, rig.now);
		if (m == 2)
			turn_bind(&rig.t, &peer, rig.now);
		rig_drive();
		tx = rig_take(methods[m]);
		for (unsigned c = 0; c < sizeof(codes) / sizeof(*codes); c++) {
			for (enum forgery f = F_WRONG_KEY; f <= F_FLIPPED; f++) {
				if (f == F_MISSING && (codes[c] == 401 || codes[c] == 438))
					continue; /* challenges: below */
				snap();
				T_EQ(forge(&tx, codes[c], f), TURN_RX_BAD_AUTH);
				T(same());
				tried++;
			}
		}
		T_EQ(forge(&tx, 0, F_NONE), TURN_RX_CONTROL); /* the real one still counts */
	}
	T_EQ(tried, 3 * (13 * 3 - 2));
	T_EQ(rig.t.acct.rx[TURN_RX_BAD_AUTH], 13 * 3 - 2);
}

/* Before the first challenge the only key is ours. */
static void test_forged_answers_to_the_first_allocate(void)
{
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	tx = rig_take(STUN_BINDING);
	ok_binding(&tx);
	tx = rig_take(STUN_ALLOCATE);
	snap();
	T_EQ(forge(&tx, 0, F_MISSING), TURN_RX_BAD_AUTH);
	T_EQ(forge(&tx, 0, F_WRONG_KEY), TURN_RX_BAD_AUTH);
	T_EQ(forge(&tx, 401, F_WRONG_KEY), TURN_RX_BAD_AUTH);
	T_EQ(forge(&tx, 400, F_WRONG_KEY), TURN_RX_BAD_AUTH);
	T_EQ(forge(&tx, 437, F_MISSING), TURN_RX_BAD_AUTH);
	T_EQ(forge(&tx, 486, F_MISSING), TURN_RX_BAD_AUTH);
	T(same());
}

static void test_answers_from_elsewhere_change_nothing(void)
{
	struct endpoint other = ep("192.0.2.1:3479"), six = ep("[2001:db8::1]:3478");
	struct turn_tx tx;
	struct turn_data d;
	struct ans a;

	rig_init("192.0.2.1:3478", "[2001:db8::1]:3478");
	rig_challenged();
	tx = rig_take(STUN_ALLOCATE);
	ans_init(&a, &tx, STUN_SUCCESS);
	stun_put_xor_addr(&a.e, STUN_A_XOR_RELAYED_ADDRESS, &other);
	stun_put_u32(&a.e, STUN_A_LIFETIME, 600);
	ans_done(&a, true);
	snap();
	T_EQ(rig_give(&other, a.buf, a.len, &d), TURN_RX_FOREIGN);
	T_EQ(rig_give(&six, a.buf, a.len, &d), TURN_RX_UNKNOWN); /* asked over IPv4 */
	a.buf[10] ^= 1;
	T_EQ(rig_give(&tx.remote, a.buf, a.len, &d), TURN_RX_UNKNOWN);
	T_EQ(rig_give(&tx.remote, tx.buf, tx.len, &d), TURN_RX_UNKNOWN); /* a request */
	a.buf[10] ^= 1;
	a.buf[1] = 4; /* success of REFRESH, signed for it */
	a.len -= 24;
	be16_put(a.buf + 2, (uint16_t)(a.len - STUN_HDR_LEN));
	a.e.w.p = a.buf + a.len;
	ans_done(&a, true);
	T_EQ(rig_give(&tx.remote, a.buf, a.len, &d), TURN_RX_UNKNOWN);
	T_EQ(rig_give(&tx.remote, a.buf, 0, &d), TURN_RX_MALFORMED);
	T_EQ(rig_give(&tx.remote, a.buf, 19, &d), TURN_RX_MALFORMED);
	T_EQ(rig_give(&tx.remote, a.buf, a.len - 4, &d), TURN_RX_MALFORMED);
	T(same());
}

static void test_incomplete_successes_change_nothing(void)
{
	struct endpoint zero = ep("0.0.0.0:0"), v6 = ep("[2001:db8::5]:6");
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	tx = rig_take(STUN_BINDING);
	{
		struct turn_data d;
		struct ans a;

		ans_init(&a, &tx, STUN_SUCCESS);
		ans_done(&a, false);
		snap();
		T_EQ(rig_give(&tx.remote, a.buf, a.len, &d), TURN_RX_MALFORMED);
		ans_init(&a, &tx, STUN_SUCCESS);
		stun_put_xor_addr(&a.e, STUN_A_XOR_MAPPED_ADDRESS, &zero);
		ans_done(&a, false);
		T_EQ(rig_give(&tx.remote, a.buf, a.len, &d), TURN_RX_MALFORMED);
		ans_init(&a, &tx, STUN_SUCCESS);
		stun_put_xor_addr(&a.e, STUN_A_XOR_MAPPED_ADDRESS, &v6);
		ans_done(&a, false);
		T_EQ(rig_give(&tx.remote, a.buf, a.len, &d), TURN_RX_MALFORMED);
		ans_init(&a, &tx, STUN_ERROR);
		stun_put_error(&a.e, 500, "no");
		ans_done(&a, false);
		T_EQ(rig_give(&tx.remote, a.buf, a.len, &d), TURN_RX_IGNORED);
		T(same());
	}
	ok_binding(&tx);
	tx = rig_take(STUN_ALLOCATE);
	challenge(&tx, 401, "n");
	tx = rig_take(STUN_ALLOCATE);
	T_EQ(ok_allocate_as(&tx, NULL, NULL, 600), TURN_RX_MALFORMED);
	T_EQ(ok_allocate_as(&tx, "0.0.0.0:1", NULL, 600), TURN_RX_MALFORMED);
	T_EQ(ok_allocate_as(&tx, RELAYED4, NULL, KEEP), TURN_RX_MALFORMED);
	T_EQ(ok_allocate_as(&tx, RELAYED4, NULL, 0), TURN_RX_MALFORMED);
	T_EQ(turn_state(&rig.t), TURN_ALLOCATING);
	T_EQ(ok_allocate_as(&tx, "0.0.0.0:1", RELAYED6, 1), TURN_RX_CONTROL);
	T_EQ(turn_state(&rig.t), TURN_READY);
}

/* ---- challenges ---- */

/* As coturn and the RFC have it: no integrity on a challenge. */
static void test_challenge_without_integrity(void)
{
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	tx = rig_take(STUN_BINDING);
	ok_binding(&tx);
	tx = rig_take(STUN_ALLOCATE);
	T_EQ(err_full(&tx, 401, "n-1", "firezone", false), TURN_RX_CONTROL);
	tx = rig_take(STUN_ALLOCATE);
	T_STR(tx_text(&tx, STUN_A_NONCE), "n-1");
	T_EQ(err_full(&tx, 438, "n-2", "firezone", false), TURN_RX_CONTROL);
	tx = rig_take(STUN_ALLOCATE);
	T_STR(tx_text(&tx, STUN_A_NONCE), "n-2");
	T_EQ(ok_allocate(&tx), TURN_RX_CONTROL);
	T_EQ(turn_state(&rig.t), TURN_READY);
}

/* A server that refuses credentials it did not ask for, without integrity: asked without them. */
static void test_server_that_wants_to_challenge_first(void)
{
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	tx = rig_take(STUN_BINDING);
	ok_binding(&tx);
	tx = rig_take(STUN_ALLOCATE);
	T_EQ(err_full(&tx, 400, NULL, NULL, false), TURN_RX_CONTROL);
	tx = rig_take(STUN_ALLOCATE);
	T(!tx_has(&tx, STUN_A_MESSAGE_INTEGRITY));
	T(!tx_has(&tx, STUN_A_USERNAME));
	T(tx_has(&tx, STUN_A_REQUESTED_TRANSPORT));
	T_EQ(err_full(&tx, 400, NULL, NULL, false), TURN_RX_BAD_AUTH); /* once */
	T_EQ(err_full(&tx, 401, "n-1", "firezone", false), TURN_RX_CONTROL);
	tx = rig_take(STUN_ALLOCATE);
	T_STR(tx_text(&tx, STUN_A_NONCE), "n-1");
	T(tx_has(&tx, STUN_A_MESSAGE_INTEGRITY));
	T_EQ(ok_allocate(&tx), TURN_RX_CONTROL);
}

/* An unproven 401 to a request that had a nonce cannot end it, nor make it send faster. */
static void test_unproven_refusal_does_not_give_up(void)
{
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	rig_challenged();
	tx = rig_take(STUN_ALLOCATE);
	for (unsigned i = 0; i < 20; i++)
		T_EQ(err_full(&tx, 401, i % 2 ? "n-a" : "n-b", "firezone", false), TURN_RX_CONTROL);
	T_EQ(rig_count(0), 0);
	T_EQ(turn_state(&rig.t), TURN_ALLOCATING);
	rig_run(NS_PER_SEC);
	T_EQ(rig_count(0), 1);
	tx = rig_take(STUN_ALLOCATE);
	T_STR(tx_text(&tx, STUN_A_NONCE), "n-a");
	T_EQ(ok_allocate(&tx), TURN_RX_CONTROL);
	T_EQ(turn_state(&rig.t), TURN_READY);
	/* When nothing better comes, the relay is given up like a silent one, and says why. */
	rig_init("192.0.2.1:3478", NULL);
	rig_challenged();
	tx = rig_take(STUN_ALLOCATE);
	err_full(&tx, 401, "n-a", "firezone", false);
	rig_run(9 * NS_PER_SEC);
	T_EQ(turn_state(&rig.t), TURN_UNREACHABLE);
	T_STR(freeable(), "the relay does not accept the credentials");
}

/* A relay that calls every nonce stale does not get us to send as fast as it answers. */
static void test_endless_stale_nonces_are_paced(void)
{
	struct turn_tx tx;
	unsigned n = 0;
	char nonce[16];

	rig_init("192.0.2.1:3478", NULL);
	rig_challenged();
	for (unsigned i = 0; i < 2000 && turn_state(&rig.t) == TURN_ALLOCATING; i++) {
		if (!rig_count(STUN_ALLOCATE)) {
			rig_run(NS_PER_MS * 10);
			continue;
		}
		tx = rig_take(STUN_ALLOCATE);
		snprintf(nonce, sizeof(nonce), "n-%u", ++n);
		challenge(&tx, 438, nonce);
	}
	T_EQ(turn_state(&rig.t), TURN_UNREACHABLE);
	T(n >= 8 && n <= 16);
}

static void test_realm_must_be_ours(void)
{
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	tx = rig_take(STUN_BINDING);
	ok_binding(&tx);
	tx = rig_take(STUN_ALLOCATE);
	snap();
	{
		struct turn_data d;
		struct ans a;

		ans_init(&a, &tx, STUN_ERROR);
		stun_put_error(&a.e, 401, "no");
		stun_put_bytes(&a.e, STUN_A_REALM, "firezone2", 9);
		stun_put_bytes(&a.e, STUN_A_NONCE, "n", 1);
		ans_done(&a, false);
		T_EQ(rig_give(&tx.remote, a.buf, a.len, &d), TURN_RX_REALM);
	}
	T(same());
	T_EQ(err_full(&tx, 401, "n", NULL, true), TURN_RX_CONTROL); /* no realm: ours is meant */
	tx = rig_take(STUN_ALLOCATE);
	T_EQ(err_full(&tx, 438, NULL, "firezone", true), TURN_RX_MALFORMED);
	T_EQ(err_full(&tx, 438, "", "firezone", true), TURN_RX_MALFORMED);
}

/* No realm configured: the first request cannot be signed, the server's realm makes the key. */
static void test_realm_of_a_foreign_server(void)
{
	struct turn_cfg c = rig_cfg("192.0.2.1:3478", NULL);
	struct turn_tx tx;

	c.realm[0] = 0;
	rig_start(&c);
	tx = rig_take(STUN_BINDING);
	ok_binding(&tx);
	tx = rig_take(STUN_ALLOCATE);
	T(!tx_has(&tx, STUN_A_MESSAGE_INTEGRITY));
	T_EQ(err_full(&tx, 401, "n-1", NULL, false), TURN_RX_MALFORMED);
	T_EQ(err_full(&tx, 401, "n-1", "example.org", false), TURN_RX_CONTROL);
	tx = rig_take(STUN_ALLOCATE);
	T_STR(tx_text(&tx, STUN_A_REALM), "example.org");
	rig_key("1892160000:salt:example.org:secret");
	T_EQ(ok_allocate(&tx), TURN_RX_CONTROL);
	T_EQ(turn_state(&rig.t), TURN_READY);
}

static void test_fingerprint_is_tolerated_and_checked(void)
{
	struct turn_data d;
	struct turn_tx tx;
	struct ans a;

	rig_init("192.0.2.1:3478", NULL);
	rig.fingerprint = true;
	rig_challenged();
	tx = rig_take(STUN_ALLOCATE);
	ans_init(&a, &tx, STUN_SUCCESS);
	stun_put_u32(&a.e, STUN_A_LIFETIME, 600);
	ans_done(&a, true);
	a.buf[a.len - 1] ^= 1;
	snap();
	T_EQ(rig_give(&tx.remote, a.buf, a.len, &d), TURN_RX_MALFORMED);
	T(same());
	T_EQ(ok_allocate(&tx), TURN_RX_CONTROL);
	T_EQ(turn_state(&rig.t), TURN_READY);
}

/* ---- ways to ask ---- */

static bool is_dual(const struct turn_tx *tx)
{
	return tx_has(tx, STUN_A_ADDITIONAL_ADDRESS_FAMILY);
}

static void test_plain_allocate_for_servers_without_both_families(void)
{
	static const unsigned codes[] = {400, 420, 440};

	for (unsigned i = 0; i < 3; i++) {
		struct turn_tx tx;

		rig_init("192.0.2.1:3478", NULL);
		rig_challenged();
		tx = rig_take(STUN_ALLOCATE);
		T(is_dual(&tx));
		T_EQ(err(&tx, codes[i]), TURN_RX_CONTROL);
		T_EQ(turn_state(&rig.t), TURN_ALLOCATING);
		tx = rig_take(STUN_ALLOCATE);
		T(!is_dual(&tx));
		T(!tx_has(&tx, STUN_A_REQUESTED_ADDRESS_FAMILY));
		T_EQ(ok_allocate_as(&tx, RELAYED4, NULL, 600), TURN_RX_CONTROL);
		turn_refresh(&rig.t, rig.now);
		rig_drive();
		tx = rig_take(STUN_REFRESH);
		err(&tx, 437);
		tx = rig_take(STUN_ALLOCATE);
		T(!is_dual(&tx)); /* remembered */
	}
}

static void test_ipv6_only_server(void)
{
	struct turn_tx tx;

	rig_init(NULL, "[2001:db8::1]:3478");
	rig_challenged();
	tx = rig_take(STUN_ALLOCATE);
	err(&tx, 440);
	tx = rig_take(STUN_ALLOCATE);
	err(&tx, 440);
	tx = rig_take(STUN_ALLOCATE);
	T(tx_has(&tx, STUN_A_REQUESTED_ADDRESS_FAMILY));
	T_EQ(ok_allocate_as(&tx, NULL, RELAYED6, 600), TURN_RX_CONTROL);
	T_EQ(turn_state(&rig.t), TURN_READY);
}

static void test_relay_that_does_not_understand_us(void)
{
	struct endpoint peer = ep("198.51.100.1:1000");
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	rig_challenged();
	tx = rig_take(STUN_ALLOCATE);
	err(&tx, 420);
	tx = rig_take(STUN_ALLOCATE);
	T_EQ(err(&tx, 420), TURN_RX_CONTROL);
	T_EQ(turn_state(&rig.t), TURN_BROKEN);
	T_STR(freeable(), "the relay does not understand us");
	T_EQ(turn_deadline(&rig.t).at, TIME_NEVER);
	T_EQ(turn_bind(&rig.t, &peer, rig.now), TURN_BIND_NONE);
}

/* An allocation from an earlier life is in the way: removed, then asked again, not for ever. */
static void test_stale_allocation_is_removed_first(void)
{
	struct turn_tx tx;
	unsigned n = 0;

	rig_init("192.0.2.1:3478", NULL);
	rig_challenged();
	tx = rig_take(STUN_ALLOCATE);
	T_EQ(err(&tx, 437), TURN_RX_CONTROL);
	tx = rig_take(STUN_REFRESH);
	T(tx_has(&tx, STUN_A_LIFETIME));
	T_EQ(ok(&tx, 0), TURN_RX_CONTROL);
	tx = rig_take(STUN_ALLOCATE);
	T_EQ(ok_allocate(&tx), TURN_RX_CONTROL);
	T_EQ(rig.t.n_stale, 0);
	rig_init("192.0.2.1:3478", NULL);
	rig_challenged();
	while (rig_count(STUN_ALLOCATE) && ++n < 20) {
		tx = rig_take(STUN_ALLOCATE);
		err(&tx, 437);
		if (rig_count(STUN_REFRESH)) {
			tx = rig_take(STUN_REFRESH);
			ok(&tx, 0);
		}
	}
	T_EQ(n, 5);
	T_EQ(turn_state(&rig.t), TURN_SUSPENDED);
}

static void test_senseless_configurations(void)
{
	struct turn_cfg c = rig_cfg(NULL, NULL), good = rig_cfg("192.0.2.1:3478", NULL);
	uint8_t seed[32] = {0};

	T_EQ(turn_init(&rig.t, &c, seed, 0), -22);
	c = good;
	c.username[0] = 0;
	T_EQ(turn_init(&rig.t, &c, seed, 0), -22);
	c = good;
	memset(c.password, 'x', sizeof(c.password));
	T_EQ(turn_init(&rig.t, &c, seed, 0), -22);
	c = good;
	c.addr6 = c.addr4;
	T_EQ(turn_init(&rig.t, &c, seed, 0), -22);
	c = good;
	c.addr4.port = 0;
	T_EQ(turn_init(&rig.t, &c, seed, 0), -22);
	T_EQ(turn_init(&rig.t, &good, seed, 0), 0);
}

static bool holds(const void *hay, size_t len, const void *needle, size_t n)
{
	return memmem(hay, len, needle, n) != NULL;
}

static void test_secrets_are_wiped(void)
{
	rig_ready();
	T(holds(&rig.t, sizeof(rig.t), "secret", 6));
	T(holds(&rig.t, sizeof(rig.t), rig.key, MD5_LEN));
	turn_fini(&rig.t);
	T(!holds(&rig.t, sizeof(rig.t), "secret", 6));
	T(!holds(&rig.t, sizeof(rig.t), rig.key, MD5_LEN));
	T_EQ(turn_deadline(&rig.t).at, TIME_NEVER);
}

/* The longest names and nonce still make a request. */
static void test_longest_credentials_fit(void)
{
	struct turn_cfg c = rig_cfg("192.0.2.1:3478", NULL);
	char nonce[TURN_NONCE_MAX + 2];
	struct turn_tx tx;

	memset(c.username, 'u', TURN_USERNAME_MAX);
	memset(c.password, 'p', TURN_PASSWORD_MAX);
	memset(c.realm, 'r', TURN_REALM_MAX);
	memset(nonce, 'n', sizeof(nonce));
	rig_start(&c);
	memcpy(rig.key, rig.t.key, MD5_LEN);
	tx = rig_take(STUN_BINDING);
	ok_binding(&tx);
	tx = rig_take(STUN_ALLOCATE);
	nonce[TURN_NONCE_MAX + 1] = 0;
	T_EQ(err_full(&tx, 401, nonce, NULL, true), TURN_RX_MALFORMED);
	nonce[TURN_NONCE_MAX] = 0;
	T_EQ(err_full(&tx, 401, nonce, NULL, true), TURN_RX_CONTROL);
	tx = rig_take(STUN_ALLOCATE);
	T_STR(tx_text(&tx, STUN_A_NONCE), nonce);
	T(tx.len < TURN_TX_MAX);
	T_EQ(ok_allocate(&tx), TURN_RX_CONTROL);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_forged_answers_change_nothing);
	T_RUN(test_forged_answers_to_the_first_allocate);
	T_RUN(test_answers_from_elsewhere_change_nothing);
	T_RUN(test_incomplete_successes_change_nothing);
	T_RUN(test_challenge_without_integrity);
	T_RUN(test_server_that_wants_to_challenge_first);
	T_RUN(test_unproven_refusal_does_not_give_up);
	T_RUN(test_endless_stale_nonces_are_paced);
	T_RUN(test_realm_must_be_ours);
	T_RUN(test_realm_of_a_foreign_server);
	T_RUN(test_fingerprint_is_tolerated_and_checked);
	T_RUN(test_plain_allocate_for_servers_without_both_families);
	T_RUN(test_ipv6_only_server);
	T_RUN(test_relay_that_does_not_understand_us);
	T_RUN(test_stale_allocation_is_removed_first);
	T_RUN(test_senseless_configurations);
	T_RUN(test_secrets_are_wiped);
	T_RUN(test_longest_credentials_fit);
	return t_done();
}
