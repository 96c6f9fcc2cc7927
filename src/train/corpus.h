/* `hearth data`: from the configuration's texts to token shards and a manifest. */
#ifndef HEARTH_TRAIN_CORPUS_H
#define HEARTH_TRAIN_CORPUS_H

#include "text/tokenizer.h"
#include "train/settings.h"
#include "train/shard.h"
#include "train/text.h"

struct corpus_part {
    view path;                  /* empty: the generated tasks */
    struct text_counts counts;
    size_t tokens, held_out_tokens;
};

struct corpus_report {
    struct corpus_part *parts;  /* source_count + 1 */
    size_t part_count, documents, tokens, held_out_documents, held_out_tokens;
    uint8_t train_hash[SHARD_HASH_BYTES], held_out_hash[SHARD_HASH_BYTES];
};

/* Told before each part; may be NULL. */
typedef void corpus_progress(void *arg, view path);

/* Writes SHARDS/train.shard, SHARDS/held-out.shard and SHARDS/manifest.tsv. Documents go to the held-out side by a hash
 * of their name, so a document stays where it is when others come or go. Errors: those of files, text, tokenizer. */
bool corpus_make(const struct settings *s, const tokenizer *t, corpus_progress *progress, void *progress_arg, arena *a,
                 struct corpus_report *out, err *e);

/* The vocabulary's identity: BLAKE2b of the texts and kinds of its tokens. */
void vocab_hash(const tokenizer *t, uint8_t out[SHARD_HASH_BYTES]);

/* A path inside the folder of shards, or any folder: FOLDER/NAME, terminated. Errors: ERR_LIMIT. */
enum { PATH_BYTES = 4096 };
bool path_join(view folder, const char *name, char out[static PATH_BYTES], err *e);

#endif
