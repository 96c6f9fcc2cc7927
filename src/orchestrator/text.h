/* What a client and a text worker say to one another, over two rings. The worker has the model's vocabulary and
 * template and nothing else: it makes ids of conversations and texts, and takes what the engine draws apart into
 * reasoning, content and calls. It has no clock, so whoever asks says what time it is.
 *
 *   TEXT_RENDER, TEXT_PLAIN -> TEXT_IDS   opens the reply of that id, with n choices
 *   TEXT_FEED               -> TEXT_DELTA ... TEXT_FED    tokens as they are drawn; TEXT_FED says all of them are told
 *   TEXT_CLOSE                             the reply is forgotten (a fed end forgets it too)
 *   TEXT_PIECES             -> TEXT_BYTES  what single tokens read as
 *   TEXT_COMPILE            -> TEXT_TABLE  a schema or grammar as a mask table for HEARTH_MASK_LOAD
 *   anything                -> TEXT_ERROR  the last of its id
 *
 * Every message begins with a struct hearth_head, is a struct with a tail as in include/hearth.h, and is refused by the
 * same rules: a worker that is sent nonsense ends, a client that is sent nonsense has the worker ended. */
#ifndef HEARTH_ORCHESTRATOR_TEXT_H
#define HEARTH_ORCHESTRATOR_TEXT_H

#include "hearth.h"

#include "base/limits.h"

enum {
    TEXT_REQUEST_BYTES_MAX = 1 << 24, /* one message to the worker: 16 MiB of messages, tools or schema */
    TEXT_EVENT_BYTES_MAX = 1 << 23,   /* one message from it: ids of the longest prompt, a mask table */
    TEXT_FAMILY_BYTES = 32
};

/* ---- to the worker ---- */

enum text_request_kind {
    TEXT_RENDER = 1,  /* struct text_render */
    TEXT_PLAIN = 2,   /* struct text_plain */
    TEXT_FEED = 3,    /* struct text_feed */
    TEXT_CLOSE = 4,   /* struct hearth_head */
    TEXT_PIECES = 5,  /* struct text_pieces */
    TEXT_COMPILE = 6  /* struct text_compile */
};

enum text_render_flag {
    TEXT_NO_GENERATION = 1, /* without the opening of an answer */
    TEXT_CONTINUE = 2,      /* the last message is an answer that is carried on, not closed */
    TEXT_SHOW = 4,          /* TEXT_BYTES with the rendered text comes before TEXT_IDS; no reply is opened */
    TEXT_CALLS_OFF = 8      /* calls in the reply come as content: the request had no tools */
};

/* Tail: messages (a JSON array), tools (a JSON array, or nothing), variables (a JSON object for the template, or
 * nothing; it can not replace messages, tools or the model's own tokens), uint32_t stop_bytes[stop_count], stop texts
 * one behind the other. */
struct text_render {
    struct hearth_head head;
    uint64_t tenant;
    uint64_t talk;        /* 0, or a conversation of this tenant: ids that the model made in it are kept as they were
                             made, and a rendering that begins as the last one did takes over its ids */
    int64_t clock_s;      /* seconds since 1970-01-01 00:00 in the local time that the template shows */
    uint32_t messages_bytes, tools_bytes, variables_bytes;
    uint32_t stop_count;  /* 0..STOPS_MAX, of 1..STOP_BYTES_MAX bytes each */
    uint32_t n;           /* choices of the reply: 1..HEARTH_CHOICES_MAX */
    uint32_t ctx_tok;     /* an error where there are more ids; 0: no bound but the ring's */
    uint32_t flags;       /* enum text_render_flag */
    uint32_t zero;
};

enum text_plain_flag {
    TEXT_SPECIAL = 1, /* control tokens in the text are read as such */
    TEXT_BARE = 2,    /* no BOS, whatever the model asks for */
    TEXT_COUNT = 4    /* no reply is opened: ids alone are wanted */
};

/* Tail: the text, stop_bytes[], stop texts. */
struct text_plain {
    struct hearth_head head;
    int32_t before;       /* the id that stands before this text; -1: it is a prompt's begin */
    uint32_t text_bytes;
    uint32_t stop_count, n, ctx_tok, flags;
};

/* Tail: int32_t ids[count]. Behind the last one of a choice `finish` says why it ended (enum hearth_finish): what was
 * held back is told then. */
struct text_feed {
    struct hearth_head head;
    uint32_t count;
    uint32_t finish; /* 0: there is more to come */
};

/* Tail: int32_t ids[count]. Each token's own bytes, as it reads in the middle of a text; control tokens as they are
 * written where `special`. */
struct text_pieces {
    struct hearth_head head;
    uint32_t count;
    uint32_t special;
    uint32_t joined; /* 1: the ids as one text, one length */
    uint32_t zero;
};

enum text_grammar { TEXT_JSON_SCHEMA = 1, TEXT_GBNF = 2, TEXT_JSON_OBJECT = 3, TEXT_TOOLS = 4 };

/* Tail: the source: a schema, a grammar, nothing, or a JSON array of tools. */
struct text_compile {
    struct hearth_head head;
    uint32_t grammar;      /* enum text_grammar */
    uint32_t source_bytes;
    uint32_t flags;        /* TEXT_TOOLS: 1 a call is required, 2 at most one call */
    uint32_t in_reasoning; /* the answer may reason before the part that is bound */
};

/* ---- from the worker ---- */

enum text_event_kind {
    TEXT_FACTS = 1, /* struct text_facts: the first there is */
    TEXT_IDS = 2,   /* struct text_ids */
    TEXT_DELTA = 3, /* struct text_delta */
    TEXT_FED = 4,   /* struct text_fed: answers each TEXT_FEED, in order, also of a reply that is closed */
    TEXT_BYTES = 5, /* struct text_bytes */
    TEXT_TABLE = 6, /* struct text_table */
    TEXT_ERROR = 7  /* struct hearth_error */
};

struct text_facts {
    struct hearth_head head; /* id 0 */
    uint8_t template_hash[32];
    char family[TEXT_FAMILY_BYTES]; /* how replies are written: a name of template/reply_family.c; empty: plain */
    uint64_t tokens;
    int32_t bos, eos;               /* -1: none */
    uint32_t has_template, calls, parallel_calls, reasoning; /* 0 or 1 each */
    uint32_t end_count;
    int32_t ends[HEARTH_STOP_TOKENS_MAX]; /* tokens that end an answer: stop_tokens of every request */
    uint32_t zero;
};

/* Tail: int32_t ids[count]. */
struct text_ids {
    struct hearth_head head;
    uint32_t count;
    uint32_t in_reasoning; /* the prompt leaves reasoning open */
};

/* What a piece of a reply is. */
enum text_part {
    TEXT_CONTENT = 1,
    TEXT_REASONING = 2,
    TEXT_BLOCK = 3,      /* what follows is a new block of its kind */
    TEXT_CALL_BEGIN = 4, /* name, and the model's own id for it (often empty) */
    TEXT_CALL_ARGS = 5,  /* a JSON object, whole */
    TEXT_CALL_END = 6,   /* only now it may be run */
    TEXT_CALL_BAD = 7,   /* a call that was malformed: it came as content */
    TEXT_CALL_CUT = 8    /* the reply ended inside a call */
};

/* Tail: name, call_id, text. Whole UTF-8 characters. */
struct text_delta {
    struct hearth_head head;
    uint32_t part;   /* enum text_part */
    uint32_t call;   /* from 0 */
    uint32_t name_bytes, call_id_bytes, text_bytes;
    uint32_t zero;
};

struct text_fed {
    struct hearth_head head;
    uint32_t fed_tok;     /* tokens of the choice so far */
    uint32_t stopped_tok; /* 0, or: a stop text was complete with so many tokens; the reply has ended */
    uint32_t stop;        /* which one, from 0 */
    uint32_t ended;       /* 1: by the stop text, or by the finish that was fed. The choice is forgotten */
};

/* Tail: uint32_t lengths[count], bytes. */
struct text_bytes {
    struct hearth_head head;
    uint32_t count;
    uint32_t bytes;
};

/* Tail: the table. */
struct text_table {
    struct hearth_head head;
    uint64_t bytes;
};

_Static_assert(sizeof(struct text_render) == 72 && sizeof(struct text_plain) == 40, "no padding");
_Static_assert(sizeof(struct text_feed) == 24 && sizeof(struct text_pieces) == 32, "no padding");
_Static_assert(sizeof(struct text_compile) == 32 && sizeof(struct text_facts) == 376, "no padding");
_Static_assert(sizeof(struct text_ids) == 24 && sizeof(struct text_delta) == 40, "no padding");
_Static_assert(sizeof(struct text_fed) == 32 && sizeof(struct text_bytes) == 24, "no padding");
_Static_assert(sizeof(struct text_table) == 24, "no padding");

#endif
