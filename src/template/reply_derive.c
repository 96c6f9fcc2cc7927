/* The format of a template, from what it renders. Conversations with sentinel values are rendered; the turn of the
 * assistant is what stands behind the generation prompt; each row of the table then has to read that turn back as it
 * went in. Nothing is guessed from the template's text unless it renders no calls at all: then a row whose marker it
 * mentions is taken, for models that were trained with it, and `calls` stays false. */
#include "template/reply_family.h"

#include "base/checked.h"

#include <stdio.h>

enum { HEARD_BYTES = 4096, CALLS_MAX = 4 };

/* The sentinels: plain words, so that no template has a reason to change them. */
#define TOOL(name)                                                                                                     \
    "{\"type\":\"function\",\"function\":{\"name\":\"" name                                                            \
    "\",\"description\":\"golf\",\"parameters\":{\"type\":\"object\","                                                 \
    "\"properties\":{\"kilo\":{\"type\":\"string\",\"description\":\"hotel\"},\"lima\":{\"type\":\"integer\","         \
    "\"description\":"                                                                                                 \
    "\"india\"}},\"required\":[\"kilo\"]}}}"
#define USER "{\"role\":\"user\",\"content\":\"Zulu question\"}"
#define CALL_ONE                                                                                                       \
    "{\"id\":\"call00001\",\"type\":\"function\",\"function\":{\"name\":\"fun_alpha\",\"arguments\":{\"kilo\":"        \
    "\"Charlie word\",\"lima\":17}}}"
#define CALL_TWO                                                                                                       \
    "{\"id\":\"call00002\",\"type\":\"function\",\"function\":{\"name\":\"fun_bravo\",\"arguments\":{\"kilo\":"        \
    "\"Delta word\"}}}"

static const char CONTENT[] = "Echo answer.", REASONING[] = "Foxtrot thought.";
static const char *const NAMES[] = { "fun_alpha", "fun_bravo" };
static const char *const ARGS[] = { "{\"kilo\":\"Charlie word\",\"lima\":17}", "{\"kilo\":\"Delta word\"}" };

enum turn { TURN_NONE, TURN_CONTENT, TURN_REASONING, TURN_ONE_CALL, TURN_TWO_CALLS, TURNS };

static const char *const TURN_TEXTS[TURNS] = {
    [TURN_CONTENT] = "{\"role\":\"assistant\",\"content\":\"Echo answer.\"}",
    [TURN_REASONING] =
        "{\"role\":\"assistant\",\"content\":\"Echo answer.\",\"reasoning_content\":\"Foxtrot thought.\"}",
    [TURN_ONE_CALL] = "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[" CALL_ONE "]}",
    [TURN_TWO_CALLS] = "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[" CALL_ONE "," CALL_TWO "]}",
};

struct heard {
    char content[HEARD_BYTES], reasoning[HEARD_BYTES];
    size_t content_len, reasoning_len, calls;
    bool good; /* calls so far are the sentinels', in order */
    bool error;
    arena *arena;
};

static void hear_text(char *text, size_t *len, view bytes)
{
    size_t n = min_size(bytes.len_bytes, HEARD_BYTES - 1 - *len);
    if (n > 0) memcpy(text + *len, bytes.ptr, n);
    *len += n;
    text[*len] = '\0';
}

static void hear(void *arg, const struct reply_event *event)
{
    struct heard *h = arg;
    const json_value *got, *want;
    err ignored = { 0 };
    switch (event->type) {
    case REPLY_CONTENT:
        hear_text(h->content, &h->content_len, event->text);
        break;
    case REPLY_REASONING:
        hear_text(h->reasoning, &h->reasoning_len, event->text);
        break;
    case REPLY_CALL_BEGIN:
        h->good = h->good && h->calls < 2 && view_is(event->name, NAMES[h->calls]);
        break;
    case REPLY_CALL_ARGS:
        h->good = h->good && json_parse(event->text, h->arena, &got, &ignored) &&
                  json_parse(view_of(ARGS[h->calls]), h->arena, &want, &ignored) && json_equal(got, want);
        break;
    case REPLY_CALL_END:
        h->calls++;
        break;
    case REPLY_ERROR:
        h->error = true;
        break;
    default:
        break;
    }
}

static bool render(const chat_template *t, const struct render_options *o, enum turn turn, arena *a, view *out)
{
    char vars[2000];
    const json_value *v;
    struct rendered r;
    err ignored = { 0 };
    view text;
    snprintf(
        vars, sizeof vars,
        "{\"bos_token\":\"\",\"eos_token\":\"\",\"messages\":[" USER
        "%s%s],\"tools\":[" TOOL("fun_alpha") "," TOOL("fun_bravo") "],"
                                                                    "\"documents\":null,\"add_generation_prompt\":%s}",
        turn == TURN_NONE ? "" : ",", turn == TURN_NONE ? "" : TURN_TEXTS[turn], turn == TURN_NONE ? "true" : "false");
    if (!arena_copy(a, view_of(vars), &text, "sentinels", &ignored) || !json_parse(text, a, &v, &ignored) ||
        !template_render(t, v, o, a, &r, &ignored))
        return false;
    *out = r.text;
    return true;
}

size_t reply_turn_start(view prompt, view with_turn)
{
    size_t at = 0, n = min_size(prompt.len_bytes, with_turn.len_bytes);
    while (at < n && prompt.ptr[at] == with_turn.ptr[at]) at++;
    if (at == prompt.len_bytes) return at;
    for (size_t back = at; back > 0 && at - back < REPLY_MARKER_MAX;
         back--) { /* the two part inside a marker: before it */
        uint8_t c = with_turn.ptr[back - 1];
        if (c == '>' || c == ']' || c == '\n' || c == ' ') break;
        if (c == '<' || c == '[') return back - 1;
    }
    return at;
}

bool reply_turn_in_reasoning(const struct reply_format *f, view prompt, view turn)
{
    if (f->family == NULL || f->family->think_close == NULL) return false;
    view open = view_of(f->family->think_open), close = view_of(f->family->think_close);
    if (close.len_bytes == 0 || turn.len_bytes == 0) return reply_starts_in_reasoning(f, prompt);
    const uint8_t *closes = memmem(turn.ptr, turn.len_bytes, close.ptr, close.len_bytes);
    const uint8_t *opens = memmem(turn.ptr, turn.len_bytes, open.ptr, open.len_bytes);
    bool ignored = f->family->ignored != NULL && strstr(f->family->ignored, f->family->think_close) != NULL;
    bool only_closes = closes != NULL && !ignored && (opens == NULL || opens > closes);
    return only_closes || reply_starts_in_reasoning(f, prompt);
}

/* What the template writes behind a turn: up to the first blank, and no further than one marker. */
static view turn_end(view text)
{
    size_t at = 0, len = 0;
    view content = view_of(CONTENT);
    const uint8_t *hit = memmem(text.ptr, text.len_bytes, content.ptr, content.len_bytes);
    if (hit == NULL) return (view){ NULL, 0 };
    view rest = view_after(text, (size_t)(hit - text.ptr) + content.len_bytes);
    while (at < rest.len_bytes && (rest.ptr[at] == ' ' || rest.ptr[at] == '\n')) at++;
    rest = view_after(rest, at);
    while (len < rest.len_bytes && rest.ptr[len] != ' ' && rest.ptr[len] != '\n' && !(len > 0 && rest.ptr[len] == '<'))
        len++;
    return (view){ rest.ptr, len <= REPLY_MARKER_MAX ? len : 0 };
}

/* Does the row read the turn back: these calls, this content and reasoning, nothing more? */
static bool reads(const struct reply_format *f, view prompt, view text, size_t calls, const char *content,
                  const char *reasoning, arena *a)
{
    size_t start = reply_turn_start(prompt, text), mark = a->used_bytes;
    view turn = view_after(text, start), before = { text.ptr, start };
    struct reply_setup setup = { .format = *f, .in_reasoning = reply_turn_in_reasoning(f, before, turn) };
    struct reply_tool tools[2] = { { view_of(NAMES[0]), NULL }, { view_of(NAMES[1]), NULL } };
    struct heard h = { .good = true, .arena = a };
    reply_parser *p;
    err ignored = { 0 };
    setup.tools = tools;
    setup.tool_count = 2;
    if (!reply_new(&setup, hear, &h, a, &p, &ignored)) return false;
    reply_feed(p, turn, false);
    reply_finish(p, false);
    arena_rewind(a, mark);
    return h.good && !h.error && h.calls == calls && strcmp(h.content, content) == 0 &&
           strcmp(h.reasoning, reasoning) == 0;
}

static bool mentions(view source, const char *script)
{
    size_t len = script == NULL ? 0 : strcspn(script, "%");
    return len > 0 && memmem(source.ptr, source.len_bytes, script, len) != NULL;
}

void reply_derive(const chat_template *t, const struct render_options *options, arena *scratch,
                  struct reply_format *out)
{
    view texts[TURNS];
    bool have[TURNS];
    view source = template_source(t);
    *out = (struct reply_format){ .family = NULL };
    for (int i = 0; i < TURNS; i++) have[i] = render(t, options, (enum turn)i, scratch, &texts[i]);
    if (!have[TURN_NONE] || !have[TURN_CONTENT]) return;
    view prompt = texts[TURN_NONE], end = turn_end(texts[TURN_CONTENT]);
    for (size_t i = 0; i < REPLY_FAMILY_COUNT && !out->calls; i++) {
        struct reply_format f = { .family = &REPLY_FAMILIES[i], .turn_end = end };
        if (f.family->call == NULL || !have[TURN_ONE_CALL] ||
            !reads(&f, prompt, texts[TURN_ONE_CALL], 1, "", "", scratch))
            continue;
        f.calls = true;
        *out = f;
    }
    for (size_t i = 0; i < REPLY_FAMILY_COUNT && out->family == NULL;
         i++) { /* no calls rendered: by what it mentions */
        const struct reply_family *row = &REPLY_FAMILIES[i];
        bool said = row->section_open != NULL ? mentions(source, row->section_open) && mentions(source, row->call)
                                              : mentions(source, row->call);
        if (said || (row->call == NULL && mentions(source, row->think_close)))
            *out = (struct reply_format){ .family = row, .turn_end = end };
    }
    if (out->family == NULL) return;
    out->parallel = out->calls && have[TURN_TWO_CALLS] && reads(out, prompt, texts[TURN_TWO_CALLS], 2, "", "", scratch);
    out->reasoning = have[TURN_REASONING] && reads(out, prompt, texts[TURN_REASONING], 0, CONTENT, REASONING, scratch);
}
