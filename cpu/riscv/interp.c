/* The interpreter: the oracle of the JIT's tests, its cold path, and the portable engine.
 *
 *   rv_fetch -> decode cache by pc, checked against the word -> rv_op_info[op].exec -> pc, budget
 *
 * The cache is right under self-modifying code because decoding depends on the word alone. */
#include "hart.h"
#include "lrsc.h"
#include "mem.h"
#include "observe.h"
#include "sim-core/alloc.h"

/* Beside the JIT only cold code comes here: a small cache does, and there are as many as harts. */
enum { DECODE_CACHE = 2048, DECODE_CACHE_COLD = 256, KICK_INTERVAL = 1024 };

static SIM_COLD void create_cache(struct rv_hart *h)
{
    uint32_t size = h->machine->jit ? DECODE_CACHE_COLD : DECODE_CACHE;

    h->decoded = sim_new_array(struct rv_insn, size);
    h->decoded_mask = size - 1;
}

static const struct rv_insn *decode(struct rv_hart *h, uint32_t raw)
{
    if (SIM_UNLIKELY(!h->decoded))
        create_cache(h);
    struct rv_insn *i = &h->decoded[h->pc >> 1 & h->decoded_mask];

    if (SIM_UNLIKELY(i->raw != raw || !i->len))
        rv_decode(raw, &h->isa, i);
    return i;
}

/* Fetches all four bytes at once when the page and its permission allow. */
static bool fetch(struct rv_hart *h, uint32_t *raw)
{
    const struct rv_fetch_entry *e =
        &h->code_tlb->fetch[h->pc >> GUEST_PAGE_BITS & (RV_FETCH_SIZE - 1)];
    uint64_t offset = h->pc & ~GUEST_PAGE_MASK;

    if (SIM_UNLIKELY(e->tag != (h->pc & GUEST_PAGE_MASK) || offset > GUEST_PAGE_SIZE - 4))
        return rv_fetch(h, raw);
    const uint16_t *p = (const uint16_t *)(e->host + offset);
    *raw = __atomic_load_n(p, __ATOMIC_RELAXED);
    if (rv_insn_len(*raw) == 4)
        *raw |= (uint32_t)__atomic_load_n(p + 1, __ATOMIC_RELAXED) << 16;
    return true;
}

static bool is_lr_or_sc(unsigned op)
{
    return op == RV_OP_lr_w || op == RV_OP_lr_d || op == RV_OP_sc_w || op == RV_OP_sc_d;
}

/* A reservation that a compare-and-swap stands for is lost by any other access of the hart
 * (lrsc.h): control may have left the straight line that the scan at the LR saw. */
static void taint_reservation(struct rv_hart *h, const struct rv_insn *i, unsigned flags)
{
    if ((flags & (RV_OPF_LOAD | RV_OPF_STORE | RV_OPF_ATOMIC)) && h->res_sc != RV_SC_ALONE &&
        !is_lr_or_sc(i->op))
        h->res_addr = RV_NO_RES;
}

/* A jump while there is a reservation. */
static void leave_sequence(struct rv_hart *h, uint64_t from)
{
    if (rv_lrsc_leaves(from, h->pc, h->res_sc))
        h->res_sc |= RV_SC_NONE;
}

static inline enum rv_exec execute(struct rv_hart *h, const struct rv_insn *i)
{
    const struct rv_op_info *op = &rv_op_info[i->op];

    if (SIM_UNLIKELY((op->flags & RV_OPF_FP) && !h->fp_on))
        return rv_illegal(h, i);
    if (SIM_UNLIKELY((op->flags & RV_OPF_VECTOR) && !h->vs_on))
        return rv_illegal(h, i);
    if (SIM_UNLIKELY(h->res_addr != RV_NO_RES))
        taint_reservation(h, i, op->flags);
    return op->exec(h, i);
}

enum rv_exec rv_execute(struct rv_hart *h, const struct rv_insn *i)
{
    return execute(h, i);
}

/* One instruction; *flags: RV_OPF_* of it. */
static inline enum rv_exec step(struct rv_hart *h, unsigned *flags)
{
    uint32_t raw;

    if (SIM_UNLIKELY(!fetch(h, &raw)))
        return rv_take_trap(h);
    const struct rv_insn *i = decode(h, raw);
    unsigned len = i->len;
    *flags = rv_op_info[i->op].flags;
    uint64_t pc = h->pc;
    enum rv_exec result = execute(h, i);

    if (SIM_UNLIKELY(h->res_addr != RV_NO_RES) && result == RV_JUMP)
        leave_sequence(h, pc);
    switch (result) {
    case RV_NEXT:
    case RV_SYNC: h->pc += len; break;
    case RV_TRAP: return rv_take_trap(h);
    case RV_STOP:
        if (h->stop_reason == RV_STOP_EXCLUSIVE)
            return RV_STOP; /* nothing was done */
        h->pc += len;
        break;
    default: break;
    }
    h->budget--;
    return result;
}

enum rv_exec rv_interp_step_plain(struct rv_hart *h)
{
    int64_t before = h->budget;
    unsigned flags;
    enum rv_exec result = step(h, &flags);

    h->count.interp_insns += (uint64_t)(before - h->budget);
    return result;
}

enum rv_exec rv_interp_step(struct rv_hart *h)
{
    return SIM_UNLIKELY(h->observe) ? rv_observe_step(h) : rv_interp_step_plain(h);
}

enum rv_exec rv_interp_block(struct rv_hart *h)
{
    if (SIM_UNLIKELY(h->observe))
        return rv_observe_interp_block(h);
    const unsigned ends = RV_OPF_BRANCH | RV_OPF_JUMP | RV_OPF_SYSTEM;
    uint64_t page = h->pc & GUEST_PAGE_MASK;
    int64_t before = h->budget;
    enum rv_exec result;
    unsigned flags = 0;

    do
        result = step(h, &flags);
    while (result == RV_NEXT && !(flags & ends) && h->budget >= 0 &&
           (h->pc & GUEST_PAGE_MASK) == page);
    h->count.interp_insns += (uint64_t)(before - h->budget);
    return result;
}

static enum rv_stop_reason run(struct rv_hart *h)
{
    unsigned flags;
    int64_t look_at = h->budget; /* look for a kick when budget has come down to this */

    while (h->budget >= 0) {
        if (h->budget <= look_at) {
            if (atomic_load_explicit(&h->vcpu.kick, memory_order_relaxed) && !rv_counts_time(h))
                break;
            look_at = h->budget - KICK_INTERVAL;
        }
        enum rv_exec result = step(h, &flags);
        if (SIM_LIKELY(result == RV_NEXT || result == RV_JUMP))
            continue;
        if (result == RV_STOP)
            return h->stop_reason;
        rv_take_interrupt(h);
    }
    return RV_STOP_NONE;
}

enum rv_stop_reason rv_interp_run(struct rv_hart *h)
{
    if (SIM_UNLIKELY(h->observe))
        return rv_observe_interp_run(h);
    int64_t before = h->budget;
    enum rv_stop_reason reason = run(h);

    h->count.interp_insns += (uint64_t)(before - h->budget);
    return reason;
}
