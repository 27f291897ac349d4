/* The file of a cluster: YAML, read into names and words.
 *
 *   machines:
 *     board: -smp 2 -m 256M -kernel Image -netdev segment,id=n,name=lan -device virtio-net-device,netdev=n
 *     pc: [-M, virt-x86, -kernel, vmlinuz, -append, "console=ttyS0 quiet"]
 *   until: board          # optional
 *   segments:             # optional: what is no ideal wire
 *     lan: {latency: 50us, loss: 0.1%}
 *   seed: 7               # optional: which frames are lost
 *
 * A machine is the words of `partita run`, as a list, or as one text in which quotes keep words together. */
#ifndef LAUNCH_CLUSTER_FILE_H
#define LAUNCH_CLUSTER_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "sim-core/status.h"

struct cluster_machine {
    char *name;
    char **word;
    int nr_words;
};

struct cluster_segment {
    char *name;
    uint64_t latency_ns;
    uint32_t loss_ppm;
    size_t line; /* for messages */
};

struct cluster_file {
    struct cluster_machine *machine;
    unsigned nr_machines;
    struct cluster_segment *segment;
    unsigned nr_segments;
    uint64_t seed;
    char *until; /* NULL: until all have ended */
};

/* Logs what is wrong, with file and line; then nothing is left. */
enum sim_status cluster_file_read(const char *path, struct cluster_file *out) SIM_MUST_CHECK;
void cluster_file_fini(struct cluster_file *f);

#endif
