/* How fast a saved session of 8,000 positions comes back from the page cache, beside how fast the same threads hash its
 * bytes, or decrypt them where it has a key. The model gives shape and identity; what is restored is not computed, only
 * filled.
 *      make build/release/bench/restore && build/release/bench/restore MODEL VOCABULARY-MODEL [threads] */
#include "cache/save.h"
#include "cmd/saved.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LEN_TOK = 8000, CTX_TOK = 8192, ROUNDS = 5, CHUNK = 1 << 20 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void hash_task(void *arg, size_t chunk, size_t thread)
{
    uint8_t hash[32];
    (void)thread;
    crypto_generichash(hash, sizeof hash, (const uint8_t *)arg + chunk * CHUNK, CHUNK, NULL, 0);
}

/* The same work as decrypting a chunk, in place; what it makes of the bytes is of no matter. */
static void decrypt_task(void *arg, size_t chunk, size_t thread)
{
    uint8_t tag[crypto_aead_xchacha20poly1305_ietf_ABYTES], *at = (uint8_t *)arg + chunk * CHUNK;
    static const uint8_t key[crypto_aead_xchacha20poly1305_ietf_KEYBYTES] = { 1 };
    static const uint8_t nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES] = { 2 };
    (void)thread;
    crypto_aead_xchacha20poly1305_ietf_encrypt_detached(at, tag, NULL, at, CHUNK, NULL, 0, NULL, nonce, key);
}

static double proof_seconds(team *t, size_t bytes, bool decrypt)
{
    uint8_t *room = malloc(bytes);
    double best = 1e9;
    memset(room, 1, bytes);
    for (int i = 0; i < ROUNDS; i++) {
        double start = now();
        team_run(t, bytes / CHUNK, decrypt ? decrypt_task : hash_task, room);
        double seconds = now() - start;
        best = seconds < best ? seconds : best;
    }
    free(room);
    return best;
}

/* Steps without a model: pages are taken, settled and filled, nothing is computed. */
static bool fill(kv_seq *s, err *e)
{
    static float room[LOG_PACK_FLOATS];
    const struct kv_shape *shape = &s->pool->shape;
    while (s->len_tok < LEN_TOK) {
        kv_step st;
        size_t scratch = 0, left = PAGE_TOK - s->len_tok % PAGE_TOK;
        if (!kv_step_begin(&st, s, left < LEN_TOK - s->len_tok ? left : LEN_TOK - s->len_tok, &scratch,
                e)) return false;
        for (size_t layer = 0; layer < shape->layers && kv_step_turns(&st); layer++)
            for (size_t head = 0; head < shape->kv_heads; head++) kv_step_settle(&st, layer, head, room);
        for (size_t layer = 0; layer < shape->layers; layer++)
            for (size_t head = 0; head < shape->kv_heads; head++) {
                struct kv_page page = { kv_is_log(shape->type) ? NULL : kv_keys(s, st.last_page, layer, head), NULL };
                if (page.keys == NULL) page = kv_step_exact(&st, st.last_page, layer, head);
                memset(page.keys, 0x31, s->pool->key_bytes);
            }
        kv_step_end(&st, true);
    }
    return true;
}

static bool one_tier(struct opened *o, enum kv_type kv, const uint8_t *key, err *e)
{
    struct session_settings set = { .ctx_tok = CTX_TOK, .kv = kv, .sample = { .top_p = 1, .typical_p = 1,
                                    .repetition_penalty = 1, .dry_base = 1 } };
    char path[] = "/tmp/hearth-restore-XXXXXX";
    static int32_t ids[LEN_TOK];
    session *s = NULL, *t = NULL;
    double best = 1e9, sum = 0;
    size_t bytes = 0;
    close(mkstemp(path));
    o->kv = kv;
    bool good = session_new(&s, &o->model, &o->kernels, o->team, &set, e) && fill(session_cache(s), e) &&
                session_restored(s, ids, LEN_TOK, e) && saved_write(path, key, s, o, e) &&
                kv_save_begin(session_cache(s), &bytes, e);
    session_free(s);
    for (int i = 0; good && i < ROUNDS; i++) {
        good = session_new(&t, &o->model, &o->kernels, o->team, &set, e);
        double start = now();
        good = good && saved_read(path, key, t, o, e);
        double seconds = now() - start;
        best = seconds < best ? seconds : best;
        sum += seconds;
        session_free(t);
    }
    double hash = proof_seconds(o->team, bytes / CHUNK * CHUNK, key != NULL);
    if (good) printf("%-9s %s %7.1f MB: restored in %.3f s at best (mean %.3f), %.2f GB/s; %s alone in "
                     "%.3f s: %.0f%%\n",
                     kv_type_name(kv), key != NULL ? "encrypted" : "hashed   ", (double)bytes * 1e-6, best,
                         sum / ROUNDS,
                     (double)bytes / best * 1e-9, key != NULL ? "decrypted" : "hashed", hash, 100 * hash / best);
    unlink(path);
    return good;
}

int main(int argc, char **argv)
{
    struct opened o = { .method = KV_METHODS };
    uint8_t key[SAVED_KEY_BYTES] = { 1 };
    err e = { 0 };
    size_t threads = argc > 3 ? strtoul(argv[3], NULL, 10) : 2;
    model words = { 0 }; /* made models have no vocabulary, and a session wants one */
    if (argc < 3) return fprintf(stderr, "bench: no model, no vocabulary\n"), 2;
    bool good = sodium_init() >= 0 && kernels_bind(&o.kernels, NULL, &e) && team_new(&o.team, threads, NULL, 0, &e) &&
                model_load(&o.model, argv[1], o.team, NULL, NULL, &e) && model_load_vocab(&words, argv[2], &e);
    if (good) o.model.tokenizer = words.tokenizer;
    o.model.identity[0] |= 1; /* as of a packed image: where it is not known, hashing the weights comes on top */
    good = good && one_tier(&o, KV_F16, NULL, &e) && one_tier(&o, KV_F16, key, &e) && one_tier(&o, KV_K2V2, NULL, &e) &&
           one_tier(&o, KV_K2V2, key, &e);
    if (!good) fprintf(stderr, "bench: %s\n", e.text);
    o.model.tokenizer = NULL;
    model_free(&o.model);
    model_free(&words);
    team_free(o.team);
    return good ? 0 : 1;
}
