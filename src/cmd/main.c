/* The table of commands. */
#include "cmd/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd/options.h"
#include "hearth.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} COMMANDS[] = {
    { "run", cmd_run, "an answer to a prompt, or a chat" },
    { "serve", cmd_serve, "answers programs that speak to OpenAI, Anthropic or Ollama" },
    { "ps", cmd_ps, "what a running server has and does" },
    { "stop", cmd_stop, "ends a running server" },
    { "list", cmd_list, "the models in the model folder" },
    { "key", cmd_key, "who may ask a server" },
    { "inspect", cmd_inspect, "what a model file holds" },
    { "tokens", cmd_tokens, "the token ids of a text, or the text of ids" },
    { "render", cmd_render, "the prompt that a chat template makes of messages" },
    { "logits", cmd_logits, "the raw scores of every next token, and their hash" },
    { "embed", cmd_embed, "a text as a vector" },
    { "eval", cmd_eval, "how well a model predicts a text: bits per byte, perplexity" },
    { "plan", cmd_plan, "what takes how much memory, and what to change" },
    { "pack", cmd_pack, "a model file as a packed image: it starts at once" },
    { "bench", cmd_bench, "tokens a second on this machine" },
    { "quantize", cmd_quantize, "the same model in fewer bits" },
    { "route", cmd_route, "how a sparse model chooses its experts, and at what cost" },
    { "tokenizer", cmd_tokenizer, "a vocabulary from text" },
    { "data", cmd_data, "texts to token shards, for training" },
    { "train", cmd_train, "makes a model, the same bits everywhere" },
    { "policy", cmd_policy, "what a policy file allows, in sentences" },
    { "doctor", cmd_doctor, "what this machine can do, what is missing and how to get it" },
};
enum { COMMAND_COUNT = sizeof COMMANDS / sizeof *COMMANDS };

static void help_print(FILE *out)
{
    fprintf(out, "hearth %s: language models on your own machine, the same bits everywhere\n\n", HEARTH_VERSION);
    fprintf(out, "usage: hearth COMMAND ...          hearth COMMAND --help says more\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) fprintf(out, "  %-10s%s\n", COMMANDS[i].name, COMMANDS[i].help);
    fprintf(out,
            "\nA MODEL is a GGUF file, a packed image, or a name in $HEARTH_MODELS (~/.local/share/hearth/models);\n"
            "left out, it is the model that ships with hearth.\n");
}

static int unknown_command(const char *name)
{
    const char *nearest = COMMANDS[0].name;
    for (size_t i = 1; i < COMMAND_COUNT; i++)
        if (name_distance(name, COMMANDS[i].name) < name_distance(name, nearest)) nearest = COMMANDS[i].name;
    say("no command %.60s; the nearest is %s (see hearth --help)", name, nearest);
    return EXIT_USAGE;
}

/* A full disk or a closed pipe shows here at the latest: an answer that was not written is not a success. */
static int output_end(int status)
{
    errno = 0;
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == EXIT_GOOD) {
        say("standard output: %s", errno != 0 ? strerror(errno) : "cannot write");
        return EXIT_FAILED;
    }
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        help_print(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        help_print(stdout);
        return output_end(EXIT_GOOD);
    }
    if (strcmp(name, "--version") == 0) {
        printf("hearth %s, arithmetic %d\n", HEARTH_VERSION, HEARTH_ARITHMETIC);
        return output_end(EXIT_GOOD);
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(name, COMMANDS[i].name) == 0) return output_end(COMMANDS[i].run(argc - 1, argv + 1));
    return unknown_command(name);
}
