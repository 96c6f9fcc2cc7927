/* Tokens to text: what a choice's tokens read as, with stop texts and half characters held back, then taken apart by the
 * convention of the model's template, and told as deltas. A function of the tokens alone, however they come. */
#include "orchestrator/text_part.h"

#include "base/checked.h"
#include "format/json.h"

#include <assert.h>

/* ---- deltas ---- */

/* ORDER reply_event_type: what each becomes; 0 tells nothing. */
static const uint32_t PARTS[] = { [REPLY_REASONING] = TEXT_REASONING, [REPLY_CONTENT] = TEXT_CONTENT,
                                  [REPLY_BLOCK] = TEXT_BLOCK,         [REPLY_CALL_BEGIN] = TEXT_CALL_BEGIN,
                                  [REPLY_CALL_ARGS] = TEXT_CALL_ARGS, [REPLY_CALL_END] = TEXT_CALL_END,
                                  [REPLY_ERROR] = TEXT_CALL_BAD,      [REPLY_END] = 0 };

static void tell(struct reply *r, uint32_t part, uint32_t call, view name, view call_id, view text)
{
    struct text_delta f = { .head = { .id = r->id, .choice = r->choice }, .part = part, .call = call,
                            .name_bytes = (uint32_t)name.len_bytes, .call_id_bytes = (uint32_t)call_id.len_bytes,
                            .text_bytes = (uint32_t)text.len_bytes };
    text_send(r->w, TEXT_DELTA, &f, sizeof f, (const view[]){ name, call_id, text }, 3);
}

static void take_event(void *arg, const struct reply_event *event)
{
    struct reply *r = arg;
    uint32_t part = PARTS[event->type];
    if (part == TEXT_CALL_BAD && event->error == REPLY_INCOMPLETE_CALL) part = TEXT_CALL_CUT;
    if (part == 0 || ((part == TEXT_CONTENT || part == TEXT_REASONING) && event->text.len_bytes == 0)) return;
    tell(r, part, event->call, event->name, event->id, event->text);
}

static void give(struct reply *r, view text)
{
    if (text.len_bytes == 0) return;
    if (r->parser != NULL) reply_feed(r->parser, text, false);
    else tell(r, TEXT_CONTENT, 0, view_of(""), view_of(""), text);
}

/* ---- opening ---- */

static struct reply *reply_find(struct text_worker *w, uint64_t id, uint32_t choice)
{
    for (size_t i = 0; i < TEXT_REPLIES; i++)
        if (w->replies[i].id == id && (id == 0 || w->replies[i].choice == choice)) return &w->replies[i];
    return NULL;
}

/* The tools of a request, as the parser wants them: {"function": {"name", "parameters"}} or the inner object alone. */
static bool read_tools(struct reply *r, view text, struct reply_setup *setup, err *e)
{
    const json_value *root;
    view copy;
    if (text.len_bytes == 0) return true;
    if (!arena_copy(&r->arena, text, &copy, "tools", e) || !json_parse(copy, &r->arena, &root, e)) return false;
    if (root->type != JSON_ARRAY) return fail(e, ERR_VALUE, ERR_NO_OFFSET, "tools: expected a JSON array");
    size_t count = 0;
    JSON_EACH(item, root) count += item != NULL;
    struct reply_tool *tools = ARENA_ARRAY(&r->arena, struct reply_tool, count, "tools", e);
    if (tools == NULL) return false;
    JSON_EACH(item, root)
    {
        const json_value *inner = item->type == JSON_OBJECT ? json_get(item, "function") : NULL;
        const json_value *from = inner != NULL && inner->type == JSON_OBJECT ? inner : item;
        const json_value *name = from->type == JSON_OBJECT ? json_get(from, "name") : NULL;
        if (name == NULL || name->type != JSON_STRING) continue; /* a kind of tool that has no name is never called */
        tools[setup->tool_count++] = (struct reply_tool){ name->text, json_get(from, "parameters") };
    }
    setup->tools = tools;
    return true;
}

static bool copy_stops(struct reply *r, const struct reply_begin *b, err *e)
{
    view *stops = ARENA_ARRAY(&r->arena, view, b->stop_count, "stop texts", e);
    if (stops == NULL) return false;
    for (size_t i = 0; i < b->stop_count; i++)
        if (!arena_copy(&r->arena, b->stops[i], &stops[i], "stop text", e)) return false;
    r->held.stops = stops;
    r->held.stop_count = b->stop_count;
    r->held.room = held_room(stops, b->stop_count, TOKEN_BYTES_MAX);
    r->held.text = ARENA_ARRAY(&r->arena, uint8_t, r->held.room, "text", e);
    return r->held.text != NULL;
}

/* An answer that carries on a text keeps its first blank; one behind a control token begins a text. */
static bool carries_on(const tokenizer *t, int32_t before)
{
    return before >= 0 && ((size_t)before >= tokenizer_count(t) || tokenizer_kind(t, before) != TOKEN_CONTROL);
}

static bool open_choice(struct reply *r, const struct reply_begin *b, err *e)
{
    struct text_worker *w = r->w;
    r->decoder = (decoder){ .inside = carries_on(w->m.tokenizer, b->before) };
    if (!copy_stops(r, b, e)) return false;
    if (!b->templated || w->setup.format.family == NULL) return true;
    struct reply_setup *setup = ARENA_ARRAY(&r->arena, struct reply_setup, 1, "reply", e);
    if (setup == NULL) return false;
    *setup = w->setup;
    setup->in_reasoning = b->in_reasoning;
    return read_tools(r, b->tools, setup, e) && reply_new(setup, take_event, r, &r->arena, &r->parser, e);
}

static void choice_free(struct reply *r)
{
    arena_rewind(&r->arena, 0);
    r->id = 0;
    r->parser = NULL;
    r->talk = NULL;
}

bool reply_open(struct text_worker *w, const struct reply_begin *b, err *e)
{
    for (uint32_t choice = 0; choice < b->n; choice++) {
        struct reply *r = reply_find(w, 0, 0);
        bool good = r != NULL || fail(e, ERR_LIMIT, ERR_NO_OFFSET, "answers: %d are being made already", TEXT_REPLIES);
        if (good) {
            *r = (struct reply){ .id = b->id, .choice = choice, .arena = r->arena, .w = w,
                                 .talk = choice == 0 && b->n == 1 ? b->talk : NULL };
            good = open_choice(r, b, e);
        }
        if (good) continue;
        reply_close(w, b->id, HEARTH_ALL_CHOICES);
        return false;
    }
    return true;
}

void reply_close(struct text_worker *w, uint64_t id, uint32_t choice)
{
    for (size_t i = 0; i < TEXT_REPLIES; i++)
        if (w->replies[i].id == id && (choice == HEARTH_ALL_CHOICES || w->replies[i].choice == choice))
            choice_free(&w->replies[i]);
}

/* ---- tokens ---- */

/* The conversation remembers the token. Where it has no room it forgets all: that costs time and no bits. */
static void remember(struct reply *r, int32_t id, bool ends)
{
    err ignored = { 0 };
    if (r->talk == NULL || r->talk->reply != r->id) return;
    if (!turns_made(&r->talk->turns, r->w->m.tokenizer, id, ends, &ignored)) {
        turns_clear(&r->talk->turns);
        r->talk = NULL;
    }
}

/* One token: its text joins what is held; a control token reads as nothing and is a border. False where a stop text is
 * complete. */
static bool take_token(struct reply *r, int32_t id, size_t *stop)
{
    const tokenizer *t = r->w->m.tokenizer;
    err ignored = { 0 };
    size_t len = 0;
    bool known = id >= 0 && (size_t)id < tokenizer_count(t), ends = known && model_ends(&r->w->m, id);
    bool control = known && tokenizer_kind(t, id) == TOKEN_CONTROL;
    remember(r, id, ends);
    r->fed++;
    if (ends) return true;
    held_drop(&r->held);
    assert(r->held.room - r->held.len >= TOKEN_BYTES_MAX);
    if (known && decoder_next(&r->decoder, t, id, false, r->held.text + r->held.len, &len, &ignored)) r->held.len += len;
    give(r, held_give(&r->held, control, stop));
    if (control && *stop == SIZE_MAX && r->parser != NULL) reply_feed(r->parser, tokenizer_text(t, id), true);
    return *stop == SIZE_MAX;
}

/* What was held goes out; the parser decides what it waited for. */
static void end_choice(struct reply *r, bool stopped, bool cut)
{
    size_t stop;
    held_drop(&r->held);
    if (!stopped) give(r, held_give(&r->held, true, &stop));
    if (r->parser != NULL) reply_finish(r->parser, cut);
    if (r->talk != NULL && r->talk->reply == r->id) turns_mark(&r->talk->turns);
}

void reply_take(struct text_worker *w, const struct hearth_head *head, const uint8_t *ids, size_t count,
                uint32_t finish)
{
    struct reply *r = reply_find(w, head->id, head->choice);
    if (r == NULL) {
        text_send(w, TEXT_FED, &(struct text_fed){ .head = *head, .ended = 1 }, sizeof(struct text_fed), NULL, 0);
        return;
    }
    size_t stop = SIZE_MAX;
    bool stopped = false;
    for (size_t i = 0; i < count && !stopped; i++) {
        int32_t id;
        memcpy(&id, ids + i * sizeof id, sizeof id);
        stopped = !take_token(r, id, &stop);
    }
    bool ended = stopped || finish != 0;
    if (ended) end_choice(r, stopped, stopped || (finish != HEARTH_END && finish != HEARTH_MASK_END));
    struct text_fed f = { .head = *head, .fed_tok = r->fed, .stopped_tok = stopped ? r->fed : 0,
                          .stop = stopped ? (uint32_t)stop : 0, .ended = ended };
    if (ended) choice_free(r);
    text_send(w, TEXT_FED, &f, sizeof f, NULL, 0);
}
