/* Layout, packing and reading of coded pages: see coded.h. Scalar, and the only place where codes are made: so every
 * tier stores the same bytes. */
#include "kernels/coded.h"

#include "base/checked.h"
#include "base/le.h"
#include "kernels/math.h"

#include <assert.h>

/* ORDER kv_type */
static const struct coded_kind KINDS[KV_TYPES - KV_Q8] = {
    { "q8", 8, 8, false },      { "q4", 4, 4, false },      { "log:k2v2", 2, 2, true }, { "log:k2v3", 2, 3, true },
    { "log:k2v4", 2, 4, true }, { "log:k3v2", 3, 2, true }, { "log:k3v3", 3, 3, true }, { "log:k3v4", 3, 4, true },
    { "log:k4v2", 4, 2, true }, { "log:k4v3", 4, 3, true }, { "log:k4v4", 4, 4, true },
};

/* Least squared error over integers up to 64 and their unit. Those of 2 bits are evenly spaced, which leaves 0.1188 of
 * a channel's variance instead of 0.1175 and needs no table. What boosted channels keep: 0.0096, 0.0045 and 0.0012
 * (uniform quantizers of 4, 5, 6 bits: 0.0115, 0.0035, 0.0010). */
static const struct coded_levels LEVELS[3] = {
    { { -24, -8, 8, 24 }, { 0 }, { -44, -33, -26, -20, -15, -11, -6, -2, 2, 6, 11, 15, 20, 26, 33, 44 }, 16.07f,
      1.0f / 16.07f, 24, 44 },
    { { -59, -37, -21, -7, 7, 21, 37, 59 }, { -9, -2, 2, 9 }, { 0 }, 27.2f, 1.0f / 27.2f, 64, 96 },
    { { -57, -43, -34, -26, -20, -14, -8, -3, 3, 8, 14, 20, 26, 34, 43, 57 }, { -5, -2, 2, 5 }, { 0 }, 20.75f,
      1.0f / 20.75f, 64, 96 },
};

enum { SCALE_MOST = 255, MEAN_MOST = 2047, SIGMA_MEANS = 64, KEY_SCALE_ONE = 128 };

const struct coded_kind *coded_kind(enum kv_type type)
{
    return kv_is_coded(type) ? &KINDS[type - KV_Q8] : NULL;
}

const struct coded_levels *coded_levels(unsigned bits)
{
    assert(bits >= 2 && bits <= 4);
    return &LEVELS[bits - 2];
}

/* ---- layout ---- */

static size_t codes_bytes(unsigned bits, size_t vectors)
{
    return bits == 3 ? 64 * vectors + 64 * ceil_div(vectors, 2) : vectors * 32 * bits;
}

/* Half an octave of a hundred channels, or at least four: packs of fewer would leave lanes of a dot product unused. */
static size_t boosts_of(size_t key_dim)
{
    size_t eighth = key_dim / 8 & ~(size_t)3;
    return eighth < 4 ? 4 : eighth;
}

bool coded_layout(enum kv_type type, size_t key_dim, size_t value_dim, struct coded_layout *out, const char **why)
{
    const struct coded_kind *kind = coded_kind(type);
    *out = (struct coded_layout){ 0 };
    assert(kind != NULL);
    *why = kind->log ? "heads of 8..256 channels, a multiple of 8" : "heads of 1..640 channels";
    if (key_dim < 1 || value_dim < 1 || key_dim > CODED_KEYS_MAX || value_dim > CODED_KEYS_MAX) return false;
    if (kind->log && (key_dim > LOG_DIM_MAX || value_dim > LOG_DIM_MAX || key_dim % 8 != 0 || value_dim % 8 != 0))
        return false;
    size_t at = 0, key_pad = round_up(key_dim, CODED_BLOCK), value_pad = round_up(value_dim, 64);
    *out = (struct coded_layout){ .key_pad = key_pad, .value_pad = value_pad,
                                  .boosts = kind->log ? boosts_of(key_dim) : 0 };
    if (kind->log) out->boost_bits = kind->k_bits == 2 ? 4 : 2;
    if (kind->log && kind->k_bits == 2) out->main_from = out->boosts;
    out->boost_codes = at;
    at += codes_bytes(out->boost_bits, out->boosts / 4);
    out->k_codes = at;
    at += codes_bytes(kind->k_bits, (key_pad - out->main_from) / 4);
    out->v_codes = at;
    at += codes_bytes(kind->v_bits, value_pad / 4);
    out->k_scales = at;
    at += kind->log ? key_pad : key_pad / CODED_BLOCK * PAGE_TOK * 2;
    out->v_scales = at;
    at += kind->log ? PAGE_TOK : value_pad / CODED_BLOCK * PAGE_TOK * 2;
    out->k_means = at;
    if (kind->log) at += key_pad + key_pad / 2;
    out->boost_channels = at;
    at += out->boosts;
    out->head = at;
    if (kind->log) at += 8;
    out->bytes = round_up(at, 64);
    return true;
}

/* ---- codes ---- */

/* Where the third bit of field j stands: beside where a shift of the other two leaves them. */
static unsigned third_bit(size_t g, size_t j)
{
    return (unsigned)(2 - g % 2 * 2 + j % 2 + j / 2 * 4);
}

unsigned coded_get(unsigned bits, const uint8_t *codes, size_t n, size_t g, size_t j, size_t l, size_t i)
{
    size_t lane = 4 * l + i;
    unsigned low;
    switch (bits) {
    case 8: return codes[64 * (4 * g + j) + lane];
    case 4: return codes[64 * (2 * g + j / 2) + lane] >> (j % 2 * 4) & 15;
    default:
        low = codes[64 * g + lane] >> 2 * j & 3;
        return bits == 2 ? low : low | ((unsigned)codes[64 * n + 64 * (g / 2) + lane] >> third_bit(g, j) & 1u) << 2;
    }
}

/* Replaces bits of one byte. */
static void put_bits(uint8_t *byte, unsigned mask, unsigned shift, unsigned value)
{
    *byte = (uint8_t)((*byte & ~(mask << shift)) | (value & mask) << shift);
}

static void coded_put(unsigned bits, uint8_t *codes, size_t n, size_t g, size_t j, size_t l, size_t i, unsigned code)
{
    size_t lane = 4 * l + i;
    switch (bits) {
    case 8: codes[64 * (4 * g + j) + lane] = (uint8_t)code; return;
    case 4: put_bits(&codes[64 * (2 * g + j / 2) + lane], 15, (unsigned)(j % 2 * 4), code); return;
    default: put_bits(&codes[64 * g + lane], 3, (unsigned)(2 * j), code);
    }
    if (bits == 3)
        put_bits(&codes[64 * n + 64 * (g / 2) + lane], 1, third_bit(g, j), code >> 2);
}

static void key_put(unsigned bits, uint8_t *codes, size_t pad, size_t slot, size_t at, unsigned code)
{
    coded_put(bits, codes, pad / 4, slot / 4, at / 16, at % 16, slot % 4, code);
}

static unsigned key_get(unsigned bits, const uint8_t *codes, size_t pad, size_t slot, size_t at)
{
    return coded_get(bits, codes, pad / 4, slot / 4, at / 16, at % 16, slot % 4);
}

/* What the value codes of 2 bits differ in from coded_put's: see coded.h. */
static unsigned value_flip(unsigned bits, size_t channel)
{
    return bits == 2 && channel / 16 % 4 == 3 ? 2 : 0;
}

static void value_put(unsigned bits, uint8_t *codes, size_t pad, size_t channel, size_t at, unsigned code)
{
    coded_put(bits, codes, pad / 4, channel / 64 * 16 + at / 4, channel / 16 % 4, channel % 16, at % 4,
              code ^ value_flip(bits, channel));
}

unsigned coded_value(unsigned bits, const uint8_t *codes, size_t pad, size_t channel, size_t at)
{
    return coded_get(bits, codes, pad / 4, channel / 64 * 16 + at / 4, channel / 16 % 4, channel % 16, at % 4) ^
           value_flip(bits, channel);
}

/* ---- slots ---- */

void coded_slots(const struct coded_layout *lay, const uint8_t *page, uint8_t slots[static LOG_DIM_MAX])
{
    const uint8_t *boosted = page + lay->boost_channels;
    for (size_t c = 0; c < LOG_DIM_MAX; c++) slots[c] = (uint8_t)c;
    for (size_t s = 0; s < lay->boosts; s++) {
        slots[s] = boosted[s];
        if (boosted[s] >= lay->boosts) slots[boosted[s]] = (uint8_t)s;
    }
}

int coded_key_level(const struct coded_kind *kind, const struct coded_layout *lay, const uint8_t *page, size_t slot,
                    size_t at)
{
    const struct coded_levels *l = coded_levels(kind->k_bits);
    size_t pad = lay->key_pad - lay->main_from;
    unsigned boost = slot < lay->boosts ? key_get(lay->boost_bits, page + lay->boost_codes, lay->boosts, slot, at) : 0;
    if (slot < lay->main_from) return l->boosted[boost];
    return l->levels[key_get(kind->k_bits, page + lay->k_codes, pad, slot - lay->main_from, at)] +
           (slot < lay->boosts ? l->steps[boost] : 0);
}

/* ---- token tiers ---- */

static int round_even(float x) /* |x| < 2^22 */
{
    return (int)((x + ROUND_MAGIC) - ROUND_MAGIC);
}

/* One block of a vector, in steps of the largest magnitude: 8 bits -127..127; 4 bits the odd numbers -15..15, so that
 * both ends are reached (unlike -8..7) with a scale that is never negative. */
static uint16_t block_codes(unsigned bits, const float *x, size_t n, int *codes)
{
    float clamped[CODED_BLOCK], most = 0.0f;
    int steps = bits == 8 ? 127 : 15;
    for (size_t c = 0; c < n; c++) {
        clamped[c] = f16_to_f32(f16_clamped(x[c])); /* what the f16 tier would hold: no NaN, no infinity */
        most = fabsf(clamped[c]) > most ? fabsf(clamped[c]) : most;
    }
    uint16_t scale = f16_clamped(most / (float)steps);
    float step = f16_to_f32(scale), inverse = step != 0.0f ? 1.0f / step : 0.0f;
    for (size_t c = 0; c < n; c++) {
        float x_steps = clamped[c] * inverse;
        int code = bits == 8 ? round_even(x_steps) : 2 * round_even((x_steps - 1.0f) * 0.5f) + 1;
        codes[c] = code < -steps ? -steps : code > steps ? steps : code;
    }
    return scale;
}

/* A code as it is stored: 8 bits as coded.h says, 4 bits the number of the odd level. */
static unsigned stored_code(unsigned bits, int code, bool key)
{
    if (bits == 4) return (unsigned)(code + 15) / 2;
    return (unsigned)(key ? code + 128 : code) & 255u;
}

void coded_store(enum kv_type type, const struct coded_layout *lay, const float *k, const float *v, size_t key_dim,
                 size_t value_dim, size_t at, uint8_t *page)
{
    unsigned bits = coded_kind(type)->k_bits;
    int codes[CODED_BLOCK];
    float turned_k[CODED_KEYS_MAX], turned_v[CODED_KEYS_MAX];
    if (kv_turns_keys(type)) {
        memcpy(turned_k, k, key_dim * sizeof *k);
        coded_turn(turned_k, key_dim);
        k = turned_k;
    }
    if (kv_turns_values(type)) {
        memcpy(turned_v, v, value_dim * sizeof *v);
        coded_turn(turned_v, value_dim);
        v = turned_v;
    }
    for (size_t from = 0; from < key_dim; from += CODED_BLOCK) {
        size_t n = min_size(CODED_BLOCK, key_dim - from);
        le_put_u16(page + lay->k_scales + 2 * (from / CODED_BLOCK * PAGE_TOK + at),
                   block_codes(bits, k + from, n, codes));
        for (size_t c = 0; c < n; c++)
            key_put(bits, page + lay->k_codes, lay->key_pad, from + c, at, stored_code(bits, codes[c], true));
    }
    for (size_t from = 0; from < value_dim; from += CODED_BLOCK) {
        size_t n = min_size(CODED_BLOCK, value_dim - from);
        le_put_u16(page + lay->v_scales + 2 * (from / CODED_BLOCK * PAGE_TOK + at),
                   block_codes(bits, v + from, n, codes));
        for (size_t c = 0; c < n; c++)
            value_put(bits, page + lay->v_codes, lay->value_pad, from + c, at, stored_code(bits, codes[c], false));
    }
}

/* ---- turning ---- */

static size_t turn_run(size_t dim)
{
    return dim & (~dim + 1);
}

/* A fixed pattern of signs, from the bits of a multiplicative hash of the channel's number. */
static float turn_sign(size_t c)
{
    return (uint32_t)(c + 1) * 2654435761u >> 31 ? -1.0f : 1.0f;
}

static void hadamard(float *x, size_t run)
{
    for (size_t half = 1; half < run; half *= 2)
        for (size_t from = 0; from < run; from += 2 * half)
            for (size_t i = from; i < from + half; i++) {
                float a = x[i], b = x[i + half];
                x[i] = a + b;
                x[i + half] = a - b;
            }
}

void coded_turn(float *x, size_t dim)
{
    size_t run = turn_run(dim);
    float norm = 1.0f / sqrtf((float)run);
    for (size_t c = 0; c < dim; c++) x[c] = x[c] * turn_sign(c);
    for (size_t from = 0; from < dim; from += run) hadamard(x + from, run);
    for (size_t c = 0; c < dim; c++) x[c] = x[c] * norm;
}

void coded_turn_back(float *x, size_t dim)
{
    size_t run = turn_run(dim);
    float norm = 1.0f / sqrtf((float)run);
    for (size_t from = 0; from < dim; from += run) hadamard(x + from, run);
    for (size_t c = 0; c < dim; c++) x[c] = (x[c] * norm) * turn_sign(c);
}

/* ---- log tiers: keys ---- */

/* The code whose level is nearest to x, in level units; ties go to the lower code. */
static unsigned nearest(const int8_t *levels, unsigned count, float x)
{
    unsigned code = 0;
    while (code + 1 < count && x > 0.5f * (float)(levels[code] + levels[code + 1])) code++;
    return code;
}

/* The level and step, together nearest to x: the first of equals by code, then by step. */
static unsigned nearest_pair(const struct coded_levels *l, unsigned count, float x, unsigned *step)
{
    unsigned code = 0;
    float least = INFINITY;
    for (unsigned c = 0; c < count; c++)
        for (unsigned s = 0; s < 4; s++) {
            float off = fabsf(x - (float)(l->levels[c] + l->steps[s]));
            if (off < least) least = off, code = c, *step = s;
        }
    return code;
}

/* Stores the codes of a key that is x in level units. */
static void key_store(const struct coded_kind *kind, const struct coded_layout *lay, uint8_t *page, size_t slot,
                      size_t at, float x)
{
    const struct coded_levels *l = coded_levels(kind->k_bits);
    unsigned count = 1u << kind->k_bits, boost = 0, code;
    if (slot < lay->main_from) {
        key_put(lay->boost_bits, page + lay->boost_codes, lay->boosts, slot, at, nearest(l->boosted, 16, x));
        return;
    }
    code = slot < lay->boosts ? nearest_pair(l, count, x, &boost) : nearest(l->levels, count, x);
    if (slot < lay->boosts) key_put(lay->boost_bits, page + lay->boost_codes, lay->boosts, slot, at, boost);
    key_put(kind->k_bits, page + lay->k_codes, lay->key_pad - lay->main_from, slot - lay->main_from, at, code);
}

struct channel {
    float mean, deviation;
};

/* Mean and standard deviation of a channel's 64 positions without those apart. */
static struct channel channel_measure(const float *x, uint64_t apart)
{
    float sum = 0.0f, squares = 0.0f, n = 0.0f;
    for (size_t i = 0; i < PAGE_TOK; i++)
        if ((apart >> i & 1) == 0) sum = sum + x[i], n = n + 1.0f;
    float mean = n > 0.0f ? sum / n : 0.0f;
    for (size_t i = 0; i < PAGE_TOK; i++)
        if ((apart >> i & 1) == 0) squares = squares + (x[i] - mean) * (x[i] - mean);
    return (struct channel){ mean, n > 0.0f ? sqrtf(squares / n) : 0.0f };
}

/* The boosted channels: the `count` with the largest deviation, ties to the lower channel. Slot s < count holds channel
 * out[s]: s itself where that is one of them, else the next of those from `count` on. */
static void choose_boosts(const struct channel *of, size_t dim, size_t count, uint8_t *out)
{
    bool taken[LOG_DIM_MAX] = { false };
    for (size_t n = 0; n < count; n++) {
        size_t best = SIZE_MAX;
        for (size_t c = 0; c < dim; c++)
            if (!taken[c] && (best == SIZE_MAX || of[c].deviation > of[best].deviation)) best = c;
        taken[best] = true;
    }
    for (size_t s = 0, next = count; s < count; s++) {
        while (!taken[s] && !taken[next]) next++;
        out[s] = (uint8_t)(taken[s] ? s : next++);
    }
}

/* A power of two, so that 255 steps of it reach `most`: scales are then code * 128 * unit. */
static float unit_for(float most)
{
    if (!(most > 0.0f)) return 0.0f;
    int exponent;
    float fraction = frexpf(most / (float)(SCALE_MOST * KEY_SCALE_ONE), &exponent);
    if (fraction == 0.5f) exponent--;
    return ldexpf(1.0f, exponent);
}

static void put_mean(uint8_t *means, size_t pad, size_t c, int mean)
{
    means[c] = (uint8_t)(mean >> 4);
    put_bits(&means[pad + c / 32 * 16 + c % 16], 15, (unsigned)(c % 32 / 16 * 4), (unsigned)mean & 15u);
}

static int get_mean(const uint8_t *means, size_t pad, size_t c)
{
    return (int8_t)means[c] * 16 + (means[pad + c / 32 * 16 + c % 16] >> c % 32 / 16 * 4 & 15);
}

/* The scale code of a channel: nearest to its deviation, but large enough for its mean to be written. */
static unsigned scale_code(struct channel of, float unit)
{
    float one = unit * (float)KEY_SCALE_ONE, least = fabsf(of.mean) * ((float)SIGMA_MEANS / (float)MEAN_MOST);
    float code = of.deviation / one, floor_code = least / one;
    unsigned whole = code < 254.5f ? (unsigned)round_even(code) : SCALE_MOST;
    unsigned lowest = floor_code < 254.0f ? (unsigned)floor_code + 1 : SCALE_MOST;
    return whole < lowest ? lowest : whole;
}

/* x[c * 64 + position]. */
static void pack_keys(const struct coded_kind *kind, const struct coded_layout *lay, const float *x, size_t dim,
                      uint64_t apart, uint8_t *page)
{
    const struct coded_levels *l = coded_levels(kind->k_bits);
    struct channel of[LOG_DIM_MAX];
    uint8_t slots[LOG_DIM_MAX];
    float most = 0.0f;
    for (size_t c = 0; c < dim; c++) {
        of[c] = channel_measure(x + c * PAGE_TOK, apart);
        float need = fmaxf(of[c].deviation, fabsf(of[c].mean) * ((float)SIGMA_MEANS / (float)MEAN_MOST) * 1.01f);
        most = need > most ? need : most;
    }
    choose_boosts(of, dim, lay->boosts, page + lay->boost_channels);
    coded_slots(lay, page, slots);
    float unit = unit_for(most);
    le_put_f32(page + lay->head, unit);
    if (unit == 0.0f) return; /* all is zero, and so are all codes */
    for (size_t slot = 0; slot < dim; slot++) {
        size_t c = slots[slot];
        unsigned code = scale_code(of[c], unit);
        float scale = (float)(code * KEY_SCALE_ONE) * unit, to_levels = l->unit / scale;
        int mean = round_even(of[c].mean / scale * (float)SIGMA_MEANS);
        mean = mean > MEAN_MOST ? MEAN_MOST : mean < -MEAN_MOST ? -MEAN_MOST : mean;
        float stored = (float)mean / (float)SIGMA_MEANS * scale;
        page[lay->k_scales + c] = (uint8_t)code;
        put_mean(page + lay->k_means, lay->key_pad, c, mean);
        for (size_t i = 0; i < PAGE_TOK; i++)
            key_store(kind, lay, page, slot, i, (x[c * PAGE_TOK + i] - stored) * to_levels);
    }
}

/* ---- log tiers: values ---- */

/* Codes of one turned position, and the scale that leaves no bias: |x|^2 / <x, levels>. */
static float value_codes(const struct coded_levels *l, unsigned count, const float *x, size_t dim, uint8_t *codes)
{
    float squares = 0.0f, along = 0.0f;
    for (size_t c = 0; c < dim; c++) squares = squares + x[c] * x[c];
    float deviation = sqrtf(squares / (float)dim), to_levels = deviation > 0.0f ? l->unit / deviation : 0.0f;
    for (size_t c = 0; c < dim; c++) {
        codes[c] = (uint8_t)nearest(l->levels, count, x[c] * to_levels);
        along = along + x[c] * (float)l->levels[codes[c]];
    }
    return along > 0.0f ? squares / (along * l->unit_inverse) : 0.0f;
}

/* Scales become (exponent, mantissa) of 3 and 5 bits below the page's largest. */
static uint32_t value_base(float most)
{
    uint32_t bits = bits_of_f32(most) + (1u << (VALUE_SCALE_SHIFT - 1)); /* to the nearest mantissa of 5 bits */
    uint32_t high = bits >> VALUE_SCALE_SHIFT;
    return high > 255 && most > 0.0f ? (high - 255) << VALUE_SCALE_SHIFT : 0;
}

static uint8_t value_scale_code(float scale, uint32_t base)
{
    uint32_t high = (bits_of_f32(scale) + (1u << (VALUE_SCALE_SHIFT - 1))) >> VALUE_SCALE_SHIFT;
    uint32_t low = base >> VALUE_SCALE_SHIFT;
    return high <= low ? 0 : (uint8_t)(high - low > 255 ? 255 : high - low);
}

float coded_top_scale(const struct coded_layout *lay, const uint8_t *page)
{
    return f32_of_bits(le_u32(page + lay->head + 4) + ((uint32_t)SCALE_MOST << VALUE_SCALE_SHIFT));
}

/* x[position * dim + c], turned. The largest of a page is among those that are not apart. */
static void pack_values(const struct coded_kind *kind, const struct coded_layout *lay, const float *x, size_t dim,
                        uint64_t apart, uint8_t *page)
{
    const struct coded_levels *l = coded_levels(kind->v_bits);
    uint8_t codes[LOG_DIM_MAX];
    float scales[PAGE_TOK], most = 0.0f;
    for (size_t i = 0; i < PAGE_TOK; i++) {
        scales[i] = value_codes(l, 1u << kind->v_bits, x + i * dim, dim, codes);
        for (size_t c = 0; c < dim; c++)
            value_put(kind->v_bits, page + lay->v_codes, lay->value_pad, c, i, codes[c]);
        if ((apart >> i & 1) == 0 && scales[i] > most) most = scales[i];
    }
    uint32_t base = value_base(most);
    le_put_u32(page + lay->head + 4, base);
    for (size_t i = 0; i < PAGE_TOK; i++) page[lay->v_scales + i] = value_scale_code(scales[i], base);
}

void coded_pack(enum kv_type type, const struct coded_layout *lay, const uint16_t *keys, const uint16_t *values,
                size_t key_dim, size_t value_dim, uint64_t apart, float *room, uint8_t *page)
{
    const struct coded_kind *kind = coded_kind(type);
    assert(kind != NULL && kind->log && key_dim <= LOG_DIM_MAX && value_dim <= LOG_DIM_MAX);
    memset(page, 0, lay->bytes);
    for (size_t i = 0; i < key_dim * PAGE_TOK; i++) room[i] = f16_to_f32(keys[i]);
    pack_keys(kind, lay, room, key_dim, apart, page);
    for (size_t i = 0; i < value_dim * PAGE_TOK; i++) room[i] = f16_to_f32(values[i]);
    for (size_t i = 0; i < PAGE_TOK; i++) coded_turn(room + i * value_dim, value_dim);
    pack_values(kind, lay, room, value_dim, apart, page);
}

/* ---- reading ---- */

static void read_log(const struct coded_kind *kind, const struct coded_layout *lay, const uint8_t *page, size_t key_dim,
                     size_t value_dim, size_t at, float *k, float *v)
{
    const struct coded_levels *kl = coded_levels(kind->k_bits), *vl = coded_levels(kind->v_bits);
    float unit = le_f32(page + lay->head);
    uint32_t base = le_u32(page + lay->head + 4);
    uint8_t slots[LOG_DIM_MAX];
    coded_slots(lay, page, slots);
    for (size_t slot = 0; slot < key_dim; slot++) {
        size_t c = slots[slot];
        int level = coded_key_level(kind, lay, page, slot, at);
        float scale = (float)(page[lay->k_scales + c] * KEY_SCALE_ONE) * unit;
        float mean = (float)get_mean(page + lay->k_means, lay->key_pad, c) / (float)SIGMA_MEANS;
        k[c] = (mean + (float)level * kl->unit_inverse) * scale;
    }
    float scale = f32_of_bits(base + ((uint32_t)page[lay->v_scales + at] << VALUE_SCALE_SHIFT));
    for (size_t c = 0; c < value_dim; c++)
        v[c] = (float)vl->levels[coded_value(kind->v_bits, page + lay->v_codes, lay->value_pad, c, at)] *
               vl->unit_inverse * scale;
    coded_turn_back(v, value_dim);
}

void coded_read(enum kv_type type, const struct coded_layout *lay, const uint8_t *page, size_t key_dim,
                size_t value_dim, size_t at, float *k, float *v)
{
    const struct coded_kind *kind = coded_kind(type);
    if (kind->log) {
        read_log(kind, lay, page, key_dim, value_dim, at, k, v);
        return;
    }
    unsigned bits = kind->k_bits;
    for (size_t c = 0; c < key_dim; c++) {
        float scale = f16_to_f32(le_u16(page + lay->k_scales + 2 * (c / CODED_BLOCK * PAGE_TOK + at)));
        int code = (int)key_get(bits, page + lay->k_codes, lay->key_pad, c, at);
        k[c] = (float)(bits == 8 ? code - 128 : 2 * code - 15) * scale;
    }
    for (size_t c = 0; c < value_dim; c++) {
        float scale = f16_to_f32(le_u16(page + lay->v_scales + 2 * (c / CODED_BLOCK * PAGE_TOK + at)));
        unsigned code = coded_value(bits, page + lay->v_codes, lay->value_pad, c, at);
        v[c] = (float)(bits == 8 ? (int8_t)code : 2 * (int)code - 15) * scale;
    }
    if (kv_turns_keys(type)) coded_turn_back(k, key_dim);
    if (kv_turns_values(type)) coded_turn_back(v, value_dim);
}

bool coded_check(enum kv_type type, const struct coded_layout *lay, const uint8_t *page, size_t key_dim)
{
    if (!coded_kind(type)->log) { /* f16 scales: finite, not negative */
        for (size_t at = lay->k_scales; at < lay->k_means; at += 2)
            if (le_u16(page + at) >= 0x7c00) return false;
        return true;
    }
    float unit = le_f32(page + lay->head);
    bool taken[LOG_DIM_MAX] = { false };
    for (size_t s = 0; s < lay->boosts; s++) { /* a slot of its own, or one from `boosts` on, each once */
        size_t c = page[lay->boost_channels + s];
        if (c >= key_dim || taken[c] || (c < lay->boosts && c != s)) return false;
        taken[c] = true;
    }
    return unit >= 0.0f && unit < INFINITY && le_u32(page + lay->head + 4) < 0x7f800000u &&
           coded_top_scale(lay, page) < INFINITY;
}
