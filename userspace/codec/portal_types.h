/* SPDX-License-Identifier: Apache-2.0
 *
 * Internal to codec/portal_msg: the payload types that several messages share (spec portal §3). */
#ifndef PENSTOCK_CODEC_PORTAL_TYPES_H
#define PENSTOCK_CODEC_PORTAL_TYPES_H
#include "codec/pjson.h"

enum ptype_view { PTYPE_VIEW_CLIENT, PTYPE_VIEW_GATEWAY };

/* Element checks for pjson_list(). */
int ptype_check_string(const struct pjson *el);
int ptype_check_uuid(const struct pjson *el);
int ptype_check_relay(const struct pjson *el);
int ptype_check_authorization(const struct pjson *el);
/* Only that it is an object with a type: what is in it is judged one by one later. */
int ptype_check_client_resource(const struct pjson *el);

int ptype_interface(const struct pjson *at, bool with_dns, struct pmsg_interface *out);
int ptype_ice_creds(const struct pjson *obj, const char *key, struct pmsg_ice_creds *out);
int ptype_resource(const struct pjson *at, enum ptype_view view, struct pmsg_resource *out);
#endif
