/* SPDX-License-Identifier: Apache-2.0
 * Check schedule and fate of one pair; see ice_pair.h for the timing model. */
#include "core/ice/ice_pair.h"

#include <string.h>

uint64_t ice_delay(const struct ice_timing *t, unsigned n)
{
	uint64_t d = t->rto_ns;

	for (unsigned i = 1; i < n && d < t->max_rto_ns; i++)
		d *= 2;
	return d < t->max_rto_ns ? d : t->max_rto_ns;
}

static void schedule(struct ice_pair *p, const struct ice_timing *t, uint64_t now)
{
	unsigned k = p->n_kept;
	uint64_t latest = time_add(now, t->max_rto_ns);

	if (!p->n_sent)
		return;
	if (p->n_lost && time_since(p->first_lost_at, now) > t->max_rto_ns / 2)
		k = p->n_lost;
	p->next_at = time_add(p->last_at, ice_delay(t, k));
	if (p->next_at > latest)
		p->next_at = latest;
	if (p->next_at < now)
		p->next_at = now;
}

struct ice_pair ice_pair_make(uint8_t local, uint8_t remote, uint64_t prio, uint64_t now)
{
	return (struct ice_pair){.prio = prio,
				 .next_at = now,
				 .local = local,
				 .remote = remote,
				 .state = ICE_PAIR_WAITING};
}

void ice_pair_sent(struct ice_pair *p, const struct ice_timing *t, const uint8_t tail[8],
		   bool controlling, uint64_t now)
{
	struct ice_check *c = &p->sent[p->n_sent % ICE_CHECKS_KEPT];

	memset(c, 0, sizeof(*c));
	c->at = now;
	c->controlling = controlling;
	memcpy(c->tid_tail, tail, sizeof(c->tid_tail));
	p->n_sent++;
	p->last_at = now;
	p->nominate_now = false;
	if (p->state == ICE_PAIR_WAITING)
		p->state = ICE_PAIR_IN_PROGRESS;
	if (!p->n_lost)
		p->first_lost_at = now;
	if (p->n_lost < t->max_retransmits)
		p->n_lost++;
	if (p->n_kept < t->max_retransmits)
		p->n_kept++;
	schedule(p, t, now);
}

int ice_pair_check_find(const struct ice_pair *p, const uint8_t tail[8])
{
	unsigned n = p->n_sent < ICE_CHECKS_KEPT ? p->n_sent : ICE_CHECKS_KEPT;

	for (unsigned i = 0; i < n; i++)
		if (!memcmp(p->sent[i].tid_tail, tail, sizeof(p->sent[i].tid_tail)))
			return (int)i;
	return -1;
}

void ice_pair_answered(struct ice_pair *p, const struct ice_timing *t, int i, uint64_t now)
{
	struct ice_check *c = &p->sent[i];
	unsigned newest = (p->n_sent - 1) % ICE_CHECKS_KEPT;
	unsigned later = (newest + ICE_CHECKS_KEPT - (unsigned)i) % ICE_CHECKS_KEPT;
	uint64_t rtt = time_since(c->at, now);

	if (c->answered)
		return;
	c->answered = true;
	p->rtt_ns = p->rtt_ns ? (7 * p->rtt_ns + rtt) / 8 : rtt;
	p->state = ICE_PAIR_SUCCEEDED;
	if (p->n_lost <= later)
		return;
	p->n_lost = (uint16_t)later;
	p->first_lost_at = later ? p->sent[((unsigned)i + 1) % ICE_CHECKS_KEPT].at : 0;
	schedule(p, t, now);
}

void ice_pair_trigger(struct ice_pair *p, const struct ice_timing *t, uint64_t now)
{
	uint64_t soon = time_add(p->last_at, t->rto_ns / 5);

	if (p->state != ICE_PAIR_IN_PROGRESS || ice_pair_spent(p, t) || p->next_at <= soon)
		return;
	if (p->triggered_at && time_since(p->triggered_at, now) < t->max_rto_ns)
		return;
	p->triggered_at = now;
	p->next_at = soon > now ? soon : now;
}

void ice_pair_nominate(struct ice_pair *p, uint64_t now)
{
	p->nominate_now = true;
	p->next_at = now;
	p->n_kept = p->n_lost;
}

void ice_pair_retime(struct ice_pair *p, const struct ice_timing *t, uint64_t now)
{
	if (p->n_kept > t->max_retransmits)
		p->n_kept = (uint16_t)t->max_retransmits;
	if (p->n_lost > t->max_retransmits)
		p->n_lost = (uint16_t)t->max_retransmits;
	schedule(p, t, now);
}

bool ice_pair_spent(const struct ice_pair *p, const struct ice_timing *t)
{
	return p->n_lost >= t->max_retransmits;
}

uint64_t ice_pair_wake(const struct ice_pair *p, const struct ice_timing *t)
{
	if (ice_pair_spent(p, t) && !p->nominate_now)
		return time_add(p->last_at, ice_delay(t, t->max_retransmits));
	return p->next_at;
}

bool ice_pair_dead(const struct ice_pair *p, const struct ice_timing *t, uint64_t now)
{
	return ice_pair_spent(p, t) &&
	       now >= time_add(p->last_at, ice_delay(t, t->max_retransmits));
}
