/* SPDX-License-Identifier: Apache-2.0
 * See relay_auth.h. */
#include "core/relay/relay_auth.h"

#include <errno.h>
#include <string.h>

#define EXPIRY_DIGITS 20 /* of an unsigned 64-bit number */

/* A username taken apart: "<expiry>" or "<expiry>:<rest>". */
struct timed_name {
	uint64_t expiry;
	size_t expiry_len;
	const char *rest; /* NULL: no colon */
	size_t rest_len;
};

static bool name_split(const char *name, size_t len, struct timed_name *out)
{
	size_t i;

	*out = (struct timed_name){0};
	for (i = 0; i < len && name[i] >= '0' && name[i] <= '9'; i++)
		if (i == EXPIRY_DIGITS ||
		    __builtin_mul_overflow(out->expiry, UINT64_C(10), &out->expiry) ||
		    __builtin_add_overflow(out->expiry, (uint64_t)(name[i] - '0'), &out->expiry))
			return false;
	if (!i || (i < len && name[i] != ':'))
		return false;
	out->expiry_len = i;
	if (i < len) {
		out->rest = name + i + 1;
		out->rest_len = len - i - 1;
	}
	return true;
}

static bool name_is_stamp(const struct timed_name *t)
{
	return t->rest && !memchr(t->rest, ':', t->rest_len);
}

static int text_set(char *dst, size_t cap, const char *src)
{
	size_t len = strlen(src);

	if (!len || len >= cap)
		return -EINVAL;
	crypto_wipe(dst, cap);
	memcpy(dst, src, len);
	return 0;
}

int relay_auth_init(struct relay_auth *a, const char *realm)
{
	memset(a, 0, sizeof(*a));
	return text_set(a->realm, sizeof(a->realm), realm ? realm : RELAY_REALM);
}

void relay_auth_fini(struct relay_auth *a)
{
	crypto_wipe(a, sizeof(*a));
}

int relay_auth_set_stamp(struct relay_auth *a, const char *secret)
{
	return text_set(a->stamp, sizeof(a->stamp), secret);
}

int relay_auth_set_shared(struct relay_auth *a, const char *secret)
{
	return text_set(a->shared, sizeof(a->shared), secret);
}

static const struct relay_user *user_find(const struct relay_auth *a, const void *name, size_t len)
{
	for (uint32_t i = 0; i < a->n_users; i++)
		if (a->users[i].name_len == len && !memcmp(a->users[i].name, name, len))
			return &a->users[i];
	return NULL;
}

int relay_auth_add_user(struct relay_auth *a, const char *name, const char *password)
{
	size_t len = strlen(name);
	struct relay_user *u;

	if (!len || len > RELAY_USERNAME_MAX || !*password || strlen(password) > RELAY_SECRET_MAX)
		return -EINVAL;
	if (user_find(a, name, len))
		return -EEXIST;
	if (a->n_users == RELAY_USERS_MAX)
		return -ENOSPC;
	u = &a->users[a->n_users++];
	memcpy(u->name, name, len);
	u->name_len = (uint8_t)len;
	relay_long_term_key(name, len, a->realm, password, u->key);
	return 0;
}

int relay_stamp_password(const char *secret, const char *name, size_t name_len,
			 char out[RELAY_PASSWORD_CAP])
{
	uint8_t text[RELAY_USERNAME_MAX + RELAY_SECRET_MAX + 1], hash[SHA256_LEN];
	size_t secret_len = strlen(secret), head;
	struct timed_name t;

	if (name_len > RELAY_USERNAME_MAX || secret_len > RELAY_SECRET_MAX ||
	    !name_split(name, name_len, &t) || !name_is_stamp(&t))
		return -EINVAL;
	/* "<expiry>:" secret ":<salt>" */
	head = t.expiry_len + 1;
	memcpy(text, name, head);
	memcpy(text + head, secret, secret_len);
	memcpy(text + head + secret_len, name + t.expiry_len, name_len - t.expiry_len);
	sha256(text, name_len + secret_len + 1, hash);
	b64_encode(hash, sizeof(hash), out);
	out[strcspn(out, "=")] = '\0';
	crypto_wipe(text, sizeof(text));
	crypto_wipe(hash, sizeof(hash));
	return 0;
}

void relay_shared_password(const char *secret, const char *name, size_t name_len,
			   char out[RELAY_PASSWORD_CAP])
{
	uint8_t mac[SHA1_LEN];

	hmac_sha1(secret, strlen(secret), name, name_len, mac);
	b64_encode(mac, sizeof(mac), out);
	crypto_wipe(mac, sizeof(mac));
}

void relay_long_term_key(const char *name, size_t name_len, const char *realm, const char *password,
			 uint8_t out[RELAY_KEY_LEN])
{
	uint8_t text[RELAY_USERNAME_MAX + RELAY_REALM_MAX + RELAY_SECRET_MAX + 2];
	size_t realm_len = strnlen(realm, RELAY_REALM_MAX);
	size_t pass_len = strnlen(password, RELAY_SECRET_MAX);
	uint8_t *p = text;

	name_len = name_len < RELAY_USERNAME_MAX ? name_len : RELAY_USERNAME_MAX;
	memcpy(p, name, name_len);
	p += name_len;
	*p++ = ':';
	memcpy(p, realm, realm_len);
	p += realm_len;
	*p++ = ':';
	memcpy(p, password, pass_len);
	md5(text, (size_t)(p - text) + pass_len, out);
	crypto_wipe(text, sizeof(text));
}

static void key_from(const struct relay_auth *a, const char *name, size_t len, enum relay_cred cred,
		     struct relay_key *key)
{
	char password[RELAY_PASSWORD_CAP] = "";

	if (cred == RELAY_CRED_STAMP)
		relay_stamp_password(a->stamp, name, len, password);
	else
		relay_shared_password(a->shared, name, len, password);
	relay_long_term_key(name, len, a->realm, password, key->b);
	key->cred = cred;
	crypto_wipe(password, sizeof(password));
}

static bool key_fits(const struct stun_msg *m, struct relay_key *key)
{
	if (stun_integrity_ok(m, key->b, sizeof(key->b)))
		return true;
	crypto_wipe(key, sizeof(*key));
	return false;
}

enum relay_auth_rc relay_auth_check(const struct relay_auth *a, const struct stun_msg *m,
				    uint64_t unix_s, struct relay_key *key)
{
	size_t len;
	const char *name = (const char *)stun_bytes(m, STUN_A_USERNAME, &len);
	const struct relay_user *user;
	struct timed_name t;
	bool stamp, shared;

	memset(key, 0, sizeof(*key));
	if (!name || len > RELAY_USERNAME_MAX)
		return RELAY_AUTH_UNKNOWN;
	user = user_find(a, name, len);
	if (user) {
		key->cred = RELAY_CRED_USER;
		memcpy(key->b, user->key, sizeof(key->b));
		return key_fits(m, key) ? RELAY_AUTH_OK : RELAY_AUTH_BAD_MI;
	}
	if (!name_split(name, len, &t))
		return RELAY_AUTH_UNKNOWN;
	stamp = a->stamp[0] && name_is_stamp(&t);
	shared = a->shared[0];
	if (!stamp && !shared)
		return RELAY_AUTH_UNKNOWN;
	if (t.expiry < unix_s)
		return RELAY_AUTH_EXPIRED;
	if (stamp) {
		key_from(a, name, len, RELAY_CRED_STAMP, key);
		if (key_fits(m, key))
			return RELAY_AUTH_OK;
	}
	if (shared) {
		key_from(a, name, len, RELAY_CRED_SHARED, key);
		if (key_fits(m, key))
			return RELAY_AUTH_OK;
	}
	return RELAY_AUTH_BAD_MI;
}

bool relay_auth_error_key(const struct relay_auth *a, const struct stun_msg *m,
			  struct relay_key *key)
{
	size_t len;
	const char *name = (const char *)stun_bytes(m, STUN_A_USERNAME, &len);
	struct timed_name t;

	memset(key, 0, sizeof(*key));
	/* An answer without a claim to answer would only be larger than its request. */
	if (!a->stamp[0] || !stun_has(m, STUN_A_MESSAGE_INTEGRITY) || !name ||
	    len > RELAY_USERNAME_MAX || user_find(a, name, len) || !name_split(name, len, &t) ||
	    !name_is_stamp(&t))
		return false;
	key_from(a, name, len, RELAY_CRED_STAMP, key);
	return true;
}
