/* SPDX-License-Identifier: Apache-2.0
 *
 * Structured logging for io/ and apps/. The sans-IO layers never log: they emit events and
 * counters. A line is a level, a target ("portal", "tunnel", …), a fixed message and typed fields:
 *
 *     LOG_INFO("portal", "joined room", LOG_STR("topic", topic), LOG_U64("attempt", n));
 *
 * Human format:  2026-01-02T03:04:05.678Z  INFO portal: joined room topic=client attempt=3
 * JSON lines:    {"timestamp":"…","level":"INFO","target":"portal","message":"joined
 * room","topic":…} Values of remote origin are escaped in both, so one line is always one record.
 * The four leading JSON names are taken: a field called so gets an underscore in front. Fields are
 * not evaluated when the level is off. Secrets have no LOG_ macro. Implementation: io/log.c. */
#ifndef PENSTOCK_BASE_LOG_H
#define PENSTOCK_BASE_LOG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"
#include "base/uuid.h"

enum log_level {
	LOG_LEVEL_OFF,
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_TRACE,
};

enum log_format { LOG_FORMAT_HUMAN, LOG_FORMAT_JSON };

enum log_kind {
	LOG_KIND_END,
	LOG_KIND_STR,
	LOG_KIND_STRN,
	LOG_KIND_U64,
	LOG_KIND_I64,
	LOG_KIND_BOOL,
	LOG_KIND_ERRNO,
	LOG_KIND_NS,
	LOG_KIND_IP,
	LOG_KIND_ENDPOINT,
	LOG_KIND_NET,
	LOG_KIND_UUID,
};

struct log_kv {
	const char *key;
	enum log_kind kind;
	size_t len; /* LOG_KIND_STRN only */
	union {
		const void *ptr;
		uint64_t u;
		int64_t i;
	};
};

#define LOG_STR(k, v)                                                   \
	{                                                               \
		.key = (k), .kind = LOG_KIND_STR, .ptr = (const char *) \
		{                                                       \
			(v)                                             \
		}                                                       \
	}
#define LOG_STRN(k, v, n) {.key = (k), .kind = LOG_KIND_STRN, .len = (n), .ptr = (v)}
#define LOG_U64(k, v)	  {.key = (k), .kind = LOG_KIND_U64, .u = (v)}
#define LOG_I64(k, v)	  {.key = (k), .kind = LOG_KIND_I64, .i = (v)}
#define LOG_BOOL(k, v)	  {.key = (k), .kind = LOG_KIND_BOOL, .u = (v) ? 1 : 0}
/* err: positive or negative errno; printed as its text. */
#define LOG_ERRNO(k, err) {.key = (k), .kind = LOG_KIND_ERRNO, .i = (err)}
/* A span in ns; printed as seconds with millisecond digits ("1.250s"). */
#define LOG_NS(k, v) {.key = (k), .kind = LOG_KIND_NS, .u = (v)}
#define LOG_IP(k, addr)                                                         \
	{                                                                       \
		.key = (k), .kind = LOG_KIND_IP, .ptr = (const struct ipaddr *) \
		{                                                               \
			(addr)                                                  \
		}                                                               \
	}
#define LOG_ENDPOINT(k, addr)                                                           \
	{                                                                               \
		.key = (k), .kind = LOG_KIND_ENDPOINT, .ptr = (const struct endpoint *) \
		{                                                                       \
			(addr)                                                          \
		}                                                                       \
	}
#define LOG_NET(k, net)                                                         \
	{                                                                       \
		.key = (k), .kind = LOG_KIND_NET, .ptr = (const struct ipnet *) \
		{                                                               \
			(net)                                                   \
		}                                                               \
	}
#define LOG_UUID(k, id)                                                         \
	{                                                                       \
		.key = (k), .kind = LOG_KIND_UUID, .ptr = (const struct uuid *) \
		{                                                               \
			(id)                                                    \
		}                                                               \
	}

#define LOG_AT(level, target, msg, ...)                                                            \
	do {                                                                                       \
		if (log_enabled((level), (target)))                                                \
			log_emit((level), (target), (msg),                                         \
				 (const struct log_kv[]){__VA_OPT__(__VA_ARGS__, ){.key = NULL}}); \
	} while (0)
#define LOG_ERROR(target, msg, ...) LOG_AT(LOG_LEVEL_ERROR, target, msg, __VA_ARGS__)
#define LOG_WARN(target, msg, ...)  LOG_AT(LOG_LEVEL_WARN, target, msg, __VA_ARGS__)
#define LOG_INFO(target, msg, ...)  LOG_AT(LOG_LEVEL_INFO, target, msg, __VA_ARGS__)
#define LOG_DEBUG(target, msg, ...) LOG_AT(LOG_LEVEL_DEBUG, target, msg, __VA_ARGS__)
#define LOG_TRACE(target, msg, ...) LOG_AT(LOG_LEVEL_TRACE, target, msg, __VA_ARGS__)

struct log_cfg {
	/* "debug", "info,portal=debug", …; NULL: $PENSTOCK_LOG, else $RUST_LOG, else "info". */
	const char *filter;
	enum log_format format;
	int fd; /* 0 means 2 (stderr) */
};

/* Call once, before threads start; before it the filter is "info", human, on stderr. -EINVAL: the
 * filter does not parse; what does parse of it is in force, and *bad (may be NULL) points at a
 * static copy of the offending directive. */
int log_init(const struct log_cfg *cfg, const char **bad);
bool log_enabled(enum log_level level, const char *target);
/* kv ends with an entry whose key is NULL. One write(2) a line; longer than 8 KiB is cut and
 * marked. */
void log_emit(enum log_level level, const char *target, const char *msg, const struct log_kv *kv);
/* Format one line (with '\n') into buf without writing it; returns its length. unix_ms is the
 * stamp. */
size_t log_format(char *buf, size_t cap, enum log_format format, uint64_t unix_ms,
		  enum log_level level, const char *target, const char *msg,
		  const struct log_kv *kv);
#endif
