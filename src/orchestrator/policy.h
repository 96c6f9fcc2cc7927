/* What an owner allows: one file, deny by default, read once at a start. docs/policy.md lists the keys; it is in the
 * one configuration format (base/config.h), so an unknown or doubled key is refused with its line. Without a file the
 * walls are JAIL_REQUIRED and the model is whichever its user names. */
#ifndef HEARTH_ORCHESTRATOR_POLICY_H
#define HEARTH_ORCHESTRATOR_POLICY_H

#include "base/config.h"
#include "jail/jail.h"

enum { POLICY_BYTES_MAX = 1 << 20, POLICY_MODELS_MAX = 1024, POLICY_HASH_BYTES = 32 };

/* A model that may be loaded: a file, or with a '/' at its end whatever lies in a folder. */
struct policy_model {
    view path;
    bool has_hash;
    uint8_t hash[POLICY_HASH_BYTES]; /* SHA-256 of the file */
};

struct policy {
    const char *path;  /* NULL: there is no file */
    uint32_t require;  /* walls, see jail.h */
    bool warn;         /* a required wall that is missing is told, and does not end the start */
    bool any_model;
    struct policy_model *models;
    size_t model_count;
};

/* Reads a policy; `path` is for its errors and what it is called. Errors: ERR_VALUE, ERR_LIMIT, with the line. */
bool policy_read(view text, const char *path, arena *a, struct policy *out, err *e);

/* The file at `path`; with NULL that of $HEARTH_POLICY, else /etc/hearth/policy where there is one, else none. Errors:
 * ERR_IO and policy_read's. */
bool policy_load(const char *path, arena *a, struct policy *out, err *e);

/* Whether the model file may be loaded: named by a line, its path taken as the system resolves it, and hashed where the
 * line has a hash. Errors: ERR_UNSUPPORTED, one line that says which key would allow it; ERR_IO. */
bool policy_allows(const struct policy *p, const char *path, err *e);

/* What it allows, in sentences. */
typedef void policy_line(void *arg, const char *line);
void policy_explain(const struct policy *p, policy_line *tell, void *arg);

#endif
