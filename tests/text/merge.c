/* Merging against a definition that cannot be wrong by being clever: look at all pairs, merge the leftmost of the best,
 * again until there is none. Random vocabularies over two or three letters, in which ranks rise as in trained ones (the
 * waves) or do not (the heap); words from one byte to past every change of method. */
#include "base/prng.h"
#include "text/tokenizer.h"

#include "check.h"

enum { LETTERS = 3, TOKENS_MAX = 64, MERGES = 24, WORD_MAX = 700, TEXT_ROOM = 64 };

struct made {
    char texts[TOKENS_MAX][TEXT_ROOM], merges[MERGES][2 * TEXT_ROOM];
    view text_views[TOKENS_MAX], merge_views[MERGES];
    float scores[TOKENS_MAX];
    int left[MERGES], right[MERGES], joined[MERGES];
    struct vocab_source source;
};

static uint64_t draw_at;

static uint32_t draw(uint32_t below)
{
    return prng_u32(7, 7, draw_at++) % below;
}

static int find(const struct made *m, const char *text)
{
    for (size_t i = 0; i < m->source.token_count; i++)
        if (strcmp(m->texts[i], text) == 0) return (int)i;
    return -1;
}

/* `rising`: each merge joins tokens that exist already, so ranks rise; else the order of merges is shuffled. */
static void make(struct made *m, bool rising)
{
    *m = (struct made){ .source = vocab_source_default() };
    m->source.model = view_of("gpt2");
    m->source.pre = view_of("gpt-2");
    for (int i = 0; i < LETTERS; i++) snprintf(m->texts[i], TEXT_ROOM, "%c", 'a' + i);
    m->source.token_count = LETTERS;
    for (int tries = 0; m->source.merge_count < MERGES && tries < 1000; tries++) {
        size_t n = m->source.merge_count, count = m->source.token_count;
        int left = (int)draw((uint32_t)count), right = (int)draw((uint32_t)count);
        char joined[2 * TEXT_ROOM];
        snprintf(joined, sizeof joined, "%s%s", m->texts[left], m->texts[right]);
        if (strlen(joined) >= 24 || find(m, joined) >= 0) continue;
        memcpy(m->texts[count], joined, strlen(joined) + 1);
        m->source.token_count++;
        m->left[n] = left;
        m->right[n] = right;
        m->joined[n] = (int)count;
        m->source.merge_count++;
    }
    for (size_t i = m->source.merge_count; !rising && i-- > 1;) {
        size_t j = draw((uint32_t)i + 1);
        int *const columns[] = { m->left, m->right, m->joined };
        for (size_t c = 0; c < 3; c++) {
            int kept = columns[c][i];
            columns[c][i] = columns[c][j];
            columns[c][j] = kept;
        }
    }
    for (size_t i = 0; i < m->source.merge_count; i++) {
        snprintf(m->merges[i], sizeof m->merges[i], "%s %s", m->texts[m->left[i]], m->texts[m->right[i]]);
        m->merge_views[i] = view_of(m->merges[i]);
    }
    for (size_t i = 0; i < m->source.token_count; i++) m->text_views[i] = view_of(m->texts[i]);
    m->source.texts = m->text_views;
    m->source.merges = m->merge_views;
}

static size_t merge_slowly(const struct made *m, const uint8_t *word, size_t len, int32_t *ids)
{
    size_t count = len;
    for (size_t i = 0; i < len; i++) ids[i] = word[i] - 'a';
    for (;;) {
        size_t best_rank = m->source.merge_count, best = 0;
        for (size_t i = 0; i + 1 < count; i++)
            for (size_t rank = 0; rank < best_rank; rank++)
                if (m->left[rank] == ids[i] && m->right[rank] == ids[i + 1]) {
                    best_rank = rank;
                    best = i;
                }
        if (best_rank == m->source.merge_count) return count;
        ids[best] = m->joined[best_rank];
        memmove(ids + best + 1, ids + best + 2, (count - best - 2) * sizeof *ids);
        count--;
    }
}

/* Scores instead of merges: any two neighbours whose texts make a token. `grouped`: scores fall as tokens are made, but
 * so many in a row are equal, so a wave is of several tokens, made at different times; else scores are random, of
 * `distinct` values. */
static void make_scored(struct made *m, size_t grouped, uint32_t distinct)
{
    make(m, true);
    m->source.model = view_of("llama");
    m->source.merge_count = 0;
    m->source.add_space_prefix = TRI_NO;
    for (size_t i = 0; i < m->source.token_count; i++)
        m->scores[i] = grouped > 0 ? -(float)(i / grouped) : -(float)draw(distinct);
    m->source.scores = m->scores;
}

static size_t join_slowly(const struct made *m, const uint8_t *word, size_t len, int32_t *ids)
{
    size_t count = len;
    for (size_t i = 0; i < len; i++) ids[i] = word[i] - 'a';
    for (;;) {
        int best_id = -1;
        size_t best = 0;
        for (size_t i = 0; i + 1 < count; i++) {
            char joined[2 * TEXT_ROOM];
            snprintf(joined, sizeof joined, "%s%s", m->texts[ids[i]], m->texts[ids[i + 1]]);
            int id = find(m, joined);
            if (id < 0 || (best_id >= 0 && !(m->scores[id] > m->scores[best_id]))) continue;
            best_id = id;
            best = i;
        }
        if (best_id < 0) return count;
        ids[best] = best_id;
        memmove(ids + best + 1, ids + best + 2, (count - best - 2) * sizeof *ids);
        count--;
    }
}

typedef size_t slow_fn(const struct made *m, const uint8_t *word, size_t len, int32_t *ids);

static void compare(const struct made *m, const char *what, slow_fn *slowly, size_t word_max, arena *a, arena *scratch)
{
    tokenizer *t;
    err e = { 0 };
    arena_rewind(a, 0);
    if (!CHECK(tokenizer_new(&t, &m->source, a, &e), "%s: %s", what, e.text)) return;
    for (size_t trial = 0; trial < 12; trial++) {
        static uint8_t word[WORD_MAX];
        static int32_t got[WORD_MAX], want[WORD_MAX];
        size_t len = 1 + draw((uint32_t)word_max), count, letters = 1 + draw(LETTERS);
        for (size_t i = 0; i < len; i++) word[i] = (uint8_t)('a' + draw((uint32_t)letters));
        size_t want_count = slowly(m, word, len, want);
        bool good = tokenizer_encode(t, (view){ word, len }, false, got, WORD_MAX, &count, scratch, &e);
        CHECK(good && count == want_count && memcmp(got, want, count * sizeof *got) == 0,
              "%s, %zu bytes, trial %zu: %zu ids, wanted %zu %s", what, len, trial, count, want_count, e.text);
    }
}

int main(void)
{
    static struct made m;
    arena a, scratch;
    err e = { 0 };
    if (!CHECK(arena_new(&a, 1 << 24, &e) && arena_new(&scratch, 1 << 24, &e), "%s", e.text)) return check_done();
    for (size_t i = 0; i < 60; i++) {
        size_t word_max = i % 2 == 0 ? 60 : WORD_MAX;
        make(&m, true);
        compare(&m, "rising ranks", merge_slowly, word_max, &a, &scratch);
        make(&m, false);
        compare(&m, "shuffled ranks", merge_slowly, word_max, &a, &scratch);
        if (i % 4 > 1) continue;
        make_scored(&m, 0, 1000);
        compare(&m, "scores", join_slowly, word_max / 3, &a, &scratch);
        make_scored(&m, 0, 3);
        compare(&m, "tied scores", join_slowly, word_max / 3, &a, &scratch);
        make_scored(&m, 2 + i % 3, 0);
        compare(&m, "groups of equal scores", join_slowly, word_max / 2, &a, &scratch);
    }
    arena_free(&a);
    arena_free(&scratch);
    return check_done();
}
