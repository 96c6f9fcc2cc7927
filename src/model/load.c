/* From a file to a model: image bytes (packed here, or mapped), check, bind. See model.h. */
#include "model/model.h"

#include "base/file.h"
#include "base/limits.h"
#include "model/pack.h"
#include "model/packed.h"
#include "model/slots.h"
#include "model/vocab.h"

#include <sys/mman.h>

#define MODEL_ARENA_BYTES ((size_t)1 << 32) /* addresses, not memory: see arena.h */

/* ---- bytes ---- */

/* Packs the model file into anonymous memory that nobody writes to afterwards. */
static bool pack_into_memory(model *m, const char *path, team *t, load_progress *progress, void *progress_arg, err *e)
{
    struct packing p;
    if (!packing_open(&p, path, e)) return false;
    size_t bytes = p.layout.bytes;
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    bool good = base != MAP_FAILED;
    if (!good) {
        err_set(e, ERR_MEMORY, ERR_NO_OFFSET, "%s: weights: no room for %zu bytes", path, bytes);
    } else {
        madvise(base, bytes, MADV_HUGEPAGE); /* advice: where the kernel has none to give, nothing is lost */
        m->weights = (view){ base, bytes };
        good = image_write(&p.source, &p.layout, base, t, NULL, progress, progress_arg, e);
        if (!good) err_prefix(e, path);
        mprotect(base, bytes, PROT_READ);
    }
    packing_close(&p);
    return good;
}

/* ---- check and bind ---- */

static bool build_tokenizer(model *m, const struct vocab_source *src, err *e)
{
    return tokenizer_new(&m->tokenizer, src, &m->arena, e);
}

static bool bind_facts(model *m, const struct image *i, err *e)
{
    m->weights_bytes = m->weights.len_bytes;
    memcpy(m->identity, i->identity, sizeof m->identity);
    return hyper_of_image(i, &m->hyper, e);
}

/* Everything but the tensors. */
static bool bind_texts(model *m, const struct image *i, err *e)
{
    if (!bind_facts(m, i, e)) return false;
    if (i->chat_template.len_bytes > 0 &&
        !arena_copy(&m->arena, i->chat_template, &m->chat_template, "chat template", e))
        return false;
    if (!i->has_vocab) return true;
    struct vocab_source src = vocab_of_image(&i->vocab);
    return build_tokenizer(m, &src, e);
}

static bool bind_all(model *m, arena *scratch, err *e)
{
    struct image i;
    if (!image_check(m->weights, scratch, &i, e) || !bind_texts(m, &i, e) || !slots_bind(m, &i, e)) return false;
    if (m->tokenizer != NULL && tokenizer_count(m->tokenizer) > m->hyper.vocab)
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "tokenizer.ggml.tokens: %zu tokens, token_embd.weight has %zu rows",
                    tokenizer_count(m->tokenizer), m->hyper.vocab);
    return true;
}

/* Where the file is an image, m->weights becomes its map. */
static bool map_image(model *m, const char *path, err *e)
{
    view file;
    if (!file_map(path, &file, e)) return false;
    if (image_is(file)) m->weights = file;
    else file_unmap(&file);
    return true;
}

/* What the check copies is needed while binding and goes away after it. */
static bool check_and_bind(model *m, const char *path, err *e)
{
    arena scratch;
    if (!arena_new(&scratch, MODEL_ARENA_BYTES, e)) return false;
    bool good = bind_all(m, &scratch, e);
    arena_free(&scratch);
    if (!good) err_prefix(e, path);
    return good;
}

bool model_load(model *m, const char *path, team *t, load_progress *progress, void *progress_arg, err *e)
{
    *m = (model){ 0 };
    bool good = arena_new(&m->arena, MODEL_ARENA_BYTES, e) && map_image(m, path, e) &&
                (m->weights.ptr != NULL || pack_into_memory(m, path, t, progress, progress_arg, e)) &&
                check_and_bind(m, path, e);
    if (!good) model_free(m);
    return good;
}

bool model_bind(model *m, view image_bytes, unsigned parts, arena *own, arena *scratch, err *e)
{
    struct image i;
    *m = (model){ .arena = *own, .weights = image_bytes };
    if (!image_check_parts(image_bytes, parts, scratch, &i, e)) return false;
    return (parts & IMAGE_TEXTS ? bind_texts(m, &i, e) : bind_facts(m, &i, e)) &&
           (!(parts & IMAGE_WEIGHTS) || slots_bind(m, &i, e));
}

/* ---- vocabulary alone ---- */

static bool vocab_of_gguf(model *m, const char *path, err *e)
{
    arena scratch;
    struct vocab_source src;
    bool there;
    if (!gguf_open(path, &m->arena, &m->files, e)) return false; /* its errors name the file themselves */
    if (!arena_new(&scratch, MODEL_ARENA_BYTES, e)) return false;
    bool good = gguf_str(&m->files.dir, "tokenizer.chat_template", GGUF_OPTIONAL, &m->chat_template, e) &&
                vocab_of_file(&m->files.dir, &src, &there, &scratch, e) && (!there || build_tokenizer(m, &src, e));
    arena_free(&scratch);
    if (!good) err_prefix(e, path);
    return good;
}

static bool vocab_of_packed(model *m, const char *path, err *e)
{
    struct image *i = ARENA_ARRAY(&m->arena, struct image, 1, "image", e);
    bool good = i != NULL && image_check(m->weights, &m->arena, i, e) && bind_texts(m, i, e);
    m->image = i;
    if (!good) err_prefix(e, path);
    return good;
}

bool model_load_vocab(model *m, const char *path, err *e)
{
    *m = (model){ 0 };
    bool good = arena_new(&m->arena, MODEL_ARENA_BYTES, e) && map_image(m, path, e) &&
                (m->weights.ptr != NULL ? vocab_of_packed(m, path, e) : vocab_of_gguf(m, path, e));
    if (!good) model_free(m);
    return good;
}

void model_free(model *m)
{
    file_unmap(&m->weights); /* a map is a map */
    gguf_close(&m->files);
    arena_free(&m->arena);
    *m = (model){ 0 };
}
