/* Inside the character back ends: the common part, and the ops table each kind fills in. */
#ifndef CHARDEV_PRIV_H
#define CHARDEV_PRIV_H

#include <sys/types.h>

#include "devices/backend.h"
#include "sim-core/alloc.h"
#include "sim-core/io.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

enum {
    CHARDEV_STAGE = 1024,          /* guest output gathered before it goes on */
    CHARDEV_OUT_MAX = 1024 * 1024, /* waiting for a slow reader */
    CHARDEV_IN_MAX = 64 * 1024,    /* waiting for the device */
    CHARDEV_MAX_TAPS = 4,
    CHARDEV_FLUSH_NS = 1000000, /* how long a piece without newline may wait */
    CHARDEV_RETRY_MAX_NS = 32000000
};

/* A ring of bytes that grows up to a limit. */
struct byte_ring {
    uint8_t *data;
    size_t cap, head, len, max;
};

struct chardev_ops {
    const char *name;
    /* Opens what `arg` (the text after "name:") says; logs. */
    enum sim_status (*open)(struct chardev *c, const char *arg);
    /* Takes bytes without blocking: how many, 0 = try again later, -1 = nobody will ever read it
     * (already said where that is worth a message). Lock held. */
    ssize_t (*write)(struct chardev *c, const uint8_t *data, size_t len);
    /* There is room for input again (I/O thread, no lock). NULL: no input of its own. */
    void (*resume_input)(struct chardev *c);
    /* Stops watches and closes. No lock held, nobody else calls in. */
    void (*close)(struct chardev *c);
};

/* Owner: `lock`; any thread writes, the I/O thread delivers input and retries. Lifetime: launch's,
 * longer than the device's. */
struct chardev {
    const struct chardev_ops *ops;
    struct sim *sim;
    char *spec;
    struct sim_mutex lock;
    struct sim_cond delivered; /* `delivering` went false */
    struct sim_io_timer *flush_timer, *input_timer;

    /* output: stage -> taps -> out -> ops->write */
    uint8_t stage[CHARDEV_STAGE];
    size_t nr_stage;
    struct chardev_tap tap[CHARDEV_MAX_TAPS];
    unsigned nr_taps;
    struct byte_ring out;
    bool flush_armed;
    uint64_t retry_ns;
    uint64_t dropped;

    /* input */
    struct byte_ring in;
    struct chardev_client client; /* receive == NULL: none */
    bool delivering;

    /* of the kind */
    int fd; /* -1: none */
    bool is_socket;
    bool poll_first;     /* the fd may block: ask poll before each small write */
    bool failed;         /* a write error was said */
    char *path;          /* unix */
    bool bound, closing; /* unix: path is to be unlinked; close has begun */
    int listen_fd;
    struct sim_io_watch *listen_watch, *watch;
    char *text; /* mem */
    size_t text_len, text_cap;
};

extern const struct chardev_ops chardev_null_ops;
extern const struct chardev_ops chardev_mem_ops;
extern const struct chardev_ops chardev_stdio_ops;
extern const struct chardev_ops chardev_file_ops;
extern const struct chardev_ops chardev_unix_ops;

/* Bytes that fit into the input queue now. Lock held. */
size_t chardev_input_room(const struct chardev *c);
/* Appends input (what does not fit is lost) and lets the I/O thread deliver it. No lock held. */
void chardev_input(struct chardev *c, const uint8_t *data, size_t len);
/* write(2) or send(2) on c->fd with ops->write's result; says an error once. Lock held. */
ssize_t chardev_fd_write(struct chardev *c, const uint8_t *data, size_t len);

#endif
