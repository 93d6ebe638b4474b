/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * What differs between the three compilations of include/: BPF programs, the daemon, the tests.
 * Nothing here or in any other file below include/ uses libc beyond mem*. */
#ifndef PENSTOCK_COMPAT_TARGET_H
#define PENSTOCK_COMPAT_TARGET_H
#include <linux/types.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Penstock's map layouts and cipher code are little endian"
#endif

#define ps_be16(x)   ((__be16)__builtin_bswap16((__u16)(x)))
#define ps_be32(x)   ((__be32)__builtin_bswap32((__u32)(x)))
#define ps_host16(x) ((__u16)__builtin_bswap16((__u16)(x)))
#define ps_host32(x) ((__u32)__builtin_bswap32((__u32)(x)))

#define PS_READ_ONCE(x)	    (*(const volatile __typeof__(x) *)&(x))
#define PS_WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#endif
