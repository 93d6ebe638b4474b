/* SPDX-License-Identifier: Apache-2.0
 *
 * io/file: who may own a secret and how open it may be, identities old and new, replacement. */
#include "io/file.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/t.h"

static char dir[] = "/tmp/penstock-test-file.XXXXXX";
static char path[128];

static void put(const char *text, mode_t mode)
{
	T(file_write_atomic(path, mode, text, strlen(text), NULL) == 0);
}

static int secret(char *out, size_t cap, size_t *len, struct io_err *err)
{
	return file_read_secret(path, out, cap, len, err);
}

static void test_secret_permissions(void)
{
	static const struct {
		mode_t mode;
		int rc;
	} row[] = {{0600, 0},	   {0400, 0},	   {0640, -EPERM}, {0604, -EPERM},
		   {0644, -EPERM}, {0700, -EPERM}, {0610, -EPERM}, {0666, -EPERM}};
	char out[64];
	struct io_err err;
	size_t len;

	if (getuid() != 0) {
		t_skip("needs root");
		return;
	}
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		put("s3cret\n", row[i].mode);
		err.msg[0] = '\0';
		memset(out, 'x', sizeof(out));
		T_EQ(secret(out, sizeof(out), &len, &err), row[i].rc);
		if (row[i].rc == 0) {
			T_STR(out, "s3cret");
			T_EQ(len, 6);
			continue;
		}
		T(strstr(err.msg, path) != NULL);
		T(strstr(err.msg, "required: 0600") != NULL);
		T(out[0] == 0 && out[63] == 0);
	}
	put("s3cret", 0644);
	T_EQ(secret(out, sizeof(out), &len, &err), -EPERM);
	T(strstr(err.msg, "mode 0644") != NULL && strstr(err.msg, "s3cret") == NULL);
}

static void test_secret_owner_and_kind(void)
{
	char out[64];
	struct io_err err;
	size_t len;

	if (getuid() != 0) {
		t_skip("needs root");
		return;
	}
	put("s3cret", 0600);
	T(chown(path, 1, 0) == 0);
	T_EQ(secret(out, sizeof(out), &len, &err), -EPERM);
	T(strstr(err.msg, "uid 1") != NULL);
	T(chown(path, 0, 1) == 0);
	T_EQ(secret(out, sizeof(out), &len, &err), -EPERM);
	T(strstr(err.msg, "gid 1") != NULL);
	unlink(path);
	T_EQ(secret(out, sizeof(out), &len, &err), -ENOENT);
	T(mkfifo(path, 0600) == 0);
	T_EQ(secret(out, sizeof(out), &len, &err), -EPERM);
	T(strstr(err.msg, "not a regular file") != NULL);
	unlink(path);
}

static void test_secret_sizes(void)
{
	char out[8];
	size_t len;

	if (getuid() != 0) {
		t_skip("needs root");
		return;
	}
	put("", 0600);
	T_EQ(secret(out, sizeof(out), &len, NULL), -ENODATA);
	put(" \r\n\t\n", 0600);
	T_EQ(secret(out, sizeof(out), &len, NULL), -ENODATA);
	put("1234567", 0600);
	T_EQ(secret(out, sizeof(out), &len, NULL), 0);
	T_STR(out, "1234567");
	put("12345678", 0600);
	T_EQ(secret(out, sizeof(out), &len, NULL), -EFBIG);
	T_EQ(len, 0);
	T_EQ(out[0], 0);
}

static void test_identity_forms(void)
{
	static const struct {
		const char *text, *id;
	} row[] = {
		{"{\"id\":\"abc123\"}", "abc123"},
		{" {\"x\": 1, \"id\": \"abc-1_2\"}\n", "abc-1_2"},
		{"5f1c2d\n", "5f1c2d"},
		{"{\"id\":\"\"}", NULL},
		{"{\"id\":7}", NULL},
		{"{\"id\":\"a b\"}", NULL},
		{"{\"di\":\"abc\"}", NULL},
		{"[]", NULL},
		{"", NULL},
		{"\n", NULL},
		{"two words", NULL},
		{"../../etc", NULL},
		{"0123456789012345678901234567890123456789012345678901234567890123", ""},
		{"01234567890123456789012345678901234567890123456789012345678901234", NULL},
	};
	char id[FILE_ID_LEN];
	struct io_err err;

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		put(row[i].text, 0640);
		T_EQ(file_identity(path, id, &err), row[i].id ? 0 : -EINVAL);
		if (row[i].id)
			T_STR(id, row[i].id[0] ? row[i].id : row[i].text);
	}
}

static void test_identity_is_made_once(void)
{
	char sub[160], deep[192], id[FILE_ID_LEN], again[FILE_ID_LEN], text[256];
	struct io_err err;
	struct stat st;
	size_t len;

	snprintf(sub, sizeof(sub), "%s/a", dir);
	snprintf(deep, sizeof(deep), "%s/a/b/gateway_id", dir);
	T_EQ(file_identity(deep, id, &err), 0);
	T_EQ(strlen(id), 64);
	T_EQ(strspn(id, "0123456789abcdef"), 64);
	T_EQ(file_identity(deep, again, &err), 0);
	T_STR(again, id);
	T(stat(deep, &st) == 0 && (st.st_mode & 07777) == 0640);
	T_EQ(file_read(deep, text, sizeof(text), &len, NULL), 0);
	T_EQ(len, 64 + 9);
	T_MEM(text, "{\"id\":\"", 7);
	T(unlink(deep) == 0);
	T_EQ(file_identity(deep, again, &err), 0);
	T(strcmp(id, again) != 0);
	unlink(deep);
	deep[strlen(deep) - strlen("/gateway_id")] = '\0';
	T(stat(deep, &st) == 0 && (st.st_mode & 07777) == 0770);
	rmdir(deep);
	rmdir(sub);
}

static void test_replacement(void)
{
	char out[64], bad[160];
	struct io_err err;
	size_t len;

	put("first", 0600);
	put("second", 0600);
	T_EQ(file_read(path, out, sizeof(out), &len, NULL), 0);
	T_STR(out, "second");
	snprintf(bad, sizeof(bad), "%s/none/x", dir);
	T_EQ(file_write_atomic(bad, 0600, "x", 1, &err), -ENOENT);
	T(strstr(err.msg, bad) != NULL);
	T_EQ(file_read(bad, out, sizeof(out), &len, &err), -ENOENT);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/f", dir);
	T_RUN(test_secret_permissions);
	T_RUN(test_secret_owner_and_kind);
	T_RUN(test_secret_sizes);
	T_RUN(test_identity_forms);
	T_RUN(test_identity_is_made_once);
	T_RUN(test_replacement);
	unlink(path);
	rmdir(dir);
	return t_done();
}
