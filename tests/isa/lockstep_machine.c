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

void side_create(struct side *s, bool jit, const struct jit_options *options, unsigned vlen)
{
    struct rv_isa isa = all_extensions(vlen);

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
    must(rv_machine_add_hart(s->machine, 0, &isa, &s->vcpu), "hart");
    s->h = rv_hart_of(s->vcpu);
    if (!jit)
        return;
    if (!s->machine->jit) {
        fprintf(stderr, "lockstep: no JIT on this host: skipped\n");
        exit(77);
    }
    jit_set_options(s->machine->jit, options);
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

static const uint32_t handler[] = {
    0x14202ff3,                               /* csrr x31, scause */
    0x020fc463,                               /* bltz x31, irq (+40) */
    0x14102f73,                               /* csrr x30, sepc */
    0xffcf7f13,                               /* andi x30, x30, -4 */
    0x004f0f13,                               /* addi x30, x30, 4 */
    0xff4f8f93,                               /* addi x31, x31, -12 */
    0x000f8463,                               /* beqz x31, +8 */
    0x0080006f,                               /* j +8 */
    0x000e8f13,                               /* mv x30, x29 */
    0x141f1073,                               /* csrw sepc, x30 */
    0x10200073,                               /* sret */
    0x10401073,                               /* irq: csrw sie, x0 */
    0x10200073,                               /* sret */
};

static uint64_t pte(unsigned page, unsigned bits)
{
    return ((RAM_BASE >> 12) + page) << 10 | bits;
}

static void put_pte(struct side *s, unsigned table, unsigned index, uint64_t value)
{
    poke(s, table * GUEST_PAGE_SIZE + index * 8, &value, 8);
}

static void map_pages(struct side *s, bool user)
{
    unsigned u = user ? 0x10 : 0;

    put_pte(s, ROOT_PAGE, (unsigned)(VA_BASE >> 30), pte(L1_PAGE, 1));
    put_pte(s, L1_PAGE, 0, pte(L0_PAGE, 1));
    for (unsigned n = 0; n < PAGES; n++) {
        unsigned bits = 0;
        if (n == HANDLER_PAGE)
            bits = 0x4b; /* V R X A, never U */
        else if (n >= CODE_PAGE && n < CODE_PAGE + CODE_PAGES)
            bits = 0x4b | u;
        else if (n >= DATA_PAGE && n < DATA_PAGE + DATA_PAGES)
            bits = 0x07 | u; /* A and D by hardware */
        put_pte(s, L0_PAGE, n, bits ? pte(n, bits) : 0);
        put_pte(s, L0_PAGE, 256 + n, pte(n, 0xc7 | u));
    }
    put_pte(s, L0_PAGE, (unsigned)(VA_MMIO - VA_BASE) >> 12,
            (MMIO_BASE >> 12) << 10 | 0xc7 | u);
}

void set_up(struct side *s, const struct program *p)
{
    struct rv_hart *h = s->h;

    map_pages(s, p->user);
    poke(s, HANDLER_PAGE * GUEST_PAGE_SIZE, handler, sizeof handler);
    poke(s, CODE_PAGE * GUEST_PAGE_SIZE, p->code, sizeof p->code);
    h->satp = 8ull << 60 | ((RAM_BASE >> 12) + ROOT_PAGE);
    h->medeleg = 0xffff;
    h->mideleg = 0x222;
    h->stvec = VA_BASE + HANDLER_PAGE * GUEST_PAGE_SIZE;
    h->menvcfg |= 1ull << 61; /* ADUE */
    h->menvcfg |= 0xf0;       /* cbo.* */
    h->senvcfg |= 0xf0;
    h->mcounteren = h->scounteren = 7;
    h->pmpcfg[0] = 0x1f;
    h->pmpaddr[0] = UINT64_MAX >> 10;
    rv_pmp_update(h);
    h->mstatus = (h->mstatus & ~(MSTATUS_FS | MSTATUS_VS)) | 1ull << 13 | 1ull << 9 | MSTATUS_SIE;
    h->priv = p->user ? RV_U : RV_S;
    h->frm = 0;
    rv_fp_sync(h);
    rv_vec_sync(h);
    rv_tlb_flush_all(h);
    rv_tlb_select(h);
    h->pc = VA_BASE + CODE_PAGE * GUEST_PAGE_SIZE;
    h->x[R_PT] = VA_ALIAS + L0_PAGE * GUEST_PAGE_SIZE;
    h->x[R_SMC] = VA_ALIAS - VA_BASE;
    h->x[R_MMIO] = VA_MMIO;
    h->x[R_LOOP] = 1;
    h->x[R_RESUME] = h->pc;
    atomic_store(&h->vcpu.running, 1);
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

void set_registers(struct side *a, struct side *b)
{
    for (unsigned n = 1; n < R_FIRST_FIXED; n++)
        a->h->x[n] = chance(50) ? rnd() : (uint64_t)(int64_t)(int32_t)rnd() >> below(32);
    for (unsigned n = 0; n < 3; n++)
        a->h->x[R_PTR0 + n] =
            VA_BASE + (DATA_PAGE + below(DATA_PAGES)) * GUEST_PAGE_SIZE + below(512) * 8;
    for (unsigned n = 0; n < 32; n++)
        a->h->f[n] = chance(50) ? rnd() : rnd() | 0xffffffff00000000;
    fill_vectors(a->h);
    memcpy(b->h->x, a->h->x, sizeof b->h->x);
    memcpy(b->h->f, a->h->f, sizeof b->h->f);
    memcpy(b->h->v, a->h->v, sizeof b->h->v);
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
