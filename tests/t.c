/* SPDX-License-Identifier: Apache-2.0
 * The harness behind tests/t.h. */
#include "tests/t.h"

#include <stdarg.h>
#include <stdlib.h>

static struct {
	const char *filter;
	const char *skip_why;
	uint64_t seed;
	unsigned n_tests, n_failed, n_skipped;
	unsigned long n_checks;
	unsigned test_failures;
} t = {.seed = 0x5eed5eed5eedULL};

void t_init(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--seed") && i + 1 < argc)
			t.seed = strtoull(argv[++i], NULL, 0);
		else
			t.filter = argv[i];
	}
}

uint64_t t_seed(void)
{
	return t.seed;
}

uint64_t t_rand(uint64_t *state)
{
	uint64_t x = *state ? *state : 0x9e3779b97f4a7c15ULL;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x * 0x2545f4914f6cdd1dULL;
}

static bool failed(const char *file, int line)
{
	t.test_failures++;
	printf("# FAIL %s:%d: ", file, line);
	return false;
}

bool t_check(bool ok, const char *file, int line, const char *expr)
{
	t.n_checks++;
	if (ok)
		return true;
	failed(file, line);
	printf("%s\n", expr);
	return false;
}

bool t_check_u64(uint64_t a, uint64_t b, const char *file, int line, const char *ea, const char *eb)
{
	t.n_checks++;
	if (a == b)
		return true;
	failed(file, line);
	printf("%s == %s: %llu (0x%llx) != %llu (0x%llx)\n", ea, eb, (unsigned long long)a,
	       (unsigned long long)a, (unsigned long long)b, (unsigned long long)b);
	return false;
}

bool t_check_str(const char *a, const char *b, const char *file, int line, const char *ea,
		 const char *eb)
{
	t.n_checks++;
	if (a && b && !strcmp(a, b))
		return true;
	failed(file, line);
	printf("%s == %s:\n#   got  \"%s\"\n#   want \"%s\"\n", ea, eb, a ? a : "(null)",
	       b ? b : "(null)");
	return false;
}

static void hexdump(const char *tag, const uint8_t *p, size_t len, size_t mark)
{
	size_t from = mark & ~(size_t)15;

	for (size_t i = from; i < len && i < from + 48; i += 16) {
		printf("#   %s %04zx:", tag, i);
		for (size_t j = i; j < i + 16 && j < len; j++)
			printf("%s%02x", j == mark ? ">" : " ", p[j]);
		printf("\n");
	}
}

bool t_check_mem(const void *a, const void *b, size_t len, const char *file, int line,
		 const char *ea, const char *eb)
{
	const uint8_t *pa = a, *pb = b;
	size_t at = 0;

	t.n_checks++;
	while (at < len && pa[at] == pb[at])
		at++;
	if (at == len)
		return true;
	failed(file, line);
	printf("%s == %s: first difference at byte %zu of %zu\n", ea, eb, at, len);
	hexdump("got ", pa, len, at);
	hexdump("want", pb, len, at);
	return false;
}

void t_run(const char *name, void (*fn)(void))
{
	if (t.filter && !strstr(name, t.filter))
		return;
	t.n_tests++;
	t.test_failures = 0;
	t.skip_why = NULL;
	fn();
	if (t.test_failures) {
		t.n_failed++;
		printf("not ok %u - %s # seed=%llu\n", t.n_tests, name, (unsigned long long)t.seed);
	} else if (t.skip_why) {
		t.n_skipped++;
		printf("ok %u - %s # SKIP %s\n", t.n_tests, name, t.skip_why);
	} else {
		printf("ok %u - %s\n", t.n_tests, name);
	}
}

void t_skip(const char *why)
{
	t.skip_why = why;
}

void t_note(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

size_t t_unhex(const char *hex, uint8_t *out, size_t cap)
{
	size_t n = 0;
	int hi = -1;

	for (; *hex; hex++) {
		int v = nibble(*hex);

		if (v < 0)
			continue;
		if (hi < 0) {
			hi = v;
			continue;
		}
		if (n < cap)
			out[n++] = (uint8_t)(hi << 4 | v);
		hi = -1;
	}
	return n;
}

int t_done(void)
{
	printf("1..%u\n", t.n_tests);
	printf("# checks=%lu tests=%u failed=%u skipped=%u\n", t.n_checks, t.n_tests, t.n_failed,
	       t.n_skipped);
	if (t.n_failed)
		return 1;
	if (t.n_tests && t.n_skipped == t.n_tests)
		return T_SKIP_EXIT;
	if (!t.n_checks) {
		printf("# no check ran\n");
		return 1;
	}
	return 0;
}
