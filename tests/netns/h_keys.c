/* SPDX-License-Identifier: Apache-2.0
 *
 * Is there a live session key in a dump? No test can ask a daemon for its keys, so every 32 bytes
 * of every dump are tried as one: against WireGuard data packets captured on the wire.
 *
 *     h_keys CAPTURE.pcap [BPFTOOL-JSON…]
 *
 * Reads all maps of ours on the machine by system call, and the bytes in what `bpftool -j map dump`
 * printed. Exit 0: no key opens any packet; 1: one does; 2: nothing to search or to try. Flow keys
 * and the like are searched too: a hit is an opened packet, so there are no false alarms. */
#include <bpf/bpf.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/libbpf.h>

#define PACKETS_MAX 4	/* one session in each direction, and a spare of both */
#define TEXT_MAX    256 /* small packets are tried: the search is long */

struct packet {
	unsigned char nonce[12], text[TEXT_MAX];
	size_t len;
	unsigned receiver;
};

static struct packet packets[PACKETS_MAX];
static size_t packets_len;
static unsigned long long tried, searched;
static int found;

static unsigned le32(const unsigned char *p)
{
	return (unsigned)p[0] | (unsigned)p[1] << 8 | (unsigned)p[2] << 16 | (unsigned)p[3] << 24;
}

static void packet_add(const unsigned char *p, size_t len)
{
	struct packet *k = &packets[packets_len];

	if (packets_len == PACKETS_MAX || len < 32 + 20 || len > 16 + TEXT_MAX || le32(p) != 4)
		return;
	for (size_t i = 0; i < packets_len; i++) {
		if (packets[i].receiver == le32(p + 4))
			return;
	}
	memset(k->nonce, 0, 4);
	memcpy(k->nonce + 4, p + 8, 8);
	k->len = len - 16;
	memcpy(k->text, p + 16, k->len);
	k->receiver = le32(p + 4);
	packets_len++;
}

/* Ethernet frames of a classic little-endian capture, UDP over either family without options. */
static int capture_read(const char *path)
{
	static unsigned char head[24], rec[16], b[65536];
	FILE *f = fopen(path, "rb");

	if (!f || fread(head, 24, 1, f) != 1 || le32(head + 20) != 1) {
		fprintf(stderr, "h_keys: %s is no Ethernet capture\n", path);
		if (f)
			fclose(f);
		return 0;
	}
	while (fread(rec, 16, 1, f) == 1) {
		size_t len = le32(rec + 8), at;

		if (len > sizeof(b) || fread(b, 1, len, f) != len)
			break;
		if (len > 42 && b[12] == 8 && b[13] == 0 && b[14] == 0x45 && b[23] == 17)
			at = 42;
		else if (len > 62 && b[12] == 0x86 && b[13] == 0xdd && b[20] == 17)
			at = 62;
		else
			continue;
		packet_add(b + at, len - at);
	}
	fclose(f);
	return packets_len > 0;
}

static int plausible(const unsigned char *key)
{
	int zeros = 0;

	for (int i = 0; i < 32; i++)
		zeros += key[i] == 0;
	return zeros < 8; /* 32 random bytes have 8 zeros once in 10^14 */
}

static void search(const unsigned char *p, size_t len, const char *where)
{
	unsigned char text[TEXT_MAX];

	searched += len;
	for (size_t i = 0; i + 32 <= len; i++) {
		if (!plausible(p + i))
			continue;
		tried++;
		for (size_t k = 0; k < packets_len; k++) {
			if (crypto_aead_chacha20poly1305_ietf_decrypt(
				    text, NULL, NULL, packets[k].text, packets[k].len, NULL, 0,
				    packets[k].nonce, p + i))
				continue;
			printf("# %s: a session key at byte %zu\n", where, i);
			found = 1;
		}
	}
}

static void map_search(int fd, const struct bpf_map_info *info)
{
	int cpus = libbpf_num_possible_cpus();
	int per_cpu = info->type == BPF_MAP_TYPE_PERCPU_ARRAY ||
		      info->type == BPF_MAP_TYPE_PERCPU_HASH;
	size_t len = (info->value_size + 7) & ~7u;
	unsigned char key[256], next[256], *value;
	int first = 1;

	len *= per_cpu ? (size_t)cpus : 1;
	value = calloc(1, len);
	while (value && info->key_size <= sizeof(key) &&
	       !bpf_map_get_next_key(fd, first ? NULL : key, next)) {
		first = 0;
		memcpy(key, next, sizeof(key));
		if (!bpf_map_lookup_elem(fd, key, value))
			search(value, len, info->name);
	}
	free(value);
}

static int maps_search(void)
{
	unsigned id = 0;
	int maps = 0;

	while (!bpf_map_get_next_id(id, &id)) {
		struct bpf_map_info info = {0};
		unsigned len = sizeof(info);
		int fd = bpf_map_get_fd_by_id(id);

		if (fd < 0)
			continue;
		if (!bpf_obj_get_info_by_fd(fd, &info, &len) &&
		    (!strncmp(info.name, "ps_", 3) || !strncmp(info.name, "penstock", 8))) {
			map_search(fd, &info);
			maps++;
		}
		close(fd);
	}
	return maps;
}

/* The "0x…" words of a JSON dump, in order. */
static void json_search(const char *path)
{
	FILE *f = fopen(path, "r");
	size_t n = 0, cap = 1 << 16;
	unsigned char *b = malloc(cap);
	int c, state = 0;

	while (f && b && (c = fgetc(f)) != EOF) {
		int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

		if (state == 2 && v >= 0) {
			if (n == cap)
				b = realloc(b, cap *= 2);
			b[n] = (unsigned char)(v << 4);
			state = 3;
		} else if (state == 3 && v >= 0) {
			b[n++] |= (unsigned char)v;
			state = 0;
		} else {
			state = c == '0' ? 1 : state == 1 && c == 'x' ? 2 : 0;
		}
	}
	if (f)
		fclose(f);
	if (b)
		search(b, n, path);
	free(b);
}

int main(int argc, char **argv)
{
	int maps;

	if (argc < 2 || sodium_init() < 0 || !capture_read(argv[1]))
		return 2;
	maps = maps_search();
	for (int i = 2; i < argc; i++)
		json_search(argv[i]);
	printf("# %d maps, %llu bytes, %llu candidates tried on %zu packets\n", maps, searched,
	       tried, packets_len);
	if (!maps || !searched)
		return 2;
	return found;
}
