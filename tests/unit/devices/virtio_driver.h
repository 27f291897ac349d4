/* A driver for virtio devices in tests: guest memory, one virtio-mmio slot, split queues by hand. */
#ifndef TEST_VIRTIO_DRIVER_H
#define TEST_VIRTIO_DRIVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "devices/device.h"
#include "sim-core/alloc.h"
#include "virtio/virtio.h"

enum {
    RAM_SIZE = 8 << 20,
    SLOT_BASE = 0x10001000,
    QSIZE = 16
};
#define RAM_BASE 0x80000000u
#define RINGS (RAM_BASE + 0x1000) /* queue n at RINGS + n * 0x1000: desc, avail + 0x400, used + 0x800 */
#define BUFFERS (RAM_BASE + 0x100000)

enum { D_NEXT = 1, D_WRITE = 2, D_INDIRECT = 4 };

struct driver {
    struct sim *sim;
    struct mem_space *space;
    struct device *slot;
    struct irq_probe irq;
    uint64_t features; /* negotiated */
    uint16_t qsize;
    uint16_t avail[VIRTIO_MAX_QUEUES], seen[VIRTIO_MAX_QUEUES];
};

static inline uint32_t reg_read(struct driver *d, uint32_t offset)
{
    uint64_t value = 0;

    assert_int_equal(mem_mmio_read(d->space, SLOT_BASE + offset, 4, &value), MEM_OK);
    return (uint32_t)value;
}

static inline void reg_write(struct driver *d, uint32_t offset, uint32_t value)
{
    assert_int_equal(mem_mmio_write(d->space, SLOT_BASE + offset, 4, value), MEM_OK);
}

static inline void *guest(struct driver *d, gpa_t gpa)
{
    return mem_ram_ptr(d->space, gpa, 1);
}

/* A simulation and guest memory, without a slot. */
static inline void driver_base_init(struct driver *d)
{
    memset(d, 0, sizeof *d);
    assert_int_equal(sim_create(&d->sim), SIM_OK);
    assert_int_equal(sim_io_start(d->sim->io), SIM_OK);
    assert_int_equal(mem_space_create(d->sim, &d->space), SIM_OK);
    assert_int_equal(mem_add_ram(d->space, "ram", RAM_BASE, RAM_SIZE), SIM_OK);
    assert_int_equal(mem_seal_ram(d->space), SIM_OK);
    d->qsize = QSIZE;
}

static inline void driver_init(struct driver *d)
{
    driver_base_init(d);
    struct dev_reg reg = {SLOT_BASE, 0x1000};
    struct irq_line line = irq_probe_line(&d->irq, 1);
    struct dev_args args = {.sim = d->sim,
                            .space = d->space,
                            .label = "virtio@10001000",
                            .reg = &reg,
                            .nr_reg = 1,
                            .irq = &line,
                            .nr_irq = 1};
    assert_int_equal(dev_find_driver("virtio,mmio")->create(&args, &d->slot), SIM_OK);
}

static inline void driver_plug(struct driver *d, struct virtio_device *v)
{
    assert_int_equal(virtio_mmio_plug(d->slot, v), SIM_OK);
}

static inline void driver_fini(struct driver *d)
{
    dev_destroy(d->slot);
    mem_space_destroy(d->space);
    sim_destroy(d->sim);
}

static inline gpa_t ring_desc(unsigned n)
{
    return RINGS + n * 0x1000u;
}

/* Waits for what completes on another thread. */
#define WAIT_FOR(cond)                                                                             \
    do {                                                                                           \
        uint64_t deadline_ = sim_host_ns() + 60000000000u;                                         \
        while (!(cond)) {                                                                          \
            assert_true(sim_host_ns() < deadline_);                                                \
            sim_thread_yield();                                                                    \
        }                                                                                          \
    } while (0)

static inline void queue_setup(struct driver *d, unsigned n)
{
    gpa_t base = ring_desc(n);

    memset(guest(d, base), 0, 0x1000);
    d->avail[n] = d->seen[n] = 0;
    reg_write(d, 0x30, n);
    reg_write(d, 0x38, d->qsize);
    reg_write(d, 0x80, (uint32_t)base);
    reg_write(d, 0x84, (uint32_t)(base >> 32));
    reg_write(d, 0x90, (uint32_t)base + 0x400);
    reg_write(d, 0x94, 0);
    reg_write(d, 0xa0, (uint32_t)base + 0x800);
    reg_write(d, 0xa4, 0);
    reg_write(d, 0x44, 1);
}

/* The whole of 3.1.1 with the offered features in `mask`. */
static inline void driver_start(struct driver *d, uint64_t mask, unsigned nr_queues)
{
    reg_write(d, 0x70, 0);
    reg_write(d, 0x70, 1);
    reg_write(d, 0x70, 3);
    d->features = 0;
    for (unsigned word = 0; word < 2; word++) {
        reg_write(d, 0x14, word);
        d->features |= (uint64_t)reg_read(d, 0x10) << (word * 32);
    }
    d->features &= mask | 1ull << VIRTIO_F_VERSION_1;
    for (unsigned word = 0; word < 2; word++) {
        reg_write(d, 0x24, word);
        reg_write(d, 0x20, (uint32_t)(d->features >> (word * 32)));
    }
    reg_write(d, 0x70, 11);
    assert_int_equal(reg_read(d, 0x70), 11);
    for (unsigned n = 0; n < nr_queues; n++)
        queue_setup(d, n);
    reg_write(d, 0x70, 15);
    assert_int_equal(reg_read(d, 0x70), 15);
}

static inline void set_desc_at(struct driver *d, gpa_t table, unsigned i, uint64_t addr,
                               uint32_t len, uint16_t flags, uint16_t next)
{
    uint8_t *p = guest(d, table + i * 16);

    memcpy(p, &addr, 8);
    memcpy(p + 8, &len, 4);
    memcpy(p + 12, &flags, 2);
    memcpy(p + 14, &next, 2);
}

static inline void set_desc(struct driver *d, unsigned q, unsigned i, uint64_t addr, uint32_t len,
                            uint16_t flags, uint16_t next)
{
    set_desc_at(d, ring_desc(q), i, addr, len, flags, next);
}

static inline uint16_t *avail_ring(struct driver *d, unsigned q)
{
    return guest(d, ring_desc(q) + 0x400);
}

/* Makes `head` available without a notify. */
static inline void offer(struct driver *d, unsigned q, uint16_t head)
{
    uint16_t *a = avail_ring(d, q);

    a[2 + d->avail[q] % d->qsize] = head;
    __atomic_store_n(&a[1], ++d->avail[q], __ATOMIC_RELEASE);
}

static inline void notify(struct driver *d, unsigned q)
{
    reg_write(d, 0x50, q);
}

static inline uint16_t used_idx(struct driver *d, unsigned q)
{
    return __atomic_load_n((uint16_t *)guest(d, ring_desc(q) + 0x802), __ATOMIC_ACQUIRE);
}

/* The next used element, which must come within seconds. */
static inline uint32_t take_used(struct driver *d, unsigned q, uint32_t *len)
{
    WAIT_FOR(used_idx(d, q) != d->seen[q]);
    uint32_t *e = guest(d, ring_desc(q) + 0x804 + (d->seen[q]++ % d->qsize) * 8u);
    if (len)
        *len = e[1];
    return e[0];
}

/* Saving and loading happen in a frozen world: without the I/O thread. */
static inline void freeze(struct driver *d)
{
    sim_io_stop(d->sim->io);
}

static inline void thaw(struct driver *d)
{
    assert_int_equal(sim_io_start(d->sim->io), SIM_OK);
}

static inline bool is_broken(struct driver *d)
{
    return reg_read(d, 0x70) & VIRTIO_STATUS_NEEDS_RESET;
}

#endif
