#!/bin/bash
# Everything a stranger or a slip of the hand can hand in: one line that names the thing, exit 1 (2 for the command
# line), and no file written.
. tests/check.sh
make="$helpers/make_model"
big=width=256\ heads=8\ ffn=256

# refuse SAYS STATUS PATTERN COMMAND...   the command fails with STATUS and one line that matches PATTERN
refuse() {
    local says=$1 status=$2 pattern=$3 got lines
    shift 3
    "$@" > "$tmp/stdout" 2> "$tmp/stderr" < /dev/null
    got=$?
    lines=$(wc -l < "$tmp/stderr")
    if [ "$got" != "$status" ]; then fail "$says: exit $got, want $status: $(head -c 300 "$tmp/stderr")"
    elif [ "$lines" != 1 ]; then fail "$says: $lines lines, want 1: $(head -c 300 "$tmp/stderr")"
    elif ! grep -q '^hearth: ' "$tmp/stderr"; then fail "$says: no 'hearth:' in front: $(cat "$tmp/stderr")"
    elif ! grep -Eq -- "$pattern" "$tmp/stderr"; then fail "$says: '$(cat "$tmp/stderr")' does not match '$pattern'"
    elif [ -s "$tmp/stdout" ]; then fail "$says: wrote to standard output"
    elif [ -e "$tmp/written" ] || [ -e "$tmp/written.part" ]; then fail "$says: left a file"; rm -f "$tmp/written" "$tmp/written.part"
    else pass; fi
}
logits() { "$hearth" logits "$1" --tokens "$tmp/ids" --out "$tmp/written"; }

printf '1 5 9\n' > "$tmp/ids"
"$make" "$tmp/good.gguf" || { fail "make_model"; finish; exit; }

# ---- files ----
printf 'not a model at all, but longer than a head\n' > "$tmp/text.gguf"
: > "$tmp/empty.gguf"
refuse "no such file" 1 'no such file' logits "$tmp/none.gguf"
refuse "an empty file" 1 'empty' logits "$tmp/empty.gguf"
refuse "a folder" 1 'not a regular file' logits "$tmp"
refuse "not GGUF" 1 'text.gguf.*(GGUF|magic)' logits "$tmp/text.gguf"
size=$(wc -c < "$tmp/good.gguf")
for cut in 3 4 8 23 24 100 1000 5000 $((size / 2)) $((size - 1)); do
    head -c $cut "$tmp/good.gguf" > "$tmp/cut.gguf"
    refuse "cut after $cut bytes" 1 'cut.gguf: ' logits "$tmp/cut.gguf"
done
{ cat "$tmp/good.gguf"; printf 'x'; } > "$tmp/long.gguf"
refuse "a byte too many" 1 'long.gguf: ' logits "$tmp/long.gguf"
# patch FILE OFFSET BYTES...: a copy of the good file with bytes replaced (octal escapes of printf)
patch() { cp "$tmp/good.gguf" "$tmp/$1"; printf "$3" | dd of="$tmp/$1" bs=1 seek="$2" conv=notrunc 2> /dev/null; }
patch version.gguf 4 '\001\000\000\000'
refuse "version 1" 1 'version' logits "$tmp/version.gguf"
patch tensors.gguf 8 '\377\377\377\377\377\377\377\177'
refuse "impossible tensor count" 1 'tensors' logits "$tmp/tensors.gguf"
patch pairs.gguf 16 '\377\377\377\377\377\377\377\377'
refuse "impossible key count" 1 '(pairs|keys)' logits "$tmp/pairs.gguf"
patch key.gguf 24 '\377\377\377\377\377\377\377\377'
refuse "impossible key length" 1 'key.gguf: ' logits "$tmp/key.gguf"

# ---- models ----
# made SAYS PATTERN ARGUMENTS...: a made model with something wrong
made() {
    local says=$1 pattern=$2
    shift 2
    "$make" "$tmp/made.gguf" "$@" 2> "$tmp/make.err" || { fail "$says: $(cat "$tmp/make.err")"; return; }
    refuse "$says" 1 "$pattern" logits "$tmp/made.gguf"
}
made "unknown architecture" 'rnn99' "str:general.architecture=rnn99"
made "a missing tensor" 'blk.1.attn_k.weight' drop=blk.1.attn_k.weight
made "no output norm" 'output_norm.weight' drop=output_norm.weight
made "no embedding" 'token_embd.weight' drop=token_embd.weight
made "a shape that does not fit" 'token_embd.weight|embedding_length|attn' u32:gemma2.embedding_length=96
made "heads that do not divide" 'head_count_kv' u32:gemma2.attention.head_count_kv=4
made "no layers" 'block_count' u32:gemma2.block_count=0
made "a million layers" 'block_count' u32:gemma2.block_count=1000000
made "more layers than tensors" 'blk.3' u32:gemma2.block_count=4
made "fewer layers than tensors" 'blk.2' u32:gemma2.block_count=2
made "a text for a number" 'block_count' str:gemma2.block_count=three
made "an infinite weight" 'token_embd.weight' nan=token_embd.weight
made "an infinite norm" 'blk.0.attn_norm.weight' nan=blk.0.attn_norm.weight
made "a scale that is no number" 'blk.2.ffn_down.weight' type=Q4_K $big nan=blk.2.ffn_down.weight
made "an infinite f16 weight" 'blk.0.ffn_up.weight' type=F16 nan=blk.0.ffn_up.weight
made "an unknown vocabulary" 'tokenizer.ggml.model|vocabulary|tokenizer' str:tokenizer.ggml.model=runes
made "an id outside the vocabulary" 'bos_token_id' u32:tokenizer.ggml.bos_token_id=300
made "rope over odd dimensions" 'rope.dimension_count' u32:gemma2.rope.dimension_count=31

# ---- experts ----
sparse="arch=qwen3moe experts=4 top=2"
experts() { local says=$1 pattern=$2; shift 2; made "$says" "$pattern" $sparse "$@"; }
experts "more experts chosen than there are" 'expert_used_count.*(5|limit|1\.\.4)' u32:qwen3moe.expert_used_count=5
experts "none chosen" 'expert_used_count' u32:qwen3moe.expert_used_count=0
experts "more experts than any model has" 'expert_count' u32:qwen3moe.expert_count=1025
experts "an expert more than tensors hold" 'blk.0.ffn_gate_inp.weight.*shape' u32:qwen3moe.expert_count=5
experts "an expert less" 'blk.0.ffn_gate_inp.weight.*shape' u32:qwen3moe.expert_count=3
experts "experts of another width" 'blk.0.ffn_gate_exps.weight.*shape' u32:qwen3moe.expert_feed_forward_length=64
experts "groups that do not divide" 'expert_group_count' u32:qwen3moe.expert_group_count=3
experts "no router in layer 1" 'blk.1.ffn_gate_inp.weight' drop=blk.1.ffn_gate_inp.weight
experts "no down matrices in layer 2" 'blk.2.ffn_down_exps.weight' drop=blk.2.ffn_down_exps.weight
experts "no up matrices in layer 0" 'blk.0.ffn_up_exps.weight' drop=blk.0.ffn_up_exps.weight
experts "a router weight that is no number" 'blk.1.ffn_gate_inp.weight.*row 0' nan=blk.1.ffn_gate_inp.weight
experts "an infinite expert weight" 'blk.2.ffn_up_exps.weight.*row 0' nan=blk.2.ffn_up_exps.weight

# ---- ids and texts ----
ids() { printf '%s' "$1" > "$tmp/bad_ids"; "$hearth" logits "$tmp/good.gguf" --tokens "$tmp/bad_ids" --out "$tmp/written"; }
refuse "no ids" 1 'no token ids' ids ''
refuse "an id at the vocabulary's size" 1 'token id 2: 300, allowed 0\.\.299' ids '1 300'
refuse "a negative id" 1 'token id 1: -1, allowed' ids '-1'
refuse "a word" 1 'token id 3: x7' ids '1 2 x7'
refuse "an id of 30 digits" 1 'token id 1: 99999999999999999999' ids '999999999999999999999999999999'
refuse "no file of ids" 1 'nowhere' "$hearth" logits "$tmp/good.gguf" --tokens "$tmp/nowhere" --out "$tmp/written"
refuse "more ids than the context" 1 '3 token ids, --ctx allows 2' "$hearth" logits "$tmp/good.gguf" --tokens "$tmp/ids" --ctx 2 --out "$tmp/written"
"$make" "$tmp/two.gguf" context=2
refuse "more ids than the model was trained on" 1 'context: 3 tokens, the model was trained on 2' logits "$tmp/two.gguf"
"$make" "$tmp/three.gguf" context=3
holds "as many ids as it was trained on" "$hearth" logits "$tmp/three.gguf" --tokens "$tmp/ids"
refuse "a context past the model's, evaluated" 1 'context: 4 tokens, the model was trained on 3' "$hearth" eval "$tmp/three.gguf" --text "$tmp/ids" --window 4
refuse "a context past the model's, planned" 1 'context: 4097 tokens, the model was trained on 4096' "$hearth" plan "$tmp/good.gguf" --context 4097
holds "the model's context, planned" "$hearth" plan "$tmp/good.gguf" --context 4096
refuse "an output folder that is not there" 1 'cannot create' "$hearth" logits "$tmp/good.gguf" --tokens "$tmp/ids" --out "$tmp/no/where"
refuse "decoding an id outside" 1 'token id 1: 300' "$hearth" tokens "$tmp/good.gguf" --decode 300
jsonl() { printf '%s\n' "$1" > "$tmp/lines"; bash -c '"$0" tokens "$1" --jsonl < "$2"' "$hearth" "$tmp/good.gguf" "$tmp/lines"; }
refuse "a line that is no JSON" 1 'line 1: ' jsonl 'hello'
refuse "a line that is no string" 1 'line 1: .*string' jsonl '12'

# ---- what the processes of a model refuse ----
if walls "what hearth run refuses"; then
    refuse "a prompt longer than the context" 1 'prompt: [0-9]+ tokens, the context holds 4' "$hearth" run "$tmp/good.gguf" "a long prompt" --ctx 4
    refuse "memory too small for the weights" 1 '(memory|weights)' "$hearth" run "$tmp/good.gguf" hello --memory 1M --ctx 4096
    refuse "a context past the model's" 1 'context: 4097 tokens, the model was trained on 4096' "$hearth" run "$tmp/good.gguf" hello --ctx 4097
    holds "the model's own context" "$hearth" run "$tmp/good.gguf" hello --ctx 4096 -n 1
    refuse "a bias that is none" 1 '--logit-bias: 5, expected' "$hearth" run "$tmp/good.gguf" x --logit-bias 5
    refuse "a bias outside the vocabulary" 1 '--logit-bias: token 300, allowed 0\.\.299' "$hearth" run "$tmp/good.gguf" x --logit-bias 300=1
fi

# ---- the command line ----
refuse "a command that is none" 2 'nonsense; the nearest is' "$hearth" nonsense
refuse "an unknown option" 2 '--tepm; the nearest is --temp' "$hearth" run "$tmp/good.gguf" x --tepm 1
refuse "an option without its value" 2 '--threads: no value' "$hearth" run "$tmp/good.gguf" x --threads
refuse "threads 0" 2 '--threads: 0, allowed: .*1\.\.256' "$hearth" run "$tmp/good.gguf" x --threads 0
refuse "threads 257" 2 '--threads: 257, allowed: .*1\.\.256' "$hearth" run "$tmp/good.gguf" x --threads 257
refuse "chunk 4097" 2 '--chunk: 4097, allowed: .*1\.\.4096' "$hearth" run "$tmp/good.gguf" x --chunk 4097
refuse "a temperature below 0" 2 '--temp: -0.1, allowed: .*0\.\.100' "$hearth" run "$tmp/good.gguf" x --temp -0.1
refuse "top-p over 1" 2 '--top-p: 1.01, allowed: .*0\.\.1' "$hearth" run "$tmp/good.gguf" x --top-p 1.01
refuse "a number with a comma" 2 '--top-p: 0,5, allowed' "$hearth" run "$tmp/good.gguf" x --top-p 0,5
refuse "not a number" 2 '--min-p: nan, allowed' "$hearth" run "$tmp/good.gguf" x --min-p nan
refuse "a seed over 64 bits" 2 '--seed: 18446744073709551616, allowed' "$hearth" run "$tmp/good.gguf" x --seed 18446744073709551616
refuse "a choice that is none" 2 '--kv: q9, allowed: f16, f32' "$hearth" run "$tmp/good.gguf" x --kv q9
refuse "a size without a number" 2 '--memory: G, allowed' "$hearth" run "$tmp/good.gguf" x --memory G
refuse "a flag with a value" 2 '--json takes no value' "$hearth" run "$tmp/good.gguf" x --json=1
refuse "too many words" 2 '3 words given' "$hearth" run "$tmp/good.gguf" x y
refuse "two prompts" 2 'give one of them' "$hearth" run "$tmp/good.gguf" x -p y
refuse "logits without ids" 2 '--tokens: no file' "$hearth" logits "$tmp/good.gguf"
refuse "eval without a text" 2 '--text: no file' "$hearth" eval "$tmp/good.gguf"
refuse "a tier that this processor lacks" 1 'neon|avx512' "$hearth" run "$tmp/good.gguf" x --cpu "$([ "$(uname -m)" = aarch64 ] && echo avx512 || echo neon)"
"$make" "$tmp/odd.gguf" head=12 || fail "make_model head=12"
for kv in log:k2v2 log:k4v3; do
    refuse "$kv for heads of 12" 1 "$kv: heads of 12 and 12 channels, allowed: heads of 8..256 channels, a multiple of 8" \
        "$hearth" logits "$tmp/odd.gguf" --tokens "$tmp/ids" --kv $kv --out "$tmp/written"
    refuse "a plan of $kv for heads of 12" 1 "$kv: heads of 12 and 12" "$hearth" plan "$tmp/odd.gguf" --kv $kv
done
# A line end in a name must not become a second line, an escape no colour.
refuse "a name that steers the terminal" 1 'a\?b\?\[31m' "$hearth" run "$tmp/a
b"$'\x1b'"[31m.gguf" x
finish
