# For the scripts of tests/*/: `. tests/check.sh` at the top, `finish` at the end. They run from the repository root.
#   $hearth  the program that is tested      $shared  reference data ($HEARTH_SHARED, or ../shared)
#   $tmp     a folder that goes away at the end
#   $quick   not empty under the sanitizers: leave out what only takes longer there
passed=0 failed=0 skipped=0
hearth=${HEARTH:-build/release/hearth}
helpers=$(dirname "$hearth")/tests
shared=${HEARTH_SHARED:-../shared}
quick=${HEARTH_QUICK:-}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "FAILED $0: $*"; }
skip() { skipped=$((skipped + 1)); echo "skipped: $*"; }
# same SAYS GOT WANT
same() { if [ "$2" = "$3" ]; then pass; else fail "$1: got '$2', want '$3'"; fi; }
# holds SAYS COMMAND...   the command succeeds
holds() { says=$1; shift; if "$@" > "$tmp/holds" 2>&1; then pass; else fail "$says: $(tail -n 2 "$tmp/holds")"; fi; }
# walls SAYS: whether processes can be walled in on this machine; where not, SAYS is skipped with the reason. The kernel
# is asked by a program of the tests, never our own: walls that we fail to build are a failure
walls() {
    if why=$("$helpers/machine_walls" 2>&1); then return 0; fi
    skip "$1: $why"
    return 1
}
# small_model SAYS: $model, for scripts that serve it from behind walls; ends the script where something is missing
small_model() {
    model=$shared/reference/models/stories260K.gguf
    why=
    [ -z "$quick" ] || why="the release build runs it"
    [ -e "$model" ] || why="no $model"
    command -v python3 > /dev/null || why="no python3"
    [ -z "$why" ] || { skip "$1: $why"; finish; exit; }
    walls "$1" || { finish; exit; }
}
# processes SAYS: $tmp/big.gguf too, for scripts that watch the processes of the program
processes() {
    small_model "$1"
    "$helpers/make_model" "$tmp/big.gguf" width=1024 heads=8 head=128 ffn=16384 type=Q8_0 && return
    fail "make_model"
    finish
    exit
}
finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ]
}
