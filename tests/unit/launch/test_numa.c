/* Guest NUMA: what a plan tells the guest, the device tree it becomes, and the machine made of that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>

#include "machine.h"
#include "numa.h"
#include "sim-core/alloc.h"

#define MIB (1ull << 20)

/* 6 harts and 64 MiB over 3 ranks: two on one host, one on another. */
static struct part_plan *three_ranks(uint32_t max_nodes)
{
    static const struct part_range ram = {CONFIG_RAM_BASE, 64 * MIB};
    const struct part_config config = {
        .nr_harts = 6, .ram = &ram, .nr_ram = 1, .max_nodes = max_nodes};
    static const char *const hosts[] = {"a", "a", "b"};
    struct part_topology *topology[3];
    struct part_plan *plan;

    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(part_topology_read(i < 2 ? "core:4 pu:1" : "core:2 pu:1", &topology[i]), SIM_OK);
        part_topology_set_host(topology[i], hosts[i]);
    }
    assert_int_equal(part_plan_make(&config, (const struct part_topology *const *)topology, 3, &plan),
                     SIM_OK);
    for (unsigned i = 0; i < 3; i++)
        part_topology_destroy(topology[i]);
    return plan;
}

static void set_up(struct config *c, uint32_t max_nodes)
{
    struct part_plan *plan = three_ranks(max_nodes);

    config_init(c);
    c->smp = 6;
    c->memory = 64 * MIB;
    c->jit = false;
    c->serial[c->nr_serials++] = sim_strdup("null");
    numa_from_plan(plan, &c->numa);
    part_plan_destroy(plan);
}

static void test_numa_from_plan(void **state)
{
    (void)state;
    static const uint16_t nodes[] = {0, 0, 1, 1, 2, 2};
    static const uint8_t distance[] = {10, 20, 40, 20, 10, 40, 40, 40, 10};
    struct config c;

    set_up(&c, 0);
    assert_int_equal(c.numa.nr_nodes, 3);
    assert_memory_equal(c.numa.hart_node, nodes, sizeof nodes);
    assert_memory_equal(c.numa.distance, distance, sizeof distance);
    assert_int_equal(c.numa.nr_ram, 3);
    assert_true(c.numa.ram[0].base == CONFIG_RAM_BASE);
    assert_true(c.numa.ram[1].base == CONFIG_RAM_BASE + c.numa.ram[0].size);
    assert_true(c.numa.ram[0].size + c.numa.ram[1].size + c.numa.ram[2].size == 64 * MIB);
    config_fini(&c);
}

/* Ranks that share a node share its memory node; one node is no NUMA. */
static void test_numa_from_plan_with_few_nodes(void **state)
{
    (void)state;
    struct config c;

    set_up(&c, 2);
    assert_int_equal(c.numa.nr_nodes, 2);
    assert_int_equal(c.numa.nr_ram, 2);
    assert_true(c.numa.ram[0].size > 32 * MIB);
    config_fini(&c);
    set_up(&c, 1);
    assert_int_equal(c.numa.nr_nodes, 0);
    config_fini(&c);
}

static uint32_t u32(const void *fdt, const char *path, const char *name)
{
    int len, node = fdt_path_offset(fdt, path);
    const fdt32_t *p = node < 0 ? NULL : fdt_getprop(fdt, node, name, &len);

    if (!p || len != 4)
        fail_msg("%s has no cell '%s'", path, name);
    return fdt32_to_cpu(*p);
}

static void test_numa_tree(void **state)
{
    (void)state;
    struct config c;
    void *fdt;
    char path[64];

    set_up(&c, 0);
    assert_int_equal(virt_build_fdt(&c, &fdt), SIM_OK);
    for (unsigned i = 0; i < 6; i++) {
        snprintf(path, sizeof path, "/cpus/cpu@%u", i);
        assert_int_equal(u32(fdt, path, "numa-node-id"), i / 2);
    }
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "/memory@%llx", (unsigned long long)c.numa.ram[i].base);
        assert_int_equal(u32(fdt, path, "numa-node-id"), i);
        int len;
        const fdt64_t *reg = fdt_getprop(fdt, fdt_path_offset(fdt, path), "reg", &len);
        assert_int_equal(len, 16);
        assert_true(fdt64_ld(&reg[0]) == c.numa.ram[i].base);
        assert_true(fdt64_ld(&reg[1]) == c.numa.ram[i].size);
    }
    int len, map = fdt_path_offset(fdt, "/distance-map");
    assert_int_equal(fdt_node_check_compatible(fdt, map, "numa-distance-map-v1"), 0);
    const fdt32_t *cell = fdt_getprop(fdt, map, "distance-matrix", &len);
    assert_int_equal(len, 9 * 3 * 4);
    for (unsigned i = 0; i < 9; i++) {
        assert_int_equal(fdt32_to_cpu(cell[3 * i]), i / 3);
        assert_int_equal(fdt32_to_cpu(cell[3 * i + 1]), i % 3);
        assert_int_equal(fdt32_to_cpu(cell[3 * i + 2]), c.numa.distance[i]);
    }
    sim_free(fdt);
    config_fini(&c);
}

/* A guest that is told nothing has the tree it always had. */
static void test_numa_none(void **state)
{
    (void)state;
    struct config c;
    void *fdt;

    config_init(&c);
    assert_int_equal(virt_build_fdt(&c, &fdt), SIM_OK);
    assert_true(fdt_path_offset(fdt, "/distance-map") < 0);
    assert_null(fdt_getprop(fdt, fdt_path_offset(fdt, "/cpus/cpu@0"), "numa-node-id", NULL));
    assert_null(fdt_getprop(fdt, fdt_path_offset(fdt, "/memory@80000000"), "numa-node-id", NULL));
    sim_free(fdt);
    config_fini(&c);
}

/* The largest tree that -numa and -smp can ask for. */
static void test_numa_biggest_tree(void **state)
{
    (void)state;
    struct numa_options options = {0};
    struct config c;
    void *fdt;

    config_init(&c);
    c.smp = CONFIG_MAX_HARTS;
    for (unsigned i = 0; i < NUMA_MAX_NODES; i++)
        assert_int_equal(numa_add_option(&options, "-numa", "node"), SIM_OK);
    assert_int_equal(numa_resolve(&options, &c), SIM_OK);
    assert_int_equal(virt_build_fdt(&c, &fdt), SIM_OK);
    assert_int_equal(u32(fdt, "/cpus/cpu@fff", "numa-node-id"), NUMA_MAX_NODES - 1);
    sim_free(fdt);
    numa_options_fini(&options);
    config_fini(&c);
}

/* Memory nodes that follow on each other are one piece of RAM for everybody else. */
static void test_numa_machine_has_one_ram(void **state)
{
    (void)state;
    struct config c;
    struct machine *m;
    struct sim *sim;
    unsigned rams = 0;
    const struct mem_region *r;

    set_up(&c, 0);
    assert_int_equal(sim_create(&sim), SIM_OK);
    assert_int_equal(machine_create(sim, &c, NULL, &m), SIM_OK);
    assert_true(m->ram_base == CONFIG_RAM_BASE);
    assert_true(m->ram_size == 64 * MIB);
    for (unsigned i = 0; (r = mem_nth(m->space, i)); i++)
        rams += strcmp(r->name, "ram") == 0;
    assert_int_equal(rams, 1);
    machine_destroy(m);
    sim_destroy(sim);
    config_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numa_from_plan),
        cmocka_unit_test(test_numa_from_plan_with_few_nodes),
        cmocka_unit_test(test_numa_tree),
        cmocka_unit_test(test_numa_none),
        cmocka_unit_test(test_numa_biggest_tree),
        cmocka_unit_test(test_numa_machine_has_one_ram),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
