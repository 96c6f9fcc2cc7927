#!/bin/sh
# hearth serve as a new user meets it, then under load: 10 seconds, HEARTH_LOAD_S of them where that is set, each client
# waiting HEARTH_LOAD_PAUSE seconds on average between requests. HEARTH_LOAD_ONLY=1: the load alone.
. tests/check.sh
small_model "serve"
first=0 said=""
[ -n "$HEARTH_LOAD_ONLY" ] || said=$(python3 tests/server/serve.py "$hearth" "$model")
first=$?
echo "$said"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
HEARTH_KEYS=$tmp/keys "$hearth" serve "$model" --port "$port" --socket "$tmp/sock" --parallel 8 2> "$tmp/log" &
pid=$!
trap 'kill $pid; rm -rf "$tmp"' EXIT
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do grep -q listening "$tmp/log" && break; sleep 0.2; done
all=$pid,$(tr ' ' ',' < "/proc/$pid/task/$pid/children" | sed 's/,$//')
loaded=$(python3 tests/server/load.py "$port" "${HEARTH_LOAD_S:-10}" 32 "$([ -n "$HEARTH_LOAD_S" ] && echo "$all")" "${HEARTH_LOAD_PAUSE:-0}")
second=$?
echo "$loaded"
printf '%s\n%s\n' "$said" "$loaded" | awk '/^[0-9]+ passed/ { p += $1; f += $3; s += $5 } END { printf "%d passed, %d failed, %d skipped\n", p, f, s }'
[ $first = 0 ] && [ $second = 0 ]
