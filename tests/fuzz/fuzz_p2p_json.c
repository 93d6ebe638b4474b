/* SPDX-License-Identifier: Apache-2.0
 *
 * A peer's control JSON: what is read is bounded and valid, and what is written of it is read as
 * the same. */
#include <stdlib.h>
#include <string.h>
#include "codec/p2p_ctl.h"
#include "codec/p2p_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void assigned_ips(const uint8_t *data, size_t size)
{
	struct p2p_assigned_ips a, again;
	char text[P2P_CTL_PAYLOAD_CAP], second[P2P_CTL_PAYLOAD_CAP];
	size_t len, second_len;

	if (p2p_assigned_ips_decode(data, size, &a))
		return;
	require(p2p_domain_valid(a.domain) && a.count && a.count <= P2P_PROXIES_MAX);
	require(!p2p_assigned_ips_encode(&a, text, sizeof(text), &len));
	require(!p2p_assigned_ips_decode(text, len, &again));
	require(!memcmp(&a, &again, sizeof(a)));
	require(!p2p_assigned_ips_encode(&again, second, sizeof(second), &second_len));
	require(len == second_len && !memcmp(text, second, len));
}

static void domain_status(const uint8_t *data, size_t size)
{
	struct p2p_domain_status s, again;
	char text[P2P_CTL_PAYLOAD_CAP];
	size_t len;

	if (p2p_domain_status_decode(data, size, &s))
		return;
	require(p2p_domain_valid(s.domain));
	require(!p2p_domain_status_encode(&s, text, sizeof(text), &len));
	require(!p2p_domain_status_decode(text, len, &again));
	require(uuid_eq(&s.resource, &again.resource) && s.active == again.active &&
		!strcmp(s.domain, again.domain));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	assigned_ips(data, size);
	domain_status(data, size);
	return 0;
}
