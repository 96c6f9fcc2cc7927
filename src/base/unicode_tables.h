/* The data behind unicode.h, as tools/make-unicode writes it.
 *
 *   code >> 7 -> UNICODE_BLOCKS -> block; UNICODE_RECORD_OF[block << 7 | code & 127] -> UNICODE_RECORDS
 *   UNICODE_UPPER       sorted by code: upper cases of several codes, or at a distance of their own; filled up with 0
 *   UNICODE_DECOMPOSED  sorted by code: the full canonical decomposition is count codes at UNICODE_DECOMPOSED_CODES[at]
 *   UNICODE_COMPOSED    sorted by (first, second): the primary composite of the two (Hangul: unicode.c) */
#ifndef HEARTH_BASE_UNICODE_TABLES_H
#define HEARTH_BASE_UNICODE_TABLES_H

#include <stddef.h>
#include <stdint.h>

enum { UNICODE_BLOCK_BITS = 7 };

struct unicode_record {
    uint8_t category, flags, combining;
    int32_t lower, upper; /* what to add for the simple case mappings */
};

struct unicode_upper_codes {
    uint32_t code, becomes[3];
};

struct unicode_decomposed {
    uint32_t code;
    uint16_t at;
    uint8_t count;
};

struct unicode_composed {
    uint32_t first, second, code;
};

extern const char UNICODE_VERSION[];
extern const struct unicode_record UNICODE_RECORDS[];
extern const size_t UNICODE_BLOCK_COUNT;
extern const uint16_t UNICODE_BLOCKS[];
extern const uint8_t UNICODE_RECORD_OF[];
extern const size_t UNICODE_UPPER_COUNT;
extern const struct unicode_upper_codes UNICODE_UPPER[];
extern const size_t UNICODE_DECOMPOSED_COUNT;
extern const struct unicode_decomposed UNICODE_DECOMPOSED[];
extern const uint32_t UNICODE_DECOMPOSED_CODES[];
extern const size_t UNICODE_COMPOSED_COUNT;
extern const struct unicode_composed UNICODE_COMPOSED[];

#endif
