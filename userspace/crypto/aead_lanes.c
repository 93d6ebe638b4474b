/* SPDX-License-Identifier: Apache-2.0
 *
 * The pipe that deals packets to vector lanes and seals or opens them, for a kernel of any width.
 *
 * The ChaCha20 blocks of all packets, block 0 of each making its Poly1305 key, are dealt out in
 * order to the lanes, so that short packets fill them as well as long ones. Behind them runs
 * Poly1305, its blocks laid between the rounds of the next pass: over what has been sealed, or,
 * when opening, over what there is to open. There the key stream goes into a store of its own
 * first, and to the packet's place when the tag was right. A kernel that takes two messages gets
 * the oldest two that have something for it; if only one has, it takes half as much, which costs
 * it nothing, and leaves the rest for when there is a second.
 *
 * What is wiped: Poly1305 keys and accumulators, key stream that was written down, ChaCha states;
 * once a batch. Not wiped: registers, what the compiler spilled from them, plaintext's last bytes.
 */
#if defined(__x86_64__)
#include <string.h>
#include "crypto/aead_lanes.h"

#define SLOTS 32 /* packets between their first ChaCha20 block and their tag */
/* Blocks of key stream that wait for a tag: five packets of an Ethernet. */
#define STREAM 128

/* A packet on its way from its first block to its tag. */
struct slot {
	/* The first half is Poly1305's, the other one unused. Stored as a whole line. */
	uint8_t key[CHACHA_BLOCK] __attribute__((aligned(CHACHA_BLOCK)));
	struct aead_poly1 p;
	const uint8_t *m; /* n blocks for Poly1305 that are there: of ciphertext, or of its end */
	size_t n;
	size_t stream; /* opening: number of its first block in the store */
	bool whole;    /* all ciphertext is there */
	bool ended;    /* m is in `end` */
	uint8_t end[POLY_END];
};

struct pipe {
	struct aead_chacha c;
	const struct aead_kernel *k;
	struct aead_job *jobs;
	size_t n;
	bool opening;

	size_t job, block;	     /* next to get a lane */
	size_t done_job, done_block; /* everything before it has been through a pass */
	size_t keys;		     /* jobs whose Poly1305 key is there */
	size_t tagged;		     /* jobs that have their tag */

	size_t stream_end; /* blocks ever put into the store; the newest STREAM of them are there */
	size_t n_cut;
	struct {
		uint8_t *out;
		size_t lane, len;
	} cut[LANES_YMM]; /* the first len bytes of rest[lane] belong to out */

	/* From here on what is wiped, so far as it was used. */
	uint8_t rest[LANES_YMM][CHACHA_BLOCK]; /* last blocks of packets, for want of `parts` */
	uint8_t unused[CHACHA_BLOCK] __attribute__((aligned(CHACHA_BLOCK)));
	struct slot slot[SLOTS];
	uint8_t stream[STREAM][CHACHA_BLOCK] __attribute__((aligned(CHACHA_BLOCK)));
};

static const uint8_t zeros[CHACHA_BLOCK] __attribute__((aligned(CHACHA_BLOCK)));

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
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

/* n blocks were taken. When little is left of a whole ciphertext, its end is made: what is left,
 * padded, and the block of lengths. */
static inline void taken(struct slot *s, const struct aead_job *j, size_t n)
{
	s->m += n * POLY_BLOCK;
	s->n -= n;
	if (s->n >= AEAD_BESIDE || !s->whole || s->ended)
		return;
	s->n = aead_poly_end(s->end, s->m, s->n * POLY_BLOCK + j->len % POLY_BLOCK, j->len);
	s->m = s->end;
	s->ended = true;
}

/* Of the job `there` bytes of ciphertext are there, and the key. */
static inline void arrived(struct pipe *w, size_t job, size_t there, bool first)
{
	const struct aead_job *j = &w->jobs[job];
	struct slot *s = slot_of(w, job);

	if (first) {
		aead_poly_init(&s->p, s->key);
		s->m = ciphertext(w, job);
		s->ended = false;
	}
	s->whole = there == j->len;
	s->n = (there - (size_t)(s->m - ciphertext(w, job))) / POLY_BLOCK;
	taken(s, j, 0);
}

/* What a pass has brought. */
static void arrivals(struct pipe *w)
{
	size_t job = w->done_job;
	bool first = !w->done_block;

	for (; job < w->job; job++, first = true)
		if (first || !w->opening)
			arrived(w, job, w->jobs[job].len, first);
	if (w->block && (first || !w->opening))
		arrived(w, job, w->opening ? w->jobs[job].len : (w->block - 1) * CHACHA_BLOCK,
			first);
	w->done_job = w->job;
	w->done_block = w->block;
	w->keys = w->job + (w->block > 0);
}

/* The first job from this one on that has n blocks for Poly1305; w->keys if none has. */
static inline size_t ready(const struct pipe *w, size_t job, size_t n)
{
	while (job < w->keys && w->slot[job % SLOTS].n < n)
		job++;
	return job;
}

static inline void take(struct pipe *w, size_t job, struct aead_beside *b, int which, size_t n)
{
	struct slot *s = slot_of(w, job);

	b->p[which] = &s->p;
	b->m[which] = s->m;
	taken(s, &w->jobs[job], n);
}

/* What the next pass takes beside it. */
static void beside(struct pipe *w, struct aead_beside out[AEAD_ROUNDS + 1])
{
	size_t left = AEAD_ROUNDS, job = w->tagged, other, n;
	bool two = w->k->two;

	for (; left && (job = ready(w, job, two ? 1 : AEAD_BESIDE)) < w->keys;
	     left -= out++->rounds) {
		n = slot_of(w, job)->n;
		other = two ? ready(w, job + 1, 1) : w->keys;
		if (other < w->keys)
			n = least(n, slot_of(w, other)->n);
		else if (n < AEAD_BESIDE)
			break;
		out->each = least(n, AEAD_BESIDE);
		out->rounds = n < AEAD_BESIDE ? 1 : least(left, n / AEAD_BESIDE);
		n = out->each * out->rounds;
		take(w, job, out, 0, n);
		out->p[1] = NULL;
		if (other < w->keys)
			take(w, other, out, 1, n);
	}
	out->rounds = 0;
}

static bool tag_right(const struct aead_job *j, const uint8_t tag[AEAD_TAG])
{
	uint64_t a[2], b[2], diff;

	memcpy(a, tag, AEAD_TAG);
	memcpy(b, j->in + j->len, AEAD_TAG);
	diff = (a[0] ^ b[0]) | (a[1] ^ b[1]);
	return !diff;
}

/* Decrypts what has its key stream in the store: up to the block that is next. */
static void open_stored(struct pipe *w, size_t job)
{
	const struct aead_job *j = &w->jobs[job];
	size_t end = job == w->job ? least((w->block - 1) * CHACHA_BLOCK, j->len) : j->len;
	size_t from = slot_of(w, job)->stream % STREAM;
	size_t first = least(end, (STREAM - from) * CHACHA_BLOCK);

	w->k->exor(j->out, j->in, w->stream[from], first);
	w->k->exor(j->out + first, j->in + first, w->stream[0], end - first);
}

/* The blocks that the oldest job has, outside of a pass, with as many of the one behind it. */
static void alone(struct pipe *w)
{
	size_t job = w->tagged, n = slot_of(w, job)->n, both = 0;
	struct slot *s = slot_of(w, job), *other = slot_of(w, job + 1);

	if (job + 1 < w->keys)
		both = least(n, other->n);
	if (both) {
		aead_poly_blocks2(&s->p, s->m, &other->p, other->m, both);
		taken(other, &w->jobs[job + 1], both);
	}
	aead_poly_blocks(&s->p, s->m + both * POLY_BLOCK, n - both);
	taken(s, &w->jobs[job], n);
}

/* The oldest job without a tag gets it. All its ciphertext and its key must be there. */
static void tag_oldest(struct pipe *w)
{
	struct aead_job *j = &w->jobs[w->tagged];
	struct slot *s = slot_of(w, w->tagged);
	uint8_t tag[AEAD_TAG];

	while (s->n)
		alone(w);
	aead_poly_tag(&s->p, s->key, w->opening ? tag : j->out + j->len);
	if (w->opening) {
		j->ok = tag_right(j, tag);
		if (j->ok)
			open_stored(w, w->tagged);
	}
	w->tagged++;
}

/* Tags for those of which a pass will take nothing more. */
static void tag_finished(struct pipe *w)
{
	size_t most = w->k->two ? 0 : AEAD_BESIDE - 1;

	while (w->tagged < w->done_job && slot_of(w, w->tagged)->ended &&
	       slot_of(w, w->tagged)->n <= most)
		tag_oldest(w);
}

/* ---- ChaCha20 ---- */

/* Runs the lanes that are filled; the others that a kernel may touch repeat the first one into
 * nowhere. */
static void pass(struct pipe *w)
{
	struct aead_beside b[AEAD_ROUNDS + 1];
	size_t end = w->c.busy <= LANES_YMM ? LANES_YMM : w->k->lanes;

	for (size_t i = w->c.busy; i < end; i++) {
		w->c.key[i] = w->c.key[0];
		w->c.block[i] = w->c.nonce_lo[i] = w->c.nonce_hi[i] = 0;
		w->c.in[i] = zeros;
		w->c.out[i] = w->unused;
		w->c.wanted[i] = 0;
	}
	beside(w, b);
	w->k->pass(&w->c, b);
	for (size_t i = 0; i < w->n_cut; i++)
		aead_copy_short(w->cut[i].out, w->rest[w->cut[i].lane], w->cut[i].len);
	w->n_cut = 0;
	w->c.busy = 0;
	arrivals(w);
	tag_finished(w);
}

/* The last, partial block of a job. A kernel that cannot store parts works on a copy. */
static void cut_lane(struct pipe *w, size_t lane, const struct aead_job *j)
{
	size_t left = j->len % CHACHA_BLOCK, at = j->len - left;

	w->c.in[lane] = j->in + at;
	w->c.out[lane] = j->out + at;
	w->c.wanted[lane] = (1ULL << left) - 1;
	if (w->k->parts)
		return;
	aead_copy_short(w->rest[lane], j->in + at, left);
	w->c.in[lane] = w->c.out[lane] = w->rest[lane];
	w->cut[w->n_cut].out = j->out + at;
	w->cut[w->n_cut].lane = lane;
	w->cut[w->n_cut++].len = left;
}

/* n lanes for the next blocks of data, to be sealed or opened in their place. */
static void data_lanes(struct pipe *w, const struct aead_job *j, size_t lane, size_t n)
{
	size_t at = (w->block - 1) * CHACHA_BLOCK, end = lane + n;
	size_t whole = lane + least(n, (j->len - at) / CHACHA_BLOCK);

	for (; lane < whole; lane++, at += CHACHA_BLOCK) {
		w->c.in[lane] = j->in + at;
		w->c.out[lane] = j->out + at;
	}
	if (whole < end)
		cut_lane(w, whole, j);
}

/* The same for key stream that goes into the store. */
static void stream_lanes(struct pipe *w, size_t lane, size_t n)
{
	for (size_t end = lane + n; lane < end; lane++) {
		w->c.in[lane] = zeros;
		w->c.out[lane] = w->stream[w->stream_end++ % STREAM];
	}
}

/* n lanes get the job's key, and its blocks from the next one on. */
static void key_lanes(struct pipe *w, const struct aead_job *j, size_t lane, size_t n)
{
	size_t told = n == w->k->lanes ? 1 : n;

	for (size_t i = 0; i < told; i++) {
		w->c.key[lane + i] = j->key;
		w->c.block[lane + i] = (uint32_t)(w->block + i);
		w->c.nonce_lo[lane + i] = (uint32_t)j->counter;
		w->c.nonce_hi[lane + i] = (uint32_t)(j->counter >> 32);
	}
	for (size_t i = 0; i < n; i++)
		w->c.wanted[lane + i] = ~0ULL;
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
	size_t lane = w->c.busy, n = least(w->k->lanes - lane, max);

	n = least(n, data_blocks(j) + 1 - w->block);
	key_lanes(w, j, lane, n);
	w->c.run = !lane;
	w->c.busy += n;
	if (n && !w->block) {
		w->c.in[lane] = zeros;
		w->c.out[lane++] = slot_of(w, w->job)->key;
		w->block++;
		n--;
	}
	if (w->opening && w->job >= w->tagged)
		stream_lanes(w, lane, n);
	else
		data_lanes(w, j, lane, n);
	w->block += n;
	if (w->block > data_blocks(j))
		job_next(w);
	if (w->c.busy == w->k->lanes)
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
	if (w->tagged >= w->done_job && w->c.busy)
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
	if (!w->block)
		s->stream = w->stream_end;
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
	size_t slots = least(w->n, SLOTS), blocks = least(w->stream_end, STREAM);

	crypto_wipe(&w->c, offsetof(struct aead_chacha, beside));
	crypto_wipe(w->unused, sizeof(w->unused));
	crypto_wipe(w->slot, slots * sizeof(*w->slot));
	if (!w->k->parts)
		crypto_wipe(w->rest, sizeof(w->rest));
	if (blocks)
		crypto_wipe(w->stream, blocks * sizeof(*w->stream));
}

void aead_lanes_run(const struct aead_kernel *k, struct aead_job *jobs, size_t n, bool opening)
{
	struct pipe w;

	w.k = k;
	w.jobs = jobs;
	w.n = n;
	w.opening = opening;
	w.c.busy = w.n_cut = w.job = w.block = w.done_job = w.done_block = 0;
	w.keys = w.tagged = w.stream_end = 0;
	while (w.job < n) {
		make_room(&w);
		if (refused(&w))
			job_next(&w);
		else
			lanes_fill(&w, store_room(&w));
	}
	if (w.c.busy)
		pass(&w);
	while (w.tagged < n)
		tag_oldest(&w);
	wipe(&w);
}
#endif
