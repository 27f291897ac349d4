/* ACPI's fixed hardware of a PC: how an operating system turns itself off and resets itself, and the PM timer.
 *
 *   0 PM1_STS (16 bits)  2 PM1_EN  4 PM1_CNT  8 PM_TMR (32 bits)  12 RESET (8 bits)
 *
 * There is no button and no lid: no status bit is ever set, and the SCI has no source. The timer counts 24 bits at
 * 3.579545 MHz of guest time; guests poll it, and its overflow sets no status bit either. */
#include <string.h>

#include "dev_priv.h"
#include "time_priv.h"

enum { PM1_STS = 0, PM1_EN = 2, PM1_CNT = 4, PM_TMR = 8, PM_RESET = 12, PM_END = 16 };
enum { CNT_SCI_EN = 1 << 0, CNT_SLP_TYP_SHIFT = 10, CNT_SLP_TYP_MASK = 7 << 10, CNT_SLP_EN = 1 << 13 };
enum { TIMER_HZ = 3579545, TIMER_MASK = 0xffffff };

/* Owner: `lock`. Lifetime: the machine's. */
struct acpi_pm {
    struct device dev;
    struct mem_region region;
    struct sim *sim;
    struct sim_mutex lock;
    uint16_t enable, control;
};

/* The registers as 16 bytes, so that any width works. */
static void registers(struct acpi_pm *p, uint8_t bytes[PM_END])
{
    uint32_t timer = (uint32_t)dev_ns_to_ticks(sim_clock_now(&p->sim->clock), TIMER_HZ) & TIMER_MASK;
    uint16_t control = p->control | CNT_SCI_EN; /* no SMM: ACPI has the machine from the start */

    memset(bytes, 0, PM_END);
    memcpy(bytes + PM1_EN, &p->enable, sizeof p->enable);
    memcpy(bytes + PM1_CNT, &control, sizeof control);
    memcpy(bytes + PM_TMR, &timer, sizeof timer);
}

static bool pm_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct acpi_pm *p = opaque;
    uint8_t bytes[PM_END];

    *value = 0;
    if (offset + size > PM_END)
        return false;
    sim_mutex_lock(&p->lock);
    registers(p, bytes);
    sim_mutex_unlock(&p->lock);
    memcpy(value, bytes + offset, size);
    return true;
}

static void write_control(struct acpi_pm *p, uint16_t value)
{
    p->control = value & CNT_SLP_TYP_MASK;
    if (value & CNT_SLP_EN && (value & CNT_SLP_TYP_MASK) >> CNT_SLP_TYP_SHIFT == DEV_ACPI_S5)
        sim_request_end(p->sim, SIM_END_POWEROFF, 0);
}

static bool pm_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct acpi_pm *p = opaque;

    if (offset + size > PM_END)
        return false;
    sim_mutex_lock(&p->lock);
    if (offset == PM_RESET)
        sim_request_end(p->sim, SIM_END_RESET, 0);
    else if (offset == PM1_CNT && size == 2)
        write_control(p, (uint16_t)value);
    else if (offset == PM1_EN && size == 2)
        p->enable = (uint16_t)value;
    sim_mutex_unlock(&p->lock);
    return true;
}

static const struct mem_ops pm_mem_ops = {.read = pm_read, .write = pm_write, .max_size = 4};

static void pm_reset(struct device *d)
{
    struct acpi_pm *p = (struct acpi_pm *)d;

    sim_mutex_lock(&p->lock);
    p->enable = p->control = 0;
    sim_mutex_unlock(&p->lock);
}

static void pm_destroy(struct device *d)
{
    struct acpi_pm *p = (struct acpi_pm *)d;

    sim_mutex_fini(&p->lock);
    sim_free(p);
}

static const struct state_field pm_fields[] = {STATE_SCALAR(struct acpi_pm, STATE_U16, enable),
                                               STATE_SCALAR(struct acpi_pm, STATE_U16, control), STATE_END};
STATE_LAYOUT(pm, struct acpi_pm,
              STATE_DERIVED(struct acpi_pm, dev) STATE_DERIVED(struct acpi_pm, region)
              STATE_DERIVED(struct acpi_pm, sim) STATE_DERIVED(struct acpi_pm, lock));
static const struct state_desc pm_state = {
    .name = "acpi-pm", .version = 1, .fields = pm_fields, STATE_LAYOUT_OF(pm, struct acpi_pm)};
static const struct device_ops pm_ops = {
    .name = "acpi-pm", .reset = pm_reset, .destroy = pm_destroy, .state = &pm_state};

static enum sim_status pm_create(const struct dev_args *args, struct device **out)
{
    SIM_TRY(dev_need_regs(args, 1));
    struct acpi_pm *p = sim_new(struct acpi_pm);

    dev_init(&p->dev, &pm_ops, args);
    p->sim = args->sim;
    sim_mutex_init(&p->lock, SIM_RANK_DEVICE);
    enum sim_status status = dev_map(&p->region, &p->dev, args, 0, &pm_mem_ops);
    if (status != SIM_OK) {
        dev_destroy(&p->dev);
        return status;
    }
    *out = &p->dev;
    return SIM_OK;
}

static const char *const pm_compatible[] = {"partita,acpi-pm", NULL};
const struct dev_driver acpi_pm_driver = {.compatible = pm_compatible, .create = pm_create, .input = NULL};
