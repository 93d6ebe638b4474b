/* SPDX-License-Identifier: Apache-2.0
 *
 * The scenarios of spec tunnel §5.7. */
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
	return t_done();
}
