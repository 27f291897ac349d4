/* The context of a kernel's code goes from hart to hart of an executor: who may have it, and when what it knows is lost. The
 * rules and why they suffice: cpu/README.md, "Harts that share".
 *
 *   turn ends --rv_tlb_end_turn--> the executor's shelf --rv_tlb_begin_turn--> the next hart's pool */
#include "csr_bits.h"
#include "hart.h"
#include "mmu.h"

enum {
    KERNEL_HOLDS = RV_TLB_HOLDS_UPPER | RV_TLB_HOLDS_GLOBAL,
    MOST_MISSES = 32 /* turns in a row of harts that could not use what lies on the shelf; then it goes */
};

static bool shares(const struct rv_hart *h)
{
    const struct sim *sim = h->machine->sim;
    uint32_t turns = atomic_load_explicit(&sim->nr_turns, memory_order_relaxed);

    return h->vcpu.turn && turns && sim->nr_vcpus > turns && h->sbi && !sim->ranks && !h->observe;
}

/* --- what a context has to say of itself --- */

void rv_tlb_note_root(struct rv_tlb *t, gva_t va, uint64_t pte)
{
    struct rv_tlb_shared *s = &t->shared;
    unsigned i = 0;

    if (!t->kernel_code || s->refused)
        return;
    uint64_t index = rv_walk_root_index(t->satp, va);

    while (i < s->nr_roots && s->root[i].index != index)
        i++;
    if (i == RV_TLB_ROOTS || (i < s->nr_roots && s->root[i].pte != pte)) {
        s->refused = 1;
    } else if (i == s->nr_roots) {
        s->root[i].index = index;
        s->root[i].pte = pte;
        s->nr_roots++;
    }
}

/* Also while nothing is shared: a machine that is reset or restored has no executors, and contexts on their shelves. */
void rv_tlb_note_global_fence(struct rv_hart *h)
{
    /* F1: after what the fence orders, and after the hart's own entries have gone; pairs with F2 */
    uint64_t nr = atomic_fetch_add_explicit(&h->machine->global_fences, 1, memory_order_acq_rel);

    for (unsigned i = 0; i < RV_TLB_CONTEXTS; i++)
        if (h->tlb_key[i].mode == RV_TLB_KERNEL_CODE && h->tlb_pool[i]->shared.fences == nr)
            h->tlb_pool[i]->shared.fences = nr + 1;
}

uint64_t rv_tlb_fences(const struct rv_machine *m)
{
    /* F2: what is read from page tables afterwards is what those fences have seen, or newer; pairs with F1 */
    return atomic_load_explicit(&m->global_fences, memory_order_acquire);
}

void rv_tlb_flush_shared_jumps(struct rv_machine *m)
{
    for (unsigned i = 0; i < SIM_ARRAY_LEN(m->shelf); i++)
        if (m->shelf[i])
            rv_tlb_empty_jumps(m->shelf[i]);
}

/* --- turns --- */

static bool same_roots(struct rv_hart *h, const struct rv_tlb_shared *s)
{
    uint64_t pte;

    for (unsigned i = 0; i < s->nr_roots; i++)
        if (!rv_walk_root(h, h->satp, (unsigned)s->root[i].index, &pte) || s->root[i].pte != pte)
            return false;
    return true;
}

/* Could the hart have filled it? */
static bool suits(struct rv_hart *h, const struct rv_tlb *t)
{
    const struct rv_tlb_shared *s = &t->shared;

    return h->satp >> SATP_MODE_SHIFT && !((h->satp ^ t->satp) >> SATP_MODE_SHIFT) && s->menvcfg == h->menvcfg &&
           s->last->isa_class == h->isa_class && (s->last == h || same_roots(h, s));
}

/* Its own are given up: the other one knows more. */
static void take(struct rv_hart *h, struct rv_tlb *t)
{
    for (unsigned i = 0; i < RV_TLB_CONTEXTS; i++)
        if (h->tlb_key[i].mode == RV_TLB_KERNEL_CODE)
            rv_tlb_give_up(h, i);
    rv_tlb_put_in(h, rv_tlb_free_slot(h), t);
    uint64_t fences = rv_tlb_fences(h->machine);

    t->shared.misses = 0;
    if (t->shared.fences == fences)
        return;
    rv_tlb_empty(t);
    t->shared.fences = fences;
}

/* The hart whose context it is may have stopped, or its kernel may have gone. */
static void miss(struct rv_hart *h, struct rv_tlb **shelf)
{
    if (++(*shelf)->shared.misses < MOST_MISSES)
        return;
    rv_tlb_spare(h->machine, *shelf);
    *shelf = NULL;
}

static void use_shelf(struct rv_hart *h, struct rv_tlb **shelf)
{
    struct rv_tlb *t = *shelf;

    if (!t)
        return;
    if (!suits(h, t)) {
        miss(h, shelf);
        return;
    }
    *shelf = NULL;
    take(h, t);
}

void rv_tlb_begin_turn(struct rv_hart *h)
{
    h->shares_code = shares(h);
    if (h->shares_code)
        use_shelf(h, &h->machine->shelf[h->vcpu.turn - 1]);
    rv_tlb_select(h);
}

static bool may_be_shared(const struct rv_hart *h, unsigned slot)
{
    if (h->tlb_key[slot].mode != RV_TLB_KERNEL_CODE || (h->tlb_holds[slot] & ~KERNEL_HOLDS))
        return false;
    const struct rv_tlb_shared *s = &h->tlb_pool[slot]->shared;

    return !s->refused && s->menvcfg == h->menvcfg;
}

void rv_tlb_end_turn(struct rv_hart *h)
{
    unsigned slot = 0;

    if (!h->shares_code)
        return;
    struct rv_tlb **shelf = &h->machine->shelf[h->vcpu.turn - 1];

    while (slot < RV_TLB_CONTEXTS && !may_be_shared(h, slot))
        slot++;
    if (*shelf || slot == RV_TLB_CONTEXTS)
        return;
    *shelf = rv_tlb_take_out(h, slot);
    (*shelf)->shared.last = h;
}
