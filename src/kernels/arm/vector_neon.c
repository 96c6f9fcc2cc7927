/* vector.h with NEON: vector_lanes.h over lanes_neon.h. */
#include "kernels/arm/lanes_neon.h"

#include "kernels/vector_lanes.h"

void vector_bind_neon(struct vector_kernels *k)
{
    vector_bind_lanes(k);
}
