/* SPDX-License-Identifier: Apache-2.0
 *
 * Every message of a SEED portal session, both roles, fed as whole frames; then what must be
 * refused, what must be tolerated, and mutations of all of it. */
#include "tests/t.h"
#include <errno.h>
#include "base/b64.h"
#include "codec/phx_frame.h"
#include "codec/portal_msg.h"

#define RES    "55555555-5555-4555-8555-555555555555"
#define SITE   "66666666-6666-4666-8666-666666666666"
#define CLIENT "11111111-1111-4111-8111-111111111111"
#define GW     "22222222-2222-4222-8222-222222222222"
#define RELAY  "77777777-7777-4777-8777-777777777777"
#define CPK    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define GPK    "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="
#define PSK    "nf/zxFPO6UthXqXx5mQvtNZLT0cwCJiO6nYyJhnspc4="
#define ICE_C  "{\"username\":\"w7up\",\"password\":\"ksqwm66pilnb7skdwwfw3r\"}"
#define ICE_G  "{\"username\":\"kwe6\",\"password\":\"mzkrj52x5h5ebrfdsh5iyq\"}"
#define TURN(id, addr)                                                             \
	"{\"id\":\"" id "\",\"type\":\"turn\",\"addr\":\"" addr "\","              \
	"\"username\":\"1900000000:kF8o3vGOqsBa5vErLDRSdEr69ibaE0PVezlbVE4FGbY\"," \
	"\"password\":\"TERV4aTWD1ueDH+lbJ/Jgf2ZEZbiodtd7/g6QhyYcso\",\"expires_at\":1900000000}"
#define IFACE "\"ipv4\":\"100.64.3.7\",\"ipv6\":\"fd00:2021:1111::3:7\""
#define CIDR(x) \
	"{\"id\":\"" RES "\",\"type\":\"cidr\",\"address\":\"10.20.0.0/16\",\"name\":\"lab\"" x "}"
#define SITES ",\"gateway_groups\":[{\"id\":\"" SITE "\",\"name\":\"site-a\"}]"
#define IDS   "\"client_id\":\"" CLIENT "\",\"resource_id\":\"" RES "\""

#define CLIENT_INIT                                                                                                               \
	"{\"interface\":{" IFACE ",\"upstream_dns\":[{\"protocol\":\"ip_port\","                                                  \
	"\"address\":\"198.51.100.53:53\"}],\"search_domain\":null},\"resources\":[" CIDR(                                        \
		",\"address_description\":null" SITES                                                                             \
		",\"filters\":[{\"protocol\":\"tcp\",\"port_range_start\":80}]") ","                                              \
										 "{\"id\":\"" RES                                 \
										 "\",\"type\":"                                   \
										 "\"dns\","                                       \
										 "\"address\":\"*"                                \
										 "*.corp."                                        \
										 "example\","                                     \
										 "\"name\":"                                      \
										 "\"corp\","                                      \
										 "\"filters\":[{"                                 \
										 "\"protocol\":"                                  \
										 "\"gre\"}],\"ip_"                                \
										 "stack\":\"ipv4_"                                \
										 "only\"" SITES                                   \
										 "},{\"id\":"                                     \
										 "\"" RES                                         \
										 "\",\"type\":"                                   \
										 "\"internet"                                     \
										 "\"" SITES                                       \
										 ",\"can_be_"                                     \
										 "disabled\":"                                    \
										 "true},{\"id\":"                                 \
										 "\"" RES                                         \
										 "\",\"type\":"                                   \
										 "\"device_"                                      \
										 "pool\"},"                                       \
										 "{\"id\":\"" RES                                 \
										 "\",\"type\":"                                   \
										 "\"cidr\","                                      \
										 "\"address\":"                                   \
										 "\"10.0.0.1/"                                    \
										 "8\",\"name\":"                                  \
										 "\"bad\"" SITES                                  \
										 "}],\"relays\":"                                 \
										 "[" TURN(RELAY, "203.0.113.10:3478") "," TURN(   \
											 RELAY,                                   \
											 "[2001:"                                 \
											 "db8::"                                  \
											 "10]:"                                   \
											 "3478") ",{\"id\":\"" GW                 \
												 "\",\"type\":\"stun\",\"addr\":" \
												 "\"203.0.113.11:3478\"}," TURN(  \
													 CLIENT,                  \
													 "203.0.113.12:"          \
													 "3478") "]}"
#define GATEWAY_INIT                                                                             \
	"{\"interface\":{" IFACE "},\"config\":{\"ipv4_masquerade_enabled\":true,"               \
	"\"ipv6_masquerade_enabled\":false},\"account_slug\":\"acme\",\"authorizations\":[{" IDS \
	"},{" IDS                                                                                \
	",\"expires_at\":1900000000}],\"relays\":[" TURN(RELAY, "203.0.113.10:3478") "]}"
#define AUTHORIZE(resource, expiry)                                                        \
	"{\"ref\":\"corr-1\",\"resource\":" resource ",\"client\":{\"id\":\"" CLIENT "\"," \
	"\"public_key\":\"" CPK "\",\"preshared_key\":\"" PSK "\"," IFACE "},"             \
	"\"client_ice_credentials\":" ICE_C ",\"gateway_ice_credentials\":" ICE_G expiry "}"
#define FLOW_CREATED(psk)                                                                     \
	"{\"resource_id\":\"" RES "\",\"gateway_id\":\"" GW "\",\"gateway_group_id\":\"" SITE \
	"\",\"gateway_public_key\":\"" GPK "\",\"gateway_ipv4\":\"100.64.9.9\","              \
	"\"gateway_ipv6\":\"fd00:2021:1111::9:9\",\"preshared_key\":\"" psk "\","             \
	"\"client_ice_credentials\":" ICE_C ",\"gateway_ice_credentials\":" ICE_G "}"
#define FILTERS                                                                                \
	",\"filters\":[{\"protocol\":\"tcp\",\"port_range_start\":80,\"port_range_end\":443}," \
	"{\"protocol\":\"udp\"},{\"protocol\":\"icmp\"}]"

static struct phx_frame frame;
static struct pmsg m;
static struct pmsg_err err;

static int decode(enum pmsg_role role, const char *event, const char *payload)
{
	static char text[16384];
	int n = snprintf(text, sizeof(text),
			 "{\"topic\":\"%s\",\"event\":\"%s\",\"ref\":null,\"payload\":%s}",
			 role == PMSG_ROLE_CLIENT ? "client" : "gateway", event, payload);

	if (frame.payload)
		phx_frame_fini(&frame);
	if (!T_EQ(phx_frame_decode(&frame, text, (size_t)n), PHX_FRAME_OK))
		t_note("%s: %s", frame.why, text);
	return pmsg_decode(&m, role, frame.event, frame.payload, &err);
}

#define C(event, payload) decode(PMSG_ROLE_CLIENT, event, payload)
#define G(event, payload) decode(PMSG_ROLE_GATEWAY, event, payload)

static bool id_is(struct uuid id, const char *text)
{
	char buf[UUID_STRLEN];

	return !strcmp(uuid_fmt(&id, buf), text);
}

static bool ip_is(struct ipaddr ip, const char *text)
{
	char buf[IPADDR_STRLEN];

	return !strcmp(ipaddr_fmt(&ip, buf), text);
}

static bool endpoint_is(struct endpoint e, const char *text)
{
	char buf[ENDPOINT_STRLEN];

	return !strcmp(endpoint_fmt(&e, buf), text);
}

static bool key_is(const uint8_t *key, const char *text)
{
	char buf[B64_KEY_STRLEN];

	return !strcmp(b64_encode(key, 32, buf), text);
}

static void check_relays(struct pmsg_list relays)
{
	struct pmsg_relay r;
	size_t cursor = 0;

	T(pmsg_relay_next(relays, &cursor, &r));
	T(id_is(r.id, RELAY));
	T(endpoint_is(r.v4, "203.0.113.10:3478") && endpoint_is(r.v6, "[2001:db8::10]:3478"));
	T_STR(r.username, "1900000000:kF8o3vGOqsBa5vErLDRSdEr69ibaE0PVezlbVE4FGbY");
	T_STR(r.password, "TERV4aTWD1ueDH+lbJ/Jgf2ZEZbiodtd7/g6QhyYcso");
	T_EQ(r.expires_at, 1900000000);
	T(pmsg_relay_next(relays, &cursor, &r));
	T(id_is(r.id, CLIENT) && endpoint_is(r.v4, "203.0.113.12:3478") && r.v6.ip.family == 0);
	T(!pmsg_relay_next(relays, &cursor, &r));
}

static void test_client_init(void)
{
	const struct pmsg_client_init *i = &m.client_init;
	struct pmsg_resource r;
	char buf[IPNET_STRLEN];

	T_EQ(C("init", CLIENT_INIT), 0);
	T_EQ(m.kind, PMSG_CLIENT_INIT);
	T(ip_is(i->interface.v4, "100.64.3.7") && ip_is(i->interface.v6, "fd00:2021:1111::3:7"));
	T_EQ(pmsg_count(i->interface.dns), 1);
	T(endpoint_is(pmsg_dns_at(i->interface.dns, 0), "198.51.100.53:53"));
	T(i->interface.search_domain == NULL);
	T_EQ(pmsg_count(i->resources), 5);
	T_EQ(pmsg_client_resource_at(i->resources, 0, &r, &err), 0);
	T_EQ(r.type, PMSG_RESOURCE_CIDR);
	T_STR(ipnet_fmt(&r.net, buf), "10.20.0.0/16");
	T_STR(r.name, "lab");
	T(r.description == NULL && r.ip_stack == PMSG_STACK_DUAL);
	T_EQ(pmsg_count(r.sites), 1);
	T_EQ(pmsg_count(r.filters), 1);
	T_EQ(pmsg_filter_at(r.filters, 0).port_first, 80);
	T(id_is(pmsg_site_at(r.sites, 0).id, SITE));
	T_STR(pmsg_site_at(r.sites, 0).name, "site-a");
	T_EQ(pmsg_client_resource_at(i->resources, 1, &r, &err), 0);
	T(r.type == PMSG_RESOURCE_DNS && r.ip_stack == PMSG_STACK_V4);
	T_EQ(pmsg_count(r.filters), 0); /* of a kind we do not know: the gateway's business */
	T_STR(r.dns_pattern, "**.corp.example");
	T_EQ(pmsg_client_resource_at(i->resources, 2, &r, &err), 0);
	T_EQ(r.type, PMSG_RESOURCE_INTERNET);
	T_STR(r.name, "Internet Resource");
	T_EQ(pmsg_client_resource_at(i->resources, 3, &r, &err), -EPROTONOSUPPORT);
	T_STR(err.field, "[3].type");
	T_EQ(pmsg_client_resource_at(i->resources, 4, &r, &err), -EPROTONOSUPPORT);
	T_STR(err.field, "[4].address");
	check_relays(i->relays);
	T_EQ(C("init", "{\"interface\":{" IFACE "}}"), 0);
	T_EQ(pmsg_count(m.client_init.resources) + pmsg_count(m.client_init.relays), 0);
}

static void test_gateway_init(void)
{
	const struct pmsg_gateway_init *i = &m.gateway_init;

	T_EQ(G("init", GATEWAY_INIT), 0);
	T(i->v4_masquerade && !i->v6_masquerade);
	T_STR(i->account_slug, "acme");
	T(i->has_authorizations);
	T_EQ(pmsg_count(i->authorizations), 2);
	T(id_is(pmsg_authorization_at(i->authorizations, 0).client_id, CLIENT));
	T(!pmsg_authorization_at(i->authorizations, 0).has_expires_at);
	T_EQ(pmsg_authorization_at(i->authorizations, 1).expires_at, 1900000000);
	T_EQ(G("init", "{\"interface\":{" IFACE "},\"config\":{\"ipv4_masquerade_enabled\":true,"
		       "\"ipv6_masquerade_enabled\":true}}"),
	     0);
	T(!i->has_authorizations);
}

static void test_client_flow(void)
{
	T_EQ(C("flow_created", FLOW_CREATED(PSK)), 0);
	T(id_is(m.flow_created.resource_id, RES) && id_is(m.flow_created.gateway_id, GW));
	T(id_is(m.flow_created.site_id, SITE));
	T(key_is(m.flow_created.gateway_key, GPK) && key_is(m.flow_created.psk, PSK));
	T(ip_is(m.flow_created.gateway_v4, "100.64.9.9"));
	T_STR(m.flow_created.client_ice.username, "w7up");
	T_STR(m.flow_created.gateway_ice.password, "mzkrj52x5h5ebrfdsh5iyq");
	pmsg_fini(&m);
	T_EQ(m.flow_created.psk[0], 0);
	T_EQ(C("flow_creation_failed",
	       "{\"resource_id\":\"" RES
	       "\",\"reason\":\"forbidden\",\"violated_properties\":[\"remote_ip\"]}"),
	     0);
	T_EQ(m.flow_creation_failed.reason, PMSG_FLOW_FORBIDDEN);
	T_STR(pmsg_string_at(m.flow_creation_failed.violated_properties, 0), "remote_ip");
	T_EQ(C("flow_creation_failed", "{\"resource_id\":\"" RES "\",\"reason\":\"new\"}"), 0);
	T_EQ(m.flow_creation_failed.reason, PMSG_FLOW_UNKNOWN_REASON);
	T_EQ(C("ice_candidates",
	       "{\"gateway_id\":\"" GW "\",\"candidates\":[\"candidate:a1 1 udp 1 192.0.2.5 5 typ "
	       "host\",\"b\"]}"),
	     0);
	T(m.kind == PMSG_CANDIDATES && id_is(m.candidates.peer_id, GW));
	T_EQ(pmsg_count(m.candidates.lines), 2);
	T_STR(pmsg_string_at(m.candidates.lines, 1), "b");
	T_EQ(C("invalidate_ice_candidates", "{\"gateway_id\":\"" GW "\",\"candidates\":[]}"), 0);
	T_EQ(m.kind, PMSG_INVALIDATED_CANDIDATES);
}

static void test_client_changes(void)
{
	T_EQ(C("resource_deleted", "\"" RES "\""), 0);
	T(id_is(m.resource_deleted, RES));
	T_EQ(C("resource_deleted", "{\"id\":\"" RES "\"}"), -EBADMSG);
	T_EQ(C("resource_created_or_updated", CIDR(SITES)), 0);
	T_EQ(C("resource_created_or_updated", "{\"id\":\"" RES "\",\"type\":\"new\"}"),
	     -EPROTONOSUPPORT);
	T_EQ(C("resource_created_or_updated", "{\"id\":\"" RES "\"}"), -EBADMSG);
	T_STR(err.field, "type");
	T_EQ(C("config_changed", "{\"interface\":{" IFACE ",\"search_domain\":\"corp.example\"}}"),
	     0);
	T_STR(m.config_changed.search_domain, "corp.example");
	T_EQ(C("relays_presence", "{\"disconnected_ids\":[\"" RELAY
				  "\"],\"connected\":[" TURN(RELAY, "203.0.113.10:3478") "]}"),
	     0);
	T(id_is(pmsg_uuid_at(m.relays_presence.disconnected, 0), RELAY));
	T_EQ(pmsg_count(m.relays_presence.connected), 1);
	T_EQ(C("relays_presence", "{\"connected\":[]}"), -EBADMSG);
	T_STR(err.field, "disconnected_ids");
	T_EQ(C("disconnect", "{\"reason\":\"token_expired\"}"), 0);
	T_STR(m.disconnect_reason, "token_expired");
	T_EQ(C("authorize_flow", "{}"), -ENOENT); /* not this role's */
	T_EQ(C("nonsense", "{}"), -ENOENT);
}

static void test_gateway_flow(void)
{
	const struct pmsg_authorize_flow *f = &m.authorize_flow;

	T_EQ(G("authorize_flow", AUTHORIZE(CIDR(FILTERS), ",\"expires_at\":1900000000")), 0);
	T_STR(f->ref, "corr-1");
	T(id_is(f->client_id, CLIENT) && key_is(f->client_key, CPK) && key_is(f->psk, PSK));
	T(ip_is(f->client_v6, "fd00:2021:1111::3:7"));
	T(f->expires && f->expires_at == 1900000000);
	T_EQ(pmsg_count(f->resource.filters), 3);
	T_EQ(pmsg_filter_at(f->resource.filters, 0).proto, PMSG_PROTO_TCP);
	T_EQ(pmsg_filter_at(f->resource.filters, 0).port_first, 80);
	T_EQ(pmsg_filter_at(f->resource.filters, 0).port_last, 443);
	T_EQ(pmsg_filter_at(f->resource.filters, 1).proto, PMSG_PROTO_UDP);
	T_EQ(pmsg_filter_at(f->resource.filters, 1).port_last, 65535);
	T_EQ(pmsg_filter_at(f->resource.filters, 2).proto, PMSG_PROTO_ICMP);
	T_EQ(G("authorize_flow", AUTHORIZE(CIDR(",\"filters\":[]"), ",\"expires_at\":null")), 0);
	T(!f->expires && pmsg_count(f->resource.filters) == 0);
	T_EQ(G("authorize_flow",
	       AUTHORIZE("{\"id\":\"" RES "\",\"type\":\"internet\"}", ",\"expires_at\":null")),
	     0);
	T_EQ(G("reject_access", "{" IDS "}"), 0);
	T(id_is(m.access.client_id, CLIENT) && id_is(m.access.resource_id, RES));
	T_EQ(G("access_authorization_expiry_updated", "{" IDS ",\"expires_at\":5}"), 0);
	T_EQ(m.access.expires_at, 5);
	T_EQ(G("access_authorization_expiry_updated", "{" IDS ",\"expires_at\":null}"), -EBADMSG);
	T_EQ(G("resource_updated", CIDR(FILTERS)), 0);
	T_EQ(pmsg_count(m.resource.filters), 3);
	T_EQ(G("ice_candidates", "{\"client_id\":\"" CLIENT "\",\"candidates\":[\"x\"]}"), 0);
	T(id_is(m.candidates.peer_id, CLIENT));
}

/* What is wrong is named. */
static void test_errors_name_the_field(void)
{
	static const struct {
		const char *event, *payload, *field;
	} table[] = {
		{"authorize_flow", AUTHORIZE(CIDR(FILTERS), ""), "expires_at"},
		{"authorize_flow", AUTHORIZE(CIDR(""), ",\"expires_at\":1"), "resource.filters"},
		{"authorize_flow", AUTHORIZE(CIDR(FILTERS), ",\"expires_at\":-1"), "expires_at"},
		{"authorize_flow", AUTHORIZE(CIDR(FILTERS), ",\"expires_at\":\"1\""), "expires_at"},
		{"authorize_flow",
		 AUTHORIZE("{\"id\":\"" RES "\",\"type\":\"new\"}", ",\"expires_at\":1"),
		 "resource.type"},
		{"authorize_flow",
		 AUTHORIZE(CIDR(",\"filters\":[{\"protocol\":\"sctp\"}]"), ",\"expires_at\":1"),
		 "resource.filters[0].protocol"},
		{"authorize_flow",
		 AUTHORIZE(CIDR(",\"filters\":[{\"protocol\":\"tcp\",\"port_range_start\":9,\"port_"
				"range_end\":8}]"),
			   ",\"expires_at\":1"),
		 "resource.filters[0].port_range_end"},
		{"authorize_flow",
		 AUTHORIZE(CIDR(",\"filters\":[{\"protocol\":\"tcp\",\"port_range_end\":65536}]"),
			   ",\"expires_at\":1"),
		 "resource.filters[0].port_range_end"},
		{"init", "{\"interface\":{" IFACE "}}", "config"},
		{"init", "[]", "payload"},
		{"reject_access", "null", "payload"},
		{"reject_access", "{\"client_id\":\"x\",\"resource_id\":\"" RES "\"}", "client_id"},
		{"ice_candidates", "{\"client_id\":\"" CLIENT "\",\"candidates\":[\"a\",1]}",
		 "candidates[1]"},
		{"ice_candidates", "{\"client_id\":\"" CLIENT "\",\"candidates\":\"a\"}",
		 "candidates"},
		{"relays_presence",
		 "{\"disconnected_ids\":[],\"connected\":[{\"id\":\"" RELAY
		 "\",\"type\":\"new\"}]}",
		 "connected[0].type"},
		{"relays_presence",
		 "{\"disconnected_ids\":[],\"connected\":[{\"id\":\"" RELAY
		 "\",\"type\":\"turn\",\"addr\":\"1.2.3.4\"}]}",
		 "connected[0].addr"},
	};
	static const struct {
		const char *event, *payload, *field;
	} client[] = {
		{"init", "{\"interface\":{\"ipv4\":\"100.64.3.7/32\",\"ipv6\":\"::1\"}}",
		 "interface.ipv4"},
		{"init", "{\"interface\":{\"ipv4\":\"::1\",\"ipv6\":\"::1\"}}", "interface.ipv4"},
		{"init", "{\"interface\":{" IFACE "},\"resources\":[{\"id\":\"" RES "\"}]}",
		 "resources[0].type"},
		{"init", "{\"interface\":{" IFACE ",\"upstream_dns\":[{\"protocol\":\"doh\"}]}}",
		 "interface.upstream_dns[0].protocol"},
		{"flow_created", FLOW_CREATED("bm90IGEga2V5"), "preshared_key"},
		{"flow_created", "{}", "resource_id"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		T_EQ(G(table[i].event, table[i].payload), -EBADMSG);
		T_STR(err.field, table[i].field);
		T(err.why[0] != '\0');
	}
	for (size_t i = 0; i < sizeof(client) / sizeof(client[0]); i++) {
		T_EQ(C(client[i].event, client[i].payload), -EBADMSG);
		T_STR(err.field, client[i].field);
	}
}

static void test_encode(void)
{
	struct uuid res, gws[2];
	const char *lines[] = {"candidate:a1 1 udp 2130706431 192.0.2.5 52625 typ host", "q\"\\\n"};
	char buf[512];

	uuid_parse(RES, &res);
	uuid_parse(GW, &gws[0]);
	uuid_parse(CLIENT, &gws[1]);
	T_EQ(pmsg_encode_create_flow(&res, NULL, 0, buf, sizeof(buf)), 0);
	T_STR(buf, "{\"resource_id\":\"" RES "\",\"connected_gateway_ids\":[]}");
	T_EQ(pmsg_encode_create_flow(&res, gws, 2, buf, sizeof(buf)), 0);
	T_STR(buf, "{\"resource_id\":\"" RES "\",\"connected_gateway_ids\":[\"" GW "\",\"" CLIENT
		   "\"]}");
	for (size_t cap = 0; cap <= strlen(buf); cap += 7) {
		char small[512];

		T_EQ(pmsg_encode_create_flow(&res, gws, 2, small, cap), -EMSGSIZE);
	}
	T_EQ(pmsg_encode_flow_authorized("corr-\"1", buf, sizeof(buf)), 0);
	T_STR(buf, "{\"ref\":\"corr-\\\"1\"}");
	T_EQ(pmsg_encode_candidates(PMSG_ROLE_GATEWAY, &gws[1], lines, 1, buf, sizeof(buf)), 0);
	T_STR(buf, "{\"client_ids\":[\"" CLIENT
		   "\"],\"candidates\":[\"candidate:a1 1 udp 2130706431 192.0.2.5 52625 "
		   "typ host\"]}");
	T_EQ(pmsg_encode_candidates(PMSG_ROLE_CLIENT, &gws[0], lines + 1, 1, buf, sizeof(buf)), 0);
	T_STR(buf, "{\"gateway_ids\":[\"" GW "\"],\"candidates\":[\"q\\\"\\\\\\n\"]}");
	T_EQ(pmsg_encode_flow_authorized("\xff", buf, sizeof(buf)), -ENOMEM);
}

/* Take one byte away or change it, everywhere, in every message. */
static void test_mutations(void)
{
	static const struct {
		enum pmsg_role role;
		const char *event, *payload;
	} table[] = {
		{PMSG_ROLE_CLIENT, "init", CLIENT_INIT},
		{PMSG_ROLE_CLIENT, "flow_created", FLOW_CREATED(PSK)},
		{PMSG_ROLE_GATEWAY, "init", GATEWAY_INIT},
		{PMSG_ROLE_GATEWAY, "authorize_flow",
		 AUTHORIZE(CIDR(FILTERS), ",\"expires_at\":1")},
	};
	uint64_t rng = t_seed(), bad = 0, good = 0;
	static char text[8192];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		size_t len = strlen(table[i].payload);

		for (size_t at = 0; at < 2 * len; at++) {
			json_t *payload;

			memcpy(text, table[i].payload, len);
			if (at < len)
				memmove(text + at, text + at + 1, len - at - 1);
			else
				text[at - len] = (char)t_rand(&rng);
			payload = json_loadb(text, at < len ? len - 1 : len, JSON_DECODE_ANY, NULL);
			if (!payload)
				continue;
			if (pmsg_decode(&m, table[i].role, table[i].event, payload, &err))
				bad++;
			else
				good++;
			json_decref(payload);
		}
	}
	T(good > 100 && bad > 100);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_client_init);
	T_RUN(test_gateway_init);
	T_RUN(test_client_flow);
	T_RUN(test_client_changes);
	T_RUN(test_gateway_flow);
	T_RUN(test_errors_name_the_field);
	T_RUN(test_encode);
	T_RUN(test_mutations);
	phx_frame_fini(&frame);
	return t_done();
}
