/* The functions of ranks.h over MPI: what hearth-mpi.so holds. Compiled by mpicc, apart from everything else. */
#include "train/ranks.h"

#include <mpi.h>
#include <sched.h>
#include <time.h>

/* One message of at most this: counts of MPI are ints, and a receiver that adds up pieces needs no more room. */
enum { PIECE_BYTES = 1 << 28 };

static const char *text_of(int code)
{
    static char text[MPI_MAX_ERROR_STRING];
    int len;
    if (MPI_Error_string(code, text, &len) != MPI_SUCCESS) return "an error without a text";
    return text;
}

static const char *open_ranks(int *rank, int *count)
{
    int level, code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level);
    if (code != MPI_SUCCESS) return text_of(code);
    if (level < MPI_THREAD_FUNNELED) return "this MPI was built without threads";
    /* Errors come back as values: the run writes a checkpoint before it ends. */
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, rank);
    MPI_Comm_size(MPI_COMM_WORLD, count);
    return NULL;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* Waits for all requests, or until *stop has been set for `patience_ms`. */
static const char *wait_for(int count, MPI_Request *requests, const volatile sig_atomic_t *stop, int patience_ms)
{
    double asked = 0;
    for (;;) {
        int done = 0, code = MPI_Testall(count, requests, &done, MPI_STATUSES_IGNORE);
        if (code != MPI_SUCCESS) return text_of(code);
        if (done) return NULL;
        if (stop != NULL && *stop) {
            if (asked == 0) asked = now_ms();
            if (now_ms() - asked > patience_ms) return "is silent since this process was told to end";
        }
        sched_yield();
    }
}

static const char *swap(int peer, const void *to, void *from, size_t bytes, const volatile sig_atomic_t *stop,
                        int patience_ms)
{
    for (size_t at = 0; at < bytes; at += PIECE_BYTES) {
        int piece = (int)(bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES), code;
        MPI_Request requests[2];
        if ((code = MPI_Irecv((char *)from + at, piece, MPI_BYTE, peer, 0, MPI_COMM_WORLD, &requests[0])) ||
            (code = MPI_Isend((const char *)to + at, piece, MPI_BYTE, peer, 0, MPI_COMM_WORLD, &requests[1])))
            return text_of(code);
        const char *why = wait_for(2, requests, stop, patience_ms);
        if (why != NULL) return why;
    }
    return NULL;
}

static const char *gather(void *all, size_t each_bytes, const volatile sig_atomic_t *stop, int patience_ms)
{
    MPI_Request request;
    int code = MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all, (int)each_bytes, MPI_BYTE, MPI_COMM_WORLD,
                              &request);
    return code != MPI_SUCCESS ? text_of(code) : wait_for(1, &request, stop, patience_ms);
}

static void close_ranks(void)
{
    MPI_Finalize();
}

extern const struct ranks_library hearth_ranks;
const struct ranks_library hearth_ranks = { RANKS_ABI, open_ranks, swap, gather, close_ranks };
