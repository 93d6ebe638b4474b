/* SPDX-License-Identifier: Apache-2.0
 *
 * How large a packet a connection carries inside: datagram packetization layer path MTU discovery
 * (RFC 8899) in small, one machine per connection, each end for what it sends itself. The probes
 * are control packets (codec/p2p_ctl.h) that only a Penstock peer answers. ICMP from the outer path
 * is not listened to.
 *
 *   OFF        no path, or one that leaves no room above the base
 *   BASE       is there anybody who answers? Probes of the base size; size is the base
 *   SEARCHING  the ceiling first, then halving between what arrived and what did not
 *   COMPLETE   the size is known. It is confirmed again while there is traffic; a probe of it that
 *              stays unanswered PMTU_CONFIRM_TRIES times is a black hole: BASE
 *
 * Another path: BASE. A peer that does not answer is asked again after PMTU_SILENT_NS, then after
 * twice the time each, while there is traffic. What stopped short of the ceiling is tried anew
 * after PMTU_RAISE_NS.
 *
 * An acknowledgement counts only for the probe that is out, by its random identifier and its size;
 * what a peer says cannot raise the size beyond what we have sent.
 *
 * Timers (one deadline): the probe that is out; the next one. Without traffic nothing is due but a
 * search that has begun. */
#ifndef PENSTOCK_CORE_TUNNEL_PMTU_H
#define PENSTOCK_CORE_TUNNEL_PMTU_H
#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"
#include "codec/p2p_ctl.h"
#include "crypto/rng.h"

#define PMTU_BASE_LEN	   1280 /* what every peer takes, and the least an IPv6 link carries */
#define PMTU_TRIES	   3	/* RFC 8899 §5.1.2, MAX_PROBES */
#define PMTU_CONFIRM_TRIES 4	/* to be wrong about a size in use costs more */
#define PMTU_STEP	   8	/* bytes: a search that is this close is over */
/* Of a probe: before a round trip was measured, then four of them. Shorter than the RFC's, for what
 * it waits for is a packet that is answered at once. While a size in use does not arrive everything
 * long stands still, so confirming is quick: within CONFIRM_NS and CONFIRM_TRIES timeouts. */
#define PMTU_TIMEOUT_NS	    NS_PER_SEC
#define PMTU_TIMEOUT_MIN_NS (300 * NS_PER_MS)
#define PMTU_TIMEOUT_MAX_NS (3 * NS_PER_SEC)
#define PMTU_CONFIRM_NS	    (2 * NS_PER_SEC)
#define PMTU_RAISE_NS	    (600 * NS_PER_SEC) /* RFC 8899 §5.1.1, PMTU_RAISE_TIMER */
#define PMTU_SILENT_NS	    (60 * NS_PER_SEC)
#define PMTU_SILENT_MAX_NS  (3600 * NS_PER_SEC)
#define PMTU_ANSWERS	    20 /* probes of a peer answered in a second */

enum pmtu_state { PMTU_OFF, PMTU_BASE, PMTU_SEARCHING, PMTU_COMPLETE };

struct pmtu {
	enum pmtu_state state;
	uint16_t size;	     /* the largest inner packet to send now; PMTU_BASE_LEN at least */
	uint16_t ceiling;    /* what the path's first link leaves; 0: no path */
	uint16_t failed;     /* least size known not to arrive; above the ceiling: none is */
	uint16_t probe_size; /* 0: none chosen */
	uint8_t tries;	     /* of it */
	bool out;	     /* one of them is unanswered, its time not over */
	uint64_t id;
	uint64_t sent_ns;
	uint64_t due_ns; /* TIME_NEVER: waits for traffic, or for nothing */
	uint64_t rtt_ns; /* of the last probe answered at the first try; 0: none was */
	uint64_t confirmed_ns;
	uint64_t raise_ns;	 /* TIME_NEVER: the ceiling was reached */
	uint64_t silent_until;	 /* BASE: not before */
	uint64_t silent_wait_ns; /* the pause after the next silence; 0: the first one's */
	uint64_t answers_ns;
	uint32_t answers; /* in the second that began then */
};

/* PMTU_OFF. */
void pmtu_init(struct pmtu *p);
/* Packets take another path, or none (ceiling 0): all is forgotten. ceiling: the largest inner
 * packet that is worth trying. */
void pmtu_path(struct pmtu *p, uint16_t ceiling, uint64_t now);
/* The same path, but its ceiling may have changed. */
void pmtu_ceiling(struct pmtu *p, uint16_t ceiling, uint64_t now);
/* Data is being sent on the connection: call at least once in a few seconds while it is. */
void pmtu_active(struct pmtu *p, uint64_t now);
/* The next probe to send: true and *out. */
bool pmtu_poll_tx(struct pmtu *p, struct rng *rng, struct p2p_mtu *out, uint64_t now);
/* It could not be sent: wait for traffic. */
void pmtu_unsent(struct pmtu *p);
/* An acknowledgement has come; false: not for the probe that is out. */
bool pmtu_ack(struct pmtu *p, const struct p2p_mtu *ack, uint64_t now);
/* A probe has come: is it answered? Not one above limit, nor too many. */
bool pmtu_answers(struct pmtu *p, const struct p2p_mtu *probe, uint16_t limit, uint64_t now);

struct deadline pmtu_deadline(const struct pmtu *p);
void pmtu_timeout(struct pmtu *p, uint64_t now);
const char *pmtu_state_name(enum pmtu_state s);
#endif
