/* attention_coded.c with NEON: attention_coded_lanes.h over codes_neon.h. */
#include "kernels/arm/codes_neon.h"

#include "kernels/attention_coded_lanes.h"

void coded_bind_neon(struct attention_kernels *k)
{
    k->coded_span = coded_span_lanes;
}
