/* Which tier of the operations a CPU gets: the one of its products (kernels/gemm.h), so the CPU is asked in one place.
 */
#include "train/ops.h"

#include "kernels/gemm.h"

#include <string.h>

#if defined __x86_64__ && !defined HEARTH_REF_ONLY
extern const struct ops ops_avx2, ops_avx512;
static const struct ops *const FAST[] = { &ops_avx2, &ops_avx512 };
#else
static const struct ops *const FAST[] = { &ops_ref }; /* NEON is every 64-bit ARM compiler's baseline */
#endif

const struct ops *ops_tier(const char *tier)
{
    const struct gemm_kernels *products = gemm_tier(tier);
    if (products == NULL) return NULL;
    for (size_t i = 0; i < sizeof FAST / sizeof FAST[0]; i++)
        if (strcmp(FAST[i]->tier, products->tier) == 0) return FAST[i];
    return &ops_ref;
}
