/* Schemas, grammars and tools to tables (grammar/grammar.h), in the process that has the vocabulary and nothing to
 * lose. What a call looks like is the family's script (template/reply_family.h), so a masked call is read back by the
 * same row that it was written by. */
#include "orchestrator/text_part.h"

#include "base/checked.h"
#include "grammar/grammar.h"
#include "template/reply_family.h"

/* ---- tools ---- */

/* OpenAI's {"type": "function", "function": {...}}, Responses' flat form, Anthropic's input_schema. */
static bool take_tool(const json_value *v, struct grammar_tool *out, err *e)
{
    const json_value *inner = json_get(v, "function");
    if (inner != NULL && inner->type == JSON_OBJECT) v = inner;
    const json_value *name = json_get(v, "name"), *schema = json_get(v, "parameters");
    if (schema == NULL) schema = json_get(v, "input_schema");
    if (name == NULL || name->type != JSON_STRING) return fail(e, ERR_VALUE, v->offset, "tools: one has no name");
    *out = (struct grammar_tool){ .name = name->text,
                                  .schema = schema != NULL && schema->type == JSON_NULL ? NULL : schema };
    return true;
}

/* Bytes of a form while it is put together. */
struct draft {
    uint8_t *at;
    size_t len, room;
};

static void put(struct draft *d, const char *text)
{
    size_t len = strlen(text);
    if (text == NULL || len > d->room - d->len) return;
    memcpy(d->at + d->len, text, len);
    d->len += len;
}

/* A control token that `text` begins (or ends) with is an edge of its own: its letters alone are text. */
static int32_t cut_token(const struct text_worker *w, view *text, bool at_end)
{
    const tokenizer *t = w->m.tokenizer;
    for (size_t len = text->len_bytes; len > 0; len--) {
        view part = { at_end ? text->ptr + text->len_bytes - len : text->ptr, len };
        int32_t id = tokenizer_find(t, part);
        if (id < 0 || tokenizer_kind(t, id) != TOKEN_CONTROL) continue;
        *text = at_end ? (view){ text->ptr, text->len_bytes - len } : view_after(*text, len);
        return id;
    }
    return -1;
}

/* The three texts around name and arguments. Scripts of %n ... %j and of %o; others write arguments in languages of
 * their own, which are not masked. */
static bool take_script(const struct reply_family *f, struct draft part[3], err *e)
{
    size_t at = 0;
    if (f == NULL || f->call == NULL || (f->flags & FAMILY_HARMONY) != 0)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "tools: calls of this model can not be held to their schemas");
    if (f->section_open != NULL) put(&part[0], f->section_open);
    for (const char *c = f->call; *c != '\0'; c++) {
        char one[2] = { *c, '\0' };
        if (*c != '%') {
            put(&part[at], one);
            continue;
        }
        c++;
        if (*c == 'w') {
            put(&part[at], "\n");
        } else if (*c == 'd') {
            put(&part[at], "0");
        } else if (*c == 'n' && at == 0) {
            at = 1;
        } else if (*c == 'j' && at == 1) {
            at = 2;
        } else if (*c == 'o' && at == 0 && f->name_key != NULL) {
            put(&part[0], "{\""), put(&part[0], f->name_key), put(&part[0], "\": \"");
            put(&part[1], "\", \""), put(&part[1], f->args_key), put(&part[1], "\": ");
            put(&part[2], "}");
            at = 2;
        } else {
            at = 0;
            break;
        }
    }
    if (at != 2)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET,
                    "tools: calls written as \"%s\" can not be held to their schemas", f->call);
    if (f->section_close != NULL) put(&part[2], f->section_close);
    return true;
}

static bool compile_tools(const struct text_worker *w, const struct text_compile *r, const json_value *tools,
                          const struct grammar_options *set, arena *a, view *table, err *e)
{
    enum { PART_BYTES = 512 };
    const struct reply_family *f = w->setup.format.family;
    struct draft part[3];
    if (tools->type != JSON_ARRAY || tools->count < 1 || tools->count > GRAMMAR_TOOLS_MAX)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "tools: a list of 1..%d is wanted", GRAMMAR_TOOLS_MAX);
    struct grammar_tool *all = ARENA_ARRAY(a, struct grammar_tool, tools->count, "tools", e);
    size_t count = 0;
    if (all == NULL) return false;
    JSON_EACH(one, tools)
    if (!take_tool(one, &all[count++], e)) return false;
    for (size_t i = 0; i < 3; i++) {
        part[i] = (struct draft){ .at = ARENA_ARRAY(a, uint8_t, PART_BYTES, "tools", e), .room = PART_BYTES };
        if (part[i].at == NULL) return false;
    }
    if (!take_script(f, part, e)) return false;
    struct grammar_call_form form = { .begin = { part[0].at, part[0].len },
                                      .middle = { part[1].at, part[1].len },
                                      .end = { part[2].at, part[2].len },
                                      .between = view_of("\n"),
                                      .text_before = (r->flags & TEXT_CALL_REQUIRED) == 0,
                                      .parallel = (r->flags & TEXT_CALL_ONE) == 0 && f->section_open == NULL &&
                                                  w->setup.format.parallel };
    form.begin_token = cut_token(w, &form.begin, false);
    form.end_token = cut_token(w, &form.end, true);
    return grammar_from_tools(all, count, &form, set, a, table, NULL, e);
}

bool text_compile_table(const struct text_worker *w, const struct text_compile *r, view source, arena *a, view *table,
                        err *e)
{
    const json_value *v = NULL;
    struct grammar_options set = { .any_order = (r->flags & TEXT_ANY_ORDER) != 0 || r->grammar == TEXT_TOOLS,
                                   .no_blanks = (r->flags & TEXT_NO_BLANKS) != 0,
                                   .formats_ignored = (r->flags & TEXT_FORMATS_IGNORED) != 0 };
    bool json = r->grammar == TEXT_JSON_SCHEMA || r->grammar == TEXT_TOOLS;
    if (r->in_reasoning != 0 && w->setup.format.family != NULL && r->grammar != TEXT_TOOLS) {
        const char *close = w->setup.format.family->think_close;
        set.behind = close != NULL ? view_of(close) : (view){ 0 };
        set.behind_token = cut_token(w, &set.behind, true);
        set.behind_text = close != NULL;
    }
    if (json && !json_parse(source, a, &v, e)) return false;
    switch (r->grammar) {
    case TEXT_JSON_SCHEMA:
        return grammar_from_schema(v, &set, a, table, NULL, e);
    case TEXT_JSON_OBJECT:
        return grammar_from_any_object(&set, a, table, e);
    case TEXT_GBNF:
        return grammar_from_gbnf(source, &set, a, table, NULL, e);
    case TEXT_TOOLS:
        return compile_tools(w, r, v, &set, a, table, e);
    default:
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "grammar: kind %u is not known", r->grammar);
    }
}
