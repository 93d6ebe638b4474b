/* SPDX-License-Identifier: Apache-2.0
 *
 * Every backend of the AEAD for bulk data against libsodium. The input is a batch: its first byte
 * says how many jobs and whether in place; each job then takes 8 bytes: length (2), key, counter's
 * top and bottom byte, what to tamper with (2) and how to fill. Checked besides memory safety:
 * sealed bytes are the same, exactly what was tampered with is refused, refused packets leave no
 * plaintext, and nothing is written beyond `out`. */
#include <stdlib.h>
#include <string.h>
#include "crypto/aead_backend.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_JOBS 24
#define MAX_LEN	 2100
#define MARK	 0xa5

struct packet {
	uint8_t key[AEAD_KEY];
	uint64_t counter;
	uint32_t len, tamper; /* the bit of the sealed packet to change; none if beyond it */
	uint8_t plain[MAX_LEN], sealed[MAX_LEN + AEAD_TAG];
};

static struct packet packets[MAX_JOBS];
static struct aead_job jobs[MAX_JOBS];
/* Exactly as long as they need be, so that the sanitizers see the byte beyond. */
static uint8_t *in[MAX_JOBS], *out[MAX_JOBS];

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void packet_read(struct packet *p, const uint8_t d[8])
{
	p->len = (uint32_t)(d[0] << 8 | d[1]) % (MAX_LEN + 1);
	memset(p->key, d[2], sizeof(p->key));
	p->counter = (uint64_t)d[3] << 56 | d[4];
	p->tamper = (uint32_t)(d[5] << 8 | d[6]);
	for (uint32_t i = 0; i < p->len; i++)
		p->plain[i] = (uint8_t)(d[7] + i * (d[7] & 3));
	aead_seal(p->sealed, p->key, p->counter, NULL, 0, p->plain, p->len);
}

static bool tampered(const struct packet *p)
{
	return p->tamper < (p->len + AEAD_TAG) * 8;
}

static void lay_out(size_t n, bool opening, bool in_place)
{
	for (size_t i = 0; i < n; i++) {
		const struct packet *p = &packets[i];
		size_t room = p->len + AEAD_TAG, in_len = opening || in_place ? room : p->len;
		size_t out_len = opening ? p->len : room;

		in[i] = malloc(in_len ? in_len : 1);
		out[i] = in_place ? in[i] : malloc(out_len ? out_len : 1);
		require(in[i] && out[i]);
		memset(out[i], MARK, in_place ? in_len : out_len);
		memcpy(in[i], opening ? p->sealed : p->plain, opening ? room : p->len);
		if (opening && tampered(p))
			in[i][p->tamper / 8] ^= (uint8_t)(1 << p->tamper % 8);
		jobs[i] = (struct aead_job){.key = p->key,
					    .counter = p->counter,
					    .in = in[i],
					    .out = out[i],
					    .len = p->len};
	}
}

static void release(size_t n, bool in_place)
{
	for (size_t i = 0; i < n; i++) {
		if (!in_place)
			free(out[i]);
		free(in[i]);
	}
}

/* Zeros, or what was there before. */
static bool refused_clean(const struct packet *p, const struct aead_job *j, bool in_place)
{
	bool zero = true, same = true;

	for (uint32_t i = 0; i < p->len; i++) {
		uint8_t was = in_place ? p->sealed[i] : MARK;

		if (in_place && p->tamper / 8 == i)
			was ^= (uint8_t)(1 << p->tamper % 8);
		zero = zero && !j->out[i];
		same = same && j->out[i] == was;
	}
	return !j->ok && (zero || same);
}

static void check(const struct aead_backend *be, size_t n, bool in_place)
{
	lay_out(n, false, in_place);
	be->seal(jobs, n);
	for (size_t i = 0; i < n; i++)
		require(!memcmp(out[i], packets[i].sealed, packets[i].len + AEAD_TAG));
	release(n, in_place);
	lay_out(n, true, in_place);
	be->open(jobs, n);
	for (size_t i = 0; i < n; i++) {
		const struct packet *p = &packets[i];

		if (tampered(p))
			require(refused_clean(p, &jobs[i], in_place));
		else
			require(jobs[i].ok && !memcmp(out[i], p->plain, p->len));
	}
	release(n, in_place);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct aead_backend *const *be;
	size_t n;

	if (crypto_init() || size < 1)
		return 0;
	n = (data[0] >> 1) % (MAX_JOBS + 1);
	if (n > (size - 1) / 8)
		n = (size - 1) / 8;
	for (size_t i = 0; i < n; i++)
		packet_read(&packets[i], data + 1 + 8 * i);
	for (be = aead_backends(); *be; be++)
		if ((*be)->usable())
			check(*be, n, data[0] & 1);
	return 0;
}
