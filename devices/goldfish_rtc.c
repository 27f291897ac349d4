/* Goldfish RTC: wall-clock time in nanoseconds since 1970, and one alarm.
 *
 * Reading TIME_LOW latches TIME_HIGH, so that the pair is one instant. The time follows the host's
 * wall clock plus what the guest set; on a virtual clock it starts at a fixed date, because such a
 * run shall repeat bit for bit. The alarm is a timer on guest time. */
#include <time.h>

#include "dev_priv.h"
#include "sim-core/timer.h"
#include "time_priv.h"

enum {
    RTC_TIME_LOW = 0x00,
    RTC_TIME_HIGH = 0x04,
    RTC_ALARM_LOW = 0x08,
    RTC_ALARM_HIGH = 0x0c,
    RTC_IRQ_ENABLED = 0x10,
    RTC_CLEAR_ALARM = 0x14,
    RTC_ALARM_STATUS = 0x18,
    RTC_CLEAR_INTERRUPT = 0x1c,
    RTC_END = 0x20
};

/* 2026-01-01 00:00:00 UTC, where the virtual clock starts. */
#define RTC_VIRTUAL_EPOCH_NS (1767225600ull * DEV_NS_PER_S)

/* Owner: `lock`; executors and the I/O thread come in. Lifetime: the machine's. */
struct rtc {
    struct device dev;
    struct mem_region region;
    struct sim *sim;
    struct sim_mutex lock;
    struct irq_line irq;
    struct sim_timer *timer;

    uint64_t offset; /* guest time - wall clock, modulo 2^64 */
    uint64_t alarm;  /* guest time */
    uint32_t time_high, alarm_high;
    uint8_t alarm_running, irq_pending, irq_enabled;
};

static uint64_t wall_clock(const struct rtc *r)
{
    struct timespec ts;

    if (r->sim->clock.mode == SIM_CLOCK_VIRTUAL)
        return RTC_VIRTUAL_EPOCH_NS + sim_clock_now(&r->sim->clock);
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * DEV_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t guest_time(const struct rtc *r)
{
    return wall_clock(r) + r->offset;
}

static void update_irq(struct rtc *r)
{
    irq_set(&r->irq, r->irq_pending && r->irq_enabled);
}

/* Fires the alarm when it is due, else sets the timer for it. */
static void check_alarm(struct rtc *r)
{
    if (!r->alarm_running)
        return;
    uint64_t now = guest_time(r);

    if (r->alarm <= now) {
        r->alarm_running = 0;
        r->irq_pending = 1;
        update_irq(r);
    } else {
        sim_timer_arm(r->timer, dev_saturating_add(sim_clock_now(&r->sim->clock), r->alarm - now));
    }
}

static void stop_alarm(struct rtc *r)
{
    r->alarm_running = 0;
    sim_timer_cancel(r->timer);
}

static void alarm_fired(void *opaque)
{
    struct rtc *r = opaque;

    sim_mutex_lock(&r->lock);
    check_alarm(r);
    sim_mutex_unlock(&r->lock);
}

static uint32_t read_reg(struct rtc *r, uint64_t offset)
{
    uint64_t now;

    switch (offset) {
    case RTC_TIME_LOW:
        now = guest_time(r);
        r->time_high = (uint32_t)(now >> 32);
        return (uint32_t)now;
    case RTC_TIME_HIGH:
        return r->time_high;
    case RTC_ALARM_LOW:
        return (uint32_t)r->alarm;
    case RTC_ALARM_HIGH:
        return (uint32_t)(r->alarm >> 32);
    case RTC_IRQ_ENABLED:
        return r->irq_enabled;
    case RTC_ALARM_STATUS:
        return r->alarm_running;
    default:
        return 0;
    }
}

/* Replaces one half of the time; the guest writes HIGH, then LOW. */
static void set_time(struct rtc *r, uint64_t keep_mask, uint64_t bits)
{
    uint64_t now = guest_time(r);

    r->offset += ((now & keep_mask) | bits) - now;
    check_alarm(r);
}

static void write_reg(struct rtc *r, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case RTC_TIME_LOW:
        set_time(r, 0xffffffff00000000u, value);
        break;
    case RTC_TIME_HIGH:
        set_time(r, 0xffffffffu, (uint64_t)value << 32);
        break;
    case RTC_ALARM_LOW:
        r->alarm = (uint64_t)r->alarm_high << 32 | value;
        r->alarm_running = 1;
        check_alarm(r);
        break;
    case RTC_ALARM_HIGH:
        r->alarm_high = value;
        break;
    case RTC_IRQ_ENABLED:
        r->irq_enabled = value & 1;
        update_irq(r);
        break;
    case RTC_CLEAR_ALARM:
        stop_alarm(r);
        break;
    case RTC_CLEAR_INTERRUPT:
        r->irq_pending = 0;
        update_irq(r);
        break;
    }
}

static bool rtc_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct rtc *r = opaque;

    if (size != 4 || offset >= RTC_END)
        return false;
    sim_mutex_lock(&r->lock);
    *value = read_reg(r, offset);
    sim_mutex_unlock(&r->lock);
    return true;
}

static bool rtc_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct rtc *r = opaque;

    if (size != 4 || offset >= RTC_END)
        return false;
    sim_mutex_lock(&r->lock);
    write_reg(r, offset, (uint32_t)value);
    sim_mutex_unlock(&r->lock);
    return true;
}

/* The time set by the guest survives a reset, as a battery-backed clock's does. */
static void rtc_reset(struct device *d)
{
    struct rtc *r = (struct rtc *)d;

    sim_mutex_lock(&r->lock);
    stop_alarm(r);
    r->alarm = 0;
    r->time_high = r->alarm_high = 0;
    r->irq_pending = r->irq_enabled = 0;
    update_irq(r);
    sim_mutex_unlock(&r->lock);
}

static void rtc_destroy(struct device *d)
{
    struct rtc *r = (struct rtc *)d;

    sim_timer_destroy(r->timer);
    sim_mutex_fini(&r->lock);
    sim_free(r);
}

static enum sim_status rtc_post_load(void *object)
{
    struct rtc *r = object;

    sim_mutex_lock(&r->lock);
    update_irq(r);
    check_alarm(r);
    sim_mutex_unlock(&r->lock);
    return SIM_OK;
}

static const struct state_field rtc_fields[] = {
    STATE_SCALAR(struct rtc, STATE_U64, offset),
    STATE_SCALAR(struct rtc, STATE_U64, alarm),
    STATE_SCALAR(struct rtc, STATE_U32, time_high),
    STATE_SCALAR(struct rtc, STATE_U32, alarm_high),
    STATE_SCALAR(struct rtc, STATE_U8, alarm_running),
    STATE_SCALAR(struct rtc, STATE_U8, irq_pending),
    STATE_SCALAR(struct rtc, STATE_U8, irq_enabled),
    STATE_END,
};
STATE_LAYOUT(rtc, struct rtc,
              STATE_DERIVED(struct rtc, dev) STATE_DERIVED(struct rtc, region)
              STATE_DERIVED(struct rtc, sim) STATE_DERIVED(struct rtc, lock)
              STATE_DERIVED(struct rtc, irq) STATE_DERIVED(struct rtc, timer));
static const struct state_desc rtc_state = {
    .name = "goldfish-rtc", .version = 1, .fields = rtc_fields,
    STATE_LAYOUT_OF(rtc, struct rtc), .post_load = rtc_post_load};
static const struct device_ops rtc_ops = {
    .name = "goldfish-rtc", .reset = rtc_reset, .destroy = rtc_destroy, .state = &rtc_state};
static const struct mem_ops rtc_mem_ops = {.read = rtc_read, .write = rtc_write, .max_size = 4};

static enum sim_status rtc_create(const struct dev_args *args, struct device **out)
{
    SIM_TRY(dev_need_regs(args, 1));
    struct rtc *r = sim_new(struct rtc);

    dev_init(&r->dev, &rtc_ops, args);
    r->sim = args->sim;
    sim_mutex_init(&r->lock, SIM_RANK_DEVICE);
    r->irq = dev_irq(args, 0);
    r->timer = sim_timer_create(args->sim, alarm_fired, r);
    enum sim_status status = dev_map(&r->region, &r->dev, args, 0, &rtc_mem_ops);
    if (status != SIM_OK) {
        dev_destroy(&r->dev);
        return status;
    }
    *out = &r->dev;
    return SIM_OK;
}

static const char *const rtc_compatible[] = {"google,goldfish-rtc", NULL};
const struct dev_driver goldfish_rtc_driver = {
    .compatible = rtc_compatible, .create = rtc_create, .input = NULL};
