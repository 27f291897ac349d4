/* What does a hart that gave way wait for?
 *
 *   WRS                                  the reserved word
 *   PAUSE, or a loop the JIT saw spin    a round of the loop is interpreted: when it leads back with all registers as they
 *   (jit/spin.c)                         were, and read one word of RAM only, then that one
 *
 * The executor lets the hart rest until the word has another value (vcpu.watch). Where that is not known it asks now and
 * then. On several ranks pages come and go, observers want to see each round, and turns by counted time end where they
 * end: nothing is watched there. */
#include <string.h>

#include "hart.h"
#include "mem.h"

enum { MOST_INSNS = 12 };

static bool may_watch(const struct rv_hart *h)
{
    return !h->machine->sim->ranks && !h->observe && !rv_counts_time(h);
}

void rv_watch_reservation(struct rv_hart *h)
{
    if (may_watch(h))
        h->vcpu.watch = (struct vcpu_watch){.word = rv_lr_ptr(h, h->res_addr, (unsigned)h->res_size),
                                            .value = h->res_value,
                                            .size = (uint8_t)h->res_size};
}

/* The word of RAM that a load of `size` bytes reads a part of, when the soft TLB has it. */
static struct vcpu_watch word_at(struct rv_hart *h, gva_t va, unsigned size)
{
    const struct rv_tlb_entry *e = rv_tlb_way0(h, va);
    struct vcpu_watch w = {.size = size == 8 ? 8 : 4};
    const void *p = (const void *)(uintptr_t)(e->addend + (va & ~(gva_t)(w.size - 1)));

    if (e->tag_r != (va & (GUEST_PAGE_MASK | (size - 1))))
        return w;
    w.word = p;
    w.value = size == 8 ? __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED)
                        : __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
    return w;
}

/* May the instruction be part of a loop that only waits? Of a load, at `va`, *w becomes what it reads; a second word is one
 * too many. */
static bool only_waits(struct rv_hart *h, const struct rv_insn *i, gva_t va, struct vcpu_watch *w)
{
    unsigned flags = rv_op_info[i->op].flags;

    if (i->op == RV_OP_illegal || (flags & ~(RV_OPF_LOAD | RV_OPF_BRANCH | RV_OPF_JUMP | RV_OPF_RD_X)))
        return i->op == RV_OP_pause;
    if (!(flags & RV_OPF_LOAD))
        return true;
    struct vcpu_watch word = word_at(h, va, rv_op_info[i->op].size);
    bool first = !w->word;

    if (first)
        *w = word;
    return word.word && (first || (word.word == w->word && word.value == w->value));
}

/* Was it the value watched that the load, which has been run, read? The word may have changed in between. */
static bool has_read(const struct rv_hart *h, const struct rv_insn *i, gva_t va, const struct vcpu_watch *w)
{
    unsigned size = rv_op_info[i->op].size, shift = 8 * (unsigned)(va & (w->size - 1u));
    uint64_t bits = size == 8 ? UINT64_MAX : ((uint64_t)1 << 8 * size) - 1;

    return i->rd && !((h->x[i->rd] ^ w->value >> shift) & bits);
}

/* The next instruction is run when it is harmless: it neither traps nor leaves. */
static bool step(struct rv_hart *h, struct vcpu_watch *w)
{
    struct rv_insn insn;
    uint32_t raw;

    if (!rv_fetch_whole(h, h->pc) || !rv_fetch(h, &raw))
        return false;
    rv_decode(raw, &h->isa, &insn);
    gva_t va = h->x[insn.rs1] + (uint64_t)(int64_t)insn.imm;
    if (!only_waits(h, &insn, va, w))
        return false;
    rv_interp_step(h);
    return !(rv_op_info[insn.op].flags & RV_OPF_LOAD) || has_read(h, &insn, va, w);
}

void rv_watch_loop(struct rv_hart *h)
{
    uint64_t pc = h->pc, x[32];
    struct vcpu_watch w = {0};
    unsigned n = 0;

    if (!may_watch(h))
        return;
    memcpy(x, h->x, sizeof x);
    while (n++ < MOST_INSNS && step(h, &w))
        if (h->pc == pc) {
            if (!memcmp(x, h->x, sizeof x))
                h->vcpu.watch = w;
            return;
        }
}
