/* SPDX-License-Identifier: Apache-2.0
 *
 * One run of the load generator at a rate, and the search for the highest rate the far end carries
 * with next to no loss.
 *
 * What is lost: a packet that has not arrived when `grace` is over after the last one was sent. So
 * queues count for no more than grace / run length, however long the far end makes them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/wgload.h"
#include "io/loop.h"

#define QUIET_NS  (60 * NS_PER_MS)
#define DRAIN_NS  (3 * NS_PER_SEC) /* what is still queued is waited for no longer than this */
#define CLOSE_TO  1.03		   /* the search ends when the bracket is as narrow */
#define UP	  1.5
#define DOWN	  0.6
#define LAGS	  0.98 /* below this share of what was asked the sender is the limit */
#define GUESS_PPS 20000.0

static void pause_ns(uint64_t ns)
{
	const struct timespec t = {.tv_sec = (time_t)(ns / NS_PER_SEC),
				   .tv_nsec = (long)(ns % NS_PER_SEC)};

	nanosleep(&t, NULL);
}

/* Until nothing arrives any more, or what was expected is there. */
static uint64_t drained(const struct wgl_find *f, uint64_t expected)
{
	const uint64_t end = loop_now() + DRAIN_NS;
	uint64_t before, count = wgl_sink_count(f->sink);

	do {
		before = count;
		pause_ns(QUIET_NS);
		count = wgl_sink_count(f->sink);
	} while (count != expected && (count != before || (f->exactly && expected)) &&
		 loop_now() < end);
	return count;
}

/* Packets of warm-up and run; memory may allow for fewer than wanted. */
static void plan(const struct wgl_find *f, double pps, uint64_t *warm, uint64_t *run)
{
	const double most = (double)wgl_batch_max(f->load);
	double share = most / ((pps > 0 ? pps : most) * (f->warm + f->seconds));

	if (f->exactly) {
		*warm = 0;
		*run = f->exactly;
		return;
	}
	if (share > 1)
		share = 1;
	*warm = (uint64_t)((pps > 0 ? pps : most) * f->warm * share);
	*run = (uint64_t)((pps > 0 ? pps : most) * f->seconds * share);
	if (!*run)
		*run = 1;
}

/* One sender's share, from its sessions to its packets. */
static struct wgl_batch *part_make(const struct wgl_find *f, const struct wgl_part *p)
{
	static struct wgl_batch b; /* kept: its pages are there from the second run on */

	if (!b.buf)
		wgl_batch_alloc(&b, f->load);
	f->link->ready(f->link);
	wgl_batch_fill(&b, f->link, f->load, p->warm + p->n);
	return &b;
}

void wgl_run_along(const struct wgl_find *f)
{
	struct wgl_sent warm_up, sent;
	struct wgl_part p;

	while (wgl_team_follow(f->team, &p)) {
		const struct wgl_batch *b = part_make(f, &p);

		wgl_team_meet(f->team);
		wgl_team_meet(f->team); /* the first has looked at the counter */
		wgl_blast(b, f->link, f->load, 0, p.warm, p.pps, &warm_up);
		wgl_blast(b, f->link, f->load, p.warm, p.warm + p.n, p.pps, &sent);
		sent.refused += warm_up.refused;
		wgl_team_sent(f->team, f->load->sender, &sent);
		f->link->settle(f->link);
	}
}

void wgl_run(const struct wgl_find *f, double pps, struct wgl_run *out)
{
	const uint32_t senders = wgl_team_size(f->team);
	struct wgl_part p = {.pps = pps / senders};
	struct wgl_sent warm_up, sent;
	const struct wgl_batch *b;
	struct wgl_cpu before;
	uint64_t base, got;

	plan(f, p.pps, &p.warm, &p.n);
	wgl_team_order(f->team, &p);
	b = part_make(f, &p);
	wgl_team_meet(f->team);
	base = drained(f, 0);
	wgl_team_meet(f->team);
	wgl_blast(b, f->link, f->load, 0, p.warm, p.pps, &warm_up);
	wgl_cpu_now(f->pid, &before);
	wgl_blast(b, f->link, f->load, p.warm, p.warm + p.n, p.pps, &sent);
	wgl_cpu_since(&before, f->pid, &out->cpu);
	sent.refused += warm_up.refused;
	wgl_team_sent(f->team, 0, &sent);
	wgl_team_sum(f->team, &sent);
	pause_ns((uint64_t)(f->grace * 1e9));
	got = wgl_sink_count(f->sink) - base;
	/* The warm-up's losses count, for its packets cannot be told from the others. */
	out->sent = senders * (p.warm + p.n);
	out->late = drained(f, base + out->sent) - base - got;
	f->link->settle(f->link);
	out->pps = pps;
	out->seconds = (double)(sent.end_ns - sent.start_ns) / 1e9;
	out->offered = (double)(senders * p.n) / out->seconds;
	out->got = got;
	out->refused = sent.refused;
	out->loss = got >= out->sent ? 0 : (double)(out->sent - got) / (double)out->sent;
	out->delivered = out->offered * (1 - out->loss);
}

/* ---- search ---- */

struct search {
	const struct wgl_find *f;
	struct wgl_run best;
	double low, high; /* high 0: not known */
	double peak;
	unsigned probes;
	uint64_t end;
	bool sender; /* it could not send faster */
};

/* Nothing has passed: there is no figure yet, and the next step goes down, so it ends without a
 * clock. */
static bool in_time(const struct search *s)
{
	return s->best.delivered <= 0 || loop_now() < s->end;
}

static void note(struct search *s, const char *what, const struct wgl_run *r)
{
	s->probes++;
	if (r->delivered > s->peak)
		s->peak = r->delivered;
	if (getenv("WGL_VERBOSE"))
		wgl_print(s->f, what, r, stderr);
}

/* Twice, when it nearly passed or the sender lagged: other work on the machine does that, too. */
static bool passes(struct search *s, double pps)
{
	bool passed = false;
	struct wgl_run r;

	for (int i = 0; i < 2 && in_time(s); i++) {
		wgl_run(s->f, pps, &r);
		note(s, "probe", &r);
		if (r.loss > 20 * s->f->limit)
			break;
		if (r.loss > s->f->limit)
			continue;
		passed = true;
		s->sender = r.offered < pps * LAGS;
		if (r.delivered > s->best.delivered)
			s->best = r;
		if (!s->sender)
			break;
	}
	return passed;
}

/* A first guess: what comes through when too much is offered. */
static double guess(struct search *s)
{
	struct wgl_find f = *s->f;
	double pps = GUESS_PPS;
	struct wgl_run r;

	f.seconds = 0.2;
	f.warm = 0;
	f.grace = 0.005;
	for (int i = 0; i < 5 && in_time(s); i++, pps *= 4) {
		wgl_run(&f, pps, &r);
		note(s, "guess", &r);
		if (r.loss > 0.05 || r.offered < pps * LAGS)
			break;
	}
	return r.delivered > 1000 ? r.delivered : 1000;
}

void wgl_search(const struct wgl_find *f, struct wgl_run *best, struct wgl_found *found)
{
	struct search s = {.f = f, .end = loop_now() + (uint64_t)(f->max_seconds * 1e9)};
	double pps = f->start_pps > 0 ? f->start_pps : guess(&s);

	while (in_time(&s) && (!s.high || !s.low || s.high > s.low * CLOSE_TO)) {
		if (passes(&s, pps)) {
			s.low = pps;
			if (s.sender)
				break;
		} else {
			s.high = pps;
		}
		pps = !s.high ? s.low * UP : !s.low ? s.high * DOWN : (s.low + s.high) / 2;
		if (pps < 100)
			break;
	}
	*best = s.best;
	*found = (struct wgl_found){.probes = s.probes, .peak_pps = s.peak, .sender = s.sender};
}

void wgl_print(const struct wgl_find *f, const char *what, const struct wgl_run *r, FILE *out)
{
	const double n = r->sent ? r->offered * r->seconds : 1;

	fprintf(out,
		"{\"what\":\"%s\",\"size\":%u,\"flows\":%u,\"train\":%u,\"peers\":%u,\"senders\":%"
		"u,\"gso\":%s,"
		"\"asked_pps\":%.0f,\"pps\":%.0f,\"offered_pps\":%.0f,\"gbps\":%.3f,\"loss\":%.5f,"
		"\"sent\":%llu,\"delivered\":%llu,\"late\":%llu,\"refused\":%llu,\"seconds\":%.2f,",
		what, f->load->size, f->load->flows, f->load->train,
		f->link->n * wgl_team_size(f->team), wgl_team_size(f->team),
		f->load->gso ? "true" : "false", r->pps, r->delivered, r->offered,
		r->delivered * f->load->size * 8 / 1e9, r->loss, (unsigned long long)r->sent,
		(unsigned long long)r->got, (unsigned long long)r->late,
		(unsigned long long)r->refused, r->seconds);
	if (f->pid)
		fprintf(out, "\"gateway_ns\":%.0f,", r->cpu.process_ns / n);
	fprintf(out, "\"busy_ns\":%.0f,\"softirq_share\":%.3f", r->cpu.busy_ns / n,
		r->cpu.all_ns > 0 ? r->cpu.soft_ns / r->cpu.all_ns : 0);
	fputs(out == stderr ? "}\n" : "", out);
}
