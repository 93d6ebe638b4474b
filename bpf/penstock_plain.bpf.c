// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The fast path for kernels from 6.1 to 6.3: keys in a plain array.
#include "keys_plain.bpf.h"
#include "programs.bpf.h"
