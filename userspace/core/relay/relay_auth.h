/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may allocate on a relay: long-term credentials (RFC 8489 §9.2, MD5 key, HMAC-SHA1) of three
 * kinds, in any combination.
 *
 *   user    a fixed name and password
 *   stamp   the portal's: username "<expiry>:<salt>", password unpadded base64 of
 *           SHA-256("<expiry>:<stamp>:<salt>")
 *   shared  time-limited: username "<expiry>" or "<expiry>:<anything>", password base64 of
 *           HMAC-SHA1(secret, username)
 *
 * A name in the user list is a user, whatever it looks like; otherwise the stamp is tried before
 * the shared secret. Expiries are Unix seconds and still good in the second they name.
 *
 * Not here: nonces (relay_nonce.h), quotas, which errors follow. Holds secrets: relay_auth_fini. */
#ifndef PENSTOCK_CORE_RELAY_AUTH_H
#define PENSTOCK_CORE_RELAY_AUTH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/b64.h"
#include "codec/stun.h"
#include "crypto/crypto.h"

#define RELAY_REALM	   "firezone" /* of an owner that names none */
#define RELAY_REALM_MAX	   63
#define RELAY_USERNAME_MAX 128 /* portal: 64 */
#define RELAY_SECRET_MAX   128 /* portal: 64 hexadecimal digits */
#define RELAY_USERS_MAX	   256
#define RELAY_PASSWORD_CAP B64_STRLEN(SHA256_LEN)
#define RELAY_KEY_LEN	   MD5_LEN

enum relay_cred {
	RELAY_CRED_NONE, /* no such user, or a name of no known form */
	RELAY_CRED_USER,
	RELAY_CRED_STAMP,
	RELAY_CRED_SHARED,
};

struct relay_user {
	char name[RELAY_USERNAME_MAX];
	uint8_t name_len;
	uint8_t key[RELAY_KEY_LEN];
};

struct relay_auth {
	char realm[RELAY_REALM_MAX + 1];
	char stamp[RELAY_SECRET_MAX + 1];  /* "": not in use */
	char shared[RELAY_SECRET_MAX + 1]; /* "": not in use */
	uint32_t n_users;
	struct relay_user users[RELAY_USERS_MAX];
};

/* What MESSAGE-INTEGRITY of a user is made with. Wipe it. */
struct relay_key {
	enum relay_cred cred;
	uint8_t b[RELAY_KEY_LEN];
};

/* No credentials: nobody may allocate. realm NULL: RELAY_REALM. 0, or -EINVAL when it is too long
 * or empty. */
int relay_auth_init(struct relay_auth *a, const char *realm);
void relay_auth_fini(struct relay_auth *a);
/* 0 or -EINVAL (empty or too long). The secrets are text, hashed as it is. */
int relay_auth_set_stamp(struct relay_auth *a, const char *secret);
int relay_auth_set_shared(struct relay_auth *a, const char *secret);
/* 0, -EINVAL (empty or too long), -EEXIST or -ENOSPC. */
int relay_auth_add_user(struct relay_auth *a, const char *name, const char *password);

/* Passwords as the portal and a web service make them; out is NUL-terminated. Tests and
 * simulations make credentials with them, too. -EINVAL: not "<expiry>:<salt>". */
int relay_stamp_password(const char *secret, const char *name, size_t name_len,
			 char out[RELAY_PASSWORD_CAP]);
void relay_shared_password(const char *secret, const char *name, size_t name_len,
			   char out[RELAY_PASSWORD_CAP]);
/* MD5(name ":" realm ":" password). */
void relay_long_term_key(const char *name, size_t name_len, const char *realm, const char *password,
			 uint8_t out[RELAY_KEY_LEN]);

enum relay_auth_rc {
	RELAY_AUTH_OK,
	RELAY_AUTH_UNKNOWN, /* no such user, or a name of no form in use */
	RELAY_AUTH_EXPIRED,
	RELAY_AUTH_BAD_MI,
};

/* Whose request is this? unix_s: wall clock. *key is set on OK. Constant time in the secrets. */
enum relay_auth_rc relay_auth_check(const struct relay_auth *a, const struct stun_msg *m,
				    uint64_t unix_s, struct relay_key *key);
/* A key to sign an error with for a request whose own integrity was not (or not well) proven: only
 * of names whose password is beyond guessing, i.e. of the stamp. false: send it unsigned. */
bool relay_auth_error_key(const struct relay_auth *a, const struct stun_msg *m,
			  struct relay_key *key);
#endif
