/* hearth data: a configuration's texts become token shards. */
#include "cmd/options.h"

#include "train/run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void tell(void *arg, view path)
{
    (void)arg;
    if (isatty(STDERR_FILENO)) fprintf(stderr, "%.*s\n", (int)path.len_bytes, (const char *)path.ptr);
}

static void print_report(const struct corpus_report *r)
{
    printf("%10s %10s %8s %8s %8s %10s %9s  %s\n", "kB read", "paragraphs", "same", "near", "leaked", "tokens",
           "held out", "source");
    for (size_t i = 0; i < r->part_count; i++) {
        const struct corpus_part *p = &r->parts[i];
        view name = p->path.len_bytes > 0 ? p->path : view_of("(generated tasks)");
        printf("%10zu %10zu %8zu %8zu %8zu %10zu %9zu  %.*s\n", p->counts.bytes_in / 1000, p->counts.paragraphs,
               p->counts.exact, p->counts.near, p->counts.leaked, p->tokens, p->held_out_tokens, (int)name.len_bytes,
               (const char *)name.ptr);
    }
    printf("%zu documents, %zu tokens to learn; %zu documents, %zu tokens held out\n", r->documents, r->tokens,
           r->held_out_documents, r->held_out_tokens);
}

static bool make(struct run *r, const char *config, err *e)
{
    struct corpus_report report;
    char folder[PATH_BYTES];
    if (!run_open_config(r, config, e) || !path_join(r->settings.shards, "", folder, e)) return false;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return fail(e, ERR_IO, ERR_NO_OFFSET, "%s: %s", folder, strerror(errno));
    if (!corpus_make(&r->settings, r->vocab.tokenizer, tell, NULL, &r->arena, &report, e)) return false;
    print_report(&report);
    return true;
}

int cmd_data(int argc, char **argv)
{
    struct command_line line = {
        .command = "data", .usage = "CONFIG", .words_min = 1, .words_max = 1,
        .about = "turns the texts of a configuration into token shards: cleaned, repetitions and\n"
                 "what is held out removed, split by document; writes train.shard, held-out.shard\n"
                 "and manifest.tsv into the folder it names. Texts are .txt and .md (records at\n"
                 "form feeds) and .jsonl (\"text\", or \"messages\" with role and content).",
    };
    int status;
    if (!options_read(&line, argc, argv, &status)) return status;
    struct run r;
    err e = { 0 };
    bool good = make(&r, line.words[0], &e);
    run_close(&r);
    return good ? EXIT_GOOD : say_error(&e);
}
