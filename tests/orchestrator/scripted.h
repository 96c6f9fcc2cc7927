/* The scripted model: a process in the engine's jail that speaks the engine's protocol (include/hearth.h) and plays a
 * file of tokens, delays, calls and faults. For tests alone: it is in no package and in no program but theirs.
 *
 *   # a comment
 *   answer match "weather" once      which request plays it: the first answer whose text stands in the prompt, each
 *                                    `once` one time; without `match` any prompt
 *   text "{\"a\": 1}"                tokens of a text (a JSON string); control tokens in it are read as such
 *   ids 5 6 7                        tokens by number
 *   repeat 100                       the text or ids before it, so many times in all
 *   delay 500                        from here on, microseconds before each token
 *   wait 20000                       once, microseconds
 *   progress 4                       so many events of progress
 *   end | length | context           how it ends; else: end
 *   error "TEXT"                     HEARTH_ERROR instead
 *   crash | fault | call | garbage | hang
 *                                    an assertion; a memory fault; a system call outside the profile; an event that is
 *                                    none; silence for ever, to cancels too
 *
 * A jail has no clock: microseconds are counted in turns of a loop that was measured before the jail closed. Logprobs,
 * where they are asked for, are -0.5, rivals the tokens behind the drawn one. max_tok and cancels are kept to; answers
 * of several requests interleave, one token each. An embedding is the value 1 and zeros. */
#ifndef HEARTH_TESTS_SCRIPTED_H
#define HEARTH_TESTS_SCRIPTED_H

#include "base/config.h"
#include "base/file.h"
#include "base/limits.h"
#include "format/json.h"
#include "model/model.h"
#include "orchestrator/crew.h"

#include <assert.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SCRIPT_STEPS_MAX = 4096, SCRIPT_ANSWERS_MAX = 256, SCRIPT_PLAYS_MAX = 2048, SCRIPT_WIDTH = 16 };

/* ORDER script_word: SCRIPT_WORDS */
enum script_word {
    SCRIPT_TEXT, SCRIPT_IDS, SCRIPT_REPEAT, SCRIPT_DELAY, SCRIPT_WAIT, SCRIPT_PROGRESS, SCRIPT_END, SCRIPT_LENGTH,
    SCRIPT_CONTEXT, SCRIPT_ERROR, SCRIPT_CRASH, SCRIPT_FAULT, SCRIPT_CALL, SCRIPT_GARBAGE, SCRIPT_HANG, SCRIPT_WORDS_END
};
static const char *const SCRIPT_WORDS[] = { "text", "ids", "repeat", "delay", "wait", "progress", "end", "length",
                                            "context", "error", "crash", "fault", "call", "garbage", "hang" };

struct script_step {
    enum script_word word;
    const int32_t *ids;
    size_t count; /* of ids; or the number */
    size_t times;
    view text;
};

struct script_answer {
    view match;
    bool once, played;
    size_t first, end; /* steps */
};

/* One choice of a request that is being played. */
struct script_play {
    uint64_t id; /* 0: free */
    struct hearth_request r;
    uint32_t choice, made;
    size_t step, end, at, round; /* at: of the step's ids */
    uint64_t delay_us;
    uint32_t finish;
};

struct scripted {
    struct script_step steps[SCRIPT_STEPS_MAX];
    struct script_answer answers[SCRIPT_ANSWERS_MAX];
    struct script_play plays[SCRIPT_PLAYS_MAX];
    size_t step_count, answer_count;
    view *pieces; /* what each token of the vocabulary reads as */
    size_t vocab;
    uint32_t ctx_tok;
    int32_t end_token; /* drawn where an answer ends by itself; -1: none */
    double turns_us;   /* of the loop, in one microsecond */
    arena arena;
    uint8_t *message;
    char *prompt;
    ring *out;
};

/* ---- reading ---- */

__attribute__((unused)) static bool script_ids(struct scripted *s, const model *m, view text,
                                               struct script_step *step, err *e)
{
    arena scratch;
    size_t room = tokenizer_ids_max(m->tokenizer, text.len_bytes);
    int32_t *ids = ARENA_ARRAY(&s->arena, int32_t, room, "ids", e);
    if (ids == NULL || !arena_new(&scratch, tokenizer_scratch_bytes(m->tokenizer, text.len_bytes), e)) return false;
    bool good = tokenizer_encode(m->tokenizer, text, true, ids, room, &step->count, &scratch, e);
    arena_free(&scratch);
    step->ids = ids;
    return good;
}

/* A JSON string at the begin of `rest`. */
__attribute__((unused)) static bool script_string(struct scripted *s, view rest, view *out, err *e)
{
    const json_value *value;
    if (!json_parse(rest, &s->arena, &value, e)) return false;
    if (value->type != JSON_STRING) return fail(e, ERR_VALUE, 0, "script: expected a JSON string");
    *out = value->text;
    return true;
}

__attribute__((unused)) static bool script_numbers(struct scripted *s, view rest, struct script_step *step, err *e)
{
    int32_t *ids = ARENA_ARRAY(&s->arena, int32_t, rest.len_bytes, "ids", e);
    if (ids == NULL) return false;
    for (step->ids = ids; rest.len_bytes > 0;) {
        size_t len = 0;
        int64_t value;
        while (len < rest.len_bytes && rest.ptr[len] != ' ') len++;
        if (!config_int((view){ rest.ptr, len }, &value)) return fail(e, ERR_VALUE, 0, "script: no number");
        ids[step->count++] = (int32_t)value;
        rest = view_after(rest, len + (len < rest.len_bytes));
    }
    return true;
}

__attribute__((unused)) static bool script_answer_line(struct scripted *s, view rest, err *e)
{
    if (s->answer_count > 0) s->answers[s->answer_count - 1].end = s->step_count;
    struct script_answer *a = &s->answers[s->answer_count++];
    *a = (struct script_answer){ .first = s->step_count, .end = s->step_count };
    view once = view_of("once"), match = view_of("match ");
    if (view_starts(rest, once)) {
        a->once = true;
        rest = view_after(rest, once.len_bytes + 1);
    }
    if (rest.len_bytes >= 5 && view_is(view_after(rest, rest.len_bytes - 5), " once")) {
        a->once = true;
        rest.len_bytes -= 5;
    }
    return rest.len_bytes == 0 || (view_starts(rest, match) && script_string(s, view_after(rest, 6), &a->match, e)) ||
           fail(e, ERR_VALUE, 0, "script: expected match \"TEXT\"");
}

__attribute__((unused)) static bool script_line(struct scripted *s, const model *m, view line, err *e)
{
    size_t len = 0;
    int64_t number = 0;
    while (len < line.len_bytes && line.ptr[len] != ' ') len++;
    view word = { line.ptr, len }, rest = view_after(line, len + (len < line.len_bytes));
    if (view_is(word, "answer")) return script_answer_line(s, rest, e);
    size_t w = 0;
    while (w < SCRIPT_WORDS_END && !view_is(word, SCRIPT_WORDS[w])) w++;
    if (w == SCRIPT_WORDS_END || s->answer_count == 0 || s->step_count == SCRIPT_STEPS_MAX)
        return fail(e, ERR_VALUE, 0, "script: \"%.*s\" is no step, or stands before the first answer", (int)len,
                    (const char *)line.ptr);
    if (w == SCRIPT_REPEAT) {
        if (!config_int(rest, &number) || number < 1) return fail(e, ERR_VALUE, 0, "script: repeat how often?");
        s->steps[s->step_count - 1].times = (size_t)number;
        return true;
    }
    struct script_step *step = &s->steps[s->step_count++];
    *step = (struct script_step){ .word = (enum script_word)w, .times = 1 };
    view text;
    if (w == SCRIPT_TEXT) return script_string(s, rest, &text, e) && script_ids(s, m, text, step, e);
    if (w == SCRIPT_IDS) return script_numbers(s, rest, step, e);
    if (w == SCRIPT_ERROR) return script_string(s, rest, &step->text, e);
    if (rest.len_bytes > 0 && !config_int(rest, &number)) return fail(e, ERR_VALUE, 0, "script: no number");
    step->count = (size_t)number;
    return true;
}

/* Reads a script for a model's vocabulary. `s` is large: static or allocated. */
__attribute__((unused)) static bool script_read(struct scripted *s, const char *text, const model *m, uint32_t ctx_tok,
                                                err *e)
{
    memset(s, 0, sizeof *s);
    if (!arena_new(&s->arena, (size_t)1 << 32, e)) return false;
    s->vocab = tokenizer_count(m->tokenizer);
    s->ctx_tok = ctx_tok;
    s->end_token = tokenizer_facts(m->tokenizer)->eos;
    s->pieces = ARENA_ARRAY(&s->arena, view, s->vocab, "pieces", e);
    s->message = arena_take(&s->arena, 1, HEARTH_REQUEST_BYTES_MAX, 64, "message", e);
    s->prompt = arena_take(&s->arena, ctx_tok, 64, 1, "prompt", e);
    for (size_t id = 0; s->pieces != NULL && id < s->vocab; id++) {
        uint8_t piece[TOKEN_BYTES_MAX];
        decoder d = { .inside = true };
        size_t len = 0;
        if (!decoder_next(&d, m->tokenizer, (int32_t)id, true, piece, &len, e) ||
            !arena_copy(&s->arena, (view){ piece, len }, &s->pieces[id], "piece", e))
            return false;
    }
    for (view left = view_of(text); left.len_bytes > 0;) {
        const uint8_t *end = memchr(left.ptr, '\n', left.len_bytes);
        size_t len = end != NULL ? (size_t)(end - left.ptr) : left.len_bytes;
        view line = { left.ptr, len };
        left = view_after(left, len + 1);
        while (line.len_bytes > 0 && line.ptr[0] == ' ') line = view_after(line, 1);
        while (line.len_bytes > 0 && line.ptr[line.len_bytes - 1] <= ' ') line.len_bytes--;
        if (line.len_bytes > 0 && line.ptr[0] != '#' && !script_line(s, m, line, e)) return false;
    }
    if (s->answer_count > 0) s->answers[s->answer_count - 1].end = s->step_count;
    return s->answer_count > 0 || fail(e, ERR_VALUE, 0, "script: no answer in it");
}

/* ---- playing, in the jail ---- */

static void script_spin(uint64_t turns)
{
    for (volatile uint64_t i = 0; i < turns; i++) {}
}

static bool scripted_prepare(void *arg, err *e)
{
    struct scripted *s = arg;
    struct timespec a, b;
    (void)e;
    /* The counter is denied already, so the system is asked. */
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &a);
    script_spin(200000);
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &b);
    double us = (double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) * 1e-3;
    s->turns_us = 200000 / (us > 1 ? us : 1);
    return true;
}

static void script_wait(const struct scripted *s, uint64_t us)
{
    script_spin((uint64_t)((double)us * s->turns_us));
}

static void script_send(struct scripted *s, uint32_t kind, const void *event, size_t bytes)
{
    if (ring_send_wait(s->out, kind, (view){ event, bytes }) != RING_OK)
        jail_crash("the client is gone", "scripted", 0);
}

/* The prompt as text, for `match`. */
static view script_prompt(struct scripted *s, const int32_t *ids, size_t count)
{
    size_t len = 0, room = (size_t)s->ctx_tok * 64;
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= s->vocab || s->pieces[ids[i]].len_bytes > room - len) continue;
        memcpy(s->prompt + len, s->pieces[ids[i]].ptr, s->pieces[ids[i]].len_bytes);
        len += s->pieces[ids[i]].len_bytes;
    }
    return (view){ (const uint8_t *)s->prompt, len };
}

static struct script_answer *script_choose(struct scripted *s, view prompt)
{
    for (size_t i = 0; i < s->answer_count; i++) {
        struct script_answer *a = &s->answers[i];
        bool fits = memmem(prompt.ptr, prompt.len_bytes, a->match.ptr, a->match.len_bytes) != NULL;
        if ((a->once && a->played) || (a->match.len_bytes > 0 && !fits)) continue;
        a->played = true;
        return a;
    }
    return &s->answers[s->answer_count - 1];
}

static void script_take(struct scripted *s, uint32_t kind, size_t bytes)
{
    struct hearth_request r;
    struct hearth_head head;
    memcpy(&head, s->message, sizeof head);
    if (kind == HEARTH_CANCEL)
        for (size_t i = 0; i < SCRIPT_PLAYS_MAX; i++)
            if (s->plays[i].id == head.id && (head.choice == HEARTH_ALL_CHOICES || head.choice == s->plays[i].choice))
                s->plays[i].finish = HEARTH_CANCELLED;
    if (kind != HEARTH_SUBMIT || bytes < sizeof r) return;
    memcpy(&r, s->message, sizeof r);
    const int32_t *ids = (const int32_t *)(const void *)(s->message + sizeof r);
    struct script_answer *a = script_choose(s, script_prompt(s, ids, r.prompt_tok));
    for (uint32_t c = 0; c < r.n; c++)
        for (size_t i = 0; i < SCRIPT_PLAYS_MAX; i++)
            if (s->plays[i].id == 0) {
                s->plays[i] = (struct script_play){ .id = r.head.id, .r = r, .choice = c, .step = a->first,
                                                    .end = a->end };
                break;
            }
}

static void script_finish(struct scripted *s, struct script_play *p, uint32_t finish)
{
    struct hearth_finished f = { .head = { .id = p->id, .choice = p->choice }, .finish = finish,
                                 .prompt_tok = p->r.prompt_tok, .made_tok = p->made };
    p->id = 0;
    script_send(s, HEARTH_FINISHED, &f, sizeof f);
}

static void script_token(struct scripted *s, struct script_play *p, int32_t token)
{
    struct {
        struct hearth_token token;
        struct hearth_rival rivals[HEARTH_TOP_MAX];
    } f = { .token = { .head = { .id = p->id, .choice = p->choice }, .token = token, .index = p->made++,
                       .logprob = p->r.logprobs ? -0.5f : 0.0f, .top_count = p->r.top_count } };
    for (uint32_t i = 0; i < p->r.top_count; i++)
        f.rivals[i] = (struct hearth_rival){ (int32_t)(((size_t)token + i) % s->vocab), -0.5f - (float)i };
    script_wait(s, p->delay_us);
    script_send(s, HEARTH_TOKEN, &f, sizeof f.token + p->r.top_count * sizeof *f.rivals);
}

static void script_embed(struct scripted *s, struct script_play *p)
{
    struct {
        struct hearth_embedding head;
        float values[SCRIPT_WIDTH];
    } f = { .head = { .head = { .id = p->id }, .width = SCRIPT_WIDTH }, .values = { 1.0f } };
    script_send(s, HEARTH_EMBEDDING, &f, sizeof f);
    script_finish(s, p, HEARTH_DONE);
}

/* A step that is no token. */
static void script_other(struct scripted *s, struct script_play *p, const struct script_step *step)
{
    struct hearth_error error = { .head = { .id = p->id, .choice = HEARTH_ALL_CHOICES }, .code = ERR_VALUE };
    struct hearth_progress progress = { .head = { .id = p->id, .choice = p->choice }, .all_tok = p->r.prompt_tok };
    switch (step->word) {
    case SCRIPT_DELAY: p->delay_us = step->count; break;
    case SCRIPT_WAIT: script_wait(s, step->count); break;
    case SCRIPT_PROGRESS:
        for (size_t i = 1; i <= step->count; i++) {
            progress.done_tok = (uint32_t)(p->r.prompt_tok * i / (step->count + 1));
            script_send(s, HEARTH_PROGRESS, &progress, sizeof progress);
        }
        break;
    case SCRIPT_LENGTH: script_finish(s, p, HEARTH_LENGTH); return;
    case SCRIPT_CONTEXT: script_finish(s, p, HEARTH_CONTEXT); return;
    case SCRIPT_ERROR:
        memcpy(error.text, step->text.ptr, step->text.len_bytes < 319 ? step->text.len_bytes : 319);
        p->id = 0;
        script_send(s, HEARTH_ERROR, &error, sizeof error);
        return;
    case SCRIPT_CRASH: assert(step->word != SCRIPT_CRASH && "the script says so");
    case SCRIPT_FAULT: *(volatile int *)((uintptr_t)s->turns_us % 2 + 64) = 1; break; /* an address nobody can know */
    case SCRIPT_CALL: syscall(SYS_getpid); break;
    case SCRIPT_GARBAGE: script_send(s, HEARTH_FINISHED, "garbage", 7); break;
    case SCRIPT_HANG:
        for (uint32_t word = 0;;) syscall(SYS_futex, &word, 0, 0, NULL, NULL, 0);
    case SCRIPT_END:
    case SCRIPT_TEXT:
    case SCRIPT_IDS:
    case SCRIPT_REPEAT:
    case SCRIPT_WORDS_END: break;
    }
    p->step++;
}

/* One token, or one other step, of one play. */
static void script_play(struct scripted *s, struct script_play *p)
{
    if (p->finish != 0) {
        script_finish(s, p, p->finish);
    } else if (p->r.want != HEARTH_GENERATE) {
        script_embed(s, p);
    } else if (p->r.max_tok > 0 && p->made >= p->r.max_tok) {
        script_finish(s, p, HEARTH_LENGTH);
    } else if (p->step == p->end || s->steps[p->step].word == SCRIPT_END) {
        if (s->end_token >= 0) script_token(s, p, s->end_token);
        script_finish(s, p, HEARTH_END);
    } else if (s->steps[p->step].word == SCRIPT_TEXT || s->steps[p->step].word == SCRIPT_IDS) {
        const struct script_step *step = &s->steps[p->step];
        if (p->at < step->count) script_token(s, p, step->ids[p->at++]);
        if (p->at < step->count) return;
        p->at = 0;
        if (++p->round < step->times) return;
        p->round = 0;
        p->step++;
    } else {
        script_other(s, p, &s->steps[p->step]);
    }
}

static void scripted_run(void *arg, ring *in, ring *out)
{
    struct scripted *s = arg;
    s->out = out;
    struct hearth_facts facts = { .arch = "scripted", .tier = "none", .vocab = s->vocab, .width = SCRIPT_WIDTH,
                                  .layers = 1, .ctx_train_tok = s->ctx_tok, .ctx_tok = s->ctx_tok,
                                  .cache_tok = s->ctx_tok, .sequences = 64, .chunk_tok = 512, .threads = 1,
                                  .arithmetic = 1 };
    script_send(s, HEARTH_LOADED, &facts, sizeof facts);
    for (;;) {
        uint32_t kind, seen = ring_bell(in);
        size_t bytes;
        bool busy = false;
        enum ring_status status;
        while ((status = ring_receive(in, &kind, s->message, &bytes)) == RING_OK) {
            script_take(s, kind, bytes);
            busy = true;
        }
        if (status != RING_EMPTY) jail_crash("the client is gone", "scripted", 0);
        for (size_t i = 0; i < SCRIPT_PLAYS_MAX; i++)
            if (s->plays[i].id != 0) {
                script_play(s, &s->plays[i]);
                busy = true;
            }
        if (!busy) ring_sleep(in, seen);
    }
}

/* What crew_settings.engine_played points to. */
__attribute__((unused)) static struct crew_engine scripted_engine(struct scripted *s)
{
    return (struct crew_engine){ scripted_prepare, scripted_run, s };
}

#endif
