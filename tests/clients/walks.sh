#!/bin/sh
# Random walks of the mask, 10^5 in all, each text asked of ajv: walks.sh [WALKS A SCHEMA]. Needs `npm ci` in this folder.
cd "$(dirname "$0")/../.." || exit 1
mask=build/release/tests/grammar/mask
skip() { echo "skipped: $*"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
[ -z "$HEARTH_QUICK" ] || skip "walks: the release build runs them"
[ -x "$mask" ] || skip "walks: no $mask (make tests)"
node=tests/clients/node_modules/node/bin/node
[ -x "$node" ] || skip "walks: no packages (npm ci in tests/clients)"
tmp=$(mktemp) || exit 1
trap 'rm -f "$tmp"' EXIT
"$mask" "${1:-2000}" "$tmp" || exit 1
(cd tests/clients && "node_modules/node/bin/node" walks.mjs "$tmp")
