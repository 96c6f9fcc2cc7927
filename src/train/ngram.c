/* See ngram.h. */
#include "train/ngram.h"

#include "base/checked.h"
#include "base/le.h"
#include "kernels/math.h"

/* Open addressing; a key is a hash of tokens, and 64 bits are enough never to meet two alike among 10^8. */
struct slot {
    uint64_t key;              /* 0: free */
    uint32_t count, different; /* a context: tokens that followed it, different ones. A gram: count alone */
};

struct table {
    struct slot *slots;
    size_t mask, used;
};

static bool table_make(struct table *t, size_t at_least, arena *a, err *e)
{
    size_t slots = 1 << 10;
    while (slots < at_least && slots < (size_t)1 << 40) slots *= 2;
    *t = (struct table){ .slots = arena_take(a, slots, sizeof *t->slots, 64, "grams", e), .mask = slots - 1 };
    return t->slots != NULL; /* fresh addresses read as 0 */
}

/* The key's slot, or the free one where it would lie. */
static struct slot *find(const struct table *t, uint64_t key)
{
    size_t at = (size_t)(key ^ key >> 32) & t->mask;
    while (t->slots[at].key != 0 && t->slots[at].key != key) at = (at + 1) & t->mask;
    return &t->slots[at];
}

static uint64_t mix(uint64_t h, int32_t id)
{
    h = (h ^ ((uint64_t)(uint32_t)id + 1)) * 0xbf58476d1ce4e5b9u;
    h ^= h >> 29;
    return h != 0 ? h : 1;
}

/* The key of `n` tokens of context that end before `end`; of none as well. */
static uint64_t context_key(const int32_t *end, size_t n)
{
    uint64_t h = mix(0x6e6772616d, (int32_t)n);
    for (size_t i = n; i > 0; i--) h = mix(h, end[-(ptrdiff_t)i]);
    return h;
}

static void ask(struct table *contexts, const struct ngram_text *t)
{
    for (size_t i = 0; i < t->count; i++) {
        for (size_t n = 0; n < NGRAM_ORDER && n <= i; n++) {
            struct slot *s = find(contexts, context_key(t->ids + i, n));
            if (s->key == 0) contexts->used++;
            s->key = context_key(t->ids + i, n);
        }
    }
}

static bool count_token(struct table *contexts, struct table *grams, const int32_t *at, size_t before, err *e)
{
    for (size_t n = 0; n < NGRAM_ORDER && n <= before; n++) {
        uint64_t key = context_key(at, n), gram = mix(key, *at);
        struct slot *c = find(contexts, key);
        if (c->key == 0) return true; /* no longer context is asked for, either: it would contain this one's end */
        struct slot *g = find(grams, gram);
        c->count++;
        if (g->key == 0) {
            if (grams->used++ > grams->mask / 4 * 3) return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "5-grams: too many");
            g->key = gram;
            c->different++;
        }
        g->count++;
    }
    return true;
}

static double score(const struct table *contexts, const struct table *grams, size_t vocab, const int32_t *at,
                    size_t before)
{
    const double discount = 0.75;
    double p = 1 / (double)vocab;
    for (size_t n = 0; n < NGRAM_ORDER && n <= before; n++) {
        uint64_t key = context_key(at, n);
        const struct slot *c = find(contexts, key), *g = find(grams, mix(key, *at));
        if (c->count == 0) break;
        double seen = g->key == 0 ? 0 : (double)g->count - discount;
        p = seen / (double)c->count + discount * (double)c->different / (double)c->count * p;
    }
    return p;
}

static bool count_shard(const struct shard *s, struct table *contexts, struct table *grams, arena *a, err *e)
{
    size_t longest = 0;
    for (size_t d = 0; d < s->doc_count; d++) longest = max_size(longest, s->docs[d].count);
    int32_t *ids = ARENA_ARRAY(a, int32_t, longest, "document", e);
    if (ids == NULL) return false;
    for (size_t d = 0; d < s->doc_count; d++) {
        for (size_t i = 0; i < s->docs[d].count; i++) ids[i] = (int32_t)le_u32(s->tokens + 4 * (s->docs[d].first + i));
        for (size_t i = 0; i < s->docs[d].count; i++)
            if (!count_token(contexts, grams, ids + i, i, e)) return false;
    }
    return true;
}

bool ngram_measure(const struct shard *s, size_t vocab, struct ngram_text *texts, size_t count, err *e)
{
    struct table contexts, grams;
    arena a = { 0 }; /* its own: what is left over goes back to the system at once */
    size_t tokens = 0;
    for (size_t i = 0; i < count; i++) tokens += texts[i].count;
    /* A gram for each token of training and order at most, and few of them: half of that is never reached. */
    bool good = arena_new(&a, (size_t)1 << 38, e) && table_make(&contexts, 2 * NGRAM_ORDER * (tokens + 1), &a, e) &&
                table_make(&grams, s->token_count * 3, &a, e);
    for (size_t i = 0; good && i < count; i++) ask(&contexts, &texts[i]);
    good = good && count_shard(s, &contexts, &grams, &a, e);
    for (size_t i = 0; good && i < count; i++) {
        texts[i].nats = 0;
        for (size_t t = 0; t < texts[i].count; t++)
            texts[i].nats -= log_f64(score(&contexts, &grams, vocab, texts[i].ids + t, t));
    }
    arena_free(&a);
    return good;
}
