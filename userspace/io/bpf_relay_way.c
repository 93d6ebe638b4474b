/* SPDX-License-Identifier: Apache-2.0
 *
 * Next hop `auto` in the relay's tables: one of two values is the valid one; a new one is written
 * into the other, then they change places. */
#include <string.h>
#include "io/bpf_relay_internal.h"

static struct ps_turn_router router_of(const struct bpf_relay_way *from)
{
	struct ps_turn_router to = {.ifindex = (uint32_t)from->ifindex};

	memcpy(to.dst, from->dst, sizeof(to.dst));
	memcpy(to.src, from->src, sizeof(to.src));
	to.near_len = (uint32_t)(from->near_len < PS_TURN_NEAR_MAX ? from->near_len
								   : PS_TURN_NEAR_MAX);
	return to;
}

/* The first len bits of 16 bytes. */
static void mask_of(uint8_t mask[16], uint8_t len)
{
	memset(mask, 0, 16);
	for (unsigned i = 0; i < len && i < 128; i++)
		mask[i / 8] |= (uint8_t)(0x80 >> i % 8);
}

static void near_put(struct ps_turn_way *w, const struct bpf_relay_way *v4,
		     const struct bpf_relay_way *v6)
{
	uint8_t mask[16];

	for (size_t i = 0; i < w->v4.near_len; i++) {
		mask_of(mask, v4->near[i].len);
		memcpy(&w->near4[i].net, v4->near[i].ip.b, sizeof(w->near4[i].net));
		memcpy(&w->near4[i].mask, mask, sizeof(w->near4[i].mask));
	}
	for (size_t i = 0; i < w->v6.near_len; i++) {
		mask_of(mask, v6->near[i].len);
		memcpy(w->near6[i].net, v6->near[i].ip.b, sizeof(w->near6[i].net));
		memcpy(w->near6[i].mask, mask, sizeof(w->near6[i].mask));
	}
}

/* Where one interface runs the program natively, only those that do can take a frame from it. */
static void ports_put(const struct bpf_relay *r, struct ps_turn_way *w)
{
	const struct bpf_relay_info *info = &r->info;
	bool native = false;

	_Static_assert(BPF_WAN_MAX <= PS_TURN_PORTS_MAX, "every interface has a place");
	for (size_t i = 0; i < info->wan_len; i++)
		native |= !strcmp(info->wan[i].xdp_mode, "native");
	for (size_t i = 0; i < info->wan_len; i++)
		if (!native || !strcmp(info->wan[i].xdp_mode, "native"))
			w->ports[i] = (uint32_t)r->load.cfg.wan_ifindex[i];
}

bool bpf_relay_way_set(struct bpf_relay *r, const struct bpf_relay_way *v4,
		       const struct bpf_relay_way *v6)
{
	uint32_t next = !r->cfg->way;
	struct ps_turn_way w = {.v4 = router_of(v4), .v6 = router_of(v6)};

	near_put(&w, v4, v6);
	ports_put(r, &w);
	if (!memcmp(&r->way[!next], &w, sizeof(w)))
		return false;
	r->way[next] = w;
	__atomic_store_n(&r->cfg->way, next, __ATOMIC_RELEASE);
	return true;
}
