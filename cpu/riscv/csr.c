/* Control and status registers: csr.def as a table, and the functions of the registers that are more
 * than a field (Priv. chapters 3 and 4, Unpriv. Zicsr, Zicntr, F, V).
 *
 *   csrrw ... -> rv_csr_rmw -> exists? privilege, read-only, gate -> read -> legalise and write
 *                                                                 | change the instruction's bits */
#include <string.h>

#include "csr_bits.h"
#include "hart.h"

struct csr {
    const char *name;
    bool (*open)(const struct rv_hart *h, unsigned csr);
    uint64_t (*read)(struct rv_hart *h, unsigned csr);                  /* NULL: the field */
    void (*write)(struct rv_hart *h, unsigned csr, uint64_t value);     /* NULL: the field */
    void (*change)(struct rv_hart *h, uint64_t mask, uint64_t bits);    /* instead of write */
    uint64_t mask; /* writable bits of the field */
    uint16_t offset;
    uint8_t sync; /* csr.def */
};

static bool has(const struct rv_hart *h, enum rv_ext ext)
{
    return rv_isa_has(&h->isa, ext);
}

/* --- gates --- */

static bool open_always(const struct rv_hart *h, unsigned csr)
{
    (void)h, (void)csr;
    return true;
}

static bool open_s(const struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return has(h, RV_EXT_S);
}

static bool open_u(const struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return has(h, RV_EXT_U);
}

static bool open_fp(const struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return has(h, RV_EXT_F) && h->fp_on;
}

static bool open_vector(const struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return has(h, RV_EXT_ZVE32X) && h->vs_on;
}

static bool open_satp(const struct rv_hart *h, unsigned csr)
{
    return open_s(h, csr) && !(h->priv == RV_S && (h->mstatus & MSTATUS_TVM));
}

/* mcounteren opens a counter to S and U, scounteren to U (Priv. 3.1.11, 4.1.5) */
static bool counter_open(const struct rv_hart *h, unsigned bit)
{
    if (h->priv == RV_M)
        return true;
    if (!(h->mcounteren >> bit & 1))
        return false;
    return h->priv == RV_S || !has(h, RV_EXT_S) || (h->scounteren >> bit & 1);
}

static bool open_counter(const struct rv_hart *h, unsigned csr)
{
    unsigned bit = csr & 31;

    return has(h, bit < 3 ? RV_EXT_ZICNTR : RV_EXT_ZIHPM) && counter_open(h, bit);
}

/* Sstc chapter: mcounteren.TM and menvcfg.STCE open it to S */
static bool open_stimecmp(const struct rv_hart *h, unsigned csr)
{
    (void)csr;
    if (!has(h, RV_EXT_SSTC))
        return false;
    return h->priv == RV_M || ((h->menvcfg & ENVCFG_STCE) && (h->mcounteren & COUNTEREN_TM));
}

static bool open_pmp(const struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return has(h, RV_EXT_PMP);
}

static bool open_pmpcfg(const struct rv_hart *h, unsigned csr)
{
    return open_pmp(h, csr) && !(csr & 1); /* the odd ones exist on RV32 only */
}

/* --- common --- */

static uint64_t read_zero(struct rv_hart *h, unsigned csr)
{
    (void)h, (void)csr;
    return 0;
}

static void write_nothing(struct rv_hart *h, unsigned csr, uint64_t value)
{
    (void)h, (void)csr, (void)value;
}

/* Never called: the number says read-only. */
#define read_only write_nothing

/* --- floating point --- */

void rv_fp_sync(struct rv_hart *h)
{
    /* MXCSR.RC by frm; RMM has none and is the translator's special case */
    static const uint8_t rounding[8] = {0, 3, 1, 2, 0, 0, 0, 0};

    h->fp_on = (h->mstatus & MSTATUS_FS) != 0;
    h->mxcsr = 0x1f80u | (uint32_t)rounding[h->frm & 7] << 13;
}

static uint64_t read_fflags(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return h->fflags;
}

static uint64_t read_frm(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return h->frm;
}

static uint64_t read_fcsr(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return (uint64_t)h->frm << 5 | h->fflags;
}

static void write_fflags(struct rv_hart *h, unsigned csr, uint64_t value)
{
    (void)csr;
    h->fflags = value & 31;
    h->fs_dirty = 1;
    rv_fp_sync(h);
}

static void write_frm(struct rv_hart *h, unsigned csr, uint64_t value)
{
    (void)csr;
    h->frm = value & 7;
    h->fs_dirty = 1;
    rv_fp_sync(h);
}

static void write_fcsr(struct rv_hart *h, unsigned csr, uint64_t value)
{
    write_fflags(h, csr, value);
    write_frm(h, csr, value >> 5);
}

/* --- vectors --- */

static void vector_written(struct rv_hart *h)
{
    h->vs_dirty = 1;
    rv_vec_sync(h);
}

static uint64_t read_vstart(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return h->vstart;
}

/* As many bits as the largest index of an element needs (V 3.7). */
static void write_vstart(struct rv_hart *h, unsigned csr, uint64_t value)
{
    (void)csr;
    h->vstart = value & (h->vlenb * 8 - 1);
    vector_written(h);
}

static uint64_t read_vxsat(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return h->vxsat;
}

static void write_vxsat(struct rv_hart *h, unsigned csr, uint64_t value)
{
    (void)csr;
    h->vxsat = value & 1;
    vector_written(h);
}

static uint64_t read_vxrm(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return h->vxrm;
}

static void write_vxrm(struct rv_hart *h, unsigned csr, uint64_t value)
{
    (void)csr;
    h->vxrm = value & 3;
    vector_written(h);
}

static uint64_t read_vcsr(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return (uint64_t)h->vxrm << 1 | h->vxsat;
}

static void write_vcsr(struct rv_hart *h, unsigned csr, uint64_t value)
{
    write_vxsat(h, csr, value);
    write_vxrm(h, csr, value >> 1);
}

/* --- counters --- */

/* A counter is the retired instructions plus an offset, or the offset alone while inhibited. */
static uint64_t read_counter(const struct rv_hart *h, uint64_t bit, uint64_t offset)
{
    return h->mcountinhibit & bit ? offset : rv_insns(h) + offset;
}

/* The instruction that writes a counter does not count itself (Zicntr). */
static uint64_t offset_for(const struct rv_hart *h, uint64_t bit, uint64_t value)
{
    return h->mcountinhibit & bit ? value : value - (rv_insns(h) + 1);
}

static uint64_t read_mcycle(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return read_counter(h, COUNTEREN_CY, h->mcycle_offset);
}

static uint64_t read_minstret(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return read_counter(h, COUNTEREN_IR, h->minstret_offset);
}

static void write_mcycle(struct rv_hart *h, unsigned csr, uint64_t value)
{
    (void)csr;
    h->mcycle_offset = offset_for(h, COUNTEREN_CY, value);
}

static void write_minstret(struct rv_hart *h, unsigned csr, uint64_t value)
{
    (void)csr;
    h->minstret_offset = offset_for(h, COUNTEREN_IR, value);
}

static uint64_t read_time(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return rv_machine_time(h->machine);
}

static uint64_t read_mcountinhibit(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return h->mcountinhibit;
}

static void write_mcountinhibit(struct rv_hart *h, unsigned csr, uint64_t value)
{
    uint64_t cycle = read_mcycle(h, csr), instret = read_minstret(h, csr);

    h->mcountinhibit = value & (COUNTEREN_CY | COUNTEREN_IR);
    h->mcycle_offset = offset_for(h, COUNTEREN_CY, cycle + 1);
    h->minstret_offset = offset_for(h, COUNTEREN_IR, instret + 1);
}

/* --- status --- */

#define SSTATUS_VIEW                                                                               \
    (MSTATUS_SIE | MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_VS | MSTATUS_FS | MSTATUS_SUM |            \
     MSTATUS_MXR | (3ull << 32) | MSTATUS_SD)
#define SSTATUS_WRITE                                                                              \
    (MSTATUS_SIE | MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_VS | MSTATUS_FS | MSTATUS_SUM | MSTATUS_MXR)

static uint64_t read_mstatus(struct rv_hart *h, unsigned csr)
{
    uint64_t value = h->mstatus;

    (void)csr;
    if (h->fs_dirty)
        value |= MSTATUS_FS;
    if (h->vs_dirty)
        value |= MSTATUS_VS;
    bool dirty = (value & MSTATUS_FS) == MSTATUS_FS || (value & MSTATUS_VS) == MSTATUS_VS;
    return dirty ? value | MSTATUS_SD : value;
}

static bool has_priv(const struct rv_hart *h, unsigned priv)
{
    return priv == RV_M || (priv == RV_S && has(h, RV_EXT_S)) || (priv == RV_U && has(h, RV_EXT_U));
}

static uint64_t mstatus_writable(const struct rv_hart *h)
{
    uint64_t mask = MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPP;

    if (has(h, RV_EXT_U))
        mask |= MSTATUS_MPRV | MSTATUS_TW;
    if (has(h, RV_EXT_S))
        mask |= SSTATUS_WRITE | MSTATUS_TVM | MSTATUS_TSR;
    mask = has(h, RV_EXT_F) ? mask | MSTATUS_FS : mask & ~MSTATUS_FS;
    return has(h, RV_EXT_ZVE32X) ? mask | MSTATUS_VS : mask & ~MSTATUS_VS;
}

static void set_mstatus(struct rv_hart *h, uint64_t value, uint64_t mask)
{
    mask &= mstatus_writable(h);
    if (!has_priv(h, (unsigned)sim_bits(value, MSTATUS_MPP_SHIFT, 2)))
        mask &= ~MSTATUS_MPP;
    uint64_t changed = (h->mstatus ^ value) & mask;
    h->mstatus ^= changed;
    bool vectors = h->vs_dirty || changed & MSTATUS_VS;
    h->fs_dirty = h->vs_dirty = 0; /* the value had it */
    if (vectors)
        rv_vec_sync(h);
    if (!(changed & ~(MSTATUS_SIE | MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_MIE | MSTATUS_MPIE)))
        return; /* nothing depends on these */
    rv_fp_sync(h);
    rv_tlb_select(h);
}

static void write_mstatus(struct rv_hart *h, unsigned csr, uint64_t value)
{
    (void)csr;
    set_mstatus(h, value, ~0ull);
}

static uint64_t read_sstatus(struct rv_hart *h, unsigned csr)
{
    return read_mstatus(h, csr) & SSTATUS_VIEW;
}

static void write_sstatus(struct rv_hart *h, unsigned csr, uint64_t value)
{
    (void)csr;
    set_mstatus(h, value, SSTATUS_WRITE);
}

/* --- interrupts --- */

/* Read by drive_line (trap.c) on other threads: the store comes before we look at the pins. */
static void set_mie(struct rv_hart *h, uint64_t value)
{
    __atomic_store_n(&h->mie, value, __ATOMIC_SEQ_CST);
}

static uint64_t read_mie(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return h->mie;
}

static void write_mie(struct rv_hart *h, unsigned csr, uint64_t value)
{
    (void)csr;
    set_mie(h, value & (has(h, RV_EXT_S) ? MIP_S_ALL | MIP_M_ALL : MIP_M_ALL));
}

static uint64_t read_sie(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return h->mie & h->mideleg;
}

static void write_sie(struct rv_hart *h, unsigned csr, uint64_t value)
{
    (void)csr;
    set_mie(h, (h->mie & ~h->mideleg) | (value & h->mideleg & MIP_S_ALL));
}

static uint64_t read_mip(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    rv_timer_update(h);
    return rv_mip(h);
}

/* SSIP is a latch in irq_pins that other harts set at any time. */
static void change_ssip(struct rv_hart *h, uint64_t mask, uint64_t bits)
{
    if (!(mask & MIP_SSIP))
        return;
    if (bits & MIP_SSIP)
        atomic_fetch_or_explicit(&h->irq_pins, MIP_SSIP, memory_order_seq_cst);
    else
        atomic_fetch_and_explicit(&h->irq_pins, ~MIP_SSIP, memory_order_seq_cst);
}

/* A level on the STIP or SEIP pin never becomes software's bit (Priv. 3.1.9): mip_soft has that. */
static void change_mip(struct rv_hart *h, uint64_t mask, uint64_t bits)
{
    uint64_t soft = mask & (MIP_STIP | MIP_SEIP);

    if (!has(h, RV_EXT_S))
        return;
    if (h->menvcfg & ENVCFG_STCE)
        soft &= ~MIP_STIP; /* stimecmp's (Sstc) */
    h->mip_soft = (h->mip_soft & ~soft) | (bits & soft);
    change_ssip(h, mask, bits);
}

static uint64_t read_sip(struct rv_hart *h, unsigned csr)
{
    return read_mip(h, csr) & h->mideleg;
}

static void change_sip(struct rv_hart *h, uint64_t mask, uint64_t bits)
{
    change_ssip(h, mask & h->mideleg, bits);
}

static uint64_t read_stimecmp(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return h->stimecmp;
}

static void write_stimecmp(struct rv_hart *h, unsigned csr, uint64_t value)
{
    (void)csr;
    h->stimecmp = value;
    rv_timer_update(h);
}

/* --- trap registers --- */

/* IALIGN is 16 with C, else 32 */
static uint64_t pc_mask(const struct rv_isa *isa)
{
    return rv_isa_has(isa, RV_EXT_C) ? ~1ull : ~3ull;
}

static uint64_t legal_pc(const struct rv_hart *h, uint64_t value)
{
    return value & pc_mask(&h->isa);
}

static uint64_t read_sepc(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return h->sepc;
}

static void write_sepc(struct rv_hart *h, unsigned csr, uint64_t value)
{
    (void)csr;
    h->sepc = legal_pc(h, value);
}

static uint64_t read_mepc(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return h->mepc;
}

static void write_mepc(struct rv_hart *h, unsigned csr, uint64_t value)
{
    (void)csr;
    h->mepc = legal_pc(h, value);
}

/* --- configuration --- */

/* CBIE = 2 is reserved: the field keeps its value. */
static uint64_t legal_cbie(uint64_t value, uint64_t old)
{
    return (value & ENVCFG_CBIE) == 2ull << ENVCFG_CBIE_SHIFT
               ? (value & ~ENVCFG_CBIE) | (old & ENVCFG_CBIE)
               : value;
}

static uint64_t senvcfg_mask(const struct rv_hart *h)
{
    uint64_t mask = ENVCFG_FIOM;

    if (has(h, RV_EXT_ZICBOM))
        mask |= ENVCFG_CBIE | ENVCFG_CBCFE;
    if (has(h, RV_EXT_ZICBOZ))
        mask |= ENVCFG_CBZE;
    return mask;
}

uint64_t rv_menvcfg_mask(const struct rv_hart *h)
{
    uint64_t mask = senvcfg_mask(h);

    if (has(h, RV_EXT_SVADU))
        mask |= ENVCFG_ADUE;
    if (has(h, RV_EXT_SVPBMT))
        mask |= ENVCFG_PBMTE;
    if (has(h, RV_EXT_SSTC))
        mask |= ENVCFG_STCE;
    return mask;
}

static uint64_t read_senvcfg(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return h->senvcfg;
}

static void write_senvcfg(struct rv_hart *h, unsigned csr, uint64_t value)
{
    (void)csr;
    h->senvcfg = legal_cbie(value, h->senvcfg) & senvcfg_mask(h);
    rv_cbo_sync(h);
}

static uint64_t read_menvcfg(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return h->menvcfg;
}

static void write_menvcfg(struct rv_hart *h, unsigned csr, uint64_t value)
{
    uint64_t old = h->menvcfg;

    (void)csr;
    h->menvcfg = legal_cbie(value, old) & rv_menvcfg_mask(h);
    rv_cbo_sync(h);
    if ((h->menvcfg ^ old) & (ENVCFG_PBMTE | ENVCFG_ADUE))
        rv_tlb_flush_all(h);
    if ((h->menvcfg & ~old) & ENVCFG_STCE)
        h->mip_soft &= ~MIP_STIP;
    rv_timer_update(h);
}

static uint64_t read_satp(struct rv_hart *h, unsigned csr)
{
    (void)csr;
    return h->satp;
}

bool rv_satp_legal(const struct rv_hart *h, uint64_t satp)
{
    switch (satp >> SATP_MODE_SHIFT) {
    case SATP_BARE: return true;
    case SATP_SV39: return has(h, RV_EXT_SV39);
    case SATP_SV48: return has(h, RV_EXT_SV48);
    case SATP_SV57: return has(h, RV_EXT_SV57);
    default: return false;
    }
}

/* A mode that the hart does not have leaves all of satp as it was (Priv. 4.1.11). */
static void write_satp(struct rv_hart *h, unsigned csr, uint64_t value)
{
    (void)csr;
    if (!rv_satp_legal(h, value))
        return;
    bool other_mode = (h->satp ^ value) >> SATP_MODE_SHIFT;

    h->satp = value;
    rv_tlb_select(h);
    if (other_mode)
        rv_tlb_note_global_fence(h); /* it has seen no global page of what it comes to */
}

/* --- PMP (Priv. 3.7.1) --- */

#define PMPADDR_BITS 54

static uint64_t read_pmpcfg(struct rv_hart *h, unsigned csr)
{
    unsigned first = (csr & 15) * 4;
    uint64_t value = 0;

    if (first < SIM_ARRAY_LEN(h->pmpcfg))
        memcpy(&value, &h->pmpcfg[first], sizeof value);
    return value;
}

/* W without R is reserved: W does not stick. */
static uint8_t legal_pmpcfg(uint8_t value)
{
    value &= PMP_R | PMP_W | PMP_X | 3 << PMP_A_SHIFT | PMP_L;
    return value & PMP_R ? value : value & ~PMP_W;
}

static void pmp_changed(struct rv_hart *h)
{
    rv_pmp_update(h);
    rv_tlb_flush_all(h);
}

static void write_pmpcfg(struct rv_hart *h, unsigned csr, uint64_t value)
{
    unsigned first = (csr & 15) * 4;

    for (unsigned n = first; n < first + 8 && n < SIM_ARRAY_LEN(h->pmpcfg); n++)
        if (!(h->pmpcfg[n] & PMP_L))
            h->pmpcfg[n] = legal_pmpcfg((uint8_t)(value >> (n - first) * 8));
    pmp_changed(h);
}

static uint64_t read_pmpaddr(struct rv_hart *h, unsigned csr)
{
    unsigned n = csr - 0x3b0;

    return n < SIM_ARRAY_LEN(h->pmpaddr) ? h->pmpaddr[n] : 0;
}

/* The top of a locked TOR entry locks the address below it as well. */
static bool pmpaddr_locked(const struct rv_hart *h, unsigned n)
{
    if (h->pmpcfg[n] & PMP_L)
        return true;
    return n + 1 < SIM_ARRAY_LEN(h->pmpcfg) && (h->pmpcfg[n + 1] & PMP_L) &&
           (h->pmpcfg[n + 1] >> PMP_A_SHIFT & 3) == PMP_TOR;
}

static void write_pmpaddr(struct rv_hart *h, unsigned csr, uint64_t value)
{
    unsigned n = csr - 0x3b0;

    if (n >= SIM_ARRAY_LEN(h->pmpaddr) || pmpaddr_locked(h, n))
        return;
    h->pmpaddr[n] = value & ((1ull << PMPADDR_BITS) - 1);
    pmp_changed(h);
}

/* --- the table --- */

enum {
#define CSR_FIELD(number, name, gate, field, mask, sync) CSR_##name,
#define CSR_FN(first, last, name, gate, read, write, sync) CSR_##name,
#define CSR_BITS(number, name, gate, read, change, sync) CSR_##name,
#include "csr.def"
#undef CSR_FIELD
#undef CSR_FN
#undef CSR_BITS
};

static const struct csr csrs[] = {
#define CSR_FIELD(number, name, gate, field, mask, sync)                                           \
    {#name, open_##gate, NULL, NULL, NULL, mask, offsetof(struct rv_hart, field), sync},
#define CSR_FN(first, last, name, gate, read, write, sync)                                         \
    {#name, open_##gate, read, write, NULL, 0, 0, sync},
#define CSR_BITS(number, name, gate, read, change, sync)                                           \
    {#name, open_##gate, read, NULL, change, 0, 0, sync},
#include "csr.def"
#undef CSR_FIELD
#undef CSR_FN
#undef CSR_BITS
};

/* 1 + index into csrs by CSR number; 0: there is none */
static const uint8_t csr_index[4096] = {
#define CSR_FIELD(number, name, gate, field, mask, sync) [number] = CSR_##name + 1,
#define CSR_FN(first, last, name, gate, read, write, sync) [first ... last] = CSR_##name + 1,
#define CSR_BITS(number, name, gate, read, change, sync) [number] = CSR_##name + 1,
#include "csr.def"
#undef CSR_FIELD
#undef CSR_FN
#undef CSR_BITS
};

static uint64_t *field_of(struct rv_hart *h, const struct csr *c)
{
    return (uint64_t *)((char *)h + c->offset);
}

static uint64_t csr_read(struct rv_hart *h, const struct csr *c, unsigned csr)
{
    return c->read ? c->read(h, csr) : *field_of(h, c);
}

static void csr_write(struct rv_hart *h, const struct csr *c, unsigned csr, uint64_t value)
{
    if (c->write) {
        c->write(h, csr, value);
        return;
    }
    uint64_t *field = field_of(h, c);
    *field = (*field & ~c->mask) | (value & c->mask);
}

/* The CSR if there is one and its number lets this privilege access it so, else NULL: gates are not asked. */
static const struct csr *at_number(unsigned priv, unsigned csr, bool write)
{
    unsigned index = csr_index[csr & 0xfff];

    if (!index || (csr >> 8 & 3) > priv || (write && csr >> 10 == 3))
        return NULL;
    return &csrs[index - 1];
}

/* The CSR if the hart may access it so, else NULL. */
static const struct csr *find(const struct rv_hart *h, unsigned csr, bool write)
{
    const struct csr *c = at_number(h->priv, csr, write);

    return c && c->open(h, csr) ? c : NULL;
}

bool rv_csr_is_word(const struct rv_isa *isa, unsigned priv, unsigned csr, bool write, size_t *offset, uint64_t *mask)
{
    const struct csr *c = at_number(priv, csr, write);

    if (!c)
        return false;
    if (c->open != open_always && !(c->open == open_s && rv_isa_has(isa, RV_EXT_S)))
        return false;
    *offset = c->offset;
    *mask = c->mask;
    if (c->write == write_sepc || c->write == write_mepc) {
        *offset = c->write == write_sepc ? offsetof(struct rv_hart, sepc) : offsetof(struct rv_hart, mepc);
        *mask = pc_mask(isa);
        return true;
    }
    return !c->read && !c->change && (!write || (c->mask == ~0ull && !c->sync));
}

uint64_t rv_sstatus_view(void)
{
    return SSTATUS_VIEW & ~MSTATUS_SD;
}

enum rv_exec rv_csr_rmw(struct rv_hart *h, const struct rv_insn *i, unsigned csr, uint64_t *old,
                        bool write, uint64_t set_mask, uint64_t new_bits)
{
    const struct csr *c = find(h, csr, write);

    if (!c)
        return rv_illegal(h, i);
    uint64_t read = old || set_mask != UINT64_MAX ? csr_read(h, c, csr) : 0;
    if (old)
        *old = read;
    if (!write)
        return RV_NEXT;
    if (c->change)
        c->change(h, set_mask, new_bits);
    else
        csr_write(h, c, csr, (read & ~set_mask) | (new_bits & set_mask));
    return c->sync == 1 || (c->sync == 2 && rv_interrupt_deliverable(h)) ? RV_SYNC : RV_NEXT;
}
