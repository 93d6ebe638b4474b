/* SPDX-License-Identifier: Apache-2.0
 *
 * On top of the fixture: a client asks for a flow, a gateway confirms it. */
#ifndef PENSTOCK_TESTS_PORTAL_FLOW_H
#define PENSTOCK_TESTS_PORTAL_FLOW_H
#include "tests/unit/portal_fixture.h"

static inline void ask(uint64_t client, const char *resource, const char *connected)
{
	fx_sayf(client,
		"{'topic':'client','event':'create_flow','ref':1,'payload':{'resource_id':'%s',"
		"'connected_gateway_ids':[%s]}}",
		resource, connected);
}

static inline bool expect_failed(uint64_t client, const char *resource, const char *reason)
{
	char want[512];

	snprintf(want, sizeof(want),
		 "{'topic':'client','event':'flow_creation_failed','ref':null,"
		 "'payload':{'resource_id':'%s','reason':'%s'}}",
		 resource, reason);
	return fx_expect(client, want);
}

/* The gateway's authorize_flow; its correlation reference. */
static inline void take_authorize(uint64_t gateway, char ref[64])
{
	json_t *v = fx_frame(gateway);

	T_STR(json_string_value(json_object_get(v, "event")), "authorize_flow");
	snprintf(ref, 64, "%s",
		 json_string_value(json_object_get(json_object_get(v, "payload"), "ref")));
	json_decref(v);
}

static inline void confirm(uint64_t gateway, const char *ref)
{
	fx_sayf(gateway,
		"{'topic':'gateway','event':'flow_authorized','ref':4,'payload':{'ref':'%s'}}",
		ref);
}

static inline bool expect_reply(uint64_t gateway, const char *payload)
{
	char want[256];

	snprintf(want, sizeof(want), "{'topic':'gateway','event':'phx_reply','ref':4,'payload':%s}",
		 payload);
	return fx_expect(gateway, want);
}

static const char ok_reply[] = "{'status':'ok','response':{}}";
static const char bad_ref[] = "{'status':'error','response':{'reason':'invalid_ref'}}";

/* The gateway takes on what it is asked next. */
static inline void serve(uint64_t gateway)
{
	char ref[64];

	take_authorize(gateway, ref);
	confirm(gateway, ref);
	T(expect_reply(gateway, ok_reply));
}
#endif
