/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * Steering by CPUMAP, for interfaces that receive on fewer processors than there are. It is an
 * entry in two stages around the steps of rx.bpf.h, which know nothing of it:
 *
 * - ps_wan_steer, XDP on the interface, where its queue is served, chooses a processor for a frame
 *   of WireGuard data by its path and redirects it there; everything else passes.
 * - ps_wan_cpu, XDP in that processor's cpumap thread, is what ps_wan_rx is elsewhere.
 *
 * A path is served by one processor, so its frames keep their order, those that go on to user space
 * from there among them. A frame that finds no room in a thread's queue is dropped by the kernel
 * without a program being asked: that many more were counted as steered than have another fate. */
#ifndef PENSTOCK_STEER_BPF_H
#define PENSTOCK_STEER_BPF_H
#include "account.bpf.h"
#include "maps.bpf.h"
#include "plan/steer.h"
#include "rx.bpf.h"

/* The processors' threads, by the processor's number; the daemon makes the entries. */
struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, PS_DEF_CPUS);
	__type(key, __u32);
	__type(value, struct bpf_cpumap_val);
} ps_cpu SEC(".maps");

/* Which processor serves the paths of each slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PS_STEER_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} ps_steer SEC(".maps");

static __always_inline enum ps_reason_id steer_to(__u32 cpu, int *action)
{
	*action = (int)bpf_redirect_map(&ps_cpu, cpu, XDP_PASS);
	return *action == XDP_REDIRECT ? PS_R_XDP_STEERED : PS_R_XDP_NO_CPU;
}

/* The first stage; *action is what the program returns. */
static __always_inline enum ps_reason_id steer_packet(struct xdp_md *ctx, int *action)
{
	struct ps_outer o = {0};
	struct ps_config *cfg;
	enum ps_reason_id id;
	__u32 tun, slot, *cpu;

	*action = XDP_PASS;
	id = rx_outer(ctx, &cfg, &tun, &o);
	if (id != PS_GO_ON)
		return id;
	slot = ps_steer_slot((const __u8 *)(long)ctx->data, (const __u8 *)(long)ctx->data_end, &o);
	cpu = bpf_map_lookup_elem(&ps_steer, &slot);
	return cpu ? steer_to(*cpu, action) : PS_R_XDP_NO_CPU;
}

/* ---- busy paths only ----------------------------------------------------------------------------
 *
 * ps_wan_busy is ps_wan_rx but for paths that bring more than one processor has time for beside
 * what makes their packets: those it hands on, as ps_wan_steer does. What is sparse is decrypted
 * where it arrives, without a thread to wake. plan/steer.h says when a path changes. */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PS_STEER_SLOTS);
	__type(key, __u32);
	__type(value, struct ps_busy);
} ps_busy SEC(".maps");

/* The processor that is to have the slot's frames: not this one. */
static __always_inline __u32 steer_other(__u32 slot)
{
	__u32 here = bpf_get_smp_processor_id();
	__u32 next = (slot + 1) & (PS_STEER_SLOTS - 1);
	__u32 *cpu = bpf_map_lookup_elem(&ps_steer, &slot);

	if (cpu && *cpu == here)
		cpu = bpf_map_lookup_elem(&ps_steer, &next);
	return cpu ? *cpu : here;
}

/* PS_GO_ON: it is decrypted here. *b: what is known of its path. */
static __always_inline enum ps_reason_id steer_busy(struct xdp_md *ctx, const struct rx *r,
						    struct ps_busy **b, int *action)
{
	__u32 slot = ps_steer_slot((const __u8 *)(long)ctx->data, (const __u8 *)(long)ctx->data_end,
				   &r->outer);
	__u32 to;

	*b = bpf_map_lookup_elem(&ps_busy, &slot);
	if (!*b)
		return PS_GO_ON;
	to = ps_busy_to(*b, bpf_ktime_get_ns(), steer_other(slot));
	return to ? steer_to(to - 1, action) : PS_GO_ON;
}

/* Where it was handed to. */
static __always_inline struct ps_busy *steer_begun(struct xdp_md *ctx, const struct rx *r)
{
	__u32 slot = ps_steer_slot((const __u8 *)(long)ctx->data, (const __u8 *)(long)ctx->data_end,
				   &r->outer);
	struct ps_busy *b = bpf_map_lookup_elem(&ps_busy, &slot);

	if (b)
		PS_WRITE_ONCE(b->done, b->done + 1);
	return b;
}

static __always_inline enum ps_reason_id steer_rest(struct xdp_md *ctx, struct rx *r,
						    const struct ps_config *cfg, struct ps_busy *b)
{
	enum ps_reason_id id = rx_rest(ctx, r, cfg);

	if (b && id != PS_R_XDP_DELIVERED)
		ps_busy_passed(b);
	return id;
}

/* ---- checksums that nobody has finished
 * ----------------------------------------------------------
 *
 * On a veth the sender's stack leaves the UDP checksum to a device that is none, and the mark that
 * says so stays with the sender's skb when the frame is redirected. In the kernel's path nobody
 * asks; a socket of ours would throw the datagram away. Generic XDP redirects the skb, mark and
 * all. */

#define STEER_CHUNK 512 /* what bpf_csum_diff takes at once everywhere */

/* Sum of len bytes from off, with the scratch buffer for a window on them. 0: cannot be read. */
static __always_inline int steer_sum(struct xdp_md *ctx, __u8 *buf, __u32 off, __u32 len,
				     __u64 *sum)
{
	for (int i = 0; i < PS_STEER_SUM_MAX / STEER_CHUNK && len; i++) {
		__u64 n = len < STEER_CHUNK ? len : STEER_CHUNK;

		CLAMP(n, STEER_CHUNK);
		/* what fills up the last word; whole chunks write over it */
		PS_WRITE_ONCE(*(__u32 *)(buf + (n & (STEER_CHUNK - 4))), 0);
		if (bpf_xdp_load_bytes(ctx, off, buf, (__u32)n))
			return 0;
		*sum += (__u32)bpf_csum_diff(0, 0, (__be32 *)buf,
					     (__u32)(n + 3) & (2 * STEER_CHUNK - 4), 0);
		off += (__u32)n;
		len -= (__u32)n;
	}
	return !len;
}

/* The frame is passed on: give it the checksum it lacks. What cannot be finished stays as it is.
 * Not inlined: judged by the verifier once, not for every way that leads here. */
__attribute__((noinline)) int steer_finish_sum(struct xdp_md *ctx)
{
	const __u8 *data = (const __u8 *)(long)ctx->data;
	const __u8 *end = (const __u8 *)(long)ctx->data_end;
	const struct ps_config *cfg = config_get();
	__u32 which = PS_SCRATCH_RX, at = 0, len = 0;
	struct ps_scratch *scratch = bpf_map_lookup_elem(&ps_scratch, &which);
	enum ps_steer_sum kind;
	__u64 sum = 0;
	__u16 check = 0;

	if (!cfg || (cfg->flags & PS_CFG_GENERIC) || !scratch)
		return 0;
	kind = ps_steer_unfinished(data, end, &at, &len);
	if (kind == PS_STEER_SUM_DONE)
		return 0;
	if (kind == PS_STEER_SUM_6) {
		/* The bare sum of the pseudo header is in its place already. */
		if (!steer_sum(ctx, scratch->buf, at, len, &sum))
			return 0;
		check = (__u16)~ps_csum_fold(sum);
		check = check ? check : 0xffff;
	}
	return (int)bpf_xdp_store_bytes(ctx, at + PS_UDP_CSUM, &check, sizeof(check));
}
#endif
