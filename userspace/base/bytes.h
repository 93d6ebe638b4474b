/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounded reading and writing of wire bytes. Both cursors have a sticky error flag, so codecs are
 * straight-line code with one check at the end; nothing is ever read or written out of bounds.
 * Wire order is big endian unless the name says le. */
#ifndef PENSTOCK_BASE_BYTES_H
#define PENSTOCK_BASE_BYTES_H
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct rbuf {
	const uint8_t *p, *end;
	bool bad; /* something was read past the end */
};

struct wbuf {
	uint8_t *start, *p, *end;
	bool over; /* something did not fit */
};

static inline uint16_t be16_get(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t be32_get(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t be64_get(const uint8_t *p)
{
	return (uint64_t)be32_get(p) << 32 | be32_get(p + 4);
}

static inline uint32_t le32_get(const uint8_t *p)
{
	return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static inline uint64_t le64_get(const uint8_t *p)
{
	return (uint64_t)le32_get(p + 4) << 32 | le32_get(p);
}

static inline void be16_put(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void be32_put(uint8_t *p, uint32_t v)
{
	be16_put(p, (uint16_t)(v >> 16));
	be16_put(p + 2, (uint16_t)v);
}

static inline void be64_put(uint8_t *p, uint64_t v)
{
	be32_put(p, (uint32_t)(v >> 32));
	be32_put(p + 4, (uint32_t)v);
}

static inline void le32_put(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static inline void le64_put(uint8_t *p, uint64_t v)
{
	le32_put(p, (uint32_t)v);
	le32_put(p + 4, (uint32_t)(v >> 32));
}

static inline struct rbuf rbuf_init(const void *p, size_t len)
{
	return (struct rbuf){.p = p, .end = (const uint8_t *)p + len};
}

static inline size_t rbuf_left(const struct rbuf *r)
{
	return (size_t)(r->end - r->p);
}

/* The next len bytes, or NULL (and bad) when fewer are left. The pointer is into the input. */
static inline const uint8_t *rbuf_take(struct rbuf *r, size_t len)
{
	const uint8_t *p = r->p;

	if (r->bad || len > rbuf_left(r)) {
		r->bad = true;
		return NULL;
	}
	r->p += len;
	return p;
}

static inline uint8_t rbuf_u8(struct rbuf *r)
{
	const uint8_t *p = rbuf_take(r, 1);

	return p ? *p : 0;
}

static inline uint16_t rbuf_be16(struct rbuf *r)
{
	const uint8_t *p = rbuf_take(r, 2);

	return p ? be16_get(p) : 0;
}

static inline uint32_t rbuf_be32(struct rbuf *r)
{
	const uint8_t *p = rbuf_take(r, 4);

	return p ? be32_get(p) : 0;
}

static inline uint64_t rbuf_be64(struct rbuf *r)
{
	const uint8_t *p = rbuf_take(r, 8);

	return p ? be64_get(p) : 0;
}

/* Copy len bytes out; zero-fills dst when they are not there. */
static inline void rbuf_copy(struct rbuf *r, void *dst, size_t len)
{
	const uint8_t *p = rbuf_take(r, len);

	if (p)
		memcpy(dst, p, len);
	else
		memset(dst, 0, len);
}

static inline struct wbuf wbuf_init(void *p, size_t cap)
{
	return (struct wbuf){.start = p, .p = p, .end = (uint8_t *)p + cap};
}

static inline size_t wbuf_len(const struct wbuf *w)
{
	return (size_t)(w->p - w->start);
}

/* Room for len bytes, or NULL (and over) when it does not fit. For reserve-and-patch. */
static inline uint8_t *wbuf_reserve(struct wbuf *w, size_t len)
{
	uint8_t *p = w->p;

	if (w->over || len > (size_t)(w->end - w->p)) {
		w->over = true;
		return NULL;
	}
	w->p += len;
	return p;
}

static inline void wbuf_put(struct wbuf *w, const void *src, size_t len)
{
	uint8_t *p = wbuf_reserve(w, len);

	if (p && len)
		memcpy(p, src, len);
}

static inline void wbuf_u8(struct wbuf *w, uint8_t v)
{
	wbuf_put(w, &v, 1);
}

static inline void wbuf_be16(struct wbuf *w, uint16_t v)
{
	uint8_t *p = wbuf_reserve(w, 2);

	if (p)
		be16_put(p, v);
}

static inline void wbuf_be32(struct wbuf *w, uint32_t v)
{
	uint8_t *p = wbuf_reserve(w, 4);

	if (p)
		be32_put(p, v);
}

static inline void wbuf_be64(struct wbuf *w, uint64_t v)
{
	uint8_t *p = wbuf_reserve(w, 8);

	if (p)
		be64_put(p, v);
}

static inline void wbuf_zero(struct wbuf *w, size_t len)
{
	uint8_t *p = wbuf_reserve(w, len);

	if (p)
		memset(p, 0, len);
}

/* 0 and *len, or -EMSGSIZE when something did not fit. */
static inline int wbuf_done(const struct wbuf *w, size_t *len)
{
	*len = w->over ? 0 : wbuf_len(w);
	return w->over ? -EMSGSIZE : 0;
}
#endif
