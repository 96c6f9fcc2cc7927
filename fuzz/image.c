/* Any bytes as an image: checked, and where that takes it, everything it points at is read. The input is laid over a
 * good image's bytes (XOR) behind its magic, so that most of what is tried is near the truth; a first byte of 0 takes
 * the input as it is. Corpus: tests/golden/image. */
#include "../tests/image/small.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static struct small s;
    static arena a;
    static team *t;
    static uint8_t *good;
    static size_t good_bytes;
    err e = { 0 };
    image i;
    if (good == NULL) {
        small_make(&s);
        assert(arena_new(&a, (size_t)1 << 26, &e) && team_new(&t, 1, NULL, 0, &e));
        good = small_pack(&s, &SMALL_HASHER, t, &a, &good_bytes, &e);
        assert(good != NULL);
    }
    if (len < 4) return 0;
    bool raw = bytes[0] == 0;
    size_t at = (size_t)bytes[1] | (size_t)bytes[2] << 8, cut = bytes[3],
           n = raw ? len - 1 : good_bytes - cut % 8 / 7 * cut;
    uint8_t *made = small_room(n);
    memcpy(made, raw ? bytes + 1 : good, n);
    for (size_t b = 4; !raw && b < len; b++) made[(at + b) % n] ^= bytes[b];
    arena_rewind(&a, 0);
    bool taken = image_check((view){ made, n }, &a, &i, &e);
    assert(taken == (e.code == ERR_NONE));
    if (taken) image_verify(&i, t, cut % 2 == 0 ? &SMALL_HASHER : NULL, &e);
    if (taken) assert(i.tensor_count == 0 || i.tensors[0].offset < n);
    free(made);
    return 0;
}
