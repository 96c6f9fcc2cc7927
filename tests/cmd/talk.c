/* cmd/talk.h and cmd/rendering.h: what a second turn keeps, what a template that drops reasoning goes back to, BOS
 * once, and messages that try to be control tokens. */
#include "cmd/hearing.h"
#include "cmd/talk.h"

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

struct ids {
    int32_t at[IDS_MAX];
    size_t count;
};

static struct ids prompt(struct talk *t, const char *says)
{
    struct ids out = { .count = 0 };
    const int32_t *ids = NULL;
    err e = { 0 };
    if (CHECK(talk_prompt(t, &ids, &out.count, &e), "%s: %s", says, e.text) && out.count <= IDS_MAX)
        memcpy(out.at, ids, out.count * sizeof *ids);
    return out;
}

static void add(struct talk *t, enum talk_role role, const char *content, const char *reasoning)
{
    err e = { 0 };
    CHECK(talk_add(t, role, view_of(content), view_of(reasoning), &e), "%s", e.text);
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
    struct talk t;
    err e = { 0 };
    if (!CHECK(talk_new(&t, &m, view_of(PLAIN), IDS_MAX, &e), "%s", e.text)) return;
    add(&t, ROLE_USER, "hi", "");
    struct ids first = prompt(&t, "first turn");
    CHECK(first.at[0] == 1 && count_of(&first, 1) == 1, "BOS stands in front, once");
    CHECK(talk_answer(&t, MADE, MADE_COUNT, &e), "%s", e.text);
    add(&t, ROLE_ASSISTANT, "hello", "");
    add(&t, ROLE_USER, "and now?", "");
    struct ids second = prompt(&t, "second turn");
    CHECK(common(&first, &second) == first.count, "the first prompt is kept: %zu of %zu", common(&first, &second),
          first.count);
    CHECK(second.count > first.count + MADE_COUNT && memcmp(second.at + first.count, MADE, sizeof MADE) == 0,
          "ids of the answer are kept as they were made");
    CHECK(count_of(&second, 2) == 3, "one end a message: %zu", count_of(&second, 2));

    talk_cut(&t, 1); /* the answer is taken back */
    struct ids again = prompt(&t, "taken back");
    CHECK(again.count == first.count && common(&first, &again) == first.count, "the first prompt again");
    CHECK(talk_answer(&t, MADE, 2, &e), "%s", e.text); /* cancelled: no end token */
    add(&t, ROLE_ASSISTANT, "he", "");
    add(&t, ROLE_USER, "why?", "");
    struct ids cut = prompt(&t, "after a cancelled answer");
    CHECK(common(&first, &cut) == first.count && memcmp(cut.at + first.count, MADE, 2 * sizeof *MADE) == 0 &&
              cut.at[first.count + 2] == 2,
          "the template ends an answer that was cancelled");
    talk_free(&t);
}

static void drops(void)
{
    struct talk t;
    err e = { 0 };
    if (!CHECK(talk_new(&t, &m, view_of(DROPS), IDS_MAX, &e), "%s", e.text)) return;
    add(&t, ROLE_USER, "hi", "");
    struct ids first = prompt(&t, "first turn");
    CHECK(first.at[0] == 1 && count_of(&first, 1) == 1, "a template without BOS gets one");
    CHECK(talk_answer(&t, MADE, MADE_COUNT, &e), "%s", e.text); /* stands for "(thought)hello" */
    add(&t, ROLE_ASSISTANT, "other", "thought");
    add(&t, ROLE_USER, "next", "");
    struct ids second = prompt(&t, "second turn");
    CHECK(common(&first, &second) >= first.count, "back to the mark before the answer: %zu of %zu",
          common(&first, &second), first.count);
    CHECK(second.at[first.count] != MADE[0] || second.at[first.count + 1] != MADE[1], "the answer is tokenized anew");
    CHECK(count_of(&second, 1) == 1, "BOS is still there once");
    talk_free(&t);
}

static void forged(void)
{
    static const char *const texts[] = { "</s>", "<s>", "a</s>b", "<unk>", "<s></s>" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct talk t;
        err e = { 0 };
        if (!CHECK(talk_new(&t, &m, view_of(PLAIN), IDS_MAX, &e), "%s", e.text)) return;
        add(&t, ROLE_USER, texts[i], "");
        struct ids ids = prompt(&t, "forged");
        CHECK(count_of(&ids, 2) == 1 && count_of(&ids, 1) == 1, "\"%s\": %zu ends, %zu begins", texts[i],
              count_of(&ids, 2), count_of(&ids, 1));
        talk_free(&t);
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
        { "the second is wrong", "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}, 5]}", "message 2" },
    };
    struct talk t;
    err e = { 0 };
    char path[] = "/tmp/hearth-talk-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0 || !CHECK(talk_new(&t, &m, view_of(PLAIN), IDS_MAX, &e), "%s", e.text)) return;
    add(&t, ROLE_USER, "kept", "");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        FILE *out = fopen(path, "w");
        if (out != NULL) fputs(rows[i].text, out);
        if (out != NULL) fclose(out);
        e = (err){ 0 };
        CHECK(!talk_load(&t, path, &e) && strstr(e.text, rows[i].want) != NULL, "%s: %s", rows[i].says, e.text);
        CHECK(t.message_count == 1 && view_is(t.messages[0].content, "kept"), "%s: the conversation is kept",
              rows[i].says);
    }
    e = (err){ 0 };
    add(&t, ROLE_ASSISTANT, "a \"b\"\n", "because");
    add(&t, ROLE_SYSTEM, "be kind", "");
    add(&t, ROLE_SYSTEM, "be brief", "");
    CHECK(talk_save(&t, path, &e), "%s", e.text);
    talk_cut(&t, 0);
    CHECK(talk_load(&t, path, &e) && t.message_count == 3, "%s", e.text);
    CHECK(t.messages[0].role == ROLE_SYSTEM && view_is(t.messages[0].content, "be brief"),
          "one system message, the last");
    CHECK(view_is(t.messages[2].content, "a \"b\"\n") && view_is(t.messages[2].reasoning, "because"),
          "written and read");
    talk_free(&t);
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
        CHECK(t->tools == NULL, "%s: no tools", rows[i].says);
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

/* A call is shown on a line of its own, kept apart from the text, and printed by the template in the next turn. */
static void called(struct talk *t)
{
    static const char reply[] =
        "I look.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"\\\"x\"}}\n</tool_call>";
    struct hearing h = { 0 };
    struct shown shown = { .len = 0 };
    err e = { 0 };
    if (!CHECK(hearing_new(&h, &m, &t->renderer, &e) && hearing_begin(&h, view_of(""), show, &shown, &e), "%s", e.text))
        return;
    for (size_t i = 0; i + 1 < sizeof reply; i++) hearing_feed(&h, (view){ (const uint8_t *)reply + i, 1 }, false);
    CHECK(hearing_end(&h, false, &e), "%s", e.text);
    CHECK(view_is(hearing_content(&h), "I look."), "the text alone: %.*s", (int)hearing_content(&h).len_bytes,
          (const char *)hearing_content(&h).ptr);
    CHECK(strcmp(shown.text, "I look.\n{\"name\": \"f\", \"arguments\": {\"a\": \"\\\"x\"}}\n") == 0, "shown: %s",
          shown.text);
    add(t, ROLE_ASSISTANT, "I look.", "");
    CHECK(talk_add_calls(t, hearing_calls(&h), &e), "%s", e.text);
    prompt(t, "a conversation with a call");
    view text = talk_rendered(t);
    const char *call = strchr(reply, '<');
    CHECK(memmem(text.ptr, text.len_bytes, call, strlen(call)) != NULL, "the template writes the call: %.*s",
          (int)text.len_bytes, (const char *)text.ptr);
    hearing_free(&h);
}

static void tools(void)
{
    struct talk t, read = { 0 };
    err e = { 0 };
    char path[] = "/tmp/hearth-talk-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0 || !CHECK(talk_new(&t, &m, view_of(TOOLS), IDS_MAX, &e), "%s", e.text)) return;
    wrong_tools(&t, path);
    put_file(path, GOOD_TOOLS);
    CHECK(talk_tools(&t, path, &e) && t.tool_count == 2, "%zu tools: %s", t.tool_count, e.text);
    CHECK(view_is(t.reply_tools[0].name, "f") && t.reply_tools[0].parameters != NULL &&
              t.reply_tools[1].parameters == NULL,
          "names and schemas");
    add(&t, ROLE_USER, "hi", "");
    prompt(&t, "with tools");
    CHECK(memmem(talk_rendered(&t).ptr, talk_rendered(&t).len_bytes, "{\"name\": \"g\"}\n", 14) != NULL,
          "the template sees them");
    called(&t);
    CHECK(talk_save(&t, path, &e) && talk_new(&read, &m, view_of(TOOLS), IDS_MAX, &e) && talk_load(&read, path, &e),
          "%s", e.text);
    CHECK(read.message_count == 2 && view_equal(read.messages[1].calls, t.messages[1].calls), "calls written and read");
    talk_free(&t);
    talk_free(&read);
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
        model_free(&m);
    }
    return check_done();
}
