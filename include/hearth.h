/* hearth.h: the engine, by messages. Whoever wants tokens submits a request and polls events; both are copied, nothing
 * is shared, so the same structs cross a function call (the functions at the end) and a ring between two processes
 * (base/ring.h, where `kind` is the message's number and the bytes are the struct and its tail).
 *
 *   client                                      engine
 *   HEARTH_SUBMIT  request, ids ... ----------> queue, in order of arrival
 *   HEARTH_CANCEL  head ----------------------> before its next token or chunk
 *                <---------- HEARTH_PROGRESS    chunks of the prompt
 *                <---------- HEARTH_TOKEN       one a token and choice
 *                <---------- HEARTH_FINISHED    one a choice, the last of it; or HEARTH_ERROR, one a request, the last
 *                <---------- HEARTH_EXPERTS     where settings.experts asks for it: one a layer with experts and step
 *                <---------- HEARTH_DIFFERS     before the first of a request: why less of a prefix is reused
 *
 *   HEARTH_KV_SAVE  ids ... -----------------> what is kept of them, as a byte stream (cache/save.h)
 *                <---------- HEARTH_KV_OPEN     how long it is; or HEARTH_ERROR
 *   HEARTH_KV_READ  at, bytes ---------------> HEARTH_KV_PIECE, in any order; HEARTH_KV_CLOSE lets it go
 *   HEARTH_KV_RESTORE  ids, the stream's head > HEARTH_KV_OPEN, or HEARTH_ERROR
 *   HEARTH_KV_WRITE  at, bytes --------------> no answer; in any order, every byte of the stream once
 *   HEARTH_KV_CLOSE --------------------------> HEARTH_KV_DONE: a request that begins with the ids finds them computed;
 *                                               or HEARTH_ERROR: nothing was taken
 *
 * The engine knows ids and no text: it has no vocabulary, no template, no clock and no file. Stop texts are looked for
 * where the text is (orchestrator/service.h), which then cancels; time limits and rates belong to whoever polls.
 *
 * What is computed is a function of the requests' parameters and the order in which requests and cancels were taken.
 * The bits of an answer are a function of its own request alone: never of neighbours, threads, chunks or prefixes found
 * in the cache. A cancel decides how far an answer gets, and nothing else.
 *
 * Layout: little-endian, no padding but named fields that must be 0, a tail of arrays behind the struct in the order of
 * their counts, nothing behind the tail. A message of another length, with a number out of range or a reserved field
 * that is not 0 is a broken peer: the engine ends, a client ends the engine. */
#ifndef HEARTH_H
#define HEARTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The version of docs/arithmetic.md that this program computes: another number where any result may differ by a bit.
 * It stands in `hearth --version`, in the facts of an engine, and in what saved sessions are bound to. */
enum { HEARTH_ARITHMETIC = 2 };

enum {
    HEARTH_STOP_TOKENS_MAX = 64,       /* tokens that end an answer */
    HEARTH_BIASES_MAX = 4096,          /* logit biases of one request */
    HEARTH_BREAKERS_MAX = 1 << 21,     /* DRY breakers: any part of a vocabulary */
    HEARTH_TOP_MAX = 128,              /* rivals told with one token */
    HEARTH_CHOICES_MAX = 64,           /* answers to one prompt */
    HEARTH_SEQUENCES_MAX = 1024,       /* sequences computed at once */
    HEARTH_QUEUE_MAX = 4096,           /* requests that wait or run */
    HEARTH_MASKS_MAX = 256,            /* mask tables held at once */
    HEARTH_MASK_BYTES_MAX = 1 << 23,   /* bytes of one table */
    HEARTH_REQUEST_BYTES_MAX = 1 << 24, /* bytes of one message to the engine */
    HEARTH_EVENT_BYTES_MAX = 1 << 20,  /* bytes of one event: an embedding of 2^17 values is the longest */
    HEARTH_KV_PIECE_BYTES = 1 << 18,   /* of a saved sequence in one message */
    HEARTH_KV_HEAD_BYTES = 64,         /* of its stream: checked before any block is taken */
    HEARTH_ERROR_TEXT_BYTES = 320
};

/* ---- to the engine ---- */

enum hearth_request_kind {
    HEARTH_SUBMIT = 1,    /* struct hearth_request and its tail */
    HEARTH_CANCEL = 2,    /* struct hearth_head; an id nobody knows is fine: it has just ended */
    HEARTH_MASK_LOAD = 3, /* struct hearth_mask and its bytes; answered by HEARTH_MASK_READY or HEARTH_ERROR */
    HEARTH_MASK_DROP = 4, /* struct hearth_head: the table goes once no request uses it */
    HEARTH_FORGET = 5,    /* struct hearth_head, id = tenant: cached prefixes of it are let go */
    HEARTH_KV_SAVE = 32,    /* struct hearth_kv and the ids */
    HEARTH_KV_RESTORE = 33, /* struct hearth_kv, the ids and HEARTH_KV_HEAD_BYTES */
    HEARTH_KV_READ = 34,    /* struct hearth_kv_piece */
    HEARTH_KV_WRITE = 35,   /* struct hearth_kv_piece and its bytes */
    HEARTH_KV_CLOSE = 36    /* struct hearth_head */
};

/* What every message begins with. */
struct hearth_head {
    uint64_t id;     /* of the request, chosen by the client, unique among those it has not seen the end of */
    uint32_t choice; /* 0..n-1; HEARTH_ALL_CHOICES in HEARTH_CANCEL: the whole request */
    uint32_t zero;
};
#define HEARTH_ALL_CHOICES UINT32_MAX

/* How tokens are drawn; ranges and order of the steps as model/sample.h. */
struct hearth_sampling {
    uint64_t seed;             /* choice i draws with seed + i, so each can be asked for alone */
    float temperature;         /* 0: the likeliest */
    float top_p, min_p, typical_p;
    float repetition_penalty, presence_penalty, frequency_penalty;
    float dry_multiplier, dry_base;
    uint32_t top_k;            /* 0: off */
    uint32_t penalty_window;   /* tokens that penalties look back */
    uint32_t dry_allowed;
};

enum hearth_want {
    HEARTH_GENERATE = 0,
    HEARTH_EMBED_MEAN = 1, /* one vector of length 1 from the final hidden states: HEARTH_EMBEDDING, then FINISHED */
    HEARTH_EMBED_LAST = 2,
    HEARTH_EMBED_FIRST = 3
};

/* Tail: int32_t ids[prompt_tok]; int32_t stop_tokens[stop_count]; struct hearth_bias biases[bias_count];
 * int32_t dry_breakers[breaker_count]. */
struct hearth_request {
    struct hearth_head head;    /* choice 0 */
    uint64_t tenant;            /* prefixes in the cache are shared among requests of one tenant, never between two */
    uint64_t mask;              /* a table that is ready: only tokens it allows are drawn; 0: none */
    struct hearth_sampling sampling;
    uint32_t want;              /* enum hearth_want */
    uint32_t prompt_tok;        /* 1.. the context */
    uint32_t answer_tok;        /* the last so many of the ids are an answer that is carried on: draws, penalties, the
                                   mask and max_tok go on as if they had been drawn here. For n = 1. After a crash an
                                   answer goes on so, with the same bits. Below prompt_tok */
    uint32_t max_tok;           /* tokens of one answer at most; 0: up to the context */
    uint32_t n;                 /* 1..HEARTH_CHOICES_MAX answers; the prompt is computed once */
    uint32_t logprobs;          /* 1: tokens come with their log-probability */
    uint32_t top_count;         /* and with so many rivals: 0..HEARTH_TOP_MAX; needs logprobs */
    uint32_t stop_count, bias_count, breaker_count;
    uint32_t weight;            /* shares of work this tenant gets beside others: 1..1000 */
    uint32_t zero;
};

struct hearth_bias {
    int32_t token;
    float bias; /* -inf forbids; else -1e6..1e6 */
};

/* Tail: the table, which the engine checks before it says HEARTH_MASK_READY. head.id is the table's number: not 0. */
struct hearth_mask {
    struct hearth_head head;
    uint64_t tenant;
    uint64_t bytes;
};

/* A sequence to save or to restore. head.id: chosen by the client, unique among those that are open. The tokens of a
 * saved one are the longest beginning of the ids that one sequence of the tenant has computed and nobody uses; it stays
 * as it is until HEARTH_KV_CLOSE. */
struct hearth_kv {
    struct hearth_head head;
    uint64_t tenant, count, bytes; /* count: of ids; bytes: of the stream (saving: 0) */
};
struct hearth_kv_piece {
    struct hearth_head head;
    uint64_t at, bytes; /* of the stream; 1..HEARTH_KV_PIECE_BYTES */
};

/* ---- from the engine ---- */

enum hearth_event_kind {
    HEARTH_LOADED = 1,   /* struct hearth_facts: the first event there is */
    HEARTH_PROGRESS = 2, /* struct hearth_progress: behind each chunk of a prompt that needs more than one */
    HEARTH_TOKEN = 3,    /* struct hearth_token and its tail */
    HEARTH_FINISHED = 4, /* struct hearth_finished: nothing of this choice comes after it */
    HEARTH_ERROR = 5,    /* struct hearth_error: nothing of this request comes after it */
    HEARTH_EMBEDDING = 6, /* struct hearth_embedding and its tail */
    HEARTH_MASK_READY = 7, /* struct hearth_head */
    HEARTH_EXPERTS = 8,    /* struct hearth_experts and its tail */
    HEARTH_DIFFERS = 9,    /* struct hearth_differs: a prompt leaves what is kept, by a page or more */
    HEARTH_KV_OPEN = 32,   /* struct hearth_kv_open */
    HEARTH_KV_PIECE = 33,  /* struct hearth_kv_piece and its bytes */
    HEARTH_KV_DONE = 34    /* struct hearth_head: a restored sequence is there, or a saved one let go */
};

/* What was loaded and planned. Everything the engine will ever take is in plan_bytes. */
struct hearth_facts {
    struct hearth_head head;      /* id 0 */
    uint8_t identity[32];         /* of the model: zeros where nobody has computed it */
    char arch[32], tier[16];      /* zero-terminated: "qwen3", "avx512" */
    uint64_t vocab, width, layers, ctx_train_tok;
    uint64_t ctx_tok;             /* planned for one sequence */
    uint64_t cache_tok;           /* positions of the cache for all sequences together */
    uint64_t weights_bytes, plan_bytes; /* plan_bytes: beside the weights */
    uint32_t sequences, chunk_tok, threads;
    uint32_t arithmetic;          /* version of docs/arithmetic.md */
    uint32_t experts, top_k;      /* of a layer that has them; 0, 0 in a dense model */
};

struct hearth_progress {
    struct hearth_head head;
    uint32_t done_tok, all_tok; /* of the prompt, cached_tok counted as done */
    uint32_t cached_tok;
    uint32_t zero;
};

/* Tail: struct hearth_rival rivals[top_count], most likely first. */
struct hearth_token {
    struct hearth_head head;
    int32_t token;
    uint32_t index;     /* of the answer's tokens, answer_tok of the request counted */
    float logprob;      /* natural, of the plain softmax before every setting; 0 where it was not asked for */
    uint32_t top_count;
};
struct hearth_rival {
    int32_t token;
    float logprob;
};

enum hearth_finish {
    HEARTH_END = 1,       /* a stop token was drawn: its HEARTH_TOKEN came before */
    HEARTH_LENGTH = 2,    /* max_tok */
    HEARTH_CONTEXT = 3,   /* the context is full */
    HEARTH_CANCELLED = 4,
    HEARTH_MASK_END = 5,  /* the mask allows nothing more: the text is complete */
    HEARTH_DONE = 6       /* an embedding */
};

struct hearth_finished {
    struct hearth_head head;
    uint32_t finish;      /* enum hearth_finish */
    uint32_t prompt_tok;  /* without answer_tok */
    uint32_t cached_tok;  /* of the prompt, taken from the cache; choices 1.. share the first one's prompt */
    uint32_t made_tok;    /* answer_tok counted */
};

struct hearth_error {
    struct hearth_head head; /* choice HEARTH_ALL_CHOICES */
    uint32_t code;           /* enum err_code of base/err.h */
    char text[HEARTH_ERROR_TEXT_BYTES]; /* one line, zero-terminated */
    uint32_t zero;
};

/* Tail: float values[width]. */
struct hearth_embedding {
    struct hearth_head head;
    uint32_t width, zero;
};

/* Which experts one layer chose for the tokens of a step. Tail: uint32_t positions[count_tok], each token's in its
 * sequence; uint16_t experts[count_tok * top_k], a token's in order of their numbers. Then what the router read for all
 * of them together (model/route.h). A last layer chooses for those tokens alone that draw. */
struct hearth_experts {
    struct hearth_head head; /* id 0: a step has tokens of many requests */
    uint32_t layer, count_tok, top_k, zero;
    uint64_t alone, shortlist, refined, rescored, bytes;
};

/* The first token that differs from the kept sequence that begins most alike. Numbers and no text: for a log. */
struct hearth_differs {
    struct hearth_head head;
    uint32_t at;          /* its position: so many tokens are alike */
    int32_t kept, asked;  /* the token there, of either */
    uint32_t kept_tok;    /* how many tokens the kept one has computed */
};

struct hearth_kv_open {
    struct hearth_head head;
    uint64_t count, bytes; /* tokens that the stream holds; its length */
};

_Static_assert(sizeof(struct hearth_kv) == 40 && sizeof(struct hearth_kv_piece) == 32, "no padding");
_Static_assert(sizeof(struct hearth_head) == 16 && sizeof(struct hearth_sampling) == 56, "no padding");
_Static_assert(sizeof(struct hearth_request) == 136 && sizeof(struct hearth_mask) == 32, "no padding");
_Static_assert(sizeof(struct hearth_token) == 32 && sizeof(struct hearth_finished) == 32, "no padding");
_Static_assert(sizeof(struct hearth_progress) == 32 && sizeof(struct hearth_error) == 344, "no padding");
_Static_assert(sizeof(struct hearth_experts) == 72 && sizeof(struct hearth_differs) == 32, "no padding");
_Static_assert(sizeof(struct hearth_facts) == 184 && sizeof(struct hearth_embedding) == 24, "no padding");

/* ---- the same in one process ---- */

/* What an engine may take, decided before the start. All zeros: the defaults in brackets. */
struct hearth_settings {
    uint32_t threads;         /* [1] */
    uint32_t sequences;       /* computed at once [1] */
    uint32_t ctx_tok;         /* of one sequence [the model's, at most 8,192] */
    uint32_t chunk_tok;       /* tokens of one step, prompt chunks and draws together [512] */
    uint64_t cache_tok;       /* positions for all sequences together [sequences * ctx_tok] */
    uint64_t memory_bytes;    /* the plan's limit, weights included [none]; the context shrinks to fit, where it is not
                                 given */
    uint64_t mask_bytes;      /* room for mask tables [64 MiB where a mask is loaded] */
    uint32_t activations_f32; /* 0 or 1 */
    uint32_t experts;         /* 1: HEARTH_EXPERTS tells what sparse layers choose [0] */
    uint32_t kv;              /* enum kv_type of kernels/attention.h; the tiers of cache/ */
    char tier[16];            /* "avx2", ... [the fastest here] */
};

typedef struct hearth hearth;

/* Loads the model at `path`, plans, takes all memory there will be and makes the threads; HEARTH_LOADED is the first
 * event. From here on the calling thread and those made need the system call futex alone. False: `why` (room for
 * HEARTH_ERROR_TEXT_BYTES) has one line. Undo with hearth_stop. */
bool hearth_start(hearth **out, const char *path, const struct hearth_settings *settings, char *why);
void hearth_stop(hearth *h); /* NULL is fine */

/* Copies a request in: `kind` of enum hearth_request_kind, the struct and its tail as `message`. What is wrong with it
 * is an event HEARTH_ERROR of its id. False where it is no message at all (a client's mistake) or the queue is full. */
bool hearth_submit(hearth *h, uint32_t kind, const void *message, size_t message_bytes);

/* One step of work on the calling thread: a chunk of prompts and a token of every sequence that draws. False where
 * nothing is to do. */
bool hearth_work(hearth *h);

/* The next event, copied into `into` (room for HEARTH_EVENT_BYTES_MAX); its kind, 0 where there is none. Events of one
 * request come in order; a full queue of events makes hearth_work wait for polls, nothing is dropped. */
uint32_t hearth_poll(hearth *h, void *into, size_t *event_bytes);

/* "stop", "length", "context", "cancelled", ...: what interfaces call an end. */
const char *hearth_finish_name(uint32_t finish);

#endif
