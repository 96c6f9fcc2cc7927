/* Requests as bytes: see http.h. */
#include "server/http.h"

#include "base/checked.h"

#include <assert.h>

/* RFC 9110 5.6.2: what methods and names of headers are made of. */
static bool is_token_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

bool http_same(view a, const char *b)
{
    size_t i = 0;
    while (i < a.len_bytes && b[i] != '\0' && lower(a.ptr[i]) == lower((uint8_t)b[i])) i++;
    return i == a.len_bytes && b[i] == '\0';
}

static view trim(view v)
{
    while (v.len_bytes > 0 && (v.ptr[0] == ' ' || v.ptr[0] == '\t')) v = view_after(v, 1);
    while (v.len_bytes > 0 && (v.ptr[v.len_bytes - 1] == ' ' || v.ptr[v.len_bytes - 1] == '\t')) v.len_bytes--;
    return v;
}

/* The bytes before the first `c`, or all; *rest begins behind it. */
static view cut_at(view v, uint8_t c, view *rest)
{
    const uint8_t *at = v.len_bytes == 0 ? NULL : memchr(v.ptr, c, v.len_bytes);
    size_t len = at == NULL ? v.len_bytes : (size_t)(at - v.ptr);
    *rest = view_after(v, at == NULL ? len : len + 1);
    return (view){ v.ptr, len };
}

bool http_has_word(view list, const char *word)
{
    while (list.len_bytes > 0)
        if (http_same(trim(cut_at(list, ',', &list)), word)) return true;
    return false;
}

view http_header(const struct http_head *head, const char *name)
{
    for (size_t i = 0; i < head->header_count; i++)
        if (http_same(head->headers[i].name, name)) return head->headers[i].value;
    return (view){ NULL, 0 };
}

/* `return refuse(...)`: the status and the reason together. */
#define refuse(status, number, ...) (*(status) = (number), err_set(__VA_ARGS__), HTTP_REFUSED)

/* ---- the request line ---- */

static enum http_result read_target(struct http_head *head, int *status, err *e)
{
    if (head->target.len_bytes == 0 || (head->target.ptr[0] != '/' && !view_is(head->target, "*")))
        return refuse(status, 400, e, ERR_VALUE, ERR_NO_OFFSET, "request line: the target does not begin with /");
    for (size_t i = 0; i < head->target.len_bytes; i++)
        if (head->target.ptr[i] <= ' ' || head->target.ptr[i] >= 0x7f)
            return refuse(status, 400, e, ERR_VALUE, i, "request line: byte %u in the target", head->target.ptr[i]);
    head->path = cut_at(head->target, '?', &head->query);
    return HTTP_GOOD;
}

static enum http_result read_request_line(view line, struct http_head *head, int *status, err *e)
{
    view rest, version;
    head->method = cut_at(line, ' ', &rest);
    head->target = cut_at(rest, ' ', &version);
    bool method_good = head->method.len_bytes > 0;
    for (size_t i = 0; i < head->method.len_bytes; i++) method_good = method_good && is_token_byte(head->method.ptr[i]);
    if (!method_good) return refuse(status, 400, e, ERR_VALUE, 0, "request line: no method");
    bool is_http = version.len_bytes == 8 && view_starts(version, view_of("HTTP/")) && version.ptr[6] == '.' &&
                   version.ptr[5] >= '0' && version.ptr[5] <= '9' && version.ptr[7] >= '0' && version.ptr[7] <= '9';
    if (!is_http) return refuse(status, 400, e, ERR_VALUE, 0, "request line: no HTTP version");
    if (version.ptr[5] != '1')
        return refuse(status, 505, e, ERR_UNSUPPORTED, 0, "HTTP/%c: HTTP/1.1 is spoken here", version.ptr[5]);
    head->minor = version.ptr[7] == '0' ? 0 : 1;
    return read_target(head, status, e);
}

/* ---- headers ---- */

static enum http_result read_header(view line, struct http_head *head, int *status, err *e)
{
    if (head->header_count == HTTP_HEADERS_MAX)
        return refuse(status, 431, e, ERR_LIMIT, ERR_NO_OFFSET, "headers: over %d", HTTP_HEADERS_MAX);
    struct http_header *h = &head->headers[head->header_count];
    h->name = cut_at(line, ':', &h->value);
    bool good = h->name.len_bytes > 0 && h->name.len_bytes < line.len_bytes;
    for (size_t i = 0; i < h->name.len_bytes; i++) good = good && is_token_byte(h->name.ptr[i]);
    if (!good)
        return refuse(status, 400, e, ERR_VALUE, ERR_NO_OFFSET, "header %zu: no name and colon",
                      head->header_count + 1);
    h->value = trim(h->value);
    for (size_t i = 0; i < h->value.len_bytes; i++)
        if ((h->value.ptr[i] < ' ' && h->value.ptr[i] != '\t') || h->value.ptr[i] == 0x7f)
            return refuse(status, 400, e, ERR_VALUE, i, "header %zu: byte %u in its value", head->header_count + 1,
                          h->value.ptr[i]);
    head->header_count++;
    return HTTP_GOOD;
}

static size_t times_given(const struct http_head *head, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < head->header_count; i++) count += http_same(head->headers[i].name, name);
    return count;
}

static bool read_length(view text, uint64_t *out)
{
    *out = 0;
    if (text.len_bytes == 0 || text.len_bytes > 15) return false; /* 15 digits can not overflow */
    for (size_t i = 0; i < text.len_bytes; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') return false;
        *out = *out * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    return true;
}

/* How the body ends. RFC 9112 6.3, and 6.1 on requests that say it twice: those are attacks. */
static enum http_result read_framing(struct http_head *head, int *status, err *e)
{
    view length = http_header(head, "content-length"), coding = http_header(head, "transfer-encoding");
    if (times_given(head, "content-length") > 1 || times_given(head, "transfer-encoding") > 1 ||
        (length.ptr != NULL && coding.ptr != NULL))
        return refuse(status, 400, e, ERR_VALUE, ERR_NO_OFFSET, "headers: the body's length is given twice");
    if (length.ptr != NULL && !read_length(length, &head->length_bytes))
        return refuse(status, 400, e, ERR_VALUE, ERR_NO_OFFSET, "Content-Length: not a number of bytes");
    if (coding.ptr != NULL && (!http_same(coding, "chunked") || head->minor == 0))
        return refuse(status, 501, e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "Transfer-Encoding: only chunked is known");
    head->chunked = coding.ptr != NULL;
    return HTTP_GOOD;
}

static enum http_result read_meanings(struct http_head *head, int *status, err *e)
{
    size_t hosts = times_given(head, "host");
    if (hosts > 1 || (hosts == 0 && head->minor > 0))
        return refuse(status, 400, e, ERR_VALUE, ERR_NO_OFFSET, "Host: given %zu times, once is needed", hosts);
    view connection = http_header(head, "connection"), expect = http_header(head, "expect");
    head->keep_alive = head->minor > 0 ? !http_has_word(connection, "close") : http_has_word(connection, "keep-alive");
    if (expect.ptr != NULL && !http_same(expect, "100-continue"))
        return refuse(status, 417, e, ERR_UNSUPPORTED, ERR_NO_OFFSET, "Expect: only 100-continue is known");
    head->expects_continue = expect.ptr != NULL && head->minor > 0;
    return read_framing(head, status, e);
}

/* The next line without its CR LF. HTTP_MORE where it has no end yet. */
static enum http_result next_line(view bytes, size_t *at, view *line, int *status, err *e)
{
    view rest = view_after(bytes, *at);
    const uint8_t *end = rest.len_bytes == 0 ? NULL : memchr(rest.ptr, '\n', rest.len_bytes);
    if (end == NULL) return HTTP_MORE;
    size_t len = (size_t)(end - rest.ptr);
    *at += len + 1;
    if (len == 0 || rest.ptr[len - 1] != '\r')
        return refuse(status, 400, e, ERR_VALUE, *at - 1, "request: a line ends without CR");
    *line = (view){ rest.ptr, len - 1 };
    return HTTP_GOOD;
}

static enum http_result head_is_open(view bytes, bool in_first_line, int *status, err *e)
{
    if (bytes.len_bytes < HTTP_HEAD_BYTES_MAX) return HTTP_MORE;
    return refuse(status, in_first_line ? 414 : 431, e, ERR_LIMIT, HTTP_HEAD_BYTES_MAX, "%s: over %d bytes",
                  in_first_line ? "request line" : "headers", HTTP_HEAD_BYTES_MAX);
}

enum http_result http_head_read(view bytes, struct http_head *head, size_t *used_bytes, int *status, err *e)
{
    view line, all = { bytes.ptr, min_size(bytes.len_bytes, HTTP_HEAD_BYTES_MAX) };
    size_t at = 0;
    *head = (struct http_head){ 0 };
    /* RFC 9112 2.2: an empty line before a request is what some clients leave behind a body. */
    while (all.len_bytes - at >= 2 && all.ptr[at] == '\r' && all.ptr[at + 1] == '\n' && at < 4) at += 2;
    enum http_result r = next_line(all, &at, &line, status, e);
    if (r == HTTP_MORE) return head_is_open(all, true, status, e);
    if (r == HTTP_GOOD) r = read_request_line(line, head, status, e);
    while (r == HTTP_GOOD) {
        r = next_line(all, &at, &line, status, e);
        if (r == HTTP_MORE) return head_is_open(all, false, status, e);
        if (r != HTTP_GOOD) return r;
        if (line.len_bytes == 0) {
            *used_bytes = at;
            return read_meanings(head, status, e);
        }
        r = read_header(line, head, status, e);
    }
    return r;
}

/* ---- bodies in chunks: RFC 9112 7.1 ---- */

enum { CHUNK_SIZE, CHUNK_SIZE_LF, CHUNK_DATA, CHUNK_DATA_CR, CHUNK_DATA_LF, CHUNK_TRAILER, CHUNK_TRAILER_LF };

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    uint8_t small = lower(c);
    return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

/* One byte of the size line. `blank` is set once the digits have ended: the rest is an extension, which is dropped. */
static bool take_size(struct http_chunks *c, uint8_t byte, err *e)
{
    int digit = c->blank ? -1 : hex_digit(byte);
    if (++c->line_bytes > HTTP_CHUNK_LINE_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "chunk: its size line is over %d bytes", HTTP_CHUNK_LINE_MAX);
    if (byte == '\r' && c->digits) {
        c->state = CHUNK_SIZE_LF;
    } else if (digit >= 0) {
        c->left_bytes = c->left_bytes * 16 + (uint64_t)digit;
        c->digits = true;
        if (c->left_bytes > HTTP_BODY_BYTES_MAX)
            return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "chunk: over %d bytes", HTTP_BODY_BYTES_MAX);
    } else if (c->digits && (c->blank ? byte >= ' ' || byte == '\t' : byte == ';' || byte == ' ' || byte == '\t')) {
        c->blank = true;
    } else {
        return fail(e, ERR_VALUE, ERR_NO_OFFSET, "chunk: byte %u in its size", byte);
    }
    return true;
}

/* Trailers are read and forgotten; an empty line ends them. `digits` says that the open line is not empty. */
static bool take_trailer(struct http_chunks *c, uint8_t byte, err *e)
{
    if (++c->line_bytes > HTTP_TRAILER_BYTES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "trailers: over %d bytes", HTTP_TRAILER_BYTES_MAX);
    if (byte == '\r') c->state = CHUNK_TRAILER_LF;
    else if (byte == '\n') return fail(e, ERR_VALUE, ERR_NO_OFFSET, "trailer: a line ends without CR");
    else c->digits = true;
    return true;
}

static void next_chunk(struct http_chunks *c, int state)
{
    *c = (struct http_chunks){ .state = state };
}

/* One byte outside a chunk's data. */
static bool take_frame(struct http_chunks *c, uint8_t byte, bool *whole, err *e)
{
    bool wants_lf = c->state == CHUNK_SIZE_LF || c->state == CHUNK_DATA_LF || c->state == CHUNK_TRAILER_LF;
    if (wants_lf && byte != '\n') return fail(e, ERR_VALUE, ERR_NO_OFFSET, "chunk: a line ends without LF");
    switch (c->state) {
    case CHUNK_SIZE: return take_size(c, byte, e);
    case CHUNK_SIZE_LF:
        if (c->left_bytes == 0) next_chunk(c, CHUNK_TRAILER);
        else c->state = CHUNK_DATA;
        return true;
    case CHUNK_DATA_CR:
        c->state = CHUNK_DATA_LF;
        return byte == '\r' || fail(e, ERR_VALUE, ERR_NO_OFFSET, "chunk: longer than its size");
    case CHUNK_DATA_LF: next_chunk(c, CHUNK_SIZE); return true;
    case CHUNK_TRAILER: return take_trailer(c, byte, e);
    default:
        assert(c->state == CHUNK_TRAILER_LF);
        *whole = !c->digits;
        c->digits = false;
        c->state = CHUNK_TRAILER;
        return true;
    }
}

enum http_result http_chunks_read(struct http_chunks *c, view in, uint8_t *out, size_t *out_bytes, size_t *used_bytes,
                                  err *e)
{
    size_t at = 0, put = 0;
    bool whole = false;
    while (at < in.len_bytes && !whole) {
        if (c->state == CHUNK_DATA) {
            size_t take = c->left_bytes < in.len_bytes - at ? (size_t)c->left_bytes : in.len_bytes - at;
            memmove(out + put, in.ptr + at, take);
            put += take;
            at += take;
            c->left_bytes -= take;
            if (c->left_bytes == 0) c->state = CHUNK_DATA_CR;
        } else if (!take_frame(c, in.ptr[at++], &whole, e)) {
            return HTTP_REFUSED;
        }
    }
    *out_bytes = put;
    *used_bytes = at;
    return whole ? HTTP_GOOD : HTTP_MORE;
}

const char *http_status_text(int status)
{
    static const struct { int status; const char *text; } rows[] = {
        { 100, "Continue" }, { 200, "OK" }, { 204, "No Content" }, { 400, "Bad Request" }, { 401, "Unauthorized" },
        { 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" }, { 408, "Request Timeout" },
        { 413, "Content Too Large" }, { 414, "URI Too Long" }, { 417, "Expectation Failed" },
        { 421, "Misdirected Request" }, { 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" },
        { 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 503, "Service Unavailable" },
        { 505, "HTTP Version Not Supported" }, { 507, "Insufficient Storage" }, { 529, "Overloaded" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].status == status) return rows[i].text;
    return "Status";
}
