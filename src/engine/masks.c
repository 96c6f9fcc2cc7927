/* Mask tables: kept by number, checked once when they come, walked by every sequence whose request names one. See
 * include/hearth.h (HEARTH_MASK_*) and grammar/. The engine compiles nothing and reads no schema; of the vocabulary it
 * knows what each token's bytes are, and only where room for tables was planned.
 *
 *   room   | table | table | free ...      tables lie one behind the other, in the order in which they came; one that
 *                                          went leaves a gap that the next one that fits takes */
#include "engine/engine_part.h"

#include "base/checked.h"

#include <assert.h>

enum { TABLE_ALIGN = 64 };

struct mask_table {
    uint64_t id, tenant; /* id 0: free */
    bool dropped;        /* goes with the last request that uses it */
    size_t offset, bytes;
    grammar g;
};

struct masks {
    grammar_vocab *vocab;
    grammar_walker **walkers;  /* one a thread */
    uint64_t **words;          /* one a thread: the mask of the draw that runs there */
    struct mask_table *tables; /* HEARTH_MASKS_MAX */
    uint8_t *room;
    size_t room_bytes;
};

size_t masks_bytes(const model *m, size_t threads, const struct hearth_settings *set)
{
    if (set->mask_bytes == 0 || m->tokenizer == NULL) return 0;
    size_t rows = m->hyper.vocab, words = ceil_div(rows, 64) * sizeof(uint64_t);
    size_t vocab = grammar_vocab_bytes(m->tokenizer, rows);
    return vocab + threads * (grammar_walker_bytes_for(rows) + words + 256) +
           set->sequences * (sizeof(grammar_state) + 64) + HEARTH_MASKS_MAX * sizeof(struct mask_table) +
           (size_t)set->mask_bytes + sizeof(struct masks) + 4096;
}

bool masks_new(engine *en, arena *a, err *e)
{
    en->masks = NULL;
    if (en->set.mask_bytes == 0 || en->m->tokenizer == NULL) return true;
    size_t rows = en->m->hyper.vocab, threads = team_threads(en->team);
    struct masks *k = ARENA_ARRAY(a, struct masks, 1, "masks", e);
    if (k == NULL || !grammar_vocab_new(&k->vocab, en->m->tokenizer, rows, a, e)) return false;
    k->walkers = ARENA_ARRAY(a, grammar_walker *, threads, "masks", e);
    k->words = ARENA_ARRAY(a, uint64_t *, threads, "masks", e);
    k->tables = ARENA_ARRAY(a, struct mask_table, HEARTH_MASKS_MAX, "masks", e);
    k->room_bytes = (size_t)en->set.mask_bytes;
    k->room = arena_take(a, k->room_bytes, 1, TABLE_ALIGN, "mask tables", e);
    if (k->walkers == NULL || k->words == NULL || k->tables == NULL || k->room == NULL) return false;
    for (size_t i = 0; i < threads; i++)
        if (!grammar_walker_new(&k->walkers[i], k->vocab, a, e) ||
            (k->words[i] = ARENA_ARRAY(a, uint64_t, grammar_vocab_mask_words(k->vocab), "masks", e)) == NULL)
            return false;
    for (size_t i = 0; i < en->set.sequences; i++)
        if ((en->sequences[i].form = ARENA_ARRAY(a, grammar_state, 1, "masks", e)) == NULL) return false;
    en->masks = k;
    return true;
}

/* ---- tables ---- */

static struct mask_table *table_find(const engine *en, uint64_t id)
{
    for (size_t i = 0; en->masks != NULL && id != 0 && i < HEARTH_MASKS_MAX; i++)
        if (en->masks->tables[i].id == id) return &en->masks->tables[i];
    return NULL;
}

bool masks_has(const engine *en, uint64_t id, uint64_t tenant)
{
    const struct mask_table *t = table_find(en, id);
    return t != NULL && !t->dropped && t->tenant == tenant;
}

static void drop_unused(engine *en)
{
    for (size_t i = 0; i < HEARTH_MASKS_MAX; i++) {
        struct mask_table *t = &en->masks->tables[i];
        bool used = !t->dropped;
        for (size_t j = 0; j < en->asked_max && !used; j++)
            used = en->asked[j].r.head.id != 0 && en->asked[j].r.mask == t->id;
        if (!used) t->id = 0;
    }
}

/* The first gap that holds so many bytes; SIZE_MAX where none does. */
static size_t find_gap(const struct masks *k, size_t bytes)
{
    for (size_t at = 0; bytes <= k->room_bytes && at <= k->room_bytes - bytes;) {
        size_t next = at;
        for (size_t i = 0; i < HEARTH_MASKS_MAX && next == at; i++) {
            const struct mask_table *t = &k->tables[i];
            if (t->id != 0 && t->offset < at + bytes && at < t->offset + t->bytes)
                next = round_up(t->offset + t->bytes, TABLE_ALIGN);
        }
        if (next == at) return at;
        at = next;
    }
    return SIZE_MAX;
}

/* What a walker remembers belongs to a place in the room, which now holds another table. */
static void forget_all(engine *en)
{
    for (size_t i = 0; i < team_threads(en->team); i++) grammar_walker_forget(en->masks->walkers[i]);
}

static bool load(engine *en, const struct hearth_mask *m, view bytes, err *why)
{
    struct masks *k = en->masks;
    if (k == NULL)
        return fail(why, ERR_UNSUPPORTED, ERR_NO_OFFSET,
                    "mask: no room for tables was planned, or there is no vocabulary");
    if (m->head.id == 0 || table_find(en, m->head.id) != NULL)
        return fail(why, ERR_VALUE, ERR_NO_OFFSET, "mask: number %llu is 0 or in use", (unsigned long long)m->head.id);
    if (bytes.len_bytes > HEARTH_MASK_BYTES_MAX)
        return fail(why, ERR_LIMIT, ERR_NO_OFFSET, "mask: %zu bytes, allowed 0..%d", bytes.len_bytes,
                    HEARTH_MASK_BYTES_MAX);
    drop_unused(en);
    struct mask_table *t = NULL;
    for (size_t i = 0; i < HEARTH_MASKS_MAX && t == NULL; i++)
        if (k->tables[i].id == 0) t = &k->tables[i];
    size_t at = find_gap(k, bytes.len_bytes);
    if (t == NULL || at == SIZE_MAX)
        return fail(why, ERR_LIMIT, ERR_NO_OFFSET, "mask: the room for tables (%zu bytes, %d of them) is full",
                    k->room_bytes, HEARTH_MASKS_MAX);
    memcpy(k->room + at, bytes.ptr, bytes.len_bytes);
    forget_all(en);
    *t = (struct mask_table){ .id = m->head.id, .tenant = m->tenant, .offset = at, .bytes = bytes.len_bytes };
    if (grammar_check((view){ k->room + at, bytes.len_bytes }, &t->g, why)) return true;
    t->id = 0;
    return false;
}

bool masks_load(engine *en, view message, err *e)
{
    struct hearth_mask m;
    err why = { 0 };
    memcpy(&m, message.ptr, sizeof m);
    view bytes = view_after(message, sizeof m);
    if (bytes.len_bytes != m.bytes)
        return fail(e, ERR_VALUE, 0, "mask: says %llu bytes, has %zu", (unsigned long long)m.bytes, bytes.len_bytes);
    if (load(en, &m, bytes, &why))
        en->emit(en->arg, HEARTH_MASK_READY, (view){ (const uint8_t *)&m.head, sizeof m.head });
    else emit_error(en, m.head.id, &why);
    return true;
}

void masks_drop(engine *en, uint64_t id)
{
    struct mask_table *t = table_find(en, id);
    if (t == NULL) return;
    t->dropped = true;
    drop_unused(en);
}

/* ---- sequences ---- */

/* Tokens that may still be made. */
static uint32_t left_tok(const engine *en, const struct sequence *s)
{
    size_t made = s->count - s->begin, left = en->set.ctx_tok - s->count;
    if (s->of->r.max_tok > 0) left = min_size(left, s->of->r.max_tok - made);
    return (uint32_t)min_size(left, UINT32_MAX - 1);
}

bool masks_start(engine *en, struct sequence *s, err *why)
{
    const struct mask_table *t = table_find(en, s->of->r.mask);
    size_t count = s->count;
    s->masked = t != NULL;
    if (t == NULL) return true;
    grammar_walker *w = en->masks->walkers[0];
    int32_t before = s->begin > 0 ? s->tokens[s->begin - 1] : -1;
    bool control = before >= 0 && (size_t)before < tokenizer_count(en->m->tokenizer) &&
                   tokenizer_kind(en->m->tokenizer, before) == TOKEN_CONTROL;
    grammar_start(w, &t->g, control && tokenizer_facts(en->m->tokenizer)->model != TOKENIZER_BPE, s->form);
    for (s->count = s->begin; s->count < count; s->count++) /* an answer that is carried on */
        if (!grammar_accept(w, &t->g, s->form, s->tokens[s->count], left_tok(en, s))) {
            size_t at = s->count - s->begin;
            s->count = count;
            return fail(why, ERR_VALUE, ERR_NO_OFFSET, "mask: token %zu of the answer so far is not allowed", at);
        }
    uint32_t least = grammar_least(w, &t->g, s->form), left = left_tok(en, s);
    if (least <= left) return true;
    return fail(why, ERR_LIMIT, ERR_NO_OFFSET, "mask: the shortest answer needs %u tokens, %u are left (-n, --ctx)",
                least, left);
}

const uint64_t *masks_fill(const engine *en, struct sequence *s, size_t thread)
{
    if (!s->masked) return NULL;
    const struct mask_table *t = table_find(en, s->of->r.mask);
    assert(t != NULL); /* a table stays as long as a request names it */
    uint64_t *words = en->masks->words[thread];
    s->stuck = grammar_mask(en->masks->walkers[thread], &t->g, s->form, left_tok(en, s), words) == 0;
    return words;
}

bool masks_accept(engine *en, struct sequence *s)
{
    const struct mask_table *t = table_find(en, s->of->r.mask);
    if (!s->masked) return false;
    bool taken = grammar_accept(en->masks->walkers[0], &t->g, s->form, s->drawn, left_tok(en, s));
    assert(taken); /* the draw had nothing else to choose from */
    return s->form->ended || grammar_only_end(en->masks->walkers[0], &t->g, s->form);
}
