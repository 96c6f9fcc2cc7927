/* Part of codes.h, included by each tier's file but AVX-512's: operations that are made of others, where that one has
 * an instruction or an order of its own. Stands at a file's end, after shorts, ints and lanes. */
#ifndef HEARTH_KERNELS_CODES_PLAIN_H
#define HEARTH_KERNELS_CODES_PLAIN_H

static inline void shorts_largests(const shorts x[static 4], int32_t out[static 4])
{
    for (size_t i = 0; i < 4; i++) out[i] = shorts_largest(x[i]);
}

static inline void ints_sums(const ints x[static 4], int32_t out[static 4])
{
    for (size_t i = 0; i < 4; i++) out[i] = ints_sum(x[i]);
}

static inline ints ints_add_weights(ints sum, const uint8_t *weights) /* asked for with FIELDS_IN_PLACE alone */
{
    (void)weights;
    return sum;
}

/* Codes are made in the order of channels, and those of boosted channels change places in memory after that. */
struct slot_order {
    const uint8_t *slots;
    size_t boosts;
};

static inline struct slot_order slots_order(const uint8_t *slots, size_t boosts, size_t pad)
{
    (void)pad;
    return (struct slot_order){ slots, boosts };
}

static inline void codes_in_slots(int8_t *out, const int16_t *t, shorts factor, size_t pad,
                                  const struct slot_order *order)
{
    for (size_t c = 0; c < (pad + 63) / 64 * 64; c += 32)
        shorts_store8(out + c, shorts_times_q15(shorts_load(t + c), factor));
    codes_swap(out, order->slots, order->boosts);
}

static inline void lanes_store_page(uint8_t *to, lanes a, lanes b, lanes c, lanes d)
{
    lanes_store_bytes(to, a), lanes_store_bytes(to + 16, b);
    lanes_store_bytes(to + 32, c), lanes_store_bytes(to + 48, d);
}

static inline lanes lanes_scale_ints(const uint8_t *p, uint32_t base, int shift)
{
    return ints_lanes(scale_bits(p, base, shift));
}

#endif
