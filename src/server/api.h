/* An API is a table of the fields it reads and a few writers. Reading fills a struct reading (the ask and what shapes
 * the answer); writing sees an exchange, its choices, and one event at a time. What all APIs do alike is here once:
 * types and ranges with the field's name in the refusal, conversations as templates take them, tools, schemas. */
#ifndef HEARTH_SERVER_API_H
#define HEARTH_SERVER_API_H

#include "server/part.h"

/* A request on its way to an ask; everything lives in the server's scratch arena until the ask is handed over. */
struct reading {
    server *s;
    struct exchange *x;
    const json_value *body;    /* the root: a value's place in it is its name in a refusal */
    arena *a;
    err e;                     /* of writers and arenas */
    struct refusal *r;
    struct ask ask;
    view model;
    bool stream, usage;
    bool has_seed;
    size_t top_logprobs, n;
    bool parallel;             /* tool calls; true unless the request says otherwise */
    const json_value *messages, *system, *tools, *tool_choice, *input; /* read once all fields are known */
    view instructions;         /* what Responses puts before the conversation */
    view text, system_text;    /* Ollama's generate */
    bool raw;
    view stops[STOPS_MAX];
    struct logit_bias biases[ASK_BIASES_MAX];
    bool base64;
};

enum field_type {
    FIELD_IGNORE, /* known, and without meaning here */
    FIELD_REFUSE, /* known, and asks for what there is not: `says` is why */
    FIELD_BOOL,   /* bool */
    FIELD_COUNT,  /* size_t in min..max */
    FIELD_NUMBER, /* float in min..max */
    FIELD_TEXT,   /* view */
    FIELD_VALUE,  /* const json_value *, looked at later */
    FIELD_TAKE    /* the row's function */
};

struct field {
    const char *name;
    enum field_type type;
    size_t at; /* offsetof in struct reading */
    double min, max;
    bool (*take)(struct reading *rd, const json_value *v);
    const char *says;
};

/* Reads an object's members by a table. Members that are null count as left out; members without a row are counted and
 * otherwise ignored. False: rd->r names the field. */
bool fields_read(struct reading *rd, const json_value *object, const struct field *rows, size_t count);

/* "messages[2].content: a text is needed": status 400. `v` tells the field by its place in the body. */
bool refuse_field(struct reading *rd, const json_value *v, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Fields that most APIs share, as FIELD_TAKE functions. */
bool take_stop(struct reading *rd, const json_value *v);        /* a text or an array of them */
bool take_seed(struct reading *rd, const json_value *v);
bool take_logit_bias(struct reading *rd, const json_value *v);  /* {"id": -100..100} */
bool take_effort(struct reading *rd, const json_value *v);
bool take_template_more(struct reading *rd, const json_value *v); /* chat_template_kwargs */
bool take_grammar(struct reading *rd, const json_value *v);     /* GBNF */

/* {"name", "schema", ...} or a bare schema into ask.shape. */
bool set_schema(struct reading *rd, const json_value *schema);

/* The shared rows: temperature, top_p, ... as OpenAI, llama-server and vLLM name them. */
extern const struct field SAMPLING_FIELDS[];
extern const size_t SAMPLING_FIELD_COUNT;

/* ---- conversations (turns.c): rd->ask.messages and rd->ask.tools ---- */

/* A conversation is written message by message. System messages before the first other one become one. */
struct turns {
    struct reading *rd;
    json_writer w;
    view system;      /* joined so far */
    bool system_done;
    size_t count;
    view call_ids[ANSWER_CALLS_MAX], call_names[ANSWER_CALLS_MAX]; /* a tool's result is named after its call */
    size_t call_count;
    bool in_calls;
};
bool turns_begin(struct turns *t, struct reading *rd);
bool turns_system(struct turns *t, view text);
bool turns_text(struct turns *t, const char *role, view text);
bool turns_result(struct turns *t, view call_id, view name, view text); /* an empty name: the call's */
/* An answer: its calls follow one by one, `args` a JSON object, or a text that is no object and stays one. */
bool turns_answer(struct turns *t, view text, view reasoning);
bool turns_call(struct turns *t, view id, view name, view args);
bool turns_answer_end(struct turns *t);
bool turns_end(struct turns *t);

/* The text of a content: a string, null, or an array of parts of type text; other parts are refused by their type. */
bool content_text(struct reading *rd, const json_value *v, view *out);

/* Tools as templates take them, from {name, description, parameters} under `parameters_name`. */
bool tools_read(struct reading *rd, const json_value *tools, bool nested, const char *parameters_name);
bool tool_choice_read(struct reading *rd, const json_value *choice);

/* ---- what an API is ---- */

struct api {
    const char *name;
    const char *media;     /* of a stream */
    const char *id_prefix, *call_prefix;
    const struct field *fields;
    size_t field_count;
    bool shared;           /* SAMPLING_FIELDS as well */
    bool stream_default;
    bool keeps;            /* choices keep their text in a stream too */
    enum ask_kind kind;
    bool (*read)(struct reading *rd); /* after the fields: makes the ask whole */
    void (*begin)(struct exchange *x); /* the first frames of a stream; may be NULL */
    void (*event)(struct exchange *x, struct choice *c, const struct ask_event *event);
    void (*end)(struct exchange *x); /* behind the last choice of a stream; may be NULL */
    bool (*item)(struct exchange *x, const struct ask_event *event); /* embeddings: one came; is there another? */
    void (*whole)(struct exchange *x, json_writer *w);
    void (*error)(const struct refusal *r, json_writer *w);
    void (*stream_error)(struct exchange *x, const struct refusal *r);
    void (*ping)(struct exchange *x, uint64_t done, uint64_t all); /* all 0: nothing is known */
};

extern const struct api API_OPENAI_CHAT, API_OPENAI_TEXT, API_OPENAI_RESPONSES, API_OPENAI_EMBED, API_ANTHROPIC,
    API_ANTHROPIC_COUNT, API_OLLAMA_CHAT, API_OLLAMA_TEXT, API_OLLAMA_EMBED, API_TOKENIZE, API_DETOKENIZE, API_RENDER,
    API_LOAD, API_UNLOAD;

void openai_error(const struct refusal *r, json_writer *w);
void anthropic_error(const struct refusal *r, json_writer *w);
void ollama_error(const struct refusal *r, json_writer *w);

/* ---- lists (models.c): bodies that need no ask ---- */
void openai_models(server *s, json_writer *w, view one); /* `one`: a single model, or all */
void ollama_tags(server *s, json_writer *w);
void ollama_ps(server *s, json_writer *w);
void ollama_show(const struct model_facts *m, json_writer *w);
bool served_model(const server *s, view name, uint32_t *index); /* through the aliases */

/* ---- writing an answer (exchange.c) ---- */

/* An empty object's writer in the server's scratch memory. */
void frame_start(struct exchange *x, json_writer *w);
/* One server-sent event, with its "event:" line where `event` is not NULL; or one line of JSON. */
void frame_send(struct exchange *x, const char *event, json_writer *w);
void line_send(struct exchange *x, json_writer *w);
void frame_text(struct exchange *x, const char *text);

/* Takes a request into an exchange and hands its ask over, or refuses it. */
void exchange_begin(server *s, struct conn *c, const struct http_head *head, const struct api *api, view body);

/* Where several asks make one answer: hands the next one over. */
bool exchange_submit(struct exchange *x, const struct ask *ask, struct refusal *r);
void exchange_refuse(struct exchange *x, const struct refusal *r); /* and the exchange is over */

/* A body that is all of an answer. */
void respond(server *s, struct conn *c, const struct http_head *head, int status, const char *media, view body,
             const char *more_headers);

/* RFC 3339 in UTC; 24 bytes and the terminator. */
enum { TIME_TEXT_BYTES = 32 };
void time_text(int64_t seconds, char out[static TIME_TEXT_BYTES]);

const char *finish_openai(enum ask_finish finish);

#endif
