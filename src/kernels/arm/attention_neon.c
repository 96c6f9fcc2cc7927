/* attention.h with NEON: attention_lanes.h over lanes_neon.h. */
#include "kernels/arm/lanes_neon.h"

#include "kernels/attention_lanes.h"

void attention_bind_neon(struct attention_kernels *k)
{
    attention_bind_lanes(k);
}
