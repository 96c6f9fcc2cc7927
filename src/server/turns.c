/* Conversations as chat templates take them, from whatever shape an API gives them: a flat list of messages, calls with
 * their arguments as objects, a tool's result named after the call it answers. */
#include "server/api.h"

#include "base/checked.h"

/* Two texts with `between`, from the arena. */
static bool join(struct reading *rd, view a, const char *between, view b, view *out)
{
    size_t mid = a.len_bytes > 0 && b.len_bytes > 0 ? strlen(between) : 0;
    uint8_t *text = arena_take(rd->a, a.len_bytes + mid + b.len_bytes, 1, 1, "text", &rd->e);
    if (text == NULL) return false;
    if (a.len_bytes > 0) memcpy(text, a.ptr, a.len_bytes);
    if (mid > 0) memcpy(text + a.len_bytes, between, mid);
    if (b.len_bytes > 0) memcpy(text + a.len_bytes + mid, b.ptr, b.len_bytes);
    *out = (view){ text, a.len_bytes + mid + b.len_bytes };
    return true;
}

bool content_text(struct reading *rd, const json_value *v, view *out)
{
    *out = view_of("");
    if (v == NULL || v->type == JSON_NULL) return true;
    if (v->type == JSON_STRING) {
        *out = v->text;
        return true;
    }
    if (v->type != JSON_ARRAY) return refuse_field(rd, v, "a text or an array of parts is needed");
    JSON_EACH(part, v) {
        const json_value *type = json_get(part, "type"), *text = json_get(part, "text");
        if (part->type == JSON_STRING) text = part; /* an old form, still seen */
        else if (part->type != JSON_OBJECT || type == NULL || type->type != JSON_STRING)
            return refuse_field(rd, part, "a part with a type is needed");
        else if (view_is(type->text, "refusal")) text = json_get(part, "refusal");
        else if (!view_is(type->text, "text") && !view_is(type->text, "input_text") &&
                 !view_is(type->text, "output_text"))
            return refuse_field(rd, type, "%.*s can not be read here: text alone can",
                                (int)min_size(type->text.len_bytes, 40), (const char *)type->text.ptr);
        if (text == NULL || text->type != JSON_STRING) return refuse_field(rd, part, "a text is needed");
        if (!join(rd, *out, "\n", text->text, out)) return false;
    }
    return true;
}

bool turns_begin(struct turns *t, struct reading *rd)
{
    *t = (struct turns){ .rd = rd };
    json_writer_start(&t->w, rd->a, HTTP_BODY_BYTES_MAX * 2u, &rd->e);
    json_begin_array(&t->w);
    return true;
}

/* Lines that clients change with every request for their own accounts: a prefix with one in it is never seen again. */
static bool is_billing(view line)
{
    return view_starts(line, view_of("x-anthropic-billing-header"));
}

static bool without_billing(struct reading *rd, view text, view *out)
{
    *out = view_of("");
    while (text.len_bytes > 0) {
        const uint8_t *end = memchr(text.ptr, '\n', text.len_bytes);
        view line = { text.ptr, end == NULL ? text.len_bytes : (size_t)(end - text.ptr) + 1 };
        if (!is_billing(line) && !join(rd, *out, "", line, out)) return false;
        text = view_after(text, line.len_bytes);
    }
    return true;
}

bool turns_system(struct turns *t, view text)
{
    if (t->rd->s->o->drop_billing && !without_billing(t->rd, text, &text)) return false;
    if (t->count == 0 && !t->system_done) return join(t->rd, t->system, "\n\n", text, &t->system);
    return turns_text(t, "system", text);
}

static bool open_turn(struct turns *t, const char *role, view text)
{
    if (!t->system_done) {
        t->system_done = true; /* so the call below goes no deeper */
        if (t->system.len_bytes > 0 && !turns_text(t, "system", t->system)) return false;
    }
    if (++t->count > ASK_MESSAGES_MAX)
        return refuse_with(t->rd->r, 400, "messages", "messages: over %d", ASK_MESSAGES_MAX);
    json_begin_object(&t->w);
    json_key(&t->w, "role");
    json_text(&t->w, role);
    json_key(&t->w, "content");
    json_string(&t->w, text);
    return true;
}

bool turns_text(struct turns *t, const char *role, view text)
{
    if (!open_turn(t, role, text)) return false;
    json_end_object(&t->w);
    return true;
}

bool turns_result(struct turns *t, view call_id, view name, view text)
{
    if (!open_turn(t, "tool", text)) return false;
    json_key(&t->w, "tool_call_id");
    json_string(&t->w, call_id);
    for (size_t i = t->call_count; i-- > 0 && name.len_bytes == 0;) /* the latest call of that id */
        if (call_id.len_bytes > 0 && view_equal(t->call_ids[i], call_id)) name = t->call_names[i];
    if (name.len_bytes > 0) {
        json_key(&t->w, "name");
        json_string(&t->w, name);
    }
    json_end_object(&t->w);
    return true;
}

bool turns_answer(struct turns *t, view text, view reasoning)
{
    if (!open_turn(t, "assistant", text)) return false;
    if (reasoning.len_bytes > 0) {
        json_key(&t->w, "reasoning_content");
        json_string(&t->w, reasoning);
    }
    return true;
}

/* Arguments arrive as a text that should be an object: templates print objects. */
static void write_args(struct turns *t, view args)
{
    const json_value *v;
    err ignored = { 0 };
    if (args.len_bytes == 0) json_raw(&t->w, view_of("{}"));
    else if (json_parse(args, t->rd->a, &v, &ignored) && v->type == JSON_OBJECT) json_copy(&t->w, v);
    else json_string(&t->w, args);
}

bool turns_call(struct turns *t, view id, view name, view args)
{
    if (!t->in_calls) {
        json_key(&t->w, "tool_calls");
        json_begin_array(&t->w);
        t->in_calls = true;
    }
    json_begin_object(&t->w);
    json_key(&t->w, "id");
    json_string(&t->w, id);
    json_key(&t->w, "type");
    json_text(&t->w, "function");
    json_key(&t->w, "function");
    json_begin_object(&t->w);
    json_key(&t->w, "name");
    json_string(&t->w, name);
    json_key(&t->w, "arguments");
    write_args(t, args);
    json_end_object(&t->w);
    json_end_object(&t->w);
    if (t->call_count == ANSWER_CALLS_MAX) { /* the oldest half is answered already */
        t->call_count /= 2;
        memcpy(t->call_ids, t->call_ids + t->call_count, t->call_count * sizeof *t->call_ids);
        memcpy(t->call_names, t->call_names + t->call_count, t->call_count * sizeof *t->call_names);
    }
    t->call_ids[t->call_count] = id;
    t->call_names[t->call_count++] = name;
    return true;
}

bool turns_answer_end(struct turns *t)
{
    if (t->in_calls) json_end_array(&t->w);
    t->in_calls = false;
    json_end_object(&t->w);
    return true;
}

bool turns_end(struct turns *t)
{
    if (t->count == 0 && t->system.len_bytes > 0) {
        t->system_done = true;
        if (!turns_text(t, "system", t->system)) return false;
    }
    if (t->count == 0) return refuse_with(t->rd->r, 400, "messages", "messages: at least one is needed");
    json_end_array(&t->w);
    return json_done(&t->w, &t->rd->ask.messages);
}

/* ---- tools ---- */

static bool write_tool(struct reading *rd, json_writer *w, const json_value *tool, const char *parameters_name)
{
    const json_value *name = json_get(tool, "name"), *about = json_get(tool, "description");
    const json_value *parameters = json_get(tool, parameters_name);
    if (name == NULL || name->type != JSON_STRING || name->text.len_bytes == 0)
        return refuse_field(rd, tool, "a tool with a name is needed");
    if (name->text.len_bytes > REPLY_NAME_MAX)
        return refuse_field(rd, name, "%zu bytes, at most %d", name->text.len_bytes, REPLY_NAME_MAX);
    if (parameters != NULL && parameters->type != JSON_OBJECT && parameters->type != JSON_NULL)
        return refuse_field(rd, parameters, "a JSON schema is needed");
    json_begin_object(w);
    json_key(w, "type");
    json_text(w, "function");
    json_key(w, "function");
    json_begin_object(w);
    json_key(w, "name");
    json_string(w, name->text);
    json_key(w, "description");
    json_string(w, about != NULL && about->type == JSON_STRING ? about->text : view_of(""));
    json_key(w, "parameters");
    if (parameters != NULL && parameters->type == JSON_OBJECT) json_copy(w, parameters);
    else json_raw(w, view_of("{\"type\":\"object\",\"properties\":{}}"));
    json_end_object(w);
    json_end_object(w);
    return true;
}

/* A tool that is not a function of the client's (a web search of somebody's cloud) is left out and counted: clients
 * send such whether a server has them or not. */
static bool is_foreign(const json_value *tool)
{
    const json_value *type = json_get(tool, "type");
    return type != NULL && type->type == JSON_STRING && !view_is(type->text, "function") &&
           !view_is(type->text, "custom");
}

bool tools_read(struct reading *rd, const json_value *tools, bool nested, const char *parameters_name)
{
    json_writer w;
    size_t count = 0;
    if (tools == NULL) return true;
    if (tools->type != JSON_ARRAY) return refuse_field(rd, tools, "an array of tools is needed");
    if (tools->count > ASK_TOOLS_MAX)
        return refuse_field(rd, tools, "%u tools, at most %d", tools->count, ASK_TOOLS_MAX);
    json_writer_start(&w, rd->a, HTTP_BODY_BYTES_MAX * 2u, &rd->e);
    json_begin_array(&w);
    JSON_EACH(tool, tools) {
        const json_value *function = nested ? json_get(tool, "function") : tool;
        if (is_foreign(tool)) {
            rd->s->count.unknown_fields++;
            continue;
        }
        if (function == NULL) return refuse_field(rd, tool, "a function is needed");
        if (!write_tool(rd, &w, function, parameters_name)) return false;
        count++;
    }
    json_end_array(&w);
    if (count == 0) return true;
    return json_done(&w, &rd->ask.tools);
}

bool tool_choice_read(struct reading *rd, const json_value *choice)
{
    static const struct { const char *name; enum ask_tools means; } rows[] = {
        { "auto", TOOLS_AUTO }, { "none", TOOLS_NONE }, { "required", TOOLS_REQUIRED }, { "any", TOOLS_REQUIRED },
    };
    if (choice == NULL) return true;
    const json_value *type = choice->type == JSON_OBJECT ? json_get(choice, "type") : choice;
    const json_value *name = json_get(choice, "name"), *function = json_get(choice, "function");
    if (name == NULL && function != NULL) name = json_get(function, "name");
    if (type == NULL || type->type != JSON_STRING) return refuse_field(rd, choice, "auto, none, required or a tool");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!view_is(type->text, rows[i].name)) continue;
        rd->ask.tool_choice = rows[i].means;
        const json_value *serial = json_get(choice, "disable_parallel_tool_use");
        if (serial != NULL && serial->type == JSON_TRUE) rd->parallel = false;
        return true;
    }
    if ((!view_is(type->text, "function") && !view_is(type->text, "tool")) || name == NULL ||
        name->type != JSON_STRING)
        return refuse_field(rd, choice, "auto, none, required or a tool's name is needed");
    rd->ask.tool_choice = TOOLS_NAMED;
    rd->ask.tool_name = name->text;
    return true;
}
