#!/bin/sh
# hearth run, tokens, render, embed, eval, inspect, doctor as scripts use them: what is printed where, in which form, and
# that the same seed gives the same text.
. tests/check.sh
model=$shared/reference/models/stories260K.gguf
templates=$shared/reference/templates
[ -e "$model" ] || { skip "run.sh: no $model"; finish; exit; }
say() { "$hearth" "$@" 2> "$tmp/err" < /dev/null; }
# field NAME: of the JSON object in $tmp/json; texts without quotes inside
field() { grep -oE "\"$1\": (\"[^\"]*\"|\[[^]]*\]|[-0-9.e+]+|null|true|false)" "$tmp/json" | head -n 1 | sed 's/^"[^"]*": //'; }

# ---- run ----
runs() {
    once=$(say run "$model" "Once upon a time" --temp 0 -n 20)
    same "the answer alone is printed" "$once" ", there was a little girl named Lily. She loved to play outsid"
    same "nothing on standard error" "$(cat "$tmp/err")" ""
    same "-p is the same" "$(say run "$model" -p "Once upon a time" --temp 0 -n 20)" "$once"
    same "the prompt from input" "$(printf 'Once upon a time' | "$hearth" run "$model" -p - --temp 0 -n 20)" "$once"
    same "piped input needs no -p" "$(printf 'Once upon a time' | "$hearth" run "$model" --temp 0 -n 20)" "$once"
    printf 'Once upon a time' > "$tmp/prompt"
    same "the prompt from a file" "$(say run "$model" --file "$tmp/prompt" --temp 0 -n 20)" "$once"
    for setting in "--threads 1" "--threads 3 --chunk 1" "--chunk 2 --cpu ref" "--ctx 100"; do
        same "same text with $setting" "$(say run "$model" "Once upon a time" --seed 5 -n 40 $setting)" "$(say run "$model" "Once upon a time" --seed 5 -n 40)"
    done
    [ "$(say run "$model" "Once" --seed 5 -n 40)" != "$(say run "$model" "Once" --seed 6 -n 40)" ] && pass || fail "another seed gave the same text"
    for cpus in 1023 0,1023; do # the first thread, and another
        out=$(say run "$model" "Once" -n 1 --cpus $cpus)
        same "--cpus $cpus is not ignored: exit" $? 1
        grep -q 'processor 1023 is not there' "$tmp/err" && pass || fail "--cpus $cpus: $(cat "$tmp/err")"
    done
    same "a stop text is left out" "$(say run "$model" "Once upon a time" --temp 0 -n 50 --stop Lily)" ", there was a little girl named "
    same "across tokens" "$(say run "$model" "Once upon a time" --temp 0 -n 50 --stop "irl nam")" ", there was a little g"

    "$hearth" run "$model" "Once upon a time" --temp 0 -n 3 --json --logprobs 2 > "$tmp/json" 2> "$tmp/err"
    if command -v python3 > /dev/null; then holds "--json is JSON" python3 -m json.tool "$tmp/json"; fi
    same "json: finish" "$(field finish)" '"length"'
    same "json: BOS and the text" "$(field prompt_tokens)" 5
    same "json: tokens" "$(field tokens)" "[432, 383, 286]"
    grep -q '"logprob": -0.' "$tmp/json" && pass || fail "no log-probabilities: $(cat "$tmp/json")"
    "$hearth" run "$model" -p "" --json -n 1 > "$tmp/json" 2> /dev/null
    same "an empty prompt is BOS" "$(field prompt_tokens)" 1
    "$hearth" run "$model" -p "<s>Once" --special --json -n 1 > "$tmp/json" 2> /dev/null
    with=$(field prompt_tokens)
    "$hearth" run "$model" -p "Once" --json -n 1 > "$tmp/json" 2> /dev/null
    same "BOS is not doubled" "$with" "$(field prompt_tokens)"
    "$hearth" run "$model" "Once upon a time" --ctx 8 --json -n 50 > "$tmp/json" 2> "$tmp/err"
    same "json: a full context" "$(field finish)" '"context"'
    "$hearth" run "$model" "Once upon a time" --ctx 8 -n 50 > /dev/null 2> "$tmp/err"
    grep -q 'context: all 8 tokens' "$tmp/err" && pass || fail "a full context is not said: $(cat "$tmp/err")"
    "$hearth" run "$model" "x" --stats -n 2 > /dev/null 2> "$tmp/err"
    grep -q 'tokens/s' "$tmp/err" && pass || fail "--stats: $(cat "$tmp/err")"
    "$hearth" run "$model" "x" -n 2 > /dev/full 2> "$tmp/err"
    same "a full disk is a failure" $? 1
    grep -q 'standard output' "$tmp/err" && pass || fail "a full disk: $(cat "$tmp/err")"

    # ---- the model folder ----
    mkdir "$tmp/models"
    cp "$model" "$tmp/models/tiny.gguf"
    for name in tiny tiny.gguf; do
        same "a name in the folder: $name" "$(HEARTH_MODELS=$tmp/models say run $name "Once upon a time" --temp 0 -n 20)" "$once"
    done
}
if walls "hearth run"; then runs
else
    say run "$model" "Once" -n 3 > "$tmp/got"
    same "without walls nothing is computed" "$? $(wc -c < "$tmp/got")" "1 0"
    same "and one line says why" "$(grep -c 'required wall' "$tmp/err")" 1
fi

# ---- tokens ----
ids=$(say tokens "$model" "Once upon a time")
same "ids on one line" "$ids" "403 407 261 378"
same "and back" "$(say tokens "$model" "$ids" --decode)" "Once upon a time"
same "--bos" "$(say tokens "$model" "Once upon a time" --bos)" "1 $ids"
same "control tokens in text are text" "$(say tokens "$model" "</s>" | wc -w)" "$(say tokens "$model" "</x>" | wc -w)"
same "unless --special" "$(say tokens "$model" "</s>" --special)" 2
same "nothing gives an empty line" "$(say tokens "$model" "" | wc -l)" 1
printf '"Once upon a time"\n"a\\nb"\n""\n' > "$tmp/lines"
same "lines of JSON" "$("$hearth" tokens "$model" --jsonl < "$tmp/lines" | head -n 1)" "$ids"
same "one line out for one in" "$("$hearth" tokens "$model" --jsonl < "$tmp/lines" | wc -l)" 3
same "lines and back" "$("$hearth" tokens "$model" --jsonl < "$tmp/lines" | "$hearth" tokens "$model" --jsonl --decode)" "$(cat "$tmp/lines")"

# ---- render ----
if [ -d "$templates" ]; then
    printf '{"messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": true}\n' > "$tmp/messages"
    say render "$templates/Qwen-Qwen3-0.6B.jinja" --messages "$tmp/messages" > "$tmp/got"
    printf '<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n' > "$tmp/want"
    holds "the prompt, no line end added" cmp "$tmp/got" "$tmp/want"
    same "lines" "$("$hearth" render "$templates/Qwen-Qwen3-0.6B.jinja" --jsonl < "$tmp/messages")" '"<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"'
    same "an error is a line too" "$(printf '{"messages": 5}\n' | "$hearth" render "$templates/google-gemma-2-2b-it.jinja" --jsonl | cut -c1-10)" '{"error": '
    for name in Qwen-Qwen3-0.6B openai-gpt-oss-120b; do
        holds "the cases of $name" "$hearth" render "$templates/$name.jinja" --cases "$templates/$name.cases.jsonl" --now 2026-11-22T12:00:00
    done
else
    skip "render: no $templates"
fi

# ---- embed, eval, inspect, doctor, bench ----
say embed "$model" "Once upon a time" > "$tmp/vector"
same "an embedding has the model's width" "$(wc -w < "$tmp/vector")" 64
length=$(tr ' ' '\n' < "$tmp/vector" | awk '{ sum += $1 * $1 } END { printf "%.5f", sqrt(sum) }')
same "and length 1" "$length" 1.00000
for pool in last mean cls; do say embed "$model" "Once upon a time" --pool $pool; done | sort -u > "$tmp/pools"
same "three ways of pooling" "$(wc -l < "$tmp/pools")" 3
same "pooling of chunks" "$(say embed "$model" "Once upon a time" --chunk 2)" "$(cat "$tmp/vector")"
"$hearth" run "$model" -p "" -n 400 --seed 3 --no-jail > "$tmp/story" 2> /dev/null
"$hearth" eval "$model" --text "$tmp/story" --window 128 --json > "$tmp/json" 2> "$tmp/err"
bits=$(field bits_per_byte)
awk -v b="$bits" 'BEGIN { exit !(b > 0.2 && b < 1.5) }' && pass || fail "bits per byte of its own story: $bits"
[ "$(field perplexity)" != null ] && pass || fail "no perplexity: $(cat "$tmp/json")"
same "eval is the same in other chunks" "$("$hearth" eval "$model" --text "$tmp/story" --window 128 --chunk 3 --threads 1 --json)" "$(cat "$tmp/json")"
for command in "inspect $model" "doctor" "bench $model --prompt-tokens 8 -n 2 --runs 1" "embed $model hello" "logits $model --tokens $shared/reference/models/stories260K.tokens"; do
    say $command --json > "$tmp/json"
    if command -v python3 > /dev/null; then holds "$command --json is JSON" python3 -m json.tool "$tmp/json"; fi
done
for key in read_gb_s decode_tok_s prefill_tok_s weights_bytes threads tier; do
    say bench "$model" --prompt-tokens 8 -n 2 --runs 1 --json > "$tmp/json"
    [ -n "$(field $key)" ] && pass || fail "bench has no $key"
done

# ---- help fits a screen ----
for command in run inspect tokens render logits embed eval bench quantize pack data train doctor; do
    say $command --help > "$tmp/help"
    same "$command --help succeeds" $? 0
    lines=$(wc -l < "$tmp/help") columns=$(awk '{ if (length > m) m = length } END { print m }' "$tmp/help")
    [ "$lines" -le 24 ] && [ "$columns" -le 79 ] && pass || fail "$command --help: $lines lines of $columns columns"
done
finish
