/* The configuration of a run: what the command line (and later a YAML file) becomes, and what
 * --dump-config prints. Plain data; strings are owned by the struct and freed by config_fini. */
#ifndef LAUNCH_CONFIG_H
#define LAUNCH_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cpu/riscv.h"
#include "sim-core/status.h"

enum {
    CONFIG_MAX_HARTS = 4096,
    CONFIG_MAX_DRIVES = 16,
    CONFIG_MAX_NETS = 8,
    CONFIG_MAX_SERIALS = 8,
    CONFIG_MAX_THREADS = 1024,
    CONFIG_MAX_RANKS = 64 /* in one process */
};

#define CONFIG_RAM_BASE 0x80000000ull /* of the machine virt */

enum config_bind { CONFIG_BIND_AUTO, CONFIG_BIND_OFF, CONFIG_BIND_ON };
/* What runs the vCPUs: accel.h. */
enum config_accel { CONFIG_ACCEL_JIT, CONFIG_ACCEL_INTERP, CONFIG_ACCEL_KVM };
enum config_bus { CONFIG_BUS_PCI, CONFIG_BUS_MMIO };
/* A virtio device's notifications by eventfd. */
enum config_eventfd { CONFIG_EVENTFD_AUTO, CONFIG_EVENTFD_OFF, CONFIG_EVENTFD_ON };
extern const char *const config_eventfd_words[]; /* as users and images write it; NULL ends the list */

struct config_drive {
    char *file;
    bool readonly;
    char *serial;
    enum config_bus bus;
    enum config_eventfd eventfd;
};

struct config_net {
    char *backend; /* netdev_create spec: "user,...", "socket,..." */
    uint8_t mac[6];
    bool mac_given; /* by the user, not chosen here */
    enum config_bus bus;
    enum config_eventfd eventfd;
};

/* What -numa (or the plan of many ranks) makes of the guest's memory and harts: numa.h. */
struct config_numa {
    uint32_t nr_nodes;   /* 0: the guest is told nothing */
    uint16_t *hart_node; /* by hart */
    struct config_numa_ram {
        uint64_t base, size; /* guest-physical */
        uint32_t node;
    } *ram; /* ascending; all of RAM */
    unsigned nr_ram;
    uint8_t *distance; /* from * nr_nodes + to; 10 is local */
};

/* A restored machine is composed from the tree in its image, whatever built that. */
struct config_tree {
    void *fdt;        /* NULL: not restored; owned */
    uint32_t size;
    bool builtin_sbi; /* what loader_wants_sbi had found */
    char image[33];   /* the image's id; empty: from another process */
};

/* Checkpoints of this run (checkpoint.h). */
struct config_checkpoint {
    char *dir;         /* of the images; NULL: only on request */
    uint64_t every_ns; /* guest time; 0: on request and signals only */
    uint32_t keep;     /* images; 0: all */
    bool incremental;
};

/* Looking into the guest: profiles, traces, plugins (tools.h). */
struct config_tools {
    bool perf_map, jitdump;
    struct config_symbols {
        char *file;
        uint64_t bias; /* added to its addresses */
    } *symbols;
    unsigned nr_symbols;
    char **traces; /* trace_spec.h; checked */
    unsigned nr_traces;
    struct config_plugin {
        char *file;
        char **argument; /* "key=value" */
        unsigned nr_arguments;
    } *plugins;
    unsigned nr_plugins;
};

struct config {
    bool x86;          /* machine virt-x86 */
    bool own_apics;    /* virt-x86: interrupt controllers are ours, not KVM's; on several ranks always */
    bool irqfd;        /* virt-x86 with KVM's: virtio interrupts are edges, by eventfd; of an image: its tree says so */
    uint32_t smp;      /* harts, 1..CONFIG_MAX_HARTS */
    uint64_t memory;   /* bytes */
    bool smp_given, memory_given; /* by the user: with `dtb` they are held against the tree */
    char *cpu;         /* -cpu text, NULL = "rv64" */
    char *kernel;      /* Image or ELF; NULL: none */
    char *initrd;
    char *append;      /* NULL: empty */
    char *bios;        /* "none", "default" (built-in SBI) or a file; NULL: by the kernel (loader.h) */
    char *dtb;         /* the user's machine description; NULL: virt */
    char *dump_dtb;    /* write the machine's tree here and exit */
    struct config_numa numa;
    struct config_drive drive[CONFIG_MAX_DRIVES];
    unsigned nr_drives;
    struct config_net net[CONFIG_MAX_NETS];
    unsigned nr_nets;
    char *serial[CONFIG_MAX_SERIALS]; /* chardev specs in UART order; "stdio" is the terminal */
    unsigned nr_serials;
    char *virtconsole;                /* chardev spec; NULL: no virtio console */
    bool rng;                         /* virtio-rng */
    enum config_bus rng_bus;
    enum config_eventfd rng_eventfd;
    enum config_accel accel[4]; /* as wished, in order */
    unsigned nr_accels;         /* 0: the machine's default */
    bool jit, kvm;              /* what it came to */
    enum rv_jit_tier jit_tier;
    uint32_t jit_threshold;     /* executions of a block before it is translated; 0: the default */
    uint32_t jit_hot;           /* tier=auto: instructions in a region before it is translated again; 0: the default */
    bool virtual_clock;
    unsigned threads;                 /* executors (of each rank), 0 = by the host */
    unsigned ranks;                   /* logical ranks in this process, 0 or 1: one, or as started by mpirun */
    uint32_t message_seed;            /* of such ranks, for tests. 0: messages arrive at once */
    uint64_t message_delay_ns;        /* else each after a random time up to this */
    bool rebalance;                   /* harts of several ranks move by themselves */
    bool rehome;                      /* so do homes of their memory */
    enum config_bind bind;            /* executors of ranks to cores */
    uint32_t *harts_per_rank;         /* the user's own distribution over ranks */
    unsigned nr_harts_per_rank;       /* 0: by the ranks' cores */
    uint64_t timeout_ns;              /* 0: none */
    char *expect;                     /* POSIX extended regular expression on serial output */
    bool stats;
    bool no_reboot;                   /* a guest reset ends the run */
    bool demo;
    struct config_tree tree;
    struct config_checkpoint checkpoint;
    struct config_tools tools;
    char *control;                    /* path of the control socket; NULL: none */
    bool state_hash;                  /* print a hash of RAM and all states at the end */
    bool dump_config;                 /* print this configuration and exit */
};

void config_init(struct config *c); /* defaults: 1 hart, 128 MiB as QEMU, jit on */
void config_fini(struct config *c);
void config_numa_fini(struct config_numa *numa);
/* Writes it as YAML. */
void config_dump(const struct config *c, FILE *out);
/* Are executors of ranks bound to their cores? Ranks inside one process are for trying things out, and other such processes
 * may run beside. */
static inline bool config_binds(const struct config *c)
{
    return c->bind == CONFIG_BIND_ON || (c->bind == CONFIG_BIND_AUTO && c->ranks <= 1);
}
/* Replaces an owned string; value may be NULL. */
void config_set_string(char **field, const char *value);

/* What a configuration must not be. */
struct config_rule {
    bool wrong;
    const char *why;
};
/* Of the first that is broken; NULL: none is. */
const char *config_broken_rule(const struct config_rule *rule, size_t nr);

#endif
