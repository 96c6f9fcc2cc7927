/* hearth inspect: what a model file holds, without loading its weights. */
#include "cmd/open.h"

#include "base/limits.h"
#include "format/json.h"
#include "image/image.h"

#include <stdio.h>

struct inspect_options {
    bool json, keys, tensors;
};

static const struct option ROWS[] = {
    { "--keys", NULL, OPTION_FLAG, offsetof(struct inspect_options, keys), 0, 0, NULL, NULL, "list the metadata too" },
    { "--tensors", NULL, OPTION_FLAG, offsetof(struct inspect_options, tensors), 0, 0, NULL, NULL,
      "list the tensors too" },
    { "--json", NULL, OPTION_FLAG, offsetof(struct inspect_options, json), 0, 0, NULL, NULL,
      "everything as one object" },
};

enum { TYPES_MAX = 256 };

/* Tensors of one type together. */
struct type_sum {
    const char *name;
    size_t tensors, bytes;
};

struct inspected {
    const char *path;
    model m; /* vocabulary and metadata */
    struct hyper hyper;
    bool computes; /* the architecture is one of ours; else `why` says what is wrong */
    err why;
    size_t values, bytes, tensors;
    struct type_sum types[TYPES_MAX];
    size_t type_count;
};

static void add_type(struct inspected *in, const char *name, size_t bytes)
{
    size_t i = 0;
    while (i < in->type_count && in->types[i].name != name) i++;
    if (i == TYPES_MAX) return;
    if (i == in->type_count) in->types[in->type_count++].name = name;
    in->types[i].tensors++;
    in->types[i].bytes += bytes;
}

static void count_tensors(struct inspected *in)
{
    const gguf_dir *dir = &in->m.files.dir; /* of a packed image: empty */
    const struct image *packed = in->m.image;
    for (size_t i = 0; packed != NULL && i < packed->tensor_count; i++) {
        const struct image_tensor *t = &packed->tensors[i];
        in->values += t->count * t->rows * t->cols;
        in->bytes += t->count * t->bytes;
        in->tensors++;
        add_type(in, weight_kind(t->type)->name, t->count * t->bytes);
    }
    in->tensors += dir->tensor_count;
    for (size_t i = 0; i < dir->tensor_count; i++) {
        const gguf_tensor *t = &dir->tensors[i];
        in->values += gguf_tensor_values(t);
        in->bytes += t->bytes;
        add_type(in, gguf_kind(t->type)->name, t->bytes);
    }
}

/* ---- text ---- */

static view text_of_key(const gguf_dir *dir, const char *key)
{
    err ignored = { 0 };
    view text = view_of("");
    gguf_str(dir, key, GGUF_OPTIONAL, &text, &ignored);
    return text;
}

/* Which tokenizer, and which splitting: from wherever the model came. */
static void vocabulary_names(const model *m, view *kind, view *pre)
{
    *kind = m->image != NULL ? m->image->vocab.model : text_of_key(&m->files.dir, "tokenizer.ggml.model");
    *pre = m->image != NULL ? m->image->vocab.pre : text_of_key(&m->files.dir, "tokenizer.ggml.pre");
}

static view architecture(const struct inspected *in)
{
    return in->m.image != NULL ? in->m.image->arch : text_of_key(&in->m.files.dir, "general.architecture");
}

/* "not computed", or 64 letters. */
static void identity_text(const model *m, char out[static 2 * IMAGE_HASH_BYTES + 1])
{
    bool any = false;
    for (size_t i = 0; i < IMAGE_HASH_BYTES; i++) {
        snprintf(out + 2 * i, 3, "%02x", m->identity[i]);
        any = any || m->identity[i] != 0;
    }
    if (!any) snprintf(out, 2 * IMAGE_HASH_BYTES + 1, "not computed");
}

static void print_format(const struct inspected *in)
{
    char identity[2 * IMAGE_HASH_BYTES + 1];
    const gguf_dir *dir = &in->m.files.dir;
    identity_text(&in->m, identity);
    if (in->m.image != NULL)
        printf("format        packed image, layout version %d\nidentity      %s\n", IMAGE_VERSION, identity);
    else
        printf("format        GGUF version %u, %zu metadata keys, %zu file%s\n", dir->version, dir->pair_count,
               in->m.files.file_count, in->m.files.file_count == 1 ? "" : "s");
}

static void print_view(const char *name, view v)
{
    if (v.len_bytes == 0) return;
    printf("%-14s", name);
    for (size_t i = 0; i < v.len_bytes; i++) putchar(v.ptr[i] < 0x20 || v.ptr[i] == 0x7F ? '?' : v.ptr[i]);
    printf("\n");
}

static void print_hyper(const struct hyper *h)
{
    printf("layers        %zu of width %zu, feed-forward %zu\n", h->layers, h->width, h->ffn_width);
    printf("attention     %zu heads, %zu key/value heads of %zu", h->heads, h->kv_heads, h->key_dim);
    if (h->window > 0) printf(", window %zu (every %zuth layer sees all)", h->window, h->window_period);
    printf("\ncontext       %zu tokens, rope base %g\n", h->ctx_train_tok, h->rope.base);
}

static void print_vocabulary(const model *m)
{
    if (m->tokenizer == NULL) {
        printf("vocabulary    none\n");
        return;
    }
    view kind, pre;
    vocabulary_names(m, &kind, &pre);
    printf("vocabulary    %zu tokens, %.*s", tokenizer_count(m->tokenizer), (int)kind.len_bytes,
           (const char *)kind.ptr);
    if (pre.len_bytes > 0) printf(", %.*s", (int)pre.len_bytes, (const char *)pre.ptr);
    const struct tokenizer_facts *facts = tokenizer_facts(m->tokenizer);
    printf(", bos %d%s, eos %d\n", facts->bos, facts->add_bos ? " (added)" : "", facts->eos);
}

static void print_tensors(const gguf_dir *dir)
{
    for (size_t i = 0; i < dir->tensor_count; i++) {
        const gguf_tensor *t = &dir->tensors[i];
        printf("  %-40.*s %-8s", (int)t->name.len_bytes, (const char *)t->name.ptr, gguf_kind(t->type)->name);
        for (uint32_t d = 0; d < t->dim_count; d++) printf("%s%zu", d > 0 ? " x " : " ", t->dims[d]);
        printf("\n");
    }
}

static void print_keys(const gguf_dir *dir)
{
    char shown[120];
    for (size_t i = 0; i < dir->pair_count; i++) {
        gguf_show(&dir->pairs[i], shown, sizeof shown);
        printf("  %.*s = %s\n", (int)dir->pairs[i].key.len_bytes, (const char *)dir->pairs[i].key.ptr, shown);
    }
}

static void print_text(const struct inspected *in, const struct inspect_options *set)
{
    const gguf_dir *dir = &in->m.files.dir;
    printf("file          %s\n", in->path);
    print_view("name", text_of_key(dir, "general.name"));
    print_view("architecture", architecture(in));
    print_view("licence", text_of_key(dir, "general.license"));
    if (in->computes) print_hyper(&in->hyper);
    else printf("not computed  %s\n", in->why.text);
    printf("weights       %zu values, %zu bytes in %zu tensors", in->values, in->bytes, in->tensors);
    for (size_t i = 0; i < in->type_count; i++)
        printf("%s %zu %s", i == 0 ? ":" : ",", in->types[i].tensors, in->types[i].name);
    printf("\n");
    print_vocabulary(&in->m);
    printf("template      %s\n", in->m.chat_template.len_bytes > 0 ? "yes" : "none");
    print_format(in);
    if (set->keys) print_keys(dir);
    if (set->tensors) print_tensors(dir);
}

/* ---- JSON ---- */

static void write_hyper(json_writer *w, const struct hyper *h)
{
    const struct {
        const char *name;
        size_t value;
    } rows[] = {
        { "layers", h->layers },     { "width", h->width },     { "ffn_width", h->ffn_width }, { "heads", h->heads },
        { "kv_heads", h->kv_heads }, { "key_dim", h->key_dim }, { "value_dim", h->value_dim }, { "vocab", h->vocab },
        { "context", h->ctx_train_tok }, { "window", h->window }, { "rope_dims", h->rope.dims },
    };
    json_key(w, "hyperparameters");
    json_begin_object(w);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_key(w, rows[i].name);
        json_uint(w, rows[i].value);
    }
    json_key(w, "rope_base");
    json_double(w, h->rope.base);
    json_end_object(w);
}

static void write_vocabulary(json_writer *w, const model *m)
{
    json_key(w, "vocabulary");
    if (m->tokenizer == NULL) {
        json_null(w);
        return;
    }
    const struct tokenizer_facts *facts = tokenizer_facts(m->tokenizer);
    const struct {
        const char *name;
        int32_t id;
    } ids[] = { { "bos", facts->bos }, { "eos", facts->eos }, { "eot", facts->eot }, { "eom", facts->eom } };
    view kind, pre;
    vocabulary_names(m, &kind, &pre);
    json_begin_object(w);
    json_key(w, "tokens");
    json_uint(w, tokenizer_count(m->tokenizer));
    json_key(w, "model");
    json_string(w, kind);
    json_key(w, "pre");
    json_string(w, pre);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        json_key(w, ids[i].name);
        if (ids[i].id >= 0) json_int(w, ids[i].id);
        else json_null(w);
    }
    json_key(w, "add_bos");
    json_bool(w, facts->add_bos);
    json_key(w, "add_eos");
    json_bool(w, facts->add_eos);
    json_end_object(w);
}

static void write_tensors(json_writer *w, const gguf_dir *dir)
{
    json_key(w, "tensors");
    json_begin_array(w);
    for (size_t i = 0; i < dir->tensor_count; i++) {
        const gguf_tensor *t = &dir->tensors[i];
        json_begin_object(w);
        json_key(w, "name");
        json_string(w, t->name);
        json_key(w, "type");
        json_text(w, gguf_kind(t->type)->name);
        json_key(w, "shape");
        json_begin_array(w);
        for (uint32_t d = 0; d < t->dim_count; d++) json_uint(w, t->dims[d]);
        json_end_array(w);
        json_key(w, "bytes");
        json_uint(w, t->bytes);
        json_end_object(w);
    }
    json_end_array(w);
}

static void write_keys(json_writer *w, const gguf_dir *dir)
{
    char shown[256];
    json_key(w, "metadata");
    json_begin_object(w);
    for (size_t i = 0; i < dir->pair_count; i++) {
        gguf_show(&dir->pairs[i], shown, sizeof shown);
        json_key_view(w, dir->pairs[i].key);
        json_text(w, shown);
    }
    json_end_object(w);
}

static bool print_json(struct inspected *in, err *e)
{
    const gguf_dir *dir = &in->m.files.dir;
    json_writer w;
    view text;
    json_writer_start(&w, &in->m.arena, JSON_BYTES_MAX, e);
    w.spaced = true;
    json_begin_object(&w);
    json_key(&w, "file");
    json_text(&w, in->path);
    json_key(&w, "name");
    json_string(&w, text_of_key(dir, "general.name"));
    json_key(&w, "architecture");
    json_string(&w, architecture(in));
    json_key(&w, "supported");
    json_bool(&w, in->computes);
    if (in->computes) {
        write_hyper(&w, &in->hyper);
    } else {
        json_key(&w, "error");
        json_text(&w, in->why.text);
    }
    json_key(&w, "parameters");
    json_uint(&w, in->values);
    json_key(&w, "weights_bytes");
    json_uint(&w, in->bytes);
    json_key(&w, "chat_template");
    json_bool(&w, in->m.chat_template.len_bytes > 0);
    if (in->m.image != NULL) {
        char identity[2 * IMAGE_HASH_BYTES + 1];
        identity_text(&in->m, identity);
        json_key(&w, "image_version");
        json_uint(&w, IMAGE_VERSION);
        json_key(&w, "identity");
        json_text(&w, identity);
    } else {
        json_key(&w, "gguf_version");
        json_uint(&w, dir->version);
    }
    write_vocabulary(&w, &in->m);
    write_tensors(&w, dir);
    write_keys(&w, dir);
    json_end_object(&w);
    if (!json_done(&w, &text)) return false;
    fwrite(text.ptr, 1, text.len_bytes, stdout);
    printf("\n");
    return true;
}

int cmd_inspect(int argc, char **argv)
{
    struct inspect_options set = { 0 };
    struct command_line line = { .command = "inspect", .usage = "[MODEL]", .words_max = 1,
                                 .about = "What a model file holds. No weights are read.",
                                 .groups = { { ROWS, sizeof ROWS / sizeof *ROWS, &set } } };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    char path[PATH_BYTES_MAX];
    struct inspected in = { .path = path };
    err e = { 0 };
    bool good = model_find(line.words[0], path, &e) && model_load_vocab(&in.m, path, &e);
    if (good) {
        in.computes = in.m.image != NULL || hyper_read(&in.m.files.dir, &in.hyper, &in.why);
        if (in.m.image != NULL) in.hyper = in.m.hyper;
        count_tensors(&in);
        if (set.json) good = print_json(&in, &e);
        else print_text(&in, &set);
    }
    model_free(&in.m);
    return good ? EXIT_GOOD : say_error(&e);
}
