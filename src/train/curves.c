/* See curves.h. */
#include "train/curves.h"

#include "base/config.h"
#include "base/file.h"
#include "train/page.h"

enum { WIDTH = 900, HEIGHT = 480, LEFT = 60, RIGHT = 20, TOP = 40, BOTTOM = 50, LOG_BYTES_MAX = 1 << 30 };

struct point {
    double x, y;
};

struct curve {
    struct point *points;
    size_t count;
};

struct picture {
    struct curve loss[CURVES_MAX], held_out[CURVES_MAX];
    size_t curves;
    double x_max, y_min, y_max;
    struct page page;
};

/* Column `index` of a line of tab-separated numbers. */
static bool column(view line, size_t index, double *out)
{
    for (; index > 0; index--) {
        const uint8_t *tab = memchr(line.ptr, '\t', line.len_bytes);
        if (tab == NULL) return false;
        line = view_after(line, (size_t)(tab + 1 - line.ptr));
    }
    const uint8_t *tab = line.len_bytes == 0 ? NULL : memchr(line.ptr, '\t', line.len_bytes);
    return config_real((view){ line.ptr, tab == NULL ? line.len_bytes : (size_t)(tab - line.ptr) }, out);
}

static void add_point(struct picture *p, struct curve *c, double x, double y)
{
    if (c->count == CURVE_POINTS_MAX) return;
    c->points[c->count++] = (struct point){ x, y };
    if (x > p->x_max) p->x_max = x;
    if (y > p->y_max) p->y_max = y;
    if (y < p->y_min) p->y_min = y;
}

/* Columns of a log: step, tokens, loss, held-out loss, ... */
static bool read_log(struct picture *p, size_t index, const char *path, arena *a, err *e)
{
    view log;
    if (!file_read(path, LOG_BYTES_MAX, a, &log, e)) return false;
    p->loss[index].points = ARENA_ARRAY(a, struct point, CURVE_POINTS_MAX, "curve", e);
    p->held_out[index].points = ARENA_ARRAY(a, struct point, CURVE_POINTS_MAX, "curve", e);
    if (p->loss[index].points == NULL || p->held_out[index].points == NULL) return false;
    while (log.len_bytes > 0) {
        const uint8_t *end = memchr(log.ptr, '\n', log.len_bytes);
        view line = { log.ptr, end == NULL ? log.len_bytes : (size_t)(end - log.ptr) };
        double tokens, loss;
        log = view_after(log, line.len_bytes + 1);
        if (line.len_bytes == 0 || line.ptr[0] == '#' || !column(line, 1, &tokens)) continue;
        if (column(line, 2, &loss)) add_point(p, &p->loss[index], tokens, loss);
        if (column(line, 3, &loss)) add_point(p, &p->held_out[index], tokens, loss);
    }
    return true;
}

static double x_at(const struct picture *p, double tokens)
{
    return LEFT + tokens / p->x_max * (WIDTH - LEFT - RIGHT);
}

static double y_at(const struct picture *p, double loss)
{
    return TOP + (p->y_max - loss) / (p->y_max - p->y_min) * (HEIGHT - TOP - BOTTOM);
}

static void put_axes(struct picture *p)
{
    page_put(&p->page,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
        WIDTH, HEIGHT);
    double step = p->y_max - p->y_min > 4 ? 1 : p->y_max - p->y_min > 1.5 ? 0.5 : 0.1;
    for (double y = (double)(long)(p->y_min / step + 1) * step; y <= p->y_max; y += step)
        page_put(&p->page,
                 "<path d=\"M%d %.1fH%d\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.1f</text>\n",
                 LEFT, y_at(p, y), WIDTH - RIGHT, LEFT - 6, y_at(p, y) + 4, y);
    for (int i = 0; i <= 5; i++)
        page_put(&p->page, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.3g</text>\n", x_at(p, p->x_max * i / 5),
            HEIGHT - BOTTOM + 20, p->x_max * i / 5 * 1e-6);
    page_put(&p->page,
        "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">million tokens</text>\n"
        "<text x=\"%d\" y=\"16\">loss, nats a token</text>\n",
        (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, LEFT);
}

static void put_curve(struct picture *p, const struct curve *c, const char *colour, double width, bool dots)
{
    if (c->count == 0) return;
    page_put(&p->page, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%.1f\" points=\"", colour, width);
    for (size_t i = 0; i < c->count; i++)
        page_put(&p->page, "%.1f,%.1f ", x_at(p, c->points[i].x), y_at(p, c->points[i].y));
    page_put(&p->page, "\"/>\n");
    for (size_t i = 0; dots && i < c->count; i++)
        page_put(&p->page, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\" fill=\"%s\"/>\n", x_at(p, c->points[i].x),
            y_at(p, c->points[i].y), colour);
}

bool curves_write(const char *svg_path, const char *const *log_paths, const char *const *names, size_t count, arena *a,
                  err *e)
{
    static const char *const colours[CURVES_MAX][2] = { { "#9cc3e6", "#1f5f99" }, { "#f2b99b", "#b34700" },
        { "#b5dba9", "#2f7d1b" }, { "#d6b8e6", "#6b2a91" }, { "#e6d79c", "#8a7000" }, { "#9ce6dd", "#0f7a70" },
        { "#e69cbf", "#991f5f" }, { "#c2c2c2", "#444444" } };
    struct picture p = { .y_min = 1e9, .y_max = -1e9, .curves = count };
    size_t mark = a->used_bytes, points = 0;
    if (count == 0 || count > CURVES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "curves: %zu logs, allowed 1..%d", count, CURVES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!read_log(&p, i, log_paths[i], a, e)) return false;
        points += p.loss[i].count;
    }
    if (points < 2 || p.y_max <= p.y_min)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "%s: a curve needs two different losses", log_paths[0]);
    if (!page_open(&p.page, (size_t)1 << 26, "picture", a, e)) return false;
    put_axes(&p);
    for (size_t i = 0; i < count; i++) {
        put_curve(&p, &p.loss[i], colours[i][0], 1, false);
        put_curve(&p, &p.held_out[i], colours[i][1], 2, true);
        page_put(&p.page,
                 "<text x=\"%d\" y=\"%d\" fill=\"%s\" text-anchor=\"end\">%s: training thin, held out thick</text>\n",
                 WIDTH - RIGHT, TOP + 16 * (int)i, colours[i][1], names[i]);
    }
    page_put(&p.page, "</svg>\n");
    bool good = page_write(&p.page, svg_path, e);
    arena_rewind(a, mark);
    return good;
}
