/* The functions, a row each, and how the rows of all tables are called. */
#include "template/builtin.h"

#include "base/checked.h"
#include "template/eval.h"

#include <assert.h>

/* ---- calling ---- */

/* Lays positional and named arguments out by the row's parameters. */
static bool lay_out(context *c, const struct builtin *b, struct call *call)
{
    view rest = view_of(b->params);
    size_t used = 0, n = 0;
    for (; rest.len_bytes > 0; n++) {
        const uint8_t *blank = memchr(rest.ptr, ' ', rest.len_bytes);
        view param = { rest.ptr, blank == NULL ? rest.len_bytes : (size_t)(blank - rest.ptr) };
        rest = view_after(rest, param.len_bytes + 1);
        assert(n < PARAMS_MAX);
        call->arg[n].kind = MISSING;
        if (n < call->pos_count) call->arg[n] = call->pos[n];
        for (size_t i = 0; i < call->named_count; i++) {
            if (!view_equal(call->named[i].name, param)) continue;
            if (n < call->pos_count)
                return raise(c, "%s: argument '%.*s' given twice", b->name, (int)param.len_bytes,
                             (const char *)param.ptr);
            call->arg[n] = call->named[i].value;
            used++;
        }
        if (n < b->required && !given(&call->arg[n]))
            return raise(c, "%s: argument '%.*s' is missing", b->name, (int)param.len_bytes, (const char *)param.ptr);
    }
    if (call->pos_count > n) return raise(c, "%s takes at most %zu arguments, %zu given", b->name, n, call->pos_count);
    return used == call->named_count || raise(c, "%s: unexpected keyword argument", b->name);
}

bool builtin_run(context *c, const struct builtin *b, struct call *call, value *out)
{
    call->row = b;
    if (b->params[0] != '*' && !lay_out(c, b, call)) return false;
    return render_enter(c) && b->run(c, call, out) && (render_leave(c), true);
}

/* ---- functions ---- */

/* Only described: a loop over it takes no memory, and indexing none either. */
static bool function_range(context *c, const struct call *k, value *out)
{
    int64_t bounds[3] = { 0, 0, 1 };
    if (k->pos_count < 1 || k->pos_count > 3 || k->named_count > 0) return raise(c, "range takes 1 to 3 arguments");
    for (size_t i = 0; i < k->pos_count; i++)
        if (!value_integer(&k->pos[i], &bounds[k->pos_count == 1 ? 1 : i]))
            return raise(c, "range: '%s' where an integer is due", value_kind(&k->pos[i]));
    if (bounds[2] == 0) return raise(c, "range() arg 3 must not be zero");
    struct range *r = render_take(c, 1, sizeof *r);
    if (r == NULL) return false;
    bool up = bounds[2] > 0, empty = up ? bounds[0] >= bounds[1] : bounds[0] <= bounds[1];
    uint64_t distance = up ? (uint64_t)bounds[1] - (uint64_t)bounds[0] : (uint64_t)bounds[0] - (uint64_t)bounds[1];
    uint64_t stride = up ? (uint64_t)bounds[2] : (uint64_t)0 - (uint64_t)bounds[2];
    *r = (struct range){ bounds[0], bounds[1], bounds[2], empty ? 0 : (distance - 1) / stride + 1 };
    *out = of_kind(RANGE);
    out->as.range = r;
    return true;
}

static bool function_dict(context *c, const struct call *k, value *out)
{
    return value_dict_from_call(c, (enum kind)k->row->variant, k, out);
}

/* How a template refuses a conversation: its message is the error. */
static bool function_raise(context *c, const struct call *k, value *out)
{
    struct builder b = { 0 };
    *out = of_kind(NONE);
    return value_print(c, &b, &k->arg[0]) && raise(c, "%.*s", (int)min_size(b.len, 200), (const char *)b.bytes);
}

static bool function_strftime(context *c, const struct call *k, value *out)
{
    value format;
    return call_arg_text(c, &k->arg[0], "strftime format", &format) && string_strftime(c, view_in(&format), out);
}

static bool function_cycler(context *c, const struct call *k, value *out)
{
    value index = of_int(0);
    if (k->pos_count == 0) return raise(c, "at least one item has to be provided");
    if (!value_list_new(c, CYCLER, k->pos_count + 1, out)) return false;
    for (size_t i = 0; i < k->pos_count; i++)
        if (!value_list_add(c, out->as.list, &k->pos[i])) return false;
    return value_list_add(c, out->as.list, &index);
}

/* Nothing the first time, then the separator. */
static bool function_joiner(context *c, const struct call *k, value *out)
{
    value separator = given(&k->arg[0]) ? k->arg[0] : of_text(", "), used = of_bool(false), nothing = of_text("");
    return value_list_new(c, JOINER, 3, out) && value_list_add(c, out->as.list, &separator) &&
           value_list_add(c, out->as.list, &used) && value_list_add(c, out->as.list, &nothing);
}

const struct builtin *builtin_function(view name)
{
    static const struct builtin rows[] = {
        { "range", "*", 0, 0, function_range },
        { "dict", "*", 0, DICT, function_dict },
        { "namespace", "*", 0, NAMESPACE, function_dict },
        { "raise_exception", "message", 1, 0, function_raise },
        { "strftime_now", "format", 1, 0, function_strftime },
        { "cycler", "*", 0, 0, function_cycler },
        { "joiner", "sep", 0, 0, function_joiner },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (view_is(name, rows[i].name)) return &rows[i];
    return NULL;
}
