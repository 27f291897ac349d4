/* What a device test needs: a simulation with a running I/O loop, a space without RAM, one device
 * made from a table of resources, and register access as a vCPU does it. */
#ifndef DEVICE_FIXTURE_H
#define DEVICE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <string.h>

#include "devices/device.h"
#include "sim-core/alloc.h"
#include "sim-core/timer.h"

struct dev_prop_row {
    const char *name;
    uint32_t value;
};

struct fixture {
    struct sim *sim;
    struct mem_space *space;
    struct device *dev;
    struct irq_probe probe;
    struct irq_line lines[64];
    struct chardev *chardev;
};

static inline uint32_t fixture_prop(const void *node, const char *name, uint32_t dflt)
{
    for (const struct dev_prop_row *p = node; p && p->name; p++)
        if (strcmp(p->name, name) == 0)
            return p->value;
    return dflt;
}

static inline void fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    assert_int_equal(sim_create(&f->sim), SIM_OK);
    assert_int_equal(sim_io_start(f->sim->io), SIM_OK);
    assert_int_equal(mem_space_create(f->sim, &f->space), SIM_OK);
    for (uint32_t i = 0; i < 64; i++)
        f->lines[i] = irq_probe_line(&f->probe, i);
}

/* Makes f->dev from the driver of `compatible`; nr_irq lines lead to f->probe. */
static inline enum sim_status fixture_try_device(struct fixture *f, const char *compatible,
                                                 const struct dev_reg *reg, unsigned nr_reg,
                                                 unsigned nr_irq, const struct dev_prop_row *props)
{
    const struct dev_driver *driver = dev_find_driver(compatible);

    assert_non_null(driver);
    return driver->create(&(struct dev_args){.sim = f->sim,
                                             .space = f->space,
                                             .label = compatible,
                                             .reg = reg,
                                             .nr_reg = nr_reg,
                                             .irq = f->lines,
                                             .nr_irq = nr_irq,
                                             .timebase_hz = 10000000,
                                             .prop_u32 = fixture_prop,
                                             .node = props,
                                             .chardev = f->chardev},
                          &f->dev);
}

static inline void fixture_device(struct fixture *f, const char *compatible, gpa_t base,
                                  uint64_t size, unsigned nr_irq, const struct dev_prop_row *props)
{
    struct dev_reg reg = {base, size};

    assert_int_equal(fixture_try_device(f, compatible, &reg, 1, nr_irq, props), SIM_OK);
}

static inline void fixture_fini(struct fixture *f)
{
    sim_io_stop(f->sim->io);
    mem_space_destroy(f->space);
    dev_destroy(f->dev);
    chardev_destroy(f->chardev);
    sim_destroy(f->sim);
}

static inline uint64_t reg_read(struct fixture *f, gpa_t gpa, unsigned size)
{
    uint64_t v;

    assert_int_equal(mem_mmio_read(f->space, gpa, size, &v), MEM_OK);
    return v;
}

static inline void reg_write(struct fixture *f, gpa_t gpa, unsigned size, uint64_t value)
{
    assert_int_equal(mem_mmio_write(f->space, gpa, size, value), MEM_OK);
}

static inline bool reg_faults(struct fixture *f, gpa_t gpa, unsigned size)
{
    uint64_t v;
    bool write_faults = mem_mmio_write(f->space, gpa, size, 0) == MEM_FAULT;

    return mem_mmio_read(f->space, gpa, size, &v) == MEM_FAULT && write_faults;
}

static inline bool line_is_high(const struct fixture *f, unsigned n)
{
    return f->probe.level >> n & 1;
}

/* The guest's time stands: what is due soon comes when it goes on, however long this thread is kept from its core. */
static inline void time_stands(struct fixture *f)
{
    sim_clock_stop(&f->sim->clock);
}

static inline void time_goes_on(struct fixture *f)
{
    sim_clock_go(&f->sim->clock);
    sim_timers_shifted(f->sim);
}

/* Waits up to a minute for a line that another thread drives. */
static inline bool line_becomes(const struct fixture *f, unsigned n, bool level)
{
    for (int ms = 0; ms < 60000; ms++) {
        if (line_is_high(f, n) == level)
            return true;
        poll(NULL, 0, 1);
    }
    return false;
}

/* Saves a's device and loads the bytes into b's, in a frozen world: no I/O thread runs meanwhile.
 */
static inline enum sim_status fixture_copy_state(struct fixture *a, struct fixture *b)
{
    struct state_buf buf = {0};
    size_t used = 0;

    sim_io_stop(a->sim->io);
    sim_io_stop(b->sim->io);
    state_save(a->dev->ops->state, a->dev, &buf);
    enum sim_status status = state_load(b->dev->ops->state, b->dev, buf.data, buf.len, &used);
    if (status == SIM_OK)
        assert_int_equal(used, buf.len);
    state_buf_fini(&buf);
    assert_int_equal(sim_io_start(a->sim->io), SIM_OK);
    if (b != a)
        assert_int_equal(sim_io_start(b->sim->io), SIM_OK);
    return status;
}

#endif
