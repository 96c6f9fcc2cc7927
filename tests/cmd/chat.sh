#!/bin/sh
# The chat as a person meets it, in a terminal of 80 columns driven by tmux: typing, editing, Ctrl-C, pastes of several
# lines, three scripts, a change of size, slash commands, and the end.
. tests/check.sh
model=$shared/reference/models/stories260K.gguf
command -v tmux > /dev/null || { skip "chat.sh: no tmux"; finish; exit; }
[ -e "$model" ] || { skip "chat.sh: no $model"; finish; exit; }
walls "chat.sh" || { finish; exit; }
export LC_ALL=C.UTF-8 HOME=$tmp XDG_STATE_HOME=$tmp/state
servers=0
t() { tmux -S "$tmp/tmux$servers" "$@" 2> /dev/null; }
screen() { t capture-pane -p -S -200 | sed 's/ *$//'; }
# waits SAYS TEXT: until the screen holds it
waits() {
    for i in $(seq 1 100); do
        if screen | grep -qF -- "$2"; then pass; return; fi
        sleep 0.1
    done
    fail "$1: no '$2' on the screen: $(screen | tail -n 12 | tr '\n' '|')"
}
counts() { for i in $(seq 1 50); do [ "$(screen | grep -cF -- "$2")" -ge "$3" ] && { pass; return; }; sleep 0.1; done
    fail "$1: '$2' is there $(screen | grep -cF -- "$2") times, want $3: $(screen | tail -n 12 | tr '\n' '|')"; }
keys() { t send-keys "$@"; sleep 0.2; }
start() { t kill-server; servers=$((servers + 1)); t -f /dev/null new-session -d -x 80 -y 24 "$@; echo ended with \$?; sleep 30"; }

# A template that shows what it was given, and no end: the answer is cut by -n.
printf '{%%- for m in messages %%}[{{ m.role }}] {{ m.content }}\n{%% endfor %%}{%%- if add_generation_prompt %%}[assistant] {%% endif %%}' > "$tmp/plain.jinja"

start "$PWD/$hearth run $model --template $tmp/plain.jinja -n 12 --temp 0 --stats"
waits "the chat greets" "/help lists the commands"
keys "Once upon a tine" Left BSpace m Enter
waits "an edited line is answered" "prompt "
keys "/stats" Enter
waits "statistics" "conversation: "
keys "/save $tmp/talk.json" Enter
waits "saved" "2 messages in"
grep -qF '"content": "Once upon a time"' "$tmp/talk.json" && pass || fail "the edited line is not in the file: $(cat "$tmp/talk.json")"
"$hearth" render "$tmp/plain.jinja" --messages "$tmp/talk.json" > "$tmp/rendered" 2>&1
same "render reads what /save wrote" "$(head -n 1 "$tmp/rendered")" "[user] Once upon a time"

keys "Привет 你好 नमस्ते" Enter
waits "three scripts" "Привет 你好 नमस्ते"
keys "/save $tmp/talk.json" Enter
waits "saved again" "4 messages in"
grep -qF '"content": "Привет 你好 नमस्ते"' "$tmp/talk.json" && pass || fail "three scripts: $(tail -c 300 "$tmp/talk.json")"

printf 'first line\nsecond line\n\nlast' > "$tmp/paste"
t load-buffer "$tmp/paste"
t paste-buffer -p
sleep 0.3
keys Enter
counts "a paste is one message" "prompt " 3
keys "/save $tmp/talk.json" Enter
waits "saved a third time" "6 messages in"
grep -qF '"first line\nsecond line\n\nlast"' "$tmp/talk.json" && pass || fail "the paste: $(tail -c 300 "$tmp/talk.json")"

keys "one \\" Enter
keys "two" Enter
counts "a backslash adds a line" "prompt " 4
keys "given up" C-c
keys "/nonsense" Enter
waits "Ctrl-C clears the line" "no command /nonsense"
t resize-window -x 60 -y 20
keys "/system Be kind." Enter
keys "/edit" Enter
keys Enter
counts "an edited message is answered anew" "prompt " 5
keys "/save $tmp/talk.json" Enter
waits "saved with a system message" "9 messages in"
keys "/load $tmp/none.json" Enter
waits "a file that is not there" "none.json: cannot open"
keys "/quit" Enter
waits "the end" "ended with 0"
mode=$(stat -c %a "$tmp/state/hearth/history" 2>&1)
same "the history is its owner's" "$mode" 600

# Ctrl-C in the middle of an answer, the context kept; Ctrl-D ends.
start "$PWD/$hearth run $model --ctx 512 -n 500 --temp 0 --threads 1 --cpu ref"
waits "without a template" "carries on what you type"
keys "Once upon a time" Enter
keys C-c
keys "/stats" Enter
waits "the program goes on" "conversation: "
keys C-d
waits "Ctrl-D ends" "ended with 0"

# A dumb terminal: no escape may come out.
start "TERM=dumb $PWD/$hearth run $model -n 5 --temp 0 | tee $tmp/dumb"
sleep 0.7
keys "Once" Enter
sleep 0.7
keys C-d
waits "the end in a dumb terminal" "ended with 0"
if grep -q "$(printf '\033')" "$tmp/dumb"; then fail "escapes in a dumb terminal"; else pass; fi
t kill-server
finish
