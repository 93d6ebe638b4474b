/* SPDX-License-Identifier: Apache-2.0
 *
 * As many flows as were asked for are there at once, a million of them as well: the kernel's LRU
 * map alone would forget some before it is full. One more than fits costs the flow that was used
 * longest ago its place, its next packet is user space's and counted, and user space puts it back.
 */
#include "io/bpf_load.h"
#include "tests/bpf/kworld.h"

#define MILLION 1000000u
#define CHUNK	4096u

static struct kworld w;

/* Flow i of many: another source port and destination. */
static struct kinner flow_of(uint32_t i)
{
	struct kinner in = kw_inner(4, 17, 36);

	in.sport = (uint16_t)(1024 + i % 50000);
	in.daddr[1] = (uint8_t)(100 + i / 50000);
	return in;
}

static void put(uint32_t from, uint32_t to)
{
	static struct ps_flow_key key[CHUNK];
	static struct ps_flow flow[CHUNK];

	while (from < to) {
		uint32_t n = to - from < CHUNK ? to - from : CHUNK;

		for (uint32_t i = 0; i < n; i++) {
			struct kinner in = flow_of(from + i);

			key[i] = kw_key(&in, KW_PEER);
			flow[i] = (struct ps_flow){.peer = KW_PEER,
						   .generation = w.k.peer[KW_PEER].generation,
						   .expires_ns = PS_NEVER};
		}
		if (!T_EQ(bpf_map_update_batch(w.k.flow_in, key, flow, &n, NULL), 0))
			return;
		from += n;
	}
}

static bool there(uint32_t i)
{
	struct kinner in = flow_of(i);
	struct ps_flow_key key = kw_key(&in, KW_PEER);
	struct ps_flow f;

	/* by a system call: unlike a packet it does not count as use */
	return !bpf_map_lookup_elem(w.k.flow_in, &key, &f);
}

static uint32_t missing(uint32_t n)
{
	uint32_t gone = 0;

	for (uint32_t i = 0; i < n; i++)
		gone += !there(i);
	return gone;
}

static enum ps_reason_id fate(uint32_t i)
{
	struct kinner in = flow_of(i);
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT};
	static struct kern_run r;
	struct kpkt p = {0};
	uint8_t text[256];

	kw_seal(&w, &p, &o, text, kp_inner(text, &in));
	return T_EQ(kern_run(&w.k, w.k.wan_rx, p.b, p.len, NULL, 0, &r), 0) ? r.id : PS_R_COUNT;
}

static bool open_for(uint32_t flows)
{
	kern_flows = bpf_flow_entries(flows);
	if (!kw_open(&w, false))
		return false;
	for (int i = 0; i < 6; i++) { /* the world's own */
		static const int protos[2][3] = {{6, 17, 1}, {6, 17, 58}};
		struct kinner in = kw_inner(i < 3 ? 4 : 6, protos[i / 3][i % 3], 0);
		struct ps_flow_key key = kw_key(&in, KW_PEER);

		T_EQ(bpf_map_delete_elem(w.k.flow_in, &key), 0);
	}
	return true;
}

static void holds(uint32_t flows)
{
	if (!open_for(flows))
		return;
	put(0, flows);
	T_EQ(missing(flows), 0);
	/* offered again, as user space does: nobody else's place is taken for it */
	put(flows / 2, flows);
	T_EQ(missing(flows), 0);
	kern_close(&w.k);
}

static void test_small(void)
{
	holds(64);
	holds(1000);
}

static void test_million(void)
{
	holds(MILLION);
}

/* Twice as many as there is room for: none is refused, the newer half is there, packets of what was
 * forgotten go to user space. */
static void test_overflow(void)
{
	enum { FLOWS = 8192 };
	uint32_t gone, old = 0;
	uint64_t count[PS_R_COUNT];

	if (!open_for(FLOWS))
		return;
	put(0, 2 * FLOWS);
	gone = missing(2 * FLOWS);
	T(gone >= 2 * FLOWS - kern_flows && gone <= FLOWS);
	T_EQ(fate(2 * FLOWS - 1), PS_R_XDP_DELIVERED);
	while (old < 2 * FLOWS && there(old))
		old++;
	if (T(old < 2 * FLOWS)) {
		kern_counts_clear(&w.k);
		T_EQ(fate(old), PS_R_XDP_NO_FLOW);
		kern_counts(&w.k, count);
		T_EQ(count[PS_R_XDP_NO_FLOW], 1);
		put(old, old + 1);
		T_EQ(fate(old), PS_R_XDP_DELIVERED);
	}
	kern_close(&w.k);
}

/* What packets use stays when others come and go. */
static void test_used_stay(void)
{
	enum { FLOWS = 8192, BUSY = 16 };
	uint32_t next = FLOWS;

	if (!open_for(FLOWS))
		return;
	put(0, FLOWS);
	for (int round = 0; round < 64; round++) {
		for (uint32_t i = 0; i < BUSY; i++)
			T_EQ(fate(i), PS_R_XDP_DELIVERED);
		put(next, next + 256);
		next += 256;
	}
	T_EQ(missing(BUSY), 0);
	kern_close(&w.k);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_small);
	T_RUN(test_million);
	T_RUN(test_overflow);
	T_RUN(test_used_stay);
	return t_done();
}
