/* Counting words: see train_part.h. Texts are cut into chunks by a rule that knows nothing of threads; each thread
 * counts the chunks it takes into a set of its own, and the sets are added up. Addition does not care about order. */
#include "base/checked.h"
#include "base/unicode.h"
#include "text/part.h"
#include "text/train_part.h"

#include <assert.h>

enum { CHUNK_BYTES = 1 << 20, WORDS_AT_FIRST = 1 << 12 };

static bool grow(struct word_set *s, err *e)
{
    size_t max = s->max == 0 ? WORDS_AT_FIRST : 2 * s->max;
    if (max > UINT32_MAX / 4) return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "training: over %zu distinct words", s->max);
    struct word_count *words = ARENA_ARRAY(&s->arena, struct word_count, max, "distinct words", e);
    uint32_t *slots = ARENA_ARRAY(&s->arena, uint32_t, 2 * max, "distinct words", e);
    if (words == NULL || slots == NULL) return false;
    if (s->count > 0) memcpy(words, s->words, s->count * sizeof *words);
    s->words = words;
    s->slots = slots;
    s->max = max;
    s->mask = 2 * max - 1;
    for (size_t i = 0; i < s->count; i++) {
        size_t at = words[i].hash & s->mask;
        while (slots[at] != 0) at = (at + 1) & s->mask;
        slots[at] = (uint32_t)i + 1;
    }
    return true;
}

/* Adds `count` occurrences; the text of a word seen first is copied. */
static bool add_word(struct word_set *s, view text, uint64_t hash, uint64_t count, err *e)
{
    if (s->count == s->max && !grow(s, e)) return false;
    size_t at = hash & s->mask;
    for (; s->slots[at] != 0; at = (at + 1) & s->mask) {
        struct word_count *w = &s->words[s->slots[at] - 1];
        if (w->hash != hash || !view_equal(w->text, text)) continue;
        w->count += count;
        return true;
    }
    struct word_count *w = &s->words[s->count];
    if (!arena_copy(&s->arena, text, &w->text, "distinct words", e)) return false;
    w->hash = hash;
    w->count = count;
    s->slots[at] = (uint32_t)++s->count;
    return true;
}

struct count_job {
    const struct splitter_name *pre;
    uint32_t ascii[128];
    const view *chunks;
    struct word_set *sets; /* one a thread, as the following two */
    arena *scratch;
    err *errors;
};

static bool count_chunk(struct count_job *job, view chunk, struct word_set *set, arena *scratch, err *e)
{
    struct split_text words;
    if (job->pre->nfc && !unicode_nfc(chunk, scratch, &chunk, e)) return false;
    if (!split_run(job->pre->splitter, job->ascii, chunk, &words, scratch, e)) return false;
    for (size_t begin = 0, end; begin < words.count; begin = end) {
        end = begin + 1;
        while (end < words.count && (words.flags[end] & SPLIT_PIECE) == 0) end++;
        view word = { chunk.ptr + words.at[begin], words.at[end] - words.at[begin] };
        if (word.len_bytes > TRAIN_WORD_BYTES_MAX) continue;
        if (!add_word(set, word, hash_mix(hash_text(word)), 1, e)) return false;
    }
    return true;
}

static void count_tile(void *arg, size_t tile, size_t thread)
{
    struct count_job *job = arg;
    if (job->errors[thread].code != ERR_NONE) return;
    count_chunk(job, job->chunks[tile], &job->sets[thread], &job->scratch[thread], &job->errors[thread]);
    arena_rewind(&job->scratch[thread], 0);
}

/* The next chunk of a text: CHUNK_BYTES, less what follows the last newline in them (a line longer than a chunk is cut
 * where the chunk ends). */
static view next_chunk(view left)
{
    if (left.len_bytes <= CHUNK_BYTES) return left;
    const uint8_t *newline = memrchr(left.ptr, '\n', CHUNK_BYTES);
    return (view){ left.ptr, newline == NULL ? CHUNK_BYTES : (size_t)(newline - left.ptr) + 1 };
}

static size_t cut_chunks(const struct vocab_train *settings, view *chunks)
{
    size_t count = 0;
    for (size_t i = 0; i < settings->text_count; i++) {
        for (view left = settings->texts[i]; left.len_bytes > 0; count++) {
            view chunk = next_chunk(left);
            if (chunks != NULL) chunks[count] = chunk;
            left = view_after(left, chunk.len_bytes);
        }
    }
    return count;
}

/* Addresses enough for the worst text (each byte a word of its own would be 256 words); memory comes as it is used. */
static size_t set_bytes(const struct vocab_train *settings)
{
    size_t all = 0;
    for (size_t i = 0; i < settings->text_count; i++) all += settings->texts[i].len_bytes;
    return min_size(all, (size_t)1 << 34) * 64 + ((size_t)1 << 24);
}

static bool run_threads(struct count_job *job, size_t chunk_count, size_t threads, size_t bytes, struct team *crew,
                        err *e)
{
    bool good = true;
    for (size_t i = 0; i < threads && good; i++)
        good = arena_new(&job->sets[i].arena, bytes, e) &&
               arena_new(&job->scratch[i], unicode_nfc_bytes(CHUNK_BYTES) + (size_t)CHUNK_BYTES * 32, e);
    if (good && crew != NULL) team_run(crew, chunk_count, count_tile, job);
    for (size_t tile = 0; good && crew == NULL && tile < chunk_count; tile++) count_tile(job, tile, 0);
    for (size_t i = 0; i < threads && good; i++) {
        good = job->errors[i].code == ERR_NONE;
        if (!good) *e = job->errors[i];
    }
    for (size_t i = 1; i < threads && good; i++)
        for (size_t w = 0; w < job->sets[i].count && good; w++) {
            const struct word_count *word = &job->sets[i].words[w];
            good = add_word(&job->sets[0], word->text, word->hash, word->count, e);
        }
    return good;
}

bool train_count_words(struct word_set *words, const struct vocab_train *settings, struct team *crew, err *e)
{
    size_t threads = crew == NULL ? 1 : team_threads(crew), chunk_count = cut_chunks(settings, NULL);
    struct count_job job = { .pre = splitter_find(settings->pre) };
    assert(job.pre != NULL);
    split_ascii(job.pre->splitter, job.ascii);
    arena room = { 0 };
    size_t each_thread = sizeof(struct word_set) + sizeof(arena) + sizeof(err);
    if (!arena_new(&room, chunk_count * sizeof(view) + threads * each_thread + 4096, e)) return false;
    view *chunks = ARENA_ARRAY(&room, view, chunk_count, "chunks of text", e);
    job.sets = ARENA_ARRAY(&room, struct word_set, threads, "chunks of text", e);
    job.scratch = ARENA_ARRAY(&room, arena, threads, "chunks of text", e);
    job.errors = ARENA_ARRAY(&room, err, threads, "chunks of text", e);
    assert(chunks != NULL && job.sets != NULL && job.scratch != NULL && job.errors != NULL); /* planned just above */
    cut_chunks(settings, chunks);
    job.chunks = chunks;
    bool good = run_threads(&job, chunk_count, threads, set_bytes(settings), crew, e);
    *words = job.sets[0];
    for (size_t i = 0; i < threads; i++) {
        arena_free(&job.scratch[i]);
        if (i > 0 || !good) arena_free(&job.sets[i].arena);
    }
    arena_free(&room);
    return good;
}
