/* Every kind of atomic step, by all harts on the same words: the sums come out as arithmetic says. */
#include "hostile.h"

enum { ROUNDS = 60000, PASSES = 3, NODES = 16 };

/* Each on a line of its own, so that they do not disturb each other's reservations. */
#define SHARED(type, name) static volatile type name __attribute__((aligned(64)))

SHARED(int32_t, add_w);
SHARED(int64_t, add_d);
SHARED(uint64_t, xor_d);
SHARED(int64_t, max_d);
SHARED(uint32_t, minu_w);
SHARED(uint64_t, lrsc_d);
SHARED(uint32_t, lrsc_w);
SHARED(uint64_t, lrsc_loads); /* with a load between LR and SC */
SHARED(uint64_t, cas_d);
SHARED(uint32_t, cas_w);
SHARED(uint64_t, mailbox);
SHARED(uint32_t, lock);
SHARED(uint64_t, locked);
static volatile uint64_t pair[2] __attribute__((aligned(64)));
static uint64_t tokens[HARTS];
static struct barrier ready, end;

/* A stack of nodes. Popping reads a node between LR and SC: an SC that only compared values would take a
 * head that came back with another node behind it. */
struct node {
    struct node *next;
    uint64_t popped;
};
static struct node nodes[NODES];
SHARED(uint64_t, head);

static void lrsc_add_d(volatile uint64_t *p, uint64_t n)
{
    uint64_t old, failed;

    __asm__ volatile("1: lr.d %0, (%2); add %0, %0, %3; sc.d %1, %0, (%2); bnez %1, 1b"
                     : "=&r"(old), "=&r"(failed) : "r"(p), "r"(n) : "memory");
}

static void lrsc_add_w(volatile uint32_t *p, uint32_t n)
{
    uint64_t old, failed;

    __asm__ volatile("1: lr.w.aq %0, (%2); addw %0, %0, %3; sc.w.rl %1, %0, (%2); bnez %1, 1b"
                     : "=&r"(old), "=&r"(failed) : "r"(p), "r"(n) : "memory");
}

static void lrsc_add_loaded(volatile uint64_t *p, const uint64_t *n)
{
    uint64_t old, failed;

    __asm__ volatile("1: lr.d %0, (%2); ld %1, (%3); add %0, %0, %1; sc.d %1, %0, (%2); bnez %1, 1b"
                     : "=&r"(old), "=&r"(failed) : "r"(p), "r"(n) : "memory");
}

/* The assembler may be older than Zacas. rd has the expected value and gets the old one. */
static void cas_add_d(volatile uint64_t *p, uint64_t n)
{
    uint64_t seen = *p, old;

    do {
        old = seen;
        __asm__ volatile(".insn r 0x2f, 3, 0x14, %0, %1, %2" : "+r"(seen) : "r"(p), "r"(old + n) : "memory");
    } while (seen != old);
}

static void cas_add_w(volatile uint32_t *p, uint32_t n)
{
    int64_t seen = (int32_t)*p, old;

    do {
        old = seen;
        __asm__ volatile(".insn r 0x2f, 2, 0x14, %0, %1, %2" : "+r"(seen) : "r"(p), "r"(old + n) : "memory");
    } while (seen != old);
}

/* Both halves move together: (n, 3n). Register pairs a2:a3 and a4:a5. */
static void cas_step_pair(volatile uint64_t *p)
{
    uint64_t old_lo, old_hi;
    register uint64_t lo __asm__("a2") = p[0];
    register uint64_t hi __asm__("a3") = p[1];

    do {
        old_lo = lo;
        old_hi = hi;
        register uint64_t new_lo __asm__("a4") = lo + 1;
        register uint64_t new_hi __asm__("a5") = hi + 3;
        __asm__ volatile(".insn r 0x2f, 4, 0x14, %0, %2, %3"
                         : "+r"(lo), "+r"(hi) : "r"(p), "r"(new_lo), "r"(new_hi) : "memory");
    } while (lo != old_lo || hi != old_hi);
}

static struct node *pop(void)
{
    uint64_t node, next, failed;

    __asm__ volatile("1: lr.d %0, (%3); beqz %0, 1b; ld %1, (%0); sc.d %2, %1, (%3); bnez %2, 1b"
                     : "=&r"(node), "=&r"(next), "=&r"(failed) : "r"(&head) : "memory");
    return (struct node *)node;
}

static void push(struct node *n)
{
    uint64_t seen = __atomic_load_n(&head, __ATOMIC_SEQ_CST);

    do
        n->next = (struct node *)seen;
    while (!__atomic_compare_exchange_n(&head, &seen, (uint64_t)n, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
}

/* Two at a time, given back in the other order: heads come back with other nodes behind them. */
static void shuffle_stack(void)
{
    struct node *a = pop(), *b = pop();

    expect(a != b, 40);
    expect(__atomic_fetch_add(&a->popped, 1, __ATOMIC_SEQ_CST) == 0, 41); /* nobody else has it */
    expect(__atomic_fetch_add(&b->popped, 1, __ATOMIC_SEQ_CST) == 0, 42);
    __atomic_store_n(&a->popped, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&b->popped, 0, __ATOMIC_SEQ_CST);
    push(a);
    push(b);
}

static void add_under_lock(void)
{
    while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
        __asm__ volatile(".word 0x0100000f"); /* pause */
    locked++;
    __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
}

static void round_of(uint64_t hart, uint64_t i)
{
    static const uint64_t five = 5;

    __atomic_fetch_add(&add_w, (int32_t)hart - 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&add_d, hart + 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_xor(&xor_d, i << (hart * 16), __ATOMIC_RELAXED);
    __asm__ volatile("amomax.d zero, %1, (%0)" ::"r"(&max_d), "r"(i * HARTS + hart) : "memory");
    __asm__ volatile("amominu.w zero, %1, (%0)" ::"r"(&minu_w), "r"(0u - 1 - i * HARTS - hart) : "memory");
    lrsc_add_d(&lrsc_d, 7);
    lrsc_add_w(&lrsc_w, 3);
    lrsc_add_loaded(&lrsc_loads, &five);
    cas_add_d(&cas_d, 11);
    cas_add_w(&cas_w, 0x01000001);
    cas_step_pair(pair);
    tokens[hart] = __atomic_exchange_n(&mailbox, tokens[hart], __ATOMIC_SEQ_CST);
    add_under_lock();
    shuffle_stack();
}

static void check(void)
{
    const uint64_t each = (uint64_t)ROUNDS * PASSES, n = each * HARTS;
    uint64_t sum = mailbox, left = 0, x = 0;

    for (uint64_t i = 0; i < ROUNDS; i++) /* the passes are an odd number */
        x ^= i | i << 16 | i << 32 | i << 48;
    for (unsigned hart = 0; hart < HARTS; hart++)
        sum += tokens[hart];
    for (struct node *node = (struct node *)head; node && left <= NODES; node = node->next)
        left++;
    expect(add_w == (int32_t)each * (-1 + 0 + 1 + 2), 20);
    expect(add_d == (int64_t)each * (1 + 2 + 3 + 4), 21);
    expect(xor_d == x, 22);
    expect(max_d == ROUNDS * HARTS - 1, 23);
    expect(minu_w == 0u - ROUNDS * HARTS, 24);
    expect(lrsc_d == n * 7, 25);
    expect(lrsc_w == (uint32_t)(n * 3), 26);
    expect(lrsc_loads == n * 5, 27);
    expect(cas_d == n * 11, 28);
    expect(cas_w == (uint32_t)(n * 0x01000001), 29);
    expect(pair[0] == n && pair[1] == n * 3, 30);
    expect(sum == 1 + 2 + 3 + 4, 31);
    expect(locked == n, 32);
    expect(left == NODES, 33);
}

void guest_irq(uint64_t cause)
{
    guest_end(100 + (cause & 15));
}

void guest_main(uint64_t hart)
{
    tokens[hart] = hart + 1;
    if (hart == 0) {
        minu_w = UINT32_MAX;
        for (unsigned n = 0; n < NODES; n++)
            push(&nodes[n]);
    }
    barrier_wait(&ready, HARTS);
    for (unsigned pass = 0; pass < PASSES; pass++)
        for (uint64_t i = 0; i < ROUNDS; i++)
            round_of(hart, i);
    barrier_wait(&end, HARTS);
    if (hart == 0) {
        check();
        guest_end(0);
    }
}
