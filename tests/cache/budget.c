/* What sessions take of a pool, counted in the blocks that a filled one really holds: bits a cached value, and how many
 * sessions one budget of bytes keeps. Everything a session holds is counted: codes, scales, the exact set and window,
 * its page table; what a step needs for a moment (KV_STEP_SPARE, scratch) is the engine's once, not a session's. */
#include "cache/cache.h"

#include "check.h"

#include <string.h>

enum { LAYERS = 2, KV_HEADS = 2, LONG_TOK = 32768 };

static struct kv_shape shape_of(enum kv_type type, size_t dim, size_t sequences)
{
    return (struct kv_shape){ .type = type, .layers = LAYERS, .kv_heads = KV_HEADS, .key_dim = dim, .value_dim = dim,
                              .sequences = sequences, .step_tok = PAGE_TOK };
}

/* Takes the blocks of `len` positions, as computing them would, but for what they hold. */
static bool fill(kv_seq *s, size_t len, err *e)
{
    while (s->len_tok < len) {
        kv_step st;
        size_t scratch = 0, left = len - s->len_tok;
        if (!kv_step_begin(&st, s, left < PAGE_TOK ? left : PAGE_TOK, &scratch, e)) return false;
        kv_step_end(&st, true);
    }
    return true;
}

static size_t bytes_taken(const kv_pool *p)
{
    return (p->main.count - p->main.free_count) * p->main.block_bytes +
           (p->exact.count - p->exact.free_count) * p->exact.block_bytes;
}

/* Bits a value of one session of LONG_TOK. */
static double bits_of(enum kv_type type, size_t dim)
{
    struct kv_shape shape = shape_of(type, dim, 1);
    arena a;
    kv_pool pool;
    kv_seq s;
    err e = { 0 };
    double bits = 1e9;
    if (!CHECK(arena_new(&a, 1 << 20, &e), "%s", e.text)) return bits;
    if (CHECK(kv_pool_new(&pool, &shape, LONG_TOK / PAGE_TOK, &a, &e), "%s", e.text)) {
        if (CHECK(kv_seq_new(&s, &pool, LONG_TOK, &a, &e) && fill(&s, LONG_TOK, &e), "%s", e.text)) {
            size_t table = s.block_count * sizeof *s.blocks, taken = bytes_taken(&pool) + table;
            bits = 8.0 * (double)taken / ((double)LONG_TOK * LAYERS * KV_HEADS * 2.0 * (double)dim);
            CHECK(taken == kv_seq_bytes(&pool, LONG_TOK), "kv_seq_bytes says %zu, %zu are taken",
                  kv_seq_bytes(&pool, LONG_TOK), taken);
        }
        kv_pool_free(&pool);
    }
    arena_free(&a);
    return bits;
}

static void sizes(void)
{
    static const struct { enum kv_type type; size_t dim; double most; } rows[] = {
        { KV_F16, 128, 16.001 }, { KV_Q8, 128, 8.501 }, { KV_Q4, 128, 4.501 },
        { KV_K2V2, 128, 2.45 },  { KV_K3V2, 128, 2.95 }, { KV_K4V2, 128, 3.45 },
        { KV_K2V2, 64, 2.55 },   { KV_K3V2, 64, 3.05 },  { KV_K4V2, 64, 3.55 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double bits = bits_of(rows[i].type, rows[i].dim);
        CHECK(bits <= rows[i].most, "%s, heads of %zu, %d positions: %.4f bits a value, allowed %.3f",
              kv_type_name(rows[i].type), rows[i].dim, LONG_TOK, bits, rows[i].most);
    }
}

/* Sessions of `len` positions that a budget keeps: taken one after the other until their blocks are more. */
static size_t sessions_in(size_t budget, enum kv_type type, size_t len)
{
    enum { MOST = 64 };
    static kv_seq seqs[MOST];
    struct kv_shape shape = shape_of(type, 128, MOST);
    arena a;
    kv_pool pool;
    err e = { 0 };
    size_t count = 0;
    if (!CHECK(arena_new(&a, 4 << 20, &e) &&
                   kv_pool_new(&pool, &shape, MOST * (len / PAGE_TOK + 1), &a, &e), "%s", e.text))
        return 0;
    for (; count < MOST; count++) {
        err full = { 0 };
        if (!kv_seq_new(&seqs[count], &pool, len, &a, &full) || !fill(&seqs[count], len, &full) ||
            bytes_taken(&pool) > budget)
            break;
    }
    kv_pool_free(&pool);
    arena_free(&a);
    return count;
}

static void sessions(void)
{
    static const struct { size_t len; double over_f16, over_q4; } rows[] = { { 2000, 4.3, 1.2 }, { 8000, 5.8, 1.6 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kv_shape f16 = shape_of(KV_F16, 128, 1);
        size_t block = 0, pages = (rows[i].len + PAGE_TOK - 1) / PAGE_TOK;
        CHECK(kv_block_bytes(&f16, &block), "a block");
        size_t budget = 10 * pages * block; /* ten of f16 */
        size_t plain = sessions_in(budget, KV_F16, rows[i].len), four = sessions_in(budget, KV_Q4, rows[i].len);
        size_t log = sessions_in(budget, KV_K2V2, rows[i].len);
        CHECK(plain == 10, "ten of f16 in a budget of ten: %zu", plain);
        CHECK((double)log >= rows[i].over_f16 * (double)plain, "%zu tokens: %zu sessions of log:k2v2, %zu of f16",
              rows[i].len, log, plain);
        CHECK((double)log >= rows[i].over_q4 * (double)four, "%zu tokens: %zu sessions of log:k2v2, %zu of q4",
              rows[i].len, log, four);
    }
}

int main(void)
{
    sizes();
    sessions();
    return check_done();
}
