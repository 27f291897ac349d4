/* Semantics of A and Zacas: host atomics on the guest's RAM, always sequentially consistent (aq and
 * rl ask for no more). LR/SC: lrsc.h. */
#include "exec.h"
#include "lrsc.h"
#include "mem.h"

#include "sim-core/compiler.h"

/* ---- AMO ---- */

/* `fetch_op` does the step on *p with b, both of `type`, and gives the old value. */
#define AMO(op, type, fetch_op)                                                                    \
    enum rv_exec exec_##op(struct rv_hart *h, const struct rv_insn *i)                             \
    {                                                                                              \
        bool code_page = false;                                                                    \
        gva_t va = h->x[i->rs1];                                                                   \
        type *p = rv_amo_ptr(h, va, sizeof(type), &code_page);                                     \
        const type b = (type)h->x[i->rs2];                                                         \
                                                                                                   \
        if (!p)                                                                                    \
            return RV_TRAP;                                                                        \
        rv_set_x(h, i->rd, (uint64_t)(int64_t)(fetch_op));                                         \
        if (code_page)                                                                             \
            rv_code_written(h, va, sizeof(type));                                                  \
        return RV_NEXT;                                                                            \
    }

/* Both widths; `type` is signed so that the old value sign-extends into rd. */
#define AMO_W_D(op, fetch_op)                                                                      \
    AMO(op##_w, int32_t, fetch_op)                                                                 \
    AMO(op##_d, int64_t, fetch_op)

/* Keeps the old value where `keep` says so (of old and b), else stores b. */
#define KEEP_OR_STORE(keep)                                                                        \
    __extension__({                                                                                \
        __typeof__(*p + 0) old = __atomic_load_n(p, __ATOMIC_RELAXED);                             \
        while (!__atomic_compare_exchange_n(p, &old, (keep) ? old : b, false, __ATOMIC_SEQ_CST,    \
                                            __ATOMIC_RELAXED))                                     \
            ;                                                                                      \
        old;                                                                                       \
    })

AMO_W_D(amoswap, __atomic_exchange_n(p, b, __ATOMIC_SEQ_CST))
AMO_W_D(amoadd, __atomic_fetch_add(p, b, __ATOMIC_SEQ_CST))
AMO_W_D(amoxor, __atomic_fetch_xor(p, b, __ATOMIC_SEQ_CST))
AMO_W_D(amoand, __atomic_fetch_and(p, b, __ATOMIC_SEQ_CST))
AMO_W_D(amoor, __atomic_fetch_or(p, b, __ATOMIC_SEQ_CST))
AMO_W_D(amomin, KEEP_OR_STORE(old < b))
AMO_W_D(amomax, KEEP_OR_STORE(old > b))
AMO_W_D(amominu, KEEP_OR_STORE((uint64_t)(int64_t)old < (uint64_t)(int64_t)b))
AMO_W_D(amomaxu, KEEP_OR_STORE((uint64_t)(int64_t)old > (uint64_t)(int64_t)b))

/* ---- Zacas ---- */

#define AMOCAS(op, type)                                                                           \
    enum rv_exec exec_##op(struct rv_hart *h, const struct rv_insn *i)                             \
    {                                                                                              \
        bool code_page = false;                                                                    \
        gva_t va = h->x[i->rs1];                                                                   \
        type *p = rv_amo_ptr(h, va, sizeof(type), &code_page);                                     \
        type old = (type)h->x[i->rd];                                                              \
                                                                                                   \
        if (!p)                                                                                    \
            return RV_TRAP;                                                                        \
        if (__atomic_compare_exchange_n(p, &old, (type)h->x[i->rs2], false, __ATOMIC_SEQ_CST,      \
                                        __ATOMIC_SEQ_CST) &&                                       \
            code_page)                                                                             \
            rv_code_written(h, va, sizeof(type));                                                  \
        rv_set_x(h, i->rd, (uint64_t)(int64_t)old);                                                \
        return RV_NEXT;                                                                            \
    }

AMOCAS(amocas_w, int32_t)
AMOCAS(amocas_d, int64_t)

/* A register pair, even register first; the pair x0 reads as zero and is not written, x1 neither
 * (Zacas). Odd numbers do not decode. */
static inline struct sim_u128 read_pair(const struct rv_hart *h, unsigned r)
{
    return (struct sim_u128){h->x[r], r ? h->x[r + 1] : 0};
}

enum rv_exec exec_amocas_q(struct rv_hart *h, const struct rv_insn *i)
{
    bool code_page = false;
    gva_t va = h->x[i->rs1];
    void *p = rv_amo_ptr(h, va, 16, &code_page);
    struct sim_u128 old = read_pair(h, i->rd);

    if (!p)
        return RV_TRAP;
    if (sim_cas_u128(p, &old, read_pair(h, i->rs2)) && code_page)
        rv_code_written(h, va, 16);
    if (i->rd) {
        h->x[i->rd] = old.lo;
        h->x[i->rd + 1] = old.hi;
    }
    return RV_NEXT;
}

/* ---- LR/SC ---- */

static enum rv_exec load_reserved(struct rv_hart *h, const struct rv_insn *i, unsigned size)
{
    gva_t va = h->x[i->rs1];
    uint64_t sc = RV_SC_ALONE;
    const void *p;

    if (!rv_lrsc_alone(h) && !rv_lrsc_simple(h, i->len, &sc)) {
        h->stop_reason = RV_STOP_EXCLUSIVE;
        return RV_STOP;
    }
    p = rv_lr_ptr(h, va, size);
    if (!p)
        return RV_TRAP;
    h->res_addr = va;
    h->res_size = size;
    h->res_sc = sc;
    if (size == 4) {
        h->res_value = __atomic_load_n((const uint32_t *)p, __ATOMIC_SEQ_CST);
        rv_set_x(h, i->rd, (uint64_t)(int64_t)(int32_t)h->res_value);
    } else {
        h->res_value = __atomic_load_n((const uint64_t *)p, __ATOMIC_SEQ_CST);
        rv_set_x(h, i->rd, h->res_value);
    }
    return RV_NEXT;
}

enum rv_exec exec_lr_w(struct rv_hart *h, const struct rv_insn *i)
{
    return load_reserved(h, i, 4);
}

enum rv_exec exec_lr_d(struct rv_hart *h, const struct rv_insn *i)
{
    return load_reserved(h, i, 8);
}

/* Is the reservation one that the SC at h->pc may use? */
static bool reserved(const struct rv_hart *h, gva_t va, unsigned size)
{
    if (h->res_addr != va || h->res_size != size)
        return false;
    return h->res_sc == h->pc || (h->res_sc == RV_SC_ALONE && rv_lrsc_alone(h));
}

/* Stores when memory still has LR's value. */
static bool swap_reserved(struct rv_hart *h, void *p, unsigned size, uint64_t value)
{
    if (size == 4) {
        uint32_t old = (uint32_t)h->res_value;

        return __atomic_compare_exchange_n((uint32_t *)p, &old, (uint32_t)value, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    }
    return __atomic_compare_exchange_n((uint64_t *)p, &h->res_value, value, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

static enum rv_exec store_conditional(struct rv_hart *h, const struct rv_insn *i, unsigned size)
{
    gva_t va = h->x[i->rs1];
    bool done = false;

    if (va & (size - 1))
        return rv_trap(h, RV_EXC_STORE_MISALIGNED, va);
    if (reserved(h, va, size)) {
        bool code_page = false;
        void *p = rv_amo_ptr(h, va, size, &code_page);

        if (!p)
            return RV_TRAP;
        done = swap_reserved(h, p, size, h->x[i->rs2]);
        if (done && code_page)
            rv_code_written(h, va, size);
    }
    h->res_addr = RV_NO_RES;
    rv_set_x(h, i->rd, !done);
    return RV_NEXT;
}

enum rv_exec exec_sc_w(struct rv_hart *h, const struct rv_insn *i)
{
    return store_conditional(h, i, 4);
}

enum rv_exec exec_sc_d(struct rv_hart *h, const struct rv_insn *i)
{
    return store_conditional(h, i, 8);
}
