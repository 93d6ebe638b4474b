/* SPDX-License-Identifier: Apache-2.0
 *
 * The scenarios (ps_*.c, listed in test_policy-scenarios.c) and what they have in common: one
 * policy world, where nothing goes by itself unless ps_serve says so, and ways to send a packet and
 * to say all that became of it. What nodes write to their tunnel devices is looked at packet by
 * packet in order (ps_took); whatever nobody has asked for fails the scenario at its next ps_quiet.
 */
#ifndef PENSTOCK_TESTS_PS_H
#define PENSTOCK_TESTS_PS_H
#include "tests/policy/pw_kernel.h"
#include "tests/policy/pw_worker.h"

enum { PS_SAID = 128 };

/* A message a node has sent to the portal. */
struct ps_said {
	uint64_t at;
	uint8_t node, r; /* r: of create_flow */
	char event[40];
};

extern struct pw_world pw;
extern struct ps_said ps_said[PS_SAID];
extern uint32_t ps_said_count;

/* ---- life ---- */
/* Gateway g is in site g % sites. */
void ps_open(uint8_t clients, uint8_t gateways, uint8_t sites);
void ps_close(void);
/* The resource is as def says, in site 0 unless it says otherwise; every client may use it and
 * knows it. */
void ps_define(struct pw_resource def);
void ps_permit(uint8_t r, enum tunnel_resource_type type, const char *address);
/* Portal, links, control packets and names do what there is to do. */
void ps_serve(void);
/* Everybody reads what the portal has sent, and nothing else happens. */
void ps_deliver(void);
/* The first intent there is: answered, and nothing delivered. */
void ps_answer(void);
/* Like pw_slot, for a connection that has to be there. */
uint32_t ps_slot(uint8_t node, uint8_t peer);
/* The only intent there is: answered, the gateway and the client are told. */
void ps_flow(uint8_t c, uint8_t g);

/* ---- the portal heard ---- */
uint32_t ps_asked(uint8_t c, uint8_t r); /* create_flow, ever */
uint64_t ps_asked_at(uint8_t c, uint8_t r, uint32_t i);
uint32_t ps_heard(uint8_t node, const char *event);

/* ---- packets ---- */
/* As an application of the client sends it. ICMP: pkt_make. */
struct pkt ps_packet(uint8_t c, const struct ipaddr *far, uint8_t proto, uint16_t sport,
		     uint16_t dport);
struct pkt ps_udp(uint8_t c, const struct ipaddr *far, uint16_t sport, uint16_t dport);
void ps_tcp_flags(struct pkt *p, uint8_t flags, uint32_t seq);
/* The answer of the far end to p. */
struct pkt ps_mirror(const struct pkt *p);
uint64_t ps_count(uint8_t node, enum ps_reason_id reason);
/* What was written next: by that node, and its checksums are right. */
struct pkt ps_took(uint8_t node);
void ps_quiet(void);
void ps_same(const struct pkt *got, const struct pkt *want);
/* The client sends p; it leaves gateway g towards real, once, and is returned. */
struct pkt ps_reaches(uint8_t c, const struct pkt *p, uint8_t g, const struct ipaddr *real);
/* The LAN answers what ps_reaches returned; the client gets the answer to p. */
void ps_replies(uint8_t g, const struct pkt *at_lan, uint8_t c, const struct pkt *p);
struct pkt ps_exchange(uint8_t c, const struct pkt *p, uint8_t g, const struct ipaddr *real);
/* What the node's kernel makes of the packet (pw_kernel.h); its workers do the same. */
enum ps_reason_id ps_cached_in(struct pw_node *n, uint32_t slot, const struct pkt *p,
			       struct pw_out *out);
enum ps_reason_id ps_cached_out(struct pw_node *n, const struct pkt *p, uint32_t *slot,
				struct pw_out *out);
/* The kernels and workers at both ends carry the flow as user space has just done, both ways. */
void ps_carried(uint8_t c, const struct pkt *p, uint8_t g, const struct pkt *at_lan);
/* What the gateway's kernel, and its workers, would do with p of the client. */
enum ps_reason_id ps_lets_in(uint8_t c, const struct pkt *p, uint8_t g);
/* The client sends p, whatever it knows; the gateway refuses for that reason and tells the client
 * so, or (ICMP_ERROR_NONE) does not. Nothing else happens. */
void ps_refused(uint8_t c, const struct pkt *p, uint8_t g, enum ps_reason_id why,
		enum icmp_error kind);
/* got is what the tunnel answers p with. */
void ps_is_error(const struct pkt *got, const struct pkt *p, enum icmp_error kind);

/* ---- names ---- */
/* The client asks; four addresses of the family come. */
void ps_ask(uint8_t c, const char *name, uint16_t type, struct ipaddr out[8]);
/* The control packet next on its way is of that type, from there to there. */
const struct pw_control *ps_on_its_way(uint8_t from, uint8_t to, uint8_t type);
/* Control packet i arrives; keep: and another one like it is on its way. The first one is lost. */
void ps_arrives(uint32_t i, bool keep);
void ps_lost(void);
/* AssignedIps arrives; the gateway asks its site for the name and is answered. */
void ps_name_arrives(uint8_t c, uint8_t g, const char *name);

/* ---- the scenarios of spec tunnel §5.7 ---- */
void s01_first_packet_delivered_once(void);
void s02_same_gateway_serves_second_resource(void);
void s03_name_gets_proxies_and_is_reached(void);
void s04_domain_status_lost_is_asked_again(void);
void s05_inactive_name_refused_until_asked_again(void);
void s06_records_change_old_sessions_stay(void);
void s07_roam_mid_tcp_keeps_translation(void);
void s08_filters_overlap_icmp_ports_prohibited(void);
void s09_spoofed_source_refused(void);
void s10_icmp_errors_translated_both_families(void);
void s11_translated_ports_collide(void);
void s12_expiry_one_second_either_side(void);
void s13_revoked_while_gateway_offline(void);
void s14_upstream_inside_network_is_tunnelled(void);
void s15_srv_txt_by_gateway_before_connection(void);
void s16_truncated_answer_comes_by_tcp(void);
void s17_sentinels_fresh_when_upstreams_change(void);
void s18_internet_switch_routes_and_dns(void);
void s19_portal_reconnect_keeps_flows(void);
void s20_no_relays_portal_joined_anew(void);
void s21_gateway_vanishes_next_packet_asks(void);
void s22_offline_site_is_shown(void);
void s23_ipv6_only_name_unreachable_by_ipv4(void);
void s24_goodbye_both_directions(void);
void s25_unknown_control_event_ignored(void);

/* ---- and others ---- */
void gateway_restarts_and_another_flow_tells(void);
#endif
