#!/bin/sh
# kill -9 of every process of hearth serve at random moments. HEARTH_KILLS sets how many (200 in ./test --all), and then
# health has to be good again within 2 seconds; without it within 10, as other tests run at the same time.
. tests/check.sh
processes "kills.sh"
python3 tests/orchestrator/kills.py "$hearth" "$model" "$tmp/big.gguf" "${HEARTH_KILLS:-10}" \
    "$([ -n "$HEARTH_KILLS" ] && echo 2 || echo 10)"
