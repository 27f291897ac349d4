/* A machine with RAM at 0x80000000 and some harts, without executors: tests call the functions. */
#ifndef HART_FIXTURE_H
#define HART_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "csr_bits.h"
#include "hart.h"
#include "mem.h"

#define RAM_BASE 0x80000000ull
#define RAM_SIZE (16ull << 20)

struct rig {
    struct sim *sim;
    struct mem_space *space;
    struct rv_machine *m;
    struct rv_hart *h; /* the first hart */
};

static inline struct rv_isa rig_isa(void)
{
    struct rv_isa isa = {0};
#define RIG_EXT(name, string, on) isa.ext |= (uint64_t)(on) << RV_EXT_##name;
    RV_EXT_LIST(RIG_EXT)
#undef RIG_EXT
    return isa;
}

static inline struct rv_isa rig_isa_without(enum rv_ext ext)
{
    struct rv_isa isa = rig_isa();

    isa.ext &= ~(1ull << ext);
    return isa;
}

static inline struct rv_hart *rig_add_hart(struct rig *r, const struct rv_isa *isa)
{
    struct vcpu *v;

    assert_int_equal(rv_machine_add_hart(r->m, r->m->nr_harts, isa, &v), SIM_OK);
    return rv_hart_of(v);
}

static inline void rig_init_isa(struct rig *r, bool sbi, struct rv_isa isa)
{
    memset(r, 0, sizeof *r);
    assert_int_equal(sim_create(&r->sim), SIM_OK);
    assert_int_equal(mem_space_create(r->sim, &r->space), SIM_OK);
    assert_int_equal(mem_add_ram(r->space, "ram", RAM_BASE, RAM_SIZE), SIM_OK);
    assert_int_equal(mem_seal_ram(r->space), SIM_OK);
    struct rv_machine_config config = {.sim = r->sim, .space = r->space, .sbi = sbi};
    assert_int_equal(rv_machine_create(&config, &r->m), SIM_OK);
    r->h = rig_add_hart(r, &isa);
}

static inline void rig_init(struct rig *r, bool sbi)
{
    rig_init_isa(r, sbi, rig_isa());
}

static inline void rig_fini(struct rig *r)
{
    rv_machine_destroy(r->m);
    mem_space_destroy(r->space);
    sim_destroy(r->sim);
}

static inline void rig_put64(struct rig *r, gpa_t gpa, uint64_t value)
{
    assert_int_equal(mem_write(r->space, gpa, &value, 8), MEM_OK);
}

static inline uint64_t rig_get64(struct rig *r, gpa_t gpa)
{
    uint64_t value = 0;

    assert_int_equal(mem_read(r->space, gpa, &value, 8), MEM_OK);
    return value;
}

static inline void rig_put_code(struct rig *r, gpa_t gpa, const uint32_t *words, size_t n)
{
    assert_int_equal(mem_write(r->space, gpa, words, n * 4), MEM_OK);
}

/* Changes privilege or satp the way an instruction would. */
static inline void rig_set_priv(struct rv_hart *h, enum rv_priv priv)
{
    h->priv = priv;
    rv_tlb_select(h);
}

/* PMP entry 0 opens all memory to S and U. */
static inline void rig_open_pmp(struct rv_hart *h)
{
    h->pmpaddr[0] = (1ull << 54) - 1;
    h->pmpcfg[0] = PMP_R | PMP_W | PMP_X | PMP_NAPOT << PMP_A_SHIFT;
    rv_pmp_update(h);
    rv_tlb_flush_all(h);
}

/* CSR access as an instruction would; false: illegal. */
static inline bool rig_csr_write(struct rv_hart *h, unsigned csr, uint64_t value)
{
    struct rv_insn i = {.raw = 0x1234, .len = 4};

    return rv_csr_rmw(h, &i, csr, NULL, true, UINT64_MAX, value) != RV_TRAP;
}

static inline bool rig_csr_read(struct rv_hart *h, unsigned csr, uint64_t *value)
{
    struct rv_insn i = {.raw = 0x1234, .len = 4};

    return rv_csr_rmw(h, &i, csr, value, false, 0, 0) != RV_TRAP;
}

#endif
