/* A scripted model behind the server's backend interface: what it says is a function of the last user message, so tests
 * of every API, of clients and of load know what must come. Words of the message steer it:
 *
 *   think    reasons first                      call     calls the first tool (until a result is in the conversation)
 *   fail     refuses at once                    break    fails in the middle of its answer
 *   long     the prompt is over the context     busy     too many ask
 *   forever  never ends by itself               slow     a word every 20 ms
 *   json     answers with an object             twice    calls the first tool two times
 *
 * Otherwise it says the message back, a word an event. */
#ifndef HEARTH_TESTS_SERVER_SCRIPT_H
#define HEARTH_TESTS_SERVER_SCRIPT_H

#include "format/json.h"
#include "server/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { SCRIPT_EVENTS_MAX = 64, SCRIPT_ASKS_MAX = 4096, SCRIPT_TEXT_BYTES = 4096, SCRIPT_LAST_BYTES = 64 };

struct script_line {
    enum ask_event_kind kind;
    size_t at, len;           /* of the ask's text */
    enum ask_finish finish;
    enum ask_error error;
};

struct script_ask {
    uint64_t ticket;          /* 0: free */
    char *text;
    size_t text_bytes;
    uint32_t choice, n;
    size_t next, line_count;  /* of the choice that speaks */
    struct script_line lines[SCRIPT_EVENTS_MAX];
    bool forever, slow, logprobs;
    uint64_t due_ms, made;
    enum ask_kind kind;
    size_t prompt_tok;
    char tool[64], args[512];
    size_t max_tok;
};

struct script {
    struct script_ask *asks;
    size_t count, at;         /* places used; where the next poll begins */
    int timer;
    uint64_t submitted, cancelled;
    uint64_t hold_ms;         /* before the first word of a slow answer */
    struct model_facts facts[2];
    char name[8];
    struct ask_token token;
    int32_t ids[512];
    float vector[8];
    char last_messages[1 << 16], last_tools[1 << 14]; /* of the newest ask: what templates would see */
    struct ask last;
};

static inline uint64_t script_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline void script_ring(struct script *s, long ms)
{
    struct itimerspec at = { .it_value = { ms / 1000, ms % 1000 * 1000000 + 1 } };
    timerfd_settime(s->timer, 0, &at, NULL);
}

static inline bool script_has(view text, const char *word)
{
    return text.len_bytes > 0 && memmem(text.ptr, text.len_bytes, word, strlen(word)) != NULL;
}

static inline void script_add(struct script_ask *a, enum ask_event_kind kind, const char *text, size_t len)
{
    bool last = kind == EVENT_FINISHED || kind == EVENT_FAILED; /* has its place, whatever was said before */
    if (!last && a->line_count == SCRIPT_EVENTS_MAX - 1) return;
    if (!last && len > SCRIPT_TEXT_BYTES - SCRIPT_LAST_BYTES - a->text_bytes) return;
    for (size_t i = 0; i < len; i++) a->text[a->text_bytes + i] = text[i];
    a->lines[a->line_count++] = (struct script_line){ kind, a->text_bytes, len, ASK_STOP, ASK_BAD };
    a->text_bytes += len;
}

static inline void script_words(struct script_ask *a, enum ask_event_kind kind, view text)
{
    for (size_t at = 0; at < text.len_bytes;) {
        size_t end = at;
        while (end < text.len_bytes && text.ptr[end] == ' ') end++;
        while (end < text.len_bytes && text.ptr[end] != ' ') end++;
        script_add(a, kind, (const char *)text.ptr + at, end - at);
        at = end;
    }
}

static inline void script_fail(struct script_ask *a, enum ask_error error, const char *text)
{
    script_add(a, EVENT_FAILED, text, strlen(text));
    a->lines[a->line_count - 1].error = error;
}

/* What stands for a required parameter: by its name, else by its type. */
static inline const char *script_value(view name, const json_value *schema)
{
    static const struct { const char *name, *value; } named[] = {
        { "city", "\"Paris\"" }, { "name", "\"Ada\"" }, { "age", "36" }, { "command", "\"touch made-by-tool\"" },
        { "cmd", "\"touch made-by-tool\"" },
    };
    static const struct { const char *type, *value; } typed[] = {
        { "string", "\"x\"" }, { "boolean", "false" }, { "array", "[]" }, { "object", "{}" },
    };
    const json_value *type = json_get(schema, "type");
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (view_is(name, named[i].name)) return named[i].value;
    for (size_t i = 0; i < sizeof typed / sizeof *typed; i++)
        if (type != NULL && type->type == JSON_STRING && view_is(type->text, typed[i].type)) return typed[i].value;
    return "1";
}

/* The tool that is called: one that runs a command where there is one, else the first; and its arguments. */
static inline void script_choose(struct script_ask *a, const json_value *tools)
{
    const json_value *chosen = tools->first;
    JSON_EACH(tool, tools) {
        const json_value *needs = json_at(tool, view_of("/function/parameters/required"));
        if (needs != NULL) JSON_EACH(item, needs)
            if (view_is(item->text, "command") || view_is(item->text, "cmd")) chosen = tool;
    }
    const json_value *name = json_at(chosen, view_of("/function/name"));
    const json_value *required = json_at(chosen, view_of("/function/parameters/required"));
    const json_value *properties = json_at(chosen, view_of("/function/parameters/properties"));
    size_t len = (size_t)snprintf(a->args, sizeof a->args, "{");
    snprintf(a->tool, sizeof a->tool, "%.*s", (int)name->text.len_bytes, (const char *)name->text.ptr);
    if (required == NULL && properties == NULL)
        len += (size_t)snprintf(a->args + len, sizeof a->args - len, "\"city\":\"Paris\"");
    if (required != NULL) JSON_EACH(item, required) {
        const char *value = script_value(item->text, json_find(properties, item->text));
        if (item->text.len_bytes + strlen(value) + 8 > sizeof a->args - len) break;
        len += (size_t)snprintf(a->args + len, sizeof a->args - len, "%s\"%.*s\":%s", len > 1 ? "," : "",
                                (int)item->text.len_bytes, (const char *)item->text.ptr, value);
    }
    snprintf(a->args + len, sizeof a->args - len, "}");
}

static inline void script_call(struct script_ask *a)
{
    script_add(a, EVENT_CALL_BEGIN, "", 0);
    script_add(a, EVENT_CALL_ARGS, a->args, strlen(a->args));
    script_add(a, EVENT_CALL_END, "", 0);
}

/* The last user message, and whether a tool has answered. */
static inline view script_heard(const struct ask *ask, arena *a, bool *answered)
{
    const json_value *messages;
    view said = view_of("");
    err e = { 0 };
    *answered = false;
    if (ask->messages.len_bytes == 0 || !json_parse(ask->messages, a, &messages, &e)) return ask->text;
    JSON_EACH(m, messages) {
        const json_value *role = json_get(m, "role"), *content = json_get(m, "content");
        if (role != NULL && view_is(role->text, "user")) {
            said = content->text;
            *answered = false;
        }
        if (role != NULL && view_is(role->text, "tool")) *answered = true;
    }
    return said;
}

static inline void script_write(struct script_ask *a, const struct ask *ask, view said, bool answered)
{
    bool calls = script_has(said, "call") || script_has(said, "twice") || ask->tool_choice >= TOOLS_REQUIRED;
    if (script_has(said, "fail")) {
        script_fail(a, ASK_BAD, "template: the conversation can not be rendered");
        return;
    }
    if (script_has(said, "long")) {
        script_fail(a, ASK_TOO_LONG, "prompt: 9000 tokens, the context holds 4096");
        return;
    }
    if (script_has(said, "think")) script_words(a, EVENT_REASONING, view_of("let me see"));
    if (ask->shape == SHAPE_SCHEMA || ask->shape == SHAPE_JSON || script_has(said, "json")) {
        script_words(a, EVENT_CONTENT, view_of("{\"name\": \"Ada\", \"age\": 36}"));
    } else if (calls && ask->tools.len_bytes > 0 && !answered && ask->tool_choice != TOOLS_NONE) {
        script_call(a);
        if (script_has(said, "twice")) script_call(a);
    } else {
        if (answered) script_words(a, EVENT_CONTENT, view_of("the tool was heard: "));
        script_words(a, EVENT_CONTENT, said);
    }
    if (script_has(said, "break")) script_fail(a, ASK_BROKEN, "engine: ended in the middle of an answer");
    else script_add(a, EVENT_FINISHED, "", 0);
}

static inline struct script_ask *script_place(struct script *s)
{
    for (size_t i = 0; i < SCRIPT_ASKS_MAX; i++)
        if (s->asks[i].ticket == 0) {
            if (i >= s->count) s->count = i + 1;
            return &s->asks[i];
        }
    return NULL;
}

static inline void script_remember(struct script *s, const struct ask *ask)
{
    s->last = *ask;
    snprintf(s->last_messages, sizeof s->last_messages, "%.*s", (int)ask->messages.len_bytes,
             ask->messages.len_bytes > 0 ? (const char *)ask->messages.ptr : "");
    snprintf(s->last_tools, sizeof s->last_tools, "%.*s", (int)ask->tools.len_bytes,
             ask->tools.len_bytes > 0 ? (const char *)ask->tools.ptr : "");
}

static inline bool script_submit(void *self, uint64_t ticket, const struct ask *ask, enum ask_error *why, err *e)
{
    struct script *s = self;
    struct script_ask *place = script_place(s);
    arena scratch;
    bool answered;
    err ignored = { 0 };
    if (place == NULL || !arena_new(&scratch, (size_t)1 << 28, &ignored)) return fail(e, ERR_MEMORY, 0, "script: full");
    view said = script_heard(ask, &scratch, &answered);
    if (script_has(said, "busy")) {
        *why = ASK_BUSY;
        arena_free(&scratch);
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "too many requests wait");
    }
    script_remember(s, ask);
    s->submitted++;
    char *text = place->text != NULL ? place->text : malloc(SCRIPT_TEXT_BYTES);
    *place = (struct script_ask){ .ticket = ticket, .text = text, .n = ask->n > 0 ? ask->n : 1, .kind = ask->kind };
    place->logprobs = ask->logprobs;
    place->max_tok = ask->max_tok;
    place->prompt_tok = said.len_bytes / 4 + 1;
    place->forever = script_has(said, "forever");
    place->slow = place->forever || script_has(said, "slow");
    const json_value *tools;
    if (ask->tools.len_bytes > 0 && json_parse(ask->tools, &scratch, &tools, &ignored)) script_choose(place, tools);
    if (place->slow) place->due_ms = script_ms() + s->hold_ms;
    if (ask->kind == ASK_CHAT || ask->kind == ASK_TEXT) script_write(place, ask, said, answered);
    else script_add(place, EVENT_TEXT, (const char *)said.ptr, said.len_bytes);
    arena_free(&scratch);
    script_ring(s, 0);
    return true;
}

static inline void script_cancel(void *self, uint64_t ticket)
{
    struct script *s = self;
    for (size_t i = 0; i < s->count; i++)
        if (s->asks[i].ticket == ticket) {
            s->asks[i].ticket = 0;
            s->cancelled++;
        }
}

static inline void script_single(struct script *s, struct script_ask *a, struct ask_event *out)
{
    out->usage.prompt_tok = a->prompt_tok;
    out->text = (view){ (const uint8_t *)a->text, a->text_bytes };
    if (a->kind == ASK_TOKENIZE) {
        out->kind = EVENT_IDS;
        out->count = a->text_bytes < 512 ? a->text_bytes : 512;
        for (size_t i = 0; i < out->count; i++) s->ids[i] = (uint8_t)a->text[i];
        out->ids = s->ids;
    } else if (a->kind == ASK_EMBED) {
        out->kind = EVENT_VECTOR;
        out->count = 8;
        for (size_t i = 0; i < 8; i++) s->vector[i] = (float)(i + 1) / (float)(a->text_bytes + 1);
        out->vector = s->vector;
    } else {
        out->kind = a->kind == ASK_COUNT ? EVENT_COUNTED : EVENT_TEXT;
    }
    a->ticket = 0;
}

/* The next event of one ask; false where it waits. */
static inline bool script_say(struct script *s, struct script_ask *a, struct ask_event *out)
{
    *out = (struct ask_event){ .ticket = a->ticket, .choice = a->choice };
    if (a->kind != ASK_CHAT && a->kind != ASK_TEXT) {
        script_single(s, a, out);
        return true;
    }
    if (a->slow && script_ms() < a->due_ms) return false;
    a->due_ms = script_ms() + 20;
    if (a->forever && a->lines[a->next].kind == EVENT_FINISHED) a->next = 0;
    const struct script_line *l = &a->lines[a->next++];
    *out = (struct ask_event){ .ticket = a->ticket, .choice = a->choice, .kind = l->kind, .error = l->error,
                               .finish = l->finish };
    out->text = (view){ (const uint8_t *)a->text + l->at, l->len };
    out->usage = (struct ask_usage){ .prompt_tok = a->prompt_tok, .cached_tok = 1, .made_tok = a->made };
    if (l->kind == EVENT_CALL_BEGIN) {
        out->name = view_of(a->tool);
        out->id = view_of("");
    }
    if (l->kind == EVENT_CONTENT && a->logprobs && a->made % 2 == 0) { /* a token, then its text */
        s->token = (struct ask_token){ 7, -0.5f, out->text };
        out->kind = EVENT_TOKEN;
        out->tokens = &s->token;
        out->count = 1;
        a->next--;
    }
    a->made++;
    if (a->max_tok > 0 && a->made > a->max_tok && !a->logprobs && l->kind == EVENT_CONTENT) {
        out->kind = EVENT_FINISHED;
        out->finish = ASK_LENGTH;
        out->text = view_of("");
        out->usage.made_tok = a->max_tok;
    }
    if (out->kind == EVENT_FINISHED) {
        a->next = a->made = 0;
        if (++a->choice == a->n) a->ticket = 0;
    }
    if (out->kind == EVENT_FAILED) a->ticket = 0;
    return true;
}

static inline bool script_poll(void *self, struct ask_event *out)
{
    struct script *s = self;
    bool waits = false;
    for (size_t i = 0; i < s->count; i++) {
        s->at = (s->at + 1) % s->count;
        struct script_ask *a = &s->asks[s->at];
        if (a->ticket == 0) continue;
        if (script_say(s, a, out)) return true;
        waits = true;
    }
    if (waits) script_ring(s, 5);
    return false;
}

static inline size_t script_models(void *self, const struct model_facts **facts)
{
    struct script *s = self;
    *facts = s->facts;
    return 2;
}

static inline struct backend script_backend(struct script *s)
{
    static const char *const names[] = { "scripted", "other" };
    *s = (struct script){ .timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC) };
    s->asks = calloc(SCRIPT_ASKS_MAX, sizeof *s->asks);
    for (size_t i = 0; i < 2; i++)
        s->facts[i] = (struct model_facts){ .name = view_of(names[i]), .architecture = view_of("script"),
                                            .format = view_of("F32"), .identity = view_of("00"),
                                            .chat_template = view_of("{{ messages }}"), .parameters = 1000000,
                                            .weights_bytes = 4000000, .created_s = 1700000000, .ctx_tok = 4096,
                                            .ctx_train_tok = 4096, .width = 8, .vocab = 256, .can_chat = true,
                                            .can_call = true, .can_think = true, .can_embed = true,
                                            .can_shape = true, .loaded = true };
    return (struct backend){ .self = s, .bell_fd = s->timer, .models = script_models, .submit = script_submit,
                             .cancel = script_cancel, .poll = script_poll };
}

static inline void script_free(struct script *s)
{
    for (size_t i = 0; i < SCRIPT_ASKS_MAX; i++) free(s->asks[i].text);
    free(s->asks);
    close(s->timer);
}

#endif
