/* The options of sampling, and what they become: see open.h. */
#include "cmd/open.h"

#include "base/limits.h"

#define AT(field) offsetof(struct draw_options, field)

static const struct option DRAW_ROWS[] = {
    { "--seed", "N", OPTION_SEED, AT(seed), 0, 0, NULL, "0", "seed of the draws: same seed, same text" },
    { "--temp", "X", OPTION_NUMBER, AT(temperature), 0, 100, NULL, "0.7", "temperature; 0 takes the likeliest token" },
    { "--top-k", "N", OPTION_COUNT, AT(top_k), 0, VOCAB_MAX, NULL, "40", NULL },
    { "--top-p", "X", OPTION_NUMBER, AT(top_p), 0, 1, NULL, "0.95", NULL },
    { "--min-p", "X", OPTION_NUMBER, AT(min_p), 0, 1, NULL, "0.05", NULL },
    { "--stop", "TEXT", OPTION_TEXTS, AT(stops), 0, 0, NULL, NULL, "end the answer before TEXT; may be repeated" },
    { "--typical-p", "X", OPTION_NUMBER, AT(typical_p), 0, 1, NULL, "1", NULL },
    { "--repeat-penalty", "X", OPTION_NUMBER, AT(repeat_penalty), 0.01, 100, NULL, "1", NULL },
    { "--presence-penalty", "X", OPTION_NUMBER, AT(presence_penalty), -100, 100, NULL, "0", NULL },
    { "--frequency-penalty", "X", OPTION_NUMBER, AT(frequency_penalty), -100, 100, NULL, "0", NULL },
    { "--penalty-window", "N", OPTION_COUNT, AT(penalty_window), 0, CTX_TOK_MAX, NULL, "64", NULL },
    { "--dry-multiplier", "X", OPTION_NUMBER, AT(dry_multiplier), 0, 100, NULL, "0", NULL },
    { "--dry-base", "X", OPTION_NUMBER, AT(dry_base), 1, 4, NULL, "1.75", NULL },
    { "--dry-allowed", "N", OPTION_COUNT, AT(dry_allowed), 0, 64, NULL, "2", NULL },
    { "--logit-bias", "TOKEN=X", OPTION_TEXTS, AT(bias), 0, 0, NULL, NULL, NULL },
};

struct option_group draw_group(struct draw_options *values)
{
    return (struct option_group){ DRAW_ROWS, sizeof DRAW_ROWS / sizeof *DRAW_ROWS, values };
}
