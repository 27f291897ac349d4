/* Programs for lockstep: what addresses mean changes while translated code that uses them goes on. */
#include "lockstep_priv.h"

#define SFENCE_VMA_OF(va, asid) (SFENCE_VMA | (uint32_t)(va) << 15 | (uint32_t)(asid) << 20)

/* Two spaces, each with numbers of its own; the last two with the other's, which asks for a fence. */
uint64_t satp_value(unsigned n)
{
    static const struct {
        uint8_t root, asid;
    } spaces[] = {{ROOT_PAGE, 1}, {OTHER_ROOT_PAGE, 2}, {ROOT_PAGE, 3}, {OTHER_ROOT_PAGE, 0},
                  {OTHER_ROOT_PAGE, 1}, {ROOT_PAGE, 2}};
    _Static_assert(SIM_ARRAY_LEN(spaces) == NR_SATP, "a slot each");

    return (uint64_t)SATP_SV39 << SATP_MODE_SHIFT | (uint64_t)spaces[n].asid << SATP_ASID_SHIFT |
           ((RAM_BASE >> GUEST_PAGE_BITS) + spaces[n].root);
}

void put_satp(struct program *p)
{
    unsigned n = below(p->asids_again ? NR_SATP : NR_SATP - 2);

    if (p->priv == RV_U)
        return;
    if (p->priv == RV_M && chance(20))
        put(p, addi(8, 0, 0)); /* no translation; or what x8 was, if MPRV takes the load away */
    else
        put(p, enc_i(3, 3, 8, R_PT, (int)(SATP_SLOT + n) * 8)); /* ld */
    put(p, csr(CSRRW, 0, 0x180, 8));
    if (!p->asids_again)
        return;
    put(p, enc_i(0x13, 1, 8, 8, 4)); /* slli, srli: the ASID */
    put(p, enc_i(0x13, 5, 8, 8, 48));
    put(p, SFENCE_VMA_OF(0, 8));
}

/* Bits of a PTE that a page can do without, or another frame; then a fence, of that page's address if it has only one. */
void put_remap(struct program *p)
{
    static const uint16_t flip[] = {1, 4, 2, 8, 0xe, 0x10, 0x40, 0x80, 0x400, 0x400};
    unsigned page = DATA_PAGE + below(DATA_PAGES);

    if (p->priv == RV_U)
        return;
    put(p, enc_i(3, 3, 8, R_PT, (int)(page * 8))); /* ld x8, page*8(R_PT) */
    put(p, enc_i(0x13, 4, 8, 8, flip[below(SIM_ARRAY_LEN(flip))]));
    put(p, enc_s(3, R_PT, 8, (int)(page * 8)));
    if (p->priv == RV_S && chance(50)) {
        put_li(p, 8, (uint32_t)(VA_BASE + page * GUEST_PAGE_SIZE + below(4096)));
        put(p, SFENCE_VMA_OF(8, 0));
    } else {
        put(p, SFENCE_VMA);
    }
}

/* VA_OTHER is a superpage, or pages again. */
void put_superpage(struct program *p)
{
    int entry = (L1_PAGE - L0_PAGE) * (int)GUEST_PAGE_SIZE + 8;
    uint32_t leaf = (uint32_t)(RAM_BASE >> 12 << 10 | 0xc7), table = (uint32_t)(((RAM_BASE >> 12) + OTHER_L0_PAGE) << 10 | 1);

    if (p->priv == RV_U)
        return;
    put_li(p, 8, chance(50) ? leaf : table);
    put(p, addi(6, R_PT, -2048));
    put(p, enc_s(3, 6, 8, entry + 2048));
    put(p, SFENCE_VMA);
}

void put_status(struct program *p)
{
    static const uint32_t bits[] = {MSTATUS_SUM, MSTATUS_MXR, MSTATUS_SUM | MSTATUS_MXR, MSTATUS_MPRV, MSTATUS_MPRV,
                                    1u << MSTATUS_MPP_SHIFT, 3u << MSTATUS_MPP_SHIFT};
    unsigned n = below(p->priv == RV_M ? SIM_ARRAY_LEN(bits) : 3);

    if (p->priv == RV_U)
        return;
    if (chance(30)) { /* SIE, as kernels do around what must not be interrupted */
        put(p, csr(CSRRCI, chance(50) ? 5 : 0, 0x100, 2));
        put(p, chance(50) ? csr(CSRRSI, 0, 0x100, 2) : csr(CSRRS, chance(50) ? 5 : 0, 0x100, 5));
        return;
    }
    put_li(p, 6, bits[n]);
    put(p, csr(bits[n] & MSTATUS_MPRV && chance(60) ? CSRRC : CSRRS + below(2), chance(70) ? 0 : 7,
               p->priv == RV_M ? 0x300 : 0x100, 6));
}

/* An entry over a piece of a data page, over some of them, or over the page tables. Never locked: that holds for M mode. */
void put_pmp(struct program *p)
{
    unsigned n = PMP_PROGRAM + below(NR_PMP_PROGRAM), page = chance(90) ? DATA_PAGE + below(DATA_PAGES) : ROOT_PAGE + below(3);
    uint32_t at = (uint32_t)(RAM_BASE + page * GUEST_PAGE_SIZE + below(512) * 8) >> 2;
    static const uint16_t sizes[] = {0, 1, 7, 0x1ff, 0x1ff, 0x7ff}; /* 8 bytes to some pages */
    unsigned size = sizes[below(SIM_ARRAY_LEN(sizes))];

    if (p->priv != RV_M)
        return;
    put_li(p, 6, (at & ~(2u * size + 1)) | size);
    put(p, csr(CSRRW, 0, 0x3b0 + n, 6));
    put_li(p, 6, 0x1fu << 8 * n);
    put(p, csr(CSRRC, 0, 0x3a0, 6));
    put_li(p, 6, (uint32_t)(below(8) | (chance(70) ? 3 : below(4)) << 3) << 8 * n);
    put(p, csr(CSRRS, 0, 0x3a0, 6));
    if (chance(80))
        put(p, SFENCE_VMA);
}
