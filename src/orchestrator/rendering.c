/* Chat templates and vocabularies together: see rendering.h. */
#include "orchestrator/rendering.h"

#include "base/checked.h"

#include <time.h>

/* Variables that hold the model's own tokens: what they say counts as the template's. */
static const char *const TRUSTED[] = { "bos_token", "eos_token", "unk_token", "pad_token" };

/* Addresses: the tree of variables, the values of the interpreter, its output. */
#define SCRATCH_BYTES ((size_t)JSON_BYTES_MAX * 4 + TEMPLATE_MEMORY_MAX + 4 * (size_t)TEMPLATE_OUTPUT_MAX)

static bool in_bars(view text)
{
    return text.len_bytes >= 4 && memcmp(text.ptr, "<|", 2) == 0 && memcmp(text.ptr + text.len_bytes - 2, "|>", 2) == 0;
}

/* User-defined tokens that stand in the template, or look like control tokens, are marks: messages can not make them.
 */
static bool find_guarded(struct renderer *r, view source, err *e)
{
    size_t count = tokenizer_count(r->tok);
    r->guarded = ARENA_ARRAY(&r->arena, uint64_t, ceil_div(count, 64), "guarded tokens", e);
    if (r->guarded == NULL) return false;
    for (size_t id = 0; id < count; id++) {
        if (tokenizer_kind(r->tok, (int32_t)id) != TOKEN_USER_DEFINED) continue;
        view text = tokenizer_text(r->tok, (int32_t)id);
        bool blank = text.len_bytes == 0 || text.ptr[0] <= ' '; /* runs of blanks are ordinary text */
        if (!blank && (in_bars(text) || memmem(source.ptr, source.len_bytes, text.ptr, text.len_bytes) != NULL))
            r->guarded[id / 64] |= UINT64_C(1) << id % 64;
    }
    return true;
}

/* Addresses: a tree of the longest template, a bit for each token; what encoding the longest prompt takes. */
#define TREE_BYTES (((size_t)1 << 20) + (size_t)TEMPLATE_BYTES_MAX * 512 + VOCAB_MAX)
#define CODING_BYTES ((size_t)1 << 32)

bool renderer_reserve(struct renderer *r, err *e)
{
    *r = (struct renderer){ 0 };
    if (arena_new(&r->arena, TREE_BYTES, e) && arena_new(&r->scratch, SCRATCH_BYTES, e) &&
        arena_new(&r->coding, CODING_BYTES, e))
        return true;
    renderer_free(r);
    return false;
}

bool renderer_open(struct renderer *r, view source, const tokenizer *tok, err *e)
{
    r->tok = tok;
    r->options.trusted = TRUSTED;
    r->options.trusted_count = sizeof TRUSTED / sizeof *TRUSTED;
    return template_parse(source, &r->arena, &r->t, e) && (tok == NULL || find_guarded(r, source, e));
}

bool renderer_new(struct renderer *r, view source, const tokenizer *tok, err *e)
{
    if (!renderer_reserve(r, e)) return false;
    if (renderer_set_clock(r, NULL, e) && renderer_open(r, source, tok, e)) return true;
    renderer_free(r);
    return false;
}

void renderer_free(struct renderer *r)
{
    arena_free(&r->arena);
    arena_free(&r->scratch);
    arena_free(&r->coding);
    *r = (struct renderer){ 0 };
}

/* ---- the clock ---- */

/* Days from 1970-01-01 in the Gregorian calendar; years begin in March, so that a leap day ends one. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    if (month <= 2) year--;
    int64_t era_years = year % 400, of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    return year / 400 * 146097 + era_years * 365 + era_years / 4 - era_years / 100 + of_year - 719468;
}

/* `count` digits at *text; false where there are other characters. */
static bool take_digits(const char **text, int count, char behind, int64_t *out)
{
    for (*out = 0; count > 0; count--, ++*text) {
        if (**text < '0' || **text > '9') return false;
        *out = *out * 10 + (**text - '0');
    }
    return *(*text)++ == behind;
}

bool renderer_set_clock(struct renderer *r, const char *text, err *e)
{
    if (text == NULL) {
        time_t now = time(NULL);
        struct tm local;
        r->options.clock_s = (int64_t)now + (localtime_r(&now, &local) != NULL ? local.tm_gmtoff : 0);
        return true;
    }
    const char *at = text;
    int64_t year, month, day, hour, minute, second;
    bool good = take_digits(&at, 4, '-', &year) && take_digits(&at, 2, '-', &month) && take_digits(&at, 2, 'T', &day) &&
                take_digits(&at, 2, ':', &hour) && take_digits(&at, 2, ':', &minute) &&
                take_digits(&at, 2, '\0', &second);
    if (!good || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 59)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "--now: %.40s, expected a time such as 2026-11-22T12:00:00", text);
    r->options.clock_s = ((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    return true;
}

/* ---- rendering ---- */

bool renderer_vars(struct renderer *r, const json_value *vars, struct rendered *out, err *e)
{
    if (vars->type != JSON_OBJECT)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "template variables: expected one JSON object");
    return template_render(r->t, vars, &r->options, &r->scratch, out, e);
}

bool renderer_text(struct renderer *r, view json, struct rendered *out, err *e)
{
    const json_value *vars;
    view copy;
    arena_rewind(&r->scratch, 0);
    return arena_copy(&r->scratch, json, &copy, "template variables", e) && json_parse(copy, &r->scratch, &vars, e) &&
           renderer_vars(r, vars, out, e);
}

bool renderer_ids(struct renderer *r, const struct rendered *text, size_t from, arena *a, int32_t **out, size_t *count,
                  err *e)
{
    struct text_run *runs = ARENA_ARRAY(a, struct text_run, text->run_count, "runs of text", e);
    if (runs == NULL) return false;
    size_t begin = 0, run_count = 0;
    for (size_t i = 0; i < text->run_count; i++) {
        size_t end = text->runs[i].end, first = max_size(begin, from);
        bool of_template = text->runs[i].origin != ORIGIN_TEXT;
        if (first < end)
            runs[run_count++] = (struct text_run){ { text->text.ptr + first, end - first }, of_template, !of_template };
        begin = end;
    }
    size_t bytes = text->text.len_bytes - min_size(from, text->text.len_bytes), room = tokenizer_ids_max(r->tok, bytes);
    *out = ARENA_ARRAY(a, int32_t, room, "token ids", e);
    bool good = *out != NULL &&
                tokenizer_encode_runs(r->tok, runs, run_count, r->guarded, *out, room, count, &r->coding, e);
    arena_rewind(&r->coding, 0);
    return good;
}
