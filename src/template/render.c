/* What each statement does, and one rendering from start to end. Scopes follow Jinja: for, with, macro, call, filter
 * and set blocks have one of their own, if has none; a macro sees the scope it was defined in, not its caller's. */
#include "template/eval.h"

#include "base/checked.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

/* Every error of a rendering ends here, with the place of the expression at hand. */
void template_raise(context *c, enum err_code code, const char *format, ...)
{
    char reason[200];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    template_fail(c->t->source, c->at, code, c->e, reason);
}

static bool run(context *c, const struct node *list);

/* Scopes live in the arena: a macro may keep the one it was defined in. */
static struct scope *new_scope(context *c, struct scope *parent)
{
    struct scope *s = render_take(c, 1, sizeof *s);
    if (s != NULL) s->parent = parent;
    return s;
}

/* Runs a body in `scope`, its text going to `b`, or on to where it goes now where `b` is NULL. */
static bool run_in(context *c, const struct node *body, struct scope *scope, struct builder *b)
{
    struct scope *outer = c->scope;
    struct builder *out = c->out;
    c->scope = scope;
    if (b != NULL) c->out = b;
    bool good = render_enter(c) && run(c, body);
    render_leave(c);
    c->scope = outer;
    c->out = out;
    return good;
}

/* The text of a body as a value: set blocks and filter blocks. */
bool eval_capture(context *c, const struct node *n, value *out)
{
    struct builder b = { 0 };
    struct scope *scope = new_scope(c, c->scope);
    if (scope == NULL || !run_in(c, n->as.child[0], scope, &b)) return false;
    *out = string_built(&b);
    return true;
}

/* ---- setting ---- */

/* A target is a name, a field of a namespace, or a tuple of targets that takes items apart. */
static bool assign(context *c, const struct node *target, const value *v)
{
    const value *all;
    size_t count, i = 0;
    c->at = target->at;
    if (target->op == OP_NAME) return render_bind(c, target->name, v);
    if (target->op == OP_NAMESPACE_FIELD) {
        value space, key = target->as.literal;
        struct node name = { .op = OP_NAME, .at = target->at, .name = target->name };
        if (!eval_node(c, &name, &space)) return false;
        if (space.kind != NAMESPACE) return raise(c, "cannot assign attribute on non-namespace object");
        return value_dict_put(c, space.as.dict, &key, v);
    }
    assert(target->op == OP_TUPLE);
    if (!value_items(c, v, &all, &count)) return false;
    for (const struct node *t = target->as.child[0]; t != NULL; t = t->next, i++) {
        if (i == count) return raise(c, "not enough values to unpack (%zu)", count);
        if (!assign(c, t, &all[i])) return false;
    }
    return i == count || raise(c, "too many values to unpack (expected %zu)", i);
}

/* In the innermost scope; gone with it. Only a namespace reaches further out. */
static bool run_set(context *c, const struct node *n)
{
    value v;
    return eval_node(c, n->as.child[1], &v) && assign(c, n->as.child[0], &v);
}

/* All values are computed outside, then bound inside. */
static bool run_with(context *c, const struct node *n)
{
    struct scope *outer = c->scope, *inner = new_scope(c, outer);
    bool good = inner != NULL;
    for (const struct node *set = n->as.child[0]; good && set != NULL; set = set->next) {
        value v;
        good = eval_node(c, set->as.child[1], &v);
        c->scope = inner;
        good = good && assign(c, set->as.child[0], &v);
        c->scope = outer;
    }
    return good && run_in(c, n->as.child[1], inner, NULL);
}

/* A generation or block tag: its body in a scope of its own. */
static bool run_scope(context *c, const struct node *n)
{
    struct scope *scope = new_scope(c, c->scope);
    return scope != NULL && run_in(c, n->as.child[0], scope, NULL);
}

/* ---- printing ---- */

static bool run_data(context *c, const struct node *n)
{
    return string_put(c, c->out, view_in(&n->as.literal), ORIGIN_TEMPLATE);
}

/* Straight into the text, without a string in between. */
static bool run_print(context *c, const struct node *n)
{
    value v;
    if (!eval_node(c, n->as.child[0], &v)) return false;
    c->at = n->at;
    return value_print(c, c->out, &v);
}

static bool run_if(context *c, const struct node *n)
{
    for (;;) { /* along the elifs, which are no deeper than the if */
        value v;
        if (!eval_node(c, n->as.child[0], &v)) return false;
        if (value_truth(&v)) return run(c, n->as.child[1]);
        const struct node *rest = n->as.child[2];
        if (rest == NULL || rest->op != OP_IF || !rest->flag) return run(c, rest);
        n = rest;
    }
}

/* Noticed by run() after each statement, cleared by the loop. */
static bool run_jump(context *c, const struct node *n)
{
    c->jump = n->op == OP_BREAK ? JUMP_BREAK : JUMP_CONTINUE;
    return true;
}

/* ---- loops ---- */

/* The items that pass the loop's test. */
static bool filter_items(context *c, const struct node *n, struct scope *scope, struct loop *l)
{
    struct scope *outer = c->scope;
    value kept, *items, v;
    size_t count = 0;
    if ((items = render_take(c, l->count, sizeof *items)) == NULL) return false;
    kept = of_kind(NONE);
    for (size_t i = 0; i < l->count; i++) {
        kept = l->items[i];
        scope->count = 0;
        c->scope = scope;
        bool good = assign(c, n->as.child[0], &kept) && eval_node(c, n->as.child[3]->as.child[0], &v);
        c->scope = outer;
        if (!good) return false;
        if (value_truth(&v)) items[count++] = kept;
    }
    l->items = items;
    l->count = count;
    return true;
}

/* The loop object is one for all rounds: {% set outer = loop %} sees it move on. */
static bool run_items(context *c, const struct node *n, struct scope *scope, struct loop *l)
{
    value self = of_kind(LOOP), item;
    self.as.loop = l;
    for (l->index = 0; l->index < l->count && c->jump != JUMP_BREAK; l->index++) {
        struct scope *outer = c->scope;
        c->jump = JUMP_NONE;
        scope->count = 0; /* what the body sets is gone in the next round */
        item = l->items != NULL ? l->items[l->index]
                                : of_int((int64_t)((uint64_t)l->range.start + l->index * (uint64_t)l->range.step));
        c->scope = scope;
        bool good = render_bind(c, c->t->loop, &self) && assign(c, n->as.child[0], &item);
        c->scope = outer;
        if (!good || !render_charge(c, 2) || !run_in(c, n->as.child[2], scope, NULL)) return false;
        if (c->jump == JUMP_NONE) l->completed = true;
    }
    c->jump = JUMP_NONE;
    return true;
}

/* One loop over `over`, at the depth that loop.depth shows. */
static bool run_loop(context *c, const struct node *n, const value *over, unsigned depth)
{
    const struct node *rest = n->as.child[3];
    struct loop *l = render_take(c, 1, sizeof *l);
    struct scope *scope = new_scope(c, c->scope);
    if (l == NULL || scope == NULL) return false;
    *l = (struct loop){ .node = n, .outer = c->scope, .depth = depth };
    if (over->kind == RANGE && rest->as.child[0] == NULL) { /* a range costs no memory, however long */
        l->range = *over->as.range;
        l->count = (size_t)over->as.range->count;
    } else if (!value_items(c, over, &l->items, &l->count)) {
        return false;
    }
    if (rest->as.child[0] != NULL && !filter_items(c, n, scope, l)) return false;
    if (!run_items(c, n, scope, l)) return false;
    if (l->completed) return true; /* Jinja's else runs also where every round ended in a break or continue */
    return rest->as.child[1] == NULL || run_in(c, rest->as.child[1], scope, NULL);
}

static bool run_for(context *c, const struct node *n)
{
    value over;
    if (!eval_node(c, n->as.child[1], &over)) return false;
    c->at = n->at;
    return run_loop(c, n, &over, 1);
}

/* The loop again, one level deeper, over what it is called with; its text is the value. */
bool render_loop(context *c, const struct loop *l, struct call *call, value *out)
{
    struct builder b = { 0 };
    struct scope *scope = c->scope;
    struct builder *outer = c->out;
    if (!l->node->flag) return raise(c, "this loop is not recursive");
    if (call->pos_count != 1) return raise(c, "loop() takes one argument");
    c->scope = l->outer;
    c->out = &b;
    bool good = render_enter(c) && run_loop(c, l->node, &call->pos[0], l->depth + 1);
    render_leave(c);
    c->scope = scope;
    c->out = outer;
    *out = string_built(&b);
    return good;
}

/* ---- macros ---- */

/* A macro is its node and the scope it was defined in. */
static bool macro_value(context *c, const struct node *n, bool is_caller, value *out)
{
    struct macro *m = render_take(c, 1, sizeof *m);
    if (m == NULL) return false;
    *m = (struct macro){ n, c->scope, is_caller };
    *out = of_kind(MACRO);
    out->as.macro = m;
    return true;
}

static bool run_macro(context *c, const struct node *n)
{
    value v;
    return macro_value(c, n, false, &v) && render_bind(c, n->name, &v);
}

/* The body becomes a macro named caller. */
static bool run_call_block(context *c, const struct node *n)
{
    value caller, out;
    if (!macro_value(c, n->as.child[1], true, &caller) || !eval_node_with(c, n->as.child[0], &caller, &out))
        return false;
    return value_print(c, c->out, &out);
}

static const value *take_named(const struct call *call, view name, bool *used)
{
    for (size_t i = 0; i < call->named_count; i++) {
        if (used[i] || !view_equal(call->named[i].name, name)) continue;
        used[i] = true;
        return &call->named[i].value;
    }
    return NULL;
}

/* What is left of the arguments: varargs, kwargs and caller, where the macro's body mentions them; else an error. */
static bool bind_rest(context *c, const struct macro *m, const struct call *call, size_t plain, bool *used)
{
    view own = c->t->names[m->node->name].text;
    value rest, key;
    if (m->node->flag & MACRO_CALLER) {
        const value *caller = take_named(call, view_of("caller"), used);
        rest = caller == NULL ? of_undefined(view_of("caller")) : *caller;
        if (!render_bind(c, c->t->caller, &rest)) return false;
    }
    if (m->node->flag & MACRO_KWARGS && !value_dict_new(c, DICT, &rest)) return false;
    for (size_t i = 0; i < call->named_count; i++) {
        if (used[i]) continue;
        view name = call->named[i].name;
        if (!(m->node->flag & MACRO_KWARGS))
            return raise(c, "macro '%.*s' takes no keyword argument '%.*s'", (int)min_size(own.len_bytes, 60),
                         (const char *)own.ptr, (int)min_size(name.len_bytes, 60), (const char *)name.ptr);
        key = of_view(name, ORIGIN_TEMPLATE);
        if (!value_dict_put(c, rest.as.dict, &key, &call->named[i].value)) return false;
    }
    if (m->node->flag & MACRO_KWARGS && !render_bind(c, c->t->kwargs, &rest)) return false;
    if (!(m->node->flag & MACRO_VARARGS))
        return plain >= call->pos_count || raise(c, "macro '%.*s' takes not more than %zu arguments",
                                                 (int)min_size(own.len_bytes, 60), (const char *)own.ptr, plain);
    if (!value_list_new(c, TUPLE, 0, &rest)) return false;
    for (size_t i = plain; i < call->pos_count; i++)
        if (!value_list_add(c, rest.as.list, &call->pos[i])) return false;
    return render_bind(c, c->t->varargs, &rest);
}

/* Binds in the macro's scope, which is c->scope: a default sees the parameters before it. */
static bool bind_parameters(context *c, const struct macro *m, const struct call *call)
{
    bool used[TEMPLATE_ARGS_MAX + 1] = { false };
    size_t plain = 0;
    assert(call->named_count <= TEMPLATE_ARGS_MAX + 1);
    for (const struct node *p = m->node->as.child[0]; p != NULL; p = p->next, plain++) {
        value v = of_undefined(c->t->names[p->name].text);
        const value *named = plain < call->pos_count ? NULL : take_named(call, c->t->names[p->name].text, used);
        if (plain < call->pos_count) v = call->pos[plain];
        else if (named != NULL) v = *named;
        else if (p->as.child[0] != NULL && !eval_node(c, p->as.child[0], &v)) return false;
        if (!render_bind(c, p->name, &v)) return false;
    }
    return bind_rest(c, m, call, plain, used);
}

/* Its text is the value, with the origins it was printed with. */
bool render_macro(context *c, const struct macro *m, struct call *call, value *out)
{
    struct builder b = { 0 };
    struct scope *outer = c->scope, *scope = new_scope(c, m->scope);
    if (scope == NULL) return false;
    c->scope = scope;
    bool good = bind_parameters(c, m, call);
    c->scope = outer;
    if (!good || !run_in(c, m->node->as.child[1], scope, &b)) return false;
    *out = string_built(&b);
    return true;
}

/* ---- all of it ---- */

static bool run(context *c, const struct node *list)
{
    static bool (*const table[])(context *, const struct node *) = {
        [OP_DATA] = run_data,
        [OP_PRINT] = run_print,
        [OP_IF] = run_if,
        [OP_FOR] = run_for,
        [OP_SET] = run_set,
        [OP_MACRO] = run_macro,
        [OP_CALL_BLOCK] = run_call_block,
        [OP_WITH] = run_with,
        [OP_SCOPE] = run_scope,
        [OP_BREAK] = run_jump,
        [OP_CONTINUE] = run_jump,
    };
    for (const struct node *n = list; n != NULL && c->jump == JUMP_NONE; n = n->next) {
        assert(n->op < sizeof table / sizeof *table && table[n->op] != NULL);
        c->at = n->at;
        if (!render_enter(c) || !render_charge(c, 1) || !table[n->op](c, n)) return false;
        render_leave(c);
    }
    return true;
}

/* The caller lists them: the template cannot. */
static bool trusted(const struct render_options *o, view name)
{
    for (size_t i = 0; i < o->trusted_count; i++)
        if (view_is(name, o->trusted[i])) return true;
    return false;
}

/* The functions of builtin.h, then the variables over them, for each name the template mentions. */
static bool bind_variables(context *c, const json_value *vars)
{
    for (size_t i = 0; i < c->t->name_count; i++) {
        view name = c->t->names[i].text;
        const json_value *v = json_find(vars, name);
        const struct builtin *function = builtin_function(name);
        c->root[i] = of_kind(MISSING);
        if (v != NULL) {
            if (!value_from_json(c, v, trusted(c->options, name) ? ORIGIN_TOKEN : ORIGIN_TEXT, &c->root[i]))
                return false;
        } else if (function != NULL) {
            struct bound *b = render_take(c, 1, sizeof *b);
            if (b == NULL) return false;
            *b = (struct bound){ { .kind = MISSING }, function };
            c->root[i] = of_kind(BUILTIN);
            c->root[i].as.bound = b;
        }
    }
    return true;
}

/* The arena is the caller's: nothing is kept between renderings. */
bool template_render(const chat_template *t, const json_value *vars, const struct render_options *options,
                     arena *scratch, struct rendered *out, err *e)
{
    const struct template_limits *l = &options->limits;
    context c = { .t = t, .options = options, .arena = scratch, .e = e };
    struct builder b = { 0 };
    size_t memory = l->memory_bytes == 0 ? TEMPLATE_MEMORY_MAX : l->memory_bytes;
    if (vars->type != JSON_OBJECT) return fail(e, ERR_VALUE, vars->offset, "template variables: no JSON object");
    c.steps_left = l->steps == 0 ? TEMPLATE_STEPS_MAX : l->steps;
    c.output_max = min_size(l->output_bytes == 0 ? TEMPLATE_OUTPUT_MAX : l->output_bytes, UINT32_MAX);
    if (!add_size(scratch->used_bytes, memory, &c.memory_end)) c.memory_end = SIZE_MAX;
    c.out = &b;
    if ((c.root = render_take(&c, t->name_count, sizeof *c.root)) == NULL || !bind_variables(&c, vars)) return false;
    if (!run(&c, t->body)) return false;
    *out = (struct rendered){ b.len == 0 ? view_of("") : (view){ b.bytes, b.len }, b.runs, b.run_count };
    return true;
}
