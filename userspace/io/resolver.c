/* SPDX-License-Identifier: Apache-2.0
 *
 * c-ares on the control thread's loop; contract in resolver.h. The library says which descriptors
 * it waits for (on_socket) and when it wants to be called again (rearm). A question that runs out
 * of time is answered here; its place stays taken until the library lets go of it. */
#include "io/resolver.h"

#include <ares.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define FDS_MAX	 64  /* one or two a name server */
#define KEPT_CAP 512 /* power of two */
#define NAME_CAP 256
#define TRY_MS	 1000 /* a server's time for the first answer, then twice as long each time */
#define TRIES	 4
#define RCVBUF \
	(4 << 20) /* the answers to all questions at once: the kernel counts 768 bytes each */
#define CONF_CHECK (1 * NS_PER_SEC)
#define CONF_PATH  "/etc/resolv.conf"

/* What is known of a name. */
struct found {
	uint64_t keep_ns; /* how long the answer may be used again */
	bool failed;	  /* else n is what there is */
	size_t n;
	struct ipaddr addrs[RESOLVER_ADDRS_MAX];
};

struct question {
	struct resolver *r;
	uint64_t cookie, deadline_ns;
	struct question *next; /* of the free ones */
	bool used, answered;
	char name[NAME_CAP];
};

struct kept {
	uint64_t until_ns;
	struct found found;
	char name[NAME_CAP];
};

struct watched {
	struct resolver *r;
	struct loop_fd lfd;
	int fd; /* -1: free */
	unsigned int events;
};

struct resolver {
	struct resolver_cfg cfg;
	struct loop *loop;
	ares_channel channel;
	struct loop_timer timer;
	struct watched fds[FDS_MAX];
	struct question *questions, *free;
	uint32_t busy;
	struct kept *kept;
	uint64_t conf_checked_ns;
	struct stat conf;
	bool conf_changed, closing;
	struct resolver_counters counters;
};

/* ---- answers that are kept ---- */

static struct kept *kept_at(struct resolver *r, const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name; name++) {
		char c = *name >= 'A' && *name <= 'Z' ? (char)(*name | 0x20) : *name;

		h = (h ^ (uint8_t)c) * 16777619u;
	}
	return &r->kept[(h ^ h >> 15) & (KEPT_CAP - 1)];
}

static void keep(struct resolver *r, const char *name, const struct found *f, uint64_t now)
{
	struct kept *k = kept_at(r, name);

	k->until_ns = time_add(now, f->keep_ns);
	k->found = *f;
	memcpy(k->name, name, strlen(name) + 1);
}

/* ---- questions ---- */

static void question_free(struct question *q)
{
	struct resolver *r = q->r;

	q->used = false;
	q->next = r->free;
	r->free = q;
	r->busy--;
}

static void answer(struct question *q, const struct found *f, uint64_t now)
{
	struct resolver *r = q->r;

	if (q->answered || r->closing)
		return;
	q->answered = true;
	if (f->n)
		keep(r, q->name, f, now);
	else
		r->counters.failed++;
	r->cfg.done(r->cfg.ctx, q->cookie, f->failed ? NULL : f->addrs, f->n, now);
}

static bool addr_of(const struct sockaddr *sa, struct ipaddr *out)
{
	if (sa->sa_family == AF_INET)
		*out = ipaddr_from(4, &((const struct sockaddr_in *)(const void *)sa)->sin_addr);
	else if (sa->sa_family == AF_INET6)
		*out = ipaddr_from(6, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr);
	else
		return false;
	return true;
}

static void keep_at_most(struct found *f, int ttl)
{
	uint64_t ns = ttl > 0 ? (uint64_t)ttl * NS_PER_SEC : 0;

	f->keep_ns = ns < f->keep_ns ? ns : f->keep_ns;
}

/* The least TTL counts, of the aliases on the way as well. The hosts file has none: 0. */
static void found_in(const struct ares_addrinfo *res, struct found *f)
{
	f->n = 0;
	f->keep_ns = RESOLVER_KEEP_NS;
	for (const struct ares_addrinfo_cname *c = res->cnames; c; c = c->next)
		keep_at_most(f, c->ttl);
	for (const struct ares_addrinfo_node *a = res->nodes; a && f->n < RESOLVER_ADDRS_MAX;
	     a = a->ai_next) {
		if (!addr_of(a->ai_addr, &f->addrs[f->n]))
			continue;
		f->n++;
		keep_at_most(f, a->ai_ttl);
	}
	if (f->keep_ns < RESOLVER_KEEP_MIN_NS)
		f->keep_ns = RESOLVER_KEEP_MIN_NS;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *res)
{
	struct question *q = arg;
	struct found f = {0};

	(void)timeouts;
	if (status == ARES_SUCCESS)
		found_in(res, &f);
	else
		f.failed = status != ARES_ENOTFOUND && status != ARES_ENODATA;
	if (res)
		ares_freeaddrinfo(res);
	answer(q, &f, loop_now());
	question_free(q);
}

/* ---- the library's descriptors and time ---- */

static void rearm(struct resolver *r)
{
	uint64_t now = loop_now(), at = TIME_NEVER;
	struct timeval tv;

	for (uint32_t i = 0; r->busy && i < r->cfg.questions_max; i++) {
		const struct question *q = &r->questions[i];

		if (q->used && !q->answered && q->deadline_ns < at)
			at = q->deadline_ns;
	}
	if (ares_timeout(r->channel, NULL, &tv)) {
		uint64_t t = time_add(now, (uint64_t)tv.tv_sec * NS_PER_SEC +
						   (uint64_t)tv.tv_usec * NS_PER_US);

		at = t < at ? t : at;
	}
	loop_timer_arm(&r->timer, at);
}

static void on_timer(void *ctx, uint64_t now)
{
	struct resolver *r = ctx;

	for (uint32_t i = 0; i < r->cfg.questions_max; i++) {
		struct question *q = &r->questions[i];

		if (!q->used || q->answered || !time_reached(q->deadline_ns, now))
			continue;
		r->counters.timed_out++;
		answer(q, &(struct found){.failed = true}, now);
	}
	ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	rearm(r);
}

static void on_ready(void *ctx, unsigned int events, uint64_t now)
{
	struct watched *w = ctx;
	struct resolver *r = w->r;
	int fd = w->fd;

	(void)now;
	ares_process_fd(r->channel, events & (LOOP_READ | LOOP_ERROR) ? fd : ARES_SOCKET_BAD,
			events & (LOOP_WRITE | LOOP_ERROR) ? fd : ARES_SOCKET_BAD);
	if (events & LOOP_ERROR && w->fd == fd)
		loop_fd_set(&w->lfd, w->events);
	rearm(r);
}

static struct watched *watched_find(struct resolver *r, int fd)
{
	for (size_t i = 0; i < FDS_MAX; i++)
		if (r->fds[i].fd == fd)
			return &r->fds[i];
	return NULL;
}

/* What the library waits for on fd; nothing: it is about to close it. Without a place here the
 * question on it runs out of time. */
static void on_socket(void *ctx, ares_socket_t fd, int readable, int writable)
{
	struct resolver *r = ctx;
	struct watched *w = watched_find(r, fd);

	if (!readable && !writable) {
		if (w) {
			loop_fd_fini(&w->lfd);
			w->fd = -1;
		}
		return;
	}
	if (!w && !(w = watched_find(r, -1)))
		return;
	w->events = (readable ? LOOP_READ : 0) | (writable ? LOOP_WRITE : 0);
	if (w->fd == fd) {
		loop_fd_set(&w->lfd, w->events);
	} else if (!loop_fd_init(&w->lfd, r->loop, fd, w->events, on_ready, w)) {
		w->fd = fd;
	}
}

static int on_created(ares_socket_t fd, int type, void *ctx)
{
	const struct resolver *r = ctx;
	uint32_t mark = r->cfg.fwmark;
	int room = RCVBUF;

	if (type == SOCK_DGRAM && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)))
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	return mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) ? -1 : 0;
}

/* ---- life ---- */

static int channel_open(struct resolver *r, const char *servers, ares_channel *out)
{
	struct ares_options opt = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
				   .timeout = TRY_MS,
				   .tries = TRIES,
				   .sock_state_cb = on_socket,
				   .sock_state_cb_data = r};
	int rc = ares_init_options(out, &opt,
				   ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
					   ARES_OPT_SOCK_STATE_CB);

	if (rc)
		return rc == ARES_ENOMEM ? -ENOMEM : -EIO;
	ares_set_socket_configure_callback(*out, on_created, r);
	if (servers && ares_set_servers_ports_csv(*out, servers)) {
		ares_destroy(*out);
		return -EINVAL;
	}
	return 0;
}

static void channel_change(struct resolver *r, ares_channel fresh)
{
	ares_channel old = r->channel;

	r->channel = fresh;
	ares_destroy(old);
	for (size_t i = 0; i < KEPT_CAP; i++)
		r->kept[i].until_ns = 0;
}

static bool conf_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* A changed resolv.conf takes effect when no question is under way. */
static void follow_conf(struct resolver *r, uint64_t now)
{
	struct stat st = {0};
	ares_channel fresh;

	if (r->cfg.servers || time_since(r->conf_checked_ns, now) < CONF_CHECK)
		return;
	r->conf_checked_ns = now;
	(void)stat(CONF_PATH, &st);
	if (!conf_same(&st, &r->conf)) {
		r->conf = st;
		r->conf_changed = true;
	}
	if (!r->conf_changed || r->busy || channel_open(r, NULL, &fresh))
		return;
	channel_change(r, fresh);
	r->conf_changed = false;
}

int resolver_set_servers(struct resolver *r, const char *servers)
{
	ares_channel fresh;
	int rc = channel_open(r, servers, &fresh);

	if (rc)
		return rc;
	r->cfg.servers = servers;
	channel_change(r, fresh);
	rearm(r);
	return 0;
}

int resolver_open(struct resolver **out, struct loop *loop, const struct resolver_cfg *cfg)
{
	struct resolver *r = calloc(1, sizeof(*r));
	int rc = -ENOMEM;

	if (!r)
		return rc;
	r->cfg = *cfg;
	r->loop = loop;
	r->questions = calloc(cfg->questions_max, sizeof(*r->questions));
	r->kept = calloc(KEPT_CAP, sizeof(*r->kept));
	if (!r->questions || !r->kept)
		goto fail;
	for (uint32_t i = cfg->questions_max; i-- > 0; r->free = &r->questions[i])
		r->questions[i] = (struct question){.r = r, .next = r->free};
	for (size_t i = 0; i < FDS_MAX; i++)
		r->fds[i] = (struct watched){.r = r, .fd = -1};
	(void)stat(CONF_PATH, &r->conf);
	rc = ares_library_init(ARES_LIB_INIT_ALL) ? -ENOMEM : 0;
	if (rc)
		goto fail;
	rc = channel_open(r, cfg->servers, &r->channel);
	if (rc)
		goto fail_library;
	rc = loop_timer_init(&r->timer, loop, on_timer, r);
	if (rc)
		goto fail_channel;
	*out = r;
	return 0;
fail_channel:
	ares_destroy(r->channel);
fail_library:
	ares_library_cleanup();
fail:
	free(r->questions);
	free(r->kept);
	free(r);
	return rc;
}

void resolver_ask(struct resolver *r, const char *name, uint64_t cookie, uint64_t now)
{
	const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC,
						  .ai_flags = ARES_AI_NOSORT};
	const struct kept *k;
	struct question *q;

	follow_conf(r, now);
	r->counters.asked++;
	k = kept_at(r, name);
	if (now < k->until_ns && !strcasecmp(k->name, name)) {
		r->counters.kept++;
		r->cfg.done(r->cfg.ctx, cookie, k->found.addrs, k->found.n, now);
		return;
	}
	q = r->free;
	if (!q || strlen(name) >= NAME_CAP) {
		r->counters.full++;
		r->cfg.done(r->cfg.ctx, cookie, NULL, 0, now);
		return;
	}
	r->free = q->next;
	r->busy++;
	q->used = true;
	q->answered = false;
	q->cookie = cookie;
	q->deadline_ns = time_add(now, RESOLVER_TIMEOUT_NS);
	memcpy(q->name, name, strlen(name) + 1);
	ares_getaddrinfo(r->channel, name, NULL, &hints, on_answer, q);
	rearm(r);
}

struct resolver_counters resolver_counters(const struct resolver *r)
{
	return r->counters;
}

void resolver_close(struct resolver *r)
{
	if (!r)
		return;
	r->closing = true;
	ares_destroy(r->channel);
	ares_library_cleanup();
	loop_timer_fini(&r->timer);
	free(r->questions);
	free(r->kept);
	free(r);
}
