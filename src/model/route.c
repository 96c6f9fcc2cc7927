/* Choosing experts: see route.h. */
#include "model/route.h"

#include "base/checked.h"

#include <string.h>

enum {
    REST_DECISIONS = 64,  /* after one that read more than the whole router: its neighbours will not be better */
    FOUND_MORE = 2,       /* two lists, each rounded up, cut into pieces */
    PIECE_ROWS = 16,      /* of a router, and multiples of it: their scores fill lines of their own */
    PIECE_BYTES = 1 << 15, /* least of rows that are taken at once, where threads share a router */
    ALONE_BYTES = 1 << 15,  /* below, one thread has read it before another has woken */
    BEGIN_BYTES = 1 << 10,  /* of a stretch, asked for before it is read, */
    BEGIN_ROWS = 4,         /* and so many rows' scales */
    AHEAD_BYTES = 1 << 13,  /* of rows of a list on their way into the cache */
    AT_ONCE_BYTES = 1 << 17 /* of rows of the second plane that are read beside the likely experts' own */
};

/* ---- memory ---- */

size_t route_room_bytes(size_t experts, size_t width)
{
    return route_input_bytes(width) + 5 * round_up(experts * sizeof(float), 64) + 3 * round_up((experts + 1) * 2, 64) +
           2 * round_up(experts * sizeof(bool), 64) + round_up((experts + FOUND_MORE) * sizeof(float), 64);
}

static void *take(uint8_t **at, size_t bytes)
{
    uint8_t *begin = *at;
    *at += round_up(bytes, 64);
    return begin;
}

void route_scratch_lay(struct route_scratch *s, size_t experts, size_t width, void *room)
{
    uint8_t *at = room;
    *s = (struct route_scratch){ 0 };
    route_input_lay(&s->input, width, take(&at, route_input_bytes(width)));
    float **floats[] = { &s->score, &s->reach, &s->low, &s->high, &s->inner };
    for (size_t i = 0; i < 5; i++) *floats[i] = take(&at, experts * sizeof(float));
    s->found = take(&at, (experts + FOUND_MORE) * sizeof(float));
    s->list = take(&at, (experts + 1) * 2); /* one more is written, not counted */
    s->unread = take(&at, experts * 2);
    s->shortlist = take(&at, experts * 2);
    s->exact = take(&at, experts * sizeof(bool));
    s->allowed = take(&at, experts * sizeof(bool));
}

/* ---- intervals ---- */

static const struct route *form_of(const struct route_gate *r)
{
    return &r->layer->route;
}

/* The sigmoid as computed is off from the true one, which is monotone, by less than 4 units of 2^-24; so is this. */
#define SIGMOID_SLACK 0x1p-20f

/* Ends of ranks from ends of scores, in place, of experts begin..end-1: the same f32 operations as on a score, of which
 * additions are monotone and the sigmoid nearly so. False where one is no interval of finite numbers: the rest of this
 * file counts on it. */
static bool rank_ends(const struct route_gate *r, struct route_scratch *s, size_t begin, size_t end)
{
    const float *bias = r->layer->router_bias, *choice = r->layer->choice_bias;
    bool good = true;
    for (size_t e = begin; bias != NULL && e < end; e++) {
        s->low[e] = s->low[e] + bias[e];
        s->high[e] = s->high[e] + bias[e];
    }
    if (r->config->router == ROUTER_SIGMOID) {
        r->k->vector.sigmoid(s->low + begin, end - begin);
        r->k->vector.sigmoid(s->high + begin, end - begin);
        for (size_t e = begin; e < end; e++) { /* where it underflows, slack is absolute */
            s->low[e] = s->low[e] * (1.0f - SIGMOID_SLACK) - 0x1p-126f;
            s->high[e] = s->high[e] * (1.0f + SIGMOID_SLACK) + 0x1p-126f;
        }
    }
    for (size_t e = begin; choice != NULL && e < end; e++) {
        s->low[e] = s->low[e] + choice[e];
        s->high[e] = s->high[e] + choice[e];
    }
    for (size_t e = begin; e < end; e++)
        good = (s->low[e] >= -0x1p120f) & (s->low[e] <= s->high[e]) & (s->high[e] <= 0x1p120f) & good;
    return good;
}

/* The intervals of the scores of experts begin..end-1, whose bounds stand in `high`. */
static bool set_ends(const struct route_gate *r, struct route_scratch *s, size_t begin, size_t end)
{
    for (size_t e = begin; e < end; e++) {
        float bound = s->high[e];
        s->low[e] = s->score[e] - bound;
        s->high[e] = s->score[e] + bound;
        s->exact[e] = false;
    }
    return rank_ends(r, s, begin, end);
}

/* ---- reading the router ---- */

/* One reading: of the whole router, or of two lists that jump, one of rows to be read exactly, one of rows of the
 * second plane. */
enum reading { READ_FIRST, READ_BOTH, READ_INNER, READ_SECOND, READ_EXACT };

/* A decision's reading of the whole router, which slots share: each has a stretch and takes pieces of it in order, then
 * of the others'. Where `lists`, they go on together: see slot_task. */
struct reading_job {
    struct route form; /* the layer's: here it is on its way to the other cores with the rest */
    const struct route_gate *r;
    const float *x;
    struct route_scratch *s; /* one a slot; results go to the first */
    enum reading reading;
    bool lists;
    size_t count, slots, piece_rows;
    _Atomic size_t left; /* rows that are not yet read */
    _Atomic bool bad;    /* an input or an interval that is none */
};

static float with_bias(const struct route_gate *r, size_t e, float score)
{
    return r->layer->router_bias != NULL ? score + r->layer->router_bias[e] : score;
}

/* The score of expert e from its own row, before its bias. */
static float exact_row(const struct route_gate *r, const float *x, size_t e)
{
    const struct route *f = form_of(r);
    float score;
    if (f->rows == NULL) return r->k->vector.dot(r->layer->router + e * r->width, x, r->width);
    r->k->route.bf16_rows(f->rows + e * r->width, 1, r->width, x, &score);
    return score;
}

static size_t row_bytes(const struct route_gate *r, enum reading reading)
{
    const struct route *f = form_of(r);
    size_t codes = route_groups(r->width) * ROUTE_GROUP, scales = route_scale_stride(r->width) * 2;
    const size_t bytes[] = { codes + scales, 2 * codes + scales, 2 * r->width, codes,
                             r->width * (f->rows != NULL ? 2 : sizeof(float)) };
    return bytes[reading];
}

static const uint8_t *rows_of(const struct route_gate *r, enum reading reading)
{
    const struct route *f = form_of(r);
    const uint8_t *exact = f->rows != NULL ? (const uint8_t *)f->rows : (const uint8_t *)r->layer->router;
    const uint8_t *rows[] = { f->first, f->first, (const uint8_t *)f->inner, f->second, exact };
    return rows[reading];
}

static void fetch(const void *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const uint8_t *)at + i, 0, 2);
}

static bool make_input(const struct route_gate *r, const float *x, struct route_scratch *s)
{
    s->input_made = true;
    return r->k->route.input(x, &s->input);
}

/* Where a slot's stretch of `count` rows begins, for slot = slots: where the last one ends. */
static size_t stretch_begin(const struct reading_job *job, size_t slot)
{
    return min_size(ceil_div(job->count, PIECE_ROWS) * slot / job->slots * PIECE_ROWS, job->count);
}

/* The begin of a slot's stretch comes while the input's codes are made: by each slot for itself, sooner there than
 * those of another core. More is not asked for by hand: a core waits for few lines at once (Zen 4: 24, which is 8 to 14
 * GB/s), and only what is read in order comes faster. */
static void begin_stretch(struct reading_job *job, size_t slot)
{
    const struct route *f = &job->form;
    struct route_scratch *s = &job->s[slot];
    size_t first = stretch_begin(job, slot), rows = stretch_begin(job, slot + 1) - first;
    bool codes = job->reading <= READ_BOTH; /* scales and facts stand elsewhere */
    if (codes) {
        size_t each = route_groups(f->cols) * ROUTE_GROUP, stride = route_scale_stride(f->cols);
        fetch(f->first + first * each, min_size(rows * each, BEGIN_BYTES));
        fetch(f->scales + first * stride, min_size(rows, BEGIN_ROWS) * stride * sizeof *f->scales);
        fetch(f->facts + first, min_size(rows, PIECE_ROWS) * sizeof *f->facts);
        if (!make_input(job->r, job->x, s)) atomic_store_explicit(&job->bad, true, memory_order_relaxed);
    } else {
        size_t each = row_bytes(job->r, job->reading);
        fetch(rows_of(job->r, job->reading) + first * each, min_size(rows * each, BEGIN_BYTES));
        job->r->k->route.copy(job->x, &s->input);
        s->input_made = false;
    }
    s->listed = s->share_read = false;
}

/* The expert of first..end-1 that is most likely to be chosen. */
static size_t best_low(const struct route_scratch *s, size_t first, size_t end)
{
    size_t best = first;
    for (size_t e = first; e < end; e++) best = s->low[e] > s->low[best] ? e : best;
    return best;
}

/* A piece of the whole router: rows first.. of the stretch begin..end-1. While the last ones are read, the row that
 * will be read exactly, most likely, is on its way. */
static void read_piece(struct reading_job *job, size_t first, size_t begin, size_t end, size_t slot)
{
    const struct route_gate *r = job->r;
    const struct route *f = &job->form;
    const struct route_kernels *k = &r->k->route;
    const struct route_input *own = &job->s[slot].input;
    struct route_scratch *s = job->s;
    size_t count = min_size(job->piece_rows, end - first);
    if (job->reading <= READ_BOTH) {
        fetch(f->facts + first + count, min_size(end - first - count, PIECE_ROWS) * sizeof *f->facts);
        struct route_part part = { first, count, end - first - count, job->reading == READ_BOTH, NULL, 0 };
        if (job->lists && part.next == 0 && first > begin) {
            part.then_bytes = row_bytes(r, READ_EXACT);
            part.then = rows_of(r, READ_EXACT) + best_low(s, begin, first) * part.then_bytes;
        }
        route_scores(k, f, own, &part, s->score + first, s->reach + first);
        route_bounds(f, own, first, count, part.both, s->reach + first, s->high + first);
        if (!set_ends(r, s, first, first + count)) atomic_store_explicit(&job->bad, true, memory_order_relaxed);
    } else if (job->reading == READ_INNER) {
        k->int16_rows(f->inner + first * f->cols, count, f->cols, own->x, s->inner + first);
    } else {
        if (f->rows != NULL) k->bf16_rows(f->rows + first * r->width, count, r->width, own->x, s->score + first);
        for (size_t e = first; e < first + count; e++)
            s->score[e] = with_bias(r, e, f->rows != NULL ? s->score[e] : exact_row(r, own->x, e));
    }
}

static void read_stretches(struct reading_job *job, size_t slot)
{
    size_t done = 0;
    for (size_t i = 0; i < job->slots; i++) {
        size_t of = (slot + i) % job->slots, begin = stretch_begin(job, of), end = stretch_begin(job, of + 1);
        _Atomic size_t *next = &job->s[of].next;
        for (size_t at; (at = begin + atomic_fetch_add_explicit(next, job->piece_rows, memory_order_relaxed)) < end;) {
            read_piece(job, at, begin, end, slot);
            done += min_size(job->piece_rows, end - at);
        }
    }
    atomic_fetch_sub_explicit(&job->left, done, memory_order_acq_rel);
}

/* ---- reading lists ---- */

/* Lists jump, and no processor foresees where to. Where slots share them, a piece has every pieces-th row of both, and
 * leaves what it finds in one place: lines that two cores write in turn would cost more than the rows. */
struct rows_list {
    enum reading reading;
    const uint16_t *rows;
    size_t count;
};

struct lists_job {
    const struct route_gate *r;
    const float *x;
    struct route_scratch *s; /* one a piece */
    struct rows_list lists[2];
    size_t pieces;
};

/* The next rows are asked for while one is computed. */
static void read_share(const struct lists_job *job, size_t piece)
{
    const struct route_gate *r = job->r;
    struct route_scratch *s = &job->s[piece];
    float *found = s->found;
    size_t step = job->pieces;
    for (size_t l = 0; l < 2; l++) {
        const struct rows_list *list = &job->lists[l];
        const uint8_t *rows = rows_of(r, list->reading);
        size_t each = row_bytes(r, list->reading), ahead = max_size(AHEAD_BYTES / each, 1) * step;
        for (size_t i = piece; i < min_size(piece + ahead, list->count); i += step)
            fetch(rows + list->rows[i] * each, each);
        for (size_t i = piece; i < list->count; i += step) {
            size_t e = list->rows[i];
            if (i + ahead < list->count) fetch(rows + list->rows[i + ahead] * each, each);
            if (list->reading == READ_EXACT) *found++ = exact_row(r, s->input.x, e);
            else *found++ = route_second(&r->k->route, form_of(r), &s->input, e);
        }
    }
}

static void share_task(void *arg, size_t piece, size_t thread)
{
    const struct lists_job *job = arg;
    struct route_scratch *s = &job->s[piece];
    (void)thread;
    if (job->lists[1].count > 0 && !s->input_made) make_input(job->r, job->x, s);
    if (!s->input_made) job->r->k->route.copy(job->x, &s->input); /* a slot that ended early, or read no codes */
    read_share(job, piece);
}

/* From where read_share left it: exact scores, and scores by both planes. */
static void collect(const struct lists_job *job)
{
    struct route_scratch *s = job->s;
    for (size_t piece = 0; piece < job->pieces; piece++) {
        const float *found = job->s[piece].found;
        for (size_t l = 0; l < 2; l++)
            for (size_t i = piece; i < job->lists[l].count; i += job->pieces) {
                size_t e = job->lists[l].rows[i];
                bool exact = job->lists[l].reading == READ_EXACT;
                s->score[e] = exact ? with_bias(job->r, e, *found) : route_refined(s->score[e], *found);
                found++;
            }
    }
}

static size_t lists_bytes(const struct lists_job *job)
{
    size_t bytes = 0;
    for (size_t l = 0; l < 2; l++) bytes += row_bytes(job->r, job->lists[l].reading) * job->lists[l].count;
    return bytes;
}

/* A short list is read where it is: waking a thread costs as much. */
static void read_list(const struct route_gate *r, const float *x, struct route_scratch *s, struct rows_list list,
                      team *t)
{
    struct lists_job job = { .r = r, .x = x, .s = s, .lists = { list, { .reading = READ_SECOND } } };
    size_t bytes = lists_bytes(&job);
    s->tally.bytes += bytes;
    job.pieces = t != NULL && bytes >= ALONE_BYTES ? team_threads(t) : 1;
    if (job.pieces > 1) team_run(t, job.pieces, share_task, &job);
    else share_task(&job, 0, 0);
    collect(&job);
}

/* ---- lists ---- */

/* Experts of all whose rank reaches the top_k-th largest low: they may be among the top_k. In order. `ends` has the
 * intervals, `s` gets the list. */
static void list_all(const struct route_gate *r, const struct route_scratch *ends, struct route_scratch *s)
{
    s->least = r->k->route.kth(ends->low, r->config->count, r->config->top_k);
    s->list_count = 0;
    for (size_t i = 0; i < r->config->count; i++) { /* without a branch: who is in can not be foreseen */
        s->list[s->list_count] = (uint16_t)i;
        s->list_count += ends->high[i] >= s->least;
    }
}

/* The same of the experts of open groups. */
static void list_allowed(const struct route_gate *r, struct route_scratch *s)
{
    size_t n = r->config->count;
    for (size_t i = 0; i < n; i++) s->found[i] = s->allowed[i] ? s->low[i] : -__builtin_inff();
    s->least = r->k->route.kth(s->found, n, r->config->top_k);
    s->list_count = 0;
    for (size_t i = 0; i < n; i++) {
        s->list[s->list_count] = (uint16_t)i;
        s->list_count += s->allowed[i] & (s->high[i] >= s->least);
    }
}

/* Shortens the list by intervals that have become narrower. Who is not on it has been shown to be out. */
static void list_again(const struct route_gate *r, struct route_scratch *s)
{
    size_t count = s->list_count;
    for (size_t i = 0; i < count; i++) s->found[i] = s->low[s->list[i]];
    s->least = r->k->route.kth(s->found, count, r->config->top_k);
    s->list_count = 0;
    for (size_t i = 0; i < count; i++) {
        uint16_t e = s->list[i];
        s->list[s->list_count] = e;
        s->list_count += s->high[e] >= s->least;
    }
}

/* Orders rows so that each is read, where it can be, by the slot whose stretch it stood in: slot k reads every slots-th
 * from the k-th on. */
static void deal(const struct reading_job *job, uint16_t *rows, size_t count)
{
    uint16_t dealt[EXPERTS_MAX], rest[EXPERTS_MAX];
    size_t at[THREADS_MAX], left = 0;
    for (size_t k = 0; k < job->slots; k++) at[k] = k;
    for (size_t i = 0; i < count; i++) {
        size_t k = 0;
        while (rows[i] >= stretch_begin(job, k + 1)) k++;
        if (at[k] < count) {
            dealt[at[k]] = rows[i];
            at[k] += job->slots;
        } else {
            rest[left++] = rows[i];
        }
    }
    for (size_t k = 0; k < job->slots; k++)
        for (; at[k] < count; at[k] += job->slots) dealt[at[k]] = rest[--left];
    memcpy(rows, dealt, count * sizeof *rows);
}

/* What is read first of a list that was just made: its top_k by lows exactly, for these will be chosen, most likely,
 * and it raises what the others have to reach; those by the second plane, where there is one. Many of them wait: after
 * the first have been read, fewer are left. */
static void plan_first(const struct reading_job *job, const struct route_scratch *ends, struct route_scratch *s)
{
    const struct route_gate *r = job->r;
    size_t likely = 0, top_k = r->config->top_k, rest = top_k, others = s->list_count - top_k;
    for (size_t i = 0; i < s->list_count; i++) {
        size_t e = s->list[i];
        if (ends->low[e] >= s->least && likely < top_k) s->unread[likely++] = (uint16_t)e;
        else s->unread[rest++] = (uint16_t)e;
    }
    bool two = job->form.form == ROUTE_PLANES;
    s->exact_count = top_k;
    s->second_count = two && others * row_bytes(r, READ_SECOND) <= AT_ONCE_BYTES ? others : 0;
    if (job->slots == 1 || job->reading == READ_INNER) return;
    deal(job, s->unread, s->exact_count);
    deal(job, s->unread + s->exact_count, s->second_count);
    if (s != job->s) return; /* what the caller will look at, of other threads' stretches */
    for (size_t i = 0; i < s->second_count; i++) {
        size_t e = s->unread[s->exact_count + i];
        fetch(&job->form.facts[e], 1);
        fetch(&s->reach[e], 1);
        fetch(&s->score[e], 1);
    }
}

static struct lists_job planned_lists(const struct route_gate *r, const float *x, struct route_scratch *s,
                                      const struct route_scratch *plan, size_t pieces)
{
    return (struct lists_job){ .r = r, .x = x, .s = s, .pieces = pieces,
                               .lists = { { READ_EXACT, plan->unread, plan->exact_count },
                                          { READ_SECOND, plan->unread + plan->exact_count, plan->second_count } } };
}

/* Scores and intervals by a factor, of all experts. */
static bool factor_ends(const struct route_gate *r, const float *x, const float *inner, struct route_scratch *s)
{
    const struct route *f = form_of(r);
    float x_norm = route_norm_above(r->k->vector.dot(x, x, r->width));
    if (!(x_norm < 0x1p60f)) return false;
    route_factor_scores(&r->k->route, f, inner, s->score);
    route_factor_bounds(f, x_norm, s->high);
    return set_ends(r, s, 0, r->config->count);
}

/* The list and the plan of a slot: each makes them for itself, from the same intervals, which is sooner than to wait
 * for those of another. False where there are none. */
static bool plan_slot(struct reading_job *job, size_t slot)
{
    const struct route_gate *r = job->r;
    struct route_scratch *s = &job->s[slot], *ends = job->reading == READ_INNER ? s : job->s;
    if (atomic_load_explicit(&job->bad, memory_order_relaxed)) return false;
    if (job->reading == READ_INNER && !factor_ends(r, s->input.x, job->s->inner, s)) return false;
    list_all(r, ends, s);
    if (s->list_count < r->config->top_k) return false; /* bounds that contradict themselves */
    plan_first(job, ends, s);
    s->listed = true;
    return true;
}

/* Reads what it can get of the router, waits for the others to have read the rest, which takes them as long as one
 * piece at most, and reads its share of the lists that follow from it: a decision wakes threads once. Where another
 * takes long, it ends; what it would have done is done in choose_lists. */
static void slot_task(void *arg, size_t slot, size_t thread)
{
    struct reading_job *job = arg;
    struct route_scratch *s = &job->s[slot];
    (void)thread;
    begin_stretch(job, slot);
    read_stretches(job, slot);
    if (!job->lists || !team_await_zero(&job->left) || !plan_slot(job, slot)) return;
    struct lists_job lists = planned_lists(job->r, job->x, job->s, s, job->slots);
    read_share(&lists, slot);
    s->share_read = true;
}

/* Reads the whole router; fills in the rest of `job`. */
static void read_all(struct reading_job *job, size_t count, team *t)
{
    size_t each = row_bytes(job->r, job->reading), bytes = each * count, units = ceil_div(count, PIECE_ROWS);
    size_t threads = t != NULL && bytes >= ALONE_BYTES ? team_threads(t) : 1;
    job->form = *form_of(job->r);
    job->count = count;
    job->slots = min_size(threads, units);
    job->piece_rows = job->slots > 1 ? round_up(ceil_div(PIECE_BYTES, each), PIECE_ROWS) : count;
    atomic_store_explicit(&job->left, count, memory_order_relaxed);
    for (size_t i = 0; i < job->slots; i++) atomic_store_explicit(&job->s[i].next, 0, memory_order_relaxed);
    for (size_t i = job->slots; t != NULL && i < team_threads(t); i++) job->s[i].input_made = false;
    job->s->tally.bytes += bytes;
    if (job->slots > 1) team_run(t, job->slots, slot_task, job); /* publishes the stretches */
    else slot_task(job, 0, 0);
}

/* ---- the choice by exact scores ---- */

/* From the chosen experts' scores to weights, in order of their numbers. With ROUTER_ALL `score` has every expert's and
 * is overwritten. */
static void weigh(const struct route_gate *r, float *score, const uint16_t *chosen, struct choice *out)
{
    const struct expert_config *x = r->config;
    const struct vector_kernels *v = &r->k->vector;
    float weights[EXPERTS_USED_MAX], ones[EXPERTS_USED_MAX];
    size_t k = x->top_k;
    if (x->router == ROUTER_ALL) v->softmax(score, x->count);
    for (size_t i = 0; i < k; i++) {
        out[i] = (struct choice){ .expert = chosen[i] };
        ones[i] = 1.0f;
        weights[i] = score[chosen[i]];
    }
    if (x->router == ROUTER_CHOSEN) v->softmax(weights, k);
    float sum = 1.0f;
    if (x->router == ROUTER_SIGMOID && x->renormalise) sum = v->dot(weights, ones, k) + 1e-20f;
    for (size_t i = 0; i < k; i++) out[i].weight = weights[i] / sum * x->scale;
}

/* The top_k of `count` experts by ranks that stand in order of theirs; ties go to the lowest number. experts NULL: 0,
 * 1, .. False, and any top_k, where ranks are no numbers. */
static bool best_of(const struct route_gate *r, const float *rank, const uint16_t *experts, size_t count,
                    uint16_t chosen[static EXPERTS_USED_MAX])
{
    size_t k = r->config->top_k, above = 0, taken = 0;
    float least = r->k->route.kth(rank, count, k);
    for (size_t i = 0; i < count; i++) above += rank[i] > least;
    size_t equal = k - min_size(above, k);
    for (size_t i = 0; i < count && taken < k; i++) {
        bool tie = (rank[i] == least) & (equal > 0);
        chosen[taken] = experts != NULL ? experts[i] : (uint16_t)i;
        taken += (rank[i] > least) | tie;
        equal -= tie;
    }
    for (size_t i = 0; taken < k && i < k; i++) chosen[i] = (uint16_t)i;
    return taken == k;
}

/* The rank of an expert whose score (the sigmoid of it, where the gate is one) is known. */
static float rank_of(const struct route_gate *r, const float *score, size_t e)
{
    return r->layer->choice_bias != NULL ? score[e] + r->layer->choice_bias[e] : score[e];
}

/* The `used` best groups of those in `open`; ties go to the lowest number. Others, and their experts, are closed. */
static void keep_groups(const struct expert_config *x, const float *group_rank, const bool *open, size_t used,
                        bool *allowed)
{
    size_t each = x->count / x->groups;
    for (size_t taken = 0; taken < used; taken++) {
        size_t best = SIZE_MAX;
        for (size_t g = 0; g < x->groups; g++)
            if (open[g] && !allowed[g * each] && (best == SIZE_MAX || group_rank[g] > group_rank[best])) best = g;
        for (size_t i = best * each; i < (best + 1) * each; i++) allowed[i] = true;
    }
}

/* The sum of a group's two largest values: its rank, or an end of it. Rounded once, so monotone in each. */
static float group_sum(const struct expert_config *x, const float *values, size_t group)
{
    size_t each = x->count / x->groups;
    float best = -__builtin_inff(), second = best;
    for (size_t i = group * each; i < (group + 1) * each; i++) {
        if (values[i] > best) {
            second = best;
            best = values[i];
        } else if (values[i] > second) {
            second = values[i];
        }
    }
    return best + second;
}

/* All experts by exact scores: what this file promises, and its fallback. */
static bool choose_by_all(const struct route_gate *r, const float *in, struct route_scratch *s, team *t,
                          struct choice *out)
{
    const struct expert_config *x = r->config;
    float group_rank[EXPERTS_MAX], *rank = s->low;
    bool open[EXPERTS_MAX];
    uint16_t chosen[EXPERTS_USED_MAX];
    struct reading_job job = { .r = r, .x = in, .s = s, .reading = READ_EXACT };
    read_all(&job, x->count, t);
    s->tally.shortlist = s->tally.rescored = x->count;
    bool finite = r->k->vector.all_finite(s->score, x->count);
    if (!finite) memset(s->score, 0, x->count * sizeof *s->score); /* the step ends with an error; until then what is */
    if (x->router == ROUTER_SIGMOID) r->k->vector.sigmoid(s->score, x->count); /* computed needs this model's shape */
    for (size_t i = 0; i < x->count; i++) rank[i] = rank_of(r, s->score, i);
    if (x->groups != x->groups_used) {
        for (size_t g = 0; g < x->groups; g++) {
            group_rank[g] = group_sum(x, rank, g);
            open[g] = true;
        }
        memset(s->allowed, 0, x->count * sizeof *s->allowed);
        keep_groups(x, group_rank, open, x->groups_used, s->allowed);
        for (size_t i = 0; i < x->count; i++) rank[i] = s->allowed[i] ? rank[i] : -__builtin_inff();
    }
    finite = best_of(r, rank, NULL, x->count, chosen) && finite;
    weigh(r, s->score, chosen, out);
    return finite;
}

/* An expert whose row was read: no interval is left. */
static void set_exact(const struct route_gate *r, struct route_scratch *s, size_t e)
{
    if (r->config->router == ROUTER_SIGMOID) r->k->vector.sigmoid(&s->score[e], 1);
    s->low[e] = s->high[e] = rank_of(r, s->score, e);
    s->exact[e] = true;
}

/* Those on the list that are not exact yet, to `unread`. */
static size_t list_unread(struct route_scratch *s)
{
    size_t count = 0;
    for (size_t i = 0; i < s->list_count; i++)
        if (!s->exact[s->list[i]]) s->unread[count++] = s->list[i];
    return count;
}

/* Reads their rows. */
static void make_exact(const struct route_gate *r, const float *in, struct route_scratch *s, team *t)
{
    struct rows_list exact = { READ_EXACT, s->unread, list_unread(s) };
    s->tally.rescored += exact.count;
    if (exact.count > 0) read_list(r, in, s, exact, t);
    for (size_t i = 0; i < exact.count; i++) set_exact(r, s, s->unread[i]);
}

/* ---- the choice by intervals: few stay ---- */

/* After the first look: the slots have read what plan_first asked for, or some of it. Narrows the list. False where a
 * bound is nonsense. */
static bool choose_lists(struct reading_job *job, team *t)
{
    const struct route_gate *r = job->r;
    struct route_scratch *s = job->s;
    size_t top_k = r->config->top_k;
    if (!s->listed && !plan_slot(job, 0)) return false;
    if (atomic_load(&job->bad)) return false;
    struct lists_job lists = planned_lists(r, job->x, s, s, job->slots);
    for (size_t i = 0; i < job->slots; i++)
        if (!s[i].share_read) share_task(&lists, i, 0);
    collect(&lists);
    memcpy(s->shortlist, s->list, s->list_count * sizeof *s->list);
    s->tally.bytes += lists_bytes(&lists);
    s->tally.shortlist = s->shortlist_count = s->list_count;
    s->tally.rescored = s->exact_count;
    for (size_t i = 0; i < s->exact_count; i++) set_exact(r, s, s->unread[i]);
    if (s->list_count == top_k) return true;
    struct rows_list second = lists.lists[1];
    if (second.count == 0) list_again(r, s);
    if (second.count == 0 && form_of(r)->form == ROUTE_PLANES) {
        second = (struct rows_list){ READ_SECOND, s->unread, list_unread(s) };
        if (second.count > 0) read_list(r, job->x, s, second, t);
    }
    s->tally.refined = second.count;
    for (size_t i = 0; i < second.count; i++) {
        size_t e = second.rows[i];
        route_bounds(form_of(r), &s->input, e, 1, true, s->reach + e, s->high + e);
        if (!set_ends(r, s, e, e + 1)) return false;
    }
    if (second.count > 0) list_again(r, s);
    return s->list_count >= top_k;
}

/* ---- groups ---- */

/* Adds the experts that can be among the two best of a group to the list. */
static void list_best_two(const struct expert_config *x, struct route_scratch *s, size_t group)
{
    size_t each = x->count / x->groups;
    float best = -__builtin_inff(), second = best;
    for (size_t i = group * each; i < (group + 1) * each; i++) {
        float low = s->low[i];
        if (low > best) {
            second = best;
            best = low;
        } else if (low > second) {
            second = low;
        }
    }
    for (size_t i = group * each; i < (group + 1) * each; i++)
        if (s->high[i] >= second) s->list[s->list_count++] = (uint16_t)i;
}

/* Decides which groups count, reading rows where intervals can not. A group is in for sure where fewer than
 * groups_used others can reach its low, out where groups_used others have a low above its high. */
static void decide_groups(const struct route_gate *r, const float *in, struct route_scratch *s, team *t)
{
    const struct expert_config *x = r->config;
    float low[EXPERTS_MAX], high[EXPERTS_MAX];
    bool open[EXPERTS_MAX];
    size_t each = x->count / x->groups, sure = 0;
    for (size_t g = 0; g < x->groups; g++) {
        low[g] = group_sum(x, s->low, g);
        high[g] = group_sum(x, s->high, g);
    }
    s->list_count = 0;
    memset(s->allowed, 0, x->count * sizeof *s->allowed);
    for (size_t g = 0; g < x->groups; g++) {
        size_t reach = 0, above = 0;
        for (size_t other = 0; other < x->groups; other++) {
            if (other == g) continue;
            reach += high[other] >= low[g];
            above += low[other] > high[g];
        }
        open[g] = above < x->groups_used && reach >= x->groups_used;
        if (reach < x->groups_used) {
            sure++;
            for (size_t i = g * each; i < (g + 1) * each; i++) s->allowed[i] = true;
        } else if (open[g]) {
            list_best_two(x, s, g);
        }
    }
    make_exact(r, in, s, t);
    for (size_t g = 0; g < x->groups; g++)
        if (open[g]) low[g] = group_sum(x, s->low, g); /* exact now: no other low of the group is above its best two */
    keep_groups(x, low, open, x->groups_used - sure, s->allowed);
}

/* ---- the choice by intervals ---- */

static bool choose_by_form(const struct route_gate *r, const float *in, struct route_scratch *s, team *t,
                           struct choice *out)
{
    const struct expert_config *x = r->config;
    const struct route *f = form_of(r);
    bool groups = x->groups != x->groups_used, factor = f->form == ROUTE_FACTOR;
    uint16_t chosen[EXPERTS_USED_MAX];
    struct reading_job job = { .r = r, .x = in, .s = s, .lists = !groups, .reading = READ_FIRST };
    if (groups && f->form == ROUTE_PLANES) job.reading = READ_BOTH;
    if (factor) job.reading = READ_INNER;
    if (factor) s->tally.bytes += x->count * f->rank * 2;
    read_all(&job, factor ? f->rank : x->count, t);
    if (!groups) {
        if (!choose_lists(&job, t)) return false;
    } else {
        if (atomic_load(&job.bad) || (factor && !factor_ends(r, s->input.x, s->inner, s))) return false;
        decide_groups(r, in, s, t);
        list_allowed(r, s);
        if (s->list_count < x->top_k) return false; /* bounds that contradict themselves */
        memcpy(s->shortlist, s->list, s->list_count * sizeof *s->list);
        s->tally.shortlist = s->shortlist_count = s->list_count;
    }
    make_exact(r, in, s, t);
    if (!r->k->vector.all_finite(s->low, x->count)) return false; /* an exact score that is not finite */
    for (size_t i = 0; i < s->list_count; i++) s->found[i] = s->low[s->list[i]];
    if (!best_of(r, s->found, s->list, s->list_count, chosen)) return false;
    weigh(r, s->score, chosen, out);
    return true;
}

bool route_choose(const struct route_gate *r, const float *x, struct route_scratch *s, team *t, struct choice *out)
{
    enum route_form form = form_of(r)->form;
    s->tally = (struct route_tally){ 0 };
    s->shortlist_count = 0;
    bool bounds = !r->full && r->config->router != ROUTER_ALL && form != ROUTE_NONE && form != ROUTE_BF16;
    uint32_t rest = bounds && r->rest != NULL ? atomic_load_explicit(r->rest, memory_order_relaxed) : 0;
    if (rest > 0) { /* two threads may count one decision: it changes no bit */
        atomic_store_explicit(r->rest, rest - 1, memory_order_relaxed);
        bounds = false;
    }
    if (!bounds) return choose_by_all(r, x, s, t, out);
    bool good = choose_by_form(r, x, s, t, out) || choose_by_all(r, x, s, t, out);
    if (r->rest != NULL && s->tally.bytes > row_bytes(r, READ_EXACT) * r->config->count)
        atomic_store_explicit(r->rest, REST_DECISIONS, memory_order_relaxed);
    return good;
}
