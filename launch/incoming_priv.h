/* What the files of an incoming migration share: incoming.c leads, incoming_hear.c hears what the machine is,
 * incoming_join.c gets every rank here a connection to every rank of the source. */
#ifndef LAUNCH_INCOMING_PRIV_H
#define LAUNCH_INCOMING_PRIV_H

#include "checkpoint/receiver.h"
#include "checkpoint/visitors.h"
#include "checkpoint_state.h"
#include "incoming.h"
#include "ranks.h"

enum { INCOMING_LOOK_MS = 100 }; /* between two looks at the other ranks */

struct section {
    char *name;
    uint8_t *data;
    size_t len;
};

/* A SPACE frame. */
struct announced {
    char name[CKPT_DRIVE_NAME];
    uint64_t nr_blocks;
};

/* Owner: the launch thread. */
struct incoming {
    char *uri;               /* that the source was told */
    struct visitors *visitors;
    atomic_bool said;        /* why it cannot go on: once, whatever breaks, and on whichever rank (the first's counts) */
    uint64_t token;
    struct ckpt_stream **stream; /* by rank of the source; NULL: has not come yet */
    unsigned nr_streams;
    struct ckpt_receiver *receiver;
    struct machine *m;
    struct ranks *ranks; /* NULL: the only rank here */
    struct section *section;
    uint32_t nr_sections, room;
    struct announced space[1 + CONFIG_MAX_DRIVES];
    unsigned nr_spaces;
    struct ckpt_range *range; /* of RAM */
    struct ckpt_range drive_range[CONFIG_MAX_DRIVES];
    char drive_name[CONFIG_MAX_DRIVES][CKPT_DRIVE_NAME];
    struct blockdev *drive[1 + CONFIG_MAX_DRIVES]; /* by space; NULL: RAM */
    struct machine_state state;
    uint64_t guest_ns;
    bool ours; /* the guest, since GO */
    void (*failed)(void *opaque);
    void *opaque;
};

/* --- incoming.c: what breaks is one message of all ranks, by the first --- */

bool incoming_is_first(const struct incoming *in);

/* A connection's on_broken. Any thread. */
void incoming_broken(void *opaque, const char *peer, const char *why);

/* Breaks the first connection: the source has sent what makes no sense. */
enum sim_status incoming_senseless(struct incoming *in, const char *what);

/* Another rank here has ended. */
bool incoming_are_lost(const struct incoming *in);

enum sim_status incoming_barrier(struct incoming *in) SIM_MUST_CHECK;

/* --- incoming_hear.c --- */

enum sim_status incoming_keep_section(struct incoming *in, const struct ckpt_frame *f) SIM_MUST_CHECK;

/* A section_source's. */
bool incoming_find_section(const void *opaque, const char *name, const uint8_t **data, size_t *len);
const char *incoming_section_name(const void *opaque, unsigned i);

void incoming_forget_sections(struct incoming *in);

/* --- incoming_join.c --- */

/* Every rank of the source is joined with every rank here, and the receiver created. */
enum sim_status incoming_join(struct incoming *in) SIM_MUST_CHECK;

#endif
