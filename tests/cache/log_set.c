/* cache/log_set.h against an emulation of the published state machine (both its prefill and its decode), for every W in
 * 4..128 and lengths to 5,000, and against the vectors file. */
#include "cache/log_set.h"

#include "kernels/attention.h"

#include "check.h"

#include <stdlib.h>
#include <string.h>

enum { WINDOW_MOST = 128, STORED_MOST = 5000 };

struct machine {
    size_t log[WINDOW_MOST], local[WINDOW_MOST * 3 + 8], log_count, local_count;
};

/* Log set and the oldest `window` of the local one, in order, every second: the new log set; those leave. */
static void trim(struct machine *m, size_t window)
{
    if (m->log_count == 0) {
        memcpy(m->log, m->local, window * sizeof *m->log);
        m->log_count = window;
    } else {
        size_t both[2 * WINDOW_MOST];
        memcpy(both, m->log, window * sizeof *both);
        memcpy(both + window, m->local, window * sizeof *both);
        for (size_t i = 0; i < window; i++) m->log[i] = both[2 * i];
    }
    m->local_count -= window;
    memmove(m->local, m->local + window, m->local_count * sizeof *m->local);
}

static bool agrees(const struct machine *m, size_t stored, size_t window)
{
    if (log_recent(stored, window) != m->local[0]) return false;
    for (size_t p = 0; p < m->log_count; p++)
        if (log_member(stored, window, p) != m->log[p]) return false;
    return m->local_count == stored - m->local[0] && m->log_count == (stored < 2 * window ? 0 : window);
}

/* Decode: the local window is trimmed when it holds 2 W. */
static void decode(void)
{
    size_t wrong = 0, states = 0;
    for (size_t window = 4; window <= WINDOW_MOST; window++) {
        struct machine m = { .log_count = 0 };
        for (size_t t = 1; t <= STORED_MOST; t++, states++) {
            m.local[m.local_count++] = t - 1;
            if (m.local_count == 2 * window) trim(&m, window);
            wrong += !agrees(&m, t, window);
        }
    }
    CHECK(wrong == 0, "decode, %zu states: %zu differ", states, wrong);
}

/* Prefill: while log and rest hold 3 W or more, every second of the first 2 W; what is left in between has its first W
 * as the log set. */
static void prefill(void)
{
    size_t wrong = 0, states = 0;
    for (size_t window = 4; window <= WINDOW_MOST; window++)
        for (size_t n = 2; n <= STORED_MOST; n += n < 6 * window ? 1 : 37, states++) {
            size_t log[WINDOW_MOST], from = 0, count = 0;
            while (count + n - from >= 3 * window) {
                size_t both[2 * WINDOW_MOST];
                for (size_t i = 0; i < 2 * window; i++) both[i] = i < count ? log[i] : from + i - count;
                from += 2 * window - count;
                for (size_t i = 0; i < window; i++) log[i] = both[2 * i];
                count = window;
            }
            if (count == 0 && n > 2 * window - 1) {
                for (size_t i = 0; i < window; i++) log[i] = i;
                count = window;
                from = window;
            }
            bool same = n < 2 * window ? log_recent(n, window) == 0 : log_recent(n, window) == from;
            for (size_t p = 0; p < count && n >= 2 * window; p++) same = same && log_member(n, window, p) == log[p];
            wrong += !same;
        }
    CHECK(wrong == 0, "prefill, %zu states: %zu differ", states, wrong);
}

static void vectors(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/research/logquant_vectors.tsv", check_shared());
    FILE *in = fopen(path, "r");
    if (in == NULL) {
        check_skip("vectors: no research/logquant_vectors.tsv");
        return;
    }
    static char line[1 << 16];
    size_t rows = 0, wrong = 0;
    while (fgets(line, sizeof line, in) != NULL) {
        char *at = line;
        if (*at == '#' || *at == '\n') continue;
        size_t window = strtoul(at, &at, 10), stored = strtoul(at, &at, 10), recent = strtoul(at, &at, 10);
        wrong += log_recent(stored, window) != recent;
        rows++;
        while (*at == '\t') at++;
        for (size_t p = 0; *at != '-' && p < window; p++) {
            wrong += log_member(stored, window, p) != strtoul(at, &at, 10);
            at += *at == ',';
        }
    }
    fclose(in);
    CHECK(rows > 100 && wrong == 0, "%zu rows of vectors, %zu differ", rows, wrong);
}

/* The slots that the log tiers keep: the set of W = 64, sinks in place of its oldest members but the first. */
static void slots(void)
{
    size_t wrong = 0;
    for (size_t m = 2; m < 600; m++) {
        uint64_t seen = 0;
        for (size_t page = 0; page + 1 < m; page++) seen += (uint64_t)__builtin_popcountll(log_mask(m, page));
        wrong += seen != PAGE_TOK;
        for (size_t slot = 1; slot < PAGE_TOK; slot++) wrong += log_slot(m, slot) <= log_slot(m, slot - 1);
        for (size_t slot = 0; slot < 4; slot++) wrong += log_slot(m, slot) != slot;
        wrong += log_slot(m, PAGE_TOK - 1) >= (m - 1) * PAGE_TOK;
    }
    CHECK(wrong == 0, "64 slots, ascending, all before the window: %zu differ", wrong);
    CHECK(log_mask(2, 0) == UINT64_MAX, "page 2 has all of page 0");
}

int main(void)
{
    decode();
    prefill();
    vectors();
    slots();
    return check_done();
}
