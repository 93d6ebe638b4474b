/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * What older verifiers have to be told in so many words (docs/kernels.md). */
#ifndef PENSTOCK_VERIFIER_BPF_H
#define PENSTOCK_VERIFIER_BPF_H

/* Forget what is known about v: the compiler would drop a loop's constant bound where a check of
 * another variable implies it, which older verifiers do not follow. */
#define OPAQUE(v) asm volatile("" : "+r"(v))

/* v, between 1 and max, in the very register that is used next: older verifiers lose a bound that
 * was found on a copy. It has been checked before; this only says so again. v has 64 bits. */
#define CLAMP(v, max)                                                                      \
	asm volatile("if %[x] <= %[m] goto +1\n%[x] = %[m]\nif %[x] > 0 goto +1\n%[x] = 1" \
		     : [x] "+r"(v)                                                         \
		     : [m] "i"(max))
#endif
