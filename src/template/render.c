/* What each statement does, and one rendering from start to end. Scopes follow Jinja: for, with, macro, call, filter
 * and set blocks have one of their own, if has none; a macro sees the scope it was defined in, not its caller's. */
#include "template/eval.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- errors, steps, memory: see value.h ---- */

static value failed(context *c, enum err_code code, const char *format, va_list args)
{
    char reason[200];
    if (!c->failed) {
        vsnprintf(reason, sizeof reason, format, args);
        template_fail(c->t->source, c->at, code, c->e, reason);
    }
    c->failed = true;
    return of_undefined(view_of(""));
}

value render_fail(context *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    value v = failed(c, ERR_VALUE, format, args);
    va_end(args);
    return v;
}

value render_fail_limit(context *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    value v = failed(c, ERR_LIMIT, format, args);
    va_end(args);
    return v;
}

bool render_charge(context *c, size_t steps)
{
    if (steps > c->steps_left) render_fail_limit(c, "more steps than the limit allows");
    if (!c->failed) c->steps_left -= steps;
    return !c->failed;
}

/* Bounded by a limit beside the arena's, and paid for by size, because fresh pages are what a memory bomb costs. */
void *render_take(context *c, size_t count, size_t each_bytes)
{
    size_t want;
    if (!mul_size(count, each_bytes, &want) || c->arena->used_bytes > c->memory_end ||
        want > c->memory_end - c->arena->used_bytes) {
        render_fail_limit(c, "values take more memory than the limit allows");
        return NULL;
    }
    if (!render_charge(c, 1 + want / 256)) return NULL;
    void *p = arena_take(c->arena, count, each_bytes, 8, "template values", c->e);
    c->failed = p == NULL;
    return p;
}

void *render_grow(context *c, void *elements, size_t count, size_t want, size_t *capacity, size_t each_bytes)
{
    if (want <= *capacity) return elements;
    size_t wider = max_size(want, max_size(2 * *capacity, each_bytes == 1 ? 32 : 4));
    void *moved = render_take(c, wider, each_bytes);
    if (moved == NULL) return NULL;
    if (count > 0) memcpy(moved, elements, count * each_bytes);
    *capacity = wider;
    return moved;
}

/* ---- scopes ---- */

static void run(context *c, const struct node *list);

/* Scopes live in the arena: a macro may keep the one it was defined in. NULL after an error, as outside of all. */
static struct scope *new_scope(context *c, struct scope *parent)
{
    struct scope *s = render_take(c, 1, sizeof *s);
    if (s != NULL) s->parent = parent;
    return s;
}

/* Runs a body in `scope`, its text going to `b`, or on to where it goes now where `b` is NULL. */
static void run_in(context *c, const struct node *body, struct scope *scope, struct builder *b)
{
    struct scope *outer = c->scope;
    struct builder *out = c->out;
    c->scope = scope;
    if (b != NULL) c->out = b;
    run(c, body);
    c->scope = outer;
    c->out = out;
}

value render_capture(context *c, const struct node *n)
{
    struct builder b = { 0 };
    run_in(c, n->child[0], new_scope(c, c->scope), &b);
    return string_built(&b);
}

void render_bind(context *c, uint32_t name, value v)
{
    if (c->scope == NULL) {
        c->root[name] = v;
        return;
    }
    struct binding *b = c->scope->vars;
    while (b != NULL && b->name != name) b = b->next;
    if (b == NULL && (b = render_take(c, 1, sizeof *b)) != NULL) {
        *b = (struct binding){ name, v, c->scope->vars };
        c->scope->vars = b;
    }
    if (b != NULL) b->value = v;
}

/* A target is a name, a field of a namespace, or a tuple of targets that takes items apart. */
static void assign(context *c, const struct node *target, value v)
{
    size_t i = 0;
    c->at = target->at;
    if (target->op == OP_NAME) {
        render_bind(c, target->name, v);
    } else if (target->op == OP_ATTRIBUTE) {
        value space = eval_node(c, target->child[0]);
        if (space.kind != NAMESPACE) render_fail(c, "cannot assign attribute on non-namespace object");
        else value_put(c, space, of_view(c->t->names[target->name].text, ORIGIN_TEMPLATE), v);
    } else {
        struct span all = value_items(c, v);
        for (const struct node *t = target->child[0]; t != NULL && i < all.count; t = t->next)
            assign(c, t, all.items[i++]);
        size_t wanted = 0;
        for (const struct node *t = target->child[0]; t != NULL; t = t->next) wanted++;
        if (wanted > i) render_fail(c, "not enough values to unpack (expected %zu, got %zu)", wanted, i);
        if (all.count > i) render_fail(c, "too many values to unpack (expected %zu)", wanted);
    }
}

/* ---- statements ---- */

static void run_data(context *c, const struct node *n)
{
    string_put(c, c->out, view_in(n->literal), ORIGIN_TEMPLATE);
}

/* Straight into the text, without a string in between. */
static void run_print(context *c, const struct node *n)
{
    value_print(c, c->out, eval_node(c, n->child[0]));
}

/* In the innermost scope; gone with it. Only a namespace reaches further out. */
static void run_set(context *c, const struct node *n)
{
    assign(c, n->child[0], eval_node(c, n->child[1]));
}

/* All values are computed outside, then bound inside. */
static void run_with(context *c, const struct node *n)
{
    struct scope *outer = c->scope, *inner = new_scope(c, outer);
    for (const struct node *set = n->child[0]; set != NULL; set = set->next) {
        value v = eval_node(c, set->child[1]);
        c->scope = inner;
        assign(c, set->child[0], v);
        c->scope = outer;
    }
    run_in(c, n->child[1], inner, NULL);
}

/* A generation or block tag. */
static void run_scope(context *c, const struct node *n)
{
    run_in(c, n->child[0], new_scope(c, c->scope), NULL);
}

static void run_if(context *c, const struct node *n)
{
    while (!value_truth(eval_node(c, n->child[0]))) { /* along the elifs, which are no deeper than the if */
        const struct node *rest = n->child[2];
        if (rest == NULL || rest->op != OP_IF || !rest->flag) {
            run(c, rest);
            return;
        }
        n = rest;
    }
    run(c, n->child[1]);
}

/* Noticed by run() after each statement, cleared by the loop. */
static void run_break(context *c, const struct node *n)
{
    c->jump = n->flag ? JUMP_CONTINUE : JUMP_BREAK;
}

/* ---- loops ---- */

/* Binds what a round has, in a scope where nothing of the round before is left. */
static void begin_round(context *c, const struct node *n, struct scope *scope, value item, const value *self)
{
    struct scope *outer = c->scope;
    for (struct binding *b = scope->vars; b != NULL; b = b->next) b->value = of_kind(MISSING);
    c->scope = scope;
    if (self != NULL) render_bind(c, NAME_LOOP, *self);
    assign(c, n->child[0], item);
    c->scope = outer;
}

/* The items that pass the loop's test. */
static struct span passing(context *c, const struct node *n, struct scope *scope, struct span all)
{
    value kept = value_list(c, LIST);
    for (size_t i = 0; i < all.count && !c->failed; i++) {
        struct scope *outer = c->scope;
        begin_round(c, n, scope, all.items[i], NULL);
        c->scope = scope;
        bool passes = value_truth(eval_node(c, n->child[3]));
        c->scope = outer;
        if (passes) value_add(c, kept, all.items[i]);
    }
    return value_items(c, kept);
}

/* One loop over `over`, at the depth that loop.depth shows. The loop object is one for all rounds: {% set outer = loop
 * %} sees it move on. */
static void run_loop(context *c, const struct node *n, value over, size_t depth)
{
    struct loop *l = render_take(c, 1, sizeof *l);
    struct scope *scope = new_scope(c, c->scope);
    value self = of_kind(LOOP);
    if (scope == NULL || l == NULL) return;
    *l = (struct loop){ .node = n, .outer = c->scope, .over = value_items(c, over), .depth = depth };
    if (n->child[3] != NULL) l->over = passing(c, n, scope, l->over);
    self.as.loop = l;
    for (; l->index < l->over.count && c->jump != JUMP_BREAK && render_charge(c, 2); l->index++) {
        c->jump = JUMP_NONE;
        begin_round(c, n, scope, l->over.items[l->index], &self);
        run_in(c, n->child[2], scope, NULL);
        l->completed = l->completed || c->jump == JUMP_NONE;
    }
    c->jump = JUMP_NONE;
    /* Jinja's else runs also where every round ended in a break or continue */
    if (!l->completed && n->child[4] != NULL) run_in(c, n->child[4], scope, NULL);
}

static void run_for(context *c, const struct node *n)
{
    run_loop(c, n, eval_node(c, n->child[1]), 1);
}

/* The loop again, one level deeper, over what it is called with; its text is the value. */
value render_loop(context *c, const struct loop *l, const struct call *k)
{
    struct builder b = { 0 }, *out = c->out;
    struct scope *scope = c->scope;
    if (!l->node->flag) return render_fail(c, "this loop is not recursive");
    if (k->pos_count != 1) return render_fail(c, "loop() takes one argument");
    c->scope = l->outer;
    c->out = &b;
    run_loop(c, l->node, k->pos[0], l->depth + 1);
    c->scope = scope;
    c->out = out;
    return string_built(&b);
}

/* ---- macros ---- */

static value macro_value(context *c, const struct node *n)
{
    value v = of_kind(MACRO);
    struct macro *m = render_take(c, 1, sizeof *m);
    if (m == NULL) return of_kind(UNDEFINED);
    *m = (struct macro){ n, c->scope };
    v.as.macro = m;
    return v;
}

static void run_macro(context *c, const struct node *n)
{
    render_bind(c, n->name, macro_value(c, n));
}

/* The body becomes a macro named caller. */
static void run_calling(context *c, const struct node *n)
{
    value caller = macro_value(c, n->child[1]);
    value_print(c, c->out, eval_call(c, n->child[0], &caller));
}

/* The argument of that name, which is then used up. */
static value take_named(const struct call *k, view name, bool *used, value otherwise)
{
    for (size_t i = 0; i < k->named_count; i++) {
        if (used[i] || !view_equal(k->named[i].name, name)) continue;
        used[i] = true;
        return k->named[i].value;
    }
    return otherwise;
}

/* What is left of the arguments: caller, kwargs and varargs, where the macro's body mentions them; else an error. */
static void bind_rest(context *c, const struct node *macro, const struct call *k, size_t plain, bool *used)
{
    value named = value_list(c, DICT), rest = value_list(c, TUPLE);
    view name = c->t->names[macro->name].text;
    if (macro->flag & 1 << NAME_CALLER)
        render_bind(c, NAME_CALLER, take_named(k, view_of("caller"), used, of_undefined(view_of("caller"))));
    for (size_t i = 0; i < k->named_count; i++)
        if (!used[i]) value_put(c, named, of_view(k->named[i].name, ORIGIN_TEMPLATE), k->named[i].value);
    for (size_t i = plain; i < k->pos_count; i++) value_add(c, rest, k->pos[i]);
    if (macro->flag & 1 << NAME_KWARGS) render_bind(c, NAME_KWARGS, named);
    else if (value_truth(named))
        render_fail(c, "macro '%.*s' takes no keyword argument '%.*s'", (int)min_size(name.len_bytes, 60),
                    (const char *)name.ptr, (int)min_size(named.as.list->items[0].len, 60),
                    (const char *)named.as.list->items[0].as.bytes);
    if (macro->flag & 1 << NAME_VARARGS) render_bind(c, NAME_VARARGS, rest);
    else if (value_truth(rest))
        render_fail(c, "macro '%.*s' takes not more than %zu arguments", (int)min_size(name.len_bytes, 60),
                    (const char *)name.ptr, plain);
}

/* Its text is the value, with the origins it was printed with. A default sees the parameters before it. */
value render_macro(context *c, const struct macro *m, const struct call *k)
{
    struct builder b = { 0 };
    struct scope *outer = c->scope, *scope = new_scope(c, m->scope);
    bool used[TEMPLATE_ARGS_MAX + 1] = { false };
    size_t plain = 0;
    assert(k->named_count <= TEMPLATE_ARGS_MAX);
    if (scope == NULL) return of_kind(UNDEFINED);
    c->scope = scope;
    for (const struct node *p = m->node->child[0]; p != NULL && !c->failed; p = p->next, plain++) {
        view name = c->t->names[p->name].text;
        value v = plain < k->pos_count ? k->pos[plain] : take_named(k, name, used, of_kind(MISSING));
        if (!given(v)) v = p->child[0] != NULL ? eval_node(c, p->child[0]) : of_undefined(name);
        render_bind(c, p->name, v);
    }
    bind_rest(c, m->node, k, plain, used);
    c->scope = outer;
    if (!c->failed) run_in(c, m->node->child[1], scope, &b);
    return string_built(&b);
}

/* ---- all of it ---- */

static void run(context *c, const struct node *list)
{
    static void (*const table[])(context *, const struct node *) = {
        [OP_DATA] = run_data,   [OP_PRINT] = run_print, [OP_IF] = run_if,     [OP_FOR] = run_for,
        [OP_SET] = run_set,     [OP_MACRO] = run_macro, [OP_WITH] = run_with, [OP_CALLING] = run_calling,
        [OP_SCOPE] = run_scope, [OP_BREAK] = run_break,
    };
    for (const struct node *n = list; n != NULL && c->jump == JUMP_NONE && !c->failed; n = n->next) {
        assert(n->op < sizeof table / sizeof *table && table[n->op] != NULL);
        if (eval_enter(c, n)) table[n->op](c, n);
        c->depth--;
    }
}

/* The caller lists them: the template cannot. */
static enum template_origin origin_of(const struct render_options *o, view name)
{
    for (size_t i = 0; i < o->trusted_count; i++)
        if (view_is(name, o->trusted[i])) return ORIGIN_TOKEN;
    return ORIGIN_TEXT;
}

/* The functions of builtin.h, and over them the variables, for each name the template mentions. */
static void bind_variables(context *c, const json_value *vars)
{
    for (size_t i = 0; i < c->t->name_count && !c->failed; i++) {
        const struct name *name = &c->t->names[i];
        const json_value *v = json_find(vars, name->text);
        c->root[i] = of_kind(MISSING);
        if (v != NULL) {
            c->root[i] = value_from_json(c, v, origin_of(c->options, name->text));
        } else if (name->rows[AS_FUNCTION] != NULL) {
            struct bound *b = render_take(c, 1, sizeof *b);
            if (b == NULL) return;
            *b = (struct bound){ of_kind(MISSING), name->rows[AS_FUNCTION] };
            c->root[i] = of_kind(FUNCTION);
            c->root[i].as.bound = b;
        }
    }
}

/* The arena is the caller's: nothing is kept between renderings. */
bool template_render(const chat_template *t, const json_value *vars, const struct render_options *options,
                     arena *scratch, struct rendered *out, err *e)
{
    const struct template_limits *l = &options->limits;
    struct builder b = { 0 };
    context c = { .t = t, .options = options, .arena = scratch, .e = e, .out = &b };
    size_t memory = l->memory_bytes == 0 ? TEMPLATE_MEMORY_MAX : l->memory_bytes;
    if (vars->type != JSON_OBJECT) return fail(e, ERR_VALUE, vars->offset, "template variables: no JSON object");
    c.steps_left = l->steps == 0 ? TEMPLATE_STEPS_MAX : l->steps;
    c.output_max = min_size(l->output_bytes == 0 ? TEMPLATE_OUTPUT_MAX : l->output_bytes, UINT32_MAX);
    if (!add_size(scratch->used_bytes, memory, &c.memory_end)) c.memory_end = SIZE_MAX;
    if ((c.root = render_take(&c, t->name_count, sizeof *c.root)) != NULL) bind_variables(&c, vars);
    run(&c, t->body);
    if (c.failed) return false;
    *out = (struct rendered){ view_in(string_built(&b)), b.runs, b.run_count };
    return true;
}
