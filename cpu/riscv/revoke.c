/* Taking pages, or the permission to write them, away from the harts of a rank: for another rank, or because code was
 * translated.
 *
 *   polling thread: translations of the page die -> log -> kick and await the harts that run
 *   translator: log -> kick and await the harts that run
 *   hart, at its next safepoint or when it enters guest code: rv_revokes_serve -> TLB entries go
 *
 * A hart that does not run costs nothing now: it reads the log before it runs again, or forgets its whole
 * TLB when the log has gone round meanwhile. */
#include "hart.h"

static bool has_seen(const struct rv_hart *h, uint64_t nr)
{
    /* V1: what a hart did with the page before is visible; pairs with V2 */
    return atomic_load_explicit(&h->revokes_seen, memory_order_acquire) >= nr;
}

static void relax(unsigned *spins)
{
    if (++*spins < 2000)
        sim_cpu_relax();
    else
        sim_thread_yield();
}

/* Dekker with vcpu_enter: either the hart sees the log, or we see it running. */
static void await(struct rv_hart *h, uint64_t nr)
{
    unsigned spins = 0;

    if (!atomic_load_explicit(&h->vcpu.running, memory_order_seq_cst))
        return;
    atomic_store_explicit(&h->vcpu.kick, 1, memory_order_seq_cst);
    while (atomic_load_explicit(&h->vcpu.running, memory_order_seq_cst) && !has_seen(h, nr))
        relax(&spins);
}

static uint64_t append(struct rv_revoke_log *log, unsigned nr, const gpa_t gpa[], const bool write_only[], bool wide)
{
    sim_mutex_lock(&log->lock);
    uint64_t at = atomic_load_explicit(&log->nr, memory_order_relaxed);

    for (unsigned i = 0; i < nr; i++)
        log->entry[(at + i) % RV_REVOKE_LOG] = (struct rv_revoke){gpa[i] & GUEST_PAGE_MASK, write_only[i], wide};
    atomic_store_explicit(&log->nr, at + nr, memory_order_seq_cst);
    sim_mutex_unlock(&log->lock);
    return at + nr;
}

static void await_running(struct rv_machine *m, const struct rv_hart *self, uint64_t nr)
{
    struct vcpu *v;

    for (uint32_t at = 0; (v = sim_next_running(m->sim, &at));)
        if (!v->remote && rv_hart_of(v) != self)
            await(rv_hart_of(v), nr);
}

static void forget_code(struct rv_machine *m, gpa_t gpa)
{
    if (mem_has_code(m->space, gpa))
        mem_code_written(m->space, gpa & GUEST_PAGE_MASK, GUEST_PAGE_SIZE);
}

/* A hart reads at most half the log. Another half is written while it does by nobody: whoever writes then waits for it,
 * so there are these entries of the polling thread and one of each executor. */
enum { REVOKE_MOST = RV_REVOKE_LOG / 4 };

static void revoke_some(struct rv_machine *m, unsigned nr, const gpa_t gpa[], const bool write_only[])
{
    await_running(m, NULL, append(&m->revoke, nr, gpa, write_only, false));
    /* After the harts, for one of them may just have translated. */
    for (unsigned i = 0; i < nr; i++)
        if (!write_only[i])
            forget_code(m, gpa[i]);
}

void rv_machine_revoke(struct rv_machine *m, unsigned nr, const gpa_t gpa[], const bool write_only[])
{
    for (unsigned done = 0, n; done < nr; done += n) {
        n = nr - done < REVOKE_MOST ? nr - done : REVOKE_MOST;
        revoke_some(m, n, gpa + done, write_only + done);
    }
}

/* Those that are awaited may await h: it does not count as running meanwhile. */
void rv_revoke_writes(struct rv_hart *h, gpa_t gpa_page)
{
    static const bool write_only = true;
    uint64_t nr = append(&h->machine->revoke, 1, &gpa_page, &write_only, mem_area_is_asked(h->machine->space, gpa_page));

    vcpu_leave(&h->vcpu);
    await_running(h->machine, h, nr);
    vcpu_enter(&h->vcpu);
    rv_requests_serve(h);
}

static void revoke_one(struct rv_hart *h, const struct rv_revoke *r)
{
    rv_tlb_revoke(h, r->gpa, r->write_only, r->wide);
}

void rv_revokes_serve(struct rv_hart *h)
{
    struct rv_revoke_log *log = &h->machine->revoke;
    uint64_t seen = atomic_load_explicit(&h->revokes_seen, memory_order_relaxed);
    uint64_t nr = atomic_load_explicit(&log->nr, memory_order_seq_cst);

    if (SIM_LIKELY(nr == seen))
        return;
    if (nr - seen > RV_REVOKE_LOG / 2)
        rv_tlb_flush_all(h);
    else
        for (; seen != nr; seen++)
            revoke_one(h, &log->entry[seen % RV_REVOKE_LOG]);
    /* V2: pairs with V1 */
    atomic_store_explicit(&h->revokes_seen, nr, memory_order_release);
}
