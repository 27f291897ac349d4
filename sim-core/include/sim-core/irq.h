/* The interrupt seam: a line that somebody drives and somebody else listens to.
 *
 * A device holds `struct irq_line` values and calls irq_set(); the sink is a local interrupt
 * controller, a hart, or (later) a forwarder to another rank. Lines are levels; an edge is a set
 * followed by a clear. */
#ifndef SIM_CORE_IRQ_H
#define SIM_CORE_IRQ_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct irq_line {
    /* Context: any thread; takes locks of rank >= SIM_RANK_IRQCHIP only. */
    void (*set)(void *opaque, uint32_t number, bool level);
    void *opaque;
    uint32_t number;
};

/* Drives the line. A line without sink (all zero) is allowed and does nothing. Context: any. */
static inline void irq_set(const struct irq_line *line, bool level)
{
    if (line->set)
        line->set(line->opaque, line->number, level);
}

static inline void irq_pulse(const struct irq_line *line)
{
    irq_set(line, true);
    irq_set(line, false);
}

/* For unit tests: a sink that remembers the level and counts rising edges of up to 64 lines. */
struct irq_probe {
    _Atomic uint64_t level;
    _Atomic uint32_t edges[64];
};
struct irq_line irq_probe_line(struct irq_probe *probe, uint32_t number);

#endif
