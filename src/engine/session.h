/* engine/ drives the graph: sequences, chunks, the loop that makes tokens, stop strings, whole characters. It knows
 * nothing of files, terminals or sockets. One session is one conversation on one sequence.
 *
 * (The submit-and-poll engine behind include/hearth.h with batches of sessions grows from here.) */
#ifndef HEARTH_ENGINE_SESSION_H
#define HEARTH_ENGINE_SESSION_H

#include "model/graph.h"
#include "model/sample.h"

struct session_settings {
    size_t ctx_tok;       /* 0: the model's, at most 8,192 */
    size_t chunk_tok;     /* 0: 512 */
    enum kv_type kv;
    bool activations_f32;
    struct sample_settings sample;
    const view *stops;    /* texts that end an answer; they are not part of it */
    size_t stop_count;
};

enum finish { FINISH_NONE, FINISH_END, FINISH_STOP, FINISH_LENGTH, FINISH_CONTEXT, FINISH_CANCELLED };
const char *finish_name(enum finish f); /* "stop" for END and STOP, "length", "context", "cancelled" */

typedef struct session session;

/* Every setting is checked and all memory planned here: nothing later allocates. Errors: ERR_MISSING (a model without
 * a vocabulary), ERR_LIMIT, ERR_VALUE, ERR_MEMORY. `m`, `k` and `t` must outlive the session; the rest is copied. */
bool session_new(session **out, const model *m, const struct kernels *k, team *t, const struct session_settings *s,
                 err *e);
void session_free(session *s); /* NULL is fine */

/* Bytes that session_new will plan beside the weights: cache, graph and tables. Errors: ERR_LIMIT. */
bool session_plan_bytes(const model *m, const struct session_settings *s, size_t threads, size_t *out, err *e);

/* Called between chunks of a prompt and between tokens; false cancels. May be NULL. */
typedef bool session_tick(void *arg, size_t done_tok, size_t all_tok);

/* Appends tokens to the conversation and computes those whose positions are not in the cache yet. After it the
 * sequence holds exactly `ids` (the longest common prefix with what it held is kept, the rest forgotten and computed).
 * Errors: ERR_LIMIT (longer than the context: both numbers), ERR_VALUE, ERR_CANCELLED (what was computed stays). */
bool session_prompt(session *s, const int32_t *ids, size_t count, session_tick *tick, void *arg, err *e);

/* How many tokens the last session_prompt took from the cache and how many it computed. */
struct prompt_stats {
    size_t cached_tok, computed_tok;
};
struct prompt_stats session_prompt_stats(const session *s);

/* One more token of the answer. `text` receives bytes that are final: whole characters, nothing that may still become
 * part of a stop text; it may be empty and is valid until the next call. A control token reads as nothing and is a
 * border: what was held before it comes out with it, so text and control tokens keep their order. *finish is
 * FINISH_NONE while there is more to come; the call that finishes also delivers the held back rest. `max_tok` 0: up to
 * the context. */
bool session_next(session *s, size_t max_tok, view *text, int32_t *token, float *logprob, enum finish *finish, err *e);

/* Draws from now on belong to another seed: the same prompt answered anew. */
void session_seed(session *s, uint64_t seed);

/* Who hears of the experts that are chosen: see graph_watch. */
void session_watch(session *s, expert_watch *watch, void *arg);

/* Forgets the whole conversation. */
void session_clear(session *s);

/* Starts a new answer at the end of the conversation (resets counters, held text and stop matching). */
void session_begin_answer(session *s);

/* Ends an answer that goes on; gives the text that was held back, whole characters only, valid until the next call. */
view session_cancel(session *s);

/* Every token of the conversation so far. */
const int32_t *session_tokens(const session *s, size_t *count);
const graph *session_graph(const session *s);
size_t session_ctx_tok(const session *s);

#endif
