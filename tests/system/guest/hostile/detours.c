/* A way out of an LR/SC sequence leads back to its SC, when another hart has written the word and restored it: the SC fails.
 * The detour counts, so that it is no loop that only waits and the hart stays where it is. Sequences with a loop in them, and
 * with two SCs, come to an end all the same. */
#include "hostile.h"

enum { ROUNDS = 300, ADDS = 50 };

static volatile uint64_t word __attribute__((aligned(64)));
static volatile uint64_t asked __attribute__((aligned(64))), done __attribute__((aligned(64)));
static struct barrier ready;

static void writer(void)
{
    for (uint64_t round = 1;; round++) {
        while (asked < round)
            __asm__ volatile(".word 0x0100000f"); /* pause */
        word = 6;
        word = 5;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        done = round;
    }
}

static uint64_t detour(uint64_t round)
{
    uint64_t failed, v, seen, n = 0;

    __asm__ volatile("lr.d.aqrl %1, (%4)\n\t"
                     "bnez %5, 1f\n"
                     "0: sc.d.aqrl %0, %1, (%4)\n\t"
                     "j 3f\n"
                     "1: sd %5, 0(%6)\n"
                     "2: ld %2, 0(%7)\n\t"
                     "addi %3, %3, 1\n\t"
                     "bltu %2, %5, 2b\n\t"
                     "j 0b\n"
                     "3:"
                     : "=&r"(failed), "=&r"(v), "=&r"(seen), "+r"(n)
                     : "r"(&word), "r"(round), "r"(&asked), "r"(&done)
                     : "memory");
    return failed;
}

static void add_after_a_loop(volatile uint64_t *to)
{
    uint64_t failed, v, n;

    __asm__ volatile("0: lr.d.aqrl %1, (%3)\n\t"
                     "li %2, 3\n"
                     "1: addi %2, %2, -1\n\t"
                     "bnez %2, 1b\n\t"
                     "addi %1, %1, 1\n\t"
                     "sc.d.aqrl %0, %1, (%3)\n\t"
                     "bnez %0, 0b"
                     : "=&r"(failed), "=&r"(v), "=&r"(n)
                     : "r"(to)
                     : "memory");
}

/* Odd values by one SC, even ones by the other. */
static void add_by_one_of_two(volatile uint64_t *to)
{
    uint64_t failed, v, odd;

    __asm__ volatile("0: lr.d.aqrl %1, (%3)\n\t"
                     "andi %2, %1, 1\n\t"
                     "addi %1, %1, 1\n\t"
                     "bnez %2, 1f\n\t"
                     "sc.d.aqrl %0, %1, (%3)\n\t"
                     "bnez %0, 0b\n\t"
                     "j 2f\n"
                     "1: sc.d.aqrl %0, %1, (%3)\n\t"
                     "bnez %0, 0b\n"
                     "2:"
                     : "=&r"(failed), "=&r"(v), "=&r"(odd)
                     : "r"(to)
                     : "memory");
}

static volatile uint64_t sum __attribute__((aligned(64)));
static struct barrier added;

void guest_main(uint64_t hart)
{
    for (unsigned n = 0; n < ADDS; n++) {
        add_after_a_loop(&sum);
        add_by_one_of_two(&sum);
    }
    barrier_wait(&added, HARTS);
    expect(sum == 2ull * HARTS * ADDS, 11);
    word = 5;
    barrier_wait(&ready, HARTS);
    if (hart > 1)
        return;
    if (hart == 1)
        writer();
    for (uint64_t round = 1; round <= ROUNDS; round++)
        expect(detour(round) != 0, 10);
    guest_end(0);
}
