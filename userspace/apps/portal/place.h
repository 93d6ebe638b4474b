/* SPDX-License-Identifier: Apache-2.0
 *
 * Where on earth something stands, for nothing but "which of these is nearer". A place is kept as a
 * unit vector, so that comparing distances takes no trigonometry. */
#ifndef PENSTOCK_PORTAL_PLACE_H
#define PENSTOCK_PORTAL_PLACE_H
#include <stdbool.h>

struct place {
	bool known;
	double x, y, z;
};

/* From degrees; false when they are no coordinates. */
bool place_set(struct place *p, double latitude, double longitude);
/* Greater is nearer: 1 the same spot, -1 its antipode, and -2 when either place is unknown. */
double place_nearness(const struct place *a, const struct place *b);
#endif
