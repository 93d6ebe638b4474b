/* SPDX-License-Identifier: Apache-2.0
 * penstock-client: brings a host's traffic for its resources to the gateways that serve them. */
#include "apps/daemon/daemon.h"

int main(int argc, char **argv)
{
	return daemon_main(&role_client, argc, argv);
}
