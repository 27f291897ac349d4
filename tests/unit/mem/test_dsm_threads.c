/* Coherent memory with real threads: ranks of one process with their progress threads, and vCPU
 * threads that increment plain counters on a few pages. Nothing but the protocol keeps them apart.
 */
#include "dsm_world.h"
#include "sim-core/lock.h"

enum { RANKS = 2, CPUS = 2, PAGES = 4, INCREMENTS = 2000, PINNED = 300, MOVES = 50 };

struct cpu {
    struct rank *rank;
    unsigned index;
    struct sim_mutex guest; /* held in guest code; revoke takes it */
    uint8_t tlb[PAGES];
    struct sim_thread thread;
};

struct rank {
    struct ic *ic;
    struct dsm *dsm;
    uint64_t *bytes;
    struct cpu cpu[CPUS];
    struct sim_thread device, mover;
};

static struct rank ranks[RANKS];

static rank_t home(void *opaque, uint64_t page)
{
    (void)opaque;
    return (rank_t)(page * RANKS / PAGES); /* neighbours come along */
}

static void revoke(void *opaque, unsigned nr, const uint64_t page[], const uint8_t to[])
{
    struct rank *r = opaque;

    for (unsigned c = 0; c < CPUS; c++) {
        sim_mutex_lock(&r->cpu[c].guest);
        for (unsigned i = 0; i < nr; i++)
            if (r->cpu[c].tlb[page[i]] > to[i])
                r->cpu[c].tlb[page[i]] = to[i];
        sim_mutex_unlock(&r->cpu[c].guest);
    }
}

static void granted(void *opaque, uint64_t page)
{
    (void)opaque, (void)page;
}

static void failed(void *opaque, const char *why)
{
    (void)opaque;
    fail_msg("%s", why);
}

static const struct dsm_enforce_ops ops = {.revoke = revoke, .granted = granted, .failed = failed};

/* In guest code: one increment, or the page is on its way. */
static bool increment(struct cpu *cpu, unsigned page)
{
    struct rank *r = cpu->rank;

    if (cpu->tlb[page] != DSM_EXCLUSIVE) {
        if (dsm_acquire(r->dsm, page, true, cpu->index) == DSM_WAIT)
            return false;
        cpu->tlb[page] = DSM_EXCLUSIVE;
    }
    r->bytes[page * 512 + cpu->index]++;
    dsm_retired(r->dsm, cpu->index);
    return true;
}

static void *run_cpu(void *arg)
{
    struct cpu *cpu = arg;

    for (unsigned done = 0; done < INCREMENTS;) {
        sim_mutex_lock(&cpu->guest);
        done += increment(cpu, done % PAGES);
        sim_mutex_unlock(&cpu->guest);
        while (dsm_waiting(cpu->rank->dsm, cpu->index)) {
            ic_poll(cpu->rank->ic);
            dsm_tick(cpu->rank->dsm);
            sim_thread_yield();
        }
    }
    return NULL;
}

static void *run_device(void *arg)
{
    struct rank *r = arg;

    for (unsigned i = 0; i < PINNED; i++) {
        unsigned page = i % PAGES;
        bool read_first = i & 1; /* another rank may want to write it between the two */
        if (read_first)
            assert_int_equal(dsm_pin(r->dsm, page, false), SIM_OK);
        assert_int_equal(dsm_pin(r->dsm, page, true), SIM_OK);
        r->bytes[page * 512 + CPUS]++;
        dsm_unpin(r->dsm, page);
        if (read_first)
            dsm_unpin(r->dsm, page);
        sim_thread_yield();
    }
    return NULL;
}

/* Page after page changes its home, to and fro, while the others want it. */
static void *run_mover(void *arg)
{
    struct rank *r = arg;
    uint64_t moved;

    for (unsigned i = 0; i < MOVES; i++) {
        const uint64_t page = i % PAGES;
        const struct dsm_move move = {.first = page, .nr = 1, .to = !dsm_home(r->dsm, page)};
        assert_int_equal(dsm_move_homes(r->dsm, &move, 1, &moved), SIM_OK);
        assert_int_equal(moved, 1);
        while (dsm_is_moving(r->dsm)) {
            ic_poll(r->ic);
            dsm_tick(r->dsm);
            sim_thread_yield();
        }
        assert_int_equal(dsm_home(r->dsm, page), move.to);
    }
    return NULL;
}

static void create(struct ic_inproc *net)
{
    for (unsigned i = 0; i < RANKS; i++) {
        struct rank *r = &ranks[i];
        assert_int_equal(ic_inproc_join(net, (rank_t)i, NULL, &r->ic), SIM_OK);
        r->bytes = sim_zalloc_aligned(4096, PAGES * GUEST_PAGE_SIZE);
        const struct dsm_config config = {.ic = r->ic,
                                          .nr_pages = PAGES,
                                          .bytes = (uint8_t *)r->bytes,
                                          .home = home,
                                          .ops = &ops,
                                          .segment_pages = 1,
                                          .opaque = r,
                                          .blank = true};
        assert_int_equal(dsm_create(&config, &r->dsm), SIM_OK);
        for (unsigned c = 0; c < CPUS; c++) {
            r->cpu[c] = (struct cpu){.rank = r, .index = c};
            sim_mutex_init(&r->cpu[c].guest, SIM_RANK_HART);
        }
    }
    for (unsigned i = 0; i < RANKS; i++)
        assert_int_equal(ic_start(ranks[i].ic), SIM_OK);
}

static void start(struct rank *r)
{
    for (unsigned c = 0; c < CPUS; c++)
        assert_int_equal(sim_thread_start(&r->cpu[c].thread, "cpu", run_cpu, &r->cpu[c]), SIM_OK);
    assert_int_equal(sim_thread_start(&r->device, "device", run_device, r), SIM_OK);
}

static void join(struct rank *r)
{
    for (unsigned c = 0; c < CPUS; c++)
        sim_thread_join(&r->cpu[c].thread);
    sim_thread_join(&r->device);
}

/* Every rank sees every increment. */
static void check_sums(struct rank *r)
{
    for (unsigned column = 0; column <= CPUS; column++) {
        uint64_t sum = 0;
        for (unsigned page = 0; page < PAGES; page++) {
            assert_int_equal(dsm_pin(r->dsm, page, false), SIM_OK);
            sum += r->bytes[page * 512 + column];
            dsm_unpin(r->dsm, page);
        }
        assert_int_equal(sum, RANKS * (column < CPUS ? INCREMENTS : PINNED));
    }
}

static void *stop(void *arg)
{
    ic_stop(arg);
    return NULL;
}

/* ic_stop waits for the other ranks. */
static void stop_all(void)
{
    struct sim_thread thread[RANKS];

    for (unsigned i = 0; i < RANKS; i++)
        assert_int_equal(sim_thread_start(&thread[i], "stop", stop, ranks[i].ic), SIM_OK);
    for (unsigned i = 0; i < RANKS; i++)
        sim_thread_join(&thread[i]);
}

static void destroy(void)
{
    for (unsigned i = 0; i < RANKS; i++) {
        struct rank *r = &ranks[i];
        ic_destroy(r->ic);
        dsm_destroy(r->dsm);
        sim_free(r->bytes);
        for (unsigned c = 0; c < CPUS; c++)
            sim_mutex_fini(&r->cpu[c].guest);
    }
}

static void run(uint64_t seed, uint64_t max_delay_ns)
{
    const struct ic_chaos chaos = {.seed = seed, .max_delay_ns = max_delay_ns};
    struct ic_inproc *net;

    assert_int_equal(ic_inproc_create(RANKS, &chaos, &net), SIM_OK);
    create(net);
    for (unsigned i = 0; i < RANKS; i++)
        start(&ranks[i]);
    assert_int_equal(sim_thread_start(&ranks[0].mover, "mover", run_mover, &ranks[0]), SIM_OK);
    for (unsigned i = 0; i < RANKS; i++)
        join(&ranks[i]);
    sim_thread_join(&ranks[0].mover);
    for (unsigned i = 0; i < RANKS; i++)
        check_sums(&ranks[i]);
    stop_all();
    destroy();
    ic_inproc_destroy(net);
}

static void test_increments(void **state)
{
    (void)state;
    run(0, 0);
}

static void test_increments_with_delays(void **state)
{
    (void)state;
    run(7, 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_increments),
        cmocka_unit_test(test_increments_with_delays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
