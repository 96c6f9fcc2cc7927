/* What the files of text/ share: the tokenizer itself, the sink of ids, and the families. Not for other rooms. */
#ifndef HEARTH_TEXT_PART_H
#define HEARTH_TEXT_PART_H

#include "text/charsmap.h"
#include "text/split.h"
#include "text/text_index.h"
#include "text/tokenizer.h"
#include "text/trie.h"

/* A set of pairs of neighbouring characters, as a bitmap over a hash: no pair of the set is ever missed, a few others
 * are taken for members. */
enum { PAIR_BITS = 19 };

/* Pairs of token ids that merge: open addressing, at most half full.
 *   slot: left id << 43 | right id << 22 | rank      all ones: empty     (rank 2^22 - 1 does not exist: MERGES_MAX) */
typedef struct merge_table {
    uint64_t *slots;
    size_t mask;
    int32_t *joined; /* by rank */
} merge_table;

struct tokenizer {
    struct tokenizer_facts facts;
    uint8_t *kinds; /* enum token_kind, by id */
    uint64_t *eog;  /* bitmap over ids */
    text_index index;
    trie special;           /* control tokens; user-defined ones too in the families that cut raw text */
    int32_t byte_ids[256];  /* the token of one byte, -1: none */

    /* "gpt2" */
    merge_table merges;
    const splitter *splitter;
    uint32_t ascii_flags[128]; /* the splitter's classes of ASCII (split.h) */
    bool nfc, ignore_merges;

    /* "llama" and "t5" */
    float *scores;
    uint32_t *ranks; /* scores as integers, best first: 0 is the best possible */
    charsmap charsmap;
    trie pieces;       /* "t5", "bert": what may stand in a text; "bert": without the mark of a word's begin */
    trie word_pieces;  /* "bert": tokens that begin a word, their mark left out */
    trie user_defined; /* matched in normalized text */
    size_t token_bytes_max; /* "llama": of the tokens that are joined */
    uint64_t *pairs;   /* "llama": characters that are neighbours inside a token */
    bool add_space_prefix, remove_extra_whitespaces, escape_whitespaces, has_bytes, lowercase;
    float min_score, max_score;
};

/* Where ids go. Counting goes on when the room is used up, so that the error can say how much was needed. */
typedef struct id_sink {
    int32_t *ids;
    size_t max, count;
} id_sink;

static inline void sink_put(id_sink *s, int32_t id)
{
    if (s->count < s->max) s->ids[s->count] = id;
    s->count++;
}

/* A stretch of text without control tokens. `user_text[i]` is 1 where byte i of the text must not become part of a
 * guarded token; NULL: nowhere. */
typedef struct stretch {
    view text;
    const uint8_t *user_text;
    const uint64_t *guarded;
} stretch;

static inline bool bitmap_has(const uint64_t *bits, int32_t id)
{
    return (bits[(size_t)id / 64] >> ((size_t)id % 64) & 1) != 0;
}

/* True where user-defined token `id` may arise from bytes at..at + len_bytes - 1 of a text with these marks. */
static inline bool may_arise(const uint8_t *user_text, const uint64_t *guarded, int32_t id, size_t at, size_t len_bytes)
{
    return user_text == NULL || !bitmap_has(guarded, id) || memchr(user_text + at, 1, len_bytes) == NULL;
}

/* The families: ids of one stretch. Scratch is given back by the caller. */
typedef bool encode_fn(const tokenizer *t, const stretch *s, id_sink *sink, arena *scratch, err *e);
encode_fn bpe_encode, spm_encode, unigram_encode, wordpiece_encode;

/* And their indexes, made by tokenizer_new once texts, kinds and the text index stand. */
typedef bool build_fn(tokenizer *t, const struct vocab_source *src, arena *a, err *e);
build_fn bpe_build, spm_build, unigram_build, wordpiece_build;

/* SentencePiece's "▁", which stands for a blank. */
static const uint8_t BLANK_MARK[3] = { 0xE2, 0x96, 0x81 };

static inline bool is_blank_mark(const uint8_t *at, size_t left_bytes)
{
    return left_bytes >= 3 && memcmp(at, BLANK_MARK, 3) == 0;
}

/* A stretch as SentencePiece's models see it: mapped, blanks escaped, a blank in front. *user_text is carried over byte
 * by byte (NULL stays NULL). Both live in `scratch`. (normalize.c) */
bool spm_normalize(const tokenizer *t, const stretch *s, arena *scratch, view *out, const uint8_t **user_text, err *e);
size_t spm_normalized_max(const tokenizer *t, size_t text_bytes);

/* The user-defined token at the begin of text[at..], or -1: the longest that may arise there. (normalize.c) */
int32_t user_defined_at(const tokenizer *t, view text, size_t at, const uint8_t *user_text, const uint64_t *guarded,
                        size_t *len_bytes);

/* Byte-level alphabet (bpe.c): the character that stands for a byte, and back (-1: none). */
uint32_t byte_to_code(uint8_t byte);
int code_to_byte(uint32_t code);

/* The byte that "<0x0A>" names, or -1. (decode.c) */
int byte_token_value(view text);

#endif
