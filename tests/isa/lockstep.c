/* JIT against interpreter in lock-step on random programs.
 *
 *   two twin machines, same RAM, Sv39, S or U mode with a handler that skips what traps
 *   chunk: the JIT runs some instructions, its exact retired count is read, the interpreter steps to
 *   the same count; registers, CSRs and RAM must agree
 *
 * A program is a ring of code pages with one random item per slot: any instruction of the tables,
 * loops, calls, loads and stores through pointers near page ends, device accesses, code that writes
 * code (then fence.i), page-table changes (then sfence.vma), changes of rounding mode and FP state.
 * Interrupts come between chunks. Usage: lockstep [SEED [CHUNKS [OPTIONS]]]; OPTIONS: b = host
 * without its newer instructions, x = without AVX-512, q = the quick tier, a = both tiers, d = dump translations to stderr, v = progress, f = the
 * last chunk in small steps, s = nothing but vector instructions, each of them in turn, n5 = five seeds from SEED on. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csr_bits.h"
#include "decode.h"
#include "hart.h"
#include "jit.h"
#include "mem.h"
#include "mem/space.h"
#include "sim-core/alloc.h"
#include "sim-core/sim.h"
#include "x86_priv.h"

/* Guest-physical and virtual layout: page n of RAM is at VA_BASE + n pages, and again (writable, for
 * code and page tables) at VA_ALIAS + n pages. */
#define RAM_BASE 0x80000000ull
#define VA_BASE 0x40000000ull
#define VA_ALIAS 0x40100000ull
#define VA_MMIO 0x401f0000ull
#define MMIO_BASE 0x10000000ull
enum {
    PAGES = 64,
    HANDLER_PAGE = 0,
    CODE_PAGE = 1,
    CODE_PAGES = 4,
    DATA_PAGE = 16,
    DATA_PAGES = 16, /* the page behind them is not mapped */
    SOURCE_PAGE = 5, /* of sweeps: nobody writes there */
    SOURCE_PAGES = 8,
    RESULT_PAGE = 32, /* of sweeps, written through the alias */
    RESULT_SIZE = 1024, /* the largest group */
    RESULTS = 16 * 4096 / RESULT_SIZE,
    ROOT_PAGE = 48,
    L1_PAGE = 49,
    L0_PAGE = 50,
    CODE_SLOTS = CODE_PAGES * 1024
};

/* Registers with a meaning; the rest is random. */
enum {
    R_RESULT = 8,  /* of sweeps: where the next group goes */
    R_SOURCE = 9,
    R_FLAGS = 10,
    R_FLAG_SUM = 11,
    R_PT = 22,     /* page table through the alias */
    R_SMC = 23,    /* code through the alias */
    R_MMIO = 24,
    R_LOOP = 25,
    R_PTR0 = 26,   /* 26, 27, 28: data pointers */
    R_RESUME = 29, /* where to go on after a wild jump */
    R_H0 = 30,     /* the trap handler's */
    R_H1 = 31,
    R_FIRST_FIXED = R_PT
};

/* ---- random numbers ---- */

static uint64_t rng_state;

static uint64_t rnd(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state * 0x2545f4914f6cdd1dull;
}

static unsigned below(unsigned n)
{
    return (unsigned)((rnd() >> 33) % n);
}

static bool chance(unsigned percent)
{
    return below(100) < percent;
}

/* ---- machines ---- */

struct side {
    struct sim *sim;
    struct mem_space *space;
    struct rv_machine *machine;
    struct vcpu *vcpu;
    struct rv_hart *h;
    struct mem_region device;
    uint64_t device_state;
};

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

/* Every extension there is. */
static struct rv_isa all_extensions(unsigned vlen)
{
    struct rv_isa isa;

    rv_isa_default(&isa);
    isa.ext |= 1ull << RV_EXT_V | 1ull << RV_EXT_ZVE32X | 1ull << RV_EXT_ZVE32F | 1ull << RV_EXT_ZVE64X |
               1ull << RV_EXT_ZVE64F | 1ull << RV_EXT_ZVE64D;
    isa.vlen = (uint16_t)vlen;
    return isa;
}

static void side_create(struct side *s, bool jit, const struct jit_options *options, unsigned vlen)
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

static void side_destroy(struct side *s)
{
    rv_machine_destroy(s->machine);
    mem_space_destroy(s->space);
    sim_destroy(s->sim);
}

static void poke(struct side *s, uint64_t offset, const void *data, uint64_t len)
{
    mem_write(s->space, RAM_BASE + offset, data, len);
}

/* ---- encodings ---- */

static uint32_t enc_i(unsigned op, unsigned f3, unsigned rd, unsigned rs1, int imm)
{
    return (uint32_t)imm << 20 | rs1 << 15 | f3 << 12 | rd << 7 | op;
}
static uint32_t enc_s(unsigned f3, unsigned rs1, unsigned rs2, int imm)
{
    uint32_t u = (uint32_t)imm;
    return (u >> 5 & 0x7f) << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 | (u & 31) << 7 | 0x23;
}
static uint32_t enc_b(unsigned f3, unsigned rs1, unsigned rs2, int off)
{
    uint32_t u = (uint32_t)off;
    return (u >> 12 & 1) << 31 | (u >> 5 & 0x3f) << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 |
           (u >> 1 & 15) << 8 | (u >> 11 & 1) << 7 | 0x63;
}
static uint32_t enc_j(unsigned rd, int off)
{
    uint32_t u = (uint32_t)off;
    return (u >> 20 & 1) << 31 | (u >> 1 & 0x3ff) << 21 | (u >> 11 & 1) << 20 |
           (u >> 12 & 0xff) << 12 | rd << 7 | 0x6f;
}
static uint32_t addi(unsigned rd, unsigned rs1, int imm)
{
    return enc_i(0x13, 0, rd, rs1, imm);
}
static uint32_t csr(unsigned f3, unsigned rd, unsigned csr_no, unsigned rs1)
{
    return enc_i(0x73, f3, rd, rs1, (int)csr_no);
}
enum { CSRRW = 1, CSRRS = 2, CSRRC = 3, CSRRWI = 5, CSRRSI = 6, CSRRCI = 7 };
#define FENCE_I 0x0000100fu
#define SFENCE_VMA 0x12000073u
#define SRET 0x10200073u

/* ---- program ---- */

struct program {
    uint32_t code[CODE_SLOTS];
    unsigned n;
    bool user, vectors, sweeps;
    struct rv_isa isa;
};

static void put(struct program *p, uint32_t word)
{
    if (p->n < CODE_SLOTS)
        p->code[p->n++] = word;
}

static unsigned any_reg(void)
{
    return below(8) ? below(R_FIRST_FIXED) : below(4);
}

/* Replaces the bits of a field that the encoding leaves open. */
static uint32_t with_field(uint32_t word, uint32_t mask, unsigned pos, unsigned value)
{
    uint32_t field = 31u << pos;

    return mask & field ? word : (word & ~field) | value << pos;
}

static bool writes_fixed(const struct rv_insn *i)
{
    return rv_writes_x(rv_op_info[i->op].flags) && i->rd >= R_FIRST_FIXED;
}

/* A random instance of a random encoding: no control flow, no SYSTEM but CSR-free ones. */
static bool random_word(const struct program *p, const struct rv_decode_table *t, uint32_t *out)
{
    const struct rv_encoding *e = &t->enc[below(t->nr_encs)];
    uint32_t word = ((uint32_t)rnd() & ~e->mask) | e->match;
    unsigned flags = rv_op_info[e->op].flags;
    bool wide = t == &rv_decode_table32;
    struct rv_insn i;

    if (wide) {
        word = with_field(word, e->mask, 7, any_reg());
        word = with_field(word, e->mask, 15, any_reg());
        word = with_field(word, e->mask, 20, any_reg());
        if (flags & (RV_OPF_LOAD | RV_OPF_STORE | RV_OPF_ATOMIC) && chance(97))
            word = with_field(word, e->mask, 15, R_PTR0 + below(3));
        if ((flags & RV_OPF_LOAD) && chance(80))
            word &= ~0x00700000u; /* aligned */
        if ((flags & RV_OPF_STORE) && chance(80))
            word &= ~0x00000380u;
        if ((flags & RV_OPF_FP) && !(e->mask & 0x7000) && chance(90))
            word |= 0x7000; /* dynamic rounding */
    }
    rv_decode(word, &p->isa, &i);
    if (i.op == RV_OP_illegal && !chance(2))
        return false;
    if (flags & (RV_OPF_BRANCH | RV_OPF_JUMP | RV_OPF_SYSTEM))
        return false;
    if (i.op == RV_OP_fence_i || writes_fixed(&i) ||
        (i.op == RV_OP_amocas_q && i.rd + 1 >= R_FIRST_FIXED))
        return false;
    *out = word;
    return true;
}

static bool is_vector(uint32_t word)
{
    struct rv_isa all = all_extensions(RV_VLEN_MIN);
    struct rv_insn i;

    rv_decode(word, &all, &i);
    return rv_op_info[i.op].flags & RV_OPF_VECTOR;
}

/* More than half of the tables are vector instructions: only some of them outside put_vector. */
static void put_random32(struct program *p)
{
    uint32_t word;

    while (!random_word(p, &rv_decode_table32, &word) || (is_vector(word) && chance(80)))
        ;
    put(p, word);
}

/* vsetvli or vsetivli to a legal type, mostly of a large group: vl is VLMAX or below. */
static void put_vset(struct program *p)
{
    unsigned sew = chance(60) ? 2 + below(2) : below(4), lmul = chance(90) ? below(4) : 5 + below(3);
    unsigned vtype = lmul | sew << 3 | below(4) << 6;

    if (chance(75))
        put(p, 0x7057 | vtype << 20 | any_reg() << 7); /* rs1 = x0: VLMAX */
    else if (chance(50))
        put(p, 0x7057 | vtype << 20 | any_reg() << 7 | any_reg() << 15);
    else
        put(p, 0xc0007057 | vtype << 20 | any_reg() << 7 | below(32) << 15);
}

/* A random vector instruction; aligned to what most groups need, not masked: mostly legal. */
static uint32_t vector_word(struct program *p)
{
    uint32_t word;

    while (!random_word(p, &rv_decode_table32, &word) || !is_vector(word))
        ;
    bool memory = (word & 0x7f) != 0x57;
    if (memory && chance(70))
        word &= 0x1fffffff; /* no segments */
    if (chance(85)) {
        uint32_t off = 31 & ~(chance(50) ? 0x18u : 0x1cu);
        word |= 1u << 25;
        word &= ~(off << 7);
        if (!memory)
            word &= ~(off << 20);
        if (!memory && (word >> 12 & 7) <= 2) /* vs1 */
            word &= ~(off << 15);
    }
    return word;
}

/* Offset in bytes from slot `from` to slot `to`. */
static int span(unsigned from, unsigned to)
{
    return ((int)to - (int)from) * 4;
}

static void put_vector(struct program *p)
{
    unsigned n = 1 + below(10), top, times = chance(30) ? 1 + below(20) : 1;

    put(p, addi(R_LOOP, 0, (int)times));
    top = p->n;
    put_vset(p);
    while (n--)
        put(p, chance(85) ? vector_word(p) : addi(R_PTR0 + below(3), R_PTR0 + below(3), 64));
    put(p, addi(R_LOOP, R_LOOP, -1));
    put(p, enc_b(1, R_LOOP, 0, span(p->n, top)));
}

/* What is in source pages: numbers of one kind, for one that is not a number sends a whole piece to the interpreter. */
enum { INDICES, /* of 8, 16, 32 and 64 bits, a page each */
       CALM = 4, CALM_TOO, SPARSE, SMALL };

/* A source group anew, or all there is in the end are results of results. */
static void put_sweep_source(struct program *p, unsigned group, unsigned sew)
{
    unsigned kind = chance(40) ? CALM : below(SOURCE_PAGES);

    if (group == 24 && chance(40))
        kind = INDICES + (chance(60) ? sew : 1);
    else if (group == 24 && chance(20))
        kind = SMALL; /* as a mask: many in a row */
    put(p, (uint32_t)(VA_ALIAS + (SOURCE_PAGE + kind) * GUEST_PAGE_SIZE) | R_SOURCE << 7 | 0x37); /* lui */
    put(p, addi(R_SOURCE, R_SOURCE, (int)below(256) * 8));
    put(p, 0xe2800007 | R_SOURCE << 15 | group << 7); /* vl8re8.v */
}

/* The type again, with VLMAX, whatever the last ones did to vl, or with less; sometimes another mask. */
static void put_sweep_type(struct program *p, unsigned vtype)
{
    if (chance(60)) {
        put(p, 0x7057 | vtype << 20 | 5u << 7);
    } else {
        put(p, addi(5, 0, (int)below(chance(50) ? 10 : 130)));
        put(p, 0x7057 | vtype << 20 | 5u << 7 | 5u << 15);
    }
    if (chance(30))
        put(p, 0x02800007 | (R_PTR0 + below(3)) << 15); /* vl1re8.v v0 */
    for (unsigned group = 16; group <= 24; group += 8)
        if (chance(70))
            put_sweep_source(p, group, vtype >> 3 & 3);
}

/* What the last instruction made of its group goes to memory, or the next one would hide it. */
static void put_sweep_result(struct program *p, unsigned op, uint32_t word, unsigned nr)
{
    if (nr % RESULTS == 0)
        put(p, (uint32_t)(VA_ALIAS + RESULT_PAGE * GUEST_PAGE_SIZE) | R_RESULT << 7 | 0x37); /* lui */
    put(p, 0xe2800027 | R_RESULT << 15 | (word & 24u << 7)); /* vs8r.v */
    put(p, addi(R_RESULT, R_RESULT, RESULT_SIZE));
    bool fp = rv_op_info[op].flags & RV_OPF_FP;
    if (fp || chance(25)) { /* fflags or vxsat, which stay: those of each instruction, added */
        put(p, csr(CSRRWI, R_FLAGS, fp ? 1 : 9, 0));
        put(p, 0x33 | R_FLAG_SUM << 7 | R_FLAG_SUM << 15 | R_FLAGS << 20);
    }
}

/* A vector instruction on the groups v8, v16 and v24, sometimes on itself, as a segment, or masked. */
static uint32_t sweep_word(const struct rv_encoding *e)
{
    uint32_t word = e->match;
    bool memory = (word & 0x7f) != 0x57;
    unsigned vd = chance(80) ? 8 : chance(50) ? 16 : 24;

    word = with_field(word, e->mask, 7, rv_writes_x(rv_op_info[e->op].flags) ? 6 : vd);
    word = with_field(word, e->mask, 15, memory ? R_PTR0 + below(3) : (word >> 12 & 7) >= 4 ? 7 : 24);
    word = with_field(word, e->mask, 20, memory && (word >> 26 & 3) == 2 ? 9 : 16);
    if (memory && !(e->mask >> 29) && chance(50))
        word |= below(8) << 29;
    return e->mask >> 25 & 1 || chance(35) ? word : word | 1u << 25;
}

/* A fraction of a register has no room for elements that are too large for it. */
static unsigned sweep_type(void)
{
    if (chance(70))
        return below(4) | (chance(40) ? 2 + below(2) : below(4)) << 3;
    unsigned fraction = chance(60) ? 7 : 5 + below(3);
    return fraction | below(fraction - 4) << 3;
}

/* Each vector instruction once, on one type that most of them can have: what is translated in full. */
static void put_vector_sweep(struct program *p)
{
    const struct rv_decode_table *t = &rv_decode_table32;
    unsigned vtype = sweep_type(), since = 0, nr = 0;

    for (unsigned n = 0; n < t->nr_encs && p->n < CODE_SLOTS - 50; n++) {
        const struct rv_encoding *e = &t->enc[n];

        if (!(rv_op_info[e->op].flags & RV_OPF_VECTOR) || rv_op_info[e->op].flags & RV_OPF_SYSTEM)
            continue;
        if (since++ % 8 == 0)
            put_sweep_type(p, vtype);
        uint32_t word = sweep_word(e);
        put(p, word);
        if ((word & 0x7f) == 0x57)
            put_sweep_result(p, e->op, word, nr++);
    }
}

static void put_random16(struct program *p)
{
    uint32_t a, b;

    while (!random_word(p, &rv_decode_table16, &a))
        ;
    while (!random_word(p, &rv_decode_table16, &b))
        ;
    put(p, (a & 0xffff) | b << 16);
}

static void put_plain(struct program *p)
{
    if (chance(25))
        put_random16(p);
    else
        put_random32(p);
}

static void put_loop(struct program *p)
{
    unsigned body = 1 + below(12), top;

    put(p, addi(R_LOOP, 0, 1 + (int)below(chance(10) ? 400 : 12)));
    top = p->n;
    for (unsigned i = 0; i < body; i++)
        put_plain(p);
    if (chance(30)) { /* leave early, sometimes */
        put(p, enc_b(below(2) ? 0 : 5, any_reg(), any_reg(), 12));
    }
    put(p, addi(R_LOOP, R_LOOP, -1));
    put(p, enc_b(1, R_LOOP, 0, span(p->n, top)));
}

static void put_branch(struct program *p)
{
    static const uint8_t f3[] = {0, 1, 4, 5, 6, 7};
    unsigned skip = 1 + below(6);

    put(p, enc_b(f3[below(6)], any_reg(), any_reg(), 4 + 4 * (int)skip));
    for (unsigned i = 0; i < skip; i++)
        put_plain(p);
}

/* A loop with instructions that every other round, or so, skips: computations, or anything. */
static void put_if(struct program *p)
{
    static const uint32_t op[] = {0x33, 0x3b, 0x33 | 4 << 12, 0x33 | 6 << 12, 0x33 | 7 << 12,
                                  0x40000033, 0x4000003b, 0x33 | 2 << 12, 0x02000033};
    unsigned top, skip = 1 + below(5), condition = 5 + below(3);

    put(p, addi(R_LOOP, 0, 3 + (int)below(12)));
    top = p->n;
    for (unsigned i = below(3); i; i--)
        put_plain(p);
    put(p, enc_i(0x13, 7, condition, R_LOOP, 1 + (int)below(3)));
    put(p, enc_b(chance(50) ? 0 : chance(50) ? 1 : 6, condition, chance(70) ? 0 : any_reg(), 4 + 4 * (int)skip));
    for (unsigned i = 0; i < skip; i++) {
        if (chance(3))
            put_plain(p);
        else /* the condition's registers too */
            put(p, op[below(9)] | (5 + below(5)) << 7 | (5 + below(5)) << 15 | (5 + below(5)) << 20);
    }
    for (unsigned i = below(3); i; i--)
        put_plain(p);
    put(p, addi(R_LOOP, R_LOOP, -1));
    put(p, enc_b(1, R_LOOP, 0, span(p->n, top)));
}

/* A function that calls itself a few times, with its link register on a stack of its own making. */
static void put_recursion(struct program *p)
{
    unsigned ptr = R_PTR0 + below(3), body = below(4);

    put(p, enc_j(0, 4 * (int)(body + 9)));
    unsigned function = p->n;
    put(p, enc_s(3, ptr, 1, -1024));
    put(p, addi(ptr, ptr, 8));
    for (unsigned i = 0; i < body; i++)
        put(p, addi(5 + below(5), 5 + below(5), (int)below(100)));
    put(p, addi(R_LOOP, R_LOOP, -1));
    put(p, enc_b(5, 0, R_LOOP, 8)); /* bge x0, loop: no more */
    put(p, enc_j(1, span(p->n, function)));
    put(p, addi(ptr, ptr, -8));
    put(p, enc_i(3, 3, 1, ptr, -1024));
    put(p, enc_i(0x67, 0, 0, 1, 0));
    put(p, addi(R_LOOP, 0, 1 + (int)below(12)));
    put(p, enc_i(0x17, 0, R_RESUME, 0, 0));
    put(p, addi(R_RESUME, R_RESUME, 12));
    put(p, enc_j(1, span(p->n, function)));
}

/* jal over a small function that returns, then call it */
static void put_call(struct program *p)
{
    unsigned body = 1 + below(5);
    unsigned link = chance(80) ? 1 : 5;

    put(p, enc_j(0, 4 * (int)(body + 2)));
    unsigned function = p->n;
    for (unsigned i = 0; i < body; i++)
        put_plain(p);
    put(p, enc_i(0x67, 0, 0, link, 0));
    /* The body may have changed the link register: then the trap handler or a wild run sorts it
     * out, so keep to the resume register. */
    put(p, enc_i(0x17, 0, R_RESUME, 0, 0)); /* auipc resume, 0 */
    put(p, addi(R_RESUME, R_RESUME, 12));
    put(p, enc_j(link, span(p->n, function)));
}

/* Jump through a register to just behind, or into nowhere. */
static void put_indirect(struct program *p)
{
    unsigned reg = 1 + below(R_FIRST_FIXED - 1);

    put(p, enc_i(0x17, 0, R_RESUME, 0, 0));
    put(p, addi(R_RESUME, R_RESUME, 20));
    put(p, enc_i(0x17, 0, reg, 0, 0));
    put(p, chance(85) ? addi(reg, reg, 12) : addi(reg, 0, (int)below(2048)));
    put(p, enc_i(0x67, 0, below(2) ? 0 : 1, reg, (int)below(2)));
}

static void put_csr(struct program *p)
{
    static const uint16_t any[] = {0x001, 0x002, 0x003, 0xc00, 0xc01, 0xc02, 0x140, 0x7c0, 0x300,
                                   0x008, 0x009, 0x00a, 0x00f, 0xc20, 0xc21, 0xc22};
    unsigned f3 = chance(50) ? CSRRS : 1 + below(3) + (chance(50) ? 4 : 0);
    unsigned number = any[below(SIM_ARRAY_LEN(any))];
    unsigned rd = any_reg();

    if (number <= 3 && chance(60)) /* rounding mode and flags to good values */
        put(p, csr(CSRRWI, rd, number, below(number == 2 ? 5 : 32)));
    else
        put(p, csr(f3, rd, number, number >= 0xc00
                                       ? 0 : any_reg()));
}

/* mstatus.FS or VS off and on again: illegal instructions in between */
static void put_fp_state(struct program *p)
{
    unsigned shift = chance(50) ? 13 : 9;

    if (p->user)
        return;
    put(p, addi(1, 0, 3));
    put(p, enc_i(0x13, 1, 1, 1, (int)shift)); /* slli */
    put(p, csr(CSRRC, 0, 0x100, 1));
    for (unsigned i = below(6); i > 0; i--)
        put(p, shift == 9 ? vector_word(p) : addi(2, 2, 1));
    for (unsigned i = below(6); i > 0; i--)
        put_plain(p);
    put(p, addi(1, 0, 1 + (int)below(3)));
    put(p, enc_i(0x13, 1, 1, 1, (int)shift));
    put(p, csr(CSRRS, 0, 0x100, 1));
}

static void put_li(struct program *p, unsigned rd, uint32_t value)
{
    uint32_t upper = (value + 0x800) & 0xfffff000;

    put(p, upper | rd << 7 | 0x37);
    put(p, enc_i(0x1b, 0, rd, rd, (int)(value & 0xfff))); /* addiw */
}

/* Overwrites the slot behind the fence with another instruction, then runs it. */
static void put_smc(struct program *p)
{
    uint32_t word;

    while (!random_word(p, &rv_decode_table32, &word))
        ;
    put_li(p, 7, word);
    put(p, enc_i(0x17, 0, 6, 0, 0)); /* auipc x6 */
    /* x6 - VA_BASE + VA_ALIAS: R_SMC holds the difference */
    put(p, R_SMC << 20 | 6u << 15 | 6u << 7 | 0x33);
    put(p, enc_s(2, 6, 7, 20)); /* sw x7, 20(x6): the slot behind fence.i */
    put(p, addi(6, 0, 0));      /* or a random store writes code without fence */
    put(p, FENCE_I);
    put_plain(p);
}

/* Toggles the permissions or the target of a data page's PTE, with fence. */
static void put_remap(struct program *p)
{
    unsigned page = DATA_PAGE + below(DATA_PAGES);

    if (p->user)
        return;
    put(p, enc_i(3, 3, 8, R_PT, (int)(page * 8))); /* ld x8, page*8(R_PT) */
    if (chance(50))
        put(p, enc_i(0x13, 4, 8, 8, chance(50) ? 4 : 1)); /* xori x8, x8, W or V */
    else
        put(p, enc_i(0x13, 4, 8, 8, 0x400)); /* xori: another frame */
    put(p, enc_s(3, R_PT, 8, (int)(page * 8)));
    put(p, SFENCE_VMA);
}

static void put_pointer(struct program *p)
{
    unsigned reg = R_PTR0 + below(3);

    if (chance(70))
        put(p, enc_i(0x13, 4, reg, reg, (int)(rnd() & 0x7f8))); /* xori */
    else
        put(p, addi(reg, reg, chance(50) ? 1 : -1));
    if (chance(30)) { /* and home again */
        put_li(p, reg, (uint32_t)(VA_BASE + (DATA_PAGE + below(DATA_PAGES)) * GUEST_PAGE_SIZE +
                                  (chance(50) ? 4096 - below(64) * 8 : below(512) * 8)));
    }
}

static void put_device(struct program *p)
{
    unsigned reg = any_reg();
    unsigned size = below(4);
    int off = (int)((below(64) * 8) >> 3 << size);

    if (chance(50))
        put(p, enc_i(3, size, reg, R_MMIO, off));
    else
        put(p, enc_s(size, R_MMIO, reg, off));
}

static void put_lrsc(struct program *p)
{
    unsigned size = chance(50) ? 2 : 3, ptr = R_PTR0 + below(3);

    put(p, enc_i(0x13, 7, 9, ptr, -8)); /* andi x9, ptr, -8 */
    put(p, 0x1000002fu | size << 12 | 9u << 15 | 10u << 7);
    if (chance(20))
        put_plain(p);
    put(p, addi(11, 10, 1));
    put(p, 0x1800002fu | size << 12 | 9u << 15 | 11u << 20 | 12u << 7);
}

static void put_system(struct program *p)
{
    switch (below(4)) {
    case 0: put(p, 0x00000073); break;       /* ecall */
    case 1: put(p, 0x00100073); break;       /* ebreak */
    case 2: put(p, FENCE_I); break;
    default: put(p, SFENCE_VMA); break;
    }
}

/* Several accesses off one pointer: what windows are made of. */
static void put_frame(struct program *p)
{
    unsigned ptr = R_PTR0 + below(3), n = 2 + below(7);
    int at = (int)below(256) * 8 - 1024;

    for (unsigned i = 0; i < n; i++) {
        unsigned size = chance(70) ? 3 : below(4);
        int off = at + (int)below(16) * 8;
        if (chance(50))
            put(p, enc_i(3, size, any_reg(), ptr, off));
        else
            put(p, enc_s(size, ptr, any_reg(), off));
        if (chance(30))
            put_plain(p);
    }
}

/* Words and doublewords computed from each other in a few registers, with the shift pairs that stand for
 * rotates, extensions and scaled indices. */
static void put_computing(struct program *p)
{
    static const uint32_t op[] = {0x33, 0x3b, 0x33 | 4 << 12, 0x33 | 6 << 12, 0x33 | 7 << 12,
                                  0x40000033, 0x4000003b, 0x02000033, 0x0200003b};

    for (unsigned n = 3 + below(12); n; n--) {
        unsigned a = 5 + below(5), b = 5 + below(5), d = 5 + below(5);
        bool word = chance(50);
        uint32_t imm = word ? 0x1b : 0x13, width = word ? 32 : 64;
        if (chance(40)) {
            put(p, op[below(9)] | d << 7 | a << 15 | b << 20);
            continue;
        }
        unsigned left = chance(60) ? 8 * below(width / 8) : below(width);
        unsigned right = chance(50) ? (width - left) % width : chance(60) ? left : below(width);
        unsigned t = chance(50) ? d : b;
        put(p, imm | 1u << 12 | t << 7 | a << 15 | left << 20); /* slli */
        put(p, imm | 5u << 12 | b << 7 | (chance(70) ? a : t) << 15 | right << 20 |
                   (chance(20) ? 1u << 30 : 0)); /* srli, srai */
        if (chance(60))
            put(p, op[below(9)] | d << 7 | t << 15 | b << 20);
    }
}

/* A loop of one block that walks through memory: what is unrolled. */
static void put_stream(struct program *p)
{
    unsigned body = 1 + below(4), top;
    int step = (chance(80) ? 1 : -1) * (1 << below(5));

    put(p, addi(R_LOOP, 0, 1 + (int)below(chance(20) ? 900 : 30)));
    top = p->n;
    for (unsigned i = 0; i < body; i++) {
        unsigned ptr = R_PTR0 + below(3), size = below(4), reg = 5 + below(8);
        int off = (int)below(8) - 4;
        off = chance(80) ? off * (1 << size) : off;
        put(p, chance(60) ? enc_i(3, size, reg, ptr, off) : enc_s(size, ptr, reg, off));
        if (chance(40))
            put(p, addi(ptr, ptr, step));
        if (chance(30))
            put_plain(p);
        if (chance(30))
            put(p, 0x3b | reg << 7 | reg << 15 | (5 + below(8)) << 20); /* addw */
    }
    put(p, addi(R_PTR0, R_PTR0, step));
    put(p, addi(R_LOOP, R_LOOP, -1));
    put(p, enc_b(1, R_LOOP, 0, span(p->n, top)));
}

static void put_item(struct program *p)
{
    static const struct {
        uint8_t weight;
        void (*fn)(struct program *p);
    } items[] = {
        {50, put_plain}, {7, put_loop}, {8, put_branch}, {4, put_if}, {3, put_call}, {1, put_recursion}, {2, put_indirect},
        {3, put_csr}, {1, put_fp_state}, {1, put_smc}, {1, put_remap}, {6, put_pointer},
        {1, put_device}, {2, put_lrsc}, {1, put_system}, {6, put_frame},
        {4, put_computing}, {3, put_stream}, {8, put_vector},
    };
    unsigned total = 0, pick;

    if (p->vectors && chance(50)) {
        put_vector(p);
        return;
    }
    if (p->vectors && chance(1)) {
        put_vector_sweep(p);
        return;
    }
    for (unsigned i = 0; i < SIM_ARRAY_LEN(items); i++)
        total += items[i].weight;
    pick = below(total);
    for (unsigned i = 0; i < SIM_ARRAY_LEN(items); i++) {
        if (pick < items[i].weight) {
            items[i].fn(p);
            return;
        }
        pick -= items[i].weight;
    }
}

static void generate(struct program *p, bool user)
{
    unsigned length = 100 + below(CODE_SLOTS - 200);

    p->n = 0;
    p->user = user;
    p->vectors = chance(40);
    p->isa = all_extensions(RV_VLEN_MIN); /* decoding does not depend on it */
    while (p->n < length)
        (p->sweeps ? put_vector_sweep : put_item)(p);
    put(p, enc_j(0, span(p->n, 0)));
    while (p->n < CODE_SLOTS)
        p->code[p->n++] = enc_j(0, -4); /* runs back to the ring's end */
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

static void set_up(struct side *s, const struct program *p)
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

static void set_registers(struct side *a, struct side *b)
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

static void fill_source(uint64_t *page, unsigned kind)
{
    /* zeros of both signs, what is rounded, and little else: as doubles, and as floats */
    static const uint64_t calm[] = {0, 1ull << 63, 0, 1ull << 63, 0x3fe0000000000000, 0xbff8000000000000, 0x4004000000000000,
                                    0x3fefffffe0000001, 0x4000000000000001,
                                    0x0000000080000000, 0x8000000000000000, 0x8000000000000000, 0x0000000080000000,
                                    0x3f000000bfc00000, 0xc020000040200000, 0x3f80000180000000, 0x000000003f7fffff};
    /* what raises flags */
    static const uint64_t loud[] = {0x3fefffffffffffff, 0x7ff0000000000001, 0x7fefffffffffffff, 0x3f0000007f800001,
                                    0x7fc12345ffc00001, 0x7ff8000000000123, 0x4f8000003f7fffff};
    unsigned size = kind < CALM ? kind - INDICES : 3;

    for (unsigned n = 0; n < 512; n++)
        page[n] = kind != SPARSE ? calm[below(SIM_ARRAY_LEN(calm))] : chance(90) ? 0 : loud[below(SIM_ARRAY_LEN(loud))];
    for (unsigned n = 0; n < 4096u >> size && (kind < CALM || kind == SMALL); n++) {
        uint64_t value = kind == SMALL ? (uint64_t)(int64_t)((int)below(256) - 128) : chance(25) ? 1u << below(11) : below(1u << below(11));
        memcpy((char *)page + (n << size), &value, 1u << size);
    }
}

static void fill_sources(struct side *a, struct side *b)
{
    uint64_t page[512];

    for (unsigned n = 0; n < SOURCE_PAGES; n++) {
        fill_source(page, n);
        poke(a, (SOURCE_PAGE + n) * GUEST_PAGE_SIZE, page, sizeof page);
        poke(b, (SOURCE_PAGE + n) * GUEST_PAGE_SIZE, page, sizeof page);
    }
}

static void fill_data(struct side *a, struct side *b)
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

/* ---- comparing ---- */

#define FIELDS(X)                                                                                  \
    X(pc) X(priv) X(mstatus) X(scause) X(stval) X(sepc) X(sscratch) X(sie_view) X(frm) X(fflags)   \
    X(vl) X(vtype) X(vstart) X(vxrm) X(vxsat) X(vs_dirty) X(vs_on) X(vkey) X(vkey_any) X(fs_dirty) X(fp_on)     \
    X(mcause) X(mepc) X(device)

struct view {
    uint64_t pc, priv, mstatus, scause, stval, sepc, sscratch, sie_view, frm, fflags,
        vl, vtype, vstart, vxrm, vxsat, vs_dirty, vs_on, vkey, vkey_any, fs_dirty,
        fp_on, mcause, mepc, device;
};

static struct view view_of(const struct side *s)
{
    const struct rv_hart *h = s->h;

    return (struct view){h->pc, h->priv, h->mstatus, h->scause, h->stval, h->sepc, h->sscratch,
                         h->mie, h->frm, h->fflags, h->vl, h->vtype, h->vstart, h->vxrm,
                         h->vxsat, h->vs_dirty, h->vs_on, h->vkey, h->vkey_any, h->fs_dirty, h->fp_on, h->mcause,
                         h->mepc, s->device_state};
}

static unsigned differ(const char *name, uint64_t a, uint64_t b)
{
    if (a == b)
        return 0;
    fprintf(stderr, "  %-10s jit %016" PRIx64 "  interpreter %016" PRIx64 "\n", name, a, b);
    return 1;
}

static unsigned compare_state(const struct side *a, const struct side *b)
{
    struct view va = view_of(a), vb = view_of(b);
    unsigned bad = 0;
    char name[8];

#define COMPARE(field) bad += differ(#field, va.field, vb.field);
    FIELDS(COMPARE)
#undef COMPARE
    for (unsigned n = 0; n < 32; n++) {
        snprintf(name, sizeof name, "x%u", n);
        bad += differ(name, a->h->x[n], b->h->x[n]);
    }
    for (unsigned n = 0; n < 32; n++) {
        snprintf(name, sizeof name, "f%u", n);
        bad += differ(name, a->h->f[n], b->h->f[n]);
    }
    for (unsigned n = 0; n < 32 * a->h->vlenb; n++) {
        if (a->h->v[n] == b->h->v[n])
            continue;
        fprintf(stderr, "  v%u, byte %u\n", n / (unsigned)a->h->vlenb, n % (unsigned)a->h->vlenb);
        return bad + differ("v", a->h->v[n], b->h->v[n]);
    }
    return bad;
}

static unsigned compare_ram(const struct side *a, const struct side *b)
{
    if (!memcmp(a->space->ram, b->space->ram, PAGES * GUEST_PAGE_SIZE))
        return 0;
    for (uint64_t at = 0; at < PAGES * GUEST_PAGE_SIZE; at += 8) {
        uint64_t va, vb;
        memcpy(&va, a->space->ram + at, 8);
        memcpy(&vb, b->space->ram + at, 8);
        char name[24];
        snprintf(name, sizeof name, "ram+%05" PRIx64, at);
        if (differ(name, va, vb))
            break;
    }
    return 1;
}

/* The last instructions the interpreter executed. */
enum { TRAIL = 256 };
static uint64_t trail[TRAIL];
static uint64_t trail_n;

static void print_trail(const struct side *b)
{
    for (uint64_t n = trail_n > TRAIL ? trail_n - TRAIL : 0; n < trail_n; n++) {
        uint64_t pc = trail[n % TRAIL];
        uint64_t at = pc - VA_BASE;
        char text[80] = "?";
        uint32_t raw = 0;
        if (at < PAGES * GUEST_PAGE_SIZE - 4) {
            memcpy(&raw, b->space->ram + at, 4);
            rv_disasm(raw, pc, text, sizeof text);
        }
        fprintf(stderr, "  %010" PRIx64 "  %08x  %s\n", pc, raw, text);
    }
}

/* ---- running ---- */

static void grant(struct rv_hart *h, uint64_t budget)
{
    h->insns = rv_insns(h);
    h->slice = h->budget = (int64_t)budget;
}

/* Mostly what the background has made is there for the next chunk. */
static unsigned chunks_run;

static bool run_chunk(struct side *a, struct side *b, uint64_t budget)
{
    struct rv_hart *h = a->h, *i = b->h;

    rv_take_interrupt(h);
    rv_take_interrupt(i);
    grant(h, budget);
    grant(i, budget);
    atomic_store(&h->vcpu.kick, 0);
    atomic_store(&i->vcpu.kick, 0);
    jit_run(h);
    if (chunks_run++ % 4)
        jit_settle(h->machine->jit);
    int64_t used = h->slice - h->budget;
    while (i->slice - i->budget < used) {
        trail[trail_n++ % TRAIL] = i->pc;
        enum rv_exec result = rv_interp_step(i);
        if (result == RV_SYNC || result == RV_JSYNC)
            rv_take_interrupt(i);
    }
    sim_clock_charge(&a->sim->clock, (uint64_t)used);
    sim_clock_charge(&b->sim->clock, (uint64_t)used);
    if (i->slice - i->budget == used)
        return true;
    fprintf(stderr, "  retired: jit %" PRId64 ", interpreter %" PRId64 "\n", used,
            i->slice - i->budget);
    return false;
}

static void interrupts(struct side *a, struct side *b)
{
    static const uint8_t bits[] = {1, 5, 9};
    unsigned bit = bits[below(3)];
    bool level = chance(50);
    struct irq_line la = rv_hart_irq(a->vcpu, bit), lb = rv_hart_irq(b->vcpu, bit);

    irq_set(&la, level);
    irq_set(&lb, level);
    a->h->mie = b->h->mie = chance(40) ? 0x222 : 0;
}

static int fail(const struct side *a, const struct side *b, uint64_t seed, uint64_t chunk)
{
    (void)a;
    fprintf(stderr, "lockstep: seed %" PRIu64 ", chunk %" PRIu64 " differs. Last instructions:\n",
            seed, chunk);
    print_trail(b);
    fprintf(stderr, "lockstep: run again with: lockstep %" PRIu64 " %" PRIu64 "\n", seed, chunk + 1);
    return 1;
}

enum { CHUNKS_PER_PROGRAM = 400, CHUNKS_PER_SWEEP = 400 };

/* Some thousand instructions until the ring is translated, then no more than there is room for what they made. */
static uint64_t sweep_budget(uint64_t chunk)
{
    return chunk % CHUNKS_PER_SWEEP < 16 ? 4000 : below(100);
}

static int run(uint64_t seed, uint64_t chunks, const struct jit_options *options, bool verbose,
               bool fine, bool sweeps)
{
    static struct side a, b;
    static struct program p;
    int code = 0;

    p.sweeps = sweeps;
    rng_state = seed * 0x9e3779b97f4a7c15ull + 88172645463325252ull;
    unsigned vlen = (unsigned)RV_VLEN_MIN << (seed & 3);
    side_create(&a, true, options, vlen);
    side_create(&b, false, NULL, vlen);
    for (uint64_t chunk = 0; chunk < chunks && !code; chunk++) {
        if (chunk % (sweeps ? CHUNKS_PER_SWEEP : CHUNKS_PER_PROGRAM) == 0) {
            generate(&p, chance(30));
            set_up(&a, &p);
            set_up(&b, &p);
            fill_data(&a, &b);
            fill_sources(&a, &b);
            set_registers(&a, &b);
        }
        if (chance(20))
            interrupts(&a, &b);
        uint64_t budget = sweeps ? sweep_budget(chunk) : chance(50) ? below(64) : below(4000);
        bool same = true;
        if (fine && chunk + 1 == chunks) {
            for (unsigned n = 0; n < 4000 && same; n++)
                same = run_chunk(&a, &b, 0) && !compare_state(&a, &b);
        } else {
            same = run_chunk(&a, &b, budget);
        }
        if (!same || compare_state(&a, &b) ||
            ((sweeps || chunk % 8 == 0 || chunk + 1 == chunks) && compare_ram(&a, &b)))
            code = fail(&a, &b, seed, chunk);
    }
    struct rv_machine_stats st;
    rv_machine_get_stats(a.machine, &st);
    if (verbose || code)
        fprintf(stderr, "seed %" PRIu64 ": %" PRIu64 " translated, %" PRIu64 " interpreted, %" PRIu64
                " regions, %" PRIu64 " again, %" PRIu64 " traps, %" PRIu64 " invalidations\n", seed, st.jit_insns,
                st.interp_insns, st.translations, st.promotions, st.traps, st.invalidations);
    if (!code && chunks >= 1000 && options->tier == RV_JIT_AUTO && !st.promotions) {
        fprintf(stderr, "lockstep: seed %" PRIu64 ": nothing was translated again\n", seed);
        code = 1;
    }
    if (!code && chunks >= 1000 && st.jit_insns < st.interp_insns) {
        fprintf(stderr, "lockstep: seed %" PRIu64 ": most instructions were interpreted\n", seed);
        code = 1;
    }
    side_destroy(&a);
    side_destroy(&b);
    return code;
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    uint64_t chunks = argc > 2 ? strtoull(argv[2], NULL, 0) : 4000;
    const char *opts = argc > 3 ? argv[3] : "";
    struct jit_options options = {.threshold = 2,
                                  .host_mask = strchr(opts, 'b') ? UINT64_MAX : strchr(opts, 'x') ? X86_ALL_AVX512 : 0,
                                  .tier = strchr(opts, 'q') ? RV_JIT_QUICK : strchr(opts, 'a') ? RV_JIT_AUTO : RV_JIT_DEFAULT,
                                  .hot_insns = 1,
                                  .dump = strchr(opts, 'd') ? stderr : NULL};
    uint64_t rounds = strchr(opts, 'n') ? strtoull(strchr(opts, 'n') + 1, NULL, 0) : 1;

    for (uint64_t n = 0; n < rounds; n++) {
        int code = run(seed + n, chunks, &options, strchr(opts, 'v') != NULL, strchr(opts, 'f') != NULL,
                       strchr(opts, 's') != NULL);
        if (code)
            return code;
    }
    return 0;
}
