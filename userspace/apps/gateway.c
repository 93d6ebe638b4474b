/* SPDX-License-Identifier: Apache-2.0
 * penstock-gateway: joins the portal, accepts authorised clients, forwards between the tunnel and
 * its LAN. */
#include "apps/daemon/daemon.h"

int main(int argc, char **argv)
{
	return daemon_main(&role_gateway, argc, argv);
}
