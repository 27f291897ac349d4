/* Vector loads and stores of segments: fields side by side in memory, a register group each in the state.
 *
 *   16 bytes of a field = those of its segments, shuffled out of up to `fields` pieces of 16 bytes of memory, or-ed
 *   16 bytes of memory  = likewise, out of the fields
 *
 * rt.k_segment has the shuffles: a table for each number of fields and size of elements. All is in the slot's range, so
 * what is loaded may be more than is wanted; what is stored under a length goes by the stack (copy_part). */
#include "emit_vec.h"

enum { PIECE = 16, NOTHING = 0x80, VMOVQ_LOAD = X86_OP(0xf3, 1, 0x7e), VPBLENDVB = X86_OP(0x66, 3, 0x4c) };

/* The byte of piece `from` that becomes byte `at` of piece `to`, or NOTHING; pieces of memory of `fields` pieces, or those of
 * the fields. */
static uint8_t source_of(unsigned fields, unsigned size, bool to_state, unsigned to, unsigned from, unsigned at)
{
    unsigned byte = at & ((1u << size) - 1);

    if (to_state) {
        unsigned offset = (((at >> size) * fields + to) << size) + byte;
        return offset / PIECE == from ? (uint8_t)(offset % PIECE) : NOTHING;
    }
    unsigned element = (to * PIECE + at) >> size;
    return element % fields == from ? (uint8_t)((element / fields << size) + byte) : NOTHING;
}

/* Has piece `from` anything of the first `bytes` of piece `to`? */
static bool contributes(unsigned fields, unsigned size, bool to_state, unsigned to, unsigned from, unsigned bytes)
{
    for (unsigned at = 0; at < bytes; at += 1u << size)
        if (source_of(fields, size, to_state, to, from, at) != NOTHING)
            return true;
    return false;
}

uint8_t *x86_vec_segment_table(struct x86_asm *a, unsigned fields, unsigned size, bool to_state)
{
    uint8_t *start = a->p;

    for (unsigned to = 0; to < fields; to++)
        for (unsigned from = 0; from < fields; from++)
            for (unsigned at = 0; at < PIECE; at++)
                x86_byte(a, source_of(fields, size, to_state, to, from, at));
    return start;
}

/* One instruction's shape */
struct segment {
    const struct ir_vec *v; /* b: bytes from a field's group in the state to the next */
    bool to_state;
    unsigned base;  /* register: address in memory, or on the stack */
    unsigned bytes; /* of a field */
};

static struct x86_mem of_field(const struct segment *s, unsigned field, unsigned at)
{
    return emit_state((s->to_state ? s->v->d : s->v->a) + (int32_t)field * s->v->b + (int32_t)at);
}

static struct x86_mem of_memory(const struct segment *s, unsigned piece, unsigned at)
{
    return x86_at(s->base, (int32_t)(at * s->v->fields + piece * PIECE));
}

/* What there is of a piece of memory: the last one may be half. */
static unsigned memory_bytes(const struct segment *s, unsigned piece)
{
    unsigned all = s->bytes * s->v->fields;

    return all - piece * PIECE >= PIECE ? PIECE : all - piece * PIECE;
}

static void load_piece(struct emit *e, const struct segment *s, unsigned xmm, unsigned from, unsigned at)
{
    if (!s->to_state)
        x86_vec_load(e, 0, xmm, of_field(s, from, at));
    else if (memory_bytes(s, from) == PIECE)
        x86_vec_load(e, 0, xmm, of_memory(s, from, at));
    else
        x86_yrm(&e->a, VMOVQ_LOAD, 0, 0, xmm, 0, of_memory(s, from, at));
}

/* xmm0 = piece `to` */
static void shuffle(struct emit *e, const struct segment *s, unsigned to, unsigned at)
{
    const struct ir_vec *v = s->v;
    unsigned wanted = s->to_state && s->bytes < PIECE ? s->bytes : s->to_state ? PIECE : memory_bytes(s, to);
    const uint8_t *table = e->rt->k_segment[s->to_state][v->fields][v->size];
    unsigned xmm = XMM0;

    for (unsigned from = 0; from < v->fields; from++) {
        if (!contributes(v->fields, v->size, s->to_state, to, from, wanted))
            continue;
        load_piece(e, s, xmm, from, at);
        x86_yrm(&e->a, VPSHUFB, 0, 0, xmm, xmm, x86_at_rip(table + (to * v->fields + from) * PIECE));
        if (xmm == XMM1)
            x86_yrr(&e->a, VPOR, 0, 0, XMM0, XMM0, XMM1);
        xmm = XMM1;
    }
}

static void put(struct emit *e, struct x86_mem m, unsigned bytes)
{
    if (bytes == PIECE)
        x86_vec_store(e, 0, XMM0, m);
    else
        x86_yrm(&e->a, VMOVD_STORE, 1, 0, XMM0, 0, m);
}

/* Lanes that are not loaded keep what they were. */
static void keep_lanes(struct emit *e, const struct segment *s, unsigned field, unsigned at)
{
    x86_vec_load(e, 0, XMM1, of_field(s, field, at));
    x86_yrr(&e->a, VPBLENDVB, 0, 0, XMM0, XMM1, XMM0);
    x86_byte(&e->a, XMM2 << 4);
}

static void load_fields(struct emit *e, const struct segment *s)
{
    x86_vec_borrow(e, s->v->masked);
    for (unsigned at = 0; at < s->bytes; at += PIECE) {
        struct part p = {s->v, at, 0, MASK_V0};

        if (s->v->masked)
            x86_vec_lanes(e, &p);
        for (unsigned field = 0; field < s->v->fields; field++) {
            shuffle(e, s, field, at);
            if (s->v->masked)
                keep_lanes(e, s, field, at);
            put(e, of_field(s, field, at), s->bytes < PIECE ? s->bytes : PIECE);
        }
    }
    x86_vec_give_back(e, s->v->masked);
}

static void store_fields(struct emit *e, const struct segment *s)
{
    for (unsigned at = 0; at < s->bytes; at += PIECE)
        for (unsigned to = 0; to * PIECE < s->bytes * s->v->fields && to < s->v->fields; to++) {
            shuffle(e, s, to, at);
            put(e, of_memory(s, to, at), memory_bytes(s, to));
        }
}

/* Of a few bytes: one after the other. */
static void move_elements(struct emit *e, const struct segment *s)
{
    static const uint32_t load[] = {X86_MOVZX8, X86_MOVZX16, X86_MOV_LOAD}, store[] = {0, X86_MOV_STORE16, X86_MOV_STORE};
    unsigned size = s->v->size, fields = s->v->fields;

    for (unsigned n = 0; n < s->bytes * fields >> size; n++) {
        struct x86_mem memory = x86_at(s->base, (int32_t)(n << size)), field = of_field(s, n % fields, n / fields << size);

        x86_rm(&e->a, load[size], 0, RAX, s->to_state ? memory : field);
        if (size == 0)
            x86_rm8(&e->a, X86_MOV_STORE8, RAX, s->to_state ? field : memory);
        else
            x86_rm(&e->a, store[size], 0, RAX, s->to_state ? field : memory);
    }
}

void x86_vec_segments(struct emit *e, const struct ir_vec *v, bool to_state)
{
    struct segment s = {v, to_state, RCX, (unsigned)v->bytes / v->fields};

    if (s.bytes < X86_VEC_MIN_FIELD)
        move_elements(e, &s);
    else if (to_state)
        load_fields(e, &s);
    else
        store_fields(e, &s);
}

/* rcx = address of what there is room for, vl segments are stored. */
static void store_some(struct emit *e, const struct ir_vec *v)
{
    struct segment s = {v, false, RDX, (unsigned)v->bytes / v->fields};
    int32_t room = (v->bytes + PIECE - 1) & -PIECE;

    x86_push(&e->a, RDX);
    x86_rm(&e->a, X86_LEA, 1, RSP, x86_at(RSP, -room));
    x86_mov(&e->a, RDX, RSP);
    store_fields(e, &s);
    x86_load(&e->a, RAX, emit_state(e->t->vl));
    x86_imul_rri(&e->a, 0, RAX, RAX, v->fields << v->size);
    emit_call(e, e->rt->copy_part[false]);
    x86_rm(&e->a, X86_LEA, 1, RSP, x86_at(RSP, room));
    x86_pop(&e->a, RDX);
}

void x86_vec_some_segments(struct emit *e, const struct ir_vec *v, bool to_state)
{
    struct ir_vec some = *v;

    if (!to_state) {
        store_some(e, v);
        return;
    }
    x86_push(&e->a, RCX);
    x86_vec_length_mask(e, (unsigned)v->bytes / v->fields >> v->size, v->masked ? v->mask : 0);
    x86_pop(&e->a, RCX);
    some.masked = true;
    some.mask = e->t->vmask;
    x86_vec_segments(e, &some, true);
}
