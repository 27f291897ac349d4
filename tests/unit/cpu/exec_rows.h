/* Directed rows of instructions that only compute: operands in, one register out.
 *
 * Where the ops of each extension have their rows:
 *   I, M, Zicond      test_exec_int.c       Zba, Zbb, Zbs     test_exec_bitmanip.c
 *   A, Zacas          test_exec_atomic.c    Zicbom, Zicboz    test_exec_cbo.c
 *   F, D              test_exec_fp.c
 * Zicsr, Zifencei, Zihintpause, Zawrs, Svinval, S and the SYSTEM ops and fence of I (exec_system.c)
 * are in tests/isa/directed.def, which has every instruction, and with the tests of traps and CSRs.
 * Each file's last test fails when an op of its extensions has no row. */
#ifndef EXEC_ROWS_H
#define EXEC_ROWS_H

#include "exec.h"
#include "hart_fixture.h"

struct compute_row {
    uint16_t op;
    uint64_t a, b; /* rs1, rs2 */
    int32_t imm;
    uint64_t want; /* rd */
};

enum { ROW_RD = 3, ROW_RS1 = 1, ROW_RS2 = 2 };

/* Registers with values that no row uses by chance; x0 stays 0. */
static inline void fill_registers(struct rv_hart *h)
{
    for (unsigned r = 1; r < 32; r++)
        h->x[r] = 0xabcd000000000000ull | r << 20 | 0x5555;
}

static inline void check_row(struct rv_hart *h, const struct compute_row *row, unsigned rd)
{
    struct rv_insn i = {.op = row->op, .len = 4, .rd = (uint8_t)rd, .rs1 = ROW_RS1,
                        .rs2 = ROW_RS2, .imm = row->imm};
    uint64_t before[32], want = rd ? row->want : 0, pc = h->pc;

    fill_registers(h);
    h->x[ROW_RS1] = row->a;
    h->x[ROW_RS2] = row->b;
    memcpy(before, h->x, sizeof(before));
    assert_int_equal(rv_op_info[row->op].exec(h, &i), RV_NEXT);
    if (h->x[rd] != want)
        print_error("%s a=%#lx b=%#lx imm=%d rd=x%u: got %#lx, want %#lx\n",
                    rv_op_info[row->op].name, row->a, row->b, row->imm, rd, h->x[rd], want);
    assert_int_equal(h->x[rd], want);
    assert_int_equal(h->pc, pc);
    for (unsigned r = 0; r < 32; r++)
        if (r != rd)
            assert_int_equal(h->x[r], before[r]);
}

/* Every row with rd apart from the sources, equal to either, and x0. */
static inline void check_rows(struct rv_hart *h, const struct compute_row *rows, size_t n)
{
    static const unsigned targets[] = {ROW_RD, ROW_RS1, ROW_RS2, 0, 31};

    for (size_t r = 0; r < n; r++)
        for (size_t t = 0; t < SIM_ARRAY_LEN(targets); t++)
            check_row(h, &rows[r], targets[t]);
}

struct op_set {
    bool has[RV_OP_COUNT];
};

static inline void mark_rows(struct op_set *set, const struct compute_row *rows, size_t n)
{
    for (size_t r = 0; r < n; r++)
        set->has[rows[r].op] = true;
}

/* Fails when an op of the extensions `exts` (bits), SYSTEM ops apart, is not in the set. */
static inline void check_all_covered(const struct op_set *set, uint64_t exts)
{
    unsigned missing = 0, seen = 0;

    for (unsigned op = RV_OP_illegal + 1; op < RV_OP_COUNT; op++) {
        const struct rv_op_info *info = &rv_op_info[op];

        if (!(exts >> info->ext & 1) || (info->flags & RV_OPF_SYSTEM) || op == RV_OP_fence)
            continue;
        seen++;
        if (!set->has[op]) {
            print_error("%s has no directed row\n", info->name);
            missing++;
        }
    }
    assert_int_equal(missing, 0);
    assert_true(seen > 0);
}

#endif
