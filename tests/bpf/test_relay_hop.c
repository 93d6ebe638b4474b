/* SPDX-License-Identifier: Apache-2.0
 * Next hop `auto` of the relay's switch: the program against a model of its own and against the
 * planning function run natively, over random prefixes and destinations of both families; out of
 * which interface; and what the kernel's routes do with the rest. A test run comes from the
 * loopback device. */
#include "base/netset.h"
#include "plan/relay_way.h"
#include "tests/bpf/rworld.h"

#define LO 1

static struct rworld w;
static uint8_t frame[2048], expect[2048];
static const uint8_t text[64] = "penstock";
static const uint8_t router[6] = {0x02, 0x99, 1, 2, 3, 4}, ours[6] = {0x02, 0x98, 5, 6, 7, 8};

static struct bpf_relay_bind binding(int family)
{
	return (struct bpf_relay_bind){
		.client = rw_ep(family == 4 ? "198.51.100.10" : "2001:db8:c::10", 40000),
		.local = rw_ep(family == 4 ? "10.0.0.5" : "2001:db8::1", RW_LISTEN),
		.peer = rw_ep(family == 4 ? "203.0.113.20" : "2001:db8:f::20", 50000),
		.channel = 0x4000,
		.port = 50001,
	};
}

static struct bpf_relay_way way(int ifindex)
{
	struct bpf_relay_way y = {.ifindex = ifindex};

	memcpy(y.dst, router, sizeof(router));
	memcpy(y.src, ours, sizeof(ours));
	return y;
}

static void near_add(struct bpf_relay_way *y, const char *net)
{
	T_EQ(ipnet_parse(net, &y->near[y->near_len++]), 0);
}

/* The peer's packet that the client's becomes, or itself. */
static bool run(const struct bpf_relay_bind *b, enum ps_reason_id want, uint32_t action, int vlan)
{
	struct rw_dgram in = rw_dgram(b->client, b->local, b->channel, text, 40);
	const char *own = b->peer.ip.family == 4 ? "10.0.0.5" : "2001:db8::1";
	struct rw_dgram out = rw_relayed(&in, rw_ep(own, b->port), b->peer, 0);
	static struct rw_run r;
	size_t len;
	bool ok;

	in.vlan = out.vlan = vlan;
	memcpy(out.dmac, router, sizeof(router));
	memcpy(out.smac, ours, sizeof(ours));
	len = rw_frame(frame, &in);
	if (!rw_run(&w, frame, len, &r))
		return false;
	ok = T_EQ(r.id, want) & T_EQ(r.retval, action);
	if (action == XDP_PASS)
		ok &= T(r.len == len && !memcmp(r.out, frame, len));
	else
		ok &= T_EQ(r.len, rw_frame(expect, &out)) && T_MEM(r.out, expect, r.len);
	if (!ok)
		t_note("%s, not %s", rw_reason_name[r.id], rw_reason_name[want]);
	return ok;
}

static bool world_up(void)
{
	struct bpf_relay_cfg cfg = rw_cfg();

	cfg.hop = PS_TURN_HOP_AUTO;
	return rw_open(&w, &cfg) &&
	       T(rw_sh("sysctl -qw net.ipv4.conf.lo.forwarding=0 net.ipv6.conf.all.forwarding=0"));
}

static void one_family(int family)
{
	struct bpf_relay_way y = way(LO), none = {0};
	struct bpf_relay_bind b = binding(family);
	bool v4 = family == 4;

	if (!rw_bind(&w, &b))
		return;
	bpf_relay_way_set(w.relay, &none, &none);
	run(&b, PS_R_RXDP_NO_ROUTER, XDP_PASS, 0);
	T(bpf_relay_way_set(w.relay, v4 ? &y : &none, v4 ? &none : &y));
	T(!bpf_relay_way_set(w.relay, v4 ? &y : &none, v4 ? &none : &y));
	run(&b, PS_R_RXDP_TO_PEER, XDP_TX, 0);
	run(&b, PS_R_RXDP_NO_HOP, XDP_PASS, 1);
	bpf_relay_way_set(w.relay, v4 ? &none : &y, v4 ? &y : &none);
	run(&b, PS_R_RXDP_NO_ROUTER, XDP_PASS, 0);
	/* Seven others, and the last is it. */
	for (int i = 0; i < PS_TURN_NEAR_MAX - 1; i++)
		near_add(&y, v4 ? "10.0.0.0/24" : "2001:db8:1::/64");
	bpf_relay_way_set(w.relay, &y, &y);
	run(&b, PS_R_RXDP_TO_PEER, XDP_TX, 0);
	near_add(&y, v4 ? "203.0.113.20/32" : "2001:db8:f::20/128");
	bpf_relay_way_set(w.relay, &y, &y);
	run(&b, PS_R_RXDP_NEAR, XDP_PASS, 0);
	y.near_len = 0;
	near_add(&y, v4 ? "0.0.0.0/0" : "::/0");
	bpf_relay_way_set(w.relay, &y, &y);
	run(&b, PS_R_RXDP_NEAR, XDP_PASS, 0);
	y = way((int)if_nametoindex("psr0"));
	bpf_relay_way_set(w.relay, &y, &y);
	run(&b, PS_R_RXDP_TO_PEER, XDP_REDIRECT, 0);
	y = way((int)if_nametoindex("psr1")); /* which has no switch */
	bpf_relay_way_set(w.relay, &y, &y);
	run(&b, PS_R_RXDP_NO_HOP, XDP_PASS, 0);
	T_EQ(bpf_relay_bind_del(w.relay, &b), 0);
}

/* No router leads there, whatever the routes. */
static void never_routed(const char *peer)
{
	struct bpf_relay_bind b = binding(strchr(peer, ':') ? 6 : 4);
	struct bpf_relay_way y = way(LO);

	b.peer = rw_ep(peer, 50000);
	bpf_relay_way_set(w.relay, &y, &y);
	if (!rw_bind(&w, &b))
		return;
	run(&b, PS_R_RXDP_NEAR, XDP_PASS, 0);
	T_EQ(bpf_relay_bind_del(w.relay, &b), 0);
}

static void test_router(void)
{
	if (!world_up())
		return;
	T_STR(bpf_relay_info(w.relay)->hop, "auto");
	one_family(4);
	one_family(6);
	never_routed("127.0.0.1");
	never_routed("224.0.0.5");
	never_routed("::1");
	never_routed("ff02::1");
	never_routed("fe80::1");
	rw_close(&w);
}

/* ---- against the model --------------------------------------------------------------------------
 */

/* Addresses that share many bits, so that prefixes of all lengths meet some. */
static struct ipaddr random_ip(int family, uint64_t *seed)
{
	struct ipaddr ip = rw_ip(family == 4 ? "203.0.113.0" : "2001:db8::");

	for (int i = 0; i < 2; i++) {
		unsigned bit = (unsigned)(t_rand(seed) % (family == 4 ? 32 : 128));

		if (bit > 3)
			ip.b[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
	}
	return ip;
}

static struct ipnet random_net(int family, uint64_t *seed)
{
	struct ipnet net = {.ip = random_ip(family, seed)};

	net.len = (uint8_t)(t_rand(seed) % (family == 4 ? 33 : 129));
	for (unsigned i = net.len; i < 128; i++)
		net.ip.b[i / 8] &= (uint8_t)~(0x80 >> i % 8);
	return net;
}

static enum ps_reason_id native(const struct ps_turn_way *map, const struct bpf_relay_bind *b,
				const struct ps_turn_router **to)
{
	const struct ps_relay_pkt k = {.link_len = PS_ETH_HLEN};
	struct ps_turn_route out = {.family = b->peer.ip.family};

	memcpy(out.daddr, b->peer.ip.b, sizeof(out.daddr));
	return ps_relay_way(map, &k, &out, to);
}

static enum ps_reason_id model(const struct bpf_relay_way *y, const struct ipaddr *ip)
{
	for (size_t i = 0; i < y->near_len; i++)
		if (ipnet_contains(&y->near[i], ip))
			return PS_R_RXDP_NEAR;
	return PS_GO_ON;
}

static void round_random(int family, uint64_t *seed, unsigned seen[2])
{
	struct bpf_relay_bind b = binding(family);
	struct bpf_relay_way y = way(LO), other = way(0);
	const struct ps_turn_router *to = NULL;
	int fd = rw_pinned(&w, "ps_turn_way"), cfg_fd = rw_pinned(&w, "ps_turn_cfg");
	struct ps_turn_way map;
	struct ps_turn_cfg cfg;
	uint32_t key = 0;
	enum ps_reason_id want;

	b.peer.ip = random_ip(family, seed);
	y.near_len = t_rand(seed) % (PS_TURN_NEAR_MAX + 1);
	for (size_t i = 0; i < y.near_len; i++)
		y.near[i] = random_net(family, seed);
	bpf_relay_way_set(w.relay, family == 4 ? &y : &other, family == 4 ? &other : &y);
	T_EQ(bpf_map_lookup_elem(cfg_fd, &key, &cfg), 0);
	T_EQ(bpf_map_lookup_elem(fd, &cfg.way, &map), 0);
	want = model(&y, &b.peer.ip);
	T_EQ(native(&map, &b, &to), want);
	T(want != PS_GO_ON || (to && to->ifindex == LO && !memcmp(to->dst, router, 6)));
	w.next_index = 0;
	if (rw_bind(&w, &b)) {
		if (want == PS_GO_ON)
			run(&b, PS_R_RXDP_TO_PEER, XDP_TX, 0);
		else
			run(&b, want, XDP_PASS, 0);
		bpf_relay_bind_del(w.relay, &b);
	}
	seen[want == PS_GO_ON]++;
	close(fd);
	close(cfg_fd);
}

static void test_random(void)
{
	uint64_t seed = t_seed();
	unsigned seen[2] = {0};

	if (!world_up())
		return;
	for (int i = 0; i < 3000; i++)
		round_random(i & 1 ? 6 : 4, &seed, seen);
	t_note("behind the router %u, not behind it %u", seen[1], seen[0]);
	T(seen[0] > 300 && seen[1] > 300);
	rw_close(&w);
}

/* ---- with forwarding ----------------------------------------------------------------------------
 */

static void test_fib(void)
{
	struct bpf_relay_way y = way(LO), none = {0};
	struct bpf_relay_bind b[] = {binding(4), binding(6)};
	struct rw_dgram d;
	static struct rw_run r;

	if (!world_up())
		return;
	if (!T(rw_sh(
		    "ip link set psr1 up && ip link set psr0 address 02:77:00:00:00:0a && "
		    "ip link set psr0 up && " RW_CARRIER(
			    "psr0") " && "
				    "sysctl -qw net.ipv4.conf.lo.forwarding=1 "
				    "net.ipv6.conf.all.forwarding=1 && "
				    "ip addr add 10.78.0.9/24 dev psr0 && ip addr add fd78::9/64 "
				    "dev psr0 nodad && "
				    "ip neigh replace 10.78.0.1 lladdr 02:99:01:02:03:04 dev psr0 "
				    "&& "
				    "ip neigh replace fd78::1 lladdr 02:99:01:02:03:04 dev psr0 && "
				    "ip route add 203.0.113.0/24 via 10.78.0.1 && "
				    "ip route add 2001:db8:f::/48 via fd78::1")))
		return;
	for (int i = 0; i < 2; i++) {
		if (!rw_bind(&w, &b[i]))
			return;
		bpf_relay_way_set(w.relay, &none, &none);
		d = rw_dgram(b[i].client, b[i].local, b[i].channel, text, 40);
		if (rw_run(&w, frame, rw_frame(frame, &d), &r)) {
			T_EQ(r.id, PS_R_RXDP_TO_PEER);
			T_EQ(r.retval, XDP_REDIRECT);
			T_MEM(r.out, router, 6);
			T_MEM(r.out + 6, ((uint8_t[]){0x02, 0x77, 0, 0, 0, 0x0a}), 6);
		}
		/* What the router takes, routes are not asked for. */
		bpf_relay_way_set(w.relay, &y, &y);
		run(&b[i], PS_R_RXDP_TO_PEER, XDP_TX, 0);
	}
	/* Routes out of an interface without the switch are no way. */
	bpf_relay_way_set(w.relay, &none, &none);
	if (T(rw_sh("ip route del 203.0.113.0/24 && ip route del 2001:db8:f::/48 && " RW_ROUTES)))
		for (int i = 0; i < 2; i++)
			run(&b[i], PS_R_RXDP_NO_ROUTER, XDP_PASS, 0);
	rw_close(&w);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_router);
	T_RUN(test_random);
	T_RUN(test_fib);
	return t_done();
}
