/* What each tier overwrites in `struct kernels`: one function a file, named after it. bind.c alone calls these, in the
 * order of the tiers, so a tier needs to hold only what it improves. */
#ifndef HEARTH_KERNELS_TIERS_H
#define HEARTH_KERNELS_TIERS_H

#include "kernels/attention.h"
#include "kernels/route.h"
#include "kernels/vector.h"

struct kernels;

/* The definitions: these fill every slot. */
void matmul_bind_c(struct kernels *k);
void quantize_bind_c(struct kernels *k);
void vector_bind_c(struct vector_kernels *k);
void attention_bind_c(struct attention_kernels *k);
void route_bind_c(struct route_kernels *k);
void coded_span_c(const struct attention_span *s); /* its slot for coded pages */

void matmul_bind_avx2(struct kernels *k);
void quantize_bind_avx2(struct kernels *k);
void vector_bind_avx2(struct vector_kernels *k);
void attention_bind_avx2(struct attention_kernels *k);
void route_bind_avx2(struct route_kernels *k);
void coded_bind_avx2(struct attention_kernels *k);

void matmul_bind_avxvnni(struct kernels *k);

void matmul_bind_avx512(struct kernels *k);
void quantize_bind_avx512(struct kernels *k);
void vector_bind_avx512(struct vector_kernels *k);
void attention_bind_avx512(struct attention_kernels *k);
void route_bind_avx512(struct route_kernels *k);
void coded_bind_avx512(struct attention_kernels *k);

void matmul_bind_neon(struct kernels *k);
void quantize_bind_neon(struct kernels *k);
void vector_bind_neon(struct vector_kernels *k);
void attention_bind_neon(struct attention_kernels *k);
void route_bind_neon(struct route_kernels *k);
void coded_bind_neon(struct attention_kernels *k);

#endif
