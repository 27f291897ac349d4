/* A whole machine for fuzzers: two harts, every device of `virt`, 2 MiB of RAM, the virtual clock, no
 * threads. It is made once; each input begins with its reset. */
#ifndef FUZZ_MACHINE_H
#define FUZZ_MACHINE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hart.h"
#include "machine.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/timer.h"

#define RAM_BASE 0x80000000ull
#define RAM_SIZE (2ull << 20)

/* The machine keeps what it allocates on first use, which libFuzzer would search for leaks each time. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return 1;
}

/* The script: bytes that run out become zeros. */
struct input {
    const uint8_t *p, *end;
};

static inline uint64_t take(struct input *in, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)(in->p < in->end ? *in->p++ : 0) << (i * 8);
    return v;
}

static inline void must(bool ok, const char *what)
{
    if (!ok) {
        sim_error("fuzz: %s", what);
        abort();
    }
}

/* A file name for anonymous memory of `size` bytes. */
static inline char *fuzz_file(const void *data, size_t size)
{
    int fd = memfd_create("fuzz", 0);

    must(fd >= 0 && ftruncate(fd, (off_t)size) == 0, "no file");
    must(!data || pwrite(fd, data, size, 0) == (ssize_t)size, "no file");
    return sim_asprintf("/proc/self/fd/%d", fd);
}

struct fuzz_machine {
    struct sim *sim;
    struct config config;
    struct machine *m;
};

static inline void fuzz_config(struct config *c)
{
    static const enum config_bus bus[] = {CONFIG_BUS_PCI, CONFIG_BUS_MMIO};

    config_init(c);
    c->smp = 2;
    c->memory = RAM_SIZE;
    c->virtual_clock = true;
    c->rng = true;
    c->nr_serials = 1;
    config_set_string(&c->serial[0], "null");
    config_set_string(&c->virtconsole, "null");
    for (c->nr_drives = 0; c->nr_drives < 2; c->nr_drives++) {
        c->drive[c->nr_drives].file = fuzz_file(NULL, 64 << 10);
        c->drive[c->nr_drives].bus = bus[c->nr_drives];
    }
    for (c->nr_nets = 0; c->nr_nets < 2; c->nr_nets++) {
        config_set_string(&c->net[c->nr_nets].backend, "null");
        c->net[c->nr_nets].bus = bus[c->nr_nets];
    }
}

static inline void fuzz_machine_create(struct fuzz_machine *f, bool jit, bool sbi)
{
    fuzz_config(&f->config);
    f->config.jit = jit;
    config_set_string(&f->config.bios, sbi ? "default" : "none");
    must(sim_create(&f->sim) == SIM_OK, "no simulation");
    sim_clock_init(&f->sim->clock, SIM_CLOCK_VIRTUAL);
    must(machine_create(f->sim, &f->config, NULL, &f->m) == SIM_OK, "no machine");
}

static inline void fuzz_machine_reset(struct fuzz_machine *f)
{
    machine_reset(f->m);
    sim_clear_end(f->sim);
    memset(f->m->space->ram, 0, RAM_SIZE);
    mem_dma_written(f->m->space, RAM_BASE, RAM_SIZE);
}

static inline struct rv_hart *fuzz_hart(struct fuzz_machine *f, unsigned n)
{
    return rv_hart_of(f->sim->vcpus[n % f->sim->nr_vcpus]);
}

/* One turn of a hart, as an executor does it. */
static inline void fuzz_run(struct fuzz_machine *f, unsigned n, uint64_t budget)
{
    struct vcpu *v = &fuzz_hart(f, n)->vcpu;
    uint64_t before = v->stats.insns;
    enum vcpu_exit why = v->ops->run(v, budget);

    if (why == VCPU_EXIT_EXCLUSIVE) {
        sim_exclusive_begin(f->sim, v);
        why = v->ops->run_exclusive(v);
        sim_exclusive_end(f->sim);
    }
    if (why == VCPU_EXIT_IDLE && v->ops->deadline(v) != VTIME_NEVER)
        sim_clock_skip_to(&f->sim->clock, v->ops->deadline(v));
    sim_clock_charge(&f->sim->clock, v->stats.insns - before);
    sim_timers_run(f->sim);
    if (!sim_ending(f->sim))
        return;
    int code;
    if (sim_wait_end(f->sim, &code) == SIM_END_RESET)
        machine_reset(f->m);
    sim_clear_end(f->sim);
}

/* Addresses that mean something: devices and their neighbours, the ends of RAM. */
static inline uint64_t fuzz_address(struct input *in)
{
    static const uint64_t special[] = {
        0x100000, 0x101000, 0x2000000, 0x2004000, 0x200bff8, 0xc000000, 0xc001000, 0xc002000, 0xc200000,
        0xc201000, 0x10000000, 0x10001000, 0x10002000, 0x10008000, 0x30000000, 0x30008000, 0x30010000,
        0x40000000, 0x400000000, RAM_BASE - 8, RAM_BASE, RAM_BASE + RAM_SIZE - 8, RAM_BASE + RAM_SIZE,
        0, 1ull << 56, 1ull << 63, UINT64_MAX - 7, 0xffffffc000000000,
    };
    uint64_t v = take(in, 3);

    if (v >> 23)
        return RAM_BASE + (v & (RAM_SIZE - 1));
    return special[(v >> 16) % SIM_ARRAY_LEN(special)] + (v & 0xfff);
}

/* Saves d, damages `flips` bytes, loads: the undamaged image must do, a damaged one may be refused and
 * then a reset repairs. */
static inline void fuzz_state(const struct state_desc *desc, void *object, struct input *in,
                              void (*reset)(void *object))
{
    struct state_buf buf = {0};
    uint64_t flips = take(in, 1) & 7;
    size_t used;

    state_save(desc, object, &buf);
    must(state_load(desc, object, buf.data, buf.len, &used) == SIM_OK && used == buf.len,
         "an object refuses its own image");
    for (uint64_t i = 0; i < flips; i++)
        buf.data[take(in, 2) % buf.len] ^= (uint8_t)take(in, 1);
    if (flips && state_load(desc, object, buf.data, buf.len, &used) != SIM_OK)
        reset(object);
    state_buf_fini(&buf);
}

static inline void fuzz_reset_hart(void *h)
{
    rv_hart_reset(&((struct rv_hart *)h)->vcpu);
}

static inline void fuzz_reset_device(void *d)
{
    dev_reset(d);
}

static inline void fuzz_device_state(struct fuzz_machine *f, struct input *in)
{
    struct device *d = f->m->devices[take(in, 1) % f->m->nr_devices];

    fuzz_state(d->ops->state, d, in, fuzz_reset_device);
}

static inline void fuzz_hart_state(struct fuzz_machine *f, struct input *in)
{
    struct rv_hart *h = fuzz_hart(f, (unsigned)take(in, 1));

    fuzz_state(&rv_hart_state, h, in, fuzz_reset_hart);
}

#endif
