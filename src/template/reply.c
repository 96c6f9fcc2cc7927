/* The machine that takes replies apart: see reply.h. All bytes that wait for a decision stand in one buffer:
 *
 *   held    | blanks | opener  name ... arguments ... | not looked at yet |
 *           0        open                             pos                 len
 *
 * In free text it hands out everything up to the last byte that could still begin a marker, or be a blank before one.
 * At a call's opener it runs the row's script, part by part; each part remembers how far it has come, so that a byte is
 * looked at a bounded number of times however the reply is cut. A script that fails before the tool's name was read
 * makes the opener text; one that fails later gives all of it back as text, with an error. */
#include "template/reply_parser.h"

#include "base/checked.h"
#include "base/utf8.h"

#include <assert.h>

/* ---- events ---- */

void reply_send(reply_parser *p, struct reply_event event)
{
    p->sink(p->arg, &event);
}

static void send_text(reply_parser *p, size_t from, size_t to, bool reasoning)
{
    bool *had = reasoning ? &p->had_reasoning : &p->had_content;
    if (from == to) return;
    if (p->new_block && *had) reply_send(p, (struct reply_event){ .type = REPLY_BLOCK });
    p->new_block = false;
    *had = true;
    reply_send(p, (struct reply_event){ .type = reasoning ? REPLY_REASONING : REPLY_CONTENT,
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

/* ---- markers ---- */

enum match reply_match(const reply_parser *p, size_t at, const struct literal *l)
{
    size_t n = min_size(l->text.len_bytes, p->len - at);
    for (size_t i = 0; i < n; i++)
        if (p->held[at + i] != l->text.ptr[i] || ((l->control >> i & 1) && !p->control[at + i])) return MATCH_NO;
    return n == l->text.len_bytes ? MATCH_FULL : MATCH_PART;
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

/* The marker at `at`: the longest that matches whole; MATCH_PART where more bytes could make a longer one. */
static enum match find_marker(const reply_parser *p, size_t at, const struct marker **out)
{
    size_t whole = 0, half = 0;
    if (!p->first_byte[p->held[at]]) return MATCH_NO;
    for (size_t i = 0; i < p->marker_count; i++) {
        size_t n = p->markers[i].literal.text.len_bytes;
        if (!means(p, p->markers[i].kind)) continue;
        enum match m = reply_match(p, at, &p->markers[i].literal);
        if (m == MATCH_PART) half = max_size(half, n);
        if (m != MATCH_FULL || n <= whole) continue;
        whole = n;
        *out = &p->markers[i];
    }
    if (half > whole && (!p->final || whole == 0)) return MATCH_PART;
    return whole > 0 ? MATCH_FULL : MATCH_NO;
}

/* ---- free text ---- */

static void start_segment(reply_parser *p, enum state state)
{
    p->state = state;
    p->long_blanks = false;
    p->segment_start = p->drop = p->new_block = true;
    p->scan = p->blanks = 0;
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
        reply_call_start(p, at, at + (p->in_section ? len : 0));
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
        bool blank = is_blank(p->held[p->scan++]);
        p->long_blanks = blank && (p->long_blanks || p->scan - p->blanks > REPLY_BLANKS_MAX);
        if (blank && !p->long_blanks) continue;
        p->blanks = p->scan; /* text; so is a run of blanks too long to hold */
        p->segment_start = false;
    }
    if (p->final) p->blanks = p->scan; /* nothing follows that they could touch */
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
    p->segment_start = p->drop = p->long_blanks = false;
    send_text(p, 0, to, p->state == IN_REASONING);
    consume(p, to);
    p->scan = p->blanks = 0;
}

static void fail_call(reply_parser *p, enum reply_error error)
{
    bool silent = !p->header_done || p->before == IN_REASONING; /* prose about a call: only its first byte is decided */
    give_back(p, silent ? min_size(p->open + 1, p->len) : p->pos);
    if (!silent) reply_send(p, (struct reply_event){ .type = REPLY_ERROR, .error = error });
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
    reply_send(p, (struct reply_event){ .type = REPLY_ERROR, .error = REPLY_INCOMPLETE_CALL });
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
        result = reply_call_step(p);
    }
    if (result == STEP_MORE && p->final) {
        if (!reply_call_closers_left(p)) {
            end_inside_call(p);
            return true;
        }
        p->pos = p->len; /* half a closer belongs to it */
        result = STEP_DONE;
    }
    /* The limit counts the call's bytes, not the bytes that happen to be here: the result must not depend on the cut.
     */
    size_t most = p->before == IN_REASONING ? REASONING_CALL_BYTES : REPLY_HELD_MAX;
    if (p->fixed) most = min_size(most, p->capacity - FEED_BYTES);
    bool over = p->pos > most || (result == STEP_MORE && p->len > most);
    if (over) p->pos = most;
    if (result == STEP_MORE && !over) return false;
    if (over) result = STEP_FAIL;
    if (result != STEP_DONE || !reply_call_finish(p)) {
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
    for (; p->scan < p->len && p->scan <= HEADER_BYTES; p->scan++)
        if ((m = reply_match(p, p->scan, &p->message)) != MATCH_NO) break;
    if (m != MATCH_FULL) {
        if (!p->final && p->scan <= HEADER_BYTES) return false;
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
        reply_call_start(p, 0, body);
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
    p->markers[p->marker_count++] = (struct marker){ kind, reply_literal(text, p->setup) };
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
    reply_script(f->call, setup, p->call);
    reply_script(f->param, setup, p->param);
    p->tagged = p->call[reply_call_body(p)].kind == PART_PARAMS;
    if (bare) add_marker(p, MARK_CALL, view_of("{"));
    else if (!harmony && p->call[0].kind == PART_LITERAL) add_marker(p, MARK_CALL, p->call[0].literal.text);
    add_markers(p, MARK_SECTION_OPEN, f->section_open);
    add_markers(p, MARK_SECTION_CLOSE, f->section_close);
    if (f->think_open != NULL) add_marker(p, MARK_THINK_OPEN, view_of(f->think_open));
    if (f->think_close != NULL) add_marker(p, MARK_THINK_CLOSE, view_of(f->think_close));
    add_markers(p, MARK_IGNORED, f->ignored);
    if (harmony) {
        add_markers(p, MARK_HEADER, "<|end|>\n<|call|>\n<|start|>");
        p->channel = reply_literal(view_of("<|channel|>"), setup);
        p->message = reply_literal(view_of("<|message|>"), setup);
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
    reply_send(p, (struct reply_event){ .type = REPLY_END });
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
