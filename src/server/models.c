/* The models a server has, as each API lists them. One body serves both SDKs that ask for /v1/models. */
#include "server/api.h"

#include <stdio.h>

/* "name", "name:latest" as Ollama's clients say it, or an alias. */
static bool is_named(view name, view model)
{
    view tag = view_of(":latest");
    if (view_equal(name, model)) return true;
    return name.len_bytes == model.len_bytes + tag.len_bytes && view_starts(name, model) &&
           view_equal(view_after(name, model.len_bytes), tag);
}

bool served_model(const server *s, view name, uint32_t *index)
{
    const struct model_facts *facts;
    size_t count = s->b.models(s->b.self, &facts);
    *index = 0;
    if (name.len_bytes == 0) return count > 0;
    for (size_t i = 0; i < s->o->alias_count; i++)
        if (is_named(name, s->o->aliases[i].name)) {
            name = s->o->aliases[i].model;
            break;
        }
    for (size_t i = 0; i < count; i++) {
        *index = (uint32_t)i;
        if (is_named(name, facts[i].name)) return true;
    }
    return false;
}

static void member(json_writer *w, const char *name, view text)
{
    json_key(w, name);
    json_string(w, text);
}

static void write_model(const struct model_facts *m, json_writer *w)
{
    char made[TIME_TEXT_BYTES];
    time_text((int64_t)m->created_s, made);
    json_begin_object(w);
    member(w, "id", m->name);
    member(w, "object", view_of("model"));
    json_key(w, "created");
    json_uint(w, m->created_s);
    member(w, "owned_by", view_of("hearth"));
    member(w, "type", view_of("model"));
    member(w, "display_name", m->name);
    member(w, "created_at", view_of(made));
    json_key(w, "meta");
    json_begin_object(w);
    json_key(w, "n_ctx");
    json_uint(w, m->ctx_tok);
    json_key(w, "n_ctx_train");
    json_uint(w, m->ctx_train_tok);
    json_key(w, "n_vocab");
    json_uint(w, m->vocab);
    json_key(w, "n_embd");
    json_uint(w, m->width);
    json_key(w, "size");
    json_uint(w, m->weights_bytes);
    json_key(w, "loaded");
    json_bool(w, m->loaded);
    json_end_object(w);
    json_end_object(w);
}

void openai_models(server *s, json_writer *w, view one)
{
    const struct model_facts *facts;
    size_t count = s->b.models(s->b.self, &facts);
    uint32_t index;
    if (one.len_bytes > 0 && served_model(s, one, &index)) {
        write_model(&facts[index], w);
        return;
    }
    json_begin_object(w);
    member(w, "object", view_of("list"));
    json_key(w, "has_more");
    json_bool(w, false);
    json_key(w, "first_id");
    if (count > 0) json_string(w, facts[0].name);
    else json_null(w);
    json_key(w, "last_id");
    if (count > 0) json_string(w, facts[count - 1].name);
    else json_null(w);
    json_key(w, "data");
    json_begin_array(w);
    for (size_t i = 0; i < count; i++) write_model(&facts[i], w);
    json_end_array(w);
    json_end_object(w);
}

/* ---- Ollama ---- */

static void write_details(const struct model_facts *m, json_writer *w)
{
    char size[32];
    double billions = (double)m->parameters / 1e9;
    snprintf(size, sizeof size, billions >= 1.0 ? "%.1fB" : "%.0fM", billions >= 1.0 ? billions : billions * 1e3);
    json_key(w, "details");
    json_begin_object(w);
    member(w, "parent_model", view_of(""));
    member(w, "format", view_of("gguf"));
    member(w, "family", m->architecture);
    json_key(w, "families");
    json_begin_array(w);
    json_string(w, m->architecture);
    json_end_array(w);
    member(w, "parameter_size", view_of(size));
    member(w, "quantization_level", m->format);
    json_end_object(w);
}

static void write_tag(const struct model_facts *m, json_writer *w)
{
    char made[TIME_TEXT_BYTES];
    time_text((int64_t)m->created_s, made);
    member(w, "name", m->name);
    member(w, "model", m->name);
    member(w, "modified_at", view_of(made));
    json_key(w, "size");
    json_uint(w, m->weights_bytes);
    member(w, "digest", m->identity);
    write_details(m, w);
}

void ollama_tags(server *s, json_writer *w)
{
    const struct model_facts *facts;
    size_t count = s->b.models(s->b.self, &facts);
    json_begin_object(w);
    json_key(w, "models");
    json_begin_array(w);
    for (size_t i = 0; i < count; i++) {
        json_begin_object(w);
        write_tag(&facts[i], w);
        json_end_object(w);
    }
    json_end_array(w);
    json_end_object(w);
}

void ollama_ps(server *s, json_writer *w)
{
    const struct model_facts *facts;
    size_t count = s->b.models(s->b.self, &facts);
    json_begin_object(w);
    json_key(w, "models");
    json_begin_array(w);
    for (size_t i = 0; i < count; i++) {
        char until[TIME_TEXT_BYTES];
        if (!facts[i].loaded) continue;
        json_begin_object(w);
        write_tag(&facts[i], w);
        time_text(facts[i].expires_s, until);
        /* What goes by itself never is said as Ollama's clients read it: a time that nobody will see. */
        member(w, "expires_at", view_of(facts[i].expires_s > 0 ? until : "2999-12-31T23:59:59Z"));
        json_key(w, "plan_bytes");
        json_uint(w, facts[i].plan_bytes);
        json_key(w, "size_vram");
        json_uint(w, 0);
        json_key(w, "context_length");
        json_uint(w, facts[i].ctx_tok);
        json_end_object(w);
    }
    json_end_array(w);
    json_end_object(w);
}

static void info(json_writer *w, view architecture, const char *name, uint64_t value)
{
    char key[128];
    snprintf(key, sizeof key, "%.*s.%s", (int)(architecture.len_bytes < 64 ? architecture.len_bytes : 64),
             (const char *)architecture.ptr, name);
    json_key(w, key);
    json_uint(w, value);
}

void ollama_show(const struct model_facts *m, json_writer *w)
{
    const struct { const char *name; bool has; } abilities[] = {
        { "completion", true }, { "tools", m->can_call }, { "thinking", m->can_think }, { "embedding", m->can_embed },
    };
    json_begin_object(w);
    member(w, "license", view_of(""));
    member(w, "modelfile", view_of(""));
    member(w, "parameters", view_of(""));
    member(w, "template", m->chat_template);
    write_details(m, w);
    json_key(w, "model_info");
    json_begin_object(w);
    member(w, "general.architecture", m->architecture);
    json_key(w, "general.parameter_count");
    json_uint(w, m->parameters);
    info(w, m->architecture, "context_length", m->ctx_tok);
    info(w, m->architecture, "embedding_length", m->width);
    info(w, m->architecture, "vocab_size", m->vocab);
    json_end_object(w);
    json_key(w, "capabilities");
    json_begin_array(w);
    for (size_t i = 0; i < sizeof abilities / sizeof *abilities; i++)
        if (abilities[i].has) json_text(w, abilities[i].name);
    json_end_array(w);
    json_end_object(w);
}

/* ---- into memory and out of it: llama-server's names ---- */

static const struct field LOAD_FIELDS[] = {
    { "model", FIELD_TEXT, offsetof(struct reading, model), 0, 0, NULL, NULL },
};

static bool read_load(struct reading *rd)
{
    return rd->model.len_bytes > 0 || refuse_with(rd->r, 400, "model", "model: a name is needed");
}

static void whole_load(struct exchange *x, json_writer *w)
{
    (void)x;
    json_begin_object(w);
    json_key(w, "success");
    json_bool(w, true);
    json_end_object(w);
}

/* Answered when the model is there, or with the numbers that say why not. */
const struct api API_LOAD = {
    .name = "load", .id_prefix = "load-", .fields = LOAD_FIELDS, .field_count = 1, .kind = ASK_LOAD, .read = read_load,
    .whole = whole_load, .error = openai_error,
};

/* Answered at once: it goes when nobody asks it anything any more. */
const struct api API_UNLOAD = {
    .name = "unload", .id_prefix = "load-", .fields = LOAD_FIELDS, .field_count = 1, .kind = ASK_UNLOAD,
    .read = read_load, .whole = whole_load, .error = openai_error,
};
