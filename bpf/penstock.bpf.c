// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The fast path for kernels from 6.4 on: keys behind pointers that no dump shows.
#include "keys_kptr.bpf.h"
#include "programs.bpf.h"
