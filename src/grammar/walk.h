/* Inside the walk. An answer so far has one or more readings ("ways"): alternatives of a schema that are not told apart
 * yet, or a number that may end here or go on. A way is a place in the table and a frame: what waits outside of it.
 *
 *   way ──▶ frame ──▶ parent ──▶ ... ──▶ 0: the answer itself
 *
 * Frames are never changed once made: a step makes new ones at the end of one array, and leaving a branch of the trie
 * takes them back by one number. A word is 32 bits:
 *
 *   every frame   parent | kind, size, depth, total | arg | close ...
 *   FRAME_NODE    arg: the node that goes on when a rule returns
 *   FRAME_ITEMS   arg: the ITEMS node behind the item that is being read
 *   FRAME_OBJECT  arg: object; then count, cells, ranks (next | last << 16), open (required | fill << 16), seen bits
 *   FRAME_CELL    a name that was used: parent: the cell before; hash in two words
 *
 * "close" is the least number of bytes from the return into this frame to the end of the answer. "total" is the number
 * of words that this frame and all it stands on need: it keeps a state within GRAMMAR_FRAME_WORDS. */
#ifndef HEARTH_GRAMMAR_WALK_H
#define HEARTH_GRAMMAR_WALK_H

#include "grammar/grammar.h"
#include "grammar/table.h"

/* ORDER way_op: STEPS and LEASTS in walk.c */
enum way_op {
    WAY_END,          /* the answer may end */
    WAY_SPAN,         /* arg: SPAN or SWITCH node, state */
    WAY_TOKEN,        /* arg: TOKEN node */
    WAY_STRING_OPEN,  /* arg: STRING node */
    WAY_STRING,       /* arg: STRING node, state: of the body, count: characters so far (no more than matter) */
    WAY_OBJECT_OPEN,  /* arg: object, frame: the parent */
    WAY_OBJECT_FIRST, /* behind '{' and `blank`; frame: its own, as in all that follow */
    WAY_OBJECT_NEXT,  /* behind ',' and `blank` */
    WAY_KEY,          /* in a name: state, count: bytes so far, hash of them */
    WAY_COLON,        /* behind a name: label, hash */
    WAY_SPACE,        /* behind ':': one blank may come. frame: with this member seen */
    WAY_OBJECT_AFTER, /* behind a member and `blank` */
    WAY_ARRAY_OPEN,   /* arg: ITEMS node, frame: the parent, as in all that follow */
    WAY_ARRAY_FIRST,
    WAY_ARRAY_NEXT,
    WAY_ARRAY_AFTER,
    WAY_OPS
};

enum frame_kind { FRAME_NODE = 1, FRAME_ITEMS, FRAME_OBJECT, FRAME_CELL };
enum { /* words of a frame */
       F_PARENT,
       F_HEAD,
       F_ARG,
       F_CLOSE,
       F_COUNT,
       F_CELLS,
       F_RANKS,
       F_OPEN,
       F_SEEN,
       F_HASH_LO = F_ARG,
       F_HASH_HI = F_CLOSE,
       FRAME_WORDS = 4,
       FRAME_OBJECT_WORDS_MAX = F_SEEN + GRAMMAR_MEMBERS_MAX / 32
};

enum {
    WALK_FRAME_WORDS = 1 << 16, /* frames of a state and of the branch of the trie that is being tried */
    WALK_VISITS_MAX = 256,      /* choices and calls of one step that reads no byte */
    WALK_FRESH_STEPS = 2000,    /* bytes tried to find a name that was not used */
    WALK_FRESH_SLACK = 8,       /* bytes that such a name may be longer than the shortest */
    WALK_DEPTHS = TOKEN_BYTES_MAX + 1
};

/* A set of ways. */
struct way_set {
    uint32_t count;
    uint32_t frames_used; /* words in use once it was made */
    struct grammar_way ways[GRAMMAR_WAYS_MAX];
};

struct walk_visit {
    uint32_t node, frame;
};

/* Masks of tokens that stay inside a span, remembered by its state: mask.c. */
enum { SPAN_MASKS = 32, SPAN_EXITS_MAX = 8192 };
struct span_mask {
    const void *table;
    uint32_t state, most_least; /* the largest `least` of a state where such a token ends */
    uint32_t exit_count;        /* trie nodes behind which the span may end, their tokens not in the mask */
    uint32_t *exits;
    uint16_t *exit_labels;
    uint16_t silent; /* a label behind which nothing is read: its ends are no exits. LABEL_NONE: none */
    uint64_t *mask;
};

/* A state's edges spelled out, where a walk comes by very often. */
enum { DENSE_ROWS = 128 };
struct dense_row {
    const void *table;
    uint32_t state;
    uint32_t to[256];
};

struct grammar_walker {
    const grammar_vocab *v;
    const grammar *g; /* of the call that runs */
    uint8_t body[FREE_VALUE_STATES][256];
    uint32_t *frames;         /* WALK_FRAME_WORDS */
    uint32_t used, step_mark; /* words; step_mark: frames from here on were made by this byte */
    struct way_set *sets;     /* WALK_DEPTHS */
    struct way_set *out;      /* the set that a step fills */
    struct dense_row *dense;  /* DENSE_ROWS: local.c */
    struct way_set *exit;     /* behind the end of a span: local.c */
    uint32_t *places;         /* WALK_DEPTHS of each: places of one way along the trie, local.c */
    uint64_t *places64;
    uint8_t *places8;
    struct walk_visit visits[WALK_VISITS_MAX];
    uint32_t visit_count;
    uint32_t *marks;         /* WALK_FRAME_WORDS: where a kept frame went */
    struct span_mask *spans; /* SPAN_MASKS */
    uint32_t span_next;
};

/* One token's place in the vocabulary's trie: nodes in depth-first order, children by byte. */
struct trie_node {
    uint32_t next;  /* the first node that is not below this one */
    int32_t token;  /* that ends here, -1: none */
    uint16_t depth; /* bytes */
    uint8_t byte;
    uint8_t twins; /* other tokens with the same bytes: grammar_vocab.twin leads to them */
};

enum { STRING_RUNS = 32 }; /* masks by number of characters */

struct grammar_vocab {
    size_t tokens, rows, words;
    struct trie_node *trie, *rest; /* all tokens; those that are not wholly inside any JSON string */
    uint32_t trie_count, rest_count;
    int32_t *twin;     /* the next token with the same bytes, -1: none */
    uint64_t *strings; /* STRING_RUNS + 1 masks: tokens of 1..n characters inside a string; [0]: of any */
    size_t *string_counts;
    const uint8_t *text;   /* bytes of all tokens */
    uint32_t *text_at;     /* tokens + 1 */
    uint8_t *string_chars; /* characters of a token that is wholly inside a string; 0: it is not */
    uint64_t *ends;        /* mask of end tokens */
};

static inline view vocab_text(const grammar_vocab *v, int32_t token)
{
    return (view){ v->text + v->text_at[token], v->text_at[token + 1] - v->text_at[token] };
}

/* ---- walk.c ---- */

/* Takes the frames of a state in; the ways of `s` are then valid for the calls below. */
void walk_begin(grammar_walker *w, const grammar *g, const grammar_state *s);
/* in, one byte, out. False where nothing is left. */
bool walk_step(grammar_walker *w, const struct way_set *in, uint8_t byte, struct way_set *out);
/* The ways behind a span that ends with `label`. */
void walk_behind(grammar_walker *w, const struct grammar_way *way, uint16_t label, struct way_set *out);
/* The ways behind control token `token`. */
bool walk_token(grammar_walker *w, const struct way_set *in, int32_t token, struct way_set *out);
/* The least bytes from a way to the end of the answer, LEAST_NEVER where there is no end. */
uint32_t walk_least(grammar_walker *w, const struct grammar_way *way);
/* Is there a way that needs no more than `left`? */
bool walk_fits(grammar_walker *w, const struct way_set *set, uint32_t left);

/* ---- mask.c ---- */
/* Nodes [at, end) of a trie, whose parents' set is sets[trie[at].depth - 1]. */
void walk_nodes(grammar_walker *w, const struct trie_node *trie, uint32_t at, uint32_t end, uint32_t left,
                uint64_t *mask);
void walk_set_bits(const grammar_vocab *v, uint64_t *mask, const struct trie_node *n);

/* ---- local.c: the way is the only one of sets[0] ---- */
void walk_string(grammar_walker *w, const struct trie_node *trie, uint32_t end, uint32_t left, uint64_t *mask);
void walk_span(grammar_walker *w, uint32_t left, uint64_t *mask);
void walk_key(grammar_walker *w, const struct trie_node *trie, uint32_t end, uint32_t left, uint64_t *mask);

/* ---- object.c ---- */
const uint32_t *walk_frame(const grammar_walker *w, uint32_t frame);
uint32_t walk_frame_depth(const grammar_walker *w, uint32_t frame);
uint32_t walk_frame_close(const grammar_walker *w, uint32_t frame);
/* Makes a frame, or finds an equal one of this byte; 0 where there is no room. */
uint32_t walk_frame_push(grammar_walker *w, enum frame_kind kind, uint32_t parent, uint32_t arg, uint32_t close);

/* The frame of an object that was opened; 0: no room. */
uint32_t object_open(grammar_walker *w, uint32_t object, uint32_t parent);
/* The same object with one more member. */
uint32_t object_with(grammar_walker *w, uint32_t frame, uint16_t label, uint64_t hash);
bool object_may_close(const grammar_walker *w, uint32_t frame);
bool object_any_allowed(grammar_walker *w, uint32_t frame);
/* May a name end with this label here? (A name that is not listed: also not one that was used.) */
bool object_allows(const grammar_walker *w, uint32_t frame, uint16_t label, uint64_t hash);
/* LEAST_* of places in an object. */
uint32_t object_least_next(grammar_walker *w, uint32_t frame); /* where a name must come, its comma written */
uint32_t object_least_key(grammar_walker *w, const struct grammar_way *way);
/* From behind a name that is not listed to the end, its colon included, whatever its class; LEAST_NEVER where not every
 * class is allowed. *any: is one of them? */
uint32_t object_least_class(grammar_walker *w, const struct grammar_way *way, bool *any);
/* The same behind a name of one class. */
uint32_t object_least_label(grammar_walker *w, uint32_t frame, uint16_t label);
/* The same in a STATE_BODY, whose class no character changes. */
uint32_t object_least_open(grammar_walker *w, const struct grammar_way *way);
uint32_t object_least_colon(const grammar_walker *w, const struct grammar_way *way);
const struct table_member *object_member(const grammar_walker *w, const struct table_object *o, uint16_t label);

static inline uint32_t least_add(uint32_t a, uint32_t b)
{
    uint32_t sum;
    return a == LEAST_NEVER || b == LEAST_NEVER || __builtin_add_overflow(a, b, &sum) ? LEAST_NEVER : sum;
}

static inline uint64_t name_hash(uint64_t hash, uint8_t byte)
{
    hash = (hash ^ byte) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 29;
}

/* The state behind an edge, TABLE_NONE where there is none. */
static inline uint32_t state_step(const grammar *g, uint32_t state, uint8_t byte)
{
    const struct table_state *s = &g->states[state];
    const struct table_edge *edges = g->edges + s->edge_first;
    uint32_t lo = 0, hi = s->edge_count;
    while (lo < hi) { /* the first edge with edge.hi >= byte */
        uint32_t mid = (lo + hi) / 2;
        if (edges[mid].hi < byte) lo = mid + 1;
        else hi = mid;
    }
    return lo < s->edge_count && edges[lo].lo <= byte ? edges[lo].target : (uint32_t)TABLE_NONE;
}

#endif
