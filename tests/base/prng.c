/* base/prng.h against the known answers of Random123 (kat_vectors, philox4x32 10 rounds). */
#include "base/prng.h"

#include "check.h"

static const struct {
    const char *says;
    uint64_t seed, stream, index;
    uint32_t want[4];
} cases[] = {
    { "all zeros", 0, 0, 0, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
    { "all ones", UINT64_MAX, UINT64_MAX, UINT64_MAX, { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
    { "digits of pi", 0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88,
      { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
};

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];
        prng_block(cases[i].seed, cases[i].stream, cases[i].index, out);
        for (size_t w = 0; w < 4; w++)
            CHECK(out[w] == cases[i].want[w], "%s: word %zu is %08x, not %08x", cases[i].says, w, out[w],
                  cases[i].want[w]);
        CHECK(prng_u32(cases[i].seed, cases[i].stream, cases[i].index) == out[0], "%s: first word", cases[i].says);
        double unit = prng_unit(cases[i].seed, cases[i].stream, cases[i].index);
        CHECK(unit >= 0.0 && unit < 1.0, "%s: %g is not in [0, 1)", cases[i].says, unit);
    }
    double sum = 0.0;
    for (uint64_t i = 0; i < 100000; i++) sum += prng_unit(7, 3, i);
    CHECK(sum > 49500.0 && sum < 50500.0, "mean of 100,000 draws: %g", sum / 100000.0);
    return check_done();
}
