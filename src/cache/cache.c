/* Pages of keys and values: see cache.h. */
#include "cache/cache.h"

#include "base/checked.h"
#include "base/limits.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE_ALIGN = 64, BLOCK_ALIGN = 4096 };

/* ---- names and shapes ---- */

const char *kv_type_name(enum kv_type type)
{
    assert(type < KV_TYPES);
    return kv_is_coded(type) ? coded_kind(type)->name : type == KV_F32 ? "f32" : "f16";
}

enum kv_type kv_type_named(const char *name)
{
    for (int type = 0; type < KV_TYPES; type++)
        if (strcmp(name, kv_type_name((enum kv_type)type)) == 0) return (enum kv_type)type;
    return KV_TYPES;
}

bool kv_shape_check(const struct kv_shape *s, bool latent, err *e)
{
    struct coded_layout layout;
    const char *why;
    if (!kv_is_coded(s->type)) return true;
    if (latent && kv_is_log(s->type))
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "--kv %s: a latent cache, it can be kept as f32, f16, q8 or q4",
                    kv_type_name(s->type));
    if (!coded_layout(s->type, s->key_dim, s->value_dim, &layout, &why))
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "--kv %s: heads of %zu and %zu channels, allowed: %s",
                    kv_type_name(s->type), s->key_dim, s->value_dim, why);
    return true;
}

static bool page_bytes(enum kv_type type, size_t dim, size_t *out)
{
    size_t each = type == KV_F32 ? sizeof(float) : sizeof(uint16_t), bytes;
    if (!mul_size(dim, PAGE_TOK * each, &bytes)) return false;
    *out = round_up(bytes, PAGE_ALIGN);
    return true;
}

/* Bytes of one head's page of the main blocks, and of the exact ones. */
static bool head_bytes(const struct kv_shape *s, size_t *main, size_t *exact)
{
    struct coded_layout layout;
    const char *why;
    size_t key, value;
    if (!page_bytes(s->type, s->key_dim, &key) || !page_bytes(s->type, s->value_dim, &value) ||
        !add_size(key, value, exact))
        return false;
    *main = *exact;
    if (kv_is_coded(s->type)) {
        if (!coded_layout(s->type, s->key_dim, s->value_dim, &layout, &why)) return false;
        *main = layout.bytes;
    }
    return true;
}

bool kv_block_bytes(const struct kv_shape *s, size_t *out)
{
    size_t main, exact, layer;
    return head_bytes(s, &main, &exact) && mul_size(main, s->kv_heads, &layer) && mul_size(layer, s->layers, out);
}

static size_t exact_blocks(const struct kv_shape *s)
{
    return kv_is_log(s->type) ? KV_EXACT_BLOCKS * max_size(s->sequences, 1) + KV_STEP_SPARE : 0;
}

/* Pages of one layer and all heads that a step keeps in between: see exact_of and set_of. */
static size_t scratch_pages(const struct kv_shape *s)
{
    return kv_is_log(s->type) ? 2 * (ceil_div(s->step_tok > 0 ? s->step_tok : BATCH_TOK_MAX, PAGE_TOK) + 1) : 0;
}

/* Bytes of the three runs of pages. */
static bool run_bytes(const struct kv_shape *s, size_t blocks, size_t out[static 3])
{
    size_t main, exact, one, layer;
    if (!head_bytes(s, &main, &exact) || !mul_size(main, s->kv_heads, &one) || !mul_size(one, s->layers, &one) ||
        !mul_size(one, blocks, &out[0]) || !mul_size(exact, s->kv_heads, &layer) || !mul_size(layer, s->layers, &one) ||
        !mul_size(one, exact_blocks(s), &out[1]) || !mul_size(layer, scratch_pages(s), &out[2]))
        return false;
    for (size_t i = 0; i < 3; i++) out[i] = round_up(out[i], BLOCK_ALIGN);
    return true;
}

/* Bytes of the lists of one block: free, holders, used. */
enum { LIST_BYTES = 2 * sizeof(uint32_t) + sizeof(bool) };

bool kv_pool_bytes(const struct kv_shape *s, size_t blocks, size_t *out)
{
    size_t runs[3], lists, sum;
    return run_bytes(s, blocks, runs) && mul_size(blocks + exact_blocks(s), LIST_BYTES, &lists) &&
           add_size(runs[0], runs[1], &sum) && add_size(sum, runs[2], &sum) && add_size(sum, lists + 1024, out);
}

size_t kv_type_blocks(enum kv_type type, size_t len_tok)
{
    size_t pages = ceil_div(len_tok, PAGE_TOK);
    return !kv_is_log(type) ? pages : pages > 2 ? pages - 2 : 0;
}

bool kv_shape_seq_bytes(const struct kv_shape *s, size_t len_tok, size_t *out)
{
    size_t main, exact, heads, main_bytes, exact_bytes;
    size_t blocks = kv_type_blocks(s->type, len_tok), pages = ceil_div(len_tok, PAGE_TOK);
    size_t apart = kv_is_log(s->type) ? min_size(pages, KV_EXACT_BLOCKS) : 0;
    return head_bytes(s, &main, &exact) && mul_size(s->kv_heads, s->layers, &heads) && mul_size(main, heads, &main) &&
           mul_size(exact, heads, &exact) && add_size(main, sizeof(uint32_t), &main) &&
           mul_size(blocks, main, &main_bytes) && mul_size(apart, exact, &exact_bytes) &&
           add_size(main_bytes, exact_bytes, out);
}

size_t kv_seq_bytes(const kv_pool *p, size_t len_tok)
{
    size_t bytes = 0;
    bool good = kv_shape_seq_bytes(&p->shape, len_tok, &bytes);
    assert(good); /* the pool has room for it */
    (void)good;
    return bytes;
}

/* ---- pools ---- */

static bool blocks_plan(struct kv_blocks *b, size_t head, const struct kv_shape *s, size_t count, arena *a, err *e)
{
    *b = (struct kv_blocks){ .head_bytes = head, .layer_bytes = head * s->kv_heads, .count = count,
        .free_count = count };
    b->block_bytes = b->layer_bytes * s->layers;
    if (count == 0) return true;
    b->free = ARENA_ARRAY(a, uint32_t, count, "cache: block numbers", e);
    b->holders = ARENA_ARRAY(a, uint32_t, count, "cache: block numbers", e);
    b->used = ARENA_ARRAY(a, bool, count, "cache: block numbers", e);
    if (b->free == NULL || b->holders == NULL || b->used == NULL) return false;
    for (size_t i = 0; i < count; i++) {
        b->free[i] = (uint32_t)(count - 1 - i);
        b->holders[i] = 0;
        b->used[i] = false;
    }
    return true;
}

/* Everything but the pages' memory. */
static bool pool_plan(kv_pool *p, const struct kv_shape *shape, size_t blocks, arena *a, size_t runs[static 3], err *e)
{
    size_t main, exact, block = 0;
    const char *why;
    *p = (kv_pool){ .shape = *shape };
    if (blocks < 1 || blocks >= UINT32_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "cache: %zu blocks, allowed 1..%u", blocks, UINT32_MAX - 1);
    if (!kv_shape_check(shape, false, e)) return false;
    if (!kv_block_bytes(shape, &block) || !run_bytes(shape, blocks, runs) || !head_bytes(shape, &main, &exact) ||
        runs[0] > SIZE_MAX / 4 || runs[1] > SIZE_MAX / 4 || runs[2] > SIZE_MAX / 4)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "cache: %zu blocks of %zu bytes are more than there are addresses",
                    blocks, block);
    if (kv_is_coded(shape->type)) coded_layout(shape->type, shape->key_dim, shape->value_dim, &p->layout, &why);
    page_bytes(shape->type, shape->key_dim, &p->key_bytes);
    page_bytes(shape->type, shape->value_dim, &p->value_bytes);
    p->scratch_pages = scratch_pages(shape);
    p->memory_bytes = runs[0] + runs[1] + runs[2];
    return blocks_plan(&p->main, main, shape, blocks, a, e) &&
           blocks_plan(&p->exact, exact, shape, exact_blocks(shape), a, e);
}

static void pool_lay(kv_pool *p, uint8_t *memory, const size_t runs[static 3])
{
    p->main.base = memory;
    p->exact.base = memory + runs[0];
    p->scratch = p->exact.base + runs[1];
}

bool kv_pool_new_in(kv_pool *p, const struct kv_shape *shape, size_t blocks, arena *a, err *e)
{
    size_t runs[3];
    if (!pool_plan(p, shape, blocks, a, runs, e)) return false;
    uint8_t *memory = arena_take(a, p->memory_bytes, 1, BLOCK_ALIGN, "cache", e);
    if (memory == NULL) return false;
    pool_lay(p, memory, runs);
    return true;
}

bool kv_pool_new(kv_pool *p, const struct kv_shape *shape, size_t blocks, arena *a, err *e)
{
    size_t runs[3];
    if (!pool_plan(p, shape, blocks, a, runs, e)) return false;
    void *base =
        mmap(NULL, p->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "cache: no room for %zu bytes", p->memory_bytes);
    madvise(base, p->memory_bytes, MADV_HUGEPAGE); /* advice: where the kernel has none to give, nothing is lost */
    p->memory = base;
    pool_lay(p, base, runs);
    return true;
}

void kv_pool_free(kv_pool *p)
{
    if (p->memory != NULL) munmap(p->memory, p->memory_bytes);
    *p = (kv_pool){ 0 };
}

/* ---- blocks ---- */

static uint8_t *block_at(const struct kv_blocks *b, uint32_t block)
{
    assert(block < b->count);
    return b->base + block * b->block_bytes;
}

/* The caller has seen that one is free. */
static uint32_t block_take(struct kv_blocks *b)
{
    assert(b->free_count > 0);
    uint32_t block = b->free[--b->free_count];
    assert(b->holders[block] == 0);
    if (b->used[block]) memset(block_at(b, block), 0, b->block_bytes);
    b->used[block] = true;
    b->holders[block] = 1;
    return block;
}

static void block_drop(struct kv_blocks *b, uint32_t block)
{
    if (block == KV_NO_BLOCK) return;
    assert(block < b->count && b->holders[block] > 0);
    if (--b->holders[block] == 0) b->free[b->free_count++] = block;
}

static uint32_t block_share(struct kv_blocks *b, uint32_t block)
{
    if (block != KV_NO_BLOCK) b->holders[block]++;
    return block;
}

static uint32_t block_copy(struct kv_blocks *b, uint32_t from)
{
    uint32_t to = block_take(b);
    memcpy(block_at(b, to), block_at(b, from), b->block_bytes);
    return to;
}

/* ---- sequences ---- */

bool kv_seq_new(kv_seq *s, kv_pool *p, size_t ctx_tok, arena *a, err *e)
{
    if (ctx_tok < 1 || ctx_tok > CTX_TOK_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "context: %zu positions, allowed 1..%d", ctx_tok, CTX_TOK_MAX);
    *s = (kv_seq){ .pool = p, .blocks_max = ceil_div(ctx_tok, PAGE_TOK), .window = { KV_NO_BLOCK, KV_NO_BLOCK },
                   .set = KV_NO_BLOCK };
    s->blocks = ARENA_ARRAY(a, uint32_t, s->blocks_max, "cache: page table", e);
    return s->blocks != NULL;
}

bool kv_seq_reserve(kv_seq *s, size_t len_tok, err *e)
{
    struct kv_blocks *b = &s->pool->main;
    size_t want = kv_type_blocks(s->pool->shape.type, len_tok);
    if (ceil_div(len_tok, PAGE_TOK) > s->blocks_max)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "context: %zu positions, planned for %zu", len_tok,
                    s->blocks_max * PAGE_TOK);
    if (want <= s->block_count) return true;
    if (want - s->block_count > b->free_count)
        return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "cache: %zu blocks of %d positions wanted, %zu of %zu free",
                    want - s->block_count, PAGE_TOK, b->free_count, b->count);
    while (s->block_count < want) s->blocks[s->block_count++] = block_take(b);
    return true;
}

static void drop_exact(kv_seq *s)
{
    struct kv_blocks *b = &s->pool->exact;
    block_drop(b, s->window[0]);
    block_drop(b, s->window[1]);
    block_drop(b, s->set);
    s->window[0] = s->window[1] = s->set = KV_NO_BLOCK;
    s->page = 0;
}

/* Log tiers: the lowest length that the exact blocks still serve. All of pages 0..2 is in them while m <= 2. */
static size_t log_lowest(const kv_seq *s)
{
    return s->page <= 2 ? 0 : s->page * PAGE_TOK;
}

size_t kv_seq_kept(const kv_seq *s, size_t len_tok)
{
    assert(len_tok <= s->len_tok);
    return !kv_is_log(s->pool->shape.type) || len_tok >= log_lowest(s) ? len_tok : 0;
}

/* The page that a log sequence of so many positions stands in when it goes back. */
static size_t page_back(const kv_seq *s, size_t len_tok)
{
    if (len_tok >= s->page * PAGE_TOK) return s->page;
    return len_tok / PAGE_TOK; /* only while page <= 2 */
}

/* Window and set of an earlier page, where page is at most 2: the set of page 2 is page 0, in f16 and whole. */
static void exact_back(kv_seq *s, size_t page)
{
    struct kv_blocks *b = &s->pool->exact;
    for (; s->page > page; s->page--) {
        block_drop(b, s->window[1]);
        s->window[1] = s->window[0];
        s->window[0] = s->page == 2 ? s->set : KV_NO_BLOCK;
        if (s->page == 2) s->set = KV_NO_BLOCK;
    }
}

/* The block that the next position goes into becomes the sequence's own; false where no block is free. */
static bool own_tail(kv_seq *s)
{
    bool log = kv_is_log(s->pool->shape.type);
    struct kv_blocks *b = log ? &s->pool->exact : &s->pool->main;
    uint32_t *tail = log ? &s->window[1] : &s->blocks[s->len_tok / PAGE_TOK];
    bool partial = log ? s->len_tok < (s->page + 1) * PAGE_TOK : s->len_tok % PAGE_TOK != 0;
    if (!partial || *tail == KV_NO_BLOCK || b->holders[*tail] == 1) return true;
    if (b->free_count == 0) return false;
    uint32_t mine = block_copy(b, *tail);
    block_drop(b, *tail);
    *tail = mine;
    return true;
}

size_t kv_seq_rewind(kv_seq *s, size_t len_tok)
{
    assert(len_tok <= s->len_tok);
    bool log = kv_is_log(s->pool->shape.type);
    s->len_tok = kv_seq_kept(s, len_tok);
    if (log && s->len_tok == 0) drop_exact(s);
    if (log && s->len_tok > 0) exact_back(s, page_back(s, s->len_tok));
    size_t blocks = log ? s->page > 1 ? s->page - 1 : 0 : ceil_div(s->len_tok, PAGE_TOK);
    while (s->block_count > blocks) block_drop(&s->pool->main, s->blocks[--s->block_count]);
    if (own_tail(s)) return s->len_tok;
    return kv_seq_rewind(s, log ? 0 : s->len_tok / PAGE_TOK * PAGE_TOK);
}

bool kv_seq_copy(kv_seq *to, const kv_seq *from, size_t len_tok, err *e)
{
    kv_pool *p = to->pool;
    bool log = kv_is_log(p->shape.type);
    assert(p == from->pool && to->len_tok == 0 && kv_seq_kept(from, len_tok) == len_tok);
    if (ceil_div(len_tok, PAGE_TOK) > to->blocks_max)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "context: %zu positions, planned for %zu", len_tok,
                    to->blocks_max * PAGE_TOK);
    kv_seq_rewind(to, 0);
    if (len_tok == 0) return true;
    to->block_count = min_size(from->block_count, to->blocks_max);
    for (size_t i = 0; i < to->block_count; i++) to->blocks[i] = block_share(&p->main, from->blocks[i]);
    if (log) {
        to->page = from->page;
        for (size_t i = 0; i < 2; i++) to->window[i] = block_share(&p->exact, from->window[i]);
        to->set = block_share(&p->exact, from->set);
    }
    to->len_tok = from->len_tok;
    if (kv_seq_rewind(to, len_tok) == len_tok) return true;
    kv_seq_rewind(to, 0);
    return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "cache: a block wanted for a copy, 0 of %zu free",
                log ? p->exact.count : p->main.count);
}

void *kv_keys(const kv_seq *s, size_t page, size_t layer, size_t head)
{
    const struct kv_blocks *b = &s->pool->main;
    assert(page < s->block_count && layer < s->pool->shape.layers && head < s->pool->shape.kv_heads);
    return block_at(b, s->blocks[page]) + layer * b->layer_bytes + head * b->head_bytes;
}

void *kv_values(const kv_seq *s, size_t page, size_t layer, size_t head)
{
    return (uint8_t *)kv_keys(s, page, layer, head) + (kv_is_coded(s->pool->shape.type) ? 0 : s->pool->key_bytes);
}

/* ---- steps ---- */

/* A log sequence that holds nothing yet stands before page 0: its first page is new like any other. */
static bool has_page(const kv_seq *s, size_t page)
{
    return s->window[1] != KV_NO_BLOCK && page <= s->page;
}

size_t kv_step_spare(const kv_seq *s, size_t count)
{
    if (!kv_is_log(s->pool->shape.type) || count == 0) return 0;
    size_t last = (s->len_tok + count - 1) / PAGE_TOK;
    if (has_page(s, last)) return 0;
    return (size_t)1 + (last > 0 && !has_page(s, last - 1)) + (last > 1);
}

/* Scratch pages of a stretch: exact pages after the window's and before last - 1, then sets after the present one. */
static size_t between(const kv_seq *s, size_t last)
{
    size_t next = s->window[1] == KV_NO_BLOCK ? 0 : s->page + 1;
    return last > next ? last - next : 0;
}

bool kv_step_begin(kv_step *st, kv_seq *s, size_t count, size_t *scratch, err *e)
{
    struct kv_blocks *b = &s->pool->exact;
    size_t last = (s->len_tok + count - 1) / PAGE_TOK, spare = kv_step_spare(s, count);
    assert(count >= 1);
    *st = (kv_step){ .seq = s, .first = s->len_tok, .count = count, .last_page = last, .scratch = *scratch };
    if (!kv_seq_reserve(s, s->len_tok + count, e)) return false;
    if (!kv_is_log(s->pool->shape.type)) return true;
    if (spare > b->free_count)
        return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "cache: %zu exact blocks of %d positions wanted, %zu of %zu free",
                    spare, PAGE_TOK, b->free_count, b->count);
    st->window[0] = s->window[0];
    st->window[1] = s->window[1];
    st->set = s->set;
    if (has_page(s, last)) return true;
    assert(*scratch + 2 * between(s, last) <= s->pool->scratch_pages);
    *scratch += 2 * between(s, last);
    st->window[0] = last == 0 ? KV_NO_BLOCK : has_page(s, last - 1) ? block_share(b, s->window[1]) : block_take(b);
    st->window[1] = block_take(b);
    st->set = last > 1 ? block_take(b) : KV_NO_BLOCK;
    return true;
}

bool kv_step_begin_at(kv_step *st, kv_seq *s, size_t page, size_t *scratch, err *e)
{
    struct kv_blocks *b = &s->pool->exact;
    size_t need = page > 1 ? 3 : page + 1;
    assert(kv_is_log(s->pool->shape.type) && s->window[1] == KV_NO_BLOCK && s->len_tok == 0);
    *st = (kv_step){ .seq = s, .count = 1, .last_page = page, .scratch = *scratch,
                     .window = { KV_NO_BLOCK, KV_NO_BLOCK }, .set = KV_NO_BLOCK };
    if (!kv_seq_reserve(s, (page + 1) * PAGE_TOK, e)) return false;
    if (need > b->free_count)
        return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "cache: %zu exact blocks of %d positions wanted, %zu of %zu free",
            need,
                    PAGE_TOK, b->free_count, b->count);
    if (page > 0) st->window[0] = block_take(b);
    st->window[1] = block_take(b);
    if (page > 1) st->set = block_take(b);
    return true;
}

bool kv_step_turns(const kv_step *st)
{
    return kv_is_log(st->seq->pool->shape.type) && !has_page(st->seq, st->last_page);
}

void kv_step_end(kv_step *st, bool good)
{
    kv_seq *s = st->seq;
    struct kv_blocks *b = &s->pool->exact;
    if (kv_step_turns(st)) {
        uint32_t *drop_window = good ? s->window : st->window, drop_set = good ? s->set : st->set;
        for (size_t i = 0; i < 2; i++) block_drop(b, drop_window[i]);
        block_drop(b, drop_set);
        if (good) {
            memcpy(s->window, st->window, sizeof s->window);
            s->set = st->set;
            s->page = st->last_page;
        }
    }
    if (good) s->len_tok = st->first + st->count;
}

static struct kv_page page_of(const kv_pool *p, const uint8_t *block, size_t layer, size_t head)
{
    uint8_t *keys = (uint8_t *)block + layer * p->exact.layer_bytes + head * p->exact.head_bytes;
    return (struct kv_page){ keys, keys + p->key_bytes };
}

struct kv_page kv_step_exact(const kv_step *st, size_t page, size_t layer, size_t head)
{
    const kv_seq *s = st->seq;
    const kv_pool *p = s->pool;
    assert(page <= st->last_page);
    if (has_page(s, page)) {
        assert(page + 1 >= s->page);
        return page_of(p, block_at(&p->exact, s->window[page == s->page ? 1 : 0]), layer, head);
    }
    if (page + 1 >= st->last_page)
        return page_of(p, block_at(&p->exact, st->window[page == st->last_page ? 1 : 0]), layer, head);
    size_t next = s->window[1] == KV_NO_BLOCK ? 0 : s->page + 1;
    return page_of(p, p->scratch + (st->scratch + page - next) * p->exact.layer_bytes, 0, head);
}

struct kv_page kv_step_set(const kv_step *st, size_t m, size_t layer, size_t head)
{
    const kv_seq *s = st->seq;
    const kv_pool *p = s->pool;
    assert(m >= 2 && m <= st->last_page);
    if (has_page(s, m)) {
        assert(m == s->page);
        return page_of(p, block_at(&p->exact, s->set), layer, head);
    }
    if (m == st->last_page) return page_of(p, block_at(&p->exact, st->set), layer, head);
    size_t next = s->window[1] == KV_NO_BLOCK ? 0 : s->page + 1;
    size_t at = st->scratch + between(s, st->last_page) + m - next;
    return page_of(p, p->scratch + at * p->exact.layer_bytes, 0, head);
}

/* Slot `to` of the set becomes position `at` of an exact page (or slot of another set). */
static void set_slot(const kv_pool *p, struct kv_page set, size_t to, struct kv_page from, size_t at)
{
    size_t key_dim = p->shape.key_dim, value_dim = p->shape.value_dim;
    uint16_t *keys = set.keys;
    const uint16_t *of = from.keys;
    for (size_t c = 0; c < key_dim; c++) keys[c * PAGE_TOK + to] = of[c * PAGE_TOK + at];
    memcpy((uint16_t *)set.values + to * value_dim, (const uint16_t *)from.values + at * value_dim,
           value_dim * sizeof(uint16_t));
}

/* The set of page m from that of m - 1 and page m - 2, which leaves the window: every second of both, the first four
 * positions of all kept. For m = 2 it is page 0. */
static void make_set(const kv_step *st, size_t m, size_t layer, size_t head)
{
    const kv_pool *p = st->seq->pool;
    struct kv_page set = kv_step_set(st, m, layer, head), leaving = kv_step_exact(st, m - 2, layer, head);
    if (m == 2) {
        memcpy(set.keys, leaving.keys, p->key_bytes + p->value_bytes);
        return;
    }
    struct kv_page before = kv_step_set(st, m - 1, layer, head);
    for (size_t slot = 0; slot < PAGE_TOK / 2; slot++) set_slot(p, set, slot, before, slot < 4 ? slot : 2 * slot);
    for (size_t slot = PAGE_TOK / 2; slot < PAGE_TOK; slot++) set_slot(p, set, slot, leaving, 2 * slot - PAGE_TOK);
}

void kv_step_settle(const kv_step *st, size_t layer, size_t head, float *room)
{
    const kv_seq *s = st->seq;
    const kv_pool *p = s->pool;
    size_t next = s->window[1] == KV_NO_BLOCK ? 0 : s->page + 1;
    for (size_t m = max_size(next, 2); m <= st->last_page; m++) {
        struct kv_page leaving = kv_step_exact(st, m - 2, layer, head);
        make_set(st, m, layer, head);
        coded_pack(p->shape.type, &p->layout, leaving.keys, leaving.values, p->shape.key_dim, p->shape.value_dim,
                   m == 2 ? 15 : 0, room, kv_keys(s, m - 2, layer, head));
    }
}
