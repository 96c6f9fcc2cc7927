#!/bin/sh
# hearth route, and what eval says of experts: the same logits with and without a packed second form of routers,
# the report's numbers, traces and pictures, and what is refused.
. tests/check.sh

printf '1 5 9 7 3 2 11 200 31 8 1 5 9 4 4 4 90 91 92 93\n' > "$tmp/ids"
# A router of 512 KiB, which gets planes; one in bf16, which gets one plane and its rows; one that gets nothing.
"$helpers/make_model" "$tmp/planes.gguf" arch=qwen3moe experts=128 top=8 width=1024 ffn=32 heads=8 > "$tmp/out" 2>&1 || fail "make_model"
"$helpers/make_model" "$tmp/bf16.gguf" arch=qwen3moe experts=128 top=8 width=1024 ffn=32 heads=8 type=BF16 > "$tmp/out" 2>&1 || fail "make_model"
"$helpers/make_model" "$tmp/small.gguf" arch=qwen3moe experts=4 top=2 > "$tmp/out" 2>&1 || fail "make_model"
"$helpers/make_model" "$tmp/dense.gguf" > "$tmp/out" 2>&1 || fail "make_model"

tiers=$("$hearth" doctor | awk '$1 == "tiers" { $1 = ""; print }')
for form in planes:planes bf16:plane+bf16 small:rows; do
    name=${form%:*}
    "$hearth" route "$tmp/$name.gguf" > "$tmp/report" 2>&1
    holds "$name: the form is ${form#*:}" grep -q "^ *0  ${form#*:} " "$tmp/report"
    want=$("$hearth" logits "$tmp/$name.gguf" --tokens "$tmp/ids" --cpu ref --threads 1 --chunk 1 2>&1)
    case $want in sha256*) pass ;; *) fail "$name: $want" ;; esac
    "$hearth" pack "$tmp/$name.gguf" "$tmp/$name.img" > "$tmp/out" 2>&1 || fail "$name: $(cat "$tmp/out")"
    holds "$name: read again whole" "$hearth" pack --check "$tmp/$name.img"
    for tier in $tiers; do
        for setting in 1x7 3x512; do
            same "$name: $tier, threads x chunk $setting" "$want" \
                "$("$hearth" logits "$tmp/$name.img" --tokens "$tmp/ids" --cpu "$tier" --threads "${setting%x*}" --chunk "${setting#*x}" 2>&1)"
        done
    done
done

# ---- what is said ----
"$hearth" route "$tmp/planes.gguf" --json --svg "$tmp/spectra.svg" > "$tmp/report" 2>&1
holds "json: every layer" sh -c "[ \$(grep -o '\"layer\":' '$tmp/report' | wc -l) = 3 ]"
holds "json: as many singular values as experts" grep -q '"singular_values":\[[0-9.e,-]*\]' "$tmp/report"
holds "a picture of the spectra" grep -q '</svg>' "$tmp/spectra.svg"
head -c 60 README.md > "$tmp/text"
"$hearth" eval "$tmp/planes.gguf" --text "$tmp/text" --stats --trace "$tmp/trace" --heat "$tmp/heat.svg" > "$tmp/out" 2> "$tmp/said"
holds "eval --stats: how many of how many" grep -q 'experts: 8 of 128 in each of 3 layers' "$tmp/said"
holds "a picture of the experts" grep -q '</svg>' "$tmp/heat.svg"
holds "a trace line has position, layer, top_k experts" awk 'NF != 10 { bad = 1 } END { exit bad || NR == 0 || NR % 3 }' "$tmp/trace"
"$hearth" eval "$tmp/planes.gguf" --text "$tmp/text" --trace "$tmp/trace1" --threads 1 --cpu ref > "$tmp/out" 2>&1
holds "the same trace with one thread and the definitions" cmp "$tmp/trace" "$tmp/trace1"
holds "eval --stats: how routers were read" grep -q 'routing: .* decided without one too many' "$tmp/said"

# ---- the same behind walls: the engine tells, run writes ----
runs() {
    "$hearth" run "$tmp/planes.gguf" "some words" --raw -n 5 --temp 0 --stats --trace "$tmp/trace2" --heat "$tmp/heat2.svg" > "$tmp/text2" 2> "$tmp/said2"
    holds "run --stats: how many of how many" grep -q 'experts: 8 of 128 in each of 3 layers' "$tmp/said2"
    holds "run --heat: a picture" grep -q '</svg>' "$tmp/heat2.svg"
    holds "run --trace: position, layer, top_k experts in order" \
        awk 'NF != 10 || $2 > 2 { bad = 1 } { for (i = 4; i <= NF; i++) if ($i <= $(i - 1) || $i > 127) bad = 1 } END { exit bad || NR == 0 }' "$tmp/trace2"
    holds "run --trace: each position once in the first layer" \
        sh -c "awk '\$2 == 0 { print \$1 }' '$tmp/trace2' | sort -n | uniq -d | wc -l | grep -qx 0"
    "$hearth" run "$tmp/planes.gguf" "some words" --raw -n 5 --temp 0 > "$tmp/text3" 2> "$tmp/said3"
    holds "and the same answer without them" cmp "$tmp/text2" "$tmp/text3"
    "$hearth" run "$tmp/planes.gguf" "some words" --raw -n 5 --temp 0 --trace "$tmp/trace3" --threads 1 --cpu ref > "$tmp/out" 2>&1
    holds "the same trace with one thread and the definitions" cmp "$tmp/trace2" "$tmp/trace3"
    "$hearth" run "$tmp/planes.gguf" "some words" --raw -n 5 --temp 0 --trace "$tmp/trace4" --chunk 2 > "$tmp/out" 2>&1
    holds "and in other chunks, but for the order of lines and the last layer's prompt" \
        sh -c "awk '\$2 < 2' '$tmp/trace2' | sort > '$tmp/a'; awk '\$2 < 2' '$tmp/trace4' | sort | cmp - '$tmp/a'"
}
if walls "experts of hearth run"; then runs; fi

# ---- what is refused ----
# refused SAYS PATTERN COMMAND...
refused() {
    says=$1 pattern=$2
    shift 2
    "$@" > "$tmp/out" 2> "$tmp/err"
    if [ $? = 1 ] && [ "$(wc -l < "$tmp/err")" = 1 ] && grep -Eq -- "$pattern" "$tmp/err"; then pass
    else fail "$says: $(head -c 300 "$tmp/err")"; fi
}
refused "a dense model has no routers" 'dense' "$hearth" route "$tmp/dense.gguf"
refused "nor a trace" '--trace' "$hearth" eval "$tmp/dense.gguf" --text "$tmp/text" --trace "$tmp/none"
if walls "what hearth run refuses"; then
    refused "nor one of run" '--trace' "$hearth" run "$tmp/dense.gguf" x -n 1 --trace "$tmp/none"
    refused "a trace to nowhere" 'no/where' "$hearth" run "$tmp/planes.gguf" x -n 1 --trace "$tmp/no/where"
fi
refused "too short a text" 'at least 8' sh -c "printf x > '$tmp/x'; '$hearth' route '$tmp/planes.gguf' --text '$tmp/x'"
finish
