/* The operations of ops_body.h compiled for AVX2 and FMA: the same source, so the same bits. */
#include "train/ops_body.h"

extern const struct ops ops_avx2;
const struct ops ops_avx2 = OPS_TABLE("avx2");
