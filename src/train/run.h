/* A training run: configuration, data, trainer, and the files of its folder.
 *
 *   FOLDER/last.check         the newest checkpoint; step-N.check every `keep` steps, for good
 *   FOLDER/run.log            a line a step that was logged: step, tokens, loss, held-out loss, norm, rate, weights'
 * hash
 *
 * A run that starts finds last.check and goes on; lines of the log behind it are dropped and come again, the same. */
#ifndef HEARTH_TRAIN_RUN_H
#define HEARTH_TRAIN_RUN_H

#include "model/model.h"
#include "train/checkpoint.h"
#include "train/corpus.h"

struct run {
    arena arena;
    view config_text;
    struct settings settings;
    model vocab;                /* the tokenizer's file: metadata and vocabulary */
    team *team;
    struct shard shard, held_out;
    struct stream stream, held_out_stream;
    double *passes, held_out_pass;
    struct run_identity id;
    struct layout layout;
    struct trainer trainer;
    int32_t *tok, *target, *starts; /* one step's input */
    uint8_t *token_bytes;           /* bytes each token reads as, 255 at most */
    size_t planned_bytes;           /* memory the trainer has planned */
    struct step_batch batch;
    const struct ranks *ranks;      /* set before run_open where there are several; NULL: alone */
};

/* Reads a configuration file and its vocabulary: what `hearth data` needs. Undo with run_close, also after an error. */
bool run_open_config(struct run *r, const char *config_path, err *e);

/* Opens the data and plans the trainer; weights are the first ones. tier NULL: the fastest. */
bool run_open(struct run *r, size_t threads, const char *tier, err *e);

/* Goes on from FOLDER/last.check if there is one (*found), else begins; the log is cut to the step it goes on from. */
bool run_resume(struct run *r, bool *found, err *e);
/* The weights alone, of the last checkpoint or of any checkpoint of this run; no file is touched. */
bool run_load_last(struct run *r, bool *found, err *e);
bool run_load(struct run *r, const char *checkpoint_path, err *e);

/* Ends with ERR_VALUE on every rank where they do not hold the same weights (a folder that is not shared, say). */
bool run_same_start(struct run *r, err *e);

bool run_step(struct run *r, struct step_result *out, err *e);
static inline bool run_done(const struct run *r)
{
    return r->trainer.step >= r->settings.optimizer.schedule.steps;
}

/* Held-out loss over at most `rows` rows, always the same ones: nats a token and bits a byte of what tokens read as. */
struct held_out_result {
    double loss, bits_per_byte;
    size_t targets, right;
};
bool run_held_out(struct run *r, size_t rows, struct held_out_result *out, err *e);

/* Greedy text after a prompt, with the weights of this moment: `count` tokens or until a turn or text ends. */
bool run_sample(struct run *r, view prompt, size_t count, char *room, size_t room_bytes, err *e);

/* The busiest and the idlest expert of the last microbatch, as multiples of an even share; 0, 0 where dense. */
void run_expert_load(const struct run *r, double *low, double *high);

bool run_checkpoint(struct run *r, bool keep, err *e);

/* Appends a line to the log; held_out may be NULL. */
bool run_log(struct run *r, const struct step_result *s, const struct held_out_result *held_out, err *e);

/* Replays the run from `from` (0, or a step that was kept) and compares the weights' hash with every line of the log up
 * to `to`. *compared counts them; *bad_step is the first that differs, 0 if none does. */
bool run_verify(struct run *r, const char *log_path, uint64_t from, uint64_t to, size_t *compared, uint64_t *bad_step,
                err *e);

void run_close(struct run *r);

#endif
