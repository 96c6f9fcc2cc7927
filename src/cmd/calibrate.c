/* Windows of a text through the graph, whose products an importance hears of: see calibrate.h. */
#include "cmd/calibrate.h"

#include "base/checked.h"
#include "cmd/rows.h"

/* Every row of logits is made, so that the output matrix hears of every position; none is looked at. */
static bool ignore_rows(void *arg, const graph *g, size_t first, size_t count, err *e)
{
    (void)arg;
    (void)g;
    (void)first;
    (void)count;
    (void)e;
    return true;
}

/* The text's ids, the first of them BOS where a prompt begins with one. */
static bool read_ids(struct opened *o, const char *text_path, int32_t **ids, size_t *count, err *e)
{
    view text;
    if (o->model.tokenizer == NULL)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "--calibrate: a model without a vocabulary reads no text");
    if (!text_read(text_path, &o->arena, &text, e) ||
        !ids_of_prompt(o->model.tokenizer, text, false, &o->arena, ids, count, e)) {
        err_prefix(e, text_path);
        return false;
    }
    return *count >= CALIBRATE_LEAST_TOK ||
           fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: %zu tokens to calibrate with, at least %d are needed", text_path,
                *count, CALIBRATE_LEAST_TOK);
}

/* A window's first token makes room for BOS where the text began with one: as in `hearth eval`. */
static bool compute_windows(struct rows *rows, int32_t *ids, size_t count, size_t window, bool bos, err *e)
{
    struct progress progress = { .what = "calibrating" };
    int32_t first = ids[0];
    bool good = true;
    for (size_t at = 0; good && at < count; at += window) {
        if (bos) ids[at] = first;
        progress_show(&progress, at, count);
        good = rows_compute(rows, ids + at, min_size(window, count - at), 0, ignore_rows, NULL, e);
    }
    progress_end(&progress);
    return good;
}

bool calibrate(const char *path, const char *text_path, size_t threads, arena *a, importance **out, err *e)
{
    const struct compute_options how = { .threads = threads, .activations = "f32", .kv = "f16" };
    struct opened o = { 0 };
    struct rows rows = { 0 };
    int32_t *ids;
    size_t count;
    bool good = open_model(&o, path, &how, e) && read_ids(&o, text_path, &ids, &count, e) &&
                importance_new(out, &o.model, a, e);
    size_t window = good ? min_size(min_size(CALIBRATE_TOK, count), o.model.hyper.ctx_train_tok) : 0;
    good = good && rows_new(&rows, &o, window, 0, e);
    if (good) {
        const struct tokenizer_facts *facts = tokenizer_facts(o.model.tokenizer);
        graph_watch_inputs(rows.graph, importance_watch, *out);
        good = compute_windows(&rows, ids, count, window, facts->add_bos && facts->bos >= 0, e);
    }
    rows_free(&rows);
    close_model(&o);
    return good;
}
