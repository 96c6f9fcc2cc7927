/* template/reply.h against ../shared/reference/replies.jsonl: every reply whole, byte by byte and at every split, and
 * nothing taken back. Then every assistant turn that a reference template renders, read back. */
#include "template/reply_family.h"

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
    if (n == 0) return;
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
static bool listen(const struct reply_setup *setup, const struct input *in, size_t a, bool each, bool finish,
                   struct heard *h)
{
    reply_parser *p;
    err e = { 0 };
    arena_rewind(&room, 0);
    deaf(h);
    if (!CHECK(reply_new(setup, hear, h, &room, &p, &e), "%s", e.text)) return false;
    if (each)
        for (size_t i = 0; i < a; i++) feed(p, in, i, i + 1);
    else feed(p, in, 0, a);
    if (!finish) return true;
    feed(p, in, a, in->text.len_bytes);
    reply_finish(p, in->cut);
    return true;
}

/* Whole, byte by byte, at every split: the same; after every prefix nothing that is not in the whole. */
static bool same_however_cut(const char *name, const struct reply_setup *setup, const struct input *in,
                             struct heard *whole, struct heard *other)
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
        good = good &&
               CHECK(other->trace_len <= whole->trace_len && memcmp(whole->trace, other->trace, other->trace_len) == 0,
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
    static const char *const harmony_tokens[] = { "<|channel|>", "<|message|>", "<|start|>",    "<|end|>",
                                                  "<|return|>",  "<|call|>",    "<|constrain|>" };
    view control[7];
    struct reply_tool tools[8];
    char name[100];
    err e = { 0 };
    const json_value *expect = json_get(row, "expect"), *plain = json_get(row, "plain"),
                     *errors = json_get(expect, "errors");
    snprintf(name, sizeof name, "%.*s", (int)json_get(row, "id")->text.len_bytes,
             (const char *)json_get(row, "id")->text.ptr);
    struct reply_setup setup = { .format = { .family = reply_family_named(json_get(row, "family")->text) },
                                 .tools = tools };
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
                if (memcmp(in.text.ptr + at, control[i].ptr, control[i].len_bytes) == 0)
                    memset(flags + at, true, control[i].len_bytes);
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
    CHECK(errors == NULL ? whole.errors[0] == '\0' : view_is(errors->first->text, whole.errors), "%s: errors %s", name,
          whole.errors);
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

/* ---- turns that templates render ---- */

static const int64_t CLOCK_S = 1795348800;
static const struct render_options options = { .clock_s = CLOCK_S };
static size_t turns_read, turns_dropped;

/* The case's variables with the first `count` messages alone, the last of them emptied or not, and with or without a
 * generation prompt, rendered. */
static void copy_message(json_writer *w, const json_value *message);

static bool render_some(const chat_template *t, const json_value *vars, size_t count, bool emptied, bool generation,
                        view *out)
{
    static json_writer w;
    err e = { 0 };
    view text;
    const json_value *v;
    struct rendered r;
    json_writer_start(&w, &files, 1 << 20, &e);
    json_begin_object(&w);
    JSON_EACH(var, vars)
    {
        if (view_is(var->key, "add_generation_prompt")) continue;
        json_key_view(&w, var->key);
        if (!view_is(var->key, "messages")) {
            json_copy(&w, var);
            continue;
        }
        size_t left = count;
        json_begin_array(&w);
        JSON_EACH(message, var)
        {
            if (left == 1 && emptied) json_raw(&w, view_of("{\"role\": \"assistant\", \"content\": \"\"}"));
            else if (left > 0) copy_message(&w, message);
            if (left > 0) left--;
        }
        json_end_array(&w);
    }
    json_key(&w, "add_generation_prompt");
    json_bool(&w, generation);
    json_end_object(&w);
    if (!json_done(&w, &text) || !json_parse(text, &files, &v, &e) || !template_render(t, v, &options, &files, &r, &e))
        return false;
    *out = r.text;
    return true;
}

/* A message as a server gives it to a template: arguments that are text become the object they hold. */
static void copy_message(json_writer *w, const json_value *v)
{
    if (v->type == JSON_ARRAY) {
        json_begin_array(w);
        JSON_EACH(item, v) copy_message(w, item);
        json_end_array(w);
        return;
    }
    if (v->type != JSON_OBJECT) {
        json_copy(w, v);
        return;
    }
    json_begin_object(w);
    JSON_EACH(member, v)
    {
        json_key_view(w, member->key);
        if (view_is(member->key, "arguments") && member->type == JSON_STRING) json_raw(w, member->text);
        else copy_message(w, member);
    }
    json_end_object(w);
}

static view trimmed(view v)
{
    while (v.len_bytes > 0 && strchr(" \n\t", v.ptr[0]) != NULL) v = view_after(v, 1);
    while (v.len_bytes > 0 && strchr(" \n\t", v.ptr[v.len_bytes - 1]) != NULL) v.len_bytes--;
    return v;
}

static bool stands_in(view text, view part)
{
    return part.len_bytes > 0 && memmem(text.ptr, text.len_bytes, part.ptr, part.len_bytes) != NULL;
}

/* The message's own content and reasoning; "<think>a</think>b" in the content is both. */
static void parts_of(const json_value *message, const struct reply_family *f, view *content, view *reasoning)
{
    const json_value *c = json_get(message, "content"), *r = json_get(message, "reasoning_content");
    if (c != NULL && c->type == JSON_ARRAY) c = json_get(json_item(c, 0), "text");
    *content = c != NULL && c->type == JSON_STRING ? trimmed(c->text) : view_of("");
    *reasoning = r != NULL && r->type == JSON_STRING ? trimmed(r->text) : view_of("");
    const uint8_t *close = memmem(content->ptr, content->len_bytes, "</think>", 8);
    if (close == NULL || f->think_close == NULL || strcmp(f->think_close, "</think>") != 0) return;
    *reasoning = trimmed((view){ content->ptr + 7, (size_t)(close - content->ptr) - 7 });
    *content = trimmed(view_after(*content, (size_t)(close - content->ptr) + 8));
}

static view calls_text(const json_value *message)
{
    static json_writer w;
    err e = { 0 };
    view text = { NULL, 0 };
    const json_value *calls = json_get(message, "tool_calls");
    json_writer_start(&w, &files, 1 << 16, &e);
    json_begin_array(&w);
    if (calls != NULL) JSON_EACH(call, calls)
        {
            const json_value *function = json_get(call, "function"), *args = json_get(function, "arguments");
            json_begin_object(&w);
            json_key(&w, "name");
            json_string(&w, json_get(function, "name")->text);
            json_key(&w, "arguments");
            if (args->type == JSON_STRING) json_raw(&w, args->text);
            else json_copy(&w, args);
            json_end_object(&w);
        }
    json_end_array(&w);
    json_done(&w, &text);
    return text;
}

/* A rendering may go on behind the turn: up to and with the first marker that ends it. */
static view turn_alone(const struct reply_format *f, view text)
{
    size_t best = text.len_bytes;
    const char *ends = f->family->ends;
    view one = f->turn_end;
    for (;;) {
        const uint8_t *hit = one.len_bytes == 0 ? NULL : memmem(text.ptr, text.len_bytes, one.ptr, one.len_bytes);
        size_t end = hit == NULL ? best : (size_t)(hit - text.ptr) + one.len_bytes;
        bool starts_call = hit != NULL && f->family->call != NULL && strlen(f->family->call) > one.len_bytes &&
                           memcmp(f->family->call, one.ptr, one.len_bytes) == 0; /* GigaChat 3: a message of its own */
        if (end < best && !starts_call && !view_is(one, f->family->think_close == NULL ? "" : f->family->think_close))
            best = end;
        if (ends == NULL || *ends == '\0') return (view){ text.ptr, best };
        one = (view){ (const uint8_t *)ends, strcspn(ends, "\n") };
        ends += one.len_bytes + (ends[one.len_bytes] == '\n');
    }
}

/* One rendered turn: what of the message stands in it must come back, and nothing else. */
static void check_turn(const char *name, const struct reply_format *f, const struct reply_tool *tools,
                       size_t tool_count, const json_value *message, view prompt, view empty, view text)
{
    err e = { 0 };
    size_t start = reply_turn_start(prompt.len_bytes > 0 && view_starts(text, prompt) ? prompt : empty, text);
    view turn = turn_alone(f, view_after(text, start)), content, reasoning, wanted = calls_text(message);
    struct reply_setup setup = { .format = *f, .tools = tools, .tool_count = tool_count };
    struct input in = { .text = turn, .control = ARENA_ARRAY(&files, bool, turn.len_bytes + 1, "flags", &e) };
    struct heard whole = listener(), other = listener();
    const json_value *calls = NULL;
    setup.in_reasoning = reply_turn_in_reasoning(f, (view){ text.ptr, start }, turn);
    parts_of(message, f->family, &content, &reasoning);
    if (!same_however_cut(name, &setup, &in, &whole, &other)) return;
    if (!CHECK(json_parse(wanted, &files, &calls, &e), "%s", e.text)) return;
    if ((calls->count > 1 && !f->parallel) ||
        (calls->count > 0 && (!f->calls || !stands_in(turn, calls->first->first->text)))) {
        /* gpt-oss and GigaChat render the first call alone, DeepSeek R1 none beside content, others none at all */
        turns_dropped++;
        return;
    }
    const json_value *own = json_get(message, "content");
    bool text_content = own != NULL && own->type == JSON_STRING; /* else templates print None, or a list */
    if (!stands_in(turn, content)) content = view_of("");
    if (!stands_in(turn, reasoning)) reasoning = view_of("");
    turns_read++;
    view heard_content = trimmed(view_of(whole.content)), heard_reasoning = trimmed(view_of(whole.reasoning));
    CHECK(!text_content || view_equal(heard_content, content), "%s: content <<%s>> of <<%.*s>>", name, whole.content,
          (int)turn.len_bytes, (const char *)turn.ptr);
    bool twice = json_get(message, "reasoning_content") != NULL && text_content &&
                 stands_in(own->text, view_of("</think>"));
    CHECK(twice || view_equal(heard_reasoning, reasoning), "%s: reasoning <<%s>> of <<%.*s>>", name, whole.reasoning,
          (int)turn.len_bytes, (const char *)turn.ptr);
    calls_equal(name, whole.calls, calls);
    CHECK(whole.errors[0] == '\0', "%s: %s in <<%.*s>>", name, whole.errors, (int)turn.len_bytes,
          (const char *)turn.ptr);
}

static size_t tools_of(const json_value *list, struct reply_tool *tools)
{
    size_t n = 0;
    if (list == NULL || list->type != JSON_ARRAY) return 0;
    JSON_EACH(item, list)
    {
        const json_value *function = json_get(item, "function");
        if (function != NULL && n < 16)
            tools[n++] = (struct reply_tool){ json_get(function, "name")->text, json_get(function, "parameters") };
    }
    return n;
}

static void check_case(const char *file, const chat_template *t, const struct reply_format *f, const json_value *row)
{
    struct reply_tool tools[16];
    const json_value *vars = json_get(row, "vars"), *messages = json_get(vars, "messages"), *id = json_get(row, "case");
    size_t index = 0, tool_count = tools_of(json_get(vars, "tools"), tools), keep = files.used_bytes;
    if (messages == NULL) return;
    JSON_EACH(message, messages)
    {
        view prompt = view_of(""), empty, text;
        char name[300];
        const json_value *role = json_get(message, "role");
        snprintf(name, sizeof name, "%s %.*s message %zu", file, (int)id->text.len_bytes, (const char *)id->text.ptr,
                 index);
        bool assistant = role != NULL && role->type == JSON_STRING && view_is(role->text, "assistant");
        if (assistant && render_some(t, vars, index + 1, false, false, &text)) {
            if (index == 0 || !render_some(t, vars, index, false, true, &prompt)) prompt = view_of("");
            if (!render_some(t, vars, index + 1, true, false, &empty)) empty = prompt.len_bytes > 0 ? prompt : text;
            check_turn(name, f, tools, tool_count, message, prompt, empty, text);
        }
        arena_rewind(&files, keep);
        index++;
    }
}

static void check_template(const char *folder, const char *file)
{
    char path[1000];
    view source, lines, line;
    err e = { 0 };
    const chat_template *t;
    struct reply_format f;
    arena_rewind(&files, 0);
    snprintf(path, sizeof path, "%s/%s", folder, file);
    if (!CHECK(file_read(path, 1 << 20, &files, &source, &e) && template_parse(source, &files, &t, &e), "%s: %s", file,
               e.text))
        return;
    reply_derive(t, &options, &files, &f);
    if (f.family == NULL) return;
    snprintf(strstr(path, ".jinja"), 20, ".cases.jsonl");
    if (!CHECK(file_read(path, 1 << 22, &files, &lines, &e), "%s: %s", file, e.text)) return;
    size_t keep = files.used_bytes;
    while (json_line(&lines, &line)) {
        const json_value *row;
        arena_rewind(&files, keep);
        if (CHECK(json_parse(line, &files, &row, &e), "%s: %s", file, e.text)) check_case(file, t, &f, row);
    }
}

static void all_turns(void)
{
    char folder[600];
    snprintf(folder, sizeof folder, "%s/reference/templates", check_shared());
    DIR *d = opendir(folder);
    if (d == NULL) {
        check_skip("no reference templates");
        return;
    }
    for (struct dirent *entry; (entry = readdir(d)) != NULL;)
        if (strstr(entry->d_name, ".jinja") != NULL) check_template(folder, entry->d_name);
    closedir(d);
    printf("%zu rendered turns read back, %zu with calls their template drops\n", turns_read, turns_dropped);
}

static void count_calls(void *arg, const struct reply_event *event)
{
    *(size_t *)arg += event->type == REPLY_CALL_END;
}

/* Rows and rules that the reference has no case of: family, reply, what must come out. */
static const char own[] =
    "{\"id\": \"v3.2 section\", \"family\": \"deepseek-v3.2\", \"output\": "
    "\"a\\n\\n<｜DSML｜function_calls>\\n<｜DSML｜invoke"
    " name=\\\"f\\\">\\n<｜DSML｜parameter name=\\\"k\\\" "
    "string=\\\"false\\\">1</｜DSML｜parameter>\\n</｜DSML｜invoke>\\n"
    "</｜DSML｜function_calls>\", \"expect\": {\"content\": \"a\", \"reasoning\": \"\", \"tool_calls\": [{\"name\": "
    "\"f\","
    " \"arguments\": {\"k\": 1}}]}}\n"
    "{\"id\": \"call id\", \"family\": \"mistral-call-id\", \"output\": "
    "\"[TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{}</s>\", \"expect\":"
    " {\"content\": \"\", \"reasoning\": \"\", \"tool_calls\": [{\"name\": \"f\", \"arguments\": {}}]}}\n"
    "{\"id\": \"attributes\", \"family\": \"minicpm5\", \"output\": \"<function name=\\\"f\\\"><param "
    "name=\\\"k\\\">v</param>"
    "</function><|im_end|>\", \"expect\": {\"content\": \"\", \"reasoning\": \"\", \"tool_calls\": [{\"name\": \"f\", "
    "\"arguments\":"
    " {\"k\": \"v\"}}]}}\n"
    "{\"id\": \"arguments as text behind a name\", \"family\": \"functionary\", \"output\": "
    "\"<function=f>\\\"{\\\\\\\"k\\\\\\\": 1}\\\""
    "</function>\", \"expect\": {\"content\": \"\", \"reasoning\": \"\", \"tool_calls\": [{\"name\": \"f\", "
    "\"arguments\": {\"k\":"
    " 1}}]}}\n"
    "{\"id\": \"ends inside a call by itself\", \"family\": \"hermes\", \"output\": \"a <tool_call>{\\\"name\\\": "
    "\\\"f\\\", \", \"expect\":"
    " {\"content\": \"a <tool_call>{\\\"name\\\": \\\"f\\\", \", \"reasoning\": \"\", \"tool_calls\": [], \"errors\":"
    " [\"incomplete_call\"]}}\n"
    "{\"id\": \"a name twice in the arguments\", \"family\": \"functionary\", \"output\": \"<function=f>{\\\"k\\\": 1, "
    "\\\"k\\\": 2}</function>\","
    " \"expect\": {\"content\": \"<function=f>{\\\"k\\\": 1, \\\"k\\\": 2}</function>\", \"reasoning\": \"\", "
    "\"tool_calls\": [],"
    " \"errors\": [\"bad_call\"]}}\n"
    "{\"id\": \"a value not of its type\", \"family\": \"qwen3-coder\", \"tools\": [{\"name\": \"f\", \"params\": "
    "{\"k\": \"integer\"}}],"
    " \"output\": \"<tool_call>\\n<function=f>\\n<parameter=k>\\nx\\n</parameter>\\n</function>\\n</tool_call>\", "
    "\"expect\": {\"content\":"
    " \"<tool_call>\\n<function=f>\\n<parameter=k>\\nx\\n</parameter>\\n</function>\\n</tool_call>\", \"reasoning\": "
    "\"\", \"tool_calls\":"
    " [], \"errors\": [\"bad_call\"]}}\n"
    "{\"id\": \"blanks kept\", \"family\": \"hermes\", \"output\": \"\\n a  b \\n\", \"expect\": {\"content\": \"\\n a "
    " b \\n\", \"reasoning\":"
    " \"\", \"tool_calls\": []}}\n";

static void own_replies(void)
{
    view lines = view_of(own), line;
    err e = { 0 };
    while (json_line(&lines, &line)) {
        const json_value *row;
        arena_rewind(&files, 0);
        if (CHECK(json_parse(line, &files, &row, &e), "%s", e.text)) check_reply(row);
    }
}

/* The longest call that is held, one byte more, and a call that the arena has no room for. */
static void limits_hold(void)
{
    static const char open[] = "<function=f>{\"k\": \"", close[] = "\"}</function>";
    static uint8_t text[REPLY_HELD_MAX + 2];
    static bool plain[sizeof text];
    for (int by = 0; by < 3; by++) {
        struct reply_setup setup = { .format = { .family = reply_family_named(view_of("functionary")) } };
        size_t length = by < 2 ? (size_t)(REPLY_HELD_MAX + by) : 60000; /* held until its last byte */
        arena small = { 0 }, *a = &files;
        size_t calls = 0;
        reply_parser *p;
        err e = { 0 };
        arena_rewind(&files, 0);
        memset(text, 'x', length);
        memcpy(text, open, sizeof open - 1);
        memcpy(text + length - (sizeof close - 1), close, sizeof close - 1);
        if (by == 2 && !CHECK(arena_new(&small, 1 << 16, &e), "%s", e.text)) return;
        if (by == 2) a = &small;
        if (!CHECK(reply_new(&setup, count_calls, &calls, a, &p, &e), "%s", e.text)) return;
        for (size_t at = 0; at < length; at += 1000)
            feed(p, &(struct input){ { text, length }, plain, false }, at, at + 1000 < length ? at + 1000 : length);
        reply_finish(p, false);
        CHECK(calls == (by == 0), "a call of %zu bytes in %zu bytes: %zu calls", length, a->size_bytes, calls);
        arena_free(&small);
    }
}

/* Replies around the limits that could make a result depend on where it was cut: whole, by byte and by 1,000 bytes. */
static void long_replies(void)
{
    static const struct {
        const char *says, *family, *before, *filling, *after;
        int limit;
    } rows[] = {
        { "blanks before a marker", "hermes", "a", " ", "<think>b", REPLY_BLANKS_MAX },
        { "blanks before a call", "functionary", "a", "\n", "<function=f>{}</function>", REPLY_BLANKS_MAX },
        { "blanks before text", "hermes", "a", " ", "b", REPLY_BLANKS_MAX },
        { "blanks in a call's header", "hermes", "<tool_call>{", " ", "\"name\": \"f\", \"arguments\": {}}</tool_call>",
          1024 },
        { "a header of a message", "harmony", "<|channel|>", "x", "<|message|>b<|return|>", 1024 },
        { "the name of a tool", "functionary", "<function=", "f", ">{}</function>", REPLY_NAME_MAX },
        { "blanks behind a raw value", "qwen3-coder", "<function=f><parameter=k>v</parameter>", " ", "</function>",
          64 },
    };
    static uint8_t text[REPLY_BLANKS_MAX + 4096];
    static bool plain[sizeof text];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        arena_rewind(&files, 0);
        struct heard whole = listener(), other = listener();
        for (int by = -60; by <= 60; by += by < -2 || by > 1 ? 10 : 1) {
            struct reply_setup setup = { .format = { .family = reply_family_named(view_of(rows[i].family)) } };
            size_t n = 0;
            add((char *)text, &n, rows[i].before, strlen(rows[i].before));
            memset(text + n, rows[i].filling[0], (size_t)(rows[i].limit + by));
            n += (size_t)(rows[i].limit + by);
            add((char *)text, &n, rows[i].after, strlen(rows[i].after));
            struct input in = { { text, n }, plain, false };
            if (!listen(&setup, &in, n, false, true, &whole) || !listen(&setup, &in, n, true, true, &other)) return;
            CHECK(whole.trace_len == other.trace_len && memcmp(whole.trace, other.trace, whole.trace_len) == 0,
                  "%s, limit %+d, by byte", rows[i].says, by);
            if (!listen(&setup, &in, 1000 < n ? 1000 : n, false, true, &other)) return;
            CHECK(whole.trace_len == other.trace_len && memcmp(whole.trace, other.trace, whole.trace_len) == 0,
                  "%s, limit %+d, in two", rows[i].says, by);
        }
    }
}

/* Conventions that no row has: a row is made for them from what they render, and reads the renderings back. */
static void unknown_conventions(void)
{
    static const struct {
        const char *says, *calls;
    } rows[] = {
        { "objects between tags of their own", "{% for c in m.tool_calls %}<<do>>{{ {'fn': c.function.name, 'with': "
                                               "c.function.arguments}|tojson }}<</do>>\n{% endfor %}" },
        { "a name and an object",
          "{% for c in m.tool_calls %}@@{{ c.function.name }}=>{{ c.function.arguments|tojson }}@end\n{% endfor %}" },
        { "a section around calls", "[[calls]]{% for c in m.tool_calls %}[[call {{ c.function.name }}]]{{ "
                                    "c.function.arguments|tojson }}[[/call]]{% endfor %}[[/calls]]" },
        { "an array", "<acts>[{% for c in m.tool_calls %}{{ {'name': c.function.name, 'input': "
                      "c.function.arguments}|tojson }}{{ ', ' if not loop.last }}"
                      "{% endfor %}]</acts>" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char source[1200];
        const chat_template *t;
        struct reply_format f;
        err e = { 0 };
        arena_rewind(&files, 0);
        snprintf(source, sizeof source,
                 "{%% for m in messages %%}<|{{ m.role }}|>{%% if m.reasoning_content %%}<mull>{{ m.reasoning_content "
                 "}}</mull>{%% endif %%}"
                 "{{ m.content }}{%% if m.tool_calls %%}%s{%% endif %%}<|stop|>{%% endfor %%}{%% if "
                 "add_generation_prompt %%}<|assistant|>{%% endif %%}",
                 rows[i].calls);
        if (!CHECK(template_parse(view_of(source), &files, &t, &e), "%s", e.text)) continue;
        reply_derive(t, &options, &files, &f);
        CHECK(f.family != NULL && strcmp(reply_family_name(f.family), "generated") == 0 && f.calls && f.parallel &&
                  f.reasoning && view_is(f.turn_end, "<|stop|>"),
              "%s: %s, calls %d, parallel %d, reasoning %d, script %s", rows[i].says,
              f.family == NULL ? "no row" : reply_family_name(f.family), f.calls, f.parallel, f.reasoning,
              f.family == NULL || f.family->call == NULL ? "" : f.family->call);
    }
}

int main(void)
{
    err e = { 0 };
    if (!arena_new(&files, (size_t)1 << 28, &e) || !arena_new(&room, (size_t)1 << 28, &e)) return 1;
    own_replies();
    limits_hold();
    long_replies();
    unknown_conventions();
    all_replies();
    arena_rewind(&files, 0);
    all_turns();
    arena_free(&files);
    arena_free(&room);
    return check_done();
}
