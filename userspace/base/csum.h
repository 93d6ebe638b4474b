/* SPDX-License-Identifier: Apache-2.0
 *
 * The Internet checksum (RFC 1071) over much data: sums of 16-bit words as they lie in memory, so
 * that nothing is swapped before the end, 32 bytes at a time, copying on the way if wanted. Sums of
 * neighbouring pieces add up when all but the last have even lengths.
 *
 * For headers and small packets codec/ip_packet.h has the checksum as the RFC writes it. */
#ifndef PENSTOCK_BASE_CSUM_H
#define PENSTOCK_BASE_CSUM_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Not folded: some thousands of sums of 64 KiB fit without overflow. */
uint64_t csum_add(uint64_t sum, const void *data, size_t len);
/* The same, and data is copied to out. They may be the same place, but not overlap otherwise. */
uint64_t csum_add_copy(uint64_t sum, void *out, const void *data, size_t len);

/* A value that stands in the data in network order. */
static inline uint64_t csum_add16(uint64_t sum, uint16_t host)
{
	const uint8_t wire[2] = {(uint8_t)(host >> 8), (uint8_t)host};
	uint16_t in_memory_order;

	memcpy(&in_memory_order, wire, 2);
	return sum + in_memory_order;
}

static inline uint64_t csum_add32(uint64_t sum, uint32_t host)
{
	return csum_add16(csum_add16(sum, (uint16_t)(host >> 16)), (uint16_t)host);
}

/* A few 32-bit words, a constant number of them: addresses, headers. */
static inline __attribute__((always_inline)) uint64_t csum_add_words(uint64_t sum, const void *data,
								     size_t words)
{
	const uint8_t *p = data;
	uint32_t w;

#pragma GCC unroll 16
	for (size_t i = 0; i < words; i++) {
		memcpy(&w, p + 4 * i, 4);
		sum += w;
	}
	return sum;
}

/* The one's complement sum in 16 bits, in memory order. 0xffff: data that verifies. */
static inline uint16_t csum_fold(uint64_t sum)
{
	sum = (sum >> 32) + (uint32_t)sum;
	sum = (sum >> 32) + (uint32_t)sum;
	sum = (sum >> 16) + (uint16_t)sum;
	sum = (sum >> 16) + (uint16_t)sum;
	return (uint16_t)sum;
}

static inline void csum_put(uint8_t *at, uint16_t in_memory_order)
{
	memcpy(at, &in_memory_order, 2);
}
#endif
