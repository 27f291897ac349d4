/* The plan: which harts, which home memory and which devices on which executor of which rank.
 *
 *   part_config + the topology of every rank -> part_plan_make -> part_plan (the same on every rank)
 *
 * A pure function: no clock, no environment, no random number, no floating point. Every rank calls it with
 * the same inputs and may compare part_plan_hash with the others'.
 *
 *   rank 0                 rank 1               ...
 *   harts    [0, 4)        [4, 8)                    contiguous, in proportion to cores
 *   memory   [..... )      [..... )                  contiguous, in proportion to harts, cut at 2 MiB
 *   cores    0 1           2 3                       ranks of one host never share a core
 *   executor 0: harts 0, 2   0: harts 4, 6           neighbours on different executors
 *            1: harts 1, 3   1: harts 5, 7
 *   spare    3 2           1 0                       cores of its host's other ranks, which these may lend (lend.h) */
#ifndef PARTITION_PLAN_H
#define PARTITION_PLAN_H

#include "partition/topology.h"

#define PART_HOME_ALIGN (2ull << 20)

enum {
    PART_MAX_RANKS = 4096,
    PART_MAX_SPARES = 64, /* of a rank: each is a thread, asleep most of the time */
    /* Guest NUMA distances. */
    PART_NEAR = PART_DISTANCE_LOCAL, /* a node to itself */
    PART_SAME_HOST = 20,
    PART_OTHER_HOST = 40
};

/* Guest-physical RAM: [base, base + size), both whole pages. */
struct part_range {
    gpa_t base;
    uint64_t size;
};

/* A device that has to be on a certain rank (where its disk image is, say). */
struct part_device {
    const char *name;
    uint32_t rank;
};

/* What the plan must know of the run. The arrays stay the caller's. */
struct part_config {
    uint32_t nr_harts;
    const struct part_range *ram; /* ascending, disjoint */
    unsigned nr_ram;
    uint32_t threads_per_rank;      /* executors; 0: by cores and harts */
    bool harts_move;                /* all harts may come to one rank: it has executors for them if it has cores */
    bool lend_cores;                /* ... and spare ones for the cores that other ranks of its host then leave idle */
    bool binds;                     /* threads are bound: those of a rank may use cores that it was not started on */
    const uint32_t *harts_per_rank; /* the user's own distribution, nr_ranks numbers; NULL: by cores */
    uint32_t device_rank;           /* devices which `device` does not name; usually 0 */
    const struct part_device *device;
    unsigned nr_devices;
    uint32_t max_nodes; /* NUMA nodes the guest can have; ranks next to each other then share; 0: any number */
};

struct part_hart {
    uint32_t rank;
    uint32_t executor; /* of that rank, from 0 */
};

struct part_executor {
    uint32_t core; /* index into the rank's topology; PART_NONE: not bound */
    uint32_t numa; /* OS index of the NUMA domain near the core; PART_NONE: not bound */
    uint32_t first_cpu, nr_cpus; /* its PUs' OS indices in plan->cpu[]; 0 when not bound */
};

struct part_rank {
    uint32_t host;                        /* 0.. in order of their first rank */
    uint32_t node;                        /* guest NUMA node */
    uint32_t first_hart, nr_harts;        /* at least one */
    uint32_t first_executor, nr_executors; /* in plan->executor[]; at least one */
    uint32_t first_spare, nr_spares;      /* in plan->spare[]; none on most plans */
    uint32_t nr_cores;                    /* this rank's share of its host's cores; 0: it has less than one */
    bool bound;                           /* every executor has a core to itself */
};

/* A guest NUMA node: ranks next to each other; one each unless max_nodes is less. */
struct part_node {
    uint32_t host;                 /* of its first rank */
    uint32_t first_rank, nr_ranks;
};

/* Pages [first_page, last_page) of guest-physical memory have their home on `rank`. */
struct part_home {
    uint64_t first_page, last_page;
    uint32_t rank;
};

/* Immutable once made; readable from any thread. */
struct part_plan {
    struct part_rank *rank;
    uint32_t nr_ranks, nr_hosts;
    struct part_executor *executor; /* all ranks', rank by rank */
    uint32_t nr_executors;
    uint32_t *spare; /* rank by rank: the executors of others whose cores its spare executors use when they are lent */
    uint32_t nr_spares;
    struct part_hart *hart; /* by hart index */
    uint32_t nr_harts;
    uint32_t *cpu; /* OS indices of PUs, executor by executor */
    uint32_t nr_cpus;
    struct part_home *home; /* ascending and disjoint; covers all RAM */
    uint32_t nr_homes;
    uint32_t device_rank;
    struct part_device *device; /* names owned by the plan */
    unsigned nr_devices;
    struct part_node *node;
    uint32_t nr_nodes;
};

/* Makes the plan. SIM_ERR_INVALID, logged with the numbers, for wishes that contradict each other (more ranks
 * than harts, a list with a wrong sum, ...). `topology` has nr_ranks pointers. part_plan_destroy the result.
 * Context: any thread; does not block. */
enum sim_status part_plan_make(const struct part_config *config,
                               const struct part_topology *const *topology, uint32_t nr_ranks,
                               struct part_plan **out) SIM_MUST_CHECK;
void part_plan_destroy(struct part_plan *plan);

/* Equal plans have equal hashes, on every host and in every build of one version. */
uint64_t part_plan_hash(const struct part_plan *plan);

static inline struct part_hart part_plan_hart(const struct part_plan *plan, uint32_t hart)
{
    return plan->hart[hart];
}

/* The home of a page (gpa >> GUEST_PAGE_BITS), or PART_NONE outside RAM. O(log ranks). */
static inline uint32_t part_plan_home(const struct part_plan *plan, uint64_t page)
{
    uint32_t low = 0, high = plan->nr_homes;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (page < plan->home[mid].first_page)
            high = mid;
        else if (page >= plan->home[mid].last_page)
            low = mid + 1;
        else
            return plan->home[mid].rank;
    }
    return PART_NONE;
}

/* What executor `n` of a rank runs on: its own, [0, nr_executors), then the spare ones. An index into plan->executor[]. */
static inline uint32_t part_plan_core_of(const struct part_plan *plan, uint32_t rank, uint32_t n)
{
    const struct part_rank *r = &plan->rank[rank];

    return n < r->nr_executors ? r->first_executor + n : plan->spare[r->first_spare + n - r->nr_executors];
}

/* The rank that has the device called `name`. */
uint32_t part_plan_device(const struct part_plan *plan, const char *name);

/* Guest NUMA distance between two nodes. */
static inline unsigned part_plan_distance(const struct part_plan *plan, uint32_t from, uint32_t to)
{
    if (from == to)
        return PART_NEAR;
    return plan->node[from].host == plan->node[to].host ? PART_SAME_HOST : PART_OTHER_HOST;
}

#endif
