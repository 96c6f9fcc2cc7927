/* Sizes of inputs: see importance.h. */
#include "model/importance.h"

#include "model/slots.h"

#include <assert.h>
#include <string.h>

/* The matrices of one tensor: one, or one an expert or head. */
struct entry {
    view name;
    const uint8_t *tiles; /* of the first: what the graph's events name a matrix by */
    size_t count, cols;
    double *sums;         /* count x cols */
    uint64_t *tokens;     /* count: rows of inputs that were added */
};

struct importance {
    struct entry *entries;
    size_t count, last; /* last: where the search before this one ended; the graph's order repeats every layer */
};

struct builder {
    importance *i;
    arena *a;
};

static bool count_entry(void *arg, const struct slot_matrix *s, err *e)
{
    (void)s;
    (void)e;
    ++*(size_t *)arg;
    return true;
}

static bool add_entry(void *arg, const struct slot_matrix *s, err *e)
{
    struct builder *b = arg;
    struct entry entry = { .tiles = s->first.tiles, .count = s->count, .cols = s->first.cols };
    entry.sums = ARENA_ARRAY(b->a, double, s->count * s->first.cols, "importance", e);
    entry.tokens = ARENA_ARRAY(b->a, uint64_t, s->count, "importance", e);
    if (entry.sums == NULL || entry.tokens == NULL || !arena_copy(b->a, s->name, &entry.name, "importance", e))
        return false;
    b->i->entries[b->i->count++] = entry;
    return true;
}

bool importance_new(importance **out, const model *m, arena *a, err *e)
{
    size_t count = 0;
    struct builder b = { .i = ARENA_ARRAY(a, importance, 1, "importance", e), .a = a };
    if (b.i == NULL || !slots_each_matrix(m, count_entry, &count, e)) return false;
    b.i->entries = ARENA_ARRAY(a, struct entry, count, "importance", e);
    *out = b.i;
    return b.i->entries != NULL && slots_each_matrix(m, add_entry, &b, e);
}

static struct entry *entry_of(importance *i, const uint8_t *tiles)
{
    for (size_t n = 0; n < i->count; n++) {
        size_t at = (i->last + n) % i->count;
        if (i->entries[at].tiles != tiles) continue;
        i->last = at;
        return &i->entries[at];
    }
    return NULL;
}

void importance_watch(void *arg, const struct input_event *e)
{
    struct entry *entry = entry_of(arg, e->tiles);
    assert(entry != NULL && e->index < entry->count && e->x.form == ACTIVATION_F32 && e->x.cols == entry->cols);
    double *sums = entry->sums + e->index * entry->cols;
    entry->tokens[e->index] += e->x.tokens;
    for (size_t t = 0; t < e->x.tokens; t++) {
        const float *x = e->x.f32 + t * e->x.f32_stride;
        for (size_t c = 0; c < entry->cols; c++) sums[c] += (double)x[c] * (double)x[c];
    }
}

/* sqrt is exact on every processor. The root of a sum of squared f32 fits in one, the largest aside. */
static float root_mean(double sum, uint64_t tokens)
{
    double v = tokens > 0 ? __builtin_sqrt(sum / (double)tokens) : 0.0;
    return v < 0x1.fffffep127 ? (float)v : 0x1.fffffep127f;
}

bool importance_of(const importance *i, view name, arena *a, const float **out, size_t *count, size_t *cols, err *e)
{
    const struct entry *entry = NULL;
    *out = NULL;
    for (size_t n = 0; n < i->count && entry == NULL; n++)
        if (view_equal(i->entries[n].name, name)) entry = &i->entries[n];
    if (entry == NULL) return true;
    float *roots = ARENA_ARRAY(a, float, entry->count * entry->cols, "importance", e);
    if (roots == NULL) return false;
    for (size_t n = 0; n < entry->count; n++)
        for (size_t c = 0; c < entry->cols; c++)
            roots[n * entry->cols + c] = root_mean(entry->sums[n * entry->cols + c], entry->tokens[n]);
    *out = roots;
    *count = entry->count;
    *cols = entry->cols;
    return true;
}
