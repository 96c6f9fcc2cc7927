/* Which tier of the products a CPU gets: the binding of gemm.h, and with bind.c the only place that asks what the CPU
 * is. */
#include "kernels/gemm.h"

#include <string.h>

#if defined __x86_64__ && !defined HEARTH_REF_ONLY
extern const struct gemm_kernels gemm_avx2, gemm_avx512;

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f");
}

static const struct { const struct gemm_kernels *kernels; bool (*has)(void); } FAST[] = {
    { &gemm_avx512, has_avx512 },
    { &gemm_avx2, has_avx2 },
};
#elif defined __aarch64__ && !defined HEARTH_REF_ONLY
extern const struct gemm_kernels gemm_neon;

static bool has_neon(void)
{
    return true; /* part of every 64-bit ARM CPU; the fma too */
}

static const struct { const struct gemm_kernels *kernels; bool (*has)(void); } FAST[] = { { &gemm_neon, has_neon } };
#else
static const struct { const struct gemm_kernels *kernels; bool (*has)(void); } FAST[] = { { &gemm_ref, NULL } };
#endif

const struct gemm_kernels *gemm_tier(const char *tier)
{
    for (size_t i = 0; i < sizeof FAST / sizeof FAST[0]; i++)
        if (FAST[i].has != NULL && FAST[i].has() && (tier == NULL || strcmp(tier, FAST[i].kernels->tier) == 0))
            return FAST[i].kernels;
    return tier == NULL || strcmp(tier, "ref") == 0 ? &gemm_ref : NULL;
}
