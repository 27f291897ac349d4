/* The scan that tells simple LR/SC sequences from those that must run alone (lrsc.h). */
#include "lrsc.h"

#include "mem.h"

enum rv_lrsc rv_lrsc_step(const struct rv_insn *i)
{
    const unsigned unsafe =
        RV_OPF_LOAD | RV_OPF_STORE | RV_OPF_ATOMIC | RV_OPF_SYSTEM | RV_OPF_JUMP;

    switch (i->op) {
    case RV_OP_sc_w:
    case RV_OP_sc_d:
        return RV_LRSC_SC;
    case RV_OP_wrs_nto:
    case RV_OP_wrs_sto:
        return RV_LRSC_WRS;
    case RV_OP_illegal:
        return RV_LRSC_COMPLEX;
    default:
        break;
    }
    return rv_op_info[i->op].flags & unsafe ? RV_LRSC_COMPLEX : RV_LRSC_GO_ON;
}

/* Between the branch that leads to `offset` and the next access to memory: is there an SC? */
static bool leads_to_sc(rv_lrsc_decode_fn *decode, const void *opaque, uint64_t offset)
{
    struct rv_insn insn;

    for (unsigned n = 0; n < RV_LRSC_SCAN_MAX && decode(opaque, offset, &insn); n++) {
        enum rv_lrsc step = rv_lrsc_step(&insn);
        if (step != RV_LRSC_GO_ON)
            return step == RV_LRSC_SC;
        offset += insn.len;
    }
    return false;
}

/* The branches of a sequence, by where they lead. */
struct ways {
    uint64_t to[RV_LRSC_SCAN_MAX];
    unsigned nr;
};

/* False: a loop between LR and SC. */
static bool add_way(struct ways *w, uint64_t lr, uint64_t from, const struct rv_insn *insn)
{
    uint64_t to = from + (uint64_t)(int64_t)insn->imm;

    if ((int64_t)to > (int64_t)from)
        w->to[w->nr++] = to;
    return (int64_t)to > (int64_t)from || (int64_t)to <= (int64_t)lr;
}

static bool only_sc(rv_lrsc_decode_fn *decode, const void *opaque, const struct ways *w, uint64_t sc)
{
    for (unsigned i = 0; i < w->nr; i++)
        if (w->to[i] > sc && leads_to_sc(decode, opaque, w->to[i]))
            return false;
    return true;
}

bool rv_lrsc_scan(rv_lrsc_decode_fn *decode, const void *opaque, uint64_t lr, unsigned len, uint64_t *sc)
{
    struct ways ways = {.nr = 0};
    uint64_t offset = lr + len;
    struct rv_insn insn;

    for (unsigned n = 0; n < RV_LRSC_SCAN_MAX && decode(opaque, offset, &insn); n++) {
        switch (rv_lrsc_step(&insn)) {
        case RV_LRSC_SC:
            *sc = offset;
            return only_sc(decode, opaque, &ways, offset);
        case RV_LRSC_WRS:
            *sc = RV_SC_NONE;
            return true;
        case RV_LRSC_COMPLEX:
            return false;
        case RV_LRSC_GO_ON:
            if ((rv_op_info[insn.op].flags & RV_OPF_BRANCH) && !add_way(&ways, lr, offset, &insn))
                return false;
            offset += insn.len;
        }
    }
    return false;
}

/* --- the interpreter's --- */

struct page {
    const struct rv_isa *isa;
    const uint8_t *bytes;
};

static uint32_t parcel(const uint8_t *page, uint64_t offset)
{
    return __atomic_load_n((const uint16_t *)(page + offset), __ATOMIC_RELAXED);
}

static bool decode_at(const void *opaque, uint64_t offset, struct rv_insn *insn)
{
    const struct page *page = opaque;
    uint32_t raw;

    if (offset + 2 > GUEST_PAGE_SIZE)
        return false;
    raw = parcel(page->bytes, offset);
    if (rv_insn_len(raw) == 4) {
        if (offset + 4 > GUEST_PAGE_SIZE)
            return false;
        raw |= parcel(page->bytes, offset + 2) << 16;
    }
    rv_decode(raw, page->isa, insn);
    return true;
}

bool rv_lrsc_simple(struct rv_hart *h, unsigned len, uint64_t *sc)
{
    gpa_t gpa_page;
    const struct page page = {&h->isa, rv_fetch_page(h, h->pc, &gpa_page)};

    if (!page.bytes || !rv_lrsc_scan(decode_at, &page, h->pc & ~GUEST_PAGE_MASK, len, sc))
        return false;
    if (*sc != RV_SC_NONE)
        *sc += h->pc & GUEST_PAGE_MASK;
    return true;
}
