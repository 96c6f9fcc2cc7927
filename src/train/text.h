/* From files to documents worth learning from: records are cut, cleaned, compared with each other and with what is held
 * out. Nothing here knows tokens.
 *
 *   .txt, .md    records begin at a form feed, whose line is the record's name; a file without one is one record
 *   .jsonl       an object a line: "text", or "messages" (role and content), and perhaps "id"
 *
 * Cleaning keeps valid UTF-8 without control characters, lines without blanks at their end, at most one empty line in a
 * row. Paragraphs (of TEXT_PARAGRAPH_MIN bytes and more) that stood before are dropped: exact ones by hash, near ones
 * where of eight minima over hashed 5-word shingles six agree with one paragraph before. A paragraph that shares a
 * normalised window of 50 letters with a held-out text is dropped, too. */
#ifndef HEARTH_TRAIN_TEXT_H
#define HEARTH_TRAIN_TEXT_H

#include "base/arena.h"

enum { TEXT_PARAGRAPH_MIN = 40, LEAK_WINDOW = 50 };

/* A set of 64-bit hashes: open addressing, grows in its own memory. */
struct hash_set {
    uint64_t *slots;
    size_t mask, count;
};

struct text_counts {
    size_t records, bytes_in, paragraphs;
    size_t invalid;        /* records that are not UTF-8 */
    size_t exact, near, leaked; /* paragraphs dropped, by reason */
    size_t bytes_out, documents;
};

struct text_filter {
    struct hash_set exact, near, held_out;
    struct text_counts counts;
};

bool text_filter_new(struct text_filter *f, err *e);
void text_filter_free(struct text_filter *f);

/* Every window of LEAK_WINDOW normalised bytes (letters and digits, lower case) of a text that must not be learnt. */
bool text_hold_out(struct text_filter *f, view text, err *e);

/* Called for each document that is left: cleaned text, the record's name (a hash of it decides the split). `chat` is
 * true for messages, which are rendered as the model's template does. */
typedef bool text_fn(void *arg, view name, view text, bool chat, err *e);

/* Goes through a file in memory. `path` decides the format by its ending. Scratch is given back. */
bool records_read(struct text_filter *f, const char *path, view file, text_fn *fn, void *arg, arena *scratch, err *e);

/* A hash of bytes for splits and sets: the first 8 bytes of BLAKE2b. */
uint64_t text_hash(view v);

#endif
