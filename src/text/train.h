/* Making a vocabulary of byte-level BPE from text (Sennrich et al., 2016, over bytes as in Radford et al., 2019): the
 * text is cut into words as the tokenizer will cut it, equal words are counted once, and the pair of neighbouring
 * tokens that occurs most often becomes a token, again and again.
 *
 * The result is a function of texts and settings: neither threads nor their speed can change it. Counts are integers,
 * and of pairs that occur equally often the lexicographically smallest pair of byte strings (left, then right) wins. */
#ifndef HEARTH_TEXT_TRAIN_H
#define HEARTH_TEXT_TRAIN_H

#include "base/team.h"
#include "text/tokenizer.h"

struct vocab_train {
    const view *texts; /* documents; no word reaches from one into the next */
    size_t text_count;
    view pre;               /* the pre-tokenizer, as in vocab_source; the author's normalization applies */
    size_t token_count;     /* wanted: 256 + control_count .. VOCAB_MAX */
    const view *controls;   /* texts of control tokens, which get the last ids */
    size_t control_count;   /* at most TRAIN_CONTROLS_MAX */
    uint64_t count_min;     /* a pair that occurs less often becomes no token; at least 1 */
};

/* Trains, and fills *out: texts, kinds and merges live in `a`, `pre` is the caller's view, ids are -1 (the caller names
 * bos, eos and the like). Ids: the 256 bytes by value, then a token for each merge, then the control tokens. Fewer
 * tokens than wanted where no pair occurs count_min times.
 *   texts    any bytes. Texts over 1 MiB are cut behind newlines (so a word with a newline inside may be cut there);
 *            words of over TRAIN_WORD_BYTES_MAX bytes, and runs of that many bytes without a border, are left out
 *   crew     splits the counting of words; NULL: one thread
 *   memory   beside the result in `a`: arenas of its own, given back before the return; about 150 bytes for each
 *            distinct word and 30 for each of its bytes
 *   tokens   a pair that would make a token there is already, or a control token's text, is passed over
 *   errors   ERR_UNSUPPORTED (unknown pre), ERR_LIMIT, ERR_VALUE (two equal control texts), ERR_MEMORY */
bool vocab_train(struct vocab_source *out, const struct vocab_train *settings, struct team *crew, arena *a, err *e);

#endif
