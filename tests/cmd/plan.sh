#!/bin/bash
# hearth plan against what a server takes: every session computed to the end of its context, the memory that all its
# processes have (proportional anonymous and shared memory: a page that two of them have counts once) is within 2 % or
# 8 MiB of the plan, for plans of 256 MiB and more.
#
#   tests/cmd/plan.sh [MODEL [SESSIONS CONTEXT TIER...]]     a model of your own, in place of a small made one
. tests/check.sh
command -v python3 > /dev/null || { skip "plan.sh: no python3"; finish; exit; }
[ -z "$quick" ] || { skip "plan.sh: a sanitizer takes memory of its own"; finish; exit; }
walls "plan.sh" || { finish; exit; }
model=$1 sessions=${2:-3} context=${3:-1024}
shift $(($# < 3 ? $# : 3))
tiers=${*:-f16 q8 log:k2v2}
if [ -z "$model" ]; then
    # much cache, little to compute: 96 KiB of keys and values a token in f16
    model=$tmp/wide.gguf
    "$helpers/make_model" "$model" arch=llama layers=24 width=64 heads=8 kv=8 head=128 ffn=96 context=65536 ||
        { fail "make_model"; finish; exit; }
fi
planned_mib() {
    "$hearth" plan "$model" --json --kv "$1" --sessions "$sessions" --context "$2" --threads 2 |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["all_bytes"] >> 20)'
}
for kv in $tiers; do
    # small tiers get longer sessions, so that the plan is of 256 MiB at least
    tokens=$context
    while [ "$tokens" -lt 32768 ] && [ -z "$1" ] && [ "$(planned_mib "$kv" "$tokens")" -lt 256 ]; do
        tokens=$((tokens * 2))
    done
    holds "$kv" python3 tests/cmd/plan.py "$hearth" "$model" "$kv" "$sessions" "$tokens"
    out=$(cat "$tmp/holds")
    [ -z "$HEARTH_VERBOSE" ] || echo "$out"
done
finish
