/* SPDX-License-Identifier: Apache-2.0
 *
 * Identifiers and keys as the texts components send: are they what they should be? */
#ifndef PENSTOCK_PORTAL_IDENT_H
#define PENSTOCK_PORTAL_IDENT_H
#include <stdbool.h>

#include "base/uuid.h"

/* Lower-case hyphenated UUID text. */
bool ident_uuid_valid(const char *s);
/* Lower-cases s into out; false unless it is 36-character hyphenated UUID text. */
bool ident_uuid_normalise(const char *s, char out[UUID_STRLEN]);
/* Padded base64 of exactly 32 bytes, canonical. */
bool ident_key_valid(const char *s);
#endif
