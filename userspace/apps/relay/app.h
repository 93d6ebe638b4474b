/* SPDX-License-Identifier: Apache-2.0
 *
 * The shell of penstock-relay around core/relay.
 *
 *   threads   control: loop, machine, portal, health, operator's socket. Workers: data and every
 *             answer that changes nothing (Binding, refusals, indications).
 *   worker.c  a worker's life and its sockets' turns      data.c     what it does with datagrams
 *   control.c requests out of the workers' rings, events  socks.c    listen sockets, allocations'
 *   portal.c  the portal's channel                        xdp.c      the kernel's copy of bindings
 *   health.c  GET /healthz, /readyz                       view*.c    operator's view
 *   run.c     life: start, drain, stop                    opt*.c     options
 *   hop.c     next hop `auto`: the default router
 *
 * Rules: the machine's tables change only in the control thread and under `lock` held for writing;
 * workers hold it for reading for a turn of one socket, in which they receive, look up and send. A
 * socket of an allocation is opened and closed under the write lock, so no worker ever sees a
 * descriptor that was reused. What the control thread sends, it sends through sockets of worker 0
 * or of the allocation: descriptors are shared, struct gso_sock is not. */
#ifndef PENSTOCK_RELAY_APP_H
#define PENSTOCK_RELAY_APP_H
#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "abi/reasons.h"
#include "apps/relay/hop.h"
#include "apps/relay/opt.h"
#include "base/byte_ring.h"
#include "core/phx/phx_chan.h"
#include "core/relay/relay.h"
#include "core/relay/relay_gate.h"
#include "io/bpf_relay.h"
#include "io/ctl_socket.h"
#include "io/gso.h"
#include "io/loop.h"
#include "io/websocket.h"

#define RING_CAP	(1u << 19) /* bytes a worker may have waiting for the control thread */
#define RING_TURN	64	   /* requests handled before others get the lock */
#define REPLIES_MAX	32	   /* answers of a worker waiting for the end of its turn */
#define LISTEN_BATCH	32	   /* trains a turn of a listen socket */
#define ALLOC_BATCH	16	   /* trains a turn of an allocation's socket */
#define SOCK_BUF_LISTEN (16u << 20)
#define SOCK_BUF_ALLOC	(8u << 20) /* a TCP window of 6 MiB, with what its trains take besides */

enum { FAM4, FAM6, FAMS };

/* What a worker counts, only the worker writes, anybody reads. */
struct bind_count {
	uint64_t to_peer_packets, to_peer_bytes, to_client_packets, to_client_bytes;
};

/* One allocation as the shell sees it. */
struct alloc_sock {
	struct gso_sock sock[FAMS];
	uint32_t worker;     /* whose epoll they are in */
	uint32_t generation; /* of the slot: an event of an earlier one is stale */
	uint16_t port;
};

struct app;

struct worker {
	struct app *app;
	uint32_t index;
	pthread_t thread;
	bool running;
	int epoll, stop_fd;
	uint32_t n_allocs; /* control thread's */
	struct gso_sock listen[FAMS];
	struct gro_rx *rx;
	struct gso_tx *tx;
	struct gso_stats seen;	/* what was already turned into reasons */
	struct relay_tx *reply; /* REPLIES_MAX */
	uint32_t n_reply;
	bool wake; /* something was put into the ring in this turn */
	struct byte_ring ring;
	void *ring_mem;
	struct bind_count *binds;
	struct relay_gate gate;
	struct ps_reason_count reasons[PS_R_COUNT];
};

/* A record in the ring: this, then the datagram. */
struct request {
	struct endpoint local, client;
};

enum app_portal { PORTAL_NONE, PORTAL_CONNECTING, PORTAL_BACKOFF, PORTAL_CONNECTED, PORTAL_FAILED };

struct app {
	struct relay_opt opt;
	int exit_code;
	bool stopping, draining, running;
	struct loop loop;
	struct relay relay;
	void *relay_mem;
	size_t relay_mem_len;
	pthread_rwlock_t lock;
	struct ipaddr bind4, bind6;	/* of relayed addresses; unspecified: any */
	struct ipaddr listen4, listen6; /* likewise, of the listen port; family 0: not served */
	struct worker *workers;
	uint32_t n_workers;
	uint32_t asked; /* the worker whose request is being handled */
	struct alloc_sock *allocs;
	uint32_t n_alloc_cap, n_bind_cap;
	struct gso_sock out[FAMS]; /* worker 0's descriptors, for the control thread */
	struct gso_tx *tx;
	struct ps_reason_count reasons[PS_R_COUNT]; /* of the control thread */
	uint64_t bind_failed;			    /* allocations whose port another process has */

	/* portal */
	struct ws *ws;
	struct phx phx;
	enum app_portal portal;
	uint64_t portal_since_ns, portal_seen_ns; /* seen: last time the room was joined */
	bool portal_ever;
	char portal_error[160];
	char token[OPT_TOKEN_CAP];
	char stamp[65];
	char user_agent[64];

	struct bpf_relay *bpf; /* NULL: user space only */
	char kernel_why[200];  /* why bpf is NULL */
	struct hop *hop;       /* next hop `auto`; else NULL */

	struct health *health;
	struct ctl_server *ctl;
	uint64_t started_ns, drain_until_ns,
		host_at_ns; /* host: its addresses are asked for then */

	struct loop_hook hook;
	struct loop_timer timer, tick;
	struct loop_wake wake;
	struct loop_signal sig_int, sig_term, sig_hup;
};

/* ---- app.c ---- */
int app_main(int argc, char **argv);
void app_stop(struct app *a, int exit_code);

/* ---- socks.c ---- */
/* Raise the limit of open files to what n_allocs allocations want. */
void socks_raise_limit(uint32_t n_files);
/* Where to bind, and that nobody else has the port. 0 or -errno, logged. */
int socks_prepare(struct app *a);
/* Tell the machine which addresses this host has now: peers may not be there. */
void socks_host_refresh(struct app *a);
int socks_listen(struct app *a, struct worker *w, struct io_err *err);
/* Sockets of a new allocation; false: the port is not to be had. Takes the lock. */
bool socks_alloc_add(struct app *a, uint32_t alloc, uint16_t port, uint8_t families);
void socks_alloc_del(struct app *a, uint32_t alloc);

/* ---- worker.c ---- */
int worker_init(struct worker *w, struct app *a, uint32_t index, struct io_err *err);
int worker_start(struct worker *w);
void worker_stop(struct worker *w);
void worker_fini(struct worker *w);
/* What epoll tells of a socket. */
#define TAG_STOP UINT64_MAX
uint64_t worker_tag(bool listen, unsigned fam, uint32_t alloc, uint32_t generation);

/* ---- data.c: a turn of one socket; the caller holds the read lock ---- */
void data_listen_turn(struct worker *w, unsigned fam, uint64_t now);
void data_alloc_turn(struct worker *w, uint32_t alloc, unsigned fam, uint64_t now);

static inline void reason_count(struct ps_reason_count *c, uint64_t packets, uint64_t bytes)
{
	__atomic_store_n(&c->packets, c->packets + packets, __ATOMIC_RELAXED);
	__atomic_store_n(&c->bytes, c->bytes + bytes, __ATOMIC_RELAXED);
}

/* ---- control.c ---- */
void control_wake(void *ctx, uint64_t now);
void control_timeout(struct app *a, uint64_t now);

/* ---- portal.c ---- */
int portal_init(struct app *a, uint64_t now);
void portal_start(struct app *a, uint64_t now);
void portal_drain(struct app *a, uint64_t now);
void portal_leave(struct app *a);
void portal_fini(struct app *a);
const char *portal_state_name(enum app_portal p);

/* ---- xdp.c ---- */
/* 0: attached, or not asked for, or refused and not required. */
int xdp_open(struct app *a);
void xdp_event(struct app *a, const struct relay_event *ev);
void xdp_alloc_changed(struct app *a, uint32_t alloc);
void xdp_close(struct app *a);

/* ---- health.c ---- */
int health_open(struct app *a);
void health_close(struct app *a);
bool health_is_live(const struct app *a, uint64_t now);
bool health_is_ready(const struct app *a);

/* ---- view.c ---- */
char *view_request(void *arg, const char *request, size_t len);

/* ---- view_alloc.c ---- */
json_t *view_relays(const struct app *a);
/* At most limit of them; 0: the default. */
json_t *view_allocations(const struct app *a, json_int_t limit, uint64_t now);
#endif
