/* One conversation: see session.h.
 *
 *   tokens   | prompt . . . . . . . . | answer . . . |          count
 *   cache    | computed . . . . . . . . . . . . | .             seq.len_tok <= count
 *   text     | given out | held: may become a stop text, or half a character |
 *
 * A token that was drawn is computed when the next one is asked for, so an answer that ends computes nothing in vain
 * and the last token of a prompt is always computed last: its row of logits is the next draw's. */
#include "engine/session.h"

#include "base/checked.h"
#include "base/limits.h"
#include "engine/held.h"

#include <assert.h>
#include <stdlib.h>

enum { CTX_DEFAULT_TOK = 8192, CHUNK_DEFAULT_TOK = 512 };

struct session {
    const model *m;
    struct session_settings set;
    arena arena;
    kv_pool pool;
    kv_seq seq;
    kv_seq mark;     /* log tiers: the end of the last prompt, where the cache can go back to */
    graph *graph;
    sampler *sampler;
    int32_t *tokens; /* set.ctx_tok */
    size_t count;
    bool logits_ready; /* the graph's row 0 belongs to the last token */
    struct step_token *step;
    struct prompt_stats stats;

    size_t answer_begin; /* index of the answer's first token */
    decoder decoder;
    struct held held;
    enum finish finish;
};

const char *finish_name(enum finish f)
{
    static const char *const names[] = { [FINISH_NONE] = "none",     [FINISH_END] = "stop",
                                         [FINISH_STOP] = "stop",     [FINISH_LENGTH] = "length",
                                         [FINISH_CONTEXT] = "context", [FINISH_CANCELLED] = "cancelled" };
    return names[f];
}

/* ---- planning ---- */

/* What a setting of 0 stands for. */
static struct session_settings settings_fill(const model *m, const struct session_settings *given)
{
    struct session_settings set = *given;
    if (set.ctx_tok == 0) set.ctx_tok = min_size(m->hyper.ctx_train_tok, CTX_DEFAULT_TOK);
    if (set.chunk_tok == 0) set.chunk_tok = CHUNK_DEFAULT_TOK;
    return set;
}

static struct graph_settings graph_settings_of(const struct session_settings *set)
{
    return (struct graph_settings){ .chunk_tok = min_size(set->chunk_tok, set->ctx_tok),
                                    .logit_rows = 1,
                                    .ctx_tok = set->ctx_tok,
                                    .activations_f32 = set->activations_f32 };
}

static struct kv_shape shape_of(const model *m, const struct session_settings *set)
{
    return (struct kv_shape){ .type = set->kv, .layers = m->hyper.layers, .kv_heads = m->hyper.kv_heads,
                              .key_dim = m->hyper.key_dim, .value_dim = cached_value_dim(&m->hyper, set->kv),
                              .sequences = 2, .step_tok = min_size(set->chunk_tok, set->ctx_tok) };
}

static bool stops_copy(session *s, err *e)
{
    if (s->set.stop_count > STOPS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "stop texts: %zu, allowed 0..%d", s->set.stop_count, STOPS_MAX);
    view *copies = ARENA_ARRAY(&s->arena, view, s->set.stop_count, "stop texts", e);
    if (copies == NULL) return false;
    for (size_t i = 0; i < s->set.stop_count; i++) {
        size_t len = s->set.stops[i].len_bytes;
        if (len < 1 || len > STOP_BYTES_MAX)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "stop text %zu: %zu bytes, allowed 1..%d", i + 1, len,
                        STOP_BYTES_MAX);
        if (!arena_copy(&s->arena, s->set.stops[i], &copies[i], "stop text", e)) return false;
    }
    s->set.stops = s->held.stops = copies;
    s->held.stop_count = s->set.stop_count;
    return true;
}

static bool session_plan(session *s, const struct kernels *k, team *t, err *e)
{
    const struct session_settings *set = &s->set;
    struct graph_settings graph_set = graph_settings_of(set);
    struct kv_shape shape = shape_of(s->m, set);
    s->held.room = held_room(set->stops, set->stop_count, TOKEN_BYTES_MAX);
    /* Addresses, not memory: tables of the context, the sampler's arrays over the vocabulary, stop texts. */
    size_t arena_bytes = ((size_t)1 << 20) + set->ctx_tok * 64 + s->m->hyper.vocab * 64 + s->held.room +
                         set->sample.bias_count * sizeof(struct logit_bias) + STOPS_MAX * (STOP_BYTES_MAX + 64);
    return kv_shape_check(&shape, s->m->hyper.latent.kv_rank > 0, e) && arena_new(&s->arena, arena_bytes, e) &&
           stops_copy(s, e) &&
           kv_pool_new(&s->pool, &shape, ceil_div(set->ctx_tok, PAGE_TOK), &s->arena, e) &&
           kv_seq_new(&s->seq, &s->pool, set->ctx_tok, &s->arena, e) &&
           kv_seq_new(&s->mark, &s->pool, set->ctx_tok, &s->arena, e) &&
           sampler_new(&s->sampler, &set->sample, s->m->hyper.vocab, &s->arena, e) &&
           (s->tokens = ARENA_ARRAY(&s->arena, int32_t, set->ctx_tok, "tokens", e)) != NULL &&
           (s->step = ARENA_ARRAY(&s->arena, struct step_token, graph_set.chunk_tok, "step", e)) != NULL &&
           (s->held.text = ARENA_ARRAY(&s->arena, uint8_t, s->held.room, "text", e)) != NULL &&
           graph_new(&s->graph, s->m, k, t, &graph_set, e);
}

bool session_plan_bytes(const model *m, const struct session_settings *given, size_t threads, size_t *out, err *e)
{
    struct session_settings set = settings_fill(m, given);
    if (set.ctx_tok < 1 || set.ctx_tok > CTX_TOK_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "--ctx: %zu positions, allowed 1..%d", set.ctx_tok, CTX_TOK_MAX);
    struct graph_settings graph_set = graph_settings_of(&set);
    struct kv_shape shape = shape_of(m, &set);
    size_t cache_bytes, sum;
    if (!kv_shape_check(&shape, m->hyper.latent.kv_rank > 0, e)) return false;
    if (!kv_pool_bytes(&shape, ceil_div(set.ctx_tok, PAGE_TOK), &cache_bytes) ||
        !add_size(cache_bytes, graph_scratch_bytes(m, &graph_set, threads), &sum) ||
        !add_size(sum, m->hyper.vocab * 24 + set.ctx_tok * (16 + m->hyper.rope.dims * sizeof(float)), out))
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "plan: a context of %zu needs more bytes than there are addresses",
                    set.ctx_tok);
    return true;
}

bool session_new(session **out, const model *m, const struct kernels *k, team *t, const struct session_settings *given,
                 err *e)
{
    *out = NULL;
    if (m->tokenizer == NULL)
        return fail(e, ERR_MISSING, ERR_NO_OFFSET, "vocabulary: the file has none, so it can not make text");
    session *s = calloc(1, sizeof *s);
    if (s == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "session: no memory");
    s->m = m;
    s->set = settings_fill(m, given);
    if (s->set.ctx_tok < 1 || s->set.ctx_tok > CTX_TOK_MAX) {
        err_set(e, ERR_LIMIT, ERR_NO_OFFSET, "--ctx: %zu positions, allowed 1..%d", s->set.ctx_tok, CTX_TOK_MAX);
    } else if (session_plan(s, k, t, e)) {
        *out = s;
        return true;
    }
    session_free(s);
    return false;
}

void session_free(session *s)
{
    if (s == NULL) return;
    graph_free(s->graph);
    kv_pool_free(&s->pool);
    arena_free(&s->arena);
    free(s);
}

/* ---- computing ---- */

/* Computes the tokens that are not in the cache, a chunk at a time; the last one's logits are then ready. */
static bool compute(session *s, session_tick *tick, void *arg, err *e)
{
    size_t first = s->seq.len_tok, chunk = min_size(s->set.chunk_tok, s->set.ctx_tok);
    while (s->seq.len_tok < s->count) {
        size_t at = s->seq.len_tok, step = min_size(chunk, s->count - at);
        if (tick != NULL && !tick(arg, at - first, s->count - first))
            return fail(e, ERR_CANCELLED, ERR_NO_OFFSET, "cancelled after %zu of %zu tokens", at, s->count);
        if (!kv_seq_reserve(&s->seq, at + step, e)) return false;
        for (size_t i = 0; i < step; i++)
            s->step[i] = (struct step_token){ &s->seq, s->tokens[at + i], at + i + 1 == s->count };
        s->logits_ready = false;
        if (!graph_step(s->graph, s->step, step, e)) return false;
        assert(s->seq.len_tok == at + step);
    }
    s->logits_ready = true;
    return true;
}

static bool ids_check(const session *s, const int32_t *ids, size_t count, err *e)
{
    if (count < 1) return fail(e, ERR_VALUE, ERR_NO_OFFSET, "prompt: no tokens, at least 1 is needed");
    if (count > s->set.ctx_tok)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "prompt: %zu tokens, the context holds %zu (--ctx)", count,
                    s->set.ctx_tok);
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= s->m->hyper.vocab)
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "prompt: token %zu is %d, allowed 0..%zu", i, ids[i],
                        s->m->hyper.vocab - 1);
    return true;
}

/* Goes back to the first `common` tokens, or to as many as the cache allows: a log tier may have to begin again from
 * the end of the last prompt. */
static size_t go_back(session *s, size_t common)
{
    size_t kept = kv_seq_rewind(&s->seq, common);
    err ignored = { 0 };
    if (s->mark.len_tok > common) kv_seq_rewind(&s->mark, 0); /* of another text */
    if (s->mark.len_tok > kept) {
        kv_seq_rewind(&s->seq, 0);
        kept = kv_seq_copy(&s->seq, &s->mark, s->mark.len_tok, &ignored) ? s->mark.len_tok : 0;
    }
    return kept;
}

static void keep_mark(session *s)
{
    err ignored = { 0 };
    kv_seq_rewind(&s->mark, 0);
    if (kv_is_log(s->set.kv))
        kv_seq_copy(&s->mark, &s->seq, s->seq.len_tok, &ignored); /* none is no loss but of time */
}

bool session_prompt(session *s, const int32_t *ids, size_t count, session_tick *tick, void *arg, err *e)
{
    if (!ids_check(s, ids, count, e)) return false;
    size_t common = 0, most = min_size(count, s->seq.len_tok);
    while (common < most && ids[common] == s->tokens[common]) common++;
    /* The last token is computed in any case where its logits are not at hand: the next draw needs them. */
    bool same = common == count && s->seq.len_tok == count && s->logits_ready;
    if (common == count && !same) common--;
    if (!same) common = go_back(s, common);
    memmove(s->tokens + common, ids + common, (count - common) * sizeof *ids);
    s->count = count;
    session_begin_answer(s);
    bool good = same || compute(s, tick, arg, e);
    if (good && !same) keep_mark(s);
    s->stats = (struct prompt_stats){ .cached_tok = common, .computed_tok = s->seq.len_tok - common };
    return good;
}

struct prompt_stats session_prompt_stats(const session *s)
{
    return s->stats;
}

/* ---- text ---- */

/* Rows of a padded vocabulary have no token: they read as nothing. */
static bool add_token_text(session *s, int32_t token, err *e)
{
    size_t len = 0;
    assert(s->held.room - s->held.len >= TOKEN_BYTES_MAX); /* what is held is shorter than the longest stop text */
    if ((size_t)token < tokenizer_count(s->m->tokenizer) &&
        !decoder_next(&s->decoder, s->m->tokenizer, token, false, s->held.text + s->held.len, &len, e))
        return false;
    s->held.len += len;
    return true;
}

/* Decides what goes out now, and whether a stop text ends the answer. */
static view give_text(session *s, bool border)
{
    size_t stop;
    view out = held_give(&s->held, s->finish != FINISH_NONE || border, &stop);
    if (stop != SIZE_MAX) s->finish = FINISH_STOP;
    return out;
}

static bool is_control(const session *s, int32_t token)
{
    return token >= 0 && (size_t)token < tokenizer_count(s->m->tokenizer) &&
           tokenizer_kind(s->m->tokenizer, token) == TOKEN_CONTROL;
}

/* ---- answers ---- */

void session_clear(session *s)
{
    kv_seq_rewind(&s->seq, 0);
    kv_seq_rewind(&s->mark, 0);
    s->count = 0;
    s->logits_ready = false;
    session_begin_answer(s);
}

void session_seed(session *s, uint64_t seed)
{
    sampler_seed(s->sampler, seed);
}

void session_begin_answer(session *s)
{
    s->answer_begin = s->count;
    s->held.len = s->held.given = 0;
    s->finish = FINISH_NONE;
    /* An answer that carries on a text keeps its first blank; one behind a control token begins a text. */
    int32_t last = s->count > 0 ? s->tokens[s->count - 1] : -1;
    s->decoder = (decoder){ .inside = last >= 0 && !is_control(s, last) };
}

bool session_next(session *s, size_t max_tok, view *text, int32_t *token, float *logprob, enum finish *finish, err *e)
{
    held_drop(&s->held);
    *text = (view){ s->held.text, 0 };
    *token = -1;
    *finish = s->finish;
    if (s->finish != FINISH_NONE) return fail(e, ERR_STATE, ERR_NO_OFFSET, "answer: it has ended already");
    if (s->count == 0) return fail(e, ERR_STATE, ERR_NO_OFFSET, "answer: there is no prompt yet");
    if (s->count == s->set.ctx_tok) {
        *finish = s->finish = FINISH_CONTEXT;
        *text = give_text(s, true);
        return true;
    }
    if (!s->logits_ready && !compute(s, NULL, NULL, e)) return false;
    *token = sampler_draw(s->sampler, graph_logits(s->graph, 0), s->tokens, s->count, s->count, logprob);
    s->tokens[s->count++] = *token;
    s->logits_ready = false;
    if (model_ends(s->m, *token)) {
        s->finish = FINISH_END;
    } else {
        if (!add_token_text(s, *token, e)) return false;
        if (max_tok > 0 && s->count - s->answer_begin >= max_tok) s->finish = FINISH_LENGTH;
        else if (s->count == s->set.ctx_tok) s->finish = FINISH_CONTEXT;
    }
    *text = give_text(s, is_control(s, *token));
    *finish = s->finish;
    return true;
}

view session_cancel(session *s)
{
    held_drop(&s->held);
    if (s->finish == FINISH_NONE) s->finish = FINISH_CANCELLED;
    return give_text(s, true);
}

const int32_t *session_tokens(const session *s, size_t *count)
{
    *count = s->count;
    return s->tokens;
}

kv_seq *session_cache(session *s)
{
    return &s->seq;
}

bool session_restored(session *s, const int32_t *ids, size_t count, err *e)
{
    if (!ids_check(s, ids, count, e)) return false;
    if (count < s->seq.len_tok)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "saved session: %zu tokens for %zu positions", count, s->seq.len_tok);
    memcpy(s->tokens, ids, count * sizeof *ids);
    s->count = count;
    s->logits_ready = false;
    session_begin_answer(s);
    keep_mark(s);
    return true;
}

const graph *session_graph(const session *s)
{
    return s->graph;
}

size_t session_ctx_tok(const session *s)
{
    return s->set.ctx_tok;
}
