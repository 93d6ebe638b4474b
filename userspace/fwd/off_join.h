/* SPDX-License-Identifier: Apache-2.0
 *
 * Joining: packets of one TCP or UDP flow that follow each other become one super-packet, so that
 * the kernel's stack is gone through once for all of them. What off_split makes of the result is
 * what went in, byte for byte (but for the id of IPv4 packets with DF, which has no meaning: RFC
 * 6864 §4.1). The rules are those of the kernel's own receive offload, and a little stricter:
 *
 *  - both: same addresses, ports, TTL, traffic class with ECN, flow label, DF; no IPv4 options, no
 *    extension headers, no fragments; IPv4 ids in a row unless DF is set; both checksums right
 *    (verified here; a packet with a wrong one goes on alone, as it is, for the stack to see)
 *  - TCP: payload there; flags ACK only, PSH ends a super-packet; acknowledgement, window, urgent
 *    pointer and options equal; sequence without gap; payloads of one length, a shorter one ends it
 *  - UDP: payload there, checksum used; payloads of one length, a shorter one ends it
 *
 * Packets of one flow leave in the order they came, in super-packets or alone; fragments and other
 * packets whose ports are not to be had keep their place among all packets of their two addresses.
 * Nothing is held longer than until the flush. Not here: writing (io/tun), any judgement of what is
 * allowed.
 *
 * Payloads stay where they are, as a vector each, but for short ones: a vector costs the kernel
 * more than a copy of those costs here, so they are put side by side while they are summed up. */
#ifndef PENSTOCK_FWD_OFF_JOIN_H
#define PENSTOCK_FWD_OFF_JOIN_H
#include "fwd/offload.h"

#define OFF_JOIN_OPEN  16 /* flows joined at a time; one more ends the oldest */
#define OFF_JOIN_SLOTS (OFF_JOIN_OPEN + 1)
#define OFF_JOIN_SHORT 256 /* payloads up to this are put side by side, while there is room */
#define OFF_JOIN_STAGE (OFF_SEGS_MAX * OFF_JOIN_SHORT)

struct off_slot {
	struct off_super s;
	uint8_t *head;	 /* first packet */
	uint8_t *staged; /* where the second packet's payload and those behind it lie, or NULL */
	uint64_t pseudo; /* sum of a full packet's pseudo-header, once verified */
	uint32_t seq;	 /* the next packet's */
	uint16_t id;	 /* the next packet's, unless DF is set */
	uint16_t size;	 /* payload of the first packet */
	uint16_t l4_off, hdr_len;
	bool verified; /* the first packet's checksum */
};

struct off_join {
	bool tcp, udp; /* what is joined */
	uint32_t last; /* the slot that took a packet last, if it is still open */
	uint32_t open; /* slots that take packets, a bit each */
	uint32_t busy; /* those, and slots waiting to be handed out */
	uint32_t born; /* slots opened so far */
	uint32_t hash[OFF_JOIN_SLOTS], age[OFF_JOIN_SLOTS];
	uint32_t queue_len, queue_at;
	uint8_t queue[OFF_JOIN_SLOTS];
	uint32_t stage_used; /* of stage, by the open slots */
	struct off_slot slot[OFF_JOIN_SLOTS];
	uint8_t stage[OFF_JOIN_STAGE];
};

/* Once, and again to change what is joined, when nothing is held. */
void off_join_init(struct off_join *j, bool tcp, bool udp);
/* Take the next packet. Its bytes are the joiner's until it was handed out again: they must stay,
 * and the header of one that begins a super-packet is written to. Afterwards off_join_next is to be
 * called until it has no more; false, and nothing was taken, when that was not done. */
bool off_join_add(struct off_join *j, uint8_t *pkt, size_t len);
/* End all super-packets: behind the last packet of a batch. Then off_join_next, as above. */
void off_join_flush(struct off_join *j);
/* What is to be written next, valid until the next call of any function here; NULL: no more. */
const struct off_super *off_join_next(struct off_join *j);
#endif
