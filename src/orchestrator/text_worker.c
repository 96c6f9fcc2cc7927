/* The text worker's process: the head of an image (vocabulary, template, no weights), two rings, and futex. See text.h
 * for what it is asked. Even the vocabulary and the template are read under the filter. */
#include "orchestrator/text_part.h"

#include "base/checked.h"
#include "format/json.h"
#include "image/image.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

/* Addresses, not memory. */
#define OWN_BYTES     ((size_t)1 << 33) /* the tokenizer's indexes, replies' setup */
#define SCRATCH_BYTES ((size_t)1 << 33) /* the copy of the head; then what one message takes */
#define REPLY_BYTES   ((size_t)1 << 27) /* a reply's parser at its largest, its tools */
#define TALK_BYTES    ((size_t)TEMPLATE_OUTPUT_MAX + MARKS_MAX * sizeof(struct mark) + 4096)

/* ---- preparing ---- */

/* How much of the image is its head says the image itself; what is mapped is never more than there is. */
static bool map_head(struct text_worker *w, err *e)
{
    uint8_t first[IMAGE_HEADER_BYTES];
    ssize_t got = pread(JAIL_FD_FIRST, first, sizeof first, 0);
    size_t bytes = got == (ssize_t)sizeof first ? image_head_bytes((view){ first, sizeof first }) : 0;
    bytes = min_size(bytes, w->job->image_bytes);
    if (bytes < IMAGE_HEADER_BYTES) return fail(e, ERR_VALUE, ERR_NO_OFFSET, "text: no image of a model");
    void *base = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, JAIL_FD_FIRST, 0);
    if (base == MAP_FAILED)
        return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "text: cannot map %zu bytes: %s", bytes, strerror(errno));
    w->head = (view){ base, bytes };
    return true;
}

bool text_worker_prepare(void *arg, err *e)
{
    struct text_job *job = arg;
    arena own;
    if (!arena_new(&own, OWN_BYTES, e)) return false;
    struct text_worker *w = ARENA_ARRAY(&own, struct text_worker, 1, "text worker", e);
    if (w == NULL) return false;
    w->job = job;
    job->w = w;
    size_t talk_bytes = TALK_BYTES + (size_t)job->ctx_tok * sizeof(int32_t);
    if (!map_head(w, e) || !arena_new(&w->scratch, SCRATCH_BYTES, e) ||
        !arena_new(&w->model_arena, OWN_BYTES, e) || !renderer_reserve(&w->renderer, e) ||
        !arena_new(&w->replies_arena, TEXT_REPLIES * REPLY_BYTES, e) ||
        !arena_new(&w->talks_arena, TEXT_TALKS * talk_bytes + 4096, e) ||
        !arena_new(&w->messages, SCRATCH_BYTES, e))
        return false;
    w->replies = ARENA_ARRAY(&own, struct reply, TEXT_REPLIES, "replies", e);
    w->talks = ARENA_ARRAY(&own, struct talked, TEXT_TALKS, "conversations", e);
    w->in = arena_take(&own, 1, TEXT_REQUEST_BYTES_MAX, 64, "message", e);
    w->out = arena_take(&own, 1, TEXT_EVENT_BYTES_MAX, 64, "message", e);
    for (size_t i = 0; w->replies != NULL && i < TEXT_REPLIES; i++)
        w->replies[i].arena = (arena){ w->replies_arena.base + i * REPLY_BYTES, REPLY_BYTES, 0 };
    w->own = own;
    return w->replies != NULL && w->talks != NULL && w->in != NULL && w->out != NULL;
}

/* ---- sending ---- */

void text_send(struct text_worker *w, uint32_t kind, const void *event, size_t event_bytes, const view *tail,
               size_t tail_count)
{
    size_t len = event_bytes;
    memcpy(w->out, event, event_bytes);
    for (size_t i = 0; i < tail_count; i++) {
        if (tail[i].len_bytes > TEXT_EVENT_BYTES_MAX - len) { /* a call or block longer than any message: say so */
            struct hearth_head head;
            err why = { 0 };
            memcpy(&head, event, sizeof head);
            err_set(&why, ERR_LIMIT, ERR_NO_OFFSET, "text: over %d bytes in one piece", TEXT_EVENT_BYTES_MAX);
            text_error(w, head.id, &why);
            return;
        }
        if (tail[i].len_bytes > 0) memcpy(w->out + len, tail[i].ptr, tail[i].len_bytes);
        len += tail[i].len_bytes;
    }
    if (ring_send_wait(w->job->ends.out, kind, (view){ w->out, len }) != RING_OK)
        worker_protest("the client of the text worker broke the ring", __FILE__, __LINE__);
}

void text_error(struct text_worker *w, uint64_t id, const err *why)
{
    struct hearth_error f = { .head = { .id = id, .choice = HEARTH_ALL_CHOICES }, .code = (uint32_t)why->code };
    memcpy(f.text, why->text, sizeof f.text);
    f.text[sizeof f.text - 1] = '\0';
    if (id == 0 && w->job->told != NULL)
        (void)ring_send(w->job->told, HEARTH_ERROR, (view){ (const uint8_t *)&f, sizeof f });
    text_send(w, TEXT_ERROR, &f, sizeof f, NULL, 0);
}

/* ---- opening ---- */

/* The texts of the vocabulary's control tokens: markers among them count only as tokens. */
static bool find_control(struct text_worker *w, err *e)
{
    const tokenizer *t = w->m.tokenizer;
    size_t count = tokenizer_count(t), used = 0;
    for (size_t id = 0; id < count; id++) used += tokenizer_kind(t, (int32_t)id) == TOKEN_CONTROL;
    view *texts = ARENA_ARRAY(&w->own, view, used, "control tokens", e);
    if (texts == NULL) return false;
    w->setup.control = texts;
    for (size_t id = 0; id < count; id++)
        if (tokenizer_kind(t, (int32_t)id) == TOKEN_CONTROL)
            texts[w->setup.control_count++] = tokenizer_text(t, (int32_t)id);
    return true;
}

static bool open_template(struct text_worker *w, err *e)
{
    view source = w->job->template_source.len_bytes > 0 ? w->job->template_source : w->m.chat_template;
    w->has_template = source.len_bytes > 0;
    if (!w->has_template) return true;
    if (!renderer_open(&w->renderer, source, w->m.tokenizer, e) || !find_control(w, e)) return false;
    arena_rewind(&w->renderer.scratch, 0);
    reply_derive(w->renderer.t, &w->renderer.options, &w->renderer.scratch, &w->setup.format);
    /* What it found may lie in the scratch memory, which the next rendering takes. */
    return arena_copy(&w->own, w->setup.format.turn_end, &w->setup.format.turn_end, "end of turn", e);
}

static void tell_facts(struct text_worker *w)
{
    const struct tokenizer_facts *t = tokenizer_facts(w->m.tokenizer);
    const struct reply_format *format = &w->setup.format;
    struct text_facts f = { .tokens = t->token_count, .bos = t->bos, .eos = t->eos, .has_template = w->has_template,
                            .calls = format->calls, .parallel_calls = format->parallel,
                            .reasoning = format->reasoning };
    const char *family = format->family != NULL ? reply_family_name(format->family) : "";
    memcpy(f.family, family, min_size(strlen(family), sizeof f.family - 1));
    for (size_t id = 0; id < t->token_count && f.end_count < HEARTH_STOP_TOKENS_MAX; id++)
        if (model_ends(&w->m, (int32_t)id)) f.ends[f.end_count++] = (int32_t)id;
    text_send(w, TEXT_FACTS, &f, sizeof f, NULL, 0);
}

static bool open_all(struct text_worker *w, err *e)
{
    if (!model_bind(&w->m, w->head, IMAGE_TEXTS, &w->model_arena, &w->scratch, e)) return false;
    if (w->m.tokenizer == NULL)
        return fail(e, ERR_MISSING, ERR_NO_OFFSET, "vocabulary: the file has none, so it can not make text");
    return open_template(w, e);
}

/* ---- conversations ---- */

static view cut(view *left, size_t bytes)
{
    view out = { left->ptr, bytes };
    *left = view_after(*left, bytes);
    return out;
}

/* Stop texts from a tail that holds exactly them. */
static bool take_stops(struct text_worker *w, view *left, uint32_t count, view **out, err *e)
{
    view lengths = cut(left, count * sizeof(uint32_t));
    *out = ARENA_ARRAY(&w->messages, view, count, "stop texts", e);
    if (*out == NULL) return false;
    for (size_t i = 0; i < count; i++) {
        uint32_t bytes;
        memcpy(&bytes, lengths.ptr + i * sizeof bytes, sizeof bytes);
        if (bytes < 1 || bytes > STOP_BYTES_MAX || bytes > left->len_bytes)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "stop text %zu: %u bytes, allowed 1..%d", i + 1, bytes,
                        STOP_BYTES_MAX);
        (*out)[i] = cut(left, bytes);
    }
    return left->len_bytes == 0 || fail(e, ERR_VALUE, ERR_NO_OFFSET, "stop texts: %zu bytes behind them",
                                        left->len_bytes);
}

static void write_token(const struct text_worker *w, json_writer *j, const char *name, int32_t id)
{
    json_key(j, name);
    json_string(j, id >= 0 ? tokenizer_text(w->m.tokenizer, id) : view_of(""));
}

/* What Hugging Face's apply_chat_template passes; the request's own variables behind it, where a name that stands
 * already is refused by the reader. */
static bool write_vars(struct text_worker *w, const struct text_render *r, view messages, view tools, view variables,
                       view *out, err *e)
{
    const struct tokenizer_facts *facts = tokenizer_facts(w->m.tokenizer);
    json_writer j;
    view head;
    bool opens = !(r->flags & (TEXT_NO_GENERATION | TEXT_CONTINUE));
    json_writer_start(&j, &w->messages, JSON_BYTES_MAX, e);
    json_begin_object(&j);
    json_key(&j, "documents");
    json_null(&j);
    json_key(&j, "add_generation_prompt");
    json_bool(&j, opens);
    write_token(w, &j, "bos_token", facts->bos);
    write_token(w, &j, "eos_token", facts->eos);
    json_end_object(&j);
    if (!json_done(&j, &head)) return false;
    while (variables.len_bytes > 0 && variables.ptr[0] <= ' ') variables = view_after(variables, 1);
    while (variables.len_bytes > 0 && variables.ptr[variables.len_bytes - 1] <= ' ') variables.len_bytes--;
    bool object = variables.len_bytes >= 2 && variables.ptr[0] == '{' && variables.ptr[variables.len_bytes - 1] == '}';
    if (variables.len_bytes > 0 && !object)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "template variables: expected one JSON object");
    view inside = object ? (view){ variables.ptr + 1, variables.len_bytes - 2 } : view_of("");
    bool any = false;
    for (size_t i = 0; i < inside.len_bytes && !any; i++) any = inside.ptr[i] > ' ';
    const view parts[] = { { head.ptr, head.len_bytes - 1 },
                           view_of(",\"messages\":"),
                           messages,
                           view_of(",\"tools\":"),
                           tools.len_bytes > 0 ? tools : view_of("null"),
                           view_of(any ? "," : ""),
                           any ? inside : view_of(""),
                           view_of("}") };
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) bytes += parts[i].len_bytes; /* under 2^25 */
    uint8_t *text = ARENA_ARRAY(&w->messages, uint8_t, bytes, "template variables", e);
    if (text == NULL) return false;
    *out = (view){ text, bytes };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].len_bytes > 0) memcpy(text, parts[i].ptr, parts[i].len_bytes);
        text += parts[i].len_bytes;
    }
    return true;
}

/* An answer that is carried on ends where its own text does: what the template writes behind it is left out. */
static bool cut_continued(struct text_worker *w, view messages, struct rendered *text, err *e)
{
    const json_value *root, *last = NULL;
    if (!json_parse(messages, &w->messages, &root, e)) return false;
    if (root->type == JSON_ARRAY) JSON_EACH(item, root) last = item;
    const json_value *content = last != NULL && last->type == JSON_OBJECT ? json_get(last, "content") : NULL;
    if (content == NULL || content->type != JSON_STRING)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "messages: the last one has no text to carry on");
    view want = content->text;
    while (want.len_bytes > 0 && want.ptr[want.len_bytes - 1] <= ' ') want.len_bytes--; /* templates trim */
    size_t at = text->text.len_bytes + 1;
    while (at-- > 0)
        if (text->text.len_bytes - at >= want.len_bytes &&
            memcmp(text->text.ptr + at, want.ptr, want.len_bytes) == 0) {
            text->text.len_bytes = at + want.len_bytes;
            size_t runs = 0;
            while (runs < text->run_count && (runs == 0 || text->runs[runs - 1].end < text->text.len_bytes)) runs++;
            origin_run *copy = ARENA_ARRAY(&w->messages, origin_run, runs, "runs of text", e);
            if (copy == NULL) return false;
            memcpy(copy, text->runs, runs * sizeof *copy);
            if (runs > 0) copy[runs - 1].end = (uint32_t)min_size(copy[runs - 1].end, text->text.len_bytes);
            text->runs = copy;
            text->run_count = runs;
            return true;
        }
    return fail(e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "messages: this template does not print the last answer as it is");
}

/* The conversation that remembers ids, or the one that was used least recently, emptied. */
static struct talked *talk_of(struct text_worker *w, uint64_t tenant, uint64_t talk, err *e)
{
    struct talked *oldest = &w->talks[0];
    for (size_t i = 0; i < TEXT_TALKS; i++) {
        struct talked *one = &w->talks[i];
        if (one->talk == talk && one->tenant == tenant) {
            one->used = ++w->uses;
            return one;
        }
        if (one->used < oldest->used) oldest = one;
    }
    if (!oldest->ready && !turns_new(&oldest->turns, w->job->ctx_tok, &w->talks_arena, e)) return NULL;
    oldest->ready = true;
    turns_clear(&oldest->turns);
    oldest->tenant = tenant;
    oldest->talk = talk;
    oldest->used = ++w->uses;
    return oldest;
}

struct prompt {
    const int32_t *ids;
    size_t count;
    bool in_reasoning;
};

static void send_ids(struct text_worker *w, uint64_t id, const struct prompt *p)
{
    struct text_ids f = { .head.id = id, .count = (uint32_t)p->count, .in_reasoning = p->in_reasoning };
    view ids = { (const uint8_t *)p->ids, p->count * sizeof *p->ids };
    text_send(w, TEXT_IDS, &f, sizeof f, &ids, 1);
}

static bool count_check(const struct prompt *p, uint32_t ctx_tok, err *e)
{
    size_t most = (TEXT_EVENT_BYTES_MAX - sizeof(struct text_ids)) / sizeof(int32_t);
    if (ctx_tok > 0 && p->count > ctx_tok)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "prompt: %zu tokens, the context holds %u (--ctx)", p->count, ctx_tok);
    if (p->count > most)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "prompt: %zu tokens, one message holds %zu", p->count, most);
    return true;
}

/* Ids of a rendering without a memory: with the model's BOS in front where the template writes none. */
static bool plain_ids(struct text_worker *w, const struct rendered *text, struct prompt *p, err *e)
{
    const struct tokenizer_facts *facts = tokenizer_facts(w->m.tokenizer);
    int32_t *bos = ARENA_ARRAY(&w->messages, int32_t, 1, "token ids", e), *ids;
    if (bos == NULL || !renderer_ids(&w->renderer, text, 0, &w->messages, &ids, &p->count, e)) return false;
    p->ids = ids;
    if (!facts->add_bos || facts->bos < 0 || (p->count > 0 && ids[0] == facts->bos)) return true;
    int32_t *all = ARENA_ARRAY(&w->messages, int32_t, p->count + 1, "token ids", e);
    if (all == NULL) return false;
    all[0] = facts->bos;
    memcpy(all + 1, ids, p->count++ * sizeof *ids);
    p->ids = all;
    return true;
}

static bool render(struct text_worker *w, const struct text_render *r, view left, err *e)
{
    view messages = cut(&left, r->messages_bytes), tools = cut(&left, r->tools_bytes);
    view variables = cut(&left, r->variables_bytes), json, *stops;
    struct rendered text;
    struct prompt p = { 0 };
    struct talked *talk = NULL;
    if (!w->has_template) return fail(e, ERR_MISSING, ERR_NO_OFFSET, "messages: the model has no chat template");
    if (!take_stops(w, &left, r->stop_count, &stops, e) ||
        !write_vars(w, r, messages, tools, variables, &json, e))
        return false;
    w->renderer.options.clock_s = r->clock_s;
    if (!renderer_text(&w->renderer, json, &text, e)) return false;
    if ((r->flags & TEXT_CONTINUE) && !cut_continued(w, messages, &text, e)) return false;
    if (r->flags & TEXT_SHOW) {
        struct text_bytes f = { .head.id = r->head.id, .bytes = (uint32_t)text.text.len_bytes };
        text_send(w, TEXT_BYTES, &f, sizeof f, &text.text, 1);
        return true;
    }
    if (r->talk != 0 && (talk = talk_of(w, r->tenant, r->talk, e)) == NULL) return false;
    if (talk != NULL ? !turns_prompt(&talk->turns, &w->renderer, &text, &w->messages, e) : !plain_ids(w, &text, &p, e))
        return false;
    if (talk != NULL) p = (struct prompt){ .ids = talk->turns.ids, .count = talk->turns.ids_count };
    if (talk != NULL) talk->reply = r->head.id;
    p.in_reasoning = w->setup.format.family != NULL && reply_starts_in_reasoning(&w->setup.format, text.text);
    struct reply_begin b = { .id = r->head.id, .n = r->n, .before = p.count > 0 ? p.ids[p.count - 1] : -1,
                             .stops = stops, .stop_count = r->stop_count, .templated = !(r->flags & TEXT_CALLS_OFF),
                             .in_reasoning = p.in_reasoning, .tools = tools, .talk = talk };
    if (!count_check(&p, r->ctx_tok, e) || (r->n > 0 && !reply_open(w, &b, e))) return false;
    send_ids(w, r->head.id, &p);
    return true;
}

/* ---- texts ---- */

static bool encode(struct text_worker *w, view text, bool special, struct prompt *p, err *e)
{
    const tokenizer *t = w->m.tokenizer;
    size_t room = tokenizer_ids_max(t, text.len_bytes);
    int32_t *ids = ARENA_ARRAY(&w->messages, int32_t, room, "token ids", e);
    if (ids == NULL || !tokenizer_encode(t, text, special, ids, room, &p->count, &w->scratch, e)) return false;
    p->ids = ids;
    return true;
}

static bool plain(struct text_worker *w, const struct text_plain *r, view left, err *e)
{
    const struct tokenizer_facts *facts = tokenizer_facts(w->m.tokenizer);
    view text = cut(&left, r->text_bytes), *stops;
    int32_t *room;
    struct prompt p = { 0 };
    if (!take_stops(w, &left, r->stop_count, &stops, e)) return false;
    /* One id of room in front, for BOS. */
    if ((room = ARENA_ARRAY(&w->messages, int32_t, 1, "token ids", e)) == NULL ||
        !encode(w, text, r->flags & TEXT_SPECIAL, &p, e))
        return false;
    bool begins = !(r->flags & TEXT_BARE) && r->before < 0 && facts->add_bos && facts->bos >= 0 &&
                  (p.count == 0 || p.ids[0] != facts->bos);
    if (begins) {
        int32_t *all = ARENA_ARRAY(&w->messages, int32_t, p.count + 1, "token ids", e);
        if (all == NULL) return false;
        all[0] = facts->bos;
        memcpy(all + 1, p.ids, p.count++ * sizeof *all);
        p.ids = all;
    }
    struct reply_begin b = { .id = r->head.id, .n = r->n, .before = p.count > 0 ? p.ids[p.count - 1] : r->before,
                             .stops = stops, .stop_count = r->stop_count };
    if (!count_check(&p, r->ctx_tok, e) || (!(r->flags & TEXT_COUNT) && !reply_open(w, &b, e))) return false;
    send_ids(w, r->head.id, &p);
    return true;
}

static bool pieces(struct text_worker *w, const struct text_pieces *r, view ids, err *e)
{
    const tokenizer *t = w->m.tokenizer;
    size_t lengths_count = r->joined ? 1 : r->count, used = 0;
    uint32_t *lengths = ARENA_ARRAY(&w->messages, uint32_t, lengths_count, "lengths", e);
    uint8_t *bytes = arena_take(&w->messages, 0, 1, 1, "text", e);
    if (lengths == NULL || bytes == NULL) return false;
    decoder d = { .inside = !r->joined };
    for (size_t i = 0; i < r->count; i++) {
        int32_t id;
        size_t len = 0;
        memcpy(&id, ids.ptr + i * sizeof id, sizeof id);
        if (id < 0 || (size_t)id >= w->m.hyper.vocab)
            return fail(e, ERR_VALUE, ERR_NO_OFFSET, "token %zu is %d, allowed 0..%zu", i, id, w->m.hyper.vocab - 1);
        if (!r->joined) d.inside = true;
        /* Room for the longest; what is not needed goes back, and the next piece stands right behind this one. */
        size_t mark = w->messages.used_bytes;
        if (arena_take(&w->messages, TOKEN_BYTES_MAX, 1, 1, "text", e) == NULL) return false;
        if ((size_t)id < tokenizer_count(t) && !decoder_next(&d, t, id, r->special != 0, bytes + used, &len, e))
            return false;
        arena_rewind(&w->messages, mark + len);
        used += len;
        lengths[r->joined ? 0 : i] = r->joined ? (uint32_t)used : (uint32_t)len;
    }
    struct text_bytes f = { .head = r->head, .count = (uint32_t)lengths_count, .bytes = (uint32_t)used };
    const view tail[] = { { (const uint8_t *)lengths, lengths_count * sizeof *lengths }, { bytes, used } };
    text_send(w, TEXT_BYTES, &f, sizeof f, tail, 2);
    return true;
}

/* A table, or the line that says which keyword can not be enforced. */
static bool compile(struct text_worker *w, const struct text_compile *r, view source, err *e)
{
    view table;
    arena_rewind(&w->messages, 0);
    if (!text_compile_table(w, r, source, &w->messages, &table, e)) return false;
    struct text_table f = { .head = r->head, .bytes = table.len_bytes };
    if (table.len_bytes + sizeof f > TEXT_EVENT_BYTES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "grammar: a table of %zu bytes, allowed 0..%zu", table.len_bytes,
                    TEXT_EVENT_BYTES_MAX - sizeof f);
    text_send(w, TEXT_TABLE, &f, sizeof f, &table, 1);
    return true;
}

/* ---- messages ---- */

/* Whether the numbers of a message fit its length: what does not is no message of a client that keeps to the protocol.
 */
static bool render_fits(const struct text_render *r, size_t tail)
{
    uint64_t fixed = (uint64_t)r->messages_bytes + r->tools_bytes + r->variables_bytes + (uint64_t)r->stop_count * 4;
    return fixed <= tail && r->stop_count <= STOPS_MAX && r->n <= HEARTH_CHOICES_MAX && r->flags <= 15 && r->zero == 0;
}

static bool plain_fits(const struct text_plain *r, size_t tail)
{
    uint64_t fixed = (uint64_t)r->text_bytes + (uint64_t)r->stop_count * 4;
    return fixed <= tail && r->stop_count <= STOPS_MAX && r->n <= HEARTH_CHOICES_MAX && r->flags <= 7;
}

/* One message; false where it is none. What is wrong with a request is told to who asked. */
static bool take_message(struct text_worker *w, uint32_t kind, view message, err *why)
{
    union {
        struct hearth_head head;
        struct text_render render;
        struct text_plain plain;
        struct text_feed feed;
        struct text_pieces pieces;
        struct text_compile compile;
    } r;
    static const size_t sizes[] = { 0, sizeof r.render, sizeof r.plain, sizeof r.feed, sizeof r.head,
                                    sizeof r.pieces, sizeof r.compile };
    if (kind < 1 || kind >= sizeof sizes / sizeof *sizes || message.len_bytes < sizes[kind]) return false;
    memcpy(&r, message.ptr, sizes[kind]);
    view tail = view_after(message, sizes[kind]);
    bool good = true;
    if (r.head.id == 0 || r.head.zero != 0) return false;
    switch ((enum text_request_kind)kind) {
    case TEXT_RENDER:
        if (!render_fits(&r.render, tail.len_bytes)) return false;
        good = render(w, &r.render, tail, why);
        break;
    case TEXT_PLAIN:
        if (!plain_fits(&r.plain, tail.len_bytes)) return false;
        good = plain(w, &r.plain, tail, why);
        break;
    case TEXT_FEED:
        if (tail.len_bytes != (uint64_t)r.feed.count * sizeof(int32_t) || r.feed.finish > HEARTH_DONE) return false;
        reply_take(w, &r.head, tail.ptr, r.feed.count, r.feed.finish);
        break;
    case TEXT_CLOSE: reply_close(w, r.head.id, r.head.choice); break;
    case TEXT_PIECES:
        if (tail.len_bytes != (uint64_t)r.pieces.count * sizeof(int32_t)) return false;
        good = pieces(w, &r.pieces, tail, why);
        break;
    case TEXT_COMPILE:
        if (tail.len_bytes != r.compile.source_bytes) return false;
        good = compile(w, &r.compile, tail, why);
        break;
    }
    if (!good) text_error(w, r.head.id, why);
    return true;
}

void text_worker_run(void *arg)
{
    struct text_job *job = arg;
    struct text_worker *w = job->w;
    err e = { 0 };
    if (!open_all(w, &e)) {
        text_error(w, 0, &e);
        return;
    }
    arena_rewind(&w->scratch, 0);
    tell_facts(w);
    for (;;) {
        uint32_t kind;
        size_t bytes;
        err why = { 0 };
        if (ring_receive_wait(job->ends.in, &kind, w->in, &bytes) != RING_OK)
            worker_protest("the client of the text worker broke the ring", __FILE__, __LINE__);
        if (!take_message(w, kind, (view){ w->in, bytes }, &why))
            worker_protest("the client of the text worker broke the protocol", __FILE__, __LINE__);
        arena_rewind(&w->messages, 0);
    }
}
