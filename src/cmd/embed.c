/* hearth embed: one text as one vector of length 1, from the final hidden states. */
#include "cmd/rows.h"

#include "base/checked.h"
#include "format/json.h"

#include <stdio.h>

struct embed_options {
    const char *pool, *file;
    bool json;
};

static const char *const POOLS[] = { "last", "mean", "cls", NULL };

static const struct option ROWS[] = {
    { "--pool", "KIND", OPTION_CHOICE, offsetof(struct embed_options, pool), 0, 0, POOLS, "mean",
      "last token, mean of all, or cls (the first)" },
    { "--file", "FILE", OPTION_TEXT, offsetof(struct embed_options, file), 0, 0, NULL, NULL,
      "the text; - is standard input" },
    { "--json", NULL, OPTION_FLAG, offsetof(struct embed_options, json), 0, 0, NULL, NULL, "one object" },
};

/* Sums of the states that the kind of pooling asks for, in order of position. */
struct pooling {
    const char *kind;
    size_t width, count;
    double *sum; /* width */
};

static bool pool_rows(void *arg, const graph *g, size_t first, size_t count, err *e)
{
    struct pooling *p = arg;
    (void)e;
    for (size_t row = 0; row < count; row++) {
        size_t pos = first + row;
        bool wanted = strcmp(p->kind, "mean") == 0 || pos == (strcmp(p->kind, "cls") == 0 ? 0 : p->count - 1);
        const float *hidden = graph_hidden(g, row);
        for (size_t i = 0; wanted && i < p->width; i++) p->sum[i] = p->sum[i] + (double)hidden[i];
    }
    return true;
}

static bool embed_ids(struct opened *o, const struct compute_options *c, const char *kind, const int32_t *ids,
                      size_t count, float *out, err *e)
{
    struct rows rows = { 0 };
    struct pooling p = { .kind = kind, .width = o->model.hyper.width, .count = count };
    p.sum = ARENA_ARRAY(&o->arena, double, p.width, "sums", e);
    size_t wanted = strcmp(kind, "last") == 0 ? count - 1 : 0;
    bool good = p.sum != NULL && rows_new(&rows, o, max_size(c->ctx, count), c->chunk, e) &&
                rows_compute(&rows, ids, count, wanted, pool_rows, &p, e);
    rows_free(&rows);
    if (!good) return false;
    double share = strcmp(kind, "mean") == 0 ? (double)count : 1.0;
    for (size_t i = 0; i < p.width; i++) out[i] = (float)(p.sum[i] / share);
    o->kernels.vector.l2_norm(out, p.width, 1e-12f);
    return true;
}

static void print_vector(const float *x, size_t width, size_t tokens, const char *kind, bool json)
{
    if (json) printf("{\"pool\": \"%s\", \"tokens\": %zu, \"embedding\": [", kind, tokens);
    for (size_t i = 0; i < width; i++) printf("%s%.9g", i == 0 ? "" : json ? ", " : " ", (double)x[i]);
    printf(json ? "]}\n" : "\n");
}

static bool embed(struct opened *o, const struct compute_options *c, const struct embed_options *set, const char *word,
                  err *e)
{
    view text;
    int32_t *ids;
    size_t count;
    if (o->model.tokenizer == NULL) return fail(e, ERR_MISSING, ERR_NO_OFFSET, "%s: holds no vocabulary", o->path);
    if (word != NULL) text = view_of(word);
    else if (!text_read(set->file != NULL ? set->file : "-", &o->arena, &text, e)) return false;
    if (!ids_of_prompt(o->model.tokenizer, text, false, &o->arena, &ids, &count, e)) return false;
    size_t ctx_tok = c->ctx > 0 ? c->ctx : o->model.hyper.ctx_train_tok;
    if (count < 1) return fail(e, ERR_VALUE, ERR_NO_OFFSET, "text: no tokens, at least 1 is needed");
    if (count > ctx_tok)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "text: %zu tokens, the context holds %zu (--ctx)", count, ctx_tok);
    float *out = ARENA_ARRAY(&o->arena, float, o->model.hyper.width, "embedding", e);
    if (out == NULL || !embed_ids(o, c, set->pool, ids, count, out, e)) return false;
    print_vector(out, o->model.hyper.width, count, set->pool, set->json);
    return true;
}

int cmd_embed(int argc, char **argv)
{
    struct embed_options set = { 0 };
    struct compute_options compute = { 0 };
    struct command_line line = { .command = "embed",
                                 .usage = "MODEL [TEXT]",
                                 .words_min = 1,
                                 .words_max = 2,
                                 .about =
                                     "The text as a vector of length 1. Without TEXT and --file: the input.",
                                 .groups = { { ROWS, sizeof ROWS / sizeof *ROWS, &set }, compute_group(&compute) } };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    if (line.word_count > 1 && set.file != NULL) {
        say("embed: TEXT and --file: give one of them");
        return EXIT_USAGE;
    }
    struct opened o = { 0 };
    err e = { 0 };
    bool good = open_model(&o, line.words[0], &compute, &e) &&
                embed(&o, &compute, &set, line.word_count > 1 ? line.words[1] : NULL, &e);
    close_model(&o);
    return good ? EXIT_GOOD : say_error(&e);
}
