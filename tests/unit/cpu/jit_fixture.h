/* A machine with one hart and a JIT, and the few instructions that its tests are written in. */
#ifndef JIT_FIXTURE_H
#define JIT_FIXTURE_H

#include "hart_fixture.h"
#include "skip.h"

enum { RA = 1, T0 = 5, T1 = 6, T2 = 7, A0 = 10, A1 = 11 };

#define J_SELF 0x0000006fu /* j . */

static inline uint32_t addi(unsigned rd, unsigned rs1, int imm)
{
    return (uint32_t)imm << 20 | rs1 << 15 | rd << 7 | 0x13;
}

static inline uint32_t bne(unsigned rs1, unsigned rs2, int off)
{
    uint32_t u = (uint32_t)off;

    return (u >> 12 & 1) << 31 | (u >> 5 & 0x3f) << 25 | rs2 << 20 | rs1 << 15 | 1u << 12 |
           (u >> 1 & 15) << 8 | (u >> 11 & 1) << 7 | 0x63;
}

/* cache: bytes, 0: the default. Skips the test where the host gives no executable memory. */
static inline void jit_rig_init(struct rig *r, struct rv_isa isa, enum rv_jit_tier tier, uint64_t cache)
{
    memset(r, 0, sizeof *r);
    assert_int_equal(sim_create(&r->sim), SIM_OK);
    assert_int_equal(mem_space_create(r->sim, &r->space), SIM_OK);
    assert_int_equal(mem_add_ram(r->space, "ram", RAM_BASE, RAM_SIZE), SIM_OK);
    assert_int_equal(mem_seal_ram(r->space), SIM_OK);
    struct rv_machine_config config = {.sim = r->sim, .space = r->space, .jit = true, .jit_tier = tier, .jit_cache = cache};
    assert_int_equal(rv_machine_create(&config, &r->m), SIM_OK);
    if (!r->m->jit)
        skip_because(SKIP_NO_JIT);
    r->h = rig_add_hart(r, &isa);
}

static inline int jit_rig_tear_down(void **state)
{
    rig_fini(*state);
    return 0;
}

#endif
