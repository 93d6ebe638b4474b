/* SPDX-License-Identifier: Apache-2.0
 *
 * Credentials of a relay: the known vectors, the forms of usernames, expiry, combinations; and its
 * nonces. */
#include "tests/relay_world.h"

static void check_stamp(const char *secret, const char *name, const char *password, const char *key)
{
	char out[RELAY_PASSWORD_CAP];
	uint8_t want[RELAY_KEY_LEN], got[RELAY_KEY_LEN];

	T_EQ(relay_stamp_password(secret, name, strlen(name), out), 0);
	T_STR(out, password);
	T_EQ(t_unhex(key, want, sizeof(want)), sizeof(want));
	relay_long_term_key(name, strlen(name), RELAY_REALM, password, got);
	T_MEM(got, want, sizeof(want));
}

static void test_stamp_vectors(void)
{
	check_stamp("4c98bf59c99b3e467ecd7cf9d6b3e5279645fca59be67bc5bb4af3cf653761ab",
		    "1892160000:n23JJ2wKKtt30oXi", "00hqldgk5xLeKKOB+xls9mHMVtgqzie9DulfgQwMv68",
		    "e444d93976b92ec355c14337c9a9d3fb");
	check_stamp("1cab293a-4032-46f4-862a-40e5d174b0d2", "1685984278:uvdgKvS9GXYZ_vmv",
		    "6xUIoZ+QvxKhRasLifwfRkMXl+ETLJUsFkHlXjlHAkg",
		    "a1628ea75a65270505a90953534885c2");
	check_stamp(RW_STAMP, "1900000000:kF8o3vGOqsBa5vErLDRSdEr69ibaE0PVezlbVE4FGbY",
		    "TERV4aTWD1ueDH+lbJ/Jgf2ZEZbiodtd7/g6QhyYcso",
		    "39d60819b647aa7fbcff606d9892922d");
}

/* RFC 2202's HMAC-SHA1 case 2, as a web service would hand it out. */
static void test_shared_vector(void)
{
	char out[RELAY_PASSWORD_CAP];

	relay_shared_password("Jefe", "what do ya want for nothing?", 28, out);
	T_STR(out, "7/zfauXrL6LSdBbV8YTfnCWafHk=");
}

static void test_stamp_names(void)
{
	static const char *const bad[] = {"",
					  ":",
					  ":a",
					  "12",
					  "a:b",
					  "12 :a",
					  "-1:a",
					  "+1:a",
					  "1:a:b",
					  "1.5:a",
					  "18446744073709551616:a",
					  "99999999999999999999999:a"};
	char out[RELAY_PASSWORD_CAP], longest[RELAY_USERNAME_MAX + 2] = "1:";

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		T_EQ(relay_stamp_password("s", bad[i], strlen(bad[i]), out), -EINVAL);
	T_EQ(relay_stamp_password("s", "18446744073709551615:a", 22, out), 0);
	T_EQ(relay_stamp_password("s", "1:", 2, out), 0);
	memset(longest + 2, 'x', RELAY_USERNAME_MAX - 1);
	T_EQ(relay_stamp_password("s", longest, RELAY_USERNAME_MAX, out), 0);
	T_EQ(relay_stamp_password("s", longest, RELAY_USERNAME_MAX + 1, out), -EINVAL);
}

/* Judge a request of user signed with password. */
static enum relay_auth_rc judge(const struct relay_auth *a, const char *user, const char *password,
				uint64_t unix_s, struct relay_key *key)
{
	static uint8_t buf[STUN_MSG_MAX];
	struct stun_tid tid = {{1}};
	uint8_t sign[RELAY_KEY_LEN];
	struct stun_msg m;
	struct stun_enc e;
	size_t len;

	stun_enc_init(&e, buf, sizeof(buf), STUN_REFRESH, STUN_REQUEST, &tid);
	if (user)
		stun_put_bytes(&e, STUN_A_USERNAME, user, strlen(user));
	relay_long_term_key(user ? user : "", user ? strlen(user) : 0, a->realm, password, sign);
	stun_put_integrity(&e, sign, sizeof(sign));
	T_EQ(stun_enc_done(&e, &len), 0);
	T_EQ(stun_decode(&m, buf, len), STUN_OK);
	return relay_auth_check(a, &m, unix_s, key);
}

static enum relay_auth_rc judge_stamp(const struct relay_auth *a, const char *user, uint64_t unix_s,
				      struct relay_key *key)
{
	char password[RELAY_PASSWORD_CAP] = "x";

	relay_stamp_password(RW_STAMP, user, strlen(user), password);
	return judge(a, user, password, unix_s, key);
}

static enum relay_auth_rc judge_shared(const struct relay_auth *a, const char *user,
				       uint64_t unix_s, struct relay_key *key)
{
	char password[RELAY_PASSWORD_CAP];

	relay_shared_password(RW_SHARED, user, strlen(user), password);
	return judge(a, user, password, unix_s, key);
}

/* Would an error to this user be signed? */
static bool error_key(const struct relay_auth *a, const char *user, bool claims)
{
	static uint8_t buf[STUN_MSG_MAX];
	struct stun_tid tid = {{1}};
	struct relay_key key;
	struct stun_msg m;
	struct stun_enc e;
	size_t len;

	stun_enc_init(&e, buf, sizeof(buf), STUN_REFRESH, STUN_REQUEST, &tid);
	stun_put_bytes(&e, STUN_A_USERNAME, user, strlen(user));
	if (claims)
		stun_put_integrity(&e, "any", 3);
	T_EQ(stun_enc_done(&e, &len), 0);
	T_EQ(stun_decode(&m, buf, len), STUN_OK);
	return relay_auth_error_key(a, &m, &key);
}

static void test_kinds(void)
{
	static struct relay_auth a;
	struct relay_key key;

	rw_auth(&a);
	T_EQ(judge(&a, RW_ALICE, RW_PASS, 5, &key), RELAY_AUTH_OK);
	T_EQ(key.cred, RELAY_CRED_USER);
	T_EQ(judge(&a, RW_ALICE, "looking-glass", 5, &key), RELAY_AUTH_BAD_MI);
	T_EQ(key.cred, RELAY_CRED_NONE);
	T_EQ(judge(&a, "carol", RW_PASS, 5, &key), RELAY_AUTH_UNKNOWN);
	T_EQ(judge(&a, NULL, RW_PASS, 5, &key), RELAY_AUTH_UNKNOWN);
	T_EQ(judge_stamp(&a, "100:salt", 99, &key), RELAY_AUTH_OK);
	T_EQ(key.cred, RELAY_CRED_STAMP);
	T_EQ(judge_stamp(&a, "100:salt", 100, &key), RELAY_AUTH_OK);
	T_EQ(judge_stamp(&a, "100:salt", 101, &key), RELAY_AUTH_EXPIRED);
	T_EQ(judge_stamp(&a, "18446744073709551615:salt", 101, &key), RELAY_AUTH_OK);
	/* The same form, by the other secret. */
	T_EQ(judge_shared(&a, "100:carol", 100, &key), RELAY_AUTH_OK);
	T_EQ(key.cred, RELAY_CRED_SHARED);
	T_EQ(judge_shared(&a, "100", 100, &key), RELAY_AUTH_OK);
	T_EQ(judge_shared(&a, "100:a:b", 100, &key), RELAY_AUTH_OK);
	T_EQ(judge_shared(&a, "100:", 101, &key), RELAY_AUTH_EXPIRED);
	T_EQ(judge_shared(&a, "carol:100", 100, &key), RELAY_AUTH_UNKNOWN);
	T_EQ(judge(&a, "100:salt", "guess", 100, &key), RELAY_AUTH_BAD_MI);
	T_EQ(judge(&a, "100", "guess", 100, &key), RELAY_AUTH_BAD_MI);
}

static void test_what_is_not_set_is_not_there(void)
{
	static struct relay_auth a;
	struct relay_key key;

	T_EQ(relay_auth_init(&a, "realm"), 0);
	T_EQ(judge(&a, RW_ALICE, RW_PASS, 5, &key), RELAY_AUTH_UNKNOWN);
	T_EQ(judge_stamp(&a, "100:salt", 9, &key), RELAY_AUTH_UNKNOWN);
	T_EQ(judge_shared(&a, "100", 9, &key), RELAY_AUTH_UNKNOWN);
	T_EQ(relay_auth_set_stamp(&a, RW_STAMP), 0);
	T_EQ(judge_stamp(&a, "100:salt", 9, &key), RELAY_AUTH_OK);
	T_EQ(judge_shared(&a, "100", 9, &key), RELAY_AUTH_UNKNOWN);
	/* An empty secret is none: its password must not work. */
	T_EQ(relay_auth_set_shared(&a, ""), -EINVAL);
	T_EQ(relay_auth_init(&a, ""), -EINVAL);
	relay_auth_fini(&a);
	T(crypto_is_zero(&a, sizeof(a)));
}

static void test_users_list(void)
{
	static struct relay_auth a;
	char longest[RELAY_USERNAME_MAX + 2] = "";
	struct relay_key key;

	T_EQ(relay_auth_init(&a, NULL), 0);
	memset(longest, 'n', RELAY_USERNAME_MAX + 1);
	T_EQ(relay_auth_add_user(&a, longest, "p"), -EINVAL);
	longest[RELAY_USERNAME_MAX] = '\0';
	T_EQ(relay_auth_add_user(&a, longest, "p"), 0);
	T_EQ(relay_auth_add_user(&a, longest, "q"), -EEXIST);
	T_EQ(relay_auth_add_user(&a, "", "p"), -EINVAL);
	T_EQ(relay_auth_add_user(&a, "n", ""), -EINVAL);
	T_EQ(judge(&a, longest, "p", 5, &key), RELAY_AUTH_OK);
	for (unsigned i = 1; i < RELAY_USERS_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "user%u", i);
		T_EQ(relay_auth_add_user(&a, name, "p"), 0);
	}
	T_EQ(relay_auth_add_user(&a, "more", "p"), -ENOSPC);
	T_EQ(judge(&a, "user255", "p", 5, &key), RELAY_AUTH_OK);
	/* A listed name is its user's, whatever else its form may mean. */
	T_EQ(relay_auth_init(&a, NULL), 0);
	T_EQ(relay_auth_set_stamp(&a, RW_STAMP), 0);
	T_EQ(relay_auth_add_user(&a, "100:salt", "p"), 0);
	T_EQ(judge(&a, "100:salt", "p", 500, &key), RELAY_AUTH_OK);
	T_EQ(judge_stamp(&a, "100:salt", 9, &key), RELAY_AUTH_BAD_MI);
	T(!error_key(&a, "100:salt", true));
	T(error_key(&a, "100:other", true));
	T(!error_key(&a, "100:other", false));
	T(!error_key(&a, "100", true));
}

/* ---- nonces ---- */

static void test_nonce(void)
{
	const struct endpoint a = rw_ep("192.0.2.1:1000"), b = rw_ep("192.0.2.1:1001"),
			      c = rw_ep("[2001:db8::1]:1000");
	const uint8_t key[32] = {1}, other[32] = {2};
	const uint64_t t0 = 7777 * NS_PER_SEC;
	char n[RELAY_NONCE_LEN + 1], m[RELAY_NONCE_LEN + 1];

	relay_nonce_make(key, &a, n, t0);
	relay_nonce_make(key, &a, m, t0 + 1);
	T_STR(n, m);
	T_EQ(strlen(n), RELAY_NONCE_LEN);
	T_EQ(relay_nonce_check(key, &a, n, RELAY_NONCE_LEN, t0), RELAY_NONCE_OK);
	T_EQ(relay_nonce_check(key, &a, n, RELAY_NONCE_LEN, t0 + RELAY_NONCE_NS - 60 * NS_PER_SEC),
	     RELAY_NONCE_OK);
	T_EQ(relay_nonce_check(key, &a, n, RELAY_NONCE_LEN, t0 + RELAY_NONCE_NS + NS_PER_SEC),
	     RELAY_NONCE_STALE);
	/* Not of this client, of this relay; not made yet. */
	T_EQ(relay_nonce_check(key, &b, n, RELAY_NONCE_LEN, t0), RELAY_NONCE_STALE);
	T_EQ(relay_nonce_check(key, &c, n, RELAY_NONCE_LEN, t0), RELAY_NONCE_STALE);
	T_EQ(relay_nonce_check(other, &a, n, RELAY_NONCE_LEN, t0), RELAY_NONCE_STALE);
	T_EQ(relay_nonce_check(key, &a, n, RELAY_NONCE_LEN, t0 - 120 * NS_PER_SEC),
	     RELAY_NONCE_STALE);
	T_EQ(relay_nonce_check(key, &a, n, RELAY_NONCE_LEN - 1, t0), RELAY_NONCE_MALFORMED);
	T_EQ(relay_nonce_check(key, &a, "", 0, t0), RELAY_NONCE_MALFORMED);
	for (size_t i = 0; i < RELAY_NONCE_LEN; i++) {
		memcpy(m, n, sizeof(m));
		m[i] = m[i] == 'A' ? 'B' : 'A';
		T_EQ(relay_nonce_check(key, &a, m, RELAY_NONCE_LEN, t0), RELAY_NONCE_STALE);
		m[i] = '!';
		T_EQ(relay_nonce_check(key, &a, m, RELAY_NONCE_LEN, t0), RELAY_NONCE_MALFORMED);
	}
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	crypto_init();
	T_RUN(test_stamp_vectors);
	T_RUN(test_shared_vector);
	T_RUN(test_stamp_names);
	T_RUN(test_kinds);
	T_RUN(test_what_is_not_set_is_not_there);
	T_RUN(test_users_list);
	T_RUN(test_nonce);
	return t_done();
}
