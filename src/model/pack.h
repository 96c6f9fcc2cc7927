/* From a model file to an image: what stands between the two rooms. Used for loading (into anonymous memory) and by
 * `hearth pack` (into a file). */
#ifndef HEARTH_MODEL_PACK_H
#define HEARTH_MODEL_PACK_H

#include "image/image.h"
#include "model/model.h"

/* A model file, understood and measured. All zeros is closed. */
struct packing {
    arena arena;
    gguf_files files;
    struct hyper hyper;
    struct image_vocab vocab;
    struct image_source source;
    struct image_layout layout; /* layout.bytes: what the destination of image_write must hold */
};

/* Opens the file, reads its hyperparameters and vocabulary, finds every tensor and plans the image. Reads no weights
 * but routers, to see which second form they get.
 * Errors: one line naming file, thing, value and limit; *p is closed then. */
bool packing_open(struct packing *p, const char *path, err *e);
void packing_close(struct packing *p);

/* The same of files that are mapped already, in order, for a process that can open nothing: takes all memory from `a`,
 * which belongs to *p afterwards. Errors name no file. */
bool packing_read(struct packing *p, const view *files, size_t count, arena *a, err *e);

#endif
