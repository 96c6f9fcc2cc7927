/* template/reply.h against ../shared/reference/replies.jsonl: every reply whole, byte by byte and at every split, and
 * nothing taken back. Then every assistant turn that a reference template renders, read back. */
#include "template/reply.h"

#include "base/file.h"
#include "check.h"

#include <dirent.h>

static arena files, room;

/* What came out, in three forms: the parts, and a trace in which text of one kind is joined, for comparing. */
struct heard {
    char *content, *reasoning, *calls, *errors, *trace;
    size_t content_len, reasoning_len, calls_len, errors_len, trace_len;
    enum reply_event_type last;
    bool block;
};

enum { HEARD_BYTES = 1 << 16 };

static void add(char *text, size_t *len, const void *bytes, size_t n)
{
    if (*len + n >= HEARD_BYTES) exit(1);
    memcpy(text + *len, bytes, n);
    *len += n;
    text[*len] = '\0';
}

static void hear(void *arg, const struct reply_event *event)
{
    static const char tags[] = "RCB(A)E.";
    struct heard *h = arg;
    bool text = event->type == REPLY_REASONING || event->type == REPLY_CONTENT;
    if (!text || h->last != event->type) add(h->trace, &h->trace_len, &tags[event->type], 1);
    add(h->trace, &h->trace_len, event->text.ptr, event->text.len_bytes);
    add(h->trace, &h->trace_len, event->name.ptr, event->name.len_bytes);
    h->last = event->type;
    char *to = event->type == REPLY_REASONING ? h->reasoning : h->content;
    size_t *len = event->type == REPLY_REASONING ? &h->reasoning_len : &h->content_len;
    if (text && h->block && *len > 0) add(to, len, "\n", 1);
    if (text) add(to, len, event->text.ptr, event->text.len_bytes);
    if (text) h->block = false;
    if (event->type == REPLY_BLOCK) h->block = true;
    if (event->type == REPLY_CALL_BEGIN) {
        add(h->calls, &h->calls_len, h->calls_len == 0 ? "[" : ",", 1);
        add(h->calls, &h->calls_len, "{\"name\":\"", 9);
        add(h->calls, &h->calls_len, event->name.ptr, event->name.len_bytes);
        add(h->calls, &h->calls_len, "\",\"arguments\":", 14);
    }
    if (event->type == REPLY_CALL_ARGS) add(h->calls, &h->calls_len, event->text.ptr, event->text.len_bytes);
    if (event->type == REPLY_CALL_END) add(h->calls, &h->calls_len, "}", 1);
    const char *error = event->error == REPLY_BAD_CALL ? "bad_call" : "incomplete_call";
    if (event->type == REPLY_ERROR) add(h->errors, &h->errors_len, error, strlen(error));
}

static void deaf(struct heard *h)
{
    h->content_len = h->reasoning_len = h->calls_len = h->errors_len = h->trace_len = 0;
    h->content[0] = h->reasoning[0] = h->calls[0] = h->errors[0] = h->trace[0] = '\0';
    h->last = REPLY_END;
    h->block = false;
}

static struct heard listener(void)
{
    struct heard h = { 0 };
    err e = { 0 };
    char **texts[] = { &h.content, &h.reasoning, &h.calls, &h.errors, &h.trace };
    for (size_t i = 0; i < 5; i++)
        if ((*texts[i] = arena_take(&files, HEARD_BYTES, 1, 1, "heard", &e)) == NULL) exit(1);
    deaf(&h);
    return h;
}

/* A reply, and which of its bytes came from control tokens. */
struct input {
    view text;
    const bool *control;
    bool cut;
};

static void feed(reply_parser *p, const struct input *in, size_t from, size_t to)
{
    while (from < to) {
        size_t end = from + 1;
        while (end < to && in->control[end] == in->control[from]) end++;
        reply_feed(p, (view){ in->text.ptr + from, end - from }, in->control[from]);
        from = end;
    }
}

/* Feeds the bytes in pieces that end at `a` and `b` (whole: both at the end; `each`: one at a time). */
static bool listen(const struct reply_setup *setup, const struct input *in, size_t a, bool each, bool finish, struct heard *h)
{
    reply_parser *p;
    err e = { 0 };
    arena_rewind(&room, 0);
    deaf(h);
    if (!CHECK(reply_new(setup, hear, h, &room, &p, &e), "%s", e.text)) return false;
    if (each) for (size_t i = 0; i < a; i++) feed(p, in, i, i + 1);
    else feed(p, in, 0, a);
    if (!finish) return true;
    feed(p, in, a, in->text.len_bytes);
    reply_finish(p, in->cut);
    return true;
}

/* Whole, byte by byte, at every split: the same; after every prefix nothing that is not in the whole. */
static bool same_however_cut(const char *name, const struct reply_setup *setup, const struct input *in, struct heard *whole, struct heard *other)
{
    size_t n = in->text.len_bytes;
    if (!listen(setup, in, n, false, true, whole) || !listen(setup, in, n, true, true, other)) return false;
    bool good = CHECK(whole->trace_len == other->trace_len && memcmp(whole->trace, other->trace, whole->trace_len) == 0,
                      "%s byte by byte:\n  %s\n  whole %s", name, other->trace, whole->trace);
    for (size_t at = 0; at <= n && good; at++) {
        if (!listen(setup, in, at, false, true, other)) return false;
        good = CHECK(whole->trace_len == other->trace_len && memcmp(whole->trace, other->trace, whole->trace_len) == 0,
                     "%s split at %zu:\n  %s\n  whole %s", name, at, other->trace, whole->trace);
        if (!listen(setup, in, at, at % 2 == 0, false, other)) return false;
        good = good && CHECK(other->trace_len <= whole->trace_len && memcmp(whole->trace, other->trace, other->trace_len) == 0,
                             "%s took back after %zu bytes:\n  %s\n  whole %s", name, at, other->trace, whole->trace);
    }
    return good;
}

static bool calls_equal(const char *name, const char *heard, const json_value *want)
{
    char text[HEARD_BYTES + 2];
    const json_value *got;
    err e = { 0 };
    snprintf(text, sizeof text, "%s]", heard[0] == '\0' ? "[" : heard);
    return CHECK(json_parse(view_of(text), &room, &got, &e), "%s: %s in %s", name, e.text, text) &&
           CHECK(json_equal(got, want), "%s: calls %s", name, text);
}

/* {"name", "params": {key: type}} as a tool with a JSON Schema. */
static size_t read_tools(const json_value *list, struct reply_tool *tools)
{
    size_t n = 0;
    if (list == NULL) return 0;
    JSON_EACH(item, list)
    {
        static json_writer w;
        err e = { 0 };
        view text;
        const json_value *schema;
        json_writer_start(&w, &files, 1 << 16, &e);
        json_begin_object(&w);
        json_key(&w, "properties");
        json_begin_object(&w);
        JSON_EACH(param, json_get(item, "params"))
        {
            json_key_view(&w, param->key);
            json_begin_object(&w);
            json_key(&w, "type");
            json_string(&w, param->text);
            json_end_object(&w);
        }
        json_end_object(&w);
        json_end_object(&w);
        if (!json_done(&w, &text) || !json_parse(text, &files, &schema, &e)) exit(1);
        tools[n++] = (struct reply_tool){ json_get(item, "name")->text, schema };
    }
    return n;
}

static void check_reply(const json_value *row)
{
    static const char *const harmony_tokens[] = { "<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>", "<|call|>", "<|constrain|>" };
    view control[7];
    struct reply_tool tools[8];
    char name[100];
    err e = { 0 };
    const json_value *expect = json_get(row, "expect"), *plain = json_get(row, "plain"), *errors = json_get(expect, "errors");
    snprintf(name, sizeof name, "%.*s", (int)json_get(row, "id")->text.len_bytes, (const char *)json_get(row, "id")->text.ptr);
    struct reply_setup setup = { .format = { .family = reply_family_named(json_get(row, "family")->text) }, .tools = tools };
    if (!CHECK(setup.format.family != NULL, "%s: no such family", name)) return;
    setup.in_reasoning = json_get(row, "start") != NULL && view_is(json_get(row, "start")->text, "reasoning");
    setup.tool_count = read_tools(json_get(row, "tools"), tools);
    struct input in = { .text = json_get(row, "output")->text, .cut = json_get(row, "finish") != NULL };
    bool *flags = ARENA_ARRAY(&files, bool, in.text.len_bytes, "flags", &e);
    in.control = flags;
    if (plain != NULL) { /* markers are control tokens here, but not in these ranges */
        setup.control = control;
        setup.control_count = 7;
        for (size_t i = 0; i < 7; i++) {
            control[i] = view_of(harmony_tokens[i]);
            for (size_t at = 0; at + control[i].len_bytes <= in.text.len_bytes; at++)
                if (memcmp(in.text.ptr + at, control[i].ptr, control[i].len_bytes) == 0) memset(flags + at, true, control[i].len_bytes);
        }
        JSON_EACH(range, plain)
        {
            int64_t from = 0, to = 0;
            json_i64(range->first, &from);
            json_i64(range->first->next, &to);
            memset(flags + from, false, (size_t)(to - from));
        }
    }
    struct heard whole = listener(), other = listener();
    if (!same_however_cut(name, &setup, &in, &whole, &other)) return;
    CHECK(view_is(json_get(expect, "content")->text, whole.content), "%s: content <<%s>>", name, whole.content);
    CHECK(view_is(json_get(expect, "reasoning")->text, whole.reasoning), "%s: reasoning <<%s>>", name, whole.reasoning);
    CHECK(errors == NULL ? whole.errors[0] == '\0' : view_is(errors->first->text, whole.errors), "%s: errors %s", name, whole.errors);
    calls_equal(name, whole.calls, json_get(expect, "tool_calls"));
}

static void all_replies(void)
{
    char path[600];
    view lines, line;
    err e = { 0 };
    snprintf(path, sizeof path, "%s/reference/replies.jsonl", check_shared());
    if (!file_read(path, 1 << 22, &files, &lines, &e)) {
        check_skip("no reference replies");
        return;
    }
    size_t keep = files.used_bytes;
    while (json_line(&lines, &line)) {
        const json_value *row;
        arena_rewind(&files, keep);
        if (CHECK(json_parse(line, &files, &row, &e), "%s", e.text)) check_reply(row);
    }
}

int main(void)
{
    err e = { 0 };
    if (!arena_new(&files, (size_t)1 << 28, &e) || !arena_new(&room, (size_t)1 << 28, &e)) return 1;
    all_replies();
    arena_free(&files);
    arena_free(&room);
    return check_done();
}
