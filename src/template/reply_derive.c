/* The format of a template, from what it renders. Conversations with sentinel values are rendered; the turn of the
 * assistant is what stands behind the generation prompt; each row of the table then has to read that turn back as it
 * went in. Where none does, a row is made from what stands around the sentinels, and has to do the same. Nothing is
 * guessed from the template's text unless it renders no calls at all: then a row whose marker it mentions is taken, for
 * models that were trained with it, and `calls` stays false. */
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

/* ---- a row for a convention that the table does not have ---- */

static size_t place_of(view text, const char *what, size_t from) /* SIZE_MAX where it is not */
{
    size_t n = strlen(what);
    const uint8_t *hit = from >= text.len_bytes ? NULL : memmem(text.ptr + from, text.len_bytes - from, what, n);
    return hit == NULL ? SIZE_MAX : (size_t)(hit - text.ptr);
}

static view trimmed(view v)
{
    while (v.len_bytes > 0 && (v.ptr[0] == ' ' || v.ptr[0] == '\n')) v = view_after(v, 1);
    while (v.len_bytes > 0 && (v.ptr[v.len_bytes - 1] == ' ' || v.ptr[v.len_bytes - 1] == '\n')) v.len_bytes--;
    return v;
}

/* Text between two places, without blanks around, as a C string; "" where there is none, NULL where it is no marker. */
static const char *marker_between(view text, size_t from, size_t to, arena *a)
{
    err ignored = { 0 };
    view copy, piece = trimmed((view){ text.ptr + from, to > from ? to - from : 0 });
    bool fine = to >= from && piece.len_bytes <= REPLY_MARKER_MAX &&
                (piece.len_bytes == 0 || memchr(piece.ptr, '%', piece.len_bytes) == NULL);
    return fine && arena_copy(a, piece, &copy, "marker", &ignored) ? (const char *)copy.ptr : NULL;
}

/* One call in a rendering: where its name stands, and its arguments with what JSON there is around both. */
struct found_call {
    size_t from, name, name_end, args, to;
    bool whole; /* name and arguments are members of one object, which begins at `from` */
    const char *name_key, *args_key;
};

/* The end of the JSON value that begins at `from`, or SIZE_MAX. */
static size_t value_end(view text, size_t from)
{
    size_t depth = 0;
    bool quoted = false;
    for (size_t at = from; at < text.len_bytes; at++) {
        uint8_t c = text.ptr[at];
        if (quoted && c == '\\') at++;
        else if (c == '"') quoted = !quoted;
        else if (!quoted && (c == '{' || c == '[')) depth++;
        else if (!quoted && (c == '}' || c == ']') && --depth == 0) return at + 1;
    }
    return SIZE_MAX;
}

static bool find_call(view text, const char *name, size_t from, arena *a, struct found_call *out)
{
    const json_value *v;
    err ignored = { 0 };
    *out = (struct found_call){ .name = place_of(text, name, from) };
    size_t kilo = out->name == SIZE_MAX ? SIZE_MAX : place_of(text, "\"kilo\"", out->name);
    if (kilo == SIZE_MAX) return false;
    out->name_end = out->name + strlen(name);
    for (out->args = kilo; out->args > out->name && text.ptr[out->args] != '{';) out->args--;
    out->from = out->name;
    out->to = value_end(text, out->args);
    if (text.ptr[out->args] != '{' || out->to == SIZE_MAX) return false;
    if (out->name == 0 || text.ptr[out->name - 1] != '"') return true;
    while (out->from > from && text.ptr[out->from] != '{') out->from--;
    out->to = text.ptr[out->from] == '{' ? value_end(text, out->from) : SIZE_MAX;
    if (out->to == SIZE_MAX || !json_parse((view){ text.ptr + out->from, out->to - out->from }, a, &v, &ignored))
        return false;
    JSON_EACH(member, v)
    {
        view key;
        if (!arena_copy(a, member->key, &key, "key", &ignored)) return false;
        if (member->type == JSON_STRING && view_is(member->text, name)) out->name_key = (const char *)key.ptr;
        if (member->type == JSON_OBJECT) out->args_key = (const char *)key.ptr;
    }
    out->whole = true;
    return out->name_key != NULL && out->args_key != NULL;
}

static const char *joined(arena *a, const char *const *parts, size_t count)
{
    char text[4 * REPLY_MARKER_MAX];
    view copy;
    err ignored = { 0 };
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i] == NULL || len + strlen(parts[i]) >= sizeof text) return NULL;
        memcpy(text + len, parts[i], strlen(parts[i]));
        len += strlen(parts[i]);
    }
    return arena_copy(a, (view){ (const uint8_t *)text, len }, &copy, "script", &ignored) ? (const char *)copy.ptr
                                                                                          : NULL;
}

/* What two calls have between them begins the second: the longest text that also ends what stands before the first,
 * from the first byte on that could begin a marker. */
static size_t shared_opener(view text, size_t start, const struct found_call *one, const struct found_call *two)
{
    size_t n = 0;
    while (one->from - n > start && two->from - n > one->to &&
           text.ptr[one->from - n - 1] == text.ptr[two->from - n - 1])
        n++;
    for (; n > 1; n--) { /* what closes the marker before is not of this one: "|>", "]]", ">" */
        uint8_t c = text.ptr[one->from - n], next = text.ptr[one->from - n + 1];
        if (memchr("])}> \n", c, 6) == NULL && !(c == '|' && next == '>')) break;
    }
    return n;
}

/* Marks of reasoning: what stands before and behind its sentinel. */
static void find_reasoning(struct reply_family *f, view prompt, view text, arena *a)
{
    size_t start = reply_turn_start(prompt, text), at = place_of(text, REASONING, start);
    size_t content = at == SIZE_MAX ? SIZE_MAX : place_of(text, CONTENT, at);
    if (content == SIZE_MAX) return;
    const char *open = marker_between(text, start, at, a),
               *close = marker_between(text, at + strlen(REASONING), content, a);
    if (open == NULL || close == NULL || *open == '\0' || *close == '\0') return;
    f->think_open = open;
    f->think_close = close;
}

/* Calls written as JSON objects, alone or in an array, or as a name and a JSON object, between markers of their own.
 * With two calls to look at, what stands around all of them is told from what stands around each. */
static const struct reply_family *generate(view prompt, const view *texts, const bool *have, view end, arena *a)
{
    err ignored = { 0 };
    struct reply_family *f = ARENA_ARRAY(a, struct reply_family, 1, "convention", &ignored);
    view text = texts[have[TURN_TWO_CALLS] ? TURN_TWO_CALLS : TURN_ONE_CALL];
    size_t start = reply_turn_start(prompt, text), opener, closer, last;
    struct found_call one, two = { 0 };
    if (f == NULL || !find_call(text, NAMES[0], start, a, &one)) return NULL;
    bool pair = have[TURN_TWO_CALLS] && find_call(text, NAMES[1], one.to, a, &two);
    view behind = view_after(text, pair ? two.to : one.to);
    const uint8_t *hit = end.len_bytes == 0 ? NULL : memmem(behind.ptr, behind.len_bytes, end.ptr, end.len_bytes);
    last = hit == NULL ? text.len_bytes : (size_t)(hit - text.ptr);
    size_t shared = pair ? shared_opener(text, start, &one, &two) : one.from - start;
    opener = one.from - shared;
    closer = pair ? two.from - shared : last;
    bool array = one.whole && one.from > start && trimmed((view){ text.ptr + start, one.from - start }).len_bytes > 0;
    view before = trimmed((view){ text.ptr + start, one.from - start });
    array = array && before.ptr[before.len_bytes - 1] == '[';
    *f = (struct reply_family){ .name = "generated", .name_key = one.name_key, .args_key = one.args_key };
    find_reasoning(f, prompt, texts[TURN_REASONING], a);
    if (array) {
        size_t open = (size_t)(before.ptr - text.ptr) + before.len_bytes - 1, close = value_end(text, open);
        const char *const parts[] = { marker_between(text, start, open, a), "%w%a%w",
                                      close == SIZE_MAX ? NULL : marker_between(text, close, last, a) };
        f->call = joined(a, parts, 3);
        return f->call == NULL || parts[0][0] == '\0' ? NULL : f;
    }
    const char *open = marker_between(text, opener, one.from, a), *close = marker_between(text, one.to, closer, a);
    const char *const whole[] = { open, "%w%o%w", close }, *const named[] = {
        open, "%w%n", marker_between(text, one.name_end, one.args, a), "%w%j%w", close
    };
    f->call = one.whole ? joined(a, whole, 3) : joined(a, named, 5);
    if (f->call == NULL || open[0] == '\0' || (!one.whole && named[2][0] == '\0')) return NULL;
    f->section_open = pair ? marker_between(text, start, opener, a) : NULL;
    f->section_close = pair && f->section_open != NULL ? marker_between(text, two.to + (closer - one.to), last, a)
                                                       : NULL;
    if (f->section_open == NULL || f->section_close == NULL || *f->section_open == '\0' || *f->section_close == '\0')
        f->section_open = f->section_close = NULL;
    return f;
}

static bool mentions(view source, const char *script)
{
    size_t len = script == NULL ? 0 : strcspn(script, "%");
    return len > 0 && memmem(source.ptr, source.len_bytes, script, len) != NULL;
}

/* For templates that render no calls: the first row whose markers the template speaks of. */
static const struct reply_family *mentioned(view source)
{
    for (size_t i = 0; i < REPLY_FAMILY_COUNT; i++) {
        const struct reply_family *row = &REPLY_FAMILIES[i];
        bool section = row->section_open == NULL || mentions(source, row->section_open);
        if (row->call == NULL ? mentions(source, row->think_close) : section && mentions(source, row->call)) return row;
    }
    return NULL;
}

void reply_derive(const chat_template *t, const struct render_options *options, arena *scratch,
                  struct reply_format *out)
{
    view texts[TURNS];
    bool have[TURNS];
    *out = (struct reply_format){ .family = NULL };
    for (int i = 0; i < TURNS; i++) have[i] = render(t, options, (enum turn)i, scratch, &texts[i]);
    if (!have[TURN_NONE] || !have[TURN_CONTENT]) return;
    view prompt = texts[TURN_NONE], end = turn_end(texts[TURN_CONTENT]);
    if (!have[TURN_REASONING]) texts[TURN_REASONING] = prompt;
    for (size_t i = 0; i <= REPLY_FAMILY_COUNT && have[TURN_ONE_CALL] && !out->calls;
         i++) { /* the last: one of its own */
        struct reply_format f = { .turn_end = end };
        f.family = i < REPLY_FAMILY_COUNT ? &REPLY_FAMILIES[i] : generate(prompt, texts, have, end, scratch);
        if (f.family == NULL || f.family->call == NULL || !reads(&f, prompt, texts[TURN_ONE_CALL], 1, "", "", scratch))
            continue;
        f.calls = true;
        *out = f;
    }
    if (out->family == NULL) *out = (struct reply_format){ .family = mentioned(template_source(t)), .turn_end = end };
    if (out->family == NULL) return;
    out->parallel = out->calls && have[TURN_TWO_CALLS] && reads(out, prompt, texts[TURN_TWO_CALLS], 2, "", "", scratch);
    out->reasoning = have[TURN_REASONING] && reads(out, prompt, texts[TURN_REASONING], 0, CONTENT, REASONING, scratch);
}
