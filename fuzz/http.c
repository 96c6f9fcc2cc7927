/* Heads and chunks: bounds hold, a head that is read is read again the same from its own bytes, and a body in chunks is
 * the same bytes however it is cut. The first byte says how. */
#include "server/http.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t chunks_in(view in, size_t step, uint8_t *out, enum http_result *result)
{
    struct http_chunks c = { 0 };
    size_t put = 0, at = 0, got, used;
    err e = { 0 };
    for (*result = HTTP_MORE; at < in.len_bytes && *result == HTTP_MORE; at += used, put += got) {
        size_t piece = in.len_bytes - at < step ? in.len_bytes - at : step;
        used = got = 0;
        *result = http_chunks_read(&c, (view){ in.ptr + at, piece }, out + put, &got, &used, &e);
        assert(used <= piece && got <= used);
    }
    return put;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_head head;
    size_t used = 0;
    int status = 0;
    err e = { 0 };
    view all = { data, size };
    enum http_result r = http_head_read(all, &head, &used, &status, &e);
    assert((r == HTTP_REFUSED) == (status != 0) && (r != HTTP_GOOD || (used > 0 && used <= size)));
    if (r == HTTP_GOOD) assert(http_head_read((view){ data, used }, &head, &used, &status, &e) == HTTP_GOOD);
    uint8_t *a = malloc(size + 1), *b = malloc(size + 1);
    enum http_result whole, cut;
    size_t x = chunks_in(all, size + 1, a, &whole), y = chunks_in(all, size > 0 ? data[0] % 7 + 1 : 1, b, &cut);
    assert(whole == cut && (whole == HTTP_REFUSED || (x == y && memcmp(a, b, x) == 0)));
    free(a);
    free(b);
    return 0;
}
