/* Random numbers, and the two machines of lockstep: made, filled with the same things. */
#include "lockstep_priv.h"

/* ---- random numbers ---- */

static uint64_t rng_state;

void lockstep_seed(uint64_t seed)
{
    rng_state = seed * 0x9e3779b97f4a7c15ull + 88172645463325252ull;
}

uint64_t rnd(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state * 0x2545f4914f6cdd1dull;
}

unsigned below(unsigned n)
{
    return (unsigned)((rnd() >> 33) % n);
}

bool chance(unsigned percent)
{
    return below(100) < percent;
}

/* ---- machines ---- */

static bool device_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct side *s = opaque;

    if (offset >= 0x800)
        return false;
    s->device_state = s->device_state * 6364136223846793005ull + offset + size;
    *value = s->device_state >> 20;
    return true;
}

static bool device_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct side *s = opaque;

    if (offset >= 0x800)
        return false;
    s->device_state ^= value * 2654435761u + offset * 8 + size;
    return true;
}

static const struct mem_ops device_ops = {device_read, device_write, 1, 8};

static void must(enum sim_status status, const char *what)
{
    if (status == SIM_OK)
        return;
    fprintf(stderr, "lockstep: %s: %s\n", what, sim_status_text(status));
    exit(2);
}

struct rv_isa all_extensions(unsigned vlen)
{
    struct rv_isa isa;

    rv_isa_default(&isa);
    isa.ext |= 1ull << RV_EXT_V | 1ull << RV_EXT_ZVE32X | 1ull << RV_EXT_ZVE32F | 1ull << RV_EXT_ZVE64X |
               1ull << RV_EXT_ZVE64F | 1ull << RV_EXT_ZVE64D;
    isa.vlen = (uint16_t)vlen;
    return isa;
}

struct rv_isa some_extensions(unsigned kind, unsigned vlen)
{
    static const char *const cpus[NR_KINDS_OF_HART] = {
        "", "rv64", "rv64,f=off", "rv64,v=on,c=off", "rv64,v=on,zba=off,zbs=off", "rv64,zve32x=on,d=off,zbb=off",
        "rv64,v=on,zacas=off,zicond=off", "rv64,zve64x=on,m=off"};
    struct rv_isa isa = all_extensions(vlen);

    if (kind)
        must(rv_isa_parse_cpu(cpus[kind], &isa), cpus[kind]);
    isa.vlen = (uint16_t)vlen;
    return isa;
}

void side_create(struct side *s, bool jit, const struct jit_options *options, unsigned nr, const struct rv_isa isa[])
{
    memset(s, 0, sizeof *s);
    must(sim_create(&s->sim), "sim");
    sim_clock_init(&s->sim->clock, SIM_CLOCK_VIRTUAL);
    must(mem_space_create(s->sim, &s->space), "space");
    must(mem_add_ram(s->space, "ram", RAM_BASE, PAGES * GUEST_PAGE_SIZE), "ram");
    must(mem_seal_ram(s->space), "ram");
    s->device = (struct mem_region){.name = "device", .base = MMIO_BASE, .size = 0x1000,
                                    .ops = &device_ops, .opaque = s};
    must(mem_add_mmio(s->space, &s->device), "device");
    struct rv_machine_config config = {.sim = s->sim, .space = s->space, .jit = jit,
                                       .jit_cache = 8 << 20};
    must(rv_machine_create(&config, &s->machine), "machine");
    for (s->nr_harts = 0; s->nr_harts < nr; s->nr_harts++)
        must(rv_machine_add_hart(s->machine, s->nr_harts, &isa[s->nr_harts], &s->hart[s->nr_harts]), "hart");
    side_switch(s, 0);
    if (!jit)
        return;
    if (!s->machine->jit) {
        fprintf(stderr, "lockstep: no JIT on this host: skipped\n");
        exit(77);
    }
    jit_set_options(s->machine->jit, options);
}

void side_switch(struct side *s, unsigned hart)
{
    if (s->vcpu == s->hart[hart])
        return;
    if (s->vcpu)
        vcpu_leave(s->vcpu);
    s->vcpu = s->hart[hart];
    s->h = rv_hart_of(s->vcpu);
    vcpu_enter(s->vcpu);
    rv_requests_serve(s->h);
    rv_tlb_flush_all(s->h);
}

void side_destroy(struct side *s)
{
    rv_machine_destroy(s->machine);
    mem_space_destroy(s->space);
    sim_destroy(s->sim);
}

void poke(struct side *s, uint64_t offset, const void *data, uint64_t len)
{
    mem_write(s->space, RAM_BASE + offset, data, len);
}

/* ---- set-up of both sides ---- */

/* Interrupts are switched off, a wild jump goes on at x29, what else traps is left out. The CSRs are S mode's. */
static const uint32_t handler[] = {
    0x14202ff3,                               /* csrr x31, scause */
    0x020fc863,                               /* bltz x31, irq (+48) */
    0x14102f73,                               /* csrr x30, sepc */
    0xffcf7f13,                               /* andi x30, x30, -4 */
    0x004f0f13,                               /* addi x30, x30, 4 */
    0xffff8f93,                               /* addi x31, x31, -1 */
    0x000f8863,                               /* beqz x31, +16 */
    0xff5f8f93,                               /* addi x31, x31, -11 */
    0x000f8463,                               /* beqz x31, +8 */
    0x0080006f,                               /* j +8 */
    0x000e8f13,                               /* mv x30, x29 */
    0x141f1073,                               /* csrw sepc, x30 */
    SRET,
    0x10401073,                               /* irq: csrw sie, x0 */
    SRET,
};

static void put_handler(struct side *s, const struct program *p)
{
    uint32_t code[SIM_ARRAY_LEN(handler)];

    for (unsigned n = 0; n < SIM_ARRAY_LEN(handler); n++) {
        code[n] = handler[n];
        if (p->priv == RV_M && (code[n] & 0x7f) == 0x73)
            code[n] |= 0x20000000; /* mret, and the CSR's number that is 0x200 higher */
    }
    poke(s, HANDLER_PAGE * GUEST_PAGE_SIZE, code, sizeof code);
}

static uint64_t pte(unsigned page, unsigned bits)
{
    return ((RAM_BASE >> 12) + page) << 10 | bits;
}

static void put_pte(struct side *s, unsigned table, unsigned index, uint64_t value)
{
    poke(s, table * GUEST_PAGE_SIZE + index * 8, &value, 8);
}

/* The n-th data page of the other space. */
static unsigned other_page(unsigned page)
{
    return DATA_PAGE + ((page - DATA_PAGE) ^ 5);
}

static bool is_data(unsigned page)
{
    return page >= DATA_PAGE && page < DATA_PAGE + DATA_PAGES;
}

/* A and D by hardware. Some pages are there with SUM, or with MXR, only. */
static unsigned data_bits(unsigned page)
{
    return page % 8 == 3 ? 0x17 : page % 8 == 6 ? 0x09 : 0x07;
}

static void map_pages(struct side *s, unsigned l0, unsigned u)
{
    for (unsigned n = 0; n < PAGES; n++) {
        unsigned bits = 0;
        if (n == HANDLER_PAGE)
            bits = 0x6b; /* V R X G A, never U */
        else if (n >= CODE_PAGE && n < CODE_PAGE + CODE_PAGES)
            bits = 0x6b | u;
        else if (is_data(n))
            bits = data_bits(n) | u;
        put_pte(s, l0, n, bits ? pte(l0 == L0_PAGE || !is_data(n) ? n : other_page(n), bits) : 0);
        put_pte(s, l0, 256 + n, pte(n, 0xc7 | u));
    }
    put_pte(s, l0, (unsigned)(VA_MMIO - VA_BASE) >> 12, (MMIO_BASE >> 12) << 10 | 0xc7 | u);
}

/* M mode has the same under physical addresses, for when MPRV is on. */
static void map_space(struct side *s, unsigned root, unsigned l1, unsigned l0, unsigned u)
{
    put_pte(s, root, (unsigned)(VA_BASE >> 30), pte(l1, 1));
    put_pte(s, root, (unsigned)(RAM_BASE >> 30), pte(l1, 1));
    put_pte(s, l1, 0, pte(l0, 1));
    put_pte(s, l1, 1, pte(OTHER_L0_PAGE, 1));
    map_pages(s, l0, u);
}

static void set_up_translation(struct side *s, const struct program *p)
{
    unsigned u = p->priv == RV_U ? 0x10 : 0;

    map_space(s, ROOT_PAGE, L1_PAGE, L0_PAGE, u);
    map_space(s, OTHER_ROOT_PAGE, OTHER_L1_PAGE, OTHER_L0_PAGE, u);
    for (unsigned n = 0; n < NR_SATP; n++)
        put_pte(s, L0_PAGE, SATP_SLOT + n, satp_value(n));
}

/* M mode takes all traps itself. */
static void set_up_traps(struct rv_hart *h, const struct program *p)
{
    bool machine = p->priv == RV_M;

    h->medeleg = machine ? 0 : 0xffff;
    h->mideleg = machine ? 0 : 0x222;
    h->stvec = h->mtvec = program_base(p) + HANDLER_PAGE * GUEST_PAGE_SIZE;
    h->mstatus = (h->mstatus & ~(MSTATUS_FS | MSTATUS_VS | MSTATUS_MPRV | MSTATUS_SUM | MSTATUS_MXR)) |
                 1ull << 13 | 1ull << 9 | MSTATUS_SIE | MSTATUS_MIE;
    h->priv = p->priv;
}

/* A power of two of pages of RAM. */
static void put_pmp_entry(struct rv_hart *h, unsigned n, unsigned page, uint64_t nr, unsigned cfg)
{
    h->pmpcfg[n] = (uint8_t)cfg;
    h->pmpaddr[n] = (RAM_BASE + page * GUEST_PAGE_SIZE) >> 2 | (nr * GUEST_PAGE_SIZE / 8 - 1);
}

static void set_up_pmp(struct rv_hart *h)
{
    memset(h->pmpcfg, 0, sizeof h->pmpcfg);
    memset(h->pmpaddr, 0, sizeof h->pmpaddr);
    put_pmp_entry(h, 0, HANDLER_PAGE, 8, 0x9d); /* locked: M mode does not write code, and runs no data */
    put_pmp_entry(h, PMP_PROGRAM + NR_PMP_PROGRAM, DATA_PAGE, DATA_PAGES, 0x9b);
    put_pmp_entry(h, PMP_PROGRAM + NR_PMP_PROGRAM + 1, 0, 1ull << 43, 0x1f);
    rv_pmp_update(h);
}

static void set_up_hart(struct rv_hart *h, const struct program *p)
{
    uint64_t base = program_base(p);

    h->satp = satp_value(0);
    h->menvcfg |= 1ull << 61; /* ADUE */
    h->menvcfg |= 0xf0;       /* cbo.* */
    h->senvcfg |= 0xf0;
    h->mcounteren = h->scounteren = 7;
    set_up_traps(h, p);
    set_up_pmp(h);
    h->frm = 0;
    rv_fp_sync(h);
    rv_vec_sync(h);
    rv_tlb_flush_all(h);
    rv_tlb_select(h);
    h->pc = base + CODE_PAGE * GUEST_PAGE_SIZE;
    h->x[R_PT] = (p->priv == RV_M ? base : VA_ALIAS) + L0_PAGE * GUEST_PAGE_SIZE;
    h->x[R_SMC] = p->priv == RV_M ? 0 : VA_ALIAS - VA_BASE;
    h->x[R_MMIO] = p->priv == RV_M ? MMIO_BASE : VA_MMIO;
    h->x[R_LOOP] = 1;
    h->x[R_RESUME] = h->pc;
}

void set_up(struct side *s, const struct program *p)
{
    set_up_translation(s, p);
    put_handler(s, p);
    poke(s, CODE_PAGE * GUEST_PAGE_SIZE, p->code, sizeof p->code);
    for (unsigned n = 0; n < s->nr_harts; n++)
        set_up_hart(rv_hart_of(s->hart[n]), p);
}

/* Bits of all kinds; and numbers that arithmetic treats with care, of doubles and floats, and small ones that are good
 * as indices. */
static void fill_vectors(struct rv_hart *h)
{
    static const uint64_t special[] = {
        0, 0x8000000000000000, 0x7fffffffffffffff, UINT64_MAX, 0x3ff0000000000000, 0xbff8000000000000,
        0x7ff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001, 0x43e0000000000000, 0xc3e0000000000000,
        0x8000000000000000, 0x0000000080000000, 0x3f800000bfc00000, 0x7f800000ff800000, 0x7fc000007f800001,
        0x4f0000004f800000, 0x7fff80007fff8000, 0x807f807f807f807f, 0x0706050403020100, 0x0003000200010000};

    for (unsigned n = 0; n < sizeof h->v; n++)
        h->v[n] = (uint8_t)rnd();
    for (unsigned n = 0; n < sizeof h->v / 8; n++)
        if (chance(40))
            memcpy(h->v + 8 * n, &special[below(SIM_ARRAY_LEN(special))], 8);
}

void set_registers(struct rv_hart *a, struct rv_hart *b, const struct program *p)
{
    for (unsigned n = 1; n < R_FIRST_FIXED; n++)
        a->x[n] = chance(50) ? rnd() : (uint64_t)(int64_t)(int32_t)rnd() >> below(32);
    for (unsigned n = 0; n < 3; n++)
        a->x[R_PTR0 + n] =
            program_base(p) + (DATA_PAGE + below(DATA_PAGES)) * GUEST_PAGE_SIZE + below(512) * 8;
    for (unsigned n = 0; n < 32; n++)
        a->f[n] = chance(50) ? rnd() : rnd() | 0xffffffff00000000;
    fill_vectors(a);
    memcpy(b->x, a->x, sizeof b->x);
    memcpy(b->f, a->f, sizeof b->f);
    memcpy(b->v, a->v, sizeof b->v);
}

void fill_data(struct side *a, struct side *b)
{
    static uint64_t data[DATA_PAGES * 512];

    /* Also values that FP likes to stumble over. */
    static const uint64_t hard[] = {0, 1ull << 63, 0x7ff0000000000000, 0xfff0000000000000,
                                    0x7ff8000000000000, 0x7ff0000000000001, 0x000fffffffffffff, 1,
                                    0xffffffff7f800000, 0xffffffff7fc00000, 0xffffffff7f800001,
                                    0xffffffff80000000, 0xffffffff00000001, 0x3ff0000000000000,
                                    0xffffffff3f800000, 0x41dfffffffc00000, 0xc1e0000000000000,
                                    0x43e0000000000000, 0xffffffff4f000000, 0x7fefffffffffffff};
    for (unsigned n = 0; n < SIM_ARRAY_LEN(data); n++)
        data[n] = chance(30) ? hard[below(SIM_ARRAY_LEN(hard))] : rnd();
    poke(a, DATA_PAGE * GUEST_PAGE_SIZE, data, sizeof data);
    poke(b, DATA_PAGE * GUEST_PAGE_SIZE, data, sizeof data);
}
