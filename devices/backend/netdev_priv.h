/* Shared by the network back ends: the common part, and what each kind fills in.
 *
 *   guest -> netdev_send -> kind->send
 *   world -> netdev_input -> the device's receive | queue -> ... -> netdev_accept_input -> receive
 *
 * Only the I/O thread calls the device, with no lock held. */
#ifndef NETDEV_PRIV_H
#define NETDEV_PRIV_H

#include "devices/backend.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum { NETDEV_QUEUE_FRAMES = 256, NETDEV_MAX_FRAME = 65535 + 18 };

struct netdev_frame {
    struct netdev_frame *next;
    vtime_t due; /* on a segment with latency */
    size_t len;
    uint8_t data[];
};

/* A bounded queue of copied frames; its user locks. */
struct netdev_queue {
    struct netdev_frame *first, **last;
    unsigned count;
    size_t bytes; /* of all frames */
};

/* false: full, the frame was not taken. */
bool netdev_queue_push(struct netdev_queue *q, const uint8_t *frame, size_t len);
/* The same for a queue of `limit` frames; NULL: full. */
struct netdev_frame *netdev_queue_push_up_to(struct netdev_queue *q, unsigned limit, const uint8_t *frame, size_t len);
/* The oldest frame, to be freed by the caller with sim_free; NULL when empty. */
struct netdev_frame *netdev_queue_pop(struct netdev_queue *q);
void netdev_queue_clear(struct netdev_queue *q);

struct netdev;

struct netdev_kind {
    const char *name;
    /* `args` is the spec after the name: "key=value,key=value" or "". On failure nothing is left. */
    enum sim_status (*open)(struct netdev *n, const char *args);
    void (*close)(struct netdev *n);
    /* A frame from the guest. Lock held, any thread; must not block. */
    void (*send)(struct netdev *n, const uint8_t *frame, size_t len);
    /* Optional: the input queue has room again. I/O thread, no lock. */
    void (*resume)(struct netdev *n);
};

/* Owner: launch. `lock` (SIM_RANK_BACKEND) guards all that changes. */
struct netdev {
    const struct netdev_kind *kind;
    struct sim *sim;
    char *spec; /* for messages */
    uint8_t mac[6];
    struct sim_mutex lock;
    struct sim_cond idle;        /* `calling` has become false */
    struct netdev_client client; /* receive NULL: nobody is attached */
    bool calling;                /* the I/O thread is inside client.receive */
    struct netdev_queue in;
    struct sim_io_timer *deliver;
    uint64_t dropped;
    void *impl; /* the kind's */
    struct netdev *peer; /* "pair" */
    struct segment_port *port; /* "segment", joined */
};

extern const struct netdev_kind netdev_segment, netdev_socket, netdev_user;

/* A frame for the device of n, from whatever thread: its own I/O thread brings it. Lock not held. */
void netdev_post(struct netdev *n, const uint8_t *frame, size_t len);
void netdev_segment_send(const struct segment_port *from, const uint8_t *frame, size_t len);

/* One frame from the world. Context: the I/O thread, no lock held. false: queue full, dropped. */
bool netdev_input(struct netdev *n, const uint8_t *frame, size_t len);
bool netdev_input_is_full(struct netdev *n);

/* Calls fn for each "key=value" of args (value "" when there is no "="); stops at the first failure. */
enum sim_status netdev_each_option(struct netdev *n, const char *args,
                                   enum sim_status (*fn)(struct netdev *n, const char *key,
                                                         const char *value));
/* Logs that an option is unknown or wrong. */
enum sim_status netdev_bad_option(const struct netdev *n, const char *key, const char *value);

#endif
