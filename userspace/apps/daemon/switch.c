/* SPDX-License-Identifier: Apache-2.0
 *
 * The operator's switches of a client's resources: the one request of the control socket that
 * changes something. What it changes is in force before the next packet is looked at, and lasts as
 * long as the process. */
#include <string.h>
#include <strings.h>

#include "apps/daemon/daemon.h"
#include "apps/daemon/view_json.h"

/* Is it what the operator means by `text`: its id, its name, or, of the Internet, its type? */
static bool is_meant(const struct tunnel_resource *r, const char *text)
{
	char cut[TUNNEL_NAME_CAP];
	struct uuid id;

	if (!uuid_parse(text, &id))
		return uuid_eq(&id, &r->id);
	tunnel_text_copy(cut, sizeof(cut), text);
	return !strcmp(cut, r->name) ||
	       (r->type == TUNNEL_RESOURCE_INTERNET && !strcasecmp(text, "internet"));
}

static uint32_t find(const struct tcl *c, const char *text, uint32_t *count)
{
	uint32_t found = TUNNEL_NO_SLOT;

	*count = 0;
	for (uint32_t i = tcl_resource_next(c, TUNNEL_NO_SLOT); i != TUNNEL_NO_SLOT;
	     i = tcl_resource_next(c, i))
		if (is_meant(&tcl_resource_at(c, i)->r, text)) {
			found = i;
			++*count;
		}
	return found;
}

static json_t *done(const struct tcl_resource *r, bool was)
{
	json_t *o = answer("switch");

	put(o, "id", uuid(&r->r.id));
	put(o, "name", json_string(r->r.name));
	put(o, "enabled", json_boolean(r->enabled));
	put(o, "changed", json_boolean(r->enabled != was));
	return o;
}

json_t *switch_request(struct daemon *d, const json_t *req, uint64_t now)
{
	const char *which = json_string_value(json_object_get(req, "resource"));
	const json_t *on = json_object_get(req, "on");
	const struct tcl_resource *r;
	uint32_t i, count;
	bool was;

	if (d->role->gateway)
		return view_refuse("not_here", "%s",
				   "a gateway's resources are the portal's to give and take");
	if (!which || !*which || !json_is_boolean(on))
		return view_refuse("bad_request", "%s", "want \"resource\" and \"on\"");
	i = find(&d->tcl, which, &count);
	if (!count)
		return view_refuse("not_found", "no resource '%.64s'", which);
	if (count > 1)
		return view_refuse("ambiguous", "several resources are named '%.64s': give the id",
				   which);
	r = tcl_resource_at(&d->tcl, i);
	was = r->enabled;
	if (tcl_switch(&d->tcl, i, json_is_true(on), now))
		return view_refuse("full", "%s", "too many resources are switched off");
	d->role->drain(d, now);
	LOG_INFO("tunnel", "resource switched by the operator", LOG_UUID("resource", &r->r.id),
		 LOG_STR("name", r->r.name), LOG_BOOL("on", r->enabled));
	return done(r, was);
}
