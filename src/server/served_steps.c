/* An ask in the words of the service, and what must be done before it: see served.h. */
#include "server/served_part.h"

#include "base/checked.h"
#include "format/json.h"

#include <stdlib.h>
#include <time.h>

/* ---- an ask in the service's words ---- */

static void write_members(json_writer *w, view object, arena *a)
{
    const json_value *v;
    err ignored = { 0 };
    if (object.len_bytes == 0 || !json_parse(object, a, &v, &ignored)) return;
    JSON_EACH(item, v) {
        bool ours = view_is(item->key, "enable_thinking") || view_is(item->key, "thinking") ||
                    view_is(item->key, "reasoning_effort");
        if (ours) continue;
        json_key_view(w, item->key);
        json_copy(w, item);
    }
}

/* Switches that templates know, as the families name them. */
static bool write_variables(served *s, const struct ask *ask, view *out, err *e)
{
    json_writer w;
    json_writer_start(&w, &s->scratch, HTTP_BODY_BYTES_MAX, e);
    json_begin_object(&w);
    if (ask->think != ASK_THINK_UNSET) {
        json_key(&w, "enable_thinking");
        json_bool(&w, ask->think == ASK_THINK_YES);
        json_key(&w, "thinking");
        json_bool(&w, ask->think == ASK_THINK_YES);
    }
    if (ask->effort.len_bytes > 0) {
        json_key(&w, "reasoning_effort");
        json_string(&w, ask->effort);
    }
    write_members(&w, ask->more, &s->scratch);
    json_end_object(&w);
    return json_done(&w, out);
}

static struct hearth_sampling sampling_of(const struct sample_settings *s)
{
    return (struct hearth_sampling){ .seed = s->seed, .temperature = s->temperature, .top_p = s->top_p,
                                     .min_p = s->min_p, .typical_p = s->typical_p,
                                     .repetition_penalty = s->repetition_penalty,
                                     .presence_penalty = s->presence_penalty,
                                     .frequency_penalty = s->frequency_penalty, .dry_multiplier = s->dry_multiplier,
                                     .dry_base = s->dry_base, .top_k = (uint32_t)s->top_k,
                                     .penalty_window = (uint32_t)s->penalty_window,
                                     .dry_allowed = (uint32_t)s->dry_allowed };
}

/* A text that came as a chat is one where the model has no template. */
static bool is_bare(const struct one *m, const struct ask *ask)
{
    return ask->kind == ASK_CHAT && ask->text.len_bytes > 0 && !m->facts.can_chat;
}

static enum service_kind kind_of(const struct one *m, const struct ask *ask)
{
    if (is_bare(m, ask)) return SERVICE_PLAIN;
    switch (ask->kind) {
    case ASK_CHAT: return SERVICE_CHAT;
    case ASK_TEXT: return ask->ids != NULL ? SERVICE_IDS : SERVICE_PLAIN;
    case ASK_EMBED: return SERVICE_EMBED;
    case ASK_RENDER: return SERVICE_SHOW;
    case ASK_DETOKENIZE: return SERVICE_PIECES;
    default: return SERVICE_COUNT;
    }
}

static bool hand_over(served *s, struct record *r, const struct ask *ask, err *e)
{
    struct hearth_bias *biases = ARENA_ARRAY(&s->scratch, struct hearth_bias, ask->sample.bias_count, "biases", e);
    const struct one *m = &s->models[r->model];
    bool bare = is_bare(m, ask), chats = ask->messages.len_bytes > 0 && !bare;
    view variables = view_of(""), none = view_of("");
    uint64_t id;
    if (biases == NULL || (chats && !write_variables(s, ask, &variables, e))) return false;
    for (size_t i = 0; i < ask->sample.bias_count; i++)
        biases[i] = (struct hearth_bias){ ask->sample.bias[i].token, ask->sample.bias[i].bias };
    struct service_ask out = { .kind = kind_of(m, ask), .tenant = ask->principal,
                               .messages = chats ? ask->messages : none,
                               .tools = ask->tool_choice == TOOLS_NONE ? none : ask->tools, .variables = variables,
                               .text = ask->kind == ASK_CHAT && !bare ? none : ask->text,
                               .ids = ask->ids, .id_count = ask->id_count,
                               .clock_s = (int64_t)time(NULL) + s->zone_s, .sampling = sampling_of(&ask->sample),
                               .biases = biases, .bias_count = ask->sample.bias_count, .stops = ask->stops,
                               .stop_count = ask->stop_count, .max_tok = (uint32_t)min_size(ask->max_tok, UINT32_MAX),
                               .n = ask->n, .logprobs = ask->logprobs, .top_count = ask->top_logprobs,
                               .mask = r->mask, .embed = HEARTH_EMBED_MEAN };
    if (ask->continues) out.render_flags |= TEXT_CONTINUE;
    if (out.tools.len_bytes == 0) out.render_flags |= TEXT_CALLS_OFF;
    if (ask->special) out.plain_flags |= TEXT_SPECIAL;
    if (ask->kind == ASK_TOKENIZE) out.plain_flags |= TEXT_COUNT | (ask->begin ? 0 : TEXT_BARE);
    if (ask->kind == ASK_DETOKENIZE) out.plain_flags |= TEXT_COUNT;
    if (!service_ask(m->svc, &out, &id, e)) return false;
    r->step = STEP_ASKED;
    record_chain(s, r, id);
    return true;
}

/* ---- steps before it ---- */

bool steps_need_mask(const struct ask *ask)
{
    bool must_call = ask->tools.len_bytes > 0 &&
                     (ask->tool_choice == TOOLS_REQUIRED || ask->tool_choice == TOOLS_NAMED);
    return ask->shape != SHAPE_FREE || must_call;
}

/* The one tool that must be called, as an array of its own. */
static bool named_tool(served *s, const struct ask *ask, view *out, err *e)
{
    const json_value *tools;
    json_writer w;
    if (!json_parse(ask->tools, &s->scratch, &tools, e)) return false;
    json_writer_start(&w, &s->scratch, HTTP_BODY_BYTES_MAX, e);
    json_begin_array(&w);
    bool found = false;
    JSON_EACH(tool, tools) {
        const json_value *name = json_get(json_get(tool, "function"), "name");
        if (name == NULL || !view_equal(name->text, ask->tool_name)) continue;
        json_copy(&w, tool);
        found = true;
    }
    json_end_array(&w);
    return (found || fail(e, ERR_VALUE, ERR_NO_OFFSET, "tool_choice: no tool of that name is declared")) &&
           json_done(&w, out);
}

static bool compile(served *s, struct record *r, const struct ask *ask, err *e)
{
    static const uint32_t grammars[] = { [SHAPE_FREE] = TEXT_TOOLS, [SHAPE_JSON] = TEXT_JSON_OBJECT,
                                         [SHAPE_SCHEMA] = TEXT_JSON_SCHEMA, [SHAPE_GBNF] = TEXT_GBNF };
    const struct one *m = &s->models[r->model];
    uint64_t id;
    struct service_ask out = { .kind = SERVICE_COMPILE, .tenant = ask->principal, .grammar = grammars[ask->shape],
                               .text = ask->shape == SHAPE_FREE ? ask->tools : ask->shape_text,
                               .in_reasoning = m->facts.can_think && ask->think != ASK_THINK_NO };
    if (ask->shape == SHAPE_FREE) out.grammar_flags = 1u | (ask->one_call ? 2u : 0u);
    if (ask->shape == SHAPE_FREE && ask->tool_choice == TOOLS_NAMED && !named_tool(s, ask, &out.text, e)) return false;
    if (!service_ask(m->svc, &out, &id, e)) return false;
    r->step = STEP_COMPILE;
    record_chain(s, r, id);
    return true;
}

static bool fetch_pieces(served *s, struct record *r, err *e)
{
    struct one *m = &s->models[r->model];
    size_t count = min_size((size_t)m->facts.vocab - m->pieces.have, PIECES_A_TIME);
    int32_t *ids = ARENA_ARRAY(&s->scratch, int32_t, count, "token ids", e);
    uint64_t id;
    if (ids == NULL) return false;
    for (size_t i = 0; i < count; i++) ids[i] = (int32_t)(m->pieces.have + i);
    struct service_ask out = { .kind = SERVICE_PIECES, .ids = ids, .id_count = count, .plain_flags = TEXT_SPECIAL };
    if (!service_ask(m->svc, &out, &id, e)) return false;
    r->step = STEP_PIECES;
    record_chain(s, r, id);
    return true;
}

/* The next step of an ask. */
bool steps_go_on(served *s, struct record *r, const struct ask *ask, err *e)
{
    const struct one *m = &s->models[r->model];
    if (ask->kind == ASK_LOAD || ask->kind == ASK_UNLOAD) {
        r->step = STEP_DONE; /* told by the next poll */
        s->told++;
        return true;
    }
    if (steps_need_mask(ask) && r->mask == 0) return compile(s, r, ask, e);
    if (ask->logprobs && m->pieces.have < m->facts.vocab) return fetch_pieces(s, r, e);
    return hand_over(s, r, ask, e);
}

/* ---- keeping an ask ---- */

static void keep_view(uint8_t **at, view *v)
{
    if (v->len_bytes > 0) memcpy(*at, v->ptr, v->len_bytes);
    v->ptr = *at;
    *at += v->len_bytes;
}

/* One block: the struct, stop texts' views, biases, ids, then bytes. */
struct ask *steps_keep(const struct ask *ask)
{
    size_t tables = ask->stop_count * sizeof(view) + ask->sample.bias_count * sizeof(struct logit_bias) +
                    ask->id_count * sizeof(int32_t);
    size_t bytes = sizeof *ask + tables + ask->messages.len_bytes + ask->tools.len_bytes + ask->more.len_bytes +
                   ask->effort.len_bytes + ask->tool_name.len_bytes + ask->text.len_bytes + ask->shape_text.len_bytes;
    for (size_t i = 0; i < ask->stop_count; i++) bytes += ask->stops[i].len_bytes;
    struct ask *copy = malloc(bytes);
    if (copy == NULL) return NULL;
    *copy = *ask;
    view *stops = (view *)(copy + 1);
    struct logit_bias *biases = (struct logit_bias *)(stops + ask->stop_count);
    int32_t *ids = (int32_t *)(biases + ask->sample.bias_count);
    uint8_t *at = (uint8_t *)(ids + ask->id_count);
    for (size_t i = 0; i < ask->stop_count; i++) {
        stops[i] = ask->stops[i];
        keep_view(&at, &stops[i]);
    }
    if (ask->sample.bias_count > 0) memcpy(biases, ask->sample.bias, ask->sample.bias_count * sizeof *biases);
    if (ask->id_count > 0) memcpy(ids, ask->ids, ask->id_count * sizeof *ids);
    view *const texts[] = { &copy->messages, &copy->tools, &copy->more, &copy->effort, &copy->tool_name, &copy->text,
                            &copy->shape_text };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) keep_view(&at, texts[i]);
    copy->stops = stops;
    copy->sample.bias = biases;
    copy->ids = ask->ids != NULL ? ids : NULL;
    return copy;
}

bool steps_keep_stops(struct record *r, const struct ask *ask)
{
    size_t bytes = 0;
    for (size_t i = 0; i < ask->stop_count; i++) bytes += ask->stops[i].len_bytes;
    if (bytes == 0) return true;
    uint8_t *at = r->kept_stops = malloc(bytes);
    if (at == NULL) return false;
    for (size_t i = 0; i < ask->stop_count; i++) {
        r->stops[i] = ask->stops[i];
        keep_view(&at, &r->stops[i]);
    }
    r->stop_count = ask->stop_count;
    return true;
}
