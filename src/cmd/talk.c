/* Conversations: see talk.h. */
#include "cmd/talk.h"

#include "base/checked.h"
#include "base/file.h"

static const char *const ROLES[] = { "system", "user", "assistant" };

bool talk_new(struct talk *t, const model *m, view source, size_t ctx_tok, err *e)
{
    *t = (struct talk){ .m = m, .ids_room = ctx_tok };
    /* Addresses: no text that fits the context is longer than its tokens can be, or than a template may print. */
    t->text_room = TEMPLATE_OUTPUT_MAX;
    size_t tables = MESSAGES_MAX * sizeof *t->messages + MARKS_MAX * sizeof *t->marks + ctx_tok * sizeof *t->ids;
    if (renderer_new(&t->renderer, source, m->tokenizer, e) &&
        arena_new(&t->arena, tables + t->text_room + (size_t)4 * JSON_BYTES_MAX + ((size_t)1 << 34), e) &&
        (t->messages = ARENA_ARRAY(&t->arena, struct message, MESSAGES_MAX, "messages", e)) != NULL &&
        (t->marks = ARENA_ARRAY(&t->arena, struct mark, MARKS_MAX, "marks", e)) != NULL &&
        (t->ids = ARENA_ARRAY(&t->arena, int32_t, ctx_tok, "token ids", e)) != NULL &&
        (t->text = ARENA_ARRAY(&t->arena, uint8_t, t->text_room, "text", e)) != NULL)
        return true;
    talk_free(t);
    return false;
}

void talk_free(struct talk *t)
{
    renderer_free(&t->renderer);
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

/* One schema of the list, as the parser of replies wants it. */
static bool read_tool(const json_value *item, size_t number, struct reply_tool *out, err *e)
{
    const json_value *function = json_get(item, "function");
    if (function == NULL) function = item;
    const json_value *name = json_get(function, "name"), *parameters = json_get(function, "parameters");
    if (name == NULL || name->type != JSON_STRING || name->text.len_bytes == 0)
        return fail(e, ERR_VALUE, item->offset, "tool %zu: no object with a name", number);
    if (parameters != NULL && parameters->type != JSON_OBJECT && parameters->type != JSON_NULL)
        return fail(e, ERR_VALUE, parameters->offset, "tool %zu, %.*s: the parameters are no object", number,
                    (int)min_size(name->text.len_bytes, 60), (const char *)name->text.ptr);
    *out = (struct reply_tool){ name->text, parameters != NULL && parameters->type == JSON_OBJECT ? parameters : NULL };
    return true;
}

bool talk_tools(struct talk *t, const char *path, err *e)
{
    view text;
    const json_value *list;
    if (!file_read(path, JSON_BYTES_MAX, &t->arena, &text, e)) return false;
    bool good = json_parse(text, &t->arena, &list, e) &&
                (list->type == JSON_ARRAY || fail(e, ERR_VALUE, list->offset, "not a list of tools")) &&
                (list->count <= TOOLS_MAX || fail(e, ERR_LIMIT, 0, "%u tools, at most %d", list->count, TOOLS_MAX)) &&
                (t->reply_tools = ARENA_ARRAY(&t->arena, struct reply_tool, list->count, "tools", e)) != NULL;
    t->tool_count = 0;
    if (good) JSON_EACH(item, list)
    {
        good = good && read_tool(item, t->tool_count + 1, &t->reply_tools[t->tool_count], e);
        t->tool_count++;
    }
    if (!good) err_prefix(e, path);
    else t->tools = list;
    return good;
}

void talk_cut(struct talk *t, size_t count)
{
    t->message_count = min_size(t->message_count, count);
}

static void write_messages(const struct talk *t, json_writer *w)
{
    json_key(w, "messages");
    json_begin_array(w);
    for (size_t i = 0; i < t->message_count; i++) {
        const struct message *message = &t->messages[i];
        json_begin_object(w);
        json_key(w, "role");
        json_text(w, ROLES[message->role]);
        json_key(w, "content");
        json_string(w, message->content);
        if (message->reasoning.len_bytes > 0) {
            json_key(w, "reasoning_content");
            json_string(w, message->reasoning);
        }
        if (message->calls.len_bytes > 0) {
            json_key(w, "tool_calls");
            json_raw(w, message->calls);
        }
        json_end_object(w);
    }
    json_end_array(w);
}

static void write_token(const struct talk *t, json_writer *w, const char *name, int32_t id)
{
    json_key(w, name);
    json_string(w, id >= 0 ? tokenizer_text(t->m->tokenizer, id) : view_of(""));
}

/* What Hugging Face's apply_chat_template passes, and the switch of the templates that have one. */
static bool write_vars(struct talk *t, arena *a, view *out, err *e)
{
    const struct tokenizer_facts *facts = tokenizer_facts(t->m->tokenizer);
    json_writer w;
    json_writer_start(&w, a, JSON_BYTES_MAX, e);
    json_begin_object(&w);
    write_messages(t, &w);
    json_key(&w, "tools");
    if (t->tools != NULL) json_copy(&w, t->tools);
    else json_null(&w);
    json_key(&w, "documents");
    json_null(&w);
    json_key(&w, "add_generation_prompt");
    json_bool(&w, true);
    write_token(t, &w, "bos_token", facts->bos);
    write_token(t, &w, "eos_token", facts->eos);
    if (t->think != THINK_UNSET) {
        json_key(&w, "enable_thinking");
        json_bool(&w, t->think == THINK_YES);
        json_key(&w, "thinking");
        json_bool(&w, t->think == THINK_YES);
    }
    json_end_object(&w);
    return json_done(&w, out);
}

/* ---- ids ---- */

static void add_mark(struct talk *t)
{
    if (t->mark_count == MARKS_MAX) { /* the oldest half goes: it only costs computing again */
        t->mark_count /= 2;
        memmove(t->marks, t->marks + t->mark_count, t->mark_count * sizeof *t->marks);
    }
    t->marks[t->mark_count++] = (struct mark){ t->text_bytes, t->ids_count };
}

/* Goes back to the last mark whose text the new rendering begins with. */
static void keep_prefix(struct talk *t, view text)
{
    while (t->mark_count > 0) {
        const struct mark *mark = &t->marks[t->mark_count - 1];
        if (mark->text_bytes <= text.len_bytes && memcmp(t->text, text.ptr, mark->text_bytes) == 0) {
            t->text_bytes = mark->text_bytes;
            t->ids_count = mark->ids_count;
            return;
        }
        t->mark_count--;
    }
    t->text_bytes = t->ids_count = 0;
}

static bool add_ids(struct talk *t, const int32_t *ids, size_t count, err *e)
{
    if (count > t->ids_room - t->ids_count)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "conversation: %zu tokens, the context holds %zu (--ctx)",
                    t->ids_count + count, t->ids_room);
    memcpy(t->ids + t->ids_count, ids, count * sizeof *ids);
    t->ids_count += count;
    return true;
}

static bool add_text(struct talk *t, view text, err *e)
{
    if (text.len_bytes > t->text_room - t->text_bytes)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "conversation: over %zu bytes", t->text_room);
    memcpy(t->text + t->text_bytes, text.ptr, text.len_bytes);
    t->text_bytes += text.len_bytes;
    return true;
}

bool talk_prompt(struct talk *t, const int32_t **ids, size_t *count, err *e)
{
    const struct tokenizer_facts *facts = tokenizer_facts(t->m->tokenizer);
    struct rendered text;
    view json;
    int32_t *added;
    size_t added_count, mark = t->arena.used_bytes;
    if (!write_vars(t, &t->arena, &json, e) || !renderer_text(&t->renderer, json, &text, e)) return false;
    keep_prefix(t, text.text);
    if (!renderer_ids(&t->renderer, &text, t->text_bytes, &t->arena, &added, &added_count, e)) return false;
    bool begins = t->ids_count == 0 && facts->add_bos && facts->bos >= 0 &&
                  (added_count == 0 || added[0] != facts->bos);
    bool good = (!begins || add_ids(t, &facts->bos, 1, e)) && add_ids(t, added, added_count, e) &&
                add_text(t, view_after(text.text, t->text_bytes), e);
    arena_rewind(&t->arena, mark);
    if (!good) return false;
    add_mark(t);
    *ids = t->ids;
    *count = t->ids_count;
    return true;
}

view talk_rendered(const struct talk *t)
{
    return (view){ t->text, t->text_bytes };
}

bool talk_answer(struct talk *t, const int32_t *ids, size_t count, err *e)
{
    uint8_t piece[TOKEN_BYTES_MAX];
    decoder d = { .inside = true };
    for (size_t i = 0; i < count; i++) {
        size_t len = 0;
        bool known = (size_t)ids[i] < tokenizer_count(t->m->tokenizer);
        if (i + 1 == count && model_ends(t->m, ids[i])) add_mark(t); /* templates may end a turn in another way */
        if (known && !decoder_next(&d, t->m->tokenizer, ids[i], true, piece, &len, e)) return false;
        if (!add_ids(t, &ids[i], 1, e) || !add_text(t, (view){ piece, len }, e)) return false;
    }
    add_mark(t);
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
    write_messages(t, &w);
    json_key(&w, "add_generation_prompt");
    json_bool(&w, true);
    json_end_object(&w);
    bool good = json_done(&w, &text) && file_write(path, (const view[]){ text, view_of("\n") }, 2, e);
    arena_rewind(&t->arena, mark);
    return good;
}

/* One message of a file; images and other parts are refused by name. */
static bool load_message(struct talk *t, view text, const json_value *item, size_t number, err *e)
{
    const json_value *calls = json_get(item, "tool_calls");
    const json_value *role = json_get(item, "role"), *content = json_get(item, "content");
    const json_value *reasoning = json_get(item, "reasoning_content");
    size_t i = 0;
    while (role != NULL && i < sizeof ROLES / sizeof *ROLES && !view_is(role->text, ROLES[i])) i++;
    if (role == NULL || i == sizeof ROLES / sizeof *ROLES)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "message %zu: role \"%.*s\", known are system, user, assistant",
                    number, role != NULL ? (int)min_size(role->text.len_bytes, 40) : 0,
                    role != NULL ? (const char *)role->text.ptr : "");
    if (content == NULL || content->type != JSON_STRING)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "message %zu: the content is no text (images can not be read)",
                    number);
    bool has_reasoning = reasoning != NULL && reasoning->type == JSON_STRING;
    bool has_calls = i == ROLE_ASSISTANT && calls != NULL && calls->type == JSON_ARRAY && calls->count > 0;
    return talk_add(t, (enum talk_role)i, content->text, has_reasoning ? reasoning->text : view_of(""), e) &&
           (!has_calls || talk_add_calls(t, (view){ text.ptr + calls->offset, calls->len_bytes }, e));
}

bool talk_load(struct talk *t, const char *path, err *e)
{
    size_t number = 0, old_count = t->message_count;
    view text;
    const json_value *root;
    if (!file_read(path, JSON_BYTES_MAX, &t->arena, &text, e) || !json_parse(text, &t->arena, &root, e)) return false;
    const json_value *list = json_get(root, "messages");
    if (list == NULL || list->type != JSON_ARRAY)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%.200s: no list \"messages\"", path);
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
