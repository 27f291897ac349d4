/* Interrupt lines of KVM's own controllers: levels, and edges by eventfd.
 *
 *   level   irq_set -> KVM_IRQ_LINE, up and down                        the PIC's and IOAPIC's input stays as it is driven
 *   edge    irq_set(high) -> write to an eventfd -> (kworker) up, down   irq_set(low): nothing
 *
 * A device need not know which of both its line is. One that says `high` at each event, and whenever an acknowledgement leaves
 * something, loses none: an event is a bit in its status before its edge is sent, and the driver reads the status after the edge. An
 * edge may be one too many (the status is empty by then), never one too few.
 *
 * An edge that is under way is in no saved state. What is saved is the device, which says `high` again when it is loaded if
 * something was not acknowledged. That is before the interrupt controllers and the local APICs are loaded, so edges of that time
 * are sent again when they have been. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hkvm_priv.h"
#include "sim-core/log.h"

static void set_level(void *opaque, uint32_t gsi, bool level)
{
    struct hkvm_machine *m = opaque;
    struct kvm_irq_level k = {.irq = gsi, .level = level};

    if (ioctl(m->vm, KVM_IRQ_LINE, &k) < 0)
        sim_error("KVM_IRQ_LINE %u: %m", gsi);
}

struct irq_line hkvm_machine_irq(struct hkvm_machine *m, uint32_t gsi)
{
    return gsi < HKVM_NR_GSIS ? (struct irq_line){set_level, m, gsi} : (struct irq_line){0};
}

/* --- edges --- */

static void send_edge(struct hkvm_machine *m, uint32_t gsi)
{
    const uint64_t one = 1;
    int fd = m->pin[gsi].fd;

    if (fd >= 0 && write(fd, &one, sizeof one) == sizeof one)
        return;
    set_level(m, gsi, true);
    set_level(m, gsi, false);
}

static void set_edge(void *opaque, uint32_t gsi, bool level)
{
    struct hkvm_machine *m = opaque;

    if (!level)
        return;
    atomic_fetch_add_explicit(&m->pin[gsi].edges, 1, memory_order_relaxed);
    send_edge(m, gsi);
}

/* Does the eventfd raise the pin from here on? Else errno says why not. */
static bool bind_eventfd(struct hkvm_machine *m, uint32_t gsi, int fd)
{
    struct kvm_irqfd k = {.fd = (uint32_t)fd, .gsi = gsi};

    return fd >= 0 && ioctl(m->vm, KVM_IRQFD, &k) == 0;
}

static void open_pin(struct hkvm_machine *m, uint32_t gsi)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    m->pin[gsi].is_edge = true;
    if (bind_eventfd(m, gsi, fd)) {
        m->pin[gsi].fd = fd;
        return;
    }
    if (!m->warned_of_edges)
        sim_warn("KVM: interrupts cannot come by eventfd (irqfd), and take two ioctls each; the first is pin %u: %m", gsi);
    m->warned_of_edges = true;
    if (fd >= 0)
        close(fd);
}

struct irq_line hkvm_machine_edge_irq(struct hkvm_machine *m, uint32_t gsi)
{
    if (gsi >= HKVM_NR_GSIS)
        return (struct irq_line){0};
    if (!m->pin[gsi].is_edge)
        open_pin(m, gsi);
    return (struct irq_line){set_edge, m, gsi};
}

uint64_t hkvm_machine_edges_by_eventfd(const struct hkvm_machine *m)
{
    uint64_t sum = 0;

    for (uint32_t gsi = 0; gsi < HKVM_NR_GSIS; gsi++)
        if (m->pin[gsi].fd >= 0)
            sum += atomic_load_explicit(&m->pin[gsi].edges, memory_order_relaxed);
    return sum;
}

/* --- life --- */

void hkvm_lines_init(struct hkvm_machine *m)
{
    for (uint32_t gsi = 0; gsi < HKVM_NR_GSIS; gsi++)
        m->pin[gsi].fd = -1;
}

void hkvm_lines_close(struct hkvm_machine *m)
{
    for (uint32_t gsi = 0; gsi < HKVM_NR_GSIS; gsi++)
        if (m->pin[gsi].fd >= 0)
            close(m->pin[gsi].fd);
}

/* A pin that was saved between its edge's up and down would take the next edge for a part of that one. */
void hkvm_lines_rest(struct hkvm_machine *m)
{
    for (uint32_t gsi = 0; gsi < HKVM_NR_GSIS; gsi++)
        if (m->pin[gsi].is_edge)
            set_level(m, gsi, false);
}

void hkvm_lines_raise_again(struct hkvm_machine *m)
{
    for (uint32_t gsi = 0; gsi < HKVM_NR_GSIS; gsi++)
        if (atomic_load_explicit(&m->pin[gsi].edges, memory_order_relaxed))
            send_edge(m, gsi);
}
