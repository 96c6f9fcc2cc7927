/* HTTP/1.1 as bytes (RFC 9112): the head of a request, and a body in chunks. It owns no socket and no memory: views go
 * into the caller's buffer. Strict where laxness lets two readers disagree about where a request ends: line ends are
 * CR LF, no line is folded, no blank stands before a colon, Content-Length stands once and never beside
 * Transfer-Encoding. What is refused carries the status to answer with; the connection ends there, since nobody knows
 * where the next request would begin. */
#ifndef HEARTH_SERVER_HTTP_H
#define HEARTH_SERVER_HTTP_H

#include "base/err.h"
#include "base/limits.h"
#include "base/view.h"

struct http_header {
    view name, value; /* blanks around the value are left out */
};

struct http_head {
    view method, target;
    view path, query; /* the target, cut at its first '?'; nothing is decoded */
    unsigned minor;   /* HTTP/1.minor: 0 or 1 */
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t header_count;
    uint64_t length_bytes; /* of the body, where it is not chunked */
    bool chunked, keep_alive, expects_continue;
};

enum http_result { HTTP_GOOD, HTTP_MORE, HTTP_REFUSED };

/* Reads a request line and its headers, up to the empty line. *used_bytes: where the body begins. HTTP_MORE: the head
 * is not whole yet. HTTP_REFUSED: *status is 400, 414, 417, 431, 501 or 505, and the error says why.
 *   limits  HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX.    fuzz  fuzz/http.c */
enum http_result http_head_read(view bytes, struct http_head *head, size_t *used_bytes, int *status, err *e);

/* The value of a header, its name in any case; an empty view with ptr NULL where there is none. The first counts;
 * http_head_read has seen that Host stands once. */
view http_header(const struct http_head *head, const char *name);

/* Is `word` one of the values, separated by commas, in any case? */
bool http_has_word(view list, const char *word);

/* ASCII letters in any case. */
bool http_same(view a, const char *b);

/* A body in chunks, read a piece at a time. All zeros is its start. */
struct http_chunks {
    int state;
    uint64_t left_bytes;  /* of the open chunk */
    uint32_t line_bytes;  /* of the open size line, or of all trailers */
    bool digits, blank;
};

/* Takes bytes from `in`, and puts the body's own, which follow one another, at `out` (room for in.len_bytes; it may be
 * in.ptr). HTTP_GOOD: the body is whole, behind *used_bytes comes the next request. HTTP_MORE: all was used. */
enum http_result http_chunks_read(struct http_chunks *c, view in, uint8_t *out, size_t *out_bytes, size_t *used_bytes,
                                  err *e);

/* "OK", "Not Found", ...: what stands behind the number. */
const char *http_status_text(int status);

#endif
