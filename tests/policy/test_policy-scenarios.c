/* SPDX-License-Identifier: Apache-2.0
 *
 * The scenarios of spec tunnel §5.7. */
#include "tests/policy/ps.h"

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(s01_first_packet_delivered_once);
	T_RUN(s02_same_gateway_serves_second_resource);
	T_RUN(s19_portal_reconnect_keeps_flows);
	T_RUN(s20_no_relays_portal_joined_anew);
	T_RUN(s21_gateway_vanishes_next_packet_asks);
	T_RUN(s22_offline_site_is_shown);
	T_RUN(s24_goodbye_both_directions);
	T_RUN(s25_unknown_control_event_ignored);
	return t_done();
}
