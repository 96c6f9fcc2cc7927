/* One-way messages between two processes that do not trust each other. The reader can not write what it reads, by the
 * kernel's word: each side writes one memfd, whose only writable map was made before it was sealed.
 *
 *   memfd W, written by the writer alone        memfd R, written by the reader alone
 *   | index | bell |     page of its own |      | index | bell |     page of its own |
 *   | data: a power of two, in units of 8 bytes, addressed by count modulo size      |
 *
 *   index   epoch (16 bits) | count of units ever written or read in this epoch (48 bits), one atomic word
 *   bell    counts changes of the index; whoever waits for the other side sleeps on the other side's bell (futex works
 *           on a map that can not be written), never with a timeout: a jailed process has no clock
 *   message | length in bytes (32 bits), kind (32 bits) | bytes | up to 7 bytes of padding |
 *
 * Rules against a hostile peer: its index is loaded once, and one that is out of range breaks the ring for good; a
 * header is loaded once, checked, and the bytes are copied into the caller's buffer before anybody looks at them. So
 * whatever the peer does with its maps, from any number of threads, this side sees some bytes of a length it allowed,
 * or RING_BROKEN, upon which the caller ends the peer. A peer can withhold a wake-up: only processes that nobody waits
 * for may sleep on a ring; the others poll.
 *
 * A peer that died is replaced without the other side mapping anything: ring_restart starts a new epoch in the dead
 * side's page, what was in flight is dropped, and the living side is told once (RING_RESTARTED). A peer can pretend to
 * have been restarted; that costs its own messages and nobody else's.
 *
 * Two memfds and not one a field, because the data and its index have the same writer. F_SEAL_FUTURE_WRITE (Linux 5.1)
 * and not F_SEAL_WRITE: the second refuses while a writable map exists, and before Linux 6.7 it refuses every shared
 * map, read-only ones too. Start reading at ring_new, then ring_take. */
#ifndef HEARTH_BASE_RING_H
#define HEARTH_BASE_RING_H

#include "base/err.h"
#include "base/view.h"

struct ring_page;

enum ring_role { RING_WRITER, RING_READER };

enum ring_status {
    RING_OK,
    RING_EMPTY,     /* nothing to read yet */
    RING_FULL,      /* no room for this message yet */
    RING_RESTARTED, /* the other side is another process now; what was in flight is gone. Told once */
    RING_BROKEN     /* the other side broke the protocol: end it. Stays until a new epoch */
};

typedef struct ring {
    int fd[2];                 /* W and R: [RING_WRITER], [RING_READER]; -1 in a process that took an end */
    struct ring_page *page[2]; /* the first pages of both */
    uint8_t *data;             /* behind W's page */
    size_t data_bytes;         /* a power of two */
    size_t message_bytes_max;
    size_t page_bytes;
    enum ring_role role;
    uint64_t count; /* units this side has written or read; never loaded from shared memory */
    uint64_t epoch;
    bool owner;     /* holds both writable maps: the process that made it, and may restart it */
    bool borrows;   /* of ring_attach: the own side's map is the owner's */
    bool broken;
} ring;

/* Makes both memfds, maps them writable and seals them: from here on nobody can make another writable map, and a map
 * is not inherited over fork unless ring_lend says so. `data_bytes`: a power of two from a page to RING_BYTES_MAX;
 * `message_bytes_max` at most RING_MESSAGE_BYTES_MAX and 8 bytes under data_bytes. Errors: ERR_LIMIT, ERR_IO. */
bool ring_new(ring *r, size_t data_bytes, size_t message_bytes_max, err *e);

/* Unmaps and closes; a ring of all zeros, or one freed before, is fine. */
void ring_free(ring *r);

/* The owner, around the fork of the process that will take an end: whether a child inherits the maps. */
bool ring_lend(ring *r, bool inherit, err *e);

/* In the process that is `role` from now on: keeps the writable map of its own memfd, exchanges the other for one that
 * can not be written, closes both descriptors. Done before the jail closes. Errors: ERR_IO. */
bool ring_take(ring *r, enum ring_role role, err *e);

/* An end for the owner itself, which stays the owner: `end` writes through the owner's map and has one of its own that
 * can not be written. The owner must outlive it, and lends that side to nobody. Free it with ring_free. Errors: ERR_IO.
 */
bool ring_attach(const ring *owner, enum ring_role role, ring *end, err *e);

/* The owner, when the process that held `dead` is gone and before its successor takes that end. */
void ring_restart(ring *r, enum ring_role dead);

/* Writes one message. RING_OK, RING_FULL, RING_RESTARTED (not written: send again what still matters), RING_BROKEN.
 * A message over message_bytes_max is a mistake of the program and asserts. */
enum ring_status ring_send(ring *r, uint32_t kind, view message);

/* Copies the next message into `into` (room for message_bytes_max), and its kind and length. RING_OK, RING_EMPTY,
 * RING_RESTARTED, RING_BROKEN. The bytes are the peer's: validate the copy. */
enum ring_status ring_receive(ring *r, uint32_t *kind, uint8_t *into, size_t *len_bytes);

/* The other side's bell. Load it, try to send or receive, and where that finds no room or nothing: ring_sleep on the
 * value loaded. A change in between makes the sleep return at once. */
uint32_t ring_bell(const ring *r);

/* Sleeps in futex, without a timeout, until the bell is not `seen`; may return early. */
void ring_sleep(const ring *r, uint32_t seen);

/* ring_receive and ring_send that sleep instead of returning RING_EMPTY and RING_FULL. */
enum ring_status ring_receive_wait(ring *r, uint32_t *kind, uint8_t *into, size_t *len_bytes);
enum ring_status ring_send_wait(ring *r, uint32_t kind, view message);

#endif
