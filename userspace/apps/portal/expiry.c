/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/expiry.h"

#include <stddef.h>
#include <time.h>

/* Exactly n digits at *p as a number, or -1. Advances *p. */
static int digits(const char **p, int n)
{
	int v = 0;

	for (; n; n--, (*p)++) {
		if (**p < '0' || **p > '9')
			return -1;
		v = v * 10 + (**p - '0');
	}
	return v;
}

static bool literal(const char **p, char a, char b)
{
	if (**p != a && **p != b)
		return false;
	(*p)++;
	return true;
}

static bool fraction(const char **p)
{
	const char *start;

	if (**p != '.')
		return true;
	start = ++(*p);
	while (**p >= '0' && **p <= '9')
		(*p)++;
	return *p > start;
}

/* Seconds east of UTC. */
static bool zone(const char **p, int64_t *offset)
{
	int sign = **p == '-' ? -1 : 1, h, m;

	*offset = 0;
	if (literal(p, 'Z', 'z'))
		return true;
	if (!literal(p, '+', '-') || (h = digits(p, 2)) < 0 || h > 23 || !literal(p, ':', ':') ||
	    (m = digits(p, 2)) < 0 || m > 59)
		return false;
	*offset = sign * (h * 3600 + m * 60);
	return true;
}

static bool month_has_day(int year, int month, int day)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month >= 1 && month <= 12 && day >= 1 &&
	       day <= days[month - 1] + (month == 2 && leap);
}

bool expiry_parse(const char *text, uint64_t *out)
{
	const char *p = text;
	struct tm tm = {0};
	int64_t offset, t;
	int year = digits(&p, 4), mon, day;

	if (year < 1970 || !literal(&p, '-', '-') || (mon = digits(&p, 2)) < 0 ||
	    !literal(&p, '-', '-') || (day = digits(&p, 2)) < 0 || !month_has_day(year, mon, day))
		return false;
	tm.tm_year = year - 1900;
	tm.tm_mon = mon - 1;
	tm.tm_mday = day;
	if (!literal(&p, 'T', 't') || (tm.tm_hour = digits(&p, 2)) < 0 || tm.tm_hour > 23 ||
	    !literal(&p, ':', ':') || (tm.tm_min = digits(&p, 2)) < 0 || tm.tm_min > 59 ||
	    !literal(&p, ':', ':') || (tm.tm_sec = digits(&p, 2)) < 0 || tm.tm_sec > 60)
		return false;
	if (!fraction(&p) || !zone(&p, &offset) || *p != '\0')
		return false;
	t = (int64_t)timegm(&tm) - offset;
	if (t < 0)
		return false;
	*out = (uint64_t)t;
	return true;
}
