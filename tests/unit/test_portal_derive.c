/* SPDX-License-Identifier: Apache-2.0
 *
 * Derived credentials against published vectors, and the texts derivations take in and give out. */
#include "apps/portal/derive.h"
#include "apps/portal/ident.h"
#include "tests/t.h"

static const struct pair_ids pair = {
	.client_id = "11111111-1111-4111-8111-111111111111",
	.gateway_id = "22222222-2222-4222-8222-222222222222",
	.client_key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	.gateway_key = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
};

static void test_ice_vector(void)
{
	struct ice_creds c, g;

	derive_ice(&pair, &c, &g);
	T_STR(c.username, "w7up");
	T_STR(c.password, "ksqwm66pilnb7skdwwfw3r");
	T_STR(g.username, "kwe6");
	T_STR(g.password, "mzkrj52x5h5ebrfdsh5iyq");
}

static void test_psk_vector(void)
{
	uint8_t c[PSK_BASE_LEN], g[PSK_BASE_LEN];
	char psk[KEY_B64_STRLEN];

	memset(c, 1, sizeof(c));
	memset(g, 2, sizeof(g));
	T(derive_psk(&pair, c, g, psk));
	T_STR(psk, "nf/zxFPO6UthXqXx5mQvtNZLT0cwCJiO6nYyJhnspc4=");
}

static void test_derivations_depend_on_every_input(void)
{
	uint8_t c[PSK_BASE_LEN] = {1}, g[PSK_BASE_LEN] = {2};
	char psk[KEY_B64_STRLEN], other[KEY_B64_STRLEN];
	struct ice_creds ic, ig, oc, og;

	T(derive_psk(&pair, c, g, psk));
	derive_ice(&pair, &ic, &ig);
	for (int i = 0; i < 4; i++) {
		struct pair_ids p = pair;
		const char **field[] = {&p.client_id, &p.gateway_id, &p.client_key, &p.gateway_key};

		*field[i] = i < 2 ? "33333333-3333-4333-8333-333333333333"
				  : "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=";
		T(derive_psk(&p, c, g, other) && strcmp(psk, other));
		derive_ice(&p, &oc, &og);
		T(strcmp(ic.password, oc.password) && strcmp(ig.password, og.password));
	}
	T(derive_psk(&pair, g, c, other) && strcmp(psk, other));
}

static const char stamp[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

static void test_turn_stamp_vector(void)
{
	struct turn_creds c;
	char id[UUID_STRLEN];

	derive_turn_stamp(stamp, pair.client_key, 1900000000, &c);
	T_STR(c.username, "1900000000:kF8o3vGOqsBa5vErLDRSdEr69ibaE0PVezlbVE4FGbY");
	T_STR(c.password, "TERV4aTWD1ueDH+lbJ/Jgf2ZEZbiodtd7/g6QhyYcso");
	derive_relay_id(stamp, id);
	T_STR(id, "ffe054fe-7ae0-4b6d-865c-3af9b61d5209");
}

static void test_turn_stamp_depends_on_every_input(void)
{
	struct turn_creds a, b;
	char longest[STAMP_MAX + 1];

	derive_turn_stamp(stamp, pair.client_key, 1900000000, &a);
	derive_turn_stamp(stamp + 1, pair.client_key, 1900000000, &b);
	T(!strcmp(a.username, b.username) && strcmp(a.password, b.password) != 0);
	derive_turn_stamp(stamp, pair.gateway_key, 1900000000, &b);
	T(strcmp(a.username, b.username) && strcmp(a.password, b.password));
	derive_turn_stamp(stamp, pair.client_key, 1900000001, &b);
	T(strcmp(a.username, b.username) && strcmp(a.password, b.password));
	/* No secret is cut: the last character of the longest one counts. */
	memset(longest, 'x', STAMP_MAX);
	longest[STAMP_MAX] = '\0';
	derive_turn_stamp(longest, pair.client_key, UINT64_MAX, &a);
	longest[STAMP_MAX - 1] = 'y';
	derive_turn_stamp(longest, pair.client_key, UINT64_MAX, &b);
	T(strcmp(a.password, b.password) != 0);
}

/* Against `openssl dgst -sha1 -hmac north`. */
static void test_turn_shared_vector(void)
{
	struct turn_creds c;

	derive_turn_shared("north", pair.client_id, 1900000000, &c);
	T_STR(c.username, "1900000000:11111111-1111-4111-8111-111111111111");
	T_STR(c.password, "EyzB+LjbSO+lRJ101qbOuEl7k5k=");
}

static void test_uuid_from_name(void)
{
	const char *a[] = {"site", "lab", NULL}, *b[] = {"sitel", "ab", NULL};
	char x[UUID_STRLEN], y[UUID_STRLEN];

	derive_uuid(a, x);
	derive_uuid(a, y);
	T_STR(x, y);
	T(ident_uuid_valid(x));
	T(x[14] == '4' && strchr("89ab", x[19]));
	derive_uuid(b, y);
	T(strcmp(x, y) != 0); /* parts are separated, not joined */
	T(derive_offset(a) != derive_offset(b));
}

static void test_uuid_text(void)
{
	char out[UUID_STRLEN];

	T(ident_uuid_normalise("ABCDEF01-2345-6789-ABCD-EF0123456789", out));
	T_STR(out, "abcdef01-2345-6789-abcd-ef0123456789");
	T(!ident_uuid_valid("ABCDEF01-2345-6789-ABCD-EF0123456789"));
	T(ident_uuid_valid(out));
	T(!ident_uuid_valid(""));
	T(!ident_uuid_valid("abcdef01-2345-6789-abcd-ef012345678"));
	T(!ident_uuid_valid("abcdef01-2345-6789-abcd-ef01234567890"));
	T(!ident_uuid_valid("abcdef01+2345-6789-abcd-ef0123456789"));
	T(!ident_uuid_valid("gbcdef01-2345-6789-abcd-ef0123456789"));
}

static void test_key_text(void)
{
	T(ident_key_valid(pair.client_key));
	T(!ident_key_valid(""));
	T(!ident_key_valid("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"));  /* no padding */
	T(!ident_key_valid("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=")); /* stray bits */
	T(!ident_key_valid("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==")); /* 31 bytes */
	T(!ident_key_valid("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= "));
	T(!ident_key_valid("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBka GxwdHh=")); /* white space */
	T(!ident_key_valid("AAEC-wQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")); /* URL alphabet */
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_ice_vector);
	T_RUN(test_psk_vector);
	T_RUN(test_derivations_depend_on_every_input);
	T_RUN(test_turn_stamp_vector);
	T_RUN(test_turn_stamp_depends_on_every_input);
	T_RUN(test_turn_shared_vector);
	T_RUN(test_uuid_from_name);
	T_RUN(test_uuid_text);
	T_RUN(test_key_text);
	return t_done();
}
