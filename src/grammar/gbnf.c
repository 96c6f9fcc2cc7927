/* Grammars in GBNF, the notation of llama.cpp's --grammar: rules `name ::= alternatives` of literals, classes of
 * characters, `.`, other rules and groups, repeated by * + ? {m} {m,} {m,n}; # begins a comment. A rule ends where the
 * next one begins. The answer is the rule `root`.
 *
 * What does not come back to itself is regular and becomes a span; what does becomes nodes. Left recursion has no first
 * byte to decide by: refused, with the rule's name. References to tokens (<...>) are refused as well. */
#include "grammar/build.h"
#include "grammar/regex.h"

#include "base/utf8.h"

#include <assert.h>

enum {
    RULES_MAX = 4096,
    NEST_MAX = 32,
    RANGES_MAX = 1024,
    REPEAT_MAX = 10000,
    INLINE_WEIGHT = 2000,
    TEXT_MAX = 1024,
    CHAIN_MAX = 100 /* rules inside each other, where the reader itself goes down with them */
};

struct rule {
    view name;
    const struct regex *body; /* NULL: named, not defined */
    size_t at;                /* where it was named first */
    uint32_t node;
    uint32_t weight; /* parts once everything is put in; INLINE_WEIGHT + 1: too many, or it comes back to itself */
    uint8_t mark;    /* 1: being looked at, 2: done */
    bool nullable;
};

struct gbnf {
    view all;
    size_t at;
    unsigned depth;
    arena *a;
    err *e;
    struct rule *rules;
    uint32_t rule_count;
    struct regex_range *ranges;
    build b;
};

/* ---- reading ---- */

static bool bad(struct gbnf *g, enum err_code code, const char *what)
{
    size_t line = 1;
    for (size_t i = 0; i < g->at && i < g->all.len_bytes; i++) line += g->all.ptr[i] == '\n';
    return fail(g->e, code, g->at, "grammar, line %zu: %s", line, what);
}

static int peek(const struct gbnf *g)
{
    return g->at < g->all.len_bytes ? g->all.ptr[g->at] : -1;
}

static bool take(struct gbnf *g, const char *text)
{
    if (!view_starts(view_after(g->all, g->at), view_of(text))) return false;
    g->at += strlen(text);
    return true;
}

static void skip(struct gbnf *g)
{
    for (int c; (c = peek(g)) == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '#';) {
        if (c == '#')
            while (peek(g) >= 0 && peek(g) != '\n') g->at++;
        else g->at++;
    }
}

static bool is_name(int c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '-' || c == '_';
}

static view take_name(struct gbnf *g)
{
    size_t first = g->at;
    while (is_name(peek(g))) g->at++;
    return (view){ g->all.ptr + first, g->at - first };
}

/* Does a rule begin here? */
static bool at_rule(struct gbnf *g)
{
    size_t at = g->at;
    view name = take_name(g);
    skip(g);
    bool rule = name.len_bytes > 0 && view_starts(view_after(g->all, g->at), view_of("::="));
    g->at = at;
    return rule;
}

static bool find_rule(struct gbnf *g, view name, uint32_t *index)
{
    for (*index = 0; *index < g->rule_count; ++*index)
        if (view_equal(g->rules[*index].name, name)) return true;
    if (name.len_bytes > GRAMMAR_NAME_BYTES_MAX) return bad(g, ERR_LIMIT, "a rule's name of more than 64 bytes");
    if (g->rule_count == RULES_MAX) return bad(g, ERR_LIMIT, "more than 4096 rules");
    g->rules[g->rule_count++] = (struct rule){ .name = name, .at = g->at - name.len_bytes };
    return true;
}

static bool take_hex(struct gbnf *g, unsigned digits, uint32_t *code)
{
    *code = 0;
    for (unsigned i = 0; i < digits; i++, g->at++) {
        int c = peek(g), low = c | 32;
        if (!(c >= '0' && c <= '9') && !(low >= 'a' && low <= 'f')) return bad(g, ERR_VALUE, "not a hexadecimal digit");
        *code = *code * 16 + (uint32_t)(c <= '9' ? c - '0' : low - 'a' + 10);
    }
    if (*code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff)) return bad(g, ERR_VALUE, "no character");
    return true;
}

static bool take_char(struct gbnf *g, uint32_t *code)
{
    static const char PLAIN[][2] = { "n\n", "t\t", "r\r", "\\\\", "\"\"", "[[", "]]", "^^", "--" };
    size_t len;
    if (peek(g) < 0) return bad(g, ERR_TRUNCATED, "ends inside of a literal or class");
    if (take(g, "\\")) {
        if (take(g, "x")) return take_hex(g, 2, code);
        if (take(g, "u")) return take_hex(g, 4, code);
        if (take(g, "U")) return take_hex(g, 8, code);
        for (size_t i = 0; i < sizeof PLAIN / sizeof *PLAIN; i++)
            if (peek(g) == PLAIN[i][0]) return g->at++, *code = (uint8_t)PLAIN[i][1], true;
        return bad(g, ERR_VALUE, "an unknown escape");
    }
    *code = utf8_next(view_after(g->all, g->at), &len);
    if (*code == UTF8_INVALID) return bad(g, ERR_VALUE, "no UTF-8");
    g->at += len;
    return true;
}

/* Parts in a row, joined in halves: what reads the tree goes down a few levels, however long the row. */
struct part {
    const struct regex *r;
    struct part *next;
};

struct parts {
    struct part *first, **last;
    uint32_t count;
};

static bool parts_add(struct gbnf *g, struct parts *p, const struct regex *r)
{
    struct part *one = r == NULL ? NULL : ARENA_ARRAY(g->a, struct part, 1, "grammar", g->e);
    if (one == NULL) return false;
    one->r = r;
    if (p->count++ == 0) p->first = one;
    else *p->last = one;
    p->last = &one->next;
    return true;
}

static const struct regex *parts_join(struct gbnf *g, enum regex_op op, struct part **at, uint32_t count)
{
    if (count == 0) return regex_new(REGEX_EMPTY, NULL, NULL, g->a, g->e);
    if (count == 1) {
        const struct regex *one = (*at)->r;
        *at = (*at)->next;
        return one;
    }
    const struct regex *left = parts_join(g, op, at, count / 2);
    const struct regex *right = left == NULL ? NULL : parts_join(g, op, at, count - count / 2);
    return right == NULL ? NULL : regex_new(op, left, right, g->a, g->e);
}

static const struct regex *take_literal(struct gbnf *g)
{
    struct parts all = { 0 };
    uint32_t code;
    while (!take(g, "\"")) {
        if (all.count == TEXT_MAX) return bad(g, ERR_LIMIT, "a literal of more than 1024 characters"), NULL;
        if (!take_char(g, &code)) return NULL;
        if (!parts_add(g, &all, regex_chars(&(struct regex_range){ code, code }, 1, g->a, g->e))) return NULL;
    }
    return parts_join(g, REGEX_CAT, &all.first, all.count);
}

static const struct regex *take_class(struct gbnf *g)
{
    bool negate = take(g, "^");
    uint32_t count = 0, lo, hi;
    while (!take(g, "]")) {
        if (!take_char(g, &lo)) return NULL;
        hi = lo;
        if (peek(g) == '-' && g->at + 1 < g->all.len_bytes && g->all.ptr[g->at + 1] != ']') {
            g->at++;
            if (!take_char(g, &hi)) return NULL;
        }
        if (hi < lo) return bad(g, ERR_VALUE, "a range that ends before it begins"), NULL;
        if (count == RANGES_MAX) return bad(g, ERR_LIMIT, "a class of more than 1024 ranges"), NULL;
        g->ranges[count++] = (struct regex_range){ lo, hi };
    }
    return regex_chars(g->ranges, regex_ranges_settle(g->ranges, count, negate), g->a, g->e);
}

static const struct regex *take_alternatives(struct gbnf *g, bool inner);

static const struct regex *take_atom(struct gbnf *g)
{
    static const struct regex_range ALL = { 0, 0x10ffff };
    uint32_t index;
    if (take(g, "\"")) return take_literal(g);
    if (take(g, "[")) return take_class(g);
    if (take(g, ".")) return regex_chars(&ALL, 1, g->a, g->e);
    if (take(g, "(")) {
        if (++g->depth > NEST_MAX) return bad(g, ERR_LIMIT, "nests more than 32 deep"), NULL;
        const struct regex *inner = take_alternatives(g, true);
        g->depth--;
        if (inner != NULL && !take(g, ")")) return bad(g, ERR_VALUE, "a ( without its )"), NULL;
        return inner;
    }
    if (peek(g) == '<' || peek(g) == '!')
        return bad(g, ERR_UNSUPPORTED, "a token by its name or id is not supported"), NULL;
    view name = take_name(g);
    if (name.len_bytes == 0) return bad(g, ERR_VALUE, "neither a literal, a class, a rule nor a group"), NULL;
    struct regex *r = regex_new(REGEX_RULE, NULL, NULL, g->a, g->e);
    if (r == NULL || !find_rule(g, name, &index)) return NULL;
    r->rule = index;
    return r;
}

static bool take_number(struct gbnf *g, uint32_t *out)
{
    size_t first = g->at;
    for (*out = 0; peek(g) >= '0' && peek(g) <= '9'; g->at++) {
        *out = *out * 10 + (uint32_t)(peek(g) - '0');
        if (*out > REPEAT_MAX) return bad(g, ERR_LIMIT, "a repeat of more than 10000");
    }
    return g->at > first || bad(g, ERR_VALUE, "a repeat without a number");
}

/* An atom and what repeats it, perhaps over and over. */
static const struct regex *take_repeated(struct gbnf *g)
{
    const struct regex *one = take_atom(g);
    for (unsigned times = 0; one != NULL; times++) {
        uint32_t least = 0, most = REGEX_MANY;
        skip(g);
        if (take(g, "*")) {
        } else if (take(g, "+")) {
            least = 1;
        } else if (take(g, "?")) {
            most = 1;
        } else if (take(g, "{")) {
            skip(g);
            if (!take_number(g, &least)) return NULL;
            most = least;
            skip(g);
            if (take(g, ",")) {
                most = REGEX_MANY;
                skip(g);
                if (peek(g) != '}' && !take_number(g, &most)) return NULL;
                skip(g);
            }
            if (!take(g, "}") || most < least) return bad(g, ERR_VALUE, "a { that is no repeat"), NULL;
        } else {
            return one;
        }
        if (times == 8) return bad(g, ERR_LIMIT, "more than 8 repeats of one another"), NULL;
        struct regex *r = regex_new(REGEX_REPEAT, one, NULL, g->a, g->e);
        if (r == NULL) return NULL;
        r->least = least;
        r->most = most;
        one = r;
    }
    return NULL;
}

static const struct regex *take_sequence(struct gbnf *g, bool inner)
{
    struct parts all = { 0 };
    for (;;) {
        skip(g);
        int c = peek(g);
        if (c < 0 || c == '|' || (inner && c == ')') || (!inner && at_rule(g))) break;
        if (all.count == TEXT_MAX) return bad(g, ERR_LIMIT, "a sequence of more than 1024 parts"), NULL;
        if (!parts_add(g, &all, take_repeated(g))) return NULL;
    }
    return parts_join(g, REGEX_CAT, &all.first, all.count);
}

static const struct regex *take_alternatives(struct gbnf *g, bool inner)
{
    struct parts all = { 0 };
    do {
        if (all.count == TEXT_MAX) return bad(g, ERR_LIMIT, "more than 1024 alternatives"), NULL;
        if (!parts_add(g, &all, take_sequence(g, inner))) return NULL;
    } while (take(g, "|"));
    return parts_join(g, REGEX_ALT, &all.first, all.count);
}

static bool take_rules(struct gbnf *g)
{
    for (skip(g); peek(g) >= 0; skip(g)) {
        uint32_t index;
        if (!at_rule(g)) return bad(g, ERR_VALUE, "a rule (name ::= ...) is wanted here");
        if (!find_rule(g, take_name(g), &index)) return false;
        if (g->rules[index].body != NULL) return bad(g, ERR_VALUE, "this rule is defined twice");
        skip(g);
        take(g, "::=");
        const struct regex *body = take_alternatives(g, false);
        if (body == NULL) return false;
        g->rules[index].body = body;
    }
    for (uint32_t i = 0; i < g->rule_count; i++) {
        g->at = g->rules[i].at;
        if (g->rules[i].body == NULL) return bad(g, ERR_VALUE, "this rule is used here and defined nowhere");
    }
    return true;
}

/* ---- what the rules are ---- */

static uint32_t weight_add(uint32_t a, uint32_t b)
{
    return a + b > INLINE_WEIGHT ? INLINE_WEIGHT + 1 : a + b;
}

static bool rule_weight(struct gbnf *g, uint32_t index, unsigned depth);

/* Parts of a tree once all rules are put in. */
static bool weigh(struct gbnf *g, const struct regex *r, unsigned depth, uint32_t *weight)
{
    uint32_t left = 0, right = 0;
    if (r->left != NULL && !weigh(g, r->left, depth, &left)) return false;
    if (r->right != NULL && !weigh(g, r->right, depth, &right)) return false;
    *weight = weight_add(left, right);
    if (r->op == REGEX_CHARS) *weight = 1 + r->range_count / 4;
    if (r->op == REGEX_RULE) {
        if (!rule_weight(g, r->rule, depth + 1)) return false;
        *weight = g->rules[r->rule].weight;
    }
    if (r->op == REGEX_REPEAT) {
        uint64_t times = r->most == REGEX_MANY ? r->least + 1ull : r->most;
        *weight = left * times > INLINE_WEIGHT ? INLINE_WEIGHT + 1 : (uint32_t)(left * times);
    }
    return true;
}

static bool rule_weight(struct gbnf *g, uint32_t index, unsigned depth)
{
    struct rule *rule = &g->rules[index];
    if (rule->mark == 2) return true;
    if (rule->mark == 1 || depth > CHAIN_MAX)
        return rule->weight = INLINE_WEIGHT + 1, true; /* it comes back to itself */
    rule->mark = 1;
    uint32_t weight;
    if (!weigh(g, rule->body, depth, &weight)) return false;
    if (rule->weight <= INLINE_WEIGHT) rule->weight = weight;
    rule->mark = 2;
    return true;
}

/* Every reference replaced by its rule: regular, because none of them is heavy. */
static const struct regex *put_in(struct gbnf *g, const struct regex *r)
{
    if (r->op == REGEX_RULE) return put_in(g, g->rules[r->rule].body);
    if (r->left == NULL && r->right == NULL) return r;
    struct regex *copy = regex_new(r->op, NULL, NULL, g->a, g->e);
    if (copy == NULL) return NULL;
    copy->least = r->least;
    copy->most = r->most;
    copy->left = put_in(g, r->left);
    if (r->right != NULL) copy->right = put_in(g, r->right);
    return copy->left == NULL || (r->right != NULL && copy->right == NULL) ? NULL : copy;
}

static bool nullable(const struct gbnf *g, const struct regex *r)
{
    switch (r->op) {
    case REGEX_EMPTY:
        return true;
    case REGEX_CAT:
        return nullable(g, r->left) && nullable(g, r->right);
    case REGEX_ALT:
        return nullable(g, r->left) || nullable(g, r->right);
    case REGEX_REPEAT:
        return r->least == 0 || nullable(g, r->left);
    case REGEX_RULE:
        return g->rules[r->rule].nullable;
    default:
        return false;
    }
}

/* Can this begin, without a byte, with a rule that is being looked at? */
static bool left_recursion(struct gbnf *g, const struct regex *r, unsigned depth)
{
    if (r->op == REGEX_CAT)
        return left_recursion(g, r->left, depth) && (!nullable(g, r->left) || left_recursion(g, r->right, depth));
    if (r->op == REGEX_ALT) return left_recursion(g, r->left, depth) && left_recursion(g, r->right, depth);
    if (r->op == REGEX_REPEAT) return left_recursion(g, r->left, depth);
    if (r->op != REGEX_RULE) return true;
    struct rule *rule = &g->rules[r->rule];
    if (rule->mark == 4) return true;
    g->at = rule->at;
    if (rule->mark == 3) return bad(g, ERR_UNSUPPORTED, "left recursion: this rule begins with itself");
    if (depth > CHAIN_MAX) return bad(g, ERR_LIMIT, "more than 100 rules begin with one another");
    rule->mark = 3;
    if (!left_recursion(g, rule->body, depth + 1)) return false;
    rule->mark = 4;
    return true;
}

static bool study(struct gbnf *g)
{
    for (uint32_t i = 0; i < g->rule_count; i++)
        if (!rule_weight(g, i, 0)) return false;
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < g->rule_count; i++) {
            bool now = nullable(g, g->rules[i].body);
            changed = changed || now != g->rules[i].nullable;
            g->rules[i].nullable = now;
        }
    }
    for (uint32_t i = 0; i < g->rule_count; i++) {
        struct regex start = { .op = REGEX_RULE, .rule = i };
        if (!left_recursion(g, &start, 0)) return false;
    }
    return true;
}

/* ---- nodes ---- */

static bool dfa_step(const void *ctx, const uint32_t *from, uint8_t byte, uint32_t *to)
{
    const struct dfa *d = ctx;
    to[0] = d->next[from[0]][byte];
    return to[0] != 0;
}

static uint16_t dfa_label(const void *ctx, const uint32_t *at)
{
    return ((const struct dfa *)ctx)->final[at[0]] ? 0 : LABEL_NONE;
}

static bool span_node(struct gbnf *g, const struct regex *r, uint32_t next, uint32_t *node)
{
    struct dfa d;
    uint32_t start = 1, state;
    const struct regex *whole = put_in(g, r);
    if (whole == NULL || !regex_dfa(whole, false, "grammar", &d, g->a, &g->b.scratch, g->e)) return false;
    struct machine m = { .ctx = &d,
                         .words = 1,
                         .step = dfa_step,
                         .label = dfa_label,
                         .states_max = GRAMMAR_DFA_STATES_MAX,
                         .what = "grammar" };
    return span_machine(&g->b, &m, &start, &state) &&
           build_node(&g->b, (struct table_node){ .op = NODE_SPAN, .a = state, .b = next }, node);
}

static bool choice_node(struct gbnf *g, uint32_t a, uint32_t b, uint32_t *node)
{
    uint32_t links;
    if (!build_links(&g->b, 2, &links)) return false;
    g->b.links[links] = a;
    g->b.links[links + 1] = b;
    return build_node(&g->b, (struct table_node){ .op = NODE_CHOICE, .a = links, .count = 2 }, node);
}

static bool emit(struct gbnf *g, const struct regex *r, uint32_t next, uint32_t *node);

static bool emit_repeat(struct gbnf *g, const struct regex *r, uint32_t next, uint32_t *node)
{
    uint32_t at = next, body;
    if (r->most == REGEX_MANY) {
        if (!choice_node(g, next, next, &at) || !emit(g, r->left, at, &body)) return false;
        g->b.links[g->b.nodes[at].a] = body;
    } else {
        for (uint32_t i = r->least; i < r->most; i++)
            if (!emit(g, r->left, at, &body) || !choice_node(g, body, next, &at)) return false;
    }
    for (uint32_t i = 0; i < r->least; i++)
        if (!emit(g, r->left, at, &at)) return false;
    *node = at;
    return true;
}

/* `r`, then `next`. */
static bool emit(struct gbnf *g, const struct regex *r, uint32_t next, uint32_t *node)
{
    uint32_t weight, left, right;
    if (!weigh(g, r, 0, &weight)) return false;
    if (r->op == REGEX_EMPTY) return *node = next, true;
    if (weight <= INLINE_WEIGHT) return span_node(g, r, next, node);
    switch (r->op) {
    case REGEX_CAT:
        return emit(g, r->right, next, &right) && emit(g, r->left, right, node);
    case REGEX_ALT:
        return emit(g, r->left, next, &left) && emit(g, r->right, next, &right) && choice_node(g, left, right, node);
    case REGEX_REPEAT:
        return emit_repeat(g, r, next, node);
    case REGEX_RULE:
        return build_node(&g->b, (struct table_node){ .op = NODE_CALL, .a = g->rules[r->rule].node, .b = next }, node);
    default:
        return span_node(g, r, next, node); /* one class of very many ranges */
    }
}

static bool emit_rules(struct gbnf *g)
{
    for (uint32_t i = 0; i < g->rule_count; i++) /* places first: rules name each other */
        if (!build_node(&g->b, (struct table_node){ .op = NODE_NEVER }, &g->rules[i].node)) return false;
    for (uint32_t i = 0; i < g->rule_count; i++) {
        uint32_t body, links;
        struct regex whole = { .op = REGEX_RULE, .rule = i };
        bool light = g->rules[i].weight <= INLINE_WEIGHT;
        if (!emit(g, light ? &whole : g->rules[i].body, BUILD_RETURN, &body) || !build_links(&g->b, 1, &links))
            return false;
        g->b.links[links] = body;
        g->b.nodes[g->rules[i].node] = (struct table_node){ .op = NODE_CHOICE, .a = links, .count = 1 };
    }
    return true;
}

static bool compile(struct gbnf *g, const struct grammar_options *set, view *table, struct grammar_notes *notes)
{
    uint32_t root;
    g->rules = ARENA_ARRAY(g->a, struct rule, RULES_MAX, "grammar", g->e);
    g->ranges = ARENA_ARRAY(g->a, struct regex_range, RANGES_MAX + 1, "grammar", g->e);
    if (g->rules == NULL || g->ranges == NULL || !take_rules(g)) return false;
    uint32_t count = g->rule_count;
    if (!find_rule(g, view_of("root"), &root)) return false;
    if (root == count) return fail(g->e, ERR_MISSING, 0, "grammar: no rule is named root");
    if (!study(g) || !emit_rules(g)) return false;
    root = g->rules[root].node;
    return (set == NULL || !set->behind_text || build_behind(&g->b, set, root, &root)) &&
           build_finish(&g->b, root, table, notes, g->e);
}

bool grammar_from_gbnf(view text, const struct grammar_options *set, arena *a, view *table, struct grammar_notes *notes,
                       err *e)
{
    struct gbnf g = { .all = text, .a = &g.b.inner, .e = e };
    if (notes != NULL) *notes = (struct grammar_notes){ 0 };
    if (text.len_bytes > GRAMMAR_TEXT_BYTES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "grammar: %zu bytes, allowed 0..%d", text.len_bytes,
                    GRAMMAR_TEXT_BYTES_MAX);
    bool good = build_start(&g.b, 0, a, e) && compile(&g, set, table, notes);
    build_close(&g.b);
    return good;
}
