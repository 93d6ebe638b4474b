/* SPDX-License-Identifier: Apache-2.0
 *
 * Scenarios of flows and connections: how they begin, what they survive, how they end. */
#include "tests/policy/ps.h"
#include "tests/policy/pw_socket.h"

static const struct ipaddr far1 = {.family = 4, .b = {10, 1, 2, 3}};
static const struct ipaddr far2 = {.family = 4, .b = {10, 2, 2, 3}};

/* One client, gateways of one site, resources 1 and 2, the first one in use. */
static struct pkt open_in_use(uint8_t gateways)
{
	struct pkt p;

	ps_open(1, gateways, 1);
	ps_permit(1, TUNNEL_RESOURCE_CIDR, "10.1.0.0/16");
	ps_permit(2, TUNNEL_RESOURCE_CIDR, "10.2.0.0/16");
	p = ps_udp(0, &far1, 5000, 80);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	ps_serve();
	return p;
}

/* The same with gateway 0 alone and its first packet taken. */
static struct pkt open_at_gateway(void)
{
	struct pkt p = open_in_use(1);

	ps_took(PW_CLIENTS);
	return ps_exchange(0, &p, 0, &far1);
}

void s01_first_packet_delivered_once(void)
{
	struct pkt syn, other, late, got;
	uint64_t first;

	ps_open(1, 1, 1);
	ps_permit(1, TUNNEL_RESOURCE_CIDR, "10.1.0.0/16");
	syn = ps_packet(0, &far1, IP_PROTO_TCP, 5000, 80);
	ps_tcp_flags(&syn, IP_TCP_SYN, 7);
	other = ps_udp(0, &far1, 5001, 80);
	late = ps_udp(0, &far1, 5002, 80);
	T_EQ(pw_app_send(&pw, 0, &syn), PS_R_UTX_BUFFERED);
	first = pw.now;
	T_EQ(pw.intent_count, 1);
	T_EQ(pw.intents[0].connected, 0);
	/* Retransmissions are one packet, and for two seconds nobody is asked again. */
	pw_advance(&pw, 1000 * NS_PER_MS);
	T_EQ(pw_app_send(&pw, 0, &syn), PS_R_UTX_BUFFERED);
	pw_advance(&pw, 999 * NS_PER_MS);
	T_EQ(pw_app_send(&pw, 0, &other), PS_R_UTX_BUFFERED);
	T_EQ(ps_asked(0, 1), 1);
	/* Time alone asks nobody either; traffic after two seconds does. */
	pw_advance(&pw, 3 * NS_PER_SEC);
	T_EQ(ps_asked(0, 1), 1);
	T_EQ(pw_app_send(&pw, 0, &late), PS_R_UTX_BUFFERED);
	T_EQ(ps_asked(0, 1), 2);
	T_EQ(ps_asked_at(0, 1, 0), first);
	T(ps_asked_at(0, 1, 1) - first >= 2 * NS_PER_SEC);

	/* Both intents are answered; the gateway knows before the client does. */
	ps_answer();
	T_EQ(pw.node[0].inbox_count, 0);
	ps_deliver();
	ps_quiet(); /* no connection yet */
	ps_flow(0, 0);
	ps_quiet();
	T(pw_link_up(&pw, 0, 0));
	got = ps_took(PW_CLIENTS);
	ps_same(&got, &syn);
	got = ps_took(PW_CLIENTS);
	ps_same(&got, &other);
	got = ps_took(PW_CLIENTS);
	ps_same(&got, &late);
	ps_quiet();

	late = ps_udp(0, &far1, 5003, 80);
	got = ps_exchange(0, &late, 0, &far1);
	ps_carried(0, &late, 0, &got);
	pw_advance(&pw, 60 * NS_PER_SEC);
	T_EQ(ps_asked(0, 1), 2);
	ps_close();
}

void s02_same_gateway_serves_second_resource(void)
{
	struct pkt p = open_in_use(2), got;
	uint8_t g = pw.links && pw_link_ok(&pw, 0, 1);
	uint32_t slot = ps_slot(0, pw_gw(&pw, g)), links = pw.links;
	uint32_t idx = pw.node[0].conn[slot].idx;

	ps_took(pw_gw(&pw, g));
	p = ps_udp(0, &far2, 5000, 80);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	T_EQ(pw.intent_count, 1);
	T_EQ(pw.intents[0].r, 2);
	T_EQ(pw.intents[0].connected, 1u << g); /* by which the portal chooses */
	ps_flow(0, g);
	got = ps_took(pw_gw(&pw, g));
	ps_same(&got, &p);
	ps_quiet();
	T_EQ(pw_slot(&pw, 0, pw_gw(&pw, g)), slot);
	T_EQ(pw.node[0].conn[slot].idx, idx);
	T(!pw_link_up(&pw, 0, g)); /* there was nothing to be made */
	T_EQ(pw.links, links);
	T_EQ(pw_slot(&pw, 0, pw_gw(&pw, !g)), TUNNEL_NO_SLOT);
	got = ps_exchange(0, &p, g, &far2);
	ps_carried(0, &p, g, &got);
	ps_close();
}

void s19_portal_reconnect_keeps_flows(void)
{
	struct pkt p = open_at_gateway(), q = ps_udp(0, &far2, 5000, 80), got;
	uint32_t links = pw.links, idx;

	T_EQ(pw_app_send(&pw, 0, &q), PS_R_UTX_BUFFERED);
	ps_serve();
	got = ps_took(PW_CLIENTS);
	idx = pw.node[0].conn[ps_slot(0, PW_CLIENTS)].idx;
	ps_carried(0, &p, 0, &p);

	/* Nothing has changed meanwhile: not even the kernel notices, at either end. */
	pw_portal_cut(&pw, 0);
	pw_portal_cut(&pw, PW_CLIENTS);
	pw_advance(&pw, 3 * NS_PER_SEC);
	ps_carried(0, &p, 0, &p);
	pw_portal_join(&pw, 0);
	pw_portal_join(&pw, PW_CLIENTS);
	ps_deliver();
	ps_carried(0, &p, 0, &p);

	/* Resource 2 has gone and 3 is new: flows of 1 go on, those of 2 end, 3 can be asked for.
	 */
	pw_portal_cut(&pw, 0);
	pw_portal_cut(&pw, PW_CLIENTS);
	pw_policy_set(&pw, 0, 2, false, 0);
	ps_permit(3, TUNNEL_RESOURCE_CIDR, "10.3.0.0/16");
	pw_portal_join(&pw, 0);
	pw_portal_join(&pw, PW_CLIENTS);
	ps_deliver();
	got = ps_exchange(0, &p, 0, &far1);
	ps_carried(0, &p, 0, &got);
	T_EQ(pw_app_send(&pw, 0, &q), PS_R_UTX_NO_PEER);
	ps_refused(0, &q, 0, PS_R_URX_REVOKED, ICMP_ERROR_NONE); /* and would hear nothing */
	T_EQ(pw.intent_count, 0);
	T_EQ(pw.links, links);
	T_EQ(pw.node[0].conn[ps_slot(0, PW_CLIENTS)].idx, idx);
	ps_permit(3, TUNNEL_RESOURCE_CIDR, "10.3.0.0/16");
	q = ps_udp(0, &(struct ipaddr){.family = 4, .b = {10, 3, 0, 1}}, 5000, 80);
	T_EQ(pw_app_send(&pw, 0, &q), PS_R_UTX_BUFFERED);
	ps_flow(0, 0);
	got = ps_took(PW_CLIENTS);
	ps_same(&got, &q);
	ps_close();
}

static void join_accepted(const struct pw_socket *s)
{
	char text[256];
	struct phx_frame f;

	if (!T_EQ(phx_frame_decode(&f, s->sent, strlen(s->sent)), PHX_FRAME_OK))
		return;
	T_STR(f.topic, "client");
	T_STR(f.event, "phx_join");
	snprintf(text, sizeof(text),
		 "{\"event\":\"phx_reply\",\"topic\":\"client\",\"ref\":%llu,"
		 "\"payload\":{\"status\":\"ok\",\"response\":{}}}",
		 (unsigned long long)f.ref);
	phx_frame_fini(&f);
	pw_socket_text(&pw, 0, text);
	T_EQ(pw.node[0].d->portal, PORTAL_CONNECTED);
}

/* That the node says so when its last relay is gone: tests/unit/test_node_relay_moves.c. With real
 * relays and a real portal: tests/netns/t_relay-survive.sh. Here: what comes of it, and that a flow
 * that is pending meanwhile is not lost. */
void s20_no_relays_portal_joined_anew(void)
{
	const struct node_event no_relays = {.kind = NODE_EV_NO_RELAYS};
	struct pw_socket *s;
	struct pkt p, got;
	uint64_t last;

	ps_open(1, 1, 1);
	ps_permit(1, TUNNEL_RESOURCE_CIDR, "10.1.0.0/16");
	s = pw_socket_open(&pw, 0);
	T_EQ(s->connects, 1);
	pw_socket_opened(&pw, 0);
	T_EQ(s->frames, 1);
	join_accepted(s);
	p = ps_udp(0, &far1, 5000, 80);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	pw_advance(&pw, 5 * NS_PER_SEC);
	T_EQ(s->connects, 1);

	pw_event_push(&pw.node[0], &no_relays);
	link_drain(pw.node[0].d, pw.now);
	pw_advance(&pw, NS_PER_SEC);
	T_EQ(s->closes, 1);
	T_EQ(s->connects, 2);
	last = s->connected_ns;
	pw_socket_opened(&pw, 0);
	join_accepted(s);

	/* The relays it names may be no better: the next time is not at once. */
	pw_event_push(&pw.node[0], &no_relays);
	link_drain(pw.node[0].d, pw.now);
	pw_advance(&pw, 5 * NS_PER_SEC);
	T_EQ(s->connects, 2);
	pw_advance(&pw, 6 * NS_PER_SEC);
	T_EQ(s->connects, 3);
	T(s->connected_ns - last >= 10 * NS_PER_SEC);
	pw_socket_opened(&pw, 0);
	join_accepted(s);
	pw_advance(&pw, 30 * NS_PER_SEC);
	T_EQ(s->connects, 3);

	T_EQ(ps_asked(0, 1), 1);
	ps_serve();
	got = ps_took(PW_CLIENTS);
	ps_same(&got, &p);
	ps_quiet();
	pw_socket_close(&pw, 0);
	ps_close();
}

void s21_gateway_vanishes_next_packet_asks(void)
{
	struct pkt p = open_at_gateway(), q, got;
	struct ipaddr proxies[8], real = pkt_ip("10.7.0.1");
	struct pw_out out;
	uint32_t slot;

	pw_zone_set(&pw, "a.one.test", &real, 1);
	ps_permit(3, TUNNEL_RESOURCE_DNS, "*.one.test");
	ps_ask(0, "a.one.test", DNS_TYPE_A, proxies);
	q = ps_udp(0, &proxies[0], 6000, 80);
	T_EQ(pw_app_send(&pw, 0, &q), PS_R_UTX_BUFFERED);
	ps_serve();
	ps_took(PW_CLIENTS);
	ps_exchange(0, &q, 0, &real);
	pw_advance(&pw, 3 * NS_PER_SEC);

	/* Without a word: the client finds out by silence. */
	pw_restart(&pw, PW_CLIENTS);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_SENT);
	ps_quiet();
	pw_link_lost(&pw, 0, 0, true, false);
	T_EQ(pw_slot(&pw, 0, PW_CLIENTS), TUNNEL_NO_SLOT);
	T(ps_cached_out(&pw.node[0], &p, &slot, &out) != PS_R_TX_SENT);
	T_EQ(pw.intent_count, 0); /* nobody is asked for nothing */
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	T_EQ(pw_app_send(&pw, 0, &q), PS_R_UTX_BUFFERED);
	T_EQ(ps_asked(0, 1), 2);
	T_EQ(ps_asked(0, 3), 2);
	ps_quiet();

	/* The new process serves both, the name after it has been told of it. */
	pw_portal_join(&pw, PW_CLIENTS);
	ps_deliver();
	ps_answer();
	ps_deliver();
	ps_flow(0, 0);
	T(pw_link_up(&pw, 0, 0));
	got = ps_took(PW_CLIENTS);
	ps_same(&got, &p);
	ps_quiet();
	ps_serve();
	got = ps_took(PW_CLIENTS);
	T(ipaddr_eq(&got.m.dst, &real));
	ps_quiet();
	ps_exchange(0, &p, 0, &far1);
	ps_exchange(0, &q, 0, &real);
	ps_close();
}

/* As the operator sees resource r. */
static void shown(uint8_t r, const char *status)
{
	json_t *list = json_array(), *o;
	char want[UUID_STRLEN];
	struct uuid id = pw_resource_id(r);
	bool found = false;
	size_t i;

	pw.node[0].d->role->view_resources(pw.node[0].d, list);
	uuid_fmt(&id, want);
	json_array_foreach(list, i, o)
	{
		if (strcmp(json_string_value(json_object_get(o, "id")), want) != 0)
			continue;
		found = true;
		T_STR(json_string_value(json_object_get(o, "status")), status);
	}
	T(found);
	json_decref(list);
}

/* The client has not noticed yet when it asks for something else there. */
void gateway_restarts_and_another_flow_tells(void)
{
	struct pkt p = open_at_gateway(), q = ps_udp(0, &far2, 5000, 80), got;

	ps_permit(2, TUNNEL_RESOURCE_CIDR, "10.2.0.0/16");
	pw_restart(&pw, PW_CLIENTS);
	pw_portal_join(&pw, PW_CLIENTS);
	ps_deliver();
	pw_advance(&pw, 3 * NS_PER_SEC);
	T_EQ(pw_app_send(&pw, 0, &q), PS_R_UTX_BUFFERED);
	ps_serve();
	got = ps_took(PW_CLIENTS);
	ps_same(&got, &q);

	/* The new process knows nothing of the first resource: asked for anew, at once. */
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	T_EQ(ps_asked(0, 1), 2);
	ps_serve();
	got = ps_took(PW_CLIENTS);
	ps_same(&got, &p);
	ps_exchange(0, &p, 0, &far1);
	ps_exchange(0, &q, 0, &far2);
	ps_close();
}

void s22_offline_site_is_shown(void)
{
	struct pkt p, got;

	ps_open(1, 1, 1);
	ps_permit(1, TUNNEL_RESOURCE_CIDR, "10.1.0.0/16");
	ps_define((struct pw_resource){
		.r = 2, .type = TUNNEL_RESOURCE_CIDR, .address = "10.2.0.0/16", .sites = 3});
	shown(1, "unknown");
	pw_portal_cut(&pw, PW_CLIENTS);
	p = ps_udp(0, &far1, 5000, 80);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	ps_serve();
	shown(1, "offline");
	shown(2, "unknown"); /* its other site may be there */

	/* What waited is gone; nobody is asked sooner than after two seconds, and then by traffic.
	 */
	pw_portal_join(&pw, PW_CLIENTS);
	pw_advance(&pw, 1900 * NS_PER_MS);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	T_EQ(ps_asked(0, 1), 1);
	pw_advance(&pw, 100 * NS_PER_MS);
	p = ps_udp(0, &far1, 5001, 80);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	T_EQ(ps_asked(0, 1), 2);
	if (pw.intent_count)
		pw_drop_intent(&pw, 0);

	/* It is not known for ever. */
	pw_advance(&pw, 297 * NS_PER_SEC);
	shown(1, "offline");
	pw_advance(&pw, 2 * NS_PER_SEC);
	shown(1, "unknown");
	p = ps_udp(0, &far1, 5002, 80);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	ps_serve();
	shown(1, "online");
	shown(2, "online");
	for (uint16_t port = 5000; port <= 5002; port++) {
		got = ps_took(PW_CLIENTS);
		T_EQ(got.m.sport, port);
	}
	pw_link_lost(&pw, 0, 0, true, true);
	shown(1, "unknown");
	ps_close();
}

void s24_goodbye_both_directions(void)
{
	struct pkt p = open_at_gateway(), got;
	uint8_t bye[P2P_CTL_GOODBYE_LEN];
	struct pw_out out;
	uint32_t slot;

	/* The gateway's: its last authorisation for the client is gone, which it alone was told. */
	pw_say(&pw, PW_CLIENTS, &(struct pw_msg){.kind = PW_REJECT, .r = 1});
	T_EQ(pw.control_count, 0); /* what comes meanwhile is refused with a reason */
	ps_refused(0, &p, 0, PS_R_URX_REVOKED, ICMP_ERROR_PROHIBITED);
	pw_advance(&pw, 4 * NS_PER_SEC);
	ps_on_its_way(PW_CLIENTS, 0, P2P_CTL_GOODBYE);
	T_EQ(pw.controls[0].inner_len, P2P_CTL_GOODBYE_LEN);
	T_EQ(pw_slot(&pw, PW_CLIENTS, 0), TUNNEL_NO_SLOT);
	T(pw_slot(&pw, 0, PW_CLIENTS) != TUNNEL_NO_SLOT);
	ps_arrives(0, false);
	T_EQ(pw_slot(&pw, 0, PW_CLIENTS), TUNNEL_NO_SLOT); /* at once, not when it is silent */
	T(ps_cached_out(&pw.node[0], &p, &slot, &out) != PS_R_TX_SENT);
	T_EQ(pw.control_count, 0); /* it is not answered */
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	T_EQ(ps_asked(0, 1), 2);
	ps_serve();
	got = ps_took(PW_CLIENTS);
	ps_same(&got, &p);
	got = ps_exchange(0, &p, 0, &far1);
	ps_carried(0, &p, 0, &got);

	/* The client's, as when its process ends (run.c): the connection goes, its authorisations
	 * stay, so that it can come back. */
	p2p_ctl_encode_goodbye(bye);
	data_goodbye(pw.node[0].d, pw_slot(&pw, 0, PW_CLIENTS), pw.now);
	pw_settle(&pw);
	ps_on_its_way(0, PW_CLIENTS, P2P_CTL_GOODBYE);
	T_EQ(pw.controls[0].inner_len, sizeof(bye));
	T_MEM(pw.controls[0].inner, bye, sizeof(bye));
	slot = ps_slot(PW_CLIENTS, 0);
	ps_arrives(0, false);
	T_EQ(pw_slot(&pw, PW_CLIENTS, 0), TUNNEL_NO_SLOT);
	T(ps_cached_in(&pw.node[PW_CLIENTS], slot, &p, &out) != PS_R_XDP_DELIVERED);
	T_EQ(pw.control_count, 0);
	T(tgw_find_client(&pw.node[PW_CLIENTS].d->tgw, &pw.node[0].id) != TUNNEL_NO_SLOT);
	got = ps_mirror(&p);
	T(pw_lan_send(&pw, 0, &got) != PS_R_UTX_SENT);
	ps_quiet();
	pw_link_lost(&pw, 0, 0, true, false);
	pw_advance(&pw, 2 * NS_PER_SEC);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	ps_serve();
	got = ps_took(PW_CLIENTS);
	ps_same(&got, &p);
	ps_exchange(0, &p, 0, &far1);
	ps_close();
}

/* To a node, as its peer could send it. */
static void ignored(uint8_t from, uint8_t to, const uint8_t *pkt, size_t len, enum ps_reason_id why)
{
	uint64_t controls = pw.n.controls;

	T_EQ(pw_rogue_send(&pw, from, to, pkt, len), why);
	T_EQ(pw.n.controls, controls);
	ps_quiet();
}

void s25_unknown_control_event_ignored(void)
{
	static const char status[] = "{\"resource\":\"5e000000-0000-0000-0000-000000000001\","
				     "\"domain\":\"x.test\",\"status\":\"Active\"}";
	struct pkt p = open_at_gateway();
	uint32_t links = pw.links;
	uint8_t msg[256];
	size_t len;

	for (uint8_t way = 0; way < 2; way++) {
		uint8_t from = way ? PW_CLIENTS : 0, to = way ? 0 : PW_CLIENTS;

		for (unsigned type = 3; type < 256; type++) {
			if (type == P2P_CTL_MTU_PROBE || type == P2P_CTL_MTU_ACK)
				continue;
			T_EQ(p2p_ctl_encode((uint8_t)type, status, sizeof(status) - 1, msg,
					    sizeof(msg), &len),
			     0);
			ignored(from, to, msg, len, PS_R_URX_CONTROL_UNKNOWN);
		}
		/* known ones, from the wrong side, without sense, cut off */
		T_EQ(p2p_ctl_encode(way ? P2P_CTL_ASSIGNED_IPS : P2P_CTL_DOMAIN_STATUS, status,
				    sizeof(status) - 1, msg, sizeof(msg), &len),
		     0);
		ignored(from, to, msg, len, PS_R_URX_CONTROL_UNKNOWN);
		T_EQ(p2p_ctl_encode(way ? P2P_CTL_DOMAIN_STATUS : P2P_CTL_ASSIGNED_IPS, "{", 1, msg,
				    sizeof(msg), &len),
		     0);
		ignored(from, to, msg, len, PS_R_URX_CONTROL_MALFORMED);
		p2p_ctl_encode_goodbye(msg);
		be16_put(msg + 4, 7); /* shorter than its event */
		ignored(from, to, msg, P2P_CTL_GOODBYE_LEN - 1, PS_R_URX_CONTROL_MALFORMED);
	}
	T_EQ(pw.links, links);
	T(pw_link_ok(&pw, 0, 0));
	ps_carried(0, &p, 0, &p); /* not even the kernel's flows have noticed */
	ps_exchange(0, &p, 0, &far1);
	ps_close();
}
