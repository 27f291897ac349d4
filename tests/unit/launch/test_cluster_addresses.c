/* Ethernet addresses in a cluster: different ones by default, those that were given stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cluster_addresses.h"
#include "sim-core/alloc.h"

static struct config *machine(unsigned nr_nets)
{
    struct config *c = sim_new(struct config);

    c->nr_nets = nr_nets;
    for (unsigned i = 0; i < nr_nets; i++)
        memcpy(c->net[i].mac, (const uint8_t[]){0x52, 0x54, 0x00, 0x12, 0x34, (uint8_t)(0x56 + i)}, 6);
    return c;
}

static void give(struct config *c, unsigned net, const uint8_t mac[6])
{
    memcpy(c->net[net].mac, mac, 6);
    c->net[net].mac_given = true;
}

/* Also where one is given that looks like a default one, or like the one that another machine would get. */
static void regress_6_given_addresses_stay(void **state)
{
    const uint8_t first[] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56}, third[] = {0x52, 0x54, 0x00, 0x14, 0x34, 0x56};
    struct config *m[] = {machine(1), machine(2), machine(1)};

    (void)state;
    give(m[1], 0, first);
    give(m[1], 1, third);
    cluster_addresses_choose(m, SIM_ARRAY_LEN(m));
    assert_memory_equal(m[1]->net[0].mac, first, 6);
    assert_memory_equal(m[1]->net[1].mac, third, 6);
    assert_memory_not_equal(m[0]->net[0].mac, first, 6);
    assert_memory_not_equal(m[2]->net[0].mac, third, 6);
    for (unsigned i = 0; i < SIM_ARRAY_LEN(m); i++)
        sim_free(m[i]);
}

/* More machines than a byte tells apart. */
static void test_each_has_its_own(void **state)
{
    enum { NR = 600 };
    static struct config *m[NR];

    (void)state;
    for (unsigned i = 0; i < NR; i++)
        m[i] = machine(2);
    cluster_addresses_choose(m, NR);
    for (unsigned i = 0; i < NR; i++) {
        assert_memory_not_equal(m[i]->net[0].mac, m[i]->net[1].mac, 6);
        for (unsigned k = 0; k < i; k++)
            assert_memory_not_equal(m[i]->net[0].mac, m[k]->net[0].mac, 6);
    }
    for (unsigned i = 0; i < NR; i++)
        sim_free(m[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(regress_6_given_addresses_stay),
                                       cmocka_unit_test(test_each_has_its_own)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
