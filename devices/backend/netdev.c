/* Network back ends: what they have in common, and the two trivial ones, "null" and "pair". */
#include <string.h>

#include "netdev_priv.h"

/* --- queues --- */

struct netdev_frame *netdev_queue_push_up_to(struct netdev_queue *q, unsigned limit, const uint8_t *frame, size_t len)
{
    if (q->count == limit)
        return NULL;
    struct netdev_frame *f = sim_zalloc(sizeof(*f) + len);

    f->len = len;
    memcpy(f->data, frame, len);
    if (!q->count++)
        q->last = &q->first;
    *q->last = f;
    q->last = &f->next;
    q->bytes += len;
    return f;
}

bool netdev_queue_push(struct netdev_queue *q, const uint8_t *frame, size_t len)
{
    return netdev_queue_push_up_to(q, NETDEV_QUEUE_FRAMES, frame, len) != NULL;
}

struct netdev_frame *netdev_queue_pop(struct netdev_queue *q)
{
    struct netdev_frame *f = q->first;

    if (f) {
        q->first = f->next;
        q->count--;
        q->bytes -= f->len;
    }
    return f;
}

void netdev_queue_clear(struct netdev_queue *q)
{
    struct netdev_frame *f;

    while ((f = netdev_queue_pop(q)))
        sim_free(f);
}

/* --- towards the guest --- */

/* true: the device has it, or there is none. */
static bool offer(struct netdev *n, const uint8_t *frame, size_t len)
{
    sim_mutex_lock(&n->lock);
    struct netdev_client client = n->client;

    n->calling = client.receive != NULL;
    sim_mutex_unlock(&n->lock);
    if (!client.receive)
        return true;
    bool taken = client.receive(client.opaque, frame, len);
    sim_mutex_lock(&n->lock);
    n->calling = false;
    sim_cond_broadcast(&n->idle);
    sim_mutex_unlock(&n->lock);
    return taken;
}

static bool enqueue(struct netdev *n, const uint8_t *frame, size_t len)
{
    sim_mutex_lock(&n->lock);
    bool ok = netdev_queue_push(&n->in, frame, len);

    n->dropped += !ok;
    sim_mutex_unlock(&n->lock);
    return ok;
}

bool netdev_input_is_full(struct netdev *n)
{
    sim_mutex_lock(&n->lock);
    bool full = n->in.count == NETDEV_QUEUE_FRAMES;
    sim_mutex_unlock(&n->lock);
    return full;
}

bool netdev_input(struct netdev *n, const uint8_t *frame, size_t len)
{
    sim_mutex_lock(&n->lock);
    bool first = n->in.count == 0;
    sim_mutex_unlock(&n->lock);
    return (first && offer(n, frame, len)) || enqueue(n, frame, len);
}

static struct netdev_frame *peek(struct netdev *n)
{
    sim_mutex_lock(&n->lock);
    struct netdev_frame *f = n->in.first;
    sim_mutex_unlock(&n->lock);
    return f;
}

/* Only this thread takes frames out, so the first one stays while the device looks at it. */
static void deliver(void *opaque)
{
    struct netdev *n = opaque;
    unsigned left = NETDEV_QUEUE_FRAMES;
    struct netdev_frame *f;

    while (left-- && (f = peek(n)) && offer(n, f->data, f->len)) {
        sim_mutex_lock(&n->lock);
        netdev_queue_pop(&n->in);
        sim_mutex_unlock(&n->lock);
        sim_free(f);
    }
    if (n->kind->resume)
        n->kind->resume(n);
}

void netdev_accept_input(struct netdev *n)
{
    sim_mutex_lock(&n->lock);
    if (n->in.count)
        sim_io_timer_arm(n->deliver, 0);
    sim_mutex_unlock(&n->lock);
}

void netdev_attach(struct netdev *n, const struct netdev_client *client)
{
    sim_mutex_lock(&n->lock);
    n->client = client ? *client : (struct netdev_client){0};
    while (n->calling)
        sim_cond_wait(&n->idle, &n->lock);
    sim_mutex_unlock(&n->lock);
}

/* --- from the guest --- */

void netdev_post(struct netdev *n, const uint8_t *frame, size_t len)
{
    if (enqueue(n, frame, len))
        sim_io_timer_arm(n->deliver, 0);
}

void netdev_send(struct netdev *n, const uint8_t *frame, size_t len)
{
    if (!len || len > NETDEV_MAX_FRAME)
        return;
    sim_mutex_lock(&n->lock);
    struct netdev *peer = n->peer;
    const struct segment_port *port = n->port;

    if (!peer && !port)
        n->kind->send(n, frame, len);
    sim_mutex_unlock(&n->lock);
    if (peer)
        netdev_post(peer, frame, len);
    else if (port)
        netdev_segment_send(port, frame, len);
}

const uint8_t *netdev_mac(const struct netdev *n)
{
    return n->mac;
}

/* --- "null" and "pair" --- */

static enum sim_status no_options(struct netdev *n, const char *args)
{
    return *args ? netdev_bad_option(n, args, "") : SIM_OK;
}

static void nothing_to_close(struct netdev *n)
{
    (void)n;
}

static void send_nowhere(struct netdev *n, const uint8_t *frame, size_t len)
{
    (void)frame, (void)len;
    n->dropped++;
}

static const struct netdev_kind netdev_null = {
    .name = "null", .open = no_options, .close = nothing_to_close, .send = send_nowhere};
static const struct netdev_kind netdev_pair = {
    .name = "pair", .open = no_options, .close = nothing_to_close, .send = send_nowhere};

static void set_peer(struct netdev *n, struct netdev *peer)
{
    sim_mutex_lock(&n->lock);
    n->peer = peer;
    sim_mutex_unlock(&n->lock);
}

void netdev_join(struct netdev *a, struct netdev *b)
{
    SIM_BUG_ON(a->kind != &netdev_pair || b->kind != &netdev_pair || a == b,
               "'%s' and '%s' cannot be joined", a->spec, b->spec);
    set_peer(a, b);
    set_peer(b, a);
}

/* --- options --- */

enum sim_status netdev_bad_option(const struct netdev *n, const char *key, const char *value)
{
    sim_error("network back end '%s': option '%s%s%s' is unknown or malformed", n->spec, key,
              *value ? "=" : "", value);
    return SIM_ERR_INVALID;
}

enum sim_status netdev_each_option(struct netdev *n, const char *args,
                                   enum sim_status (*fn)(struct netdev *n, const char *key,
                                                         const char *value))
{
    enum sim_status status = SIM_OK;

    while (status == SIM_OK && *args) {
        size_t len = strcspn(args, ",");
        char *key = sim_asprintf("%.*s", (int)len, args);
        char *value = strchr(key, '=');
        if (value)
            *value++ = 0;
        status = fn(n, key, value ? value : "");
        sim_free(key);
        args += len + (args[len] == ',');
    }
    return status;
}

/* --- life --- */

static const struct netdev_kind *const kinds[] = {
    &netdev_null,
    &netdev_pair,
    &netdev_segment,
    &netdev_socket,
#ifdef HAVE_SLIRP
    &netdev_user,
#endif
};

static const struct netdev_kind *find_kind(const char *spec)
{
    size_t len = strcspn(spec, ",");

    for (unsigned i = 0; i < SIM_ARRAY_LEN(kinds); i++)
        if (strlen(kinds[i]->name) == len && memcmp(kinds[i]->name, spec, len) == 0)
            return kinds[i];
    return NULL;
}

static void destroy_common(struct netdev *n)
{
    netdev_queue_clear(&n->in);
    sim_cond_fini(&n->idle);
    sim_mutex_fini(&n->lock);
    sim_free(n->spec);
    sim_free(n);
}

enum sim_status netdev_create(struct sim *sim, const char *spec, const uint8_t mac[6],
                              struct netdev **out)
{
    const struct netdev_kind *kind = find_kind(spec);
    const char *args = spec + strcspn(spec, ",");

    if (!kind) {
        sim_error("network back end '%s': this build has no such kind (user needs libslirp)", spec);
        return SIM_ERR_UNSUPPORTED;
    }
    struct netdev *n = sim_new(struct netdev);

    n->kind = kind;
    n->sim = sim;
    n->spec = sim_strdup(spec);
    memcpy(n->mac, mac, sizeof n->mac);
    sim_mutex_init(&n->lock, SIM_RANK_BACKEND);
    sim_cond_init(&n->idle);
    n->deliver = sim_io_timer_create(sim->io, deliver, n);
    enum sim_status status = kind->open(n, args + (*args == ','));
    if (status != SIM_OK) {
        sim_io_timer_destroy(n->deliver);
        destroy_common(n);
        return status;
    }
    *out = n;
    return SIM_OK;
}

void netdev_destroy(struct netdev *n)
{
    if (!n)
        return;
    netdev_attach(n, NULL);
    if (n->peer)
        set_peer(n->peer, NULL);
    sim_io_timer_destroy(n->deliver);
    n->kind->close(n);
    destroy_common(n);
}
