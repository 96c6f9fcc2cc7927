/* Model files into images: see pack.h. */
#include "model/pack.h"

#include "base/limits.h"
#include "model/packed.h"
#include "model/slots.h"
#include "model/vocab.h"

#define PACKING_ARENA_BYTES ((size_t)1 << 32) /* addresses, not memory: a file's head and a vocabulary at its limits   \
                                               */

static bool plan(struct packing *p, err *e)
{
    struct image_source *s = &p->source;
    struct vocab_source vocab;
    bool there;
    if (!hyper_read(&p->files.dir, &p->hyper, e)) return false;
    struct image_tensor_source *tensors = ARENA_ARRAY(
        &p->arena, struct image_tensor_source, SLOTS_OUTSIDE + p->hyper.layers * SLOTS_PER_LAYER, "tensor slots", e);
    if (tensors == NULL || !slots_resolve(&p->hyper, &p->files, tensors, &s->tensor_count, &p->arena, e) ||
        !gguf_str(&p->files.dir, "tokenizer.chat_template", GGUF_OPTIONAL, &s->chat_template, e) ||
        !vocab_of_file(&p->files.dir, &vocab, &there, &p->arena, e))
        return false;
    s->arch = view_of(p->hyper.arch->name);
    s->tensors = tensors;
    hyper_to_fields(&p->hyper, s->fields);
    if (there) {
        p->vocab = vocab_to_image(&vocab);
        s->vocab = &p->vocab;
    }
    return image_plan(s, &p->layout, &p->arena, e);
}

bool packing_read(struct packing *p, const view *files, size_t count, arena *a, err *e)
{
    *p = (struct packing){ .arena = *a };
    return gguf_read_files(files, count, &p->arena, &p->files, e) && plan(p, e);
}

bool packing_open(struct packing *p, const char *path, err *e)
{
    *p = (struct packing){ 0 };
    if (!arena_new(&p->arena, PACKING_ARENA_BYTES, e)) return false;
    /* gguf_open's errors name the file themselves. */
    bool good = gguf_open(path, &p->arena, &p->files, e);
    if (good && !plan(p, e)) {
        err_prefix(e, path);
        good = false;
    }
    if (!good) packing_close(p);
    return good;
}

void packing_close(struct packing *p)
{
    gguf_close(&p->files);
    arena_free(&p->arena);
    *p = (struct packing){ 0 };
}
