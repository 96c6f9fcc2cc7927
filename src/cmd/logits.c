/* hearth logits: the raw scores of every next token after every position of a list of ids, and the hash of them. Equal
 * hashes are the project's promise: any threads, chunks, tiers and machines give the same. */
#include "cmd/out.h"
#include "cmd/rows.h"

#include "base/checked.h"
#include "base/le.h"

#include <sodium.h>
#include <stdio.h>

struct logits_options {
    const char *tokens, *out;
    bool json;
};

static const struct option ROWS[] = {
    { "--tokens", "FILE", OPTION_TEXT, offsetof(struct logits_options, tokens), 0, 0, NULL, NULL,
      "ids between white space, as they are; - is the input" },
    { "--out", "FILE", OPTION_TEXT, offsetof(struct logits_options, out), 0, 0, NULL, NULL,
      "f32, little-endian, a row of the vocabulary a position" },
    { "--json", NULL, OPTION_FLAG, offsetof(struct logits_options, json), 0, 0, NULL, NULL, "one object" },
};

struct sink {
    struct out_file file;
    bool to_file;
    crypto_hash_sha256_state hash;
    uint8_t *bytes; /* one row as it is stored */
    size_t vocab, all;
    struct progress progress;
};

static bool sink_rows(void *arg, const graph *g, size_t first, size_t count, err *e)
{
    struct sink *sink = arg;
    for (size_t row = 0; row < count; row++) {
        const float *logits = graph_logits(g, row);
        for (size_t i = 0; i < sink->vocab; i++) le_put_f32(sink->bytes + 4 * i, logits[i]);
        crypto_hash_sha256_update(&sink->hash, sink->bytes, 4 * sink->vocab);
        if (sink->to_file && !out_write(&sink->file, sink->bytes, 4 * sink->vocab, e)) return false;
    }
    progress_show(&sink->progress, first + count, sink->all);
    return true;
}

static bool sink_ids(struct opened *o, const struct compute_options *c, const int32_t *ids, size_t count,
                     struct sink *sink, err *e)
{
    struct rows rows = { 0 };
    sink->vocab = o->model.hyper.vocab;
    sink->all = count;
    sink->bytes = ARENA_ARRAY(&o->arena, uint8_t, 4 * sink->vocab, "row", e);
    /* The context is part of what is computed (rope factor sets), so without --ctx it is exactly the ids. */
    bool good = sink->bytes != NULL && rows_new(&rows, o, max_size(c->ctx, count), c->chunk, e) &&
                rows_compute(&rows, ids, count, 0, sink_rows, sink, e);
    rows_free(&rows);
    progress_end(&sink->progress);
    return good;
}

static void print_hash(const struct sink *sink, const uint8_t *hash, bool json)
{
    char hex[2 * crypto_hash_sha256_BYTES + 1];
    sodium_bin2hex(hex, sizeof hex, hash, crypto_hash_sha256_BYTES);
    if (json) printf("{\"sha256\": \"%s\", \"positions\": %zu, \"vocab\": %zu}\n", hex, sink->all, sink->vocab);
    else printf("sha256 %s\n", hex);
}

static bool logits(struct opened *o, const struct compute_options *c, const struct logits_options *set, err *e)
{
    struct sink sink = { .file.fd = -1, .to_file = set->out != NULL, .progress.what = "computing" };
    view text;
    int32_t *ids;
    size_t count;
    if (sodium_init() < 0) return fail(e, ERR_STATE, ERR_NO_OFFSET, "libsodium: can not start");
    if (!text_read(set->tokens, &o->arena, &text, e)) return false;
    if (!ids_parse(text, o->model.hyper.vocab, &o->arena, &ids, &count, e)) {
        err_prefix(e, set->tokens);
        return false;
    }
    if (count < 1) return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: no token ids, at least 1 is needed", set->tokens);
    if (c->ctx > 0 && c->ctx < count)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "%s: %zu token ids, --ctx allows %zu", set->tokens, count, c->ctx);
    if (sink.to_file && !out_begin(&sink.file, set->out, e)) return false;
    crypto_hash_sha256_init(&sink.hash);
    if (!sink_ids(o, c, ids, count, &sink, e)) {
        out_abandon(&sink.file);
        return false;
    }
    if (sink.to_file && !out_end(&sink.file, e)) return false;
    uint8_t hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(&sink.hash, hash);
    print_hash(&sink, hash, set->json);
    return true;
}

int cmd_logits(int argc, char **argv)
{
    struct logits_options set = { 0 };
    struct compute_options compute = { 0 };
    struct command_line line = { .command = "logits",
                                 .usage = "MODEL --tokens FILE [--out FILE]",
                                 .words_max = 1,
                                 .about =
                                     "Raw scores of every next token, and their hash: the same everywhere.",
                                 .groups = { { ROWS, sizeof ROWS / sizeof *ROWS, &set }, compute_group(&compute) } };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    if (set.tokens == NULL) {
        say("logits: --tokens: no file given, expected ids separated by white space");
        return EXIT_USAGE;
    }
    struct opened o = { 0 };
    err e = { 0 };
    bool good = open_model(&o, line.words[0], &compute, &e) && logits(&o, &compute, &set, &e);
    close_model(&o);
    return good ? EXIT_GOOD : say_error(&e);
}
