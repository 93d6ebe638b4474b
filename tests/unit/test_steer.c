/* SPDX-License-Identifier: Apache-2.0
 * Which processor a path has (plan/steer.h), and whether an interface is steered at all
 * (io/bpf_steer.h): the whole table of that. */
#include "io/bpf_steer.h"
#include "plan/steer.h"
#include "tests/t.h"

#define PORT 51820

static size_t frame(uint8_t *p, int family, int vlan, uint32_t host, uint16_t sport,
		    uint16_t channel)
{
	size_t at = 12, hlen = family == 4 ? 20 : 40, len = 8 + (channel ? 4 : 0) + 64;

	memset(p, 0, 256);
	if (vlan) {
		ps_be16_put(p + at, PS_ETHERTYPE_VLAN);
		at += 4;
	}
	ps_be16_put(p + at, family == 4 ? PS_ETHERTYPE_IP4 : PS_ETHERTYPE_IP6);
	at += 2;
	p[at] = family == 4 ? 0x45 : 0x60;
	ps_be16_put(p + at + (family == 4 ? 2 : 4), (uint16_t)(family == 4 ? len + 20 : len));
	p[at + (family == 4 ? 9 : 6)] = 17;
	memcpy(p + at + (family == 4 ? 12 : 20), &host, 4);
	at += hlen;
	ps_be16_put(p + at, sport);
	ps_be16_put(p + at + 2, PORT);
	ps_be16_put(p + at + 4, (uint16_t)len);
	at += 8;
	if (channel) {
		ps_be16_put(p + at, channel);
		ps_be16_put(p + at + 2, 64);
		at += 4;
	}
	p[at] = 4;
	return at + 64;
}

static uint32_t slot(int family, int vlan, uint32_t host, uint16_t sport, uint16_t channel,
		     uint8_t counter)
{
	struct ps_config cfg = {.port4 = ps_be16(PORT), .port6 = ps_be16(PORT)};
	struct ps_outer o = {0};
	uint8_t p[256];
	size_t len = frame(p, family, vlan, host, sport, channel);

	p[len - 56] = counter; /* and, with it, a session: neither is the path */
	p[len - 60] = counter;
	T_EQ(ps_rx_classify(p, p + len, &cfg, &o), PS_GO_ON);
	return ps_steer_slot(p, p + len, &o);
}

/* One path, one slot; what the frame holds, and its VLAN, make no difference. */
static void test_path_keeps_its_slot(void)
{
	for (int family = 4; family <= 6; family += 2)
		for (uint16_t channel = 0; channel < 2; channel++) {
			uint16_t number = channel ? 0x4001 : 0;
			uint32_t first = slot(family, 0, 7, 4000, number, 0);

			for (uint8_t i = 1; i < 20; i++) {
				T_EQ(slot(family, 0, 7, 4000, number, i), first);
				T_EQ(slot(family, 1, 7, 4000, number, i), first);
			}
		}
}

/* Many paths are spread: by address, by port, by channel alone. No slot gets four times its share.
 */
static void test_paths_are_spread(void)
{
	for (int family = 4; family <= 6; family += 2)
		for (int by = 0; by < 3; by++) {
			uint32_t count[PS_STEER_SLOTS] = {0};

			for (uint32_t i = 0; i < 16 * PS_STEER_SLOTS; i++)
				count[slot(family, 0, by == 0 ? ps_be32(0x0a000000 + i) : 7,
					   (uint16_t)(by == 1 ? 1024 + i : 4000),
					   (uint16_t)(by == 2 ? 0x4000 + i : 0), 0)]++;
			for (uint32_t i = 0; i < PS_STEER_SLOTS; i++)
				T(count[i] < 64);
		}
}

static void test_unfinished(void)
{
	for (int family = 4; family <= 6; family += 2)
		for (int vlan = 0; vlan < 2; vlan++) {
			uint32_t at = 0, len = 0;
			uint8_t p[256], *sum;
			size_t n = frame(p, family, vlan, 7, 4000, 0), udp = n - 64 - 8;
			const uint8_t *addr = p + udp - (family == 4 ? 8 : 32);
			uint32_t pseudo = 17 + 72;

			for (size_t i = 0; i < (family == 4 ? 8 : 32); i += 2)
				pseudo += (uint32_t)(addr[i] << 8 | addr[i + 1]);
			pseudo = (pseudo & 0xffff) + (pseudo >> 16);
			sum = p + udp + 6;
			T_EQ(ps_steer_unfinished(p, p + n, &at, &len), PS_STEER_SUM_DONE);
			ps_be16_put(sum, (uint16_t)pseudo);
			T_EQ(ps_steer_unfinished(p, p + n, &at, &len),
			     family == 4 ? PS_STEER_SUM_4 : PS_STEER_SUM_6);
			T_EQ(at, udp);
			T_EQ(len, 72);
			ps_be16_put(sum, (uint16_t)(pseudo + 1));
			T_EQ(ps_steer_unfinished(p, p + n, &at, &len), PS_STEER_SUM_DONE);
			for (size_t cut = 0; cut < udp + 8; cut++)
				T_EQ(ps_steer_unfinished(p, p + cut, &at, &len), PS_STEER_SUM_DONE);
		}
}

/* ---- busy paths ---- */

#define OTHER 5u
#define FAST  (PS_BUSY_NS / PS_BUSY_RUN - 1) /* ns from packet to packet */
#define SLOW  (PS_BUSY_NS / PS_BUSY_RUN + 1)

/* n packets, gap ns apart from *now on: how many were handed on. Those that were are done. */
static int packets(struct ps_busy *b, uint64_t *now, int n, uint64_t gap)
{
	int handed = 0;

	for (int i = 0; i < n; i++, *now += gap) {
		uint32_t to = ps_busy_to(b, *now, OTHER);

		T(to == 0 || to == OTHER + 1);
		handed += to != 0;
		b->done += to != 0;
	}
	return handed;
}

/* Fast for a whole run and then a pause: not before both. */
static void test_busy_begins(void)
{
	struct ps_busy b = {0};
	uint64_t now = 1000000000;

	T_EQ(packets(&b, &now, 10 * PS_BUSY_RUN, FAST), 0); /* it never pauses */
	now += PS_BUSY_PAUSE_NS - FAST - 1;
	T_EQ(packets(&b, &now, 1, 0), 0);
	now += PS_BUSY_PAUSE_NS;
	T_EQ(packets(&b, &now, 100, FAST), 100);
}

static void test_busy_sparse(void)
{
	struct ps_busy b = {0};
	uint64_t now = 1000000000;

	T_EQ(packets(&b, &now, 10 * PS_BUSY_RUN, SLOW), 0);
	now += PS_BUSY_PAUSE_NS;
	T_EQ(packets(&b, &now, 10 * PS_BUSY_RUN, PS_BUSY_PAUSE_NS), 0);
}

/* Slow again: it goes on until a pause, and then stays where it arrives. */
static void test_busy_ends(void)
{
	struct ps_busy b = {0};
	uint64_t now = 1000000000;

	packets(&b, &now, 3 * PS_BUSY_RUN, FAST);
	now += PS_BUSY_PAUSE_NS;
	T_EQ(packets(&b, &now, 2 * PS_BUSY_RUN, SLOW), 2 * PS_BUSY_RUN);
	now += PS_BUSY_PAUSE_NS;
	T_EQ(packets(&b, &now, 2 * PS_BUSY_RUN, SLOW), 0);
}

/* While one that was handed on has not begun there, or is lost, none may be decrypted here: short
 * of a second without any. */
static void test_busy_under_way(void)
{
	struct ps_busy b = {0};
	uint64_t now = 1000000000;

	packets(&b, &now, 3 * PS_BUSY_RUN, FAST);
	now += PS_BUSY_PAUSE_NS;
	packets(&b, &now, 2 * PS_BUSY_RUN, SLOW);
	b.done--;
	for (int i = 0; i < 10; i++) {
		now += PS_FORCE_NS - SLOW - 1;
		T_EQ(packets(&b, &now, 1, 0), 1);
	}
	now += PS_FORCE_NS;
	T_EQ(packets(&b, &now, 1, 0), 0);
}

/* What was fast long ago says nothing of now. */
static void test_busy_forgets(void)
{
	struct ps_busy b = {0};
	uint64_t now = 1000000000;

	packets(&b, &now, 3 * PS_BUSY_RUN, FAST);
	now += PS_FORCE_NS;
	T_EQ(packets(&b, &now, 1, 0), 0);
}

/* A path whose packets are user space's is not handed on; one with a few of them is. */
static void test_busy_passed(void)
{
	for (int every = 1; every <= 8; every *= 8) {
		struct ps_busy b = {0};
		uint64_t now = 1000000000;

		for (int i = 0; i < 3 * PS_BUSY_RUN; i++) {
			T_EQ(packets(&b, &now, 1, FAST), 0);
			if (i % every == 0)
				ps_busy_passed(&b);
		}
		now += PS_BUSY_PAUSE_NS;
		T_EQ(packets(&b, &now, 1, 0), every == 8);
	}
}

/* ---- AF_XDP ---- */

/* Direct frames of a session that is there, and nothing else. */
static void test_what_af_xdp_takes(void)
{
	struct ps_session s = {.local_idx = 77, .flags = PS_SESS_USED};
	struct ps_outer o = {.link_len = PS_ETH_HLEN, .receiver = 77};

	T(ps_xsk_takes(&s, &o));
	s.flags |= PS_SESS_CONFIRMED;
	T(ps_xsk_takes(&s, &o));
	T(!ps_xsk_takes(NULL, &o));
	o.receiver = 78;
	T(!ps_xsk_takes(&s, &o));
	o.receiver = s.local_idx = 0;
	T(!ps_xsk_takes(&s, &o));
	o.receiver = s.local_idx = 77;
	s.flags = PS_SESS_CONFIRMED;
	T(!ps_xsk_takes(&s, &o));
	s.flags = PS_SESS_USED;
	o.link_len += PS_VLAN_HLEN;
	T(!ps_xsk_takes(&s, &o));
	o.link_len = PS_ETH_HLEN;
	o.via.word[0] = 4;
	T(!ps_xsk_takes(&s, &o));
}

static void test_af_xdp_slots(void)
{
	T_EQ(ps_xsk_slot(0, 0), 0);
	T_EQ(ps_xsk_slot(1, 0), PS_XSK_QUEUES);
	T_EQ(ps_xsk_slot(PS_XSK_WANS - 1, PS_XSK_QUEUES - 1), PS_XSK_WANS * PS_XSK_QUEUES - 1);
	T_EQ(ps_xsk_slot(0, PS_XSK_QUEUES), PS_NO_SLOT);
	T_EQ(ps_xsk_slot(PS_XSK_WANS, 0), PS_NO_SLOT);
}

struct row {
	enum bpf_steer asked;
	struct bpf_steer_facts f;
	enum bpf_steer want;
	const char *why;
};

static void choices(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char why[BPF_STEER_WHY] = "";

		T_EQ(bpf_steer_choose(rows[i].asked, &rows[i].f, why), rows[i].want);
		if (!T(strstr(why, rows[i].why)))
			t_note("row %zu: %s", i, why);
	}
}

static void test_choice(void)
{
	static const struct row rows[] = {
		{BPF_STEER_RSS, {1, 8, false, true, false, true, true}, BPF_STEER_RSS, "asked for"},
		{BPF_STEER_CPUMAP,
		 {8, 1, true, true, true, true, true},
		 BPF_STEER_CPUMAP,
		 "asked for"},
		{BPF_STEER_CPUMAP,
		 {1, 8, false, false, false, true, true},
		 BPF_STEER_RSS,
		 "program"},
		{BPF_STEER_CPUMAP, {1, 8, false, true, false, false, true}, BPF_STEER_RSS, "6.18"},
		{BPF_STEER_AUTO, {1, 8, false, true, false, false, true}, BPF_STEER_RSS, "6.18"},
		{BPF_STEER_BUSY, {8, 1, true, true, true, true, true}, BPF_STEER_BUSY, "asked for"},
		{BPF_STEER_BUSY, {8, 1, true, true, true, false, true}, BPF_STEER_RSS, "6.18"},
		{BPF_STEER_AUTO, {1, 2, false, true, false, true, true}, BPF_STEER_RSS, "two"},
		{BPF_STEER_AUTO,
		 {1, 1, false, true, false, true, true},
		 BPF_STEER_RSS,
		 "one processor"},
		{BPF_STEER_AUTO,
		 {1, 1, false, true, true, true, true},
		 BPF_STEER_RSS,
		 "one processor"},
		{BPF_STEER_AUTO, {1, 2, false, true, true, true, true}, BPF_STEER_BUSY, "no RPS"},
		{BPF_STEER_AUTO,
		 {1, 2, true, true, true, true, true},
		 BPF_STEER_RSS,
		 "RPS spreads"},
		{BPF_STEER_AUTO, {2, 2, false, true, true, true, true}, BPF_STEER_RSS, "several"},
		{BPF_STEER_AUTO, {0, 8, false, true, false, true, true}, BPF_STEER_RSS, "queues"},
		{BPF_STEER_AUTO, {2, 8, false, true, false, true, true}, BPF_STEER_RSS, "several"},
		{BPF_STEER_AUTO, {1, 8, false, true, true, true, true}, BPF_STEER_BUSY, "no RPS"},
		{BPF_STEER_AUTO,
		 {1, 8, true, true, true, true, true},
		 BPF_STEER_RSS,
		 "RPS spreads"},
		{BPF_STEER_AUTO,
		 {1, 8, true, true, false, true, true},
		 BPF_STEER_CPUMAP,
		 "one receive"},
		{BPF_STEER_AUTO,
		 {1, 8, false, true, false, true, true},
		 BPF_STEER_CPUMAP,
		 "one receive"},
	};

	choices(rows, sizeof(rows) / sizeof(*rows));
}

/* Asked for, it needs what it needs; else it is not taken. */
static void test_choice_of_af_xdp(void)
{
	static const struct row rows[] = {
		{BPF_STEER_XSK, {1, 1, true, true, false, false, true}, BPF_STEER_XSK, "asked for"},
		{BPF_STEER_XSK, {8, 8, false, true, false, true, true}, BPF_STEER_XSK, "asked for"},
		{BPF_STEER_XSK,
		 {1, 8, false, false, false, true, true},
		 BPF_STEER_RSS,
		 "no receive program"},
		{BPF_STEER_XSK,
		 {1, 8, false, true, true, true, true},
		 BPF_STEER_RSS,
		 "xsk needs native XDP"},
		{BPF_STEER_XSK,
		 {1, 8, false, true, false, true, false},
		 BPF_STEER_RSS,
		 "xsk needs workers"},
		{BPF_STEER_AUTO, {8, 2, false, true, false, true, false}, BPF_STEER_RSS, "several"},
		{BPF_STEER_AUTO, {8, 8, false, true, true, true, true}, BPF_STEER_RSS, "several"},
		{BPF_STEER_AUTO,
		 {8, 8, false, false, false, true, true},
		 BPF_STEER_RSS,
		 "no receive program"},
		{BPF_STEER_RSS, {8, 8, false, true, false, true, true}, BPF_STEER_RSS, "asked for"},
		{BPF_STEER_CPUMAP,
		 {8, 8, false, true, false, true, true},
		 BPF_STEER_CPUMAP,
		 "asked for"},

	};

	choices(rows, sizeof(rows) / sizeof(*rows));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_path_keeps_its_slot);
	T_RUN(test_paths_are_spread);
	T_RUN(test_unfinished);
	T_RUN(test_what_af_xdp_takes);
	T_RUN(test_af_xdp_slots);
	T_RUN(test_busy_begins);
	T_RUN(test_busy_sparse);
	T_RUN(test_busy_ends);
	T_RUN(test_busy_under_way);
	T_RUN(test_busy_forgets);
	T_RUN(test_busy_passed);
	T_RUN(test_choice);
	T_RUN(test_choice_of_af_xdp);
	return t_done();
}
