/* A test sink for interrupt lines. */
#include "sim-core/irq.h"

static void probe_set(void *opaque, uint32_t number, bool level)
{
    struct irq_probe *probe = opaque;
    uint64_t bit = 1ull << (number & 63);

    if (!level)
        atomic_fetch_and_explicit(&probe->level, ~bit, memory_order_acq_rel);
    else if (!(atomic_fetch_or_explicit(&probe->level, bit, memory_order_acq_rel) & bit))
        atomic_fetch_add_explicit(&probe->edges[number & 63], 1, memory_order_acq_rel);
}

struct irq_line irq_probe_line(struct irq_probe *probe, uint32_t number)
{
    return (struct irq_line){.set = probe_set, .opaque = probe, .number = number};
}
