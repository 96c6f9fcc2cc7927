/* What each statement does, and one rendering from start to end. Scopes follow Jinja: for, with, macro, call, filter
 * and set blocks have one of their own, if has none; a macro sees the scope it was defined in, not its caller's. */
#include "template/eval.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- errors, steps, memory: see value.h ---- */

value render_fail(context *c, enum err_code code, const char *format, ...)
{
    char reason[200];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    if (!c->failed) template_fail(c->t->source, c->at, code, c->e, reason);
    c->failed = true;
    return of_undefined(view_of(""));
}

bool render_charge(context *c, size_t steps)
{
    if (steps > c->steps_left) render_fail(c, ERR_LIMIT, "more steps than the limit allows");
    if (!c->failed) c->steps_left -= steps;
    return !c->failed;
}

/* Bounded by a limit beside the arena's, and paid for by size, because fresh pages are what a memory bomb costs. */
void *render_take(context *c, size_t count, size_t each_bytes)
{
    size_t want;
    if (!mul_size(count, each_bytes, &want) || c->arena->used_bytes > c->memory_end ||
        want > c->memory_end - c->arena->used_bytes) {
        render_fail(c, ERR_LIMIT, "values take more memory than the limit allows");
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
        if (space.kind != NAMESPACE) render_fail(c, ERR_VALUE, "cannot assign attribute on non-namespace object");
        else value_put(c, space, of_view(c->t->names[target->name].text, ORIGIN_TEMPLATE), v);
    } else if (target->op != OP_LIST) {
        render_fail(c, ERR_VALUE, "a constant cannot be set");
    } else {
        const struct list *all = value_items(c, v);
        size_t wanted = 0;
        for (const struct node *t = target->child[0]; t != NULL; t = t->next, wanted++)
            if (i < all->count) assign(c, t, all->items[i++]);
        if (wanted > i) render_fail(c, ERR_VALUE, "not enough values to unpack (expected %zu, got %zu)", wanted, i);
        if (all->count > i) render_fail(c, ERR_VALUE, "too many values to unpack (expected %zu)", wanted);
    }
}

/* ---- statements ---- */

/* A scope; all values are computed outside, then bound inside. */
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
static const struct list *passing(context *c, const struct node *n, struct scope *scope, const struct list *all)
{
    value kept = value_list(c, LIST);
    for (size_t i = 0; i < all->count && !c->failed; i++) {
        struct scope *outer = c->scope;
        begin_round(c, n, scope, all->items[i], NULL);
        c->scope = scope;
        bool passes = value_truth(eval_node(c, n->child[3]));
        c->scope = outer;
        if (passes) value_add(c, kept, all->items[i]);
    }
    return kept.as.list;
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
    for (; l->index < l->over->count && c->jump != JUMP_BREAK && render_charge(c, 2); l->index++) {
        c->jump = JUMP_NONE;
        begin_round(c, n, scope, l->over->items[l->index], &self);
        run_in(c, n->child[2], scope, NULL);
        l->completed = l->completed || c->jump == JUMP_NONE;
    }
    c->jump = JUMP_NONE;
    /* Jinja's else runs also where every round ended in a break or continue */
    if (!l->completed && n->child[4] != NULL) run_in(c, n->child[4], scope, NULL);
}

/* The loop again, one level deeper, over what it is called with; its text is the value. */
value render_loop(context *c, const struct loop *l, const struct call *k)
{
    struct builder b = { 0 }, *out = c->out;
    struct scope *scope = c->scope;
    if (!l->node->flag) return render_fail(c, ERR_VALUE, "this loop is not recursive");
    if (k->pos->count != 1) return render_fail(c, ERR_VALUE, "loop() takes one argument");
    c->scope = l->outer;
    c->out = &b;
    run_loop(c, l->node, k->pos->items[0], l->depth + 1);
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

/* The place of that name among the parameters that no argument by position fills; SIZE_MAX where there is none. */
static size_t place_of(const context *c, const struct macro *m, const struct call *k, view name)
{
    size_t i = 0;
    for (const struct node *p = m->node->child[0]; p != NULL; p = p->next, i++)
        if (i >= k->pos->count && view_equal(c->t->names[p->name].text, name)) return i;
    return SIZE_MAX;
}

/* What no parameter takes: caller, kwargs and varargs, where the macro's body mentions them; else an error. */
static void bind_rest(context *c, const struct macro *m, const struct call *k, size_t plain)
{
    value kwargs = value_list(c, DICT), varargs = value_list(c, TUPLE), undefined = of_undefined(view_of("caller"));
    uint8_t mentions = m->node->flag;
    view own = c->t->names[m->node->name].text;
    const struct list *named = k->named.as.list;
    const value *caller = value_find(c, k->named, of_text("caller"));
    for (size_t i = 0; i < named->count && !c->failed; i += 2)
        if (place_of(c, m, k, view_in(named->items[i])) == SIZE_MAX &&
            !(mentions & 1 << NAME_CALLER && value_is(named->items[i], "caller")))
            value_put(c, kwargs, named->items[i], named->items[i + 1]);
    for (size_t i = plain; i < k->pos->count; i++) value_add(c, varargs, k->pos->items[i]);
    if ((value_truth(varargs) && !(mentions & 1 << NAME_VARARGS)) ||
        (value_truth(kwargs) && !(mentions & 1 << NAME_KWARGS)))
        render_fail(c, ERR_VALUE, "macro '%.*s' has no parameter for an argument", (int)min_size(own.len_bytes, 60),
                    (const char *)own.ptr);
    if (mentions & 1 << NAME_CALLER) render_bind(c, NAME_CALLER, caller != NULL ? *caller : undefined);
    if (mentions & 1 << NAME_KWARGS) render_bind(c, NAME_KWARGS, kwargs);
    if (mentions & 1 << NAME_VARARGS) render_bind(c, NAME_VARARGS, varargs);
}

/* Its text is the value, with the origins it was printed with. A default sees the parameters before it. */
value render_macro(context *c, const struct macro *m, const struct call *k)
{
    struct builder b = { 0 };
    struct scope *outer = c->scope, *scope = c->scope = new_scope(c, m->scope);
    size_t plain = 0;
    for (const struct node *p = m->node->child[0]; p != NULL && !c->failed; p = p->next, plain++) {
        value name = of_view(c->t->names[p->name].text, ORIGIN_TEMPLATE), v = of_undefined(view_in(name));
        const value *named = value_find(c, k->named, name);
        if (plain < k->pos->count) v = k->pos->items[plain];
        else if (named != NULL) v = *named;
        else if (p->child[0] != NULL) v = eval_node(c, p->child[0]);
        render_bind(c, p->name, v);
    }
    bind_rest(c, m, k, plain);
    c->scope = outer;
    if (!c->failed) run_in(c, m->node->child[1], scope, &b);
    return string_built(&b);
}

/* ---- all of it ---- */

/* A jump is noticed by run() after each statement, and cleared by the loop. */
static void run_statement(context *c, const struct node *n)
{
    value caller;
    switch ((enum op)n->op) {
    case OP_DATA: string_put(c, c->out, view_in(n->literal), ORIGIN_TEMPLATE); break;
    case OP_PRINT: value_print(c, c->out, eval_node(c, n->child[0])); break;
    case OP_IF: run_if(c, n); break;
    case OP_FOR: run_loop(c, n, eval_node(c, n->child[1]), 1); break;
    case OP_SET: assign(c, n->child[0], eval_node(c, n->child[1])); break; /* in the innermost scope */
    case OP_MACRO: render_bind(c, n->name, macro_value(c, n)); break;
    case OP_CALLING: /* the body becomes a macro named caller */
        caller = macro_value(c, n->child[1]);
        value_print(c, c->out, eval_call(c, n->child[0], &caller));
        break;
    case OP_WITH: run_with(c, n); break;
    case OP_BREAK: c->jump = n->flag ? JUMP_CONTINUE : JUMP_BREAK; break;
    default:
        assert(n->op < OP_LITERAL); /* an expression is no statement */
    }
}

static void run(context *c, const struct node *list)
{
    for (const struct node *n = list; n != NULL && c->jump == JUMP_NONE && !c->failed; n = n->next) {
        if (eval_enter(c, n)) run_statement(c, n);
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
