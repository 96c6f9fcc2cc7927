/* model/mix.h against published files' choices. */
#include "model/mix.h"

#include "check.h"

#include <stdio.h>

static gguf_tensor tensor(const char *name, uint32_t dim_count, size_t cols)
{
    return (gguf_tensor){ .name = view_of(name), .type = WEIGHT_F16, .dim_count = dim_count,
                         .dims = { cols, 8, 1, 1 } };
}

static void favoured(void)
{
    /* 32 layers: 0..3, 28..31, and every third from 6. */
    static const char want[] = "####..#..#..#..#..#..#..#..#####";
    char got[33] = { 0 };
    for (size_t i = 0; i < 32; i++) got[i] = mix_favours(i, 32) ? '#' : '.';
    CHECK(memcmp(got, want, sizeof got) == 0, "%s", got);
    CHECK(mix_favours(0, 1), "the only layer");
    CHECK(!mix_favours(0, 2) && mix_favours(1, 2), "two: the last");
}

static const struct {
    const char *says, *mix, *name;
    uint32_t dim_count;
    size_t cols;
    bool tied;
    uint32_t want;
} ROWS[] = {
    { "an ordinary matrix",              "Q4_K_M", "blk.5.attn_q.weight",        2, 512, false, WEIGHT_Q4_K },
    { "V of a favoured layer",           "Q4_K_M", "blk.6.attn_v.weight",        2, 512, false, WEIGHT_Q6_K },
    { "V of another",                    "Q4_K_M", "blk.5.attn_v.weight",        2, 512, false, WEIGHT_Q4_K },
    { "the first layer",                 "Q4_K_M", "blk.0.ffn_down.weight",      2, 512, false, WEIGHT_Q6_K },
    { "the last layer",                  "Q4_K_M", "blk.31.ffn_down.weight",     2, 512, false, WEIGHT_Q6_K },
    { "experts' down",                   "Q4_K_M", "blk.31.ffn_down_exps.weight", 3, 512, false, WEIGHT_Q6_K },
    { "experts' down of layer 10",       "Q4_K_M", "blk.10.ffn_down_exps.weight", 3, 512, false, WEIGHT_Q4_K },
    { "layer 32 of 32 is no layer",      "Q4_K_M", "blk.32.ffn_down.weight",     2, 512, false, WEIGHT_Q4_K },
    { "a layer number that overflows",   "Q4_K_M", "blk.18446744073709551616.attn_v.weight", 2, 512, false,
     WEIGHT_Q4_K },
    { "fused q, k, v",                   "Q4_K_M", "blk.9.attn_qkv.weight",      2, 512, false, WEIGHT_Q5_K },
    { "output",                          "Q4_K_M", "output.weight",              2, 512, false, WEIGHT_Q6_K },
    { "embedding beside an output",      "Q4_K_M", "token_embd.weight",          2, 512, false, WEIGHT_Q4_K },
    { "embedding that is the output",    "Q4_K_M", "token_embd.weight",          2, 512, true,  WEIGHT_Q6_K },
    { "rows of 255: no block at all",    "Q4_K_M", "blk.5.attn_q.weight",        2, 255, false, WEIGHT_F16  },
    { "rows of 256",                     "Q4_K_M", "blk.5.attn_q.weight",        2, 256, false, WEIGHT_Q4_K },
    { "rows of 288: blocks of 32",       "Q4_K_M", "blk.5.attn_q.weight",        2, 288, false, WEIGHT_Q5_0 },
    { "the same for Q6_K",               "Q4_K_M", "blk.0.ffn_down.weight",      2, 288, false, WEIGHT_Q8_0 },
    { "the same for Q5_K",               "Q5_K_S", "blk.0.ffn_down.weight",      2, 288, false, WEIGHT_Q8_0 },
    { "rows of 172 in Q8_0",             "Q8_0",   "blk.0.ffn_down.weight",      2, 172, false, WEIGHT_F16  },
    { "a norm",                          "Q4_K_M", "blk.0.attn_norm.weight",     1, 512, false, WEIGHT_F16  },
    { "a norm of two dimensions",        "Q4_K_M", "blk.0.attn_q_norm.weight",   2, 512, false, WEIGHT_F16  },
    { "a bias",                          "Q4_K_M", "blk.0.ffn_up_exps.bias",     2, 512, false, WEIGHT_F16  },
    { "a router",                        "Q8_0",   "blk.0.ffn_gate_inp.weight",  2, 512, false, WEIGHT_F16  },
    { "Q4_0 output",                     "q4_0",   "output.weight",              2, 512, false, WEIGHT_Q6_K },
    { "Q8_0 output",                     "q8_0",   "output.weight",              2, 512, false, WEIGHT_Q8_0 },
};

static void rows(void)
{
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        const struct mix *mix = mix_named(view_of(ROWS[i].mix));
        gguf_tensor t = tensor(ROWS[i].name, ROWS[i].dim_count, ROWS[i].cols);
        if (!CHECK(mix != NULL, "%s", ROWS[i].mix)) continue;
        uint32_t got = mix_type(mix, &t, 32, ROWS[i].tied);
        CHECK(got == ROWS[i].want, "%s: type %u, wanted %u", ROWS[i].says, got, ROWS[i].want);
    }
}

static void names(void)
{
    static const struct { const char *name, *want; } table[] = {
        { "q4_k_m", "Q4_K_M" }, { "Q4_K", "Q4_K_M" }, { "q5_k", "Q5_K_M" }, { "Q4_K_S", "Q4_K_S" }, { "bf16", "BF16" },
        { "Q4", NULL },         { "", NULL },         { "Q4_K_", NULL },    { "Q4_K_MM", NULL },    { "Q6_K", "Q6_K" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct mix *mix = mix_named(view_of(table[i].name));
        CHECK(mix == NULL ? table[i].want == NULL : table[i].want != NULL && strcmp(mix->name, table[i].want) == 0,
              "\"%s\": %s", table[i].name, mix != NULL ? mix->name : "none");
    }
    size_t count = 0;
    for (; mix_at(count) != NULL; count++)
        CHECK(mix_named(view_of(mix_at(count)->name)) == mix_at(count), "%s", mix_at(count)->name);
    CHECK(count >= 5, "%zu mixes", count);
}

/* Every tensor of published files, from its name and shape alone. */
static void published(const char *file, const char *mix_name, arena *a)
{
    char path[4096];
    gguf_files f;
    err e = { 0 };
    uint64_t layers = 0, file_type = 0;
    const struct mix *mix = mix_named(view_of(mix_name));
    snprintf(path, sizeof path, "%s/reference/quants/%s", check_shared(), file);
    if (!gguf_open(path, a, &f, &e)) {
        check_skip("no reference vectors: set HEARTH_SHARED");
        return;
    }
    const char *key = gguf_find(&f.dir, "llama.block_count") != NULL ? "llama.block_count" : "qwen3moe.block_count";
    CHECK(gguf_u64(&f.dir, key, GGUF_REQUIRED, 1, LAYERS_MAX, &layers, &e), "%s", e.text);
    CHECK(gguf_u64(&f.dir, "general.file_type", GGUF_REQUIRED, 0, 99, &file_type, &e) && file_type == mix->file_type,
          "%s: file type %llu: %s", file, (unsigned long long)file_type, e.text);
    bool tied = gguf_tensor_find(&f.dir, "output.weight") == NULL;
    for (size_t i = 0; i < f.dir.tensor_count; i++) {
        gguf_tensor t = f.dir.tensors[i];
        uint32_t theirs = t.type;
        t.type = WEIGHT_F32; /* as before quantizing */
        uint32_t ours = mix_type(mix, &t, (size_t)layers, tied);
        CHECK(ours == theirs, "%s: %.*s: type %u, theirs %u", file, (int)t.name.len_bytes, (const char *)t.name.ptr,
              ours, theirs);
    }
    gguf_close(&f);
    arena_rewind(a, 0);
}

int main(void)
{
    arena a = { 0 };
    err e = { 0 };
    if (!CHECK(arena_new(&a, (size_t)8 << 20, &e), "%s", e.text)) return check_done();
    favoured();
    rows();
    names();
    published("llama-q4_k_m.gguf", "Q4_K_M", &a);
    published("qwen3moe-q4_k_m.gguf", "Q4_K_M", &a);
    published("llama-q8_0.gguf", "Q8_0", &a);
    published("qwen3moe-q8_0.gguf", "Q8_0", &a);
    arena_free(&a);
    return check_done();
}
