/* Inside the compiler: the table that is being made, and the ways to make spans of it. A compiler takes a build, adds
 * spans and nodes, and ends with build_finish, which works out every "least" and writes the bytes. Nothing is removed:
 * what turns out to be impossible has a least of LEAST_NEVER and is never entered. */
#ifndef HEARTH_GRAMMAR_BUILD_H
#define HEARTH_GRAMMAR_BUILD_H

#include "base/arena.h"
#include "grammar/grammar.h"
#include "grammar/table.h"

enum { BUILD_SCRATCH_BYTES = 1 << 25 };
enum { BUILD_EDGES_MAX = 1 << 21, BUILD_LINKS_MAX = 1 << 20, BUILD_OBJECTS_MAX = 1 << 16, BUILD_MEMBERS_MAX = 1 << 18 };

/* The span of a SWITCH: its leasts depend on nodes. */
struct build_switch {
    uint32_t first, count, node;
};

typedef struct build {
    arena *a;     /* `inner` */
    arena *outer; /* the caller's */
    arena inner;  /* the same without its last BUILD_SCRATCH_BYTES: those are `scratch`, for what is taken back while
                     rows of the table stay, and nothing of them is ever counted as used */
    arena scratch;
    err *e;
    struct table_state *states;
    struct table_edge *edges;
    struct table_node *nodes;
    uint32_t *links;
    struct table_object *objects;
    struct table_member *members;
    uint32_t state_count, edge_count, node_count, link_count, object_count, member_count;
    uint32_t state_room, edge_room, node_room, link_room, object_room, member_room;
    struct build_switch switches[16];
    uint32_t switch_count;
    uint32_t flags;
    uint8_t free_rows[FREE_KEY_STATES][256];
} build;

enum { BUILD_RETURN = 0, BUILD_NEVER = 1 }; /* the first two nodes */

/* Room for `more` rows of `each` bytes behind `count`: rows move, so no pointer into them outlives a call that adds. */
bool build_grow(build *b, void *rows, uint32_t *room, uint32_t count, uint32_t more, size_t each, uint32_t most,
                const char *what);

bool build_start(build *b, uint32_t flags, arena *a, err *e);
/* Always behind build_start, however it ended: the caller's arena then holds what was taken. */
void build_close(build *b);
bool build_node(build *b, struct table_node n, uint32_t *index);
bool build_links(build *b, uint32_t count, uint32_t *first); /* zeroed, to be filled in */
bool build_object(build *b, struct table_object o, uint32_t *index);
bool build_members(build *b, uint32_t count, uint32_t *first);
bool build_finish(build *b, uint32_t root, view *table, struct grammar_notes *notes, err *e);

/* ---- spans ---- */

/* A span that reads one of some texts. They come sorted by bytes, no two equal, and each keeps its label. With `free`
 * the texts are names behind their opening quote, and any other name goes on in the states of free names. For keys
 * (`reach`) a label is the text's index and least counts names that are not listed alone. */
struct span_text {
    view text;
    uint16_t label;
};
bool span_texts(build *b, const struct span_text *texts, uint32_t count, bool key, bool free, uint32_t *state);

/* A machine whose states are found by trying: `words` numbers each. step: false where no text goes on. label:
 * LABEL_NONE where no text ends. In a key span labels below `listed` are listed members. `same`, where not NULL, names
 * a state of the table that goes on exactly like this one (TABLE_NONE: none). */
enum { MACHINE_WORDS_MAX = 40 };
struct machine {
    const void *ctx;
    uint32_t words;
    const uint8_t *bytes; /* the bytes that can go on anywhere, NULL: all */
    uint32_t byte_count;
    bool (*step)(const void *ctx, const uint32_t *from, uint8_t byte, uint32_t *to);
    uint16_t (*label)(const void *ctx, const uint32_t *at);
    uint32_t listed;
    void (*reach)(const void *ctx, const uint32_t *at, uint16_t *lo, uint16_t *hi);
    uint32_t states_max;
    const char *what; /* in the error where there are too many */
};
bool span_machine(build *b, const struct machine *m, const uint32_t *start, uint32_t *state);

/* Does the machine take the whole text? */
bool machine_takes(const struct machine *m, const uint32_t *start, view text);

/* tools.c: `root` behind free text and its marker. */
bool build_behind(build *b, const struct grammar_options *set, uint32_t root, uint32_t *node);

#endif
