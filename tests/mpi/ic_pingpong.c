/* Round trips of the interconnect beside raw MPI's, in one run: mpirun -n 2 ic_pingpong [rounds]. Without mpirun:
 * two ranks in this process, on one thread and on two.
 * Prints what an idle poll costs, and the median of several stretches for 64 B -> 64 B and 64 B -> 4 KiB + 64 B. Other ranks than 0 and 1
 * only take part in start and end. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interconnect/interconnect.h"
#include "sim-core/lock.h"

enum { STRETCHES = 21, ASK = IC_TYPE_TEST, ANSWER, SMALL = 64, PAGE = 4096 };

struct side {
    struct ic *ic;
    unsigned got, expected; /* a message may come before we look for it */
};

static char head[SMALL], body[PAGE];

static void on_ask(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct side *s = opaque;
    uint32_t want;

    (void)len;
    memcpy(&want, data, sizeof want);
    ic_send(s->ic, from, ANSWER, head, SMALL, body, want);
    s->got++;
}

static void on_answer(void *opaque, rank_t from, const void *data, uint32_t len)
{
    (void)from, (void)data, (void)len;
    ((struct side *)opaque)->got++;
}

static void ic_stretch(struct side *s, unsigned rounds, uint32_t want)
{
    for (unsigned i = 0; i < rounds; i++) {
        memcpy(head, &want, sizeof want);
        if (!ic_rank(s->ic))
            ic_send_small(s->ic, 1, ASK, head, SMALL);
        for (s->expected++; s->got < s->expected;)
            ic_poll(s->ic);
    }
}

static MPI_Comm raw_comm; /* apart from the interconnect's receives, which would be looked through */

static void raw_stretch(rank_t rank, unsigned rounds, int bytes)
{
    static char out[SMALL + PAGE], in[SMALL + PAGE];

    for (unsigned i = 0; i < rounds; i++) {
        if (!rank) {
            MPI_Send(out, SMALL, MPI_BYTE, 1, 7, raw_comm);
            MPI_Recv(in, sizeof in, MPI_BYTE, 1, 7, raw_comm, MPI_STATUS_IGNORE);
        } else {
            MPI_Recv(in, SMALL, MPI_BYTE, 0, 7, raw_comm, MPI_STATUS_IGNORE);
            MPI_Send(out, bytes, MPI_BYTE, 0, 7, raw_comm);
        }
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

/* Interleaved, because the machine's speed drifts. */
static void compare(struct side *s, unsigned rounds, uint32_t page)
{
    double ic[STRETCHES], raw[STRETCHES];

    for (unsigned i = 0; i < STRETCHES; i++) {
        uint64_t begin = sim_host_ns();
        ic_stretch(s, rounds, page);
        ic[i] = (double)(sim_host_ns() - begin) / 1e3 / rounds;
        begin = sim_host_ns();
        raw_stretch(ic_rank(s->ic), rounds, (int)(SMALL + page));
        raw[i] = (double)(sim_host_ns() - begin) / 1e3 / rounds;
    }
    double a = median(ic), b = median(raw);
    if (!ic_rank(s->ic))
        printf("64 B -> %4u B: interconnect %7.2f us, raw MPI %7.2f us, ratio %.2f\n", SMALL + page, a, b,
               a / b);
}

static void idle_polls(struct side *s, const char *where)
{
    double took[STRETCHES];

    for (unsigned i = 0; i < STRETCHES; i++) {
        uint64_t begin = sim_host_ns();
        for (unsigned p = 0; p < 1000; p++)
            ic_poll(s->ic);
        took[i] = (double)(sim_host_ns() - begin) / 1e3;
    }
    printf("a poll that finds nothing: %s %.0f ns, to be left %.1f us apart\n", where, median(took),
           (double)ic_poll_interval_ns(s->ic) / 1e3);
}

static void listen_to(struct side *s)
{
    ic_register(s->ic, ASK, "ask", on_ask, s);
    ic_register(s->ic, ANSWER, "answer", on_answer, s);
}

static int main_mpi(unsigned rounds)
{
    struct side s = {0};

    if (ic_mpi_create(NULL, &s.ic) != SIM_OK)
        return 1;
    listen_to(&s);
    if (ic_agree(s.ic, NULL, 0) != SIM_OK)
        return 1;
    MPI_Comm_dup(MPI_COMM_WORLD, &raw_comm);
    if (ic_rank(s.ic) < 2) {
        compare(&s, rounds, 0);
        compare(&s, rounds, PAGE);
    }
    if (!ic_rank(s.ic))
        idle_polls(&s, "mpi");
    MPI_Comm_free(&raw_comm);
    if (ic_barrier(s.ic) != SIM_OK || ic_start(s.ic) != SIM_OK)
        return 1;
    ic_stop(s.ic);
    ic_destroy(s.ic);
    return 0;
}

/* --- in one process --- */

struct answerer {
    struct side *side;
    unsigned rounds;
};

static void *answer_main(void *arg)
{
    struct answerer *a = arg;

    for (unsigned i = 0; i < STRETCHES; i++)
        ic_stretch(a->side, a->rounds, 0);
    return NULL;
}

static void two_threads(struct side *s, unsigned rounds, uint32_t page)
{
    struct answerer a = {.side = &s[1], .rounds = rounds};
    struct sim_thread t = {0};
    double took[STRETCHES];

    if (sim_thread_start(&t, "answerer", answer_main, &a) != SIM_OK)
        exit(1);
    for (unsigned i = 0; i < STRETCHES; i++) {
        uint64_t begin = sim_host_ns();
        ic_stretch(&s[0], rounds, page);
        took[i] = (double)(sim_host_ns() - begin) / 1e3 / rounds;
    }
    sim_thread_join(&t);
    printf("64 B -> %4u B: two threads %7.2f us\n", SMALL + page, median(took));
}

static void one_thread(struct side *s, unsigned rounds, uint32_t page)
{
    double took[STRETCHES];

    memcpy(head, &page, sizeof page);
    for (unsigned i = 0; i < STRETCHES; i++) {
        uint64_t begin = sim_host_ns();
        for (unsigned r = 0; r < rounds; r++) {
            ic_send_small(s[0].ic, 1, ASK, head, SMALL);
            ic_poll(s[1].ic);
            ic_poll(s[0].ic);
        }
        took[i] = (double)(sim_host_ns() - begin) / 1e3 / rounds;
    }
    printf("64 B -> %4u B: one thread  %7.2f us\n", SMALL + page, median(took));
}

static int main_inproc(unsigned rounds)
{
    struct side s[2] = {0};
    struct ic_inproc *net;

    if (ic_inproc_create(2, NULL, &net) != SIM_OK)
        return 1;
    for (rank_t i = 0; i < 2; i++) {
        if (ic_inproc_join(net, i, NULL, &s[i].ic) != SIM_OK)
            return 1;
        listen_to(&s[i]);
    }
    idle_polls(&s[0], "inproc");
    one_thread(s, rounds, 0);
    one_thread(s, rounds, PAGE);
    for (unsigned i = 0; i < 2; i++)
        s[i].expected = s[i].got;
    two_threads(s, rounds, 0);
    two_threads(s, rounds, PAGE);
    ic_destroy(s[0].ic);
    ic_destroy(s[1].ic);
    ic_inproc_destroy(net);
    return 0;
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 500;

    return ic_mpi_wanted() ? main_mpi(rounds) : main_inproc(rounds);
}
