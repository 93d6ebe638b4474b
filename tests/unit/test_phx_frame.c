/* SPDX-License-Identifier: Apache-2.0
 *
 * Channel frames: the verdict for each kind of text, the limits, every truncation and many
 * mutations. */
#include "tests/t.h"
#include <errno.h>
#include "codec/phx_frame.h"

static enum phx_frame_verdict decode(const char *text)
{
	struct phx_frame f;
	enum phx_frame_verdict v = phx_frame_decode(&f, text, strlen(text));

	if (v == PHX_FRAME_OK)
		phx_frame_fini(&f);
	else
		T(f.why != NULL && f.payload == NULL);
	return v;
}

static void test_decodes(void)
{
	const char *text =
		"{\"join_ref\":\"x\",\"topic\":\"client\",\"event\":\"phx_reply\",\"ref\":7,"
		"\"payload\":{\"status\":\"ok\",\"response\":{}}}";
	struct phx_frame f;

	T_EQ(phx_frame_decode(&f, text, strlen(text)), PHX_FRAME_OK);
	T_STR(f.topic, "client");
	T_STR(f.event, "phx_reply");
	T(f.has_ref && f.ref == 7);
	T_STR(json_string_value(json_object_get(f.payload, "status")), "ok");
	phx_frame_fini(&f);
	text = "{\"topic\":\"t\",\"event\":\"e\",\"ref\":null,\"payload\":\"bare\"}";
	T_EQ(phx_frame_decode(&f, text, strlen(text)), PHX_FRAME_OK);
	T(!f.has_ref);
	json_t *payload = phx_frame_take_payload(&f);

	phx_frame_fini(&f);
	T_STR(json_string_value(payload), "bare");
	json_decref(payload);
	text = "{\"topic\":\"t\",\"event\":\"e\"}";
	T_EQ(phx_frame_decode(&f, text, strlen(text)), PHX_FRAME_OK);
	T(!f.has_ref && json_is_null(f.payload));
	phx_frame_fini(&f);
}

static void test_verdicts(void)
{
	static const struct {
		enum phx_frame_verdict v;
		const char *text;
	} table[] = {
		{PHX_FRAME_TRUNCATED, ""},
		{PHX_FRAME_TRUNCATED, "  "},
		{PHX_FRAME_TRUNCATED, "{"},
		{PHX_FRAME_TRUNCATED, "{\"topic\":\"t"},
		{PHX_FRAME_TRUNCATED, "{\"topic\":\"t\",\"event\":\"e\",\"payload\":[1,2"},
		{PHX_FRAME_BAD, "nonsense"},
		{PHX_FRAME_BAD, "[]"},
		{PHX_FRAME_BAD, "[null,null,\"t\",\"e\",{}]"},
		{PHX_FRAME_BAD, "{}"},
		{PHX_FRAME_BAD, "{\"topic\":1,\"event\":\"e\",\"payload\":{}}"},
		{PHX_FRAME_BAD, "{\"topic\":\"t\",\"event\":null,\"payload\":{}}"},
		{PHX_FRAME_BAD, "{\"topic\":\"t\",\"event\":\"e\",\"ref\":\"1\"}"},
		{PHX_FRAME_BAD, "{\"topic\":\"t\",\"event\":\"e\",\"ref\":-1}"},
		{PHX_FRAME_BAD, "{\"topic\":\"t\",\"event\":\"e\",\"ref\":1.5}"},
		{PHX_FRAME_BAD, "{\"topic\":\"t\",\"event\":\"e\",\"ref\":99999999999999999999}"},
		{PHX_FRAME_BAD, "{\"topic\":\"t\",\"topic\":\"u\",\"event\":\"e\"}"},
		{PHX_FRAME_BAD, "{\"topic\":\"t\",\"event\":\"e\"} x"},
		{PHX_FRAME_BAD, "{\"topic\":\"a\\u0000b\",\"event\":\"e\"}"},
		{PHX_FRAME_BAD, "{\"topic\":\"t\",\"event\":\"e\",\"payload\":\"\xff\"}"},
		{PHX_FRAME_BAD,
		 "{\"topic\":\"0123456789012345678901234567890123456789012345678901234567890123\","
		 "\"event\":\"e\"}"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (!T_EQ(decode(table[i].text), table[i].v))
			t_note("%s", table[i].text);
}

static void test_limits(void)
{
	static char text[PHX_FRAME_MAX + 64];
	struct phx_frame f;
	size_t n;

	memset(text, '[', 1000);
	T_EQ(phx_frame_decode(&f, text, 1000), PHX_FRAME_BAD);
	T_STR(f.why, "nested too deeply");
	n = (size_t)snprintf(text, 64, "{\"topic\":\"t\",\"event\":\"e\",\"payload\":[");
	while (n < PHX_FRAME_VALUES_MAX * 3)
		n += (size_t)snprintf(text + n, 8, "0,");
	n += (size_t)snprintf(text + n, 8, "0]}");
	T_EQ(phx_frame_decode(&f, text, n), PHX_FRAME_BAD);
	T_STR(f.why, "too many values");
	T_EQ(phx_frame_decode(&f, text, PHX_FRAME_MAX + 1), PHX_FRAME_BAD);
	T_STR(f.why, "too long");
	/* Brackets inside strings do not count. */
	T_EQ(decode("{\"topic\":\"t\",\"event\":\"e\",\"payload\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[["
		    "\\\"[[[[[\"}"),
	     PHX_FRAME_OK);
}

static void test_encodes(void)
{
	char buf[128];
	size_t len;

	T_EQ(phx_frame_encode("gateway", "phx_join", "null", 0, buf, sizeof(buf), &len), 0);
	T_STR(buf, "{\"topic\":\"gateway\",\"event\":\"phx_join\",\"payload\":null,\"ref\":0}");
	T_EQ(len, strlen(buf));
	T_EQ(phx_frame_encode("phoenix", "heartbeat", "{}", UINT64_MAX, buf, sizeof(buf), &len), 0);
	T_STR(buf, "{\"topic\":\"phoenix\",\"event\":\"heartbeat\",\"payload\":{},"
		   "\"ref\":18446744073709551615}");
	for (size_t cap = 0; cap <= len; cap++)
		T_EQ(phx_frame_encode("phoenix", "heartbeat", "{}", UINT64_MAX, buf, cap,
				      &(size_t){0}),
		     -EMSGSIZE);
	T_EQ(phx_frame_encode("a\"b", "e", "{}", 0, buf, sizeof(buf), &len), -EINVAL);
	T_EQ(phx_frame_encode("a", "", "{}", 0, buf, sizeof(buf), &len), -EINVAL);
}

/* Every prefix of a frame, and every byte of it changed, gives a verdict and no more. */
static void test_truncated_and_mutated(void)
{
	const char *text =
		"{\"topic\":\"gateway\",\"event\":\"init\",\"ref\":null,\"payload\":{\"a\":[1,"
		"{\"b\":\"\\u20ac\"}],\"c\":true}}";
	size_t len = strlen(text);
	uint64_t rng = t_seed();
	char copy[256];
	struct phx_frame f;

	for (size_t n = 0; n < len; n++)
		if (!T(phx_frame_decode(&f, text, n) == PHX_FRAME_TRUNCATED))
			t_note("prefix of %zu bytes", n);
	for (int i = 0; i < 20000; i++) {
		memcpy(copy, text, len);
		for (uint64_t k = 0; k <= t_rand(&rng) % 3; k++)
			copy[t_rand(&rng) % len] = (char)t_rand(&rng);
		if (phx_frame_decode(&f, copy, len) == PHX_FRAME_OK)
			phx_frame_fini(&f);
	}
	T(true);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_decodes);
	T_RUN(test_verdicts);
	T_RUN(test_limits);
	T_RUN(test_encodes);
	T_RUN(test_truncated_and_mutated);
	return t_done();
}
