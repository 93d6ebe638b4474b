/* SPDX-License-Identifier: Apache-2.0
 *
 * Maps and programs of the policy world's nodes; see pw_bpf.h. */
#include "tests/policy/pw_bpf.h"
#include "crypto/crypto.h"
#include "tests/bpf/kern.h"
#include "tests/bpf/kpkt.h"

enum { POOL = PW_NODES, OUTER4 = KP_ETH + 20 + 8 };

struct pw_bpf {
	struct kern k;
	bool loaded, taken;
};

static struct pw_bpf pool[POOL];

static void empty_map(int fd)
{
	struct ps_flow_key key;

	while (!bpf_map_get_next_key(fd, NULL, &key))
		bpf_map_delete_elem(fd, &key);
}

static void empty(struct kern *k)
{
	memset(k->session, 0, KERN_SESSIONS * sizeof(*k->session));
	memset(k->replay, 0, KERN_SESSIONS * sizeof(*k->replay));
	memset(k->peer, 0, KERN_PEERS * sizeof(*k->peer));
	empty_map(k->flow_in);
	empty_map(k->flow_out);
	for (uint32_t slot = 0; slot < KERN_SESSIONS; slot++)
		kern_set_keys(k, slot, NULL, NULL);
	*k->config = (struct ps_config){.abi = PS_ABI_VERSION,
					.flags = PS_CFG_RX | PS_CFG_TX,
					.port4 = __builtin_bswap16(KP_OUR_PORT),
					.slot_mask = KERN_SESSIONS - 1,
					.tun_ifindex = KERN_LO,
					.fwmark = 0x5053,
					.bulk_hold_ns = 1,
					.drained_ns = PS_NEVER};
}

struct pw_bpf *pw_bpf_open(char *why, size_t cap)
{
	struct pw_bpf *b = NULL;

	for (uint32_t i = 0; i < POOL; i++)
		if (!pool[i].taken && (!b || (pool[i].loaded && !b->loaded)))
			b = &pool[i];
	if (!b)
		return NULL;
	if (!b->loaded && kern_open(&b->k, kver_plain_only(), KP_ETH)) {
		snprintf(why, cap, "%s", b->k.why);
		return NULL;
	}
	b->loaded = b->taken = true;
	empty(&b->k);
	T_EQ(kern_set_alive(&b->k, KERN_LO), 0);
	return b;
}

void pw_bpf_close(struct pw_bpf *b)
{
	b->taken = false;
}

struct ps_session *pw_bpf_sessions(struct pw_bpf *b)
{
	return b->k.session;
}

struct ps_replay *pw_bpf_replays(struct pw_bpf *b)
{
	return b->k.replay;
}

struct ps_peer *pw_bpf_peers(struct pw_bpf *b)
{
	return b->k.peer;
}

int pw_bpf_key(struct pw_bpf *b, uint32_t slot, const uint8_t *recv, const uint8_t *send)
{
	return kern_set_keys(&b->k, slot, recv, send);
}

/* What is at that moment of the world is when on this machine? The past is the past. */
static uint64_t here(uint64_t at, uint64_t now)
{
	if (!at || at == PS_NEVER)
		return at;
	return at > now		       ? kern_now() + (at - now)
	       : now - at < kern_now() ? kern_now() - (now - at)
				       : 1;
}

void pw_bpf_flow(struct pw_bpf *b, enum bpf_dir dir, const struct ps_flow_key *key,
		 const struct ps_flow *f, uint64_t now)
{
	int map = dir == BPF_FLOW_IN ? b->k.flow_in : b->k.flow_out;
	struct ps_flow k;

	if (!f) {
		bpf_map_delete_elem(map, key);
		return;
	}
	k = *f;
	/* What is over is long over: the programs' clock may be a tick behind. */
	k.expires_ns = f->expires_ns <= now ? 1 : here(f->expires_ns, now);
	k.last_ns = here(f->last_ns, now);
	k.bulk_until_ns = here(f->bulk_until_ns, now);
	T_EQ(bpf_map_update_elem(map, key, &k, BPF_ANY), 0);
}

static size_t run(int prog, const void *in, size_t in_len, uint8_t *out, size_t cap)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in, .data_size_in = (uint32_t)in_len,
		    .data_out = out, .data_size_out = (uint32_t)cap, .repeat = 1);

	return T_EQ(bpf_prog_test_run_opts(prog, &o), 0) ? o.data_size_out : 0;
}

/* A counter nobody has used and nobody will. */
static uint64_t fresh_counter(struct pw_bpf *b, const struct pw_node *n, uint32_t slot,
			      uint32_t session)
{
	struct pw_node *peer = &n->w->node[n->conn[slot].peer];
	uint32_t back = pw_slot(n->w, peer->index, n->index);
	struct ps_session *s = back == TUNNEL_NO_SLOT
				       ? NULL
				       : fwd_session(&peer->d->fwd, peer->conn[back].idx);
	uint64_t counter = b->k.replay[session].top;

	if (s && s->tx_counter > counter)
		counter = s->tx_counter;
	if (s)
		s->tx_counter = counter + 1;
	return counter;
}

bool pw_bpf_in(struct pw_bpf *b, const struct pw_node *n, uint32_t slot, const struct pkt *p,
	       uint8_t *out, size_t *len)
{
	uint32_t idx = n->conn[slot].idx, session = fwd_slot(&n->d->fwd, idx);
	struct ps_session *s = &b->k.session[session];
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT};
	uint64_t before = s->rx_kernel_packets;
	uint8_t text[2048];
	struct kpkt frame;
	size_t got;

	if (!idx || s->local_idx != idx)
		return false;
	got = kp_wg(frame.b + kp_outer_len(&o), idx, fresh_counter(b, n, slot, session),
		    n->d->fwd.mem.keys[session].recv, p->b, p->len);
	kp_outer(&frame, &o, got);
	got = run(b->k.wan_rx, frame.b, frame.len, text, sizeof(text));
	if (s->rx_kernel_packets == before) {
		T(got == frame.len && !memcmp(text, frame.b, got)); /* passed on as it came */
		return false;
	}
	*len = got - sizeof(struct ps_meta) - KP_ETH;
	memcpy(out, text + sizeof(struct ps_meta) + KP_ETH, *len);
	return true;
}

static bool open_sealed(const struct pw_node *n, uint32_t session, const uint8_t *frame,
			size_t frame_len, uint8_t *out, size_t *len)
{
	const uint8_t *wg = frame + OUTER4;

	if (!T(frame_len > OUTER4 + FWD_DATA_OVERHEAD))
		return false;
	*len = frame_len - OUTER4 - FWD_DATA_OVERHEAD;
	return T_EQ(aead_open(out, n->d->fwd.mem.keys[session].send, le64_get(wg + 8), NULL, 0,
			      wg + FWD_DATA_HEADER, *len + AEAD_TAG),
		    0);
}

bool pw_bpf_out(struct pw_bpf *b, const struct pkt *p, uint32_t *slot, uint8_t *out, size_t *len,
		const struct pw_node *n)
{
	uint8_t in[2048] = {0}, frame[2048];
	uint64_t before[KERN_SESSIONS];
	size_t got;

	kp_be16(in + 12, p->m.family == 4 ? 0x0800 : 0x86dd);
	memcpy(in + KP_ETH, p->b, p->len);
	for (uint32_t i = 0; i < KERN_SESSIONS; i++)
		before[i] = b->k.session[i].tx_kernel_packets;
	got = run(b->k.tun_out, in, KP_ETH + p->len, frame, sizeof(frame));
	for (uint32_t i = 0; i < KERN_SESSIONS; i++)
		if (b->k.session[i].tx_kernel_packets != before[i]) {
			*slot = b->k.session[i].peer;
			return open_sealed(n, i, frame, got, out, len);
		}
	T(got == KP_ETH + p->len && !memcmp(frame, in, got));
	return false;
}
