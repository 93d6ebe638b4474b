/* SPDX-License-Identifier: Apache-2.0
 *
 * The payloads a client and a gateway send (spec portal §4). */
#include "codec/portal_msg.h"
#include <errno.h>

/* Takes over obj. NULL (or a child that could not be made) is -ENOMEM. */
static int payload_dump(json_t *obj, char *buf, size_t cap)
{
	size_t len = obj ? json_dumpb(obj, buf, cap, JSON_COMPACT) : 0;

	json_decref(obj);
	if (!len)
		return -ENOMEM;
	if (len >= cap)
		return -EMSGSIZE;
	buf[len] = '\0';
	return 0;
}

static json_t *uuid_json(const struct uuid *id)
{
	char text[UUID_STRLEN];

	return json_string(uuid_fmt(id, text));
}

static json_t *uuids_json(const struct uuid *ids, size_t n)
{
	json_t *arr = json_array();

	for (size_t i = 0; i < n; i++)
		if (json_array_append_new(arr, uuid_json(&ids[i]))) {
			json_decref(arr);
			return NULL;
		}
	return arr;
}

static json_t *strings_json(const char *const *lines, size_t n)
{
	json_t *arr = json_array();

	for (size_t i = 0; i < n; i++)
		if (json_array_append_new(arr, json_string(lines[i]))) {
			json_decref(arr);
			return NULL;
		}
	return arr;
}

int pmsg_encode_create_flow(const struct uuid *resource_id, const struct uuid *connected_gateways,
			    size_t n_gateways, char *buf, size_t cap)
{
	return payload_dump(json_pack("{s:o,s:o}", "resource_id", uuid_json(resource_id),
				      "connected_gateway_ids",
				      uuids_json(connected_gateways, n_gateways)),
			    buf, cap);
}

int pmsg_encode_flow_authorized(const char *ref, char *buf, size_t cap)
{
	return payload_dump(json_pack("{s:s}", "ref", ref), buf, cap);
}

int pmsg_encode_candidates(enum pmsg_role role, const struct uuid *peer_id,
			   const char *const *lines, size_t n_lines, char *buf, size_t cap)
{
	return payload_dump(
		json_pack("{s:o,s:o}", role == PMSG_ROLE_CLIENT ? "gateway_ids" : "client_ids",
			  uuids_json(peer_id, 1), "candidates", strings_json(lines, n_lines)),
		buf, cap);
}
