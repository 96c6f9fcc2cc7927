/* Between the expressions (eval.c) and the statements (render.c). */
#ifndef HEARTH_TEMPLATE_EVAL_H
#define HEARTH_TEMPLATE_EVAL_H

#include "template/syntax.h"

/* One level deeper, a step paid, c->at at the node; false where a limit says no, or after an error. Leave it anyway. */
bool eval_enter(context *c, const struct node *n);
value eval_node(context *c, const struct node *n);
value eval_call(context *c, const struct node *n, const value *caller); /* caller: of a call block, or NULL */

/* Binds in the innermost scope, the template's own where there is none. */
void render_bind(context *c, uint32_t name, value v);
value render_capture(context *c, const struct node *n); /* the text of a body */
value render_macro(context *c, const struct macro *m, const struct call *k);
value render_loop(context *c, const struct loop *l, const struct call *k); /* loop(items) */

#endif
