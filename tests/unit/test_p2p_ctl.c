/* SPDX-License-Identifier: Apache-2.0
 *
 * The peer-to-peer control packet byte by byte. */
#include <errno.h>
#include "codec/ip_packet.h"
#include "codec/p2p_ctl.h"
#include "tests/t.h"

static const char assigned[] =
	"{\"resource\":\"00000000-0000-0000-0000-000000000065\",\"domain\":\"example.com\",\"proxy_"
	"ips\":["
	"\"100.96.0.1\",\"100.96.0.2\",\"100.96.0.3\",\"100.96.0.4\",\"fd00:2021:1111:8000::\","
	"\"fd00:2021:1111:8000::1\",\"fd00:2021:1111:8000::2\",\"fd00:2021:1111:8000::3\"]}";

static void test_goodbye_bytes(void)
{
	uint8_t want[48] = {0x60, 0, 0, 0, 0, 8, 0xff, 0}, got[48];
	struct p2p_ctl ctl;

	want[40] = 2;
	p2p_ctl_encode_goodbye(got);
	T_MEM(got, want, sizeof(want));
	T_EQ(p2p_ctl_decode(got, sizeof(got), &ctl), P2P_CTL_EVENT);
	T_EQ(ctl.type, P2P_CTL_GOODBYE);
	T_EQ(ctl.payload_len, 0);
}

static void test_assigned_ips_bytes(void)
{
	uint8_t buf[512], head[8] = {0x60, 0, 0, 0, 0, 0xf7, 0xff, 0}, zero[40] = {0};
	struct p2p_ctl ctl;
	size_t len;

	T_EQ(sizeof(assigned) - 1, 239);
	T_EQ(p2p_ctl_encode(P2P_CTL_ASSIGNED_IPS, assigned, sizeof(assigned) - 1, buf, sizeof(buf),
			    &len),
	     0);
	T_EQ(len, 287);
	T_MEM(buf, head, 8);
	T_MEM(buf + 8, zero, 40);
	T_MEM(buf + 48, assigned, 239);
	T_EQ(p2p_ctl_decode(buf, len, &ctl), P2P_CTL_EVENT);
	T_EQ(ctl.type, P2P_CTL_ASSIGNED_IPS);
	T_EQ(ctl.payload_len, 239);
	T(ctl.payload == buf + 48);
}

static void test_verdicts(void)
{
	uint8_t p[64], v6[64];
	struct p2p_ctl ctl;

	memset(p, 0, sizeof(p));
	p2p_ctl_encode_goodbye(p);
	memcpy(v6, p, sizeof(p));
	for (size_t len = 0; len < 40; len++)
		T_EQ(p2p_ctl_decode(p, len, &ctl), P2P_CTL_NOT);
	for (size_t len = 40; len < 48; len++)
		T_EQ(p2p_ctl_decode(p, len, &ctl), P2P_CTL_MALFORMED);
	T_EQ(p2p_ctl_decode(p, 64, &ctl), P2P_CTL_EVENT); /* padding behind it */
	T_EQ(ctl.payload_len, 0);
	p[40] = 3;
	T_EQ(p2p_ctl_decode(p, 48, &ctl), P2P_CTL_UNKNOWN);
	T_EQ(ctl.type, 3);
	for (unsigned type = 3; type < 256; type++) {
		p[40] = (uint8_t)type;
		T_EQ(p2p_ctl_decode(p, 48, &ctl),
		     type == 0xf0 || type == 0xf1 ? P2P_CTL_EVENT : P2P_CTL_UNKNOWN);
	}
	p[40] = 2;
	memset(p + 41, 0xaa, 7); /* reserved: ignored */
	T_EQ(p2p_ctl_decode(p, 48, &ctl), P2P_CTL_EVENT);
	p[5] = 7; /* shorter than its own header */
	T_EQ(p2p_ctl_decode(p, 48, &ctl), P2P_CTL_MALFORMED);
	p[5] = 9;
	T_EQ(p2p_ctl_decode(p, 48, &ctl), P2P_CTL_MALFORMED);
	v6[6] = 0xfe;
	T_EQ(p2p_ctl_decode(v6, 48, &ctl), P2P_CTL_NOT);
	v6[6] = 0xff;
	v6[23] = 1;
	T_EQ(p2p_ctl_decode(v6, 48, &ctl), P2P_CTL_NOT);
	v6[23] = 0;
	v6[39] = 1;
	T_EQ(p2p_ctl_decode(v6, 48, &ctl), P2P_CTL_NOT);
	v6[39] = 0;
	v6[0] = 0x45;
	T_EQ(p2p_ctl_decode(v6, 48, &ctl), P2P_CTL_NOT);
}

static void test_encode_bounds(void)
{
	uint8_t buf[1400], big[1300] = {0};
	size_t len;

	T_EQ(p2p_ctl_encode(0, big, P2P_CTL_PAYLOAD_CAP, buf, sizeof(buf), &len), 0);
	T_EQ(len, 1280);
	T_EQ(p2p_ctl_encode(0, big, P2P_CTL_PAYLOAD_CAP + 1, buf, sizeof(buf), &len), -EMSGSIZE);
	T_EQ(p2p_ctl_encode(0, big, 10, buf, 57, &len), -EMSGSIZE);
}

static void test_mtu_bytes(void)
{
	const struct p2p_mtu m = {.id = 0x0102030405060708, .size = 1440};
	uint8_t want[58] = {0x60, 0, 0, 0, 0, 18, 0xff, 0}, got[1500], zero[1500] = {0};
	struct p2p_mtu back;
	struct p2p_ctl ctl;

	want[40] = 0xf1;
	for (uint8_t i = 0; i < 8; i++)
		want[48 + i] = (uint8_t)(i + 1);
	want[56] = 1440 >> 8;
	want[57] = 1440 & 255;
	p2p_mtu_encode_ack(&m, got);
	T_MEM(got, want, sizeof(want));
	T_EQ(p2p_ctl_decode(got, sizeof(want), &ctl), P2P_CTL_EVENT);
	T(p2p_mtu_decode(&ctl, &back) && back.id == m.id && back.size == m.size);

	memset(got, 0xaa, sizeof(got));
	T_EQ(p2p_mtu_encode_probe(&m, got, sizeof(got)), 0);
	want[40] = 0xf0;
	want[4] = (1440 - 40) >> 8;
	want[5] = (1440 - 40) & 255;
	T_MEM(got, want, sizeof(want));
	T_MEM(got + 58, zero, 1440 - 58);
	T_EQ(got[1440], 0xaa);
	T_EQ(p2p_ctl_decode(got, 1440, &ctl), P2P_CTL_EVENT);
	T_EQ(ctl.type, P2P_CTL_MTU_PROBE);
	T(p2p_mtu_decode(&ctl, &back) && back.id == m.id && back.size == m.size);
	/* padding behind it is not the packet's */
	T_EQ(p2p_ctl_decode(got, 1456, &ctl), P2P_CTL_EVENT);
	T(p2p_mtu_decode(&ctl, &back));
	/* cut short */
	T_EQ(p2p_ctl_decode(got, 1439, &ctl), P2P_CTL_MALFORMED);
}

/* A probe is as long as it says, or no probe. */
static void test_mtu_lies(void)
{
	struct p2p_mtu m = {.id = 1, .size = 100}, back;
	uint8_t p[256];
	struct p2p_ctl ctl;

	T_EQ(p2p_mtu_encode_probe(&m, p, sizeof(p)), 0);
	for (unsigned size = 0; size < 300; size++) {
		p[56] = (uint8_t)(size >> 8);
		p[57] = (uint8_t)size;
		T_EQ(p2p_ctl_decode(p, 100, &ctl), P2P_CTL_EVENT);
		T_EQ(p2p_mtu_decode(&ctl, &back), size == 100);
	}
	for (uint8_t payload = 0; payload < 10; payload++) {
		p[5] = (uint8_t)(8 + payload);
		T_EQ(p2p_ctl_decode(p, 100, &ctl), P2P_CTL_EVENT);
		T(!p2p_mtu_decode(&ctl, &back));
	}
	m.size = 57;
	T_EQ(p2p_mtu_encode_probe(&m, p, sizeof(p)), -EMSGSIZE);
	m.size = 257;
	T_EQ(p2p_mtu_encode_probe(&m, p, 256), -EMSGSIZE);
}

/* As a packet it has no usable source and no port: no policy lets it through by accident. */
static void test_as_ip_packet(void)
{
	uint8_t p[48];
	struct ip_meta m;

	p2p_ctl_encode_goodbye(p);
	T_EQ(ip_packet_parse(p, sizeof(p), &m), 0);
	T_EQ(m.l4, IP_L4_OTHER);
	T_EQ(m.proto, 255);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_goodbye_bytes);
	T_RUN(test_assigned_ips_bytes);
	T_RUN(test_verdicts);
	T_RUN(test_encode_bounds);
	T_RUN(test_mtu_bytes);
	T_RUN(test_mtu_lies);
	T_RUN(test_as_ip_packet);
	return t_done();
}
