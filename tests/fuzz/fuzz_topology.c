/* Packed topologies of other ranks: what is accepted is what encode makes, and plans can be made of it. */
#include <stdlib.h>
#include <string.h>

#include "partition/plan.h"
#include "sim-core/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(uint64_t n, uint8_t *data, size_t max);

static uint64_t draw(uint64_t *seed, uint64_t n)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (*seed >> 33) % n;
}

/* A real one with a few bytes changed: random bytes alone never get past the magic number. */
size_t fuzz_seed(uint64_t n, uint8_t *data, size_t max)
{
    static const char *const texts[] = {"pu:1", "numa:2 l3:2 core:2 pu:2", "pack:2 core:4 pu:1"};
    struct part_topology *t;
    uint64_t seed = n + 1;
    uint8_t *packed;
    size_t len;

    if (part_topology_read(texts[n % SIM_ARRAY_LEN(texts)], &t) != SIM_OK)
        abort();
    part_topology_encode(t, &packed, &len);
    len = len < max ? len : max;
    memcpy(data, packed, len);
    for (uint64_t i = draw(&seed, 4); i > 0; i--)
        data[draw(&seed, len)] = (uint8_t)draw(&seed, 256);
    sim_free(packed);
    part_topology_destroy(t);
    return len;
}

static void check_packing(const struct part_topology *t, const uint8_t *data, size_t size)
{
    uint8_t *packed;
    size_t len;

    part_topology_encode(t, &packed, &len);
    if (len != size || memcmp(packed, data, len) != 0)
        abort();
    sim_free(packed);
}

static void check_planning(const struct part_topology *t)
{
    static const struct part_range ram = {0x80000000, 64 << 20};
    const struct part_config config = {.nr_harts = 7, .ram = &ram, .nr_ram = 1};
    const struct part_topology *topology[] = {t, t, t};
    struct part_plan *plan;

    if (part_plan_make(&config, topology, SIM_ARRAY_LEN(topology), &plan) != SIM_OK)
        abort();
    if (part_plan_home(plan, ram.base >> GUEST_PAGE_BITS) != 0 || part_plan_hart(plan, 6).rank != 2)
        abort();
    part_plan_destroy(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct part_topology *t;

    if (part_topology_decode("fuzz", data, size, &t) != SIM_OK)
        return 0;
    check_packing(t, data, size);
    check_planning(t);
    part_topology_destroy(t);
    return 0;
}
