/* A body at one of the APIs (the first byte says which), answered by the scripted model: whatever it holds, there is
 * one answer, and nothing is left behind. */
#include "server/part.h"

#include "server/script.h"

#include <assert.h>
#include <sys/epoll.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const PATHS[] = { "/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat",
                                     "/v1/completions", "/v1/embeddings", "/api/generate", "/api/embed", "/tokenize",
                                     "/detokenize", "/apply-template", "/v1/messages/count_tokens", "/api/show" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct script script;
    static struct server_options o;
    static server *s;
    struct ask_event event;
    err e = { 0 };
    if (s == NULL) {
        o = server_defaults();
        o.backend = script_backend(&script);
        o.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (!server_new(&s, &o, &e)) abort();
    }
    if (size == 0) return 0;
    struct http_head head = { .method = view_of("POST"), .minor = 1, .keep_alive = true };
    head.path = head.target = view_of(PATHS[data[0] % (sizeof PATHS / sizeof *PATHS)]);
    struct conn c = { .fd = -1, .state = CONN_BUSY, .who = &s->local };
    s->first = s->last = &c;
    route_request(s, &c, &head, (view){ data + 1, size - 1 });
    for (int i = 0; i < 200 && c.x != NULL && s->b.poll(s->b.self, &event); i++) exchange_take_event(s, &event);
    bool left = c.x != NULL; /* the script has answers that never end */
    if (left) exchange_leave(s, c.x);
    assert(s->ask_count == 0 && s->local.inside == 0 && (left || c.doomed || buffer_view(&c.out).len_bytes > 0));
    buffer_free(&c.out);
    s->first = s->last = NULL;
    s->dirty = NULL;
    return 0;
}
