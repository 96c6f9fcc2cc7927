/* Every maximum the program has, with its unit and its reason. A loop over outside data is bounded by one of these;
 * an error about one names it. Tests try limit - 1, limit, limit + 1. */
#ifndef HEARTH_BASE_LIMITS_H
#define HEARTH_BASE_LIMITS_H

enum {
    THREADS_MAX = 256,            /* threads in one team; larger machines run several engines */
    CPUS_MAX = 1024,              /* numbers of processors: what a cpu_set_t of the C library holds */
    UTF8_BYTES_MAX = 4,           /* bytes of one character */
    LAYERS_MAX = 1024,            /* layers of a model; the deepest published ones have under 200 */
    HEADS_MAX = 1024,             /* query heads of a layer */
    HEAD_DIM_MAX = 1024,          /* values of one head; published: 64 to 576 */
    WIDTH_MAX = 1 << 17,          /* residual width; published: up to 18,432 */
    FFN_WIDTH_MAX = 1 << 20,      /* inner width of a feed-forward block */
    VOCAB_MAX = 1 << 21,          /* tokens of a vocabulary; published: up to 262,400 */
    CTX_TOK_MAX = 1 << 24,        /* positions of one sequence: above it (float)position is not exact */
    BATCH_TOK_MAX = 4096,         /* tokens of one step of the graph */
    EXPERTS_MAX = 1024,           /* experts of a layer; published: up to 512 */
    EXPERTS_USED_MAX = 64,        /* experts of one token; published: up to 22 */
    CONFIG_LINES_MAX = 10000,     /* lines of one configuration file; a long policy has some hundred */
    CONFIG_LINE_BYTES_MAX = 4096, /* bytes of one line: a path at its longest (PATH_MAX) */

    GGUF_KEYS_MAX = 1 << 16,         /* metadata pairs of one file; published files have under 100 */
    GGUF_KEY_BYTES_MAX = 65535,      /* bytes of a metadata key: the format's own limit */
    GGUF_TENSORS_MAX = 1 << 17,      /* tensors of a model, all files together; published: up to 40,000 */
    GGUF_NAME_BYTES_MAX = 64,        /* bytes of a tensor's name: the format's own limit */
    GGUF_DIMS_MAX = 4,               /* dimensions of a tensor: the format's own limit */
    GGUF_STRING_BYTES_MAX = 1 << 28, /* bytes of one string; some files carry a whole tokenizer description in one */
    GGUF_ARRAY_MAX = 1 << 26,        /* items of an array at any depth; merges of large vocabularies have 450,000 */
    GGUF_NESTING_MAX = 4,            /* arrays inside arrays; no published file nests at all */
    GGUF_ALIGNMENT_MAX = 1 << 16,    /* bytes between tensors: the largest page of a machine we run on */
    GGUF_SHARDS_MAX = 1024,          /* files of one split model; published: up to 200 */

    JSON_BYTES_MAX = 1 << 26,     /* bytes of one JSON text: a source range fits in 32 bits, a request in memory */
    JSON_DEPTH_MAX = 128,         /* open arrays and objects; schemas and requests seen in the wild stay under 40 */
    JSON_VALUES_MAX = 1 << 21,    /* values of one text, 72 bytes each in the arena: 150 MB at the most */
    JSON_MEMBERS_MAX = 1 << 17,   /* members of one object: larger ones are tables and belong in arrays */
    JSON_NUMBER_BYTES_MAX = 1024, /* characters of one number: f64 needs 767 digits at the most to be exact */

    STOPS_MAX = 64,        /* stop texts of one answer: each is looked for after every token */
    STOP_BYTES_MAX = 1024, /* bytes of one: so many bytes of an answer may be held back */

    TOKEN_BYTES_MAX = 1024,          /* bytes of one token's text; published: up to 512 (256 blanks, two bytes each) */
    VOCAB_BYTES_MAX = (1 << 28) - 1, /* bytes of all token texts together: trie nodes are 28 bits (trie.h) */
    MERGES_MAX = (1 << 22) - 1,      /* merges of a vocabulary; published: up to 450,000 (packed into 22 bits, bpe.c) */
    MERGE_BYTES_MAX = 65535, /* bytes of one merge's text in an image: its length is 16 bits; two tokens need 2,049 */
    CHARSMAP_BYTES_MAX = 1 << 24, /* bytes of a normalization map; SentencePiece's largest has 320,000 */
    REPLACEMENT_BYTES_MAX = 256,  /* bytes one match of a normalization map becomes; in NFKC at most 33 */
    TRAIN_WORD_BYTES_MAX = 256, /* bytes of a word that a vocabulary is made from: longer ones are data, not language */
    TRAIN_CONTROLS_MAX = 4096,  /* control tokens of a vocabulary we make; published: up to 1,008 */
    TEXT_BYTES_MAX = 1 << 28,   /* bytes of one text to tokenize: positions stay in 32 bits with room to grow */

    TEMPLATE_BYTES_MAX = 1 << 20, /* bytes of a chat template; published: up to 17 thousand */
    TEMPLATE_NEST_MAX = 100,      /* open blocks, brackets and operators while parsing; published: under 30 */
    TEMPLATE_DEPTH_MAX = 1000,    /* expressions and blocks inside each other while rendering, macro calls included */
    TEMPLATE_STEPS_MAX =
        1 << 20, /* parts of a template evaluated in one rendering: under 100 ms; 50 turns need 20,000 */
    TEMPLATE_OUTPUT_MAX = 1 << 23, /* bytes of a rendered prompt: over 2 million tokens */
    TEMPLATE_MEMORY_MAX = 1 << 25, /* bytes of values one rendering may take */
    TEMPLATE_VALUE_DEPTH_MAX = 64, /* lists and objects inside each other where values are printed or compared */
    TEMPLATE_ARGS_MAX = 64,        /* arguments of one call */
    REPLY_HELD_MAX = 1 << 20,      /* bytes of a reply that wait for a decision: the longest tool call */
    REPLY_NAME_MAX = 128,          /* bytes of a tool's name, a call's id, a parameter's name */
    REPLY_PARAMS_MAX = 128,        /* parameters of one tagged call */
    REPLY_BLANKS_MAX = 4096,       /* white space held back because a marker may follow it */
    REPLY_MARKER_MAX = 64          /* bytes of one marker: a bit each says whether it must be of a control token */
};

/* Processes and what joins them. */
enum {
    RING_BYTES_MAX = 1 << 28,         /* bytes of one ring's data: more waits in the sender, where it is counted */
    RING_MESSAGE_BYTES_MAX = 1 << 26, /* bytes of one message: a prompt of CTX_TOK_MAX tokens, four bytes each */
    JAIL_FDS_MAX = 64,   /* descriptors handed to one process: sockets of a front door, two files of a packer */
    JAIL_RINGS_MAX = 128, /* ring ends held by one process: a front door has six for each model */
    JAIL_CHECKS_MAX = 3, /* arguments of one system call that a filter looks at */
    JAIL_FILTER_MAX =
        512 /* instructions of one seccomp filter: the widest profile makes under 100, the kernel takes 4096 */
};

/* Answers to a form. Over a limit a schema is refused; while an answer is made a way that would pass one is not
 * taken. */
enum {
    GRAMMAR_TABLE_BYTES_MAX = 1 << 25, /* bytes of one table; 100 tools of a client make under 2 MB */
    GRAMMAR_STATES_MAX = 1 << 20,      /* states of all spans of a table; an enum of 10,000 names makes 80,000 */
    GRAMMAR_NODES_MAX = 1 << 18,       /* nodes of a table's network */
    GRAMMAR_DFA_STATES_MAX = 8192,     /* states of one automaton while it is made: a pattern, a number's range */
    GRAMMAR_NFA_STATES_MAX = 1 << 16,  /* states of one regular expression before that; a{1,5000} makes 10,000 */
    GRAMMAR_PATTERN_BYTES_MAX = 4096,  /* bytes of one regular expression */
    GRAMMAR_GOALS_MAX = 1 << 15,       /* different conjunctions of schemas that values of one answer must meet */
    GRAMMAR_SHAPES_MAX = 256,          /* alternatives of one of them, written out: anyOf of anyOf multiplies */
    GRAMMAR_STEPS_MAX = 1 << 21,       /* parts of a schema looked at while compiling: about a second */
    GRAMMAR_MEMBERS_MAX = 256,         /* listed members of one object: a bit each in a frame of the walk */
    GRAMMAR_ITEMS_MAX = 1 << 14,       /* positions of an array that are told apart: prefixItems, minItems, maxItems */
    GRAMMAR_ENUM_MAX = 1 << 16,        /* values of one enum */
    GRAMMAR_DEPTH_MAX = 120,           /* frames inside each other: nested values of an answer, calls of rules */
    GRAMMAR_NAME_BYTES_MAX = 64,       /* bytes of a rule's name in a grammar */
    GRAMMAR_TEXT_BYTES_MAX = 1 << 20,  /* bytes of a grammar's text */
    GRAMMAR_TOOLS_MAX = 1024           /* tools of one request */
};

/* The server's front door. */
enum {
    HTTP_HEAD_BYTES_MAX = 16384, /* bytes of a request line and its headers; clients send under 3,000 */
    HTTP_HEADERS_MAX = 64,       /* headers of one request; clients send under 30 */
    HTTP_CHUNK_LINE_MAX = 256,   /* bytes of a chunk's size line with its extensions, which nobody sends */
    HTTP_TRAILER_BYTES_MAX = 4096,    /* bytes behind the last chunk; read and dropped */
    HTTP_BODY_BYTES_MAX = 1 << 25,    /* bytes of a request: the largest prompt is under a quarter of it */
    HTTP_BODIES_BYTES_MAX = 1 << 28,  /* bytes of requests that have not come to their end, all clients together */
    HTTP_UNSENT_BYTES_MAX = 1 << 22,  /* bytes that a client has not taken: above it, it is let go */
    HTTP_WHOLE_BYTES_MAX = 1 << 27,   /* bytes of an answer that goes out whole: 2,048 embeddings of 4,096 values */
    HTTP_CLIENTS_MAX = 16384,         /* connections open at once; less where descriptors are fewer */
    HTTP_LISTENERS_MAX = 32,          /* sockets that clients come in by: addresses, and one a user */

    ASK_MESSAGES_MAX = 4096,     /* messages of one conversation, as the command line's */
    ASK_TOOLS_MAX = 512,         /* tools of one request; seen: 120 */
    ASK_CHOICES_MAX = 16,        /* answers to one prompt (n) */
    ASK_INPUTS_MAX = 2048,       /* texts of one embeddings request: OpenAI's own limit */
    ASK_LOGPROBS_MAX = 20,       /* rivals reported for each token: OpenAI's own limit */
    ASK_BIASES_MAX = 1024,       /* entries of logit_bias: OpenAI's limit is 300 */
    ASK_NAME_BYTES_MAX = 256,    /* bytes of a model's name */
    ASKS_MAX = 4096,             /* requests inside at once, waiting ones too */
    ANSWER_BYTES_MAX = 1 << 24,  /* bytes of one answer that is kept to be sent whole */
    ANSWER_CALLS_MAX = 256,      /* tool calls of one answer */
    SERVER_MODELS_MAX = 20,      /* models one server knows, loaded or not: each has rings in the front door */
    SERVER_KEYS_MAX = 4096,      /* keys of one server */
    SERVER_NAME_BYTES_MAX = 64   /* bytes of a key's or a principal's name */
};

/* ---- processes that hang ---- */
enum {
    SERVICE_SILENT_MS = 30000, /* milliseconds a worker with work may be silent before somebody looks at it; a token of
                                  the largest model on a small board takes seconds, a chunk of its prompt minutes */
    CREW_BUSY_LOOKS_MAX = 120  /* such looks in a row at a worker that computes and says nothing: an hour */
};

#endif
