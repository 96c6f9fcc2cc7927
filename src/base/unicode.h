/* What Unicode says of a character, and canonical composition. Version: UNICODE_VERSION in unicode_tables.c. */
#ifndef HEARTH_BASE_UNICODE_H
#define HEARTH_BASE_UNICODE_H

#include "base/arena.h"

/* General categories. ORDER unicode_category: CATEGORIES in tools/make-unicode */
enum unicode_category {
    UNICODE_CN,
    UNICODE_LU,
    UNICODE_LL,
    UNICODE_LT,
    UNICODE_LM,
    UNICODE_LO,
    UNICODE_MN,
    UNICODE_MC,
    UNICODE_ME,
    UNICODE_ND,
    UNICODE_NL,
    UNICODE_NO,
    UNICODE_PC,
    UNICODE_PD,
    UNICODE_PS,
    UNICODE_PE,
    UNICODE_PI,
    UNICODE_PF,
    UNICODE_PO,
    UNICODE_SM,
    UNICODE_SC,
    UNICODE_SK,
    UNICODE_SO,
    UNICODE_ZS,
    UNICODE_ZL,
    UNICODE_ZP,
    UNICODE_CC,
    UNICODE_CF,
    UNICODE_CS,
    UNICODE_CO,
    UNICODE_CATEGORIES
};

/* ORDER: FLAGS in tools/make-unicode */
enum {
    UNICODE_WHITE_SPACE = 1, /* property White_Space */
    UNICODE_HAN = 2,         /* script Han */
    UNICODE_NFC_UNSURE = 4,  /* NFC_Quick_Check is not Yes */
    UNICODE_DECOMPOSES = 8,  /* has a canonical decomposition in the table (Hangul syllables do not) */
    UNICODE_WORD = 16        /* Alphabetic, a mark, a decimal number or a connector: \w of UTS 18 */
};

enum { UNICODE_DECOMPOSED_MAX = 4 /* codes of the longest canonical decomposition */ };

struct unicode_facts {
    enum unicode_category category;
    unsigned flags;
    uint8_t combining; /* canonical combining class */
};

/* Any number is fine; above U+10FFFF nothing is assigned. */
struct unicode_facts unicode_facts_of(uint32_t code);

/* Simple lower case mapping: one code to one code, no context (UnicodeData.txt, field 13). */
uint32_t unicode_lower(uint32_t code);

/* Full upper case mapping without context (SpecialCasing.txt): returns how many codes, 1 where nothing changes. */
enum { UNICODE_UPPER_MAX = 3 };
size_t unicode_upper(uint32_t code, uint32_t out[static UNICODE_UPPER_MAX]);

/* The full canonical decomposition, Hangul too; returns the count, 1 where the code stays itself. */
size_t unicode_decompose(uint32_t code, uint32_t out[static UNICODE_DECOMPOSED_MAX]);

/* Normalization Form C (UAX 15). *out is `text` itself where nothing changes, else a copy in `a`, which keeps all of
 * unicode_nfc_bytes(text.len_bytes). Bytes that are not UTF-8 stay as they are and compose with nothing. Linear in the
 * text, whatever it holds. Errors: ERR_MEMORY. */
bool unicode_nfc(view text, arena *a, view *out, err *e);
size_t unicode_nfc_bytes(size_t text_bytes);

#endif
