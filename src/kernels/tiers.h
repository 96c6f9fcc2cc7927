/* What each tier overwrites. The definitions (`_c`) fill every slot; another tier's function, where the CPU has its
 * instructions, those it improves. bind.c calls them in order. */
#ifndef HEARTH_KERNELS_TIERS_H
#define HEARTH_KERNELS_TIERS_H

#include "kernels/attention.h"
#include "kernels/vector.h"

void vector_bind_c(struct vector_kernels *k);
void vector_bind_avx2(struct vector_kernels *k);
void vector_bind_avx512(struct vector_kernels *k);
void vector_bind_neon(struct vector_kernels *k);

void attention_bind_c(struct attention_kernels *k);
void attention_bind_avx2(struct attention_kernels *k);
void attention_bind_avx512(struct attention_kernels *k);
void attention_bind_neon(struct attention_kernels *k);

#endif
