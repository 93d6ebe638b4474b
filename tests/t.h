/* SPDX-License-Identifier: Apache-2.0
 *
 * Penstock's test harness: TAP on stdout, one binary per module.
 *
 * A test file defines `static void test_x(void)` functions and a main made of T_RUN lines:
 *
 *     int main(int argc, char **argv)
 *     {
 *             t_init(argc, argv);
 *             T_RUN(test_parse_rejects_short);
 *             return t_done();
 *     }
 *
 * argv: [filter] [--seed N]. Checks never abort a test function; a failed one is printed with file
 * and line and makes the binary exit 1. A binary in which no check ran fails. Exit 77 means
 * "skipped".
 */
#ifndef PENSTOCK_T_H
#define PENSTOCK_T_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define T_SKIP_EXIT 77

void t_init(int argc, char **argv);
/* Seed for randomised tests: --seed or a fixed default; printed when a test fails. */
uint64_t t_seed(void);
/* xorshift step for test data only. */
uint64_t t_rand(uint64_t *state);
int t_done(void);
bool t_check(bool ok, const char *file, int line, const char *expr);
bool t_check_u64(uint64_t a, uint64_t b, const char *file, int line, const char *ea,
		 const char *eb);
bool t_check_str(const char *a, const char *b, const char *file, int line, const char *ea,
		 const char *eb);
bool t_check_mem(const void *a, const void *b, size_t len, const char *file, int line,
		 const char *ea, const char *eb);
void t_run(const char *name, void (*fn)(void));
/* Mark the running test as skipped, with a reason. */
void t_skip(const char *why);
/* Print a TAP comment line ("# …"). */
void t_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Decode a hex string (spaces and newlines ignored) into out; returns the byte count. */
size_t t_unhex(const char *hex, uint8_t *out, size_t cap);

#define T(cond)		 t_check((cond), __FILE__, __LINE__, #cond)
#define T_EQ(a, b)	 t_check_u64((uint64_t)(a), (uint64_t)(b), __FILE__, __LINE__, #a, #b)
#define T_STR(a, b)	 t_check_str((a), (b), __FILE__, __LINE__, #a, #b)
#define T_MEM(a, b, len) t_check_mem((a), (b), (len), __FILE__, __LINE__, #a, #b)
#define T_RUN(fn)	 t_run(#fn, fn)
#endif
