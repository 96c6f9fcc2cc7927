/* Images under the graph: the same logits from a model file and from its image; a damaged image is refused or computes
 * something, without a byte read outside; so is one whose bytes change while they are mapped. */
#include "base/file.h"
#include "model/graph.h"
#include "model/made.h"
#include "model/pack.h"

#include "check.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { CTX_TOK = 64, TOKENS = 4, VOCAB = 48 };

static struct kernels kernels;
static team *two;
static char folder[] = "/tmp/hearth-image-XXXXXX";
static char model_path[64], image_path[64], bad_path[64];

/* Makes the model file and its image, and leaves a copy of the image's bytes in `a`. */
static bool make(const char *shape_name, const char *mix, arena *a, view *image_bytes, err *e)
{
    struct made_shape shape = *made_shape_named(view_of(shape_name));
    struct packing p;
    shape.layers = 1;
    shape.vocab = VOCAB;
    shape.width = 64;
    shape.heads = 4;
    shape.kv_heads = 2;
    shape.head_dim = 16;
    shape.ffn_width = 64;
    if (shape.experts > 0) shape.expert_ffn = 32;
    if (!made_write(&shape, made_mix_named(view_of(mix)), 7, model_path, e) || !packing_open(&p, model_path, e))
        return false;
    uint8_t *out = arena_take(a, p.layout.bytes, 1, 4096, "image", e);
    bool good = out != NULL && image_write(&p.source, &p.layout, out, two, NULL, NULL, NULL, e);
    *image_bytes = (view){ out, p.layout.bytes };
    packing_close(&p);
    return good && file_write(image_path, image_bytes, 1, e);
}

/* A few tokens through the graph; the last row of logits in `out`. */
static bool compute(const model *m, float out[static VOCAB], err *e)
{
    struct graph_settings set = { .chunk_tok = TOKENS, .logit_rows = 1, .ctx_tok = CTX_TOK };
    struct kv_shape shape = { KV_F16, m->hyper.layers, m->hyper.kv_heads, m->hyper.key_dim, m->hyper.value_dim, 1, 0 };
    struct step_token step[TOKENS];
    graph *g = NULL;
    kv_pool pool = { 0 };
    kv_seq seq;
    arena a = { 0 };
    bool good = m->hyper.vocab == VOCAB || fail(e, ERR_VALUE, ERR_NO_OFFSET, "another vocabulary");
    good = good && arena_new(&a, 1 << 20, e) && graph_new(&g, m, &kernels, two, &set, e) &&
           kv_pool_new(&pool, &shape, 2, &a, e);
    if (good && kv_seq_new(&seq, &pool, CTX_TOK, &a, e)) {
        for (size_t i = 0; i < TOKENS; i++)
            step[i] = (struct step_token){ .seq = &seq, .token = (int32_t)(i * 11), .want_logits = i + 1 == TOKENS };
        good = graph_step(g, step, TOKENS, e);
        if (good) memcpy(out, graph_logits(g, 0), VOCAB * sizeof *out);
    }
    graph_free(g);
    kv_pool_free(&pool);
    arena_free(&a);
    return good && e->code == ERR_NONE;
}

/* Loads the file and computes; false where either is refused. */
static bool run(const char *path, float out[static VOCAB], err *e)
{
    model m;
    *e = (err){ 0 };
    if (!model_load(&m, path, two, NULL, NULL, e)) return false;
    bool good = compute(&m, out, e);
    model_free(&m);
    return good;
}

static void put_byte(int fd, size_t at, uint8_t byte)
{
    if (pwrite(fd, &byte, 1, (off_t)at) != 1) exit(1);
}

/* Every byte of the head and some of the data, one at a time; that nothing is read outside is the sanitizers' to say.
 */
static void damaged(view good, size_t data_offset)
{
    static const uint8_t changes[] = { 0x01, 0x80, 0xFF };
    float out[VOCAB];
    size_t refused = 0, computed = 0, stopped = 0;
    int fd = open(bad_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, good.ptr, good.len_bytes) != (ssize_t)good.len_bytes) exit(1);
    for (size_t at = 0; at < good.len_bytes; at += at < data_offset ? 1 : 211)
        for (size_t c = 0; c < (at < data_offset ? 3 : 1); c++) {
            err e;
            put_byte(fd, at, good.ptr[at] ^ changes[(c + at) % 3]);
            if (run(bad_path, out, &e)) computed++;
            else if (strstr(e.text, "finite") != NULL) stopped++;
            else refused++;
            put_byte(fd, at, good.ptr[at]);
        }
    close(fd);
    CHECK(refused > 500 && computed > 50, "%zu refused, %zu computed, %zu not finite", refused, computed, stopped);
}

/* The file's data changes to anything while a bound model computes from its map. */
static void changed_while_mapped(view good, size_t data_offset)
{
    float out[VOCAB];
    model m;
    err e = { 0 };
    if (!CHECK(model_load(&m, image_path, two, NULL, NULL, &e) && compute(&m, out, &e), "%s", e.text)) return;
    int fd = open(image_path, O_WRONLY);
    uint8_t *noise = malloc(good.len_bytes);
    for (size_t round = 0; round < 6; round++) {
        for (size_t i = 0; i < good.len_bytes; i++)
            noise[i] = round == 0 ? 0xFF : round == 1 ? 0x80 : (uint8_t)((i * 2654435761u + round * 40503u) >> 13);
        size_t from = round < 4 ? data_offset : 0; /* the head too: nobody reads it any more */
        if (pwrite(fd, noise + from, good.len_bytes - from, (off_t)from) != (ssize_t)(good.len_bytes - from)) exit(1);
        e = (err){ 0 };
        bool computed = compute(&m, out, &e);
        CHECK(computed || e.code == ERR_VALUE, "round %zu: %s", round, e.text);
    }
    free(noise);
    close(fd);
    model_free(&m);
}

static void one_model(const char *shape, const char *mix)
{
    float from_file[VOCAB], from_image[VOCAB];
    arena a = { 0 };
    view bytes;
    image i;
    err e = { 0 };
    if (!CHECK(arena_new(&a, 1 << 24, &e) && make(shape, mix, &a, &bytes, &e), "%s %s: %s", shape, mix, e.text)) return;
    CHECK(run(model_path, from_file, &e), "%s %s: %s", shape, mix, e.text);
    CHECK(run(image_path, from_image, &e), "%s %s: %s", shape, mix, e.text);
    CHECK(memcmp(from_file, from_image, sizeof from_file) == 0, "%s %s: other logits from the image", shape, mix);
    CHECK(image_check(bytes, &a, &i, &e), "%s", e.text);
    damaged(bytes, i.data_offset);
    changed_while_mapped(bytes, i.data_offset);
    arena_free(&a);
}

int main(void)
{
    err e = { 0 };
    if (!CHECK(mkdtemp(folder) != NULL && kernels_bind(&kernels, NULL, &e) && team_new(&two, 2, NULL, 0, &e), "%s",
               e.text))
        return check_done();
    snprintf(model_path, sizeof model_path, "%s/model", folder);
    snprintf(image_path, sizeof image_path, "%s/image", folder);
    snprintf(bad_path, sizeof bad_path, "%s/bad", folder);
    one_model("tiny-llama", "Q4_0");
    one_model("tiny-experts", "Q8_0");
    one_model("tiny-window", "F16");
    unlink(model_path);
    unlink(image_path);
    unlink(bad_path);
    rmdir(folder);
    team_free(two);
    return check_done();
}
