/* Choosing experts: see route.h. */
#include "model/route.h"

#include "base/checked.h"

#include <string.h>

enum {
    TASK_BYTES = 1 << 14, /* of rows that one task reads, where threads share a decision */
    ALONE_BYTES = 1 << 17 /* below, one thread has read it before another has woken */
};

/* ---- memory ---- */

size_t route_room_bytes(size_t experts, size_t width)
{
    return route_input_bytes(width) + 5 * round_up(experts * sizeof(float), 64) + 3 * round_up(experts * 2, 64) +
           2 * round_up(experts * sizeof(bool), 64);
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
    s->list = take(&at, experts * 2);
    s->unread = take(&at, experts * 2);
    s->shortlist = take(&at, experts * 2);
    s->exact = take(&at, experts * sizeof(bool));
    s->allowed = take(&at, experts * sizeof(bool));
}

/* ---- reading rows ---- */

/* One reading of many rows: of the whole router (list NULL: rows first..), or of those on the list. */
enum reading { READ_FIRST, READ_BOTH, READ_INNER, READ_SECOND, READ_EXACT };

struct reading_job {
    const struct route_gate *r;
    const float *x;
    struct route_scratch *s;
    enum reading reading;
    const uint16_t *list;
    size_t count, task_rows;
};

static const struct route *form_of(const struct route_gate *r)
{
    return &r->layer->route;
}

static void read_exact(const struct route_gate *r, const float *x, float *score, size_t first, size_t count)
{
    const struct route *f = form_of(r);
    if (f->rows != NULL) r->k->route.bf16_rows(f->rows + first * r->width, count, r->width, x, score + first);
    for (size_t e = first; e < first + count; e++) {
        if (f->rows == NULL) score[e] = r->k->vector.dot(r->layer->router + e * r->width, x, r->width);
        if (r->layer->router_bias != NULL) score[e] = score[e] + r->layer->router_bias[e];
    }
}

static void read_rows(const struct reading_job *job, size_t first, size_t count)
{
    const struct route *f = form_of(job->r);
    const struct route_kernels *k = &job->r->k->route;
    struct route_scratch *s = job->s;
    switch (job->reading) {
    case READ_FIRST:
    case READ_BOTH:
        route_scores(k, f, &s->input, first, count, job->reading == READ_BOTH, s->score + first, s->reach + first);
        break;
    case READ_INNER:
        k->bf16_rows(f->inner + first * f->cols, count, f->cols, job->x, s->inner + first);
        break;
    case READ_SECOND: s->score[first] = route_refine(k, f, &s->input, first, s->score[first]); break;
    case READ_EXACT: read_exact(job->r, job->x, s->score, first, count); break;
    }
}

static void reading_task(void *arg, size_t task, size_t thread)
{
    const struct reading_job *job = arg;
    size_t begin = task * job->task_rows, end = min_size(begin + job->task_rows, job->count);
    (void)thread;
    if (job->list == NULL) read_rows(job, begin, end - begin);
    else
        for (size_t i = begin; i < end; i++) read_rows(job, job->list[i], 1);
}

static size_t row_bytes(const struct route_gate *r, enum reading reading)
{
    const struct route *f = form_of(r);
    size_t codes = route_groups(r->width) * ROUTE_GROUP, scales = route_scale_stride(r->width) * 2;
    const size_t bytes[] = { codes + scales, 2 * codes + scales, 2 * r->width, codes,
                             r->width * (f->rows != NULL ? 2 : sizeof(float)) };
    return bytes[reading];
}

/* A list that is short is read where it is: waking a thread costs as much. */
static void read_all(const struct route_gate *r, const float *x, struct route_scratch *s, enum reading reading,
                     const uint16_t *list, size_t count, team *t)
{
    size_t each = row_bytes(r, reading), rows = max_size(TASK_BYTES / each, 1);
    struct reading_job job = { .r = r, .x = x, .s = s, .reading = reading, .list = list, .count = count,
                               .task_rows = round_up(rows, list != NULL ? 1 : ROUTE_ROWS_AT_ONCE) };
    s->tally.bytes += each * count;
    if (t != NULL && each * count >= ALONE_BYTES) {
        team_run(t, ceil_div(count, job.task_rows), reading_task, &job);
    } else {
        job.task_rows = count;
        if (count > 0) reading_task(&job, 0, 0);
    }
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
static bool choose_by_all(const struct route_gate *r, const float *in, struct route_scratch *s, team *t, struct choice *out)
{
    const struct expert_config *x = r->config;
    float group_rank[EXPERTS_MAX], *rank = s->low;
    bool open[EXPERTS_MAX], *kept = s->exact;
    read_all(r, in, s, READ_EXACT, NULL, x->count, t);
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

/* Ends of a rank from ends of a score, in place: the same f32 operations as on a score, of which additions are
 * monotone and the sigmoid nearly so. */
static void rank_ends(const struct route_gate *r, size_t e, float *low, float *high)
{
    if (r->layer->router_bias != NULL) {
        *low = *low + r->layer->router_bias[e];
        *high = *high + r->layer->router_bias[e];
    }
    if (r->config->router == ROUTER_SIGMOID) {
        float ends[2] = { *low, *high };
        r->k->vector.sigmoid(ends, 2);
        *low = ends[0] * (1.0f - SIGMOID_SLACK) - 0x1p-126f; /* where it underflows, slack is absolute */
        *high = ends[1] * (1.0f + SIGMOID_SLACK) + 0x1p-126f;
    }
    if (r->layer->choice_bias != NULL) {
        *low = *low + r->layer->choice_bias[e];
        *high = *high + r->layer->choice_bias[e];
    }
}

/* An expert whose row was read: no interval is left. */
static void set_exact(const struct route_gate *r, struct route_scratch *s, size_t e)
{
    if (r->config->router == ROUTER_SIGMOID) r->k->vector.sigmoid(&s->score[e], 1);
    s->low[e] = s->high[e] = rank_of(r, s->score, e);
    s->exact[e] = true;
}

/* False where the ends are no interval of finite numbers: the rest of this file counts on it. */
static bool set_interval(const struct route_gate *r, struct route_scratch *s, size_t e, float bound)
{
    float low = s->score[e] - bound, high = s->score[e] + bound;
    rank_ends(r, e, &low, &high);
    s->low[e] = low;
    s->high[e] = high;
    s->exact[e] = false;
    return low >= -0x1p120f && low <= high && high <= 0x1p120f;
}

/* Intervals of all experts; false where the input or a bound is not finite. */
static bool first_look(const struct route_gate *r, const float *in, struct route_scratch *s, bool both, team *t)
{
    const struct route *f = form_of(r);
    size_t n = r->config->count;
    bool good = true;
    if (f->form == ROUTE_FACTOR) {
        float x_norm = route_norm_above(r->k->vector.dot(in, in, r->width));
        if (!(x_norm < 0x1p60f)) return false;
        read_all(r, in, s, READ_INNER, NULL, f->rank, t);
        float y_norm = route_norm_above(r->k->vector.dot(s->inner, s->inner, f->rank));
        r->k->route.bf16_rows(f->outer, n, f->rank, s->inner, s->score);
        s->tally.bytes += n * f->rank * 2;
        for (size_t e = 0; e < n; e++) good &= set_interval(r, s, e, route_factor_bound(f, e, x_norm, y_norm));
    } else {
        if (!r->k->route.input(in, &s->input)) return false;
        read_all(r, in, s, both ? READ_BOTH : READ_FIRST, NULL, n, t);
        for (size_t e = 0; e < n; e++) good &= set_interval(r, s, e, route_bound(f, &s->input, e, s->reach[e], both));
    }
    return good;
}

/* The k-th largest of the allowed experts' lows; k of them exist. */
static float threshold(const struct expert_config *x, const float *low, const bool *allowed)
{
    float top[EXPERTS_USED_MAX];
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
    float least = threshold(x, s->low, s->allowed);
    s->list_count = 0;
    for (size_t i = 0; i < x->count; i++)
        if (s->allowed[i] && s->high[i] >= least) s->list[s->list_count++] = (uint16_t)i;
}

/* Reads the rows of those on the list that are not exact yet. */
static void make_exact(const struct route_gate *r, const float *in, struct route_scratch *s, team *t)
{
    size_t count = 0;
    for (size_t i = 0; i < s->list_count; i++)
        if (!s->exact[s->list[i]]) s->unread[count++] = s->list[i];
    s->tally.rescored += count;
    read_all(r, in, s, READ_EXACT, s->unread, count, t);
    for (size_t i = 0; i < count; i++) set_exact(r, s, s->unread[i]);
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
    bool groups = x->groups != x->groups_used, two = form_of(r)->form == ROUTE_PLANES;
    if (!first_look(r, in, s, two && groups, t)) return false;
    if (groups) decide_groups(r, in, s, t);
    else memset(s->allowed, 1, x->count * sizeof *s->allowed);
    list_candidates(x, s);
    if (s->list_count < x->top_k) return false; /* bounds that contradict themselves */
    memcpy(s->shortlist, s->list, s->list_count * sizeof *s->list);
    s->tally.shortlist = s->shortlist_count = s->list_count;
    if (two && !groups) {
        s->tally.refined = s->list_count;
        read_all(r, in, s, READ_SECOND, s->list, s->list_count, t);
        for (size_t i = 0; i < s->list_count; i++) {
            size_t e = s->list[i];
            if (!set_interval(r, s, e, route_bound(form_of(r), &s->input, e, s->reach[e], true))) return false;
        }
        list_candidates(x, s);
        if (s->list_count < x->top_k) return false;
    }
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
    return (bounds && choose_by_form(r, x, s, t, out)) || choose_by_all(r, x, s, t, out);
}
