/* Inside the cluster: its machines as cluster.c (running them) and cluster_cut.c (images of all of them) see them. */
#ifndef LAUNCH_CLUSTER_PRIV_H
#define LAUNCH_CLUSTER_PRIV_H

#include "checkpoint/store.h"
#include "cluster_file.h"
#include "cluster_image.h"
#include "machine.h"
#include "restore.h"
#include "run.h"
#include "sim-core/lock.h"

enum member_state { SETTING_UP, READY, RUNNING, STOPPED };
enum { LINE_MAX_BYTES = 4096 };

struct member {
    struct cluster *c;
    const char *name;
    struct config config;
    struct restore *restore; /* where it comes from; NULL: it is a new one. run_peer takes it over */
    bool comes_from_image;
    struct run_peers peers;
    struct sim_thread thread;
    bool started; /* there is a thread */
    enum member_state state;
    bool ended_by_us;
    struct run *run;         /* while it is RUNNING, or about to */
    struct machine *machine; /* since READY */
    bool in_cut;             /* has a part in the image being made */
    char line[LINE_MAX_BYTES]; /* of the console, so far; under out_lock */
    size_t len;
};

struct segment {
    const char *name;
    struct netdev_segment *segment;
};

/* The image being made; under the cluster's lock. */
struct cluster_cut {
    bool active, starting, stop, failed;
    unsigned nr, nr_at_rest, nr_over; /* machines that have a part in it; how far they are */
    struct cluster_image image;
};

/* `lock` guards states and the outcome. Lifetime: the command's. */
struct cluster {
    struct cluster_file file;
    const char *dir; /* of images; NULL: there are none */
    struct ckpt_store *dir_lock; /* on it: two clusters in one folder would take each other's images for their own */
    bool incremental;
    uint32_t keep; /* of the images the newest; 0: all */
    struct member *m;
    unsigned nr;
    struct cluster_image came_from; /* what is under way in it */
    struct sim_mutex lock;
    struct sim_cond changed;
    struct sim_mutex out_lock; /* stdout; leaf */
    struct segment *segment;
    unsigned nr_segments;
    struct cluster_cut cut;
    const struct member *decisive; /* whose end was that of all; NULL: all go on, or ended by themselves */
    bool ending;                   /* no machine shall run any more */
    int code;
};

/* cluster.c: the end of all but m (NULL: of all). */
void cluster_end_locked(struct cluster *c, const struct member *m, int code);

/* cluster_cut.c. An image of all machines that run; with `stop` their end, too. Context: the signal thread. */
void cluster_cut_start(struct cluster *c, bool stop);
/* The machine stands, and nothing of it is under way any more: until that is so of all. Context: its I/O thread. */
enum sim_status cluster_cut_at_rest(struct member *m) SIM_MUST_CHECK;
/* The machine is not asked for images any more. Locked: waits. */
void cluster_cut_leave_locked(struct cluster *c);

#endif
