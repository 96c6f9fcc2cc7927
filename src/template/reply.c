/* The machine that takes replies apart: see reply.h. All bytes that wait for a decision stand in one buffer:
 *
 *   held    | blanks | opener  name ... arguments ... | not looked at yet |
 *           0        open                             pos                 len
 *
 * In free text it hands out everything up to the last byte that could still begin a marker, or be a blank before one.
 * At a call's opener it runs the row's script, part by part; each part remembers how far it has come, so that a byte is
 * looked at a bounded number of times however the reply is cut. A script that fails before the tool's name was read
 * makes the opener text; one that fails later gives all of it back as text, with an error. */
#include "template/reply_family.h"

#include "base/checked.h"
#include "base/utf8.h"

#include <assert.h>

enum {
    MARKERS_MAX = 24,
    FEED_BYTES = 4096,
    LOOK_AHEAD_BLANKS = 64,
    HEADER_BYTES = 1024,
    REASONING_CALL_BYTES = 1 << 16,
    HELD_BYTES = 1 << 14
};

enum state { IN_CONTENT, IN_REASONING, IN_CALL, IN_HEADER, AT_END };

enum marker_kind {
    MARK_CALL,
    MARK_SECTION_OPEN,
    MARK_SECTION_CLOSE,
    MARK_THINK_OPEN,
    MARK_THINK_CLOSE,
    MARK_IGNORED,
    MARK_HEADER,
    MARK_END
};

struct marker {
    enum marker_kind kind;
    struct literal literal;
};

enum match { MATCH_NO, MATCH_PART, MATCH_FULL };
enum step { STEP_ON, STEP_MORE, STEP_FAIL, STEP_DONE };

struct reply_parser {
    const struct reply_setup *setup;
    const struct reply_family *family;
    reply_sink *sink;
    void *arg;
    arena *arena; /* the caller's: what a call's arguments take of it is given back */
    struct marker markers[MARKERS_MAX];
    size_t marker_count;
    bool first_byte[256]; /* of any marker */
    struct part call[PARTS_MAX], param[PARTS_MAX];
    struct literal channel, message; /* harmony */

    enum state state, before; /* `before`: what the call interrupted */
    uint8_t *held;
    bool *control; /* by byte of held */
    size_t len, capacity;
    bool fixed;         /* the arena has no room for more */
    size_t scan;        /* free text: up to here there is no marker */
    size_t blanks;      /* free text: from here to scan there are blanks alone */
    bool segment_start; /* nothing but blanks since the last marker */
    bool drop;          /* blanks that come now touch that marker */
    bool had_content, had_reasoning, new_block;
    bool in_section, cut, final;
    uint32_t calls;

    /* one call */
    size_t open, pos, pc, mark; /* mark: where the part at hand began */
    const struct part *parts;
    bool header_done, tagged;
    size_t depth;
    bool quoted, escaped;
    uint8_t quote;
    struct span name, id, body;
    struct span key, value;
    int is_string;
    struct {
        struct span key, value;
        int is_string;
    } params[REPLY_PARAMS_MAX];
    size_t param_count;
};

/* ---- events ---- */

static void send(reply_parser *p, struct reply_event event)
{
    p->sink(p->arg, &event);
}

static void send_text(reply_parser *p, size_t from, size_t to, bool reasoning)
{
    bool *had = reasoning ? &p->had_reasoning : &p->had_content;
    if (from == to) return;
    if (p->new_block && *had) send(p, (struct reply_event){ .type = REPLY_BLOCK });
    p->new_block = false;
    *had = true;
    send(p, (struct reply_event){ .type = reasoning ? REPLY_REASONING : REPLY_CONTENT,
                                  .text = { p->held + from, to - from } });
}

/* Drops the first `count` held bytes. */
static void consume(reply_parser *p, size_t count)
{
    assert(count <= p->len);
    memmove(p->held, p->held + count, p->len - count);
    memmove(p->control, p->control + count, p->len - count);
    p->len -= count;
}

/* ---- matching ---- */

static enum match match(const reply_parser *p, size_t at, const struct literal *l)
{
    size_t n = min_size(l->text.len_bytes, p->len - at);
    for (size_t i = 0; i < n; i++)
        if (p->held[at + i] != l->text.ptr[i] || ((l->control >> i & 1) && !p->control[at + i])) return MATCH_NO;
    return n == l->text.len_bytes ? MATCH_FULL : MATCH_PART;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* Does a marker of this kind mean anything here? Reasoning opens only at the start of a segment, and closes only inside
 * or, dropped, as the first thing: later both are prose. */
static bool means(const reply_parser *p, enum marker_kind kind)
{
    bool reasoning = p->state == IN_REASONING;
    switch (kind) {
    case MARK_THINK_OPEN:
        return p->segment_start;
    case MARK_SECTION_CLOSE:
        return p->segment_start && p->calls > 0;
    case MARK_THINK_CLOSE:
        return reasoning || p->segment_start;
    case MARK_SECTION_OPEN:
    case MARK_CALL:
        if (p->family->flags & FAMILY_BARE) return p->segment_start && !reasoning && p->calls == 0 && !p->had_content;
        return !reasoning || (p->family->flags & FAMILY_THINK_TO_CALL) != 0;
    case MARK_IGNORED:
        return !reasoning;
    default:
        return true;
    }
}

/* The marker at `at`: the first that matches whole; MATCH_PART where more bytes could make one. */
static enum match find_marker(const reply_parser *p, size_t at, const struct marker **out)
{
    enum match best = MATCH_NO;
    if (!p->first_byte[p->held[at]]) return MATCH_NO;
    for (size_t i = 0; i < p->marker_count; i++) {
        if (!means(p, p->markers[i].kind)) continue;
        enum match m = match(p, at, &p->markers[i].literal);
        if (m == MATCH_PART) best = MATCH_PART;
        if (m != MATCH_FULL) continue;
        *out = &p->markers[i];
        return best == MATCH_PART && !p->final ? MATCH_PART
                                               : MATCH_FULL; /* a longer one that comes first in the table */
    }
    return best;
}

/* ---- calls: the script ---- */

static const struct reply_tool *tool_named(const reply_parser *p, view name)
{
    for (size_t i = 0; i < p->setup->tool_count; i++)
        if (view_equal(p->setup->tools[i].name, name)) return &p->setup->tools[i];
    return NULL;
}

static view held_view(const reply_parser *p, struct span s)
{
    return (view){ p->held + s.from, s.to - s.from };
}

static enum step next_part(reply_parser *p)
{
    p->pc++;
    p->mark = p->pos;
    p->depth = 0;
    return STEP_ON;
}

static enum step step_literal(reply_parser *p)
{
    const struct literal *l = &p->parts[p->pc].literal;
    enum match m = match(p, p->pos, l);
    if (m == MATCH_NO) return STEP_FAIL;
    if (m == MATCH_PART) return STEP_MORE;
    p->pos += l->text.len_bytes;
    return next_part(p);
}

static enum step step_blanks(reply_parser *p)
{
    while (p->pos < p->len && is_blank(p->held[p->pos])) p->pos++;
    return p->pos == p->len && !p->final ? STEP_MORE : next_part(p);
}

static bool name_byte(uint8_t c)
{
    uint8_t letter = c | 32;
    return (letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

/* A word up to the literal that follows it in the script, or up to the first byte that is not of a name. */
static enum step step_word(reply_parser *p)
{
    enum part_kind kind = p->parts[p->pc].kind;
    const struct part *next = &p->parts[p->pc + 1];
    for (; p->pos < p->len; p->pos++) {
        enum match m = next->kind == PART_LITERAL ? match(p, p->pos, &next->literal) : MATCH_NO;
        uint8_t c = p->held[p->pos];
        bool inside = kind == PART_KEY ? c != '\n' : kind == PART_DIGITS ? c >= '0' && c <= '9' : name_byte(c);
        if (m == MATCH_PART) return STEP_MORE;
        if (m == MATCH_FULL || (next->kind != PART_LITERAL && !inside)) break;
        if (!inside || p->pos - p->mark >= REPLY_NAME_MAX) return STEP_FAIL;
    }
    if (p->pos == p->len) return STEP_MORE;
    if (p->pos == p->mark) return STEP_FAIL;
    struct span word = { p->mark, p->pos };
    if (kind == PART_NAME) p->name = word;
    if (kind == PART_ID) p->id = word;
    if (kind == PART_KEY) p->key = word;
    if (kind == PART_FLAG) p->is_string = view_is(held_view(p, word), "true");
    /* From the end of the name on it is a call, and no prose about one; with raw parameters from the first of them on.
     */
    if (kind == PART_NAME && p->before == IN_REASONING && tool_named(p, held_view(p, word)) == NULL) return STEP_FAIL;
    if (kind == PART_NAME && !p->tagged) p->header_done = true;
    return next_part(p);
}

/* How far `text` follows "{ "KEY" :" with a key a call may begin with. For a bare call: all of the name, which must be
 * listed, and the key of the arguments. */
static enum match header_match(const reply_parser *p, view text, bool array)
{
    size_t at = 0, word = 0, n = 0;
    char want[4];
    if (array) want[n++] = '[';
    want[n++] = '{';
    want[n++] = '"';
    for (size_t i = 0; i < n; i++) {
        while (at < text.len_bytes && is_blank(text.ptr[at])) at++;
        if (at == text.len_bytes) return MATCH_PART;
        if (i == 1 && array && text.ptr[at] == ']') return MATCH_NO; /* no calls in it */
        if (text.ptr[at++] != (uint8_t)want[i]) return MATCH_NO;
    }
    for (word = at; at < text.len_bytes && text.ptr[at] != '"'; at++)
        if (!name_byte(text.ptr[at]) || at - word >= REPLY_NAME_MAX) return MATCH_NO;
    if (at == text.len_bytes) return MATCH_PART;
    view key = { text.ptr + word, at - word };
    if (p->family->name_key == NULL) return key.len_bytes > 0 ? MATCH_FULL : MATCH_NO;
    static const char *const known[] = { "id", "type", "function", "tool_call_id" };
    bool good = view_is(key, p->family->name_key) ||
                (view_is(key, p->family->args_key) && !(p->family->flags & FAMILY_BARE));
    for (size_t i = 0; i < sizeof known / sizeof *known && !(p->family->flags & FAMILY_BARE); i++)
        good = good || view_is(key, known[i]);
    return good ? MATCH_FULL : MATCH_NO;
}

/* The rest of a bare call's header, behind "{"name": "NAME" , "parameters" :" */
static enum match bare_match(const reply_parser *p, view text)
{
    const char *const pieces[] = { "{", "\"name\"", ":", "\"", "\x01", "\"", ",", "\"", "\x02", "\"", ":" };
    size_t at = 0;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        bool tight = i == 4 || i == 5 || i == 8 || i == 9;
        while (!tight && at < text.len_bytes && is_blank(text.ptr[at])) at++;
        view rest = view_after(text, at), piece = i == 8 ? view_of(p->family->args_key) : view_of(pieces[i]);
        if (i == 4) {
            const uint8_t *quote = rest.len_bytes == 0
                                       ? NULL
                                       : memchr(rest.ptr, '"', min_size(rest.len_bytes, REPLY_NAME_MAX + 1));
            if (quote == NULL) return rest.len_bytes > REPLY_NAME_MAX ? MATCH_NO : MATCH_PART;
            piece = (view){ rest.ptr, (size_t)(quote - rest.ptr) };
            if (tool_named(p, piece) == NULL) return MATCH_NO;
        }
        size_t n = min_size(piece.len_bytes, rest.len_bytes);
        if (n > 0 && memcmp(piece.ptr, rest.ptr, n) != 0) return MATCH_NO;
        if (n < piece.len_bytes) return MATCH_PART;
        at += n;
    }
    return MATCH_FULL;
}

/* "[NAME(" */
static enum match python_match(view text)
{
    size_t at = 1;
    if (text.len_bytes == 0) return MATCH_PART;
    if (text.ptr[0] != '[') return MATCH_NO;
    while (at < text.len_bytes && is_blank(text.ptr[at])) at++;
    size_t word = at;
    while (at < text.len_bytes && name_byte(text.ptr[at]) && at - word <= REPLY_NAME_MAX) at++;
    if (at == text.len_bytes) return MATCH_PART;
    return at > word && text.ptr[at] == '(' ? MATCH_FULL : MATCH_NO;
}

/* Reads what is due before a held value counts as a call and not as prose. */
static enum match value_header(const reply_parser *p, enum part_kind kind)
{
    view text = { p->held + p->mark, p->len - p->mark };
    if (kind == PART_PYTHON) return python_match(text);
    if (kind == PART_JSON || kind == PART_GEMMA) { /* or an object written as text in JSON: decoded once */
        if (text.len_bytes == 0) return MATCH_PART;
        return text.ptr[0] == '{' || (text.ptr[0] == '"' && kind == PART_JSON) ? MATCH_FULL : MATCH_NO;
    }
    if (p->family->flags & FAMILY_BARE) return bare_match(p, text);
    return header_match(p, text, kind == PART_ARRAY);
}

/* Moves over one byte of a bracketed value; true where it ends with it. */
static bool value_byte(reply_parser *p, enum part_kind kind)
{
    uint8_t c = p->held[p->pos++];
    if (p->quoted) {
        if (p->escaped) p->escaped = false;
        else if (c == '\\') p->escaped = true;
        else if (c == p->quote) p->quoted = false;
        return !p->quoted && p->depth == 0; /* a value that is a string */
    }
    if (c == '"' || (c == '\'' && kind == PART_PYTHON)) {
        p->quoted = true;
        p->quote = c;
    }
    bool round = kind == PART_PYTHON;
    if (c == '{' || c == '[' || (round && c == '(')) p->depth++;
    return (c == '}' || c == ']' || (round && c == ')')) && --p->depth == 0;
}

/* A value from its first bracket to the last; what is between is read when it is whole. */
static enum step step_value(reply_parser *p)
{
    enum part_kind kind = p->parts[p->pc].kind;
    static const uint8_t gemma_quote[] = "<|\"|>";
    const struct literal quote = { { gemma_quote, sizeof gemma_quote - 1 }, 0 };
    if (p->pos == p->mark) {
        enum match m = value_header(p, kind);
        if (m == MATCH_PART && p->len - p->mark > HEADER_BYTES) m = MATCH_NO;
        if (m != MATCH_FULL) return m == MATCH_NO ? STEP_FAIL : STEP_MORE;
        p->header_done = true;
        p->quoted = p->escaped = false;
    }
    while (p->pos < p->len) {
        if (kind == PART_GEMMA) {
            enum match m = match(p, p->pos, &quote);
            if (m == MATCH_PART) return STEP_MORE;
            if (m == MATCH_FULL) {
                p->quoted = !p->quoted;
                p->pos += quote.text.len_bytes;
                continue;
            }
            uint8_t c = p->held[p->pos++];
            if (p->quoted) continue;
            if (c == '{' || c == '[') p->depth++;
            if ((c != '}' && c != ']') || --p->depth > 0) continue;
        } else if (!value_byte(p, kind)) {
            continue;
        }
        p->body = (struct span){ p->mark, p->pos };
        return next_part(p);
    }
    return STEP_MORE;
}

/* Between parameters: another one, or what ends the call. */
static enum step step_params(reply_parser *p)
{
    const struct literal *end = &p->call[p->pc + 1].literal;
    while (p->pos < p->len && is_blank(p->held[p->pos])) p->pos++;
    p->mark = p->pos;
    if (p->pos == p->len) return STEP_MORE;
    enum match more = match(p, p->pos, &p->param[0].literal), done = match(p, p->pos, end);
    if (done == MATCH_FULL || more == MATCH_FULL) p->header_done = true;
    if (done == MATCH_FULL) return next_part(p);
    if (more == MATCH_FULL) {
        if (p->param_count == REPLY_PARAMS_MAX) return STEP_FAIL;
        p->parts = p->param;
        p->depth = p->pc; /* where to go on in the call's script */
        p->pc = 0;
        p->is_string = -1;
        return STEP_ON;
    }
    return more == MATCH_PART || done == MATCH_PART ? STEP_MORE : STEP_FAIL;
}

/* A raw value ends at the first close marker behind which another parameter or the call's end follows: any other is
 * part of it. */
static enum step step_raw(reply_parser *p, size_t call_pc)
{
    const struct literal *close = &p->param[p->pc + 1].literal, *end = &p->call[call_pc + 1].literal;
    for (; p->pos < p->len; p->pos++) {
        enum match m = match(p, p->pos, close);
        if (m == MATCH_NO) continue;
        if (m == MATCH_PART) return STEP_MORE;
        size_t after = p->pos + close->text.len_bytes, limit = after + LOOK_AHEAD_BLANKS;
        while (after < p->len && after < limit && is_blank(p->held[after])) after++;
        if (after == p->len) return STEP_MORE;
        enum match more = match(p, after, &p->param[0].literal), done = match(p, after, end);
        if (more == MATCH_FULL || done == MATCH_FULL) {
            p->value = (struct span){ p->mark, p->pos };
            p->pc++;
            return STEP_ON;
        }
        if (more == MATCH_PART || done == MATCH_PART) return STEP_MORE;
    }
    return STEP_MORE;
}

/* A parameter is whole: keeps it and goes back to the call's script. */
static enum step end_param(reply_parser *p, size_t call_pc)
{
    struct span value = p->value;
    if (p->family->flags & FAMILY_VALUE_LINES) { /* one newline on either side belongs to the markers */
        if (value.from < value.to && p->held[value.from] == '\n') value.from++;
        if (value.from < value.to && p->held[value.to - 1] == '\n') value.to--;
    }
    p->params[p->param_count].key = p->key;
    p->params[p->param_count].value = value;
    p->params[p->param_count++].is_string = p->is_string;
    p->parts = p->call;
    p->pc = call_pc;
    p->depth = 0;
    return STEP_ON;
}

static enum step step(reply_parser *p)
{
    bool in_param = p->parts == p->param;
    size_t call_pc = in_param ? p->depth : p->pc;
    enum step result = STEP_FAIL;
    switch (p->parts[p->pc].kind) {
    case PART_END:
        return in_param ? end_param(p, call_pc) : STEP_DONE;
    case PART_LITERAL:
        result = step_literal(p);
        break;
    case PART_BLANKS:
        result = step_blanks(p);
        break;
    case PART_NAME:
    case PART_ID:
    case PART_DIGITS:
    case PART_KEY:
    case PART_FLAG:
        result = step_word(p);
        break;
    case PART_PARAMS:
        return step_params(p);
    case PART_VALUE:
        return step_raw(p, call_pc);
    default:
        result = step_value(p);
    }
    if (in_param) p->depth = call_pc; /* next_part cleared it */
    return result;
}

static bool is_body(enum part_kind kind)
{
    return kind == PART_JSON || kind == PART_OBJECT || kind == PART_ARRAY || kind == PART_PARAMS ||
           kind == PART_GEMMA || kind == PART_PYTHON;
}

/* Where the arguments stand in the call's script. */
static size_t body_part(const reply_parser *p)
{
    size_t i = 0;
    while (p->call[i].kind != PART_END && !is_body(p->call[i].kind)) i++;
    return i;
}

/* Only closers are left of the script, so a reply may end here: the call is whole. Raw values are not: only what closes
 * the call ends the last of them. */
static bool only_closers_left(const reply_parser *p)
{
    size_t body = body_part(p);
    if (p->parts != p->call || p->pc <= body || p->call[body].kind == PART_PARAMS) return false;
    for (size_t i = p->pc; p->call[i].kind != PART_END; i++)
        if (p->call[i].kind != PART_LITERAL && p->call[i].kind != PART_BLANKS) return false;
    return true;
}

/* ---- calls: the end ---- */

static void send_call(reply_parser *p, view name, view id, view args)
{
    send(p, (struct reply_event){ .type = REPLY_CALL_BEGIN, .call = p->calls, .name = name, .id = id });
    send(p, (struct reply_event){ .type = REPLY_CALL_ARGS, .call = p->calls, .text = args });
    send(p, (struct reply_event){ .type = REPLY_CALL_END, .call = p->calls });
    p->calls++;
}

/* All calls of a JSON value or a list of Python calls: first all are read, then sent, so that one bad one spoils all.
 */
static bool send_listed(reply_parser *p, enum part_kind kind, bool dry)
{
    view text = held_view(p, p->body), name, id = { NULL, 0 }, args;
    const json_value *root;
    err ignored = { 0 };
    size_t at = 0;
    bool good;
    if (kind == PART_PYTHON) {
        while (args_of_python(text, &at, p->arena, &name, &args, &good))
            if (!dry) send_call(p, name, id, args);
        return good;
    }
    if (!json_parse(text, p->arena, &root, &ignored)) return false;
    for (const json_value *v = kind == PART_ARRAY ? root->first : root; v != NULL; v = v->next) {
        if (!args_of_object(p->family, v, text, p->arena, &name, &id, &args) || name.len_bytes == 0 ||
            name.len_bytes > REPLY_NAME_MAX)
            return false;
        if (!dry) send_call(p, name, id, args);
    }
    return true;
}

/* Reads the arguments that are not in a list, by the kind of the body. */
static bool read_args(reply_parser *p, enum part_kind kind, view *args)
{
    struct raw_param params[REPLY_PARAMS_MAX];
    view body = held_view(p, p->body);
    if (kind == PART_GEMMA) return args_of_gemma(body, p->arena, args);
    if (kind == PART_JSON) {
        *args = body;
        return args_json_object(args, p->arena);
    }
    for (size_t i = 0; i < p->param_count; i++)
        params[i] = (struct raw_param){ held_view(p, p->params[i].key), held_view(p, p->params[i].value),
                                        p->params[i].is_string };
    return args_of_params(params, p->param_count, tool_named(p, held_view(p, p->name)), p->arena, args);
}

/* Sends what the script has read: one call, or a list of them. False where its values are wrong. */
static bool finish_call(reply_parser *p)
{
    enum part_kind kind = p->call[body_part(p)].kind;
    size_t mark = p->arena->used_bytes;
    view args;
    bool good;
    if (kind == PART_OBJECT || kind == PART_ARRAY || kind == PART_PYTHON) {
        good = send_listed(p, kind, true);
        arena_rewind(p->arena, mark);
        good = good && send_listed(p, kind, false);
    } else {
        good = read_args(p, kind, &args);
        if (good) send_call(p, held_view(p, p->name), held_view(p, p->id), args);
    }
    arena_rewind(p->arena, mark);
    return good;
}

/* ---- free text ---- */

static void start_segment(reply_parser *p, enum state state)
{
    p->state = state;
    p->segment_start = p->drop = p->new_block = true;
    p->scan = p->blanks = 0;
}

static void start_call(reply_parser *p, size_t open, size_t script_at)
{
    p->before = p->state;
    p->state = IN_CALL;
    p->open = open;
    p->pos = p->mark = script_at;
    p->parts = p->call;
    p->pc = p->depth = p->param_count = 0;
    p->header_done = p->quoted = p->escaped = false;
    p->name = p->id = p->body = (struct span){ 0, 0 };
}

/* What a whole marker at `at` does. Text before it goes out, without the blanks that touch it. */
static void take_marker(reply_parser *p, const struct marker *m, size_t at)
{
    bool reasoning = p->state == IN_REASONING;
    size_t len = m->literal.text.len_bytes;
    send_text(p, 0, p->blanks, reasoning);
    if (m->kind == MARK_CALL || m->kind == MARK_SECTION_OPEN) { /* its blanks stay until it is a call */
        consume(p, p->blanks);
        at -= p->blanks;
        p->in_section = m->kind == MARK_SECTION_OPEN;
        start_call(p, at, at + (p->in_section ? len : 0));
        return;
    }
    consume(p, at + len);
    bool stays = reasoning && m->kind == MARK_THINK_OPEN; /* opened again: said twice */
    start_segment(p, m->kind == MARK_END                   ? AT_END
                     : m->kind == MARK_HEADER              ? IN_HEADER
                     : m->kind == MARK_THINK_OPEN || stays ? IN_REASONING
                                                           : IN_CONTENT);
}

/* Hands out text as far as no marker can begin in it. Returns true where a marker changed the state. */
static bool scan_text(reply_parser *p)
{
    const struct marker *m = NULL;
    size_t lead = 0;
    while (p->drop && lead < p->len && is_blank(p->held[lead])) lead++;
    consume(p, lead);
    if (p->len > 0) p->drop = false;
    while (p->scan < p->len) {
        enum match found = find_marker(p, p->scan, &m);
        if (found == MATCH_FULL) {
            take_marker(p, m, p->scan);
            return true;
        }
        if (found == MATCH_PART && !p->final) break;
        if (found == MATCH_PART && p->cut) { /* the reply was cut inside a marker */
            p->len = p->scan = p->blanks;
            break;
        }
        if (is_blank(p->held[p->scan++])) continue;
        p->blanks = p->scan;
        p->segment_start = false;
    }
    if (p->final || p->scan - p->blanks > REPLY_BLANKS_MAX)
        p->blanks = p->scan; /* nothing follows that they could touch */
    size_t out = p->blanks;
    if (!p->final && out == p->len) out -= utf8_tail_bytes((view){ p->held, out });
    send_text(p, 0, out, p->state == IN_REASONING);
    consume(p, out);
    p->scan -= out;
    p->blanks -= out;
    return false;
}

/* The held bytes up to `to` are text after all; what follows is looked at anew. */
static void give_back(reply_parser *p, size_t to)
{
    p->state = p->before;
    p->segment_start = p->drop = false;
    send_text(p, 0, to, p->state == IN_REASONING);
    consume(p, to);
    p->scan = p->blanks = 0;
}

static void fail_call(reply_parser *p, enum reply_error error)
{
    bool silent = !p->header_done || p->before == IN_REASONING; /* prose about a call: only its first byte is decided */
    give_back(p, silent ? min_size(p->open + 1, p->len) : p->pos);
    if (!silent) send(p, (struct reply_event){ .type = REPLY_ERROR, .error = error });
}

/* The reply ends inside a call. */
static void end_inside_call(reply_parser *p)
{
    bool prose = p->before == IN_REASONING || (!p->header_done && (!p->cut || (p->family->flags & FAMILY_BARE)));
    if (prose) {
        give_back(p, min_size(p->open + 1, p->len));
        return;
    }
    p->pos = p->len;
    if (p->cut) {
        consume(p, p->len);
        p->state = AT_END;
    } else {
        give_back(p, p->len);
    }
    send(p, (struct reply_event){ .type = REPLY_ERROR, .error = REPLY_INCOMPLETE_CALL });
}

/* Runs the script as far as the held bytes go. Returns true where the state changed. */
static bool run_call(reply_parser *p)
{
    enum step result = STEP_ON;
    while (result == STEP_ON) {
        if (p->in_section && p->parts == p->call &&
            p->pc == 0) { /* blanks between a section's marker and its first call */
            while (p->pos < p->len && is_blank(p->held[p->pos])) p->pos++;
            if (p->pos == p->len) {
                result = STEP_MORE;
                break;
            }
        }
        result = step(p);
    }
    if (result == STEP_MORE && p->final) {
        if (!only_closers_left(p)) {
            end_inside_call(p);
            return true;
        }
        p->pos = p->len; /* half a closer belongs to it */
        result = STEP_DONE;
    }
    size_t most = p->before == IN_REASONING ? REASONING_CALL_BYTES : REPLY_HELD_MAX;
    if (p->fixed) most = min_size(most, p->capacity - FEED_BYTES);
    if (result == STEP_MORE && p->len <= most) return false;
    if (result != STEP_DONE || !finish_call(p)) {
        fail_call(p, REPLY_BAD_CALL);
        return true;
    }
    consume(p, p->pos);
    start_segment(p, p->family->flags & FAMILY_HARMONY ? IN_HEADER : IN_CONTENT);
    return true;
}

/* ---- harmony: messages with headers, "<|start|>assistant<|channel|>CHANNEL to=RECIPIENT ...<|message|>" ---- */

/* What stands behind `mark` in the header, up to a blank or a marker. */
static struct span header_word(const reply_parser *p, size_t end, view mark)
{
    const uint8_t *hit = end < mark.len_bytes ? NULL : memmem(p->held, end, mark.ptr, mark.len_bytes);
    if (hit == NULL) return (struct span){ 0, 0 };
    struct span word = { (size_t)(hit - p->held) + mark.len_bytes, 0 };
    for (word.to = word.from; word.to < end && name_byte(p->held[word.to]);) word.to++;
    return word;
}

static bool run_header(reply_parser *p)
{
    enum match m = MATCH_NO;
    for (; p->scan < p->len; p->scan++)
        if ((m = match(p, p->scan, &p->message)) != MATCH_NO) break;
    if (m != MATCH_FULL) {
        if (!p->final && p->len <= HEADER_BYTES) return false;
        bool marked = p->len > 0 && p->held[0] == '<'; /* half a header says nothing */
        if (p->final && (p->cut || marked)) consume(p, p->len);
        p->before = IN_CONTENT;
        give_back(p, 0);
        return p->len > 0;
    }
    size_t end = p->scan, body = end + p->message.text.len_bytes;
    struct span channel = header_word(p, end, p->channel.text), to = header_word(p, end, view_of("to="));
    view functions = view_of("functions.");
    if (to.to > to.from) {
        p->state = IN_CONTENT;
        p->in_section = false;
        start_call(p, 0, body);
        p->header_done = true;
        if (view_starts(held_view(p, to), functions)) to.from += functions.len_bytes;
        p->name = to;
        return true;
    }
    bool analysis = view_is(held_view(p, channel), "analysis");
    consume(p, body);
    start_segment(p, analysis ? IN_REASONING : IN_CONTENT);
    return true;
}

/* ---- the reply ---- */

static void advance(reply_parser *p)
{
    bool on = true;
    while (on) {
        switch (p->state) {
        case IN_CONTENT:
        case IN_REASONING:
            on = scan_text(p);
            break;
        case IN_CALL:
            on = run_call(p);
            break;
        case IN_HEADER:
            on = run_header(p);
            break;
        case AT_END:
            consume(p, p->len);
            on = false;
        }
    }
}

static void add_marker(reply_parser *p, enum marker_kind kind, view text)
{
    if (text.len_bytes == 0 || text.len_bytes > REPLY_MARKER_MAX) return;
    assert(p->marker_count < MARKERS_MAX);
    p->markers[p->marker_count++] = (struct marker){ kind, literal_of(text, p->setup) };
    p->first_byte[text.ptr[0]] = true;
}

/* `lines` holds markers separated by newlines. */
static void add_markers(reply_parser *p, enum marker_kind kind, const char *lines)
{
    for (const char *at = lines == NULL ? "" : lines; *at != '\0';) {
        size_t len = strcspn(at, "\n");
        add_marker(p, kind, (view){ (const uint8_t *)at, len });
        at += len + (at[len] == '\n');
    }
}

bool reply_new(const struct reply_setup *setup, reply_sink *sink, void *arg, arena *a, reply_parser **out, err *e)
{
    const struct reply_family *f = setup->format.family;
    reply_parser *p = ARENA_ARRAY(a, reply_parser, 1, "reply parser", e);
    if (p == NULL) return false;
    p->capacity = HELD_BYTES;
    p->held = arena_take(a, p->capacity, 1, 1, "reply parser", e);
    p->control = ARENA_ARRAY(a, bool, p->capacity, "reply parser", e);
    if (p->held == NULL || p->control == NULL) return false;
    p->arena = a;
    bool harmony = f->flags & FAMILY_HARMONY, bare = f->flags & FAMILY_BARE;
    p->setup = setup;
    p->family = f;
    p->sink = sink;
    p->arg = arg;
    script_parts(f->call, setup, p->call);
    script_parts(f->param, setup, p->param);
    p->tagged = p->call[body_part(p)].kind == PART_PARAMS;
    if (bare) add_marker(p, MARK_CALL, view_of("{"));
    else if (!harmony && p->call[0].kind == PART_LITERAL) add_marker(p, MARK_CALL, p->call[0].literal.text);
    add_markers(p, MARK_SECTION_OPEN, f->section_open);
    add_markers(p, MARK_SECTION_CLOSE, f->section_close);
    if (f->think_open != NULL) add_marker(p, MARK_THINK_OPEN, view_of(f->think_open));
    if (f->think_close != NULL) add_marker(p, MARK_THINK_CLOSE, view_of(f->think_close));
    add_markers(p, MARK_IGNORED, f->ignored);
    if (harmony) {
        add_markers(p, MARK_HEADER, "<|end|>\n<|call|>\n<|start|>");
        p->channel = literal_of(view_of("<|channel|>"), setup);
        p->message = literal_of(view_of("<|message|>"), setup);
    }
    add_markers(p, MARK_END, f->ends);
    add_marker(p, MARK_END, setup->format.turn_end);
    start_segment(p, harmony ? IN_HEADER : setup->in_reasoning ? IN_REASONING : IN_CONTENT);
    p->drop = setup->in_reasoning;
    p->new_block = false;
    *out = p;
    return true;
}

/* Room for FEED_BYTES more. Free text always has it; a call that does not find it has reached its limit. */
static void make_room(reply_parser *p)
{
    err ignored = { 0 };
    if (p->capacity - p->len >= FEED_BYTES) return;
    uint8_t *held = p->fixed ? NULL : arena_take(p->arena, 2 * p->capacity, 1, 1, "reply", &ignored);
    bool *control = held == NULL ? NULL : ARENA_ARRAY(p->arena, bool, 2 * p->capacity, "reply", &ignored);
    if (control == NULL) {
        p->fixed = true;
        advance(p);
        assert(p->capacity - p->len >= FEED_BYTES);
        return;
    }
    memcpy(held, p->held, p->len);
    memcpy(control, p->control, p->len);
    p->held = held;
    p->control = control;
    p->capacity *= 2;
}

void reply_feed(reply_parser *p, view bytes, bool is_control)
{
    assert(!p->final);
    for (size_t at = 0; at < bytes.len_bytes;) {
        size_t n = min_size(bytes.len_bytes - at, FEED_BYTES);
        make_room(p);
        memcpy(p->held + p->len, bytes.ptr + at, n);
        memset(p->control + p->len, is_control, n);
        p->len += n;
        at += n;
        advance(p);
    }
}

void reply_finish(reply_parser *p, bool cut)
{
    assert(!p->final);
    p->final = true;
    p->cut = cut;
    advance(p);
    send(p, (struct reply_event){ .type = REPLY_END });
}

/* One past the last place where `marker`, its blanks left out, stands in `text`; 0 where it does not. */
static size_t last_of(view text, const char *marker)
{
    size_t n = strlen(marker), last = 0;
    while (n > 0 && is_blank((uint8_t)marker[n - 1])) n--;
    for (size_t at = 0; at + n <= text.len_bytes; at++)
        if (memcmp(text.ptr + at, marker, n) == 0) last = at + 1;
    return last;
}

bool reply_starts_in_reasoning(const struct reply_format *format, view prompt)
{
    const struct reply_family *f = format->family;
    if (f == NULL || f->think_open == NULL) return false;
    return last_of(prompt, f->think_open) > last_of(prompt, f->think_close);
}
