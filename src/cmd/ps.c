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

static bool ps(const struct client_options *o, bool json, arena *a, err *e)
{
    view models, numbers;
    const json_value *root;
    if (!client_ask(o, "GET", "/api/ps", a, &models, e) || !json_parse(models, a, &root, e)) return false;
    if (json) {
        printf("%.*s\n", (int)models.len_bytes, (const char *)models.ptr);
        return true;
    }
    printf("%-32s%14s%10s\n", "model", "bytes", "context");
    const json_value *list = json_get(root, "models");
    if (list != NULL) JSON_EACH(m, list) {
        print_text(m, "name", 32);
        print_number(m, "size", 14);
        print_number(m, "context_length", 10);
        printf("\n");
    }
    err ignored = { 0 }; /* a key may not be for numbers */
    if (!client_ask(o, "GET", "/metrics", a, &numbers, &ignored)) return true;
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

int cmd_stop(int argc, char **argv)
{
    struct client_options client = { 0 };
    struct command_line line = { .command = "stop", .usage = "",
                                 .about = "Ends a running server; answers may go on for a while (drain).",
                                 .groups = { client_group(&client) } };
    arena a = { 0 };
    err e = { 0 };
    view body;
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    bool good = arena_new(&a, CLIENT_ARENA_BYTES, &e) && client_ask(&client, "POST", "/hearth/v1/stop", &a, &body, &e);
    arena_free(&a);
    return good ? EXIT_GOOD : say_error(&e);
}

/* ---- list ---- */

static int is_model(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return entry->d_name[0] != '.' && dot != NULL && (strcmp(dot, ".gguf") == 0 || strcmp(dot, ".hearth") == 0);
}

int cmd_list(int argc, char **argv)
{
    struct command_line line = { .command = "list", .usage = "", .about = "The models in $HEARTH_MODELS, by name." };
    char folder[PATH_BYTES_MAX], path[PATH_BYTES_MAX + 256];
    struct dirent **entries;
    struct stat st;
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    if (!model_folder(folder)) {
        say("list: neither $HEARTH_MODELS nor $HOME is set");
        return EXIT_FAILED;
    }
    int count = scandir(folder, &entries, is_model, alphasort);
    if (count < 0) {
        say("%s: no such folder", folder);
        return EXIT_FAILED;
    }
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        long long bytes = stat(path, &st) == 0 ? (long long)st.st_size : 0;
        printf("%-48s%16lld\n", entries[i]->d_name, bytes);
        free(entries[i]);
    }
    free(entries);
    return EXIT_GOOD;
}
