/* SPDX-License-Identifier: Apache-2.0
 *
 * Every backend of aead_batch.h that this CPU runs, against crypto.h's AEAD one packet at a time:
 * lengths, batch sizes, shared and mixed keys, in place and not, counters beyond 32 bits, and
 * tampering with single members of a batch. Packets lie against unreadable pages, so that a byte
 * read or written outside of them ends the test. */
#include <stdlib.h>
#include <sys/mman.h>
#include "crypto/aead_backend.h"
#include "tests/t.h"

#define MAX_JOBS 40
#define MAX_LEN	 9000
#define PAGE	 4096
#define SLOT	 (3 * PAGE) /* holds MAX_LEN and the tag */

/* One packet's memory: unreadable page, SLOT bytes, unreadable page. */
struct arena {
	uint8_t *in[MAX_JOBS], *out[MAX_JOBS];
};

static struct arena mem;
static uint8_t keys[MAX_JOBS][AEAD_KEY];
static uint8_t plain[MAX_JOBS][MAX_LEN], sealed[MAX_JOBS][MAX_LEN + AEAD_TAG];
static uint64_t rnd;

static uint8_t *guarded(void)
{
	uint8_t *p = mmap(NULL, SLOT + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p + PAGE, SLOT, PROT_READ | PROT_WRITE))
		exit(1);
	return p + PAGE;
}

static void fill(void *p, size_t len)
{
	uint8_t *b = p;

	for (size_t i = 0; i < len; i++)
		b[i] = (uint8_t)(t_rand(&rnd) >> 24);
}

static void setup(void)
{
	rnd = t_seed();
	for (size_t i = 0; i < MAX_JOBS && !mem.in[i]; i++) {
		mem.in[i] = guarded();
		mem.out[i] = guarded();
	}
	fill(keys, sizeof(keys));
	fill(plain, sizeof(plain));
}

/* What a case consists of. Odd packets start at the beginning of their memory, even ones end at the
 * end of it. */
struct batch {
	size_t n;
	uint32_t len[MAX_JOBS];
	uint64_t counter[MAX_JOBS];
	unsigned key[MAX_JOBS];
	bool in_place;
	struct aead_job jobs[MAX_JOBS];
};

/* The packet of len bytes that lies in slot i, at its beginning or its end. */
static uint8_t *place(uint8_t *slot, size_t i, size_t len)
{
	return i & 1 ? slot : slot + SLOT - len;
}

static void expected(const struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		aead_seal(sealed[i], keys[b->key[i]], b->counter[i], NULL, 0, plain[i], b->len[i]);
}

/* Jobs for sealing (plaintext laid out) or opening (sealed bytes laid out); out is marked. */
static void lay_out(struct batch *b, bool opening)
{
	for (size_t i = 0; i < b->n; i++) {
		size_t in_len = b->len[i] + (opening ? AEAD_TAG : 0);
		size_t out_len = b->len[i] + (opening ? 0 : AEAD_TAG);
		size_t room = b->len[i] + AEAD_TAG;
		struct aead_job *j = &b->jobs[i];
		uint8_t *in = place(mem.in[i], i, b->in_place ? room : in_len);
		uint8_t *out = b->in_place ? in : place(mem.out[i], i, out_len);

		memset(mem.out[i], 0xa5, SLOT);
		memset(mem.in[i], 0xa5, SLOT);
		memcpy(in, opening ? sealed[i] : plain[i], in_len);
		*j = (struct aead_job){.key = keys[b->key[i]],
				       .counter = b->counter[i],
				       .in = in,
				       .out = out,
				       .len = b->len[i],
				       .ok = !opening};
	}
}

static bool all_are(const uint8_t *p, size_t len, uint8_t v)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != v)
			return false;
	return true;
}

/* Nothing but [from, from + len) of the slot has been written. */
static bool only(const uint8_t *slot, const uint8_t *from, size_t len)
{
	size_t before = (size_t)(from - slot);

	return all_are(slot, before, 0xa5) && all_are(from + len, SLOT - before - len, 0xa5);
}

static bool sealed_right(const struct batch *b, size_t i)
{
	const struct aead_job *j = &b->jobs[i];

	return !memcmp(j->out, sealed[i], b->len[i] + AEAD_TAG) &&
	       only(b->in_place ? mem.in[i] : mem.out[i], j->out, b->len[i] + AEAD_TAG);
}

static bool opened_right(const struct batch *b, size_t i)
{
	const struct aead_job *j = &b->jobs[i];
	size_t len = b->len[i];

	if (!j->ok || memcmp(j->out, plain[i], len))
		return false;
	if (!b->in_place)
		return only(mem.out[i], j->out, len);
	return !memcmp(j->out + len, sealed[i] + len, AEAD_TAG) &&
	       only(mem.in[i], j->out, len + AEAD_TAG);
}

/* Refused, and out holds what it held or zeros. */
static bool refused_clean(const struct batch *b, size_t i, const uint8_t *was)
{
	const struct aead_job *j = &b->jobs[i];
	bool same = !memcmp(j->out, was, b->len[i]);

	if (j->ok || !(same || all_are(j->out, b->len[i], 0)))
		return false;
	return b->in_place || only(mem.out[i], j->out, b->len[i]);
}

static void say(const struct aead_backend *be, const struct batch *b, size_t i, const char *what)
{
	t_note("%s: %s job %zu of %zu, len %u, %s", be->name, what, i, b->n, b->len[i],
	       b->in_place ? "in place" : "apart");
}

static void round_trip(const struct aead_backend *be, struct batch *b)
{
	expected(b);
	lay_out(b, false);
	be->seal(b->jobs, b->n);
	for (size_t i = 0; i < b->n; i++)
		if (!T(sealed_right(b, i)))
			say(be, b, i, "seal");
	lay_out(b, true);
	be->open(b->jobs, b->n);
	for (size_t i = 0; i < b->n; i++)
		if (!T(opened_right(b, i)))
			say(be, b, i, "open");
}

static void on_each(void (*fn)(const struct aead_backend *be))
{
	setup();
	for (const struct aead_backend *const *be = aead_backends(); *be; be++)
		if ((*be)->usable())
			fn(*be);
}

/* A backend that this CPU cannot run is not tested: say so. */
static void test_backends(void)
{
	static char why[96];

	for (const struct aead_backend *const *be = aead_backends(); *be; be++) {
		t_note("backend %s%s", (*be)->name, (*be)->usable() ? "" : ": not on this CPU");
		if ((*be)->usable())
			continue;
		snprintf(why, sizeof(why), "backend %s: not on this CPU", (*be)->name);
		t_skip(why);
	}
}

static void batch_of(struct batch *b, size_t n)
{
	memset(b, 0, sizeof(*b));
	b->n = n;
	for (size_t i = 0; i < n; i++) {
		b->counter[i] = t_rand(&rnd);
		b->key[i] = (unsigned)i;
	}
}

static void every_length(const struct aead_backend *be)
{
	struct batch b;

	for (uint32_t len = 0; len <= 2100; len++) {
		batch_of(&b, 1 + len % 9);
		for (size_t i = 0; i < b.n; i++)
			b.len[i] = len;
		b.in_place = len & 4;
		round_trip(be, &b);
	}
}

static void test_every_length(void)
{
	on_each(every_length);
}

/* Batches of every size, all packets of one length that leaves the last pass some lanes or none. */
static void every_size(const struct aead_backend *be)
{
	static const uint32_t lens[] = {0, 16, 63, 64, 96, 100, 192, 448, 512, 960, 1024, 1420};
	struct batch b;

	for (size_t n = 1; n <= MAX_JOBS; n++)
		for (size_t k = 0; k < sizeof(lens) / sizeof(*lens); k++) {
			batch_of(&b, n);
			for (size_t i = 0; i < n; i++)
				b.len[i] = lens[k];
			b.in_place = (n + k) & 1;
			round_trip(be, &b);
		}
}

static void test_every_size(void)
{
	on_each(every_size);
}

/* One packet alone takes other paths than many. */
static void single(const struct aead_backend *be)
{
	struct batch b;

	for (uint32_t len = 0; len <= MAX_LEN; len += len < 700 ? 1 : 61) {
		batch_of(&b, 1);
		b.len[0] = len;
		b.in_place = len & 1;
		round_trip(be, &b);
	}
}

static void test_single(void)
{
	on_each(single);
}

static uint32_t some_len(void)
{
	static const uint32_t edges[] = {0,   1,   15,	16,  17,  31,  32,  63,	 64,   65,
					 128, 447, 448, 449, 511, 512, 513, 960, 1280, 1420};
	uint64_t r = t_rand(&rnd) >> 8;

	switch (r & 7) {
	case 0:
		return edges[(r >> 3) % (sizeof(edges) / sizeof(*edges))];
	case 1:
		return (uint32_t)((r >> 3) % (MAX_LEN + 1));
	case 2:
	case 3:
		return (uint32_t)((r >> 3) % 130);
	default:
		return (uint32_t)((r >> 3) % 1601);
	}
}

static uint64_t some_counter(void)
{
	static const uint64_t edges[] = {0,	     1,		 UINT32_MAX,   1ULL << 32,
					 1ULL << 63, UINT64_MAX, 0xff00000000, UINT32_MAX - 1ULL};
	uint64_t r = t_rand(&rnd);

	return r & 1 ? r : edges[(r >> 8) % (sizeof(edges) / sizeof(*edges))];
}

static void some_batch(struct batch *b, size_t n)
{
	uint64_t r = t_rand(&rnd) >> 8;
	unsigned n_keys = r & 1 ? 1 : r & 2 ? 3 : MAX_JOBS;
	uint32_t same = some_len();

	batch_of(b, n);
	b->in_place = r & 4;
	for (size_t i = 0; i < n; i++) {
		b->key[i] = (unsigned)((t_rand(&rnd) >> 8) % n_keys);
		b->counter[i] = some_counter();
		b->len[i] = r & 8 ? same : some_len();
	}
}

static void batches(const struct aead_backend *be)
{
	struct batch b;

	for (size_t round = 0; round < 25; round++)
		for (size_t n = 0; n <= MAX_JOBS; n++) {
			some_batch(&b, n);
			round_trip(be, &b);
		}
}

static void test_batches(void)
{
	on_each(batches);
}

enum part { TAG, CIPHERTEXT, COUNTER_LOW, COUNTER_HIGH, KEY, LENGTH, PARTS };

/* Makes job i of the laid out batch wrong in one bit of one part. */
static void tamper(struct batch *b, size_t i, enum part part, uint8_t bad_key[AEAD_KEY])
{
	struct aead_job *j = &b->jobs[i];
	uint8_t *in = (uint8_t *)j->in;
	uint64_t r = t_rand(&rnd) >> 8;

	switch (part) {
	case TAG:
		in[j->len + r % AEAD_TAG] ^= (uint8_t)(1 << (r >> 8) % 8);
		break;
	case CIPHERTEXT:
		/* An empty one has only its tag to be wrong in. */
		in[j->len ? r % j->len : 0] ^= (uint8_t)(1 << (r >> 32) % 8);
		break;
	case COUNTER_LOW:
		j->counter ^= 1ULL << r % 32;
		break;
	case COUNTER_HIGH:
		j->counter ^= 1ULL << (32 + r % 32);
		break;
	case LENGTH:
		/* The last byte cut off, the rest taken for tag. */
		if (j->len)
			j->len = b->len[i] - 1;
		else
			in[0] ^= 1;
		b->len[i] = j->len;
		break;
	case KEY:
	case PARTS:
		memcpy(bad_key, j->key, AEAD_KEY);
		bad_key[r % AEAD_KEY] ^= (uint8_t)(1 << (r >> 8) % 8);
		j->key = bad_key;
		break;
	}
}

/* The members of `wrong` are tampered with: each is refused without a trace, all others open. */
static void check_tampered(const struct aead_backend *be, struct batch *b, uint64_t wrong,
			   enum part part)
{
	static uint8_t was[MAX_JOBS][MAX_LEN + AEAD_TAG], bad_keys[MAX_JOBS][AEAD_KEY];

	expected(b);
	lay_out(b, true);
	for (size_t i = 0; i < b->n; i++) {
		struct aead_job *j = &b->jobs[i];

		j->ok = wrong >> i & 1;
		if (j->ok)
			tamper(b, i, part, bad_keys[i]);
		memcpy(was[i], j->out, j->len);
	}
	be->open(b->jobs, b->n);
	for (size_t i = 0; i < b->n; i++)
		if (!T(wrong >> i & 1 ? refused_clean(b, i, was[i]) : opened_right(b, i)))
			say(be, b, i, "tampered");
}

static void one_wrong(const struct aead_backend *be)
{
	static const size_t sizes[] = {1, 2, 3, 4, 5, 8, 9, 16, 17, 40};
	struct batch b;

	for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
		for (size_t k = 0; k < sizes[s] * PARTS; k++) {
			some_batch(&b, sizes[s]);
			check_tampered(be, &b, 1ULL << k / PARTS, (enum part)(k % PARTS));
		}
}

static void test_one_wrong(void)
{
	on_each(one_wrong);
}

static void many_wrong(const struct aead_backend *be)
{
	struct batch b;

	for (int round = 0; round < 400; round++) {
		some_batch(&b, 1 + (t_rand(&rnd) >> 8) % MAX_JOBS);
		check_tampered(be, &b, round ? t_rand(&rnd) : ~0ULL, (enum part)(round % PARTS));
	}
}

static void test_many_wrong(void)
{
	on_each(many_wrong);
}

/* Every single bit of a short packet, tag included. */
static void every_bit(const struct aead_backend *be)
{
	enum { LEN = 70 };
	struct batch b;

	for (size_t bit = 0; bit < (LEN + AEAD_TAG) * 8; bit++) {
		batch_of(&b, 5);
		for (size_t i = 0; i < b.n; i++)
			b.len[i] = LEN;
		b.in_place = bit & 1;
		expected(&b);
		lay_out(&b, true);
		((uint8_t *)b.jobs[bit % 5].in)[bit / 8] ^= (uint8_t)(1 << bit % 8);
		be->open(b.jobs, b.n);
		for (size_t i = 0; i < b.n; i++)
			T_EQ(b.jobs[i].ok, i != bit % 5);
	}
}

static void test_every_bit(void)
{
	on_each(every_bit);
}

/* Every byte of the tag, of every packet of batches that take several passes. */
static void every_tag_byte(const struct aead_backend *be)
{
	static const uint32_t lens[] = {0, 64, 130, 512, 1420};
	struct batch b;

	for (size_t k = 0; k < 5 * 17 * AEAD_TAG; k++) {
		size_t bad = k / AEAD_TAG % 17, n = k & 1 ? 17 : bad + 1;

		batch_of(&b, n);
		for (size_t i = 0; i < n; i++)
			b.len[i] = lens[k / AEAD_TAG / 17];
		b.in_place = k & 2;
		expected(&b);
		lay_out(&b, true);
		((uint8_t *)b.jobs[bad].in)[b.len[bad] + k % AEAD_TAG] ^= (uint8_t)(1 << k % 7);
		be->open(b.jobs, n);
		for (size_t i = 0; i < n; i++)
			if (!T_EQ(b.jobs[i].ok, i != bad))
				say(be, &b, i, "tag byte");
		T(b.in_place || !b.len[bad] || only(mem.out[bad], b.jobs[bad].out, 0) ||
		  all_are(b.jobs[bad].out, b.len[bad], 0));
	}
}

static void test_every_tag_byte(void)
{
	on_each(every_tag_byte);
}

/* Values at which carries and the final reduction of Poly1305 are at their limits need not come up
 * by chance: packets whose ciphertext is all ones or all zeros, and runs of both. */
static void extreme_contents(const struct aead_backend *be)
{
	struct batch b;

	for (uint32_t len = 0; len <= 640; len += 1 + len / 50) {
		some_batch(&b, 8);
		for (size_t i = 0; i < b.n; i++) {
			b.len[i] = len;
			/* Sealing what the key stream turns into the wanted ciphertext. */
			memset(plain[i], 0, len);
			aead_seal(sealed[i], keys[b.key[i]], b.counter[i], NULL, 0, plain[i], len);
			for (size_t k = 0; k < len; k++)
				plain[i][k] = sealed[i][k] ^ (i < 4		   ? 0xff
							      : (k >> 4) & (i & 3) ? 0xff
										   : 0);
		}
		round_trip(be, &b);
	}
}

static void test_extreme_contents(void)
{
	on_each(extreme_contents);
}

/* More and longer packets than any batch has: the tags fall behind until there is no room for
 * another packet without one. */
static void long_queue(const struct aead_backend *be)
{
	enum { N = 400, LEN = MAX_LEN };
	static uint8_t out[N][LEN + AEAD_TAG], want[LEN + AEAD_TAG];
	static struct aead_job jobs[N];

	for (int opening = 0; opening < 2; opening++) {
		for (size_t i = 0; i < N; i++)
			jobs[i] = (struct aead_job){.key = keys[i % MAX_JOBS],
						    .counter = i,
						    .in = opening ? out[i] : plain[0],
						    .out = out[i],
						    .len = LEN};
		(opening ? be->open : be->seal)(jobs, N);
		for (size_t i = 0; i < N; i++) {
			aead_seal(want, jobs[i].key, i, NULL, 0, plain[0], LEN);
			if (opening)
				T(jobs[i].ok && !memcmp(out[i], plain[0], LEN));
			else
				T_MEM(out[i], want, LEN + AEAD_TAG);
		}
	}
}

static void test_long_queue(void)
{
	on_each(long_queue);
}

/* The seam itself: it uses the best that is there, and says which. */
static void test_seam(void)
{
	struct batch b;
	const struct aead_backend *const *be = aead_backends(), *const *last = be;

	setup();
	while (last[1])
		last++;
	T((*last)->usable());
	some_batch(&b, 7);
	expected(&b);
	lay_out(&b, false);
	aead_seal_batch(b.jobs, b.n);
	for (size_t i = 0; i < b.n; i++)
		T(sealed_right(&b, i));
	lay_out(&b, true);
	aead_open_batch(b.jobs, b.n);
	for (size_t i = 0; i < b.n; i++)
		T(opened_right(&b, i));
	while (!(*be)->usable())
		be++;
	T_STR(aead_backend(), (*be)->name);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_backends);
	T_RUN(test_every_length);
	T_RUN(test_every_size);
	T_RUN(test_single);
	T_RUN(test_batches);
	T_RUN(test_one_wrong);
	T_RUN(test_many_wrong);
	T_RUN(test_every_bit);
	T_RUN(test_every_tag_byte);
	T_RUN(test_extreme_contents);
	T_RUN(test_long_queue);
	T_RUN(test_seam);
	return t_done();
}
