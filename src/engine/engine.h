/* Continuous batching: any number of requests in order of arrival, computed side by side in one step loop. The messages
 * and what holds of them are include/hearth.h's; this is what a process or a program runs behind them.
 *
 *   engine_take    a message in: checked, copied into the queue
 *   engine_step    admits what waits and fits, computes one batch, draws, and emits what became of it
 *
 *   sequences   | tokens: prompt . . . answer . . |      kv: computed so far, at most the tokens' count
 *                  idle ones keep what they computed: the next request that begins so takes it over or copies it
 *   a step      one token of every sequence that draws, then chunks of prompts, oldest first, up to chunk_tok
 *
 * Nothing is admitted that could run out of pages: its longest end is reserved when it starts. All memory is taken from
 * the caller's arena by engine_new; after that no function here allocates or makes a system call but futex (the team's).
 * Files: engine.c the loop, request.c what may be asked, sequences.c who gets which pages, draw.c tokens and events. */
#ifndef HEARTH_ENGINE_ENGINE_H
#define HEARTH_ENGINE_ENGINE_H

#include "hearth.h"

#include "kernels/bind.h"
#include "model/model.h"

typedef struct engine engine;

/* One event, to be copied at once. */
typedef void engine_emit(void *arg, uint32_t kind, view event);

/* Bytes that engine_new takes from its arena under these settings, a context of 0 read as the planned one. Errors:
 * ERR_LIMIT, ERR_MEMORY (what set->memory_bytes leaves beside the weights is not enough: both numbers). */
bool engine_plan_bytes(const model *m, size_t threads, const struct hearth_settings *set, size_t *out, err *e);

/* Plans and takes all memory, and emits HEARTH_LOADED. Keys and values are taken from `pages`, which may be `a`. `m`, `k`, `t` and the arena's memory outlive the engine, which
 * is never freed by itself. A model without vocabulary is fine. Errors: ERR_LIMIT, ERR_VALUE, ERR_MEMORY. */
bool engine_new(engine **out, const model *m, const struct kernels *k, team *t, const struct hearth_settings *set,
                arena *a, arena *pages, engine_emit *emit, void *arg, err *e);

/* A message of enum hearth_request_kind. What is wrong with a request is told by an event; false where the bytes are no
 * message at all: then `e` says why, and whoever sent it is broken. */
bool engine_take(engine *en, uint32_t kind, view message, err *e);

/* One step. False where there was nothing to do. */
bool engine_step(engine *en);

#endif
