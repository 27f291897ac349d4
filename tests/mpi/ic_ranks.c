/* Any number of ranks under mpirun: ic_ranks CASE [milliseconds of patience at start-up]. Exit code 0 when all went as it should. tests/mpi/run.sh
 * knows what each case expects on the outside.
 *
 *   traffic   all to all, short to longest, order of pairs, some ranks poll, others leave it to the progress thread
 *   slow      rank 0 does not poll while all others send
 *   idle      nobody polls; prints the latency of a message to an idle rank and the CPU time of idleness
 *   parked    the last rank polls for a while and parks, again and again; prints the latency of messages to it
 *   mismatch  the last rank has another kernel file
 *   missing   the last rank does not come to the agreement
 *   absent    rank 1 does not start MPI
 *   clock     on hosts.sh with HOSTS_CLOCKS: is the clocks' distance what it was made to be?
 *   wait      all idle until a rank is lost or a signal ends them (for run.sh to kill and stop ranks) */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "interconnect/interconnect.h"
#include "sim-core/env.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

enum { NUMBER = IC_TYPE_TEST, ASK, ANSWER, ROUNDS = 2000, EXIT_LOST = 3 };

struct rank {
    struct ic *ic;
    uint32_t *next; /* by sender */
    _Atomic uint64_t got;
    _Atomic bool lost;
    _Atomic uint64_t answered_ns;
    bool bad;
};

struct number {
    uint32_t value, check;
};

static void nap_ns(uint64_t ns)
{
    nanosleep(&(struct timespec){.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)},
              NULL);
}

/* Mostly short, some pages, some of the longest. */
static uint32_t body_of(uint32_t value)
{
    return value % 500 == 0 ? IC_MESSAGE_MAX - (uint32_t)sizeof(struct number) : value % 7 == 0 ? 4096 : value % 40;
}

static void on_number(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct rank *me = opaque;
    const struct number *m = data;
    const unsigned char *body = (const unsigned char *)(m + 1);
    uint32_t n = len - (uint32_t)sizeof *m;

    if (m->value != me->next[from]++ || n != body_of(m->value) || m->check != (uint32_t)from * 31 + m->value)
        me->bad = true;
    if (n && (body[0] != (unsigned char)m->value || body[n - 1] != (unsigned char)m->value))
        me->bad = true;
    atomic_fetch_add(&me->got, 1);
}

static void send_number(struct rank *me, rank_t to, uint32_t value)
{
    static char body[IC_MESSAGE_MAX];
    struct number m = {.value = value, .check = (uint32_t)ic_rank(me->ic) * 31 + value};

    memset(body, (int)value, body_of(value));
    ic_send(me->ic, to, NUMBER, &m, sizeof m, body, body_of(value));
}

static void on_ask(void *opaque, rank_t from, const void *data, uint32_t len)
{
    (void)data, (void)len;
    ic_send_small(((struct rank *)opaque)->ic, from, ANSWER, NULL, 0);
}

static void on_answer(void *opaque, rank_t from, const void *data, uint32_t len)
{
    (void)from, (void)data, (void)len;
    atomic_store(&((struct rank *)opaque)->answered_ns, sim_host_ns());
}

static void on_lost(void *opaque, rank_t rank, const char *why)
{
    (void)rank, (void)why;
    atomic_store(&((struct rank *)opaque)->lost, true);
}

static bool wait_for(struct rank *me, uint64_t messages, bool poll)
{
    while (atomic_load(&me->got) < messages && !atomic_load(&me->lost))
        poll ? (void)ic_poll(me->ic) : nap_ns(100000);
    return !me->bad && !atomic_load(&me->lost);
}

static bool case_traffic(struct rank *me)
{
    rank_t nr = ic_nr_ranks(me->ic);
    bool polls = ic_rank(me->ic) % 2;

    for (uint32_t v = 0; v < ROUNDS; v++) {
        for (rank_t to = 0; to < nr; to++)
            send_number(me, to, v);
        if (polls)
            ic_poll(me->ic);
    }
    return wait_for(me, (uint64_t)ROUNDS * (uint64_t)nr, polls);
}

static bool case_slow(struct rank *me)
{
    if (ic_rank(me->ic)) {
        for (uint32_t v = 0; v < 5 * ROUNDS; v++)
            send_number(me, 0, v);
        return true;
    }
    nap_ns(1000000000);
    return wait_for(me, 5ull * ROUNDS * (uint64_t)(ic_nr_ranks(me->ic) - 1), true);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static double cpu_seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* The time until an answer of the last rank; we poll. */
static uint64_t ask(struct rank *me)
{
    uint64_t begin = sim_host_ns();

    atomic_store(&me->answered_ns, 0);
    ic_send_small(me->ic, ic_nr_ranks(me->ic) - 1, ASK, NULL, 0);
    while (!atomic_load(&me->answered_ns) && !atomic_load(&me->lost))
        ic_poll(me->ic);
    return atomic_load(&me->answered_ns) - begin;
}

static void ask_and_print(struct rank *me, const char *whom)
{
    enum { ASKS = 200 };
    uint64_t took[ASKS];

    for (unsigned i = 0; i < ASKS; i++) {
        nap_ns(3000000 + i * 1000);
        took[i] = ask(me);
    }
    qsort(took, ASKS, sizeof *took, by_value);
    printf("round trip to %s rank: median %.0f us, 90 %% below %.0f us, longest %.0f us\n", whom,
           (double)took[ASKS / 2] / 1e3, (double)took[ASKS * 9 / 10] / 1e3, (double)took[ASKS - 1] / 1e3);
}

static bool case_idle(struct rank *me)
{
    nap_ns(200000000);
    double cpu = cpu_seconds();
    nap_ns(3000000000);
    printf("%s: idle, %.2f %% CPU\n", ic_rank_name(me->ic, ic_rank(me->ic)), (cpu_seconds() - cpu) / 3 * 100);
    if (!ic_rank(me->ic))
        nap_ns(2000000000);
    cpu = cpu_seconds();
    if (ic_barrier(me->ic) != SIM_OK)
        return false;
    if (ic_rank(me->ic))
        printf("%s: in a barrier, %.2f %% CPU\n", ic_rank_name(me->ic, ic_rank(me->ic)), (cpu_seconds() - cpu) / 2 * 100);
    if (!ic_rank(me->ic))
        ask_and_print(me, "an idle");
    return true;
}

/* As an executor: polls while it has work, says so when it parks. */
static bool case_parked(struct rank *me)
{
    rank_t last = ic_nr_ranks(me->ic) - 1;

    if (!ic_rank(me->ic)) {
        ask_and_print(me, "a parking");
        send_number(me, last, 0);
    }
    while (ic_rank(me->ic) == last && !atomic_load(&me->got) && !atomic_load(&me->lost)) {
        for (uint64_t end = sim_host_ns() + 700000; sim_host_ns() < end; sim_thread_yield())
            ic_poll(me->ic);
        if (!ic_rest(me->ic))
            nap_ns(2300000);
    }
    return true;
}

/* nodeN is N * 1000 s ahead, and rank 0 on node1. */
static bool case_clock(struct rank *me)
{
    const char *node = strstr(ic_rank_name(me->ic, ic_rank(me->ic)), "host node");
    long n = node ? strtol(node + strlen("host node"), NULL, 10) : 0;
    uint64_t error;
    int64_t offset = ic_clock_offset_ns(me->ic, &error);

    printf("%s: offset %lld ns, error %llu ns\n", ic_rank_name(me->ic, ic_rank(me->ic)), (long long)offset,
           (unsigned long long)error);
    int64_t wrong = offset - (1 - n) * 1000000000000;
    return n && error < 10000000 && wrong <= (int64_t)error && wrong >= -(int64_t)error;
}

/* Silence counts from a rank's first heartbeat on: until each of the others may have sent some. */
static void await_heartbeats(struct rank *me)
{
    struct ic_counter c[IC_TYPES];
    uint64_t beats = 0;

    while (beats < 4 * (uint64_t)(ic_nr_ranks(me->ic) - 1) && !atomic_load(&me->lost)) {
        nap_ns(50000000);
        ic_counters(me->ic, c);
        for (unsigned i = 0; i < IC_TYPES; i++)
            if (c[i].name && !strcmp(c[i].name, "heartbeat"))
                beats = c[i].received;
    }
}

static bool case_wait(struct rank *me)
{
    await_heartbeats(me);
    printf("rank %d is pid %d\n", ic_rank(me->ic), (int)getpid());
    fflush(stdout);
    for (unsigned i = 0; i < 600 && !atomic_load(&me->lost); i++)
        nap_ns(100000000);
    return false;
}

static const struct {
    const char *name;
    bool (*run)(struct rank *me);
} cases[] = {{"traffic", case_traffic}, {"slow", case_slow}, {"idle", case_idle}, {"parked", case_parked}, {"wait", case_wait}, {"clock", case_clock},
             {"mismatch", NULL},        {"missing", NULL}, {"absent", NULL}};

static enum sim_status agree(struct ic *ic, const char *name)
{
    bool last = ic_rank(ic) == ic_nr_ranks(ic) - 1;
    struct ic_fact fact = {.name = "kernel file", .value = "Image, 100 bytes"};

    if (last && !strcmp(name, "mismatch"))
        strcpy(fact.value, "Image, 101 bytes");
    if (last && !strcmp(name, "missing"))
        nap_ns(6000000000);
    return ic_agree(ic, &fact, 1);
}

static int run(struct rank *me, bool (*fn)(struct rank *me))
{
    ic_register(me->ic, NUMBER, "number", on_number, me);
    ic_register(me->ic, ASK, "ask", on_ask, me);
    ic_register(me->ic, ANSWER, "answer", on_answer, me);
    ic_on_lost(me->ic, on_lost, me);
    if (ic_start(me->ic) != SIM_OK)
        return 1;
    bool good = fn(me);
    good &= ic_barrier(me->ic) == SIM_OK;
    ic_stop(me->ic);
    ic_destroy(me->ic);
    return atomic_load(&me->lost) ? EXIT_LOST : !good;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    struct ic_config config = {.start_timeout_ns = argc > 2 ? strtoul(argv[2], NULL, 10) * 1000000 : 0};
    struct rank me = {0};

    signal(SIGPIPE, SIG_IGN); /* as launch does */
    if (!strcmp(name, "absent") && sim_env_number("OMPI_COMM_WORLD_RANK", 0) == 1)
        nap_ns(4000000000);
    for (unsigned i = 0; i < SIM_ARRAY_LEN(cases); i++) {
        if (strcmp(cases[i].name, name))
            continue;
        if (ic_mpi_create(&config, &me.ic) != SIM_OK)
            return 2;
        me.next = calloc((size_t)ic_nr_ranks(me.ic), sizeof *me.next);
        if (agree(me.ic, name) != SIM_OK) {
            ic_destroy(me.ic);
            return 2;
        }
        int code = run(&me, cases[i].run);
        free(me.next);
        return code;
    }
    sim_error("ic_ranks traffic|slow|idle|parked|mismatch|missing|absent|clock|wait");
    return 2;
}
