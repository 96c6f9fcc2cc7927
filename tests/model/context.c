/* model/hyper.h: how long a context a model's file answers for, tried at one less, at it, and at one more. */
#include "model/hyper.h"

#include "base/limits.h"
#include "check.h"

static const struct row {
    const char *says;
    size_t train, original, most;
    double factor;
    enum rope_scaling scaling;
} rows[] = {
    { "no scaling: what it was trained on", 512, 512, 512, 1.0, ROPE_PLAIN },
    { "a factor that is not used", 512, 512, 512, 8.0, ROPE_PLAIN },
    { "linear: times the factor", 2048, 2048, 8192, 4.0, ROPE_LINEAR },
    { "yarn: the original context times the factor", 32768, 32768, 131072, 4.0, ROPE_YARN },
    { "a file that says the longer one itself", 131072, 32768, 131072, 4.0, ROPE_YARN },
    { "a factor that does not reach it", 65536, 16384, 65536, 2.0, ROPE_YARN },
    { "a factor between whole numbers", 1000, 1000, 1500, 1.5, ROPE_YARN },
    { "longrope: its long factors belong to the context the file says", 131072, 4096, 131072, 32.0, ROPE_LONG },
    { "never over what positions may be", 1 << 20, 1 << 20, CTX_TOK_MAX, 1024.0, ROPE_YARN },
};

int main(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        struct hyper h = { .ctx_train_tok = r->train };
        char train[24];
        h.rope = (struct rope_config){ .scaling = r->scaling, .factor = r->factor, .original_ctx_tok = r->original };
        CHECK(hyper_ctx_most(&h) == r->most, "%s: %zu, want %zu", r->says, hyper_ctx_most(&h), r->most);
        for (size_t at = 0; at < 3; at++) {
            err e = { 0 };
            size_t ctx = r->most - 1 + at;
            bool good = hyper_ctx_check(&h, ctx, &e);
            CHECK(good == (at < 2), "%s: %zu tokens: %d", r->says, ctx, good);
            snprintf(train, sizeof train, "%zu", ctx);
            CHECK(good || (e.code == ERR_LIMIT && strstr(e.text, train) != NULL), "%s: \"%s\"", r->says, e.text);
            snprintf(train, sizeof train, "%zu", r->most);
            CHECK(good || strstr(e.text, train) != NULL, "%s: \"%s\"", r->says, e.text);
        }
    }
    return check_done();
}
