/* vector.h with AVX-512: vector_lanes.h over lanes_avx512.h. */
#include "kernels/x86/lanes_avx512.h"

#include "kernels/vector_lanes.h"

void vector_bind_avx512(struct vector_kernels *k)
{
    vector_bind_lanes(k);
}
