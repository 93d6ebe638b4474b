/* SPDX-License-Identifier: Apache-2.0
 *
 * penstock-relay: a TURN server for Penstock's and Firezone's clients and for anybody's with
 * credentials. */
#include "apps/relay/app.h"

int main(int argc, char **argv)
{
	return app_main(argc, argv);
}
