/* Pages of keys and values: see cache.h. */
#include "cache/cache.h"

#include "base/checked.h"
#include "base/limits.h"

#include <assert.h>
#include <sys/mman.h>

enum { PAGE_ALIGN = 64 };

static bool page_bytes(enum kv_type type, size_t dim, size_t *out)
{
    size_t each = type == KV_F32 ? sizeof(float) : sizeof(uint16_t), bytes;
    if (!mul_size(dim, PAGE_TOK * each, &bytes)) return false;
    *out = round_up(bytes, PAGE_ALIGN);
    return true;
}

bool kv_block_bytes(const struct kv_shape *s, size_t *out)
{
    size_t key, value, head, layer;
    return page_bytes(s->type, s->key_dim, &key) && page_bytes(s->type, s->value_dim, &value) &&
           add_size(key, value, &head) && mul_size(head, s->kv_heads, &layer) && mul_size(layer, s->layers, out);
}

/* Everything but the pages' memory. */
static bool pool_plan(kv_pool *p, const struct kv_shape *shape, size_t blocks, arena *a, size_t *bytes, err *e)
{
    *p = (kv_pool){ .shape = *shape };
    size_t all_bytes;
    if (blocks < 1 || blocks >= UINT32_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "cache: %zu blocks, allowed 1..%u", blocks, UINT32_MAX - 1);
    if (!kv_block_bytes(shape, &p->block_bytes) || !mul_size(p->block_bytes, blocks, &all_bytes))
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "cache: %zu blocks of %zu bytes are more than there are addresses",
                    blocks, p->block_bytes);
    page_bytes(shape->type, shape->key_dim, &p->key_bytes);
    page_bytes(shape->type, shape->value_dim, &p->value_bytes);
    p->layer_bytes = p->block_bytes / shape->layers;
    p->free_blocks = ARENA_ARRAY(a, uint32_t, blocks, "cache: block numbers", e);
    if (p->free_blocks == NULL) return false;
    for (size_t i = 0; i < blocks; i++) p->free_blocks[i] = (uint32_t)(blocks - 1 - i);
    p->blocks = p->free_count = blocks;
    *bytes = all_bytes;
    return true;
}

bool kv_pool_new_in(kv_pool *p, const struct kv_shape *shape, size_t blocks, arena *a, err *e)
{
    size_t bytes;
    if (!pool_plan(p, shape, blocks, a, &bytes, e)) return false;
    p->base = arena_take(a, bytes, 1, 4096, "cache", e);
    p->borrowed = true;
    return p->base != NULL;
}

bool kv_pool_new(kv_pool *p, const struct kv_shape *shape, size_t blocks, arena *a, err *e)
{
    size_t all_bytes;
    if (!pool_plan(p, shape, blocks, a, &all_bytes, e)) return false;
    void *base = mmap(NULL, all_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "cache: no room for %zu bytes", all_bytes);
    madvise(base, all_bytes, MADV_HUGEPAGE); /* advice: where the kernel has none to give, nothing is lost */
    p->base = base;
    return true;
}

void kv_pool_free(kv_pool *p)
{
    if (p->base != NULL && !p->borrowed) munmap(p->base, p->block_bytes * p->blocks);
    *p = (kv_pool){ 0 };
}

bool kv_seq_new(kv_seq *s, kv_pool *p, size_t ctx_tok, arena *a, err *e)
{
    if (ctx_tok < 1 || ctx_tok > CTX_TOK_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "context: %zu positions, allowed 1..%d", ctx_tok, CTX_TOK_MAX);
    *s = (kv_seq){ .pool = p, .blocks_max = ceil_div(ctx_tok, PAGE_TOK) };
    s->blocks = ARENA_ARRAY(a, uint32_t, s->blocks_max, "cache: page table", e);
    return s->blocks != NULL;
}

bool kv_seq_reserve(kv_seq *s, size_t len_tok, err *e)
{
    size_t want = ceil_div(len_tok, PAGE_TOK);
    if (want > s->blocks_max)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "context: %zu positions, planned for %zu", len_tok,
                    s->blocks_max * PAGE_TOK);
    if (want <= s->block_count) return true;
    if (want - s->block_count > s->pool->free_count)
        return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "cache: %zu blocks of %d positions wanted, %zu of %zu free",
                    want - s->block_count, PAGE_TOK, s->pool->free_count, s->pool->blocks);
    while (s->block_count < want) s->blocks[s->block_count++] = s->pool->free_blocks[--s->pool->free_count];
    return true;
}

void kv_seq_rewind(kv_seq *s, size_t len_tok)
{
    assert(len_tok <= s->len_tok);
    s->len_tok = len_tok;
    while (s->block_count > ceil_div(len_tok, PAGE_TOK))
        s->pool->free_blocks[s->pool->free_count++] = s->blocks[--s->block_count];
}

void *kv_keys(const kv_seq *s, size_t page, size_t layer, size_t head)
{
    const kv_pool *p = s->pool;
    assert(page < s->block_count && layer < p->shape.layers && head < p->shape.kv_heads);
    return p->base + s->blocks[page] * p->block_bytes + layer * p->layer_bytes + head * (p->key_bytes + p->value_bytes);
}

void *kv_values(const kv_seq *s, size_t page, size_t layer, size_t head)
{
    return (uint8_t *)kv_keys(s, page, layer, head) + s->pool->key_bytes;
}

bool kv_seq_copy(kv_seq *to, const kv_seq *from, size_t len_tok, err *e)
{
    assert(to->pool == from->pool && to->len_tok == 0 && len_tok <= from->len_tok);
    if (!kv_seq_reserve(to, len_tok, e)) return false;
    size_t bytes = to->pool->block_bytes;
    for (size_t i = 0; i < ceil_div(len_tok, PAGE_TOK); i++)
        memcpy(to->pool->base + to->blocks[i] * bytes, from->pool->base + from->blocks[i] * bytes, bytes);
    to->len_tok = len_tok;
    return true;
}
