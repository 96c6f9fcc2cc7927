/* Pages of keys and values in codes: 64 positions of one key/value head, keys and values together in one run of bytes.
 *
 *   token tiers  q8, q4    a position is coded when it is stored: blocks of 32 channels, one f16 scale each; q4 turned
 *   log tiers    kAvB      a page is packed once, whole, from f16; A, B in 2, 3, 4 bits a value
 *
 * Codes of n vectors (keys: a vector per 4 channels; values: per half of 64 channels and 4 positions), fields j = 0..3
 * of 16 lanes of 4 codes. Keys: lane = position 16j + l, code i = channel 4g + i. Values, g = 16h + t: lane = channel
 * 64h + 16j + l, code i = position 4t + i.
 *   2 bits   byte 64g + 4l + i, bits 2j and up
 *            (of values in field 3 with the high bit turned: -2 in two's complement)
 *   3 bits   the low two as above, the high one in planes behind them: byte 64 (g / 2) + 4l + i, bit 2, 6, 3, 7 (even
 *            g: fields 0, 2, 1, 3) or 0, 4, 1, 5
 *   4 bits   byte 64 (2g + j / 2) + 4l + i, low nibble for even j
 *   8 bits   byte 64 (4g + j) + 4l + i, 128 above the value for keys, two's complement for values
 *
 * A log page (fields in order, all codes first so that they stand on 64 bytes):
 *   boost codes | key codes | value codes | key scales, 1 byte a channel | value scales, 1 byte a position |
 *   key means, high 8 bits | low 4 bits (per 32 channels 16 bytes: channel c low, 16 + c high) | boosted channels |
 *   head: f32 key unit, f32 value base as bits
 *
 * Key codes go by slots: slot s of the first `boosts` holds the s-th listed channel, s itself where that is boosted; a
 * channel that such a slot does not hold stands where the other one would. So channel and slot are each other's. Boost
 * codes: 2 bits beside the key's, and of 2-bit keys 4 bits instead of them.
 *
 *   key[c]   = (mean / 64 + (level(code) + step(boost code, where c is boosted)) / UNIT) * scale * 128 * unit
 *   value    = turn back(level(code) / UNIT * f32 of bits(base + (scale << 18)))
 *   turn     signs, then the Walsh-Hadamard transform over runs of the largest power of two that divides the channels
 *
 * Levels are the Gaussian quantizer's of least squared error (Lloyd 1982; of 2 bits the evenly spaced one) in small
 * integers: with |level| <= 64 pairs of products stay in 16 bits. Boosted channels, those with the largest variance,
 * get two more bits (Kitty, arXiv 2511.18643, has the idea), of 3 and 4 bits by a step that adds; keys without their
 * mean per channel (KIVI, arXiv 2402.02750) and turned values (QuaRot, arXiv 2404.00456) with a scale that keeps the
 * length of the projection. docs/arithmetic.md, section 9. */
#ifndef HEARTH_KERNELS_CODED_H
#define HEARTH_KERNELS_CODED_H

#include "kernels/attention.h"

enum {
    CODED_BLOCK = 32,     /* channels of one scale in the token tiers */
    CODED_KEYS_MAX = 640, /* channels: what the kernels' rooms hold */
    LOG_DIM_MAX = 256,    /* channels of a head in the log tiers */
    VALUE_SCALE_SHIFT = 18,
    GROUP_PAGES = 4,      /* pages whose scores share one maximum: cut at absolute positions */
    GROUP_TOK = GROUP_PAGES * PAGE_TOK
};

/* What a type's codes are. ORDER kv_type, from KV_Q8 on. */
struct coded_kind {
    const char *name;
    uint8_t k_bits, v_bits;
    bool log;
};
/* NULL for f32 and f16. */
const struct coded_kind *coded_kind(enum kv_type type);

/* The Gaussian quantizer of 2, 3 or 4 bits: levels[code] in units of 1 / unit standard deviations, ascending; a boosted
 * key is levels[code] + steps[boost code], of 2 bits boosted[boost code]. With the offsets products of keys have levels
 * from 0 to 127. */
struct coded_levels {
    int8_t levels[16], steps[4], boosted[16];
    float unit, unit_inverse;
    int8_t offset, boost_offset;
};
const struct coded_levels *coded_levels(unsigned bits);

/* Where things stand in a page. */
struct coded_layout {
    size_t key_pad, value_pad; /* channels with codes: multiples of 32 and of 64 */
    size_t boosts;             /* boosted channels, a multiple of 4 */
    unsigned boost_bits;       /* of a boost code */
    size_t main_from;          /* slots before it stand in the boost codes alone */
    size_t boost_codes, k_codes, v_codes, k_scales, v_scales, k_means, boost_channels, head;
    size_t bytes;              /* a multiple of 64 */
};
/* False where the type cannot hold such heads: *why says what it can. */
bool coded_layout(enum kv_type type, size_t key_dim, size_t value_dim, struct coded_layout *out, const char **why);

/* Code i of lane l, field j, vector g of n. */
unsigned coded_get(unsigned bits, const uint8_t *codes, size_t n, size_t g, size_t j, size_t l, size_t i);
/* The code of a channel of a position, `pad` channels in all. */
unsigned coded_value(unsigned bits, const uint8_t *codes, size_t pad, size_t channel, size_t at);

/* Log tiers: the channel of each slot, and the level of one key, step included. */
void coded_slots(const struct coded_layout *lay, const uint8_t *page, uint8_t slots[static LOG_DIM_MAX]);
int coded_key_level(const struct coded_kind *kind, const struct coded_layout *lay, const uint8_t *page, size_t slot,
                    size_t at);

/* Log tiers: the largest scale that a page's values could have. */
float coded_top_scale(const struct coded_layout *lay, const uint8_t *page);

/* Token tiers: stores position `at` of a page. */
void coded_store(enum kv_type type, const struct coded_layout *lay, const float *k, const float *v, size_t key_dim,
                 size_t value_dim, size_t at, uint8_t *page);

/* Log tiers: packs a page from 64 positions in f16 (keys [channel][64], values [64][channel]). Positions in `apart`
 * count as their channel's mean in what is measured: they are kept elsewhere. `room` is LOG_PACK_FLOATS floats. */
enum { LOG_PACK_FLOATS = 2 * LOG_DIM_MAX * PAGE_TOK };
void coded_pack(enum kv_type type, const struct coded_layout *lay, const uint16_t *keys, const uint16_t *values,
                size_t key_dim, size_t value_dim, uint64_t apart, float *room, uint8_t *page);

/* x = turn(x), and back: `dim` values. */
void coded_turn(float *x, size_t dim);
void coded_turn_back(float *x, size_t dim);

/* Position `at` of a page as a query sees it, in f32; values turned back. For tests and measuring. */
void coded_read(enum kv_type type, const struct coded_layout *lay, const uint8_t *page, size_t key_dim,
                size_t value_dim, size_t at, float *k, float *v);

/* True where every field of a packed page that steers memory or turns into a scale is in range. */
bool coded_check(enum kv_type type, const struct coded_layout *lay, const uint8_t *page, size_t key_dim);

#endif
