/* SPDX-License-Identifier: Apache-2.0
 *
 * Which queue of the device a packet of the kernel's goes to: a small socket filter program that
 * the kernel runs in the sender's place before it queues a packet (TUNSETSTEERINGEBPF), after what
 * TC has at the device's egress. Written in instructions, so that it needs no object and no
 * compiler; tun_steer_queue below is the same in C, line by line.
 *
 * A flow is one queue, so its packets keep their order. What a flow is must be seen in each of its
 * packets: later fragments have no ports, so a fragment, and what has options or extension headers
 * before the ports, goes by its addresses alone, without even the protocol. The hash is not keyed:
 * whoever may send can heap flows on one queue, which harms no more than one long flow does. */
#include <arpa/inet.h>
#include <assert.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "base/bytes.h"
#include "codec/ip_packet.h"
#include "io/tun.h"

#ifndef TUNSETSTEERINGEBPF /* Linux 4.16 */
#define TUNSETSTEERINGEBPF _IOR('T', 224, int)
#endif

#define STEP	    0x9e3779b1u /* odd: loses nothing */
#define STEP_SHIFT  15
#define LAST	    0x85ebca6bu
#define LAST_SHIFT  13
#define V4_ADDR	    12
#define V4_FRAG	    6
#define V4_FRAGMENT 0x3fffu /* more fragments, and the offset */
#define V4_PROTO    9
#define V4_PORTS    20
#define V4_PLAIN    0x45 /* no options */
#define V6_ADDR	    8
#define V6_NEXT	    6
#define V6_PORTS    40
#define PORTS_LEN   4

/* ---- in C ---- */

static uint32_t mix(uint32_t h, uint32_t word)
{
	h = (h ^ word) * STEP;
	return h ^ h >> STEP_SHIFT;
}

/* Words as this machine reads them: the order of their bytes does not matter to a hash. */
static uint32_t mix_words(uint32_t h, const uint8_t *p, size_t words)
{
	uint32_t word;

	for (size_t i = 0; i < words; i++) {
		memcpy(&word, p + 4 * i, sizeof(word));
		h = mix(h, word);
	}
	return h;
}

static unsigned queue_of(uint32_t h, unsigned workers)
{
	h *= LAST;
	h ^= h >> LAST_SHIFT;
	h *= STEP;
	return 1 + (unsigned)((uint64_t)h * workers >> 32);
}

unsigned tun_steer_queue(const uint8_t *p, size_t len, unsigned workers)
{
	bool v4 = len && p[0] >> 4 == 4, ports;
	size_t at = v4 ? V4_PORTS : V6_PORTS;
	uint8_t proto;
	uint32_t h;

	if (!workers || len < at || (!v4 && p[0] >> 4 != 6))
		return 0;
	proto = p[v4 ? V4_PROTO : V6_NEXT];
	h = v4 ? mix_words(0, p + V4_ADDR, 2) : mix_words(0, p + V6_ADDR, 8);
	ports = len >= at + PORTS_LEN && (proto == IP_PROTO_TCP || proto == IP_PROTO_UDP);
	if (v4 && (p[0] != V4_PLAIN || be16_get(p + V4_FRAG) & V4_FRAGMENT))
		ports = false;
	return queue_of(ports ? mix_words(mix(h, proto), p + at, 1) : h, workers);
}

/* ---- in instructions ---- */

/* The packet's first bytes are copied to the stack, in one or two pieces: calls are what costs. */
#define VALUE	BPF_REG_0
#define TMP	BPF_REG_1
#define PACKET	BPF_REG_6
#define HASH	BPF_REG_7
#define PORTS	BPF_REG_8 /* 1: where ports would be is in the copy */
#define COPY	BPF_REG_10
#define COPY_AT (-48) /* from COPY: V6_PORTS + PORTS_LEN bytes, and some to be aligned */

#define CODE_MAX 192

struct code {
	struct bpf_insn at[CODE_MAX];
	size_t len;
};

static size_t put(struct code *c, int op, unsigned dst, unsigned src, int off, uint32_t imm)
{
	assert(c->len < CODE_MAX);
	c->at[c->len] = (struct bpf_insn){.code = (uint8_t)op,
					  .dst_reg = (uint8_t)(dst & 15),
					  .src_reg = (uint8_t)(src & 15),
					  .off = (int16_t)off,
					  .imm = (int32_t)imm};
	return c->len++;
}

/* Bytes from the packet to the copy. VALUE: 0, or not when the packet ends before. */
static void put_copy(struct code *c, uint32_t at, uint32_t len)
{
	put(c, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, PACKET, 0, 0);
	put(c, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, at);
	put(c, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, COPY, 0, 0);
	put(c, BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_3, 0, 0, at + (uint32_t)COPY_AT);
	put(c, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_4, 0, 0, len);
	put(c, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_load_bytes);
}

static void put_load(struct code *c, int size, int at)
{
	put(c, BPF_LDX | BPF_MEM | size, VALUE, COPY, COPY_AT + at, 0);
}

static void put_set(struct code *c, unsigned reg, uint32_t value)
{
	put(c, BPF_ALU64 | BPF_MOV | BPF_K, reg, 0, 0, value);
}

static size_t put_jump(struct code *c, int op, uint32_t value)
{
	return put(c, BPF_JMP | op | BPF_K, VALUE, 0, 0, value);
}

/* The jump at `from` goes to what comes next. */
static void land(struct code *c, size_t from)
{
	c->at[from].off = (int16_t)(c->len - from - 1);
}

static void put_fold(struct code *c, uint32_t shift)
{
	put(c, BPF_ALU | BPF_MOV | BPF_X, TMP, HASH, 0, 0);
	put(c, BPF_ALU | BPF_RSH | BPF_K, TMP, 0, 0, shift);
	put(c, BPF_ALU | BPF_XOR | BPF_X, HASH, TMP, 0, 0);
}

static void put_mix(struct code *c)
{
	put(c, BPF_ALU | BPF_XOR | BPF_X, HASH, VALUE, 0, 0);
	put(c, BPF_ALU | BPF_MUL | BPF_K, HASH, 0, 0, STEP);
	put_fold(c, STEP_SHIFT);
}

static void put_mix_words(struct code *c, int at, int words)
{
	for (int i = 0; i < words; i++) {
		put_load(c, BPF_W, at + 4 * i);
		put_mix(c);
	}
}

/* When the protocol is one with ports and they are there: it and they. */
static void put_ports(struct code *c, int proto_at, int at)
{
	size_t none, tcp, other;

	none = put(c, BPF_JMP | BPF_JEQ | BPF_K, PORTS, 0, 0, 0);
	put_load(c, BPF_B, proto_at);
	tcp = put_jump(c, BPF_JEQ, IP_PROTO_TCP);
	other = put_jump(c, BPF_JNE, IP_PROTO_UDP);
	land(c, tcp);
	put_mix(c);
	put_mix_words(c, at, 1);
	land(c, none);
	land(c, other);
}

static void put_queue(struct code *c, uint32_t workers)
{
	put(c, BPF_ALU | BPF_MUL | BPF_K, HASH, 0, 0, LAST);
	put_fold(c, LAST_SHIFT);
	put(c, BPF_ALU | BPF_MUL | BPF_K, HASH, 0, 0, STEP);
	put(c, BPF_ALU | BPF_MOV | BPF_X, VALUE, HASH, 0, 0); /* the upper half becomes 0 */
	put(c, BPF_ALU64 | BPF_MUL | BPF_K, VALUE, 0, 0, workers);
	put(c, BPF_ALU64 | BPF_RSH | BPF_K, VALUE, 0, 0, 32);
	put(c, BPF_ALU64 | BPF_ADD | BPF_K, VALUE, 0, 0, 1);
	put(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void put_zero(struct code *c)
{
	put_set(c, VALUE, 0);
	put(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* The copy from `at` to where the ports end, or, of a packet that ends before, to where they would
 * begin; of one even shorter the end of the program. */
static void put_copy_head(struct code *c, uint32_t at, uint32_t ports_at)
{
	size_t whole, head;

	put_set(c, PORTS, 1);
	put_copy(c, at, ports_at + PORTS_LEN - at);
	whole = put_jump(c, BPF_JEQ, 0);
	put_set(c, PORTS, 0);
	put_copy(c, at, ports_at - at);
	head = put_jump(c, BPF_JEQ, 0);
	put_zero(c);
	land(c, whole);
	land(c, head);
}

static void put_v4(struct code *c, uint32_t workers)
{
	size_t options, fragment;

	put_mix_words(c, V4_ADDR, 2);
	put_load(c, BPF_B, 0);
	options = put_jump(c, BPF_JNE, V4_PLAIN);
	put_load(c, BPF_H, V4_FRAG);
	fragment = put_jump(c, BPF_JSET, htons(V4_FRAGMENT));
	put_ports(c, V4_PROTO, V4_PORTS);
	land(c, options);
	land(c, fragment);
	put_queue(c, workers);
}

static void put_v6(struct code *c, uint32_t workers)
{
	put_copy_head(c, V4_PORTS + PORTS_LEN, V6_PORTS); /* the rest */
	put_mix_words(c, V6_ADDR, 8);
	put_ports(c, V6_NEXT, V6_PORTS);
	put_queue(c, workers);
}

static void compile(struct code *c, uint32_t workers)
{
	size_t v4, v6;

	put(c, BPF_ALU64 | BPF_MOV | BPF_X, PACKET, BPF_REG_1, 0, 0);
	put_set(c, HASH, 0);
	put_copy_head(c, 0, V4_PORTS);
	put_load(c, BPF_B, 0);
	put(c, BPF_ALU | BPF_RSH | BPF_K, VALUE, 0, 0, 4);
	v4 = put_jump(c, BPF_JEQ, 4);
	v6 = put_jump(c, BPF_JEQ, 6);
	put_zero(c);
	land(c, v4);
	put_v4(c, workers);
	land(c, v6);
	put_v6(c, workers);
}

/* ---- the device ---- */

static int attach(struct tun *first, int prog, struct io_err *err)
{
	if (ioctl(tun_fd(first), TUNSETSTEERINGEBPF, &prog) == 0)
		return 0;
	return io_fail(err, -errno, "tunnel device %s: steering of its queues is refused: %s",
		       tun_name(first), strerror(errno));
}

int tun_steer(struct tun *first, unsigned workers, struct io_err *err)
{
	struct code c = {.len = 0};
	int prog, rc;

	if (workers > TUN_WORKERS_MAX)
		return io_fail(err, -EINVAL, "%u workers: at most %u", workers, TUN_WORKERS_MAX);
	if (!tun_multi(first))
		return workers ? io_fail(err, -EOPNOTSUPP, "tunnel device %s has one queue",
					 tun_name(first))
			       : 0;
	if (workers)
		compile(&c, workers);
	else
		put_zero(&c);
	prog = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "ps_tun_steer", "Apache-2.0", c.at, c.len,
			     NULL);
	if (prog < 0)
		return io_fail(err, prog, "steering of the tunnel's queues: no BPF program: %s%s",
			       strerror(-prog), prog == -EPERM ? " (it needs CAP_BPF)" : "");
	rc = attach(first, prog, err);
	close(prog); /* the device holds it */
	return rc;
}
