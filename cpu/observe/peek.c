/* A page walk that only reads, for plugins and debuggers. */
#include "peek.h"

#include <string.h>

#include "csr_bits.h"
#include "mem.h"
#include "sim-core/compiler.h"

enum { PTE_V = 1, PTE_RWX = 14, PTE_PPN_SHIFT = 10, LEVEL_BITS = 9, NAPOT_SHIFT = 16 };
#define PTE_PPN ((1ull << 44) - 1)
#define PTE_N (1ull << 63)

static bool is_ram(const struct rv_hart *h, gpa_t gpa)
{
    const struct mem_region *r = mem_find(h->machine->space, gpa);

    return r && !r->ops;
}

static bool read_ram(const struct rv_hart *h, gpa_t gpa, void *buf, size_t len)
{
    return is_ram(h, gpa) && is_ram(h, gpa + len - 1) && mem_read(h->machine->space, gpa, buf, len) == MEM_OK;
}

static gpa_t leaf_address(uint64_t pte, unsigned shift, gva_t va)
{
    uint64_t offset = (1ull << (pte & PTE_N ? NAPOT_SHIFT : shift)) - 1;

    return ((pte >> PTE_PPN_SHIFT & PTE_PPN) << GUEST_PAGE_BITS & ~offset) | (va & offset);
}

bool rv_peek_address(const struct rv_hart *h, gva_t va, gpa_t *gpa)
{
    uint64_t satp = h->tlb->satp, pte;

    if (!satp) {
        *gpa = va;
        return true;
    }
    unsigned level = (unsigned)(satp >> SATP_MODE_SHIFT) - SATP_SV39 + 3;
    gpa_t table = (satp & SATP_PPN) << GUEST_PAGE_BITS;

    if ((uint64_t)sim_sext(va, GUEST_PAGE_BITS + level * LEVEL_BITS) != va)
        return false;
    while (level-- > 0) {
        unsigned shift = GUEST_PAGE_BITS + level * LEVEL_BITS;
        if (!read_ram(h, table + sim_bits(va, shift, LEVEL_BITS) * 8, &pte, 8) || !(pte & PTE_V))
            return false;
        if (pte & PTE_RWX) {
            *gpa = leaf_address(pte, shift, va);
            return true;
        }
        table = (pte >> PTE_PPN_SHIFT & PTE_PPN) << GUEST_PAGE_BITS;
    }
    return false;
}

bool rv_peek(const struct rv_hart *h, gva_t va, void *buf, size_t len)
{
    if (mem_is_distributed(h->machine->space))
        return false; /* pages of other ranks would have to be waited for */
    for (uint8_t *out = buf; len;) {
        size_t piece = GUEST_PAGE_SIZE - (va & ~GUEST_PAGE_MASK);
        gpa_t gpa;
        piece = piece < len ? piece : len;
        if (!rv_peek_address(h, va, &gpa) || !read_ram(h, gpa, out, piece))
            return false;
        va += piece;
        out += piece;
        len -= piece;
    }
    return true;
}
