/* Hyperparameters as an image's fields: see packed.h. */
#include "model/packed.h"

#include <stddef.h>

/* A hyperparameter's C type. Enums are ints; their numbers are the format's from here on. */
enum member { SIZE, FLOAT, DOUBLE, ENUM, BOOL };
_Static_assert(sizeof(enum rope_scaling) == sizeof(int) && sizeof(enum router) == sizeof(int), "enums are ints");
_Static_assert(ROPE_PLAIN == 0 && ROPE_LONG == 3 && ROUTER_CHOSEN == 0 && ROUTER_SIGMOID == 2,
               "check_fields.c's ranges");

#define AT(member) offsetof(struct hyper, member)

/* ORDER image_field */
static const struct {
    enum member type;
    size_t at;
} FIELDS[IMAGE_FIELDS] = {
    { SIZE, AT(layers) },
    { SIZE, AT(width) },
    { SIZE, AT(vocab) },
    { SIZE, AT(ffn_width) },
    { SIZE, AT(heads) },
    { SIZE, AT(kv_heads) },
    { SIZE, AT(key_dim) },
    { SIZE, AT(value_dim) },
    { SIZE, AT(ctx_train_tok) },
    { FLOAT, AT(eps) },
    { DOUBLE, AT(rope.base) },
    { SIZE, AT(rope.dims) },
    { ENUM, AT(rope.scaling) },
    { DOUBLE, AT(rope.factor) },
    { SIZE, AT(rope.original_ctx_tok) },
    { DOUBLE, AT(rope.beta_fast) },
    { DOUBLE, AT(rope.beta_slow) },
    { DOUBLE, AT(rope.magnitude) },
    { DOUBLE, AT(rope.log_multiplier) },
    { DOUBLE, AT(rope_local.base) },
    { SIZE, AT(rope_local.dims) },
    { ENUM, AT(rope_local.scaling) },
    { DOUBLE, AT(rope_local.factor) },
    { SIZE, AT(rope_local.original_ctx_tok) },
    { DOUBLE, AT(rope_local.beta_fast) },
    { DOUBLE, AT(rope_local.beta_slow) },
    { DOUBLE, AT(rope_local.magnitude) },
    { DOUBLE, AT(rope_local.log_multiplier) },
    { SIZE, AT(window) },
    { SIZE, AT(window_period) },
    { FLOAT, AT(attention_scale) },
    { FLOAT, AT(attention_soft_cap) },
    { FLOAT, AT(logit_soft_cap) },
    { FLOAT, AT(embedding_scale) },
    { FLOAT, AT(residual_scale) },
    { FLOAT, AT(logit_divisor) },
    { FLOAT, AT(q_temperature_scale) },
    { SIZE, AT(q_temperature_tok) },
    { SIZE, AT(latent.kv_rank) },
    { SIZE, AT(latent.q_rank) },
    { SIZE, AT(latent.nope_dim) },
    { SIZE, AT(latent.value_dim) },
    { SIZE, AT(experts.count) },
    { SIZE, AT(experts.top_k) },
    { SIZE, AT(experts.ffn_width) },
    { SIZE, AT(experts.shared_width) },
    { SIZE, AT(experts.dense_layers) },
    { ENUM, AT(experts.router) },
    { BOOL, AT(experts.renormalise) },
    { FLOAT, AT(experts.scale) },
    { SIZE, AT(experts.groups) },
    { SIZE, AT(experts.groups_used) },
};

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

void hyper_to_fields(const struct hyper *h, uint64_t out[static IMAGE_FIELDS])
{
    for (size_t i = 0; i < IMAGE_FIELDS; i++) {
        const void *at = (const uint8_t *)h + FIELDS[i].at;
        switch (FIELDS[i].type) {
        case SIZE:
            out[i] = *(const size_t *)at;
            break;
        case FLOAT:
            out[i] = bits_of((double)*(const float *)at);
            break;
        case DOUBLE:
            out[i] = bits_of(*(const double *)at);
            break;
        case ENUM:
            out[i] = (uint64_t) * (const int *)at;
            break;
        case BOOL:
            out[i] = *(const bool *)at ? 1 : 0;
            break;
        }
    }
}

bool hyper_of_image(const image *from, struct hyper *out, err *e)
{
    *out = (struct hyper){ .arch = arch_named(from->arch) };
    if (out->arch == NULL)
        return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "architecture \"%.*s\": this program does not compute it",
                    (int)from->arch.len_bytes, (const char *)from->arch.ptr);
    for (size_t i = 0; i < IMAGE_FIELDS; i++) {
        void *at = (uint8_t *)out + FIELDS[i].at;
        switch (FIELDS[i].type) {
        case SIZE:
            *(size_t *)at = image_count(from, (enum image_field)i);
            break;
        case FLOAT:
            *(float *)at = (float)image_real(from, (enum image_field)i);
            break;
        case DOUBLE:
            *(double *)at = image_real(from, (enum image_field)i);
            break;
        case ENUM:
            *(int *)at = (int)image_count(from, (enum image_field)i);
            break;
        case BOOL:
            *(bool *)at = image_count(from, (enum image_field)i) != 0;
            break;
        }
    }
    if (out->arch->latent != (out->latent.kv_rank > 0))
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "architecture %s: a key/value rank of %zu", out->arch->name,
                    out->latent.kv_rank);
    return true;
}
