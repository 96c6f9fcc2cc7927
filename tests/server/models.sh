#!/bin/sh
# Several models in the memory of one, and a policy that changes while the server runs.
hearth=${HEARTH:-build/release/hearth}
model=${HEARTH_SHARED:-../shared}/reference/models/stories260K.gguf
skip() { echo "skipped: $*"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
[ -z "$HEARTH_QUICK" ] || skip "models: the release build runs it"
[ -e "$model" ] || skip "models: no $model"
command -v python3 > /dev/null || skip "models: no python3"
why=$("$(dirname "$hearth")/tests/machine_walls") || skip "models: $why"
exec python3 "$(dirname "$0")/models.py" "$hearth" "$model"
