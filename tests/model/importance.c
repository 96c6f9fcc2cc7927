/* model/importance.h: every matrix hears of every token once; the sums are those of what went in, whatever the chunks
 * and threads. */
#include "model/importance.h"

#include "model/made.h"

#include "check.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

enum { CTX_TOK = 64, TOKENS = 40 };

static struct kernels kernels;
static arena room;
static model m;

/* All tokens in steps of `chunk`; squares of hidden states, by column, in `hidden`. */
static bool compute(importance *i, team *t, size_t chunk, double *hidden, err *e)
{
    const struct hyper *h = &m.hyper;
    struct graph_settings set = { .chunk_tok = chunk, .logit_rows = chunk, .ctx_tok = CTX_TOK,
                                  .activations_f32 = true };
    struct kv_shape shape = { KV_F16, h->layers, h->kv_heads, h->key_dim, h->value_dim, 1, 0 };
    struct step_token step[TOKENS];
    graph *g = NULL;
    kv_pool pool = { 0 };
    kv_seq seq;
    arena a = { 0 };
    bool good = arena_new(&a, 1 << 20, e) && graph_new(&g, &m, &kernels, t, &set, e) &&
                kv_pool_new(&pool, &shape, 2, &a, e) && kv_seq_new(&seq, &pool, CTX_TOK, &a, e);
    if (good) graph_watch_inputs(g, importance_watch, i);
    for (size_t at = 0; good && at < TOKENS; at += chunk) {
        size_t count = at + chunk < TOKENS ? chunk : TOKENS - at;
        for (size_t n = 0; n < count; n++)
            step[n] = (struct step_token){ .seq = &seq, .token = (int32_t)((at + n) * 23 % 1000), .want_logits = true };
        good = graph_step(g, step, count, e);
        for (size_t n = 0; good && n < count; n++)
            for (size_t c = 0; c < h->width; c++)
                hidden[c] += (double)graph_hidden(g, n)[c] * (double)graph_hidden(g, n)[c];
    }
    graph_free(g);
    kv_pool_free(&pool);
    arena_free(&a);
    return good;
}

/* What every tensor of a layer is expected to have; `sum` of used experts is that of all (token, expert) pairs. */
static const struct row {
    const char *shape, *name;
    size_t count, cols;
} ROWS[] = {
    { "tiny-llama", "blk.0.attn_q.weight", 1, 256 },          { "tiny-llama", "blk.2.attn_v.weight", 1, 256 },
    { "tiny-llama", "blk.1.ffn_down.weight", 1, 512 },        { "tiny-llama", "token_embd.weight", 1, 256 },
    { "tiny-experts", "blk.1.ffn_gate_exps.weight", 12, 256 }, { "tiny-experts", "blk.2.ffn_down_exps.weight", 12, 96 },
    { "tiny-experts", "blk.0.attn_output.weight", 1, 256 },
};

static const float *find(importance *i, const struct row *row, err *e)
{
    const float *out = NULL;
    size_t count = 0, cols = 0;
    CHECK(importance_of(i, view_of(row->name), &room, &out, &count, &cols, e), "%s", e->text);
    if (!CHECK(out != NULL && count == row->count && cols == row->cols, "%s: %zu x %zu", row->name, count, cols))
        return NULL;
    return out;
}

static void none(importance *i, err *e)
{
    static const char *const names[] = { "output.weight", "blk.0.attn_norm.weight", "blk.3.attn_q.weight", "" };
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        const float *out = NULL;
        size_t count, cols;
        CHECK(importance_of(i, view_of(names[n]), &room, &out, &count, &cols, e) && out == NULL, "\"%s\" has none",
              names[n]);
    }
}

static void one_shape(const char *shape, const char *path)
{
    importance *ours[3] = { NULL };
    static const size_t chunks[3] = { TOKENS, 7, 1 }, threads[3] = { 1, 3, 2 };
    double hidden[1024] = { 0 };
    err e = { 0 };
    if (!CHECK(made_write(made_shape_named(view_of(shape)), made_mix_named(view_of("F32")), 5, path, &e), "%s", e.text))
        return;
    for (size_t n = 0; n < 3; n++) {
        team *t = NULL;
        memset(hidden, 0, sizeof hidden);
        CHECK(team_new(&t, threads[n], NULL, 0, &e) && model_load(&m, path, t, NULL, NULL, &e) &&
                  importance_new(&ours[n], &m, &room, &e) && compute(ours[n], t, chunks[n], hidden, &e),
              "%s: %s", shape, e.text);
        model_free(&m);
        team_free(t);
    }
    for (size_t r = 0; r < sizeof ROWS / sizeof *ROWS && e.code == ERR_NONE; r++) {
        if (strcmp(ROWS[r].shape, shape) != 0) continue;
        const float *first = find(ours[0], &ROWS[r], &e);
        size_t used = 0, bytes = ROWS[r].count * ROWS[r].cols * sizeof *first;
        for (size_t n = 1; n < 3; n++)
            CHECK(first != NULL && memcmp(first, find(ours[n], &ROWS[r], &e), bytes) == 0,
                  "%s: other chunks and threads, other sums", ROWS[r].name);
        for (size_t c = 0; first != NULL && c < bytes / sizeof *first; c++) used += first[c] > 0;
        CHECK(used >= 2 * ROWS[r].cols || (ROWS[r].count == 1 && used == ROWS[r].cols), "%s: %zu columns used",
              ROWS[r].name, used);
    }
    /* The tied output matrix hears of the hidden states, which the test sees too. */
    const float *output = find(ours[2], &(struct row){ shape, "token_embd.weight", 1, 256 }, &e);
    for (size_t c = 0; output != NULL && c < 256; c++)
        CHECK(output[c] == (float)sqrt(hidden[c] / TOKENS), "column %zu: %g", c, (double)output[c]);
    none(ours[0], &e);
}

int main(void)
{
    char path[] = "/tmp/hearth-importance-XXXXXX";
    int fd = mkstemp(path);
    err e = { 0 };
    if (!CHECK(fd >= 0 && kernels_bind(&kernels, NULL, &e) && arena_new(&room, (size_t)1 << 26, &e), "%s", e.text))
        return check_done();
    close(fd);
    one_shape("tiny-llama", path);
    one_shape("tiny-experts", path);
    unlink(path);
    arena_free(&room);
    return check_done();
}
