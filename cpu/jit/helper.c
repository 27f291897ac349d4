/* The C side of translated code: slow loads and stores, the interpreter's functions, and guest
 * registers rebuilt from a site (ir/backend.h).
 *
 * The chunk of budget that translated code holds is in scratch[R14] during a helper; instructions of
 * the block that were charged and not executed are the site's refund. A helper that may be asked for
 * the number of retired instructions first makes h->budget exact. */
#include <string.h>

#include "csr_bits.h"
#include "jit_priv.h"
#include "mem.h"
#include "observe.h"
#include "sim-core/log.h"

/* Words of h->jit_scratch with a fixed use; the back end's numbers of rsp and rbp are free. */
enum { SCRATCH_RESULT = 4, SCRATCH_NOTE = 5, SCRATCH_CHUNK = 14, SCRATCH_FP = 16 };

static const struct jit_region *region_of(const struct ir_site *s)
{
    return ir_site_region(s);
}

static const struct jit_origin *origin_of(const struct ir_site *s)
{
    return &region_of(s)->origin[s->origin];
}

/* Budget as if the block had been charged up to, and without, the site's instruction. */
static void budget_in(struct rv_hart *h, const struct ir_site *s)
{
    h->budget += (int64_t)h->jit_scratch[SCRATCH_CHUNK] + origin_of(s)->refund;
}

/* Back to translated code. A kick takes the chunk away, so that the next check leaves. */
static void budget_out(struct rv_hart *h, const struct ir_site *s)
{
    if (SIM_UNLIKELY(atomic_load_explicit(&h->vcpu.kick, memory_order_relaxed))) {
        h->budget -= origin_of(s)->refund;
        h->jit_scratch[SCRATCH_CHUNK] = 0;
        return;
    }
    h->budget -= (int64_t)h->jit_scratch[SCRATCH_CHUNK] + origin_of(s)->refund;
}

static void restore_registers(struct rv_hart *h, const struct ir_site *s)
{
    const struct jit_region *r = region_of(s);

    for (uint32_t dirty = s->dirty; dirty; dirty &= dirty - 1) {
        unsigned reg = (unsigned)__builtin_ctz(dirty), g = r->global[reg];
        if (g < 32)
            h->x[g] = h->jit_scratch[reg];
        else
            h->f[g - 32] = h->jit_scratch[reg];
    }
    h->pc = h->code_base + origin_of(s)->offset;
}

void jit_restore(struct rv_hart *h, const struct ir_site *s)
{
    restore_registers(h, s);
    h->budget += origin_of(s)->refund;
}

/* Observers see exact registers, and their C code may compute with the host's FPU: its control word is the guest's
 * until observed_end gives it back. */
static SIM_COLD uint32_t observed_begin(struct rv_hart *h, const struct ir_site *s)
{
    uint32_t control = ir_host_fp_get();

    restore_registers(h, s);
    ir_host_fp_set(ir_host_fp_control(0));
    return control;
}

static void observed_end(uint32_t control)
{
    ir_host_fp_set(control);
}

static bool leave(struct rv_hart *h, const struct ir_site *s, enum rv_exec result)
{
    h->jit->left_at = s;
    h->jit->result = result;
    return false;
}

/* --- memory --- */

static uint64_t extend(unsigned kind, uint64_t v)
{
    switch (kind) {
    case IR_S8: return (uint64_t)(int64_t)(int8_t)v;
    case IR_S16: return (uint64_t)(int64_t)(int16_t)v;
    case IR_S32: return (uint64_t)(int64_t)(int32_t)v;
    default: return v;
    }
}

static bool help_load(void *state, uint64_t va, const void *site)
{
    struct rv_hart *h = state;
    const struct ir_site *s = site;
    bool observed = h->observe;
    uint32_t control = SIM_UNLIKELY(observed) ? observed_begin(h, s) : 0;
    uint64_t v;

    budget_in(h, s);
    bool done = rv_load_slow(h, va, ir_mem_size((enum ir_mem)origin_of(s)->mem), &v);
    if (SIM_UNLIKELY(observed))
        observed_end(control);
    if (!done) {
        restore_registers(h, s);
        return leave(h, s, RV_TRAP);
    }
    h->jit_scratch[SCRATCH_RESULT] = extend(origin_of(s)->mem, v);
    budget_out(h, s);
    return true;
}

static bool help_store(void *state, uint64_t va, const void *site)
{
    struct rv_hart *h = state;
    const struct ir_site *s = site;
    bool observed = h->observe;
    uint32_t control = SIM_UNLIKELY(observed) ? observed_begin(h, s) : 0;

    budget_in(h, s);
    bool done = rv_store_slow(h, va, ir_mem_size((enum ir_mem)origin_of(s)->mem), h->jit_scratch[SCRATCH_RESULT]);
    if (SIM_UNLIKELY(observed))
        observed_end(control);
    if (!done) {
        restore_registers(h, s);
        return leave(h, s, RV_TRAP);
    }
    budget_out(h, s);
    return true;
}

/* Its callers come by routines inside routines: the stack is to be aligned as C wants it by each of these ways. */
static void help_widen(void *state, uint64_t page, uint64_t slot_offset, unsigned headroom, bool write)
{
    struct rv_hart *h = state;

    SIM_BUG_ON((uintptr_t)__builtin_frame_address(0) % 16, "translated code calls C with a misaligned stack");
    rv_tlb_widen_slot(h->tlb, (unsigned)(slot_offset / sizeof h->tlb->slots[0]), page, headroom, write);
}

/* --- the interpreter's functions --- */

/* Flags gathered by the host's FPU become visible to CSR instructions. */
static void merge_fp(struct rv_hart *h)
{
    uint32_t control = ir_host_fp_get();
    unsigned flags = ir_host_fp_flags(control);

    if (!flags)
        return;
    h->fflags |= (uint8_t)flags;
    h->fs_dirty = 1;
    ir_host_fp_set(ir_host_fp_clear(control));
}

/* rd's new value to its host register. */
static void reload_rd(struct rv_hart *h, const struct ir_site *s, const struct rv_insn *i)
{
    unsigned flags = rv_op_info[i->op].flags;
    bool f = flags & RV_OPF_RD_F;
    uint8_t loc = region_of(s)->loc[i->rd + (f ? 32 : 0)];

    if (loc == IR_LOC_MEMORY)
        return;
    if (f)
        h->jit_scratch[SCRATCH_FP + loc] = h->f[i->rd];
    else if (rv_writes_x(flags) && i->rd)
        h->jit_scratch[loc] = h->x[i->rd];
}

/* What the interpreter does after executing (interp.c), but the trap itself. */
static void retire(struct rv_hart *h, const struct rv_insn *i, enum rv_exec result)
{
    if (result == RV_TRAP || (result == RV_STOP && h->stop_reason == RV_STOP_EXCLUSIVE))
        return;
    if (result != RV_JUMP && result != RV_JSYNC)
        h->pc += i->len;
    h->budget--;
}

/* An atomic access that is watched. */
static SIM_COLD void accessed(struct rv_hart *h, const struct rv_insn *i, enum rv_exec result)
{
    if (!h->observing->pending)
        return;
    uint32_t control = ir_host_fp_get();
    ir_host_fp_set(ir_host_fp_control(0));
    rv_watch_end(h, i, result);
    ir_host_fp_set(control);
}

static bool help_exec(void *state, const void *site)
{
    struct rv_hart *h = state;
    const struct ir_site *s = site;
    const struct jit_origin o = *origin_of(s);
    bool fp_on = h->fp_on;
    uint8_t frm = h->frm;

    budget_in(h, s);
    restore_registers(h, s);
    if (fp_on && (rv_op_info[o.insn.op].flags & RV_OPF_SYSTEM))
        merge_fp(h);
    enum rv_exec result = rv_execute(h, &o.insn);
    if (SIM_UNLIKELY(h->observe))
        accessed(h, &o.insn, result);
    if (result == RV_NEXT && !o.end && fp_on == h->fp_on && frm == h->frm) {
        reload_rd(h, s, &o.insn);
        budget_out(h, s);
        return true;
    }
    retire(h, &o.insn, result);
    return leave(h, s, result);
}

/* What reads and writes vectors and memory, and the registers that IR_VCALL has put into the state. A trap is found
 * again by help_exec, with the registers there: all before its element is done (vstart). */
static bool help_vcall(void *state, const void *site)
{
    struct rv_hart *h = state;
    const struct ir_site *s = site;

    if (SIM_UNLIKELY(h->observe))
        return false;
    budget_in(h, s);
    bool done = rv_execute(h, &origin_of(s)->insn) == RV_NEXT;
    budget_out(h, s);
    return done;
}

static bool help_observe(void *state, const void *site)
{
    struct rv_hart *h = state;
    const struct ir_site *s = site;
    uint32_t control = observed_begin(h, s);

    rv_observe_call(h, region_of(s)->watchers[s->origin]);
    observed_end(control);
    return true;
}

/* --- offsets --- */

#define STATE(field) ((int32_t)offsetof(struct rv_hart, field))

void jit_fill_target(struct ir_target *t)
{
    memset(t, 0, sizeof *t);
    for (unsigned n = 0; n < 32; n++) {
        t->global[n] = STATE(x) + 8 * (int32_t)n;
        t->global[32 + n] = STATE(f) + 8 * (int32_t)n;
    }
    t->pc = STATE(pc);
    t->budget = STATE(budget);
    t->kick = STATE(vcpu.kick);
    t->spun = STATE(spun);
    t->host_sp = STATE(host_sp);
    t->mxcsr = STATE(mxcsr);
    t->fs_dirty = STATE(fs_dirty);
    t->mask.word = STATE(mstatus);
    t->mask.pending[0] = STATE(irq_pins);
    t->mask.pending[1] = STATE(mip_soft);
    t->mask.pending[2] = STATE(timer_pending);
    t->mask.enabled = STATE(mie);
    t->mask.bits = MSTATUS_SIE;
    t->mask.view = rv_sstatus_view();
    t->code_base = STATE(code_base);
    t->zero_on = STATE(cbo_zero_on);
    t->scratch = STATE(jit_scratch);
    t->result = STATE(jit_scratch) + 8 * SCRATCH_RESULT;
    t->note = STATE(jit_scratch) + 8 * SCRATCH_NOTE;
    t->res_addr = STATE(res_addr);
    t->res_value = STATE(res_value);
    t->res_size = STATE(res_size);
    t->res_sc = STATE(res_sc);
    t->res_none = RV_NO_RES;
    t->vkey = STATE(vkey);
    t->vdirty = STATE(vs_dirty);
    t->von = STATE(vs_on);
    t->vxsat = STATE(vxsat);
    t->vxrm = STATE(vxrm);
    t->vl = STATE(vl);
    t->vtype = STATE(vtype);
    t->vstart = STATE(vstart);
    t->vsplat = STATE(vsplat);
    t->vmask = STATE(vmask);
    t->vmask0 = STATE(v);
    t->vkey_none = RV_VKEY_NONE;
    t->tlb = STATE(tlb);
    t->tlb_set_bits = RV_TLB_SET_BITS;
    t->tlb_ways = RV_TLB_WAYS;
    t->tlb_entry = sizeof(struct rv_tlb_entry);
    t->tlb_tag_r = offsetof(struct rv_tlb_entry, tag_r);
    t->tlb_tag_w = offsetof(struct rv_tlb_entry, tag_w);
    t->tlb_addend = offsetof(struct rv_tlb_entry, addend);
    t->stack_globals = 1ull << 2 | 1ull << 8; /* sp, and s0, which is the frame's where there is one */
    t->tlb_block[false] = offsetof(struct rv_tlb, block[0]);
    t->tlb_block[true] = offsetof(struct rv_tlb, block[1]);
    t->tlb_nr_blocks = RV_TLB_BLOCKS;
    t->tlb_slot_limit = offsetof(struct rv_tlb, slots[0].limit);
    t->tlb_slot_lo = offsetof(struct rv_tlb, slots[0].lo);
    t->tlb_slot_addend = offsetof(struct rv_tlb, slots[0].addend);
    t->tlb_slot_size = sizeof(struct rv_tlb_slot);
    t->tlb_nr_slots = RV_TLB_SLOTS;
    t->code_tlb = STATE(code_tlb);
    t->jc = offsetof(struct rv_tlb, jc);
    t->jc_bits = RV_JC_BITS;
    t->load = help_load;
    t->store = help_store;
    t->exec = help_exec;
    t->vcall = help_vcall;
    t->observe = help_observe;
    t->counters = STATE(counters);
    t->widen = help_widen;
}
