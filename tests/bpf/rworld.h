/* SPDX-License-Identifier: Apache-2.0
 *
 * The relay's switch in a test's hands: opened by the loader in a network namespace of this
 * process, its program run by BPF_PROG_TEST_RUN; and frames built byte by byte, with checksums
 * summed over the whole packet. Nothing of include/plan is used to build or expect a frame. */
#ifndef PENSTOCK_TESTS_RWORLD_H
#define PENSTOCK_TESTS_RWORLD_H
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "io/bpf_relay.h"
#include "tests/t.h"

#define RW_LISTEN   3478
#define RW_BINDINGS 64
#define RW_MTU	    1500
/* Routes to the peers of the tests through another device, in the test's namespace. A test run
 * comes from the loopback device. */
/* A carrier is noticed a moment after its link is up, and until then routes over it are none. */
#define RW_CARRIER(dev)                             \
	"for i in $(seq 100); do ip link show " dev \
	" | grep -q 'state UP' && break; sleep 0.02; done"

#define RW_ROUTES                                                                          \
	"ip link add psr2 address 02:77:00:00:00:09 type veth peer name psr3 && "          \
	"ip link set psr3 up && "                                                          \
	"sysctl -qw net.ipv4.conf.lo.forwarding=1 net.ipv6.conf.all.forwarding=1 && "      \
	"ip link set psr2 mtu 1280 up && " RW_CARRIER(                                     \
		"psr2") " && "                                                             \
			"ip addr add 10.77.0.9/24 dev psr2 && "                            \
			"ip addr add fd77::9/64 dev psr2 nodad && "                        \
			"ip neigh replace 10.77.0.1 lladdr 02:77:00:00:00:01 dev psr2 && " \
			"ip neigh replace fd77::1 lladdr 02:77:00:00:00:01 dev psr2 && "   \
			"ip route add 203.0.113.0/24 via 10.77.0.1 && "                    \
			"ip route add 2001:db8:f::/48 via fd77::1"
/* The program's own reasons. */
#define RW_FIRST PS_R_RXDP_TO_PEER
#define RW_LAST	 PS_R_RXDP_ADJUST_FAILED

static const char *const rw_reason_name[PS_R_COUNT + 1] = {
#define RW_NAME(name, text, verdict, what) text,
	PS_REASONS(RW_NAME)
#undef RW_NAME
		"(none or several)",
};

struct rworld {
	struct bpf_relay *relay;
	struct bpf_relay_cfg cfg;
	char instance[32];
	int prog, reason; /* descriptors */
	int cpus;
	uint32_t next_index;
};

struct rw_run {
	uint32_t retval;
	uint8_t out[4096];
	size_t len;
	enum ps_reason_id id; /* the one reason counted, PS_R_COUNT: none or several */
};

static inline uint64_t rw_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline struct ipaddr rw_ip(const char *text)
{
	struct ipaddr ip = {0};

	T_EQ(ipaddr_parse(text, &ip), 0);
	return ip;
}

static inline struct endpoint rw_ep(const char *ip, uint16_t port)
{
	return (struct endpoint){.ip = rw_ip(ip), .port = port};
}

static inline bool rw_sh(const char *cmd)
{
	int rc = system(cmd); /* fixed strings only */

	if (rc)
		t_note("failed: %s", cmd);
	return rc == 0;
}

static inline int rw_pinned(const struct rworld *w, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), BPF_PIN_ROOT "/%s/%s", w->instance, name);
	return bpf_obj_get(path);
}

/* The relay of all tests. IPv4 is behind a NAT: known by another address. */
static inline struct bpf_relay_cfg rw_cfg(void)
{
	return (struct bpf_relay_cfg){
		.if_len = 1,
		.xdp_mode = BPF_XDP_AUTO,
		.force_single = true,
		.hop = PS_TURN_HOP_SWAP,
		.hop_mac = {0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee},
		.listen_port = RW_LISTEN,
		.mtu = RW_MTU,
		.own4 = rw_ip("10.0.0.5"),
		.own6 = rw_ip("2001:db8::1"),
		.public4 = rw_ip("192.0.2.1"),
		.bindings = RW_BINDINGS,
	};
}

/* Open with cfg (ifindex and instance are filled in). False: the running test is skipped or failed.
 */
static inline bool rw_open(struct rworld *w, const struct bpf_relay_cfg *cfg)
{
	static bool have_net;
	struct io_err err = {0};
	int rc;

	memset(w, 0, sizeof(*w));
	if (geteuid() != 0) {
		t_skip("needs root");
		return false;
	}
	/* The devices stay down: only our own frames are to be counted. */
	if (!have_net &&
	    (unshare(CLONE_NEWNET) ||
	     !rw_sh("ip link set lo up && ip link add psr0 type veth peer name psr1"))) {
		t_skip("cannot make a network namespace");
		return false;
	}
	have_net = true;
	snprintf(w->instance, sizeof(w->instance), "t-relay-%d", (int)getpid());
	w->cfg = *cfg;
	w->cfg.instance = w->instance;
	w->cfg.ifindex[0] = (int)if_nametoindex("psr0");
	rc = bpf_relay_open(&w->relay, &w->cfg, &err);
	if (rc == -EPERM || rc == -ENOSYS) {
		t_skip(err.msg);
		return false;
	}
	if (rc)
		t_note("%s", err.msg);
	w->prog = rc ? -1 : rw_pinned(w, "ps_relay");
	w->reason = rc ? -1 : rw_pinned(w, "ps_reason");
	w->cpus = libbpf_num_possible_cpus();
	if (!T_EQ(rc, 0) || !T(w->prog >= 0 && w->reason >= 0 && w->cpus > 0 && w->cpus <= 256))
		return false;
	bpf_relay_alive(w->relay, rw_now() + 600000000000u);
	return true;
}

static inline void rw_close(struct rworld *w)
{
	close(w->prog);
	close(w->reason);
	bpf_relay_close(w->relay);
	w->relay = NULL;
}

/* What the loader knows of who makes the frames, by another word. */
static inline void rw_flags(const struct rworld *w, uint8_t flags)
{
	int fd = rw_pinned(w, "ps_turn_cfg");
	struct ps_turn_cfg cfg;
	uint32_t zero = 0;

	if (T_EQ(bpf_map_lookup_elem(fd, &zero, &cfg), 0)) {
		cfg.flags = flags;
		T_EQ(bpf_map_update_elem(fd, &zero, &cfg, BPF_ANY), 0);
	}
	close(fd);
}

/* When user space was last passed a datagram of the direction that counts in `stat`; with set != 0,
 * it becomes that. */
static inline uint64_t rw_passed(const struct rworld *w, uint32_t stat, uint64_t set)
{
	int fd = rw_pinned(w, "ps_turn_stat");
	struct ps_turn_stat s = {0};

	T_EQ(bpf_map_lookup_elem(fd, &stat, &s), 0);
	if (set) {
		s.passed_ns = set;
		T_EQ(bpf_map_update_elem(fd, &stat, &s, BPF_ANY), 0);
	}
	close(fd);
	return s.passed_ns;
}

static inline bool rw_bind(struct rworld *w, struct bpf_relay_bind *b)
{
	b->index = w->next_index++;
	b->expires_ns = rw_now() + 600000000000u;
	bpf_relay_port_set(w->relay, b->port, true, true, false, false);
	return T_EQ(bpf_relay_bind_set(w->relay, b), 0);
}

/* Packets counted for a reason, all processors. */
static inline uint64_t rw_count(const struct rworld *w, enum ps_reason_id id)
{
	struct ps_reason_count per_cpu[256];
	uint32_t key = id;
	uint64_t sum = 0;

	if (!T_EQ(bpf_map_lookup_elem(w->reason, &key, per_cpu), 0))
		return 0;
	for (int c = 0; c < w->cpus; c++)
		sum += per_cpu[c].packets;
	return sum;
}

/* Run one frame. */
static inline bool rw_run(struct rworld *w, const uint8_t *frame, size_t len, struct rw_run *r)
{
	uint64_t before[PS_R_COUNT], changed = 0;
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = (uint32_t)len,
		    .data_out = r->out, .data_size_out = sizeof(r->out), .repeat = 1);

	for (int id = RW_FIRST; id <= RW_LAST; id++)
		before[id] = rw_count(w, (enum ps_reason_id)id);
	if (!T_EQ(bpf_prog_test_run_opts(w->prog, &o), 0))
		return false;
	r->retval = o.retval;
	r->len = o.data_size_out;
	r->id = PS_R_COUNT;
	for (int id = RW_FIRST; id <= RW_LAST; id++) {
		uint64_t more = rw_count(w, (enum ps_reason_id)id) - before[id];

		changed += more;
		if (more)
			r->id = (enum ps_reason_id)id;
	}
	if (changed != 1)
		r->id = PS_R_COUNT;
	return true;
}

/* ---- frames -------------------------------------------------------------------------------------
 */

/* A UDP datagram in a frame, in words of the wire. */
struct rw_dgram {
	uint8_t dmac[6], smac[6];
	int vlan; /* tags */
	struct endpoint from, to;
	uint8_t tos, ttl;
	uint16_t id, frag;
	uint16_t channel; /* 0: plain */
	const uint8_t *data;
	size_t len;
	size_t pad;	/* of ChannelData */
	size_t trailer; /* Ethernet padding */
	bool no_sum;
	bool unfinished; /* only the pseudo-header is summed, for a device to go on */
};

static inline void rw_be16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint32_t rw_sum(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static inline size_t rw_put_ip(uint8_t *p, const struct rw_dgram *d, size_t udp_len)
{
	if (d->from.ip.family == 4) {
		memset(p, 0, 20);
		p[0] = 0x45;
		p[1] = d->tos;
		rw_be16(p + 2, 20 + udp_len);
		rw_be16(p + 4, d->id);
		rw_be16(p + 6, d->frag);
		p[8] = d->ttl;
		p[9] = 17;
		memcpy(p + 12, d->from.ip.b, 4);
		memcpy(p + 16, d->to.ip.b, 4);
		rw_be16(p + 10, ~rw_sum(p, 20, 0) & 0xffff);
		return 20;
	}
	memset(p, 0, 40);
	p[0] = (uint8_t)(0x60 | d->tos >> 4);
	p[1] = (uint8_t)(d->tos << 4);
	rw_be16(p + 4, udp_len);
	p[6] = 17;
	p[7] = d->ttl;
	memcpy(p + 8, d->from.ip.b, 16);
	memcpy(p + 24, d->to.ip.b, 16);
	return 40;
}

static inline size_t rw_put_udp(uint8_t *p, const struct rw_dgram *d)
{
	size_t at = 8, len;
	uint32_t sum;

	if (d->channel) {
		rw_be16(p + 8, d->channel);
		rw_be16(p + 10, d->len);
		at += 4;
	}
	memcpy(p + at, d->data, d->len);
	for (size_t i = 0; i < d->pad; i++)
		p[at + d->len + i] = (uint8_t)(0xa1 + i);
	len = at + d->len + d->pad;
	rw_be16(p, d->from.port);
	rw_be16(p + 2, d->to.port);
	rw_be16(p + 4, len);
	rw_be16(p + 6, 0);
	sum = rw_sum(d->from.ip.b, 16, rw_sum(d->to.ip.b, 16, 17 + (uint32_t)len));
	if (d->unfinished) {
		rw_be16(p + 6, sum);
		return len;
	}
	sum = ~rw_sum(p, len, sum) & 0xffff;
	if (!d->no_sum)
		rw_be16(p + 6, sum ? sum : 0xffff);
	return len;
}

/* The frame's length. */
static inline size_t rw_frame(uint8_t *p, const struct rw_dgram *d)
{
	uint8_t *q = p + 12;
	size_t ip_len = d->from.ip.family == 4 ? 20 : 40, udp_len;

	memcpy(p, d->dmac, 6);
	memcpy(p + 6, d->smac, 6);
	for (int i = d->vlan; i > 0; i--, q += 4) {
		rw_be16(q, i == 2 ? 0x88a8 : 0x8100);
		rw_be16(q + 2, (size_t)(0x6000 + 100 * i));
	}
	rw_be16(q, d->from.ip.family == 4 ? 0x0800 : 0x86dd);
	q += 2;
	udp_len = rw_put_udp(q + ip_len, d);
	rw_put_ip(q, d, udp_len);
	q += ip_len + udp_len;
	memset(q, 0x5a, d->trailer);
	return (size_t)(q - p) + d->trailer;
}

/* The data chosen so that the finished checksum is the sum of the pseudo-header. */
static inline void rw_looks_unfinished(struct rw_dgram *d)
{
	static uint8_t data[1600];
	struct rw_dgram left = *d;
	uint8_t udp[2048];
	size_t len;
	uint32_t sum;

	memcpy(data, d->data, d->len);
	data[0] = data[1] = 0;
	d->data = left.data = data;
	left.unfinished = true;
	len = rw_put_udp(udp, &left);
	/* all of it, with the field as it is, and the pseudo-header must add up */
	sum = rw_sum(d->from.ip.b, 16, rw_sum(d->to.ip.b, 16, 17 + (uint32_t)len));
	rw_be16(data, ~rw_sum(udp, len, sum) & 0xffff);
	rw_put_udp(udp, d);
	T_EQ(udp[6] << 8 | udp[7], sum);
}

/* What reaches the relay. */
static inline struct rw_dgram rw_dgram(struct endpoint from, struct endpoint to, uint16_t channel,
				       const uint8_t *data, size_t len)
{
	return (struct rw_dgram){.dmac = {0x02, 1, 2, 3, 4, 5},
				 .smac = {0x02, 0x11, 0x12, 0x13, 0x14, 0x15},
				 .from = from,
				 .to = to,
				 .tos = 0xb9,
				 .ttl = 57,
				 .id = 0xbeef,
				 .channel = channel,
				 .data = data,
				 .len = len};
}

/* What it must become when it leaves to `to` from `from`. */
static inline struct rw_dgram rw_relayed(const struct rw_dgram *in, struct endpoint from,
					 struct endpoint to, uint16_t channel)
{
	struct rw_dgram out = *in;

	memcpy(out.dmac, in->smac, 6);
	memcpy(out.smac, in->dmac, 6);
	out.from = from;
	out.to = to;
	out.ttl--;
	out.channel = channel;
	out.pad = out.trailer = 0;
	if (in->from.ip.family != 4) {
		out.id = 0;
		out.frag = 0x4000;
	}
	return out;
}
#endif
