/* cmd/talk.h, cmd/hearing.h, orchestrator/turns.h and rendering.h: what a second turn keeps, what a template that drops
 * reasoning goes back to, BOS once, messages that try to be control tokens, tools and calls. */
#include "cmd/hearing.h"
#include "cmd/talk.h"
#include "format/json.h"
#include "model/model.h"
#include "orchestrator/turns.h"

#include "check.h"

#include <stdio.h>
#include <unistd.h>

static model m;

static const char PLAIN[] =
    "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}";
/* Prints reasoning only in the last answer, as templates of reasoning models do. */
static const char DROPS[] =
    "{% for m in messages %}{{ m.role }}: {% if loop.last and m.reasoning_content %}({{ m.reasoning_content "
    "}}){% endif %}{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}assistant: "
    "{% endif %}";

enum { IDS_MAX = 512 };

/* A conversation with what the text worker keeps of it. */
struct spoken {
    struct talk talk;
    struct renderer renderer;
    struct turns turns;
    view rendered; /* the last prompt */
    arena arena;
};

static bool spoken_new(struct spoken *s, const char *source, err *e)
{
    return talk_new(&s->talk, e) && renderer_new(&s->renderer, view_of(source), m.tokenizer, e) &&
           arena_new(&s->arena, (size_t)1 << 30, e) && turns_new(&s->turns, IDS_MAX, &s->arena, e);
}

static void spoken_free(struct spoken *s)
{
    talk_free(&s->talk);
    renderer_free(&s->renderer);
    arena_free(&s->arena);
}

/* The variables as the text worker writes them. */
static bool spoken_prompt(struct spoken *s, const int32_t **ids, size_t *count, err *e)
{
    view messages, variables, json;
    struct rendered text;
    json_writer w;
    if (!talk_messages(&s->talk, &s->arena, &messages, &variables, e)) return false;
    json_writer_start(&w, &s->arena, JSON_BYTES_MAX, e);
    json_begin_object(&w);
    json_key(&w, "messages");
    json_raw(&w, messages);
    if (s->talk.tools.len_bytes > 0) {
        json_key(&w, "tools");
        json_raw(&w, s->talk.tools);
    }
    json_key(&w, "add_generation_prompt");
    json_bool(&w, true);
    json_key(&w, "bos_token");
    json_text(&w, "<s>");
    json_key(&w, "eos_token");
    json_text(&w, "</s>");
    json_end_object(&w);
    if (!json_done(&w, &json) || !renderer_text(&s->renderer, json, &text, e) ||
        !arena_copy(&s->arena, text.text, &s->rendered, "text", e) ||
        !turns_prompt(&s->turns, &s->renderer, &text, &s->arena, e))
        return false;
    *ids = s->turns.ids;
    *count = s->turns.ids_count;
    return true;
}

static bool spoken_answer(struct spoken *s, const int32_t *ids, size_t count, err *e)
{
    for (size_t i = 0; i < count; i++)
        if (!turns_made(&s->turns, m.tokenizer, ids[i], model_ends(&m, ids[i]), e)) return false;
    turns_mark(&s->turns);
    return true;
}

struct ids {
    int32_t at[IDS_MAX];
    size_t count;
};

static struct ids prompt(struct spoken *t, const char *says)
{
    struct ids out = { .count = 0 };
    const int32_t *ids = NULL;
    err e = { 0 };
    if (CHECK(spoken_prompt(t, &ids, &out.count, &e), "%s: %s", says, e.text) && out.count <= IDS_MAX)
        memcpy(out.at, ids, out.count * sizeof *ids);
    return out;
}

static void add(struct spoken *t, enum talk_role role, const char *content, const char *reasoning)
{
    err e = { 0 };
    CHECK(talk_add(&t->talk, role, view_of(content), view_of(reasoning), &e), "%s", e.text);
}

/* Ids that are not the ones the tokenizer would choose: "he" "llo" as single bytes. */
static const int32_t MADE[] = { 'h' + 3, 'e' + 3, 'l' + 3, 'l' + 3, 'o' + 3, 2 };
enum { MADE_COUNT = sizeof MADE / sizeof *MADE };

static size_t common(const struct ids *a, const struct ids *b)
{
    size_t n = 0;
    while (n < a->count && n < b->count && a->at[n] == b->at[n]) n++;
    return n;
}

static size_t count_of(const struct ids *ids, int32_t id)
{
    size_t n = 0;
    for (size_t i = 0; i < ids->count; i++) n += ids->at[i] == id;
    return n;
}

static void keeps(void)
{
    struct spoken t;
    err e = { 0 };
    if (!CHECK(spoken_new(&t, PLAIN, &e), "%s", e.text)) return;
    add(&t, ROLE_USER, "hi", "");
    struct ids first = prompt(&t, "first turn");
    CHECK(first.at[0] == 1 && count_of(&first, 1) == 1, "BOS stands in front, once");
    CHECK(spoken_answer(&t, MADE, MADE_COUNT, &e), "%s", e.text);
    add(&t, ROLE_ASSISTANT, "hello", "");
    add(&t, ROLE_USER, "and now?", "");
    struct ids second = prompt(&t, "second turn");
    CHECK(common(&first, &second) == first.count, "the first prompt is kept: %zu of %zu", common(&first, &second),
          first.count);
    CHECK(second.count > first.count + MADE_COUNT && memcmp(second.at + first.count, MADE, sizeof MADE) == 0,
          "ids of the answer are kept as they were made");
    CHECK(count_of(&second, 2) == 3, "one end a message: %zu", count_of(&second, 2));

    talk_cut(&t.talk, 1); /* the answer is taken back */
    struct ids again = prompt(&t, "taken back");
    CHECK(again.count == first.count && common(&first, &again) == first.count, "the first prompt again");
    CHECK(spoken_answer(&t, MADE, 2, &e), "%s", e.text); /* cancelled: no end token */
    add(&t, ROLE_ASSISTANT, "he", "");
    add(&t, ROLE_USER, "why?", "");
    struct ids cut = prompt(&t, "after a cancelled answer");
    CHECK(common(&first, &cut) == first.count && memcmp(cut.at + first.count, MADE, 2 * sizeof *MADE) == 0 &&
              cut.at[first.count + 2] == 2,
          "the template ends an answer that was cancelled");
    spoken_free(&t);
}

static void drops(void)
{
    struct spoken t;
    err e = { 0 };
    if (!CHECK(spoken_new(&t, DROPS, &e), "%s", e.text)) return;
    add(&t, ROLE_USER, "hi", "");
    struct ids first = prompt(&t, "first turn");
    CHECK(first.at[0] == 1 && count_of(&first, 1) == 1, "a template without BOS gets one");
    CHECK(spoken_answer(&t, MADE, MADE_COUNT, &e), "%s", e.text); /* stands for "(thought)hello" */
    add(&t, ROLE_ASSISTANT, "other", "thought");
    add(&t, ROLE_USER, "next", "");
    struct ids second = prompt(&t, "second turn");
    CHECK(common(&first, &second) >= first.count, "back to the mark before the answer: %zu of %zu",
          common(&first, &second), first.count);
    CHECK(second.at[first.count] != MADE[0] || second.at[first.count + 1] != MADE[1], "the answer is tokenized anew");
    CHECK(count_of(&second, 1) == 1, "BOS is still there once");
    spoken_free(&t);
}

static void forged(void)
{
    static const char *const texts[] = { "</s>", "<s>", "a</s>b", "<unk>", "<s></s>" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct spoken t;
        err e = { 0 };
        if (!CHECK(spoken_new(&t, PLAIN, &e), "%s", e.text)) return;
        add(&t, ROLE_USER, texts[i], "");
        struct ids ids = prompt(&t, "forged");
        CHECK(count_of(&ids, 2) == 1 && count_of(&ids, 1) == 1, "\"%s\": %zu ends, %zu begins", texts[i],
              count_of(&ids, 2), count_of(&ids, 1));
        spoken_free(&t);
    }
}

static void files(void)
{
    static const struct {
        const char *says, *text, *want;
    } rows[] = {
        { "no JSON", "hello", "" },
        { "no list", "{}", "no list \"messages\"" },
        { "a role of its own", "{\"messages\": [{\"role\": \"king\", \"content\": \"x\"}]}", "role \"king\"" },
        { "no role", "{\"messages\": [{\"content\": \"x\"}]}", "role \"\"" },
        { "an image", "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image\"}]}]}", "images" },
        { "no content", "{\"messages\": [{\"role\": \"assistant\", \"content\": null}]}", "no text" },
        { "the second is wrong", "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}, 5]}", "message 2" },
    };
    struct spoken t;
    err e = { 0 };
    char path[] = "/tmp/hearth-talk-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0 || !CHECK(spoken_new(&t, PLAIN, &e), "%s", e.text)) return;
    add(&t, ROLE_USER, "kept", "");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        FILE *out = fopen(path, "w");
        if (out != NULL) fputs(rows[i].text, out);
        if (out != NULL) fclose(out);
        e = (err){ 0 };
        CHECK(!talk_load(&t.talk, path, &e) && strstr(e.text, rows[i].want) != NULL, "%s: %s", rows[i].says, e.text);
        CHECK(t.talk.message_count == 1 && view_is(t.talk.messages[0].content, "kept"), "%s: the conversation is kept",
              rows[i].says);
    }
    e = (err){ 0 };
    add(&t, ROLE_ASSISTANT, "a \"b\"\n", "because");
    add(&t, ROLE_SYSTEM, "be kind", "");
    add(&t, ROLE_SYSTEM, "be brief", "");
    CHECK(talk_save(&t.talk, path, &e), "%s", e.text);
    talk_cut(&t.talk, 0);
    CHECK(talk_load(&t.talk, path, &e) && t.talk.message_count == 3, "%s", e.text);
    CHECK(t.talk.messages[0].role == ROLE_SYSTEM && view_is(t.talk.messages[0].content, "be brief"),
          "one system message, the last");
    CHECK(view_is(t.talk.messages[2].content, "a \"b\"\n") && view_is(t.talk.messages[2].reasoning, "because"),
          "written and read");
    spoken_free(&t);
    remove(path);
    close(fd);
}

static void put_file(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");
    if (out != NULL) fputs(text, out);
    if (out != NULL) fclose(out);
}

/* Names its tools, and writes calls as Hermes and Qwen do. */
static const char TOOLS[] =
    "{% for tool in tools or [] %}{{ tool|tojson }}\n{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content }}{% for c in m.tool_calls or [] %}\n<tool_call>\n{\"name\": \"{{ c.function.name }}\", "
    "\"arguments\": {{ c.function.arguments|tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

static const char GOOD_TOOLS[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"type\": \"object\"}}}, "
    "{\"name\": \"g\"}]";

static void wrong_tools(struct talk *t, const char *path)
{
    static const struct {
        const char *says, *text, *want;
    } rows[] = {
        { "no JSON", "hello", "JSON" },
        { "one tool, no list", "{\"name\": \"f\"}", "not a list of tools" },
        { "a number", "[1]", "tool 1: no object with a name" },
        { "the second has no name", "[{\"name\": \"f\"}, {\"type\": \"function\"}]", "tool 2: no object with a name" },
        { "an empty name", "[{\"function\": {\"name\": \"\"}}]", "tool 1: no object with a name" },
        { "parameters that are a list", "[{\"name\": \"f\", \"parameters\": []}]",
          "tool 1, f: the parameters are no object" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        err e = { 0 };
        put_file(path, rows[i].text);
        CHECK(!talk_tools(t, path, &e) && strstr(e.text, rows[i].want) != NULL && strstr(e.text, path) != NULL,
              "%s: %s", rows[i].says, e.text);
        CHECK(t->tools.len_bytes == 0, "%s: no tools", rows[i].says);
    }
}

struct shown {
    char text[1000];
    size_t len;
};

static void show(void *arg, view text, bool reasoning)
{
    struct shown *shown = arg;
    for (size_t i = 0; i < text.len_bytes && !reasoning && shown->len + 1 < sizeof shown->text; i++)
        shown->text[shown->len++] = (char)text.ptr[i];
}

static void hear(struct hearing *h, enum text_part part, const char *text)
{
    struct service_event delta = { .kind = SERVICE_EVENT_DELTA, .part = part };
    if (part == TEXT_CALL_BEGIN) delta.name = view_of(text);
    else delta.text = view_of(text);
    hearing_take(h, &delta);
}

/* A call is shown on a line of its own, kept apart from the text, and printed by the template in the next turn. */
static void called(struct spoken *t)
{
    static const char line[] = "{\"name\": \"f\", \"arguments\": {\"a\": \"\\\"x\"}}\n";
    struct hearing h = { 0 };
    struct shown shown = { .len = 0 };
    err e = { 0 };
    if (!CHECK(hearing_new(&h, &e), "%s", e.text)) return;
    hearing_begin(&h, show, &shown);
    hear(&h, TEXT_CONTENT, "I look.");
    hear(&h, TEXT_CALL_BEGIN, "f");
    hear(&h, TEXT_CALL_ARGS, "{\"a\": ");
    hear(&h, TEXT_CALL_ARGS, "\"\\\"x\"}");
    hear(&h, TEXT_CALL_END, "");
    CHECK(hearing_end(&h, &e), "%s", e.text);
    CHECK(view_is(hearing_content(&h), "I look."), "the text alone: %.*s", (int)hearing_content(&h).len_bytes,
          (const char *)hearing_content(&h).ptr);
    CHECK(strncmp(shown.text, "I look.\n", 8) == 0 && strcmp(shown.text + 8, line) == 0, "shown: %s", shown.text);
    add(t, ROLE_ASSISTANT, "I look.", "");
    CHECK(talk_add_calls(&t->talk, hearing_calls(&h), &e), "%s", e.text);
    prompt(t, "a conversation with a call");
    CHECK(memmem(t->rendered.ptr, t->rendered.len_bytes, line, sizeof line - 1) != NULL,
          "the template writes the call: %.*s", (int)t->rendered.len_bytes, (const char *)t->rendered.ptr);
    hearing_free(&h);
}

/* The model names the tool, and the name is any bytes: what is kept is still JSON. */
static void hostile_name(void)
{
    struct hearing h = { 0 };
    arena a = { 0 };
    const json_value *list = NULL;
    err e = { 0 };
    if (!CHECK(hearing_new(&h, &e) && arena_new(&a, 1 << 16, &e), "%s", e.text)) return;
    hearing_begin(&h, NULL, NULL);
    hear(&h, TEXT_CALL_BEGIN, "a\"}, {\n");
    hear(&h, TEXT_CALL_ARGS, "{}");
    hear(&h, TEXT_CALL_END, "");
    hear(&h, TEXT_CALL_BEGIN, "g");
    hear(&h, TEXT_CALL_ARGS, "{}");
    hear(&h, TEXT_CALL_END, "");
    CHECK(hearing_end(&h, &e) && json_parse(hearing_calls(&h), &a, &list, &e), "%s", e.text);
    CHECK(list != NULL && list->count == 2, "two calls");
    hearing_free(&h);
    arena_free(&a);
}

static void tools(void)
{
    struct spoken t, read;
    err e = { 0 };
    char path[] = "/tmp/hearth-talk-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0 || !CHECK(spoken_new(&t, TOOLS, &e) && spoken_new(&read, TOOLS, &e), "%s", e.text)) return;
    wrong_tools(&t.talk, path);
    put_file(path, GOOD_TOOLS);
    CHECK(talk_tools(&t.talk, path, &e) && view_is(t.talk.tools, GOOD_TOOLS), "%s", e.text);
    add(&t, ROLE_USER, "hi", "");
    CHECK(!talk_add_result(&t.talk, view_of("42"), &e), "nothing was called yet");
    prompt(&t, "with tools");
    CHECK(memmem(t.rendered.ptr, t.rendered.len_bytes, "{\"name\": \"g\"}\n", 14) != NULL, "the template sees them");
    called(&t);
    CHECK(talk_add_result(&t.talk, view_of("42"), &e), "%s", e.text);
    CHECK(!talk_add_result(&t.talk, view_of("43"), &e), "one call, one result");
    prompt(&t, "a result");
    CHECK(memmem(t.rendered.ptr, t.rendered.len_bytes, "tool\n42", 7) != NULL, "the template prints the result");
    CHECK(talk_save(&t.talk, path, &e) && talk_load(&read.talk, path, &e), "%s", e.text);
    CHECK(read.talk.message_count == 3 && view_is(read.talk.messages[2].tool, "f") &&
              view_is(read.talk.messages[2].call_id, "call00001"),
          "the result belongs to its call");
    CHECK(read.talk.message_count == 3 && view_equal(read.talk.messages[1].calls, t.talk.messages[1].calls),
          "calls written and read");
    spoken_free(&t);
    spoken_free(&read);
    remove(path);
    close(fd);
}

int main(void)
{
    char path[1024];
    err e = { 0 };
    snprintf(path, sizeof path, "%s/reference/models/stories260K.gguf", check_shared());
    FILE *there = fopen(path, "rb");
    if (there == NULL) {
        check_skip("conversations: stories260K.gguf is not here");
        return check_done();
    }
    fclose(there);
    if (CHECK(model_load_vocab(&m, path, &e), "%s", e.text)) {
        keeps();
        drops();
        forged();
        files();
        tools();
        hostile_name();
        model_free(&m);
    }
    return check_done();
}
