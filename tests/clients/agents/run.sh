#!/bin/sh
# Terminal coding agents against the server with a scripted model: each must run the tool that the model calls (a command
# that makes a file), send its result back, and end with what the model says then. Needs npm ci in this folder (1.2 GB); where
# a registry has no packages of other systems npm refuses that: npm install --no-package-lock, all versions are pinned.
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.." || exit 1
script=$PWD/${HEARTH_SCRIPT:-build/release/tests/serve_script}
bin=$here/node_modules/.bin
skip() { echo "skipped: $*"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
[ -x "$script" ] || skip "agents: no $script (make tests)"
[ -x "$bin/codex" ] || skip "agents: no packages (npm ci in tests/clients/agents)"
tmp=$(mktemp -d) || exit 1
"$script" 0 > "$tmp/said" &
pid=$!
trap 'kill $pid; rm -rf "$tmp"' EXIT
for i in 1 2 3 4 5 6 7 8 9 10; do grep -q ready "$tmp/said" 2> /dev/null && break; sleep 0.2; done
url=http://127.0.0.1:$(sed -n 's/^ready //p' "$tmp/said")
export PATH="$here/node_modules/node/bin:$PATH" HOME="$tmp" OPENAI_API_KEY=any OPENAI_BASE_URL="$url/v1" OPENAI_MODEL=scripted
export XDG_CONFIG_HOME="$tmp/config" XDG_DATA_HOME="$tmp/data" XDG_CACHE_HOME="$tmp/cache"
passed=0 failed=0

# loop NAME COMMAND...: in a folder of its own
loop() {
    name=$1
    shift
    mkdir -p "$tmp/work-$name" && cd "$tmp/work-$name" && git init -q .
    timeout 120 "$@" < /dev/null > "$tmp/$name.log" 2>&1
    if [ -e made-by-tool ] && grep -q 'the tool was heard' "$tmp/$name.log"; then passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $name:"
        tail -n 12 "$tmp/$name.log" | cut -c1-300
    fi
}

mkdir -p "$tmp/.codex" "$tmp/config/opencode" "$tmp/.pi/agent"
cat > "$tmp/.codex/config.toml" << END
model = "scripted"
model_provider = "hearth"
[model_providers.hearth]
name = "hearth"
base_url = "$url/v1"
wire_api = "responses"
END
cat > "$tmp/config/opencode/opencode.json" << END
{ "autoupdate": false, "share": "disabled", "model": "hearth/scripted", "small_model": "hearth/scripted", "permission": "allow",
  "provider": { "hearth": { "npm": "@ai-sdk/openai-compatible", "name": "hearth",
    "options": { "baseURL": "$url/v1", "apiKey": "any" }, "models": { "scripted": { "name": "scripted" } } } } }
END
cat > "$tmp/.pi/agent/models.json" << END
{ "providers": { "hearth": { "baseUrl": "$url/v1", "apiKey": "any", "api": "openai-completions",
  "models": [ { "id": "scripted", "name": "scripted", "reasoning": false, "input": ["text"], "contextWindow": 4096,
    "maxTokens": 1000, "cost": { "input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0 } } ] } } }
END
loop codex "$bin/codex" exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox "please call the tool"
loop qwen-code "$bin/qwen" --yolo --auth-type openai -p "please call the tool"
loop opencode "$bin/opencode" run --model hearth/scripted "please call the tool"
loop pi "$bin/pi" --provider hearth --model scripted -p "please call the tool"
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
