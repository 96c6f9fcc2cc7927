/* See card.h. */
#include "train/card.h"

#include "base/file.h"
#include "train/measure.h"
#include "train/page.h"
#include "train/tasks.h"

#include <sodium.h>

/* A file of the run, inside a code block: the manifest of sources, the log. */
static void put_file(struct page *p, view folder, const char *name, arena *a)
{
    char path[PATH_BYTES];
    err ignored = { 0 };
    view text;
    if (!path_join(folder, name, path, &ignored) || !file_read(path, p->size / 3, a, &text, &ignored)) {
        page_put(p, "(%s is not there)\n", name);
        return;
    }
    page_put(p, "```\n%.*s```\n", (int)text.len_bytes, (const char *)text.ptr);
}

static void put_model(struct page *p, const struct run *r)
{
    const struct shape *s = &r->layout.shape;
    page_put(p, "| | |\n| --- | --- |\n| parameters | %zu, of which a token meets %zu |\n", r->layout.values,
        r->layout.active_values);
    page_put(p, "| shape | %zu layers, width %zu, %zu query and %zu key/value heads of %zu, feed-forward %zu",
             s->layers, s->width, s->heads, s->kv_heads, s->head_dim, s->ffn_width);
    if (s->experts > 0)
        page_put(p, ", %zu experts, %zu for a token, gate of rank %zu", s->experts, s->top_k, s->gate_rank);
    page_put(p, " |\n| vocabulary | %zu tokens |\n| context | %zu tokens, trained on rows of %zu |\n", s->vocab,
             s->ctx_tok, r->settings.row_tok);
    page_put(p, "| training | %llu steps of %zu tokens, %.1f million in all, %.2f rounds through the data |\n",
        (unsigned long long)r->trainer.step, r->settings.step_tok,
        (double)r->trainer.step * (double)r->settings.step_tok * 1e-6,
        (double)r->trainer.step * (double)(r->settings.step_tok / r->settings.row_tok) / (double)r->stream.row_count);
    page_put(p, "| licence | %.*s |\n\n", (int)r->settings.licence.len_bytes, (const char *)r->settings.licence.ptr);
}

static void put_texts(struct page *p, const struct text_measure *texts, size_t count)
{
    page_put(p,
             "| held-out text | bytes | tokens | this model, bits a byte | a 5-gram model of the same training text |\n"
             "| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < count; i++)
        page_put(p, "| %.*s | %zu | %zu | %.3f | %.3f |\n", (int)texts[i].path.len_bytes,
                 (const char *)texts[i].path.ptr, texts[i].bytes, texts[i].tokens, texts[i].bits_per_byte,
                 texts[i].ngram_bits_per_byte);
}

/* A cell of a table: one line, no bar. */
static void put_cell(struct page *p, const char *text)
{
    for (; *text != 0; text++) page_put(p, "%s", *text == '\n' ? " " : *text == '|' ? "\\|" : (char[2]){ *text, 0 });
}

static void put_tasks(struct page *p, const struct task_measure *tasks, size_t count)
{
    page_put(p, "| task | questions | answers right | tokens of answers right | a miss | its right answer |\n"
           "| --- | --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < count; i++) {
        if (tasks[i].asked == 0) continue;
        page_put(p, "| %s | %zu | %.0f %% | %.1f %% | ", tasks[i].kind, tasks[i].asked,
            100.0 * (double)tasks[i].right / (double)tasks[i].asked,
            100.0 * (double)tasks[i].tokens_right / (double)tasks[i].tokens);
        put_cell(p, tasks[i].miss_question);
        page_put(p, " | ");
        put_cell(p, tasks[i].miss_answer);
        page_put(p, " |\n");
    }
}

static void put_overlap(struct page *p, const struct overlap_measure *o)
{
    page_put(
        p,
        "The begins (%zu tokens) of %zu training documents, continued greedily for %zu tokens: of what followed in "
        "the document %.1f tokens came again in the mean, %zu at most. The longest run of those continuations that "
        "stands anywhere in the training text has %zu tokens:\n\n```\n%s\n```\n\n",
        o->prompt_tok, o->prompts, o->made_tok, o->prompts > 0 ? (double)o->same_sum / (double)o->prompts : 0,
        o->same_max, o->run_max, o->run_text);
}

/* What only a measurement can say; some minutes of work. */
static bool put_measures(struct page *p, struct run *r, err *e)
{
    enum { QUESTIONS = 100, PROMPTS = 24 };
    size_t texts = r->settings.held_out_count;
    struct text_measure *text = ARENA_ARRAY(&r->arena, struct text_measure, texts, "measures", e);
    struct task_measure *task = ARENA_ARRAY(&r->arena, struct task_measure, task_kinds(), "measures", e);
    struct overlap_measure *overlap = ARENA_ARRAY(&r->arena, struct overlap_measure, 1, "measures", e);
    if (text == NULL || task == NULL || overlap == NULL || !measure_texts(r, text, e) ||
        !measure_tasks(r, QUESTIONS, task, e) || !measure_overlap(r, PROMPTS, overlap, e)) return false;
    page_put(
        p, "## Texts it must not know\n\nPublic-domain novels and a part of a domain that was kept out of the training "
           "text (paragraphs that stand in both were removed). Every byte counts.\n\n");
    put_texts(p, text, texts);
    page_put(p, "\n## Tasks\n\nQuestions of the test side, which training never drew; their ranges are fixed in "
           "src/train/tasks.c. An answer is right when all of it is, decoded greedily.\n\n");
    put_tasks(p, task, task_kinds());
    page_put(p, "\n## By heart\n\n");
    put_overlap(p, overlap);
    return true;
}

bool card_write(struct run *r, const char *path, err *e)
{
    struct page p;
    struct held_out_result held;
    char hex[65];
    uint8_t weights[WEIGHT_HASH_BYTES];
    size_t mark = r->arena.used_bytes;
    if (!page_open(&p, 1 << 22, "card", &r->arena, e) || !run_held_out(r, 512, &held, e)) return false;
    weights_hash(&r->trainer, weights);
    sodium_bin2hex(hex, sizeof hex, weights, sizeof weights);
    page_put(&p, "# %.*s\n\n", (int)r->settings.name.len_bytes, (const char *)r->settings.name.ptr);
    put_model(&p, r);
    bool measured = put_measures(&p, r, e);
    page_put(&p,
        "## Held-out documents of the sources\n\nLoss %.4f nats a token, %.4f bits a byte, %.1f %% of %zu targets "
        "right.\n\nWeights (f32): "
        "BLAKE2b-256 "
        "%s\n\n## Make it again\n\n```\ntools/gather\nhearth data CONFIG\nhearth train CONFIG\nhearth train CONFIG "
        "--verify "
        "run.log --from 0\n```\n\nwith this configuration:\n\n```\n%.*s```\n\n## Data\n\n",
        held.loss, held.bits_per_byte, 100.0 * (double)held.right / (double)held.targets, held.targets, hex,
        (int)r->config_text.len_bytes, (const char *)r->config_text.ptr);
    put_file(&p, r->settings.shards, "manifest.tsv", &r->arena);
    page_put(&p, "\nWhere each source comes from, and its licence (`tools/gather`):\n\n");
    put_file(&p, r->settings.shards, "sources.tsv", &r->arena);
    page_put(&p, "\n## Log\n\n");
    put_file(&p, r->settings.folder, "run.log", &r->arena);
    bool good = measured && page_write(&p, path, e);
    arena_rewind(&r->arena, mark);
    return good;
}
