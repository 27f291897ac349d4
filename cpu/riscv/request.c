/* What other threads ask of a hart: fences, revocation of write entries, start (HSM).
 *
 *   requester: post under the lock, posted++, kick if it runs --> target: at a safepoint rv_requests_serve
 *   rv_request_wait: until served has reached what was posted, or the target is not running (then
 *   it serves before it runs; sim-core/vcpu.h) */
#include "hart.h"

static void post_locked(struct rv_hart *target, uint32_t flags)
{
    target->req.flags |= flags;
    atomic_fetch_add_explicit(&target->req.posted, 1, memory_order_seq_cst);
}

static void add_wprot_locked(struct rv_requests *r, uint64_t gpa_page)
{
    if (r->nr_wprot == SIM_ARRAY_LEN(r->wprot))
        r->flags |= RV_REQ_WPROT_ALL;
    else
        r->wprot[r->nr_wprot++] = gpa_page;
}

void rv_request_fence(struct rv_hart *self, struct rv_hart *target, uint32_t flags,
                      const struct rv_fence_range *range)
{
    sim_mutex_lock(&target->req.lock);
    if (range)
        rv_fence_list_add(target->req.range, &target->req.nr_ranges, range);
    post_locked(target, flags);
    sim_mutex_unlock(&target->req.lock);
    if (self == target)
        rv_requests_serve(target);
    else
        vcpu_kick_running(&target->vcpu);
}

void rv_request_write_protect(struct rv_hart *self, struct rv_hart *target, uint64_t gpa_page)
{
    sim_mutex_lock(&target->req.lock);
    add_wprot_locked(&target->req, gpa_page);
    post_locked(target, RV_REQ_WPROT);
    sim_mutex_unlock(&target->req.lock);
    if (self == target)
        rv_requests_serve(target);
    else
        vcpu_kick_running(&target->vcpu);
}

void rv_machine_write_protect(struct rv_machine *m)
{
    for (uint32_t i = 0; i < m->nr_harts; i++) {
        struct rv_hart *h = m->harts[i];
        sim_mutex_lock(&h->req.lock);
        post_locked(h, RV_REQ_WPROT_ALL); /* seen before it runs: no kick */
        sim_mutex_unlock(&h->req.lock);
    }
}

/* A hart elsewhere counts as started once it was asked to. */
static bool start_remote(struct rv_hart *target, uint64_t pc, uint64_t a1)
{
    if (!__atomic_exchange_n(&target->stopped, 0, __ATOMIC_SEQ_CST))
        return false;
    rv_remote_start(target, pc, a1);
    return true;
}

bool rv_hart_request_start(struct rv_hart *target, uint64_t pc, uint64_t a1)
{
    return target->vcpu.remote ? start_remote(target, pc, a1) : rv_hart_request_start_here(target, pc, a1);
}

bool rv_hart_request_start_here(struct rv_hart *target, uint64_t pc, uint64_t a1)
{
    sim_mutex_lock(&target->req.lock);
    bool startable = __atomic_load_n(&target->stopped, __ATOMIC_SEQ_CST) &&
                     !(target->req.flags & RV_REQ_HSM_START);
    if (startable) {
        /* Before the hart can see it, and stop again. Who has not seen it stop hears of that first, as it says so under
         * the lock. */
        rv_remote_tell_state(target, RV_TOLD_STARTED);
        target->req.start_pc = pc;
        target->req.start_a1 = a1;
        post_locked(target, RV_REQ_HSM_START);
    }
    sim_mutex_unlock(&target->req.lock);
    if (startable)
        vcpu_kick(&target->vcpu);
    return startable;
}

static bool has_served(struct vcpu *v, void *opaque)
{
    const uint64_t *posted = opaque;

    /* R1: pairs with R2 in rv_requests_serve */
    return atomic_load_explicit(&rv_hart_of(v)->req.served, memory_order_acquire) >= *posted;
}

void rv_request_wait(struct rv_hart *self, struct rv_hart *target)
{
    uint64_t posted = atomic_load_explicit(&target->req.posted, memory_order_seq_cst);

    if (self == target)
        return;
    if (!has_served(&target->vcpu, &posted))
        vcpu_wait(self ? &self->vcpu : NULL, &target->vcpu, has_served, &posted);
    if (self)
        rv_requests_serve(self);
}

/* --- the target's side --- */

struct taken {
    uint32_t flags, nr_ranges, nr_wprot;
    struct rv_fence_range range[RV_FENCE_LIST];
    uint64_t wprot[16];
    uint64_t start_pc, start_a1, posted;
};

static void take(struct rv_hart *h, struct taken *t)
{
    struct rv_requests *r = &h->req;

    sim_mutex_lock(&r->lock);
    t->flags = r->flags;
    t->nr_ranges = r->nr_ranges;
    t->nr_wprot = r->nr_wprot;
    for (uint32_t i = 0; i < r->nr_ranges; i++)
        t->range[i] = r->range[i];
    for (uint32_t i = 0; i < r->nr_wprot; i++)
        t->wprot[i] = r->wprot[i];
    t->start_pc = r->start_pc;
    t->start_a1 = r->start_a1;
    t->posted = atomic_load_explicit(&r->posted, memory_order_seq_cst);
    r->nr_ranges = r->nr_wprot = 0;
    /* The start stays announced until the hart is not stopped any more: HSM status and a second
     * start look at both under the lock. */
    r->flags &= RV_REQ_HSM_START;
    sim_mutex_unlock(&r->lock);
}

static void start(struct rv_hart *h, const struct taken *t)
{
    rv_hart_start(&h->vcpu, t->start_pc, h->hartid, t->start_a1);
    sim_mutex_lock(&h->req.lock);
    h->req.flags &= ~(uint32_t)RV_REQ_HSM_START;
    sim_mutex_unlock(&h->req.lock);
}

static void apply(struct rv_hart *h, const struct taken *t)
{
    if (t->flags & RV_REQ_FENCE_I) {
        rv_tlb_flush_jumps(h);
        sim_sync_code();
    }
    for (uint32_t i = 0; i < t->nr_ranges; i++)
        rv_tlb_flush_range(h, &t->range[i]);
    for (uint32_t i = 0; i < t->nr_wprot; i++)
        rv_tlb_write_protect(h, t->wprot[i]);
    if (t->flags & RV_REQ_WPROT_ALL)
        rv_tlb_write_protect_all(h);
    if (t->flags & RV_REQ_HSM_START)
        start(h, t);
}

void rv_requests_serve(struct rv_hart *h)
{
    struct taken t;

    rv_revokes_serve(h);
    if (SIM_LIKELY(atomic_load_explicit(&h->req.posted, memory_order_seq_cst) ==
                   atomic_load_explicit(&h->req.served, memory_order_relaxed)))
        return;
    take(h, &t);
    apply(h, &t);
    /* R2: what was asked has taken effect; pairs with R1 */
    atomic_store_explicit(&h->req.served, t.posted, memory_order_release);
}

void rv_requests_drop(struct rv_hart *h)
{
    struct taken t;

    take(h, &t);
    sim_mutex_lock(&h->req.lock);
    h->req.flags = 0;
    sim_mutex_unlock(&h->req.lock);
    atomic_store_explicit(&h->req.served, t.posted, memory_order_release);
}
