/* SPDX-License-Identifier: Apache-2.0
 *
 * mac1, mac2, cookie replies, the load gate of wg_local and its limits. */
#include <errno.h>
#include "core/wg/wg_local.h"
#include "core/wg/wg_timers.h"
#include "crypto/crypto.h"
#include "tests/t.h"
#include "tests/vec.h"

#define VEC	  "tests/vectors/wg.hex"
#define T0	  (1000 * NS_PER_SEC)
#define COOKIE_NS (120 * NS_PER_SEC)

static const uint8_t seed[32] = {7};
static const struct wall wall0 = {.sec = 1700000000, .nsec = 500000000};

static void local_init(struct wg_local *l)
{
	uint8_t priv[32];

	T_EQ(vec_get(VEC, "psk.static_r", priv, 32), 32);
	wg_local_init(l, priv, seed, wall0, T0);
}

static void initiation(uint8_t msg[148])
{
	T_EQ(vec_get(VEC, "psk.initiation", msg, 148), 148);
}

static struct ipaddr source(uint32_t i)
{
	return ipaddr_v4(10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i);
}

static void test_cookie_reply_vector(void)
{
	struct cookie_jar j;
	struct wg_msg_cookie m;
	uint8_t pub[32], msg[148], cookie[16], mac2[16];

	T_EQ(vec_get(VEC, "psk.public_r", pub, 32), 32);
	T_EQ(vec_get(VEC, "psk.cookie_reply", (uint8_t *)&m, sizeof(m)), sizeof(m));
	T_EQ(vec_get(VEC, "psk.cookie", cookie, 16), 16);
	T_EQ(vec_get(VEC, "psk.mac2", mac2, 16), 16);
	initiation(msg);
	cookie_jar_init(&j, pub);
	T_EQ(cookie_reply_read(&j, &m, T0), -ENOENT); /* nothing sent yet */
	cookie_stamp(&j, msg, sizeof(msg), COOKIE_NS, T0);
	T_EQ(cookie_reply_read(&j, &m, T0), 0);
	T_MEM(j.cookie, cookie, 16);
	T_EQ(cookie_reply_read(&j, &m, T0), -ENOENT); /* a copy of the reply */
	cookie_stamp(&j, msg, sizeof(msg), COOKIE_NS, T0);
	T_MEM(msg + 132, mac2, 16);
	/* an old cookie is not used */
	cookie_stamp(&j, msg, sizeof(msg), COOKIE_NS, T0 + COOKIE_NS);
	T(crypto_is_zero(msg + 132, 16));
}

static void test_cookie_reply_every_byte(void)
{
	struct cookie_jar j, before;
	struct wg_msg_cookie m, good;
	uint8_t pub[32], msg[148];

	T_EQ(vec_get(VEC, "psk.public_r", pub, 32), 32);
	T_EQ(vec_get(VEC, "psk.cookie_reply", (uint8_t *)&good, sizeof(good)), sizeof(good));
	initiation(msg);
	cookie_jar_init(&j, pub);
	cookie_stamp(&j, msg, sizeof(msg), COOKIE_NS, T0);
	before = j;
	for (size_t i = 8; i < sizeof(m); i++) {
		m = good;
		((uint8_t *)&m)[i] ^= 0x10;
		T_EQ(cookie_reply_read(&j, &m, T0), -EACCES);
		T_MEM(&j, &before, sizeof(j));
	}
	/* right reply, other message */
	msg[20] ^= 1;
	cookie_stamp(&j, msg, sizeof(msg), COOKIE_NS, T0);
	T_EQ(cookie_reply_read(&j, &good, T0), -EACCES);
}

static void test_mac1_every_byte(void)
{
	struct cookie_checker c;
	uint8_t pub[32], msg[148];

	T_EQ(vec_get(VEC, "psk.public_r", pub, 32), 32);
	initiation(msg);
	cookie_checker_init(&c, pub);
	T(cookie_check_mac1(&c, msg, sizeof(msg)));
	for (size_t i = 0; i < 148; i++) {
		msg[i] ^= 4;
		T_EQ(cookie_check_mac1(&c, msg, sizeof(msg)), i >= 132); /* mac2 is not covered */
		msg[i] ^= 4;
	}
	T(!cookie_check_mac1(&c, msg, 147));
	T(!cookie_check_mac1(&c, msg, 31));
	T(!cookie_check_mac1(&c, msg, 0));
}

static void test_admit_kinds(void)
{
	struct wg_local l, before;
	struct wg_tx reply;
	uint8_t msg[200] = {0};
	const struct ipaddr src = source(1);

	local_init(&l);
	before = l;
	for (size_t len = 0; len <= sizeof(msg); len++) {
		for (uint8_t type = 0; type < 6; type++) {
			enum wg_rx want = WG_RX_NOT_HANDSHAKE;

			msg[0] = type;
			if ((type == 1 && len == 148) || (type == 2 && len == 92))
				want = WG_RX_BAD_MAC1;
			else if (type == 3 && len == 64)
				want = WG_RX_OK;
			T_EQ(wg_local_admit(&l, msg, len, &src, &reply, T0), want);
		}
	}
	msg[0] = 1;
	msg[3] = 1; /* the reserved bytes are part of the type */
	T_EQ(wg_local_admit(&l, msg, 148, &src, &reply, T0), WG_RX_NOT_HANDSHAKE);
	T_MEM(&l, &before, sizeof(l));
}

/* Bring l under load with n admitted messages at now. */
static void load(struct wg_local *l, const uint8_t *msg, uint64_t now)
{
	struct wg_tx reply;
	const struct ipaddr src = source(0xffff);

	for (int i = 0; i < WG_LIMIT_PER_WINDOW; i++)
		T_EQ(wg_local_admit(l, msg, 148, &src, &reply, now), WG_RX_OK);
}

static void test_under_load_round_trip(void)
{
	struct wg_local l;
	struct cookie_jar j;
	struct wg_tx reply;
	struct wg_msg_cookie m;
	uint8_t msg[148];
	const struct ipaddr src = source(1), other = source(2);
	uint64_t now = T0;

	local_init(&l);
	cookie_jar_init(&j, l.key.pub);
	initiation(msg);
	load(&l, msg, now);
	cookie_stamp(&j, msg, sizeof(msg), COOKIE_NS, now);
	T_EQ(wg_local_admit(&l, msg, 148, &src, &reply, now), WG_RX_COOKIE);
	T_EQ(reply.len, 64);
	T_EQ(wg_msg_classify(reply.buf, reply.len), WG_MSG_COOKIE);
	T_EQ(wg_msg_receiver(WG_MSG_COOKIE, reply.buf), wg_get_le32(msg + 4));
	memcpy(&m, reply.buf, sizeof(m));
	T_EQ(cookie_reply_read(&j, &m, now), 0);
	cookie_stamp(&j, msg, sizeof(msg), COOKIE_NS, now);
	T_EQ(wg_local_admit(&l, msg, 148, &src, &reply, now), WG_RX_OK);
	/* bound to the address, not transferable */
	T_EQ(wg_local_admit(&l, msg, 148, &other, &reply, now), WG_RX_COOKIE);
	/* the next second nobody is asked */
	T_EQ(wg_local_admit(&l, msg, 148, &other, &reply, now + NS_PER_SEC), WG_RX_OK);
	/* and after two minutes the cookie is void */
	now += COOKIE_NS;
	load(&l, msg, now);
	T_EQ(wg_local_admit(&l, msg, 148, &src, &reply, now), WG_RX_COOKIE);
}

static uint32_t bucket_of(struct cookie_checker *c, const struct ipaddr *src, struct rng *rng)
{
	struct wg_msg_cookie m;
	struct cookie_jar j;
	uint32_t bucket = 0;
	uint8_t msg[148], pub[32];

	T_EQ(vec_get(VEC, "psk.public_r", pub, 32), 32);
	initiation(msg);
	cookie_jar_init(&j, pub);
	cookie_stamp(&j, msg, sizeof(msg), COOKIE_NS, T0);
	cookie_reply_write(c, &m, msg, sizeof(msg), src, COOKIE_NS, rng, T0);
	T_EQ(cookie_reply_read(&j, &m, T0), 0);
	cookie_stamp(&j, msg, sizeof(msg), COOKIE_NS, T0);
	T_EQ(cookie_check(c, msg, sizeof(msg), src, COOKIE_NS, &bucket, T0), COOKIE_MAC2_VALID);
	return bucket % WG_LIMIT_BUCKETS;
}

/* Who is one source: an IPv4 address, and all of an IPv6 /64, which its owner can send from. */
static void test_sources(void)
{
	struct cookie_checker c;
	struct ipaddr a = source(1), b;
	struct rng rng;
	uint8_t pub[32];
	uint32_t first;
	int same = 0;

	T_EQ(vec_get(VEC, "psk.public_r", pub, 32), 32);
	rng_init(&rng, seed);
	cookie_checker_init(&c, pub);
	first = bucket_of(&c, &a, &rng);
	for (uint16_t i = 2; i < 300; i++) {
		b = source(i);
		same += bucket_of(&c, &b, &rng) == first;
	}
	T(same < 5); /* by chance one in 4096 */
	a = (struct ipaddr){.family = 6, .b = {0x20, 0x01, 0x0d, 0xb8, 1, 2, 3, 4, 5}};
	first = bucket_of(&c, &a, &rng);
	for (int i = 8; i < 16; i++) {
		b = a;
		b.b[i] ^= 0x80;
		T_EQ(bucket_of(&c, &b, &rng), first);
	}
	for (int i = 0; i < 8; i++) {
		b = a;
		b.b[i] ^= 1;
		T(bucket_of(&c, &b, &rng) != first);
	}
}

static void test_source_limit(void)
{
	struct wg_limit w;
	uint64_t now = T0;
	int ok = 0;

	wg_limit_init(&w);
	for (int i = 0; i < 50; i++)
		ok += wg_limit_source(&w, 3, now);
	T_EQ(ok, WG_LIMIT_BURST);
	T(wg_limit_source(&w, 4, now));
	T(!wg_limit_source(&w, 3, now + WG_LIMIT_SOURCE_NS - 1));
	T(wg_limit_source(&w, 3, now + WG_LIMIT_SOURCE_NS));
	T(!wg_limit_source(&w, 3, now + WG_LIMIT_SOURCE_NS));
	ok = 0;
	for (uint64_t t = 0; t < 10 * NS_PER_SEC; t += NS_PER_MS)
		ok += wg_limit_source(&w, 9, now + t);
	T(ok >= 200 && ok <= 205);
}

static void test_window_limit(void)
{
	struct wg_limit w;
	int n = 0;

	wg_limit_init(&w);
	while (!wg_limit_under_load(&w, T0))
		n++;
	T_EQ(n, WG_LIMIT_PER_WINDOW);
	T(wg_limit_under_load(&w, T0 + NS_PER_SEC - 1));
	T(!wg_limit_under_load(&w, T0 + NS_PER_SEC));
}

/* Garbage costs one hash and must not put the node under load. */
static void test_garbage_makes_no_load(void)
{
	struct wg_local l;
	struct wg_tx reply;
	uint8_t bad[148], good[148];
	const struct ipaddr src = source(1);

	local_init(&l);
	initiation(good);
	memcpy(bad, good, 148);
	bad[60] ^= 1;
	for (int i = 0; i < 1000; i++)
		T_EQ(wg_local_admit(&l, bad, 148, &src, &reply, T0), WG_RX_BAD_MAC1);
	T_EQ(wg_local_admit(&l, good, 148, &src, &reply, T0), WG_RX_OK);
}

static void test_stamps_only_go_up(void)
{
	struct wg_local l;
	uint8_t prev[WG_STAMP_LEN] = {0}, stamp[WG_STAMP_LEN];
	uint64_t now = T0;

	local_init(&l);
	wg_local_stamp(&l, stamp, now);
	/* 2^62 + 10 + 1700000000, and no finer than 2^24 ns */
	T_EQ(stamp[0], 0x40);
	T_EQ(wg_get_le32(stamp + 4), __builtin_bswap32(1700000000U + 10U));
	for (int i = 0; i < 2000; i++) {
		wg_local_stamp(&l, stamp, now);
		T(memcmp(stamp, prev, sizeof(stamp)) > 0);
		memcpy(prev, stamp, sizeof(prev));
		if (i % 3 == 0)
			now += 40 * NS_PER_MS;
	}
	/* the same key in a new process, later by the wall clock */
	wg_local_init(&l, l.key.priv, seed, (struct wall){.sec = wall0.sec + 100}, 5);
	wg_local_stamp(&l, stamp, 5);
	T(memcmp(stamp, prev, sizeof(stamp)) > 0);
	wg_local_fini(&l);
	T(crypto_is_zero(&l, sizeof(l)));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init() != 0)
		return 1;
	T_RUN(test_cookie_reply_vector);
	T_RUN(test_cookie_reply_every_byte);
	T_RUN(test_mac1_every_byte);
	T_RUN(test_admit_kinds);
	T_RUN(test_under_load_round_trip);
	T_RUN(test_sources);
	T_RUN(test_source_limit);
	T_RUN(test_window_limit);
	T_RUN(test_garbage_makes_no_load);
	T_RUN(test_stamps_only_go_up);
	return t_done();
}
