/* Messages that wait, and where their memory comes from: free lists by size, so that a busy outbox does
 * not allocate. Windows bound what is under way, not what waits: a sender that never stops fills memory. */
#include "core_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

/* Control messages, pages with their head, the longest. */
static const uint32_t rooms[] = {256, 4096 + 256, IC_MESSAGE_MAX};
static const unsigned keep[] = {1024, 256, 16};

static unsigned room_of(uint32_t len)
{
    unsigned i = 0;

    while (rooms[i] < len)
        i++;
    return i;
}

struct ic_note *ic_note_get(struct ic *ic, uint32_t len)
{
    unsigned i = room_of(len);
    struct ic_note *note = ic->free[i];

    if (note) {
        ic->free[i] = note->next;
        ic->nr_free[i]--;
    } else {
        note = sim_zalloc(sizeof *note + rooms[i]);
        note->room = rooms[i];
    }
    note->next = NULL;
    return note;
}

void ic_note_put(struct ic *ic, struct ic_note *note)
{
    unsigned i = room_of(note->room);

    if (ic->nr_free[i] == keep[i]) {
        sim_free(note);
        return;
    }
    note->next = ic->free[i];
    ic->free[i] = note;
    ic->nr_free[i]++;
}

void ic_notes_free(struct ic *ic)
{
    for (unsigned i = 0; i < SIM_ARRAY_LEN(rooms); i++) {
        while (ic->free[i]) {
            struct ic_note *note = ic->free[i];
            ic->free[i] = note->next;
            sim_free(note);
        }
        ic->nr_free[i] = 0;
    }
}

void ic_queue_init(struct ic_queue *q)
{
    q->first = NULL;
    q->last = &q->first;
}

void ic_queue_add(struct ic_queue *q, struct ic_note *note)
{
    *q->last = note;
    q->last = &note->next;
}

struct ic_note *ic_queue_take(struct ic_queue *q)
{
    struct ic_note *note = q->first;

    if (!note)
        return NULL;
    q->first = note->next;
    if (!q->first)
        q->last = &q->first;
    note->next = NULL;
    return note;
}
