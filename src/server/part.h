/* What the files of server/ share: connections, exchanges, the server itself. */
#ifndef HEARTH_SERVER_PART_H
#define HEARTH_SERVER_PART_H

#include "format/json.h"
#include "server/buffer.h"
#include "server/http.h"
#include "server/server.h"

#include <pthread.h>
#include <stdatomic.h>

struct api;
struct exchange;

/* ---- who asks (guard.c) ---- */

struct principal {
    char name[SERVER_NAME_BYTES_MAX + 8]; /* "local", "uid:1000", "key:alice" */
    uint64_t id;
    enum key_role role;
    uint32_t at_once, per_minute, max_tok; /* 0: no limit */
    uint32_t inside;                       /* requests now */
    double tokens;                         /* of the bucket that per_minute fills */
    uint64_t filled_ms;
};

enum { PRINCIPALS_UNIX_MAX = 256 }; /* different users of one machine at a time; more share the last place */

/* ---- a connection (conn.c) ---- */

/* ORDER conn_state: what a deadline means in each, conn.c */
enum conn_state {
    CONN_IDLE,  /* nothing of a request yet */
    CONN_HEAD,  /* a part of its head */
    CONN_BODY,  /* the head is read */
    CONN_BUSY,  /* an exchange is on */
    CONN_LAST   /* what is in `out` is all; then it closes */
};

struct conn {
    struct conn *prev, *next; /* all connections, the longest in its state first */
    struct conn *next_dirty;
    int fd;
    enum conn_state state;
    bool via_unix, dirty, dead, watch_out;
    bool doomed;               /* over its limit: dropped at the end of the turn */
    bool half_shut;            /* CONN_LAST: everything is out, the client's end is awaited */
    uint32_t uid;
    struct buffer in, out;
    size_t head_bytes, body_bytes; /* of `in`, from its start; the body as far as it was put together */
    size_t body_counted;       /* of server.body_bytes */
    struct principal *who;     /* of the request that is read or answered */
    struct http_chunks chunks;
    uint64_t deadline_ms;
    uint64_t sent_ms;          /* bytes last went out, or began to wait */
    struct exchange *x;
};

/* ---- one request and its answer (exchange.c) ---- */

struct call {
    struct call *next;
    struct buffer id, name, args;
    bool ended;
};

/* What an API's stream has open. */
enum block { BLOCK_NONE, BLOCK_TEXT, BLOCK_THINKING, BLOCK_CALL };

struct choice {
    bool begun, ended;
    struct buffer content, reasoning; /* kept where the answer goes out whole, or the API says it twice */
    struct buffer logprobs;           /* JSON objects with commas, not sent yet */
    struct call *calls, *last_call;
    size_t call_count;
    enum ask_finish finish;
    struct buffer stop;               /* the text that ended it */
    struct ask_usage usage;
    enum block block;
    uint32_t block_index;
    size_t block_start;               /* of what is open: in content, reasoning */
};

enum { EXCHANGE_ID_BYTES = 40, PARAM_BYTES = 160 };

struct exchange {
    server *s;
    struct conn *conn;
    const struct api *api;
    struct principal *who;
    uint64_t ticket;
    enum ask_kind kind;        /* of its ask: an API can mean more than one */
    bool keep_alive, chunked;  /* how the answer is framed */
    bool stream, usage, head_sent, base64, counted;
    int64_t created_s;
    uint64_t begun_ms, first_ms, ping_ms;
    char id[EXCHANGE_ID_BYTES];
    char model[ASK_NAME_BYTES_MAX + 1]; /* as the client named it */
    uint32_t model_index;
    uint32_t sequence;         /* of a stream's events */
    struct choice *choices;
    uint32_t choice_count, open_count;
    struct buffer items;       /* embeddings: JSON values with commas */
    struct buffer inputs;      /* embeddings that wait: see openai_embed.c */
    struct buffer echo;        /* what an API repeats of the request: JSON members */
    struct buffer origin;      /* that a browser may read the answer from; empty for none */
    uint32_t item_count;
    uint64_t prompt_tok;       /* as far as it is known before the end */
    struct ask_usage usage_sum;
    const struct ask_event *last_event; /* while the answer is finished: what it brought */
    err write_error;
};

/* ---- why a request is refused ---- */

struct refusal {
    int status;
    enum ask_error error;
    char text[ERR_TEXT_BYTES];
    char param[PARAM_BYTES]; /* the field it is about; or empty */
    const char *code;        /* OpenAI's: "model_not_found"; may be NULL */
    uint32_t retry_s;        /* 0: none */
};

/* ---- numbers (metrics.c) ---- */

enum { STATUS_CLASSES = 6 };

struct counters {
    uint64_t clients, clients_refused, requests, unknown_fields, answers, cancelled, failed;
    uint64_t prompt_tok, cached_tok, made_tok;
    uint64_t bytes_in, bytes_out;
    uint64_t by_class[STATUS_CLASSES];
};

struct server {
    const struct server_options *o;
    struct backend b;
    arena scratch;             /* of one request's reading, or one event's writing */
    uint8_t *inbox;            /* bytes just read */
    struct conn *first, *last; /* all connections */
    size_t conn_count, clients_max, body_bytes;
    struct conn *dirty, *dead;
    struct exchange **asks;    /* by ticket modulo ASKS_MAX */
    uint16_t *free_places;     /* of asks: the first ASKS_MAX - ask_count, taken from the end */
    uint32_t ask_count;
    uint64_t asks_made;        /* tickets given */
    struct principal local, *unix_users, *key_users; /* key_users: by name, stays where it is while keys change */
    size_t unix_count, key_user_count;
    struct key_table keys;     /* of the options, then of the last message of keys_ring */
    bool needs_key;            /* there was a key once: from then on nobody asks without one */
    uint16_t *user_of_key;     /* index in key_users of each key */
    arena key_arenas[2];       /* the table that holds, and the one that is being read */
    unsigned key_arena;
    uint8_t *key_text;
    uint64_t now_ms, checked_ms, begun_ms, ids_made;
    int64_t now_s;
    bool stopping, more;       /* the backend had more events than one turn takes */
    bool scratch_large;        /* a request used much of the scratch arena */
    uint64_t stop_ms;
    struct counters count;
    pthread_mutex_t turn;      /* who has it is the one thread: the loop after its wait, or one that brings events */
    _Atomic bool rung;         /* events came while another had the turn */
};

/* conn.c */
void conn_accept(server *s, const struct listener *l);
void conn_accept_handed(server *s);                    /* from door_fd */
void conn_ready(server *s, struct conn *c, uint32_t events);
void conn_send(server *s, struct conn *c, view bytes, size_t limit_bytes); /* goes at the end of the turn */
void conn_done(server *s, struct conn *c, bool keep_alive); /* the answer is complete */
void conn_drop(server *s, struct conn *c);             /* closes; its exchange is cancelled */
void conn_flush_all(server *s);
void conn_check_all(server *s);                        /* deadlines and signs of life */
void conn_free_dead(server *s);

/* guard.c */
bool guard_reading(server *s, struct conn *c, const struct http_head *head, struct refusal *r);
bool guard_enter(server *s, struct principal *who, struct refusal *r);
view guard_origin(const server *s, const struct http_head *head); /* allowed and of another place; else empty */
bool guard_new(server *s, err *e);
void guard_free(server *s);
void guard_reload(server *s); /* keys that changed */

/* route.c: a request that is whole. */
void route_request(server *s, struct conn *c, const struct http_head *head, view body);
void route_refuse(server *s, struct conn *c, const struct http_head *head, const struct refusal *r, bool keep_alive);

/* exchange.c */
void exchange_take_event(server *s, const struct ask_event *event);
void exchange_leave(server *s, struct exchange *x);   /* the client has gone */
void exchange_ping(server *s, struct exchange *x);

/* metrics.c */
void metrics_write(const server *s, struct buffer *out);

uint64_t clock_ms(void);

/* "chatcmpl-" and 24 letters of this server's own sequence. */
void make_id(server *s, const char *prefix, char *out, size_t out_bytes);

__attribute__((format(printf, 4, 5))) bool refuse_with(struct refusal *r, int status, const char *param,
                                                       const char *format, ...);

#endif
