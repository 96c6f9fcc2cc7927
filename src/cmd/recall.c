/* Needles and pairs: see recall.h.
 *
 *   needle   [BOS] text text text KEY value text text ... KEY' value' ... text | KEY' value' KEY value ...
 *   pairs    [BOS] key value key value KEY value key value ... KEY' value' ... | KEY' value' KEY value ...
 *            '------------------------- what is read -------------------------' '------ questions ------'
 *
 * Ten pairs are planted at 5, 15, ... 95 % of what is read and asked for at the end, in another order: the model is
 * given the key, and every token of the value is looked up in what it predicts while the ones before it are given. A
 * value whose tokens all are the likeliest ones is found: the model would have written it. Keys and values are tokens
 * of the text drawn at random (base/prng.h; trial and length decide, so every tier reads the same), so that nothing
 * but the context can know them, whatever the language and the vocabulary. What a model can do at all shows in two
 * figures beside a tier's: the same with the f16 cache, and with f16 where nothing was planted.
 */
#include "cmd/recall.h"

#include "base/checked.h"
#include "base/limits.h"
#include "base/prng.h"
#include "cmd/rows.h"
#include "kernels/math.h"

#include <math.h>
#include <stdio.h>

enum {
    KEY_TOK = 4, VALUE_TOK = 4, PAIR_TOK = KEY_TOK + VALUE_TOK,
    ASKED = 10, QUESTIONS_TOK = ASKED * PAIR_TOK,
    LENGTH_LEAST_TOK = 256, /* so that planted pairs do not meet */
    LENGTHS_MAX = 16,
    ALPHABET_LEAST = 32,    /* different tokens: two keys of four are alike once in a million */
    DRAWS_MAX = 1000        /* tries to draw a key that is nobody else's */
};

static const struct option ROWS[] = {
    { "--needle", "LENGTHS", OPTION_TEXT, offsetof(struct recall_options, needle), 0, 0, NULL, NULL,
      "pairs hidden in the text: found again after 1024,8K" },
    { "--recall", "LENGTHS", OPTION_TEXT, offsetof(struct recall_options, pairs), 0, 0, NULL, NULL,
      "nothing but pairs: found again" },
    { "--trials", "N", OPTION_COUNT, offsetof(struct recall_options, trials), 1, 10000, NULL, "4", NULL },
};

struct option_group recall_group(struct recall_options *values)
{
    return (struct option_group){ ROWS, sizeof ROWS / sizeof *ROWS, values };
}

/* ---- what is read and asked ---- */

enum test { NEEDLE, PAIRS };

/* What the questions are put to. */
enum reader { TIER, EXACT, ABSENT, READERS };

struct sums {
    double nats, log_rank; /* of the values' tokens: log-probabilities, natural; logarithms of ranks from 1 */
    size_t tokens, found, asked;
};

struct recall {
    struct opened *o;
    struct rows tier, exact;  /* exact: only where the tier is another one */
    bool compares;
    const int32_t *text;      /* of the file */
    size_t text_tok;
    int32_t *alphabet;        /* its different tokens, in order */
    size_t alphabet_tok;
    int32_t *window;          /* length ids */
    size_t length;
    enum test test;
    uint64_t draws;           /* of the window that is made now */
    uint64_t stream;
    int32_t asked[ASKED][PAIR_TOK];
    size_t order[ASKED];      /* of the questions: which planted one */
    enum reader reader;
    bool whole[ASKED];        /* of the window that is scored: every token of the value was the likeliest */
    struct sums sums[READERS][ASKED];
};

static size_t draw(struct recall *x, size_t n)
{
    return (size_t)(prng_unit(1, x->stream, x->draws++) * (double)n);
}

static void draw_tokens(struct recall *x, int32_t *out, size_t count)
{
    for (size_t i = 0; i < count; i++) out[i] = x->alphabet[draw(x, x->alphabet_tok)];
}

/* A pair whose key is none of the first `count` that are asked for. */
static void draw_pair(struct recall *x, int32_t *out, size_t count)
{
    for (size_t try = 0; try < DRAWS_MAX; try++) {
        bool other = true;
        draw_tokens(x, out, PAIR_TOK);
        for (size_t i = 0; i < count && other; i++) other = memcmp(out, x->asked[i], KEY_TOK * sizeof *out) != 0;
        if (other) return;
    }
}

/* The window of a trial. A window without planted pairs has the same questions. */
static void make_window(struct recall *x, size_t trial, bool planted)
{
    const struct tokenizer_facts *facts = tokenizer_facts(x->o->model.tokenizer);
    size_t begin = facts->add_bos ? 1 : 0, read = x->length - begin - QUESTIONS_TOK;
    int32_t *body = x->window + begin, *questions = body + read;
    x->stream = ((uint64_t)x->test << 56) ^ ((uint64_t)x->length << 24) ^ trial;
    x->draws = 0;
    if (begin > 0) x->window[0] = facts->bos;
    for (size_t i = 0; i < ASKED; i++) draw_pair(x, x->asked[i], i);
    for (size_t i = 0; i < ASKED; i++) x->order[i] = i;
    for (size_t i = ASKED; i-- > 1;) {
        size_t other = draw(x, i + 1), kept = x->order[i];
        x->order[i] = x->order[other];
        x->order[other] = kept;
    }
    size_t slots = read / PAIR_TOK, rest = x->test == PAIRS ? read % PAIR_TOK : 0;
    if (x->test == NEEDLE) memcpy(body, x->text + draw(x, x->text_tok - read + 1), read * sizeof *body);
    else draw_tokens(x, body, rest);
    for (size_t i = 0; x->test == PAIRS && i < slots; i++) draw_pair(x, body + rest + i * PAIR_TOK, ASKED);
    for (size_t i = 0; planted && i < ASKED; i++) {
        size_t at = rest + slots * (2 * i + 1) / (2 * ASKED) * PAIR_TOK;
        memcpy(body + at, x->asked[i], sizeof x->asked[i]);
    }
    for (size_t i = 0; i < ASKED; i++) memcpy(questions + i * PAIR_TOK, x->asked[x->order[i]], sizeof x->asked[i]);
}

/* ---- scoring ---- */

/* The row predicts token `at` of the questions, which belongs to a value. */
static void score_row(struct recall *x, const float *row, size_t vocab, size_t at)
{
    size_t which = x->order[at / PAIR_TOK], rank = 1;
    int32_t target = x->asked[which][at % PAIR_TOK];
    struct sums *s = &x->sums[x->reader][which];
    float most = row[0], mine = row[target];
    double sum = 0;
    for (size_t i = 0; i < vocab; i++) {
        most = row[i] > most ? row[i] : most;
        rank += row[i] > mine || (row[i] == mine && i < (size_t)target); /* ties go to the lowest, as when drawing */
    }
    for (size_t i = 0; i < vocab; i++) sum = sum + (double)exp_f32(row[i] - most);
    s->nats += (double)(mine - most) - log_f64(sum);
    s->log_rank += log_f64((double)rank);
    s->tokens++;
    x->whole[which] = x->whole[which] && rank == 1;
}

static bool score_rows(void *arg, const graph *g, size_t first, size_t count, err *e)
{
    struct recall *x = arg;
    size_t questions = x->length - QUESTIONS_TOK;
    (void)e;
    for (size_t row = 0; row < count; row++) {
        size_t next = first + row + 1; /* what the row predicts */
        if (next >= x->length || next < questions || (next - questions) % PAIR_TOK < KEY_TOK) continue;
        score_row(x, graph_logits(g, row), x->o->model.hyper.vocab, next - questions);
    }
    return true;
}

static bool ask(struct recall *x, enum reader reader, struct rows *rows, err *e)
{
    x->reader = reader;
    for (size_t i = 0; i < ASKED; i++) x->whole[i] = true;
    if (!rows_compute(rows, x->window, x->length, x->length - QUESTIONS_TOK, score_rows, x, e)) return false;
    for (size_t i = 0; i < ASKED; i++) {
        x->sums[reader][i].asked++;
        x->sums[reader][i].found += x->whole[i];
    }
    return true;
}

static bool one_trial(struct recall *x, size_t trial, err *e)
{
    struct rows *exact = x->compares ? &x->exact : &x->tier;
    make_window(x, trial, true);
    if (!ask(x, TIER, &x->tier, e) || (x->compares && !ask(x, EXACT, exact, e))) return false;
    make_window(x, trial, false);
    return ask(x, ABSENT, exact, e);
}

/* ---- showing ---- */

static struct sums sums_of(const struct recall *x, enum reader reader)
{
    struct sums all = { 0 };
    for (size_t i = 0; i < ASKED; i++) {
        const struct sums *s = &x->sums[reader][i];
        all.nats += s->nats;
        all.log_rank += s->log_rank;
        all.tokens += s->tokens;
        all.found += s->found;
        all.asked += s->asked;
    }
    return all;
}

static void print_sums(const char *name, const struct sums *s, bool json)
{
    double found = (double)s->found / (double)s->asked, nats = s->nats / (double)s->tokens;
    double rank = exp(s->log_rank / (double)s->tokens);
    if (json)
        printf("\"%s\": {\"found\": %.6g, \"logprob\": %.6g, \"rank\": %.6g}", name, found, nats, rank);
    else
        printf("  %-12s %5.1f%% found   %9.4f nats a token   rank %.2f\n", name, 100 * found, nats, rank);
}

static void print_depths(const struct recall *x, bool json)
{
    if (!json) printf("  by depth    ");
    for (size_t i = 0; i < ASKED; i++) {
        const struct sums *t = &x->sums[TIER][i], *f = &x->sums[x->compares ? EXACT : TIER][i];
        double percent = (double)(2 * i + 1) * 100 / (2 * ASKED), nats = t->nats / (double)t->tokens;
        if (json)
            printf("%s{\"depth\": %.2f, \"found\": %.6g, \"logprob\": %.6g, \"f16_logprob\": %.6g}", i > 0 ? ", " : "",
                   percent / 100, (double)t->found / (double)t->asked, nats, f->nats / (double)f->tokens);
        else if (x->compares) printf("%s%.0f%% %+.2f", i > 0 ? ", " : "", percent, nats - f->nats / (double)f->tokens);
        else printf("%s%.0f%% %.2f", i > 0 ? ", " : "", percent, nats);
    }
    if (!json) printf(x->compares ? " nats a token against f16\n" : " nats a token\n");
}

static void print_test(const struct recall *x, const char *tier, bool json, bool first)
{
    static const char *const names[] = { [NEEDLE] = "needle", [PAIRS] = "recall" };
    struct sums tested = sums_of(x, TIER), exact = sums_of(x, EXACT), absent = sums_of(x, ABSENT);
    if (!json) {
        printf("%s after %zu tokens, %zu questions\n", names[x->test], x->length, tested.asked);
        print_sums(tier, &tested, false);
        if (x->compares) print_sums("f16", &exact, false);
        print_sums("not planted", &absent, false);
        print_depths(x, false);
        return;
    }
    printf("%s{\"test\": \"%s\", \"length\": %zu, \"questions\": %zu, ", first ? "" : ", ", names[x->test], x->length,
           tested.asked);
    print_sums("tier", &tested, true);
    printf(", ");
    print_sums("f16", x->compares ? &exact : &tested, true);
    printf(", ");
    print_sums("absent", &absent, true);
    printf(", \"by_depth\": [");
    print_depths(x, true);
    printf("]}");
}

/* ---- all of them ---- */

struct lengths {
    size_t count, tok[LENGTHS_MAX];
};

/* "1024,8K" */
static bool lengths_read(const char *name, const char *list, struct lengths *out, err *e)
{
    out->count = 0;
    for (const char *at = list; list != NULL; at++) {
        size_t value = 0, digits = 0;
        for (; *at >= '0' && *at <= '9' && value <= CTX_TOK_MAX; at++, digits++)
            value = value * 10 + (size_t)(*at - '0');
        if ((*at == 'K' || *at == 'k') && value <= CTX_TOK_MAX) value *= 1024, at++;
        if (digits == 0 || (*at != ',' && *at != 0) || out->count == LENGTHS_MAX)
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: \"%s\", expected 1..%d lengths like 1024,8K", name, list,
                        LENGTHS_MAX);
        if (value < LENGTH_LEAST_TOK || value > CTX_TOK_MAX)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "%s: %zu tokens, allowed %d..%d", name, value, LENGTH_LEAST_TOK,
                        CTX_TOK_MAX);
        out->tok[out->count++] = value;
        if (*at == 0) break;
    }
    return true;
}

static size_t longest(const struct lengths *l)
{
    size_t most = 0;
    for (size_t i = 0; i < l->count; i++) most = max_size(most, l->tok[i]);
    return most;
}

static bool make_alphabet(struct recall *x, err *e)
{
    size_t vocab = x->o->model.hyper.vocab;
    bool *seen = ARENA_ARRAY(&x->o->arena, bool, vocab, "tokens", e);
    x->alphabet = ARENA_ARRAY(&x->o->arena, int32_t, vocab, "tokens", e);
    if (seen == NULL || x->alphabet == NULL) return false;
    memset(seen, 0, vocab * sizeof *seen);
    for (size_t i = 0; i < x->text_tok; i++) seen[x->text[i]] = true;
    for (size_t i = 0; i < vocab; i++)
        if (seen[i]) x->alphabet[x->alphabet_tok++] = (int32_t)i;
    return x->alphabet_tok >= ALPHABET_LEAST ||
           fail(e, ERR_VALUE, ERR_NO_OFFSET, "--text: %zu different tokens, at least %d are needed", x->alphabet_tok,
                ALPHABET_LEAST);
}

static bool run_lengths(struct recall *x, enum test test, const struct lengths *l, const struct recall_options *set,
                        const char *tier, bool json, bool first, err *e)
{
    struct progress progress = { .what = "asking" };
    for (size_t i = 0; i < l->count; i++) {
        memset(x->sums, 0, sizeof x->sums);
        x->test = test;
        x->length = l->tok[i];
        for (size_t trial = 0; trial < set->trials; trial++) {
            progress_show(&progress, trial, set->trials);
            if (!one_trial(x, trial, e)) {
                progress_end(&progress);
                return false;
            }
        }
        progress_end(&progress);
        print_test(x, tier, json, first && i == 0);
    }
    return true;
}

static bool open_rows(struct recall *x, const struct compute_options *c, struct opened *f16, size_t most, err *e)
{
    x->compares = x->o->kv != KV_F16;
    x->window = ARENA_ARRAY(&x->o->arena, int32_t, most, "window", e);
    if (x->window == NULL || !rows_new(&x->tier, x->o, max_size(c->ctx, most), c->chunk, e)) return false;
    *f16 = *x->o;
    f16->kv = KV_F16;
    f16->method = KV_METHODS;
    return !x->compares || rows_new(&x->exact, f16, max_size(c->ctx, most), c->chunk, e);
}

bool recall_run(struct opened *o, const struct compute_options *c, const struct recall_options *set, const int32_t *ids,
                size_t count, bool json, err *e)
{
    struct recall x = { .o = o, .text = ids, .text_tok = count };
    struct opened f16;
    struct lengths needle, pairs;
    const char *tier = o->method < KV_METHODS ? kv_method_name(o->method) : kv_type_name(o->kv);
    if (!lengths_read("--needle", set->needle, &needle, e) || !lengths_read("--recall", set->pairs, &pairs, e))
        return false;
    if (longest(&needle) > count)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "--needle: %zu tokens, the text has %zu", longest(&needle), count);
    bool good = make_alphabet(&x, e) && open_rows(&x, c, &f16, max_size(longest(&needle), longest(&pairs)), e);
    if (good && json) printf("{\"kv\": \"%s\", \"trials\": %zu, \"tests\": [", tier, set->trials);
    good = good && run_lengths(&x, NEEDLE, &needle, set, tier, json, true, e) &&
           run_lengths(&x, PAIRS, &pairs, set, tier, json, needle.count == 0, e);
    if (good && json) printf("]}\n");
    rows_free(&x.exact);
    rows_free(&x.tier);
    return good;
}
