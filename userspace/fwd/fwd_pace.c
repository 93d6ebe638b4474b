/* SPDX-License-Identifier: Apache-2.0 */
#include "fwd/fwd_pace.h"

static bool is_bulk(const struct fwd_moved *m)
{
	return m->packets >= FWD_PACE_PACKETS && m->bytes / m->packets >= FWD_PACE_LEN;
}

bool fwd_pace_tick(struct fwd_pace *p, bool in_kernel)
{
	bool change = in_kernel ? is_bulk(&p->kernel) : !is_bulk(&p->all);
	uint32_t enough = in_kernel ? FWD_PACE_TICKS_TO_USER : FWD_PACE_TICKS_BACK;

	if (in_kernel && p->kernel.packets >= FWD_PACE_MUCH)
		enough = 1;
	p->kernel = p->all = (struct fwd_moved){0};
	p->ticks = change ? p->ticks + 1 : 0;
	if (p->ticks < enough)
		return false;
	p->ticks = 0;
	return true;
}
