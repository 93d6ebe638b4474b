/* SPDX-License-Identifier: Apache-2.0
 * Every rewrite of the relay's switch, over lengths, checksums, padding and tags: against frames
 * built from scratch, and against the planning functions run natively, which also see frames with
 * random bytes changed. */
#include "plan/relay.h"
#include "tests/bpf/rworld.h"

static struct rworld w;
static uint8_t data[1600];

/* ---- the native side ----------------------------------------------------------------------------
 */

struct native {
	int chan[2], peer[2];
	struct ps_turn_port port;
	struct ps_turn_cfg cfg;
	struct ps_relay_pkt pkt;
	struct ps_turn_route first, self;
};

static struct native n;

static int native_map(const char *name)
{
	int fd = rw_pinned(&w, name);

	T(fd >= 0);
	return fd;
}

static void native_open(void)
{
	uint32_t zero = 0;

	n.chan[0] = native_map("ps_turn_chan4");
	n.chan[1] = native_map("ps_turn_chan6");
	n.peer[0] = native_map("ps_turn_peer4");
	n.peer[1] = native_map("ps_turn_peer6");
	T_EQ(bpf_map_lookup_elem(native_map("ps_turn_port"), &zero, &n.port), 0);
	T_EQ(bpf_map_lookup_elem(native_map("ps_turn_cfg"), &zero, &n.cfg), 0);
}

static bool native_peer(int f, const uint8_t *peer, __be16 peer_port, __be16 port,
			struct ps_turn_route *out)
{
	struct ps_turn_peer4 k4 = {.peer_port = peer_port, .port = port};
	struct ps_turn_peer6 k6 = {.peer_port = peer_port, .port = port};

	memcpy(k4.peer, peer, 4);
	memcpy(k6.peer, peer, f ? 16 : 4);
	return bpf_map_lookup_elem(n.peer[f], f ? (void *)&k6 : (void *)&k4, out) == 0;
}

static bool native_chan(int f, const uint8_t *client, struct ps_turn_route *out)
{
	struct ps_turn_chan4 k4 = {.client_port = n.pkt.sport, .channel = n.pkt.channel};
	struct ps_turn_chan6 k6 = {.client_port = n.pkt.sport, .channel = n.pkt.channel};

	memcpy(k4.client, client, 4);
	memcpy(k6.client, client, f ? 16 : 4);
	return bpf_map_lookup_elem(n.chan[f], f ? (void *)&k6 : (void *)&k4, out) == 0;
}

static bool native_bit(const __u64 *words, __be16 port)
{
	return words[ps_host16(port) >> 6] >> (ps_host16(port) & 63) & 1;
}

static enum ps_reason_id native_find(const uint8_t *ip, const uint8_t *end, int f, uint64_t now)
{
	const uint8_t *src = ip + (f ? PS_IP6_SADDR : PS_IP4_SADDR), *dst = src + (f ? 16 : 4);
	enum ps_reason_id id = f ? ps_relay_ip6(ip, end, &n.pkt) : ps_relay_ip4(ip, end, &n.pkt);

	if (id != PS_GO_ON)
		return id;
	if (n.pkt.dport == n.cfg.listen_port) {
		id = ps_relay_channel(ip + (f ? 48 : 28), end, &n.pkt);
		if (id != PS_GO_ON)
			return id;
		if (!native_chan(f, src, &n.first))
			return PS_R_RXDP_NO_CHANNEL;
	} else {
		if (!native_bit(n.port.own[f], n.pkt.dport))
			return PS_R_RXDP_OTHER_PORT;
		if (!native_peer(f, src, n.pkt.sport, n.pkt.dport, &n.first))
			return ps_relay_no_peer(&n.cfg, dst, f ? 6 : 4,
						native_bit(n.port.open[f], n.pkt.dport));
	}
	return ps_relay_route(&n.first, &n.pkt, dst, now);
}

static enum ps_reason_id native_lookup(const uint8_t *p, const uint8_t *end, uint64_t now)
{
	struct ps_turn_route *f = &n.first;
	enum ps_reason_id id;
	__u16 type;
	bool found;

	memset(&n.pkt, 0, sizeof(n.pkt));
	n.pkt.link_len = ps_eth_parse_tags(p, end, &type);
	if (!n.pkt.link_len)
		return PS_R_RXDP_TRUNCATED;
	if (type != PS_ETHERTYPE_IP4 && type != PS_ETHERTYPE_IP6)
		return PS_R_RXDP_NOT_IP;
	id = native_find(p + n.pkt.link_len, end, type == PS_ETHERTYPE_IP6, now);
	if (id != PS_GO_ON || !(f->flags & PS_TURN_SELF))
		return id;
	found = native_peer(f->family == 6, f->daddr, f->sport, f->dport, &n.self);
	return ps_relay_self(f, found ? &n.self : NULL, now);
}

/* The fate of the frame; out and *out_len are what it becomes, or itself. */
static enum ps_reason_id native_switch(const uint8_t *frame, size_t len, uint8_t *out,
				       size_t *out_len)
{
	uint64_t now = rw_now();
	enum ps_reason_id id = native_lookup(frame, frame + len, now);
	struct ps_turn_route *last = n.first.flags & PS_TURN_SELF ? &n.self : &n.first;
	const struct ps_relay_pkt *k = &n.pkt;
	struct ps_relay_plan plan;
	struct ps_relay_link link;
	size_t head;

	memcpy(out, frame, len);
	*out_len = len;
	if (id == PS_GO_ON && k->pad_len) {
		uint8_t pad[3] = {0};

		memcpy(pad, frame + k->head_len + k->data_len, k->pad_len);
		n.pkt.pad_sum = ps_relay_pad_sum(k, pad);
	}
	if (id == PS_GO_ON)
		id = ps_relay_plan(k, &n.cfg, &n.first, last, &plan);
	if (id != PS_GO_ON)
		return id;
	ps_relay_link_get(frame, k, &link);
	ps_relay_link_turn(&link, NULL);
	head = (size_t)((int)k->head_len - plan.head);
	*out_len = head + k->data_len;
	memcpy(out + head, frame + k->head_len, k->data_len);
	T(ps_relay_write(out, out + *out_len + 32, k, &plan, &link, last) == 1);
	if (last != &n.first)
		return PS_R_RXDP_TO_SELF;
	return last->channel ? PS_R_RXDP_TO_CLIENT : PS_R_RXDP_TO_PEER;
}

/* ---- bindings -----------------------------------------------------------------------------------
 */

/* One way through the relay: what comes in, what goes out. */
struct way {
	char name[32];
	struct endpoint from, to, out_from, out_to;
	uint16_t channel, out_channel;
	enum ps_reason_id id;
};

static struct way ways[32];
static size_t ways_len;

static const char *const clients[] = {"198.51.100.10", "2001:db8:c::10"};
static const char *const peers[] = {"203.0.113.20", "2001:db8:f::20"};
static const char *const own[] = {"10.0.0.5", "2001:db8::1"};
static const char *const known[] = {"192.0.2.1", "2001:db8::1"};

static struct way *way_add(const char *what, int from, int to)
{
	struct way *y = &ways[ways_len++];

	snprintf(y->name, sizeof(y->name), "%s %d to %d", what, from ? 6 : 4, to ? 6 : 4);
	return y;
}

/* A client of family c with a peer of family p: two ways. */
static void plain_add(int c, int p)
{
	struct bpf_relay_bind b = {.client = rw_ep(clients[c], (uint16_t)(40000 + 2 * c + p)),
				   .local = rw_ep(own[c], RW_LISTEN),
				   .peer = rw_ep(peers[p], 50000),
				   .channel = (uint16_t)(p ? 0x4fff : 0x4000),
				   .port = (uint16_t)(49152 + 2 * c + p)};
	struct way *y = way_add("client to peer", c, p);

	rw_bind(&w, &b);
	y->from = b.client;
	y->to = b.local;
	y->channel = b.channel;
	y->out_from = rw_ep(own[p], b.port);
	y->out_to = b.peer;
	y->id = PS_R_RXDP_TO_PEER;
	y = way_add("peer to client", p, c);
	y->from = b.peer;
	y->to = rw_ep(own[p], b.port);
	y->out_from = b.local;
	y->out_to = b.client;
	y->out_channel = b.channel;
	y->id = PS_R_RXDP_TO_CLIENT;
}

/* Two clients that are each other's peers by the relay's address of family `via`. */
static void self_add(int a, int b, int via, uint16_t port)
{
	struct bpf_relay_bind one = {.client = rw_ep(clients[a], port),
				     .local = rw_ep(own[a], RW_LISTEN),
				     .peer = rw_ep(known[via], (uint16_t)(port + 1)),
				     .channel = 0x4123,
				     .port = port};
	struct bpf_relay_bind two = {.client = rw_ep(clients[b], (uint16_t)(port + 1)),
				     .local = rw_ep(own[b], RW_LISTEN),
				     .peer = rw_ep(known[via], port),
				     .channel = 0x7fff,
				     .port = (uint16_t)(port + 1)};
	struct way *y = way_add(via ? "self by 6" : "self by 4", a, b);

	rw_bind(&w, &one);
	rw_bind(&w, &two);
	y->from = one.client;
	y->to = one.local;
	y->channel = one.channel;
	y->out_from = two.local;
	y->out_to = two.client;
	y->out_channel = two.channel;
	y->id = PS_R_RXDP_TO_SELF;
}

static bool world_up(void)
{
	struct bpf_relay_cfg cfg = rw_cfg();
	uint64_t seed = t_seed();

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)t_rand(&seed);
	ways_len = 0;
	if (!rw_open(&w, &cfg))
		return false;
	for (int i = 0; i < 4; i++)
		plain_add(i >> 1, i & 1);
	for (int i = 0; i < 8; i++)
		self_add(i >> 2 & 1, i >> 1 & 1, i & 1, (uint16_t)(60000 + 2 * i));
	native_open();
	return true;
}

/* ---- tests --------------------------------------------------------------------------------------
 */

static size_t ip_len_out(const struct way *y, size_t len)
{
	return (y->out_to.ip.family == 4 ? 28u : 48u) + (y->out_channel ? 4u : 0u) + len;
}

static void one_native(const struct way *y, const uint8_t *frame, size_t len,
		       const struct rw_run *r)
{
	static uint8_t out[4096];
	size_t out_len;
	enum ps_reason_id id = native_switch(frame, len, out, &out_len);

	if (!T_EQ(r->id, id) || !T_EQ(r->len, out_len) || !T_MEM(r->out, out, out_len))
		t_note("%s: program %s, native %s", y->name, rw_reason_name[r->id],
		       rw_reason_name[id]);
}

static void one(const struct way *y, struct rw_dgram *in)
{
	bool switched = !in->no_sum || (in->from.ip.family == 4 && y->out_to.ip.family == 4);
	struct rw_dgram want = rw_relayed(in, y->out_from, y->out_to, y->out_channel);
	static uint8_t frame[4096], expect[4096];
	static struct rw_run r;
	size_t len = rw_frame(frame, in), expect_len = rw_frame(expect, &want);
	bool ok;

	if (!rw_run(&w, frame, len, &r))
		return;
	one_native(y, frame, len, &r);
	if (!switched) {
		T_EQ(r.id, PS_R_RXDP_NO_SUM);
		T_EQ(r.retval, XDP_PASS);
		T(r.len == len && !memcmp(r.out, frame, len));
		return;
	}
	ok = T_EQ(r.id, y->id);
	ok &= T_EQ(r.retval, XDP_TX);
	ok &= T_EQ(r.len, expect_len);
	ok &= T_MEM(r.out, expect, expect_len);
	if (!ok)
		t_note("%s: %zu bytes, %zu padding, %d tags, %s sum: %s", y->name, in->len, in->pad,
		       in->vlan, in->no_sum ? "no" : "full", rw_reason_name[r.id]);
}

static void lengths(const struct way *y, struct rw_dgram in)
{
	static const size_t plain[] = {0,  1,  2,  3,	4,   5,	  14,  15,   16,  17,
				       63, 64, 65, 127, 128, 129, 500, 1199, 1200};
	size_t most = RW_MTU - ip_len_out(y, 0);

	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++) {
		in.len = plain[i];
		one(y, &in);
	}
	for (size_t less = 0; less < 3; less++) {
		in.len = most - less;
		one(y, &in);
	}
}

static void test_rewrites(void)
{
	if (!world_up())
		return;
	for (size_t i = 0; i < ways_len; i++) {
		const struct way *y = &ways[i];

		for (int k = 0; k < 3 * 2 * 4 * 2; k++) {
			struct rw_dgram in = rw_dgram(y->from, y->to, y->channel, data + i, 0);

			in.vlan = k % 3;
			in.no_sum = k / 3 & 1;
			in.pad = (size_t)(k / 6 & 3);
			in.trailer = k / 24 & 1 ? 7 : 0;
			if (in.pad && !in.channel)
				continue;
			if (in.no_sum && in.from.ip.family == 6 && k / 6)
				continue;
			lengths(y, in);
		}
	}
	rw_close(&w);
}

/* A sum that comes out as zero is sent as ffff: two bytes of the data are chosen so that it does.
 */
static void test_zero_sum(void)
{
	static uint8_t frame[4096], some[64];

	if (!world_up())
		return;
	for (size_t i = 0; i < ways_len; i++) {
		const struct way *y = &ways[i];
		struct rw_dgram in = rw_dgram(y->from, y->to, y->channel, some, sizeof(some));
		struct rw_dgram out = rw_relayed(&in, y->out_from, y->out_to, y->out_channel);
		size_t udp = 14 + (y->out_to.ip.family == 4 ? 20 : 40);

		memset(some, 0, sizeof(some));
		rw_frame(frame, &out);
		memcpy(some, frame + udp + 6, 2);
		rw_frame(frame, &out);
		T(frame[udp + 6] == 0xff && frame[udp + 7] == 0xff);
		one(y, &in);
	}
	rw_close(&w);
}

/* All values of the fields that are carried over. */
static void test_carried(void)
{
	if (!world_up())
		return;
	for (size_t i = 0; i < ways_len; i++) {
		const struct way *y = &ways[i];
		struct rw_dgram in = rw_dgram(y->from, y->to, y->channel, data, 33);

		for (unsigned v = 0; v < 256; v += 5) {
			in.tos = (uint8_t)v;
			in.ttl = (uint8_t)(v < 2 ? 2 : v);
			in.id = (uint16_t)(v * 257);
			in.frag = v & 1 ? 0x4000 : 0; /* do not fragment */
			one(y, &in);
		}
	}
	rw_close(&w);
}

static void test_random(void)
{
	static uint8_t frame[4096];
	static struct rw_run r;
	uint64_t seed = t_seed();
	unsigned seen[PS_R_COUNT + 1] = {0};

	if (!world_up())
		return;
	for (int i = 0; i < 20000; i++) {
		const struct way *y = &ways[t_rand(&seed) % ways_len];
		struct rw_dgram in = rw_dgram(y->from, y->to, y->channel, data, 0);
		size_t len;

		in.len = t_rand(&seed) % 100;
		in.vlan = (int)(t_rand(&seed) % 3);
		in.trailer = t_rand(&seed) % 4 ? 0 : t_rand(&seed) % 20;
		len = rw_frame(frame, &in);
		for (uint64_t k = t_rand(&seed) % 3; k > 0; k--) {
			size_t most = len < 80 ? len : 80;

			frame[12 + t_rand(&seed) % (most - 12)] ^= (uint8_t)(1
									     << t_rand(&seed) % 8);
		}
		if (t_rand(&seed) % 8 == 0)
			len = 14 + t_rand(&seed) % (len - 14);
		if (!rw_run(&w, frame, len, &r))
			break;
		one_native(y, frame, len, &r);
		if (r.id >= PS_R_COUNT || ps_verdict_of(r.id) != PS_V_DONE)
			T(r.len == len && !memcmp(r.out, frame, len));
		seen[r.id]++;
	}
	for (int id = 0; id <= PS_R_COUNT; id++)
		if (seen[id])
			t_note("%s %u", rw_reason_name[id], seen[id]);
	T_EQ(seen[PS_R_COUNT], 0);
	rw_close(&w);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_rewrites);
	T_RUN(test_zero_sum);
	T_RUN(test_carried);
	T_RUN(test_random);
	return t_done();
}
