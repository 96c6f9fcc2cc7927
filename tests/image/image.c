/* image/: what goes in comes out; the same bytes for any team; the checker and the reading of all of it against every
 * byte changed, every length, and rows of values that can not be. */
#include "base/le.h"
#include "small.h"

#include "check.h"

static arena room;
static team *teams[3];
static const size_t team_sizes[3] = { 1, 2, 8 };

static uint8_t *copy_of(const uint8_t *bytes, size_t len)
{
    uint8_t *out = small_room(len);
    if (len > 0) memcpy(out, bytes, len);
    return out;
}

static bool check(const uint8_t *bytes, size_t len, image *out, err *e)
{
    arena_rewind(&room, 0);
    *e = (err){ 0 };
    return image_check((view){ bytes, len }, &room, out, e);
}

/* ---- there and back ---- */

static void compare_vocab(const struct small *s, const image *i)
{
    const struct image_vocab *v = &i->vocab;
    CHECK(i->has_vocab && v->token_count == SMALL_TOKENS && v->merge_count == SMALL_MERGES, "counts");
    CHECK(view_equal(v->model, s->vocab.model) && view_equal(v->pre, s->vocab.pre), "names");
    CHECK(view_equal(v->charsmap, s->vocab.charsmap), "charsmap");
    for (size_t t = 0; t < SMALL_TOKENS; t++)
        CHECK(view_equal(v->texts[t], s->texts[t]) && v->scores[t] == s->scores[t] && v->kinds[t] == s->kinds[t],
              "token %zu", t);
    for (size_t m = 0; m < SMALL_MERGES; m++) CHECK(view_equal(v->merges[m], s->merges[m]), "merge %zu", m);
    CHECK(memcmp(v->ids, s->vocab.ids, sizeof v->ids) == 0, "special tokens");
    CHECK(memcmp(v->questions, s->vocab.questions, sizeof v->questions) == 0, "settings");
}

/* Every matrix unpacked again is the file's bytes; rows are the file's values widened. */
static void compare_tensor(const struct image_tensor_source *s, const image *i, const struct image_tensor *t)
{
    const struct weight_kind *kind = weight_kind(s->type);
    uint8_t row[1024];
    size_t row_bytes = s->cols / kind->block_values * kind->block_bytes, bad = 0;
    CHECK(t->kind == s->kind && t->slot == s->slot && t->layer == s->layer && t->count == s->count &&
              t->rows == s->rows && t->cols == s->cols,
          "%.*s: its row of the table", (int)s->name.len_bytes, (const char *)s->name.ptr);
    if (t->kind == IMAGE_ROUTE) { /* has no form in a file: image_verify holds it against its rows */
        CHECK(t->route.form == s->route.form && t->route.rank == s->route.rank, "the form of a router");
        return;
    }
    for (size_t c = 0; c < t->count; c++) {
        const uint8_t *data = image_data(i, t) + c * t->stride;
        matrix w = { .type = t->type, .rows = t->rows, .cols = t->cols, .tiles = data };
        if (t->kind != IMAGE_ROWS) w.tile_bytes = tile_bytes_of(t->type, t->cols);
        for (size_t r = 0; r < t->rows; r++) {
            const uint8_t *file = s->bytes + (c * s->rows + r) * row_bytes;
            if (t->kind == IMAGE_ROWS) {
                kind->widen(file, s->cols, (float *)(void *)row);
                bad += memcmp(row, data + 4 * r * t->cols, 4 * t->cols) != 0;
            } else {
                tile_unpack_row(&w, r, row);
                bad += memcmp(row, file, row_bytes) != 0;
            }
        }
    }
    CHECK(bad == 0, "%.*s: %zu rows differ", (int)s->name.len_bytes, (const char *)s->name.ptr, bad);
}

static void there_and_back(const struct small *s, const uint8_t *bytes, size_t len)
{
    image i;
    err e;
    if (!CHECK(check(bytes, len, &i, &e), "%s", e.text)) return;
    CHECK(view_equal(i.arch, s->source.arch) && view_equal(i.chat_template, s->source.chat_template), "texts");
    CHECK(memcmp(i.fields, s->source.fields, sizeof i.fields) == 0, "fields");
    compare_vocab(s, &i);
    CHECK(i.tensor_count == SMALL_TENSORS && i.extent_count == 3, "%zu tensors, %zu extents", i.tensor_count,
          i.extent_count);
    for (size_t t = 0; t < SMALL_TENSORS; t++) compare_tensor(&s->tensors[t], &i, &i.tensors[t]);
    for (size_t x = 0; x < 3; x++)
        CHECK(i.extents[x].offset % IMAGE_EXTENT_ALIGN == 0 &&
                  i.extents[x].offset == i.tensors[6].offset + x * i.tensors[6].stride,
              "extent %zu", x);
    CHECK(image_verify(&i, teams[1], &SMALL_HASHER, &e), "%s", e.text);
}

/* ---- damage ---- */

/* With hashes, no byte can change unseen: the checker refuses it, or the reading of all does. The checker alone may
 * accept what changes a text, a number inside its range or a weight; then every matrix still lies inside. */
static void damaged_everywhere(const uint8_t *bytes, size_t len)
{
    static const uint8_t changes[] = { 0x01, 0x80, 0xFF };
    size_t refused = 0, found = 0, unseen = 0, outside = 0;
    for (size_t at = 0; at < len; at++)
        for (size_t c = 0; c < sizeof changes; c++) {
            uint8_t *bad = (uint8_t *)(uintptr_t)bytes;
            image i;
            err e;
            bad[at] ^= changes[c];
            if (!check(bad, len, &i, &e)) refused++;
            else if (!image_verify(&i, teams[0], &SMALL_HASHER, &e)) found++;
            else unseen++;
            for (size_t t = 0; e.code == ERR_NONE && t < i.tensor_count; t++)
                outside += i.tensors[t].offset + (i.tensors[t].count - 1) * i.tensors[t].stride + i.tensors[t].bytes >
                           len;
            bad[at] ^= changes[c];
        }
    CHECK(unseen == 0 && outside == 0, "%zu changes unseen, %zu tensors outside", unseen, outside);
    CHECK(refused > 1000 && found > 1000, "%zu refused, %zu found by reading all", refused, found);
}

/* What a form says of its router must be true: each part changed where no hash would tell. Offsets count from the form;
 * the first byte of a fact is the lowest of an f32. */
static void routes_wrong(const uint8_t *bytes, size_t len)
{
    static const struct {
        const char *says;
        size_t tensor, at;
        uint8_t value;
        bool wrong;
    } changes[] = {
        { "planes: a norm below the row's", 10, 3, 0x00, true },
        { "planes: the distance after A left out", 10, 7, 0x00, true },
        { "planes: the distance after B left out", 10, 11, 0x00, true },
        { "planes: another code of A", 10, 64 + 3 * 64, 0xFF, true },
        { "planes: a code behind the last column", 10, 64 + 3 * 64 + 127, 0x00, true },
        { "planes: a scale of another row", 10, 64 + 64 + 1, 0x7F, true },
        { "planes: what no row reads", 10, 50, 0x01, false },
        { "factor: the row's distance left out", 11, 7, 0x00, true },
        { "factor: the outer row's norm left out", 11, 11, 0x00, true },
        { "factor: another scale", 11, 15, 0x00, true },
        { "factor: another inner value", 11, 64 + 1, 0x44, true },
        { "factor: another outer value", 11, 64 + 320 + 1, 0x44, true },
        { "bf16: another value", 13, 9, 0x01, true },
        { "plane before bf16: another value of a row", 14, 64 + 4 * 64 + 4 * 128 + 5, 0x01, true },
    };
    for (size_t c = 0; c < sizeof changes / sizeof *changes; c++) {
        uint8_t *bad = copy_of(bytes, len);
        image i;
        err e;
        CHECK(check(bad, len, &i, &e), "%s", e.text);
        bad[i.tensors[changes[c].tensor].offset + changes[c].at] = changes[c].value;
        CHECK(image_verify(&i, teams[0], NULL, &e) != changes[c].wrong, "%s: %s", changes[c].says, e.text);
        CHECK(!image_verify(&i, teams[0], &SMALL_HASHER, &e), "%s: the hash sees it", changes[c].says);
        free(bad);
    }
}

static void cut_everywhere(const uint8_t *bytes, size_t len)
{
    size_t taken = 0;
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *part = copy_of(bytes, cut);
        image i;
        err e;
        taken += check(part, cut, &i, &e);
        free(part);
    }
    CHECK(taken == 0, "%zu of %zu lengths were taken", taken, len);
}

/* One number changed, and what must come of it. `from` is a section, or -1 for the header. */
static const struct row {
    const char *says;
    int section;
    size_t at, bytes;
    uint64_t value;
    enum err_code want;
} rows[] = {
    { "another magic", -1, 0, 1, 'h', ERR_VALUE },
    { "an older layout", -1, IMAGE_AT_VERSION, 4, IMAGE_VERSION - 1, ERR_UNSUPPORTED },
    { "a newer layout", -1, IMAGE_AT_VERSION, 4, IMAGE_VERSION + 1, ERR_UNSUPPORTED },
    { "a longer header", -1, IMAGE_AT_HEADER, 4, IMAGE_HEADER_BYTES + 64, ERR_VALUE },
    { "a size beyond the bytes", -1, IMAGE_AT_BYTES, 8, UINT64_MAX, ERR_TRUNCATED },
    { "a tensor too few", -1, IMAGE_AT_TENSORS, 4, SMALL_TENSORS - 1, ERR_VALUE },
    { "four billion tensors", -1, IMAGE_AT_TENSORS, 4, UINT32_MAX, ERR_VALUE },
    { "four billion extents", -1, IMAGE_AT_EXTENTS, 4, UINT32_MAX, ERR_VALUE },
    { "a section that wraps", -1, IMAGE_AT_SECTIONS + 8, 8, UINT64_MAX - 63, ERR_VALUE },
    { "a section at the end of addresses", -1, IMAGE_AT_SECTIONS + 16, 8, UINT64_MAX - 63, ERR_VALUE },
    { "the template over the vocabulary", -1, IMAGE_AT_SECTIONS + 32, 8, 768, ERR_VALUE },
    { "no architecture", IMAGE_FIELDS_SECTION, 0, 1, 0, ERR_VALUE },
    { "an architecture that is not UTF-8", IMAGE_FIELDS_SECTION, 0, 1, 0xFF, ERR_VALUE },
    { "no layers", IMAGE_FIELDS_SECTION, 32 + 8 * IMAGE_LAYERS, 8, 0, ERR_VALUE },
    { "the most layers", IMAGE_FIELDS_SECTION, 32 + 8 * IMAGE_LAYERS, 8, 1024, ERR_NONE },
    { "a layer more", IMAGE_FIELDS_SECTION, 32 + 8 * IMAGE_LAYERS, 8, 1025, ERR_VALUE },
    { "2^64 - 1 heads", IMAGE_FIELDS_SECTION, 32 + 8 * IMAGE_HEADS, 8, UINT64_MAX, ERR_VALUE },
    { "heads that do not divide", IMAGE_FIELDS_SECTION, 32 + 8 * IMAGE_KV_HEADS, 8, 3, ERR_VALUE },
    { "rope over odd dimensions", IMAGE_FIELDS_SECTION, 32 + 8 * IMAGE_ROPE_DIMS, 8, 15, ERR_VALUE },
    { "rope of window layers over less", IMAGE_FIELDS_SECTION, 32 + 8 * IMAGE_LOCAL_DIMS, 8, 14, ERR_VALUE },
    { "rope over more than a head", IMAGE_FIELDS_SECTION, 32 + 8 * IMAGE_ROPE_DIMS, 8, 18, ERR_VALUE },
    { "an epsilon that is no number", IMAGE_FIELDS_SECTION, 32 + 8 * IMAGE_EPS, 8, UINT64_C(0x7FF8000000000000),
      ERR_VALUE },
    { "an infinite rope base", IMAGE_FIELDS_SECTION, 32 + 8 * IMAGE_ROPE_BASE, 8, UINT64_C(0x7FF0000000000000),
      ERR_VALUE },
    { "an epsilon of 53 bits", IMAGE_FIELDS_SECTION, 32 + 8 * IMAGE_EPS, 8, UINT64_C(0x3EE0000000000001), ERR_VALUE },
    { "a scaling without a name", IMAGE_FIELDS_SECTION, 32 + 8 * IMAGE_ROPE_SCALING, 8, 4, ERR_VALUE },
    { "more experts used than there are", IMAGE_FIELDS_SECTION, 32 + 8 * IMAGE_TOP_K, 8, 4, ERR_VALUE },
    { "groups that do not divide", IMAGE_FIELDS_SECTION, 32 + 8 * IMAGE_GROUPS, 8, 2, ERR_VALUE },
    { "a latent rank that fits nothing", IMAGE_FIELDS_SECTION, 32 + 8 * IMAGE_KV_RANK, 8, 8, ERR_VALUE },
    { "a window without a period", IMAGE_FIELDS_SECTION, 32 + 8 * IMAGE_WINDOW, 8, 16, ERR_VALUE },
    { "no tokens", IMAGE_VOCAB_SECTION, 0, 4, 0, ERR_LIMIT },
    { "a token more than bytes", IMAGE_VOCAB_SECTION, 0, 4, SMALL_TOKENS + 1, ERR_VALUE },
    { "four billion merges", IMAGE_VOCAB_SECTION, 4, 4, UINT32_MAX, ERR_LIMIT },
    { "texts that wrap", IMAGE_VOCAB_SECTION, 24, 8, UINT64_MAX - 7, ERR_LIMIT },
    { "a part nobody knows", IMAGE_VOCAB_SECTION, 20, 4, 7, ERR_LIMIT },
    { "an id outside", IMAGE_VOCAB_SECTION, 40, 4, SMALL_TOKENS, ERR_VALUE },
    { "the last id", IMAGE_VOCAB_SECTION, 40, 4, SMALL_TOKENS - 1, ERR_NONE },
    { "a setting of 2", IMAGE_VOCAB_SECTION, 76, 1, 2, ERR_VALUE },
    { "a score that is no number", IMAGE_VOCAB_SECTION, 88, 4, 0x7FC00000, ERR_VALUE },
    { "a text longer than all", IMAGE_VOCAB_SECTION, 88 + 4 * SMALL_TOKENS, 2, 0xFFFF, ERR_VALUE },
    { "a text cut in its character", IMAGE_VOCAB_SECTION, 88 + 4 * SMALL_TOKENS, 2, 4, ERR_VALUE },
    { "a type of 7", IMAGE_VOCAB_SECTION, 88 + 6 * SMALL_TOKENS + 2 * SMALL_MERGES, 1, 7, ERR_VALUE },
    { "a kind nobody knows", IMAGE_TENSORS_SECTION, 2, 1, 5, ERR_VALUE },
    { "a matrix outside layers as a router's form", IMAGE_TENSORS_SECTION, 2, 1, 4, ERR_VALUE },
    { "a form of a router nobody knows", IMAGE_TENSORS_SECTION, 10 * IMAGE_TENSOR_BYTES + 8, 4, 5, ERR_VALUE },
    { "no form", IMAGE_TENSORS_SECTION, 10 * IMAGE_TENSOR_BYTES + 8, 4, 0, ERR_VALUE },
    { "another form of other size", IMAGE_TENSORS_SECTION, 10 * IMAGE_TENSOR_BYTES + 8, 4, 3, ERR_VALUE },
    { "planes with a rank", IMAGE_TENSORS_SECTION, 10 * IMAGE_TENSOR_BYTES + 12, 4, 2, ERR_VALUE },
    { "a factor of rank 0", IMAGE_TENSORS_SECTION, 11 * IMAGE_TENSOR_BYTES + 12, 4, 0, ERR_VALUE },
    { "a factor of more rank than rows", IMAGE_TENSORS_SECTION, 11 * IMAGE_TENSOR_BYTES + 12, 4, 4, ERR_VALUE },
    { "a form with an expert more than its router", IMAGE_TENSORS_SECTION, 10 * IMAGE_TENSOR_BYTES + 16, 8, 4,
      ERR_VALUE },
    { "a form with a column less", IMAGE_TENSORS_SECTION, 10 * IMAGE_TENSOR_BYTES + 24, 8, 69, ERR_VALUE },
    { "a layer over the limit", IMAGE_TENSORS_SECTION, 2 * IMAGE_TENSOR_BYTES + 4, 4, 1024, ERR_VALUE },
    { "a slot twice", IMAGE_TENSORS_SECTION, IMAGE_TENSOR_BYTES, 2, 0, ERR_VALUE },
    { "a type nobody knows", IMAGE_TENSORS_SECTION, 8, 4, 63, ERR_UNSUPPORTED },
    { "a type of other size", IMAGE_TENSORS_SECTION, 8, 4, WEIGHT_Q4_0, ERR_VALUE },
    { "a type of other blocks", IMAGE_TENSORS_SECTION, 8, 4, WEIGHT_Q4_K, ERR_VALUE },
    { "no matrices", IMAGE_TENSORS_SECTION, 3 * IMAGE_TENSOR_BYTES + 12, 4, 0, ERR_VALUE },
    { "more experts than may be", IMAGE_TENSORS_SECTION, 3 * IMAGE_TENSOR_BYTES + 12, 4, 1025, ERR_VALUE },
    { "no rows", IMAGE_TENSORS_SECTION, 16, 8, 0, ERR_VALUE },
    { "as many rows as fit the tile", IMAGE_TENSORS_SECTION, 16, 8, 32, ERR_NONE },
    { "a row more than the tiles", IMAGE_TENSORS_SECTION, 16, 8, 33, ERR_VALUE },
    { "rows that wrap", IMAGE_TENSORS_SECTION, 16, 8, UINT64_C(1) << 60, ERR_VALUE },
    { "half a block of columns", IMAGE_TENSORS_SECTION, 24, 8, 48, ERR_VALUE },
    { "an offset of the next tile", IMAGE_TENSORS_SECTION, 32, 8, 8192 + 64, ERR_VALUE },
    { "an offset before the data", IMAGE_TENSORS_SECTION, 32, 8, 0, ERR_VALUE },
    { "an offset that wraps", IMAGE_TENSORS_SECTION, 32, 8, UINT64_MAX - 63, ERR_VALUE },
    { "a stride of nothing", IMAGE_TENSORS_SECTION, 6 * IMAGE_TENSOR_BYTES + 48, 8, 0, ERR_VALUE },
    { "experts of two layers", IMAGE_TENSORS_SECTION, 8 * IMAGE_TENSOR_BYTES + 4, 4, 2, ERR_VALUE },
    { "an extent of another layer", IMAGE_EXTENTS_SECTION, 0, 4, 0, ERR_VALUE },
    { "an extent elsewhere", IMAGE_EXTENTS_SECTION, 8, 8, 4096, ERR_VALUE },
};

static size_t section_at(const uint8_t *bytes, int section)
{
    return section < 0 ? 0 : (size_t)le_u64(bytes + IMAGE_AT_SECTIONS + 16 * (size_t)section);
}

static void changed_rows(const uint8_t *bytes, size_t len)
{
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        uint8_t *bad = copy_of(bytes, len), *at = bad + section_at(bytes, rows[r].section) + rows[r].at;
        image i;
        err e;
        for (size_t b = 0; b < rows[r].bytes; b++) at[b] = (uint8_t)(rows[r].value >> 8 * b);
        bool good = check(bad, len, &i, &e);
        CHECK(e.code == rows[r].want && good == (rows[r].want == ERR_NONE), "%s: code %d, want %d: %s", rows[r].says,
              (int)e.code, (int)rows[r].want, e.text);
        free(bad);
    }
}

/* ---- the writer ---- */

static void bad_scales(struct small *s)
{
    static const struct {
        const char *says;
        size_t tensor, at;
        uint8_t byte;
        const char *want;
    } scales[] = {
        { "a scale of a matrix", 2, 36 * 17 + 1, 0x7C, "q: row 20 " }, /* rows are counted in the named tensor */
        { "a value of a norm", 1, 2 * 5 + 1, 0xFC, "norm: row 0 " },
        { "the scale of the last expert's last block", 8, 17 * (3 * 64 - 1), 0xFF, "downs: row 191 " },
    };
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        uint8_t *at = (uint8_t *)(uintptr_t)s->tensors[scales[i].tensor].bytes + scales[i].at, was = *at;
        size_t len;
        err e = { 0 };
        *at = scales[i].byte;
        arena_rewind(&room, 0);
        uint8_t *made = small_pack(s, NULL, teams[1], &room, &len, &e);
        CHECK(made == NULL && strncmp(e.text, scales[i].want, strlen(scales[i].want)) == 0, "%s: %s", scales[i].says,
              e.text);
        free(made);
        *at = was;
    }
}

/* Without a vocabulary and without hashes: the sections are empty, the identity zero, and reading all still works. */
static void bare(struct small *s)
{
    size_t len;
    image i;
    err e = { 0 };
    s->source.vocab = NULL;
    s->source.chat_template = (view){ 0 };
    arena_rewind(&room, 0);
    uint8_t *made = small_pack(s, NULL, teams[0], &room, &len, &e);
    if (!CHECK(made != NULL, "%s", e.text)) return;
    CHECK(check(made, len, &i, &e) && !i.has_vocab && i.chat_template.len_bytes == 0, "%s", e.text);
    CHECK(image_verify(&i, teams[0], &SMALL_HASHER, &e), "%s", e.text);
    made[i.tensors[2].offset + 16 * 16 + 1] = 0x7C; /* row 0's scale stands behind 16 bytes of codes of 16 rows */
    CHECK(!image_verify(&i, teams[0], NULL, &e) && e.code == ERR_VALUE, "a bad scale in the image: %s", e.text);
    free(made);
    s->source.vocab = &s->vocab;
}

int main(void)
{
    static struct small s;
    uint8_t *made[3];
    size_t len = 0;
    err e = { 0 };
    small_make(&s);
    if (!CHECK(arena_new(&room, 1 << 24, &e), "%s", e.text)) return check_done();
    for (size_t i = 0; i < 3; i++) {
        arena_rewind(&room, 0);
        made[i] = team_new(&teams[i], team_sizes[i], NULL, 0, &e)
                      ? small_pack(&s, &SMALL_HASHER, teams[i], &room, &len, &e)
                      : NULL;
        if (!CHECK(made[i] != NULL, "%s", e.text)) return check_done();
        CHECK(memcmp(made[0], made[i], len) == 0, "%zu threads make other bytes", team_sizes[i]);
    }
    there_and_back(&s, made[0], len);
    changed_rows(made[0], len);
    routes_wrong(made[0], len);
    cut_everywhere(made[0], len);
    damaged_everywhere(made[0], len);
    bad_scales(&s);
    bare(&s);
    for (size_t i = 0; i < 3; i++) {
        free(made[i]);
        team_free(teams[i]);
    }
    arena_free(&room);
    return check_done();
}
