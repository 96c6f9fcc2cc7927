/* Rope tables: {cos, sin} of every position and pair, made in f64 by our own functions and rounded once.
 * Sources: RoFormer (arXiv 2104.09864) section 3.2; YaRN (arXiv 2309.00071) section 3.2 and 3.4; LongRoPE
 * (arXiv 2402.13753) section 3. */
#ifndef HEARTH_MODEL_ROPE_H
#define HEARTH_MODEL_ROPE_H

#include "base/arena.h"
#include "model/hyper.h"

typedef struct rope_table {
    size_t half;       /* pairs a head */
    size_t ready_tok;  /* positions made so far: they are made when a step first reaches them */
    size_t ctx_tok;
    double *frequency; /* half: radians a position */
    double magnitude;
    float *angles;     /* ctx_tok x half x {cos, sin} */
} rope_table;

/* `divisors` are rope.dims / 2 factors that divide the frequencies (Llama-3, longrope), or NULL. */
bool rope_table_new(rope_table *r, const struct rope_config *config, const float *divisors, size_t ctx_tok, arena *a,
                    err *e);

/* Makes the angles of positions below `tok` (at most ctx_tok). */
void rope_table_reach(rope_table *r, size_t tok);

static inline const float *rope_angles(const rope_table *r, size_t pos)
{
    return r->angles + pos * r->half * 2;
}

#endif
