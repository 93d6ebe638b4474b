/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the workers share: worker.c (life, and what the control thread does for them),
 * worker_rx.c (from the network), worker_xsk.c (the same, by AF_XDP), worker_tx.c (from the tunnel
 * device). The rest of the daemon sees daemon.h.
 *
 * Workers carry established flows between sockets and tunnel device, each packet run to completion
 * on the thread that read it. They are the forwarding table's third executor: like the kernel's
 * programs they read sessions, peers and the flow cache and bump counters, and judge with the same
 * functions (fwd/fwd_fast, include/plan). Whatever they do not take goes to the control thread by a
 * ring, which handles it as if it had read it itself.
 *
 * What they are not: nothing here decides about a first packet, and nothing depends on workers
 * being there: without them the control thread carries everything (data_rx.c, data_tx.c).
 *
 * Order. A flow's packets are read by one thread (udp_steer, tun_steer) from one queue: what comes
 * by AF_XDP is all direct data of a session or none of it (include/plan/steer.h). One that was
 * handed over holds back those behind it, which go the same way, until the control thread has
 * popped it, and it pops what is delivered. So flows change hands both ways without a pause.
 *
 * Revocation. A batch is a section, for which the thread holds the lock of its own that nobody else
 * reads. After an authorisation, a session or a path has gone from the table the control thread
 * takes each thread's lock once, so it waits for all sections that began before (quiesce), nothing
 * is delivered by what it has taken back, and no key is wiped under a packet. */
#ifndef PENSTOCK_WORKER_H
#define PENSTOCK_WORKER_H
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "apps/daemon/data.h"
#include "base/idx.h"
#include "base/spsc.h"
#include "fwd/fwd_fast.h"
#include "io/xsk_rx.h"

#define WORKER_HELD    1024	  /* power of two; what shares an entry waits for each other */
#define WORKER_RX_RING (1u << 20) /* bytes */
#define WORKER_TX_RING (4u << 20) /* super-packets are long */

enum hand_kind {
	HAND_DATAGRAM, /* as it came from the socket */
	HAND_OPENED,   /* an authenticated packet whose counter is committed */
	HAND_PACKET,   /* as it came from the tunnel device */
};

/* A record of a ring: this, TUN_HEADROOM bytes, the packet, TUN_TAILROOM bytes. */
struct hand {
	uint8_t kind; /* enum hand_kind */
	uint8_t ecn;
	bool truncated;
	uint32_t len; /* of the packet */
	union {
		struct {
			struct endpoint local, remote;
			uint32_t ifindex;
		} from; /* HAND_DATAGRAM */
		struct {
			uint32_t slot, idx, peer;
			uint32_t wire_len;
		} session;	    /* HAND_OPENED */
		struct off_gso gso; /* HAND_PACKET */
	};
};

/* A packet that will be handed over at the end of the batch; it stays where it was read until
 * then. */
struct handover {
	struct hand h;
	const uint8_t *pkt;
};

struct workers;

/* One thread: a worker has two, one each way. */
struct haul {
	struct workers *all;
	struct lane lane;
	struct spsc ring; /* to the control thread */
	uint8_t *ring_mem;
	pthread_t thread;
	bool running;
	const char *name;
	void *(*main)(void *haul);
	/* this thread's, from here on */
	uint64_t next; /* records pushed, and those that will be at the end of the batch */
	uint64_t held[WORKER_HELD]; /* the last record of whatever hashes there: its number */
	struct handover wait[UDP_RX_MAX];
	size_t n_wait;
	struct fwd_rx job[FWD_BATCH];
	uint8_t ecn[FWD_BATCH];
	size_t n_jobs;
	bool inside;		    /* the last datagram came to an address inside the tunnel */
	struct fwd_fast fast;	    /* of the last packet */
	struct fwd_flow_entry *run; /* flow of the last packets, not yet accounted for */
	struct ps_flow_key run_key;
	uint64_t run_packets, run_bytes;
	struct ps_reason_count reasons[PS_R_COUNT];
	_Alignas(64) uint32_t busy; /* it may have packets: read by all */
	_Alignas(64) pthread_rwlock_t section;
};

struct worker {
	struct udp *udp; /* received from by rx, sent to by tx */
	struct tun *tun; /* written to by rx, read from by tx */
	struct haul rx, tx;
};

/* An AF_XDP socket, and whose it is. */
struct worker_xsk {
	struct xsk_rx *rx;
	size_t wan; /* of the daemon's interfaces */
	uint32_t queue, worker;
};

/* Relays' channels that may come, as ps_channel has them for the kernel. Changed when no thread is
 * in a section. */
struct worker_channels {
	struct ps_channel_key *key;
	struct idx_cell *cells;
	uint32_t *free;
	struct idx idx;
	uint32_t cap, n_free;
};

struct workers {
	struct daemon *d;
	uint32_t n;
	struct worker *w;
	struct worker_channels channels;
	struct worker_xsk *xsk;
	uint32_t n_xsk;
	int stop_fd;
	struct pollfd *fds; /* all descriptors packets come by, the control thread's too */
	size_t n_fds;
	_Alignas(64) uint32_t control_busy;
};

/* Of the flow's key, to hold back by. */
static inline uint32_t haul_hash(const struct ps_flow_key *k)
{
	const uint8_t *p = (const uint8_t *)k;
	uint64_t h = k->peer, word;

	for (size_t i = 4; i < sizeof(*k); i += sizeof(word)) {
		memcpy(&word, p + i, sizeof(word));
		h = (h ^ word) * 0x9e3779b97f4a7c15u;
	}
	return (uint32_t)(h >> 40);
}

/* ---- worker_xsk.c, on the control thread while no worker runs ---- */
void workers_xsk_open(struct workers *ws);
void workers_xsk_close(struct workers *ws);

void *worker_rx_main(void *haul);
void *worker_tx_main(void *haul);

/* ---- worker.c, on a worker's thread ---- */

/* From here to haul_leave what was found in the table, and channels, hold. */
static inline void haul_enter(struct haul *h)
{
	pthread_rwlock_rdlock(&h->section);
}

static inline void haul_leave(struct haul *h)
{
	pthread_rwlock_unlock(&h->section);
}

/* Are packets of this hash still with the control thread? */
static inline bool haul_held(const struct haul *h, uint32_t hash)
{
	return h->held[hash & (WORKER_HELD - 1)] > spsc_popped(&h->ring);
}

/* Is anything? Mostly not, and then no flow needs to be hashed. */
static inline bool haul_holds(const struct haul *h)
{
	return h->next != spsc_popped(&h->ring);
}

/* It goes to the control thread, and what follows of its hash with it. */
static inline struct handover *haul_hand_over(struct haul *h, uint32_t hash)
{
	struct handover *o = &h->wait[h->n_wait++];

	h->held[hash & (WORKER_HELD - 1)] = ++h->next;
	return o;
}

/* Count a packet of the flow. */
void haul_carried(struct haul *h, const struct fwd_fast *f, size_t packets, size_t bytes,
		  uint64_t now);
/* The flow's table learns, at the end of a section. */
void haul_account(struct haul *h, uint64_t now);
/* At the end of a batch, outside of a section: what waits is pushed, the control thread woken. */
void haul_push(struct haul *h);
/* Nothing is left with this thread; before it sleeps. */
void haul_idle(struct haul *h);
bool worker_has_channel(const struct workers *ws, const struct ps_channel_key *k);
#endif
