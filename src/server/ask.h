/* What is asked of a model and what comes back, in no API's words. An ask is one prompt and `n` answers. The APIs
 * translate in and out; a backend (backend.h) sees nothing else. Everything is text, numbers and JSON that was read and
 * written again here, never bytes as a client sent them. */
#ifndef HEARTH_SERVER_ASK_H
#define HEARTH_SERVER_ASK_H

#include "base/limits.h"
#include "base/view.h"
#include "model/sample.h"

enum ask_kind {
    ASK_CHAT,       /* messages through the model's template; the reply taken apart */
    ASK_TEXT,       /* a text, or ids, to go on from */
    ASK_EMBED,      /* a text, or ids, to one vector */
    ASK_COUNT,      /* how many tokens the messages of a chat are */
    ASK_RENDER,     /* the text that the template makes of them */
    ASK_TOKENIZE,   /* a text to ids */
    ASK_DETOKENIZE, /* ids to a text */
    ASK_LOAD,       /* nothing but that the model is in memory */
    ASK_UNLOAD,     /* that it goes, once nobody asks it anything; told at once */
    ASK_KINDS
};

/* ORDER ask_shape: SHAPES in tests. What an answer must look like. */
enum ask_shape {
    SHAPE_FREE,
    SHAPE_JSON,   /* any JSON object */
    SHAPE_SCHEMA, /* a JSON schema: ask.shape_text */
    SHAPE_GBNF    /* a grammar: ask.shape_text */
};

/* May, must or must not the answer call a tool? */
enum ask_tools { TOOLS_AUTO, TOOLS_NONE, TOOLS_REQUIRED, TOOLS_NAMED };

enum ask_think { ASK_THINK_UNSET, ASK_THINK_NO, ASK_THINK_YES };

struct ask {
    enum ask_kind kind;
    uint32_t model;     /* index in the backend's list */
    uint64_t principal; /* shares and prefixes are each principal's own */
    view messages;      /* chats: a JSON array of {role, content, reasoning_content, tool_calls, tool_call_id, name} */
    view tools; /* chats: a JSON array of {type: "function", function: {name, description, parameters}}; or empty */
    view more;          /* chats: a JSON object of further variables for the template; or empty */
    bool continues;     /* the last message is an answer to go on with: no opening of a new one */
    enum ask_think think;
    view effort;        /* reasoning effort as the client named it; or empty */
    enum ask_tools tool_choice;
    bool one_call;      /* not several tool calls at once */
    view tool_name;     /* TOOLS_NAMED */
    view text;          /* ASK_TEXT, ASK_EMBED, ASK_TOKENIZE; ASK_CHAT: in place of messages where the model, which may
                           not be in memory yet, turns out to have no template. Empty: then it is refused */
    const int32_t *ids; /* in place of a text; ASK_DETOKENIZE */
    size_t id_count;
    bool special;       /* ASK_TOKENIZE: control tokens in the text count as such; ASK_DETOKENIZE: they are shown */
    bool begin;         /* ASK_TOKENIZE: with the token that begins a text, where the model wants one */
    struct sample_settings sample;
    const view *stops;
    size_t stop_count;
    size_t max_tok;     /* of each answer; 0: up to the context */
    unsigned n;         /* answers, 1..ASK_CHOICES_MAX; answer i draws with seed + i */
    bool logprobs;
    unsigned top_logprobs;
    enum ask_shape shape;
    view shape_text;
    bool has_keep;
    uint64_t keep_ms;   /* the model stays so long after its last ask; UINT64_MAX: until another needs its room */
};

enum ask_finish { ASK_STOP, ASK_STOP_TEXT, ASK_LENGTH, ASK_CONTEXT, ASK_CALLS, ASK_CANCELLED };

struct ask_usage {
    uint64_t prompt_tok, cached_tok, made_tok, reasoning_tok;
    uint64_t prompt_ns, made_ns; /* measured by whoever polls the engine */
};

struct ask_token {
    int32_t id;
    float logprob;
    view text; /* its bytes, which may be half a character */
};

enum ask_event_kind {
    EVENT_PROGRESS,   /* usage.prompt_tok, usage.cached_tok and done_tok of the prompt so far */
    EVENT_CONTENT,    /* text */
    EVENT_REASONING,  /* text */
    EVENT_CALL_BEGIN, /* call, name, id (often empty) */
    EVENT_CALL_ARGS,  /* call, text: all of the arguments, one JSON object */
    EVENT_CALL_END,   /* call: only now it may be run */
    EVENT_TOKEN,      /* where logprobs were asked for: tokens[0] was drawn, the others are the likeliest, in order */
    EVENT_TEXT,       /* ASK_RENDER, ASK_DETOKENIZE: text; the ask is over */
    EVENT_IDS,        /* ASK_TOKENIZE: ids; the ask is over */
    EVENT_VECTOR,     /* ASK_EMBED: vector, usage; the ask is over */
    EVENT_COUNTED,    /* ASK_COUNT: usage.prompt_tok; the ask is over */
    EVENT_FINISHED,   /* finish, usage, stop text in `text`; this choice is over. ASK_LOAD, ASK_UNLOAD: all of it */
    EVENT_FAILED      /* code, text: one line; name: what of the request it is about, or empty; the ask is over */
};

/* Why an ask failed, in the terms of its answer's status. */
enum ask_error {
    ASK_BAD,       /* the request can not be done as it stands */
    ASK_TOO_LONG,  /* the prompt is over the context: usage.prompt_tok and room_tok */
    ASK_NO_MODEL,
    ASK_BUSY,      /* too many ask already: retry_s */
    ASK_BARRED,    /* policy does not allow the model */
    ASK_NO_ROOM,   /* the model does not fit into the memory there is for all */
    ASK_BROKEN     /* our fault */
};

struct ask_event {
    uint64_t ticket;
    enum ask_event_kind kind;
    enum ask_finish finish;
    enum ask_error error;
    uint32_t choice, call, retry_s;
    uint64_t done_tok, room_tok;
    struct ask_usage usage;
    view text, name, id;
    const int32_t *ids;
    const float *vector;
    const struct ask_token *tokens;
    size_t count; /* of ids, vector or tokens */
};

#endif
