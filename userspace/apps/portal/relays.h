/* SPDX-License-Identifier: Apache-2.0
 *
 * Which relays there are and which ones each component uses. A relay is online while its session is
 * joined; relays of the configuration always are. A component is given two: the nearest ones where
 * both its place and theirs are known, else two that only depend on who it is, so that it gets the
 * same ones again. What it was given it keeps as long as the relay is there; changes are announced
 * by "relays_presence" once things have been quiet for a second.
 *
 * Not here: reading configurations, nor how credentials are made (derive.h). */
#ifndef PENSTOCK_PORTAL_RELAYS_H
#define PENSTOCK_PORTAL_RELAYS_H
#include <jansson.h>

#include "apps/portal/state.h"

#define RELAY_PORT	  3478 /* of a relay that names none */
#define RELAYS_QUIET_MS	  1000
#define RELAYS_PATIENT_MS 5000 /* relays that come and go all the time do not hold the news up */

/* Addresses as the relay gave them when it connected; secret still to come. NULL: no memory. */
struct relay *relay_new(const struct endpoint *addr4, const struct endpoint *addr6);
void relay_free(struct relay *r);

/* May one more relay join? */
bool relays_room(const struct portal *p);
/* The session's relay goes online with this secret. Another session that is the same relay, by
 * secret or by address, is closed: it is a leftover. */
void relays_publish(struct portal *p, struct session *s, const char *stamp);
/* It goes offline. Harmless when it was not online. */
void relays_withdraw(struct portal *p, struct session *s);

/* A new "relays" array for init; remembered as what the session knows. */
json_t *relays_for_init(struct portal *p, struct session *s);
/* Another configuration, with other relays or times in it. */
void relays_reloaded(struct portal *p);
/* The component says it has no relay left: it gets a fresh selection at once. */
void relays_answer_none(struct portal *p, struct session *s);
/* Announces what has settled. */
void relays_tick(struct portal *p, uint64_t now);
#endif
