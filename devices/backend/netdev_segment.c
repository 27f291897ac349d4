/* "segment,name=NAME": the machines of a cluster on one piece of Ethernet: each frame reaches all others that are on it.
 *
 *   guest -> netdev_send -> every other member: its input queue -> its own I/O thread -> its device
 *
 * Members belong to different simulations. Who joins does so before anybody sends, and nobody leaves: so no lock guards the
 * list, and a sender holds at most one member's. A queue that is full drops, as a busy switch does. */
#include <string.h>

#include "netdev_priv.h"

struct netdev_segment {
    struct netdev **member;
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

const struct netdev_kind netdev_segment = {
    .name = "segment", .open = segment_open, .close = segment_close, .send = send_nowhere};

const char *netdev_segment_name(const struct netdev *n)
{
    return n->kind == &netdev_segment ? n->impl : NULL;
}

struct netdev_segment *netdev_segment_create(void)
{
    return sim_new(struct netdev_segment);
}

void netdev_segment_destroy(struct netdev_segment *s)
{
    sim_free(s->member);
    sim_free(s);
}

void netdev_segment_join(struct netdev_segment *s, struct netdev *n)
{
    SIM_BUG_ON(n->kind != &netdev_segment || n->segment, "'%s' cannot join a segment", n->spec);
    s->member = sim_realloc(s->member, (s->nr + 1) * sizeof s->member[0]);
    s->member[s->nr++] = n;
    sim_mutex_lock(&n->lock);
    n->segment = s;
    sim_mutex_unlock(&n->lock);
}

void netdev_segment_send(const struct netdev_segment *s, const struct netdev *from, const uint8_t *frame, size_t len)
{
    for (unsigned i = 0; i < s->nr; i++)
        if (s->member[i] != from)
            netdev_post(s->member[i], frame, len);
}
