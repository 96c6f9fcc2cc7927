/* Numbers for Prometheus (text format 0.0.4). No names of users, no text of anybody. */
#include "server/part.h"

#include <stdio.h>

void metrics_write(const server *s, struct buffer *out)
{
    const struct counters *n = &s->count;
    const struct { const char *name, *type, *help; uint64_t value; } rows[] = {
        { "hearth_uptime_seconds", "gauge", "Time since the start.", (s->now_ms - s->begun_ms) / 1000 },
        { "hearth_connections", "gauge", "Connections that are open.", s->conn_count },
        { "hearth_connections_total", "counter", "Connections taken.", n->clients },
        { "hearth_connections_refused_total", "counter", "Connections let go to make room.", n->clients_refused },
        { "hearth_requests_total", "counter", "Requests read whole.", n->requests },
        { "hearth_requests_inside", "gauge", "Requests that a model is asked now.", s->ask_count },
        { "hearth_answers_total", "counter", "Answers that came to their end.", n->answers },
        { "hearth_answers_cancelled_total", "counter", "Answers whose client left.", n->cancelled },
        { "hearth_failures_total", "counter", "Answers with a status of 500 and above.", n->failed },
        { "hearth_unknown_fields_total", "counter", "Fields of requests that were ignored.", n->unknown_fields },
        { "hearth_prompt_tokens_total", "counter", "Tokens of prompts.", n->prompt_tok },
        { "hearth_cached_tokens_total", "counter", "Of these, tokens that were not computed again.", n->cached_tok },
        { "hearth_generated_tokens_total", "counter", "Tokens of answers.", n->made_tok },
        { "hearth_received_bytes_total", "counter", "Bytes of requests.", n->bytes_in },
        { "hearth_sent_bytes_total", "counter", "Bytes of answers.", n->bytes_out },
    };
    char line[256];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(line, sizeof line, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", rows[i].name, rows[i].help, rows[i].name,
                 rows[i].type, rows[i].name, (unsigned long long)rows[i].value);
        buffer_add(out, view_of(line), HTTP_UNSENT_BYTES_MAX);
    }
    buffer_add(out, view_of("# HELP hearth_responses_total Answers by class of status.\n"
                            "# TYPE hearth_responses_total counter\n"), HTTP_UNSENT_BYTES_MAX);
    for (unsigned i = 2; i < STATUS_CLASSES; i++) {
        snprintf(line, sizeof line, "hearth_responses_total{class=\"%uxx\"} %llu\n", i,
                 (unsigned long long)n->by_class[i]);
        buffer_add(out, view_of(line), HTTP_UNSENT_BYTES_MAX);
    }
}
