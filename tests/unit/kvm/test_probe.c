/* What is said of this host's KVM. Runs everywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kvm/hkvm.h"


static void test_report_is_whole(void **state)
{
    struct hkvm_report r;

    (void)state;
    hkvm_probe(&r);
    assert_true((r.state == HKVM_WORKS) == (r.why[0] == 0));
    if (r.state == HKVM_WORKS) {
        assert_true(r.max_vcpus >= 1);
        assert_non_null(r.cap[0].name);
    }
    for (unsigned i = 0; r.cap[i].name; i++) {
        assert_non_null(r.cap[i].use);
        assert_true(r.state != HKVM_WORKS || !r.cap[i].needed || r.cap[i].there);
    }
}

static void test_impossible_numbers_of_vcpus(void **state)
{
    struct sim *sim;
    struct mem_space *space;
    struct hkvm_machine *m;

    (void)state;
    assert_int_equal(sim_create(&sim), SIM_OK);
    assert_int_equal(mem_space_create(sim, &space), SIM_OK);
    assert_int_equal(mem_add_ram(space, "ram", 0, 0x1000), SIM_OK);
    assert_int_equal(mem_seal_ram(space), SIM_OK);
    const struct hkvm_config none = {.sim = sim, .space = space};
    const struct hkvm_config many = {.sim = sim, .space = space, .nr_vcpus = HKVM_MAX_VCPUS + 1};
    assert_int_not_equal(hkvm_machine_create(&none, &m), SIM_OK);
    assert_int_not_equal(hkvm_machine_create(&many, &m), SIM_OK);
    mem_space_destroy(space);
    sim_destroy(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_is_whole),
        cmocka_unit_test(test_impossible_numbers_of_vcpus),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
