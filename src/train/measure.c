/* See measure.h. */
#include "train/measure.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/le.h"
#include "base/prng.h"
#include "kernels/math.h"
#include "train/ngram.h"
#include "train/tasks.h"

#include <stdio.h>

/* ---- texts ---- */

enum { HELD_OUT_BYTES_MAX = 1 << 28 };

static const double LN2 = 0.69314718055994531;

/* Windows of one text: window i begins at i * half; its first half was scored by the one before. */
struct windows {
    const int32_t *ids;
    size_t count, row, half;
};

/* Token t of window i is at ids[i * half + t]; what lies behind the text's end is padding without a loss. */
static void set_window(struct run *r, const struct windows *w, size_t window, size_t at)
{
    size_t from = window * w->half;
    for (size_t t = 0; t < w->row; t++) {
        size_t next = from + t + 1;
        bool scored = next < w->count && (window == 0 || t + 1 >= w->half);
        r->tok[at + t] = from + t < w->count ? w->ids[from + t] : 0;
        r->target[at + t] = scored && t + 1 < w->row ? w->ids[next] : -1;
        r->starts[at + t] = 0;
    }
}

static double text_nats(struct run *r, const int32_t *ids, size_t count)
{
    size_t rows = r->settings.micro_rows;
    struct windows w = { ids, count, r->settings.row_tok, r->settings.row_tok / 2 };
    size_t windows = count > w.half ? ceil_div(count - w.half, w.half) : 1;
    double nats = log_f64((double)r->settings.shape.vocab); /* the first token: as likely as any */
    for (size_t at = 0; at < windows; at += rows) {
        for (size_t i = 0; i < rows; i++) set_window(r, &w, at + i, i * w.row);
        struct batch b = { rows, w.row, r->tok, r->target, r->starts };
        nats += net_run(&r->trainer.net, &b, r->trainer.params, NULL, 0, 0).loss;
    }
    return nats;
}

static bool read_text(struct run *r, struct text_measure *m, struct ngram_text *ids, err *e)
{
    char path[PATH_BYTES];
    view text;
    if (!path_join(m->path, "", path, e) || !file_read(path, HELD_OUT_BYTES_MAX, &r->arena, &text, e)) return false;
    size_t max = tokenizer_ids_max(r->vocab.tokenizer, text.len_bytes);
    int32_t *room = ARENA_ARRAY(&r->arena, int32_t, max, "tokens", e);
    if (room == NULL ||
        !tokenizer_encode(r->vocab.tokenizer, text, false, room, max, &ids->count, &r->arena, e)) return false;
    ids->ids = room;
    m->bytes = text.len_bytes;
    m->tokens = ids->count;
    m->bits_per_byte = text_nats(r, room, ids->count) / LN2 / (double)text.len_bytes;
    return true;
}

bool measure_texts(struct run *r, struct text_measure *out, err *e)
{
    const struct settings *s = &r->settings;
    struct ngram_text *ids = ARENA_ARRAY(&r->arena, struct ngram_text, s->held_out_count, "held-out texts", e);
    if (ids == NULL) return false;
    for (size_t i = 0; i < s->held_out_count; i++) {
        out[i] = (struct text_measure){ .path = s->held_out[i] };
        if (!read_text(r, &out[i], &ids[i], e)) return false;
    }
    if (!ngram_measure(&r->shard, s->shape.vocab, ids, s->held_out_count, e)) return false;
    for (size_t i = 0; i < s->held_out_count; i++)
        out[i].ngram_bits_per_byte = ids[i].nats / LN2 / (double)out[i].bytes;
    return true;
}

/* ---- tasks ---- */

/* The question up to where the answer begins, then the answer, tokenized apart as they are when somebody asks. *count
 * is 0 where both do not fit a row: a toy's. */
static bool set_task(struct run *r, const struct task *t, size_t *count, size_t *answer_at, err *e)
{
    static const char turn[] = "<|im_start|>assistant\n";
    enum { TEXT_MAX = TASK_BYTES_MAX + 4096 };
    char text[TEXT_MAX];
    size_t len = task_render(t, text, sizeof text), split = 0, mark = r->arena.used_bytes, more;
    int32_t *ids = ARENA_ARRAY(&r->arena, int32_t, 2 * TEXT_MAX, "task", e);
    for (size_t i = 0; i + sizeof turn - 1 <= len; i++)
        if (memcmp(text + i, turn, sizeof turn - 1) == 0) split = i + sizeof turn - 1;
    view ask = { (uint8_t *)text, split }, answer = { (uint8_t *)text + split, len - split - 1 }; /* no last newline */
    bool good = ids != NULL &&
                tokenizer_encode(r->vocab.tokenizer, ask, true, ids, TEXT_MAX, answer_at, &r->arena, e) &&
                tokenizer_encode(r->vocab.tokenizer, answer, true, ids + *answer_at, TEXT_MAX, &more, &r->arena, e);
    *count = good && *answer_at + more <= r->settings.row_tok ? *answer_at + more : 0;
    if (*count > 0) memcpy(r->tok, ids, *count * sizeof *ids);
    arena_rewind(&r->arena, mark);
    for (size_t i = 0; i < *count; i++) {
        r->starts[i] = 0;
        r->target[i] = i + 1 >= *answer_at && i + 1 < *count ? r->tok[i + 1] : -1;
    }
    return good;
}

static bool ask(struct run *r, const struct task *t, struct task_measure *m, err *e)
{
    size_t count, answer_at, right = 0;
    if (!set_task(r, t, &count, &answer_at, e)) return false;
    if (count == 0) return true;
    struct batch b = { 1, count, r->tok, r->target, r->starts };
    (void)net_run(&r->trainer.net, &b, r->trainer.params, NULL, 0, 0);
    for (size_t i = answer_at - 1; i + 1 < count; i++) right += r->trainer.net.best[i] == r->target[i];
    m->asked++;
    m->tokens += count - answer_at;
    m->tokens_right += right;
    if (right == count - answer_at) {
        m->right++;
    } else if (m->miss_question[0] == 0) {
        snprintf(m->miss_question, sizeof m->miss_question, "%.95s", t->question);
        snprintf(m->miss_answer, sizeof m->miss_answer, "%.95s", t->answer);
    }
    return true;
}

bool measure_tasks(struct run *r, size_t each, struct task_measure *out, err *e)
{
    struct task *t = ARENA_ARRAY(&r->arena, struct task, 1, "task", e);
    if (t == NULL) return false;
    for (size_t kind = 0; kind < task_kinds(); kind++) {
        out[kind] = (struct task_measure){ .kind = task_kind_name(kind) };
        for (size_t i = 0; i < each; i++) {
            task_make(kind, r->settings.seed, i, true, t);
            if (!ask(r, t, &out[kind], e)) return false;
        }
    }
    return true;
}

/* ---- what it knows by heart ---- */

enum { PROMPT_TOK = 32, MADE_TOK = 64, KEY_TOK = 6, KEYS = 1 << 16 };

static int32_t shard_token(const struct shard *s, size_t at)
{
    return (int32_t)le_u32(s->tokens + 4 * at);
}

/* Greedy tokens behind r->tok[0..have). */
static void continue_row(struct run *r, size_t have, size_t count)
{
    for (size_t made = 0; made < count; made++, have++) {
        for (size_t t = 0; t < have; t++) {
            r->target[t] = t + 1 == have ? 0 : -1;
            r->starts[t] = 0;
        }
        struct batch b = { 1, have, r->tok, r->target, r->starts };
        (void)net_run(&r->trainer.net, &b, r->trainer.params, NULL, 0, 0);
        r->tok[have] = r->trainer.net.best[have - 1];
    }
}

/* Where every KEY_TOK made tokens stand, by their hash. */
struct places {
    int32_t *made;    /* all continuations, one after the other */
    size_t count, each;
    uint32_t *at;     /* [KEYS]: place + 1 of the last that hashed there; 0: none */
    uint32_t *before; /* [count]: the one before it with that hash */
};

static uint32_t key_of(uint64_t h)
{
    return (uint32_t)(h * 0x9e3779b97f4a7c15u >> 48) & (KEYS - 1);
}

static uint64_t key_add(uint64_t h, int32_t id)
{
    return h * 1000003 + (uint64_t)(uint32_t)id + 1;
}

static void index_places(struct places *p)
{
    for (size_t i = 0; i + KEY_TOK <= p->count; i++) {
        uint64_t h = 0;
        if (i % p->each + KEY_TOK > p->each) continue; /* never across two continuations */
        for (size_t k = 0; k < KEY_TOK; k++) h = key_add(h, p->made[i + k]);
        p->before[i] = p->at[key_of(h)];
        p->at[key_of(h)] = (uint32_t)i + 1;
    }
}

/* The longest run of the shard that is one of the made tokens, too; *where: its place among them. */
static size_t longest_run(const struct places *p, const struct shard *s, size_t *where)
{
    size_t best = 0;
    for (size_t i = 0; i + KEY_TOK <= s->token_count; i++) {
        uint64_t h = 0;
        for (size_t k = 0; k < KEY_TOK; k++) h = key_add(h, shard_token(s, i + k));
        for (uint32_t at = p->at[key_of(h)]; at != 0; at = p->before[at - 1]) {
            size_t from = at - 1, end = (from / p->each + 1) * p->each, n = 0;
            while (from + n < end && i + n < s->token_count && shard_token(s, i + n) == p->made[from + n]) n++;
            if (n > best) {
                best = n;
                *where = from;
            }
        }
    }
    return best;
}

static bool read_run(const struct run *r, const int32_t *ids, size_t count, char *room, size_t size, err *e)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t bytes[TOKEN_BYTES_MAX];
        size_t n;
        if (!tokenizer_piece(r->vocab.tokenizer, ids[i], true, bytes, &n, e)) return false;
        if (len + n + 1 > size) break;
        memcpy(room + len, bytes, n);
        len += n;
    }
    room[len] = 0;
    return true;
}

bool measure_overlap(struct run *r, size_t prompts, struct overlap_measure *out, err *e)
{
    struct places p = { .each = MADE_TOK };
    *out = (struct overlap_measure){ .prompt_tok = PROMPT_TOK, .made_tok = MADE_TOK };
    p.made = ARENA_ARRAY(&r->arena, int32_t, prompts * MADE_TOK, "continuations", e);
    p.at = ARENA_ARRAY(&r->arena, uint32_t, KEYS, "places", e);
    p.before = ARENA_ARRAY(&r->arena, uint32_t, prompts * MADE_TOK, "places", e);
    if (p.made == NULL || p.at == NULL || p.before == NULL) return false;
    if (r->settings.row_tok < PROMPT_TOK + MADE_TOK) return true; /* a toy's rows: nothing to measure */
    for (uint64_t draw = 0; out->prompts < prompts && draw < 100 * prompts; draw++) {
        const struct doc *d = &r->shard.docs[prng_u32(r->settings.seed, 0x68656172 /* "hear" */, draw) %
                                             r->shard.doc_count];
        if (d->count < PROMPT_TOK + MADE_TOK || d->source == r->settings.source_count) continue; /* no tasks */
        size_t same = 0;
        for (size_t i = 0; i < PROMPT_TOK; i++) r->tok[i] = shard_token(&r->shard, d->first + i);
        continue_row(r, PROMPT_TOK, MADE_TOK);
        while (same < MADE_TOK && r->tok[PROMPT_TOK + same] == shard_token(&r->shard, d->first + PROMPT_TOK + same))
            same++;
        memcpy(p.made + p.count, r->tok + PROMPT_TOK, MADE_TOK * sizeof *p.made);
        p.count += MADE_TOK;
        out->prompts++;
        out->same_sum += same;
        out->same_max = max_size(out->same_max, same);
    }
    size_t where = 0;
    index_places(&p);
    out->run_max = longest_run(&p, &r->shard, &where);
    return read_run(r, p.made + where, out->run_max, out->run_text, sizeof out->run_text, e);
}
