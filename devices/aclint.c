/* ACLINT: software interrupts and the machine timer, one entry per hart.
 *
 *   MSWI   4-byte MSIP registers; bit 0 is the level of the hart's MSIP line
 *   SSWI   4-byte SETSSIP registers; writing bit 0 makes an edge on the hart's SSIP line
 *          (the hart latches it; software clears sip.SSIP); reads as zero
 *   MTIMER mtime and 8-byte MTIMECMP registers; the MTIP line is mtime >= MTIMECMP
 *   CLINT  MSWI at 0, MTIMECMP at 0x4000, mtime at 0xbff8 in one region
 *
 * mtime is guest time in ticks of the machine's time base plus an offset (what the guest wrote), which
 * the harts' `time` follows (dev_args.time_moved). A MTIMECMP in the future arms the hart's timer,
 * which raises the line from the I/O thread, or from the executor on the virtual clock.
 *
 * Lines are driven under the lock, so that two harts that write one register leave the line at the
 * level of the register. Their sinks are harts, which take no lock of ours. */
#include "dev_priv.h"
#include "sim-core/timer.h"
#include "time_priv.h"

enum {
    ACLINT_MAX_HARTS = 4095,
    CLINT_MTIMECMP = 0x4000,
    CLINT_MTIME = 0xbff8,
    MTIMECMP_DEFAULT_MTIME = 0x7ff8 /* one-region MTIMER: mtime after the last MTIMECMP */
};

struct aclint;

struct aclint_hart {
    struct aclint *aclint;
    struct irq_line soft_irq, timer_irq;
    struct sim_timer *timer; /* NULL: no MTIMER in this device */
    uint8_t msip;
    uint8_t mtip; /* level of timer_irq */
    uint64_t mtimecmp;
};

/* Owner: `lock`; executors and the I/O thread come in. Lifetime: the machine's. */
struct aclint {
    struct device dev;
    struct mem_region region[2];
    struct sim *sim;
    struct sim_mutex lock;
    uint64_t hz;
    uint64_t offset; /* mtime - ticks of guest time, modulo 2^64 */
    void (*time_moved)(void *opaque, uint64_t offset); /* dev_args */
    void *time_opaque;
    uint32_t nr_harts;
    struct aclint_hart *hart;
};

/* --- software interrupts --- */

static bool mswi_read(struct aclint *a, uint64_t offset, unsigned size, uint64_t *value)
{
    if (size != 4 || offset / 4 > ACLINT_MAX_HARTS)
        return false;
    *value = offset / 4 < a->nr_harts ? a->hart[offset / 4].msip : 0;
    return true;
}

static bool mswi_write(struct aclint *a, uint64_t offset, unsigned size, uint64_t value)
{
    if (size != 4 || offset / 4 > ACLINT_MAX_HARTS)
        return false;
    if (offset / 4 < a->nr_harts) {
        struct aclint_hart *h = &a->hart[offset / 4];
        h->msip = value & 1;
        irq_set(&h->soft_irq, h->msip);
    }
    return true;
}

static bool sswi_read(struct aclint *a, uint64_t offset, unsigned size, uint64_t *value)
{
    (void)a;
    *value = 0;
    return size == 4 && offset / 4 <= ACLINT_MAX_HARTS;
}

static bool sswi_write(struct aclint *a, uint64_t offset, unsigned size, uint64_t value)
{
    if (size != 4 || offset / 4 > ACLINT_MAX_HARTS)
        return false;
    if (offset / 4 < a->nr_harts && value & 1)
        irq_pulse(&a->hart[offset / 4].soft_irq);
    return true;
}

/* --- timer --- */

static uint64_t ticks_now(const struct aclint *a)
{
    return dev_ns_to_ticks(sim_clock_now(&a->sim->clock), a->hz);
}

static void drive_timer(struct aclint_hart *h, bool level)
{
    if (level == h->mtip)
        return;
    h->mtip = level;
    irq_set(&h->timer_irq, level);
}

/* Drives MTIP from the comparison, and arms the timer for the tick at which it becomes true. */
static void update_timer(struct aclint_hart *h)
{
    uint64_t ticks = ticks_now(h->aclint), mtime = ticks + h->aclint->offset;
    bool due = mtime >= h->mtimecmp;

    if (!due)
        sim_timer_arm(h->timer, dev_ticks_to_ns(dev_saturating_add(ticks, h->mtimecmp - mtime),
                                                h->aclint->hz));
    else if (!h->mtip)
        sim_timer_cancel(h->timer);
    drive_timer(h, due);
}

static void set_offset(struct aclint *a, uint64_t offset)
{
    a->offset = offset;
    if (a->time_moved)
        a->time_moved(a->time_opaque, offset);
}

static void update_all_timers(struct aclint *a)
{
    for (uint32_t i = 0; i < a->nr_harts; i++)
        if (a->hart[i].timer)
            update_timer(&a->hart[i]);
}

static void timer_fired(void *opaque)
{
    struct aclint_hart *h = opaque;

    sim_mutex_lock(&h->aclint->lock);
    update_timer(h);
    sim_mutex_unlock(&h->aclint->lock);
}

/* A 4-byte access is one half of a 64-bit register. */
static uint64_t half_read(uint64_t reg, uint64_t offset, unsigned size)
{
    return size == 8 ? reg : (uint32_t)(reg >> (offset & 4) * 8);
}

static uint64_t half_write(uint64_t reg, uint64_t offset, unsigned size, uint64_t value)
{
    unsigned shift = (unsigned)(offset & 4) * 8;

    if (size == 8)
        return value;
    return (reg & ~((uint64_t)UINT32_MAX << shift)) | (value & UINT32_MAX) << shift;
}

static bool mtimecmp_read(struct aclint *a, uint64_t offset, unsigned size, uint64_t *value)
{
    if (size < 4 || offset / 8 >= ACLINT_MAX_HARTS)
        return false;
    *value = 0;
    if (offset / 8 < a->nr_harts)
        *value = half_read(a->hart[offset / 8].mtimecmp, offset, size);
    return true;
}

static bool mtimecmp_write(struct aclint *a, uint64_t offset, unsigned size, uint64_t value)
{
    if (size < 4 || offset / 8 >= ACLINT_MAX_HARTS)
        return false;
    if (offset / 8 < a->nr_harts) {
        struct aclint_hart *h = &a->hart[offset / 8];
        h->mtimecmp = half_write(h->mtimecmp, offset, size, value);
        update_timer(h);
    }
    return true;
}

static bool mtime_read(struct aclint *a, uint64_t offset, unsigned size, uint64_t *value)
{
    if (size < 4 || offset >= 8)
        return false;
    *value = half_read(ticks_now(a) + a->offset, offset, size);
    return true;
}

static bool mtime_write(struct aclint *a, uint64_t offset, unsigned size, uint64_t value)
{
    if (size < 4 || offset >= 8)
        return false;
    uint64_t ticks = ticks_now(a);

    set_offset(a, half_write(ticks + a->offset, offset, size, value) - ticks);
    update_all_timers(a);
    return true;
}

/* --- the layouts --- */

static bool clint_read(struct aclint *a, uint64_t offset, unsigned size, uint64_t *value)
{
    if (offset < CLINT_MTIMECMP)
        return mswi_read(a, offset, size, value);
    if (offset < CLINT_MTIME)
        return mtimecmp_read(a, offset - CLINT_MTIMECMP, size, value);
    return mtime_read(a, offset - CLINT_MTIME, size, value);
}

static bool clint_write(struct aclint *a, uint64_t offset, unsigned size, uint64_t value)
{
    if (offset < CLINT_MTIMECMP)
        return mswi_write(a, offset, size, value);
    if (offset < CLINT_MTIME)
        return mtimecmp_write(a, offset - CLINT_MTIMECMP, size, value);
    return mtime_write(a, offset - CLINT_MTIME, size, value);
}

/* One-region MTIMER: MTIMECMPs first, then mtime. */
static bool mtimer_read(struct aclint *a, uint64_t offset, unsigned size, uint64_t *value)
{
    if (offset < MTIMECMP_DEFAULT_MTIME)
        return mtimecmp_read(a, offset, size, value);
    return mtime_read(a, offset - MTIMECMP_DEFAULT_MTIME, size, value);
}

static bool mtimer_write(struct aclint *a, uint64_t offset, unsigned size, uint64_t value)
{
    if (offset < MTIMECMP_DEFAULT_MTIME)
        return mtimecmp_write(a, offset, size, value);
    return mtime_write(a, offset - MTIMECMP_DEFAULT_MTIME, size, value);
}

/* The region callbacks: the same under the lock. */
#define LOCKED_OPS(name)                                                                           \
    static bool name##_read_op(void *opaque, uint64_t offset, unsigned size, uint64_t *value)      \
    {                                                                                              \
        struct aclint *a = opaque;                                                                 \
        sim_mutex_lock(&a->lock);                                                                  \
        bool ok = name##_read(a, offset, size, value);                                             \
        sim_mutex_unlock(&a->lock);                                                                \
        return ok;                                                                                 \
    }                                                                                              \
    static bool name##_write_op(void *opaque, uint64_t offset, unsigned size, uint64_t value)      \
    {                                                                                              \
        struct aclint *a = opaque;                                                                 \
        sim_mutex_lock(&a->lock);                                                                  \
        bool ok = name##_write(a, offset, size, value);                                            \
        sim_mutex_unlock(&a->lock);                                                                \
        return ok;                                                                                 \
    }                                                                                              \
    static const struct mem_ops name##_ops = {.read = name##_read_op, .write = name##_write_op};

LOCKED_OPS(clint)
LOCKED_OPS(mswi)
LOCKED_OPS(sswi)
LOCKED_OPS(mtimecmp)
LOCKED_OPS(mtime)
LOCKED_OPS(mtimer)

/* --- life --- */

/* mtime goes on through a reset: the `time` CSR, which shows the same clock, does too. */
static void aclint_reset(struct device *d)
{
    struct aclint *a = (struct aclint *)d;

    sim_mutex_lock(&a->lock);
    set_offset(a, 0);
    for (uint32_t i = 0; i < a->nr_harts; i++) {
        struct aclint_hart *h = &a->hart[i];
        h->msip = 0;
        h->mtimecmp = UINT64_MAX;
        irq_set(&h->soft_irq, false);
        if (h->timer)
            update_timer(h);
    }
    sim_mutex_unlock(&a->lock);
}

static void aclint_destroy(struct device *d)
{
    struct aclint *a = (struct aclint *)d;

    for (uint32_t i = 0; i < a->nr_harts; i++)
        if (a->hart[i].timer)
            sim_timer_destroy(a->hart[i].timer);
    sim_mutex_fini(&a->lock);
    sim_free(a->hart);
    sim_free(a);
}

static enum sim_status aclint_post_load(void *object)
{
    struct aclint *a = object;

    sim_mutex_lock(&a->lock);
    set_offset(a, a->offset);
    for (uint32_t i = 0; i < a->nr_harts; i++) {
        struct aclint_hart *h = &a->hart[i];
        h->msip &= 1;
        irq_set(&h->soft_irq, h->msip);
        if (!h->timer)
            continue;
        irq_set(&h->timer_irq, h->mtip);
        update_timer(h);
    }
    sim_mutex_unlock(&a->lock);
    return SIM_OK;
}

static const struct state_field aclint_hart_fields[] = {
    STATE_SCALAR(struct aclint_hart, STATE_U8, msip),
    STATE_SCALAR(struct aclint_hart, STATE_U64, mtimecmp),
    STATE_END,
};
STATE_LAYOUT(aclint_hart, struct aclint_hart,
              STATE_DERIVED(struct aclint_hart, aclint)
              STATE_DERIVED(struct aclint_hart, soft_irq)
              STATE_DERIVED(struct aclint_hart, timer_irq)
              STATE_DERIVED(struct aclint_hart, timer) STATE_DERIVED(struct aclint_hart, mtip));
static const struct state_desc aclint_hart_state = {
    .name = "aclint-hart", .version = 1, .fields = aclint_hart_fields,
    STATE_LAYOUT_OF(aclint_hart, struct aclint_hart)};
static const struct state_field aclint_fields[] = {
    STATE_SCALAR(struct aclint, STATE_U64, offset),
    STATE_DYN_STRUCTS(struct aclint, hart, nr_harts, &aclint_hart_state),
    STATE_END,
};
STATE_LAYOUT(aclint, struct aclint,
              STATE_DERIVED(struct aclint, dev) STATE_DERIVED(struct aclint, region)
              STATE_DERIVED(struct aclint, sim) STATE_DERIVED(struct aclint, lock)
              STATE_DERIVED(struct aclint, hz) STATE_DERIVED(struct aclint, time_moved)
              STATE_DERIVED(struct aclint, time_opaque)
              STATE_PADDING(struct aclint, nr_harts));
static const struct state_desc aclint_state = {
    .name = "aclint", .version = 1, .fields = aclint_fields,
    STATE_LAYOUT_OF(aclint, struct aclint), .post_load = aclint_post_load};
static const struct device_ops aclint_ops = {
    .name = "aclint", .reset = aclint_reset, .destroy = aclint_destroy, .state = &aclint_state};

/* What kind of device: which lines a hart has among the node's interrupts, and the regions. */
struct aclint_kind {
    bool soft, timer;
    unsigned nr_regions;
    const struct mem_ops *ops[2];
};

static enum sim_status check_args(const struct dev_args *args, unsigned lines_per_hart)
{
    if (args->nr_irq / lines_per_hart > ACLINT_MAX_HARTS) {
        sim_error("device '%s': %u harts, and an ACLINT serves at most %u", args->label,
                  args->nr_irq / lines_per_hart, ACLINT_MAX_HARTS);
        return SIM_ERR_RANGE;
    }
    if (!args->timebase_hz) {
        sim_error("device '%s': the machine has no timebase-frequency", args->label);
        return SIM_ERR_INVALID;
    }
    return SIM_OK;
}

static void init_harts(struct aclint *a, const struct dev_args *args,
                       const struct aclint_kind *kind)
{
    unsigned line = 0;

    for (uint32_t i = 0; i < a->nr_harts; i++) {
        struct aclint_hart *h = &a->hart[i];
        h->aclint = a;
        h->mtimecmp = UINT64_MAX;
        if (kind->soft)
            h->soft_irq = dev_irq(args, line++);
        if (kind->timer) {
            h->timer_irq = dev_irq(args, line++);
            h->timer = sim_timer_create(args->sim, timer_fired, h);
        }
    }
}

static enum sim_status map_regions(struct aclint *a, const struct dev_args *args,
                                   const struct aclint_kind *kind)
{
    for (unsigned i = 0; i < kind->nr_regions; i++) {
        enum sim_status status = dev_map(&a->region[i], &a->dev, args, i, kind->ops[i]);
        if (status != SIM_OK) {
            while (i-- > 0)
                mem_remove_mmio(args->space, &a->region[i]);
            return status;
        }
    }
    return SIM_OK;
}

static enum sim_status aclint_create(const struct dev_args *args, const struct aclint_kind *kind,
                                     struct device **out)
{
    unsigned lines_per_hart = (unsigned)kind->soft + (unsigned)kind->timer;

    SIM_TRY(dev_need_regs(args, kind->nr_regions));
    SIM_TRY(check_args(args, lines_per_hart));
    struct aclint *a = sim_new(struct aclint);

    dev_init(&a->dev, &aclint_ops, args);
    a->sim = args->sim;
    a->hz = args->timebase_hz;
    if (kind->timer) {
        a->time_moved = args->time_moved;
        a->time_opaque = args->time_opaque;
    }
    sim_mutex_init(&a->lock, SIM_RANK_DEVICE);
    a->nr_harts = args->nr_irq / lines_per_hart;
    a->hart = sim_new_array(struct aclint_hart, a->nr_harts);
    init_harts(a, args, kind);
    enum sim_status status = map_regions(a, args, kind);
    if (status != SIM_OK) {
        dev_destroy(&a->dev);
        return status;
    }
    *out = &a->dev;
    return SIM_OK;
}

static enum sim_status clint_create(const struct dev_args *args, struct device **out)
{
    static const struct aclint_kind kind = {true, true, 1, {&clint_ops}};

    return aclint_create(args, &kind, out);
}

static enum sim_status mswi_create(const struct dev_args *args, struct device **out)
{
    static const struct aclint_kind kind = {true, false, 1, {&mswi_ops}};

    return aclint_create(args, &kind, out);
}

static enum sim_status sswi_create(const struct dev_args *args, struct device **out)
{
    static const struct aclint_kind kind = {true, false, 1, {&sswi_ops}};

    return aclint_create(args, &kind, out);
}

static enum sim_status mtimer_create(const struct dev_args *args, struct device **out)
{
    /* The binding's order: mtime, then MTIMECMP. */
    static const struct aclint_kind two = {false, true, 2, {&mtime_ops, &mtimecmp_ops}};
    static const struct aclint_kind one = {false, true, 1, {&mtimer_ops}};

    return aclint_create(args, args->nr_reg >= 2 ? &two : &one, out);
}

static const char *const clint_compatible[] = {"sifive,clint0", "riscv,clint0", NULL};
static const char *const mswi_compatible[] = {"riscv,aclint-mswi", NULL};
static const char *const sswi_compatible[] = {"riscv,aclint-sswi", NULL};
static const char *const mtimer_compatible[] = {"riscv,aclint-mtimer", NULL};

const struct dev_driver aclint_clint_driver = {
    .compatible = clint_compatible, .create = clint_create, .input = NULL};
const struct dev_driver aclint_mswi_driver = {
    .compatible = mswi_compatible, .create = mswi_create, .input = NULL};
const struct dev_driver aclint_sswi_driver = {
    .compatible = sswi_compatible, .create = sswi_create, .input = NULL};
const struct dev_driver aclint_mtimer_driver = {
    .compatible = mtimer_compatible, .create = mtimer_create, .input = NULL};
