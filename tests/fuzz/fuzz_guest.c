/* A hostile guest: the input is a program that writes code, page tables, registers and CSRs, and lets
 * two harts run it with all devices in reach, in the interpreter or the JIT. Nothing that the harts do
 * may leave them in an impossible state. */
#include "csr_bits.h"
#include "decode.h"
#include "fuzz_machine.h"
#include "mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CODE_PAGES = 8, TABLE_PAGE = 16, TABLE_PAGES = 16, MAX_STEPS = 600, MAX_INSNS = 60000 };

struct step {
    struct fuzz_machine *f;
    struct input *in;
    struct rv_hart *h;
    uint64_t cursor; /* where code goes next */
    uint64_t insns;
};

static void poke(struct step *s, gpa_t gpa, const void *data, uint64_t len)
{
    (void)mem_write(s->f->m->space, gpa, data, len);
}

/* --- code --- */

static void put_code(struct step *s, const void *data, uint64_t len)
{
    poke(s, RAM_BASE + s->cursor % (CODE_PAGES * GUEST_PAGE_SIZE), data, len);
    s->cursor += len;
}

static void step_insn32(struct step *s)
{
    const struct rv_encoding *e = &rv_decode_table32.enc[take(s->in, 2) % rv_decode_table32.nr_encs];
    uint32_t word = ((uint32_t)take(s->in, 4) & ~e->mask) | e->match;

    put_code(s, &word, 4);
}

static void step_insn16(struct step *s)
{
    const struct rv_encoding *e = &rv_decode_table16.enc[take(s->in, 1) % rv_decode_table16.nr_encs];
    uint16_t word = (uint16_t)((take(s->in, 2) & ~e->mask) | e->match);

    put_code(s, &word, 2);
}

static void step_raw(struct step *s)
{
    uint64_t word = take(s->in, 8);

    put_code(s, &word, 8);
}

/* A branch back over a few instructions, so that code gets hot. */
static void step_loop(struct step *s)
{
    uint32_t back = 4 + ((uint32_t)take(s->in, 1) & 31) * 2, offset = 0x1000 - back;
    uint32_t bne = 0x63 | 1 << 12 | 7 << 15 | 1u << 31 | (offset >> 11 & 1) << 7 |
                   (offset >> 5 & 63) << 25 | (offset >> 1 & 15) << 8;
    const uint32_t count[] = {0xfff38393 /* addi x7, x7, -1 */, bne};

    put_code(s, count, sizeof count);
}

static void step_cursor(struct step *s)
{
    s->cursor = take(s->in, 2) & ~1ull;
}

/* --- page tables --- */

static void step_pte(struct step *s)
{
    uint64_t where = take(s->in, 2), what = take(s->in, 1), flags = take(s->in, 1), pte = flags;
    gpa_t page;

    if (what & 0x80)
        page = fuzz_address(s->in);
    else if (what & 0x40)
        page = RAM_BASE + (TABLE_PAGE + what % TABLE_PAGES) * GUEST_PAGE_SIZE;
    else
        page = RAM_BASE + (what & 31) * GUEST_PAGE_SIZE;
    pte |= page >> GUEST_PAGE_BITS << 10 & ((1ull << 54) - 1);
    if (where & 0x8000)
        pte ^= take(s->in, 2) << 48;
    poke(s, RAM_BASE + (TABLE_PAGE + (where >> 9) % TABLE_PAGES) * GUEST_PAGE_SIZE + (where & 511) * 8,
         &pte, 8);
}

/* Gigapages and a table below: something that works, for others to damage. */
static void step_identity(struct step *s)
{
    uint64_t flags = take(s->in, 1) | 1;
    const uint64_t pte[] = {flags, 1ull << 28 | flags, RAM_BASE >> 12 << 10 | flags};

    poke(s, RAM_BASE + TABLE_PAGE * GUEST_PAGE_SIZE, pte, sizeof pte);
}

static void step_satp(struct step *s)
{
    uint64_t v = take(s->in, 2);
    uint64_t satp = (8 + v % 3) << SATP_MODE_SHIFT | (v >> 8 & 3) << SATP_ASID_SHIFT |
                    ((RAM_BASE >> 12) + TABLE_PAGE + (v >> 4) % TABLE_PAGES);

    if (v >> 15)
        satp = v & 0x100 ? 0 : satp ^ fuzz_address(s->in) >> 12;
    struct rv_insn i = {.raw = 0x1234, .len = 4};
    uint8_t priv = s->h->priv;
    s->h->priv = RV_S;
    (void)rv_csr_rmw(s->h, &i, 0x180, NULL, true, UINT64_MAX, satp);
    s->h->priv = priv;
    rv_tlb_select(s->h);
}

/* --- the hart --- */

static uint64_t value(struct step *s)
{
    return take(s->in, 1) & 1 ? fuzz_address(s->in) : take(s->in, 8);
}

static void step_register(struct step *s)
{
    unsigned n = (unsigned)take(s->in, 1);

    if (n & 32)
        s->h->f[n & 31] = take(s->in, 8);
    else
        rv_hart_set_x(&s->h->vcpu, n & 31, value(s));
}

static void step_csr(struct step *s)
{
    static const uint16_t known[] = {
        0x001, 0x002, 0x003, 0x100, 0x104, 0x105, 0x106, 0x10a, 0x141, 0x144, 0x14d, 0x180, 0x300, 0x302,
        0x303, 0x304, 0x305, 0x306, 0x30a, 0x320, 0x341, 0x344, 0x3a0, 0x3a2, 0x3b0, 0x3b1, 0x3bf, 0xb00,
    };
    uint64_t which = take(s->in, 2);
    unsigned csr = which & 0x1000 ? which & 0xfff : known[which % SIM_ARRAY_LEN(known)];
    struct rv_insn i = {.raw = 0x1234, .len = 4};
    uint64_t old, bits = value(s);

    if (rv_csr_rmw(s->h, &i, csr, &old, true, UINT64_MAX, bits) == RV_SYNC)
        rv_tlb_select(s->h);
}

static void step_start(struct step *s)
{
    uint64_t v = take(s->in, 2);

    rv_hart_start(&s->h->vcpu, RAM_BASE + (v & 0x7fff), 0, 0);
    if (v >> 15) {
        s->h->priv = RV_S;
        s->h->mstatus |= MSTATUS_FS;
        rv_fp_sync(s->h);
        rv_tlb_select(s->h);
    }
}

static void step_pc(struct step *s)
{
    rv_hart_set_pc(&s->h->vcpu, fuzz_address(s->in));
}

static void check_hart(const struct rv_hart *h)
{
    must(h->x[0] == 0, "x0 is not zero");
    must(!(h->pc & 1), "an odd pc");
    must(h->priv == RV_U || h->priv == RV_S || h->priv == RV_M, "an impossible privilege");
    must(sim_bits(h->mstatus, MSTATUS_MPP_SHIFT, 2) != 2, "an impossible MPP");
    must(rv_satp_legal(h, h->satp), "an illegal satp");
    must(h->frm <= 7 && h->fflags <= 31, "an impossible fcsr");
}

static void step_run(struct step *s)
{
    uint64_t v = take(s->in, 1), budget = v & 128 ? (v & 127) * 64 : v;
    unsigned n = (unsigned)(v & 1);

    if (s->insns >= MAX_INSNS)
        return;
    s->insns += budget + 64;
    fuzz_run(s->f, n, budget);
    check_hart(fuzz_hart(s->f, n));
}

/* --- around the harts --- */

static void step_memory(struct step *s)
{
    gpa_t gpa = fuzz_address(s->in);
    uint64_t v = take(s->in, 4);

    poke(s, gpa, &v, 4);
}

static void step_line(struct step *s)
{
    uint64_t v = take(s->in, 1);
    struct irq_line line = rv_hart_irq(&s->h->vcpu, v & 15);

    irq_set(&line, v >> 7);
}

static void step_device_state(struct step *s)
{
    fuzz_device_state(s->f, s->in);
}

static void step_hart_state(struct step *s)
{
    fuzz_hart_state(s->f, s->in);
    check_hart(s->h);
}

static void step_reset(struct step *s)
{
    machine_reset(s->f->m);
}

static void (*const steps[])(struct step *) = {
    step_insn32, step_insn32, step_insn32,   step_insn32, step_insn16,       step_insn16,
    step_raw,    step_loop,   step_cursor,   step_pte,    step_pte,          step_identity,
    step_satp,   step_csr,    step_register, step_start,  step_register,     step_run,
    step_run,    step_pc,     step_memory,   step_line,   step_device_state, step_hart_state,
    step_reset,  step_run,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_machine machines[4]; /* interpreter or JIT, without or with SBI */
    struct input in = {data, data + size};
    unsigned kind = (unsigned)take(&in, 1) % 4;
    struct step s = {.f = &machines[kind], .in = &in};

    if (!s.f->sim)
        fuzz_machine_create(s.f, kind & 1, kind & 2);
    fuzz_machine_reset(s.f);
    for (unsigned n = 0; n < 2; n++)
        rv_hart_start(&fuzz_hart(s.f, n)->vcpu, RAM_BASE, n, 0);
    for (unsigned i = 0; in.p < in.end && i < MAX_STEPS; i++) {
        uint64_t op = take(&in, 1);
        s.h = fuzz_hart(s.f, (unsigned)(op >> 7));
        steps[(op & 127) % SIM_ARRAY_LEN(steps)](&s);
    }
    for (unsigned n = 0; n < 2; n++) {
        fuzz_run(s.f, n, 200);
        check_hart(fuzz_hart(s.f, n));
    }
    return 0;
}
