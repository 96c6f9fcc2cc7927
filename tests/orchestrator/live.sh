#!/bin/sh
# What the kernel shows of the processes of hearth run and hearth serve while they work, and what leaves them.
. tests/check.sh
model=$shared/reference/models/stories260K.gguf
[ -z "$quick" ] || { skip "live.sh: the release build runs it"; finish; exit; }
[ -e "$model" ] || { skip "live.sh: no $model"; finish; exit; }
command -v python3 > /dev/null || { skip "live.sh: no python3"; finish; exit; }
walls "live.sh" || { finish; exit; }
"$helpers/make_model" "$tmp/big.gguf" width=1024 heads=8 head=128 ffn=16384 type=Q8_0 || { fail "make_model"; finish; exit; }
python3 tests/orchestrator/live.py "$hearth" "$model" "$tmp/big.gguf"
