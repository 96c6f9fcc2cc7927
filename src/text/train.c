/* Training: see train.h.
 *
 * Words are arrays of token ids in one pool. A table holds each pair of neighbours that occurs: its count, and a list
 * of the words it was seen in (a word may have lost it since; looking again finds nothing). The best pair comes from a
 * heap whose counts may be too high but never too low: merging a pair lowers the counts of its neighbours and makes
 * pairs with the new token, which are pushed once they are counted; an entry with an old count goes back with the new.
 *
 * Merging a pair visits the words of its list: takes the word's pairs out of the counts, merges, puts its pairs in. So
 * the work of all merges together is about the words times their lengths, whatever the size of the text. */
#include "text/train.h"

#include "base/checked.h"
#include "base/utf8.h"
#include "text/part.h"
#include "text/train_part.h"

#include <assert.h>

enum { BYTE_TOKENS = 256, PAIRS_AT_FIRST = 1 << 16 };
#define LIST_END UINT32_MAX

struct word {
    uint32_t at, len; /* in the pool of ids; a word only gets shorter */
    uint64_t count;
};

struct pair {
    int32_t left, right;
    uint64_t count;
    uint32_t words; /* head of its list: links[] */
};

struct link {
    uint32_t word, next;
};

struct candidate {
    uint64_t count;
    uint32_t pair;
};

struct training {
    arena arena; /* of its own: gone when training ends */
    struct word *words;
    size_t word_count;
    int32_t *ids;
    struct pair *pairs;
    size_t pair_count, pair_max;
    uint32_t *slots; /* pair index + 1 */
    size_t mask;
    struct link *links;
    size_t link_count, link_max;
    struct candidate *heap;
    size_t heap_count, heap_max;
    view *tokens; /* what they read as */
    view *names;  /* the same in the alphabet of vocabularies; control tokens behind the last of tokens_max */
    size_t token_count;
    uint32_t *named; /* index of a name + 1, open addressing */
    size_t named_mask;
};

/* ---- memory that doubles ---- */

/* A larger copy of an array of `count` items; what it was stays in the arena, so all copies together are twice the
 * last. */
static void *enlarged(arena *a, const void *old, size_t count, size_t max, size_t each_bytes, err *e)
{
    void *out = arena_take(a, max, each_bytes, 8, "training", e);
    if (out != NULL && count > 0) memcpy(out, old, count * each_bytes);
    return out;
}

static size_t pair_slot(const struct training *t, int32_t left, int32_t right)
{
    return hash_mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right) & t->mask;
}

static bool grow_pairs(struct training *t, err *e)
{
    size_t max = t->pair_max == 0 ? PAIRS_AT_FIRST : 2 * t->pair_max;
    if (max > UINT32_MAX / 4)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "training: over %zu distinct pairs", t->pair_max);
    t->pairs = enlarged(&t->arena, t->pairs, t->pair_count, max, sizeof *t->pairs, e);
    t->slots = ARENA_ARRAY(&t->arena, uint32_t, 2 * max, "training", e);
    if (t->pairs == NULL || t->slots == NULL) return false;
    t->pair_max = max;
    t->mask = 2 * max - 1;
    for (size_t i = 0; i < t->pair_count; i++) {
        size_t at = pair_slot(t, t->pairs[i].left, t->pairs[i].right);
        while (t->slots[at] != 0) at = (at + 1) & t->mask;
        t->slots[at] = (uint32_t)i + 1;
    }
    return true;
}

/* The pair's index, made where it is new. */
static bool find_pair(struct training *t, int32_t left, int32_t right, uint32_t *out, err *e)
{
    if (t->pair_count == t->pair_max && !grow_pairs(t, e)) return false;
    size_t at = pair_slot(t, left, right);
    for (; t->slots[at] != 0; at = (at + 1) & t->mask) {
        *out = t->slots[at] - 1;
        if (t->pairs[*out].left == left && t->pairs[*out].right == right) return true;
    }
    *out = (uint32_t)t->pair_count++;
    t->slots[at] = *out + 1;
    t->pairs[*out] = (struct pair){ .left = left, .right = right, .words = LIST_END };
    return true;
}

static bool list_word(struct training *t, struct pair *p, uint32_t word, err *e)
{
    if (p->words != LIST_END && t->links[p->words].word == word) return true; /* twice in one word */
    if (t->link_count == t->link_max) {
        size_t max = t->link_max == 0 ? PAIRS_AT_FIRST : 2 * t->link_max;
        if (max > UINT32_MAX / 2)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "training: over %zu pairs in words", t->link_max);
        t->links = enlarged(&t->arena, t->links, t->link_count, max, sizeof *t->links, e);
        if (t->links == NULL) return false;
        t->link_max = max;
    }
    t->links[t->link_count] = (struct link){ word, p->words };
    p->words = (uint32_t)t->link_count++;
    return true;
}

/* ---- the heap: most frequent first, then by the bytes of left and right ---- */

static int compare_bytes(view a, view b)
{
    int order = memcmp(a.ptr, b.ptr, min_size(a.len_bytes, b.len_bytes));
    return order != 0 ? order : (a.len_bytes > b.len_bytes) - (a.len_bytes < b.len_bytes);
}

static bool comes_first(const struct training *t, struct candidate a, struct candidate b)
{
    if (a.count != b.count) return a.count > b.count;
    const struct pair *x = &t->pairs[a.pair], *y = &t->pairs[b.pair];
    int order = compare_bytes(t->tokens[x->left], t->tokens[y->left]);
    if (order == 0) order = compare_bytes(t->tokens[x->right], t->tokens[y->right]);
    return order < 0;
}

static bool push(struct training *t, struct candidate c, err *e)
{
    if (t->heap_count == t->heap_max) {
        size_t max = t->heap_max == 0 ? PAIRS_AT_FIRST : 2 * t->heap_max;
        t->heap = enlarged(&t->arena, t->heap, t->heap_count, max, sizeof *t->heap, e);
        if (t->heap == NULL) return false;
        t->heap_max = max;
    }
    size_t at = t->heap_count++;
    for (; at > 0 && comes_first(t, c, t->heap[(at - 1) / 2]); at = (at - 1) / 2) t->heap[at] = t->heap[(at - 1) / 2];
    t->heap[at] = c;
    return true;
}

static struct candidate pop(struct training *t)
{
    struct candidate top = t->heap[0], last = t->heap[--t->heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < t->heap_count; at = child) {
        if (child + 1 < t->heap_count && comes_first(t, t->heap[child + 1], t->heap[child])) child++;
        if (!comes_first(t, t->heap[child], last)) break;
        t->heap[at] = t->heap[child];
    }
    if (t->heap_count > 0) t->heap[at] = last;
    return top;
}

/* ---- words ---- */

static void uncount_word(struct training *t, const struct word *w)
{
    for (uint32_t i = 0; i + 1 < w->len; i++) {
        int32_t left = t->ids[w->at + i], right = t->ids[w->at + i + 1];
        size_t at = pair_slot(t, left, right);
        struct pair *p = &t->pairs[t->slots[at] - 1]; /* counted before, so it is there */
        while (p->left != left || p->right != right) {
            at = (at + 1) & t->mask;
            assert(t->slots[at] != 0);
            p = &t->pairs[t->slots[at] - 1];
        }
        assert(p->count >= w->count);
        p->count -= w->count;
    }
}

/* Adds the word's pairs. Only pairs that hold `made` can be new to a word: it alone is listed for them (-1: all). */
static bool count_word(struct training *t, uint32_t word, int32_t made, err *e)
{
    const struct word *w = &t->words[word];
    for (uint32_t i = 0; i + 1 < w->len; i++) {
        uint32_t pair;
        int32_t left = t->ids[w->at + i], right = t->ids[w->at + i + 1];
        if (!find_pair(t, left, right, &pair, e)) return false;
        t->pairs[pair].count += w->count;
        if ((made < 0 || left == made || right == made) && !list_word(t, &t->pairs[pair], word, e)) return false;
    }
    return true;
}

static bool holds_pair(const struct training *t, const struct word *w, int32_t left, int32_t right)
{
    for (uint32_t i = 0; i + 1 < w->len; i++)
        if (t->ids[w->at + i] == left && t->ids[w->at + i + 1] == right) return true;
    return false;
}

static void merge_in_word(struct training *t, struct word *w, int32_t left, int32_t right, int32_t made)
{
    int32_t *ids = t->ids + w->at;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < w->len; i++) {
        bool here = i + 1 < w->len && ids[i] == left && ids[i + 1] == right;
        ids[kept++] = here ? made : ids[i];
        i += here;
    }
    w->len = kept;
}

static bool push_fresh(struct training *t, size_t from, err *e)
{
    for (size_t i = from; i < t->pair_count; i++)
        if (t->pairs[i].count > 0 && !push(t, (struct candidate){ t->pairs[i].count, (uint32_t)i }, e)) return false;
    return true;
}

static bool load_words(struct training *t, const struct word_set *set, err *e)
{
    size_t bytes = 0;
    for (size_t i = 0; i < set->count; i++) bytes += set->words[i].text.len_bytes;
    if (bytes > UINT32_MAX / 2)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "training: %zu bytes of distinct words, allowed %u", bytes,
                    UINT32_MAX / 2);
    t->word_count = set->count;
    t->words = ARENA_ARRAY(&t->arena, struct word, set->count, "training", e);
    t->ids = ARENA_ARRAY(&t->arena, int32_t, bytes, "training", e);
    if (t->words == NULL || t->ids == NULL) return false;
    uint32_t at = 0;
    for (size_t i = 0; i < set->count; i++) {
        view text = set->words[i].text;
        t->words[i] = (struct word){ at, (uint32_t)text.len_bytes, set->words[i].count };
        for (size_t b = 0; b < text.len_bytes; b++) t->ids[at++] = text.ptr[b];
        if (!count_word(t, (uint32_t)i, -1, e)) return false;
    }
    return push_fresh(t, 0, e);
}

/* ---- tokens and their names ---- */

static size_t alphabet_text(view bytes, uint8_t *out)
{
    size_t len = 0;
    for (size_t i = 0; i < bytes.len_bytes; i++) len += utf8_put(byte_to_code(bytes.ptr[i]), out + len);
    return len;
}

/* The slot of a name: taken, or where it would go. */
static size_t name_slot(const struct training *t, view name)
{
    size_t at = hash_mix(hash_text(name)) & t->named_mask;
    while (t->named[at] != 0 && !view_equal(t->names[t->named[at] - 1], name)) at = (at + 1) & t->named_mask;
    return at;
}

/* Gives token `id` its name; false where another has it. */
static bool add_name(struct training *t, size_t id, view name)
{
    size_t at = name_slot(t, name);
    if (t->named[at] != 0) return false;
    t->names[id] = name;
    t->named[at] = (uint32_t)id + 1;
    return true;
}

/* Adds the token of these bytes. *added is false where its name is taken: by a token that other merges make, or by a
 * control token. Then there is no new token and the pair stays as it is, so that each token has one name, each name one
 * token, and ranks only rise. */
static bool add_token(struct training *t, view left, view right, bool *added, err *e)
{
    size_t len = left.len_bytes + right.len_bytes;
    uint8_t *text = ARENA_ARRAY(&t->arena, uint8_t, 3 * len, "training", e);
    if (text == NULL) return false;
    memcpy(text, left.ptr, left.len_bytes);
    if (right.len_bytes > 0) memcpy(text + left.len_bytes, right.ptr, right.len_bytes);
    view name = { text + len, alphabet_text((view){ text, len }, text + len) };
    *added = add_name(t, t->token_count, name);
    if (*added) t->tokens[t->token_count++] = (view){ text, len };
    return true;
}

static bool first_tokens(struct training *t, const struct vocab_train *settings, size_t token_max, err *e)
{
    size_t slots = 16, all = token_max + settings->control_count;
    while (slots < 2 * all) slots *= 2;
    t->tokens = ARENA_ARRAY(&t->arena, view, token_max, "training", e);
    t->names = ARENA_ARRAY(&t->arena, view, all, "training", e);
    t->named = ARENA_ARRAY(&t->arena, uint32_t, slots, "training", e);
    t->named_mask = slots - 1;
    if (t->tokens == NULL || t->names == NULL || t->named == NULL) return false;
    for (size_t i = 0; i < BYTE_TOKENS; i++) {
        uint8_t byte = (uint8_t)i;
        bool added;
        if (!add_token(t, (view){ &byte, 1 }, (view){ 0 }, &added, e)) return false;
        assert(added);
    }
    for (size_t i = 0; i < settings->control_count; i++)
        if (!add_name(t, token_max + i, settings->controls[i]))
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "training: control token \"%.*s\" is a token already",
                        (int)min_size(settings->controls[i].len_bytes, 64), (const char *)settings->controls[i].ptr);
    return true;
}

/* Makes `made` of every such pair of neighbours. */
static bool merge_pair(struct training *t, uint32_t pair, int32_t made, err *e)
{
    int32_t left = t->pairs[pair].left, right = t->pairs[pair].right;
    size_t first_fresh = t->pair_count;
    for (uint32_t link = t->pairs[pair].words; link != LIST_END; link = t->links[link].next) {
        uint32_t word = t->links[link].word;
        if (!holds_pair(t, &t->words[word], left, right)) continue;
        uncount_word(t, &t->words[word]);
        merge_in_word(t, &t->words[word], left, right, made);
        if (!count_word(t, word, made, e)) return false;
    }
    assert(t->pairs[pair].count == 0);
    return push_fresh(t, first_fresh, e);
}

/* Merges until there are `token_max` tokens; merged[] gets the pair of each new one. */
static bool merge_all(struct training *t, size_t token_max, uint64_t count_min, struct pair *merged, err *e)
{
    while (t->token_count < token_max && t->heap_count > 0) {
        struct candidate best = pop(t);
        struct pair p = t->pairs[best.pair];
        bool added;
        if (p.count != best.count) {
            if (p.count > 0 && !push(t, (struct candidate){ p.count, best.pair }, e)) return false;
            continue;
        }
        if (best.count < count_min) return true;
        if (!add_token(t, t->tokens[p.left], t->tokens[p.right], &added, e)) return false;
        if (!added) continue;
        merged[t->token_count - 1 - BYTE_TOKENS] = p;
        if (!merge_pair(t, best.pair, (int32_t)t->token_count - 1, e)) return false;
    }
    return true;
}

/* ---- the result ---- */

static bool write_merge(const struct training *t, const struct pair *p, arena *a, view *out, err *e)
{
    view left = t->names[p->left], right = t->names[p->right];
    uint8_t *text = ARENA_ARRAY(a, uint8_t, left.len_bytes + 1 + right.len_bytes, "trained vocabulary", e);
    if (text == NULL) return false;
    memcpy(text, left.ptr, left.len_bytes);
    text[left.len_bytes] = ' ';
    memcpy(text + left.len_bytes + 1, right.ptr, right.len_bytes);
    *out = (view){ text, left.len_bytes + 1 + right.len_bytes };
    return true;
}

static bool write_result(const struct training *t, const struct vocab_train *settings, const struct pair *merged,
                         struct vocab_source *out, arena *a, err *e)
{
    size_t merge_count = t->token_count - BYTE_TOKENS, count = t->token_count + settings->control_count;
    view *texts = ARENA_ARRAY(a, view, count, "trained vocabulary", e);
    view *merges = ARENA_ARRAY(a, view, merge_count, "trained vocabulary", e);
    int32_t *kinds = ARENA_ARRAY(a, int32_t, count, "trained vocabulary", e);
    if (texts == NULL || merges == NULL || kinds == NULL) return false;
    for (size_t id = 0; id < count; id++) {
        bool made = id < t->token_count;
        kinds[id] = made ? TOKEN_NORMAL : TOKEN_CONTROL;
        view name = made ? t->names[id] : settings->controls[id - t->token_count];
        if (!arena_copy(a, name, &texts[id], "trained vocabulary", e)) return false;
    }
    for (size_t i = 0; i < merge_count; i++)
        if (!write_merge(t, &merged[i], a, &merges[i], e)) return false;
    *out = vocab_source_default();
    out->model = view_of("gpt2");
    out->pre = settings->pre;
    out->token_count = count;
    out->texts = texts;
    out->kinds = kinds;
    out->merges = merges;
    out->merge_count = merge_count;
    return true;
}

static bool check_settings(const struct vocab_train *s, err *e)
{
    if (splitter_find(s->pre) == NULL)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "pre-tokenizer \"%.*s\" is not one this program knows",
                    (int)min_size(s->pre.len_bytes, 64), (const char *)s->pre.ptr);
    if (s->control_count > TRAIN_CONTROLS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "training: %zu control tokens, allowed %d", s->control_count,
                    TRAIN_CONTROLS_MAX);
    if (s->token_count < BYTE_TOKENS + s->control_count || s->token_count > VOCAB_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "training: %zu tokens wanted, allowed %zu..%d", s->token_count,
                    BYTE_TOKENS + s->control_count, VOCAB_MAX);
    if (s->count_min == 0) return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "training: least count 0, must be 1 or more");
    return true;
}

static bool train(struct training *t, struct word_set *words, struct vocab_source *out,
                  const struct vocab_train *settings, arena *a, err *e)
{
    size_t token_max = settings->token_count - settings->control_count;
    struct pair *merged = ARENA_ARRAY(&t->arena, struct pair, token_max - BYTE_TOKENS, "training", e);
    if (merged == NULL) return false;
    return first_tokens(t, settings, token_max, e) && load_words(t, words, e) &&
           merge_all(t, token_max, settings->count_min, merged, e) && write_result(t, settings, merged, out, a, e);
}

/* Addresses for the worst case of `words` words of `bytes` bytes: tables double, so twice the last size of each. */
static size_t training_bytes(const struct word_set *words, size_t token_count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < words->count; i++) bytes += words->words[i].text.len_bytes;
    return words->count * 64 + bytes * 512 + token_count * 1024 + ((size_t)1 << 26);
}

bool vocab_train(struct vocab_source *out, const struct vocab_train *settings, struct team *crew, arena *a, err *e)
{
    struct word_set words;
    struct training t = { 0 };
    if (!check_settings(settings, e) || !train_count_words(&words, settings, crew, e)) return false;
    bool good = arena_new(&t.arena, training_bytes(&words, settings->token_count), e) &&
                train(&t, &words, out, settings, a, e);
    arena_free(&t.arena);
    arena_free(&words.arena);
    return good;
}
