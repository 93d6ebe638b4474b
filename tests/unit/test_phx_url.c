/* SPDX-License-Identifier: Apache-2.0
 *
 * What is dialled: base URLs good and bad, the query's order and encoding, external id and user
 * agent. */
#include "tests/t.h"
#include <errno.h>
#include "core/phx/phx_url.h"

static struct phx_url u;
static const char *why;

static void test_query(void)
{
	uint8_t key[32];
	struct phx_url_params p = {.api_url = "wss://api.example.com/",
				   .role = "client",
				   .token = "n.abc/def+g==",
				   .device_id = "dev 1",
				   .name = "my host",
				   .public_key = key};

	for (size_t i = 0; i < 32; i++)
		key[i] = (uint8_t)i;
	T_EQ(phx_url_build(&u, &p, &why), 0);
	T(u.tls && u.port == 443);
	T_STR(u.host, "api.example.com");
	T_STR(u.path, "/client/websocket?token=n.abc%2Fdef%2Bg%3D%3D&external_id=dev+1&name=my+host"
		      "&public_key=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8%3D");
	T_STR(u.authorization, "");
	p.token_in_header = true;
	p.token = " n.abc/def+g==\n";
	p.device_serial = "S&1";
	p.device_uuid = "u";
	p.public_key = NULL;
	T_EQ(phx_url_build(&u, &p, &why), 0);
	T_STR(u.path,
	      "/client/websocket?external_id=dev+1&name=my+host&device_serial=S%261&device_uuid=u");
	T_STR(u.authorization, "Bearer n.abc/def+g==");
	phx_url_fini(&u);
	T_EQ(u.authorization[0], 0);
	p = (struct phx_url_params){.api_url = "http://h:80", .role = "relay"};
	T_EQ(phx_url_build(&u, &p, &why), 0);
	T_STR(u.path, "/relay/websocket");
	T(!u.tls && u.port == 80);
}

static void test_base_urls(void)
{
	static const struct {
		const char *url, *host;
		bool tls;
		uint16_t port;
		const char *path;
	} good[] = {
		{"wss://h", "h", true, 443, "/gateway/websocket"},
		{"https://H.example:8443/a/b/", "h.example", true, 8443, "/a/b/gateway/websocket"},
		{"HTTP://127.0.0.1", "127.0.0.1", false, 443, "/gateway/websocket"},
		{"ws://[::1]:4000/x?q=1#f", "::1", false, 4000, "/x/gateway/websocket"},
		{"ws://h?q=/", "h", false, 443, "/gateway/websocket"},
	};
	static const char *const bad[] = {
		"",
		"h",
		"ftp://h",
		"wss://",
		"wss:///x",
		"wss://h:0",
		"wss://h:",
		"wss://h:65536",
		"wss://h:8a",
		"wss://u@h",
		"wss://[::1",
		"wss://[::1]x",
		"wss://[h]",
		"wss://a b",
		"wss://-h",
		"wss://h/a b",
		"wss://[1.2.3.4]",
		"wss://h\r\nX",
		"wss://h/\x7f",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct phx_url_params p = {.api_url = good[i].url, .role = "gateway"};

		T_EQ(phx_url_build(&u, &p, &why), 0);
		T_STR(u.host, good[i].host);
		T_EQ(u.port, good[i].port);
		T_EQ(u.tls, good[i].tls);
		T_STR(u.path, good[i].path);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		if (!T_EQ(phx_url_check(bad[i], &why), -EINVAL))
			t_note("%s", bad[i]);
		T(why != NULL);
	}
}

static void test_too_long(void)
{
	static char token[PHX_PATH_CAP];
	struct phx_url_params p = {.api_url = "wss://h", .role = "client", .token = token};

	memset(token, 'a', sizeof(token) - 1);
	T_EQ(phx_url_build(&u, &p, &why), -EMSGSIZE);
	p.token_in_header = true;
	T_EQ(phx_url_build(&u, &p, &why), -EMSGSIZE);
	T_EQ(u.authorization[0], 0);
}

static void test_external_id(void)
{
	static const char *const uuids[] = {"11111111-2222-4333-8444-555555555555",
					    "11111111222243338444555555555555",
					    "{11111111-2222-4333-8444-555555555555}",
					    "urn:uuid:11111111-2222-4333-8444-555555555555",
					    "AAAAAAAA-2222-4333-8444-555555555555"};
	static const char *const others[] = {"", "x", "11111111-2222-4333-8444-55555555555g",
					     "{\"id\":\"11111111-2222-4333-8444-555555555555\"}",
					     "1111111122224333844455555555555z"};
	char buf[PHX_EXTERNAL_ID_CAP], first[65];

	T_EQ(phx_external_id(uuids[0], buf, sizeof(buf)), 0);
	T_STR(buf, "cf4c4732fd3b8f8a55b60871950a2f22c893ea7afd75d2146826534e3f67cc49");
	memcpy(first, buf, sizeof(first));
	for (size_t i = 1; i < sizeof(uuids) / sizeof(uuids[0]); i++) {
		T_EQ(phx_external_id(uuids[i], buf, sizeof(buf)), 0);
		T_EQ(strlen(buf), 64);
		T(strcmp(buf, first) != 0); /* over the text as given */
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		T_EQ(phx_external_id(others[i], buf, sizeof(buf)), 0);
		T_STR(buf, others[i]);
	}
	T_EQ(phx_external_id("abc", buf, 3), -EMSGSIZE);
	T_EQ(phx_external_id(uuids[0], buf, 64), -EMSGSIZE);
}

static void test_user_agent(void)
{
	char buf[PHX_USER_AGENT_CAP];

	phx_user_agent("Debian", "12.0.0", "1.4.14", "x86_64", "6.1.0-18-amd64", buf, sizeof(buf));
	T_STR(buf, "Debian/12.0.0 connlib/1.4.14 (x86_64; 6.1.0-18-amd64)");
	phx_user_agent("Debian", "12", "1.4.14", NULL, "6.1", buf, sizeof(buf));
	T_STR(buf, "Debian/12 connlib/1.4.14 (6.1)");
	phx_user_agent("D\xc3\xa9\r\nX: y", "12", "1", "x86_64", "", buf, sizeof(buf));
	T_STR(buf, "DX: y/12 connlib/1 (x86_64)");
	phx_user_agent("D", "1", "2", NULL, NULL, buf, sizeof(buf));
	T_STR(buf, "D/1 connlib/2");
	T_EQ(phx_user_agent("D", "1", "2", NULL, NULL, buf, 8), -EMSGSIZE);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_query);
	T_RUN(test_base_urls);
	T_RUN(test_too_long);
	T_RUN(test_external_id);
	T_RUN(test_user_agent);
	return t_done();
}
