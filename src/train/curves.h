/* A run's log as a picture: loss of each logged step, held-out loss where it was measured, over tokens. */
#ifndef HEARTH_TRAIN_CURVES_H
#define HEARTH_TRAIN_CURVES_H

#include "base/arena.h"

enum { CURVES_MAX = 8, CURVE_POINTS_MAX = 1 << 20 };

/* Writes an SVG from run logs (run.h), one pair of curves a log; `names` are the legend's. Errors: ERR_IO, ERR_VALUE (no
 * log has two steps), ERR_LIMIT. */
bool curves_write(const char *svg_path, const char *const *log_paths, const char *const *names, size_t count, arena *a,
                  err *e);

#endif
