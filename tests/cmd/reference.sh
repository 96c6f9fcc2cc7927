#!/bin/sh
# The logits of real model definitions against independent implementations: ../shared/reference (its README has the
# bounds). Models in full precision, every weight type with f32 and with int8 inputs, greedy text.
. tests/check.sh
models=$shared/reference/models quants=$shared/reference/quants check=$shared/reference/check_logits.py
[ -e "$check" ] || { skip "reference.sh: no $shared/reference"; finish; exit; }
command -v python3 > /dev/null || { skip "reference.sh: no python3 to compare logits"; finish; exit; }

# mean_kl MODEL OPTIONS...: sets $mean, or says why not
mean_kl() {
    base=${1%.gguf}; shift
    mean=""
    "$hearth" logits "$base.gguf" --tokens "$base.tokens" --out "$tmp/out" --kv f32 "$@" > /dev/null 2> "$tmp/err" ||
        { fail "$(basename "$base") $*: $(cat "$tmp/err")"; return; }
    mean=$(python3 "$check" "$base.logits" "$tmp/out" 512 | awk '{ print $5 }')
}
at_most() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a != "" && a + 0 <= b + 0) }'; }

for name in llama llama3rope mistral_yarn qwen2 qwen3 gemma2 gemma3 phi3 smollm3 granite olmo2 stories260K \
    mixtral qwen2moe qwen3moe olmoe gptoss deepseek3 deepseek2lite glm4moe granitemoe; do
    "$hearth" logits "$models/$name.gguf" --tokens "$models/$name.tokens" --out "$tmp/out" --kv f32 \
        --activations f32 > /dev/null
    holds "$name: equal to the reference" \
        python3 "$check" "$models/$name.logits" "$tmp/out" 512 --kl 1e-9 --kl-max 1e-8 --top 1
done

: > "$tmp/ratios"
for file in "$quants"/llama-*.gguf; do
    name=$(basename "$file" .gguf)
    peer=$(awk -F'|' -v name="$name" '{ gsub(/ /, "", $2) } $2 == name { gsub(/ /, "", $7); print $7; exit }' "$shared/reference/README.md")
    mean_kl "$file" --activations f32
    if at_most "$mean" 1e-9; then pass; else fail "$name: with f32 inputs mean KL $mean, allowed 1e-9"; fi
    mean_kl "$file"
    limit=$(awk -v peer="$peer" 'BEGIN { print 1.2 * peer }')
    if at_most "$mean" "$limit"; then pass; else fail "$name: mean KL $mean, allowed $limit"; fi
    echo "$mean $peer" >> "$tmp/ratios"
done
for name in qwen3moe-q8_0 qwen3moe-q4_k_m; do
    mean_kl "$quants/$name.gguf" --activations f32
    if at_most "$mean" 1e-9; then pass; else fail "$name: with f32 inputs mean KL $mean, allowed 1e-9"; fi
done
# int8_median NAME FILE MEDIAN: the rounding of inputs may flip a route, so the median counts, and how many are far off
int8_median() {
    "$hearth" logits "$2.gguf" --tokens "$2.tokens" --out "$tmp/out" --kv f32 > /dev/null
    holds "$1: median with int8 inputs" python3 "$check" "$2.logits" "$tmp/out" 512 --median "$3"
}
int8_median gptoss "$models/gptoss" 7e-4
int8_median qwen3moe-q8_0 "$quants/qwen3moe-q8_0" 1.1e-3
ratio=$(awk '{ sum += log($1 / $2) } END { print exp(sum / NR) }' "$tmp/ratios")
if at_most "$ratio" 1.03; then pass; else fail "all types: $ratio times the peer's KL, allowed 1.03"; fi
echo "int8 inputs: $ratio times the peer's KL over $(wc -l < "$tmp/ratios") types"

if walls "stories260K by hearth run"; then
    "$hearth" run "$models/stories260K.gguf" -p "" -n 200 --temp 0 --json > "$tmp/greedy" 2> "$tmp/err"
    got=$(sed 's/.*"tokens": \[\([^]]*\)\].*/\1/; s/,//g' "$tmp/greedy")
    same "stories260K, greedy, 200 tokens" "$got" "$(cat "$models/stories260K.greedy.tokens" | tr -s ' \n' ' ' | sed 's/ $//')"
fi
finish
