/* Homes of memory that move between ranks (mem/dsm/move.c), by command and by themselves.
 *
 *   move-memory -> the RAM regions of the range -> segments, some at a time -> dsm_move_homes -> serve others until it is over
 *   every rank, each half second (unless -rebalance off): its worst placed homes -> TRAFFIC -> rank 0: part_rehome
 *           (partition/rehome.h) -> those that shall move, at once
 *
 * On rank 0's I/O thread, as all that needs the ranks to agree: so no image begins meanwhile, and no hart moves. While an image is
 * written, or the machine migrates, homes stay (ranks_keep_homes). */
#include <string.h>

#include "partition/rehome.h"
#include "ranks_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum {
    BATCH = 32, /* segments at a time: who needs a page meanwhile waits */
    NAP_NS = 100 * 1000,
    TICKS = 20, /* intervals of ranks_load.c */
    TOLD = 64,  /* segments, by each rank */
    REPORTS = 1024
};

#define BALANCING_LIMIT_NS 20000000ull /* of who waits for pages */
/* A device may be reading into a page from a slow disk: a command tries again until it has tried for so long, and between its
 * tries those go on who wait for pages. */
#define COMMAND_TRY_NS 100000000ull
#define COMMAND_REST_NS 100000000ull
#define COMMAND_LIMIT_NS 5000000000ull

static uint64_t segment_bytes(void)
{
    return (uint64_t)DSM_SEGMENT_PAGES << GUEST_PAGE_BITS;
}

static bool is_ending(const struct ranks *r)
{
    return ranks_failed(r) || sim_ending(r->sim);
}

/* Serves others until it is over, or gives it up. When the run ends or is reset it ends by itself, or need not. */
static enum sim_status await(struct ranks *r, uint64_t limit_ns)
{
    const uint64_t start = sim_host_ns();

    while (dsm_is_moving(r->dsm)) {
        if (is_ending(r))
            return dsm_cancel_move(r->dsm) ? SIM_ERR_BUSY : SIM_ERR_IO;
        if (sim_host_ns() - start > limit_ns && dsm_cancel_move(r->dsm))
            return SIM_ERR_BUSY;
        ranks_nap(r, NAP_NS);
    }
    return SIM_OK;
}

void ranks_keep_homes(struct ranks *r, bool keep)
{
    if (r && keep)
        atomic_fetch_add_explicit(&r->homes_kept, 1, memory_order_release);
    else if (r)
        atomic_fetch_sub_explicit(&r->homes_kept, 1, memory_order_release);
}

static bool are_kept(const struct ranks *r)
{
    return atomic_load_explicit(&r->homes_kept, memory_order_acquire);
}

enum sim_status ranks_move_segments(struct ranks *r, const struct dsm_move *move, unsigned nr, uint64_t limit_ns,
                                    struct ranks_homes_moved *moved)
{
    uint64_t start = sim_host_ns(), segments;

    if (are_kept(r))
        return SIM_ERR_BUSY;
    SIM_TRY(dsm_move_homes(r->dsm, move, nr, &segments));
    if (!segments)
        return SIM_OK;
    SIM_TRY(await(r, limit_ns));
    uint64_t pause_ns = sim_host_ns() - start;
    moved->bytes += segments * segment_bytes();
    moved->pauses++;
    if (pause_ns > moved->pause_ns)
        moved->pause_ns = pause_ns;
    return SIM_OK;
}

static void rest(struct ranks *r, uint64_t ns)
{
    for (const uint64_t start = sim_host_ns(); sim_host_ns() - start < ns && !is_ending(r);)
        ranks_nap(r, NAP_NS);
}

/* Some segments, by command. */
static enum sim_status move_batch(struct ranks *r, const struct dsm_move *move, struct ranks_homes_moved *moved)
{
    const uint64_t start = sim_host_ns();

    for (;;) {
        enum sim_status status = ranks_move_segments(r, move, 1, COMMAND_TRY_NS, moved);
        if (status != SIM_ERR_BUSY || are_kept(r) || is_ending(r) || sim_host_ns() - start > COMMAND_LIMIT_NS)
            return status;
        rest(r, COMMAND_REST_NS);
    }
}

/* Of the machine's RAM from `offset` on; segments that are partly in it move whole. */
static enum sim_status move_ram(struct ranks *r, uint64_t offset, uint64_t bytes, uint32_t to,
                                struct ranks_homes_moved *moved)
{
    uint64_t at = offset / segment_bytes(), end = (offset + bytes - 1) / segment_bytes() + 1;
    enum sim_status status = SIM_OK;

    for (; at < end && status == SIM_OK; at += BATCH) {
        const struct dsm_move move = {.first = at, .nr = end - at < BATCH ? end - at : BATCH, .to = to};
        status = move_batch(r, &move, moved);
    }
    return status;
}

static enum sim_status refuse(const struct ranks *r, gpa_t start, uint64_t bytes, uint32_t to)
{
    sim_error("move-memory: %llu bytes at 0x%llx to rank %u: there must be RAM, and there are ranks 0-%u",
              (unsigned long long)bytes, (unsigned long long)start, to, r->sim->nr_ranks - 1);
    return SIM_ERR_INVALID;
}

/* The part of a region that is in the range; 0: none. */
static uint64_t common(const struct mem_region *region, gpa_t start, uint64_t bytes, uint64_t *offset)
{
    gpa_t from = start > region->base ? start : region->base;
    gpa_t end = region->base + region->size < start + bytes ? region->base + region->size : start + bytes;

    *offset = region->ram_offset + (from - region->base);
    return region->ops || from >= end ? 0 : end - from;
}

static const char *why_busy(const struct ranks *r)
{
    return are_kept(r)   ? "an image or a migration is under way"
           : is_ending(r) ? "the run ends, or the guest is being reset"
                          : "pages are long under way, as when a device reads into them from a slow disk; try again later";
}

enum sim_status ranks_move_memory(struct ranks *r, gpa_t start, uint64_t bytes, uint32_t to,
                                  struct ranks_homes_moved *moved)
{
    enum sim_status status = SIM_OK;
    const struct mem_region *region;
    uint64_t found = 0, offset;

    *moved = (struct ranks_homes_moved){0};
    if (to >= r->sim->nr_ranks || start + bytes < start)
        return refuse(r, start, bytes, to);
    for (unsigned i = 0; status == SIM_OK && (region = mem_nth(r->space, i)); i++) {
        uint64_t n = common(region, start, bytes, &offset);
        found += n;
        if (n)
            status = move_ram(r, offset, n, to, moved);
    }
    if (!found)
        return refuse(r, start, bytes, to);
    if (status == SIM_ERR_BUSY)
        sim_error("move-memory: %llu bytes have moved; the rest stays where it is: %s", (unsigned long long)moved->bytes, why_busy(r));
    return status;
}

/* --- where they are --- */

/* Where the homes can change at the soonest behind a page of the region: its end, the segment's, or the plan's. */
static uint64_t next_border(const struct ranks *r, const struct mem_region *region, uint64_t page)
{
    uint64_t end = (region->ram_offset + region->size) >> GUEST_PAGE_BITS;
    uint64_t segment_end = (page / DSM_SEGMENT_PAGES + 1) * DSM_SEGMENT_PAGES;
    uint64_t gpa_page = (region->base - region->ram_offset) / GUEST_PAGE_SIZE + page;

    end = segment_end < end ? segment_end : end;
    for (uint32_t i = 0; i < r->plan->nr_homes; i++) {
        uint64_t border = r->plan->home[i].last_page - gpa_page + page;
        if (r->plan->home[i].last_page > gpa_page && border < end)
            end = border;
    }
    return end;
}

static void list_region(const struct ranks *r, const struct mem_region *region, ranks_home_fn *fn, void *opaque)
{
    const uint64_t end = (region->ram_offset + region->size) >> GUEST_PAGE_BITS;

    for (uint64_t page = region->ram_offset >> GUEST_PAGE_BITS, first = page; page < end; first = page) {
        rank_t home = dsm_home(r->dsm, page);
        while (page < end && dsm_home(r->dsm, page) == home)
            page = next_border(r, region, page);
        fn(opaque, region->base + ((first << GUEST_PAGE_BITS) - region->ram_offset), (page - first) << GUEST_PAGE_BITS,
           (uint32_t)home);
    }
}

void ranks_list_homes(const struct ranks *r, ranks_home_fn *fn, void *opaque)
{
    const struct mem_region *region;

    for (unsigned i = 0; (region = mem_nth(r->space, i)); i++)
        if (!region->ops)
            list_region(r, region, fn, opaque);
}

/* --- by themselves --- */

_Static_assert(TOLD * sizeof(struct part_traffic) <= IC_MESSAGE_MAX, "a report is a message");

/* `traffic` is rank 0's, under `lock`: handlers write it. The rest: the I/O thread's. */
struct ranks_homes {
    struct sim_mutex lock;
    struct part_traffic traffic[REPORTS]; /* since the last decision */
    unsigned nr;
    unsigned ticks;
    struct part_rehome decider;
};

static void tell(struct ranks *r)
{
    struct dsm_segment_traffic seen[TOLD];
    struct part_traffic told[TOLD] = {0};
    unsigned nr = dsm_take_traffic(r->dsm, seen, TOLD);

    for (unsigned i = 0; i < nr; i++)
        told[i] = (struct part_traffic){seen[i].segment, seen[i].best, seen[i].home_saves, seen[i].best_saves};
    if (nr)
        ic_send_small(r->ic, 0, MSG_TRAFFIC, told, (uint32_t)(nr * sizeof told[0]));
}

static bool makes_sense(const struct ranks *r, const struct part_traffic *t)
{
    uint64_t segments = (r->space->ram_size + segment_bytes() - 1) / segment_bytes();

    return t->segment < segments && t->best < r->sim->nr_ranks;
}

static void on_traffic(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    struct ranks_homes *h = r->homes;
    const struct part_traffic *t = data;

    (void)from;
    if (!h || r->sim->rank != 0)
        return;
    sim_mutex_lock(&h->lock);
    for (uint32_t i = 0; i < len / sizeof *t && h->nr < REPORTS; i++)
        if (makes_sense(r, &t[i]))
            h->traffic[h->nr++] = t[i];
    sim_mutex_unlock(&h->lock);
}

static unsigned decide(struct ranks_homes *h, struct part_home_move *move)
{
    sim_mutex_lock(&h->lock);
    unsigned nr = part_rehome(&h->decider, h->traffic, h->nr, sim_host_ns(), move, DSM_MOVES);
    h->nr = 0;
    sim_mutex_unlock(&h->lock);
    return nr;
}

static void rehome(struct ranks *r)
{
    struct part_home_move advice[DSM_MOVES];
    struct dsm_move move[DSM_MOVES];
    unsigned nr = decide(r->homes, advice);

    for (unsigned i = 0; i < nr; i++)
        move[i] = (struct dsm_move){.first = advice[i].segment, .nr = 1, .to = advice[i].to};
    if (!nr || are_kept(r))
        return;
    /* Not now: then at another time, if it is still worth it. */
    const uint64_t start = sim_host_ns();
    enum sim_status status = ranks_move_segments(r, move, nr, BALANCING_LIMIT_NS, &r->homes_moved);
    const uint64_t end = sim_host_ns();
    part_rehome_result(&r->homes->decider, status != SIM_OK || end - start > BALANCING_LIMIT_NS, end);
}

void ranks_homes_tick(struct ranks *r)
{
    if (!r->config->rehome || ++r->homes->ticks % TICKS)
        return;
    tell(r);
    if (r->sim->rank == 0)
        rehome(r);
}

void ranks_homes_register(struct ranks *r)
{
    ic_register(r->ic, MSG_TRAFFIC, "traffic", on_traffic, r);
}

void ranks_homes_start(struct ranks *r)
{
    struct ranks_homes *h = sim_new(struct ranks_homes);

    sim_mutex_init(&h->lock, SIM_RANK_RANKS);
    r->homes = h;
}

void ranks_homes_destroy(struct ranks *r)
{
    if (r->homes)
        sim_mutex_fini(&r->homes->lock);
    sim_free(r->homes);
    r->homes = NULL;
}
