/* SPDX-License-Identifier: Apache-2.0
 *
 * The twenty-five scenarios of spec tunnel §5.7, by their numbers: real roles, data path, resolver
 * shells and policy, in virtual time (pw.h). Each says all that can be seen from outside: what
 * arrives where and how often, what is refused with which reason and ICMP, what the portal is told
 * and when, what the kernel's cached flows would do. All are here; what this world replaces, which
 * is sockets, ICE, handshakes and the kernel, is in the tests named beside them.
 */
/* clang-format off */
/*
 *  1 first packet, once                 ps_flows.c   netns/t_e2e-kernel, t_e2e-user
 *  2 second resource, same gateway      ps_flows.c   unit/test_node: the connection is reused
 *  3 A and AAAA, AssignedIps, reply     ps_names.c   netns/t_names
 *  4 DomainStatus lost                  ps_names.c   unit/test_dns_nat
 *  5 Inactive, asked again              ps_names.c   netns/t_names
 *  6 records change                     ps_names.c   netns/t_names-change
 *  7 roam mid-TCP                       ps_names.c   netns/t_roam: a real stream
 *  8 filters, prohibited                ps_rules.c   netns/t_policy-deny
 *  9 spoofed source                     ps_rules.c   unit/test_tunnel_gateway, test_tunnel_client
 * 10 ICMP errors                        ps_names.c   netns/t_icmp-nat: real routers
 * 11 translated ports collide           ps_names.c   unit/test_nat_model; netns/t_names-two-clients
 * 12 expiry, a second either side       ps_rules.c   bpf/test_reasons: the real programs
 * 13 revoked while offline              ps_rules.c   netns/t_revoke: the gateway alone
 * 14 upstream inside a network          ps_dns.c     netns/t_dns-table: sockets, nsd, UDP and TCP
 * 15 SRV, TXT by the gateway            ps_dns.c     netns/t_dns-table, t_dns-site
 * 16 truncation, then TCP               ps_dns.c     netns/t_dns-table
 * 17 sentinels anew                     ps_dns.c     netns/t_dns-stub: addresses on the device
 * 18 Internet on and off                ps_rules.c   unit/test_tunnel_client
 * 19 portal joined anew                 ps_flows.c   netns/t_portal-outage
 * 20 no relays                          ps_flows.c   unit/test_node_relay_moves; netns/t_relay-survive
 * 21 gateway vanishes                   ps_flows.c   netns/t_gateway-kill9
 * 22 offline site                       ps_flows.c   unit/test_tunnel_client
 * 23 IPv6-only name by IPv4             ps_names.c   netns/t_name-families
 * 24 Goodbye                            ps_flows.c   netns/t_sigterm-clean
 * 25 unknown event                      ps_flows.c   unit/test_p2p_ctl
 *  - gateway restarts unnoticed         ps_flows.c
 */
/* clang-format on */
#include "tests/policy/ps.h"

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(s01_first_packet_delivered_once);
	T_RUN(s02_same_gateway_serves_second_resource);
	T_RUN(s03_name_gets_proxies_and_is_reached);
	T_RUN(s04_domain_status_lost_is_asked_again);
	T_RUN(s05_inactive_name_refused_until_asked_again);
	T_RUN(s06_records_change_old_sessions_stay);
	T_RUN(s07_roam_mid_tcp_keeps_translation);
	T_RUN(s08_filters_overlap_icmp_ports_prohibited);
	T_RUN(s09_spoofed_source_refused);
	T_RUN(s10_icmp_errors_translated_both_families);
	T_RUN(s11_translated_ports_collide);
	T_RUN(s12_expiry_one_second_either_side);
	T_RUN(s13_revoked_while_gateway_offline);
	T_RUN(s14_upstream_inside_network_is_tunnelled);
	T_RUN(s15_srv_txt_by_gateway_before_connection);
	T_RUN(s16_truncated_answer_comes_by_tcp);
	T_RUN(s17_sentinels_fresh_when_upstreams_change);
	T_RUN(s18_internet_switch_routes_and_dns);
	T_RUN(s19_portal_reconnect_keeps_flows);
	T_RUN(s20_no_relays_portal_joined_anew);
	T_RUN(s21_gateway_vanishes_next_packet_asks);
	T_RUN(s22_offline_site_is_shown);
	T_RUN(s23_ipv6_only_name_unreachable_by_ipv4);
	T_RUN(s24_goodbye_both_directions);
	T_RUN(s25_unknown_control_event_ignored);
	T_RUN(gateway_restarts_and_another_flow_tells);
	return t_done();
}
