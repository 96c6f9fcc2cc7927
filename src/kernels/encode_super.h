/* Encoders of super-blocks: rows of encode.c's table; callers go through encode_kind(). */
#ifndef HEARTH_KERNELS_ENCODE_SUPER_H
#define HEARTH_KERNELS_ENCODE_SUPER_H

#include <stdint.h>

void encode_q4_k(const double *x, const double *w, uint8_t *out);
void encode_q5_k(const double *x, const double *w, uint8_t *out);
void encode_q6_k(const double *x, const double *w, uint8_t *out);

#endif
