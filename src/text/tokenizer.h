/* text/ turns text into token ids and back, for the four families of vocabularies that model files carry: SentencePiece
 * BPE ("llama"), byte-level BPE ("gpt2"), unigram ("t5") and WordPiece ("bert"). It owns vocabularies, their
 * normalization and splitting, special tokens in text, and (train.h) the making of vocabularies. It knows no file
 * format: a vocabulary comes in as plain data, is checked whole, and lives in the caller's arena.
 *
 * What always holds:
 *   - ids are those the model author's own tokenizer gives; where implementations differ, the author's definition wins;
 *   - encoding never adds a token that is not in the text (no BOS, EOS, CLS): the facts say what to add, the caller
 *     adds it;
 *   - a control token arises only where the caller allows it, never from merges, words or bytes of ordinary text (but
 *     for the unknown token, which some vocabularies call a control token);
 *   - time is n log n in the text whatever the text, memory is bounded by tokenizer_scratch_bytes;
 *   - any bytes are text: what is not UTF-8 goes through byte tokens, or becomes U+FFFD where a vocabulary has none.
 *
 * Start here, then tokenizer.c (checks, indexes), encode.c (runs, special tokens), and one file for each family:
 * spm.c, bpe.c (with split.c, its pre-tokenizers), unigram.c, wordpiece.c; decode.c is the way back. */
#ifndef HEARTH_TEXT_TOKENIZER_H
#define HEARTH_TEXT_TOKENIZER_H

#include "base/arena.h"
#include "base/limits.h"

/* ORDER tokenizer_model: MODELS in tokenizer.c */
enum tokenizer_model { TOKENIZER_SPM, TOKENIZER_BPE, TOKENIZER_UNIGRAM, TOKENIZER_WORDPIECE, TOKENIZER_MODELS };

/* The numbers are GGUF's (tokenizer.ggml.token_type). */
enum token_kind {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,      /* arises only where parsing is allowed; shown only when asked for */
    TOKEN_USER_DEFINED = 4, /* cut out of the text before anything else, always (but see guarded tokens) */
    TOKEN_UNUSED = 5,       /* never arises */
    TOKEN_BYTE = 6          /* "<0x0A>" */
};

/* A question a file may leave open. */
enum tri { TRI_UNSET = -1, TRI_NO = 0, TRI_YES = 1 };

/* A vocabulary as plain data. Text and arrays need to live only during tokenizer_new. Begin with
 * vocab_source_default(): ids -1, questions open. */
struct vocab_source {
    view model;           /* "llama", "gpt2", "t5", "bert" */
    view pre;             /* the pre-tokenizer of "gpt2": "llama-bpe", "qwen2", ...; empty is "default". Else ignored */
    size_t token_count;   /* 1..VOCAB_MAX; a token's id is its index */
    const view *texts;    /* token_count; of 0..TOKEN_BYTES_MAX bytes; an empty one never arises */
    const float *scores;  /* token_count, finite; NULL: all 0 ("llama" and "t5" need them) */
    const int32_t *kinds; /* token_count of enum token_kind; NULL: all normal */
    size_t merge_count;   /* 0..MERGES_MAX; "gpt2" alone */
    const view *merges;   /* "LEFT RIGHT", first merged first */
    view charsmap;        /* SentencePiece's precompiled normalization map; empty: none */

    int32_t bos, eos, eot, eom, unk, sep, pad, cls, mask; /* -1: none */
    enum tri add_bos, add_eos, add_sep;                   /* what the file says */
    enum tri add_space_prefix;         /* unset: yes for "llama" and "t5" */
    enum tri remove_extra_whitespaces; /* unset: no for "llama", yes for "t5" */
    enum tri escape_whitespaces;       /* blanks become U+2581; unset: yes */
    enum tri lowercase;                /* "bert": lower case and no accents; unset: yes */
    enum tri normalize_nfc;            /* "gpt2": unset: as the author of `pre` does */
    enum tri ignore_merges;            /* "gpt2": a word that is a token stays whole; unset: as the author does */
};

struct vocab_source vocab_source_default(void);

/* What a vocabulary says of itself, questions answered. */
struct tokenizer_facts {
    enum tokenizer_model model;
    size_t token_count;
    int32_t bos, eos, eot, eom, unk, sep, pad, cls, mask; /* -1: none; else below token_count */
    bool add_bos, add_eos, add_sep; /* an unset question: the family's custom ("llama": BOS; "bert": CLS, SEP; ...) */
};

typedef struct tokenizer tokenizer;

/* Checks a vocabulary and builds its indexes in `a`, where *out lives. Nothing in `src` is kept.
 *   limits  VOCAB_MAX tokens, TOKEN_BYTES_MAX bytes a token, MERGES_MAX merges, CHARSMAP_BYTES_MAX (base/limits.h)
 *   errors  ERR_UNSUPPORTED (unknown model or pre: the text names it), ERR_LIMIT, ERR_VALUE (two tokens of one text, a
 *           merge that names no token, an id out of range, a score that is no number, ...), ERR_MEMORY; one line
 *   threads a finished tokenizer is read-only: any number of threads use it at once
 *   fuzz    fuzz/tokenizer_vocab.c
 * Takes about 100 ms for 200,000 tokens with 446,000 merges. */
bool tokenizer_new(tokenizer **out, const struct vocab_source *src, arena *a, err *e);

/* How many bytes of arena tokenizer_new takes at most for this source (an upper bound; sums only, so it is cheap).
 * SIZE_MAX where the source is over a limit. */
size_t tokenizer_arena_bytes(const struct vocab_source *src);

/* ---- facts ---- */
const struct tokenizer_facts *tokenizer_facts(const tokenizer *t);
size_t tokenizer_count(const tokenizer *t);
/* The token's kind; `id` in range. */
enum token_kind tokenizer_kind(const tokenizer *t, int32_t id);
/* True for the tokens that end an answer: eos, eot, eom, and control tokens that are known by name ("<|im_end|>"). */
bool tokenizer_is_eog(const tokenizer *t, int32_t id);
/* The token's text as the vocabulary writes it ("▁the", "Ġthe"), not as it reads. */
view tokenizer_text(const tokenizer *t, int32_t id);
/* The token whose vocabulary text is exactly this, or -1. Finds control tokens too: not for outside text. */
int32_t tokenizer_find(const tokenizer *t, view text);

/* ---- text to ids ---- */

/* A stretch of text with one origin. Ordinary text of neighbouring runs is tokenized as if it were one text: who wrote
 * it does not move a token border. */
struct text_run {
    view text;
    bool special_allowed; /* control tokens may arise here (and never across into a run that forbids them) */
    bool user_text;       /* neither control tokens nor guarded tokens arise here, whatever special_allowed says */
};

/* Encodes `text`; with `parse_special` the texts of control tokens in it become those tokens.
 *   ids      room for ids_max; *count gets how many there are
 *   scratch  tokenizer_scratch_bytes(t, text.len_bytes) free bytes; given back before the return
 *   errors   ERR_LIMIT (text over TEXT_BYTES_MAX, more than ids_max ids), ERR_MEMORY (scratch)
 * Adds no BOS or the like. An empty text gives no ids. */
bool tokenizer_encode(const tokenizer *t, view text, bool parse_special, int32_t *ids, size_t ids_max, size_t *count,
                      arena *scratch, err *e);

/* The same for runs, their lengths together at most TEXT_BYTES_MAX. `guarded` is a bitmap over token ids
 * (bit id % 64 of word id / 64), of ceil(tokenizer_count / 64) words: user-defined tokens that a template uses as
 * marks and that user text must not make; NULL: none. */
bool tokenizer_encode_runs(const tokenizer *t, const struct text_run *runs, size_t run_count, const uint64_t *guarded,
                           int32_t *ids, size_t ids_max, size_t *count, arena *scratch, err *e);

/* Upper bounds for a text of this length: ids it can become, scratch bytes that encoding it takes. */
size_t tokenizer_ids_max(const tokenizer *t, size_t text_bytes);
size_t tokenizer_scratch_bytes(const tokenizer *t, size_t text_bytes);

/* ---- ids to text ---- */

/* What a token reads as: bytes, perhaps a part of a character. Control tokens (and unknown ones of byte-level
 * vocabularies) read as nothing unless `show_special`. Errors: ERR_VALUE (no such id). */
bool tokenizer_piece(const tokenizer *t, int32_t id, bool show_special, uint8_t out[static TOKEN_BYTES_MAX],
                     size_t *len_bytes, err *e);

/* Decoding token by token. It drops the one blank that encoding put in front of a text (at its begin, and after each
 * control token). Bytes come out as they are: hold back utf8_tail_bytes() before showing them. */
typedef struct decoder {
    bool inside; /* something was shown since the begin, so a blank is a blank */
} decoder; /* all zeros: at the begin of a text */

bool decoder_next(decoder *d, const tokenizer *t, int32_t id, bool show_special, uint8_t out[static TOKEN_BYTES_MAX],
                  size_t *len_bytes, err *e);

/* All of them, from the begin of a text. Errors: ERR_VALUE (no such id), ERR_LIMIT (more than out_max bytes). */
bool tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t count, bool show_special, uint8_t *out,
                      size_t out_max, size_t *len_bytes, err *e);

#endif
