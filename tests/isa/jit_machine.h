/* A machine whose hart executes nothing: what translations of its code consist of is looked at. */
#ifndef TESTS_ISA_JIT_MACHINE_H
#define TESTS_ISA_JIT_MACHINE_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "csr_bits.h"
#include "hart.h"
#include "jit_priv.h"
#include "x86_priv.h"

#define RAM_BASE 0x80000000ull
#define RAM_SIZE (1ull << 20)
#define V3                                                                                         \
    (X86_HAS_BMI1 | X86_HAS_BMI2 | X86_HAS_LZCNT | X86_HAS_POPCNT | X86_HAS_AVX | X86_HAS_AVX2 | X86_HAS_FMA)

struct machine {
    struct sim *sim;
    struct mem_space *space;
    struct rv_machine *m;
    struct rv_hart *h;
};

static inline void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "tests/isa: %s failed\n", what);
        exit(70);
    }
}

/* With two harts atomics are those of several; x->h is the first. False: no JIT here; else stop it again. */
static inline bool start(struct machine *x, uint64_t features, unsigned nr_harts)
{
    const struct jit_options options = {.host_mask = ~features, .tier = RV_JIT_OPT};
    struct rv_machine_config config = {.jit = true};
    struct rv_isa isa;
    struct vcpu *v;

    must(sim_create(&x->sim) == SIM_OK && mem_space_create(x->sim, &x->space) == SIM_OK &&
             mem_add_ram(x->space, "ram", RAM_BASE, RAM_SIZE) == SIM_OK && mem_seal_ram(x->space) == SIM_OK,
         "creating a machine");
    config.sim = x->sim;
    config.space = x->space;
    must(rv_machine_create(&config, &x->m) == SIM_OK, "creating a machine");
    if (!x->m->jit)
        return false;
    rv_isa_default(&isa);
    isa.ext |= 1ull << RV_EXT_V | 1ull << RV_EXT_ZVE32X | 1ull << RV_EXT_ZVE32F | 1ull << RV_EXT_ZVE64X |
               1ull << RV_EXT_ZVE64F | 1ull << RV_EXT_ZVE64D;
    isa.vlen = RV_VLEN_MIN;
    for (unsigned n = nr_harts; n--;)
        must(rv_machine_add_hart(x->m, n, &isa, &v) == SIM_OK, "a hart");
    x->h = rv_hart_of(v);
    x->h->mstatus |= MSTATUS_FS | MSTATUS_VS;
    rv_fp_sync(x->h);
    rv_vec_sync(x->h);
    jit_set_options(x->m->jit, &options);
    vcpu_enter(&x->h->vcpu);
    return true;
}

/* Is that what translated code may use here? */
static inline bool has(const struct machine *x, uint64_t features)
{
    return (x->m->jit->host->features & features) == features;
}

static inline void stop(struct machine *x)
{
    rv_machine_destroy(x->m);
    mem_space_destroy(x->space);
    sim_destroy(x->sim);
}

#endif
