/* Between the expressions (eval.c) and the statements (render.c). */
#ifndef HEARTH_TEMPLATE_EVAL_H
#define HEARTH_TEMPLATE_EVAL_H

#include "template/ast.h"

bool eval_node(context *c, const struct node *n, value *out);
bool eval_capture(context *c, const struct node *n, value *out);                        /* render.c */
bool eval_node_with(context *c, const struct node *n, const value *caller, value *out); /* {% call %} */

/* Binds in the innermost scope, the template's own where there is none. */
bool render_bind(context *c, uint32_t name, const value *v);

bool render_macro(context *c, const struct macro *m, struct call *call, value *out); /* render.c */
bool render_loop(context *c, const struct loop *l, struct call *call, value *out);   /* loop(items): render.c */

bool value_arithmetic(context *c, uint8_t op, const value *a, const value *b, value *out); /* op: TOK_ADD .. TOK_POW */
bool value_test_order(context *c, uint8_t op, const value *a, const value *b, bool *out);  /* op: of an OP_OPERAND */
bool value_raise_undefined(context *c, const value *v);

#endif
