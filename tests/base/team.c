/* base/team.h: every tile once, whatever the number of threads, back to back and after sleeping. */
#include "base/team.h"

#include "check.h"

#include <stdatomic.h>
#include <unistd.h>

enum { TILES_MAX = 1000 };

struct job {
    _Atomic unsigned hits[TILES_MAX];
    size_t threads;
    _Atomic bool thread_out_of_range;
};

static void hit(void *arg, size_t tile, size_t thread)
{
    struct job *job = arg;
    atomic_fetch_add(&job->hits[tile], 1);
    if (thread >= job->threads) job->thread_out_of_range = true;
}

static void runs(size_t threads, size_t tiles, size_t times, bool sleeping)
{
    team *t = NULL;
    err e = { 0 };
    if (!CHECK(team_new(&t, threads, NULL, 0, &e), "%s", e.text)) return;
    static struct job job;
    job.threads = threads;
    for (size_t i = 0; i < TILES_MAX; i++) job.hits[i] = 0;
    for (size_t time = 0; time < times; time++) {
        if (sleeping) usleep(3000);
        team_run(t, tiles, hit, &job);
        size_t wrong = 0;
        for (size_t i = 0; i < TILES_MAX; i++) wrong += job.hits[i] != (i < tiles ? time + 1 : 0);
        if (wrong > 0 || time + 1 == times)
            CHECK(wrong == 0, "%zu threads, %zu tiles, run %zu: %zu tiles not done once", threads, tiles, time, wrong);
        if (wrong > 0) break;
    }
    CHECK(!job.thread_out_of_range, "%zu threads: a thread number out of range", threads);
    team_free(t);
}

int main(void)
{
    static const size_t threads[] = { 1, 2, 3, 8 }, tiles[] = { 0, 1, 2, 7, 1000 };
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++)
        for (size_t j = 0; j < sizeof tiles / sizeof *tiles; j++) {
            runs(threads[i], tiles[j], threads[i] <= 2 ? 20000 / (tiles[j] + 20) + 5 : 20, false);
            runs(threads[i], tiles[j], 3, true);
        }
    team *t = NULL;
    err e = { 0 };
    CHECK(!team_new(&t, 0, NULL, 0, &e) && e.code == ERR_LIMIT, "0 threads are refused: %s", e.text);
    e = (err){ 0 };
    CHECK(!team_new(&t, 257, NULL, 0, &e) && e.code == ERR_LIMIT, "257 threads are refused: %s", e.text);
    return check_done();
}
