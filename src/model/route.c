/* Choosing experts: see route.h. */
#include "model/route.h"

#include "base/checked.h"

#include <string.h>

enum {
    REST_DECISIONS = 64,  /* after one that read more than the whole router: its neighbours will not be better */
    FOUND_MORE = 2,       /* two lists, each rounded up, cut into pieces */
    PIECES_EACH = 2,      /* of a router, for each thread: more would begin more often, fewer leave a slow one behind */
    TASK_BYTES = 1 << 15, /* least of rows that one task reads, where threads share a router */
    ALONE_BYTES = 1 << 15,  /* below, one thread has read it before another has woken */
    AHEAD_BYTES = 1 << 13,  /* of rows on their way into the cache */
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

/* ---- reading rows ---- */

/* One reading of many rows: of the whole router, or of two lists that jump, one of rows to be read exactly, one of
 * rows of the second plane. */
enum reading { READ_FIRST, READ_BOTH, READ_INNER, READ_SECOND, READ_EXACT };

struct rows_list {
    enum reading reading;
    const uint16_t *rows;
    size_t count, ahead; /* ahead: rows on their way into the cache */
};

struct reading_job {
    const struct route_gate *r;
    const float *x;
    struct route_scratch *s; /* one a thread; results go to the first */
    enum reading reading;
    size_t count, task_rows;
    struct rows_list lists[2];
    size_t pieces;
};

static const struct route *form_of(const struct route_gate *r)
{
    return &r->layer->route;
}

/* The input's codes, made by each thread for itself: sooner there than those of another core. */
static const struct route_input *own_input(const struct reading_job *job, size_t thread)
{
    struct route_scratch *s = &job->s[thread];
    if (!s->input_made) s->input_good = job->r->k->route.input(job->x, &s->input);
    s->input_made = true;
    return &s->input;
}

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

/* Rows first.. of the whole router. */
static void read_rows(const struct reading_job *job, size_t first, size_t count, size_t thread)
{
    const struct route_gate *r = job->r;
    const struct route *f = form_of(r);
    const struct route_kernels *k = &r->k->route;
    struct route_scratch *s = job->s;
    if (job->reading <= READ_BOTH) {
        const struct route_input *in = own_input(job, thread);
        route_scores(k, f, in, first, count, job->reading == READ_BOTH, s->score + first, s->reach + first);
    } else if (job->reading == READ_INNER) {
        k->int16_rows(f->inner + first * f->cols, count, f->cols, job->x, s->inner + first);
    } else {
        if (f->rows != NULL) k->bf16_rows(f->rows + first * r->width, count, r->width, job->x, s->score + first);
        for (size_t e = first; e < first + count; e++)
            s->score[e] = with_bias(r, e, f->rows != NULL ? s->score[e] : exact_row(r, job->x, e));
    }
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

static void fetch(const uint8_t *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + i, 0, 2);
}

/* A piece of the whole router. Its begin comes while the input's codes are made; from there on the processor foresees
 * what is read better than it can be told (measured on Zen 4: asking ahead by hand costs a tenth). */
static void piece_task(void *arg, size_t task, size_t thread)
{
    const struct reading_job *job = arg;
    bool codes = job->reading <= READ_BOTH; /* scales, and the second plane, stand elsewhere */
    size_t begin = task * job->task_rows, count = min_size(job->task_rows, job->count - begin);
    size_t each = codes ? route_groups(job->r->width) * ROUTE_GROUP : row_bytes(job->r, job->reading);
    fetch(rows_of(job->r, job->reading) + begin * each, min_size(AHEAD_BYTES, count * each));
    read_rows(job, begin, count, thread);
}

/* Lists jump, and no processor foresees where to: the next rows are asked for while one is computed. A piece has every
 * pieces-th row of both lists, and leaves what it finds in one place: lines that two cores write in turn would cost
 * more than the rows. */
static void list_task(void *arg, size_t piece, size_t thread)
{
    const struct reading_job *job = arg;
    const struct route *f = form_of(job->r);
    float *found = job->s[piece].found;
    for (size_t l = 0; l < 2; l++) {
        const struct rows_list *list = &job->lists[l];
        const uint8_t *rows = rows_of(job->r, list->reading);
        size_t each = row_bytes(job->r, list->reading), step = job->pieces, ahead = list->ahead * step;
        for (size_t i = piece; i < min_size(piece + ahead, list->count); i += step)
            fetch(rows + list->rows[i] * each, each);
        for (size_t i = piece; i < list->count; i += step) {
            size_t e = list->rows[i];
            if (i + ahead < list->count) fetch(rows + list->rows[i + ahead] * each, each);
            if (list->reading == READ_EXACT) *found++ = exact_row(job->r, job->x, e);
            else *found++ = route_second(&job->r->k->route, f, own_input(job, thread), e);
        }
    }
}

/* From where list_task left it: exact scores, and scores by both planes. */
static void collect(const struct reading_job *job)
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

/* A short list is read where it is: waking a thread costs as much. */
static void read_lists(const struct route_gate *r, const float *x, struct route_scratch *s, struct rows_list exact,
                       struct rows_list second, team *t)
{
    struct reading_job job = { .r = r, .x = x, .s = s, .lists = { exact, second } };
    size_t bytes = 0;
    for (size_t l = 0; l < 2; l++) {
        size_t each = row_bytes(r, job.lists[l].reading);
        job.lists[l].ahead = max_size(AHEAD_BYTES / each, 1);
        bytes += each * job.lists[l].count;
    }
    s->tally.bytes += bytes;
    job.pieces = t != NULL && bytes >= ALONE_BYTES ? team_threads(t) : 1;
    if (job.pieces > 1) team_run(t, job.pieces, list_task, &job);
    else list_task(&job, 0, 0);
    collect(&job);
}

/* The whole router, in pieces that are long enough for the processor to see where reading goes. */
static void read_all(const struct route_gate *r, const float *x, struct route_scratch *s, enum reading reading,
                     size_t count, team *t)
{
    size_t bytes = row_bytes(r, reading) * count, threads = t != NULL && bytes >= ALONE_BYTES ? team_threads(t) : 1;
    size_t pieces = max_size(min_size(bytes / TASK_BYTES, PIECES_EACH * threads), threads);
    struct reading_job job = { .r = r, .x = x, .s = s, .reading = reading, .count = count, .task_rows = count };
    s->tally.bytes += bytes;
    if (threads == 1) {
        piece_task(&job, 0, 0);
        return;
    }
    job.task_rows = round_up(ceil_div(count, pieces), 16); /* scores of a piece fill lines of their own */
    team_run(t, ceil_div(count, job.task_rows), piece_task, &job);
}

/* ---- the choice by exact scores ---- */

/* From the chosen experts' scores to weights, in order of their numbers. With ROUTER_ALL `score` has every expert's and
 * is overwritten. */
static void weigh(const struct route_gate *r, float *score, const bool *chosen, struct choice *out)
{
    const struct expert_config *x = r->config;
    const struct vector_kernels *v = &r->k->vector;
    float weights[EXPERTS_USED_MAX], ones[EXPERTS_USED_MAX];
    size_t k = 0;
    if (x->router == ROUTER_ALL) v->softmax(score, x->count);
    for (size_t i = 0; i < x->count; i++) {
        if (!chosen[i]) continue;
        out[k] = (struct choice){ .expert = i };
        ones[k] = 1.0f;
        weights[k++] = score[i];
    }
    if (x->router == ROUTER_CHOSEN) v->softmax(weights, k);
    float sum = 1.0f;
    if (x->router == ROUTER_SIGMOID && x->renormalise) sum = v->dot(weights, ones, k) + 1e-20f;
    for (size_t i = 0; i < k; i++) out[i].weight = weights[i] / sum * x->scale;
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
    bool open[EXPERTS_MAX], *kept = s->exact;
    read_all(r, in, s, READ_EXACT, x->count, t);
    s->tally.shortlist = s->tally.rescored = x->count;
    bool finite = r->k->vector.all_finite(s->score, x->count);
    if (!finite) memset(s->score, 0, x->count * sizeof *s->score); /* the step ends with an error; until then what is */
    if (x->router == ROUTER_SIGMOID) r->k->vector.sigmoid(s->score, x->count); /* computed needs this model's shape */
    for (size_t i = 0; i < x->count; i++) {
        rank[i] = rank_of(r, s->score, i);
        s->allowed[i] = x->groups == x->groups_used;
        kept[i] = false;
    }
    if (x->groups != x->groups_used) {
        for (size_t g = 0; g < x->groups; g++) {
            group_rank[g] = group_sum(x, rank, g);
            open[g] = true;
        }
        keep_groups(x, group_rank, open, x->groups_used, s->allowed);
    }
    for (size_t k = 0; k < x->top_k; k++) {
        size_t best = SIZE_MAX;
        for (size_t i = 0; i < x->count; i++)
            if (s->allowed[i] && !kept[i] && (best == SIZE_MAX || rank[i] > rank[best])) best = i;
        kept[best] = true;
    }
    weigh(r, s->score, kept, out);
    return finite;
}

/* ---- intervals ---- */

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

/* An expert whose row was read: no interval is left. */
static void set_exact(const struct route_gate *r, struct route_scratch *s, size_t e)
{
    if (r->config->router == ROUTER_SIGMOID) r->k->vector.sigmoid(&s->score[e], 1);
    s->low[e] = s->high[e] = rank_of(r, s->score, e);
    s->exact[e] = true;
}

/* The intervals of the scores of experts begin..end-1, whose bounds stand in `high`. */
static void set_ends(struct route_scratch *s, size_t begin, size_t end)
{
    for (size_t e = begin; e < end; e++) {
        float bound = s->high[e];
        s->low[e] = s->score[e] - bound;
        s->high[e] = s->score[e] + bound;
        s->exact[e] = false;
    }
}

/* Intervals of all experts; false where the input or a bound is not finite. */
static bool first_look(const struct route_gate *r, const float *in, struct route_scratch *s, bool both, team *t)
{
    const struct route *f = form_of(r);
    const struct reading_job job = { .r = r, .x = in, .s = s };
    size_t n = r->config->count;
    fetch((const uint8_t *)f->facts, n * sizeof *f->facts);
    if (f->form == ROUTE_FACTOR) {
        float x_norm = route_norm_above(r->k->vector.dot(in, in, r->width));
        if (!(x_norm < 0x1p60f)) return false;
        fetch((const uint8_t *)f->outer, n * f->rank * 2);
        read_all(r, in, s, READ_INNER, f->rank, t);
        route_factor_scores(&r->k->route, f, s->inner, s->score);
        s->tally.bytes += n * f->rank * 2;
        route_factor_bounds(f, x_norm, s->high);
        set_ends(s, 0, n);
        return rank_ends(r, s, 0, n);
    }
    for (size_t i = 0; i < (t != NULL ? team_threads(t) : 1); i++) s[i].input_made = false;
    read_all(r, in, s, both ? READ_BOTH : READ_FIRST, n, t);
    const struct route_input *input = own_input(&job, 0); /* made above, but for a thread that came too late */
    if (!s->input_good) return false;
    route_bounds(f, input, 0, n, both, s->reach, s->high);
    set_ends(s, 0, n);
    return rank_ends(r, s, 0, n);
}

/* The k-th largest of the allowed experts' lows; k of them exist. */
static float threshold(const struct expert_config *x, const float *low, const bool *allowed)
{
    float top[EXPERTS_USED_MAX] = { 0 };
    size_t held = 0;
    for (size_t i = 0; i < x->count; i++) {
        if (!allowed[i] || (held == x->top_k && !(low[i] > top[held - 1]))) continue;
        size_t at = held < x->top_k ? held++ : held - 1;
        for (; at > 0 && top[at - 1] < low[i]; at--) top[at] = top[at - 1];
        top[at] = low[i];
    }
    return top[x->top_k - 1];
}

/* Experts that may still be among the top_k, in order. */
static void list_candidates(const struct expert_config *x, struct route_scratch *s)
{
    s->least = threshold(x, s->low, s->allowed);
    s->list_count = 0;
    for (size_t i = 0; i < x->count; i++) { /* without a branch: who is in can not be foreseen */
        s->list[s->list_count] = (uint16_t)i;
        s->list_count += s->allowed[i] & (s->high[i] >= s->least);
    }
}

/* Reads the rows of those on the list that are not exact yet. */
static void make_exact(const struct route_gate *r, const float *in, struct route_scratch *s, team *t)
{
    struct rows_list exact = { .reading = READ_EXACT, .rows = s->unread };
    for (size_t i = 0; i < s->list_count; i++)
        if (!s->exact[s->list[i]]) s->unread[exact.count++] = s->list[i];
    s->tally.rescored += exact.count;
    if (exact.count > 0) read_lists(r, in, s, exact, (struct rows_list){ 0 }, t);
    for (size_t i = 0; i < exact.count; i++) set_exact(r, s, s->unread[i]);
}

/* Orders `unread` as the list that was just made, with its top_k by lows first: these will be chosen, most likely. */
static void likely_first(const struct expert_config *x, struct route_scratch *s)
{
    size_t likely = 0, rest = x->top_k;
    for (size_t i = 0; i < s->list_count; i++) {
        size_t e = s->list[i];
        if (s->low[e] >= s->least && likely < x->top_k) s->unread[likely++] = (uint16_t)e;
        else s->unread[rest++] = (uint16_t)e;
    }
}

/* Narrows the list: the likely ones are read exactly, which raises what the others have to reach, and those that still
 * may are refined by the second plane, where there is one. Few rows are not worth a turn of their own: then both happen
 * at once. False where a bound is nonsense. */
static bool narrow(const struct route_gate *r, const float *in, struct route_scratch *s, team *t)
{
    const struct expert_config *x = r->config;
    bool two = form_of(r)->form == ROUTE_PLANES;
    likely_first(x, s);
    size_t others = s->list_count - x->top_k;
    struct rows_list exact = { .reading = READ_EXACT, .rows = s->unread, .count = x->top_k };
    struct rows_list second = { .reading = READ_SECOND, .rows = s->unread + x->top_k };
    bool at_once = two && others * row_bytes(r, READ_SECOND) <= AT_ONCE_BYTES;
    if (at_once) second.count = others;
    read_lists(r, in, s, exact, second, t);
    s->tally.rescored += exact.count;
    for (size_t i = 0; i < exact.count; i++) set_exact(r, s, exact.rows[i]);
    if (two && !at_once) {
        list_candidates(x, s);
        for (size_t i = 0; i < s->list_count; i++)
            if (!s->exact[s->list[i]]) s->unread[x->top_k + second.count++] = s->list[i];
        exact.count = 0;
        if (second.count > 0) read_lists(r, in, s, exact, second, t);
    }
    s->tally.refined += second.count;
    for (size_t i = 0; i < second.count; i++) {
        size_t e = second.rows[i];
        route_bounds(form_of(r), &s->input, e, 1, true, s->reach + e, s->high + e);
        set_ends(s, e, e + 1);
        if (!rank_ends(r, s, e, e + 1)) return false;
    }
    list_candidates(x, s);
    return s->list_count >= x->top_k;
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

/* top_k of the list, all exact. */
static void choose_from_list(const struct route_gate *r, struct route_scratch *s, struct choice *out)
{
    const struct expert_config *x = r->config;
    bool *kept = s->allowed;
    memset(kept, 0, x->count * sizeof *kept);
    for (size_t k = 0; k < x->top_k; k++) {
        size_t best = SIZE_MAX;
        for (size_t i = 0; i < s->list_count; i++) {
            size_t e = s->list[i];
            if (!kept[e] && (best == SIZE_MAX || s->low[e] > s->low[best])) best = e;
        }
        kept[best] = true;
    }
    weigh(r, s->score, kept, out);
}

static bool choose_by_form(const struct route_gate *r, const float *in, struct route_scratch *s, team *t,
                           struct choice *out)
{
    const struct expert_config *x = r->config;
    bool groups = x->groups != x->groups_used;
    if (!first_look(r, in, s, groups && form_of(r)->form == ROUTE_PLANES, t)) return false;
    if (groups) decide_groups(r, in, s, t);
    else memset(s->allowed, 1, x->count * sizeof *s->allowed);
    list_candidates(x, s);
    if (s->list_count < x->top_k) return false; /* bounds that contradict themselves */
    memcpy(s->shortlist, s->list, s->list_count * sizeof *s->list);
    s->tally.shortlist = s->shortlist_count = s->list_count;
    if (!groups && s->list_count > x->top_k && !narrow(r, in, s, t)) return false;
    make_exact(r, in, s, t);
    if (!r->k->vector.all_finite(s->low, x->count)) return false; /* an exact score that is not finite */
    choose_from_list(r, s, out);
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
