#!/bin/sh
# kill -9 of every process of hearth serve at random moments. HEARTH_KILLS sets how many (200 in ./test --all), and then
# health has to be good again within 2 seconds; without it within 10, as other tests run at the same time.
. tests/check.sh
model=$shared/reference/models/stories260K.gguf
[ -z "$quick" ] || { skip "kills.sh: the release build runs it"; finish; exit; }
[ -e "$model" ] || { skip "kills.sh: no $model"; finish; exit; }
command -v python3 > /dev/null || { skip "kills.sh: no python3"; finish; exit; }
walls "kills.sh" || { finish; exit; }
"$helpers/make_model" "$tmp/big.gguf" width=1024 heads=8 head=128 ffn=16384 type=Q8_0 || { fail "make_model"; finish; exit; }
python3 tests/orchestrator/kills.py "$hearth" "$model" "$tmp/big.gguf" "${HEARTH_KILLS:-10}" \
    "$([ -n "$HEARTH_KILLS" ] && echo 2 || echo 10)"
