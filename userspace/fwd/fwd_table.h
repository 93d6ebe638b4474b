/* SPDX-License-Identifier: Apache-2.0
 *
 * The forwarding table: sessions, replay windows and peers in the layout of include/abi/maps.h,
 * whoever provides the memory. With BPF it is the mmapped maps, so the kernel executor sees every
 * write at once; without, plain memory.
 *
 * The control thread is the only writer. Other threads (workers) may read and do packet work
 * meanwhile: fwd_open_batch, fwd_seal_reserve, fwd_seal_next, fwd_seal_batch, fwd_peer_view,
 * fwd_path_view and fwd_session, and nothing else. What one of them does between two points where
 * it holds nothing of the table is a section; the hook `quiesce` waits until all sections have
 * ended that had begun before. Whoever has freed a session or revoked a peer knows on return that
 * no packet is judged by what was there before, or sealed with its keys, any more.
 *
 * What it is not: policy (core/tunnel) and key exchange (core/wg) decide what is written here;
 * io/bpf_sync mirrors keys and flows, which cannot be mmapped.
 *
 * Invariants: a slot with PS_SESS_USED has keys; a peer's tx_slot is PS_NO_SLOT or names a used
 * session of that peer; a freed slot keeps no key. */
#ifndef PENSTOCK_FWD_TABLE_H
#define PENSTOCK_FWD_TABLE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/maps.h"
#include "base/addr.h"
#include "crypto/rng.h"

struct fwd_keys {
	uint8_t recv[32];
	uint8_t send[32];
};

/* Memory of the table: n_sessions (power of two, 2..2^20) and n_peers elements, owned by the caller
 * and outliving the table. keys should be locked in memory and kept out of core dumps. */
struct fwd_mem {
	struct ps_session *session;
	struct ps_replay *replay;
	struct ps_peer *peer;
	struct fwd_keys *keys;
	uint32_t *session_free; /* scratch: n_sessions */
	uint32_t n_sessions;
	uint32_t n_peers;
};

struct fwd_table {
	struct fwd_mem mem;
	struct rng rng;
	uint32_t n_session_free; /* in the ring of free slots, oldest first from free_head: a slot
				    rests as long */
	uint32_t free_head; /* as it can, so that no packet still at work sees its next owner's keys
			     */
	uint64_t session_full; /* refused because the table was full */
	/* Set after fwd_init when other threads read the table; NULL: none do. It has to order what
	 * was written before it against the sections it does not wait for: a full barrier. */
	void (*quiesce)(void *arg);
	void *quiesce_arg;
};

#define FWD_DATA_HEADER	  16   /* type, receiver index, counter (bytes) */
#define FWD_DATA_OVERHEAD 32   /* header and tag */
#define FWD_MTU_BASE	  1280 /* longest inner packet to a peer of which nothing more is known */

/* 0, or -EINVAL for impossible sizes. Wipes whatever the memory held. */
int fwd_init(struct fwd_table *t, const struct fwd_mem *mem, const uint8_t seed[32]);
/* Wait for the readers' sections, when there are readers. The table does so itself where its
 * functions say; this is for what its users take away from them. */
void fwd_quiesce(const struct fwd_table *t);
/* Wipes keys and marks everything free. No other thread reads the table any more. */
void fwd_fini(struct fwd_table *t);

/* Slot of an index of ours, whether or not it is in use. */
uint32_t fwd_slot(const struct fwd_table *t, uint32_t idx);

/* Reserve a session slot and return its fresh non-zero 32-bit index: slot in the low bits, random
 * above. 0: table full (counted). The slot is not visible to the data path before
 * fwd_session_install(). */
uint32_t fwd_index_alloc(struct fwd_table *t);
/* Give back a reserved or installed index. An installed one is made invisible, its readers are
 * waited for, then its keys are wiped. Unknown indices are ignored. */
void fwd_index_free(struct fwd_table *t, uint32_t idx);

struct fwd_session_new {
	uint32_t local_idx; /* from fwd_index_alloc */
	uint32_t remote_idx;
	uint32_t peer;
	bool initiator;
	uint64_t rx_until_ns;
	uint64_t tx_until_ns;
	const struct fwd_keys *keys; /* copied */
};

void fwd_session_install(struct fwd_table *t, const struct fwd_session_new *n, uint64_t now);
/* The session's first authenticated packet was seen: the kernel may serve it. */
void fwd_session_confirm(struct fwd_table *t, uint32_t idx);
/* The used session with exactly this index, or NULL. */
struct ps_session *fwd_session(const struct fwd_table *t, uint32_t idx);

/* Add a session's packet and byte counters, of both executors, to those of sum. */
void fwd_session_sum(struct ps_session *sum, const struct ps_session *s);

/* Claim a peer slot (the node's connection index): new generation, no path, no session. -EINVAL out
 * of range, -EEXIST when in use. */
int fwd_peer_use(struct fwd_table *t, uint32_t slot) __attribute__((warn_unused_result));
/* Frees the slot; its sessions must have been freed. The generation lives on, so stale flows stay
 * stale. Readers are waited for. */
void fwd_peer_free(struct fwd_table *t, uint32_t slot);
/* NULL when the slot is out of range or free. */
struct ps_peer *fwd_peer(const struct fwd_table *t, uint32_t slot);
/* Tunnel addresses and whether inner sources must be one of them (the gateway's anti-spoofing).
 * Readers are waited for. */
void fwd_peer_set_tunnel(struct fwd_table *t, uint32_t slot, const struct ipaddr *v4,
			 const struct ipaddr *v6, bool check_source);
/* Session to send on; idx 0 or unknown: none. */
void fwd_peer_set_tx(struct fwd_table *t, uint32_t slot, uint32_t idx);
/* Nominated path. channel 0: it is direct; else remote is a relay's address and local ours towards
 * it. wan_ifindex 0: the kernel does not send for this peer. NULL endpoints: no path; readers are
 * waited for when there was one. */
void fwd_peer_set_path(struct fwd_table *t, uint32_t slot, const struct endpoint *local,
		       const struct endpoint *remote, uint16_t channel, uint32_t wan_ifindex);
/* Longest inner packet to send to it, at most PS_INNER_MAX; FWD_MTU_BASE from fwd_peer_use on. */
void fwd_peer_set_mtu(struct fwd_table *t, uint32_t slot, uint16_t mtu);
void fwd_peer_set_kernel(struct fwd_table *t, uint32_t slot, bool kernel);
/* Revoke: every cached flow of the peer becomes a miss, in all executors, at once: readers are
 * waited for. */
void fwd_peer_revoke(struct fwd_table *t, uint32_t slot);

/* ---- reading, from any thread ---- */
struct ps_peer_view; /* plan/ingress.h */
struct ps_path_view; /* plan/egress.h */

/* What judging takes from the peer, all of it from one moment. False: there is no such peer, or it
 * is being written, and the packet is the control thread's. */
bool fwd_peer_view(const struct fwd_table *t, uint32_t slot, struct ps_peer_view *v);
bool fwd_path_view(const struct fwd_table *t, uint32_t slot, struct ps_path_view *v);

/* One authenticated packet. `inner` points into the datagram that was opened. */
struct fwd_opened {
	uint32_t slot;
	uint32_t idx; /* of the session, ours: it may be gone by the time the packet is looked at */
	uint32_t peer;
	uint8_t *inner;
	size_t inner_len; /* 0: keepalive; may include the sender's padding */
	bool confirms;	  /* first packet of an unconfirmed session: tell the control plane */
};

/* Open a WireGuard data datagram in place: session, lifetime, replay, tag, then commit. Returns
 * PS_R_URX_DELIVERED with *out, or the reason it was dropped; a dropped packet changes nothing (the
 * bytes of the datagram apart). */
enum ps_reason_id fwd_open(struct fwd_table *t, uint8_t *msg, size_t len, struct fwd_opened *out,
			   uint64_t now);

/* Many at once (at most FWD_BATCH): each as fwd_open, in order, the cipher's work for all of them
 * together. A counter that comes twice is taken once. What they touch had better been fetched
 * (fwd_ahead). */
#define FWD_BATCH 64
struct fwd_rx {
	uint8_t *msg;		  /* in: the datagram */
	size_t len;		  /* in */
	enum ps_reason_id reason; /* out: as fwd_open returns */
	struct fwd_opened o;	  /* out, when delivered */
};
void fwd_open_batch(struct fwd_table *t, struct fwd_rx *rx, size_t n, uint64_t now);

/* Seal inner_len bytes for the peer into out (inner_len + FWD_DATA_OVERHEAD bytes). Returns
 * PS_R_UTX_SENT and *out_len, or why not. inner may be NULL with length 0: a keepalive. */
enum ps_reason_id fwd_seal(struct fwd_table *t, uint32_t peer, const uint8_t *inner,
			   size_t inner_len, uint8_t *out, size_t *out_len, uint64_t now);

/* Many at once: fwd_seal_begin for each, in the order they are to be sent, then fwd_seal_batch for
 * all of them (at most FWD_BATCH) before anything else is asked of the table. A packet that was
 * begun has taken its counter and must be sealed: until then `out` holds no ciphertext. */
struct fwd_tx {
	const uint8_t *inner; /* may be out + FWD_DATA_HEADER */
	size_t inner_len;
	uint8_t *out;	  /* inner_len + FWD_DATA_OVERHEAD bytes */
	uint32_t slot;	  /* the table's own */
	uint64_t counter; /* the table's own */
};
enum ps_reason_id fwd_seal_begin(struct fwd_table *t, uint32_t peer, struct fwd_tx *tx,
				 uint64_t now);
/* For other threads: n counters in a row of a session by its slot, as a ps_path_view says, which
 * has to be that peer's and confirmed, else PS_R_UTX_NO_SESSION. Then fwd_seal_next for up to n
 * packets, in the order they are to be sent, in the same section; counters not used are lost, which
 * harms nobody. */
struct fwd_counters {
	uint64_t next;
	uint32_t slot, remote_idx;
};
enum ps_reason_id fwd_seal_reserve(struct fwd_table *t, uint32_t peer, uint32_t tx_slot, uint32_t n,
				   struct fwd_counters *c, uint64_t now);
void fwd_seal_next(struct fwd_counters *c, struct fwd_tx *tx);
/* Counts them for the session as well. */
void fwd_seal_batch(struct fwd_table *t, const struct fwd_tx *tx, size_t n);
#endif
