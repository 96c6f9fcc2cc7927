/* Streams: see save.h. */
#include "cache/save.h"

#include "base/checked.h"
#include "base/le.h"
#include "base/limits.h"

#include <assert.h>
#include <string.h>

static const uint8_t MAGIC[4] = { 'H', 'K', 'V', '1' };
enum { FIELDS = 6 };

struct head {
    uint64_t len_tok, page;
    size_t main, exact; /* blocks */
};

/* Blocks that a sequence of such a length and page has. */
static struct head head_of(const kv_pool *p, uint64_t len_tok, uint64_t page)
{
    bool log = kv_is_log(p->shape.type);
    struct head h = { len_tok, page, 0, 0 };
    if (len_tok == 0) return h;
    h.main = !log ? (size_t)((len_tok + PAGE_TOK - 1) / PAGE_TOK) : page > 1 ? (size_t)page - 1 : 0;
    h.exact = !log ? 0 : page > 1 ? 3 : (size_t)page + 1;
    return h;
}

static void head_put(const kv_seq *s, uint8_t *out)
{
    const struct kv_shape *shape = &s->pool->shape;
    struct head h = head_of(s->pool, s->len_tok, s->page);
    const uint32_t fields[FIELDS - 1] = { (uint32_t)shape->type, (uint32_t)shape->layers, (uint32_t)shape->kv_heads,
                                          (uint32_t)shape->key_dim, (uint32_t)shape->value_dim };
    memset(out, 0, KV_SAVE_HEAD_BYTES);
    memcpy(out, MAGIC, sizeof MAGIC);
    for (size_t i = 0; i < FIELDS - 1; i++) le_put_u32(out + 4 + 4 * i, fields[i]);
    le_put_u64(out + 24, h.len_tok);
    le_put_u64(out + 32, h.page);
    le_put_u32(out + 40, (uint32_t)h.main);
    le_put_u32(out + 44, (uint32_t)h.exact);
}

/* A block of the stream: its bytes in memory. */
static uint8_t *stream_block(const kv_seq *s, const struct head *h, size_t i)
{
    const struct kv_blocks *main = &s->pool->main, *exact = &s->pool->exact;
    if (i < h->main) return main->base + s->blocks[i] * main->block_bytes;
    size_t at = i - h->main + (h->page == 0 ? 1 : 0); /* page 0 has no window before it */
    uint32_t block = at == 0 ? s->window[0] : at == 1 ? s->window[1] : s->set;
    assert(block < exact->count);
    return exact->base + block * exact->block_bytes;
}

/* Calls for every piece of at .. at + n - 1 that lies within one block. */
static void each_piece(const kv_seq *s, const struct head *h, size_t at, size_t n, uint8_t *bytes, bool out)
{
    const kv_pool *p = s->pool;
    size_t main_end = KV_SAVE_HEAD_BYTES + h->main * p->main.block_bytes;
    while (n > 0) {
        bool main = at < main_end;
        size_t begin = main ? KV_SAVE_HEAD_BYTES : main_end, each = main ? p->main.block_bytes : p->exact.block_bytes;
        size_t block = (at - begin) / each, from = (at - begin) % each, take = min_size(n, each - from);
        assert(block < (main ? h->main : h->exact));
        uint8_t *place = stream_block(s, h, main ? block : h->main + block) + from;
        if (out) memcpy(bytes, place, take);
        else memcpy(place, bytes, take);
        bytes += take;
        at += take;
        n -= take;
    }
}

static size_t stream_bytes(const kv_pool *p, const struct head *h)
{
    return KV_SAVE_HEAD_BYTES + h->main * p->main.block_bytes + h->exact * p->exact.block_bytes;
}

/* ---- saving ---- */

/* Positions from..63 of one head's page become zeros. */
static void clear_page(const kv_pool *p, uint8_t *page, size_t from)
{
    const struct kv_shape *s = &p->shape;
    size_t each = s->type == KV_F32 ? sizeof(float) : sizeof(uint16_t);
    if (kv_is_coded(s->type) && !kv_is_log(s->type)) {
        static const float zeros[CODED_KEYS_MAX];
        for (size_t at = from; at < PAGE_TOK; at++)
            coded_store(s->type, &p->layout, zeros, zeros, s->key_dim, s->value_dim, at, page);
        return;
    }
    for (size_t c = 0; c < s->key_dim; c++) memset(page + (c * PAGE_TOK + from) * each, 0, (PAGE_TOK - from) * each);
    memset(page + p->key_bytes + from * s->value_dim * each, 0, (PAGE_TOK - from) * s->value_dim * each);
}

/* What stands behind the last position in the block that the next one goes into. */
static void clear_tail(kv_seq *s)
{
    kv_pool *p = s->pool;
    bool log = kv_is_log(p->shape.type);
    size_t from = log ? s->len_tok - s->page * PAGE_TOK : s->len_tok % PAGE_TOK;
    if (s->len_tok == 0 || from == PAGE_TOK || (!log && from == 0)) return;
    struct kv_blocks *b = log ? &p->exact : &p->main;
    uint8_t *block = b->base + (log ? s->window[1] : s->blocks[s->len_tok / PAGE_TOK]) * b->block_bytes;
    for (size_t h = 0; h < p->shape.layers * p->shape.kv_heads; h++) clear_page(p, block + h * b->head_bytes, from);
}

bool kv_save_begin(kv_seq *s, size_t *bytes, err *e)
{
    size_t len_tok = s->len_tok;
    if (kv_seq_rewind(s, len_tok) != len_tok) /* takes a shared last block apart, and what was reserved goes back */
        return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "cache: a block wanted to save %zu positions, none is free", len_tok);
    clear_tail(s);
    struct head h = head_of(s->pool, s->len_tok, s->page);
    *bytes = stream_bytes(s->pool, &h);
    return true;
}

void kv_save_read(const kv_seq *s, size_t at, uint8_t *out, size_t n)
{
    struct head h = head_of(s->pool, s->len_tok, s->page);
    uint8_t head[KV_SAVE_HEAD_BYTES];
    head_put(s, head);
    for (; at < KV_SAVE_HEAD_BYTES && n > 0; n--) *out++ = head[at++];
    each_piece(s, &h, at, n, out, true);
}

/* ---- restoring ---- */

uint64_t kv_restore_tok(const uint8_t *head)
{
    return le_u64(head + 24);
}

static bool head_check(const kv_seq *s, const uint8_t *in, size_t bytes, struct head *h, err *e)
{
    static const char *const names[FIELDS - 1] = { "type", "layers", "key/value heads", "key channels",
        "value channels" };
    const kv_pool *p = s->pool;
    const struct kv_shape *shape = &p->shape;
    const size_t want[FIELDS - 1] = { (size_t)shape->type, shape->layers, shape->kv_heads, shape->key_dim,
                                      shape->value_dim };
    if (memcmp(in, MAGIC, sizeof MAGIC) != 0) return fail(e, ERR_VALUE, 0, "saved cache: it does not begin with HKV1");
    for (size_t i = 0; i < FIELDS - 1; i++)
        if (le_u32(in + 4 + 4 * i) != want[i])
            return fail(e, ERR_VALUE, 4 + 4 * i, "saved cache: %s %u, the plan has %zu", names[i],
                le_u32(in + 4 + 4 * i),
                        want[i]);
    uint64_t len_tok = kv_restore_tok(in), page = le_u64(in + 32);
    if (len_tok > s->blocks_max * PAGE_TOK)
        return fail(e, ERR_LIMIT, 24, "saved cache: %llu positions, the context has %zu", (unsigned long long)len_tok,
                    s->blocks_max * PAGE_TOK);
    bool fits = !kv_is_log(shape->type) || len_tok == 0 ? page == 0
                                                        : page * PAGE_TOK <= len_tok &&
                                                            len_tok <= (page + 1) * PAGE_TOK;
    if (page > CTX_TOK_MAX || !fits)
        return fail(e, ERR_VALUE, 32, "saved cache: page %llu of %llu positions", (unsigned long long)page,
                    (unsigned long long)len_tok);
    *h = head_of(p, len_tok, page);
    bool same = le_u32(in + 40) == h->main && le_u32(in + 44) == h->exact && bytes == stream_bytes(p, h);
    for (size_t i = 48; i < KV_SAVE_HEAD_BYTES; i++) same = same && in[i] == 0;
    return same || fail(e, ERR_VALUE, 40, "saved cache: %zu bytes, %u and %u blocks, expected %zu, %zu and %zu", bytes,
                        le_u32(in + 40), le_u32(in + 44), stream_bytes(p, h), h->main, h->exact);
}

bool kv_restore_begin(kv_seq *s, const uint8_t *head, size_t bytes, err *e)
{
    struct head h;
    kv_step take;
    size_t scratch = 0;
    assert(s->len_tok == 0);
    kv_seq_rewind(s, 0);
    if (!head_check(s, head, bytes, &h, e)) return false;
    if (h.len_tok == 0) return true;
    /* A step over its last page alone takes what such a sequence holds: three exact blocks at most, and the packed
     * ones. */
    if (!kv_is_log(s->pool->shape.type)) return kv_seq_reserve(s, (size_t)h.len_tok, e);
    if (!kv_step_begin_at(&take, s, (size_t)h.page, &scratch, e)) return false;
    kv_step_end(&take, true);
    s->len_tok = 0; /* until the stream is complete */
    return true;
}

void kv_restore_write(kv_seq *s, size_t at, const uint8_t *in, size_t n)
{
    size_t page = s->page;
    for (; at < KV_SAVE_HEAD_BYTES && n > 0; n--) at++, in++;
    struct head h = head_of(s->pool, 1, page);
    if (!kv_is_log(s->pool->shape.type)) h.main = s->block_count;
    each_piece(s, &h, at, n, (uint8_t *)in, false);
}

bool kv_restore_end(kv_seq *s, const uint8_t *head, err *e)
{
    const kv_pool *p = s->pool;
    size_t heads = p->shape.layers * p->shape.kv_heads;
    bool good = true;
    for (size_t b = 0; kv_is_coded(p->shape.type) && b < s->block_count; b++)
        for (size_t i = 0; i < heads && good; i++)
            good = coded_check(p->shape.type, &p->layout,
                               p->main.base + s->blocks[b] * p->main.block_bytes + i * p->main.head_bytes,
                               p->shape.key_dim);
    s->len_tok = good ? (size_t)kv_restore_tok(head) : 0;
    if (good) return true;
    kv_seq_rewind(s, 0);
    return fail(e, ERR_VALUE, ERR_NO_OFFSET, "saved cache: a page of codes with a scale or channel that is none");
}
