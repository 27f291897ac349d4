/* A node that no driver knows: its registers read as zero and ignore writes, so that a guest's
 * probe finds nothing instead of a fault. */
#include "dev_priv.h"

/* Owner: none, it has no state. Lifetime: the machine's. */
struct unimplemented {
    struct device dev;
    unsigned nr;
    struct mem_region *region;
};

static bool zero_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    (void)opaque, (void)offset, (void)size;
    *value = 0;
    return true;
}

static bool zero_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    (void)opaque, (void)offset, (void)size, (void)value;
    return true;
}

static const struct mem_ops zero_mem_ops = {.read = zero_read, .write = zero_write};

static void unimplemented_destroy(struct device *d)
{
    sim_free(((struct unimplemented *)d)->region);
    sim_free(d);
}

static const struct state_field no_fields[] = {STATE_END};
STATE_LAYOUT(unimplemented, struct unimplemented,
              STATE_DERIVED(struct unimplemented, dev) STATE_DERIVED(struct unimplemented, nr)
              STATE_DERIVED(struct unimplemented, region));
static const struct state_desc unimplemented_state = {
    .name = "unimplemented", .version = 1, .fields = no_fields,
    STATE_LAYOUT_OF(unimplemented, struct unimplemented)};
static const struct device_ops unimplemented_ops = {
    .name = "unimplemented", .destroy = unimplemented_destroy, .state = &unimplemented_state};

enum sim_status unimplemented_create(const struct dev_args *args, struct device **out)
{
    struct unimplemented *u = sim_new(struct unimplemented);

    u->region = sim_new_array(struct mem_region, args->nr_reg);
    dev_init(&u->dev, &unimplemented_ops, args);
    for (unsigned i = 0; i < args->nr_reg; i++) {
        enum sim_status status = dev_map(&u->region[i], &u->dev, args, i, &zero_mem_ops);
        if (status != SIM_OK) {
            while (i-- > 0)
                mem_remove_mmio(args->space, &u->region[i]);
            dev_destroy(&u->dev);
            return status;
        }
    }
    u->nr = args->nr_reg;
    *out = &u->dev;
    return SIM_OK;
}
