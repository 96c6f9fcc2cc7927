/* The flat table of a grammar: docs/format/mask.md has the bytes, this page the meaning. Little endian; every part
 * begins at a multiple of 8; offsets and indices, no pointers.
 *
 *   head | states | edges | nodes | links | objects | members
 *
 * Two machines share it. Spans of bytes (keys, numbers, literals, patterned strings, terminals of a GBNF grammar) are
 * deterministic automata: a state has edges, ranges of bytes in rising order. What nests is a network of nodes: a node
 * runs a span, chooses, calls, or stands for a whole JSON value; "least" is always the least number of bytes from there
 * to the end of the span, value or rule, so the walk can keep an answer within its budget. */
#ifndef HEARTH_GRAMMAR_TABLE_H
#define HEARTH_GRAMMAR_TABLE_H

#include "base/limits.h"
#include "base/view.h"

enum { TABLE_VERSION = 1, TABLE_NONE = -1 };
#define TABLE_MAGIC "HTHMASK\0"
#define LEAST_NEVER UINT32_MAX /* no way to the end */

struct table_part {
    uint32_t offset, count; /* bytes from the table's begin; rows */
};

struct table_head {
    uint8_t magic[8];
    uint32_t version, bytes; /* of the whole table */
    uint32_t root;           /* the node where an answer begins; its return is the answer's end */
    uint32_t flags;          /* TABLE_BLANKS */
    struct table_part states, edges, nodes, links, objects, members;
};
enum { TABLE_BLANKS = 1 /* a little white space between the tokens of JSON */ };

/* A state of a span. */
struct table_state {
    uint32_t edge_first;
    uint32_t least; /* bytes to the nearest end of the span (of a SWITCH: and on, through what follows) */
    uint16_t edge_count;
    uint16_t label;              /* LABEL_NONE: the span can not end here */
    uint16_t reach_lo, reach_hi; /* of a key: the listed members whose names go on from here, [lo, hi) */
    uint16_t flags;
    uint16_t zero;
};
enum { LABEL_NONE = 0xffff, LABEL_FREE = 0xfffe /* a key that is not listed: the object's first class */ };
enum {
    STATE_FREE = 1, /* of a key: a name that is not listed goes on from here */
    STATE_BODY = 2  /* and whatever characters come next, it still does: as in FREE_BODY */
};

struct table_edge {
    uint8_t lo, hi; /* bytes, both included */
    uint16_t zero;
    uint32_t target;
};

/* ORDER node_op: OPS in check.c */
enum node_op {
    NODE_RETURN, /* the end of a rule or value */
    NODE_SPAN,   /* a: state, b: next node */
    NODE_SWITCH, /* a: state, b: first link; the label of the span's end chooses link b + label; count: labels */
    NODE_CHOICE, /* a: first link, count: alternatives */
    NODE_CALL,   /* a: node of the rule, b: next node */
    NODE_TOKEN,  /* a: token id, b: next node */
    NODE_STRING, /* a: least, b: most characters (STRING_ANY: no bound); a JSON string, free inside; then returns */
    NODE_OBJECT, /* a: object; then returns */
    NODE_ARRAY,  /* a: its first ITEMS node; then returns */
    NODE_ITEMS,  /* where an array stands behind some items. a: first link, count: pairs of links (node of the next
                    item, ITEMS node behind it); b: 1 where the array may end here. least: from behind an item */
    NODE_NEVER,  /* nothing */
    NODE_OPS
};
#define STRING_ANY UINT32_MAX

struct table_node {
    uint8_t op;
    uint8_t height; /* frames that the least way needs at once */
    uint16_t count;
    uint32_t a, b;
    uint32_t least;
};

/* An object. Its members: member_count listed ones in the order of their names' bytes, then class_count classes of
 * names that are not listed. The span from key_state reads a name and its closing quote; its label is the index of a
 * listed member, or member_count + class (LABEL_FREE: class 0). */
struct table_object {
    uint32_t member_first;
    uint16_t member_count, class_count;
    uint32_t least_members, most_members;
    uint32_t key_state;
    uint32_t flags;
    uint32_t least;
    uint32_t height;
};
enum { OBJECT_ORDERED = 1 /* listed members in the order of their ranks, then the others */ };

struct table_member {
    uint32_t value;     /* node; TABLE_NONE: no such member can be */
    uint32_t key_bytes; /* of the name as written, both quotes; of a class: the least */
    uint32_t cost;      /* least bytes of the whole member: name, colon, value, comma */
    uint16_t rank;      /* place in the schema's order */
    uint16_t flags;
};
enum { MEMBER_REQUIRED = 1 };

/* The body of a JSON string after its opening quote, one state a byte. FREE_* is the part both forms share; the table's
 * first FREE_STATES states are the form of names (shortest escapes, so that one name has one text). */
enum {
    FREE_BODY,  /* between characters */
    FREE_TAIL1, /* one more byte of a character */
    FREE_TAIL2,
    FREE_TAIL3,
    FREE_E0,
    FREE_ED,
    FREE_F0,
    FREE_F4,
    FREE_ESCAPE,
    FREE_END,   /* behind the closing quote */
    FREE_KEY_U, /* names: \u, \u0, \u00, \u000, \u001 */
    FREE_KEY_U0,
    FREE_KEY_U00,
    FREE_KEY_U000,
    FREE_KEY_U001,
    FREE_KEY_STATES,
    FREE_U = FREE_KEY_U, /* values: \u and four digits; a high surrogate wants its low one */
    FREE_HEX3,
    FREE_UD,
    FREE_HEX2,
    FREE_HEX1,
    FREE_HIGH2,
    FREE_HIGH1,
    FREE_LOW,
    FREE_LOW_U,
    FREE_LOW_D,
    FREE_LOW_DC,
    FREE_VALUE_STATES,
    FREE_DEAD = 255
};

/* Fills rows[state][byte] with the next state or FREE_DEAD. */
void free_body(bool names, uint8_t rows[][256]);
/* The least bytes from a state to behind the closing quote. */
uint32_t free_least(bool names, unsigned state);

#endif
