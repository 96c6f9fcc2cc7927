/* OpenAI Responses, the way in: a flat list of items becomes a conversation. Reasoning, text and calls that follow one
 * another are one answer of the assistant; templates know no other way. */
#include "server/responses.h"

#include "base/checked.h"

struct folding {
    struct turns turns;
    view reasoning, text;
    bool has_answer; /* text or a call waits or is open */
    bool opened;     /* its calls are being written */
};

static view text_member(const json_value *v, const char *name)
{
    const json_value *found = json_get(v, name);
    return found != NULL && found->type == JSON_STRING ? found->text : view_of("");
}

static bool close_answer(struct folding *f)
{
    bool good = true;
    if (f->has_answer && !f->opened) good = turns_answer(&f->turns, f->text, f->reasoning);
    if (good && f->has_answer) good = turns_answer_end(&f->turns);
    f->has_answer = f->opened = false;
    f->text = f->reasoning = view_of("");
    return good;
}

static bool read_call(struct folding *f, const json_value *item)
{
    view name = text_member(item, "name"), args = text_member(item, "arguments");
    if (name.len_bytes == 0) return refuse_field(f->turns.rd, item, "a function's name is needed");
    if (!f->opened && !turns_answer(&f->turns, f->text, f->reasoning)) return false;
    f->has_answer = f->opened = true;
    return turns_call(&f->turns, text_member(item, "call_id"), name, args);
}

static bool read_output(struct folding *f, const json_value *item)
{
    view text;
    return close_answer(f) && content_text(f->turns.rd, json_get(item, "output"), &text) &&
           turns_result(&f->turns, text_member(item, "call_id"), view_of(""), text);
}

/* What the model thought, where the client has it in words. */
static bool read_reasoning(struct folding *f, const json_value *item)
{
    const json_value *content = json_get(item, "content");
    if (f->has_answer && !close_answer(f)) return false;
    if (content == NULL || content->type != JSON_ARRAY) return true;
    JSON_EACH(part, content)
        if (text_member(part, "text").len_bytes > 0) f->reasoning = text_member(part, "text");
    return true;
}

static bool read_message(struct folding *f, const json_value *item)
{
    struct reading *rd = f->turns.rd;
    const json_value *role = json_get(item, "role");
    view text;
    if (role == NULL || role->type != JSON_STRING) return refuse_field(rd, item, "a role is needed");
    if (!content_text(rd, json_get(item, "content"), &text)) return false;
    if (view_is(role->text, "assistant")) {
        if (f->has_answer && !close_answer(f)) return false;
        f->text = text;
        f->has_answer = true;
        return true;
    }
    if (!close_answer(f)) return false;
    if (view_is(role->text, "user")) return turns_text(&f->turns, "user", text);
    if (view_is(role->text, "system") || view_is(role->text, "developer")) return turns_system(&f->turns, text);
    return refuse_field(rd, role, "\"%.*s\": system, developer, user or assistant",
                        (int)min_size(role->text.len_bytes, 40), (const char *)role->text.ptr);
}

static const struct { const char *type; bool (*read)(struct folding *f, const json_value *item); } ITEMS[] = {
    { "message", read_message },           { "function_call", read_call }, { "function_call_output", read_output },
    { "custom_tool_call", read_call },     { "custom_tool_call_output", read_output },
    { "reasoning", read_reasoning },
};

static bool read_item(struct folding *f, const json_value *item)
{
    const json_value *type = json_get(item, "type");
    if (item->type != JSON_OBJECT) return refuse_field(f->turns.rd, item, "an item is needed");
    if (type == NULL) return read_message(f, item);
    for (size_t i = 0; i < sizeof ITEMS / sizeof *ITEMS; i++)
        if (type->type == JSON_STRING && view_is(type->text, ITEMS[i].type)) return ITEMS[i].read(f, item);
    if (type->type == JSON_STRING && view_is(type->text, "item_reference"))
        return refuse_field(f->turns.rd, type, "item_reference: responses are not stored here");
    return refuse_field(f->turns.rd, type, "\"%.*s\" is no item that can be read here",
                        (int)min_size(type->text.len_bytes, 40), (const char *)type->text.ptr);
}

bool responses_read(struct reading *rd)
{
    struct folding *f = ARENA_ARRAY(rd->a, struct folding, 1, "input", &rd->e);
    if (f == NULL || !turns_begin(&f->turns, rd)) return false;
    f->text = f->reasoning = view_of("");
    if (rd->instructions.len_bytes > 0 && !turns_system(&f->turns, rd->instructions)) return false;
    if (rd->input == NULL) return refuse_with(rd->r, 400, "input", "input: a text or an array of items is needed");
    if (rd->input->type == JSON_STRING) {
        if (!turns_text(&f->turns, "user", rd->input->text)) return false;
    } else if (rd->input->type == JSON_ARRAY) {
        JSON_EACH(item, rd->input)
            if (!read_item(f, item)) return false;
    } else {
        return refuse_field(rd, rd->input, "a text or an array of items is needed");
    }
    return close_answer(f) && turns_end(&f->turns) && tools_read(rd, rd->tools, false, "parameters") &&
           tool_choice_read(rd, rd->tool_choice);
}

/* ---- fields ---- */

static bool take_text(struct reading *rd, const json_value *v)
{
    static const struct field rows[] = {
        { "format", FIELD_TAKE, 0, 0, 0, openai_response_format, NULL },
        { "verbosity", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    };
    return fields_read(rd, v, rows, sizeof rows / sizeof *rows);
}

static bool take_reasoning(struct reading *rd, const json_value *v)
{
    static const struct field rows[] = {
        { "effort", FIELD_TAKE, 0, 0, 0, take_effort, NULL },
        { "summary", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
        { "generate_summary", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    };
    return fields_read(rd, v, rows, sizeof rows / sizeof *rows);
}

static bool take_truncation(struct reading *rd, const json_value *v)
{
    return (v->type == JSON_STRING && view_is(v->text, "disabled")) ||
           refuse_field(rd, v, "prompts are never cut here: disabled is all there is");
}

static bool take_top_logprobs(struct reading *rd, const json_value *v)
{
    int64_t count;
    if (!json_i64(v, &count) || count < 0 || count > ASK_LOGPROBS_MAX)
        return refuse_field(rd, v, "a number in 0..%d is needed", ASK_LOGPROBS_MAX);
    return true; /* told only where `include` asks for them, and then refused there */
}

static bool take_include(struct reading *rd, const json_value *v)
{
    JSON_EACH(item, v)
        if (item->type == JSON_STRING && view_is(item->text, "message.output_text.logprobs"))
            return refuse_field(rd, item, "log-probabilities: chat completions have them");
    return true;
}

#define AT(field) offsetof(struct reading, field)
const struct field RESPONSES_FIELDS[RESPONSES_FIELD_COUNT] = {
    { "model", FIELD_TEXT, AT(model), 0, 0, NULL, NULL },
    { "input", FIELD_VALUE, AT(input), 0, 0, NULL, NULL },
    { "instructions", FIELD_TEXT, AT(instructions), 0, 0, NULL, NULL },
    { "stream", FIELD_BOOL, AT(stream), 0, 0, NULL, NULL },
    { "stream_options", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "max_output_tokens", FIELD_COUNT, AT(ask.max_tok), 1, UINT32_MAX, NULL, NULL },
    { "tools", FIELD_VALUE, AT(tools), 0, 0, NULL, NULL },
    { "tool_choice", FIELD_VALUE, AT(tool_choice), 0, 0, NULL, NULL },
    { "parallel_tool_calls", FIELD_BOOL, AT(parallel), 0, 0, NULL, NULL },
    { "text", FIELD_TAKE, 0, 0, 0, take_text, NULL },
    { "reasoning", FIELD_TAKE, 0, 0, 0, take_reasoning, NULL },
    { "truncation", FIELD_TAKE, 0, 0, 0, take_truncation, NULL },
    { "top_logprobs", FIELD_TAKE, 0, 0, 0, take_top_logprobs, NULL },
    { "include", FIELD_TAKE, 0, 0, 0, take_include, NULL },
    { "store", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "client_metadata", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "max_tool_calls", FIELD_IGNORE, 0, 0, 0, NULL, NULL },
    { "previous_response_id", FIELD_REFUSE, 0, 0, 0, NULL,
      "responses are not stored here: send the conversation with each request" },
    { "conversation", FIELD_REFUSE, 0, 0, 0, NULL, "conversations are not stored here" },
    { "background", FIELD_REFUSE, 0, 0, 0, NULL, "responses are not stored here, so none can be made meanwhile" },
    { "prompt", FIELD_REFUSE, 0, 0, 0, NULL, "prompts are not stored here" },
};
