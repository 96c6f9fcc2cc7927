/* See text.h. */
#include "train/text.h"

#include "base/le.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "format/json.h"

#include <sodium.h>
#include <stdlib.h>

uint64_t text_hash(view v)
{
    uint8_t out[16];
    crypto_generichash(out, sizeof out, v.ptr, v.len_bytes, NULL, 0);
    return le_u64(out);
}

/* ---- sets of hashes ---- */

enum { SET_SLOTS_FIRST = 1 << 16 };

static bool set_new(struct hash_set *s, size_t slots, err *e)
{
    *s = (struct hash_set){ calloc(slots, sizeof *s->slots), slots - 1, 0 };
    return s->slots != NULL || fail(e, ERR_MEMORY, ERR_NO_OFFSET, "text filter: no room for %zu hashes", slots);
}

static uint64_t *set_slot(const struct hash_set *s, uint64_t hash)
{
    hash += hash == 0; /* 0 marks a free slot */
    size_t at = (size_t)(hash * 0x9e3779b97f4a7c15u >> 20) & s->mask;
    while (s->slots[at] != 0 && s->slots[at] != hash) at = (at + 1) & s->mask;
    return &s->slots[at];
}

static bool set_has(const struct hash_set *s, uint64_t hash)
{
    return *set_slot(s, hash) != 0;
}

static bool set_add(struct hash_set *s, uint64_t hash, err *e)
{
    if (2 * s->count > s->mask) {
        struct hash_set larger;
        if (!set_new(&larger, 2 * (s->mask + 1), e)) return false;
        for (size_t i = 0; i <= s->mask; i++)
            if (s->slots[i] != 0) *set_slot(&larger, s->slots[i]) = s->slots[i];
        larger.count = s->count;
        free(s->slots);
        *s = larger;
    }
    uint64_t *slot = set_slot(s, hash);
    s->count += *slot == 0;
    *slot = hash + (hash == 0);
    return true;
}

bool text_filter_new(struct text_filter *f, err *e)
{
    *f = (struct text_filter){ 0 };
    bool good = set_new(&f->exact, SET_SLOTS_FIRST, e) && set_new(&f->near, SET_SLOTS_FIRST, e) &&
                set_new(&f->held_out, SET_SLOTS_FIRST, e);
    if (!good) text_filter_free(f);
    return good;
}

void text_filter_free(struct text_filter *f)
{
    free(f->exact.slots);
    free(f->near.slots);
    free(f->held_out.slots);
    *f = (struct text_filter){ 0 };
}

/* ---- leaks: a rolling hash over letters and digits in lower case ---- */

#define ROLL_BASE 0x9e3779b97f4a7c15u

/* Normalised bytes: letters and digits of ASCII in lower case, bytes above 127 as they are; the rest is left out. */
static int normal_byte(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') return c + 32;
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 128) return c;
    return -1;
}

struct roll {
    uint64_t hash, oldest; /* oldest: ROLL_BASE ^ (LEAK_WINDOW - 1), what the first byte counts */
    uint8_t ring[LEAK_WINDOW];
    size_t count;
};

static struct roll roll_new(void)
{
    struct roll r = { .oldest = 1 };
    for (int i = 1; i < LEAK_WINDOW; i++) r.oldest *= ROLL_BASE;
    return r;
}

/* Takes a byte in; true where a whole window lies behind. */
static bool roll_in(struct roll *r, uint8_t c)
{
    uint8_t *at = &r->ring[r->count % LEAK_WINDOW];
    if (r->count >= LEAK_WINDOW) r->hash -= r->oldest * (*at + 1u);
    r->hash = r->hash * ROLL_BASE + c + 1u;
    *at = c;
    return ++r->count >= LEAK_WINDOW;
}

bool text_hold_out(struct text_filter *f, view text, err *e)
{
    struct roll r = roll_new();
    for (size_t i = 0; i < text.len_bytes; i++) {
        int c = normal_byte(text.ptr[i]);
        if (c >= 0 && roll_in(&r, (uint8_t)c) && !set_add(&f->held_out, r.hash, e)) return false;
    }
    return true;
}

static bool is_leaked(const struct text_filter *f, view paragraph)
{
    struct roll r = roll_new();
    for (size_t i = 0; i < paragraph.len_bytes; i++) {
        int c = normal_byte(paragraph.ptr[i]);
        if (c >= 0 && roll_in(&r, (uint8_t)c) && set_has(&f->held_out, r.hash)) return true;
    }
    return false;
}

/* ---- repetitions ---- */

enum { MINIMA = 8, BANDS_ALIKE = 2, SHINGLE_WORDS = 5 };

static uint64_t mix(uint64_t h)
{
    h ^= h >> 31;
    h *= 0x7fb5d329728ea185u;
    h ^= h >> 27;
    h *= 0x81dadef4bc2dd44du;
    return h ^ h >> 33;
}

/* MinHash (Broder, "On the resemblance and containment of documents", 1997): the least hash of all 5-word shingles
 * under eight functions. Four bands of two minima; a paragraph is near one before where two bands agree. */
static bool shingle_minima(view p, uint64_t minima[MINIMA])
{
    uint64_t words[SHINGLE_WORDS] = { 0 }, word = 0;
    size_t count = 0;
    for (size_t i = 0; i < MINIMA; i++) minima[i] = UINT64_MAX;
    for (size_t i = 0; i <= p.len_bytes; i++) {
        int c = i < p.len_bytes ? normal_byte(p.ptr[i]) : -1;
        if (c >= 0) {
            word = mix(word + (uint64_t)c + 1);
            continue;
        }
        if (word == 0) continue;
        words[count++ % SHINGLE_WORDS] = word;
        word = 0;
        if (count < SHINGLE_WORDS) continue;
        uint64_t shingle = 0;
        for (size_t w = 0; w < SHINGLE_WORDS; w++) shingle = mix(shingle + words[(count + w) % SHINGLE_WORDS]);
        for (size_t m = 0; m < MINIMA; m++) {
            uint64_t h = mix(shingle + m * ROLL_BASE);
            minima[m] = h < minima[m] ? h : minima[m];
        }
    }
    return count >= 2 * SHINGLE_WORDS; /* shorter ones are alike by chance */
}

/* Remembers the paragraph; *repeats tells whether one like it came before. */
static bool check_repeats(struct text_filter *f, view p, bool *repeats, err *e)
{
    uint64_t exact = text_hash(p), minima[MINIMA];
    if (set_has(&f->exact, exact)) {
        f->counts.exact++;
        *repeats = true;
        return true;
    }
    if (!set_add(&f->exact, exact, e)) return false;
    if (!shingle_minima(p, minima)) return true;
    size_t alike = 0;
    for (size_t band = 0; band < MINIMA / 2; band++) {
        uint64_t h = mix(minima[2 * band] ^ mix(minima[2 * band + 1] + band));
        alike += set_has(&f->near, h);
        if (!set_add(&f->near, h, e)) return false;
    }
    if (alike >= BANDS_ALIKE) {
        f->counts.near++;
        *repeats = true;
    }
    return true;
}

/* ---- cleaning ---- */

static bool is_control(uint8_t c)
{
    return (c < ' ' && c != '\n' && c != '\t') || c == 127;
}

/* Copies a record without control characters and carriage returns, blanks at line ends and second empty lines. */
static size_t clean(uint8_t *to, view from)
{
    size_t n = 0;
    for (size_t i = 0; i < from.len_bytes; i++) {
        uint8_t c = from.ptr[i];
        if (is_control(c)) continue;
        if (c == '\n') {
            while (n > 0 && (to[n - 1] == ' ' || to[n - 1] == '\t')) n--;
            if (n == 0 || (n > 1 && to[n - 1] == '\n' && to[n - 2] == '\n')) continue;
        }
        to[n++] = c;
    }
    while (n > 0 && (to[n - 1] == '\n' || to[n - 1] == ' ' || to[n - 1] == '\t')) n--;
    return n;
}

/* The paragraph at the begin of `rest`, without the empty line behind it, which is skipped. */
static view next_paragraph(view *rest)
{
    size_t end = 0;
    while (end < rest->len_bytes &&
           !(rest->ptr[end] == '\n' && end + 1 < rest->len_bytes && rest->ptr[end + 1] == '\n'))
        end++;
    view p = { rest->ptr, end };
    *rest = view_after(*rest, end + 2);
    return p;
}

/* Leaves out paragraphs that repeat or leak; joins the others in place. */
static bool filter_paragraphs(struct text_filter *f, uint8_t *text, size_t *len, err *e)
{
    view rest = { text, *len };
    size_t n = 0;
    while (rest.len_bytes > 0) {
        view p = next_paragraph(&rest);
        bool drop = false;
        f->counts.paragraphs++;
        if (p.len_bytes >= TEXT_PARAGRAPH_MIN) {
            if (is_leaked(f, p)) {
                f->counts.leaked++;
                drop = true;
            } else if (!check_repeats(f, p, &drop, e)) {
                return false;
            }
        }
        if (drop) continue;
        if (n > 0) {
            text[n++] = '\n';
            text[n++] = '\n';
        }
        memmove(text + n, p.ptr, p.len_bytes);
        n += p.len_bytes;
    }
    *len = n;
    return true;
}

static bool take_record(struct text_filter *f, view name, view body, bool chat, text_fn *fn, void *arg, arena *scratch,
                        err *e)
{
    f->counts.records++;
    if (utf8_valid_bytes(body) != body.len_bytes) {
        f->counts.invalid++;
        return true;
    }
    size_t mark = scratch->used_bytes;
    uint8_t *room = ARENA_ARRAY(scratch, uint8_t, body.len_bytes + 1, "document", e);
    if (room == NULL) return false;
    size_t len = clean(room, body);
    bool good = chat || filter_paragraphs(f, room, &len, e);
    if (good && len > 0) {
        f->counts.documents++;
        f->counts.bytes_out += len;
        good = fn(arg, name, (view){ room, len }, chat, e);
    }
    arena_rewind(scratch, mark);
    return good;
}

/* ---- formats ---- */

static bool read_records(struct text_filter *f, view file, text_fn *fn, void *arg, arena *scratch, err *e)
{
    while (file.len_bytes > 0) {
        view name = { file.ptr, 0 };
        if (file.ptr[0] == '\f') {
            const uint8_t *line = memchr(file.ptr, '\n', file.len_bytes);
            size_t end = line == NULL ? file.len_bytes : (size_t)(line - file.ptr);
            name = (view){ file.ptr + 1, end - 1 };
            file = view_after(file, end + 1);
        }
        const uint8_t *next = file.len_bytes == 0 ? NULL : memchr(file.ptr, '\f', file.len_bytes);
        size_t len = next == NULL ? file.len_bytes : (size_t)(next - file.ptr);
        if (!take_record(f, name, (view){ file.ptr, len }, false, fn, arg, scratch, e)) return false;
        file = view_after(file, len);
    }
    return true;
}

/* Messages as text: a role's turn is "<|im_start|>ROLE\n...<|im_end|>\n", the template that made models carry. */
static bool join_messages(const json_value *messages, arena *a, view *out, err *e)
{
    size_t bytes = 0;
    JSON_EACH(m, messages) {
        const json_value *role = json_get(m, "role"), *content = json_get(m, "content");
        if (role == NULL || content == NULL || role->type != JSON_STRING || content->type != JSON_STRING)
            return fail(e, ERR_VALUE, m->offset, "a message without role and content");
        bytes += role->text.len_bytes + content->text.len_bytes + 32;
    }
    uint8_t *at = ARENA_ARRAY(a, uint8_t, bytes, "messages", e), *begin = at;
    if (at == NULL) return false;
    JSON_EACH(m, messages) {
        const view parts[] = { view_of("<|im_start|>"), json_get(m, "role")->text, view_of("\n"),
                               json_get(m, "content")->text, view_of("<|im_end|>\n") };
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
            memcpy(at, parts[i].ptr, parts[i].len_bytes);
            at += parts[i].len_bytes;
        }
    }
    *out = (view){ begin, (size_t)(at - begin) };
    return true;
}

static bool read_lines(struct text_filter *f, view file, text_fn *fn, void *arg, arena *scratch, err *e)
{
    view line, rest = file;
    while (json_line(&rest, &line)) {
        size_t mark = scratch->used_bytes;
        const json_value *v;
        view body;
        if (!json_parse(line, scratch, &v, e)) {
            e->offset += (uint64_t)(line.ptr - file.ptr);
            return false;
        }
        const json_value *text = json_get(v, "text"), *messages = json_get(v, "messages"), *id = json_get(v, "id");
        bool chat = messages != NULL && messages->type == JSON_ARRAY;
        if (chat) {
            if (!join_messages(messages, scratch, &body, e)) return false;
        } else if (text != NULL && text->type == JSON_STRING) {
            body = text->text;
        } else {
            return fail(e, ERR_MISSING, (uint64_t)(line.ptr - file.ptr), "a line without \"text\" or \"messages\"");
        }
        view name = id != NULL && id->type == JSON_STRING ? id->text : (view){ line.ptr, line.len_bytes };
        if (!take_record(f, name, body, chat, fn, arg, scratch, e)) return false;
        arena_rewind(scratch, mark);
    }
    return true;
}

bool records_read(struct text_filter *f, const char *path, view file, text_fn *fn, void *arg, arena *scratch, err *e)
{
    size_t len = strlen(path);
    f->counts.bytes_in += file.len_bytes;
    if (len > 6 && strcmp(path + len - 6, ".jsonl") == 0) return read_lines(f, file, fn, arg, scratch, e);
    return read_records(f, file, fn, arg, scratch, e);
}
