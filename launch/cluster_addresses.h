/* Ethernet addresses of a cluster's machines: each machine alone would begin with QEMU's first one. */
#ifndef LAUNCH_CLUSTER_ADDRESSES_H
#define LAUNCH_CLUSTER_ADDRESSES_H

#include "config.h"

/* Addresses that nobody has given (config_net.mac_given) become different from all others of the cluster: of machine n the fourth
 * byte is n more than QEMU's, or the third one is another when that one is given to somebody. Those that were given stay. */
void cluster_addresses_choose(struct config *const machine[], unsigned nr_machines);

#endif
