/* attention_coded.c with AVX2: attention_coded_lanes.h over codes_avx2.h. */
#include "kernels/x86/codes_avx2.h"

#include "kernels/attention_coded_lanes.h"

void coded_bind_avx2(struct attention_kernels *k)
{
    k->coded_span = coded_span_lanes;
}
