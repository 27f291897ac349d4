/* "segment,name=NAME": the machines of a cluster on one piece of Ethernet: each frame reaches all others that are on it.
 *
 *   guest -> netdev_send -> every other member's port: lost | later, by its guest time | now
 *     -> its input queue -> its own I/O thread -> its device
 *
 * Members belong to different simulations. Who joins does so before anybody sends, and who leaves stays on the list: so no lock guards
 * it, and a sender holds at most one member's. A queue that is full drops, as a busy switch does; but what has been on its way waits
 * for room in the input queue.
 *
 * Which frames are lost is a function of the seed, the receiver's address and the frame's number there: the same traffic loses the same
 * frames, also when it is interrupted by an image. */
#include <string.h>

#include "netdev_priv.h"
#include "sim-core/timer.h"

enum { LATER_FRAMES = 16384, LATER_BYTES = 16 << 20, MILLION = 1000000 };

/* Owner: `n->lock`, but for what is fixed. Lifetime: the segment's; the timer's: n's. */
struct segment_port {
    struct netdev_segment *segment;
    struct netdev *n;
    uint64_t address;
    struct netdev_queue later; /* in the order of their `due` */
    struct sim_timer *timer; /* armed for the first of `later`, unless that waits for room; under the lock, for others send meanwhile */
    bool waits_for_room, has_left;
    uint64_t count; /* frames that were on their way here */
};

struct netdev_segment {
    struct netdev_link link;
    struct segment_port **port;
    unsigned nr;
};

static enum sim_status set_name(struct netdev *n, const char *key, const char *value)
{
    if (strcmp(key, "name") != 0 || !*value || n->impl)
        return netdev_bad_option(n, key, value);
    n->impl = sim_strdup(value);
    return SIM_OK;
}

static void segment_close(struct netdev *n)
{
    if (n->port)
        sim_timer_destroy(n->port->timer);
    sim_free(n->impl);
}

static enum sim_status segment_open(struct netdev *n, const char *args)
{
    enum sim_status status = netdev_each_option(n, args, set_name);

    if (status == SIM_OK && n->impl)
        return SIM_OK;
    if (status == SIM_OK)
        sim_error("network back end '%s': which segment? (name=NAME)", n->spec);
    segment_close(n);
    return SIM_ERR_INVALID;
}

/* Of a machine that is in no cluster. */
static void send_nowhere(struct netdev *n, const uint8_t *frame, size_t len)
{
    (void)frame, (void)len;
    n->dropped++;
}

const char *netdev_segment_name(const struct netdev *n)
{
    return n->kind == &netdev_segment ? n->impl : NULL;
}

/* --- what frames meet --- */

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static bool is_lost_locked(struct segment_port *p)
{
    const struct netdev_link *link = &p->segment->link;
    uint64_t number = p->count++;

    return mix(mix(mix(link->seed + 1) + p->address) + number) % MILLION < link->loss_ppm;
}

/* Whom the timer brings already needs no other alarm, nor who comes after it. */
static void put_off_locked(struct segment_port *p, uint64_t ns, const uint8_t *frame, size_t len)
{
    bool first = p->later.count == 0;
    struct netdev_frame *f = p->later.bytes + len > LATER_BYTES ? NULL : netdev_queue_push_up_to(&p->later, LATER_FRAMES, frame, len);

    if (!f) {
        p->n->dropped++;
        return;
    }
    f->due = sim_clock_now(&p->n->sim->clock) + ns;
    if (first)
        sim_timer_arm_from_outside(p->timer, f->due);
}

static void put_off(struct segment_port *p, uint64_t ns, const uint8_t *frame, size_t len)
{
    sim_mutex_lock(&p->n->lock);
    if (!p->has_left)
        put_off_locked(p, ns, frame, len);
    sim_mutex_unlock(&p->n->lock);
}

static void pass(struct segment_port *p, const uint8_t *frame, size_t len)
{
    sim_mutex_lock(&p->n->lock);
    bool lost = is_lost_locked(p);
    sim_mutex_unlock(&p->n->lock);
    if (lost)
        return;
    if (p->segment->link.latency_ns)
        put_off(p, p->segment->link.latency_ns, frame, len);
    else
        netdev_post(p->n, frame, len);
}

void netdev_segment_send(const struct segment_port *from, const uint8_t *frame, size_t len)
{
    const struct netdev_segment *s = from->segment;

    for (unsigned i = 0; i < s->nr; i++)
        if (s->port[i] != from)
            pass(s->port[i], frame, len);
}

/* The first frame, when its time has come and there is room for it: else the timer is armed for it, or segment_resume does that. */
static struct netdev_frame *pop_due(struct segment_port *p)
{
    struct netdev_frame *f = NULL;

    sim_mutex_lock(&p->n->lock);
    p->waits_for_room = p->later.count && p->n->in.count == NETDEV_QUEUE_FRAMES;
    if (p->later.count && !p->waits_for_room) {
        if (p->later.first->due <= sim_clock_now(&p->n->sim->clock))
            f = netdev_queue_pop(&p->later);
        else
            sim_timer_arm(p->timer, p->later.first->due);
    }
    sim_mutex_unlock(&p->n->lock);
    return f;
}

static void on_due(void *opaque)
{
    struct segment_port *p = opaque;
    struct netdev_frame *f;

    while ((f = pop_due(p))) {
        netdev_post(p->n, f->data, f->len);
        sim_free(f);
    }
}

static void segment_resume(struct netdev *n)
{
    sim_mutex_lock(&n->lock);
    struct segment_port *p = n->port;
    if (p && p->waits_for_room && p->later.count && n->in.count < NETDEV_QUEUE_FRAMES) {
        p->waits_for_room = false;
        sim_timer_arm_from_outside(p->timer, p->later.first->due);
    }
    sim_mutex_unlock(&n->lock);
}

const struct netdev_kind netdev_segment = {
    .name = "segment", .open = segment_open, .close = segment_close, .send = send_nowhere, .resume = segment_resume};

/* --- life --- */

struct netdev_segment *netdev_segment_create(const struct netdev_link *link)
{
    struct netdev_segment *s = sim_new(struct netdev_segment);

    s->link = *link;
    return s;
}

void netdev_segment_destroy(struct netdev_segment *s)
{
    for (unsigned i = 0; i < s->nr; i++) {
        netdev_queue_clear(&s->port[i]->later);
        sim_free(s->port[i]);
    }
    sim_free(s->port);
    sim_free(s);
}

void netdev_segment_join(struct netdev_segment *s, struct netdev *n)
{
    SIM_BUG_ON(n->kind != &netdev_segment || n->port, "'%s' cannot join a segment", n->spec);
    struct segment_port *p = sim_new(struct segment_port);

    *p = (struct segment_port){.segment = s, .n = n};
    memcpy(&p->address, n->mac, sizeof n->mac);
    p->timer = sim_timer_create(n->sim, on_due, p);
    s->port = sim_realloc(s->port, (s->nr + 1) * sizeof s->port[0]);
    s->port[s->nr++] = p;
    sim_mutex_lock(&n->lock);
    n->port = p;
    sim_mutex_unlock(&n->lock);
}

void netdev_segment_leave(struct netdev *n)
{
    sim_mutex_lock(&n->lock);
    struct segment_port *p = n->port;
    if (p) {
        p->has_left = true;
        netdev_queue_clear(&p->later);
        sim_timer_cancel(p->timer);
    }
    sim_mutex_unlock(&n->lock);
}

/* --- images --- */

void netdev_segment_each(struct netdev *n, void (*fn)(void *opaque, const struct netdev_under_way *w), void *opaque)
{
    vtime_t now = sim_clock_now(&n->sim->clock);

    for (const struct netdev_frame *f = n->in.count ? n->in.first : NULL; f; f = f->next)
        fn(opaque, &(struct netdev_under_way){0, f->data, f->len});
    for (const struct netdev_frame *f = n->port->later.count ? n->port->later.first : NULL; f; f = f->next)
        fn(opaque, &(struct netdev_under_way){f->due > now ? f->due - now : 1, f->data, f->len});
}

void netdev_segment_put(struct netdev *n, const struct netdev_under_way *w)
{
    if (w->left_ns)
        put_off(n->port, w->left_ns, w->frame, w->len);
    else
        netdev_post(n, w->frame, w->len);
}

uint64_t netdev_segment_count(struct netdev *n)
{
    return n->port->count;
}

void netdev_segment_set_count(struct netdev *n, uint64_t count)
{
    n->port->count = count;
}
