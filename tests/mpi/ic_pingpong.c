/* Round trips of the interconnect beside raw MPI's, in one run: mpirun -n 2 ic_pingpong [rounds].
 * Prints the median of several stretches for 64 B -> 64 B and 64 B -> 4 KiB + 64 B. Other ranks than 0 and 1
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

static void raw_stretch(rank_t rank, unsigned rounds, int bytes)
{
    static char out[SMALL + PAGE], in[SMALL + PAGE];

    for (unsigned i = 0; i < rounds; i++) {
        if (!rank) {
            MPI_Send(out, SMALL, MPI_BYTE, 1, 7, MPI_COMM_WORLD);
            MPI_Recv(in, sizeof in, MPI_BYTE, 1, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        } else {
            MPI_Recv(in, SMALL, MPI_BYTE, 0, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            MPI_Send(out, bytes, MPI_BYTE, 0, 7, MPI_COMM_WORLD);
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

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 500;
    struct side s = {0};

    if (ic_mpi_create(NULL, &s.ic) != SIM_OK)
        return 1;
    ic_register(s.ic, ASK, "ask", on_ask, &s);
    ic_register(s.ic, ANSWER, "answer", on_answer, &s);
    if (ic_agree(s.ic, NULL, 0) != SIM_OK)
        return 1;
    if (ic_rank(s.ic) < 2) {
        compare(&s, rounds, 0);
        compare(&s, rounds, PAGE);
    }
    if (ic_barrier(s.ic) != SIM_OK || ic_start(s.ic) != SIM_OK)
        return 1;
    ic_stop(s.ic);
    ic_destroy(s.ic);
    return 0;
}
