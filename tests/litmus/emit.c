/* Guest code of the tests: for each thread of each test one function of each kind (32 bits, 64
 * bits, 32 bits with pauses between the operations), a loop of the macros of guest/thread.S with
 * the operations in between, and the table of struct guest_test (guest/tests.h).
 *
 * In a loop: a1 to a4 hold the addresses of x y z w, t0 to t4 the registers of the test, a6 where
 * they go; t5 and t6 are free for the operation at hand. */
#include <stdlib.h>
#include <string.h>

#include "litmus.h"

struct emitter {
    FILE *to;
    int first;  /* register of the test that is t0 in this thread */
    char width; /* 'w' or 'd' */
};

static const struct kind {
    const char *name;
    char width;
    bool pauses;
} kinds[] = {{"w", 'w', false}, {"d", 'd', false}, {"p", 'w', true}};
enum { NR_KINDS = sizeof kinds / sizeof *kinds };

static int host_reg(const struct emitter *e, int reg)
{
    return reg - e->first;
}

/* The register that holds the address: a1 to a4, or t5 after an address dependency. */
static const char *address(const struct emitter *e, const struct litmus_op *op)
{
    static const char *const base[] = {"a1", "a2", "a3", "a4"};

    if (op->addr == NO_REG)
        return base[op->var];
    fprintf(e->to, "\txor t5, t%d, t%d\n", host_reg(e, op->addr), host_reg(e, op->addr));
    fprintf(e->to, "\tadd t5, t5, %s\n", base[op->var]);
    return "t5";
}

/* Puts what the operation stores into t6. */
static void value(const struct emitter *e, const struct litmus_op *op)
{
    int data = host_reg(e, op->data);

    if (op->copies)
        fprintf(e->to, "\tmv t6, t%d\n", data);
    else if (op->data != NO_REG)
        fprintf(e->to, "\txor t6, t%d, t%d\n\taddi t6, t6, %u\n", data, data, op->value);
    else
        fprintf(e->to, "\tli t6, %u\n", op->value);
}

static const char *order(const struct litmus_op *op)
{
    static const char *const suffix[] = {"", ".rl", ".aq", ".aqrl"};

    return suffix[op->aq * 2 + op->rl];
}

static void fence(const struct emitter *e, const struct litmus_op *op)
{
    static const char *const set[] = {"", "w", "r", "rw"};

    if (op->tso)
        fprintf(e->to, "\tfence.tso\n");
    else
        fprintf(e->to, "\tfence %s, %s\n", set[op->pred], set[op->succ]);
}

static void operation(const struct emitter *e, const struct litmus_op *op)
{
    static const char *const amo[] = {"swap", "add", "or"};
    bool stores = op->kind == OP_STORE || op->kind == OP_AMO || op->kind == OP_SC;
    const char *at = stores || op->kind == OP_LOAD || op->kind == OP_LR ? address(e, op) : "";
    char w = e->width;

    if (stores)
        value(e, op);
    switch (op->kind) {
    case OP_LOAD:
        fprintf(e->to, "\tl%c t%d, 0(%s)\n", w, host_reg(e, op->dest), at);
        break;
    case OP_STORE:
        fprintf(e->to, "\ts%c t6, 0(%s)\n", w, at);
        break;
    case OP_AMO:
        fprintf(e->to, "\tamo%s.%c%s t%d, t6, (%s)\n", amo[op->amo], w, order(op),
                host_reg(e, op->dest), at);
        break;
    case OP_LR:
        fprintf(e->to, "\tlr.%c%s t%d, (%s)\n", w, order(op), host_reg(e, op->dest), at);
        break;
    case OP_SC:
        fprintf(e->to, "\tsc.%c%s t%d, t6, (%s)\n", w, order(op), host_reg(e, op->dest), at);
        break;
    case OP_FENCE:
        fence(e, op);
        break;
    case OP_CTRL:
        fprintf(e->to, "\tbnez t%d, 9f\n9:\n", host_reg(e, op->data));
        break;
    case OP_DELAY:
        fprintf(e->to, "\tDELAY\n");
        break;
    }
}

static unsigned count_regs(const struct litmus_test *test, unsigned thread)
{
    unsigned n = 0;

    for (unsigned r = 0; r < test->nr_regs; r++)
        n += test->reg_thread[r] == (int)thread;
    return n;
}

/* A thread's registers are neighbours. */
static int first_reg(const struct litmus_test *test, unsigned thread)
{
    int r = 0;

    while (r < (int)test->nr_regs && test->reg_thread[r] != (int)thread)
        r++;
    return r;
}

static void thread(FILE *to, const struct litmus_test *test, unsigned n, unsigned t,
                   const struct kind *kind)
{
    struct emitter e = {to, first_reg(test, t), kind->width};

    fprintf(to, "test%u_%u_%s:\n\tTHREAD_BEGIN %u\n", n, t, kind->name, test->nr_threads - 1);
    for (unsigned i = 0; i < test->code[t].nr_ops; i++) {
        if (kind->pauses && i)
            fprintf(to, "\tMAYBE_PAUSE %u\n", i);
        operation(&e, &test->code[t].op[i]);
    }
    fprintf(to, "\tTHREAD_END %u\n", count_regs(test, t));
}

static void registers(FILE *to, const struct litmus_test *test)
{
    fprintf(to, "\t.byte ");
    for (unsigned t = 0; t < LITMUS_THREADS; t++)
        fprintf(to, "%s%u", t ? ", " : "", count_regs(test, t));
    fprintf(to, "\n\t.ascii \"%.*s\"\n\t.zero %u\n", (int)test->nr_regs, test->reg_name,
            LITMUS_REGS - test->nr_regs);
}

static void name(FILE *to, const char *text)
{
    fprintf(to, "\t.ascii \"%s\"\n\t.zero %u\n", text, (unsigned)(LITMUS_NAME - strlen(text)));
}

/* struct guest_test */
static void table_row(FILE *to, const struct litmus_test *test, unsigned n, unsigned nr_outcomes)
{
    name(to, test->name);
    name(to, test->group);
    for (unsigned k = 0; k < NR_KINDS; k++)
        for (unsigned t = 0; t < LITMUS_THREADS; t++)
            if (t < test->nr_threads)
                fprintf(to, "\t.dword test%u_%u_%s\n", n, t, kinds[k].name);
            else
                fprintf(to, "\t.dword 0\n");
    fprintf(to, "\t.dword outcomes%u, %#llx, %#llx\n", n, (unsigned long long)test->weak,
            (unsigned long long)test->weak_mask);
    fprintf(to, "\t.word %u, %u, %u, %u\n", nr_outcomes, test->nr_threads, test->nr_regs,
            test->vars);
    registers(to, test);
}

static unsigned outcomes(FILE *to, const struct litmus_test *test, unsigned n)
{
    struct litmus_outcomes o = litmus_judge(test);

    fprintf(to, "outcomes%u:\n", n);
    for (unsigned i = 0; i < o.n; i++)
        fprintf(to, "\t.dword %#llx, %d\n", (unsigned long long)o.outcome[i].key,
                (int)o.outcome[i].model);
    free(o.outcome);
    return o.n;
}

void litmus_emit(FILE *to, const struct litmus_test *test, unsigned n)
{
    unsigned nr_outcomes[LITMUS_TESTS];

    fprintf(to,
            "/* Made by mklitmus. */\n#include \"thread.S\"\n\t.section .rodata\n\t.balign 8\n");
    for (unsigned i = 0; i < n; i++)
        nr_outcomes[i] = outcomes(to, &test[i], i);
    fprintf(to, "\t.globl guest_tests, guest_nr_tests\nguest_tests:\n");
    for (unsigned i = 0; i < n; i++)
        table_row(to, &test[i], i, nr_outcomes[i]);
    fprintf(to, "guest_nr_tests:\n\t.word %u\n\t.text\n", n);
    for (unsigned i = 0; i < n; i++)
        for (unsigned t = 0; t < test[i].nr_threads; t++)
            for (unsigned k = 0; k < NR_KINDS; k++)
                thread(to, &test[i], i, t, &kinds[k]);
}
