/* The one place where the CPU decides. Tiers are rows: what this CPU must have, and what to overwrite; a later row
 * builds on those before it only where its own list says so. */
#include "kernels/bind.h"

#include "kernels/tiers.h"

#include <stdio.h>
#include <string.h>

static bool always(void)
{
    return true;
}

static void bind_ref(struct kernels *k)
{
    matmul_bind_c(k);
    quantize_bind_c(k);
    vector_bind_c(&k->vector);
    attention_bind_c(&k->attention);
    route_bind_c(&k->route);
}

#if defined(__x86_64__) && !defined(HEARTH_REF_ONLY)
#include <cpuid.h>

/* Leaf 1, ECX bit 29 (clang 14 does not know its name); that the system keeps the registers is known from AVX2. */
static bool has_f16c(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c >> 29 & 1) != 0;
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

/* Leaf 7, subleaf 1, EAX bit 4. */
static bool has_avxvnni(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
}

static void bind_avx2(struct kernels *k)
{
    bind_ref(k);
    matmul_bind_avx2(k);
    quantize_bind_avx2(k);
    vector_bind_avx2(&k->vector);
    attention_bind_avx2(&k->attention);
    route_bind_avx2(&k->route);
    coded_bind_avx2(&k->attention);
}

static void bind_avxvnni(struct kernels *k)
{
    bind_avx2(k);
    matmul_bind_avxvnni(k);
}

static void bind_avx512(struct kernels *k)
{
    bind_avx2(k);
    matmul_bind_avx512(k);
    quantize_bind_avx512(k);
    vector_bind_avx512(&k->vector);
    attention_bind_avx512(&k->attention);
    route_bind_avx512(&k->route);
    coded_bind_avx512(&k->attention);
}
#endif

#if defined(__aarch64__) && !defined(HEARTH_REF_ONLY)
#include <sys/auxv.h>

/* HWCAP bits of linux/arch/arm64: half-precision vector arithmetic (10) and dot products (20). */
static bool has_neon(void)
{
    unsigned long caps = getauxval(AT_HWCAP);
    return (caps >> 10 & 1) != 0 && (caps >> 20 & 1) != 0;
}

static void bind_neon(struct kernels *k)
{
    bind_ref(k);
    matmul_bind_neon(k);
    quantize_bind_neon(k);
    vector_bind_neon(&k->vector);
    attention_bind_neon(&k->attention);
    route_bind_neon(&k->route);
    coded_bind_neon(&k->attention);
}
#endif

/* Slowest first. */
static const struct tier {
    const char *name;
    bool (*has)(void);
    void (*bind)(struct kernels *k);
} TIERS[] = {
    { "ref", always, bind_ref },
#if defined(__x86_64__) && !defined(HEARTH_REF_ONLY)
    { "avx2", has_avx2, bind_avx2 },
    { "avxvnni", has_avxvnni, bind_avxvnni },
    { "avx512", has_avx512, bind_avx512 },
#endif
#if defined(__aarch64__) && !defined(HEARTH_REF_ONLY)
    { "neon", has_neon, bind_neon },
#endif
};

enum { TIER_COUNT = sizeof TIERS / sizeof *TIERS };

/* Every list that kernels_tiers can give: it needs no memory of its own. CPUs with AVX-512 may lack AVX-VNNI. */
static const char *const LISTS[][TIER_COUNT + 1] = {
    { "ref" },
#if defined(__x86_64__) && !defined(HEARTH_REF_ONLY)
    { "ref", "avx2" },
    { "ref", "avx2", "avxvnni" },
    { "ref", "avx2", "avx512" },
    { "ref", "avx2", "avxvnni", "avx512" },
#endif
#if defined(__aarch64__) && !defined(HEARTH_REF_ONLY)
    { "ref", "neon" },
#endif
};

enum { LIST_COUNT = sizeof LISTS / sizeof *LISTS };

static bool is_list_of_this_cpu(const char *const *list)
{
    for (size_t i = 0; i < TIER_COUNT; i++) {
        if (!TIERS[i].has()) continue;
        if (*list == NULL || strcmp(*list, TIERS[i].name) != 0) return false;
        list++;
    }
    return *list == NULL;
}

const char *const *kernels_tiers(void)
{
    for (size_t i = 1; i < LIST_COUNT; i++)
        if (is_list_of_this_cpu(LISTS[i])) return LISTS[i];
    return LISTS[0];
}

/* "ref, avx2, avx512" of this CPU, for the error. */
static void tier_names(char *out, size_t room)
{
    size_t at = 0;
    out[0] = 0;
    for (const char *const *name = kernels_tiers(); *name != NULL && at < room; name++) {
        int wrote = snprintf(out + at, room - at, "%s%s", at > 0 ? ", " : "", *name);
        at += wrote > 0 ? (size_t)wrote : 0;
    }
}

bool kernels_bind(struct kernels *k, const char *tier, err *e)
{
    for (size_t i = TIER_COUNT; i-- > 0;) {
        if (!TIERS[i].has() || (tier != NULL && strcmp(tier, TIERS[i].name) != 0)) continue;
        *k = (struct kernels){ .tier = TIERS[i].name };
        TIERS[i].bind(k);
        return true;
    }
    char names[80];
    tier_names(names, sizeof names);
    return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "kernel tier: %s, this CPU has %s", tier, names);
}
