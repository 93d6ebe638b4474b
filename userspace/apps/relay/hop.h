/* SPDX-License-Identifier: Apache-2.0
 *
 * Next hop `auto`: keeps the switch told who the default router is, family by family. Reads the
 * kernel's routes and neighbours when they change and once a second, has the kernel verify the
 * router, and says what it found. Control thread only. */
#ifndef PENSTOCK_RELAY_HOP_H
#define PENSTOCK_RELAY_HOP_H
#include <jansson.h>
#include "base/addr.h"
#include "io/bpf_relay.h"
#include "io/loop.h"

struct hop;

struct hop_cfg {
	struct bpf_relay *bpf;	  /* outlives it */
	struct ipaddr own4, own6; /* what packets leave from; family 0: that family is not served */
};

/* What cannot be resolved yet is retried. 0 or -errno; *out is to be closed in any case. */
int hop_open(struct hop **out, const struct hop_cfg *cfg, struct loop *loop, struct io_err *err);
/* The switch is about to be closed. Safe on NULL. */
void hop_stop(struct hop *h);
/* After loop_fini: the loop's handles are in it. Safe on NULL. */
void hop_close(struct hop *h);
/* One object a family; an empty list for NULL. */
json_t *hop_view(const struct hop *h);
#endif
