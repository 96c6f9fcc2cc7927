/* The engine's process: its jail holds the image, its arenas, two rings, and futex. Even the image is checked and bound
 * under the filter, so a file that got past the packer meets a process that can do nothing but wait and end. */
#include "orchestrator/worker.h"

#include "image/image.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define OWN_BYTES ((size_t)1 << 30)     /* addresses: tables of layers, rope factors */
#define SCRATCH_BYTES ((size_t)1 << 32) /* addresses: the copy of an image's head */

_Noreturn void worker_protest(const char *what, const char *file, unsigned line)
{
    jail_crash(what, file, line);
}

bool engine_worker_prepare(void *arg, err *e)
{
    struct engine_worker *w = arg;
    char tier[sizeof w->set.tier + 1] = { 0 };
    memcpy(tier, w->set.tier, sizeof w->set.tier);
    /* MAP_PRIVATE: before Linux 6.7 a write-sealed memfd takes no other map; nothing is ever written. */
    int flags = MAP_PRIVATE | (w->populate ? MAP_POPULATE : 0);
    void *base = mmap(NULL, w->image_bytes, PROT_READ, flags, JAIL_FD_FIRST, 0);
    if (base == MAP_FAILED)
        return fail(e, ERR_MEMORY, ERR_NO_OFFSET, "engine: cannot map %zu bytes: %s", w->image_bytes, strerror(errno));
    w->image = (view){ base, w->image_bytes };
    if (!kernels_bind(&w->kernels, tier[0] != '\0' ? tier : NULL, e) || !arena_new(&w->own, OWN_BYTES, e) ||
        !arena_new(&w->scratch, SCRATCH_BYTES, e) || !arena_new(&w->room, w->room_bytes, e) ||
        !arena_new(&w->pages, w->room_bytes, e) ||
        (w->message = arena_take(&w->own, 1, HEARTH_REQUEST_BYTES_MAX, 64, "message", e)) == NULL)
        return false;
    madvise(w->pages.base, w->pages.size_bytes, MADV_HUGEPAGE); /* advice: nothing is lost where there are none */
    return team_new(&w->team, w->set.threads > 0 ? w->set.threads : 1, w->cpus.cpus, w->cpus.count, e);
}

static void send_event(void *arg, uint32_t kind, view event)
{
    struct engine_worker *w = arg;
    if (kind == HEARTH_LOADED && w->told != NULL) (void)ring_send(w->told, kind, event);
    enum ring_status status = ring_send_wait(w->ends.out, kind, event);
    if (status != RING_OK) worker_protest("the client of the engine broke the protocol", __FILE__, __LINE__);
}

/* What the image or the plan refuses is told once, as an error of id 0. */
static void tell_failure(struct engine_worker *w, const err *e)
{
    struct hearth_error f = { .head.choice = HEARTH_ALL_CHOICES, .code = (uint32_t)e->code };
    memcpy(f.text, e->text, sizeof f.text);
    f.text[sizeof f.text - 1] = '\0';
    view message = { (const uint8_t *)&f, sizeof f };
    if (w->told != NULL) (void)ring_send(w->told, HEARTH_ERROR, message);
    send_event(w, HEARTH_ERROR, message);
}

/* Everything that waits in the ring; false where there was nothing. */
static bool take_messages(struct engine_worker *w, engine *en)
{
    for (size_t count = 0;; count++) {
        uint32_t kind;
        size_t bytes;
        err e = { 0 };
        enum ring_status status = ring_receive(w->ends.in, &kind, w->message, &bytes);
        if (status == RING_EMPTY) return count > 0;
        if (status != RING_OK) worker_protest("the client of the engine broke the ring", __FILE__, __LINE__);
        if (!engine_take(en, kind, (view){ w->message, bytes }, &e)) worker_protest(e.text, __FILE__, __LINE__);
    }
}

void engine_worker_run(void *arg)
{
    struct engine_worker *w = arg;
    model m;
    engine *en;
    err e = { 0 };
    /* Masks need to know what tokens read as. */
    unsigned parts = w->set.mask_bytes > 0 ? IMAGE_WEIGHTS | IMAGE_TEXTS : IMAGE_WEIGHTS;
    if (!model_bind(&m, w->image, parts, &w->own, &w->scratch, &e) ||
        !engine_new(&en, &m, &w->kernels, w->team, &w->set, &w->room, &w->pages, send_event, w, &e)) {
        tell_failure(w, &e);
        return;
    }
    for (;;) {
        uint32_t seen = ring_bell(w->ends.in);
        bool heard = take_messages(w, en);
        if (!engine_step(en) && !heard) ring_sleep(w->ends.in, seen);
    }
}
