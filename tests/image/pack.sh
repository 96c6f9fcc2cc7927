#!/bin/bash
# hearth pack: the same logits, tokens and template from an image as from its model file; at most 1% and 1 MiB larger; the
# same bytes for every number of threads; read again whole; refused where it is damaged, cut or of another layout; a
# full disk leaves the old file.
. tests/check.sh

# round NAME MODEL IDS
round() {
    local name=$1 model=$2 ids=$3 file image want got
    "$hearth" pack "$model" "$tmp/image" > "$tmp/packed" 2>&1 || { fail "$name: $(cat "$tmp/packed")"; return; }
    same "$name: read again whole" "$("$hearth" pack --check "$tmp/image" 2>&1)" "$(cat "$tmp/packed")"
    file=$(wc -c < "$model") image=$(wc -c < "$tmp/image")
    if [ "$image" -le $((file + file / 100 + 1048576)) ]; then pass; else fail "$name: $image bytes from $file"; fi
    want=$("$hearth" logits "$model" --tokens "$ids" 2>&1)
    got=$("$hearth" logits "$tmp/image" --tokens "$ids" 2>&1)
    case $want in sha256*) same "$name: logits" "$got" "$want" ;; *) fail "$name: $want" ;; esac
    same "$name: tokens" "$("$hearth" tokens "$tmp/image" 'One two, 3 é.' 2>&1 | sed 's/^.*: holds/holds/')" \
                         "$("$hearth" tokens "$model" 'One two, 3 é.' 2>&1 | sed 's/^.*: holds/holds/')"
}

printf '1 5 9 7 3\n' > "$tmp/ids"
for made in "type=F32 width=64" "type=Q8_0 width=64" "type=Q4_K width=256 heads=8 ffn=256"; do
    # shellcheck disable=SC2086 # the words are arguments
    "$helpers/make_model" "$tmp/made.gguf" $made || { fail "make_model $made"; continue; }
    round "made $made" "$tmp/made.gguf" "$tmp/ids"
done
if [ -d "$shared/reference/models" ]; then
    for model in "$shared"/reference/models/*.gguf "$shared"/reference/quants/llama-*.gguf "$shared"/reference/quants/qwen*.gguf; do
        [ -n "$quick" ] && case $model in */mixtral.gguf | */deepseek2lite.gguf) ;; *) continue ;; esac
        round "$(basename "$model" .gguf)" "$model" "${model%.gguf}.tokens"
    done
else
    skip "pack.sh: no $shared/reference"
fi

# ---- the same bytes ----
"$hearth" pack "$tmp/made.gguf" "$tmp/one" --threads 1 > "$tmp/first"
for threads in 2 8; do
    "$hearth" pack "$tmp/made.gguf" "$tmp/more" --threads $threads > "$tmp/packed"
    holds "$threads threads, the same bytes" cmp "$tmp/one" "$tmp/more"
done
"$hearth" pack "$tmp/made.gguf" "$tmp/nameless" --no-hash --json > "$tmp/packed"
holds "without hashes the identity is not computed" grep -q '"identity": null' "$tmp/packed"
same "without hashes, the same logits" "$("$hearth" logits "$tmp/nameless" --tokens "$tmp/ids")" "$("$hearth" logits "$tmp/one" --tokens "$tmp/ids")"
holds "inspect knows an image" sh -c "'$hearth' inspect '$tmp/one' | grep -q \"^identity *\$(awk '/identity/ { print \$2 }' '$tmp/first')\""

# ---- what is refused ----
# refused SAYS PATTERN COMMAND...: exit 1 and one line that matches
refused() {
    local says=$1 pattern=$2 status
    shift 2
    "$@" > "$tmp/out" 2> "$tmp/err"
    status=$?
    if [ $status != 1 ] || [ "$(wc -l < "$tmp/err")" != 1 ]; then fail "$says: exit $status: $(head -c 300 "$tmp/err")"
    elif ! grep -Eq -- "$pattern" "$tmp/err"; then fail "$says: '$(cat "$tmp/err")' does not match '$pattern'"
    else pass; fi
}
logits() { "$hearth" logits "$1" --tokens "$tmp/ids"; }
size=$(wc -c < "$tmp/one")
for cut in 8 100 255 256 1000 5000 $((size / 2)) $((size - 1)); do
    head -c "$cut" "$tmp/one" > "$tmp/cut"
    refused "cut after $cut bytes" 'cut: ' logits "$tmp/cut"
done
{ cat "$tmp/one"; printf x; } > "$tmp/long"
refused "a byte too many" 'long: image: says it has' logits "$tmp/long"
# patch OFFSET BYTES: a copy with bytes replaced (octal escapes of printf)
patch() { cp "$tmp/one" "$tmp/bad"; printf "$2" | dd of="$tmp/bad" bs=1 seek="$1" conv=notrunc 2> /dev/null; }
patch 8 '\143'
refused "another layout" 'layout version 99, this program reads' logits "$tmp/bad"
refused "another layout, its vocabulary" 'layout version 99' "$hearth" tokens "$tmp/bad" x
patch 256 'rnn99\000'
refused "another architecture" 'architecture "rnn99' logits "$tmp/bad"
refused "a packed image packed again" 'GGUF|magic' "$hearth" pack "$tmp/one" "$tmp/again"
# A code changed in the middle of the data: no reader of one token can know, the reading of all does.
patch $((size - 5000)) '\125\252\125\252'
holds "a changed code is harmless" logits "$tmp/bad"
refused "and is found" 'not those that were packed|NaN|no row' "$hearth" pack --check "$tmp/bad"

# ---- a full disk ----
cp "$tmp/one" "$tmp/old"
(ulimit -f 16; "$hearth" pack "$tmp/made.gguf" "$tmp/old" > "$tmp/out" 2> "$tmp/err")
same "a limit on files: exit" "$?" 1
holds "a limit on files: says so" grep -q 'no room for' "$tmp/err"
holds "a limit on files: the old one stays" cmp "$tmp/one" "$tmp/old"
if [ -e "$tmp/old.part" ]; then fail "a limit on files: left a part"; else pass; fi
mkdir "$tmp/disk"
if mount -t tmpfs -o size=64k none "$tmp/disk" 2> "$tmp/err"; then
    printf 'old' > "$tmp/disk/model"
    refused "a full disk" 'no room for .* No space left' "$hearth" pack "$tmp/made.gguf" "$tmp/disk/model"
    same "a full disk: the old file stays" "$(cat "$tmp/disk/model")" old
    same "a full disk: nothing is left" "$(ls "$tmp/disk")" model
    umount "$tmp/disk"
else
    skip "a full disk: no mount of a small one here"
fi
helper_refused=$("$hearth" pack "$tmp/made.gguf" "$tmp/no/where" 2>&1)
case $helper_refused in *"cannot create"*) pass ;; *) fail "a folder that is not there: $helper_refused" ;; esac
finish
