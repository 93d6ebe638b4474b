/* SPDX-License-Identifier: Apache-2.0
 *
 * Data through a relay: channels, Send and Data indications, permissions, all combinations of
 * address families, relay to self, refused peers. */
#include "tests/relay_world.h"

#define C1 rw_ep("192.0.2.1:1000")
#define C2 rw_ep("[2001:db8:c::2]:2000")
#define P1 rw_ep("198.51.100.7:7000")
#define P6 rw_ep("[2001:db8:a::7]:7006")

#define SEC NS_PER_SEC

static bool ep_is(struct endpoint a, struct endpoint b)
{
	return endpoint_eq(&a, &b);
}

/* The last datagram went to a peer. */
static void check_to_peer(const struct rw *w, uint16_t port, struct endpoint peer, const void *data,
			  size_t len)
{
	T_EQ(w->rx, RELAY_RX_DONE);
	T(w->sent);
	T_EQ(w->tx.to, RELAY_TO_PEER);
	T_EQ(w->tx.src_port, port);
	T(ep_is(w->tx.dst, peer));
	T_EQ(w->tx.len, len);
	T_MEM(w->tx.buf, data, len);
}

static void check_channel(const struct rw *w, struct endpoint client, uint16_t channel,
			  const void *data, size_t len)
{
	struct turn_chan_hdr h = {0};

	T_EQ(w->rx, RELAY_RX_DONE);
	T(w->sent);
	T_EQ(w->tx.to, RELAY_TO_CLIENT);
	T(ep_is(w->tx.dst, client));
	T(ep_is(w->tx.local, client.ip.family == 4 ? w->at4 : w->at6));
	T(turn_chan_parse(w->tx.buf, (uint32_t)w->tx.len, &h));
	T_EQ(h.number, channel);
	T_EQ(h.len, len);
	T_EQ(h.pad, 0);
	T_MEM(w->tx.buf + TURN_CHAN_HDR_LEN, data, len);
}

static void check_indication(const struct rw *w, struct endpoint client, struct endpoint peer,
			     const void *data, size_t len)
{
	struct endpoint e = {0};
	const uint8_t *p;
	size_t n;

	T_EQ(w->rx, RELAY_RX_DONE);
	T(w->is_stun && ep_is(w->tx.dst, client));
	T_EQ(w->m.method, STUN_DATA);
	T_EQ(w->m.cls, STUN_INDICATION);
	T(stun_xor_addr(&w->m, STUN_A_XOR_PEER_ADDRESS, &e) && ep_is(e, peer));
	p = stun_bytes(&w->m, STUN_A_DATA, &n);
	T(p && n == len);
	if (p && n == len)
		T_MEM(p, data, len);
}

static void test_every_family_combination(void)
{
	struct rw *w = rw_new(NULL);
	const struct endpoint clients[] = {C1, C2}, peers[] = {P1, P6};
	const char *users[] = {RW_ALICE, "bob"};

	for (unsigned c = 0; c < 2; c++) {
		uint16_t port = rw_allocate(w, clients[c], users[c]);

		T(port);
		for (unsigned p = 0; p < 2; p++) {
			uint16_t channel = (uint16_t)(0x4000 + p);

			T_EQ(rw_bind(w, clients[c], users[c], channel, peers[p]), 0);
			rw_channel(w, clients[c], channel, "hello", 5, 0);
			check_to_peer(w, port, peers[p], "hello", 5);
			rw_peer(w, port, &peers[p], "back", 4);
			check_channel(w, clients[c], channel, "back", 4);
			rw_send(w, clients[c], peers[p], "sent", 4);
			check_to_peer(w, port, peers[p], "sent", 4);
		}
	}
	rw_free(w);
}

static void test_routes(void)
{
	struct rw *w = rw_new(NULL);
	const struct endpoint c1 = C1, c2 = C2, p1 = P1, p6 = P6;
	uint16_t port = rw_allocate(w, C1, NULL);
	struct relay_route route;

	T_EQ(rw_bind(w, C1, NULL, 0x4fff, P1), 0);
	T_EQ(relay_from_client(&w->r, &c1, 0x4fff, w->now, &route), RELAY_HIT);
	T_EQ(route.to, RELAY_TO_PEER);
	T_EQ(route.src_port, port);
	T_EQ(route.alloc, w->events[0].alloc);
	T_EQ(route.bind, w->events[0].bind);
	T_EQ(route.to_alloc, RELAY_NONE);
	T(ep_is(route.dst, P1));
	T_EQ(relay_from_peer(&w->r, port, &p1, w->now, &route), RELAY_HIT);
	T_EQ(route.to, RELAY_TO_CLIENT);
	T_EQ(route.channel, 0x4fff);
	T_EQ(route.bind, w->events[0].bind);
	T(ep_is(route.dst, C1) && ep_is(route.local, w->at4));
	T_EQ(relay_from_client(&w->r, &c1, 0x4000, w->now, &route), RELAY_MISS_CHANNEL);
	T_EQ(relay_from_client(&w->r, &c2, 0x4fff, w->now, &route), RELAY_MISS_ALLOC);
	T_EQ(relay_from_peer(&w->r, port, &p6, w->now, &route), RELAY_MISS_CHANNEL);
	T_EQ(relay_from_peer(&w->r, (uint16_t)(port ^ 1), &p1, w->now, &route), RELAY_MISS_ALLOC);
	/* All is over with the allocation, before anybody cleans up. */
	T_EQ(rw_refresh(w, C1, NULL, 5), 0);
	T_EQ(relay_from_client(&w->r, &c1, 0x4fff, w->now + 5 * SEC, &route), RELAY_MISS_ALLOC);
	T_EQ(relay_from_peer(&w->r, port, &p1, w->now + 5 * SEC, &route), RELAY_MISS_ALLOC);
	T_EQ(relay_from_peer(&w->r, port, &p1, w->now + 5 * SEC - 1, &route), RELAY_HIT);
	rw_free(w);
}

static void test_padding_and_lengths(void)
{
	struct rw *w = rw_new(NULL);
	static uint8_t big[RELAY_TX_MAX + 1];
	const struct endpoint p1 = P1, c1 = C1;
	uint16_t port = rw_allocate(w, C1, NULL);

	memset(big, 'b', sizeof(big));
	T_EQ(rw_bind(w, C1, NULL, 0x4000, P1), 0);
	for (unsigned pad = 0; pad <= 3; pad++) {
		rw_channel(w, C1, 0x4000, "abcde", 5, pad);
		check_to_peer(w, port, P1, "abcde", 5);
	}
	T_EQ(rw_channel(w, C1, 0x4000, "abcde", 5, 4), RELAY_RX_MALFORMED);
	T_EQ(rw_input(w, &c1, "\x40\x00\x00\x06zzzzz", 9), RELAY_RX_MALFORMED);
	T_EQ(rw_channel(w, C1, 0x5000, "abcde", 5, 0), RELAY_RX_NO_CHANNEL);
	/* Nothing is something, too. */
	T_EQ(rw_channel(w, C1, 0x4000, "", 0, 0), RELAY_RX_DONE);
	T(w->sent && w->tx.empty && !w->tx.len && w->tx.to == RELAY_TO_PEER);
	rw_peer(w, port, &p1, "", 0);
	check_channel(w, C1, 0x4000, "", 0);
	rw_channel(w, C1, 0x4000, big, 1500, 0);
	check_to_peer(w, port, P1, big, 1500);
	rw_peer(w, port, &p1, big, RELAY_TX_MAX - 4);
	check_channel(w, C1, 0x4000, big, RELAY_TX_MAX - 4);
	T_EQ(rw_peer(w, port, &p1, big, RELAY_TX_MAX - 3), RELAY_RX_TOO_LARGE);
	T(!w->sent);
	rw_free(w);
}

static void test_indications(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_ask(STUN_SEND, C1);
	const struct endpoint p1 = P1, other = rw_ep("198.51.100.7:1"), p6 = P6,
			      far = rw_ep("198.51.100.8:7000");
	uint16_t port;

	T_EQ(rw_send(w, C1, P1, "x", 1), RELAY_RX_NO_ALLOC);
	port = rw_allocate(w, C1, NULL);
	T_EQ(rw_send(w, C1, P1, "x", 1), RELAY_RX_NO_PERMISSION);
	T_EQ(rw_peer(w, port, &p1, "x", 1), RELAY_RX_NO_PERMISSION);
	T_EQ(rw_peer(w, (uint16_t)(port ^ 1), &p1, "x", 1), RELAY_RX_NO_ALLOC);
	T_EQ(rw_permit(w, C1, NULL, P1), 0);
	rw_send(w, C1, P1, "there", 5);
	check_to_peer(w, port, P1, "there", 5);
	/* The permission is the address's, whatever the port. */
	rw_send(w, C1, other, "there", 5);
	check_to_peer(w, port, other, "there", 5);
	rw_peer(w, port, &other, "and back", 8);
	check_indication(w, C1, other, "and back", 8);
	T(!w->m.fp_off && !w->m.mi_off);
	T_EQ(rw_send(w, C1, far, "x", 1), RELAY_RX_NO_PERMISSION);
	T_EQ(rw_send(w, C1, P6, "x", 1), RELAY_RX_NO_PERMISSION);
	T_EQ(rw_peer(w, port, &far, "x", 1), RELAY_RX_NO_PERMISSION);
	T_EQ(rw_peer(w, port, &p6, "x", 1), RELAY_RX_NO_PERMISSION);
	T_EQ(rw_send(w, C1, rw_ep("198.51.100.7:0"), "x", 1), RELAY_RX_DENIED);
	T_EQ(rw_send(w, C1, P1, "", 0), RELAY_RX_DONE);
	T(w->tx.empty);
	T_EQ(w->r.acct.indications_to_client, 1);
	/* Without what it needs, with what we do not know, with a wrong fingerprint. */
	a.cls = STUN_INDICATION;
	rw_addr(&a, STUN_A_XOR_PEER_ADDRESS, P1);
	T_EQ(rw_go(w, &a), -1);
	T_EQ(w->rx, RELAY_RX_MALFORMED);
	rw_bytes(&a, STUN_A_DATA, "d", 1);
	T_EQ(rw_go(w, &a), -1);
	T_EQ(w->rx, RELAY_RX_DONE);
	rw_u32(&a, (enum stun_attr_type)0x7003, 0);
	T_EQ(rw_go(w, &a), -1);
	T_EQ(w->rx, RELAY_RX_IGNORED);
	T(!w->sent);
	a.attrs[2] = (struct rw_attr){.type = STUN_A_DONT_FRAGMENT, .kind = RW_BYTES};
	T_EQ(rw_go(w, &a), -1);
	T_EQ(w->rx, RELAY_RX_IGNORED);
	rw_free(w);
}

/* Five minutes by CreatePermission or ChannelBind, of which Send makes nothing longer. */
static void test_permission_lifetime(void)
{
	struct rw *w = rw_new(NULL);
	const struct endpoint p1 = P1, near = rw_ep("198.51.100.7:9");
	uint16_t port = rw_allocate(w, C1, NULL);
	struct relay_route route;

	T_EQ(rw_permit(w, C1, NULL, P1), 0);
	w->now += RELAY_PERM_NS - 1;
	T_EQ(relay_from_peer(&w->r, port, &p1, w->now, &route), RELAY_HIT_INDICATE);
	T_EQ(rw_send(w, C1, P1, "x", 1), RELAY_RX_DONE);
	w->now++;
	T_EQ(relay_from_peer(&w->r, port, &p1, w->now, &route), RELAY_MISS_CHANNEL);
	T_EQ(rw_send(w, C1, P1, "x", 1), RELAY_RX_NO_PERMISSION);
	T_EQ(rw_bind(w, C1, NULL, 0x4000, P1), 0);
	w->now += RELAY_PERM_NS - 1;
	T_EQ(rw_refresh(w, C1, NULL, 600), 0);
	rw_peer(w, port, &near, "n", 1);
	check_indication(w, C1, near, "n", 1);
	/* The channel itself lasts as long as the channel. */
	w->now++;
	T_EQ(rw_peer(w, port, &near, "n", 1), RELAY_RX_NO_PERMISSION);
	rw_peer(w, port, &p1, "c", 1);
	check_channel(w, C1, 0x4000, "c", 1);
	rw_send(w, C1, P1, "s", 1);
	check_to_peer(w, port, P1, "s", 1);
	T_EQ(rw_send(w, C1, near, "s", 1), RELAY_RX_NO_PERMISSION);
	rw_free(w);
}

/* Two clients of one relay, each the other's peer, over either family. */
static void self_case(bool six, bool answering)
{
	struct rw *w = rw_new(NULL);
	const struct endpoint c1 = C1;
	struct endpoint r1, r2;
	struct relay_route route;
	uint32_t bind;

	r1 = six ? w->at6 : w->at4;
	r2 = r1;
	r1.port = rw_allocate(w, C1, NULL);
	r2.port = rw_allocate(w, C2, "bob");
	T(r1.port && r2.port);
	T_EQ(rw_bind(w, C1, NULL, 0x4001, r2), 0);
	bind = w->events[0].bind;
	T_EQ(rw_channel(w, C1, 0x4001, "self", 4, 0), RELAY_RX_SELF);
	T_EQ(relay_from_client(&w->r, &c1, 0x4001, w->now, &route), RELAY_MISS_SELF);
	T(!w->sent);
	if (!answering) {
		T_EQ(rw_permit(w, C2, "bob", r1), 0);
		T_EQ(relay_from_client(&w->r, &c1, 0x4001, w->now, &route), RELAY_HIT_INDICATE);
		rw_channel(w, C1, 0x4001, "self", 4, 2);
		check_indication(w, C2, r1, "self", 4);
		rw_send(w, C1, r2, "sent", 4);
		check_indication(w, C2, r1, "sent", 4);
		/* And what it answers, by its permission, into the channel. */
		rw_send(w, C2, r1, "back", 4);
		check_channel(w, C1, 0x4001, "back", 4);
	} else {
		T_EQ(rw_bind(w, C2, "bob", 0x4002, r1), 0);
		T_EQ(relay_from_client(&w->r, &c1, 0x4001, w->now, &route), RELAY_HIT);
		T_EQ(route.bind, bind);
		T_EQ(route.to_bind, w->events[0].bind);
		T_EQ(route.to_alloc, w->events[0].alloc);
		T_EQ(route.to, RELAY_TO_CLIENT);
		T_EQ(route.channel, 0x4002);
		T(ep_is(route.dst, C2) && ep_is(route.local, w->at6));
		rw_channel(w, C1, 0x4001, "self", 4, 0);
		check_channel(w, C2, 0x4002, "self", 4);
		rw_channel(w, C2, 0x4002, "back", 4, 0);
		check_channel(w, C1, 0x4001, "back", 4);
		/* The other's channel has expired, but not ours. */
		w->now += 300 * SEC;
		T_EQ(rw_bind(w, C1, NULL, 0x4001, r2), 0);
		T_EQ(rw_refresh(w, C2, "bob", 600), 0);
		w->now += 299 * SEC;
		rw_channel(w, C1, 0x4001, "self", 4, 0);
		check_channel(w, C2, 0x4002, "self", 4);
		T_EQ(rw_refresh(w, C1, NULL, 600), 0);
		w->now += SEC;
		T_EQ(rw_channel(w, C1, 0x4001, "self", 4, 0), RELAY_RX_SELF);
	}
	T_EQ(rw_refresh(w, C2, "bob", 0), 0);
	T_EQ(rw_channel(w, C1, 0x4001, "self", 4, 0), RELAY_RX_SELF);
	rw_free(w);
}

static void test_relay_to_self(void)
{
	self_case(false, false);
	self_case(false, true);
	self_case(true, false);
	self_case(true, true);
}

/* An own address of a family the other allocation lacks, and a relay that lacks a family. */
static void test_relay_to_self_families(void)
{
	struct relay_cfg c = rw_cfg();
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_alloc_ask(C2);
	struct endpoint r2;

	T(rw_allocate(w, C1, NULL));
	a.user = "bob";
	T_EQ(rw_go(w, &a), 0);
	r2 = w->at6;
	r2.port = w->events[0].port;
	T_EQ(rw_bind(w, C1, NULL, 0x4000, r2), 0);
	T_EQ(rw_channel(w, C1, 0x4000, "x", 1, 0), RELAY_RX_SELF);
	rw_free(w);
	/* Single stack: an unset address is nobody's, and the other still works. */
	c.public6 = (struct ipaddr){0};
	w = rw_new(&c);
	T(rw_allocate(w, C1, NULL));
	T_EQ(rw_bind(w, C1, NULL, 0x4000, P1), 0);
	T_EQ(rw_channel(w, C1, 0x4000, "x", 1, 0), RELAY_RX_DONE);
	T_EQ(w->tx.to, RELAY_TO_PEER);
	T_EQ(rw_bind(w, C1, NULL, 0x4001, P6), 443);
	rw_free(w);
}

/* Never a peer: what the issue lists, and our own ports that are no relayed address. */
static void test_denied_peers(void)
{
	static const char *const denied[] = {"0.0.0.0:1",
					     "0.1.2.3:1",
					     "127.0.0.1:3478",
					     "127.255.255.254:1",
					     "169.254.169.254:80",
					     "224.0.0.251:5353",
					     "239.255.255.255:1",
					     "255.255.255.255:67",
					     "240.0.0.1:1",
					     "[::]:1",
					     "[::1]:1",
					     "[fe80::1]:1",
					     "[febf::1]:1",
					     "[ff02::1]:1",
					     "[::ffff:127.0.0.1]:1",
					     "[::ffff:8.8.8.8]:1",
					     "203.0.113.1:3478",
					     "203.0.113.1:53",
					     "[2001:db8::1]:3478",
					     "[2001:db8::1]:22"};
	static const char *const fine[] = {"10.0.0.1:1",       "192.168.1.1:1", "172.16.0.1:1",
					   "8.8.8.8:53",       "[fd00::1]:1",	"[2001:db8::2]:22",
					   "203.0.113.2:3478", "[fec0::1]:1"};
	struct rw *w = rw_new(NULL);

	T(rw_allocate(w, C1, NULL));
	for (size_t i = 0; i < sizeof(denied) / sizeof(*denied); i++) {
		struct endpoint e = rw_ep(denied[i]);
		bool own = ipaddr_eq(&e.ip, &w->at4.ip) || ipaddr_eq(&e.ip, &w->at6.ip);

		T_EQ(rw_bind(w, C1, NULL, 0x4000, e), 403);
		/* A permission has no port: our own addresses may get one, for other clients. */
		T_EQ(rw_permit(w, C1, NULL, e), own ? 0 : 403);
		T_EQ(rw_send(w, C1, e, "x", 1), own ? RELAY_RX_DENIED : RELAY_RX_NO_PERMISSION);
	}
	for (uint16_t i = 0; i < sizeof(fine) / sizeof(*fine); i++)
		T_EQ(rw_bind(w, C1, NULL, (uint16_t)(0x4100 + i), rw_ep(fine[i])), 0);
	rw_free(w);
}

static void rule(struct relay_cfg *c, const char *text, bool allow)
{
	struct ipnet net;

	T_EQ(ipnet_parse(text, &net), 0);
	T_EQ(relay_acl_add(&c->acl, &net, allow), 0);
}

/* The owner's rules come before the built-in ones, in their order. */
static void test_rules(void)
{
	struct relay_cfg c = rw_cfg();
	struct rw *w;

	rule(&c, "10.1.0.0/16", true);
	rule(&c, "10.0.0.0/8", false);
	rule(&c, "127.0.0.0/8", true);
	rule(&c, "fc00::/7", false);
	rule(&c, "203.0.113.1/32", true);
	w = rw_new(&c);
	T(rw_allocate(w, C1, NULL));
	T_EQ(rw_bind(w, C1, NULL, 0x4000, rw_ep("10.1.2.3:1")), 0);
	T_EQ(rw_bind(w, C1, NULL, 0x4001, rw_ep("10.2.2.3:1")), 403);
	T_EQ(rw_permit(w, C1, NULL, rw_ep("10.2.2.3:1")), 403);
	T_EQ(rw_bind(w, C1, NULL, 0x4002, rw_ep("127.0.0.1:1")), 0);
	T_EQ(rw_bind(w, C1, NULL, 0x4003, rw_ep("[fd00::1]:1")), 403);
	/* Other services of our own host if a rule says so; the control port never. */
	T_EQ(rw_bind(w, C1, NULL, 0x4004, rw_ep("203.0.113.1:53")), 0);
	T_EQ(rw_channel(w, C1, 0x4004, "x", 1, 0), RELAY_RX_DONE);
	T_EQ(w->tx.to, RELAY_TO_PEER);
	T_EQ(rw_bind(w, C1, NULL, 0x4005, rw_ep("203.0.113.1:3478")), 403);
	rw_free(w);
}

/* The address behind a NAT that the client really talks to is ours, too. */
static void test_inside_address(void)
{
	struct rw *w = rw_new(NULL);

	w->at4 = rw_ep("10.9.8.7:3478");
	T(rw_allocate(w, C1, NULL));
	T_EQ(rw_bind(w, C1, NULL, 0x4000, rw_ep("10.9.8.7:3478")), 403);
	T_EQ(rw_bind(w, C1, NULL, 0x4000, rw_ep("10.9.8.7:22")), 403);
	T_EQ(rw_bind(w, C1, NULL, 0x4000, rw_ep("10.9.8.8:22")), 0);
	rw_free(w);
}

/* What a NAT64 or a 6to4 gateway would make of an address decides, too. */
static void test_embedded_addresses(void)
{
	static const char *const denied[] = {
		"[::127.0.0.1]:5000",
		"[::10.1.2.3]:5000",
		"[::ffff:0:10.1.2.3]:5000",
		"[64:ff9b::127.0.0.1]:5000",
		"[64:ff9b::a9fe:a9fe]:80",
		"[64:ff9b:1::10.2.3.4]:5000",
		"[2002:7f00:1::1]:5000",
		"[2002:a9fe:a9fe::1]:80",
		"[2001::1]:5000",
		"[64:ff9b::10.77.0.1]:1",
		"[2002:a4d:1::]:1",
		"[64:ff9b::203.0.113.1]:3478",
		/* Not even other clients' relayed addresses: those have a way without a gateway. */
		"[64:ff9b::203.0.113.1]:50000",
		"[2002:cb00:7101::9]:22",
	};
	static const char *const fine[] = {"[64:ff9b::192.0.2.9]:5000", "[2002:c000:209::1]:5000",
					   "[64:ff9b::10.1.2.3]:5000", "[2001:db8:1::9]:5000"};
	struct relay_cfg c = rw_cfg();
	struct rw *w;

	rule(&c, "10.77.0.0/16", false);
	w = rw_new(&c);
	T(rw_allocate(w, C1, NULL));
	for (size_t i = 0; i < sizeof(denied) / sizeof(*denied); i++)
		T_EQ(rw_bind(w, C1, NULL, 0x4000, rw_ep(denied[i])), 403);
	for (uint16_t i = 0; i < sizeof(fine) / sizeof(*fine); i++)
		T_EQ(rw_bind(w, C1, NULL, (uint16_t)(0x4100 + i), rw_ep(fine[i])), 0);
	rw_free(w);
	/* Unless a rule speaks of the IPv6 address. */
	rule(&c, "64:ff9b::/96", true);
	w = rw_new(&c);
	T(rw_allocate(w, C1, NULL));
	T_EQ(rw_bind(w, C1, NULL, 0x4000, rw_ep("[64:ff9b::10.77.0.1]:1")), 0);
	rw_free(w);
}

/* Addresses of the relay's host that no client is told are no way to its services, nor to its
 * control port. */
static void test_host_addresses(void)
{
	const struct ipaddr host[] = {rw_ep("203.0.113.1:0").ip, rw_ep("172.17.0.1:0").ip,
				      rw_ep("[fd00::5]:0").ip};
	struct relay_cfg c = rw_cfg();
	struct rw *w;

	rule(&c, "172.17.0.0/16", true);
	for (unsigned allowed = 0; allowed < 2; allowed++) {
		w = rw_new(allowed ? &c : NULL);
		T(rw_allocate(w, C1, NULL));
		T(rw_allocate(w, C2, NULL));
		T_EQ(rw_bind(w, C1, NULL, 0x4000, rw_ep("172.17.0.1:9000")), 0);
		relay_set_host(&w->r, host, 3);
		T_EQ(rw_bind(w, C1, NULL, 0x4001, rw_ep("172.17.0.1:3478")), 403);
		T_EQ(rw_bind(w, C1, NULL, 0x4002, rw_ep("172.17.0.1:22")), allowed ? 0 : 403);
		T_EQ(rw_bind(w, C1, NULL, 0x4003, rw_ep("172.17.0.1:50000")), allowed ? 0 : 403);
		T_EQ(rw_bind(w, C1, NULL, 0x4004, rw_ep("203.0.113.1:50000")), 0);
		T_EQ(rw_bind(w, C1, NULL, 0x4005, rw_ep("172.17.0.2:22")), 0);
		T_EQ(rw_permit(w, C1, NULL, rw_ep("172.17.0.1:0")), 0);
		T_EQ(rw_send(w, C1, rw_ep("172.17.0.1:3478"), "x", 1), RELAY_RX_DENIED);
		relay_set_host(&w->r, NULL, 0);
		T_EQ(rw_bind(w, C1, NULL, 0x4006, rw_ep("172.17.0.1:23")), 0);
		rw_free(w);
	}
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_every_family_combination);
	T_RUN(test_routes);
	T_RUN(test_padding_and_lengths);
	T_RUN(test_indications);
	T_RUN(test_permission_lifetime);
	T_RUN(test_relay_to_self);
	T_RUN(test_relay_to_self_families);
	T_RUN(test_denied_peers);
	T_RUN(test_rules);
	T_RUN(test_inside_address);
	T_RUN(test_embedded_addresses);
	T_RUN(test_host_addresses);
	return t_done();
}
