/* cache/cache.h: budgets hold to the block, pages never overlap, what is given back can be taken again. */
#include "cache/cache.h"

#include "check.h"

static const struct kv_shape shape = { .type = KV_F16, .layers = 3, .kv_heads = 2, .key_dim = 40, .value_dim = 24 };

static void pages_apart(kv_seq *s)
{
    /* Every page of every layer and head is filled with a number of its own, then all are looked at. */
    for (int pass = 0; pass < 2; pass++) {
        size_t wrong = 0;
        uint8_t number = 1;
        for (size_t page = 0; page < s->block_count; page++)
            for (size_t layer = 0; layer < shape.layers; layer++)
                for (size_t head = 0; head < shape.kv_heads; head++, number++) {
                    uint8_t *k = kv_keys(s, page, layer, head), *v = kv_values(s, page, layer, head);
                    size_t k_bytes = 40 * PAGE_TOK * 2, v_bytes = 24 * PAGE_TOK * 2;
                    if (pass == 0) {
                        memset(k, number, k_bytes);
                        memset(v, 255 - number, v_bytes);
                    }
                    wrong += k[0] != number || k[k_bytes - 1] != number || v[0] != 255 - number ||
                             v[v_bytes - 1] != 255 - number || (uintptr_t)k % 64 != 0 || (uintptr_t)v % 64 != 0;
                }
        CHECK(wrong == 0, "pass %d: %zu pages overlap or are not aligned", pass, wrong);
    }
}

int main(void)
{
    arena a;
    err e = { 0 };
    kv_pool pool;
    kv_seq one, two;
    size_t block_bytes = 0;
    CHECK(kv_block_bytes(&shape, &block_bytes) && block_bytes == 3 * 2 * (40 + 24) * 64 * 2, "a block of %zu bytes",
          block_bytes);
    CHECK(arena_new(&a, 1 << 16, &e) && kv_pool_new(&pool, &shape, 4, &a, &e), "%s", e.text);
    CHECK(kv_seq_new(&one, &pool, 256, &a, &e) && kv_seq_new(&two, &pool, 129, &a, &e), "%s", e.text);
    CHECK(kv_seq_reserve(&one, 64, &e) && one.block_count == 1, "64 positions are one block");
    CHECK(kv_seq_reserve(&one, 65, &e) && one.block_count == 2, "65 are two");
    CHECK(kv_seq_reserve(&one, 3, &e) && one.block_count == 2, "fewer than are there take nothing");
    CHECK(!kv_seq_reserve(&two, 129, &e) && e.code == ERR_MEMORY && two.block_count == 0,
          "three of two free blocks are refused, and none is taken: %s", e.text);
    e = (err){ 0 };
    CHECK(kv_seq_reserve(&two, 128, &e) && pool.main.free_count == 0, "two of two free blocks");
    CHECK(!kv_seq_reserve(&two, 193, &e) && e.code == ERR_LIMIT, "over the sequence's own plan: %s", e.text);
    e = (err){ 0 };
    pages_apart(&one);
    pages_apart(&two);
    two.len_tok = 128;
    kv_seq_rewind(&two, 65);
    CHECK(two.block_count == 2 && pool.main.free_count == 0, "65 positions keep their second block");
    kv_seq_rewind(&two, 64);
    CHECK(two.block_count == 1 && pool.main.free_count == 1, "64 give it back");
    CHECK(kv_seq_reserve(&one, 192, &e) && pool.main.free_count == 0, "and another sequence takes it");
    kv_pool_free(&pool);
    CHECK(!kv_pool_new(&pool, &shape, 0, &a, &e) && e.code == ERR_LIMIT, "no blocks: %s", e.text);
    e = (err){ 0 };
    struct kv_shape huge = { .type = KV_F32, .layers = SIZE_MAX / 64, .kv_heads = 8, .key_dim = 128, .value_dim = 128 };
    CHECK(!kv_pool_new(&pool, &huge, 1, &a, &e) && e.code == ERR_LIMIT, "a shape beyond all addresses: %s", e.text);
    arena_free(&a);
    return check_done();
}
