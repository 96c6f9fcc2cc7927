/* Tasks whose answers can be checked, made by one generator from (seed, index): copying, recall, arithmetic, dates, a
 * JSON form, a tool call. Training and testing never share one: a hash of the question decides which side it is on, so
 * a right answer was not learnt by heart. What each task ranges over is fixed in tasks.c, before any training. */
#ifndef HEARTH_TRAIN_TASKS_H
#define HEARTH_TRAIN_TASKS_H

#include "base/arena.h"

enum { TASK_BYTES_MAX = 6144, TASK_TEST_SHARE = 16 /* one question in so many is for tests */ };

struct task {
    const char *kind;                 /* "copy", "add", ... */
    char system[1024];                /* what tools there are; "" for tasks without */
    char question[TASK_BYTES_MAX];
    char answer[1024];
};

size_t task_kinds(void);
const char *task_kind_name(size_t kind);

/* Task `index` of a kind, of the training or the test side: the first draw from (seed, kind, index) that lies there. */
void task_make(size_t kind, uint64_t seed, uint64_t index, bool test, struct task *out);

/* "<|im_start|>user\n...<|im_end|>\n<|im_start|>assistant\n...<|im_end|>\n" into room; the length. */
size_t task_render(const struct task *t, char *room, size_t room_bytes);

#endif
