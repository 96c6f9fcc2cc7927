/* Conversations: see talk.h. */
#include "cmd/talk.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/limits.h"
#include "format/json.h"

static const char *const ROLES[] = { "system", "user", "assistant", "tool" };

/* Addresses: messages of the longest prompts, many times over. */
#define TALK_BYTES (MESSAGES_MAX * sizeof(struct message) + (size_t)4 * JSON_BYTES_MAX + ((size_t)1 << 34))

bool talk_new(struct talk *t, err *e)
{
    *t = (struct talk){ 0 };
    if (arena_new(&t->arena, TALK_BYTES, e) &&
        (t->messages = ARENA_ARRAY(&t->arena, struct message, MESSAGES_MAX, "messages", e)) != NULL)
        return true;
    talk_free(t);
    return false;
}

void talk_free(struct talk *t)
{
    arena_free(&t->arena);
    *t = (struct talk){ 0 };
}

/* ---- messages ---- */

bool talk_add(struct talk *t, enum talk_role role, view content, view reasoning, err *e)
{
    struct message message = { .role = role };
    if (t->message_count == MESSAGES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "conversation: %d messages are the most", MESSAGES_MAX);
    if (!arena_copy(&t->arena, content, &message.content, "message", e) ||
        !arena_copy(&t->arena, reasoning, &message.reasoning, "message", e))
        return false;
    if (role != ROLE_SYSTEM) {
        t->messages[t->message_count++] = message;
        return true;
    }
    bool has_one = t->message_count > 0 && t->messages[0].role == ROLE_SYSTEM;
    if (!has_one) memmove(t->messages + 1, t->messages, t->message_count++ * sizeof *t->messages);
    t->messages[0] = message;
    return true;
}

bool talk_add_calls(struct talk *t, view calls, err *e)
{
    return arena_copy(&t->arena, calls, &t->messages[t->message_count - 1].calls, "tool calls", e);
}

/* Copies what a JSON object says of a call, a text or nothing. */
static bool copy_text(struct talk *t, const json_value *object, const char *key, view *out, err *e)
{
    const json_value *said = json_get(object, key);
    bool has = said != NULL && said->type == JSON_STRING;
    return arena_copy(&t->arena, has ? said->text : view_of(""), out, key, e);
}

bool talk_add_result(struct talk *t, view content, err *e)
{
    size_t results = 0, n = t->message_count;
    const json_value *calls = NULL;
    while (results < n && t->messages[n - 1 - results].role == ROLE_TOOL) results++;
    const struct message *asked = results < n ? &t->messages[n - 1 - results] : NULL;
    if (asked != NULL && asked->calls.len_bytes > 0 && !json_parse(asked->calls, &t->arena, &calls, e)) return false;
    if (calls == NULL || results >= calls->count)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "result: no tool call waits for one");
    const json_value *call = json_item(calls, results);
    if (!talk_add(t, ROLE_TOOL, content, view_of(""), e)) return false;
    struct message *made = &t->messages[t->message_count - 1];
    return copy_text(t, call, "id", &made->call_id, e) &&
           copy_text(t, json_get(call, "function"), "name", &made->tool, e);
}

/* One schema of the list: the text worker would refuse it too, but not say where it stands. */
static bool check_tool(const json_value *item, size_t number, err *e)
{
    const json_value *function = json_get(item, "function");
    if (function == NULL) function = item;
    const json_value *name = json_get(function, "name"), *parameters = json_get(function, "parameters");
    if (name == NULL || name->type != JSON_STRING || name->text.len_bytes == 0)
        return fail(e, ERR_VALUE, item->offset, "tool %zu: no object with a name", number);
    if (parameters != NULL && parameters->type != JSON_OBJECT && parameters->type != JSON_NULL)
        return fail(e, ERR_VALUE, parameters->offset, "tool %zu, %.*s: the parameters are no object", number,
                    (int)min_size(name->text.len_bytes, 60), (const char *)name->text.ptr);
    return true;
}

bool talk_tools(struct talk *t, const char *path, err *e)
{
    view text;
    const json_value *list;
    size_t number = 0;
    if (!file_read(path, JSON_BYTES_MAX, &t->arena, &text, e)) return false;
    bool good = json_parse(text, &t->arena, &list, e) &&
                (list->type == JSON_ARRAY || fail(e, ERR_VALUE, list->offset, "not a list of tools")) &&
                (list->count <= TOOLS_MAX || fail(e, ERR_LIMIT, 0, "%u tools, at most %d", list->count, TOOLS_MAX));
    if (good) JSON_EACH(item, list) good = good && check_tool(item, ++number, e);
    if (!good) err_prefix(e, path);
    else t->tools = text;
    return good;
}

void talk_cut(struct talk *t, size_t count)
{
    t->message_count = min_size(t->message_count, count);
}

static void write_text(json_writer *w, const char *key, view text)
{
    if (text.len_bytes == 0) return;
    json_key(w, key);
    json_string(w, text);
}

static void write_messages(const struct talk *t, json_writer *w)
{
    json_begin_array(w);
    for (size_t i = 0; i < t->message_count; i++) {
        const struct message *message = &t->messages[i];
        json_begin_object(w);
        json_key(w, "role");
        json_text(w, ROLES[message->role]);
        json_key(w, "content");
        json_string(w, message->content);
        write_text(w, "reasoning_content", message->reasoning);
        write_text(w, "tool_call_id", message->call_id);
        write_text(w, "name", message->tool);
        if (message->calls.len_bytes > 0) {
            json_key(w, "tool_calls");
            json_raw(w, message->calls);
        }
        json_end_object(w);
    }
    json_end_array(w);
}

bool talk_messages(const struct talk *t, arena *a, view *messages, view *variables, err *e)
{
    json_writer w;
    json_writer_start(&w, a, JSON_BYTES_MAX, e);
    write_messages(t, &w);
    if (!json_done(&w, messages)) return false;
    *variables = view_of(t->think == THINK_UNSET ? ""
                         : t->think == THINK_YES ? "{\"enable_thinking\": true, \"thinking\": true}"
                                                 : "{\"enable_thinking\": false, \"thinking\": false}");
    return true;
}

/* ---- files ---- */

bool talk_save(struct talk *t, const char *path, err *e)
{
    size_t mark = t->arena.used_bytes;
    json_writer w;
    view text;
    json_writer_start(&w, &t->arena, JSON_BYTES_MAX, e);
    w.spaced = true;
    json_begin_object(&w);
    json_key(&w, "messages");
    write_messages(t, &w);
    json_key(&w, "add_generation_prompt");
    json_bool(&w, true);
    json_end_object(&w);
    bool good = json_done(&w, &text) && file_write(path, (const view[]){ text, view_of("\n") }, 2, e);
    arena_rewind(&t->arena, mark);
    return good;
}

static bool role_of(const json_value *item, size_t number, enum talk_role *out, err *e)
{
    const json_value *role = json_get(item, "role");
    view text = role != NULL && role->type == JSON_STRING ? role->text : view_of("");
    for (size_t i = 0; i < sizeof ROLES / sizeof *ROLES; i++)
        if (view_is(text, ROLES[i])) return *out = (enum talk_role)i, true;
    return fail(e, ERR_VALUE, ERR_NO_OFFSET, "message %zu: role \"%.*s\", known are system, user, assistant, tool",
                number, (int)min_size(text.len_bytes, 40), (const char *)text.ptr);
}

/* One message of a file; images and other parts are refused by name. A message of calls alone may have no content. */
static bool load_message(struct talk *t, view text, const json_value *item, size_t number, err *e)
{
    const json_value *calls = json_get(item, "tool_calls"), *content = json_get(item, "content");
    view reasoning;
    enum talk_role role;
    if (!role_of(item, number, &role, e) || !copy_text(t, item, "reasoning_content", &reasoning, e)) return false;
    bool has_calls = role == ROLE_ASSISTANT && calls != NULL && calls->type == JSON_ARRAY && calls->count > 0;
    bool has_text = content != NULL && content->type == JSON_STRING;
    if (!has_text && !(has_calls && (content == NULL || content->type == JSON_NULL)))
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "message %zu: the content is no text (images can not be read)",
                    number);
    if (!talk_add(t, role, has_text ? content->text : view_of(""), reasoning, e)) return false;
    struct message *made = &t->messages[role == ROLE_SYSTEM ? 0 : t->message_count - 1];
    return (!has_calls || talk_add_calls(t, (view){ text.ptr + calls->offset, calls->len_bytes }, e)) &&
           (role != ROLE_TOOL || (copy_text(t, item, "tool_call_id", &made->call_id, e) &&
                                  copy_text(t, item, "name", &made->tool, e)));
}

static bool load_text(struct talk *t, view text, err *e)
{
    size_t number = 0, old_count = t->message_count;
    const json_value *root;
    if (!json_parse(text, &t->arena, &root, e)) return false;
    const json_value *list = json_get(root, "messages");
    if (list == NULL || list->type != JSON_ARRAY) return fail(e, ERR_VALUE, ERR_NO_OFFSET, "no list \"messages\"");
    struct message *old = ARENA_ARRAY(&t->arena, struct message, old_count, "messages", e);
    if (old == NULL) return false;
    memcpy(old, t->messages, old_count * sizeof *old);
    t->message_count = 0;
    bool good = true;
    JSON_EACH(item, list) good = good && load_message(t, text, item, ++number, e);
    if (good) return true;
    memcpy(t->messages, old,
           old_count * sizeof *old); /* a file that can not be read leaves the conversation as it was */
    t->message_count = old_count;
    return false;
}

bool talk_load(struct talk *t, const char *path, err *e)
{
    view text;
    if (!file_read(path, JSON_BYTES_MAX, &t->arena, &text, e)) return false;
    if (load_text(t, text, e)) return true;
    err_prefix(e, path);
    return false;
}
