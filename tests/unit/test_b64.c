/* SPDX-License-Identifier: Apache-2.0
 * Base64 and UUID text, strict both ways. */
#include "tests/t.h"
#include <errno.h>
#include "base/b64.h"
#include "base/uuid.h"

static void test_rfc4648_vectors(void)
{
	static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
	static const char *const text[] = {"",	       "Zg==",	   "Zm8=",    "Zm9v",
					   "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
	char out[16];
	size_t len;

	for (size_t i = 0; i < 7; i++) {
		T_STR(b64_encode(plain[i], strlen(plain[i]), out), text[i]);
		T_EQ(b64_decode(text[i], strlen(text[i]), out, sizeof(out), &len), 0);
		T_EQ(len, strlen(plain[i]));
		T_MEM(out, plain[i], len);
	}
}

static void test_rejects_what_is_not_canonical(void)
{
	static const char *const bad[] = {"Zg",	      "Zg=",  "Zh==", "Zm9=", "=Zg=",
					  "Zg==Zg==", "====", "Zm 9", "Zm9-", "Zm9_",
					  "Zm9v\nZg", "Z===", "Zg=a"};
	char out[16];
	size_t len;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		T_EQ(b64_decode(bad[i], strlen(bad[i]), out, sizeof(out), &len), -EINVAL);
	T_EQ(b64_decode("Zm9vYmFy", 8, out, 5, &len), -EMSGSIZE);
}

static void test_keys(void)
{
	uint8_t key[32], want[32];

	for (size_t i = 0; i < 32; i++)
		want[i] = (uint8_t)i;
	T_EQ(b64_key_decode("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", key), 0);
	T_MEM(key, want, 32);
	memset(key, 0xee, 32);
	T_EQ(b64_key_decode("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", key), -EINVAL);
	T_EQ(b64_key_decode("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=", key), -EINVAL);
	T_EQ(b64_key_decode("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", key), -EINVAL);
	T_EQ(b64_key_decode("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=x", key), -EINVAL);
	T_EQ(b64_key_decode("", key), -EINVAL);
	T_EQ(key[0], 0xee);
}

static void test_uuid(void)
{
	static const char *const bad[] = {"",
					  "11111111-1111-4111-8111-11111111111",
					  "11111111-1111-4111-8111-1111111111111",
					  "11111111111141118111111111111111",
					  "1111111g-1111-4111-8111-111111111111",
					  "11111111_1111-4111-8111-111111111111",
					  "{1111111-1111-4111-8111-11111111111}"};
	struct uuid id = {{1}}, other;
	char buf[UUID_STRLEN];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		T_EQ(uuid_parse(bad[i], &id), -EINVAL);
	T_EQ(id.b[0], 1);
	T_EQ(uuid_parse("ABCDEF01-2345-6789-abcd-ef0123456789", &id), 0);
	T_STR(uuid_fmt(&id, buf), "abcdef01-2345-6789-abcd-ef0123456789");
	T_EQ(uuid_parse(buf, &other), 0);
	T(uuid_eq(&id, &other));
	other.b[15] ^= 1;
	T(!uuid_eq(&id, &other));
	T(!uuid_is_nil(&id));
	T_EQ(uuid_parse("00000000-0000-0000-0000-000000000000", &id), 0);
	T(uuid_is_nil(&id));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_rfc4648_vectors);
	T_RUN(test_rejects_what_is_not_canonical);
	T_RUN(test_keys);
	T_RUN(test_uuid);
	return t_done();
}
