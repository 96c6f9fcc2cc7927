/* Any 256 floats and importances through every encoder: nothing but the finite is taken, and what is written has finite
 * scales. Corpus: tests/golden/encode. */
#include "kernels/encode.h"

#include "base/le.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    enum { VALUES = 256 };
    /* Where the f16 scales stand in a block: -1 for none. */
    static const struct { uint32_t type; int first, second; } types[] = {
        { WEIGHT_F16, 0, -1 },  { WEIGHT_BF16, -1, -1 }, { WEIGHT_Q4_0, 0, -1 }, { WEIGHT_Q5_0, 0, -1 },
        { WEIGHT_Q8_0, 0, -1 }, { WEIGHT_Q4_K, 0, 2 },   { WEIGHT_Q5_K, 0, 2 },  { WEIGHT_Q6_K, 208, -1 },
    };
    static float x[VALUES], w[VALUES];
    static uint8_t out[VALUES * 4];
    if (len == 0) return 0;
    bool weighted = bytes[0] & 1;
    for (size_t i = 0; i < VALUES; i++) {
        size_t at = 1 + 4 * (i % 64), w_at = 257 + 4 * (i % 61);
        x[i] = at + 4 <= len ? le_f32(bytes + at) * (float)(1 + i / 64) : 0.0f;
        w[i] = w_at + 4 <= len ? le_f32(bytes + w_at) : 1.0f;
    }
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        const struct encode_kind *kind = encode_kind(types[t].type);
        size_t good = encode_row(kind, x, weighted ? w : NULL, VALUES, out);
        if (good < VALUES) return 0;
        for (size_t b = 0; b < VALUES / kind->block_values; b++) {
            const uint8_t *block = out + b * kind->block_bytes;
            assert(types[t].first < 0 || (le_u16(block + types[t].first) & 0x7C00) != 0x7C00);
            assert(types[t].second < 0 || (le_u16(block + types[t].second) & 0x7C00) != 0x7C00);
        }
    }
    return 0;
}
