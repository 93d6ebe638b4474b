/* SPDX-License-Identifier: Apache-2.0
 *
 * The relay's sockets: on the listen port one a worker and family (SO_REUSEPORT: the kernel spreads
 * clients over them), on each relayed address one, in the epoll of the client's worker. */
#include <errno.h>
#include <ifaddrs.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "apps/relay/app.h"

#define FILES_KEPT 12

void socks_raise_limit(uint32_t n_files)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim))
		return;
	if (lim.rlim_cur >= n_files)
		return;
	lim.rlim_cur = n_files;
	if (lim.rlim_max < n_files)
		lim.rlim_max = n_files;
	if (!setrlimit(RLIMIT_NOFILE, &lim))
		return;
	getrlimit(RLIMIT_NOFILE, &lim);
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim);
	LOG_WARN("relay", "fewer files may be open than all allocations need",
		 LOG_U64("limit", lim.rlim_cur), LOG_U64("needed", n_files));
}

static bool is_ours(const struct ipaddr *ip)
{
	struct gso_sock_cfg cfg = {.bind.ip = *ip};
	struct gso_sock s;

	if (gso_sock_open(&s, &cfg, NULL))
		return false;
	gso_sock_close(&s);
	return true;
}

static struct ipaddr any(uint8_t family)
{
	return (struct ipaddr){.family = family};
}

/* Where relayed addresses are bound: as told; else the public address where this host has it, so
 * that peers see what clients were told; else any, as behind a cloud's NAT. */
static struct ipaddr bind_address(const struct ipaddr *told, const struct ipaddr *public_)
{
	if (told->family || !public_->family)
		return *told;
	return is_ours(public_) ? *public_ : any(public_->family);
}

/* Where clients are listened to: as told, else any address of the family; answers leave from the
 * address they asked. */
static struct ipaddr listen_address(const struct ipaddr *told, const struct ipaddr *public_)
{
	return told->family ? *told : any(public_->family);
}

/* SO_REUSEPORT would let two relays share a port without either noticing. */
static int port_is_free(const struct ipaddr *ip, uint16_t port)
{
	struct gso_sock_cfg cfg = {.bind = {.ip = *ip, .port = port}};
	struct io_err err = {""};
	struct gso_sock s;
	int rc;

	if (!ip->family)
		return 0;
	rc = gso_sock_open(&s, &cfg, &err);
	if (rc)
		LOG_ERROR("relay", "cannot listen", LOG_STR("error", err.msg));
	else
		gso_sock_close(&s);
	return rc;
}

int socks_prepare(struct app *a)
{
	int rc;

	a->bind4 = bind_address(&a->opt.bind4, &a->opt.public4);
	a->bind6 = bind_address(&a->opt.bind6, &a->opt.public6);
	a->listen4 = listen_address(&a->opt.bind4, &a->opt.public4);
	a->listen6 = listen_address(&a->opt.bind6, &a->opt.public6);
	rc = port_is_free(&a->listen4, (uint16_t)a->opt.listen_port);
	return rc ? rc : port_is_free(&a->listen6, (uint16_t)a->opt.listen_port);
}

/* ---- the host's addresses ---- */

static uint32_t host_list(const struct ifaddrs *list, struct ipaddr out[RELAY_HOST_MAX])
{
	uint32_t n = 0;

	for (const struct ifaddrs *i = list; i && n < RELAY_HOST_MAX; i = i->ifa_next) {
		union sockaddr_any any_addr = {0};
		struct endpoint e;
		int family = i->ifa_addr ? i->ifa_addr->sa_family : 0;

		if (family != AF_INET && family != AF_INET6)
			continue;
		memcpy(&any_addr, i->ifa_addr,
		       family == AF_INET ? sizeof(struct sockaddr_in)
					 : sizeof(struct sockaddr_in6));
		if (!sockaddr_to_endpoint(&any_addr, &e))
			out[n++] = e.ip;
	}
	return n;
}

void socks_host_refresh(struct app *a)
{
	struct ipaddr now_has[RELAY_HOST_MAX] = {0};
	struct ifaddrs *list;
	uint32_t n;

	if (getifaddrs(&list))
		return;
	n = host_list(list, now_has);
	freeifaddrs(list);
	if (n == a->relay.n_host && !memcmp(now_has, a->relay.host, n * sizeof(*now_has)))
		return;
	pthread_rwlock_wrlock(&a->lock);
	relay_set_host(&a->relay, now_has, n);
	pthread_rwlock_unlock(&a->lock);
	LOG_INFO("relay", "addresses of this host", LOG_U64("count", n));
}

/* ---- listening ---- */

static int listen_one(const struct app *a, struct worker *w, unsigned fam, const struct ipaddr *ip,
		      struct io_err *err)
{
	const struct gso_sock_cfg cfg = {
		.bind = {.ip = *ip, .port = (uint16_t)a->opt.listen_port},
		.reuseport = true,
		.pktinfo = true,
		.rcvbuf = SOCK_BUF_LISTEN,
		.sndbuf = SOCK_BUF_LISTEN,
	};
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = worker_tag(true, fam, 0, 0)};
	int rc;

	w->listen[fam].fd = -1;
	if (!ip->family)
		return 0;
	rc = gso_sock_open(&w->listen[fam], &cfg, err);
	if (!rc && epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->listen[fam].fd, &ev))
		rc = io_fail(err, -errno, "epoll: %s", strerror(errno));
	return rc;
}

int socks_listen(struct app *a, struct worker *w, struct io_err *err)
{
	int rc = listen_one(a, w, FAM4, &a->listen4, err);

	return rc ? rc : listen_one(a, w, FAM6, &a->listen6, err);
}

/* ---- allocations ---- */

/* The worker that hears the client has its peers as well: both directions are one thread's, which
 * is woken once for what comes of both. Unless it has too many: the kernel spreads clients by a
 * hash of their addresses, which may meet. */
static struct worker *choose_worker(struct app *a)
{
	struct worker *asked = &a->workers[a->asked], *best = &a->workers[0];

	for (uint32_t i = 1; i < a->n_workers; i++)
		if (a->workers[i].n_allocs < best->n_allocs)
			best = &a->workers[i];
	return asked->n_allocs <= best->n_allocs + best->n_allocs / 4 + 1 ? asked : best;
}

/* The last files are for the operator, the portal and the health check. */
static bool is_spare(int fd)
{
	struct rlimit lim;

	return getrlimit(RLIMIT_NOFILE, &lim) || (rlim_t)fd + FILES_KEPT < lim.rlim_cur;
}

static bool open_family(const struct app *a, struct alloc_sock *s, uint32_t alloc, unsigned fam)
{
	const struct gso_sock_cfg cfg = {
		.bind = {.ip = fam == FAM4 ? a->bind4 : a->bind6, .port = s->port},
		.rcvbuf = SOCK_BUF_ALLOC,
		.sndbuf = SOCK_BUF_ALLOC,
	};
	struct epoll_event ev = {.events = EPOLLIN,
				 .data.u64 = worker_tag(false, fam, alloc, s->generation)};
	struct gso_sock sock;

	if (gso_sock_open(&sock, &cfg, NULL))
		return false;
	s->sock[fam] = sock;
	return is_spare(sock.fd) &&
	       !epoll_ctl(a->workers[s->worker].epoll, EPOLL_CTL_ADD, sock.fd, &ev);
}

bool socks_alloc_add(struct app *a, uint32_t alloc, uint16_t port, uint8_t families)
{
	struct alloc_sock *s = &a->allocs[alloc];
	struct worker *w = choose_worker(a);
	bool ok = true;

	pthread_rwlock_wrlock(&a->lock);
	s->worker = w->index;
	s->port = port;
	s->generation++;
	if (families & RELAY_F4)
		ok = open_family(a, s, alloc, FAM4);
	if (ok && (families & RELAY_F6))
		ok = open_family(a, s, alloc, FAM6);
	pthread_rwlock_unlock(&a->lock);
	w->n_allocs++;
	return ok;
}

void socks_alloc_del(struct app *a, uint32_t alloc)
{
	struct alloc_sock *s = &a->allocs[alloc];

	pthread_rwlock_wrlock(&a->lock);
	gso_sock_close(&s->sock[FAM4]);
	gso_sock_close(&s->sock[FAM6]);
	s->generation++;
	s->port = 0;
	pthread_rwlock_unlock(&a->lock);
	a->workers[s->worker].n_allocs--;
}
