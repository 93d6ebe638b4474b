/* SPDX-License-Identifier: Apache-2.0
 *
 * Relays that never join: any TURN server, with the credentials it takes. And where things stand.
 */
#include <stdlib.h>
#include <string.h>

#include "apps/portal/config_sections.h"

bool config_location(struct dec *d, const json_t *v, struct place *out)
{
	json_t *list;
	size_t n;

	*out = (struct place){.known = false};
	if (!dec_array(d, v, "location", DEC_OPTIONAL, 2, &list, &n))
		return false;
	if (!list)
		return true;
	if (n != 2 || !json_is_number(json_array_get(list, 0)) ||
	    !json_is_number(json_array_get(list, 1)) ||
	    !place_set(out, json_number_value(json_array_get(list, 0)),
		       json_number_value(json_array_get(list, 1))))
		return dec_fail_key(d, "location", "must be [latitude, longitude] in degrees");
	return true;
}

static bool address(struct dec *d, const json_t *v, const char *key, uint8_t family,
		    struct endpoint *out)
{
	const char *text;

	*out = (struct endpoint){0};
	if (!dec_str(d, v, key, DEC_OPTIONAL, 1, ENDPOINT_STRLEN, &text))
		return false;
	if (!text)
		return true;
	if (endpoint_parse(text, out) || out->ip.family != family || !out->port ||
	    ipaddr_is_unspecified(&out->ip) || ipaddr_is_multicast(&out->ip))
		return dec_fail_key(d, key, "must be %s:port", family == 4 ? "IPv4" : "[IPv6]");
	return true;
}

static bool credentials(struct dec *d, const json_t *v, struct config_relay *r)
{
	if (!dec_str(d, v, "username", DEC_OPTIONAL, 1, TURN_TEXT_MAX, &r->username) ||
	    !dec_str(d, v, "password", DEC_OPTIONAL, 1, TURN_TEXT_MAX, &r->password) ||
	    !dec_str(d, v, "shared_secret", DEC_OPTIONAL, 1, CONFIG_NAME_MAX, &r->shared_secret))
		return false;
	if (!r->username != !r->password)
		return dec_fail_key(d, r->username ? "password" : "username", "is missing");
	if (!r->username == !r->shared_secret)
		return dec_fail_key(d, "shared_secret",
				    "or \"username\" and \"password\" must be given, and not both");
	return true;
}

static bool relay_one(struct dec *d, const json_t *v, struct config_relay *r)
{
	static const char *const keys[] = {"id",       "addr4",		"addr6",    "username",
					   "password", "shared_secret", "location", NULL};
	char name[ENDPOINT_STRLEN];

	if (!dec_object(d, v, keys) || !address(d, v, "addr4", 4, &r->addr4) ||
	    !address(d, v, "addr6", 6, &r->addr6))
		return false;
	if (!r->addr4.ip.family && !r->addr6.ip.family)
		return dec_fail_key(d, "addr4", "or \"addr6\" must be given");
	endpoint_fmt(r->addr4.ip.family ? &r->addr4 : &r->addr6, name);
	return dec_id(d, v, "relay", name, r->id) && credentials(d, v, r) &&
	       config_location(d, v, &r->place);
}

bool config_section_relays(struct dec *d, const json_t *root, struct config *cfg)
{
	json_t *list;
	size_t n;
	bool ok = true;

	if (!dec_array(d, root, "static_relays", DEC_OPTIONAL, CONFIG_RELAYS_MAX, &list, &n))
		return false;
	cfg->relays = calloc(n ? n : 1, sizeof(*cfg->relays));
	if (!cfg->relays)
		return dec_fail(d, "out of memory");
	dec_enter_key(d, "static_relays");
	for (size_t i = 0; ok && i < n; i++) {
		struct config_relay *r = &cfg->relays[cfg->n_relays++];

		dec_enter_index(d, i);
		ok = relay_one(d, json_array_get(list, i), r);
		for (size_t j = 0; ok && j < i; j++)
			if (!strcmp(cfg->relays[j].id, r->id))
				ok = dec_fail_key(d, "id",
						  "is already the id of static_relays[%zu]", j);
		dec_leave(d);
	}
	dec_leave(d);
	return ok;
}
