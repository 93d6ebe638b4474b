/* SPDX-License-Identifier: Apache-2.0
 *
 * Over libwebsockets on the same libuv loop. Three lifetimes, kept apart: struct ws (the caller's),
 * struct conn (one attempt or connection; it outlives ws's interest in it while the library closes
 * it politely, and then has no owner to report to), and the name lookup (in libuv's thread pool;
 * also orphaned, never waited for). The TLS context is ours, so that what verifies certificates is
 * plain OpenSSL: peer verification on, TLS 1.2 or newer, host name set per connection by the
 * library from the Host header. */
#include "io/websocket.h"
#include <errno.h>
#include <libwebsockets.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/bytes.h"
#include "base/log.h"
#include "io/ws_conn.h"
#include "io/ws_lookup.h"
#include "io/ws_util.h"

#define ADDRS_MAX	   WS_LOOKUP_ADDRS
#define ADDR_TIMEOUT_NS	   (5 * NS_PER_SEC) /* per address while there are others to try */
#define HEADER_CAP	   (16 * 1024)
#define FREE_TURNS	   25 /* for a polite close: half a second at most */
#define FREE_TURN_NS	   (20 * NS_PER_MS)
#define HTTP_DATE_LEN_MAX  64
#define USER_AGENT_DEFAULT "penstock/" PENSTOCK_VERSION

struct ws {
	struct loop *loop;
	struct ws_cfg cfg;
	struct lws_context *context; /* the library sets it NULL when it is gone */
	SSL_CTX *tls;
	struct phx_url url;
	char user_agent[PHX_USER_AGENT_CAP];
	struct ws_lookup *lookup;
	uint64_t asked; /* cookie of the lookup that is somebody else's; 0: none */
	uint64_t n_asked;
	bool resolved; /* it is answered */
	struct conn *conn;
	struct loop_timer timer;
	uint64_t give_up_at;
	struct endpoint addrs[ADDRS_MAX];
	size_t n_addrs, next_addr;
	struct endpoint known[ADDRS_MAX]; /* of the last connection, to known_host */
	size_t n_known;
	char known_host[PHX_HOST_CAP];
	uint64_t n_attempts;
	size_t n_conns; /* alive, owned or not */
};

/* ---- connection objects ---- */

/* The owner loses interest. What is left of the connection ends by itself. */
static void conn_release(struct ws *w)
{
	struct conn *c = w->conn;

	w->conn = NULL;
	if (!c)
		return;
	c->owner = NULL;
	if (!c->wsi) {
		ws_conn_free(c);
		return;
	}
	c->close_wanted = true;
	if (c->ending)
		return;
	if (c->open)
		lws_callback_on_writable(c->wsi);
	else
		lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

static void lookup_release(struct ws *w)
{
	ws_lookup_abandon(w->lookup);
	w->lookup = NULL;
}

static void ws_idle(struct ws *w)
{
	lookup_release(w);
	w->asked = 0;
	w->resolved = false;
	conn_release(w);
	loop_timer_arm(&w->timer, TIME_NEVER);
	w->n_addrs = w->next_addr = 0;
}

/* ---- reporting ---- */

static void report_closed(struct ws *w, const struct phx_close *why)
{
	ws_idle(w);
	phx_url_fini(&w->url);
	w->cfg.on_closed(w->cfg.ctx, why, loop_now());
}

static void report_transport(struct ws *w, const char *detail)
{
	struct phx_close why = {.kind = PHX_CLOSE_TRANSPORT};

	snprintf(why.detail, sizeof(why.detail), "%s", detail);
	report_closed(w, &why);
}

/* The library says a connection could not be made; find out why. */
static void close_classify(struct lws *wsi, const char *text, struct phx_close *why)
{
	SSL *ssl = lws_get_ssl(wsi);
	long verify = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
	char retry[HTTP_DATE_LEN_MAX];
	unsigned int status = lws_http_client_http_response(wsi);

	memset(why, 0, sizeof(*why));
	why->kind = PHX_CLOSE_TRANSPORT;
	snprintf(why->detail, sizeof(why->detail), "%s", text);
	if (verify != X509_V_OK) {
		why->kind = PHX_CLOSE_CERT;
		snprintf(why->detail, sizeof(why->detail), "%s",
			 X509_verify_cert_error_string(verify));
	} else if (status && status != 101) {
		why->kind = PHX_CLOSE_HTTP;
		why->http_status = (int)status;
		snprintf(why->detail, sizeof(why->detail), "HTTP status %u", status);
		if (lws_hdr_copy(wsi, retry, sizeof(retry), WSI_TOKEN_HTTP_RETRY_AFTER) > 0)
			why->retry_after_s = ws_retry_after(retry, loop_wall());
	}
}

/* ---- attempts ---- */

static void attempt_next(struct ws *w);

static void attempt_failed(struct ws *w, const struct phx_close *why)
{
	if (why->kind == PHX_CLOSE_TRANSPORT && w->next_addr < w->n_addrs) {
		conn_release(w);
		attempt_next(w);
	} else {
		report_closed(w, why);
	}
}

static void attempt_arm(struct ws *w)
{
	uint64_t at = w->give_up_at;

	if (w->next_addr < w->n_addrs)
		at = deadline_min((struct deadline){.at = at},
				  (struct deadline){.at = loop_now() + ADDR_TIMEOUT_NS})
			     .at;
	loop_timer_arm(&w->timer, at);
}

static void attempt_next(struct ws *w)
{
	const struct endpoint *to = &w->addrs[w->next_addr++];
	struct lws_client_connect_info info = {0};
	char address[IPADDR_STRLEN], host[PHX_HOST_CAP + 2];
	struct conn *c = conn_new(w, &w->n_conns);
	uint64_t attempt = ++w->n_attempts;

	if (!c) {
		report_transport(w, "out of memory");
		return;
	}
	w->conn = c;
	attempt_arm(w);
	snprintf(host, sizeof(host), strchr(w->url.host, ':') ? "[%s]" : "%s", w->url.host);
	info.context = w->context;
	info.address = ipaddr_fmt(&to->ip, address);
	info.port = w->url.port;
	info.ssl_connection = LCCSCF_HTTP_NO_FOLLOW_REDIRECT;
	if (w->url.tls)
		info.ssl_connection |= LCCSCF_USE_SSL;
	info.path = w->url.path;
	info.host = host;
	info.alpn = "http/1.1";
	info.local_protocol_name = "portal";
	info.pwsi = &c->wsi;
	info.opaque_user_data = c;
	if (lws_client_connect_via_info(&info) || w->n_attempts != attempt || w->conn != c)
		return; /* under way, or failed and reported from inside */
	c->wsi = NULL;
	attempt_failed(w, &(struct phx_close){.kind = PHX_CLOSE_TRANSPORT,
					      .detail = "cannot start connecting"});
}

/* ---- addresses that were good once ---- */

static void known_keep(struct ws *w)
{
	memcpy(w->known, w->addrs, sizeof(w->known));
	w->n_known = w->n_addrs;
	snprintf(w->known_host, sizeof(w->known_host), "%s", w->url.host);
}

size_t ws_known(const struct ws *w)
{
	return w->n_known && !strcmp(w->known_host, w->url.host) && w->known[0].port == w->url.port
		       ? w->n_known
		       : 0;
}

static void known_try(struct ws *w)
{
	LOG_INFO("portal", "name lookup does not answer, trying the last addresses",
		 LOG_STR("host", w->url.host));
	memcpy(w->addrs, w->known, sizeof(w->addrs));
	w->n_addrs = w->n_known;
	attempt_next(w);
}

/* The addresses are as good as they get. */
static void lookup_end(struct ws *w, const char *why_none)
{
	w->resolved = false;
	if (w->n_addrs)
		attempt_next(w);
	else if (ws_known(w))
		known_try(w);
	else
		report_transport(w, why_none);
}

static void on_timer(void *ctx, uint64_t now)
{
	struct ws *w = ctx;
	struct phx_close why = {.kind = PHX_CLOSE_TRANSPORT, .detail = "connecting timed out"};

	if (w->resolved) {
		lookup_end(w, "the name has no address");
	} else if (now < w->give_up_at && (w->lookup || w->asked)) {
		lookup_release(w);
		w->asked = 0;
		known_try(w);
	} else if (now < w->give_up_at) {
		attempt_failed(w, &why);
	} else {
		report_closed(w, &why);
	}
}

/* ---- name lookup ---- */

static void addr_add(struct ws *w, const struct ipaddr *ip)
{
	/* "localhost" is only as local as what it resolves to. */
	if (w->n_addrs < ADDRS_MAX &&
	    (w->url.tls || w->cfg.allow_plaintext || ipaddr_is_loopback(ip)))
		w->addrs[w->n_addrs++] = (struct endpoint){.ip = *ip, .port = w->url.port};
}

static void on_lookup(void *ctx, const struct ipaddr *list, size_t n, const char *why)
{
	struct ws *w = ctx;

	w->lookup = NULL;
	for (size_t i = 0; i < n; i++)
		addr_add(w, &list[i]);
	lookup_end(w, why);
}

static int host_lookup(struct ws *w)
{
	return ws_lookup_start(&w->lookup, w->loop, w->url.host, on_lookup, w);
}

/* The rest from the loop, so that nothing is reported from inside ws_connect(). */
void ws_resolved(struct ws *w, uint64_t cookie, const struct ipaddr *list, size_t n)
{
	if (!w->asked || cookie != w->asked)
		return;
	w->asked = 0;
	if (!list && !host_lookup(w))
		return;
	w->resolved = true;
	for (size_t i = 0; i < n; i++)
		addr_add(w, &list[i]);
	loop_timer_arm(&w->timer, loop_now());
}

static int lookup_start(struct ws *w)
{
	w->asked = ++w->n_asked;
	if (w->cfg.lookup && !w->cfg.lookup(w->cfg.ctx, w->url.host, w->asked, loop_now()))
		return 0;
	w->asked = 0;
	return host_lookup(w);
}

int ws_connect(struct ws *w, const struct phx_url *url, const char *user_agent)
{
	int rc;

	ws_idle(w);
	if (!url->tls && !w->cfg.allow_plaintext && !ws_host_is_loopback(url->host))
		return -EPERM;
	w->url = *url;
	snprintf(w->user_agent, sizeof(w->user_agent), "%s",
		 user_agent ? user_agent : USER_AGENT_DEFAULT);
	w->give_up_at = loop_now() + w->cfg.connect_timeout_ns;
	loop_timer_arm(&w->timer, ws_known(w) ? loop_now() + WS_LOOKUP_NS : w->give_up_at);
	rc = lookup_start(w);
	if (rc)
		ws_idle(w);
	return rc;
}

/* ---- library callbacks ---- */

static int headers_append(const struct ws *w, struct lws *wsi, unsigned char **p, size_t room)
{
	unsigned char *end = *p + room;

	if (lws_add_http_header_by_name(
		    wsi, (const unsigned char *)"User-Agent:", (const unsigned char *)w->user_agent,
		    (int)strlen(w->user_agent), p, end))
		return -1;
	if (!w->url.authorization[0])
		return 0;
	return lws_add_http_header_by_name(wsi, (const unsigned char *)"X-Authorization:",
					   (const unsigned char *)w->url.authorization,
					   (int)strlen(w->url.authorization), p, end);
}

/* The library has no hook between socket() and connect(); this is called right after connect(). A
 * mark decides the route and with it the source address, so the connect is undone and done again.
 */
static void socket_mark(const struct ws *w, int fd)
{
	struct sockaddr unspec = {.sa_family = AF_UNSPEC};
	const struct endpoint *to;
	struct sockaddr_storage ss;
	socklen_t len, err_len = sizeof(int);
	int err;

	if (!w->cfg.fwmark || !w->next_addr)
		return;
	to = &w->addrs[w->next_addr - 1];
	len = ws_sockaddr(to, &ss);
	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &w->cfg.fwmark, sizeof(w->cfg.fwmark))) {
		LOG_WARN("portal", "cannot mark the portal socket", LOG_ERRNO("err", errno));
		return;
	}
	if (connect(fd, &unspec, sizeof(unspec)))
		return; /* connected or refused already: loopback */
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &err_len); /* clears "reset" */
	if (connect(fd, (struct sockaddr *)&ss, len) && errno != EINPROGRESS)
		LOG_DEBUG("portal", "cannot connect", LOG_ENDPOINT("to", to),
			  LOG_ERRNO("err", errno));
}

/* One piece of a message; non-zero ends the connection. */
static int on_receive(struct conn *c, struct lws *wsi, const void *in, size_t len)
{
	struct ws *w = c->owner;
	bool whole = lws_is_final_fragment(wsi) && !lws_remaining_packet_payload(wsi);
	bool binary = lws_frame_is_binary(wsi);

	if (lws_is_first_fragment(wsi))
		c->rx_len = 0;
	if (!w || binary)
		return 0;
	if (conn_receive(c, in, len)) {
		report_transport(w, "message too large"); /* which closes it, too */
		return 0;
	}
	if (whole)
		w->cfg.on_text(w->cfg.ctx, c->rx ? (const char *)c->rx : "", c->rx_len, loop_now());
	return 0;
}

static void on_established(struct conn *c, struct lws *wsi)
{
	struct ws *w = c->owner;

	c->open = true;
	if (!w) {
		lws_callback_on_writable(wsi); /* to be closed */
		return;
	}
	loop_timer_arm(&w->timer, TIME_NEVER);
	known_keep(w);
	w->n_addrs = w->next_addr = 0;
	phx_url_fini(&w->url); /* the token is not needed any more */
	w->cfg.on_opened(w->cfg.ctx, loop_now());
}

static void on_gone(struct conn *c)
{
	struct phx_close why = {.kind = PHX_CLOSE_TRANSPORT, .detail = "connection lost"};

	c->ending = true;
	if (!c->owner)
		return;
	if (c->peer_code) {
		why.kind = PHX_CLOSE_PEER;
		snprintf(why.detail, sizeof(why.detail), "close code %d", c->peer_code);
	}
	report_closed(c->owner, &why);
}

static void on_error(struct conn *c, struct lws *wsi, const char *text)
{
	struct phx_close why;

	c->ending = true;
	if (!c->owner)
		return;
	close_classify(wsi, text ? text : "cannot connect", &why);
	attempt_failed(c->owner, &why);
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
		  size_t len)
{
	struct conn *c = wsi ? lws_get_opaque_user_data(wsi) : NULL;

	(void)user;
	if (!c)
		return 0;
	switch ((int)reason) {
	case LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED: /* for clients: connect() was called */
		if (c->owner)
			socket_mark(c->owner, lws_get_socket_fd(wsi));
		break;
	case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
		return c->owner ? headers_append(c->owner, wsi, in, len) : -1;
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
		on_error(c, wsi, in);
		break;
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
		on_established(c, wsi);
		break;
	case LWS_CALLBACK_CLIENT_RECEIVE:
		return on_receive(c, wsi, in, len);
	case LWS_CALLBACK_CLIENT_WRITEABLE:
		return conn_writable(c);
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		c->peer_code = len >= 2 ? be16_get(in) : LWS_CLOSE_STATUS_NO_STATUS;
		break;
	case LWS_CALLBACK_CLIENT_CLOSED:
		on_gone(c);
		break;
	case LWS_CALLBACK_WSI_DESTROY:
		lws_set_opaque_user_data(wsi, NULL);
		c->wsi = NULL;
		if (c->owner)
			on_gone(c);
		else
			ws_conn_free(c);
		break;
	default:
		break;
	}
	return 0;
}

/* ---- public ---- */

bool ws_is_open(const struct ws *w)
{
	return w->conn && w->conn->open;
}

size_t ws_pending(const struct ws *w)
{
	return w->conn ? w->conn->tx_bytes : 0;
}

int ws_send(struct ws *w, const char *text, size_t len)
{
	return ws_is_open(w) ? ws_conn_queue(w->conn, text, len) : -ENOTCONN;
}

void ws_close(struct ws *w)
{
	ws_idle(w);
	phx_url_fini(&w->url);
}

static int tls_new(struct ws *w, const char **why)
{
	w->tls = SSL_CTX_new(TLS_client_method());
	if (!w->tls)
		return -ENOMEM;
	SSL_CTX_set_min_proto_version(w->tls, TLS1_2_VERSION);
	SSL_CTX_set_verify(w->tls, SSL_VERIFY_PEER, NULL);
	if (w->cfg.ca_file) {
		if (SSL_CTX_load_verify_file(w->tls, w->cfg.ca_file) == 1)
			return 0;
		*why = "no certificate can be loaded from the CA file";
		return -EINVAL;
	}
	SSL_CTX_set_default_verify_paths(w->tls);
	return 0;
}

static void on_lws_log(int level, const char *line)
{
	size_t len = strlen(line);

	(void)level;
	while (len && line[len - 1] == '\n')
		len--;
	LOG_DEBUG("portal.lws", "library", LOG_STRN("text", line, len));
}

static int context_new(struct ws *w)
{
	static const struct lws_protocols protocols[] = {
		{"portal", on_lws, 0, WS_RX_CHUNK, 0, NULL, 0}, {NULL, NULL, 0, 0, 0, NULL, 0}};
	void *loops[1] = {&w->loop->uv};
	struct lws_context_creation_info info = {0};

	lws_set_log_level(LLL_ERR | LLL_WARN, on_lws_log);
	info.port = CONTEXT_PORT_NO_LISTEN;
	info.protocols = protocols;
	info.gid = -1;
	info.uid = -1;
	info.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
	info.foreign_loops = loops;
	info.provided_client_ssl_ctx = w->tls;
	info.max_http_header_data = HEADER_CAP;
	info.pt_serv_buf_size = HEADER_CAP;
	info.timeout_secs = (unsigned int)(w->cfg.connect_timeout_ns / NS_PER_SEC + 5);
	info.pcontext = &w->context;
	w->context = lws_create_context(&info);
	return w->context ? 0 : -ENOMEM;
}

int ws_new(struct ws **out, struct loop *l, const struct ws_cfg *cfg, const char **why)
{
	struct ws *w = calloc(1, sizeof(*w));
	int rc;

	*why = "out of memory";
	if (!w)
		return -ENOMEM;
	w->loop = l;
	w->cfg = *cfg;
	w->timer.fd = -1;
	if (!w->cfg.connect_timeout_ns)
		w->cfg.connect_timeout_ns = WS_CONNECT_TIMEOUT_NS;
	rc = tls_new(w, why);
	if (!rc)
		rc = loop_timer_init(&w->timer, l, on_timer, w);
	if (!rc)
		rc = context_new(w);
	if (rc) {
		SSL_CTX_free(w->tls);
		loop_timer_fini(&w->timer);
		free(w);
		return rc;
	}
	*out = w;
	return 0;
}

void ws_free(struct ws *w)
{
	if (!w)
		return;
	ws_idle(w);
	for (int i = 0; i < FREE_TURNS && w->n_conns; i++)
		loop_run_once(w->loop, FREE_TURN_NS);
	lws_context_destroy(w->context);
	loop_timer_fini(&w->timer);
	for (int i = 0; i < FREE_TURNS; i++)
		loop_run_once(w->loop, 0); /* the library's handles close on the loop */
	if (w->context)
		lws_context_destroy(w->context); /* with a foreign loop it takes two calls */
	SSL_CTX_free(w->tls);
	phx_url_fini(&w->url);
	free(w);
}
