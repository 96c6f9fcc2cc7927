/* Who gets which sequence and which pages. A choice of an earlier request is always admitted before one of a later, and
 * only when the pages its longest end can need are free or held by idle sequences; so a running one never waits for
 * pages, and what is admitted when depends on the order of requests and ends alone.
 *
 * What an idle sequence computed is taken over by a request that begins with most of it, copied by one that begins with
 * less, and let go, oldest first, where its pages are needed. Only requests of the same tenant see it. */
#include "engine/engine_part.h"

#include "base/checked.h"

enum { COPY_LEAST_TOK = 16 }; /* a shorter common begin is computed again: copying takes whole pages */

/* ---- choosing ---- */

/* The waiting request that came first; NULL where none waits. */
static struct asked *first_waiting(const engine *en)
{
    struct asked *first = NULL;
    for (size_t i = 0; i < en->asked_max; i++) {
        struct asked *q = &en->asked[i];
        if (q->r.head.id != 0 && q->next_choice < q->r.n && (first == NULL || q->order < first->order)) first = q;
    }
    return first;
}

/* How many tokens both begin with. The last one of a prompt is always computed, as its row of logits is the first
 * draw's: it does not count. */
static size_t alike_tok(const struct sequence *s, const struct asked *q)
{
    if (s->tenant != q->r.tenant || q->r.want != HEARTH_GENERATE) return 0;
    size_t n = 0, most = min_size(s->kv.len_tok, (size_t)q->r.prompt_tok - 1);
    while (n < most && s->tokens[n] == q->ids[n]) n++;
    return n;
}

/* How many tokens of the request the sequence has computed already. */
static size_t common_tok(const struct sequence *s, const struct asked *q)
{
    size_t n = alike_tok(s, q);
    return n > 0 ? kv_seq_kept(&s->kv, n) : 0;
}

/* The sequence, idle or running, that has most of it; NULL where none has enough. */
static struct sequence *best_source(const engine *en, const struct asked *q, size_t *common)
{
    struct sequence *best = NULL;
    *common = 0;
    for (size_t i = 0; i < en->set.sequences; i++) {
        size_t n = common_tok(&en->sequences[i], q);
        if (n <= *common) continue;
        *common = n;
        best = &en->sequences[i];
    }
    return best;
}

/* Tells where the prompt leaves the kept sequence it is most alike with, if that loses a page of both or more. One that
 * carries on what is kept, and one that begins otherwise from its first token on, lose nothing. */
static void tell_differs(engine *en, const struct asked *q)
{
    const struct sequence *kept = NULL;
    size_t alike = 0;
    for (size_t i = 0; i < en->set.sequences; i++) {
        size_t n = alike_tok(&en->sequences[i], q);
        if (n <= alike) continue;
        alike = n;
        kept = &en->sequences[i];
    }
    if (kept == NULL || min_size(kept->kv.len_tok, q->r.prompt_tok) - alike < PAGE_TOK) return;
    emit_differs(en, q, q->next_choice, kept, alike);
}

/* The idle sequence that nobody used for longest, an empty one before all; NULL where all run. `but` is spared. */
static struct sequence *oldest_idle(const engine *en, const struct sequence *but, bool with_pages)
{
    struct sequence *oldest = NULL;
    for (size_t i = 0; i < en->set.sequences; i++) {
        struct sequence *s = &en->sequences[i];
        if (!sequence_idle(s) || s == but || (with_pages && s->kv.block_count == 0)) continue;
        if (oldest == NULL || s->used < oldest->used) oldest = s;
    }
    return oldest;
}

struct sequence *sequence_oldest(const engine *en)
{
    return oldest_idle(en, NULL, false);
}

/* An idle sequence is worth taking over where the request carries on most of it; else it stays, and is copied from. */
static struct sequence *choose_place(const engine *en, struct sequence *source, size_t common)
{
    bool takes_over = source != NULL && sequence_idle(source) && common * 2 >= source->kv.len_tok;
    if (takes_over) return source;
    struct sequence *place = oldest_idle(en, source, false);
    return place != NULL ? place : oldest_idle(en, NULL, false);
}

/* ---- pages ---- */

void sequence_let_go(struct sequence *s)
{
    kv_seq_rewind(&s->kv, 0);
    s->count = 0;
    s->used = 0;
}

/* Blocks that are neither taken by nor promised to a running sequence, nor held by `place`. */
size_t sequence_free_blocks(const engine *en)
{
    size_t promised = 0;
    for (size_t i = 0; i < en->running; i++) {
        const struct sequence *s = en->order[i];
        promised += s->reserved - min_size(s->reserved, s->kv.block_count);
    }
    return en->pool.main.free_count - promised;
}

/* Lets idle sequences go until `want` blocks are free, the source last. */
void sequence_make_room(engine *en, size_t want, const struct sequence *place, struct sequence *source)
{
    while (sequence_free_blocks(en) < want) {
        struct sequence *s = oldest_idle(en, place, true);
        if (s == source && s != NULL) {
            struct sequence *other = NULL;
            for (size_t i = 0; i < en->set.sequences && other == NULL; i++)
                if (sequence_idle(&en->sequences[i]) && &en->sequences[i] != place && &en->sequences[i] != source &&
                    en->sequences[i].kv.block_count > 0)
                    other = &en->sequences[i];
            if (other != NULL) s = other;
        }
        if (s == NULL) return; /* cannot be: reserved blocks and idle ones are all there are */
        sequence_let_go(s);
    }
}

/* Positions the choice can reach. */
static size_t longest_tok(const engine *en, const struct asked *q)
{
    size_t prompt = q->r.prompt_tok - q->r.answer_tok, ctx = en->set.ctx_tok;
    if (q->r.want != HEARTH_GENERATE) return q->r.prompt_tok;
    return q->r.max_tok == 0 ? ctx : min_size(ctx, prompt + q->r.max_tok);
}

static void start(engine *en, struct sequence *s, struct asked *q, size_t common, size_t blocks)
{
    memcpy(s->tokens, q->ids, q->r.prompt_tok * sizeof *s->tokens);
    s->count = q->r.prompt_tok;
    s->of = q;
    s->choice = q->next_choice++;
    s->begin = q->r.prompt_tok - q->r.answer_tok;
    s->cached = min_size(common, s->begin);
    s->reserved = blocks;
    s->tenant = q->r.tenant;
    s->used = q->order;
    if (q->r.want != HEARTH_GENERATE) memset(s->sum, 0, en->m->hyper.width * sizeof *s->sum);
    en->reserved += blocks;
    en->order[en->running++] = s;
}

bool sequence_admit(engine *en)
{
    struct asked *q = first_waiting(en);
    size_t common = 0;
    if (q == NULL || en->running == en->set.sequences) return false;
    if (q->ended >> q->next_choice & 1) { /* cancelled while it waited */
        q->next_choice++;
        return true;
    }
    size_t blocks = kv_type_blocks(en->pool.shape.type, longest_tok(en, q));
    if (blocks > en->pool.main.count - en->reserved) return false;
    struct sequence *source = best_source(en, q, &common), *place = choose_place(en, source, common);
    if (place == NULL) return false; /* those that do not run are being saved or restored */
    if (q->next_choice == 0) tell_differs(en, q);
    if (place != source) sequence_let_go(place);
    else common = kv_seq_rewind(&place->kv, common);
    sequence_make_room(en, blocks - min_size(blocks, place->kv.block_count), place, source);
    if (place != source && (source == NULL || source->kv.len_tok < common || common < COPY_LEAST_TOK)) common = 0;
    if (place != source && common > 0) {
        err ignored = { 0 };
        if (!kv_seq_copy(&place->kv, &source->kv, common, &ignored)) common = 0; /* computed again */
    }
    start(en, place, q, common, blocks);
    err why = { 0 };
    if (!masks_start(en, place, &why)) {
        for (size_t i = en->running; i-- > 0;)
            if (en->order[i]->of == q) sequence_release(en, en->order[i]);
        emit_error(en, q->r.head.id, &why);
        q->r.head.id = 0;
    }
    return true;
}

void sequence_release(engine *en, struct sequence *s)
{
    size_t at = 0;
    while (en->order[at] != s) at++;
    memmove(en->order + at, en->order + at + 1, (en->running - at - 1) * sizeof(struct sequence *));
    en->running--;
    en->reserved -= s->reserved;
    s->count = min_size(s->count, s->kv.len_tok); /* what was drawn and not computed is nothing to take over */
    s->of = NULL;
}
