/* hearth ps, stop and list: what runs, its end, and what could run. */
#include "cmd/client.h"
#include "cmd/open.h"
#include "format/json.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { CLIENT_ARENA_BYTES = 1 << 26 };

static void print_text(const json_value *v, const char *name, int width)
{
    const json_value *found = json_get(v, name);
    bool has = found != NULL && found->type == JSON_STRING;
    printf("%-*.*s", width, has ? (int)found->text.len_bytes : 1, has ? (const char *)found->text.ptr : "-");
}

static void print_number(const json_value *v, const char *name, int width)
{
    int64_t value = 0;
    const json_value *found = json_get(v, name);
    if (found != NULL && json_i64(found, &value)) printf("%*lld", width, (long long)value);
    else printf("%*s", width, "-");
}

/* The value of a line "NAME VALUE" of the metrics. */
static void print_metric(view text, const char *name, const char *says)
{
    char wanted[96];
    int len = snprintf(wanted, sizeof wanted, "\n%s ", name);
    const uint8_t *at = memmem(text.ptr, text.len_bytes, wanted, (size_t)len);
    if (at == NULL) return;
    view rest = view_after(text, (size_t)(at - text.ptr) + (size_t)len);
    size_t digits = 0;
    while (digits < rest.len_bytes && rest.ptr[digits] != '\n') digits++;
    printf("  %-28s%.*s\n", says, (int)digits, (const char *)rest.ptr);
}

/* When it goes by itself: the server's time for "never" is far away. */
static void print_until(const json_value *m)
{
    const json_value *until = json_get(m, "expires_at");
    bool known = until != NULL && until->type == JSON_STRING && until->text.len_bytes > 0;
    bool never = known && view_starts(until->text, view_of("2999"));
    if (!known || never) printf("  %s", "another needs its room");
    else printf("  %.*s", (int)until->text.len_bytes, (const char *)until->text.ptr);
}

static bool ps(const struct client_options *o, bool json, arena *a, err *e)
{
    view models, numbers, nothing = view_of("");
    const json_value *root;
    if (!client_ask(o, "GET", "/api/ps", nothing, a, &models, e) || !json_parse(models, a, &root, e)) return false;
    if (json) {
        printf("%.*s\n", (int)models.len_bytes, (const char *)models.ptr);
        return true;
    }
    printf("%-32s%14s%14s%10s  %s\n", "model", "weights", "beside", "context", "stays until");
    const json_value *list = json_get(root, "models");
    if (list != NULL) JSON_EACH(m, list) {
        print_text(m, "name", 32);
        print_number(m, "size", 14);
        print_number(m, "plan_bytes", 14);
        print_number(m, "context_length", 10);
        print_until(m);
        printf("\n");
    }
    err ignored = { 0 }; /* a key may not be for numbers */
    if (!client_ask(o, "GET", "/metrics", nothing, a, &numbers, &ignored)) return true;
    print_metric(numbers, "hearth_requests_inside", "requests now");
    print_metric(numbers, "hearth_connections", "connections");
    print_metric(numbers, "hearth_answers_total", "answers");
    print_metric(numbers, "hearth_prompt_tokens_total", "prompt tokens");
    print_metric(numbers, "hearth_cached_tokens_total", "of these cached");
    print_metric(numbers, "hearth_generated_tokens_total", "tokens made");
    return true;
}

struct ps_options {
    bool json;
};

static const struct option PS_ROWS[] = {
    { "--json", NULL, OPTION_FLAG, offsetof(struct ps_options, json), 0, 0, NULL, NULL, "one object" },
};

int cmd_ps(int argc, char **argv)
{
    struct client_options client = { 0 };
    struct ps_options o = { 0 };
    struct command_line line = { .command = "ps", .usage = "", .about = "Models of a running server, and its numbers.",
                                 .groups = { { PS_ROWS, sizeof PS_ROWS / sizeof *PS_ROWS, &o },
                                             client_group(&client) } };
    arena a = { 0 };
    err e = { 0 };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    bool good = arena_new(&a, CLIENT_ARENA_BYTES, &e) && ps(&client, o.json, &a, &e);
    arena_free(&a);
    return good ? EXIT_GOOD : say_error(&e);
}

/* Lets one model go, or ends the server. */
static bool stop(const struct client_options *o, const char *name, arena *a, err *e)
{
    json_writer w;
    view sent = view_of(""), body;
    if (name == NULL) return client_ask(o, "POST", "/hearth/v1/stop", sent, a, &body, e);
    json_writer_start(&w, a, PATH_BYTES_MAX, e);
    json_begin_object(&w);
    json_key(&w, "model");
    json_text(&w, name);
    json_end_object(&w);
    return json_done(&w, &sent) && client_ask(o, "POST", "/models/unload", sent, a, &body, e);
}

int cmd_stop(int argc, char **argv)
{
    struct client_options client = { 0 };
    struct command_line line = { .command = "stop", .usage = "[MODEL]", .words_max = 1,
                                 .about = "Ends a running server; answers may go on for a while (drain). With MODEL: "
                                          "that one leaves memory once nobody asks it anything.",
                                 .groups = { client_group(&client) } };
    arena a = { 0 };
    err e = { 0 };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    bool good = arena_new(&a, CLIENT_ARENA_BYTES, &e) &&
                stop(&client, line.word_count > 0 ? line.words[0] : NULL, &a, &e);
    arena_free(&a);
    return good ? EXIT_GOOD : say_error(&e);
}

/* ---- list ---- */

static int is_model(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return entry->d_name[0] != '.' && dot != NULL && (strcmp(dot, ".gguf") == 0 || strcmp(dot, ".hearth") == 0);
}

/* The models of a running server; NULL where none answers: a list needs none. */
static const json_value *served_list(const struct client_options *o, arena *a)
{
    view body;
    const json_value *root;
    err ignored = { 0 };
    if (!client_ask(o, "GET", "/v1/models", view_of(""), a, &body, &ignored) || !json_parse(body, a, &root, &ignored))
        return NULL;
    return json_get(root, "data");
}

static const char *state_of(const json_value *m)
{
    const json_value *loaded = json_get(json_get(m, "meta"), "loaded");
    return loaded != NULL && loaded->type == JSON_TRUE ? "loaded" : "served";
}

/* A file is served by its name without the ending. */
static const json_value *served_as(const json_value *list, const char *file)
{
    view name = { (const uint8_t *)file, (size_t)(strrchr(file, '.') - file) };
    if (list != NULL) JSON_EACH(m, list) {
        const json_value *id = json_get(m, "id");
        if (id != NULL && view_equal(id->text, name)) return m;
    }
    return NULL;
}

static void list_folder(const char *folder, struct dirent **entries, int count, const json_value *served)
{
    char path[PATH_BYTES_MAX + 256];
    struct stat st;
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        long long bytes = stat(path, &st) == 0 ? (long long)st.st_size : 0;
        const json_value *m = served_as(served, entries[i]->d_name);
        printf("%-48s%16lld%s%s\n", entries[i]->d_name, bytes, m != NULL ? "  " : "", m != NULL ? state_of(m) : "");
    }
}

/* Those of the server whose files lie elsewhere. */
static void list_others(struct dirent **entries, int count, const json_value *served)
{
    if (served == NULL) return;
    JSON_EACH(m, served) {
        bool known = false;
        for (int i = 0; i < count && !known; i++) known = served_as(served, entries[i]->d_name) == m;
        if (known) continue;
        print_text(m, "id", 48);
        print_number(json_get(m, "meta"), "size", 16);
        printf("  %s\n", state_of(m));
    }
}

int cmd_list(int argc, char **argv)
{
    struct client_options client = { 0 };
    struct command_line line = { .command = "list", .usage = "",
                                 .about = "The models in $HEARTH_MODELS, by name, and those of a running server: "
                                          "loaded, or served and loaded when asked for.",
                                 .groups = { client_group(&client) } };
    char folder[PATH_BYTES_MAX];
    struct dirent **entries = NULL;
    arena a = { 0 };
    err e = { 0 };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    if (!arena_new(&a, CLIENT_ARENA_BYTES, &e)) return say_error(&e);
    const json_value *served = served_list(&client, &a);
    bool has_folder = model_folder(folder);
    int count = has_folder ? scandir(folder, &entries, is_model, alphasort) : -1;
    if (count >= 0) list_folder(folder, entries, count, served);
    list_others(entries, count, served);
    if (count < 0 && served == NULL)
        say("%s: no such folder", has_folder ? folder : "neither $HEARTH_MODELS nor $HOME is set; the model folder");
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
    arena_free(&a);
    return count < 0 && served == NULL ? EXIT_FAILED : EXIT_GOOD;
}
