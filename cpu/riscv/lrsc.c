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

static uint32_t parcel(const uint8_t *page, uint64_t offset)
{
    return __atomic_load_n((const uint16_t *)(page + offset), __ATOMIC_RELAXED);
}

/* The instruction at byte `offset` of a page; false when it does not lie within the page. */
static bool decode_at(const struct rv_hart *h, const uint8_t *page, uint64_t offset,
                      struct rv_insn *insn)
{
    uint32_t raw;

    if (offset + 2 > GUEST_PAGE_SIZE)
        return false;
    raw = parcel(page, offset);
    if (rv_insn_len(raw) == 4) {
        if (offset + 4 > GUEST_PAGE_SIZE)
            return false;
        raw |= parcel(page, offset + 2) << 16;
    }
    rv_decode(raw, &h->isa, insn);
    return true;
}

bool rv_lrsc_simple(struct rv_hart *h, unsigned len, uint64_t *sc)
{
    gpa_t gpa_page;
    const uint8_t *page = rv_fetch_page(h, h->pc, &gpa_page);
    uint64_t offset = (h->pc & ~GUEST_PAGE_MASK) + len;

    if (!page)
        return false; /* cannot be: the LR itself came from there */
    for (unsigned n = 0; n < RV_LRSC_SCAN_MAX; n++) {
        struct rv_insn insn;

        if (!decode_at(h, page, offset, &insn))
            return false;
        switch (rv_lrsc_step(&insn)) {
        case RV_LRSC_SC:
            *sc = (h->pc & GUEST_PAGE_MASK) + offset;
            return true;
        case RV_LRSC_WRS:
            *sc = RV_SC_NONE;
            return true;
        case RV_LRSC_COMPLEX:
            return false;
        case RV_LRSC_GO_ON:
            offset += insn.len;
        }
    }
    return false;
}
