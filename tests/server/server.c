/* The server before the scripted model (script.h), over loopback: what each API answers, what each refuses and how,
 * who may ask, and clients that are slow, silent, greedy or gone. Time is the machine's; waits are short settings. */
#include "server/server.h"

#include "check.h"
#include "server/script.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { ANSWER_BYTES = 1 << 20 };

struct bench {
    struct script script;
    struct server_options o;
    server *s;
    uint16_t port;
    int stop[2];
    char answer[ANSWER_BYTES];
    size_t answer_bytes;
};

static int listen_any(uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 1024) != 0) return -1;
    getsockname(fd, (struct sockaddr *)&at, &len);
    *port = ntohs(at.sin_port);
    return fd;
}

/* A server with `change` made to its options. */
static struct bench *start(void (*change)(struct server_options *o))
{
    struct bench *b = calloc(1, sizeof *b);
    err e = { 0 };
    b->o = server_defaults();
    b->o.backend = script_backend(&b->script);
    b->o.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    b->o.listeners[0].fd = listen_any(&b->port);
    b->o.listener_count = 1;
    b->o.version = view_of("0.1");
    if (pipe(b->stop) == 0) b->o.stop_fd = b->stop[0];
    if (change != NULL) change(&b->o);
    CHECK(server_new(&b->s, &b->o, &e), "server: %s", e.text);
    return b;
}

static void end(struct bench *b)
{
    server_free(b->s);
    script_free(&b->script);
    close(b->o.epoll_fd);
    close(b->o.listeners[0].fd);
    close(b->stop[0]);
    close(b->stop[1]);
    free(b);
}

static int connect_to(const struct bench *b)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(b->port) };
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0) return -1;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void turns(struct bench *b, unsigned ms)
{
    uint64_t until = script_ms() + ms;
    do server_turn(b->s, 5);
    while (script_ms() < until);
}

static void put(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);
        if (sent <= 0) return;
        text += sent;
        len -= (size_t)sent;
    }
}

/* Reads until the answer is whole as its framing says, or the connection ends; at most 2 s. */
static const char *get(struct bench *b, int fd)
{
    uint64_t until = script_ms() + 6000; /* a machine with other work is slow */
    b->answer_bytes = 0;
    while (script_ms() < until) {
        server_turn(b->s, 1);
        ssize_t got = recv(fd, b->answer + b->answer_bytes, ANSWER_BYTES - 1 - b->answer_bytes, 0);
        if (got == 0) break;
        if (got < 0 && errno != EAGAIN) break;
        if (got > 0) b->answer_bytes += (size_t)got;
        b->answer[b->answer_bytes] = '\0';
        const char *body = strstr(b->answer, "\r\n\r\n"), *length = strstr(b->answer, "Content-Length: ");
        if (body == NULL) continue;
        if (length != NULL && length < body &&
            b->answer_bytes - (size_t)(body + 4 - b->answer) >= strtoul(length + 16, NULL, 10)) break;
        if (strstr(b->answer, "\r\n0\r\n\r\n") != NULL) break;
    }
    b->answer[b->answer_bytes] = '\0';
    return b->answer;
}

static const char *ask_with(struct bench *b, const char *line, const char *headers, const char *body)
{
    char head[4096];
    int fd = connect_to(b);
    int len = snprintf(head, sizeof head, "%s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %zu\r\n\r\n", line,
                       headers, strlen(body));
    put(fd, head, (size_t)len);
    put(fd, body, strlen(body));
    const char *answer = get(b, fd);
    close(fd);
    server_turn(b->s, 0);
    return answer;
}

static const char *ask(struct bench *b, const char *line, const char *body)
{
    return ask_with(b, line, "", body);
}

/* Does the answer hold all of these texts, one behind the other? A NULL ends them. */
static bool in_order(const char *text, ...)
{
    va_list args;
    va_start(args, text);
    const char *at = text;
    for (const char *want = va_arg(args, const char *); want != NULL && at != NULL; want = va_arg(args, const char *)) {
        at = strstr(at, want);
        if (at == NULL) printf("missing: %s\n", want);
        else at += strlen(want);
    }
    va_end(args);
    return at != NULL;
}

#define USER(text) "\"messages\":[{\"role\":\"user\",\"content\":\"" text "\"}]"
#define TOOLS                                                                                                          \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"parameters\":{\"type\":\"object\"}}}]"

/* ---- the wire form of each API ---- */

static const struct { const char *says, *line, *body, *want[5];
} WIRE_ROWS[] = {
    { "chat",
      "POST /v1/chat/completions",
      "{\"model\":\"scripted\"," USER("hello you") "}",
      { "200 OK", "\"object\":\"chat.completion\"", "\"content\":\"hello you\"", "\"finish_reason\":\"stop\"",
        "\"prompt_tokens\":" } },
    { "chat stream",
      "POST /v1/chat/completions",
      "{\"stream\":true," USER("hello you") "}",
      { "text/event-stream", "data: {\"id\":\"chatcmpl-", "\"delta\":{\"role\":\"assistant\"",
        "\"content\":\" you\"", "data: [DONE]" } },
    { "chat calls",
      "POST /v1/chat/completions",
      "{\"stream\":true," TOOLS "," USER("call") "}",
      { "\"tool_calls\":[{\"index\":0,\"id\":\"call_", "\"type\":\"function\"", "\"name\":\"weather\"",
        "\"arguments\":\"{\\\"city\\\":\\\"Paris\\\"}\"", "\"finish_reason\":\"tool_calls\"" } },
    { "chat usage in a stream",
      "POST /v1/chat/completions",
      "{\"stream\":true,\"stream_options\":{\"include_usage\":true}," USER("a") "}",
      { "\"finish_reason\":\"stop\"", "\"choices\":[],\"usage\":{", "\"cached_tokens\":1", "[DONE]", NULL } },
    { "completions",
      "POST /v1/completions",
      "{\"prompt\":\"go on\"}",
      { "\"object\":\"text_completion\"", "\"text\":\"go on\"", "\"finish_reason\":\"stop\"", NULL, NULL } },
    { "responses",
      "POST /v1/responses",
      "{\"input\":\"think hi\"}",
      { "\"object\":\"response\"", "\"type\":\"reasoning\"", "\"type\":\"message\"", "\"text\":\"think hi\"",
        "\"total_tokens\":" } },
    { "responses stream",
      "POST /v1/responses",
      "{\"stream\":true,\"input\":\"hi\"}",
      { "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0",
        "event: response.output_item.added", "event: response.content_part.added",
        "event: response.output_text.delta", "event: response.completed" } },
    { "messages",
      "POST /v1/messages",
      "{\"max_tokens\":50," USER("hi there") "}",
      { "\"type\":\"message\"", "{\"type\":\"text\",\"text\":\"hi there\"}", "\"stop_reason\":\"end_turn\"",
        "\"cache_read_input_tokens\":1", "\"output_tokens\":" } },
    { "messages stream",
      "POST /v1/messages",
      "{\"stream\":true,\"max_tokens\":50," USER("think hi") "}",
      { "event: message_start", "\"type\":\"thinking\",\"thinking\":\"\"", "event: content_block_stop",
        "\"type\":\"text_delta\"", "event: message_stop" } },
    { "messages calls",
      "POST /v1/messages",
      "{\"stream\":true,\"tools\":[{\"name\":\"weather\",\"input_schema\":{\"type\":\"object\"}}]," USER(
          "call") "}",
      { "\"type\":\"tool_use\",\"id\":\"toolu_", "\"input\":{}",
        "\"partial_json\":\"{\\\"city\\\":\\\"Paris\\\"}\"", "event: content_block_stop",
        "\"stop_reason\":\"tool_use\"" } },
    { "count",
      "POST /v1/messages/count_tokens",
      "{" USER("hi there") "}",
      { "200 OK", "{\"input_tokens\":3}", NULL, NULL, NULL } },
    { "ollama chat",
      "POST /api/chat",
      "{\"model\":\"scripted:latest\"," USER("hi there") "}",
      { "application/x-ndjson", "\"content\":\"hi\"},\"done\":false}", "\"content\":\" there\"},\"done\":false}",
        "\"done\":true,\"done_reason\":\"stop\"", "\"eval_count\":2" } },
    { "ollama calls are objects",
      "POST /api/chat",
      "{\"stream\":false," TOOLS "," USER("call") "}",
      { "\"tool_calls\":[{", "\"name\":\"weather\",\"arguments\":{\"city\":\"Paris\"}", "\"done\":true", NULL,
        NULL } },
    { "ollama generate",
      "POST /api/generate",
      "{\"stream\":false,\"prompt\":\"go\",\"system\":\"s\"}",
      { "\"response\":\"go\"", "\"done\":true", NULL, NULL, NULL } },
    { "ollama embed",
      "POST /api/embed",
      "{\"input\":[\"a\",\"b\"]}",
      { "\"embeddings\":[[0.5,1,", "],[0.5,1,", "\"prompt_eval_count\":", NULL, NULL } },
    { "embeddings",
      "POST /v1/embeddings",
      "{\"input\":\"a\"}",
      { "\"embedding\":[0.5,1,1.5", NULL, NULL, NULL, NULL } },
    { "embeddings base64",
      "POST /v1/embeddings",
      "{\"input\":\"a\",\"encoding_format\":\"base64\"}",
      { "\"embedding\":\"AAAAPwAAgD8", NULL, NULL, NULL, NULL } },
    { "models",
      "GET /v1/models",
      "",
      { "\"object\":\"list\"", "\"id\":\"scripted\"", "\"id\":\"other\"", NULL, NULL } },
    { "one model", "GET /v1/models/other", "", { "{\"id\":\"other\"", NULL, NULL, NULL, NULL } },
    { "tags", "GET /api/tags", "", { "{\"models\":[{\"name\":\"scripted\"", NULL, NULL, NULL, NULL } },
    { "show",
      "POST /api/show",
      "{\"model\":\"other\"}",
      { "\"script.context_length\":4096", "\"tools\"", NULL, NULL, NULL } },
    { "version", "GET /api/version", "", { "{\"version\":\"0.1\"}", NULL, NULL, NULL, NULL } },
    { "tokenize", "POST /tokenize", "{\"content\":\"AB\"}", { "{\"tokens\":[65,66]", NULL, NULL, NULL, NULL } },
    { "apply-template",
      "POST /apply-template",
      "{" USER("hi") "}",
      { "{\"prompt\":\"hi\"}", NULL, NULL, NULL, NULL } },
    { "health", "GET /health", "", { "200 OK", "{\"status\":\"ok\"}", NULL, NULL, NULL } },
    { "metrics", "GET /metrics", "", { "# TYPE hearth_requests_total counter", NULL, NULL, NULL, NULL } },
    { "HEAD has no body", "HEAD /", "", { "200 OK", "Content-Length: 27\r\n\r\n", NULL, NULL, NULL } },
    { "a chat in HTTP/1.1 keeps its connection",
      "POST /v1/chat/completions",
      "{" USER("a") "}",
      { "Connection: keep-alive", NULL, NULL, NULL, NULL } },
    { "several answers",
      "POST /v1/chat/completions",
      "{\"n\":2," USER("a b") "}",
      { "{\"index\":0", "\"content\":\"a b\"", "{\"index\":1", "\"content\":\"a b\"", NULL } },
    { "log-probabilities",
      "POST /v1/chat/completions",
      "{\"logprobs\":true," USER("ab") "}",
      { "\"logprobs\":{\"content\":[{\"token\":\"ab\",\"logprob\":-0.5,\"bytes\":[97,98]", NULL, NULL, NULL,
        NULL } },
    { "max_tokens",
      "POST /v1/chat/completions",
      "{\"max_tokens\":1," USER("a b c") "}",
      { "\"content\":\"a\"", "\"finish_reason\":\"length\"", NULL, NULL, NULL } },
};

static void wire_forms(void)
{
    struct bench *b = start(NULL);
    for (size_t i = 0; i < sizeof WIRE_ROWS / sizeof *WIRE_ROWS; i++) {
        const char *const *want = WIRE_ROWS[i].want;
        const char *answer = ask(b, WIRE_ROWS[i].line, WIRE_ROWS[i].body);
        CHECK(in_order(answer, want[0], want[1], want[2], want[3], want[4], NULL), "%s: %.1500s", WIRE_ROWS[i].says,
              answer);
    }
    end(b);
}

/* ---- what templates are given ---- */

static void conversations(void)
{
    static const struct { const char *says, *line, *body, *messages;
    } rows[] = {
        { "system messages before the first other one become one", "POST /v1/chat/completions",
          "{\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":\"developer\",\"content\":\"b\"},"
          "{\"role\":\"user\",\"content\":\"c\"}]}",
          "[{\"role\":\"system\",\"content\":\"a\\n\\nb\"},{\"role\":\"user\",\"content\":\"c\"}]" },
        { "calls have objects as arguments, results the names of their calls", "POST /v1/chat/completions",
          "{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"x\",\"type\":\"function\","
          "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": 1}\"}}]},"
          "{\"role\":\"tool\",\"tool_call_id\":\"x\",\"content\":[{\"type\":\"text\",\"text\":\"r\"}]}]}",
          "[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"x\",\"type\":\"function\",\"function\":"
          "{\"name\":\"f\",\"arguments\":{\"a\":1}}}]},{\"role\":\"tool\",\"content\":\"r\",\"tool_call_id\":\"x\","
          "\"name\":\"f\"}]" },
        { "reasoning goes back where it came from", "POST /v1/chat/completions",
          "{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_content\":\"t\"},"
          "{\"role\":\"user\",\"content\":\"b\"}]}",
          "[{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_content\":\"t\"},{\"role\":\"user\",\"content\":"
          "\"b\"}]" },
        { "items of a response that belong together are one answer", "POST /v1/responses",
          "{\"instructions\":\"s\",\"input\":[{\"role\":\"user\",\"content\":\"u\"},"
          "{\"type\":\"reasoning\",\"summary\":[],\"content\":[{\"type\":\"reasoning_text\",\"text\":\"t\"}]},"
          "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"a\"}]},"
          "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"},"
          "{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"r\"}]}",
          "[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\","
          "\"content\":\"a\",\"reasoning_content\":\"t\",\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\","
          "\"function\":{\"name\":\"f\",\"arguments\":{}}}]},{\"role\":\"tool\",\"content\":\"r\",\"tool_call_id\":"
          "\"c\",\"name\":\"f\"}]" },
        { "results of tools stand before what the user says", "POST /v1/messages",
          "{\"system\":[{\"type\":\"text\",\"text\":\"s\"}],\"messages\":[{\"role\":\"assistant\",\"content\":["
          "{\"type\":\"thinking\",\"thinking\":\"t\"},{\"type\":\"text\",\"text\":\"a\"},"
          "{\"type\":\"tool_use\",\"id\":\"x\",\"name\":\"f\",\"input\":{\"q\":2}}]},{\"role\":\"user\",\"content\":["
          "{\"type\":\"tool_result\",\"tool_use_id\":\"x\",\"content\":\"r\"},{\"type\":\"text\",\"text\":\"u\"}]}]}",
          "[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_content\":"
          "\"t\","
          "\"tool_calls\":[{\"id\":\"x\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"q\":2}}}]}"
          ","
          "{\"role\":\"tool\",\"content\":\"r\",\"tool_call_id\":\"x\",\"name\":\"f\"},{\"role\":\"user\",\"content\":"
          "\"u\"}]" },
        { "ollama's calls are objects already", "POST /api/chat",
          "{\"messages\":[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
          "\"arguments\":{\"a\":1}}}]},{\"role\":\"tool\",\"tool_name\":\"f\",\"content\":\"r\"}]}",
          "[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"\",\"type\":\"function\",\"function\":"
          "{\"name\":\"f\",\"arguments\":{\"a\":1}}}]},{\"role\":\"tool\",\"content\":\"r\",\"tool_call_id\":\"\","
          "\"name\":\"f\"}]" },
    };
    struct bench *b = start(NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *answer = ask(b, rows[i].line, rows[i].body);
        CHECK(strcmp(b->script.last_messages, rows[i].messages) == 0, "%s: %s\n%.400s", rows[i].says,
              b->script.last_messages, answer);
    }
    end(b);
}

static void drop_billing(struct server_options *o)
{
    o->drop_billing = true;
}

static void settings(void)
{
    struct bench *b = start(drop_billing);
    ask(b, "POST /v1/messages", "{\"system\":\"x-anthropic-billing-header: cch=1\\nbe kind\"," USER("a") "}");
    CHECK(strstr(b->script.last_messages, "billing") == NULL && strstr(b->script.last_messages, "be kind") != NULL,
          "a billing line is dropped: %s", b->script.last_messages);
    ask(b, "POST /v1/chat/completions",
        "{" USER(
            "a") ",\"temperature\":0.5,\"top_p\":0.25,\"top_k\":7,\"min_p\":0.125,\"seed\":42,\"presence_penalty\":1,"
                 "\"frequency_penalty\":-1,\"repeat_penalty\":1.5,\"max_completion_tokens\":9,\"stop\":[\"x\",\"y\"],"
                 "\"logit_bias\":{\"5\":-100,\"6\":2},\"top_logprobs\":3,\"logprobs\":true,\"reasoning_effort\":"
                 "\"low\","
                 "\"tool_choice\":\"required\",\"parallel_tool_calls\":false}");
    const struct ask *a = &b->script.last;
    const struct sample_settings *s = &a->sample;
    CHECK(s->temperature == 0.5f && s->top_p == 0.25f && s->top_k == 7 && s->min_p == 0.125f && s->seed == 42,
          "sampling: %g %g %zu %g %llu", (double)s->temperature, (double)s->top_p, s->top_k, (double)s->min_p,
          (unsigned long long)s->seed);
    CHECK(s->presence_penalty == 1.0f && s->frequency_penalty == -1.0f && s->repetition_penalty == 1.5f, "penalties");
    CHECK(a->max_tok == 9 && a->stop_count == 2 && s->bias_count == 2 && a->top_logprobs == 3 && a->logprobs, "limits");
    CHECK(a->tool_choice == TOOLS_REQUIRED && a->one_call && a->effort.len_bytes == 3, "tools and effort");
    ask(b, "POST /api/chat",
        "{" USER("a") ",\"options\":{\"seed\":7,\"num_predict\":-1,\"temperature\":0,\"stop\":\"q\","
                      "\"unheard\":1},\"think\":false,\"format\":{\"type\":\"object\"}}");
    CHECK(s->seed == 7 && a->max_tok == 0 && s->temperature == 0.0f && a->stop_count == 1 && a->think == ASK_THINK_NO &&
          a->shape == SHAPE_SCHEMA, "ollama's options");
    CHECK(strstr(ask(b, "GET /metrics", ""), "hearth_unknown_fields_total 1\n") != NULL, "unknown fields are counted");
    end(b);
}

/* ---- refusals: status, and the shape of the API that was asked ---- */

static void refusals(void)
{
    static const struct { const char *says, *line, *body, *status, *want;
    } rows[] = {
        { "no JSON", "POST /v1/chat/completions", "hello", "400", "{\"error\":{\"message\":\"body:" },
        { "nothing", "POST /v1/chat/completions", "", "400", "it is empty" },
        { "a name twice", "POST /v1/chat/completions", "{\"n\":1,\"n\":2}", "400",
          "\"type\":\"invalid_request_error\"" },
        { "an array", "POST /v1/chat/completions", "[]", "400", "an object is needed" },
        { "no messages", "POST /v1/chat/completions", "{}", "400", "\"param\":\"messages\"" },
        { "empty messages", "POST /v1/chat/completions", "{\"messages\":[]}", "400", "\"param\":\"messages\"" },
        { "a wrong type, with its place", "POST /v1/chat/completions",
          "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":5}]}", "400",
          "\"param\":\"messages[1].content\"" },
        { "an unknown role", "POST /v1/chat/completions", "{\"messages\":[{\"role\":\"boss\",\"content\":\"a\"}]}",
          "400", "\"param\":\"messages[0].role\"" },
        { "a picture", "POST /v1/chat/completions",
          "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{}}]}]}", "400",
          "image_url can not be read here" },
        { "temperature -0.1", "POST /v1/chat/completions", "{\"temperature\":-0.1," USER("a") "}", "400",
          "\"param\":\"temperature\"" },
        { "n 0", "POST /v1/chat/completions", "{\"n\":0," USER("a") "}", "400", "\"param\":\"n\"" },
        { "n 17", "POST /v1/chat/completions", "{\"n\":17," USER("a") "}", "400", "allowed 1..16" },
        { "n 1.5", "POST /v1/chat/completions", "{\"n\":1.5," USER("a") "}", "400", "a whole number" },
        { "max_tokens 0", "POST /v1/chat/completions", "{\"max_tokens\":0," USER("a") "}", "400",
          "\"param\":\"max_tokens\"" },
        { "21 rivals", "POST /v1/chat/completions", "{\"top_logprobs\":21," USER("a") "}", "400", "allowed 0..20" },
        { "a bias of -101", "POST /v1/chat/completions", "{\"logit_bias\":{\"1\":-101}," USER("a") "}", "400",
          "logit_bias" },
        { "a bias without a token", "POST /v1/chat/completions", "{\"logit_bias\":{\"x\":1}," USER("a") "}", "400",
          "token id" },
        { "a schema that is none", "POST /v1/chat/completions",
          "{\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":5}}," USER("a") "}", "400",
          "\"param\":\"response_format.json_schema.schema\"" },
        { "a tool without a name", "POST /v1/chat/completions",
          "{\"tools\":[{\"type\":\"function\",\"function\":{}}]," USER("a") "}", "400", "tools[0].function" },
        { "sound", "POST /v1/chat/completions", "{\"audio\":{}," USER("a") "}", "400", "\"param\":\"audio\"" },
        { "an unknown model", "POST /v1/chat/completions", "{\"model\":\"x\"," USER("a") "}", "404",
          "scripted, other" },
        { "a prompt over the context", "POST /v1/chat/completions", "{" USER("long") "}", "400",
          "9000 tokens, the context holds 4096" },
        { "too many", "POST /v1/chat/completions", "{" USER("busy") "}", "503", "Retry-After: 1\r\n" },
        { "a failure before a stream is an answer with a status", "POST /v1/chat/completions",
          "{\"stream\":true," USER("fail") "}", "400", "can not be rendered" },
        { "a failure in a stream is an event", "POST /v1/chat/completions", "{\"stream\":true," USER("break") "}",
          "200", "data: {\"error\":{\"message\":\"engine: ended" },
        { "stored responses", "POST /v1/responses", "{\"input\":\"a\",\"previous_response_id\":\"r\"}", "400",
          "\"param\":\"previous_response_id\"" },
        { "a stored response is not here", "GET /v1/responses/resp_1", "", "404", "not stored" },
        { "an item nobody knows", "POST /v1/responses", "{\"input\":[{\"type\":\"computer_call\"}]}", "400",
          "computer_call" },
        { "anthropic's shape", "POST /v1/messages", "{\"messages\":5}", "400",
          "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\"" },
        { "anthropic's unknown model", "POST /v1/messages", "{\"model\":\"x\"," USER("a") "}", "404",
          "\"not_found_error\"" },
        { "anthropic's failure in a stream", "POST /v1/messages", "{\"stream\":true," USER("break") "}", "200",
          "event: error\ndata: {\"type\":\"error\"" },
        { "ollama's shape", "POST /api/chat", "{\"model\":\"x\"," USER("a") "}", "404",
          "{\"error\":\"model \\\"x\\\" not found" },
        { "ollama's failure in a stream", "POST /api/chat", "{" USER("break") "}", "200", "{\"error\":\"engine:" },
        { "ollama's pictures", "POST /api/chat",
          "{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"images\":[\"x\"]}]}", "400", "pictures" },
        { "an empty embedding", "POST /v1/embeddings", "{\"input\":[]}", "400", "input" },
        { "no such path", "GET /v1/nothing", "", "404", "no such path: /v1/nothing" },
        { "the path, another method", "GET /v1/chat/completions", "", "405", "another method" },
        { "a path from the wire opens nothing", "GET /../../etc/passwd", "", "404", "no such path" },
    };
    struct bench *b = start(NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *answer = ask(b, rows[i].line, rows[i].body);
        bool good = strncmp(answer + 9, rows[i].status, 3) == 0 && strstr(answer, rows[i].want) != NULL;
        CHECK(good, "%s: %.900s", rows[i].says, answer);
    }
    end(b);
}

/* ---- who may ask ---- */

static struct key test_keys[3];
static view test_origins[1];

static void with_keys(struct server_options *o)
{
    const char *const names[] = { "ann", "root", "watch" };
    const enum key_role roles[] = { KEY_USER, KEY_ADMIN, KEY_METRICS };
    for (size_t i = 0; i < 3; i++) {
        test_keys[i] = (struct key){ .role = roles[i] };
        snprintf(test_keys[i].name, sizeof test_keys[i].name, "%s", names[i]);
        key_hash(view_of(names[i]), test_keys[i].hash);
    }
    test_keys[0].per_minute = 3;
    o->keys = (struct key_table){ test_keys, 3 };
    test_origins[0] = view_of("https://chat.example");
    o->origins = test_origins;
    o->origin_count = 1;
}

static void guards(void)
{
    static const struct { const char *says, *line, *headers, *status, *want;
    } rows[] = {
        { "no key", "GET /v1/models", "", "401", "WWW-Authenticate: Bearer" },
        { "a wrong key", "GET /v1/models", "Authorization: Bearer annn\r\n", "401", "not known" },
        { "an empty key", "GET /v1/models", "Authorization: Bearer \r\n", "401", "" },
        { "a key", "GET /v1/models", "Authorization: Bearer ann\r\n", "200", "" },
        { "the old way", "GET /v1/models", "x-api-key: ann\r\n", "200", "" },
        { "health needs none", "GET /health", "", "200", "" },
        { "anthropic's shape", "GET /v1/models", "anthropic-version: 2023-06-01\r\n", "401",
          "{\"type\":\"error\",\"error\":{\"type\":\"authentication_error\"" },
        { "a user reads no metrics", "GET /metrics", "Authorization: Bearer ann\r\n", "403", "" },
        { "who watches does", "GET /metrics", "Authorization: Bearer watch\r\n", "200", "" },
        { "and asks nothing", "GET /v1/models", "Authorization: Bearer watch\r\n", "403", "" },
        { "a user unloads nothing", "POST /models/unload", "Authorization: Bearer ann\r\n", "403", "" },
        { "a page of another origin", "GET /v1/models", "Authorization: Bearer ann\r\nOrigin: https://evil.example\r\n",
          "403", "Origin" },
        { "a page from a file", "GET /v1/models", "Authorization: Bearer ann\r\nOrigin: null\r\n", "403", "" },
        { "a browser without an Origin, from elsewhere", "GET /v1/models",
          "Authorization: Bearer ann\r\nSec-Fetch-Site: cross-site\r\n", "403", "" },
        { "an allowed origin", "GET /v1/models", "Authorization: Bearer ann\r\nOrigin: https://chat.example\r\n", "200",
          "Access-Control-Allow-Origin: https://chat.example" },
        { "the server's own page", "GET /v1/models", "Authorization: Bearer ann\r\nOrigin: http://localhost\r\n", "200",
          "" },
        { "a preflight from there", "OPTIONS /v1/chat/completions",
          "Origin: https://chat.example\r\nAccess-Control-Request-Headers: authorization,x-stainless-os\r\n", "204",
          "Access-Control-Allow-Headers: authorization,x-stainless-os" },
        { "a preflight from elsewhere", "OPTIONS /v1/chat/completions", "Origin: https://evil.example\r\n", "403", "" },
    };
    struct bench *b = start(with_keys);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *answer = ask_with(b, rows[i].line, rows[i].headers, "");
        CHECK(strncmp(answer + 9, rows[i].status, 3) == 0 && strstr(answer, rows[i].want) != NULL, "%s: %.700s",
              rows[i].says, answer);
    }
    int fd = connect_to(b);
    static const char rebound[] = "GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    put(fd, rebound, strlen(rebound));
    CHECK(strncmp(get(b, fd) + 9, "421", 3) == 0, "a name that was rebound to this address: %.200s", b->answer);
    close(fd);
    for (int i = 1; i <= 4; i++) {
        const char *answer = ask_with(b, "POST /tokenize", "Authorization: Bearer ann\r\n", "{\"content\":\"a\"}");
        bool want = i <= 3;
        CHECK((strncmp(answer + 9, "200", 3) == 0) == want, "request %d of 3 a minute: %.300s", i, answer);
        CHECK(want || strstr(answer, "Retry-After: ") != NULL, "429 says when");
    }
    end(b);
}

/* ---- clients as they are ---- */

static void hurried(struct server_options *o)
{
    o->head_s = 1;
    o->unread_s = 1;
    o->ping_s = 1;
    o->clients_max = 8;
}

static bool is_closed(struct bench *b, int fd, unsigned ms)
{
    char byte[4096];
    uint64_t until = script_ms() + ms;
    while (script_ms() < until) {
        server_turn(b->s, 5);
        ssize_t got = recv(fd, byte, sizeof byte, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN)) return true;
    }
    return false;
}

static void slow_clients(void)
{
    struct bench *b = start(hurried);
    int silent = connect_to(b), half = connect_to(b), body = connect_to(b);
    put(half, "GET / HTTP/1.1\r\nHo", 18);
    static const char head[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{";
    put(body, head, strlen(head));
    turns(b, 500);
    CHECK(strncmp(ask(b, "GET /health", "") + 9, "200", 3) == 0, "others are served meanwhile");
    CHECK(is_closed(b, silent, 1500), "who says nothing is let go");
    CHECK(strncmp(get(b, half) + 9, "408", 3) == 0, "half a head: 408, %.100s", b->answer);
    int crowd[32];
    for (size_t i = 0; i < 32; i++) {
        crowd[i] = connect_to(b);
        put(crowd[i], "GET", 3);
        server_turn(b->s, 1);
    }
    CHECK(strncmp(ask(b, "GET /health", "") + 9, "200", 3) == 0,
          "32 half-open clients in 8 places push out each other");
    for (size_t i = 0; i < 32; i++) close(crowd[i]);
    close(silent);
    close(half);
    close(body);
    end(b);
}

static size_t inside(struct bench *b)
{
    const char *at = strstr(ask(b, "GET /metrics", ""), "\nhearth_requests_inside ");
    return at == NULL ? 999 : strtoul(at + 24, NULL, 10);
}

static void leaving(void)
{
    static const char forever[] =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 74\r\n\r\n"
        "{\"stream\":true ,\"messages\":[{\"role\":\"user\",\"content\":\"forever and ever\"}]}";
    struct bench *b = start(hurried);
    int fd = connect_to(b);
    put(fd, forever, strlen(forever));
    turns(b, 100);
    CHECK(inside(b) == 1, "an answer is being made");
    close(fd);
    turns(b, 10);
    CHECK(inside(b) == 0 && b->script.cancelled == 1, "who leaves a stream ends it: %llu",
          (unsigned long long)b->script.cancelled);
    fd = connect_to(b);
    put(fd, forever, strlen(forever));
    turns(b, 10);
    shutdown(fd, SHUT_RDWR);
    turns(b, 10);
    CHECK(b->script.cancelled == 2, "and before its first byte");
    close(fd);
    end(b);
}

static void keep_alive(void)
{
    struct bench *b = start(NULL);
    int fd = connect_to(b);
    static const char two[] =
        "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api/version HTTP/1.1\r\nHost: localhost\r\n"
        "Connection: close\r\n\r\n";
    put(fd, two, strlen(two));
    turns(b, 30);
    get(b, fd);
    CHECK(in_order(b->answer, "200 OK", "\"status\":\"ok\"", "200 OK", "\"version\"", NULL),
          "two requests at once: %.800s", b->answer);
    CHECK(is_closed(b, fd, 500), "Connection: close is kept");
    close(fd);
    fd = connect_to(b);
    static const char chunks[] =
        "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        "8\r\n{\"conten\r\n7\r\nt\":\"A\"}\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (size_t i = 0; i < strlen(chunks); i++) { /* a byte a turn */
        put(fd, chunks + i, 1);
        server_turn(b->s, 0);
    }
    turns(b, 150); /* small segments wait for one another */
    get(b, fd);
    CHECK(in_order(b->answer, "{\"tokens\":[65]", "\"status\":\"ok\"", NULL), "chunks, a byte at a time: %.600s",
          b->answer);
    close(fd);
    fd = connect_to(b);
    static const char waits[] =
        "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 15\r\n\r\n";
    put(fd, waits, strlen(waits));
    turns(b, 20);
    char said[64] = "";
    CHECK(recv(fd, said, sizeof said - 1, 0) > 0 && strncmp(said, "HTTP/1.1 100", 12) == 0, "100 Continue: %s", said);
    put(fd, "{\"content\":\"B\"}", 15);
    CHECK(strstr(get(b, fd), "[66]") != NULL, "and then the answer: %.300s", b->answer);
    close(fd);
    fd = connect_to(b);
    static const char large[] = "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 33554433\r\n\r\n";
    put(fd, large, strlen(large));
    CHECK(strncmp(get(b, fd) + 9, "413", 3) == 0, "a body over the limit is refused unread: %.100s", b->answer);
    close(fd);
    end(b);
}

static void pings(void)
{
    struct bench *b = start(hurried);
    b->script.hold_ms = 3000; /* the ping is due after 1000: a machine with other work may be late */
    const char *answer = ask(b, "POST /v1/chat/completions", "{\"stream\":true," USER("slow") "}");
    CHECK(in_order(answer, "text/event-stream", ": ping", "\"content\":\"slow\"", "[DONE]", NULL),
          "a silent stream: %.600s", answer);
    end(b);
}

static void stopping(void)
{
    struct bench *b = start(NULL);
    int fd = connect_to(b);
    static const char slow[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 57\r\n\r\n"
                               "{\"messages\":[{\"role\":\"user\",\"content\":\"slow a b c d e\"}]}";
    put(fd, slow, strlen(slow));
    turns(b, 20);
    if (write(b->stop[1], "x", 1) != 1) CHECK(false, "pipe");
    turns(b, 20);
    CHECK(connect_to(b) < 0, "nobody comes in any more");
    CHECK(strstr(get(b, fd), "slow a b c d e") != NULL && strstr(b->answer, "Connection: close") != NULL,
          "what is being answered is answered: %.300s", b->answer);
    close(fd);
    bool over = false;
    for (int i = 0; i < 100 && !over; i++) over = !server_turn(b->s, 10);
    CHECK(over, "then the server is over");
    end(b);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    wire_forms();
    conversations();
    settings();
    refusals();
    guards();
    slow_clients();
    leaving();
    keep_alive();
    pings();
    stopping();
    return check_done();
}
