/* attention.h with AVX-512: attention_lanes.h over lanes_avx512.h. */
#include "kernels/x86/lanes_avx512.h"

#include "kernels/attention_lanes.h"

void attention_bind_avx512(struct attention_kernels *k)
{
    attention_bind_lanes(k);
}
