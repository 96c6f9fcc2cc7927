#!/bin/sh
# One hash of the logits for every number of threads, every chunking of the prompt and every tier of this processor: on
# the reference models, and on made ones with a window of 300, grouped heads and a prompt of 1,100 tokens.
. tests/check.sh

tiers=$("$hearth" doctor | awk '$1 == "tiers" { $1 = ""; print }')
# one_hash NAME MODEL IDS THREADSxCHUNK...: the plain run, then every setting against it
kv=f32
one_hash() {
    name=$1 model=$2 ids=$3
    shift 3
    want=$("$hearth" logits "$model" --tokens "$ids" --kv $kv 2>&1)
    case $want in sha256*) ;; *) fail "$name: $want"; return ;; esac
    for tier in $tiers; do
        for setting in "$@"; do
            got=$("$hearth" logits "$model" --tokens "$ids" --kv $kv --cpu "$tier" --threads "${setting%x*}" --chunk "${setting#*x}" 2>&1)
            same "$name: $tier, threads x chunk $setting" "$got" "$want"
        done
    done
}

python3 -c 'print(1, *[i * 7919 % 299 for i in range(1, 1100)])' > "$tmp/ids" 2> /dev/null ||
    awk 'BEGIN { printf "1"; for (i = 1; i < 1100; i++) printf " %d", i * 7919 % 299; print "" }' > "$tmp/ids"
for type in F32 BF16 Q8_0 Q4_K; do
    shape="width=64"
    [ $type = Q4_K ] && shape="width=256 heads=8 ffn=256"
    "$helpers/make_model" "$tmp/$type.gguf" type=$type $shape || { fail "make_model $type"; continue; }
    if [ -n "$quick" ] || [ $type != F32 ]; then
        one_hash "made $type" "$tmp/$type.gguf" "$tmp/ids" 1x512 2x64 3x7
    else
        one_hash "made $type" "$tmp/$type.gguf" "$tmp/ids" 1x1 1x7 1x64 1x512 2x1 2x7 2x64 2x512 3x7 3x512 8x64 8x512
    fi
done
# Caches in codes: the same made models, heads of 16 channels, and long enough for packed pages in several spans.
for kv in q8 q4 log:k2v2 log:k3v3; do
    [ -n "$quick" ] && [ $kv != log:k2v2 ] && continue
    one_hash "made F32, $kv" "$tmp/F32.gguf" "$tmp/ids" 1x512 2x64 3x7
done
kv=f32
if [ -d "$shared/reference/models" ]; then
    for name in llama llama3rope mistral_yarn qwen2 qwen3 gemma2 gemma3 phi3 smollm3 granite olmo2 stories260K \
        mixtral qwen2moe qwen3moe olmoe gptoss deepseek3 deepseek2lite glm4moe granitemoe; do
        [ -n "$quick" ] && [ $name != gemma3 ] && [ $name != deepseek3 ] && continue
        one_hash $name "$shared/reference/models/$name.gguf" "$shared/reference/models/$name.tokens" 1x1 2x7 3x64 8x512
    done
    for file in "$shared"/reference/quants/llama-*.gguf; do
        [ -n "$quick" ] && break
        one_hash "$(basename "$file" .gguf)" "$file" "${file%.gguf}.tokens" 1x1 2x7 3x512
    done
else
    skip "same_bits.sh: no $shared/reference"
fi
finish
