/* How long masks and compiling take: bench/grammar [VOCABULARY.gguf ...] with reference vocabularies by name (qwen2,
 * gpt-oss, llama-bpe, llama-spm). Every mask of a document, cut into tokens greedily, and of random walks through
 * client schemas. */
#include "grammar/grammar.h"

#include "base/prng.h"
#include "grammar/corpus.h"
#include "text/vocab_file.h"

#include <time.h>

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

enum { SAMPLES_MAX = 1 << 16 };
struct samples {
    double us[SAMPLES_MAX];
    size_t count;
};

/* One row's samples, or those of all rows together: `all` takes them in, NULL: these are all. */
static void report(const char *says, struct samples *s, struct samples *all)
{
    double sum = 0;
    if (s->count == 0) return;
    for (size_t i = 0; all != NULL && i < s->count && all->count < SAMPLES_MAX; i++) all->us[all->count++] = s->us[i];
    for (size_t i = 0; i < s->count; i++) sum += s->us[i];
    qsort(s->us, s->count, sizeof *s->us, by_size);
    printf("  %-28s %6zu masks: mean %7.1f us, p50 %7.1f, p99 %7.1f, p99.9 %7.1f, max %7.1f\n", says, s->count,
           sum / (double)s->count, s->us[s->count / 2], s->us[s->count * 99 / 100], s->us[s->count * 999 / 1000],
           s->us[s->count - 1]);
    s->count = 0;
}

struct bench {
    grammar_walker *w;
    const tokenizer *t;
    size_t rows;
    uint64_t *mask;
    arena *a;
    struct samples *samples, *all;
};

static size_t timed_mask(struct bench *b, const grammar *g, const grammar_state *s, uint32_t left)
{
    double start = now_us();
    size_t allowed = grammar_mask(b->w, g, s, left, b->mask);
    if (b->samples->count < SAMPLES_MAX) b->samples->us[b->samples->count++] = now_us() - start;
    return allowed;
}

static bool bit(const uint64_t *mask, size_t i)
{
    return mask[i / 64] >> i % 64 & 1;
}

/* The document's own tokens, every mask on the way. */
static bool follow(struct bench *b, const grammar *g, view text)
{
    static grammar_state s;
    err e = { 0 };
    size_t count, max = tokenizer_ids_max(b->t, text.len_bytes), mark = b->a->used_bytes;
    int32_t *ids = ARENA_ARRAY(b->a, int32_t, max, "ids", &e);
    arena scratch = { 0 };
    if (ids == NULL || !arena_new(&scratch, tokenizer_scratch_bytes(b->t, text.len_bytes), &e) ||
        !tokenizer_encode(b->t, text, false, ids, max, &count, &scratch, &e))
        return false;
    grammar_start(b->w, g, tokenizer_facts(b->t)->model != TOKENIZER_BPE, &s);
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
        timed_mask(b, g, &s, 100000);
        good = bit(b->mask, (size_t)ids[i]) && grammar_accept(b->w, g, &s, ids[i], 100000);
    }
    arena_free(&scratch);
    arena_rewind(b->a, mark);
    return good;
}

/* A walk by chance; strings are left early, as a model does. */
static void wander(struct bench *b, const grammar *g, uint64_t seed)
{
    static grammar_state s;
    grammar_start(b->w, g, false, &s);
    uint32_t left = grammar_least(b->w, g, &s) + 150;
    for (size_t step = 0; left > 0 && !s.ended; step++, left--) {
        size_t allowed = timed_mask(b, g, &s, left);
        if (allowed == 0) return;
        size_t pick = prng_u32(seed, 1, step) % allowed, token = 0;
        for (;; token++)
            if (bit(b->mask, token) && pick-- == 0) break;
        int32_t quote = tokenizer_find(b->t, view_of("\""));
        if (quote >= 0 && bit(b->mask, (size_t)quote) && prng_u32(seed, 2, step) % 6 == 0) token = (size_t)quote;
        if (!grammar_accept(b->w, g, &s, (int32_t)token, left)) return;
    }
}

static view compile(const char *schema, bool tools, arena *a)
{
    struct grammar_options set = { 0 };
    const json_value *v;
    view table = { 0 };
    err e = { 0 };
    if (!json_parse(view_of(schema), a, &v, &e)) return table;
    if (!tools) {
        if (!grammar_from_schema(v, &set, a, &table, NULL, &e)) printf("%s\n", e.text);
        return table;
    }
    static char names[100][16];
    static struct grammar_tool all[100];
    static const json_value *schemas[CORPUS_ROWS];
    for (size_t i = 0; i < CORPUS_ROWS; i++) json_parse(view_of(CORPUS[i].schema), a, &schemas[i], &e);
    static const int OBJECTS[] = { 0, 1, 2, 4, 6, 12, 17, 21, 25, 25 }; /* what tools' arguments look like */
    for (int i = 0; i < 100; i++) {
        snprintf(names[i], sizeof names[i], "tool_%d", i);
        all[i] = (struct grammar_tool){ view_of(names[i]), schemas[OBJECTS[i % 10]] };
    }
    struct grammar_call_form form = { .begin = view_of("<tool_call>\n{\"name\": \""),
                                      .middle = view_of("\", \"arguments\": "),
                                      .end = view_of("}\n</tool_call>"),
                                      .between = view_of("\n"),
                                      .begin_token = -1,
                                      .end_token = -1,
                                      .text_before = true,
                                      .parallel = true };
    if (!grammar_from_tools(all, 100, &form, &set, a, &table, NULL, &e)) printf("%s\n", e.text);
    return table;
}

static view document(arena *a)
{
    static const char *const LINES[] = {
        "The quick brown fox jumps over the lazy dog, and then it rests in the shade of an old oak tree.",
        "Errors are values; the first one wins.",
        "caf\xc3\xa9 na\xc3\xafve \xe6\x9d\xb1\xe4\xba\xac",
        "C:\\\\temp\\n\\tline",
        "https://example.org/a?b=c",
    };
    uint8_t *text = ARENA_ARRAY(a, uint8_t, 1 << 16, "document", &(err){ 0 });
    size_t len = 0;
    len += (size_t)snprintf((char *)text, 64, "{\n  \"items\": [");
    for (int i = 0; i < 60; i++)
        len += (size_t)snprintf(
            (char *)text + len, 600,
            "%s\n    {\"id\": %d, \"name\": \"%s\", \"price\": %d.%02d, \"tags\": [\"a%d\", \"long tag\"], "
            "\"ok\": %s, \"nested\": {\"text\": \"%s\", \"none\": null}}",
            i > 0 ? "," : "", i * 37, LINES[i % 5], i * 3, i, i, i % 2 ? "true" : "false", LINES[(i + 2) % 5]);
    len += (size_t)snprintf((char *)text + len, 64, "\n  ]\n}");
    return (view){ text, len };
}

static void measure(struct bench *b)
{
    grammar g;
    err e = { 0 };
    double start = now_us();
    size_t mark = b->a->used_bytes;
    view table = compile("{}", true, b->a);
    printf("  100 tools: %.1f ms, table %zu KB\n", (now_us() - start) / 1000, table.len_bytes / 1024);
    if (grammar_check(table, &g, &e)) {
        grammar_walker_forget(b->w);
        for (uint64_t i = 0; i < 4; i++)
            if (!follow(b, &g,
                        view_of("I will look into that for you now. Let me see what there is.\n<tool_call>\n{\"name\": "
                                "\"tool_4\", \"arguments\": "
                                "{\"when\": \"2024-02-29T12:00:00Z\", \"day\": \"2024-01-01\", \"id\": "
                                "\"123e4567-e89b-12d3-a456-426614174000\", \"mail\": \"a@b.org\"}}\n</tool_call>")))
                printf("  not followed: tools\n");
        report("tools, auto", b->samples, b->all);
    } else {
        printf("%s\n", e.text);
    }
    table = compile("{}", false, b->a);
    if (grammar_check(table, &g, &e)) {
        grammar_walker_forget(b->w);
        if (!follow(b, &g, document(b->a))) printf("  not followed: document\n");
        report("a document, any JSON", b->samples, b->all);
    }
    for (size_t i = 0; i < CORPUS_ROWS; i++) {
        table = compile(CORPUS[i].schema, false, b->a);
        if (!grammar_check(table, &g, &e)) continue;
        grammar_walker_forget(b->w);
        for (uint64_t seed = 0; seed < 8; seed++) wander(b, &g, seed);
        report(CORPUS[i].says, b->samples, b->all);
    }
    (void)mark;
}

int main(int argc, char **argv)
{
    static struct samples samples, all;
    for (int i = 1; i < argc; i++) {
        struct vocab_file f;
        tokenizer *t;
        grammar_vocab *v;
        arena a;
        err e = { 0 };
        struct bench b = { .samples = &samples, .all = &all };
        if (!arena_new(&a, (size_t)1 << 34, &e) || !vocab_file_open(&f, argv[i], &e) || f.missing) return 1;
        if (!tokenizer_new(&t, &f.source, &a, &e)) return printf("%s\n", e.text), 1;
        double start = now_us();
        if (!grammar_vocab_new(&v, t, tokenizer_count(t), &a, &e)) {
            printf("%s: %s\n", argv[i], e.text);
            continue;
        }
        printf("%s: %zu tokens, index made in %.1f ms\n", argv[i], tokenizer_count(t), (now_us() - start) / 1000);
        b.t = t;
        b.a = &a;
        b.mask = ARENA_ARRAY(&a, uint64_t, grammar_vocab_mask_words(v), "mask", &e);
        if (!grammar_walker_new(&b.w, v, &a, &e)) return 1;
        measure(&b);
        report("all of them", &all, NULL);
        arena_free(&a);
        arena_free(&f.arena);
    }
    return 0;
}
