/* Every maximum the program has, with its unit and its reason. A loop over outside data is bounded by one of these;
 * an error about one names it. Tests try limit - 1, limit, limit + 1. */
#ifndef HEARTH_BASE_LIMITS_H
#define HEARTH_BASE_LIMITS_H

enum {
    THREADS_MAX = 256,     /* threads in one team; larger machines run several engines */
    UTF8_BYTES_MAX = 4,    /* bytes of one character */
    LAYERS_MAX = 1024,     /* layers of a model; the deepest published ones have under 200 */
    HEADS_MAX = 1024,      /* query heads of a layer */
    HEAD_DIM_MAX = 1024,   /* values of one head; published: 64 to 576 */
    WIDTH_MAX = 1 << 17,   /* residual width; published: up to 18,432 */
    FFN_WIDTH_MAX = 1 << 20, /* inner width of a feed-forward block */
    VOCAB_MAX = 1 << 21,   /* tokens of a vocabulary; published: up to 262,400 */
    CTX_TOK_MAX = 1 << 24, /* positions of one sequence: above it (float)position is not exact */
    BATCH_TOK_MAX = 4096,  /* tokens of one step of the graph */
    EXPERTS_MAX = 1024,    /* experts of a layer; published: up to 512 */
    CONFIG_LINES_MAX = 10000,     /* lines of one configuration file; a long policy has some hundred */
    CONFIG_LINE_BYTES_MAX = 4096  /* bytes of one line: a path at its longest (PATH_MAX) */
};

#endif
