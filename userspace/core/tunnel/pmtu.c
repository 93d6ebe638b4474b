/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine of pmtu.h. */
#include "core/tunnel/pmtu.h"

static void probe_forget(struct pmtu *p)
{
	p->probe_size = 0;
	p->tries = 0;
	p->out = false;
}

void pmtu_init(struct pmtu *p)
{
	*p = (struct pmtu){.state = PMTU_OFF,
			   .size = PMTU_BASE_LEN,
			   .due_ns = TIME_NEVER,
			   .raise_ns = TIME_NEVER};
}

/* Ask whether anybody answers, now. */
static void base_enter(struct pmtu *p, uint64_t now)
{
	probe_forget(p);
	p->state = PMTU_BASE;
	p->size = PMTU_BASE_LEN;
	p->raise_ns = TIME_NEVER;
	p->silent_until = 0;
	p->due_ns = now;
}

void pmtu_path(struct pmtu *p, uint16_t ceiling, uint64_t now)
{
	struct pmtu fresh;

	pmtu_init(&fresh);
	fresh.answers_ns = p->answers_ns;
	fresh.answers = p->answers;
	*p = fresh;
	p->ceiling = ceiling;
	p->failed = (uint16_t)(ceiling + 1);
	if (ceiling > PMTU_BASE_LEN)
		base_enter(p, now);
}

static void complete(struct pmtu *p, uint64_t now)
{
	p->state = PMTU_COMPLETE;
	p->raise_ns = p->size < p->ceiling ? time_add(now, PMTU_RAISE_NS) : TIME_NEVER;
	p->due_ns = TIME_NEVER;
}

static void search(struct pmtu *p, uint64_t now)
{
	if (p->size < p->ceiling && (p->failed > p->ceiling || p->failed - p->size > PMTU_STEP)) {
		p->state = PMTU_SEARCHING;
		p->due_ns = now;
	} else {
		complete(p, now);
	}
}

static void search_anew(struct pmtu *p, uint64_t now)
{
	probe_forget(p);
	p->failed = (uint16_t)(p->ceiling + 1);
	search(p, now);
}

void pmtu_ceiling(struct pmtu *p, uint16_t ceiling, uint64_t now)
{
	if (ceiling == p->ceiling)
		return;
	if (p->size > ceiling || p->state == PMTU_OFF || ceiling <= PMTU_BASE_LEN) {
		pmtu_path(p, ceiling, now);
		return;
	}
	p->ceiling = ceiling;
	if (p->state == PMTU_BASE)
		p->failed = (uint16_t)(ceiling + 1);
	else
		search_anew(p, now);
}

void pmtu_active(struct pmtu *p, uint64_t now)
{
	if (p->due_ns != TIME_NEVER)
		return;
	switch (p->state) {
	case PMTU_OFF:
		break;
	case PMTU_BASE:
		if (now >= p->silent_until)
			p->due_ns = now;
		break;
	case PMTU_SEARCHING:
		p->due_ns = now;
		break;
	case PMTU_COMPLETE:
		if (time_reached(p->raise_ns, now))
			search_anew(p, now);
		else if (p->size > PMTU_BASE_LEN &&
			 time_since(p->confirmed_ns, now) >= PMTU_CONFIRM_NS)
			p->due_ns = now;
		break;
	}
}

static uint16_t next_size(const struct pmtu *p)
{
	switch (p->state) {
	case PMTU_SEARCHING:
		return p->failed > p->ceiling ? p->ceiling
					      : (uint16_t)(p->size + (p->failed - p->size) / 2);
	case PMTU_COMPLETE:
		return p->size;
	case PMTU_OFF:
	case PMTU_BASE:
		break;
	}
	return PMTU_BASE_LEN;
}

static uint64_t timeout_of(const struct pmtu *p)
{
	uint64_t t = 4 * p->rtt_ns;

	if (!p->rtt_ns)
		return PMTU_TIMEOUT_NS;
	if (t < PMTU_TIMEOUT_MIN_NS)
		return PMTU_TIMEOUT_MIN_NS;
	return t > PMTU_TIMEOUT_MAX_NS ? PMTU_TIMEOUT_MAX_NS : t;
}

bool pmtu_poll_tx(struct pmtu *p, struct rng *rng, struct p2p_mtu *out, uint64_t now)
{
	if (p->out || p->state == PMTU_OFF || !time_reached(p->due_ns, now))
		return false;
	if (!p->tries) {
		p->probe_size = next_size(p);
		p->id = rng_u64(rng);
	}
	p->tries++;
	p->out = true;
	p->sent_ns = now;
	p->due_ns = time_add(now, timeout_of(p));
	*out = (struct p2p_mtu){.id = p->id, .size = p->probe_size};
	return true;
}

void pmtu_unsent(struct pmtu *p)
{
	probe_forget(p);
	p->due_ns = TIME_NEVER;
}

bool pmtu_ack(struct pmtu *p, const struct p2p_mtu *ack, uint64_t now)
{
	if (!p->tries || ack->id != p->id || ack->size != p->probe_size)
		return false;
	if (p->tries == 1) /* else it is not known which one was answered */
		p->rtt_ns = time_since(p->sent_ns, now);
	p->confirmed_ns = now;
	if (p->state == PMTU_COMPLETE) {
		probe_forget(p);
		p->due_ns = TIME_NEVER;
		return true;
	}
	p->size = p->probe_size;
	p->silent_wait_ns = 0;
	probe_forget(p);
	search(p, now);
	return true;
}

/* Nothing came back, however often. */
static void lost(struct pmtu *p, uint64_t now)
{
	uint16_t size = p->probe_size;

	probe_forget(p);
	switch (p->state) {
	case PMTU_OFF:
		break;
	case PMTU_BASE:
		p->silent_wait_ns = p->silent_wait_ns ? 2 * p->silent_wait_ns : PMTU_SILENT_NS;
		if (p->silent_wait_ns > PMTU_SILENT_MAX_NS)
			p->silent_wait_ns = PMTU_SILENT_MAX_NS;
		p->silent_until = time_add(now, p->silent_wait_ns);
		p->due_ns = TIME_NEVER;
		break;
	case PMTU_SEARCHING:
		p->failed = size;
		search(p, now);
		break;
	case PMTU_COMPLETE:
		p->failed = size;
		base_enter(p, now);
		break;
	}
}

void pmtu_timeout(struct pmtu *p, uint64_t now)
{
	if (!p->out || !time_reached(p->due_ns, now))
		return;
	p->out = false;
	if (p->tries < (p->state == PMTU_COMPLETE ? PMTU_CONFIRM_TRIES : PMTU_TRIES))
		p->due_ns = now;
	else
		lost(p, now);
}

bool pmtu_answers(struct pmtu *p, const struct p2p_mtu *probe, uint16_t limit, uint64_t now)
{
	if (probe->size > limit)
		return false;
	if (time_since(p->answers_ns, now) >= NS_PER_SEC) {
		p->answers_ns = now;
		p->answers = 0;
	}
	return p->answers++ < PMTU_ANSWERS;
}

struct deadline pmtu_deadline(const struct pmtu *p)
{
	return (struct deadline){.at = p->due_ns, .why = p->out ? "mtu probe" : "mtu search"};
}

const char *pmtu_state_name(enum pmtu_state s)
{
	switch (s) {
	case PMTU_OFF:
		break;
	case PMTU_BASE:
		return "base";
	case PMTU_SEARCHING:
		return "searching";
	case PMTU_COMPLETE:
		return "complete";
	}
	return "off";
}
