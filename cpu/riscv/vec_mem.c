/* Vector loads and stores: unit-stride, strided, indexed, segments, masks, whole registers, fault-only-first.
 *
 *   exec_vle32_v -> legal? -> elements in order: pages in the soft TLB as blocks, the rest one by one by
 *   rv_load and rv_store -> a trap leaves vstart at its element (V 17)
 *
 * One host access or several for a block: each aligned element is in one of them, and none is written twice. */
#include "mem.h"
#include "vec.h"

/* Where the elements of one instruction are. */
struct vec_access {
    uint64_t base;
    uint64_t stride;         /* bytes from an element (a segment) to the next */
    const void *index;       /* or a group of offsets */
    unsigned index_size;
    unsigned size;           /* log2 of an element's bytes */
    unsigned nr_fields;      /* of a segment */
    unsigned field_bytes;    /* from a field's register group to the next */
    uint8_t *group;
    bool store;
    gva_t page;              /* of the last element: host is where its byte 0 is. NO_PAGE: none */
    uint8_t *host;
};
#define NO_PAGE 1ull /* no address of a page */

static SIM_COLD enum rv_exec trap_at(struct rv_hart *h, unsigned element)
{
    h->vstart = element;
    h->vs_dirty = 1;
    rv_vec_sync(h);
    return RV_TRAP;
}

static bool transfer(struct rv_hart *h, gva_t va, void *reg, unsigned size, bool store)
{
    uint64_t value;

    if (store)
        return rv_store(h, va, 1u << size, vec_get(reg, 0, size));
    if (!rv_load(h, va, 1u << size, &value))
        return false;
    vec_put(reg, 0, size, value);
    return true;
}

/* Host address of va if its page is in the soft TLB. */
static uint8_t *resident(struct rv_hart *h, gva_t va, bool store)
{
    const struct rv_tlb_entry *set = rv_tlb_way0(h, va);
    gva_t page = va & GUEST_PAGE_MASK;

    for (unsigned way = 0; way < RV_TLB_WAYS; way++)
        if ((store ? set[way].tag_w : set[way].tag_r) == page)
            return (uint8_t *)(uintptr_t)(set[way].addend + va);
    return NULL;
}

/* memcpy that never writes a byte twice: another hart may write it in between. */
static void copy_once(uint8_t *to, const uint8_t *from, uint64_t n)
{
    sim_guest_races_begin();
    for (; n >= 32; n -= 32, to += 32, from += 32)
        memcpy(to, from, 32);
    for (unsigned k = 16; k; k /= 2) {
        if (!(n & k))
            continue;
        switch (k) {
        case 16: memcpy(to, from, 16); break;
        case 8: memcpy(to, from, 8); break;
        case 4: memcpy(to, from, 4); break;
        case 2: memcpy(to, from, 2); break;
        default: *to = *from; break;
        }
        to += k;
        from += k;
    }
    sim_guest_races_end();
}

/* Elements [start, end) of an array. */
static enum rv_exec contiguous(struct rv_hart *h, const struct vec_access *a, unsigned start, unsigned end)
{
    uint64_t at = (uint64_t)start << a->size, stop = (uint64_t)end << a->size;

    while (at < stop) {
        gva_t va = a->base + at;
        uint64_t n = GUEST_PAGE_SIZE - (va & ~GUEST_PAGE_MASK);

        n = (n < stop - at ? n : stop - at) >> a->size << a->size;
        uint8_t *host = n ? resident(h, va, a->store) : NULL;
        if (host && a->store) {
            copy_once(host, a->group + at, n);
        } else if (host) {
            copy_once(a->group + at, host, n);
        } else {
            if (!transfer(h, va, a->group + at, a->size, a->store))
                return trap_at(h, (unsigned)(at >> a->size));
            n = 1u << a->size;
        }
        at += n;
    }
    return vec_end(h);
}

static gva_t element_address(const struct vec_access *a, unsigned n)
{
    return a->base + (a->index ? vec_get(a->index, n, a->index_size) : n * a->stride);
}

static void *field_register(const struct vec_access *a, unsigned field, unsigned n)
{
    return a->group + field * a->field_bytes + ((size_t)n << a->size);
}

static void copy_element(void *to, const void *from, unsigned size)
{
    sim_guest_races_begin();
    VEC_SIZED(size, memcpy(to, from, sizeof(T));)
    sim_guest_races_end();
}

/* By way of the last element's page, or as any access. A slow one may have left guest code (a device), and then pages
 * may have gone: it forgets the page before, and takes its own as of after. */
static bool transfer_near(struct rv_hart *h, struct vec_access *a, gva_t va, void *reg)
{
    uint64_t offset = va & ~GUEST_PAGE_MASK;

    if (SIM_LIKELY(va - offset == a->page && offset + (1u << a->size) <= GUEST_PAGE_SIZE)) {
        copy_element(a->store ? a->host + offset : reg, a->store ? reg : a->host + offset, a->size);
        return true;
    }
    a->page = NO_PAGE;
    if (!transfer(h, va, reg, a->size, a->store))
        return false;
    a->host = resident(h, va - offset, a->store);
    if (a->host)
        a->page = va - offset;
    return true;
}

static bool transfer_segment(struct rv_hart *h, struct vec_access *a, unsigned n)
{
    gva_t va = element_address(a, n);

    for (unsigned f = 0; f < a->nr_fields; f++)
        if (!transfer_near(h, a, va + ((uint64_t)f << a->size), field_register(a, f, n)))
            return false;
    return true;
}

/* --- elements whose bytes are all there: no more than two pages that are neighbours in the host, too --- */

/* Host address of element `start`, or NULL. */
static uint8_t *reachable(const struct vec *c, const struct vec_access *a)
{
    if (a->index || a->stride >= GUEST_PAGE_SIZE || c->start >= c->vl)
        return NULL;
    gva_t first = element_address(a, c->start);
    uint64_t last = (c->vl - 1 - c->start) * a->stride + ((uint64_t)a->nr_fields << a->size) - 1;
    if (last >= GUEST_PAGE_SIZE || first + last < first)
        return NULL;
    uint8_t *host = resident(c->h, first, a->store), *end = host ? resident(c->h, first + last, a->store) : NULL;
    return end && (uint64_t)(end - host) == last ? host : NULL;
}

/* With constants for the last three: a loop that the compiler knows all about. */
SIM_INLINE void move_fields(const struct vec *c, const struct vec_access *a, uint8_t *memory, unsigned size,
                            unsigned nr_fields, bool store)
{
    uint64_t stride = a->stride, field_bytes = a->field_bytes, one = 1u << size;
    uint8_t *reg = a->group + ((size_t)c->start << size);
    const uint8_t *mask = c->all ? NULL : c->v0;

    for (unsigned n = c->start, end = c->vl; n < end; n++, memory += stride, reg += one) {
        if (mask && !vec_bit(mask, n))
            continue;
        for (unsigned f = 0; f < nr_fields; f++) {
            uint8_t *r = reg + f * field_bytes, *m = memory + f * one;
            memcpy(store ? m : r, store ? r : m, one);
        }
    }
}

SIM_INLINE void move_sized(const struct vec *c, const struct vec_access *a, uint8_t *host, unsigned size, bool store)
{
    switch (a->nr_fields) {
    case 1: move_fields(c, a, host, size, 1, store); break;
    case 2: move_fields(c, a, host, size, 2, store); break;
    case 3: move_fields(c, a, host, size, 3, store); break;
    case 4: move_fields(c, a, host, size, 4, store); break;
    default: move_fields(c, a, host, size, a->nr_fields, store); break;
    }
}

static void move_elements(const struct vec *c, const struct vec_access *a, uint8_t *host)
{
    sim_guest_races_begin();
    switch (a->size) {
    case VEC_8: a->store ? move_sized(c, a, host, VEC_8, true) : move_sized(c, a, host, VEC_8, false); break;
    case VEC_16: a->store ? move_sized(c, a, host, VEC_16, true) : move_sized(c, a, host, VEC_16, false); break;
    case VEC_32: a->store ? move_sized(c, a, host, VEC_32, true) : move_sized(c, a, host, VEC_32, false); break;
    default: a->store ? move_sized(c, a, host, VEC_64, true) : move_sized(c, a, host, VEC_64, false); break;
    }
    sim_guest_races_end();
}

static enum rv_exec elements(const struct vec *c, struct vec_access *a)
{
    uint8_t *host = reachable(c, a);

    if (host) {
        move_elements(c, a, host);
        return vec_end(c->h);
    }
    VEC_FOR (c, n)
        if (!transfer_segment(c->h, a, n))
            return trap_at(c->h, n);
    return vec_end(c->h);
}

static bool is_array(const struct vec *c, const struct vec_access *a)
{
    return c->all && a->nr_fields == 1 && !a->index && a->stride == 1ull << a->size;
}

static enum rv_exec run(const struct vec *c, struct vec_access *a)
{
    return is_array(c, a) ? contiguous(c->h, a, c->start, c->vl) : elements(c, a);
}

/* --- legality (V 7) --- */

static bool fields_ok(const struct rv_insn *i, int emul)
{
    unsigned regs = (i->rs3 + 1u) * vec_regs(emul);

    return vec_aligned(i->rd, emul) && regs <= 8 && i->rd + regs <= 32;
}

/* The group (of emul) that the instruction names in rd, nf and its elements' size. */
static void describe(const struct vec *c, struct vec_access *a, unsigned size, int emul, bool store)
{
    *a = (struct vec_access){.base = c->h->x[c->i->rs1],
                             .stride = (c->i->rs3 + 1ull) << size,
                             .size = size,
                             .nr_fields = c->i->rs3 + 1u,
                             .field_bytes = vec_regs(emul) * (unsigned)c->h->vlenb,
                             .group = vec_reg(c->h, c->i->rd),
                             .store = store,
                             .page = NO_PAGE};
}

static bool begin_plain(struct vec *c, struct rv_hart *h, const struct rv_insn *i, unsigned size, bool store,
                        struct vec_access *a)
{
    if (!vec_begin(c, h, i))
        return false;
    int emul = (int)size - (int)c->sew + c->lmul;
    if (!vec_emul_ok(emul) || !fields_ok(i, emul) || !(store || vec_not_mask(c, i->rd)))
        return false;
    describe(c, a, size, emul, store);
    return true;
}

static bool index_overlaps_ok(const struct vec *c, unsigned size, int emul)
{
    for (unsigned f = 0; f <= c->i->rs3; f++) {
        unsigned reg = c->i->rd + f * vec_regs(c->lmul);

        if (c->i->rs3 && !vec_apart(reg, vec_regs(c->lmul), c->i->rs2, vec_regs(emul)))
            return false;
        if (size != c->sew && !(size > c->sew && reg == c->i->rs2) &&
            !vec_overlap_ok(reg, c->lmul, c->i->rs2, emul))
            return false;
    }
    return true;
}

/* Of a store, vd is a source too. (The other fields of a segment would be as well: reserved, QEMU does it.) */
static bool index_apart(const struct vec *c, unsigned size, int emul)
{
    return size == c->sew || vec_apart(c->i->rd, vec_regs(c->lmul), c->i->rs2, vec_regs(emul));
}

static bool begin_indexed(struct vec *c, struct rv_hart *h, const struct rv_insn *i, unsigned size, bool store,
                          struct vec_access *a)
{
    if (!vec_begin(c, h, i))
        return false;
    int emul = (int)size - (int)c->sew + c->lmul;
    if (!vec_emul_ok(emul) || !vec_source_ok(c, i->rs2, emul) || !fields_ok(i, c->lmul) ||
        !vec_not_mask(c, i->rd) || !(store ? index_apart(c, size, emul) : index_overlaps_ok(c, size, emul)))
        return false;
    describe(c, a, c->sew, c->lmul, store);
    a->index = vec_reg(h, i->rs2);
    a->index_size = size;
    return true;
}

/* --- the classes --- */

static enum rv_exec unit(struct rv_hart *h, const struct rv_insn *i, unsigned size, bool store)
{
    struct vec_access a;
    struct vec c;

    return begin_plain(&c, h, i, size, store, &a) ? run(&c, &a) : rv_illegal(h, i);
}

static enum rv_exec strided(struct rv_hart *h, const struct rv_insn *i, unsigned size, bool store)
{
    struct vec_access a;
    struct vec c;

    if (!begin_plain(&c, h, i, size, store, &a))
        return rv_illegal(h, i);
    a.stride = h->x[i->rs2];
    return run(&c, &a);
}

static enum rv_exec indexed(struct rv_hart *h, const struct rv_insn *i, unsigned size, bool store)
{
    struct vec_access a;
    struct vec c;

    return begin_indexed(&c, h, i, size, store, &a) ? run(&c, &a) : rv_illegal(h, i);
}

/* As many bytes as hold vl bits. */
static enum rv_exec mask(struct rv_hart *h, const struct rv_insn *i, bool store)
{
    struct vec_access a;
    struct vec c;

    if (!vec_begin(&c, h, i))
        return rv_illegal(h, i);
    describe(&c, &a, VEC_8, 0, store);
    return contiguous(h, &a, c.start, (c.vl + 7) / 8);
}

/* Neither vtype nor vl counts. */
static enum rv_exec whole(struct rv_hart *h, const struct rv_insn *i, unsigned size, unsigned nr, bool store)
{
    struct vec c = {.h = h, .i = i};
    struct vec_access a;

    if (i->rd & (nr - 1))
        return rv_illegal(h, i);
    describe(&c, &a, size, 0, store);
    return contiguous(h, &a, (unsigned)h->vstart, (unsigned)(nr * h->vlenb >> size));
}

/* --- fault-only-first (V 7.7) --- */

/* Can [va, va + len) be read as RAM? Leaves the trap if not. */
static bool readable(struct rv_hart *h, gva_t va, uint64_t len)
{
    while (len) {
        uint64_t n = GUEST_PAGE_SIZE - (va & ~GUEST_PAGE_MASK);
        gpa_t gpa;

        n = n < len ? n : len;
        if (!resident(h, va, false)) {
            h->trap_cause = RV_EXC_LOAD_ACCESS; /* a device */
            if (!rv_translate(h, va, (unsigned)n, RV_LOAD, &gpa) || !resident(h, va, false))
                return false;
        }
        va += n;
        len -= n;
    }
    return true;
}

/* Elements but the first end the vector where they cannot be read. */
static enum rv_exec first_fault(const struct vec *c, struct vec_access *a)
{
    struct rv_hart *h = c->h;

    VEC_FOR (c, n) {
        if (n && !readable(h, element_address(a, n), a->stride)) {
            if (h->trap_cause >= RV_CAUSE_WAIT)
                return trap_at(h, n);
            h->vl = n;
            h->vstart = 0;
            rv_vec_sync(h);
            break;
        }
        if (!transfer_segment(h, a, n))
            return trap_at(h, n);
    }
    return vec_end(h);
}

static enum rv_exec unit_first_fault(struct rv_hart *h, const struct rv_insn *i, unsigned size)
{
    struct vec_access a;
    struct vec c;

    if (!begin_plain(&c, h, i, size, false, &a))
        return rv_illegal(h, i);
    gva_t last = a.base + ((uint64_t)c.vl << size) - 1;
    if (is_array(&c, &a) && c.vl && last - a.base < GUEST_PAGE_SIZE && resident(h, a.base, false) &&
        resident(h, last, false))
        return contiguous(h, &a, c.start, c.vl);
    return first_fault(&c, &a);
}

/* --- the instructions --- */

#define VEC_ACCESS(_op, _call)                                                                     \
    enum rv_exec exec_##_op(struct rv_hart *h, const struct rv_insn *i)                            \
    {                                                                                              \
        return _call;                                                                              \
    }
#define VEC_SIZE(_bits)                                                                            \
    VEC_ACCESS(vle##_bits##_v, unit(h, i, VEC_##_bits, false))                                     \
    VEC_ACCESS(vse##_bits##_v, unit(h, i, VEC_##_bits, true))                                      \
    VEC_ACCESS(vle##_bits##ff_v, unit_first_fault(h, i, VEC_##_bits))                              \
    VEC_ACCESS(vlse##_bits##_v, strided(h, i, VEC_##_bits, false))                                 \
    VEC_ACCESS(vsse##_bits##_v, strided(h, i, VEC_##_bits, true))                                  \
    VEC_ACCESS(vluxei##_bits##_v, indexed(h, i, VEC_##_bits, false))                               \
    VEC_ACCESS(vloxei##_bits##_v, indexed(h, i, VEC_##_bits, false))                               \
    VEC_ACCESS(vsuxei##_bits##_v, indexed(h, i, VEC_##_bits, true))                                \
    VEC_ACCESS(vsoxei##_bits##_v, indexed(h, i, VEC_##_bits, true))                                \
    VEC_ACCESS(vl1re##_bits##_v, whole(h, i, VEC_##_bits, 1, false))                               \
    VEC_ACCESS(vl2re##_bits##_v, whole(h, i, VEC_##_bits, 2, false))                               \
    VEC_ACCESS(vl4re##_bits##_v, whole(h, i, VEC_##_bits, 4, false))                               \
    VEC_ACCESS(vl8re##_bits##_v, whole(h, i, VEC_##_bits, 8, false))

VEC_SIZE(8)
VEC_SIZE(16)
VEC_SIZE(32)
VEC_SIZE(64)
VEC_ACCESS(vs1r_v, whole(h, i, VEC_8, 1, true))
VEC_ACCESS(vs2r_v, whole(h, i, VEC_8, 2, true))
VEC_ACCESS(vs4r_v, whole(h, i, VEC_8, 4, true))
VEC_ACCESS(vs8r_v, whole(h, i, VEC_8, 8, true))
VEC_ACCESS(vlm_v, mask(h, i, false))
VEC_ACCESS(vsm_v, mask(h, i, true))
