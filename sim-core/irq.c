/* A test sink for interrupt lines. */
#include "sim-core/irq.h"

static void probe_set(void *opaque, uint32_t number, bool level)
{
    struct irq_probe *probe = opaque;
    uint64_t bit = 1ull << (number & 63);

    if (level && !(probe->level & bit))
        probe->edges[number & 63]++;
    probe->level = level ? probe->level | bit : probe->level & ~bit;
}

struct irq_line irq_probe_line(struct irq_probe *probe, uint32_t number)
{
    return (struct irq_line){.set = probe_set, .opaque = probe, .number = number};
}
