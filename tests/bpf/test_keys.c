/* SPDX-License-Identifier: Apache-2.0
 * No dump of any map shows a key, or any eight bytes of one: not by system calls, not by bpftool,
 * not after packets were decrypted and encrypted with it, nor after it was replaced or wiped. */
#include "tests/bpf/kworld.h"

static struct kworld w;

struct hay {
	uint8_t *b;
	size_t len, cap;
};

static void hay_add(struct hay *h, const void *p, size_t len)
{
	if (h->len + len > h->cap) {
		h->cap = (h->len + len) * 2;
		h->b = realloc(h->b, h->cap);
	}
	memcpy(h->b + h->len, p, len);
	h->len += len;
}

static int needles_in(const struct hay *h, const uint8_t key[32])
{
	int found = 0;

	for (int i = 0; i + 8 <= 32; i++)
		found += memmem(h->b, h->len, key + i, 8) != NULL;
	return found;
}

/* All entries of a map, as the system calls give them. */
static void dump_syscall(struct hay *h, const struct bpf_map *map)
{
	enum bpf_map_type type = bpf_map__type(map);
	bool per_cpu = type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH;
	size_t each = (bpf_map__value_size(map) + 7) & ~7u;
	size_t len = per_cpu ? each * (size_t)w.k.cpus : each;
	uint8_t *value = calloc(1, len + 8), key[128], next[128];
	int fd = bpf_map__fd(map);
	bool first = true;

	T(bpf_map__key_size(map) <= sizeof(key));
	while (!bpf_map_get_next_key(fd, first ? NULL : key, next)) {
		first = false;
		memcpy(key, next, sizeof(key));
		if (!bpf_map_lookup_elem(fd, key, value)) {
			hay_add(h, key, bpf_map__key_size(map));
			hay_add(h, value, len);
		}
	}
	free(value);
}

/* The bytes in what bpftool prints: raw JSON ("0x1f","0x00",…) has them in order. */
static size_t dump_bpftool(struct hay *h, const struct bpf_map *map)
{
	struct bpf_map_info info = {0};
	uint32_t info_len = sizeof(info);
	char cmd[128], word[4096];
	size_t n = 0;
	FILE *f;

	if (bpf_obj_get_info_by_fd(bpf_map__fd(map), &info, &info_len))
		return 0;
	snprintf(cmd, sizeof(cmd),
		 "PATH=$PATH:/usr/sbin:/sbin bpftool -j map dump id %u 2>/dev/null", info.id);
	f = popen(cmd, "r");
	while (f && fgets(word, sizeof(word), f)) {
		for (const char *s = word; (s = strstr(s, "0x")); s += 2) {
			uint8_t byte = (uint8_t)strtoul(s, NULL, 16);

			hay_add(h, &byte, 1);
			n++;
		}
	}
	if (f)
		pclose(f);
	return n;
}

static struct hay dump_all(bool plain)
{
	struct hay h = {0};
	struct bpf_map *map;
	int maps = 0;

	for (map = bpf_object__next_map(w.k.obj, NULL); map;
	     map = bpf_object__next_map(w.k.obj, map)) {
		if (plain && !strcmp(bpf_map__name(map), "ps_key"))
			continue;
		dump_syscall(&h, map);
		dump_bpftool(&h, map);
		maps++;
	}
	T(maps >= 10);
	return h;
}

static void traffic(void)
{
	static const uint8_t eth[12];
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT};
	struct kern_run r;
	uint8_t text[2048];
	struct kpkt p;

	for (size_t payload = 0; payload < 1400; payload += 97) {
		struct kinner in = kw_inner(4, 17, payload), back = kw_inner_back(4, 6, payload);

		kw_seal(&w, &p, &o, text, kp_inner(text, &in));
		T_EQ(kern_run(&w.k, w.k.wan_rx, p.b, p.len, NULL, 0, &r), 0);
		T_EQ(r.id, PS_R_XDP_DELIVERED);
		p.b[p.len - 1] ^= 1;
		kw_seal(&w, &p, &o, text, 3); /* one that is refused half way */
		T_EQ(kern_run(&w.k, w.k.wan_rx, p.b, p.len, NULL, 0, &r), 0);
		memcpy(p.b, eth, 12);
		kp_be16(p.b + 12, 0x0800);
		p.len = KP_ETH + kp_inner(p.b + KP_ETH, &back);
		T_EQ(kern_run(&w.k, w.k.tun_out, p.b, p.len, NULL, 0, &r), 0);
		T_EQ(r.id, PS_R_TX_SENT);
	}
}

static void search(const char *when, const uint8_t *a, const uint8_t *b, bool plain)
{
	struct hay h = dump_all(plain);

	T(h.len > 10000);
	if (!T_EQ(needles_in(&h, a), 0) || !T_EQ(needles_in(&h, b), 0))
		t_note("found %s", when);
	free(h.b);
}

static void keys_hidden(bool plain)
{
	uint8_t old_recv[32], old_send[32];
	struct hay h = {0};

	if (!kw_open(&w, plain))
		return;
	if (w.k.plain && !plain) {
		t_skip("this kernel has no typed pointers in map values: keys cannot be hidden");
		kern_close(&w.k);
		return;
	}
	/* The search itself must be able to find something: a tunnel address, in both dumps. */
	dump_syscall(&h, bpf_object__find_map_by_name(w.k.obj, "ps_flow_in"));
	T(memmem(h.b, h.len, kw_host6, 16) != NULL);
	free(h.b);
	search("after installation", w.recv_key, w.send_key, plain);
	traffic();
	search("after traffic", w.recv_key, w.send_key, plain);
	memcpy(old_recv, w.recv_key, 32);
	memcpy(old_send, w.send_key, 32);
	for (int i = 0; i < 32; i++) {
		w.recv_key[i] = (uint8_t)~old_recv[i];
		w.send_key[i] = (uint8_t)(old_send[i] + 77);
	}
	T_EQ(kern_set_keys(&w.k, KW_SLOT, w.recv_key, w.send_key), 0);
	traffic();
	search("replaced", old_recv, old_send, plain);
	search("the new ones", w.recv_key, w.send_key, plain);
	T_EQ(kern_set_keys(&w.k, KW_SLOT, NULL, NULL), 0);
	search("wiped", w.recv_key, w.send_key, false);
	kern_close(&w.k);
}

static void test_keys_hidden(void)
{
	keys_hidden(false);
}

/* The object for older kernels can hide them nowhere but in ps_key, and wipes them there. */
static void test_keys_plain(void)
{
	struct hay h = {0};

	keys_hidden(true);
	if (!kw_open(&w, true))
		return;
	dump_syscall(&h, bpf_object__find_map_by_name(w.k.obj, "ps_key"));
	T_EQ(needles_in(&h, w.recv_key), 25); /* the search finds what is there */
	h.len = 0;
	if (dump_bpftool(&h, bpf_object__find_map_by_name(w.k.obj, "ps_key")))
		t_note("bpftool: %d of 25 pieces of a plain key", needles_in(&h, w.recv_key));
	free(h.b);
	kern_close(&w.k);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_keys_hidden);
	T_RUN(test_keys_plain);
	return t_done();
}
