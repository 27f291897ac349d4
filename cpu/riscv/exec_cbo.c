/* Semantics of Zicbom and Zicboz. Blocks are 64 bytes. Guest caches are not modelled, so cleaning
 * and invalidating check permissions and do nothing. */
#include "csr_bits.h"
#include "exec.h"
#include "mem.h"

#include "sim-core/compiler.h"

#define RV_CBO_BLOCK 64u

/* May the hart do what `bits` of menvcfg and senvcfg enable? (Priv. 3.1.18; CBIE: any but 00) */
static bool enabled(const struct rv_hart *h, uint64_t bits)
{
    if (h->priv == RV_M)
        return true;
    if (!(h->menvcfg & bits))
        return false;
    return h->priv == RV_S || !rv_isa_has(&h->isa, RV_EXT_S) || (h->senvcfg & bits);
}

void rv_cbo_sync(struct rv_hart *h)
{
    h->cbo_zero_on = enabled(h, ENVCFG_CBZE);
}

/* CBO.* fault as stores, whatever was missing (Zicbom 2.5.2). */
static enum rv_exec fault_as_store(struct rv_hart *h, gva_t va)
{
    if (h->trap_cause == RV_EXC_LOAD_PAGE)
        return rv_trap(h, RV_EXC_STORE_PAGE, va);
    if (h->trap_cause == RV_EXC_LOAD_ACCESS)
        return rv_trap(h, RV_EXC_STORE_ACCESS, va);
    h->trap_tval = va;
    return RV_TRAP;
}

/* Permitted where a load of the whole block is: what can be stored to can be loaded from, in page
 * tables and in PMP alike. An execute-only block may be refused (Zicbom: unspecified). */
static enum rv_exec manage(struct rv_hart *h, const struct rv_insn *i, uint64_t enable)
{
    gva_t va = h->x[i->rs1], block = sim_align_down(va, RV_CBO_BLOCK);
    gpa_t gpa;

    if (!enabled(h, enable))
        return rv_illegal(h, i);
    if (!rv_translate(h, block, RV_CBO_BLOCK, RV_LOAD, &gpa))
        return fault_as_store(h, va);
    if (!mem_find(h->machine->space, gpa))
        return rv_trap(h, RV_EXC_STORE_ACCESS, va);
    return RV_NEXT;
}

enum rv_exec exec_cbo_inval(struct rv_hart *h, const struct rv_insn *i)
{
    return manage(h, i, ENVCFG_CBIE);
}

enum rv_exec exec_cbo_clean(struct rv_hart *h, const struct rv_insn *i)
{
    return manage(h, i, ENVCFG_CBCFE);
}

enum rv_exec exec_cbo_flush(struct rv_hart *h, const struct rv_insn *i)
{
    return manage(h, i, ENVCFG_CBCFE);
}

enum rv_exec exec_cbo_zero(struct rv_hart *h, const struct rv_insn *i)
{
    gva_t va = h->x[i->rs1], block = sim_align_down(va, RV_CBO_BLOCK);
    bool code_page = false;
    uint64_t *p;

    if (!enabled(h, ENVCFG_CBZE))
        return rv_illegal(h, i);
    p = rv_amo_ptr(h, block, RV_CBO_BLOCK, &code_page); /* a block never crosses a page */
    if (!p)
        return fault_as_store(h, va);
    for (unsigned n = 0; n < RV_CBO_BLOCK / sizeof(*p); n++)
        __atomic_store_n(&p[n], 0, __ATOMIC_RELAXED);
    if (code_page)
        rv_code_written(h, block, RV_CBO_BLOCK);
    return RV_NEXT;
}
