/* SPDX-License-Identifier: Apache-2.0
 *
 * The open-loop load generator (h_wgload): a WireGuard peer that encrypts its packets before it
 * sends them, so that the far end alone is measured.
 *
 *     wgload_wg.c     who sends: plain WireGuard peers, against any implementation
 *     wgload_crowd.c  the same, against penstock-gateway: ICE for each of them
 *     wgload_gw.c     who sends: a whole Penstock client, by portal and ICE, to penstock-gateway
 *     wgload_plain.c  who sends: a UDP socket that knows of no tunnel
 *     wgload_send.c   packets made, encrypted, and sent at a rate
 *     wgload_sink.c   packets counted, and checked, behind the gateway
 *     wgload_team.c   several of those at once, in step
 *     wgload_find.c   one run at a rate; the highest rate with next to no loss
 *     wgload_hs.c     handshakes a second
 *     wgload_renew.c  sessions that are renewed while packets flow
 *     wgload_cpu.c    what it took the machine
 *
 * Open loop: nothing the far end does slows the sender. Counters rise and are never used twice.
 *
 * A plain sender is the other way round: it encrypts nothing, so that everything from its socket to
 * the server is measured, both ends of whatever tunnel the route leads into. */
#ifndef PENSTOCK_BENCH_WGLOAD_H
#define PENSTOCK_BENCH_WGLOAD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/addr.h"
#include "base/time.h"
#include "core/ice/ice.h"
#include "io/sockaddr.h"
#include "wire/wg.h"

#define WGL_PEERS_MAX	65536
#define WGL_FLOWS_MAX	64
#define WGL_SENDERS_MAX 32
#define WGL_INNER_MIN	52 /* headers, and the mark that says which packet it is */
#define WGL_INNER_MAX	1500
#define WGL_HDRS	28 /* IPv4 and UDP, inside */

/* A session to send on. */
struct wgl_session {
	uint8_t key[32];
	uint32_t remote_idx;
	uint32_t pad;
	uint64_t counter;  /* the next one free */
	struct ipaddr src; /* tunnel address of the peer */
};

/* Of sessions that others have taken the place of: an age is since the session's birth. */
struct wgl_renewed {
	uint64_t n;
	uint64_t oldest_ns, sum_ns;
	uint64_t lapsed; /* ended before there was another */
};

/* Peers that are connected. */
struct wgl_link {
	int fd;		       /* connected peers' UDP socket; sends to `to` */
	union sockaddr_any to; /* plain: of flow 0; flow n to its port + n */
	socklen_t to_len;
	struct wgl_session *sessions;
	uint32_t n;
	/* Before counters are used: sessions that will last for a run. Dies when there are none. */
	void (*ready)(struct wgl_link *l);
	/* After a run: counters below sessions[i].counter are used up. */
	void (*settle)(struct wgl_link *l);
	/* Peers that renew: their timers and what comes, until then. *out: since it was opened. */
	void (*serve)(struct wgl_link *l, uint64_t until, struct wgl_renewed *out);
	void (*close)(struct wgl_link *l);
	void *ctx;
};

struct wgl_load {
	uint32_t size;	  /* bytes of an inner packet */
	uint32_t flows;	  /* destination ports in use */
	uint32_t train;	  /* packets of one flow in a row */
	uint32_t burst;	  /* most datagrams a system call without GSO */
	uint32_t threads; /* that encrypt */
	uint32_t senders; /* processes that send, and which of them this one is */
	uint32_t sender;
	bool gso;
	bool plain;	      /* payloads as they are, by an ordinary socket; without GSO */
	uint64_t pool;	      /* bytes that may be encrypted ahead */
	struct endpoint sink; /* first of the flows' destinations */
};

/* Datagrams as they are sent, stride bytes each. */
struct wgl_batch {
	uint8_t *buf;
	uint64_t cap; /* bytes */
	uint32_t stride;
	uint64_t n;
};

struct wgl_sent {
	uint64_t packets, start_ns, end_ns;
	uint64_t refused; /* not sent: the socket said no */
};

void wgl_die(const char *what, int rc) __attribute__((noreturn));
/* The calling thread goes to a namespace by name; NULL: stays. */
void wgl_enter(const char *ns);

/* ---- wgload_send.c ---- */
void wgl_batch_alloc(struct wgl_batch *b, const struct wgl_load *load);
/* The most datagrams a batch holds. */
uint64_t wgl_batch_max(const struct wgl_load *load);
/* n datagrams on the link's sessions in turn. */
void wgl_batch_fill(struct wgl_batch *b, struct wgl_link *l, const struct wgl_load *load,
		    uint64_t n);
/* Packets [from, to) of the batch, at pps; as fast as it goes when pps is 0. */
void wgl_blast(const struct wgl_batch *b, const struct wgl_link *l, const struct wgl_load *load,
	       uint64_t from, uint64_t to, double pps, struct wgl_sent *out);

/* What a payload says: big endian, behind the inner headers; then the pattern. */
#define WGL_MARK_LEN 16
#define WGL_MAGIC    0x7767u
struct wgl_mark {
	uint64_t seq; /* of all packets of all flows: rises */
	uint16_t flow, magic;
	uint16_t peer;
	uint16_t len; /* of the payload */
};
uint8_t wgl_pattern(uint32_t at);

/* ---- wgload_sink.c ---- */
struct wgl_sink_cfg {
	const char *ns, *dev; /* the server's */
	const struct wgl_load *load;
	bool verify; /* all that arrives is read and checked as well */
};
struct wgl_checked {
	uint64_t packets, reordered, duplicated, corrupted;
	uint64_t missed; /* in the counter, but the socket had no room */
};
struct wgl_sink;
struct wgl_sink *wgl_sink_open(const struct wgl_sink_cfg *cfg);
void wgl_sink_close(struct wgl_sink *s);
/* Packets that have arrived since it was opened. */
uint64_t wgl_sink_count(struct wgl_sink *s);
void wgl_sink_checked(struct wgl_sink *s, struct wgl_checked *out);

/* ---- wgload_cpu.c ---- */
struct wgl_cpu {
	double process_ns;	 /* of the gateway's threads; 0: not known */
	double busy_ns, soft_ns; /* of the machine: not idle; in softirqs */
	double all_ns;
};
void wgl_cpu_now(int pid, struct wgl_cpu *out);
void wgl_cpu_since(const struct wgl_cpu *then, int pid, struct wgl_cpu *out);

/* ---- wgload_crowd.c ---- */
struct wgl_member {
	struct ipaddr address;
	uint8_t psk[32], remote_pub[32];
	struct ice_creds local, remote;
};
struct wgl_crowd;
/* A file of crowd.py's, the sender's share of it; *n members. */
struct wgl_crowd *wgl_crowd_load(const char *path, const struct endpoint *local,
				 const struct endpoint *remote, const struct wgl_load *load,
				 uint32_t *n);
void wgl_crowd_free(struct wgl_crowd *c);
const struct wgl_member *wgl_crowd_member(const struct wgl_crowd *c, uint32_t i);
/* Begin to look for member i's path, once. */
void wgl_crowd_begin(struct wgl_crowd *c, const struct wgl_link *l, uint32_t i, uint64_t now);
bool wgl_crowd_has_path(const struct wgl_crowd *c, uint32_t i);
/* A datagram from the gateway; false: it is no STUN. */
bool wgl_crowd_take(struct wgl_crowd *c, const uint8_t *msg, size_t len, uint64_t now);
void wgl_crowd_timeout(struct wgl_crowd *c, uint64_t now);

/* ---- links ---- */
struct wgl_wg_cfg {
	struct endpoint endpoint;
	uint8_t priv[32], remote_pub[32], psk[32];
	struct ipaddr address;	 /* tunnel address of number 0; the others' follow */
	uint32_t first, peers;	 /* this process's, by number */
	struct endpoint local;	 /* ours; port 0: any */
	struct wgl_crowd *crowd; /* NULL: plain WireGuard */
	bool renew;		 /* by WireGuard's own timers, not before a run */
};
/* The private key of peer i, and the tunnel address; peer 0 has the ones given. */
void wgl_wg_priv(const struct wgl_wg_cfg *cfg, uint32_t i, uint8_t priv[32]);
struct ipaddr wgl_wg_address(const struct wgl_wg_cfg *cfg, uint32_t i);
void wgl_wg_open(struct wgl_link *l, const struct wgl_wg_cfg *cfg);
/* argv: penstock-client's. target: what it asks the portal for. */
void wgl_gw_open(struct wgl_link *l, int argc, char **argv, const struct endpoint *target);
void wgl_plain_open(struct wgl_link *l, const struct wgl_load *load);

/* ---- wgload_team.c: a team is NULL when one sends alone ---- */
/* One sender's share of a run. */
struct wgl_part {
	uint64_t warm, n; /* packets */
	double pps;
};
struct wgl_team;
/* From here on there are n processes; *sender: which of them this is. */
struct wgl_team *wgl_team_open(uint32_t n, uint32_t *sender);
uint32_t wgl_team_size(const struct wgl_team *t);
void wgl_team_meet(struct wgl_team *t);
/* The first: a run begins. The others: it has, or (false) there is none any more. */
void wgl_team_order(struct wgl_team *t, const struct wgl_part *p);
bool wgl_team_follow(struct wgl_team *t, struct wgl_part *p);
/* Each: its share is sent. Then the first adds the others' to *s. */
void wgl_team_sent(struct wgl_team *t, uint32_t sender, const struct wgl_sent *s);
void wgl_team_sum(const struct wgl_team *t, struct wgl_sent *s);
/* The first: the others end. */
void wgl_team_close(struct wgl_team *t);

/* ---- wgload_find.c ---- */
struct wgl_find {
	struct wgl_link *link;
	struct wgl_team *team; /* NULL: it sends alone */
	const struct wgl_load *load;
	struct wgl_sink *sink;
	int pid;	    /* of the gateway, 0: not known */
	double seconds;	    /* a run */
	double warm;	    /* before it, not counted */
	double limit;	    /* of loss, a share */
	double max_seconds; /* a search */
	double start_pps;   /* 0: find out */
	double grace;	    /* seconds after the last packet is sent: what comes later is lost */
	uint64_t exactly;   /* packets of a run; 0: by time */
};
struct wgl_run {
	double pps;	  /* asked for */
	double offered;	  /* done, a second */
	double delivered; /* in time, a second */
	double loss;	  /* share, late ones included */
	uint64_t sent, got, late, refused;
	double seconds;
	struct wgl_cpu cpu;
};
void wgl_run(const struct wgl_find *f, double pps, struct wgl_run *out);
/* One of a team but the first: does its share of runs until the team ends. */
void wgl_run_along(const struct wgl_find *f);
struct wgl_found {
	unsigned probes;
	double peak_pps; /* the most that ever came through, whatever was lost beside it */
	bool sender;	 /* no faster than it could be sent: not the far end's limit */
};
void wgl_search(const struct wgl_find *f, struct wgl_run *best, struct wgl_found *found);
void wgl_print(const struct wgl_find *f, const char *what, const struct wgl_run *r, FILE *out);

/* ---- wgload_peers.c ---- */
/* Prints. */
void wgl_peers(const struct wgl_find *f, double pps, uint32_t rounds);

/* ---- wgload_renew.c ---- */
/* Prints. Each peer sends a packet every other second. The link's peers renew. */
void wgl_renew(const struct wgl_find *f, double pps, double seconds);

/* ---- wgload_hs.c ---- */
/* Prints. l: of a crowd, ready; else NULL. */
void wgl_handshakes(const struct wgl_wg_cfg *cfg, const struct wgl_link *l, uint32_t window,
		    double seconds, int pid);
#endif
