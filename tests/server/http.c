/* server/http.h: heads and chunks, whole and byte by byte, and what is refused with which status. */
#include "server/http.h"

#include "check.h"

static void heads(void)
{
    static const struct { const char *says, *text; enum http_result want; int status;
    } rows[] = {
        { "a plain request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_GOOD, 0 },
        { "an empty line before it", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_GOOD, 0 },
        { "HTTP/1.0 without a Host", "GET / HTTP/1.0\r\n\r\n", HTTP_GOOD, 0 },
        { "HTTP/1.1 without a Host", "GET / HTTP/1.1\r\n\r\n", HTTP_REFUSED, 400 },
        { "two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", HTTP_REFUSED, 400 },
        { "not whole yet", "GET / HTTP/1.1\r\nHost: a\r\n", HTTP_MORE, 0 },
        { "nothing", "", HTTP_MORE, 0 },
        { "HTTP/2 in plain text", "PRI * HTTP/2.0\r\n\r\n", HTTP_REFUSED, 505 },
        { "no version", "GET /\r\n\r\n", HTTP_REFUSED, 400 },
        { "a blank too many", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_REFUSED, 400 },
        { "no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_REFUSED, 400 },
        { "a target that is an address", "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_REFUSED, 400 },
        { "a byte over ASCII in the target", "GET /\xc3 HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_REFUSED, 400 },
        { "a method with a bracket", "GE( / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_REFUSED, 400 },
        { "a bare LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", HTTP_REFUSED, 400 },
        { "a bare LF behind a header", "GET / HTTP/1.1\r\nHost: a\n\r\n", HTTP_REFUSED, 400 },
        { "a folded header", "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", HTTP_REFUSED, 400 },
        { "a blank before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", HTTP_REFUSED, 400 },
        { "a header without a colon", "GET / HTTP/1.1\r\nHost\r\n\r\n", HTTP_REFUSED, 400 },
        { "a control byte in a value", "GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n", HTTP_REFUSED, 400 },
        { "a length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n", HTTP_GOOD, 0 },
        { "two lengths, the same", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
          HTTP_REFUSED, 400 },
        { "a length and chunks",
          "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_REFUSED, 400 },
        { "a length with a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", HTTP_REFUSED, 400 },
        { "an empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", HTTP_REFUSED, 400 },
        { "a length of 16 digits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000000\r\n\r\n",
          HTTP_REFUSED, 400 },
        { "chunks", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_GOOD, 0 },
        { "chunks in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_REFUSED, 501 },
        { "packed chunks", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", HTTP_REFUSED,
          501 },
        { "an expectation nobody knows", "POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", HTTP_REFUSED, 417 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_head head;
        size_t used = 0, len = strlen(rows[i].text);
        int status = 0;
        err e = { 0 };
        enum http_result got = http_head_read(view_of(rows[i].text), &head, &used, &status, &e);
        CHECK(got == rows[i].want && status == rows[i].status, "%s: %d, status %d, %s", rows[i].says, got, status,
              e.text);
        CHECK(got != HTTP_GOOD || used == len, "%s: %zu of %zu bytes", rows[i].says, used, len);
        CHECK((got == HTTP_REFUSED) == (e.code != ERR_NONE), "%s: an error where it is refused", rows[i].says);
        for (size_t cut = 0; cut < len && got == HTTP_GOOD; cut++) { /* no part of a good head is a head, or refused */
            err ignored = { 0 };
            if (http_head_read((view){ (const uint8_t *)rows[i].text, cut }, &head, &used, &status, &ignored) !=
                HTTP_MORE)
                CHECK(false, "%s: %zu bytes are no head", rows[i].says, cut);
        }
    }
}

/* A head of exactly `bytes` bytes with `headers` headers beside Host, the last one filled up. */
static enum http_result sized(size_t bytes, size_t headers, int *status)
{
    static char text[HTTP_HEAD_BYTES_MAX + 64];
    struct http_head head;
    size_t used, len = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\n");
    err e = { 0 };
    for (size_t i = 0; i < headers; i++) len += (size_t)snprintf(text + len, sizeof text - len, "A%zu: b\r\n", i);
    if (bytes > 0) {
        len += (size_t)snprintf(text + len, sizeof text - len, "Fill: ");
        while (len < bytes - 4) text[len++] = 'x';
        text[len++] = '\r';
        text[len++] = '\n';
    }
    text[len++] = '\r';
    text[len++] = '\n';
    *status = 0;
    return http_head_read((view){ (const uint8_t *)text, len }, &head, &used, status, &e);
}

static void limits(void)
{
    static const struct { const char *says; size_t bytes, headers; enum http_result want; int status; } rows[] = {
        { "a byte under the limit", HTTP_HEAD_BYTES_MAX - 1, 0, HTTP_GOOD, 0 },
        { "16 KiB", HTTP_HEAD_BYTES_MAX, 0, HTTP_GOOD, 0 },
        { "a byte over it", HTTP_HEAD_BYTES_MAX + 1, 0, HTTP_REFUSED, 431 },
        { "63 headers", 0, HTTP_HEADERS_MAX - 2, HTTP_GOOD, 0 },
        { "64 headers", 0, HTTP_HEADERS_MAX - 1, HTTP_GOOD, 0 },
        { "65 headers", 0, HTTP_HEADERS_MAX, HTTP_REFUSED, 431 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int status;
        enum http_result got = sized(rows[i].bytes, rows[i].headers, &status);
        CHECK(got == rows[i].want && status == rows[i].status, "%s: %d, status %d", rows[i].says, got, status);
    }
}

static void meanings(void)
{
    static const char text[] = "POST /v1/x?a=b?c HTTP/1.1\r\nHOST:  a.b:80 \r\nconnection: x, Close\r\n"
                               "Expect: 100-continue\r\nContent-Length: 007\r\n\r\n";
    struct http_head head;
    size_t used;
    int status = 0;
    err e = { 0 };
    CHECK(http_head_read(view_of(text), &head, &used, &status, &e) == HTTP_GOOD, "%s", e.text);
    CHECK(view_is(head.path, "/v1/x") && view_is(head.query, "a=b?c"), "path and query");
    CHECK(view_is(http_header(&head, "host"), "a.b:80"), "a header without the blanks around it");
    CHECK(!head.keep_alive && head.expects_continue && head.length_bytes == 7, "what the headers mean");
    CHECK(http_header(&head, "hos").ptr == NULL, "a part of a name is no name");
}

static void chunks(void)
{
    static const struct { const char *says, *text, *body; enum http_result want; size_t left; } rows[] = {
        { "two chunks", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde", HTTP_GOOD, 0 },
        { "capital hex digits", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789", HTTP_GOOD, 0 },
        { "the next request behind it", "1\r\na\r\n0\r\n\r\nGET", "a", HTTP_GOOD, 3 },
        { "an extension", "1;x=\"y\"\r\na\r\n0\r\n\r\n", "a", HTTP_GOOD, 0 },
        { "trailers", "1\r\na\r\n0\r\nA: b\r\nC: d\r\n\r\n", "a", HTTP_GOOD, 0 },
        { "no end yet", "1\r\na\r\n0\r\n", "a", HTTP_MORE, 0 },
        { "no digits", "\r\na", "", HTTP_REFUSED, 0 },
        { "a sign", "-1\r\na", "", HTTP_REFUSED, 0 },
        { "0x", "0x1\r\na", "", HTTP_REFUSED, 0 },
        { "longer than it says", "1\r\nab\r\n", "", HTTP_REFUSED, 0 },
        { "a bare LF", "1\na\r\n", "", HTTP_REFUSED, 0 },
        { "a chunk of 2^64 bytes and one", "10000000000000001\r\na", "", HTTP_REFUSED, 0 },
        { "a trailer with a bare LF", "0\r\nA: b\n\r\n", "", HTTP_REFUSED, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = strlen(rows[i].text);
        for (size_t step = 1; step <= len; step++) { /* the same in pieces of every size */
            struct http_chunks c = { 0 };
            uint8_t out[64];
            size_t put = 0, at = 0, got = 0, used = 0;
            enum http_result r = HTTP_MORE;
            err e = { 0 };
            while (at < len && r == HTTP_MORE) {
                size_t piece = len - at < step ? len - at : step;
                r = http_chunks_read(&c, (view){ (const uint8_t *)rows[i].text + at, piece }, out + put, &got, &used,
                                     &e);
                if (r != HTTP_REFUSED) {
                    put += got;
                    at += used;
                }
            }
            bool same = r == HTTP_REFUSED || (put == strlen(rows[i].body) && memcmp(out, rows[i].body, put) == 0);
            bool left = r != HTTP_GOOD || len - at == rows[i].left;
            if (!CHECK(r == rows[i].want && same && left, "%s in pieces of %zu: %d, %zu bytes", rows[i].says, step, r,
                       put))
                break;
        }
    }
}

int main(void)
{
    heads();
    limits();
    meanings();
    chunks();
    return check_done();
}
