/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * From a packet's fate to what is done with it. The planning functions beside this file judge a
 * packet step by step; a step that finds nothing to object returns PS_GO_ON. */
#ifndef PENSTOCK_PLAN_VERDICT_H
#define PENSTOCK_PLAN_VERDICT_H
#include "compat/target.h"
#include "abi/reasons.h"

/* Not a fate: the next step decides. */
#define PS_GO_ON PS_R_COUNT

enum ps_verdict {
	PS_V_DONE,
	PS_V_PASS,
	PS_V_DROP,
};

#define PS_VERDICT_ENTRY(name, text, verdict, what) [PS_R_##name] = PS_V_##verdict,
static const __u8 ps_verdict_table[PS_R_COUNT] = {PS_REASONS(PS_VERDICT_ENTRY)};
#undef PS_VERDICT_ENTRY

/* Anything that is no fate is passed on. */
static __always_inline enum ps_verdict ps_verdict_of(enum ps_reason_id id)
{
	return (__u32)id < PS_R_COUNT ? (enum ps_verdict)ps_verdict_table[id] : PS_V_PASS;
}
#endif
