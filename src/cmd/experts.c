/* Experts a run used: see experts.h.
 *
 * A trace has a line a token and layer: "POSITION LAYER E E E ...", the experts in order of their numbers; lines come
 * in the order in which layers of steps were computed, tokens of a step side by side. The last layer is computed for
 * those tokens alone whose scores somebody wants. */
#include "cmd/experts.h"

#include "base/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const struct option ROWS[] = {
    { "--trace", "FILE", OPTION_TEXT, offsetof(struct expert_options, trace), 0, 0, NULL, NULL, NULL },
    { "--heat", "FILE", OPTION_TEXT, offsetof(struct expert_options, heat), 0, 0, NULL, NULL, NULL },
};

struct option_group expert_group(struct expert_options *values)
{
    return (struct option_group){ ROWS, sizeof ROWS / sizeof *ROWS, values };
}

bool expert_log_wanted(const struct expert_options *set, bool summary)
{
    return summary || set->trace != NULL || set->heat != NULL;
}

bool expert_log_begin(struct expert_log *l, const struct expert_options *set, bool summary, size_t layers,
                      size_t experts, size_t top_k, size_t watched, arena *a, err *e)
{
    *l = (struct expert_log){ .trace.fd = -1, .heat = set->heat };
    if (experts == 0)
        return !expert_log_wanted(set, false) ||
               fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: %s, the model has no experts",
                    set->trace != NULL ? "--trace" : "--heat", set->trace != NULL ? set->trace : set->heat);
    l->on = expert_log_wanted(set, summary);
    if (!l->on) return true;
    l->traces = set->trace != NULL;
    return usage_new(&l->usage, layers, experts, top_k, a, e) && usage_seen_new(&l->seen, watched, top_k, a, e) &&
           (!l->traces || out_begin(&l->trace, set->trace, e));
}

static void write_trace(struct expert_log *l, const struct usage_seen *seen)
{
    char line[32 + EXPERTS_USED_MAX * 6];
    for (size_t t = 0; t < seen->count && l->e.code == ERR_NONE; t++) {
        size_t len = (size_t)snprintf(line, sizeof line, "%" PRIu32 " %zu", seen->positions[t], seen->layer);
        for (size_t k = 0; k < l->usage.top_k; k++)
            len += (size_t)snprintf(line + len, sizeof line - len, " %u",
                                    (unsigned)seen->experts[t * l->usage.top_k + k]);
        line[len++] = '\n';
        out_write(&l->trace, line, len, &l->e);
    }
}

void expert_log_take(struct expert_log *l, const struct usage_seen *seen)
{
    if (!l->on) return;
    usage_take(&l->usage, seen);
    if (l->traces) write_trace(l, seen);
}

void expert_log_watch(void *arg, const struct expert_event *event)
{
    struct expert_log *l = arg;
    usage_read(&l->seen, l->usage.top_k, event);
    expert_log_take(l, &l->seen);
}

/* ---- summary ---- */

static void say_distances(const struct usage *u)
{
    uint64_t all = 0, sum = 0;
    for (size_t i = 0; i < USAGE_DISTANCES; i++) all += u->distance[i];
    char line[256];
    size_t len = 0;
    for (size_t i = 0; i < 8 && all > 0; i++) {
        sum += u->distance[i];
        len += (size_t)snprintf(line + len, sizeof line - len, "%s%u: %.0f%%", i > 0 ? ", " : "",
                                (1u << (i + 1)) - 1, 100.0 * (double)sum / (double)all);
    }
    if (all > 0) say("experts: used again within so many tokens: %s", line);
}

static void say_usage(const struct usage *u)
{
    uint64_t *room = calloc(u->experts, sizeof *room), tokens = 0;
    size_t idle = 0, layers = 0, most_layer = 0;
    double share = 0, most = 0;
    for (size_t l = 0; l < u->layers && room != NULL; l++) {
        if (u->tokens[l] == 0) continue;
        double part = usage_share(u, l, 0.25, room);
        tokens = u->tokens[l] > tokens ? u->tokens[l] : tokens;
        layers++;
        idle += usage_idle(u, l);
        share += part;
        if (part > most) {
            most = part;
            most_layer = l;
        }
    }
    free(room);
    if (layers == 0 || u->decisions == 0) return;
    double n = (double)u->decisions;
    say("experts: %zu of %zu in each of %zu layers, %" PRIu64 " tokens; %zu were never used", u->top_k, u->experts,
        layers, tokens, idle);
    say("experts: the busiest quarter has %.0f%% of all uses (layer %zu: %.0f%%)", 100 * share / (double)layers,
        most_layer, 100 * most);
    say_distances(u);
    say("routing: %.1f experts left after the first look, %.1f rows read exactly; %.0f%% decided without one too many",
        (double)u->shortlist / n, (double)u->rescored / n, 100.0 * (double)u->alone / n);
}

/* ---- the picture ---- */

enum { CELL = 6, LEFT = 64, TOP = 40 };

/* White, blue, dark blue. */
static unsigned colour_of(double value)
{
    double v = value < 0 ? 0 : value > 1 ? 1 : value;
    unsigned red = (unsigned)(255 - 235 * v), green = (unsigned)(255 - 200 * v), blue = (unsigned)(255 - 125 * v);
    return red << 16 | green << 8 | blue;
}

static bool write_row(struct out_file *f, const char *row_name, const double *values, size_t row, size_t cols, err *e)
{
    char text[160];
    int len = 0;
    bool good = true;
    size_t y = TOP + row * CELL;
    if (row % 4 == 0) {
        len = snprintf(text, sizeof text,
                       "<text x=\"%d\" y=\"%zu\" font-size=\"7\" text-anchor=\"end\">%s %zu</text>\n", LEFT - 4,
                       y + CELL, row_name, row);
        good = out_write(f, text, (size_t)len, e);
    }
    for (size_t c = 0; good && c < cols; c++) {
        unsigned colour = colour_of(values[c]);
        if (colour == 0xffffff) continue;
        len = snprintf(text, sizeof text, "<rect x=\"%zu\" y=\"%zu\" width=\"%d\" height=\"%d\" fill=\"#%06x\"/>\n",
                       LEFT + c * CELL, y, CELL, CELL, colour);
        good = out_write(f, text, (size_t)len, e);
    }
    return good;
}

bool heat_write(const char *path, const char *title, const char *row_name, const double *values, size_t rows,
                size_t cols, err *e)
{
    struct out_file f = { .fd = -1 };
    char text[512];
    size_t width = LEFT + cols * CELL + 16, height = TOP + rows * CELL + 16;
    if (!out_begin(&f, path, e)) return false;
    int len = snprintf(text, sizeof text,
                       "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%zu\" height=\"%zu\" "
                       "font-family=\"sans-serif\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n"
                       "<text x=\"%d\" y=\"20\" font-size=\"12\">%s</text>\n"
                       "<rect x=\"%d\" y=\"%d\" width=\"%zu\" height=\"%zu\" fill=\"none\" stroke=\"#999999\"/>\n",
                       width, height, LEFT, title, LEFT, TOP, cols * CELL, rows * CELL);
    bool good = out_write(&f, text, (size_t)len, e);
    for (size_t r = 0; good && r < rows; r++) good = write_row(&f, row_name, values + r * cols, r, cols, e);
    good = good && out_write(&f, "</svg>\n", 7, e) && out_end(&f, e);
    if (!good) out_abandon(&f);
    return good;
}

/* How often a token took the expert, against 4 times an even share: more is rare and as dark. */
static bool write_heat(const struct expert_log *l, err *e)
{
    const struct usage *u = &l->usage;
    double *values = calloc(u->layers * u->experts, sizeof *values);
    if (values == NULL) return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "--heat: no memory");
    for (size_t at = 0; at < u->layers * u->experts; at++) {
        double tokens = (double)u->tokens[at / u->experts], even = tokens * (double)u->top_k / (double)u->experts;
        values[at] = even > 0 ? (double)u->used[at] / (4 * even) : 0;
    }
    char title[120];
    snprintf(title, sizeof title, "experts used, by layer and expert: white never, darkest 4 times an even share");
    bool good = heat_write(l->heat, title, "layer", values, u->layers, u->experts, e);
    free(values);
    return good;
}

bool expert_log_end(struct expert_log *l, bool summary, err *e)
{
    if (!l->on) return true;
    if (l->e.code != ERR_NONE) {
        *e = l->e;
        return false;
    }
    if (l->traces && !out_end(&l->trace, e)) return false;
    if (l->heat != NULL && !write_heat(l, e)) return false;
    if (summary) say_usage(&l->usage);
    l->on = false;
    return true;
}

void expert_log_abandon(struct expert_log *l)
{
    if (l->traces) out_abandon(&l->trace);
    *l = (struct expert_log){ .trace.fd = -1 };
}
