/* SPDX-License-Identifier: Apache-2.0
 *
 * The handshake against vectors made by an independent implementation, and against itself mutated.
 */
#include <errno.h>
#include "base/bytes.h"
#include "core/wg/cookie.h"
#include "core/wg/noise.h"
#include "crypto/crypto.h"
#include "tests/t.h"
#include "tests/vec.h"

#define VEC "tests/vectors/wg.hex"

struct pair {
	struct noise_static si, sr;
	struct noise_remote ri, rr; /* as seen by the responder, by the initiator */
	struct rng rng_i, rng_r;
	uint8_t stamp[WG_STAMP_LEN];
};

static void get(const char *prefix, const char *name, uint8_t *out, size_t len)
{
	char full[64];

	snprintf(full, sizeof(full), "%s%s", prefix, name);
	T_EQ(vec_get(VEC, full, out, len), len);
}

static void pair_init(struct pair *p, const char *prefix)
{
	uint8_t priv[32], psk[32], seed[32];

	get(prefix, "static_i", priv, 32);
	noise_static_init(&p->si, priv);
	get(prefix, "static_r", priv, 32);
	noise_static_init(&p->sr, priv);
	get(prefix, "psk", psk, 32);
	T_EQ(noise_remote_init(&p->rr, &p->si, p->sr.pub, psk), 0);
	T_EQ(noise_remote_init(&p->ri, &p->sr, p->si.pub, psk), 0);
	T_MEM(p->rr.ss, p->ri.ss, 32);
	get(prefix, "seed_i", seed, 32);
	rng_init(&p->rng_i, seed);
	get(prefix, "seed_r", seed, 32);
	rng_init(&p->rng_r, seed);
	get(prefix, "stamp", p->stamp, WG_STAMP_LEN);
}

static void run_vector(const char *prefix)
{
	struct pair p;
	struct wg_msg_initiation m1;
	struct wg_msg_response m2;
	struct noise_waiting waiting;
	struct noise_opened opened;
	struct noise_sym after;
	struct noise_keys ki, kr;
	struct cookie_jar to_r, to_i;
	uint8_t want[148], stamp[WG_STAMP_LEN];

	pair_init(&p, prefix);
	cookie_jar_init(&to_r, p.sr.pub);
	cookie_jar_init(&to_i, p.si.pub);
	T_EQ(noise_initiation_write(&m1, &waiting, &p.si, &p.rr, 0x01020304, p.stamp, &p.rng_i), 0);
	cookie_stamp(&to_r, &m1, sizeof(m1), 1, 0);
	get(prefix, "initiation", want, sizeof(m1));
	T_MEM(&m1, want, sizeof(m1));

	T_EQ(noise_initiation_open(&p.sr, &m1, &opened), 0);
	T_MEM(opened.remote_static, p.si.pub, 32);
	T_EQ(opened.remote_index, 0x01020304);
	T_EQ(noise_initiation_verify(&opened, &p.ri, &after, stamp), 0);
	T_MEM(stamp, p.stamp, WG_STAMP_LEN);

	T_EQ(noise_response_write(&m2, &kr, &after, opened.remote_ephemeral, opened.remote_index,
				  &p.ri, 0xa1b2c3d4, &p.rng_r),
	     0);
	cookie_stamp(&to_i, &m2, sizeof(m2), 1, 0);
	get(prefix, "response", want, sizeof(m2));
	T_MEM(&m2, want, sizeof(m2));

	T_EQ(noise_response_read(&m2, &waiting, &p.si, &p.rr, &ki), 0);
	get(prefix, "key_i_to_r", want, 32);
	T_MEM(ki.send, want, 32);
	T_MEM(kr.recv, want, 32);
	get(prefix, "key_r_to_i", want, 32);
	T_MEM(ki.recv, want, 32);
	T_MEM(kr.send, want, 32);
}

static void test_vector_psk(void)
{
	run_vector("psk.");
}

static void test_vector_nopsk(void)
{
	run_vector("nopsk.");
}

/* Noise protects all of an initiation but the type, the sender index and the macs. */
static void test_initiation_every_byte(void)
{
	struct pair p;
	uint8_t msg[sizeof(struct wg_msg_initiation)], stamp[WG_STAMP_LEN];
	struct wg_msg_initiation m;
	struct noise_opened o, before;
	struct noise_sym after;

	pair_init(&p, "psk.");
	get("psk.", "initiation", msg, sizeof(msg));
	for (size_t i = 8; i < 148 - 32; i++) {
		memcpy(&m, msg, sizeof(m));
		((uint8_t *)&m)[i] ^= (uint8_t)(1 << i % 8);
		memset(&o, 0x5a, sizeof(o));
		before = o;
		if (i < 88) { /* ephemeral, static box */
			if (i == 39)
				((uint8_t *)&m)[i] ^=
					0x81; /* not the top bit, which X25519 ignores */
			T_EQ(noise_initiation_open(&p.sr, &m, &o), -EACCES);
			T_MEM(&o, &before, sizeof(o));
			continue;
		}
		T_EQ(noise_initiation_open(&p.sr, &m, &o), 0);
		memset(&after, 0x5a, sizeof(after));
		T_EQ(noise_initiation_verify(&o, &p.ri, &after, stamp), -EACCES);
		T_EQ(after.ck[0], 0x5a);
	}
}

static void test_response_every_byte(void)
{
	struct pair p;
	uint8_t msg[sizeof(struct wg_msg_response)];
	struct wg_msg_initiation m1;
	struct wg_msg_response m;
	struct noise_waiting w, before;
	struct noise_keys keys, none;

	pair_init(&p, "psk.");
	get("psk.", "response", msg, sizeof(msg));
	T_EQ(noise_initiation_write(&m1, &w, &p.si, &p.rr, 0x01020304, p.stamp, &p.rng_i), 0);
	before = w;
	memset(&none, 0x5a, sizeof(none));
	for (size_t i = 12; i < 92 - 32; i++) {
		memcpy(&m, msg, sizeof(m));
		((uint8_t *)&m)[i] ^= (uint8_t)(1 << i % 7);
		keys = none;
		T_EQ(noise_response_read(&m, &w, &p.si, &p.rr, &keys), -EACCES);
		T_MEM(&keys, &none, sizeof(keys));
		T_MEM(&w, &before, sizeof(w));
	}
	memcpy(&m, msg, sizeof(m));
	T_EQ(noise_response_read(&m, &w, &p.si, &p.rr, &keys), 0);
}

static void test_wrong_psk_and_keys(void)
{
	struct pair p;
	uint8_t msg[92], raw1[148];
	struct wg_msg_initiation m1;
	struct wg_msg_response m;
	struct noise_waiting w;
	struct noise_keys keys;
	struct noise_opened o;

	pair_init(&p, "psk.");
	T_EQ(noise_initiation_write(&m1, &w, &p.si, &p.rr, 0x01020304, p.stamp, &p.rng_i), 0);
	get("psk.", "response", msg, sizeof(msg));
	memcpy(&m, msg, sizeof(m));
	p.rr.psk[31] ^= 1;
	T_EQ(noise_response_read(&m, &w, &p.si, &p.rr, &keys), -EACCES);
	p.rr.psk[31] ^= 1;
	p.si.priv[5] ^= 1;
	T_EQ(noise_response_read(&m, &w, &p.si, &p.rr, &keys), -EACCES);
	/* made for another responder */
	get("psk.", "initiation", raw1, sizeof(raw1));
	memcpy(&m1, raw1, sizeof(m1));
	T_EQ(noise_initiation_open(&p.si, &m1, &o), -EACCES);
}

static void test_low_order_keys(void)
{
	static const uint8_t zero[32];
	struct pair p;
	struct noise_remote r;
	struct wg_msg_initiation m;
	struct wg_msg_response m2;
	struct noise_opened o;
	struct noise_sym sym = {{1}, {2}};
	struct noise_keys k;

	pair_init(&p, "psk.");
	T_EQ(noise_remote_init(&r, &p.si, zero, zero), -EINVAL);
	memset(&m, 0, sizeof(m));
	T_EQ(noise_initiation_open(&p.sr, &m, &o), -EACCES);
	T_EQ(noise_response_write(&m2, &k, &sym, zero, 1, &p.ri, 2, &p.rng_r), -EACCES);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init() != 0)
		return 1;
	T_RUN(test_vector_psk);
	T_RUN(test_vector_nopsk);
	T_RUN(test_initiation_every_byte);
	T_RUN(test_response_every_byte);
	T_RUN(test_wrong_psk_and_keys);
	T_RUN(test_low_order_keys);
	return t_done();
}
