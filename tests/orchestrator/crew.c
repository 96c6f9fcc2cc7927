/* The processes of a model as their client meets them: answers against the engine in one process, scripts of tokens,
 * calls, stops and errors, crashes of every kind and what is left of them, kills at random moments, cancels, a peer
 * that sends nonsense. HEARTH_KILLS sets how many kills (200 in ./test --all). */
#include "orchestrator/scripted.h"

#include "check.h"
#include "../jail/machine.h"

#include "engine/session.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>

extern void __asan_init(void) __attribute__((weak));

enum { CTX = 512, TEXT_ROOM = 1 << 16, TOKENS_ROOM = 1024 };

static char path[512];
static model m;

/* A template with calls and reasoning, as a family of models writes them. */
static const char TEMPLATE[] =
    "{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

struct world {
    crew *crew;
    struct service_rings rings;
    service *service;
    int event_fd;
    bool up;     /* ready, when it was last looked at */
    double up_s; /* when it became so */
    char log[1024];
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void keep_log(void *arg, const char *line)
{
    struct world *w = arg;
    size_t len = strlen(w->log);
    snprintf(w->log + len, sizeof w->log - len, "%s\n", line);
}

/* ---- a world ---- */

static void look_up(struct world *w)
{
    bool up = service_ready(w->service, NULL, NULL);
    if (up && !w->up) w->up_s = now_s();
    w->up = up;
}

static bool next(struct world *w, int wait_ms, struct service_event *out, err *e)
{
    double until = now_s() + wait_ms * 1e-3;
    for (;;) {
        int workers[SERVICE_PEERS];
        uint64_t rings;
        bool event = service_poll(w->service, out);
        look_up(w);
        if (event) return true;
        service_watch(w->service, (uint64_t)(now_s() * 1e3));
        if (now_s() > until) return false;
        crew_watch(w->crew, workers);
        struct pollfd fds[] = { { .fd = w->event_fd, .events = POLLIN },
                                { .fd = workers[0], .events = POLLIN },
                                { .fd = workers[1], .events = POLLIN } };
        poll(fds, 3, 20);
        if (read(w->event_fd, &rings, sizeof rings) > 0) continue;
        if (!crew_tend(w->crew, e)) return false;
    }
}

static bool ready(struct world *w, int wait_ms, err *e)
{
    struct service_event event;
    double until = now_s() + wait_ms * 1e-3;
    while (!service_ready(w->service, NULL, NULL))
        if (next(w, 100, &event, e)) {
            if (event.kind == SERVICE_EVENT_ERROR && event.id == 0)
                return fail(e, event.code, 0, "%.*s", (int)event.text.len_bytes, (const char *)event.text.ptr);
        } else if (e->code != ERR_NONE || now_s() > until) {
            return false;
        }
    return true;
}

static void end(struct world *w)
{
    service_free(w->service);
    crew_detach(&w->rings);
    crew_stop(w->crew);
    close(w->event_fd);
}

static bool begin(struct world *w, const struct crew_engine *played, const char *template, err *e)
{
    struct crew_settings set = { .path = path, .engine = { .ctx_tok = CTX, .sequences = 4, .kv = KV_F16, .threads = 2 },
                                 .template_source = view_of(template), .require = JAIL_REQUIRED, .log = keep_log,
                                 .arg = w, .engine_played = played };
    struct service_settings asks = { .asks = 16, .ctx_tok = CTX, .silent_ms = played != NULL ? 700 : 0 };
    *w = (struct world){ .event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    bool good = crew_start(&w->crew, &set, e) && crew_attach(w->crew, &w->rings, e) &&
                service_new(&w->service, &w->rings, &asks, e) && service_bells(w->service, w->event_fd, e) &&
                ready(w, 20000, e);
    if (!good) end(w);
    return good;
}

/* ---- answers ---- */

struct heard {
    char text[TEXT_ROOM]; /* content; reasoning in (), calls as NAME(ARGS); */
    size_t len;
    int32_t tokens[TOKENS_ROOM];
    size_t token_count;
    struct service_event last; /* FINISHED or ERROR */
    char error[ERR_TEXT_BYTES];
    bool done;
};

static void add(struct heard *h, view text)
{
    size_t len = text.len_bytes < TEXT_ROOM - 1 - h->len ? text.len_bytes : TEXT_ROOM - 1 - h->len;
    if (len > 0) memcpy(h->text + h->len, text.ptr, len);
    h->len += len;
    h->text[h->len] = '\0';
}

static void take(struct heard *h, const struct service_event *event)
{
    if (event->kind == SERVICE_EVENT_TOKEN && h->token_count < TOKENS_ROOM)
        h->tokens[h->token_count++] = event->token.token;
    if (event->kind == SERVICE_EVENT_DELTA) {
        if (event->part == TEXT_REASONING) add(h, view_of("("));
        if (event->part == TEXT_CALL_BEGIN) add(h, event->name);
        if (event->part == TEXT_CALL_ARGS) add(h, view_of("<"));
        add(h, event->text);
        if (event->part == TEXT_CALL_ARGS) add(h, view_of(">"));
        if (event->part == TEXT_REASONING) add(h, view_of(")"));
        if (event->part == TEXT_CALL_BAD) add(h, view_of("!bad"));
        if (event->part == TEXT_CALL_CUT) add(h, view_of("!cut"));
    }
    if (event->kind != SERVICE_EVENT_FINISHED && event->kind != SERVICE_EVENT_ERROR) return;
    h->done = true;
    h->last = *event;
    if (event->kind == SERVICE_EVENT_ERROR)
        snprintf(h->error, sizeof h->error, "%.*s", (int)event->text.len_bytes, (const char *)event->text.ptr);
}

static bool hear(struct world *w, uint64_t id, int wait_ms, struct heard *h, err *e)
{
    struct service_event event;
    double until = now_s() + wait_ms * 1e-3;
    while (!h->done && now_s() < until && e->code == ERR_NONE)
        if (next(w, 100, &event, e) && event.id == id) take(h, &event);
    return h->done;
}

static const struct hearth_sampling GREEDY = { .top_p = 1.0f, .typical_p = 1.0f, .repetition_penalty = 1.0f,
                                               .dry_base = 1.75f };

static struct service_ask plain(const char *text)
{
    return (struct service_ask){ .kind = SERVICE_PLAIN, .text = view_of(text), .max_tok = 40, .sampling = GREEDY };
}

static bool answer(struct world *w, const struct service_ask *ask, struct heard *h, err *e)
{
    uint64_t id;
    memset(h, 0, sizeof *h);
    return service_ask(w->service, ask, &id, e) && hear(w, id, 20000, h, e);
}

/* ---- the real engine ---- */

/* The same ids as a session in this process. */
static size_t session_ids(const char *text, size_t max, int32_t *out)
{
    struct kernels k;
    team *t;
    model whole;
    session *s;
    arena scratch;
    struct sample_settings sample = SAMPLE_DEFAULTS;
    sample.temperature = 0;
    struct session_settings set = { .ctx_tok = CTX, .kv = KV_F16, .sample = sample };
    err e = { 0 };
    int32_t ids[CTX] = { 1 };
    size_t count = 0, made = 0;
    if (!CHECK(kernels_bind(&k, NULL, &e) && team_new(&t, 1, NULL, 0, &e) &&
                   model_load(&whole, path, t, NULL, NULL, &e) && session_new(&s, &whole, &k, t, &set, &e) &&
                   arena_new(&scratch, 1 << 24, &e) &&
                   tokenizer_encode(whole.tokenizer, view_of(text), false, ids + 1, CTX - 1, &count, &scratch, &e) &&
                   session_prompt(s, ids, count + 1, NULL, NULL, &e),
               "%s", e.text))
        return 0;
    for (enum finish f = FINISH_NONE; f == FINISH_NONE;) {
        view piece;
        if (!session_next(s, max, &piece, &out[made], NULL, &f, &e)) break;
        made++;
    }
    session_free(s);
    model_free(&whole);
    team_free(t);
    arena_free(&scratch);
    return made;
}

static void real(void)
{
    struct world w;
    static struct heard h;
    static int32_t want[TOKENS_ROOM];
    err e = { 0 };
    double start = now_s();
    if (!CHECK(begin(&w, NULL, "", &e), "%s", e.text)) return;
    printf("packed, jailed and ready in %.1f ms\n", (now_s() - start) * 1e3);
    for (int peer = 0; peer < SERVICE_PEERS; peer++) {
        const struct jail_report *r = crew_report(w.crew, (enum service_peer)peer);
        CHECK((r->up & JAIL_REQUIRED) == JAIL_REQUIRED, "worker %d stands in walls %x", peer, r->up);
    }
    struct service_ask ask = plain("Once upon a time");
    ask.max_tok = 100;
    CHECK(answer(&w, &ask, &h, &e), "%s", e.text);
    size_t count = session_ids("Once upon a time", 100, want);
    CHECK(h.token_count == count && memcmp(h.tokens, want, count * sizeof *want) == 0,
          "ids of the jailed engine are the session's: %zu of %zu", h.token_count, count);
    CHECK(h.last.finish == SERVICE_LENGTH && h.last.prompt_tok == 5 && h.last.made_tok == 100, "length, 5, 100");

    const view stops[] = { view_of("irl nam"), view_of("nothing") };
    ask.stops = stops;
    ask.stop_count = 2;
    CHECK(answer(&w, &ask, &h, &e) && strcmp(h.text, ", there was a little g") == 0, "stop across tokens: '%s'",
          h.text);
    CHECK(h.last.finish == SERVICE_STOP && h.last.stop == 0 && h.last.made_tok == h.token_count, "which one: %u",
          h.last.stop);
    ask.stop_count = 0;
    ask.n = 3;
    ask.sampling.temperature = 1.0f;
    ask.sampling.seed = 5;
    uint64_t id;
    struct service_event event;
    size_t ends = 0, tokens = 0;
    CHECK(service_ask(w.service, &ask, &id, &e), "%s", e.text);
    while (ends < 3 && next(&w, 20000, &event, &e)) {
        ends += event.kind == SERVICE_EVENT_FINISHED;
        tokens += event.kind == SERVICE_EVENT_TOKEN;
    }
    CHECK(ends == 3 && tokens == 300, "three choices: %zu ends, %zu tokens", ends, tokens);

    ask = (struct service_ask){ .kind = SERVICE_CHAT, .messages = view_of("[]") };
    CHECK(answer(&w, &ask, &h, &e) && strstr(h.error, "no chat template") != NULL, "a chat without: '%s'", h.error);
    ask = (struct service_ask){ .kind = SERVICE_EMBED, .text = view_of("a cat"), .embed = HEARTH_EMBED_MEAN };
    CHECK(answer(&w, &ask, &h, &e) && h.last.finish == SERVICE_DONE, "an embedding: %s %s", e.text, h.error);
    static char lots[4096];
    memset(lots, 'q', sizeof lots - 1);
    ask = plain(lots);
    CHECK(answer(&w, &ask, &h, &e) && strstr(h.error, "the context holds 512") != NULL, "too long: '%s'", h.error);
    end(&w);
}

/* ---- kills ---- */

/* Ends a worker at a random moment of an answer: the answer comes whole with the same bits, or with an error; and the
 * model is ready again within `limit_s`. */
static void kills(size_t count, double limit_s)
{
    struct world w;
    static struct heard h, want;
    double worst = 0, sum = 0;
    size_t whole = 0, errors = 0, early = 0;
    err e = { 0 };
    struct service_ask ask = plain("Once upon a time");
    ask.max_tok = 400;
    if (!CHECK(begin(&w, NULL, "", &e) && answer(&w, &ask, &want, &e), "%s", e.text)) return;
    unsigned random = 12345;
    for (size_t i = 0; i < count; i++) {
        random = random * 1103515245 + 12345;
        enum service_peer peer = (random >> 16) % 4 == 0 ? SERVICE_TEXT : SERVICE_ENGINE;
        size_t at = (random >> 18) % want.token_count;
        uint64_t id;
        struct service_event event;
        e = (err){ 0 };
        memset(&h, 0, sizeof h);
        if (!CHECK(service_ask(w.service, &ask, &id, &e), "kill %zu: %s", i, e.text)) break;
        while (h.token_count < at && !h.done && next(&w, 5000, &event, &e)) take(&h, &event);
        early += !h.done;
        kill(crew_pid(w.crew, peer), SIGKILL);
        double killed = now_s();
        bool ended = hear(&w, id, 20000, &h, &e);
        bool same = h.token_count == want.token_count &&
                    memcmp(h.tokens, want.tokens, h.token_count * sizeof *h.tokens) == 0 &&
                    strcmp(h.text, want.text) == 0;
        if (!CHECK(ended && (h.last.kind == SERVICE_EVENT_ERROR || same), "kill %zu of worker %d at token %zu: %s", i,
                   peer, at, e.code != ERR_NONE ? e.text : !ended ? "no end in 20 s" : "shorter in silence"))
            break;
        whole += same;
        errors += h.last.kind == SERVICE_EVENT_ERROR;
        /* The kill may be noticed only now. */
        struct timespec pause = { .tv_nsec = 1000000 };
        for (int look = 0; look < 3; look++) {
            nanosleep(&pause, NULL);
            while (next(&w, 0, &event, &e)) {}
        }
        if (!CHECK(ready(&w, 5000, &e), "kill %zu: not ready again: %s", i, e.text)) break;
        /* An answer that went on without its text worker may have ended long after that was ready. */
        double took = (w.up_s > killed ? w.up_s : now_s()) - killed;
        if (took > worst) worst = took;
        sum += took;
        nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL); /* no three short lives in a row */
    }
    printf("%zu kills, %zu of them inside an answer: %zu answers whole, %zu errors, ready again in %.0f ms on average, "
           "%.0f at worst\n", count, early, whole, errors, sum / (double)count * 1e3, worst * 1e3);
    CHECK(worst < limit_s, "ready again in %.2f s, at most %.0f", worst, limit_s);
    end(&w);
}

/* ---- scripts ---- */

static struct scripted script;

static const struct script_row {
    const char *says, *script, *text, *error; /* error: of the answer, or NULL */
    enum service_finish finish;
    const char *log; /* what the crew says, or NULL */
} script_rows[] = {
    { "a text", "answer\ntext \"hello there\"", " hello there", NULL, SERVICE_END, NULL },
    { "its length", "answer\ntext \"hello\"\nrepeat 100", NULL, NULL, SERVICE_LENGTH, NULL },
    { "a full context", "answer\ntext \"x\"\ncontext", " x", NULL, SERVICE_CONTEXT, NULL },
    { "delays and progress", "answer\nprogress 3\ndelay 100\nwait 1000\ntext \"slow\"", " slow", NULL, SERVICE_END,
      NULL },
    { "an error", "answer\ntext \"x\"\nerror \"layer 3 is not finite\"", NULL, "layer 3 is not finite", 0, NULL },
    { "the answer that fits", "answer match \"nothing\"\ntext \"no\"\nanswer match \"upon\"\ntext \"yes\"", " yes",
      NULL, SERVICE_END, NULL },
    { "an assertion", "answer once\ntext \"ab\"\ncrash\nanswer\ntext \"ab\"", NULL, NULL, SERVICE_END,
      "the script says so" },
    { "a request that ends every engine", "answer\nwait 400000\ncrash", NULL,
      "engine: it ended each time it computed this; this is not tried again", SERVICE_END, NULL },
    { "a memory fault", "answer once\nfault\nanswer\ntext \"ab\"", NULL, NULL, SERVICE_END, "memory fault" },
    { "a system call", "answer once\ncall\nanswer\ntext \"ab\"", NULL, NULL, SERVICE_END,
      "system call outside its profile" },
    { "a hang", "answer once\nhang\nanswer\ntext \"ab\"", NULL, NULL, SERVICE_END, "silent and does not compute" },
    { "a long prompt is no hang", "answer\nwait 2200000\ntext \"slow\"", " slow", NULL, SERVICE_END, NULL },
    { "nonsense", "answer once\ngarbage\nanswer\ntext \"ab\"", NULL, NULL, SERVICE_END, "broke the protocol" },
};

static void scripts(void)
{
    for (size_t i = 0; i < sizeof script_rows / sizeof *script_rows; i++) {
        const struct script_row *row = &script_rows[i];
        struct world w;
        static struct heard h;
        err e = { 0 };
        if (!CHECK(script_read(&script, row->script, &m, CTX, &e), "%s: %s", row->says, e.text)) continue;
        struct crew_engine played = scripted_engine(&script);
        struct service_ask ask = plain("Once upon a time");
        if (!CHECK(begin(&w, &played, "", &e), "%s: %s", row->says, e.text)) continue;
        uint64_t id;
        memset(&h, 0, sizeof h);
        bool asked = service_ask(w.service, &ask, &id, &e);
        /* A crash is told, the engine started again, and what was asked goes on there: a script has one life a process,
         * so the crash comes again and the crew gives up. */
        bool heard = asked && hear(&w, id, row->log != NULL ? 3000 : 60000, &h, &e);
        if (row->log != NULL) {
            CHECK(strstr(w.log, row->log) != NULL, "%s: the log says '%s'", row->says, w.log);
        } else if (CHECK(heard, "%s: no end: %s; log: %s", row->says, e.text, w.log)) {
            if (row->text != NULL) CHECK(strcmp(h.text, row->text) == 0, "%s: '%s'", row->says, h.text);
            if (row->error != NULL) CHECK(strcmp(h.error, row->error) == 0, "%s: error '%s'", row->says, h.error);
            else CHECK(h.last.kind == SERVICE_EVENT_FINISHED && h.last.finish == row->finish, "%s: end %d '%s'",
                       row->says, h.last.finish, h.error);
        }
        end(&w);
        arena_free(&script.arena);
    }
}

static void cancels(void)
{
    struct world w;
    static struct heard h;
    struct service_event event;
    err e = { 0 };
    uint64_t id;
    struct service_ask ask = plain("Once upon a time");
    ask.max_tok = 0;
    if (!CHECK(script_read(&script, "answer\ndelay 200\ntext \"word\"\nrepeat 100000", &m, CTX, &e), "%s", e.text))
        return;
    struct crew_engine played = scripted_engine(&script);
    if (!CHECK(begin(&w, &played, "", &e), "%s", e.text)) return;
    memset(&h, 0, sizeof h);
    CHECK(service_ask(w.service, &ask, &id, &e), "%s", e.text);
    while (h.token_count < 10 && next(&w, 5000, &event, &e)) take(&h, &event);
    service_cancel(w.service, id);
    service_cancel(w.service, id + 1);
    CHECK(hear(&w, id, 5000, &h, &e) && h.last.finish == SERVICE_CANCELLED, "cancelled: %d", h.last.finish);
    CHECK(h.last.made_tok == h.token_count, "every token of it was told: %u, %zu", h.last.made_tok, h.token_count);
    memset(&h, 0, sizeof h);
    CHECK(service_ask(w.service, &ask, &id, &e), "%s", e.text);
    service_cancel(w.service, id); /* before its ids are there */
    CHECK(hear(&w, id, 5000, &h, &e) && h.last.finish == SERVICE_CANCELLED && h.token_count == 0, "before it ran");
    uint64_t ids[20];
    size_t taken = 0;
    while (taken < 20 && service_ask(w.service, &ask, &ids[taken], &e)) taken++;
    CHECK(taken == 16 && strstr(e.text, "16 requests") != NULL, "as many as were planned: %zu, '%s'", taken, e.text);
    end(&w);
    arena_free(&script.arena);
}

/* A model that is none is refused by the packer; the reason names the file. */
static void bad_files(void)
{
    char bad[] = "/tmp/hearth-crew-XXXXXX";
    int fd = mkstemp(bad);
    struct world w;
    err e = { 0 };
    if (fd < 0 || write(fd, "GGUF\3\0\0\0\377\377\377\377\377\377\377\377\0\0\0\0\0\0\0\0", 24) != 24) return;
    char good[sizeof path];
    memcpy(good, path, sizeof good);
    snprintf(path, sizeof path, "%s", bad);
    CHECK(!begin(&w, NULL, "", &e) && strstr(e.text, bad) != NULL, "no model: '%s'", e.text);
    snprintf(path, sizeof path, "/nowhere/model.gguf");
    e = (err){ 0 };
    CHECK(!begin(&w, NULL, "", &e) && strstr(e.text, "/nowhere/model.gguf") != NULL, "no file: '%s'", e.text);
    memcpy(path, good, sizeof path);
    e = (err){ 0 };
    CHECK(!begin(&w, NULL, "{% for %}", &e) && strstr(e.text, "template") != NULL, "a template that is none: '%s'",
          e.text);
    close(fd);
    remove(bad);
}

/* What the template writes as calls comes back as calls. */
static void chats(void)
{
    struct world w;
    static struct heard h;
    err e = { 0 };
    static const char two[] = "answer match \"second\"\ntext \"again\"\nanswer\ntext \"hello\"";
    if (!CHECK(script_read(&script, two, &m, CTX, &e), "%s", e.text))
        return;
    struct crew_engine played = scripted_engine(&script);
    if (!CHECK(begin(&w, &played, TEMPLATE, &e), "%s", e.text)) return;
    struct service_ask ask = { .kind = SERVICE_CHAT, .max_tok = 40, .sampling = GREEDY,
                               .messages = view_of("[{\"role\": \"user\", \"content\": \"first\"}]") };
    CHECK(answer(&w, &ask, &h, &e) && strcmp(h.text, " hello") == 0, "a chat: '%s' %s", h.text, h.error);
    ask.messages = view_of("[{\"role\": \"user\", \"content\": \"second\"}]");
    CHECK(answer(&w, &ask, &h, &e) && strcmp(h.text, " again") == 0, "another: '%s' %s", h.text, h.error);
    ask.messages = view_of("[{\"role\": ");
    CHECK(answer(&w, &ask, &h, &e) && h.last.kind == SERVICE_EVENT_ERROR, "messages that are none: '%s'", h.error);
    ask.messages = view_of("[]");
    ask.variables = view_of("{\"messages\": 5}");
    CHECK(answer(&w, &ask, &h, &e) && h.last.kind == SERVICE_EVENT_ERROR, "variables over messages: '%s'", h.error);
    end(&w);
    arena_free(&script.arena);
}

int main(void)
{
    err e = { 0 };
    bool there = check_model(path, sizeof path, "stories260K");
    if (!there || __asan_init != NULL) {
        check_skip(!there ? "no reference model" : "the address sanitizer's own calls meet the filters");
        return check_done();
    }
    const char *without = machine_without_jails();
    if (without != NULL) {
        check_skip(without);
        return check_done();
    }
    if (!CHECK(model_load_vocab(&m, path, &e), "%s", e.text)) return check_done();
    const char *count = getenv("HEARTH_KILLS");
    bad_files();
    scripts();
    cancels();
    chats();
    real();
    if (count != NULL) kills((size_t)atoll(count), 2);
    else kills(6, 10); /* beside other tests, on a machine of any load */
    return check_done();
}
