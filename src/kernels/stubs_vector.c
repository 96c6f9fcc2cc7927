/* Holds the places of vector.c and attention.c, which another branch brings. Deleted at the merge. */
#include "kernels/tiers.h"

#define STUB(name, kind) \
    void name(struct kind *k) \
    { \
        (void)k; \
    }

STUB(vector_bind_avx2, vector_kernels)
STUB(attention_bind_avx2, attention_kernels)
STUB(vector_bind_avx512, vector_kernels)
STUB(attention_bind_avx512, attention_kernels)
STUB(vector_bind_neon, vector_kernels)
STUB(attention_bind_neon, attention_kernels)
