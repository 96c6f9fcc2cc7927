/* attention.h with AVX2, FMA and F16C: attention_lanes.h over lanes_avx2.h. */
#include "kernels/x86/lanes_avx2.h"

#include "kernels/attention_lanes.h"

void attention_bind_avx2(struct attention_kernels *k)
{
    attention_bind_lanes(k);
}
