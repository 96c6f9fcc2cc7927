#!/bin/sh
# hearth quantize: what it writes computes nearly what the source did, the same bytes for any number of threads; with
# --calibrate errors move to where the text does not feel them; what is refused leaves no file.
. tests/check.sh
model=$shared/reference/models/stories260K.gguf
[ -e "$model" ] || { skip "quantize.sh: no $model"; finish; exit; }
for seed in 1 2 3; do "$hearth" run --no-jail "$model" "Once upon a time" --seed $seed --temp 0.9 -n 300; echo; done > "$tmp/text" 2> "$tmp/err"
for seed in 4 5; do "$hearth" run --no-jail "$model" "One day" --seed $seed --temp 0.9 -n 300; echo; done > "$tmp/held" 2> "$tmp/err"

# loss FILE: nats a token on the held-out text, in millionths
loss() { "$hearth" eval "$1" --text "$tmp/held" --activations f32 --json | sed 's/.*"loss": \([0-9.]*\).*/\1/' | awk '{ printf "%d\n", $1 * 1e6 }'; }
source_loss=$(loss "$model")
# A type, and how many millionths its loss may be over the source's: about twice what it was when this was written.
while read -r type more; do
    [ -n "$quick" ] && [ "$type" != Q4_K_M ] && continue
    for how in "" "--calibrate $tmp/text"; do
        holds "$type $how" "$hearth" quantize "$model" "$tmp/out" --type "$type" --threads 1 $how
        holds "$type $how: on three threads" "$hearth" quantize "$model" "$tmp/more" --type "$type" --threads 3 $how
        holds "$type $how: the same bytes" cmp "$tmp/out" "$tmp/more"
        got=$(loss "$tmp/out")
        [ "$got" -le $((source_loss + more)) ] && pass || fail "$type $how: loss $got, the source's is $source_loss"
    done
    holds "$type: plain again" "$hearth" quantize "$model" "$tmp/plain" --type "$type"
    if cmp -s "$tmp/plain" "$tmp/out"; then fail "$type: --calibrate changes nothing"; else pass; fi
done << END
Q8_0 3000
Q6_K 3000
Q4_K_M 5000
Q4_0 170000
END

# Experts, latent attention, fused matrices: the text is any, for these models say nothing.
for name in mixtral deepseek3 deepseek2lite phi3 gemma3; do
    [ -n "$quick" ] && [ $name != deepseek3 ] && continue
    file=$shared/reference/models/$name.gguf
    if "$hearth" tokens "$file" hello > "$tmp/ids" 2>&1; then
        holds "$name, calibrated" "$hearth" quantize "$file" "$tmp/out" --type Q8_0 --calibrate "$tmp/text"
        holds "$name, quantized, computes" "$hearth" logits "$tmp/out" --tokens "$tmp/ids"
    else
        "$hearth" quantize "$file" "$tmp/none" --calibrate "$tmp/text" > "$tmp/got" 2>&1
        same "$name without a vocabulary: exit" $? 1
        holds "$name without a vocabulary: says so" grep -q 'without a vocabulary' "$tmp/got"
    fi
done

# refused SAYS PATTERN ARGUMENTS...: one line that matches, and no file
refused() {
    says=$1 pattern=$2
    shift 2
    "$hearth" quantize "$@" > "$tmp/got" 2>&1 && fail "$says: taken"
    holds "$says" grep -q -- "$pattern" "$tmp/got"
    same "$says: one line" "$(wc -l < "$tmp/got")" 1
    if [ -e "$tmp/none" ] || [ -e "$tmp/none.part" ]; then fail "$says: left a file"; else pass; fi
}
: > "$tmp/empty"
echo "Once upon a time" > "$tmp/short"
printf 'Once \377\376 upon' > "$tmp/bytes"
refused "a text of nothing" 'at least 32 are needed' "$model" "$tmp/none" --calibrate "$tmp/empty"
refused "a text of a few words" 'at least 32 are needed' "$model" "$tmp/none" --calibrate "$tmp/short"
refused "a text that is not there" 'nothere' "$model" "$tmp/none" --calibrate "$tmp/nothere"
refused "bytes that are no text" "$tmp/bytes" "$model" "$tmp/none" --calibrate "$tmp/bytes"
refused "a text as the model" 'GGUF' "$tmp/text" "$tmp/none" --calibrate "$tmp/text"
refused "an unknown type" 'none of' "$model" "$tmp/none" --type Q9_0
finish
