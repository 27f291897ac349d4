/* The objects of a machine by name: what the sections of an image are made of, and its spaces of blocks. */
#ifndef LAUNCH_CHECKPOINT_STATE_H
#define LAUNCH_CHECKPOINT_STATE_H

#include "checkpoint/image.h"
#include "checkpoint/snapshot.h"
#include "machine.h"
#include "sim-core/state.h"

/* A drive's file at the cut: a restore needs it as it was. */
struct drive_state {
    uint64_t size, mtime_ns;
};

enum sim_status drive_state_take(const struct blockdev *b, struct drive_state *out) SIM_MUST_CHECK;
/* Has the drive's file changed since then? One message: "drive 'F' has changed since WHEN ...". */
enum sim_status drive_state_check(const struct drive_state *then, const struct blockdev *b,
                                  const char *when) SIM_MUST_CHECK;

/* What belongs to no device or hart. */
struct machine_state {
    uint64_t guest_ns;  /* guest time at the cut */
    uint64_t carry_ps;  /* virtual clock: below one nanosecond */
    uint32_t cursor;    /* one executor: the vCPU of the last turn */
    struct drive_state drive[CONFIG_MAX_DRIVES]; /* sections of their own, "drive/0" ... */
};

/* An object, its table, its name in images ("hart/0", "device/serial@10000000", "machine"). */
struct machine_object {
    char *name;
    const struct state_desc *desc;
    void *object;
};

struct machine_objects {
    struct machine_object *list;
    unsigned nr, first_hart; /* harts come last */
    struct rv_machine *cpus; /* of all ranks; NULL: not RISC-V */
    uint32_t nr_kvm;         /* vCPUs of all ranks; 0: not KVM's */
};
/* Lists the objects of this rank; `state` is the machine's own, NULL where the devices are elsewhere. The list is the
 * caller's (fini). */
void machine_objects_list(struct machine *m, struct machine_state *state,
                          struct machine_objects *out);
void machine_objects_fini(struct machine_objects *o);

/* Ends what is in flight (disk requests) in every object, so that none changes another while states are taken. Context:
 * frozen world; may block for the host's disk. */
void machine_objects_settle(const struct machine_objects *o);

/* Where saved states come from: an image, a migration. */
struct section_source {
    const char *label; /* for messages: "image 'PATH'" */
    bool (*find)(const void *opaque, const char *name, const uint8_t **data, size_t *len);
    const char *(*name)(const void *opaque, unsigned i); /* NULL at the end */
    const void *opaque;
};

/* Saves all at this instant: `state`, which is one of them, gets the time, and `cursor` as whose turn was the last;
 * section[i] the i-th object. Context: frozen world, settled. */
void machine_objects_save(const struct machine_objects *o, const struct sim_clock *clock, struct machine_state *state,
                          uint32_t cursor, struct state_buf *section);

/* Loads every object's section. A section that the source lacks, or one that no object has: one message with its name.
 * Context: executors not running. */
enum sim_status machine_objects_load(const struct machine_objects *o,
                                     const struct section_source *source) SIM_MUST_CHECK;
/* The same in two steps, for ranks: harts; then, where they are, devices, which may tell harts elsewhere. */
enum sim_status machine_objects_load_harts(const struct machine_objects *o,
                                           const struct section_source *source) SIM_MUST_CHECK;
enum sim_status machine_objects_load_devices(const struct machine_objects *o,
                                             const struct section_source *source) SIM_MUST_CHECK;

/* RAM as a space of blocks, whose opaque is the machine; `range` has room for one entry per RAM region (machine_ram_ranges). */
unsigned machine_ram_ranges(const struct machine *m);
void machine_ram_source(struct machine *m, struct ckpt_range *range, struct ckpt_source *out);
/* The same for blocks that will come: from here on, until its guard has gone. */
void machine_ram_target(struct machine *m, struct ckpt_range *range, struct ckpt_source *out);

/* The overlay of a frozen drive as a space "drive/N"; `range` is one entry, `name` has CKPT_DRIVE_NAME bytes. */
enum { CKPT_DRIVE_NAME = 16 };
void machine_drive_source(struct blockdev *b, unsigned n, struct ckpt_range *range, char *name,
                          struct ckpt_source *out);

/* XXH3 of RAM and of all states. Context: executors stopped. */
uint64_t machine_state_hash(struct machine *m, struct machine_state *state);

#endif
