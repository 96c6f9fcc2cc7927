/* A whole run in a folder of its own: data, training, killed at random moments and resumed, the log replayed, a planted
 * change found, the model written; then what is refused, and that a refusal loses nothing. */
#include "train/card.h"
#include "train/curves.h"
#include "train/export.h"
#include "train/vocabulary.h"

#include "base/file.h"
#include "base/prng.h"
#include "check.h"
#include "format/gguf_write.h"
#include "model/graph.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[256];

static const char *in(const char *name)
{
    static char rooms[8][512];
    static size_t next;
    char *room = rooms[next++ % 8];
    snprintf(room, sizeof rooms[0], "%s/%s", folder, name);
    return room;
}

/* 256 bytes and three control tokens, no merges. The byte-level alphabet: printable Latin-1 stands for itself, the
 * others for code points from 256 on, in order. */
static bool write_vocabulary(const char *path, size_t extra, err *e)
{
    enum { BYTES = 256, MAX = BYTES + 16 };
    static char texts[MAX][32];
    static const char *const control[] = { "<|endoftext|>", "<|im_start|>", "<|im_end|>" };
    view views[MAX];
    int32_t kinds[MAX];
    arena a = { 0 };
    size_t n = 0, shifted = 0;
    for (; n < BYTES; n++) {
        bool plain = (n >= 33 && n <= 126) || (n >= 161 && n <= 172) || n >= 174;
        uint32_t code = plain ? (uint32_t)n : (uint32_t)(256 + shifted++);
        size_t len = 0;
        if (code >= 128) texts[n][len++] = (char)(0xC0 | code >> 6);
        texts[n][len++] = code >= 128 ? (char)(0x80 | (code & 63)) : (char)code;
        kinds[n] = TOKEN_NORMAL;
    }
    for (size_t i = 0; i < 3 + extra; i++, n++) {
        snprintf(texts[n], sizeof texts[n], i < 3 ? "%s" : "<|extra|>", control[i < 3 ? i : 0]);
        kinds[n] = TOKEN_CONTROL;
    }
    for (size_t i = 0; i < n; i++) views[i] = view_of(texts[i]);
    gguf_plan plan;
    gguf_out out;
    bool good = arena_new(&a, 1 << 24, e) && gguf_plan_new(&plan, 16, 1, &a, e) &&
                gguf_set_str(&plan, "general.architecture", view_of("qwen3"), e) &&
                gguf_set_str(&plan, "tokenizer.ggml.model", view_of("gpt2"), e) &&
                gguf_set_str(&plan, "tokenizer.ggml.pre", view_of("qwen2"), e) &&
                gguf_set_strings(&plan, "tokenizer.ggml.tokens", views, n, e) &&
                gguf_set_i32s(&plan, "tokenizer.ggml.token_type", kinds, n, e) &&
                gguf_set_strings(&plan, "tokenizer.ggml.merges", views, 0, e) &&
                gguf_set_u32(&plan, "tokenizer.ggml.bos_token_id", 256, e) &&
                gguf_set_u32(&plan, "tokenizer.ggml.eos_token_id", 258, e) && gguf_out_open(&out, path, &plan, e) &&
                gguf_out_close(&out, e);
    arena_free(&a);
    return good;
}

static bool write_text(const char *path, const char *text, err *e)
{
    view v = view_of(text);
    return file_write(path, &v, 1, e);
}

static const char CONFIG[] =
    "[model]\nname = Toy\nwidth = 32\nlayers = 2\nheads = 2\nkv_heads = 1\nhead_dim = 16\nffn_width = 32\n"
    "experts = 4\ntop_k = 2\ngate_rank = 4\ncontext = 64\n"
    "[data]\ntokenizer = %s/vocab.gguf\nshards = %s/shards\nsource = 1.5 %s/a.txt\nsource = 1 %s/b.jsonl\n"
    "held_out = %s/secret.txt\nheld_out_share = 0.2\ntasks = 40\n"
    "[train]\nrow_tok = 32\nmicro_rows = 2\nstep_tok = 192\nsteps = %d\nwarmup = 2\ndecay = 4\ngoldfish = 4\nseed = 7\n"
    "[run]\nfolder = %s/%s\ncheckpoint = 1\nkeep = 4\nlog = 2\neval = 5\n";

static bool write_config(const char *name, const char *run, int steps, err *e)
{
    char text[4096];
    snprintf(text, sizeof text, CONFIG, folder, folder, folder, folder, folder, steps, folder, run);
    return write_text(in(name), text, e);
}

static bool write_inputs(err *e)
{
    static char text[60000];
    size_t n = 0;
    for (uint64_t i = 0; i < 40; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "\fbook/page %d\n", (int)i);
        for (uint64_t p = 0; p < 4; p++) {
            for (uint64_t w = 0; w < 12; w++)
                n += (size_t)snprintf(text + n, sizeof text - n, "word%u ", prng_u32(1, i * 4 + p, w) % 50);
            n += (size_t)snprintf(text + n, sizeof text - n, "\n\n");
        }
        if (i == 3)
            n += (size_t)snprintf(text + n, sizeof text - n,
                                  "This sentence stands in the secret file, and so it must "
                                  "never be learnt by anybody.\n\n");
        if (i % 2 == 0)
            n += (size_t)snprintf(text + n, sizeof text - n, "A paragraph that stands on every second page.\n\n");
    }
    if (!write_text(in("a.txt"), text, e)) return false;
    if (!write_text(in("b.jsonl"), "{\"text\": \"one line of text that is no chat at all\"}\n"
                                   "{\"id\": \"x\", \"messages\": [{\"role\": \"user\", \"content\": \"hello\"}, "
                                   "{\"role\": \"assistant\", \"content\": \"good day\"}]}\n", e)) return false;
    if (!write_text(in("secret.txt"), "THIS sentence -- stands in the secret file;\nand so it must never be learnt", e))
        return false;
    mkdir(in("shards"), 0777);
    return write_vocabulary(in("vocab.gguf"), 0, e) && write_config("toy.conf", "run", 12, e);
}

static bool open_run(struct run *r, const char *config, size_t threads, const char *tier, err *e)
{
    return run_open_config(r, in(config), e) && run_open(r, threads, tier, e);
}

/* ---- data ---- */

static void test_data(void)
{
    struct run r;
    struct corpus_report a, b;
    err e = { 0 };
    if (!CHECK(run_open_config(&r, in("toy.conf"), &e), "%s", e.text)) return;
    CHECK(corpus_make(&r.settings, r.vocab.tokenizer, NULL, NULL, &r.arena, &a, &e), "%s", e.text);
    CHECK(corpus_make(&r.settings, r.vocab.tokenizer, NULL, NULL, &r.arena, &b, &e), "%s", e.text);
    CHECK(memcmp(a.train_hash, b.train_hash, SHARD_HASH_BYTES) == 0, "the same texts gave another shard");
    CHECK(a.parts[0].counts.leaked == 1, "leaked paragraphs: %zu, want 1", a.parts[0].counts.leaked);
    CHECK(a.parts[0].counts.exact == 19, "repeated paragraphs: %zu, want 19", a.parts[0].counts.exact);
    CHECK(a.parts[2].counts.documents == 40, "tasks: %zu, want 40", a.parts[2].counts.documents);
    CHECK(a.documents + a.held_out_documents == 40 + 2 + 40 && a.held_out_documents > 0, "%zu + %zu documents",
          a.documents, a.held_out_documents);
    run_close(&r);
}

/* ---- training ---- */

static bool train(struct run *r, err *e)
{
    bool found;
    struct step_result s;
    struct held_out_result held;
    if (!run_resume(r, &found, e)) return false;
    while (!run_done(r)) {
        if (!run_step(r, &s, e)) return false;
        bool measured = r->trainer.step % r->settings.eval_steps == 0;
        if (measured && !run_held_out(r, 8, &held, e)) return false;
        if (r->trainer.step % r->settings.log_steps == 0 && !run_log(r, &s, measured ? &held : NULL, e)) return false;
        if (r->trainer.step % r->settings.keep_steps == 0 && !run_checkpoint(r, true, e)) return false;
        if (!run_checkpoint(r, false, e)) return false;
    }
    return true;
}

static void final_hash(const char *config, size_t threads, const char *tier, uint8_t out[WEIGHT_HASH_BYTES])
{
    struct run r;
    err e = { 0 };
    CHECK(open_run(&r, config, threads, tier, &e) && train(&r, &e), "%s: %s", config, e.text);
    weights_hash(&r.trainer, out);
    run_close(&r);
}

enum { KILL_STEPS = 150 };

/* A child trains until it is killed; the parent waits a random time. Whatever it was doing, the next one goes on. */
static void test_kills(void)
{
    uint8_t want[WEIGHT_HASH_BYTES], got[WEIGHT_HASH_BYTES];
    err e = { 0 };
    size_t kills = 0;
    CHECK(write_config("whole.conf", "whole", KILL_STEPS, &e) && write_config("killed.conf", "killed", KILL_STEPS, &e),
          "%s", e.text);
    final_hash("whole.conf", 1, NULL, want);
    for (size_t i = 0; kills < 20 && i < 200; i++) {
        pid_t child = fork();
        if (child == 0) {
            struct run r;
            err ce = { 0 };
            _exit(open_run(&r, "killed.conf", 1 + i % 2, NULL, &ce) && train(&r, &ce) ? 0 : 1);
        }
        usleep(prng_u32(3, 1, i) % 30000);
        kill(child, SIGKILL);
        int status;
        waitpid(child, &status, 0);
        kills += WIFSIGNALED(status);
        CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "a resumed run failed");
    }
    final_hash("killed.conf", 1, NULL, got);
    CHECK(memcmp(want, got, sizeof got) == 0, "killed %zu times, the weights differ", kills);
    view a = { 0 }, b = { 0 };
    CHECK(file_map(in("whole/run.log"), &a, &e) && file_map(in("killed/run.log"), &b, &e) && view_equal(a, b),
          "killed %zu times, the log differs", kills);
    file_unmap(&a);
    file_unmap(&b);
    printf("killed %zu times\n", kills);
}

static void verify(const char *says, const char *log, uint64_t from, uint64_t want_bad)
{
    struct run r;
    err e = { 0 };
    size_t compared = 0;
    uint64_t bad = 99;
    CHECK(open_run(&r, "toy.conf", 2, NULL, &e) && run_verify(&r, log, from, UINT64_MAX, &compared, &bad, &e) &&
              bad == want_bad, "%s: first bad step %d, want %d; %s", says, (int)bad, (int)want_bad, e.text);
    run_close(&r);
}

/* One bit of one hash in the log: the character after it. */
static void plant(const char *from, const char *to, const char *line, err *e)
{
    arena a = { 0 };
    view log;
    if (!arena_new(&a, 1 << 20, e) || !file_read(from, 1 << 20, &a, &log, e)) return;
    uint8_t *at = memmem(log.ptr, log.len_bytes, line, strlen(line));
    uint8_t *end = memchr(at + 1, '\n', log.len_bytes - (size_t)(at + 1 - log.ptr));
    end[-1] = end[-1] == '0' ? '1' : (uint8_t)(end[-1] == 'a' ? 'b' : '0' + ((end[-1] & 7) ^ 1));
    (void)file_write(to, &log, 1, e);
    arena_free(&a);
}

static void test_verify(void)
{
    err e = { 0 };
    verify("from the first step", in("run/run.log"), 0, 0);
    verify("from a checkpoint that was kept", in("run/run.log"), 4, 0);
    plant(in("run/run.log"), in("planted.log"), "\n8\t", &e);
    CHECK(e.code == ERR_NONE, "%s", e.text);
    verify("a change at step 8", in("planted.log"), 0, 8);
    verify("a change at step 8, from step 4", in("planted.log"), 4, 8);
    struct run r;
    size_t compared;
    uint64_t bad;
    CHECK(open_run(&r, "toy.conf", 1, NULL, &e) &&
              !run_verify(&r, in("run/run.log"), 12, UINT64_MAX, &compared, &bad, &e) && e.code != ERR_NONE,
          "nothing to compare after the last step: %s", e.text);
    run_close(&r);
}

/* ---- export ---- */

enum { SAME_TOK = 32 };

/* The inference room's logits of the exported f32 file, as losses: the sum of -log p(next token). */
static double graph_loss(const model *m, team *t, const int32_t *tok, const int32_t *target, err *e)
{
    struct kernels k;
    struct graph_settings set = { .chunk_tok = SAME_TOK, .logit_rows = SAME_TOK, .ctx_tok = SAME_TOK,
                                  .activations_f32 = true };
    struct step_token step[SAME_TOK];
    graph *g = NULL;
    kv_seq seq = { 0 };
    kv_pool pool = { 0 };
    arena a = { 0 };
    double loss = 0;
    const struct hyper *h = &m->hyper;
    struct kv_shape shape = { KV_F32, h->layers, h->kv_heads, h->key_dim, h->value_dim, 1, 0 };
    if (!arena_new(&a, 1 << 20, e) || !kernels_bind(&k, NULL, e) || !kv_pool_new(&pool, &shape, 1, &a, e) ||
        !kv_seq_new(&seq, &pool, PAGE_TOK, &a, e) || !graph_new(&g, m, &k, t, &set, e)) return -1;
    for (size_t i = 0; i < SAME_TOK; i++) step[i] = (struct step_token){ &seq, tok[i], true };
    if (!graph_step(g, step, SAME_TOK, e)) return -1;
    for (size_t i = 0; i < SAME_TOK; i++) {
        const float *x = graph_logits(g, i);
        double top = (double)x[0], sum = 0;
        for (size_t j = 1; j < m->hyper.vocab; j++) top = (double)x[j] > top ? (double)x[j] : top;
        for (size_t j = 0; j < m->hyper.vocab; j++) sum += exp((double)x[j] - top);
        if (target[i] >= 0) loss += top + log(sum) - (double)x[target[i]];
    }
    graph_free(g);
    kv_pool_free(&pool);
    arena_free(&a);
    return loss;
}

/* One row as one document, by the trainer and by the inference room. */
static void test_same_model(struct run *r)
{
    err e = { 0 };
    model m = { 0 };
    team *t = NULL;
    for (size_t i = 0; i < SAME_TOK; i++) {
        r->tok[i] = (int32_t)(prng_u32(4, 1, i) % 256);
        r->target[i] = (int32_t)(prng_u32(4, 2, i) % 256);
        r->starts[i] = 0;
    }
    struct batch b = { 1, SAME_TOK, r->tok, r->target, r->starts };
    struct batch_result want = net_run(&r->trainer.net, &b, r->trainer.params, NULL, 0, 0);
    if (!CHECK(team_new(&t, 1, NULL, 0, &e) && model_load(&m, in("toy.gguf"), t, NULL, NULL, &e), "%s", e.text)) return;
    double got = graph_loss(&m, t, r->tok, r->target, &e);
    CHECK(fabs(got - want.loss) < 1e-4 * want.loss, "loss of a row: %.6f by the graph, %.6f by the trainer; %s", got,
          want.loss, e.text);
    model_free(&m);
    team_free(t);
}

static void test_export(void)
{
    struct run r;
    err e = { 0 };
    bool found;
    gguf_files files = { 0 };
    arena a = { 0 };
    if (!CHECK(open_run(&r, "toy.conf", 1, NULL, &e) && run_load_last(&r, &found, &e) && found, "%s", e.text)) return;
    CHECK(export_gguf(&r, in("toy.gguf"), WEIGHT_F32, &e), "%s", e.text);
    CHECK(export_gguf(&r, in("toy-q8.gguf"), WEIGHT_Q8_0, &e), "%s", e.text);
    test_same_model(&r);
    char sample[128];
    CHECK(run_sample(&r, view_of("word1 "), 8, sample, sizeof sample, &e), "%s", e.text);
    CHECK(strlen(sample) <= 8 * 8, "a sample of eight tokens: %s", sample);
    double low, high;
    run_expert_load(&r, &low, &high);
    CHECK(low >= 0 && low <= 1 && high >= 1 && high <= 4, "load of four experts: %.2f to %.2f", low, high);
    const char *log = in("run/run.log"), *legend = "toy";
    CHECK(curves_write(in("toy.svg"), &log, &legend, 1, &r.arena, &e), "%s", e.text);
    CHECK(!curves_write(in("none.svg"), &(const char *){ in("vocab.gguf") }, &legend, 1, &r.arena, &e) &&
              access(in("none.svg"), F_OK) != 0, "a log without steps: %s", e.text);
    e = (err){ 0 };
    CHECK(card_write(&r, in("toy.md"), &e), "%s", e.text);
    CHECK(!export_gguf(&r, in("toy-q4k.gguf"), WEIGHT_Q4_K, &e) && access(in("toy-q4k.gguf"), F_OK) != 0,
          "rows of 32 are no block of 256: %s", e.text);
    e = (err){ 0 };
    if (!CHECK(arena_new(&a, 1 << 24, &e) && gguf_open(in("toy.gguf"), &a, &files, &e), "%s", e.text)) return;
    const gguf_tensor *up = gguf_tensor_find(&files.dir, "blk.1.ffn_up_exps.weight");
    if (CHECK(up != NULL && up->dims[0] == 32 && up->dims[1] == 32 && up->dims[2] == 4, "experts' tensor")) {
        const struct tensor *t = layout_find(&r.layout, TENSOR_GATE_UP, 1);
        /* Expert 2, row 5 of up: in ours the rows of gate stand before those of up. */
        const real *want = r.trainer.params + t->offset + (2 * 64 + 32 + 5) * 32;
        CHECK(memcmp(gguf_tensor_bytes(&files, up).ptr + (2 * 32 + 5) * 32 * 4, want, 32 * 4) == 0, "rows of experts");
    }
    CHECK(gguf_tensor_find(&files.dir, "output.weight") == NULL, "a tied model has no output tensor");
    view name;
    CHECK(gguf_str(&files.dir, "general.name", GGUF_REQUIRED, &name, &e) && view_is(name, "Toy"), "%s", e.text);
    gguf_close(&files);
    model m = { 0 };
    team *t = NULL;
    CHECK(team_new(&t, 1, NULL, 0, &e) && model_load(&m, in("toy-q8.gguf"), t, NULL, NULL, &e), "%s", e.text);
    model_free(&m);
    team_free(t);
    arena_free(&a);
    run_close(&r);
}

/* ---- refusals ---- */

static void flip(const char *from, const char *to, size_t at, err *e)
{
    arena a = { 0 };
    view v;
    if (arena_new(&a, 1 << 26, e) && file_read(from, 1 << 26, &a, &v, e)) {
        ((uint8_t *)(uintptr_t)v.ptr)[at < v.len_bytes ? at : v.len_bytes - 1] ^= 1;
        (void)file_write(to, &v, 1, e);
    }
    arena_free(&a);
}

static void refused_checkpoint(const char *says, const char *config, const char *checkpoint, const char *part)
{
    struct run r;
    err e = { 0 };
    CHECK(open_run(&r, config, 1, NULL, &e) && !run_load(&r, checkpoint, &e) && strstr(e.text, part) != NULL,
          "%s: \"%s\"", says, e.text);
    run_close(&r);
}

static void refused_config(const char *says, const char *config, const char *part)
{
    struct run r;
    err e = { 0 };
    bool good = open_run(&r, config, 1, NULL, &e);
    CHECK(!good && strstr(e.text, part) != NULL, "%s: \"%s\"", says, e.text);
    run_close(&r);
}

static void refused_data(const char *says, const char *content, size_t len, const char *part)
{
    struct run r;
    err e = { 0 };
    struct corpus_report report;
    CHECK(file_write(in("a.txt"), &(view){ (const uint8_t *)content, len }, 1, &e), "%s", e.text);
    CHECK(run_open_config(&r, in("toy.conf"), &e) &&
              !corpus_make(&r.settings, r.vocab.tokenizer, NULL, NULL, &r.arena, &report, &e) &&
              strstr(e.text, part) != NULL, "%s: \"%s\"", says, e.text);
    run_close(&r);
}

static bool replace_text(const char *name, const char *from, const char *to, err *e)
{
    arena a = { 0 };
    view text;
    char room[8192];
    bool good = arena_new(&a, 1 << 20, e) && file_read(in(name), sizeof room - 1, &a, &text, e);
    if (good) {
        memcpy(room, text.ptr, text.len_bytes);
        room[text.len_bytes] = 0;
        char *at = strstr(room, from);
        good = at != NULL && strlen(from) == strlen(to);
        if (good) memcpy(at, to, strlen(to));
        good = good && write_text(in(name), room, e);
    }
    arena_free(&a);
    return good;
}

static void test_refusals(void)
{
    err e = { 0 };
    CHECK(write_config("longer.conf", "longer", 13, &e), "%s", e.text);
    refused_checkpoint("a longer run than the one whose rate has begun to fall", "longer.conf", in("run/last.check"),
                       "falls from step 8");
    CHECK(write_config("other.conf", "other", 12, &e) && replace_text("other.conf", "seed = 7", "seed = 8", &e), "%s",
          e.text);
    refused_checkpoint("a checkpoint of another configuration", "other.conf", in("run/last.check"),
                       "another configuration");
    struct run longer;
    CHECK(open_run(&longer, "longer.conf", 1, NULL, &e) && run_load(&longer, in("run/step-8.check"), &e) &&
              longer.trainer.step == 8, "before the rate falls a run may become longer: %s", e.text);
    run_close(&longer);
    for (size_t at = 0; at < 100000; at += 9999) {
        flip(in("run/last.check"), in("bad.check"), at, &e);
        refused_checkpoint("a flipped bit", "toy.conf", in("bad.check"), "");
    }
    CHECK(truncate(in("bad.check"), 5000) == 0, "truncate");
    refused_checkpoint("a checkpoint cut short", "toy.conf", in("bad.check"), "");
    refused_checkpoint("no file", "toy.conf", in("none.check"), "none.check");
    CHECK(write_text(in("typo.conf"), "[model]\nwidht = 3\n", &e), "%s", e.text);
    refused_config("an unknown key", "typo.conf", "line 2: unknown key widht in [model]; the nearest is width");
    CHECK(rename(in("vocab.gguf"), in("old.gguf")) == 0 && write_vocabulary(in("vocab.gguf"), 1, &e), "%s", e.text);
    refused_config("shards of another vocabulary", "toy.conf", "another vocabulary");
    CHECK(rename(in("old.gguf"), in("vocab.gguf")) == 0, "rename");
    flip(in("shards/train.shard"), in("shards/train.shard"), 900, &e);
    refused_config("a damaged shard", "toy.conf", "damaged");
    refused_data("an empty text", "", 0, "a.txt");
    refused_data("blanks alone", " \n\n \n", 5, "no document is left");
    refused_data("bytes that are no UTF-8", "\xff\xfe\x00\x01", 4, "no document is left");
}

/* A disk that is full in the middle of a checkpoint: the last good one stays. A limit on files' sizes stands for it. */
static void test_full_disk(void)
{
    struct run r;
    err e = { 0 };
    bool found = false;
    struct rlimit was, tight = { 5000, RLIM_INFINITY };
    CHECK(open_run(&r, "toy.conf", 1, NULL, &e) && run_load_last(&r, &found, &e) && found, "%s", e.text);
    if (!CHECK(getrlimit(RLIMIT_FSIZE, &was) == 0, "a limit")) return;
    tight.rlim_max = was.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &tight) == 0, "a limit");
    CHECK(!run_checkpoint(&r, false, &e) && e.code == ERR_IO, "a full disk: \"%s\"", e.text);
    CHECK(setrlimit(RLIMIT_FSIZE, &was) == 0, "a limit");
    signal(SIGXFSZ, SIG_DFL);
    e = (err){ 0 };
    CHECK(run_load(&r, in("run/last.check"), &e), "the checkpoint before it: %s", e.text);
    run_close(&r);
}

/* Texts too small for what is asked of them. */
static void test_small_texts(void)
{
    err e = { 0 };
    arena a = { 0 };
    view text;
    struct settings s;
    struct vocabulary_report report;
    CHECK(write_config("small.conf", "small", 12, &e) && arena_new(&a, 1 << 28, &e) &&
              file_read(in("small.conf"), 1 << 20, &a, &text, &e) && settings_read(text, &a, &s, &e), "%s", e.text);
    s.vocab = 100000;
    CHECK(!vocabulary_make(&s, NULL, &a, &report, &e) && e.code == ERR_VALUE && strstr(e.text, "support") != NULL,
          "a vocabulary larger than its text supports: \"%s\"", e.text);
    arena_free(&a);
    e = (err){ 0 };
    struct run r;
    CHECK(open_run(&r, "toy.conf", 1, NULL, &e), "%s", e.text);
    struct stream tiny;
    CHECK(!stream_make(&tiny, &r.shard, r.passes, r.settings.source_count + 1, 1 << 24, 1, &r.arena, &e) &&
              strstr(e.text, "less than one row") != NULL, "text shorter than a context: \"%s\"", e.text);
    run_close(&r);
}

int main(void)
{
    err e = { 0 };
    uint8_t want[WEIGHT_HASH_BYTES], got[WEIGHT_HASH_BYTES];
    snprintf(folder, sizeof folder, "%s/hearth-run-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    if (mkdtemp(folder) == NULL || !CHECK(write_inputs(&e), "%s", e.text)) return 1;
    test_data();
    final_hash("toy.conf", 1, NULL, want);
    CHECK(write_config("ref.conf", "ref", 12, &e), "%s", e.text);
    final_hash("ref.conf", 3, "ref", got);
    CHECK(memcmp(want, got, sizeof want) == 0, "the definition on three threads gave other weights");
    test_kills();
    test_verify();
    test_export();
    test_full_disk();
    test_small_texts();
    test_refusals();
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0) return 1;
    return check_done();
}
