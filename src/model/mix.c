/* Weight types of quantized models: see mix.h. The choices for Q4_K_M and the fallbacks are those that published files
 * show (../shared/reference/README.md lists two). */
#include "model/mix.h"

#include <assert.h>

static const struct mix MIXES[] = {
    /* name      number  most         output       more         fused */
    { "F32",     0,  WEIGHT_F32,  WEIGHT_F32,  WEIGHT_F32,  WEIGHT_F32  },
    { "F16",     1,  WEIGHT_F16,  WEIGHT_F16,  WEIGHT_F16,  WEIGHT_F16  },
    { "BF16",    32, WEIGHT_BF16, WEIGHT_BF16, WEIGHT_BF16, WEIGHT_BF16 },
    { "Q8_0",    7,  WEIGHT_Q8_0, WEIGHT_Q8_0, WEIGHT_Q8_0, WEIGHT_Q8_0 },
    { "Q6_K",    18, WEIGHT_Q6_K, WEIGHT_Q6_K, WEIGHT_Q6_K, WEIGHT_Q6_K },
    { "Q5_K_M",  17, WEIGHT_Q5_K, WEIGHT_Q6_K, WEIGHT_Q6_K, WEIGHT_Q6_K },
    { "Q5_K_S",  16, WEIGHT_Q5_K, WEIGHT_Q6_K, WEIGHT_Q5_K, WEIGHT_Q5_K },
    { "Q4_K_M",  15, WEIGHT_Q4_K, WEIGHT_Q6_K, WEIGHT_Q6_K, WEIGHT_Q5_K },
    { "Q4_K_S",  14, WEIGHT_Q4_K, WEIGHT_Q6_K, WEIGHT_Q4_K, WEIGHT_Q4_K },
    { "Q5_0",    8,  WEIGHT_Q5_0, WEIGHT_Q6_K, WEIGHT_Q5_0, WEIGHT_Q5_0 },
    { "Q4_0",    2,  WEIGHT_Q4_0, WEIGHT_Q6_K, WEIGHT_Q4_0, WEIGHT_Q4_0 },
};

enum role { ROLE_MOST, ROLE_OUTPUT, ROLE_EMBEDDING, ROLE_MORE, ROLE_FUSED, ROLE_KEEP };

/* What a name, without "blk.N.", asks for. Not listed: ROLE_MOST. */
static const struct {
    const char *name;
    enum role role;
} ROLES[] = {
    { "output.weight",             ROLE_OUTPUT    },
    { "token_embd.weight",         ROLE_EMBEDDING },
    { "attn_v.weight",             ROLE_MORE      },
    { "ffn_down.weight",           ROLE_MORE      },
    { "ffn_down_exps.weight",      ROLE_MORE      },
    { "ffn_down_shexp.weight",     ROLE_MORE      },
    { "attn_qkv.weight",           ROLE_FUSED     },
    { "ffn_gate_inp.weight",       ROLE_KEEP      }, /* routers: a wrong expert costs more than their bytes */
    { "ffn_gate_inp_shexp.weight", ROLE_KEEP      },
    { "rope_freqs.weight",         ROLE_KEEP      },
    { "position_embd.weight",      ROLE_KEEP      },
    { "token_types.weight",        ROLE_KEEP      },
    { "ssm_conv1d.weight",         ROLE_KEEP      }, /* rows of 3 or 4 values */
    { "shortconv.conv.weight",     ROLE_KEEP      },
};

/* Where rows are no whole number of blocks. */
static const struct {
    enum weight_type type;
    size_t block;
    enum weight_type instead;
} FALLBACKS[] = {
    { WEIGHT_Q4_K, 256, WEIGHT_Q5_0 },
    { WEIGHT_Q5_K, 256, WEIGHT_Q8_0 },
    { WEIGHT_Q6_K, 256, WEIGHT_Q8_0 },
    { WEIGHT_Q4_0, 32,  WEIGHT_F16  },
    { WEIGHT_Q5_0, 32,  WEIGHT_F16  },
    { WEIGHT_Q8_0, 32,  WEIGHT_F16  },
};

const struct mix *mix_at(size_t i)
{
    return i < sizeof MIXES / sizeof *MIXES ? &MIXES[i] : NULL;
}

static uint8_t upper(uint8_t c)
{
    return c >= 'a' && c <= 'z' ? (uint8_t)(c - 'a' + 'A') : c;
}

const struct mix *mix_named(view name)
{
    static const char suffix[] = "_M"; /* left out, it is meant */
    for (size_t i = 0; i < sizeof MIXES / sizeof *MIXES; i++) {
        view row = view_of(MIXES[i].name);
        size_t same = 0;
        while (same < row.len_bytes && same < name.len_bytes && row.ptr[same] == upper(name.ptr[same])) same++;
        if (same == name.len_bytes && same > 0 && (same == row.len_bytes || view_is(view_after(row, same), suffix)))
            return &MIXES[i];
    }
    return NULL;
}

bool mix_favours(size_t layer, size_t layers)
{
    assert(layer < layers && layers <= LAYERS_MAX);
    size_t first = layers / 8, last = 7 * layers / 8;
    return layer < first || layer >= last || (layer - first) % 3 == 2;
}

/* "blk.N.REST" to N and REST; false where the name is none of a layer's. */
static bool layer_of(view name, size_t layers, size_t *layer, view *rest)
{
    if (!view_starts(name, view_of("blk."))) return false;
    size_t at = 4, n = 0;
    for (; at < name.len_bytes && name.ptr[at] >= '0' && name.ptr[at] <= '9' && n < layers; at++)
        n = n * 10 + (size_t)(name.ptr[at] - '0');
    if (at == 4 || at >= name.len_bytes || name.ptr[at] != '.' || n >= layers) return false;
    *layer = n;
    *rest = view_after(name, at + 1);
    return true;
}

static bool ends(view name, const char *tail)
{
    size_t len = strlen(tail);
    return name.len_bytes >= len && view_is(view_after(name, name.len_bytes - len), tail);
}

static enum role role_of(const gguf_tensor *t, view rest)
{
    if (t->dim_count < 2 || !ends(rest, ".weight") || ends(rest, "_norm.weight")) return ROLE_KEEP;
    for (size_t i = 0; i < sizeof ROLES / sizeof *ROLES; i++)
        if (view_is(rest, ROLES[i].name)) return ROLES[i].role;
    return ROLE_MOST;
}

static enum weight_type fit(enum weight_type type, size_t row_values)
{
    for (size_t i = 0; i < sizeof FALLBACKS / sizeof *FALLBACKS; i++)
        if (FALLBACKS[i].type == type && row_values % FALLBACKS[i].block != 0) return fit(FALLBACKS[i].instead,
                                                                                          row_values);
    return type; /* depth: 256 to 32 to F16, which has no row */
}

uint32_t mix_type(const struct mix *mix, const gguf_tensor *t, size_t layers, bool tied)
{
    size_t layer = 0;
    view rest = t->name;
    bool in_layer = layer_of(t->name, layers, &layer, &rest);
    switch (role_of(t, rest)) {
    case ROLE_KEEP: return t->type;
    case ROLE_OUTPUT: return fit(mix->output, t->dims[0]);
    case ROLE_EMBEDDING: return fit(tied ? mix->output : mix->most, t->dims[0]);
    case ROLE_FUSED: return fit(mix->fused, t->dims[0]);
    case ROLE_MORE:
        if (in_layer && mix_favours(layer, layers)) return fit(mix->more, t->dims[0]);
        return fit(mix->most, t->dims[0]);
    case ROLE_MOST: break;
    }
    return fit(mix->most, t->dims[0]);
}
