/* Harts of an executor share the context of their kernel's code: may a hart ever go where no TLB of its own could send it?
 *
 * Harts take turns on two executors, two at a time, run code in two kernels, and edit their page tables at random; fences come
 * when they come. Beside it a model: what each hart may know of each page since its last fence. Every fetch, and every jump
 * that is remembered, is compared. Global pages are the same in all root tables of a kernel (Priv. 4.3.1); but for that the
 * guest keeps no rule. */
#include "page_tables.h"

#define CSR_SATP 0x180u
#define LOW_HALF 0xffffffc000200000ull /* two entries of the root table */
#define HIGH_HALF 0xfffffff000001000ull
#define FRAME(n) (RAM_BASE + 0x100000 + 4096ull * (n))
#define ROOT(n) (RAM_BASE + 0x900000 + 4096ull * (n))

enum { HARTS = 5, EXECUTORS = 2, FRAMES = 3, PAGES = 6, KERNELS = 2, ROOTS = 4 /* two of each kernel */, NOT_RUN = HARTS };

/* Where a fetch may lead: bit n, frame n by a page of one address space; bit 8 + n, by a global one; bit 16: a page fault. */
enum { GLOBALS = 0xff00, FAULT = 1 << 16 };

struct model {
    struct rig rig;
    struct rv_hart *hart[HARTS];
    gpa_t leaf[KERNELS][PAGES];
    uint32_t may[HARTS][ROOTS][PAGES];
    unsigned on[EXECUTORS]; /* the hart that runs, or NOT_RUN */
    unsigned root[HARTS];   /* it uses, or used before it was bare */
    bool bare[HARTS];
    struct rv_fence_range posted[HARTS]; /* a fence that the hart has not done yet; size 0: none */
    uint64_t random;
    unsigned fetches, jumps, shared;
};

static uint64_t below(struct model *m, uint64_t n)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return (m->random >> 20) % n;
}

static uint64_t page_va(unsigned page)
{
    return (page < PAGES / 2 ? LOW_HALF : HIGH_HALF) + 4096ull * (page % (PAGES / 2));
}

static unsigned kernel_of(unsigned root)
{
    return root / (ROOTS / KERNELS);
}

/* --- what the page tables say --- */

static uint32_t walk(struct model *m, unsigned root, unsigned page)
{
    uint64_t va = page_va(page), entry = rig_get64(&m->rig, ROOT(root) + 8 * sim_bits(va, 30, 9));
    uint64_t pte = rig_get64(&m->rig, m->leaf[kernel_of(root)][page]);

    if (!(entry & V) || (pte & (V | X | A)) != (V | X | A))
        return FAULT;
    return 1u << (((pte >> 10 << 12) - FRAME(0)) / 4096 + (pte & G ? 8 : 0));
}

/* A hart may look at its tables whenever it likes. */
static void look(struct model *m)
{
    for (unsigned h = 0; h < HARTS; h++)
        for (unsigned page = 0; page < PAGES && !m->bare[h]; page++)
            m->may[h][m->root[h]][page] |= walk(m, m->root[h], page);
}

static void forget(struct model *m, unsigned h, const struct rv_fence_range *r)
{
    for (unsigned page = 0; page < PAGES; page++)
        for (unsigned root = 0; root < ROOTS; root++) {
            uint64_t va = page_va(page);
            if (r->size != UINT64_MAX && va - r->va >= r->size)
                continue;
            if (r->asid == RV_ASID_ANY)
                m->may[h][root][page] = 0;
            else if (r->asid == root + 1)
                m->may[h][root][page] &= GLOBALS;
        }
    look(m);
}

/* --- what the guest does --- */

static struct rv_fence_range some_range(struct model *m)
{
    struct rv_fence_range r = {page_va((unsigned)below(m, PAGES)), 4096 * (1 + below(m, 2)), RV_ASID_ANY};

    if (!below(m, 4))
        r = (struct rv_fence_range){0, UINT64_MAX, RV_ASID_ANY};
    if (!below(m, 4))
        r.asid = 1 + below(m, ROOTS);
    return r;
}

static void edit_leaf(struct model *m)
{
    static const uint64_t flags[] = {RWXAD | G, RWXAD | G, RWXAD | G, RWXAD, (RWXAD & ~X) | G, (RWXAD & ~A) | G, 0};
    uint64_t pte = FRAME(below(m, FRAMES)) >> 12 << 10 | flags[below(m, SIM_ARRAY_LEN(flags))];

    rig_put64(&m->rig, m->leaf[below(m, KERNELS)][below(m, PAGES)], pte);
    look(m);
}

static void serve(struct model *m, unsigned h)
{
    rv_requests_serve(m->hart[h]);
    if (m->posted[h].size)
        forget(m, h, &m->posted[h]);
    m->posted[h].size = 0;
}

static void fence(struct model *m, unsigned h)
{
    struct rv_fence_range r = some_range(m);

    rv_tlb_flush_range(m->hart[h], &r);
    forget(m, h, &r);
}

/* Of a hart that does not run. */
static void post_fence(struct model *m)
{
    unsigned h = (unsigned)below(m, HARTS);

    if (h == m->on[0] || h == m->on[1] || m->posted[h].size)
        return;
    m->posted[h] = some_range(m);
    rv_request_fence(NULL, m->hart[h], 0, &m->posted[h]);
}

static void set_satp(struct model *m, unsigned h, uint64_t satp)
{
    assert_true(rig_csr_write(m->hart[h], CSR_SATP, satp));
}

static uint64_t satp_of(unsigned root)
{
    return (uint64_t)SATP_SV39 << SATP_MODE_SHIFT | (uint64_t)(root + 1) << SATP_ASID_SHIFT | ROOT(root) >> 12;
}

/* Global pages go along; to another kernel only what was never global would, so there is a fence. */
static void change_root(struct model *m, unsigned h)
{
    static const struct rv_fence_range all = {0, UINT64_MAX, RV_ASID_ANY};
    unsigned from = m->root[h], to = (unsigned)below(m, ROOTS);

    m->bare[h] = false;
    m->root[h] = to;
    set_satp(m, h, satp_of(to));
    for (unsigned page = 0; page < PAGES; page++)
        m->may[h][to][page] |= m->may[h][from][page] & GLOBALS;
    if (kernel_of(from) != kernel_of(to)) {
        rv_tlb_flush_range(m->hart[h], &all);
        forget(m, h, &all);
    }
    look(m);
}

static void go_bare(struct model *m, unsigned h)
{
    m->bare[h] = true;
    set_satp(m, h, 0);
}

/* A root entry goes, comes again, or comes with another mark; whoever uses the table is told later. */
static void edit_root(struct model *m)
{
    unsigned root = (unsigned)below(m, ROOTS);
    uint64_t va = below(m, 2) ? LOW_HALF : HIGH_HALF;
    gpa_t slot = ROOT(root) + 8 * sim_bits(va, 30, 9);

    for (unsigned h = 0; h < HARTS; h++)
        if (h == m->on[0] || h == m->on[1] || m->posted[h].size)
            return; /* let there be a time when all can be told */
    rig_put64(&m->rig, slot, rig_get64(&m->rig, slot) ^ (below(m, 2) ? V : 1u << 8));
    for (unsigned h = 0; h < HARTS; h++) {
        m->posted[h] = (struct rv_fence_range){0, UINT64_MAX, RV_ASID_ANY};
        rv_request_fence(NULL, m->hart[h], 0, &m->posted[h]);
    }
    look(m);
}

/* --- turns, and what is seen in them --- */

static void take_turn(struct model *m)
{
    unsigned e = (unsigned)below(m, EXECUTORS), next = (unsigned)below(m, HARTS + 1);

    if (m->on[e] != NOT_RUN) {
        rv_tlb_end_turn(m->hart[m->on[e]]);
        vcpu_leave(&m->hart[m->on[e]]->vcpu);
    }
    m->on[e] = NOT_RUN;
    if (next == m->on[!e] || next == NOT_RUN)
        return;
    m->on[e] = next;
    struct rv_hart *h = m->hart[next];

    sim_turn_begin(m->rig.sim, e, &h->vcpu);
    vcpu_enter(&h->vcpu);
    const struct rv_tlb *before = m->rig.m->shelf[e];
    rv_tlb_begin_turn(h);
    m->shared += before && before->used && before->shared.last != h && !m->rig.m->shelf[e];
    serve(m, next);
}

static const int places[FRAMES]; /* "translated code" of a frame */

static void check(struct model *m, unsigned h, unsigned page, uint32_t went)
{
    uint32_t may = m->may[h][m->root[h]][page];

    if (!(may & (went | went << 8)))
        fail_msg("hart %u, root %u, page %u: went to %#x, may %#x", h, m->root[h], page, went, may);
}

static void run_code(struct model *m, unsigned h)
{
    unsigned page = (unsigned)below(m, PAGES);
    uint64_t va = page_va(page);
    gpa_t gpa;

    if (m->bare[h])
        return;
    struct rv_jc_entry *jump = m->hart[h]->code_tlb->jc[rv_jc_set(va)];

    if (jump->pc == va) {
        check(m, h, page, 1u << ((const int *)jump->code - places));
        m->jumps++;
    } else if (rv_fetch_page(m->hart[h], va, &gpa)) {
        unsigned frame = (unsigned)((gpa - FRAME(0)) / 4096);
        check(m, h, page, 1u << frame);
        *jump = (struct rv_jc_entry){va, &places[frame]};
        rv_jc_note(m->hart[h]->code_tlb, va);
    } else {
        check(m, h, page, FAULT);
    }
    m->fetches++;
}

static void step(struct model *m)
{
    unsigned h = m->on[below(m, EXECUTORS)], what = (unsigned)below(m, 64);

    if (what < 12)
        take_turn(m);
    else if (what < 16)
        edit_leaf(m);
    else if (what == 16)
        post_fence(m);
    else if (what == 17)
        edit_root(m);
    else if (h == NOT_RUN)
        return;
    else if (what == 18)
        fence(m, h);
    else if (what == 19)
        change_root(m, h);
    else if (what == 20 && !below(m, 4))
        go_bare(m, h);
    else if (what == 21)
        rig_set_priv(m->hart[h], RV_U), rv_tlb_trim(m->hart[h]), rig_set_priv(m->hart[h], RV_S);
    else
        run_code(m, h);
}

static void make_tables(struct model *m)
{
    for (unsigned k = 0; k < KERNELS; k++) {
        struct tables t;
        unsigned first = k * (ROOTS / KERNELS);
        gpa_t slot;

        pt_init(&t, &m->rig, SATP_SV39);
        for (unsigned page = 0; page < PAGES; page++)
            pt_map(&t, page_va(page), FRAME(page % FRAMES), 0, RWXAD | G);
        /* The tables go where the other kernel's do not. */
        for (unsigned i = 0; i < t.used; i++)
            for (unsigned at = 0; at < 4096; at += 8) {
                uint64_t pte = rig_get64(&m->rig, PT_ROOT + 4096 * i + at);
                if (pte && (pte & RWXAD) == V)
                    pte += (gpa_t)(k * 0x200000 + 0x200000) >> 12 << 10;
                rig_put64(&m->rig, PT_ROOT + k * 0x200000 + 0x200000 + 4096 * i + at, pte);
            }
        for (unsigned root = first; root < first + ROOTS / KERNELS; root++)
            for (unsigned at = 0; at < 4096; at += 8)
                rig_put64(&m->rig, ROOT(root) + at, rig_get64(&m->rig, PT_ROOT + k * 0x200000 + 0x200000 + at));
        for (unsigned page = 0; page < PAGES; page++) {
            slot = pt_slot(&t, page_va(page), 0);
            m->leaf[k][page] = slot + k * 0x200000 + 0x200000;
        }
    }
}

static void init(struct model *m, uint64_t seed)
{
    struct rv_isa isa = rig_isa();

    memset(m, 0, sizeof *m);
    m->random = seed * 0x9e3779b97f4a7c15ull + 1;
    rig_init(&m->rig, true);
    make_tables(m);
    for (unsigned h = 0; h < HARTS; h++) {
        m->hart[h] = h ? rig_add_hart(&m->rig, &isa) : m->rig.h;
        m->hart[h]->menvcfg &= ~(uint64_t)ENVCFG_ADUE;
        m->root[h] = h % ROOTS;
        m->hart[h]->satp = satp_of(m->root[h]);
        rig_set_priv(m->hart[h], RV_S);
    }
    sim_set_turns(m->rig.sim, EXECUTORS);
    m->on[0] = m->on[1] = NOT_RUN;
    look(m);
}

static void test_no_hart_sees_what_it_may_not(void **state)
{
    enum { SEEDS = 12, STEPS = 20000 };
    unsigned fetches = 0, jumps = 0, shared = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct model m;
        init(&m, seed);
        for (unsigned n = 0; n < STEPS; n++)
            step(&m);
        for (unsigned e = 0; e < EXECUTORS; e++)
            if (m.on[e] != NOT_RUN)
                vcpu_leave(&m.hart[m.on[e]]->vcpu);
        fetches += m.fetches;
        jumps += m.jumps;
        shared += m.shared;
        rig_fini(&m.rig);
    }
    /* It is about something. */
    assert_in_range(shared, SEEDS * 20, UINT32_MAX);
    assert_in_range(jumps, fetches / 8, fetches);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_hart_sees_what_it_may_not)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
