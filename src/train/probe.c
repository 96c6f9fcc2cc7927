/* See probe.h. */
#include "train/probe.h"

static bool probe_in(arena *a, team *t, const struct shape *s, const struct batch *b, const double *params,
                     double *grads, const char *tier, double *loss, err *e)
{
    const struct gemm_kernels *gemm = gemm_tier(tier);
    const struct ops *ops = ops_tier(tier);
    if (gemm == NULL || ops == NULL) return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "cpu tier: %s", tier);
    struct layout l;
    struct net n;
    if (!layout_make(s, a, &l, e)) return false;
    if (!net_make(&n, &l, b->rows * b->row_tok, b->row_tok, gemm, ops, t, a, e)) return false;
    real *p = ARENA_ARRAY(a, real, l.total, "parameters", e), *g = ARENA_ARRAY(a, real, l.total, "gradients", e);
    if (p == NULL || g == NULL) return false;
    size_t targets = 0;
    for (size_t i = 0; i < l.total; i++) p[i] = (real)params[i];
    for (size_t i = 0; i < b->rows * b->row_tok; i++) targets += b->target[i] >= 0;
    struct batch_result r = net_run(&n, b, p, g, 1 / (double)targets, 1);
    for (size_t i = 0; i < l.total; i++) grads[i] = (double)g[i];
    *loss = r.loss / (double)targets + r.aux;
    return true;
}

bool net_probe(const struct shape *s, const struct batch *b, const double *params, double *grads, const char *tier,
               size_t threads, double *loss, err *e)
{
    arena a = { 0 };
    team *t = NULL;
    bool good = arena_new(&a, (size_t)1 << 32, e) && team_new(&t, threads, NULL, 0, e) &&
                probe_in(&a, t, s, b, params, grads, tier, loss, e);
    team_free(t);
    arena_free(&a);
    return good;
}
