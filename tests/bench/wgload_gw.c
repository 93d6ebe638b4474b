/* SPDX-License-Identifier: Apache-2.0
 *
 * The load generator as a client of penstock-gateway. A gateway takes a peer only by the portal's
 * word and over a path that ICE found, so this process is a whole penstock-client: the same code,
 * in a thread of its own, which joins the portal, asks for the flow when the first packet goes into
 * its tunnel device, finds the path and makes the session. The generator then seals packets with
 * that session's key and sends them from the client's own socket.
 *
 * Counters: a run gets a range of its own, ahead of the client's, which keeps a gap of GAP before
 * it for what it sends meanwhile (keepalives, probes). Those the gateway finds too old, as one
 * finds a packet that was overtaken; no counter is used twice. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/wgload.h"
#include "apps/daemon/daemon.h"
#include "crypto/crypto.h"
#include "io/loop.h"

#define WAIT_NS	     (30 * NS_PER_SEC)
#define GAP	     4096
#define PORT_DISCARD 9		       /* what makes the client ask is not to be counted */
#define RENEW_NS     (15 * NS_PER_SEC) /* a session must be good for so long when a run begins */

struct gw {
	struct role role; /* the client's, with one function of ours */
	pthread_t thread;
	int argc;
	char **argv;
	int rc;
	struct daemon *_Atomic daemon; /* once a connection is established */
	_Atomic uint32_t slot;
	_Atomic bool ended;
	struct endpoint target;
	struct ps_session *session; /* of the run under way */
	uint32_t idx;
	uint64_t first; /* counter of the run */
};

static struct gw gw;

static void established(struct daemon *d, uint32_t slot, uint64_t now)
{
	role_client.established(d, slot, now);
	gw.slot = slot;
	gw.daemon = d;
}

static void *client_run(void *arg)
{
	(void)arg;
	gw.rc = daemon_main(&gw.role, gw.argc, gw.argv);
	gw.ended = true;
	return NULL;
}

static void ask(int fd)
{
	union sockaddr_any to;
	const socklen_t len = sockaddr_from_endpoint(&gw.target, &to);

	if (sendto(fd, "", 1, MSG_DONTWAIT, &to.sa, len) < 0 && errno != ENETUNREACH &&
	    errno != EHOSTUNREACH && errno != EPERM && errno != EAGAIN)
		wgl_die("asking for the resource", errno);
}

/* The session the client sends on now, if it is good for a run. */
static struct ps_session *session_now(struct daemon *d)
{
	const struct ps_peer *p = fwd_peer(&d->fwd, gw.slot);
	struct ps_session *s;
	uint32_t slot = p ? PS_READ_ONCE(p->tx_slot) : PS_NO_SLOT;

	if (slot == PS_NO_SLOT || !p->path_family || p->path_channel)
		return NULL;
	s = &d->fwd.mem.session[slot];
	return time_reached(s->tx_until_ns, loop_now() + RENEW_NS) ? NULL : s;
}

static void ready(struct wgl_link *l)
{
	const uint64_t end = loop_now() + WAIT_NS;
	struct daemon *d = gw.daemon;
	const struct ps_peer *p;
	struct endpoint to;

	while (!gw.ended && !(gw.session = session_now(d)) && loop_now() < end)
		usleep(100000);
	if (gw.ended || !gw.session)
		wgl_die("no session with the gateway on a direct path", ETIMEDOUT);
	p = fwd_peer(&d->fwd, gw.slot);
	to = (struct endpoint){.ip = ipaddr_from(p->path_family, p->path_remote),
			       .port = ps_host16(p->path_remote_port)};
	l->to_len = sockaddr_from_endpoint(&to, &l->to);
	l->fd = udp_fd(d->udp, p->path_family);
	l->sessions[0] = (struct wgl_session){.remote_idx = gw.session->remote_idx,
					      .src = d->tun4,
					      .counter = PS_READ_ONCE(gw.session->tx_counter) +
							 GAP};
	memcpy(l->sessions[0].key, d->fwd.mem.keys[p->tx_slot].send, 32);
	gw.idx = gw.session->local_idx;
	gw.first = l->sessions[0].counter;
}

/* The client goes on behind the run's counters; its timers hear that something was sent. */
static void settle(struct wgl_link *l)
{
	if (PS_READ_ONCE(gw.session->local_idx) != gw.idx)
		return;
	if (PS_READ_ONCE(gw.session->tx_counter) > gw.first)
		wgl_die("the client has sent more than the gap allows", ERANGE);
	PS_WRITE_ONCE(gw.session->tx_counter, l->sessions[0].counter);
	PS_WRITE_ONCE(gw.session->last_tx_ns, loop_now());
}

static void close_client(struct wgl_link *l)
{
	kill(getpid(), SIGTERM);
	pthread_join(gw.thread, NULL);
	crypto_wipe(l->sessions, sizeof(*l->sessions));
	free(l->sessions);
}

void wgl_gw_open(struct wgl_link *l, int argc, char **argv, const struct endpoint *target)
{
	const uint64_t end = loop_now() + WAIT_NS;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	*l = (struct wgl_link){.n = 1, .ready = ready, .settle = settle, .close = close_client};
	l->sessions = calloc(1, sizeof(*l->sessions));
	if (fd < 0 || !l->sessions)
		wgl_die("memory", ENOMEM);
	gw.role = role_client;
	gw.role.established = established;
	gw.argc = argc;
	gw.argv = argv;
	gw.target = *target;
	gw.target.port = PORT_DISCARD;
	if (pthread_create(&gw.thread, NULL, client_run, NULL))
		wgl_die("thread", EAGAIN);
	while (!gw.daemon && !gw.ended && loop_now() < end) {
		ask(fd);
		usleep(200000);
	}
	close(fd);
	if (!gw.daemon)
		wgl_die("the client reaches no gateway", ETIMEDOUT);
}
