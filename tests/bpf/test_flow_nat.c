/* SPDX-License-Identifier: Apache-2.0
 * The daemon's side of translated flows with the real maps: what a grant's translation becomes in
 * ps_flow_in and ps_flow_out, that it follows the session when that changes, that sessions live on
 * what the kernel carried, and that the kernel's flows go with their session before anybody else is
 * given its port. In a network namespace of this process. */
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include "apps/daemon/daemon.h"
#include "tests/bpf/kver.h"
#include "tests/nat_world.h"

#define SLOT  3
#define PEERS 8
#define FLOWS 1024

static struct daemon d;
static struct nat_world w;
static struct tun *tun;
static struct ipaddr tun4, proxy, other, real, real_b;

static bool up(void)
{
	static struct ps_peer peers[PEERS];
	struct bpf_load_cfg cfg = {.instance = "flow-nat",
				   .xdp_mode = BPF_XDP_OFF,
				   .sessions = 16,
				   .peers = PEERS,
				   .flows = FLOWS,
				   .channels = 8};
	struct io_err err = {0};

	if (geteuid() != 0 || unshare(CLONE_NEWNET) || system("ip link set lo up")) {
		t_skip("needs root and network namespaces");
		return false;
	}
	if (tun_open(&tun, &(struct tun_cfg){.name = "tun-flow-nat"}, &err)) {
		t_skip("no tunnel device here");
		return false;
	}
	memset(&d, 0, sizeof(d));
	cfg.tun_ifindex = tun_ifindex(tun);
	cfg.wan_ifindex[0] = (int)if_nametoindex("lo");
	cfg.wan_len = 1;
	if (!T_EQ(bpf_load_open(&d.bpf, &cfg, &err), 0)) {
		t_note("%s", err.msg);
		return false;
	}
	nw_open(&w,
		&(struct nat_sizes){.clients = PEERS, .mappings = 8, .sessions = 16, .tombs = 16});
	memset(peers, 0, sizeof(peers));
	peers[SLOT].flags = PS_PEER_USED | PS_PEER_KERNEL;
	peers[SLOT].generation = 5;
	d.fwd.mem.peer = peers;
	d.fwd.mem.n_peers = PEERS;
	d.memo = nw_alloc(FLOW_MEMO_CAP, sizeof(*d.memo));
	d.nat = &w.n;
	tun4 = pkt_ip("100.64.0.9");
	proxy = pkt_ip("100.96.0.1");
	other = pkt_ip("100.96.0.2");
	real = pkt_ip("10.1.0.5");
	real_b = pkt_ip("10.1.0.6");
	T_EQ(nat_translate_set(&w.n, SLOT, &proxy, &real, 7, 70, w.now), 0);
	T_EQ(nat_translate_set(&w.n, SLOT, &other, &real, 7, 71, w.now), 0);
	return true;
}

static void down(void)
{
	bpf_load_close(d.bpf);
	tun_close(tun);
	free(d.memo);
	nw_close(&w);
}

static struct ps_flow_key key_of(bool in, const struct ip_meta *m)
{
	struct ps_flow_key k = {.peer = in ? SLOT : 0,
				.family = m->family,
				.proto = m->proto,
				.sport = ps_be16(m->sport),
				.dport = ps_be16(m->dport)};

	memcpy(k.saddr, m->src.b, 16);
	memcpy(k.daddr, m->dst.b, 16);
	return k;
}

static struct tunnel_flow_grant grant_of(const struct nat_hit *hit)
{
	return (struct tunnel_flow_grant){.expires_at = TUNNEL_NEVER_EXPIRES,
					  .slot = SLOT,
					  .resource = hit->resource,
					  .allowed = true,
					  .cacheable = true,
					  .nat = hit->nat};
}

static bool flow_is(bool in, const struct ip_meta *m, const struct ipaddr *addr, uint16_t port)
{
	struct ps_flow_key k = key_of(in, m);
	struct ps_flow f;

	return T_EQ(bpf_flow_get(d.bpf, in ? BPF_FLOW_IN : BPF_FLOW_OUT, &k, &f), 0) &&
	       T_EQ(f.nat, 1) & T_EQ(ps_host16(f.nat_port), port) & T_MEM(f.nat_addr, addr->b, 16) &
		       T_EQ(f.generation, 5);
}

static bool flow_gone(bool in, const struct ip_meta *m)
{
	struct ps_flow_key k = key_of(in, m);
	struct ps_flow f;

	return T_EQ(bpf_flow_get(d.bpf, in ? BPF_FLOW_IN : BPF_FLOW_OUT, &k, &f), -ENOENT);
}

/* What rx_inner and tx_packet do with a packet that policy lets through. */
static struct nat_hit to_resource(const struct ip_meta *m)
{
	struct tunnel_flow_grant g;
	struct nat_hit hit = {0};

	T_EQ(nat_out(d.nat, SLOT, m, &hit, w.now), NAT_OUT_OK);
	g = grant_of(&hit);
	flow_carried(&d, BPF_FLOW_IN, SLOT, m, &g, 1, m->total_len, w.now);
	return hit;
}

static struct nat_hit from_resource(const struct ip_meta *m)
{
	struct tunnel_flow_grant g;
	struct nat_hit hit = {0};

	T_EQ(nat_in(d.nat, SLOT, m, &hit, w.now), NAT_IN_OK);
	g = grant_of(&hit);
	flow_carried(&d, BPF_FLOW_OUT, SLOT, m, &g, 1, m->total_len, w.now);
	return hit;
}

/* The kernel carries a packet of the flow. */
static void kernel_carries(bool in, const struct ip_meta *m, uint64_t at)
{
	enum bpf_dir dir = in ? BPF_FLOW_IN : BPF_FLOW_OUT;
	struct ps_flow_key k = key_of(in, m);
	struct ps_flow f;

	if (!T_EQ(bpf_flow_get(d.bpf, dir, &k, &f), 0))
		return;
	f.last_ns = at;
	f.packets++;
	T_EQ(bpf_flow_put(d.bpf, dir, &k, &f), 0);
}

static void seconds(uint32_t n)
{
	while (n--) {
		w.now += NS_PER_SEC;
		flow_nat_tick(&d, w.now);
	}
}

static void test_offered(void)
{
	struct ip_meta out, second, back, direct;
	struct tunnel_flow_grant plain;
	struct ps_flow_key k;
	struct nat_hit hit;
	struct ps_flow f;

	if (!up())
		return;
	out = nw_meta(&tun4, &proxy, IP_PROTO_UDP, 1000, 53);
	second = nw_meta(&tun4, &other, IP_PROTO_UDP, 1000, 53);
	hit = to_resource(&out);
	flow_is(true, &out, &real, 1000);
	hit = to_resource(&second);
	flow_is(true, &second, &real, 1001);
	back = nw_meta(&real, &tun4, IP_PROTO_UDP, 53, hit.nat.port);
	from_resource(&back);
	flow_is(false, &back, &other, 1000);
	/* A flow that is not translated is not touched by any of it. */
	hit = (struct nat_hit){0};
	plain = grant_of(&hit);
	direct = nw_meta(&tun4, &real_b, IP_PROTO_UDP, 1000, 53);
	k = key_of(true, &direct);
	flow_carried(&d, BPF_FLOW_IN, SLOT, &direct, &plain, 1, direct.total_len, w.now);
	seconds(200);
	T_EQ(bpf_flow_get(d.bpf, BPF_FLOW_IN, &k, &f), 0);
	T_EQ(f.nat, 0);
	T_EQ(w.n.session_count, 0);
	flow_gone(true, &out);
	flow_gone(true, &second);
	flow_gone(false, &back);
	down();
}

static void test_kept_alive(void)
{
	struct ip_meta out, back;

	if (!up())
		return;
	out = nw_meta(&tun4, &proxy, IP_PROTO_UDP, 1000, 53);
	back = nw_meta(&real, &tun4, IP_PROTO_UDP, 53, 1000);
	to_resource(&out);
	from_resource(&back);
	for (int i = 0; i < 10; i++) { /* now one direction, now the other */
		seconds(110);
		kernel_carries(i & 1, i & 1 ? &out : &back, w.now);
		seconds(9);
		T_EQ(w.n.session_count, 1);
	}
	flow_is(true, &out, &real, 1000);
	seconds(112);
	T_EQ(w.n.session_count, 0);
	flow_gone(true, &out);
	flow_gone(false, &back);
	down();
}

/* A connection is over and its port used again while the name has moved: the entry follows at once,
 * the old one's way back is gone before another session gets its port. */
static void test_follows(void)
{
	struct ip_meta out, back, next;
	struct nat_hit hit;

	if (!up())
		return;
	out = nw_meta(&tun4, &proxy, IP_PROTO_TCP, 1000, 443);
	back = nw_meta(&real, &tun4, IP_PROTO_TCP, 443, 1000);
	to_resource(&out);
	from_resource(&back);
	back.tcp_flags = IP_TCP_RST;
	from_resource(&back);
	T_EQ(nat_translate_set(&w.n, SLOT, &proxy, &real_b, 7, 70, w.now), 0);
	out.tcp_flags = IP_TCP_SYN;
	to_resource(&out);
	flow_is(true, &out, &real_b, 1000);
	flow_is(false, &back, &proxy, 1000); /* still there */
	next = nw_meta(&tun4, &other, IP_PROTO_TCP, 1000, 443);
	hit = to_resource(&next);
	T_EQ(hit.nat.port, 1001); /* so the port is nobody's yet */
	seconds(1);
	flow_gone(false, &back);
	next.sport = 2000;
	to_resource(&next);
	next.sport = 1000;
	T_EQ(nat_translate_set(&w.n, SLOT, &other, &real, 7, 72, w.now), 1);
	seconds(1);
	flow_gone(true, &next);
	hit = to_resource(&next);
	T_EQ(hit.nat.port, 1000);
	flow_is(true, &next, &real, 1000);
	down();
}

/* The address and port a translation gets may have been those of traffic with the address itself:
 * what comes back is the translation's from now on, also in the kernel. */
static void test_takes_over(void)
{
	struct ip_meta out, back, other_port;
	struct tunnel_flow_grant plain;
	struct nat_hit none = {0};
	struct ps_flow_key k;
	struct ps_flow f;

	if (!up())
		return;
	plain = grant_of(&none);
	back = nw_meta(&real, &tun4, IP_PROTO_UDP, 53, 1000);
	other_port = nw_meta(&real, &tun4, IP_PROTO_UDP, 54, 1000);
	flow_carried(&d, BPF_FLOW_OUT, SLOT, &back, &plain, 1, back.total_len, w.now);
	flow_carried(&d, BPF_FLOW_OUT, SLOT, &other_port, &plain, 1, other_port.total_len, w.now);
	out = nw_meta(&tun4, &proxy, IP_PROTO_UDP, 1000, 53);
	to_resource(&out);
	flow_is(true, &out, &real, 1000);
	flow_gone(false, &back);
	k = key_of(false, &other_port);
	T_EQ(bpf_flow_get(d.bpf, BPF_FLOW_OUT, &k, &f), 0);
	from_resource(&back);
	flow_is(false, &back, &proxy, 1000);
	to_resource(&out);
	flow_is(false, &back, &proxy, 1000); /* its own stays */
	down();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_offered);
	T_RUN(test_kept_alive);
	T_RUN(test_follows);
	T_RUN(test_takes_over);
	return t_done();
}
