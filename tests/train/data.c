/* From text to rows: cleaning, repetitions and leaks; shards on disk; the order of rows; generated tasks. */
#include "train/shard.h"
#include "train/tasks.h"
#include "train/text.h"

#include "base/file.h"
#include "check.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- text ---- */

struct taken {
    char text[4096];
    size_t len, documents;
};

static bool take(void *arg, view name, view text, bool chat, err *e)
{
    struct taken *t = arg;
    (void)e;
    t->len += (size_t)snprintf(t->text + t->len, sizeof t->text - t->len, "[%.*s%s]%.*s|", (int)name.len_bytes,
                               (const char *)name.ptr, chat ? " chat" : "", (int)text.len_bytes,
                               (const char *)text.ptr);
    t->documents++;
    return true;
}

#define SENTENCE "The quick brown fox jumps over the lazy dog and then it sleeps under the old oak tree until noon"

static const struct {
    const char *says, *path, *file, *want;
    enum err_code code;
} TEXTS[] = {
    { "a file without records is one", "a.txt", "hello\nyou", "[]hello\nyou|", ERR_NONE },
    { "records have names", "a.txt", "\fone\nfirst\n\ftwo\nsecond\n", "[one]first|[two]second|", ERR_NONE },
    { "text before the first record counts", "a.md", "zero\n\fone\nfirst", "[]zero|[one]first|", ERR_NONE },
    { "an empty record is no document", "a.txt", "\fone\n\ftwo\nsecond", "[two]second|", ERR_NONE },
    { "a record without a line", "a.txt", "\fone", "", ERR_NONE },
    { "control characters go, tabs stay", "a.txt",
      "a\x01"
      "b\tc\r\n",
      "[]ab\tc|", ERR_NONE },
    { "blanks at line ends go", "a.txt", "a  \nb \t\n", "[]a\nb|", ERR_NONE },
    { "one empty line at most", "a.txt", "a\n\n\n\n\nb", "[]a\n\nb|", ERR_NONE },
    { "bytes that are no UTF-8", "a.txt", "\fone\n\xff\n\ftwo\nb", "[two]b|", ERR_NONE },
    { "the same long paragraph twice", "a.txt", SENTENCE ".\n\nx\n\n" SENTENCE ".", "[]" SENTENCE ".\n\nx|", ERR_NONE },
    { "nearly the same paragraph", "a.txt", SENTENCE ".\n\nx\n\n" SENTENCE "!!", "[]" SENTENCE ".\n\nx|", ERR_NONE },
    { "a short paragraph may come again", "a.txt", "x\n\nx", "[]x\n\nx|", ERR_NONE },
    { "a held-out passage", "a.txt",
      "before\n\nWho CAN say whether: the hidden, passage of fifty letters is ever learnt "
      "here?\n\nafter",
      "[]before\n\nafter|", ERR_NONE },
    { "49 letters of it are not enough", "a.txt", "say whether the hidden passage of fifty letters is ever lea",
      "[]say whether the hidden passage of fifty letters is ever lea|", ERR_NONE },
    { "50 are", "a.txt", "say whether the hidden passage of fifty letters is ever lear", "", ERR_NONE },
    { "JSON lines, text", "a.jsonl", "{\"text\": \"a\\nb\", \"id\": \"x\"}\n\n{\"id\": \"y\", \"text\": \"c\"}",
      "[x]a\nb|[y]c|", ERR_NONE },
    { "JSON lines, messages", "a.jsonl", "{\"id\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}",
      "[x chat]<|im_start|>user\nq<|im_end|>|", ERR_NONE },
    { "a line that is no JSON", "a.jsonl", "{\"text\": \"a\"}\n{text}\n", NULL, ERR_VALUE },
    { "a line without text", "a.jsonl", "{\"txt\": \"a\"}\n", NULL, ERR_MISSING },
    { "a message without content", "a.jsonl", "{\"messages\":[{\"role\":\"user\"}]}", NULL, ERR_VALUE },
    { "an empty file", "a.txt", "", "", ERR_NONE },
};

static void test_texts(arena *a)
{
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        struct text_filter f;
        struct taken t = { .len = 0 };
        err e = { 0 };
        if (!CHECK(text_filter_new(&f, &e), "%s", e.text)) return;
        CHECK(text_hold_out(&f, view_of("can say whether the hidden passage of fifty letters is ever learnt"), &e),
              "%s", e.text);
        bool good = records_read(&f, TEXTS[i].path, view_of(TEXTS[i].file), take, &t, a, &e);
        CHECK(e.code == TEXTS[i].code && good == (TEXTS[i].code == ERR_NONE), "%s: %s", TEXTS[i].says, e.text);
        if (good) CHECK(strcmp(t.text, TEXTS[i].want) == 0, "%s: %s", TEXTS[i].says, t.text);
        text_filter_free(&f);
    }
}

/* ---- shards ---- */

enum { VOCAB = 50, DOCS = 40 };
static const uint8_t VOCAB_HASH[SHARD_HASH_BYTES] = { 1, 2, 3 };

/* Document d: the end-of-text token 0, then d + 2 tokens; the last document's target 5 carries no loss. */
static bool write_shard(const char *path, arena *a, err *e)
{
    uint32_t tokens[DOCS * (DOCS + 4)];
    struct doc docs[DOCS];
    uint8_t hash[SHARD_HASH_BYTES];
    size_t n = 0;
    for (size_t d = 0; d < DOCS; d++) {
        docs[d] = (struct doc){ n, d + 3, (uint16_t)(d % 3), d % 2 == 1 ? DOC_GENERATED : 0 };
        tokens[n++] = 0;
        for (size_t i = 0; i < d + 2; i++) tokens[n++] = (uint32_t)(1 + (d * 7 + i) % (VOCAB - 1));
    }
    tokens[n - 1] |= NO_LOSS_BIT;
    return shard_write(path, VOCAB_HASH, tokens, n, docs, DOCS, a, hash, e);
}

static void test_shard_file(const char *path, arena *a)
{
    err e = { 0 };
    struct shard s;
    view file;
    size_t mark = a->used_bytes;
    if (!CHECK(shard_open(path, VOCAB_HASH, VOCAB, a, &s, &e), "%s", e.text)) return;
    CHECK(s.doc_count == DOCS && s.docs[7].count == 10 && s.docs[7].flags == DOC_GENERATED, "documents");
    shard_close(&s);
    uint8_t other[SHARD_HASH_BYTES] = { 9 };
    CHECK(!shard_open(path, other, VOCAB, a, &s, &e) && strstr(e.text, "another vocabulary") != NULL, "%s", e.text);
    e = (err){ 0 };
    CHECK(!shard_open(path, VOCAB_HASH, VOCAB - 1, a, &s, &e) && strstr(e.text, "below 49") != NULL, "%s", e.text);
    /* Every bit of the head and table, then some of the rest: no flipped bit is taken for data. */
    CHECK(file_read(path, 1 << 20, a, &file, &e) || true, "%s", e.text);
    char bad[300];
    snprintf(bad, sizeof bad, "%s.bad", path);
    size_t refused = 0, tried = 0;
    for (size_t at = 0; at < file.len_bytes; at += at < 120 ? 1 : 37, tried++) {
        uint8_t *byte = (uint8_t *)(uintptr_t)file.ptr + at;
        err be = { 0 };
        *byte ^= (uint8_t)(1 << at % 8);
        if (!file_write(bad, &file, 1, &be)) break;
        refused += !shard_open(bad, VOCAB_HASH, VOCAB, a, &s, &be);
        *byte ^= (uint8_t)(1 << at % 8);
    }
    CHECK(refused == tried && tried > 120, "%zu of %zu damaged shards were refused", refused, tried);
    for (size_t len = 0; len < file.len_bytes; len += 61) {
        err be = { 0 };
        view cut = { file.ptr, len };
        CHECK(file_write(bad, &cut, 1, &be) && !shard_open(bad, VOCAB_HASH, VOCAB, a, &s, &be), "cut at %zu", len);
    }
    unlink(bad);
    arena_rewind(a, mark);
}

enum { ROW = 16 };

/* One round: every row once, and what a row says of its tokens. */
static void test_stream(const char *path, arena *a)
{
    err e = { 0 };
    struct shard s;
    struct stream one, again;
    const double passes[3] = { 2, 1, 0 };
    int32_t tok[ROW], target[ROW], starts[ROW], same[ROW];
    size_t counts[VOCAB] = { 0 }, mark = a->used_bytes;
    if (!CHECK(shard_open(path, VOCAB_HASH, VOCAB, a, &s, &e), "%s", e.text)) return;
    CHECK(stream_make(&one, &s, passes, 3, ROW, 5, a, &e) && stream_make(&again, &s, passes, 3, ROW, 5, a, &e), "%s",
          e.text);
    bool *seen = ARENA_ARRAY(a, bool, one.row_count, "rows", &e);
    for (size_t i = 0; i < one.row_count; i++) seen[one.rows[i]] = true;
    for (size_t i = 0; i < one.row_count; i++) CHECK(seen[i], "row %zu is not in the round", i);
    size_t rows = one.row_count;
    for (uint64_t row = 0; row < 3 * rows; row++) {
        stream_row(&one, row, 0, tok, target, starts);
        for (size_t t = 0; t < ROW; t++) {
            counts[tok[t]]++;
            CHECK(starts[t] >= 0 && starts[t] <= (int32_t)t && (t == 0 || starts[t] >= starts[t - 1]), "starts");
            CHECK(t == 0 || (tok[t] == 0) == (starts[t] == (int32_t)t), "row %d: a document begins with its token 0",
                  (int)row);
            if (t + 1 < ROW && target[t] >= 0) CHECK(target[t] == tok[t + 1], "a target is the next token");
        }
    }
    CHECK(one.round == 2 && counts[0] > 0, "three times the rows are three rounds, in round %d", (int)one.round);
    stream_row(&one, 3, 0, tok, target, starts);
    stream_row(&again, 3, 0, same, target, starts);
    CHECK(memcmp(tok, same, sizeof tok) == 0, "row 3 is the same after going back");
    const double none[3] = { 0, 0, 0 };
    CHECK(!stream_make(&one, &s, none, 3, ROW, 5, a, &e) && e.code == ERR_VALUE, "no passes: %s", e.text);
    e = (err){ 0 };
    CHECK(!stream_make(&one, &s, passes, 2, ROW, 5, a, &e) && strstr(e.text, "source 2") != NULL, "%s", e.text);
    shard_close(&s);
    arena_rewind(a, mark);
}

/* About one target in k goes, never in generated documents, and the same ones again. */
static void test_goldfish(const char *path, arena *a)
{
    err e = { 0 };
    struct shard s;
    struct stream st;
    const double passes[3] = { 1, 1, 1 };
    int32_t tok[ROW], all[ROW], some[ROW], starts[ROW];
    size_t dropped = 0, kept = 0, mark = a->used_bytes;
    if (!CHECK(shard_open(path, VOCAB_HASH, VOCAB, a, &s, &e) && stream_make(&st, &s, passes, 3, ROW, 5, a, &e), "%s",
               e.text)) return;
    for (uint64_t row = 0; row < st.row_count; row++) {
        stream_row(&st, row, 0, tok, all, starts);
        stream_row(&st, row, 4, tok, some, starts);
        for (size_t t = 0; t < ROW; t++) {
            dropped += all[t] >= 0 && some[t] < 0;
            kept += some[t] >= 0;
            CHECK(some[t] < 0 || some[t] == all[t], "a kept target changed");
        }
    }
    CHECK(dropped > 20 && dropped * 4 < kept + dropped, "goldfish dropped %zu of %zu", dropped, kept + dropped);
    shard_close(&s);
    arena_rewind(a, mark);
}

/* ---- tasks ---- */

static bool answer_holds(const struct task *t)
{
    unsigned x, y;
    if (strcmp(t->kind, "add") == 0 || strcmp(t->kind, "subtract") == 0 || strcmp(t->kind, "multiply") == 0) {
        const char *at = strpbrk(t->question, "0123456789"),
                   *second = strpbrk(at + strspn(at, "0123456789"), "0123456789");
        x = (unsigned)strtoul(at, NULL, 10);
        y = (unsigned)strtoul(second, NULL, 10);
        unsigned want = t->kind[0] == 'a' ? x + y : t->kind[0] == 's' ? x - y : x * y;
        return strtoul(t->answer, NULL, 10) == want;
    }
    if (strcmp(t->kind, "copy") == 0) return strstr(t->question, t->answer) != NULL;
    if (strcmp(t->kind, "tool") == 0) return strncmp(t->answer, "<tool_call>\n{\"name\": \"", 22) == 0;
    return t->answer[0] != 0;
}

static void test_tasks(void)
{
    static uint64_t seen[2][20000];
    size_t counts[2] = { 0, 0 }, both = 0;
    for (size_t kind = 0; kind < task_kinds(); kind++) {
        for (uint64_t i = 0; i < 600; i++) {
            for (size_t test = 0; test < 2; test++) {
                struct task t, again;
                task_make(kind, 1, i, test == 1, &t);
                task_make(kind, 1, i, test == 1, &again);
                CHECK(strcmp(t.question, again.question) == 0 && strcmp(t.answer, again.answer) == 0,
                      "%s %d: a task is a "
                      "function of seed and index",
                      t.kind, (int)i);
                CHECK(answer_holds(&t), "%s: %s -> %s", t.kind, t.question, t.answer);
                seen[test][counts[test]++] = text_hash(view_of(t.question)) ^ text_hash(view_of(t.system)) * 3;
            }
        }
    }
    for (size_t i = 0; i < counts[0]; i++)
        for (size_t j = 0; j < counts[1]; j++) both += seen[0][i] == seen[1][j];
    CHECK(both == 0, "%zu questions are in training and in tests", both);
    struct task t;
    char room[8192];
    task_make(0, 1, 1, false, &t);
    size_t len = task_render(&t, room, sizeof room);
    CHECK(len > 40 && strncmp(room, "<|im_start|>user\n", 17) == 0 && strcmp(room + len - 11, "<|im_end|>\n") == 0,
          "%s", room);
}

int main(void)
{
    err e = { 0 };
    arena a = { 0 };
    char path[256];
    snprintf(path, sizeof path, "%s/hearth-shard-%d", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp",
             (int)getpid());
    if (!arena_new(&a, 1 << 26, &e) || !CHECK(write_shard(path, &a, &e), "%s", e.text)) return 1;
    test_texts(&a);
    test_shard_file(path, &a);
    test_stream(path, &a);
    test_goldfish(path, &a);
    test_tasks();
    unlink(path);
    arena_free(&a);
    return check_done();
}
