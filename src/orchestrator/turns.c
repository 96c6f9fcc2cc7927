/* Ids of conversations: see turns.h. */
#include "orchestrator/turns.h"

#include "base/limits.h"

bool turns_new(struct turns *t, size_t ids_room, arena *a, err *e)
{
    *t = (struct turns){ .ids_room = ids_room, .text_room = TEMPLATE_OUTPUT_MAX };
    return (t->marks = ARENA_ARRAY(a, struct mark, MARKS_MAX, "marks", e)) != NULL &&
           (t->ids = ARENA_ARRAY(a, int32_t, ids_room, "token ids", e)) != NULL &&
           (t->text = ARENA_ARRAY(a, uint8_t, t->text_room, "text", e)) != NULL;
}

void turns_clear(struct turns *t)
{
    t->text_bytes = t->ids_count = t->mark_count = 0;
}

void turns_mark(struct turns *t)
{
    if (t->mark_count == MARKS_MAX) { /* the oldest half goes: it only costs computing again */
        t->mark_count /= 2;
        memmove(t->marks, t->marks + t->mark_count, t->mark_count * sizeof *t->marks);
    }
    t->marks[t->mark_count++] = (struct mark){ t->text_bytes, t->ids_count };
}

/* Goes back to the last mark whose text the new rendering begins with. */
static void keep_prefix(struct turns *t, view text)
{
    while (t->mark_count > 0) {
        const struct mark *mark = &t->marks[t->mark_count - 1];
        if (mark->text_bytes <= text.len_bytes && memcmp(t->text, text.ptr, mark->text_bytes) == 0) {
            t->text_bytes = mark->text_bytes;
            t->ids_count = mark->ids_count;
            return;
        }
        t->mark_count--;
    }
    t->text_bytes = t->ids_count = 0;
}

static bool add_ids(struct turns *t, const int32_t *ids, size_t count, err *e)
{
    if (count > t->ids_room - t->ids_count)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "conversation: %zu tokens, the context holds %zu (--ctx)",
                    t->ids_count + count, t->ids_room);
    memcpy(t->ids + t->ids_count, ids, count * sizeof *ids);
    t->ids_count += count;
    return true;
}

static bool add_text(struct turns *t, view text, err *e)
{
    if (text.len_bytes > t->text_room - t->text_bytes)
        return fail(e, ERR_LIMIT, ERR_NO_OFFSET, "conversation: over %zu bytes", t->text_room);
    memcpy(t->text + t->text_bytes, text.ptr, text.len_bytes);
    t->text_bytes += text.len_bytes;
    return true;
}

bool turns_prompt(struct turns *t, struct renderer *r, const struct rendered *text, arena *a, err *e)
{
    const struct tokenizer_facts *facts = tokenizer_facts(r->tok);
    int32_t *added;
    size_t added_count;
    keep_prefix(t, text->text);
    if (!renderer_ids(r, text, t->text_bytes, a, &added, &added_count, e)) return false;
    bool begins = t->ids_count == 0 && facts->add_bos && facts->bos >= 0 &&
                  (added_count == 0 || added[0] != facts->bos);
    bool good = (!begins || add_ids(t, &facts->bos, 1, e)) && add_ids(t, added, added_count, e) &&
                add_text(t, view_after(text->text, t->text_bytes), e);
    if (!good) return false;
    turns_mark(t);
    t->decoder = (decoder){ .inside = true };
    return true;
}

bool turns_made(struct turns *t, const tokenizer *tok, int32_t id, bool ends, err *e)
{
    uint8_t piece[TOKEN_BYTES_MAX];
    size_t len = 0;
    if (ends) turns_mark(t); /* templates may end a turn in another way */
    bool known = id >= 0 && (size_t)id < tokenizer_count(tok);
    if (known && !decoder_next(&t->decoder, tok, id, true, piece, &len, e)) return false;
    return add_ids(t, &id, 1, e) && add_text(t, (view){ piece, len }, e);
}
