/* The slot in which a process leaves why it ended. Inside jail/ only. */
#ifndef HEARTH_JAIL_CRASH_H
#define HEARTH_JAIL_CRASH_H

#include "jail/jail.h"

#include <stdatomic.h>

enum { CRASH_EXIT = 86 }; /* exit code of a process that has filled its slot */

/* Steps of a start, the word both sides wait on. */
enum slot_state { SLOT_NEW, SLOT_MAPPED, SLOT_READY, SLOT_GO, SLOT_FAILED };

/* A page shared by the two; after SLOT_READY the spawner treats every byte in it as hostile. */
struct jail_slot {
    _Atomic uint32_t state;
    struct jail_report report;
    err error; /* of a start that failed */
    struct crash {
        _Atomic uint32_t taken; /* the first crash of a process is the one that counts */
        char thing[128];
        char file[128];
        uint32_t line;
        int32_t signal;
        int32_t call;     /* of JAIL_TELL, else -1 */
        uint64_t address; /* of a memory fault */
        uint64_t code;    /* where it was, counted from the program's start: addr2line's number */
    } crash;
};

/* In the new process: handlers for faults, and a stack of their own. */
void crash_arm(struct jail_slot *slot);

/* One line from a copy of the slot. */
void crash_text(const struct crash *c, char *line, size_t line_bytes);

#endif
