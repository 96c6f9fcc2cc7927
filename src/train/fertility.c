/* See fertility.h. */
#include "train/fertility.h"

#include "base/utf8.h"
#include "train/page.h"

#include <stdlib.h>
#include <string.h>

/* ---- records ---- */

static bool take_field(view *line, view *out)
{
    const uint8_t *tab = memchr(line->ptr, '\t', line->len_bytes);
    size_t len = tab == NULL ? line->len_bytes : (size_t)(tab - line->ptr);
    *out = (view){ line->ptr, len };
    *line = view_after(*line, tab == NULL ? len : len + 1);
    return len > 0;
}

/* White space of text that people print: ASCII's, the no-break and ideographic blanks, the general punctuation's. */
static bool is_blank(uint32_t c)
{
    return c <= ' ' || c == 0xA0 || c == 0x3000 || (c >= 0x2000 && c <= 0x200B) || c == 0x202F || c == 0xFEFF;
}

static void count_words(struct language *l)
{
    bool inside = false;
    for (view rest = l->text; rest.len_bytes > 0;) {
        size_t len;
        uint32_t c = utf8_next(rest, &len);
        bool blank = is_blank(c);
        l->chars += !blank;
        l->words += !blank && !inside;
        inside = !blank;
        rest = view_after(rest, len);
    }
}

static bool read_record(view file, view *rest, struct language *l, err *e)
{
    size_t at = file.len_bytes - rest->len_bytes;
    const uint8_t *newline = memchr(rest->ptr, '\n', rest->len_bytes);
    view line = { rest->ptr + 1, newline == NULL ? 0 : (size_t)(newline - rest->ptr) - 1 }, direction;
    if (rest->ptr[0] != '\f' || newline == NULL || !take_field(&line, &l->code) || !take_field(&line, &l->tag) ||
        !take_field(&line, &direction) || !take_field(&line, &l->name))
        return fail(e, ERR_VALUE, at, "record: wanted a form feed and code, tag, direction, name with tabs between");
    *rest = view_after(*rest, (size_t)(newline + 1 - rest->ptr));
    const uint8_t *next = memchr(rest->ptr, '\f', rest->len_bytes);
    l->text = (view){ rest->ptr, next == NULL ? rest->len_bytes : (size_t)(next - rest->ptr) };
    *rest = view_after(*rest, l->text.len_bytes);
    count_words(l);
    return true;
}

static bool count_tokens(struct language *l, const tokenizer *const *vocabs, size_t count, arena *a, err *e)
{
    for (size_t v = 0; v < count; v++) {
        size_t mark = a->used_bytes, max = tokenizer_ids_max(vocabs[v], l->text.len_bytes);
        int32_t *ids = ARENA_ARRAY(a, int32_t, max, "token ids", e);
        if (ids == NULL || !tokenizer_encode(vocabs[v], l->text, false, ids, max, &l->tokens[v], a, e)) return false;
        arena_rewind(a, mark);
    }
    return true;
}

static double by_character(const struct language *l, size_t vocab)
{
    return l->chars == 0 ? 0 : (double)l->tokens[vocab] / (double)l->chars;
}

/* The dearest language first; equal ones by code. */
static int compare(const void *x, const void *y)
{
    const struct language *a = x, *b = y;
    double da = by_character(a, 0), db = by_character(b, 0);
    if (da != db) return da > db ? -1 : 1;
    size_t len = a->code.len_bytes < b->code.len_bytes ? a->code.len_bytes : b->code.len_bytes;
    int order = memcmp(a->code.ptr, b->code.ptr, len);
    return order != 0 ? order : (a->code.len_bytes > b->code.len_bytes) - (a->code.len_bytes < b->code.len_bytes);
}

bool fertility_measure(view file, const tokenizer *const *vocabs, const char *const *names, size_t count, arena *a,
                       struct fertility *out, err *e)
{
    *out = (struct fertility){ .vocabs = count };
    if (count == 0 || count > FERTILITY_VOCABS_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "vocabularies: %zu, allowed 1..%d", count, FERTILITY_VOCABS_MAX);
    for (size_t i = 0; i < count; i++) out->names[i] = names[i];
    out->languages = ARENA_ARRAY(a, struct language, FERTILITY_LANGUAGES_MAX, "languages", e);
    if (out->languages == NULL) return false;
    for (view rest = file; rest.len_bytes > 0; out->count++) {
        if (out->count == FERTILITY_LANGUAGES_MAX)
            return fail(e, ERR_LIMIT, file.len_bytes - rest.len_bytes, "languages: over %d", FERTILITY_LANGUAGES_MAX);
        struct language *l = &out->languages[out->count];
        *l = (struct language){ 0 };
        if (!read_record(file, &rest, l, e) || !count_tokens(l, vocabs, count, a, e)) return false;
    }
    if (out->count == 0) return fail(e, ERR_VALUE, 0, "no record in an empty file");
    qsort(out->languages, out->count, sizeof *out->languages, compare);
    while (out->english < out->count && !view_is(out->languages[out->english].tag, "en")) out->english++;
    return true;
}

double fertility_times_english(const struct fertility *f, const struct language *l, size_t vocab)
{
    if (f->english == f->count || l->text.len_bytes < FERTILITY_FRAGMENT_BYTES) return 0;
    size_t english = f->languages[f->english].tokens[vocab];
    return english == 0 ? 0 : (double)l->tokens[vocab] / (double)english;
}

/* ---- picture ---- */

enum { ROW = 14, LEFT = 190, WIDTH = 900, TOP = 60, RIGHT = 20 };

/* Names are text of the file: what SVG would read as markup is written out. */
static void put_name(struct page *p, view name)
{
    size_t shown = name.len_bytes < 60 ? utf8_valid_bytes(name) : utf8_valid_bytes((view){ name.ptr, 60 });
    for (size_t i = 0; i < shown; i++) {
        uint8_t c = name.ptr[i];
        if (c == '<' || c == '&' || c == '>' || c < ' ') page_put(p, "&#%u;", c < ' ' ? ' ' : c);
        else page_put(p, "%c", c);
    }
}

static void put_scale(struct page *p, const struct fertility *f, double most, int height)
{
    for (int i = 0; i <= 8; i++) {
        double x = LEFT + (WIDTH - LEFT - RIGHT) * i / 8.0;
        page_put(p, "<path d=\"M%.1f %dV%d\" stroke=\"#ddd\"/>\n<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.2f"
            "</text>\n", x, TOP, height - 10, x, TOP - 6, most * i / 8);
    }
    page_put(p, "<text x=\"%d\" y=\"16\">tokens a character, %zu languages, the dearest first</text>\n", LEFT,
             f->count);
}

bool fertility_draw(const struct fertility *f, const char *svg_path, arena *a, err *e)
{
    static const char *const colours[FERTILITY_VOCABS_MAX] = { "#b34700", "#1f5f99", "#2f7d1b", "#6b2a91",
                                                               "#8a7000", "#0f7a70", "#991f5f" };
    size_t mark = a->used_bytes;
    int height = TOP + ROW * (int)f->count + 20;
    double most = 0;
    struct page p;
    if (!page_open(&p, 4096 + f->count * (1024 + 256 * f->vocabs), "picture", a, e)) return false;
    for (size_t i = 0; i < f->count; i++)
        for (size_t v = 0; v < f->vocabs; v++)
            if (by_character(&f->languages[i], v) > most) most = by_character(&f->languages[i], v);
    most = most > 0 ? most : 1;
    page_put(&p, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" "
        "font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n", WIDTH, height);
    put_scale(&p, f, most, height);
    for (size_t v = 0; v < f->vocabs; v++)
        page_put(&p, "<text x=\"%zu\" y=\"34\" fill=\"%s\">%s</text>\n", LEFT + v * 110, colours[v], f->names[v]);
    for (size_t i = 0; i < f->count; i++) {
        const struct language *l = &f->languages[i];
        int y = TOP + ROW * (int)i + ROW;
        page_put(&p, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", LEFT - 8, y);
        put_name(&p, l->name);
        page_put(&p, "</text>\n");
        for (size_t v = 0; v < f->vocabs; v++)
            page_put(&p, "<circle cx=\"%.1f\" cy=\"%d\" r=\"3.5\" fill=\"%s\"/>\n",
                LEFT + by_character(l, v) / most * (WIDTH - LEFT - RIGHT), y - 4, colours[v]);
    }
    page_put(&p, "</svg>\n");
    bool good = page_write(&p, svg_path, e);
    arena_rewind(a, mark);
    return good;
}
