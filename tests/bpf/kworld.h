/* SPDX-License-Identifier: Apache-2.0
 *
 * One peer with one session and flows in both directions, as most tests of the kernel programs
 * want it. */
#ifndef PENSTOCK_TESTS_KWORLD_H
#define PENSTOCK_TESTS_KWORLD_H
#include "plan/flow.h"
#include "tests/bpf/kern.h"
#include "tests/bpf/kpkt.h"

#define KW_SLOT	   3
#define KW_PEER	   5
#define KW_LOCAL   (0xabc00000u | KW_SLOT)
#define KW_FAR	   0x11223344u
#define KW_CHANNEL 0x4abcu /* of a relay where kw_remote is */

static const uint8_t kw_tun4[16] = {100, 64, 0, 7}, kw_host4[16] = {10, 9, 1, 2};
static const uint8_t kw_tun6[16] = {0xfd, 0, 0x20, 0x21, 0x11, 0x11, [15] = 7};
static const uint8_t kw_host6[16] = {0xfd, 0x09, [15] = 2};
static const uint8_t kw_local4[16] = {192, 0, 2, 1}, kw_remote4[16] = {192, 0, 2, 9};
static const uint8_t kw_local6[16] = {0x20, 1, 0xd, 0xb8, [15] = 1};
static const uint8_t kw_remote6[16] = {0x20, 1, 0xd, 0xb8, [15] = 9};

struct kworld {
	struct kern k;
	uint8_t recv_key[32], send_key[32];
	uint64_t next_counter; /* of packets that we build */
};

/* A packet from the peer's tunnel address to a host behind us. */
static inline struct kinner kw_inner(int family, int proto, size_t payload)
{
	struct kinner in = {.family = family, .proto = proto, .sport = 4660, .payload = payload};

	memcpy(in.saddr, family == 4 ? kw_tun4 : kw_tun6, 16);
	memcpy(in.daddr, family == 4 ? kw_host4 : kw_host6, 16);
	in.dport = proto == 6 || proto == 17 ? 443 : 0;
	return in;
}

/* The way back. */
static inline struct kinner kw_inner_back(int family, int proto, size_t payload)
{
	struct kinner in = kw_inner(family, proto, payload), back = in;

	memcpy(back.saddr, in.daddr, 16);
	memcpy(back.daddr, in.saddr, 16);
	if (proto == 6 || proto == 17) {
		back.sport = in.dport;
		back.dport = in.sport;
	}
	return back;
}

static inline struct ps_flow_key kw_key(const struct kinner *in, uint32_t peer)
{
	struct ps_flow_key key = {.peer = peer,
				  .family = (uint8_t)in->family,
				  .proto = (uint8_t)in->proto,
				  .sport = __builtin_bswap16(in->sport),
				  .dport = __builtin_bswap16(in->dport)};

	memcpy(key.saddr, in->saddr, in->family == 4 ? 4 : 16);
	memcpy(key.daddr, in->daddr, in->family == 4 ? 4 : 16);
	return key;
}

static inline void kw_flow(struct kworld *w, int map, const struct kinner *in, uint64_t expires_ns)
{
	struct ps_flow_key key = kw_key(in, map == w->k.flow_in ? KW_PEER : 0);
	struct ps_flow f = {.peer = KW_PEER,
			    .generation = w->k.peer[KW_PEER].generation,
			    .expires_ns = expires_ns};

	T_EQ(bpf_map_update_elem(map, &key, &f, BPF_ANY), 0);
}

/* The same entry, translated. */
static inline void kw_flow_nat(struct kworld *w, int map, const struct kinner *in,
			       const uint8_t *addr, __be16 port)
{
	struct ps_flow_key key = kw_key(in, map == w->k.flow_in ? KW_PEER : 0);
	struct ps_flow f = {.peer = KW_PEER,
			    .generation = w->k.peer[KW_PEER].generation,
			    .expires_ns = PS_NEVER,
			    .nat = 1,
			    .nat_port = port};

	memcpy(f.nat_addr, addr, in->family == 4 ? 4 : 16);
	T_EQ(bpf_map_update_elem(map, &key, &f, BPF_ANY), 0);
}

/* The same entry as the daemon makes it at that time for a new flow. */
static inline void kw_flow_warm(struct kworld *w, int map, const struct kinner *in, uint64_t at_ns)
{
	struct ps_flow_key key = kw_key(in, map == w->k.flow_in ? KW_PEER : 0);
	struct ps_flow f = {.peer = KW_PEER,
			    .generation = w->k.peer[KW_PEER].generation,
			    .expires_ns = PS_NEVER,
			    .last_ns = at_ns,
			    .bulk_until_ns = at_ns};

	T_EQ(bpf_map_update_elem(map, &key, &f, BPF_ANY), 0);
}

/* What user space had is the kernel's after a pause, however fast this machine is. */
static inline void kw_pause_passes(void)
{
	usleep(2 * PS_PAUSE_NS / 1000);
}

/* The same entry held for user space without an end, pauses or not. */
static inline void kw_flow_held(struct kworld *w, int map, const struct kinner *in)
{
	struct ps_flow_key key = kw_key(in, map == w->k.flow_in ? KW_PEER : 0);
	struct ps_flow f = {.peer = KW_PEER,
			    .generation = w->k.peer[KW_PEER].generation,
			    .expires_ns = PS_NEVER,
			    .bulk_until_ns = PS_NEVER};

	T_EQ(bpf_map_update_elem(map, &key, &f, BPF_ANY), 0);
}

static inline struct ps_channel_key kw_channel_key(int family)
{
	struct ps_channel_key key = {.family = (uint8_t)family,
				     .number = __builtin_bswap16(KW_CHANNEL),
				     .relay_port = __builtin_bswap16(KP_HIS_PORT),
				     .local_port = __builtin_bswap16(KP_OUR_PORT)};

	memcpy(key.relay, family == 4 ? kw_remote4 : kw_remote6, 16);
	return key;
}

static inline void kw_channel(struct kworld *w, int family, bool set)
{
	struct ps_channel_key key = kw_channel_key(family);
	struct ps_channel c = {.peer_family = 4};

	if (set)
		T_EQ(bpf_map_update_elem(w->k.channel, &key, &c, BPF_ANY), 0);
	else
		T_EQ(bpf_map_delete_elem(w->k.channel, &key), 0);
}

/* All tables back to: session confirmed, peer served by the kernel, no replay seen, flows of all
 * protocols in both families and directions, a channel known in both families, the path direct. */
static inline void kw_reset(struct kworld *w, int outer_family)
{
	static const int protos[2][3] = {{6, 17, 1}, {6, 17, 58}};
	struct ps_session *s = &w->k.session[KW_SLOT];
	struct ps_peer *p = &w->k.peer[KW_PEER];

	memset(w->k.session, 0, kern_sessions * sizeof(*s));
	memset(w->k.replay, 0, kern_sessions * sizeof(struct ps_replay));
	memset(w->k.peer, 0, kern_peers * sizeof(*p));
	*w->k.config = (struct ps_config){.abi = PS_ABI_VERSION,
					  .flags = PS_CFG_RX | PS_CFG_TX,
					  .port4 = __builtin_bswap16(KP_OUR_PORT),
					  .port6 = __builtin_bswap16(KP_OUR_PORT),
					  .slot_mask = kern_sessions - 1,
					  .tun_ifindex = KERN_LO,
					  .fwmark = 0x5053,
					  .bulk_hold_ns = 1000000000,
					  .drained_ns = PS_NEVER};
	s->local_idx = KW_LOCAL;
	s->remote_idx = KW_FAR;
	s->peer = KW_PEER;
	s->flags = PS_SESS_USED | PS_SESS_CONFIRMED;
	s->rx_until_ns = s->tx_until_ns = PS_NEVER;
	p->flags = PS_PEER_USED | PS_PEER_CHECK_SOURCE | PS_PEER_KERNEL;
	p->generation = 9;
	p->tx_slot = KW_SLOT;
	memcpy(p->tun4, kw_tun4, 4);
	memcpy(p->tun6, kw_tun6, 16);
	p->path_ifindex = KERN_LO;
	p->path_family = (uint8_t)outer_family;
	memcpy(p->path_local, outer_family == 4 ? kw_local4 : kw_local6, 16);
	memcpy(p->path_remote, outer_family == 4 ? kw_remote4 : kw_remote6, 16);
	p->path_local_port = __builtin_bswap16(KP_OUR_PORT);
	p->path_remote_port = __builtin_bswap16(KP_HIS_PORT);
	p->mtu = PS_INNER_MAX;
	T_EQ(kern_set_keys(&w->k, KW_SLOT, w->recv_key, w->send_key), 0);
	T_EQ(kern_set_alive(&w->k, KERN_LO), 0);
	kw_channel(w, 4, true);
	kw_channel(w, 6, true);
	for (int i = 0; i < 6; i++) {
		struct kinner in = kw_inner(i < 3 ? 4 : 6, protos[i / 3][i % 3], 0);
		struct kinner back = kw_inner_back(in.family, in.proto, 0);

		kw_flow(w, w->k.flow_in, &in, PS_NEVER);
		kw_flow(w, w->k.flow_out, &back, PS_NEVER);
	}
}

static inline bool kw_open(struct kworld *w, bool plain)
{
	uint64_t seed = t_seed() ^ 0x6b77;

	if (sodium_init() < 0)
		return T(!"libsodium");
	w->next_counter = 0;
	for (int i = 0; i < 32; i++) {
		w->recv_key[i] = (uint8_t)t_rand(&seed);
		w->send_key[i] = (uint8_t)t_rand(&seed);
	}
	if (!kern_ready(&w->k, plain, KP_ETH))
		return false;
	kw_reset(w, 4);
	return true;
}

/* Text as the peer would send it. */
static inline void kw_seal(struct kworld *w, struct kpkt *p, const struct kouter *o,
			   const uint8_t *text, size_t len)
{
	size_t n = kp_wg(p->b + kp_outer_len(o), KW_LOCAL, w->next_counter++, w->recv_key, text,
			 len);

	kp_outer(p, o, n);
}
#endif
