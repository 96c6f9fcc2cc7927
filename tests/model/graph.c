/* model/graph.h over made models: a sequence has the same logits alone, in a batch beside fifteen others, in any
 * chunks, on any number of threads, after a rewind, and in every tier; errors leave every sequence where it was. */
#include "model/graph.h"
#include "model/made.h"

#include "check.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

enum { SEQS = 16, LEN_MAX = 330, CTX_TOK = 512 };

struct bench {
    model m;
    struct kernels k;
    team *t;
    graph *g;
    kv_pool pool;
    kv_seq seqs[SEQS];
    arena a;
    size_t len_tok; /* of the sequence that is looked at */
};

static bool set_up(struct bench *b, const char *path, const char *tier, size_t threads, enum kv_type type, err *e)
{
    struct graph_settings set = { .chunk_tok = 256, .logit_rows = SEQS, .ctx_tok = CTX_TOK };
    *b = (struct bench){ 0 };
    if (!arena_new(&b->a, 1 << 21, e) || !team_new(&b->t, threads, NULL, 0, e) || !kernels_bind(&b->k, tier, e) ||
        !model_load(&b->m, path, b->t, NULL, NULL, e) || !graph_new(&b->g, &b->m, &b->k, b->t, &set, e))
        return false;
    const struct hyper *h = &b->m.hyper;
    struct kv_shape shape = { type, h->layers, h->kv_heads, h->key_dim, h->value_dim, SEQS, set.chunk_tok };
    if (!kv_pool_new(&b->pool, &shape, SEQS * CTX_TOK / PAGE_TOK, &b->a, e)) return false;
    for (size_t i = 0; i < SEQS; i++)
        if (!kv_seq_new(&b->seqs[i], &b->pool, CTX_TOK, &b->a, e)) return false;
    return true;
}

static void tear_down(struct bench *b)
{
    graph_free(b->g);
    kv_pool_free(&b->pool);
    model_free(&b->m);
    team_free(b->t);
    arena_free(&b->a);
}

static int32_t token_of(size_t seq, size_t pos)
{
    return (int32_t)((seq * 131 + pos * 7919 + 3) % 1000);
}

/* Sequence 3 alone, `chunk` tokens a step; its last row of logits. */
static bool alone(struct bench *b, size_t chunk, float *out, err *e)
{
    kv_seq *s = &b->seqs[3];
    kv_seq_rewind(s, 0);
    for (size_t at = 0; at < b->len_tok; at += chunk) {
        struct step_token step[256];
        size_t n = b->len_tok - at < chunk ? b->len_tok - at : chunk;
        for (size_t i = 0; i < n; i++)
            step[i] = (struct step_token){ s, token_of(3, at + i), at + i + 1 == b->len_tok };
        if (!graph_step(b->g, step, n, e)) return false;
    }
    memcpy(out, graph_logits(b->g, 0), b->m.hyper.vocab * sizeof *out);
    return true;
}

/* All sequences, of different lengths, in steps that take a few tokens of each; sequence 3's last row. */
static bool crowded(struct bench *b, float *out, err *e)
{
    size_t done[SEQS] = { 0 };
    for (size_t i = 0; i < SEQS; i++) kv_seq_rewind(&b->seqs[i], 0);
    for (bool more = true; more;) {
        struct step_token step[256];
        size_t n = 0, row = 0, row_of_three = SIZE_MAX;
        more = false;
        for (size_t s = 0; s < SEQS; s++) {
            size_t len = s == 3 ? b->len_tok : 40 + 5 * s, take = 1 + (s * 5 + done[s]) % 13;
            for (size_t i = 0; i < take && done[s] < len; i++) {
                bool last = done[s] + 1 == len;
                step[n++] = (struct step_token){ &b->seqs[s], token_of(s, done[s]), last };
                if (last && s == 3) row_of_three = row;
                row += last;
                done[s]++;
            }
            more = more || done[s] < len;
        }
        if (n > 0 && !graph_step(b->g, step, n, e)) return false;
        if (row_of_three != SIZE_MAX)
            memcpy(out, graph_logits(b->g, row_of_three), b->m.hyper.vocab * sizeof *out);
    }
    return true;
}

/* Tokens of sequence 3 into `s` from where it stands up to `end`, in steps of `chunk`. */
static bool go_on(struct bench *b, kv_seq *s, size_t end, size_t chunk, err *e)
{
    while (s->len_tok < end) {
        struct step_token step[256];
        size_t at = s->len_tok, n = end - at < chunk ? end - at : chunk;
        for (size_t i = 0; i < n; i++)
            step[i] = (struct step_token){ s, token_of(3, at + i), at + i + 1 == b->len_tok };
        if (!graph_step(b->g, step, n, e)) return false;
    }
    return true;
}

/* Two sequences share a prefix: one goes on elsewhere and back, the other to the end; then the first goes on from what
 * its going back left. */
static bool forked(struct bench *b, float *out, err *e)
{
    kv_seq *one = &b->seqs[3], *two = &b->seqs[4];
    size_t half = b->len_tok / 2, bytes = b->m.hyper.vocab * sizeof *out;
    for (size_t i = 0; i < SEQS; i++) kv_seq_rewind(&b->seqs[i], 0);
    if (!go_on(b, one, half, 64, e) || !kv_seq_copy(two, one, half, e)) return false;
    for (size_t i = 0; i < 40; i++) {
        struct step_token other = { one, (int32_t)(i * 37 % 1000), false };
        if (!graph_step(b->g, &other, 1, e)) return false;
    }
    if (!go_on(b, two, b->len_tok, 50, e)) return false;
    memcpy(out, graph_logits(b->g, 0), bytes);
    size_t kept = kv_seq_rewind(one, half);
    CHECK(kept == half || kept == 0, "going back keeps %zu of %zu", kept, half);
    if (!go_on(b, one, b->len_tok, 19, e)) return false;
    bool same = memcmp(out, graph_logits(b->g, 0), bytes) == 0;
    return CHECK(same, "both ends of a fork have the same bits");
}

/* A step that is refused in its middle leaves the sequence as it was. */
static bool failed(struct bench *b, float *out, err *e)
{
    kv_seq *s = &b->seqs[3];
    struct step_token step[200];
    err refused = { 0 };
    for (size_t i = 0; i < SEQS; i++) kv_seq_rewind(&b->seqs[i], 0);
    if (!go_on(b, s, b->len_tok / 2 + 3, 100, e)) return false;
    static float broken[4096];
    const float *norm = b->m.output_norm;
    broken[0] = INFINITY; /* all layers are computed, then the logits are not finite */
    b->m.output_norm = broken;
    for (size_t i = 0; i < 150; i++) step[i] = (struct step_token){ s, 5, i == 149 };
    CHECK(!graph_step(b->g, step, 150, &refused) && refused.code == ERR_VALUE, "not finite: %s", refused.text);
    b->m.output_norm = norm;
    CHECK(s->len_tok == b->len_tok / 2 + 3, "the sequence has not moved");
    if (!go_on(b, s, b->len_tok, 33, e)) return false;
    memcpy(out, graph_logits(b->g, 0), b->m.hyper.vocab * sizeof *out);
    return true;
}

static void same_bits(const char *shape, const char *mix, enum kv_type type, size_t len_tok)
{
    char path[] = "/tmp/hearth-graph-XXXXXX";
    int fd = mkstemp(path);
    err e = { 0 };
    static float want[1000], got[1000];
    if (!CHECK(fd >= 0, "a temporary file")) return;
    close(fd);
    if (!CHECK(made_write(made_shape_named(view_of(shape)), made_mix_named(view_of(mix)), 5, path, &e), "%s", e.text))
        return;
    bool first = true;
    for (const char *const *tier = kernels_tiers(); *tier != NULL; tier++)
        for (size_t threads = 1; threads <= 3; threads += 2) {
            struct bench b;
            bool slow = tier == kernels_tiers(); /* the definitions: one prompt shows that they agree */
            if (slow && threads > 1) continue;
            if (CHECK(set_up(&b, path, *tier, threads, type, &e), "%s", e.text)) {
                b.len_tok = len_tok;
                bool good = alone(&b, slow ? 90 : 7, got, &e);
                CHECK(good, "%s %s %s: %s", shape, mix, kv_type_name(type), e.text);
                if (first) memcpy(want, got, sizeof want);
                first = false;
                CHECK(memcmp(want, got, sizeof want) == 0, "%s %s %s, %s, %zu threads: chunks", shape, mix, kv_type_name(type), *tier,
                      threads);
                if (slow) goto next;
                good = alone(&b, 90, got, &e) && memcmp(want, got, sizeof want) == 0;
                CHECK(good, "%s %s %s, %s, %zu threads: one chunk %s", shape, mix, kv_type_name(type), *tier, threads, e.text);
                good = crowded(&b, got, &e) && memcmp(want, got, sizeof want) == 0;
                CHECK(good, "%s %s %s, %s, %zu threads: beside 15 others %s", shape, mix, kv_type_name(type), *tier, threads, e.text);
                good = forked(&b, got, &e) && memcmp(want, got, sizeof want) == 0;
                CHECK(good, "%s %s %s, %s, %zu threads: a fork, and after going back %s", shape, mix,
                      kv_type_name(type), *tier, threads, e.text);
                good = failed(&b, got, &e) && memcmp(want, got, sizeof want) == 0;
                CHECK(good, "%s %s %s, %s, %zu threads: after a step that failed %s", shape, mix, kv_type_name(type),
                      *tier, threads, e.text);
                if (threads > 1 && len_tok > 90) goto next; /* one by one takes long, and showed it */
                good = alone(&b, 1, got, &e) && memcmp(want, got, sizeof want) == 0;
                CHECK(good, "%s %s %s, %s, %zu threads: one by one %s", shape, mix, kv_type_name(type), *tier, threads, e.text);
            }
        next:
            tear_down(&b);
        }
    got[7] += 1.0f;
    CHECK(memcmp(want, got, sizeof want) != 0, "a planted difference is seen");
    unlink(path);
}

static void errors(void)
{
    char path[] = "/tmp/hearth-graph-XXXXXX";
    int fd = mkstemp(path);
    err e = { 0 };
    struct bench b;
    if (!CHECK(fd >= 0, "a temporary file")) return;
    close(fd);
    made_write(made_shape_named(view_of("tiny-llama")), made_mix_named(view_of("F16")), 5, path, &e);
    if (CHECK(set_up(&b, path, NULL, 2, KV_F16, &e), "%s", e.text)) {
        struct step_token bad[2] = { { &b.seqs[0], 5, false }, { &b.seqs[0], 1000, true } };
        CHECK(!graph_step(b.g, bad, 2, &e) && e.code == ERR_LIMIT, "a token outside the vocabulary: %s", e.text);
        CHECK(b.seqs[0].len_tok == 0, "no sequence has moved");
        e = (err){ 0 };
        bad[1].token = -1;
        CHECK(!graph_step(b.g, bad, 2, &e) && e.code == ERR_LIMIT, "a negative token: %s", e.text);
        e = (err){ 0 };
        bad[1].token = 999;
        CHECK(graph_step(b.g, bad, 2, &e) && b.seqs[0].len_tok == 2, "the last token of the vocabulary: %s", e.text);
        for (size_t pos = 2; pos < CTX_TOK; pos++) {
            struct step_token one = { &b.seqs[0], 1, false };
            if (!CHECK(graph_step(b.g, &one, 1, &e), "position %zu: %s", pos, e.text)) break;
        }
        struct step_token one = { &b.seqs[0], 1, false };
        CHECK(!graph_step(b.g, &one, 1, &e) && e.code == ERR_LIMIT && b.seqs[0].len_tok == CTX_TOK,
              "a full context is an error and stays full: %s", e.text);
    }
    tear_down(&b);
    unlink(path);
}

int main(void)
{
    same_bits("tiny-llama", "Q4_0", KV_F16, 90);
    same_bits("tiny-llama", "Q4_K_M", KV_F16, 90);
    same_bits("tiny-experts", "Q8_0", KV_F16, 90);
    same_bits("tiny-window", "BF16", KV_F16, 90);
    same_bits("tiny-llama", "Q4_0", KV_Q8, 90);
    same_bits("tiny-window", "Q8_0", KV_Q4, 200);
    for (int type = KV_K2V2; type < KV_TYPES; type++)
        same_bits(type % 2 == 0 ? "tiny-window" : "tiny-llama", "Q8_0", (enum kv_type)type, LEN_MAX);
    errors();
    return check_done();
}
