/* Binding: threads get the CPUs of the plan and memory its policy, and whatever cannot be is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../launch/capture.h"
#include "partition/bind.h"
#include "sim-core/lock.h"
#include "topologies.h"

static const struct part_range ram = {0x80000000, 64 << 20};

static struct part_plan *plan_of(const struct part_topology *t, uint32_t nr_harts)
{
    const struct part_config config = {.nr_harts = nr_harts, .ram = &ram, .nr_ram = 1};
    struct part_plan *plan;

    assert_int_equal(part_plan_make(&config, &t, 1, &plan), SIM_OK);
    return plan;
}

struct task {
    const struct part_plan *plan;
    const struct part_topology *own;
    uint32_t executor;
    bool bound;
    cpu_set_t before, after;
};

static void *bind_and_look(void *arg)
{
    struct task *t = arg;

    sched_getaffinity(0, sizeof t->before, &t->before);
    t->bound = part_bind_thread(t->plan, t->own, 0, t->executor);
    sched_getaffinity(0, sizeof t->after, &t->after);
    return NULL;
}

static void run_task(struct task *t)
{
    struct sim_thread thread = {0};

    assert_int_equal(sim_thread_start(&thread, "bind", bind_and_look, t), SIM_OK);
    sim_thread_join(&thread);
}

/* Each executor of this host has exactly its core's CPUs. */
static void test_bind_thread(void **state)
{
    (void)state;
    struct part_topology *here;

    assert_int_equal(part_topology_read(NULL, &here), SIM_OK);
    struct part_plan *plan = plan_of(here, here->nr_cores);
    for (uint32_t i = 0; i < plan->nr_executors; i++) {
        struct task t = {.plan = plan, .own = here, .executor = i};
        run_task(&t);
        assert_true(t.bound);
        assert_int_equal(CPU_COUNT(&t.after), plan->executor[i].nr_cpus);
        for (uint32_t n = 0; n < plan->executor[i].nr_cpus; n++)
            assert_true(CPU_ISSET(plan->cpu[plan->executor[i].first_cpu + n], &t.after));
    }
    part_plan_destroy(plan);
    part_topology_destroy(here);
}

/* Another machine's CPU numbers, more executors than cores, a CPU that is not there: nothing changes. */
static void test_bind_thread_not_possible(void **state)
{
    (void)state;
    struct part_topology *t = topology_of("core:4 pu:1");
    struct part_plan *plan = plan_of(t, 4);
    struct task foreign = {.plan = plan, .own = t, .executor = 0};
    run_task(&foreign);
    assert_false(foreign.bound);
    assert_true(CPU_EQUAL(&foreign.before, &foreign.after));

    t->native = true;
    struct task beyond = {.plan = plan, .own = t, .executor = 4};
    run_task(&beyond);
    assert_false(beyond.bound);

    struct capture c;
    struct task refused = {.plan = plan, .own = t, .executor = 3};
    plan->cpu[plan->executor[3].first_cpu] = PART_MAX_PUS - 1;
    capture_begin(&c, STDERR_FILENO);
    run_task(&refused);
    const char *text = capture_end(&c);
    assert_false(refused.bound);
    assert_true(CPU_EQUAL(&refused.before, &refused.after));
    assert_non_null(strstr(text, "executor 3 is not bound to CPU 65535"));
    part_plan_destroy(plan);
    part_topology_destroy(t);
}

static void test_place_memory_not_possible(void **state)
{
    (void)state;
    struct part_topology *t = topology_of("numa:2 core:2 pu:1"), *one = topology_of("core:2 pu:1");
    struct part_plan *plan = plan_of(t, 4), *plan_one = plan_of(one, 2);
    void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_false(part_place_memory(plan, t, 0, p, 1 << 20)); /* not this host */
    one->native = true;
    assert_false(part_place_memory(plan_one, one, 0, p, 1 << 20)); /* nowhere else to go */
    memset(p, 1, 1 << 20);
    munmap(p, 1 << 20);
    part_plan_destroy(plan);
    part_plan_destroy(plan_one);
    part_topology_destroy(t);
    part_topology_destroy(one);
}

/* As if this host had a second domain: the first is asked for, and the memory can be used whatever the host says. */
static void test_place_memory(void **state)
{
    (void)state;
    struct part_topology *t = topology_of("numa:2 core:1 pu:1");
    size_t size = 1 << 20;
    int mode = -1;

    t->native = true;
    struct part_plan *plan = plan_of(t, 1);
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool placed = part_place_memory(plan, t, 0, p, size);
    memset(p, 1, size);
    if (placed) {
        enum { MODE_PREFERRED = 1, BY_ADDRESS = 2 };
        assert_int_equal(syscall(SYS_get_mempolicy, &mode, NULL, 0, p, BY_ADDRESS), 0);
        assert_int_equal(mode, MODE_PREFERRED);
    } else {
        print_message("the host has no memory policy, or we were built without libnuma\n");
    }
    munmap(p, size);
    part_plan_destroy(plan);
    part_topology_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bind_thread),
        cmocka_unit_test(test_bind_thread_not_possible),
        cmocka_unit_test(test_place_memory_not_possible),
        cmocka_unit_test(test_place_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
