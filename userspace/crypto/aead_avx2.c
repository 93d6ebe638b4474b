/* SPDX-License-Identifier: Apache-2.0
 *
 * The backend of aead_batch.h for CPUs with AVX2.
 *
 * The ChaCha20 blocks of all packets, block 0 of each making its Poly1305 key, are dealt out in
 * order to eight vector lanes, so that short packets fill the lanes as well as long ones. Behind
 * them runs Poly1305, its blocks laid between the rounds of the next eight: over what has been
 * sealed, or, when opening, over what there is to open. There the key stream goes into a store of
 * its own first, and to the packet's place when the tag was right.
 *
 * What is wiped: Poly1305 keys and accumulators, key stream that was written down, ChaCha states;
 * once a batch. Not wiped: registers, what the compiler spilled from them, plaintext's last bytes.
 */
#if defined(__x86_64__)
#include <string.h>
#include "crypto/aead_avx2.h"
#include "crypto/aead_backend.h"

#define SLOTS 16 /* packets between their first ChaCha20 block and their tag */
#define STREAM \
	64 /* blocks of key stream that wait for a tag: two packets of an Ethernet and more */

/* A packet on its way from its first block to its tag. */
struct slot {
	uint8_t key[CHACHA_BLOCK]; /* the first half is Poly1305's, the other one unused */
	struct aead_poly1 p;
	size_t taken;  /* bytes in p */
	size_t stream; /* opening: number of its first block in the store */
	bool begun;
};

struct pipe {
	struct aead_chacha c;
	struct aead_job *jobs;
	size_t n, busy; /* jobs, and lanes that are filled */
	bool opening;

	size_t job, block;	     /* next to get a lane */
	size_t done_job, done_block; /* everything before it has been through aead_chacha8 */
	size_t tagged;		     /* jobs that have their tag */

	size_t stream_end; /* blocks ever put into the store; the newest STREAM of them are there */
	size_t n_cut;
	struct {
		uint8_t *out;
		size_t lane, len;
	} cut[CHACHA_LANES]; /* the first len bytes of rest[lane] belong to out */

	/* From here on what is wiped, so far as it was used. */
	uint8_t unused[CHACHA_BLOCK];
	uint8_t rest[CHACHA_LANES][CHACHA_BLOCK]; /* last blocks of packets */
	struct slot slot[SLOTS];
	uint8_t stream[STREAM][CHACHA_BLOCK];
};

static const uint8_t zeros[CHACHA_BLOCK];

static bool usable(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}

static size_t data_blocks(const struct aead_job *j)
{
	return ((size_t)j->len + CHACHA_BLOCK - 1) / CHACHA_BLOCK;
}

static struct slot *slot_of(struct pipe *w, size_t job)
{
	return &w->slot[job % SLOTS];
}

/* ---- Poly1305 ---- */

static const uint8_t *ciphertext(const struct pipe *w, size_t job)
{
	return w->opening ? w->jobs[job].in : w->jobs[job].out;
}

/* Bytes of the job's ciphertext that are there; its key must be, too. */
static size_t there(const struct pipe *w, size_t job)
{
	if (w->opening || job < w->done_job)
		return w->jobs[job].len;
	return (w->done_block - 1) * CHACHA_BLOCK;
}

static bool key_there(const struct pipe *w, size_t job)
{
	return job < w->done_job || (job == w->done_job && w->done_block);
}

/* What the next pass takes beside it. */
static void beside(struct pipe *w, struct aead_beside out[AEAD_ROUNDS + 1])
{
	size_t left = AEAD_ROUNDS, n = 0;

	for (size_t job = w->tagged; left && job < w->n && key_there(w, job); job++) {
		struct slot *s = slot_of(w, job);
		size_t rounds = (there(w, job) - s->taken) / (AEAD_BESIDE * POLY_BLOCK);

		if (!s->begun)
			aead_poly_init(&s->p, s->key);
		s->begun = true;
		if (!rounds)
			continue;
		rounds = rounds < left ? rounds : left;
		out[n++] = (struct aead_beside){&s->p, ciphertext(w, job) + s->taken, rounds};
		s->taken += rounds * AEAD_BESIDE * POLY_BLOCK;
		left -= rounds;
	}
	out[n].rounds = 0;
}

static bool tag_right(const struct aead_job *j, const uint8_t tag[AEAD_TAG])
{
	uint64_t a[2], b[2], diff;

	memcpy(a, tag, AEAD_TAG);
	memcpy(b, j->in + j->len, AEAD_TAG);
	diff = (a[0] ^ b[0]) | (a[1] ^ b[1]);
	return !diff;
}

AEAD_AVX2 static inline void xor_block(uint8_t *out, const uint8_t *in, const uint8_t *stream)
{
	for (int i = 0; i < CHACHA_BLOCK; i += 32) {
		__m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(in + i));
		__m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(stream + i));

		_mm256_storeu_si256((__m256i *)(void *)(out + i), _mm256_xor_si256(a, b));
	}
}

/* Decrypts what has its key stream in the store: up to the block that is next. */
AEAD_AVX2 static void open_stored(struct pipe *w, size_t job)
{
	const struct aead_job *j = &w->jobs[job];
	size_t end = job == w->job ? (w->block - 1) * CHACHA_BLOCK : j->len, at = 0;
	size_t stream = slot_of(w, job)->stream;
	uint8_t last[CHACHA_BLOCK];

	end = end < j->len ? end : j->len;
	for (; at + CHACHA_BLOCK <= end; at += CHACHA_BLOCK)
		xor_block(j->out + at, j->in + at, w->stream[stream++ % STREAM]);
	if (at == end)
		return;
	aead_copy_short(last, j->in + at, end - at);
	xor_block(last, last, w->stream[stream % STREAM]);
	aead_copy_short(j->out + at, last, end - at);
}

/* The oldest job without a tag gets it. All its ciphertext and its key must be there. */
static void tag_oldest(struct pipe *w)
{
	struct aead_job *j = &w->jobs[w->tagged];
	struct slot *s = slot_of(w, w->tagged);
	const uint8_t *text = ciphertext(w, w->tagged);
	uint8_t tag[AEAD_TAG];

	if (!s->begun)
		aead_poly_init(&s->p, s->key);
	aead_poly_blocks(&s->p, text + s->taken, (j->len - s->taken) / POLY_BLOCK);
	aead_poly_final(&s->p, s->key, text + j->len, j->len, w->opening ? tag : j->out + j->len);
	if (w->opening) {
		j->ok = tag_right(j, tag);
		if (j->ok)
			open_stored(w, w->tagged);
	}
	w->tagged++;
}

/* Tags for those that need few blocks more. */
static void tag_finished(struct pipe *w)
{
	while (w->tagged < w->done_job &&
	       w->jobs[w->tagged].len - slot_of(w, w->tagged)->taken < AEAD_BESIDE * POLY_BLOCK)
		tag_oldest(w);
}

/* ---- ChaCha20 ---- */

/* Runs the lanes that are filled; the others repeat the first one into nowhere. */
static void pass(struct pipe *w)
{
	struct aead_beside b[AEAD_ROUNDS + 1];

	for (size_t i = w->busy; i < CHACHA_LANES; i++) {
		w->c.key[i] = w->c.key[0];
		w->c.block[i] = w->c.nonce_lo[i] = w->c.nonce_hi[i] = 0;
		w->c.in[i] = zeros;
		w->c.out[i] = w->unused;
	}
	beside(w, b);
	aead_chacha8(&w->c, b);
	for (size_t i = 0; i < w->n_cut; i++)
		aead_copy_short(w->cut[i].out, w->rest[w->cut[i].lane], w->cut[i].len);
	w->n_cut = 0;
	w->busy = 0;
	w->done_job = w->job;
	w->done_block = w->block;
	tag_finished(w);
}

static void place(struct pipe *w, size_t lane, const struct aead_job *j, size_t block)
{
	size_t at = (block - 1) * CHACHA_BLOCK, left = j->len - at;

	if (left >= CHACHA_BLOCK) {
		w->c.in[lane] = j->in + at;
		w->c.out[lane] = j->out + at;
		return;
	}
	aead_copy_short(w->rest[lane], j->in + at, left);
	w->c.in[lane] = w->c.out[lane] = w->rest[lane];
	w->cut[w->n_cut].out = j->out + at;
	w->cut[w->n_cut].lane = lane;
	w->cut[w->n_cut++].len = left;
}

static void job_next(struct pipe *w)
{
	w->job++;
	w->block = 0;
}

/* The next blocks of this job, as many as fit the lanes that are free, at most max. */
static void lanes_fill(struct pipe *w, size_t max)
{
	const struct aead_job *j = &w->jobs[w->job];
	size_t lane = w->busy, end = lane + data_blocks(j) + 1 - w->block;
	bool stored = w->opening && w->job >= w->tagged;

	end = end < CHACHA_LANES ? end : CHACHA_LANES;
	end = end - lane < max ? end : lane + max;
	w->c.run = end - lane == CHACHA_LANES;
	for (size_t i = lane; i < (w->c.run ? 1 : end); i++) {
		w->c.key[i] = j->key;
		w->c.block[i] = (uint32_t)(w->block + i - lane);
		w->c.nonce_lo[i] = (uint32_t)j->counter;
		w->c.nonce_hi[i] = (uint32_t)(j->counter >> 32);
	}
	for (; lane < end; lane++, w->block++) {
		w->c.in[lane] = zeros;
		if (!w->block)
			w->c.out[lane] = slot_of(w, w->job)->key;
		else if (stored)
			w->c.out[lane] = w->stream[w->stream_end++ % STREAM];
		else
			place(w, lane, j, w->block);
	}
	w->busy = end;
	if (w->block > data_blocks(j))
		job_next(w);
	if (w->busy == CHACHA_LANES)
		pass(w);
}

/* Blocks for which the store has room; a job that needs none of it has all it wants. */
static size_t store_room(const struct pipe *w)
{
	if (!w->opening || w->tagged > w->job)
		return SIZE_MAX;
	return STREAM - (w->stream_end - w->slot[w->tagged % SLOTS].stream);
}

/* The oldest job gets its tag without waiting for passes to hide its blocks beside. */
static void hurry(struct pipe *w)
{
	if (w->tagged >= w->done_job && w->busy)
		pass(w);
	else
		tag_oldest(w);
}

/* A slot for the next job, and room in the store for one block of it at least. */
static void make_room(struct pipe *w)
{
	struct slot *s = slot_of(w, w->job);

	while (w->job - w->tagged == SLOTS)
		hurry(w);
	if (!w->block) {
		s->begun = false;
		s->taken = 0;
		s->stream = w->stream_end;
	}
	while (!store_room(w))
		hurry(w);
}

/* The next job has been found wrong before all its blocks had lanes. */
static bool refused(const struct pipe *w)
{
	return w->opening && w->job < w->tagged && !w->jobs[w->job].ok;
}

static void wipe(struct pipe *w)
{
	size_t slots = w->n < SLOTS ? w->n : SLOTS;
	size_t blocks = w->stream_end < STREAM ? w->stream_end : STREAM;

	crypto_wipe(&w->c, offsetof(struct aead_chacha, key));
	crypto_wipe(w->unused, offsetof(struct pipe, slot) - offsetof(struct pipe, unused) +
				       slots * sizeof(*w->slot));
	if (blocks)
		crypto_wipe(w->stream, blocks * sizeof(*w->stream));
}

static void run(struct aead_job *jobs, size_t n, bool opening)
{
	struct pipe w;

	w.jobs = jobs;
	w.n = n;
	w.opening = opening;
	w.busy = w.n_cut = w.job = w.block = w.done_job = w.done_block = 0;
	w.tagged = w.stream_end = 0;
	while (w.job < n) {
		make_room(&w);
		if (refused(&w))
			job_next(&w);
		else
			lanes_fill(&w, store_room(&w));
	}
	if (w.busy)
		pass(&w);
	while (w.tagged < n)
		tag_oldest(&w);
	wipe(&w);
}

static void seal(struct aead_job *jobs, size_t n)
{
	run(jobs, n, false);
}

static void open(struct aead_job *jobs, size_t n)
{
	run(jobs, n, true);
}

const struct aead_backend aead_avx2 = {"avx2-8", usable, seal, open};
#endif
