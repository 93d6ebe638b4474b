/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "apps/portal/server_priv.h"
#include "base/log.h"
#include "base/time.h"

#define HANDSHAKE_SEC  10    /* TCP to the end of the HTTP request */
#define HEADER_BYTES   16384 /* request line and headers together: tokens travel in the query */
#define HEADER_POOL    256   /* requests being read at once */
#define ACCEPT_BATCH   64
#define LISTEN_BACKLOG 1024

uint64_t server_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t server_wall(void)
{
	return (uint64_t)time(NULL);
}

/* ---- accepting ---------------------------------------------------------------------------------
 */

static struct ipaddr peer_ip(const struct sockaddr_storage *ss)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)ss;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)ss;

	if (ss->ss_family == AF_INET)
		return ipaddr_from(4, &v4->sin_addr);
	if (!memcmp(&v6->sin6_addr, mapped, sizeof(mapped)))
		return ipaddr_from(4, v6->sin6_addr.s6_addr + 12);
	return ipaddr_from(6, &v6->sin6_addr);
}

static bool admit(struct server *sv, const struct ipaddr *ip)
{
	const struct config_limits *lim = &sv->portal->cfg->limits;
	struct ipaddr party = gate_party(ip);
	unsigned same = 0;

	if (sv->stopping || sv->n_conns >= lim->max_connections)
		return false;
	for (const struct conn *c = sv->conns; c; c = c->next)
		same += ipaddr_eq(&c->party, &party);
	return same < lim->max_connections_per_address && gate_admit(&sv->gate, ip, server_now());
}

static void adopt(struct listener *l, int fd, const struct ipaddr *ip)
{
	struct server *sv = l->sv;
	struct conn *c = calloc(1, sizeof(*c));
	lws_sock_file_fd_type desc = {.sockfd = fd};
	int on = 1;

	if (!c) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	*c = (struct conn){.sv = sv, .party = gate_party(ip)};
	c->tx_tail = &c->tx_head;
	c->next = sv->conns;
	if (c->next)
		c->next->prev = c;
	sv->conns = c;
	sv->n_conns++;
	c->wsi = lws_adopt_descriptor_vhost(l->vhost,
					    LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP | LWS_ADOPT_ALLOW_SSL,
					    desc, NULL, NULL);
	if (c->wsi)
		lws_set_opaque_user_data(c->wsi, c);
	else
		conn_free(c); /* the socket was closed by whoever refused it */
}

static void on_accept(uv_poll_t *h, int status, int events)
{
	struct listener *l = h->data;

	(void)events;
	for (int i = 0; status == 0 && i < ACCEPT_BATCH; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		struct ipaddr ip;
		int fd = accept4(l->fd, (struct sockaddr *)&ss, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		ip = peer_ip(&ss);
		if (admit(l->sv, &ip)) {
			adopt(l, fd, &ip);
		} else {
			l->sv->refused++;
			close(fd);
		}
	}
}

/* ---- starting ----------------------------------------------------------------------------------
 */

static int bind_socket(const struct endpoint *ep)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(ep->port)};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(ep->port)};
	bool is4 = ep->ip.family == 4;
	int on = 1, rc,
	    fd = socket(is4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	memcpy(&v4.sin_addr, ep->ip.b, 4);
	memcpy(&v6.sin6_addr, ep->ip.b, 16);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!is4)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	rc = is4 ? bind(fd, (struct sockaddr *)&v4, sizeof(v4))
		 : bind(fd, (struct sockaddr *)&v6, sizeof(v6));
	if (rc || listen(fd, LISTEN_BACKLOG)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

static uint16_t bound_port(int fd)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);

	getsockname(fd, (struct sockaddr *)&ss, &len);
	return ntohs(ss.ss_family == AF_INET ? ((struct sockaddr_in *)&ss)->sin_port
					     : ((struct sockaddr_in6 *)&ss)->sin6_port);
}

static bool make_vhost(struct server *sv, struct listener *l, const struct config_listen *cfg)
{
	/* All zero: never ping, never hang up by itself. Idle connections are the machine's
	 * business. */
	static const lws_retry_bo_t no_pings = {0};
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN_SERVER,
		.protocols = server_protocols,
		.retry_and_idle_policy = &no_pings,
		.timeout_secs = HANDSHAKE_SEC,
		.keepalive_timeout = 5,
		.alpn = "http/1.1",
		.options = LWS_SERVER_OPTION_VALIDATE_UTF8,
	};

	if (cfg->cert_file) {
		l->cert_file = strdup(cfg->cert_file);
		l->key_file = strdup(cfg->key_file);
		info.ssl_cert_filepath = l->cert_file;
		info.ssl_private_key_filepath = l->key_file;
		info.ssl_options_set = SSL_OP_NO_SSLv3 | SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1;
		info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
	}
	l->vhost = lws_create_vhost(sv->lws, &info);
	return l->vhost != NULL;
}

static bool start_listener(struct server *sv, const struct config_listen *cfg)
{
	struct listener *l = &sv->listeners[sv->n_listeners];
	struct endpoint at = cfg->addr;

	l->sv = sv;
	l->fd = bind_socket(&cfg->addr);
	if (l->fd < 0) {
		LOG_ERROR("portal", "cannot listen", LOG_ENDPOINT("address", &cfg->addr),
			  LOG_ERRNO("error", l->fd));
		return false;
	}
	sv->n_listeners++;
	if (!make_vhost(sv, l, cfg)) {
		LOG_ERROR("portal", "cannot use certificate or key",
			  LOG_ENDPOINT("address", &cfg->addr),
			  LOG_STR("cert_file", cfg->cert_file ? cfg->cert_file : ""),
			  LOG_STR("key_file", cfg->key_file ? cfg->key_file : ""));
		return false;
	}
	if (uv_poll_init(sv->loop, &l->poll, l->fd) < 0)
		return false;
	l->has_poll = true;
	sv->n_polls++;
	l->poll.data = l;
	if (uv_poll_start(&l->poll, UV_READABLE, on_accept) < 0)
		return false;
	at.port = bound_port(l->fd);
	LOG_INFO("portal", "listening", LOG_ENDPOINT("address", &at),
		 LOG_STR("scheme", cfg->cert_file ? "wss" : "ws"));
	return true;
}

static void lws_log(int level, const char *line)
{
	size_t len = strcspn(line, "\n");

	if (level & LLL_ERR)
		LOG_WARN("portal", "websocket library", LOG_STRN("text", line, len));
	else
		LOG_DEBUG("portal", "websocket library", LOG_STRN("text", line, len));
}

struct server *server_start(uv_loop_t *loop, struct portal *p)
{
	void *loops[1] = {loop};
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN,
		.foreign_loops = loops,
		.gid = -1,
		.uid = -1,
		.max_http_header_data = HEADER_BYTES,
		.max_http_header_data2 = HEADER_BYTES,
		.max_http_header_pool = HEADER_POOL,
		.pt_serv_buf_size = HEADER_BYTES,
		.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
			   LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
	};
	struct server *sv = calloc(1, sizeof(*sv));
	uint64_t seed;
	bool ok;

	if (!sv)
		return NULL;
	p->entropy(&seed, sizeof(seed));
	*sv = (struct server){.loop = loop, .portal = p};
	gate_init(&sv->gate, seed);
	lws_set_log_level(LLL_ERR | LLL_WARN, lws_log);
	sv->lws = lws_create_context(&info);
	sv->listeners = calloc(p->cfg->n_listen, sizeof(*sv->listeners));
	ok = sv->lws && sv->listeners;
	if (!ok)
		LOG_ERROR("portal", "cannot start the websocket library");
	for (size_t i = 0; ok && i < p->cfg->n_listen; i++)
		ok = start_listener(sv, &p->cfg->listen[i]);
	if (ok)
		return sv;
	server_stop(sv);
	server_free(sv);
	return NULL;
}

/* ---- running and stopping ----------------------------------------------------------------------
 */

void server_pump(struct server *sv)
{
	struct out_msg *m;

	while ((m = portal_next(sv->portal))) {
		struct conn *c = sv->conns;

		while (c && c->session != m->session)
			c = c->next;
		if (c)
			conn_queue(c, m);
		else
			out_msg_free(m);
	}
}

void server_reload_certs(struct server *sv)
{
	for (size_t i = 0; i < sv->n_listeners; i++) {
		const struct listener *l = &sv->listeners[i];

		if (l->cert_file &&
		    lws_tls_cert_updated(sv->lws, l->cert_file, l->key_file, NULL, 0, NULL, 0))
			LOG_WARN("portal", "cannot read the certificate again, the old one stays",
				 LOG_STR("cert_file", l->cert_file));
	}
}

static void on_poll_closed(uv_handle_t *h)
{
	struct listener *l = h->data;

	close(l->fd);
	l->sv->n_polls--;
}

void server_stop(struct server *sv)
{
	if (sv->stopping)
		return;
	sv->stopping = true;
	for (size_t i = 0; i < sv->n_listeners; i++) {
		if (sv->listeners[i].has_poll)
			uv_close((uv_handle_t *)&sv->listeners[i].poll, on_poll_closed);
		else
			close(sv->listeners[i].fd);
	}
	for (struct conn *c = sv->conns; c; c = c->next) {
		if (c->session && !c->close_code) {
			struct out_msg *m = calloc(1, sizeof(*m));

			if (m) {
				m->code = CLOSE_RESTART;
				conn_queue(c, m);
			}
		} else if (c->wsi) {
			lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_REASON_BASE,
					LWS_TO_KILL_ASYNC);
		}
	}
}

bool server_idle(const struct server *sv)
{
	return sv->stopping && !sv->n_conns && !sv->n_polls;
}

void server_free(struct server *sv)
{
	if (sv->lws) {
		/* On somebody else's loop this takes two calls, and turns of the loop in between in
		 * which the library's handles close. */
		lws_context_destroy(sv->lws);
		for (int i = 0; i < 10; i++)
			uv_run(sv->loop, UV_RUN_NOWAIT);
		lws_context_destroy(sv->lws);
	}
	while (sv->n_polls)
		uv_run(sv->loop, UV_RUN_NOWAIT);
	for (size_t i = 0; i < sv->n_listeners; i++) {
		free((char *)(uintptr_t)sv->listeners[i].cert_file);
		free((char *)(uintptr_t)sv->listeners[i].key_file);
	}
	free(sv->listeners);
	free(sv);
}
