/* The PC's clock (MC146818): an index port and a data port, time of day, and 114 bytes that stay.
 *
 * The time is the host's UTC plus what the guest set. While a guest sets it (register B, SET) the time registers are
 * plain memory. Interrupts: at each second (UF) and at the alarm's time (AF), by a timer that runs only while one of them
 * is wanted. The fast periodic interrupt is not there: Linux makes it of better timers. */
#include <time.h>

#include "dev_priv.h"
#include "sim-core/timer.h"
#include "time_priv.h"

enum { PORT_INDEX = 0, PORT_DATA = 1, INDEX_MASK = 0x7f, NR_REGS = 128 };
enum { R_SECONDS = 0, R_SECONDS_ALARM = 1, R_MINUTES = 2, R_MINUTES_ALARM = 3, R_HOURS = 4, R_HOURS_ALARM = 5, R_WEEKDAY = 6, R_DAY = 7, R_MONTH = 8, R_YEAR = 9,
       R_A = 10, R_B = 11, R_C = 12, R_D = 13, R_CENTURY = 0x32 };
enum { A_DIVIDER_32768 = 0x26, B_SET = 0x80, B_BINARY = 0x04, B_24_HOURS = 0x02, D_POWER_GOOD = 0x80, PM = 0x80 };
enum { C_IRQ = 0x80, ALARM = 0x20, UPDATE = 0x10, ANY_VALUE = 0xc0 }; /* of B: wanted; of C: happened */

/* 2026-01-01 00:00:00 UTC, where the virtual clock starts. */
enum { VIRTUAL_EPOCH = 1767225600 };

/* Owner: `lock`. Lifetime: the machine's. */
struct cmos {
    struct device dev;
    struct mem_region region;
    struct sim *sim;
    struct sim_mutex lock;
    struct irq_line irq;
    struct sim_timer *timer;
    uint64_t offset; /* seconds: guest's time - wall clock, modulo 2^64 */
    uint8_t index;
    uint8_t reg[NR_REGS]; /* of the time registers: what they were when the guest began to set them */
};

static uint64_t wall_clock_ns(const struct cmos *c)
{
    struct timespec ts;

    if (c->sim->clock.mode == SIM_CLOCK_VIRTUAL)
        return VIRTUAL_EPOCH * DEV_NS_PER_S + sim_clock_now(&c->sim->clock);
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * DEV_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t wall_clock(const struct cmos *c)
{
    return wall_clock_ns(c) / DEV_NS_PER_S;
}

static uint8_t coded(const struct cmos *c, int value)
{
    return (uint8_t)(c->reg[R_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static int decoded(const struct cmos *c, uint8_t value)
{
    return c->reg[R_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 15);
}

static uint8_t coded_hour(const struct cmos *c, int hour)
{
    if (c->reg[R_B] & B_24_HOURS)
        return coded(c, hour);
    return coded(c, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? PM : 0);
}

static int decoded_hour(const struct cmos *c, uint8_t value)
{
    if (c->reg[R_B] & B_24_HOURS)
        return decoded(c, value);
    return decoded(c, value & ~PM) % 12 + (value & PM ? 12 : 0);
}

/* The present time into the registers, unless the guest is setting them. */
static void latch(struct cmos *c)
{
    time_t now = (time_t)(wall_clock(c) + c->offset);
    struct tm t;

    if (c->reg[R_B] & B_SET || !gmtime_r(&now, &t))
        return;
    c->reg[R_SECONDS] = coded(c, t.tm_sec);
    c->reg[R_MINUTES] = coded(c, t.tm_min);
    c->reg[R_HOURS] = coded_hour(c, t.tm_hour);
    c->reg[R_WEEKDAY] = coded(c, t.tm_wday + 1);
    c->reg[R_DAY] = coded(c, t.tm_mday);
    c->reg[R_MONTH] = coded(c, t.tm_mon + 1);
    c->reg[R_YEAR] = coded(c, t.tm_year % 100);
    c->reg[R_CENTURY] = coded(c, (t.tm_year + 1900) / 100);
}

/* The registers are the time from now on. Impossible dates become possible ones, as mktime does it. */
static void take(struct cmos *c)
{
    struct tm t = {.tm_sec = decoded(c, c->reg[R_SECONDS]),
                   .tm_min = decoded(c, c->reg[R_MINUTES]),
                   .tm_hour = decoded_hour(c, c->reg[R_HOURS]),
                   .tm_mday = decoded(c, c->reg[R_DAY]),
                   .tm_mon = decoded(c, c->reg[R_MONTH]) - 1,
                   .tm_year = decoded(c, c->reg[R_CENTURY]) * 100 + decoded(c, c->reg[R_YEAR]) - 1900};

    c->offset = (uint64_t)timegm(&t) - wall_clock(c);
}

/* --- interrupts --- */

static void update_irq(struct cmos *c)
{
    bool wanted = c->reg[R_C] & c->reg[R_B] & (ALARM | UPDATE);

    c->reg[R_C] = (uint8_t)((c->reg[R_C] & ~C_IRQ) | (wanted ? C_IRQ : 0));
    irq_set(&c->irq, wanted);
}

/* Wakes at the next second while somebody wants to know. */
static void arm(struct cmos *c)
{
    if (c->reg[R_B] & (ALARM | UPDATE))
        sim_timer_arm(c->timer, sim_clock_now(&c->sim->clock) + DEV_NS_PER_S - wall_clock_ns(c) % DEV_NS_PER_S);
    else
        sim_timer_cancel(c->timer);
}

static bool alarm_matches(const struct cmos *c)
{
    static const uint8_t pairs[][2] = {
        {R_SECONDS_ALARM, R_SECONDS}, {R_MINUTES_ALARM, R_MINUTES}, {R_HOURS_ALARM, R_HOURS}};

    for (size_t i = 0; i < SIM_ARRAY_LEN(pairs); i++) {
        uint8_t alarm = c->reg[pairs[i][0]];
        if ((alarm & ANY_VALUE) != ANY_VALUE && alarm != c->reg[pairs[i][1]])
            return false;
    }
    return true;
}

static void second_begins(void *opaque)
{
    struct cmos *c = opaque;

    sim_mutex_lock(&c->lock);
    latch(c);
    if (!(c->reg[R_B] & B_SET))
        c->reg[R_C] |= UPDATE | (alarm_matches(c) ? ALARM : 0);
    update_irq(c);
    arm(c);
    sim_mutex_unlock(&c->lock);
}

/* --- registers --- */

static bool is_time(uint8_t index)
{
    return index == R_SECONDS || index == R_MINUTES || index == R_HOURS || index == R_CENTURY ||
           (index >= R_WEEKDAY && index <= R_YEAR);
}

static void write_register(struct cmos *c, uint8_t value)
{
    bool setting = c->reg[R_B] & B_SET;

    if (c->index == R_A || c->index == R_C || c->index == R_D)
        return;
    latch(c);
    c->reg[c->index] = value;
    if (is_time(c->index) && !setting)
        take(c);
    if (c->index == R_B && setting && !(value & B_SET))
        take(c);
    if (c->index == R_B) {
        update_irq(c);
        arm(c);
    }
}

static uint8_t read_register(struct cmos *c)
{
    latch(c);
    uint8_t value = c->reg[c->index];

    if (c->index == R_C) { /* told: what happened is forgotten */
        c->reg[R_C] = 0;
        update_irq(c);
    }
    return value;
}

static bool cmos_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct cmos *c = opaque;

    (void)size;
    sim_mutex_lock(&c->lock);
    *value = offset == PORT_INDEX ? c->index : read_register(c);
    sim_mutex_unlock(&c->lock);
    return true;
}

static bool cmos_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct cmos *c = opaque;

    (void)size;
    sim_mutex_lock(&c->lock);
    if (offset == PORT_INDEX)
        c->index = value & INDEX_MASK;
    else
        write_register(c, (uint8_t)value);
    sim_mutex_unlock(&c->lock);
    return true;
}

static const struct mem_ops cmos_mem_ops = {.read = cmos_read, .write = cmos_write, .max_size = 1};

static void cmos_destroy(struct device *d)
{
    struct cmos *c = (struct cmos *)d;

    sim_timer_destroy(c->timer);
    sim_mutex_fini(&c->lock);
    sim_free(c);
}

static enum sim_status cmos_post_load(void *object)
{
    struct cmos *c = object;

    if (c->index > INDEX_MASK) {
        sim_error("saved state: '%s' has the index %u", c->dev.label, c->index);
        return SIM_ERR_FORMAT;
    }
    sim_mutex_lock(&c->lock);
    update_irq(c);
    arm(c);
    sim_mutex_unlock(&c->lock);
    return SIM_OK;
}

/* Its battery keeps all it has, but wishes for interrupts. */
static void cmos_reset(struct device *d)
{
    struct cmos *c = (struct cmos *)d;

    sim_mutex_lock(&c->lock);
    c->reg[R_B] &= (uint8_t)~(ALARM | UPDATE);
    c->reg[R_C] = 0;
    update_irq(c);
    arm(c);
    sim_mutex_unlock(&c->lock);
}

static const struct state_field cmos_fields[] = {
    STATE_SCALAR(struct cmos, STATE_U64, offset), STATE_SCALAR(struct cmos, STATE_U8, index),
    STATE_ARRAY(struct cmos, STATE_U8, reg), STATE_END};
STATE_LAYOUT(cmos, struct cmos,
              STATE_DERIVED(struct cmos, dev) STATE_DERIVED(struct cmos, region)
              STATE_DERIVED(struct cmos, sim) STATE_DERIVED(struct cmos, lock)
              STATE_DERIVED(struct cmos, irq) STATE_DERIVED(struct cmos, timer));
static const struct state_desc cmos_state = {.name = "mc146818", .version = 1, .fields = cmos_fields,
    STATE_LAYOUT_OF(cmos, struct cmos), .post_load = cmos_post_load};
static const struct device_ops cmos_ops = {
    .name = "mc146818", .reset = cmos_reset, .destroy = cmos_destroy, .state = &cmos_state};

static enum sim_status cmos_create(const struct dev_args *args, struct device **out)
{
    SIM_TRY(dev_need_regs(args, 1));
    struct cmos *c = sim_new(struct cmos);

    dev_init(&c->dev, &cmos_ops, args);
    c->sim = args->sim;
    c->irq = dev_irq(args, 0);
    c->timer = sim_timer_create(args->sim, second_begins, c);
    c->reg[R_A] = A_DIVIDER_32768;
    c->reg[R_B] = B_24_HOURS;
    c->reg[R_D] = D_POWER_GOOD;
    sim_mutex_init(&c->lock, SIM_RANK_DEVICE);
    enum sim_status status = dev_map(&c->region, &c->dev, args, 0, &cmos_mem_ops);
    if (status != SIM_OK) {
        dev_destroy(&c->dev);
        return status;
    }
    *out = &c->dev;
    return SIM_OK;
}

static const char *const cmos_compatible[] = {"motorola,mc146818", NULL};
const struct dev_driver mc146818_driver = {.compatible = cmos_compatible, .create = cmos_create, .input = NULL};
