/* See run.h. */
#include "train/run.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONFIG_BYTES_MAX = 1 << 20, LOG_BYTES_MAX = 1 << 30 };

/* ---- opening ---- */

bool run_open_config(struct run *r, const char *config_path, err *e)
{
    *r = (struct run){ 0 };
    char path[PATH_BYTES];
    /* Addresses only, memory comes when it is touched: 256 GiB hold any model that one machine trains. */
    if (!arena_new(&r->arena, (size_t)1 << 38, e)) return false;
    arena_huge(&r->arena); /* weights, moments and activations are walked end to end */
    if (!file_read(config_path, CONFIG_BYTES_MAX, &r->arena, &r->config_text, e)) return false;
    if (!settings_read(r->config_text, &r->arena, &r->settings, e)) {
        err_prefix(e, config_path);
        return false;
    }
    if (!path_join(r->settings.tokenizer, "", path, e) || !model_load_vocab(&r->vocab, path, e)) return false;
    if (r->vocab.tokenizer == NULL) return fail(e, ERR_MISSING, ERR_NO_OFFSET, "%s: no vocabulary in it", path);
    r->settings.shape.vocab = tokenizer_count(r->vocab.tokenizer);
    return true;
}

static bool measure_tokens(struct run *r, err *e)
{
    size_t count = r->settings.shape.vocab;
    r->token_bytes = ARENA_ARRAY(&r->arena, uint8_t, count, "token lengths", e);
    if (r->token_bytes == NULL) return false;
    for (size_t id = 0; id < count; id++) {
        uint8_t room[TOKEN_BYTES_MAX];
        size_t len;
        if (!tokenizer_piece(r->vocab.tokenizer, (int32_t)id, false, room, &len, e)) return false;
        r->token_bytes[id] = (uint8_t)min_size(len, UINT8_MAX);
    }
    return true;
}

static bool open_data(struct run *r, err *e)
{
    const struct settings *s = &r->settings;
    char path[PATH_BYTES];
    uint8_t vocab[SHARD_HASH_BYTES];
    vocab_hash(r->vocab.tokenizer, vocab);
    if (!path_join(s->shards, "train.shard", path, e) ||
        !shard_open(path, vocab, s->shape.vocab, &r->arena, &r->shard, e)) return false;
    if (!path_join(s->shards, "held-out.shard", path, e) ||
        !shard_open(path, vocab, s->shape.vocab, &r->arena, &r->held_out, e)) return false;
    size_t sources = s->source_count + 1;
    r->passes = ARENA_ARRAY(&r->arena, double, 2 * sources, "passes", e);
    if (r->passes == NULL) return false;
    for (size_t i = 0; i < sources; i++) {
        r->passes[i] = i < s->source_count ? s->sources[i].passes : 1;
        r->passes[sources + i] = 1;
    }
    memcpy(r->id.settings, s->hash, sizeof r->id.settings);
    memcpy(r->id.shard, r->shard.hash, sizeof r->id.shard);
    return stream_make(&r->stream, &r->shard, r->passes, sources, s->row_tok, s->seed, &r->arena, e) &&
           stream_make(&r->held_out_stream, &r->held_out, r->passes + sources, sources, s->row_tok, 1, &r->arena, e);
}

bool run_open(struct run *r, size_t threads, const char *tier, err *e)
{
    const struct settings *s = &r->settings;
    const struct gemm_kernels *gemm = gemm_tier(tier);
    const struct ops *ops = ops_tier(tier);
    if (gemm == NULL || ops == NULL)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "cpu tier: %s is not one this CPU trains with", tier);
    if (!measure_tokens(r, e) || !open_data(r, e) || !team_new(&r->team, threads, NULL, 0, e)) return false;
    if (!layout_make(&s->shape, &r->arena, &r->layout, e)) return false;
    size_t mark = r->arena.used_bytes, tokens = s->step_tok;
    if (!trainer_make(&r->trainer, &r->layout, &s->optimizer, settings_micro(s), s->micro_rows * s->row_tok, s->row_tok,
                      gemm, ops, r->team, &r->arena, e)) return false;
    r->trainer.ranks = r->ranks;
    if (r->ranks != NULL && !trainer_deals(r->ranks, settings_micro(s), e)) return false;
    r->planned_bytes = r->arena.used_bytes - mark;
    r->tok = ARENA_ARRAY(&r->arena, int32_t, tokens, "batch", e);
    r->target = ARENA_ARRAY(&r->arena, int32_t, tokens, "batch", e);
    r->starts = ARENA_ARRAY(&r->arena, int32_t, tokens, "batch", e);
    if (r->tok == NULL || r->target == NULL || r->starts == NULL) return false;
    r->batch = (struct step_batch){ settings_micro(s), s->micro_rows, s->row_tok, r->tok, r->target, r->starts };
    return true;
}

void run_close(struct run *r)
{
    team_free(r->team);
    shard_close(&r->shard);
    shard_close(&r->held_out);
    model_free(&r->vocab);
    arena_free(&r->arena);
    *r = (struct run){ 0 };
}

/* ---- steps ---- */

bool run_same_start(struct run *r, err *e)
{
    struct { uint8_t hash[WEIGHT_HASH_BYTES]; uint64_t step; } *all;
    if (r->ranks == NULL || r->ranks->count == 1) return true;
    size_t mark = r->arena.used_bytes, mine = r->ranks->rank;
    if ((all = arena_take(&r->arena, r->ranks->count, sizeof *all, 8, "ranks", e)) == NULL) return false;
    weights_hash(&r->trainer, all[mine].hash);
    all[mine].step = r->trainer.step;
    bool good = ranks_gather(r->ranks, all, sizeof *all, e);
    for (size_t i = 0; i < r->ranks->count && good; i++)
        if (memcmp(&all[i], &all[mine], sizeof *all) != 0)
            good = fail(e, ERR_VALUE, ERR_NO_OFFSET, "rank %zu is at step %llu, rank %zu at %llu with other weights: "
                        "do they share the folder?", mine, (unsigned long long)all[mine].step, i,
                        (unsigned long long)all[i].step);
    arena_rewind(&r->arena, mark);
    return good;
}

bool run_step(struct run *r, struct step_result *out, err *e)
{
    const struct settings *s = &r->settings;
    size_t rows = s->step_tok / s->row_tok;
    for (size_t i = 0; i < rows; i++) {
        size_t at = i * s->row_tok;
        stream_row(&r->stream, r->trainer.step * rows + i, s->goldfish, r->tok + at, r->target + at, r->starts + at);
    }
    return trainer_step(&r->trainer, &r->batch, out, e);
}

bool run_held_out(struct run *r, size_t rows, struct held_out_result *out, err *e)
{
    const struct settings *s = &r->settings;
    size_t tokens = s->micro_rows * s->row_tok, bytes = 0;
    double nats = 0;
    *out = (struct held_out_result){ 0 };
    rows = min_size(rows, r->held_out_stream.row_count);
    for (size_t row = 0; row + s->micro_rows <= max_size(rows, s->micro_rows); row += s->micro_rows) {
        for (size_t i = 0; i < s->micro_rows; i++) {
            size_t at = i * s->row_tok;
            stream_row(&r->held_out_stream, row + i, 0, r->tok + at, r->target + at, r->starts + at);
        }
        struct batch b = { s->micro_rows, s->row_tok, r->tok, r->target, r->starts };
        struct batch_result result = net_run(&r->trainer.net, &b, r->trainer.params, NULL, 0, 0);
        nats += result.loss;
        out->targets += result.targets;
        out->right += result.right;
        for (size_t t = 0; t < tokens; t++)
            if (r->target[t] >= 0) bytes += r->token_bytes[r->target[t]];
    }
    if (out->targets == 0 || bytes == 0) return fail(e, ERR_VALUE, ERR_NO_OFFSET, "held-out data: no target in it");
    out->loss = nats / (double)out->targets;
    out->bits_per_byte = nats / 0.69314718055994531 / (double)bytes;
    return true;
}

/* ---- what can be seen on the way ---- */

/* The network has no cache of keys: every token is a pass over the whole row. Samples are short and rare. */
bool run_sample(struct run *r, view prompt, size_t count, char *room, size_t room_bytes, err *e)
{
    enum { SAMPLE_TOK = 96 };
    size_t have, out_len = 0, row = min_size(SAMPLE_TOK, r->settings.row_tok), mark = r->arena.used_bytes;
    if (!tokenizer_encode(r->vocab.tokenizer, prompt, true, r->tok, row, &have, &r->arena, e)) return false;
    arena_rewind(&r->arena, mark);
    room[0] = 0;
    for (size_t made = 0; made < count && have > 0 && have < row; made++) {
        for (size_t t = 0; t < have; t++) {
            r->target[t] = t + 1 == have ? 0 : -1;
            r->starts[t] = 0;
        }
        struct batch b = { 1, have, r->tok, r->target, r->starts };
        (void)net_run(&r->trainer.net, &b, r->trainer.params, NULL, 0, 0);
        int32_t next = r->trainer.net.best[have - 1];
        uint8_t bytes[TOKEN_BYTES_MAX];
        size_t len;
        if (tokenizer_kind(r->vocab.tokenizer, next) == TOKEN_CONTROL) break;
        if (!tokenizer_piece(r->vocab.tokenizer, next, false, bytes, &len, e)) return false;
        if (out_len + len + 1 > room_bytes) break;
        memcpy(room + out_len, bytes, len);
        room[out_len += len] = 0;
        r->tok[have++] = next;
    }
    return true;
}

void run_expert_load(const struct run *r, double *low, double *high)
{
    const struct shape *s = &r->layout.shape;
    *low = *high = 0;
    for (size_t layer = 0; layer < s->layers && s->experts > 0; layer++) {
        for (size_t x = 0; x < s->experts; x++) {
            double share = (double)r->trainer.net.layers[layer].load[x] * (double)s->experts;
            if ((layer == 0 && x == 0) || share < *low) *low = share;
            if (share > *high) *high = share;
        }
    }
}

/* ---- checkpoints ---- */

static bool make_folder(const struct run *r, err *e)
{
    char path[PATH_BYTES];
    if (!path_join(r->settings.folder, "", path, e)) return false;
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return true;
    return fail(e, ERR_IO, ERR_NO_OFFSET, "%s: %s", path, strerror(errno));
}

bool run_checkpoint(struct run *r, bool keep, err *e)
{
    char path[PATH_BYTES], name[64];
    snprintf(name, sizeof name, "step-%llu.check", (unsigned long long)r->trainer.step);
    return make_folder(r, e) && path_join(r->settings.folder, keep ? name : "last.check", path, e) &&
           checkpoint_write(path, &r->id, &r->trainer, e);
}

/* Keeps the log's lines up to the step that was loaded: the others come again. */
static bool trim_log(struct run *r, err *e)
{
    char path[PATH_BYTES];
    view text;
    size_t mark = r->arena.used_bytes, keep = 0;
    if (!path_join(r->settings.folder, "run.log", path, e)) return false;
    if (access(path, F_OK) != 0) return true;
    if (!file_read(path, LOG_BYTES_MAX, &r->arena, &text, e)) return false;
    for (view rest = text; rest.len_bytes > 0;) {
        const uint8_t *end = memchr(rest.ptr, '\n', rest.len_bytes);
        if (end == NULL) break; /* a line that was being written when the run was killed */
        uint64_t step = 0;
        for (const uint8_t *at = rest.ptr; at < end && *at >= '0' && *at <= '9'; at++) step = step * 10 + (*at - '0');
        if (rest.ptr[0] != '#' && step > r->trainer.step) break;
        rest = view_after(rest, (size_t)(end + 1 - rest.ptr));
        keep = text.len_bytes - rest.len_bytes;
    }
    bool good = keep == text.len_bytes || file_write(path, &(view){ text.ptr, keep }, 1, e);
    arena_rewind(&r->arena, mark);
    return good;
}

bool run_load(struct run *r, const char *checkpoint_path, err *e)
{
    return checkpoint_read(checkpoint_path, &r->id, &r->trainer, e);
}

bool run_load_last(struct run *r, bool *found, err *e)
{
    char path[PATH_BYTES];
    if (!path_join(r->settings.folder, "last.check", path, e)) return false;
    *found = access(path, F_OK) == 0;
    return !*found || run_load(r, path, e);
}

bool run_resume(struct run *r, bool *found, err *e)
{
    if (!run_load_last(r, found, e)) return false;
    if (!*found) layout_init(&r->layout, r->trainer.params, r->settings.seed);
    if (!run_same_start(r, e)) return false;
    return (r->ranks != NULL && r->ranks->rank > 0) || trim_log(r, e);
}

/* ---- log ---- */

static bool append(const char *path, const char *text, err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    size_t len = strlen(text);
    bool good = fd >= 0 && write(fd, text, len) == (ssize_t)len;
    if (fd >= 0) good = close(fd) == 0 && good;
    return good || fail(e, ERR_IO, ERR_NO_OFFSET, "%s: %s", path, strerror(errno));
}

static bool begin_log(const struct run *r, const char *path, err *e)
{
    char hex[2][2 * SHARD_HASH_BYTES + 1], line[1024];
    if (access(path, F_OK) == 0) return true;
    sodium_bin2hex(hex[0], sizeof hex[0], r->id.settings, SETTINGS_HASH_BYTES);
    sodium_bin2hex(hex[1], sizeof hex[1], r->id.shard, SHARD_HASH_BYTES);
    snprintf(line, sizeof line, "# hearth training log 1\n# settings %s\n# data %s\n"
             "# step\ttokens\tloss\theld-out loss\theld-out bits per byte\tnorm\trate\tweights\n", hex[0], hex[1]);
    return append(path, line, e);
}

bool run_log(struct run *r, const struct step_result *s, const struct held_out_result *held_out, err *e)
{
    char path[PATH_BYTES], hex[2 * WEIGHT_HASH_BYTES + 1], line[512], held[64] = "-\t-";
    uint8_t hash[WEIGHT_HASH_BYTES];
    weights_hash(&r->trainer, hash);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    if (held_out != NULL) snprintf(held, sizeof held, "%.5f\t%.5f", held_out->loss, held_out->bits_per_byte);
    snprintf(line, sizeof line, "%llu\t%llu\t%.5f\t%s\t%.4f\t%.6g\t%s\n", (unsigned long long)r->trainer.step,
             (unsigned long long)(r->trainer.step * r->settings.step_tok), s->loss, held, s->grad_norm, s->rate, hex);
    return make_folder(r, e) && path_join(r->settings.folder, "run.log", path, e) && begin_log(r, path, e) &&
           append(path, line, e);
}

/* The step and the hash of a log's line; false for comments and lines that are none. */
static bool read_line(view line, uint64_t *step, uint8_t hash[WEIGHT_HASH_BYTES])
{
    size_t hex_at = line.len_bytes, bin_len;
    if (line.len_bytes == 0 || line.ptr[0] < '0' || line.ptr[0] > '9') return false;
    *step = 0;
    for (size_t i = 0; i < line.len_bytes && line.ptr[i] >= '0' && line.ptr[i] <= '9'; i++)
        *step = *step * 10 + (line.ptr[i] - '0');
    while (hex_at > 0 && line.ptr[hex_at - 1] != '\t') hex_at--;
    return sodium_hex2bin(hash, WEIGHT_HASH_BYTES, (const char *)line.ptr + hex_at, line.len_bytes - hex_at, NULL,
                          &bin_len, NULL) == 0 &&
           bin_len == WEIGHT_HASH_BYTES;
}

static bool verify_lines(struct run *r, view log, uint64_t to, size_t *compared, uint64_t *bad_step, err *e)
{
    while (log.len_bytes > 0 && *bad_step == 0) {
        const uint8_t *end = memchr(log.ptr, '\n', log.len_bytes);
        view line = { log.ptr, end == NULL ? log.len_bytes : (size_t)(end - log.ptr) };
        log = view_after(log, line.len_bytes + 1);
        uint64_t step;
        uint8_t want[WEIGHT_HASH_BYTES], got[WEIGHT_HASH_BYTES];
        if (!read_line(line, &step, want) || step <= r->trainer.step || step > to) continue;
        struct step_result s;
        while (r->trainer.step < step)
            if (!run_step(r, &s, e)) return false;
        weights_hash(&r->trainer, got);
        ++*compared;
        if (memcmp(want, got, sizeof want) != 0) *bad_step = step;
    }
    return true;
}

bool run_verify(struct run *r, const char *log_path, uint64_t from, uint64_t to, size_t *compared, uint64_t *bad_step,
                err *e)
{
    char path[PATH_BYTES], name[64];
    view log;
    *compared = 0;
    *bad_step = 0;
    snprintf(name, sizeof name, "step-%llu.check", (unsigned long long)from);
    if (from == 0) layout_init(&r->layout, r->trainer.params, r->settings.seed);
    else if (!path_join(r->settings.folder, name, path, e) || !run_load(r, path, e)) return false;
    if (!file_read(log_path, LOG_BYTES_MAX, &r->arena, &log, e)) return false;
    if (!verify_lines(r, log, to, compared, bad_step, e)) return false;
    if (*compared == 0)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: no line between steps %llu and %llu", log_path,
                    (unsigned long long)from, (unsigned long long)to);
    return true;
}
