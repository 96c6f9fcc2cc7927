/* The tiers this CPU can run, for the tests of this folder: name, bindings. The definition comes first. */
#ifndef HEARTH_TESTS_KERNELS_TIERS_H
#define HEARTH_TESTS_KERNELS_TIERS_H

#include "kernels/tiers.h"

#include <string.h>

struct tier {
    const char *name;
    struct vector_kernels vector;
    struct attention_kernels attention;
    struct route_kernels route;
};

enum { TIERS_MAX = 4 };

/* Fills `tiers` and returns how many there are. */
static inline size_t tiers_here(struct tier tiers[static TIERS_MAX])
{
    size_t n = 0;
    tiers[n].name = "ref";
    vector_bind_c(&tiers[n].vector);
    route_bind_c(&tiers[n].route);
    attention_bind_c(&tiers[n++].attention);
#if defined(__x86_64__) && !defined(HEARTH_REF_ONLY)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        tiers[n] = tiers[0];
        tiers[n].name = "avx2";
        vector_bind_avx2(&tiers[n].vector);
        route_bind_avx2(&tiers[n].route);
        attention_bind_avx2(&tiers[n].attention);
        coded_bind_avx2(&tiers[n++].attention);
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vnni")) {
        tiers[n] = tiers[0];
        tiers[n].name = "avx512";
        vector_bind_avx512(&tiers[n].vector);
        route_bind_avx512(&tiers[n].route);
        attention_bind_avx512(&tiers[n].attention);
        coded_bind_avx512(&tiers[n++].attention);
    }
#elif defined(__aarch64__) && !defined(HEARTH_REF_ONLY)
    tiers[n] = tiers[0];
    tiers[n].name = "neon";
    vector_bind_neon(&tiers[n].vector);
    route_bind_neon(&tiers[n].route);
    attention_bind_neon(&tiers[n].attention);
    coded_bind_neon(&tiers[n++].attention);
#endif
    return n;
}

#endif
