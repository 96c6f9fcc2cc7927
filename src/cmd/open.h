/* From what was typed to a model that can compute: finding the file, the options that every computing command takes,
 * threads, kernels, loading with progress, and the memory plan. */
#ifndef HEARTH_CMD_OPEN_H
#define HEARTH_CMD_OPEN_H

#include "cache/measure.h"
#include "cmd/options.h"
#include "engine/session.h"
#include "hearth.h"
#include "kernels/bind.h"
#include "model/model.h"

enum { PATH_BYTES_MAX = 4096 };
/* Addresses, not memory: a text of TEXT_BYTES_MAX, its ids and what is made of them. */
#define COMMAND_ARENA_BYTES ((size_t)64 * TEXT_BYTES_MAX)

/* Options of every command that computes. */
struct compute_options {
    size_t threads; /* 0: the processors this process may use */
    const char *cpu, *activations, *kv;
    const char *cpus; /* processors to pin threads to, or NULL: "0,2-3" */
    size_t chunk, ctx, memory; /* 0: see session_settings; all memory that is free */
};
struct option_group compute_group(struct compute_options *values);

/* What an engine in a process of its own is told of them. Errors: ERR_VALUE, --cpus is no
 * list; ERR_UNSUPPORTED, --kv is a measuring tier. */
bool compute_settings(const struct compute_options *c, struct hearth_settings *out, struct team_cpus *cpus, err *e);

/* Options of every command that draws tokens. */
struct draw_options {
    uint64_t seed;
    float temperature, top_p, min_p, typical_p;
    float repeat_penalty, presence_penalty, frequency_penalty;
    float dry_multiplier, dry_base;
    size_t top_k, penalty_window, dry_allowed;
    struct texts bias; /* TOKEN=VALUE */
    struct texts stops;
};
struct option_group draw_group(struct draw_options *values);

/* The file that a word stands for: a path, a name in the model folder, or, with NULL, the model that ships.
 * Errors: ERR_MISSING, one line that says how to give one. */
bool model_find(const char *word, char path[static PATH_BYTES_MAX], err *e);

/* Where models lie by name: $HEARTH_MODELS, else ~/.local/share/hearth/models; false where neither is known. */
bool model_folder(char folder[static PATH_BYTES_MAX]);

/* The processors this process may run on: in a container they are fewer than the machine has. */
size_t threads_default(void);

/* What a command computes with. All zeros is closed. */
struct opened {
    char path[PATH_BYTES_MAX];
    struct kernels kernels;
    team *team;
    model model;
    arena arena;          /* for the command's own needs */
    bool activations_f32; /* --activations f32 */
    enum kv_type kv;
    enum kv_method method; /* a measuring tier over f32: KV_METHODS where it is none */
};
bool open_model(struct opened *o, const char *word, const struct compute_options *c, err *e);
void close_model(struct opened *o);

/* A whole text or list of ids: a file, or "-" for standard input. */
bool text_read(const char *path, arena *a, view *out, err *e);

/* Ids separated by white space; every one in 0..vocab-1. Errors: ERR_VALUE naming the word and its number. */
bool ids_parse(view text, size_t vocab, arena *a, int32_t **out, size_t *count, err *e);

/* Ids of a text, from the arena. */
bool ids_of_text(const tokenizer *t, view text, bool special, arena *a, int32_t **out, size_t *count, err *e);

/* Ids of a text as a prompt: BOS where the model asks for one and the text does not begin with it already. */
bool ids_of_prompt(const tokenizer *t, view text, bool special, arena *a, int32_t **out, size_t *count, err *e);

#endif
