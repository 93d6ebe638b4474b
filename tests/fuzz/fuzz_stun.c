/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes as a STUN datagram: the decoder, every getter, and an ICE agent that must reject them
 * without a trace (nothing here knows its password). */
#include <stdlib.h>

#include "core/ice/ice.h"
#include "crypto/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void getters(const struct stun_msg *m)
{
	static const enum stun_attr_type types[] = {STUN_A_USERNAME,   STUN_A_MESSAGE_INTEGRITY,
						    STUN_A_ERROR_CODE, STUN_A_UNKNOWN_ATTRIBUTES,
						    STUN_A_REALM,      STUN_A_NONCE,
						    STUN_A_PRIORITY,   STUN_A_XOR_MAPPED_ADDRESS,
						    STUN_A_SOFTWARE,   STUN_A_ICE_CONTROLLED,
						    STUN_A_FINGERPRINT};
	volatile uint8_t sink = 0;

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		size_t len;
		const uint8_t *p = stun_bytes(m, types[i], &len);
		struct endpoint e;
		uint64_t u64;
		uint32_t u32;

		check(!p == !stun_has(m, types[i]));
		check(!p || (p >= m->data + STUN_HDR_LEN && p + len <= m->data + m->len));
		for (size_t k = 0; k < len; k++)
			sink ^= p[k];
		stun_u32(m, types[i], &u32);
		stun_u64(m, types[i], &u64);
		if (stun_xor_addr(m, types[i], &e))
			check(e.ip.family == 4 || e.ip.family == 6);
	}
}

static void agent(const uint8_t *data, size_t size)
{
	static struct ice ice, before;
	static bool ready;
	struct ice_cfg cfg = {.local = {"aaaa", "password-of-a-22-chars"},
			      .remote = {"bbbb", "password-of-b-22-chars"},
			      .timing = ICE_TIMING_ACTIVE,
			      .tag = 1};
	struct endpoint at = {.ip = ipaddr_v4(192, 0, 2, 1), .port = 1000};
	struct ice_dgram in = {.local = at, .remote = at, .data = data, .len = size};
	const size_t tail = offsetof(struct ice, pairs);
	struct ice_cand c = ice_cand_host(&at);
	uint8_t seed[32] = {7};
	struct ice_peek peek;
	enum ice_rx rc;

	if (!ready) {
		check(!crypto_init() && !ice_init(&ice, &cfg, seed, 0));
		ice_add_local(&ice, &c, NULL, 0);
		ready = true;
	}
	in.remote.port = 2000;
	ice_peek(data, size, &peek);
	memcpy(&before, &ice, sizeof(ice));
	rc = ice_input(&ice, &in, 5 * NS_PER_SEC);
	check(rc != ICE_RX_OK);
	check(!memcmp(&ice, &before, offsetof(struct ice, acct)));
	check(!memcmp((uint8_t *)&ice + tail, (uint8_t *)&before + tail, sizeof(ice) - tail));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stun_msg m;

	if (stun_decode(&m, data, size) == STUN_OK) {
		unsigned code;

		getters(&m);
		stun_integrity_ok(&m, "key", 3);
		stun_fingerprint_ok(&m);
		stun_error_code(&m, &code);
	}
	agent(data, size);
	return 0;
}
