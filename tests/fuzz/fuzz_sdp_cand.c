/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes as a candidate string: what parses is written out and parses again to the same value, and
 * an agent takes or rejects it within its limits. */
#include <stdlib.h>

#include "core/ice/ice.h"
#include "crypto/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void round_trip(const struct sdp_cand *c)
{
	char buf[SDP_CAND_STRLEN];
	struct sdp_cand back;

	check(!sdp_cand_fmt(c, buf, sizeof(buf)));
	check(!sdp_cand_parse(buf, strlen(buf), &back));
	check(back.kind == c->kind && back.prio == c->prio && back.component == c->component);
	check(endpoint_eq(&back.addr, &c->addr) && endpoint_eq(&back.raddr, &c->raddr));
	check(back.has_raddr == c->has_raddr && !strcmp(back.foundation, c->foundation) &&
	      !strcmp(back.ufrag, c->ufrag));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ice_cfg cfg = {.local = {"aaaa", "password-of-a-22-chars"},
			      .remote = {"bbbb", "password-of-b-22-chars"},
			      .timing = ICE_TIMING_ACTIVE};
	static struct ice ice;
	uint8_t seed[32] = {7};
	struct sdp_cand c;
	char *text = malloc(size +
			    1); /* exactly as long as the input, so that an overrun is seen */

	check(text && !crypto_init());
	memcpy(text, data, size);
	if (!sdp_cand_parse(text, size, &c))
		round_trip(&c);
	check(!ice_init(&ice, &cfg, seed, 0));
	if (ice_add_remote_text(&ice, text, size, 0) == ICE_ADD_NEW) {
		check(ice_n_remotes(&ice) == 1 && ice_addr_usable(&ice_remote(&ice, 0)->addr));
		check(ice_add_remote_text(&ice, text, size, 0) == ICE_ADD_REDUNDANT);
		ice_add_optimistic(&ice, 0);
		check(ice_remove_remote_text(&ice, text, size, 0));
	}
	free(text);
	return 0;
}
