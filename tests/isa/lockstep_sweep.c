/* Sweeps: each vector instruction once, on one type that most of them can have.
 *
 *   type and vl, v0 | source groups v16 and v24, x7, f7 | instruction on v8 | its group to memory, its flags to a sum */
#include "lockstep_priv.h"

/* What is in source pages: numbers of one kind, for one that is not a number sends a whole piece to the interpreter. */
enum { INDICES, /* of 8, 16, 32 and 64 bits, a page each */
       CALM = 4, CALM_TOO, SPARSE, SMALL,
       LARGE,   /* elements of any size whose highest bit is set: what is neutral of an unsigned minimum is larger */
       POSITIVE, /* ... is not, and that are not 0: likewise of a signed one */
       EDGES,   /* the least and largest of all sizes, 0, 1 and -1: what quotients and products go wrong with */
       PITFALL, /* every other quad a signalling NaN as a double, and its lower half as a float: MASKS leaves them out */
       MASKS,
       NR_KINDS };
_Static_assert((int)NR_KINDS == (int)SOURCE_PAGES, "a page each");

/* R_SOURCE = byte `at` of the page of that kind, less than 2048 */
static void put_source_address(struct program *p, unsigned kind, unsigned at)
{
    put(p, (uint32_t)(VA_ALIAS + (SOURCE_PAGE + kind) * GUEST_PAGE_SIZE) | R_SOURCE << 7 | 0x37); /* lui */
    put(p, addi(R_SOURCE, R_SOURCE, (int)at));
}

/* A source group anew, or all there is in the end are results of results. */
static void put_sweep_source(struct program *p, unsigned group, unsigned kind)
{
    put_source_address(p, kind, kind == PITFALL ? 0 : below(256) * 8);
    put(p, 0xe2800007 | R_SOURCE << 15 | group << 7); /* vl8re8.v */
}

static unsigned source_kind(unsigned group, unsigned sew)
{
    if (group == 24 && chance(40))
        return INDICES + (chance(60) ? sew : 1);
    if (group == 24 && chance(20))
        return SMALL; /* as a mask: many in a row */
    return chance(40) ? CALM : below(NR_KINDS);
}

/* Both groups of a kind, or each of its own. */
static void put_sweep_sources(struct program *p, unsigned sew)
{
    unsigned both = chance(20) ? LARGE : chance(15) ? EDGES : chance(12) ? PITFALL : NR_KINDS;

    for (unsigned group = both == PITFALL ? 8 : 16; group <= 24; group += 8)
        if (both != NR_KINDS)
            put_sweep_source(p, group, both);
        else if (chance(70))
            put_sweep_source(p, group, source_kind(group, sew));
    if (both == PITFALL && chance(50)) {
        put_source_address(p, PITFALL, 8);
        put(p, enc_i(0x07, 2, R_SCALAR, R_SOURCE, 0)); /* flw */
    }
    if (both == PITFALL || chance(20)) {
        put_source_address(p, MASKS, (both == PITFALL ? chance(50) * 2 : below(8)) * 256); /* every other, or none */
        put(p, 0x02800007 | R_SOURCE << 15); /* vl1re8.v v0 */
    }
}

/* x7 is a distance or anything, f7 a number or none. */
static void put_sweep_scalars(struct program *p)
{
    if (chance(50))
        put(p, addi(R_SCALAR, 0, (int)below(chance(50) ? 8 : 300) - (chance(90) ? 0 : 300)));
    if (chance(50)) {
        put_source_address(p, CALM + below(3), below(256) * 8);
        put(p, enc_i(0x07, 2 + below(2), R_SCALAR, R_SOURCE, 0)); /* flw, fld */
    }
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
    if (chance(30))
        put(p, csr(CSRRWI, 0, 10, below(4))); /* vxrm */
    put_sweep_scalars(p);
    put_sweep_sources(p, vtype >> 3 & 3);
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
    enum { OPIVI = 3 };
    uint32_t word = e->match;
    bool memory = (word & 0x7f) != 0x57;
    unsigned vd = chance(80) ? 8 : below(4) * 8, form = word >> 12 & 7;

    word = with_field(word, e->mask, 7, rv_writes_x(rv_op_info[e->op].flags) ? 6 : vd);
    word = with_field(word, e->mask, 15, memory          ? R_PTR0 + below(3)
                                         : form >= 4     ? R_SCALAR
                                         : form != OPIVI ? 24
                                                         : below(chance(50) ? 4 : 32));
    unsigned stride = chance(80) ? R_SCALAR : R_SOURCE, index = chance(70) ? 24 : 16;
    word = with_field(word, e->mask, 20, !memory ? 16 : (word >> 26 & 3) == 2 ? stride : index);
    if (memory && !(e->mask >> 29) && chance(50))
        word |= below(8) << 29;
    if (vd == 0 && !(e->mask >> 25 & 1) && chance(80)) /* legal */
        word |= 1u << 25;
    return e->mask >> 25 & 1 || chance(35) ? word : word | 1u << 25;
}

/* Under a mask that leaves some out, elements that hide nothing but what is neutral in their place. */
static uint32_t put_sweep_reduction(struct program *p, const struct rv_encoding *e)
{
    unsigned kind = chance(60) ? LARGE : POSITIVE;

    for (unsigned group = 16; group <= 24; group += 8)
        put_sweep_source(p, group, kind);
    put_source_address(p, MASKS, below(8) * 256);
    put(p, 0x02800007 | R_SOURCE << 15); /* vl1re8.v v0 */
    return e->match | 8u << 7 | 24u << 15 | 16u << 20;
}

static bool is_reduction(const struct rv_encoding *e)
{
    size_t length = strlen(rv_op_info[e->op].name);

    return length > 3 && !strcmp(rv_op_info[e->op].name + length - 3, ".vs");
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
void put_vector_sweep(struct program *p)
{
    const struct rv_decode_table *t = &rv_decode_table32;
    unsigned vtype = sweep_type(), since = 0, nr = 0;

    for (unsigned n = 0; n < t->nr_encs && p->n < CODE_SLOTS - 50; n++) {
        const struct rv_encoding *e = &t->enc[n];

        if (!(rv_op_info[e->op].flags & RV_OPF_VECTOR) || rv_op_info[e->op].flags & RV_OPF_SYSTEM)
            continue;
        if (since++ % 8 == 0)
            put_sweep_type(p, vtype);
        uint32_t word = is_reduction(e) && chance(50) ? put_sweep_reduction(p, e) : sweep_word(e);
        put(p, word);
        if ((word & 0x7f) != 0x27)
            put_sweep_result(p, e->op, word, nr++);
    }
}

/* Eight bytes of elements of one size */
static uint64_t edges(void)
{
    unsigned bits = 8u << below(4);
    uint64_t least = 1ull << (bits - 1), value = 0;
    const uint64_t edge[] = {0, 1, least - 1, least, UINT64_MAX >> (64 - bits)};

    for (unsigned at = 0; at < 64; at += bits)
        value |= edge[below(SIM_ARRAY_LEN(edge))] << at;
    return value;
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
    static const uint64_t masks[] = {0x5555555555555555, 0x3333333333333333, 0, UINT64_MAX, 0x0f0f0f0f0f0f0f0f, 1,
                                     0x8000000000000000, 0xaaaaaaaaaaaaaaaa};
    unsigned size = kind < CALM ? kind - INDICES : 3;

    for (unsigned n = 0; n < 512; n++)
        page[n] = kind != SPARSE ? calm[below(SIM_ARRAY_LEN(calm))] : chance(90) ? 0 : loud[below(SIM_ARRAY_LEN(loud))];
    for (unsigned n = 0; n < 512; n++)
        if (kind == LARGE)
            page[n] = rnd() | 0x8080808080808080;
        else if (kind == EDGES)
            page[n] = edges();
        else if (kind == POSITIVE)
            page[n] = (rnd() & 0x7f7f7f7f7f7f7f7f) | 0x0101010101010101;
        else if (kind == MASKS)
            page[n] = masks[n / 32 % SIM_ARRAY_LEN(masks)];
        else if (kind == PITFALL && n % 2)
            page[n] = 0x7ff000007fa00000;
    for (unsigned n = 0; n < 4096u >> size && (kind < CALM || kind == SMALL); n++) {
        uint64_t value = kind == SMALL ? (uint64_t)(int64_t)((int)below(256) - 128)
                         : chance(25)  ? 1u << below(11)
                                       : below(1u << below(11));
        memcpy((char *)page + (n << size), &value, 1u << size);
    }
}

void fill_sources(struct side *a, struct side *b)
{
    uint64_t page[512];

    for (unsigned n = 0; n < SOURCE_PAGES; n++) {
        fill_source(page, n);
        poke(a, (SOURCE_PAGE + n) * GUEST_PAGE_SIZE, page, sizeof page);
        poke(b, (SOURCE_PAGE + n) * GUEST_PAGE_SIZE, page, sizeof page);
    }
}
