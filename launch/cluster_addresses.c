/* Which Ethernet address each network card of a cluster gets that was given none. */
#include "cluster_addresses.h"

#include <string.h>

struct chooser {
    struct config *const *machine;
    unsigned nr;
};

/* Given to somebody, or chosen for one that comes before this one. */
static bool is_taken(const struct chooser *c, const struct config_net *n, unsigned nr_before)
{
    for (unsigned i = 0; i < c->nr; i++) {
        const struct config *m = c->machine[i];
        for (unsigned k = 0; k < m->nr_nets; k++) {
            const struct config_net *other = &m->net[k];
            if (other != n && (other->mac_given || i < nr_before) && memcmp(other->mac, n->mac, sizeof n->mac) == 0)
                return true;
        }
    }
    return false;
}

static void choose(const struct chooser *c, struct config_net *n, unsigned machine)
{
    n->mac[3] = (uint8_t)(n->mac[3] + machine);
    n->mac[2] = (uint8_t)(machine >> 8);
    while (is_taken(c, n, machine))
        n->mac[2]++;
}

void cluster_addresses_choose(struct config *const machine[], unsigned nr_machines)
{
    const struct chooser c = {machine, nr_machines};

    for (unsigned i = 0; i < nr_machines; i++)
        for (unsigned k = 0; k < machine[i]->nr_nets; k++)
            if (!machine[i]->net[k].mac_given)
                choose(&c, &machine[i]->net[k], i);
}
