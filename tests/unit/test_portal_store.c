/* SPDX-License-Identifier: Apache-2.0
 *
 * What survives a restart of the portal, and which state files it refuses. */
#include <sys/stat.h>
#include <unistd.h>

#include "apps/portal/store.h"
#include "tests/unit/portal_fixture.h"

static uint64_t alice, gw;

/* Alice has a flow to "lan". */
static void start_with_flow(const struct fx_config *v)
{
	fx_start(v);
	gw = fx_join(ROLE_GATEWAY, TOK_G, "g");
	alice = fx_join(ROLE_CLIENT, TOK_A, "a");
	fx_flow(alice, gw, RES_LAN);
	T(fx_quiet());
}

static char dir[] = "/tmp/portal-test-XXXXXX";
static char path[64];

/* Another process: nothing but the state file is left. */
static void restart(const struct fx_config *v)
{
	static const struct fx_config plain;
	uint64_t now = fx_now, wall = fx_wall, seed = fx_seed;
	struct store_error err;
	char *text = store_text(&fx);

	T_EQ(store_write(path, text), 0);
	store_text_free(text);
	fx_drain();
	portal_fini(&fx);
	fx_start(v ? v : &plain);
	fx_now = now;
	fx_wall = wall;
	fx_seed = seed;
	if (!T_EQ(store_load(path, &fx, &err), 0))
		t_note("%s", err.msg);
	portal_reconcile(&fx, fx_wall);
}

static void test_restart_keeps_devices_and_flows(void)
{
	struct fx_config v = {.alice_expiry = "1900000000"};
	char id[UUID_STRLEN], gid[UUID_STRLEN], want[256];
	uint8_t psk[PSK_BASE_LEN];
	struct stat st;
	uint32_t slot;
	json_t *f;

	start_with_flow(&v);
	snprintf(id, sizeof(id), "%s", fx_id(alice));
	snprintf(gid, sizeof(gid), "%s", fx_id(gw));
	slot = registry_find(&fx.reg, id)->slot;
	memcpy(psk, registry_find(&fx.reg, id)->psk_base, sizeof(psk));
	restart(&v);
	T_EQ(stat(path, &st), 0);
	T_EQ(st.st_mode & 0777, 0600);
	T_EQ(fx.reg.n, 2);
	gw = fx_connect(ROLE_GATEWAY, TOK_G, "g");
	T_STR(fx_id(gw), gid);
	fx_sayf(gw, "{'topic':'gateway','event':'phx_join','payload':null,'ref':0}");
	json_decref(fx_frame(gw));
	f = fx_frame(gw);
	snprintf(want, sizeof(want),
		 "[{\"client_id\":\"%s\",\"resource_id\":\"%s\",\"expires_at\":%u}]", id, RES_LAN,
		 1900000000u);
	json_t *w = json_loads(want, 0, NULL);
	T(json_equal(json_object_get(json_object_get(f, "payload"), "authorizations"), w));
	json_decref(w);
	json_decref(f);
	alice = fx_join(ROLE_CLIENT, TOK_A, "a");
	T_STR(fx_id(alice), id);
	T_EQ(registry_find(&fx.reg, id)->slot, slot);
	T_MEM(registry_find(&fx.reg, id)->psk_base, psk, sizeof(psk));
	fx_sayf(gw,
		"{'topic':'gateway','event':'broadcast_ice_candidates','ref':2,'payload':"
		"{'client_ids':['%s'],'candidates':['x']}}",
		id);
	f = fx_frame(alice); /* they are still known to belong together */
	json_decref(f);
	fx_stop();
}

static void test_restart_with_another_file_revokes(void)
{
	struct fx_config none = {.policies = ""};

	start_with_flow(NULL);
	restart(&none);
	T_EQ(fx.flows.n, 1);
	T(fx.flows.f[0].revoked_at != 0);
	fx_stop();
}

static void test_broken_state_files(void)
{
	static const char dev[] =
		"{\"id\":\"11111111-1111-4111-8111-111111111111\",\"role\":\"client\","
		"\"owner\":\"a\",\"external_id\":\"x\",\"name\":\"n\",\"ipv4\":\"100.64.0.5\","
		"\"ipv6\":\"fd00:2021:1111::5\","
		"\"psk_base\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\",\"last_seen\":1}";
	static const struct {
		const char *from, *to, *msg;
	} rows[] = {
		{"", "", NULL},
		{"\"version\":1", "\"version\":2", "version"},
		{"\"flows\":[]", "\"flows\":{}", "lacks"},
		{"\"flows\":[]", "\"flows\":[1]", "flows[0]"},
		{"\"last_seen\":1", "\"last_seen\":\"x\"", "devices[0]"},
		{"11111111-", "1111111-", "UUID"},
		{"\"role\":\"client\"", "\"role\":\"king\"", "role"},
		{"100.64.0.5", "10.0.0.5", "100.64.0.0/11"},
		{"100.64.0.5", "100.64.0.x", "not an address"},
		{"fd00:2021:1111::5", "fd00:2021:1111::6", "does not belong"},
		{"AAEC", "!AEC", "psk_base"},
		{"}]", "", "JSON"},
	};
	char doc[1024], text[1024];
	struct store_error err;

	snprintf(doc, sizeof(doc), "{\"version\":1,\"devices\":[%s],\"flows\":[]}", dev);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *at = strstr(doc, rows[i].from);
		int rc;

		snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - doc), doc, rows[i].to,
			 at + strlen(rows[i].from));
		T_EQ(store_write(path, text), 0);
		fx_start(NULL);
		rc = store_load(path, &fx, &err);
		if (!T((rc == 0) == !rows[i].msg) ||
		    (rows[i].msg && !T(strstr(err.msg, rows[i].msg) != NULL)))
			t_note("row %zu: %d %s", i, rc, err.msg);
		fx_stop();
	}
	snprintf(text, sizeof(text), "{\"version\":1,\"devices\":[%s,%s],\"flows\":[]}", dev, dev);
	T_EQ(store_write(path, text), 0);
	fx_start(NULL);
	T(store_load(path, &fx, &err) < 0 && strstr(err.msg, "devices[1]"));
	fx_stop();
}

static void test_state_file_permissions(void)
{
	struct store_error err;

	T_EQ(store_write(path, "{\"version\":1,\"devices\":[],\"flows\":[]}"), 0);
	fx_start(NULL);
	T_EQ(store_load(path, &fx, &err), 0);
	T_EQ(chmod(path, 0640), 0);
	T(store_load(path, &fx, &err) < 0);
	T(strstr(err.msg, "0600") != NULL);
	unlink(path);
	T_EQ(store_load(path, &fx, &err), 0); /* none yet */
	T(store_write("/nonexistent/x", "") < 0);
	fx_stop();
}

/* A tenth of the time at most, never at once, never much later. */
static void test_pause_by_what_a_text_takes(void)
{
	T_EQ(store_pause_ms(0), 20);
	T_EQ(store_pause_ms(1500000), 20);
	T_EQ(store_pause_ms(60000000), 600);
	T_EQ(store_pause_ms(900000000), 2000);
	T_EQ(store_pause_ms(UINT64_MAX), 2000);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/state.json", dir);
	T_RUN(test_restart_keeps_devices_and_flows);
	T_RUN(test_restart_with_another_file_revokes);
	T_RUN(test_broken_state_files);
	T_RUN(test_state_file_permissions);
	T_RUN(test_pause_by_what_a_text_takes);
	unlink(path);
	rmdir(dir);
	return t_done();
}
