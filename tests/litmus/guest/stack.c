/* A stack of few nodes which all harts pop from and push to: its head takes the same values again
 * and again, and what was true of a node when the head was read is not when the head is written
 * (the ABA problem). With LR/SC that must not matter, whatever lies between the two and however
 * long it takes. A node that two harts own, or that is lost, shows that it did.
 *
 * Options (-append): rounds=N of each hart; nodes=N; delay=N turns between LR and SC in one pop of
 * eight; scheme=lrsc|cas: cas is compare-and-swap on the head, which must fail. The run ends with
 * 0; 20: a node popped twice; 21: nodes lost or linked wrongly. */
#include "guest.h"

enum { MAX_NODES = 64, EXIT_TWICE = 20, EXIT_LOST = 21 };

struct node {
    struct node *next; /* at offset 0: the assembly below */
    uint32_t owned;
} __attribute__((aligned(64)));

struct stack {
    struct node *head;
} __attribute__((aligned(64)));

static struct stack stack;
static struct node node[MAX_NODES];
static uint64_t retries;

/* What passes between reading the head and writing it: turns of a loop, then chances for the other
 * harts of the same host thread. */
struct delay {
    uint64_t turns, pauses;
};

#define DELAY                                                                                      \
    "mv t1, %[turns]\n"                                                                            \
    "2:\tbeqz t1, 3f\n\t"                                                                          \
    "addi t1, t1, -1\n\t"                                                                          \
    "j 2b\n"                                                                                       \
    "3:\tmv t1, %[pauses]\n"                                                                       \
    "4:\tbeqz t1, 5f\n\t"                                                                          \
    ".word 0x0100000f\n\t"                                                                         \
    "addi t1, t1, -1\n\t"                                                                          \
    "j 4b\n"                                                                                       \
    "5:\t"

/* One attempt: the node, NULL when the stack is empty; *failed when the head changed. */
static struct node *try_lrsc(struct delay d, uint64_t *failed)
{
    struct node *n;

    __asm__ volatile("li %[failed], 0\n\t"
                     "lr.d.aq %[n], (%[head])\n\t"
                     "beqz %[n], 1f\n\t"
                     "ld t0, 0(%[n])\n\t" DELAY "sc.d.rl %[failed], t0, (%[head])\n"
                     "1:"
                     : [n] "=&r"(n), [failed] "=&r"(*failed)
                     : [head] "r"(&stack.head), [turns] "r"(d.turns), [pauses] "r"(d.pauses)
                     : "t0", "t1", "memory");
    return n;
}

/* The same with amocas.d (gcc 12 does not know Zacas): wrong, on purpose. */
static struct node *try_cas(struct delay d, uint64_t *failed)
{
    struct node *n;

    __asm__ volatile("li %[failed], 0\n\t"
                     "ld %[n], 0(%[head])\n\t"
                     "beqz %[n], 1f\n\t"
                     "ld t0, 0(%[n])\n\t" DELAY "mv t1, %[n]\n\t"
                     ".insn r 0x2f, 3, 0x17, t1, %[head], t0\n\t"
                     "sub %[failed], t1, %[n]\n"
                     "1:"
                     : [n] "=&r"(n), [failed] "=&r"(*failed)
                     : [head] "r"(&stack.head), [turns] "r"(d.turns), [pauses] "r"(d.pauses)
                     : "t0", "t1", "memory");
    return n;
}

static void push(struct node *n)
{
    uint64_t failed;

    do
        __asm__ volatile("lr.d t0, (%[head])\n\t"
                         "sd t0, 0(%[n])\n\t"
                         "sc.d.rl %[failed], %[n], (%[head])"
                         : [failed] "=&r"(failed)
                         : [head] "r"(&stack.head), [n] "r"(n)
                         : "t0", "memory");
    while (failed);
}

/* Seven of eight pops do not wait. */
static struct delay random_delay(uint64_t *random, uint64_t turns, uint64_t pauses)
{
    struct delay d = {0, 0};

    switch (guest_random(random) % 16) {
    case 0:
        d.turns = guest_random(random) % (turns + 1);
        break;
    case 1:
        d.pauses = guest_random(random) % (pauses + 1);
        break;
    default:
        break;
    }
    return d;
}

static struct node *pop(struct delay d, int cas)
{
    uint64_t failed;
    struct node *n;

    for (;;) {
        n = cas ? try_cas(d, &failed) : try_lrsc(d, &failed);
        if (!failed)
            break;
        __atomic_fetch_add(&retries, 1, __ATOMIC_RELAXED);
        d = (struct delay){0, 0};
    }
    if (n && __atomic_exchange_n(&n->owned, 1, __ATOMIC_ACQ_REL)) {
        guest_print("STACK node %U popped twice\n", (uint64_t)(n - node));
        guest_end(EXIT_TWICE);
    }
    return n;
}

static void give_back(struct node *n)
{
    if (!n)
        return;
    __atomic_store_n(&n->owned, 0, __ATOMIC_RELEASE);
    push(n);
}

/* What comes off first goes back first: the head is what it was, its next is not. */
static void work(unsigned hart, uint64_t rounds)
{
    uint64_t random = guest_option("seed", 1) * 64 + hart;
    uint64_t turns = guest_option("turns", 3000), pauses = guest_option("pauses", 4);
    const char *scheme = guest_option_text("scheme");
    int cas = scheme && scheme[0] == 'c';

    for (uint64_t i = 0; i < rounds; i++) {
        struct node *first = pop(random_delay(&random, turns, pauses), cas);
        struct node *second = pop(random_delay(&random, turns, pauses), cas);
        give_back(first);
        give_back(second);
    }
}

static void check(unsigned nodes)
{
    unsigned n = 0;

    for (struct node *p = stack.head; p && n <= nodes; p = p->next)
        n++;
    guest_print("STACK %u of %u nodes left, %U retries\n", n, nodes, retries);
    guest_end(n == nodes ? 0 : EXIT_LOST);
}

void guest_main(unsigned hart)
{
    unsigned nodes = (unsigned)guest_option("nodes", 3) % (MAX_NODES + 1);

    for (unsigned i = 0; hart == 0 && i < nodes; i++)
        push(&node[i]);
    guest_barrier();
    work(hart, guest_option("rounds", 20000));
    guest_barrier();
    if (hart == 0)
        check(nodes);
}
