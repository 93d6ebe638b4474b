/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/place.h"

#include <math.h>

bool place_set(struct place *p, double latitude, double longitude)
{
	double lat = latitude * M_PI / 180, lon = longitude * M_PI / 180;

	if (!(latitude >= -90 && latitude <= 90 && longitude >= -180 && longitude <= 180))
		return false;
	*p = (struct place){
		.known = true, .x = cos(lat) * cos(lon), .y = cos(lat) * sin(lon), .z = sin(lat)};
	return true;
}

double place_nearness(const struct place *a, const struct place *b)
{
	if (!a->known || !b->known)
		return -2;
	return a->x * b->x + a->y * b->y + a->z * b->z;
}
