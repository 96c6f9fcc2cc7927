#!/bin/bash
# hearth run --session: what two processes make one after the other is what one makes; a file that is damaged, of other
# settings or of another key is refused in one line, and the prompt is computed without it; what the cache can not be
# is said in one line with exit 1, and a file that was there stays.
. tests/check.sh
model=$shared/reference/models/stories260K.gguf
latent=$shared/reference/models/deepseek2lite.gguf
if [ ! -r "$model" ]; then
    skip "session.sh: no $model"
    finish
    exit
fi
walls "session.sh" || { finish; exit; }
d=$tmp
tiers="f32 f16 q8 q4 log:k2v2 log:k3v2 log:k4v3"
[ -z "$quick" ] || tiers="f16 log:k2v2"
ok() { if [ "$1" = 0 ]; then pass; else fail "$2"; fi; }
run() { "$hearth" run "$model" --raw --temp 0 --ctx 512 "$@" 2> "$d/err"; }

for kv in $tiers; do
    rm -f "$d/s"
    first=$(run --kv $kv "Once upon a time" -n 140 --session "$d/s")
    second=$(run --kv $kv -p "" -n 120 --session "$d/s" --stats)
    grep -q "restored" "$d/err"
    ok $? "$kv: the second run says what it restored: $(cat "$d/err")"
    [ "$first$second" = "$(run --kv $kv "Once upon a time" -n 260)" ]
    ok $? "$kv: two runs with a saved session make what one makes"
done

printf '%064d\n' 7 > "$d/key"
printf '%064d\n' 8 > "$d/other"
plain=$(run "The end" -n 20)
# refused NAME: the last run said one line, that the text is computed again, and made the text of a fresh start
refused() {
    [ "$2" = 0 ] && [ "$3" = "$plain" ] && [ "$(wc -l < "$d/err")" = 1 ] && grep -q "computed again" "$d/err"
    ok $? "$1: exit $2, $(cat "$d/err")"
}
run "Once upon a time" -n 40 --session "$d/open" > "$d/out"
run "Once upon a time" -n 40 --session "$d/sealed" --session-key "$d/key" > "$d/out"
out=$(cp "$d/open" "$d/s" && run "The end" -n 20 --session "$d/s" --session-key "$d/key"); refused "a key where none is" $? "$out"
out=$(cp "$d/sealed" "$d/s" && run "The end" -n 20 --session "$d/s"); refused "no key where one is" $? "$out"
out=$(cp "$d/sealed" "$d/s" && run "The end" -n 20 --session "$d/s" --session-key "$d/other"); refused "another key" $? "$out"
out=$(cp "$d/open" "$d/s" && chmod 666 "$d/s" && run "The end" -n 20 --session "$d/s"); refused "a file that others may write" $? "$out"
rm -f "$d/s"
if cp "$d/open" "$d/s" && chown 12345 "$d/s" 2> /dev/null; then
    out=$(run "The end" -n 20 --session "$d/s"); refused "a file of another user" $? "$out"
    rm -f "$d/s"
else
    skip "a file of another user: only the superuser can make one"
fi
bytes=$(stat -c %s "$d/open")
for at in 0 8 40 100 200 5000 $((bytes - 1)); do
    cp "$d/open" "$d/s"
    printf '\377' | dd of="$d/s" bs=1 seek="$at" conv=notrunc 2> /dev/null
    cmp -s "$d/open" "$d/s" && printf '\001' | dd of="$d/s" bs=1 seek="$at" conv=notrunc 2> /dev/null
    out=$(run "The end" -n 20 --session "$d/s"); refused "damaged at $at" $? "$out"
done
head -c $((bytes - 1)) "$d/open" > "$d/s"
out=$(run "The end" -n 20 --session "$d/s"); refused "a byte short" $? "$out"
cp "$d/open" "$d/s"
"$hearth" run "$model" --raw --temp 0 --ctx 256 "The end" -n 20 --session "$d/s" > "$d/out" 2> "$d/err"
refused "another context" $? "$(cat "$d/out")"

# bad NAME WORDS...: exit 1, one line, nothing on standard output, and the session file as it was
bad() {
    local name=$1
    shift
    cp "$d/open" "$d/s"
    "$hearth" run "$@" > "$d/out" 2> "$d/err" < /dev/null
    [ $? = 1 ] && [ "$(wc -l < "$d/err")" = 1 ] && [ ! -s "$d/out" ] && cmp -s "$d/open" "$d/s"
    ok $? "$name: $(cat "$d/err")"
}
bad "a key file that holds none" "$model" --raw hi -n 2 --session "$d/s" --session-key "$d/open"
bad "a key file that is not there" "$model" --raw hi -n 2 --session "$d/s" --session-key "$d/none"
bad "a budget that holds no page" "$model" --raw hi -n 2 --session "$d/s" --memory 1M --ctx 512
bad "a measuring tier" "$model" --raw hi -n 2 --session "$d/s" --kv log:paper
[ ! -r "$latent" ] || bad "a log tier for a latent cache" "$latent" --raw hi -n 2 --session "$d/s" --kv log:k2v2
finish
