/* One call of a reply: the row's script, part by part. Each part remembers how far it has come (p->pos, p->mark), so
 * that a byte is looked at a bounded number of times however the reply is cut. A part gives STEP_ON where it is done or
 * has moved on, STEP_MORE where the held bytes do not decide it yet, STEP_FAIL where they are no call. */
#include "template/reply_parser.h"

#include "base/checked.h"

enum { LOOK_AHEAD_BLANKS = 64 };

void reply_call_start(reply_parser *p, size_t open, size_t script_at)
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

static const struct reply_tool *tool_named(const reply_parser *p, view name)
{
    for (size_t i = 0; i < p->setup->tool_count; i++)
        if (view_equal(p->setup->tools[i].name, name)) return &p->setup->tools[i];
    return NULL;
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
    enum match m = reply_match(p, p->pos, l);
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

/* A word up to the literal that follows it in the script, or up to the first byte that is not of a name. */
static enum step step_word(reply_parser *p)
{
    enum part_kind kind = p->parts[p->pc].kind;
    const struct part *next = &p->parts[p->pc + 1];
    for (; p->pos < p->len; p->pos++) {
        enum match m = next->kind == PART_LITERAL ? reply_match(p, p->pos, &next->literal) : MATCH_NO;
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
    view text = { p->held + p->mark, min_size(p->len - p->mark, HEADER_BYTES) };
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
        if (m == MATCH_PART && p->len - p->mark >= HEADER_BYTES) m = MATCH_NO; /* decided by these, whatever follows */
        if (m != MATCH_FULL) return m == MATCH_NO ? STEP_FAIL : STEP_MORE;
        p->header_done = true;
        p->quoted = p->escaped = false;
    }
    while (p->pos < p->len) {
        if (kind == PART_GEMMA) {
            enum match m = reply_match(p, p->pos, &quote);
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
    enum match more = reply_match(p, p->pos, &p->param[0].literal), done = reply_match(p, p->pos, end);
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
        enum match m = reply_match(p, p->pos, close);
        if (m == MATCH_NO) continue;
        if (m == MATCH_PART) return STEP_MORE;
        size_t after = p->pos + close->text.len_bytes, limit = after + LOOK_AHEAD_BLANKS;
        while (after < p->len && after < limit && is_blank(p->held[after])) after++;
        if (after == p->len) return STEP_MORE;
        enum match more = reply_match(p, after, &p->param[0].literal), done = reply_match(p, after, end);
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

enum step reply_call_step(reply_parser *p)
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

size_t reply_call_body(const reply_parser *p)
{
    size_t i = 0;
    while (p->call[i].kind != PART_END && !is_body(p->call[i].kind)) i++;
    return i;
}

/* Only closers are left of the script, so a reply may end here: the call is whole. Raw values are not: only what closes
 * the call ends the last of them. */
bool reply_call_closers_left(const reply_parser *p)
{
    size_t body = reply_call_body(p);
    if (p->parts != p->call || p->pc <= body || p->call[body].kind == PART_PARAMS) return false;
    for (size_t i = p->pc; p->call[i].kind != PART_END; i++)
        if (p->call[i].kind != PART_LITERAL && p->call[i].kind != PART_BLANKS) return false;
    return true;
}

/* ---- calls: the end ---- */

static void send_call(reply_parser *p, view name, view id, view args)
{
    reply_send(p, (struct reply_event){ .type = REPLY_CALL_BEGIN, .call = p->calls, .name = name, .id = id });
    reply_send(p, (struct reply_event){ .type = REPLY_CALL_ARGS, .call = p->calls, .text = args });
    reply_send(p, (struct reply_event){ .type = REPLY_CALL_END, .call = p->calls });
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
        while (reply_args_python(text, &at, p->arena, &name, &args, &good))
            if (!dry) send_call(p, name, id, args);
        return good;
    }
    if (!json_parse(text, p->arena, &root, &ignored)) return false;
    for (const json_value *v = kind == PART_ARRAY ? root->first : root; v != NULL; v = v->next) {
        if (!reply_args_member(p->family, v, text, p->arena, &name, &id, &args) || name.len_bytes == 0 ||
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
    if (kind == PART_GEMMA) return reply_args_gemma(body, p->arena, args);
    if (kind == PART_JSON) {
        *args = body;
        return reply_args_object(args, p->arena);
    }
    for (size_t i = 0; i < p->param_count; i++)
        params[i] = (struct raw_param){ held_view(p, p->params[i].key), held_view(p, p->params[i].value),
                                        p->params[i].is_string };
    return reply_args_params(params, p->param_count, tool_named(p, held_view(p, p->name)), p->arena, args);
}

bool reply_call_finish(reply_parser *p)
{
    enum part_kind kind = p->call[reply_call_body(p)].kind;
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
