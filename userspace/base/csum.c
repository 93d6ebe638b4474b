/* SPDX-License-Identifier: Apache-2.0
 *
 * One body for all CPUs, written with the compilers' vectors: four 64-bit lanes add 32-bit words,
 * so that no carry is ever lost. On x86-64 it is compiled a second time for AVX2. The contract is
 * in csum.h. */
#include "base/csum.h"
#include <stdbool.h>

typedef uint64_t lanes __attribute__((vector_size(32)));

#define INLINE static inline __attribute__((always_inline))

/* Fewer than 32 bytes, as if zero bytes followed. */
INLINE uint64_t sum_tail(uint64_t sum, uint8_t *out, const uint8_t *p, size_t len, bool copy)
{
	for (uint64_t w; len >= 8; p += 8, len -= 8) {
		memcpy(&w, p, 8);
		if (copy) {
			memcpy(out, &w, 8);
			out += 8;
		}
		sum += (w >> 32) + (uint32_t)w;
	}
	if (len >= 4) {
		uint32_t w;

		memcpy(&w, p, 4);
		if (copy) {
			memcpy(out, &w, 4);
			out += 4;
		}
		sum += w;
		p += 4, len -= 4;
	}
	for (uint16_t w; len >= 2; p += 2, len -= 2) {
		memcpy(&w, p, 2);
		if (copy) {
			memcpy(out, &w, 2);
			out += 2;
		}
		sum += w;
	}
	if (len) {
		const uint8_t last[2] = {p[0]};
		uint16_t w;

		memcpy(&w, last, 2);
		if (copy)
			out[0] = p[0];
		sum += w;
	}
	return sum;
}

INLINE uint64_t sum_body(uint64_t sum, uint8_t *out, const uint8_t *p, size_t len, bool copy)
{
	lanes low = {0}, high = {0};

	for (lanes v; len >= sizeof(v); p += sizeof(v), len -= sizeof(v)) {
		memcpy(&v, p, sizeof(v));
		if (copy) {
			memcpy(out, &v, sizeof(v));
			out += sizeof(v);
		}
		low += v & 0xffffffff;
		high += v >> 32;
	}
	low += high;
	sum = (sum >> 32) + (uint32_t)sum;
	return sum_tail(sum + low[0] + low[1] + low[2] + low[3], out, p, len, copy);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static uint64_t sum_avx2(uint64_t sum, const uint8_t *p, size_t len)
{
	return sum_body(sum, NULL, p, len, false);
}

__attribute__((target("avx2"))) static uint64_t copy_avx2(uint64_t sum, uint8_t *out,
							  const uint8_t *p, size_t len)
{
	return sum_body(sum, out, p, len, true);
}

static bool have_avx2(void)
{
	return __builtin_cpu_supports("avx2");
}
#else
#define sum_avx2(sum, p, len)	    (sum)
#define copy_avx2(sum, out, p, len) (sum)
#define have_avx2()		    false
#endif

uint64_t csum_add(uint64_t sum, const void *data, size_t len)
{
	return have_avx2() ? sum_avx2(sum, data, len) : sum_body(sum, NULL, data, len, false);
}

uint64_t csum_add_copy(uint64_t sum, void *out, const void *data, size_t len)
{
	return have_avx2() ? copy_avx2(sum, out, data, len) : sum_body(sum, out, data, len, true);
}
