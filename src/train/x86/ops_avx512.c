/* The operations of ops_body.h compiled for AVX-512: the same source, so the same bits. */
#include "train/ops_body.h"

extern const struct ops ops_avx512;
const struct ops ops_avx512 = OPS_TABLE("avx512");
