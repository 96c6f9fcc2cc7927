#!/bin/sh
# The same bits on another processor: logits of the ARM64 build (NEON, and its definitions) under emulation against ours.
. tests/check.sh
cross=build/aarch64-release/hearth models=$shared/reference/models
if [ ! -x "$cross" ] || ! command -v qemu-aarch64 > /dev/null; then
    skip "cross_bits.sh: no $cross (make aarch64) or no qemu-aarch64"
elif [ ! -d "$models" ]; then
    skip "cross_bits.sh: no $models"
else
    for name in stories260K qwen3 gemma3 gptoss deepseek3; do
        want=$("$hearth" logits "$models/$name.gguf" --tokens "$models/$name.tokens" 2>&1)
        for tier in neon ref; do
            [ -n "$quick" ] && [ $tier = ref ] && continue
            same "$name: $tier on ARM64" "$(qemu-aarch64 -cpu max "$cross" logits "$models/$name.gguf" \
                --tokens "$models/$name.tokens" --cpu $tier 2>&1)" "$want"
        done
    done
fi
finish
