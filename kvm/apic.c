/* The rules of a local APIC: registers, priorities, the timer. apic.h has the picture. */
#include "apic.h"

#include "sim-core/compiler.h"
#include "sim-core/log.h"

enum {
    R_ID = 0x20, R_VERSION = 0x30, R_TPR = 0x80, R_PPR = 0xa0, R_EOI = 0xb0, R_LDR = 0xd0, R_DFR = 0xe0, R_SVR = 0xf0,
    R_ISR = 0x100, R_TMR = 0x180, R_IRR = 0x200, R_ESR = 0x280, R_ICR = 0x300, R_ICR_HIGH = 0x310, R_LVT = 0x320,
    R_INITIAL = 0x380, R_CURRENT = 0x390, R_DIVIDE = 0x3e0
};
enum { VERSION = 0x14 | (APIC_NR_LVT - 1) << 16 };
enum { VECTOR_MIN = 16 }; /* those below are exceptions */
enum { SVR_ENABLED = 1 << 8, SVR_BITS = 0x1ff, LVT_MASKED = 1 << 16, TIMER_PERIODIC = 1 << 17 };
enum { ICR_BITS = 0xccfff, ICR_LOGICAL = 1 << 11, ICR_ASSERT = 1 << 14, ICR_LEVEL = 1 << 15 };
#define DFR_FLAT 0xffffffffu
#define LDR_BITS 0xff000000u

/* The timer counts nanoseconds, as KVM's does, and interrupts no more often than KVM's. */
enum { PERIOD_MIN_NS = 200000 };

/* What can be written into each LVT. */
static const uint32_t lvt_bits[APIC_NR_LVT] = {[APIC_LVT_TIMER] = 0x300ff, [APIC_LVT_THERMAL] = 0x107ff,
                                               [APIC_LVT_COUNTER] = 0x107ff, [APIC_LVT_LINT0] = 0x1a7ff,
                                               [APIC_LVT_LINT1] = 0x1a7ff, [APIC_LVT_ERROR] = 0x100ff};

/* --- sets of 256 vectors --- */

static void put(_Atomic uint32_t set[8], unsigned n, bool value)
{
    const uint32_t bit = 1u << n % 32;

    if (value)
        atomic_fetch_or_explicit(&set[n / 32], bit, memory_order_seq_cst);
    else
        atomic_fetch_and_explicit(&set[n / 32], ~bit, memory_order_seq_cst);
}

static bool is_in(const _Atomic uint32_t set[8], unsigned n)
{
    return atomic_load_explicit(&set[n / 32], memory_order_seq_cst) >> n % 32 & 1;
}

static int highest_bit(uint32_t word, int i)
{
    return i * 32 + 31 - __builtin_clz(word);
}

static int highest_requested(const struct apic *a)
{
    for (int i = 7; i >= 0; i--) {
        uint32_t word = atomic_load_explicit(&a->irr[i], memory_order_seq_cst);
        if (word)
            return highest_bit(word, i);
    }
    return -1;
}

static int highest_served(const struct apic *a)
{
    for (int i = 7; i >= 0; i--)
        if (a->isr[i])
            return highest_bit(a->isr[i], i);
    return -1;
}

static void empty(_Atomic uint32_t set[8])
{
    for (unsigned i = 0; i < 8; i++)
        atomic_store_explicit(&set[i], 0, memory_order_seq_cst);
}

/* --- priorities (11.8.3) --- */

static uint32_t load(const _Atomic uint32_t *at)
{
    return atomic_load_explicit(at, memory_order_seq_cst);
}

static void store(_Atomic uint32_t *at, uint32_t value)
{
    atomic_store_explicit(at, value, memory_order_seq_cst);
}

static void update_priority(struct apic *a)
{
    int served = highest_served(a);
    uint32_t class = served < 0 ? 0 : (uint32_t)served & 0xf0;

    store(&a->ppr, a->tpr >= class ? a->tpr : class);
}

int apic_pending(const struct apic *a)
{
    int vector = highest_requested(a);

    return vector >= 0 && ((uint32_t)vector & 0xf0) > (load(&a->ppr) & 0xf0) ? vector : -1;
}

void apic_take(struct apic *a, int vector)
{
    put(a->irr, (unsigned)vector, false);
    a->isr[vector / 32] |= 1u << vector % 32;
    update_priority(a);
}

void apic_set_tpr(struct apic *a, uint32_t tpr)
{
    a->tpr = tpr & 0xff;
    update_priority(a);
}

static void end_of_interrupt(struct apic *a)
{
    int vector = highest_served(a);

    if (vector < 0)
        return;
    a->isr[vector / 32] &= ~(1u << vector % 32);
    update_priority(a);
    if (is_in(a->tmr, (unsigned)vector))
        a->ops->eoi(a->opaque, (uint8_t)vector);
}

/* --- what comes from outside --- */

/* Logical destinations: flat, or clusters of four (11.6.2.2). */
static bool matches_logical(const struct apic *a, uint8_t dest)
{
    uint8_t ldr = (uint8_t)(load(&a->ldr) >> 24);

    if (load(&a->dfr) == DFR_FLAT)
        return ldr & dest;
    return (ldr & 0xf0) == (dest & 0xf0) && ldr & dest & 0xf;
}

bool apic_matches(const struct apic *a, const struct apic_message *m)
{
    if (m->dest == APIC_BROADCAST)
        return true;
    return m->logical ? matches_logical(a, m->dest) : m->dest == a->id;
}

bool apic_is_on(const struct apic *a)
{
    return load(&a->svr) & SVR_ENABLED;
}

bool apic_accepts(const struct apic *a, const struct apic_message *m)
{
    switch (m->mode) {
    case APIC_FIXED:
    case APIC_LOWEST:
        return m->vector >= VECTOR_MIN && apic_is_on(a);
    case APIC_NMI:
    case APIC_INIT:
    case APIC_STARTUP:
        return true;
    default:
        return false;
    }
}

void apic_set_remote(struct apic *a, uint32_t ldr, uint32_t dfr, bool is_on)
{
    store(&a->ldr, ldr);
    store(&a->dfr, dfr);
    store(&a->svr, is_on ? SVR_ENABLED : 0);
}

static void accept_event(struct apic *a, uint32_t off, uint32_t on)
{
    uint32_t old = load(&a->events);

    while (!atomic_compare_exchange_weak_explicit(&a->events, &old, (old & ~off) | on, memory_order_seq_cst,
                                                  memory_order_seq_cst))
        ;
}

static void accept_vector(struct apic *a, uint8_t vector, bool level)
{
    if (vector < VECTOR_MIN || !apic_is_on(a))
        return;
    put(a->tmr, vector, level);
    put(a->irr, vector, true);
}

void apic_accept(struct apic *a, const struct apic_message *m)
{
    const uint32_t startup = APIC_EVENT_STARTUP | 0xffu << APIC_EVENT_VECTOR_SHIFT;

    switch (m->mode) {
    case APIC_FIXED:
    case APIC_LOWEST:
        accept_vector(a, m->vector, m->level);
        return;
    case APIC_NMI:
        accept_event(a, 0, APIC_EVENT_NMI);
        return;
    case APIC_INIT: /* whatever came before it is void */
        accept_event(a, startup, APIC_EVENT_INIT);
        return;
    case APIC_STARTUP:
        accept_event(a, startup, APIC_EVENT_STARTUP | (uint32_t)m->vector << APIC_EVENT_VECTOR_SHIFT);
        return;
    }
}

bool apic_has_work(const struct apic *a)
{
    if (load(&a->events))
        return true;
    return !load(&a->waits) && load(&a->halted) != APIC_HALTED_DEAF && apic_pending(a) >= 0;
}

/* --- the timer --- */

static uint64_t divisor(const struct apic *a)
{
    unsigned n = (a->divide & 3) | (a->divide >> 1 & 4);

    return 1ull << (n + 1) % 8;
}

static bool is_periodic(const struct apic *a)
{
    return a->lvt[APIC_LVT_TIMER] & TIMER_PERIODIC;
}

static uint64_t period_ns(const struct apic *a)
{
    uint64_t ns = a->initial * divisor(a);

    return ns < PERIOD_MIN_NS ? PERIOD_MIN_NS : ns;
}

static uint32_t current_count(const struct apic *a, vtime_t now)
{
    return a->due == VTIME_NEVER || a->due <= now ? 0 : (uint32_t)((a->due - now) / divisor(a));
}

static void start_timer(struct apic *a, uint32_t count, vtime_t now)
{
    a->due = count ? now + count * divisor(a) : VTIME_NEVER;
}

vtime_t apic_deadline(const struct apic *a)
{
    return a->lvt[APIC_LVT_TIMER] & LVT_MASKED ? VTIME_NEVER : a->due;
}

/* Periods that were missed are one. */
void apic_expire(struct apic *a, vtime_t now)
{
    uint32_t lvt = a->lvt[APIC_LVT_TIMER];

    if (a->due > now)
        return;
    a->due = is_periodic(a) ? a->due + ((now - a->due) / period_ns(a) + 1) * period_ns(a) : VTIME_NEVER;
    if (!(lvt & LVT_MASKED))
        accept_vector(a, lvt & 0xff, false);
}

/* --- registers --- */

static void set_svr(struct apic *a, uint32_t value)
{
    bool was_on = apic_is_on(a);

    store(&a->svr, value & SVR_BITS);
    if (was_on != apic_is_on(a))
        a->ops->addressed(a->opaque);
    for (unsigned i = 0; !(value & SVR_ENABLED) && i < APIC_NR_LVT; i++)
        a->lvt[i] |= LVT_MASKED;
}

static void set_lvt(struct apic *a, unsigned n, uint32_t value)
{
    a->lvt[n] = (value & lvt_bits[n]) | (apic_is_on(a) ? 0 : LVT_MASKED);
}

/* What is left of the count goes on at the new pace, also the last part of it. */
static void set_divide(struct apic *a, uint32_t value, vtime_t now)
{
    uint64_t before = divisor(a);

    a->divide = value & 0xb;
    if (a->due != VTIME_NEVER && a->due > now)
        a->due = now + (a->due - now) * divisor(a) / before;
}

static void set_address(struct apic *a, _Atomic uint32_t *reg, uint32_t value)
{
    store(reg, value);
    a->ops->addressed(a->opaque);
}

static void send(struct apic *a, uint32_t value)
{
    const struct apic_message m = {.mode = value >> 8 & 7,
                                   .vector = (uint8_t)value,
                                   .dest = (uint8_t)(a->icr[1] >> 24),
                                   .logical = value & ICR_LOGICAL,
                                   .shorthand = value >> 18 & 3};

    a->icr[0] = value & ICR_BITS;
    if (m.mode == APIC_INIT && value & ICR_LEVEL && !(value & ICR_ASSERT))
        return; /* INIT's end, which the last APICs of its kind listened to */
    a->ops->send(a->opaque, &m);
}

/* The n-th of a row of registers that begins at `base`. */
static unsigned nth(uint32_t offset, uint32_t base)
{
    return (offset - base) / 16;
}

uint32_t apic_read(const struct apic *a, uint32_t offset, vtime_t now)
{
    switch (offset) {
    case R_ID:
        return a->id << 24;
    case R_VERSION:
        return VERSION;
    case R_TPR:
        return a->tpr;
    case R_PPR:
        return load(&a->ppr);
    case R_LDR:
        return load(&a->ldr);
    case R_DFR:
        return load(&a->dfr);
    case R_SVR:
        return load(&a->svr);
    case R_ICR:
        return a->icr[0];
    case R_ICR_HIGH:
        return a->icr[1];
    case R_INITIAL:
        return a->initial;
    case R_CURRENT:
        return current_count(a, now);
    case R_DIVIDE:
        return a->divide;
    }
    if (offset % 16)
        return 0;
    if (offset >= R_ISR && offset < R_TMR)
        return a->isr[nth(offset, R_ISR)];
    if (offset >= R_TMR && offset < R_IRR)
        return load(&a->tmr[nth(offset, R_TMR)]);
    if (offset >= R_IRR && offset < R_ESR)
        return load(&a->irr[nth(offset, R_IRR)]);
    return offset >= R_LVT && nth(offset, R_LVT) < APIC_NR_LVT ? a->lvt[nth(offset, R_LVT)] : 0;
}

void apic_write(struct apic *a, uint32_t offset, uint32_t value, vtime_t now)
{
    switch (offset) {
    case R_TPR:
        apic_set_tpr(a, value);
        return;
    case R_EOI:
        end_of_interrupt(a);
        return;
    case R_LDR:
        set_address(a, &a->ldr, value & LDR_BITS);
        return;
    case R_DFR:
        set_address(a, &a->dfr, value | ~0xf0000000u);
        return;
    case R_SVR:
        set_svr(a, value);
        return;
    case R_ICR:
        send(a, value);
        return;
    case R_ICR_HIGH:
        a->icr[1] = value & 0xff000000;
        return;
    case R_INITIAL:
        a->initial = value;
        start_timer(a, value, now);
        return;
    case R_DIVIDE:
        set_divide(a, value, now);
        return;
    }
    if (offset % 16 == 0 && offset >= R_LVT && nth(offset, R_LVT) < APIC_NR_LVT)
        set_lvt(a, nth(offset, R_LVT), value);
}

/* --- resets --- */

void apic_init(struct apic *a)
{
    empty(a->irr);
    empty(a->tmr);
    for (unsigned i = 0; i < 8; i++)
        a->isr[i] = 0;
    a->tpr = a->icr[0] = a->icr[1] = a->divide = a->initial = 0;
    for (unsigned i = 0; i < APIC_NR_LVT; i++)
        a->lvt[i] = LVT_MASKED;
    a->due = VTIME_NEVER;
    store(&a->ldr, 0);
    store(&a->dfr, DFR_FLAT);
    store(&a->svr, 0xff);
    store(&a->halted, APIC_RUNS);
    store(&a->waits, 1);
    update_priority(a);
}

void apic_reset(struct apic *a, bool is_boot)
{
    apic_init(a);
    store(&a->events, 0);
    store(&a->waits, !is_boot);
}

/* --- saved state --- */

static enum sim_status post_load(void *object)
{
    update_priority(object);
    return SIM_OK;
}

static const struct state_field fields[] = {
    STATE_ARRAY(struct apic, STATE_U32, irr), STATE_ARRAY(struct apic, STATE_U32, tmr),
    STATE_SCALAR(struct apic, STATE_U32, events), STATE_SCALAR(struct apic, STATE_U32, ldr),
    STATE_SCALAR(struct apic, STATE_U32, dfr), STATE_SCALAR(struct apic, STATE_U32, svr),
    STATE_SCALAR(struct apic, STATE_U32, waits), STATE_SCALAR(struct apic, STATE_U32, halted),
    STATE_ARRAY(struct apic, STATE_U32, isr), STATE_SCALAR(struct apic, STATE_U32, tpr),
    STATE_ARRAY(struct apic, STATE_U32, icr), STATE_ARRAY(struct apic, STATE_U32, lvt),
    STATE_SCALAR(struct apic, STATE_U32, divide), STATE_SCALAR(struct apic, STATE_U32, initial),
    STATE_SCALAR(struct apic, STATE_U64, due), STATE_END};
STATE_LAYOUT(apic, struct apic, STATE_DERIVED(struct apic, id) STATE_DERIVED(struct apic, ops)
             STATE_DERIVED(struct apic, opaque) STATE_DERIVED(struct apic, ppr));

const struct state_desc apic_state = {
    .name = "x86-apic", .version = 1, .fields = fields, .post_load = post_load, STATE_LAYOUT_OF(apic, struct apic)};
