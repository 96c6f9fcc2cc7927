/* The step loop: see engine.h. */
#include "engine/engine_part.h"

#include "base/checked.h"
#include "base/limits.h"

#include <assert.h>

enum {
    CTX_DEFAULT_TOK = 8192,
    CTX_LEAST_TOK = 64,
    CHUNK_DEFAULT_TOK = 512,
    SHARED_CHUNK_TOK = 128, /* of prompts, while others draw: their next token waits no longer than this takes */
    EMBED_ROWS = 32,        /* rows of one step that an embedding may ask for: each costs logits nobody reads */
    WAITING_LEAST = 64      /* requests that may wait, beside those that run */
};

/* ---- planning ---- */

static size_t asked_of(const struct hearth_settings *set)
{
    return min_size(HEARTH_QUEUE_MAX, (size_t)set->sequences + max_size(WAITING_LEAST, set->sequences));
}

static struct kv_shape shape_of(const model *m, const struct hearth_settings *set)
{
    return (struct kv_shape){ .type = (enum kv_type)set->kv, .layers = m->hyper.layers,
                              .kv_heads = m->hyper.kv_heads, .key_dim = m->hyper.key_dim,
                              .value_dim = cached_value_dim(&m->hyper, (enum kv_type)set->kv),
                              .sequences = set->sequences,
                              .step_tok = set->chunk_tok };
}

static size_t rows_of(const struct hearth_settings *set)
{
    return max_size(set->sequences, min_size(EMBED_ROWS, set->chunk_tok));
}

static struct graph_settings graph_of(const struct hearth_settings *set)
{
    return (struct graph_settings){ .chunk_tok = set->chunk_tok, .logit_rows = rows_of(set), .ctx_tok = set->ctx_tok,
                                    .activations_f32 = set->activations_f32 != 0 };
}

static bool watches(const model *m, const struct hearth_settings *set)
{
    return set->experts != 0 && m->hyper.experts.count > 0;
}

static size_t watch_bytes(const model *m, const struct hearth_settings *set)
{
    size_t top_k = m->hyper.experts.top_k;
    if (!watches(m, set)) return 0;
    return usage_seen_bytes(set->chunk_tok, top_k) + experts_event_bytes(set->chunk_tok, top_k) + 64;
}

/* Everything but the graph and the pages: queue, sequences, samplers. An upper bound. */
static size_t lists_bytes(const model *m, size_t threads, const struct hearth_settings *set)
{
    size_t ctx = set->ctx_tok, vocab = m->hyper.vocab, slack = (size_t)1 << 16;
    size_t each_asked = sizeof(struct asked) + ctx * sizeof(int32_t) + vocab * sizeof(int32_t) +
                        HEARTH_STOP_TOKENS_MAX * sizeof(int32_t) + HEARTH_BIASES_MAX * sizeof(struct logit_bias) + 256;
    size_t each_sequence = sizeof(struct sequence) + ctx * sizeof(int32_t) + m->hyper.width * sizeof(double) +
                           HEARTH_TOP_MAX * sizeof(struct token_logprob) +
                           (ceil_div(ctx, PAGE_TOK) + 1) * sizeof(uint32_t) + 4 * sizeof(void *) + 256;
    size_t each_thread = vocab * 17 + 4096 + sizeof(void *);
    return slack + masks_bytes(m, threads, set) + asked_of(set) * each_asked + set->sequences * each_sequence +
           threads * each_thread + set->chunk_tok * (sizeof(struct step_token) + sizeof(void *)) +
           watch_bytes(m, set) + m->hyper.width * sizeof(float) + HEARTH_KV_PIECE_BYTES + 4096;
}

/* No more than all sequences at their ends hold: in log tiers those have pages that are not packed. */
static size_t blocks_of(const struct hearth_settings *set)
{
    size_t all = set->sequences * kv_type_blocks((enum kv_type)set->kv, set->ctx_tok);
    return max_size(min_size(ceil_div((size_t)set->cache_tok, PAGE_TOK), all), 1);
}

static bool plan_bytes(const model *m, size_t threads, const struct hearth_settings *set, size_t *out, err *e)
{
    struct graph_settings graph_set = graph_of(set);
    struct kv_shape shape = shape_of(m, set);
    size_t cache_bytes, sum;
    size_t ropes = 2 * (set->ctx_tok * m->hyper.rope.dims * sizeof(float) + 65536);
    if (!kv_shape_check(&shape, m->hyper.latent.kv_rank > 0, e)) return false;
    if (!kv_pool_bytes(&shape, blocks_of(set), &cache_bytes) ||
        !add_size(cache_bytes, graph_scratch_bytes(m, &graph_set, threads) + ropes, &sum) ||
        !add_size(sum, lists_bytes(m, threads, set) + 65536, out))
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "plan: a context of %u needs more bytes than there are addresses",
                    set->ctx_tok);
    return true;
}

struct bound {
    const char *name;
    uint64_t value, min, max;
};

static bool bounds_check(const struct hearth_settings *set, err *e)
{
    const struct bound rows[] = {
        { "sequences", set->sequences, 1, HEARTH_SEQUENCES_MAX },
        { "--ctx", set->ctx_tok, 1, CTX_TOK_MAX },
        { "--chunk", set->chunk_tok, 1, BATCH_TOK_MAX },
        { "--threads", set->threads, 1, THREADS_MAX },
        { "cache positions", set->cache_tok, set->ctx_tok, (uint64_t)HEARTH_SEQUENCES_MAX * CTX_TOK_MAX },
        { "--kv", set->kv, 0, KV_TYPES - 1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].value < rows[i].min || rows[i].value > rows[i].max)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "%s: %llu, allowed %llu..%llu", rows[i].name,
                        (unsigned long long)rows[i].value, (unsigned long long)rows[i].min,
                        (unsigned long long)rows[i].max);
    return true;
}

/* Defaults, then the context cut in half until the plan fits; one that was asked for is never cut. */
static bool plan(const model *m, size_t threads, const struct hearth_settings *given, struct hearth_settings *set,
                 size_t *bytes, err *e)
{
    *set = *given;
    set->threads = (uint32_t)threads;
    if (set->sequences == 0) set->sequences = 1;
    uint32_t ctx = set->ctx_tok != 0 ? set->ctx_tok : (uint32_t)min_size(m->hyper.ctx_train_tok, CTX_DEFAULT_TOK);
    size_t left = SIZE_MAX;
    if (set->memory_bytes != 0)
        left = set->memory_bytes > m->weights_bytes ? set->memory_bytes - m->weights_bytes : 0;
    for (;; ctx /= 2) {
        set->ctx_tok = ctx;
        set->cache_tok = given->cache_tok != 0
                             ? given->cache_tok
                             : (uint64_t)set->sequences * ceil_div(ctx, PAGE_TOK) * PAGE_TOK;
        set->chunk_tok = given->chunk_tok != 0 ? given->chunk_tok : CHUNK_DEFAULT_TOK;
        set->chunk_tok = (uint32_t)max_size(min_size(set->chunk_tok, ctx), set->sequences);
        if (!bounds_check(set, e) || !hyper_ctx_check(&m->hyper, ctx, e) || !plan_bytes(m, threads, set, bytes, e))
            return false;
        if (*bytes <= left) return true;
        if (given->ctx_tok != 0 || ctx / 2 < CTX_LEAST_TOK)
            return fail(e, ERR_MEMORY, ERR_NO_OFFSET,
                        "memory: a context of %u needs %zu bytes beside the weights (%zu), %zu are free (--ctx, "
                        "--memory)",
                        ctx, *bytes, m->weights_bytes, left);
    }
}

bool engine_plan_bytes(const model *m, size_t threads, const struct hearth_settings *set, size_t *out, err *e)
{
    struct hearth_settings planned;
    return plan(m, threads, set, &planned, out, e);
}

/* ---- taking ---- */

static bool take_sequences(engine *en, arena *a, err *e)
{
    size_t n = en->set.sequences;
    if ((en->sequences = ARENA_ARRAY(a, struct sequence, n, "sequences", e)) == NULL ||
        (en->order = ARENA_ARRAY(a, struct sequence *, n, "sequences", e)) == NULL ||
        (en->drawing = ARENA_ARRAY(a, struct sequence *, n, "sequences", e)) == NULL)
        return false;
    for (size_t i = 0; i < n; i++) {
        struct sequence *s = &en->sequences[i];
        if (!kv_seq_new(&s->kv, &en->pool, en->set.ctx_tok, a, e) ||
            (s->tokens = ARENA_ARRAY(a, int32_t, en->set.ctx_tok, "tokens", e)) == NULL ||
            (s->sum = ARENA_ARRAY(a, double, en->m->hyper.width, "embedding", e)) == NULL ||
            (s->rivals = ARENA_ARRAY(a, struct token_logprob, HEARTH_TOP_MAX, "rivals", e)) == NULL)
            return false;
    }
    return true;
}

static bool take_queue(engine *en, arena *a, err *e)
{
    en->asked_max = asked_of(&en->set);
    en->asked = ARENA_ARRAY(a, struct asked, en->asked_max, "queue", e);
    if (en->asked == NULL) return false;
    for (size_t i = 0; i < en->asked_max; i++) {
        struct asked *q = &en->asked[i];
        if ((q->ids = ARENA_ARRAY(a, int32_t, en->set.ctx_tok, "queue", e)) == NULL ||
            (q->stops = ARENA_ARRAY(a, int32_t, HEARTH_STOP_TOKENS_MAX, "queue", e)) == NULL ||
            (q->biases = ARENA_ARRAY(a, struct logit_bias, HEARTH_BIASES_MAX, "queue", e)) == NULL ||
            (q->breakers = ARENA_ARRAY(a, int32_t, en->m->hyper.vocab, "queue", e)) == NULL)
            return false;
    }
    return true;
}

static bool take_samplers(engine *en, arena *a, err *e)
{
    struct sample_settings plain = SAMPLE_DEFAULTS;
    size_t threads = team_threads(en->team);
    en->samplers = ARENA_ARRAY(a, sampler *, threads, "samplers", e);
    for (size_t i = 0; en->samplers != NULL && i < threads; i++)
        if (!sampler_new(&en->samplers[i], &plain, en->m->hyper.vocab, a, e)) return false;
    return en->samplers != NULL;
}

/* For HEARTH_EXPERTS. */
static bool take_watch(engine *en, arena *a, err *e)
{
    size_t top_k = en->m->hyper.experts.top_k;
    _Static_assert(sizeof(struct hearth_experts) + BATCH_TOK_MAX * (4 + 2 * EXPERTS_USED_MAX) <= HEARTH_EVENT_BYTES_MAX,
                   "the longest fits an event");
    if (!watches(en->m, &en->set)) return true;
    en->told = arena_take(a, experts_event_bytes(en->set.chunk_tok, top_k), 1, 64, "experts seen", e);
    return en->told != NULL && usage_seen_new(&en->seen, en->set.chunk_tok, top_k, a, e);
}

static bool take_all(engine *en, arena *a, arena *pages, err *e)
{
    struct graph_settings graph_set = graph_of(&en->set);
    struct kv_shape shape = shape_of(en->m, &en->set);
    size_t head = sizeof(struct hearth_embedding);
    en->logit_rows = graph_set.logit_rows;
    if (!kv_pool_new_in(&en->pool, &shape, blocks_of(&en->set), pages, e) || !take_sequences(en, a, e) ||
        !take_queue(en, a, e) || !take_samplers(en, a, e) || !masks_new(en, a, e) || !take_watch(en, a, e) ||
        !keep_new(en, a, e) ||
        (en->step = ARENA_ARRAY(a, struct step_token, en->set.chunk_tok, "step", e)) == NULL ||
        (en->step_of = ARENA_ARRAY(a, struct sequence *, en->set.chunk_tok, "step", e)) == NULL)
        return false;
    uint8_t *values = arena_take(a, head + en->m->hyper.width * sizeof(float), 1, 64, "embedding", e);
    if (values == NULL) return false;
    en->values = (float *)(void *)(values + head); /* the event's head stands before them */
    return graph_new_in(&en->graph, en->m, en->k, en->team, &graph_set, pages, e); /* walked across: huge pages help */
}

bool engine_new(engine **out, const model *m, const struct kernels *k, team *t, const struct hearth_settings *set,
                arena *a, arena *pages, engine_emit *emit, void *arg, err *e)
{
    size_t bytes;
    struct hearth_settings planned;
    if (!plan(m, team_threads(t), set, &planned, &bytes, e)) return false;
    engine *en = ARENA_ARRAY(a, engine, 1, "engine", e);
    if (en == NULL) return false;
    *en = (engine){ .m = m, .k = k, .team = t, .set = planned, .emit = emit, .arg = arg };
    if (!take_all(en, a, pages, e)) return false;
    if (en->told != NULL) graph_watch(en->graph, emit_experts, en);
    emit_loaded(en, bytes);
    *out = en;
    return true;
}

/* ---- messages ---- */

static struct asked *asked_find(const engine *en, uint64_t id)
{
    for (size_t i = 0; i < en->asked_max; i++)
        if (en->asked[i].r.head.id == id) return &en->asked[i];
    return NULL;
}

static bool take_submit(engine *en, view message, err *e)
{
    struct hearth_head head;
    err why = { 0 };
    if (message.len_bytes < sizeof head) return fail(e, ERR_TRUNCATED, 0, "request: %zu bytes", message.len_bytes);
    memcpy(&head, message.ptr, sizeof head);
    if (head.id == 0 || asked_find(en, head.id) != NULL)
        return fail(e, ERR_VALUE, 0, "request: id %llu is 0 or in use", (unsigned long long)head.id);
    struct asked *q = asked_find(en, 0);
    if (q == NULL) {
        err_set(&why, ERR_LIMIT, ERR_NO_OFFSET, "queue: %zu requests wait or run already", en->asked_max);
        emit_error(en, head.id, &why);
        return true;
    }
    q->next_choice = 0;
    q->ended = 0;
    if (!request_read(en, message, q, &why, e)) return false;
    if (why.code != ERR_NONE) {
        q->r.head.id = 0;
        emit_error(en, head.id, &why);
        return true;
    }
    q->order = ++en->arrivals;
    return true;
}

/* Running choices end as they are; those that wait end before they begin. */
static void cancel(engine *en, uint64_t id, uint32_t choice)
{
    struct asked *q = asked_find(en, id);
    if (q == NULL) return;
    uint32_t n = q->r.n;
    for (size_t i = en->running; i-- > 0;) {
        struct sequence *s = en->order[i];
        if (s->of == q && (choice == HEARTH_ALL_CHOICES || s->choice == choice))
            sequence_finish(en, s, HEARTH_CANCELLED);
    }
    for (uint32_t c = 0; c < n && q->r.head.id == id; c++)
        if (c >= q->next_choice && !(q->ended >> c & 1) && (choice == HEARTH_ALL_CHOICES || choice == c))
            emit_finished(en, q, c, HEARTH_CANCELLED, 0, 0);
}

static void forget(engine *en, uint64_t tenant)
{
    keep_forget(en, tenant);
    for (size_t i = 0; i < en->set.sequences; i++)
        if (en->sequences[i].of == NULL && en->sequences[i].tenant == tenant) sequence_let_go(&en->sequences[i]);
}

bool engine_take(engine *en, uint32_t kind, view message, err *e)
{
    struct hearth_head head;
    if (kind == HEARTH_SUBMIT) return take_submit(en, message, e);
    if (kind == HEARTH_MASK_LOAD && message.len_bytes >= sizeof(struct hearth_mask)) {
        return masks_load(en, message, e);
    }
    if (kind >= HEARTH_KV_SAVE && kind <= HEARTH_KV_CLOSE) return keep_take(en, kind, message, e);
    if (message.len_bytes != sizeof head)
        return fail(e, ERR_VALUE, 0, "message %u: %zu bytes, expected %zu", kind, message.len_bytes, sizeof head);
    memcpy(&head, message.ptr, sizeof head);
    if (kind == HEARTH_CANCEL) cancel(en, head.id, head.choice);
    else if (kind == HEARTH_FORGET) forget(en, head.id);
    else if (kind == HEARTH_MASK_DROP) masks_drop(en, head.id);
    else return fail(e, ERR_VALUE, 0, "message: kind %u is not known", kind);
    return true;
}

/* ---- one step ---- */

struct building {
    size_t tokens, rows, spare; /* exact blocks that stretches of this step may still take: log tiers */
};

/* Which rows of a stretch of tokens are wanted: the last one's where it is the prompt's last; of an embedding what its
 * pooling asks for. */
static bool wants_row(const struct sequence *s, size_t pos)
{
    uint32_t want = s->of->r.want;
    if (want == HEARTH_EMBED_MEAN) return true;
    return want == HEARTH_EMBED_FIRST ? pos == 0 : pos + 1 == s->count;
}

static void add_tokens(engine *en, struct sequence *s, size_t count, struct building *b)
{
    err none = { 0 };
    size_t first = s->kv.len_tok, spare = kv_step_spare(&s->kv, count);
    if (spare > b->spare) return; /* its turn comes with the next step: this one leaves some other sequence done */
    b->spare -= spare;
    bool room = kv_seq_reserve(&s->kv, first + count, &none);
    assert(room); /* it was reserved when the sequence started */
    s->row = b->rows;
    for (size_t i = 0; i < count; i++) {
        bool wanted = wants_row(s, first + i);
        en->step_of[b->tokens] = s;
        en->step[b->tokens++] = (struct step_token){ &s->kv, s->tokens[first + i], wanted };
        b->rows += wanted;
    }
}

/* Draws first: their sequences have one token to compute. Then prompts, oldest first, with what is left. */
static void build(engine *en, struct building *b)
{
    for (size_t i = 0; i < en->running; i++) {
        struct sequence *s = en->order[i];
        s->row = SIZE_MAX;
        if (s->count - s->kv.len_tok == 1 && b->tokens < en->set.chunk_tok) add_tokens(en, s, 1, b);
    }
    size_t room = en->set.chunk_tok;
    if (b->tokens > 0) room = min_size(room, b->tokens + SHARED_CHUNK_TOK);
    for (size_t i = 0; i < en->running && b->tokens < room; i++) {
        struct sequence *s = en->order[i];
        if (s->row != SIZE_MAX) continue;
        size_t count = min_size(s->count - s->kv.len_tok, room - b->tokens);
        if (s->of->r.want == HEARTH_EMBED_MEAN) count = min_size(count, en->logit_rows - b->rows);
        if (b->rows == en->logit_rows || count == 0) continue;
        add_tokens(en, s, count, b);
    }
}

/* The step of a sequence that can not be computed takes nobody with it: it ends, the others have not moved and are
 * computed again. An error of no one token is everybody's. */
static void step_failed(engine *en, size_t tokens, const err *why)
{
    size_t bad = graph_bad_token(en->graph);
    const struct asked *only = bad < tokens ? en->step_of[bad]->of : NULL;
    for (size_t i = en->running; i-- > 0;) {
        struct sequence *s = en->order[i];
        struct asked *q = s->of;
        if (only != NULL && q != only) continue;
        sequence_release(en, s);
        kv_seq_rewind(&s->kv, 0); /* what it computed is nothing to share */
        s->count = 0;
        if (q->r.head.id != 0) emit_error(en, q->r.head.id, why);
        q->r.head.id = 0;
    }
}

static void step_done(engine *en, const struct building *b)
{
    en->drawing_count = 0;
    for (size_t i = 0; i < b->tokens;) {
        struct sequence *s = en->step_of[i];
        size_t rows = 0;
        for (; i < b->tokens && en->step_of[i] == s; i++) rows += en->step[i].want_logits;
        if (s->of->r.want != HEARTH_GENERATE) embed_rows(en, s, rows);
        else if (rows > 0) en->drawing[en->drawing_count++] = s;
        else emit_progress(en, s);
    }
    draw_all(en);
}

bool engine_step(engine *en)
{
    while (sequence_admit(en)) {}
    for (size_t i = en->running; i-- > 0;) /* a prompt that fills the context leaves nothing to draw */
        if (en->order[i]->of->r.want == HEARTH_GENERATE && en->order[i]->count == en->set.ctx_tok &&
            en->order[i]->kv.len_tok < en->set.ctx_tok)
            sequence_finish(en, en->order[i], HEARTH_CONTEXT);
    if (en->running == 0) return false;
    struct building b = { .spare = en->pool.exact.free_count };
    err why = { 0 };
    build(en, &b);
    assert(b.tokens > 0);
    if (graph_step(en->graph, en->step, b.tokens, &why)) step_done(en, &b);
    else step_failed(en, b.tokens, &why);
    return true;
}
