/* How long a page takes from one rank to the other, beside a raw round trip of 64 B -> 4 KiB in the
 * same run.
 *
 *   mpirun -n 2 dsm_transfer [turns]     raw: MPI_Send and MPI_Recv
 *   dsm_transfer [turns]                 two threads of this process; raw: the interconnect's
 * messages
 *
 * Turns: get the page exclusive, increment, let it go; wait until the other has taken it. */
#ifdef WITH_MPI
#include <mpi.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem/dsm.h"
#include "sim-core/alloc.h"

enum { STRETCHES = 15, ASK = IC_TYPE_TEST, ANSWER, SMALL = 64, PAGES = 2 };

struct side {
    struct ic *ic;
    struct dsm *dsm;
    uint8_t *bytes;
    unsigned got, expected;
    unsigned turns, idle;
    double dsm_us[STRETCHES], raw_us[STRETCHES];
    void (*raw)(struct side *s);
};

static rank_t home(void *opaque, uint64_t page)
{
    (void)opaque;
    return (rank_t)(page % 2);
}

static void revoke(void *opaque, unsigned nr, const uint64_t page[], const uint8_t to[])
{
    (void)opaque, (void)nr, (void)page, (void)to;
}

static void granted(void *opaque, uint64_t page)
{
    (void)opaque, (void)page;
}

static const struct dsm_enforce_ops ops = {.revoke = revoke, .granted = granted};

/* Spins for long, as raw MPI does; then lets others of an oversubscribed host run. */
static void poll(struct side *s)
{
    s->idle = ic_poll(s->ic) ? 0 : s->idle + 1;
    dsm_tick(s->dsm);
    if (s->idle % 4096 == 4095)
        sim_thread_yield();
}

static void get_page(struct side *s)
{
    while (dsm_acquire(s->dsm, 0, true, 0) == DSM_WAIT)
        while (dsm_waiting(s->dsm, 0))
            poll(s);
}

/* Both ranks' turns are counted in the page: a rank that was not scheduled for long has lost it
 * meanwhile. */
static void dsm_stretch(struct side *s, uint64_t end)
{
    uint64_t *turn = (uint64_t *)s->bytes, now;

    do {
        get_page(s);
        now = *turn < end ? ++*turn : end;
        dsm_retired(s->dsm, 0);
        while (now < end && dsm_page_state(s->dsm, 0) == DSM_EXCLUSIVE)
            poll(s);
    } while (now < end);
}

static void on_ask(void *opaque, rank_t from, const void *data, uint32_t len)
{
    static const char body[GUEST_PAGE_SIZE];
    struct side *s = opaque;

    (void)len;
    ic_send(s->ic, from, ANSWER, data, SMALL, body, sizeof body);
    s->got++;
}

static void on_answer(void *opaque, rank_t from, const void *data, uint32_t len)
{
    (void)from, (void)data, (void)len;
    ((struct side *)opaque)->got++;
}

static void raw_by_messages(struct side *s)
{
    static const char head[SMALL];

    for (unsigned i = 0; i < s->turns; i++) {
        if (!ic_rank(s->ic))
            ic_send_small(s->ic, 1, ASK, head, SMALL);
        for (s->expected++; s->got < s->expected;)
            poll(s);
    }
}

static bool create(struct side *s)
{
    const struct dsm_config config = {
        .ic = s->ic,
        .nr_pages = PAGES,
        .bytes = s->bytes = sim_zalloc_aligned(GUEST_PAGE_SIZE, PAGES * GUEST_PAGE_SIZE),
        .home = home,
        .ops = &ops,
        .opaque = s,
        .stay_max_ns = 1}; /* this is about the way, and a page is wanted again at once */

    ic_register(s->ic, ASK, "ask", on_ask, s);
    ic_register(s->ic, ANSWER, "answer", on_answer, s);
    return dsm_create(&config, &s->dsm) == SIM_OK;
}

static double since(uint64_t begin, unsigned n)
{
    return (double)(sim_host_ns() - begin) / 1e3 / n;
}

/* Interleaved, because the machine's speed drifts. */
static void measure(struct side *s)
{
    for (unsigned i = 0; i < STRETCHES; i++) {
        if (ic_barrier(s->ic) != SIM_OK)
            exit(1);
        uint64_t begin = sim_host_ns();
        dsm_stretch(s, 2 * s->turns * (i + 1));
        if (ic_barrier(s->ic) != SIM_OK)
            exit(1);
        s->dsm_us[i] = since(begin, 2 * s->turns);
        begin = sim_host_ns();
        s->raw(s);
        s->raw_us[i] = since(begin, s->turns);
    }
}

static int by_value(const void *a, const void *b)
{
    double d = *(const double *)a - *(const double *)b;

    return d < 0 ? -1 : d > 0;
}

static double median(double *v)
{
    qsort(v, STRETCHES, sizeof *v, by_value);
    return v[STRETCHES / 2];
}

static void report(struct side *s, const char *raw_name)
{
    double mine = median(s->dsm_us), raw = median(s->raw_us);

    printf("page transfer %7.2f us, 64 B -> 4 KiB by %s %7.2f us, ratio %.2f\n", mine, raw_name,
           raw, mine / raw);
}

static void destroy(struct side *s)
{
    ic_destroy(s->ic);
    dsm_destroy(s->dsm);
    sim_free(s->bytes);
}

/* --- in one process --- */

static void *other_main(void *arg)
{
    measure(arg);
    return NULL;
}

static int main_inproc(unsigned turns)
{
    struct side s[2] = {0};
    struct sim_thread t = {0};
    struct ic_inproc *net;

    if (ic_inproc_create(2, NULL, &net) != SIM_OK)
        return 1;
    for (rank_t i = 0; i < 2; i++) {
        s[i] = (struct side){.turns = turns, .raw = raw_by_messages};
        if (ic_inproc_join(net, i, NULL, &s[i].ic) != SIM_OK || !create(&s[i]))
            return 1;
    }
    if (sim_thread_start(&t, "rank 1", other_main, &s[1]) != SIM_OK)
        return 1;
    measure(&s[0]);
    sim_thread_join(&t);
    report(&s[0], "the interconnect in one process");
    destroy(&s[0]);
    destroy(&s[1]);
    ic_inproc_destroy(net);
    return 0;
}

/* --- over MPI --- */

#ifdef WITH_MPI
static MPI_Comm
    raw_comm; /* apart from the interconnect's receives, which would be looked through */

static void raw_by_mpi(struct side *s)
{
    static char out[SMALL + GUEST_PAGE_SIZE], in[SMALL + GUEST_PAGE_SIZE];

    for (unsigned i = 0; i < s->turns; i++) {
        if (!ic_rank(s->ic)) {
            MPI_Send(out, SMALL, MPI_BYTE, 1, 7, raw_comm);
            MPI_Recv(in, sizeof in, MPI_BYTE, 1, 7, raw_comm, MPI_STATUS_IGNORE);
        } else {
            MPI_Recv(in, SMALL, MPI_BYTE, 0, 7, raw_comm, MPI_STATUS_IGNORE);
            MPI_Send(out, GUEST_PAGE_SIZE, MPI_BYTE, 0, 7, raw_comm);
        }
    }
}

static int main_mpi(unsigned turns)
{
    struct side s = {.turns = turns, .raw = raw_by_mpi};

    if (ic_mpi_create(NULL, &s.ic) != SIM_OK || !create(&s) || ic_agree(s.ic, NULL, 0) != SIM_OK)
        return 1;
    MPI_Comm_dup(MPI_COMM_WORLD, &raw_comm);
    measure(&s);
    MPI_Comm_free(&raw_comm);
    if (!ic_rank(s.ic))
        report(&s, "MPI");
    if (ic_barrier(s.ic) != SIM_OK || ic_start(s.ic) != SIM_OK)
        return 1;
    ic_stop(s.ic);
    destroy(&s);
    return 0;
}
#endif

int main(int argc, char **argv)
{
    unsigned turns = argc > 1 ? (unsigned)atoi(argv[1]) : 1000;

#ifdef WITH_MPI
    if (ic_mpi_wanted())
        return main_mpi(turns);
#endif
    return main_inproc(turns);
}
