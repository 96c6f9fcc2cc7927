/* One-way rings: see ring.h. Shared memory is touched here and nowhere else, always through an atomic load or store of
 * one word, so a peer that writes meanwhile can make a copy inconsistent and can not make this code undefined. */
#include "base/ring.h"

#include "base/checked.h"
#include "base/le.h"
#include "base/limits.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the headers of Debian 12. */
enum { MEMFD_NOEXEC_SEAL = 0x8 };

enum { UNIT_BYTES = 8, COUNT_BITS = 48 };

/* A count that nears 2^48 units (2 PiB in one epoch) breaks the ring: a word never wraps into its epoch. */
static const uint64_t COUNT_MAX = ((uint64_t)1 << COUNT_BITS) - 1;

struct ring_page {
    _Alignas(64) _Atomic uint64_t index;
    _Alignas(64) _Atomic uint32_t bell;
};

_Static_assert(sizeof(struct ring_page) == 128, "two cache lines: the sides never write to one line");

/* Units of a message: its header and its bytes, rounded up. `len_bytes` is below 2^32. */
static uint64_t message_units(size_t len_bytes)
{
    return 1 + ceil_div(len_bytes, UNIT_BYTES);
}

static uint64_t ring_units(const ring *r)
{
    return r->data_bytes / UNIT_BYTES;
}

static _Atomic uint64_t *unit_at(const ring *r, uint64_t count)
{
    uint64_t at = count & (ring_units(r) - 1); /* data_bytes is a power of two */
    return (_Atomic uint64_t *)(void *)(r->data + at * UNIT_BYTES);
}

/* A memfd that keeps its size for ever, so that no map of it ever faults behind the end. */
static bool sealed_memfd(const char *name, size_t bytes, int *fd, void **map, err *e)
{
    *fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MEMFD_NOEXEC_SEAL);
    if (*fd < 0 && errno == EINVAL) *fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING); /* before Linux 6.3 */
    if (*fd < 0 || ftruncate(*fd, (off_t)bytes) != 0)
        return fail(e, ERR_IO, ERR_NO_OFFSET, "ring: no shared memory of %zu bytes: %s", bytes, strerror(errno));
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    if (base == MAP_FAILED)
        return fail(e, ERR_IO, ERR_NO_OFFSET, "ring: cannot map %zu bytes: %s", bytes, strerror(errno));
    *map = base;
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
    if (madvise(base, bytes, MADV_DONTFORK) != 0 || fcntl(*fd, F_ADD_SEALS, seals) != 0)
        return fail(e, ERR_IO, ERR_NO_OFFSET, "ring: cannot seal: %s", strerror(errno));
    return true;
}

/* Bytes of the memfd that `role` writes. */
static size_t side_bytes(const ring *r, enum ring_role role)
{
    return role == RING_WRITER ? r->page_bytes + r->data_bytes : r->page_bytes;
}

bool ring_new(ring *r, size_t data_bytes, size_t message_bytes_max, err *e)
{
    *r = (ring){ .fd = { -1, -1 }, .page_bytes = (size_t)sysconf(_SC_PAGESIZE), .owner = true };
    if (data_bytes < r->page_bytes || data_bytes > RING_BYTES_MAX || (data_bytes & (data_bytes - 1)) != 0)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "ring: %zu bytes, allowed powers of two in %zu..%d", data_bytes,
                    r->page_bytes, RING_BYTES_MAX);
    size_t most = min_size(data_bytes - UNIT_BYTES, RING_MESSAGE_BYTES_MAX);
    if (message_bytes_max < 1 || message_bytes_max > most)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "ring: messages of %zu bytes, allowed 1..%zu", message_bytes_max,
                    most);
    r->data_bytes = data_bytes;
    r->message_bytes_max = message_bytes_max;
    static const char *const names[] = { "hearth-ring-writer", "hearth-ring-reader" };
    for (int side = RING_WRITER; side <= RING_READER; side++) {
        void *map = NULL;
        bool good = sealed_memfd(names[side], side_bytes(r, (enum ring_role)side), &r->fd[side], &map, e);
        r->page[side] = map;
        if (good) continue;
        ring_free(r);
        return false;
    }
    r->data = (uint8_t *)r->page[RING_WRITER] + r->page_bytes;
    return true;
}

static void close_fds(ring *r)
{
    for (int side = RING_WRITER; side <= RING_READER; side++) {
        if (r->fd[side] >= 0) close(r->fd[side]);
        r->fd[side] = -1;
    }
}

void ring_free(ring *r)
{
    if (r->page_bytes == 0) return; /* all zeros: descriptor 0 is not ours */
    for (int side = RING_WRITER; side <= RING_READER; side++)
        if (r->page[side] != NULL && !(r->borrows && side == (int)r->role))
            munmap(r->page[side], side_bytes(r, (enum ring_role)side));
    close_fds(r);
    *r = (ring){ 0 };
}

bool ring_lend(ring *r, bool inherit, err *e)
{
    assert(r->owner);
    for (int side = RING_WRITER; side <= RING_READER; side++)
        if (madvise(r->page[side], side_bytes(r, (enum ring_role)side), inherit ? MADV_DOFORK : MADV_DONTFORK) != 0)
            return fail(e, ERR_IO, ERR_NO_OFFSET, "ring: cannot be handed on: %s", strerror(errno));
    return true;
}

/* What this side starts from: its own published word, which only it and the owner can have written. */
static void adopt_own(ring *r)
{
    uint64_t own = atomic_load_explicit(&r->page[r->role]->index, memory_order_acquire);
    r->count = own & COUNT_MAX;
    r->epoch = own >> COUNT_BITS;
    r->broken = false;
}

bool ring_take(ring *r, enum ring_role role, err *e)
{
    assert(r->owner && r->fd[RING_WRITER] >= 0);
    enum ring_role other = role == RING_WRITER ? RING_READER : RING_WRITER;
    size_t bytes = side_bytes(r, other);
    /* The new map takes the place of the writable one in one step; the seal takes its right to become writable. */
    void *map = mmap(r->page[other], bytes, PROT_READ, MAP_SHARED | MAP_FIXED, r->fd[other], 0);
    if (map == MAP_FAILED)
        return fail(e, ERR_IO, ERR_NO_OFFSET, "ring: cannot map %zu bytes read-only: %s", bytes, strerror(errno));
    close_fds(r);
    r->role = role;
    r->owner = false;
    adopt_own(r);
    return true;
}

bool ring_attach(const ring *owner, enum ring_role role, ring *end, err *e)
{
    assert(owner->owner && owner->fd[RING_WRITER] >= 0);
    enum ring_role other = role == RING_WRITER ? RING_READER : RING_WRITER;
    size_t bytes = side_bytes(owner, other);
    *end = (ring){ .fd = { -1, -1 }, .data_bytes = owner->data_bytes, .page_bytes = owner->page_bytes, .role = role,
                   .message_bytes_max = owner->message_bytes_max, .borrows = true };
    end->page[role] = owner->page[role];
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, owner->fd[other], 0);
    if (map == MAP_FAILED || madvise(map, bytes, MADV_DONTFORK) != 0)
        return fail(e, ERR_IO, ERR_NO_OFFSET, "ring: cannot map %zu bytes read-only: %s", bytes, strerror(errno));
    end->page[other] = map;
    end->data = (uint8_t *)end->page[RING_WRITER] + end->page_bytes;
    adopt_own(end);
    return true;
}

/* Publishes this side's count and wakes whoever sleeps on its bell. */
static void publish(ring *r)
{
    struct ring_page *own = r->page[r->role];
    atomic_store_explicit(&own->index, r->epoch << COUNT_BITS | r->count, memory_order_release);
    atomic_fetch_add(&own->bell, 1);
    syscall(SYS_futex, &own->bell, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

void ring_restart(ring *r, enum ring_role dead)
{
    assert(r->owner);
    enum ring_role living = dead == RING_WRITER ? RING_READER : RING_WRITER;
    struct ring_page *page = r->page[dead];
    /* One past the living side's epoch, not the dead one's: what a hostile process left behind decides nothing. */
    uint64_t epoch = (atomic_load(&r->page[living]->index) >> COUNT_BITS) + 1;
    atomic_store(&page->index, epoch << COUNT_BITS); /* the shift drops the carry: epochs wrap */
    atomic_fetch_add(&page->bell, 1);
    syscall(SYS_futex, &page->bell, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* The peer's count, by one load; RING_OK where it can be true. Units between the two sides are 0..ring_units.
 * The later epoch wins, by serial arithmetic: a side that sees a later one starts it, and one that is ahead takes the
 * peer, which has not noticed yet, to stand at 0. */
static enum ring_status peer_count(ring *r, uint64_t *between)
{
    enum ring_role other = r->role == RING_WRITER ? RING_READER : RING_WRITER;
    uint64_t word = atomic_load_explicit(&r->page[other]->index, memory_order_acquire);
    int16_t ahead = (int16_t)(uint16_t)((word >> COUNT_BITS) - r->epoch);
    if (ahead > 0) {
        r->epoch = word >> COUNT_BITS;
        r->count = 0;
        r->broken = false;
        publish(r);
        return RING_RESTARTED;
    }
    if (r->broken) return RING_BROKEN;
    uint64_t peer = ahead == 0 ? word & COUNT_MAX : 0;
    /* A peer behind its place makes this wrap, which is over the size too. */
    *between = r->role == RING_WRITER ? r->count - peer : peer - r->count;
    if (ahead < 0 && r->role == RING_READER) *between = 0;
    if (*between <= ring_units(r) && r->count < COUNT_MAX - 2 * ring_units(r)) return RING_OK;
    r->broken = true;
    return RING_BROKEN;
}

enum ring_status ring_send(ring *r, uint32_t kind, view message)
{
    assert(!r->owner && r->role == RING_WRITER && message.len_bytes <= r->message_bytes_max);
    uint64_t used;
    enum ring_status status = peer_count(r, &used);
    if (status != RING_OK) return status;
    uint64_t units = message_units(message.len_bytes);
    if (units > ring_units(r) - used) return RING_FULL;
    uint64_t header = (uint64_t)message.len_bytes | (uint64_t)kind << 32;
    atomic_store_explicit(unit_at(r, r->count), header, memory_order_relaxed);
    for (uint64_t i = 1; i < units; i++) {
        size_t at = (size_t)(i - 1) * UNIT_BYTES;
        uint64_t word = 0; /* the padding of the last unit is zeros, never what lay in memory */
        memcpy(&word, message.ptr + at, min_size(UNIT_BYTES, message.len_bytes - at));
        atomic_store_explicit(unit_at(r, r->count + i), word, memory_order_relaxed);
    }
    r->count += units;
    publish(r);
    return RING_OK;
}

enum ring_status ring_receive(ring *r, uint32_t *kind, uint8_t *into, size_t *len_bytes)
{
    assert(!r->owner && r->role == RING_READER);
    uint64_t ready;
    enum ring_status status = peer_count(r, &ready);
    if (status != RING_OK) return status;
    if (ready == 0) return RING_EMPTY;
    uint64_t header = atomic_load_explicit(unit_at(r, r->count), memory_order_relaxed);
    size_t len = (size_t)(header & UINT32_MAX);
    if (len > r->message_bytes_max || message_units(len) > ready) {
        r->broken = true;
        return RING_BROKEN;
    }
    uint64_t units = message_units(len);
    for (uint64_t i = 1; i < units; i++) {
        size_t at = (size_t)(i - 1) * UNIT_BYTES;
        uint64_t word = atomic_load_explicit(unit_at(r, r->count + i), memory_order_relaxed);
        memcpy(into + at, &word, min_size(UNIT_BYTES, len - at));
    }
    *kind = (uint32_t)(header >> 32);
    *len_bytes = len;
    r->count += units;
    publish(r);
    return RING_OK;
}

uint32_t ring_bell(const ring *r)
{
    return atomic_load(&r->page[r->role == RING_WRITER ? RING_READER : RING_WRITER]->bell);
}

void ring_sleep(const ring *r, uint32_t seen)
{
    enum ring_role other = r->role == RING_WRITER ? RING_READER : RING_WRITER;
    syscall(SYS_futex, &r->page[other]->bell, FUTEX_WAIT, seen, NULL, NULL, 0);
}

enum ring_status ring_receive_wait(ring *r, uint32_t *kind, uint8_t *into, size_t *len_bytes)
{
    for (;;) {
        uint32_t seen = ring_bell(r);
        enum ring_status status = ring_receive(r, kind, into, len_bytes);
        if (status != RING_EMPTY) return status;
        ring_sleep(r, seen);
    }
}

enum ring_status ring_send_wait(ring *r, uint32_t kind, view message)
{
    for (;;) {
        uint32_t seen = ring_bell(r);
        enum ring_status status = ring_send(r, kind, message);
        if (status != RING_FULL) return status;
        ring_sleep(r, seen);
    }
}
