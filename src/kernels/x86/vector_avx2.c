/* vector.h with AVX2, FMA and F16C: vector_lanes.h over lanes_avx2.h. */
#include "kernels/x86/lanes_avx2.h"

#include "kernels/vector_lanes.h"

void vector_bind_avx2(struct vector_kernels *k)
{
    vector_bind_lanes(k);
}
