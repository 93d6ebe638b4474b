/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * Lock-free replay window shared by the XDP program and the user-space executor.
 *
 * A ring of 64-bit words; each holds, in one atom, which block of 32 counters it stands for (high
 * half: the block's lap around the ring) and which of them were seen (low half). A newer block
 * takes a word over by compare-and-exchange, so there is no separate "clear the words in between"
 * step to race with, and any number of cores in both executors may commit at once: of two packets
 * with one counter exactly one wins. `top` bounds age: counters more than the window behind the
 * highest seen are refused, as in RFC 6479.
 *
 * Counters from PS_REPLAY_LIMIT (2^44) on are refused: a session lives 180 s, this is 97 Gpps.
 *
 * Use: ps_replay_check() early (read only), then authenticate, then ps_replay_commit() as the last
 * step before delivery; the commit alone decides. */
#ifndef PENSTOCK_ABI_REPLAY_H
#define PENSTOCK_ABI_REPLAY_H
#include "compat/target.h"

#define PS_REPLAY_WORDS	 128 /* power of two */
#define PS_REPLAY_BITS	 32
#define PS_REPLAY_WINDOW (PS_REPLAY_WORDS * PS_REPLAY_BITS - PS_REPLAY_BITS) /* 4064 counters */
#define PS_REPLAY_LIMIT	 ((__u64)1 << 44)

struct ps_replay {
	__u64 top; /* highest committed counter + 1; 0 when none */
	__u64 word[PS_REPLAY_WORDS];
};

static __always_inline __u64 *ps_replay_word(struct ps_replay *r, __u64 counter)
{
	return &r->word[(counter / PS_REPLAY_BITS) & (PS_REPLAY_WORDS - 1)];
}

static __always_inline __u64 ps_replay_lap(__u64 counter)
{
	return counter / (PS_REPLAY_BITS * PS_REPLAY_WORDS);
}

/* 1: a packet with this counter could still be accepted. Changes nothing. */
static __always_inline int ps_replay_check(struct ps_replay *r, __u64 counter)
{
	__u64 top = PS_READ_ONCE(r->top);
	__u64 word, lap = ps_replay_lap(counter);

	if (counter >= PS_REPLAY_LIMIT || counter + PS_REPLAY_WINDOW < top)
		return 0;
	word = PS_READ_ONCE(*ps_replay_word(r, counter));
	if (word >> 32 != lap)
		return word >> 32 < lap;
	return !(word >> (counter % PS_REPLAY_BITS) & 1);
}

/* 1: accepted, and now recorded; 0: seen before, too old, or lost the race. The retry is bounded: a
 * word changes under us only because another core committed to it, and after 33 such losses every
 * counter of the block is taken or the block is gone. */
static __always_inline int ps_replay_commit(struct ps_replay *r, __u64 counter)
{
	__u64 *word = ps_replay_word(r, counter);
	__u64 lap = ps_replay_lap(counter);
	__u64 bit = (__u64)1 << (counter % PS_REPLAY_BITS);
	int won = 0;

	if (!ps_replay_check(r, counter))
		return 0;
	for (int i = 0; i < PS_REPLAY_BITS + 1 && !won; i++) {
		__u64 old = PS_READ_ONCE(*word);
		__u64 fresh;

		if (old >> 32 > lap || (old >> 32 == lap && (old & bit)))
			return 0;
		fresh = (old >> 32 == lap ? old : lap << 32) | bit;
		won = __sync_val_compare_and_swap(word, old, fresh) == old;
	}
	if (!won)
		return 0;
	for (int i = 0; i < 64; i++) {
		__u64 top = PS_READ_ONCE(r->top);

		if (top > counter || __sync_val_compare_and_swap(&r->top, top, counter + 1) == top)
			break;
	}
	return 1;
}

/* The same for several counters of one block, a bit each, the lowest for block * PS_REPLAY_BITS:
 * those that are accepted. */
static __always_inline __u32 ps_replay_commit_block(struct ps_replay *r, __u64 block, __u32 bits)
{
	__u64 *word = &r->word[block & (PS_REPLAY_WORDS - 1)];
	__u64 lap = block / PS_REPLAY_WORDS, first = block * PS_REPLAY_BITS;
	__u64 top = PS_READ_ONCE(r->top), next;
	__u32 fresh = 0;
	int won = 0;

	if (first >= PS_REPLAY_LIMIT)
		return 0;
	if (first + PS_REPLAY_WINDOW < top) { /* some of them are too old */
		__u64 old = top - PS_REPLAY_WINDOW - first;

		bits = old < PS_REPLAY_BITS ? bits >> old << old : 0;
	}
	for (int i = 0; i < PS_REPLAY_BITS + 1 && !won; i++) {
		__u64 old = PS_READ_ONCE(*word);
		__u32 seen = old >> 32 == lap ? (__u32)old : 0;

		fresh = bits & ~seen;
		if (old >> 32 > lap || !fresh)
			return 0;
		won = __sync_val_compare_and_swap(word, old, lap << 32 | seen | fresh) == old;
	}
	if (!won)
		return 0;
	next = first + PS_REPLAY_BITS - (__u64)__builtin_clz(fresh);
	for (int i = 0; i < 64; i++) {
		top = PS_READ_ONCE(r->top);
		if (top >= next || __sync_val_compare_and_swap(&r->top, top, next) == top)
			break;
	}
	return fresh;
}
#endif
