#!/bin/sh
# Real clients against the server with a scripted model. Needs the packages of package-lock.json: npm ci in this folder
# (Node 22 comes with them). Skips where they are not there.
cd "$(dirname "$0")/../.." || exit 1
script=${HEARTH_SCRIPT:-build/release/tests/serve_script}
skip() { echo "skipped: $*"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
[ -x "$script" ] || skip "clients: no $script (make tests)"
node=tests/clients/node_modules/node/bin/node
[ -x "$node" ] || skip "clients: no packages (npm ci in tests/clients)"
tmp=$(mktemp -d) || exit 1
"$script" 0 > "$tmp/said" &
pid=$!
trap 'kill $pid; rm -rf "$tmp"' EXIT
for i in 1 2 3 4 5 6 7 8 9 10; do grep -q ready "$tmp/said" && break; sleep 0.2; done
port=$(sed -n 's/^ready //p' "$tmp/said")
OPENAI_API_KEY='' ANTHROPIC_API_KEY='' "$node" tests/clients/clients.mjs "http://127.0.0.1:$port"
