/* SPDX-License-Identifier: Apache-2.0
 *
 * The ring of records: order and bytes kept over the wrap, refusal when full, and the same between
 * two threads. */
#include <pthread.h>
#include "base/byte_ring.h"
#include "tests/t.h"

enum { CAP = 256 };

static _Alignas(8) uint8_t mem[CAP];

static bool put(struct byte_ring *r, uint32_t number, uint32_t len)
{
	uint8_t *p = byte_ring_reserve(r, len);

	if (!p)
		return false;
	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)(number + i);
	byte_ring_commit(r, len);
	return true;
}

static bool get(struct byte_ring *r, uint32_t number, uint32_t len)
{
	uint32_t n = 0;
	const uint8_t *p = byte_ring_peek(r, &n);
	bool ok = p && n == len;

	for (uint32_t i = 0; ok && i < len; i++)
		ok = p[i] == (uint8_t)(number + i);
	if (p)
		byte_ring_pop(r);
	return ok;
}

static void test_empty_and_full(void)
{
	struct byte_ring r;
	uint32_t n = 0, len;

	byte_ring_init(&r, mem, CAP);
	T(!byte_ring_peek(&r, &len));
	T(!byte_ring_reserve(&r, CAP));
	while (put(&r, n, 24))
		n++;
	T_EQ(n, CAP / 32); /* 8 bytes of header each */
	for (uint32_t i = 0; i < n; i++)
		T(get(&r, i, 24));
	T(!byte_ring_peek(&r, &len));
}

static void test_uncommitted_is_free_again(void)
{
	struct byte_ring r;

	byte_ring_init(&r, mem, CAP);
	T(byte_ring_reserve(&r, 100) != NULL);
	T(byte_ring_reserve(&r, 120) != NULL);
	T(put(&r, 7, 10));
	T(get(&r, 7, 10));
}

/* Every mix of lengths passes the end of the memory in its own way. */
static void test_wrap_keeps_order(void)
{
	struct byte_ring r;
	uint64_t rng = t_seed();
	uint32_t lens[16], first = 0, next = 0;

	byte_ring_init(&r, mem, CAP);
	for (uint32_t i = 0; i < 20000; i++) {
		uint32_t len = (uint32_t)(t_rand(&rng) % (CAP / 2 + 1));

		if (t_rand(&rng) % 2 && next - first < 16 && put(&r, next, len)) {
			lens[next++ % 16] = len;
		} else if (first != next) {
			T(get(&r, first, lens[first % 16]));
			first++;
		}
	}
	T(next > 1000);
}

enum { MANY = 200000 };

static void *writer(void *arg)
{
	for (uint32_t i = 0; i < MANY;)
		i += put(arg, i, i % 61);
	return NULL;
}

static void test_two_threads(void)
{
	struct byte_ring r;
	pthread_t t;
	uint32_t got = 0, len;
	bool ok = true;

	byte_ring_init(&r, mem, CAP);
	T_EQ(pthread_create(&t, NULL, writer, &r), 0);
	while (got < MANY && ok)
		if (byte_ring_peek(&r, &len)) {
			ok = get(&r, got, got % 61);
			got++;
		}
	T(ok);
	T_EQ(got, MANY);
	if (ok)
		pthread_join(t, NULL);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_empty_and_full);
	T_RUN(test_uncommitted_is_free_again);
	T_RUN(test_wrap_keeps_order);
	T_RUN(test_two_threads);
	return t_done();
}
