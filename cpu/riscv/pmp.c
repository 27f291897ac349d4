/* Physical memory protection (Priv. 3.7): 16 entries as ranges, the first that matches decides.
 *
 * Under the built-in SBI, and without the extension, all of memory is open. */
#include "csr_bits.h"
#include "hart.h"

enum { PMP_ALL = PMP_R | PMP_W | PMP_X };

static bool pmp_open(const struct rv_hart *h)
{
    return h->sbi || !rv_isa_has(&h->isa, RV_EXT_PMP);
}

/* The range of entry n; false when it is off or empty. */
static bool entry_range(const struct rv_hart *h, unsigned n, struct rv_pmp_rule *r)
{
    uint64_t addr = h->pmpaddr[n], below = n ? h->pmpaddr[n - 1] : 0;

    r->cfg = h->pmpcfg[n];
    switch (r->cfg >> PMP_A_SHIFT & 3) {
    case PMP_TOR:
        r->first = below << 2;
        r->last = (addr << 2) - 1;
        return below < addr;
    case PMP_NA4:
        r->first = addr << 2;
        r->last = r->first + 3;
        return true;
    case PMP_NAPOT:
        /* ...y0111 is 2^(3+trailing ones) bytes at y; all ones is everything */
        r->first = (addr & (addr + 1)) << 2;
        r->last = (addr | (addr + 1)) << 2 | 3;
        return true;
    default: return false;
    }
}

void rv_pmp_update(struct rv_hart *h)
{
    h->nr_pmp = 0;
    for (unsigned n = 0; n < SIM_ARRAY_LEN(h->pmpcfg); n++)
        if (entry_range(h, n, &h->pmp[h->nr_pmp]))
            h->nr_pmp++;
}

static unsigned rule_perm(const struct rv_pmp_rule *r, enum rv_priv priv)
{
    return priv == RV_M && !(r->cfg & PMP_L) ? PMP_ALL : r->cfg & PMP_ALL;
}

unsigned rv_pmp_perm(const struct rv_hart *h, gpa_t gpa, uint64_t len, enum rv_priv priv)
{
    if (pmp_open(h))
        return PMP_ALL;
    for (unsigned n = 0; n < h->nr_pmp; n++) {
        const struct rv_pmp_rule *r = &h->pmp[n];
        if (gpa > r->last || gpa + (len - 1) < r->first)
            continue;
        if (gpa < r->first || gpa + (len - 1) > r->last)
            return 0;
        return rule_perm(r, priv);
    }
    return priv == RV_M ? PMP_ALL : 0;
}

bool rv_pmp_uniform_range(const struct rv_hart *h, gpa_t first, gpa_t last)
{
    if (pmp_open(h))
        return true;
    for (unsigned n = 0; n < h->nr_pmp; n++) {
        const struct rv_pmp_rule *r = &h->pmp[n];
        if (last < r->first || first > r->last)
            continue;
        return first >= r->first && last <= r->last;
    }
    return true;
}

bool rv_pmp_uniform(const struct rv_hart *h, gpa_t gpa)
{
    return rv_pmp_uniform_range(h, gpa & GUEST_PAGE_MASK, gpa | ~GUEST_PAGE_MASK);
}
