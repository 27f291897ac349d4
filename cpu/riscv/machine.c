/* The machine that harts share, and what the outside may do to a hart. */
#include <inttypes.h>
#include <string.h>

#include "code_log.h"
#include "csr_bits.h"
#include "hart.h"
#include "jit.h"
#include "observe.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

#define DEFAULT_TIMEBASE_HZ 10000000
#define NS_PER_S 1000000000ull

/* Without a JIT (refused by the host: logged) the machine interprets. */
static void create_jit(struct rv_machine *m)
{
    if (m->config.jit && jit_create(m, m->config.jit_cache, &m->jit) != SIM_OK)
        m->jit = NULL;
}

enum sim_status rv_machine_create(const struct rv_machine_config *config, struct rv_machine **out)
{
    struct rv_machine *m = sim_new(struct rv_machine);

    m->config = *config;
    m->sim = config->sim;
    m->space = config->space;
    m->timebase_hz = config->timebase_hz ? config->timebase_hz : DEFAULT_TIMEBASE_HZ;
    sim_mutex_init(&m->spare_lock, SIM_RANK_LEAF);
    sim_mutex_init(&m->revoke.lock, SIM_RANK_LEAF);
    create_jit(m);
    *out = m;
    return SIM_OK;
}

void rv_machine_destroy(struct rv_machine *m)
{
    if (!m)
        return;
    code_log_destroy(m->code_log, m->jit);
    if (m->jit)
        jit_destroy(m->jit);
    rv_observe_destroy(m);
    for (uint32_t i = 0; i < m->nr_harts; i++)
        m->harts[i]->vcpu.ops->destroy(&m->harts[i]->vcpu);
    rv_tlb_free_all(m);
    sim_mutex_fini(&m->spare_lock);
    sim_mutex_fini(&m->revoke.lock);
    sim_free(m->harts);
    sim_free(m->by_id);
    sim_free(m);
}

static void append_hart(struct rv_machine *m, struct rv_hart *h)
{
    if ((m->nr_harts & (m->nr_harts - 1)) == 0) {
        size_t cap = m->nr_harts ? (size_t)m->nr_harts * 2 : 1;
        m->harts = sim_realloc(m->harts, cap * sizeof(m->harts[0]));
        m->by_id = sim_realloc(m->by_id, cap * sizeof(m->by_id[0]));
    }
    uint32_t at = m->nr_harts;
    for (; at && m->by_id[at - 1]->hartid > h->hartid; at--)
        m->by_id[at] = m->by_id[at - 1];
    m->by_id[at] = h;
    m->harts[m->nr_harts++] = h;
}

/* Mostly that of the first hart. */
static uint16_t class_of(const struct rv_machine *m, const struct rv_isa *isa)
{
    uint16_t next = 0;

    for (uint32_t i = 0; i < m->nr_harts; i++) {
        const struct rv_hart *h = m->harts[i];
        if (h->isa.ext == isa->ext && h->isa.vlen == isa->vlen)
            return h->isa_class;
        if (h->isa_class >= next)
            next = (uint16_t)(h->isa_class + 1);
    }
    return next;
}

enum sim_status rv_machine_add_hart(struct rv_machine *m, uint64_t hartid, const struct rv_isa *isa,
                                    struct vcpu **out)
{
    if (rv_machine_hart(m, hartid)) {
        sim_error("hart %" PRIu64 " exists twice", hartid);
        return SIM_ERR_INVALID;
    }
    struct rv_hart *h = sim_zalloc_aligned(64, sizeof *h);

    h->vcpu.ops = &rv_vcpu_ops;
    h->machine = m;
    h->isa = *isa;
    h->isa_class = class_of(m, isa);
    h->hartid = hartid;
    h->sbi = m->config.sbi;
    h->vcpu.remote = m->config.is_remote && m->config.is_remote(m->config.is_remote_opaque, m->nr_harts);
    sim_mutex_init(&h->req.lock, SIM_RANK_HART);
    append_hart(m, h);
    rv_hart_reset(&h->vcpu);
    sim_add_vcpu(m->sim, &h->vcpu);
    *out = &h->vcpu;
    return SIM_OK;
}

/* Harts are mostly added as 0, 1, 2, ...: the index is tried first. */
struct vcpu *rv_machine_hart(struct rv_machine *m, uint64_t hartid)
{
    if (hartid < m->nr_harts && m->harts[hartid]->hartid == hartid)
        return &m->harts[hartid]->vcpu;
    uint32_t lo = 0, hi = m->nr_harts;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (m->by_id[mid]->hartid < hartid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < m->nr_harts && m->by_id[lo]->hartid == hartid ? &m->by_id[lo]->vcpu : NULL;
}

struct rv_hart *rv_mask_next(struct rv_machine *m, const struct rv_hart_mask *mask, uint32_t *at)
{
    if (mask->base == UINT64_MAX)
        return *at < m->nr_harts ? m->harts[(*at)++] : NULL;
    while (*at < 64 && mask->bits >> *at) {
        unsigned n = (*at)++;
        bool named = (mask->bits >> n & 1) && mask->base + n >= mask->base;
        struct vcpu *v = named ? rv_machine_hart(m, mask->base + n) : NULL;
        if (v)
            return rv_hart_of(v);
    }
    return NULL;
}

uint32_t rv_machine_nr_harts(const struct rv_machine *m)
{
    return m->nr_harts;
}

uint64_t rv_hart_id(struct vcpu *v)
{
    return rv_hart_of(v)->hartid;
}

void *rv_hart_state_object(struct vcpu *v)
{
    return rv_hart_of(v);
}

const struct rv_isa *rv_hart_isa(const struct vcpu *v)
{
    return &SIM_CONTAINER_OF(v, const struct rv_hart, vcpu)->isa;
}

/* --- reset and start --- */

static uint64_t misa_of(const struct rv_isa *isa)
{
    static const struct {
        uint8_t ext;
        char letter;
    } letters[] = {{RV_EXT_I, 'i'}, {RV_EXT_M, 'm'}, {RV_EXT_A, 'a'}, {RV_EXT_F, 'f'},
                   {RV_EXT_D, 'd'}, {RV_EXT_C, 'c'}, {RV_EXT_S, 's'}, {RV_EXT_U, 'u'},
                   {RV_EXT_V, 'v'}};
    uint64_t misa = 2ull << 62; /* MXL: 64 bits */

    for (unsigned i = 0; i < SIM_ARRAY_LEN(letters); i++)
        if (rv_isa_has(isa, letters[i].ext))
            misa |= 1ull << (letters[i].letter - 'a');
    return misa;
}

static void clear_state(struct rv_hart *h)
{
    memset(h->x, 0, sizeof h->x);
    memset(h->f, 0, sizeof h->f);
    h->pc = 0;
    h->frm = h->fflags = h->fs_dirty = 0;
    h->res_addr = RV_NO_RES;
    h->mstatus = h->medeleg = h->mideleg = h->mtvec = h->mcounteren = 0;
    h->mscratch = h->mepc = h->mcause = h->mtval = h->menvcfg = h->mcountinhibit = 0;
    h->stvec = h->scounteren = h->sscratch = h->sepc = h->scause = h->stval = 0;
    h->satp = h->senvcfg = h->mcycle_offset = h->minstret_offset = 0;
    h->mip_soft = h->timer_pending = 0;
    h->stimecmp = UINT64_MAX;
    memset(h->pmpaddr, 0, sizeof h->pmpaddr);
    memset(h->pmpcfg, 0, sizeof h->pmpcfg);
    __atomic_store_n(&h->mie, 0, __ATOMIC_SEQ_CST);
}

/* What M-mode firmware would have set up before it entered S mode. */
static void as_after_firmware(struct rv_hart *h)
{
    h->priv = RV_S;
    h->medeleg = 0xb3ff & ~(1ull << RV_EXC_ECALL_S);
    h->mideleg = MIP_S_ALL;
    h->mcounteren = 0xffffffff;
    h->scounteren = COUNTEREN_CY | COUNTEREN_TM | COUNTEREN_IR;
    h->menvcfg = (ENVCFG_CBIE | ENVCFG_CBCFE | ENVCFG_CBZE | ENVCFG_ADUE | ENVCFG_PBMTE |
                  ENVCFG_STCE) & rv_menvcfg_mask(h);
}

void rv_hart_reset(struct vcpu *v)
{
    struct rv_hart *h = rv_hart_of(v);

    rv_requests_drop(h);
    clear_state(h);
    /* The other pins are levels that devices drive; this one is a latch of the hart. */
    atomic_fetch_and_explicit(&h->irq_pins, ~MIP_SSIP, memory_order_seq_cst);
    h->misa = misa_of(&h->isa);
    if (rv_isa_has(&h->isa, RV_EXT_U))
        h->mstatus |= MSTATUS_UXL64;
    if (rv_isa_has(&h->isa, RV_EXT_S))
        h->mstatus |= MSTATUS_SXL64;
    h->priv = RV_M;
    /* Hardware updates A and D unless firmware says otherwise: firmware older than Svadu
     * expects it of a hart without Svade. */
    h->menvcfg = ENVCFG_ADUE & rv_menvcfg_mask(h);
    if (h->sbi)
        as_after_firmware(h);
    h->waiting = 0;
    __atomic_store_n(&h->stopped, 1, __ATOMIC_SEQ_CST);
    rv_fp_sync(h);
    rv_vec_reset(h);
    rv_pmp_update(h);
    if (h->vcpu.remote)
        return; /* never runs here */
    rv_tlb_flush_all(h);
    rv_tlb_select(h);
}

void rv_hart_start(struct vcpu *v, uint64_t pc, uint64_t a0, uint64_t a1)
{
    struct rv_hart *h = rv_hart_of(v);

    h->pc = pc & ~1ull; /* never odd: fetch and the jump cache rely on it */
    h->x[10] = a0;
    h->x[11] = a1;
    h->priv = h->sbi ? RV_S : RV_M;
    h->satp = 0;
    h->mstatus &= ~(MSTATUS_SIE | MSTATUS_MIE | MSTATUS_MPRV);
    if (!h->vcpu.remote)
        rv_tlb_select(h);
    __atomic_store_n(&h->waiting, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&h->stopped, 0, __ATOMIC_SEQ_CST);
}

/* --- time --- */

uint64_t rv_machine_timebase(const struct rv_machine *m)
{
    return m->timebase_hz;
}

static uint64_t ticks_now(const struct rv_machine *m)
{
    uint64_t ns = sim_clock_now(&m->sim->clock);

    if (SIM_LIKELY(m->timebase_hz == DEFAULT_TIMEBASE_HZ))
        return ns / (NS_PER_S / DEFAULT_TIMEBASE_HZ);
    return (uint64_t)((unsigned __int128)ns * m->timebase_hz / NS_PER_S);
}

static uint64_t time_offset(const struct rv_machine *m)
{
    return atomic_load_explicit(&m->time_offset, memory_order_acquire);
}

uint64_t rv_machine_time(const struct rv_machine *m)
{
    return ticks_now(m) + time_offset(m);
}

void rv_time_moved(struct rv_machine *m, uint64_t offset)
{
    atomic_store_explicit(&m->time_offset, offset, memory_order_release);
    for (uint32_t i = 0; i < m->nr_harts; i++)
        if (!m->harts[i]->vcpu.remote)
            vcpu_kick(&m->harts[i]->vcpu);
}

void rv_machine_set_time_offset(struct rv_machine *m, uint64_t offset)
{
    if (offset == time_offset(m))
        return;
    rv_time_moved(m, offset);
    rv_remote_tell_time(m, offset);
}

/* The tick of guest time at which `time` is `tick`; now, when it is past. */
static uint64_t without_offset(const struct rv_machine *m, uint64_t tick)
{
    uint64_t ticks = ticks_now(m), time = ticks + time_offset(m);
    uint64_t left = tick > time ? tick - time : 0;

    return left > UINT64_MAX - ticks ? UINT64_MAX : ticks + left;
}

vtime_t rv_machine_tick_to_ns(const struct rv_machine *m, uint64_t tick)
{
    if (time_offset(m))
        tick = without_offset(m, tick);
    unsigned __int128 ns =
        ((unsigned __int128)tick * NS_PER_S + m->timebase_hz - 1) / m->timebase_hz;

    return ns >= VTIME_NEVER ? VTIME_NEVER : (vtime_t)ns;
}

/* --- registers, statistics --- */

uint64_t rv_hart_get_x(struct vcpu *v, unsigned n)
{
    return n < 32 ? rv_hart_of(v)->x[n] : 0;
}

void rv_hart_set_x(struct vcpu *v, unsigned n, uint64_t value)
{
    if (n > 0 && n < 32)
        rv_hart_of(v)->x[n] = value;
}

uint64_t rv_hart_get_pc(struct vcpu *v)
{
    return rv_hart_of(v)->pc;
}

void rv_hart_set_pc(struct vcpu *v, uint64_t pc)
{
    rv_hart_of(v)->pc = pc & ~1ull;
}

void rv_machine_get_stats(const struct rv_machine *m, struct rv_machine_stats *out)
{
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < m->nr_harts; i++) {
        const struct rv_hart *h = m->harts[i];
        out->tlb_fills += h->count.tlb_fills;
        out->tlb_flushes += h->count.tlb_flushes;
        out->interp_insns += h->count.interp_insns;
        out->jit_insns += h->count.jit_insns;
        out->traps += h->count.traps;
        out->interrupts += h->count.interrupts;
        out->mmio += h->count.mmio;
    }
    if (m->jit)
        jit_get_stats(m->jit, out);
}

static const char *priv_name(unsigned priv)
{
    return priv == RV_M ? "M" : priv == RV_S ? "S" : "U";
}

static void dump_registers(const char *name, const uint64_t *r, unsigned n, FILE *out)
{
    for (unsigned i = 0; i < n; i++)
        fprintf(out, "%s%-2u %016" PRIx64 "%s", name, i, r[i], i % 4 == 3 ? "\n" : "  ");
}

void rv_hart_dump(struct vcpu *v, FILE *out)
{
    struct rv_hart *h = rv_hart_of(v);
    const struct {
        const char *name;
        uint64_t value;
    } csr[] = {
        {"mstatus", h->mstatus}, {"mip", rv_mip(h)},        {"mie", h->mie},
        {"medeleg", h->medeleg}, {"mideleg", h->mideleg},   {"mtvec", h->mtvec},
        {"mepc", h->mepc},       {"mcause", h->mcause},     {"mtval", h->mtval},
        {"stvec", h->stvec},     {"sepc", h->sepc},         {"scause", h->scause},
        {"stval", h->stval},     {"satp", h->satp},         {"sscratch", h->sscratch},
        {"mscratch", h->mscratch}, {"menvcfg", h->menvcfg}, {"stimecmp", h->stimecmp},
    };

    fprintf(out, "hart %" PRIu64 "  pc %016" PRIx64 "  %s%s%s  retired %" PRIu64 "\n", h->hartid,
            h->pc, priv_name(h->priv), h->stopped ? " stopped" : "", h->waiting ? " waiting" : "",
            rv_insns(h));
    dump_registers("x", h->x, 32, out);
    for (unsigned i = 0; i < SIM_ARRAY_LEN(csr); i++)
        fprintf(out, "%-8s %016" PRIx64 "%s", csr[i].name, csr[i].value, i % 3 == 2 ? "\n" : "  ");
    if (h->fp_on)
        dump_registers("f", h->f, 32, out);
}
