/* One rank's share of an image: what it has of the machine, as it is at the cut, becomes its part of the image.
 *
 *   share_prepare: writer -> in the frozen world share_settle: list of objects, disk requests end; share_take: states,
 *   snapshots of RAM and drives begin, write permissions go -> share_write: blocks -> compressors -> index -> struct ckpt_part -> share_release
 *
 * RAM: the pages that this rank keeps (mem/dsm.h). Objects: its harts, and the devices where they are. */
#ifndef LAUNCH_CHECKPOINT_SHARE_H
#define LAUNCH_CHECKPOINT_SHARE_H

#include "checkpoint_state.h"

struct share;

struct share_order {
    const char *store;  /* its folder, where drives put what hides their files; borrowed until release */
    const char *path;   /* the image's folder; borrowed until release */
    int folder;         /* that folder; stays the caller's */
    uint8_t id[CKPT_ID_BYTES];
    uint32_t part;
    bool incremental;
};

struct share_progress {
    uint64_t done, total; /* blocks looked at */
    uint64_t given, stored; /* bytes */
};

struct share *share_create(struct machine *m, bool has_devices);
/* Context: executors and I/O thread stopped. NULL is allowed. */
void share_destroy(struct share *s);

/* Context: checkpoint thread. */
enum sim_status share_prepare(struct share *s, const struct share_order *order) SIM_MUST_CHECK;
/* Which objects are here is known, and what they have under way ends. Context: frozen world. */
void share_settle(struct share *s);
/* The cut. `cursor`: whose turn was the last. Context: I/O thread, frozen world, settled. */
enum sim_status share_take(struct share *s, uint32_t cursor) SIM_MUST_CHECK;
/* Instructions of the harts here, guest time; at the cut. */
uint64_t share_insns(const struct share *s);
uint64_t share_guest_ns(const struct share *s);
/* Writes what was taken; go_on, asked now and then, may say no (SIM_ERR_BUSY). Context: checkpoint thread. */
enum sim_status share_write(struct share *s, bool (*go_on)(void *opaque), void *opaque,
                            struct ckpt_part *out) SIM_MUST_CHECK;
/* Context: the thread that writes. */
void share_get_progress(const struct share *s, struct share_progress *out);
/* After all of it, and whatever failed: writers of the guest need not wait any more. Context: checkpoint thread. */
void share_release(struct share *s);

#endif
