/* SPDX-License-Identifier: Apache-2.0
 *
 * io/nft: the script, and that no name can smuggle anything into it. */
#include "io/nft.h"
#include <errno.h>
#include "tests/t.h"

static void test_script(void)
{
	struct nft_cfg cfg = {.instance = "gw-1", .tun_name = "tun-x", .masquerade = true};
	char s[NFT_SCRIPT_MAX];

	T_EQ(nft_render(&cfg, s, sizeof(s)), 0);
	T(strstr(s, "add table inet penstock_gw_1\ndelete table inet penstock_gw_1\n") == s);
	T(strstr(s, "ip saddr 100.64.0.0/11 oifname != \"tun-x\" masquerade") != NULL);
	T(strstr(s, "ip6 saddr fd00:2021:1111::/107 oifname != \"tun-x\" masquerade") != NULL);
	T(strstr(s, "iifname \"tun-x\" accept") != NULL);
	T(strstr(s, "oifname \"tun-x\" accept") != NULL);
	cfg.masquerade = false;
	T_EQ(nft_render(&cfg, s, sizeof(s)), 0);
	T(strstr(s, "masquerade") == NULL && strstr(s, "accept") != NULL);
	cfg.tun_name = NULL;
	T_EQ(nft_render(&cfg, s, sizeof(s)), 0);
	T_STR(s, "add table inet penstock_gw_1\ndelete table inet penstock_gw_1\n");
}

static void test_bounds(void)
{
	struct nft_cfg cfg = {.instance = "g", .tun_name = "t", .masquerade = true};
	char s[NFT_SCRIPT_MAX], guard[NFT_SCRIPT_MAX];
	size_t need;

	T_EQ(nft_render(&cfg, s, sizeof(s)), 0);
	need = strlen(s) + 1;
	for (size_t cap = 1; cap <= need; cap++) {
		memset(guard, 0x5a, sizeof(guard));
		T_EQ(nft_render(&cfg, guard, cap), cap < need ? -EMSGSIZE : 0);
		T_EQ(guard[cap], 0x5a);
	}
}

static void test_names(void)
{
	static const char *const bad[] = {"",	 "a b",	 "a\"",
					  "a;b", "a\nb", "a{",
					  "ä",	 "a/b",	 "0123456789012345678901234567890123"};
	char s[NFT_SCRIPT_MAX];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		T_EQ(nft_render(&(struct nft_cfg){.instance = bad[i]}, s, sizeof(s)), -EINVAL);
		T_EQ(nft_render(&(struct nft_cfg){.instance = "g", .tun_name = bad[i]}, s,
				sizeof(s)),
		     -EINVAL);
	}
	T_EQ(nft_render(&(struct nft_cfg){.instance = "g", .tun_name = "0123456789abcdef"}, s,
			sizeof(s)),
	     -EINVAL);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_script);
	T_RUN(test_bounds);
	T_RUN(test_names);
	return t_done();
}
