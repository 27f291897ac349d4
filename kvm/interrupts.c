/* Interrupts of a machine whose APICs are ours: what one vCPU or a device sends reaches the APICs of all ranks, and a vCPU
 * takes what its own has.
 *
 *   guest writes ICR -> exit -> apic_write -> hkvm_interrupts_send -> here: apic_accept, kick | elsewhere: message
 *   device's IOAPIC  -> mem_mmio_write 0xfeeDD000 -> the same             message -> ops->deliver -> apic_accept, kick
 *   before KVM_RUN   -> INIT, STARTUP, NMI, the timer, the next vector -> KVM_INTERRUPT, or an exit when it can be taken
 *   guest writes EOI -> level-triggered: mem_mmio_write to the IOAPIC's EOI register, on whichever rank it is
 *
 * The bus is as on a PC: addresses 0xfee00000 + destination * 4096 are messages when devices write them, and the vCPU's own
 * registers when a CPU does. Each rank knows the logical addresses of all APICs: whoever changes its own tells the others. */
#include <errno.h>
#include <string.h>

#include "hkvm_priv.h"
#include "sim-core/log.h"

enum { MSI_BYTES = 0x100000, MSI_DEST_SHIFT = 12, MSI_LOGICAL = 1 << 2, MSI_LEVEL = 1 << 15 };

/* --- from rank to rank --- */

enum news_kind { NEWS_MESSAGE, NEWS_ADDRESS };

struct news {
    uint32_t kind;
    uint8_t mode, vector, level, is_on; /* the last: of NEWS_ADDRESS */
    uint32_t ldr, dfr;
};

static void wake(struct hkvm_vcpu *h)
{
    vcpu_kick(&h->vcpu);
}

static void give(struct hkvm_vcpu *h, const struct apic_message *m)
{
    struct sim *sim = h->vcpu.sim;

    if (!h->vcpu.remote) {
        apic_accept(&h->apic, m);
        wake(h);
    } else if (sim->ranks) {
        const struct news n = {.kind = NEWS_MESSAGE, .mode = m->mode, .vector = m->vector, .level = m->level};
        sim->ranks->post(sim->ranks_opaque, &h->vcpu, &n, sizeof n);
    }
}

void hkvm_interrupts_deliver(struct vcpu *v, uint32_t from_rank, const void *msg, uint32_t len)
{
    struct hkvm_vcpu *h = hkvm_vcpu_of(v);
    struct news n;

    if (len != sizeof n || !h->m->own_apics) {
        sim_warn("rank %u sent %u bytes to a KVM vCPU, which takes no such message", from_rank, len);
        return;
    }
    memcpy(&n, msg, sizeof n);
    if (n.kind == NEWS_ADDRESS) {
        apic_set_remote(&h->apic, n.ldr, n.dfr, n.is_on);
        return;
    }
    const struct apic_message m = {.mode = n.mode, .vector = n.vector, .level = n.level};
    apic_accept(&h->apic, &m);
    wake(h);
}

void hkvm_interrupts_tell(struct hkvm_vcpu *h)
{
    struct sim *sim = h->vcpu.sim;
    const struct news n = {.kind = NEWS_ADDRESS,
                           .is_on = apic_is_on(&h->apic),
                           .ldr = atomic_load_explicit(&h->apic.ldr, memory_order_seq_cst),
                           .dfr = atomic_load_explicit(&h->apic.dfr, memory_order_seq_cst)};

    for (uint32_t rank = 0; sim->ranks && rank < sim->nr_ranks; rank++)
        if (rank != sim->rank)
            sim->ranks->tell(sim->ranks_opaque, rank, &h->vcpu, &n, sizeof n);
}

static void on_addressed(void *opaque)
{
    hkvm_interrupts_tell(opaque);
}

/* --- who gets a message --- */

static bool is_for(const struct hkvm_vcpu *h, const struct hkvm_vcpu *from, const struct apic_message *m)
{
    switch (m->shorthand) {
    case APIC_TO_SELF:
        return h == from;
    case APIC_TO_ALL:
        return true;
    case APIC_TO_OTHERS:
        return h != from;
    default:
        return apic_matches(&h->apic, m);
    }
}

/* Of several that a lowest-priority interrupt is for the first gets it that takes it. */
static bool send_to_one(struct hkvm_machine *m, const struct hkvm_vcpu *from, const struct apic_message *msg)
{
    for (uint32_t i = 0; i < m->nr_added; i++) {
        if (is_for(m->vcpu[i], from, msg) && apic_accepts(&m->vcpu[i]->apic, msg)) {
            give(m->vcpu[i], msg);
            return true;
        }
    }
    return false;
}

/* `from` is NULL when a device sends. False: nobody takes it, as far as is known here. */
static bool send(struct hkvm_machine *m, const struct hkvm_vcpu *from, const struct apic_message *msg)
{
    bool taken = false;

    if (msg->mode == APIC_LOWEST)
        return send_to_one(m, from, msg);
    for (uint32_t i = 0; i < m->nr_added; i++) {
        if (!is_for(m->vcpu[i], from, msg))
            continue;
        taken |= apic_accepts(&m->vcpu[i]->apic, msg);
        give(m->vcpu[i], msg); /* whose is elsewhere may have been turned on just now */
    }
    return taken;
}

static void on_send(void *opaque, const struct apic_message *m)
{
    struct hkvm_vcpu *h = opaque;

    (void)send(h->m, h, m);
}

static void on_eoi(void *opaque, uint8_t vector)
{
    struct hkvm_vcpu *h = opaque;

    (void)mem_mmio_write(h->m->space, HKVM_IOAPIC_EOI, 4, vector);
}

static const struct apic_ops apic_ops = {.send = on_send, .eoi = on_eoi, .addressed = on_addressed};

/* --- devices' messages --- */

static bool msi_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    (void)opaque, (void)offset, (void)size;
    *value = 0;
    return true;
}

/* Refused when no APIC takes it: whoever has sent it then knows that no end of interrupt will come. */
static bool msi_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    const struct apic_message m = {.mode = value >> 8 & 7,
                                   .vector = (uint8_t)value,
                                   .dest = (uint8_t)(offset >> MSI_DEST_SHIFT),
                                   .logical = offset & MSI_LOGICAL,
                                   .level = value & MSI_LEVEL};

    (void)size;
    return send(opaque, NULL, &m);
}

static const struct mem_ops msi_ops = {.read = msi_read, .write = msi_write, .min_size = 4, .max_size = 4};

enum sim_status hkvm_interrupts_create(struct hkvm_machine *m)
{
    m->msi = (struct mem_region){
        .name = "message-signalled interrupts", .base = HKVM_APIC_BASE, .size = MSI_BYTES, .ops = &msi_ops, .opaque = m};
    enum sim_status status = mem_add_mmio(m->space, &m->msi);

    m->has_msi = status == SIM_OK;
    return status;
}

void hkvm_interrupts_destroy(struct hkvm_machine *m)
{
    if (m->has_msi)
        mem_remove_mmio(m->space, &m->msi);
}

void hkvm_interrupts_add(struct hkvm_vcpu *h)
{
    h->apic = (struct apic){.id = h->apic_id, .ops = &apic_ops, .opaque = h};
    apic_reset(&h->apic, h->apic_id == 0);
}

/* --- the vCPU's own registers --- */

/* Any part of the 32 bits may be read; writes are of all of them. */
void hkvm_interrupts_access(struct hkvm_vcpu *h, uint32_t offset, uint8_t *data, uint32_t len, bool is_write)
{
    struct apic *a = &h->apic;
    vtime_t now = sim_clock_now(&h->vcpu.sim->clock);
    uint32_t value = 0;

    apic_expire(a, now);
    if (is_write) {
        memcpy(&value, data, len < sizeof value ? len : sizeof value);
        apic_write(a, offset, value, now);
        return;
    }
    value = apic_read(a, offset & ~3u, now) >> offset % 4 * 8;
    memset(data, 0, len);
    memcpy(data, &value, len < sizeof value ? len : sizeof value);
}

/* --- what a vCPU takes before it enters guest code --- */

/* Registers as INIT leaves them; vector registers, MSRs and time stay. */
static bool take_init(struct hkvm_vcpu *h)
{
    const struct hkvm_regs_state *init = &h->initial;
    struct kvm_sregs now, sregs;
    struct kvm_vcpu_events events;

    memcpy(&sregs, init->sregs, sizeof sregs);
    memcpy(&events, init->events, sizeof events);
    if (ioctl(h->fd, KVM_GET_SREGS, &now) < 0)
        return false;
    sregs.apic_base = now.apic_base;
    apic_init(&h->apic);
    hkvm_interrupts_tell(h);
    h->run->ready_for_interrupt_injection = 0;
    return ioctl(h->fd, KVM_SET_SREGS, &sregs) == 0 && ioctl(h->fd, KVM_SET_REGS, init->regs) == 0 &&
           ioctl(h->fd, KVM_SET_DEBUGREGS, init->debugregs) == 0 && ioctl(h->fd, KVM_SET_VCPU_EVENTS, &events) == 0;
}

/* In real mode at the page that STARTUP names. */
static bool take_startup(struct hkvm_vcpu *h, uint8_t vector)
{
    struct kvm_sregs s;
    struct kvm_regs r;

    memcpy(&r, h->initial.regs, sizeof r);
    r.rip = 0;
    if (ioctl(h->fd, KVM_GET_SREGS, &s) < 0)
        return false;
    s.cs.selector = (uint16_t)(vector << 8);
    s.cs.base = (uint64_t)vector << 12;
    atomic_store_explicit(&h->apic.waits, 0, memory_order_seq_cst);
    return ioctl(h->fd, KVM_SET_SREGS, &s) == 0 && ioctl(h->fd, KVM_SET_REGS, &r) == 0;
}

static bool take_nmi(struct hkvm_vcpu *h)
{
    atomic_store_explicit(&h->apic.halted, APIC_RUNS, memory_order_seq_cst);
    return ioctl(h->fd, KVM_NMI, 0) == 0;
}

/* In this order: INIT before the STARTUP that followed it; a STARTUP or NMI that nobody waits for is lost. */
static bool take_events(struct hkvm_vcpu *h)
{
    uint32_t events = atomic_exchange_explicit(&h->apic.events, 0, memory_order_seq_cst);
    bool ok = true;

    if (events & APIC_EVENT_INIT)
        ok = take_init(h);
    bool waits = atomic_load_explicit(&h->apic.waits, memory_order_seq_cst);
    if (ok && events & APIC_EVENT_STARTUP && waits)
        ok = take_startup(h, (uint8_t)(events >> APIC_EVENT_VECTOR_SHIFT));
    else if (ok && events & APIC_EVENT_NMI && !waits)
        ok = take_nmi(h);
    if (!ok)
        hkvm_broken(h, "INIT, STARTUP or NMI: %m");
    return ok;
}

/* The next vector, or an exit as soon as it can be taken. */
static bool take_vector(struct hkvm_vcpu *h)
{
    int vector = apic_pending(&h->apic);
    struct kvm_interrupt k = {.irq = (uint32_t)vector};

    if (vector >= 0 && h->run->ready_for_interrupt_injection) {
        apic_take(&h->apic, vector);
        h->run->ready_for_interrupt_injection = 0;
        if (ioctl(h->fd, KVM_INTERRUPT, &k) < 0) {
            hkvm_broken(h, "KVM_INTERRUPT: %m");
            return false;
        }
        vector = apic_pending(&h->apic);
    }
    h->run->request_interrupt_window = vector >= 0;
    return true;
}

enum hkvm_readiness hkvm_interrupts_take(struct hkvm_vcpu *h)
{
    struct apic *a = &h->apic;

    if (atomic_load_explicit(&a->events, memory_order_seq_cst) && !take_events(h))
        return HKVM_BROKEN;
    apic_expire(a, sim_clock_now(&h->vcpu.sim->clock));
    if (atomic_load_explicit(&a->waits, memory_order_seq_cst))
        return HKVM_WAITS;
    if (atomic_load_explicit(&a->halted, memory_order_seq_cst)) {
        if (!apic_has_work(a))
            return HKVM_WAITS;
        atomic_store_explicit(&a->halted, APIC_RUNS, memory_order_seq_cst);
    }
    return take_vector(h) ? HKVM_READY : HKVM_BROKEN;
}

void hkvm_interrupts_halt(struct hkvm_vcpu *h)
{
    atomic_store_explicit(&h->apic.halted, h->run->if_flag ? APIC_HALTED : APIC_HALTED_DEAF, memory_order_seq_cst);
}
