/* Link-time fillers until netdev and three virtio devices land: whoever lands one deletes it here. */
#include "dev_priv.h"
#include "sim-core/log.h"

#define PENDING(name)                                                                              \
    do {                                                                                           \
        sim_error("%s is not part of this build", name);                                           \
        return SIM_ERR_UNSUPPORTED;                                                                \
    } while (0)

void netdev_destroy(struct netdev *n)
{
    (void)n;
}

enum sim_status netdev_create(struct sim *sim, const char *spec, const uint8_t mac[6],
                              struct netdev **out)
{
    (void)sim, (void)spec, (void)mac, (void)out;
    PENDING("netdev");
}

enum sim_status virtio_net_create(struct sim *sim, struct netdev *n, struct virtio_device **out)
{
    (void)sim, (void)n, (void)out;
    PENDING("virtio-net");
}

enum sim_status virtio_console_create(struct sim *sim, struct chardev *c, struct virtio_device **out)
{
    (void)sim, (void)c, (void)out;
    PENDING("virtio-console");
}

enum sim_status virtio_rng_create(struct sim *sim, struct virtio_device **out)
{
    (void)sim, (void)out;
    PENDING("virtio-rng");
}
