/* What mklitmus makes of shapes.litmus: guest code and the outcomes that RVWMO allows. */
#ifndef TESTS_H
#define TESTS_H

#include <stdint.h>

enum { TEST_THREADS = 4, TEST_VARS = 4, TEST_REGS = 12, TEST_NAME = 48 };
enum {
    TEST_32,
    TEST_64,
    TEST_PAUSED,
    TEST_KINDS
};                              /* 32 bits wide, 64, and 32 with pauses in between */
enum { TEST_VALUE_OTHER = 15 }; /* in an outcome: any value above 14 */

/* One thread's part in one batch of instances; known to thread.S. */
struct guest_work {
    uint64_t var[TEST_VARS]; /* addresses in the first instance */
    uint64_t first, end;     /* instances done before, and after: counted over the whole run */
    uint64_t *results;       /* of each instance, one after the other: the thread's registers */
    uint64_t stride;         /* from one instance's variables to the next one's */
    uint64_t polls; /* longest wait for the other threads before each instance; 0: does not wait */
    uint64_t spins; /* gives way when (looks left & spins) is 0 */
    uint64_t skew, skew_mask; /* waits (instance * skew >> 20) & skew_mask turns */
    volatile uint64_t *own, *peer[TEST_THREADS - 1]; /* the instance at which each thread is */
};

/* An outcome has 4 bits for each register, then, from bit 48 on, for each variable. */
struct guest_outcome {
    uint64_t key;
    uint64_t model; /* the strongest that allows it: 0 SC, 1 TSO, 2 RVWMO */
};

struct guest_test {
    char name[TEST_NAME], group[TEST_NAME];
    void (*thread[TEST_KINDS][TEST_THREADS])(const struct guest_work *);
    const struct guest_outcome *outcome; /* sorted by key */
    uint64_t weak, weak_mask;            /* the outcome of interest */
    uint32_t nr_outcomes, nr_threads, nr_regs, vars;
    uint8_t thread_regs[TEST_THREADS];
    char reg_name[TEST_REGS];
};

extern const struct guest_test guest_tests[];
extern const uint32_t guest_nr_tests;

#endif
