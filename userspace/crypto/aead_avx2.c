/* SPDX-License-Identifier: Apache-2.0
 *
 * The backend of aead_batch.h for CPUs with AVX2: eight blocks of ChaCha20 at a time, Poly1305 of
 * one message beside them. The rounds are in aead_avx2_asm.h. */
#if defined(__x86_64__)
#include "crypto/aead_avx2_asm.h"
#include "crypto/aead_backend.h"
#include "crypto/aead_lanes.h"
#include "crypto/aead_lanes_ymm.h"

_Static_assert(offsetof(struct aead_chacha, state) == 0, "known to the assembler");
_Static_assert(offsetof(struct aead_chacha, mixed) == 1024, "known to the assembler");
_Static_assert(offsetof(struct aead_beside, m) == 16 &&
		       offsetof(struct aead_beside, rounds) == 32 &&
		       sizeof(struct aead_beside) == 48,
	       "known to the assembler");

/* mixed = state after twenty rounds, plus state. */
AEAD_AVX2 static inline void rounds(struct aead_chacha *c, struct aead_beside *beside)
{
	static const uint8_t rot16[32] __attribute__((aligned(32))) = {
		2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13,
		2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13};
	static const uint8_t rot8[32] __attribute__((aligned(32))) = {
		3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14,
		3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14};
	struct aead_poly1 *p;
	const uint8_t *m;
	uint64_t left = AEAD_ROUNDS;

	__asm__ volatile(CHACHA_ROUNDS
			 : [beside] "+r"(beside), [left] "+m"(left), [p] "=&r"(p), [m] "=&r"(m)
			 : [c] "r"(c), [rot16] "m"(rot16), [rot8] "m"(rot8)
			 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
			   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
			   POLY_CLOBBERS, "memory", "cc");
}

AEAD_AVX2 static inline void finish(const struct aead_chacha *c, size_t half)
{
	const __m256i *mixed = (const __m256i *)(const void *)c->mixed;
	__m256i r[8];

	AEAD_UNROLL8
	for (size_t i = 0; i < 8; i++)
		r[i] = mixed[8 * half + i];
	aead_xor8(c, r, 32 * half);
}

AEAD_AVX2 static void pass(struct aead_chacha *c, struct aead_beside *beside)
{
	aead_state8(c);
	rounds(c, beside);
	finish(c, 0);
	finish(c, 1);
}

AEAD_AVX2 static inline void exor32(uint8_t *out, const uint8_t *in, const uint8_t *stream)
{
	_mm256_storeu_si256((__m256i *)(void *)out,
			    _mm256_xor_si256(aead_load8(in), aead_load8(stream)));
}

AEAD_AVX2 static void exor(uint8_t *out, const uint8_t *in, const uint8_t *stream, size_t len)
{
	uint8_t last[32];

	for (; len >= 32; len -= 32, out += 32, in += 32, stream += 32)
		exor32(out, in, stream);
	if (!len)
		return;
	aead_copy_short(last, in, len);
	exor32(last, last, stream);
	aead_copy_short(out, last, len);
}

static bool usable(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}

const struct aead_kernel aead_kernel_avx2 = {LANES_YMM, false, false, pass, exor};

static void seal(struct aead_job *jobs, size_t n)
{
	aead_lanes_run(&aead_kernel_avx2, jobs, n, false);
}

static void open(struct aead_job *jobs, size_t n)
{
	aead_lanes_run(&aead_kernel_avx2, jobs, n, true);
}

const struct aead_backend aead_avx2 = {"avx2-8", usable, seal, open};
#endif
