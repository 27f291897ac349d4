/* Every device of a machine behind its registers: the input is a sequence of MMIO accesses, guest time,
 * resets, and saved states with and without damage. */
#include "fuzz_machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_STEPS = 500 };

struct step {
    struct fuzz_machine *f;
    struct input *in;
};

/* An address in some MMIO region: near its start, near its end, or anywhere. */
static gpa_t address(struct step *s, unsigned size)
{
    struct mem_space *space = s->f->m->space;
    unsigned nr = 0;

    while (mem_nth(space, nr))
        nr++;
    const struct mem_region *r = mem_nth(space, (unsigned)(take(s->in, 1) % nr));
    uint64_t how = take(s->in, 2);
    uint64_t offset = how & 0x8000   ? r->size - 1 - (how & 0xfff)
                      : how & 0x4000 ? (how & 0x3fff) << 10
                                     : how;

    return r->base + (offset % r->size & ~(uint64_t)(size - 1));
}

static void step_write(struct step *s)
{
    uint64_t op = take(s->in, 1);
    unsigned size = 1u << (op & 3);
    gpa_t gpa = address(s, size);

    (void)mem_mmio_write(s->f->m->space, gpa, size, take(s->in, op & 128 ? size : 1));
}

static void step_read(struct step *s)
{
    unsigned size = 1u << (take(s->in, 1) & 3);
    uint64_t v;

    (void)mem_mmio_read(s->f->m->space, address(s, size), size, &v);
}

/* One register again and again: FIFOs, claims, indices. */
static void step_storm(struct step *s)
{
    gpa_t gpa = address(s, 4);
    uint64_t v, times = take(s->in, 1), value = take(s->in, 1);

    for (uint64_t i = 0; i < times; i++) {
        (void)mem_mmio_write(s->f->m->space, gpa, 4, value + i);
        (void)mem_mmio_read(s->f->m->space, gpa, 4, &v);
    }
}

static void step_time(struct step *s)
{
    sim_clock_charge(&s->f->sim->clock, take(s->in, 4));
    sim_timers_run(s->f->sim);
}

static void step_input(struct step *s)
{
    uint8_t bytes[32];
    uint64_t v = take(s->in, 1);

    memset(bytes, (int)v, sizeof bytes);
    chardev_inject(v & 32 ? s->f->m->virtconsole : s->f->m->serial[0], bytes, v % sizeof bytes);
}

static void step_dma(struct step *s)
{
    uint64_t words[4];
    uint64_t where = take(s->in, 2);

    for (unsigned i = 0; i < 4; i++)
        words[i] = take(s->in, 4);
    (void)mem_write(s->f->m->space, RAM_BASE + where, words, sizeof words);
}

static void step_device_state(struct step *s)
{
    fuzz_device_state(s->f, s->in);
}

static void step_hart_state(struct step *s)
{
    fuzz_hart_state(s->f, s->in);
}

static void step_reset(struct step *s)
{
    dev_reset(s->f->m->devices[take(s->in, 1) % s->f->m->nr_devices]);
}

/* All of a machine at once, as a checkpoint does it. */
static void step_everything(struct step *s)
{
    struct machine *m = s->f->m;
    struct state_buf buf = {0};
    size_t at = 0, used;

    for (unsigned i = 0; i < m->nr_devices; i++)
        state_save(m->devices[i]->ops->state, m->devices[i], &buf);
    for (unsigned i = 0; i < m->nr_devices; i++, at += used)
        must(state_load(m->devices[i]->ops->state, m->devices[i], buf.data + at, buf.len - at,
                        &used) == SIM_OK, "a machine refuses its own image");
    must(at == buf.len, "an image is longer than what was read of it");
    state_buf_fini(&buf);
}

static void (*const steps[])(struct step *) = {
    step_write, step_write, step_write, step_write,        step_read,       step_read,  step_storm,
    step_time,  step_input, step_dma,   step_device_state, step_hart_state, step_reset, step_everything,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_machine f;
    struct input in = {data, data + size};
    struct step s = {&f, &in};

    if (!f.sim)
        fuzz_machine_create(&f, false, false);
    fuzz_machine_reset(&f);
    for (unsigned i = 0; in.p < in.end && i < MAX_STEPS; i++)
        steps[take(&in, 1) % SIM_ARRAY_LEN(steps)](&s);
    sim_clear_end(f.sim);
    return 0;
}
