/* A litmus test as data: what parse.c reads from shapes.litmus, model.c judges and emit.c turns
 * into guest code.
 *
 *   shapes.litmus -> litmus_parse -> struct litmus_file -> litmus_judge (per test) -> outcomes ->
 * litmus_emit
 *
 * A test is a few threads of a few operations over at most four variables, all zero at the start.
 * What one run of it leaves behind is its outcome: every register and the last value of every
 * variable, 4 bits each. */
#ifndef LITMUS_H
#define LITMUS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
    LITMUS_THREADS = 4,
    LITMUS_VARS = 4, /* x y z w */
    LITMUS_OPS = 12,
    LITMUS_REGS = 12,       /* of all threads together: a to l */
    LITMUS_THREAD_REGS = 5, /* t0 to t4 of the guest */
    LITMUS_TESTS = 256,
    LITMUS_NAME = 48,
    LITMUS_VALUE_MAX = 14, /* 15 stands for everything else that a guest might see */
    NO_REG = -1
};

enum litmus_kind {
    OP_LOAD,  /* a=x */
    OP_STORE, /* x=1 */
    OP_AMO,   /* a=swap(x,1), add, or; .aq .rl .aqrl */
    OP_LR,    /* a=lr(x) */
    OP_SC,    /* s=sc(x,1): s is 0 when it stored */
    OP_FENCE, /* rw,rw  r,rw  ... tso */
    OP_CTRL,  /* ?a : a branch on a, to the next instruction either way */
    OP_DELAY, /* delay : time passes */
};

enum litmus_amo { AMO_SWAP, AMO_ADD, AMO_OR };
enum { ACCESS_R = 2, ACCESS_W = 1 };

struct litmus_op {
    enum litmus_kind kind;
    enum litmus_amo amo;
    int var;        /* of memory operations */
    int dest;       /* the register that it writes or NO_REG */
    int addr;       /* @a : the address depends on this register, or NO_REG */
    int data;       /* x=a, x=1+a : what it stores depends on this register, or NO_REG; OP_CTRL: the
                       branch's */
    bool copies;    /* x=a: stores the register itself; else data does not change the value */
    unsigned value; /* the constant that it stores or adds */
    bool aq, rl;
    unsigned pred, succ; /* fences: ACCESS_ bits */
    bool tso;            /* fence.tso */
};

struct litmus_thread {
    struct litmus_op op[LITMUS_OPS];
    unsigned nr_ops;
};

/* The strongest model that allows an outcome. */
enum litmus_model { MODEL_SC, MODEL_TSO, MODEL_RVWMO, MODEL_NONE, NR_MODELS = MODEL_NONE };
extern const char *const litmus_model_name[]; /* "sc" "tso" "rvwmo" "forbidden" */

struct litmus_test {
    char name[LITMUS_NAME], group[LITMUS_NAME];
    unsigned line;
    struct litmus_thread thread[LITMUS_THREADS]; /* what is claimed to run, and is judged */
    struct litmus_thread
        code[LITMUS_THREADS]; /* what runs: the same but for tests of the harness (`really`) */
    unsigned nr_threads, nr_regs;
    unsigned vars; /* bit mask of those used */
    int reg_thread[LITMUS_REGS];
    char reg_name[LITMUS_REGS];
    /* The outcome of interest: registers and variables given by `mask`, with the verdict the author
     * expects. */
    uint64_t weak, weak_mask;
    enum litmus_model verdict;
};

struct litmus_file {
    const char *path;
    struct litmus_test test[LITMUS_TESTS];
    unsigned nr_tests;
};

struct litmus_outcome {
    uint64_t key; /* 4 bits for each register, then for each variable */
    enum litmus_model model;
};

struct litmus_outcomes {
    struct litmus_outcome *outcome; /* sorted by key; free() it */
    unsigned n;
};

static inline unsigned litmus_reg_shift(int reg)
{
    return 4 * (unsigned)reg;
}

/* Variables come after the registers; unused ones take no place in 16 digits because registers are
 * at most 12. */
static inline unsigned litmus_var_shift(int var)
{
    return 4 * (LITMUS_REGS + (unsigned)var);
}

/* Ends the program with "path:line: error: ..." when the file is wrong. */
void litmus_parse(struct litmus_file *file, const char *path);

/* All outcomes that RVWMO allows, each with the strongest model that allows it. */
struct litmus_outcomes litmus_judge(const struct litmus_test *test);

/* The verdict on the outcome of interest. */
enum litmus_model litmus_weak_verdict(const struct litmus_test *test,
                                      const struct litmus_outcomes *outcomes);

void litmus_print_key(FILE *to, const struct litmus_test *test, uint64_t key, uint64_t mask);

/* Guest code of all tests and the table guest/tests.h describes, as one assembly file. */
void litmus_emit(FILE *to, const struct litmus_test *test, unsigned n);

#endif
