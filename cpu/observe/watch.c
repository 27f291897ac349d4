/* Memory accesses for observers. TLB entries of watched pages are marked so that only mem.c's slow paths find
 * them, and these tell. An atomic instruction only gets a host address there: what it did is told when it is done. */
#include <string.h>

#include "observe.h"

void rv_watch_access(struct rv_hart *h, gva_t va, gpa_t gpa, unsigned size, enum rv_access_kind kind, uint64_t value,
                     bool mmio)
{
    const struct observed_access a = {va, gpa, size < 8 ? value & ((1ull << 8 * size) - 1) : value,
                                      (uint8_t)size, (uint8_t)kind, mmio};

    for (struct observer *o = h->machine->observe->observers; o; o = o->next) {
        const struct rv_observe_filter *f = &o->filter;
        if (o->ops->access && va <= f->hi && va + size - 1 >= f->lo && (f->privs >> h->priv & 1) &&
            rv_observe_filter_hart(f, h->vcpu.index))
            o->ops->access(o, h, &a);
    }
}

static uint64_t peek(const void *p, unsigned size)
{
    if (size == 4)
        return __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
    return size == 8 ? __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED) : 0;
}

void rv_watch_begin(struct rv_hart *h, gva_t va, gpa_t gpa, unsigned size, const void *p)
{
    struct observe_hart *ob = h->observing;

    ob->pending = true;
    ob->place = p;
    ob->access = (struct observed_access){.va = va, .gpa = gpa, .size = (uint8_t)size};
    ob->access.value = peek(p, size);
}

/* What the instruction did with the place: kind and value. False: nothing. */
static bool outcome(const struct rv_hart *h, const struct rv_insn *i, struct observed_access *a)
{
    switch (i->op) {
    case RV_OP_lr_w:
    case RV_OP_lr_d:
        a->kind = RV_ACCESS_LOAD;
        a->value = h->res_value;
        return true;
    case RV_OP_sc_w:
    case RV_OP_sc_d:
        a->kind = RV_ACCESS_STORE;
        a->value = i->rs2 != i->rd ? h->x[i->rs2] : peek(h->observing->place, a->size); /* rd is 0 now */
        return !i->rd || !h->x[i->rd];
    case RV_OP_cbo_zero:
        a->kind = RV_ACCESS_STORE;
        a->value = 0;
        return true;
    default:
        a->kind = RV_ACCESS_AMO;
        if (i->rd && a->size <= 8)
            a->value = h->x[i->rd]; /* what it read itself, not what was there just before */
        return true;
    }
}

void rv_watch_end(struct rv_hart *h, const struct rv_insn *i, enum rv_exec result)
{
    struct observed_access a = h->observing->access;

    h->observing->pending = false;
    if (result != RV_TRAP && result != RV_JSYNC && outcome(h, i, &a))
        rv_watch_access(h, a.va, a.gpa, a.size, (enum rv_access_kind)a.kind, a.value, false);
}
