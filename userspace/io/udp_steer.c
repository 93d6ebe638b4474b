/* SPDX-License-Identifier: Apache-2.0
 *
 * Which member of a group of sockets gets a datagram: the classic BPF program that the kernel runs,
 * and the same decision in C for tests. The contract is in udp.h.
 *
 *     payload                                   member
 *     04 00 00 00 …             data message            1 + hash(source address, source port)
 *     4x..7x … 04 00 00 00 …    one in a TURN channel       % workers
 *     anything else, or shorter                         0
 *
 * The channel's number is no part of the hash, so what comes by one relay is one worker's. The
 * kernel joins datagrams of one address and port whatever their channels, and a train goes where
 * its first one belongs: channels that were spread would be at several workers at a time, out of
 * order.
 *
 * Not here: whether any of it is true. Whoever forges a data message reaches a worker with it,
 * which believes nothing of it either.
 *
 * The program sees the UDP payload at offset 0 and the IP header at SKF_NET_OFF; a load from beyond
 * the packet ends it with 0. A group holds sockets of one family, so each family has its program.
 * Ports are looked for right behind the shortest IP header: behind options or extension headers the
 * bytes are others, as good as any for a hash. The hash has no secret: it spreads the load of those
 * who do not mind, and who wants to meet others on one worker needs but to send them more. */
#include <errno.h>
#include <linux/filter.h>
#include <string.h>
#include "base/bytes.h"
#include "io/udp_internal.h"

#define DATA_MESSAGE 0x04000000u /* the first four bytes: type 4, reserved zeros */
#define CHANNEL_BITS 1u		 /* the first two bits of 0x40..0x7f */
#define MIX_FACTOR   0x9e3779b1u /* a prime near 2^32 / golden ratio: neighbours part evenly */
#define WORKERS_MAX  65535u	 /* what a group may hold, and 16 bits of hash can choose among */

#define CODE_MAX 64 /* the longest, of IPv6, has 51 */

struct code {
	struct sock_filter at[CODE_MAX];
	unsigned short n;
};

struct family {
	unsigned src_off, src_words, port_off; /* in the IP header */
};

static const struct family families[2] = {{12, 1, 20}, {8, 4, 40}};

static void emit(struct code *c, unsigned op, uint32_t k)
{
	c->at[c->n++] = (struct sock_filter){.code = (uint16_t)op, .k = k};
}

/* Leaves 0 in X; other messages end here. */
static void emit_classify(struct code *c)
{
	static const struct sock_filter classify[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DATA_MESSAGE, 5, 0), /* data */
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 30),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CHANNEL_BITS, 0, 2), /* other */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DATA_MESSAGE, 1, 0), /* data */
		/* other: */
		BPF_STMT(BPF_RET | BPF_K, 0),
		/* data: */
		BPF_STMT(BPF_LD | BPF_IMM, 0),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
	};

	memcpy(c->at, classify, sizeof(classify));
	c->n = sizeof(classify) / sizeof(classify[0]);
}

static uint32_t mix(uint32_t hash, uint32_t word)
{
	hash = (hash ^ word) * MIX_FACTOR;
	return hash ^ hash >> 16;
}

/* mix: hash in X, and in A afterwards, word in A */
static void emit_mix(struct code *c)
{
	emit(c, BPF_ALU | BPF_XOR | BPF_X, 0);
	emit(c, BPF_ALU | BPF_MUL | BPF_K, MIX_FACTOR);
	emit(c, BPF_MISC | BPF_TAX, 0);
	emit(c, BPF_ALU | BPF_RSH | BPF_K, 16);
	emit(c, BPF_ALU | BPF_XOR | BPF_X, 0);
	emit(c, BPF_MISC | BPF_TAX, 0);
}

static unsigned member_of(uint32_t hash, unsigned workers)
{
	return 1 + ((hash >> 16) * workers >> 16);
}

static void emit_member_of(struct code *c, unsigned workers)
{
	emit(c, BPF_ALU | BPF_RSH | BPF_K, 16);
	emit(c, BPF_ALU | BPF_MUL | BPF_K, workers);
	emit(c, BPF_ALU | BPF_RSH | BPF_K, 16);
	emit(c, BPF_ALU | BPF_ADD | BPF_K, 1);
	emit(c, BPF_RET | BPF_A, 0);
}

static void program(struct code *c, const struct family *f, unsigned workers)
{
	*c = (struct code){0};
	if (!workers) {
		emit(c, BPF_RET | BPF_K, 0);
		return;
	}
	emit_classify(c);
	for (unsigned i = 0; i < f->src_words; i++) {
		emit(c, BPF_LD | BPF_W | BPF_ABS, (uint32_t)SKF_NET_OFF + f->src_off + 4 * i);
		emit_mix(c);
	}
	emit(c, BPF_LD | BPF_H | BPF_ABS, (uint32_t)SKF_NET_OFF + f->port_off);
	emit_mix(c);
	emit_member_of(c, workers);
}

static int steer_family(const struct udp_sock *s, unsigned workers)
{
	struct code c;
	struct sock_fprog prog = {.filter = c.at};

	program(&c, &families[s->family == 6], workers);
	prog.len = c.n;
	if (setsockopt(s->fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &prog, sizeof(prog)) == 0)
		return 0;
	/* alone, without a group: what would be steered to it comes to it */
	return errno == EINVAL && !workers ? 0 : -errno;
}

int udp_steer(struct udp *first, unsigned workers, struct io_err *err)
{
	if (workers > WORKERS_MAX)
		return io_fail(err, -EINVAL, "%u workers are more than %u", workers, WORKERS_MAX);
	for (int i = 0; i < 2; i++) {
		const struct udp_sock *s = &first->s[i];
		int rc = s->fd < 0 ? 0 : steer_family(s, workers);

		if (rc < 0)
			return io_fail(err, rc,
				       "cannot steer UDP port %u (IPv%d) to %u workers: %s",
				       s->port, s->family, workers, strerror(-rc));
	}
	return 0;
}

unsigned udp_steer_member(const uint8_t *ip_packet, size_t len, unsigned workers)
{
	bool v6 = len && ip_packet[0] >> 4 == 6;
	const struct family *f = &families[v6];
	size_t at = v6 ? 48 : len ? (ip_packet[0] & 15u) * 4 + 8 : 0;
	const uint8_t *payload = ip_packet + at;
	uint32_t hash = 0;

	if (!workers || len < f->port_off + 8 || len < at + 4)
		return 0;
	if (be32_get(payload) != DATA_MESSAGE) {
		if (payload[0] >> 6 != CHANNEL_BITS || len < at + 8 ||
		    be32_get(payload + 4) != DATA_MESSAGE)
			return 0;
	}
	for (unsigned i = 0; i < f->src_words; i++)
		hash = mix(hash, be32_get(ip_packet + f->src_off + 4 * i));
	return member_of(mix(hash, be16_get(ip_packet + f->port_off)), workers);
}
