/* What a guest is told of its CPU: topology and caches agree with its NUMA nodes. Needs no /dev/kvm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hkvm_priv.h"

enum { INTEL_CACHES = 4, AMD_SIZES = 0x80000006, AMD_CACHES = 0x8000001d };
enum { L1 = 1 << 5, L2 = 2 << 5, L3 = 3 << 5, DATA = 1, UNIFIED = 3, OF_16 = 15 << 14 };

struct cpuid {
    uint32_t nr;
    struct kvm_cpuid_entry2 entry[HKVM_MAX_CPUID];
};

/* A host with 16 CPUs that share all: what of it is told does not depend on the host of the tests. */
static struct cpuid *host(void)
{
    static const struct kvm_cpuid_entry2 entry[] = {
        {.function = INTEL_CACHES, .index = 0, .eax = L1 | DATA | OF_16},
        {.function = INTEL_CACHES, .index = 3, .eax = L3 | UNIFIED | OF_16},
        {.function = AMD_SIZES, .edx = 0x12345678},
        {.function = AMD_CACHES, .index = 2, .eax = L2 | UNIFIED | OF_16},
        {.function = AMD_CACHES, .index = 3, .eax = L3 | UNIFIED | OF_16},
    };
    struct cpuid *list = calloc(1, sizeof *list);

    list->nr = SIM_ARRAY_LEN(entry);
    memcpy(list->entry, entry, sizeof entry);
    return list;
}

static const struct kvm_cpuid_entry2 *find(const struct cpuid *list, uint32_t function, uint32_t index)
{
    for (uint32_t i = 0; i < list->nr; i++)
        if (list->entry[i].function == function && list->entry[i].index == index)
            return &list->entry[i];
    fail_msg("no leaf %x, %u", function, index);
    return NULL;
}

/* How many APIC ids share the cache. */
static uint32_t sharers(const struct cpuid *list, uint32_t function, uint32_t index)
{
    return (find(list, function, index)->eax >> 14 & 0xfff) + 1;
}

static struct cpuid *told(uint32_t nr, bool spread)
{
    struct cpuid *list = host();

    const struct hkvm_cpuid_place at = {.apic_id = 1, .nr_vcpus = nr, .own_apics = spread, .spread = spread};

    list->nr = hkvm_cpuid_apply(list->entry, list->nr, &at);
    return list;
}

static void test_last_level_is_common_on_one_host(void **state)
{
    (void)state;
    struct cpuid *list = told(6, false);

    assert_int_equal(sharers(list, INTEL_CACHES, 0), 1);
    assert_int_equal(sharers(list, INTEL_CACHES, 3), 8);
    assert_int_equal(find(list, INTEL_CACHES, 3)->eax >> 26, 7);
    assert_int_equal(sharers(list, AMD_CACHES, 2), 1);
    assert_int_equal(sharers(list, AMD_CACHES, 3), 8);
    assert_int_equal(find(list, AMD_SIZES, 0)->edx, 0x12345678);
    free(list);
}

/* Linux warns of "llc-sibling CPU is not on the same node" otherwise. */
static void test_nothing_is_common_over_ranks(void **state)
{
    (void)state;
    struct cpuid *list = told(2, true);

    assert_int_equal(sharers(list, INTEL_CACHES, 0), 1);
    assert_int_equal(sharers(list, INTEL_CACHES, 3), 1);
    assert_int_equal(sharers(list, AMD_CACHES, 2), 1);
    assert_int_equal(sharers(list, AMD_CACHES, 3), 1);
    assert_int_equal(find(list, AMD_SIZES, 0)->edx, 0);
    free(list);
}

static void test_both_levels_of_topology_are_there(void **state)
{
    (void)state;
    struct cpuid *list = told(3, false);

    assert_int_equal(find(list, 0xb, 0)->ebx, 1);
    assert_int_equal(find(list, 0xb, 1)->ebx, 3);
    assert_int_equal(find(list, 0xb, 1)->eax, 2);
    assert_int_equal(find(list, 0xb, 1)->edx, 1);
    free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_level_is_common_on_one_host),
        cmocka_unit_test(test_nothing_is_common_over_ranks),
        cmocka_unit_test(test_both_levels_of_topology_are_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
