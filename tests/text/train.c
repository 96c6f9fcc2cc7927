/* text/train.h against a definition that counts everything anew for each token; the same from any number of threads;
 * and the tokenizer made of the result. */
#include "base/prng.h"
#include "text/train.h"

#include "check.h"

enum { TEXT_MAX = 4000, NAIVE_TOKENS = 80, WORDS_MAX = 2000 };

static arena room, scratch;
static uint64_t draw_at;

static uint32_t draw(uint32_t below)
{
    return prng_u32(9, 9, draw_at++) % below;
}

/* Words of few letters, so that ties and overlaps ("aaaa") are frequent. */
static view random_text(uint8_t *text, uint32_t letters)
{
    for (size_t i = 0; i < TEXT_MAX; i++) {
        uint32_t x = draw(letters + 2);
        text[i] = x == 0 ? ' ' : x == 1 && draw(8) == 0 ? '\n' : (uint8_t)('a' + draw(letters));
    }
    return (view){ text, TEXT_MAX };
}

/* ---- the definition ---- */

struct naive {
    char tokens[NAIVE_TOKENS][300];
    int count; /* of made tokens; bytes are not kept */
    int words[WORDS_MAX][300], lens[WORDS_MAX], word_count;
    char left[NAIVE_TOKENS][300], right[NAIVE_TOKENS][300];
};

static const char *text_of(const struct naive *n, int id)
{
    static char bytes[256][2];
    if (id >= 256) return n->tokens[id - 256];
    bytes[id][0] = (char)id;
    return bytes[id];
}

/* Words as the "bloom" rule cuts them where there are letters, blanks and newlines alone: a blank goes with the word
 * behind it, everything else between words is a piece of its own. */
static void cut_words(struct naive *n, view text)
{
    n->word_count = 0;
    for (size_t at = 0; at < text.len_bytes;) {
        size_t end = at;
        bool letter_next = at + 1 < text.len_bytes && text.ptr[at + 1] >= 'a';
        if (text.ptr[at] >= 'a' || (text.ptr[at] == ' ' && letter_next)) {
            end++;
            while (end < text.len_bytes && text.ptr[end] >= 'a') end++;
        } else {
            while (end < text.len_bytes && text.ptr[end] < 'a' &&
                   !(text.ptr[end] == ' ' && end + 1 < text.len_bytes && text.ptr[end + 1] >= 'a'))
                end++;
        }
        int *word = n->words[n->word_count];
        n->lens[n->word_count++] = (int)(end - at);
        for (size_t i = at; i < end; i++) word[i - at] = text.ptr[i];
        at = end;
    }
}

static bool is_token(const struct naive *n, const char *text)
{
    for (int i = 0; i < n->count; i++)
        if (strcmp(n->tokens[i], text) == 0) return true;
    return false;
}

static int count_pair(const struct naive *n, int left, int right)
{
    int count = 0;
    for (int w = 0; w < n->word_count; w++)
        for (int i = 0; i + 1 < n->lens[w]; i++) count += n->words[w][i] == left && n->words[w][i + 1] == right;
    return count;
}

static bool best_pair(const struct naive *n, int count_min, int *best_left, int *best_right)
{
    int best = count_min - 1;
    for (int w = 0; w < n->word_count; w++)
        for (int i = 0; i + 1 < n->lens[w]; i++) {
            int left = n->words[w][i], right = n->words[w][i + 1], count = count_pair(n, left, right);
            char joined[600];
            snprintf(joined, sizeof joined, "%s%s", text_of(n, left), text_of(n, right));
            if (count < best || is_token(n, joined)) continue;
            int order = count > best ? -1 : strcmp(text_of(n, left), text_of(n, *best_left));
            if (order == 0) order = strcmp(text_of(n, right), text_of(n, *best_right));
            if (count == best && (best < count_min || order >= 0)) continue;
            best = count;
            *best_left = left;
            *best_right = right;
        }
    return best >= count_min;
}

static void train_slowly(struct naive *n, view text, int want, int count_min)
{
    cut_words(n, text);
    n->count = 0;
    for (int left = 0, right = 0; n->count < want && best_pair(n, count_min, &left, &right);) {
        char joined[600];
        snprintf(joined, sizeof joined, "%s%s", text_of(n, left), text_of(n, right));
        memcpy(n->left[n->count], text_of(n, left), strlen(text_of(n, left)) + 1);
        memcpy(n->right[n->count], text_of(n, right), strlen(text_of(n, right)) + 1);
        memcpy(n->tokens[n->count], joined, strlen(joined) + 1);
        for (int w = 0; w < n->word_count; w++) {
            int kept = 0;
            for (int i = 0; i < n->lens[w]; i++) {
                bool here = i + 1 < n->lens[w] && n->words[w][i] == left && n->words[w][i + 1] == right;
                n->words[w][kept++] = here ? 256 + n->count : n->words[w][i];
                i += here;
            }
            n->lens[w] = kept;
        }
        n->count++;
    }
}

/* "Ġa" for " a" and "Ċ" for a newline: the only characters here that the alphabet changes. */
static void alphabet(char *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text >= 'a') *out++ = *text;
        else out += sprintf(out, "%s", *text == ' ' ? "\xC4\xA0" : "\xC4\x8A");
    }
    *out = '\0';
}

static void compare(size_t trial)
{
    static struct naive n;
    static uint8_t bytes[TEXT_MAX];
    view text = random_text(bytes, 1 + (uint32_t)trial % 4);
    int count_min = 1 + (int)(trial % 3) * 2;
    struct vocab_train settings = { .texts = &text, .text_count = 1, .pre = view_of("bloom"),
                                    .token_count = 256 + NAIVE_TOKENS, .count_min = (uint64_t)count_min };
    struct vocab_source source;
    err e = { 0 };
    arena_rewind(&room, 0);
    train_slowly(&n, text, NAIVE_TOKENS, count_min);
    if (!CHECK(vocab_train(&source, &settings, NULL, &room, &e), "%s", e.text)) return;
    CHECK(source.merge_count == (size_t)n.count, "trial %zu: %zu merges, wanted %d", trial, source.merge_count,
          n.count);
    for (size_t i = 0; i < source.merge_count && i < (size_t)n.count; i++) {
        char want[2000], left[900], right[900];
        alphabet(left, n.left[i]);
        alphabet(right, n.right[i]);
        snprintf(want, sizeof want, "%s %s", left, right);
        if (!CHECK(view_is(source.merges[i], want), "trial %zu: merge %zu is \"%.*s\", wanted \"%s\"", trial, i,
                   (int)source.merges[i].len_bytes, (const char *)source.merges[i].ptr, want))
            return;
    }
}

/* ---- threads, chunks, the way into a tokenizer ---- */

static view large_text(size_t bytes)
{
    err e = { 0 };
    uint8_t *text = ARENA_ARRAY(&scratch, uint8_t, bytes, "text", &e);
    for (size_t i = 0; i < bytes; i++)
        text[i] = (uint8_t)(draw(6) == 0 ? (draw(9) == 0 ? '\n' : ' ') : 'a' + draw(5) * draw(5));
    return (view){ text, bytes };
}

static bool same(const struct vocab_source *a, const struct vocab_source *b)
{
    if (a->token_count != b->token_count || a->merge_count != b->merge_count) return false;
    for (size_t i = 0; i < a->token_count; i++)
        if (!view_equal(a->texts[i], b->texts[i]) || a->kinds[i] != b->kinds[i]) return false;
    for (size_t i = 0; i < a->merge_count; i++)
        if (!view_equal(a->merges[i], b->merges[i])) return false;
    return true;
}

static void threads_and_use(void)
{
    view texts[] = { large_text((5 << 20) / 2), large_text(100), { 0 }, large_text(1 << 20) };
    view controls[] = { view_of("<|end|>"), view_of("<a>") };
    struct vocab_train settings = { .texts = texts, .text_count = 4, .pre = view_of("gpt-4o"), .token_count = 700,
                                    .controls = controls, .control_count = 2, .count_min = 2 };
    struct vocab_source one, many;
    err e = { 0 };
    arena_rewind(&room, 0);
    if (!CHECK(vocab_train(&one, &settings, NULL, &room, &e), "%s", e.text)) return;
    CHECK(one.token_count == 700 && one.merge_count == 442, "%zu tokens, %zu merges", one.token_count, one.merge_count);
    for (size_t threads = 1; threads <= 4; threads += 1) {
        team *crew;
        if (!CHECK(team_new(&crew, threads, NULL, 0, &e), "%s", e.text)) return;
        CHECK(vocab_train(&many, &settings, crew, &room, &e) && same(&one, &many), "%zu threads: another vocabulary %s",
              threads, e.text);
        team_free(crew);
    }
    tokenizer *t;
    if (!CHECK(tokenizer_new(&t, &one, &room, &e), "%s", e.text)) return;
    CHECK(tokenizer_kind(t, 699) == TOKEN_CONTROL && view_is(tokenizer_text(t, 698), "<|end|>"),
          "control tokens come last");
    size_t count, len;
    int32_t *ids = ARENA_ARRAY(&room, int32_t, 200, "ids", &e);
    uint8_t back[200];
    CHECK(tokenizer_encode(t, texts[1], true, ids, 200, &count, &scratch, &e) && count < 100 &&
              tokenizer_decode(t, ids, count, false, back, sizeof back, &len, &e) &&
              view_equal(texts[1], (view){ back, len }),
          "there and back: %zu tokens %s", count, e.text);
}

static void limits(void)
{
    static const struct {
        const char *says, *pre;
        size_t tokens, controls;
        uint64_t count_min;
        bool good;
        enum err_code want;
    } ROWS[] = {
        { "bytes alone", "gpt-2", 256, 0, 1, true, ERR_NONE },
        { "one token less", "gpt-2", 255, 0, 1, false, ERR_LIMIT },
        { "bytes and controls", "gpt-2", 258, 2, 1, true, ERR_NONE },
        { "no room for controls", "gpt-2", 257, 2, 1, false, ERR_LIMIT },
        { "the most tokens", "gpt-2", VOCAB_MAX, 0, 2, true, ERR_NONE },
        { "one more", "gpt-2", VOCAB_MAX + 1, 0, 2, false, ERR_LIMIT },
        { "least count 0", "gpt-2", 300, 0, 0, false, ERR_LIMIT },
        { "unknown pre", "none-such", 300, 0, 1, false, ERR_UNSUPPORTED },
        { "too many controls", "gpt-2", 8192, TRAIN_CONTROLS_MAX + 1, 1, false, ERR_LIMIT },
        { "two equal controls", "gpt-2", 300, 3, 1, false, ERR_VALUE },
    };
    view text = view_of("aaa aaa bbb"), controls[] = { view_of("<x>"), view_of("<y>"), view_of("<x>") };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        struct vocab_train settings = { .texts = &text, .text_count = 1, .pre = view_of(ROWS[i].pre),
                                        .token_count = ROWS[i].tokens, .controls = controls,
                                        .control_count = ROWS[i].controls, .count_min = ROWS[i].count_min };
        struct vocab_source out;
        err e = { 0 };
        arena_rewind(&room, 0);
        CHECK(vocab_train(&out, &settings, NULL, &room, &e) == ROWS[i].good && e.code == ROWS[i].want, "%s: %s",
              ROWS[i].says, e.text);
    }
    struct vocab_train none = { .pre = view_of("gpt-2"), .token_count = 300, .count_min = 1 };
    struct vocab_source out;
    err e = { 0 };
    CHECK(vocab_train(&out, &none, NULL, &room, &e) && out.token_count == 256, "no text: %zu tokens %s",
          out.token_count, e.text);
    /* A word of the longest length counts, one byte more does not. */
    uint8_t word[TRAIN_WORD_BYTES_MAX + 1];
    memset(word, 'a', sizeof word);
    for (size_t len = TRAIN_WORD_BYTES_MAX - 1; len <= TRAIN_WORD_BYTES_MAX + 1; len++) {
        view one = { word, len };
        none.texts = &one;
        none.text_count = 1;
        CHECK(vocab_train(&out, &none, NULL, &room, &e) && (out.merge_count > 0) == (len <= TRAIN_WORD_BYTES_MAX),
              "a word of %zu bytes: %zu merges %s", len, out.merge_count, e.text);
    }
}

int main(void)
{
    err e = { 0 };
    if (!CHECK(arena_new(&room, (size_t)1 << 30, &e) && arena_new(&scratch, 1 << 28, &e), "%s", e.text))
        return check_done();
    for (size_t trial = 0; trial < 24; trial++) compare(trial);
    threads_and_use();
    limits();
    arena_free(&room);
    arena_free(&scratch);
    return check_done();
}
