#!/bin/sh
# A small model made by one process, and by two and four ranks over TCP: the same weights at every logged step; and a
# rank that is killed ends the others, and from the last checkpoint the run goes on to the same weights.
. tests/check.sh
[ -z "$quick" ] || { skip "ranks.sh: the sanitizers do not know MPI's memory"; finish; exit; }
command -v mpirun > /dev/null && [ -e "$(dirname "$hearth")/hearth-mpi.so" ] ||
    { skip "ranks.sh: needs mpirun and \`make mpi\`"; finish; exit; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
ranks() { n=$1; shift; timeout 100 mpirun -n "$n" --oversubscribe --mca btl tcp,self --mca btl_tcp_if_include lo "$@"; }

# Four lines a document: of more than a hundred some are held out, whatever the pages say today.
cat docs/arithmetic.md docs/tour.md | tr -d '"\\\t' | paste -d ' ' - - - - | sed 's/.*/{"text": "&"}/' > "$tmp/lines.jsonl"

# conf RUN STEPS: writes $tmp/RUN.conf
conf() {
    cat > "$tmp/$1.conf" << END
[model]
name = Toy
width = 32
layers = 2
heads = 2
kv_heads = 1
head_dim = 16
ffn_width = 32
experts = 4
top_k = 2
context = 64
[data]
tokenizer = $tmp/vocab.gguf
vocab = 400
shards = $tmp
source = 1 $tmp/lines.jsonl
held_out_share = 0.2
tasks = 200
[train]
row_tok = 32
micro_rows = 4
step_tok = 1K
steps = $2
warmup = 2
decay = 4
muon = 0.95
[run]
folder = $tmp/$1
checkpoint = 5
log = 2
eval = 0
END
}

conf one 12
holds "a vocabulary" "$hearth" tokenizer train "$tmp/one.conf"
holds "shards" "$hearth" data "$tmp/one.conf"
holds "one process" "$hearth" train "$tmp/one.conf"
for n in 1 2 4; do
    conf "ranks$n" 12
    holds "$n ranks" ranks "$n" "$hearth" train "$tmp/ranks$n.conf"
    same "$n ranks: the log, weights and all" "$(cat "$tmp/ranks$n/run.log")" "$(cat "$tmp/one/run.log")"
done
sed 's/micro_rows = 4/micro_rows = 32/' "$tmp/one.conf" > "$tmp/odd.conf"
ranks 2 "$hearth" train "$tmp/odd.conf" > "$tmp/out" 2>&1 && fail "one microbatch for two ranks was taken" || pass
grep -q "each needs the same power of two" "$tmp/out" && pass || fail "one microbatch, two ranks: $(tail -n 3 "$tmp/out")"

# Long enough to be killed on the way; then whole, by one process.
conf killed 400
ranks 2 "$hearth" train "$tmp/killed.conf" > "$tmp/out" 2>&1 & launcher=$!
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ "$(grep -c '^step' "$tmp/out")" -gt 3 ] && break
    sleep 0.5
done
victim=$(pgrep -f "^$hearth train $tmp/killed.conf" | tail -n 1)
kill -9 "$victim" && pass || fail "no rank to kill"
wait "$launcher" && fail "the run ended well without a rank" || pass
[ -e "$tmp/killed/last.check" ] && pass || fail "no checkpoint after a rank died: $(tail -n 3 "$tmp/out")"
conf whole 400
holds "the run goes on" "$hearth" train "$tmp/killed.conf"
holds "a run that was not killed" "$hearth" train "$tmp/whole.conf"
same "and ends with the same weights" "$(tail -n 1 "$tmp/killed/run.log")" "$(tail -n 1 "$tmp/whole/run.log")"
finish
