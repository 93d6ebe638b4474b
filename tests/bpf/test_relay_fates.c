/* SPDX-License-Identifier: Apache-2.0
 * Every fate the relay's switch can give a packet, by name, and that a packet which is not switched
 * stays as it came; the tables seen from the loader: refresh, expiry, full, liveness. */
#include "plan/relay.h"
#include "plan/verdict.h"
#include "tests/bpf/rworld.h"

#define PORT	50001
#define TICK_NS 50000000 /* the switch reads the clock of the scheduler's tick */

static struct rworld w;
static unsigned seen[PS_R_COUNT + 1];
static uint8_t frame[4096];
static const uint8_t text[1600] = "penstock";
static struct bpf_relay_bind bind4, bind6; /* clients of both families, peers of the same */

static bool fate(const char *what, enum ps_reason_id want, const uint8_t *p, size_t len)
{
	static const uint32_t action[] = {
		[PS_V_DONE] = XDP_TX, [PS_V_PASS] = XDP_PASS, [PS_V_DROP] = XDP_DROP};
	static struct rw_run r;
	bool ok;

	if (!rw_run(&w, p, len, &r))
		return false;
	seen[r.id]++;
	ok = T_EQ(r.id, want) && T_EQ(r.retval, action[ps_verdict_of(want)]);
	if (ps_verdict_of(want) != PS_V_DONE)
		ok &= T(r.len == len && !memcmp(r.out, p, len));
	if (!ok)
		t_note("%s: %s, not %s", what, rw_reason_name[r.id], rw_reason_name[want]);
	return ok;
}

static struct rw_dgram from_client(const struct bpf_relay_bind *b, size_t len)
{
	return rw_dgram(b->client, b->local, b->channel, text, len);
}

static struct rw_dgram from_peer(const struct bpf_relay_bind *b, size_t len)
{
	const char *own = b->peer.ip.family == 4 ? "10.0.0.5" : "2001:db8::1";

	return rw_dgram(b->peer, rw_ep(own, b->port), 0, text, len);
}

static bool fate_of(const char *what, enum ps_reason_id want, const struct rw_dgram *d)
{
	return fate(what, want, frame, rw_frame(frame, d));
}

static bool world_up(const struct bpf_relay_cfg *cfg)
{
	if (!rw_open(&w, cfg))
		return false;
	bind4 = (struct bpf_relay_bind){.client = rw_ep("198.51.100.10", 40000),
					.local = rw_ep("10.0.0.5", RW_LISTEN),
					.peer = rw_ep("203.0.113.20", 50000),
					.channel = 0x4000,
					.port = PORT};
	bind6 = (struct bpf_relay_bind){.client = rw_ep("2001:db8:c::10", 40000),
					.local = rw_ep("2001:db8::1", RW_LISTEN),
					.peer = rw_ep("2001:db8:f::20", 50000),
					.channel = 0x4001,
					.port = PORT};
	return rw_bind(&w, &bind4) && rw_bind(&w, &bind6);
}

/* A frame of bind4's client, changed in one byte; the IPv4 header's sum is made right again. */
static void changed(const char *what, enum ps_reason_id want, size_t at, uint8_t val, bool resum)
{
	struct rw_dgram d = from_client(&bind4, 100);
	size_t len = rw_frame(frame, &d);

	frame[at] = val;
	if (resum) {
		rw_be16(frame + 24, 0);
		rw_be16(frame + 24, ~rw_sum(frame + 14, 20, 0) & 0xffff);
	}
	fate(what, want, frame, len);
}

static void headers(void)
{
	struct rw_dgram d = from_client(&bind4, 100);
	size_t len;

	changed("ARP", PS_R_RXDP_NOT_IP, 13, 6, false);
	changed("version 5", PS_R_RXDP_NOT_IP, 14, 0x55, true);
	changed("options", PS_R_RXDP_IP_OPTIONS, 14, 0x46, true);
	changed("more fragments", PS_R_RXDP_FRAGMENT, 20, 0x20, true);
	changed("later fragment", PS_R_RXDP_FRAGMENT, 21, 1, true);
	changed("TCP", PS_R_RXDP_NOT_UDP, 23, 6, true);
	changed("header sum", PS_R_RXDP_BAD_SUM, 24, 0x12, false);
	changed("UDP length 7", PS_R_RXDP_TRUNCATED, 39, 7, true);
	changed("UDP longer than IP", PS_R_RXDP_TRUNCATED, 38, 2, true);
	changed("IP longer than the frame", PS_R_RXDP_TRUNCATED, 16, 2, true);
	changed("one more tag than two", PS_R_RXDP_NOT_IP, 12, 0x81, false);
	d.vlan = 2;
	len = rw_frame(frame, &d);
	rw_be16(frame + 20, 0x8100);
	fate("three tags", PS_R_RXDP_NOT_IP, frame, len);
	fate("half a tag", PS_R_RXDP_TRUNCATED, frame, 16);
	d = from_client(&bind6, 100);
	len = rw_frame(frame, &d);
	frame[20] = 44;
	fate("IPv6 fragment", PS_R_RXDP_FRAGMENT, frame, len);
	frame[20] = 60;
	fate("IPv6 options", PS_R_RXDP_IP_OPTIONS, frame, len);
	frame[20] = 6;
	fate("IPv6 TCP", PS_R_RXDP_NOT_UDP, frame, len);
	for (size_t cut = 14; cut < 62; cut++)
		fate("cut", PS_R_RXDP_TRUNCATED, frame, cut);
}

/* ChannelData whose datagram has `more` bytes than its length field says. */
static void channel_length(const char *what, enum ps_reason_id want, int more)
{
	struct rw_dgram d = from_client(&bind4, 40);
	size_t len = rw_frame(frame, &d);

	rw_be16(frame + 44, (size_t)(40 - more));
	fate(what, want, frame, len);
}

static void channels(void)
{
	struct rw_dgram d = from_client(&bind4, 40);
	size_t len;

	fate_of("bound", PS_R_RXDP_TO_PEER, &d);
	d.channel = 0x4002;
	fate_of("unbound", PS_R_RXDP_NO_CHANNEL, &d);
	d.channel = 0x3fff;
	fate_of("below the channels", PS_R_RXDP_NOT_CHANNEL, &d);
	d.channel = 0x8000;
	fate_of("above the channels", PS_R_RXDP_NOT_CHANNEL, &d);
	d.channel = 0;
	d.len = 0;
	fate_of("empty", PS_R_RXDP_NOT_CHANNEL, &d);
	d.len = 3;
	fate_of("three bytes", PS_R_RXDP_NOT_CHANNEL, &d);
	channel_length("says more than there is", PS_R_RXDP_CHANNEL_LENGTH, -1);
	channel_length("four bytes too many", PS_R_RXDP_CHANNEL_LENGTH, 4);
	channel_length("padded by three", PS_R_RXDP_TO_PEER, 3);
	d = from_client(&bind4, 40);
	d.from.port++;
	fate_of("another client", PS_R_RXDP_NO_CHANNEL, &d);
	d = from_client(&bind4, 40);
	d.to = rw_ep("10.0.0.6", RW_LISTEN);
	fate_of("another address of the host", PS_R_RXDP_OTHER_ADDRESS, &d);
	d.ttl = 1;
	d.to = bind4.local;
	fate_of("last hop", PS_R_RXDP_TTL, &d);
	d.ttl = 0;
	fate_of("no hop", PS_R_RXDP_TTL, &d);
	d = from_client(&bind6, 40);
	d.ttl = 1;
	fate_of("last hop, IPv6", PS_R_RXDP_TTL, &d);
	d.ttl = 64;
	d.no_sum = true;
	fate_of("no sum, IPv6", PS_R_RXDP_NO_SUM, &d);
	d = from_peer(&bind4, RW_MTU - 32);
	fate_of("fits exactly", PS_R_RXDP_TO_CLIENT, &d);
	d.len++;
	fate_of("does not fit", PS_R_RXDP_TOO_BIG, &d);
	d = from_peer(&bind6, RW_MTU - 52);
	fate_of("fits exactly, IPv6", PS_R_RXDP_TO_CLIENT, &d);
	d.len++;
	fate_of("does not fit, IPv6", PS_R_RXDP_TOO_BIG, &d);
	/* Bytes between the end of the datagram and that of the packet are not relayed. */
	d = from_peer(&bind4, 40);
	len = rw_frame(frame, &d);
	rw_be16(frame + 38, 8 + 30);
	fate("surplus area", PS_R_RXDP_TO_CLIENT, frame, len);
}

static void peers(void)
{
	const struct bpf_relay_bind *both[] = {&bind4, &bind6};

	for (int i = 0; i < 2; i++) {
		struct rw_dgram d = from_peer(both[i], 40);

		fate_of("peer", PS_R_RXDP_TO_CLIENT, &d);
		d.from.port++;
		fate_of("another port of the peer", PS_R_RXDP_PROBE, &d);
		bpf_relay_port_set(w.relay, PORT, true, true, i == 0, i == 1);
		fate_of("the same, with permissions", PS_R_RXDP_NO_PEER, &d);
		d.to.ip.b[3] ^= 1;
		fate_of("somebody else's packet", PS_R_RXDP_OTHER_ADDRESS, &d);
		d.from.port--;
		fate_of("somebody else's packet, from the peer", PS_R_RXDP_OTHER_ADDRESS, &d);
		d.to.ip.b[3] ^= 1;
		d.to.port++;
		fate_of("no allocation", PS_R_RXDP_OTHER_PORT, &d);
		d.to.port--;
		bpf_relay_port_set(w.relay, PORT, i == 1, i == 0, false, false);
		fate_of("no allocation of that family", PS_R_RXDP_OTHER_PORT, &d);
		bpf_relay_port_set(w.relay, PORT, true, true, false, false);
		fate_of("again", PS_R_RXDP_TO_CLIENT, &d);
	}
}

static void lifetimes(void)
{
	struct rw_dgram up = from_client(&bind4, 40), down = from_peer(&bind4, 40);

	bind4.expires_ns = rw_now() - TICK_NS;
	T_EQ(bpf_relay_bind_set(w.relay, &bind4), 0);
	fate_of("expired", PS_R_RXDP_EXPIRED, &up);
	fate_of("expired", PS_R_RXDP_EXPIRED, &down);
	bind4.expires_ns = rw_now() + 600000000000u;
	T_EQ(bpf_relay_bind_set(w.relay, &bind4), 0);
	fate_of("refreshed", PS_R_RXDP_TO_PEER, &up);
	fate_of("refreshed", PS_R_RXDP_TO_CLIENT, &down);
	T_EQ(bpf_relay_bind_del(w.relay, &bind4), 0);
	fate_of("unbound", PS_R_RXDP_NO_CHANNEL, &up);
	fate_of("unbound", PS_R_RXDP_PROBE, &down);
	T_EQ(bpf_relay_bind_del(w.relay, &bind4), 0);
	T_EQ(bpf_relay_totals(w.relay).bound, 1);
	T_EQ(bpf_relay_bind_set(w.relay, &bind4), 0);
	T_EQ(bpf_relay_totals(w.relay).bound, 2);
	fate_of("bound again", PS_R_RXDP_TO_PEER, &up);
	bpf_relay_pause(w.relay);
	fate_of("paused", PS_R_RXDP_DAEMON_GONE, &up);
	bpf_relay_alive(w.relay, rw_now() - BPF_RELAY_ALIVE_NS - TICK_NS);
	fate_of("dead", PS_R_RXDP_DAEMON_GONE, &up);
	bpf_relay_alive(w.relay, rw_now());
	fate_of("alive", PS_R_RXDP_TO_PEER, &up);
	bpf_relay_alive(w.relay, rw_now() + 600000000000u);
}

/* The relay as its own peer: only where another client has bound the other way round. */
static void self(void)
{
	struct bpf_relay_bind one = {.client = rw_ep("198.51.100.30", 41000),
				     .local = rw_ep("10.0.0.5", RW_LISTEN),
				     .peer = rw_ep("192.0.2.1", 50011),
				     .channel = 0x4000,
				     .port = 50010};
	struct bpf_relay_bind two = {.client = rw_ep("2001:db8:c::31", 41000),
				     .local = rw_ep("::", RW_LISTEN),
				     .peer = rw_ep("192.0.2.1", 50010),
				     .channel = 0x4005,
				     .port = 50011};
	struct rw_dgram d, spoof;

	rw_bind(&w, &one);
	d = from_client(&one, 50);
	fate_of("nobody there", PS_R_RXDP_NO_SELF, &d);
	rw_bind(&w, &two);
	fate_of("both ways", PS_R_RXDP_TO_SELF, &d);
	d.no_sum = true;
	fate_of("no sum to IPv6", PS_R_RXDP_NO_SUM, &d);
	d.no_sum = false;
	d.len = RW_MTU - 52 + 1;
	fate_of("too long for IPv6", PS_R_RXDP_TOO_BIG, &d);
	d.len = 50;
	two.expires_ns = 1;
	T_EQ(bpf_relay_bind_set(w.relay, &two), 0);
	fate_of("the other has expired", PS_R_RXDP_EXPIRED, &d);
	two.expires_ns = one.expires_ns;
	T_EQ(bpf_relay_bind_set(w.relay, &two), 0);
	spoof = from_peer(&two, 50);
	fate_of("own address from the wire", PS_R_RXDP_FROM_SELF, &spoof);
	T_EQ(bpf_relay_bind_del(w.relay, &two), 0);
	fate_of("the other has gone", PS_R_RXDP_NO_SELF, &d);
}

/* No room in front of the frame: it cannot grow, and stays as it was. A test run has 256 bytes
 * there; metadata takes them, where the kernel allows so much of it (6.4). */
static void no_headroom(void)
{
	struct rw_dgram d = from_peer(&bind4, 40);
	static uint8_t in[4096], out[4096];
	struct xdp_md ctx = {0};
	size_t meta = 216, len = rw_frame(in + meta, &d) + meta;
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in, .data_size_in = (uint32_t)len,
		    .data_out = out, .data_size_out = sizeof(out), .repeat = 1, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx));
	uint64_t before = rw_count(&w, PS_R_RXDP_ADJUST_FAILED);

	ctx.data = (uint32_t)meta;
	ctx.data_end = (uint32_t)len;
	if (bpf_prog_test_run_opts(w.prog, &o) == -EINVAL) {
		t_note("no %s: this kernel takes less metadata",
		       rw_reason_name[PS_R_RXDP_ADJUST_FAILED]);
		seen[PS_R_RXDP_ADJUST_FAILED]++;
		return;
	}
	T_EQ(o.retval, XDP_PASS);
	T_EQ(rw_count(&w, PS_R_RXDP_ADJUST_FAILED), before + 1);
	T(o.data_size_out == len && !memcmp(in, out, len));
	seen[PS_R_RXDP_ADJUST_FAILED]++;
}

/* Next hops: a configured station; the kernel's routes, which need forwarding to be on. */
static void hop_mac(void)
{
	struct rw_dgram d = from_client(&bind4, 40);
	static const uint8_t to[6] = {0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee};
	static struct rw_run r;

	d.vlan = 2;
	if (!rw_run(&w, frame, rw_frame(frame, &d), &r))
		return;
	T_EQ(r.id, PS_R_RXDP_TO_PEER);
	T_MEM(r.out, to, 6);
	T_MEM(r.out + 6, frame, 6);
}

static void hop_fib(const struct bpf_relay_bind *b)
{
	static const uint8_t to[6] = {0x02, 0x77, 0, 0, 0, 1}, from[6] = {0x02, 0x77, 0, 0, 0, 9};
	struct rw_dgram d = from_client(b, 40);
	static struct rw_run r;

	if (!rw_run(&w, frame, rw_frame(frame, &d), &r))
		return;
	T_EQ(r.id, PS_R_RXDP_TO_PEER);
	T_EQ(r.retval, XDP_REDIRECT);
	T_MEM(r.out, to, 6);
	T_MEM(r.out + 6, from, 6);
	d = from_peer(b, 40);
	fate_of("nobody knows the client", PS_R_RXDP_NO_HOP, &d);
	d = from_client(b, 1300);
	fate_of("longer than the device's MTU", PS_R_RXDP_TOO_BIG, &d);
	d = from_client(b, 40);
	d.vlan = 1;
	fate_of("tagged", PS_R_RXDP_NO_HOP, &d);
}

static void hop_auto(void)
{
	struct rw_dgram d = from_client(&bind4, 40);
	struct bpf_relay_way y = {.ifindex = 1, .near_len = 1}, none = {0};

	rw_sh("sysctl -qw net.ipv4.conf.lo.forwarding=0");
	fate_of("no router", PS_R_RXDP_NO_ROUTER, &d);
	y.near[0] = (struct ipnet){.ip = bind4.peer.ip, .len = 32};
	bpf_relay_way_set(w.relay, &y, &none);
	fate_of("not behind it", PS_R_RXDP_NEAR, &d);
	y.near_len = 0;
	bpf_relay_way_set(w.relay, &y, &none);
	fate_of("behind it", PS_R_RXDP_TO_PEER, &d);
}

static void test_hops(void)
{
	struct bpf_relay_cfg cfg = rw_cfg();

	cfg.hop = PS_TURN_HOP_MAC;
	if (!world_up(&cfg))
		return;
	hop_mac();
	T_STR(bpf_relay_info(w.relay)->hop, "mac");
	rw_close(&w);
	cfg.hop = PS_TURN_HOP_FIB;
	if (!world_up(&cfg))
		return;
	if (T(rw_sh(RW_ROUTES))) {
		hop_fib(&bind4);
		hop_fib(&bind6);
	}
	rw_close(&w);
	cfg.hop = PS_TURN_HOP_AUTO; /* the rest of it is in test_relay_hop.c */
	if (!world_up(&cfg))
		return;
	hop_auto();
	rw_close(&w);
}

/* Bindings beyond the table are refused, leave no half behind, and open their port: user space
 * relays them. */
static void test_full(void)
{
	struct bpf_relay_cfg cfg = rw_cfg();
	struct bpf_relay_bind b = {.client = rw_ep("198.51.100.10", 1),
				   .local = rw_ep("10.0.0.5", RW_LISTEN),
				   .peer = rw_ep("203.0.113.20", 50000),
				   .channel = 0x4000,
				   .port = PORT,
				   .expires_ns = UINT64_MAX};
	struct rw_dgram d;

	cfg.bindings = 8;
	if (!rw_open(&w, &cfg))
		return;
	bpf_relay_port_set(w.relay, PORT, true, false, false, false);
	for (uint32_t i = 0; i < 8; i++) {
		b.index = i;
		b.peer.port = (uint16_t)(50000 + i);
		b.client.port = (uint16_t)(1 + i);
		T_EQ(bpf_relay_bind_set(w.relay, &b), 0);
	}
	d = rw_dgram(b.peer, rw_ep("10.0.0.5", PORT), 0, text, 10);
	d.from.port = 60000;
	fate_of("a probe", PS_R_RXDP_PROBE, &d);
	b.peer.port = 60000;
	b.client.port = 9;
	b.index = 8;
	T_EQ(bpf_relay_bind_set(w.relay, &b), -ENOSPC);
	b.index = 0;
	T_EQ(bpf_relay_bind_set(w.relay, &b), -ENOSPC);
	fate_of("a peer that did not fit", PS_R_RXDP_NO_PEER, &d);
	d = from_client(&b, 10);
	fate_of("its client", PS_R_RXDP_NO_CHANNEL, &d);
	d = rw_dgram(rw_ep("203.0.113.20", 50000), rw_ep("10.0.0.5", PORT), 0, text, 10);
	fate_of("one that did", PS_R_RXDP_TO_CLIENT, &d);
	/* Room for the peer's direction only: that half is taken back. */
	b.peer = rw_ep("2001:db8:f::20", 60000);
	T_EQ(bpf_relay_bind_set(w.relay, &b), -ENOSPC);
	bpf_relay_port_set(w.relay, PORT, true, true, false, false);
	d = rw_dgram(b.peer, rw_ep("2001:db8::1", PORT), 0, text, 10);
	fate_of("half a binding", PS_R_RXDP_NO_PEER, &d);
	T_EQ(bpf_relay_totals(w.relay).bound, 8);
	T_EQ(bpf_relay_totals(w.relay).no_room, 3);
	/* The allocation goes, and its port forgets. */
	bpf_relay_port_set(w.relay, PORT, false, false, false, false);
	bpf_relay_port_set(w.relay, PORT, true, true, false, false);
	fate_of("a new allocation's probe", PS_R_RXDP_PROBE, &d);
	rw_close(&w);
}

static void test_refused(void)
{
	struct bpf_relay_cfg cfg = rw_cfg();
	struct bpf_relay_bind b, bad;

	cfg.own6.family = 0;
	if (!rw_open(&w, &cfg))
		return;
	b = (struct bpf_relay_bind){.client = rw_ep("198.51.100.10", 40000),
				    .local = rw_ep("0.0.0.0", RW_LISTEN),
				    .peer = rw_ep("2001:db8::9", 1),
				    .channel = 0x4000,
				    .port = PORT};
	T_EQ(bpf_relay_bind_set(w.relay, &b), -EAFNOSUPPORT);
	T_EQ(bpf_relay_bind_del(w.relay, &b), 0);
	T_EQ(bpf_relay_totals(w.relay).no_family, 1);
	bad = b;
	bad.peer.ip.family = 0;
	T_EQ(bpf_relay_bind_set(w.relay, &bad), -EINVAL);
	bad = b;
	bad.channel = 0x3fff;
	T_EQ(bpf_relay_bind_set(w.relay, &bad), -EINVAL);
	bad = b;
	bad.peer = rw_ep("203.0.113.20", 1);
	bad.local = rw_ep("2001:db8::1", RW_LISTEN);
	T_EQ(bpf_relay_bind_set(w.relay, &bad), -EINVAL);
	rw_close(&w);
}

/* Counters of a binding: by direction, application data only, kept on refresh, zeroed for another.
 */
static void test_stat(void)
{
	struct bpf_relay_cfg cfg = rw_cfg();
	static struct ps_reason_count reasons[PS_R_COUNT];
	struct ps_turn_stat up, down;
	struct rw_dgram d;

	if (!world_up(&cfg))
		return;
	for (size_t len = 1; len <= 3; len++) {
		d = from_client(&bind4, len);
		d.pad = 3;
		fate_of("up", PS_R_RXDP_TO_PEER, &d);
	}
	d = from_peer(&bind4, 100);
	fate_of("down", PS_R_RXDP_TO_CLIENT, &d);
	T_EQ(bpf_relay_bind_set(w.relay, &bind4), 0);
	bpf_relay_stat(w.relay, bind4.index, &up, &down);
	T_EQ(bpf_relay_reasons(w.relay, reasons), 0);
	T_EQ(reasons[PS_R_RXDP_TO_PEER].packets, 3);
	T_EQ(reasons[PS_R_RXDP_TO_PEER].bytes, 3 * (14 + 20 + 8 + 4 + 3) + 6);
	T_EQ(up.packets, 3);
	T_EQ(up.bytes, 6);
	T_EQ(down.packets, 1);
	T_EQ(down.bytes, 100);
	T(up.last_ns && up.last_ns <= rw_now() && down.last_ns >= up.last_ns);
	T_EQ(bpf_relay_bind_del(w.relay, &bind4), 0);
	bind4.channel++;
	T_EQ(bpf_relay_bind_set(w.relay, &bind4), 0);
	bpf_relay_stat(w.relay, bind4.index, &up, &down);
	T(!up.packets && !up.bytes && !up.last_ns && !down.packets);
	rw_close(&w);
}

static void test_fates(void)
{
	struct bpf_relay_cfg cfg = rw_cfg();

	if (!world_up(&cfg))
		return;
	headers();
	channels();
	peers();
	lifetimes();
	self();
	no_headroom();
	rw_close(&w);
}

static void users_one(const struct bpf_relay_bind *b, bool up)
{
	struct rw_dgram d = up ? from_client(b, 100) : from_peer(b, 100), left = d;
	enum ps_reason_id done = up ? PS_R_RXDP_TO_PEER : PS_R_RXDP_TO_CLIENT;
	uint32_t stat = b->index + (up ? 0 : RW_BINDINGS);

	left.unfinished = true;
	rw_flags(&w, 0);
	fate_of("a driver's frame", done, &left);
	rw_flags(&w, PS_TURN_LOCAL);
	fate_of("finished", done, &d);
	fate_of("unfinished", PS_R_RXDP_UNFINISHED, &left);
	fate_of("behind it", done, &d);
	for (size_t len = 2; len < 1400; len += 233) {
		left = d = up ? from_client(b, len) : from_peer(b, len);
		left.unfinished = true;
		rw_looks_unfinished(&d);
		fate_of("finished, though it looks like it", done, &d);
		fate_of("unfinished", PS_R_RXDP_UNFINISHED, &left);
	}
	T_EQ(rw_passed(&w, stat, 0), 0);
	/* a train came: time stands still before the pause, and is over after it */
	rw_passed(&w, stat, rw_now() + 1000000000);
	fate_of("behind a train", PS_R_RXDP_BULK, &d);
	T(rw_passed(&w, stat, 0) <= rw_now());
	rw_passed(&w, stat, rw_now() + 1000000000);
	fate_of("unfinished behind a train", PS_R_RXDP_UNFINISHED, &left);
	T(rw_passed(&w, stat, 0) <= rw_now());
	rw_passed(&w, stat, rw_now() - PS_TURN_PAUSE_NS - TICK_NS);
	fate_of("after a pause", done, &d);
	T_EQ(rw_passed(&w, stat, 0), 0);
	rw_passed(&w, stat, rw_now() + 1000000000);
	T_EQ(bpf_relay_bind_del(w.relay, b), 0);
	T_EQ(bpf_relay_bind_set(w.relay, b), 0);
	T_EQ(rw_passed(&w, stat, 0), 0); /* another binding's history is none of this one's */
}

/* What user space has to do, and what follows it there. The other direction goes on. */
static void test_users(void)
{
	struct bpf_relay_cfg cfg = rw_cfg();
	struct rw_dgram d;

	if (!world_up(&cfg))
		return;
	users_one(&bind4, true);
	users_one(&bind4, false);
	users_one(&bind6, true);
	users_one(&bind6, false);
	rw_passed(&w, bind4.index, rw_now() + 1000000000);
	d = from_peer(&bind4, 100);
	fate_of("the other direction", PS_R_RXDP_TO_CLIENT, &d);
	rw_close(&w);
}

static void test_all_seen(void)
{
	if (!seen[PS_R_RXDP_TO_PEER]) {
		t_skip("the program did not run");
		return;
	}
	/* A test run makes no joined datagrams: test_relay_live does. */
	for (int id = RW_FIRST; id <= RW_LAST; id++)
		if (id != PS_R_RXDP_GSO && !T(seen[id] > 0))
			t_note("no packet for %s", rw_reason_name[id]);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_fates);
	T_RUN(test_hops);
	T_RUN(test_full);
	T_RUN(test_refused);
	T_RUN(test_stat);
	T_RUN(test_users);
	T_RUN(test_all_seen);
	return t_done();
}
