/* SPDX-License-Identifier: Apache-2.0
 *
 * The tunnel device's seam of the policy world (see pw_wrap.c): one packet at a time in, packets as
 * they are on the wire out. */
#include <errno.h>
#include "fwd/off_split.h"
#include "tests/policy/pw.h"

#define WRAP(type, name, ...)            \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

static struct pw_node *node_at(const void *handle)
{
	return (struct pw_node *)(uintptr_t)handle;
}

WRAP(size_t, tun_read, struct tun *t, struct tun_pkt **out)
{
	struct pw_node *n = node_at(t);

	*out = &n->tun;
	if (!n->has_tun)
		return 0;
	n->has_tun = false;
	return 1;
}

WRAP(int, tun_write, struct tun *t, const void *pkt, size_t len)
{
	pw_node_out(node_at(t), pkt, len);
	return 0;
}

WRAP(bool, tun_more, const struct tun *t)
{
	(void)t;
	return false;
}

/* Joined packets are counted as the packets they stand for. */
WRAP(int, tun_write_super, struct tun *t, const struct off_super *s)
{
	static uint8_t whole[OFF_SUPER_MAX], one[OFF_SUPER_MAX];
	struct off_split sp;
	size_t len = 0, n;

	if (s->gso.kind == OFF_NONE)
		return __wrap_tun_write(t, s->vec[0].p, s->vec[0].len);
	for (uint32_t i = 0; i < s->vecs; i++) {
		memcpy(whole + len, s->vec[i].p, s->vec[i].len);
		len += s->vec[i].len;
	}
	if (!T(off_split_begin(&sp, whole, len, &s->gso) == 0))
		return -EINVAL;
	while ((n = off_split_next(&sp, one, sizeof(one))))
		pw_node_out(node_at(t), one, n);
	return 0;
}

WRAP(bool, tun_joins_tcp, const struct tun *t)
{
	(void)t;
	return true;
}

WRAP(bool, tun_joins_udp, const struct tun *t)
{
	(void)t;
	return true;
}

WRAP(int, tun_ifindex, const struct tun *t)
{
	(void)t;
	return 1;
}
