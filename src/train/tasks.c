/* See tasks.h. One function a kind, one row a function. */
#include "train/tasks.h"

#include "base/prng.h"
#include "train/page.h"
#include "train/text.h"

/* Draws of one task: the nth is a function of (seed, kind, index, attempt, n). */
struct draw {
    uint64_t seed, stream, at;
};

static uint32_t below(struct draw *d, uint32_t n)
{
    return (uint32_t)((uint64_t)prng_u32(d->seed, d->stream, d->at++) * n >> 32);
}

static uint32_t between(struct draw *d, uint32_t low, uint32_t high)
{
    return low + below(d, high - low + 1);
}

static const char *const NAMES[] = { "Anna", "Ben",  "Clara", "David", "Eva",  "Frank", "Greta",
                                     "Hugo", "Ida",  "Jonas", "Karin", "Leo",  "Maria", "Nils",
                                     "Olga", "Paul", "Rosa",  "Simon", "Tina", "Viktor" };
static const char *const CITIES[] = { "Bern", "Oslo", "Rome", "Paris", "Vienna", "Lisbon", "Madrid", "Prague", "Dublin",
                                      "Athens", "Warsaw", "Berlin", "London", "Tallinn", "Riga", "Helsinki" };
static const char *const WORDS[] = { "river",  "stone",  "window", "garden", "letter", "copper", "winter", "bridge",
                                     "candle", "market", "silver", "forest", "engine", "mirror", "pencil", "basket",
                                     "harbor", "ladder", "meadow", "needle", "orange", "pillow", "rabbit", "saddle",
                                     "tunnel", "valley", "wagon",  "yellow", "anchor", "button", "castle", "dragon" };
static const char *const MONTHS[] = { "January", "February", "March",     "April",   "May",      "June",
                                      "July",    "August",   "September", "October", "November", "December" };
static const uint32_t MONTH_DAYS[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

#define COUNT_OF(a) (uint32_t)(sizeof(a) / sizeof((a)[0]))
#define PICK(d, a) (a)[below((d), COUNT_OF(a))]

/* One of the words, or a letter and a digit. */
static void put_item(struct draw *d, struct page *o)
{
    if (below(d, 2) == 0) page_put(o, "%s", PICK(d, WORDS));
    else page_put(o, "%c%u", 'a' + (char)below(d, 26), below(d, 10));
}

enum { ITEMS_MAX = 16, ITEM_BYTES = 16 };

static uint32_t draw_items(struct draw *d, uint32_t low, uint32_t high, char items[ITEMS_MAX][ITEM_BYTES])
{
    uint32_t n = between(d, low, high);
    for (uint32_t i = 0; i < n; i++) put_item(d, &(struct page){ items[i], ITEM_BYTES, 0 });
    return n;
}

/* 2 to 12 items */
static void make_copy(struct draw *d, struct task *t, struct page *q, struct page *a)
{
    (void)t;
    char items[ITEMS_MAX][ITEM_BYTES];
    uint32_t n = draw_items(d, 2, 12, items);
    page_put(q, below(d, 2) ? "Copy this:" : "Repeat exactly:");
    for (uint32_t i = 0; i < n; i++) page_put(q, " %s", items[i]);
    for (uint32_t i = 0; i < n; i++) page_put(a, "%s%s", i > 0 ? " " : "", items[i]);
}

/* 2 to 8 items */
static void make_reverse(struct draw *d, struct task *t, struct page *q, struct page *a)
{
    (void)t;
    char items[ITEMS_MAX][ITEM_BYTES];
    uint32_t n = draw_items(d, 2, 8, items);
    page_put(q, "Write in reverse order:");
    for (uint32_t i = 0; i < n; i++) page_put(q, " %s", items[i]);
    for (uint32_t i = n; i-- > 0;) page_put(a, "%s%s", items[i], i > 0 ? " " : "");
}

/* 1 to 12 pairs of a name and a number of two digits */
static void make_recall(struct draw *d, struct task *t, struct page *q, struct page *a)
{
    (void)t;
    uint32_t n = between(d, 1, 12), asked = below(d, n), first = below(d, COUNT_OF(NAMES)), answer = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t value = between(d, 10, 99);
        page_put(q, "%s has %u. ", NAMES[(first + i * 7) % COUNT_OF(NAMES)], value);
        if (i == asked) answer = value;
    }
    page_put(q, "How many has %s?", NAMES[(first + asked * 7) % COUNT_OF(NAMES)]);
    page_put(a, "%u", answer);
}

static uint32_t draw_number(struct draw *d)
{
    static const uint32_t tops[] = { 9, 99, 999 };
    return below(d, PICK(d, tops) + 1);
}

/* 0 to 999 each */
static void make_add(struct draw *d, struct task *t, struct page *q, struct page *a)
{
    (void)t;
    uint32_t x = draw_number(d), y = draw_number(d);
    page_put(q, below(d, 2) ? "What is %u + %u?" : "%u + %u =", x, y);
    page_put(a, "%u", x + y);
}

/* 0 to 999, the difference not below 0 */
static void make_subtract(struct draw *d, struct task *t, struct page *q, struct page *a)
{
    (void)t;
    uint32_t x = draw_number(d), y = draw_number(d), high = x > y ? x : y, low = x > y ? y : x;
    page_put(q, below(d, 2) ? "What is %u - %u?" : "%u - %u =", high, low);
    page_put(a, "%u", high - low);
}

/* 0 to 12 times 0 to 99 */
static void make_multiply(struct draw *d, struct task *t, struct page *q, struct page *a)
{
    (void)t;
    uint32_t x = below(d, 13), y = below(d, 100);
    page_put(q, below(d, 2) ? "What is %u times %u?" : "%u * %u =", x, y);
    page_put(a, "%u", x * y);
}

/* 2 to 6 numbers of at most two digits */
static void make_sort(struct draw *d, struct task *t, struct page *q, struct page *a)
{
    (void)t;
    uint32_t n = between(d, 2, 6), x[6];
    page_put(q, "Sort from small to large:");
    for (uint32_t i = 0; i < n; i++) {
        x[i] = below(d, 100);
        page_put(q, " %u", x[i]);
        for (uint32_t j = i; j > 0 && x[j - 1] > x[j]; j--) {
            uint32_t swap = x[j];
            x[j] = x[j - 1];
            x[j - 1] = swap;
        }
    }
    for (uint32_t i = 0; i < n; i++) page_put(a, "%s%u", i > 0 ? " " : "", x[i]);
}

/* 1900 to 2099, ISO to words and back */
static void make_date(struct draw *d, struct task *t, struct page *q, struct page *a)
{
    (void)t;
    uint32_t year = between(d, 1900, 2099), month = below(d, 12), day = between(d, 1, MONTH_DAYS[month]);
    if (below(d, 2) == 0) {
        page_put(q, "Write as YYYY-MM-DD: %u %s %u", day, MONTHS[month], year);
        page_put(a, "%u-%02u-%02u", year, month + 1, day);
    } else {
        page_put(q, "Write in words: %u-%02u-%02u", year, month + 1, day);
        page_put(a, "%u %s %u", day, MONTHS[month], year);
    }
}

/* Name, age 1 to 99, city; three ways to say it */
static void make_json(struct draw *d, struct task *t, struct page *q, struct page *a)
{
    (void)t;
    const char *name = PICK(d, NAMES), *city = PICK(d, CITIES);
    uint32_t age = between(d, 1, 99);
    page_put(q, "Fill {\"name\": ..., \"age\": ..., \"city\": ...}: ");
    switch (below(d, 3)) {
    case 0: page_put(q, "%s is %u years old and lives in %s.", name, age, city); break;
    case 1: page_put(q, "In %s lives %s, who is %u.", city, name, age); break;
    default: page_put(q, "%s, %u, comes from %s.", name, age, city); break;
    }
    page_put(a, "{\"name\": \"%s\", \"age\": %u, \"city\": \"%s\"}", name, age, city);
}

static const struct {
    const char *name, *about, *argument, *ask;
    enum { ARG_CITY, ARG_NAME, ARG_WORD } type;
} TOOLS[] = {
    { "get_weather", "the weather in a city", "city", "What is the weather in %s?", ARG_CITY },
    { "get_time", "the local time in a city", "city", "What time is it in %s?", ARG_CITY },
    { "send_message", "sends a message to a person", "person", "Send a message to %s.", ARG_NAME },
    { "call_person", "calls a person", "person", "Please call %s.", ARG_NAME },
    { "search_files", "finds files that hold a word", "word", "Find files with the word %s.", ARG_WORD },
    { "define_word", "what a word means", "word", "What does %s mean?", ARG_WORD },
};

/* 1 to 4 tools, one of which fits */
static void make_tool(struct draw *d, struct task *t, struct page *q, struct page *a)
{
    uint32_t n = between(d, 1, 4), first = below(d, COUNT_OF(TOOLS)), used = (first + below(d, n)) % COUNT_OF(TOOLS);
    struct page s = { t->system, sizeof t->system, 0 };
    page_put(&s, "Tools:");
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = (first + i) % COUNT_OF(TOOLS);
        page_put(&s, "\n{\"name\": \"%s\", \"description\": \"%s\", \"parameters\": {\"%s\": \"string\"}}",
                 TOOLS[at].name, TOOLS[at].about, TOOLS[at].argument);
    }
    const char *value = TOOLS[used].type == ARG_CITY ? PICK(d, CITIES)
                        : TOOLS[used].type == ARG_NAME ? PICK(d, NAMES) : PICK(d, WORDS);
    /* The question's form is a row of the table above, with one %s. */
    const char *hole = strstr(TOOLS[used].ask, "%s");
    page_put(q, "%.*s%s%s", (int)(hole - TOOLS[used].ask), TOOLS[used].ask, value, hole + 2);
    page_put(a, "<tool_call>\n{\"name\": \"%s\", \"arguments\": {\"%s\": \"%s\"}}\n</tool_call>", TOOLS[used].name,
        TOOLS[used].argument, value);
}

/* Who speaks: a greeting, a question about the model itself, or both. What it says of itself is all it can do. */
static void make_self(struct draw *d, struct task *t, struct page *q, struct page *a)
{
    static const char *const greetings[] = { "Hello", "Hi", "Good morning", "Good day", "Good evening", "Hey" };
    static const struct { const char *ask, *answer; } about[] = {
        { "who are you?", "I am Ember, a very small language model made with Hearth." },
        { "what are you?", "I am Ember, a very small language model made with Hearth." },
        { "what is your name?", "My name is Ember." },
        { "what can you do?", "I can copy and sort short lists, recall what you told me, add small numbers, write "
                              "dates, fill in a JSON form and call a tool." },
        { "what can you not do?", "I know few facts and I do not reason. Please check what I say." },
        { "are you a person?", "No. I am Ember, a very small language model." },
        { "do you send anything away?", "No. I run on this machine alone." },
    };
    static const char *const ends[] = { "", " Please tell me.", " Tell me in one sentence.", " I would like to know." };
    (void)t;
    bool greets = below(d, 3) > 0, asks = !greets || below(d, 4) > 0;
    uint32_t at = below(d, COUNT_OF(about));
    if (greets) page_put(q, "%s%s", PICK(d, greetings), asks ? ", " : below(d, 2) ? "!" : ".");
    if (asks) page_put(q, "%s%s", about[at].ask, PICK(d, ends));
    if (!greets) q->room[0] = (char)(q->room[0] - 'a' + 'A');
    if (greets) page_put(a, "Hello!%s", asks ? " " : " I am Ember. What can I do for you?");
    if (asks) page_put(a, "%s", about[at].answer);
}

static const struct {
    const char *name;
    void (*make)(struct draw *d, struct task *t, struct page *q, struct page *a);
} KINDS[] = {
    { "copy", make_copy }, { "reverse", make_reverse }, { "recall", make_recall }, { "add", make_add },
    { "subtract", make_subtract }, { "multiply", make_multiply }, { "sort", make_sort }, { "date", make_date },
    { "json", make_json }, { "tool", make_tool },
    { "self", make_self },
};

size_t task_kinds(void)
{
    return sizeof KINDS / sizeof KINDS[0];
}

const char *task_kind_name(size_t kind)
{
    return KINDS[kind].name;
}

/* Which side a task is on depends on what is asked, tools included: the same question is always on the same one. */
static bool is_test(const struct task *t)
{
    uint64_t h = text_hash(view_of(t->question)) ^ text_hash(view_of(t->system)) * 3;
    return h % TASK_TEST_SHARE == 0;
}

void task_make(size_t kind, uint64_t seed, uint64_t index, bool test, struct task *out)
{
    for (uint64_t attempt = 0;; attempt++) {
        struct draw d = { seed ^ 0x7461736b73 /* "tasks" */, index * 64 + kind, attempt << 32 };
        struct page q = { out->question, sizeof out->question, 0 }, a = { out->answer, sizeof out->answer, 0 };
        out->kind = KINDS[kind].name;
        out->system[0] = out->question[0] = out->answer[0] = 0;
        KINDS[kind].make(&d, out, &q, &a);
        if (is_test(out) == test) return;
    }
}

size_t task_render(const struct task *t, char *room, size_t room_bytes)
{
    struct page o = { room, room_bytes, 0 };
    if (t->system[0] != 0) page_put(&o, "<|im_start|>system\n%s<|im_end|>\n", t->system);
    page_put(&o, "<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n%s<|im_end|>\n", t->question, t->answer);
    return o.len;
}
