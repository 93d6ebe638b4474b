/* SPDX-License-Identifier: Apache-2.0
 *
 * The queue between two threads: what it refuses, records in order and aligned, counts, and the
 * same with a thread at each end. The ring underneath: test_byte_ring. */
#include <errno.h>
#include <pthread.h>
#include "base/spsc.h"
#include "tests/t.h"

enum { CAP = 4096 };

static _Alignas(64) uint8_t mem[CAP];

static bool put(struct spsc *r, uint32_t number, size_t len)
{
	uint8_t *p = spsc_reserve(r, len);

	if (!p)
		return false;
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(number + i);
	spsc_commit(r);
	return true;
}

static bool is(const uint8_t *p, size_t n, uint32_t number, size_t len)
{
	bool ok = p && n == len && (uintptr_t)p % 8 == 0;

	for (size_t i = 0; ok && i < len; i++)
		ok = p[i] == (uint8_t)(number + i);
	return ok;
}

static void test_sizes(void)
{
	struct spsc r;

	T_EQ(spsc_init(&r, mem, 0), -EINVAL);
	T_EQ(spsc_init(&r, mem, 32), -EINVAL);
	T_EQ(spsc_init(&r, mem, CAP - 8), -EINVAL);
	T_EQ(spsc_init(&r, mem, (size_t)1 << 32), -EINVAL);
	T_EQ(spsc_init(&r, mem + 4, 64), -EINVAL);
	T_EQ(spsc_init(&r, mem, CAP), 0);
	T(!spsc_reserve(&r, CAP / 2 + 1));
	T(!spsc_reserve(&r, ((size_t)1 << 32) + 8)); /* not 8 */
	T(spsc_reserve(&r, CAP / 2) != NULL);
}

/* Several are committed before one is looked at. */
static void test_counts(void)
{
	struct spsc r;
	uint8_t *p;
	size_t n;

	T_EQ(spsc_init(&r, mem, CAP), 0);
	T(!spsc_peek(&r, &n) && spsc_pushed(&r) == 0 && spsc_popped(&r) == 0);
	T(spsc_reserve(&r, 100) != NULL);
	T(!spsc_peek(&r, &n)); /* not before it is committed */
	T_EQ(spsc_pushed(&r), 0);
	for (uint32_t i = 0; i < 5; i++)
		T(put(&r, i, 10 + i));
	T_EQ(spsc_pushed(&r), 5);
	for (uint32_t i = 0; i < 5; i++) {
		p = spsc_peek(&r, &n);
		T(is(p, n, i, 10 + i));
		T(spsc_peek(&r, &n) == p);
		T_EQ(spsc_popped(&r), i);
		spsc_pop(&r);
	}
	T(!spsc_peek(&r, &n));
	T_EQ(spsc_popped(&r), 5);
}

static void test_full(void)
{
	struct spsc r;
	uint32_t n = 0, got = 0;
	uint8_t *p;
	size_t len;

	T_EQ(spsc_init(&r, mem, CAP), 0);
	while (put(&r, n, 1500))
		n++;
	T_EQ(n, 2);
	T_EQ(spsc_pushed(&r), 2);
	p = spsc_peek(&r, &len);
	T(is(p, len, 0, 1500));
	spsc_pop(&r);
	while (put(&r, n, 100)) /* also over the end of the memory */
		n++;
	for (; (p = spsc_peek(&r, &len)); got++) {
		T(is(p, len, got + 1, got ? 100 : 1500));
		spsc_pop(&r);
	}
	T_EQ(got, n - 1);
	T_EQ(spsc_popped(&r), n);
}

/* ---- two threads ---- */
enum { MANY = 300000 };

struct rig {
	struct spsc r;
	uint64_t done[MANY]; /* the consumer's notes, plain memory: the count publishes them */
};

static size_t len_of(uint32_t i)
{
	return i % 7 ? i % 61 : 200 + i % 1500;
}

static void *consumer(void *arg)
{
	struct rig *g = arg;
	uint32_t got = 0;
	size_t len;

	while (got < MANY) {
		const uint8_t *p = spsc_peek(&g->r, &len);

		if (!p)
			continue;
		g->done[got] = is(p, len, got, len_of(got)) ? got + 1 : 0;
		spsc_pop(&g->r);
		got++;
	}
	return NULL;
}

/* The producer holds the consumer's notes against the count whenever it looks. */
static void test_two_threads(void)
{
	static struct rig g;
	uint64_t seen = 0, popped;
	uint32_t sent = 0;
	bool ok = true;
	pthread_t t;

	T_EQ(spsc_init(&g.r, mem, CAP), 0);
	T_EQ(pthread_create(&t, NULL, consumer, &g), 0);
	while (seen < MANY) {
		if (sent < MANY)
			sent += put(&g.r, sent, len_of(sent));
		popped = spsc_popped(&g.r);
		ok = ok && popped >= seen && popped <= sent;
		for (; seen < popped; seen++)
			ok = ok && g.done[seen] == seen + 1;
	}
	pthread_join(t, NULL);
	T(ok);
	T_EQ(spsc_pushed(&g.r), MANY);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_sizes);
	T_RUN(test_counts);
	T_RUN(test_full);
	T_RUN(test_two_threads);
	return t_done();
}
