/* Any bytes as a saved cache: taken in or refused, and what was taken is attended to. The input's first byte chooses the
 * tier; the rest is laid over (XOR) a stream of 200 positions. Corpus: tests/golden/kv_saved. */
#include "cache/save.h"
#include "kernels/tiers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CTX_TOK = 256, LEN_TOK = 200, DIM = 16 };

static void attend(const kv_seq *s)
{
    struct attention_kernels k;
    float q[DIM] = { 1, 2, 3 }, part[DIM + 2];
    const void *pages[SPAN_PAGES];
    attention_bind_c(&k);
    for (size_t p = 0; p < s->block_count; p++) pages[p] = kv_keys(s, p, 0, 0);
    struct attention_row row = { q, 0, s->block_count * PAGE_TOK, part };
    k.coded_span(&(struct attention_span){ .k_pages = pages, .v_pages = pages, .pages = s->block_count, .rows = &row,
                                           .type = s->pool->shape.type, .key_dim = DIM, .value_dim = DIM, .scale = 1,
                                           .row_count = 1 });
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len < 4) return 0;
    arena a;
    kv_pool pool;
    kv_seq from, to;
    err e = { 0 };
    size_t n, scratch = 0;
    struct kv_shape shape = { (enum kv_type)(bytes[0] % KV_TYPES), 1, 1, DIM, DIM, 2, 64 };
    assert(arena_new(&a, 1 << 16, &e) && kv_pool_new(&pool, &shape, 8, &a, &e));
    assert(kv_seq_new(&from, &pool, CTX_TOK, &a, &e) && kv_seq_new(&to, &pool, CTX_TOK, &a, &e));
    for (size_t at = 0; at < LEN_TOK; at += 8) {
        kv_step st;
        static float room[LOG_PACK_FLOATS];
        assert(kv_step_begin(&st, &from, 8, &scratch, &e));
        if (kv_step_turns(&st)) kv_step_settle(&st, 0, 0, room);
        kv_step_end(&st, true);
        scratch = 0;
    }
    assert(kv_save_begin(&from, &n, &e));
    uint8_t *stream = malloc(n);
    kv_save_read(&from, 0, stream, n);
    size_t at = (size_t)bytes[1] | (size_t)bytes[2] << 8, cut = bytes[3];
    for (size_t i = 4; i < len; i++) stream[(at + i) % n] ^= bytes[i];
    if (kv_restore_begin(&to, stream, n - cut % 8 / 7 * cut, &e)) {
        kv_restore_write(&to, 0, stream, n);
        if (kv_restore_end(&to, stream, &e) && kv_is_coded(shape.type) && to.block_count > 0) attend(&to);
    }
    free(stream);
    kv_pool_free(&pool);
    arena_free(&a);
    return 0;
}
