/* The SiFive test finisher: the register with which a guest ends the run.
 *
 * One 32-bit write-only register at offset 0: bits 15:0 say how (0x5555 pass, 0x3333 fail, 0x7777
 * reset), bits 31:16 are the exit code of a failure. */
#include "dev_priv.h"

enum { FINISHER_FAIL = 0x3333, FINISHER_PASS = 0x5555, FINISHER_RESET = 0x7777 };

/* Owner: none, it has no state. Lifetime: the machine's. */
struct finisher {
    struct device dev;
    struct sim *sim;
    struct mem_region region;
};

static bool finisher_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    (void)opaque, (void)offset, (void)size;
    *value = 0;
    return true;
}

static bool finisher_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct finisher *f = opaque;

    (void)size;
    if (offset)
        return true;
    switch (value & 0xffff) {
    case FINISHER_PASS:
        sim_request_end(f->sim, SIM_END_POWEROFF, 0);
        break;
    case FINISHER_FAIL:
        sim_request_end(f->sim, SIM_END_POWEROFF, (int)(value >> 16 & 0xffff));
        break;
    case FINISHER_RESET:
        sim_request_end(f->sim, SIM_END_RESET, 0);
        break;
    }
    return true;
}

static const struct mem_ops finisher_mem_ops = {
    .read = finisher_read, .write = finisher_write, .min_size = 2, .max_size = 4};

static void finisher_destroy(struct device *d)
{
    sim_free(d);
}

static const struct state_field finisher_fields[] = {STATE_END};
STATE_LAYOUT(finisher, struct finisher,
              STATE_DERIVED(struct finisher, dev) STATE_DERIVED(struct finisher, sim)
              STATE_DERIVED(struct finisher, region));
static const struct state_desc finisher_state = {
    .name = "sifive-test", .version = 1, .fields = finisher_fields,
    STATE_LAYOUT_OF(finisher, struct finisher)};
static const struct device_ops finisher_ops = {
    .name = "sifive-test", .destroy = finisher_destroy, .state = &finisher_state};

static enum sim_status finisher_create(const struct dev_args *args, struct device **out)
{
    SIM_TRY(dev_need_regs(args, 1));
    struct finisher *f = sim_new(struct finisher);

    dev_init(&f->dev, &finisher_ops, args);
    f->sim = args->sim;
    enum sim_status status = dev_map(&f->region, &f->dev, args, 0, &finisher_mem_ops);
    if (status != SIM_OK) {
        dev_destroy(&f->dev);
        return status;
    }
    *out = &f->dev;
    return SIM_OK;
}

static const char *const finisher_compatible[] = {"sifive,test1", "sifive,test0", NULL};
const struct dev_driver sifive_test_driver = {
    .compatible = finisher_compatible, .create = finisher_create, .input = NULL};
