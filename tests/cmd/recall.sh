#!/bin/bash
# hearth eval --needle, --recall: on a model made by hand that looks up what it has read (tests/copy_model.c) everything
# planted is found with f16 and with our tiers, nothing where nothing was planted, and little with the published 2-bit
# method, so the figures can be bad; on trained models the same figures whatever the threads and chunks; and what is wrong
# with lengths and texts is said in one line.
. tests/check.sh
command -v python3 > /dev/null || { skip "recall.sh: no python3"; finish; exit; }
model=$tmp/copy.gguf
ember=models/ember/ember-q8_0.gguf
stories=$shared/reference/models/stories260K.gguf
"$helpers/copy_model" "$model" || { fail "copy_model"; finish; exit; }
cat LICENSE README.md docs/run.md docs/serve.md > "$tmp/text"
# field JSON TEST READER NAME: a number of the answer
field() {
    python3 -c 'import json, sys
t = [t for t in json.loads(sys.argv[1])["tests"] if t["test"] == sys.argv[2]][0]
print(t[sys.argv[3]][sys.argv[4]])' "$@"
}
# between SAYS LEAST NUMBER MOST
between() {
    if python3 -c 'import sys; a, b, c = map(float, sys.argv[1:]); sys.exit(not a <= b <= c)' "$2" "$3" "$4"; then pass
    else fail "$1: $3, want $2 to $4"; fi
}
lengths="384"
[ -n "$quick" ] || lengths="1024"
ask() { "$hearth" eval "$@" --text "$tmp/text" --json; }

for kv in f16 q8 q4 log:k4v3 log:k2v2; do
    out=$(ask "$model" --needle $lengths --recall $lengths --trials 2 --kv $kv)
    between "$kv: needles found" 0.95 "$(field "$out" needle tier found)" 1
    between "$kv: pairs found" 0.7 "$(field "$out" recall tier found)" 1
    between "$kv: needles found with f16" 1 "$(field "$out" needle f16 found)" 1
    between "$kv: as likely as with f16" -0.5 "$(field "$out" needle tier logprob)" 0
    between "$kv: nothing found where nothing was planted" 0 "$(field "$out" needle absent found)" 0
    between "$kv: nor likely" -100 "$(field "$out" recall absent logprob)" -5
    between "$kv: its rank" 1 "$(field "$out" needle tier rank)" 1.1
done
if [ -z "$quick" ]; then
    out=$(ask "$model" --needle $lengths --recall $lengths --trials 2 --kv log:paper)
    between "log:paper loses needles" 0 "$(field "$out" needle tier found)" 0.6
    between "log:paper loses pairs" 0 "$(field "$out" recall tier found)" 0.6
fi

for m in "$ember" "$stories"; do
    [ -r "$m" ] || { skip "recall on $m: it is not here"; continue; }
    out=$(ask "$m" --needle 512 --recall 256 --trials 1 --kv log:k2v2)
    between "$m: a rank" 1 "$(field "$out" needle tier rank)" 100000
    between "$m: a log-probability" -60 "$(field "$out" recall tier logprob)" 0
    for set in "--threads 1" "--threads 3 --chunk 7" "--chunk 100"; do
        same "$m $set" "$(ask "$m" --needle 512 --recall 256 --trials 1 --kv log:k2v2 $set)" "$out"
    done
done

# refuse SAYS PATTERN ARGUMENTS...: exit 1, one line, nothing else
refuse() {
    local says=$1 pattern=$2
    shift 2
    "$hearth" eval "$@" > "$tmp/out" 2> "$tmp/err"
    if [ $? = 1 ] && [ "$(wc -l < "$tmp/err")" = 1 ] && grep -Eq -- "$pattern" "$tmp/err" && [ ! -s "$tmp/out" ]; then pass
    else fail "$says: $(cat "$tmp/err" "$tmp/out" | head -c 300)"; fi
}
refuse "a length below the least" '--needle: 255 tokens, allowed 256' "$model" --text "$tmp/text" --needle 255
holds "the least length" "$hearth" eval "$model" --text "$tmp/text" --needle 256 --trials 1
holds "one more" "$hearth" eval "$model" --text "$tmp/text" --recall 257 --trials 1
refuse "no number" '--recall: "x", expected' "$model" --text "$tmp/text" --recall x
refuse "an empty place in the list" '--recall: "256,", expected' "$model" --text "$tmp/text" --recall 256,
refuse "nothing at all" '--needle: "", expected' "$model" --text "$tmp/text" --needle ""
refuse "a number of 30 digits" 'allowed 256|expected' "$model" --text "$tmp/text" --needle 999999999999999999999999999999
refuse "17 lengths" 'expected 1..16' "$model" --text "$tmp/text" --needle 256,256,256,256,256,256,256,256,256,256,256,256,256,256,256,256,256
# this vocabulary has a token for each byte, and a blank of three bytes in front of the text and for every blank
tr -cd 'a-zA-Z0-9' < "$tmp/text" > "$tmp/letters"
head -c 296 "$tmp/letters" > "$tmp/short"
refuse "a text one token too short" '--needle: 300 tokens, the text has 299' "$model" --text "$tmp/short" --needle 300
head -c 297 "$tmp/letters" > "$tmp/short"
holds "a text that is just long enough" "$hearth" eval "$model" --text "$tmp/short" --needle 300 --trials 1
head -c 2000 /dev/zero | tr '\0' 'a' > "$tmp/plain"
refuse "a text of one letter" 'different tokens, at least 32' "$model" --text "$tmp/plain" --needle 300
[ ! -r "$ember" ] || refuse "past the model's context" 'context: 1025 tokens, the model was trained on 1024' "$ember" --text "$tmp/text" --recall 1025
"$hearth" eval "$model" --text "$tmp/text" --needle 256 --trials 0 > "$tmp/out" 2> "$tmp/err"
same "no trials is a wrong command line" $? 2
for set in "--stats" "--trace $tmp/trace" "--heat $tmp/heat.svg"; do
    "$hearth" eval "$model" --text "$tmp/text" --needle 256 --trials 1 $set > "$tmp/out" 2> "$tmp/err"
    same "$set with --needle" "$? $(wc -l < "$tmp/err") $(wc -c < "$tmp/out")" "2 1 0"
    [ ! -e "$tmp/trace" ] && [ ! -e "$tmp/heat.svg" ] || fail "$set with --needle wrote a file"
done
finish
