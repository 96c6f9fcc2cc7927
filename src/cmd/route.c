/* hearth route: how the routers of a sparse model are read. A text (or, without one, ids drawn from the vocabulary)
 * goes through the model; each layer's decisions are counted, the inputs of a few tokens are kept, and on these the full
 * router and its second form are timed in turn, layer after layer, as a token meets them. */
#include "cmd/experts.h"
#include "cmd/rows.h"

#include "base/checked.h"
#include "base/limits.h"
#include "base/prng.h"
#include "format/json.h"
#include "kernels/route_pack.h"
#include "model/spectrum.h"

#include <stdio.h>
#include <stdlib.h>

enum { KEPT_TOK = 8, ROUNDS = 9 };

struct route_options {
    const char *text, *svg;
    size_t tokens;
    bool json;
};

static const struct option ROWS[] = {
    { "--text", "FILE", OPTION_TEXT, offsetof(struct route_options, text), 0, 0, NULL, NULL,
      "what the model reads; else random tokens" },
    { "-n", "N", OPTION_COUNT, offsetof(struct route_options, tokens), KEPT_TOK, 4096, NULL, "128",
      "tokens of it" },
    { "--svg", "FILE", OPTION_TEXT, offsetof(struct route_options, svg), 0, 0, NULL, NULL,
      "the spectra of all layers as a picture" },
    { "--json", NULL, OPTION_FLAG, offsetof(struct route_options, json), 0, 0, NULL, NULL, "one object" },
};

/* ORDER route_form */
static const char *const FORMS_NAMED[ROUTE_FORMS] = { "rows", "bf16", "planes", "plane+bf16", "factor" };

struct layer_report {
    bool there;
    uint64_t decisions, alone, shortlist, refined, rescored;
    double bytes;
    double *values; /* experts: the spectrum */
    double form_s, full_s; /* of one decision */
};

struct report {
    struct opened *o;
    struct layer_report *layers;
    float *inputs; /* layers x KEPT_TOK x width */
    size_t *kept;  /* layers */
};

static void watch(void *arg, const struct expert_event *e)
{
    struct report *r = arg;
    const struct hyper *h = &r->o->model.hyper;
    struct layer_report *l = &r->layers[e->layer];
    for (size_t t = 0; t < e->token_count; t++) {
        l->decisions++;
        l->alone += e->tallies[t].rescored == h->experts.top_k;
        l->shortlist += e->tallies[t].shortlist;
        l->refined += e->tallies[t].refined;
        l->rescored += e->tallies[t].rescored;
        l->bytes += (double)e->tallies[t].bytes;
        if (r->kept[e->layer] == KEPT_TOK) continue;
        memcpy(r->inputs + (e->layer * KEPT_TOK + r->kept[e->layer]++) * h->width, e->inputs + t * h->width,
               h->width * sizeof(float));
    }
}

static bool nothing(void *arg, const graph *g, size_t first, size_t count, err *e)
{
    (void)arg, (void)g, (void)first, (void)count, (void)e;
    return true;
}

/* The ids: of the text, or any. */
static bool make_ids(struct opened *o, const struct route_options *set, int32_t **ids, size_t *count, err *e)
{
    view text;
    *count = set->tokens;
    if (set->text != NULL) {
        if (o->model.tokenizer == NULL) return fail(e, ERR_MISSING, ERR_NO_OFFSET, "%s: holds no vocabulary", o->path);
        if (!text_read(set->text, &o->arena, &text, e) ||
            !ids_of_prompt(o->model.tokenizer, text, false, &o->arena, ids, count, e))
            return false;
        *count = min_size(*count, set->tokens);
        return *count >= KEPT_TOK ||
               fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: %zu tokens, at least %d are needed", set->text, *count, KEPT_TOK);
    }
    *ids = ARENA_ARRAY(&o->arena, int32_t, *count, "token ids", e);
    for (size_t i = 0; *ids != NULL && i < *count; i++)
        (*ids)[i] = (int32_t)(prng_u32(1, 1, i) % o->model.hyper.vocab);
    return *ids != NULL;
}

static bool run_model(struct report *r, const struct route_options *set, const struct compute_options *c, err *e)
{
    struct opened *o = r->o;
    struct rows rows;
    int32_t *ids;
    size_t count;
    if (!make_ids(o, set, &ids, &count, e) || !rows_new(&rows, o, max_size(count, c->ctx), c->chunk, e)) return false;
    graph_watch(rows.graph, watch, r);
    bool good = rows_compute(&rows, ids, count, count - 1, nothing, NULL, e);
    rows_free(&rows);
    return good;
}

/* ---- times ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* All layers once with one kept token each; adds each layer's time at [round]. */
static void time_round(const struct report *r, struct route_scratch *s, bool full, size_t round, double *out)
{
    const model *m = &r->o->model;
    struct choice choices[EXPERTS_USED_MAX];
    for (size_t l = 0; l < m->hyper.layers; l++) {
        if (!r->layers[l].there || r->kept[l] == 0) continue;
        struct layer plain = m->layers[l];
        if (full) plain.route = (struct route){ 0 };
        struct route_gate gate = { .config = &m->hyper.experts, .k = &r->o->kernels, .layer = &plain,
                                   .width = m->hyper.width };
        const float *x = r->inputs + (l * KEPT_TOK + round % r->kept[l]) * m->hyper.width;
        double begin = clock_seconds();
        route_choose(&gate, x, s, r->o->team, choices);
        out[l * ROUNDS + round] = clock_seconds() - begin;
    }
}

static bool time_layers(struct report *r, err *e)
{
    const struct hyper *h = &r->o->model.hyper;
    arena *a = &r->o->arena;
    size_t threads = team_threads(r->o->team);
    double *times[2] = { ARENA_ARRAY(a, double, h->layers * ROUNDS, "times", e),
                         ARENA_ARRAY(a, double, h->layers * ROUNDS, "times", e) };
    struct route_scratch *s = ARENA_ARRAY(a, struct route_scratch, threads, "routing", e);
    if (times[0] == NULL || times[1] == NULL || s == NULL) return false;
    for (size_t i = 0; i < threads; i++) {
        void *room = arena_take(a, route_room_bytes(h->experts.count, h->width), 1, 64, "routing", e);
        if (room == NULL) return false;
        route_scratch_lay(&s[i], h->experts.count, h->width, room);
    }
    for (size_t round = 0; round < ROUNDS; round++) {
        time_round(r, s, true, round, times[1]);
        time_round(r, s, false, round, times[0]);
    }
    for (size_t l = 0; l < h->layers; l++) {
        for (size_t i = 0; i < 2; i++) qsort(times[i] + l * ROUNDS, ROUNDS, sizeof(double), by_size);
        r->layers[l].form_s = times[0][l * ROUNDS + ROUNDS / 2];
        r->layers[l].full_s = times[1][l * ROUNDS + ROUNDS / 2];
    }
    return true;
}

/* ---- what is said ---- */

static size_t form_bytes(const struct hyper *h, const struct layer *w)
{
    struct route_shape s = { w->route.form, h->experts.count, h->width, max_size(w->route.rank, 1) };
    return w->route.form == ROUTE_NONE ? 0 : route_bytes(&s);
}

static void print_text(const struct report *r)
{
    const struct hyper *h = &r->o->model.hyper;
    double full_bytes = (double)(h->experts.count * h->width * sizeof(float)), form = 0, full = 0;
    printf("router  %zu experts of width %zu, %zu chosen: %.0f KiB a layer as f32\n", h->experts.count, h->width,
           h->experts.top_k, full_bytes / 1024);
    printf("\nlayer  form        KiB   rank  90%%  99%%   left  refined  exact  alone   read     us  full us\n");
    for (size_t i = 0; i < h->layers; i++) {
        const struct layer_report *l = &r->layers[i];
        double n = (double)max_size((size_t)l->decisions, 1);
        if (!l->there) continue;
        printf("%5zu  %-10s %5.0f  %5.1f %4zu %4zu  %5.1f  %7.1f  %5.1f  %4.0f%%  %4.0f%%  %5.1f  %7.1f\n", i,
               FORMS_NAMED[r->o->model.layers[i].route.form],
               (double)form_bytes(h, &r->o->model.layers[i]) / 1024, spectrum_rank(l->values, h->experts.count),
               spectrum_holds(l->values, h->experts.count, 0.9), spectrum_holds(l->values, h->experts.count, 0.99),
               (double)l->shortlist / n, (double)l->refined / n, (double)l->rescored / n, 100 * (double)l->alone / n,
               100 * l->bytes / n / full_bytes, l->form_s * 1e6, l->full_s * 1e6);
        form += l->form_s;
        full += l->full_s;
    }
    printf("\nall layers of a token  %.3f ms, the full router %.3f ms\n", form * 1e3, full * 1e3);
    printf("rank: directions weighed by their squares; 90%%, 99%%: how many hold so much of them. left: experts that\n"
           "could still be chosen after the first look. alone: no row but the chosen ones was read exactly.\n");
}

static void write_layer(json_writer *w, const struct report *r, size_t i)
{
    const struct hyper *h = &r->o->model.hyper;
    const struct layer_report *l = &r->layers[i];
    double n = (double)max_size((size_t)l->decisions, 1);
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        { "effective_rank", spectrum_rank(l->values, h->experts.count) },
        { "shortlist", (double)l->shortlist / n },
        { "refined", (double)l->refined / n },
        { "rescored", (double)l->rescored / n },
        { "decided_alone", (double)l->alone / n },
        { "bytes_read", l->bytes / n },
        { "us", l->form_s * 1e6 },
        { "full_us", l->full_s * 1e6 },
    };
    json_begin_object(w);
    json_key(w, "layer");
    json_uint(w, i);
    json_key(w, "form");
    json_text(w, FORMS_NAMED[r->o->model.layers[i].route.form]);
    json_key(w, "form_bytes");
    json_uint(w, form_bytes(h, &r->o->model.layers[i]));
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
        json_key(w, numbers[k].name);
        json_double(w, numbers[k].value);
    }
    json_key(w, "singular_values");
    json_begin_array(w);
    for (size_t k = 0; k < h->experts.count; k++) json_double(w, (double)(float)l->values[k]);
    json_end_array(w);
    json_end_object(w);
}

static bool print_json(const struct report *r, err *e)
{
    const struct hyper *h = &r->o->model.hyper;
    json_writer w;
    view text;
    json_writer_start(&w, &r->o->arena, (size_t)1 << 26, e);
    json_begin_object(&w);
    json_key(&w, "experts");
    json_uint(&w, h->experts.count);
    json_key(&w, "top_k");
    json_uint(&w, h->experts.top_k);
    json_key(&w, "width");
    json_uint(&w, h->width);
    json_key(&w, "router_bytes");
    json_uint(&w, h->experts.count * h->width * sizeof(float));
    json_key(&w, "layers");
    json_begin_array(&w);
    for (size_t i = 0; i < h->layers; i++)
        if (r->layers[i].there) write_layer(&w, r, i);
    json_end_array(&w);
    json_end_object(&w);
    if (!json_done(&w, &text)) return false;
    printf("%.*s\n", (int)text.len_bytes, (const char *)text.ptr);
    return true;
}

/* Spectra as a heat map: a row a layer, a column a singular value over the layer's largest. */
static bool draw(const struct report *r, const char *path, err *e)
{
    const struct hyper *h = &r->o->model.hyper;
    double *values = ARENA_ARRAY(&r->o->arena, double, h->layers * h->experts.count, "picture", e);
    if (values == NULL) return false;
    for (size_t l = 0; l < h->layers; l++)
        for (size_t i = 0; r->layers[l].there && i < h->experts.count; i++)
            values[l * h->experts.count + i] =
                r->layers[l].values[0] > 0 ? r->layers[l].values[i] / r->layers[l].values[0] : 0;
    return heat_write(path, "singular values of the routers, by layer: darkest the layer's largest", "layer", values,
                      h->layers, h->experts.count, e);
}

static bool route(struct opened *o, const struct compute_options *c, const struct route_options *set, err *e)
{
    const struct hyper *h = &o->model.hyper;
    struct report r = { .o = o };
    if (h->experts.count == 0)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: a dense model, nothing is routed", o->path);
    r.layers = ARENA_ARRAY(&o->arena, struct layer_report, h->layers, "layers", e);
    r.kept = ARENA_ARRAY(&o->arena, size_t, h->layers, "layers", e);
    r.inputs = ARENA_ARRAY(&o->arena, float, h->layers * KEPT_TOK * h->width, "inputs", e);
    if (r.layers == NULL || r.kept == NULL || r.inputs == NULL) return false;
    for (size_t l = 0; l < h->layers; l++) {
        if (o->model.layers[l].router == NULL) continue;
        r.layers[l].there = true;
        r.layers[l].values = ARENA_ARRAY(&o->arena, double, h->experts.count, "spectrum", e);
        if (r.layers[l].values == NULL ||
            !spectrum_of(o->model.layers[l].router, h->experts.count, h->width, r.layers[l].values, o->team, &o->arena,
                         e))
            return false;
    }
    if (!run_model(&r, set, c, e) || !time_layers(&r, e) || (set->svg != NULL && !draw(&r, set->svg, e))) return false;
    if (set->json) return print_json(&r, e);
    print_text(&r);
    return true;
}

int cmd_route(int argc, char **argv)
{
    struct route_options set = { 0 };
    struct compute_options compute = { 0 };
    struct command_line line = { .command = "route", .usage = "MODEL", .words_max = 1,
                                 .about = "How a sparse model's routers are read: spectrum and form of each\n"
                                          "layer, how often bounds decide alone, bytes and time of both ways.",
                                 .groups = { { ROWS, sizeof ROWS / sizeof *ROWS, &set }, compute_group(&compute) } };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    struct opened o = { 0 };
    err e = { 0 };
    bool good = open_model(&o, line.words[0], &compute, &e) && route(&o, &compute, &set, &e);
    close_model(&o);
    return good ? EXIT_GOOD : say_error(&e);
}
