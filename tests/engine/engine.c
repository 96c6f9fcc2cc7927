/* include/hearth.h: the answers of the engine against those of a session, one request at a time: alone, beside fifteen
 * others, in chunks, on several threads, as choices of one prompt, carried on, from a copied prefix; what refuses, what
 * cancels; and that messages which are none are told apart from requests that are wrong. */
#include "engine/session.h"
#include "hearth.h"

#include "base/limits.h"

#include "check.h"

#include <math.h>
#include <stdio.h>

enum { PROMPTS = 16, ANSWER_MAX = 600 };

/* Tokens of one answer: fewer where every load is looked at. */
extern void __asan_init(void) __attribute__((weak));
static size_t made_tok(void)
{
    return __asan_init != NULL ? 6 : 40;
}

static char path[512];
static model m;
static struct kernels k;
static team *t;
static uint8_t event[HEARTH_EVENT_BYTES_MAX];

struct answer {
    int32_t ids[ANSWER_MAX];
    float logprobs[ANSWER_MAX];
    size_t count;
    struct hearth_finished end;
    struct hearth_error error;
    struct hearth_differs differs; /* head.id 0: not told */
    size_t progress;
    bool done;
};

static struct hearth_sampling sampling_of(uint64_t seed, float temperature)
{
    return (struct hearth_sampling){ .seed = seed, .temperature = temperature, .top_k = 40, .top_p = 0.95f,
                                     .min_p = 0.05f, .typical_p = 1.0f, .repetition_penalty = 1.1f,
                                     .penalty_window = 64, .dry_base = 1.75f };
}

static void prompt_of(size_t i, int32_t *ids, size_t *count)
{
    *count = 5 + i * 7;
    for (size_t j = 0; j < *count; j++) ids[j] = j == 0 ? 1 : (int32_t)(260 + (i * 31 + j * 17) % 200);
}

/* ---- sent and heard ---- */

static bool ask(hearth *h, struct hearth_request r, const int32_t *ids)
{
    static uint8_t message[sizeof r + ANSWER_MAX * 8];
    r.n = r.n > 0 ? r.n : 1;
    r.weight = 1;
    int32_t stop = 2;
    r.stop_count = 1;
    memcpy(message, &r, sizeof r);
    memcpy(message + sizeof r, ids, r.prompt_tok * sizeof *ids);
    memcpy(message + sizeof r + r.prompt_tok * sizeof *ids, &stop, sizeof stop);
    return hearth_submit(h, HEARTH_SUBMIT, message, sizeof r + (r.prompt_tok + 1) * sizeof *ids);
}

/* answers[id - 1 + choice] */
static void hear(hearth *h, struct answer *answers)
{
    size_t bytes;
    for (uint32_t kind; (kind = hearth_poll(h, event, &bytes)) != 0;) {
        struct hearth_head head;
        memcpy(&head, event, sizeof head);
        if (kind == HEARTH_LOADED) continue;
        struct answer *a = &answers[head.id - 1 + (head.choice == HEARTH_ALL_CHOICES ? 0 : head.choice)];
        if (kind == HEARTH_PROGRESS) a->progress++;
        if (kind == HEARTH_DIFFERS) memcpy(&a->differs, event, sizeof a->differs);
        if (kind == HEARTH_TOKEN) {
            struct hearth_token token;
            memcpy(&token, event, sizeof token);
            CHECK(token.index == a->count && a->count < ANSWER_MAX, "token %u comes as number %zu", token.index,
                  a->count);
            a->logprobs[a->count] = token.logprob;
            a->ids[a->count++] = token.token;
        }
        if (kind == HEARTH_FINISHED) memcpy(&a->end, event, sizeof a->end);
        if (kind == HEARTH_ERROR) memcpy(&a->error, event, sizeof a->error);
        if (kind == HEARTH_FINISHED || kind == HEARTH_ERROR) {
            CHECK(!a->done, "one end an answer");
            a->done = true;
        }
    }
}

static void run(hearth *h, struct answer *answers)
{
    while (hearth_work(h)) hear(h, answers);
    hear(h, answers);
}

static hearth *begin(struct hearth_settings set)
{
    char why[HEARTH_ERROR_TEXT_BYTES] = "";
    hearth *h;
    CHECK(hearth_start(&h, path, &set, why), "start: %s", why);
    return h;
}

/* ---- the same as a session ---- */

static struct answer wanted[PROMPTS];

static void session_answer(size_t i)
{
    int32_t ids[ANSWER_MAX];
    size_t count;
    struct hearth_sampling from = sampling_of(i, i % 3 == 0 ? 0.0f : 0.9f);
    struct sample_settings sample = SAMPLE_DEFAULTS;
    sample.seed = from.seed;
    sample.temperature = from.temperature;
    sample.repetition_penalty = from.repetition_penalty;
    struct session_settings set = { .ctx_tok = 512, .kv = KV_F16, .sample = sample };
    struct answer *a = &wanted[i];
    session *s;
    err e = { 0 };
    prompt_of(i, ids, &count);
    if (!CHECK(session_new(&s, &m, &k, t, &set, &e) && session_prompt(s, ids, count, NULL, NULL, &e), "%s", e.text))
        return;
    for (enum finish f = FINISH_NONE; f == FINISH_NONE;) {
        view text;
        int32_t token;
        if (!CHECK(session_next(s, made_tok(), &text, &token, &a->logprobs[a->count], &f, &e), "%s", e.text)) break;
        a->ids[a->count++] = token;
    }
    session_free(s);
}

static bool same(const struct answer *got, const struct answer *want)
{
    return got->count == want->count && memcmp(got->ids, want->ids, want->count * sizeof *want->ids) == 0 &&
           memcmp(got->logprobs, want->logprobs, want->count * sizeof *want->logprobs) == 0;
}

static struct hearth_request request_of(size_t i, size_t prompt_tok)
{
    return (struct hearth_request){ .head.id = i + 1,
                                    .sampling = sampling_of(i, i % 3 == 0 ? 0.0f : 0.9f),
                                    .prompt_tok = (uint32_t)prompt_tok,
                                    .max_tok = (uint32_t)made_tok(),
                                    .logprobs = 1 };
}

static const struct batch_row {
    const char *says;
    struct hearth_settings set;
    size_t first, each; /* requests before the loop; requests after each step */
} batch_rows[] = {
    { "one after the other", { .ctx_tok = 512, .kv = KV_F16 }, PROMPTS, 0 },
    { "sixteen at once", { .ctx_tok = 512, .kv = KV_F16, .sequences = 16 }, PROMPTS, 0 },
    { "sixteen on three threads", { .ctx_tok = 512, .kv = KV_F16, .sequences = 16, .threads = 3 }, PROMPTS, 0 },
    { "as they come, in small chunks", { .ctx_tok = 512, .kv = KV_F16, .sequences = 5, .chunk_tok = 7 }, 1, 1 },
    { "with pages for two only", { .ctx_tok = 512, .kv = KV_F16, .sequences = 16, .cache_tok = 1024 }, PROMPTS, 0 },
    { "another tier", { .ctx_tok = 512, .kv = KV_F16, .sequences = 3, .tier = "ref" }, PROMPTS, 0 },
};

static void batches(void)
{
    for (size_t r = 0; r < sizeof batch_rows / sizeof *batch_rows; r++) {
        const struct batch_row *row = &batch_rows[r];
        static struct answer answers[PROMPTS];
        memset(answers, 0, sizeof answers);
        hearth *h = begin(row->set);
        if (h == NULL) continue;
        int32_t ids[ANSWER_MAX];
        size_t count, sent = 0;
        for (bool working = true; working || sent < PROMPTS;) {
            size_t now = sent == 0 ? row->first : row->each;
            for (size_t i = 0; i < now && sent < PROMPTS; i++, sent++) {
                prompt_of(sent, ids, &count);
                CHECK(ask(h, request_of(sent, count), ids), "%s: request %zu is taken", row->says, sent);
            }
            working = hearth_work(h);
            hear(h, answers);
        }
        for (size_t i = 0; i < PROMPTS; i++)
            CHECK(answers[i].done && same(&answers[i], &wanted[i]) && answers[i].end.made_tok == wanted[i].count,
                  "%s: answer %zu, %zu tokens of %zu, error '%s'", row->says, i, answers[i].count, wanted[i].count,
                  answers[i].error.text);
        hearth_stop(h);
    }
}

/* ---- what else a request can be ---- */

static void choices(void)
{
    static struct answer answers[8], alone[1];
    int32_t ids[ANSWER_MAX];
    size_t count;
    prompt_of(13, ids, &count);
    struct hearth_request r = request_of(0, count);
    r.sampling.temperature = 1.0f;
    r.n = 5;
    hearth *h = begin((struct hearth_settings){ .ctx_tok = 512, .kv = KV_F16, .sequences = 3 });
    if (h == NULL) return;
    ask(h, r, ids);
    run(h, answers);
    for (uint32_t c = 0; c < 5; c++) {
        memset(alone, 0, sizeof alone);
        r.n = 1;
        r.sampling.seed = c;
        ask(h, r, ids);
        run(h, alone);
        CHECK(answers[c].done && same(&answers[c], alone), "choice %u is what its own seed gives", c);
        CHECK(alone->end.cached_tok == count - 1, "the prompt is at hand by then: %u of %zu", alone->end.cached_tok,
              count);
    }
    CHECK(!same(&answers[0], &answers[1]), "another seed, another answer");
    r.tenant = 9;
    memset(alone, 0, sizeof alone);
    ask(h, r, ids);
    run(h, alone);
    CHECK(alone->end.cached_tok == 0 && same(alone, &answers[4]), "another tenant shares nothing, and gets the same");
    hearth_stop(h);
}

/* The first token that differs is told where a page or more of what is kept can not be used, and only then. */
static void differs(void)
{
    enum { LONG = 200, PAGE = 64 };
    static const struct {
        const char *says;
        size_t at; /* that differs from the prompt before; LONG: none */
        size_t count;
        uint64_t tenant;
        bool told;
    } rows[] = {
        { "the same prompt", LONG, LONG, 3, false },
        { "one that carries it on", LONG, LONG + 40, 3, false },
        { "another token in the middle", 100, LONG, 3, true },
        { "a page before the end", LONG - PAGE, LONG, 3, true },
        { "less than a page before the end", LONG - PAGE + 1, LONG, 3, false },
        { "from the first token on", 0, LONG, 3, false },
        { "of another tenant", 100, LONG, 4, false },
    };
    int32_t ids[ANSWER_MAX];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static struct answer got[2];
        hearth *h = begin((struct hearth_settings){ .ctx_tok = 512, .kv = KV_F16 });
        if (h == NULL) return;
        memset(got, 0, sizeof got);
        for (size_t j = 0; j < LONG + 40; j++) ids[j] = (int32_t)(260 + j * 17 % 200);
        for (uint64_t turn = 0; turn < 2; turn++) {
            struct hearth_request r = request_of(0, turn == 0 ? LONG : rows[i].count);
            r.head.id = turn + 1;
            r.max_tok = 1;
            r.tenant = turn == 0 ? 3 : rows[i].tenant;
            if (turn == 1 && rows[i].at < LONG) ids[rows[i].at] = 259;
            ask(h, r, ids);
            run(h, got);
        }
        const struct hearth_differs *d = &got[1].differs;
        CHECK(got[0].differs.head.id == 0 && got[1].done, "%s: the first has nothing to differ from", rows[i].says);
        CHECK((d->head.id == 2) == rows[i].told, "%s: %s", rows[i].says, rows[i].told ? "told" : "not told");
        int32_t was = (int32_t)(260 + d->at * 17 % 200);
        CHECK(!rows[i].told || (d->at == rows[i].at && d->asked == 259 && d->kept == was && d->kept_tok == LONG),
              "%s: token %u is %d, was %d, of %u", rows[i].says, d->at, d->asked, d->kept, d->kept_tok);
        hearth_stop(h);
    }
}

/* An answer that is carried on from any of its tokens is the same answer. */
static void carried(void)
{
    static struct answer got[1];
    hearth *h = begin((struct hearth_settings){ .ctx_tok = 512, .kv = KV_F16 });
    int32_t ids[ANSWER_MAX];
    size_t count;
    if (h == NULL) return;
    for (size_t at = 1; at < wanted[7].count; at += 9) {
        prompt_of(7, ids, &count);
        memcpy(ids + count, wanted[7].ids, at * sizeof *ids);
        struct hearth_request r = request_of(7, count + at);
        r.head.id = 1;
        r.answer_tok = (uint32_t)at;
        memset(got, 0, sizeof got);
        got->count = at;
        memcpy(got->ids, wanted[7].ids, at * sizeof *ids);
        memcpy(got->logprobs, wanted[7].logprobs, at * sizeof *got->logprobs);
        ask(h, r, ids);
        run(h, got);
        CHECK(same(got, &wanted[7]) && got->end.made_tok == wanted[7].count && got->end.prompt_tok == count,
              "carried on from token %zu: %zu tokens", at, got->count);
    }
    hearth_stop(h);
}

static void cancels(void)
{
    static struct answer answers[3];
    hearth *h = begin((struct hearth_settings){ .ctx_tok = 512, .kv = KV_F16, .sequences = 2, .chunk_tok = 16 });
    int32_t ids[ANSWER_MAX];
    size_t count;
    if (h == NULL) return;
    for (size_t i = 0; i < 3; i++) {
        prompt_of(i == 1 ? 15 : i, ids, &count);
        struct hearth_request r = request_of(i, count);
        if (i != 2) r.max_tok = 0;
        ask(h, r, ids);
    }
    for (int i = 0; i < 3; i++) hearth_work(h);
    struct hearth_head one = { .id = 1, .choice = HEARTH_ALL_CHOICES }, two = { .id = 2 }, none = { .id = 77 };
    hear(h, answers);
    size_t before = answers[0].count;
    CHECK(before > 0 && answers[1].count == 0 && answers[1].progress > 0, "one draws, one reads its prompt");
    CHECK(hearth_submit(h, HEARTH_CANCEL, &one, sizeof one) && hearth_submit(h, HEARTH_CANCEL, &two, sizeof two) &&
              hearth_submit(h, HEARTH_CANCEL, &none, sizeof none),
          "cancels are taken");
    hear(h, answers);
    CHECK(answers[0].done && answers[0].end.finish == HEARTH_CANCELLED && answers[0].count == before, "within a token");
    CHECK(answers[1].done && answers[1].end.finish == HEARTH_CANCELLED, "between chunks");
    run(h, answers);
    CHECK(same(&answers[2], &wanted[2]), "what waited gets its turn, and the bits of one that was alone");
    hearth_stop(h);
}

/* ---- what is refused ---- */

static const struct bad_row {
    const char *says;
    size_t at, bytes; /* of the request, replaced by: */
    uint64_t value;
    const char *error; /* NULL: no message at all */
} bad_rows[] = {
    { "no answers", offsetof(struct hearth_request, n), 4, 0, "answers: 0, allowed 1..64" },
    { "too many answers", offsetof(struct hearth_request, n), 4, 65, "answers: 65, allowed 1..64" },
    { "an unknown wish", offsetof(struct hearth_request, want), 4, 4, "kind of request" },
    { "too many rivals", offsetof(struct hearth_request, top_count), 4, 129, "rivals: 129, allowed 0..128" },
    { "rivals without log-probabilities", offsetof(struct hearth_request, logprobs), 8, (uint64_t)1 << 32,
      "rivals: 1, allowed 0..0" },
    { "a mask that is not there", offsetof(struct hearth_request, mask), 8, 5, "mask: no table 5" },
    { "an answer as long as the prompt", offsetof(struct hearth_request, answer_tok), 4, 5, "carried answer" },
    { "a temperature that is no number", offsetof(struct hearth_request, sampling.temperature), 4, 0x7FC00000,
      "--temp" },
    { "a token below the vocabulary", sizeof(struct hearth_request), 4, UINT32_MAX, "prompt: token 0 is -1" },
    { "a token above it", sizeof(struct hearth_request), 4, 512, "prompt: token 0 is 512" },
    { "another length of the prompt", offsetof(struct hearth_request, prompt_tok), 4, 6, NULL },
    { "a length that wraps", offsetof(struct hearth_request, prompt_tok), 4, UINT32_MAX, NULL },
    { "more breakers than tokens", offsetof(struct hearth_request, breaker_count), 4, 513, NULL },
    { "a reserved field", offsetof(struct hearth_request, zero), 4, 1, NULL },
    { "id 0", 0, 8, 0, NULL },
};

static void refused(void)
{
    hearth *h = begin((struct hearth_settings){ .ctx_tok = 512, .kv = KV_F16 });
    static struct answer answers[1];
    if (h == NULL) return;
    int32_t ids[5] = { 1, 300, 301, 302, 303 };
    for (size_t i = 0; i < sizeof bad_rows / sizeof *bad_rows; i++) {
        const struct bad_row *row = &bad_rows[i];
        uint8_t message[sizeof(struct hearth_request) + sizeof ids];
        struct hearth_request r = request_of(0, 5);
        r.n = r.weight = 1;
        memcpy(message, &r, sizeof r);
        memcpy(message + sizeof r, ids, sizeof ids);
        memcpy(message + row->at, &row->value, row->bytes);
        memset(answers, 0, sizeof answers);
        bool taken = hearth_submit(h, HEARTH_SUBMIT, message, sizeof message);
        run(h, answers);
        CHECK(taken == (row->error != NULL), "%s: taken %d", row->says, taken);
        if (row->error != NULL)
            CHECK(strstr(answers[0].error.text, row->error) != NULL, "%s: '%s'", row->says, answers[0].error.text);
    }
    struct hearth_head head = { .id = 1 };
    CHECK(!hearth_submit(h, 99, &head, sizeof head), "a kind that nobody knows");
    CHECK(!hearth_submit(h, HEARTH_CANCEL, &head, sizeof head - 1), "a head cut short");
    int32_t long_ids[513];
    for (size_t i = 0; i < 513; i++) long_ids[i] = 300;
    memset(answers, 0, sizeof answers);
    ask(h, request_of(0, 513), long_ids);
    run(h, answers);
    CHECK(strstr(answers[0].error.text, "prompt: 513 tokens, the context holds 512") != NULL, "'%s'",
          answers[0].error.text);
    memset(answers, 0, sizeof answers);
    ask(h, request_of(0, 512), long_ids);
    run(h, answers);
    CHECK(answers[0].end.finish == HEARTH_CONTEXT && answers[0].count == 0, "a prompt as long as the context");
    hearth_stop(h);
}

static void embeds(void)
{
    hearth *h = begin((struct hearth_settings){ .ctx_tok = 512, .kv = KV_F16, .chunk_tok = 64 });
    hearth *small = begin((struct hearth_settings){ .ctx_tok = 512, .kv = KV_F16, .chunk_tok = 3 });
    int32_t ids[ANSWER_MAX];
    size_t count, bytes;
    prompt_of(15, ids, &count);
    for (uint32_t want = HEARTH_EMBED_MEAN; want <= HEARTH_EMBED_FIRST; want++) {
        struct hearth_request r = request_of(0, count);
        float values[2][1024] = { { 0 } };
        r.want = want;
        for (int i = 0; i < 2; i++) {
            hearth *one = i == 0 ? h : small;
            ask(one, r, ids);
            while (hearth_work(one)) {}
            for (uint32_t kind; (kind = hearth_poll(one, event, &bytes)) != 0;)
                if (kind == HEARTH_EMBEDDING)
                    memcpy(values[i], event + sizeof(struct hearth_embedding), m.hyper.width * sizeof(float));
        }
        double length = 0;
        for (size_t i = 0; i < m.hyper.width; i++) length += (double)values[0][i] * (double)values[0][i];
        CHECK(fabs(length - 1) < 1e-5, "pooling %u: length %g", want, length);
        CHECK(memcmp(values[0], values[1], sizeof values[0]) == 0, "pooling %u: chunks of 64 and of 3 differ", want);
    }
    hearth_stop(h);
    hearth_stop(small);
}

int main(void)
{
    err e = { 0 };
    if (!check_model(path, sizeof path, "stories260K")) {
        check_skip("no reference model");
        return check_done();
    }
    if (!CHECK(kernels_bind(&k, NULL, &e) && team_new(&t, 1, NULL, 0, &e) && model_load(&m, path, t, NULL, NULL, &e),
               "%s", e.text))
        return check_done();
    for (size_t i = 0; i < PROMPTS; i++) session_answer(i);
    batches();
    choices();
    differs();
    carried();
    cancels();
    refused();
    embeds();
    model_free(&m);
    team_free(t);
    return check_done();
}
