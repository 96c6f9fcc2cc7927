/* From a word to a model file: see open.h. */
#include "cmd/open.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Joins the pieces; false where they do not fit or name no file. */
static bool try_path(char path[static PATH_BYTES_MAX], const char *folder, const char *name, const char *end)
{
    int len = snprintf(path, PATH_BYTES_MAX, "%s/%s%s", folder, name, end);
    return len > 0 && len < PATH_BYTES_MAX && is_file(path);
}

bool model_folder(char folder[static PATH_BYTES_MAX])
{
    const char *set = getenv("HEARTH_MODELS"), *home = getenv("HOME");
    int len = -1;
    if (set != NULL && set[0] != '\0') len = snprintf(folder, PATH_BYTES_MAX, "%s", set);
    else if (home != NULL) len = snprintf(folder, PATH_BYTES_MAX, "%s/.local/share/hearth/models", home);
    return len > 0 && len < PATH_BYTES_MAX;
}

/* The first ember*.gguf of ember/ in a folder, else of the folder itself, by name. */
static bool find_ember(const char *folder, char path[static PATH_BYTES_MAX])
{
    static const char *const places[] = { "ember/", "" };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char pattern[PATH_BYTES_MAX];
        int len = snprintf(pattern, sizeof pattern, "%s/%sember*.gguf", folder, places[i]);
        glob_t found;
        if (len < 0 || (size_t)len >= sizeof pattern || glob(pattern, 0, NULL, &found) != 0) continue;
        len = snprintf(path, PATH_BYTES_MAX, "%s", found.gl_pathv[0]);
        globfree(&found);
        return len > 0 && len < PATH_BYTES_MAX && is_file(path);
    }
    return false;
}

/* The model that ships lies in models/ of the source tree that holds build/release/hearth, or in the share folder
 * beside an installed bin/hearth. */
static bool find_shipped(char path[static PATH_BYTES_MAX])
{
    static const char *const places[] = { "../../models", "models", "../share/hearth/models" };
    char self[PATH_BYTES_MAX - 64], folder[PATH_BYTES_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len <= 0) return false;
    self[len] = '\0';
    char *slash = strrchr(self, '/');
    if (slash == NULL) return false;
    *slash = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(folder, sizeof folder, "%s/%s", self, places[i]);
        if (find_ember(folder, path)) return true;
    }
    return false;
}

bool model_find(const char *word, char path[static PATH_BYTES_MAX], err *e)
{
    char folder[PATH_BYTES_MAX];
    bool has_folder = model_folder(folder);
    if (word == NULL)
        return find_shipped(path) ||
               fail(e, ERR_MISSING, ERR_NO_OFFSET, "model: none given and none ships with this copy; give a GGUF file, "
                    "or put one into %s", has_folder ? folder : "$HEARTH_MODELS");
    int len = snprintf(path, PATH_BYTES_MAX, "%s", word);
    if (len >= PATH_BYTES_MAX)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "model: a path over %d bytes", PATH_BYTES_MAX - 1);
    if (access(path, F_OK) == 0) return true; /* what it is, and whether it can be read, the reader will say */
    if (strchr(word, '/') == NULL && has_folder &&
        (try_path(path, folder, word, "") || try_path(path, folder, word, ".gguf")))
        return true;
    return fail(e, ERR_MISSING, ERR_NO_OFFSET, "%.200s: no such file, and no model of that name in %.80s", word,
                has_folder ? folder : "$HEARTH_MODELS");
}
