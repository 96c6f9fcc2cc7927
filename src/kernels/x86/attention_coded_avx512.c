/* attention_coded.c with AVX-512 VNNI: attention_coded_lanes.h over codes_avx512.h. */
#include "kernels/x86/codes_avx512.h"

#include "kernels/attention_coded_lanes.h"

void coded_bind_avx512(struct attention_kernels *k)
{
    k->coded_span = coded_span_lanes;
}
