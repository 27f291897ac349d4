/* A local APIC of ours: what a vCPU has when KVM's own cannot be used (README.md, "Interrupts over ranks"). State and rules
 * only; who is told of what it sends, and how a vCPU takes what has come, is interrupts.c. Intel SDM 3A, chapter 11;
 * xAPIC mode.
 *
 *   others: apic_accept -> irr | events        executor: apic_pending -> apic_take -> isr -> guest writes EOI -> ops->eoi
 *
 * Owner: the executor that has the vCPU, for what is not atomic. Any thread: apic_accept, apic_has_work, apic_matches. */
#ifndef HKVM_APIC_H
#define HKVM_APIC_H

#include <stdatomic.h>

#include "sim-core/state.h"
#include "sim-core/types.h"

enum apic_mode { /* of delivery */
    APIC_FIXED = 0,
    APIC_LOWEST = 1,
    APIC_NMI = 4,
    APIC_INIT = 5,
    APIC_STARTUP = 6
};
enum apic_shorthand { APIC_TO_DEST, APIC_TO_SELF, APIC_TO_ALL, APIC_TO_OTHERS };
enum { APIC_BROADCAST = 0xff, APIC_BYTES = 0x1000 };

/* What is sent: by a write of ICR, or by a device's message. */
struct apic_message {
    uint8_t mode, vector, dest;
    bool logical, level;
    uint8_t shorthand;
};

struct apic_ops {
    void (*send)(void *opaque, const struct apic_message *m);
    void (*eoi)(void *opaque, uint8_t vector); /* of a level-triggered interrupt */
    void (*addressed)(void *opaque);           /* what others know of it has changed: apic_set_remote */
};

enum apic_halted { APIC_RUNS, APIC_HALTED, APIC_HALTED_DEAF /* interrupts off: for NMI and INIT only */ };
enum apic_event { APIC_EVENT_NMI = 1, APIC_EVENT_INIT = 2, APIC_EVENT_STARTUP = 4, APIC_EVENT_VECTOR_SHIFT = 8 };
enum { APIC_LVT_TIMER, APIC_LVT_THERMAL, APIC_LVT_COUNTER, APIC_LVT_LINT0, APIC_LVT_LINT1, APIC_LVT_ERROR, APIC_NR_LVT };

struct apic {
    uint32_t id;
    const struct apic_ops *ops;
    void *opaque;
    /* Written by any thread. */
    _Atomic uint32_t irr[8], tmr[8];
    _Atomic uint32_t events; /* enum apic_event, and STARTUP's vector */
    /* Written by the executor (of another rank: by its news), read by any. */
    _Atomic uint32_t ldr, dfr, svr;
    _Atomic uint32_t ppr;
    _Atomic uint32_t waits;   /* for STARTUP */
    _Atomic uint32_t halted;  /* enum apic_halted */
    /* The executor's. */
    uint32_t isr[8], tpr, icr[2], lvt[APIC_NR_LVT];
    uint32_t divide, initial;
    vtime_t due; /* of the timer; VTIME_NEVER: it stands */
};

/* As after power-on; id, ops and opaque stay. The boot CPU's does not wait for STARTUP. Others than the executor's may call
 * while it stands. */
void apic_reset(struct apic *a, bool is_boot);
/* What INIT does. */
void apic_init(struct apic *a);

/* Registers: 32 bits at multiples of 16; others read as 0 and take nothing. */
uint32_t apic_read(const struct apic *a, uint32_t offset, vtime_t now);
void apic_write(struct apic *a, uint32_t offset, uint32_t value, vtime_t now);

/* Is `a` one of whom the message is for? Not of shorthands. */
bool apic_matches(const struct apic *a, const struct apic_message *m);
/* Would it take the message, which is for it? Not one with a vector while it is off. */
bool apic_accepts(const struct apic *a, const struct apic_message *m);
bool apic_is_on(const struct apic *a);
/* Of a vCPU of another rank: its news. */
void apic_set_remote(struct apic *a, uint32_t ldr, uint32_t dfr, bool is_on);
/* Something has come; the vCPU is to be kicked afterwards. */
void apic_accept(struct apic *a, const struct apic_message *m);
/* Would a vCPU that waits go on? */
bool apic_has_work(const struct apic *a);

/* The vector that is next, or -1. */
int apic_pending(const struct apic *a);
/* It is delivered now. */
void apic_take(struct apic *a, int vector);
void apic_set_tpr(struct apic *a, uint32_t tpr);

/* When the timer next wants to interrupt, or VTIME_NEVER. */
vtime_t apic_deadline(const struct apic *a);
/* The timer's interrupt comes if it is time. */
void apic_expire(struct apic *a, vtime_t now);

extern const struct state_desc apic_state;

#endif
