/* SPDX-License-Identifier: Apache-2.0
 *
 * Component versions (semver.org 2.0.0) as far as the portal needs them: is it one, and may this
 * client talk to that gateway? */
#ifndef PENSTOCK_PORTAL_VERSION_H
#define PENSTOCK_PORTAL_VERSION_H
#include <stdbool.h>

struct version {
	unsigned major, minor, patch;
};

/* MAJOR.MINOR.PATCH with optional -prerelease and +build, which are checked and then ignored. */
bool version_parse(const char *text, struct version *out);
/* Clients from 1.4.0 on need gateways from 1.4.0 on, those from 1.1.0 on gateways from 1.1.0 on;
 * older ones take any. */
bool version_compatible(const char *client, const char *gateway);
#endif
