/* Random programs for lockstep: instructions of the tables, and items that belong together. */
#include "lockstep_priv.h"

void put(struct program *p, uint32_t word)
{
    if (p->n < CODE_SLOTS)
        p->code[p->n++] = word;
}

static unsigned any_reg(void)
{
    return below(8) ? below(R_FIRST_FIXED) : below(4);
}

uint32_t with_field(uint32_t word, uint32_t mask, unsigned pos, unsigned value)
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

/* mstatus.FS or VS off, and mostly on again: illegal instructions in between */
static void put_fp_state(struct program *p)
{
    unsigned shift = chance(50) ? 13 : 9;

    if (p->priv == RV_U)
        return;
    put(p, addi(1, 0, 3));
    put(p, enc_i(0x13, 1, 1, 1, (int)shift)); /* slli */
    put(p, csr(CSRRC, 0, 0x100, 1));
    for (unsigned i = below(6); i > 0; i--)
        put(p, shift == 9 ? vector_word(p) : addi(2, 2, 1));
    for (unsigned i = below(6); i > 0; i--)
        put_plain(p);
    if (chance(30))
        return; /* until the next time */
    put(p, addi(1, 0, 1 + (int)below(3)));
    put(p, enc_i(0x13, 1, 1, 1, (int)shift));
    put(p, csr(CSRRS, 0, 0x100, 1));
}

void put_li(struct program *p, unsigned rd, uint32_t value)
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

static void put_pointer(struct program *p)
{
    unsigned reg = R_PTR0 + below(3);

    if (chance(70))
        put(p, enc_i(0x13, 4, reg, reg, (int)(rnd() & 0x7f8))); /* xori */
    else
        put(p, addi(reg, reg, chance(50) ? 1 : -1));
    if (p->priv != RV_U && chance(10)) { /* to VA_OTHER, or back */
        put(p, (uint32_t)(VA_OTHER - VA_BASE) | 6u << 7 | 0x37);
        put(p, enc_i(0x33, 4, reg, reg, 6)); /* xor */
    }
    if (chance(30)) { /* and home again */
        put_li(p, reg, (uint32_t)(program_base(p) + (DATA_PAGE + below(DATA_PAGES)) * GUEST_PAGE_SIZE +
                                  (chance(50) ? 4096 - below(64) * 8 : below(512) * 8)));
        put(p, 0x0800003b | reg << 7 | reg << 15); /* zext.w */
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
        {3, put_csr}, {1, put_fp_state}, {1, put_smc}, {1, put_remap}, {1, put_superpage}, {2, put_satp},
        {2, put_status}, {1, put_pmp}, {6, put_pointer},
        {1, put_device}, {2, put_lrsc}, {1, put_system}, {6, put_frame},
        {4, put_computing}, {3, put_stream}, {8, put_vector},
    };
    unsigned total = 0, pick;

    if (p->vectors && chance(50)) {
        put_vector(p);
        return;
    }
    if (p->vectors && p->priv != RV_M && chance(1)) {
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

void generate(struct program *p, enum rv_priv priv, bool vectors)
{
    unsigned length = 100 + below(CODE_SLOTS - 200);

    p->n = 0;
    p->priv = priv;
    p->vectors = vectors && chance(40);
    p->asids_again = chance(30);
    p->isa = all_extensions(RV_VLEN_MIN); /* decoding does not depend on it */
    while (p->n < length)
        (p->sweeps ? put_vector_sweep : put_item)(p);
    put(p, enc_j(0, span(p->n, 0)));
    while (p->n < CODE_SLOTS)
        p->code[p->n++] = enc_j(0, -4); /* runs back to the ring's end */
}
