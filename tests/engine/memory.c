/* A step allocates nothing: with the engine made and the model bound, malloc and its kin, mmap and brk are counted
 * through two prompts in chunks and up to 60 tokens of three answers beside each other, and the count is
 * zero; and before that it is not, so it counts. The linker puts the functions below in place of libc's (--wrap in the
 * Makefile): of calls of this program's objects. What libc itself would take shows in the data segment's end. */
#include "hearth.h"

#include "check.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static _Atomic size_t taken;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);
void *__real_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);
void __real_free(void *old);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);
void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);
void __wrap_free(void *old);

void *__wrap_malloc(size_t bytes)
{
    taken++;
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    taken++;
    return __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    taken++;
    return __real_realloc(old, bytes);
}

void *__wrap_aligned_alloc(size_t align, size_t bytes)
{
    taken++;
    return __real_aligned_alloc(align, bytes);
}

void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset)
{
    taken++;
    return __real_mmap(at, bytes, prot, flags, fd, offset);
}

void __wrap_free(void *old)
{
    taken++;
    __real_free(old);
}

static uint8_t event[HEARTH_EVENT_BYTES_MAX];

static bool submit(hearth *h, uint64_t id, uint32_t n)
{
    struct {
        struct hearth_request r;
        int32_t ids[20];
    } message = { .r = { .head.id = id,
                         .sampling = { .seed = id, .temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .typical_p = 0.9f,
                                       .min_p = 0.01f, .repetition_penalty = 1.1f, .penalty_window = 64,
                                       .dry_base = 1.75f, .dry_multiplier = 0.5f },
                         .prompt_tok = 20, .max_tok = 60, .n = n, .weight = 1, .logprobs = 1, .top_count = 3 } };
    for (int i = 0; i < 20; i++) message.ids[i] = 1 + i * 7;
    return hearth_submit(h, HEARTH_SUBMIT, &message, sizeof message.r + sizeof message.ids);
}

static size_t hear(hearth *h)
{
    size_t tokens = 0, bytes;
    for (uint32_t kind; (kind = hearth_poll(h, event, &bytes)) != 0;) {
        tokens += kind == HEARTH_TOKEN;
        if (kind != HEARTH_ERROR) continue;
        struct hearth_error error;
        memcpy(&error, event, sizeof error);
        CHECK(false, "%.*s", (int)sizeof error.text, error.text);
    }
    return tokens;
}

static void one_model(const char *name)
{
    char path[512], why[HEARTH_ERROR_TEXT_BYTES];
    struct hearth_settings set = { .threads = 2, .sequences = 3, .ctx_tok = 256, .chunk_tok = 8, .kv = 1 };
    hearth *h = NULL;
    snprintf(path, sizeof path, "%s/reference/models/%s.gguf", check_shared(), name);
    size_t before = taken;
    if (!CHECK(hearth_start(&h, path, &set, why), "%s: %s", name, why)) return;
    CHECK(taken > before, "%s: a start takes memory, and is counted", name);
    hear(h); /* HEARTH_LOADED */
    size_t tokens = 0;
    before = taken;
    void *end = sbrk(0);
    bool good = submit(h, 1, 1) && submit(h, 2, 2);
    for (size_t steps = 0; good && hearth_work(h); steps++) tokens += hear(h);
    tokens += hear(h);
    CHECK(tokens > 60, "%s: %zu tokens", name, tokens);
    CHECK(taken == before && sbrk(0) == end, "%s: %zu calls took or gave memory", name, taken - before);
    hearth_stop(h);
}

int main(void)
{
    static const char *const names[] = { "stories260K", "gemma3", "qwen3moe", "deepseek3", "gptoss" };
    char path[512];
    if (!check_model(path, sizeof path, names[0])) check_skip("no reference models");
    else
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) one_model(names[i]);
    return check_done();
}
