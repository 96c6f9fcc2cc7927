#!/bin/sh
# What the kernel shows of the processes of hearth run and hearth serve while they work, and what leaves them.
. tests/check.sh
processes "live.sh"
python3 tests/orchestrator/live.py "$hearth" "$model" "$tmp/big.gguf"
