/* SPDX-License-Identifier: Apache-2.0
 * Log lines in both formats, filters, hostile field values. */
#include "tests/t.h"
#include <errno.h>
#include <jansson.h>
#include "base/log.h"

#define STAMP UINT64_C(1767323045678) /* 2026-01-02T03:04:05.678Z */

static char line[8192];

#define FMT(format, ...)                                                                           \
	(line[log_format(line, sizeof(line) - 1, format, STAMP, LOG_LEVEL_INFO, "portal",          \
			 "joined room",                                                            \
			 (const struct log_kv[]){__VA_OPT__(__VA_ARGS__, ){.key = NULL}})] = '\0', \
	 line)

static void test_human(void)
{
	struct ipaddr ip = ipaddr_v4(192, 0, 2, 1);
	struct endpoint ep = {.ip = ip, .port = 80};

	T_STR(FMT(LOG_FORMAT_HUMAN), "2026-01-02T03:04:05.678Z  INFO portal: joined room\n");
	T_STR(FMT(LOG_FORMAT_HUMAN, LOG_STR("topic", "client"), LOG_U64("n", 3), LOG_I64("i", -3),
		  LOG_BOOL("b", true), LOG_NS("t", 1250000000), LOG_IP("ip", &ip),
		  LOG_ENDPOINT("ep", &ep), LOG_ERRNO("err", -ENOENT)),
	      "2026-01-02T03:04:05.678Z  INFO portal: joined room topic=client n=3 i=-3 b=true "
	      "t=1.250s ip=192.0.2.1 ep=192.0.2.1:80 err=\"No such file or directory\"\n");
}

static void test_hostile_values_stay_one_record(void)
{
	const char *evil = "a\nERROR x: \"q\" \x1b[31m \xff \xc2\x85 \xe2\x82\xac";

	FMT(LOG_FORMAT_HUMAN, LOG_STR("v", evil));
	T(strchr(line, '\n') == line + strlen(line) - 1);
	T(!strchr(line, 0x1b));
	T(strstr(line, "v=\"a\\nERROR x: \\\"q\\\" \\u001b[31m \\u00ff \\u0085 \xe2\x82\xac\""));
	T_STR(strstr(FMT(LOG_FORMAT_HUMAN, LOG_STR("v", "")), " v="), " v=\"\"\n");
	T_STR(strstr(FMT(LOG_FORMAT_HUMAN, LOG_STR("v", "a b=c")), " v="), " v=\"a b=c\"\n");
}

static void test_json(void)
{
	const char *evil = "a\n\"\\\x01\xff\x7f\xed\xa0\x80";
	json_t *j;

	FMT(LOG_FORMAT_JSON, LOG_STR("topic", evil), LOG_U64("n", UINT64_C(1) << 40),
	    LOG_STR("level", "mine"), LOG_STRN("part", "abcdef", 3), LOG_STR("none", NULL));
	j = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	T(j != NULL);
	T_STR(json_string_value(json_object_get(j, "timestamp")), "2026-01-02T03:04:05.678Z");
	T_STR(json_string_value(json_object_get(j, "level")), "INFO");
	T_STR(json_string_value(json_object_get(j, "target")), "portal");
	T_STR(json_string_value(json_object_get(j, "message")), "joined room");
	T_STR(json_string_value(json_object_get(j, "_level")), "mine");
	T_STR(json_string_value(json_object_get(j, "part")), "abc");
	T_EQ(json_integer_value(json_object_get(j, "n")), UINT64_C(1) << 40);
	json_decref(j);
}

static void test_overlong_is_cut(void)
{
	static char big[10000];
	json_t *j;

	memset(big, 'x', sizeof(big) - 1);
	FMT(LOG_FORMAT_JSON, LOG_U64("n", 1), LOG_STR("big", big));
	j = json_loads(line, 0, NULL);
	T(json_is_true(json_object_get(j, "_cut")));
	T_EQ(json_integer_value(json_object_get(j, "n")), 1);
	json_decref(j);
	FMT(LOG_FORMAT_HUMAN, LOG_STR("big", big));
	T(strstr(line, "...[cut]\n") != NULL);
	T_EQ(log_format(line, 10, LOG_FORMAT_HUMAN, STAMP, LOG_LEVEL_INFO, "t", "m",
			(const struct log_kv[]){{.key = NULL}}),
	     0);
}

static void test_filter(void)
{
	const char *bad = "";

	T_EQ(log_init(&(struct log_cfg){.filter = "warn, portal=debug,portal.ws=trace,tun=off"},
		      &bad),
	     0);
	T(log_enabled(LOG_LEVEL_WARN, "x") && !log_enabled(LOG_LEVEL_INFO, "x"));
	T(log_enabled(LOG_LEVEL_DEBUG, "portal") && !log_enabled(LOG_LEVEL_TRACE, "portal"));
	T(log_enabled(LOG_LEVEL_TRACE, "portal.ws") && log_enabled(LOG_LEVEL_TRACE, "portal.ws.x"));
	T(log_enabled(LOG_LEVEL_DEBUG, "portal::a") && !log_enabled(LOG_LEVEL_INFO, "portals"));
	T(!log_enabled(LOG_LEVEL_ERROR, "tun"));
	T(!log_enabled(LOG_LEVEL_OFF, "portal"));
	T_EQ(log_init(&(struct log_cfg){.filter = "portal=loud,debug"}, &bad), -EINVAL);
	T_STR(bad, "portal=loud");
	T(log_enabled(LOG_LEVEL_DEBUG, "x"));
	T_EQ(log_init(&(struct log_cfg){.filter = "=debug"}, &bad), -EINVAL);
	T_EQ(log_init(&(struct log_cfg){.filter = ""}, &bad), 0);
	T(log_enabled(LOG_LEVEL_INFO, "x") && !log_enabled(LOG_LEVEL_DEBUG, "x"));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_human);
	T_RUN(test_hostile_values_stay_one_record);
	T_RUN(test_json);
	T_RUN(test_overlong_is_cut);
	T_RUN(test_filter);
	return t_done();
}
