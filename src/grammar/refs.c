/* References inside one document (JSON Schema 2020-12 Core, sections 8.2 and 9): $id changes the base, $anchor and
 * $dynamicAnchor name a place, a fragment is a name or a JSON pointer. Nothing outside of the document is ever looked
 * for. $dynamicRef is a plain reference where one place alone has the name; where several have, which one is meant
 * depends on the way the evaluation took, and that is refused. */
#include "grammar/compile.h"

#include <string.h>

struct resource {
    view uri;    /* absolute or not, without fragment; empty for the document */
    view anchor; /* empty: the resource itself */
    const json_value *schema;
    bool dynamic;
};

enum { RESOURCES_MAX = 4096, URI_BYTES_MAX = 2048 };

/* ---- URIs (RFC 3986, section 5.2, the part that documents use) ---- */

static bool has_scheme(view uri)
{
    for (size_t i = 0; i < uri.len_bytes; i++) {
        if (uri.ptr[i] == ':') return i > 0;
        if (uri.ptr[i] == '/' || uri.ptr[i] == '?' || uri.ptr[i] == '#') return false;
    }
    return false;
}

static size_t find_byte(view v, uint8_t byte, size_t from)
{
    for (size_t i = from; i < v.len_bytes; i++)
        if (v.ptr[i] == byte) return i;
    return v.len_bytes;
}

/* Where the path begins: behind scheme and authority. */
static size_t path_begin(view base)
{
    size_t at = has_scheme(base) ? find_byte(base, ':', 0) + 1 : 0;
    if (at + 1 < base.len_bytes && base.ptr[at] == '/' && base.ptr[at + 1] == '/') at = find_byte(base, '/', at + 2);
    return at;
}

/* `ref`, which has no fragment, seen from `base`. */
static bool uri_join(struct compiler *c, view base, view ref, view *out)
{
    if (ref.len_bytes == 0) return *out = base, true;
    if (has_scheme(ref)) return *out = ref, true;
    size_t path = path_begin(base), keep = path;
    if (ref.ptr[0] != '/')
        for (size_t i = path; i < base.len_bytes; i++)
            if (base.ptr[i] == '/') keep = i + 1;
    bool slash = ref.ptr[0] != '/' && keep == path && path > 0 && base.ptr[path - 1] != '/' &&
                 base.ptr[path - 1] != ':';
    uint8_t *uri = ARENA_ARRAY(c->a, uint8_t, base.len_bytes + ref.len_bytes + 2, "reference", c->e);
    if (uri == NULL) return false;
    if (keep > 0) memcpy(uri, base.ptr, keep);
    size_t len = keep;
    if (slash) uri[len++] = '/';
    while (ref.len_bytes >= 2 && ref.ptr[0] == '.') {
        bool up = view_starts(ref, view_of("../"));
        if (!up && !view_starts(ref, view_of("./"))) break;
        ref = view_after(ref, up ? 3 : 2);
        if (!up || len <= path + 1) continue;
        for (len--; len > path + 1 && uri[len - 1] != '/';) len--;
    }
    if (ref.len_bytes > 0) memcpy(uri + len, ref.ptr, ref.len_bytes);
    *out = (view){ uri, len + ref.len_bytes };
    return true;
}

/* ---- the index ---- */

static bool add_resource(struct compiler *c, struct source *s, struct resource r)
{
    if (s->resource_count == RESOURCES_MAX)
        return fail(c->e, ERR_LIMIT, ERR_NO_OFFSET, "schema: more than %d of $id and $anchor", RESOURCES_MAX);
    s->resources[s->resource_count++] = r;
    return true;
}

static view text_of(const json_value *object, const char *name)
{
    const json_value *v = json_get(object, name);
    return v != NULL && v->type == JSON_STRING ? v->text : view_of("");
}

static view without_fragment(view uri)
{
    return (view){ uri.ptr, find_byte(uri, '#', 0) };
}

/* 's': the keyword's value is a schema; 'l': a list or an object of schemas; 0: neither, and what looks like $id in it
 * is not one. */
static char kind_of(view keyword)
{
    static const struct {
        const char *name;
        char kind;
    } ROWS[] = {
        { "not", 's' },
        { "if", 's' },
        { "then", 's' },
        { "else", 's' },
        { "items", 's' },
        { "contains", 's' },
        { "additionalProperties", 's' },
        { "unevaluatedProperties", 's' },
        { "unevaluatedItems", 's' },
        { "propertyNames", 's' },
        { "contentSchema", 's' },
        { "allOf", 'l' },
        { "anyOf", 'l' },
        { "oneOf", 'l' },
        { "prefixItems", 'l' },
        { "properties", 'l' },
        { "patternProperties", 'l' },
        { "dependentSchemas", 'l' },
        { "$defs", 'l' },
        { "definitions", 'l' },
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++)
        if (view_is(keyword, ROWS[i].name)) return ROWS[i].kind;
    return 0;
}

static bool index_value(struct compiler *c, struct source *s, const json_value *v, view base)
{
    if (!step(c)) return false;
    if (v->type == JSON_OBJECT) {
        view id = text_of(v, "$id"), anchor = text_of(v, "$anchor"), dynamic = text_of(v, "$dynamicAnchor");
        if (id.len_bytes > URI_BYTES_MAX)
            return fail(c->e, ERR_LIMIT, ERR_NO_OFFSET, "$id: %zu bytes, allowed 0..%d", id.len_bytes, URI_BYTES_MAX);
        if (id.len_bytes > 0 && id.ptr[0] != '#' &&
            (!uri_join(c, base, without_fragment(id), &base) ||
             !add_resource(c, s, (struct resource){ base, { 0 }, v, false })))
            return false;
        if (anchor.len_bytes > 0 && !add_resource(c, s, (struct resource){ base, anchor, v, false })) return false;
        if (dynamic.len_bytes > 0 && !add_resource(c, s, (struct resource){ base, dynamic, v, true })) return false;
    }
    JSON_EACH(item, v)
    { /* the reader bounds the depth: JSON_DEPTH_MAX */
        char kind = v->type == JSON_OBJECT ? kind_of(item->key) : 0;
        if (kind == 's' && !index_value(c, s, item, base)) return false;
        if (kind != 'l') continue;
        JSON_EACH(inner, item)
        if (!index_value(c, s, inner, base)) return false;
    }
    return true;
}

bool refs_index(struct compiler *c, struct source *s)
{
    /* Room is counted first: most schemas have nothing to index. */
    s->resources = ARENA_ARRAY(c->a, struct resource, RESOURCES_MAX, "schema", c->e);
    view none = { 0 };
    return s->resources != NULL && add_resource(c, s, (struct resource){ none, none, s->root, false }) &&
           index_value(c, s, s->root, none);
}

/* ---- looking up ---- */

static bool holds(const json_value *outer, const json_value *inner)
{
    return outer->offset <= inner->offset && inner->offset < outer->offset + outer->len_bytes;
}

/* The base of a place: the innermost resource around it. */
static view base_of(const struct source *s, const json_value *at)
{
    const struct resource *best = &s->resources[0];
    for (uint32_t i = 0; i < s->resource_count; i++) {
        const struct resource *r = &s->resources[i];
        if (r->anchor.len_bytes == 0 && holds(r->schema, at) && r->schema->len_bytes <= best->schema->len_bytes)
            best = r;
    }
    return best->uri;
}

static const struct resource *find_resource(const struct source *s, view uri, view anchor)
{
    for (uint32_t i = s->resource_count; i-- > 0;) /* the document's own $id wins over the document's empty one */
        if (view_equal(s->resources[i].uri, uri) && view_equal(s->resources[i].anchor, anchor)) return &s->resources[i];
    return NULL;
}

/* %41 and the like. */
static bool unescape(struct compiler *c, view text, view *out)
{
    uint8_t *bytes = ARENA_ARRAY(c->a, uint8_t, text.len_bytes + 1, "reference", c->e);
    size_t len = 0;
    if (bytes == NULL) return false;
    for (size_t i = 0; i < text.len_bytes; i++) {
        unsigned value = 0;
        bool escaped = text.ptr[i] == '%' && i + 2 < text.len_bytes;
        for (size_t j = 1; j <= 2 && escaped; j++) {
            uint8_t digit = text.ptr[i + j];
            bool decimal = digit >= '0' && digit <= '9', letter = (digit | 32) >= 'a' && (digit | 32) <= 'f';
            escaped = decimal || letter;
            value = value * 16 + (unsigned)(decimal ? digit - '0' : (digit | 32) - 'a' + 10);
        }
        bytes[len++] = escaped ? (uint8_t)value : text.ptr[i];
        if (escaped) i += 2;
    }
    *out = (view){ bytes, len };
    return true;
}

static bool only_dynamic(const struct source *s, view anchor)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->resource_count; i++)
        count += s->resources[i].dynamic && view_equal(s->resources[i].anchor, anchor);
    return count <= 1;
}

bool refs_find(struct compiler *c, const struct source *s, const json_value *at, const json_value *ref, bool dynamic,
               const json_value **out)
{
    view text = ref->text, uri, fragment = { 0 };
    if (ref->type != JSON_STRING || text.len_bytes > URI_BYTES_MAX) return invalid(c, s, ref, "no reference");
    if (!uri_join(c, base_of(s, at), without_fragment(text), &uri)) return false;
    if (!unescape(c, view_after(text, find_byte(text, '#', 0) + 1), &fragment)) return false;
    const struct resource *r = find_resource(s, uri, view_of(""));
    bool pointer = fragment.len_bytes > 0 && fragment.ptr[0] == '/';
    if (r == NULL) return refuse(c, s, ref, "refers to another document, which is never fetched");
    if (fragment.len_bytes == 0 || pointer) {
        *out = json_at(r->schema, fragment);
    } else {
        const struct resource *named = find_resource(s, uri, fragment);
        if (named != NULL && named->dynamic && dynamic && !only_dynamic(s, fragment))
            return refuse(c, s, ref, "several schemas have this $dynamicAnchor: which is meant is not known before");
        *out = named != NULL ? named->schema : NULL;
    }
    if (*out == NULL) return invalid(c, s, ref, "refers to nothing in this document");
    return true;
}
